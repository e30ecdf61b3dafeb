"""A long history, after each step of which clients update: ours, and the reference client.

The reference client runs if ``REFERENCE_PYTHON`` names a Python that has the reference package
``tuf`` 7.0.1 with ``requests``.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from repository.world import Published, World
from servers import Server

from tuf.repository import (
    AddKey,
    AddTarget,
    Delegate,
    RemoveTarget,
    RevokeKey,
    RotateKey,
    SetBins,
    SetThreshold,
)

REFERENCE = os.environ.get("REFERENCE_PYTHON")
SCRIPT = """
import json, os, sys
from tuf.ngclient import Updater
url, directory, targets = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
updater = Updater(directory, url + "/metadata/", directory, url + "/targets/", bootstrap=None)
updater.refresh()
for path, content in targets.items():
    info = updater.get_targetinfo(path)
    assert (info is None) == (content is None), path
    if info is not None:
        name = os.path.join(directory, "download")
        with open(updater.download_target(info, name)) as file:
            assert file.read() == content, path
"""
Check = Callable[[World, dict[str, bytes | None]], None]


def with_reference(world: World, targets: dict[str, bytes | None]) -> None:
    """A client of the reference package updates, and finds these targets."""
    assert REFERENCE is not None
    directory = world.directory / "reference"
    if not directory.exists():
        directory.mkdir()
        (directory / "root.json").write_bytes(world.store.read("metadata/1.root.json") or b"")
    wanted = {path: None if data is None else data.decode() for path, data in targets.items()}
    with Server(Published(world.store)) as server:  # type: ignore[arg-type]
        command = [REFERENCE, "-c", SCRIPT, server.url, str(directory), json.dumps(wanted)]
        environment = {n: v for n, v in os.environ.items() if n != "PYTHONPATH"}
        run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr.splitlines()[-1:]


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(World.check, id="this"),
        pytest.param(
            with_reference,
            id="reference",
            marks=pytest.mark.skipif(REFERENCE is None, reason="REFERENCE_PYTHON is not set"),
        ),
    ],
)
def test_long_history(empty: World, check: Check) -> None:
    world = empty
    targets: dict[str, bytes | None] = {}

    def step(*changes: object) -> None:
        assert world.publish(*changes)  # type: ignore[arg-type]
        check(world, targets)

    world.create()
    check(world, {"none": None})

    every = {f"p{n % 7}/t-{n}": b"content %d" % n for n in range(1000)}
    targets |= {path: every[path] for path in list(every)[::250]}
    step(*(AddTarget(path, data=data) for path, data in every.items()))

    targets["d/a"] = b"delegated"
    step(
        Delegate("d", (world.key("d"),), paths=("d/*",), terminating=True),
        AddTarget("d/a", data=b"delegated", role="d"),
    )
    targets["d/sub/a"] = b"deeper"
    step(
        Delegate("d/sub", (world.key("sub"),), paths=("d/sub/*",), role="d"),
        Delegate("sub", (world.key("sub"),), paths=("d/sub/*",)),
        AddTarget("d/sub/a", data=b"deeper", role="sub"),
    )
    step(
        Delegate("binned", (world.key("d"),), paths=("b/*",)),
        SetBins(2, (world.key("bins"),), role="binned"),
        AddTarget("b/1", data=b"in a bin", role="binned"),
    )
    targets["b/1"] = b"in a bin"
    check(world, targets)
    step(SetBins(4, role="binned"))

    roles = ["root", "timestamp", "snapshot", "targets", "d", "binned"]
    for role in roles:
        old = {"root": "root", "d": "d", "binned": "d"}.get(role, "online")
        step(RotateKey(role, world.key(old).keyid, world.key(f"new-{role}")))
    step(RotateKey("bins", world.key("bins").keyid, world.key("new-bins"), role="binned"))
    for role in roles:
        step(AddKey(role, world.key(f"second-{role}"), threshold=2))
        step(SetThreshold(role, 1))
        step(RevokeKey(role, world.key(f"new-{role}").keyid))

    path = next(iter(every))
    targets[path] = None
    step(RemoveTarget(path))
    world.wait(days=5)
    assert set(world.repository.renew().versions) == {"snapshot", "timestamp"}
    check(world, targets)
    world.wait(days=305)
    assert {"root", "targets", "bins-f"} <= set(world.repository.renew().versions)
    check(world, targets)
    world.wait(days=10)
    assert len(world.repository.sweep()) > 50
    world.repository.renew()
    check(world, targets)
    assert {f.severity for f in world.repository.audit(hashes=True)} <= {"note"}
    assert Path(world.directory, "repo/metadata/1.root.json").exists()

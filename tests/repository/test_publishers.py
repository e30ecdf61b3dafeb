"""Publications at the same time, and replacements of lost keys that die half way."""

import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from repository import publisher
from repository.world import World

from tuf.api.metadata import Metadata, Snapshot, Timestamp
from tuf.repository import (
    AddKey,
    AddTarget,
    DirectoryStore,
    RevokeKey,
    RotateKey,
    SetBins,
)
from tuf.repository.changes import Change


def lost(world: World, role: str) -> Change:
    """Replace a key that is gone. In the middle of that, clients cannot succeed."""
    old = world.key("online").keyid
    for other in {"timestamp", "snapshot", "targets"} - {role}:
        world.publish(RotateKey(other, old, world.key("new")))
    if role == "timestamp":
        world.publish(RevokeKey("timestamp", world.key("second").keyid))
    change = RotateKey(role, old, world.key("another"))
    world.lose("online")
    return change


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("role", ["timestamp", "snapshot"])
@pytest.mark.parametrize("heal", ["again", "renew"])
def test_replacing_a_lost_key_is_completed(world: World, role: str, heal: str) -> None:
    world.publish(
        AddKey("timestamp", world.key("second")),
        AddTarget("t/1", data=b"1"),
    )
    world.key("new")
    change = lost(world, role)
    repo = world.directory / "repo"
    shutil.copytree(repo, world.directory / "base")
    number, killed = 0, True
    while killed:
        number += 1
        shutil.rmtree(repo)
        shutil.copytree(world.directory / "base", repo)
        killed = die_at(number, lambda: world.publish(change))
        if heal == "renew":
            world.repository.renew()
        world.publish(change)
        world.check({"t/1": b"1"}, f"client-{number}")
    assert number > 2


def die_at(number: int, action: Callable[[], object]) -> bool:
    """Run an action in a process that kills itself before its write of that number."""
    child = os.fork()
    if child == 0:
        writes = 0

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def wrapper(*args: Any) -> Any:
                nonlocal writes
                if "/.tuf-" not in str(args[-1]):  # files that have no name yet do not count
                    writes += 1
                    if writes == number:
                        os.kill(os.getpid(), signal.SIGKILL)
                return call(*args)

            return wrapper

        for name in ("rename", "replace", "unlink"):
            setattr(os, name, counted(getattr(os, name)))
        status = 1
        try:
            action()
            status = 0
        except BaseException:  # noqa: BLE001  # the process ends here, whatever it is
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status)
    assert killed or os.WEXITSTATUS(status) == 0
    return killed


def test_four_processes_lose_nothing(world: World) -> None:
    world.publish(SetBins(3, (world.key("online"),)))
    concurrently(world, world.directory / "repo", 25)


def concurrently(world: World, url: object, at_once: int) -> None:
    """Four processes publish a hundred targets each, so many at once."""
    names = ["a", "b", "c", "d"]
    command = [sys.executable, "-W", "error", publisher.__file__, str(world.directory), str(url)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    processes = [
        subprocess.Popen([*command, name, "100", str(at_once)], env=environment) for name in names
    ]
    assert [process.wait(120) for process in processes] == [0] * 4
    world.check({f"{name}/{n}": f"{name} {n}".encode() for name in names for n in (0, 50, 99)})
    state = world.repository.state()
    listed = sum(
        len(metadata.signed.targets)
        for n in range(8)
        if (metadata := state.targets(f"bins-{n:x}")) is not None
    )
    assert listed == 400
    # Each publication swapped the timestamp once: none was lost, none was repeated.
    assert state.timestamp is not None
    assert state.timestamp.signed.version == 2 + 4 * 100 // at_once


def test_publications_between_two_of_ours_are_kept(world: World) -> None:
    # The change is applied again, on top of what the other one published.
    store = Interrupted(world)
    repository = world.repository
    repository.store = store
    repository.publish([AddTarget("ours", data=b"1")])
    world.check({"ours": b"1", "theirs": b"2"})
    timestamp: Metadata[Timestamp] = Metadata.from_bytes(
        store.read("metadata/timestamp.json") or b""
    )
    assert timestamp.signed.version == 3
    name = f"metadata/{timestamp.signed.snapshot_meta.version}.snapshot.json"
    snapshot: Metadata[Snapshot] = Metadata.from_bytes(store.read(name) or b"")
    assert snapshot.signed.version == 4  # 2 is theirs, 3 is ours that was lost


class Interrupted(DirectoryStore):
    """A store where somebody else publishes just before our first swap."""

    def __init__(self, world: World) -> None:
        super().__init__(world.directory / "repo")
        self.world = world
        self.done = False

    def create(self, name: str, data: bytes) -> None:
        if not self.done:
            self.done = True
            self.world.publish(AddTarget("theirs", data=b"2"))
        super().create(name, data)

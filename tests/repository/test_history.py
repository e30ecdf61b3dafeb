"""A long history: after each step, clients of this package and of tuf 7.0.1 update.

The clients of tuf 7.0.1 have an environment of their own: ``make interop`` makes it, or the
environment variable ``REFERENCE_PYTHON`` names its Python interpreter.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from repository import any_client
from repository.world import Published, World
from servers import Server

from tuf.api.metadata import Key
from tuf.repository import (
    AddKey,
    AddTarget,
    ClearTargets,
    Delegate,
    ExportedDraft,
    Keyring,
    KeySource,
    RemoveTarget,
    RevokeKey,
    RotateKey,
    SetBins,
    SetThreshold,
    Undelegate,
)
from tuf.repository.changes import Change

PEER = os.environ.get("REFERENCE_PYTHON")


class History(World):
    """A world that knows which targets there should be."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.contents: dict[str, bytes | None] = {"never/there": None}
        #: which key a role has now
        self.keys = {"root": "root"}

    def online(self) -> tuple[Key]:
        return (self.key("online"),)

    def set(self, path: str, content: bytes | None, role: str = "targets") -> Change:
        """Let a target have a content, or not be there."""
        self.contents[path] = content
        if content is None:
            return RemoveTarget(path, role)
        return AddTarget(path, data=content, role=role)

    def rotate(self, role: str, delegator: str = "targets") -> None:
        """Let a new key take the place of a role's only one."""
        old = self.key(self.keys.get(role, "online"))
        self.keys[role] = f"{role}-{len(self.policy.keys)}"
        done = self.publish(RotateKey(role, old.keyid, self.key(self.keys[role]), delegator))
        assert done.versions

    def sample(self, step: int) -> dict[str, str | None]:
        """What a client looks for: every step other ones of the many."""
        many = [path for path in self.contents if path.startswith("t/")]
        chosen = {*many[step::101], *(path for path in self.contents if path not in set(many))}
        return {
            path: None if content is None else sha256(content).hexdigest()
            for path, content in sorted(self.contents.items(), reverse=step % 2 == 1)
            if path in chosen
        }


STEPS: list[Callable[[History], object]] = []


def step(function: Callable[[History], object]) -> Callable[[History], object]:
    STEPS.append(function)
    return function


@step
def creation(world: History) -> None:
    world.create()


@step
def thousand_targets(world: History) -> None:
    world.publish(*(world.set(f"t/{n}", b"%d" % n) for n in range(1000)))


@step
def replaced_and_removed(world: History) -> None:
    world.publish(
        world.set("t/0", b"new"), world.set("t/1", None), world.set("odd 'ü'\\\"\x01", b"odd")
    )


@step
def delegation(world: History) -> None:
    world.publish(
        Delegate("p", world.online(), paths=("p/*", "p/q/*"), terminating=True),
        Delegate("q", (world.key("q1"), world.key("q2")), ("p/q/*",), threshold=2, role="p"),
        world.set("p/1", b"p1", "p"),
        world.set("p/q/1", b"q1", "q"),
    )


@step
def delegation_by_hash_prefix(world: History) -> None:
    prefix = sha256(b"hashed").hexdigest()[:3]
    world.publish(
        Delegate("h", world.online(), path_hash_prefixes=(prefix,)),
        world.set("hashed", b"hashed", "h"),
    )


@step
def bins_of_a_delegated_role(world: History) -> None:
    world.publish(
        Delegate("b", world.online(), paths=("b/*",)),
        SetBins(3, world.online(), prefix="few", role="b"),
        *(world.set(f"b/{n}", b"b%d" % n, "b") for n in range(20)),
    )


@step
def rotation_in_delegations(world: History) -> None:
    world.rotate("p")
    world.rotate("h")
    world.rotate("few", "b")
    world.rotate("b")


@step
def nested_role_with_other_keys(world: History) -> None:
    world.publish(
        RotateKey("q", world.key("q1").keyid, world.key("q3"), role="p"),
        AddKey("q", world.key("q4"), threshold=3, role="p"),
    )


@step
def role_signed_elsewhere(world: History) -> None:
    world.publish(Delegate("far", (world.key("far"),), paths=("far/*",)))
    world.lose("far")
    world.publish(world.set("far/1", b"far", "far"))
    keyring = Keyring([KeySource("far", "file:keys/far")], world.directory)
    for signature in ExportedDraft(world.repository.export_draft("far")).sign(keyring):
        assert world.repository.import_signature(signature).versions["far"] == 2


@step
def delegation_revoked(world: History) -> None:
    world.contents |= {"p/1": None, "p/q/1": None}
    world.publish(Undelegate("p"))


@step
def targets_into_bins(world: History) -> None:
    gone = [path for path in world.contents if path.startswith(("b/", "far/", "hashed"))]
    world.contents |= dict.fromkeys(gone)
    world.publish(
        *map(Undelegate, ("b", "h", "far")), SetBins(4, world.online()), world.set("t/2", b"again")
    )


@step
def more_bins(world: History) -> None:
    world.publish(SetBins(6), world.set("t/1", b"back"))


@step
def fewer_bins_of_another_name(world: History) -> None:
    world.publish(SetBins(2, prefix="shelf"), world.set("t/3", None))


@step
def rotation_of_bins(world: History) -> None:
    world.rotate("shelf")


def rotation(role: str) -> None:
    def rotate(world: History) -> None:
        world.rotate(role)

    rotate.__name__ = f"rotation_of_{role}"
    step(rotate)


def thresholds(role: str) -> None:
    """A second key, both must sign, one is enough, the first is revoked."""

    def second(world: History) -> None:
        assert world.publish(AddKey(role, world.key(f"{role}-second"), threshold=2)).versions

    def one(world: History) -> None:
        assert world.publish(SetThreshold(role, 1)).versions

    def revoke(world: History) -> None:
        first = world.key(world.keys.get(role, "online"))
        world.keys[role] = f"{role}-second"
        assert world.publish(RevokeKey(role, first.keyid)).versions

    for function in (second, one, revoke):
        function.__name__ = f"threshold_of_{role}_{function.__name__}"
        step(function)


for name in ("root", "timestamp", "snapshot", "targets"):
    rotation(name)
for name in ("root", "timestamp", "snapshot", "targets", "shelf"):
    thresholds(name)


@step
def all_keys_at_once(world: History) -> None:
    roles = ("root", "timestamp", "snapshot", "targets", "shelf")
    changes = [
        RotateKey(role, world.key(world.keys[role]).keyid, world.key(f"{role}-last"))
        for role in roles
    ]
    world.keys |= {role: f"{role}-last" for role in roles}
    world.publish(*changes, world.set("t/4", b"with new keys"))


@step
def lost_timestamp_key(world: History) -> None:
    world.lose(world.keys["timestamp"])
    world.rotate("timestamp")


@step
def renewal(world: History) -> None:
    for days in (0.6, 5, 70, 250):
        world.wait(days=days)
        assert "timestamp" in world.repository.renew().versions
        assert not world.repository.renew()


@step
def sweep(world: History) -> None:
    world.wait(days=8)
    world.repository.renew()
    assert len(world.repository.sweep()) > 100
    assert world.repository.sweep() == []


@step
def cleared_and_filled_again(world: History) -> None:
    world.contents = dict.fromkeys(world.contents)
    world.publish(ClearTargets(), *(world.set(f"t/{n}", b"2nd %d" % n) for n in range(1, 300)))


@step
def swept_again(world: History) -> None:
    world.wait(days=8)
    world.repository.renew()
    assert world.repository.sweep()


def play(world: History) -> Iterator[tuple[int, str, str]]:
    """Do one step after another; yield where it is published."""
    with Server(Published(world.store)) as server:  # type: ignore[arg-type]
        for number, function in enumerate(STEPS):
            print(f"step {number}: {function.__name__}")  # for the report of a failure
            function(world)
            errors = [f for f in world.repository.audit(hashes=True) if f.severity == "error"]
            assert errors == []
            yield number, function.__name__, server.url


def arguments(world: History, number: int, url: str, kind: str) -> list[dict[str, object]]:
    """For a client that has updated after each step, one that does so at times, and a new one."""
    root = (world.store.read("metadata/1.root.json") or b"").decode()
    clients = [f"{kind}-always", f"{kind}-{number}"]
    if number % 10 == 0 or number == len(STEPS) - 1:
        clients.append(f"{kind}-at-times")
    return [
        {
            "directory": str(world.directory / client),
            "url": url,
            "root": root,
            "targets": world.sample(number),
        }
        for client in clients
    ]


def test_clients_follow_a_long_history(tmp_path: Path) -> None:
    world = History(tmp_path)
    for number, _, url in play(world):
        for call in arguments(world, number, url, "client"):
            any_client.update(**call)  # type: ignore[arg-type]
    assert len(world.repository.state().roots) > 15


@pytest.mark.skipif(not PEER, reason="REFERENCE_PYTHON names no interpreter: run make interop")
def test_clients_of_tuf_7_0_1_follow_a_long_history(tmp_path: Path) -> None:
    world = History(tmp_path)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    for number, name, url in play(world):
        done = subprocess.run(
            [str(PEER), any_client.__file__],
            input=json.dumps(arguments(world, number, url, "peer")),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "7.0.1\n"), (name, done.stderr)

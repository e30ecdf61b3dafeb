"""Four processes publish at the same time into one repository, while clients update."""

import multiprocessing
from hashlib import sha256
from pathlib import Path
from threading import Barrier

import pytest
from repository.world import World

from tuf.repository import AddTarget, DirectoryStore, SetBins

NAMES = ("a", "b", "c", "d")
TARGETS = 100


class Logged(DirectoryStore):
    """A directory that has a log of every timestamp that was swapped in."""

    def __init__(self, directory: Path, log: Path) -> None:
        super().__init__(directory)
        self._log = log

    def swap(self, name: str, old: bytes | None, new: bytes) -> None:
        super().swap(name, old, new)
        if name == "metadata/timestamp.json":
            with self._log.open("ab") as log:
                log.write(new + b"\n")


def publish(directory: Path, name: str, at_once: int, start: Barrier) -> None:
    """What one process does."""
    world = World(directory, store=Logged(directory / "repo", directory / "log"))
    start.wait()
    for first in range(0, TARGETS, at_once):
        numbers = range(first, min(first + at_once, TARGETS))
        world.publish(*(AddTarget(f"{name}/{n}", data=content(name, n)) for n in numbers))


def content(name: str, number: int) -> bytes:
    return f"{name} {number}".encode()


@pytest.mark.parametrize(("bits", "at_once"), [(None, 50), (4, 10), (10, 100)])
def test_nothing_is_lost_while_clients_update(world: World, bits: int | None, at_once: int) -> None:
    if bits is not None:
        world.publish(SetBins(bits, (world.key("online"),)))
    published = set(world.file("metadata/"))
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(len(NAMES) + 1)
    processes = [
        context.Process(target=publish, args=(world.directory, name, at_once, start))
        for name in NAMES
    ]
    for process in processes:
        process.start()
    start.wait(60)

    everything = {f"{name}/{n}": content(name, n) for name in NAMES for n in range(TARGETS)}
    looked_for = list(everything)[:: TARGETS // 4]
    found: dict[str, bytes | None] = {}
    files: dict[str, bytes] = {}
    while any(process.is_alive() for process in processes):
        # What a client has found once, it and new ones find from then on.
        world.check(found, "going-on")
        with world.client("going-on") as client:
            found |= {path: everything[path] for path in looked_for if client.get_targetinfo(path)}
        # What is there once, stays as it is.
        for info in world.store.list("metadata/"):
            if info.name != "metadata/timestamp.json":
                data = world.store.read(info.name) or b""
                assert files.setdefault(info.name, data) == data
    assert [process.exitcode for process in processes] == [0] * len(NAMES)

    for name, data in files.items():
        assert world.store.read(name) == data
    assert published <= set(world.file("metadata/"))
    assert listed(world) == {path: sha256(data).hexdigest() for path, data in everything.items()}
    world.check({path: everything[path] for path in looked_for}, "going-on")
    assert [f for f in world.repository.audit(hashes=True) if f.severity != "note"] == []

    # Each publication has had its own version of the timestamp, and names a snapshot of its own.
    timestamps = (world.directory / "log").read_bytes().splitlines()
    count = len(NAMES) * -(-TARGETS // at_once)
    state = world.repository.state()
    assert state.timestamp is not None
    assert len(timestamps) == len(set(timestamps)) == count
    assert state.timestamp.signed.version == count + (1 if bits is None else 2)


def listed(world: World) -> dict[str, str]:
    """All targets that the repository lists, and their hashes."""
    state = world.repository.state()
    found: dict[str, str] = {}
    assert state.snapshot is not None
    for name in state.snapshot.signed.meta:
        metadata = state.targets(name.removesuffix(".json"))
        assert metadata is not None
        for path in metadata.signed.targets:
            assert path not in found
            found[path] = metadata.signed.targets[path].hashes["sha256"]
    return found

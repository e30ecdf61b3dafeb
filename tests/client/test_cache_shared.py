"""Many processes and threads on one cache, and processes that die while they use it."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from world import PopulatedWorld, World, WorldFetcher, new_keys

#: Updates from the repository so many times, as so many processes of an application do. Every
#: other update is by an updater that has already updated. Tells how many succeeded.
APPLICATION = """
import sys
from pathlib import Path
from tuf.ngclient import Updater

base, url, times = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def start():
    return Updater(
        str(base / "metadata"), url + "metadata/", str(base / "targets"), url + "targets/",
        bootstrap=(base / "bootstrap.json").read_bytes(),
    )

done = 0
for time in range(times):
    try:
        if time % 2 == 0:
            client = start()
        client.refresh()
        target = client.get_targetinfo("d/file")
        assert Path(client.download_target(target)).read_bytes() == b"content"
        done += 1
    except Exception as e:
        print(f"update {time}: {type(e).__name__}: {e}", flush=True)
print(done, flush=True)
"""


@pytest.fixture
def world(tmp_path: Path) -> PopulatedWorld:
    return PopulatedWorld(tmp_path)


def run_application(world: World, times: int) -> "subprocess.Popen[str]":
    (world.base / "machine").mkdir(exist_ok=True)
    (world.base / "machine" / "bootstrap.json").write_bytes(world.bootstrap)
    return subprocess.Popen(
        [sys.executable, "-c", APPLICATION, world.base / "machine", world.url, str(times)],
        stdout=subprocess.PIPE,
        text=True,
    )


def output(process: "subprocess.Popen[str]") -> str:
    return process.communicate()[0]


class Rotation:
    """New timestamp and snapshot keys, so that nobody who is in the middle of an update fails.

    For a while there are two keys, and both sign; then the old one is revoked.
    """

    def __init__(self, world: World, role: str) -> None:
        self._world = world
        self._role = role

    def step(self) -> None:
        world, role = self._world, self._role
        # Each is signed for one more step by a key that is revoked: some still trust just that.
        *_, newest = world.signers[role]
        if len(world.root.roles[role].keyids) == 1:
            (new,) = new_keys()
            world.signers[role] = [newest, new]
            world.publish(role)
            world.root.add_key(new.public_key, role)
        else:
            for signer in world.signers[role][:-1]:
                world.root.revoke_key(signer.public_key.keyid, role)
        world.release("root")
        world.publish(role)


@contextmanager
def watching(world: World) -> Iterator[None]:
    """Look at the cache all the time: its files are whole, and versions never go back."""
    seen = {"root": 0, "timestamp": 0, "snapshot": 0, "targets": 0, "d": 0}
    wrong: list[str] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.001):
            for role, highest in seen.items():
                try:
                    data = world.cache_file(role).read_bytes()
                except FileNotFoundError:
                    continue  # recovering from an attack with a revoked key
                try:
                    version = json.loads(data)["signed"]["version"]
                except ValueError:
                    wrong.append(f"{role} is not whole: {len(data)} bytes")
                    continue
                if version < highest:
                    wrong.append(f"{role} goes back from version {highest} to {version}")
                seen[role] = version

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert wrong == []
    assert min(seen.values()) > 0


def publish_while(world: World, busy: Callable[[], bool], requests: list[object]) -> None:
    """The repository does not wait for its users, but it is no faster than they are."""
    rotations = [Rotation(world, "timestamp"), Rotation(world, "snapshot")]
    steps = [
        lambda: world.publish("d"),
        lambda: world.rotate("root"),
        world.publish,
        rotations[0].step,
        lambda: world.publish("targets", "d"),
        rotations[1].step,
    ]
    for number in range(1_000_000):
        seen = len(requests)
        steps[number % len(steps)]()
        while busy() and len(requests) < seen + 100:
            time.sleep(0.005)
        if not busy():
            return


def temporary_files(world: World) -> list[Path]:
    """All files that no reader of the cache or user of targets has a use for."""
    staged = world.metadata_dir() / ".tuf"
    files = [file for file in staged.rglob("*") if file.name != "lock"]
    return files + list(world.target_dir().glob(".tuf-*"))


# -- processes


def test_480_updates_of_8_processes(world: PopulatedWorld) -> None:
    with world.serve() as server, watching(world):
        processes = [run_application(world, 60) for _ in range(8)]
        publish_while(world, lambda: any(p.poll() is None for p in processes), server.log)
        assert [output(process) for process in processes] == ["60\n"] * 8
    world.check()
    assert temporary_files(world) == []
    world.recovers()


def test_processes_begin_on_an_empty_cache_together(world: World) -> None:
    for _ in range(3):
        world.rotate("root")
    with world.serve():
        processes = [run_application(world, 1) for _ in range(6)]
        assert [output(process) for process in processes] == ["1\n"] * 6
    assert world.cached_version("root") == 4
    history = world.metadata_dir() / "root_history"
    assert sorted(file.name for file in history.iterdir()) == [
        f"{version}.root.json" for version in range(1, 5)
    ]
    world.check()


def test_processes_that_are_killed_at_any_moment(world: PopulatedWorld) -> None:
    chance = random.Random(1)
    world.update()
    with world.serve() as server:
        with watching(world):
            for _ in range(4):
                processes = [run_application(world, 1000) for _ in range(2)]
                for step in (lambda: world.rotate("root"), lambda: world.publish("targets", "d")):
                    seen = len(server.log)
                    wanted = seen + chance.randrange(10, 60)
                    while len(server.log) < wanted:
                        time.sleep(0.001)
                    step()
                time.sleep(chance.random() / 20)
                for process in processes:
                    process.send_signal(signal.SIGKILL)
                    process.communicate()
                    assert process.returncode == -signal.SIGKILL
                world.check()
        world.recovers()
        assert output(run_application(world, 2)) == "2\n"
    assert [file for file in temporary_files(world) if file.parent.name == ".tuf"] == []


# -- threads


def test_threads_share_a_cache(world: PopulatedWorld) -> None:
    """Each with an updater of its own."""

    def update(_: int) -> None:
        for _ in range(10):
            client = world.client()
            target = client.get_targetinfo("d/file")
            assert target is not None
            assert Path(client.download_target(target)).read_bytes() == b"content"

    requests: list[object] = world.requests  # type: ignore[assignment]
    with watching(world), ThreadPoolExecutor(8) as executor:
        futures = [executor.submit(update, number) for number in range(8)]
        publish_while(world, lambda: not all(future.done() for future in futures), requests)
        for future in futures:
            future.result()
    world.check()


def test_threads_share_an_updater(world: PopulatedWorld) -> None:
    client = world.client()

    def update(_: int) -> None:
        for _ in range(10):
            client.refresh()
            target = client.get_targetinfo("d/file")
            assert target is not None
            assert Path(client.download_target(target)).read_bytes() == b"content"

    requests: list[object] = world.requests  # type: ignore[assignment]
    with watching(world), ThreadPoolExecutor(8) as executor:
        futures = [executor.submit(update, number) for number in range(8)]
        publish_while(world, lambda: not all(future.done() for future in futures), requests)
        for future in futures:
            future.result()
    world.check()


# -- crashes, as they leave a cache


def test_what_a_crash_left_is_gone_after_the_next_write(world: PopulatedWorld) -> None:
    world.update()
    staged = world.metadata_dir() / ".tuf" / "new"
    staged.write_bytes(b'{"signed": {"_type": "timest')
    world.update()  # nothing is new, so nothing is written
    world.publish("timestamp")
    world.update()
    assert temporary_files(world) == []


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "d"])
@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 100, b"\xff", b"[" * 100_000, b"[]"])
def test_broken_file_in_the_cache_is_replaced(
    world: PopulatedWorld, role: str, content: bytes
) -> None:
    """A disk does what it likes after a power failure."""
    world.update()
    good = world.cached(role)
    world.cache_file(role).write_bytes(content)
    world.update()
    assert world.cached(role) == good


def test_crash_between_history_and_root(world: PopulatedWorld) -> None:
    """The history is written first, so that is what a crash in between leaves."""
    world.update()
    world.rotate("root")
    history = world.metadata_dir() / "root_history" / "2.root.json"
    history.write_bytes(world.files["metadata/2.root.json"])
    world.update()
    assert world.cached_version("root") == 2
    world.recovers()


# -- updates that overlap, step by step


class LateFetcher(WorldFetcher):
    """Lets something else happen while one answer is under way."""

    def __init__(self, world: World, path: str, act: Callable[[], object]) -> None:
        super().__init__(world)
        self._path = path
        self._act = act

    def _fetch(self, url: str) -> Iterator[bytes]:
        answer = super()._fetch(url)
        if url == self.world.url + self._path:
            self._path = ""
            self._act()
        return answer


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "d"])
def test_slow_update_does_not_undo_a_fast_one(world: PopulatedWorld, role: str) -> None:
    world.update()
    world.publish("targets", "d")

    def overtake() -> None:
        world.publish("targets", "d")
        world.update()

    slow = world.client(fetcher=LateFetcher(world, world.path(role), overtake))
    assert slow.get_targetinfo("d/file") is not None
    world.check()
    for name in ("timestamp", "snapshot", "targets", "d"):
        assert world.cached(name) == world.files[world.path(name)], name


def test_search_does_not_undo_a_refresh_of_the_same_updater(world: PopulatedWorld) -> None:
    """A thread that searches goes on with what was trusted when it began."""
    world.update()
    world.publish("d")

    def overtake() -> None:
        world.publish("d")
        client.refresh()
        assert client.get_targetinfo("d/file") is not None

    client = world.client(fetcher=LateFetcher(world, world.path("d"), overtake))
    client.refresh()
    assert client.get_targetinfo("d/file") is not None
    assert world.cached("d") == world.files[world.path("d")]
    world.check()


def test_slow_update_does_not_undo_a_rotation(world: PopulatedWorld) -> None:
    """What was verified under an old root is not written beside a newer one."""
    world.update()
    world.publish("timestamp")

    def recover() -> None:
        world.rotate("timestamp")
        world.update()

    slow = world.client(fetcher=LateFetcher(world, world.path("timestamp"), recover))
    slow.refresh()
    for name in ("root", "timestamp", "snapshot"):
        assert world.cached(name) == world.files[world.path(name)], name
    world.update()


@pytest.mark.parametrize("role", ["timestamp", "snapshot"])
def test_nobody_removes_what_others_wrote_after_a_revocation(
    world: PopulatedWorld, role: str
) -> None:
    """Only files from before a key was revoked may be removed (5.3.11)."""
    world.update()
    world.rotate(role)
    slow = world.client(fetcher=LateFetcher(world, "metadata/2.root.json", world.update))
    kept: list[bytes | None] = []

    def look(path: str) -> None:
        if path == "metadata/3.root.json":
            kept.append(world.cached(role))

    world.on_request = look
    slow.refresh()
    world.on_request = None
    assert kept == [None, world.files[world.path(role)]]  # while the other recovers, and now
    world.check()

"""Target files: where they are, when they are there, and what happens when they cannot be."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from servers import Handler, Server, drip_body, status

from tuf.api.exceptions import (
    DownloadCancelledError,
    DownloadError,
    DownloadHTTPError,
    LengthOrHashMismatchError,
    LocalFileError,
    RepositoryError,
)
from tuf.api.metadata import TargetFile
from tuf.ngclient import Updater
from world import World

MIB = 1 << 20


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Deep down, so that there is a lot outside of it."""
    return World(tmp_path / "some" / "where")


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    with world.serve() as server:
        yield server


def tree(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def subdirectories(world: World) -> Updater:
    client = world.client(targets_in_subdirectories=True)
    client.refresh()
    return client


# -- in subdirectories


def test_subdirectories_follow_the_target_path(world: World) -> None:
    paths = ["a/b/c", "a/b/d e", "a/f", "g", "é/日本", "..a/b..", "a/...", "-x/~"]
    targets = [world.add_target(path, path.encode()) for path in paths]
    client = subdirectories(world)
    for target in targets:
        file = Path(client.download_target(target))
        assert file == world.target_dir() / target.path
        assert file.read_bytes() == target.path.encode()
        assert client.find_cached_target(target) == str(file)
    assert client.updated_targets(targets) == []
    assert client.download_targets(paths) == {p: str(world.target_dir() / p) for p in paths}
    world.check()


@pytest.mark.parametrize(
    "path",
    [
        *("..", "../x", "../../x", "a/../x", "a/../../x", "a/..", ".", "./x", "a/./x", "a/."),
        *("", "/", "/x", "//x", "a//x", "a/", "a/b/"),
        *("\\x", "..\\x", "a\\b", "C:\\x", "C:x", "\\\\host\\share", "a/b:stream", "a\0b"),
    ],
)
def test_subdirectories_do_not_follow_what_leads_elsewhere(world: World, path: str) -> None:
    target = world.add_target(path, b"content")
    client = subdirectories(world)
    before = tree(world.base.parent)
    actions: list[Any] = [
        client.download_target,
        client.find_cached_target,
        lambda target: client.updated_targets([target]),
        lambda target: client.download_targets([target]),
        lambda target: client.remove_obsolete_targets(["none", target.path + "/../none"]),
    ]
    for act in actions:
        with pytest.raises(ValueError, match="target path"):
            act(target)
    assert tree(world.base.parent) == before


@pytest.fixture
def outside(world: World) -> Path:
    outside = world.base.parent / "outside"
    outside.mkdir(parents=True)
    (outside / "x").write_bytes(b"content")
    return outside


@pytest.mark.parametrize("link", ["a", "a/b"])
def test_subdirectory_that_is_a_link_is_not_followed(
    world: World, outside: Path, link: str
) -> None:
    target = world.add_target("a/b/x", b"content")
    other = world.add_target("a/b/y", b"content")
    place = world.target_dir() / link
    client = subdirectories(world)
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(outside if link == "a/b" else outside.parent)
    if link == "a":
        outside.rename(outside.parent / "b")
        outside = outside.parent / "b"
    for wanted in (target, other):
        with pytest.raises(LocalFileError):
            client.download_target(wanted)
        assert client.find_cached_target(wanted) is None
        assert client.updated_targets([wanted]) == [wanted]
    del world.targets().targets["a/b/x"]
    world.publish("targets")
    client.refresh()
    assert client.remove_obsolete_targets(["a/b/x"]) == []
    assert client.remove_obsolete_targets() == []
    assert tree(outside) == {"x"}
    assert (outside / "x").read_bytes() == b"content"


def test_target_directory_may_be_a_link(world: World, outside: Path) -> None:
    """The application has named it, and not the repository."""
    target = world.add_target("a/y", b"content")
    client = subdirectories(world)
    world.target_dir().rmdir()
    world.target_dir().symlink_to(outside)
    assert Path(client.download_target(target)).read_bytes() == b"content"
    assert (outside / "a" / "y").exists()


@pytest.mark.parametrize("in_subdirectories", [True, False])
def test_link_in_the_place_of_a_file_is_replaced(
    world: World, outside: Path, in_subdirectories: bool
) -> None:
    target = world.add_target("x", b"content")
    client = world.client(targets_in_subdirectories=in_subdirectories)
    place = world.target_dir() / "x"
    for aim in (outside / "x", outside / "none", outside):
        place.unlink(missing_ok=True)
        place.symlink_to(aim)
        assert client.updated_targets([target]) == [target]
        assert client.find_cached_target(target) is None
        assert client.download_target(target) == str(place)
        assert not place.is_symlink()
        assert client.find_cached_target(target) == str(place)
    assert tree(outside) == {"x"}


def test_a_file_where_a_directory_is_wanted_and_the_other_way_round(world: World) -> None:
    targets = [world.add_target(path, b"content") for path in ("a", "a/b", "c/d", "c")]
    client = subdirectories(world)
    for there, wanted in (targets[:2], targets[2:]):
        file = Path(client.download_target(there))
        for _ in range(2):
            with pytest.raises(LocalFileError):
                client.download_target(wanted)
            assert client.find_cached_target(wanted) is None
        assert file.read_bytes() == b"content"
    assert tree(world.target_dir()) == {"a", "c", "c/d"}


def test_missing_directories_are_made(world: World, tmp_path: Path) -> None:
    target = world.add_target("a/b", b"content")
    client = subdirectories(world)
    world.target_dir().rmdir()
    assert Path(client.download_target(target)).read_bytes() == b"content"
    client.target_dir = str(tmp_path / "new" / "targets")
    assert Path(client.download_target(target)) == tmp_path / "new" / "targets" / "a" / "b"


# -- a file is there when it is whole


def test_file_appears_whole(world: World, server: Server) -> None:
    contents = [os.urandom(20_000), os.urandom(30_000)]
    target = world.add_target("a", contents[0])
    server.behave("*", good_metadata_slow_targets)
    file = world.target_dir() / "a"
    client = world.client()
    client.refresh()
    seen: set[bytes | None] = set()
    counts: list[int] = []

    def look(_: TargetFile, count: int) -> None:
        counts.append(count)
        seen.add(file.read_bytes() if file.exists() else None)

    client.download_target(target, progress=look)
    assert seen == {None}
    assert file.read_bytes() == contents[0]
    target = world.add_target("a", contents[1])
    seen.clear()
    client.download_target(target, progress=look)
    assert seen == {contents[0]}
    assert file.read_bytes() == contents[1]
    assert len(counts) > 10


def good_metadata_slow_targets(handler: Handler, body: bytes | None) -> None:
    if body is None:
        handler.send(404, b"")
    elif "/targets/" in handler.path:
        drip_body(0.002, 2000)(handler, body)
    else:
        handler.send(200, body)


# -- the same target, by many


def test_threads_download_the_same_target(world: World, server: Server) -> None:
    content = os.urandom(2 * MIB)
    target = world.add_target("a", content)
    client = world.client()
    client.refresh()
    with ThreadPoolExecutor(8) as executor:
        files = list(executor.map(client.download_target, [target] * 16))
    assert set(files) == {str(world.target_dir() / "a")}
    assert Path(files[0]).read_bytes() == content
    assert tree(world.target_dir()) == {"a"}


DOWNLOAD = """
import sys
from pathlib import Path
from tuf.ngclient import Updater, UpdaterConfig

url, directory, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
root = Path(sys.argv[4]).read_bytes()
client = Updater(
    None, url + "metadata/", directory, url + "targets/",
    config=UpdaterConfig(retries=0), bootstrap=root,
)
target = client.get_targetinfo("a")
for _ in range(times):
    file = Path(client.download_target(target))
    assert len(file.read_bytes()) == target.length
print("good")
"""


def program(world: World, source: str, *arguments: str) -> list[str | Path]:
    """A command that runs a program for a new process."""
    root = world.base / "root.json"
    root.write_bytes(world.bootstrap)
    return [sys.executable, "-c", source, world.url, world.target_dir(), *arguments, root]


def test_processes_download_the_same_target(world: World, server: Server) -> None:
    content = os.urandom(2 * MIB)
    world.add_target("a", content)
    world.client()
    command = program(world, DOWNLOAD, "5")
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[0] for process in processes] == ["good\n"] * 4
    assert (world.target_dir() / "a").read_bytes() == content
    assert tree(world.target_dir()) == {"a"}


def test_killed_process_leaves_no_file(world: World, server: Server) -> None:
    content = os.urandom(2 * MIB)
    target = world.add_target("a", content)
    client = world.client()
    client.refresh()
    server.behave(f"/{world.target_path(target)}", drip_body(0.001, 1000))
    process = subprocess.Popen(program(world, DOWNLOAD, "1"))
    while not any(part.stat().st_size for part in world.target_dir().glob(".tuf-*")):
        assert process.poll() is None
    process.kill()
    process.wait()
    assert not (world.target_dir() / "a").exists()
    server.behave(f"/{world.target_path(target)}", status(500), times=0)
    assert Path(client.download_target(target)).read_bytes() == content


# -- a disk that is full, and one that cannot be written

FULL = """
import resource, signal, sys
from pathlib import Path
from tuf.api.exceptions import LocalFileError
from tuf.ngclient import Updater

url, directory, get = sys.argv[1], sys.argv[2], sys.argv[3]
root = Path(sys.argv[4]).read_bytes()
client = Updater(
    directory + "/../metadata", url + "metadata/", directory, url + "targets/", bootstrap=root
)
target = client.get_targetinfo("a")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = resource.getrlimit(resource.RLIMIT_FSIZE)
for size in (target.length - 1, target.length // 2, 5000, 1, 0):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        getattr(client, get)(target)
    except LocalFileError as e:
        print(type(e).__name__, e.errno is not None)
    else:
        print("no error with", size, "bytes")
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    print([path.name for path in Path(directory).iterdir()])
if get == "download_target":
    client.download_target(target)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("length", [2 * MIB, 2 * MIB + 100, 8 * MIB + 1])
@pytest.mark.parametrize("get", ["download_target", "open_target", "read_target"])
def test_disk_full(world: World, server: Server, length: int, get: str) -> None:
    """No file may be longer than a limit: like a full disk, writing fails."""
    world.add_target("a", os.urandom(length))
    world.client()
    done = subprocess.run(
        program(world, FULL, get),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["LocalFileError True", "[]"] * 5
    assert done.returncode == 0


FULL_CACHE = """
import resource, signal, sys
from pathlib import Path
from tuf.api.exceptions import LocalFileError
from tuf.ngclient import Updater

url, directory = sys.argv[1], sys.argv[2] + "/../metadata"
root = Path(sys.argv[3]).read_bytes()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = resource.getrlimit(resource.RLIMIT_FSIZE)
for size in (0, 1, 100, 400, 600, 1000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        Updater(directory, url + "metadata/", bootstrap=root).refresh()
    except LocalFileError as e:
        print(type(e).__name__)
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not (Path(directory) / ".tuf" / "new").exists()
Updater(directory, url + "metadata/", bootstrap=root).refresh()
print("good")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_disk_full_for_metadata(world: World, server: Server) -> None:
    for number in range(30):
        world.targets().targets[f"{number}"] = TargetFile.from_data(f"{number}", b"content")
    world.publish("targets")
    world.client()
    output = subprocess.check_output(program(world, FULL_CACHE), text=True)
    assert output.splitlines() == ["LocalFileError"] * 6 + ["good"]
    world.check()
    world.client().refresh()


def test_target_directory_that_cannot_be(world: World) -> None:
    """Permissions do not stop root, so here a file is in the way."""
    target = world.add_target("a", b"content")
    client = world.client()
    world.target_dir().rmdir()
    world.target_dir().write_bytes(b"in the way")
    for _ in range(2):
        with pytest.raises(LocalFileError):
            client.download_target(target)
        assert client.find_cached_target(target) is None
    world.target_dir().unlink()
    assert Path(client.download_target(target)).read_bytes() == b"content"


def test_name_too_long_for_the_disk(world: World) -> None:
    target = world.add_target("é" * 200, b"content")
    with pytest.raises(LocalFileError):
        world.client().download_target(target)
    assert tree(world.target_dir()) == set()


# -- many targets at once


def add_targets(world: World, count: int) -> list[TargetFile]:
    targets = []
    for number in range(count):
        content = b"%d" % number * 100
        target = TargetFile.from_data(f"dir/{number}", content, ["sha256"])
        world.targets().targets[target.path] = target
        world.files[world.target_path(target)] = content
        targets.append(target)
    world.publish("targets")
    return targets


def test_download_targets(world: World, server: Server) -> None:
    targets = add_targets(world, 200)
    client = world.client()
    wanted: list[TargetFile | str] = [
        target if number % 2 else target.path for number, target in enumerate(reversed(targets))
    ]
    counts: dict[str, int] = {}
    found = client.download_targets(
        iter(wanted), workers=8, progress=lambda t, count: counts.update({t.path: count})
    )
    assert list(found) == [target.path for target in reversed(targets)]
    for target in targets:
        assert Path(found[target.path]) == world.target_dir() / target.path.replace("/", "%2F")
        assert client.find_cached_target(target) == found[target.path]
    assert counts == {target.path: target.length for target in targets}
    assert server.connections <= 9
    requests = [path for path in server.paths if path.startswith("/targets/")]
    assert len(requests) == 200

    # What is there is not downloaded again, and what is wrong is.
    Path(found["dir/7"]).write_bytes(b"x")
    Path(found["dir/8"]).unlink()
    server.log.clear()
    assert client.download_targets(wanted) == found
    assert len(server.log) == 2
    assert client.updated_targets(targets) == []


def test_download_no_targets(world: World) -> None:
    assert world.client().download_targets([]) == {}


def test_download_targets_more_than_once(world: World, server: Server) -> None:
    targets = add_targets(world, 2)
    found = world.client().download_targets([*targets, "dir/0", *targets])
    assert list(found) == ["dir/0", "dir/1"]


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ("absent", DownloadHTTPError),
        ("other content", LengthOrHashMismatchError),
        ("unknown", RepositoryError),
    ],
)
def test_download_targets_ends_with_the_first_failure(
    world: World, server: Server, failure: str, error: type[Exception]
) -> None:
    """Whoever is at work is stopped, also by a failure further down the list."""
    slow, *targets = add_targets(world, 100)
    wanted: list[TargetFile | str] = [slow, *targets]
    bad = targets[0]
    if failure == "unknown":
        wanted[1] = "unknown"
    elif failure == "absent":
        del world.files[world.target_path(bad)]
    else:
        world.files[world.target_path(bad)] = b"X" * bad.length
    server.behave(f"/{world.target_path(slow)}", drip_body(0.1))
    with pytest.raises(error):
        world.client().download_targets(wanted, workers=2)
    assert not (world.target_dir() / "dir%2F0").exists()
    assert len(tree(world.target_dir())) < 98
    assert not any(name.startswith(".tuf-") for name in tree(world.target_dir()))


def test_download_targets_can_be_cancelled(world: World, server: Server) -> None:
    targets = add_targets(world, 50)
    cancel = threading.Event()

    def progress(_: TargetFile, count: int) -> None:
        cancel.set()

    client = world.client()
    with pytest.raises(DownloadCancelledError):
        client.download_targets(targets, workers=2, progress=progress, cancel=cancel)
    assert len(tree(world.target_dir())) <= 2
    server.log.clear()
    with pytest.raises(DownloadError):
        client.download_targets(targets, cancel=cancel)
    assert server.log == []

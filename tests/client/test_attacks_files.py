"""Published flaws of TUF implementations, and holes of release 7.0.1: files, names, servers."""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from servers import (
    Behaviour,
    drip_body,
    endless,
    good,
    gzipped,
    redirect,
    status,
    too_much,
    truncated,
)

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    RepositoryError,
    SlowRetrievalError,
    StorageError,
)
from tuf.ngclient import FetcherInterface, Urllib3Fetcher
from world import PopulatedWorld, World

DECLARED = (RepositoryError, DownloadError, StorageError, ValueError)

EVIL_NAMES = pytest.mark.parametrize(
    "name",
    [
        *("../x", "../../x", "../../../x", "a/../../../x", "/x", "//x", "..", ".", "./x", "~/x"),
        *("..\\x", "C:\\x", "C:x", "\\\\host\\x", "x\0y", "x\ny", "a" * 300, "é" * 200, " "),
        *("%2e%2e", "%2e%2e%2fx", "..%2fx", "a?b#c", "NUL", "CON.json", "x/", "-rf"),
    ],
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Deep down, so that there is a lot outside of it."""
    return World(tmp_path / "some" / "where")


def outside(world: World) -> dict[Path, bytes | None]:
    """Everything around the world's own directories of machines."""
    top = world.base.parent.parent
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in top.rglob("*")
        if world.base / "machine" not in (path, *path.parents)
    }


# -- names


@EVIL_NAMES
@pytest.mark.parametrize("consistent", [True, False])
def test_cve_2021_41131_role_names(tmp_path: Path, name: str, consistent: bool) -> None:
    """Also tough 0.12, CVE-2026-24137, CVE-2026-24686, CVE-2026-6968.

    A role's file is written to the metadata directory, under its encoded name, or not at all."""
    world = World(tmp_path / "some" / "where", consistent_snapshot=consistent)
    world.delegate(name)
    client = world.client()
    client.refresh()
    before = outside(world)
    cached = world.cached("root")
    try:
        assert client.get_targetinfo("any") is None
    except DECLARED:
        pass
    else:
        kept = [file.read_bytes() for file in world.metadata_dir().glob("*.json")]
        assert world.files[world.path(name)] in kept
    assert outside(world) == before
    assert world.cached("root") == cached
    if len(quote(name, safe="")) < 250:  # how a longer one is named is the client's own affair
        world.check()


@EVIL_NAMES
def test_cve_2021_41131_target_names(world: World, name: str) -> None:
    """Also CVE-2026-6968 and the audits: a target's file is written to the target directory, under
    its encoded name, or not at all."""
    target = world.add_target(name, b"content")
    client = world.client()
    client.refresh()
    before = outside(world)
    path = "targets/" + target.get_prefixed_paths()[0]
    for served in (path, path.replace("..", "%2E%2E"), quote(path)):
        world.files.setdefault(served, b"content")
    try:
        file = Path(client.download_target(target))
    except DECLARED:
        pass
    else:
        assert file == world.target_dir() / quote(name, safe="")
        assert file.read_bytes() == b"content"
        assert client.find_cached_target(target) == str(file)
    assert outside(world) == before
    world.check()


def test_target_names_that_are_directories_are_no_cached_targets(world: World) -> None:
    client = world.client()
    for name in (".", "..", ""):
        target = world.add_target(name, b"content")
        with suppress(*DECLARED):
            assert client.find_cached_target(target) is None
        with pytest.raises(DECLARED):
            client.download_target(target)
    world.check()


@EVIL_NAMES
def test_cve_2026_6968_target_names_that_subdirectories_follow(world: World, name: str) -> None:
    target = world.add_target(name, b"content")
    client = world.client(targets_in_subdirectories=True)
    client.refresh()
    before = outside(world)
    path = "targets/" + target.get_prefixed_paths()[0]
    for served in (path, path.replace("..", "%2E%2E"), quote(path)):
        world.files.setdefault(served, b"content")
    with suppress(*DECLARED):
        file = Path(client.download_target(target))
        assert file.resolve().is_relative_to(world.target_dir().resolve())
        assert file.read_bytes() == b"content"
    assert outside(world) == before


@pytest.mark.parametrize("link", ["dir", "dir/sub", "dir/sub/a.txt"])
def test_cve_2026_6968_symlinked_parent_of_a_target(world: World, link: str) -> None:
    """Also CVE-2026-24137 and CVE-2026-24686: no link is followed below the target directory."""
    target = world.add_target("dir/sub/a.txt", b"content")
    client = world.client(targets_in_subdirectories=True)
    client.refresh()
    elsewhere = world.base.parent / "elsewhere"
    (elsewhere / "sub").mkdir(parents=True)
    (world.target_dir() / link).parent.mkdir(parents=True, exist_ok=True)
    (world.target_dir() / link).symlink_to(elsewhere)
    before = outside(world)
    with suppress(*DECLARED):
        client.download_target(target)
    assert outside(world) == before
    for found in elsewhere.rglob("*"):
        assert found == elsewhere / "sub"


def test_role_named_like_another_roles_file_in_the_cache(world: World) -> None:
    """Names that differ are files that differ, also when one is the encoded other."""
    for name in ("a/b", "a%2Fb", "a%252Fb", "1.a", "root.json", "root_history/1.root"):
        world.delegate(name, [name])
        world.add_target(name, name.encode(), name)
    client = world.client()
    for name in ("a/b", "a%2Fb", "a%252Fb", "1.a", "root.json", "root_history/1.root"):
        assert client.get_targetinfo(name) == world.targets(name).targets[name]
    world.check()


# -- links


def test_audit_2022_2023_symlinked_target_is_not_written_through(world: World) -> None:
    target = world.add_target("a.txt", b"content")
    client = world.client()
    secret = world.base.parent / "secret"
    secret.write_bytes(b"secret")
    (world.target_dir() / "a.txt").symlink_to(secret)
    try:
        file = Path(client.download_target(target))
    except DECLARED:
        pass
    else:
        assert not file.is_symlink()
        assert file.read_bytes() == b"content"
    assert secret.read_bytes() == b"secret"


def test_audit_2022_2023_dangling_link_makes_no_file(world: World) -> None:
    target = world.add_target("a.txt", b"content")
    client = world.client()
    (world.target_dir() / "a.txt").symlink_to(world.base.parent / "made")
    with suppress(*DECLARED):
        client.download_target(target)
    assert not (world.base.parent / "made").exists()


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets"])
def test_audit_2022_2023_symlinked_metadata_is_not_written_through(world: World, role: str) -> None:
    world.client().refresh()
    secret = world.base.parent / "secret"
    secret.write_bytes(world.cached(role) or b"")
    before = secret.read_bytes()
    world.cache_file(role).unlink()
    world.cache_file(role).symlink_to(secret)
    world.rotate("root")
    world.publish("targets")
    with suppress(*DECLARED):
        world.client().refresh()
    assert secret.read_bytes() == before


# -- names in URLs


@pytest.mark.parametrize(
    "path",
    [
        "a b.txt",
        "a#b.txt",
        "a?b=c.txt",
        "a%b.txt",
        "a%20b.txt",
        "ünïcode/日本.txt",
        "a+b&c;d.txt",
        "dir.with:colon@/x",
        "quo\"te's",
        "back\\slash",
    ],
)
@pytest.mark.parametrize("consistent", [True, False])
def test_target_paths_are_encoded_in_urls(tmp_path: Path, path: str, consistent: bool) -> None:
    """Release 7.0.1 put them there as they are. The hash goes before the base name."""
    world = World(tmp_path, consistent_snapshot=consistent)
    target = world.add_target(path, path.encode())
    with world.serve() as server:
        client = world.client()
        found = client.get_targetinfo(path)
        assert found == target
        file = Path(client.download_target(target))
    assert file.read_bytes() == path.encode()
    assert file == world.target_dir() / quote(path, safe="")
    directory, slash, name = path.rpartition("/")
    prefix = f"{target.hashes['sha256']}." if consistent else ""
    assert server.paths[-1] == f"/targets/{directory}{slash}{prefix}{name}"
    world.check()


# -- crashes


class Crash(BaseException):
    """Not an error, but the end."""


class CrashingFetcher(FetcherInterface):
    """Ends in the middle of a target file."""

    def __init__(self, world: World) -> None:
        self.world = world

    def _fetch(self, url: str) -> Iterator[bytes]:
        data = self.world.files.get(url.removeprefix(self.world.url))
        if data is None:
            raise DownloadHTTPError("no such file", 404)
        yield data[: len(data) // 2]
        if "/targets/" in url:
            self.end()
        yield data[len(data) // 2 :]

    def end(self) -> None:
        raise Crash


class DyingFetcher(CrashingFetcher):
    def end(self) -> None:
        os._exit(9)


def test_crash_leaves_no_half_of_a_target(world: World) -> None:
    """Release 7.0.1 wrote target files in place."""
    old = world.add_target("a.txt", b"old content")
    client = world.client()
    file = Path(client.download_target(old))
    new = world.add_target("a.txt", b"new content that is longer")
    other = world.add_target("b.txt", b"other")
    crashing = world.client(fetcher=CrashingFetcher(world))
    crashing.refresh()
    for target in (new, other):
        with pytest.raises(Crash):
            crashing.download_target(target)
        assert file.read_bytes() == b"old content"
        assert not (world.target_dir() / "b.txt").exists()
    world.check()

    def die() -> None:
        world.client(fetcher=DyingFetcher(world)).download_target(new)

    process = multiprocessing.get_context("fork").Process(target=die)
    process.start()
    process.join()
    assert process.exitcode == 9
    assert file.read_bytes() == b"old content"
    world.check()

    for target in (new, other):
        assert Path(world.client().download_target(target)).is_file()
    assert file.read_bytes() == b"new content that is longer"
    world.check()


# -- many processes on one cache


def refresh_often(world: World, results: "multiprocessing.SimpleQueue[object]") -> None:
    try:
        for _ in range(6):
            client = world.client()
            client.refresh()
            target = client.get_targetinfo("d/file")
            assert target is not None
            assert Path(client.download_target(target)).read_bytes() == b"content"
    except BaseException as e:  # noqa: BLE001
        results.put(repr(e))
    else:
        results.put("good")


def test_eight_processes_share_a_cache(tmp_path: Path) -> None:
    """17 of 960 refreshes of release 7.0.1 failed."""
    world = PopulatedWorld(tmp_path)
    fork = multiprocessing.get_context("fork")
    results = fork.SimpleQueue()
    with world.serve() as server:
        processes = [fork.Process(target=refresh_often, args=(world, results)) for _ in range(8)]
        for process in processes:
            process.start()
        # The repository does not wait for them. What is named is there before its name is.
        while any(process.is_alive() for process in processes):
            seen = len(server.log)
            world.publish("d")
            world.rotate("root")
            while len(server.log) < seen + 40 and any(p.is_alive() for p in processes):
                processes[0].join(0.01)
    assert [results.get() for _ in processes] == ["good"] * 8
    world.check()


# -- bad servers


def hasty_fetcher() -> Urllib3Fetcher:
    return Urllib3Fetcher(socket_timeout=5, retries=0, min_rate=2000, rate_window=0.3)


Errors = type[Exception] | tuple[type[Exception], ...]

HOSTILE: list[tuple[str, Behaviour, Errors]] = [
    ("truncated", truncated(100), DownloadError),
    ("truncated to nothing", truncated(0), DownloadError),
    ("too much", too_much(1 << 20), DownloadLengthMismatchError),
    ("endless", endless(), DownloadLengthMismatchError),
    ("slow", drip_body(0.05), SlowRetrievalError),
    ("compressed", gzipped, (DownloadError, RepositoryError)),
    ("redirects in a circle", redirect("?again"), DownloadError),
    ("error with an endless page", endless(404), DownloadHTTPError),
    ("error", status(500), DownloadHTTPError),
]


@pytest.mark.parametrize(
    ("behaviour", "error"), [pytest.param(*rest, id=name) for name, *rest in HOSTILE]
)
@pytest.mark.parametrize("what", ["timestamp", "d", "target"])
def test_hostile_server(tmp_path: Path, what: str, behaviour: Behaviour, error: Errors) -> None:
    """Only declared errors come out; then the next update is good."""
    world = PopulatedWorld(tmp_path)
    target = world.add_target("d/big", os.urandom(5000), "d")
    path = world.target_path(target) if what == "target" else world.path(what)
    with world.serve() as server, closing(hasty_fetcher()) as fetcher:
        client = world.client(fetcher=fetcher)

        def download() -> None:
            client.get_targetinfo("d/big")
            client.download_target(target)

        server.behave(f"/{path}", behaviour)
        with pytest.raises(error):
            download()
        world.check()
        assert list(world.target_dir().glob("[!.]*")) == []
        assert {request.headers["accept-encoding"] for request in server.log} == {"identity"}

        server.behave(f"/{path}", good)
        world.update(fetcher=fetcher)
        download()
    world.recovers()


def test_compressed_bomb_stays_small(world: World) -> None:
    """It is not asked for, and not unpacked."""
    world.add_target("big", bytes(50_000_000))
    bomb = world.targets().targets["big"]
    bomb.length = 60_000
    world.publish("targets")
    with world.serve() as server:
        server.behave("/" + world.target_path(bomb), gzipped)
        with pytest.raises((DownloadError, RepositoryError)):
            world.client().download_target(bomb)
        assert server.log[-1].headers["accept-encoding"] == "identity"
    assert list(world.target_dir().glob("[!.]*")) == []

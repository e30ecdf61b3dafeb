"""Mirrors of a repository that goes on, over HTTP."""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from repository.world import Published, World
from servers import Behaviour, Server, status, too_much, truncated

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
)
from tuf.ngclient import Urllib3Fetcher
from tuf.repository import (
    AddTarget,
    Change,
    ClearTargets,
    Delegate,
    DirectoryStore,
    RemoveTarget,
    Renew,
    RotateKey,
    SetBins,
)
from tuf.repository._copying import Copied
from tuf.repository.mirroring import mirror
from tuf.repository.store import Content, Store

DATA = Path(__file__).parents[1] / "data"


class Mirror:
    """A mirror of a world, which has clients of its own."""

    def __init__(self, world: World, directory: Path) -> None:
        directory.mkdir()
        self.origin = world
        self.copy = World(directory, store=DirectoryStore(directory / "mirror"))
        self.store: Store = self.copy.store
        self.root = world.store.read("metadata/1.root.json") or b""
        self.server = Server(Published(world.store))  # type: ignore[arg-type]

    def update(self, **options: bool) -> Copied:
        self.server.log.clear()
        url = self.server.url
        fetch = Urllib3Fetcher().fetch
        return mirror(
            f"{url}/metadata/",
            f"{url}/targets",
            self.store,
            fetch,
            self.root,
            now=self.origin.now,
            **options,
        )


@pytest.fixture
def at_mirror(world: World, tmp_path: Path) -> Iterator[Mirror]:
    """A mirror, empty at first, of a repository with some targets."""
    world.publish(AddTarget("a", data=b"A"), AddTarget("dir/b c", data=b"B"))
    made = Mirror(world, tmp_path / "at-mirror")
    with made.server:
        yield made


class Watched(DirectoryStore):
    """A store that lets somebody look after every write."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.look: Callable[[], None] = lambda: None
        self.writes = 0

    def create_many(self, files: Iterable[tuple[str, Content]]) -> list[str]:
        """Write one by one, so that each can be seen."""
        there: list[str] = []
        for name, content in files:
            there += super().create_many([(name, content)])
            self.writes += 1
            self.look()
        return there

    def swap(self, name: str, old: bytes | None, new: bytes) -> None:
        super().swap(name, old, new)
        self.writes += 1
        self.look()


def test_only_what_is_new_is_fetched(at_mirror: Mirror) -> None:
    done = at_mirror.update()
    assert done.versions == {"root": 1, "targets": 2, "snapshot": 2, "timestamp": 2}
    assert (done.targets, done.missing) == (2, ())
    at_mirror.copy.check({"a": b"A", "dir/b c": b"B", "new": None})

    assert not at_mirror.update()
    assert at_mirror.server.paths == ["/metadata/2.root.json", "/metadata/timestamp.json"]

    at_mirror.origin.publish(AddTarget("new", data=b"new"))
    assert at_mirror.update().versions == {"targets": 3, "snapshot": 3, "timestamp": 3}
    (target,) = [path for path in at_mirror.server.paths if path.startswith("/targets/")]
    assert at_mirror.server.paths == [
        "/metadata/2.root.json",
        "/metadata/timestamp.json",
        "/metadata/3.snapshot.json",
        "/metadata/3.targets.json",
        target,
    ]
    at_mirror.copy.check({"a": b"A", "dir/b c": b"B", "new": b"new"})
    assert at_mirror.copy.repository.audit(hashes=True) == []


def test_bins_and_delegations(at_mirror: Mirror) -> None:
    world = at_mirror.origin
    key = world.key("online")
    world.publish(Delegate("app", (key,), ("app/*",)), AddTarget("app/x", data=b"x", role="app"))
    world.publish(SetBins(bits=3, keys=(key,), role="app"))
    at_mirror.update()
    at_mirror.copy.check({"a": b"A", "app/x": b"x"})

    world.publish(AddTarget("app/y", data=b"y", role="app"))
    done = at_mirror.update()

    assert sorted(role.partition("-")[0] for role in done.versions) == [
        "bins",
        "snapshot",
        "timestamp",
    ]
    assert len(at_mirror.server.paths) == 5  # the next root, timestamp, snapshot, a bin, its target
    at_mirror.copy.check({"a": b"A", "app/x": b"x", "app/y": b"y"})


def test_clients_of_the_mirror_succeed_at_every_write(at_mirror: Mirror) -> None:
    at_mirror.update()
    world = at_mirror.origin
    watched = Watched(at_mirror.copy.directory / "mirror")
    at_mirror.store = watched
    watched.look = lambda: at_mirror.copy.check({"a": b"A"})
    old = world.policy.keyring().public_key("online")
    changes: list[list[Change]] = [
        [RotateKey("timestamp", old.keyid, world.key("timestamp"))],
        [RotateKey("snapshot", old.keyid, world.key("snapshot")), AddTarget("b", data=b"b")],
        [RotateKey("targets", old.keyid, world.key("targets"))],
        [RotateKey("root", world.key("root").keyid, world.key("new-root"))],
        [RotateKey("timestamp", world.key("timestamp").keyid, old), Renew("targets")],
    ]
    for change in changes:
        world.publish(*change)
        before = watched.writes
        at_mirror.update()
        assert watched.writes > before
    at_mirror.copy.check({"a": b"A", "b": b"b"})


def test_mirror_that_was_interrupted_goes_on(at_mirror: Mirror) -> None:
    class Killed(BaseException):
        pass

    world = at_mirror.origin
    at_mirror.update()
    world.publish(AddTarget("b", data=b"b"), Renew("root"))
    watched = at_mirror.store = Watched(at_mirror.copy.directory / "mirror")

    def die() -> None:
        raise Killed

    watched.look = die
    for _ in range(5):  # the target, targets, the snapshot, the root, the timestamp
        with pytest.raises(Killed):
            at_mirror.update()
        at_mirror.copy.check({"a": b"A"})

    watched.look = lambda: None
    assert not at_mirror.update()
    at_mirror.copy.check({"a": b"A", "b": b"b"})


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (status(500), DownloadHTTPError),
        (status(200, b"C"), LengthOrHashMismatchError),
        (status(200, b""), LengthOrHashMismatchError),
        (too_much(1), DownloadError),
        (truncated(0), DownloadError),
    ],
)
def test_target_that_is_not_the_right_one(
    at_mirror: Mirror, behaviour: Behaviour, error: type[Exception]
) -> None:
    at_mirror.update()
    before = at_mirror.copy.file("")
    at_mirror.origin.publish(AddTarget("c", data=b"c"))
    (name,) = at_mirror.origin.file("targets/").keys() - before.keys()
    at_mirror.server.behave(f"/{name}", behaviour)

    with pytest.raises(error):
        at_mirror.update()

    assert at_mirror.copy.file("") == before


@pytest.mark.parametrize("name", ["2.root.json", "timestamp.json", "3.snapshot.json"])
def test_metadata_that_nobody_signed(at_mirror: Mirror, name: str) -> None:
    at_mirror.update()
    before = at_mirror.copy.file("")
    at_mirror.origin.publish(AddTarget("c", data=b"c"), Renew("root"))
    data = at_mirror.origin.store.read(f"metadata/{name}") or b""
    at_mirror.server.behave(
        f"/metadata/{name}", status(200, data.replace(b'"expires":"2', b'"expires":"3'))
    )

    with pytest.raises(RepositoryError):
        at_mirror.update()

    assert at_mirror.copy.file("") == before


def test_versions_do_not_go_back(at_mirror: Mirror) -> None:
    old = dict(at_mirror.origin.file("metadata/"))
    at_mirror.origin.publish(RemoveTarget("a"))
    at_mirror.update()
    at_mirror.server.files = {f"/{name}": data for name, data in old.items()}

    with pytest.raises(BadVersionNumberError, match="timestamp is version 2, the store has 3"):
        at_mirror.update()


def test_versions_that_ran_ahead_go_back_with_new_keys(at_mirror: Mirror) -> None:
    # Somebody who stole the online key published; then everything was set right (5.3.11).
    world = at_mirror.origin
    good = world.file("")
    for _ in range(3):
        world.publish(Renew("timestamp"), Renew("snapshot"))
    at_mirror.update()
    for name in world.file("").keys() - good.keys():
        world.store.delete(name)
    stolen = world.store.read("metadata/timestamp.json")
    world.store.swap("metadata/timestamp.json", stolen, good["metadata/timestamp.json"])
    old = world.policy.keyring().public_key("online")
    new = world.key("new")
    world.lose("online")
    world.publish(*(RotateKey(role, old.keyid, new) for role in ("timestamp", "snapshot")))

    assert at_mirror.update().versions == {"root": 2, "snapshot": 3, "timestamp": 3}
    at_mirror.copy.check({"a": b"A"})


def test_expired_repository(at_mirror: Mirror) -> None:
    at_mirror.origin.now += timedelta(days=2)
    with pytest.raises(ExpiredMetadataError, match="timestamp expired at"):
        at_mirror.update()
    assert at_mirror.copy.file("") == {}


def test_another_repository(at_mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other")
    other.create()
    ours, at_mirror.root = at_mirror.root, other.store.read("metadata/1.root.json") or b""
    with pytest.raises(RepositoryError):
        at_mirror.update()
    assert at_mirror.copy.file("") == {}

    at_mirror.root = ours
    at_mirror.update()
    at_mirror.root = other.store.read("metadata/1.root.json") or b""
    with pytest.raises(RepositoryError, match="root version 1 in the store is another"):
        at_mirror.update()


def test_targets_that_are_not_there_are_told(at_mirror: Mirror) -> None:
    hashes = {"sha256": 64 * "0"}
    at_mirror.origin.publish(AddTarget("elsewhere", length=3, hashes=hashes))
    assert at_mirror.update().missing == ("elsewhere",)
    at_mirror.copy.check({"a": b"A", "elsewhere": b""})


def test_everything_finds_what_is_missing_here(at_mirror: Mirror) -> None:
    at_mirror.update()
    whole = at_mirror.copy.file("")
    for name in at_mirror.copy.file("targets/"):
        at_mirror.store.delete(name)
    assert not at_mirror.update()

    at_mirror.update(everything=True)

    assert at_mirror.copy.file("") == whole


def test_mirror_is_swept(at_mirror: Mirror) -> None:
    at_mirror.update()
    at_mirror.origin.publish(ClearTargets())
    at_mirror.update()
    at_mirror.copy.wait(days=8)
    assert "metadata/2.targets.json" in at_mirror.copy.repository.sweep()
    assert at_mirror.copy.file("targets/") == {}
    at_mirror.copy.check({"a": None})


def test_more_targets_than_are_written_at_once(at_mirror: Mirror) -> None:
    targets = {f"many/{n}": b"content %d" % n for n in range(150)}
    at_mirror.origin.publish(*(AddTarget(path, data=data) for path, data in targets.items()))
    at_mirror.update()
    at_mirror.copy.check({"many/0": targets["many/0"], "many/149": targets["many/149"]})
    assert at_mirror.copy.repository.audit(hashes=True) == []


def test_repository_without_consistent_snapshots(tmp_path: Path) -> None:
    root = (DATA / "legacy-0.19/metadata/1.root.json").read_bytes()
    with (
        Server(DATA / "legacy-0.19") as server,
        pytest.raises(RepositoryError, match="root version 2 says no consistent snapshots"),
    ):
        mirror(
            f"{server.url}/metadata",
            f"{server.url}/targets",
            DirectoryStore(tmp_path / "mirror"),
            Urllib3Fetcher().fetch,
            root,
        )


def test_repository_with_two_hashes(tmp_path: Path) -> None:
    source = DATA / "reference-7.0.1"
    store = DirectoryStore(tmp_path / "mirror")
    with Server(source) as server:
        urls = f"{server.url}/metadata", f"{server.url}/targets"
        root = (source / "metadata/1.root.json").read_bytes()
        done = mirror(*urls, store, Urllib3Fetcher().fetch, root)
    assert done.targets == 40
    for folder in ("metadata", "targets"):
        for path in (source / folder).rglob("*.*"):
            if path.is_file():
                name = path.relative_to(source).as_posix()
                assert store.read(name) == path.read_bytes()

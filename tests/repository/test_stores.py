"""Stores: a directory, memory, and a bucket of an S3-compatible server."""

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from repository.test_publishers import concurrently
from repository.world import World, open_store, s3_server

from tuf.api.exceptions import LengthOrHashMismatchError, StorageError
from tuf.repository import AddTarget, Conflict, DirectoryStore, FileExists, SetBins, Store
from tuf.repository.store import LocalFile, WriteNothing

KINDS = ["directory", "memory", "s3"]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        server: str = request.getfixturevalue("s3")
        return f"{server}/{os.urandom(6).hex()}"
    return "memory:" if request.param == "memory" else str(tmp_path / "store")


@pytest.fixture
def store(url: str) -> Store:
    return open_store(url)


def test_what_is_not_there(store: Store) -> None:
    assert store.read("a/b") is None
    assert list(store.list("a/")) == []
    store.delete("a/b")


def test_created_file_is_never_replaced(store: Store) -> None:
    store.create("a/b", b"1")
    with pytest.raises(FileExists):
        store.create("a/b", b"2")
    assert store.create_many([("a/b", b"3"), ("a/c", b"4")]) == ["a/b"]
    assert (store.read("a/b"), store.read("a/c")) == (b"1", b"4")


def test_only_what_was_read_is_swapped(store: Store) -> None:
    with pytest.raises(Conflict):
        store.swap("t", b"0", b"1")
    store.swap("t", None, b"1")
    for old in (None, b"0"):
        with pytest.raises(Conflict):
            store.swap("t", old, b"2")
    store.swap("t", b"1", b"2")
    assert store.read("t") == b"2"


def test_files_are_listed_and_deleted(store: Store) -> None:
    files = {f"a/{n}/f{n}": b"x" * n for n in range(40)}
    assert store.create_many(iter(files.items())) == []
    store.create("b", b"")
    assert {info.name: info.size for info in store.list("a/")} == {
        name: len(data) for name, data in files.items()
    }
    assert {info.name for info in store.list("")} == {*files, "b"}
    assert all(abs(info.modified - os.path.getmtime(".")) < 1e9 for info in store.list("a/"))
    store.delete("b")
    assert store.read("b") is None


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", "a/..", ".", "a/.tuf-b", "a\0"])
def test_bad_names_are_refused(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="name of a file"):
        store.create(name, b"")
    with pytest.raises(ValueError, match="name of a file"):
        store.read(name)


def test_local_file_is_copied_if_it_is_what_it_was(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"hello")
    info = AddTarget("a", file=file)
    assert info.file == file
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    content = LocalFile(file, 5, {"sha256": digest})
    store.create_many([("a", content)])
    assert store.read("a") == b"hello"
    file.write_bytes(b"HELLO")
    with pytest.raises(LengthOrHashMismatchError):
        store.create_many([("b", content)])
    assert store.read("b") is None


def test_large_file_is_copied_in_parts(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "file"
    data = os.urandom(1 << 20) * 17
    file.write_bytes(data)
    content = LocalFile(file, len(data), {"sha256": sha256(data).hexdigest()})
    assert store.create_many([("a", content)]) == []
    assert store.create_many([("a", content)]) == ["a"]
    assert store.read("a") == data
    file.write_bytes(data[:-1] + b"?")
    with pytest.raises(LengthOrHashMismatchError):
        store.create_many([("b", content)])
    assert store.read("b") is None


def test_repository_in_every_store(tmp_path: Path, store: Store) -> None:
    world = World(tmp_path, store=store)
    world.create()
    odd = ["a/b", "ünïcode/ナ", "a b%20c", "x#y?z", "back\\slash", "~", "[a]*"]
    world.publish(*(AddTarget(path, data=path.encode()) for path in odd))
    world.publish(SetBins(2, (world.key("online"),)))
    world.check({path: path.encode() for path in odd})
    assert world.repository.audit(hashes=True) == []
    world.wait(days=8)
    assert len(world.repository.sweep()) == 4


@pytest.mark.parametrize("kind", ["s3"])
def test_four_processes_lose_nothing(empty: World, s3: str, kind: str) -> None:
    url = f"{s3}/{kind}"
    world = World(empty.directory, store=open_store(url))
    world.create()
    world.publish(SetBins(3, (world.key("online"),)))
    concurrently(world, url, 50)


def test_trial_store_writes_nothing(tmp_path: Path) -> None:
    real = DirectoryStore(tmp_path)
    real.create("a", b"1")
    store = WriteNothing(real)
    store.create("b", b"")
    store.swap("a", b"1", b"2")
    store.delete("a")
    assert store.create_many([("c", b"")]) == []
    assert [info.name for info in store.list("")] == ["a"]
    assert store.read("a") == b"1"


def test_failing_store_says_what_it_could_not_do(tmp_path: Path) -> None:
    (tmp_path / "metadata").write_bytes(b"in the way")
    with pytest.raises(StorageError, match="cannot write"):
        DirectoryStore(tmp_path).create("metadata/a", b"")

"""Repositories that were made elsewhere."""

import dataclasses
import os
from pathlib import Path

import pytest
from repository.world import Published, World
from servers import Server

from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.repository import AddTarget, DirectoryStore, Keyring, KeyUnavailable, Renew, RotateKey
from tuf.repository.adopt import DirectorySource, URLSource, adopt, keys_in, mirror

DATA = Path(__file__).parents[1] / "data"
LEGACY = DATA / "legacy-0.19"
REFERENCE = DATA / "reference-7.0.1"


def adopted(world: World, source: Path, keys: str, password: str) -> World:
    """A world that took a repository over."""
    found = keys_in(source / keys)
    world.policy = dataclasses.replace(world.policy, keys={**world.policy.keys, **found})
    os.environ["TUF_PASSWORD"] = password
    root = (source / "metadata/1.root.json").read_bytes()
    adopt(DirectorySource(source), world.repository, root)
    return world


def test_legacy_repository_goes_on_with_consistent_snapshots(
    empty: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUF_PASSWORD", "")
    world = adopted(empty, LEGACY, "keystore", "pw")
    old = {
        "file1.txt": (LEGACY / "targets/file1.txt").read_bytes(),
        "project/file3.txt": (LEGACY / "targets/project/file3.txt").read_bytes(),
    }
    assert world.repository.state().root.version == 3
    world.check(dict(old))

    done = world.publish(
        AddTarget("new.txt", data=b"new"),
        AddTarget("project/new.txt", data=b"new", role="project"),
        Renew("root"),
    )

    assert done.versions == {"root": 4, "targets": 2, "project": 2, "snapshot": 2, "timestamp": 2}
    world.check({**old, "new.txt": b"new", "project/new.txt": b"new"})
    errors = [f for f in world.repository.audit(hashes=True) if f.severity != "note"]
    # Our policy wants timestamps to expire sooner than 2040.
    assert errors == []


def test_reference_repository_goes_on(empty: World) -> None:
    world = adopted(empty, REFERENCE, "keys", "")
    with world.client() as client:
        before = client.get_targetinfo("packages/pkg-24/pkg-24-1.0.tar.gz")
        assert before is not None

    done = world.publish(AddTarget("packages/new", data=b"new"), Renew("root"))
    (bin_,) = set(done.versions) - {"root", "snapshot", "timestamp"}
    assert bin_.startswith("bin-")
    snapshot = world.repository.state().root.roles["snapshot"].keyids[0]
    world.publish(RotateKey("snapshot", snapshot, world.key("other")))

    world.check({"packages/new": b"new"})
    with world.client() as client:
        found = client.get_targetinfo("packages/pkg-24/pkg-24-1.0.tar.gz")
        assert found == before
        assert Path(client.download_target(before)).stat().st_size == before.length


def test_wrong_password_of_a_legacy_key(empty: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUF_PASSWORD", "")
    with pytest.raises(KeyUnavailable, match=r"key \w+ .*password"):
        adopted(empty, LEGACY, "keystore", "wrong")


def test_mirror_by_url_follows(world: World, tmp_path: Path) -> None:
    world.publish(AddTarget("a/b c", data=b"hello"))
    root = world.store.read("metadata/1.root.json") or b""
    copy = World(tmp_path, store=DirectoryStore(tmp_path / "mirror"))
    with Server(Published(world.store)) as server:  # type: ignore[arg-type]
        source = URLSource(f"{server.url}/metadata/", f"{server.url}/targets")
        assert mirror(source, copy.store, root)
        assert mirror(source, copy.store, root) == []
        copy.check({"a/b c": b"hello"}, "at-mirror")
        world.publish(AddTarget("new", data=b"new"), Renew("root"))
        assert set(mirror(source, copy.store, root)) >= {
            "metadata/2.root.json",
            "metadata/3.targets.json",
            "metadata/timestamp.json",
        }
    copy.check({"a/b c": b"hello", "new": b"new"}, "at-mirror")
    assert Keyring().has(world.key("root")) is False
    assert copy.repository.audit(hashes=True) == []


def test_mirror_refuses_what_is_not_valid(world: World, tmp_path: Path) -> None:
    world.publish(AddTarget("a", data=b"hello"))
    root = world.store.read("metadata/1.root.json") or b""
    (name,) = [info.name for info in world.store.list("targets/")]
    for n, damaged in enumerate((name, "metadata/2.targets.json", "metadata/2.snapshot.json")):
        path = tmp_path / "repo" / damaged
        good = path.read_bytes()
        path.write_bytes(good.replace(b'"version":2', b'"version":3').replace(b"hello", b"HELLO"))
        copy = DirectoryStore(tmp_path / f"mirror-{n}")
        with pytest.raises(RepositoryError):
            mirror(DirectorySource(tmp_path / "repo"), copy, root)
        assert copy.read("metadata/timestamp.json") is None
        path.write_bytes(good)
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other")
    other.create()
    with pytest.raises(RepositoryError, match="signed by 0/1 keys"):
        mirror(
            DirectorySource(tmp_path / "repo"),
            DirectoryStore(tmp_path / "mirror"),
            other.store.read("metadata/1.root.json") or b"",
        )


def test_mirror_begins_with_any_root_and_takes_those_before(world: World, tmp_path: Path) -> None:
    world.publish(RotateKey("root", world.key("root").keyid, world.key("new")))
    world.publish(Renew("root"))
    source = DirectorySource(tmp_path / "repo")
    latest = world.store.read("metadata/3.root.json") or b""
    first = tmp_path / "repo/metadata/1.root.json"
    good = first.read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    forged = World(other)
    forged.create()
    for bad in (forged.store.read("metadata/1.root.json") or b"", b"{}"):
        first.write_bytes(bad)
        with pytest.raises(RepositoryError):
            mirror(source, DirectoryStore(tmp_path / "mirror"), latest)
    first.write_bytes(good)
    copy = World(tmp_path, store=DirectoryStore(tmp_path / "mirror"))
    assert "metadata/1.root.json" in mirror(source, copy.store, latest)
    copy.check({"a": None})


def test_mirror_of_nothing(tmp_path: Path, world: World) -> None:
    root = world.store.read("metadata/1.root.json") or b""
    with Server({}) as server:
        url = server.url
        with pytest.raises(RepositoryError, match=r"timestamp.json is not there"):
            mirror(URLSource(url, url), DirectoryStore(tmp_path / "mirror"), root)
    with pytest.raises(DownloadError):
        mirror(URLSource(url, url, timeout=1), DirectoryStore(tmp_path / "mirror"), root)

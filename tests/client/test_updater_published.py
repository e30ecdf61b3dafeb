"""The client as published: what code written for release 7.0.1 of the reference package relies on.

Every expectation here was measured on that release, and holds there too.
"""

from pathlib import Path
from urllib.parse import quote

import pytest

from tuf.api.exceptions import (
    ExpiredMetadataError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.serialization import DeserializationError
from tuf.ngclient import Updater, UpdaterConfig
from world import World, new_keys, wrap


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def metadata_names(world: World, machine: str = "machine") -> set[str]:
    """Names of the metadata files of a machine, without the history of root."""
    return {file.name for file in world.metadata_dir(machine).glob("*.json")}


# -- the constructor


def test_bootstrap_has_to_be_named(world: World) -> None:
    with pytest.raises(TypeError, match="bootstrap"):
        Updater(str(world.metadata_dir()), world.url)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Updater(  # type: ignore[misc,call-arg]
            str(world.base), world.url, None, None, world.fetcher, UpdaterConfig(), world.bootstrap
        )


def test_constructor_asks_for_nothing_and_keeps_the_bootstrap_root(world: World) -> None:
    world.client()
    assert world.requests == []
    assert world.cached("root") == world.bootstrap
    assert metadata_names(world) == {"root.json"}


def test_bootstrap_none_uses_the_cached_root(world: World) -> None:
    world.client().refresh()
    world.rotate("root")
    assert world.asked(world.client(bootstrap=None).refresh)[0] == "metadata/2.root.json"
    assert world.asked(world.client(bootstrap=None).refresh)[0] == "metadata/3.root.json"
    assert world.cached_version("root") == 2


def test_bootstrap_none_with_a_plain_root_file(world: World) -> None:
    """As the documentation of older releases told applications to set up their cache."""
    world.rotate("root")
    world.metadata_dir().mkdir(parents=True)
    world.cache_file("root").write_bytes(world.bootstrap)
    world.client(bootstrap=None).refresh()
    assert world.cached_version("root") == 2
    world.check()


def test_bootstrap_none_without_a_cached_root(world: World) -> None:
    with pytest.raises(FileNotFoundError):
        world.client(bootstrap=None)
    assert metadata_names(world) == set()


def test_bootstrap_wins_over_a_broken_cached_root(world: World) -> None:
    world.metadata_dir().mkdir(parents=True)
    world.cache_file("root").write_bytes(b"junk")
    with pytest.raises(DeserializationError):
        world.client(bootstrap=None)
    world.client().refresh()
    world.check()


@pytest.mark.parametrize("data", [b"junk", b"", b"{}", b"[]", b"\xff"])
def test_malformed_bootstrap(world: World, data: bytes) -> None:
    with pytest.raises(DeserializationError):
        Updater(str(world.metadata_dir()), world.url, fetcher=world.fetcher, bootstrap=data)
    assert metadata_names(world) == set()


def test_bootstrap_that_is_not_a_root(world: World) -> None:
    with pytest.raises(RepositoryError):
        world.client(bootstrap=world.files["metadata/timestamp.json"])
    assert metadata_names(world) == set()


def test_bootstrap_below_its_own_threshold(world: World) -> None:
    with pytest.raises(UnsignedMetadataError):
        world.client(bootstrap=wrap(world.root.to_dict(), new_keys()))
    assert metadata_names(world) == set()


def test_expired_bootstrap_is_no_error_before_refresh(world: World) -> None:
    world.expire("root")
    client = world.client(bootstrap=world.files["metadata/2.root.json"])
    with pytest.raises(ExpiredMetadataError):
        client.refresh()


def test_constructor_makes_the_metadata_directory(world: World) -> None:
    directory = world.base / "machine" / "metadata"
    Updater(str(directory), world.url, fetcher=world.fetcher, bootstrap=world.bootstrap)
    assert (directory / "root.json").read_bytes() == world.bootstrap


def test_base_urls_with_and_without_a_slash(world: World) -> None:
    target = world.add_target("a.txt", b"aaa")
    for machine, slash in (("one", ""), ("two", "/")):
        client = Updater(
            str(world.metadata_dir(machine)),
            world.url + "metadata" + slash,
            str(world.base),
            world.url + "targets" + slash,
            world.fetcher,
            bootstrap=world.bootstrap,
        )
        client.refresh()
        assert Path(client.download_target(target, str(world.base / machine / "a"))).exists()


# -- the cache


def test_cache_after_a_refresh(world: World) -> None:
    world.client().refresh()
    assert metadata_names(world) == {"root.json", "timestamp.json", "snapshot.json", "targets.json"}
    for role in ("root", "timestamp", "snapshot", "targets"):
        assert world.cached(role) == world.files[world.path(role)]
    world.check()


@pytest.mark.parametrize("role", ["A", "x/y z", "../up", "é", "a%2Fb", "1.root"])
def test_cache_names_are_percent_encoded_role_names(world: World, role: str) -> None:
    world.delegate(role)
    requests = world.asked(lambda: world.client().get_targetinfo("any"))
    assert requests[-1] == f"metadata/1.{quote(role, safe='')}.json"
    assert f"{quote(role, safe='')}.json" in metadata_names(world)
    world.check()


def test_root_json_is_the_latest_root(world: World) -> None:
    world.client().refresh()
    for version in (2, 3, 4):
        world.rotate("root")
        world.client().refresh()
        assert world.cached("root") == world.files[f"metadata/{version}.root.json"]
    world.check()


def test_cache_as_release_7_0_1_lays_it_out(world: World) -> None:
    """root.json is a link there, into a directory that keeps every root."""
    for _ in range(3):
        world.rotate("root")
    world.client("other").refresh()
    history = world.metadata_dir() / "root_history"
    history.mkdir(parents=True)
    for version in (1, 2, 3):
        (history / f"{version}.root.json").write_bytes(world.files[f"metadata/{version}.root.json"])
    world.cache_file("root").symlink_to("root_history/3.root.json")
    for role in ("timestamp", "snapshot", "targets"):
        data = world.cached(role, "other")
        assert data is not None
        world.cache_file(role).write_bytes(data)
    assert world.asked(world.client().refresh) == [
        "metadata/4.root.json",
        "metadata/5.root.json",
        "metadata/timestamp.json",
    ]
    assert world.cached_version("root") == 4
    assert world.asked(world.client(bootstrap=None).refresh) == [
        "metadata/5.root.json",
        "metadata/timestamp.json",
    ]
    world.check()


def test_broken_local_files_are_replaced(world: World) -> None:
    world.client().refresh()
    for role, fetched in (
        ("timestamp", []),
        ("snapshot", ["metadata/1.snapshot.json"]),
        ("targets", ["metadata/1.targets.json"]),
    ):
        for junk in (b"", b"{", b"\x00\xff", b"[]", b'{"signed": {}, "signatures": []}'):
            world.cache_file(role).write_bytes(junk)
            assert world.asked(world.client().refresh) == [
                "metadata/2.root.json",
                "metadata/timestamp.json",
                *fetched,
            ]
            world.check()


# -- requests, in order


def test_requests_cold_and_warm(world: World) -> None:
    assert world.asked(world.client().refresh) == [
        "metadata/2.root.json",
        "metadata/timestamp.json",
        "metadata/1.snapshot.json",
        "metadata/1.targets.json",
    ]
    assert world.asked(world.client().refresh) == [
        "metadata/2.root.json",
        "metadata/timestamp.json",
    ]
    world.release("timestamp")
    assert world.asked(world.client().refresh) == [
        "metadata/2.root.json",
        "metadata/timestamp.json",
    ]
    world.publish()
    assert world.asked(world.client().refresh) == [
        "metadata/2.root.json",
        "metadata/timestamp.json",
        "metadata/2.snapshot.json",
    ]
    world.check()


def test_requests_without_consistent_snapshots(tmp_path: Path) -> None:
    world = World(tmp_path, consistent_snapshot=False)
    world.delegate("A")
    world.rotate("root")
    assert world.asked(lambda: world.client().get_targetinfo("any")) == [
        "metadata/2.root.json",
        "metadata/3.root.json",
        "metadata/timestamp.json",
        "metadata/snapshot.json",
        "metadata/targets.json",
        "metadata/A.json",
    ]
    world.check()


def test_requests_after_rotations(world: World) -> None:
    world.client().refresh()
    world.rotate("root")
    world.rotate("root")
    world.rotate("targets")
    assert world.asked(world.client().refresh) == [
        "metadata/2.root.json",
        "metadata/3.root.json",
        "metadata/4.root.json",
        "metadata/5.root.json",
        "metadata/timestamp.json",
        "metadata/2.snapshot.json",
        "metadata/2.targets.json",
    ]
    # Roots are kept: the oldest bootstrap root costs no more requests than the latest.
    for bootstrap in (True, None):
        assert world.asked(world.client(bootstrap=bootstrap).refresh) == [
            "metadata/5.root.json",
            "metadata/timestamp.json",
        ]
    world.check()


def test_requests_of_delegated_lookups(world: World) -> None:
    world.delegate("A")
    world.delegate("B", by="A")
    world.delegate("C")
    world.delegate("D", ["other/*"])
    world.add_target("file", b"1", "C")
    world.add_target("other/file", b"2", "D")
    client = world.client()
    client.refresh()
    assert world.asked(lambda: client.get_targetinfo("file")) == [
        "metadata/2.A.json",
        "metadata/1.B.json",
        "metadata/2.C.json",
    ]
    assert world.asked(lambda: client.get_targetinfo("file")) == []
    assert world.asked(lambda: client.get_targetinfo("other/file")) == ["metadata/2.D.json"]
    assert world.asked(lambda: world.client().get_targetinfo("file")) == [
        "metadata/2.root.json",
        "metadata/timestamp.json",
    ]
    world.check()


def test_requests_of_bins(world: World) -> None:
    names = world.delegate_bins(2)
    assert names == ["bin-0", "bin-1", "bin-2", "bin-3"]
    client = world.client()
    client.refresh()
    # sha256("zz") begins with the bits 01.
    assert world.asked(lambda: client.get_targetinfo("zz")) == ["metadata/1.bin-1.json"]
    world.check()


def test_failed_refresh_can_be_repeated_with_the_same_object(world: World) -> None:
    world.expire("root")
    client = world.client()
    with pytest.raises(ExpiredMetadataError):
        client.refresh()
    world.renew("root")
    assert world.asked(client.refresh) == [
        "metadata/3.root.json",
        "metadata/4.root.json",
        "metadata/timestamp.json",
        "metadata/1.snapshot.json",
        "metadata/1.targets.json",
    ]
    world.check()


# -- lookups


def test_get_targetinfo_refreshes_once(world: World) -> None:
    target = world.add_target("a.txt", b"aaa")
    client = world.client()
    requests = world.asked(lambda: client.get_targetinfo("a.txt"))
    assert requests[-1] == "metadata/2.targets.json"
    assert client.get_targetinfo("a.txt") == target
    assert world.requests == requests


@pytest.mark.parametrize("path", ["absent", "", "/a.txt", "A.TXT", "a.txt/"])
def test_get_targetinfo_of_an_absent_target(world: World, path: str) -> None:
    world.add_target("a.txt", b"aaa")
    world.delegate("A")
    assert world.client().get_targetinfo(path) is None


def test_targetinfo_has_everything_of_the_metadata(world: World) -> None:
    target = world.add_target("dir/a.txt", b"aaa")
    target.unrecognized_fields["custom"] = {"colour": "blue"}
    world.publish("targets")
    found = world.client().get_targetinfo("dir/a.txt")
    assert found is not None
    assert (found.path, found.length, found.hashes, found.custom) == (
        "dir/a.txt",
        3,
        {"sha256": "9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0"},
        {"colour": "blue"},
    )

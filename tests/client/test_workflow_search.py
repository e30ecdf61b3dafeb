"""The client workflow, sections 5.6.7 and 5.7 of the specification: search and target files.

Each test is named after its paragraph.
"""

from pathlib import Path
from typing import Any

import pytest

from tuf.api.exceptions import (
    DelegationLimitError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import TargetFile
from world import PopulatedWorld, World, new_keys


@pytest.fixture
def world(tmp_path: Path) -> PopulatedWorld:
    return PopulatedWorld(tmp_path)


# -- 5.6.7: search


def find(world: World, path: str, **config: Any) -> TargetFile | None:
    found = world.client(**config).get_targetinfo(path)
    world.check()
    return found


def test_5_6_7_role_that_snapshot_does_not_name(tmp_path: Path) -> None:
    """It fails, without a download."""
    world = World(tmp_path)
    world.delegate("A")
    del world.snapshot.meta["A.json"]
    world.publish()
    with pytest.raises(RepositoryError):
        find(world, "x")
    assert not any("A.json" in path for path in world.requests)


@pytest.mark.parametrize("failure", ["absent", "unsigned"])
def test_5_6_7_failure_ends_the_search(tmp_path: Path, failure: str) -> None:
    """A role that cannot be had is no reason to ask the next one."""
    world = World(tmp_path)
    world.delegate("A")
    world.delegate("B")
    world.add_target("x", b"x", "B")
    if failure == "absent":
        del world.files[world.path("A")]
    else:
        world.plant("A", signers=new_keys())
    with pytest.raises((DownloadHTTPError, UnsignedMetadataError)):
        find(world, "x")
    assert world.cached("B") is None


def test_5_6_7_1_cycles_end(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.delegate("A")
    world.delegate("B", by="A")
    world.delegate("A", by="B")
    world.delegate("B", by="B")
    world.publish("A", "B")
    assert find(world, "x") is None
    asked = [path for path in world.requests if path in (world.path("A"), world.path("B"))]
    assert asked == [world.path("A"), world.path("B")]


def test_5_6_7_1_limit_is_an_error_of_its_own(tmp_path: Path) -> None:
    world = World(tmp_path)
    for role in ("A", "B", "C"):
        world.delegate(role)
    target = world.add_target("x", b"x", "C")
    assert find(world, "x", max_delegations=3) == target
    with pytest.raises(DelegationLimitError):
        find(world, "x", max_delegations=2)
    # All that there is was visited: the target is absent, whatever the limit.
    assert find(world, "y", max_delegations=3) is None
    with pytest.raises(DelegationLimitError):
        find(world, "y", max_delegations=2)


def test_5_6_7_2_preorder_in_order_of_appearance(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.delegate("z")
    world.delegate("z1", by="z")
    world.delegate("z2", by="z")
    world.delegate("a")
    for path, owners in {
        "1": ["targets", "z", "z1", "z2", "a"],
        "2": ["z", "z1", "z2", "a"],
        "3": ["z1", "z2", "a"],
        "4": ["z2", "a"],
        "5": ["a"],
    }.items():
        for owner in owners:
            world.add_target(path, owner.encode(), owner)
        assert find(world, path) == world.targets(owners[0]).targets[path]
    assert find(world, "6") is None


def test_5_6_7_2_1_terminating_ends_the_search(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.delegate("stop", ["stop/*"], terminating=True)
    world.delegate("below", by="stop", paths=["stop/*"])
    world.delegate("after")
    for path in ("stop/x", "stop/y", "go/x"):
        world.add_target(path, b"after", "after")
    below = world.add_target("stop/y", b"below", "below")
    assert find(world, "stop/x") is None
    assert find(world, "stop/y") == below
    assert find(world, "go/x") == world.targets("after").targets["go/x"]
    assert find(world, "go/y") is None


def test_5_6_7_2_1_terminating_below_ends_the_whole_search(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.delegate("A")
    world.delegate("stop", by="A", terminating=True)
    world.delegate("A2", by="A")
    world.delegate("B")
    for role in ("A2", "B"):
        world.add_target("x", b"x", role)
    assert find(world, "x") is None
    assert world.cached("stop") is not None


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*", "file", True),
        ("*", "dir/file", False),
        ("*", ".file", True),
        ("*", "", True),
        ("dir/*", "dir/file", True),
        ("dir/*", "dir/.file", True),
        ("dir/*", "dir/sub/file", False),
        ("dir/*", "dir", False),
        ("*/file", "dir/file", True),
        ("*/*", "dir/file", True),
        ("*.tgz", "a.tgz", True),
        ("*.tgz", "dir/a.tgz", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a?c", "ac", False),
        ("FILE", "file", False),
        ("*.TGZ", "a.tgz", False),
        ("file", "file", True),
        ("file", "files", False),
        ("{a,b}", "a", False),
        ("{a,b}", "{a,b}", True),
        ("!a", "b", False),
        ("!a", "!a", True),
        ("[ab]", "a", True),
        ("[ab]", "c", False),
        ("v[0-9]/*", "v1/x", True),
        ("[!a]", "b", True),
        ("[!a]", "a", False),
        ("a[/]b", "a/b", False),
        ("**", "a/b", False),
        ("a.c", "abc", False),
        ("a\nb", "a\nb", True),
    ],
)
def test_5_6_7_path_patterns(tmp_path: Path, pattern: str, path: str, matches: bool) -> None:
    world = World(tmp_path)
    world.delegate("A", [pattern])
    world.add_target(path, b"x", "A")
    assert (find(world, path) is not None) == matches


def test_5_6_7_path_hash_prefixes(tmp_path: Path) -> None:
    world = World(tmp_path)
    # sha256("x") = 2d711642..., sha256("y") = a1fce436...
    world.delegate("A", path_hash_prefixes=["2d7", "ffff"])
    for path in ("x", "y"):
        world.add_target(path, b"x", "A")
    assert find(world, "x") is not None
    assert find(world, "y") is None


def test_5_6_7_bins(tmp_path: Path) -> None:
    world = World(tmp_path)
    names = world.delegate_bins(3)
    # Each path is looked for in the bin of the first bits of its hash, and nowhere else.
    for path, name in (("x", "bin-1"), ("y", "bin-5"), ("zz", "bin-2")):
        target = world.add_target(path, path.encode(), name)
        assert find(world, path) == target
        world.add_target(path + "?", b"", next(other for other in names if other != name))
    assert world.cached("bin-0") is None


# -- 5.7: fetch target


def test_5_7_2_no_such_target(world: World) -> None:
    assert world.client().get_targetinfo("d/other") is None
    assert world.client().get_targetinfo("file") is None


def test_5_7_3_failed_download_leaves_the_old_file(world: World) -> None:
    client = world.client()
    old = world.targets("d").targets["d/file"]
    file = Path(client.download_target(old))
    new = world.add_target("d/file", b"changed", "d")
    for bad, error in (
        (b"CHANGED", LengthOrHashMismatchError),
        (b"chang", LengthOrHashMismatchError),
        (b"changed!", DownloadLengthMismatchError),
    ):
        world.files[world.target_path(new)] = bad
        with pytest.raises(error):
            client.download_target(new)
        assert file.read_bytes() == b"content"
        assert client.find_cached_target(old) == str(file)
        assert client.find_cached_target(new) is None
        assert [other.name for other in world.target_dir().glob("[!.]*")] == [file.name]
    world.files[world.target_path(new)] = b"changed"
    assert client.download_target(new) == str(file)
    assert file.read_bytes() == b"changed"
    world.check()


def test_5_7_3_empty_target(world: World) -> None:
    target = world.add_target("empty", b"")
    file = Path(world.client().download_target(target))
    assert file.read_bytes() == b""
    world.check()


@pytest.mark.parametrize(
    ("hashes", "good"),
    [
        (["sha256"], True),
        (["sha512"], True),
        (["sha256", "sha512"], True),
        (["sha256", "unknown"], True),
        (["sha256", "sha512", "bad"], False),
        (["bad"], False),
        (["unknown"], False),
    ],
)
def test_5_7_3_hashes_that_are_known_match_and_one_is_known(
    world: World, hashes: list[str], good: bool
) -> None:
    content = b"content"
    digests = TargetFile.from_data("x", content, ["sha256", "sha512"]).hashes
    digests |= {"unknown-algorithm": "00" * 32, "sha384": "00" * 48}
    names = {"unknown": "unknown-algorithm", "bad": "sha384"}
    chosen = {names.get(name, name): digests[names.get(name, name)] for name in hashes}
    target = TargetFile(len(content), chosen, "x")
    for digest in chosen.values():
        world.files[f"targets/{digest}.x"] = content
    client = world.client()
    if good:
        file = Path(client.download_target(target))
        assert file.read_bytes() == content
        assert client.find_cached_target(target) == str(file)
    else:
        with pytest.raises(LengthOrHashMismatchError):
            client.download_target(target)
        assert list(world.target_dir().iterdir()) == []
        (world.target_dir() / "x").write_bytes(content)
        assert client.find_cached_target(target) is None

"""Lists of targets, and of local files: which are out of date, and which are targets no more."""

import os
from pathlib import Path

import pytest

from tuf.api.exceptions import ExpiredMetadataError, RepositoryError, UnsignedMetadataError
from tuf.api.metadata import TargetFile, Targets
from world import World, new_keys


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Targets delegates to a and b, and a delegates to c."""
    world = World(tmp_path)
    world.delegate("a", ["a/*", "shared/*", "a/c/*"])
    world.delegate("b", ["b/*", "shared/*"])
    world.delegate("c", ["a/c/*"], by="a")
    return world


def add(world: World, role: str, *paths: str) -> None:
    """Let a role list target paths, with content that tells which role it is."""
    for path in paths:
        target = TargetFile.from_data(path, f"{path} of {role}".encode(), ["sha256"])
        world.targets(role).targets[path] = target
        world.files[world.target_path(target)] = f"{path} of {role}".encode()
    world.publish(role)


def paths(targets: list[TargetFile]) -> set[str]:
    found = [target.path for target in targets]
    assert len(found) == len(set(found))
    return set(found)


# -- targets of a role, and of all


def test_no_targets(world: World) -> None:
    client = world.client()
    assert client.all_targets() == []
    assert client.targets_of_role() == []
    assert client.targets_of_role("c") == []


def test_targets_of_each_role(world: World) -> None:
    add(world, "targets", "top", "a/top")
    add(world, "a", "a/1", "a/2", "shared/1")
    add(world, "b", "b/1")
    add(world, "c", "a/c/1")
    client = world.client()
    assert paths(client.targets_of_role()) == {"top", "a/top"}
    assert paths(client.targets_of_role("targets")) == {"top", "a/top"}
    assert paths(client.targets_of_role("a")) == {"a/1", "a/2", "shared/1"}
    assert paths(client.targets_of_role("b")) == {"b/1"}
    assert paths(client.targets_of_role("c")) == {"a/c/1"}
    everything = client.all_targets()
    assert paths(everything) == {"top", "a/top", "a/1", "a/2", "shared/1", "b/1", "a/c/1"}
    assert everything == [client.get_targetinfo(target.path) for target in everything]


def test_listing_loads_only_what_it_needs(world: World) -> None:
    client = world.client()
    client.refresh()
    assert world.asked(client.targets_of_role) == []
    assert world.asked(lambda: client.targets_of_role("b")) in (
        [world.path("b")],
        [world.path("a"), world.path("b")],
        [world.path("a"), world.path("c"), world.path("b")],
    )
    assert set(world.asked(client.all_targets)) <= {world.path("a"), world.path("c")}
    assert world.asked(client.all_targets) == []


@pytest.mark.parametrize("role", ["none", "", "root", "snapshot", "timestamp", "A"])
def test_targets_of_a_role_that_is_not_delegated_to(world: World, role: str) -> None:
    with pytest.raises(ValueError, match="role"):
        world.client().targets_of_role(role)


def test_what_a_role_is_not_trusted_with_is_not_listed(world: World) -> None:
    add(world, "a", "a/1", "b/1", "top", "a/1/2", "/a/1")
    add(world, "c", "a/c/1", "a/2", "c/1")
    client = world.client()
    assert paths(client.all_targets()) == {"a/1", "a/c/1"}
    assert paths(client.targets_of_role("a")) == {"a/1"}
    assert paths(client.targets_of_role("c")) == {"a/c/1"}


def test_what_comes_first_is_listed(world: World) -> None:
    add(world, "targets", "a/0")
    add(world, "a", "a/0", "shared/1", "a/c/1")
    add(world, "b", "shared/1", "shared/2")
    add(world, "c", "a/c/1", "a/c/2")
    client = world.client()
    listed = {target.path: target for target in client.all_targets()}
    assert set(listed) == {"a/0", "shared/1", "shared/2", "a/c/1", "a/c/2"}
    assert listed["a/0"] == world.targets().targets["a/0"]
    assert listed["shared/1"] == world.targets("a").targets["shared/1"]
    assert listed["shared/2"] == world.targets("b").targets["shared/2"]
    assert listed["a/c/1"] == world.targets("a").targets["a/c/1"]
    assert paths(client.targets_of_role("a")) == {"shared/1", "a/c/1"}
    assert paths(client.targets_of_role("b")) == {"shared/2"}
    assert paths(client.targets_of_role("c")) == {"a/c/2"}


def test_terminating_delegation_hides_what_comes_after_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.delegate("first", ["x/*"], terminating=True)
    world.delegate("second", ["x/*", "y/*"])
    add(world, "first", "x/1")
    add(world, "second", "x/2", "y/2")
    client = world.client()
    assert paths(client.all_targets()) == {"x/1", "y/2"}
    assert paths(client.targets_of_role("second")) == {"y/2"}


def test_cycles_of_delegations(world: World) -> None:
    world.delegate("a", ["*"], by="c")
    world.delegate("a", ["*"], by="b")
    world.delegate("b", ["*"], by="b")
    add(world, "c", "a/c/1")
    client = world.client()
    assert paths(client.all_targets()) == {"a/c/1"}
    assert paths(client.targets_of_role("c")) == {"a/c/1"}


def test_bins(tmp_path: Path) -> None:
    world = World(tmp_path)
    names = world.delegate_bins(3)
    wanted = {f"file {number}" for number in range(40)}
    succinct = world.targets().delegations.succinct_roles  # type: ignore[union-attr]
    assert succinct is not None
    for path in wanted:
        name = succinct.get_role_for_target(path)
        world.targets(name).targets[path] = TargetFile.from_data(path, b"x", ["sha256"])
    # A bin may list what belongs into another one, which does not make it a target.
    stray = next(name for name in names if name != succinct.get_role_for_target("stray"))
    world.targets(stray).targets["stray"] = TargetFile.from_data("stray", b"x", ["sha256"])
    world.publish(*names)
    client = world.client()
    assert paths(client.all_targets()) == wanted
    found = [paths(client.targets_of_role(name)) for name in names]
    assert set.union(*found) == wanted
    assert sum(map(len, found)) == len(wanted)


@pytest.mark.parametrize("role", ["targets", "a", "b", "c"])
def test_listing_trusts_no_more_than_a_search(world: World, role: str) -> None:
    add(world, "c", "a/c/1")
    world.plant(role, signers=new_keys())
    client = world.client()
    with pytest.raises(UnsignedMetadataError):
        client.all_targets()
    with pytest.raises(UnsignedMetadataError):
        client.targets_of_role(role)
    world.check()


# -- local files that are out of date


@pytest.mark.parametrize("in_subdirectories", [True, False])
def test_updated_targets(world: World, tmp_path: Path, in_subdirectories: bool) -> None:
    add(world, "a", "a/1", "a/2", "a/3", "a/4")
    client = world.client(targets_in_subdirectories=in_subdirectories)
    targets = client.all_targets()
    assert client.updated_targets(targets) == targets
    client.download_targets(targets)
    assert client.updated_targets(targets) == []
    one, two, three, _ = (client.find_cached_target(target) for target in targets)
    assert one
    assert two
    assert three
    Path(one).write_bytes(b"changed")
    Path(two).unlink()
    Path(three).unlink()
    Path(three).mkdir()
    assert client.updated_targets(iter(targets)) == targets[:3]
    other = tmp_path / "other"
    assert client.updated_targets(targets, str(other)) == targets
    client.download_target(targets[3])
    world.target_dir().rename(other)
    assert client.updated_targets(targets, str(other)) == targets[:3]
    assert client.updated_targets(targets) == targets


def test_updated_targets_after_a_new_version(world: World) -> None:
    add(world, "a", "a/1", "a/2")
    client = world.client()
    client.download_targets(client.all_targets())
    target = TargetFile.from_data("a/2", b"new", ["sha256"])
    world.targets("a").targets["a/2"] = target
    world.files[world.target_path(target)] = b"new"
    world.publish("a")
    client.refresh()
    assert client.updated_targets(client.all_targets()) == [target]
    client.download_targets([target])
    assert client.updated_targets(client.all_targets()) == []


# -- local files that are targets no more


def remove_from_repository(world: World, role: str, *paths: str) -> None:
    for path in paths:
        del world.targets(role).targets[path]
    world.publish(role)


def local(world: World) -> set[str]:
    directory = world.target_dir()
    return {str(f.relative_to(directory)) for f in directory.rglob("*") if not f.is_dir()}


@pytest.mark.parametrize("in_subdirectories", [True, False])
@pytest.mark.parametrize("explicit", [True, False])
def test_remove_obsolete_targets(world: World, in_subdirectories: bool, explicit: bool) -> None:
    wanted = ["a/1", "a/2 3", "a/é", "a/%41"]
    add(world, "a", *wanted)
    add(world, "targets", "top", "old")
    client = world.client(targets_in_subdirectories=in_subdirectories)
    everything = [*wanted, "top", "old"]
    files = client.download_targets(everything)
    assert client.remove_obsolete_targets(everything if explicit else None) == []
    remove_from_repository(world, "a", "a/2 3", "a/é")
    remove_from_repository(world, "targets", "old")
    assert client.remove_obsolete_targets(everything if explicit else None) == []
    client.refresh()
    removed = client.remove_obsolete_targets(everything if explicit else None)
    assert sorted(removed) == sorted(files[path] for path in ("a/2 3", "a/é", "old"))
    assert {str(world.target_dir() / name) for name in local(world)} == {
        files[path] for path in ("a/1", "a/%41", "top")
    }
    assert client.remove_obsolete_targets(everything if explicit else None) == []


def test_explicit_paths_are_all_that_is_considered(world: World) -> None:
    client = world.client()
    for name in ("one", "two", "three"):
        (world.target_dir() / name).write_bytes(b"x")
    assert client.remove_obsolete_targets([]) == []
    removed = client.remove_obsolete_targets(iter(["one", "none", "two"]))
    assert removed == [str(world.target_dir() / name) for name in ("one", "two")]
    assert local(world) == {"three"}


def test_changed_content_is_not_obsolete(world: World) -> None:
    """It is a target still, if not a current one."""
    add(world, "a", "a/1")
    client = world.client()
    file = Path(client.download_targets(["a/1"])["a/1"])
    file.write_bytes(b"changed")
    assert client.remove_obsolete_targets() == []
    assert client.remove_obsolete_targets(["a/1"]) == []


@pytest.mark.parametrize("failure", ["expired", "unsigned", "absent"])
@pytest.mark.parametrize("explicit", [True, False])
def test_nothing_is_removed_without_good_metadata(
    world: World, failure: str, explicit: bool
) -> None:
    names = {"x", "a%2F1"}
    client = world.client()
    for name in names:
        (world.target_dir() / name).write_bytes(b"x")
    error: type[Exception] = RepositoryError
    if failure == "expired":
        world.expire("timestamp")
        error = ExpiredMetadataError
    elif failure == "unsigned":
        world.plant("a", signers=new_keys())
        error = UnsignedMetadataError
    else:
        world.roles["d"] = Targets(expires=world.later)
        del world.snapshot.meta["a.json"]
        world.publish()
    with pytest.raises(error):
        client.remove_obsolete_targets(["x", "a/1"] if explicit else None)
    assert local(world) == names


@pytest.mark.parametrize("in_subdirectories", [True, False])
def test_partial_files_are_not_targets(world: World, in_subdirectories: bool) -> None:
    """Another process is at work on them."""
    part = world.target_dir() / ".tuf-0123-4567.part"
    client = world.client(targets_in_subdirectories=in_subdirectories)
    part.write_bytes(b"x")
    (world.target_dir() / "x").write_bytes(b"x")
    assert client.remove_obsolete_targets() == [str(world.target_dir() / "x")]
    assert local(world) == {part.name}


@pytest.mark.parametrize("in_subdirectories", [True, False])
def test_only_files_of_the_target_directory_are_removed(
    world: World, tmp_path: Path, in_subdirectories: bool
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_bytes(b"x")
    client = world.client(targets_in_subdirectories=in_subdirectories)
    (world.target_dir() / "link").symlink_to(outside)
    (world.target_dir() / "file").symlink_to(outside / "x")
    (world.target_dir() / "directory").mkdir()
    (world.target_dir() / "directory" / "y").write_bytes(b"x")
    removed = client.remove_obsolete_targets()
    inside = str(world.target_dir() / "directory" / "y")
    assert removed == ([inside] if in_subdirectories else [])
    for path in ("link/x", "directory", "../metadata/root.json", str(outside / "x")):
        try:
            assert client.remove_obsolete_targets([path]) == []
        except ValueError:
            assert in_subdirectories
    assert (outside / "x").read_bytes() == b"x"
    assert world.cached("root") is not None
    # A link that has a target's name goes, and not what it leads to.
    assert client.remove_obsolete_targets(["file"]) == [str(world.target_dir() / "file")]
    assert (outside / "x").read_bytes() == b"x"


@pytest.mark.skipif(os.name != "posix", reason="file names that are no text")
def test_file_whose_name_is_no_text(world: World) -> None:
    """It cannot be a target, and must not stop anything."""
    client = world.client()
    strange = os.fsencode(world.target_dir()) + b"/\xff\xfe"
    with open(strange, "wb") as file:
        file.write(b"x")
    (world.target_dir() / "x").write_bytes(b"x")
    assert client.remove_obsolete_targets() == [str(world.target_dir() / "x")]
    assert os.path.exists(strange)

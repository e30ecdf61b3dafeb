"""Changes, and what clients see of them."""

from hashlib import sha256
from pathlib import Path

import pytest
from repository.world import POLICY, World, versions

from tuf.api.exceptions import RepositoryError, UnsignedMetadataError
from tuf.repository import (
    AddKey,
    AddTarget,
    ClearTargets,
    Delegate,
    ManagedRepository,
    RemoveTarget,
    Renew,
    RevokeKey,
    RotateKey,
    SetBins,
    SetThreshold,
    Undelegate,
)
from tuf.repository.changes import Change

HELLO = {"a/hello.txt": b"hello"}


def add(path: str, data: bytes = b"hello", role: str = "targets") -> AddTarget:
    return AddTarget(path, data=data, role=role)


def test_new_repository(empty: World) -> None:
    assert empty.create().versions == {"root": 1, "targets": 1, "snapshot": 1, "timestamp": 1}
    empty.check({"a": None})


def test_creating_again_changes_nothing(world: World) -> None:
    assert not world.create()


def test_publication_without_a_repository_is_refused(empty: World) -> None:
    with pytest.raises(RepositoryError, match=r"no repository in the store: create\(\) makes one"):
        empty.publish(add("a"))
    assert empty.file("") == {}


def test_policy_must_give_each_role_keys(empty: World) -> None:
    with pytest.raises(ValueError, match="the policy gives role root no keys"):
        ManagedRepository(empty.store).create()


def test_repository_begins_with_bins_and_targets(empty: World) -> None:
    text = POLICY + "[bins]\nbits = 2\nkeys = ['online']\n"
    empty.policy = type(empty.policy).from_text(text, empty.directory)
    assert not empty.repository.create([add("a")], dry_run=True).drafts
    assert empty.file("") == {}
    done = empty.create([add("a")])
    assert set(done.versions.values()) == {1}
    assert len(done.versions) == 8
    empty.check({"a": b"hello"})


def test_target_from_bytes_from_file_and_described(world: World, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"from a file")
    digest = sha256(b"elsewhere").hexdigest()

    world.publish(
        add("bytes"),
        AddTarget("file", file=file, custom={"b": 1, "a": [None]}),
        AddTarget("elsewhere", length=9, hashes={"sha256": digest}),
    )

    world.check({"bytes": b"hello", "file": b"from a file", "elsewhere": b""})
    with world.client() as client:
        found = client.get_targetinfo("file")
        assert found is not None
        assert found.custom == {"b": 1, "a": [None]}


def test_target_is_replaced_and_removed(world: World) -> None:
    world.publish(add("a", b"1"), add("b"))
    world.publish(add("a", b"2"))
    world.check({"a": b"2", "b": b"hello"})

    world.publish(RemoveTarget("a"))
    world.check({"a": None, "b": b"hello"})


@pytest.mark.parametrize("binned", [False, True])
def test_same_change_again_changes_nothing(world: World, binned: bool) -> None:
    if binned:
        world.publish(SetBins(2, (world.key("online"),)))
    for change in (add("a"), RemoveTarget("a")):
        assert world.publish(change)
        assert not world.publish(change)


def test_only_touched_roles_are_published(world: World) -> None:
    keys = (world.key("online"),)
    world.publish(Delegate("one", keys, paths=("1/*",)), Delegate("two", keys, paths=("2/*",)))

    assert world.publish(add("1/a", role="one")).versions == {
        "one": 2,
        "snapshot": 3,
        "timestamp": 3,
    }
    world.check({"1/a": b"hello"})


def test_odd_names_are_published(world: World) -> None:
    odd = ['a "quoted" name', "back\\slash", "tab\tand\x01", "ünïcode/ナ", "a b%20c", "x#y?z"]
    for bits in (None, 3):
        if bits:
            world.publish(SetBins(bits, (world.key("online"),)))
        world.publish(*(add(path) for path in odd))
        for path in odd:
            with world.client() as client:
                assert client.get_targetinfo(path), path


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "../a", "a/./b", "a/..", "a\0b"])
def test_bad_target_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="target path"):
        add(path)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"data": b"x", "file": "x"},
        {"data": b"x", "length": 1, "hashes": {"sha256": "00"}},
        {"length": 1},
        {"length": -1, "hashes": {"sha256": "00"}},
        {"hashes": {"sha256": "00"}},
        {"length": 1, "hashes": {}},
        {"length": 1, "hashes": {"sha256": "../../etc"}},
    ],
)
def test_content_is_given_in_one_way(content: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # each has its own words
        AddTarget("a", **content)  # type: ignore[arg-type]


# Delegations.


def test_delegations_by_path_nested_and_terminating(world: World) -> None:
    key = (world.key("online"),)
    world.publish(
        Delegate("project", key, paths=("p/*", "p/q/*"), terminating=True),
        Delegate("project/sub", (world.key("sub"),), paths=("p/q/*",), role="project"),
        add("p/q/x", role="project/sub"),
        add("p/y", role="project"),
    )
    world.check({"p/q/x": b"hello", "p/y": b"hello", "p/z": None})


def test_delegation_by_hash_prefix(world: World) -> None:
    prefix = sha256(b"a").hexdigest()[:2]
    role = Delegate("hashed", (world.key("online"),), path_hash_prefixes=(prefix,))
    world.publish(role, add("a", role="hashed"))
    world.check({"a": b"hello"})


def test_undelegated_role_stays_in_the_snapshot(world: World) -> None:
    world.publish(Delegate("p", (world.key("online"),), paths=("p/*",)), add("p/a", role="p"))
    world.check({"p/a": b"hello"})

    world.publish(Undelegate("p"))

    world.check({"p/a": None})
    assert world.repository.state().version("p") == 1


def test_role_delegated_to_again_begins_empty_with_a_higher_version(world: World) -> None:
    role = Delegate("p", (world.key("online"),), paths=("p/*",))
    world.publish(role, add("p/a", role="p"))
    world.publish(Undelegate("p"))
    assert world.publish(role).versions["p"] == 2
    world.check({"p/a": None})


@pytest.mark.parametrize(
    "change",
    [
        add("a", role="nobody"),
        RemoveTarget("a", role="nobody"),
        Renew("nobody"),
        RotateKey("nobody", "x", None),  # type: ignore[arg-type]
        SetThreshold("timestamp", 2),
        Delegate("root", (), paths=("a",)),
        Delegate("p", (), paths=("a",)),
        SetBins(3),
    ],
)
def test_change_that_cannot_be_made_is_refused(world: World, change: Change) -> None:
    before = world.file("metadata/")
    with pytest.raises(ValueError):  # noqa: PT011  # each has its own words
        world.publish(change)
    assert world.file("metadata/") == before


# Bins.


def test_targets_move_when_bins_come_and_their_number_changes(world: World) -> None:
    targets: dict[str, bytes | None] = {f"t/{n}": b"%d" % n for n in range(60)}
    world.publish(*(add(path, data or b"") for path, data in targets.items()))
    for bits in (1, 3, 5, 4, 8, 7, 2):
        world.publish(SetBins(bits, (world.key("online"),)), RemoveTarget("t/0"))
        targets["t/0"] = None
        world.check(targets)
        targets["t/0"] = b"again"
        world.publish(add("t/0", b"again"))
        world.check(targets)


def test_only_one_bin_is_read_and_written(world: World) -> None:
    world.publish(SetBins(6, (world.key("online"),)))
    published = world.publish(add("a"))
    assert len(published.versions) == 3
    world.check({"a": b"hello"})


def test_targets_are_cleared(world: World) -> None:
    world.publish(add("a"))
    world.publish(ClearTargets(), add("b"))
    world.check({"a": None, "b": b"hello"})
    world.publish(SetBins(2, (world.key("online"),)))
    world.publish(ClearTargets(), add("c"))
    world.check({"b": None, "c": b"hello"})


# Keys.


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets", "p", "bins"])
def test_keys_of_every_role(world: World, role: str) -> None:
    old = world.key("root" if role == "root" else "online")
    if role == "p":
        world.publish(Delegate("p", (old,), paths=("a/*",)), add("a/hello.txt", role="p"))
    else:
        bins = [SetBins(2, (old,))] if role == "bins" else []
        world.publish(*bins, add("a/hello.txt"))
    steps: list[Change] = [
        RotateKey(role, old.keyid, world.key("new")),
        AddKey(role, world.key("second"), threshold=2),
        SetThreshold(role, 1),
        AddKey(role, world.key("third")),
        RevokeKey(role, world.key("new").keyid),
        RevokeKey(role, world.key("third").keyid, threshold=1),
    ]
    for step in steps:
        assert world.publish(step)
        world.check(dict(HELLO))
        assert not world.publish(step)
    world.publish(add("b"))
    world.check({"b": b"hello"} if role == "p" else {**HELLO, "b": b"hello"})


def test_key_that_was_lost_is_replaced(world: World) -> None:
    world.publish(add("a/hello.txt"))
    for role in ("snapshot", "targets"):
        world.publish(RotateKey(role, world.key("online").keyid, world.key("other")))
    world.key("new")
    world.lose("online")

    with pytest.raises(UnsignedMetadataError, match="timestamp"):
        world.publish(Renew("timestamp"))
    world.publish(RotateKey("timestamp", world.key("online").keyid, world.key("new")))

    world.check(dict(HELLO))
    assert world.publish(Renew("timestamp"))
    world.check(dict(HELLO))


# Renewal, and trying.


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets", "bins-1"])
def test_renewed_role_expires_later(world: World, role: str) -> None:
    world.publish(SetBins(1, (world.key("online"),)), add("a"))
    before = versions(world.publish(Renew("timestamp")))
    world.wait(hours=1)

    published = world.publish(Renew(role))

    wanted = {"root": {"root"}, "timestamp": {"timestamp"}}
    assert set(published.versions) == wanted.get(role, {role, "snapshot", "timestamp"})
    assert before == {"timestamp": 3}
    world.check({"a": b"hello"})


def test_dry_run_tells_and_writes_nothing(world: World) -> None:
    world.publish(SetBins(2, (world.key("online"),)))
    before = world.file("")
    changes = [add("a"), RotateKey("timestamp", world.key("online").keyid, world.key("new"))]

    tried = world.repository.publish(changes, dry_run=True)

    assert world.file("") == before
    assert tried == world.publish(*changes)


def test_stream_of_changes(world: World) -> None:
    world.publish(SetBins(4, (world.key("online"),)))
    world.repository.publish(add(f"t/{n}", b"%d" % n) for n in range(2500))
    world.check({f"t/{n}": b"%d" % n for n in range(0, 2500, 100)})

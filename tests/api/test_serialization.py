"""Wire objects to typed objects and back: what is read, what is kept, what is refused."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from api import wire
from api.wire import MALFORMED, MISSING

from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)

Builder = Callable[..., dict[str, Any]]


def timestamp_metadata(**changes: Any) -> dict[str, Any]:
    return wire.metadata(**{"signed": wire.timestamp(), **changes})


READERS: dict[Builder, Callable[[Any], Any]] = {
    wire.role: Role.from_dict,
    wire.delegated_role: DelegatedRole.from_dict,
    wire.succinct_roles: SuccinctRoles.from_dict,
    wire.delegations: Delegations.from_dict,
    wire.meta_file: MetaFile.from_dict,
    wire.target_file: lambda value: TargetFile.from_dict(value, "a/b.txt"),
    wire.root: Root.from_dict,
    wire.timestamp: Timestamp.from_dict,
    wire.snapshot: Snapshot.from_dict,
    wire.targets: Targets.from_dict,
    timestamp_metadata: Metadata.from_dict,
}
SIGNED = (wire.root, wire.timestamp, wire.snapshot, wire.targets)
ROLES = (wire.role, wire.delegated_role, wire.succinct_roles)


def read(build: Builder, **changes: Any) -> Any:
    return READERS[build](build(**copy.deepcopy(changes)))


def name_of(value: Any) -> str:
    if value is MISSING:
        return "missing"
    return value.__name__ if callable(value) else repr(value)[:60]


def cases(*rows: tuple[Any, ...]) -> pytest.MarkDecorator:
    """Each row: one builder or several, a member, and the values to give it."""
    expanded = []
    for builders, member, *values in rows:
        for build in builders if isinstance(builders, tuple) else (builders,):
            expanded += [(build, member, value) for value in values]
    return pytest.mark.parametrize(("build", "member", "value"), expanded, ids=name_of)


OTHER_KEY = {wire.keyid(1): wire.key(1)}
FOUR_ROLES = wire.root()["roles"]


@pytest.mark.parametrize("build", READERS, ids=name_of)
def test_round_trip(build: Builder) -> None:
    assert read(build).to_dict() == build()


@pytest.mark.parametrize("build", READERS, ids=name_of)
def test_unknown_members_are_kept(build: Builder) -> None:
    unknown = {"x": {"y": [1, None, True, "é"]}, "名": '\U0001f600 \u2028 " \\ \x7f', "": {}}
    assert read(build, **unknown).to_dict() == build(**unknown)
    assert read(build, **unknown).unrecognized_fields == unknown


@pytest.mark.parametrize(
    "name",
    [
        "unrecognized_fields",
        "self",
        "cls",
        "path",
        "snapshot_meta",
        "to_dict",
        "_type",
        "__class__",
    ],
)
@pytest.mark.parametrize("build", READERS, ids=name_of)
def test_unknown_members_may_have_any_name(build: Builder, name: str) -> None:
    if name not in build():
        assert read(build, **{name: {"a": 1}}).to_dict() == build(**{name: {"a": 1}})


@cases(
    (ROLES, "threshold", 1, 2, 2**31),
    (ROLES, "keyids", [], ["a", "b"], ["ключ"]),
    (wire.delegated_role, "name", "a/b", "../x", "ü", " ", "1.root", "Root", "mirrors"),
    (wire.delegated_role, "terminating", True, False),
    (wire.delegated_role, "paths", [], [""], ["*", "*"], ["ä/*.tgz"]),
    (wire.succinct_roles, "bit_length", 1, 32),
    (wire.succinct_roles, "name_prefix", "", "é", "a/b", "..", "root"),
    (wire.delegations, "keys", {}, OTHER_KEY, {"any name": wire.key()}),
    (wire.delegations, "roles", [], [wire.delegated_role(name="b"), wire.delegated_role(name="a")]),
    (wire.meta_file, "length", 0, 1, 2**40),
    (wire.meta_file, "hashes", {"sha256": "ab"}, {"whirlpool": "ab", "sha512": "cd"}),
    (wire.target_file, "length", 0, 2**40),
    (wire.target_file, "hashes", {"sha256": "ab"}, {"whirlpool": "ab", "sha512": "cd"}),
    (wire.target_file, "custom", {}, {"a": [1, {"b": None}]}, None, [], "é", 7, False),
    (wire.target_file, "path", "somewhere/else"),
    (SIGNED, "version", 1, 2**40),
    (SIGNED, "spec_version", "1.0", "1.0.0", "1.0.19", "1.0.34", "1.9.9", "1.22.333"),
    (SIGNED, "expires", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2024-02-29T12:30:45Z"),
    (wire.root, "consistent_snapshot", True, False, MISSING),
    (wire.root, "keys", {}, wire.root()["keys"] | OTHER_KEY),
    (wire.root, "roles", {**FOUR_ROLES, "root": wire.role(keyids=["none such"], threshold=9, x=1)}),
    (wire.timestamp, "meta", {"snapshot.json": wire.meta_file(version=7, length=3, x=1)}),
    (wire.snapshot, "meta", {}, {"b.json": wire.meta_file(), "é.json": wire.meta_file(version=2)}),
    (wire.targets, "targets", {}, {"é/\u2028": wire.target_file(), "": wire.target_file(x=1)}),
    (
        wire.targets,
        "delegations",
        wire.delegations(),
        wire.delegations(roles=[]),
        wire.delegations(roles=MISSING, succinct_roles=wire.succinct_roles(x=1), x=2),
    ),
    (timestamp_metadata, "signatures", [], [{"keyid": "é", "sig": "", "x": 1}]),
    (timestamp_metadata, "x", 1.5),
)
def test_round_trip_of(build: Builder, member: str, value: Any) -> None:
    assert read(build, **{member: value}).to_dict() == build(**{member: value})


def test_round_trip_of_hash_prefixes() -> None:
    for prefixes in ([], ["0", "ab"], [wire.SHA256]):
        changes = {"paths": MISSING, "path_hash_prefixes": prefixes}
        assert read(wire.delegated_role, **changes).to_dict() == wire.delegated_role(**changes)


def test_order_is_kept() -> None:
    signatures = [{"keyid": name, "sig": "ab"} for name in "cab"]
    assert (
        timestamp_metadata(signatures=signatures)
        == read(timestamp_metadata, signatures=signatures).to_dict()
    )
    roles = [wire.delegated_role(name=name) for name in "cab"]
    assert [r["name"] for r in read(wire.delegations, roles=roles).to_dict()["roles"]] == [*"cab"]
    names = {name: wire.target_file() for name in "cab"}
    assert [*read(wire.targets, targets=names).to_dict()["targets"]] == [*"cab"]


@cases(
    (ROLES, "threshold", MISSING),
    (ROLES, "keyids", MISSING),
    (wire.delegated_role, "name", MISSING),
    (wire.delegated_role, "terminating", MISSING),
    (wire.succinct_roles, "bit_length", MISSING),
    (wire.succinct_roles, "name_prefix", MISSING),
    (wire.delegations, "keys", MISSING),
    (wire.meta_file, "version", MISSING),
    (wire.target_file, "length", MISSING),
    (wire.target_file, "hashes", MISSING),
    (SIGNED, "_type", MISSING),
    (SIGNED, "version", MISSING),
    (SIGNED, "spec_version", MISSING),
    (SIGNED, "expires", MISSING),
    (wire.root, "keys", MISSING),
    (wire.root, "roles", MISSING),
    ((wire.timestamp, wire.snapshot), "meta", MISSING),
    (wire.timestamp, "meta", {}, {"timestamp.json": {"version": 1}}),
    (wire.targets, "targets", MISSING, {"a": {}}),
    (wire.targets, "delegations", {}),
    (timestamp_metadata, "signatures", MISSING, [{}], [{"keyid": "a"}], [{"sig": "ab"}]),
    (timestamp_metadata, "signed", MISSING, {}),
)
def test_missing_member(build: Builder, member: str, value: Any) -> None:
    with pytest.raises(KeyError):
        read(build, **{member: value})


@cases(
    (ROLES, "threshold", 0, -1),
    (ROLES, "keyids", ["a", "a"], ["a", "b", "a"]),
    (wire.delegated_role, "paths", None, MISSING, [1], [None]),
    (wire.delegated_role, "path_hash_prefixes", [], ["ab"]),
    (wire.succinct_roles, "bit_length", 0, 33, -1, 2**80),
    (wire.delegations, "roles", MISSING, None, [wire.delegated_role(), wire.delegated_role()]),
    (wire.delegations, "roles", *([wire.delegated_role(name=n)] for n in FOUR_ROLES)),
    (wire.delegations, "roles", [wire.delegated_role(name="")]),
    (wire.delegations, "succinct_roles", wire.succinct_roles()),
    (wire.meta_file, "version", 0, -1),
    ((wire.meta_file, wire.target_file), "length", -1),
    ((wire.meta_file, wire.target_file), "hashes", {}),
    (SIGNED, "_type", None, "", "mirrors", "Root", "signed", 1),
    (SIGNED, "version", 0, -1),
    (SIGNED, "spec_version", "", "1", "1.", "1..0", "1.a", "1.-1", "1.0.0.0", "1.0.0-beta"),
    (
        SIGNED,
        "spec_version",
        "2.0.0",
        "0.9.0",
        "01.0.0",
        "v1.0.0",
        " 1.0.0",
        "1.0.0\n",
        "\u0661.0.0",
    ),
    (SIGNED, "expires", "", "2040-01-01", "2040-01-01T00:00:00", "2040-01-01 00:00:00Z"),
    (SIGNED, "expires", "2040-01-01T00:00:00.5Z", "2040-01-01T00:00:00+00:00", "20400101T000000Z"),
    (SIGNED, "expires", "2040-02-30T00:00:00Z", "2040-01-01T24:00:00Z", "2040-01-01T00:00:60Z"),
    (SIGNED, "expires", "10000-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "2040-01-01T00:00:00ZZ"),
    (wire.root, "roles", {}, {**FOUR_ROLES, "project": wire.role()}),
    (wire.root, "roles", *({k: FOUR_ROLES[k] for k in FOUR_ROLES if k != n} for n in FOUR_ROLES)),
    (wire.root, "roles", {**FOUR_ROLES, "root": wire.role(threshold=0)}),
    (wire.timestamp, "meta", {"snapshot.json": wire.meta_file(version=0)}),
    (wire.snapshot, "meta", {"a.json": wire.meta_file(version=0)}),
    (wire.targets, "targets", {"a": wire.target_file(length=-1)}),
    (timestamp_metadata, "signed", {"_type": "mirrors"}, {"_type": None}, {"_type": []}),
    (timestamp_metadata, "signatures", [{"keyid": "a", "sig": s} for s in ("ab", "ab")]),
    (timestamp_metadata, "signatures", [{"keyid": "a", "sig": s} for s in ("ab", "cd")]),
)
def test_wrong_value(build: Builder, member: str, value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is not part of the API
        read(build, **{member: value})


@cases(
    (ROLES, "threshold", "1", None, False, [], {}),
    (ROLES, "keyids", None, 1, [["a"]], [{}]),
    (wire.delegated_role, "paths", 1, True),
    (wire.succinct_roles, "bit_length", "8", None, 8.0, 8.5, []),
    (wire.succinct_roles, "name_prefix", None, 1, [], {}),
    (wire.delegations, "keys", None, [], "x", {"k": None}, {"k": []}),
    (wire.delegations, "roles", "x", 1, [None], [1], [[]], {"project": wire.delegated_role()}),
    (wire.delegations, "succinct_roles", {}, [], 1, "x"),
    (wire.meta_file, "version", "1", None, [], {}),
    ((wire.meta_file, wire.target_file), "length", "1", [], {}),
    ((wire.meta_file, wire.target_file), "hashes", "ab", 1, [], {"sha256": 1}, {"sha256": None}),
    (wire.target_file, "length", None),
    (wire.target_file, "hashes", None),
    (SIGNED, "version", "1", [], {}),
    (SIGNED, "spec_version", 1, 1.0, [], {}),
    (SIGNED, "expires", None, 0, 2208988800, True, [], {}),
    (wire.root, "keys", None, [], "x", {"k": None}),
    (wire.root, "roles", None, [], "x", {**FOUR_ROLES, "root": None}),
    ((wire.timestamp, wire.snapshot), "meta", None, [], "x", {"snapshot.json": None}),
    (wire.targets, "targets", None, [], "x", {"a": None}, {"a": []}),
    (wire.targets, "delegations", [], 1, "x"),
    (timestamp_metadata, "signatures", None, 1, "x", [None], [1], [[]], [{"keyid": [], "sig": ""}]),
    (timestamp_metadata, "signed", None, [], "x", 1),
)
def test_wrong_type(build: Builder, member: str, value: Any) -> None:
    with pytest.raises(MALFORMED):
        read(build, **{member: value})


@pytest.mark.parametrize("value", [None, [], "x", 1, {}], ids=repr)
@pytest.mark.parametrize("build", READERS, ids=name_of)
def test_not_such_an_object(build: Builder, value: Any) -> None:
    with pytest.raises(MALFORMED):
        READERS[build](value)


@pytest.mark.parametrize("name", ["keytype", "scheme", "keyval"])
def test_a_key_without_one_of_its_members_is_refused(name: str) -> None:
    with pytest.raises(MALFORMED):
        read(wire.root, keys={wire.keyid(): wire.key(**{name: MISSING})})


@pytest.mark.parametrize("keyval", [None, {}, [], "x", {"public": None}, {"public": 1}], ids=repr)
def test_a_known_key_without_a_public_part_is_refused(keyval: Any) -> None:
    with pytest.raises(MALFORMED):
        read(wire.root, keys={wire.keyid(): wire.key(keyval=keyval)})


def test_unknown_members_of_a_key_are_kept() -> None:
    keys = {"a": wire.key(keyid_hash_algorithms=["sha256"], x={"ü": [1]})}
    assert read(wire.root, keys=keys).to_dict() == wire.root(keys=keys)
    assert read(wire.delegations, keys=keys).to_dict() == wire.delegations(keys=keys)


# From here on: what release 7.0.1 of the reference package gets wrong.


@cases(
    (ROLES, "threshold", True, 1.5, 1.0),
    (ROLES, "keyids", "ab", {"a": 1}, [1], [None], ["a", 1]),
    (wire.delegated_role, "name", None, 1),
    (wire.delegated_role, "terminating", 0, 1, None, "x"),
    (wire.delegated_role, "paths", "x", {"a": 1}),
    (wire.succinct_roles, "bit_length", True),
    (wire.delegations, "roles", {}),
    (wire.meta_file, "version", True, 1.0, 1.5),
    ((wire.meta_file, wire.target_file), "length", True, False, 1.0, 1.5),
    (SIGNED, "version", True, 1.0, 1.5),
    (SIGNED, "spec_version", "1.²", "1.\u0663.0", "1.0.²"),
    (wire.root, "consistent_snapshot", 0, 1, "x", []),
    (timestamp_metadata, "signatures", {}, "", [{"keyid": None, "sig": "ab"}]),
)
def test_strictly_wrong(build: Builder, member: str, value: Any) -> None:
    with pytest.raises(MALFORMED):
        read(build, **{member: value})


def test_strictly_wrong_hash_prefixes() -> None:
    for prefixes in ("ab", {"ab": 1}):
        with pytest.raises(MALFORMED):
            read(wire.delegated_role, paths=MISSING, path_hash_prefixes=prefixes)


@cases(
    (wire.meta_file, "length", None),
    (wire.meta_file, "hashes", None),
    (wire.delegated_role, "path_hash_prefixes", None),
    (wire.delegations, "succinct_roles", None),
    (wire.root, "consistent_snapshot", None),
)
def test_a_null_member_stays_null(build: Builder, member: str, value: None) -> None:
    """A signature is over what was written: the member must not vanish."""
    assert read(build, **{member: value}).to_dict() == build(**{member: value})


@pytest.mark.parametrize(
    "expires",
    [
        "2040-01-01t00:00:00Z",
        "2040-01-01T00:00:00z",
        "2040-1-1T0:0:0Z",
        "\u0662\u0660\u0664\u0660-01-01T00:00:00Z",
    ],
)
@pytest.mark.parametrize("build", SIGNED, ids=name_of)
def test_another_form_of_a_date_is_refused(build: Builder, expires: str) -> None:
    with pytest.raises(ValueError, match="expires"):
        read(build, expires=expires)


@pytest.mark.parametrize("expires", ["0001-01-01T00:00:00Z", "0999-12-31T23:59:59Z"])
def test_an_early_date_keeps_its_four_digits(expires: str) -> None:
    assert read(wire.timestamp, expires=expires).to_dict()["expires"] == expires


def test_the_optional_mirrors_role_is_kept() -> None:
    roles = {**FOUR_ROLES, "mirrors": wire.role(x=1)}
    root = read(wire.root, roles=roles)
    assert root.to_dict() == wire.root(roles=roles)
    assert root.roles["mirrors"].threshold == 1
    assert root.get_delegated_role("mirrors").keyids == [wire.keyid()]


UNKNOWN_KEYS = {
    "type": wire.key(keytype="quantum", scheme="quantum"),
    "scheme": wire.key(scheme="ed25520"),
    "value": {"keytype": "x", "scheme": "y", "keyval": {"identity": "é", "issuer": 1}, "z": []},
}


@pytest.mark.parametrize("unknown", UNKNOWN_KEYS)
def test_a_key_of_an_unknown_kind_is_kept(unknown: str) -> None:
    keys = {wire.keyid(): wire.key(), "k": UNKNOWN_KEYS[unknown]}
    root = read(wire.root, keys=keys)
    assert root.to_dict() == wire.root(keys=keys)
    assert (root.get_key("k").keyid, root.get_key("k").scheme) == ("k", keys["k"]["scheme"])
    delegations = read(wire.delegations, keys=keys)
    assert delegations.to_dict() == wire.delegations(keys=keys)


@pytest.mark.parametrize("unknown", UNKNOWN_KEYS)
def test_a_key_of_an_unknown_kind_counts_for_nothing(unknown: str) -> None:
    keys = {wire.keyid(): wire.key(), "k": UNKNOWN_KEYS[unknown]}
    roles = {**FOUR_ROLES, "timestamp": wire.role(keyids=["k", wire.keyid()], threshold=2)}
    root = read(wire.root, keys=keys, roles=roles)
    timestamp = Metadata(Timestamp())
    good = timestamp.sign(wire.signer())
    signatures = {wire.keyid(): good, "k": type(good)("k", good.signature)}
    result = root.get_verification_result("timestamp", timestamp.signed_bytes, signatures)
    assert (list(result.signed), list(result.unsigned)) == ([wire.keyid()], ["k"])
    assert result.missing == 1


def test_what_is_read_is_not_changed() -> None:
    for build, reader in READERS.items():
        value = build()
        reader(value)
        assert value == build()

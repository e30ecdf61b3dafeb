"""The Metadata container: files, serializers, signing; and what all signed parts share."""

import copy
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from api import wire
from api.wire import keyid, signer
from securesystemslib.exceptions import StorageError
from securesystemslib.signer import Signature
from securesystemslib.storage import FilesystemBackend

from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import (
    SPECIFICATION_VERSION,
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Signed,
    Signer,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import (
    DeserializationError,
    MetadataDeserializer,
    MetadataSerializer,
    SerializationError,
    SignedSerializer,
)
from tuf.api.serialization.json import CanonicalJSONSerializer, JSONSerializer

UTC = timezone.utc
YEAR_2040 = datetime(2040, 1, 1, tzinfo=UTC)
KINDS: list[Any] = [Root, Timestamp, Snapshot, Targets]


def new_timestamp(**unknown: Any) -> Metadata[Timestamp]:
    return Metadata(Timestamp(expires=YEAR_2040, unrecognized_fields=unknown))


# Files and serializers.


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "timestamp.json"
    md = new_timestamp(x="é")
    md.sign(signer())
    md.to_file(str(path))
    assert path.read_bytes() == md.to_bytes()
    assert Metadata.from_file(str(path)) == md
    assert Metadata[Timestamp].from_file(str(path)).signed.snapshot_meta.version == 1
    md.signed.version = 2
    md.to_file(str(path))
    assert Metadata.from_file(str(path)).signed.version == 2


def test_a_file_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(StorageError):
            Metadata.from_file(str(path))
    with pytest.raises(StorageError):
        new_timestamp().to_file(str(tmp_path / "no" / "such" / "folder.json"))
    (tmp_path / "bad.json").write_bytes(b"{")
    with pytest.raises(DeserializationError):
        Metadata.from_file(str(tmp_path / "bad.json"))


class Upside(MetadataSerializer, MetadataDeserializer):
    """JSON, the last byte first."""

    def serialize(self, metadata_obj: Metadata[Any]) -> bytes:
        return JSONSerializer().serialize(metadata_obj)[::-1]

    def deserialize(self, raw_data: bytes) -> Metadata[Any]:
        return Metadata.from_bytes(raw_data[::-1])


class Repr(SignedSerializer):
    """The version and nothing else."""

    def serialize(self, signed_obj: Signed) -> bytes:
        return repr(signed_obj.version).encode()


class Failing(MetadataSerializer, SignedSerializer):
    """Not able to do anything."""

    def serialize(self, _: Any) -> bytes:
        raise SerializationError("out of ink")


def test_other_serializers_and_storage(tmp_path: Path) -> None:
    md = new_timestamp()
    path = str(tmp_path / "x")
    md.to_file(path, Upside(), FilesystemBackend())
    assert Path(path).read_bytes() == md.to_bytes(Upside()) == md.to_bytes(JSONSerializer())[::-1]
    assert Metadata.from_file(path, Upside(), FilesystemBackend()) == md
    assert Metadata.from_bytes(md.to_bytes(Upside()), Upside()) == md
    with pytest.raises(SerializationError, match="out of ink"):
        md.to_bytes(Failing())
    with pytest.raises(SerializationError, match="out of ink"):
        md.to_file(path, Failing())
    assert Path(path).read_bytes() == md.to_bytes(Upside())


def test_to_bytes_is_compact_by_default() -> None:
    md = new_timestamp(x="ü", a=[])
    md.sign(signer())
    assert md.to_bytes() == JSONSerializer(compact=True).serialize(md)
    assert b"\n" not in md.to_bytes()
    assert b" " not in md.to_bytes()


def test_json_is_indented_by_one() -> None:
    md = new_timestamp(x=[1])
    data = JSONSerializer().serialize(md)
    assert data.startswith(b'{\n "signatures": [')
    assert b'\n  "_type": "timestamp",\n  "expires": ' in data
    assert json.loads(data) == json.loads(md.to_bytes()) == md.to_dict()


@pytest.mark.parametrize("compact", [True, False])
def test_json_members_are_sorted(compact: bool) -> None:
    md = new_timestamp(b=1, a={"z": 1, "y": 2})
    order = json.loads(
        JSONSerializer(compact=compact).serialize(md), object_pairs_hook=lambda pairs: pairs
    )
    signed = dict(order)["signed"]
    assert [name for name, _ in order] == ["signatures", "signed"]
    assert [name for name, _ in signed] == sorted(name for name, _ in signed)
    assert [name for name, _ in dict(signed)["a"]] == ["y", "z"]


def test_the_serializers_options() -> None:
    assert (JSONSerializer().compact, JSONSerializer().validate) == (False, False)
    assert (JSONSerializer(True, True).compact, JSONSerializer(True, True).validate) == (True, True)


def test_validation_refuses_what_could_not_be_read_again() -> None:
    validating = JSONSerializer(validate=True)
    md = new_timestamp(x=1)
    assert Metadata.from_bytes(validating.serialize(md)) == md
    md.signed.version = 0
    JSONSerializer().serialize(md)
    with pytest.raises(SerializationError):
        validating.serialize(md)
    md = new_timestamp()
    md.signed.snapshot_meta.hashes = {}
    with pytest.raises(SerializationError):
        validating.serialize(md)


@pytest.mark.parametrize("bad", [{1, 2}, b"x", object()], ids=lambda bad: type(bad).__name__)
def test_what_has_no_json_is_not_serialized(bad: Any) -> None:
    md = new_timestamp(x=[bad])
    with pytest.raises(SerializationError):
        md.to_bytes()
    with pytest.raises(SerializationError):
        JSONSerializer().serialize(md)
    with pytest.raises(SerializationError):
        CanonicalJSONSerializer().serialize(md.signed)


@pytest.mark.parametrize("bad", [1.5, float("nan"), {1: 2}, {None: 2}, "\ud800", {1}, b"x"])
def test_what_has_no_canonical_form_is_not_signed(bad: Any) -> None:
    md = new_timestamp()
    md.sign(signer())
    before = dict(md.signatures)
    md.signed.unrecognized_fields["x"] = bad
    with pytest.raises(SerializationError):
        _ = md.signed_bytes
    with pytest.raises(SerializationError):
        md.sign(signer(1))
    assert md.signatures == before


@pytest.mark.parametrize("serializer", [JSONSerializer(), CanonicalJSONSerializer()])
def test_what_is_no_metadata_is_not_serialized(serializer: Any) -> None:
    with pytest.raises(SerializationError):
        serializer.serialize(None)


# Signing.


def test_sign_replaces_or_appends() -> None:
    md = new_timestamp()
    signature = md.sign(signer(0))
    assert md.signatures == {keyid(0): signature}
    signer(0).public_key.verify_signature(signature, md.signed_bytes)
    md.sign(signer(1))
    assert list(md.signatures) == [keyid(1)]
    md.sign(signer(0), append=True)
    assert list(md.signatures) == [keyid(1), keyid(0)]
    md.sign(signer(1), append=True)
    assert list(md.signatures) == [keyid(1), keyid(0)]
    assert [s["keyid"] for s in md.to_dict()["signatures"]] == [keyid(1), keyid(0)]


def test_signing_is_over_the_canonical_form_unless_told_otherwise() -> None:
    md = new_timestamp()
    assert md.signed_bytes == CanonicalJSONSerializer().serialize(md.signed)
    assert md.signed_bytes == wire.canonical(md.signed.to_dict())
    signer().public_key.verify_signature(md.sign(signer(), False, Repr()), b"1")


class BrokenSigner(Signer):
    """A token that was pulled out."""

    public_key = signer().public_key

    @classmethod
    def from_priv_key_uri(cls, *_: Any, **__: Any) -> "BrokenSigner":
        return cls()

    def sign(self, payload: bytes) -> Signature:
        raise OSError("no token")


@pytest.mark.parametrize("append", [True, False])
def test_a_signer_that_fails_leaves_the_signatures(append: bool) -> None:
    md = new_timestamp()
    md.sign(signer())
    before = dict(md.signatures)
    with pytest.raises(UnsignedMetadataError) as caught:
        md.sign(BrokenSigner(), append=append)
    assert isinstance(caught.value.__cause__, OSError)
    assert md.signatures == before


def test_signed_bytes_follow_every_change() -> None:
    md = Metadata.from_bytes(wire.encoded(wire.metadata(wire.timestamp(x={"y": [1]}))))
    for change in (
        lambda: setattr(md.signed, "version", 8),
        lambda: setattr(md.signed.snapshot_meta, "version", 9),
        lambda: setattr(md.signed, "expires", datetime(2041, 1, 1)),
        lambda: md.signed.unrecognized_fields["x"]["y"].append(2),
        md.signed.unrecognized_fields.clear,
        lambda: setattr(md, "signed", Timestamp(expires=YEAR_2040)),
    ):
        before = md.signed_bytes
        change()
        assert md.signed_bytes != before
        assert md.signed_bytes == wire.canonical(md.signed.to_dict())


# What the signed parts share.


@pytest.mark.parametrize("kind", KINDS)
def test_defaults(kind: Any) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    signed = kind()
    assert signed.version == 1
    assert signed.spec_version == ".".join(SPECIFICATION_VERSION)
    assert before <= signed.expires <= datetime.now(UTC)
    assert signed.is_expired()
    assert signed.unrecognized_fields == {}
    assert signed.type == kind.type == kind.__name__.lower()


def test_defaults_of_each_kind() -> None:
    assert Timestamp().snapshot_meta == MetaFile(1)
    assert Snapshot().meta == {"targets.json": MetaFile(1)}
    assert (Targets().targets, Targets().delegations) == ({}, None)
    assert (Root().keys, Root().consistent_snapshot) == ({}, True)
    assert Root().roles == {n: Role([], 1) for n in ("root", "timestamp", "snapshot", "targets")}
    assert (Metadata(Root()).signatures, Metadata(Root()).unrecognized_fields) == ({}, {})


def test_defaults_are_not_shared() -> None:
    Targets().targets["a"] = TargetFile(1, {"sha256": "ab"}, "a")
    Metadata(Root()).signatures["a"] = Signature("a", "ab")
    Root().roles["root"].keyids.append("a")
    assert (Targets().targets, Metadata(Root()).signatures) == ({}, {})
    assert Root().roles["root"].keyids == []


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_by_position(kind: Any) -> None:
    signed = kind(3, "1.0.5", YEAR_2040)
    assert (signed.version, signed.spec_version, signed.expires) == (3, "1.0.5", YEAR_2040)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "arguments",
    [{"version": 0}, {"version": -1}, {"spec_version": "2.0.0"}, {"spec_version": "1"}],
    ids=str,
)
def test_wrong_arguments(kind: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        kind(**arguments)


def test_wrong_roles() -> None:
    role = Role([], 1)
    for roles in ({}, {"root": role}, {**Root().roles, "project": role}):
        with pytest.raises(ValueError, match="ole"):
            Root(roles=roles)


def test_signed_is_abstract() -> None:
    with pytest.raises(TypeError):
        Signed(1, None, None, None)  # type: ignore[abstract]


@pytest.mark.parametrize(
    "given",
    [
        datetime(2040, 1, 1),
        datetime(2040, 1, 1, tzinfo=UTC),
        datetime(2040, 1, 1, 0, 0, 0, 999_999),
        datetime(2040, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
        datetime(2040, 1, 1, tzinfo=timezone(timedelta(0), "UTC, by another name")),
    ],
)
def test_expires_is_in_utc_and_whole_seconds(given: datetime) -> None:
    signed = Timestamp()
    signed.expires = given
    for made in (signed, Timestamp(expires=given)):
        assert made.expires == YEAR_2040
        assert made.expires.tzinfo is not None
        assert made.to_dict()["expires"] == "2040-01-01T00:00:00Z"
    assert Timestamp.from_dict(signed.to_dict()).expires == YEAR_2040


def test_expires_in_another_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="UTC"):
        Timestamp().expires = datetime(2040, 1, 1, tzinfo=timezone(timedelta(hours=5)))
    with pytest.raises(ValueError, match="UTC"):
        Timestamp(expires=datetime(2040, 1, 1, tzinfo=timezone(timedelta(hours=5))))


def test_an_expiry_that_is_refused_is_not_kept() -> None:
    signed = Timestamp(expires=YEAR_2040)
    with pytest.raises(ValueError, match="UTC"):
        signed.expires = datetime(2041, 1, 1, tzinfo=timezone(timedelta(hours=5)))
    assert signed.expires == YEAR_2040


@pytest.mark.parametrize("bad", ["2040-01-01T00:00:00Z", 2208988800, None])
def test_expires_is_a_datetime(bad: Any) -> None:
    with pytest.raises((TypeError, AttributeError)):
        Timestamp().expires = bad


def test_is_expired() -> None:
    signed = Timestamp(expires=YEAR_2040)
    assert not signed.is_expired()
    assert not signed.is_expired(YEAR_2040 - timedelta(microseconds=1))
    assert signed.is_expired(YEAR_2040)
    assert signed.is_expired(YEAR_2040 + timedelta(seconds=1))
    assert signed.is_expired(YEAR_2040.astimezone(timezone(timedelta(hours=-5))))
    with pytest.raises(TypeError):
        signed.is_expired(datetime(2040, 1, 1))


# Equality.

EQUAL: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "Role": (Role(["a"], 1), [{"keyids": ["b"]}, {"keyids": []}, {"threshold": 2}]),
    "DelegatedRole": (
        DelegatedRole("a", ["a"], 1, False, ["*"]),
        [{"name": "b"}, {"terminating": True}, {"paths": ["a"]}, {"keyids": []}, {"threshold": 2}],
    ),
    "SuccinctRoles": (
        SuccinctRoles(["a"], 1, 4, "b"),
        [{"bit_length": 5}, {"name_prefix": "c"}, {"keyids": []}, {"threshold": 2}],
    ),
    "Delegations": (
        Delegations({}, {"a": DelegatedRole("a", [], 1, False, ["*"])}),
        [{"keys": {"a": signer().public_key}}, {"roles": {}}],
    ),
    "MetaFile": (MetaFile(1, 2, {"a": "b"}), [{"version": 2}, {"length": None}, {"hashes": None}]),
    "TargetFile": (
        TargetFile(1, {"a": "b"}, "p"),
        [{"length": 2}, {"hashes": {"a": "c"}}, {"path": "q"}],
    ),
    "Root": (Root(1, None, YEAR_2040), [{"consistent_snapshot": False}, {"version": 2}]),
    "Timestamp": (Timestamp(1, None, YEAR_2040), [{"snapshot_meta": MetaFile(2)}]),
    "Snapshot": (Snapshot(1, None, YEAR_2040), [{"meta": {}}, {"spec_version": "1.0.1"}]),
    "Targets": (
        Targets(1, None, YEAR_2040),
        [{"delegations": Delegations({}, {})}, {"expires": datetime(2041, 1, 1)}],
    ),
    "Metadata": (
        Metadata(Timestamp(1, None, YEAR_2040)),
        [{"signed": Timestamp(2, None, YEAR_2040)}, {"signatures": {"a": Signature("a", "ab")}}],
    ),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equality(name: str) -> None:
    thing, changes = EQUAL[name]
    assert thing == copy.deepcopy(thing)
    assert not thing != copy.deepcopy(thing)  # noqa: SIM202
    assert thing != thing.to_dict()
    assert thing != None  # noqa: E711
    for change in [*changes, {"unrecognized_fields": {"x": 1}}]:
        other = copy.deepcopy(thing)
        for attribute, value in change.items():
            setattr(other, attribute, value)
        assert other != thing, change
        assert not other == thing, change  # noqa: SIM201


def test_equality_reaches_into_entries() -> None:
    for signed, reach in (
        (Root(1, None, YEAR_2040), lambda s: s.roles["root"].keyids.append("a")),
        (Snapshot(1, None, YEAR_2040), lambda s: setattr(s.meta["targets.json"], "length", 1)),
        (
            Targets(targets={"a": TargetFile(1, {"a": "b"}, "a")}),
            lambda s: s.targets["a"].unrecognized_fields.update(custom=1),
        ),
        (Timestamp(1, None, YEAR_2040), lambda s: setattr(s.snapshot_meta, "length", 1)),
    ):
        other = copy.deepcopy(signed)
        reach(other)
        assert signed != other
        assert Metadata(signed) != Metadata(other)


def test_the_order_of_delegated_roles_and_signatures_matters() -> None:
    a, b = (DelegatedRole(name, [], 1, False, ["*"]) for name in "ab")
    assert Delegations({}, {"a": a, "b": b}) != Delegations({}, {"b": b, "a": a})
    x, y = Signature("x", "ab"), Signature("y", "ab")
    timestamp = Timestamp(1, None, YEAR_2040)
    assert Metadata(timestamp, {"x": x, "y": y}) != Metadata(timestamp, {"y": y, "x": x})


def test_different_kinds_are_not_equal() -> None:
    assert Role([], 1) != DelegatedRole("a", [], 1, False, ["*"])
    assert DelegatedRole("a", [], 1, False, ["*"]) != Role([], 1)
    assert MetaFile(1) != TargetFile(1, {"a": "b"}, "p")
    assert Timestamp(1, None, YEAR_2040) != Snapshot(1, None, YEAR_2040)


@pytest.mark.parametrize("name", ["Role", "DelegatedRole", "SuccinctRoles"])
def test_roles_are_hashable(name: str) -> None:
    thing, _ = EQUAL[name]
    assert len({thing, copy.deepcopy(thing)}) == 1

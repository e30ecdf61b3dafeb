"""Published flaws of TUF implementations, and holes of release 7.0.1: bytes and members.

Whatever is served, the client ends in a declared error or goes on rightly; and it recovers.
"""

import base64
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tuf.api.exceptions import (
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import SuccinctRoles, TargetFile
from tuf.api.serialization import DeserializationError
from tuf.ngclient.config import EnvelopeType
from tuf.ngclient.updater import TrustedMetadataSet
from world import TOP_LEVEL, PopulatedWorld, World, new_keys, signatures, wrap

#: With one root, one that is found by a fixed name, and one that others name.
ROLES = pytest.mark.parametrize("role", ["root", "timestamp", "d"])

Object = dict[str, Any]


@pytest.fixture
def world(tmp_path: Path) -> PopulatedWorld:
    return PopulatedWorld(tmp_path)


# -- bytes


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


#: What is not JSON, or more than JSON; each made of metadata that is good but for this.
BAD_BYTES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "white space": lambda data: b" \n",
    "no object": lambda data: b"[" + data + b"]",
    "null": lambda data: b"null",
    "a string": lambda data: b'"' + data[:10].hex().encode() + b'"',
    "truncated at the end": lambda data: data[:-1],
    "truncated in the middle": lambda data: data[: len(data) // 2],
    "brackets": lambda data: b"[" * 100_000,
    "braces": lambda data: b'{"a":' * 100_000,
    "not UTF-8": lambda data: data[:-1] + b',"x":"\xff\xfe"}',
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "latin-1": lambda data: data[:-1] + ',"x":"é"}'.encode("latin-1"),
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "trailing data": lambda data: data + b"x",
    "two documents": lambda data: data + data,
    "NUL at the end": lambda data: data + b"\x00",
    "NaN": lambda data: data[:-1] + b',"x":NaN}',
    "Infinity": lambda data: data[:-1] + b',"x":-Infinity}',
    "lone surrogate": lambda data: data[:-1] + b',"x":"\\ud800"}',
    "lone surrogate as a name": lambda data: data[:-1] + b',"\\udfff":1}',
    "raw control character": lambda data: data[:-1] + b',"x":"\n"}',
    "single quotes": lambda data: data.replace(b'"', b"'"),
    "comment": lambda data: b"// a comment\n" + data,
    "trailing comma": lambda data: data[:-1] + b",}",
    "integer of 5000 digits": lambda data: data.replace(b'"version":', b'"version":' + b"9" * 5000),
    "integer of 500000 digits": lambda data: data[:-1] + b',"x":' + b"9" * 500_000 + b"}",
}


@ROLES
@pytest.mark.parametrize("kind", BAD_BYTES)
def test_cve_2026_23991_malformed_json(world: PopulatedWorld, role: str, kind: str) -> None:
    """One declared error for any bytes, before any signature is looked at.

    Also of the audits of 2022 and 2023: the cost of huge integers is quadratic."""
    world.roles[role].version += 1
    good = world.sign(role)
    world.roles[role].version -= 1
    world.issue(role, BAD_BYTES[kind](good))
    caps = {f"{name}_max_length": 5_000_000 for name in TOP_LEVEL}
    world.refused(DeserializationError, **caps)
    assert world.cached(role) in (None, world.bootstrap)
    if role == "root":
        world.write("root")
    world.recovers()


#: Members of what is signed, with a good signature over them.
BAD_MEMBERS: dict[str, Object] = {
    "float": {"x": 1.5},
    "float that is whole": {"x": 1.0},
    "exponent": {"x": 1e3},
    "nested": {"x": nested(500)},
    "version true": {"version": True},
    "version 1.5": {"version": 1.5},
    "version 0": {"version": 0},
    "version negative": {"version": -1},
    "version a string": {"version": "2"},
    "version null": {"version": None},
    "version of more than 64 bits": {"version": 2**64},
    "another type": {"_type": "mirrors"},
    "type in capitals": {"_type": "Timestamp"},
    "type null": {"_type": None},
    "expires without a zone": {"expires": "2099-01-01T00:00:00"},
    "expires with an offset": {"expires": "2099-01-01T00:00:00+01:00"},
    "expires with fractions": {"expires": "2099-01-01T00:00:00.5Z"},
    "expires is no date": {"expires": "2099-02-30T00:00:00Z"},
    "expires a number": {"expires": 4070908800},
    "expires null": {"expires": None},
    "spec_version 2": {"spec_version": "2.0.0"},
    "spec_version 0": {"spec_version": "0.9.0"},
    "spec_version of one part": {"spec_version": "1"},
    "spec_version of four parts": {"spec_version": "1.0.0.0"},
    "spec_version with a superscript": {"spec_version": "1.²"},
    "spec_version with other digits": {"spec_version": "1.0.\u0661"},
    "spec_version with white space": {"spec_version": " 1.0.0"},
    "spec_version with a line end": {"spec_version": "1.0.0\n"},
    "spec_version empty": {"spec_version": ""},
    "spec_version a number": {"spec_version": 1},
    "spec_version null": {"spec_version": None},
}


@ROLES
@pytest.mark.parametrize("kind", BAD_MEMBERS)
def test_cve_2026_23991_malformed_members(world: PopulatedWorld, role: str, kind: str) -> None:
    """Also holes of release 7.0.1: versions true and 1.5, and 1.² of the specification."""
    signed = deepcopy(world.roles[role].to_dict())
    signed["version"] += 1
    world.issue(role, wrap(signed | BAD_MEMBERS[kind], world.signers[role]))
    world.refused(DeserializationError)
    if role == "root":
        world.write("root")
    world.recovers()


@pytest.mark.parametrize(
    ("role", "other"),
    [
        *(("root", "targets"), ("timestamp", "snapshot"), ("snapshot", "timestamp")),
        *(("targets", "root"), ("d", "timestamp")),
    ],
)
def test_cve_2026_23991_metadata_of_another_type(
    world: PopulatedWorld, role: str, other: str
) -> None:
    """Well formed, well signed by the role's keys, but not what was asked for."""
    signed = world.roles[other].to_dict() | {"version": world.roles[role].version + 1}
    world.issue(role, wrap(signed, world.signers[role]))
    world.refused(RepositoryError)


@ROLES
@pytest.mark.parametrize("version", ["1.0.0", "1.0.99", "1.7.0", "1.0"])
def test_major_part_of_spec_version_decides(world: PopulatedWorld, role: str, version: str) -> None:
    world.roles[role].spec_version = version
    world.publish(role)
    world.update()
    assert world.cached(role) == world.files[world.path(role)]


@pytest.mark.parametrize("threshold", [0, -1, True, 1.0, "1", None, [], 2**62])
@pytest.mark.parametrize("role", [*TOP_LEVEL, "d"])
def test_cve_2026_23992_thresholds_are_integers_from_one(
    world: PopulatedWorld, role: str, threshold: Any
) -> None:
    def edit(signed: Object) -> None:
        where = signed["delegations"]["roles"][0] if role == "d" else signed["roles"][role]
        where["threshold"] = threshold

    parent = "targets" if role == "d" else "root"
    data = world.plant(parent, edit)
    if threshold == 2**62:
        world.vouch(parent, data)
    # A huge one is an integer, which no number of keys meets.
    world.refused(UnsignedMetadataError if threshold == 2**62 else DeserializationError)


def bins(signed: Object) -> Object:
    found: Object = signed["delegations"]["succinct_roles"]
    return found


@pytest.mark.parametrize("threshold", [0, -1, True, None])
def test_cve_2026_23992_thresholds_of_bins(tmp_path: Path, threshold: Any) -> None:
    world = World(tmp_path)
    world.delegate_bins(1)
    world.plant("targets", lambda signed: bins(signed).update(threshold=threshold))
    with pytest.raises(DeserializationError):
        world.client().refresh()


# -- any member with any value


JUNK = [None, True, -1, 0, "", "x", [], [None], {}, {"x": {}}]


def mutations(value: Any) -> Iterator[Any]:
    """The value with each of its parts, in turn, left out or replaced by junk."""
    yield from JUNK
    if isinstance(value, dict):
        for name in value:
            rest = {other: part for other, part in value.items() if other != name}
            yield rest
            for part in mutations(value[name]):
                yield rest | {name: part}
    elif isinstance(value, list):
        yield value + value
        for i, item in enumerate(value):
            for part in mutations(item):
                yield [*value[:i], part, *value[i + 1 :]]


def load(world: World, role: str, data: bytes) -> None:
    """The rules of the workflow, up to this role."""
    trusted = TrustedMetadataSet(world.bootstrap, EnvelopeType.METADATA)
    if role == "root":
        trusted.update_root(data)
        return
    above = TOP_LEVEL[1 : TOP_LEVEL.index(role) if role in TOP_LEVEL else 4]
    for name in above:
        getattr(trusted, f"update_{name}")(world.files[world.path(name)])
    if role == "d":
        trusted.update_delegated_targets(data, "d", "targets")
    else:
        getattr(trusted, f"update_{role}")(data)


@pytest.mark.parametrize("role", [*TOP_LEVEL, "d"])
def test_go_749_any_member_with_any_value(tmp_path: Path, role: str) -> None:
    """Well signed, with null or anything else in any place: it is taken, or a declared error."""
    world = PopulatedWorld(tmp_path, meta_hashes=False)
    signed = world.roles[role].to_dict()
    if role == "root":
        signed["version"] += 1
    refused = 0
    for mutated in mutations(signed):
        data = json.dumps(
            {"signed": mutated, "signatures": signatures(mutated, world.signers[role])}
        )
        try:
            load(world, role, data.encode())
        except RepositoryError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("role", ["timestamp", "d"])
def test_any_signatures(tmp_path: Path, role: str) -> None:
    world = PopulatedWorld(tmp_path, meta_hashes=False)
    good = json.loads(world.files[world.path(role)])
    good["signatures"] += signatures(good["signed"], new_keys())
    for mutated in mutations(good["signatures"]):
        data = json.dumps(good | {"signatures": mutated}).encode()
        try:
            load(world, role, data)
        except RepositoryError:
            continue
        # Taken: then the signature that counts is there, as it was.
        assert json.loads(data)["signatures"][0] == good["signatures"][0]


@pytest.mark.parametrize(
    "edit",
    [
        lambda signed: signed["targets"]["d/file"].update(hashes={}),
        lambda signed: signed["targets"]["d/file"].update(hashes=None),
        lambda signed: signed["targets"]["d/file"].update(hashes={"sha256": None}),
        lambda signed: signed["targets"]["d/file"].update(hashes={"sha256": 1}),
        lambda signed: signed["targets"]["d/file"].pop("hashes"),
        lambda signed: signed["targets"]["d/file"].update(length=None),
        lambda signed: signed["targets"]["d/file"].update(length=-1),
        lambda signed: signed["targets"]["d/file"].update(length=True),
        lambda signed: signed["targets"]["d/file"].pop("length"),
        lambda signed: signed["targets"].update({"d/file": None}),
        lambda signed: signed["targets"].update({"d/file": []}),
    ],
)
def test_go_721_target_without_hashes_or_length(
    world: PopulatedWorld, edit: Callable[[Object], object]
) -> None:
    world.plant("d", edit)
    world.refused(DeserializationError)
    world.recovers()


def test_go_721_empty_hash_matches_nothing(world: PopulatedWorld) -> None:
    target = TargetFile(7, {"sha256": ""}, "d/file")
    world.files["targets/d/.file"] = world.files["targets/d/file"] = b"content"
    with pytest.raises((LengthOrHashMismatchError, ValueError)):
        world.client().download_target(target)


@pytest.mark.parametrize("bits", [0, -1, 33, 64, 10**6, True, 1.0, "1", None])
def test_go_716_bit_length_out_of_range(tmp_path: Path, bits: Any) -> None:
    world = World(tmp_path)
    world.delegate_bins(1)
    world.plant("targets", lambda signed: bins(signed).update(bit_length=bits))
    with pytest.raises(DeserializationError):
        world.client().refresh()


@pytest.mark.parametrize(("bits", "name"), [(1, "bin-0"), (8, "bin-2d"), (32, "bin-2d711642")])
def test_go_716_bit_length_in_range(bits: int, name: str) -> None:
    # sha256("x") = 2d711642...
    assert SuccinctRoles([], 1, bits, "bin").get_role_for_target("x") == name


@pytest.mark.parametrize(
    ("prefix", "matches"),
    [("2d711642", True), ("2d7", True), ("", True), ("LXEW", False), ("2e", False), ("d7", False)],
)
def test_go_783_hash_prefixes_are_of_the_hex_digest(
    tmp_path: Path, prefix: str, matches: bool
) -> None:
    world = World(tmp_path)
    assert base64.b64encode(bytes.fromhex("2d711642"))[:4] == b"LXEW"
    world.delegate("A", path_hash_prefixes=[prefix])
    target = world.add_target("x", b"x", "A")
    assert world.client().get_targetinfo("x") == (target if matches else None)


# -- null where a member is optional


@pytest.mark.parametrize(
    ("role", "edit"),
    [
        ("d", lambda signed: signed["targets"]["d/file"].update(custom=None)),
        ("d", lambda signed: signed["targets"]["d/file"].update(x={"y": None})),
        ("d", lambda signed: signed.update(x=None)),
        ("snapshot", lambda signed: signed["meta"]["d.json"].update(x=None)),
        ("timestamp", lambda signed: signed["meta"]["snapshot.json"].update(x=[None])),
        ("root", lambda signed: signed["roles"]["targets"].update(x=None)),
    ],
)
def test_unknown_null_is_inside_what_is_signed(
    world: PopulatedWorld, role: str, edit: Callable[[Object], object]
) -> None:
    world.vouch(role, world.plant(role, edit))
    client = world.client()
    client.refresh()
    assert client.get_targetinfo("d/file") is not None
    world.check()


def only_role(signed: Object) -> Object:
    (role,) = signed["delegations"]["roles"]
    found: Object = role
    return found


@pytest.mark.parametrize(
    ("role", "edit"),
    [
        ("d", lambda signed: signed.update(delegations=None)),
        ("targets", lambda signed: only_role(signed).update(path_hash_prefixes=None)),
        ("targets", lambda signed: signed["delegations"].update(succinct_roles=None)),
        ("snapshot", lambda signed: signed["meta"]["targets.json"].update(length=None)),
        ("snapshot", lambda signed: signed["meta"]["targets.json"].update(hashes=None)),
        ("timestamp", lambda signed: signed["meta"]["snapshot.json"].update(length=None)),
    ],
)
def test_optional_null_is_no_signature_failure(
    world: PopulatedWorld, role: str, edit: Callable[[Object], object]
) -> None:
    """Release 7.0.1 left such a member out before it verified. Refused as malformed, or taken."""
    data = world.plant(role, edit)
    try:
        world.client().refresh()
        assert world.client().get_targetinfo("d/file") is not None
    except DeserializationError:
        assert world.cached(role) in (None, world.bootstrap)
    else:
        assert world.cached(role) == data


# -- envelopes


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"x", b"[]", b"{}", b"null", b"\xff", b"1" * 5000, b"[" * 20000, b'"\\ud800"'),
        *(b'{"_type": "timestamp"}', b'{"_type": 1}', b'{"_type": "other"}'),
    ],
)
def test_envelope_with_a_malformed_payload(tmp_path: Path, payload: bytes) -> None:
    """Release 7.0.1 let KeyError out."""
    world = PopulatedWorld(tmp_path, envelope_type=EnvelopeType.SIMPLE)
    for role in ("timestamp", "d"):
        envelope = json.loads(world.files[world.path(role)])
        envelope["payload"] = base64.b64encode(payload).decode()
        world.issue(role, json.dumps(envelope).encode())
        world.refused(DeserializationError, timestamp_max_length=100_000)
    world.recovers()


def test_any_envelope(tmp_path: Path) -> None:
    world = World(tmp_path, envelope_type=EnvelopeType.SIMPLE)
    envelope = json.loads(world.files["metadata/timestamp.json"])
    client = world.client()
    for mutated in mutations(envelope):
        world.files["metadata/timestamp.json"] = json.dumps(mutated).encode()
        try:
            client.refresh()
        except RepositoryError:
            continue
        assert mutated["payload"] == envelope["payload"]
        assert envelope["signatures"][0] in mutated["signatures"]
        break
    world.check()

"""Metadata.from_bytes: whatever the bytes, metadata or a DeserializationError."""

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from api import wire
from api.wire import EXPIRES, MALFORMED, encoded
from hypothesis import given, settings
from hypothesis import strategies as st

from tuf.api.metadata import Metadata, Snapshot, Targets
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONDeserializer

SMALL = json.dumps(wire.metadata(wire.timestamp()), separators=(",", ":")).encode()
FULL = {
    "root": wire.metadata(wire.root(x={"é": [1, None]})),
    "timestamp": wire.metadata(wire.timestamp()),
    "snapshot": wire.metadata(
        wire.snapshot(meta={"targets.json": wire.meta_file(length=1, hashes={"sha256": "ab"})})
    ),
    "targets": wire.metadata(
        wire.targets(
            targets={f"a/{n}.txt": wire.target_file(custom={"n": n}) for n in range(3)},
            delegations=wire.delegations(),
        )
    ),
    "bins": wire.metadata(
        wire.targets(
            delegations=wire.delegations(roles=wire.MISSING, succinct_roles=wire.succinct_roles())
        )
    ),
}


def inserted(text: bytes) -> bytes:
    """A timestamp with ``text`` at the end of its signed part."""
    assert SMALL.endswith(b"}}")
    return SMALL[:-2] + b"," + text + b"}}"


def check_refused(data: bytes) -> None:
    with pytest.raises(DeserializationError):
        Metadata.from_bytes(data)


def check(data: bytes) -> None:
    """Read metadata to its last entry, if it is metadata at all."""
    try:
        md: Metadata[Any] = Metadata.from_bytes(data)
    except DeserializationError:
        return
    if isinstance(md.signed, Targets):
        assert all(path == target.path for path, target in md.signed.targets.items())
    if isinstance(md.signed, Snapshot):
        assert all(file.version > 0 for file in md.signed.meta.values())
    assert md.to_dict()["signed"]["_type"] == md.signed.type


BAD = {
    "empty": b"",
    "white space": b" \n",
    "byte order mark": b"\xef\xbb\xbf" + SMALL,
    "UTF-16": SMALL.decode().encode("utf-16"),
    "UTF-16LE": SMALL.decode().encode("utf-16-le"),
    "UTF-32": SMALL.decode().encode("utf-32"),
    "trailing letter": SMALL + b"x",
    "trailing NUL": SMALL + b"\0",
    "trailing bracket": SMALL + b"}",
    "twice": SMALL + SMALL,
    "null": b"null",
    "number": b"1",
    "string": b'"signed"',
    "array": b"[]",
    "array of metadata": b"[" + SMALL + b"]",
    "object": b"{}",
    "single quotes": SMALL.replace(b'"', b"'"),
    "comment": inserted(b'/* x */"x":1'),
    "trailing comma": SMALL.replace(b"}}", b",}}"),
    "invalid UTF-8": inserted(b'"x":"\xff"'),
    "overlong UTF-8": inserted(b'"x":"\xc0\xaf"'),
    "surrogate in UTF-8": inserted(b'"x":"\xed\xa0\x80"'),
    "UTF-8 cut short": inserted(b'"x":"\xe2\x82"'),
    "control character": inserted(b'"x":"a\nb"'),
    "bad escape": inserted(b'"x":"\\x41"'),
    "short escape": inserted(b'"x":"\\u41"'),
    "number with leading zero": inserted(b'"x":01'),
    "number with plus": inserted(b'"x":+1'),
    "number with bare point": inserted(b'"x":1.'),
    "hexadecimal number": inserted(b'"x":0x1'),
    "5000 digits": inserted(b'"x":' + b"9" * 5000),
    "100,000 brackets": b"[" * 100_000,
    "100,000 braces": b'{"a":' * 100_000,
    "100,000 balanced brackets": b"[" * 100_000 + b"]" * 100_000,
    "100,000 brackets inside": inserted(b'"x":' + b"[" * 100_000 + b"]" * 100_000),
    "100,000 brackets beside": SMALL[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}
AMBIGUOUS = {
    "NaN": inserted(b'"x":NaN'),
    "infinity": inserted(b'"x":-Infinity'),
    "NaN beside": SMALL[:-1] + b',"x":NaN}',
    "float": inserted(b'"x":1.5'),
    "float without fraction": inserted(b'"x":1.0'),
    "exponent": inserted(b'"x":1e5'),
    "float deep inside": inserted(b'"x":[{"y":[0.0]}]'),
    "float as version": SMALL.replace(b'"version":3', b'"version":3.0'),
    "NaN as version": SMALL.replace(b'"version":3', b'"version":NaN'),
    "high surrogate": inserted(b'"x":"\\ud800"'),
    "low surrogate": inserted(b'"x":"\\udfff"'),
    "surrogate in a name": inserted(b'"\\ud800":1'),
    "surrogates in the wrong order": inserted(b'"x":"\\udc00\\ud800"'),
}


@pytest.mark.parametrize("case", BAD)
def test_refused(case: str) -> None:
    check_refused(BAD[case])


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_what_leaves_room_for_two_readings_is_refused(case: str) -> None:
    check_refused(AMBIGUOUS[case])


@pytest.mark.parametrize("kind", ["targets", "snapshot", "root"])
@pytest.mark.parametrize("bad", [b"1.5", b"NaN", b'"\\ud800"', b"1e400"])
def test_refused_in_an_entry(kind: str, bad: bytes) -> None:
    """The entries of big mappings are no less strict than the rest."""
    wanted = b'"hook": 1'
    entry = {"version": 1, "length": 1, "hashes": {"sha256": "ab"}, "hook": 1}
    names = {"targets": "targets", "snapshot": "meta"}
    if kind == "root":
        value = wire.root(keys={wire.keyid(): wire.key(hook=1)})
    else:
        value = getattr(wire, kind)(**{names[kind]: {"a.json": entry}})
    data = encoded(wire.metadata(value))
    Metadata.from_bytes(data)
    check_refused(data.replace(wanted, b'"hook": ' + bad))


def test_every_truncation_is_refused() -> None:
    for length in range(len(SMALL)):
        check_refused(SMALL[:length])


@pytest.mark.parametrize("kind", FULL)
def test_every_member_is_needed_or_optional(kind: str) -> None:
    """Each member of each object, left out: refused, or known to be optional."""
    optional = {"custom", "length", "hashes", "delegations", "consistent_snapshot", "x", "é", "n"}
    optional |= {"targets.json", "a/b.txt", "a/0.txt", "a/1.txt", "a/2.txt", "sha256", wire.keyid()}
    for path in paths(FULL[kind]):
        value = copy.deepcopy(FULL[kind])
        holder, name = follow(value, path)
        del holder[name]
        if isinstance(name, int) or name in optional:
            check(encoded(value))
        else:
            check_refused(encoded(value))


@pytest.mark.parametrize("value", [None, True, -1, "", "x", [], {}, [[]], [None]], ids=repr)
@pytest.mark.parametrize("kind", FULL)
def test_every_member_replaced(kind: str, value: Any) -> None:
    for path in paths(FULL[kind]):
        changed = copy.deepcopy(FULL[kind])
        holder, name = follow(changed, path)
        holder[name] = value
        check(encoded(changed))


@pytest.mark.parametrize(
    "data", [b" \t\r\n" + SMALL, SMALL + b" ", SMALL + b"\r\n\t ", SMALL.replace(b'":', b'" : ')]
)
def test_white_space_is_nothing(data: bytes) -> None:
    md = Metadata.from_bytes(SMALL)
    assert Metadata.from_bytes(data) == md
    assert Metadata.from_bytes(data).signed_bytes == md.signed_bytes


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'"\\ud83d\\ude00 \\u00e9 \\/ \\b"', "\U0001f600 é / \b"),
        (b'"\\u0000"', "\0"),
        (b"18446744073709551615", 2**64 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"-0", 0),
        (b"[[[[[[[[[[]]]]]]]]]]", [[[[[[[[[[]]]]]]]]]]),
        (b'{"b":{},"a":null}', {"b": {}, "a": None}),
    ],
)
def test_read_exactly(text: bytes, value: Any) -> None:
    md = Metadata.from_bytes(inserted(b'"x":' + text))
    assert md.signed.unrecognized_fields == {"x": value}
    assert type(md.signed.unrecognized_fields["x"]) is type(value)


@pytest.mark.parametrize("number", [2**64, 2**64 + 1, -(2**63) - 1, 10**300])
def test_bigger_integers_are_read_exactly_or_refused(number: int) -> None:
    """They must not become floats on the way."""
    try:
        md = Metadata.from_bytes(inserted(b'"x":%d' % number))
    except DeserializationError:
        return
    assert md.signed.unrecognized_fields == {"x": number}
    assert md.signed_bytes.endswith(b'"x":%d}' % number)


def test_the_last_of_two_equal_members_wins() -> None:
    md = Metadata.from_bytes(inserted(b'"version":7,"x":1,"x":2'))
    assert (md.signed.version, md.signed.unrecognized_fields) == (7, {"x": 2})
    assert md.signed_bytes == wire.canonical({**wire.timestamp(), "version": 7, "x": 2})


def test_floats_are_no_matter_outside_of_what_is_signed() -> None:
    md = Metadata.from_bytes(SMALL[:-1] + b',"x":1.5}')
    assert md.unrecognized_fields == {"x": 1.5}
    assert md.signed_bytes == wire.canonical(wire.timestamp())


def test_bytearray() -> None:
    assert Metadata.from_bytes(bytearray(SMALL)) == Metadata.from_bytes(SMALL)


@pytest.mark.parametrize(
    "data", [SMALL.decode(), None, 1, {}], ids=lambda data: type(data).__name__
)
def test_not_even_bytes(data: Any) -> None:
    with pytest.raises(DeserializationError):
        Metadata.from_bytes(data)
    with pytest.raises(DeserializationError):
        JSONDeserializer().deserialize(data)


def test_an_error_says_what_is_wrong() -> None:
    with pytest.raises(DeserializationError, match="expires"):
        Metadata.from_bytes(encoded(wire.metadata(wire.timestamp(expires="2040-01-01"))))
    with pytest.raises(DeserializationError, match="threshold"):
        Metadata.from_bytes(
            encoded(
                wire.metadata(
                    wire.root(roles=wire.root()["roles"] | {"root": wire.role(threshold=0)})
                )
            )
        )
    with pytest.raises(DeserializationError, match=r"a/b\.txt.*[Ll]ength"):
        Metadata.from_bytes(
            encoded(wire.metadata(wire.targets(targets={"a/b.txt": wire.target_file(length=-1)})))
        )


# Generated input.

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
names = st.sampled_from(
    ["signed", "signatures", "_type", "version", "keys", "roles", "meta", "targets", "keyids"]
)
likely_values = st.recursive(
    st.sampled_from([None, True, 0, 1, 2**64, 0.5, "", "root", "targets", "1.0.0", EXPIRES]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5),
    max_leaves=12,
)


def paths(value: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the parts of a JSON value are."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for name, item in items:
        yield (*prefix, name)
        yield from paths(item, (*prefix, name))


def follow(value: Any, path: tuple[Any, ...]) -> tuple[Any, Any]:
    for name in path[:-1]:
        value = value[name]
    return value, path[-1]


@st.composite
def mutations(draw: Callable[..., Any]) -> bytes:
    """Valid metadata with a few parts replaced, removed, added, or moved elsewhere."""
    value = copy.deepcopy(FULL[draw(st.sampled_from(sorted(FULL)))])
    for _ in range(draw(st.integers(1, 3))):
        holder, name = follow(value, draw(st.sampled_from(list(paths(value)))))
        action = draw(st.sampled_from(["replace", "remove", "add", "move"]))
        if action == "replace":
            holder[name] = draw(json_values)
        elif action == "remove":
            del holder[name]
        elif action == "move":
            other, other_name = follow(value, draw(st.sampled_from(list(paths(value)) or [("x",)])))
            other[other_name] = copy.deepcopy(holder[name])
        elif isinstance(holder, dict):
            holder[draw(names | st.text())] = draw(json_values)
        else:
            holder.append(draw(json_values))
        if not isinstance(value, dict) or not list(paths(value)):
            break
    return encoded(value)


@st.composite
def scratched(draw: Callable[..., Any]) -> bytes:
    """Valid metadata with a few bytes changed."""
    data = bytearray(encoded(FULL[draw(st.sampled_from(sorted(FULL)))]))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data) - 1))
        end = draw(st.integers(start, min(start + 9, len(data))))
        data[start:end] = draw(st.binary(max_size=9))
    return bytes(data)


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    check(data)


@given(json_values | likely_values)
def test_random_json(value: Any) -> None:
    check_refused(encoded(value))
    check(encoded({"signatures": [], "signed": value}))


@settings(max_examples=300)
@given(mutations() | scratched())
def test_damaged_metadata(data: bytes) -> None:
    check(data)


@settings(max_examples=300)
@given(mutations())
def test_metadata_is_refused_or_kept_exactly(data: bytes) -> None:
    """What is signed is what was received: nothing vanishes, nothing is put in order."""
    try:
        md: Metadata[Any] = Metadata.from_bytes(data)
    except DeserializationError:
        return
    received = json.loads(data)
    assert md.to_dict()["signed"] == received["signed"]
    assert md.signed_bytes == wire.canonical(received["signed"])


@settings(max_examples=200)
@given(mutations())
def test_a_dictionary_is_refused_with_an_ordinary_error(data: bytes) -> None:
    with contextlib.suppress(MALFORMED):
        Metadata.from_dict(json.loads(data))

"""The canonical form, byte for byte, against the encoder in wire.py."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from api import wire
from api.wire import canonical, signer
from hypothesis import given
from hypothesis import strategies as st

from tuf.api.metadata import Metadata, Root, Signed, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import CanonicalJSONSerializer, JSONSerializer

KINDS: dict[str, tuple[type[Signed], Callable[..., dict[str, Any]]]] = {
    "root": (Root, wire.root),
    "timestamp": (Timestamp, wire.timestamp),
    "snapshot": (Snapshot, wire.snapshot),
    "targets": (Targets, wire.targets),
}
KNOWN = {name for _, build in KINDS.values() for name in build()}
KNOWN |= {"delegations", "custom", *wire.target_file(), *wire.key(), *wire.delegated_role()}

#: Letters that some encoder treats in its own way.
letters = st.characters(codec="utf-8") | st.sampled_from(
    '\0\b\t\n\x1f\x7f"\\/\u2028\u2029\ud7ff\ue000'
)
texts = st.text(letters | st.sampled_from("\uffff\U00010000\U0001f600\U0010ffff"), max_size=12)
integers = st.integers(-(2**63), 2**64 - 1)
values = st.recursive(
    st.none() | st.booleans() | integers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
members = st.dictionaries(texts.filter(lambda name: name not in KNOWN), values, max_size=5)


def shuffled(value: Any) -> Any:
    """The same, with members in reverse."""
    if isinstance(value, dict):
        return {name: shuffled(value[name]) for name in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


def spellings(value: Any) -> list[bytes]:
    """The same JSON, written in different ways."""
    return [
        json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode(),
        json.dumps(value, separators=(",", ":")).encode(),
        json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).encode(),
        json.dumps(shuffled(value), indent=1).encode(),
    ]


def check(signed: Signed, expected: dict[str, Any]) -> None:
    """All doors to the canonical form lead to the same bytes."""
    wanted = canonical(expected)
    assert CanonicalJSONSerializer().serialize(signed) == wanted
    assert Metadata(signed).signed_bytes == wanted
    md = Metadata(signed)
    signature = md.sign(signer())
    signer().public_key.verify_signature(signature, wanted)
    for compact in (True, False):
        again = Metadata.from_bytes(md.to_bytes(JSONSerializer(compact=compact)))
        assert again.signed_bytes == wanted
        assert again.signatures == md.signatures


@given(st.sampled_from(sorted(KINDS)), members)
def test_unknown_members_of_what_is_signed(kind: str, unknown: dict[str, Any]) -> None:
    cls, build = KINDS[kind]
    value = build(**unknown)
    check(cls.from_dict(build(**unknown)), value)
    for data in spellings(wire.metadata(value)):
        assert Metadata.from_bytes(data).signed_bytes == canonical(value)


@given(members, members, texts)
def test_unknown_members_of_entries(first: Any, second: Any, name: str) -> None:
    targets = {name: wire.target_file(custom=first), name + "z": wire.target_file(**second)}
    value = wire.targets(targets=targets)
    check(Targets.from_dict(copy.deepcopy(value)), value)
    meta = {f"{name}.json": wire.meta_file(**second), "a.json": wire.meta_file(x=first)}
    for data in spellings(wire.metadata(wire.snapshot(meta=meta))) + spellings(
        wire.metadata(value)
    ):
        received = json.loads(data)["signed"]
        assert Metadata.from_bytes(data).signed_bytes == canonical(received)


@given(values, members)
def test_unknown_members_of_keys_and_roles(value: Any, unknown: dict[str, Any]) -> None:
    keys = {wire.keyid(): wire.key(x=value), "é": wire.key(1)}
    roles = {**wire.root()["roles"], "root": wire.role(x=unknown)}
    root = wire.root(keys=keys, roles=roles)
    check(Root.from_dict(copy.deepcopy(root)), root)
    delegations = wire.delegations(keys=keys, roles=[wire.delegated_role(x=unknown)], x=value)
    targets = wire.targets(delegations=delegations)
    check(Targets.from_dict(copy.deepcopy(targets)), targets)


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("", b'""'),
        ('a"b', b'"a\\"b"'),
        ("a\\b", b'"a\\\\b"'),
        ("\\u0041", b'"\\\\u0041"'),
        ("\0\x01\x1f", b'"\0\x01\x1f"'),
        ("\b\t\n\f\r", b'"\b\t\n\f\r"'),
        ("\x7f/'", b'"\x7f/\'"'),
        ("\u2028\u2029", b'"\xe2\x80\xa8\xe2\x80\xa9"'),
        ("\ufeff\uffff", b'"\xef\xbb\xbf\xef\xbf\xbf"'),
        ("\U0001f600", b'"\xf0\x9f\x98\x80"'),
        ("e\u0301é", b'"e\xcc\x81\xc3\xa9"'),
        (0, b"0"),
        (-1, b"-1"),
        (2**53 + 1, b"9007199254740993"),
        (2**63, b"9223372036854775808"),
        (2**64 - 1, b"18446744073709551615"),
        (2**64, b"18446744073709551616"),
        (-(2**63) - 1, b"-9223372036854775809"),
        (10**30, b"1" + b"0" * 30),
        ([True, False, None], b"[true,false,null]"),
        ([1, [], {}], b"[1,[],{}]"),
        ((1, 2), b"[1,2]"),
        ({"b": 1, "a": 2}, b'{"a":2,"b":1}'),
        ({"a": 1, "B": 2, "_": 3, "": 4}, b'{"":4,"B":2,"_":3,"a":1}'),
        ({"10": 1, "9": 2}, b'{"10":1,"9":2}'),
        ({"\n": 1, " ": 2, "\x7f": 3}, b'{"\n":1," ":2,"\x7f":3}'),
        ({'"': 1, "\\": 2, "!": 3}, b'{"!":3,"\\"":1,"\\\\":2}'),
        # By code point, not by UTF-16 unit: the surrogates of the second would come first.
        ({"\U0001f600": 1, "\uffff": 2}, b'{"\xef\xbf\xbf":2,"\xf0\x9f\x98\x80":1}'),
        ({"é": 1, "e\u0301": 2, "f": 3}, b'{"e\xcc\x81":2,"f":3,"\xc3\xa9":1}'),
    ],
    ids=ascii,
)
def test_known_forms(value: Any, form: bytes) -> None:
    signed = Timestamp.from_dict(wire.timestamp())
    signed.unrecognized_fields["~"] = value
    assert Metadata(signed).signed_bytes.endswith(b',"~":' + form + b"}")


@given(st.integers() | st.integers(-(2**80), 2**80))
def test_integers_of_any_size(number: int) -> None:
    signed = Timestamp.from_dict(wire.timestamp())
    signed.unrecognized_fields["x"] = [number]
    assert Metadata(signed).signed_bytes == canonical(wire.timestamp(x=[number]))


@pytest.mark.parametrize("depth", [1, 30, 100])
@pytest.mark.parametrize("shape", ["array", "object"])
def test_deep_nesting(depth: int, shape: str) -> None:
    value: Any = "\n"
    for _ in range(depth):
        value = [value] if shape == "array" else {"b": value, "a": 1}
    check(Timestamp.from_dict(wire.timestamp(x=value)), wire.timestamp(x=value))


def test_the_order_of_members_is_no_matter() -> None:
    data = spellings(wire.metadata(wire.root(b={"z": 1, "y": [{"d": 1, "c": 2}]}, a=1)))
    assert len(set(data)) == 4
    assert len({Metadata.from_bytes(spelling).signed_bytes for spelling in data}) == 1


ENTRY = '{"hashes":{"sha256":"ab"},"length":5}'


@pytest.mark.parametrize(
    "text",
    [
        f'"a":{ENTRY}',
        f'"a" : {ENTRY}',
        f'"a":\n{ENTRY}',
        '"a":{"length":5,"hashes":{"sha256":"ab"}}',
        '"a":{"hashes":{"sha256":"ab"}, "length":5}',
        '"a":{ "hashes":{"sha256":"ab"},"length":5}',
        '"a":{"hashes":{"sha256":"ab"},"length":5 }',
        '"a":{"hashes":{"sha256":"ab"\t},"length":5}',
        '"a":{"hashes":{"sha256":"a\\u0062"},"length":5}',
        '"a":{"hashes":{"sha256":"ab"},"le\\u006egth":5}',
        '"a":{"hashes":{"sha256":"ab"},"length":-0}',
        '"a":{"hashes":{"sha256":"ab"},"length":4,"length":5}',
        '"a":{"hashes":{"sha512":"cd"},"hashes":{"sha256":"ab"},"length":5}',
        '"a":{"hashes":{"sha256":"ab","sha256":"cd"},"length":5}',
        '"a":{"hashes":{"sha512":"ab","sha256":"cd"},"length":5}',
        '"a":{"custom":{"b":1,"a":[{"d":1,"c":2}]},"hashes":{"sha256":"ab"},"length":5}',
        '"a":{"custom":"\\/\\b\\u001f\\u2028\\ud83d\\ude00\\"\\\\","hashes":{"sha256":"ab"},"length":5}',
        '"a":{"custom":"\\\\u0041 \\\\\\u0041","hashes":{"sha256":"ab"},"length":5}',
        '"a":{"custom":"é\U0001f600\u2028\x7f","hashes":{"sha256":"ab"},"length":5}',
        f'"\\u0061\\/b":{ENTRY}',
        f'"\\n":{ENTRY},"a":{ENTRY}',
        f'"\\u000a":{ENTRY},"\\\\n":{ENTRY}',
        f'"b":{ENTRY},"a":{ENTRY}',
        f'"a":{ENTRY},"a":{ENTRY}',
        f'"a":{{}},"a":{ENTRY}',
        f'"a":{ENTRY},"\\u0061":{{"hashes":{{"sha256":"cd"}},"length":6}}',
        f'"\\ud83d\\ude00":{ENTRY},"\uffff":{ENTRY}',
        f'"\uffff":{ENTRY},"\U0001f600":{ENTRY}',
        "",
        " ",
    ],
    ids=ascii,
)
def test_entries_in_any_spelling(text: str) -> None:
    """Not even in part may what was received pass for the canonical form when it is not."""
    data = json.dumps(wire.metadata(wire.targets(targets={"X": 1}))).replace('"X": 1', text)
    for spelling in (data, data.replace('": ', '":').replace(', "', ',"')):
        md = Metadata.from_bytes(spelling.encode())
        received = json.loads(spelling)["signed"]
        assert md.signed_bytes == canonical(received)
        assert md.to_dict()["signed"] == received
        assert isinstance(md.signed, Targets)
        assert {n: t.to_dict() for n, t in md.signed.targets.items()} == received["targets"]
        assert md.signed_bytes == canonical(received)

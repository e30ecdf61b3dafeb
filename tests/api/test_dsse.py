"""Metadata in a DSSE envelope."""

import base64
import json
from datetime import datetime, timezone
from typing import Any

import pytest
from api import wire
from api.wire import MISSING, encoded, keyid, signer
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError

from tuf.api.dsse import SimpleEnvelope
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError, SerializationError

YEAR_2040 = datetime(2040, 1, 1, tzinfo=timezone.utc)
PAYLOAD_TYPE = "application/vnd.tuf+json"


def envelope(payload: bytes = encoded(wire.timestamp()), /, **changes: Any) -> bytes:
    members = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [],
    } | changes
    return encoded({name: value for name, value in members.items() if value is not MISSING})


@pytest.mark.parametrize("kind", [Root, Timestamp, Snapshot, Targets])
def test_round_trip(kind: Any) -> None:
    signed = kind(expires=YEAR_2040, unrecognized_fields={"x": ["é", None, "\U0001f600"]})
    made = SimpleEnvelope.from_signed(signed)
    assert isinstance(made, Envelope)
    assert (made.payload_type, made.signatures) == (PAYLOAD_TYPE, {})
    assert json.loads(made.payload) == signed.to_dict()
    made.sign(signer())
    again = SimpleEnvelope[Any].from_bytes(made.to_bytes())
    assert again == made
    assert isinstance(again, SimpleEnvelope)
    assert (again.payload, again.get_signed()) == (made.payload, signed)


def test_the_wire_form() -> None:
    made = SimpleEnvelope.from_signed(Timestamp(expires=YEAR_2040))
    signature = made.sign(signer())
    members = json.loads(made.to_bytes())
    assert set(members) == {"payload", "payloadType", "signatures"}
    assert base64.b64decode(members["payload"]) == made.payload
    sig = base64.b64encode(bytes.fromhex(signature.signature)).decode()
    assert members["signatures"] == [{"keyid": keyid(), "sig": sig}]


def test_signatures() -> None:
    made = SimpleEnvelope.from_signed(Timestamp(expires=YEAR_2040))
    made.sign(signer(0))
    made.sign(signer(1))
    assert list(made.signatures) == [keyid(0), keyid(1)]
    keys = [signer(n).public_key for n in range(3)]
    assert set(made.verify(list(keys), 2)) == {keyid(0), keyid(1)}
    with pytest.raises(VerificationError):
        made.verify(list(keys), 3)


def test_a_root_verifies_an_envelope() -> None:
    made = SimpleEnvelope.from_signed(Timestamp(expires=YEAR_2040))
    made.sign(signer())
    root = Root()
    root.add_key(signer().public_key, "timestamp")
    root.verify_delegate("timestamp", made.pae(), made.signatures)
    with pytest.raises(UnsignedMetadataError):
        root.verify_delegate("timestamp", made.payload, made.signatures)
    made.payload += b" "
    with pytest.raises(UnsignedMetadataError):
        root.verify_delegate("timestamp", made.pae(), made.signatures)


def test_the_payload_is_kept_as_it_was_received() -> None:
    payload = b' {"_type":\t"timestamp"} '
    assert SimpleEnvelope.from_bytes(envelope(payload)).payload == payload
    again = SimpleEnvelope.from_bytes(SimpleEnvelope.from_bytes(envelope(payload)).to_bytes())
    assert again.payload == payload


def test_base64_for_urls() -> None:
    data = base64.urlsafe_b64encode(b"\xfb\xff\xfe").decode()
    assert SimpleEnvelope.from_bytes(envelope(payload=data)).payload == b"\xfb\xff\xfe"


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"{}", b"[]", b"null", b"1", b'"x"', b"\xff", b"[" * 100_000, b"{} {}"],
    ids=lambda data: repr(data[:9]),
)
def test_what_is_no_envelope(data: bytes) -> None:
    with pytest.raises(DeserializationError):
        SimpleEnvelope.from_bytes(data)


@pytest.mark.parametrize("data", [None, 1, "x"])
def test_not_even_bytes(data: Any) -> None:
    with pytest.raises(DeserializationError):
        SimpleEnvelope.from_bytes(data)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        *(("payload", value) for value in (MISSING, None, 1, [], "!!!", "a", "é")),
        ("payloadType", MISSING),
        *(("signatures", value) for value in (MISSING, None, 1, [None], [1], [{}])),
        *(
            ("signatures", [s])
            for s in ({"keyid": "a"}, {"sig": "aa=="}, {"keyid": "a", "sig": "!"})
        ),
        ("signatures", [{"keyid": [], "sig": "aa=="}]),
        ("signatures", [{"keyid": "a", "sig": None}]),
        ("signatures", [{"keyid": "a", "sig": "aa=="}, {"keyid": "a", "sig": "aa=="}]),
        ("signatures", [{"keyid": "a", "sig": "aa=="}, {"keyid": "a", "sig": "bb=="}]),
    ],
)
def test_a_bad_envelope(member: str, value: Any) -> None:
    with pytest.raises(DeserializationError):
        SimpleEnvelope.from_bytes(envelope(**{member: value}))


PAYLOADS = {
    "empty": b"",
    "array": b"[]",
    "null": b"null",
    "number": b"1",
    "string": b'"x"',
    "object": b"{}",
    "no type": b'{"x":1}',
    "another type": b'{"_type":"mirrors"}',
    "a list as type": b'{"_type":[]}',
    "invalid UTF-8": b"\xff\xfe",
    "100,000 brackets": b"[" * 100_000,
    "trailing data": encoded(wire.timestamp()) + b"x",
}
INCOMPLETE = {
    "nothing but its type": b'{"_type":"timestamp"}',
    "no version": encoded(wire.timestamp(version=MISSING)),
    "version 0": encoded(wire.timestamp(version=0)),
    "version null": encoded(wire.timestamp(version=[])),
    "no roles": encoded(wire.root(roles={})),
    "a bad date": encoded(wire.targets(expires="tomorrow")),
    "a bad target": encoded(wire.targets(targets={"a": {}})),
    "meta is no object": encoded(wire.snapshot(meta=[])),
    "a float": encoded(wire.timestamp(x=1.5)),
}


@pytest.mark.parametrize("case", PAYLOADS)
def test_a_payload_that_is_no_metadata(case: str) -> None:
    made = SimpleEnvelope[Any].from_bytes(envelope(PAYLOADS[case]))
    with pytest.raises(DeserializationError):
        made.get_signed()


@pytest.mark.parametrize("case", INCOMPLETE)
def test_a_payload_that_is_malformed_metadata(case: str) -> None:
    """Release 7.0.1 of the reference package let a KeyError or a ValueError out."""
    made = SimpleEnvelope[Any].from_bytes(envelope(INCOMPLETE[case]))
    with pytest.raises(DeserializationError):
        made.get_signed()


@pytest.mark.parametrize("payload_type", ["", "text/plain", "application/vnd.tuf+json2", None, 1])
def test_a_payload_of_another_type_is_not_read(payload_type: Any) -> None:
    """What was signed as something else is no metadata. Release 7.0.1 reads it."""
    with pytest.raises(DeserializationError, match=r"(?i)payload ?type"):
        SimpleEnvelope[Any].from_bytes(envelope(payloadType=payload_type)).get_signed()


def test_what_cannot_be_serialized() -> None:
    for unserializable in (None, Timestamp(unrecognized_fields={"x": {1}})):
        with pytest.raises(SerializationError):
            SimpleEnvelope.from_signed(unserializable)  # type: ignore[type-var]
    broken = SimpleEnvelope[Any](None, PAYLOAD_TYPE, {})  # type: ignore[arg-type]
    with pytest.raises(SerializationError):
        broken.to_bytes()
    with pytest.raises(DeserializationError):
        broken.get_signed()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def check(data: bytes) -> None:
    try:
        SimpleEnvelope[Any].from_bytes(data).get_signed()
    except DeserializationError:
        return


@given(st.sampled_from(["payload", "payloadType", "signatures"]), json_values)
def test_random_members(member: str, value: Any) -> None:
    check(envelope(**{member: value}))


@given(st.binary(max_size=60) | json_values.map(encoded))
def test_random_payloads(payload: bytes) -> None:
    check(payload)
    check(envelope(payload))


@given(st.sampled_from(sorted(wire.root())), json_values)
def test_random_members_of_a_payload(member: str, value: Any) -> None:
    check(envelope(encoded(wire.root(**{member: value}))))

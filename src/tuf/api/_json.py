r"""JSON: a strict parse, and the canonical form that signatures are made over.

The canonical form has object members sorted by code point, no white space, and only ``"`` and
``\\`` escaped in strings; it has no floating point numbers. Other control characters stand in
it as they are, which makes it differ from JSON: :func:`compact` is the same with JSON's escapes.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Raw

from tuf.api.serialization import DeserializationError, SerializationError

#: How deep values may be nested.
MAX_DEPTH = 128

_INTEGERS = range(-(1 << 63), 1 << 64)
# A number that may be longer than that, or something in a string that looks like one.
_MAYBE_LONG = re.compile(rb"[-:,\[\s]\d{19}")


def refuse_float(literal: str) -> Any:
    """What a decoder calls for a floating point number."""
    raise ValueError(f"a floating point number, {literal}, where only integers may be")


_strict = msgspec.json.Decoder(float_hook=refuse_float)
_any = msgspec.json.Decoder()
_members: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
_encoder = msgspec.json.Encoder()

#: What a native decoder raises on bad input, whatever the bytes.
DECODE_ERRORS = (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError, TypeError)

Bytes = bytes | bytearray | memoryview | Raw


def parse(data: Bytes, *, floats: bool = False) -> Any:
    """Parse one JSON value, and nothing after it.

    Refuses what leaves room for two readings: floats (unless allowed), NaN, lone surrogates,
    a byte order mark, invalid UTF-8, trailing data, nesting or integers without bound.

    Raises:
        DeserializationError: not such a value.
    """
    try:
        value = (_any if floats else _strict).decode(data)
    except DECODE_ERRORS as e:
        raise DeserializationError(f"not valid JSON: {e}") from e
    raw = bytes(data)
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH or _MAYBE_LONG.search(raw):
        check_bounds(value)
    return value


def check_bounds(value: Any, depth: int = 0) -> None:
    """Refuse a parsed value that is nested too deep or has integers of more than 64 bits.

    Raises:
        DeserializationError: it is, or it has.
    """
    if isinstance(value, dict | list):
        if depth >= MAX_DEPTH:
            raise DeserializationError(f"nested deeper than {MAX_DEPTH} levels")
        for item in value.values() if isinstance(value, dict) else value:
            check_bounds(item, depth + 1)
    elif isinstance(value, int) and value not in _INTEGERS:
        raise DeserializationError("an integer has more than 64 bits")


def members(data: Bytes, what: str) -> dict[str, Raw]:
    """Split a JSON object into its members, each as the bytes that were received.

    Raises:
        DeserializationError: not a JSON object.
    """
    try:
        return _members.decode(data)
    except DECODE_ERRORS as e:
        raise DeserializationError(f"{what} is not a valid JSON object: {e}") from e


def canonical(value: Any) -> bytes:
    """The canonical form of a value of dicts, lists, strings, integers, booleans and None.

    A ``Raw`` or an :class:`Encodable` inside stands for a part that is encoded already.

    Raises:
        SerializationError: the value has no canonical form.
    """
    return _encode(value, canonical=True)


def compact(value: Any) -> bytes:
    """The same value as JSON, as short as it can be: members sorted, no white space."""
    return _encode(value, canonical=False)


def indented(data: bytes) -> bytes:
    """The same JSON with line breaks, and one space of indentation for each level."""
    return msgspec.json.format(data, indent=1)


class Encodable:
    """A part of a value that knows its own encoding."""

    def encode(self, canonical: bool) -> Iterable[Bytes]:
        """The pieces of the encoding, in order."""
        raise NotImplementedError


def encode_native(value: Any, canonical: bool) -> bytes:
    """Encode natively a value whose members are in order and which has no floats.

    A native encoder differs from the canonical form only where it escapes control characters.
    Its output shows whether it did.
    """
    data = _encoder.encode(value)
    if canonical and b"\\" in data:
        return _ESCAPE.sub(_unescape, data)
    return data


_ESCAPE = re.compile(rb"\\(?:u00([01][0-9a-f])|(.))")
_CONTROLS = {b"b": b"\b", b"t": b"\t", b"n": b"\n", b"f": b"\f", b"r": b"\r"}


def _unescape(match: re.Match[bytes]) -> bytes:
    code, letter = match.groups()
    if code is not None:
        return bytes((int(code, 16),))
    return _CONTROLS.get(letter, match[0])


def _encode(value: Any, canonical: bool) -> bytes:
    pieces: list[Any] = []
    try:
        _write(value, pieces.append, _quote if canonical else _encoder.encode, canonical, 0)
        return b"".join(pieces)
    except ValueError as e:  # a lone surrogate, or an integer too long to write
        raise SerializationError(f"cannot be written: {e}") from e


def _quote(text: str) -> bytes:
    return b'"' + text.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'


def _write(
    value: Any,
    put: Callable[[Any], None],
    quote: Callable[[str], bytes],
    canonical: bool,
    depth: int,
) -> None:
    """Encode exactly, without help from a native encoder."""
    if isinstance(value, str):
        put(quote(value))
    elif value is True:
        put(b"true")
    elif value is False:
        put(b"false")
    elif value is None:
        put(b"null")
    elif isinstance(value, int):
        put(b"%d" % value)
    elif isinstance(value, Raw):
        put(value)
    elif isinstance(value, Encodable):
        for piece in value.encode(canonical):
            put(piece)
    elif depth >= MAX_DEPTH:
        raise SerializationError(f"nested deeper than {MAX_DEPTH} levels")
    elif isinstance(value, dict):
        _check_names(value)
        put(b"{")
        separator = b""
        for name in sorted(value):
            put(separator + quote(name) + b":")
            _write(value[name], put, quote, canonical, depth + 1)
            separator = b","
        put(b"}")
    elif isinstance(value, list | tuple):
        put(b"[")
        for i, item in enumerate(value):
            if i:
                put(b",")
            _write(item, put, quote, canonical, depth + 1)
        put(b"]")
    else:
        raise SerializationError(f"{type(value).__name__} {value!r:.50} cannot be in metadata")


def _check_names(value: dict[Any, Any]) -> None:
    for name in value:
        if not isinstance(name, str):
            raise SerializationError(f"member name {name!r:.50} is not a string")


def in_order(value: Any) -> bool:
    """Whether the members of all objects in a parsed value are in canonical order."""
    if isinstance(value, dict):
        return _sorted(value) and all(map(in_order, value.values()))
    return not isinstance(value, list) or all(map(in_order, value))


def _sorted(names: Iterable[str]) -> bool:
    found = list(names)
    return found == sorted(found)


def encoded_names(names: list[str]) -> bytes | None:
    """The JSON list of ``names`` if it is in order and holds nothing escaped, else None."""
    if not _sorted(names):
        return None
    data = _encoder.encode(names)
    return None if b"\\" in data else data


def chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    """Cut a list: short pieces stay in the processor's cache while they are worked on."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


class Received:
    """The bytes that were received under ``signed``.

    Signatures are over the canonical form. What was received usually is that form, and a
    signature that holds over the very bytes received needs nothing more; else (the file was
    indented, or its members were in another order) what was received is canonicalised, once.

    Args:
        data: the bytes.
        exact: the bytes are what was signed, whatever it is: there is no other form.
    """

    def __init__(self, data: bytes, exact: bool = False) -> None:
        self._forms = [data]
        self._exact = exact

    def forms(self) -> Iterator[bytes]:
        """The forms that a signature may be over."""
        yield self._forms[0]
        if self._exact:
            return
        if len(self._forms) == 1:
            self._forms.append(canonical(parse(self._forms[0])))
        if self._forms[1] != self._forms[0]:
            yield self._forms[1]

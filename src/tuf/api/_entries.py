"""Big mappings whose values were received as bytes, and become objects when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, TypeVar, cast

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from tuf.api import _json
from tuf.api._record import plain
from tuf.api.serialization import DeserializationError

V = TypeVar("V")

_MAX = (1 << 63) - 1

# The shapes that nearly all entries have. Their fields stand in canonical order, so that what is
# encoded from them is canonical. Entries of other shapes take the slow way, with the same result.


class Hashes(msgspec.Struct, gc=False, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Hashes of a file."""

    sha256: str
    sha512: str | UnsetType = UNSET


class TargetShape(
    msgspec.Struct,
    gc=False,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    kw_only=True,
):
    """An entry of a targets role."""

    custom: Any = UNSET
    hashes: Hashes
    length: Annotated[int, Meta(ge=0, le=_MAX)]


class MetaShape(
    msgspec.Struct,
    gc=False,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    kw_only=True,
):
    """An entry of a snapshot."""

    hashes: Hashes | UnsetType = UNSET
    length: Annotated[int, Meta(ge=0, le=_MAX)] | UnsetType = UNSET
    version: Annotated[int, Meta(ge=1, le=_MAX)]


class Entries(dict[str, V], _json.Encodable, Generic[V]):
    """A dictionary of what was received; an entry becomes an object on first use.

    All entries are validated when the mapping is made: natively where they have the expected
    shape, and by building the object where they don't. Nothing is ever looked at twice.
    """

    #: Entries worked on together: few enough to stay in the processor's cache.
    _CHUNK: ClassVar[int] = 1000

    def __init__(
        self,
        received: Raw,
        shape: type[msgspec.Struct],
        build: Callable[[str, dict[str, Any]], V],
        what: str,
    ) -> None:
        """Take a mapping over.

        Args:
            received: the mapping, as JSON.
            shape: what nearly all entries look like.
            build: makes the object of an entry's name and parsed value.
            what: what the mapping is, for errors.

        Raises:
            DeserializationError: not a mapping, or an entry is not valid.
        """
        entries = _json.members(received, what)
        super().__init__(cast("dict[str, V]", entries))
        self._what = what
        self._build = build
        self._shapes = msgspec.json.Decoder(list[shape], float_hook=_json.refuse_float)  # type: ignore[valid-type]
        size = 0
        # Whether the received bytes of the entries are canonical.
        self._canonical = True
        for chunk, raws in zip(
            _json.chunks(list(entries), self._CHUNK),
            _json.chunks(list(entries.values()), self._CHUNK),
            strict=True,
        ):
            together = b"[" + b",".join(raws) + b"]"
            self._canonical &= self._validate(chunk, raws, together)
            size += len(together) - 1 - len(raws)
        # The received bytes of the whole, while they are canonical and nothing can have changed.
        self._whole: Raw | None = None
        names = _json.encoded_names(list(entries)) if self._canonical else None
        # Names are in order if they could be encoded. If nothing but colons and commas stands
        # between names and entries, the lengths add up.
        if names is not None and memoryview(received).nbytes == len(names) + len(entries) + size:
            self._whole = received

    def _validate(self, names: list[str], raws: list[Raw], together: bytes) -> bool:
        """Refuse entries that are not valid; tell whether their bytes are canonical."""
        try:
            shapes: list[Any] = self._shapes.decode(together)
        except _json.DECODE_ERRORS:
            # Some entry has another shape. Its own members say whether it is valid.
            for name, raw in zip(names, raws, strict=True):
                self._made(name, raw)
            return False
        customs = []
        if b"custom" in together or b"\\" in together:
            customs = [getattr(shape, "custom", None) for shape in shapes]
            _json.check_bounds(customs)
        return (
            b"\\" not in together
            and _json.encode_native(shapes, canonical=False) == together
            and all(map(_json.in_order, customs))
        )

    def _stored(self, name: str) -> Any:
        """The entry's object, or the bytes of which it was not made yet."""
        return dict.__getitem__(self, name)

    def _made(self, name: str, stored: Any) -> V:
        if type(stored) is not Raw:
            return cast("V", stored)
        try:
            return self._build(name, _json.parse(stored))
        except (KeyError, ValueError, TypeError, DeserializationError) as e:
            raise DeserializationError(f"{self._what}: {name!r}: {e.args[0]}") from e

    def encode(self, canonical: bool) -> Iterator[_json.Bytes]:
        """The pieces of the mapping's encoding."""
        if self._whole is not None:
            yield self._whole
            return
        stored = super().__getitem__
        separator = b"{"
        for names in _json.chunks(sorted(self), self._CHUNK):
            entries = self._encodable([stored(name) for name in names], canonical)
            yield separator
            yield _json.encode_native(dict(zip(names, entries, strict=True)), canonical)[1:-1]
            separator = b","
        yield b"}" if separator == b"," else b"{}"

    def _encodable(self, stored: list[Any], canonical: bool) -> Iterable[Any]:
        """Entries as something that is encoded natively to what it should be."""
        encode = _json.canonical if canonical else _json.compact

        def exactly(value: Any) -> Raw:
            return Raw(encode(_json.parse(value) if type(value) is Raw else plain(value)))

        if self._canonical:
            return [v if type(v) is Raw else exactly(v) for v in stored]
        shaped = self._shaped(stored)
        if shaped is None:
            return map(exactly, stored)
        return [
            s if type(v) is Raw and getattr(s, "custom", UNSET) is UNSET else exactly(v)
            for v, s in zip(stored, shaped, strict=True)
        ]

    def _shaped(self, stored: list[Any]) -> list[Any] | None:
        """Entries that are still bytes in their expected shape; None if one has another."""
        try:
            raws = b",".join(v for v in stored if type(v) is Raw)
            shapes = iter(self._shapes.decode(b"[" + raws + b"]"))
        except _json.DECODE_ERRORS:
            return None
        return [next(shapes) if type(v) is Raw else v for v in stored]

    @classmethod
    def empty(
        cls, shape: type[msgspec.Struct], build: Callable[[str, dict[str, Any]], V], what: str
    ) -> Entries[V]:
        """A mapping without entries; the arguments are the constructor's."""
        return cls(Raw(b"{}"), shape, build, what)

    def put(self, name: str, entry: bytes) -> bool:
        """Set an entry to JSON that is valid and canonical; tell whether that changes anything."""
        if name in self and self._encoded(name) == entry:
            return False
        self._whole = None
        dict.__setitem__(cast("dict[str, Any]", self), name, Raw(entry))
        return True

    def raw(self) -> Iterator[tuple[str, bytes]]:
        """The entries as JSON, by name."""
        for name in self:
            yield name, self._encoded(name)

    def _encoded(self, name: str) -> bytes:
        stored = self._stored(name)
        return _json.compact(_json.parse(stored) if type(stored) is Raw else plain(stored))

    def each(self, member: str) -> dict[str, Any]:
        """One member of every entry, by name. What is still bytes stays bytes."""
        found: dict[str, Any] = {}
        for names in _json.chunks(list(self), self._CHUNK):
            stored = [self._stored(name) for name in names]
            made = self._shaped(stored)
            if made is None:
                made = [self._made(name, v) for name, v in zip(names, stored, strict=True)]
            found.update((n, getattr(v, member)) for n, v in zip(names, made, strict=True))
        return found

    # Whatever hands out a value that can be changed, or changes the mapping, comes through here.

    def _open(self, name: str) -> V:
        stored = self._stored(name)
        self._whole = None
        if type(stored) is Raw:
            stored = self._made(name, stored)
            dict.__setitem__(self, name, stored)
        return cast("V", stored)

    def _open_all(self) -> None:
        self._whole = None
        for name, stored in dict.items(self):
            if type(stored) is Raw:
                dict.__setitem__(self, name, self._made(name, stored))

    if not TYPE_CHECKING:  # the types are a dictionary's
        __hash__ = None

        def __getitem__(self, name):
            return self._open(name)

        def __iter__(self):
            # That it is overridden keeps the interpreter from copying values past __getitem__.
            return dict.__iter__(self)

        def get(self, name, default=None):
            return self._open(name) if name in self else default

        def __setitem__(self, name, value):
            self._whole = None
            dict.__setitem__(self, name, value)

        def __delitem__(self, name):
            self._whole = None
            dict.__delitem__(self, name)

        def pop(self, name, *default):
            if name in self:
                self._open(name)
            return dict.pop(self, name, *default)

        def setdefault(self, name, default=None):
            if name in self:
                return self._open(name)
            self[name] = default
            return default

        def clear(self):
            self._whole = None
            dict.clear(self)

        def __eq__(self, other):
            self._open_all()
            if isinstance(other, Entries):
                other._open_all()
            return dict.__eq__(self, other)

        def __ne__(self, other):
            return not self == other

        def __reduce_ex__(self, protocol):
            return dict, (dict(self.items()),)


def _through_objects(method: str) -> Callable[..., Any]:
    """A dictionary's method, after all entries were made objects."""

    def call(self: Entries[Any], *args: Any, **kwargs: Any) -> Any:
        self._open_all()
        return getattr(dict, method)(self, *args, **kwargs)

    call.__name__ = method
    return call


for _method in ("items", "values", "popitem", "copy", "update"):
    setattr(Entries, _method, _through_objects(_method))
for _method in ("__or__", "__ror__", "__ior__", "__repr__"):
    setattr(Entries, _method, _through_objects(_method))

"""Wire objects: members declared once, unknown members kept."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

R = TypeVar("R", bound="Record")


class Record:  # noqa: PLW1641  # it can be changed, so it has no hash
    """A wire object whose members are the attributes named in ``_members``.

    A member whose value is None is left out on the wire, unless it was read as an explicit
    ``null``: signatures are over what was written, not over what could have been.
    """

    _members: ClassVar[tuple[str, ...]] = ()
    _optional: ClassVar[tuple[str, ...]] = ()
    _nulls: frozenset[str] = frozenset()
    unrecognized_fields: dict[str, Any]

    if TYPE_CHECKING:  # what the constructors have in common

        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    @classmethod
    def _from_members(cls: type[R], source: dict[str, Any], **converted: Any) -> R:
        """Call the constructor with the members found in ``source``, which is not changed.

        Args:
            source: the wire object.
            converted: arguments that are not taken from ``source`` as they are.

        Raises:
            KeyError: a required member is missing.
            TypeError, ValueError: a member is not valid.
        """
        check_type(source, dict, cls.__name__)
        arguments = dict(converted)
        for name in cls._members:
            if name in cls._optional:
                arguments.setdefault(name, source.get(name))
            elif name not in arguments:
                arguments[name] = member(source, name, cls.__name__)
        unknown = {name: value for name, value in source.items() if name not in cls._members}
        record = cls(**arguments, unrecognized_fields=unknown)
        record._nulls = frozenset(n for n in cls._optional if n in source and source[n] is None)
        return record

    def _wire(self) -> dict[str, Any]:
        """Members by name, with the values that the attributes hold."""
        values = {name: getattr(self, name) for name in self._members}
        known = {n: v for n, v in values.items() if v is not None or n in self._nulls}
        return {**known, **self.unrecognized_fields}

    def to_dict(self) -> dict[str, Any]:
        """The wire object as a new dictionary."""
        wire: dict[str, Any] = plain(self._wire())
        return wire

    def _identity(self) -> Iterable[Any]:
        """What makes two records equal."""
        yield from (getattr(self, name) for name in self._members)
        yield self.unrecognized_fields

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)) or not isinstance(self, type(other)):
            return False
        return all(a == b for a, b in zip(self._identity(), other._identity(), strict=True))


def plain(value: Any) -> Any:
    """A copy in which records, keys, signatures and times are in their wire form."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
    return value.to_dict() if hasattr(value, "to_dict") else value


def check_type(value: Any, wanted: type, what: str) -> None:
    """Refuse a value of another type; a boolean is not an integer.

    Raises:
        TypeError: it is one.
    """
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise TypeError(f"{what} must be {wanted.__name__}, not {type(value).__name__}")


def check_strings(values: Any, what: str) -> None:
    """Refuse what is not a list of strings.

    Raises:
        TypeError, ValueError: it is not.
    """
    check_type(values, list, what)
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"{what} must be strings")


def member(source: Any, name: str, what: str) -> Any:
    """A member that must be there.

    Raises:
        KeyError: it is missing.
        TypeError: ``source`` is not an object.
    """
    check_type(source, dict, what)
    if name not in source:
        raise KeyError(f"{what} has no member {name!r}")
    return source[name]


def shown(name: str) -> str:
    """A name as it may stand in a message: with no line breaks and no escape codes in it."""
    return name if name.isprintable() else repr(name)

"""The signed part of metadata: what all types have in common, Timestamp, Snapshot."""

from __future__ import annotations

import abc
import builtins
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from functools import partial
from typing import Any, ClassVar, TypeVar

from tuf.api._entries import Entries
from tuf.api._files import MetaFile
from tuf.api._record import Record, check_type, member, plain

SPECIFICATION_VERSION = ["1", "0", "34"]

S = TypeVar("S", bound="Signed")

# 4.2.2: the one format of dates.
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
# A version of the specification has three parts; repositories with two were made, too.
_SPEC_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)(\.(0|[1-9]\d*))?", re.ASCII)


def _date(text: Any) -> datetime:
    if not isinstance(text, str) or not _DATE.fullmatch(text):
        raise ValueError(
            f"expires is {text!r}; the specification's date format is YYYY-MM-DDTHH:MM:SSZ"
        )
    return datetime.fromisoformat(text[:-1]).replace(tzinfo=timezone.utc)


class Signed(Record, metaclass=abc.ABCMeta):
    """What is signed, for all types of metadata.

    All parameters are attributes as well.

    Args:
        version: version of the metadata; None means 1.
        spec_version: version of the specification it keeps to; None means this package's.
        expires: when the metadata is not to be trusted any more, in UTC, with no fractions of a
            second; None means now.
        unrecognized_fields: members that the specification does not name.

    Raises:
        ValueError, TypeError: an argument is not valid.
    """

    type: ClassVar[str] = "signed"
    _members: ClassVar[tuple[str, ...]] = ("version", "spec_version", "expires")

    def __init__(
        self,
        version: int | None,
        spec_version: str | None,
        expires: datetime | None,
        unrecognized_fields: dict[str, Any] | None,
    ) -> None:
        if version is None:
            version = 1
        check_type(version, int, "version")
        if version <= 0:
            raise ValueError(f"version must be > 0, got {version}")
        if spec_version is None:
            spec_version = ".".join(SPECIFICATION_VERSION)
        check_type(spec_version, str, "spec_version")
        if not (match := _SPEC_VERSION.fullmatch(spec_version)):
            raise ValueError(f"Failed to parse spec_version {spec_version}")
        if match[1] != SPECIFICATION_VERSION[0]:
            raise ValueError(
                f"Unsupported spec_version {spec_version}, supported is {SPECIFICATION_VERSION[0]}"
            )
        self.version = version
        self.spec_version = spec_version
        self.expires = datetime.now(timezone.utc) if expires is None else expires
        self.unrecognized_fields = {} if unrecognized_fields is None else unrecognized_fields

    @property
    def _type(self) -> str:
        return self.type

    @property
    def expires(self) -> datetime:
        """When the metadata is not to be trusted any more. A naive time is taken as UTC.

        Raises:
            ValueError: set to a time in another time zone.
        """
        return self._expires

    @expires.setter
    def expires(self, value: datetime) -> None:
        check_type(value, datetime, "expires")
        if value.tzinfo not in (None, timezone.utc):
            raise ValueError(f"Expected tz UTC, not {value.tzinfo}")
        self._expires = value.replace(microsecond=0, tzinfo=timezone.utc)

    @classmethod
    def _from_signed(
        cls: builtins.type[S],
        signed_dict: dict[str, Any],
        convert: Mapping[str, Callable[[Any], Any]],
        **further: Any,
    ) -> S:
        """Make an object of its wire form.

        Args:
            signed_dict: the wire form.
            convert: what makes attributes of those members that are not taken as they are.
            further: arguments of the constructor that are not members.
        """
        if (found := member(signed_dict, "_type", cls.type)) != cls.type:
            raise ValueError(f"Expected type {cls.type}, got {found}")
        for name in ("version", "spec_version", "expires"):
            # None would stand for a default.
            if member(signed_dict, name, cls.type) is None:
                raise ValueError(f"{cls.type}: {name} is null")
        members = {name: value for name, value in signed_dict.items() if name != "_type"}
        converted = {"expires": _date(members["expires"]), **further}
        for name, make in convert.items():
            if members.get(name) is not None or name not in cls._optional:
                converted[name] = make(member(signed_dict, name, cls.type))
        return cls._from_members(members, **converted)

    @classmethod
    @abc.abstractmethod
    def from_dict(cls, signed_dict: dict[str, Any]) -> Signed:
        """Make an object of its wire form.

        Raises:
            ValueError, KeyError, TypeError: not a valid one.
        """
        raise NotImplementedError

    def _wire(self) -> dict[str, Any]:
        return {"_type": self.type, **super()._wire()}

    @abc.abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The wire form, as a new dictionary."""
        return super().to_dict()

    def encodable(self) -> dict[str, Any]:
        """The wire form in which mappings that were not touched are still bytes."""
        return {n: v if isinstance(v, Entries) else plain(v) for n, v in self._wire().items()}

    def is_expired(self, reference_time: datetime | None = None) -> bool:
        """Whether the metadata has expired.

        Args:
            reference_time: the time that counts, with a time zone; None means now.
        """
        return (reference_time or datetime.now(timezone.utc)) >= self._expires


class Timestamp(Signed):
    """The version of the snapshot that is current (4.6).

    All parameters are attributes as well.

    Args:
        version: version of the metadata; None means 1.
        spec_version: version of the specification; None means this package's.
        expires: when the metadata expires; None means now.
        snapshot_meta: what it says of the snapshot; None means version 1.
        unrecognized_fields: members that the specification does not name.

    Raises:
        ValueError, TypeError: an argument is not valid.
    """

    type = "timestamp"

    def __init__(
        self,
        version: int | None = None,
        spec_version: str | None = None,
        expires: datetime | None = None,
        snapshot_meta: MetaFile | None = None,
        unrecognized_fields: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(version, spec_version, expires, unrecognized_fields)
        self.snapshot_meta = MetaFile(1) if snapshot_meta is None else snapshot_meta

    @classmethod
    def from_dict(cls, signed_dict: dict[str, Any]) -> Timestamp:
        """Make a timestamp of its wire form.

        Raises:
            ValueError, KeyError, TypeError: not a valid one.
        """
        meta = member(signed_dict, "meta", cls.type)
        snapshot_meta = member(meta, "snapshot.json", "timestamp: meta")
        if len(meta) > 1:
            # 4.6: it "MUST only include a description of the snapshot.json file".
            raise ValueError(f"timestamp: meta must name only snapshot.json, not {list(meta)}")
        rest = {name: value for name, value in signed_dict.items() if name != "meta"}
        return cls._from_signed(rest, {}, snapshot_meta=MetaFile.from_dict(snapshot_meta))

    def _wire(self) -> dict[str, Any]:
        return {**super()._wire(), "meta": {"snapshot.json": self.snapshot_meta}}

    def to_dict(self) -> dict[str, Any]:
        """The wire form, as a new dictionary."""
        return super().to_dict()

    def _identity(self) -> Iterable[Any]:
        yield from super()._identity()
        yield self.snapshot_meta


class Snapshot(Signed):
    """The versions of all targets roles that belong together (4.4).

    All parameters are attributes as well.

    Args:
        version: version of the metadata; None means 1.
        spec_version: version of the specification; None means this package's.
        expires: when the metadata expires; None means now.
        meta: what it says of each file, by file name (``ROLE.json``); None means version 1 of
            ``targets.json``.
        unrecognized_fields: members that the specification does not name.

    Raises:
        ValueError, TypeError: an argument is not valid.
    """

    type = "snapshot"
    _members: ClassVar[tuple[str, ...]] = (*Signed._members, "meta")

    def __init__(
        self,
        version: int | None = None,
        spec_version: str | None = None,
        expires: datetime | None = None,
        meta: dict[str, MetaFile] | None = None,
        unrecognized_fields: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(version, spec_version, expires, unrecognized_fields)
        self.meta = {"targets.json": MetaFile(1)} if meta is None else meta

    @classmethod
    def from_dict(cls, signed_dict: dict[str, Any]) -> Snapshot:
        """Make a snapshot of its wire form.

        Raises:
            ValueError, KeyError, TypeError: not a valid one.
        """
        convert = {"meta": partial(entries_from_dict, make=cls.make_meta)}
        return cls._from_signed(signed_dict, convert)

    def versions(self) -> dict[str, int]:
        """The version of each file, by file name. No entries are built."""
        if isinstance(self.meta, Entries):
            return self.meta.each("version")
        return {name: meta.version for name, meta in self.meta.items()}

    @staticmethod
    def make_meta(_name: str, meta_dict: dict[str, Any]) -> MetaFile:
        """Make an entry of its wire form."""
        return MetaFile.from_dict(meta_dict)

    def to_dict(self) -> dict[str, Any]:
        """The wire form, as a new dictionary."""
        return super().to_dict()


def entries_from_dict(entries: Any, make: Callable[[str, dict[str, Any]], Any]) -> dict[str, Any]:
    """Make objects of entries, unless they are objects already or will be when asked for."""
    check_type(entries, dict, "entries")
    if isinstance(entries, Entries):
        return entries
    return {name: make(name, entry) for name, entry in entries.items()}

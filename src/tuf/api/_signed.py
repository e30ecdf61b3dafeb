"""The signed part of metadata: Root, Timestamp, Snapshot, Targets."""

from __future__ import annotations

import abc
import re
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any, ClassVar, TypeVar

from tuf.api._entries import Entries
from tuf.api._files import MetaFile, TargetFile
from tuf.api._json import Received
from tuf.api._keys import Key, Signature
from tuf.api._record import Record, check_type, member, plain
from tuf.api._roles import (
    TOP_LEVEL_ROLE_NAMES,
    Delegations,
    Delegator,
    Role,
    RootVerificationResult,
    VerificationResult,
    keys_from_dict,
)

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
    def _from_signed(cls: type[S], signed_dict: dict[str, Any], **converted: Any) -> S:
        """Make an object of its wire form, with those members converted that need it."""
        if (found := member(signed_dict, "_type", cls.type)) != cls.type:
            raise ValueError(f"Expected type {cls.type}, got {found}")
        for name in ("version", "spec_version", "expires"):
            # None would stand for a default.
            if member(signed_dict, name, cls.type) is None:
                raise ValueError(f"{cls.type}: {name} is null")
        return cls._from_members(signed_dict, expires=_date(signed_dict["expires"]), **converted)

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


class Root(Signed, Delegator):
    """Which keys sign for the top-level roles (4.3).

    All parameters are attributes as well.

    Args:
        version: version of the metadata; None means 1.
        spec_version: version of the specification; None means this package's.
        expires: when the metadata expires; None means now.
        keys: keys by key id; None means none.
        roles: the four top-level roles by name, and maybe ``mirrors``; None means that they have
            no keys and a threshold of 1.
        consistent_snapshot: whether file names carry versions and hashes (6.2); None means that
            it is not said, and they don't.
        unrecognized_fields: members that the specification does not name.

    Raises:
        ValueError, TypeError: an argument is not valid.
    """

    type = "root"
    _members: ClassVar[tuple[str, ...]] = (
        *Signed._members,
        "consistent_snapshot",
        "keys",
        "roles",
    )
    _optional: ClassVar[tuple[str, ...]] = ("consistent_snapshot",)

    def __init__(
        self,
        version: int | None = None,
        spec_version: str | None = None,
        expires: datetime | None = None,
        keys: dict[str, Key] | None = None,
        roles: dict[str, Role] | None = None,
        consistent_snapshot: bool | None = True,
        unrecognized_fields: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(version, spec_version, expires, unrecognized_fields)
        if roles is None:
            roles = {name: Role([], 1) for name in sorted(TOP_LEVEL_ROLE_NAMES)}
        elif set(roles) - {"mirrors"} != TOP_LEVEL_ROLE_NAMES:
            raise ValueError(
                f"Role names must be the top-level metadata roles, not {', '.join(roles) or 'none'}"
            )
        if consistent_snapshot is not None:
            check_type(consistent_snapshot, bool, "consistent_snapshot")
        self.consistent_snapshot = consistent_snapshot
        self.keys = {} if keys is None else keys
        self.roles = roles

    @classmethod
    def from_dict(cls, signed_dict: dict[str, Any]) -> Root:
        """Make a root of its wire form.

        Raises:
            ValueError, KeyError, TypeError: not a valid one.
        """
        check_type(roles := member(signed_dict, "roles", cls.type), dict, "roles")
        return cls._from_signed(
            signed_dict,
            keys=keys_from_dict(member(signed_dict, "keys", cls.type)),
            roles={name: Role.from_dict(role) for name, role in roles.items()},
            consistent_snapshot=signed_dict.get("consistent_snapshot"),
        )

    def to_dict(self) -> dict[str, Any]:
        """The wire form, as a new dictionary."""
        return super().to_dict()

    def _role(self, name: str) -> Role:
        if name not in self.roles:
            raise ValueError(f"Role {name} doesn't exist")
        return self.roles[name]

    def add_key(self, key: Key, role: str) -> None:
        """Let a key sign for a role.

        Args:
            key: the key.
            role: name of the top-level role.

        Raises:
            ValueError: there is no such role.
        """
        _add_key(self.keys, [self._role(role)], key)

    def revoke_key(self, keyid: str, role: str) -> None:
        """Let a key not sign for a role any more. A key that no role uses is removed.

        Args:
            keyid: the key's id.
            role: name of the top-level role.

        Raises:
            ValueError: there is no such role, or it does not use the key.
        """
        if keyid not in self._role(role).keyids:
            raise ValueError(f"Key with id {keyid} is not used by {role}")
        _revoke_key(self.keys, [self.roles[role]], self.roles.values(), keyid)

    def get_delegated_role(self, delegated_role: str) -> Role:
        """The role of that name.

        Raises:
            ValueError: there is none.
        """
        if delegated_role not in self.roles:
            raise ValueError(f"Delegated role {delegated_role} not found")
        return self.roles[delegated_role]

    def get_key(self, keyid: str) -> Key:
        """The key of that key id.

        Raises:
            ValueError: there is none.
        """
        if keyid not in self.keys:
            raise ValueError(f"Key {keyid} not found")
        return self.keys[keyid]

    def get_root_verification_result(
        self, previous: Root | None, payload: bytes, signatures: dict[str, Signature]
    ) -> RootVerificationResult:
        """Find out which keys have signed this root: those of the root before, and its own (5.3.4).

        Args:
            previous: the root before; None for the first one.
            payload: the bytes that are signed: ``Metadata.signed_bytes``.
            signatures: signatures by key id.

        Raises:
            ValueError: the versions do not follow each other.
        """
        if previous is not None and self.version != previous.version + 1:
            versions = f"{previous.version} and {self.version}"
            raise ValueError(f"Expected sequential root versions, not {versions}")
        received = Received(payload, exact=True)
        own = self.count_signatures("root", received, signatures)
        before = previous.count_signatures("root", received, signatures) if previous else own
        return RootVerificationResult(before, own)


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
        return cls._from_signed(rest, snapshot_meta=MetaFile.from_dict(snapshot_meta))

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
        return cls._from_signed(signed_dict, meta=_mapping(signed_dict, "meta", cls.make_meta))

    @staticmethod
    def make_meta(_name: str, meta_dict: dict[str, Any]) -> MetaFile:
        """Make an entry of its wire form."""
        return MetaFile.from_dict(meta_dict)

    def to_dict(self) -> dict[str, Any]:
        """The wire form, as a new dictionary."""
        return super().to_dict()


class Targets(Signed, Delegator):
    """Target files, and delegations (4.5).

    All parameters are attributes as well.

    Args:
        version: version of the metadata; None means 1.
        spec_version: version of the specification; None means this package's.
        expires: when the metadata expires; None means now.
        targets: target files by target path; None means none.
        delegations: whom it trusts with which target paths; None means nobody.
        unrecognized_fields: members that the specification does not name.

    Raises:
        ValueError, TypeError: an argument is not valid.
    """

    type = "targets"
    _members: ClassVar[tuple[str, ...]] = (*Signed._members, "targets", "delegations")
    _optional: ClassVar[tuple[str, ...]] = ("delegations",)

    def __init__(
        self,
        version: int | None = None,
        spec_version: str | None = None,
        expires: datetime | None = None,
        targets: dict[str, TargetFile] | None = None,
        delegations: Delegations | None = None,
        unrecognized_fields: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(version, spec_version, expires, unrecognized_fields)
        self.targets = {} if targets is None else targets
        self.delegations = delegations

    @classmethod
    def from_dict(cls, signed_dict: dict[str, Any]) -> Targets:
        """Make targets of their wire form.

        Raises:
            ValueError, KeyError, TypeError: not valid ones.
        """
        targets = _mapping(signed_dict, "targets", cls.make_target)
        delegations = signed_dict.get("delegations")
        if delegations is not None:
            delegations = Delegations.from_dict(delegations)
        return cls._from_signed(signed_dict, targets=targets, delegations=delegations)

    @staticmethod
    def make_target(path: str, target_dict: dict[str, Any]) -> TargetFile:
        """Make an entry of its wire form."""
        return TargetFile.from_dict(target_dict, path)

    def to_dict(self) -> dict[str, Any]:
        """The wire form, as a new dictionary."""
        return super().to_dict()

    def _delegations(self) -> Delegations:
        if self.delegations is None:
            raise ValueError("No delegations found")
        return self.delegations

    def _roles(self, name: str | None) -> list[Role]:
        """The delegated role of that name, or the bins."""
        if self.delegations is None:
            raise ValueError(f"Delegated role {name} doesn't exist")
        if self.delegations.succinct_roles is not None:
            return [self.delegations.succinct_roles]
        if name is None or name not in (self.delegations.roles or {}):
            raise ValueError(f"Delegated role {name} doesn't exist")
        return [(self.delegations.roles or {})[name]]

    def add_key(self, key: Key, role: str | None = None) -> None:
        """Let a key sign for a delegated role.

        Args:
            key: the key.
            role: name of the delegated role; not used for bins, which share their keys.

        Raises:
            ValueError: there is no such role.
        """
        roles = self._roles(role)
        _add_key(self._delegations().keys, roles, key)

    def revoke_key(self, keyid: str, role: str | None = None) -> None:
        """Let a key not sign for a delegated role any more. A key that no role uses is removed.

        Args:
            keyid: the key's id.
            role: name of the delegated role; not used for bins, which share their keys.

        Raises:
            ValueError: there is no such role, or it does not use the key.
        """
        roles = self._roles(role)
        if keyid not in roles[0].keyids:
            used_by = "SuccinctRoles" if role is None else role
            raise ValueError(f"Key with id {keyid} is not used by {used_by}")
        delegations = self._delegations()
        everyone: Iterable[Role] = (delegations.roles or {}).values() or roles
        _revoke_key(delegations.keys, roles, everyone, keyid)

    def get_delegated_role(self, delegated_role: str) -> Role:
        """The delegated role of that name; for a bin, the bins' common role.

        Raises:
            ValueError: there is none.
        """
        delegations = self._delegations()
        role: Role | None = (delegations.roles or {}).get(delegated_role)
        bins = delegations.succinct_roles
        if bins is not None and bins.is_delegated_role(delegated_role):
            role = bins
        if role is None:
            raise ValueError(f"Delegated role {delegated_role} not found")
        return role

    def get_key(self, keyid: str) -> Key:
        """The key of that key id.

        Raises:
            ValueError: there is none.
        """
        keys = self._delegations().keys
        if keyid not in keys:
            raise ValueError(f"Key {keyid} not found")
        return keys[keyid]


def _mapping(signed_dict: Any, name: str, make: Any) -> dict[str, Any]:
    """A member's entries as objects; entries that are objects already are taken as they are."""
    entries = member(signed_dict, name, "signed")
    check_type(entries, dict, name)
    if isinstance(entries, Entries):
        return entries
    return {key: make(key, entry) for key, entry in entries.items()}


def _add_key(keys: dict[str, Key], roles: Iterable[Role], key: Key) -> None:
    for role in roles:
        if key.keyid not in role.keyids:
            role.keyids.append(key.keyid)
    keys[key.keyid] = key


def _revoke_key(
    keys: dict[str, Key], roles: Iterable[Role], everyone: Iterable[Role], keyid: str
) -> None:
    for role in roles:
        role.keyids.remove(keyid)
    if not any(keyid in role.keyids for role in everyone):
        del keys[keyid]


__all__ = [
    "SPECIFICATION_VERSION",
    "Root",
    "Signed",
    "Snapshot",
    "Targets",
    "Timestamp",
    "VerificationResult",
]

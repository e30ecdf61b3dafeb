"""Roles and delegations: who signs for what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any, ClassVar

from tuf.api._keys import Key, key_from_dict
from tuf.api._record import Record, check_strings, check_type, member

TOP_LEVEL_ROLE_NAMES = {"root", "timestamp", "snapshot", "targets"}

_MAX_BIT_LENGTH = 32
_LOWER_HEX = set("0123456789abcdef")


class Role(Record):
    """Which keys sign a role's metadata, and how many of them must.

    All parameters are attributes as well.

    Args:
        keyids: the key ids of the role's keys.
        threshold: how many of the keys must sign.
        unrecognized_fields: members that the specification does not name.

    Raises:
        ValueError, TypeError: an argument is not valid.
    """

    _members: ClassVar[tuple[str, ...]] = ("keyids", "threshold")

    def __init__(
        self,
        keyids: list[str],
        threshold: int,
        unrecognized_fields: dict[str, Any] | None = None,
    ) -> None:
        check_strings(keyids, "keyids")
        if len(set(keyids)) != len(keyids):
            raise ValueError(f"Nonunique keyids: {keyids}")
        check_type(threshold, int, "threshold")
        if threshold < 1:
            raise ValueError(f"threshold should be at least 1, not {threshold}")
        self.keyids = keyids
        self.threshold = threshold
        self.unrecognized_fields = {} if unrecognized_fields is None else unrecognized_fields

    def __hash__(self) -> int:
        # Though it can be changed: releases before this one had it.
        return hash((type(self), self.threshold, *self.keyids))

    @classmethod
    def from_dict(cls, role_dict: dict[str, Any]) -> Role:
        """Make a role of its wire form.

        Raises:
            ValueError, KeyError, TypeError: not a valid one.
        """
        return cls._from_members(role_dict)


class DelegatedRole(Role):
    """A role that a targets role delegates target paths to.

    Exactly one of ``paths`` and ``path_hash_prefixes`` says which. All parameters are
    attributes as well.

    Args:
        name: the role's name.
        keyids: the key ids of the role's keys.
        threshold: how many of the keys must sign.
        terminating: whether a search ends here for a target path that the role is trusted with.
        paths: patterns of target paths: ``*`` and ``?`` match within one path segment.
        path_hash_prefixes: beginnings of the SHA-256 hex digests of target paths.
        unrecognized_fields: members that the specification does not name.

    Raises:
        ValueError, TypeError: an argument is not valid.
    """

    _members: ClassVar[tuple[str, ...]] = (
        "name",
        "keyids",
        "threshold",
        "terminating",
        "paths",
        "path_hash_prefixes",
    )
    _optional: ClassVar[tuple[str, ...]] = ("paths", "path_hash_prefixes")

    def __init__(
        self,
        name: str,
        keyids: list[str],
        threshold: int,
        terminating: bool,
        paths: list[str] | None = None,
        path_hash_prefixes: list[str] | None = None,
        unrecognized_fields: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(keyids, threshold, unrecognized_fields)
        check_type(name, str, "name")
        check_type(terminating, bool, "terminating")
        if (paths is None) == (path_hash_prefixes is None):
            raise ValueError(
                f"role {name!r}: Only one of (paths, path_hash_prefixes) must be set,"
                f" not {'none' if paths is None else 'both'}"
            )
        if paths is not None:
            check_strings(paths, "Paths")
        if path_hash_prefixes is not None:
            check_strings(path_hash_prefixes, "Path_hash_prefixes")
        self.name = name
        self.terminating = terminating
        self.paths = paths
        self.path_hash_prefixes = path_hash_prefixes

    @classmethod
    def from_dict(cls, role_dict: dict[str, Any]) -> DelegatedRole:
        """Make a delegated role of its wire form.

        Raises:
            ValueError, KeyError, TypeError: not a valid one.
        """
        return cls._from_members(role_dict)

    def is_delegated_path(self, target_filepath: str) -> bool:
        """Whether the role is trusted with a target path (4.5).

        Args:
            target_filepath: target path in its canonical form, ``a/b`` and not ``a//b``.
        """
        if self.path_hash_prefixes is not None:
            path_hash = sha256(_utf8(target_filepath)).hexdigest()
            return any(path_hash.startswith(prefix.lower()) for prefix in self.path_hash_prefixes)
        return any(_matches(pattern, target_filepath) for pattern in self.paths or ())


def _utf8(path: str) -> bytes:
    # A lone surrogate cannot be in metadata; asked for, it is a path that no role has.
    return path.encode("utf-8", "surrogatepass")


def _matches(pattern: str, path: str) -> bool:
    """Whether a target path matches a path pattern (4.5): one segment after the other.

    So ``*`` and ``?`` do not match ``/``; case matters on every platform.
    """
    wanted, found = pattern.split("/"), path.split("/")
    return len(wanted) == len(found) and all(map(fnmatchcase, found, wanted))


class SuccinctRoles(Role):
    """Hash bins: delegations to ``2 ** bit_length`` roles that share keys and threshold (TAP 15).

    A bin's name is ``name_prefix``, a hyphen, and the bin's number in hexadecimal digits, zero
    padded. All parameters are attributes as well.

    Args:
        keyids: the key ids of all bins.
        threshold: how many of the keys must sign each bin.
        bit_length: between 1 and 32.
        name_prefix: what the names of all bins begin with.
        unrecognized_fields: members that the specification does not name.

    Raises:
        ValueError, TypeError: an argument is not valid.
    """

    _members: ClassVar[tuple[str, ...]] = ("keyids", "threshold", "bit_length", "name_prefix")

    def __init__(
        self,
        keyids: list[str],
        threshold: int,
        bit_length: int,
        name_prefix: str,
        unrecognized_fields: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(keyids, threshold, unrecognized_fields)
        check_type(bit_length, int, "bit_length")
        if not 1 <= bit_length <= _MAX_BIT_LENGTH:
            raise ValueError(f"bit_length must be between 1 and 32, not {bit_length}")
        if not isinstance(name_prefix, str):
            raise ValueError("name_prefix must be a string")
        self.bit_length = bit_length
        self.name_prefix = name_prefix

    @classmethod
    def from_dict(cls, role_dict: dict[str, Any]) -> SuccinctRoles:
        """Make succinct roles of their wire form.

        Raises:
            ValueError, KeyError, TypeError: not valid ones.
        """
        return cls._from_members(role_dict)

    @property
    def number_of_bins(self) -> int:
        """How many bins there are."""
        return 1 << self.bit_length

    @property
    def suffix_len(self) -> int:
        """How many hexadecimal digits a bin's name ends with."""
        return len(f"{self.number_of_bins - 1:x}")

    def _name(self, number: int) -> str:
        return f"{self.name_prefix}-{number:0{self.suffix_len}x}"

    def get_role_for_target(self, target_filepath: str) -> str:
        """The name of the bin that is trusted with a target path.

        Args:
            target_filepath: the target path.
        """
        path_hash = int.from_bytes(sha256(_utf8(target_filepath)).digest()[:4], "big")
        return self._name(path_hash >> (_MAX_BIT_LENGTH - self.bit_length))

    def get_roles(self) -> Iterator[str]:
        """The names of all bins, in order."""
        return map(self._name, range(self.number_of_bins))

    def is_delegated_role(self, role_name: str) -> bool:
        """Whether a role is one of the bins.

        Args:
            role_name: the role's name.
        """
        prefix, hyphen, suffix = role_name.rpartition("-")
        if prefix != self.name_prefix or not hyphen or len(suffix) != self.suffix_len:
            return False
        return not set(suffix) - _LOWER_HEX and int(suffix, 16) < self.number_of_bins


class Delegations(Record):
    """What a targets role delegates, and the keys of those it delegates to.

    Exactly one of ``roles`` and ``succinct_roles`` is set. All parameters are attributes as well.

    Args:
        keys: keys by key id.
        roles: delegated roles by name, in the order in which a search considers them.
        succinct_roles: hash bins.
        unrecognized_fields: members that the specification does not name.

    Raises:
        ValueError, TypeError: an argument is not valid.
    """

    _members: ClassVar[tuple[str, ...]] = ("keys", "roles", "succinct_roles")
    _optional: ClassVar[tuple[str, ...]] = ("roles", "succinct_roles")

    def __init__(
        self,
        keys: dict[str, Key],
        roles: dict[str, DelegatedRole] | None = None,
        succinct_roles: SuccinctRoles | None = None,
        unrecognized_fields: dict[str, Any] | None = None,
    ) -> None:
        if (roles is None) == (succinct_roles is None):
            raise ValueError(
                "One of roles and succinct_roles must be set,"
                f" not {'none' if roles is None else 'both'}"
            )
        for name in roles or ():
            if not name or name in TOP_LEVEL_ROLE_NAMES:
                raise ValueError(
                    "Delegated roles cannot be empty or use top-level role names,"
                    f" one is named {name!r}"
                )
        self.keys = keys
        self.roles = roles
        self.succinct_roles = succinct_roles
        self.unrecognized_fields = {} if unrecognized_fields is None else unrecognized_fields

    @classmethod
    def from_dict(cls, delegations_dict: dict[str, Any]) -> Delegations:
        """Make delegations of their wire form.

        Raises:
            ValueError, KeyError, TypeError: not valid ones.
        """
        keys = keys_from_dict(member(delegations_dict, "keys", "delegations"))
        roles: dict[str, DelegatedRole] | None = None
        if (wire_roles := delegations_dict.get("roles")) is not None:
            check_type(wire_roles, list, "roles")
            roles = {}
            for role in map(DelegatedRole.from_dict, wire_roles):
                if role.name in roles:
                    raise ValueError(f"Duplicate role {role.name!r}")
                roles[role.name] = role
        succinct_roles = delegations_dict.get("succinct_roles")
        return cls._from_members(
            delegations_dict,
            keys=keys,
            roles=roles,
            succinct_roles=(
                None if succinct_roles is None else SuccinctRoles.from_dict(succinct_roles)
            ),
        )

    def _wire(self) -> dict[str, Any]:
        wire = super()._wire()
        if self.roles is not None:
            wire["roles"] = list(self.roles.values())
        return wire

    def _identity(self) -> Iterable[Any]:
        yield from super()._identity()
        yield list(self.roles or ())  # their order is their priority

    def get_roles_for_target(self, target_filepath: str) -> Iterator[tuple[str, bool]]:
        """The names of the delegated roles trusted with a target path, and whether each terminates.

        Args:
            target_filepath: the target path.
        """
        if self.succinct_roles is not None:
            # Every bin is its own end: no other bin is trusted with the path.
            yield self.succinct_roles.get_role_for_target(target_filepath), True
        for role in (self.roles or {}).values():
            if role.is_delegated_path(target_filepath):
                yield role.name, role.terminating


def keys_from_dict(keys: Any) -> dict[str, Key]:
    """Make keys of their wire form.

    Raises:
        ValueError, KeyError, TypeError: not valid ones.
    """
    check_type(keys, dict, "keys")
    return {keyid: key_from_dict(keyid, key) for keyid, key in keys.items()}


def add_key(keys: dict[str, Key], roles: Iterable[Role], key: Key) -> None:
    """Let a key sign for roles."""
    for role in roles:
        if key.keyid not in role.keyids:
            role.keyids.append(key.keyid)
    keys[key.keyid] = key


def revoke_key(
    keys: dict[str, Key], roles: Iterable[Role], everyone: Iterable[Role], keyid: str
) -> None:
    """Let a key not sign for roles any more, and remove it if nobody of ``everyone`` uses it."""
    for role in roles:
        role.keyids.remove(keyid)
    if not any(keyid in role.keyids for role in everyone):
        del keys[keyid]

"""Targets: target files, and who else signs for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

from tuf.api._files import TargetFile
from tuf.api._keys import Key
from tuf.api._roles import Delegations, Role, add_key, revoke_key
from tuf.api._signed import Signed, entries_from_dict
from tuf.api._verification import Delegator


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
        convert: dict[str, Callable[[Any], Any]] = {
            "targets": partial(entries_from_dict, make=cls.make_target),
            "delegations": Delegations.from_dict,
        }
        return cls._from_signed(signed_dict, convert)

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
        add_key(self._delegations().keys, roles, key)

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
        revoke_key(delegations.keys, roles, everyone, keyid)

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

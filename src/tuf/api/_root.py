"""Root: who signs for the top-level roles."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from tuf.api._json import Received
from tuf.api._keys import Key, Signature
from tuf.api._record import check_type
from tuf.api._roles import TOP_LEVEL_ROLE_NAMES, Role, add_key, keys_from_dict, revoke_key
from tuf.api._signed import Signed
from tuf.api._verification import Delegator, RootVerificationResult


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
        return cls._from_signed(signed_dict, {"keys": keys_from_dict, "roles": _roles_from_dict})

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
        add_key(self.keys, [self._role(role)], key)

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
        revoke_key(self.keys, [self.roles[role]], self.roles.values(), keyid)

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


def _roles_from_dict(roles: Any) -> dict[str, Role]:
    check_type(roles, dict, "roles")
    return {name: Role.from_dict(role) for name, role in roles.items()}

"""The one place where signatures are counted."""

from __future__ import annotations

from dataclasses import dataclass

from tuf.api._json import Received
from tuf.api._keys import Key, Signature, key_material, verifies
from tuf.api._record import shown
from tuf.api._roles import Role
from tuf.api.exceptions import UnsignedMetadataError


@dataclass
class VerificationResult:
    """Which keys of a role have signed, and which have not.

    A key whose public key is that of another key of the role counts once: it is listed among
    ``unsigned`` the second time.
    """

    threshold: int
    signed: dict[str, Key]
    unsigned: dict[str, Key]

    def __bool__(self) -> bool:
        return self.verified

    @property
    def verified(self) -> bool:
        """Whether the threshold is met."""
        return len(self.signed) >= self.threshold

    @property
    def missing(self) -> int:
        """How many more signatures are needed."""
        return max(0, self.threshold - len(self.signed))


@dataclass
class RootVerificationResult:
    """The verification of a root by the root before it, and by itself."""

    first: VerificationResult
    second: VerificationResult

    def __bool__(self) -> bool:
        return self.verified

    @property
    def verified(self) -> bool:
        """Whether both thresholds are met."""
        return self.first.verified and self.second.verified

    @property
    def signed(self) -> dict[str, Key]:
        """The keys that have signed, of both."""
        return {**self.first.signed, **self.second.signed}

    @property
    def unsigned(self) -> dict[str, Key]:
        """The keys that have not signed, of both."""
        return {**self.first.unsigned, **self.second.unsigned}


class Delegator:
    """What root and targets have in common: they say who signs for other roles."""

    def get_delegated_role(self, delegated_role: str) -> Role:
        """The role of that name.

        Raises:
            ValueError: there is none.
        """
        raise NotImplementedError

    def get_key(self, keyid: str) -> Key:
        """The key of that key id.

        Raises:
            ValueError: there is none.
        """
        raise NotImplementedError

    def get_verification_result(
        self, delegated_role: str, payload: bytes, signatures: dict[str, Signature]
    ) -> VerificationResult:
        """Find out which keys of a role have signed.

        Args:
            delegated_role: the role's name.
            payload: the bytes that are signed: ``Metadata.signed_bytes``.
            signatures: signatures by key id.

        Raises:
            ValueError: there is no such role.
        """
        return self.count_signatures(delegated_role, Received(payload, exact=True), signatures)

    def verify_delegate(
        self, delegated_role: str, payload: bytes, signatures: dict[str, Signature]
    ) -> None:
        """Check that enough keys of a role have signed.

        Args:
            delegated_role: the role's name.
            payload: the bytes that are signed: ``Metadata.signed_bytes``.
            signatures: signatures by key id.

        Raises:
            UnsignedMetadataError: fewer have than the threshold.
            ValueError: there is no such role.
        """
        self.verify_received(delegated_role, Received(payload, exact=True), signatures)

    def verify_received(
        self, delegated_role: str, received: Received, signatures: dict[str, Signature]
    ) -> None:
        """The same for metadata as it was received. It stops at the threshold."""
        result = self.count_signatures(delegated_role, received, signatures, enough=True)
        if not result.verified:
            found = ", ".join(map(shown, result.signed)) or "none"
            keys = ", ".join(map(shown, (*result.signed, *result.unsigned))) or "no keys"
            raise UnsignedMetadataError(
                f"{shown(delegated_role)} was signed by {len(result.signed)}/{result.threshold}"
                f" keys: good signatures by {found}; needed {result.threshold} of {keys}"
            )

    def count_signatures(
        self,
        delegated_role: str,
        received: Received,
        signatures: dict[str, Signature],
        *,
        enough: bool = False,
    ) -> VerificationResult:
        """Count the good signatures of a role's keys, each distinct public key once.

        Only the role's own keys are looked at, so the cost is bounded by the role, not by the
        file. The scheme is the key's, never the signature's.

        Args:
            delegated_role: the role's name.
            received: the signed bytes.
            signatures: signatures by key id.
            enough: stop when the threshold is met.

        Raises:
            ValueError: there is no such role.
        """
        role = self.get_delegated_role(delegated_role)
        result = VerificationResult(role.threshold, {}, {})
        counted: set[bytes] = set()
        for keyid in role.keyids:
            try:
                key = self.get_key(keyid)
            except ValueError:
                continue  # a role may name a key that is not there: nobody can sign with it
            signature = signatures.get(keyid)
            material = None if signature is None else key_material(key)
            if (
                signature is not None
                and material is not None
                and material not in counted
                and not (enough and result.verified)
                and verifies(key, signature, received.forms())
            ):
                counted.add(material)
                result.signed[keyid] = key
            else:
                result.unsigned[keyid] = key
        return result

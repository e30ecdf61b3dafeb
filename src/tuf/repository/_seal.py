"""Signed metadata as the bytes of a file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tuf.api import _json
from tuf.api._json import Received
from tuf.api._keys import Key, Signature
from tuf.api._verification import Delegator
from tuf.api.metadata import Metadata, Signed
from tuf.repository.signers import Keyring, KeyUnavailable


class Sealed:
    """Metadata with the signatures that could be made here.

    Args:
        signed: what is signed.
        signatures: signatures that are there already.
    """

    def __init__(self, signed: Signed, signatures: dict[str, Signature] | None = None) -> None:
        self._wire = _json.compact(signed.encodable())
        # The two forms differ only where JSON escapes.
        self.payload = self._wire
        if b"\\" in self._wire:
            self.payload = _json.canonical(signed.encodable())
        self.signatures = dict(signatures or {})

    def sign(self, keyring: Keyring, keys: Iterable[Key]) -> None:
        """Sign with those of the keys that are here and have not signed.

        Raises:
            KeyUnavailable: a key should be here, but cannot be used.
        """
        for key in keys:
            if key.keyid in self.signatures:
                continue
            signer = keyring.signer(key)
            if signer is None:
                continue
            try:
                signature = signer.sign(self.payload)
            except Exception as e:  # what may fail is up to each signer
                raise KeyUnavailable(f"key {keyring.name(key) or key.keyid}: {e}") from e
            if signature.keyid != key.keyid:
                signature = Signature(key.keyid, signature.signature)
            self.signatures[key.keyid] = signature

    def missing(self, delegator: Delegator, role: str) -> int:
        """How many signatures are missing for a delegator."""
        received = Received(self.payload, exact=True)
        return delegator.count_signatures(role, received, self.signatures).missing

    def file(self) -> bytes:
        """The bytes of the file."""
        signatures = _json.compact([s.to_dict() for s in self.signatures.values()])
        return b'{"signatures":' + signatures + b',"signed":' + self._wire + b"}"


def keys_of(delegator: Delegator, role: str) -> list[Key]:
    """The keys that may sign for a role; none if it is not delegated to."""
    found = []
    try:
        keyids = delegator.get_delegated_role(role).keyids
    except ValueError:
        return []
    for keyid in keyids:
        try:
            found.append(delegator.get_key(keyid))
        except ValueError:
            continue  # nobody can sign with a key that is not there
    return found


def seal(metadata: Metadata[Any], keyring: Keyring, role: str, *delegators: Delegator) -> Sealed:
    """Sign metadata with every key that is here and that a delegator names."""
    sealed = Sealed(metadata.signed, metadata.signatures)
    for delegator in delegators:
        sealed.sign(keyring, keys_of(delegator, role))
    return sealed

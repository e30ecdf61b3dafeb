"""Keys and signatures. They are securesystemslib's own; this is where it is used."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from securesystemslib.dsse import Envelope as BaseSimpleEnvelope
from securesystemslib.exceptions import Error, UnverifiedSignatureError
from securesystemslib.signer import (
    KEY_FOR_TYPE_AND_SCHEME,
    CryptoSigner,
    Key,
    Signature,
    Signer,
    SigstoreSigner,
    SSlibKey,
)
from securesystemslib.storage import FilesystemBackend, StorageBackendInterface

from tuf.api import _json
from tuf.api._record import check_type, member, shown

__all__ = [
    "BaseSimpleEnvelope",
    "CryptoSigner",
    "FilesystemBackend",
    "Key",
    "SSlibKey",
    "Signature",
    "Signer",
    "SigstoreSigner",
    "StorageBackendInterface",
    "key_from_dict",
    "key_material",
    "signature_from_dict",
    "verifies",
]

logger = logging.getLogger(__name__)

MIN_RSA_BITS = 2048
_ED25519 = re.compile(r"[0-9a-fA-F]{64}")


class UnusableKey(Key):
    """A key of a type or scheme that is not known here: kept, and never verifies anything."""

    @classmethod
    def from_dict(cls, keyid: str, key_dict: dict[str, Any]) -> UnusableKey:
        """Make one of its wire form."""
        known = ("keytype", "scheme", "keyval")
        unknown = {name: value for name, value in key_dict.items() if name not in known}
        return cls(keyid, key_dict["keytype"], key_dict["scheme"], key_dict["keyval"], unknown)

    def to_dict(self) -> dict[str, Any]:
        """Its wire form."""
        return {
            "keytype": self.keytype,
            "scheme": self.scheme,
            "keyval": self.keyval,
            **self.unrecognized_fields,
        }

    def verify_signature(self, signature: Signature, data: bytes) -> None:
        """Refuse."""
        raise UnverifiedSignatureError(
            f"key {self.keyid}: type {self.keytype} with scheme {self.scheme} is not known"
        )


def key_from_dict(keyid: str, key_dict: dict[str, Any]) -> Key:
    """Make a key of its wire form. The key id is a name: it is not computed anew (TAP 12).

    Raises:
        ValueError, KeyError, TypeError: not a valid key.
    """
    what = f"key {shown(keyid)}"
    for name, wanted in (("keytype", str), ("scheme", str), ("keyval", dict)):
        check_type(member(key_dict, name, what), wanted, f"{what}: {name}")
    kind = (key_dict["keytype"], key_dict["scheme"])
    if kind not in KEY_FOR_TYPE_AND_SCHEME:
        return UnusableKey.from_dict(keyid, key_dict)
    public = key_dict["keyval"].get("public")
    if kind[0] in ("rsa", "ecdsa") or kind[0].startswith("ecdsa-sha2-"):
        # 4.2.1: the public part is "PEM format and a string".
        if not _is_pem(public):
            raise ValueError(f"{what}: the public part is not PEM, the specification's key format")
    # 4.2.1: a "64-byte hex encoded string".
    elif kind == ("ed25519", "ed25519") and not _ED25519.fullmatch(str(public)):
        raise ValueError(f"{what}: the public part is not 64 hex digits")
    return Key.from_dict(keyid, {**key_dict, "keyval": dict(key_dict["keyval"])})


def signature_from_dict(signature: Any) -> Signature:
    """Make a signature of its wire form.

    Raises:
        ValueError, KeyError, TypeError: not a valid one.
    """
    for name in ("keyid", "sig"):
        check_type(member(signature, name, "signature"), str, f"signature: {name}")
    return Signature.from_dict(dict(signature))


def _is_pem(public: Any) -> bool:
    return isinstance(public, str) and "-----BEGIN " in public


@lru_cache(maxsize=1024)
def _pem_material(pem: str) -> bytes | None:
    """What a PEM key is, whatever its text looks like; None if it is too weak to count."""
    key = load_pem_public_key(pem.encode())
    if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        return None
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_material(key: Key) -> bytes | None:
    """What makes two keys the same key, whatever their key ids, schemes and texts.

    Returns:
        The public key in a form of its own; None for a key that is too weak, or not readable.
    """
    public = key.keyval.get("public")
    try:
        if _is_pem(public):
            return _pem_material(public)
        if isinstance(public, str) and key.keytype == "ed25519":
            return bytes.fromhex(public)
        return _json.canonical(key.keyval).lower()
    except Exception as e:  # noqa: BLE001  # whatever a key that others made holds, it only fails to count
        logger.info("key %s is not usable: %s", key.keyid, e)
        return None


def verifies(key: Key, signature: Signature, forms: Iterable[bytes]) -> bool:
    """Whether a signature by ``key`` is over one of the forms of the signed bytes."""
    if key.keytype == key.scheme == "ecdsa-sha2-nistp256":
        # An old name of the same key type. It still stands in roots, and deserves no warning.
        key = SSlibKey(key.keyid, "ecdsa", key.scheme, key.keyval)
    failure: Exception | None = None
    for data in forms:
        try:
            key.verify_signature(signature, data)
        except (Error, ValueError, TypeError) as e:
            failure = e
        else:
            return True
    logger.debug("the signature of key %s is not good: %s", key.keyid, failure)
    return False

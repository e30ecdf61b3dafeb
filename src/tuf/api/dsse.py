"""Metadata in a DSSE envelope, where the payload is signed as it stands."""

from __future__ import annotations

import json
from typing import Any, Generic, cast

from tuf.api import _json
from tuf.api._keys import BaseSimpleEnvelope
from tuf.api._record import check_type
from tuf.api.metadata import (
    MAX_SIGNATURES,
    SPECIFICATION_VERSION,
    TOP_LEVEL_ROLE_NAMES,
    BaseFile,
    DelegatedRole,
    Delegations,
    MetaFile,
    Role,
    Root,
    RootVerificationResult,
    Signed,
    Snapshot,
    SuccinctRoles,
    T,
    TargetFile,
    Targets,
    Timestamp,
    VerificationResult,
)
from tuf.api.serialization import DeserializationError, SerializationError
from tuf.api.serialization.json import signed_from_bytes

__all__ = [
    "SPECIFICATION_VERSION",
    "TOP_LEVEL_ROLE_NAMES",
    "BaseFile",
    "BaseSimpleEnvelope",
    "DelegatedRole",
    "Delegations",
    "DeserializationError",
    "MetaFile",
    "Role",
    "Root",
    "RootVerificationResult",
    "SerializationError",
    "Signed",
    "SimpleEnvelope",
    "Snapshot",
    "SuccinctRoles",
    "T",
    "TargetFile",
    "Targets",
    "Timestamp",
    "VerificationResult",
]


class SimpleEnvelope(BaseSimpleEnvelope, Generic[T]):
    """A DSSE envelope around the signed part of metadata.

    Signatures are over the payload and its type, not over a canonical form.
    ``SimpleEnvelope[Root]`` tells type checkers what :meth:`get_signed` returns.

    Args:
        payload: the bytes of the signed part.
        payload_type: what the payload is: ``DEFAULT_PAYLOAD_TYPE``.
        signatures: signatures by key id.
    """

    DEFAULT_PAYLOAD_TYPE = "application/vnd.tuf+json"

    @classmethod
    def from_bytes(cls, data: bytes) -> SimpleEnvelope[T]:
        """Read an envelope.

        Args:
            data: the bytes of a file.

        Raises:
            DeserializationError: not an envelope.
        """
        try:
            wire = _json.parse(data, floats=True)
            if len(wire["signatures"]) > MAX_SIGNATURES:
                raise ValueError(f"more than {MAX_SIGNATURES} signatures")
            check_type(wire["payloadType"], str, "payloadType")
            envelope = cls.from_dict(wire)
            for signature in envelope.signatures.values():
                check_type(signature.keyid, str, "keyid")
        except DeserializationError:
            raise
        except Exception as e:
            raise DeserializationError(f"not a DSSE envelope: {type(e).__name__}: {e}") from e
        return cast("SimpleEnvelope[T]", envelope)

    def to_bytes(self) -> bytes:
        """Write the envelope.

        Raises:
            SerializationError: it cannot be written.
        """
        try:
            return json.dumps(self.to_dict()).encode()
        except Exception as e:
            raise SerializationError(f"the envelope cannot be written: {e}") from e

    @classmethod
    def from_signed(cls, signed: T) -> SimpleEnvelope[T]:
        """Make an envelope, not signed yet, around the signed part of metadata.

        Args:
            signed: the signed part.

        Raises:
            SerializationError: it cannot be written.
        """
        try:
            payload = _json.compact(signed.encodable())
        except SerializationError:
            raise
        except Exception as e:
            raise SerializationError(f"the payload cannot be written: {e}") from e
        return cls(payload, cls.DEFAULT_PAYLOAD_TYPE, {})

    def get_signed(self) -> T:
        """Read the payload. It is not verified here.

        Raises:
            DeserializationError: the payload, or its type, is not metadata's.
        """
        if self.payload_type != self.DEFAULT_PAYLOAD_TYPE:
            raise DeserializationError(
                f"payload type is {self.payload_type!r}, wanted {self.DEFAULT_PAYLOAD_TYPE!r}"
            )
        signed: Any = signed_from_bytes(self.payload)
        return cast("T", signed)

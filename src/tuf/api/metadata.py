"""The metadata of The Update Framework, as typed objects.

:class:`Metadata` is a file: a signed part, which is a :class:`Root`, :class:`Timestamp`,
:class:`Snapshot` or :class:`Targets`, and signatures. The other classes stand in the signed
parts.
"""

from __future__ import annotations

import warnings
from typing import Any, Generic, TypeVar, cast

from tuf.api._files import BaseFile, MetaFile, TargetFile
from tuf.api._keys import (
    FilesystemBackend,
    Key,
    Signature,
    Signer,
    StorageBackendInterface,
    signature_from_dict,
)
from tuf.api._record import check_type, member
from tuf.api._roles import (
    TOP_LEVEL_ROLE_NAMES,
    DelegatedRole,
    Delegations,
    Role,
    SuccinctRoles,
)
from tuf.api._root import Root
from tuf.api._signed import SPECIFICATION_VERSION, Signed, Snapshot, Timestamp
from tuf.api._targets import Targets
from tuf.api._verification import RootVerificationResult, VerificationResult
from tuf.api.exceptions import LengthOrHashMismatchError, UnsignedMetadataError
from tuf.api.serialization import MetadataDeserializer, MetadataSerializer, SignedSerializer

__all__ = [
    "SPECIFICATION_VERSION",
    "TOP_LEVEL_ROLE_NAMES",
    "BaseFile",
    "DelegatedRole",
    "Delegations",
    "FilesystemBackend",
    "Key",
    "LengthOrHashMismatchError",
    "MetaFile",
    "Metadata",
    "Role",
    "Root",
    "RootVerificationResult",
    "Signature",
    "Signed",
    "Signer",
    "Snapshot",
    "StorageBackendInterface",
    "SuccinctRoles",
    "T",
    "TargetFile",
    "Targets",
    "Timestamp",
    "UnsignedMetadataError",
    "VerificationResult",
]

T = TypeVar("T", "Root", "Timestamp", "Snapshot", "Targets")

#: The class of each type of metadata.
SIGNED_TYPES: dict[str, type[Signed]] = {
    cls.type: cls for cls in (Root, Timestamp, Snapshot, Targets)
}

#: No file has more signatures than this: a flood of them is refused before any is verified.
MAX_SIGNATURES = 1000


class Metadata(Generic[T]):
    """A metadata file: what is signed, and signatures.

    ``Metadata[Root]`` tells type checkers the type of ``signed``; nothing checks it at run time.
    All parameters are attributes as well.

    Args:
        signed: the signed part.
        signatures: signatures by key id, each over the canonical form of ``signed``; None means
            none.
        unrecognized_fields: members beside these two. They are not signed.
    """

    def __init__(
        self,
        signed: T,
        signatures: dict[str, Signature] | None = None,
        unrecognized_fields: dict[str, Any] | None = None,
    ) -> None:
        self.signed: T = signed
        self.signatures = {} if signatures is None else signatures
        self.unrecognized_fields = {} if unrecognized_fields is None else unrecognized_fields

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Metadata):
            return False
        return (
            self.signed == other.signed
            # The order of signatures is part of the file.
            and list(self.signatures.items()) == list(other.signatures.items())
            and self.unrecognized_fields == other.unrecognized_fields
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def signed_bytes(self) -> bytes:
        """The canonical form of ``signed``, which signatures are over.

        Raises:
            SerializationError: ``signed`` has none.
        """
        from tuf.api.serialization.json import CanonicalJSONSerializer

        return CanonicalJSONSerializer().serialize(self.signed)

    @classmethod
    def from_dict(cls, metadata: dict[str, Any]) -> Metadata[T]:
        """Make metadata of its wire form.

        Args:
            metadata: a dictionary with the members of a file.

        Raises:
            ValueError, KeyError, TypeError: not valid metadata.
        """
        signatures = signatures_from_list(member(metadata, "signatures", "metadata"))
        found = member(member(metadata, "signed", "metadata"), "_type", "signed")
        if not isinstance(found, str) or found not in SIGNED_TYPES:
            raise ValueError(f'unrecognized metadata type "{found}"')
        signed = SIGNED_TYPES[found].from_dict(metadata["signed"])
        unknown = {n: v for n, v in metadata.items() if n not in ("signed", "signatures")}
        return cls(cast("T", signed), signatures, unknown)

    @classmethod
    def from_file(
        cls,
        filename: str,
        deserializer: MetadataDeserializer | None = None,
        storage_backend: StorageBackendInterface | None = None,
    ) -> Metadata[T]:
        """Read metadata from a file.

        Args:
            filename: the file's name.
            deserializer: reads the wire format; None means JSON.
            storage_backend: where the file is; None means the file system.

        Raises:
            StorageError: the file cannot be read.
            DeserializationError: its content is not valid metadata.
        """
        with (storage_backend or FilesystemBackend()).get(filename) as file:
            return cls.from_bytes(file.read(), deserializer)

    @classmethod
    def from_bytes(
        cls, data: bytes, deserializer: MetadataDeserializer | None = None
    ) -> Metadata[T]:
        """Read metadata from the bytes of a file.

        Args:
            data: the bytes.
            deserializer: reads the wire format; None means JSON.

        Raises:
            DeserializationError: not valid metadata.
        """
        if deserializer is None:
            from tuf.api.serialization.json import JSONDeserializer

            deserializer = JSONDeserializer()
        return cast("Metadata[T]", deserializer.deserialize(data))

    def to_bytes(self, serializer: MetadataSerializer | None = None) -> bytes:
        """Write the bytes of a file.

        They need not be the bytes that the metadata was read from, though the signatures stay
        valid. Where hashes of the file matter, keep the bytes.

        Args:
            serializer: writes the wire format; None means JSON without white space.

        Raises:
            SerializationError: the metadata cannot be written.
        """
        if serializer is None:
            from tuf.api.serialization.json import JSONSerializer

            serializer = JSONSerializer(compact=True)
        return serializer.serialize(self)

    def to_dict(self) -> dict[str, Any]:
        """The wire form, as a new dictionary."""
        return {
            "signatures": [signature.to_dict() for signature in self.signatures.values()],
            "signed": self.signed.to_dict(),
            **self.unrecognized_fields,
        }

    def to_file(
        self,
        filename: str,
        serializer: MetadataSerializer | None = None,
        storage_backend: StorageBackendInterface | None = None,
    ) -> None:
        """Write metadata to a file.

        Args:
            filename: the file's name.
            serializer: writes the wire format; None means JSON without white space.
            storage_backend: where the file is; None means the file system.

        Raises:
            SerializationError: the metadata cannot be written.
            StorageError: the file cannot be written.
        """
        from io import BytesIO

        data = self.to_bytes(serializer)
        (storage_backend or FilesystemBackend()).put(BytesIO(data), filename)

    def sign(
        self,
        signer: Signer,
        append: bool = False,
        signed_serializer: SignedSerializer | None = None,
    ) -> Signature:
        """Sign ``signed``.

        Args:
            signer: makes the signature.
            append: keep the signatures that are there; else they are replaced.
            signed_serializer: makes the bytes to sign; None means canonical JSON.

        Returns:
            The signature, which is in ``signatures`` now.

        Raises:
            SerializationError: ``signed`` cannot be written.
            UnsignedMetadataError: the signer failed.
        """
        if signed_serializer is None:
            data = self.signed_bytes
        else:
            data = signed_serializer.serialize(self.signed)
        try:
            signature = signer.sign(data)
        except Exception as e:
            raise UnsignedMetadataError(f"Failed to sign {self.signed.type}: {e}") from e
        if not append:
            self.signatures.clear()
        self.signatures[signature.keyid] = signature
        return signature

    def verify_delegate(
        self,
        delegated_role: str,
        delegated_metadata: Metadata[Any],
        signed_serializer: SignedSerializer | None = None,
    ) -> None:
        """Check that enough keys of a role have signed its metadata.

        .. deprecated:: 3.1.0
           Use ``Root.verify_delegate`` or ``Targets.verify_delegate``.

        Args:
            delegated_role: the role's name.
            delegated_metadata: the role's metadata.
            signed_serializer: makes the bytes that are signed; None means canonical JSON.

        Raises:
            UnsignedMetadataError: fewer have than the threshold.
            ValueError: there is no such role.
            TypeError: this metadata is not one that delegates.
        """
        warnings.warn(
            "Metadata.verify_delegate is deprecated: use Root.verify_delegate or"
            " Targets.verify_delegate",
            DeprecationWarning,
            stacklevel=2,
        )
        if not isinstance(self.signed, Root | Targets):
            raise TypeError("Call is valid only on delegator metadata")
        if signed_serializer is None:
            payload = delegated_metadata.signed_bytes
        else:
            payload = signed_serializer.serialize(delegated_metadata.signed)
        self.signed.verify_delegate(delegated_role, payload, delegated_metadata.signatures)


def signatures_from_list(signatures: Any) -> dict[str, Signature]:
    """Make signatures of their wire form.

    Raises:
        ValueError, KeyError, TypeError: not valid ones, or there are too many.
    """
    check_type(signatures, list, "signatures")
    if len(signatures) > MAX_SIGNATURES:
        raise ValueError(f"{len(signatures)} signatures, where at most {MAX_SIGNATURES} may be")
    found: dict[str, Signature] = {}
    for signature in map(signature_from_dict, signatures):
        if signature.keyid in found:
            raise ValueError(f"Multiple signatures found for keyid {signature.keyid}")
        found[signature.keyid] = signature
    return found

"""How metadata becomes bytes and bytes become metadata: the abstract interfaces.

The wire format of :mod:`tuf.api.metadata` is pluggable: implement these to use another one.
:mod:`tuf.api.serialization.json` has the one that everybody uses.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

from tuf.api.exceptions import RepositoryError

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, Signed


class SerializationError(RepositoryError):
    """An object cannot be written in the wire format."""


class DeserializationError(RepositoryError):
    """Bytes are not valid metadata."""


class MetadataDeserializer(abc.ABC):
    """Makes a Metadata object of bytes."""

    @abc.abstractmethod
    def deserialize(self, raw_data: bytes) -> Metadata[Any]:
        """Make a Metadata object of ``raw_data``.

        Raises:
            DeserializationError: the bytes are not valid metadata.
        """
        raise NotImplementedError


class MetadataSerializer(abc.ABC):
    """Makes bytes of a Metadata object."""

    @abc.abstractmethod
    def serialize(self, metadata_obj: Metadata[Any]) -> bytes:
        """Make the bytes of a whole metadata file.

        Raises:
            SerializationError: the object cannot be written.
        """
        raise NotImplementedError


class SignedSerializer(abc.ABC):
    """Makes the bytes that signatures are made over."""

    @abc.abstractmethod
    def serialize(self, signed_obj: Signed) -> bytes:
        """Make the bytes to sign.

        Raises:
            SerializationError: the object cannot be written.
        """
        raise NotImplementedError

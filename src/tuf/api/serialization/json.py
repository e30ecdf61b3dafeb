"""Metadata as JSON, and the canonical JSON that is signed."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from tuf.api import _json
from tuf.api._entries import Entries, MetaShape, TargetShape
from tuf.api.metadata import SIGNED_TYPES, Metadata, Signed, Snapshot, Targets, signatures_from_list
from tuf.api.serialization import (
    DeserializationError,
    MetadataDeserializer,
    MetadataSerializer,
    SerializationError,
    SignedSerializer,
)

__all__ = [
    "CanonicalJSONSerializer",
    "DeserializationError",
    "JSONDeserializer",
    "JSONSerializer",
    "Metadata",
    "MetadataDeserializer",
    "MetadataSerializer",
    "SerializationError",
    "Signed",
    "SignedSerializer",
]


class JSONDeserializer(MetadataDeserializer):
    """Makes metadata of JSON."""

    def deserialize(self, raw_data: bytes) -> Metadata[Any]:
        """Make a Metadata object of ``raw_data``.

        Raises:
            DeserializationError: the bytes are not valid metadata.
        """
        return ReceivedFile(raw_data).metadata()


class ReceivedFile:
    """A metadata file taken apart: what is signed, still as bytes, and signatures.

    Args:
        data: the file's bytes.

    Raises:
        DeserializationError: not a JSON object with these two.
    """

    def __init__(self, data: bytes) -> None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise DeserializationError(f"metadata must be bytes, not {type(data).__name__}")
        members = _json.members(data, "metadata")
        try:
            self.signed_data = members.pop("signed")
            signatures = _json.parse(members.pop("signatures"))
            self.signatures = signatures_from_list(signatures)
        except (KeyError, ValueError, TypeError) as e:
            raise DeserializationError(f"Failed to deserialize JSON: metadata: {_said(e)}") from e
        self._unrecognized = {n: _json.parse(raw, floats=True) for n, raw in members.items()}

    def signed(self) -> Signed:
        """Make the object of what is signed.

        Raises:
            DeserializationError: it is not valid.
        """
        return signed_from_bytes(self.signed_data)

    def metadata(self) -> Metadata[Any]:
        """Make the object of the file.

        Raises:
            DeserializationError: it is not valid.
        """
        signed: Any = self.signed()
        return Metadata(signed, self.signatures, self._unrecognized)


def signed_from_bytes(data: _json.Bytes) -> Signed:
    """Make the object of what is signed.

    Raises:
        DeserializationError: it is not valid.
    """
    raw_members = _json.members(data, "signed")
    big: dict[str, Raw] = {n: raw_members.pop(n) for n in ("targets", "meta") if n in raw_members}
    members = {name: _json.parse(raw) for name, raw in raw_members.items()}
    found = members.get("_type")
    if not isinstance(found, str) or found not in SIGNED_TYPES:
        raise DeserializationError(f"unrecognized metadata type {found!r:.80}")
    for name, raw in big.items():
        if found == Targets.type and name == "targets":
            members[name] = Entries(raw, TargetShape, Targets.make_target, "targets")
        elif found == Snapshot.type and name == "meta":
            members[name] = Entries(raw, MetaShape, Snapshot.make_meta, "snapshot meta")
        else:
            members[name] = _json.parse(raw)
    try:
        return SIGNED_TYPES[found].from_dict(members)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as e:
        raise DeserializationError(f"Failed to deserialize JSON: {found}: {_said(e)}") from e


def _said(error: Exception) -> Any:
    return error.args[0] if error.args else error


class JSONSerializer(MetadataSerializer):
    """Makes JSON of metadata.

    Args:
        compact: without white space; else with line breaks and indentation.
        validate: read the result again and check that it is the same. It costs as much again.
    """

    def __init__(self, compact: bool = False, validate: bool | None = False) -> None:
        self.compact = compact
        self.validate = validate

    def serialize(self, metadata_obj: Metadata[Any]) -> bytes:
        """Make the bytes of a metadata file.

        Raises:
            SerializationError: the object cannot be written.
        """
        try:
            wire = {
                "signatures": [s.to_dict() for s in metadata_obj.signatures.values()],
                "signed": metadata_obj.signed.encodable(),
                **metadata_obj.unrecognized_fields,
            }
            data = _json.compact(wire)
        except SerializationError:
            raise
        except Exception as e:
            raise SerializationError(f"Failed to serialize JSON: {e}") from e
        if not self.compact:
            data = _json.indented(data)
        if self.validate:
            try:
                same = JSONDeserializer().deserialize(data) == metadata_obj
            except DeserializationError as e:
                raise SerializationError(f"Metadata does not validate: {e}") from e
            if not same:
                raise SerializationError("Metadata changes if you serialize and deserialize.")
        return data


class CanonicalJSONSerializer(SignedSerializer):
    """Makes the canonical JSON that is signed."""

    def serialize(self, signed_obj: Signed) -> bytes:
        """Make the bytes to sign.

        Raises:
            SerializationError: the object cannot be written.
        """
        try:
            return _json.canonical(signed_obj.encodable())
        except SerializationError:
            raise
        except Exception as e:
            raise SerializationError(f"Failed to serialize: {e}") from e

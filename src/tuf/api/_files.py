"""What metadata says of files: version, length and hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import IO, Any, ClassVar, Protocol

from tuf.api._record import Record, check_type
from tuf.api.exceptions import LengthOrHashMismatchError

# Collisions of MD5 and SHA-1 can be made: they prove nothing, and count as unknown here.
_ALGORITHMS = {
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sha3_224",
    "sha3_256",
    "sha3_384",
    "sha3_512",
    "blake2b",
    "blake2s",
}
_BLOCK = 1 << 20


class Hash(Protocol):
    """What hashlib's objects have in common."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take the next piece of content."""

    def hexdigest(self) -> str:
        """The digest of what was taken so far."""


def new_hash(algorithm: str) -> Hash:
    """A hash object for an algorithm named in metadata.

    Raises:
        ValueError: the algorithm is not known.
    """
    if algorithm == "blake2b-256":
        return hashlib.blake2b(digest_size=32)
    if algorithm not in _ALGORITHMS:
        raise ValueError(f"Unsupported algorithm {algorithm!r}")
    return hashlib.new(algorithm)


class FileVerifier:
    """Checks content against a length and hashes while it passes through.

    Hashes of unknown algorithms are left out, but at least one must be known.

    Args:
        what: whose content it is, for errors.
        length: the wanted length in bytes; None means any.
        hashes: the wanted hex digests by algorithm; None means any.

    Raises:
        LengthOrHashMismatchError: no algorithm is known.
    """

    def __init__(self, what: str, length: int | None, hashes: dict[str, str] | None) -> None:
        self.what = what
        self._length = length
        self._wanted = hashes
        self._found = 0
        self._hashes: dict[str, Hash] = {}
        for algorithm in hashes or ():
            try:
                self._hashes[algorithm] = new_hash(algorithm)
            except ValueError:
                continue
        if hashes and not self._hashes:
            names = ", ".join(map(repr, hashes))
            raise LengthOrHashMismatchError(f"{what}: Unsupported algorithm {names}")

    def update(self, data: bytes | memoryview) -> None:
        """Take the next piece of content.

        Raises:
            LengthOrHashMismatchError: the content is too long already.
        """
        self._found += len(data)
        if self._length is not None and self._found > self._length:
            self._refuse_length()
        for hash_object in self._hashes.values():
            hash_object.update(data)

    def finish(self) -> None:
        """Decide, when all content has passed.

        Raises:
            LengthOrHashMismatchError: length or a hash differs.
        """
        if self._length is not None and self._found != self._length:
            self._refuse_length()
        for algorithm, hash_object in self._hashes.items():
            found, wanted = hash_object.hexdigest(), (self._wanted or {})[algorithm]
            if found != wanted.lower():
                raise LengthOrHashMismatchError(
                    f"{self.what}: Observed hash {found} does not match expected hash {wanted}"
                    f" ({algorithm})"
                )

    def _refuse_length(self) -> None:
        raise LengthOrHashMismatchError(
            f"{self.what}: Observed length {self._found} does not match expected length"
            f" {self._length}"
        )


def _blocks(data: bytes | IO[bytes]) -> Iterable[bytes]:
    if isinstance(data, bytes | bytearray | memoryview):
        return (bytes(data),)
    data.seek(0)
    return iter(lambda: data.read(_BLOCK), b"")


def _measure(data: bytes | IO[bytes], algorithms: Iterable[str]) -> tuple[int, dict[str, str]]:
    hashes = {algorithm: new_hash(algorithm) for algorithm in algorithms}
    length = 0
    for block in _blocks(data):
        length += len(block)
        for hash_object in hashes.values():
            hash_object.update(block)
    return length, {algorithm: h.hexdigest() for algorithm, h in hashes.items()}


class BaseFile(Record):
    """What metadata files and target files have in common."""

    length: int | None
    hashes: dict[str, str] | None

    def _check(self) -> None:
        if self.length is not None:
            check_type(self.length, int, "length")
            if self.length < 0:
                raise ValueError(f"Length must be >= 0, got {self.length}")
        if self.hashes is not None:
            if not isinstance(self.hashes, dict) or not self.hashes:
                raise ValueError("Hashes must be a non empty dictionary")
            for algorithm, digest in self.hashes.items():
                if not isinstance(algorithm, str) or not isinstance(digest, str):
                    raise TypeError("Hashes items must be strings")

    def _verify(self, what: str, data: bytes | IO[bytes]) -> None:
        verifier = FileVerifier(what, self.length, self.hashes)
        for block in _blocks(data):
            verifier.update(block)
        verifier.finish()


class MetaFile(BaseFile):
    """What a snapshot or timestamp says of a metadata file.

    All parameters are attributes as well.

    Args:
        version: version of the metadata file.
        length: length in bytes; None if not said.
        hashes: hex digests by algorithm; None if not said.
        unrecognized_fields: members that the specification does not name.

    Raises:
        ValueError, TypeError: an argument is not valid.
    """

    _members: ClassVar[tuple[str, ...]] = ("version", "length", "hashes")
    _optional: ClassVar[tuple[str, ...]] = ("length", "hashes")

    def __init__(
        self,
        version: int = 1,
        length: int | None = None,
        hashes: dict[str, str] | None = None,
        unrecognized_fields: dict[str, Any] | None = None,
    ) -> None:
        check_type(version, int, "version")
        if version <= 0:
            raise ValueError(f"Metafile version must be > 0, got {version}")
        self.version = version
        self.length = length
        self.hashes = hashes
        self.unrecognized_fields = {} if unrecognized_fields is None else unrecognized_fields
        self._check()

    @classmethod
    def from_dict(cls, meta_dict: dict[str, Any]) -> MetaFile:
        """Make a ``MetaFile`` of its wire form.

        Raises:
            ValueError, KeyError, TypeError: not a valid one.
        """
        return cls._from_members(meta_dict)

    @classmethod
    def from_data(
        cls, version: int, data: bytes | IO[bytes], hash_algorithms: list[str]
    ) -> MetaFile:
        """Make a ``MetaFile`` with the length and hashes of some content.

        Args:
            version: version of the metadata file.
            data: the content.
            hash_algorithms: the hashes to compute.

        Raises:
            ValueError: an algorithm is not known, or none is given.
        """
        length, hashes = _measure(data, hash_algorithms)
        return cls(version, length, hashes)

    def verify_length_and_hashes(self, data: bytes | IO[bytes]) -> None:
        """Check content against length and hashes, as far as they are said.

        Raises:
            LengthOrHashMismatchError: it differs, or no hash algorithm is known.
        """
        self._verify("metadata file", data)


class TargetFile(BaseFile):
    """What a targets role says of a target file.

    All parameters are attributes as well.

    Args:
        length: length in bytes.
        hashes: hex digests by algorithm.
        path: target path: a URL path relative to a base URL of targets.
        unrecognized_fields: members that the specification does not name, and ``custom``.

    Raises:
        ValueError, TypeError: an argument is not valid.
    """

    _members: ClassVar[tuple[str, ...]] = ("length", "hashes")
    length: int
    hashes: dict[str, str]

    def __init__(
        self,
        length: int,
        hashes: dict[str, str],
        path: str,
        unrecognized_fields: dict[str, Any] | None = None,
    ) -> None:
        check_type(length, int, "length")
        check_type(hashes, dict, "hashes")
        check_type(path, str, "path")
        self.length = length
        self.hashes = hashes
        self.path = path
        self.unrecognized_fields = {} if unrecognized_fields is None else unrecognized_fields
        self._check()

    def _identity(self) -> Iterable[Any]:
        yield self.path
        yield from super()._identity()

    @property
    def custom(self) -> Any:
        """What the application says of the target; None if nothing. It is not interpreted here."""
        return self.unrecognized_fields.get("custom")

    @classmethod
    def from_dict(cls, target_dict: dict[str, Any], path: str) -> TargetFile:
        """Make a ``TargetFile`` of its wire form.

        Raises:
            ValueError, KeyError, TypeError: not a valid one.
        """
        return cls._from_members(target_dict, path=path)

    @classmethod
    def from_file(
        cls, target_file_path: str, local_path: str, hash_algorithms: list[str] | None = None
    ) -> TargetFile:
        """Make a ``TargetFile`` with the length and hashes of a file.

        Args:
            target_file_path: the target path.
            local_path: where the file is.
            hash_algorithms: the hashes to compute; None means sha256.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: an algorithm is not known, or the list is empty.
        """
        with open(local_path, "rb") as file:
            return cls.from_data(target_file_path, file, hash_algorithms)

    @classmethod
    def from_data(
        cls,
        target_file_path: str,
        data: bytes | IO[bytes],
        hash_algorithms: list[str] | None = None,
    ) -> TargetFile:
        """Make a ``TargetFile`` with the length and hashes of some content.

        Args:
            target_file_path: the target path.
            data: the content.
            hash_algorithms: the hashes to compute; None means sha256.

        Raises:
            ValueError: an algorithm is not known, or the list is empty.
        """
        length, hashes = _measure(data, ["sha256"] if hash_algorithms is None else hash_algorithms)
        return cls(length, hashes, target_file_path)

    def verify_length_and_hashes(self, data: bytes | IO[bytes]) -> None:
        """Check content against length and hashes.

        Raises:
            LengthOrHashMismatchError: it differs, or no hash algorithm is known.
        """
        self._verify(f"target {self.path!r}", data)

    def get_prefixed_paths(self) -> list[str]:
        """The target's URL paths in consistent snapshots, one for each hash (6.2.1)."""
        directory, slash, name = self.path.rpartition("/")
        return [f"{directory}{slash}{digest}.{name}" for digest in self.hashes.values()]

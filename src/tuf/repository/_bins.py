"""Hash bins: edits of millions of targets, sorted into bins outside of memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import IO, NamedTuple, cast

import msgspec

from tuf.api._entries import Entries, TargetShape
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import SuccinctRoles, TargetFile, Targets
from tuf.repository._seal import Sealed, keys_of
from tuf.repository._state import delegates, read_metadata
from tuf.repository.signers import Keyring

#: The edit of a target: its path, and its entry as JSON; None removes it.
Edit = tuple[str, bytes | None]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[tuple[int, str, bytes | None]])


def new_targets() -> Targets:
    """Targets without entries, ready for :func:`edit_entry`."""
    return Targets(targets=Entries.empty(TargetShape, Targets.make_target, "targets"))


def path_number(path: str) -> int:
    """The first 32 bits of the hash of a target path, which decide its bin."""
    return int.from_bytes(sha256(path.encode()).digest()[:4], "big")


class Spool:
    """Edits of targets, grouped by the beginning of the hash of their path.

    They are kept in memory up to a limit, and in temporary files from there on.
    """

    #: How many groups there are, as a power of two; one group at a time is in memory.
    _GROUP_BITS = 7
    #: How many edits are kept in memory.
    _LIMIT = 50_000

    def __init__(self) -> None:
        self._groups: list[list[tuple[int, str, bytes | None]]] = [
            [] for _ in range(1 << self._GROUP_BITS)
        ]
        self._files: list[IO[bytes]] = []
        self._in_memory = 0

    def close(self) -> None:
        """Delete the temporary files."""
        for file in self._files:
            file.close()

    def add(self, path: str, entry: bytes | None) -> None:
        """Add an edit. A later one of the same path takes its place."""
        number = path_number(path)
        self._groups[number >> (32 - self._GROUP_BITS)].append((number, path, entry))
        self._in_memory += 1
        if self._in_memory > self._LIMIT:
            self._spill()

    def _spill(self) -> None:
        if not self._files:
            self._files = [tempfile.TemporaryFile() for _ in self._groups]  # noqa: SIM115
        for group, file in zip(self._groups, self._files, strict=True):
            data = _encoder.encode(group)
            file.write(len(data).to_bytes(8, "big"))
            file.write(data)
            group.clear()
        self._in_memory = 0

    def groups(self) -> Iterator[tuple[range, list[tuple[int, str, bytes | None]]]]:
        """The groups in order: their path numbers, and their edits in the order they were made."""
        size = 1 << (32 - self._GROUP_BITS)
        for i, recent in enumerate(self._groups):
            edits = []
            if self._files:
                file = self._files[i]
                file.seek(0)
                while head := file.read(8):
                    edits += _decoder.decode(file.read(int.from_bytes(head, "big")))
            yield range(i * size, (i + 1) * size), [*edits, *recent]

    def edits(self) -> Iterator[Edit]:
        """All edits, in an order that keeps those of one path in order."""
        for _, edits in self.groups():
            for _, path, entry in edits:
                yield path, entry

    def by_bin(
        self, bins: SuccinctRoles, everything: bool, names: Iterable[str] = ()
    ) -> Iterator[list[tuple[str, list[Edit]]]]:
        """Bins and their edits, some at a time.

        Args:
            bins: the bins.
            everything: name also the bins that have no edits.
            names: bins to name in any case.
        """
        numbered = {int(name.rpartition("-")[2], 16) for name in names}
        shift = 32 - bins.bit_length
        waiting: dict[int, list[Edit]] = {}
        for numbers, edits in self.groups():
            for number, path, entry in edits:
                waiting.setdefault(number >> shift, []).append((path, entry))
            # With fewer bins than groups, a bin is whole only when its last group is there.
            whole = numbers.stop >> shift
            first = numbers.start >> shift
            due = {n for n in waiting if n < whole} | (numbered & set(range(first, whole)))
            wanted = range(first, whole) if everything else sorted(due)
            if batch := [(bin_name(bins, n), waiting.pop(n, [])) for n in wanted]:
                yield batch


def bin_name(bins: SuccinctRoles, number: int) -> str:
    """The name of a bin."""
    return f"{bins.name_prefix}-{number:0{bins.suffix_len}x}"


class BinWork(NamedTuple):
    """One bin to make: what it is, and what is to become of it."""

    role: str
    #: the file it has; None for a new one
    file: bytes | None
    version: int
    edits: list[Edit]


@dataclass(frozen=True)
class BinMaker:
    """Makes and signs bins. It can be sent to another process.

    Args:
        before: who delegates to the bins as they are; None to forget what they have.
        delegator: who delegates to the bins that are made.
        keyring: the keys to sign with.
        expires: when the bins expire.
        names: bins that get new versions in any case.
        all: all bins do.
    """

    before: Targets | None
    delegator: Targets
    keyring: Keyring
    expires: datetime
    names: frozenset[str]
    all: bool

    def __call__(self, works: list[BinWork]) -> list[tuple[str, int, bytes]]:
        """Make bins.

        Returns:
            For each bin that changes: role, version, file.

        Raises:
            RepositoryError: a bin is not valid, or not signed by whom it should be.
            UnsignedMetadataError: not enough keys are here.
        """
        made: list[tuple[str, int, bytes]] = []
        for work in works:
            targets = self._targets(work)
            changed = self.all or work.role in self.names
            for path, entry in work.edits:
                changed |= edit_entry(targets, path, entry)
            if not changed:
                continue
            targets.version, targets.expires = work.version, self.expires
            sealed = Sealed(targets)
            sealed.sign(self.keyring, keys_of(self.delegator, work.role))
            # All bins have the same keys: to verify the first of a batch shows that they are right.
            threshold = self.delegator.get_delegated_role(work.role).threshold
            missing = threshold - len(sealed.signatures)
            if missing > 0 or (not made and sealed.missing(self.delegator, work.role)):
                raise UnsignedMetadataError(
                    f"{work.role} needs {threshold} signatures; the keys here make"
                    f" {len(sealed.signatures)}"
                )
            made.append((work.role, work.version, sealed.file()))
        return made

    def _targets(self, work: BinWork) -> Targets:
        if work.file is None or self.before is None or not delegates(self.before, work.role):
            return new_targets()
        metadata, received = read_metadata(work.file, Targets, work.role)
        self.before.verify_received(work.role, received, metadata.signatures)
        return metadata.signed


def edit_entry(targets: Targets, path: str, entry: bytes | None) -> bool:
    """Set or remove a target; tell whether that changes anything."""
    entries = cast("Entries[TargetFile]", targets.targets)
    if entry is not None:
        return entries.put(path, entry)
    if path not in entries:
        return False
    del entries[path]
    return True

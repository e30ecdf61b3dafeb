"""A repository copied into a store: all of it is verified as a client does it (5.3 to 5.7)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple, Protocol

from tuf.api._json import Received
from tuf.api._verification import Delegator
from tuf.api.exceptions import (
    BadVersionNumberError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import (
    TOP_LEVEL_ROLE_NAMES,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.repository._state import (
    TIMESTAMP,
    M,
    MissingMetadata,
    RootChain,
    metadata_name,
    read_metadata,
)
from tuf.repository.store import Content, LocalFile, Store, WriteNothing, check_name

# How many files, or bytes of them, are brought to the disk together.
_BATCH = 64
_BATCH_BYTES = 64 << 20
_FIRST = metadata_name("root", 1)
# The largest files that are taken, in bytes, where no metadata says how long they are.
_MAX_SMALL = 1 << 20  # root, timestamp
_MAX_METADATA = 256 << 20


@dataclass(frozen=True)
class Copied:
    """What was copied.

    Args:
        versions: the version of each role that is new in the store.
        targets: how many targets were listed by the roles that are new, and have their files.
        missing: target paths that those roles list, and whose files the source does not have.
    """

    versions: dict[str, int] = field(default_factory=dict)
    targets: int = 0
    missing: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.versions)


class Source(Protocol):
    """Where a repository is copied from."""

    def metadata(self, name: str, limit: int) -> bytes | None:
        """A metadata file of at most ``limit`` bytes; None if it is not there."""

    def target(self, name: str, target: TargetFile) -> LocalFile | None:
        """A target file, as a local one; None if it is not there."""

    def release(self) -> None:
        """The local files are not needed any more."""


class _Signed(NamedTuple):
    """A top-level role's metadata as somebody sees it."""

    role: str
    metadata: Metadata[Any]
    received: Received

    def accepted_by(self, root: Root) -> bool:
        try:
            root.verify_received(self.role, self.received, self.metadata.signatures)
        except UnsignedMetadataError:
            return False
        return True


class _Step(NamedTuple):
    """A targets role that is to be visited."""

    role: str
    delegator: Delegator
    #: Whether the delegator is the one that the store has already.
    same: bool


class _RootsOf(WriteNothing):
    """The roots that a store has, and after them those of a source."""

    def __init__(self, store: Store, source: Source, first: bytes | None) -> None:
        super().__init__(store)
        self._source = source
        self._first = first
        self.new: list[tuple[str, bytes]] = []

    def read(self, name: str) -> bytes | None:
        data = super().read(name)
        if data is None:
            data = self._first if name == _FIRST else None
            data = data or self._source.metadata(name.removeprefix("metadata/"), _MAX_SMALL)
            if data is not None:
                self.new.append((name, data))
        return data


class Copier:
    """Copies what is new in a source, with the timestamp last.

    Args:
        source: the repository to copy.
        store: where it goes; empty, or with an earlier copy.
        root: root version 1; None trusts the source's.
        now: the time that expiry counts from; None lets expired metadata pass.
        everything: look at all roles and target files, not only at those that are new.
        consistent: refuse a repository without consistent snapshots.
    """

    def __init__(
        self,
        source: Source,
        store: Store,
        root: bytes | None,
        now: datetime | None,
        everything: bool = False,
        consistent: bool = False,
    ) -> None:
        self._source = source
        self._store = store
        self._first = root
        self._now = now
        self._everything = everything
        self._must_be_consistent = consistent
        self._versions: dict[str, int] = {}
        self._targets = 0
        self._missing: list[str] = []
        self._there: set[str] | None = None

    def copy(self) -> Copied:
        """Copy.

        Raises:
            RepositoryError: what is in the source or in the store is not acceptable.
            Conflict: somebody else wrote to the store.
        """
        known, new_roots, roots = self._roots()
        root = roots[-1]
        self._check_expiry("root", root)  # 5.3.10
        self._consistent = bool(root.consistent_snapshot)
        if self._must_be_consistent and not self._consistent:
            raise RepositoryError(f"root version {root.version} says no consistent snapshots")
        old_data = self._store.read(TIMESTAMP)
        old = [] if old_data is None else self._online_in_store(old_data)
        data = self._read("timestamp.json", _MAX_SMALL)
        timestamp = self._verified(data, Timestamp, "timestamp", root)
        self._check_timestamp(timestamp.metadata.signed, data, old, old_data, root)
        # A copy has its snapshot when it has the rest; what was made in place may not have it.
        if data == old_data and len(old) > 1 and not new_roots and not self._everything:
            return Copied()
        snapshot_data, snapshot = self._top_level(
            "snapshot", Snapshot, timestamp.metadata.signed.snapshot_meta, root
        )
        before = self._check_snapshot(snapshot.metadata.signed, old, root)
        same_root = not new_roots and not self._everything
        files = self._walk(snapshot.metadata.signed, before, root, same_root)
        for first in files:
            self._create(_batch(chain([first], files)))
            self._source.release()
        self._create(
            self._metadata_file("snapshot", snapshot.metadata.signed.version, snapshot_data)
        )
        new = [timestamp, snapshot, self._seen_targets]
        self._expose(roots[len(known) - 1 if known else 0 :], new_roots, old, new, old_data, data)
        return Copied(self._versions, self._targets, tuple(self._missing))

    # Roots.

    def _roots(self) -> tuple[list[Root], list[tuple[str, bytes]], list[Root]]:
        """The roots in the store, the files of the new ones, and all."""
        known = list(RootChain(self._store).update())
        if known and self._first not in (None, self._store.read(_FIRST)):
            raise RepositoryError("root version 1 in the store is another than the one given")
        both = _RootsOf(self._store, self._source, self._first)
        roots = RootChain(both).update()
        if not roots:
            raise MissingMetadata("1.root.json is not there")
        return known, both.new, list(roots)

    # Timestamp and snapshot.

    def _read(self, name: str, limit: int) -> bytes:
        data = self._source.metadata(name, limit)
        if data is None:
            raise MissingMetadata(f"{name} is not there")
        return data

    def _verified(self, data: bytes, kind: type[M], role: str, delegator: Delegator) -> _Signed:
        metadata, received = read_metadata(data, kind, role)
        delegator.verify_received(role, received, metadata.signatures)
        if role in TOP_LEVEL_ROLE_NAMES:
            self._check_expiry(role, metadata.signed)  # 5.4.4, 5.5.6, 5.6.5
        return _Signed(role, metadata, received)

    def _check_expiry(self, role: str, signed: Any) -> None:
        if self._now is not None and signed.is_expired(self._now):
            raise ExpiredMetadataError(f"{role} expired at {signed.expires:%Y-%m-%d %H:%M} UTC")

    def _online_in_store(self, data: bytes) -> list[_Signed]:
        """What the store's timestamp leads to, as far as it is there; verified when it counts."""
        timestamp, received = read_metadata(data, Timestamp, "timestamp in the store")
        found = [_Signed("timestamp", timestamp, received)]
        meta = timestamp.signed.snapshot_meta
        snapshot_data = self._store.read(metadata_name("snapshot", meta.version))
        if snapshot_data is None:
            return found
        snapshot, received = read_metadata(snapshot_data, Snapshot, "snapshot in the store")
        found.append(_Signed("snapshot", snapshot, received))
        version = snapshot.signed.meta["targets.json"].version
        targets_data = self._store.read(metadata_name("targets", version))
        if targets_data is not None:
            targets, received = read_metadata(targets_data, Targets, "targets in the store")
            found.append(_Signed("targets", targets, received))
        return found

    def _check_timestamp(
        self,
        new: Timestamp,
        data: bytes,
        old: list[_Signed],
        old_data: bytes | None,
        root: Root,
    ) -> None:
        """Refuse a timestamp that goes back (5.4.3).

        One whose key is not trusted any more does not count: versions may have to go back after
        somebody who stole the key let them run ahead (5.3.11).
        """
        if not old or not old[0].accepted_by(root):
            return
        before: Timestamp = old[0].metadata.signed
        _check_version("timestamp", before.version, new.version)
        _check_version("snapshot", before.snapshot_meta.version, new.snapshot_meta.version)
        if before.version == new.version and data != old_data:
            raise BadVersionNumberError(
                f"timestamp version {new.version} of the source is another than the store's"
            )

    def _check_snapshot(self, new: Snapshot, old: list[_Signed], root: Root) -> dict[str, MetaFile]:
        """Refuse a snapshot in which a role goes back or is gone (5.5.5).

        Returns:
            What the store's snapshot says of roles; nothing, if it does not count any more.
        """
        if len(old) < 2 or not all(signed.accepted_by(root) for signed in old[:2]):
            return {}
        before = dict(old[1].metadata.signed.meta.items())
        for name, meta in before.items():
            found = new.meta.get(name)
            if found is None:
                raise RepositoryError(f"{name} is in the store's snapshot, and not in the new one")
            _check_version(name.removesuffix(".json"), meta.version, found.version)
        return before

    def _top_level(
        self, role: str, kind: type[M], meta: MetaFile, delegator: Delegator
    ) -> tuple[bytes, _Signed]:
        """Metadata that other metadata names: from the store, if it is there, or the source."""
        name = metadata_name(role, meta.version)
        data = self._store.read(_checked_name(name))
        if data is None:
            plain = name.removeprefix("metadata/") if self._consistent else f"{role}.json"
            data = self._read(plain, meta.length or _MAX_METADATA)
        try:
            meta.verify_length_and_hashes(data)
        except LengthOrHashMismatchError as e:
            raise LengthOrHashMismatchError(f"{role} version {meta.version}: {e}") from e
        signed = self._verified(data, kind, role, delegator)
        if signed.metadata.signed.version != meta.version:
            raise BadVersionNumberError(
                f"{role} is version {signed.metadata.signed.version}, wanted {meta.version}"
            )
        return data, signed

    # Targets roles.

    def _walk(
        self, snapshot: Snapshot, before: dict[str, MetaFile], root: Root, same_root: bool
    ) -> Iterator[tuple[str, Content]]:
        """The files of all roles that are new, delegators first, and of what they list."""
        waiting = deque([_Step("targets", root, same_root)])
        seen = {"targets"}
        while waiting:
            role, delegator, same = waiting.popleft()
            meta = snapshot.meta.get(f"{role}.json")
            if meta is None:
                if role == "targets":
                    raise RepositoryError("targets is not in the snapshot")
                continue  # it is delegated to, and has published nothing yet
            same = same and before.get(f"{role}.json") == meta
            if same and role != "targets":
                there = self._store.read(_checked_name(metadata_name(role, meta.version)))
                if there is not None and b'"delegations"' not in there:
                    continue  # it was copied, and leads nowhere
            data, signed = self._top_level(role, Targets, meta, delegator)
            if role == "targets":
                self._seen_targets = signed
            targets: Targets = signed.metadata.signed
            if not same:
                for path in targets.targets:
                    yield from self._target_files(targets.targets[path])
                yield from self._metadata_file(role, meta.version, data)
            for name in _delegated(targets):
                if name not in seen:
                    seen.add(name)
                    waiting.append(_Step(name, targets, same))

    def _metadata_file(self, role: str, version: int, data: bytes) -> Iterator[tuple[str, Content]]:
        name = metadata_name(role, version)
        if self._store.read(name) is None:
            self._versions[role] = version
            yield name, data

    def _target_files(self, target: TargetFile) -> Iterator[tuple[str, Content]]:
        """A target's file, under the names of consistent snapshots (6.2)."""
        names = target.get_prefixed_paths()
        try:
            for name in names:
                check_name(f"targets/{name}")
        except ValueError:
            self._missing.append(target.path)  # it cannot have a file here
            return
        if self._there is None:
            self._there = {info.name for info in self._store.list("targets/")}
        wanted = [f"targets/{name}" for name in names if f"targets/{name}" not in self._there]
        if not wanted:
            self._targets += 1
            return
        for source in names if self._consistent else [target.path]:
            file = self._source.target(source, target)
            if file is not None:
                self._targets += 1
                self._there.update(wanted)
                yield from ((name, file) for name in wanted)
                return
        self._missing.append(target.path)

    # Writing.

    def _create(self, files: Iterator[tuple[str, Content]]) -> None:
        """Write files; what is there already must be the same."""
        contents: dict[str, bytes] = {}

        def remembered() -> Iterator[tuple[str, Content]]:
            for name, content in files:
                if isinstance(content, bytes):
                    contents[name] = content
                yield name, content

        for name in self._store.create_many(remembered()):
            if name in contents and self._store.read(name) != contents[name]:
                raise RepositoryError(f"{name} is in the store, and another than the source's")

    def _expose(
        self,
        roots: list[Root],
        new_roots: list[tuple[str, bytes]],
        old: list[_Signed],
        new: list[_Signed],
        old_data: bytes | None,
        data: bytes,
    ) -> None:
        """Let clients see it: new roots and the timestamp, in the order that fails no client.

        With new roots first, what the store has must do for them until the timestamp is swapped.
        With the timestamp first, it must do for the roots before. If keys were replaced in a way
        that permits neither, the two follow each other at once.
        """
        timestamp_first = (
            bool(old)
            and not all(signed.accepted_by(root) for signed in old for root in roots[1:])
            and all(signed.accepted_by(root) for signed in new for root in roots)
        )
        if not timestamp_first:
            self._create_roots(new_roots)
        if data != old_data:
            self._store.swap(TIMESTAMP, old_data, data)
            self._versions["timestamp"] = new[0].metadata.signed.version
        if timestamp_first:
            self._create_roots(new_roots)

    def _create_roots(self, files: list[tuple[str, bytes]]) -> None:
        # One by one: who sees a root sees those before it.
        for name, data in files:
            self._create(iter([(name, data)]))
            self._versions["root"] = int(name.removeprefix("metadata/").partition(".")[0])


def _batch(files: Iterator[tuple[str, Content]]) -> Iterator[tuple[str, Content]]:
    """The next files. It takes none from the rest, which may be made while it is taken."""
    size = 0
    for count, (name, content) in enumerate(files, 1):
        yield name, content
        size += len(content) if isinstance(content, bytes) else content.length
        if count >= _BATCH or size >= _BATCH_BYTES:
            return


def _check_version(role: str, before: int, found: int) -> None:
    if found < before:
        raise BadVersionNumberError(f"{role} is version {found}, the store has {before}")


def _checked_name(name: str) -> str:
    try:
        return check_name(name)
    except ValueError as e:
        raise RepositoryError(str(e)) from e


def _delegated(targets: Targets) -> Iterator[str]:
    """The roles that a targets role delegates to."""
    delegations = targets.delegations
    if delegations is None:
        return
    if delegations.succinct_roles is not None:
        yield from delegations.succinct_roles.get_roles()
    else:
        yield from delegations.roles or ()

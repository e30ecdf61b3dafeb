"""A repository as far as it does not matter where its metadata is kept and who signs it."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    Targets,
    Timestamp,
    UnsignedMetadataError,
)

S = TypeVar("S", bound=Signed)


class AbortEdit(Exception):
    """Raised in the body of an edit, ends the edit: nothing is closed, and nothing fails."""


class Repository(ABC):
    """Edits of metadata, and the snapshots and timestamps that they ask for.

    A subclass says in :meth:`open` and :meth:`close` where metadata is kept, how its versions
    and expiry are set, and who signs it. For :meth:`do_snapshot` it also says what metadata there
    is, in :attr:`targets_infos`; for :meth:`do_timestamp`, in :attr:`snapshot_info`.

    Whatever these raise passes through all other methods.
    """

    @abstractmethod
    def open(self, role: str) -> Metadata[Any]:
        """Return the current metadata of a role, which the caller may change.

        A role that has no metadata gets its first, which may have any version that ``close``
        can deal with.

        Args:
            role: the role's name: ``root``, ``timestamp``, ``snapshot``; all others are targets.
        """
        raise NotImplementedError

    @abstractmethod
    def close(self, role: str, md: Metadata[Any]) -> None:
        """Make metadata that was opened and changed the role's next version.

        It is the subclass that sets version and expiry, signs, and writes.

        Args:
            role: the role's name.
            md: what ``open`` returned, changed.
        """
        raise NotImplementedError

    @property
    def targets_infos(self) -> dict[str, MetaFile]:
        """What the next snapshot is to say of each targets metadata, by file name: ``ROLE.json``.

        Raises:
            NotImplementedError: the subclass does not have it, and can't use ``do_snapshot``.
        """
        raise NotImplementedError

    @property
    def snapshot_info(self) -> MetaFile:
        """What the next timestamp is to say of the snapshot.

        Raises:
            NotImplementedError: the subclass does not have it, and can't use ``do_timestamp``.
        """
        raise NotImplementedError

    @contextmanager
    def edit(self, role: str) -> Generator[Signed, None, None]:
        """Let the body of a ``with`` statement change the metadata of a role; then close it.

        If the body raises, nothing is closed. :class:`AbortEdit` goes no further.

        Args:
            role: the role's name.
        """
        md = self.open(role)
        with suppress(AbortEdit):
            yield md.signed
            self.close(role, md)

    @contextmanager
    def edit_root(self) -> Generator[Root, None, None]:
        """Edit the root, as :meth:`edit` does.

        Raises:
            TypeError: what ``open`` returns is not root metadata.
        """
        with self.edit("root") as signed:
            yield _checked(signed, Root, "root")

    @contextmanager
    def edit_timestamp(self) -> Generator[Timestamp, None, None]:
        """Edit the timestamp, as :meth:`edit` does.

        Raises:
            TypeError: what ``open`` returns is not timestamp metadata.
        """
        with self.edit("timestamp") as signed:
            yield _checked(signed, Timestamp, "timestamp")

    @contextmanager
    def edit_snapshot(self) -> Generator[Snapshot, None, None]:
        """Edit the snapshot, as :meth:`edit` does.

        Raises:
            TypeError: what ``open`` returns is not snapshot metadata.
        """
        with self.edit("snapshot") as signed:
            yield _checked(signed, Snapshot, "snapshot")

    @contextmanager
    def edit_targets(self, rolename: str = "targets") -> Generator[Targets, None, None]:
        """Edit the metadata of a targets role, as :meth:`edit` does.

        Args:
            rolename: the role's name.

        Raises:
            TypeError: what ``open`` returns is not targets metadata.
        """
        with self.edit(rolename) as signed:
            yield _checked(signed, Targets, rolename)

    def root(self) -> Root:
        """Return the current root, to look at.

        Raises:
            TypeError: what ``open`` returns is not root metadata.
        """
        return _checked(self.open("root").signed, Root, "root")

    def timestamp(self) -> Timestamp:
        """Return the current timestamp, to look at.

        Raises:
            TypeError: what ``open`` returns is not timestamp metadata.
        """
        return _checked(self.open("timestamp").signed, Timestamp, "timestamp")

    def snapshot(self) -> Snapshot:
        """Return the current snapshot, to look at.

        Raises:
            TypeError: what ``open`` returns is not snapshot metadata.
        """
        return _checked(self.open("snapshot").signed, Snapshot, "snapshot")

    def targets(self, rolename: str = "targets") -> Targets:
        """Return the current metadata of a targets role, to look at.

        Args:
            rolename: the role's name.

        Raises:
            TypeError: what ``open`` returns is not targets metadata.
        """
        return _checked(self.open(rolename).signed, Targets, rolename)

    def do_snapshot(self, force: bool = False) -> tuple[bool, dict[str, MetaFile]]:
        """Make a new snapshot if one is due (6.3.2).

        It is due if targets metadata is new or has a higher version, or if too few of the keys
        that the root names have signed the current snapshot. A role that is not reported any more
        stays in the snapshot, as clients want (5.5.5).

        Args:
            force: make one in any case.

        Returns:
            Whether a snapshot was made, and what the one before said of the targets metadata that
            has a higher version now, by file name. Those files are superseded.

        Raises:
            NotImplementedError: the repository has no ``targets_infos``.
            ValueError: the version of targets metadata went back.
        """
        due = force
        superseded = {}
        with self.edit_snapshot() as snapshot:
            versions = snapshot.versions()
            for name, info in self.targets_infos.items():
                if not _is_higher(info, versions.get(name, 0), name, "snapshot"):
                    continue
                if name in versions:
                    superseded[name] = snapshot.meta[name]
                due = True
                snapshot.meta[name] = copy.deepcopy(info)
            # Only where nothing else tells is it worth reading the snapshot again.
            due = due or not _is_signed(self, "snapshot")
            if not due:
                raise AbortEdit("snapshot: nothing changed")
        return due, superseded

    def do_timestamp(self, force: bool = False) -> tuple[bool, MetaFile | None]:
        """Make a new timestamp if one is due (6.3.3).

        It is due if the snapshot has a higher version, or if too few of the keys that the root
        names have signed the current timestamp.

        Args:
            force: make one in any case.

        Returns:
            Whether a timestamp was made, and what the one before said of the snapshot if that has
            a higher version now, else None. That file is superseded.

        Raises:
            NotImplementedError: the repository has no ``snapshot_info``.
            ValueError: the version of the snapshot went back.
        """
        due = force
        superseded = None
        with self.edit_timestamp() as timestamp:
            info = self.snapshot_info
            if _is_higher(info, timestamp.snapshot_meta.version, "snapshot.json", "timestamp"):
                due = True
                superseded = timestamp.snapshot_meta
                timestamp.snapshot_meta = copy.deepcopy(info)
            due = due or not _is_signed(self, "timestamp")
            if not due:
                raise AbortEdit("timestamp: nothing changed")
        return due, superseded


# Not methods: subclasses may have methods of any name.


def _checked(signed: Signed, kind: type[S], role: str) -> S:
    if not isinstance(signed, kind):
        raise TypeError(f"{role} is {signed.type} metadata, wanted {kind.type}")
    return signed


def _is_higher(info: MetaFile, current: int, name: str, role: str) -> bool:
    """Whether a version went up; refuse one that went back."""
    if info.version < current:
        raise ValueError(
            f"version rollback: {name} is version {info.version}, {role} names {current}"
        )
    return info.version > current


def _is_signed(repository: Repository, role: str) -> bool:
    """Whether enough of the keys that the root names now have signed a role's metadata."""
    root = repository.root()
    md = repository.open(role)
    try:
        root.verify_delegate(role, md.signed_bytes, md.signatures)
    except UnsignedMetadataError:
        return False
    return True

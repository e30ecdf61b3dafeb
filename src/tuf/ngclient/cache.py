"""The local metadata: shared by processes and threads, atomic, durable.

Layout of the directory: ``ROLE.json`` for each role, ``root_history/N.root.json`` for the roots
that were trusted on the way, and ``.tuf/`` for the lock and the file that is being written.

Readers need no lock: files are replaced whole. Writers hold a lock for as long as one file takes,
not while they wait for the network, and write only what is newer than what others wrote meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator

from tuf.ngclient.local_files import (
    local_errors,
    read_file,
    replace_file,
    role_file_name,
    sync_directory,
)

logger = logging.getLogger(__name__)

#: How long to wait, in seconds, while others write.
LOCK_TIMEOUT = 60.0

_Identity = tuple[int, int, int] | None


class Cache:
    """Metadata files by role name.

    Args:
        directory: where they are; None keeps them in memory.
        version_of: reads the version that a file claims; None if it cannot.
        read_only: write nothing; new files are kept in memory.
    """

    def __init__(
        self,
        directory: str | None,
        version_of: Callable[[bytes], int | None],
        *,
        read_only: bool = False,
    ) -> None:
        self._directory = directory
        self._version_of = version_of
        self._in_memory = read_only or directory is None
        self._memory: dict[str, bytes | None] = {}
        # Which file it was that was read or written here last, by name.
        self._seen: dict[str, _Identity] = {}
        # What version a file claimed when it was last looked at, by name.
        self._versions: dict[str, tuple[_Identity, int]] = {}
        self._unsynced = False

    def read(self, role: str, version: int | None = None) -> bytes | None:
        """The file of a role, or of a version of root; None if there is none.

        Raises:
            LocalFileError: it cannot be read.
        """
        name = role_file_name(role) if version is None else _history(version)
        if name in self._memory:
            return self._memory[name]
        if self._directory is None:
            return None
        path = self._path(name)
        # In this order a file that is replaced in between counts as changed by others.
        self._seen[name] = _identity(path)
        return read_file(path)

    def write(self, role: str, version: int, data: bytes, view: tuple[int, int]) -> None:
        """Keep a verified file, unless others have got further meanwhile.

        Args:
            role: the role's name.
            version: version of the metadata.
            data: the file.
            view: the versions of root and timestamp with which it was verified.

        Raises:
            LocalFileError: it cannot be written.
        """
        name = role_file_name(role)
        names = [_history(version), name] if role == "root" else [name]
        if self._in_memory:
            self._memory.update(dict.fromkeys(names, data))
            return
        with self._locked() as directory:
            if role == "root":
                # Its history first: root.json is a root that can be reached.
                self._replace(directory, names[0], data)
                if self._is_ours(name) or self._version_on_disk(name) < version:
                    self._replace(directory, name, data)
                # A root is on the disk before anything that it vouches for.
                sync_directory(os.path.join(directory, "root_history"))
                sync_directory(directory)
            elif self._is_behind(role, view):
                logger.debug("%s version %d is not kept: others are further", name, version)
            else:
                self._replace(directory, name, data)
                self._unsynced = True

    def drop(self, role: str, root_version: int) -> None:
        """Remove a role's file, unless others have done so and gone on.

        Args:
            role: the role's name.
            root_version: version of the root that has it removed.

        Raises:
            LocalFileError: it cannot be removed.
        """
        name = role_file_name(role)
        if self._in_memory:
            self._memory[name] = None
            return
        with self._locked() as directory:
            if self._version_on_disk("root.json") < root_version:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(directory, name))
                sync_directory(directory)

    def sync(self) -> None:
        """Have all that was written on the disk.

        Raises:
            LocalFileError: it cannot be.
        """
        if self._unsynced and self._directory is not None:
            self._unsynced = False
            with local_errors("cannot sync"):
                sync_directory(self._directory)

    def _is_behind(self, role: str, view: tuple[int, int]) -> bool:
        """Whether the files on the disk belong to a newer state of the repository.

        Whoever has a newer root may also have recovered from an attack: what was verified under
        the old one could undo that.
        """
        root_version, timestamp_version = view
        if self._version_on_disk("root.json") > root_version:
            return True
        if role == "timestamp" and self._is_ours("timestamp.json"):
            return False  # it was judged, and found to be older or not valid
        return self._version_on_disk("timestamp.json") > timestamp_version

    def _is_ours(self, name: str) -> bool:
        """Whether a file is the one that was read or written here last."""
        return _identity(self._path(name)) == self._seen.get(name)

    def _version_on_disk(self, name: str) -> int:
        """The version that a file claims; 0 if there is none."""
        identity = _identity(self._path(name))
        known, version = self._versions.get(name, (None, 0))
        if identity != known:
            data = read_file(self._path(name))
            version = (data and self._version_of(data)) or 0
            self._versions[name] = identity, version
        return version

    def _path(self, name: str) -> str:
        return os.path.join(self._directory or "", name)

    def _replace(self, directory: str, name: str, data: bytes) -> None:
        path = os.path.join(directory, name)
        # One name for what is being written: whatever a crash left there is overwritten next time.
        replace_file(path, os.path.join(directory, ".tuf", "new"), data)
        self._seen[name] = _identity(path)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[str]:
        from filelock import FileLock  # here, since an update that changes nothing needs no lock

        directory = self._directory or ""
        with local_errors(f"cannot write metadata to {directory}"):
            for name in ("root_history", ".tuf"):
                os.makedirs(os.path.join(directory, name), exist_ok=True)
            lock = FileLock(os.path.join(directory, ".tuf", "lock"), timeout=LOCK_TIMEOUT)
            with lock:
                yield directory


def _history(version: int) -> str:
    return os.path.join("root_history", f"{version}.root.json")


def _identity(path: str) -> _Identity:
    """What tells a file from the one that replaced it."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size

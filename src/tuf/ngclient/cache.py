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
        path = os.path.join(self._directory, name)
        # In this order a file that is replaced in between counts as changed by others.
        self._seen[name] = _identity(path)
        return read_file(path)

    def write(self, role: str, version: int, data: bytes, root_version: int) -> None:
        """Keep a verified file, unless others have kept something newer meanwhile.

        Args:
            role: the role's name.
            version: version of the metadata.
            data: the file.
            root_version: version of the root under which it was verified.

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
                if self._is_ours(directory, name) or (
                    (self._version_on_disk(directory, name) or 0) < version
                ):
                    self._replace(directory, name, data)
                # A root is on the disk before anything that it vouches for.
                self._sync(directory)
            elif self._is_stale(directory, name, version, root_version):
                logger.debug("%s version %d: others have a newer one", role, version)
            else:
                self._replace(directory, name, data)
                self._unsynced = True

    def drop(self, role: str) -> None:
        """Remove a role's file, unless others have written it meanwhile.

        Raises:
            LocalFileError: it cannot be removed.
        """
        name = role_file_name(role)
        if self._in_memory:
            self._memory[name] = None
            return
        with self._locked() as directory:
            path = os.path.join(directory, name)
            found = _identity(path)
            if found is not None and self._seen.get(name, found) == found:
                with local_errors("cannot remove"):
                    os.unlink(path)
                self._sync(directory)

    def sync(self) -> None:
        """Have all that was written on the disk.

        Raises:
            LocalFileError: it cannot be.
        """
        if self._unsynced and self._directory is not None:
            self._unsynced = False
            with local_errors("cannot sync"):
                sync_directory(self._directory)

    def _is_stale(self, directory: str, name: str, version: int, root_version: int) -> bool:
        # Whoever has a newer root may have recovered from an attack: what was verified under the
        # old one could undo that.
        if (self._version_on_disk(directory, "root.json") or 0) > root_version:
            return True
        if self._is_ours(directory, name):
            return False  # the update has checked the versions
        return (self._version_on_disk(directory, name) or 0) >= version

    def _is_ours(self, directory: str, name: str) -> bool:
        """Whether a file is the one that was read or written here last."""
        return _identity(os.path.join(directory, name)) == self._seen.get(name)

    def _version_on_disk(self, directory: str, name: str) -> int | None:
        data = read_file(os.path.join(directory, name))
        return None if data is None else self._version_of(data)

    def _replace(self, directory: str, name: str, data: bytes) -> None:
        path = os.path.join(directory, name)
        # One name for what is being written: whatever a crash left there is overwritten next time.
        replace_file(path, os.path.join(directory, ".tuf", "new"), data)
        self._seen[name] = _identity(path)

    def _sync(self, directory: str) -> None:
        with local_errors("cannot sync"):
            sync_directory(os.path.join(directory, "root_history"))
            sync_directory(directory)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[str]:
        from filelock import FileLock  # here, since an update that changes nothing needs no lock

        directory = self._directory or ""
        with local_errors(f"cannot lock {directory}"):
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

"""Where a repository's files are kept: on a disk, or in whatever else has these few operations."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from filelock import FileLock

from tuf.api._files import FileVerifier
from tuf.api.exceptions import StorageError

_BLOCK = 1 << 20
#: From so many files on, the file system is synced as a whole.
_MANY = 16


class FileInfo(NamedTuple):
    """A file in a store."""

    name: str
    #: in bytes
    size: int
    #: when it was written, in seconds since 1970
    modified: float


class LocalFile(NamedTuple):
    """A file that is copied into a store, if it still is what it was."""

    path: str | os.PathLike[str]
    length: int
    hashes: dict[str, str]

    def blocks(self) -> Iterator[bytes]:
        """The content.

        Raises:
            LengthOrHashMismatchError: at the end: the file was changed.
        """
        verifier = FileVerifier(f"file {os.fspath(self.path)}", self.length, self.hashes)
        with open(self.path, "rb") as file:
            while block := file.read(_BLOCK):
                verifier.update(block)
                yield block
        verifier.finish()


Content = bytes | LocalFile


class FileExists(StorageError):
    """A file that was to be created is there already."""


class Conflict(StorageError):
    """A file that was to be replaced is not any more what was read: somebody else replaced it."""


class Store(ABC):
    """Named files. A file is there as a whole or not at all, and what was written stays written.

    A name is a path of segments joined by ``/``, none of which is empty, ``.`` or ``..``, or
    begins with ``.tuf-``.

    Every method raises :class:`~tuf.api.exceptions.StorageError` when the store fails.
    """

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is no such file."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> None:
        """Write a file that is not there yet.

        Raises:
            FileExists: it is there. It stays as it was.
        """

    @abstractmethod
    def create_many(self, files: Iterable[tuple[str, Content]]) -> list[str]:
        """Write many files at once, which is cheaper than one by one.

        Args:
            files: names, and contents or local files to copy. They are taken one at a time.

        Returns:
            The names of files that were there already, and stayed as they were.
        """

    @abstractmethod
    def swap(self, name: str, old: bytes | None, new: bytes) -> None:
        """Replace a file if it still is what was read.

        Args:
            name: the file.
            old: what was read; None for no such file.
            new: the content that takes its place.

        Raises:
            Conflict: the file is not ``old``. It stays as it was.
        """

    @abstractmethod
    def list(self, prefix: str) -> Iterator[FileInfo]:
        """The files whose names begin with ``prefix``, which is empty or ends with ``/``."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""

    def clean(self, grace: float) -> None:  # noqa: B027  # most stores have nothing to do
        """Delete what writers that died left behind, if it is older than ``grace`` seconds."""


class WriteNothing(Store):
    """What another store holds, and no more: writes are forgotten.

    Args:
        store: the store to read from.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, name: str) -> bytes | None:
        """The content of a file in the other store."""
        return self._store.read(name)

    def create(self, name: str, data: bytes) -> None:
        """Forget it."""

    def create_many(self, files: Iterable[tuple[str, Content]]) -> list[str]:
        """Take all files, and forget them."""
        for _ in files:
            pass
        return []

    def swap(self, name: str, old: bytes | None, new: bytes) -> None:
        """Forget it."""

    def list(self, prefix: str) -> Iterator[FileInfo]:
        """The files in the other store."""
        return self._store.list(prefix)

    def delete(self, name: str) -> None:
        """Forget it."""


def check_name(name: str) -> str:
    """Refuse what is not the name of a file.

    Raises:
        ValueError: it is not one.
    """
    for segment in name.split("/"):
        if segment in ("", ".", "..") or segment.startswith(".tuf-") or "\0" in segment:
            raise ValueError(f"{name!r} cannot be the name of a file in a store")
    return name


class DirectoryStore(Store):
    """Files in a directory, of which ``metadata`` and ``targets`` can be served by any web server.

    Any number of processes may use it at once: there is a lock. All files, and the names they
    have, are on the disk when a method returns.

    Args:
        directory: the directory, which is made when something is written.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._root = os.path.abspath(directory)
        self._staging = os.path.join(self._root, ".tuf-staging")

    def _lock(self) -> FileLock:
        # A new one each time: one that was made before a fork is of no use after it.
        return FileLock(os.path.join(self._root, ".tuf-lock"))

    def _path(self, name: str) -> str:
        return os.path.join(self._root, *check_name(name).split("/"))

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is no such file."""
        with _errors(f"read {name}"):
            try:
                with open(self._path(name), "rb") as file:
                    return file.read()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def create(self, name: str, data: bytes) -> None:
        """Write a file that is not there yet.

        Raises:
            FileExists: it is there. It stays as it was.
        """
        if self.create_many([(name, data)]):
            raise FileExists(f"{name} is there already")

    def create_many(self, files: Iterable[tuple[str, Content]]) -> list[str]:
        """Write many files at once: one sync of the file system instead of one for each file.

        Returns:
            The names of files that were there already, and stayed as they were.
        """
        there = []
        staged: dict[str, str] = {}
        with _errors("write"):
            try:
                for name, data in files:
                    if os.path.exists(self._path(name)):
                        there.append(name)
                    else:
                        staged[name] = path = self._new_path()
                        self._stage(path, data)
                self._sync(list(staged.values()))
                there += self._expose(staged)
            finally:
                for path in staged.values():
                    _unlink(path)
        return there

    def _new_path(self) -> str:
        return os.path.join(self._staging, secrets.token_hex(8))

    def _stage(self, path: str, data: Content) -> None:
        """Write a file that has no name yet."""
        try:
            file = open(path, "xb")  # noqa: SIM115  # closed below
        except FileNotFoundError:
            _make_directory(self._staging)
            file = open(path, "xb")  # noqa: SIM115
        with file:
            if isinstance(data, bytes):
                file.write(data)
            else:
                file.writelines(data.blocks())

    def _sync(self, paths: list[str]) -> None:
        """Bring files to the disk."""
        if len(paths) >= _MANY and _sync_file_system(self._staging):
            return
        for path in paths:
            with open(path, "rb+") as file:
                os.fsync(file.fileno())

    def _expose(self, staged: dict[str, str]) -> list[str]:
        """Give names to files that are on the disk; tell which names are taken."""
        there = []
        parents = {os.path.dirname(self._path(name)) for name in staged}
        for parent in parents:
            _make_directory(parent)
        with self._lock():
            for name, path in staged.items():
                if os.path.exists(self._path(name)):
                    there.append(name)
                else:
                    os.rename(path, self._path(name))
        for parent in parents:
            _sync_directory(parent)
        return there

    def swap(self, name: str, old: bytes | None, new: bytes) -> None:
        """Replace a file if it still is what was read.

        Raises:
            Conflict: the file is not ``old``. It stays as it was.
        """
        path = self._path(name)
        with _errors(f"replace {name}"):
            staged = self._new_path()
            try:
                self._stage(staged, new)
                self._sync([staged])
                _make_directory(os.path.dirname(path))
                with self._lock():
                    if self.read(name) != old:
                        raise Conflict(f"{name} was replaced by somebody else")
                    os.replace(staged, path)
                    # Inside the lock: what others see from now on must not be lost any more.
                    _sync_directory(os.path.dirname(path))
            finally:
                _unlink(staged)

    def list(self, prefix: str) -> Iterator[FileInfo]:
        """The files whose names begin with ``prefix``, which is empty or ends with ``/``."""
        with _errors(f"list {prefix}"):
            directory = self._path(prefix.rstrip("/")) if prefix else self._root
            yield from self._walk(directory, prefix)

    def _walk(self, directory: str, prefix: str) -> Iterator[FileInfo]:
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        for entry in entries:
            if entry.name.startswith(".tuf-"):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(entry.path, f"{prefix}{entry.name}/")
            elif entry.is_file():
                with contextlib.suppress(FileNotFoundError):
                    stat = entry.stat()
                    yield FileInfo(f"{prefix}{entry.name}", stat.st_size, stat.st_mtime)

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""
        path = self._path(name)
        with _errors(f"delete {name}"), contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            _sync_directory(os.path.dirname(path))

    def clean(self, grace: float) -> None:
        """Delete what writers that died left behind, if it is older than ``grace`` seconds."""
        with _errors("clean"):
            for info in self._walk(self._staging, ""):
                if info.modified < time.time() - grace:
                    _unlink(os.path.join(self._staging, info.name))


@contextlib.contextmanager
def _errors(what: str) -> Iterator[None]:
    """Turn failures of the file system into the declared error."""
    try:
        yield
    except OSError as e:
        raise StorageError(f"cannot {what}: {e}") from e


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _make_directory(path: str) -> None:
    """Make a directory and those above it, durably."""
    if os.path.isdir(path):
        return
    _make_directory(os.path.dirname(path))
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)
        _sync_directory(os.path.dirname(path))


def _sync_directory(path: str) -> None:
    if sys.platform == "win32":
        return  # there, a directory cannot be synced
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_file_system(path: str) -> bool:
    """Sync the file system that holds ``path``; tell whether that could be done."""
    if not sys.platform.startswith("linux"):
        return False
    syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    fd = os.open(path, os.O_RDONLY)
    try:
        if syncfs(fd) != 0:
            number = ctypes.get_errno() or errno.EIO
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(fd)
    return True

"""The client's own files: whole or not there, on the disk before they have their name.

Nothing is written outside a given directory, and no link is followed in it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from hashlib import sha256
from typing import IO
from urllib.parse import quote, unquote

from tuf.api.exceptions import LocalFileError
from tuf.api.metadata import TOP_LEVEL_ROLE_NAMES

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_LONGEST_NAME = 160

#: What the names of partial target files begin with.
PART_PREFIX = ".tuf-"


@contextlib.contextmanager
def local_errors(what: str) -> Iterator[None]:
    """Turn failures of the file system into the declared error.

    Raises:
        LocalFileError: one happened.
    """
    try:
        yield
    except LocalFileError:
        raise
    except OSError as e:
        reason = e.strerror or str(e) or type(e).__name__
        raise LocalFileError(e.errno, f"{what}: {reason}", e.filename) from e


def role_file_name(role: str) -> str:
    """The name of a role's file in the cache: percent-encoded, so it stays in its directory."""
    name = quote(role, safe="")
    if role not in TOP_LEVEL_ROLE_NAMES and role.lower() in TOP_LEVEL_ROLE_NAMES:
        # Where case does not matter to the file system, it must not be another role's file.
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if len(name) > _LONGEST_NAME:
        # No file system takes it; and it is read by nobody but us.
        name = f"{name[:_LONGEST_NAME]}-{sha256(name.encode()).hexdigest()}"
    return f"{name}.json"


def target_file_name(target_path: str) -> str:
    """The name of a target's file: percent-encoded, so it stays in its directory.

    Raises:
        ValueError: no file can have that name.
    """
    name = quote(target_path, safe="", errors="surrogatepass")
    if name.startswith(PART_PREFIX):
        return f"%2E{name[1:]}"  # it must not be taken for a part
    if name in ("", ".", ".."):
        raise ValueError(f"target path {target_path!r} cannot be the name of a file")
    return name


def target_file_path(target_path: str) -> str:
    """The relative path of a target's file in subdirectories that follow the target path.

    Raises:
        ValueError: the target path has a segment that cannot be the name of a file.
    """
    parts = target_path.split("/")
    for part in parts:
        reserved = part in ("", ".", "..") or part.startswith(PART_PREFIX)
        if reserved or {"\0", "\\", ":"} & set(part):
            raise ValueError(f"target path {target_path!r} cannot be followed by directories")
    return os.path.join(*parts)


def local_target_paths(directory: str, in_subdirectories: bool) -> list[str]:
    """The target paths whose files are in a directory. Links and other files are passed over.

    Raises:
        LocalFileError: it cannot be read.
    """
    found = []
    file_name = target_file_path if in_subdirectories else target_file_name

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    with local_errors("cannot read the target directory"):
        for parent, directories, names in os.walk(directory, onerror=fail):
            if not in_subdirectories:
                directories.clear()
            for name in names:
                path = os.path.join(parent, name)
                if name.startswith(PART_PREFIX) or not stat.S_ISREG(os.lstat(path).st_mode):
                    continue
                if in_subdirectories:
                    target_path = os.path.relpath(path, directory).replace(os.sep, "/")
                else:
                    target_path = unquote(name)
                with contextlib.suppress(ValueError):
                    if os.path.join(directory, file_name(target_path)) == path:
                        found.append(target_path)
    return found


def read_file(path: str) -> bytes | None:
    """The content of a file, or None if there is none.

    Raises:
        LocalFileError: it cannot be read.
    """
    with local_errors("cannot read"):
        try:
            with open(path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None


def open_regular(path: str) -> IO[bytes] | None:
    """Open a regular file for reading; None if there is none, or it is something else or a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _BINARY | _NOFOLLOW | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return open(descriptor, "rb")


def start_writeback(file: IO[bytes], start: int, end: int) -> None:
    """Have the disk begin to write a part of a file, where that is possible; don't wait for it."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):  # a file in memory has no descriptor
            # Pages that are not needed any more are written; they are dropped once they are.
            os.posix_fadvise(file.fileno(), start, end - start, os.POSIX_FADV_DONTNEED)


def sync_directory(path: str) -> None:
    """Have the names in a directory on the disk, where the platform has that."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_below(base: str, path: str) -> bool:
    """Whether a path leads below ``base`` through directories only, and through no link."""
    relative = os.path.dirname(os.path.relpath(path, base))
    for part in filter(None, relative.split(os.sep)):
        base = os.path.join(base, part)
        try:
            if not stat.S_ISDIR(os.lstat(base).st_mode):
                return False
        except OSError:
            return False
    return True


def make_directories(base: str, relative: str) -> str:
    """Make the directories of a relative path below ``base``, following no link.

    Returns:
        The path of the last directory.

    Raises:
        LocalFileError: one of them is a link, or something else than a directory.
    """
    path = base
    with local_errors("cannot make a directory"):
        os.makedirs(base or os.curdir, exist_ok=True)
        for part in filter(None, relative.split(os.sep)):
            path = os.path.join(path, part)
            with contextlib.suppress(FileExistsError):
                os.mkdir(path)
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise NotADirectoryError(
                    errno.ENOTDIR, "not a directory, or a link, where a directory is wanted", path
                )
    return path


def replace_file(path: str, staged: str, data: bytes) -> None:
    """Give a file new content: it has the old or the new, whole, whatever happens.

    Args:
        path: the file.
        staged: where to write first, on the same file system; nobody else writes there.
        data: the new content.

    Raises:
        LocalFileError: it cannot be written.
    """
    with local_errors("cannot write"):
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _BINARY | _NOFOLLOW
            with open(os.open(staged, flags, 0o666), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(staged, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(staged)
            raise

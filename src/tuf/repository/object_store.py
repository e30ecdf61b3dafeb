"""A repository's files in an object store: S3, Google Cloud Storage, Azure, or memory."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tuf.api.exceptions import StorageError
from tuf.repository.store import Conflict, Content, FileExists, FileInfo, Store, check_name

try:
    import obstore
    from obstore import exceptions
except ImportError as e:
    raise ImportError("object stores need obstore: install tuf[cloud]") from e

#: How many files are written at the same time.
_WORKERS = 16
#: From this length on, a file is put in parts; smaller ones are in memory as a whole.
_LARGE = 16 << 20


class ObjectStore(Store):
    """Files in a bucket. The service must know conditional puts, as all the big ones do.

    ::

        from obstore.store import S3Store

        ObjectStore(S3Store("bucket", prefix="repo"))

    Args:
        bucket: a store of obstore's.
    """

    def __init__(self, bucket: Any) -> None:
        self._bucket = bucket

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is no such file."""
        return self._get(name)[0]

    def _get(self, name: str) -> tuple[bytes | None, dict[str, str]]:
        """A file's content, and what identifies that content to the service."""
        with _errors(f"read {name}"):
            try:
                result = obstore.get(self._bucket, check_name(name))
            except (exceptions.NotFoundError, FileNotFoundError):
                return None, {}
            # The exact content that was read, whatever else is put meanwhile.
            identity = {n: v for n in ("e_tag", "version") if (v := result.meta[n]) is not None}
            return bytes(result.bytes()), identity

    def create(self, name: str, data: bytes) -> None:
        """Write a file that is not there yet.

        Raises:
            FileExists: it is there. It stays as it was.
        """
        with _errors(f"create {name}"):
            try:
                obstore.put(
                    self._bucket, check_name(name), data, mode="create", use_multipart=False
                )
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as e:
                raise FileExists(f"{name} is there already") from e

    def create_many(self, files: Iterable[tuple[str, Content]]) -> list[str]:
        """Write many files, some of them at the same time.

        Returns:
            The names of files that were there already, and stayed as they were.
        """
        there = []
        running: deque[tuple[str, Future[None]]] = deque()

        def finish() -> None:
            name, future = running.popleft()
            try:
                future.result()
            except FileExists:
                there.append(name)

        with ThreadPoolExecutor(_WORKERS) as pool:
            for name, content in files:
                running.append((name, pool.submit(self._create, name, content)))
                if len(running) > 2 * _WORKERS:
                    finish()
            while running:
                finish()
        return there

    def _create(self, name: str, content: Content) -> None:
        if isinstance(content, bytes):
            self.create(name, content)
        elif content.length <= _LARGE:
            self.create(name, b"".join(content.blocks()))
        else:
            # In parts, which no service puts under a condition. Its name has its hash, so that
            # whoever else puts it puts the same.
            with _errors(f"create {name}"):
                with contextlib.suppress(exceptions.NotFoundError, FileNotFoundError):
                    obstore.head(self._bucket, check_name(name))
                    raise FileExists(f"{name} is there already")
                obstore.put(self._bucket, name, content.blocks(), use_multipart=True)

    def swap(self, name: str, old: bytes | None, new: bytes) -> None:
        """Replace a file if it still is what was read.

        Raises:
            Conflict: the file is not ``old``. It stays as it was.
        """
        found, identity = self._get(name)
        if found != old:
            raise Conflict(f"{name} was replaced by somebody else")
        mode: Any = "create" if old is None else identity
        with _errors(f"replace {name}"):
            try:
                obstore.put(self._bucket, name, new, mode=mode, use_multipart=False)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as e:
                raise Conflict(f"{name} was replaced by somebody else") from e

    def list(self, prefix: str) -> Iterator[FileInfo]:
        """The files whose names begin with ``prefix``, which is empty or ends with ``/``."""
        with _errors(f"list {prefix}"):
            for batch in obstore.list(self._bucket, prefix or None):
                for meta in batch:
                    modified = meta["last_modified"].timestamp()
                    yield FileInfo(str(meta["path"]), meta["size"], modified)

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""
        with (
            _errors(f"delete {name}"),
            contextlib.suppress(exceptions.NotFoundError, FileNotFoundError),
        ):
            obstore.delete(self._bucket, check_name(name))


@contextlib.contextmanager
def _errors(what: str) -> Iterator[None]:
    """Turn failures of the service into the declared error."""
    try:
        yield
    except exceptions.BaseError as e:
        raise StorageError(f"cannot {what}: {e}") from e

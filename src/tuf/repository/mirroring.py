"""Mirrors: a repository copied by URL, verified, only what is new."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import datetime, timezone
from urllib.parse import quote

from tuf.api.exceptions import DownloadHTTPError, DownloadLengthMismatchError
from tuf.api.metadata import TargetFile
from tuf.repository._copying import Copied, Copier
from tuf.repository.store import LocalFile, Store

#: Returns the content at a URL in chunks. Raises DownloadHTTPError for what is not there, and
#: other DownloadErrors.
Fetch = Callable[[str], Iterable[bytes]]


class URLSource:
    """A repository behind URLs.

    Args:
        metadata_url: base URL of its metadata.
        targets_url: base URL of its targets.
        fetch: how to get what is there.
    """

    def __init__(self, metadata_url: str, targets_url: str, fetch: Fetch) -> None:
        self._metadata_url = metadata_url.rstrip("/")
        self._targets_url = targets_url.rstrip("/")
        self._fetch = fetch
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._numbers = itertools.count()

    def metadata(self, name: str, limit: int) -> bytes | None:
        """A metadata file of at most ``limit`` bytes; None if it is not there."""
        try:
            return b"".join(self._chunks(f"{self._metadata_url}/{quote(name, safe='')}", limit))
        except DownloadHTTPError as e:
            _raise_unless_missing(e)
            return None

    def target(self, name: str, target: TargetFile) -> LocalFile | None:
        """A target file, in a temporary one; None if it is not there. Stores verify it."""
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="tuf-mirror-")
        path = os.path.join(self._directory.name, str(next(self._numbers)))
        try:
            with open(path, "wb") as file:
                file.writelines(self._chunks(f"{self._targets_url}/{quote(name)}", target.length))
        except DownloadHTTPError as e:
            _raise_unless_missing(e)
            return None
        return LocalFile(path, target.length, target.hashes)

    def release(self) -> None:
        """Delete the temporary files."""
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    def _chunks(self, url: str, limit: int) -> Iterator[bytes]:
        length = 0
        chunks = self._fetch(url)
        try:
            for chunk in chunks:
                length += len(chunk)
                if length > limit:
                    raise DownloadLengthMismatchError(f"{url} has more than {limit} bytes")
                yield chunk
        finally:
            if isinstance(chunks, Generator):
                chunks.close()


def _raise_unless_missing(error: DownloadHTTPError) -> None:
    if error.status_code not in (403, 404):
        raise error


def mirror(
    metadata_url: str,
    targets_url: str,
    store: Store,
    fetch: Fetch,
    root: bytes,
    *,
    now: datetime | None = None,
    everything: bool = False,
) -> Copied:
    """Copy a repository by URL into a store. To run it again copies what is new.

    All is verified as a client does it: the chain of roots, signatures, thresholds, versions that
    must not go back, expiry of the top-level roles, lengths and hashes. The timestamp is replaced
    last, so that the mirror can be served at any moment, also while this runs or if it dies.

    A repository without consistent snapshots cannot be mirrored so: import it.

    Args:
        metadata_url: base URL of the metadata.
        targets_url: base URL of the targets.
        store: where the mirror is.
        fetch: returns the content at a URL in chunks, like ``tuf.ngclient.Urllib3Fetcher().fetch``.
        root: root version 1 of the repository, from where it can be trusted.
        now: the time, in UTC; None for the present.
        everything: look at all roles and target files again, not only at roles that are new: for
            files that were missing, or that were deleted here.

    Returns:
        What was copied.

    Raises:
        RepositoryError: what is there is not acceptable. Clients of the mirror notice nothing.
        DownloadError: the repository cannot be reached.
        StorageError: the store failed, or somebody else wrote to it.
    """
    source = URLSource(metadata_url, targets_url, fetch)
    now = now or datetime.now(timezone.utc)
    try:
        return Copier(source, store, root, now, everything, consistent=True).copy()
    finally:
        source.release()

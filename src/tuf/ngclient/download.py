"""Target files (5.7): verified while they are written, and only then given their name."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from tuf.api._files import FileVerifier
from tuf.api.exceptions import (
    DownloadCancelledError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    LengthOrHashMismatchError,
    SlowRetrievalError,
)
from tuf.ngclient.fetcher import closing
from tuf.ngclient.local_files import PART_PREFIX, local_errors, start_writeback, sync_directory

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from tuf.api.metadata import TargetFile
    from tuf.ngclient.fetcher import FetcherInterface

logger = logging.getLogger(__name__)

#: Called with a target and the number of its bytes that are there.
Progress = Callable[["TargetFile", int], None]

_BLOCK = 1 << 20
#: From this size on, content is hashed and written in threads of their own.
_BIG = 1 << 20
#: How much is written before the disk is told to begin with it, so that the last sync is short.
_WRITEBACK = 32 << 20
#: How many chunks may wait to be hashed or written.
_BACKLOG = 8
#: A download that brought this much before it broke off has not used up a try.
_GOOD_PROGRESS = 1 << 20
#: From this size on, what came of a download that failed is kept for the next one.
_WORTH_KEEPING = 1 << 20
#: Seconds after which a partial file that nobody writes to is removed.
_STALE = 24 * 3600
#: Seconds after which a directory is looked through again for such files.
_SWEEP_EVERY = 3600
#: Seconds over which the transfer rate is measured.
_WINDOW = 10.0


@dataclass(frozen=True)
class Limits:
    """What a download may take.

    Args:
        min_rate: bytes per second below which a server is too slow; 0 for no such floor.
        max_seconds: how long a file may take; None for no limit.
        retries: how often a download that broke off is taken up again.
    """

    min_rate: int
    max_seconds: float | None
    retries: int


class _Pace:
    """Watches the speed of a download, whatever fetcher it comes from."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._url = url
        self._limits = limits
        self._started = time.monotonic()
        self._window: float | None = None
        self._received = 0

    def check(self, count: int) -> None:
        """Take note of bytes that arrived.

        Raises:
            SlowRetrievalError: they are too few, or it takes too long.
        """
        now = time.monotonic()
        limit = self._limits.max_seconds
        if limit is not None and now - self._started > limit:
            raise SlowRetrievalError(f"{self._url}: not complete after {limit} seconds")
        if self._window is None:
            self._window = now  # until the first byte a server may think
            return
        self._received += count
        elapsed = now - self._window
        if elapsed >= _WINDOW:
            if self._received < self._limits.min_rate * elapsed:
                raise SlowRetrievalError(
                    f"{self._url}: {self._received} bytes in {elapsed:.0f} seconds,"
                    f" wanted at least {self._limits.min_rate} a second"
                )
            self._window, self._received = now, 0


class _Lane:
    """Does one kind of work on pieces of content, in order; if threaded, beside everything else.

    Args:
        work: what to do with a piece.
        threaded: do it in a thread of its own.
    """

    def __init__(self, work: Callable[[bytes], None], threaded: bool) -> None:
        self._work = work
        self._executor: Executor | None = None
        self._pending: deque[Future[None]] = deque()
        if threaded:
            from concurrent.futures import ThreadPoolExecutor

            self._executor = ThreadPoolExecutor(1)

    def put(self, data: bytes) -> None:
        """Take the next piece. It may raise what the work on an earlier one raised."""
        if self._executor is None:
            self._work(data)
        else:
            self._pending.append(self._executor.submit(self._work, data))
            self.settle(_BACKLOG)

    def settle(self, backlog: int = 0) -> None:
        """Wait until no more pieces than that are waiting."""
        while len(self._pending) > backlog:
            self._pending.popleft().result()

    def close(self) -> None:
        """Wait for all, whatever they raise."""
        if self._executor is not None:
            self._executor.shutdown()


class Part:
    """Content on its way: what came so far, in a file, and verified as it passes.

    It is hashed and written while more is received, so it is never read again.

    Args:
        target: what it should be.
        file: where it goes; open for reading and writing, at its start.
    """

    def __init__(self, target: TargetFile, file: IO[bytes]) -> None:
        self.target = target
        self.file = file
        threaded = target.length >= _BIG
        self._hashing = _Lane(self._hash, threaded)
        self._writing = _Lane(self._write, threaded)
        self._start()

    def _start(self) -> None:
        self.offset = 0
        self._written = 0
        self._on_its_way = 0
        what = f"target {self.target.path!r}"
        self._verifier = FileVerifier(what, self.target.length, self.target.hashes)

    def _hash(self, data: bytes) -> None:
        self._verifier.update(data)

    def _write(self, data: bytes) -> None:
        with local_errors(f"cannot write target {self.target.path!r}"):
            self.file.write(data)
            self._written += len(data)
            if self._written - self._on_its_way >= _WRITEBACK:
                start_writeback(self.file, self._on_its_way, self._written)
                self._on_its_way = self._written

    def write(self, data: bytes) -> None:
        """Take the next piece, which must not make it longer than it should be."""
        self._hashing.put(data)
        self._writing.put(data)
        self.offset += len(data)

    def take_up(self) -> None:
        """Go on where the file ends, with what it holds."""
        with local_errors(f"cannot read target {self.target.path!r}"):
            while data := self.file.read(_BLOCK):
                if self.offset + len(data) > self.target.length:
                    self.restart()
                    return
                self._hashing.put(data)
                self.offset += len(data)
        self._written = self._on_its_way = self.offset

    def restart(self) -> None:
        """Forget what came so far."""
        self._hashing.settle()
        self._writing.settle()
        with local_errors(f"cannot write target {self.target.path!r}"):
            self.file.seek(0)
            self.file.truncate()
        self._start()

    def finish(self) -> None:
        """Decide, when all has come.

        Raises:
            LengthOrHashMismatchError: it is not the target.
        """
        self._writing.settle()
        self._hashing.settle()
        self._verifier.finish()

    def close(self) -> None:
        """Have done with it, but for the file."""
        self._hashing.close()
        self._writing.close()


class Downloader:
    """Downloads targets.

    Args:
        fetcher: gets bytes.
        limits: what a download may take.
    """

    def __init__(self, fetcher: FetcherInterface, limits: Limits) -> None:
        self._fetcher = fetcher
        self._limits = limits
        self._swept: dict[str, float] = {}

    def to_file(
        self,
        target: TargetFile,
        urls: Sequence[str],
        path: str,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        """Download a target into a file, which has the old content or the new one, whole.

        What came of a download that failed is kept beside it, and taken up by the next one.

        Raises:
            DownloadError: it could not be downloaded.
            LengthOrHashMismatchError: no URL has the target.
            LocalFileError: the file cannot be written.
        """
        directory = os.path.dirname(path) or os.curdir
        now = time.monotonic()
        if now - self._swept.get(directory, -_SWEEP_EVERY) >= _SWEEP_EVERY:
            self._swept[directory] = now
            _sweep(directory)
        with _replacing(path, target) as file, contextlib.closing(Part(target, file)) as part:
            part.take_up()
            self._download(part, urls, progress, cancel)

    def to_stream(
        self,
        target: TargetFile,
        urls: Sequence[str],
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> IO[bytes]:
        """Download a target into a file without a name, open at its start, whole and verified.

        Raises:
            DownloadError: it could not be downloaded.
            LengthOrHashMismatchError: no URL has the target.
        """
        return _verified(target, lambda part: self._download(part, urls, progress, cancel))

    def _download(
        self,
        part: Part,
        urls: Sequence[str],
        progress: Progress | None,
        cancel: threading.Event | None,
    ) -> None:
        """Try one URL after the other; each goes on where the one before broke off."""
        failure: Exception = DownloadError(f"target {part.target.path!r}: no URL to download from")
        for url in urls:
            try:
                mixed = part.offset > 0
                try:
                    self._download_from(url, part, progress, cancel)
                except LengthOrHashMismatchError:
                    part.restart()
                    if not mixed:
                        raise
                    # What was there before may be to blame, and not this URL.
                    self._download_from(url, part, progress, cancel)
            except DownloadCancelledError:
                raise
            except (DownloadError, LengthOrHashMismatchError) as e:
                if isinstance(e, DownloadLengthMismatchError | LengthOrHashMismatchError):
                    part.restart()
                logger.info("cannot download target %r: %s", part.target.path, e)
                failure = e
            else:
                return
        raise failure

    def _download_from(
        self,
        url: str,
        part: Part,
        progress: Progress | None,
        cancel: threading.Event | None,
    ) -> None:
        # 5.7.3: up to the number of bytes that the targets metadata names.
        pace = _Pace(url, self._limits)
        tries = 0
        while part.offset < part.target.length or part.offset == 0:
            before = part.offset
            try:
                self._receive(url, part, pace, progress, cancel)
                break
            except (
                DownloadHTTPError,
                DownloadLengthMismatchError,
                DownloadCancelledError,
                SlowRetrievalError,
            ):
                raise
            except DownloadError as e:
                tries = 0 if part.offset - before >= _GOOD_PROGRESS else tries + 1
                if tries > self._limits.retries:
                    raise
                logger.info("%s; going on at byte %d", e, part.offset)
                _pause(0.1 * 2**tries, cancel)
        part.finish()

    def _receive(
        self,
        url: str,
        part: Part,
        pace: _Pace,
        progress: Progress | None,
        cancel: threading.Event | None,
    ) -> None:
        if part.offset:
            start, chunks = self._fetcher.fetch_from(url, part.offset)
        else:
            start, chunks = 0, self._fetcher.fetch(url)
        with closing(chunks):
            if start != part.offset:
                part.restart()
            for chunk in chunks:
                if cancel is not None and cancel.is_set():
                    raise DownloadCancelledError(f"{url}: cancelled")
                pace.check(len(chunk))
                if part.offset + len(chunk) > part.target.length:
                    raise DownloadLengthMismatchError(
                        f"{url}: received more than {part.target.length} bytes,"
                        f" the length of target {part.target.path!r}"
                    )
                part.write(chunk)
                if progress is not None:
                    progress(part.target, part.offset)


def verified_copy(target: TargetFile, source: IO[bytes]) -> IO[bytes]:
    """Copy a target into a file without a name, open at its start, whole and verified.

    Raises:
        LengthOrHashMismatchError: it is not the target.
    """

    def copy(part: Part) -> None:
        while data := source.read(_BLOCK):
            part.write(data)
        part.finish()

    return _verified(target, copy)


def _verified(target: TargetFile, fill: Callable[[Part], None]) -> IO[bytes]:
    """A file without a name, filled by a function that verifies it."""
    import tempfile

    what = f"cannot write target {target.path!r}"
    file: IO[bytes]
    if target.length < _BIG:
        file = io.BytesIO()
    else:
        with local_errors(what):
            file = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
    try:
        with contextlib.closing(Part(target, file)) as part:
            fill(part)
        with local_errors(what):
            file.seek(0)
    except BaseException:
        with contextlib.suppress(OSError):  # what is still in a buffer has no place to go
            file.close()
        raise
    return file


def _pause(seconds: float, cancel: threading.Event | None) -> None:
    (cancel or threading.Event()).wait(seconds)


@contextlib.contextmanager
def _replacing(path: str, target: TargetFile) -> Iterator[IO[bytes]]:
    """A temporary file, with what an earlier download of the target left, that becomes a file.

    It does so if nothing is raised: by then it must be verified.

    Args:
        path: the file that it becomes.
        target: the target.

    Yields:
        The temporary file, open at its start.
    """
    directory = os.path.dirname(path) or os.curdir
    identity = repr((target.length, sorted(target.hashes.items()))).encode()
    left = os.path.join(directory, f"{PART_PREFIX}{hashlib.sha256(identity).hexdigest()[:32]}")
    temporary = f"{left}-{secrets.token_hex(8)}.part"
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    what = f"cannot write target {target.path!r}"
    try:
        with local_errors(what):
            with contextlib.suppress(FileNotFoundError):
                # Only one of several downloads can have it; the others begin at the start.
                os.rename(f"{left}.part", temporary)
            file = os.fdopen(os.open(temporary, flags, 0o666), "r+b")
        try:
            yield file
            with local_errors(what):
                file.flush()
                os.fsync(file.fileno())
        finally:
            with contextlib.suppress(OSError):  # what is still in a buffer has no place to go
                file.close()
        with local_errors(what):
            os.replace(temporary, path)
            sync_directory(directory)
    except DownloadError:
        with contextlib.suppress(OSError):
            if os.stat(temporary).st_size >= _WORTH_KEEPING:
                os.replace(temporary, f"{left}.part")
        raise
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _sweep(directory: str) -> None:
    """Remove partial files that nobody has written to for long."""
    with local_errors("cannot read the target directory"), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(PART_PREFIX) and entry.name.endswith(".part"):
                with contextlib.suppress(OSError):
                    age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                    if age > _STALE:
                        os.unlink(entry.path)

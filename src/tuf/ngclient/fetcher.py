"""The seam between the client and the network."""

import abc
import io
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import IO

from tuf.api.exceptions import DownloadError, DownloadLengthMismatchError


class FetcherInterface(metaclass=abc.ABCMeta):
    """How the client gets bytes. An implementation needs only ``_fetch``.

    The client may call the methods of one fetcher from several threads at once.
    """

    @abc.abstractmethod
    def _fetch(self, url: str) -> Iterator[bytes]:
        """Return the content at ``url`` in chunks.

        Any exception will do for a failure, here and while the chunks are read: the callers
        turn what is not a ``DownloadError`` into one.

        Raises:
            DownloadHTTPError: the server answered with an HTTP error status.
            SlowRetrievalError: the server took too long.
        """
        raise NotImplementedError

    def _fetch_from(self, url: str, offset: int) -> tuple[int, Iterator[bytes]]:
        """Return where the content really starts, and the content from there on, in chunks.

        The start is ``offset``, or 0 from servers and fetchers that know no ranges.
        """
        return 0, self._fetch(url)

    def fetch(self, url: str) -> Iterator[bytes]:
        """Return the content at ``url`` in chunks, as they arrive.

        Raises:
            DownloadError: the download failed, at once or while the chunks are read.
        """
        with _as_download_error(url):
            chunks = self._fetch(url)
        return _guarded(url, chunks)

    def fetch_from(self, url: str, offset: int) -> tuple[int, Iterator[bytes]]:
        """Go on with a download that broke off: like ``fetch``, from byte ``offset`` on.

        Returns the position at which the chunks start: ``offset``, or 0 if there is only the whole.

        Raises:
            DownloadError: the download failed, at once or while the chunks are read.
        """
        with _as_download_error(url):
            start, chunks = self._fetch_from(url, offset)
        return start, _guarded(url, chunks)

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        """Download ``url`` into a temporary file, open at its start.

        Leaving the context deletes the file.

        Raises:
            DownloadError: the download failed.
            DownloadLengthMismatchError: there are more than ``max_length`` bytes.
        """
        import tempfile  # here, since it costs more than the rest of this module

        with tempfile.TemporaryFile() as file:
            with closing(self._at_most(url, max_length)) as chunks:
                for chunk in chunks:
                    file.write(chunk)
            file.seek(0)
            yield file

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Download ``url`` into memory.

        Raises:
            DownloadError: the download failed.
            DownloadLengthMismatchError: there are more than ``max_length`` bytes.
        """
        # BytesIO grows in place and gives its own memory away: joined chunks would be held twice.
        content = io.BytesIO()
        with closing(self._at_most(url, max_length)) as chunks:
            for chunk in chunks:
                content.write(chunk)
        return content.getvalue()

    def _at_most(self, url: str, max_length: int) -> Iterator[bytes]:
        received = 0
        with closing(self.fetch(url)) as chunks:
            for chunk in chunks:
                received += len(chunk)
                if received > max_length:
                    raise DownloadLengthMismatchError(
                        f"{url}: received {received} bytes, wanted at most {max_length}"
                    )
                yield chunk


@contextmanager
def closing(chunks: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
    """Have done with chunks that may not have been read to the end, and with their connection."""
    try:
        yield chunks
    finally:
        if isinstance(chunks, Generator):
            chunks.close()


@contextmanager
def _as_download_error(url: str) -> Iterator[None]:
    try:
        yield
    except DownloadError:
        raise
    except Exception as e:
        raise DownloadError(f"{url}: {str(e) or type(e).__name__}") from e


def _guarded(url: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    with _as_download_error(url):
        yield from chunks

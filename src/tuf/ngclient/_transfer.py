"""HTTP with a bound on every wait, in seconds and in bytes.

urllib3 and requests bound single reads of a socket, which a server that sends a byte now and then
never exceeds, and they read the bodies of redirects and errors to the end, however long. So here
the socket itself is watched, below both libraries: ``Transfer`` holds the bounds of a request,
and ``_Wire`` keeps them.
"""

import abc
import contextlib
import http.client
import io
import ssl
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError
from tuf.ngclient.fetcher import FetcherInterface

if TYPE_CHECKING:
    import socket

    from _typeshed import WriteableBuffer

MAX_REDIRECTS: Final = 10
POOL_SIZE: Final = 32  # connections to a host that are kept open

# Most bytes read for a status and headers; for a body that nobody asked for, of a redirect or an
# error, which is read only to use its connection again; and for the framing around a chunk.
_MAX_HEAD: Final = 1 << 18
_MAX_DRAIN: Final = 1 << 16
_MAX_FRAMING: Final = 1 << 18

_BUFFER: Final = 1 << 16  # headers and a small body come in one read

_current: ContextVar["Transfer"] = ContextVar("_current")


class Transfer:
    """The bounds of one request, from its first connection to the last byte of its body.

    ``allowance`` is the number of bytes that may still be read until somebody grants more.
    """

    def __init__(
        self,
        url: str,
        socket_timeout: float,
        min_rate: int,
        rate_window: float,
        max_seconds: float | None,
    ) -> None:
        self.url = url
        self.allowance = _MAX_HEAD
        self._socket_timeout = socket_timeout
        self._min_rate = min_rate
        self._rate_window = rate_window
        self._max_seconds = max_seconds
        self._started = monotonic()
        self.expect_response()

    def expect_response(self) -> None:
        self.allowance = _MAX_HEAD
        # The floor is for what flows: until the first byte a server may think.
        self._flows = False
        self._waited = 0.0
        self._received = 0

    def patience(self) -> tuple[float, SlowRetrievalError]:
        """Return how many seconds the next wait may last, and the error if it lasts longer."""
        seconds: float = self._socket_timeout
        reason = f"nothing for {self._socket_timeout} seconds"
        if self._min_rate and self._flows:
            # A window that has its bytes lets the wait go on through the next window.
            windows = 2 if self._window_is_full() else 1
            left = windows * self._rate_window - self._waited
            if left < seconds:
                seconds = left
                reason = (
                    f"{self._received} bytes in {windows * self._rate_window} seconds, "
                    f"wanted at least {self._min_rate} a second"
                )
        if self._max_seconds is not None:
            left = self._started + self._max_seconds - monotonic()
            if left < seconds:
                seconds = left
                reason = f"not complete after {self._max_seconds} seconds"
        error = SlowRetrievalError(f"{self.url}: {reason}")
        if seconds <= 0:
            raise error
        return seconds, error

    def account(self, count: int, seconds: float) -> None:
        """Note that ``count`` bytes came after a wait of so many seconds."""
        self.allowance -= count
        if self._flows:
            self._waited += seconds
        self._flows = True
        self._received += count
        if self._waited >= self._rate_window and self._window_is_full():
            self._waited = 0.0
            self._received = 0

    def _window_is_full(self) -> bool:
        return self._received >= self._min_rate * self._rate_window


class _Wire(io.RawIOBase):
    """The bytes of a socket, within the bounds of a transfer.

    Args:
        sock: what to read. Its time-out is left at the last one set.
        hold: a file of the socket; the socket stays open until this is closed.
        transfer: the bounds.
    """

    def __init__(self, sock: "socket.socket", hold: BinaryIO, transfer: Transfer) -> None:
        self._sock = sock
        self._hold = hold
        self._transfer = transfer
        self._error: OSError | None = None

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._hold.close()
        super().close()

    def readinto(self, buffer: "WriteableBuffer") -> int:
        if self._error is not None:
            raise self._error
        if self._transfer.allowance <= 0:
            raise OSError("headers, framing or an unwanted body are too long")
        view = memoryview(buffer)
        seconds, too_slow = self._transfer.patience()
        self._sock.settimeout(seconds)
        start = monotonic()
        try:
            count = self._sock.recv_into(view)
        except TimeoutError as e:
            raise too_slow from e
        waited = monotonic() - start
        if 0 < count < len(view):
            count += self._more(view[count:])
            self._sock.settimeout(seconds)
        self._transfer.account(count, waited)
        return count

    def _more(self, view: memoryview) -> int:
        """Take what is here already: TLS hands out 16 KiB at a time, TCP often less."""
        self._sock.settimeout(0)
        count = 0
        try:
            while count < len(view):
                received = self._sock.recv_into(view[count:])
                if not received:
                    break
                count += received
        except (BlockingIOError, ssl.SSLWantReadError, TimeoutError):
            pass
        except OSError as e:
            self._error = e  # for the next read: what came before the error counts
        return count


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: "socket.socket", *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._transfer = _current.get()
        self._transfer.expect_response()
        self.fp = io.BufferedReader(_Wire(sock, self.fp, self._transfer), _BUFFER)

    def begin(self) -> None:
        super().begin()
        # Whoever wants the body grants more.
        self._transfer.allowance = _MAX_DRAIN
        # We ask for no encoding; without this header nothing ever inflates one.
        del self.headers["Content-Encoding"]


class _HTTPConnection(HTTPConnection):
    response_class = _Response

    def connect(self) -> None:
        transfer = _current.get()
        transfer.expect_response()
        self.timeout, too_slow = transfer.patience()
        try:
            super().connect()
        except NewConnectionError:  # refused, no such host: a ConnectTimeoutError in name only
            raise
        except (ConnectTimeoutError, TimeoutError) as e:
            raise too_slow from e


class _HTTPSConnection(_HTTPConnection, HTTPSConnection):
    pass


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


def watch(manager: urllib3.PoolManager) -> urllib3.PoolManager:
    """Let the connections of ``manager`` keep the bounds of the current transfer."""
    manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
    return manager


def discard(response: urllib3.BaseHTTPResponse) -> None:
    """Have done with a response. If its body is small, its connection can be used again."""
    # A failure of a body that nobody wants is none.
    with contextlib.suppress(Exception):
        response.drain_conn()
    response.close()


class HTTPFetcher(FetcherInterface):
    """What the fetchers have in common. Proxies are taken from the environment.

    Failed connections, connections that end before the answer, and the statuses 429, 502, 503 and
    504 are tried again after a while. A body that breaks off is not: see ``fetch_from``.
    """

    def __init__(
        self,
        socket_timeout: int = 30,
        chunk_size: int = 400000,
        app_user_agent: str | None = None,
        *,
        retries: int = 2,
        min_rate: int = 512,
        rate_window: float = 10.0,
        max_seconds: float | None = None,
    ) -> None:
        """Take the limits, which hold for every download.

        Args:
            socket_timeout: seconds to wait for a connection, and for anything to arrive.
            chunk_size: most bytes in a chunk.
            app_user_agent: goes before this package's name in the User-Agent header.
            retries: how often to try again.
            min_rate: bytes per second below which a server is too slow; 0 for no such floor. It is
                measured from the first byte on, over the time spent waiting for the network.
            rate_window: seconds over which ``min_rate`` is measured.
            max_seconds: seconds that a request may take altogether, or None.
        """
        from tuf import __version__

        self.socket_timeout = socket_timeout
        self.chunk_size = chunk_size
        self.app_user_agent = app_user_agent
        self.retries = retries
        self.min_rate = min_rate
        self.rate_window = rate_window
        self.max_seconds = max_seconds
        agent = f"tuf/{__version__}"
        self._headers = {
            "User-Agent": f"{app_user_agent} {agent}" if app_user_agent else agent,
            "Accept-Encoding": "identity",
        }
        self._retry = urllib3.Retry(
            total=None,
            connect=retries,
            read=retries,
            status=retries,
            other=0,
            status_forcelist={429, 502, 503, 504},
            raise_on_status=False,
            backoff_factor=0.25,
            backoff_max=5,
            respect_retry_after_header=False,  # a server could have us wait for hours
        )
        self._set_up()

    @abc.abstractmethod
    def _set_up(self) -> None: ...

    @abc.abstractmethod
    def _request(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """Send a GET, follow redirects, and return the response with its body not yet read."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close the connections that are kept open. A later download opens new ones."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._open(url, 0)[1]

    def _fetch_from(self, url: str, offset: int) -> tuple[int, Iterator[bytes]]:
        # A subclass with a _fetch of its own has its reasons: don't go around it.
        if type(self)._fetch is not HTTPFetcher._fetch:
            return super()._fetch_from(url, offset)
        return self._open(url, offset)

    def _open(self, url: str, offset: int) -> tuple[int, Iterator[bytes]]:
        transfer = Transfer(
            url, self.socket_timeout, self.min_rate, self.rate_window, self.max_seconds
        )
        headers = dict(self._headers)
        if offset:
            headers["Range"] = f"bytes={offset}-"
        token = _current.set(transfer)
        try:
            response = self._request(url, headers)
        finally:
            _current.reset(token)
        status = response.status
        if offset and status in (206, 416):
            part = response.headers.get("Content-Range", "").lower()
            if status == 416 or not part.startswith(f"bytes {offset}-"):
                discard(response)
                return self._open(url, 0)  # not the part that was asked for: take the whole
        if not 200 <= status < 300:
            discard(response)
            raise DownloadHTTPError(f"{url}: the server answered with HTTP status {status}", status)
        return offset if status == 206 else 0, self._chunks(response, transfer)

    def _chunks(self, response: urllib3.BaseHTTPResponse, transfer: Transfer) -> Iterator[bytes]:
        received = 0
        try:
            while True:
                transfer.allowance = self.chunk_size + _MAX_FRAMING
                # read1 gives what is there instead of waiting for all of chunk_size.
                chunk = response.read1(self.chunk_size, decode_content=False)
                if not chunk:
                    break
                received += len(chunk)
                yield chunk
        except HTTPError as e:
            wanted = response.headers.get("Content-Length", "more")
            raise DownloadError(
                f"{transfer.url}: the body broke off after {received} bytes, wanted {wanted}"
            ) from e
        finally:
            response.close()  # a connection with nothing left to read is in its pool by now

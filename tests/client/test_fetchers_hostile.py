"""The HTTP fetchers against servers that are broken, slow or hostile."""

import collections
import contextlib
import gzip
import itertools
import socket
import time
import tracemalloc
from collections.abc import Callable

import pytest
import servers
from servers import Server

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    SlowRetrievalError,
)
from tuf.ngclient.fetcher import FetcherInterface

TEXT = bytes(range(256)) * 40  # what is at /f

New = Callable[..., FetcherInterface]


def unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize("behaviour", [servers.too_much(1), servers.endless()])
def test_too_much(fetcher: FetcherInterface, server: Server, behaviour: servers.Behaviour) -> None:
    server.behave("/f", behaviour)
    with pytest.raises(DownloadLengthMismatchError, match=r"/f: received \d+ .* at most 10240"):
        fetcher.download_bytes(server.url + "/f", len(TEXT))
    with (
        pytest.raises(DownloadLengthMismatchError),
        fetcher.download_file(server.url + "/f", len(TEXT)),
    ):
        pytest.fail("the file is there")


def test_connection_of_an_abandoned_body_is_closed(
    fetcher: FetcherInterface, server: Server
) -> None:
    server.behave("/f", servers.endless(), times=1)
    for length in (1, len(TEXT)):
        with contextlib.suppress(DownloadLengthMismatchError):
            assert fetcher.download_bytes(server.url + "/f", length) == TEXT
    assert server.connections == 2


def test_truncated(fetcher: FetcherInterface, server: Server) -> None:
    server.behave("/f", servers.truncated(10))
    with pytest.raises(DownloadError, match="after 10 bytes, wanted 10240"):
        fetcher.download_bytes(server.url + "/f", len(TEXT))
    assert len(server.log) == 1


def test_drip_body(fetcher: FetcherInterface, server: Server) -> None:
    server.behave("/f", servers.drip_body(0.02))
    chunks = fetcher.fetch(server.url + "/f")
    with pytest.raises(SlowRetrievalError, match=r"/f: \d+ bytes in 0.3 .* at least 1000"):
        list(chunks)


def test_drip_after_a_burst(fetcher: FetcherInterface, server: Server) -> None:
    server.behave("/f", servers.drip_body(0.02, first=5000))
    with pytest.raises(SlowRetrievalError, match="at least 1000"):
        fetcher.download_bytes(server.url + "/f", len(TEXT))


def test_pause_after_a_burst(new_fetcher: New, server: Server) -> None:
    server.behave("/f", servers.drip_body(0.7, first=5000, size=5240))
    fetcher = new_fetcher(min_rate=1000, rate_window=0.5)
    assert fetcher.download_bytes(server.url + "/f", len(TEXT)) == TEXT


def test_steady_rate_above_the_floor(fetcher: FetcherInterface, server: Server) -> None:
    server.behave("/f", servers.drip_body(0.08, size=1000))
    assert fetcher.download_bytes(server.url + "/f", len(TEXT)) == TEXT


def test_drip_headers(fetcher: FetcherInterface, server: Server) -> None:
    server.behave("/f", servers.drip_headers(0.02))
    with pytest.raises(SlowRetrievalError, match="at least 1000"):
        fetcher.fetch(server.url + "/f")
    assert len(server.log) == 1


def test_drip_of_an_error_is_still_that_error(fetcher: FetcherInterface, server: Server) -> None:
    server.behave("/f", lambda handler, _: drip_404(handler))
    with pytest.raises(DownloadHTTPError, match="404"):
        fetcher.fetch(server.url + "/f")


def drip_404(handler: servers.Handler) -> None:
    handler.start(404, 1000)
    handler.pause(60)


def test_time_before_the_first_byte_is_not_slow(fetcher: FetcherInterface, server: Server) -> None:
    server.behave("/f", servers.late(0.5))
    assert fetcher.download_bytes(server.url + "/f", len(TEXT)) == TEXT


def test_time_of_the_consumer_is_not_slow(new_fetcher: New) -> None:
    body = TEXT * 2000  # more than the buffers of the sockets hold
    with Server({"/f": body}) as server:
        fetcher = new_fetcher(chunk_size=65536, min_rate=1_000_000, rate_window=0.2)
        chunks = fetcher.fetch(server.url + "/f")
        received = len(next(chunks))
        time.sleep(0.5)
        assert received + sum(map(len, chunks)) == len(body)


def test_silence(new_fetcher: New, server: Server) -> None:
    server.behave("/f", servers.late(60))
    with pytest.raises(SlowRetrievalError, match=r"/f: nothing for 0\.2 seconds"):
        new_fetcher(0.2).fetch(server.url + "/f")
    server.behave("/f", servers.drip_body(60, first=5))
    with pytest.raises(SlowRetrievalError, match=r"/f: nothing for 0\.2 seconds"):
        new_fetcher(0.2).download_bytes(server.url + "/f", len(TEXT))


@pytest.mark.parametrize(
    "behaviour",
    [servers.drip_body(0.01), servers.drip_headers(0.01), servers.late(60), servers.endless()],
)
def test_max_seconds(new_fetcher: New, server: Server, behaviour: servers.Behaviour) -> None:
    server.behave("/f", behaviour)
    fetcher = new_fetcher(min_rate=0, max_seconds=0.3)
    with pytest.raises(SlowRetrievalError, match=r"/f: not complete after 0\.3 seconds"):
        collections.deque(fetcher.fetch(server.url + "/f"), maxlen=0)


def test_max_seconds_holds_for_all_retries_together(new_fetcher: New, server: Server) -> None:
    server.behave("/f", servers.status(503))
    with pytest.raises(SlowRetrievalError, match=r"not complete after 0\.3 seconds"):
        new_fetcher(retries=10, max_seconds=0.3).fetch(server.url + "/f")


def test_no_floor(new_fetcher: New, server: Server) -> None:
    server.behave("/f", servers.drip_body(0.02, size=1000))
    fetcher = new_fetcher(min_rate=0, rate_window=0.01)
    assert fetcher.download_bytes(server.url + "/f", len(TEXT)) == TEXT


def test_unasked_compression_is_not_undone(fetcher: FetcherInterface) -> None:
    with Server({"/bomb": bytes(10_000_000)}) as server:
        server.behave("/bomb", servers.gzipped)
        body = fetcher.download_bytes(server.url + "/bomb", 20_000)
    assert body.startswith(b"\x1f\x8b")


def test_compressed_body_of_a_redirect_is_not_inflated(
    fetcher: FetcherInterface, server: Server
) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    server.behave("/x", servers.status(302, bomb, Content_Encoding="gzip", Location="/f"))
    tracemalloc.start()
    try:
        assert fetcher.download_bytes(server.url + "/x", len(TEXT)) == TEXT
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect(fetcher: FetcherInterface, server: Server, status: int) -> None:
    with Server({}) as other:
        other.behave("/a", servers.status(status, Location=server.url + "/f"))
        assert fetcher.download_bytes(other.url + "/a", len(TEXT)) == TEXT


def test_redirects_in_a_circle(fetcher: FetcherInterface, server: Server) -> None:
    server.behave("/a", servers.redirect("/b"))
    server.behave("/b", servers.redirect("/a"))
    with pytest.raises(DownloadError, match=r"/a: .*10 redirects"):
        fetcher.fetch(server.url + "/a")
    assert len(server.log) == 11


def test_redirect_to_a_file(fetcher: FetcherInterface, server: Server) -> None:
    server.behave("/a", servers.redirect("file:///etc/passwd"))
    with pytest.raises(DownloadError, match="/a: "):
        fetcher.fetch(server.url + "/a")


@pytest.mark.parametrize("status", [300, 304, 400, 403, 404, 410, 416, 418, 500, 501, 505])
def test_status(fetcher: FetcherInterface, server: Server, status: int) -> None:
    server.behave("/f", servers.status(status))
    with pytest.raises(DownloadHTTPError, match=f"/f: .* status {status}") as error:
        fetcher.fetch(server.url + "/f")
    assert error.value.status_code == status
    assert len(server.log) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_passing_status(fetcher: FetcherInterface, server: Server, status: int) -> None:
    server.behave("/f", servers.status(status, b"soon", Retry_After="3600"), times=1)
    assert fetcher.download_bytes(server.url + "/f", len(TEXT)) == TEXT
    server.behave("/f", servers.status(status, b"soon", Retry_After="3600"))
    with pytest.raises(DownloadHTTPError) as error:
        fetcher.fetch(server.url + "/f")
    assert error.value.status_code == status
    assert len(server.log) == 4
    assert server.connections == 1


@pytest.mark.parametrize("behaviour", [servers.reset, servers.not_http])
def test_broken_before_the_answer(
    fetcher: FetcherInterface, server: Server, behaviour: servers.Behaviour
) -> None:
    server.behave("/f", behaviour, times=1)
    assert fetcher.download_bytes(server.url + "/f", len(TEXT)) == TEXT
    server.behave("/f", behaviour)
    with pytest.raises(DownloadError, match="/f: "):
        fetcher.fetch(server.url + "/f")
    assert len(server.log) == 4


def test_no_retries(new_fetcher: New, server: Server) -> None:
    server.behave("/f", servers.status(503))
    with pytest.raises(DownloadHTTPError):
        new_fetcher(retries=0).fetch(server.url + "/f")
    assert len(server.log) == 1


def test_reset_in_the_body(fetcher: FetcherInterface, server: Server) -> None:
    server.behave("/f", servers.reset_in_body)
    chunks = fetcher.fetch(server.url + "/f")
    time.sleep(0.2)  # the reset is here before the first chunk is asked for
    assert b"".join(itertools.islice(chunks, 1)) == TEXT
    with pytest.raises(
        DownloadError, match="/f: the body broke off after 10240 bytes, wanted more"
    ):
        next(chunks)
    assert len(server.log) == 1


def test_refused(fetcher: FetcherInterface) -> None:
    url = f"http://127.0.0.1:{unused_port()}/f"
    with pytest.raises(DownloadError, match=f"{url}: ") as error:
        fetcher.fetch(url)
    assert not isinstance(error.value, SlowRetrievalError)


def test_connection_that_is_never_accepted(new_fetcher: New) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with contextlib.ExitStack() as stack:
            for _ in range(3):  # the queue is full: the kernel lets further ones wait
                sock = stack.enter_context(socket.socket())
                sock.setblocking(False)
                sock.connect_ex(address)
            with pytest.raises(SlowRetrievalError, match=r"/f: nothing for 0\.3 seconds"):
                new_fetcher(0.3).fetch(f"http://127.0.0.1:{address[1]}/f")


def test_tls_handshake_without_answer(new_fetcher: New) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/f"
        with pytest.raises(SlowRetrievalError, match=r"/f: nothing for 0\.3 seconds"):
            new_fetcher(0.3).fetch(url)


@pytest.mark.parametrize(
    "url", ["", "/f", "no-scheme", "ftp://127.0.0.1/f", "http://", "http://[::1/f", "http://a:b/f"]
)
def test_bad_url(fetcher: FetcherInterface, url: str) -> None:
    with pytest.raises(DownloadError):
        fetcher.fetch(url)


@pytest.mark.parametrize("status", [404, 503])
def test_endless_body_of_an_error(fetcher: FetcherInterface, server: Server, status: int) -> None:
    server.behave("/f", servers.endless(status))
    with pytest.raises(DownloadHTTPError) as error:
        fetcher.fetch(server.url + "/f")
    assert error.value.status_code == status


def test_endless_body_of_a_redirect(fetcher: FetcherInterface, server: Server) -> None:
    server.behave("/x", servers.endless(302, Location="/f"))
    assert fetcher.download_bytes(server.url + "/x", len(TEXT)) == TEXT


@pytest.mark.parametrize("length", ["99999999999999", "9" * 30, "-5", "nonsense"])
def test_unwanted_body_of_absurd_length(
    fetcher: FetcherInterface, server: Server, length: str
) -> None:
    server.behave("/x", lambda handler, _: handler.start(404, None, Content_Length=length))
    with pytest.raises(DownloadHTTPError, match="404"):
        fetcher.fetch(server.url + "/x")


def test_endless_headers(fetcher: FetcherInterface, server: Server) -> None:
    server.behave("/f", servers.endless_headers)
    with pytest.raises(DownloadError, match=r"/f: .*too long"):
        fetcher.fetch(server.url + "/f")


def test_endless_trailer(fetcher: FetcherInterface, server: Server) -> None:
    server.behave("/f", servers.endless_trailer)
    with pytest.raises(DownloadError, match="/f: "):
        fetcher.download_bytes(server.url + "/f", len(TEXT))

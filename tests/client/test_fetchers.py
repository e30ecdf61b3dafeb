"""The HTTP fetchers against servers that do what they should."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import servers
from servers import Proxy, Server

import tuf
from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    SlowRetrievalError,
)
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.requests_fetcher import RequestsFetcher
from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher

TEXT = bytes(range(256)) * 40  # what is at /f

New = Callable[..., FetcherInterface]


def test_content(fetcher: FetcherInterface, server: Server) -> None:
    url = server.url + "/f"
    assert b"".join(fetcher.fetch(url)) == TEXT
    assert fetcher.download_bytes(url, len(TEXT)) == TEXT
    with fetcher.download_file(url, len(TEXT)) as file:
        assert file.read() == TEXT
    assert server.connections == 1


def test_empty_content(fetcher: FetcherInterface) -> None:
    with Server({"/empty": b""}) as server:
        assert fetcher.download_bytes(server.url + "/empty", 0) == b""


def test_directory(fetcher: FetcherInterface, tmp_path: Path) -> None:
    name = "a b#c?d%20e é.txt"
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / name).write_bytes(TEXT)
    with Server(tmp_path) as server:
        url = server.url + "/sub/a%20b%23c%3Fd%2520e%20%C3%A9.txt"
        assert fetcher.download_bytes(url, len(TEXT)) == TEXT
        assert server.paths == [f"/sub/{name}"]
        with pytest.raises(DownloadHTTPError):
            fetcher.fetch(server.url + "/../etc/passwd")


def test_chunked_content(fetcher: FetcherInterface, server: Server) -> None:
    server.behave("/f", servers.chunked(1000))
    for _ in range(2):
        assert fetcher.download_bytes(server.url + "/f", len(TEXT)) == TEXT
    assert server.connections == 1


def test_chunks_come_as_they_arrive(new_fetcher: New, server: Server) -> None:
    fetcher = new_fetcher(chunk_size=len(TEXT), min_rate=0)
    server.behave("/f", servers.drip_body(60, first=1000))
    chunks = fetcher.fetch(server.url + "/f")
    assert TEXT.startswith(next(chunks))  # chunk_size bytes would take minutes


def test_no_chunk_is_longer_than_chunk_size(new_fetcher: New, server: Server) -> None:
    chunks = list(new_fetcher(chunk_size=1000).fetch(server.url + "/f"))
    assert max(len(chunk) for chunk in chunks) <= 1000
    assert b"".join(chunks) == TEXT


def test_headers(new_fetcher: New, server: Server) -> None:
    new_fetcher().download_bytes(server.url + "/f", len(TEXT))
    new_fetcher(app_user_agent="app/1.0").download_bytes(server.url + "/f", len(TEXT))
    plain, app = server.log
    assert plain.headers["user-agent"] == f"tuf/{tuf.__version__}"
    assert plain.headers["accept-encoding"] == "identity"
    assert app.headers["user-agent"] == f"app/1.0 tuf/{tuf.__version__}"


# Connections


def test_errors_and_redirects_keep_the_connection(
    fetcher: FetcherInterface, server: Server
) -> None:
    server.behave("/away", servers.redirect("/f"))
    for path, status in [("/absent", 404), ("/away", None), ("/absent", 404), ("/f", None)]:
        if status:
            with pytest.raises(DownloadHTTPError):
                fetcher.fetch(server.url + path)
        else:
            assert fetcher.download_bytes(server.url + path, len(TEXT)) == TEXT
    assert server.connections == 1


def test_parallel_downloads_keep_their_connections(fetcher: FetcherInterface) -> None:
    with Server({"/f": TEXT}) as server, ThreadPoolExecutor(32) as threads:
        server.behave("*", servers.late(0.2), times=32)  # so that they are open all at once
        for _ in range(3):
            urls = [server.url + "/f"] * 32
            bodies = list(threads.map(fetcher.download_bytes, urls, [len(TEXT)] * 32))
            assert bodies == [TEXT] * 32
        assert server.connections == 32


def test_connection_that_the_server_closed_meanwhile(fetcher: FetcherInterface) -> None:
    with Server({"/f": TEXT}) as server:
        assert fetcher.download_bytes(server.url + "/f", len(TEXT)) == TEXT
        server.drop_connections()
        assert fetcher.download_bytes(server.url + "/f", len(TEXT)) == TEXT
        assert server.connections == 2


def test_close(new_fetcher: New, server: Server) -> None:
    fetcher = new_fetcher()
    assert isinstance(fetcher, Urllib3Fetcher | RequestsFetcher)
    fetcher.close()
    for _ in range(2):
        fetcher.download_bytes(server.url + "/f", len(TEXT))
        fetcher.close()
        fetcher.close()
    assert server.connections == 2


def test_tls(fetcher: FetcherInterface, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = TEXT * 100
    certificate, context = servers.self_signed(tmp_path)
    with Server({"/f": body}, context) as server:
        with pytest.raises(DownloadError, match="CERTIFICATE_VERIFY_FAILED"):
            fetcher.fetch(server.url + "/f")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # of OpenSSL
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert fetcher.download_bytes(server.url + "/f", len(body)) == body
        server.behave("/f", servers.drip_body(0.05))
        with pytest.raises(SlowRetrievalError, match="wanted at least 1000 a second"):
            fetcher.download_bytes(server.url + "/f", len(body))
        with Proxy() as proxy:
            server.behave("/f", servers.good)
            monkeypatch.setenv("https_proxy", proxy.url)
            assert fetcher.download_bytes(server.url + "/f", len(body)) == body
            assert proxy.paths == [server.url.removeprefix("https://")]


# Proxies


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_proxy(
    fetcher: FetcherInterface, server: Server, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with Proxy() as proxy:
        monkeypatch.setenv(variable, proxy.url)
        assert fetcher.download_bytes(server.url + "/f", len(TEXT)) == TEXT
        assert proxy.paths == [server.url + "/f"]


@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
def test_no_proxy(
    fetcher: FetcherInterface, server: Server, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with Proxy() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv(variable, "example.com,127.0.0.1")
        assert fetcher.download_bytes(server.url + "/f", len(TEXT)) == TEXT
        assert proxy.log == []


def test_proxy_with_password(
    fetcher: FetcherInterface, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("://", "://user:p%40ss@"))
        assert fetcher.download_bytes(server.url + "/f", len(TEXT)) == TEXT
        assert proxy.log[0].headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"


def test_proxy_is_chosen_anew_for_a_redirect(
    fetcher: FetcherInterface, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy() as proxy, Server({}) as inner:
        inner.behave("/f", servers.redirect(server.url + "/f"))
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "localhost")
        url = inner.url.replace("127.0.0.1", "localhost") + "/f"
        assert fetcher.download_bytes(url, len(TEXT)) == TEXT
        assert proxy.paths == [server.url + "/f"]


# Ranges


def test_fetch_from(fetcher: FetcherInterface, server: Server) -> None:
    start, chunks = fetcher.fetch_from(server.url + "/f", 1000)
    assert (start, b"".join(chunks)) == (1000, TEXT[1000:])
    assert server.log[0].headers["range"] == "bytes=1000-"


def test_fetch_from_0_asks_for_no_range(fetcher: FetcherInterface, server: Server) -> None:
    start, chunks = fetcher.fetch_from(server.url + "/f", 0)
    assert (start, b"".join(chunks)) == (0, TEXT)
    assert "range" not in server.log[0].headers


@pytest.mark.parametrize(
    "behaviour",
    [
        servers.ignore_range,
        servers.wrong_range(None),
        servers.wrong_range("bytes 0-9/10"),
        servers.wrong_range("bytes 10001-10239/10240"),
        servers.wrong_range("nonsense"),
    ],
)
def test_fetch_from_server_without_right_ranges(
    fetcher: FetcherInterface, server: Server, behaviour: servers.Behaviour
) -> None:
    server.behave("/f", behaviour)
    start, chunks = fetcher.fetch_from(server.url + "/f", 1000)
    assert (start, b"".join(chunks)) == (0, TEXT)


def test_fetch_from_beyond_the_end(fetcher: FetcherInterface, server: Server) -> None:
    start, chunks = fetcher.fetch_from(server.url + "/f", len(TEXT))
    assert (start, b"".join(chunks)) == (0, TEXT)
    assert server.connections == 1


def collect(chunks: Iterator[bytes], into: bytearray) -> None:
    for chunk in chunks:
        into += chunk


def test_fetch_from_where_a_body_broke_off(fetcher: FetcherInterface, server: Server) -> None:
    server.behave("/f", servers.truncated(3000), times=1)
    received = bytearray()
    chunks = fetcher.fetch(server.url + "/f")
    with pytest.raises(
        DownloadError, match="/f: the body broke off after 3000 bytes, wanted 10240"
    ):
        collect(chunks, received)
    start, chunks = fetcher.fetch_from(server.url + "/f", len(received))
    assert start == 3000
    assert bytes(received) + b"".join(chunks) == TEXT


def test_fetch_from_does_not_go_around_a_subclass(server: Server) -> None:
    class Upper(Urllib3Fetcher):
        def _fetch(self, url: str) -> Iterator[bytes]:
            return map(bytes.upper, super()._fetch(url))

    start, chunks = Upper().fetch_from(server.url + "/f", 1000)
    assert (start, b"".join(chunks)) == (0, TEXT.upper())


def test_requests_is_not_installed() -> None:
    code = (
        "import sys; sys.modules['requests'] = None\n"
        "from tuf.ngclient.requests_fetcher import RequestsFetcher\n"
        "try: RequestsFetcher()\n"
        "except ImportError as e: print(e)"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    ).stdout
    assert "pip install tuf[requests]" in output

"""Fetchers and a server for the tests of the client."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from servers import Server

from tuf.ngclient._transfer import HTTPFetcher
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.requests_fetcher import RequestsFetcher
from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(params=[Urllib3Fetcher, RequestsFetcher])
def new_fetcher(request: pytest.FixtureRequest) -> Iterator[Callable[..., FetcherInterface]]:
    """Make fetchers, which are closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(*args: Any, **kwargs: Any) -> FetcherInterface:
            fetcher: HTTPFetcher = request.param(*args, **kwargs)
            stack.callback(fetcher.close)
            return fetcher

        yield make


@pytest.fixture
def fetcher(new_fetcher: Callable[..., FetcherInterface]) -> FetcherInterface:
    return new_fetcher(socket_timeout=5, retries=1, min_rate=1000, rate_window=0.3)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server({"/f": bytes(range(256)) * 40}) as server:
        yield server

"""A fetcher for those who use requests already: ``pip install tuf[requests]``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import urllib3

from tuf.ngclient._transfer import MAX_REDIRECTS, POOL_SIZE, HTTPFetcher, watch
from tuf.ngclient.fetcher import FetcherInterface

if TYPE_CHECKING:
    import requests

__all__ = ["FetcherInterface", "RequestsFetcher"]


class RequestsFetcher(HTTPFetcher):
    """Downloads with requests. Proxies are taken from the environment.

    Raises:
        ImportError: requests is not installed.
    """

    def _set_up(self) -> None:
        try:
            self._session = _new_session(self._retry)
        except ImportError as e:
            raise ImportError(
                "RequestsFetcher needs requests, which is not installed: pip install tuf[requests]"
            ) from e

    def _request(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        response = self._session.get(url, headers=headers, timeout=self.socket_timeout, stream=True)
        raw: urllib3.BaseHTTPResponse = response.raw
        return raw

    def close(self) -> None:
        """Close the connections that are kept open. A later download opens new ones."""
        self._session.close()


def _new_session(retry: urllib3.Retry) -> "requests.Session":
    from http.cookiejar import DefaultCookiePolicy

    import requests
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            watch(self.poolmanager)

        def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
            manager = super().proxy_manager_for(proxy, **kwargs)
            # Connections over SOCKS are another library's: they have time-outs, but no floor.
            return manager if proxy.lower().startswith("socks") else watch(manager)

    session = requests.Session()
    session.max_redirects = MAX_REDIRECTS
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers.clear()
    for prefix in ("http://", "https://"):
        session.mount(prefix, Adapter(max_retries=retry, pool_maxsize=POOL_SIZE))
    return session

"""The fetcher that the client uses if it is given no other."""

import threading
from collections.abc import Mapping
from urllib.parse import unquote, urljoin, urlsplit

import urllib3

from tuf.api.exceptions import DownloadError
from tuf.ngclient._transfer import MAX_REDIRECTS, POOL_SIZE, HTTPFetcher, discard, watch
from tuf.ngclient.fetcher import FetcherInterface

__all__ = ["FetcherInterface", "Urllib3Fetcher"]


class Urllib3Fetcher(HTTPFetcher):
    """Downloads with urllib3. Proxies are taken from the environment."""

    def _set_up(self) -> None:
        self._lock = threading.Lock()
        self._managers: dict[str | None, urllib3.PoolManager] = {}  # by proxy

    def _request(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        target = url
        # Redirects are followed here, since each may need another proxy.
        for _ in range(MAX_REDIRECTS + 1):
            response = self._manager(target).urlopen(
                "GET",
                target,
                headers=headers,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            location = response.get_redirect_location()
            if not location:
                return response
            discard(response)
            target = urljoin(target, location)
        raise DownloadError(f"{url}: more than {MAX_REDIRECTS} redirects, the last to {target}")

    def _manager(self, url: str) -> urllib3.PoolManager:
        proxy = _proxy_for(url)
        with self._lock:
            manager = self._managers.get(proxy)
            if manager is None:
                manager = self._managers[proxy] = self._new_manager(proxy)
            return manager

    def _new_manager(self, proxy: str | None) -> urllib3.PoolManager:
        timeout = urllib3.Timeout(self.socket_timeout)
        if proxy is None:
            return watch(
                urllib3.PoolManager(maxsize=POOL_SIZE, retries=self._retry, timeout=timeout)
            )
        login = urllib3.util.parse_url(proxy).auth
        return watch(
            urllib3.ProxyManager(
                proxy,
                proxy_headers=urllib3.make_headers(proxy_basic_auth=login and unquote(login)),
                maxsize=POOL_SIZE,
                retries=self._retry,
                timeout=timeout,
            )
        )

    def close(self) -> None:
        """Close the connections that are kept open. A later download opens new ones."""
        with self._lock:
            managers = list(self._managers.values())
            self._managers.clear()
        for manager in managers:
            manager.clear()


def _proxy_for(url: str) -> str | None:
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"

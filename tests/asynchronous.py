"""An asyncio client for the tests, and a fetcher on asyncio's streams."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, UpdaterConfig
from tuf.ngclient.aio import AsyncFetcherInterface, AsyncUpdater
from world import World


class StreamsFetcher(AsyncFetcherInterface):
    """HTTP over asyncio's streams: as little as an application needs."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.closed = 0

    async def fetch(self, url: str) -> AsyncIterator[bytes]:
        self.threads.add(threading.get_ident())
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            writer.write(
                f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                "Connection: close\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            code = int(head.split()[1])
            if code != 200:
                raise DownloadHTTPError(f"{url}: status {code}", code)
            while chunk := await reader.read(65536):
                yield chunk
        finally:
            self.closed += 1
            writer.close()


def async_updater(
    world: World,
    fetcher: FetcherInterface | AsyncFetcherInterface | None = None,
    machine: str = "machine",
    **config: Any,
) -> AsyncUpdater:
    return AsyncUpdater(
        str(world.metadata_dir(machine)),
        world.url + "metadata/",
        str(world.target_dir(machine)),
        world.url + "targets/",
        fetcher,
        UpdaterConfig(**config),
        bootstrap=world.bootstrap,
    )

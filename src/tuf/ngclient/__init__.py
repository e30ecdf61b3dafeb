"""The client: finds, downloads and verifies the current targets of a repository.

Names are imported when they are first used, so that importing this package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuf.api.metadata import TargetFile
    from tuf.ngclient.aio import AsyncFetcherInterface, AsyncUpdater
    from tuf.ngclient.config import EnvelopeType, UpdaterConfig
    from tuf.ngclient.fetcher import FetcherInterface
    from tuf.ngclient.requests_fetcher import RequestsFetcher
    from tuf.ngclient.updater import Updater
    from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher

_MODULES = {
    "AsyncFetcherInterface": "tuf.ngclient.aio",
    "AsyncUpdater": "tuf.ngclient.aio",
    "EnvelopeType": "tuf.ngclient.config",
    "FetcherInterface": "tuf.ngclient.fetcher",
    "RequestsFetcher": "tuf.ngclient.requests_fetcher",
    "TargetFile": "tuf.api.metadata",
    "Updater": "tuf.ngclient.updater",
    "UpdaterConfig": "tuf.ngclient.config",
    "Urllib3Fetcher": "tuf.ngclient.urllib3_fetcher",
}

__all__ = [
    "AsyncFetcherInterface",
    "AsyncUpdater",
    "EnvelopeType",
    "FetcherInterface",
    "RequestsFetcher",
    "TargetFile",
    "Updater",
    "UpdaterConfig",
    "Urllib3Fetcher",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

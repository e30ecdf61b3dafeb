"""The client under asyncio: the same workflow, driven without blocking the event loop."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import contextvars
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
)
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import partial
from typing import IO, Any, TypeVar

from tuf.api.exceptions import DownloadCancelledError, RepositoryError
from tuf.api.metadata import TargetFile
from tuf.ngclient._client import Client
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.download import Progress
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.workflow import Run, Steps

T = TypeVar("T")

#: How many files an updater works on at once.
THREADS = 32


class AsyncFetcherInterface(abc.ABC):
    """How an asyncio client gets bytes, for applications that have an HTTP client of their own."""

    @abc.abstractmethod
    def fetch(self, url: str) -> AsyncIterator[bytes]:
        """Get the content at ``url`` in chunks: usually this is an ``async def`` with ``yield``.

        Any exception will do for a failure: callers turn what is not a ``DownloadError`` into one.

        Raises:
            DownloadHTTPError: the server answered with an HTTP error status.
        """
        raise NotImplementedError


class AsyncUpdater(Client):
    """:class:`~tuf.ngclient.Updater` for asyncio.

    The network is waited for on the event loop if the fetcher is an
    :class:`AsyncFetcherInterface`. Files, verification, and other fetchers work in threads.
    Cancelling a task cancels its download.

    Constructing reads and verifies the root, which takes a moment but no network.

    Args:
        metadata_dir: see :class:`~tuf.ngclient.Updater`, as for the others.
        metadata_base_url: where the repository's metadata is.
        target_dir: directory of downloaded targets.
        target_base_url: where the repository's targets are.
        fetcher: gets bytes; None means :class:`~tuf.ngclient.Urllib3Fetcher`, in threads.
        config: settings; None means the defaults.
        bootstrap: the root that the application trusts; None means the one in ``metadata_dir``.

    Raises:
        RepositoryError: ``bootstrap`` is not a valid root.
        LocalFileError: the local metadata cannot be read or written.
    """

    def __init__(
        self,
        metadata_dir: str | None,
        metadata_base_url: str,
        target_dir: str | None = None,
        target_base_url: str | None = None,
        fetcher: FetcherInterface | AsyncFetcherInterface | None = None,
        config: UpdaterConfig | None = None,
        *,
        bootstrap: bytes | None,
    ) -> None:
        if isinstance(fetcher, AsyncFetcherInterface):
            fetcher = _Bridge(fetcher)
        super().__init__(
            metadata_dir, metadata_base_url, target_dir, target_base_url, fetcher, config, bootstrap
        )
        self._lock = asyncio.Lock()
        self._threads = ThreadPoolExecutor(THREADS)
        begin = Run(self._workflow.begin(), self._perform)
        while begin.advance():
            pass
        self._cache.sync()

    async def __aenter__(self) -> AsyncUpdater:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False)

    async def _in_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function in a thread. Cancelling cancels what the thread waits for."""
        loop = asyncio.get_running_loop()
        call = _Call(loop)
        context = contextvars.copy_context()
        context.run(_current.set, call)
        try:
            return await loop.run_in_executor(self._threads, partial(context.run, function, *args))
        except asyncio.CancelledError:
            call.cancel()
            raise

    async def _drive(self, steps: Steps[T]) -> T:
        """Do what a workflow asks for, until it is done."""
        run = Run(steps, self._perform)
        try:
            while await self._in_thread(run.advance):
                pass
        finally:
            await self._in_thread(self._cache.sync)
        return run.result

    async def refresh(self) -> None:
        """Bring the top-level metadata up to date: see ``Updater.refresh``."""
        async with self._lock:
            await self._refresh()

    async def _refresh(self) -> None:
        self._refreshed = False
        workflow = self._new_workflow()
        await self._drive(workflow.refresh())
        self._workflow = workflow
        self._refreshed = True

    async def _refresh_once(self) -> None:
        async with self._lock:
            if not self._refreshed:
                await self._refresh()

    async def get_targetinfo(self, target_path: str) -> TargetFile | None:
        """Find a target: see ``Updater.get_targetinfo``."""
        await self._refresh_once()
        return await self._drive(self._workflow.find_target(target_path))

    async def targets_of_role(self, role: str = "targets") -> list[TargetFile]:
        """All targets that a search finds in a role: see ``Updater.targets_of_role``."""
        await self._refresh_once()
        return await self._drive(self._workflow.list_targets(role))

    async def all_targets(self) -> list[TargetFile]:
        """All targets of the repository: see ``Updater.all_targets``."""
        await self._refresh_once()
        return await self._drive(self._workflow.list_targets())

    async def find_cached_target(
        self, targetinfo: TargetFile, filepath: str | None = None
    ) -> str | None:
        """Find out whether a local file is the target: see ``Updater.find_cached_target``."""
        return await self._in_thread(self._find_cached, targetinfo, filepath)

    async def updated_targets(
        self, targets: Iterable[TargetFile], directory: str | None = None
    ) -> list[TargetFile]:
        """Find out which targets' local files are not current: see ``Updater.updated_targets``."""
        return await self._in_thread(self._updated, targets, directory)

    async def download_target(
        self,
        targetinfo: TargetFile,
        filepath: str | None = None,
        target_base_url: str | None = None,
        *,
        progress: Progress | None = None,
    ) -> str:
        """Download a target: see ``Updater.download_target``."""
        return await self._cancellable(
            self._download, targetinfo, filepath, target_base_url, progress
        )

    async def open_target(
        self,
        targetinfo: TargetFile,
        target_base_url: str | None = None,
        *,
        progress: Progress | None = None,
    ) -> IO[bytes]:
        """Download a target as a stream, verified as a whole: see ``Updater.open_target``."""
        return await self._cancellable(self._open, targetinfo, target_base_url, progress)

    async def read_target(
        self,
        targetinfo: TargetFile,
        target_base_url: str | None = None,
        *,
        progress: Progress | None = None,
    ) -> bytes:
        """Download a target into memory: see ``Updater.read_target``."""
        with await self.open_target(targetinfo, target_base_url, progress=progress) as file:
            return await self._in_thread(file.read)

    async def download_targets(
        self,
        targets: Iterable[TargetFile | str],
        *,
        workers: int = 16,
        progress: Progress | None = None,
    ) -> dict[str, str]:
        """Find and download many targets, several at once: see ``Updater.download_targets``."""
        await self._refresh_once()
        free = asyncio.Semaphore(workers)

        async def one(target: TargetFile | str) -> tuple[str, str]:
            async with free:
                info = await self._found(target) if isinstance(target, str) else target
                path = await self._in_thread(self._find_cached, info)
                return info.path, path or await self.download_target(info, progress=progress)

        tasks = [asyncio.ensure_future(one(target)) for target in targets]
        try:
            return dict(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _found(self, target_path: str) -> TargetFile:
        target = await self.get_targetinfo(target_path)
        if target is None:
            raise RepositoryError(f"target {target_path!r} is not in the repository")
        return target

    async def remove_obsolete_targets(self, target_paths: Iterable[str] | None = None) -> list[str]:
        """Remove files that are no longer targets: see ``Updater.remove_obsolete_targets``."""
        if target_paths is None:
            target_paths = await self._in_thread(self._local_target_paths)
        gone = [path for path in target_paths if await self.get_targetinfo(path) is None]
        return await self._in_thread(self._remove, gone)

    async def _cancellable(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function whose last argument is an event that ends it early."""
        cancel = threading.Event()
        try:
            return await self._in_thread(function, *args, cancel)
        except asyncio.CancelledError:
            cancel.set()
            raise


class _Call:
    """A call in a thread, which may wait for coroutines on the event loop.

    Args:
        loop: the event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._waiting: Future[Any] | None = None
        self._cancelled = False
        self._started: asyncio.Task[object]

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait in the thread for something that happens on the loop.

        Raises:
            DownloadCancelledError: the call was cancelled, or the loop is closed.
        """
        with self._lock:
            try:
                if self._cancelled:
                    raise DownloadCancelledError("cancelled")
                waiting = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            except (DownloadCancelledError, RuntimeError) as e:
                coroutine.close()
                raise DownloadCancelledError(str(e)) from e
            self._waiting = waiting
        try:
            return waiting.result()
        except CancelledError as e:
            raise DownloadCancelledError("cancelled") from e

    def start(self, function: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Have something happen on the loop, if it still runs, and don't wait for it."""

        def start() -> None:
            self._started = self._loop.create_task(function())

        with contextlib.suppress(RuntimeError):  # the loop is closed, and all that ran on it
            self._loop.call_soon_threadsafe(start)

    def cancel(self) -> None:
        """Let the thread wait no longer."""
        with self._lock:
            self._cancelled = True
            if self._waiting is not None:
                self._waiting.cancel()


_current: contextvars.ContextVar[_Call] = contextvars.ContextVar("_current")


class _Bridge(FetcherInterface):
    """Lets threads fetch through an asyncio fetcher, which runs on the event loop.

    Args:
        fetcher: the asyncio fetcher.
    """

    def __init__(self, fetcher: AsyncFetcherInterface) -> None:
        self._async_fetcher = fetcher

    def _fetch(self, url: str) -> Iterator[bytes]:
        call = _current.get()
        chunks = self._async_fetcher.fetch(url)

        async def next_chunk() -> bytes | None:
            return await anext(chunks, None)

        async def close() -> None:
            if isinstance(chunks, AsyncGenerator):
                # It may be about to end by itself, of a cancellation.
                with contextlib.suppress(RuntimeError):
                    await chunks.aclose()

        try:
            while (chunk := call.wait(next_chunk())) is not None:
                yield chunk
        finally:
            call.start(close)

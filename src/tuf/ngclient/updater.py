"""The client: the workflow of the specification, driven with blocking I/O."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import IO, TypeVar

from tuf.api.exceptions import DownloadCancelledError, RepositoryError
from tuf.api.metadata import Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient._client import Client
from tuf.ngclient.config import EnvelopeType, UpdaterConfig
from tuf.ngclient.download import Progress
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher
from tuf.ngclient.workflow import Run, Steps

__all__ = [
    "EnvelopeType",
    "Root",
    "Snapshot",
    "TargetFile",
    "Targets",
    "Timestamp",
    "TrustedMetadataSet",
    "Updater",
    "UpdaterConfig",
    "Urllib3Fetcher",
]

T = TypeVar("T")


class Updater(Client):
    """Finds, downloads and verifies the current targets of a repository.

    Any number of updaters, in any number of processes and threads, may share the directories.

    Args:
        metadata_dir: directory of the local metadata, which is made if it is not there; None
            keeps metadata in memory.
        metadata_base_url: where the repository's metadata is.
        target_dir: directory of downloaded targets.
        target_base_url: where the repository's targets are.
        fetcher: gets bytes; None means :class:`Urllib3Fetcher`.
        config: settings; None means the defaults.
        bootstrap: the root that the application trusts, as it came with the application. Updates
            begin with it. None means the root in ``metadata_dir``.

    Raises:
        RepositoryError: the root to begin with is not valid.
        LocalFileError: the local metadata cannot be read or written, or has no root.
    """

    def __init__(
        self,
        metadata_dir: str | None,
        metadata_base_url: str,
        target_dir: str | None = None,
        target_base_url: str | None = None,
        fetcher: FetcherInterface | None = None,
        config: UpdaterConfig | None = None,
        *,
        bootstrap: bytes | None,
    ) -> None:
        super().__init__(
            metadata_dir, metadata_base_url, target_dir, target_base_url, fetcher, config, bootstrap
        )
        self._lock = threading.Lock()
        self._drive(self._workflow.begin())

    def refresh(self) -> None:
        """Bring the top-level metadata up to date (5.1 to 5.6).

        It may be called again and again; each call is an update of its own, with its own time.

        Raises:
            RepositoryError: metadata is not acceptable; its class says why.
            DownloadError: a file could not be downloaded.
            LocalFileError: the local metadata cannot be read or written.
        """
        with self._lock:
            self._refresh()

    def _refresh(self) -> None:
        self._refreshed = False
        workflow = self._new_workflow()
        self._drive(workflow.refresh())
        self._workflow = workflow
        self._refreshed = True

    def _refresh_once(self) -> None:
        with self._lock:
            if not self._refreshed:
                self._refresh()

    def _drive(self, steps: Steps[T]) -> T:
        """Do what a workflow asks for, until it is done."""
        run = Run(steps, self._perform)
        try:
            while run.advance():
                pass
        finally:
            self._cache.sync()
        return run.result

    def get_targetinfo(self, target_path: str) -> TargetFile | None:
        """Find a target (5.6.7). It refreshes first if that was not done yet.

        Args:
            target_path: the target path: a URL path relative to a base URL of targets.

        Returns:
            What the repository says of the target, or None if there is no such target.

        Raises:
            DelegationLimitError: the search would follow too many delegations.
            RepositoryError: metadata is not acceptable; its class says why.
            DownloadError: a file could not be downloaded.
            LocalFileError: the local metadata cannot be read or written.
        """
        self._refresh_once()
        return self._drive(self._workflow.find_target(target_path))

    def targets_of_role(self, role: str = "targets") -> list[TargetFile]:
        """All targets that a search finds in a role. It refreshes first if that was not done yet.

        Args:
            role: the role's name.

        Raises:
            ValueError: no role of that name is delegated to.
            Exception: as :meth:`get_targetinfo`.
        """
        self._refresh_once()
        return self._drive(self._workflow.list_targets(role))

    def all_targets(self) -> list[TargetFile]:
        """All targets of the repository, as a search finds them.

        It downloads the metadata of all roles, and refreshes first if that was not done yet.

        Raises:
            Exception: as :meth:`get_targetinfo`.
        """
        self._refresh_once()
        return self._drive(self._workflow.list_targets())

    def find_cached_target(self, targetinfo: TargetFile, filepath: str | None = None) -> str | None:
        """Find out whether a local file is the target.

        Args:
            targetinfo: the target.
            filepath: the file; None means where :meth:`download_target` puts it.

        Returns:
            The file's path, or None if there is no such file or it is another.

        Raises:
            ValueError: neither ``filepath`` nor a target directory is given.
        """
        return self._find_cached(targetinfo, filepath)

    def updated_targets(
        self, targets: Iterable[TargetFile], directory: str | None = None
    ) -> list[TargetFile]:
        """Find out which targets' local files are missing or out of date.

        Args:
            targets: the targets.
            directory: where the files are; None means the target directory.

        Raises:
            ValueError: neither is given.
        """
        return self._updated(targets, directory)

    def download_target(
        self,
        targetinfo: TargetFile,
        filepath: str | None = None,
        target_base_url: str | None = None,
        *,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> str:
        """Download a target (5.7). Under its name the file is whole and verified at any time.

        What came of a download that broke off is taken up where the server can do that.

        Args:
            targetinfo: the target.
            filepath: the file to write; None means a file of the target directory.
            target_base_url: where the repository's targets are; None means what the updater was
                given.
            progress: called with the target and the number of its bytes that are there.
            cancel: when it is set, the download ends with ``DownloadCancelledError``.

        Returns:
            The file's path.

        Raises:
            ValueError: no file or no base URL is given, or the target path cannot be a file name.
            LengthOrHashMismatchError: what came is not the target.
            DownloadError: it could not be downloaded.
            LocalFileError: the file cannot be written.
        """
        return self._download(targetinfo, filepath, target_base_url, progress, cancel)

    def open_target(
        self,
        targetinfo: TargetFile,
        target_base_url: str | None = None,
        *,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> IO[bytes]:
        """Download a target as a stream, all of which is verified before any is handed out.

        Args:
            targetinfo: the target.
            target_base_url: see :meth:`download_target`.
            progress: see :meth:`download_target`.
            cancel: see :meth:`download_target`.

        Returns:
            A binary file at its start, which the caller closes.

        Raises:
            Exception: as :meth:`download_target`.
        """
        return self._open(targetinfo, target_base_url, progress, cancel)

    def read_target(
        self,
        targetinfo: TargetFile,
        target_base_url: str | None = None,
        *,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> bytes:
        """Download a target into memory.

        Args:
            targetinfo: the target.
            target_base_url: see :meth:`download_target`.
            progress: see :meth:`download_target`.
            cancel: see :meth:`download_target`.

        Raises:
            Exception: as :meth:`download_target`.
        """
        with self._open(targetinfo, target_base_url, progress, cancel) as file:
            return file.read()

    def download_targets(
        self,
        targets: Iterable[TargetFile | str],
        *,
        workers: int = 16,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> dict[str, str]:
        """Find and download many targets, several at once over connections that are kept.

        Files that are current already are not downloaded again.

        Args:
            targets: targets, or target paths.
            workers: how many at once.
            progress: see :meth:`download_target`; called from several threads.
            cancel: see :meth:`download_target`.

        Returns:
            The path of each target's file, by target path, in the order of ``targets``.

        Raises:
            RepositoryError: there is no such target.
            Exception: as :meth:`get_targetinfo` and :meth:`download_target`. After the first
                failure the other downloads are cancelled.
        """
        from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

        self._refresh_once()
        stop = _Stop(cancel)

        def one(target: TargetFile | str) -> tuple[str, str]:
            if stop.is_set():
                raise DownloadCancelledError("cancelled before it began")
            info = self._found(target) if isinstance(target, str) else target
            path = self._find_cached(info)
            return info.path, path or self._download(info, None, None, progress, stop)

        with ThreadPoolExecutor(workers) as executor:
            try:
                futures = [executor.submit(one, target) for target in targets]
                wait(futures, return_when=FIRST_EXCEPTION)
                # All are done, or one has failed: ask that one first.
                failed = [f for f in futures if f.done() and f.exception() is not None]
                return dict(future.result() for future in (*failed, *futures))
            finally:
                stop.set()

    def _found(self, target_path: str) -> TargetFile:
        target = self.get_targetinfo(target_path)
        if target is None:
            raise RepositoryError(f"target {target_path!r} is not in the repository")
        return target

    def remove_obsolete_targets(self, target_paths: Iterable[str] | None = None) -> list[str]:
        """Remove local files of target paths that are no longer targets.

        Args:
            target_paths: the target paths to consider; None means all files in the target
                directory, which must then hold nothing else than targets.

        Returns:
            The paths of the files that were removed.

        Raises:
            ValueError: no target directory is given.
            Exception: as :meth:`get_targetinfo`; then nothing is removed.
        """
        if target_paths is None:
            target_paths = self._local_target_paths()
        return self._remove([path for path in target_paths if self.get_targetinfo(path) is None])


class _Stop(threading.Event):
    """Set by itself, or with another event."""

    def __init__(self, other: threading.Event | None) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        """Whether either is set."""
        return super().is_set() or (self._other is not None and self._other.is_set())

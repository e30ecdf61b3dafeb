"""What the blocking and the asyncio client have in common: all but who waits for whom."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from datetime import datetime, timezone
from functools import partial
from typing import IO
from urllib.parse import quote

from tuf.api.exceptions import LengthOrHashMismatchError, OfflineError
from tuf.api.metadata import TargetFile
from tuf.ngclient.cache import Cache
from tuf.ngclient.config import EnvelopeType, UpdaterConfig
from tuf.ngclient.download import Downloader, Limits, Progress, verified_copy
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.local_files import (
    is_below,
    local_errors,
    local_target_paths,
    make_directories,
    open_regular,
    target_file_name,
    target_file_path,
)
from tuf.ngclient.trusted_metadata_set import version_of
from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher
from tuf.ngclient.workflow import Drop, Fetch, Read, Request, Workflow, Write

logger = logging.getLogger(__name__)


class Client:
    """Settings, local files, downloads, and what is trusted; see the subclasses' documentation."""

    def __init__(
        self,
        metadata_dir: str | None,
        metadata_base_url: str,
        target_dir: str | None,
        target_base_url: str | None,
        fetcher: FetcherInterface | None,
        config: UpdaterConfig | None,
        bootstrap: bytes | None,
    ) -> None:
        self.config = config or UpdaterConfig()
        if self.config.envelope_type not in (EnvelopeType.METADATA, EnvelopeType.SIMPLE):
            raise ValueError(f"{self.config.envelope_type!r} is not one of the envelope types")
        self.target_dir = target_dir
        self._metadata_base_url = _with_slash(metadata_base_url)
        self._target_base_url = None if target_base_url is None else _with_slash(target_base_url)
        self._fetcher = fetcher or Urllib3Fetcher(
            app_user_agent=self.config.app_user_agent,
            retries=self.config.retries,
            min_rate=self.config.min_transfer_rate,
            max_seconds=self.config.max_transfer_seconds,
        )
        self._downloader = Downloader(
            self._fetcher,
            Limits(
                self.config.min_transfer_rate,
                self.config.max_transfer_seconds,
                self.config.retries,
            ),
        )
        self._cache = Cache(
            metadata_dir,
            partial(version_of, envelope_type=self.config.envelope_type),
            read_only=self.config.read_only or self.config.offline,
        )
        self._bootstrap = bootstrap
        # The last update that was completed, or what the first one begins with; and whether the
        # newest one was completed.
        self._workflow = self._new_workflow()
        self._refreshed = False

    def _new_workflow(self) -> Workflow:
        # 5.1: each update has its own start time.
        return Workflow(self.config, self._bootstrap, datetime.now(timezone.utc))

    def _perform(self, request: Request) -> bytes | None:
        """Do what the workflow asks for."""
        match request:
            case Read(role, version):
                return self._cache.read(role, version)
            case Fetch(path, max_length):
                url = self._metadata_base_url + path
                logger.debug("downloading %s", url)
                return self._fetcher.download_bytes(url, max_length)
            case Write(role, version, data, view):
                self._cache.write(role, version, data, view)
            case Drop(role, root_version):
                self._cache.drop(role, root_version)
        return None

    def _target_path(self, target_path: str, directory: str | None = None) -> str:
        directory = directory if directory is not None else self.target_dir
        if directory is None:
            raise ValueError("target_dir must be set if filepath is not given")
        name = target_file_path if self.config.targets_in_subdirectories else target_file_name
        return os.path.join(directory, name(target_path))

    def _target_urls(self, target: TargetFile, base_url: str | None) -> list[str]:
        first = self._target_base_url if base_url is None else _with_slash(base_url)
        if first is None:
            raise ValueError("target_base_url must be set in either download_target() or Updater()")
        path = target.path
        if self.config.prefix_targets_with_hash and self._workflow.trusted.root.consistent_snapshot:
            # 5.7.3: consistent snapshots have a hash in front of the name.
            path = target.get_prefixed_paths()[0]
        return [
            base + _url_path(path)
            for base in (first, *map(_with_slash, self.config.target_mirrors))
        ]

    def _find_cached(
        self, target: TargetFile, filepath: str | None = None, directory: str | None = None
    ) -> str | None:
        path = filepath
        if path is None:
            path = self._target_path(target.path, directory)
            if not is_below(directory or self.target_dir or "", path):
                return None
        file = open_regular(path)
        if file is None:
            return None
        with file:
            try:
                target.verify_length_and_hashes(file)
            except (OSError, LengthOrHashMismatchError) as e:
                logger.debug("%s is not current: %s", path, e)
                return None
        return path

    def _updated(self, targets: Iterable[TargetFile], directory: str | None) -> list[TargetFile]:
        return [target for target in targets if self._find_cached(target, None, directory) is None]

    def _download(
        self,
        target: TargetFile,
        filepath: str | None,
        base_url: str | None,
        progress: Progress | None,
        cancel: threading.Event | None,
    ) -> str:
        path = filepath if filepath is not None else self._target_path(target.path)
        if self.config.offline:
            if self._find_cached(target, filepath) is None:
                raise _not_there(target)
            return path
        urls = self._target_urls(target, base_url)
        base = os.path.dirname(path) if filepath is not None else self.target_dir or ""
        make_directories(base, os.path.dirname(os.path.relpath(path, base)))
        self._downloader.to_file(target, urls, path, progress, cancel)
        return path

    def _open(
        self,
        target: TargetFile,
        base_url: str | None,
        progress: Progress | None,
        cancel: threading.Event | None,
    ) -> IO[bytes]:
        if not self.config.offline:
            urls = self._target_urls(target, base_url)
            return self._downloader.to_stream(target, urls, progress, cancel)
        path = None if self.target_dir is None else self._find_cached(target)
        source = None if path is None else open_regular(path)
        if source is None:
            raise _not_there(target)
        with source:
            return verified_copy(target, source)

    def _local_target_paths(self) -> list[str]:
        if self.target_dir is None:
            raise ValueError("target_dir must be set if target_paths are not given")
        return local_target_paths(self.target_dir, self.config.targets_in_subdirectories)

    def _remove(self, target_paths: Iterable[str]) -> list[str]:
        """Remove the local files of target paths; return the paths of those that were there."""
        removed = []
        for path in map(self._target_path, target_paths):
            is_file = os.path.isfile(path) or os.path.islink(path)
            if is_file and is_below(self.target_dir or "", path):
                with local_errors("cannot remove"):
                    os.unlink(path)
                removed.append(path)
        return removed


def _not_there(target: TargetFile) -> OfflineError:
    return OfflineError(f"target {target.path!r} is not there, and the client is offline")


def _with_slash(url: str) -> str:
    return url if url.endswith("/") else f"{url}/"


def _url_path(path: str) -> str:
    """A target path as it stands in a URL: each segment one segment, whatever is in it."""
    # Servers and clients take a dot segment out, so its dots are encoded.
    segments = [
        quote(part, safe="") if part not in (".", "..") else part.replace(".", "%2E")
        for part in path.split("/")
    ]
    return "/".join(segments)

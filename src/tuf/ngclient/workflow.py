"""The order of the client workflow (specification 5), as a generator of requests.

The workflow asks for what it needs: a file of the cache, a file of the repository, something to
be kept. A driver does it and sends the answer, or throws the error. So one workflow serves
blocking and asynchronous clients, and tests that fail any step on purpose. Whether metadata is
trusted is decided in :mod:`tuf.ngclient.trusted_metadata_set`.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from tuf.api._record import shown
from tuf.api.exceptions import (
    DelegationLimitError,
    DownloadHTTPError,
    EqualVersionNumberError,
    LocalFileNotFoundError,
    OfflineError,
    RepositoryError,
)
from tuf.api.metadata import MetaFile, Root, Signed, TargetFile, Targets
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.trusted_metadata_set import TrustedMetadataSet, revokes_online_key

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Read:
    """Asks for a role's file in the cache; the answer is its bytes, or None.

    Args:
        role: the role's name.
        version: for root: a version of its history; None means the current one.
    """

    role: str
    version: int | None = None


@dataclass(frozen=True)
class Fetch:
    """Asks for a file of the repository; the answer is its bytes.

    Args:
        path: where it is, relative to the base URL of metadata.
        max_length: how many bytes to take at most.
    """

    path: str
    max_length: int


@dataclass(frozen=True)
class Write:
    """Asks to keep a verified file in the cache.

    Args:
        role: the role's name.
        version: version of the metadata.
        data: the bytes as they were received.
        view: the versions of root and timestamp with which it was verified.
    """

    role: str
    version: int
    data: bytes
    view: tuple[int, int]


@dataclass(frozen=True)
class Drop:
    """Asks to remove a role's file from the cache.

    Args:
        role: the role's name.
        root_version: version of the root that has it removed.
    """

    role: str
    root_version: int


Request = Read | Fetch | Write | Drop
Steps = Generator[Request, Any, T]


class Run(Generic[T]):
    """A workflow that is being driven, one request at a time.

    Args:
        steps: what it does.
        perform: does what a request asks for, and returns the answer.
    """

    result: T

    def __init__(self, steps: Steps[T], perform: Callable[[Request], Any]) -> None:
        self._steps = steps
        self._perform = perform
        self._request: Request | None = None

    def advance(self) -> bool:
        """Do what was asked for, and go on to the next request.

        Returns:
            Whether there is one; else ``result`` is there.
        """
        try:
            if self._request is None:
                self._request = next(self._steps)
                return True
            try:
                answer = self._perform(self._request)
            except Exception as e:  # noqa: BLE001  # the workflow decides what it means
                self._request = self._steps.throw(e)
            else:
                self._request = self._steps.send(answer)
        except StopIteration as done:
            self.result = done.value
            return False
        return True


class Workflow:
    """One update: its steps, and what is trusted so far.

    Args:
        config: settings.
        bootstrap: the root that is trusted from the start; None means the cache's.
        now: when the update began (5.1).
    """

    def __init__(self, config: UpdaterConfig, bootstrap: bytes | None, now: datetime) -> None:
        self._config = config
        self._bootstrap = bootstrap
        self._now = now
        self.trusted: TrustedMetadataSet
        # The last root, as bytes; and what the cache has as its root.
        self._root_data: bytes
        self._kept: Root | None
        self._kept_data: bytes | None

    def begin(self) -> Steps[None]:
        """Trust the root that the update begins with (5.2)."""
        cached = yield Read("root")
        data = cached if self._bootstrap is None else self._bootstrap
        if data is None:
            raise LocalFileNotFoundError(
                errno.ENOENT, "no root to begin with: none is given, and the cache has none"
            )
        self.trusted = TrustedMetadataSet(data, self._config.envelope_type, now=self._now)
        self._kept_data = cached
        self._kept = self.trusted.root if cached == data else self._read_root(cached)
        if self._kept is None or self.trusted.root.version > self._kept.version:
            yield from self._keep_root(data)
        self._root_data = data

    def refresh(self) -> Steps[None]:
        """Bring all top-level metadata up to date (5.3 to 5.6)."""
        yield from self.begin()
        yield from self._update_root()
        # Read before the timestamp, since it is written after it: others who share the cache may
        # write meanwhile, and no snapshot must be newer than the timestamp that is read next.
        cached_snapshot = yield Read("snapshot")
        yield from self._load_timestamp()
        yield from self._load_snapshot(cached_snapshot)
        yield from self._load_targets("targets", self.trusted.root)

    def _update_root(self) -> Steps[None]:
        downloads = 0
        while True:
            # 5.3.2, 5.3.3: try version N+1, up to a number of new roots.
            version = self.trusted.root.version + 1
            data = yield Read("root", version)
            if data is not None:
                try:
                    # It was verified before, and is verified again.
                    self.trusted.update_root(data)
                except RepositoryError as e:
                    logger.warning("root version %d in the cache is not valid: %s", version, e)
                    data = None
            if data is None:
                if self._config.offline or downloads >= self._config.max_root_rotations:
                    break
                try:
                    data = yield Fetch(f"{version}.root.json", self._config.root_max_length)
                except DownloadHTTPError as e:
                    if e.status_code not in (403, 404):
                        raise
                    break  # 5.3.3: there is no newer root
                downloads += 1
                self.trusted.update_root(data)
                yield from self._keep_root(data)  # 5.3.8
            self._root_data = data  # 5.3.9: once more
        if self._root_data != self._kept_data:
            # What the cache has as its root does not follow from the root that we began with.
            yield from self._keep_root(self._root_data)
        # 5.3.10: only the last root must not have expired.
        self.trusted.check_root_expiry()

    def _keep_root(self, data: bytes) -> Steps[None]:
        root = self.trusted.root
        if self._kept is not None and revokes_online_key(self._kept, root):
            # 5.3.11: recover from a fast-forward attack. Before the root is kept: else a crash
            # in between would leave the old files under a root that tells nothing of it.
            yield Drop("timestamp", root.version)
            yield Drop("snapshot", root.version)
        # 5.3.8: persist.
        yield Write("root", root.version, data, (root.version, 0))
        self._kept, self._kept_data = root, data

    def _read_root(self, data: bytes | None) -> Root | None:
        """The root that the cache has: it tells by whose keys the other files were signed."""
        if data is None:
            return None
        try:
            return TrustedMetadataSet(data, self._config.envelope_type, now=self._now).root
        except RepositoryError as e:
            logger.warning("root in the cache is not valid: %s", e)
            return None

    def _load_timestamp(self) -> Steps[None]:
        cached = yield Read("timestamp")
        if self._config.offline:
            self.trusted.update_timestamp(self._needed(cached, "timestamp"))
            return
        if cached is not None:
            try:
                self.trusted.update_timestamp(cached)
            except RepositoryError as e:
                logger.debug("timestamp in the cache is not current: %s", e)
        # 5.4.1: download it, up to a number of bytes.
        data = yield Fetch("timestamp.json", self._config.timestamp_max_length)
        try:
            self.trusted.update_timestamp(data)
        except EqualVersionNumberError:
            return  # 5.4.3.1: nothing is new
        yield self._write("timestamp", self.trusted.timestamp, data)  # 5.4.5: persist

    def _load_snapshot(self, cached: bytes | None) -> Steps[None]:
        meta = self.trusted.timestamp.snapshot_meta
        if self._config.offline:
            cached = self._needed(cached, "snapshot")
        if cached is not None:
            try:
                # It serves the checks of the next one even if its hashes differ (5.5.5); to be
                # the current one, they must not (5.5.2).
                self.trusted.update_snapshot(cached, trusted=True)
                meta.verify_length_and_hashes(cached)
            except RepositoryError as e:
                if self._config.offline:
                    raise
                logger.debug("snapshot in the cache is not current: %s", e)
            else:
                return
        # 5.5.1: download it, up to the length that the timestamp names.
        data = yield self._fetch("snapshot", meta, self._config.snapshot_max_length)
        self.trusted.update_snapshot(data)
        yield self._write("snapshot", self.trusted.snapshot, data)  # 5.5.7: persist

    def _load_targets(self, role: str, delegator: Root | Targets) -> Steps[Targets]:
        """Load a targets role, as what a delegator delegated to."""
        trusted = self.trusted.delegated(role, delegator)
        if trusted is not None:
            return trusted
        meta = self.trusted.snapshot.meta.get(f"{role}.json")
        if meta is None:
            raise RepositoryError(f"role {role!r} is delegated to, but is not in the snapshot")
        cached = yield Read(role)
        if self._config.offline:
            cached = self._needed(cached, role)
        if cached is not None:
            try:
                return self.trusted.trust_targets(cached, role, delegator)
            except RepositoryError as e:
                if self._config.offline:
                    raise
                logger.debug("%s in the cache is not current: %s", shown(role), e)
        # 5.6.1: download it, up to the length that the snapshot names.
        data = yield self._fetch(role, meta, self._config.targets_max_length)
        targets = self.trusted.trust_targets(data, role, delegator)
        yield self._write(role, targets, data)  # 5.6.6: persist
        return targets

    def find_target(self, path: str) -> Steps[TargetFile | None]:
        """Search for a target path (5.6.7): depth first, in order of appearance.

        Raises:
            DelegationLimitError: the search would follow too many delegations.
        """
        to_visit: list[tuple[str, Root | Targets]] = [("targets", self.trusted.root)]
        visited: set[str] = set()
        while to_visit:
            role, delegator = to_visit.pop()
            # 5.6.7.1: a role is visited once, and only so many are.
            if role in visited:
                continue
            if len(visited) > self._config.max_delegations:
                raise DelegationLimitError(
                    f"target {path!r}: not found in {len(visited)} roles, and there are more;"
                    f" the limit is {self._config.max_delegations} delegations"
                )
            targets = yield from self._load_targets(role, delegator)
            target = targets.targets.get(path)
            if target is not None:
                return target
            visited.add(role)
            if targets.delegations is None:
                continue
            # 5.6.7.2: the delegations in order of appearance; a terminating one is the last.
            children: list[tuple[str, Root | Targets]] = []
            for child, terminating in targets.delegations.get_roles_for_target(path):
                children.append((child, targets))
                if terminating:
                    to_visit.clear()
                    break
            to_visit.extend(reversed(children))
        return None

    def list_targets(self, only_role: str | None = None) -> Steps[list[TargetFile]]:
        """List the targets that a search finds: in all roles, or in one.

        Raises:
            ValueError: no role of that name is delegated to.
        """
        to_visit: list[tuple[str, Root | Targets]] = [("targets", self.trusted.root)]
        visited: dict[str, Targets] = {}
        while to_visit and only_role not in visited:
            role, delegator = to_visit.pop()
            if role in visited:
                continue
            visited[role] = targets = yield from self._load_targets(role, delegator)
            if targets.delegations is not None:
                bins = targets.delegations.succinct_roles
                names = list(bins.get_roles() if bins else targets.delegations.roles or ())
                to_visit.extend((name, targets) for name in reversed(names))
        if only_role is not None:
            if only_role not in visited:
                raise ValueError(f"role {only_role!r} is not delegated to")
            visited = {only_role: visited[only_role]}
        found = {}
        for targets in visited.values():
            # A role may list what it is not trusted with, or what another role comes first for.
            for path, target in targets.targets.items():
                if path not in found and (yield from self.find_target(path)) == target:
                    found[path] = target
        return list(found.values())

    def _fetch(self, role: str, meta: MetaFile, max_length: int) -> Fetch:
        # 5.5.1, 5.6.1: consistent snapshots have the version in front of the name. A role's name
        # is any string: encoded, it stays one segment of the URL.
        name = f"{quote(role, safe='')}.json"
        if self.trusted.root.consistent_snapshot:
            name = f"{meta.version}.{name}"
        return Fetch(name, max_length if meta.length is None else meta.length)

    def _write(self, role: str, signed: Signed, data: bytes) -> Write:
        view = self.trusted.root.version, self.trusted.timestamp.version
        return Write(role, signed.version, data, view)

    def _needed(self, cached: bytes | None, role: str) -> bytes:
        if cached is None:
            raise OfflineError(f"{shown(role)} is not in the cache, and the client is offline")
        return cached

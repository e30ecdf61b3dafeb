"""Taking a repository over that was made elsewhere, and mirroring one by URL."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

import urllib3

from tuf.api._json import Received
from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Signature,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.repository._state import (
    TIMESTAMP,
    M,
    delegates,
    metadata_name,
    read_metadata,
)
from tuf.repository.managed import ManagedRepository, again
from tuf.repository.signers import KeySource
from tuf.repository.store import Store

#: The largest metadata file that is taken, in bytes, where nothing says its length.
_MAX_METADATA = 512 << 20
_MAX_ROOT = 1 << 20


def keys_in(directory: str | os.PathLike[str]) -> dict[str, KeySource]:
    """The private keys in the files of a directory, by file name, for a policy.

    Files that are named like others with ``.pub`` are their public keys.

    Args:
        directory: PEM files, or the keystore of the legacy tool.
    """
    found = {}
    for path in sorted(Path(directory).iterdir()):
        if path.suffix != ".pub" and path.is_file():
            found[path.stem] = KeySource(path.stem, f"file:{path.absolute()}")
    return found


class Source:
    """Where a repository is read from that is to be taken over or mirrored."""

    def metadata(self, name: str, limit: int) -> bytes | None:
        """A metadata file, by its name below the metadata; None if it is not there."""
        raise NotImplementedError

    def target(self, path: str, length: int) -> bytes | None:
        """A target file, by its path below the targets; None if it is not there."""
        raise NotImplementedError


class DirectorySource(Source):
    """A repository in a directory, with ``metadata`` and ``targets`` in it.

    Args:
        directory: the directory.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)

    def metadata(self, name: str, limit: int) -> bytes | None:
        """A metadata file."""
        return self._read("metadata", name, limit)

    def target(self, path: str, length: int) -> bytes | None:
        """A target file."""
        return self._read("targets", path, length)

    def _read(self, directory: str, name: str, limit: int) -> bytes | None:
        base = (self._directory / directory).resolve()
        path = (base / name).resolve()
        if not path.is_relative_to(base) or not path.is_file():
            return None
        with path.open("rb") as file:
            return _bounded(file.read(limit + 1), name, limit)


class URLSource(Source):
    """A repository behind URLs.

    Args:
        metadata_url: where its metadata is.
        targets_url: where its targets are.
        timeout: how long to wait for an answer, or for more of it, in seconds.
    """

    def __init__(self, metadata_url: str, targets_url: str, timeout: float = 30) -> None:
        self._metadata_url = metadata_url.rstrip("/")
        self._targets_url = targets_url.rstrip("/")
        self._http = urllib3.PoolManager(timeout=urllib3.Timeout(timeout), retries=2)

    def metadata(self, name: str, limit: int) -> bytes | None:
        """A metadata file."""
        return self._get(f"{self._metadata_url}/{quote(name, safe='')}", limit)

    def target(self, path: str, length: int) -> bytes | None:
        """A target file."""
        return self._get(f"{self._targets_url}/{quote(path)}", length)

    def _get(self, url: str, limit: int) -> bytes | None:
        try:
            response = self._http.request("GET", url, preload_content=False)
            try:
                if response.status in (403, 404):
                    return None
                if response.status != 200:
                    message = f"{url}: HTTP status {response.status}"
                    raise DownloadHTTPError(message, response.status)
                data = b"".join(_up_to(response.stream(1 << 20), limit + 1))
            finally:
                response.release_conn()
        except urllib3.exceptions.HTTPError as e:
            raise DownloadError(f"{url}: {e}") from e
        return _bounded(data, url, limit)


def _up_to(blocks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    found = 0
    for block in blocks:
        yield block
        found += len(block)
        if found >= limit:
            return


def _bounded(data: bytes, what: str, limit: int) -> bytes:
    if len(data) > limit:
        raise RepositoryError(f"{what} is longer than {limit} bytes")
    return data


def mirror(source: Source, store: Store, root: bytes, *, targets: bool = True) -> list[str]:
    """Copy a repository into a store, verified, as far as it is new. To run it again updates it.

    What is copied is signed by whom it should be, whole, and not older than what the store has.
    Metadata that has expired is copied all the same: clients decide.

    Args:
        source: the repository.
        store: the store, which is empty or holds the same repository.
        root: a root of it that is trusted, with which the chain begins.
        targets: copy target files as well.

    Returns:
        The names of the files that are new in the store.

    Raises:
        RepositoryError: the repository is not valid.
        DownloadError: it cannot be read.
        StorageError: the store failed.
    """
    return again(lambda: _Copy(source, store).run(root, targets))


class _Copy:
    def __init__(self, source: Source, store: Store) -> None:
        self._source = source
        self._store = store
        self._new: list[str] = []

    def run(self, trusted: bytes, targets: bool) -> list[str]:
        root = self._roots(trusted)
        consistent = bool(root.consistent_snapshot)
        old = self._store.read(TIMESTAMP)
        data = self._metadata("timestamp.json", _MAX_ROOT)
        timestamp, received = read_metadata(data, Timestamp, "timestamp")
        root.verify_received("timestamp", received, timestamp.signatures)
        if old is not None:
            before = read_metadata(old, Timestamp, "timestamp in the store")[0].signed
            if timestamp.signed.version < before.version:
                raise RepositoryError(
                    f"timestamp is version {timestamp.signed.version},"
                    f" the store has {before.version}"
                )
        meta = timestamp.signed.snapshot_meta
        snapshot = self._file("snapshot", Snapshot, meta, consistent)
        root.verify_received("snapshot", snapshot[1], snapshot[0].signatures)
        self._targets(root, snapshot[0].signed, consistent, targets)
        if old != data:
            self._store.swap(TIMESTAMP, old, data)
            self._new.append(TIMESTAMP)
        return self._new

    def _roots(self, trusted: bytes) -> Root:
        md, received = read_metadata(trusted, Root, "trusted root")
        root = md.signed
        root.verify_received("root", received, md.signatures)
        self._earlier_roots(root, received, md.signatures)
        self._create(metadata_name("root", root.version), trusted)
        while True:
            name = f"{root.version + 1}.root.json"
            data = self._source.metadata(name, _MAX_ROOT)
            if data is None:
                return root
            md, received = read_metadata(data, Root, name)
            for delegator in (root, md.signed):
                delegator.verify_received("root", received, md.signatures)
            if md.signed.version != root.version + 1:
                raise RepositoryError(f"{name} says it is version {md.signed.version}")
            root = md.signed
            self._create(f"metadata/{name}", data)

    def _earlier_roots(
        self, root: Root, received: Received, signatures: dict[str, Signature]
    ) -> None:
        """Copy the roots that led to the trusted one: clients may begin with an earlier one."""
        while root.version > 1:
            name = f"{root.version - 1}.root.json"
            data = self._metadata(name, _MAX_ROOT)
            before, its = read_metadata(data, Root, name)
            if before.signed.version != root.version - 1:
                raise RepositoryError(f"{name} says it is version {before.signed.version}")
            before.signed.verify_received("root", its, before.signatures)
            # Nobody can make up a root before: its keys have signed the one that is trusted.
            before.signed.verify_received("root", received, signatures)
            self._create(f"metadata/{name}", data)
            root, received, signatures = before.signed, its, before.signatures

    def _metadata(self, name: str, limit: int) -> bytes:
        data = self._source.metadata(name, limit)
        if data is None:
            raise RepositoryError(f"{name} is not there")
        return data

    def _file(
        self, role: str, kind: type[M], meta: MetaFile, consistent: bool
    ) -> tuple[Metadata[M], Received]:
        stored = self._store.read(metadata_name(role, meta.version))
        if stored is not None:
            return read_metadata(stored, kind, role)
        name = f"{meta.version}.{role}.json" if consistent else f"{role}.json"
        data = self._metadata(name, meta.length or _MAX_METADATA)
        meta.verify_length_and_hashes(data)
        md, received = read_metadata(data, kind, role)
        if md.signed.version != meta.version:
            raise RepositoryError(f"{name} is version {md.signed.version}, wanted {meta.version}")
        self._create(metadata_name(role, meta.version), data)
        return md, received

    def _create(self, name: str, data: bytes) -> None:
        if self._store.create_many([(name, data)]):
            if self._store.read(name) != data:
                raise RepositoryError(f"{name} in the store is another than the source's")
        else:
            self._new.append(name)

    def _targets(self, root: Root, snapshot: Snapshot, consistent: bool, contents: bool) -> None:
        waiting: list[tuple[str, Root | Targets]] = [("targets", root)]
        seen = {"targets"}
        while waiting:
            role, delegator = waiting.pop(0)
            if f"{role}.json" not in snapshot.meta:
                raise RepositoryError(f"{role} is delegated to, and not in the snapshot")
            meta = snapshot.meta[f"{role}.json"]
            md, received = self._file(role, Targets, meta, consistent)
            delegator.verify_received(role, received, md.signatures)
            if contents:
                for path in md.signed.targets:
                    self._target(md.signed.targets[path], consistent)
            delegations = md.signed.delegations
            names: Iterable[str] = () if delegations is None else delegations.roles or ()
            if delegations is not None and delegations.succinct_roles is not None:
                names = delegations.succinct_roles.get_roles()
            for name in names:
                if name not in seen and delegates(md.signed, name):
                    seen.add(name)
                    waiting.append((name, md.signed))

    def _target(self, target: TargetFile, consistent: bool) -> None:
        names = target.get_prefixed_paths()
        there = {name for name in names if self._store.read(f"targets/{name}") is not None}
        if len(there) == len(names):
            return
        data = None
        for name in names if consistent else [target.path]:
            data = data if data is not None else self._source.target(name, target.length)
        if data is None:
            raise RepositoryError(f"target {target.path} is not there")
        target.verify_length_and_hashes(data)
        for name in names:
            if name not in there:
                self._create(f"targets/{name}", data)


def adopt(source: Source, repository: ManagedRepository, root: bytes) -> list[str]:
    """Take a repository over: copy it into the repository's store, verified, and go on with it.

    A repository without consistent snapshots gets them with its next root, which is published
    at once if the root's keys are here, and is a draft otherwise.

    Args:
        source: the repository that was made elsewhere.
        repository: an empty one, whose policy names the keys.
        root: a root of the source that is trusted.

    Returns:
        The names of the files that are new in the store.

    Raises:
        RepositoryError: the repository is not valid.
        KeyUnavailable: a key cannot be used.
        StorageError: the store failed.
    """
    new = mirror(source, repository.store, root)
    state = repository.state()
    if not state.root.consistent_snapshot:
        repository.use_consistent_snapshots()
    return new

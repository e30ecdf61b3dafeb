"""What a store holds at one moment, verified."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar, cast

from tuf.api._json import Received
from tuf.api._verification import Delegator
from tuf.api.exceptions import BadVersionNumberError, RepositoryError, UnsignedMetadataError
from tuf.api.metadata import TOP_LEVEL_ROLE_NAMES, Metadata, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import ReceivedFile
from tuf.repository.store import Store

TIMESTAMP = "metadata/timestamp.json"

M = TypeVar("M", Root, Timestamp, Snapshot, Targets)


class MissingMetadata(RepositoryError):
    """A metadata file that others name is not in the store."""


def metadata_name(role: str, version: int) -> str:
    """The name of a metadata file in the store."""
    return f"metadata/{version}.{role}.json"


def split_name(name: str) -> tuple[str, int]:
    """The role and version of a metadata file in the store; version 0 for a file without one."""
    version, _, role = name.removeprefix("metadata/").removesuffix(".json").partition(".")
    return (role, int(version)) if version.isdecimal() and version.isascii() else (name, 0)


def draft_name(role: str) -> str:
    """The name of a role's draft in the store."""
    return f"drafts/{role}.json"


def read_metadata(data: bytes, kind: type[M], what: str) -> tuple[Metadata[M], Received]:
    """Make metadata of a file, and keep the bytes that signatures are over.

    Raises:
        RepositoryError: it is not valid, or not of that kind.
    """
    file = ReceivedFile(data)
    metadata: Metadata[Any] = file.metadata()
    if not isinstance(metadata.signed, kind):
        raise RepositoryError(f"{what} is {metadata.signed.type} metadata, wanted {kind.type}")
    return metadata, Received(bytes(file.signed_data))


def is_complete(draft: Metadata[Root], received: Received, before: list[Root]) -> bool:
    """Whether a root that is to follow others has all signatures it needs (5.3.4)."""
    return all(
        delegator.count_signatures("root", received, draft.signatures).verified
        for delegator in (*before[-1:], draft.signed)
    )


class RootChain:
    """All roots of a store, verified from version 1 on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.roots: list[Root] = []

    def update(self) -> list[Root]:
        """Read the roots that are new.

        Raises:
            RepositoryError: one is not valid.
        """
        while (data := self._store.read(metadata_name("root", len(self.roots) + 1))) is not None:
            what = f"root version {len(self.roots) + 1}"
            metadata, received = read_metadata(data, Root, what)
            if metadata.signed.version != len(self.roots) + 1:
                raise BadVersionNumberError(f"{what} says it is {metadata.signed.version}")
            for delegator in (*self.roots[-1:], metadata.signed):
                delegator.verify_received("root", received, metadata.signatures)
            self.roots.append(metadata.signed)
        return self.roots


class State:
    """What a store holds at one moment.

    A repository that does not exist yet has no roots.

    Args:
        store: the store.
        chain: the roots that were read before.

    Raises:
        RepositoryError: metadata is missing, not valid, or not signed by whom it should be.
    """

    def __init__(self, store: Store, chain: RootChain) -> None:
        self._store = store
        # The order matters. Whoever changes the keys of online roles first stages a root, then
        # swaps the timestamp, then publishes the root: who has seen that timestamp sees the root,
        # and who has not will fail to swap.
        self.timestamp_data = store.read(TIMESTAMP)
        self.root_draft_data = self.root_draft = store.read(draft_name("root"))
        self.roots = list(chain.update())
        self._files: dict[str, tuple[Metadata[Any], bytes]] = {}
        #: Top-level roles that only the keys of the root before have signed, as far as they were
        #: read: whoever published the last root did not get any further.
        self.outdated: set[str] = set()
        self.staged: Metadata[Root] | None = None
        if self.root_draft is not None:
            draft, received = read_metadata(self.root_draft, Root, "draft of root")
            if draft.signed.version == len(self.roots) + 1:
                self.staged = draft if is_complete(draft, received, self.roots) else None
            else:
                self.root_draft = None  # it is published, or will never be
        self.timestamp: Metadata[Timestamp] | None = None
        self.snapshot: Metadata[Snapshot] | None = None
        if self.timestamp_data is not None:
            self.timestamp = self._verified(self.timestamp_data, Timestamp, "timestamp")
            meta = self.timestamp.signed.snapshot_meta
            data = self._read("snapshot", meta.version)
            meta.verify_length_and_hashes(data)
            self.snapshot = self._verified(data, Snapshot, "snapshot")

    @property
    def root(self) -> Root:
        """The last root."""
        return self.roots[-1]

    def _read(self, role: str, version: int) -> bytes:
        data = self._store.read(metadata_name(role, version))
        if data is None:
            raise MissingMetadata(f"{metadata_name(role, version)} is not in the store")
        return data

    def _verified(self, data: bytes, kind: type[M], role: str) -> Metadata[M]:
        """Metadata of a top-level role.

        The root before counts, too: a role whose key was lost is not signed anew yet when the
        root that gives it another key is published.
        """
        metadata, received = read_metadata(data, kind, role)
        try:
            self.root.verify_received(role, received, metadata.signatures)
        except UnsignedMetadataError:
            if len(self.roots) == 1:
                raise
            self.roots[-2].verify_received(role, received, metadata.signatures)
            self.outdated.add(role)
        return metadata

    def version(self, role: str) -> int:
        """The version of a targets role; 0 if the snapshot does not list it."""
        if self.snapshot is None:
            return 0
        meta = self.snapshot.signed.meta.get(f"{role}.json")
        return 0 if meta is None else meta.version

    def file(self, role: str) -> bytes | None:
        """The file of a targets role, not verified; None if there is none."""
        version = self.version(role)
        return self._read(role, version) if version else None

    def targets(self, role: str) -> Metadata[Targets] | None:
        """The metadata of a targets role; None if there is none that anybody trusts.

        Raises:
            RepositoryError: it is missing or not valid.
        """
        if role not in self._files:
            data = self.file(role)
            if data is None:
                return None
            if role == "targets":
                metadata = self._verified(data, Targets, role)
            else:
                delegator = self.delegator(role)
                if delegator is None:
                    return None  # still in the snapshot, but nobody trusts it any more
                metadata, received = read_metadata(data, Targets, role)
                delegator.verify_received(role, received, metadata.signatures)
            if metadata.signed.version != self.version(role):
                raise BadVersionNumberError(
                    f"{role} is version {metadata.signed.version},"
                    f" snapshot names {self.version(role)}"
                )
            self._files[role] = metadata, data
        return cast("Metadata[Targets]", self._files[role][0])

    def copy(self, role: str) -> Metadata[Targets] | None:
        """The same, as a copy that may be changed."""
        if self.targets(role) is None:
            return None
        return read_metadata(self._files[role][1], Targets, role)[0]

    def delegator(self, role: str) -> Delegator | None:
        """Who delegates to a role; None if nobody does."""
        if role in TOP_LEVEL_ROLE_NAMES:
            return self.root
        return next((d for _, d in self.delegators() if delegates(d, role)), None)

    def delegators(self) -> Iterator[tuple[str, Targets]]:
        """The targets roles that delegate, by name, ``targets`` first. Bins do not."""
        waiting, seen = ["targets"], {"targets"}
        while waiting:
            name = waiting.pop(0)
            metadata = self.targets(name)
            if metadata is None or metadata.signed.delegations is None:
                continue
            yield name, metadata.signed
            new = [r for r in metadata.signed.delegations.roles or () if r not in seen]
            waiting += new
            seen.update(new)


def delegates(delegator: Targets, role: str) -> bool:
    """Whether a targets role delegates to a role."""
    if delegator.delegations is None:
        return False
    bins = delegator.delegations.succinct_roles
    if bins is not None:
        return bins.is_delegated_role(role)
    return role in (delegator.delegations.roles or {})

"""The metadata that a publication is made of, while changes are applied to it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, cast

from tuf.api._entries import Entries, MetaShape
from tuf.api._verification import Delegator
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.repository._abstract import Repository
from tuf.repository._bins import Spool, new_targets
from tuf.repository._state import (
    State,
    delegates,
    draft_name,
    read_metadata,
)
from tuf.repository.policy import Policy
from tuf.repository.signers import Keyring
from tuf.repository.store import Store


@dataclass
class Publication:
    """What was published, or would be.

    Args:
        versions: the new version of each role that has one.
        drafts: roles that wait for signatures, and how many are missing; none are missing of a
            root that waits for the draft of another role.
    """

    versions: dict[str, int] = field(default_factory=dict)
    drafts: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.versions or self.drafts)


X = TypeVar("X", bound="Transaction")


class BinEdits:
    """What is to become of the bins of one role."""

    def __init__(self) -> None:
        self.spool = Spool()
        #: Make new versions of these bins, whether or not they change.
        self.names: set[str] = set()
        #: Make new versions of all bins.
        self.all = False
        #: Forget the targets that the bins have.
        self.clear = False


class Transaction(Repository):
    """Changes on top of what a store holds.

    Args:
        store: the store.
        state: what it holds.
        policy: how the repository is run.
        keyring: the keys to sign with.
        now: the time.
        executor: where bins are made; None for here.
    """

    def __init__(
        self,
        store: Store,
        state: State,
        policy: Policy,
        keyring: Keyring,
        now: datetime,
        executor: Executor | None = None,
    ) -> None:
        self.store = store
        self.state = state
        self.policy = policy
        self._keyring = keyring
        self.now = now
        self._executor = executor
        self._pending: dict[str, Metadata[Any]] = {}
        self._presigned: dict[str, Metadata[Any]] = {}
        self._bins: dict[str, BinEdits] = {}
        self._infos: dict[str, MetaFile] = {}
        self._snapshot_info: MetaFile | None = None
        self._drafts: dict[str, bytes | None] = {"root": state.root_draft}
        self._forced: set[str] = set()
        self._next_root: Root | None = None
        self._root_file = b""
        self._done = Publication()
        self._open = ExitStack()

    def __enter__(self: X) -> X:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    # The abstract repository.

    def open(self, role: str) -> Metadata[Any]:
        """Return what the role's next metadata is made of: its draft, or what is published."""
        if role in self._pending:
            return self._pending[role]
        if (data := self._draft(role)) is not None:
            draft = read_draft(data, role)
            if draft.signed.version > self._version(role):
                draft.signatures.clear()
                return draft
        if role == "root":
            return Metadata(copy.deepcopy(self.state.root) if self.state.roots else Root())
        if role == "timestamp":
            return self.state.timestamp or Metadata(Timestamp())
        if role == "snapshot":
            return self.state.snapshot or Metadata(Snapshot(meta=new_meta()))
        return self.state.copy(role) or Metadata(new_targets())

    def close(self, role: str, md: Metadata[Any]) -> None:
        """Make changed metadata part of the publication."""
        md.signed.version = self._version(role) + 1
        md.signed.expires = self.now + self.policy.role(role).expires
        md.signatures.clear()
        self._pending[role] = md

    @property
    def targets_infos(self) -> dict[str, MetaFile]:
        """What the snapshot is to say of the targets roles that were written."""
        return self._infos

    @property
    def snapshot_info(self) -> MetaFile:
        """What the timestamp is to say of the snapshot."""
        if self._snapshot_info is None:
            assert self.state.timestamp is not None  # noqa: S101  # else there is a new snapshot
            return self.state.timestamp.signed.snapshot_meta
        return self._snapshot_info

    def _version(self, role: str) -> int:
        if role == "root":
            return len(self.state.roots)
        if role == "timestamp":
            return self.state.timestamp.signed.version if self.state.timestamp else 0
        if role == "snapshot":
            return self.state.snapshot.signed.version if self.state.snapshot else 0
        return self.state.version(role)

    def _draft(self, role: str) -> bytes | None:
        if role not in self._drafts:
            is_targets = role not in ("timestamp", "snapshot")
            self._drafts[role] = self.store.read(draft_name(role)) if is_targets else None
        return self._drafts[role]

    def root(self) -> Root:
        """The root that counts for what is published now."""
        return self._next_root or self.state.root

    def _delegators(self, role: str) -> list[Delegator]:
        """Whose keys a role is to be signed with: as it is, and as it is to be."""
        if role in ("timestamp", "snapshot", "targets"):
            roots = [self.state.root, self._next_root]
            return [root for root in roots if root is not None]
        found = [d for d in (self.state.delegator(role), self._delegator(role)) if d is not None]
        return found[:1] if len(found) == 2 and found[0] is found[1] else found

    def _delegator(self, role: str) -> Targets | None:
        """Who is to delegate to a role."""
        return next((t for _, t in self.walk() if delegates(t, role)), None)

    def walk(self) -> Iterator[tuple[str, Targets]]:
        """The targets roles as they are to be, without bins: delegators before delegated."""
        waiting, seen = ["targets"], {"targets"}
        while waiting:
            name = waiting.pop(0)
            targets = self.look(name)
            if targets is None:
                continue
            yield name, targets
            roles = (targets.delegations.roles if targets.delegations else None) or ()
            waiting += [role for role in roles if role not in seen]
            seen.update(roles)

    # For changes.

    def touch(self, role: str) -> Targets:
        """The metadata of a targets role, which gets a new version."""
        with self.edit_targets(role) as targets:
            return targets

    def look(self, role: str) -> Targets | None:
        """The metadata of a targets role as it is now, not to be changed; None if there is none."""
        if role in self._pending:
            found: Targets = self._pending[role].signed
            return found
        metadata = self.state.targets(role)
        return None if metadata is None else metadata.signed

    def is_pending(self, role: str) -> bool:
        """Whether a role gets a new version."""
        return role in self._pending

    def has_draft(self, role: str) -> bool:
        """Whether a role waits for signatures."""
        data = self._draft(role)
        return data is not None and read_draft(data, role).signed.version > self._version(role)

    def drop(self, role: str) -> None:
        """Let a role not get a new version."""
        self._pending.pop(role, None)
        self._bins.pop(role, None)

    def entries(self, role: str) -> Iterator[tuple[str, bytes]]:
        """The targets that a role lists, as JSON, by path."""
        targets = self.look(role)
        if targets is not None:
            yield from cast("Entries[TargetFile]", targets.targets).raw()

    def entries_in_bins(self, role: str) -> Iterator[tuple[str, bytes]]:
        """The targets that the bins of a role list in the store. One bin at a time is in memory."""
        delegator = self.state.targets(role)
        if delegator is None or delegator.signed.delegations is None:
            return
        bins = delegator.signed.delegations.succinct_roles
        for name in bins.get_roles() if bins is not None else ():
            if (data := self.state.file(name)) is not None:
                md, received = read_metadata(data, Targets, name)
                delegator.signed.verify_received(name, received, md.signatures)
                yield from cast("Entries[TargetFile]", md.signed.targets).raw()

    def bins_of(self, role: str) -> SuccinctRoles | None:
        """The bins of a role; None if it has none."""
        targets = self.look(role)
        if targets is None or targets.delegations is None:
            return None
        return targets.delegations.succinct_roles

    def bin_edits(self, role: str) -> BinEdits:
        """What is to become of the bins of a role."""
        if role not in self._bins:
            self._bins[role] = BinEdits()
            self._open.callback(self._bins[role].spool.close)
        return self._bins[role]

    def replace_bin_edits(self, role: str) -> BinEdits:
        """Begin anew; return what was to become of the bins."""
        before = self.bin_edits(role)
        del self._bins[role]
        return before

    def adopt_drafts(self) -> None:
        """Make drafts that have all their signatures part of the publication."""
        for info in list(self.store.list("drafts/")):
            role = info.name.removeprefix("drafts/").removesuffix(".json")
            data = self._draft(role)
            if role == "root" or data is None:
                continue
            draft, received = read_metadata(data, Targets, f"draft of {role}")
            delegators = list(self._delegators(role))
            if (
                draft.signed.version > self._version(role)
                and delegators
                and not any(
                    d.count_signatures(role, received, draft.signatures).missing for d in delegators
                )
            ):
                self._presigned[role] = draft
                self._pending[role] = Metadata(draft.signed)

    def force(self, role: str) -> None:
        """Make a new snapshot or timestamp, whether or not anything else changes."""
        self._forced.add(role)


def read_draft(data: bytes, role: str) -> Metadata[Any]:
    """Make metadata of a draft."""
    if role == "root":
        return read_metadata(data, Root, "draft of root")[0]
    return read_metadata(data, Targets, f"draft of {role}")[0]


def new_meta() -> dict[str, MetaFile]:
    """What a snapshot says of nothing."""
    return Entries.empty(MetaShape, Snapshot.make_meta, "snapshot meta")

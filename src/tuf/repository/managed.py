"""A complete repository: what its people and machines do with it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from itertools import chain
from typing import TypeVar

from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import TOP_LEVEL_ROLE_NAMES, Role, Root
from tuf.repository._apply import apply_all
from tuf.repository._commit import Commit
from tuf.repository._renew import renew_due
from tuf.repository._replay import Replay
from tuf.repository._state import MissingMetadata, RootChain, State, draft_name, metadata_name
from tuf.repository._sweep import sweepable
from tuf.repository._transaction import Publication, Transaction
from tuf.repository.audit import Finding, audit
from tuf.repository.changes import Change, SetBins
from tuf.repository.drafts import (
    Draft,
    OpenDraft,
    draft_roles,
    export,
    open_draft,
    read_signature,
)
from tuf.repository.policy import Policy
from tuf.repository.signers import Keyring
from tuf.repository.store import Conflict, Store, WriteNothing

D = TypeVar("D")

#: How often a publication begins again, because others publish at the same time.
_ATTEMPTS = 100


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(timezone.utc)


class ManagedRepository:
    """A repository in a store, which any number of people and machines may publish to.

    Args:
        store: where its files are.
        policy: how it is run; None means the defaults.
        keyring: the keys to sign with; None means those of the policy.
        executor: where files are hashed and bins are made, in bulk; None for here.
        clock: tells the time, in UTC.
    """

    def __init__(
        self,
        store: Store,
        policy: Policy | None = None,
        keyring: Keyring | None = None,
        *,
        executor: Executor | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.store = store
        self.policy = policy or Policy()
        self.keyring = keyring or self.policy.keyring()
        self._executor = executor
        self._clock = clock
        self._chain = RootChain(store)

    def state(self) -> State:
        """What the store holds now, verified.

        Raises:
            RepositoryError: something is missing or not valid.
        """
        return State(self.store, self._chain)

    def create(self, changes: Iterable[Change] = (), *, dry_run: bool = False) -> Publication:
        """Make a new repository as the policy says. To run it again does what is not done yet.

        If the root's keys are not all here, the root becomes a draft, and nothing else is done.

        Args:
            changes: what it is to begin with.
            dry_run: only tell what would be published.

        Raises:
            ValueError: the policy does not give each role keys.
            KeyUnavailable: a key cannot be used.
        """
        done = Publication() if dry_run else self._publish_drafts()
        state = self.state()
        if not state.roots and state.root_draft is not None:
            return Publication({}, {draft.role: draft.missing for draft in self.drafts()})
        if not state.roots:
            tx = self._transaction(state, dry_run)
            with tx.edit_root() as root:
                self._set_roles(root)
            done = tx.commit()
        if not self.state().roots:
            return done
        bins = self.policy.bins
        if bins is not None and state.snapshot is None:
            keys = tuple(map(self.keyring.public_key, bins.keys))
            changes = chain([SetBins(bins.bits, keys, bins.threshold, bins.prefix)], changes)
        published = self.publish(changes)
        return Publication({**done.versions, **published.versions}, published.drafts)

    def _set_roles(self, root: Root) -> None:
        for name in sorted(TOP_LEVEL_ROLE_NAMES):
            policy = self.policy.role(name)
            if not policy.keys:
                raise ValueError(f"the policy gives role {name} no keys")
            keys = [self.keyring.public_key(key) for key in policy.keys]
            root.roles[name] = Role([key.keyid for key in keys], policy.threshold)
            root.keys.update((key.keyid, key) for key in keys)

    def publish(self, changes: Iterable[Change] = (), *, dry_run: bool = False) -> Publication:
        """Make changes, sign and publish, as one transaction.

        Roles whose keys are not here become drafts, and the rest is published. Drafts that have
        all their signatures are published first.

        Any number of processes may publish at the same time: who comes second begins again on
        top of what the first one published.

        Args:
            changes: the changes, in their order: a list, or a stream of any length.
            dry_run: write nothing; sign and tell what would be published.

        Raises:
            ValueError: a change cannot be made.
            RepositoryError: what is in the store is not valid, or cannot be signed.
            KeyUnavailable: a key cannot be used.
            StorageError: the store failed.
        """
        done = Publication()
        if not dry_run:
            done = self._publish_drafts()
        with Replay(changes) as replay:

            def apply(tx: Transaction) -> None:
                if not tx.state.roots:
                    raise MissingMetadata("there is no repository in the store: create() makes one")
                apply_all(tx, replay, self._executor)

            published = self._try(apply, dry_run)
        return Publication({**done.versions, **published.versions}, published.drafts)

    def use_consistent_snapshots(self) -> Publication:
        """Let the next root say that file names carry versions and hashes (6.2).

        Raises:
            RepositoryError: what is in the store is not valid.
            KeyUnavailable: a key cannot be used.
        """

        def change(tx: Transaction) -> None:
            if not tx.state.root.consistent_snapshot:
                with tx.edit_root() as root:
                    root.consistent_snapshot = True

        return self._try(change)

    def renew(self, *, dry_run: bool = False) -> Publication:
        """Sign anew what is due by its signing period; nothing else is touched.

        It is safe to run at any time, on any number of machines. Roles whose keys are not here
        become drafts, once; all drafts are in the result.

        Args:
            dry_run: only tell what would be published.

        Raises:
            RepositoryError: what is in the store is not valid, or cannot be signed.
            KeyUnavailable: a key cannot be used.
            StorageError: the store failed.
        """
        done = Publication() if dry_run else self._publish_drafts()
        renewed = self._try(renew_due, dry_run)
        waiting = {draft.role: draft.missing for draft in self.drafts() if not draft.stale}
        return Publication({**done.versions, **renewed.versions}, {**renewed.drafts, **waiting})

    def audit(self, days: float = 0, *, hashes: bool = False) -> list[Finding]:
        """Look whether the repository is valid as a client sees it, and what else is strange.

        Args:
            days: look how it will be in so many days, if nothing is done.
            hashes: read all target files and check their hashes; else only their lengths.

        Returns:
            What was found, errors first; nothing, if all is well.

        Raises:
            StorageError: the store failed.
        """
        return audit(self.store, self.policy, self._clock() + timedelta(days=days), hashes=hashes)

    def sweep(self, *, dry_run: bool = False) -> list[str]:
        """Delete what nothing has named for longer than the policy's retention.

        All roots are kept, and so is everything that the current snapshot names.

        Args:
            dry_run: only tell what would be deleted.

        Returns:
            The names of the files.

        Raises:
            RepositoryError: what is in the store is not valid.
            StorageError: the store failed.
        """
        grace = self.policy.retention.total_seconds()
        names = sweepable(self.store, self.state(), self._clock().timestamp(), grace)
        if not dry_run:
            for name in names:
                self.store.delete(name)
            self.store.clean(grace)
        return names

    # Drafts.

    def drafts(self) -> list[Draft]:
        """The metadata that waits for signatures, who has signed, and who has not.

        Raises:
            RepositoryError: what is in the store is not valid.
        """
        state = self.state()
        return [open_draft(self.store, state, role).view() for role in draft_roles(self.store)]

    def sign(self, role: str) -> Publication:
        """Sign a draft with the keys that are here.

        If that completes it, it is published; if keys for that are missing here, by whoever
        publishes next.

        Args:
            role: the role.

        Raises:
            ValueError: there is no draft of the role.
            UnsignedMetadataError: none of the keys here can sign it.
            KeyUnavailable: a key cannot be used.
        """

        def sign(draft: OpenDraft) -> None:
            before = len(draft.sealed.signatures)
            draft.sealed.sign(self.keyring, draft.signing_keys())
            if len(draft.sealed.signatures) == before:
                raise UnsignedMetadataError(f"no key here can add a signature to {role}")

        return self._sign(role, sign)

    def export_draft(self, role: str) -> bytes:
        """A draft as one file, for somebody to sign elsewhere: see :class:`ExportedDraft`.

        Raises:
            ValueError: there is no draft of the role.
        """
        return export(open_draft(self.store, self.state(), role))

    def import_signature(self, data: bytes) -> Publication:
        """Add a signature that was made elsewhere; then go on as :meth:`sign` does.

        Args:
            data: the small file.

        Raises:
            RepositoryError: it is not a signature by a key of the role over the current draft.
            ValueError: there is no draft of the role.
        """
        role, version, signature = read_signature(data)

        def add(draft: OpenDraft) -> None:
            if draft.metadata.signed.version != version:
                raise UnsignedMetadataError(
                    f"the signature is for version {version} of {role},"
                    f" the draft is version {draft.metadata.signed.version}"
                )
            draft.add(signature)

        return self._sign(role, add)

    def _sign(self, role: str, sign: Callable[[OpenDraft], None]) -> Publication:
        def once() -> None:
            draft = open_draft(self.store, self.state(), role)
            sign(draft)
            self.store.swap(draft_name(role), draft.data, draft.sealed.file())

        again(once)
        done = Publication()
        # Who signs need not be able to publish. If not, the next publication does it.
        with suppress(UnsignedMetadataError):
            done = self._publish_drafts()
        waiting = {d.role: d.missing for d in self.drafts() if d.role == role and not d.stale}
        return Publication(done.versions, waiting)

    def publish_root(self) -> Publication:
        """Publish a root that waits only for targets to be signed for the root before as well.

        This is for keys of targets that are lost. Clients fail until targets is signed by the
        keys that the new root names: do that at once.

        Raises:
            UnsignedMetadataError: there is no draft of the root that has all its signatures.
            KeyUnavailable: a key cannot be used.
        """
        state = self.state()
        if state.staged is None or state.root_draft is None:
            raise UnsignedMetadataError("there is no draft of the root with all its signatures")
        version = state.staged.signed.version
        self.store.create(metadata_name("root", version), state.root_draft)
        for role in ("root", "targets"):
            self.store.delete(draft_name(role))
        published = self.publish()
        return Publication({"root": version, **published.versions}, published.drafts)

    def discard_draft(self, role: str) -> None:
        """Give a draft up.

        Args:
            role: the role.
        """
        self.store.delete(draft_name(role))

    # Publishing.

    def _publish_drafts(self) -> Publication:
        """Publish the drafts that are complete."""
        if not any(True for _ in self.store.list("drafts/")):
            return Publication()
        return self._try(Transaction.adopt_drafts)

    def _try(self, prepare: Callable[[Transaction], object], dry_run: bool = False) -> Publication:
        """Publish what a function makes of a transaction; again, if others were first."""

        def once() -> Publication:
            with self._transaction(self.state(), dry_run) as tx:
                prepare(tx)
                return tx.commit()

        return again(once)

    def _transaction(self, state: State, dry_run: bool = False) -> Commit:
        store = WriteNothing(self.store) if dry_run else self.store
        return Commit(store, state, self.policy, self.keyring, self._clock(), self._executor)


def again(action: Callable[[], D]) -> D:
    """Do something; again, if others were first.

    Raises:
        Conflict: others were first every time.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return action()
        except Conflict:
            # Those who wait equally long meet again.
            time.sleep(random.uniform(0, 0.01 * 2 ** min(attempt, 6)))  # noqa: S311
    return action()

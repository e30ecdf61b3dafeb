"""A complete repository: what its people and machines do with it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from datetime import datetime, timezone
from itertools import chain

from tuf.api.metadata import TOP_LEVEL_ROLE_NAMES, Role, Root
from tuf.repository._apply import apply_all
from tuf.repository._commit import Commit
from tuf.repository._replay import Replay
from tuf.repository._state import RootChain, State
from tuf.repository._transaction import Publication, Transaction
from tuf.repository.changes import Change, SetBins
from tuf.repository.policy import Policy
from tuf.repository.signers import Keyring
from tuf.repository.store import Conflict, Store, WriteNothing

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
        state = self.state()
        done = Publication()
        if not state.roots:
            tx = self._transaction(state, dry_run)
            with tx.edit_root() as root:
                self._set_roles(root)
            done = tx.commit()
            if dry_run or done.drafts:
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
            published = self._try(lambda tx: apply_all(tx, replay, self._executor), dry_run)
        return Publication({**done.versions, **published.versions}, published.drafts)

    def _publish_drafts(self) -> Publication:
        """Publish the drafts that are complete."""
        if not any(True for _ in self.store.list("drafts/")):
            return Publication()
        return self._try(Transaction.adopt_drafts)

    def _try(self, prepare: Callable[[Transaction], object], dry_run: bool = False) -> Publication:
        """Publish what a function makes of a transaction; again, if others were first."""
        for attempt in range(_ATTEMPTS):
            try:
                with self._transaction(self.state(), dry_run) as tx:
                    prepare(tx)
                    return tx.commit()
            except Conflict:
                if attempt == _ATTEMPTS - 1:
                    raise
                # Publishers that wait equally long meet again.
                time.sleep(random.uniform(0, 0.01 * 2 ** min(attempt, 6)))  # noqa: S311
        raise AssertionError("unreachable")

    def _transaction(self, state: State, dry_run: bool = False) -> Commit:
        store = WriteNothing(self.store) if dry_run else self.store
        return Commit(store, state, self.policy, self.keyring, self._clock(), self._executor)

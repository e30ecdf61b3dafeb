"""A transaction comes true: sign, write immutable files, swap the timestamp."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, cast

from tuf.api._entries import Entries
from tuf.api._verification import Delegator
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, MetaFile, Root, SuccinctRoles, Targets
from tuf.repository._bins import BinMaker, BinWork
from tuf.repository._seal import Sealed, keys_of, seal
from tuf.repository._state import TIMESTAMP, delegates, draft_name, metadata_name, read_metadata
from tuf.repository._transaction import BinEdits, Publication, Transaction
from tuf.repository.store import Conflict, FileExists

_ONLINE = ("timestamp", "snapshot", "targets")
#: How many batches of bins are made at once in an executor.
_AHEAD = 4


class Commit(Transaction):
    """A transaction that can be published."""

    def commit(self) -> Publication:
        """Sign and publish.

        Raises:
            Conflict: somebody else published in the meantime.
            UnsignedMetadataError: a role cannot be signed, and cannot be a draft either.
            KeyUnavailable: a key should be here, but cannot be used.
        """
        self._seal_root()
        if not self.state.roots:
            self._publish_root()
            return self._done
        changed = self._changed_roles()
        is_new = self.state.timestamp is None
        self.state.targets("targets")  # for what is outdated
        outdated = self.state.outdated
        self._forced |= outdated & {"snapshot", "timestamp"}
        due = is_new or "targets" in {*changed, *outdated}
        if due and "targets" not in self._pending:
            if not self.has_draft("targets"):
                self.touch("targets")
            elif is_new:
                return self._done
            elif "targets" in changed:
                # The root has to wait for those who sign targets.
                self._stage_root()
                self._done.drafts["root"] = 0
                self._next_root, changed = None, []
        if changed:
            self._forced |= {"snapshot", "timestamp"}
        # A client that has the old root and one that has the new root shall both succeed at any
        # time: what is published before the new root is signed for both. If online keys that the
        # old root wants are lost, that cannot be, and the new root comes first.
        online = [role for role in changed if role != "targets"]
        lost = not all(self._can_sign(self.state.root, role) for role in online)
        if changed and not is_new and not lost:
            self._stage_root()
        if lost:
            self._publish_root()
        self._publish_targets()
        self._publish_bins()
        if "targets" in self._done.drafts and (is_new or "targets" in changed):
            return self._done  # nothing more can be done before it is signed
        self._publish_online(strict=not lost)
        self._publish_root()
        for role in self._done.versions:
            if role != "root" and self._drafts.get(role) is not None:
                self.store.delete(draft_name(role))
        return self._done

    # The root.

    def _seal_root(self) -> None:
        """Sign the next root, if there is to be one; it is a draft until it is complete."""
        if "root" in self._pending:
            md = self._pending["root"]
            delegators = [*self.state.roots[-1:], md.signed]
            sealed = seal(md, self._keyring, "root", *delegators)
            self._root_file = sealed.file()
            missing = max(sealed.missing(delegator, "root") for delegator in delegators)
            if missing:
                self._stage_root()
                self._done.drafts["root"] = missing
            else:
                self._next_root = md.signed
        elif self.state.staged is not None:
            self._next_root = self.state.staged.signed
            self._root_file = self.state.root_draft or b""

    def _changed_roles(self) -> list[str]:
        """The top-level roles that the next root lets others sign for."""
        if self._next_root is None:
            return []
        return [r for r in _ONLINE if signers(self.state.root, r) != signers(self._next_root, r)]

    def _can_sign(self, delegator: Delegator, role: str) -> bool:
        keys = keys_of(delegator, role)
        threshold = delegator.get_delegated_role(role).threshold
        return sum(map(self._keyring.has, keys)) >= threshold

    def _stage_root(self) -> None:
        """Let others see the root that comes next."""
        if self._root_file != self.state.root_draft:
            self.store.swap(draft_name("root"), self.state.root_draft_data, self._root_file)
            self.state.root_draft = self.state.root_draft_data = self._root_file

    def _publish_root(self) -> None:
        if self._next_root is None or "root" in self._done.versions:
            return
        version = self._next_root.version
        try:
            self.store.create(metadata_name("root", version), self._root_file)
        except FileExists as e:
            raise Conflict(f"root version {version} was published by somebody else") from e
        self._done.versions["root"] = version
        if self.state.root_draft_data is not None:
            self.store.delete(draft_name("root"))

    # Targets roles.

    def _publish_targets(self) -> None:
        """Sign and write targets roles, delegators first."""
        self._touch_affected()
        drafted: set[int] = set()
        reached = set()
        for role, targets in list(self.walk()):
            reached.add(role)
            if role not in self._pending:
                continue
            delegators = self._delegators(role)
            # Who counts is who delegates when this is published.
            counting = [d for d in delegators if id(d) not in drafted and knows(d, role)]
            md = self._presigned.get(role) or self._pending[role]
            if self._write(role, md, delegators, counting or delegators):
                continue
            drafted.add(id(targets))
            if role in self._bins:
                raise UnsignedMetadataError(
                    f"{role} cannot be signed here; its bins can only change together with it"
                )
        lost = [r for r in self._pending if r not in reached and r not in ("root", *_ONLINE)]
        if lost:
            raise ValueError(f"nobody delegates to {', '.join(lost)}")

    def _touch_affected(self) -> None:
        """Sign anew the roles whose keys change, if their signatures would not do."""
        for name, targets in list(self.walk()):
            before = self.state.targets(name)
            delegations = targets.delegations
            if before is None or delegations is None or name not in self._pending:
                continue
            if delegations.succinct_roles is not None:
                bin_ = next(delegations.succinct_roles.get_roles())
                was = signers(before.signed, bin_) if delegates(before.signed, bin_) else None
                self.bin_edits(name).all |= was != signers(targets, bin_)
                continue
            for role in delegations.roles or {}:
                data = self.state.file(role)
                if role in self._pending or data is None:
                    continue
                md, received = read_metadata(data, Targets, role)
                if targets.count_signatures(role, received, md.signatures).missing:
                    self.touch(role)

    def _write(
        self,
        role: str,
        md: Metadata[Any],
        delegators: list[Delegator],
        counting: list[Delegator],
    ) -> bool:
        """Sign and write a targets role's metadata; as a draft if signatures are missing."""
        while True:
            sealed = seal(md, self._keyring, role, *delegators)
            missing = max(sealed.missing(delegator, role) for delegator in counting)
            if missing:
                old = self._draft(role)
                if sealed.file() != old:
                    self.store.swap(draft_name(role), old, sealed.file())
                self._done.drafts[role] = missing
                return False
            if self._create(role, md, sealed):
                self._infos[f"{role}.json"] = MetaFile(md.signed.version)
                return True

    def _create(self, role: str, md: Metadata[Any], sealed: Sealed) -> bool:
        """Write a file that is not there yet. If the version is taken, md gets the next one.

        A version may be there that nobody names: of a publication that died, or that is going on.
        """
        name = metadata_name(role, md.signed.version)
        try:
            self.store.create(name, sealed.file())
        except FileExists:
            if role not in self._presigned:
                md.signed.version += 1
                return False
            _there, received = read_metadata(self.store.read(name) or b"", Targets, name)
            if bytes(next(received.forms())) != sealed.payload:
                raise Conflict(f"{name} is there, and not what was signed: sign it anew") from None
        self._done.versions[role] = md.signed.version
        return True

    # Bins.

    def _publish_bins(self) -> None:
        for role, edits in self._bins.items():
            delegator = self.look(role)
            bins = self.bins_of(role)
            if delegator is None or bins is None:
                continue
            md = None if edits.clear else self.state.targets(role)
            expires = self.now + self.policy.delegated.expires
            maker = BinMaker(
                None if md is None else md.signed,
                delegator,
                self._keyring,
                expires,
                frozenset(edits.names),
                edits.all,
            )
            taken = self._write_bins(maker, self._bin_works(edits, bins))
            while taken:
                taken = self._write_bins(maker, self._bin_works(edits, bins, taken))

    def _bin_works(
        self, edits: BinEdits, bins: SuccinctRoles, versions: dict[str, int] | None = None
    ) -> Iterator[list[BinWork]]:
        """What is to be done: for all bins, or for some that are to have other versions."""
        for batch in edits.spool.by_bin(bins, edits.all, edits.names):
            yield [
                BinWork(
                    name,
                    self.state.file(name),
                    self._version(name) + 1 if versions is None else versions[name],
                    bin_edits,
                )
                for name, bin_edits in batch
                if versions is None or name in versions
            ]

    def _write_bins(self, maker: BinMaker, works: Iterator[list[BinWork]]) -> dict[str, int]:
        """Write bins while they are made; tell the next version of those whose one is taken."""
        roles: dict[str, str] = {}

        def files() -> Iterator[tuple[str, bytes]]:
            for role, version, data in self._made(maker, works):
                name = metadata_name(role, version)
                yield name, data
                self._done.versions[role] = version
                self._infos[f"{role}.json"] = MetaFile(version)
                roles[name] = role

        taken = self.store.create_many(files())
        return {roles[name]: self._done.versions[roles[name]] + 1 for name in taken}

    def _made(
        self, maker: BinMaker, works: Iterator[list[BinWork]]
    ) -> Iterator[tuple[str, int, bytes]]:
        if self._executor is None:
            for batch in works:
                yield from maker(batch)
            return
        running: list[Future[list[tuple[str, int, bytes]]]] = []
        for batch in works:
            running.append(self._executor.submit(maker, batch))
            if len(running) >= _AHEAD:
                yield from running.pop(0).result()
        for future in running:
            yield from future.result()

    # Snapshot and timestamp.

    def _publish_online(self, strict: bool) -> None:
        is_new = self.state.timestamp is None
        if self._infos or "snapshot" in self._forced or is_new:
            with self.edit_snapshot() as snapshot:
                # Roles that are not published now stay as they are listed (5.5.5).
                meta = cast("Entries[MetaFile]", snapshot.meta)
                for name, info in self._infos.items():
                    meta.put(name, b'{"version":%d}' % info.version)
            md = self._pending["snapshot"]
            sealed = self._sealed("snapshot", strict)
            while not self._create("snapshot", md, sealed):
                sealed = self._sealed("snapshot", strict)
            data = sealed.file()
            self._snapshot_info = MetaFile.from_data(md.signed.version, data, ["sha256"])
        if self._snapshot_info is not None or "timestamp" in self._forced:
            with self.edit_timestamp() as timestamp:
                timestamp.snapshot_meta = self.snapshot_info
            sealed = self._sealed("timestamp", strict)
            self.store.swap(TIMESTAMP, self.state.timestamp_data, sealed.file())
            self._done.versions["timestamp"] = timestamp.version

    def _sealed(self, role: str, strict: bool) -> Sealed:
        """Sign an online role for all roots; it must be enough for the last, or for all."""
        roots = self._delegators(role)
        sealed = seal(self._pending[role], self._keyring, role, *roots)
        for root in roots if strict else roots[-1:]:
            if missing := sealed.missing(root, role):
                raise UnsignedMetadataError(
                    f"{role} cannot be published: {missing} of its signatures are missing"
                    f" by keys {', '.join(root.get_delegated_role(role).keyids)}"
                )
        return sealed


def signers(delegator: Delegator, role: str) -> tuple[int, dict[str, Any]]:
    """Who signs for a role, comparable."""
    keys = {key.keyid: key.to_dict() for key in keys_of(delegator, role)}
    return delegator.get_delegated_role(role).threshold, keys


def knows(delegator: Delegator, role: str) -> bool:
    """Whether somebody delegates to a role."""
    return isinstance(delegator, Root) or (
        isinstance(delegator, Targets) and delegates(delegator, role)
    )

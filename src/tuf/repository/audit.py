"""Is a repository valid, now and later, as a client sees it?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tuf.api._keys import key_material
from tuf.api._verification import Delegator
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Role, Root, Snapshot, Targets, Timestamp
from tuf.repository._seal import keys_of
from tuf.repository._state import TIMESTAMP, metadata_name, read_metadata, split_name
from tuf.repository.policy import Policy
from tuf.repository.store import Store

#: From bad to harmless. An error is what makes clients fail.
SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """Something that an audit found.

    Args:
        severity: ``error``: clients fail; ``warning``: they will, or somebody could make them;
            ``note``: nothing is wrong, but it may not be meant.
        code: what kind of finding it is, for programs.
        where: the file or role.
        text: what was found, in words.
    """

    severity: str
    code: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.text}"


def audit(store: Store, policy: Policy, at: datetime, *, hashes: bool = False) -> list[Finding]:
    """Look at everything that a client could see.

    Args:
        store: the store.
        policy: how the repository is meant to be run.
        at: the time that counts for expiry: now, or later.
        hashes: read all target files and check their hashes; else only their lengths.

    Returns:
        What was found, errors first.
    """
    auditor = _Auditor(store, policy, at, hashes)
    auditor.run()
    return sorted(auditor.findings, key=lambda f: SEVERITIES.index(f.severity))


class _Auditor:
    def __init__(self, store: Store, policy: Policy, at: datetime, hashes: bool) -> None:
        self.findings: list[Finding] = []
        self._store = store
        self._policy = policy
        self._at = at
        self._hashes = hashes
        self._named: set[str] = set()
        self._sizes = {info.name: info.size for info in store.list("targets/")}

    def _find(self, severity: str, code: str, where: str, text: str) -> None:
        self.findings.append(Finding(severity, code, where, text))

    def run(self) -> None:
        root = self._audit_roots()
        if root is None:
            return
        timestamp = self._top_level(root, "timestamp", Timestamp, TIMESTAMP, None)
        if timestamp is None:
            return
        meta = timestamp.snapshot_meta
        name = metadata_name("snapshot", meta.version)
        snapshot = self._top_level(root, "snapshot", Snapshot, name, meta)
        if snapshot is not None:
            self._audit_targets(root, snapshot)
            self._audit_orphans(root, meta.version, snapshot)

    # Roots.

    def _audit_roots(self) -> Root | None:
        root: Root | None = None
        version = 1
        while (data := self._store.read(metadata_name("root", version))) is not None:
            name = metadata_name("root", version)
            try:
                md, received = read_metadata(data, Root, name)
                for delegator in (root, md.signed):
                    if delegator is not None:
                        delegator.verify_received("root", received, md.signatures)
                if md.signed.version != version:
                    raise RepositoryError(f"says it is version {md.signed.version}")
            except RepositoryError as e:
                self._find("error", "root-chain", name, str(e))
                return None
            root, version = md.signed, version + 1
        if root is None:
            self._find("error", "missing", metadata_name("root", 1), "is not there")
            return None
        self._expiry("root", metadata_name("root", version - 1), root.expires)
        if not root.consistent_snapshot:
            text = "says no consistent snapshots: clients can fail while something is published"
            self._find("warning", "inconsistent", "root", text)
        for role in ("root", "timestamp", "snapshot", "targets"):
            self._audit_keys(root, role)
        return root

    def _audit_keys(self, delegator: Delegator, role: str) -> None:
        keys = keys_of(delegator, role)
        wanted: Role = delegator.get_delegated_role(role)
        materials = [key_material(key) for key in keys]
        for key, material in zip(keys, materials, strict=True):
            if material is None:
                text = f"key {key.keyid} is too weak, or of an unknown type: it counts for nothing"
                self._find("warning", "weak-key", role, text)
            elif materials.count(material) > 1:
                text = f"key {key.keyid} is another of the role's keys once more: they count once"
                self._find("warning", "same-key", role, text)
        if len(keys) < len(wanted.keyids):
            self._find("warning", "missing-key", role, "names key ids of keys that are not there")
        usable = len(set(materials) - {None})
        if usable < wanted.threshold:
            text = f"needs {wanted.threshold} signatures and has {usable} usable keys"
            self._find("error", "threshold", role, text)
        policy = self._policy.roles.get(role)
        if policy is not None and policy.keys and policy.threshold != wanted.threshold:
            text = f"has threshold {wanted.threshold}, the policy says {policy.threshold}"
            self._find("note", "policy", role, text)

    def _expiry(self, role: str, name: str, expires: datetime) -> None:
        if expires <= self._at:
            self._find("error", "expired", name, f"expires at {expires:%Y-%m-%d %H:%M} UTC")
        elif expires - self._at <= self._policy.role(role).signing:
            text = f"is due to be signed anew: it expires at {expires:%Y-%m-%d %H:%M} UTC"
            self._find("warning", "due", name, text)

    # Files.

    def _read(
        self,
        role: str,
        kind: Any,
        name: str,
        meta: MetaFile | None,
        delegators: Iterable[Delegator],
    ) -> Metadata[Any] | None:
        data = self._store.read(name)
        if data is None:
            self._find("error", "missing", name, "is not there")
            return None
        try:
            if meta is not None:
                meta.verify_length_and_hashes(data)
            md: Metadata[Any]
            md, received = read_metadata(data, kind, name)
            if meta is not None and md.signed.version != meta.version:
                raise RepositoryError(f"says it is version {md.signed.version}")
            for delegator in delegators:
                delegator.verify_received(role, received, md.signatures)
        except RepositoryError as e:
            self._find("error", "invalid", name, str(e))
            return None
        self._expiry(role, name, md.signed.expires)
        return md

    def _top_level(self, root: Root, role: str, kind: Any, name: str, meta: MetaFile | None) -> Any:
        md = self._read(role, kind, name, meta, [root])
        return None if md is None else md.signed

    # Targets.

    def _audit_targets(self, root: Root, snapshot: Snapshot) -> None:
        reached: set[str] = set()
        waiting: list[tuple[str, list[Delegator]]] = [("targets", [root])]
        while waiting:
            role, delegators = waiting.pop(0)
            if role in reached:
                continue
            reached.add(role)
            if f"{role}.json" not in snapshot.meta:
                text = "is delegated to, and not in the snapshot"
                self._find("error", "not-in-snapshot", role, text)
                continue
            meta = snapshot.meta[f"{role}.json"]
            md = self._read(role, Targets, metadata_name(role, meta.version), meta, delegators)
            if md is None:
                continue
            targets: Targets = md.signed
            self._audit_files(role, targets)
            waiting += ((name, [targets]) for name in self._delegated(role, targets))
        for name in snapshot.meta:
            if name.removesuffix(".json") not in reached:
                text = "is in the snapshot, and nobody delegates to it"
                self._find("note", "unreached", name.removesuffix(".json"), text)

    def _delegated(self, role: str, targets: Targets) -> Iterator[str]:
        delegations = targets.delegations
        if delegations is None:
            return
        if delegations.succinct_roles is not None:
            self._audit_keys(targets, next(delegations.succinct_roles.get_roles()))
            yield from delegations.succinct_roles.get_roles()
            return
        taken: set[str] = set()
        for name, delegated in (delegations.roles or {}).items():
            self._audit_keys(targets, name)
            patterns = set(delegated.paths or delegated.path_hash_prefixes or ())
            if patterns <= taken:
                text = f"{role} delegates to it only what an earlier terminating role takes"
                self._find("warning", "shadowed", name, text)
            if delegated.terminating:
                taken |= patterns
            yield name

    def _audit_files(self, role: str, targets: Targets) -> None:
        """Look at the target files of a role; those that are not here are told together."""
        missing = []
        for path in targets.targets:
            target = targets.targets[path]
            for prefixed in target.get_prefixed_paths():
                name = f"targets/{prefixed}"
                self._named.add(name)
                if name not in self._sizes:
                    missing.append(path)
                elif self._sizes[name] != target.length:
                    text = f"has {self._sizes[name]} bytes, {role} says {target.length}"
                    self._find("error", "wrong-target", name, text)
                elif self._hashes:
                    try:
                        target.verify_length_and_hashes(self._store.read(name) or b"")
                    except RepositoryError as e:
                        self._find("error", "wrong-target", name, str(e))
        if missing:
            count = len(missing)
            text = f"lists {count} target{'s' * (count > 1)} with no file here, like {missing[0]}"
            self._find("note", "no-file", role, text)

    # What nobody names.

    def _audit_orphans(self, root: Root, snapshot_version: int, snapshot: Snapshot) -> None:
        current = {name.removesuffix(".json"): v for name, v in snapshot.versions().items()}
        current |= {"root": root.version, "snapshot": snapshot_version}
        orphans = []
        for info in self._store.list("metadata/"):
            role, version = split_name(info.name)
            if version > current.get(role, 0):
                orphans.append(info.name)
        for name in orphans:
            text = "is named by nobody: of a publication that died, or that is going on"
            self._find("note", "orphan", name, text)
        for name in self._sizes.keys() - self._named:
            self._find("note", "orphan", name, "no metadata names it")

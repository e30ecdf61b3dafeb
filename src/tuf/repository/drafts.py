"""Metadata that waits for signatures by keys that are elsewhere.

A draft is a metadata file in the store, under ``drafts/``, which no client looks at. Key holders
sign it there, or on a machine of their own: they get one file, see what it changes, and hand back
one small file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from msgspec import Raw

from tuf.api import _json
from tuf.api._json import Received
from tuf.api._keys import Key, Signature, signature_from_dict
from tuf.api._verification import Delegator
from tuf.api.exceptions import RepositoryError, UnsignedMetadataError
from tuf.api.metadata import Delegations, Metadata, Role, Root, Signed, Targets
from tuf.api.serialization import DeserializationError
from tuf.repository._seal import Sealed, keys_of
from tuf.repository._state import State, delegates, draft_name, read_metadata
from tuf.repository._transaction import read_draft
from tuf.repository.signers import Keyring
from tuf.repository.store import Store


@dataclass(frozen=True)
class Draft:
    """A role's metadata that waits for signatures.

    Args:
        role: the role.
        version: the version it will have.
        changes: what it changes, in words.
        signed: the key ids that have signed.
        unsigned: the key ids that may sign, and have not.
        missing: how many signatures are missing; for a root, of the old and the new root's keys.
        stale: it will never be published: another version was published meanwhile.
    """

    role: str
    version: int
    changes: tuple[str, ...]
    signed: tuple[str, ...]
    unsigned: tuple[str, ...]
    missing: int
    stale: bool


class OpenDraft:
    """A draft, and who counts its signatures."""

    def __init__(
        self, role: str, data: bytes, state: State, drafts: Iterable[Metadata[Any]]
    ) -> None:
        self.role = role
        self.data = data
        self.metadata = read_draft(data, role)
        self.sealed = Sealed(self.metadata.signed, self.metadata.signatures)
        self.delegators: list[Delegator]
        self.before: Signed | None
        if role == "root":
            self.delegators = [*state.roots[-1:], self.metadata.signed]
            self.before = state.roots[-1] if state.roots else None
            current = len(state.roots)
        else:
            published = state.delegator(role)
            new = (d.signed for d in drafts if isinstance(d.signed, Targets))
            found = [published] if published else [t for t in new if delegates(t, role)]
            self.delegators = [d for d in found if d is not None]
            if role == "targets" and state.staged is not None:
                self.delegators.append(state.staged.signed)
            before = state.targets(role)
            self.before = None if before is None else before.signed
            current = state.version(role)
        self.stale = self.metadata.signed.version <= current

    def signing_keys(self) -> Iterator[Key]:
        """The keys that may sign."""
        for delegator in self.delegators:
            yield from keys_of(delegator, self.role)

    def view(self) -> Draft:
        """What people want to know of it."""
        signed: set[str] = set()
        missing = 0
        received = Received(self.sealed.payload, exact=True)
        for delegator in self.delegators:
            counted = delegator.count_signatures(self.role, received, self.metadata.signatures)
            signed |= set(counted.signed)
            missing = max(missing, counted.missing)
        everyone = dict.fromkeys(key.keyid for key in self.signing_keys())
        return Draft(
            self.role,
            self.metadata.signed.version,
            tuple(describe(self.before, self.metadata.signed)),
            tuple(keyid for keyid in everyone if keyid in signed),
            tuple(keyid for keyid in everyone if keyid not in signed),
            missing,
            self.stale,
        )

    def add(self, signature: Signature) -> None:
        """Take a signature.

        Raises:
            UnsignedMetadataError: it is not by a key of the role, or not over this draft.
        """
        signatures = {**self.metadata.signatures, signature.keyid: signature}
        received = Received(self.sealed.payload, exact=True)
        if not any(
            signature.keyid in d.count_signatures(self.role, received, signatures).signed
            for d in self.delegators
        ):
            raise UnsignedMetadataError(
                f"the signature by {signature.keyid} is not one of a key of {self.role}"
                f" over version {self.metadata.signed.version} of the draft"
            )
        self.sealed.signatures[signature.keyid] = signature


def draft_roles(store: Store) -> list[str]:
    """The roles that have drafts."""
    names = [info.name for info in store.list("drafts/")]
    return [name.removeprefix("drafts/").removesuffix(".json") for name in names]


def open_draft(store: Store, state: State, role: str) -> OpenDraft:
    """Read a draft.

    Raises:
        ValueError: there is none.
    """
    data = store.read(draft_name(role))
    if data is None:
        raise ValueError(f"there is no draft of {role}")
    others = [r for r in draft_roles(store) if r != role]
    read = ((r, store.read(draft_name(r))) for r in others)
    return OpenDraft(role, data, state, [read_draft(d, r) for r, d in read if d is not None])


def export(draft: OpenDraft) -> bytes:
    """One file for those who sign: the draft, and what it would take the place of."""
    before = None
    if draft.before is not None:
        before = Raw(_json.compact(draft.before.encodable()))
    keys = {key.keyid: key.to_dict() for key in draft.signing_keys()}
    wire = {"role": draft.role, "before": before, "draft": Raw(draft.data), "keys": keys}
    return _json.compact(wire)


class ExportedDraft:
    """A draft on the machine of somebody who signs.

    Args:
        data: the file that was exported.

    Raises:
        RepositoryError: it is not such a file.
    """

    def __init__(self, data: bytes) -> None:
        members = _json.members(data, "exported draft")
        try:
            self.role = str(_json.parse(members["role"]))
            kind: Any = Root if self.role == "root" else Targets
            metadata, _ = read_metadata(bytes(members["draft"]), kind, f"draft of {self.role}")
            self._signed: Signed = metadata.signed
            keys = _json.parse(members["keys"])
            self._keys = [Key.from_dict(keyid, dict(key)) for keyid, key in keys.items()]
            before = None
            if bytes(members["before"]) != b"null":
                file = b'{"signatures":[],"signed":' + bytes(members["before"]) + b"}"
                before = read_metadata(file, kind, f"{self.role} before")[0].signed
        except (KeyError, ValueError, TypeError, AttributeError) as e:
            raise RepositoryError(f"not an exported draft: {e}") from e
        #: what it changes, in words
        self.changes = tuple(describe(before, self._signed))
        #: the version the metadata will have
        self.version = self._signed.version

    def sign(self, keyring: Keyring) -> list[bytes]:
        """Sign with those of the role's keys that are here.

        Returns:
            A small file for each signature, to hand back.

        Raises:
            KeyUnavailable: a key should be here, but cannot be used.
        """
        sealed = Sealed(self._signed)
        sealed.sign(keyring, self._keys)
        head = {"role": self.role, "version": self.version}
        return [
            _json.indented(_json.compact({**head, "signature": signature.to_dict()})) + b"\n"
            for signature in sealed.signatures.values()
        ]


def read_signature(data: bytes) -> tuple[str, int, Signature]:
    """Read what :meth:`ExportedDraft.sign` made: role, version, signature.

    Raises:
        RepositoryError: it is not such a file.
    """
    try:
        wire = _json.parse(data)
        return str(wire["role"]), int(wire["version"]), signature_from_dict(wire["signature"])
    except (DeserializationError, KeyError, ValueError, TypeError) as e:
        raise RepositoryError(f"not a signature of a draft: {e}") from e


# What metadata changes, in words.


def describe(before: Signed | None, after: Signed) -> Iterator[str]:
    """Tell what metadata changes against the version before.

    Args:
        before: the version before; None if this is the first.
        after: what is to take its place.
    """
    if before is None:
        yield f"{after.type}: the first version"
    else:
        yield f"version: {before.version} -> {after.version}"
        yield f"expires: {_day(before)} -> {_day(after)}"
    if isinstance(after, Root):
        old_root = before if isinstance(before, Root) else Root()
        if old_root.consistent_snapshot != after.consistent_snapshot:
            yield f"consistent snapshot: {after.consistent_snapshot}"
        for name in sorted(after.roles):
            old_role = old_root.roles[name] if before is not None else None
            yield from _describe_role(name, old_role, after.roles[name])
    elif isinstance(after, Targets):
        old_targets = before if isinstance(before, Targets) else Targets()
        yield from _describe_delegations(old_targets.delegations, after.delegations)
        for path in sorted(old_targets.targets.keys() - after.targets.keys()):
            yield f"removes target {path}"
        for path in sorted(after.targets.keys()):
            target = after.targets[path]
            what = f"target {path}: {target.length} bytes, {' '.join(target.hashes.values())}"
            if path not in old_targets.targets:
                yield f"adds {what}"
            elif old_targets.targets[path] != target:
                yield f"replaces {what}"


def _day(signed: Signed) -> str:
    return f"{signed.expires:%Y-%m-%d %H:%M} UTC"


def _describe_role(name: str, before: Role | None, after: Role) -> Iterator[str]:
    if before is None:
        yield f"{name}: {after.threshold} of {len(after.keyids)} keys: {', '.join(after.keyids)}"
        return
    for keyid in after.keyids:
        if keyid not in before.keyids:
            yield f"{name}: adds key {keyid}"
    for keyid in before.keyids:
        if keyid not in after.keyids:
            yield f"{name}: revokes key {keyid}"
    if before.threshold != after.threshold:
        yield f"{name}: threshold {before.threshold} -> {after.threshold}"


def _describe_delegations(before: Delegations | None, after: Delegations | None) -> Iterator[str]:
    old, new = _roles(before), _roles(after)
    for name in old.keys() - new.keys():
        yield f"removes delegation to {name}"
    for name, role in new.items():
        if name not in old:
            yield f"delegates to {name}{_scope(role)}"
            yield from _describe_role(name, None, role)
        else:
            yield from _describe_role(name, old[name], role)
            if _scope(old[name]) != _scope(role):
                yield f"{name}: now{_scope(role)}"


def _roles(delegations: Delegations | None) -> dict[str, Role]:
    if delegations is None:
        return {}
    if delegations.succinct_roles is not None:
        return {f"bins {delegations.succinct_roles.name_prefix}-*": delegations.succinct_roles}
    return dict(delegations.roles or {})


def _scope(role: Role) -> str:
    wire = role.to_dict()
    parts = [f"{n} {wire[n]}" for n in ("paths", "path_hash_prefixes", "bit_length") if n in wire]
    return f" ({', '.join(parts)}{', terminating' if wire.get('terminating') else ''})"

"""A repository to test clients with, made with the public metadata API alone, and its adversary.

Every action publishes what it changed, as a good repository does. What the adversary does goes
through `forge`, `plant`, `substitute`, and `files` itself.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

from securesystemslib.exceptions import FormatError
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner, Signer

from tuf.api.dsse import SimpleEnvelope
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.ngclient.config import EnvelopeType

TOP_LEVEL = ("root", "timestamp", "snapshot", "targets")

Edit = Callable[[dict[str, Any]], object]


def new_keys(count: int = 1) -> list[Signer]:
    return [CryptoSigner.generate_ed25519() for _ in range(count)]


def signatures(signed: dict[str, Any], signers: list[Signer]) -> list[dict[str, Any]]:
    """Good signatures, over any members at all, in wire form."""
    try:
        payload = encode_canonical(signed).encode()
    except FormatError:  # what has no canonical form is signed as it is
        payload = json.dumps(signed, sort_keys=True, separators=(",", ":")).encode()
    return [signer.sign(payload).to_dict() for signer in signers]


def wrap(signed: dict[str, Any], signers: list[Signer]) -> bytes:
    """Metadata with any members at all, however wrong, and good signatures over them."""
    return json.dumps({"signatures": signatures(signed, signers), "signed": signed}).encode()


def reorder(data: bytes) -> bytes:
    """The same metadata with the same signatures, in as many but other bytes."""
    other = json.dumps(dict(reversed(json.loads(data).items())), separators=(",", ":")).encode()
    assert other != data
    assert len(other) == len(data)
    return other


class Publisher:
    """A repository, good or bad.

    Args:
        consistent_snapshot: whether file names carry versions and hashes.
        meta_hashes: whether snapshot and timestamp name lengths and hashes.
        envelope_type: how the metadata is wrapped.

    Attributes:
        files: what the server has, by URL path (``metadata/2.root.json``, ``targets/HASH.name``).
        roles, signers: the latest metadata and the signing keys, by role name.
        bootstrap: the first root.
    """

    def __init__(
        self,
        *,
        consistent_snapshot: bool = True,
        meta_hashes: bool = True,
        envelope_type: EnvelopeType = EnvelopeType.METADATA,
    ) -> None:
        self.meta_hashes = meta_hashes
        self.envelope_type = envelope_type
        self.files: dict[str, bytes] = {}

        self.now = datetime.now(timezone.utc).replace(microsecond=0)
        self.later = self.now + timedelta(days=30)
        self.earlier = self.now - timedelta(days=1)

        # The bytes of the repository's own metadata, each with the number of rotations of the
        # timestamp or snapshot key before it: after one, versions may be lower (5.3.11).
        self.honest: dict[str, dict[bytes, int]] = {}
        self.contents: dict[str, set[bytes]] = {}
        self._recoveries = 0
        self._latest: dict[str, bytes] = {}

        self.signers: dict[str, list[Signer]] = {role: new_keys() for role in TOP_LEVEL}
        root = Root(expires=self.later, consistent_snapshot=consistent_snapshot)
        for role in TOP_LEVEL:
            root.add_key(self.signers[role][0].public_key, role)
        self.roles: dict[str, Signed] = {
            "root": root,
            "targets": Targets(expires=self.later),
            "snapshot": Snapshot(expires=self.later),
            "timestamp": Timestamp(expires=self.later),
        }
        for role in self.roles:
            self.write(role)
        self.bootstrap = self._latest["root"]

    @property
    def root(self) -> Root:
        return self.roles["root"]  # type: ignore[return-value]

    @property
    def timestamp(self) -> Timestamp:
        return self.roles["timestamp"]  # type: ignore[return-value]

    @property
    def snapshot(self) -> Snapshot:
        return self.roles["snapshot"]  # type: ignore[return-value]

    def targets(self, role: str = "targets") -> Targets:
        return self.roles[role]  # type: ignore[return-value]

    # -- what a good repository does

    def sign(self, role: str, signers: list[Signer] | None = None) -> bytes:
        """The present metadata of a role, signed by its keys, or by the given ones."""
        signed = self.roles[role]
        signers = self.signers[role] if signers is None else signers
        if self.envelope_type is EnvelopeType.SIMPLE:
            simple = SimpleEnvelope.from_signed(signed)
            for signer in signers:
                simple.sign(signer)
            return simple.to_bytes()
        metadata = Metadata(signed)
        for signer in signers:
            metadata.sign(signer, append=True)
        return metadata.to_bytes()

    def path(self, role: str, version: int | None = None) -> str:
        """The URL path of a role's metadata, by default of its latest version."""
        versioned = role == "root" or (role != "timestamp" and self.root.consistent_snapshot)
        prefix = f"{version or self.roles[role].version}." if versioned else ""
        return f"metadata/{prefix}{quote(role, safe='')}.json"

    def write(self, role: str, signers: list[Signer] | None = None) -> bytes:
        """Sign the present metadata of a role and store it, at its present version."""
        if role == "timestamp":
            self.timestamp.snapshot_meta = self._meta("snapshot")
        data = self.sign(role, signers)
        self.vouch(role, data)
        return data

    def release(self, role: str, signers: list[Signer] | None = None) -> bytes:
        """The next version of this one role; what refers to it is not written."""
        self.roles[role].version += 1
        return self.write(role, signers)

    def publish(self, *roles: str) -> None:
        """The next version of these targets roles, and of snapshot and timestamp."""
        for role in roles:
            if role not in ("snapshot", "timestamp"):
                self.release(role)
        if roles != ("timestamp",):
            self.release("snapshot")
        self.release("timestamp")

    def add_target(self, path: str, content: bytes, role: str = "targets") -> TargetFile:
        target = TargetFile.from_data(path, content, ["sha256"])
        self.targets(role).targets[path] = target
        self.contents.setdefault(path, set()).add(content)
        self.files[self.target_path(target)] = content
        self.publish(role)
        return target

    def target_path(self, target: TargetFile) -> str:
        """The URL path of a target file."""
        directory, slash, name = target.path.rpartition("/")
        if self.root.consistent_snapshot:
            name = f"{target.hashes['sha256']}.{name}"
        return "targets/" + quote(f"{directory}{slash}{name}")

    def delegate(
        self,
        name: str,
        paths: list[str] | None = None,
        *,
        by: str = "targets",
        terminating: bool = False,
        threshold: int = 1,
        path_hash_prefixes: list[str] | None = None,
        signers: list[Signer] | None = None,
    ) -> Targets:
        """Let `by` delegate paths (by default all) to the role `name`, made if there is none yet.

        `signers` are the keys that `by` knows for the role, by default its own.
        """
        new = name not in self.roles
        if new:
            self.signers[name] = signers or new_keys()
            self.roles[name] = Targets(expires=self.later)
        if paths is None and path_hash_prefixes is None:
            paths = ["*", "*/*"]
        delegator = self.targets(by)
        if delegator.delegations is None:
            delegator.delegations = Delegations({}, {})
        assert delegator.delegations.roles is not None
        delegator.delegations.roles[name] = DelegatedRole(
            name, [], threshold, terminating, paths, path_hash_prefixes
        )
        for signer in signers or self.signers[name]:
            delegator.add_key(signer.public_key, name)
        if new:
            self.write(name)
        self.publish(by)
        return self.targets(name)

    def delegate_bins(
        self, bit_length: int, prefix: str = "bin", *, by: str = "targets"
    ) -> list[str]:
        """Delegate everything to bins (TAP 15) with one key; answers with their names."""
        (signer,) = new_keys()
        key = signer.public_key
        succinct = SuccinctRoles([key.keyid], 1, bit_length, prefix)
        self.targets(by).delegations = Delegations({key.keyid: key}, None, succinct)
        names = list(succinct.get_roles())
        for name in names:
            self.signers[name] = [signer]
            self.roles[name] = Targets(expires=self.later)
            self.write(name)
        self.publish(by)
        return names

    def rotate(
        self, role: str, keys: int | list[Signer] = 1, threshold: int = 1, *, by: str = "targets"
    ) -> None:
        """New keys for a role, and its next version with them (root: and with the old ones)."""
        old, new = self.signers[role], new_keys(keys) if isinstance(keys, int) else keys
        delegator = self.root if role in TOP_LEVEL else self.targets(by)
        for signer in old:
            delegator.revoke_key(signer.public_key.keyid, role)
        for signer in new:
            delegator.add_key(signer.public_key, role)
        delegator.get_delegated_role(role).threshold = threshold
        self.signers[role] = new
        if role == "root":
            self.release("root", old + new)
            return
        if role in ("snapshot", "timestamp"):
            self._recoveries += 1
        if role in TOP_LEVEL:
            self.release("root")
            self.publish(role)
        else:
            self.publish(by, role)

    def expire(self, role: str) -> None:
        """Publish a role that has expired since yesterday."""
        self.roles[role].expires = self.earlier
        if role == "root":
            self.release("root")
        else:
            self.publish(role)

    def renew(self, role: str) -> None:
        """Publish a role that is good for another month."""
        self.roles[role].expires = self.later
        if role == "root":
            self.release("root")
        else:
            self.publish(role)

    # -- what the adversary does

    def forge(
        self, role: str, edit: Edit | None = None, signers: list[Signer] | None = None
    ) -> bytes:
        """Store a next version of a role, altered at will, signed by the role's (stolen) keys or by
        the given ones. What a later `release` of snapshot or timestamp names is this file."""
        self.roles[role].version += 1
        signed = self.roles[role].to_dict()
        if edit:
            edit(signed)
        data = wrap(signed, self.signers[role] if signers is None else signers)
        self.substitute(role, data)
        return data

    def plant(
        self, role: str, edit: Edit | None = None, signers: list[Signer] | None = None
    ) -> bytes:
        """Forge a role, and let the repository name the forgery in its snapshot and timestamp."""
        data = self.forge(role, edit, signers)
        self._name(role)
        return data

    def issue(self, role: str, data: bytes) -> None:
        """Plant any bytes as the next version of a role."""
        self.roles[role].version += 1
        self.substitute(role, data)
        self._name(role)

    def substitute(self, role: str, data: bytes) -> None:
        """Store any bytes in place of the latest version of a role."""
        self._latest[role] = data
        self.files[self.path(role)] = data
        if role not in ("root", "timestamp", "snapshot"):
            self.snapshot.meta[f"{role}.json"] = self._meta(role)

    def vouch(self, role: str, data: bytes) -> None:
        """Substitute, with bytes that `check` takes for the repository's own."""
        self.honest.setdefault(role, {}).setdefault(data, self._recoveries)
        self.substitute(role, data)

    def _name(self, role: str) -> None:
        if role == "snapshot":
            self.release("timestamp")
        elif role not in ("root", "timestamp"):
            self.publish()

    def _meta(self, role: str) -> MetaFile:
        version, data = self.roles[role].version, self._latest[role]
        if not self.meta_hashes:
            return MetaFile(version)
        return MetaFile(version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})

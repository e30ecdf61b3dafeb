"""The rules of the client workflow (specification 5.3 to 5.6): when is metadata trusted?

No file is read here, no network used, no clock looked at: bytes and the time of the update come
in, and trust or an error comes out. The order of the steps is in :mod:`tuf.ngclient.workflow`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import TypeVar, cast

from tuf.api._json import Received
from tuf.api._keys import key_material
from tuf.api._record import shown
from tuf.api.dsse import SimpleEnvelope
from tuf.api.exceptions import (
    BadVersionNumberError,
    EqualVersionNumberError,
    ExpiredMetadataError,
    RepositoryError,
)
from tuf.api.metadata import (
    Root,
    Signature,
    Signed,
    Snapshot,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import ReceivedFile
from tuf.ngclient.config import EnvelopeType

logger = logging.getLogger(__name__)

S = TypeVar("S", bound=Signed)

#: From this size on, signatures are verified beside the parse, in another thread.
_BIG = 1 << 20
_DATE = "%Y-%m-%dT%H:%M:%SZ"


class _File:
    """A metadata file in either envelope: what signatures are over, and the signed object."""

    def __init__(self, data: bytes, envelope_type: EnvelopeType) -> None:
        self.signatures: dict[str, Signature]
        self.read: Callable[[], Signed]
        if envelope_type is EnvelopeType.SIMPLE:
            envelope: SimpleEnvelope[Root] = SimpleEnvelope.from_bytes(data)
            self.received = Received(envelope.pae(), exact=True)
            self.signatures = envelope.signatures
            self.read = envelope.get_signed
        else:
            file = ReceivedFile(data)
            self.received = Received(file.signed_data)
            self.signatures = file.signatures
            self.read = file.signed


class TrustedMetadataSet(Mapping[str, Signed]):
    """The metadata that a client trusts in one update.

    Metadata is added in the order of the specification's workflow. Each ``update`` method
    verifies, and only then trusts; it raises and changes nothing that it should not.

    As a mapping it has the signed part of each role that is trusted, by role name.

    Args:
        root_data: the root that is trusted from the start (5.2).
        envelope_type: what metadata files are wrapped in.
        now: when the update began (5.1); None means now.

    Raises:
        RepositoryError: the root is not valid metadata, or not signed by itself.
    """

    def __init__(
        self,
        root_data: bytes,
        envelope_type: EnvelopeType,
        *,
        now: datetime | None = None,
    ) -> None:
        # 5.1: the time is fixed for the whole update.
        self.reference_time = now or datetime.now(timezone.utc)
        self._envelope_type = envelope_type
        self._by_role: dict[str, Signed] = {}
        # A targets role is trusted as what one delegator delegated to. Its file may be good for one
        # and not for another, and the delegator itself may be trusted in more than one form: so it
        # is told by the object, which stays alive as a value here.
        self._delegated: dict[tuple[str, int], tuple[Targets, Root | Targets]] = {}
        # 5.2: the trusted root need not be fresh. It must be signed by its own keys.
        file = self._file(root_data)
        root = self._read(file, Root, "root")
        root.verify_received("root", file.received, file.signatures)
        self._trust("root", root)

    def __getitem__(self, role: str) -> Signed:
        return self._by_role[role]

    def __len__(self) -> int:
        return len(self._by_role)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_role)

    def contains(self, role: str, delegator: str) -> bool:
        """Whether a role is trusted as what a delegator delegated to.

        Args:
            role: the role's name.
            delegator: name of the role that delegates to it.
        """
        found = self.get(delegator)
        return isinstance(found, Root | Targets) and self.delegated(role, found) is not None

    def delegated(self, role: str, delegator: Root | Targets) -> Targets | None:
        """A trusted targets role, as what a delegator delegated to; None if it is not trusted.

        Args:
            role: the role's name.
            delegator: the trusted metadata that delegates to it.
        """
        found = self._delegated.get((role, id(delegator)))
        return None if found is None else found[0]

    @property
    def root(self) -> Root:
        """The trusted root."""
        return cast("Root", self["root"])

    @property
    def timestamp(self) -> Timestamp:
        """The trusted timestamp.

        Raises:
            KeyError: there is none yet.
        """
        return cast("Timestamp", self["timestamp"])

    @property
    def snapshot(self) -> Snapshot:
        """The trusted snapshot.

        Raises:
            KeyError: there is none yet.
        """
        return cast("Snapshot", self["snapshot"])

    @property
    def targets(self) -> Targets:
        """The trusted top-level targets.

        Raises:
            KeyError: there are none yet.
        """
        return cast("Targets", self["targets"])

    # 5.3 Update the root role

    def update_root(self, data: bytes) -> Root:
        """Trust a new root.

        Args:
            data: the file.

        Raises:
            RepositoryError: it is not the next root.
        """
        if "timestamp" in self:
            raise RuntimeError("Cannot update root after timestamp")
        file = self._file(data)
        new = self._read(file, Root, "root")
        # 5.3.4: signed by a threshold of keys of the trusted root, and of its own keys.
        self.root.verify_received("root", file.received, file.signatures)
        new.verify_received("root", file.received, file.signatures)
        # 5.3.5: exactly the next version.
        if new.version != self.root.version + 1:
            raise BadVersionNumberError(
                f"root is version {new.version}, wanted {self.root.version + 1}"
            )
        # 5.3.6: its expiry does not matter yet. 5.3.7: it is the trusted root now.
        self._trust("root", new)
        return new

    def check_root_expiry(self) -> None:
        """Refuse a last root that has expired (5.3.10).

        Raises:
            ExpiredMetadataError: it has.
        """
        self._check_expiry("root", self.root)

    # 5.4 Update the timestamp role

    def update_timestamp(self, data: bytes) -> Timestamp:
        """Trust a new timestamp.

        An expired one raises, but serves the checks of the next one.

        Args:
            data: the file.

        Raises:
            EqualVersionNumberError: it has the version of the trusted one, which stays.
            RepositoryError: it is not acceptable.
        """
        if "snapshot" in self:
            raise RuntimeError("Cannot update timestamp after snapshot")
        # 5.3.10: root cannot change any more, so now its expiry counts.
        self.check_root_expiry()
        # 5.4.2: signed by the timestamp role's keys.
        new = self._verify(data, Timestamp, "timestamp", self.root)
        if "timestamp" in self:
            old = self.timestamp
            # 5.4.3.1: its version does not go back. With an equal version, nothing is new.
            if new.version < old.version:
                raise BadVersionNumberError(
                    f"timestamp is version {new.version}, trusted is {old.version} already"
                )
            if new.version == old.version:
                raise EqualVersionNumberError(f"timestamp is version {new.version} already")
            # 5.4.3.2: nor does the version of the snapshot.
            if new.snapshot_meta.version < old.snapshot_meta.version:
                raise BadVersionNumberError(
                    f"timestamp version {new.version} names snapshot version"
                    f" {new.snapshot_meta.version}, trusted is {old.snapshot_meta.version} already"
                )
        self._trust("timestamp", new)
        self.check_timestamp_expiry()
        return new

    def check_timestamp_expiry(self) -> None:
        """Refuse a timestamp that has expired (5.4.4).

        Raises:
            ExpiredMetadataError: it has.
        """
        self._check_expiry("timestamp", self.timestamp)

    # 5.5 Update the snapshot role

    def update_snapshot(self, data: bytes, trusted: bool | None = False) -> Snapshot:
        """Trust a new snapshot.

        One that is expired, or not the version that the timestamp names, raises, but serves the
        checks of the next one.

        Args:
            data: the file.
            trusted: it was trusted in an earlier update: its hashes are not checked again.

        Raises:
            RepositoryError: it is not acceptable.
        """
        if "timestamp" not in self:
            raise RuntimeError("Cannot update snapshot before timestamp")
        if "targets" in self:
            raise RuntimeError("Cannot update snapshot after targets")
        # 5.4.4: the timestamp cannot change any more, so now its expiry counts.
        self.check_timestamp_expiry()
        if not trusted:
            # 5.5.2: it has the length and hashes that the timestamp names, if any.
            self.timestamp.snapshot_meta.verify_length_and_hashes(data)
        # 5.5.3: signed by the snapshot role's keys.
        new = self._verify(data, Snapshot, "snapshot", self.root)
        if "snapshot" in self:
            # 5.5.5: no role vanishes, and no role's version goes back.
            found = new.versions()
            for name, version in self.snapshot.versions().items():
                if name not in found:
                    raise RepositoryError(
                        f"snapshot version {new.version} lacks {shown(name)}, which was version"
                        f" {version}"
                    )
                if found[name] < version:
                    raise BadVersionNumberError(
                        f"snapshot version {new.version} names {shown(name)} version"
                        f" {found[name]},"
                        f" trusted is {version} already"
                    )
        self._trust("snapshot", new)
        self._check_snapshot()
        return new

    def _check_snapshot(self) -> None:
        # 5.5.6: it has not expired.
        self._check_expiry("snapshot", self.snapshot)
        # 5.5.4: it is the version that the timestamp names.
        wanted = self.timestamp.snapshot_meta.version
        if self.snapshot.version != wanted:
            raise BadVersionNumberError(
                f"snapshot is version {self.snapshot.version}, timestamp names {wanted}"
            )

    # 5.6 Update the targets role

    def update_targets(self, data: bytes) -> Targets:
        """Trust new top-level targets.

        Args:
            data: the file.

        Raises:
            RepositoryError: they are not acceptable.
        """
        return self.update_delegated_targets(data, "targets", "root")

    def update_delegated_targets(self, data: bytes, role_name: str, delegator_name: str) -> Targets:
        """Trust a new targets role, as what a delegator delegated to.

        Args:
            data: the file.
            role_name: the role's name.
            delegator_name: name of the role that delegates to it, which is trusted already.

        Raises:
            RepositoryError: it is not acceptable.
        """
        if "snapshot" not in self:
            raise RuntimeError("Cannot load targets before snapshot")
        delegator = self.get(delegator_name)
        if not isinstance(delegator, Root | Targets):
            raise RuntimeError("Cannot load targets before delegator")
        return self.trust_targets(data, role_name, delegator)

    def trust_targets(self, data: bytes, role: str, delegator: Root | Targets) -> Targets:
        """The same, for a delegator that is at hand.

        Args:
            data: the file.
            role: the role's name.
            delegator: the trusted metadata that delegates to it.

        Raises:
            RepositoryError: it is not acceptable.
        """
        # 5.5.4, 5.5.6: the snapshot cannot change any more, so now it counts.
        self._check_snapshot()
        meta = self.snapshot.meta.get(f"{role}.json")
        if meta is None:
            raise RepositoryError(f"snapshot does not contain role {role!r}")
        # 5.6.2: it has the length and hashes that the snapshot names, if any.
        meta.verify_length_and_hashes(data)
        # 5.6.3: signed by the role's keys.
        new = self._verify(data, Targets, role, delegator)
        # 5.6.4: it is the version that the snapshot names.
        if new.version != meta.version:
            raise BadVersionNumberError(
                f"{shown(role)} is version {new.version}, snapshot names {meta.version}"
            )
        # 5.6.5: it has not expired.
        self._check_expiry(role, new)
        self._delegated[role, id(delegator)] = new, delegator
        self._trust(role, new)
        return new

    def _trust(self, role: str, signed: Signed) -> None:
        self._by_role[role] = signed
        logger.debug("%s version %d is trusted", shown(role), signed.version)

    def _check_expiry(self, role: str, signed: Signed) -> None:
        if signed.is_expired(self.reference_time):
            raise ExpiredMetadataError(
                f"{shown(role)} version {signed.version} expired at {signed.expires:{_DATE}},"
                f" the update began at {self.reference_time:{_DATE}}"
            )

    def _file(self, data: bytes) -> _File:
        return _File(data, self._envelope_type)

    def _read(self, file: _File, wanted: type[S], role: str) -> S:
        signed = file.read()
        if not isinstance(signed, wanted):
            raise RepositoryError(
                f"{shown(role)}: expected type {wanted.type!r}, got {signed.type!r}"
            )
        return signed

    def _verify(self, data: bytes, wanted: type[S], role: str, delegator: Root | Targets) -> S:
        """Read a file, and check that enough of the keys that the delegator lists have signed."""
        file = self._file(data)

        def verify() -> None:
            try:
                delegator.verify_received(role, file.received, file.signatures)
            except ValueError as e:
                raise RepositoryError(f"{shown(role)} is not delegated to: {e}") from e

        if len(data) < _BIG:
            signed = self._read(file, wanted, role)
            verify()
            return signed
        from concurrent.futures import ThreadPoolExecutor  # here: most updates have no use for it

        with ThreadPoolExecutor(1) as beside:
            verified = beside.submit(verify)
            signed = self._read(file, wanted, role)
            verified.result()
        return signed


def version_of(data: bytes, envelope_type: EnvelopeType) -> int | None:
    """The version that a metadata file claims, unverified; None if it is not valid metadata."""
    try:
        return _File(data, envelope_type).read().version
    except RepositoryError:
        return None


def revokes_online_key(old: Root, new: Root) -> bool:
    """Whether a root takes a key of the timestamp or snapshot role out of use (5.3.11)."""
    return any(not _keys(old, role) <= _keys(new, role) for role in ("timestamp", "snapshot"))


def _keys(root: Root, role: str) -> set[bytes | None]:
    return {key_material(root.keys[k]) for k in root.roles[role].keyids if k in root.keys}


__all__ = ["TrustedMetadataSet", "revokes_online_key", "version_of"]

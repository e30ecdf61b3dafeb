"""The settings of a client."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Flag, unique


@unique
class EnvelopeType(Flag):
    """What metadata files are wrapped in.

    ``METADATA`` is the specification's own format, ``SIMPLE`` a DSSE envelope.
    """

    METADATA = 1
    SIMPLE = 2


@dataclass
class UpdaterConfig:
    """The settings of a client. Lengths are in bytes.

    Args:
        max_root_rotations: how many new roots one refresh downloads at most (5.3.3).
        max_delegations: how many delegations one search follows at most (5.6.7.1).
        root_max_length: the largest root.
        timestamp_max_length: the largest timestamp.
        snapshot_max_length: the largest snapshot, where the timestamp gives no length.
        targets_max_length: the largest targets metadata, where the snapshot gives no length.
        prefix_targets_with_hash: with consistent snapshots, ask for ``HASH.NAME`` (5.7.3).
        envelope_type: what metadata files are wrapped in.
        app_user_agent: how the application names itself to servers.
        offline: download nothing; what the cache holds is verified all the same.
        read_only: write nothing into the cache; what is downloaded is kept in memory.
        targets_in_subdirectories: keep the target path ``a/b`` as file ``b`` in directory ``a``
            of the target directory; else as one file with a percent-encoded name.
        target_mirrors: further base URLs of targets, tried in order when the first one fails.
        min_transfer_rate: bytes per second below which a server is too slow; 0 for no such floor.
        max_transfer_seconds: how long one file may take; None for no limit.
        retries: how often a download that broke off is taken up again.
    """

    max_root_rotations: int = 256
    max_delegations: int = 32
    root_max_length: int = 512000
    timestamp_max_length: int = 16384
    snapshot_max_length: int = 2000000
    targets_max_length: int = 5000000
    prefix_targets_with_hash: bool = True
    envelope_type: EnvelopeType = EnvelopeType.METADATA
    app_user_agent: str | None = None
    offline: bool = False
    read_only: bool = False
    targets_in_subdirectories: bool = False
    target_mirrors: tuple[str, ...] = ()
    min_transfer_rate: int = 512
    max_transfer_seconds: float | None = None
    retries: int = 2

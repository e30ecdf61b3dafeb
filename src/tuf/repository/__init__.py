"""The repository: makes, signs and publishes metadata (6).

:class:`ManagedRepository` is a complete one. :class:`Repository` is the abstract one that has
always been published, for those who keep and sign metadata in ways of their own.
"""

from tuf.repository._abstract import AbortEdit, Repository
from tuf.repository._transaction import Publication
from tuf.repository.audit import Finding
from tuf.repository.changes import (
    AddKey,
    AddTarget,
    Change,
    ClearTargets,
    Delegate,
    RemoveTarget,
    Renew,
    RevokeKey,
    RotateKey,
    SetBins,
    SetThreshold,
    Undelegate,
)
from tuf.repository.drafts import Draft, ExportedDraft
from tuf.repository.managed import ManagedRepository
from tuf.repository.policy import Policy, PolicyError
from tuf.repository.signers import Keyring, KeySource, KeyUnavailable, generate_key, read_public_key
from tuf.repository.store import Conflict, DirectoryStore, FileExists, Store

__all__ = [
    "AbortEdit",
    "AddKey",
    "AddTarget",
    "Change",
    "ClearTargets",
    "Conflict",
    "Delegate",
    "DirectoryStore",
    "Draft",
    "ExportedDraft",
    "FileExists",
    "Finding",
    "KeySource",
    "KeyUnavailable",
    "Keyring",
    "ManagedRepository",
    "Policy",
    "PolicyError",
    "Publication",
    "RemoveTarget",
    "Renew",
    "Repository",
    "RevokeKey",
    "RotateKey",
    "SetBins",
    "SetThreshold",
    "Store",
    "Undelegate",
    "generate_key",
    "read_public_key",
]

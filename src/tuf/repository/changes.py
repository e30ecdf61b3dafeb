"""The changes that can be made to a repository, as values.

Each says what is to be so, not how to get there: to apply a change a second time changes nothing.
So a publication that was interrupted is completed by running it again.
"""

from __future__ import annotations

import os
import re
from typing import Any

import msgspec

from tuf.api._keys import Key

# No segment is empty, "." or "..": a target path is the path of a URL, below a base URL.
_TARGET_PATH = re.compile(r"(?!\.{1,2}(?:/|$))[^/\0]+(?:/(?!\.{1,2}(?:/|$))[^/\0]+)*")
_DIGEST = re.compile(r"(?:[0-9a-f]{2})+")


class AddTarget(msgspec.Struct, frozen=True, tag=True):
    """Add a target, or replace it.

    Its content is given as ``data`` or as a local ``file``, and is stored; or its ``length`` and
    ``hashes`` are given, and the content is somebody else's business.

    Args:
        path: the target path.
        length: length in bytes.
        hashes: hex digests by algorithm.
        custom: what the application says of it.
        file: the local file that holds the content.
        data: the content.
        role: the targets role that lists it, or whose hash bins do.

    Raises:
        ValueError: the content is given in no way or in two, or an argument is not valid.
    """

    path: str
    length: int | None = None
    hashes: dict[str, str] | None = None
    custom: Any = None
    file: str | os.PathLike[str] | None = None
    data: bytes | None = None
    role: str = "targets"

    def __post_init__(self) -> None:
        if _TARGET_PATH.fullmatch(self.path) is None:
            raise ValueError(f"{self.path!r} cannot be a target path")
        if (self.hashes is not None) + (self.file is not None) + (self.data is not None) != 1:
            raise ValueError(f"{self.path}: give either length and hashes, or file, or data")
        if self.hashes is not None:
            if not isinstance(self.length, int) or self.length < 0:
                raise ValueError(
                    f"{self.path}: length must be a number of bytes, not {self.length!r}"
                )
            if not self.hashes:
                raise ValueError(f"{self.path}: hashes must name at least one")
            for algorithm, digest in self.hashes.items():
                if _DIGEST.fullmatch(digest) is None:
                    raise ValueError(f"{self.path}: {algorithm} {digest!r:.80} is not a hex digest")


class RemoveTarget(msgspec.Struct, frozen=True, tag=True):
    """Remove a target.

    Args:
        path: the target path.
        role: the targets role that lists it, or whose hash bins do.
    """

    path: str
    role: str = "targets"


class ClearTargets(msgspec.Struct, frozen=True, tag=True):
    """Remove all targets that a targets role lists, or its hash bins.

    Args:
        role: the targets role.
    """

    role: str = "targets"


class Delegate(msgspec.Struct, frozen=True, tag=True):
    """Let a role sign for target paths. If it is delegated to already, this is how from now on.

    Args:
        name: the role.
        keys: its keys.
        paths: patterns of target paths.
        path_hash_prefixes: beginnings of the SHA-256 hex digests of target paths; either these
            or ``paths``.
        threshold: how many of the keys must sign.
        terminating: whether a search ends here for these paths.
        role: the targets role that delegates.
    """

    name: str
    keys: tuple[Key, ...]
    paths: tuple[str, ...] | None = None
    path_hash_prefixes: tuple[str, ...] | None = None
    threshold: int = 1
    terminating: bool = False
    role: str = "targets"


class Undelegate(msgspec.Struct, frozen=True, tag=True):
    """Let a role not sign any more.

    Its last metadata stays listed in the snapshot, as clients want (5.5.5).

    Args:
        name: the delegated role.
        role: the targets role that delegates.
    """

    name: str
    role: str = "targets"


class SetBins(msgspec.Struct, frozen=True, tag=True):
    """Let ``2 ** bits`` hash bins list the targets of a role (TAP 15), and move the targets there.

    Args:
        bits: between 1 and 32.
        keys: the keys of all bins; None for those that the bins have.
        threshold: how many of the keys must sign each bin; None for what the bins have, or 1.
        prefix: what the names of the bins begin with; None for what the bins have, or ``bins``.
        role: the targets role, which has no other delegations.
    """

    bits: int
    keys: tuple[Key, ...] | None = None
    threshold: int | None = None
    prefix: str | None = None
    role: str = "targets"


class AddKey(msgspec.Struct, frozen=True, tag=True):
    """Let a key sign for a role.

    Args:
        name: a top-level or delegated role; for bins, the beginning of their names.
        key: the key.
        threshold: the role's threshold from now on; None leaves it.
        role: the targets role that delegates; not used for top-level roles.
    """

    name: str
    key: Key
    threshold: int | None = None
    role: str = "targets"


class RevokeKey(msgspec.Struct, frozen=True, tag=True):
    """Let a key not sign for a role any more.

    Args:
        name: a top-level or delegated role; for bins, the beginning of their names.
        keyid: the key's id.
        threshold: the role's threshold from now on; None leaves it.
        role: the targets role that delegates; not used for top-level roles.
    """

    name: str
    keyid: str
    threshold: int | None = None
    role: str = "targets"


class RotateKey(msgspec.Struct, frozen=True, tag=True):
    """Let one key take another's place.

    Args:
        name: a top-level or delegated role; for bins, the beginning of their names.
        old: the key id of the key that goes.
        new: the key that comes.
        role: the targets role that delegates; not used for top-level roles.
    """

    name: str
    old: str
    new: Key
    role: str = "targets"


class SetThreshold(msgspec.Struct, frozen=True, tag=True):
    """Set how many keys of a role must sign.

    Args:
        name: a top-level or delegated role; for bins, the beginning of their names.
        threshold: how many.
        role: the targets role that delegates; not used for top-level roles.
    """

    name: str
    threshold: int
    role: str = "targets"


class Renew(msgspec.Struct, frozen=True, tag=True):
    """Make a new version of a role's metadata, with a new expiry.

    Args:
        name: the role.
    """

    name: str


Change = (
    AddTarget
    | RemoveTarget
    | ClearTargets
    | Delegate
    | Undelegate
    | SetBins
    | AddKey
    | RevokeKey
    | RotateKey
    | SetThreshold
    | Renew
)

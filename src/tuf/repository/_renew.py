"""Which roles are due to be signed anew?"""

from __future__ import annotations

from datetime import datetime

import msgspec

from tuf.api.exceptions import RepositoryError
from tuf.repository._transaction import Transaction


class _SignedPart(msgspec.Struct):
    expires: str


class _File(msgspec.Struct):
    """As much of a file as tells when it expires."""

    signed: _SignedPart


_file = msgspec.json.Decoder(_File)


def renew_due(tx: Transaction) -> None:
    """Let roles that are due get new versions. Drafts are left as they are."""
    state = tx.state
    if not state.roots or state.timestamp is None or state.snapshot is None:
        return
    if _is_due(tx, "root", state.root.expires) and state.root_draft is None:
        with tx.edit_root():
            pass
    for role, targets in list(tx.walk()):
        if _is_due(tx, role, targets.expires) and not tx.has_draft(role):
            tx.touch(role)
        bins = tx.bins_of(role)
        for name in bins.get_roles() if bins is not None else ():
            data = state.file(name)
            if data is not None and _is_due(tx, name, _expires(data, name)):
                tx.bin_edits(role).names.add(name)
    for role, signed in (
        ("snapshot", state.snapshot.signed),
        ("timestamp", state.timestamp.signed),
    ):
        if _is_due(tx, role, signed.expires):
            tx.force(role)
            tx.force("timestamp")


def _is_due(tx: Transaction, role: str, expires: datetime) -> bool:
    return expires - tx.now <= tx.policy.role(role).signing


def _expires(data: bytes, role: str) -> datetime:
    """When a file expires. What is signed anew is verified then."""
    try:
        text = _file.decode(data).signed.expires
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except (msgspec.MsgspecError, ValueError) as e:
        raise RepositoryError(f"{role}: {e}") from e

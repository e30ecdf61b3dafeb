"""Changes applied to the metadata of a transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from functools import partial
from itertools import islice
from typing import TypeVar

from tuf.api import _json
from tuf.api._keys import Key, key_material
from tuf.api._roles import Role
from tuf.api.metadata import (
    TOP_LEVEL_ROLE_NAMES,
    DelegatedRole,
    Delegations,
    Root,
    SuccinctRoles,
    TargetFile,
    Targets,
)
from tuf.repository._bins import edit_entry
from tuf.repository._transaction import Transaction
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
from tuf.repository.store import Content, LocalFile, check_name

C = TypeVar("C")

#: How many changes are worked on together.
CHUNK = 1000
#: How many files one job of an executor hashes.
_FILES = 16

Described = tuple[int, dict[str, str]]


def chunks(items: Iterable[C], size: int) -> Iterator[list[C]]:
    """Cut a stream into lists."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def describe_files(algorithms: tuple[str, ...], paths: list[str]) -> list[Described]:
    """The lengths and hashes of local files."""
    found = [TargetFile.from_file(path, path, list(algorithms)) for path in paths]
    return [(target.length, target.hashes) for target in found]


def apply_all(tx: Transaction, changes: Iterable[Change], executor: Executor | None) -> None:
    """Apply changes in their order, and store the content of targets.

    Args:
        tx: the transaction.
        changes: the changes.
        executor: where files are hashed; None for here.

    Raises:
        ValueError: a change cannot be applied.
        OSError: a local file cannot be read.
    """
    for chunk in chunks(changes, CHUNK):
        paths = [str(c.file) for c in chunk if isinstance(c, AddTarget) and c.file is not None]
        job = partial(describe_files, tx.policy.hashes)
        described = _described(job, paths, executor)
        contents: dict[str, Content] = {}
        for change in chunk:
            if isinstance(change, AddTarget):
                _add_target(tx, change, described, contents)
            elif isinstance(change, RemoveTarget):
                _edit_target(tx, change.role, change.path, None)
            else:
                _apply(tx, change)
        if contents:
            tx.store.create_many(contents.items())


def _described(
    job: Callable[[list[str]], list[Described]], paths: list[str], executor: Executor | None
) -> Iterator[Described]:
    """What a job finds out about files, in their order."""
    if executor is None:
        yield from job(paths)
        return
    for future in [executor.submit(job, batch) for batch in chunks(paths, _FILES)]:
        yield from future.result()


def _add_target(
    tx: Transaction,
    change: AddTarget,
    described: Iterator[Described],
    contents: dict[str, Content],
) -> None:
    content: Content | None = None
    if change.hashes is not None:
        length, hashes = change.length or 0, change.hashes
    elif change.file is not None:
        length, hashes = next(described)
        content = LocalFile(change.file, length, hashes)
    else:
        content = change.data or b""
        target = TargetFile.from_data(change.path, content, list(tx.policy.hashes))
        length, hashes = target.length, target.hashes
    if content is not None:
        target = TargetFile(length, hashes, change.path)
        contents.update((f"targets/{name}", content) for name in target.get_prefixed_paths())
    # In canonical order.
    entry = {
        "hashes": hashes if len(hashes) == 1 else dict(sorted(hashes.items())),
        "length": length,
    }
    if change.custom is not None:
        data = _json.compact({"custom": change.custom, **entry})
    else:
        data = _json.encode_native(entry, canonical=False)
    _edit_target(tx, change.role, change.path, data)


def _edit_target(tx: Transaction, role: str, path: str, entry: bytes | None) -> None:
    if tx.bins_of(role) is not None:
        tx.bin_edits(role).spool.add(path, entry)
        return
    if not tx.is_pending(role):
        # A change that changes nothing makes no new version.
        found = _known(tx, role)
        there = found.targets.get(path)
        if there is None if entry is None else there and _json.compact(there.to_dict()) == entry:
            return
    edit_entry(tx.touch(role), path, entry)


def _known(tx: Transaction, role: str) -> Targets:
    targets = tx.look(role)
    if targets is None:
        if role == "targets" or any(role in _role_names(t) for _, t in tx.walk()):
            return tx.touch(role)
        raise ValueError(f"there is no targets role named {role!r}")
    return targets


def _role_names(targets: Targets) -> Iterable[str]:
    return (targets.delegations.roles if targets.delegations else None) or ()


def _apply(tx: Transaction, change: Change) -> None:
    match change:
        case ClearTargets():
            _clear(tx, change.role)
        case Delegate():
            _delegate(tx, change)
        case Undelegate():
            _undelegate(tx, change)
        case SetBins():
            _set_bins(tx, change)
        case AddKey():
            _change_role(tx, change.name, change.role, add=change.key, threshold=change.threshold)
        case RevokeKey():
            _change_role(
                tx, change.name, change.role, remove=change.keyid, threshold=change.threshold
            )
        case RotateKey():
            _change_role(tx, change.name, change.role, add=change.new, remove=change.old)
        case SetThreshold():
            _change_role(tx, change.name, change.role, threshold=change.threshold)
        case Renew():
            _renew(tx, change.name)
        case _:
            raise TypeError(f"{change!r:.80} is not a change")


def _clear(tx: Transaction, role: str) -> None:
    if tx.bins_of(role) is not None:
        tx.replace_bin_edits(role)
        edits = tx.bin_edits(role)
        edits.all = edits.clear = True
    elif _known(tx, role).targets:
        tx.touch(role).targets.clear()


def _renew(tx: Transaction, name: str) -> None:
    if name in ("timestamp", "snapshot"):
        tx.force("timestamp")
        tx.force(name)
    elif name == "root":
        with tx.edit_root():
            pass
    elif (role := _bins_with(tx, name)) is not None:
        tx.bin_edits(role).names.add(name)
    else:
        _known(tx, name)
        tx.touch(name)


def _bins_with(tx: Transaction, name: str) -> str | None:
    """The role to whose bins a role belongs; None if it is not a bin."""
    for role, _ in tx.walk():
        bins = tx.bins_of(role)
        if bins is not None and bins.is_delegated_role(name):
            return role
    return None


# Delegations.


def _delegate(tx: Transaction, change: Delegate) -> None:
    if change.name in TOP_LEVEL_ROLE_NAMES:
        raise ValueError(f"{change.name} is a top-level role: it cannot be delegated to")
    check_name(change.name)
    current = _known(tx, change.role)
    if tx.bins_of(change.role) is not None:
        raise ValueError(f"{change.role} delegates to bins, and cannot delegate to others as well")
    others = [
        name for name, t in tx.walk() if change.name in _role_names(t) and name != change.role
    ]
    if others:
        raise ValueError(f"{others[0]} delegates to {change.name} already")
    _check_threshold(change.name, change.threshold, list(change.keys))
    role = DelegatedRole(
        change.name,
        [key.keyid for key in change.keys],
        change.threshold,
        change.terminating,
        None if change.paths is None else list(change.paths),
        None if change.path_hash_prefixes is None else list(change.path_hash_prefixes),
    )
    before = current.delegations
    if (
        before
        and (before.roles or {}).get(role.name) == role
        and all(before.keys.get(key.keyid) == key for key in change.keys)
    ):
        return
    targets = tx.touch(change.role)
    if targets.delegations is None:
        targets.delegations = Delegations({}, roles={})
    delegations = targets.delegations
    delegations.roles = {**(delegations.roles or {}), role.name: role}
    delegations.keys.update((key.keyid, key) for key in change.keys)
    _drop_unused_keys(delegations)
    if tx.look(role.name) is None:
        tx.touch(role.name)


def _undelegate(tx: Transaction, change: Undelegate) -> None:
    if change.name not in _role_names(_known(tx, change.role)):
        return
    targets = tx.touch(change.role)
    assert targets.delegations is not None and targets.delegations.roles is not None  # noqa: S101, PT018
    del targets.delegations.roles[change.name]
    _drop_unused_keys(targets.delegations)
    if not targets.delegations.roles:
        targets.delegations = None
    tx.drop(change.name)


def _drop_unused_keys(delegations: Delegations) -> None:
    roles: list[Role] = list((delegations.roles or {}).values())
    if delegations.succinct_roles is not None:
        roles.append(delegations.succinct_roles)
    used = {keyid for role in roles for keyid in role.keyids}
    delegations.keys = {keyid: key for keyid, key in delegations.keys.items() if keyid in used}


def _set_bins(tx: Transaction, change: SetBins) -> None:
    current = _known(tx, change.role)
    if list(_role_names(current)):
        raise ValueError(f"{change.role} delegates to other roles, and cannot have bins as well")
    before = tx.bins_of(change.role)
    if change.keys is None and before is None:
        raise ValueError(f"the bins of {change.role} need keys")
    delegations = current.delegations
    keys = (
        {key.keyid: key for key in change.keys}
        if change.keys is not None
        else dict(delegations.keys if delegations else {})
    )
    bins = SuccinctRoles(
        list(keys),
        change.threshold or (before.threshold if before else 1),
        change.bits,
        change.prefix or (before.name_prefix if before else "bins"),
    )
    _check_threshold(bins.name_prefix, bins.threshold, list(keys.values()))
    if bins == before and delegations is not None and delegations.keys == keys:
        return
    if before is None or (before.bit_length, before.name_prefix) != (
        bins.bit_length,
        bins.name_prefix,
    ):
        _move_targets(tx, change.role, before)
    targets = tx.touch(change.role)
    targets.targets.clear()
    targets.delegations = Delegations(keys, succinct_roles=bins)


def _move_targets(tx: Transaction, role: str, before: SuccinctRoles | None) -> None:
    """Let all targets of a role, or of its bins, be edits of the bins that are to come."""
    old = tx.replace_bin_edits(role)
    new = tx.bin_edits(role)
    new.all = new.clear = True
    if before is None:
        for path, entry in tx.entries(role):
            new.spool.add(path, entry)
        return
    if not old.clear:
        for path, entry in tx.entries_in_bins(role):
            new.spool.add(path, entry)
    for path, edit in old.spool.edits():
        new.spool.add(path, edit)


# Keys and thresholds.


def _change_role(
    tx: Transaction,
    name: str,
    delegator: str,
    *,
    add: Key | None = None,
    remove: str | None = None,
    threshold: int | None = None,
) -> None:
    """Change the keys and the threshold of a role, if they are not so already."""
    current: Root | Targets
    current = tx.open("root").signed if name in TOP_LEVEL_ROLE_NAMES else _known(tx, delegator)
    role = _find_role(current, name)
    keys = [
        current.get_key(k) for k in role.keyids if k != remove and (add is None or k != add.keyid)
    ]
    if add is not None:
        keys.append(add)
    wanted = threshold or role.threshold
    if {key.keyid for key in keys} == set(role.keyids) and wanted == role.threshold:
        return
    _check_threshold(name, wanted, keys)
    signed: Root | Targets
    if isinstance(current, Root):
        with tx.edit_root() as root:
            signed = root
    else:
        signed = tx.touch(delegator)
    role = _find_role(signed, name)
    role.threshold = wanted
    role.keyids = [key.keyid for key in keys]
    if isinstance(signed, Root):
        signed.keys.update((key.keyid, key) for key in keys)
        used = {keyid for r in signed.roles.values() for keyid in r.keyids}
        signed.keys = {keyid: key for keyid, key in signed.keys.items() if keyid in used}
    elif signed.delegations is not None:
        signed.delegations.keys.update((key.keyid, key) for key in keys)
        _drop_unused_keys(signed.delegations)


def _find_role(signed: Root | Targets, name: str) -> Role:
    if isinstance(signed, Root):
        return signed.get_delegated_role(name)
    delegations = signed.delegations
    bins = delegations.succinct_roles if delegations else None
    if bins is not None and name == bins.name_prefix:
        return bins
    if delegations is None or name not in (delegations.roles or {}):
        raise ValueError(f"there is no delegation to {name!r}")
    return (delegations.roles or {})[name]


def _check_threshold(role: str, threshold: int, keys: list[Key]) -> None:
    """Refuse a threshold that can never be met."""
    distinct = {key_material(key) for key in keys} - {None}
    if not 1 <= threshold <= len(distinct):
        raise ValueError(f"{role}: a threshold of {threshold} with {len(distinct)} usable keys")

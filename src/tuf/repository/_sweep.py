"""What may be deleted: files that no client needs any more."""

from __future__ import annotations

from collections.abc import Iterator

from tuf.api.metadata import Targets
from tuf.repository._state import State, metadata_name, read_metadata, split_name
from tuf.repository._transaction import read_draft
from tuf.repository.store import FileInfo, Store


def sweepable(store: Store, state: State, now: float, grace: float) -> list[str]:
    """The files that nothing has named for longer than the grace time, and drafts that are over.

    A version is superseded when the next one is written; a target file when no metadata that
    is kept, and no draft, names it. All roots are kept, for clients that have been away.

    Args:
        store: the store.
        state: what it holds.
        now: the time, in seconds since 1970.
        grace: how long files are kept that nothing names any more, in seconds.
    """
    if state.snapshot is None or state.timestamp is None:
        return []
    current = {
        name.removesuffix(".json"): version
        for name, version in state.snapshot.signed.versions().items()
    }
    current["snapshot"] = state.timestamp.signed.snapshot_meta.version
    by_role: dict[str, list[tuple[int, FileInfo]]] = {}
    for info in store.list("metadata/"):
        role, version = split_name(info.name)
        if version and role != "root":
            by_role.setdefault(role, []).append((version, info))
    old: list[str] = []
    kept: list[tuple[str, int]] = []
    for role, versions in by_role.items():
        # No later version: nothing took its place but what made it an orphan.
        superseded = now
        for version, info in sorted(versions, reverse=True):
            since = info.modified if version > current.get(role, 0) else superseded
            if version != current.get(role) and since < now - grace:
                old.append(info.name)
            else:
                kept.append((role, version))
            superseded = info.modified
    files = {info.name: info for info in store.list("targets/")}
    stale = {name for name, info in files.items() if info.modified < now - grace}
    for role, version in kept:
        if not stale:
            break
        if role != "snapshot":
            stale.difference_update(_named(store, metadata_name(role, version)))
    drafts = []
    for info in store.list("drafts/"):
        role = info.name.removeprefix("drafts/").removesuffix(".json")
        data = store.read(info.name)
        current_version = len(state.roots) if role == "root" else current.get(role, 0)
        if data is not None and read_draft(data, role).signed.version <= current_version:
            drafts.append(info.name)  # it will never be published
        elif role != "root":
            stale.difference_update(_named(store, info.name))
    return old + sorted(stale) + drafts


def _named(store: Store, name: str) -> Iterator[str]:
    """The target files that a metadata file names."""
    data = store.read(name)
    if data is None:
        return
    targets = read_metadata(data, Targets, name)[0].signed.targets
    for path in targets:
        yield f"targets/{path}"
        yield from (f"targets/{name}" for name in targets[path].get_prefixed_paths())

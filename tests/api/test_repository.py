"""The abstract Repository, with metadata kept in memory."""

import copy
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
from api.wire import keyid, signer

from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.repository import AbortEdit, Repository

YEAR_2040 = datetime(2040, 1, 1, tzinfo=timezone.utc)
KINDS: dict[str, Any] = {"root": Root, "timestamp": Timestamp, "snapshot": Snapshot}


class Memory(Repository):
    """Every version of every role; one key signs all."""

    def __init__(self) -> None:
        self.roles: dict[str, list[Metadata[Any]]] = {}
        self.infos: dict[str, MetaFile] = {}
        self.closed: list[str] = []
        self.number = 0
        with self.edit_root() as root:
            for role in root.roles:
                root.add_key(signer().public_key, role)
        with self.edit_targets():
            pass

    @property
    def targets_infos(self) -> dict[str, MetaFile]:
        return {name: info for name, info in self.infos.items() if name != "snapshot.json"}

    @property
    def snapshot_info(self) -> MetaFile:
        return self.infos["snapshot.json"]

    def open(self, role: str) -> Metadata[Any]:
        if role not in self.roles:
            md: Metadata[Any] = Metadata(KINDS.get(role, Targets)())
            md.signed.version = 0
            return md
        return copy.deepcopy(self.roles[role][-1])

    def close(self, role: str, md: Metadata[Any]) -> None:
        md.signed.version += 1
        md.signed.expires = YEAR_2040
        md.sign(signer(self.number))
        self.roles.setdefault(role, []).append(md)
        self.closed.append(role)
        if role not in ("root", "timestamp"):
            self.infos[f"{role}.json"] = MetaFile(md.signed.version)

    def versions(self, role: str) -> int:
        return len(self.roles.get(role, []))


def versions(meta: dict[str, MetaFile]) -> dict[str, int]:
    return {name: info.version for name, info in meta.items()}


# Editing.


def test_repository_is_abstract() -> None:
    with pytest.raises(TypeError):
        Repository()  # type: ignore[abstract]
    assert {"open", "close"} == Repository.__abstractmethods__


def test_infos_are_for_those_who_snapshot() -> None:
    class Bare(Memory):
        targets_infos = Repository.targets_infos
        snapshot_info = Repository.snapshot_info

    for call in (
        lambda: Bare().targets_infos,
        lambda: Bare().snapshot_info,
        lambda: Bare().do_snapshot(),
        lambda: Bare().do_timestamp(),
    ):
        with pytest.raises(NotImplementedError):
            call()


@pytest.mark.parametrize(
    ("role", "kind"),
    [
        ("root", Root),
        ("timestamp", Timestamp),
        ("snapshot", Snapshot),
        ("targets", Targets),
        ("project", Targets),
    ],
)
def test_edit(role: str, kind: type) -> None:
    repository = Memory()
    before = repository.versions(role)
    with repository.edit(role) as signed:
        assert type(signed) is kind
        signed.unrecognized_fields["x"] = 1
    assert repository.versions(role) == before + 1
    assert repository.roles[role][-1].signed.unrecognized_fields == {"x": 1}
    assert repository.closed[-1] == role


def test_edit_by_name() -> None:
    repository = Memory()
    edits: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = [
        ("root", repository.edit_root, repository.root),
        ("timestamp", repository.edit_timestamp, repository.timestamp),
        ("snapshot", repository.edit_snapshot, repository.snapshot),
        ("targets", repository.edit_targets, repository.targets),
        (
            "project",
            lambda: repository.edit_targets("project"),
            lambda: repository.targets("project"),
        ),
        (
            "other",
            lambda: repository.edit_targets(rolename="other"),
            lambda: repository.targets(rolename="other"),
        ),
    ]
    for role, edit, current in edits:
        with edit() as signed:
            assert signed.type == ("targets" if role in ("project", "other") else role)
            signed.unrecognized_fields["role"] = role
        assert repository.closed[-1] == role
        assert current().unrecognized_fields == {"role": role}
        assert current() == repository.roles[role][-1].signed


def test_looking_does_not_close() -> None:
    repository = Memory()
    closed = list(repository.closed)
    for current in (repository.root, repository.timestamp, repository.snapshot, repository.targets):
        current()
    assert repository.closed == closed


def test_an_aborted_edit_is_not_closed_and_goes_on() -> None:
    repository = Memory()
    before = repository.versions("targets")
    with repository.edit_targets() as targets:
        targets.targets["a"] = TargetFile(1, {"sha256": "ab"}, "a")
        raise AbortEdit("nothing to do")
    with repository.edit("targets"):
        raise AbortEdit
    assert repository.versions("targets") == before
    assert repository.targets().targets == {}


def test_a_failed_edit_is_not_closed_and_fails() -> None:
    repository = Memory()
    before = repository.versions("targets")
    with pytest.raises(LookupError, match="disk on fire"), repository.edit_targets():
        raise LookupError("disk on fire")
    assert repository.versions("targets") == before


# Snapshot.


def test_the_first_snapshot() -> None:
    repository = Memory()
    assert repository.do_snapshot() == (True, {})
    assert repository.snapshot().version == 1
    assert versions(repository.snapshot().meta) == {"targets.json": 1}


def test_a_snapshot_is_made_only_when_it_is_needed() -> None:
    repository = Memory()
    repository.do_snapshot()
    assert repository.do_snapshot() == (False, {})
    assert repository.do_snapshot(force=False) == (False, {})
    assert repository.versions("snapshot") == 1
    assert repository.do_snapshot(True) == (True, {})
    assert repository.do_snapshot(force=True) == (True, {})
    assert repository.versions("snapshot") == 3


def test_a_snapshot_returns_what_it_replaces() -> None:
    repository = Memory()
    repository.do_snapshot()
    for role in ("targets", "project"):
        with repository.edit_targets(role):
            pass
    made, removed = repository.do_snapshot()
    assert (made, versions(removed)) == (True, {"targets.json": 1})
    assert versions(repository.snapshot().meta) == {"targets.json": 2, "project.json": 1}
    for _ in range(2):
        with repository.edit_targets("project"):
            pass
    made, removed = repository.do_snapshot()
    assert (made, versions(removed)) == (True, {"project.json": 1})
    assert versions(repository.snapshot().meta) == {"targets.json": 2, "project.json": 3}


def test_a_snapshot_has_the_lengths_and_hashes() -> None:
    repository = Memory()
    repository.do_snapshot()
    repository.infos["targets.json"] = MetaFile(2, 7, {"sha256": "ab"})
    assert versions(repository.do_snapshot()[1]) == {"targets.json": 1}
    assert repository.snapshot().meta["targets.json"] == MetaFile(2, 7, {"sha256": "ab"})


def test_what_is_in_a_snapshot_stays_there() -> None:
    """A role that goes away stays in the snapshot: clients refuse one that vanishes."""
    repository = Memory()
    with repository.edit_targets("project"):
        pass
    repository.do_snapshot()
    del repository.infos["project.json"]
    assert repository.do_snapshot() == (False, {})
    repository.do_snapshot(force=True)
    assert versions(repository.snapshot().meta) == {"targets.json": 1, "project.json": 1}


@pytest.mark.parametrize("force", [False, True])
def test_a_snapshot_never_goes_back(force: bool) -> None:
    repository = Memory()
    with repository.edit_targets():
        pass
    repository.do_snapshot()
    repository.infos["targets.json"] = MetaFile(1)
    with pytest.raises(ValueError, match="rollback"):
        repository.do_snapshot(force=force)
    assert repository.versions("snapshot") == 1


# Timestamp.


def snapshotted() -> Memory:
    repository = Memory()
    repository.do_snapshot()
    return repository


def test_the_first_timestamp() -> None:
    repository = snapshotted()
    assert repository.do_timestamp() == (True, None)
    assert repository.timestamp().snapshot_meta == MetaFile(1)


def test_a_timestamp_is_made_only_when_it_is_needed() -> None:
    repository = snapshotted()
    repository.do_timestamp()
    assert repository.do_timestamp() == (False, None)
    assert repository.do_timestamp(True) == (True, None)
    assert repository.do_timestamp(force=True) == (True, None)
    assert repository.versions("timestamp") == 3


def test_a_timestamp_returns_what_it_replaces() -> None:
    repository = snapshotted()
    repository.do_timestamp()
    repository.do_snapshot(force=True)
    assert repository.do_timestamp() == (True, MetaFile(1))
    assert repository.timestamp().snapshot_meta == MetaFile(2)
    repository.infos["snapshot.json"] = MetaFile(3, 5, {"sha256": "ab"})
    assert repository.do_timestamp() == (True, MetaFile(2))
    assert repository.timestamp().snapshot_meta == MetaFile(3, 5, {"sha256": "ab"})


@pytest.mark.parametrize("force", [False, True])
def test_a_timestamp_never_goes_back(force: bool) -> None:
    repository = snapshotted()
    repository.do_snapshot(force=True)
    repository.do_timestamp()
    repository.infos["snapshot.json"] = MetaFile(1)
    with pytest.raises(ValueError, match="rollback"):
        repository.do_timestamp(force=force)
    assert repository.versions("timestamp") == 1


# Keys.


@pytest.mark.parametrize("role", ["snapshot", "timestamp"])
def test_rotated_keys_ask_for_a_new_version(role: str) -> None:
    """What the root's keys do not verify any more is signed again."""
    repository = snapshotted()
    repository.do_timestamp()
    with repository.edit_root() as root:
        root.revoke_key(keyid(), role)
        root.add_key(signer(1).public_key, role)
    repository.number = 1
    made = repository.do_snapshot() if role == "snapshot" else repository.do_timestamp()
    assert made[0]
    md = repository.roles[role][-1]
    repository.root().verify_delegate(role, md.signed_bytes, md.signatures)
    made = repository.do_snapshot() if role == "snapshot" else repository.do_timestamp()
    assert not made[0]

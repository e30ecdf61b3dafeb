"""Roles whose keys are elsewhere."""

from pathlib import Path

import pytest
from repository.world import World

from tuf.api.exceptions import RepositoryError, UnsignedMetadataError
from tuf.repository import (
    AddTarget,
    Delegate,
    ExportedDraft,
    Keyring,
    KeySource,
    ManagedRepository,
    RemoveTarget,
    RotateKey,
)

POLICY = """\
[keys]
root = { uri = "file:keys/root" }
alice = { public = "keys/alice.pub" }
bob = { public = "keys/bob.pub" }
online = { uri = "file:keys/online" }
[roles]
root = { keys = ["alice", "bob"], threshold = 2 }
targets = { keys = ["alice", "bob"], threshold = 2 }
snapshot = { keys = ["online"] }
timestamp = { keys = ["online"] }
"""


class Holders(World):
    """A world where alice and bob hold the keys of root and targets."""

    def __init__(self, directory: Path) -> None:
        World(directory).key("alice")
        World(directory).key("bob")
        super().__init__(directory, POLICY)

    def keyring(self, name: str) -> Keyring:
        """The keys on the machine of a key holder."""
        return Keyring([KeySource(name, f"file:keys/{name}")], self.directory)

    def holder(self, name: str) -> ManagedRepository:
        return ManagedRepository(self.store, self.policy, self.keyring(name))


@pytest.fixture
def holders(tmp_path: Path) -> Holders:
    world = Holders(tmp_path)
    assert world.create().drafts == {"root": 2}
    for role in ("root", "targets"):
        for name in ("alice", "bob"):
            world.holder(name).sign(role)
        world.create()
    assert world.repository.drafts() == []
    return world


def test_new_repository_is_signed_by_its_holders(holders: Holders) -> None:
    holders.check({"a": None})


def test_change_waits_until_the_threshold_is_met(holders: Holders) -> None:
    assert holders.publish(AddTarget("a", data=b"hello")).drafts == {"targets": 2}
    holders.check({"a": None})
    alice, bob = (holders.key(name).keyid for name in ("alice", "bob"))

    assert holders.holder("alice").sign("targets").drafts == {"targets": 1}

    (draft,) = holders.repository.drafts()
    assert (draft.signed, draft.unsigned, draft.missing) == ((alice,), (bob,), 1)
    assert any("adds target a: 5 bytes" in line for line in draft.changes)
    holders.check({"a": None})
    holders.holder("bob").sign("targets")
    # Bob's machine has no key to sign snapshot and timestamp with: the next one has.
    assert holders.publish().versions == {"targets": 2, "snapshot": 2, "timestamp": 2}
    holders.check({"a": b"hello"})
    assert holders.repository.drafts() == []


def test_signatures_are_carried_by_hand(holders: Holders) -> None:
    holders.publish(AddTarget("a", data=b"hello"))
    exported = holders.repository.export_draft("targets")
    for name in ("alice", "bob"):
        draft = ExportedDraft(exported)
        assert (draft.role, draft.version) == ("targets", 2)
        assert "version: 1 -> 2" in draft.changes
        (signature,) = draft.sign(holders.keyring(name))
        done = holders.repository.import_signature(signature)
    assert done.versions == {"targets": 2, "snapshot": 2, "timestamp": 2}
    holders.check({"a": b"hello"})


def test_changes_gather_in_a_draft_and_need_new_signatures(holders: Holders) -> None:
    holders.publish(AddTarget("a", data=b"hello"))
    exported = holders.repository.export_draft("targets")
    holders.holder("alice").sign("targets")

    assert holders.publish(AddTarget("b", data=b"hello")).drafts == {"targets": 2}

    (draft,) = holders.repository.drafts()
    assert sum("adds target" in line for line in draft.changes) == 2
    (old,) = ExportedDraft(exported).sign(holders.keyring("bob"))
    with pytest.raises(UnsignedMetadataError, match="over version 2 of the draft"):
        holders.repository.import_signature(old)


def test_root_needs_the_old_and_the_new_keys(holders: Holders) -> None:
    alice, carol = holders.key("alice"), holders.key("carol")
    holders.lose("carol")
    assert holders.publish(RotateKey("root", alice.keyid, carol)).drafts == {"root": 2}
    (draft,) = holders.repository.drafts()
    assert f"root: adds key {carol.keyid}" in draft.changes
    assert f"root: revokes key {alice.keyid}" in draft.changes
    for name, missing in (("carol", 2), ("bob", 1)):
        assert holders.holder(name).sign("root").drafts == {"root": missing}
    assert holders.holder("alice").sign("root").versions == {"root": 2}
    holders.check({"a": None})


def test_online_key_rotates_when_the_root_is_signed(holders: Holders) -> None:
    online, new = holders.key("online"), holders.key("new")
    assert holders.publish(RotateKey("timestamp", online.keyid, new)).drafts == {"root": 2}
    holders.publish(AddTarget("a", data=b"x"))
    for name in ("alice", "bob"):
        for line in (holders.repository.export_draft("root"),):
            for signature in ExportedDraft(line).sign(holders.keyring(name)):
                done = holders.repository.import_signature(signature)
    assert done.versions["root"] == 2
    assert holders.repository.state().root.roles["timestamp"].keyids == [new.keyid]
    holders.check({"a": None})


def test_root_waits_for_those_who_sign_targets(world: World) -> None:
    old = world.key("online")
    world.publish(RotateKey("targets", old.keyid, world.key("alice")))
    world.publish(Delegate("p", (old,), paths=("p/*",)))
    world.key("carol")
    for name in ("alice", "carol"):
        world.lose(name)
    change = RotateKey("targets", world.key("alice").keyid, world.key("carol"))

    assert world.publish(change).drafts == {"targets": 1}

    # Nothing else has to wait.
    assert set(world.publish(AddTarget("p/a", data=b"hello", role="p")).versions) >= {"p"}
    world.check({"p/a": b"hello"})
    assert world.repository.state().root.version == 2
    for name in ("carol", "alice"):
        keyring = Keyring([KeySource(name, f"file:keys/{name}")], world.directory)
        ManagedRepository(world.store, world.policy, keyring).sign("targets")
    assert {"root", "targets", "timestamp"} <= set(world.publish().versions)
    assert world.repository.drafts() == []
    world.check({"p/a": b"hello"})
    assert [f for f in world.repository.audit() if f.severity == "error"] == []


def test_lost_key_of_targets_is_replaced(world: World) -> None:
    world.publish(
        RotateKey("targets", world.key("online").keyid, world.key("alice")),
        AddTarget("a", data=b"hello"),
    )
    world.check({"a": b"hello"})
    world.key("new")
    world.lose("alice")
    with pytest.raises(UnsignedMetadataError, match="no draft of the root"):
        world.repository.publish_root()
    change = RotateKey("targets", world.key("alice").keyid, world.key("new"))
    assert world.publish(change).drafts == {"targets": 1}
    world.check({"a": b"hello"})

    done = world.repository.publish_root()

    assert set(done.versions) == {"root", "targets", "snapshot", "timestamp"}
    assert world.repository.drafts() == []
    world.check({"a": b"hello"})


def test_delegated_role_is_signed_by_its_holder(world: World) -> None:
    world.publish(Delegate("p", (world.key("carol"),), paths=("p/*",)))
    world.lose("carol")
    assert world.publish(AddTarget("p/a", data=b"hello", role="p")).drafts == {"p": 1}
    world.check({"p/a": None})
    keyring = Keyring([KeySource("carol", "file:keys/carol")], world.directory)
    for signature in ExportedDraft(world.repository.export_draft("p")).sign(keyring):
        world.repository.import_signature(signature)
    world.check({"p/a": b"hello"})


def test_stranger_cannot_sign(holders: Holders) -> None:
    holders.publish(AddTarget("a", data=b"hello"))
    with pytest.raises(UnsignedMetadataError, match="no key here"):
        holders.holder("root").sign("targets")
    assert ExportedDraft(holders.repository.export_draft("targets")).sign(Keyring()) == []
    with pytest.raises(RepositoryError, match="not a signature"):
        holders.repository.import_signature(b"{}")
    with pytest.raises(RepositoryError, match="not an exported draft"):
        ExportedDraft(b"{}")


def test_sweep_keeps_what_drafts_name_and_removes_drafts_that_are_over(holders: Holders) -> None:
    holders.publish(AddTarget("a", data=b"hello"))
    old = holders.store.read("drafts/targets.json") or b""
    holders.wait(days=8)
    assert not any(name.startswith("targets/") for name in holders.repository.sweep())
    for name in ("alice", "bob"):
        holders.holder(name).sign("targets")
    holders.repository.renew()
    holders.store.create("drafts/targets.json", old)
    assert [draft.stale for draft in holders.repository.drafts()] == [True]
    assert "drafts/targets.json" in holders.repository.sweep()
    assert holders.repository.drafts() == []
    holders.check({"a": b"hello"})


def test_draft_is_over_when_its_role_is_published(holders: Holders) -> None:
    holders.publish(AddTarget("a", data=b"hello"))
    keys = [KeySource(n, f"file:keys/{n}") for n in ("alice", "bob", "online")]
    everyone = Keyring(keys, holders.directory)
    ManagedRepository(holders.store, holders.policy, everyone).publish([AddTarget("b", data=b"b")])
    assert holders.repository.drafts() == []
    holders.check({"a": b"hello", "b": b"b"})


def test_draft_is_discarded(holders: Holders) -> None:
    holders.publish(AddTarget("a", data=b"hello"))
    holders.repository.discard_draft("targets")
    assert holders.repository.drafts() == []
    with pytest.raises(ValueError, match="there is no draft"):
        holders.repository.sign("targets")
    assert not holders.publish(RemoveTarget("a"))


def test_offline_roles_are_reported_in_time_and_drafted_once(holders: Holders) -> None:
    assert not holders.repository.renew()
    holders.wait(days=310)
    assert holders.repository.renew().drafts == {"root": 2, "targets": 2}
    holders.holder("alice").sign("root")
    assert holders.repository.renew().drafts == {"root": 1, "targets": 2}

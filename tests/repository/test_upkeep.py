"""Renewal, audit, sweep."""

import dataclasses
import os
from datetime import timedelta
from pathlib import Path

import pytest
from repository.world import World

from tuf.api.metadata import Metadata, Root, Snapshot, Targets
from tuf.repository import (
    AddTarget,
    Delegate,
    DirectoryStore,
    Finding,
    ManagedRepository,
    Renew,
    SetBins,
    Undelegate,
)


def add(path: str, data: bytes = b"hello", role: str = "targets") -> AddTarget:
    return AddTarget(path, data=data, role=role)


def codes(findings: list[Finding], *severities: str) -> set[str]:
    return {f.code for f in findings if not severities or f.severity in severities}


@pytest.fixture
def full(world: World) -> World:
    """A world with bins, a delegation below another role, and targets."""
    key = (world.key("online"),)
    world.publish(
        Delegate("binned", key, paths=("b/*",)),
        Delegate("plain", key, paths=("p/*",)),
        SetBins(2, key, role="binned"),
        add("b/1", role="binned"),
        add("p/1", role="plain"),
        add("t"),
    )
    world.check({"b/1": b"hello", "p/1": b"hello", "t": b"hello"})
    return world


# Renewal.


def test_nothing_is_due_at_first(full: World) -> None:
    assert not full.repository.renew()


@pytest.mark.parametrize(
    ("days", "renewed"),
    [
        (0.51, {"timestamp"}),
        (4.1, {"snapshot", "timestamp"}),
        (61, {"binned", "plain", "bins-0", "bins-1", "bins-2", "bins-3", "snapshot", "timestamp"}),
    ],
)
def test_what_is_due_is_renewed_once(full: World, days: float, renewed: set[str]) -> None:
    full.wait(days=days)
    assert set(full.repository.renew(dry_run=True).versions) == renewed
    assert set(full.repository.renew().versions) == renewed
    assert not full.repository.renew()
    full.check({"b/1": b"hello", "p/1": b"hello", "t": b"hello"})


def test_everything_is_renewed_in_the_end(full: World) -> None:
    full.wait(days=306)
    assert {"root", "targets", "binned", "bins-3"} <= set(full.repository.renew().versions)
    assert not codes(full.repository.audit(), "error", "warning")


# Audit.


def test_new_repository_has_no_findings(full: World) -> None:
    assert full.repository.audit(hashes=True) == []


def test_audit_looks_ahead(full: World) -> None:
    assert codes(full.repository.audit(days=0.6)) == {"due"}
    findings = full.repository.audit(days=2)
    assert [(f.severity, f.code, f.where) for f in findings] == [
        ("error", "expired", "metadata/timestamp.json")
    ]
    assert len([f for f in full.repository.audit(days=400) if f.code == "expired"]) == 10


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("metadata/1.root.json", "missing"),
        ("metadata/timestamp.json", "missing"),
        ("metadata/2.snapshot.json", "missing"),
        ("metadata/2.targets.json", "missing"),
        ("metadata/1.plain.json", "missing"),
        ("metadata/1.bins-2.json", "missing"),
    ],
)
def test_missing_and_damaged_files_are_found(full: World, name: str, code: str) -> None:
    data = full.store.read(name) or b""
    path = full.directory / "repo" / name
    path.write_bytes(data.replace(b'"sig":"', b'"sig":"00'))
    found = full.repository.audit()
    assert [(f.severity, f.where) for f in found if f.code in ("invalid", "root-chain")] == [
        ("error", name)
    ]
    path.unlink()
    assert [(f.severity, f.where) for f in full.repository.audit() if f.code == code] == [
        ("error", name)
    ]


def test_wrong_and_strange_target_files_are_found(full: World) -> None:
    files = [info.name for info in full.store.list("targets/")]
    (target,) = (name for name in files if name.endswith(".t"))
    path = full.directory / "repo" / target
    path.write_bytes(b"HELLO")
    assert full.repository.audit() == []
    assert codes(full.repository.audit(hashes=True)) == {"wrong-target"}
    path.write_bytes(b"longer than it was")
    assert codes(full.repository.audit()) == {"wrong-target"}
    path.rename(path.with_name("strange"))
    assert {(f.code, f.severity) for f in full.repository.audit()} == {
        ("no-file", "note"),
        ("orphan", "note"),
    }


def test_unreached_shadowed_and_left_over_metadata_is_found(full: World) -> None:
    key = (full.key("online"),)
    full.publish(
        Undelegate("plain"),
        Delegate("first", key, paths=("x/*", "y/*"), terminating=True),
        Delegate("second", key, paths=("y/*",)),
    )
    full.store.create("metadata/9.first.json", b"{}")
    found = {(f.code, f.where) for f in full.repository.audit()}
    assert found == {
        ("unreached", "plain"),
        ("shadowed", "second"),
        ("orphan", "metadata/9.first.json"),
        # its only target
        *((f.code, f.where) for f in full.repository.audit() if "p/" in f.where),
    }


def test_weak_keys_and_hopeless_thresholds_are_found(world: World) -> None:
    data = world.store.read("metadata/1.root.json") or b""
    md: Metadata[Root] = Metadata.from_bytes(data)
    role = md.signed.roles["snapshot"]
    key = md.signed.keys[role.keyids[0]]
    same = type(key).from_dict("copy", key.to_dict())
    md.signed.add_key(same, "snapshot")
    role.threshold = 2
    signer = world.policy.keyring().signer(world.key("root"))
    assert signer is not None
    md.sign(signer)
    (world.directory / "repo/metadata/1.root.json").write_bytes(md.to_bytes())

    assert {"same-key", "threshold", "policy", "invalid"} <= codes(world.repository.audit())


# Sweep.


def test_sweep_waits_for_the_grace_time(full: World) -> None:
    full.publish(add("t", b"new"))
    assert full.repository.sweep() == []
    full.wait(days=8)
    would = full.repository.sweep(dry_run=True)
    assert would == full.repository.sweep()
    assert set(would) >= {
        "metadata/1.targets.json",
        "metadata/2.targets.json",
        "metadata/1.snapshot.json",
        "metadata/2.snapshot.json",
    }
    assert any(name.endswith(".t") for name in would)
    full.repository.renew()
    full.check({"b/1": b"hello", "p/1": b"hello", "t": b"new"})
    assert not codes(full.repository.audit(hashes=True))


def test_sweep_counts_from_when_something_took_the_place(full: World) -> None:
    full.wait(days=30)
    for info in full.store.list(""):
        old = full.now.timestamp() - 30 * 86400
        os.utime(full.directory / "repo" / info.name, (old, old))
    full.publish(Renew("plain"), add("t", b"new"))
    now = full.now.timestamp()
    for name in ("metadata/2.plain.json", "metadata/3.targets.json"):
        os.utime(full.directory / "repo" / name, (now, now))

    swept = full.repository.sweep()

    assert "metadata/1.plain.json" not in swept
    assert "metadata/2.targets.json" not in swept
    # The old content of t is still named by targets version 2.
    assert not any(name.startswith("targets/") for name in swept)


def test_sweep_keeps_roots_and_removes_what_died(full: World) -> None:
    for _ in range(3):
        full.publish(Renew("root"))
    full.store.create("metadata/7.plain.json", b"{}")
    full.store.create("targets/left-over", b"")
    staging = Path(full.directory, "repo", ".tuf-staging", "dead")
    staging.write_bytes(b"x")
    os.utime(staging, (1, 1))
    full.wait(days=8)

    swept = full.repository.sweep()

    assert {"metadata/7.plain.json", "targets/left-over"} <= set(swept)
    assert not any("root" in name for name in swept)
    assert not staging.exists()


def test_policy_without_grace_keeps_what_is_current(full: World) -> None:
    policy = dataclasses.replace(full.policy, retention=timedelta(0))
    store = DirectoryStore(full.directory / "repo")
    full.wait(seconds=2)
    ManagedRepository(store, policy, clock=lambda: full.now).sweep()
    full.check({"b/1": b"hello", "p/1": b"hello", "t": b"hello"})
    snapshot = Metadata[Snapshot].from_bytes(store.read("metadata/2.snapshot.json") or b"").signed
    assert Metadata[Targets].from_bytes(store.read("metadata/2.targets.json") or b"")
    assert len(snapshot.meta) == 7

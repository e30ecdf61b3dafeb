"""The client workflow, sections 5.4 to 5.6 of the specification: timestamp, snapshot and targets.

Each test is named after its paragraph. Where one rule stands in the paragraphs of several roles,
the test runs for each of them, with the paragraph as its id.
"""

import json
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.ngclient.config import EnvelopeType
from tuf.ngclient.updater import TrustedMetadataSet
from world import TOP_LEVEL, PopulatedWorld, World, new_keys, reorder

BOOTSTRAPS = pytest.mark.parametrize("bootstrap", [True, None], ids=["bootstrap", "cached root"])


ROTATED = pytest.mark.parametrize("rotated", ["timestamp", "snapshot"])


def roles(paragraph: int, *names: str) -> pytest.MarkDecorator:
    """Run for these roles, each with the id of its own paragraph."""
    sections = {"timestamp": "5.4", "snapshot": "5.5", "targets": "5.6", "d": "5.6.7"}
    return pytest.mark.parametrize(
        "role", [pytest.param(name, id=f"{sections[name]}.{paragraph} {name}") for name in names]
    )


@pytest.fixture
def world(tmp_path: Path) -> PopulatedWorld:
    return PopulatedWorld(tmp_path)


@pytest.fixture
def bare_world(tmp_path: Path) -> PopulatedWorld:
    """Without lengths and hashes in snapshot and timestamp, which would hide other checks."""
    return PopulatedWorld(tmp_path, meta_hashes=False)


# -- 5.4.2, 5.5.3, 5.6.3: signatures


@roles(2, "timestamp")
def test_signatures_of_others_timestamp(world: World, role: str) -> None:
    signatures_of_others(world, role)


@roles(3, "snapshot", "targets", "d")
def test_signatures_of_others(world: World, role: str) -> None:
    signatures_of_others(world, role)


def signatures_of_others(world: World, role: str) -> None:
    world.update()
    for signers in (new_keys(), [], *(world.signers[name] for name in ("root", "targets", "d"))):
        if signers != world.signers[role]:
            before = world.cached(role)
            world.plant(role, signers=signers)
            world.refused(UnsignedMetadataError)
            assert world.cached(role) == before
    world.recovers()


@roles(2, "timestamp")
def test_threshold_timestamp(world: World, role: str) -> None:
    threshold(world, role)


@roles(3, "snapshot", "targets", "d")
def test_threshold(world: World, role: str) -> None:
    threshold(world, role)


def threshold(world: World, role: str) -> None:
    world.rotate(role, keys=3, threshold=2)
    world.update()
    one, _, three = world.signers[role]
    for signers in ([one], [three], [one, *new_keys()], [one, world.signers["root"][0]]):
        before = world.cached(role)
        world.plant(role, signers=signers)
        world.refused(UnsignedMetadataError)
        assert world.cached(role) == before
    world.signers[role] = [three, one]
    world.recovers()


# -- 5.4.3: rollback of timestamp


@BOOTSTRAPS
def test_5_4_3_1_timestamp_does_not_go_back(world: World, bootstrap: bool | None) -> None:
    old = world.files["metadata/timestamp.json"]
    world.publish()
    world.update()
    before = world.cached("timestamp")
    world.vouch("timestamp", old)
    world.refused(BadVersionNumberError, bootstrap=bootstrap)
    assert world.cached("timestamp") == before
    world.recovers()


def test_5_4_3_1_equal_version_keeps_the_old_timestamp(world: World) -> None:
    world.update()
    before = world.cached("timestamp")
    world.release("snapshot")
    world.timestamp.expires += timedelta(days=1)
    world.write("timestamp")
    assert world.files["metadata/timestamp.json"] != before
    asked = world.asked(world.update)
    assert asked == ["metadata/2.root.json", "metadata/timestamp.json"]
    assert world.cached("timestamp") == before
    world.recovers()


def test_5_4_3_1_equal_version_does_not_revive_an_expired_timestamp(bare_world: World) -> None:
    world = bare_world
    world.update()
    world.age("timestamp")
    world.refused(ExpiredMetadataError)
    world.recovers()


def test_5_4_3_1_expired_local_timestamp_still_prevents_rollback(bare_world: World) -> None:
    world = bare_world
    old = world.files["metadata/timestamp.json"]
    world.release("timestamp")
    world.update()
    world.age("timestamp")
    world.vouch("timestamp", old)
    world.refused(BadVersionNumberError)
    world.recovers()


def test_5_4_3_2_snapshot_version_in_timestamp_does_not_go_back(world: World) -> None:
    world.update()
    before = world.cached("timestamp")
    old = world.snapshot.version - 1
    world.forge("timestamp", lambda signed: signed["meta"]["snapshot.json"].update(version=old))
    world.refused(BadVersionNumberError)
    assert world.cached("timestamp") == before
    world.recovers()


# -- 5.4.4, 5.5.6, 5.6.5: expiry


@roles(4, "timestamp")
def test_expired_timestamp(world: World, role: str) -> None:
    expired(world, role)


@roles(6, "snapshot")
def test_expired_snapshot(world: World, role: str) -> None:
    expired(world, role)


@roles(5, "targets", "d")
def test_expired_targets(world: World, role: str) -> None:
    expired(world, role)


def expired(world: World, role: str) -> None:
    """Neither taken nor persisted, warm or cold; what is above it is kept."""
    world.update()
    before = world.cached(role)
    world.expire(role)
    for machine, persisted in (("machine", before), ("other", None)):
        for _ in range(2):
            world.refused(ExpiredMetadataError, machine)
            assert world.cached(role, machine) == persisted
    if role != "timestamp":
        assert world.cached("timestamp") == world.files["metadata/timestamp.json"]
    world.roles[role].expires = world.later
    world.recovers()


@pytest.mark.parametrize("role", [*TOP_LEVEL, "d"])
def test_expiry_is_the_first_moment_that_is_too_late(world: World, role: str) -> None:
    """5.3.10, 5.4.4, 5.5.6, 5.6.5: expires must be higher than the start time."""
    moment = world.now + timedelta(days=1)
    world.roles[role].expires = moment
    world.publish("root", "targets", "d")

    def load(now: datetime) -> None:
        trusted = TrustedMetadataSet(world.bootstrap, EnvelopeType.METADATA, now=now)
        trusted.update_root(world.files["metadata/2.root.json"])
        trusted.update_timestamp(world.files["metadata/timestamp.json"])
        trusted.update_snapshot(world.files[world.path("snapshot")])
        trusted.update_targets(world.files[world.path("targets")])
        trusted.update_delegated_targets(world.files[world.path("d")], "d", "targets")

    load(moment - timedelta(seconds=1))
    for late in (timedelta(0), timedelta(microseconds=1), timedelta(days=400)):
        with pytest.raises(ExpiredMetadataError):
            load(moment + late)


# -- 5.4.5, 5.5.7, 5.6.6: persist


@pytest.mark.parametrize("role", [*TOP_LEVEL, "d"])
def test_received_bytes_are_persisted_verbatim(world: World, role: str) -> None:
    """5.3.8, 5.4.5, 5.5.7, 5.6.6: also white space and members that nobody knows."""
    world.roles[role].unrecognized_fields["x-unknown"] = {"é": [1, None, True]}
    world.publish("root", "targets", "d")
    odd = json.dumps(json.loads(world.files[world.path(role)]), indent=7).encode() + b"\n\n"
    world.vouch(role, odd)
    if role == "snapshot":
        world.release("timestamp")
    elif role in ("targets", "d"):
        world.publish()
    world.update()
    assert world.cached(role) == odd
    world.update()


# -- 5.5.1, 5.6.1: length


@roles(1, "snapshot", "targets", "d")
def test_longer_than_named(world: World, role: str) -> None:
    world.update()
    world.publish("targets", "d")
    before = world.cached(role)
    world.files[world.path(role)] += b" "
    world.refused(DownloadLengthMismatchError)
    assert world.cached(role) == before
    world.recovers()


@roles(1, "snapshot", "targets", "d")
def test_length_zero_is_a_length(world: World, role: str) -> None:
    """Only an absent length means the configured cap."""
    if role == "snapshot":
        above, name = "timestamp", "snapshot.json"
    else:
        above, name = "snapshot", f"{role}.json"
    data = world.plant(above, lambda signed: signed["meta"][name].update(length=0))
    world.vouch(above, data)  # it is well signed, and may be kept
    world.refused(DownloadLengthMismatchError)
    assert world.cached(role) is None
    world.recovers()


# -- 5.5.2, 5.6.2: hashes


@roles(2, "snapshot", "targets", "d")
def test_hashes_are_checked(world: World, role: str) -> None:
    """Well signed, of the right version and length, but not the file that was named."""
    world.update()
    world.publish("targets", "d")
    before = world.cached(role)
    data = world.files[world.path(role)]
    world.files[world.path(role)] = reorder(data)
    world.refused(LengthOrHashMismatchError)
    assert world.cached(role) == before
    world.files[world.path(role)] = data[:-1]
    world.refused(LengthOrHashMismatchError)
    world.recovers()


# -- 5.5.4, 5.6.4: version


@roles(4, "snapshot", "targets", "d")
@pytest.mark.parametrize("difference", [-1, 1])
def test_version_is_the_one_that_is_named(world: World, role: str, difference: int) -> None:
    world.update()
    before = world.cached(role)
    version = world.roles[role].version + 1 + difference
    world.plant(role, lambda signed: signed.update(version=version))
    world.refused(BadVersionNumberError)
    assert world.cached(role) == before
    world.recovers()


# -- 5.5.5: rollback of snapshot


@pytest.mark.parametrize("role", ["targets", "d"])
def test_5_5_5_versions_in_snapshot_do_not_go_back(world: World, role: str) -> None:
    world.update()
    before = world.cached("snapshot")
    old = world.roles[role].version - 1
    world.plant("snapshot", lambda signed: signed["meta"][f"{role}.json"].update(version=old))
    # Again: by now the local snapshot is not the one that the local timestamp names.
    for bootstrap in (True, None):
        world.refused(BadVersionNumberError, bootstrap=bootstrap)
        assert world.cached("snapshot") == before
    world.recovers()


def test_5_5_5_local_snapshot_counts_although_its_hash_does_not_match(world: World) -> None:
    """A snapshot of the same version, but other content, that takes targets back.

    Whether the client asks for it or not: it never replaces the local one."""
    world.update()
    before = world.cached("snapshot")
    old = world.targets().version - 1
    world.snapshot.version -= 1
    world.plant("snapshot", lambda signed: signed["meta"]["targets.json"].update(version=old))
    with suppress(BadVersionNumberError):
        world.update()
    assert world.cached("snapshot") == before
    world.recovers()


def test_5_5_5_expired_local_snapshot_still_prevents_rollback(bare_world: World) -> None:
    world = bare_world
    world.update()
    world.age("snapshot")
    old = world.targets().version - 1
    world.plant("snapshot", lambda signed: signed["meta"]["targets.json"].update(version=old))
    world.refused(BadVersionNumberError)
    world.recovers()


@pytest.mark.parametrize("role", ["targets", "d"])
def test_5_5_5_roles_do_not_vanish(world: World, role: str) -> None:
    world.update()
    before = world.cached("snapshot")
    world.plant("snapshot", lambda signed: signed["meta"].pop(f"{role}.json"))
    for bootstrap in (True, None):
        with pytest.raises(RepositoryError):
            world.client(bootstrap=bootstrap).refresh()
        assert world.cached("snapshot") == before
    world.recovers()


@ROTATED
def test_5_5_5_roles_may_vanish_after_a_rotation(world: World, rotated: str) -> None:
    world.update()
    del world.snapshot.meta["d.json"]
    world.rotate(rotated)
    world.client().refresh()
    world.check()
    assert world.cached("snapshot") == world.files[world.path("snapshot")]


def test_5_5_without_hashes_versions_alone_decide(bare_world: World) -> None:
    bare_world.update()
    bare_world.publish("d")
    asked = bare_world.asked(bare_world.update)
    assert asked[2:] == [bare_world.path("snapshot"), bare_world.path("d")]
    bare_world.recovers()

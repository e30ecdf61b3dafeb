"""The client workflow, sections 5.1 to 5.3 of the specification: start time and root.

Each test is named after its paragraph.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadHTTPError,
    ExpiredMetadataError,
    UnsignedMetadataError,
)
from world import TOP_LEVEL, PopulatedWorld, World, new_keys

BOOTSTRAPS = pytest.mark.parametrize("bootstrap", [True, None], ids=["bootstrap", "cached root"])


@pytest.fixture
def world(tmp_path: Path) -> PopulatedWorld:
    return PopulatedWorld(tmp_path)


# -- 5.1 fixed update start time


def test_5_1_start_time_is_fixed_for_the_update_and_taken_anew_by_the_next(world: World) -> None:
    client = world.client()

    def publish_what_expires_soon(_: str) -> None:
        """The update has begun: publish, and answer when all of it has expired."""
        world.on_request = None
        moment = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=2)
        for role in (*TOP_LEVEL, "d"):
            world.roles[role].expires = moment
        world.release("root")
        world.publish("targets", "d")
        while datetime.now(timezone.utc) <= moment:
            time.sleep(0.05)

    world.on_request = publish_what_expires_soon
    client.refresh()
    assert client.get_targetinfo("d/file") is not None
    assert world.cached_version("root") == 2
    world.check()

    with pytest.raises(ExpiredMetadataError):
        client.refresh()
    world.renew("root")
    with pytest.raises(ExpiredMetadataError):
        client.refresh()
    for role in ("timestamp", "snapshot", "targets", "d"):
        world.renew(role)
    client.refresh()
    assert client.get_targetinfo("d/file") is not None
    world.check()


def test_5_1_one_object_refreshes_again_and_again(world: World) -> None:
    client = world.client()
    client.refresh()
    for number in range(3):
        world.rotate("root")
        world.rotate("timestamp")
        target = world.add_target("d/new", str(number).encode(), "d")
        client.refresh()
        assert client.get_targetinfo("d/new") == target
        client.download_target(target)
        world.check()
    assert world.asked(client.refresh) == ["metadata/8.root.json", "metadata/timestamp.json"]


def test_5_1_failed_refresh_can_be_repeated(world: World) -> None:
    client = world.client()
    client.refresh()
    for role in ("timestamp", "snapshot", "targets"):
        world.plant(role, signers=new_keys())
        for _ in range(2):
            with pytest.raises(UnsignedMetadataError):
                client.refresh()
            world.check()
        world.publish("targets", "d")
        client.refresh()
        assert client.get_targetinfo("d/file") is not None
        world.check()


# -- 5.2 load trusted root


def test_5_2_expiry_of_the_first_root_does_not_matter(world: World) -> None:
    world.expire("root")
    world.renew("root")
    expired = world.files["metadata/2.root.json"]
    world.update(bootstrap=expired)


def test_5_2_expired_cached_root_serves_for_the_next(world: World) -> None:
    world.expire("root")
    world.refused(ExpiredMetadataError)
    world.renew("root")
    world.update(bootstrap=None)


# -- 5.3 update root


def test_5_3_1_every_root_of_the_chain_is_verified(world: World) -> None:
    for _ in range(5):
        world.rotate("root")
    world.update()
    assert world.cached_version("root") == 6
    asked = [path for path in world.requests if path.endswith("root.json")]
    assert asked == [f"metadata/{version}.root.json" for version in range(2, 8)]


def test_5_3_3_server_failure_is_not_the_end_of_the_chain(world: World) -> None:
    world.update()
    world.rotate("root")
    world.answers["metadata/2.root.json"] = 500
    world.refused(DownloadHTTPError)
    assert world.cached_version("root") == 1
    world.answers.clear()
    world.recovers()


@BOOTSTRAPS
def test_5_3_3_cap_ends_this_update_only(world: PopulatedWorld, bootstrap: bool | None) -> None:
    for _ in range(4):
        world.rotate("root")
    world.update(max_root_rotations=2)
    assert world.cached_version("root") == 3
    world.update(max_root_rotations=2, bootstrap=bootstrap)
    assert world.cached_version("root") == 5


def begin_root(world: World, keys: int = 1, threshold: int = 1) -> tuple[list[Any], list[Any]]:
    """A next root with other root keys, not yet signed; answers with the old and the new keys."""
    old, new = world.signers["root"], new_keys(keys)
    for signer in old:
        world.root.revoke_key(signer.public_key.keyid, "root")
    for signer in new:
        world.root.add_key(signer.public_key, "root")
    world.root.roles["root"].threshold = threshold
    world.root.version += 1
    world.signers["root"] = new
    return old, new


@pytest.mark.parametrize(
    "who",
    [
        pytest.param(lambda old, new: old, id="not the new threshold"),
        pytest.param(lambda old, new: new, id="not the old threshold"),
        pytest.param(lambda old, new: [], id="nobody"),
        pytest.param(lambda old, new: new_keys(2), id="others"),
    ],
)
def test_5_3_4_root_is_signed_by_old_and_new_keys(
    world: World, who: Callable[[list[Any], list[Any]], list[Any]]
) -> None:
    world.update()
    old, new = begin_root(world)
    world.substitute("root", world.sign("root", who(old, new)))
    world.refused(UnsignedMetadataError)
    assert world.cached_version("root") == 1
    world.write("root", old + new)
    world.recovers()


def test_5_3_4_thresholds_of_old_and_new_root(world: World) -> None:
    (first,), new = begin_root(world, keys=3, threshold=2)
    for signers in ([first, new[0]], new):
        world.substitute("root", world.sign("root", signers))
        world.refused(UnsignedMetadataError)
    world.write("root", [first, *new[1:]])
    world.update()
    # Back to a threshold of 1: the old root's 2 still counts.
    old, (only,) = begin_root(world)
    world.substitute("root", world.sign("root", [old[0], only]))
    world.refused(UnsignedMetadataError)
    assert world.cached_version("root") == 2
    world.write("root", [*old[:2], only])
    world.recovers()


@pytest.mark.parametrize("version", [1, 2, 4, 1000])
def test_5_3_5_next_root_is_exactly_one_higher(world: World, version: int) -> None:
    world.rotate("targets")
    world.update()
    world.forge("root", lambda signed: signed.update(version=version))
    world.refused(BadVersionNumberError)
    assert world.cached_version("root") == 2
    world.write("root")
    world.recovers()


def test_5_3_6_expired_intermediate_roots_are_fine(world: World) -> None:
    world.update()
    world.expire("root")
    world.release("root")
    world.renew("root")
    world.recovers()


def test_5_3_8_each_root_is_persisted_before_the_next_is_asked_for(world: World) -> None:
    world.rotate("root")
    good = world.files["metadata/2.root.json"]
    world.forge("root", signers=new_keys())
    persisted = []
    world.on_request = lambda _: persisted.append(world.cached("root"))
    world.refused(UnsignedMetadataError)
    assert persisted == [world.bootstrap, good]
    assert world.cached("root") == good
    assert world.cached("timestamp") is None
    world.write("root")
    world.recovers()


def test_5_3_10_last_root_has_not_expired(world: World) -> None:
    world.update()
    world.expire("root")
    for bootstrap in (True, None):
        requests = len(world.requests)
        world.refused(ExpiredMetadataError, bootstrap=bootstrap)
        assert all(path.endswith("root.json") for path in world.requests[requests:])
        # It was verified, so it is persisted all the same.
        assert world.cached_version("root") == 2
    world.renew("root")
    world.recovers()


def fast_forward(world: World, role: str) -> None:
    """Attackers with stolen keys publish a huge version; then the repository goes on as before."""
    world.update()
    honest = world.roles[role].version
    world.roles[role].version = 1000
    world.publish(role)
    world.update()
    assert world.cached_version(role) == 1001
    world.roles[role].version = honest


FAST_FORWARDED = pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "d"])
ROTATED = pytest.mark.parametrize("rotated", ["timestamp", "snapshot"])


@FAST_FORWARDED
@ROTATED
@BOOTSTRAPS
def test_5_3_11_rotation_of_either_key_recovers_from_fast_forward(
    world: World, role: str, rotated: str, bootstrap: bool | None
) -> None:
    fast_forward(world, role)
    world.rotate(rotated)
    world.publish("targets", "d")
    world.update(bootstrap=bootstrap)
    assert world.cached_version(role) == world.roles[role].version < 1000
    world.recovers()


@FAST_FORWARDED
@pytest.mark.parametrize("rotated", ["root", "targets", None])
def test_5_3_11_without_rotation_versions_do_not_go_back(
    world: World, role: str, rotated: str | None
) -> None:
    fast_forward(world, role)
    if rotated:
        world.rotate(rotated)
    world.publish("targets", "d")
    world.refused(BadVersionNumberError)


@ROTATED
@BOOTSTRAPS
@pytest.mark.parametrize("failure", ["timestamp", "snapshot"])
def test_5_3_11_recovers_although_the_update_of_the_rotation_failed(
    world: World, rotated: str, failure: str, bootstrap: bool | None
) -> None:
    fast_forward(world, "timestamp")
    world.rotate(rotated)
    world.publish("targets", "d")
    world.answers[world.path(failure)] = 500
    world.refused(DownloadHTTPError)
    assert world.cached_version("root") == 2
    world.answers.clear()
    world.update(bootstrap=bootstrap)


@ROTATED
@BOOTSTRAPS
def test_5_3_11_an_old_rotation_forgives_nothing(
    world: World, rotated: str, bootstrap: bool | None
) -> None:
    world.update()
    world.rotate(rotated)
    world.update()
    old = world.files["metadata/timestamp.json"]
    world.publish()
    world.update()
    world.vouch("timestamp", old)
    world.refused(BadVersionNumberError, bootstrap=bootstrap)


@pytest.mark.parametrize("consistent", [True, False])
def test_5_3_12_consistent_snapshots_are_as_the_root_says(tmp_path: Path, consistent: bool) -> None:
    world = PopulatedWorld(tmp_path, consistent_snapshot=not consistent)
    world.update()
    world.root.consistent_snapshot = consistent
    world.release("root")
    world.publish("targets", "d")
    # What has the names of before is gone.
    wanted = {world.path(role) for role in (*TOP_LEVEL, "d")}
    world.files = {path: data for path, data in world.files.items() if path in wanted}
    world.update()
    assert world.path("d") in world.requests

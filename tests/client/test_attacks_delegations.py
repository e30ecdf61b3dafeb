"""Published flaws of TUF implementations: delegations, and the work offline.

Each test carries the identifiers of its cases, and fails if the check in question is taken out.
"""

from pathlib import Path

import pytest

from tuf.api.exceptions import (
    DelegationLimitError,
    DownloadError,
    ExpiredMetadataError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import SuccinctRoles
from tuf.api.serialization import DeserializationError
from tuf.ngclient.config import EnvelopeType
from tuf.ngclient.updater import TrustedMetadataSet
from world import TOP_LEVEL, PopulatedWorld, World, new_keys, reorder, wrap


@pytest.fixture
def world(tmp_path: Path) -> PopulatedWorld:
    return PopulatedWorld(tmp_path)


# -- delegations


def test_ghsa_77hh_43cm_v8j6_succinct_delegation_is_to_its_own_bins_only(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.delegate_bins(2)
    world.delegate("evil", by="bin-0")
    trusted = TrustedMetadataSet(world.bootstrap, EnvelopeType.METADATA)
    trusted.update_timestamp(world.files["metadata/timestamp.json"])
    trusted.update_snapshot(world.files[world.path("snapshot")])
    trusted.update_targets(world.files[world.path("targets")])
    with pytest.raises((ValueError, RepositoryError)):
        trusted.update_delegated_targets(world.files[world.path("evil")], "evil", "targets")
    with pytest.raises(ValueError, match="evil"):
        world.targets().get_delegated_role("evil")


@pytest.mark.parametrize(
    "name",
    [
        *("bin-4", "bin-00", "bin-", "bin", "in-0", "xbin-0", "bin--1", "bin-+1", "bin-0x1"),
        *("bin-1\n", "bin-1 ", "bin-\u0661", "BIN-1", "bin-g", "bin-1-0", "bin_1", "", "-0"),
    ],
)
def test_ghsa_77hh_43cm_v8j6_names_that_are_no_bins(name: str) -> None:
    roles = SuccinctRoles([], 1, 2, "bin")
    assert not roles.is_delegated_role(name)
    assert [bin_ for bin_ in roles.get_roles() if roles.is_delegated_role(bin_)] == [
        "bin-0",
        "bin-1",
        "bin-2",
        "bin-3",
    ]


def test_ghsa_77hh_43cm_v8j6_digits_of_bins() -> None:
    roles = SuccinctRoles([], 1, 5, "bin")
    assert roles.is_delegated_role("bin-0a")
    assert not roles.is_delegated_role("bin-0A")
    assert not roles.is_delegated_role("bin-20")


def test_ghsa_qp9x_wp8f_qgjj_patterns_have_case_on_every_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.path.normcase", str.lower)  # as on Windows
    world = World(tmp_path)
    world.delegate("A", ["Dir/*.TXT"])
    found = world.add_target("Dir/a.TXT", b"x", "A")
    world.add_target("dir/a.txt", b"x", "A")
    client = world.client()
    assert client.get_targetinfo("dir/a.txt") is None
    assert client.get_targetinfo("Dir/a.TXT") == found


@pytest.fixture
def diamond(tmp_path: Path) -> World:
    """A and B both delegate to the role shared, each with a key of its own."""
    world = World(tmp_path)
    world.delegate("A", ["a/*"])
    world.delegate("B", ["b/*"])
    world.delegate("shared", ["*/*"], by="A", signers=new_keys())
    world.delegate("shared", ["*/*"], by="B", signers=new_keys())
    world.add_target("a/x", b"of the one", "shared")
    world.add_target("b/x", b"of the other", "shared")
    return world


def test_diamond_delegation_is_verified_for_each_delegator(diamond: World) -> None:
    """Reference client #2977, go #759, js: what A trusts is not what B trusts."""
    client = diamond.client()
    assert client.get_targetinfo("a/x") is not None
    with pytest.raises(UnsignedMetadataError):
        client.get_targetinfo("b/x")
    # Neither from the cache.
    with pytest.raises(UnsignedMetadataError):
        diamond.client().get_targetinfo("b/x")
    assert diamond.client().get_targetinfo("a/x") is not None
    diamond.check()


def test_diamond_delegation_signed_for_both(diamond: World) -> None:
    (one,) = diamond.signers["shared"]
    two = new_keys()[0]
    diamond.targets("B").delegations.roles["shared"].keyids.clear()  # type: ignore[union-attr,index]
    diamond.targets("B").add_key(two.public_key, "shared")
    diamond.signers["shared"] = [one, two]
    diamond.publish("B", "shared")
    client = diamond.client()
    assert client.get_targetinfo("a/x") is not None
    assert client.get_targetinfo("b/x") is not None
    diamond.check()


def test_diamond_delegation_of_two_forms_of_one_role(tmp_path: Path) -> None:
    """Whoever has the key that A trusts must not come to speak for what B delegates.

    With no hashes in the snapshot, two files of one version may each be good for one delegator.
    What the role delegates further is verified with the form that its delegator trusts."""
    world = World(tmp_path, meta_hashes=False)
    world.delegate("A", ["a/*", "a/*/*"])
    world.delegate("B", ["b/*", "b/*/*"])
    (thief,), (owner,), (evil,) = new_keys(), new_keys(), new_keys()
    world.delegate("shared", by="B", paths=["*/*", "*/*/*"], signers=[owner])
    world.delegate("shared", by="A", paths=["*/*", "*/*/*"], signers=[thief])
    world.delegate("deep", ["b/deep/*"], by="shared")
    world.add_target("b/deep/x", b"content", "deep")

    good = world.files[world.path("shared")]
    forged = world.targets("shared").to_dict()
    forged["delegations"]["keys"] = {evil.public_key.keyid: evil.public_key.to_dict()}
    forged["delegations"]["roles"][0]["keyids"] = [evil.public_key.keyid]
    client = world.client()
    assert client.get_targetinfo("b/none") is None  # shared is trusted, for B
    world.files[world.path("shared")] = wrap(forged, [thief])
    world.cache_file("shared").unlink()
    assert client.get_targetinfo("a/none") is None  # and in the thief's form, for A
    world.files[world.path("deep")] = wrap(world.targets("deep").to_dict(), [evil])
    with pytest.raises(UnsignedMetadataError):
        client.get_targetinfo("b/deep/x")
    assert good != world.files[world.path("shared")]


def test_cve_2024_47534_cve_2025_2886_order_of_delegations(tmp_path: Path) -> None:
    """Depth first, in order of appearance: not by name, not breadth first."""
    world = World(tmp_path)
    world.delegate("z")
    world.delegate("y", by="z")
    world.delegate("a")
    deep = world.add_target("x", b"deep", "y")
    world.add_target("x", b"later", "a")
    assert world.client().get_targetinfo("x") == deep


@pytest.mark.parametrize("matches", [True, False])
def test_cve_2024_47534_cve_2025_2886_terminating(tmp_path: Path, matches: bool) -> None:
    world = World(tmp_path)
    world.delegate("stop", ["x" if matches else "y"], terminating=True)
    world.delegate("after")
    target = world.add_target("x", b"x", "after")
    assert world.client().get_targetinfo("x") == (None if matches else target)


def test_ghsa_j8x2_777p_23fc_delegation_cycle(tmp_path: Path) -> None:
    world = World(tmp_path)
    for by, name in (("targets", "A"), ("A", "B"), ("B", "A"), ("B", "B"), ("B", "C"), ("C", "A")):
        world.delegate(name, by=by)
    world.publish("A", "B", "C")
    assert world.client().get_targetinfo("x") is None
    asked = [path for path in world.requests if path.endswith((".A.json", ".B.json", ".C.json"))]
    assert asked == [world.path(role) for role in "ABC"]


def chain(world: World, length: int) -> None:
    """Roles 0, 1, 2, ... each delegated to by the one before."""
    (signer,) = new_keys()
    publish, world.publish = world.publish, lambda *_: None  # type: ignore[method-assign]
    for number in range(length):
        by = str(number - 1) if number else "targets"
        world.delegate(str(number), by=by, signers=[signer])
    world.publish = publish  # type: ignore[method-assign]
    world.publish("targets", *map(str, range(length)))


def test_ghsa_j8x2_777p_23fc_deep_delegations_do_not_overflow_the_stack(tmp_path: Path) -> None:
    world = World(tmp_path)
    chain(world, 1100)
    target = world.add_target("x", b"x", "1099")
    assert world.client(max_delegations=1100).get_targetinfo("x") == target


def test_limit_on_delegations_does_not_look_like_an_absent_target(tmp_path: Path) -> None:
    world = World(tmp_path)
    chain(world, 40)
    with pytest.raises(DelegationLimitError):
        world.client().get_targetinfo("x")
    assert world.client(max_delegations=40).get_targetinfo("x") is None


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_role_named_like_a_top_level_role(world: PopulatedWorld, name: str) -> None:
    """It would overwrite that one in the cache."""
    world.plant("targets", lambda signed: signed["delegations"]["roles"][0].update(name=name))
    world.refused(DeserializationError)
    world.recovers()


# -- offline


@pytest.mark.parametrize("role", [*TOP_LEVEL, "d"])
@pytest.mark.parametrize("damage", ["signature", "content", "absent"])
def test_offline_never_skips_a_check(world: PopulatedWorld, role: str, damage: str) -> None:
    """Another client's offline mode returned cached bytes unverified."""
    world.update()
    world.update(offline=True)
    requests = len(world.requests)
    data = world.cached(role)
    assert data is not None
    file = world.cache_file(role)
    file.unlink()
    if damage == "signature":
        file.write_bytes(wrap(world.roles[role].to_dict(), new_keys()))
    elif damage == "content":
        file.write_bytes(data.replace(b'"spec_version":"1.', b'"spec_version":"1.9'))
        assert file.read_bytes() != data
    if role == "root":
        history = world.metadata_dir() / "root_history" / "1.root.json"
        if history.exists():
            history.unlink()
            if damage != "absent":
                history.write_bytes(file.read_bytes())
    with pytest.raises((RepositoryError, DownloadError, OSError)):
        world.update(offline=True, bootstrap=None)
    assert len(world.requests) == requests


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "d"])
def test_offline_checks_expiry(tmp_path: Path, role: str) -> None:
    world = PopulatedWorld(tmp_path, meta_hashes=False)
    world.update()
    world.age(role)
    with pytest.raises((ExpiredMetadataError, DownloadError)):
        world.update(offline=True)


@pytest.mark.parametrize("role", ["snapshot", "targets", "d"])
def test_offline_checks_hashes(world: PopulatedWorld, role: str) -> None:
    """Well signed, and of the right version, but not the file that was named."""
    world.update()
    world.cache_file(role).write_bytes(reorder(world.files[world.path(role)]))
    with pytest.raises((RepositoryError, DownloadError)):
        world.update(offline=True)


def test_offline_target_files_are_verified(world: PopulatedWorld) -> None:
    world.update()
    target = world.targets("d").targets["d/file"]
    Path(world.client().download_target(target)).write_bytes(b"changed")
    client = world.client(offline=True)
    assert client.find_cached_target(target) is None
    with pytest.raises(DownloadError):
        client.download_target(target)

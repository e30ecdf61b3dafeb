"""Published flaws of TUF implementations: who signed what, and which version.

Each test carries the identifiers of its cases, and fails if the check in question is taken out.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from securesystemslib.signer import CryptoSigner, Signature, Signer, SSlibKey

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    UnsignedMetadataError,
)
from tuf.api.serialization import DeserializationError
from tuf.ngclient.config import EnvelopeType
from world import TOP_LEVEL, PopulatedWorld, World, new_keys, reorder, signatures, wrap

EVERY_ROLE = pytest.mark.parametrize("role", [*TOP_LEVEL, "d"])
BELOW_ROOT = pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "d"])


@pytest.fixture
def world(tmp_path: Path) -> PopulatedWorld:
    return PopulatedWorld(tmp_path)


# -- the cache is not trusted


def test_cve_2020_15163_root_that_failed_is_not_persisted(world: PopulatedWorld) -> None:
    world.update()
    world.forge("root", signers=new_keys())
    for bootstrap in (True, None):
        world.refused(UnsignedMetadataError, bootstrap=bootstrap)
        assert world.cached("root") == world.bootstrap
    world.write("root")
    world.recovers()


def hijacked_root(world: World) -> bytes:
    """A next root of the attacker's own, good in itself, but not signed by the keys before."""
    keys = new_keys()
    root = world.root.to_dict()
    root["version"] += 1
    root["keys"] = {keys[0].public_key.keyid: keys[0].public_key.to_dict()}
    for role in root["roles"].values():
        role["keyids"] = [keys[0].public_key.keyid]
    return wrap(root, keys)


def test_cve_2020_15163_cached_root_is_verified_again(world: PopulatedWorld) -> None:
    world.update()
    world.cache_file("root").unlink()
    world.cache_file("root").write_bytes(wrap(world.root.to_dict(), new_keys()))
    with pytest.raises(UnsignedMetadataError):
        world.client(bootstrap=None)


def test_cve_2020_15163_cached_roots_have_to_follow_from_the_bootstrap_root(
    world: PopulatedWorld,
) -> None:
    world.update()
    forged = hijacked_root(world)
    history = world.metadata_dir() / "root_history"
    history.mkdir(exist_ok=True)
    (history / "2.root.json").write_bytes(forged)
    world.cache_file("root").unlink()
    world.cache_file("root").write_bytes(forged)
    world.client().refresh()
    assert world.cached("root") == world.bootstrap
    # The repository's own second root is not kept out by the forged one.
    world.rotate("root")
    world.update()
    assert world.cached_version("root") == 2


@BELOW_ROOT
def test_cve_2020_15163_cached_metadata_is_verified_again(world: PopulatedWorld, role: str) -> None:
    world.update()
    signed = world.roles[role].to_dict() | {"version": 1000}
    world.cache_file(role).write_bytes(wrap(signed, new_keys()))
    world.update()
    assert world.cached_version(role) == world.roles[role].version


# -- signatures


def test_cve_2020_6173_only_the_keys_of_the_role_are_tried(
    world: PopulatedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = new_keys(50)
    for signer in others:
        world.root.add_key(signer.public_key, "targets")
    world.release("root")
    own = world.signers["timestamp"][0]
    forged = world.forge("timestamp", signers=[*others, *new_keys(50), own])
    world.vouch("timestamp", forged)

    tried = set()
    verify = SSlibKey.verify_signature

    def count(key: SSlibKey, signature: Signature, data: bytes) -> None:
        if b'"_type":"timestamp"' in data:
            tried.add(key.keyid)
        verify(key, signature, data)

    monkeypatch.setattr(SSlibKey, "verify_signature", count)
    world.update(timestamp_max_length=100_000)
    assert tried == {own.public_key.keyid}


@EVERY_ROLE
def test_cve_2020_6173_flood_of_signatures(world: PopulatedWorld, role: str) -> None:
    world.roles[role].version += 1
    signed = world.roles[role].to_dict()
    flood = [{"keyid": f"{n:064x}", "sig": "00" * 64} for n in range(5000)]
    flood += signatures(signed, world.signers[role])
    world.substitute(role, json.dumps({"signed": signed, "signatures": flood}).encode())
    if role == "snapshot":
        world.release("timestamp")
    elif role in ("targets", "d"):
        world.publish()
    big = {f"{name}_max_length": 5_000_000 for name in TOP_LEVEL}
    world.refused(DeserializationError, **big)


@BELOW_ROOT
def test_cve_2020_6174_key_id_listed_twice_in_a_role(world: PopulatedWorld, role: str) -> None:
    def twice(signed: dict[str, Any]) -> None:
        roles = signed["roles"] if "roles" in signed else {"d": signed["delegations"]["roles"][0]}
        roles[role]["keyids"] *= 2
        roles[role]["threshold"] = 2

    world.plant("targets" if role == "d" else "root", twice)
    world.refused(DeserializationError)


def test_cve_2020_6174_new_root_below_its_own_threshold(world: PopulatedWorld) -> None:
    old, new = world.signers["root"], new_keys(2)
    world.root.add_key(new[0].public_key, "root")
    world.root.add_key(new[1].public_key, "root")
    world.root.roles["root"].threshold = 3
    world.roles["root"].version += 1
    world.substitute("root", world.sign("root", [*old, new[0]]))
    world.refused(UnsignedMetadataError)
    world.write("root", [*old, *new])
    world.recovers()


@EVERY_ROLE
@pytest.mark.parametrize("enough", [True, False])
def test_cve_2026_6966_php_154_key_id_signs_twice(
    world: PopulatedWorld, role: str, enough: bool
) -> None:
    """A file with a repeated signature is refused whole, whether there are enough others or not."""
    (own,) = world.signers[role]
    stranger = new_keys()[0]
    world.plant(role, signers=[own, stranger, stranger] if enough else [own, own])
    world.refused(DeserializationError)


def test_cve_2026_6966_key_id_signs_twice_in_an_envelope(tmp_path: Path) -> None:
    world = World(tmp_path, envelope_type=EnvelopeType.SIMPLE)
    data = world.release("timestamp")
    start = data.index(b"[") + 1
    end = data.index(b"]")
    doubled = data[:end] + b"," + data[start:end] + data[end:]
    world.substitute("timestamp", doubled)
    with pytest.raises(DeserializationError):
        world.client().refresh()
    assert world.cached("timestamp") is None


def aliases(kind: str) -> list[Signer]:
    """One private key under two key ids."""
    private: Any
    if kind == "rsa schemes":
        private = rsa.generate_private_key(65537, 2048)
    elif kind.startswith("pem"):
        private = ec.generate_private_key(ec.SECP256R1())
    else:
        private = ed25519.Ed25519PrivateKey.generate()
    one = SSlibKey.from_crypto(private.public_key(), keyid="one")
    two = SSlibKey.from_crypto(private.public_key(), keyid="two")
    public = two.keyval["public"]
    if kind == "hex in another case":
        two.keyval["public"] = public.upper()
    elif kind == "pem with other line ends":
        two.keyval["public"] = public.replace("\n", "\r\n")
    elif kind == "pem with a last line":
        two.keyval["public"] = public + "\n"
    elif kind == "rsa schemes":
        two.scheme = "rsa-pkcs1v15-sha256"
    return [CryptoSigner(private, one), CryptoSigner(private, two)]


@pytest.mark.parametrize(
    "kind",
    [
        "same text",
        "hex in another case",
        "pem with other line ends",
        "pem with a last line",
        "rsa schemes",
    ],
)
@EVERY_ROLE
def test_ghsa_3633_5h82_39pq_go_733_one_key_under_two_key_ids(
    world: PopulatedWorld, role: str, kind: str
) -> None:
    """Distinct key material counts, once. So it is with two keys, and with one."""
    world.rotate(role, aliases(kind), 2)
    world.refused(UnsignedMetadataError)
    if role == "root":
        assert world.cached_version("root") == 1
        return
    world.rotate(role, 2, 2)
    world.recovers()


def test_ghsa_3633_5h82_39pq_root_by_two_real_keys(world: PopulatedWorld) -> None:
    world.rotate("root", 2, 2)
    world.recovers()


def test_cve_2015_9258_scheme_is_the_keys_and_never_the_signatures(world: PopulatedWorld) -> None:
    private = rsa.generate_private_key(65537, 2048)
    pss = SSlibKey.from_crypto(private.public_key(), "rsa", "rsassa-pss-sha256")
    other = SSlibKey(pss.keyid, "rsa", "rsa-pkcs1v15-sha256", pss.keyval)
    world.rotate("timestamp", [CryptoSigner(private, pss)])
    world.update()
    signed = world.timestamp.to_dict() | {"version": world.timestamp.version + 1}
    (signature,) = signatures(signed, [CryptoSigner(private, other)])
    for extra in ({}, {"scheme": other.scheme}, {"method": other.scheme, "keytype": "rsa"}):
        data = {"signed": signed, "signatures": [signature | extra]}
        world.substitute("timestamp", json.dumps(data).encode())
        world.refused(UnsignedMetadataError)
    world.recovers()


@EVERY_ROLE
def test_extra_signatures_are_tolerated(world: PopulatedWorld, role: str) -> None:
    """Empty, bad, or of unlisted keys: no harm is done once the threshold is met."""
    world.rotate(role, 4)
    world.roles[role].version += 1
    signed = world.roles[role].to_dict()
    one, two, three = (signer.public_key.keyid for signer in world.signers[role][:3])
    many = [
        {"keyid": one, "sig": ""},
        {"keyid": two, "sig": "00" * 64},
        {"keyid": three, "sig": "no hex"},
        {"keyid": "unlisted", "sig": "ff" * 64},
        *signatures(signed, world.signers[role][3:] + new_keys()),
    ]
    data = json.dumps({"signed": signed, "signatures": many}).encode()
    world.vouch(role, data)
    if role == "snapshot":
        world.release("timestamp")
    elif role in ("targets", "d"):
        world.publish()
    world.update()
    assert world.cached(role) == data


# -- versions and expiry


@BELOW_ROOT
def test_cve_2022_29173_cve_2025_2887_rollback(world: PopulatedWorld, role: str) -> None:
    """Every role is checked, also delegated ones; nothing is persisted before it verifies."""
    world.update()
    old = {name: world.roles[name].version for name in ("timestamp", "snapshot", "targets", "d")}
    world.publish("targets", "d")
    world.update()
    before = {name: world.cached(name) for name in old}
    if role == "timestamp":
        world.forge("timestamp", lambda signed: signed.update(version=old["timestamp"]))
    else:
        meta = "snapshot.json" if role == "snapshot" else f"{role}.json"
        above = "timestamp" if role == "snapshot" else "snapshot"
        world.plant(above, lambda signed: signed["meta"][meta].update(version=old[role]))
    world.refused(BadVersionNumberError)
    for name, data in before.items():
        if (name, role) not in (("timestamp", "targets"), ("timestamp", "d")):
            assert world.cached(name) == data
    world.recovers()


@pytest.mark.parametrize("version", [1, 3, 1000])
def test_cve_2025_2885_next_root_is_exactly_one_higher(world: PopulatedWorld, version: int) -> None:
    world.forge("root", lambda signed: signed.update(version=version))
    world.refused(BadVersionNumberError)
    assert world.cached("root") == world.bootstrap


def test_cve_2025_2888_snapshot_rollback_does_not_lock_out(world: PopulatedWorld) -> None:
    """The timestamp is kept although its snapshot is a rollback: the next good pair still works."""
    world.update()
    world.plant("snapshot", lambda signed: signed["meta"]["d.json"].update(version=1))
    for _ in range(2):
        world.refused(BadVersionNumberError)
    # The least that a repository can do: just the next versions.
    world.release("snapshot")
    world.release("timestamp")
    world.update()
    world.recovers()


def test_cve_2015_9259_expired_root(world: PopulatedWorld) -> None:
    world.update()
    world.expire("root")
    world.refused(ExpiredMetadataError)
    world.renew("root")
    world.recovers()


def test_cve_2026_6967_expiry_of_delegated_roles(world: PopulatedWorld) -> None:
    world.expire("d")
    world.refused(ExpiredMetadataError)
    assert world.cached("d") is None


def test_cve_2026_6967_length_and_hashes_of_delegated_roles(world: PopulatedWorld) -> None:
    path = world.path("d")
    good = world.files[path]
    for data, error in (
        (good + b" ", DownloadLengthMismatchError),
        (good[:-1], LengthOrHashMismatchError),
        (reorder(good), LengthOrHashMismatchError),
    ):
        world.files[path] = data
        world.refused(error)
        assert world.cached("d") is None
    world.recovers()


@pytest.mark.parametrize("rotated", ["timestamp", "snapshot"])
def test_fast_forward_recovery_by_either_key(world: PopulatedWorld, rotated: str) -> None:
    """Release 7.0.1 refused it when only the timestamp key was rotated (5.3.11)."""
    version = world.targets().version
    world.targets().version = 1000
    world.publish("targets")
    world.update()
    world.targets().version = version
    world.rotate(rotated)
    world.publish("targets")
    world.update()
    assert world.cached_version("targets") == version + 1

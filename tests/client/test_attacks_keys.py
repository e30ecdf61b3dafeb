"""Published flaws of TUF implementations, and holes of release 7.0.1: keys and their ids."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from securesystemslib.signer import CryptoSigner, SSlibKey

from tuf.api.exceptions import RepositoryError, UnsignedMetadataError
from tuf.api.metadata import Metadata, Root
from world import PopulatedWorld, new_keys, signatures

Object = dict[str, Any]


@pytest.fixture
def world(tmp_path: Path) -> PopulatedWorld:
    return PopulatedWorld(tmp_path)


def test_weak_rsa_keys_count_for_nothing(world: PopulatedWorld) -> None:
    """Release 7.0.1 accepted RSA keys under 2048 bits."""
    weak = rsa.generate_private_key(65537, 1024)
    world.rotate("timestamp", [CryptoSigner(weak, SSlibKey.from_crypto(weak.public_key()))])
    world.refused(UnsignedMetadataError)
    good = rsa.generate_private_key(65537, 2048)
    world.rotate("timestamp", [CryptoSigner(good, SSlibKey.from_crypto(good.public_key()))])
    world.recovers()


UNKNOWN_KEYS: list[Object] = [
    {"keytype": "slh-dsa", "scheme": "slh-dsa-256", "keyval": {"public": "00"}},
    {"keytype": "ed25519", "scheme": "ed25519-of-the-future", "keyval": {"public": "00"}},
    {"keytype": "rsa", "scheme": "rsa-512", "keyval": {"public": "x", "more": [1, {"y": None}]}},
    {"keytype": "", "scheme": "", "keyval": {}},
]


@pytest.mark.parametrize("key", UNKNOWN_KEYS)
def test_key_of_an_unknown_scheme_is_kept_and_counts_for_nothing(
    world: PopulatedWorld, key: Object
) -> None:
    """One such key made the whole root unreadable in release 7.0.1."""

    def edit(signed: Object, threshold: int) -> None:
        signed["keys"]["unknown"] = key
        signed["roles"]["timestamp"]["keyids"].append("unknown")
        signed["roles"]["timestamp"]["threshold"] = threshold

    root = world.forge("root", lambda signed: edit(signed, 1))
    world.vouch("root", root)
    kept = Metadata[Root].from_bytes(root)
    assert kept.signed.to_dict()["keys"]["unknown"] == key
    world.update()
    assert world.cached("root") == root

    world.vouch("root", world.forge("root", lambda signed: edit(signed, 2)))
    world.release("timestamp")
    signed = world.timestamp.to_dict()
    many = [*signatures(signed, world.signers["timestamp"]), {"keyid": "unknown", "sig": "00"}]
    world.substitute("timestamp", json.dumps({"signed": signed, "signatures": many}).encode())
    world.refused(UnsignedMetadataError)


@pytest.mark.parametrize("public", ["", "00", "00" * 31, "00" * 33, "0" * 63, "zz" * 32, "é" * 64])
def test_go_739_key_of_a_wrong_length(world: PopulatedWorld, public: str) -> None:
    def edit(signed: Object) -> None:
        (keyid,) = signed["roles"]["timestamp"]["keyids"]
        signed["keys"]["bad"] = signed["keys"][keyid] | {"keyval": {"public": public}}
        signed["roles"]["timestamp"].update(keyids=[keyid, "bad"], threshold=2)

    world.vouch("root", world.forge("root", edit))
    world.release("timestamp")
    signed = world.timestamp.to_dict()
    many = [*signatures(signed, world.signers["timestamp"]), {"keyid": "bad", "sig": "00" * 64}]
    world.substitute("timestamp", json.dumps({"signed": signed, "signatures": many}).encode())
    with pytest.raises(RepositoryError):
        world.update()
    world.check()


def test_key_ids_are_only_names(world: PopulatedWorld) -> None:
    """They are not computed anew (TAP 12)."""
    (private,) = (signer._private_key for signer in new_keys())  # type: ignore[attr-defined]
    for keyid in ("a name", "é", "0" * 64):
        for role in ("timestamp", "d"):
            key = SSlibKey.from_crypto(private.public_key(), keyid=keyid)
            world.rotate(role, [CryptoSigner(private, key)])
        world.update()


def test_mirrors_role_is_read_and_kept(world: PopulatedWorld) -> None:
    """The specification's optional role made a root unreadable in release 7.0.1."""

    def edit(signed: Object) -> None:
        signed["roles"]["mirrors"] = dict(signed["roles"]["timestamp"])

    root = world.forge("root", edit)
    world.vouch("root", root)
    assert "mirrors" in Metadata[Root].from_bytes(root).signed.to_dict()["roles"]
    world.update()
    assert world.cached("root") == root

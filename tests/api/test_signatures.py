"""Which signatures count: each key once, by its material, under its own scheme."""

from functools import cache
from typing import Any

import pytest
from api import wire
from api.wire import encoded, signer
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import CryptoSigner, Signature, SSlibKey

from tuf.api.metadata import Metadata, Root, Targets, Timestamp, VerificationResult
from tuf.api.serialization import DeserializationError

PAYLOAD = b"what was signed"
ECDSA = ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
RSA = tuple(f"{p}-sha{n}" for p in ("rsassa-pss", "rsa-pkcs1v15") for n in (256, 384, 512))
ML_DSA = ("ml-dsa-44/1", "ml-dsa-65/1", "ml-dsa-87/1")


@cache
def rsa_signer(size: int = 2048) -> CryptoSigner:
    return CryptoSigner.generate_rsa(size=size)


@cache
def ecdsa_signer(scheme: str = ECDSA[0]) -> CryptoSigner:
    return CryptoSigner.generate_ecdsa(scheme=scheme)


def renamed(original: CryptoSigner, keyid: str, **changes: str) -> CryptoSigner:
    """The same private key under another key id; perhaps with its public part written otherwise."""
    key = original.public_key
    public = changes.get("public", key.keyval["public"])
    scheme, keytype = changes.get("scheme", key.scheme), changes.get("keytype", key.keytype)
    return CryptoSigner(original._private_key, SSlibKey(keyid, keytype, scheme, {"public": public}))


def root_json(keys: dict[str, Any], threshold: int) -> dict[str, Any]:
    """A root whose timestamp role lists all of ``keys``."""
    roles = {**wire.root()["roles"], "timestamp": wire.role(keyids=[*keys], threshold=threshold)}
    return wire.root(keys=keys, roles=roles)


def verify(
    signers: list[CryptoSigner], threshold: int = 1, payload: bytes = PAYLOAD
) -> VerificationResult:
    keys = {signer.public_key.keyid: signer.public_key.to_dict() for signer in signers}
    signatures = {signer.public_key.keyid: signer.sign(payload) for signer in signers}
    root = Root.from_dict(root_json(keys, threshold))
    return root.get_verification_result("timestamp", PAYLOAD, signatures)


# Schemes.


def signer_for(scheme: str) -> CryptoSigner:
    if scheme in RSA:
        return renamed(rsa_signer(), "rsa", scheme=scheme)
    if scheme in ECDSA:
        return ecdsa_signer(scheme)
    return CryptoSigner.generate_mldsa(scheme=scheme) if scheme in ML_DSA else signer()


@pytest.mark.parametrize("scheme", ["ed25519", *RSA, *ECDSA, *ML_DSA])
def test_every_scheme(scheme: str) -> None:
    one = signer_for(scheme)
    assert one.public_key.scheme == scheme
    assert verify([one]).verified
    assert not verify([one], payload=b"something else").verified


@pytest.mark.parametrize("scheme", ECDSA)
@pytest.mark.filterwarnings("ignore:keytype 'ecdsa-sha2-nistp:DeprecationWarning")
def test_the_older_type_of_ecdsa_keys(scheme: str) -> None:
    assert verify([renamed(ecdsa_signer(scheme), "old", keytype=scheme)]).verified


def test_the_scheme_is_the_keys() -> None:
    """CVE-2015-9258: what the signature says of itself is nothing to go by."""
    one = rsa_signer()
    assert isinstance(one._private_key, RSAPrivateKey)
    keyid, key = one.public_key.keyid, one.public_key.to_dict()
    pkcs = one._private_key.sign(PAYLOAD, PKCS1v15(), SHA256()).hex()
    pss = one._private_key.sign(PAYLOAD, PSS(MGF1(SHA256()), 32), SHA256()).hex()
    root = Root.from_dict(root_json({keyid: key}, 1))
    for members in ({}, {"method": "rsa-pkcs1v15-sha256"}, {"scheme": "rsa-pkcs1v15-sha256"}):
        bad, good = Signature(keyid, pkcs, members), Signature(keyid, pss, members)
        assert not root.get_verification_result("timestamp", PAYLOAD, {keyid: bad})
        assert root.get_verification_result("timestamp", PAYLOAD, {keyid: good})


# Distinct keys.


def der_key(one: CryptoSigner, form: PublicFormat) -> str:
    encoding = Encoding.PEM
    return one._private_key.public_key().public_bytes(encoding, form).decode()


def pem_of(one: CryptoSigner) -> str:
    return str(one.public_key.keyval["public"])


def same_key(case: str) -> list[CryptoSigner]:
    """Two signers that have one key."""
    original = signer(0)
    if case.startswith("RSA"):
        original = rsa_signer()
    if case.startswith("ECDSA"):
        original = ecdsa_signer()
    public = str(original.public_key.keyval["public"])
    changes: dict[str, dict[str, str]] = {
        "Ed25519, two key ids": {},
        "Ed25519, upper case": {"public": public.upper()},
        "RSA, two key ids": {},
        "RSA, line ends": {"public": public.replace("\n", "\r\n")},
        "RSA, no last line end": {"public": public.rstrip()},
        "RSA, blank lines": {"public": f"\n\n{public}\n\n"},
        "RSA, another hash": {"scheme": "rsassa-pss-sha512"},
        "RSA, another padding": {"scheme": "rsa-pkcs1v15-sha256"},
        "ECDSA, two key ids": {},
        "ECDSA, line ends": {"public": public.replace("\n", "\r\n")},
    }
    if case == "RSA, another container":
        changes[case] = {"public": der_key(original, PublicFormat.PKCS1)}
    return [renamed(original, "a"), renamed(original, "b", **changes[case])]


SAME = [
    "Ed25519, two key ids",
    "Ed25519, upper case",
    "RSA, two key ids",
    "RSA, line ends",
    "RSA, no last line end",
    "RSA, blank lines",
    "RSA, another hash",
    "RSA, another padding",
    "RSA, another container",
    "ECDSA, two key ids",
    "ECDSA, line ends",
]


@pytest.mark.parametrize("case", SAME)
def test_one_key_under_two_key_ids_counts_once(case: str) -> None:
    """GHSA-3633-5h82-39pq: what makes keys distinct is their material."""
    signers = same_key(case)
    for one in signers:
        assert verify([one], threshold=1).verified
    for ordered in (signers, signers[::-1]):
        result = verify(ordered, threshold=2)
        assert (result.verified, len(result.signed), result.missing) == (False, 1, 1)
        assert verify([*ordered, signer(5)], threshold=2).verified
        assert not verify([*ordered, signer(5)], threshold=3).verified


@pytest.mark.filterwarnings("ignore:keytype 'ecdsa-sha2-nistp:DeprecationWarning")
def test_one_ecdsa_key_of_two_types_counts_once() -> None:
    old = renamed(ecdsa_signer(), "old", keytype=ECDSA[0])
    assert len(verify([ecdsa_signer(), old], threshold=2).signed) == 1


def test_one_key_under_two_key_ids_counts_once_for_delegations() -> None:
    signers = same_key("Ed25519, two key ids")
    keys = {one.public_key.keyid: one.public_key.to_dict() for one in signers}
    role = wire.delegated_role(keyids=["a", "b"], threshold=2)
    targets = Targets.from_dict(wire.targets(delegations=wire.delegations(keys=keys, roles=[role])))
    signatures = {one.public_key.keyid: one.sign(PAYLOAD) for one in signers}
    assert targets.get_verification_result("project", PAYLOAD, signatures).missing == 1


def test_one_key_under_two_key_ids_counts_once_for_a_root() -> None:
    signers = same_key("Ed25519, two key ids")
    root = Root()
    for one in signers:
        root.add_key(one.public_key, "root")
    root.roles["root"].threshold = 2
    signatures = {one.public_key.keyid: one.sign(PAYLOAD) for one in signers}
    assert not root.get_root_verification_result(None, PAYLOAD, signatures)


def test_a_good_signature_counts_beside_a_bad_one_of_the_same_key() -> None:
    first, second = same_key("Ed25519, two key ids")
    keys = {one.public_key.keyid: one.public_key.to_dict() for one in (first, second)}
    root = Root.from_dict(root_json(keys, 1))
    for good, bad in ((first, second), (second, first)):
        signatures = {
            bad.public_key.keyid: Signature(bad.public_key.keyid, "00" * 64),
            good.public_key.keyid: good.sign(PAYLOAD),
        }
        assert root.get_verification_result("timestamp", PAYLOAD, signatures).verified


def test_distinct_keys_are_counted() -> None:
    signers = [signer(0), signer(1), rsa_signer(), *map(ecdsa_signer, ECDSA)]
    assert len(verify(signers, threshold=6).signed) == 6
    assert verify(signers, threshold=7).missing == 1


def test_key_ids_are_only_names() -> None:
    """TAP 12: a key id need not be the hash of its key."""
    assert verify([renamed(signer(0), "é"), renamed(signer(1), "..")], threshold=2).verified


# Keys that count for nothing.


@pytest.mark.parametrize("size", [1024, 2047])
def test_short_rsa_keys_count_for_nothing(size: int) -> None:
    result = verify([rsa_signer(size), signer()], threshold=2)
    assert (result.verified, list(result.signed)) == (False, [wire.keyid()])
    assert verify([rsa_signer(2048), signer()], threshold=2).verified


BAD_KEYS = {
    "Ed25519, no hex": wire.key(keyval={"public": "zz" * 32}),
    "Ed25519, too short": wire.key(keyval={"public": "ab" * 31}),
    "Ed25519, too long": wire.key(keyval={"public": "ab" * 33}),
    "Ed25519, empty": wire.key(keyval={"public": ""}),
    "Ed25519, white space": wire.key(
        keyval={"public": " ".join([wire.key()["keyval"]["public"]] * 2)}
    ),
    "RSA, no PEM": {"keytype": "rsa", "scheme": RSA[0], "keyval": {"public": "abcd"}},
    "RSA, bad PEM": {
        "keytype": "rsa",
        "scheme": RSA[0],
        "keyval": {"public": "-----BEGIN PUBLIC KEY-----\nabcd\n-----END PUBLIC KEY-----\n"},
    },
    "ECDSA, non-ASCII PEM": {"keytype": "ecdsa", "scheme": ECDSA[0], "keyval": {"public": "é"}},
    "ECDSA, an RSA key": {"keytype": "ecdsa", "scheme": ECDSA[0], "keyval": {"public": "RSA"}},
    "RSA, an ECDSA key": {"keytype": "rsa", "scheme": RSA[0], "keyval": {"public": "ECDSA"}},
    "ECDSA, another curve": {"keytype": "ecdsa", "scheme": ECDSA[1], "keyval": {"public": "ECDSA"}},
}


@pytest.mark.parametrize("case", BAD_KEYS)
def test_a_bad_key_is_refused_or_counts_for_nothing(case: str) -> None:
    bad = dict(BAD_KEYS[case])
    public = bad["keyval"]["public"]
    real = {"RSA": rsa_signer, "ECDSA": ecdsa_signer}
    if public in real:
        bad["keyval"] = {"public": pem_of(real[public]())}
    data = encoded(wire.metadata(root_json({"bad": bad, wire.keyid(): wire.key()}, 2)))
    try:
        root: Root = Metadata.from_bytes(data).signed
    except DeserializationError:
        return
    signatures = {"bad": Signature("bad", "ab" * 64), wire.keyid(): signer().sign(PAYLOAD)}
    result = root.get_verification_result("timestamp", PAYLOAD, signatures)
    assert (list(result.signed), list(result.unsigned)) == ([wire.keyid()], ["bad"])


# Signatures that count for nothing.


def new_root(*numbers: int, threshold: int = 1) -> Root:
    return Root.from_dict(root_json({wire.keyid(n): wire.key(n) for n in numbers}, threshold))


def test_a_signature_by_an_unlisted_key_is_ignored() -> None:
    signatures = {wire.keyid(n): signer(n).sign(PAYLOAD) for n in range(3)}
    result = new_root(0, 1, threshold=2).get_verification_result("timestamp", PAYLOAD, signatures)
    assert (result.verified, set(result.signed)) == (True, {wire.keyid(0), wire.keyid(1)})
    result = new_root(0, threshold=2).get_verification_result("timestamp", PAYLOAD, signatures)
    assert (result.verified, result.missing) == (False, 1)


def test_a_key_that_the_role_does_not_list_is_ignored() -> None:
    root = new_root(0, 1)
    root.roles["timestamp"].keyids.remove(wire.keyid(1))
    signatures = {wire.keyid(1): signer(1).sign(PAYLOAD)}
    result = root.get_verification_result("timestamp", PAYLOAD, signatures)
    assert (result.verified, set(result.unsigned)) == (False, {wire.keyid(0)})


def test_a_key_id_without_a_key_is_ignored() -> None:
    root = new_root(0)
    root.roles["timestamp"].keyids.insert(0, "none such")
    signatures = {
        k: Signature(k, signer().sign(PAYLOAD).signature) for k in (wire.keyid(), "none such")
    }
    result = root.get_verification_result("timestamp", PAYLOAD, signatures)
    assert (result.verified, set(result.signed), result.unsigned) == (True, {wire.keyid()}, {})


@pytest.mark.parametrize("bad", ["", "zz", "a", "é", "00" * 64, "00" * 9999, None, 1, []], ids=repr)
def test_a_bad_extra_signature_is_tolerated(bad: Any) -> None:
    signatures = {
        wire.keyid(0): Signature(wire.keyid(0), bad),
        wire.keyid(1): signer(1).sign(PAYLOAD),
    }
    result = new_root(0, 1).get_verification_result("timestamp", PAYLOAD, signatures)
    assert (result.verified, list(result.signed)) == (True, [wire.keyid(1)])
    assert not new_root(0, 1, threshold=2).get_verification_result("timestamp", PAYLOAD, signatures)


def test_a_signature_in_upper_case() -> None:
    signature = Signature(wire.keyid(), signer().sign(PAYLOAD).signature.upper())
    assert new_root(0).get_verification_result("timestamp", PAYLOAD, {wire.keyid(): signature})


def test_a_signature_is_its_own_key_ids() -> None:
    """The name under which a signature is filed does not make it another key's."""
    stolen = {wire.keyid(0): signer(1).sign(PAYLOAD)}
    assert not new_root(0, 1).get_verification_result("timestamp", PAYLOAD, stolen)


@pytest.mark.parametrize("sig", ["ab" * 64, "cd" * 64])
def test_a_repeated_signature_refuses_the_file(sig: str) -> None:
    """CVE-2026-6966: whether the two differ or not."""
    signatures = [{"keyid": "a", "sig": "ab" * 64}, {"keyid": "a", "sig": sig}]
    with pytest.raises(DeserializationError, match="a"):
        Metadata.from_bytes(encoded(wire.metadata(wire.timestamp(), signatures=signatures)))


@pytest.mark.parametrize(
    "value",
    [
        wire.root(consistent_snapshot=None),
        wire.snapshot(meta={"b.json": wire.meta_file(length=None), "a.json": wire.meta_file()}),
        wire.timestamp(meta={"snapshot.json": wire.meta_file(hashes=None, length=None)}),
        wire.targets(delegations=wire.delegations(succinct_roles=None)),
        wire.targets(
            delegations=wire.delegations(roles=[wire.delegated_role(path_hash_prefixes=None)])
        ),
    ],
    ids=lambda value: value["_type"],
)
def test_a_signature_over_null_members_holds(value: dict[str, Any]) -> None:
    """It is checked over what was received, not over what could be made of it."""
    signature = signer().sign(wire.canonical(value)).to_dict()
    md = Metadata.from_bytes(encoded(wire.metadata(value, signatures=[signature])))
    assert new_root(0).get_verification_result("timestamp", md.signed_bytes, md.signatures)
    again = Metadata.from_bytes(md.to_bytes())
    assert new_root(0).get_verification_result("timestamp", again.signed_bytes, again.signatures)


# A flood.


class CountingKey(SSlibKey):
    """A key that counts how often it was asked."""

    asked = 0

    def verify_signature(self, signature: Signature, data: bytes) -> None:
        type(self).asked += 1
        super().verify_signature(signature, data)


def test_a_flood_of_signatures_is_refused_or_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2020-6173: at most the keys that the role lists are asked."""
    monkeypatch.setattr(CountingKey, "asked", 0)
    md = Metadata(Timestamp())
    md.sign(signer())
    flood = [{"keyid": f"{n:064x}", "sig": "ab" * 64} for n in range(6000)]
    data = encoded(md.to_dict() | {"signatures": flood + md.to_dict()["signatures"]})
    key = signer().public_key
    root = new_root(0)
    root.keys[key.keyid] = CountingKey(key.keyid, key.keytype, key.scheme, key.keyval)
    try:
        flooded = Metadata.from_bytes(data)
    except DeserializationError:
        return
    result = root.get_verification_result("timestamp", flooded.signed_bytes, flooded.signatures)
    assert result.verified
    assert CountingKey.asked <= 1

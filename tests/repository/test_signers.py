"""Private keys: in files, in the environment, on a token, in a cloud."""

import pickle
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto.kms import utils
from moto.server import ThreadedMotoServer
from repository.world import World
from securesystemslib.signer import AWSSigner, HSMSigner, SSlibKey

from tuf.api.metadata import Key, Root
from tuf.repository import (
    AddTarget,
    Keyring,
    KeySource,
    KeyUnavailable,
    ManagedRepository,
    generate_key,
    read_public_key,
)
from tuf.repository.signers import write_public_key

KEYSTORE = Path(__file__).parents[1] / "data/legacy-0.19/keystore"


PIN = "123456"


def secret(_what: str) -> str:
    return "pw"


def verify(keyring: Keyring, key: Key) -> None:
    """The keyring signs for a public key."""
    signer = keyring.signer(key)
    assert signer is not None
    key.verify_signature(signer.sign(b"data"), b"data")


@pytest.mark.parametrize("keytype", ["ed25519", "ecdsa", "rsa", "ml-dsa"])
@pytest.mark.parametrize("password", ["pw", None])
def test_generated_key_signs(tmp_path: Path, keytype: str, password: str | None) -> None:
    key = generate_key(tmp_path / "k", password, keytype)
    assert read_public_key(tmp_path / "k.pub") == key
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    assert (b"ENCRYPTED" in (tmp_path / "k").read_bytes()) == (password is not None)
    verify(Keyring([KeySource("k", "file:k")], tmp_path, secret), key)


def test_generated_key_replaces_no_file(tmp_path: Path) -> None:
    generate_key(tmp_path / "k", None)
    with pytest.raises(FileExistsError):
        generate_key(tmp_path / "k", None)
    with pytest.raises(ValueError, match="password is empty"):
        generate_key(tmp_path / "l", "")
    with pytest.raises(ValueError, match="key type 'dsa'"):
        generate_key(tmp_path / "l", None, "dsa")


def test_post_quantum_key_signs_metadata(world: World) -> None:
    # Reference clients of today do not verify these.
    key = generate_key(world.directory / "keys/pq", None, "ml-dsa")
    root = Root()
    root.add_key(key, "timestamp")
    verify(Keyring([KeySource("pq", "file:keys/pq")], world.directory), root.get_key(key.keyid))


def test_key_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = generate_key(tmp_path / "k", "pw")
    keyring = Keyring([KeySource("k", "env:THE_KEY", key)], tmp_path, secret)
    with pytest.raises(KeyUnavailable, match="THE_KEY is not in the environment"):
        keyring.signer(key)
    monkeypatch.setenv("THE_KEY", (tmp_path / "k").read_text())
    verify(keyring, key)


@pytest.mark.parametrize("name", [p.stem for p in sorted(KEYSTORE.glob("*.pub"))])
def test_keys_of_the_legacy_tool(name: str) -> None:
    key = read_public_key(KEYSTORE / f"{name}.pub")
    verify(Keyring([KeySource(name, f"file:{name}")], KEYSTORE, secret), key)
    wrong = Keyring([KeySource(name, f"file:{name}", key)], KEYSTORE, lambda _: "wrong")
    with pytest.raises(KeyUnavailable, match=f"key {name}"):
        wrong.signer(key)


def test_key_id_is_the_one_in_metadata(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "k", None)
    named = SSlibKey("another-name", key.keytype, key.scheme, dict(key.keyval))
    keyring = Keyring([KeySource("k", "file:k")], tmp_path)
    assert keyring.name(named) == "k"
    signer = keyring.signer(named)
    assert signer is not None
    assert signer.sign(b"").keyid == "another-name"


def test_passwords_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = generate_key(tmp_path / "k", "pw")
    monkeypatch.delenv("TUF_PASSWORD", raising=False)
    with pytest.raises(KeyUnavailable, match=r"password of key k is needed: set TUF_PASSWORD"):
        Keyring([KeySource("k", "file:k")], tmp_path).signer(key)
    monkeypatch.setenv("TUF_PASSWORD", "pw")
    verify(Keyring([KeySource("k", "file:k")], tmp_path), key)


def test_keys_that_are_not_here(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "k", None)
    assert Keyring([KeySource("k", None, key)]).signer(key) is None
    assert Keyring().signer(key) is None
    (tmp_path / "k").unlink()
    for uri in ("file:k", "nonsense:1", "hsm:2"):
        with pytest.raises(KeyUnavailable, match="key k"):
            Keyring([KeySource("k", uri, key)], tmp_path).signer(key)
    with pytest.raises(ValueError, match="no key named 'x'; known are k"):
        Keyring([KeySource("k", None, key)]).public_key("x")


def test_keyring_that_is_sent_holds_no_secret(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "k", None)
    keyring = Keyring([KeySource("k", "file:k")], tmp_path)
    signer = keyring.signer(key)
    assert signer is not None
    verify(pickle.loads(pickle.dumps(keyring)), key)
    with pytest.raises(TypeError, match="by URI"):
        pickle.dumps(Keyring(signers=[signer]))
    verify(Keyring(signers=[signer]), key)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"keytype": 1}', b"\xff"])
def test_bad_public_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "k.pub").write_bytes(content)
    with pytest.raises(ValueError, match="not a public key"):
        read_public_key(tmp_path / "k.pub")


# A token, and a cloud.


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new PKCS#11 token with an ECDSA key; its URI."""
    pkcs11 = pytest.importorskip("pkcs11", reason="needs python-pkcs11: install tuf[hsm]")
    library = next(iter(sorted(Path("/usr/lib").glob("**/libsofthsm2.so"))), None)
    if library is None or shutil.which("softhsm2-util") is None:
        pytest.skip("needs SoftHSM: install the package softhsm2")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm.conf"))
    monkeypatch.setenv("PYKCS11LIB", str(library))
    command = ["softhsm2-util", "--init-token", "--free", "--label", "tuf"]
    subprocess.run([*command, "--pin", PIN, "--so-pin", PIN], check=True, capture_output=True)
    found = pkcs11.lib(str(library)).get_token(token_label="tuf")
    with found.open(user_pin=PIN, rw=True) as session:
        curve = pkcs11.util.ec.encode_named_curve_parameters("secp256r1")
        parameters = session.create_domain_parameters(
            pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: curve}, local=True
        )
        parameters.generate_keypair(
            mechanism=pkcs11.Mechanism.EC_KEY_PAIR_GEN, id=b"\2", label="k", store=True
        )
    uri, key = HSMSigner.import_(2, "tuf", lambda _: PIN)
    write_public_key(tmp_path / "hsm.pub", key)
    return uri


def policy_with(world: World, role: str, uri: str, public: str) -> None:
    """Let a role of a new repository begin with a key that is elsewhere."""
    text = (
        "[keys]\nroot = { uri = 'file:keys/root' }\nonline = { uri = 'file:keys/online' }\n"
        f"other = {{ uri = '{uri}', public = '{public}' }}\n"
        + "".join(
            f"[roles.{name}]\nkeys = ['{'other' if name == role else 'online'}']\n"
            for name in ("root", "targets", "snapshot", "timestamp")
        )
    )
    world.policy = type(world.policy).from_text(text, world.directory)


def test_hardware_token_signs_the_root(empty: World, token: str) -> None:
    policy_with(empty, "root", token, "hsm.pub")
    keyring = empty.policy.keyring(lambda _: PIN)
    repository = ManagedRepository(empty.store, empty.policy, keyring)
    assert repository.create().versions["root"] == 1
    empty.check({"a": None})


def sign_digest(key: utils.ECDSAPrivateKey, digest: bytes, _algorithm: str) -> bytes:
    return key.private_key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # This server does not know yet that what it is handed is a digest.
    monkeypatch.setattr(utils.ECDSAPrivateKey, "sign", sign_digest)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    yield
    server.stop()


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
def test_cloud_key_signs_the_timestamp(empty: World, kms: None) -> None:
    spec = {"KeyUsage": "SIGN_VERIFY", "KeySpec": "ECC_NIST_P256"}
    keyid = boto3.client("kms").create_key(**spec)["KeyMetadata"]["KeyId"]
    uri, key = AWSSigner.import_(keyid)
    write_public_key(empty.directory / "kms.pub", key)
    policy_with(empty, "timestamp", uri, "kms.pub")
    empty.create()
    empty.publish(AddTarget("a", data=b"hello"))
    empty.check({"a": b"hello"})

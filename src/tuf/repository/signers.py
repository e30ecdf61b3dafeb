"""Key URIs -> signers: where the private keys are, and how they are made and read.

==============  =====================================================  ========================
URI             the private key                                        needs
==============  =====================================================  ========================
``file:PATH``   a file: PKCS#8 in PEM, plain or encrypted; or one that  the password, if encrypted
                the legacy tool made
``env:NAME``    the environment variable ``NAME`` holds it, in PEM      the password, if encrypted
``awskms:ID``   AWS KMS                                                 ``tuf[aws]``
``gcpkms:ID``   Google Cloud KMS                                        ``tuf[gcp]``
``azurekms:``   Azure Key Vault                                         ``tuf[azure]``
``hv:NAME/1``   HashiCorp Vault                                         ``tuf[vault]``
``hsm:2``       a PKCS#11 token; its library is ``$PYKCS11LIB``         ``tuf[hsm]``, the PIN
``sigstore:``   Sigstore: an identity, no key                           ``tuf[sigstore]``
==============  =====================================================  ========================

All but the first two are securesystemslib's own, and so is any other that is registered with it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from tuf.api import _json
from tuf.api._keys import (
    CryptoSigner,
    Key,
    Signer,
    SigstoreSigner,
    SSlibKey,
    key_from_dict,
    key_material,
)
from tuf.api.serialization import DeserializationError

#: Asks for a secret; it is told what for.
Secrets = Callable[[str], str]

_GENERATE: dict[str, Callable[[], CryptoSigner]] = {
    "ed25519": CryptoSigner.generate_ed25519,
    "ecdsa": CryptoSigner.generate_ecdsa,
    "rsa": CryptoSigner.generate_rsa,
    "ml-dsa": CryptoSigner.generate_mldsa,
}
_LEGACY_SEPARATOR = b"@@@@"


class KeyUnavailable(Exception):
    """A private key cannot be used: no such file, a wrong password, a service that refuses."""


def secret_from_environment(what: str) -> str:
    """The default for secrets: the environment variable ``TUF_PASSWORD``.

    Raises:
        KeyUnavailable: it is not set.
    """
    if (secret := os.environ.get("TUF_PASSWORD")) is None:
        raise KeyUnavailable(f"{what} is needed: set TUF_PASSWORD, or hand in a function for it")
    return secret


def generate_key(
    path: str | os.PathLike[str], password: str | None, keytype: str = "ed25519"
) -> Key:
    """Make a key pair: the private key in a file of mode 0600, the public one beside it.

    Args:
        path: the file of the private key; the public key's is the same with ``.pub``. Neither
            may be there already.
        password: encrypts the private key; None leaves it plain.
        keytype: ``ed25519``, ``ecdsa``, ``rsa`` or ``ml-dsa``.

    Returns:
        The public key.

    Raises:
        ValueError: the type is not one of these, or the password is empty.
        FileExistsError: a file is there already.
    """
    if keytype not in _GENERATE:
        raise ValueError(f"key type {keytype!r} is not one of {', '.join(_GENERATE)}")
    if password == "":
        raise ValueError("the password is empty; for a key that is not encrypted, say None")
    signer = _GENERATE[keytype]()
    private: Any = load_pem_private_key(signer.private_bytes, None)
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    _write_new(Path(path), pem, 0o600)
    write_public_key(f"{os.fspath(path)}.pub", signer.public_key)
    return signer.public_key


def _write_new(path: Path, data: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)


def write_public_key(path: str | os.PathLike[str], key: Key) -> None:
    """Write a public key into a new file.

    Raises:
        FileExistsError: the file is there already.
    """
    data = _json.compact({"keyid": key.keyid, **key.to_dict()})
    _write_new(Path(path), _json.indented(data) + b"\n", 0o644)


def read_public_key(path: str | os.PathLike[str]) -> Key:
    """Read a public key: one of :func:`write_public_key`, a PEM file, or a legacy tool's.

    Raises:
        ValueError: the file holds none.
        OSError: it cannot be read.
    """
    data = Path(path).read_bytes()
    if data.lstrip().startswith(b"-----BEGIN "):
        public: Any = load_pem_public_key(data)
        return SSlibKey.from_crypto(public)
    try:
        wire = _json.parse(data)
        keyid = wire.pop("keyid", None)
        if keyid is None:
            # The legacy tool computed key ids of all members.
            keyid = hashlib.sha256(_json.canonical({**wire, "keyval": wire["keyval"]})).hexdigest()
        return key_from_dict(keyid, wire)
    except (DeserializationError, KeyError, TypeError, AttributeError) as e:
        raise ValueError(f"{path} is not a public key: {e}") from e


def _private_key(data: bytes, what: str, secrets: Secrets) -> Any:
    """Read a private key of any of the formats."""
    if _LEGACY_SEPARATOR in data:
        data = _decrypt_legacy(data, secrets(f"password of {what}").encode())
        wire = _json.parse(data)
        private = wire["keyval"]["private"]
        if wire["keytype"] == "ed25519":
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

            return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private))
        return load_pem_private_key(private.encode(), None)
    encrypted = b"ENCRYPTED" in data
    password = secrets(f"password of {what}").encode() if encrypted else None
    return load_pem_private_key(data, password)


def _decrypt_legacy(data: bytes, password: bytes) -> bytes:
    """Open a file of the legacy tool: PBKDF2, AES-256 in counter mode, and an HMAC."""
    salt, iterations, mac, iv, ciphertext = data.split(_LEGACY_SEPARATOR)
    if not iterations.isdigit() or int(iterations) > 10_000_000:
        raise ValueError(f"{iterations!r:.40} iterations")
    key = hashlib.pbkdf2_hmac("sha256", password, bytes.fromhex(salt.decode()), int(iterations), 32)
    encrypted = bytes.fromhex(ciphertext.decode())
    if not hmac.compare_digest(hmac.digest(key, encrypted, "sha256").hex().encode(), mac):
        raise ValueError("wrong password, or the file was changed")
    decryptor = Cipher(algorithms.AES(key), modes.CTR(bytes.fromhex(iv.decode()))).decryptor()
    return decryptor.update(encrypted) + decryptor.finalize()


@dataclass(frozen=True)
class KeySource:
    """Where a key is.

    Args:
        name: what people call it.
        uri: where the private key is; None for a key that somebody else holds.
        public: the public key; None to derive it from the private key in a file.
    """

    name: str
    uri: str | None
    public: Key | None = None


class Keyring:
    """The private keys that can be used here. They are opened when they are needed.

    A keyring without ``signers`` can be sent to another process: it holds no secret.

    Args:
        sources: where keys are.
        directory: what relative paths in URIs are relative to.
        secrets: asks for passwords and PINs.
        signers: keys that are open already.
    """

    def __init__(
        self,
        sources: Iterable[KeySource] = (),
        directory: str | os.PathLike[str] = ".",
        secrets: Secrets = secret_from_environment,
        signers: Iterable[Signer] = (),
    ) -> None:
        self._directory = Path(directory).absolute()
        self._secrets = secrets
        self._sources = {source.name: source for source in sources}
        self._given = {signer.public_key.keyid: signer for signer in signers}
        self._opened: dict[str, Signer] = {}
        self._material: dict[bytes, str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        if self._given:
            raise TypeError("open signers cannot go to another process: name keys by URI")
        return {**self.__dict__, "_opened": {}}

    def public_key(self, name: str) -> Key:
        """The public key of that name.

        Raises:
            ValueError: there is no such name.
            KeyUnavailable: the key cannot be read.
        """
        if name not in self._sources:
            known = ", ".join(self._sources) or "none"
            raise ValueError(f"there is no key named {name!r}; known are {known}")
        source = self._sources[name]
        if source.public is not None:
            return source.public
        path = self._file(source)
        if path is not None and Path(f"{path}.pub").exists():
            try:
                return read_public_key(f"{path}.pub")
            except (OSError, ValueError) as e:
                raise KeyUnavailable(f"key {name} ({path}.pub): {e}") from e
        return SSlibKey.from_crypto(self._read(source).public_key())

    def name(self, key: Key) -> str | None:
        """What a key is called here; None if it is not known."""
        return self._by_material().get(key_material(key) or b"")

    def has(self, key: Key) -> bool:
        """Whether the private key should be here. It is not opened."""
        name = self.name(key)
        return key.keyid in self._given or (
            name is not None and self._sources[name].uri is not None
        )

    def signer(self, key: Key) -> Signer | None:
        """The signer of a public key, whatever key id that has; None if it is not here.

        Raises:
            KeyUnavailable: it should be here, but cannot be opened.
        """
        if key.keyid in self._given:
            return self._given[key.keyid]
        if key.keyid not in self._opened:
            name = self.name(key)
            if name is None or self._sources[name].uri is None:
                return None
            self._opened[key.keyid] = self._open(self._sources[name], key)
        return self._opened[key.keyid]

    def _by_material(self) -> dict[bytes, str]:
        if self._material is None:
            keys = {name: self.public_key(name) for name in self._sources}
            self._material = {key_material(key) or b"": name for name, key in keys.items()}
        return self._material

    def _file(self, source: KeySource) -> Path | None:
        scheme, _, path = (source.uri or "").partition(":")
        return self._directory / path if scheme == "file" else None

    def _open(self, source: KeySource, key: Key) -> Signer:
        uri = source.uri or ""
        scheme = uri.partition(":")[0]
        try:
            if scheme in ("file", "env"):
                # The key id in metadata is a name: it need not be the one computed here.
                return CryptoSigner(self._read(source), _named(key))
            if scheme == "sigstore":
                return SigstoreSigner.from_priv_key_uri(uri, key, self._secrets)
            return Signer.from_priv_key_uri(uri, key, self._secrets)
        except KeyUnavailable:
            raise
        except Exception as e:  # what may fail is up to each signer
            raise KeyUnavailable(f"key {source.name} ({uri}): {e}") from e

    def _read(self, source: KeySource) -> Any:
        path = self._file(source)
        try:
            if path is not None:
                return _private_key(path.read_bytes(), f"key {source.name}", self._secrets)
            variable = (source.uri or "").removeprefix("env:")
            if variable not in os.environ:
                raise KeyUnavailable(f"key {source.name}: {variable} is not in the environment")
            data = os.environ[variable].encode()
            return _private_key(data, f"key {source.name}", self._secrets)
        except (OSError, ValueError, TypeError, KeyError, DeserializationError) as e:
            raise KeyUnavailable(f"key {source.name} ({source.uri}): {e}") from e


def _named(key: Key) -> SSlibKey:
    """The key as the signer wants it, with the key id that it has in metadata."""
    return SSlibKey(key.keyid, key.keytype, key.scheme, dict(key.keyval))

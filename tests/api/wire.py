"""Wire objects, keys and a canonical encoder for the tests of the metadata API.

Every builder returns a new, valid JSON object; keyword arguments replace its members, and
``MISSING`` leaves a member out.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

MISSING: Any = ...

DATA = Path(__file__).parents[1] / "data"
EXPIRES = "2040-01-01T00:00:00Z"
SHA256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # of b"hello"

#: What a reader may raise when it is handed an object that is not of its kind.
MALFORMED = (ValueError, KeyError, TypeError, AttributeError)


@cache
def signer(number: int = 0) -> CryptoSigner:
    """Ed25519 signers, the same in each run."""
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(bytes([number + 1]) * 32))


def keyid(number: int = 0) -> str:
    return str(signer(number).public_key.keyid)


def _built(members: dict[str, Any], changes: dict[str, Any], /) -> dict[str, Any]:
    merged = json.loads(json.dumps(members)) | changes
    return {name: value for name, value in merged.items() if value is not MISSING}


def key(number: int = 0, **changes: Any) -> dict[str, Any]:
    return _built(signer(number).public_key.to_dict(), changes)


def role(**changes: Any) -> dict[str, Any]:
    return _built({"keyids": [keyid()], "threshold": 1}, changes)


def delegated_role(**changes: Any) -> dict[str, Any]:
    return _built({"name": "project", **role(), "terminating": False, "paths": ["a/*"]}, changes)


def succinct_roles(**changes: Any) -> dict[str, Any]:
    return _built({**role(), "bit_length": 4, "name_prefix": "bin"}, changes)


def delegations(**changes: Any) -> dict[str, Any]:
    return _built({"keys": {keyid(): key()}, "roles": [delegated_role()]}, changes)


def meta_file(**changes: Any) -> dict[str, Any]:
    return _built({"version": 1}, changes)


def target_file(**changes: Any) -> dict[str, Any]:
    return _built({"length": 5, "hashes": {"sha256": SHA256}}, changes)


def _signed(kind: str, members: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    common = {"_type": kind, "spec_version": "1.0.34", "version": 3, "expires": EXPIRES}
    return _built(common | members, changes)


def root(**changes: Any) -> dict[str, Any]:
    roles = {name: role() for name in ("root", "timestamp", "snapshot", "targets")}
    members = {"consistent_snapshot": True, "keys": {keyid(): key()}, "roles": roles}
    return _signed("root", members, changes)


def timestamp(**changes: Any) -> dict[str, Any]:
    return _signed("timestamp", {"meta": {"snapshot.json": meta_file()}}, changes)


def snapshot(**changes: Any) -> dict[str, Any]:
    return _signed("snapshot", {"meta": {"targets.json": meta_file()}}, changes)


def targets(**changes: Any) -> dict[str, Any]:
    return _signed("targets", {"targets": {"a/b.txt": target_file()}}, changes)


def metadata(signed: Any, **changes: Any) -> dict[str, Any]:
    signatures = [{"keyid": keyid(), "sig": "ab" * 64}]
    return _built({"signatures": signatures}, {"signed": signed, **changes})


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def canonical(value: Any) -> bytes:
    """The canonical form, written for the tests alone: short, slow, and by the book."""
    return _canonical(value).encode("utf-8")


def _canonical(value: Any) -> str:
    if isinstance(value, str):
        return '"' + "".join("\\" + c if c in '"\\' else c for c in value) + '"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: [ord(c) for c in name])
        return "{" + ",".join(f"{_canonical(n)}:{_canonical(value[n])}" for n in names) + "}"
    raise TypeError(f"{type(value)} has no canonical form")

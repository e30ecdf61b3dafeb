"""Who signed: verification by a delegator, keys added and revoked, chains of roots."""

import copy
import warnings
from datetime import datetime, timezone
from typing import Any

import pytest
from api import wire
from api.wire import DATA, keyid, signer
from securesystemslib.signer import Key, Signature, SSlibKey

from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    Root,
    RootVerificationResult,
    Snapshot,
    SuccinctRoles,
    Targets,
    Timestamp,
    VerificationResult,
)
from tuf.api.serialization import DeserializationError, SerializationError, SignedSerializer

YEAR_2040 = datetime(2040, 1, 1, tzinfo=timezone.utc)


def key(number: int = 0) -> Key:
    return signer(number).public_key


def new_root(role: str = "timestamp", keys: int = 2, threshold: int = 2, version: int = 1) -> Root:
    root = Root(version, expires=YEAR_2040)
    for number in range(keys):
        root.add_key(key(number), role)
    root.roles[role].threshold = threshold
    return root


def new_targets(role: str = "project") -> Targets:
    """Targets that delegate to ``role``, with one key."""
    targets = Targets(expires=YEAR_2040)
    targets.delegations = Delegations({}, {role: DelegatedRole(role, [], 1, False, ["*"])})
    targets.add_key(key(), role)
    return targets


def roles_of(targets: Targets) -> dict[str, DelegatedRole]:
    assert targets.delegations is not None
    assert targets.delegations.roles is not None
    return targets.delegations.roles


def new_timestamp(*signers: int) -> Metadata[Timestamp]:
    md = Metadata(Timestamp(expires=YEAR_2040))
    for number in signers:
        md.sign(signer(number), append=True)
    return md


# The results.


def test_verification_result() -> None:
    result = VerificationResult(2, {keyid(0): key(0)}, {keyid(1): key(1)})
    assert (result.verified, bool(result), result.missing) == (False, False, 1)
    assert (result.threshold, result.signed, result.unsigned) == (
        2,
        {keyid(0): key(0)},
        {keyid(1): key(1)},
    )
    more = VerificationResult(1, {keyid(0): key(0), keyid(1): key(1)}, {})
    assert (more.verified, bool(more), more.missing) == (True, True, 0)
    assert result == VerificationResult(2, dict(result.signed), dict(result.unsigned))
    assert result != more


def test_root_verification_result() -> None:
    one = VerificationResult(1, {"a": key(0)}, {"b": key(1)})
    two = VerificationResult(2, {"c": key(2)}, {"b": key(1)})
    both = RootVerificationResult(one, two)
    assert (both.first, both.second) == (one, two)
    assert (both.verified, bool(both)) == (False, False)
    assert (both.signed, both.unsigned) == ({"a": key(0), "c": key(2)}, {"b": key(1)})
    assert RootVerificationResult(one, one).verified
    assert bool(RootVerificationResult(one, one))
    assert not RootVerificationResult(two, one).verified


# Verification.


def test_verification_of_a_delegate() -> None:
    root = new_root()
    md = new_timestamp(0)
    result = root.get_verification_result("timestamp", md.signed_bytes, md.signatures)
    assert (result.verified, result.threshold, result.missing) == (False, 2, 1)
    assert (result.signed, result.unsigned) == ({keyid(0): key(0)}, {keyid(1): key(1)})
    with pytest.raises(UnsignedMetadataError, match=r"timestamp.*1/2"):
        root.verify_delegate("timestamp", md.signed_bytes, md.signatures)
    md.sign(signer(1), append=True)
    assert root.get_verification_result("timestamp", md.signed_bytes, md.signatures)
    root.verify_delegate("timestamp", md.signed_bytes, md.signatures)


def test_a_signature_over_other_bytes_does_not_count() -> None:
    md = new_timestamp(0, 1)
    md.signed.version += 1
    result = new_root().get_verification_result("timestamp", md.signed_bytes, md.signatures)
    assert (result.verified, result.signed, result.missing) == (False, {}, 2)


def test_no_signatures() -> None:
    result = new_root().get_verification_result("timestamp", b"", {})
    assert (result.verified, result.missing, len(result.unsigned)) == (False, 2, 2)


@pytest.mark.parametrize("delegator", [Root(), Targets(), new_targets()])
def test_a_role_that_is_not_delegated_to(delegator: Any) -> None:
    md = new_timestamp(0)
    for call in (delegator.verify_delegate, delegator.get_verification_result):
        with pytest.raises(ValueError, match=r"(?i)no delegations|not found"):
            call("other", md.signed_bytes, md.signatures)
    with pytest.raises(ValueError, match=r"(?i)no delegations|not found"):
        delegator.get_delegated_role("other")
    with pytest.raises(ValueError, match=r"(?i)no delegations|not found"):
        delegator.get_key("other")


def test_what_a_delegator_knows() -> None:
    root, targets = new_root(), new_targets()
    assert root.get_delegated_role("timestamp") is root.roles["timestamp"]
    assert (root.get_key(keyid()), targets.get_key(keyid())) == (key(), key())
    assert targets.get_delegated_role("project") is roles_of(targets)["project"]
    targets.delegations = Delegations({}, None, SuccinctRoles([], 1, 4, "bin"))
    assert targets.get_delegated_role("bin-f") is targets.delegations.succinct_roles
    with pytest.raises(ValueError, match="not found"):
        targets.get_delegated_role("bin-10")


def test_targets_verify_their_delegates() -> None:
    targets = new_targets()
    md = Metadata(Targets(expires=YEAR_2040))
    with pytest.raises(UnsignedMetadataError, match="project"):
        targets.verify_delegate("project", md.signed_bytes, md.signatures)
    md.sign(signer())
    targets.verify_delegate("project", md.signed_bytes, md.signatures)
    targets.delegations = Delegations({}, None, SuccinctRoles([], 1, 4, "bin"))
    targets.add_key(key())
    targets.verify_delegate("bin-0", md.signed_bytes, md.signatures)
    with pytest.raises(ValueError, match="bin-00"):
        targets.verify_delegate("bin-00", md.signed_bytes, md.signatures)


# Roots.


def test_a_root_needs_its_own_threshold_and_its_predecessors() -> None:
    old = new_root("root", keys=1, threshold=1)
    new = new_root("root", keys=2, threshold=2, version=2)
    md = Metadata(new)
    for number, verified in ((0, False), (1, True)):
        md.sign(signer(number), append=True)
        result = new.get_root_verification_result(old, md.signed_bytes, md.signatures)
        assert (result.verified, result.first.verified) == (verified, True)
    assert (result.first.threshold, result.second.threshold) == (1, 2)
    assert set(result.signed) == {keyid(0), keyid(1)}
    new.revoke_key(keyid(0), "root")
    new.roles["root"].threshold = 1
    md.sign(signer(1))
    result = new.get_root_verification_result(old, md.signed_bytes, md.signatures)
    assert (result.verified, result.first.verified, result.second.verified) == (False, False, True)


def test_the_first_root_verifies_itself() -> None:
    root = new_root("root")
    md = Metadata(root)
    md.sign(signer(0))
    md.sign(signer(1), append=True)
    result = root.get_root_verification_result(None, md.signed_bytes, md.signatures)
    assert (result.verified, result.first.threshold, result.second.threshold) == (True, 2, 2)


@pytest.mark.parametrize(("old", "new"), [(2, 1), (2, 2), (2, 4)])
def test_roots_are_compared_one_by_one(old: int, new: int) -> None:
    roots = [new_root("root", version=version) for version in (old, new)]
    with pytest.raises(ValueError, match="version"):
        roots[1].get_root_verification_result(roots[0], b"", {})


def sigstore(version: int) -> Metadata[Root]:
    return Metadata[Root].from_file(str(DATA / "sigstore-root-chain" / f"{version}.root.json"))


#: How many keys of the old and of the new root signed each version.
SIGSTORE = {6: (5, 5), 7: (4, 4), 8: (4, 4), 9: (5, 5), 10: (5, 5), 11: (5, 5), 12: (3, 3)}
SIGSTORE |= {13: (4, 5), 14: (4, 4), 15: (5, 5)}


@pytest.mark.parametrize("version", SIGSTORE)
@pytest.mark.filterwarnings("ignore:keytype 'ecdsa-sha2-nistp256':DeprecationWarning")
def test_the_chain_of_sigstore_roots(version: int) -> None:
    old, new = sigstore(version - 1), sigstore(version)
    result = new.signed.get_root_verification_result(old.signed, new.signed_bytes, new.signatures)
    assert result.verified
    assert (len(result.first.signed), len(result.second.signed)) == SIGSTORE[version]
    few = dict(list(new.signatures.items())[:2])
    assert not new.signed.get_root_verification_result(old.signed, new.signed_bytes, few)


def test_a_version_of_the_sigstore_roots_cannot_be_left_out() -> None:
    new = sigstore(7)
    with pytest.raises(ValueError, match="version"):
        new.signed.get_root_verification_result(
            sigstore(5).signed, new.signed_bytes, new.signatures
        )


def test_sigstore_replaced_its_keys_in_version_9_and_10() -> None:
    assert not set(sigstore(8).signed.roles["root"].keyids) & set(
        sigstore(10).signed.roles["root"].keyids
    )


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_roots_older_than_the_specification_are_refused(version: int) -> None:
    """They have dates of another format, keys that are not in PEM, or both."""
    with pytest.raises(DeserializationError, match=r"date format|PEM"):
        sigstore(version)


def test_sigstores_timestamp_is_read() -> None:
    path = DATA / "sigstore-root-chain" / "timestamp.json"
    assert Metadata[Timestamp].from_file(str(path)).signed.version == 762


@pytest.mark.parametrize("folder", ["legacy-0.19", "reference-7.0.1"])
def test_the_roots_of_other_implementations(folder: str) -> None:
    metadata = DATA / folder / "metadata"
    roots = [Metadata[Root].from_file(str(metadata / f"{n}.root.json")) for n in (1, 2)]
    old, new = roots
    assert old.signed.get_root_verification_result(None, old.signed_bytes, old.signatures)
    assert new.signed.get_root_verification_result(old.signed, new.signed_bytes, new.signatures)
    timestamp = Metadata[Timestamp].from_file(str(metadata / "timestamp.json"))
    new.signed.verify_delegate("timestamp", timestamp.signed_bytes, timestamp.signatures)


@pytest.mark.parametrize("path", sorted(DATA.glob("*-*/metadata/*.json")), ids=lambda p: p.name)
def test_the_metadata_of_other_implementations(path: Any) -> None:
    md = Metadata.from_file(str(path))
    received = wire.json.loads(path.read_bytes())
    assert md.to_dict() == received
    assert md.signed_bytes == wire.canonical(received["signed"])


# Keys of a root.


def test_add_key() -> None:
    root = Root()
    root.add_key(key(), "root")
    root.add_key(key(), "root")
    root.add_key(key(), "snapshot")
    assert root.keys == {keyid(): key()}
    assert root.roles["root"].keyids == root.roles["snapshot"].keyids == [keyid()]
    other = SSlibKey(keyid(), "ed25519", "ed25519", signer(1).public_key.keyval)
    root.add_key(other, "timestamp")
    assert root.keys == {keyid(): other}


def test_revoke_key() -> None:
    root = new_root("root", keys=2)
    root.add_key(key(), "snapshot")
    root.revoke_key(keyid(), "snapshot")
    assert set(root.keys) == {keyid(0), keyid(1)}
    root.revoke_key(keyid(), "root")
    assert (root.roles["root"].keyids, set(root.keys)) == ([keyid(1)], {keyid(1)})


def test_keys_of_a_root_that_cannot_be_changed() -> None:
    root = new_root("root")
    with pytest.raises(ValueError, match="project"):
        root.add_key(key(), "project")
    with pytest.raises(ValueError, match="project"):
        root.revoke_key(keyid(), "project")
    with pytest.raises(ValueError, match="snapshot"):
        root.revoke_key(keyid(), "snapshot")
    with pytest.raises(ValueError, match="no such key"):
        root.revoke_key("no such key", "root")
    with pytest.raises(ValueError, match=r"(?i)role"):
        root.add_key("root", key())  # type: ignore[arg-type]
    assert root == new_root("root")


# Keys of delegations.


def test_keys_without_delegations() -> None:
    for change in (lambda t: t.add_key(key(), "project"), lambda t: t.revoke_key("a", "project")):
        with pytest.raises(ValueError, match="project"):
            change(Targets())
    with pytest.raises(ValueError, match="None"):
        Targets().add_key(key())


def test_keys_of_delegated_roles() -> None:
    targets = new_targets()
    delegations, roles = targets.delegations, roles_of(targets)
    roles["other"] = DelegatedRole("other", [], 1, False, ["*"])
    targets.add_key(key(), "project")
    targets.add_key(key(), "other")
    assert delegations.keys == {keyid(): key()}
    assert roles["project"].keyids == [keyid()]
    before = copy.deepcopy(targets)
    for role in (None, "none such"):
        with pytest.raises(ValueError, match=str(role)):
            targets.add_key(key(1), role)
        with pytest.raises(ValueError, match=str(role)):
            targets.revoke_key(keyid(), role)
    with pytest.raises(ValueError, match="no such key"):
        targets.revoke_key("no such key", "project")
    assert targets == before
    targets.revoke_key(keyid(), "project")
    assert delegations.keys == {keyid(): key()}
    targets.revoke_key(keyid(), "other")
    assert delegations.keys == {}
    assert roles["other"].keyids == []


@pytest.mark.parametrize("role", [None, "bin-0", "ignored"])
def test_keys_of_succinct_roles(role: str | None) -> None:
    """All bins share their keys: the name is not looked at."""
    bins = SuccinctRoles([], 1, 4, "bin")
    delegations = Delegations({}, None, bins)
    targets = Targets(delegations=delegations)
    targets.add_key(key(), role)
    targets.add_key(key(), role)
    assert delegations.keys == {keyid(): key()}
    assert bins.keyids == [keyid()]
    with pytest.raises(ValueError, match="no such key"):
        targets.revoke_key("no such key", role)
    targets.revoke_key(keyid(), role)
    assert delegations.keys == {}
    assert bins.keyids == []


# The deprecated way.


class Fixed(SignedSerializer):
    """The same bytes for everything."""

    def serialize(self, _: Any) -> bytes:
        return b"fixed"


class Failing(SignedSerializer):
    """Not able to do anything."""

    def serialize(self, _: Any) -> bytes:
        raise SerializationError("out of ink")


def verify_delegate(delegator: Any, *arguments: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        Metadata(delegator).verify_delegate(*arguments)


def test_deprecated_verify_delegate() -> None:
    md = new_timestamp(0)
    for delegator, role in ((new_root(threshold=1), "timestamp"), (new_targets(), "project")):
        verify_delegate(delegator, role, md)
        with pytest.raises(ValueError, match="other"):
            verify_delegate(delegator, "other", md)
        with pytest.raises(UnsignedMetadataError, match=role):
            verify_delegate(delegator, role, new_timestamp(2))


def test_deprecated_verify_delegate_with_another_serializer() -> None:
    md = new_timestamp(0)
    with pytest.raises(UnsignedMetadataError):
        verify_delegate(new_targets(), "project", md, Fixed())
    with pytest.raises(SerializationError, match="out of ink"):
        verify_delegate(new_targets(), "project", md, Failing())
    md.signatures = {keyid(): Signature(keyid(), signer().sign(b"fixed").signature)}
    verify_delegate(new_targets(), "project", md, Fixed())


@pytest.mark.parametrize("kind", [Timestamp, Snapshot])
def test_deprecated_verify_delegate_is_for_delegators(kind: Any) -> None:
    with pytest.raises(TypeError):
        verify_delegate(kind(), "timestamp", new_timestamp(0))


def test_deprecated_verify_delegate_warns() -> None:
    with pytest.warns(DeprecationWarning, match="verify_delegate"):
        Metadata(new_root(threshold=1)).verify_delegate("timestamp", new_timestamp(0))

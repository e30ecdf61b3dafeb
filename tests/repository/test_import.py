"""Repositories that were made elsewhere, imported, and gone on with."""

import shutil
from datetime import datetime, timezone
from pathlib import Path

import pytest
from repository.world import World
from servers import Server

from tuf.api.exceptions import (
    BadVersionNumberError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata, Root
from tuf.ngclient import Updater
from tuf.repository import (
    AddTarget,
    Delegate,
    DirectoryStore,
    Policy,
    Renew,
    RevokeKey,
    RotateKey,
    SetBins,
    Undelegate,
)
from tuf.repository.importing import import_repository, policy_text

DATA = Path(__file__).parents[1] / "data"
LEGACY = DATA / "legacy-0.19"
REFERENCE = DATA / "reference-7.0.1"
OLD = {name: (LEGACY / "targets" / name).read_bytes() for name in ("file1.txt", "file2.txt")}
PROJECT = {"project/file3.txt": (LEGACY / "targets/project/file3.txt").read_bytes()}


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUF_PASSWORD", "pw")


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    """A repository of the legacy tool that may be changed."""
    return Path(shutil.copytree(LEGACY, tmp_path / "legacy"))


def take_over(world: World, source: Path, keys: str) -> World:
    """Import a repository, and go on with the policy that this begins."""
    import_repository(source, world.store)
    text = policy_text(world.store, source / keys)
    world.policy = Policy.from_text(text, world.directory)
    return world


def begin(world: World, source: Path) -> None:
    """Let the client update from the repository where it was made, so that it remembers that."""
    directory = world.directory / "client"
    directory.mkdir()
    with Server(source) as server:
        client = Updater(
            str(directory),
            f"{server.url}/metadata/",
            bootstrap=(source / "metadata/1.root.json").read_bytes(),
        )
        client.refresh()


def test_legacy_repository_goes_on(empty: World) -> None:
    begin(empty, LEGACY)
    world = take_over(empty, LEGACY, "keystore")
    world.repository.use_consistent_snapshots()
    assert world.repository.state().root.consistent_snapshot
    world.check({**OLD, **PROJECT})

    world.publish(
        AddTarget("new.txt", data=b"new"),
        AddTarget("project/new.txt", data=b"project", role="project"),
    )
    world.check({**OLD, **PROJECT, "new.txt": b"new", "project/new.txt": b"project"})
    root = world.repository.state().root
    for number, role in enumerate(("timestamp", "snapshot", "targets", "root")):
        old = root.roles[role].keyids[0]
        world.publish(RotateKey(role, old, world.key(f"new-{number}")))
        world.check({**OLD, "new.txt": b"new"})
    key = world.key("elsewhere")
    world.publish(Delegate("project", (key,), ("project/*",)))
    world.check({**OLD, **PROJECT, "new.txt": b"new", "project/new.txt": b"project"})
    assert [f for f in world.repository.audit(hashes=True) if f.severity != "note"] == []


def test_reference_repository_goes_on(empty: World) -> None:
    begin(empty, REFERENCE)
    world = take_over(empty, REFERENCE, "keys")
    with world.client() as client:
        found = client.get_targetinfo("packages/pkg-24/pkg-24-1.0.tar.gz")
        assert found is not None
        old: dict[str, bytes | None] = {
            found.path: Path(client.download_target(found)).read_bytes()
        }

    done = world.publish(AddTarget("packages/new", data=b"new"))
    assert sorted(name.partition("-")[0] for name in done.versions) == [
        "bin",
        "snapshot",
        "timestamp",
    ]
    world.check({**old, "packages/new": b"new"})
    bin_key = world.repository.state().targets("targets").signed.delegations.succinct_roles.keyids
    world.publish(RotateKey("bin", bin_key[0], world.key("bins")))
    world.publish(SetBins(bits=4))
    root = world.repository.state().root
    world.publish(RotateKey("root", root.roles["root"].keyids[0], world.key("new-root")))
    world.check({**old, "packages/new": b"new"})
    assert [f for f in world.repository.audit(hashes=True) if f.severity != "note"] == []


def test_import_in_place(empty: World, legacy: Path) -> None:
    shutil.copytree(legacy / "metadata", empty.directory / "repo/metadata")
    shutil.copytree(legacy / "targets", empty.directory / "repo/targets")
    import_repository(empty.directory / "repo", empty.store)
    empty.policy = Policy.from_text(policy_text(empty.store, LEGACY / "keystore"))

    empty.repository.use_consistent_snapshots()
    empty.publish(AddTarget("new", data=b"new"))

    empty.check({**OLD, **PROJECT, "new": b"new"})


def test_import_again_changes_nothing(empty: World) -> None:
    first = import_repository(LEGACY, empty.store)
    before = empty.file("")
    assert first.versions == {
        "root": 2,
        "timestamp": 1,
        "snapshot": 1,
        "targets": 1,
        "project": 1,
    }
    assert (first.targets, first.missing) == (3, ())

    assert not import_repository(LEGACY, empty.store)
    assert empty.file("") == before


def test_import_is_completed_if_it_was_interrupted(empty: World) -> None:
    import_repository(LEGACY, empty.store)
    whole = empty.file("")
    names = list(whole)
    for count in range(1, len(names)):
        # Killed before the timestamp, whatever of the rest was written.
        empty.store.delete("metadata/timestamp.json")
        for name in names[:count]:
            empty.store.delete(name)
        import_repository(LEGACY, empty.store)
        assert empty.file("") == whole


def test_import_does_not_undo_what_was_published(empty: World) -> None:
    world = take_over(empty, REFERENCE, "keys")
    world.publish(AddTarget("new", data=b"new"))
    before = world.file("")

    with pytest.raises(BadVersionNumberError, match="timestamp is version 1, the store has 2"):
        import_repository(REFERENCE, world.store)
    assert world.file("") == before


DAMAGES: list[tuple[str, bytes, bytes, type[Exception]]] = [
    ("metadata/1.root.json", b'"sig": "fb', b'"sig": "fc', UnsignedMetadataError),
    ("metadata/2.root.json", b"2040", b"2041", UnsignedMetadataError),
    ("metadata/timestamp.json", b"2040", b"2041", UnsignedMetadataError),
    ("metadata/snapshot.json", b"2040", b"2041", LengthOrHashMismatchError),
    ("metadata/targets.json", b"0644", b"0777", UnsignedMetadataError),
    ("metadata/project.json", b": 11", b": 12", UnsignedMetadataError),
    ("targets/file2.txt", OLD["file2.txt"], b"no file 2", LengthOrHashMismatchError),
    ("targets/project/file3.txt", b"three", b"four", LengthOrHashMismatchError),
]


@pytest.mark.parametrize(("name", "good", "bad", "error"), DAMAGES)
def test_nothing_is_written_of_what_is_not_valid(
    empty: World,
    legacy: Path,
    name: str,
    good: bytes,
    bad: bytes,
    error: type[Exception],
) -> None:
    data = (legacy / name).read_bytes()
    assert good in data
    (legacy / name).write_bytes(data.replace(good, bad, 1))

    with pytest.raises(error):
        import_repository(legacy, empty.store)

    assert not (empty.directory / "repo").exists()


def test_metadata_that_is_not_there(empty: World, legacy: Path) -> None:
    (legacy / "metadata/project.json").unlink()
    with pytest.raises(RepositoryError, match=r"project\.json is not there"):
        import_repository(legacy, empty.store)
    assert empty.file("") == {}


def test_root_is_compared(empty: World) -> None:
    other = (REFERENCE / "metadata/1.root.json").read_bytes()
    with pytest.raises(RepositoryError):
        import_repository(LEGACY, empty.store, other)
    assert empty.file("") == {}


def test_targets_without_files_are_told(empty: World, legacy: Path) -> None:
    (legacy / "targets/file1.txt").unlink()
    assert import_repository(legacy, empty.store).missing == ("file1.txt",)


def test_expired_repository_is_imported_and_renewed(empty: World) -> None:
    empty.now = datetime(2041, 1, 1, tzinfo=timezone.utc)
    world = take_over(empty, LEGACY, "keystore")
    world.repository.use_consistent_snapshots()

    renewed = world.repository.renew().versions

    assert set(renewed) == {"project", "targets", "snapshot", "timestamp"}
    assert [f for f in world.repository.audit() if f.severity != "note"] == []


def test_policy_of_an_imported_repository(empty: World) -> None:
    import_repository(LEGACY, empty.store)
    text = policy_text(empty.store, LEGACY / "keystore")

    policy = Policy.from_text(text)

    assert set(policy.keys) == {
        "root",
        "root2",
        "root3",
        "targets",
        "snapshot",
        "timestamp",
        "project",
    }
    assert set(policy.role("root").keys) == {"root", "root2", "root3"}
    assert policy.role("root").threshold == 2
    assert policy.role("snapshot").keys == ("snapshot",)
    root: Metadata[Root] = Metadata.from_file(str(LEGACY / "metadata/2.root.json"))
    for key in root.signed.keys.values():
        assert policy.keyring().has(key)
        assert f"{key.keytype} key {key.keyid}" in text


def test_policy_without_keys_is_valid(empty: World) -> None:
    import_repository(LEGACY, empty.store)

    policy = Policy.from_text(policy_text(empty.store))

    assert (policy.keys, policy.role("root").keys) == ({}, ())
    with pytest.raises(RepositoryError, match="no repository"):
        policy_text(DirectoryStore(empty.directory / "nothing"))


def test_root_keys_elsewhere_leave_a_draft(empty: World) -> None:
    world = take_over(empty, LEGACY, "keystore")
    keys = world.policy
    for name in ("root", "root2", "root3"):
        world.lose(name)

    done = world.repository.use_consistent_snapshots()

    assert done.drafts == {"root": 2}
    assert not world.repository.state().root.consistent_snapshot
    with pytest.raises(RepositoryError, match="root version 2 says no consistent snapshots"):
        world.publish(AddTarget("new", data=b"new"))
    world.policy = keys
    world.repository.sign("root")
    world.publish(AddTarget("new", data=b"new"))
    world.check({**OLD, "new": b"new"})


def test_revoked_role_without_a_file(empty: World, tmp_path: Path) -> None:
    # What nobody delegates to can't be verified, and is not imported, but stays in the snapshot.
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other")
    other.create()
    key = other.key("online")
    other.publish(Delegate("app", (key,), ("app/*",)), AddTarget("app/a", data=b"a", role="app"))
    other.publish(Undelegate("app"))
    world = World(tmp_path)
    import_repository(other.directory / "repo", world.store)
    world.policy = other.policy
    assert world.store.read("metadata/2.app.json") is None

    world.publish(Delegate("app", (key,), ("app/*",)), AddTarget("app/b", data=b"b", role="app"))

    world.check({"app/b": b"b", "app/a": None})
    world.publish(Renew("app"), RevokeKey("targets", "0" * 64))
    world.check({"app/b": b"b"})

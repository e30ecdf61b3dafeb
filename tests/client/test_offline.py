"""Clients without a network, without a writable disk, or without a disk at all."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tuf.api.exceptions import (
    ExpiredMetadataError,
    LocalFileError,
    LocalFileNotFoundError,
    OfflineError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata
from tuf.ngclient import Updater, UpdaterConfig
from world import TOP_LEVEL, PopulatedWorld, World, new_keys, reorder

ROLES = (*TOP_LEVEL, "d")


@pytest.fixture
def world(tmp_path: Path) -> PopulatedWorld:
    """A machine has updated, and has the target; the repository is ahead of it."""
    world = PopulatedWorld(tmp_path)
    world.rotate("root")
    world.rotate("timestamp")
    world.update()
    world.client().download_target(world.targets("d").targets["d/file"])
    world.publish("targets", "d")
    return world


def files(directory: Path) -> dict[Path, tuple[int, bytes]]:
    """All files of a directory, with what changes when one is replaced by its like."""
    found = [file for file in directory.rglob("*") if file.is_file()]
    return {file: (file.stat().st_ino, file.read_bytes()) for file in found}


def offline(world: World, **config: Any) -> Updater:
    return world.client(offline=True, **config)


# -- offline


@pytest.mark.parametrize("bootstrap", [True, None])
def test_offline_uses_the_cache_alone(world: PopulatedWorld, bootstrap: bool | None) -> None:
    before = files(world.base)

    def use() -> None:
        client = offline(world, bootstrap=bootstrap)
        client.refresh()
        client.refresh()
        target = client.get_targetinfo("d/file")
        assert target is not None
        assert client.get_targetinfo("none") is None
        assert client.all_targets() == [target]
        path = client.find_cached_target(target)
        assert path is not None
        assert Path(path).read_bytes() == b"content"
        assert client.download_target(target) == path
        assert client.download_targets(["d/file"]) == {"d/file": path}

    assert world.asked(use) == []
    assert files(world.base) == before


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "d"])
def test_offline_without_a_file(world: PopulatedWorld, role: str) -> None:
    world.cache_file(role).unlink()
    world.requests.clear()
    with pytest.raises(OfflineError, match=role):
        offline(world).get_targetinfo("d/file")
    assert world.requests == []
    world.update()


def test_offline_without_a_root(world: PopulatedWorld, tmp_path: Path) -> None:
    with pytest.raises(LocalFileNotFoundError):
        offline(world, machine="new", bootstrap=None)
    client = offline(world, machine="new")
    with pytest.raises(OfflineError):
        client.refresh()
    assert files(tmp_path / "new") == {}


def test_offline_without_the_target(world: PopulatedWorld) -> None:
    client = offline(world)
    target = client.get_targetinfo("d/file")
    assert target is not None
    file = world.target_dir() / "d%2Ffile"
    for content in (b"CONTENT", b"content!", b"", None):
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        assert client.find_cached_target(target) is None
        assert client.updated_targets([target]) == [target]
        for download in (client.download_target, client.read_target, client.open_target):
            with pytest.raises(OfflineError):
                download(target)
        with pytest.raises(OfflineError):
            client.download_targets([target])
    assert not file.exists()


def resign(world: World, role: str, **changes: Any) -> bytes:
    """What the cache has of a role, altered, and signed by the role's own keys."""
    metadata = Metadata.from_bytes(world.cached(role) or b"")
    for name, value in changes.items():
        setattr(metadata.signed, name, value)
    metadata.signatures.clear()
    for signer in world.signers[role]:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def forge(world: World, role: str) -> bytes:
    metadata = Metadata.from_bytes(world.cached(role) or b"")
    metadata.sign(new_keys()[0])
    return metadata.to_bytes()


TAMPERED: list[tuple[str, Callable[[World, str], bytes], type[Exception]]] = [
    ("signed by others", forge, UnsignedMetadataError),
    ("truncated", lambda world, role: (world.cached(role) or b"")[:-10], RepositoryError),
    ("empty", lambda *_: b"", RepositoryError),
    ("no metadata", lambda *_: b"\0\xff", RepositoryError),
    ("other role", lambda w, r: w.cached("d" if r != "d" else "snapshot") or b"", RepositoryError),
]


@pytest.mark.parametrize(
    ("tamper", "error"), [pytest.param(*rest, id=name) for name, *rest in TAMPERED]
)
@pytest.mark.parametrize("role", ROLES)
def test_offline_checks_what_the_cache_has(
    tmp_path: Path, role: str, tamper: Callable[[World, str], bytes], error: type[Exception]
) -> None:
    # Without hashes, it is the signatures that count.
    world = PopulatedWorld(tmp_path, meta_hashes=False)
    world.update()
    world.cache_file(role).write_bytes(tamper(world, role))
    with pytest.raises(error):
        offline(world, bootstrap=None).get_targetinfo("d/file")
    with pytest.raises(error):
        offline(world, bootstrap=None).all_targets()


@pytest.mark.parametrize("role", ["snapshot", "targets", "d"])
def test_offline_checks_hashes(world: PopulatedWorld, role: str) -> None:
    world.cache_file(role).write_bytes(reorder(world.cached(role) or b""))
    with pytest.raises(RepositoryError):
        offline(world).get_targetinfo("d/file")


@pytest.mark.parametrize("role", ["snapshot", "targets", "d"])
@pytest.mark.parametrize("difference", [-1, 1])
def test_offline_checks_versions(tmp_path: Path, role: str, difference: int) -> None:
    world = PopulatedWorld(tmp_path, meta_hashes=False)
    world.update()
    version = (world.cached_version(role) or 0) + difference
    world.cache_file(role).write_bytes(resign(world, role, version=version))
    with pytest.raises(RepositoryError, match=role):
        offline(world).get_targetinfo("d/file")


def test_offline_checks_thresholds(tmp_path: Path) -> None:
    world = PopulatedWorld(tmp_path, meta_hashes=False)
    world.rotate("targets", keys=2, threshold=2)
    world.update()
    _, other = world.signers["targets"]
    world.signers["targets"] = [other, other]
    world.cache_file("targets").write_bytes(resign(world, "targets"))
    with pytest.raises(UnsignedMetadataError):
        offline(world).refresh()


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "d"])
def test_offline_checks_expiry(tmp_path: Path, role: str) -> None:
    world = PopulatedWorld(tmp_path, meta_hashes=False)
    world.update()
    world.age(role)
    with pytest.raises(ExpiredMetadataError, match=role):
        offline(world).get_targetinfo("d/file")


def test_offline_checks_expiry_of_root(world: PopulatedWorld) -> None:
    world.expire("root")
    with pytest.raises(ExpiredMetadataError):
        world.update()
    with pytest.raises(ExpiredMetadataError):
        offline(world).refresh()


@pytest.mark.parametrize("bootstrap", [True, None])
def test_offline_checks_the_chain_of_roots(world: PopulatedWorld, bootstrap: bool | None) -> None:
    """A root that does not follow from the trusted one is not trusted, whoever wrote it."""
    history = world.metadata_dir() / "root_history"
    (evil,) = new_keys()
    metadata = Metadata.from_bytes(world.cached("root") or b"")
    metadata.signed.version += 1
    for role in TOP_LEVEL:
        metadata.signed.add_key(evil.public_key, role)
    metadata.sign(evil)
    (history / f"{metadata.signed.version}.root.json").write_bytes(metadata.to_bytes())
    forged = Metadata.from_bytes(world.cached("timestamp") or b"")
    forged.sign(evil)
    world.cache_file("timestamp").write_bytes(forged.to_bytes())
    with pytest.raises(UnsignedMetadataError):
        offline(world, bootstrap=bootstrap).refresh()


@pytest.mark.parametrize("is_offline", [True, False])
def test_each_refresh_has_its_own_start_time(tmp_path: Path, is_offline: bool) -> None:
    world = PopulatedWorld(tmp_path)
    moment = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=2)
    world.timestamp.expires = moment
    world.publish("timestamp")
    world.update()
    client = world.client(offline=is_offline)
    client.refresh()
    while datetime.now(timezone.utc) <= moment:
        time.sleep(0.02)
    # This update began in time, and goes on.
    assert client.get_targetinfo("d/file") is not None
    with pytest.raises(ExpiredMetadataError):
        client.refresh()
    with pytest.raises(ExpiredMetadataError):
        client.get_targetinfo("d/file")


def test_offline_target_that_is_there(world: PopulatedWorld) -> None:
    client = offline(world)
    target = client.get_targetinfo("d/file")
    assert target is not None
    assert client.read_target(target) == b"content"
    with client.open_target(target) as stream:
        assert stream.read() == b"content"
    without_url = Updater(
        str(world.metadata_dir()),
        world.url,
        str(world.target_dir()),
        config=UpdaterConfig(offline=True),
        bootstrap=world.bootstrap,
    )
    file = Path(without_url.download_target(target))
    assert file.read_bytes() == b"content"
    file.write_bytes(b"changed")
    for get in (client.read_target, client.open_target, client.download_target):
        with pytest.raises(OfflineError, match="d/file"):
            get(target)


# -- in memory


def in_memory(world: World) -> Updater:
    return Updater(
        None,
        world.url + "metadata/",
        target_base_url=world.url + "targets/",
        fetcher=world.fetcher,
        bootstrap=world.bootstrap,
    )


def test_cache_in_memory(
    world: PopulatedWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = files(tmp_path)
    client = in_memory(world)
    target = client.get_targetinfo("d/file")
    assert target is not None
    assert client.read_target(target) == b"content"
    # What it has, it does not ask for again.
    assert world.asked(client.refresh) == ["metadata/4.root.json", "metadata/timestamp.json"]
    assert files(tmp_path) == before
    assert list((tmp_path / "here").iterdir()) == []


def test_cache_in_memory_protects_from_rollback(world: PopulatedWorld) -> None:
    client = in_memory(world)
    client.refresh()
    old = dict(world.files)
    world.publish("targets")
    client.refresh()
    world.files = old
    with pytest.raises(RepositoryError, match="timestamp"):
        client.refresh()


def test_cache_in_memory_recovers_from_fast_forward(world: PopulatedWorld) -> None:
    client = in_memory(world)
    world.plant("snapshot", lambda signed: signed.update(version=1000))
    client = in_memory(world)
    with pytest.raises(RepositoryError):
        client.refresh()
    for role in ("snapshot", "timestamp"):
        world.roles[role].version = 5
        world.rotate(role)
    client.refresh()
    assert client.get_targetinfo("d/file") is not None


def test_cache_in_memory_offline_has_nothing(world: PopulatedWorld) -> None:
    config = UpdaterConfig(offline=True)
    client = Updater(
        None, world.url, fetcher=world.fetcher, config=config, bootstrap=world.bootstrap
    )
    with pytest.raises(OfflineError):
        client.refresh()


# -- read only


def test_read_only_changes_nothing(world: PopulatedWorld) -> None:
    before = files(world.metadata_dir())
    world.rotate("timestamp")
    client = world.client(read_only=True)
    assert client.get_targetinfo("d/file") == world.targets("d").targets["d/file"]
    # What it has loaded counts, though it is kept in memory alone.
    world.publish("d")
    asked = world.asked(client.refresh)
    assert asked == [
        f"metadata/{world.root.version + 1}.root.json",
        "metadata/timestamp.json",
        world.path("snapshot"),
    ]
    assert files(world.metadata_dir()) == before


def test_read_only_uses_what_is_there(world: PopulatedWorld) -> None:
    world.update()
    client = world.client(read_only=True)
    assert world.asked(lambda: client.get_targetinfo("d/file")) == [
        "metadata/4.root.json",
        "metadata/timestamp.json",
    ]


def test_read_only_in_an_empty_or_absent_directory(world: PopulatedWorld) -> None:
    client = world.client("new", read_only=True)
    assert client.get_targetinfo("d/file") is not None
    assert list(world.metadata_dir("new").iterdir()) == []
    absent = world.base / "absent"
    config = UpdaterConfig(read_only=True)
    url = world.url + "metadata/"
    client = Updater(
        str(absent), url, fetcher=world.fetcher, config=config, bootstrap=world.bootstrap
    )
    assert client.get_targetinfo("d/file") is not None
    assert not absent.exists()


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from tuf.ngclient import Updater, UpdaterConfig

url, settings = sys.argv[1], eval(sys.argv[2])
root = Path("metadata/root.json").read_bytes()
# All modules are imported while this process may still read what it likes.
for cache in (None, "first/warm"):
    first = Updater(cache, url + "metadata/", "first", url + "targets/", bootstrap=root)
    first.download_targets(["d/file"])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
assert not os.access("metadata", os.W_OK)
client = Updater(
    "metadata", url + "metadata/", "targets", url + "targets/",
    config=UpdaterConfig(**settings), bootstrap=None,
)
try:
    target = client.get_targetinfo("d/file")
    print("found", client.find_cached_target(target))
    print("downloaded", client.download_target(target))
except Exception as e:
    print(type(e).__name__)
"""


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize(
    ("settings", "outcome"),
    [
        ({"offline": True}, ["found targets/d%2Ffile", "downloaded targets/d%2Ffile"]),
        ({"read_only": True}, ["found None", "LocalFileError"]),
        ({}, ["LocalFileError"]),
    ],
)
def test_without_permission_to_write(
    world: PopulatedWorld, settings: dict[str, Any], outcome: list[str]
) -> None:
    """Root may write anywhere, so it becomes nobody first."""
    world.add_target("d/file", b"changed", "d")
    machine = world.base / "machine"
    before = files(machine)
    directories = [path for path in machine.rglob("*") if path.is_dir()]
    for directory in directories:
        directory.chmod(0o555)
    try:
        with world.serve():
            done = subprocess.run(
                [sys.executable, "-c", UNPRIVILEGED, world.url, repr(settings)],
                cwd=machine,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
    finally:
        for directory in directories:
            directory.chmod(0o755)
    assert done.stdout.splitlines() == outcome
    after = files(machine)
    assert {file: after[file] for file in after if "first" not in file.parts} == before
    world.update()


def test_read_only_does_not_hide_a_directory_that_cannot_be_read(world: PopulatedWorld) -> None:
    file = world.cache_file("timestamp")
    file.unlink()
    file.mkdir()
    for config in ({"read_only": True}, {"offline": True}, {}):
        with pytest.raises(LocalFileError):
            world.client(**config).refresh()
    file.rmdir()
    world.update()

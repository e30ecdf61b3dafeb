"""The executable that the tuf-conformance suite drives: its protocol, over a socket."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server, too_much

from world import World

TESTS = Path(__file__).resolve().parent.parent
CLIENT = TESTS.parent / "conformance" / "client"
DATA = TESTS / "data"

COLD = ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]
TOP_LEVEL = {"root.json", "timestamp.json", "snapshot.json", "targets.json"}


class Machine:
    """Where the executable runs: its directories, and the repository that it asks."""

    def __init__(self, base: Path, server: Server, root: bytes) -> None:
        self.metadata_dir = base / "trusted metadata"
        self.target_dir = base / "downloads"
        self.root_file = base / "initial_root.json"
        self.root_file.write_bytes(root)
        self.server = server

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-W", "error", str(CLIENT), *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONUTF8": "1"},
            check=False,
        )
        assert done.stdout == ""
        assert "Traceback" not in done.stderr, done.stderr
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == done.returncode, done.stderr
        return done

    def init(self) -> subprocess.CompletedProcess[str]:
        return self.run("--metadata-dir", self.metadata_dir, "init", self.root_file)

    def refresh(self) -> subprocess.CompletedProcess[str]:
        url = f"{self.server.url}/metadata"
        return self.run("--metadata-dir", self.metadata_dir, "--metadata-url", url, "refresh")

    def download(self, *names: str) -> subprocess.CompletedProcess[str]:
        return self.run(
            *("--metadata-dir", self.metadata_dir),
            *("--metadata-url", f"{self.server.url}/metadata"),
            *(argument for name in names for argument in ("--target-name", name)),
            *("--target-base-url", f"{self.server.url}/targets"),
            *("--target-dir", self.target_dir),
            "download",
        )

    def asked(self) -> list[str]:
        """What the server was asked for since the last time; of metadata only the names."""
        paths = [path.removeprefix("/metadata/") for path in self.server.paths]
        self.server.log.clear()
        return paths

    def trusted(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in self.metadata_dir.glob("*.json")}

    def downloaded(self) -> list[bytes]:
        return sorted(file.read_bytes() for file in self.target_dir.iterdir())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world")


@pytest.fixture
def machine(tmp_path: Path, world: World) -> Iterator[Machine]:
    with world.serve() as server:
        machine = Machine(tmp_path, server, world.bootstrap)
        assert machine.init().returncode == 0
        yield machine


def published(world: World, *roles: str) -> dict[str, bytes]:
    return {f"{role}.json": world.files[world.path(role)] for role in roles}


@pytest.mark.skipif(os.name != "posix", reason="POSIX file modes")
def test_it_is_an_executable() -> None:
    assert os.access(CLIENT, os.X_OK)
    assert CLIENT.read_bytes().startswith(b"#!/usr/bin/env python3\n")


def test_init_keeps_the_root_and_asks_for_nothing(world: World, machine: Machine) -> None:
    assert machine.trusted() == {"root.json": world.bootstrap}
    assert machine.asked() == []


def test_init_checks_nothing(machine: Machine) -> None:
    machine.root_file.write_bytes(b"junk")
    assert machine.init().returncode == 0
    assert machine.trusted() == {"root.json": b"junk"}
    assert "error: DeserializationError: " in machine.refresh().stderr
    assert machine.asked() == []


def test_init_without_the_file(machine: Machine) -> None:
    machine.root_file.unlink()
    assert "error: FileNotFoundError: " in machine.init().stderr


def test_refresh_without_init(machine: Machine) -> None:
    shutil.rmtree(machine.metadata_dir)
    assert "error: LocalFileNotFoundError: " in machine.refresh().stderr


def test_refresh_cold_and_warm(world: World, machine: Machine) -> None:
    assert machine.refresh().returncode == 0
    assert machine.asked() == COLD
    assert machine.trusted() == published(world, "root", "timestamp", "snapshot", "targets")

    assert machine.refresh().returncode == 0
    assert machine.asked() == ["2.root.json", "timestamp.json"]


def test_refresh_tells_what_it_does(machine: Machine) -> None:
    log = machine.refresh().stderr
    assert "root version 1 is trusted" in log
    assert f"{machine.server.url}/metadata/1.snapshot.json" in log


def test_refresh_after_rotations(world: World, machine: Machine) -> None:
    assert machine.refresh().returncode == 0
    world.rotate("root")
    world.rotate("targets")
    machine.asked()
    assert machine.refresh().returncode == 0
    assert machine.asked() == [
        *("2.root.json", "3.root.json", "4.root.json"),
        *("timestamp.json", "2.snapshot.json", "2.targets.json"),
    ]
    assert machine.trusted() == published(world, "root", "timestamp", "snapshot", "targets")


def test_refused_metadata_is_not_kept(world: World, machine: Machine) -> None:
    assert machine.refresh().returncode == 0
    good = machine.trusted()
    world.expire("snapshot")
    done = machine.refresh()
    assert done.returncode == 1
    assert "error: ExpiredMetadataError: snapshot version 2 expired at " in done.stderr
    assert machine.trusted() == good | published(world, "timestamp")

    world.renew("snapshot")
    assert machine.refresh().returncode == 0
    assert machine.trusted() == published(world, "root", "timestamp", "snapshot", "targets")


def test_server_that_fails(machine: Machine) -> None:
    machine.server.behave("/metadata/timestamp.json", too_much(20_000))
    done = machine.refresh()
    assert done.returncode == 1
    assert "error: DownloadLengthMismatchError: " in done.stderr
    assert set(machine.trusted()) == {"root.json"}


def test_download_updates_the_metadata_first(world: World, machine: Machine) -> None:
    target = world.add_target("path/to/a file.txt", b"content")
    assert machine.download("path/to/a file.txt").returncode == 0
    assert machine.asked() == [
        *("2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"),
        f"/targets/path/to/{target.hashes['sha256']}.a file.txt",
    ]
    assert machine.downloaded() == [b"content"]
    assert set(machine.trusted()) == TOP_LEVEL


def test_downloaded_target_is_not_downloaded_again(world: World, machine: Machine) -> None:
    world.add_target("a.txt", b"first")
    assert machine.download("a.txt").returncode == 0
    machine.asked()
    assert machine.download("a.txt", "a.txt").returncode == 0
    assert machine.asked() == ["2.root.json", "timestamp.json"]


def test_changed_target_is_downloaded_under_the_same_name(world: World, machine: Machine) -> None:
    world.add_target("a.txt", b"first")
    assert machine.download("a.txt").returncode == 0
    (file,) = machine.target_dir.iterdir()
    target = world.add_target("a.txt", b"second")
    machine.asked()
    assert machine.download("a.txt").returncode == 0
    assert machine.asked()[-1] == f"/targets/{target.hashes['sha256']}.a.txt"
    assert list(machine.target_dir.iterdir()) == [file]
    assert file.read_bytes() == b"second"


def test_delegated_target(world: World, machine: Machine) -> None:
    world.delegate("A/B", ["*/*"])
    target = world.add_target("x/y", b"content", "A/B")
    assert machine.download("x/y").returncode == 0
    assert machine.asked() == [
        *("2.root.json", "timestamp.json", "3.snapshot.json", "2.targets.json", "2.A/B.json"),
        f"/targets/x/{target.hashes['sha256']}.y",
    ]
    assert set(machine.trusted()) == TOP_LEVEL | {"A%2FB.json"}


def test_missing_target_stops(world: World, machine: Machine) -> None:
    world.add_target("one", b"1")
    world.add_target("two", b"2")
    done = machine.download("one", "absent", "two")
    assert done.returncode == 1
    assert "error: RepositoryError: target 'absent' is not in the repository" in done.stderr
    assert machine.downloaded() == [b"1"]


def test_wrong_content_stops(world: World, machine: Machine) -> None:
    names = ["one", "two", "three"]
    targets = [world.add_target(name, name.encode()) for name in names]
    world.files[world.target_path(targets[1])] = b"TWO"
    done = machine.download(*names)
    assert done.returncode == 1
    assert "error: LengthOrHashMismatchError: " in done.stderr
    assert machine.downloaded() == [b"one"]


def test_target_path_that_no_file_can_have(world: World, machine: Machine) -> None:
    world.add_target("..", b"content")
    before = set(machine.metadata_dir.parent.iterdir())
    done = machine.download("..")
    assert done.returncode == 1
    assert "error: ValueError: target path '..'" in done.stderr
    assert set(machine.metadata_dir.parent.iterdir()) - before <= {machine.target_dir}


@pytest.mark.parametrize(
    ("repository", "names"),
    [
        ("legacy-0.19", ["file1.txt", "file2.txt", "project/file3.txt"]),
        (
            "reference-7.0.1",
            [f"packages/pkg-{i}/pkg-{i}-1.0.tar.gz" for i in (1, 2, 39)]
            + [f"packages/pkg-{i}/ünïcode file {i}.txt" for i in (0, 5, 35)],
        ),
    ],
)
def test_repositories_of_other_implementations(
    repository: str, names: list[str], tmp_path: Path
) -> None:
    metadata, targets = DATA / repository / "metadata", DATA / repository / "targets"
    contents = {file.read_bytes() for file in targets.rglob("*") if file.is_file()}
    with Server(DATA / repository) as server:
        machine = Machine(tmp_path, server, (metadata / "1.root.json").read_bytes())
        assert machine.init().returncode == 0
        assert machine.download(*names).returncode == 0
        assert machine.trusted()["root.json"] == (metadata / "2.root.json").read_bytes()
        assert len(machine.downloaded()) == len(names)
        assert contents.issuperset(machine.downloaded())

        machine.asked()
        assert machine.download(*names).returncode == 0
        assert machine.asked() == ["3.root.json", "timestamp.json"]


@pytest.mark.parametrize(
    ("arguments", "lacks"),
    [
        ([], "--metadata-dir, command"),
        (["--metadata-dir", "m"], "command"),
        (["--metadata-dir", "m", "init"], "trusted_root"),
        (["--metadata-dir", "m", "refresh"], "--metadata-url"),
        (["--metadata-dir", "m", "--metadata-url", "u", "download"], "--target-name"),
        (["--metadata-dir", "m", "upgrade"], "upgrade"),
    ],
)
def test_wrong_arguments(arguments: list[str], lacks: str, machine: Machine) -> None:
    done = machine.run(*arguments)
    assert done.returncode == 1
    assert lacks in done.stderr

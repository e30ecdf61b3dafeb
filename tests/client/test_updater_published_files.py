"""The client as published, continued: target files, limits, failures, fetchers, envelopes.

Every expectation here was measured on release 7.0.1 of the reference package, and holds there too.
"""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    LengthOrHashMismatchError,
    UnsignedMetadataError,
)
from tuf.api.metadata import TargetFile
from tuf.api.serialization import DeserializationError
from tuf.ngclient import FetcherInterface, Updater
from tuf.ngclient.config import EnvelopeType
from world import World, new_keys


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def metadata_names(world: World, machine: str = "machine") -> set[str]:
    """Names of the metadata files of a machine, without the history of root."""
    return {file.name for file in world.metadata_dir(machine).glob("*.json")}


# -- target files


def test_download_and_find_with_default_names(world: World) -> None:
    target = world.add_target("a.txt", b"aaa")
    client = world.client()
    client.refresh()
    assert client.find_cached_target(target) is None
    expected = str(world.target_dir() / "a.txt")
    assert world.asked(lambda: client.download_target(target)) == [world.target_path(target)]
    assert client.find_cached_target(target) == expected
    assert client.download_target(target) == expected
    assert Path(expected).read_bytes() == b"aaa"
    world.check()


@pytest.mark.parametrize("path", ["dir/b.txt", "../up", "a%2Fb", "/etc/x", "two words", "é"])
def test_default_names_are_percent_encoded_target_paths(world: World, path: str) -> None:
    target = world.add_target(path, b"bbb")
    # Whether the path is encoded in the URL is not the subject here.
    (name,) = target.get_prefixed_paths()
    world.files[f"targets/{name}"] = world.files[f"targets/{name}".replace("..", "%2E%2E")] = b"bbb"
    file = Path(world.client().download_target(target))
    assert file == world.target_dir() / quote(path, safe="")
    assert file.read_bytes() == b"bbb"
    world.check()


def test_filepath_is_used_as_it_is(world: World) -> None:
    target = world.add_target("a.txt", b"aaa")
    client = world.client()
    file = str(world.base / "new" / "name.bin")
    assert client.find_cached_target(target, file) is None
    assert client.download_target(target, file) == file
    assert client.find_cached_target(target, file) == file
    assert Path(file).read_bytes() == b"aaa"
    assert list(world.target_dir().iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"aab", b"aaaa", None])
def test_find_cached_target_wants_the_very_content(world: World, content: bytes | None) -> None:
    target = world.add_target("a.txt", b"aaa")
    client = world.client()
    if content is not None:
        (world.target_dir() / "a.txt").write_bytes(content)
    assert client.find_cached_target(target) is None
    assert world.requests == []


def test_target_dir_and_base_url_may_come_later(world: World) -> None:
    target = world.add_target("a.txt", b"aaa")
    client = Updater(
        str(world.metadata_dir()), world.url, fetcher=world.fetcher, bootstrap=world.bootstrap
    )
    file = str(world.base / "a")
    with pytest.raises(ValueError, match="target_dir"):
        client.find_cached_target(target)
    with pytest.raises(ValueError, match="target_dir"):
        client.download_target(target, target_base_url=world.url + "targets")
    with pytest.raises(ValueError, match="target_base_url"):
        client.download_target(target, file)
    for slash in ("", "/"):
        assert client.download_target(target, file, world.url + "targets" + slash) == file


def test_target_base_url_of_the_call_wins(world: World) -> None:
    target = world.add_target("a.txt", b"aaa")
    name = world.target_path(target).removeprefix("targets/")
    world.files[f"elsewhere/{name}"] = b"aaa"
    client = world.client()
    requests = world.asked(
        lambda: client.download_target(target, target_base_url=world.url + "elsewhere")
    )
    assert requests == [f"elsewhere/{name}"]


@pytest.mark.parametrize("consistent", [True, False])
@pytest.mark.parametrize("prefix", [True, False])
def test_prefix_targets_with_hash(tmp_path: Path, consistent: bool, prefix: bool) -> None:
    """Names carry a hash if the repository has consistent snapshots and the client wants it so."""
    world = World(tmp_path, consistent_snapshot=consistent)
    target = world.add_target("dir/a.txt", b"aaa")
    prefixed = f"targets/dir/{target.hashes['sha256']}.a.txt"
    world.files["targets/dir/a.txt"] = world.files[prefixed] = b"aaa"
    client = world.client(prefix_targets_with_hash=prefix)
    client.refresh()
    asked = world.asked(lambda: client.download_target(target))
    assert asked == [prefixed if consistent and prefix else "targets/dir/a.txt"]


@pytest.mark.parametrize(
    ("served", "error"),
    [
        (b"aab", LengthOrHashMismatchError),
        (b"aa", LengthOrHashMismatchError),
        (b"", LengthOrHashMismatchError),
        (b"aaaa", DownloadLengthMismatchError),
        (None, DownloadHTTPError),
    ],
)
def test_download_errors(world: World, served: bytes | None, error: type[Exception]) -> None:
    target = world.add_target("a.txt", b"aaa")
    path = world.target_path(target)
    del world.files[path]
    if served is not None:
        world.files[path] = served
    with pytest.raises(error):
        world.client().download_target(target)
    assert list(world.target_dir().glob("a*")) == []
    world.check()


# -- limits


@pytest.mark.parametrize(("cap", "reached"), [(0, 1), (1, 2), (2, 3), (3, 4), (4, 4)])
def test_max_root_rotations_is_a_cap(world: World, cap: int, reached: int) -> None:
    for _ in range(3):
        world.rotate("root")
    requests = world.asked(world.client(max_root_rotations=cap).refresh)
    assert requests == [f"metadata/{2 + n}.root.json" for n in range(cap)] + [
        "metadata/timestamp.json",
        "metadata/1.snapshot.json",
        "metadata/1.targets.json",
    ]
    assert world.cached_version("root") == reached
    world.check()


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets", "A"])
def test_length_caps(tmp_path: Path, role: str) -> None:
    """Where no length is named, the configured cap holds: exactly that many bytes are fine."""
    world = World(tmp_path, meta_hashes=False)
    world.delegate("A")
    world.rotate("root")
    option = "targets_max_length" if role == "A" else f"{role}_max_length"
    length = len(world.files[world.path(role)])
    if role == "A":
        length = max(length, len(world.files[world.path("targets")]))
    caps = {option: length}
    assert world.client(**caps).get_targetinfo("any") is None
    caps = {option: len(world.files[world.path(role)]) - 1}
    with pytest.raises(DownloadLengthMismatchError):
        world.client("other", **caps).get_targetinfo("any")
    assert world.cached_version(role, "other") in (None, 1)
    world.check()


def test_length_caps_do_not_concern_what_is_named(world: World) -> None:
    world.client(snapshot_max_length=10, targets_max_length=10).refresh()
    world.check()


def test_max_delegations_counts_delegated_roles(world: World) -> None:
    for role in ("A", "B", "C"):
        world.delegate(role)
    target = world.add_target("file", b"1", "C")
    assert world.client(max_delegations=3).get_targetinfo("file") == target


# -- answers of the server


@pytest.mark.parametrize("status", [403, 404])
def test_next_root_absent(world: World, status: int) -> None:
    world.answers["metadata/2.root.json"] = status
    world.client().refresh()
    world.check()


@pytest.mark.parametrize("status", [400, 401, 410, 429, 500, 503])
def test_next_root_fails(world: World, status: int) -> None:
    world.answers["metadata/2.root.json"] = status
    with pytest.raises(DownloadHTTPError) as caught:
        world.client().refresh()
    assert caught.value.status_code == status
    assert metadata_names(world) == {"root.json"}


@pytest.mark.parametrize("failure", [404, 403, 500, ValueError("x"), OSError("y")])
@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "A"])
def test_metadata_cannot_be_had(world: World, role: str, failure: int | Exception) -> None:
    world.delegate("A")
    world.answers[world.path(role)] = failure
    with pytest.raises(DownloadError) as caught:
        world.client().get_targetinfo("any")
    assert isinstance(caught.value, DownloadHTTPError) == isinstance(failure, int)
    assert world.cached(role) is None
    world.answers.clear()
    assert world.client().get_targetinfo("any") is None
    world.check()


# -- fetchers and envelopes


class PieceFetcher(FetcherInterface):
    """Gives a file byte by byte; what an application may write against the published interface."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def _fetch(self, url: str) -> Iterator[bytes]:
        if url not in self.files:
            raise DownloadHTTPError("no such file", 404)
        for byte in self.files[url]:
            yield bytes([byte])


def test_custom_fetcher(world: World) -> None:
    target = world.add_target("a.txt", b"aaa")
    fetcher = PieceFetcher({world.url + path: data for path, data in world.files.items()})
    client = world.client(fetcher=fetcher)
    assert client.get_targetinfo("a.txt") == target
    client.download_target(target)
    world.check()

    url = world.url + world.target_path(target)
    assert fetcher.download_bytes(url, 3) == b"aaa"
    assert b"".join(fetcher.fetch(url)) == b"aaa"
    with fetcher.download_file(url, 3) as file:
        assert file.read() == b"aaa"
    with pytest.raises(DownloadLengthMismatchError):
        fetcher.download_bytes(url, 2)
    with pytest.raises(DownloadLengthMismatchError), fetcher.download_file(url, 2):
        pass
    with pytest.raises(DownloadHTTPError):
        fetcher.download_bytes(world.url + "absent", 10)


def test_simple_envelopes(tmp_path: Path) -> None:
    world = World(tmp_path, envelope_type=EnvelopeType.SIMPLE)
    world.delegate("A")
    target = world.add_target("a.txt", b"aaa", "A")
    world.rotate("root")
    client = world.client()
    assert client.get_targetinfo("a.txt") == target
    client.download_target(target)
    assert world.cached("A") == world.files["metadata/2.A.json"]
    world.rotate("timestamp")
    world.client(bootstrap=None).refresh()
    world.check()
    with pytest.raises(DeserializationError):
        world.client("other", envelope_type=EnvelopeType.METADATA)


def test_simple_envelopes_below_the_threshold(tmp_path: Path) -> None:
    world = World(tmp_path, envelope_type=EnvelopeType.SIMPLE)
    world.roles["timestamp"].version += 1
    world.substitute("timestamp", world.sign("timestamp", new_keys()))
    with pytest.raises(UnsignedMetadataError):
        world.client().refresh()
    world.publish()
    world.client().refresh()
    world.check()


def test_metadata_is_no_simple_envelope(world: World) -> None:
    with pytest.raises(DeserializationError):
        world.client(envelope_type=EnvelopeType.SIMPLE)


def test_targetfile_made_by_the_application(world: World) -> None:
    """A TargetFile need not come from get_targetinfo()."""
    world.add_target("a.txt", b"aaa")
    target = TargetFile.from_data("a.txt", b"aaa")
    assert set(target.hashes) == {"sha256"}
    assert Path(world.client().download_target(target)).read_bytes() == b"aaa"


def test_app_user_agent_and_default_fetcher(world: World) -> None:
    target = world.add_target("a.txt", b"aaa")
    with world.serve() as server:
        client = world.client(app_user_agent="my-app/1.0")
        assert client.get_targetinfo("a.txt") == target
        client.download_target(target)
        assert server.paths == [
            "/metadata/2.root.json",
            "/metadata/timestamp.json",
            "/metadata/2.snapshot.json",
            "/metadata/2.targets.json",
            "/" + world.target_path(target),
        ]
        for request in server.log:
            assert request.headers["user-agent"].startswith("my-app/1.0 ")
    world.check()

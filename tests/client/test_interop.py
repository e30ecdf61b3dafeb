"""Real repositories: what other implementations made and signed, over a socket.

Each test of a whole client runs it blocking and under asyncio. See the data's README.md.
"""

import asyncio
import inspect
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from servers import Server, status

from tuf.api.exceptions import (
    BadVersionNumberError,
    ExpiredMetadataError,
    UnsignedMetadataError,
)
from tuf.api.serialization import DeserializationError
from tuf.ngclient import AsyncUpdater, EnvelopeType, Updater
from tuf.ngclient.updater import TrustedMetadataSet

DATA = Path(__file__).resolve().parent.parent / "data"
CHAIN = DATA / "sigstore-root-chain"

# -- repositories that update completely


class Repository(NamedTuple):
    name: str
    cold: list[str]  # what a first refresh asks for
    roles: list[str]  # files of the delegated roles
    consistent: bool

    @property
    def path(self) -> Path:
        return DATA / self.name

    def bootstrap(self) -> bytes:
        return (self.path / "metadata" / "1.root.json").read_bytes()

    def targets(self) -> dict[str, dict[str, Any]]:
        """Everything that the targets metadata says, read with nothing but the JSON parser."""
        files = ("targets.json", "1.targets.json", *self.roles)
        paths = [self.path / "metadata" / file for file in files]
        signed = [json.loads(path.read_bytes())["signed"] for path in paths if path.exists()]
        return {name: info for part in signed for name, info in part["targets"].items()}

    def file(self, target_path: str, hashes: dict[str, str]) -> Path:
        """Where the repository has a target."""
        path = self.path / "targets" / target_path
        return path.with_name(f"{hashes['sha256']}.{path.name}") if self.consistent else path


LEGACY = Repository(
    "legacy-0.19",
    ["2.root.json", "3.root.json", "timestamp.json", "snapshot.json", "targets.json"],
    ["project.json"],
    consistent=False,
)
REFERENCE = Repository(
    "reference-7.0.1",
    ["2.root.json", "3.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"],
    [f"1.bin-{i}.json" for i in range(8)],
    consistent=True,
)
WARM = ["3.root.json", "timestamp.json"]

both_repositories = pytest.mark.parametrize(
    "repository", [LEGACY, REFERENCE], ids=lambda repository: repository.name
)


class Client:
    """A client, blocking or not, whose methods are awaited: a test is written once for both."""

    def __init__(self, updater: Updater | AsyncUpdater) -> None:
        self._updater = updater

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._updater, name)

        async def call(*args: Any) -> Any:
            result = method(*args)
            return await result if inspect.isawaitable(result) else result

        return call


NewClient = Callable[[Server, bytes | None], Client]


@pytest.fixture(params=[Updater, AsyncUpdater])
def new_client(request: pytest.FixtureRequest, tmp_path: Path) -> NewClient:
    """Make a client of a server with a bootstrap root, always on the same directories."""

    def make(server: Server, bootstrap: bytes | None) -> Client:
        updater = request.param(
            str(tmp_path / "metadata"),
            f"{server.url}/metadata",
            str(tmp_path / "targets"),
            f"{server.url}/targets",
            bootstrap=bootstrap,
        )
        return Client(updater)

    return make


def asked(server: Server) -> list[str]:
    """What the server was asked for since the last time; of metadata only the names."""
    paths = [path.removeprefix("/metadata/") for path in server.paths]
    server.log.clear()
    return paths


@both_repositories
def test_repository_updates_completely(
    repository: Repository, new_client: NewClient, tmp_path: Path
) -> None:
    targets = repository.targets()

    async def update() -> None:
        client = new_client(server, repository.bootstrap())
        await client.refresh()
        assert asked(server) == repository.cold
        for path, wanted in targets.items():
            info = await client.get_targetinfo(path)
            assert info.path == path
            assert (info.length, info.hashes) == (wanted["length"], wanted["hashes"])
            assert info.custom == wanted.get("custom")
            assert await client.find_cached_target(info) is None
            file = Path(await client.download_target(info))
            assert file == tmp_path / "targets" / quote(path, safe="")
            assert file.read_bytes() == repository.file(path, info.hashes).read_bytes()
        paths = asked(server)
        assert sorted(set(paths) & set(repository.roles)) == repository.roles
        assert len(paths) == len(repository.roles) + len(targets)
        assert {info.path for info in await client.all_targets()} == set(targets)
        assert await client.get_targetinfo("project/absent") is None

    with Server(repository.path) as server:
        asyncio.run(update())
    assert len(targets) == {"legacy-0.19": 3, "reference-7.0.1": 40}[repository.name]
    assert any(info.get("custom") for info in targets.values())


@both_repositories
def test_metadata_is_kept_as_it_came(
    repository: Repository, new_client: NewClient, tmp_path: Path
) -> None:
    async def update() -> None:
        await new_client(server, repository.bootstrap()).all_targets()

    with Server(repository.path) as server:
        asyncio.run(update())
    for file in (*repository.cold[2:], *repository.roles, "2.root.json"):
        kept = tmp_path / "metadata" / file.removeprefix("1.").removeprefix("2.")
        assert kept.read_bytes() == (repository.path / "metadata" / file).read_bytes()


@both_repositories
@pytest.mark.parametrize("with_root", [True, False])
def test_warm_client_downloads_only_what_it_must(
    repository: Repository, new_client: NewClient, with_root: bool
) -> None:
    bootstrap = repository.bootstrap()
    targets = list(repository.targets())

    async def update() -> None:
        files = await new_client(server, bootstrap).download_targets(targets)
        asked(server)

        client = new_client(server, bootstrap if with_root else None)
        await client.refresh()
        assert asked(server) == WARM
        assert await client.download_targets(targets) == files
        assert asked(server) == []

        # The length stays: only the hash tells.
        changed, lost = Path(files[targets[0]]), Path(files[targets[-1]])
        content = changed.read_bytes()
        changed.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        lost.unlink()
        client = new_client(server, bootstrap if with_root else None)
        assert await client.download_targets(targets) == files
        infos = [await client.get_targetinfo(targets[i]) for i in (0, -1)]
        paths = asked(server)
        assert paths[:2] == WARM
        assert sorted(paths[2:]) == sorted(
            f"/{repository.file(info.path, info.hashes).relative_to(repository.path).as_posix()}"
            for info in infos
        )
        assert changed.read_bytes() == content

    with Server(repository.path) as server:
        asyncio.run(update())


@both_repositories
def test_target_in_memory(repository: Repository, new_client: NewClient) -> None:
    path, wanted = list(repository.targets().items())[-1]

    async def update() -> bytes:
        client = new_client(server, repository.bootstrap())
        content: bytes = await client.read_target(await client.get_targetinfo(path))
        return content

    with Server(repository.path) as server:
        content = asyncio.run(update())
    assert content == repository.file(path, wanted["hashes"]).read_bytes()


# -- the chain of roots of a public repository

#: When root 15 and the timestamp were fresh.
FRESH = datetime(2026, 8, 28, tzinfo=timezone.utc)
LAST_EXPIRES = datetime(2026, 11, 20, 13, 58, 18, tzinfo=timezone.utc)


def root(version: int) -> bytes:
    return (CHAIN / f"{version}.root.json").read_bytes()


def trusting(version: int, now: datetime = FRESH) -> TrustedMetadataSet:
    return TrustedMetadataSet(root(version), EnvelopeType.METADATA, now=now)


def with_signatures(version: int, keep: tuple[int, ...]) -> bytes:
    """A root with only some of its signatures."""
    data = json.loads(root(version))
    data["signatures"] = [data["signatures"][i] for i in keep]
    return json.dumps(data).encode()


def good_signatures(version: int) -> list[int]:
    """Which signatures of a root are not empty. Those are good."""
    return [i for i, s in enumerate(json.loads(root(version))["signatures"]) if s["sig"]]


def test_roots_verify_in_order() -> None:
    trusted = trusting(5)
    for version in range(6, 16):
        assert trusted.update_root(root(version)).version == version
        assert trusted.root.version == version
    trusted.check_root_expiry()
    assert trusted.update_timestamp((CHAIN / "timestamp.json").read_bytes()).version == 762


@pytest.mark.parametrize("version", range(5, 16))
def test_every_root_can_be_the_first(version: int) -> None:
    assert trusting(version).root.version == version


def test_last_root_is_good_until_it_expires() -> None:
    trusting(15, LAST_EXPIRES - timedelta(seconds=1)).check_root_expiry()
    with pytest.raises(ExpiredMetadataError, match="root version 15 expired at 2026-11-20T13"):
        trusting(15, LAST_EXPIRES).check_root_expiry()


def test_expired_timestamp_of_the_real_repository() -> None:
    trusted = trusting(15, datetime(2026, 8, 28, 19, 25, 56, tzinfo=timezone.utc))
    with pytest.raises(ExpiredMetadataError, match="timestamp version 762 expired"):
        trusted.update_timestamp((CHAIN / "timestamp.json").read_bytes())


@pytest.mark.parametrize("version", [5, 6, 7, 10, 11, 12, 13])
def test_root_is_not_skipped(version: int) -> None:
    """The next but one is signed by enough keys here; only its version is wrong."""
    trusted = trusting(version)
    with pytest.raises(BadVersionNumberError, match=f"{version + 2}, wanted {version + 1}"):
        trusted.update_root(root(version + 2))
    assert trusted.update_root(root(version + 1)).version == version + 1


@pytest.mark.parametrize("version", [8, 9])
def test_root_with_all_keys_exchanged_is_not_skipped(version: int) -> None:
    trusted = trusting(version)
    with pytest.raises(UnsignedMetadataError):
        trusted.update_root(root(version + 2))
    assert trusted.update_root(root(version + 1)).version == version + 1


def test_root_does_not_go_back() -> None:
    trusted = trusting(7)
    for version in (6, 7):
        with pytest.raises(BadVersionNumberError):
            trusted.update_root(root(version))
    assert trusted.root.version == 7


def test_any_three_signatures_of_five_are_enough() -> None:
    for keep in itertools.combinations(range(5), 3):
        assert trusting(5).update_root(with_signatures(6, keep)).version == 6


@pytest.mark.parametrize("version", range(6, 16))
def test_two_signatures_are_not_enough(version: int) -> None:
    trusted = trusting(version - 1)
    for keep in itertools.combinations(good_signatures(version), 2):
        with pytest.raises(UnsignedMetadataError):
            trusted.update_root(with_signatures(version, keep))
    assert trusted.update_root(root(version)).version == version


def test_one_signature_of_a_surplus_may_be_missing() -> None:
    for version, others in ((7, 3), (8, 3), (14, 3), (15, 4)):
        good = good_signatures(version)
        for keep in itertools.combinations(good, others):
            data = with_signatures(version, keep)
            assert trusting(version - 1).update_root(data).version == version


def test_empty_signatures_count_for_nothing() -> None:
    """Root 12 has three good signatures, which it needs, and two empty ones."""
    good = good_signatures(12)
    assert len(good) == 3
    assert trusting(11).update_root(with_signatures(12, tuple(good))).version == 12
    everything = range(len(json.loads(root(12))["signatures"]))
    for missing in good:
        keep = tuple(i for i in everything if i != missing)
        with pytest.raises(UnsignedMetadataError):
            trusting(11).update_root(with_signatures(12, keep))


def test_new_root_needs_the_keys_of_the_old_and_its_own() -> None:
    """Root 9 exchanges all keys: signatures by one side alone are not enough."""
    data = json.loads(root(9))
    own = data["signed"]["roles"]["root"]["keyids"]
    by_own = [i for i, s in enumerate(data["signatures"]) if s["keyid"] in own]
    by_old = [i for i, s in enumerate(data["signatures"]) if s["keyid"] not in own]
    assert (len(by_own), len(by_old)) == (5, 5)
    for keep in (by_own, by_old, by_own + by_old[:2], by_own[:2] + by_old):
        with pytest.raises(UnsignedMetadataError):
            trusting(8).update_root(with_signatures(9, tuple(keep)))
    enough = (*by_own[:3], *by_old[:3])
    assert trusting(8).update_root(with_signatures(9, enough)).version == 9


@pytest.mark.parametrize("version", range(6, 16))
def test_changed_root_is_refused(version: int) -> None:
    data = root(version).replace(b'"threshold": 3', b'"threshold": 1')
    assert data != root(version)
    with pytest.raises(UnsignedMetadataError):
        trusting(version - 1).update_root(data)


# -- roots that are older than the format


@pytest.mark.parametrize(
    ("version", "date"),
    [
        (1, "2021-12-18T13:28:12.99008-06:00"),
        (2, "2022-05-11T19:09:02.663975009Z"),
        (3, "2022-11-10T21:58:09.733402317Z"),
    ],
)
def test_roots_with_other_dates_are_refused(version: int, date: str) -> None:
    with pytest.raises(DeserializationError) as caught:
        trusting(version)
    assert f"expires is '{date}'; the specification's date format is" in str(caught.value)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_roots_with_hex_keys_are_refused(version: int) -> None:
    """Had the first three another date, their keys would do."""
    data = json.loads(root(version))
    data["signed"]["expires"] = "2040-01-01T00:00:00Z"
    with pytest.raises(DeserializationError, match="not PEM, the specification's key format"):
        TrustedMetadataSet(json.dumps(data).encode(), EnvelopeType.METADATA, now=FRESH)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_refused_format_breaks_nothing(version: int) -> None:
    trusted = trusting(5)
    with pytest.raises(DeserializationError):
        trusted.update_root(root(version))
    assert trusted.update_root(root(6)).version == 6


# -- the chain, over a socket


@pytest.fixture
def chain() -> Iterator[Server]:
    """Serves the roots from version 6 on, and the timestamp."""
    files = {f"/metadata/{version}.root.json": root(version) for version in range(6, 16)}
    files["/metadata/timestamp.json"] = (CHAIN / "timestamp.json").read_bytes()
    with Server(files) as server:
        yield server


def test_client_follows_the_chain(chain: Server, new_client: NewClient, tmp_path: Path) -> None:
    """To its end, which has expired: that counts only there."""

    async def update(bootstrap: bytes | None) -> None:
        client = new_client(chain, bootstrap)
        with pytest.raises(ExpiredMetadataError, match="root version 15 expired"):
            await client.refresh()

    asyncio.run(update(root(5)))
    assert asked(chain) == [f"{version}.root.json" for version in range(6, 17)]
    assert (tmp_path / "metadata" / "root.json").read_bytes() == root(15)
    for bootstrap in (root(5), root(15), None):
        asyncio.run(update(bootstrap))
        assert asked(chain) == ["16.root.json"]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (root(7), BadVersionNumberError),
        (with_signatures(6, (0, 1)), UnsignedMetadataError),
        (root(4), DeserializationError),
    ],
    ids=["skipped", "two signatures", "old format"],
)
def test_client_refuses_a_root_and_goes_on_with_the_next_good_one(
    data: bytes, error: type[Exception], chain: Server, new_client: NewClient, tmp_path: Path
) -> None:
    async def update() -> None:
        client = new_client(chain, root(5))
        chain.behave("/metadata/6.root.json", status(200, data), times=1)
        with pytest.raises(error):
            await client.refresh()
        assert asked(chain) == ["6.root.json"]
        assert (tmp_path / "metadata" / "root.json").read_bytes() == root(5)

        with pytest.raises(ExpiredMetadataError, match="root version 15"):
            await client.refresh()

    asyncio.run(update())
    assert (tmp_path / "metadata" / "root.json").read_bytes() == root(15)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_client_does_not_begin_with_a_root_of_the_old_format(
    version: int, chain: Server, new_client: NewClient, tmp_path: Path
) -> None:
    with pytest.raises(DeserializationError):
        new_client(chain, root(version))
    assert list(tmp_path.rglob("*.json")) == []
    assert asked(chain) == []

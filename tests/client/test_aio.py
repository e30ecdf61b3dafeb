"""The client under asyncio."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from asynchronous import StreamsFetcher, async_updater
from servers import Server, drip_body, status, too_much, truncated

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    LocalFileNotFoundError,
    OfflineError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import TargetFile
from tuf.ngclient.aio import AsyncFetcherInterface, AsyncUpdater
from world import PopulatedWorld, World, new_keys

MIB = 1 << 20


@pytest.fixture
def world(tmp_path: Path) -> PopulatedWorld:
    return PopulatedWorld(tmp_path)


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    with world.serve() as server:
        yield server


@pytest.fixture(params=["in threads", "on the loop"])
def fetcher(request: pytest.FixtureRequest) -> AsyncFetcherInterface | None:
    return StreamsFetcher() if request.param == "on the loop" else None


def add_targets(world: World, count: int, size: int = 100) -> list[TargetFile]:
    targets = []
    for number in range(count):
        content = os.urandom(size)
        target = TargetFile.from_data(f"d/{number}", content, ["sha256"])
        world.targets("d").targets[target.path] = target
        world.contents[target.path] = {content}
        world.files[world.target_path(target)] = content
        targets.append(target)
    world.publish("d")
    return targets


def content(world: World, target: TargetFile) -> bytes:
    return world.files[world.target_path(target)]


# -- the same as Updater


def test_update_and_download(
    world: PopulatedWorld, server: Server, fetcher: AsyncFetcherInterface | None
) -> None:
    world.rotate("root")
    world.rotate("timestamp")
    big = world.add_target("d/big", os.urandom(2 * MIB + 5), "d")

    async def main() -> None:
        async with async_updater(world, fetcher) as client:
            await client.refresh()
            target = await client.get_targetinfo("d/file")
            assert target == world.targets("d").targets["d/file"]
            assert await client.get_targetinfo("none") is None
            assert await client.find_cached_target(target) is None
            assert await client.updated_targets([target]) == [target]
            path = await client.download_target(target)
            assert Path(path).read_bytes() == b"content"
            assert await client.find_cached_target(target) == path
            assert await client.updated_targets([target]) == []
            for info in (target, big):
                assert await client.read_target(info) == content(world, info)
                with await client.open_target(info) as file:
                    assert file.read() == content(world, info)
            assert {t.path for t in await client.all_targets()} == {"d/file", "d/big"}
            assert await client.targets_of_role() == []
            assert len(await client.targets_of_role("d")) == 2
            with pytest.raises(ValueError, match="role"):
                await client.targets_of_role("none")
            del world.targets("d").targets["d/file"]
            world.publish("d")
            assert await client.remove_obsolete_targets() == []
            await client.refresh()
            assert await client.remove_obsolete_targets() == [path]

    asyncio.run(main())
    world.check()
    assert world.client().get_targetinfo("d/big") == big  # what it wrote serves others


def test_custom_fetcher_works_on_the_event_loop(world: PopulatedWorld, server: Server) -> None:
    fetcher = StreamsFetcher()

    async def main() -> int:
        async with async_updater(world, fetcher) as client:
            await client.download_targets(["d/file"])
        return threading.get_ident()

    assert {asyncio.run(main())} == fetcher.threads
    assert fetcher.closed == len(server.log)


def test_progress(
    world: PopulatedWorld, server: Server, fetcher: AsyncFetcherInterface | None
) -> None:
    (target,) = add_targets(world, 1, 2 * MIB)
    counts: list[int] = []

    async def main() -> None:
        async with async_updater(world, fetcher) as client:
            await client.download_target(target, progress=lambda _, n: counts.append(n))

    asyncio.run(main())
    assert counts == sorted(set(counts))
    assert counts[-1] == target.length


# -- many at once


def test_gather(
    world: PopulatedWorld, server: Server, fetcher: AsyncFetcherInterface | None
) -> None:
    targets = add_targets(world, 60)

    async def main() -> None:
        async with async_updater(world, fetcher) as client:
            await asyncio.gather(*(client.refresh() for _ in range(5)))
            infos = await asyncio.gather(*(client.get_targetinfo(t.path) for t in targets))
            assert infos == targets
            # More of them than there are threads.
            files = await asyncio.gather(*(client.download_target(t) for t in targets))
            contents = await asyncio.gather(*(client.read_target(t) for t in targets))
            assert [Path(file).read_bytes() for file in files] == contents
            assert contents == [content(world, target) for target in targets]

    asyncio.run(main())
    world.check()


def test_several_updaters_on_one_cache(world: PopulatedWorld, server: Server) -> None:
    async def one(number: int) -> None:
        async with async_updater(world, StreamsFetcher() if number % 2 else None) as client:
            for _ in range(5):
                await client.refresh()
                target = await client.get_targetinfo("d/file")
                assert target is not None
                await client.download_target(target)

    async def publish() -> None:
        for _ in range(10):
            world.publish("d")
            world.rotate("root")
            await asyncio.sleep(0.02)

    async def main() -> None:
        await asyncio.gather(publish(), *(one(number) for number in range(6)))

    asyncio.run(main())
    world.check()
    world.update()


def test_download_targets(
    world: PopulatedWorld, server: Server, fetcher: AsyncFetcherInterface | None
) -> None:
    targets = add_targets(world, 100)
    wanted: list[TargetFile | str] = [
        target if number % 2 else target.path for number, target in enumerate(reversed(targets))
    ]

    async def main() -> None:
        async with async_updater(world, fetcher) as client:
            found = await client.download_targets(wanted, workers=8)
            assert list(found) == [target.path for target in reversed(targets)]
            for target in targets:
                assert Path(found[target.path]).read_bytes() == content(world, target)
            if fetcher is None:
                assert server.connections <= 9
            server.log.clear()
            assert await client.download_targets(wanted) == found
            assert server.log == []
            assert await client.download_targets([]) == {}

    asyncio.run(main())
    world.check()


@pytest.mark.parametrize("bad", ["absent", "unknown"])
def test_download_targets_ends_with_the_first_failure(
    world: PopulatedWorld, server: Server, fetcher: AsyncFetcherInterface | None, bad: str
) -> None:
    slow, absent, *others = add_targets(world, 50, 2000)
    del world.files[world.target_path(absent)]
    server.behave(f"/{world.target_path(slow)}", drip_body(0.05, 10))
    wanted: list[TargetFile | str] = [slow, absent if bad == "absent" else "unknown", *others]

    async def main() -> None:
        async with async_updater(world, fetcher) as client:
            with pytest.raises(DownloadHTTPError if bad == "absent" else RepositoryError):
                await client.download_targets(wanted, workers=2)

    asyncio.run(main())
    assert not (world.target_dir() / "d%2F0").exists()


# -- errors


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_errors_are_the_same(
    world: PopulatedWorld, server: Server, fetcher: AsyncFetcherInterface | None, role: str
) -> None:
    async def refused(error: type[Exception]) -> None:
        async with async_updater(world, fetcher) as client:
            for _ in range(2):
                with pytest.raises(error) as caught:
                    await client.refresh()
                assert type(caught.value) is error
                with pytest.raises(error):
                    await client.get_targetinfo("d/file")
        world.check()

    async def main() -> None:
        world.plant(role, signers=new_keys())
        await refused(UnsignedMetadataError)
        world.expire(role)
        await refused(ExpiredMetadataError)
        world.renew(role)
        path = f"/{world.path(role)}"
        server.behave(path, status(500))
        await refused(DownloadHTTPError)
        server.behave(path, too_much(1 << 20))
        await refused(DownloadLengthMismatchError)
        server.behave(path, truncated(0), times=0)
        async with async_updater(world, fetcher) as client:
            await client.refresh()

    asyncio.run(main())
    world.recovers()


def test_errors_of_downloads(
    world: PopulatedWorld, server: Server, fetcher: AsyncFetcherInterface | None
) -> None:
    target = world.add_target("d/x", b"x" * 1000, "d")
    path = f"/{world.target_path(target)}"

    async def main() -> None:
        async with async_updater(world, fetcher) as client:
            await client.refresh()
            for behaviour, error in (
                (status(404), DownloadHTTPError),
                (too_much(1), DownloadLengthMismatchError),
                (lambda handler, _: handler.send(200, b"y" * 1000), LengthOrHashMismatchError),
            ):
                server.behave(path, behaviour)
                for get in (client.download_target, client.read_target, client.open_target):
                    with pytest.raises(error):
                        await get(target)
            assert list(world.target_dir().iterdir()) == []

    asyncio.run(main())


def test_fetcher_that_raises_anything(world: PopulatedWorld) -> None:
    class Failing(AsyncFetcherInterface):
        async def fetch(self, url: str) -> AsyncIterator[bytes]:
            yield b"some"
            raise OSError("cable cut")

    async def main() -> None:
        async with async_updater(world, Failing()) as client:
            with pytest.raises(DownloadError, match="cable cut"):
                await client.refresh()

    asyncio.run(main())


def test_without_a_root(world: PopulatedWorld) -> None:
    with pytest.raises(LocalFileNotFoundError):
        AsyncUpdater(None, world.url, bootstrap=None)
    with pytest.raises(RepositoryError):
        AsyncUpdater(None, world.url, bootstrap=b"no root")


def test_offline(world: PopulatedWorld) -> None:
    world.update()
    before = list(world.requests)

    async def main() -> None:
        async with async_updater(world, world.fetcher, offline=True) as client:
            target = await client.get_targetinfo("d/file")
            assert target is not None
            with pytest.raises(OfflineError):
                await client.download_target(target)

    asyncio.run(main())
    assert world.requests == before

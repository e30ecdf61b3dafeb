"""The client under asyncio, continued: cancellation, the event loop, the end."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from asynchronous import StreamsFetcher, async_updater
from servers import Server, drip_body, late

from tuf.api.metadata import TargetFile
from tuf.ngclient.aio import AsyncFetcherInterface
from world import PopulatedWorld, World

MIB = 1 << 20
T = TypeVar("T")


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


# -- cancellation


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("get", ["download_target", "read_target", "open_target"])
def test_cancelling_a_task_cancels_its_download(
    world: PopulatedWorld, server: Server, fetcher: AsyncFetcherInterface | None, get: str
) -> None:
    target = world.add_target("d/0", os.urandom(4 * MIB), "d")
    path = f"/{world.target_path(target)}"
    server.behave(path, drip_body(0.01, 10_000))

    async def main() -> int:
        async with async_updater(world, fetcher) as client:
            await client.refresh()
            counts: list[int] = []
            download = getattr(client, get)(target, progress=lambda _, n: counts.append(n))
            task = asyncio.ensure_future(download)
            await until(lambda: counts)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # Its updater goes on.
            assert await client.get_targetinfo("d/0") == target
            return len(counts)

    asyncio.run(main())
    assert not (world.target_dir() / "d%2F0").exists()
    assert server.paths.count(path) == 1


def test_cancelled_refresh_can_be_repeated(
    world: PopulatedWorld, server: Server, fetcher: AsyncFetcherInterface | None
) -> None:
    async def main() -> None:
        async with async_updater(world, fetcher) as client:
            for role in ("timestamp", "snapshot", "targets"):
                world.publish("targets", "d")
                path = f"/{world.path(role)}"
                server.behave(path, late(0.3), times=1)
                seen = server.paths.count(path)
                task = asyncio.ensure_future(client.refresh())
                await until(lambda path=path, seen=seen: server.paths.count(path) > seen)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await client.refresh()
                assert await client.get_targetinfo("d/file") is not None
                world.check()

    asyncio.run(main())
    world.update()


def test_time_limit_of_asyncio(
    world: PopulatedWorld, server: Server, fetcher: AsyncFetcherInterface | None
) -> None:
    server.behave("/metadata/timestamp.json", late(0.5))

    async def main() -> None:
        async with async_updater(world, fetcher) as client:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.refresh(), 0.05)

    asyncio.run(main())


HANGING = """
import asyncio, sys
from pathlib import Path
from tuf.ngclient.aio import AsyncFetcherInterface, AsyncUpdater

class Hanging(AsyncFetcherInterface):
    async def fetch(self, url):
        yield b"{"
        print("hangs", flush=True)
        try:
            await asyncio.Event().wait()
        finally:
            print("closed", flush=True)

async def main():
    root = Path(sys.argv[1]).read_bytes()
    url = "https://repository.example/"
    async with AsyncUpdater(None, url, fetcher=Hanging(), bootstrap=root) as client:
        task = asyncio.ensure_future(client.refresh())
        await asyncio.sleep(0.2)
        if sys.argv[2] == "cancelled":
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

asyncio.run(main())
print("ended")
"""


@pytest.mark.parametrize("how", ["cancelled", "left"])
def test_process_ends_although_a_fetcher_hangs(
    world: PopulatedWorld, tmp_path: Path, how: str
) -> None:
    root = tmp_path / "root.json"
    root.write_bytes(world.bootstrap)
    command = [sys.executable, "-c", HANGING, root, how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    assert done.stdout.splitlines() == ["hangs", "closed", "ended"], done.stderr
    assert done.returncode == 0


# -- the event loop


def with_heartbeat(work: Awaitable[T]) -> Coroutine[Any, Any, tuple[T, int]]:
    """Do something, and count how often the event loop comes round meanwhile."""

    async def main() -> tuple[T, int]:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.001)
                beats += 1

        heart = asyncio.ensure_future(beat())
        result = await work
        heart.cancel()
        return result, beats

    return main()


def test_event_loop_goes_on(
    world: PopulatedWorld, server: Server, fetcher: AsyncFetcherInterface | None
) -> None:
    big = world.add_target("d/big", os.urandom(16 * MIB), "d")
    for number in range(5000):
        world.targets("d").targets[f"d/{number}"] = TargetFile(
            number, {"sha256": "00" * 32}, f"d/{number}"
        )
    world.publish("targets", "d")
    for role in ("timestamp", "snapshot", "targets", "d"):
        server.behave(f"/{world.path(role)}", late(0.05))

    async def main() -> None:
        async with async_updater(world, fetcher) as client:
            _, beats = await with_heartbeat(client.refresh())
            assert beats > 3
            target, beats = await with_heartbeat(client.get_targetinfo("d/big"))
            assert target == big
            assert beats > 1
            path, beats = await with_heartbeat(client.download_target(big))
            assert Path(path).read_bytes() == world.files[world.target_path(big)]
            assert beats > 1
            found, beats = await with_heartbeat(client.find_cached_target(big))
            assert found == path
            assert beats > 1

    asyncio.run(main())


# -- the end


def test_close(world: PopulatedWorld, server: Server) -> None:
    async def main() -> None:
        client = async_updater(world)
        async with client as same:
            assert same is client
            await client.refresh()
        with pytest.raises(RuntimeError):
            await client.refresh()
        client.close()
        async_updater(world).close()

    asyncio.run(main())


def test_one_updater_in_several_event_loops(
    world: PopulatedWorld, server: Server, fetcher: AsyncFetcherInterface | None
) -> None:
    client = async_updater(world, fetcher)
    for _ in range(3):
        world.publish("d")
        asyncio.run(client.refresh())
        assert asyncio.run(client.get_targetinfo("d/file")) is not None
    client.close()

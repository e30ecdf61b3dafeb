"""Many targets, and many processors."""

import tracemalloc
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from repository.world import World

from tuf.repository import AddTarget, DirectoryStore, ManagedRepository, SetBins
from tuf.repository._bins import Spool


@pytest.fixture(params=["threads", "processes", "dask"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "threads":
        with ThreadPoolExecutor(2) as threads:
            yield threads
    elif request.param == "processes":
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
            yield processes
    else:
        distributed = pytest.importorskip("distributed", reason="needs Dask: install tuf[dask]")
        options = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
        with (
            distributed.LocalCluster(processes=True, **options) as cluster,
            distributed.Client(cluster) as client,
            client.get_executor() as dask,
        ):
            yield dask


@pytest.mark.filterwarnings("default")  # Dask's own
def test_files_are_hashed_and_bins_are_made_elsewhere(
    world: World, executor: Executor, tmp_path: Path
) -> None:
    paths = []
    for n in range(50):
        paths.append(tmp_path / f"file-{n}")
        paths[-1].write_bytes(b"%d" % n)
    repository = ManagedRepository(world.store, world.policy, executor=executor)
    repository.publish([SetBins(8, (world.key("online"),))])

    done = repository.publish(AddTarget(f"t/{n}", file=path) for n, path in enumerate(paths))

    assert len(done.versions) > 40
    world.check({f"t/{n}": b"%d" % n for n in range(0, 50, 10)})
    assert not world.repository.publish(AddTarget(f"t/{n}", data=b"%d" % n) for n in range(50))


class Reads(DirectoryStore):
    """A directory that remembers what was read and written."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.read_names: list[str] = []
        self.written: list[str] = []

    def read(self, name: str) -> bytes | None:
        data = super().read(name)
        if data is not None:
            self.read_names.append(name)
        return data

    def create(self, name: str, data: bytes) -> None:
        self.written.append(name)
        super().create(name, data)

    def create_many(self, files):  # type: ignore[no-untyped-def]
        def named():  # type: ignore[no-untyped-def]
            for name, data in files:
                if name not in self.written:
                    self.written.append(name)
                yield name, data

        return super().create_many(named())

    def swap(self, name: str, old: bytes | None, new: bytes) -> None:
        self.written.append(name)
        super().swap(name, old, new)


def test_one_target_among_many_touches_one_bin(world: World) -> None:
    world.publish(SetBins(10, (world.key("online"),)))
    store = Reads(world.directory / "repo")
    repository = ManagedRepository(store, world.policy)
    digest = {"sha256": 64 * "0"}
    repository.publish([AddTarget("first", length=1, hashes=digest)])
    store.read_names.clear()
    store.written.clear()

    done = repository.publish([AddTarget("a", length=1, hashes=digest)])

    (bin_,) = set(done.versions) - {"snapshot", "timestamp"}
    assert store.written == [
        f"metadata/{done.versions[bin_]}.{bin_}.json",
        "metadata/4.snapshot.json",
        "metadata/timestamp.json",
    ]
    # Beside them, the few bytes that say which bin it is.
    assert set(store.read_names) == {
        "metadata/timestamp.json",
        "metadata/3.snapshot.json",
        "metadata/2.targets.json",
        f"metadata/1.{bin_}.json",
    }


def test_memory_does_not_grow_with_the_number_of_targets(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Less than the million of which there is a benchmark, and so a lower limit.
    monkeypatch.setattr(Spool, "_LIMIT", 2000)
    world.publish(SetBins(8, (world.key("online"),)))

    def changes(start: int, count: int) -> Iterator[AddTarget]:
        for n in range(start, start + count):
            yield AddTarget(f"packages/{n}", length=n, hashes={"sha256": f"{n:064x}"})

    def peak(start: int, count: int) -> int:
        tracemalloc.start()
        world.repository.publish(changes(start, count))
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return found

    peak(0, 1000)
    few = peak(1000, 5000)
    many = peak(6000, 20_000)
    assert many < few * 1.5

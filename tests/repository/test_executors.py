"""The same result, byte by byte, wherever the work is done; and the benchmark of that."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import pytest
from repository.world import World

from tuf.repository import AddTarget, ManagedRepository, SetBins

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "repository.py"


@contextmanager
def make_executor(kind: str) -> Iterator[Executor]:
    """The executors that users have."""
    if kind == "threads":
        with ThreadPoolExecutor(2) as threads:
            yield threads
    elif kind == "processes":
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
            yield processes
    else:
        distributed = pytest.importorskip("dask.distributed", reason="dask is not installed")
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client.get_executor()


@pytest.mark.parametrize("kind", ["threads", "processes", "dask"])
@pytest.mark.filterwarnings("default")  # Dask's own
def test_every_executor_makes_the_same(world: World, tmp_path: Path, kind: str) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for number in range(40):
        (files / str(number)).write_bytes(b"%d" % number)
    changes = [
        SetBins(5, (world.key("online"),)),
        *(AddTarget(f"f/{n}", file=files / str(n)) for n in range(40)),
        *(AddTarget(f"d/{n}", data=b"d%d" % n) for n in range(200)),
    ]
    shutil.copytree(tmp_path / "keys", tmp_path / "alone" / "keys")
    alone = World(tmp_path / "alone")
    alone.now = world.now
    alone.create()

    with make_executor(kind) as executor:
        done = ManagedRepository(
            world.store, world.policy, clock=lambda: world.now, executor=executor
        ).publish(changes)

    assert done == alone.publish(*changes)
    assert world.file("targets/") == alone.file("targets/")
    # Ed25519 signatures of the same are the same.
    assert world.file("metadata/") == alone.file("metadata/")
    world.check({"f/7": b"7", "d/7": b"d7"})


@pytest.mark.parametrize("executor", ["none", "processes"])
def test_benchmark_runs(tmp_path: Path, executor: str) -> None:
    command = [sys.executable, BENCHMARK, "300", "--bits", "4", "--repeat", "2"]
    done = subprocess.run(
        [*command, "--executor", executor, "--directory", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    size, *figures = done.stdout.splitlines()[-1].split()
    assert size == "300"
    assert len([float(figure) for figure in figures]) == 5
    assert not list(tmp_path.iterdir())

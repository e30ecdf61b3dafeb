"""How long does it take to publish a repository of many targets, and then one target more?

Every size gets a process and a repository of its own, in succinct hash bins, all of it on the
disk when the clock is stopped. Each target is described by its length and hashes: there are no
target files. For example::

    python benchmarks/repository.py --names names.txt.gz 100000 300000 1000000
"""

import argparse
import gzip
import itertools
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from tuf.repository import AddTarget, DirectoryStore, ManagedRepository, Policy, generate_key

POLICY = """\
[keys]
root = { uri = "file:keys/root" }
online = { uri = "file:keys/online" }
[roles]
root = { keys = ["root"] }
targets = { keys = ["online"] }
snapshot = { keys = ["online"] }
timestamp = { keys = ["online"] }
[bins]
bits = 1
keys = ["online"]
"""


def project_names(file: Path | None) -> Iterator[str]:
    """Names without end: made up, or those of a file and then no more."""
    if file is None:
        yield from (f"project-{number:07x}" for number in itertools.count())
    else:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            yield from map(str.strip, lines)


def target_paths(file: Path | None) -> Iterator[str]:
    """Target paths without end: a file of each project, then the next version of each."""
    for version in itertools.count():
        for name in project_names(file):
            directory = sha256(name.encode()).hexdigest()[:2]
            yield f"packages/{directory}/{name}-{version}.0-py3-none-any.whl"


def change(path: str) -> AddTarget:
    """A target that is described, and whose file is elsewhere."""
    digest = sha256(path.encode()).hexdigest()
    return AddTarget(path, length=len(path) * 1000, hashes={"sha256": digest})


def make_executor(name: str) -> Executor | None:
    if name == "threads":
        return ThreadPoolExecutor()
    if name == "processes":
        return ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"))
    return None


def peak_memory() -> float:
    """The most memory that this process has had, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def measure(arguments: argparse.Namespace, size: int) -> None:
    """Print one line of the table."""
    with (
        tempfile.TemporaryDirectory(dir=arguments.directory) as directory,
        make_executor(arguments.executor) or nullcontext() as executor,
    ):
        base = Path(directory)
        (base / "keys").mkdir()
        for name in ("root", "online"):
            generate_key(base / "keys" / name, None)
        policy = Policy.from_text(POLICY, base)
        assert policy.bins is not None
        policy = replace(policy, bins=replace(policy.bins, bits=arguments.bits))
        store = DirectoryStore(base / "repo")
        paths = target_paths(arguments.names)

        start, start_cpu = time.perf_counter(), time.process_time()
        changes = map(change, itertools.islice(paths, size))
        ManagedRepository(store, policy, executor=executor).create(changes)
        seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        memory = peak_memory()

        # Each time as a new process would: nothing is known of what is in the store.
        more = []
        for path in itertools.islice(paths, arguments.repeat):
            start = time.perf_counter()
            published = ManagedRepository(store, policy).publish([change(path)])
            more.append(time.perf_counter() - start)
            assert len(published.versions) == 3, published
        median, most = statistics.median(more) * 1000, max(more) * 1000
        figures = f"{seconds:>9.2f} {cpu:>9.2f} {memory:>9.2f} {median:>9.1f} {most:>9.1f}"
        print(f"{size:>10,} {figures}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("sizes", type=int, nargs="+", metavar="SIZE", help="numbers of targets")
    parser.add_argument("--bits", type=int, default=14, help="2 to the power of it: bins (14)")
    parser.add_argument("--names", type=Path, help="gzip file of project names, one a line")
    parser.add_argument("--directory", type=Path, help="where repositories are made for a while")
    parser.add_argument("--repeat", type=int, default=20, help="how often one is added (20)")
    parser.add_argument("--executor", choices=("none", "threads", "processes"), default="none")
    arguments = parser.parse_args()
    print(f"{'':>10} {'create':>9} {'processor':>9} {'peak':>9} {'one more':>9} {'at most':>9}")
    print(f"{'targets':>10} {'s':>9} {'s':>9} {'GiB':>9} {'ms':>9} {'ms':>9}", flush=True)
    for size in arguments.sizes:
        process = multiprocessing.get_context("spawn").Process(
            target=measure, args=(arguments, size)
        )
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(f"error: the process for {size:,} targets ended with {process.exitcode}")


if __name__ == "__main__":
    main()

"""A repository with very many targets: how long it takes, and how much memory.

::

    python benchmarks/repository.py [TARGETS [BITS [NAMES.gz]]]

``NAMES.gz`` has a package name in each line; without it, names are made up.
"""

import gzip
import itertools
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from tuf.repository import AddTarget, DirectoryStore, ManagedRepository, Policy, generate_key

POLICY = """\
[keys]
root = {{ uri = "file:root" }}
online = {{ uri = "file:online" }}
[roles]
root = {{ keys = ["root"] }}
targets = {{ keys = ["online"] }}
snapshot = {{ keys = ["online"] }}
timestamp = {{ keys = ["online"] }}
[bins]
bits = {bits}
keys = ["online"]
"""


def names(file: str | None) -> Iterator[str]:
    """Names of packages, without end."""
    for version in itertools.count(1):
        if file is None:
            for n in range(900_000):
                yield f"{sha256(b'%d' % n).hexdigest()[: 4 + n % 20]}-{version}.0"
        else:
            with gzip.open(file, "rt", encoding="utf-8") as lines:
                for line in lines:
                    yield f"{line.strip()}-{version}.0"


def targets(count: int, file: str | None) -> Iterator[AddTarget]:
    """Targets with lengths and hashes, and no files."""
    for n, name in enumerate(itertools.islice(names(file), count)):
        path = f"packages/{name[:2]}/{name}-py3-none-any.whl"
        yield AddTarget(path, length=1000 + n, hashes={"sha256": f"{n * 2654435761:064x}"})


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    bits = int(sys.argv[2]) if len(sys.argv) > 2 else 14
    file = sys.argv[3] if len(sys.argv) > 3 else None
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        for name in ("root", "online"):
            generate_key(directory / name, None)
        policy = Policy.from_text(POLICY.format(bits=bits), directory)
        repository = ManagedRepository(DirectoryStore(directory / "repo"), policy)

        start, start_cpu = time.perf_counter(), time.process_time()
        repository.create(targets(count, file))
        wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"create {count} targets in {1 << bits} bins: {wall:.1f} s", end=" ")
        print(f"({cpu:.1f} s of processor), peak {peak:.0f} MiB")

        times = []
        for n in range(21):
            change = AddTarget(f"new/{n}", length=1, hashes={"sha256": f"{n:064x}"})
            start = time.perf_counter()
            repository.publish([change])
            times.append(time.perf_counter() - start)
        times.sort()
        print(f"add one target: median {times[10] * 1000:.1f} ms, best {times[0] * 1000:.1f} ms")


if __name__ == "__main__":
    main()

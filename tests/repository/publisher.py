"""A process that publishes targets, so many in each publication."""

import sys
from pathlib import Path

from repository.world import World, open_store

from tuf.repository import AddTarget


def main(directory: str, url: str, name: str, count: int, at_once: int) -> None:
    world = World(Path(directory), store=open_store(url))
    for first in range(0, count, at_once):
        world.publish(
            *(
                AddTarget(f"{name}/{n}", data=f"{name} {n}".encode())
                for n in range(first, min(count, first + at_once))
            )
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))

"""A world for the client to live in: a repository, machines with caches, and an adversary.

::

    world = World(tmp_path)
    world.add_target("a.txt", b"content")
    world.rotate("root")
    world.client().refresh()
    world.check()
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from publisher import TOP_LEVEL, Publisher, new_keys, reorder, signatures, wrap
from servers import Server

from tuf.api.dsse import SimpleEnvelope
from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import Metadata
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig
from tuf.ngclient.config import EnvelopeType

#: What a download that broke off leaves, to go on with; no final name of a target.
PARTIAL = re.compile(r"\.tuf-[0-9a-f-]+\.part")

__all__ = ["TOP_LEVEL", "PopulatedWorld", "World", "new_keys", "reorder", "signatures", "wrap"]


class WorldFetcher(FetcherInterface):
    """Serves the files of a world, in pieces, and keeps a log of what was asked for."""

    def __init__(self, world: "World") -> None:
        self.world = world

    def _fetch(self, url: str) -> Iterator[bytes]:
        world = self.world
        assert url.startswith(world.url), url
        path = url[len(world.url) :]
        world.requests.append(path)
        if world.on_request:
            world.on_request(path)
        answer = world.answers.get(path, world.files.get(path, 404))
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int):
            raise DownloadHTTPError(f"{path}: status {answer}", answer)
        middle = len(answer) // 2
        return iter([answer[:middle], answer[middle:]])


class WorldServer(Server):
    """Serves the files of a world over HTTP."""

    def __init__(self, world: "World") -> None:
        super().__init__({})
        self.world = world

    def content(self, path: str) -> bytes | None:
        files = list(self.world.files.items())  # which may change meanwhile
        return {f"/{unquote(name)}": data for name, data in files}.get(path)


class World(Publisher):
    """A repository, the machines that update from it, and whatever stands between them.

    Args:
        base: directory for the caches of the machines.
        options: of the repository.

    Attributes:
        answers: an HTTP status or an exception instead of a file, by URL path.
        on_request: called with the URL path before each answer.
        requests: the URL paths that were asked for, in order.
        url: prefix of all URL paths.
    """

    def __init__(self, base: Path, **options: Any) -> None:
        super().__init__(**options)
        self.base = base
        self.url = "https://repository.example/"
        self.answers: dict[str, int | Exception] = {}
        self.on_request: Callable[[str], object] | None = None
        self.requests: list[str] = []
        self.fetcher: FetcherInterface | None = WorldFetcher(self)
        self._seen: dict[tuple[str, str], tuple[int, int]] = {}

    def client(
        self,
        machine: str = "machine",
        *,
        bootstrap: bytes | bool | None = True,
        fetcher: FetcherInterface | None = None,
        **config: Any,
    ) -> Updater:
        """An updater, as a new process on this machine has it; each machine has its own cache."""
        self.metadata_dir(machine).mkdir(parents=True, exist_ok=True)
        self.target_dir(machine).mkdir(parents=True, exist_ok=True)
        config.setdefault("envelope_type", self.envelope_type)
        config.setdefault("prefix_targets_with_hash", self.root.consistent_snapshot)
        return Updater(
            str(self.metadata_dir(machine)),
            self.url + "metadata/",
            str(self.target_dir(machine)),
            self.url + "targets/",
            fetcher or self.fetcher,
            UpdaterConfig(**config),
            bootstrap=self.bootstrap if bootstrap is True else bootstrap or None,
        )

    @contextmanager
    def serve(self) -> Iterator[Server]:
        """Serve the files over HTTP; clients made meanwhile fetch them with their own fetcher."""
        url, fetcher = self.url, self.fetcher
        with WorldServer(self) as server:
            self.url, self.fetcher = f"{server.url}/", None
            try:
                yield server
            finally:
                self.url, self.fetcher = url, fetcher

    def metadata_dir(self, machine: str = "machine") -> Path:
        return self.base / machine / "metadata"

    def target_dir(self, machine: str = "machine") -> Path:
        return self.base / machine / "targets"

    def cache_file(self, role: str, machine: str = "machine") -> Path:
        return self.metadata_dir(machine) / f"{quote(role, safe='')}.json"

    def cached(self, role: str, machine: str = "machine") -> bytes | None:
        """The bytes that the machine has persisted for a role."""
        file = self.cache_file(role, machine)
        return file.read_bytes() if file.exists() else None

    def cached_version(self, role: str, machine: str = "machine") -> int | None:
        data = self.cached(role, machine)
        return None if data is None else self._version(data)

    def asked(self, act: Callable[[], object]) -> list[str]:
        """The URL paths that a call asks for."""
        start = len(self.requests)
        act()
        return self.requests[start:]

    def check(self) -> None:
        """What must hold at any moment, whoever did what before.

        A machine has no metadata but what the repository published, whole; its versions never went
        back since the last check (but for a rotation of the timestamp or snapshot key); each target
        file is whole, and is what some version of the repository had under this name.
        """
        for directory in sorted(self.base.iterdir()):
            machine = directory.name
            for file in sorted(self.metadata_dir(machine).rglob("*.json")):
                role = unquote(file.name.removesuffix(".json"))
                if file.parent != self.metadata_dir(machine):
                    role = role.partition(".")[2]
                data = file.read_bytes()
                assert data in self.honest.get(role, ()), f"{file} is not of the repository"
                if file.parent == self.metadata_dir(machine):
                    version = (self.honest[role][data], self._version(data))
                    assert version >= self._seen.get((machine, role), (0, 0)), f"{file} went back"
                    self._seen[machine, role] = version
            for file in sorted(self.target_dir(machine).rglob("*")):
                if file.is_file() and not PARTIAL.fullmatch(file.name):
                    path = unquote(str(file.relative_to(self.target_dir(machine))))
                    contents = self.contents.get(path, set())
                    assert file.read_bytes() in contents, f"{file} is not of the repository"

    def age(self, role: str, machine: str = "machine") -> None:
        """Time passes: what this machine has cached of a role is now past its expiry.

        (Its bytes change, so use it without `meta_hashes`.)"""
        data = self.cached(role, machine)
        assert data is not None
        metadata = Metadata.from_bytes(data)
        metadata.signed.expires = self.earlier
        metadata.signatures.clear()
        for signer in self.signers[role]:
            metadata.sign(signer, append=True)
        aged = metadata.to_bytes()
        self.honest[role][aged] = self._recoveries
        self.cache_file(role, machine).write_bytes(aged)

    def _version(self, data: bytes) -> int:
        if self.envelope_type is EnvelopeType.SIMPLE:
            return SimpleEnvelope.from_bytes(data).get_signed().version
        return Metadata.from_bytes(data).signed.version


class PopulatedWorld(World):
    """A world where targets delegates ``d/*`` to role d, which has the target ``d/file``.

    Every role has had a version before its latest.
    """

    def __init__(self, base: Path, **options: Any) -> None:
        super().__init__(base, **options)
        self.delegate("d", ["d/*"])
        self.add_target("d/file", b"content", "d")
        self.publish("targets", "d")

    def update(self, machine: str = "machine", **config: Any) -> None:
        """A new process refreshes, and finds the target that only role d has."""
        client = self.client(machine, **config)
        client.refresh()
        assert client.get_targetinfo("d/file") == self.targets("d").targets["d/file"]
        self.check()

    def refused(self, error: type[Exception], machine: str = "machine", **config: Any) -> None:
        """An update ends in just this error."""
        with pytest.raises(error) as caught:
            self.update(machine, **config)
        assert type(caught.value) is error, repr(caught.value)
        self.check()

    def recovers(self) -> None:
        """Whatever failed before, the next good update succeeds, and all of it is persisted."""
        self.publish("targets", "d")
        self.update()
        for role in (*TOP_LEVEL, "d"):
            assert self.cached(role) == self.files[self.path(role)], role

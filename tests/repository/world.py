"""A repository that is really run, in a directory, with key files, a clock and clients."""

import dataclasses
import os
import socket
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import urllib3
from moto.server import ThreadedMotoServer
from obstore.store import MemoryStore, S3Store
from servers import Server
from urllib3.util import Retry

from tuf.api.metadata import Key
from tuf.ngclient import Updater
from tuf.repository import (
    DirectoryStore,
    KeySource,
    ManagedRepository,
    Policy,
    Publication,
    generate_key,
)
from tuf.repository.changes import Change
from tuf.repository.object_store import ObjectStore
from tuf.repository.store import Store

POLICY = """\
[keys]
root = { uri = "file:keys/root" }
online = { uri = "file:keys/online" }
[roles]
root = { keys = ["root"] }
targets = { keys = ["online"] }
snapshot = { keys = ["online"] }
timestamp = { keys = ["online"] }
"""


class World:
    """A directory with keys, a policy, and a repository in ``repo``."""

    def __init__(self, directory: Path, policy: str = POLICY, store: Store | None = None) -> None:
        self.directory = directory
        self.now = datetime.now(timezone.utc)
        (directory / "keys").mkdir(exist_ok=True)
        for name in ("root", "online"):
            if not (directory / "keys" / name).exists():
                generate_key(directory / "keys" / name, None)
        self.policy = Policy.from_text(policy, directory)
        self.store = store or DirectoryStore(directory / "repo")
        self.clients: dict[str, dict[str, bytes | None]] = {}

    @property
    def repository(self) -> ManagedRepository:
        """The repository, as another process sees it."""
        return ManagedRepository(self.store, self.policy, clock=lambda: self.now)

    def key(self, name: str) -> Key:
        """The public key of that name; a new one if there is none yet."""
        if name not in self.policy.keys:
            generate_key(self.directory / "keys" / name, None)
            keys = {**self.policy.keys, name: KeySource(name, f"file:keys/{name}")}
            self.policy = dataclasses.replace(self.policy, keys=keys)
        return self.policy.keyring().public_key(name)

    def lose(self, name: str) -> None:
        """Let a private key be elsewhere."""
        source = KeySource(name, None, self.key(name))
        self.policy = dataclasses.replace(self.policy, keys={**self.policy.keys, name: source})

    def create(self, changes: Iterable[Change] = ()) -> Publication:
        return self.repository.create(changes)

    def publish(self, *changes: Change) -> Publication:
        return self.repository.publish(changes)

    def wait(self, **period: float) -> None:
        self.now += timedelta(**period)

    def file(self, name: str) -> dict[str, bytes]:
        return {info.name: self.store.read(info.name) or b"" for info in self.store.list(name)}

    @contextmanager
    def client(self, name: str = "client") -> Iterator[Updater]:
        """A client that keeps its metadata from one use to the next; it begins with root 1."""
        directory = self.directory / name
        (directory / "targets").mkdir(parents=True, exist_ok=True)
        root = self.store.read("metadata/1.root.json")
        with Server(Published(self.store)) as server:  # type: ignore[arg-type]
            updater = Updater(
                str(directory),
                f"{server.url}/metadata/",
                str(directory / "targets"),
                f"{server.url}/targets/",
                bootstrap=root,
            )
            yield updater

    def check(self, targets: dict[str, bytes | None], name: str = "client") -> None:
        """A client updates, and finds these targets; those that are None it does not find."""
        for client in (name, f"new-{len(self.clients)}"):
            self.clients[client] = targets
            with self.client(client) as updater:
                updater.refresh()
                for path, content in targets.items():
                    info = updater.get_targetinfo(path)
                    assert (info is None) == (content is None), path
                    if info is not None and content:
                        assert Path(updater.download_target(info)).read_bytes() == content


def open_store(url: str) -> Store:
    """The store at a path, ``memory:``, or ``http://SERVER/PREFIX`` on an S3 server."""
    if url == "memory:":
        return ObjectStore(MemoryStore())
    if not url.startswith("http://"):
        return DirectoryStore(url)
    endpoint, _, prefix = url.rpartition("/")
    bucket = S3Store(
        "bucket",
        prefix=prefix,
        endpoint=endpoint,
        region="us-east-1",
        access_key_id="id",
        secret_access_key="secret",
        client_options={"allow_http": True},
    )
    return ObjectStore(bucket)


@contextmanager
def s3_server() -> Iterator[str]:
    """An S3-compatible server with a bucket named ``bucket``.

    It is moto's, or versitygw if the environment variable VERSITYGW names its program.
    """
    if program := os.environ.get("VERSITYGW"):
        with TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as free:
            os.mkdir(os.path.join(directory, "bucket"))
            address = f"127.0.0.1:{free.getsockname()[1]}"
            free.close()
            command = [program, "--port", address, "--access", "id", "--secret", "secret"]
            with subprocess.Popen([*command, "posix", directory], stdout=subprocess.DEVNULL) as run:
                urllib3.request("GET", f"http://{address}/", retries=Retry(50, backoff_factor=0.01))
                yield f"http://{address}"
                run.terminate()
        return
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        urllib3.request("PUT", f"{url}/bucket")
        yield url
    finally:
        server.stop()


class Published(dict[str, Any]):
    """What a web server in front of a store serves."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __contains__(self, path: object) -> bool:
        return self.get(str(path)) is not None

    def __getitem__(self, path: str) -> bytes:
        data = self.get(path)
        if data is None:
            raise KeyError(path)
        return data

    def get(self, path: str, default: Any = None) -> bytes | None:
        name = path.lstrip("/")
        data = self.store.read(name) if name.startswith(("metadata/", "targets/")) else None
        return default if data is None else data


def versions(publication: Publication) -> dict[str, int]:
    """What was published, without bins."""
    return {role: n for role, n in publication.versions.items() if not role.startswith("bins-")}

"""Mirrors of targets: one fails, the next one helps."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from servers import Server, drip_body, endless, reset, status, too_much, truncated

from tuf.api.exceptions import DownloadHTTPError, LengthOrHashMismatchError
from tuf.ngclient import Urllib3Fetcher
from world import World

MIB = 1 << 20
SMALL = b"content"
BIG = os.urandom(2 * MIB + 1234)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    with world.serve() as server:
        yield server


@pytest.fixture
def mirror() -> Iterator[Server]:
    with Server({}) as mirror:
        yield mirror


MIRROR_FAILURES: list[tuple[str, Any]] = [
    ("absent", status(404)),
    ("error", status(500)),
    ("other content", lambda handler, body: handler.send(200, (body or b"")[::-1])),
    ("too much", too_much(10)),
    ("too little", lambda handler, body: handler.send(200, (body or b"")[:-1])),
    ("endless", endless()),
    ("breaks off", truncated(1000)),
    ("hangs up", reset),
    ("slow", drip_body(0.05)),
]


@pytest.mark.parametrize(
    "behaviour", [pytest.param(behaviour, id=name) for name, behaviour in MIRROR_FAILURES]
)
@pytest.mark.parametrize("get", ["download_target", "read_target"])
def test_second_mirror_helps(
    world: World, server: Server, mirror: Server, behaviour: Any, get: str
) -> None:
    target = world.add_target("dir/a b", BIG)
    server.behave(f"/targets/{target.get_prefixed_paths()[0]}", behaviour)
    mirror.files = {f"/here/{target.get_prefixed_paths()[0]}": BIG}
    with closing(Urllib3Fetcher(min_rate=2000, rate_window=0.3, retries=0)) as fetcher:
        client = world.client(target_mirrors=(f"{mirror.url}/here",), retries=0, fetcher=fetcher)
        got = getattr(client, get)(target)
        assert (Path(got).read_bytes() if get == "download_target" else got) == BIG
    assert len(mirror.log) in (1, 2)
    assert list(world.target_dir().glob(".tuf-*")) == []


def test_first_server_is_down(world: World, server: Server, mirror: Server) -> None:
    target = world.add_target("a", SMALL)
    mirror.files = {f"/{target.get_prefixed_paths()[0]}": SMALL}
    with Server({}) as gone:
        pass
    client = world.client(target_mirrors=(gone.url, mirror.url), retries=0)
    assert client.read_target(target, gone.url) == SMALL


def test_mirrors_are_asked_in_order_and_only_when_needed(
    world: World, server: Server, mirror: Server
) -> None:
    target = world.add_target("a", SMALL)
    path = f"/{target.get_prefixed_paths()[0]}"
    mirror.files = {f"/2{path}": SMALL, f"/3{path}": SMALL}
    mirrors = tuple(f"{mirror.url}/{number}" for number in (1, 2, 3))
    client = world.client(target_mirrors=mirrors)
    assert client.read_target(target) == SMALL
    assert mirror.paths == []
    del world.files[world.target_path(target)]
    assert client.read_target(target) == SMALL
    assert mirror.paths == [f"/1{path}", f"/2{path}"]


def test_mirror_goes_on_where_the_first_server_broke_off(
    world: World, server: Server, mirror: Server
) -> None:
    target = world.add_target("a", BIG)
    server.behave(f"/{world.target_path(target)}", truncated(2000))
    mirror.files = {f"/{target.get_prefixed_paths()[0]}": BIG}
    client = world.client(target_mirrors=(mirror.url,), retries=0)
    assert client.read_target(target) == BIG
    assert [request.headers.get("range") for request in mirror.log] == ["bytes=2000-"]


def test_no_mirror_helps(world: World, server: Server, mirror: Server) -> None:
    target = world.add_target("a", SMALL)
    server.behave(f"/{world.target_path(target)}", status(500))
    mirror.files = {f"/{target.get_prefixed_paths()[0]}": SMALL[::-1]}
    with pytest.raises(LengthOrHashMismatchError):
        world.client(target_mirrors=(mirror.url,)).download_target(target)
    assert list(world.target_dir().iterdir()) == []


def test_mirrors_are_for_targets_alone(world: World, server: Server, mirror: Server) -> None:
    world.add_target("a", SMALL)
    server.behave("/metadata/timestamp.json", status(500))
    with pytest.raises(DownloadHTTPError):
        world.client(target_mirrors=(mirror.url,)).refresh()
    assert mirror.paths == []

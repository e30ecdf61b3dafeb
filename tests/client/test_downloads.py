"""Downloads of targets: as bytes, streams and files; broken off, taken up again, cancelled."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import (
    Handler,
    Server,
    drip_body,
    endless,
    ignore_range,
    status,
    too_much,
    truncated,
    wrong_range,
)

from tuf.api.exceptions import (
    DownloadCancelledError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    LengthOrHashMismatchError,
    SlowRetrievalError,
)
from tuf.api.metadata import TargetFile
from tuf.ngclient import Updater, Urllib3Fetcher
from world import World

MIB = 1 << 20
SMALL = b"content"
BIG = os.urandom(3 * MIB + 1234)
BOTH = pytest.mark.parametrize("content", [SMALL, BIG], ids=["small", "big"])

Failures = type[Exception] | tuple[type[Exception], ...]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    with world.serve() as server:
        yield server


def parts(world: World) -> list[Path]:
    return sorted(world.target_dir().rglob(".tuf-*"))


def ranges(server: Server, target: TargetFile) -> list[str | None]:
    """The Range header of each request for a target."""
    name = target.get_prefixed_paths()[0]
    return [r.headers.get("range") for r in server.log if r.path == f"/targets/{name}"]


def url_path(world: World, target: TargetFile) -> str:
    return f"/{world.target_path(target)}"


# -- as bytes and as a stream


@BOTH
def test_read_and_open(world: World, server: Server, content: bytes) -> None:
    target = world.add_target("a/b", content)
    client = world.client()
    assert client.read_target(target) == content
    with client.open_target(target) as file:
        assert file.tell() == 0
        assert file.read(3) == content[:3]
        assert file.read() == content[3:]
        file.seek(1)
        assert file.read(2) == content[1:3]
    assert list(world.target_dir().iterdir()) == []


def test_read_and_open_nothing(world: World, server: Server) -> None:
    target = world.add_target("empty", b"")
    client = world.client()
    assert client.read_target(target) == b""
    with client.open_target(target) as file:
        assert file.read() == b""


def test_read_and_open_need_no_directories(world: World, server: Server) -> None:
    target = world.add_target("a", SMALL)
    url = world.url + "elsewhere"
    world.files["elsewhere/" + target.get_prefixed_paths()[0]] = SMALL
    client = Updater(None, world.url + "metadata", bootstrap=world.bootstrap)
    assert client.get_targetinfo("a") == target
    assert client.read_target(target, url) == SMALL
    with client.open_target(target, target_base_url=url) as file:
        assert file.read() == SMALL
    with pytest.raises(ValueError, match="target_base_url"):
        client.read_target(target)


WRONG: list[tuple[str, Callable[[bytes], bytes], Failures]] = [
    ("last byte", lambda data: data[:-1] + bytes([data[-1] ^ 1]), LengthOrHashMismatchError),
    ("first byte", lambda data: bytes([data[0] ^ 1]) + data[1:], LengthOrHashMismatchError),
    ("too short", lambda data: data[:-1], LengthOrHashMismatchError),
    ("too long", lambda data: data + b"x", DownloadLengthMismatchError),
    ("empty", lambda _: b"", LengthOrHashMismatchError),
]


@BOTH
@pytest.mark.parametrize(
    ("change", "error"), [pytest.param(*rest, id=name) for name, *rest in WRONG]
)
def test_wrong_content_is_not_handed_out(
    world: World, server: Server, content: bytes, change: Callable[[bytes], bytes], error: Failures
) -> None:
    """Not its first byte either, although that is right: all of it is verified first."""
    target = world.add_target("a", content)
    world.files[world.target_path(target)] = change(content)
    client = world.client()
    for get in (client.read_target, client.open_target, client.download_target):
        with pytest.raises(error):
            get(target)
    assert list(world.target_dir().iterdir()) == []
    world.files[world.target_path(target)] = content
    assert client.read_target(target) == content


# -- progress


@BOTH
@pytest.mark.parametrize("get", ["download_target", "read_target", "open_target"])
def test_progress(world: World, server: Server, content: bytes, get: str) -> None:
    target = world.add_target("a", content)
    calls: list[tuple[TargetFile, int]] = []
    got = getattr(world.client(), get)(target, progress=lambda *args: calls.append(args))
    if get == "open_target":
        got.close()
    counts = [count for _, count in calls]
    assert {info.path for info, _ in calls} == {"a"}
    assert counts == sorted(set(counts))
    assert counts[-1] == len(content)


class Enough(Exception):
    pass


def test_progress_that_raises_ends_the_download(world: World, server: Server) -> None:
    target = world.add_target("a", BIG)

    def progress(_: TargetFile, count: int) -> None:
        raise Enough

    client = world.client()
    for get in (client.download_target, client.read_target, client.open_target):
        with pytest.raises(Enough):
            get(target, progress=progress)
    assert list(world.target_dir().iterdir()) == []
    assert Path(client.download_target(target)).read_bytes() == BIG


# -- cancellation


@pytest.mark.parametrize("get", ["download_target", "read_target", "open_target"])
def test_cancel_mid_way(world: World, server: Server, get: str) -> None:
    target = world.add_target("a", BIG)
    server.behave(url_path(world, target), drip_body(0.01, 500))
    cancel = threading.Event()

    def progress(_: TargetFile, count: int) -> None:
        if count > 1000:
            cancel.set()

    client = world.client()
    with pytest.raises(DownloadCancelledError):
        getattr(client, get)(target, progress=progress, cancel=cancel)
    assert list(world.target_dir().iterdir()) == []
    # What is cancelled is not tried again, and nowhere else.
    assert len(ranges(server, target)) == 1
    with pytest.raises(DownloadCancelledError):
        getattr(client, get)(target, cancel=cancel)


def test_cancel_keeps_the_file_that_is_there(world: World, server: Server) -> None:
    client = world.client()
    file = Path(client.download_target(world.add_target("a", SMALL)))
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(DownloadCancelledError):
        client.download_target(world.add_target("a", BIG), cancel=cancel)
    assert file.read_bytes() == SMALL


def test_cancelled_download_is_taken_up_by_the_next(world: World, server: Server) -> None:
    target = world.add_target("a", BIG)
    cancel = threading.Event()
    there = 0

    def progress(_: TargetFile, count: int) -> None:
        nonlocal there
        there = count
        if count > MIB:
            cancel.set()

    client = world.client()
    with pytest.raises(DownloadCancelledError):
        client.download_target(target, progress=progress, cancel=cancel)
    assert Path(client.download_target(target)).read_bytes() == BIG
    assert ranges(server, target) == [None, f"bytes={there}-"]


# -- broken bodies


@pytest.mark.parametrize("get", ["download_target", "read_target"])
def test_broken_body_is_taken_up(world: World, server: Server, get: str) -> None:
    target = world.add_target("a", BIG)
    server.behave(url_path(world, target), truncated(1000), times=2)
    got = getattr(world.client(), get)(target)
    assert (Path(got).read_bytes() if get == "download_target" else got) == BIG
    assert ranges(server, target) == [None, "bytes=1000-", "bytes=2000-"]
    assert parts(world) == []


def test_broken_body_of_a_server_without_ranges(world: World, server: Server) -> None:
    for number, behaviour in enumerate(
        [ignore_range, wrong_range(None), wrong_range("bytes 0-6/7"), status(416)]
    ):
        target = world.add_target(f"a{number}", BIG)
        path = url_path(world, target)

        def behave(
            handler: Handler, body: bytes | None, other: Any = behaviour, name: str = path
        ) -> None:
            if handler.range_start():
                other(handler, body)
            elif server.paths.count(name) == 1:
                truncated(1000)(handler, body)
            else:
                handler.send(200, body or b"")

        server.behave(path, behave)
        assert world.client().read_target(target) == BIG
        assert ranges(server, target)[:2] == [None, "bytes=1000-"]


def test_content_that_changes_between_the_parts_is_not_mixed(world: World, server: Server) -> None:
    """Two halves that do not belong together: hashes tell, and the next try is from scratch."""
    target = world.add_target("a", BIG)
    path = url_path(world, target)
    flipped = bytes(byte ^ 1 for byte in BIG[:MIB]) + BIG[MIB:]
    server.behave(path, lambda handler, _: truncated(MIB)(handler, flipped), times=1)
    client = world.client()
    with pytest.raises(LengthOrHashMismatchError):
        client.download_target(target)
    assert list(world.target_dir().iterdir()) == []
    assert Path(client.download_target(target)).read_bytes() == BIG


def test_progress_goes_on_where_the_body_broke_off(world: World, server: Server) -> None:
    target = world.add_target("a", BIG)
    server.behave(url_path(world, target), truncated(MIB), times=2)
    counts: list[int] = []
    world.client().download_target(target, progress=lambda _, count: counts.append(count))
    assert counts == sorted(counts)
    assert {MIB, 2 * MIB, len(BIG)} <= set(counts)


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_retries_end(world: World, server: Server, retries: int) -> None:
    target = world.add_target("a", BIG)
    server.behave(url_path(world, target), truncated(100))
    with pytest.raises(DownloadError):
        world.client(retries=retries).download_target(target)
    assert ranges(server, target) == [None, *(f"bytes={n}00-" for n in range(1, retries + 1))]
    assert list(world.target_dir().iterdir()) == []


def test_retries_begin_anew_after_good_progress(world: World, server: Server) -> None:
    """However often a long download breaks off, it comes to its end."""
    target = world.add_target("a", BIG)
    server.behave(url_path(world, target), truncated(MIB))
    assert world.client(retries=0).read_target(target) == BIG
    assert ranges(server, target) == [None, *(f"bytes={n * MIB}-" for n in (1, 2, 3))]


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (status(404), DownloadHTTPError),
        (status(500), DownloadHTTPError),
        (too_much(1), DownloadLengthMismatchError),
        (endless(), DownloadLengthMismatchError),
        (drip_body(0.05), SlowRetrievalError),
    ],
)
def test_what_would_not_get_better_is_not_tried_again(
    world: World, server: Server, behaviour: Any, error: type[Exception]
) -> None:
    target = world.add_target("a", SMALL * 100)
    server.behave(url_path(world, target), behaviour)
    fetcher = Urllib3Fetcher(min_rate=2000, rate_window=0.3)
    with pytest.raises(error):
        world.client(fetcher=fetcher).download_target(target)
    fetcher.close()
    assert ranges(server, target) == [None]


# -- taken up by another call


def leave_a_part(world: World, server: Server, target: TargetFile) -> Path:
    """A process downloads a third and fails."""
    server.behave(url_path(world, target), truncated(MIB + 5), times=1)
    server.behave("*", good_but_no_targets)
    with pytest.raises(DownloadError):
        world.client(retries=0).download_target(target)
    server.behave("*", good_but_no_targets, times=0)
    (part,) = parts(world)
    assert part.read_bytes() == BIG[: MIB + 5]
    assert list(world.target_dir().iterdir()) == [part]
    server.log.clear()
    return part


def good_but_no_targets(handler: Handler, body: bytes | None) -> None:
    if body is None or handler.path.startswith("/targets/"):
        handler.send(404, b"")
    else:
        handler.send(200, body)


def test_next_call_asks_only_for_the_rest(world: World, server: Server) -> None:
    target = world.add_target("a", BIG)
    leave_a_part(world, server, target)
    counts: list[int] = []
    file = world.client().download_target(target, progress=lambda _, count: counts.append(count))
    assert Path(file).read_bytes() == BIG
    assert ranges(server, target) == [f"bytes={MIB + 5}-"]
    assert counts[0] > MIB
    assert parts(world) == []


@pytest.mark.parametrize(
    "content", [b"\0" * (MIB + 5), b"", BIG + b"x", b"\0" * len(BIG), BIG[: MIB + 4] + b"\0"]
)
def test_spoilt_part_is_thrown_away(world: World, server: Server, content: bytes) -> None:
    target = world.add_target("a", BIG)
    leave_a_part(world, server, target).write_bytes(content)
    assert Path(world.client().download_target(target)).read_bytes() == BIG
    assert ranges(server, target)[-1] is None
    assert parts(world) == []


def test_whole_part_needs_no_request(world: World, server: Server) -> None:
    target = world.add_target("a", BIG)
    leave_a_part(world, server, target).write_bytes(BIG)
    assert Path(world.client().download_target(target)).read_bytes() == BIG
    assert ranges(server, target) == []


def test_part_of_a_server_without_ranges_is_downloaded_again(world: World, server: Server) -> None:
    target = world.add_target("a", BIG)
    leave_a_part(world, server, target)
    server.behave(url_path(world, target), ignore_range)
    assert Path(world.client().download_target(target)).read_bytes() == BIG
    assert ranges(server, target) == [f"bytes={MIB + 5}-"]


def test_part_of_another_version_is_not_used(world: World, server: Server) -> None:
    part = leave_a_part(world, server, world.add_target("a", BIG))
    new = world.add_target("a", BIG[::-1])
    assert Path(world.client().download_target(new)).read_bytes() == BIG[::-1]
    assert ranges(server, new) == [None]
    assert parts(world) == [part]


def test_part_that_is_a_link_is_not_followed(world: World, server: Server, tmp_path: Path) -> None:
    target = world.add_target("a", BIG)
    part = leave_a_part(world, server, target)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    part.unlink()
    part.symlink_to(secret)
    client = world.client()
    for _ in range(2):  # the link is gone after the first try, at the latest
        try:
            file = client.download_target(target)
        except OSError:
            continue
    assert Path(file).read_bytes() == BIG
    assert secret.read_bytes() == b"secret"
    assert not Path(file).is_symlink()


@pytest.mark.parametrize(("hours", "there"), [(23, True), (25, False)])
def test_old_parts_are_swept(world: World, server: Server, hours: int, there: bool) -> None:
    part = leave_a_part(world, server, world.add_target("a", BIG))
    orphan = part.with_name(f"{part.stem}-0123456789abcdef.part")  # of a process that was killed
    orphan.write_bytes(b"x")
    others = [world.target_dir() / name for name in (".tuf-other", "x.part", ".hidden.part")]
    for other in others:
        other.write_bytes(b"x")
    for file in (part, orphan, *others):
        moment = file.stat().st_mtime - hours * 3600
        os.utime(file, (moment, moment))
    world.client().download_target(world.add_target("b", SMALL))
    assert [part.exists(), orphan.exists()] == [there, there]
    assert all(other.exists() for other in others)

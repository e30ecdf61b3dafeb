"""A refresh from bad servers ends in a declared error, and the next good one succeeds."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from servers import (
    Behaviour,
    Server,
    drip_body,
    drip_headers,
    endless,
    endless_headers,
    endless_trailer,
    gzipped,
    late,
    not_http,
    redirect,
    reset,
    reset_in_body,
    status,
    too_much,
    truncated,
)

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    RepositoryError,
    SlowRetrievalError,
)
from tuf.ngclient import Urllib3Fetcher
from world import PopulatedWorld

ROLES = ("root", "timestamp", "snapshot", "targets", "d")
EACH_ROLE = pytest.mark.parametrize("role", ROLES)
LIMIT = 1 << 20  # more than any limit of metadata in these tests

Errors = type[Exception] | tuple[type[Exception], ...]

TROUBLE: list[tuple[str, Behaviour, Errors]] = [
    ("too much", too_much(LIMIT), (DownloadLengthMismatchError, RepositoryError)),
    ("without end", endless(), DownloadLengthMismatchError),
    ("headers without end", endless_headers, DownloadError),
    ("trailer without end", endless_trailer, DownloadError),
    ("too little", truncated(100), DownloadError),
    ("nothing", truncated(0), DownloadError),
    (
        "half, and whole by its length",
        lambda h, body: h.send(200, (body or b"")[:99]),
        RepositoryError,
    ),
    ("empty", lambda h, _: h.send(200, b""), RepositoryError),
    ("too slow", drip_body(0.02), SlowRetrievalError),
    ("headers too slow", drip_headers(0.02), SlowRetrievalError),
    ("compressed", gzipped, (DownloadLengthMismatchError, RepositoryError)),
    ("redirects in a circle", redirect("?again"), DownloadError),
    ("redirect to nowhere", redirect("http://127.0.0.1:1/"), DownloadError),
    ("redirect to a file", redirect("file:///etc/passwd"), DownloadError),
    ("error", status(500), DownloadHTTPError),
    ("unavailable", status(503), DownloadHTTPError),
    ("not authorised", status(401), DownloadHTTPError),
    ("error without end", endless(500), DownloadHTTPError),
    ("hangs up", reset, DownloadError),
    ("no HTTP", not_http, DownloadError),
    ("deep", lambda h, _: h.send(200, b"[" * 400), RepositoryError),
    ("no text", lambda h, _: h.send(200, b"\xff\xfe{}"), RepositoryError),
    ("no object", lambda h, _: h.send(200, b"null"), RepositoryError),
]


@pytest.fixture
def world(tmp_path: Path) -> PopulatedWorld:
    return PopulatedWorld(tmp_path)


@pytest.fixture
def server(world: PopulatedWorld) -> Iterator[Server]:
    with world.serve() as server:
        yield server


@pytest.fixture
def fetcher() -> Iterator[Urllib3Fetcher]:
    with closing(
        Urllib3Fetcher(socket_timeout=5, retries=0, min_rate=20_000, rate_window=0.1)
    ) as fetcher:
        yield fetcher


@pytest.mark.parametrize(
    ("behaviour", "error"), [pytest.param(*rest, id=name) for name, *rest in TROUBLE]
)
@pytest.mark.parametrize("role", ["root", "snapshot", "targets"])
def test_trouble(
    world: PopulatedWorld,
    server: Server,
    fetcher: Urllib3Fetcher,
    role: str,
    behaviour: Behaviour,
    error: Errors,
) -> None:
    """Of a machine that has updated before."""
    world.update(fetcher=fetcher)
    world.rotate("root")
    world.publish("targets", "d")
    server.behave(f"/{world.path(role)}", behaviour)
    client = world.client(fetcher=fetcher)
    for _ in range(2):
        with pytest.raises(error):
            client.get_targetinfo("d/file")
        world.check()
    server.behave(f"/{world.path(role)}", behaviour, times=0)
    # The same process recovers, and so does another one.
    assert client.get_targetinfo("d/file") == world.targets("d").targets["d/file"]
    world.update(fetcher=fetcher)
    for name in ROLES:
        assert world.cached(name) == world.files[world.path(name)], name


@EACH_ROLE
def test_whole_body_without_a_good_end(
    world: PopulatedWorld, server: Server, fetcher: Urllib3Fetcher, role: str
) -> None:
    """Whether that is an error or not, nothing but the repository's own is kept."""
    world.rotate("root")
    server.behave(f"/{world.path(role)}", reset_in_body)
    try:
        world.update(fetcher=fetcher)
    except DownloadError:
        world.check()
    server.behave(f"/{world.path(role)}", reset_in_body, times=0)
    world.update(fetcher=fetcher)


@EACH_ROLE
def test_trouble_that_passes(world: PopulatedWorld, server: Server, role: str) -> None:
    """A refresh does not fail for it, with the settings of a client alone."""
    world.rotate("root")
    server.behave(f"/{world.path(role)}", status(503), times=1)
    world.update(retries=1)
    assert server.paths.count(f"/{world.path(role)}") == 2


@EACH_ROLE
@pytest.mark.parametrize("behaviour", [drip_body(0.02), late(5)], ids=["drips", "late"])
def test_time_limit_in_the_settings(
    world: PopulatedWorld, server: Server, role: str, behaviour: Behaviour
) -> None:
    world.rotate("root")
    server.behave(f"/{world.path(role)}", behaviour)
    with pytest.raises(SlowRetrievalError):
        world.update(max_transfer_seconds=0.1)
    server.behave(f"/{world.path(role)}", behaviour, times=0)
    world.update(max_transfer_seconds=60)


def test_time_limit_for_a_target(world: PopulatedWorld, server: Server) -> None:
    target = world.add_target("d/x", b"x" * 1000, "d")
    server.behave(f"/{world.target_path(target)}", drip_body(0.01))
    client = world.client(max_transfer_seconds=0.2)
    get: Callable[[], object]
    for get in (lambda: client.download_target(target), lambda: client.read_target(target)):
        with pytest.raises(SlowRetrievalError):
            get()
    assert list(world.target_dir().iterdir()) == []


def test_server_is_down(world: PopulatedWorld) -> None:
    with world.serve():
        client = world.client(retries=0)
        client.refresh()
    with pytest.raises(DownloadError):
        client.refresh()
    world.check()
    world.recovers()

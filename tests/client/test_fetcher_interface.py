"""What ``FetcherInterface`` makes of a fetcher that has only ``_fetch``."""

import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

import tuf
from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError
from tuf.ngclient.fetcher import FetcherInterface


class Custom(FetcherInterface):
    """A fetcher as users write it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def _fetch(self, url: str) -> Iterator[bytes]:
        yield b"some"
        if self.error:
            raise self.error
        yield b"thing"


def test_custom_fetcher() -> None:
    fetcher = Custom()
    assert list(fetcher.fetch("x:y")) == [b"some", b"thing"]
    assert fetcher.download_bytes("x:y", 9) == b"something"
    start, chunks = fetcher.fetch_from("x:y", 4)
    assert (start, b"".join(chunks)) == (0, b"something")
    with pytest.raises(
        DownloadLengthMismatchError, match="x:y: received 9 bytes, wanted at most 8"
    ):
        fetcher.download_bytes("x:y", 8)


@pytest.mark.parametrize("error", [OSError("broke"), KeyError(1), ValueError(), MemoryError()])
def test_errors_of_custom_fetchers(error: Exception) -> None:
    fetcher = Custom(error)
    for download in (
        lambda: list(fetcher.fetch("x:y")),
        lambda: list(fetcher.fetch_from("x:y", 1)[1]),
        lambda: fetcher.download_bytes("x:y", 9),
    ):
        with pytest.raises(DownloadError, match="x:y: ") as raised:
            download()
        assert raised.value.__cause__ is error


def test_download_errors_of_custom_fetchers_stay() -> None:
    error = DownloadHTTPError("gone", 410)
    with pytest.raises(DownloadHTTPError) as raised:
        Custom(error).download_bytes("x:y", 9)
    assert raised.value is error


def test_error_inside_download_file_is_the_callers() -> None:
    with pytest.raises(ZeroDivisionError), Custom().download_file("x:y", 9):
        raise ZeroDivisionError


def test_memory_of_download_bytes() -> None:
    class Big(FetcherInterface):
        def _fetch(self, url: str) -> Iterator[bytes]:
            return (bytes(400_000) for _ in range(75))

    tracemalloc.start()
    try:
        body = Big().download_bytes("x:y", 30_000_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(body) == 30_000_000
    assert peak < 1.2 * len(body)


def test_imports_are_light() -> None:
    code = (
        "import sys, tuf.ngclient.fetcher;"
        "print({'urllib3', 'http.client', 'ssl', 'tempfile', 'requests'} & {*sys.modules})"
    )
    # -S: what the environment's own start-up files import does not count.
    path = [str(Path(tuf.__file__).parent.parent), *filter(None, sys.path)]
    output = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {path!r}; {code}"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert output.strip() == "set()"

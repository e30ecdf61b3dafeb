"""Worlds for the tests of the repository."""

from pathlib import Path

import pytest
from repository.world import World


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def empty(tmp_path: Path) -> World:
    """A world whose repository does not exist yet."""
    return World(tmp_path)


@pytest.fixture
def world(empty: World) -> World:
    """A world whose repository is new."""
    empty.create()
    return empty

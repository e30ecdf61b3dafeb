"""Who may import whom, read from the syntax trees; and how long a file may be."""

import ast
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
MODULES = sorted((SOURCE / "tuf").rglob("*.py"))
FILES = MODULES + [
    path
    for folder in ("tests", "tools", "examples", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]

# Each room of the package, and what of the package it may import.
ROOMS = {
    "": set[str](),  # src/tuf/__init__.py
    "api": {"api"},
    "ngclient": {"__version__", "api", "ngclient"},
    "repository": {"__version__", "api", "repository"},
    "cli": {"__version__", "api", "ngclient", "repository", "cli"},
}
# The other modules take keys, signatures and signers from tuf.api.
MAY_IMPORT_SECURESYSTEMSLIB = {"tuf.api._keys", "tuf.api.exceptions"}
MAX_LINES = 500


def imports(source: str, package: str) -> Iterator[str]:
    """Yield the full name of everything that a module of ``package`` imports, lazily or not."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                origin = resolve_name("." * level + (module or ""), package)
                yield from (f"{origin}.{alias.name}" for alias in names)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield resolve_name(name, package)


def forbidden(source: str, path: Path) -> list[str]:
    """Return what the module at ``path``, relative to ``src``, imports and may not."""
    names = path.with_suffix("").parts
    package = ".".join(names[:-1])
    module = package if names[-1] == "__init__" else ".".join(names)
    allowed = ROOMS[f"{module}.".split(".")[1]]
    found = []
    for name in imports(source, package):
        top, room, *_ = f"{name}.".split(".")
        if top == "tuf" and room not in allowed:
            found.append(name)
        if top == "securesystemslib" and module not in MAY_IMPORT_SECURESYSTEMSLIB:
            found.append(name)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_module_imports_only_what_its_room_may(path: Path) -> None:
    assert forbidden(path.read_text("utf-8"), path.relative_to(SOURCE)) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_is_short(path: Path) -> None:
    lines = path.read_text("utf-8").count("\n")
    assert lines <= MAX_LINES


@pytest.mark.parametrize(
    ("path", "source", "found"),
    [
        ("__init__.py", "from tuf import api", "tuf.api"),
        ("api/metadata.py", "from tuf import __version__", "tuf.__version__"),
        ("api/metadata.py", "import tuf.ngclient.updater", "tuf.ngclient.updater"),
        ("api/metadata.py", "from .. import ngclient", "tuf.ngclient"),
        ("api/serialization/json.py", "from ...cli import main", "tuf.cli.main"),
        ("api/__init__.py", "from ..ngclient import Updater", "tuf.ngclient.Updater"),
        ("api/metadata.py", "import securesystemslib.signer", "securesystemslib.signer"),
        ("ngclient/config.py", "from tuf.repository import Store", "tuf.repository.Store"),
        ("ngclient/config.py", "from tuf import cli", "tuf.cli"),
        ("ngclient/config.py", "from tuf import newroom", "tuf.newroom"),
        ("ngclient/config.py", "def f():\n  from tuf.cli import x", "tuf.cli.x"),
        ("ngclient/__init__.py", "import_module('tuf.cli')", "tuf.cli"),
        ("ngclient/__init__.py", "importlib.import_module('..cli', __name__)", "tuf.cli"),
        ("repository/publish.py", "from tuf.ngclient import Updater", "tuf.ngclient.Updater"),
        ("repository/publish.py", "__import__('tuf.ngclient')", "tuf.ngclient"),
    ],
)
def test_forbidden_import_is_found(path: str, source: str, found: str) -> None:
    assert forbidden(source, Path("tuf", path)) == [found]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("api/_keys.py", "from securesystemslib.signer import Key"),
        ("api/serialization/json.py", "from ..metadata import Metadata"),
        ("api/__init__.py", "from . import metadata"),
        ("ngclient/updater.py", "from tuf import __version__, api\nimport tufted, urllib3"),
        ("repository/publish.py", "from tuf.api.metadata import Root"),
        ("cli/__init__.py", "from tuf import api, ngclient, repository"),
        ("cli.py", "from tuf.ngclient import Updater"),
    ],
)
def test_permitted_import_is_not_found(path: str, source: str) -> None:
    assert forbidden(source, Path("tuf", path)) == []

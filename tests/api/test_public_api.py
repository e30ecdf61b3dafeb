"""The published API, name by name: modules, classes, bases, members, parameters, defaults."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from api.wire import DATA

NEWER = {"SPECIFICATION_VERSION": ["1", "0", "34"]}


@dataclass
class Entry:
    """One line of the list."""

    module: str
    owner: str | None
    line: str

    def __str__(self) -> str:
        name = re.split(r"[ (:=]", self.line.removeprefix("classmethod "))
        short = " ".join(name[:2]) if name[0] in ("class", "def", "property") else name[0]
        return ".".join(filter(None, (self.module, self.owner, short)))

    @property
    def holder(self) -> Any:
        """The module or class that has the entry."""
        module = importlib.import_module(self.module)
        return getattr(module, self.owner) if self.owner else module


def entries() -> Iterator[Entry]:
    module, owner = "", None
    for line in (DATA / "public-api.txt").read_text().splitlines():
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        if text.startswith("module "):
            module = text.removeprefix("module ")
        elif indent == 2:
            owner = re.split(r"\W", text.removeprefix("class "))[0]
            yield Entry(module, None, text)
        elif text:
            yield Entry(module, owner, text)


ENTRIES = list(entries())
CLASSES = [e for e in ENTRIES if e.line.startswith("class ")]
MEMBERS = [e for e in ENTRIES if e.owner]


def named(selection: list[Entry]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("entry", selection, ids=str)


def parameters_in(text: str) -> list[tuple[str, str, Any]]:
    """Name, kind and default of the parameters in ``(a: 'int', b: 'str' = 'x')``."""
    source = re.sub(r"<(\w+\.\w+): \d+>", r"'\1'", text)
    arguments = ast.parse(f"def f{source}: pass").body[0].args  # type: ignore[attr-defined]
    none = inspect.Parameter.empty
    positional = [(a.arg, "positional") for a in arguments.args]
    defaults = [none] * (len(positional) - len(arguments.defaults))
    defaults += [ast.literal_eval(d) for d in arguments.defaults]
    found = [(name, kind, d) for (name, kind), d in zip(positional, defaults, strict=True)]
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        value = none if default is None else ast.literal_eval(default)
        found.append((argument.arg, "keyword", value))
    return found


def parameters_of(function: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def check_parameters(function: Any, wanted: list[tuple[str, str, Any]], may_grow: bool) -> None:
    """The wanted parameters come first; what comes after must not be needed by any caller."""
    kinds = {
        inspect.Parameter.POSITIONAL_OR_KEYWORD: "positional",
        inspect.Parameter.KEYWORD_ONLY: "keyword",
    }
    found = parameters_of(function)
    names = {name for name, _, _ in wanted}
    listed = [p for p in found if p.name in names]
    assert [(p.name, kinds.get(p.kind)) for p in listed] == [(n, k) for n, k, _ in wanted]
    for parameter, (_, _, default) in zip(listed, wanted, strict=True):
        value = parameter.default
        if isinstance(default, str) and not isinstance(value, str):
            value = str(value)
        assert value == default, parameter
    for parameter in found:
        if parameter.name not in names:
            assert parameter.default is not inspect.Parameter.empty, parameter
            assert may_grow or parameter.kind is inspect.Parameter.KEYWORD_ONLY, parameter
    positional = [p.name for p in found if kinds.get(p.kind) == "positional"]
    wanted_positional = [name for name, kind, _ in wanted if kind == "positional"]
    assert positional[: len(wanted_positional)] == wanted_positional


@pytest.mark.parametrize("module", sorted({e.module for e in ENTRIES} | {"tuf"}))
def test_module(module: str) -> None:
    assert importlib.import_module(module).__name__ == module


@named([e for e in ENTRIES if not e.owner and not e.line.startswith("class ")])
def test_constant(entry: Entry) -> None:
    name, _, text = entry.line.partition(" = ")
    value = getattr(entry.holder, name)
    if text == "~T":
        assert isinstance(value, TypeVar)
    else:
        assert value == NEWER.get(name, ast.literal_eval(text))


@named(CLASSES)
def test_class(entry: Entry) -> None:
    match = re.fullmatch(
        r"class (?P<name>\w+)(?:\((?P<bases>[\w, ]*)\))?"
        r"(?:  \(same as (?P<same>[\w.]+)\)|  \(re-exported from \w+: (?P<other>[\w.]+)\))?"
        r"(?: (?P<parameters>\(.*?\))(?: -> (?:'None'|None))?)?",
        entry.line,
    )
    assert match, entry.line
    cls = getattr(entry.holder, match["name"])
    assert inspect.isclass(cls)
    if match["same"]:
        module, _, name = match["same"].rpartition(".")
        assert cls is getattr(importlib.import_module(module), name)
    if match["other"]:
        assert cls.__module__.replace("._", ".") == match["other"]
    ancestors = {ancestor.__name__ for ancestor in cls.__mro__[1:]}
    published = {b for b in re.findall(r"\w+", match["bases"] or "") if not b.startswith("_")}
    assert published <= ancestors
    if match["parameters"] and match["name"] != "FetcherInterface":
        wanted = parameters_in(match["parameters"])
        check_parameters(cls, wanted, may_grow=match["name"] == "UpdaterConfig")


@named([e for e in MEMBERS if e.line.startswith("property ")])
def test_property(entry: Entry) -> None:
    name = entry.line.split()[1]
    found = getattr(entry.holder, name)
    assert isinstance(found, property)
    assert (found.fset is not None) or not entry.line.endswith("(settable)")


@named([e for e in MEMBERS if re.match("(classmethod|def) ", e.line)])
def test_method(entry: Entry) -> None:
    match = re.fullmatch(
        r"(?P<kind>classmethod|def) (?P<name>\w+)(?P<parameters>\(.*?\)) -> .*?"
        r"(?P<abstract> \[abstract\])?",
        entry.line,
    )
    assert match, entry.line
    cls = entry.holder
    static = inspect.getattr_static(cls, match["name"])
    assert isinstance(static, classmethod) == (match["kind"] == "classmethod")
    function = static.__func__ if isinstance(static, classmethod) else getattr(cls, match["name"])
    check_parameters(function, parameters_in(match["parameters"]), may_grow=False)
    if match["abstract"]:
        assert match["name"] in cls.__abstractmethods__


@named([e for e in MEMBERS if not re.match("(classmethod|def|property) ", e.line)])
def test_attribute(entry: Entry) -> None:
    name, _, rest = entry.line.partition(":")
    name, _, text = (name if rest else entry.line).partition(" = ")
    text = text or rest.partition(" = ")[2]
    fields = getattr(entry.holder, "__dataclass_fields__", {})
    assert name in fields or hasattr(entry.holder, name)
    if text and not text.startswith("<"):
        value = getattr(entry.holder, name)
        assert getattr(value, "value", value) == ast.literal_eval(text)


def test_the_list_was_read_whole() -> None:
    lines = (DATA / "public-api.txt").read_text().splitlines()
    assert len(ENTRIES) == sum(line.startswith("  ") for line in lines)
    assert len(CLASSES) > 90


def test_an_http_error_keeps_its_status() -> None:
    from tuf.api.exceptions import DownloadHTTPError

    error = DownloadHTTPError("no such file", 404)
    assert (str(error), error.status_code) == ("no such file", 404)


def test_updater_config_reads_its_published_fields_by_position() -> None:
    from tuf.ngclient import UpdaterConfig

    config = UpdaterConfig(1, 2, 3, 4, 5, 6, False)
    assert (config.max_root_rotations, config.prefix_targets_with_hash) == (1, False)


def test_an_updater_must_be_told_how_to_bootstrap() -> None:
    from tuf.ngclient import Updater

    bootstrap = inspect.signature(Updater).parameters["bootstrap"]
    assert bootstrap.kind is inspect.Parameter.KEYWORD_ONLY

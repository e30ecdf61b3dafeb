"""The big mappings, Targets.targets and Snapshot.meta: dictionaries, however they are kept.

Everything is compared with a plain dict of the same entries, each read by its own from_dict.
"""

import copy
import json
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest
from api import wire
from api.wire import MISSING, canonical
from hypothesis import given, settings
from hypothesis import strategies as st

from tuf.api import _json
from tuf.api._entries import Entries, TargetShape
from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets
from tuf.api.serialization.json import CanonicalJSONSerializer, JSONSerializer

Mapping = dict[str, Any]
KINDS = ["targets", "snapshot"]
LAYOUTS: dict[str, Callable[[Any], str]] = {
    "compact": lambda v: json.dumps(v, separators=(",", ":"), sort_keys=True, ensure_ascii=False),
    "escaped": lambda v: json.dumps(v, separators=(",", ":"), sort_keys=True),
    "indented": lambda v: json.dumps(v, indent=1, sort_keys=True),
    "unsorted": json.dumps,
}


def entry(kind: str, number: int) -> dict[str, Any]:
    """The JSON of an entry; some have more to them than others."""
    more: dict[str, Any] = {"x": ["é\n", {"b": number, "a": None}]} if number % 3 == 0 else {}
    if kind == "snapshot":
        return wire.meta_file(version=number + 1, **more)
    return wire.target_file(length=number, custom={"n": number} if number % 2 else MISSING, **more)


def names(count: int) -> list[str]:
    """Names in no order, some of which JSON or the canonical form writes with care."""
    odd = ["é/ü x", '"', "\\", "\n", "\u2028", "\U0001f600", "\uffff", "", "~", "Z", "a"]
    return [f"{number * 7919 % count:04}.json" for number in range(count)] + odd


def entries(kind: str, count: int = 40) -> dict[str, Any]:
    return {name: entry(kind, number) for number, name in enumerate(names(count))}


def read(kind: str, name: str, value: dict[str, Any]) -> Any:
    value = copy.deepcopy(value)
    return MetaFile.from_dict(value) if kind == "snapshot" else TargetFile.from_dict(value, name)


def plain(kind: str, wanted: dict[str, Any]) -> Mapping:
    return {name: read(kind, name, value) for name, value in wanted.items()}


def load(kind: str, wanted: dict[str, Any], layout: str = "compact") -> Metadata[Any]:
    value = wire.targets(targets=wanted) if kind == "targets" else wire.snapshot(meta=wanted)
    return Metadata.from_bytes(LAYOUTS[layout](wire.metadata(value)).encode())


def mapping(md: Metadata[Any]) -> Mapping:
    return md.signed.targets if isinstance(md.signed, Targets) else md.signed.meta  # type: ignore[no-any-return]


def both(kind: str, layout: str = "unsorted") -> tuple[Mapping, Mapping]:
    return mapping(load(kind, entries(kind), layout)), plain(kind, entries(kind))


def check_same(found: Mapping, wanted: Mapping) -> None:
    """The two are the same, in the same order, by every way of reading them."""
    assert len(found) == len(wanted)
    assert bool(found) == bool(wanted)
    assert list(found) == list(found.keys()) == list(wanted)
    assert list(found.items()) == list(wanted.items())
    assert list(found.values()) == list(wanted.values())
    assert found == wanted
    assert wanted == found
    assert not found != wanted  # noqa: SIM202


def check_signed(md: Metadata[Any], wanted: Mapping) -> None:
    """What is written and signed has exactly the entries of ``wanted``."""
    signed = wire.targets() if isinstance(md.signed, Targets) else wire.snapshot()
    member = "targets" if isinstance(md.signed, Targets) else "meta"
    signed[member] = {name: value.to_dict() for name, value in wanted.items()}
    assert md.signed.to_dict() == signed
    assert list(md.signed.to_dict()[member]) == list(wanted)
    assert md.signed_bytes == canonical(signed)
    assert CanonicalJSONSerializer().serialize(md.signed) == canonical(signed)
    for compact in (True, False):
        assert json.loads(JSONSerializer(compact).serialize(md)) == md.to_dict()
    assert Metadata.from_bytes(md.to_bytes()).signed_bytes == canonical(signed)
    check_same(mapping(Metadata.from_bytes(md.to_bytes())), dict(sorted(wanted.items())))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
class TestWhatIsSigned:
    """However the file is laid out, and whatever was done with its entries."""

    def test_untouched(self, kind: str, layout: str) -> None:
        md = load(kind, entries(kind), layout)
        signed = json.loads(LAYOUTS[layout](md.to_dict()))["signed"]
        assert md.signed_bytes == canonical(signed)
        order = list(mapping(md))
        assert order == (names(40) if layout == "unsorted" else sorted(names(40)))
        check_signed(md, {n: plain(kind, entries(kind))[n] for n in order})

    def test_only_read(self, kind: str, layout: str) -> None:
        md = load(kind, entries(kind), layout)
        before = md.signed_bytes
        for name in ["0003.json", "é/ü x", "\n"]:
            assert mapping(md)[name] == read(kind, name, entries(kind)[name])
        assert md.signed_bytes == before
        assert len(list(mapping(md).values())) == 51
        assert md.signed_bytes == before

    def test_edited(self, kind: str, layout: str) -> None:
        md = load(kind, entries(kind), layout)
        wanted = {n: plain(kind, entries(kind))[n] for n in mapping(md)}
        for files in (mapping(md), wanted):
            files["0003.json"].length = 77
            files["é/ü x"].unrecognized_fields["y"] = {"b": "\n", "a": 1}
            files["0005.json"].hashes = {"sha512": "cd"}
            files["0001.json"].unrecognized_fields.clear()
        check_signed(md, wanted)
        for files in (mapping(md), wanted):
            for file in files.values():
                file.length = 78
        check_signed(md, wanted)

    def test_added_removed_and_replaced(self, kind: str, layout: str) -> None:
        md = load(kind, entries(kind), layout)
        wanted = {n: plain(kind, entries(kind))[n] for n in mapping(md)}
        for files in (mapping(md), wanted):
            files["new"] = read(kind, "new", entry(kind, 99))
            files["00035.json"] = read(kind, "00035.json", entry(kind, 98))
            files["0004.json"] = read(kind, "0004.json", entry(kind, 97))
            del files["0006.json"]
            files.pop("\\")
            files["0007.json"] = files.pop("0007.json")
        check_signed(md, wanted)

    def test_an_edit_that_is_taken_back(self, kind: str, layout: str) -> None:
        md = load(kind, entries(kind), layout)
        before = md.signed_bytes
        file = mapping(md)["0003.json"]
        file.length, kept = 77, file.length
        assert md.signed_bytes != before
        file.length = kept
        assert md.signed_bytes == before

    def test_emptied(self, kind: str, layout: str) -> None:
        md = load(kind, entries(kind), layout)
        mapping(md).clear()
        check_signed(md, {})

    def test_replaced_by_a_plain_dict(self, kind: str, layout: str) -> None:
        md = load(kind, entries(kind), layout)
        wanted = plain(kind, entries(kind, 3))
        setattr(md.signed, "targets" if kind == "targets" else "meta", wanted)
        check_signed(md, wanted)


@pytest.mark.parametrize("kind", KINDS)
class TestReading:
    """Nothing that reads a dict can tell the difference."""

    def test_all_ways_of_reading(self, kind: str) -> None:
        for layout in ("unsorted", "compact"):
            found, wanted = both(kind, layout)
            check_same(found, {name: wanted[name] for name in found})

    def test_it_is_a_dict(self, kind: str) -> None:
        found, wanted = both(kind)
        assert isinstance(found, dict)
        check_same(dict(found), wanted)
        check_same({**found}, wanted)
        check_same(dict(found.items()), wanted)
        check_same({name: found[name] for name in found}, wanted)
        assert list(reversed(found)) == list(reversed(wanted))
        assert list(reversed(found.items())) == list(reversed(wanted.items()))
        assert list(reversed(found.values())) == list(reversed(wanted.values()))
        assert sorted(found) == sorted(wanted)
        assert set(found) == found.keys() == wanted.keys()
        assert found.keys() & {"a", "none"} == {"a"}
        assert found.items() == wanted.items()
        assert max(found.items(), key=lambda item: item[0]) == max(
            wanted.items(), key=lambda i: i[0]
        )

    def test_arguments(self, kind: str) -> None:
        found, wanted = both(kind)
        assert dict(**found) == dict(**wanted)
        assert [*found] == [*wanted]

    def test_lookup(self, kind: str) -> None:
        found, wanted = both(kind)
        assert "0003.json" in found
        assert "none" not in found
        assert None not in found
        assert found["0003.json"] == found.get("0003.json") == wanted["0003.json"]
        assert found.get("none") is None
        assert found.get("none", 1) == 1
        with pytest.raises(KeyError):
            found["none"]
        with pytest.raises(TypeError):
            found[[]]  # type: ignore[index]
        assert ("a", wanted["a"]) in found.items()
        assert ("a", wanted["Z"]) not in found.items()
        assert wanted["a"] in found.values()

    def test_an_entry_is_one_object(self, kind: str) -> None:
        found, _ = both(kind)
        file = found["a"]
        assert file is found["a"] is found.get("a") is dict(found)["a"] is found.copy()["a"]
        assert any(file is value for value in found.values())
        assert all(found[name] is value for name, value in list(found.items()))
        assert all(found[name] is value for name, value in {**found}.items())
        assert found.setdefault("a", None) is file
        assert found.pop("a") is file

    def test_inequality(self, kind: str) -> None:
        found, wanted = both(kind)
        for change in (
            lambda files: files.pop("a"),
            lambda files: files.update(a=files["Z"]),
            lambda files: files.update(new=files["Z"]),
            lambda files: setattr(files["a"], "length", 9999),
        ):
            other, other_plain = both(kind)
            assert found == other
            change(other)
            change(other_plain)
            assert found != other
            assert found != other_plain
            assert wanted != other
            assert other == other_plain
        assert found != list(found)
        assert found != None  # noqa: E711

    def test_it_is_not_hashable(self, kind: str) -> None:
        with pytest.raises(TypeError):
            hash(both(kind)[0])

    def test_repr(self, kind: str) -> None:
        found, _ = both(kind)
        assert repr(found) == repr(dict(found.items()))

    @pytest.mark.parametrize("of", ["mapping", "signed", "metadata"])
    @pytest.mark.parametrize(
        "duplicate", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]
    )
    def test_deep_copies(self, kind: str, of: str, duplicate: Callable[[Any], Any]) -> None:
        md = load(kind, entries(kind), "unsorted")
        wanted = plain(kind, entries(kind))
        if of == "mapping":
            check_same(duplicate(mapping(md)), wanted)
            return
        other = duplicate(md) if of == "metadata" else Metadata(duplicate(md.signed))
        check_same(mapping(other), wanted)
        check_signed(other, wanted)
        mapping(other)["a"].length = 9999
        del mapping(other)["Z"]
        check_signed(md, wanted)
        assert other.signed_bytes != md.signed_bytes

    @pytest.mark.parametrize("duplicate", [copy.copy, lambda files: files.copy(), dict])
    def test_shallow_copies(self, kind: str, duplicate: Callable[[Any], Any]) -> None:
        md = load(kind, entries(kind), "unsorted")
        wanted = plain(kind, entries(kind))
        other = duplicate(mapping(md))
        check_same(other, wanted)
        del other["Z"]
        other["new"] = other["a"]
        check_signed(md, wanted)
        other["a"].length = wanted["a"].length = 9999
        check_signed(md, wanted)


def outcome(action: Callable[[], Any]) -> Any:
    """What an action returns, or the class of what it raises."""
    try:
        return action()
    except (KeyError, TypeError) as e:
        return type(e)


#: What is done with a mapping, a name, and a maker of entries by name.
CHANGES: dict[str, Callable[[Mapping, str, Callable[[str], Any]], Any]] = {
    "set": lambda files, name, new: files.__setitem__(name, new(name)),
    "delete": lambda files, name, _: files.__delitem__(name),
    "pop": lambda files, name, _: files.pop(name),
    "pop or": lambda files, name, _: files.pop(name, None),
    "pop item": lambda files, *_: files.popitem(),
    "set default": lambda files, name, new: files.setdefault(name, new(name)),
    "update": lambda files, name, new: files.update({name: new(name), "zz": new("zz")}),
    "update pairs": lambda files, name, new: files.update([(name, new(name))]),
    "update members": lambda files, _, new: files.update(a=new("a"), b=new("b")),
    "or in place": lambda files, name, new: files.__ior__({name: new(name)}) is files,
    "or": lambda files, name, new: dict((files | {name: new(name)}).items()),
    "reversed or": lambda files, name, new: dict(({name: new(name), "b": 1} | files).items()),
    "get": lambda files, name, _: files.get(name),
    "item": lambda files, name, _: files[name],
    "in": lambda files, name, _: name in files,
    "touch": lambda files, name, _: setattr(files[name], "length", 4711),
    "clear": lambda files, *_: files.clear(),
    "length": lambda files, *_: len(files),
    "values": lambda files, *_: list(files.values()),
    "copy": lambda files, *_: dict(files.copy()),
}


def check_change(kind: str, change: str, name: str, number: int, *both: Mapping) -> None:
    """The change does to the first mapping what it does to the second."""

    def new(name: str) -> Any:
        return read(kind, name, entry(kind, number))

    found, wanted = (outcome(partial(CHANGES[change], files, name, new)) for files in both)
    assert found == wanted


@pytest.mark.parametrize("name", ["0003.json", "\n", "new", "a"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_change(kind: str, change: str, name: str) -> None:
    md = load(kind, entries(kind), "unsorted")
    found, wanted = mapping(md), plain(kind, entries(kind))
    check_change(kind, change, name, 99, found, wanted)
    check_same(found, wanted)
    check_signed(md, wanted)


@settings(max_examples=60)
@given(
    st.sampled_from(KINDS),
    st.sampled_from(sorted(LAYOUTS)),
    st.lists(
        st.tuples(
            st.sampled_from(sorted(set(CHANGES) - {"clear"})),
            st.sampled_from([*names(8), "new"]),
            st.integers(0, 9),
        ),
        max_size=12,
    ),
)
def test_many_changes(kind: str, layout: str, changes: list[tuple[str, str, int]]) -> None:
    md = load(kind, entries(kind, 8), layout)
    found = mapping(md)
    wanted = {name: plain(kind, entries(kind, 8))[name] for name in found}
    for change, name, number in changes:
        check_change(kind, change, name, number, found, wanted)
        if number == 0:
            assert md.signed_bytes == Metadata.from_bytes(md.to_bytes()).signed_bytes
    check_same(found, wanted)
    check_signed(md, wanted)


def test_mappings_combine_with_each_other() -> None:
    one, two = (mapping(load("targets", entries("targets", n))) for n in (5, 9))
    plain_one, plain_two = (dict(files.items()) for files in (one, two))
    check_same(cast(Mapping, one | two), plain_one | plain_two)
    check_same(cast(Mapping, plain_one | two), plain_one | plain_two)
    one |= two
    check_same(one, plain_one | plain_two)
    one.update(two)
    check_same(one, plain_one | plain_two)
    made = Targets(targets=two)
    assert made.targets == plain_two
    assert Targets.from_dict(made.to_dict()).targets == plain_two
    assert Snapshot(meta=mapping(load("snapshot", entries("snapshot", 2)))).meta == plain(
        "snapshot", entries("snapshot", 2)
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_entries_as_json(kind: str, layout: str) -> None:
    # What a repository does: entries go in and out as JSON, and none becomes an object.
    wanted = entries(kind)
    md = load(kind, wanted, layout)
    mapping = md.signed.targets if kind == "targets" else md.signed.meta
    assert {name: json.loads(raw) for name, raw in mapping.raw()} == wanted
    encoded = dict(mapping.raw())
    name = names(40)[0]
    assert mapping.put(name, encoded[name]) is False

    for number, other in enumerate(("new", 'new "\n\\', name)):
        new = entry(kind, 3 * number)
        assert mapping.put(other, _json.compact(new)) is True
        wanted[other] = new

    assert mapping == plain(kind, wanted)
    for signed in (md.signed, load(kind, wanted).signed):
        assert CanonicalJSONSerializer().serialize(signed) == canonical(signed.to_dict())
    assert Metadata.from_bytes(JSONSerializer(compact=True).serialize(md)) == md


@pytest.mark.parametrize("layout", LAYOUTS)
def test_entries_as_json_are_encoded_unopened(layout: str) -> None:
    md = load("targets", entries("targets"), layout)
    empty = Entries.empty(TargetShape, Targets.make_target, "targets")
    for name, raw in md.signed.targets.raw():
        assert empty.put(name, raw)
    md.signed.targets = empty
    wanted = load("targets", entries("targets")).signed
    serializer = CanonicalJSONSerializer()
    assert serializer.serialize(md.signed) == serializer.serialize(wanted)
    assert list(Entries.empty(TargetShape, Targets.make_target, "targets").raw()) == []

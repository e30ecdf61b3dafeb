"""Which role is responsible for which target: path patterns, hash prefixes, bins."""

import hashlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuf.api.metadata import DelegatedRole, Delegations, SuccinctRoles


def matches(pattern: str, path: str) -> bool:
    return DelegatedRole("r", [], 1, False, [pattern]).is_delegated_path(path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("a", "a"),
        ("*", "a"),
        ("*", ""),
        ("", ""),
        ("*/*", "a/b"),
        ("a/*", "a/b"),
        ("a/*", "a/"),
        ("a/*/c", "a/b/c"),
        ("a/*/b", "a//b"),
        ("?", "a"),
        ("?", "é"),
        ("?", "\U0001f600"),
        ("a?c*", "abc"),
        ("*.tgz", "foo.tgz"),
        ("*.tgz", ".tgz"),
        ("foo-version-?.tgz", "foo-version-a.tgz"),
        ("targets/*.tgz", "targets/bar.tgz"),
        ("*", ".hidden"),
        ("?hidden", ".hidden"),
        ("*", ".."),
        ("/a", "/a"),
        ("/*", "/a"),
        ("a/", "a/"),
        ("a//b", "a//b"),
        ("**", "ab"),
        ("**/b", "a/b"),
        ("*", "a\nb"),
        ("?", "\n"),
        ("\\*", "\\x"),
        ("[", "["),
        ("ключ/*", "ключ/é"),
    ],
)
def test_pattern_matches(pattern: str, path: str) -> None:
    assert matches(pattern, path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("a", "b"),
        ("", "a"),
        ("*", "a/b"),
        ("*", "/"),
        ("a/*", "a/b/c"),
        ("*/c", "a/b/c"),
        ("**", "a/b"),
        ("**/c", "a/b/c"),
        ("?", ""),
        ("?", "/"),
        ("?", "ab"),
        ("a?b", "a/b"),
        ("*.tgz", "targets/foo.tgz"),
        ("targets/*.tgz", "targets/foo.txt"),
        ("foo-version-?.tgz", "foo-version-alpha.tgz"),
        ("foo.tgz", "footgz"),
        ("a.b", "axb"),
        ("A", "a"),
        ("*.TGZ", "a.tgz"),
        ("a", "A"),
        ("É", "é"),
        ("é", "e\u0301"),
        ("/a", "a"),
        ("a", "/a"),
        ("*a", "/a"),
        ("a/", "a"),
        ("a", "a/"),
        ("a", "a\n"),
        ("a\\b", "a/b"),
        ("{a,b}", "a"),
        ("!a", "b"),
        ("^a", "a"),
        ("a+", "aa"),
        ("(a)", "a"),
        (".", "a"),
    ],
)
def test_pattern_does_not_match(pattern: str, path: str) -> None:
    assert not matches(pattern, path)


@given(st.text(alphabet="ab*?/.", max_size=8), st.text(alphabet="ab/.", max_size=8))
def test_patterns_match_part_by_part(pattern: str, path: str) -> None:
    parts, names = pattern.split("/"), path.split("/")
    expected = len(parts) == len(names) and all(map(part_matches, parts, names))
    assert matches(pattern, path) == expected


def part_matches(pattern: str, name: str) -> bool:
    """One part of a pattern, matched by trying everything."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(part_matches(pattern[1:], name[n:]) for n in range(len(name) + 1))
    return bool(name) and pattern[0] in ("?", name[0]) and part_matches(pattern[1:], name[1:])


def test_any_of_several_patterns() -> None:
    role = DelegatedRole("r", [], 1, False, ["a/*", "b"])
    assert role.is_delegated_path("b")
    assert role.is_delegated_path("a/b")
    assert not role.is_delegated_path("c")
    assert not DelegatedRole("r", [], 1, False, []).is_delegated_path("a")


def test_a_pattern_with_many_stars_is_cheap() -> None:
    """Matching by trying everything would not end before the sun does."""
    assert not matches("a*" * 60 + "b", "a" * 200)


def has_prefix(prefix: str, path: str) -> bool:
    return DelegatedRole("r", [], 1, False, None, [prefix]).is_delegated_path(path)


def test_hash_prefixes() -> None:
    path = "é/x"
    digest = hashlib.sha256(path.encode()).hexdigest()
    assert digest[0] == "e"
    for prefix in ("", "e", digest[:4], digest):
        assert has_prefix(prefix, path)
    for prefix in ("d", digest[1:], digest + "0", "zz", "E\u0301"):
        assert not has_prefix(prefix, path)
    assert DelegatedRole("r", [], 1, False, None, ["0", "e"]).is_delegated_path(path)
    assert not DelegatedRole("r", [], 1, False, None, []).is_delegated_path(path)


def test_hash_prefixes_in_upper_case_are_refused_or_right() -> None:
    prefix = hashlib.sha256(b"x").hexdigest()[:7].upper()
    assert prefix == "2D71164"
    try:
        role = DelegatedRole("r", [], 1, False, None, [prefix])
    except ValueError:
        return
    assert role.is_delegated_path("x")


@pytest.mark.parametrize(
    ("paths", "prefixes"), [(None, None), ([], []), (["a"], ["ab"]), ([1], None), (None, [1])]
)
def test_wrong_arguments(paths: list[str] | None, prefixes: list[str] | None) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        DelegatedRole("r", [], 1, False, paths, prefixes)


# Delegations.


def test_roles_for_a_target_in_order() -> None:
    roles = {
        "b": DelegatedRole("b", [], 1, True, ["x/*"]),
        "a": DelegatedRole("a", [], 1, False, ["*", "x/y"]),
        "c": DelegatedRole("c", [], 1, False, None, [""]),
    }
    delegations = Delegations({}, roles)
    found = delegations.get_roles_for_target("x/y")
    assert isinstance(found, Iterator)
    assert list(found) == [("b", True), ("a", False), ("c", False)]
    assert list(delegations.get_roles_for_target("z")) == [("a", False), ("c", False)]
    del roles["c"]
    assert list(delegations.get_roles_for_target("x/y/z")) == []


def test_the_bin_of_a_target() -> None:
    delegations = Delegations({}, None, SuccinctRoles([], 1, 3, "x"))
    assert list(delegations.get_roles_for_target("a")) == [("x-6", True)]


def test_roles_or_succinct_roles() -> None:
    bins = SuccinctRoles([], 1, 3, "x")
    for arguments in ((None, None), ({}, bins)):
        with pytest.raises(ValueError, match="succinct_roles"):
            Delegations({}, *arguments)
    assert Delegations({}, {}).to_dict() == {"keys": {}, "roles": []}
    assert Delegations({}, None, bins).to_dict()["succinct_roles"] == bins.to_dict()


@pytest.mark.parametrize("name", ["root", "timestamp", "snapshot", "targets", ""])
def test_names_that_cannot_be_delegated_to(name: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)role"):
        Delegations({}, {name: DelegatedRole(name, [], 1, False, ["*"])})


# Bins.


@pytest.mark.parametrize(
    ("bit_length", "name"),
    [(1, "0"), (4, "7"), (5, "0f"), (8, "7b"), (9, "0f6"), (16, "7b4a"), (31, "3da55794")],
)
def test_a_bin_is_named_by_the_leading_bits(bit_length: int, name: str) -> None:
    assert hashlib.sha256("path/é".encode()).hexdigest().startswith("7b4aaf28")
    bins = SuccinctRoles([], 1, bit_length, "bin")
    assert bins.get_role_for_target("path/é") == f"bin-{name}"
    assert bins.is_delegated_role(f"bin-{name}")


@given(st.integers(1, 32), st.text(max_size=9), st.text(max_size=9))
def test_the_bin_of_a_target_is_a_bin(bit_length: int, prefix: str, path: str) -> None:
    bins = SuccinctRoles([], 1, bit_length, prefix)
    name = bins.get_role_for_target(path)
    assert bins.is_delegated_role(name)
    number = int(name.rpartition("-")[2], 16)
    digest = int.from_bytes(hashlib.sha256(path.encode()).digest(), "big")
    assert number == digest >> (256 - bit_length)


@pytest.mark.parametrize(
    ("bit_length", "first", "last", "count"),
    [
        (1, "b-0", "b-1", 2),
        (4, "b-0", "b-f", 16),
        (5, "b-00", "b-1f", 32),
        (8, "b-00", "b-ff", 256),
    ],
)
def test_the_names_of_all_bins(bit_length: int, first: str, last: str, count: int) -> None:
    bins = SuccinctRoles([], 1, bit_length, "b")
    names = list(bins.get_roles())
    assert (names[0], names[-1], len(names)) == (first, last, count)
    assert names == sorted(set(names))
    assert all(bins.is_delegated_role(name) for name in names)
    assert next(SuccinctRoles([], 1, 32, "b").get_roles()) == "b-00000000"


NO_BINS = [
    *("", "bin", "bin-", "-001", "001", "Bin-001", "bin_001", "bin001", "bin--001", "xbin-001"),
    *(
        "bin-1",
        "bin-01",
        "bin-0001",
        "bin-200",
        "bin-fff",
        "bin-00g",
        "bin-001-001",
        "bin-001.json",
    ),
    *(
        "bin--01",
        "bin-1.0",
        "bin-1\n1",
        " bin-001",
        "bin-001 ",
        "bin-001\n",
        "bin-\u00b2\u00b2\u00b2",
    ),
]
# What int(_, 16) takes for a number.
DISGUISED = [
    *("bin-1FF", "bin-1fF", "bin-0A0", "bin-+01", "bin- 01", "bin-01 ", "bin-01\n", "bin-\t01"),
    *(
        "bin-0_1",
        "bin-1_1",
        "bin-0x1",
        "bin-0X1",
        "bin-\u0660\u0660\u0661",
        "bin-\uff10\uff10\uff11",
    ),
    *("bin-00\u0661", "bin-\xa001"),
]


@pytest.mark.parametrize("name", NO_BINS)
def test_no_bin(name: str) -> None:
    assert not SuccinctRoles([], 1, 9, "bin").is_delegated_role(name)


@pytest.mark.parametrize("name", DISGUISED)
def test_no_bin_in_disguise(name: str) -> None:
    """GHSA-77hh-43cm-v8j6: only the names of its own bins."""
    assert not SuccinctRoles([], 1, 9, "bin").is_delegated_role(name)


@given(st.text(alphabet="bin-01fF+_ x\u0661", max_size=8))
def test_a_name_is_a_bin_only_if_it_is_one_of_them(name: str) -> None:
    for bit_length in (1, 4, 5):
        bins = SuccinctRoles([], 1, bit_length, "bin")
        assert bins.is_delegated_role(name) == (name in set(bins.get_roles()))


@pytest.mark.parametrize("bit_length", [0, 33, -1, 2**70])
def test_wrong_bit_length(bit_length: int) -> None:
    with pytest.raises(ValueError, match="bit_length"):
        SuccinctRoles([], 1, bit_length, "bin")

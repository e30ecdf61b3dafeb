"""tuf.toml."""

from datetime import timedelta
from pathlib import Path

import pytest

from tuf.repository import Policy, PolicyError, generate_key
from tuf.repository.policy import EXAMPLE


def test_example_is_valid_with_and_without_its_comments() -> None:
    policy = Policy.from_text(EXAMPLE)
    assert policy.role("timestamp").expires == timedelta(days=1)
    assert policy.role("timestamp").signing == timedelta(hours=12)
    assert policy.role("anything").expires == timedelta(days=90)
    assert policy.role("root").keys == ("root",)
    assert policy.bins is None
    head, bins = EXAMPLE.split("# [bins]")
    policy = Policy.from_text(head + "[bins]" + bins.replace("\n# ", "\n"))
    assert policy.bins is not None
    assert (policy.bins.bits, policy.bins.prefix) == (8, "bins")


def test_empty_policy_has_the_defaults() -> None:
    assert Policy.from_text("").roles == Policy().roles


def test_policy_of_a_file(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "k", None)
    (tmp_path / "tuf.toml").write_text(
        "hashes = ['sha256', 'sha512']\nretention = '2w'\n"
        "[keys]\na.public = 'k.pub'\nb.uri = 'file:k'\n"
        "[roles.project]\nexpires = '30d'\nsigning = '36h'\n"
    )
    policy = Policy.from_file(tmp_path / "tuf.toml")
    assert policy.keys["a"].public == key
    assert policy.keyring().public_key("b") == key
    assert policy.hashes == ("sha256", "sha512")
    assert policy.retention == timedelta(weeks=2)
    assert policy.role("project").signing == timedelta(hours=36)


KEYS = "[keys]\nk = { uri = 'file:k' }\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("x = 1", 1, "x is not known; known are keys, roles"),
        ("[keys]\n\nk = 3", 3, "keys.k must be a table"),
        ("[keys]\nk = {}", 2, "keys.k needs uri or public"),
        ("[keys]\nk = { uri = 3 }", 2, "keys.k.uri must be a key URI"),
        ("[keys]\nk = { uri = 'awskms:1' }", 2, "keys.k needs public"),
        ("[keys.k]\npublic = 'none.pub'", 2, "keys.k.public cannot be read"),
        ("[keys.k]\nurl = 'file:k'", 2, "keys.k.url is not known; known are uri, public"),
        ("[roles]\nroot = 1", 2, "roles.root must be a table"),
        ("[roles.root]\nkeys = []", 2, "roles.root.keys must be a list of names"),
        ("[roles.root]\n# keys\nkeys = ['k']", 3, "roles.root.keys names 'k', which is not in"),
        (KEYS + "[roles.root]\nkeys = ['k', 'k']", 4, "roles.root.keys names a key twice"),
        (KEYS + "[roles.a]\n[roles.root]\nkeys = ['k']\nthreshold = 2", 6, "from 1 to 1, not 2"),
        ("[roles.root]\nthreshold = true", 2, "roles.root.threshold must be a number"),
        ("[roles.root]\nexpires = '1y'", 2, "roles.root.expires must be a period like '30d'"),
        ("[roles.root]\nexpires = '0d'", 2, "roles.root.expires must be a period"),
        (
            "[roles.root]\nsigning = '400d'",
            2,
            "roles.root.signing is wrong: signing must be shorter",
        ),
        ("[delegated]\nkey = 1", 2, "delegated.key is not known"),
        ("[bins]\nbits = 3", 1, "bins needs keys"),
        (KEYS + "[bins]\nbits = 33\nkeys = ['k']", 4, "bins.bits must be a number from 1 to 32"),
        (KEYS + "[bins]\nbits = 3\nkeys = ['k']\nprefix = 'a/b'", 6, "bins.prefix must be"),
        ("\nhashes = ['md5']", 2, "hashes Unsupported algorithm 'md5'"),
        ("hashes = []", 1, "hashes must be a list"),
        ("retention = 7", 1, "retention must be a period"),
    ],
)
def test_wrong_entry_is_named_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(PolicyError) as raised:
        Policy.from_text(text)
    assert str(raised.value).startswith(f"tuf.toml:{line}: "), raised.value
    assert words in str(raised.value)


def test_text_that_is_no_toml_is_refused_with_its_line() -> None:
    with pytest.raises(PolicyError, match=r"tuf.toml: .*line 2"):
        Policy.from_text("a = 1\nb = = 2\n")

"""MetaFile and TargetFile: made from content, checked against content."""

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest

from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import MetaFile, TargetFile

DATA = b"hello"
SHA256 = hashlib.sha256(DATA).hexdigest()
SHA512 = hashlib.sha512(DATA).hexdigest()
MISMATCH = LengthOrHashMismatchError

ALGORITHMS = {
    "sha224": hashlib.sha224(DATA).hexdigest(),
    "sha256": SHA256,
    "sha384": hashlib.sha384(DATA).hexdigest(),
    "sha512": SHA512,
    "sha3_256": hashlib.sha3_256(DATA).hexdigest(),
    "blake2b": hashlib.blake2b(DATA).hexdigest(),
    "blake2b-256": hashlib.blake2b(DATA, digest_size=32).hexdigest(),
    "blake2s": hashlib.blake2s(DATA).hexdigest(),
}


@pytest.mark.parametrize("stream", [False, True])
def test_meta_file_from_data(stream: bool) -> None:
    content = io.BytesIO(DATA) if stream else DATA
    made = MetaFile.from_data(3, content, ["sha256", "sha512"])
    assert made == MetaFile(3, 5, {"sha256": SHA256, "sha512": SHA512})


@pytest.mark.parametrize("stream", [False, True])
def test_target_file_from_data(stream: bool) -> None:
    content = io.BytesIO(DATA) if stream else DATA
    assert TargetFile.from_data("a/b", content) == TargetFile(5, {"sha256": SHA256}, "a/b")
    made = TargetFile.from_data("a/b", content, ["sha512"])
    assert (made.path, made.length, made.hashes) == ("a/b", 5, {"sha512": SHA512})


def test_target_file_from_file(tmp_path: Path) -> None:
    path = tmp_path / "local"
    path.write_bytes(DATA)
    made = TargetFile.from_file("a/b", str(path))
    assert made == TargetFile(5, {"sha256": SHA256}, "a/b")
    assert TargetFile.from_file("a/b", str(path), ["sha512"]).hashes == {"sha512": SHA512}
    with pytest.raises(FileNotFoundError):
        TargetFile.from_file("a/b", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="foo"):
        TargetFile.from_file("a/b", str(path), ["foo"])


@pytest.mark.parametrize("content", [b"", b"x" * 100_001], ids=["empty", "big"])
def test_content_of_any_length(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(content)
    expected = {"length": len(content), "hashes": {"sha256": hashlib.sha256(content).hexdigest()}}
    for made in (
        TargetFile.from_data("a", content),
        TargetFile.from_data("a", io.BytesIO(content)),
        TargetFile.from_file("a", str(tmp_path / "local")),
    ):
        assert made.to_dict() == expected
        made.verify_length_and_hashes(content)
        with pytest.raises(MISMATCH):
            made.verify_length_and_hashes(content + b"x")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_algorithms(algorithm: str) -> None:
    digest = {algorithm: ALGORITHMS[algorithm]}
    assert TargetFile.from_data("a", DATA, [algorithm]).hashes == digest
    TargetFile(5, digest, "a").verify_length_and_hashes(DATA)
    with pytest.raises(MISMATCH):
        TargetFile(5, digest, "a").verify_length_and_hashes(b"world")


@pytest.mark.parametrize("algorithm", ["foo", "", "shake_128", "sha256 "])
def test_unknown_algorithms(algorithm: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        TargetFile.from_data("a", DATA, [algorithm])
    with pytest.raises(ValueError):  # noqa: PT011
        MetaFile.from_data(1, DATA, ["sha256", algorithm])


def test_no_algorithms() -> None:
    with pytest.raises(ValueError, match="non empty"):
        TargetFile.from_data("a", DATA, [])
    with pytest.raises(ValueError, match="non empty"):
        MetaFile.from_data(1, DATA, [])
    with pytest.raises(ValueError, match="version"):
        MetaFile.from_data(0, DATA, ["sha256"])


GOOD = [
    MetaFile(1),
    MetaFile(1, 5),
    MetaFile(1, None, {"sha256": SHA256}),
    MetaFile(1, 5, {"sha256": SHA256, "sha512": SHA512}),
    TargetFile(5, {"sha512": SHA512}, "a"),
]
BAD = [
    MetaFile(1, 4),
    MetaFile(1, 6),
    MetaFile(1, 0),
    MetaFile(1, 4, {"sha256": SHA256}),
    MetaFile(1, None, {"sha256": "0" * 64}),
    MetaFile(1, None, {"sha256": SHA256[:-1]}),
    MetaFile(1, None, {"sha256": ""}),
    MetaFile(1, None, {"sha256": SHA512}),
    MetaFile(1, None, {"sha256": SHA256, "sha512": "0" * 128}),
    MetaFile(1, None, {"sha512": "0" * 128, "sha256": SHA256}),
    TargetFile(4, {"sha256": SHA256}, "a"),
    TargetFile(0, {"sha256": SHA256}, "a"),
    TargetFile(5, {"sha256": "0" * 64}, "a"),
    TargetFile(5, {"sha256": "not hex: é"}, "a"),
]


@pytest.mark.parametrize("file", GOOD, ids=lambda file: str(file.to_dict())[:50])
def test_content_that_matches(file: Any) -> None:
    file.verify_length_and_hashes(DATA)
    file.verify_length_and_hashes(io.BytesIO(DATA))


@pytest.mark.parametrize("file", BAD, ids=lambda file: str(file.to_dict())[:50])
def test_content_that_does_not_match(file: Any) -> None:
    for content in (DATA, io.BytesIO(DATA)):
        with pytest.raises(MISMATCH):
            file.verify_length_and_hashes(content)


def test_no_known_hash_is_no_match() -> None:
    for file in (MetaFile(1, 5, {"foo": "ab"}), TargetFile(5, {"foo": "ab"}, "a")):
        with pytest.raises(MISMATCH, match="foo"):
            file.verify_length_and_hashes(DATA)


@pytest.mark.parametrize("known", [{"sha256": SHA256}, {"sha256": SHA256, "sha512": SHA512}])
def test_unknown_hashes_beside_known_ones_are_no_matter(known: dict[str, str]) -> None:
    for hashes in ({"foo": "ab", **known}, {**known, "foo": "ab"}):
        MetaFile(1, 5, hashes).verify_length_and_hashes(DATA)
        TargetFile(5, hashes, "a").verify_length_and_hashes(DATA)
        with pytest.raises(MISMATCH):
            TargetFile(5, hashes, "a").verify_length_and_hashes(b"world")


def test_a_stream_is_read_from_its_start() -> None:
    stream = io.BytesIO(DATA)
    stream.seek(3)
    assert MetaFile.from_data(1, stream, ["sha256"]) == MetaFile(1, 5, {"sha256": SHA256})
    MetaFile(1, 5, {"sha256": SHA256}).verify_length_and_hashes(stream)


@pytest.mark.parametrize(
    ("path", "prefixed"),
    [
        ("a", "H.a"),
        ("a/b", "a/H.b"),
        ("a/b/c.tar.gz", "a/b/H.c.tar.gz"),
        ("/a", "/H.a"),
        ("a//b", "a//H.b"),
        ("é/ü x#?%", "é/H.ü x#?%"),
    ],
)
def test_prefixed_paths(path: str, prefixed: str) -> None:
    file = TargetFile(1, {"sha256": "H", "sha512": "K"}, path)
    assert file.get_prefixed_paths() == [prefixed, prefixed.replace("H", "K")]


@pytest.mark.parametrize("custom", [None, {}, {"a": [1]}, [], "é", 0])
def test_custom(custom: Any) -> None:
    members = {"length": 1, "hashes": {"sha256": "ab"}, "custom": custom}
    file = TargetFile.from_dict(dict(members), "a")
    assert file.custom == file.unrecognized_fields["custom"] == custom
    assert file.to_dict() == members


def test_custom_is_none_when_there_is_none() -> None:
    assert TargetFile(1, {"sha256": "ab"}, "a").custom is None
    assert TargetFile(1, {"sha256": "ab"}, "a", {"custom": 1}).custom == 1


def test_constructors() -> None:
    assert MetaFile().to_dict() == {"version": 1}
    assert MetaFile(2, 3, {"a": "b"}, {"x": 1}).unrecognized_fields == {"x": 1}
    assert TargetFile(0, {"a": "b"}, "p").to_dict() == {"length": 0, "hashes": {"a": "b"}}


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (MetaFile, (0,)),
        (MetaFile, (-1,)),
        (MetaFile, ("1",)),
        (MetaFile, (1, -1)),
        (MetaFile, (1, "1")),
        (MetaFile, (1, None, {})),
        (MetaFile, (1, None, {"a": 1})),
        (TargetFile, (-1, {"a": "b"}, "p")),
        (TargetFile, ("1", {"a": "b"}, "p")),
        (TargetFile, (None, {"a": "b"}, "p")),
        (TargetFile, (1, {}, "p")),
        (TargetFile, (1, None, "p")),
        (TargetFile, (1, {"a": None}, "p")),
    ],
)
def test_wrong_arguments(kind: Any, arguments: tuple[Any, ...]) -> None:
    with pytest.raises((ValueError, TypeError)):
        kind(*arguments)

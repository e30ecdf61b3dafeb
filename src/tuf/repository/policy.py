"""tuf.toml: how a repository is run. It is private, and edited by people."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tuf.api._files import new_hash
from tuf.api.metadata import TOP_LEVEL_ROLE_NAMES
from tuf.repository.signers import (
    Keyring,
    KeySource,
    Secrets,
    read_public_key,
    secret_from_environment,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PERIOD = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

#: What ``tuf.toml`` looks like; a new repository's begins with it.
EXAMPLE = """\
# How this repository is run. Private: it need not be secret, but nobody else needs it.
# Periods are a number and s, m, h, d or w: seconds, minutes, hours, days, weeks.

# The hashes that are computed of target files.
hashes = ["sha256"]

# Files that nothing names any more are kept so long, for clients that are in mid-update.
retention = "7d"

# A key for each line: its name, and where it is. A private key that is not here has only "public".
[keys]
root = { uri = "file:keys/root" }
online = { uri = "file:keys/online" }

# Each role: the keys and threshold it begins with (later, metadata says who signs), how long
# its metadata is valid, and how long before the end it is signed anew.
[roles.root]
keys = ["root"]
threshold = 1
expires = "365d"
signing = "60d"

[roles.targets]
keys = ["online"]
expires = "365d"
signing = "60d"

[roles.snapshot]
keys = ["online"]
expires = "7d"
signing = "3d"

[roles.timestamp]
keys = ["online"]
expires = "1d"
signing = "12h"

# All other roles.
[delegated]
expires = "90d"
signing = "30d"

# Hash bins for the target files, 2 to the power of bits; leave it out for none.
# [bins]
# bits = 8
# keys = ["online"]
# prefix = "bins"
"""


class PolicyError(ValueError):
    """The policy is not valid. The message names the file, the line and the field."""


@dataclass(frozen=True)
class RolePolicy:
    """How one role is run.

    Args:
        expires: how long its metadata is valid.
        signing: how long before the end it is signed anew.
        keys: names of the keys it begins with.
        threshold: how many of them must sign.
    """

    expires: timedelta
    signing: timedelta
    keys: tuple[str, ...] = ()
    threshold: int = 1


@dataclass(frozen=True)
class BinsPolicy:
    """The hash bins that a repository begins with: ``2 ** bits`` of them."""

    bits: int
    keys: tuple[str, ...]
    threshold: int = 1
    prefix: str = "bins"


def _days(expires: int, signing: int) -> RolePolicy:
    return RolePolicy(timedelta(days=expires), timedelta(days=signing))


DEFAULT_ROLES: Mapping[str, RolePolicy] = {
    "root": _days(365, 60),
    "targets": _days(365, 60),
    "snapshot": _days(7, 3),
    "timestamp": RolePolicy(timedelta(days=1), timedelta(hours=12)),
}


@dataclass(frozen=True)
class Policy:
    """How a repository is run.

    Args:
        roles: the top-level roles, and those delegated roles that differ from ``delegated``.
        delegated: all other roles.
        keys: where keys are, by name.
        bins: the hash bins it begins with; None for none.
        hashes: what is computed of target files.
        retention: how long files are kept that nothing names any more.
        directory: what relative paths are relative to.
    """

    roles: Mapping[str, RolePolicy] = field(default_factory=lambda: DEFAULT_ROLES)
    delegated: RolePolicy = field(default_factory=lambda: _days(90, 30))
    keys: Mapping[str, KeySource] = field(default_factory=dict)
    bins: BinsPolicy | None = None
    hashes: tuple[str, ...] = ("sha256",)
    retention: timedelta = timedelta(days=7)
    directory: Path = Path()

    def role(self, name: str) -> RolePolicy:
        """How a role is run."""
        return self.roles.get(name, DEFAULT_ROLES.get(name, self.delegated))

    def keyring(self, secrets: Secrets = secret_from_environment) -> Keyring:
        """The keys, to sign with.

        Args:
            secrets: asks for passwords and PINs.
        """
        return Keyring(self.keys.values(), self.directory, secrets)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Policy:
        """Read ``tuf.toml``. Relative paths in it are relative to its directory.

        Raises:
            PolicyError: it is not valid.
            OSError: it cannot be read.
        """
        file = Path(path)
        return cls.from_text(file.read_text("utf-8"), file.absolute().parent, str(path))

    @classmethod
    def from_text(cls, text: str, directory: Path | None = None, name: str = "tuf.toml") -> Policy:
        """Make a policy of the text of a file.

        Args:
            text: the text.
            directory: what relative paths are relative to; None for the current directory.
            name: the file's name, for errors.

        Raises:
            PolicyError: the text is not valid.
        """
        directory = directory or Path.cwd()
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as e:
            raise PolicyError(f"{name}: {e}") from e
        return _Reader(text, name, directory).policy(document)


class _Reader:
    """Makes a policy of a parsed file, and knows the lines of the text for errors."""

    def __init__(self, text: str, name: str, directory: Path) -> None:
        self._lines = text.splitlines()
        self._name = name
        self._directory = directory

    def policy(self, document: dict[str, Any]) -> Policy:
        tables = ("keys", "roles", "delegated", "bins", "hashes", "retention")
        self._known(document, (), tables)
        keys = {
            name: self._key(name, entry) for name, entry in self._table(document, ("keys",)).items()
        }
        known = Policy()
        roles = {
            name: self._role(entry, ("roles", name), known.role(name), keys)
            for name, entry in self._table(document, ("roles",)).items()
        }
        for name in TOP_LEVEL_ROLE_NAMES:
            roles.setdefault(name, DEFAULT_ROLES[name])
        bins = None
        if "bins" in document:
            bins = self._bins(self._table(document, ("bins",)), keys)
        return Policy(
            roles,
            self._role(
                self._table(document, ("delegated",)), ("delegated",), known.delegated, keys
            ),
            keys,
            bins,
            self._get(document, (), "hashes", self._hashes, known.hashes),
            self._get(document, (), "retention", self._period, known.retention),
            self._directory,
        )

    def _key(self, name: str, entry: Any) -> KeySource:
        where = ("keys", name)
        if not isinstance(entry, dict):
            self._fail(where, f"must be a table with uri or public, not {entry!r}")
        self._known(entry, where, ("uri", "public"))
        uri = self._get(entry, where, "uri", self._uri, None)
        public = self._get(entry, where, "public", self._public, None)
        if uri is None and public is None:
            self._fail(where, "needs uri or public")
        if public is None and uri.partition(":")[0] not in ("file", "env"):
            self._fail(where, f"needs public: the public key of {uri} cannot be derived here")
        return KeySource(name, uri, public)

    def _role(
        self, entry: Any, where: tuple[str, ...], default: RolePolicy, keys: dict[str, KeySource]
    ) -> RolePolicy:
        if not isinstance(entry, dict):
            self._fail(where, f"must be a table, not {entry!r}")
        self._known(entry, where, ("keys", "threshold", "expires", "signing"))
        names = self._get(entry, where, "keys", self._names(keys), ())
        role = RolePolicy(
            self._get(entry, where, "expires", self._period, default.expires),
            self._get(entry, where, "signing", self._period, default.signing),
            names,
            self._get(entry, where, "threshold", self._number(1, max(1, len(names))), 1),
        )
        if role.signing >= role.expires:
            field = "signing" if "signing" in entry else "expires"
            self._fail((*where, field), "is wrong: signing must be shorter than expires")
        return role

    def _bins(self, entry: dict[str, Any], keys: dict[str, KeySource]) -> BinsPolicy:
        where = ("bins",)
        self._known(entry, where, ("bits", "keys", "threshold", "prefix"))
        for name in ("bits", "keys"):
            if name not in entry:
                self._fail(where, f"needs {name}")
        names = self._get(entry, where, "keys", self._names(keys), ())
        return BinsPolicy(
            self._get(entry, where, "bits", self._number(1, 32), 1),
            names,
            self._get(entry, where, "threshold", self._number(1, len(names)), 1),
            self._get(entry, where, "prefix", self._prefix, "bins"),
        )

    # Fields: each function makes the value of what stands in the file, or raises ValueError.

    def _hashes(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            raise ValueError(f"must be a list of hash algorithms, not {value!r}")
        for algorithm in value:
            new_hash(algorithm if isinstance(algorithm, str) else repr(algorithm))
        return tuple(value)

    def _period(self, value: Any) -> timedelta:
        match = _PERIOD.fullmatch(value) if isinstance(value, str) else None
        if not match or not int(match[1]):
            raise ValueError(f"must be a period like '30d' or '12h', not {value!r}")
        return timedelta(**{_UNITS[match[2]]: int(match[1])})

    def _uri(self, value: Any) -> str:
        if not isinstance(value, str) or not value.partition(":")[1]:
            raise ValueError(f"must be a key URI like 'file:keys/root', not {value!r}")
        return value

    def _public(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"must be the file of a public key, not {value!r}")
        try:
            return read_public_key(self._directory / value)
        except OSError as e:
            raise ValueError(f"cannot be read: {e}") from e

    def _prefix(self, value: Any) -> str:
        if not isinstance(value, str) or not value or "/" in value:
            raise ValueError(f"must be the beginning of role names, not {value!r}")
        return value

    def _names(self, keys: dict[str, KeySource]) -> Callable[[Any], tuple[str, ...]]:
        def names(value: Any) -> tuple[str, ...]:
            if not isinstance(value, list) or not value:
                raise ValueError(f"must be a list of names of keys, not {value!r}")
            for name in value:
                if name not in keys:
                    raise ValueError(f"names {name!r}, which is not in [keys]")
            if len(set(value)) != len(value):
                raise ValueError(f"names a key twice: {value!r}")
            return tuple(value)

        return names

    def _number(self, least: int, most: int) -> Callable[[Any], int]:
        def number(value: Any) -> int:
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise ValueError(f"must be a number from {least} to {most}, not {value!r}")
            return value

        return number

    # The file.

    def _get(
        self,
        table: dict[str, Any],
        where: tuple[str, ...],
        name: str,
        make: Callable[[Any], Any],
        default: Any,
    ) -> Any:
        if name not in table:
            return default
        try:
            return make(table[name])
        except (ValueError, TypeError) as e:
            self._fail((*where, name), str(e))

    def _table(self, document: dict[str, Any], where: tuple[str, ...]) -> dict[str, Any]:
        table = document.get(where[0], {})
        if not isinstance(table, dict):
            self._fail(where, f"must be a table, not {table!r}")
        return dict(table)

    def _known(self, table: dict[str, Any], where: tuple[str, ...], names: tuple[str, ...]) -> None:
        for name in table:
            if name not in names:
                self._fail((*where, name), f"is not known; known are {', '.join(names)}")

    def _fail(self, where: tuple[str, ...], reason: str) -> Any:
        raise PolicyError(f"{self._name}:{self._line(where)}: {'.'.join(where)} {reason}")

    def _line(self, where: tuple[str, ...]) -> int:
        """The line of a field: the last of ``where`` that is found, each after the one before."""
        found = start = 0
        for name in where:
            word = re.compile(rf"(^|[\[.{{,\s])[\"']?{re.escape(name)}[\"']?\s*([=\].]|$)")
            for number in range(start, len(self._lines)):
                line = self._lines[number].partition("#")[0]
                if word.search(line):
                    found = start = number
                    break
        return found + 1

"""Repositories that were made elsewhere: taken over, to go on publishing with them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from tuf.api._keys import Key, key_material
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import TargetFile
from tuf.repository._copying import Copied, Copier
from tuf.repository._seal import keys_of
from tuf.repository._state import RootChain, State
from tuf.repository.policy import DEFAULT_ROLES
from tuf.repository.signers import Keyring, KeySource, Secrets, secret_from_environment
from tuf.repository.store import LocalFile, Store, WriteNothing

_HEAD = """\
# How this repository is run. Private: it need not be secret, but nobody else needs it.
# Periods are a number and s, m, h, d or w: seconds, minutes, hours, days, weeks.

# Who signs is said by the metadata that was imported. This says where the private keys are: a
# key that is elsewhere needs no line, or one with only "public", so that it has a name.
"""
_DELEGATED = """\
# All other roles.
[delegated]
expires = "90d"
signing = "30d"
"""


class DirectorySource:
    """A repository in a directory: its files are in ``metadata`` and ``targets``.

    Args:
        directory: the directory.
        check: read target files, and raise if one is not what it should be.
    """

    def __init__(self, directory: Path, *, check: bool) -> None:
        self._directory = directory
        self._check = check

    def metadata(self, name: str, limit: int) -> bytes | None:
        """A metadata file of at most ``limit`` bytes; None if it is not there."""
        path = self._inside("metadata", name)
        if path is None:
            return None
        with path.open("rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise RepositoryError(f"{path} has more than {limit} bytes")
        return data

    def target(self, name: str, target: TargetFile) -> LocalFile | None:
        """A target file; None if it is not there."""
        path = self._inside("targets", name)
        file = None if path is None else LocalFile(path, target.length, target.hashes)
        if file is not None and self._check:
            for _ in file.blocks():
                pass
        return file

    def release(self) -> None:
        """Nothing to do: the files are the source's own."""

    def _inside(self, folder: str, name: str) -> Path | None:
        """The path of a file; None if there is none, or if a name leads out of the folder."""
        base = (self._directory / folder).resolve()
        path = (base / name).resolve()
        return path if path.is_relative_to(base) and path.is_file() else None


def import_repository(
    source: str | os.PathLike[str], store: Store, root: bytes | None = None
) -> Copied:
    """Take over a repository that was made elsewhere.

    It is verified from root version 1 on: the chain of roots, signatures, thresholds, versions,
    lengths and hashes, of target files as well; not expiry, since it can be signed anew. Nothing
    is written before all of that is done. To run it again completes an import that was
    interrupted; once the repository went on in the store, that is an error, and changes nothing.

    Then a :class:`~tuf.repository.ManagedRepository` with a policy that names the keys goes on with
    it: :func:`policy_text` begins that policy. If the repository had no consistent snapshots,
    its next step is
    :meth:`~tuf.repository.ManagedRepository.use_consistent_snapshots`, before clients are served
    from the store.

    Args:
        source: the directory, with ``metadata`` and ``targets`` in it.
        store: where it goes. It may be a store in the same directory.
        root: root version 1, if it is to be compared with one from elsewhere.

    Returns:
        What was imported. Targets without a file in the directory are told in ``missing``:
        the repository lists them as before.

    Raises:
        RepositoryError: the repository is not valid, or is another than the store's.
        OSError: it cannot be read.
        StorageError: the store failed, or somebody else wrote to it.
    """
    directory = Path(source)
    Copier(DirectorySource(directory, check=True), WriteNothing(store), root, None).copy()
    return Copier(DirectorySource(directory, check=False), store, root, None).copy()


def policy_text(
    store: Store,
    keys: str | os.PathLike[str] | None = None,
    secrets: Secrets = secret_from_environment,
) -> str:
    """The beginning of a ``tuf.toml`` for a repository that was imported.

    Args:
        store: where it is.
        keys: a directory of private key files. Public keys are taken from the files of the same
            names with ``.pub``; where there is none, the private key is opened.
        secrets: asks for passwords.

    Returns:
        The text: all keys of all roles, where they are or that they are elsewhere; the top-level
        roles with their thresholds; and periods, to be looked at.

    Raises:
        RepositoryError: what is in the store is not valid.
        KeyUnavailable: a key file cannot be read.
    """
    state = State(store, RootChain(store))
    if not state.roots:
        raise RepositoryError("there is no repository in the store")
    found = {} if keys is None else _keys_in(Path(keys), secrets)
    lines = [_HEAD, "[keys]"]
    users: dict[bytes, list[str]] = {}
    keyids: dict[bytes, str] = {}
    for role, key in _role_keys(state):
        material = key_material(key) or key.keyid.encode()
        users.setdefault(material, []).append(role)
        keyids[material] = f"{key.keytype} key {key.keyid}"
    for material, roles in users.items():
        lines.append(f"# {keyids[material]}, for {', '.join(dict.fromkeys(roles))}")
        if material in found:
            name, path = found[material]
            uri = _string(f"file:{path.as_posix()}")
            lines.append(f"{_string(name)} = {{ uri = {uri} }}")
        else:
            lines.append('# NAME = { uri = "...", public = "NAME.pub" }')
    for role in ("root", "targets", "snapshot", "timestamp"):
        names = [
            found[material][0]
            for material, roles in users.items()
            if role in roles and material in found
        ]
        lines += ["", *_role(role, names, state.root.roles[role].threshold)]
    return "\n".join([*lines, "", _DELEGATED])


def _keys_in(directory: Path, secrets: Secrets) -> dict[bytes, tuple[str, Path]]:
    """The names and paths of key files, by public key."""
    found = {}
    for path in sorted(directory.absolute().iterdir()):
        if path.suffix != ".pub" and path.is_file():
            keyring = Keyring([KeySource(path.stem, f"file:{path}")], secrets=secrets)
            material = key_material(keyring.public_key(path.stem))
            if material is not None:
                found[material] = (path.stem, path)
    return found


def _role_keys(state: State) -> Iterator[tuple[str, Key]]:
    """Every role and every key of it; for bins, the beginning of their names."""
    for role in ("root", "targets", "snapshot", "timestamp"):
        yield from ((role, key) for key in keys_of(state.root, role))
    for _, targets in state.delegators():
        delegations = targets.delegations
        if delegations is None:
            continue
        if (bins := delegations.succinct_roles) is not None:
            some = next(bins.get_roles())
            yield from ((bins.name_prefix, key) for key in keys_of(targets, some))
        for role in delegations.roles or ():
            yield from ((role, key) for key in keys_of(targets, role))


def _role(role: str, names: list[str], threshold: int) -> list[str]:
    periods = DEFAULT_ROLES[role]
    lines = [f"[roles.{role}]"]
    if names:
        lines.append(f"keys = [{', '.join(map(_string, names))}]")
    # What stands here must be possible with the keys that stand here.
    hidden = "" if threshold <= max(1, len(names)) else "# "
    return [
        *lines,
        f"{hidden}threshold = {threshold}",
        f'expires = "{_period(periods.expires)}"',
        f'signing = "{_period(periods.signing)}"',
    ]


def _period(period: timedelta) -> str:
    hours = period // timedelta(hours=1)
    return f"{hours}h" if hours % 24 else f"{hours // 24}d"


def _string(text: str) -> str:
    """A string as TOML has it."""
    return json.dumps(text)

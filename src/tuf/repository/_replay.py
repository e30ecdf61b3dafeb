"""A stream of changes that can be read more than once."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice

from tuf.repository.changes import Change

_CHUNK = 1000


class Replay:
    """Changes that come as a stream, for a publication that may have to begin again.

    What was taken from the stream is kept in a temporary file, not in memory.

    Args:
        changes: the changes; a list or tuple is used as it is.
    """

    def __init__(self, changes: Iterable[Change]) -> None:
        self._list = changes if isinstance(changes, list | tuple) else None
        self._rest = iter(changes)
        self._file = None if self._list is not None else tempfile.TemporaryFile()  # noqa: SIM115
        self._chunks = 0

    def __enter__(self) -> Replay:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def __iter__(self) -> Iterator[Change]:
        if self._file is None:
            yield from self._list or ()
            return
        self._file.seek(0)
        for _ in range(self._chunks):
            yield from pickle.load(self._file)  # noqa: S301  # it was written below
        while chunk := list(islice(self._rest, _CHUNK)):
            pickle.dump(chunk, self._file, pickle.HIGHEST_PROTOCOL)
            self._chunks += 1
            yield from chunk

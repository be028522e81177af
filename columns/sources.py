"""Sources: where rows come from before anything is computed.

A source is *ready* when reading rows is a copy out of memory (or of mapped memory), and *slow* when each row
costs a file read or a decode. The evaluator reads slow sources in threads, ahead of the computation.
"""

from __future__ import annotations

import hashlib
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .errors import KindError, StoreError
from .reading import Buffers, Reading, read_rows
from .selection import Selection
from .values import ArrowValues, DenseValues, ListValues, Values, read_only

__all__ = [
    "ArrowSource",
    "DenseSource",
    "FileSource",
    "Files",
    "KnowsNulls",
    "ListSource",
    "RowSource",
    "SlowSource",
    "_hash_arrow",
]


class RowSource(ABC):
    """Rows that are there, or can be read: the contract of the leaves of every expression."""

    slow = False

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, rows: Selection) -> Values:
        """Return the rows of a selection that has no `NO_ROW`."""

    def digest(self) -> str | None:
        """Return a hash of the content, or None if there is no stable one."""
        return None

    def describe(self, row: int) -> str | None:
        """Return what a person would call the row, a path for instance, if anything."""
        return None

    def state(self) -> int:
        """Return a number that changes whenever `refresh` finds that the rows did."""
        return 0

    def refresh(self) -> bool:
        """Look again at what lies outside the process; say whether it changed."""
        return False

    def row_bytes(self) -> int:
        """Return about how many bytes a row takes, 0 if nobody knows: for the size of batches."""
        return 0


class SlowSource(RowSource):
    """A source whose rows are read one by one, in threads."""

    slow = True

    @property
    def failed(self) -> dict[int, BaseException]:
        """Rows that could not be read when somebody went on without them, and why: null until they are tried again."""
        rows: dict[int, BaseException] = self.__dict__.setdefault("_failed", {})
        return rows

    @abstractmethod
    def read_row(self, row: int) -> Any:
        """Return one row, None where it is null; raise where it cannot be read."""

    def read(self, rows: Selection) -> Values:
        values, failures = self.start(rows).finish()
        if failures:
            raise failures[min(failures)]
        return values

    def start(self, rows: Selection, buffers: Buffers | None = None) -> Reading:
        """Begin to read rows in threads; with `buffers`, as one batch where the rows allow it."""
        return read_rows(self, rows)


@runtime_checkable
class KnowsNulls(Protocol):
    """A slow source that knows without reading which rows are null."""

    def nulls(self) -> RowSource:
        """Return booleans, true where a row is null."""


class ArrowSource(RowSource):
    """Rows of an Arrow array, memory-mapped or not."""

    def __init__(self, array: pa.Array | pa.ChunkedArray) -> None:
        self._values = ArrowValues(array)
        self._digest: str | None = None

    def __len__(self) -> int:
        return len(self._values)

    @property
    def array(self) -> pa.Array:
        """The whole as one Arrow array."""
        return self._values.array

    def read(self, rows: Selection) -> ArrowValues:
        return self._values if rows.is_whole(len(self)) else self._values.take(rows)

    def digest(self) -> str:
        if self._digest is None:
            self._digest = _hash_arrow(self._values.array)
        return self._digest

    def __repr__(self) -> str:
        return f"<{len(self)} rows of {self._values.array.type}>"


class DenseSource(RowSource):
    """Rows of a NumPy array, memory-mapped or not."""

    def __init__(
        self,
        data: NDArray[Any],
        valid: NDArray[np.bool_] | None = None,
        form: type[DenseValues] = DenseValues,
        where: str | None = None,
    ) -> None:
        self.data = data
        # Rows are handed out as views: nobody may change the column through them.
        self._values = form(read_only(data), valid)
        self._digest: str | None = None
        self._where = where

    def __len__(self) -> int:
        return len(self.data)

    def read(self, rows: Selection) -> Values:
        return self._values if rows.is_whole(len(self)) else self._values.take(rows)

    def digest(self) -> str:
        if self._digest is None:
            h = hashlib.blake2b(f"{self.data.dtype}{self.data.shape}".encode(), digest_size=16)
            for start in range(0, len(self.data), 4096):
                h.update(np.ascontiguousarray(self.data[start : start + 4096]).view(np.uint8).data)
            valid = self._values.valid()
            if valid is not None:
                h.update(valid.tobytes())
            self._digest = h.hexdigest()
        return self._digest

    def row_bytes(self) -> int:
        return math.prod(self.data.shape[1:]) * self.data.itemsize

    def __repr__(self) -> str:
        place = f" in {self._where}" if self._where else ""
        return f"<{len(self)} rows of {self.data.dtype}{list(self.data.shape[1:])}{place}>"


class ListSource(RowSource):
    """Python objects; they have no content hash, so what is computed from them lives in this process."""

    def __init__(self, items: Sequence[Any]) -> None:
        self._values = ListValues(list(items))

    def __len__(self) -> int:
        return len(self._values)

    def read(self, rows: Selection) -> ListValues:
        return self._values if rows.is_whole(len(self)) else self._values.take(rows)

    def __repr__(self) -> str:
        return f"<{len(self)} objects>"


class Files:
    """Paths of files, relative to a base directory that may move.

    Parameters
    ----------
    paths : sequence of str or Path, or Arrow string array
        One path a row, None where null. Relative ones are looked up under `base`.
    base : str or Path, optional
        Directory of the relative paths; the current one if left out.
    confined : bool
        Refuse paths that leave `base`: set for panels that were opened from disk.
    """

    def __init__(self, paths: Any, base: str | os.PathLike[str] | None = None, *, confined: bool = False) -> None:
        if not isinstance(paths, (pa.Array, pa.ChunkedArray)):
            paths = pa.array([None if p is None else os.fspath(p) for p in paths], pa.string())
        self.paths = ArrowValues(paths).array
        self.base = None if base is None else Path(base)
        self.confined = confined
        self._state = 0
        self._seen: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, row: int) -> str | None:
        """Return the path of a row as it was given."""
        value: str | None = self.paths[row].as_py()
        return value

    def path(self, row: int) -> Path | None:
        """Return where the file of a row lies now.

        Raises
        ------
        StoreError
            If the panel came from disk and the path leaves its base directory.
        """
        name = self.name(row)
        if name is None:
            return None
        if self.confined and _escapes(name):
            raise StoreError(f"A path in a saved panel must stay inside its base directory; got '{name}'.")
        path = Path(name) if self.base is None else self.base / name
        status = path.stat()
        # The first look at a file is what `refresh` compares with, once per process.
        self._seen.setdefault(row, (status.st_mtime_ns, status.st_size))
        return path

    def digest(self) -> str:
        """Return a hash of paths, sizes and times of change: content as far as it can be told cheaply."""
        h = hashlib.blake2b(digest_size=16)
        for row in range(len(self)):
            name = self.name(row)
            try:
                path = self.path(row)
                status = None if path is None else self._seen[row]
            except OSError:
                status = None
            h.update(f"{name}\x1f{status}\n".encode())
        return h.hexdigest()

    def state(self) -> int:
        """Return a number that grows each time `refresh` finds a change."""
        return self._state

    def refresh(self) -> bool:
        """Look at every file that was read before; say whether one changed."""
        changed = False
        for row, before in list(self._seen.items()):
            del self._seen[row]
            try:
                self.path(row)
                changed |= self._seen[row] != before
            except OSError:
                changed = True
        self._state += changed
        return changed

    def moved(self, base: str | os.PathLike[str]) -> Files:
        """Return the same files under another base directory."""
        return Files(self.paths, base, confined=self.confined)


class FileSource(SlowSource):
    """Any file and a loader: what the loader returns is the row.

    Parameters
    ----------
    files : Files
        Where the files lie.
    loader : callable
        Takes a `Path`, returns the row; run in threads.
    """

    def __init__(self, files: Files, loader: Callable[[Path], Any]) -> None:
        self.files = files
        self.loader = loader

    def __len__(self) -> int:
        return len(self.files)

    def rebase(self, base: str | os.PathLike[str]) -> FileSource:
        """Return the same files under another base directory."""
        return FileSource(self.files.moved(base), self.loader)

    def read_row(self, row: int) -> Any:
        path = self.files.path(row)
        return None if path is None else self.loader(path)

    def digest(self) -> str | None:
        from .functions import importable_name

        name = importable_name(self.loader)
        return None if name is None else f"{name}\x1f{self.files.digest()}"

    def describe(self, row: int) -> str | None:
        return self.files.name(row)

    def state(self) -> int:
        return self.files.state()

    def refresh(self) -> bool:
        return self.files.refresh()

    def __repr__(self) -> str:
        return f"<{len(self)} files>"


def _escapes(name: str) -> bool:
    """Say whether a path leaves the directory it is relative to, in the spelling of any system."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    return posix.is_absolute() or bool(windows.anchor) or ".." in posix.parts or ".." in windows.parts


class _HashSink:
    """A file whose content is only hashed."""

    closed = False

    def __init__(self) -> None:
        self.hash = hashlib.blake2b(digest_size=16)

    def write(self, data: Any) -> int:
        self.hash.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self.closed = True


def _hash_arrow(array: pa.Array) -> str:
    """Hash an Arrow array by its values: a slice hashes as its copy does, since the format rebases it."""
    sink = _HashSink()
    batch = pa.record_batch([array], names=["x"])
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), batch.schema) as writer:
        writer.write_batch(batch)
    return sink.hash.hexdigest()


def require_one_dimension(data: Any, what: str) -> None:
    """Raise unless `data` has one dimension."""
    shape = getattr(data, "shape", None)
    if shape is not None and len(shape) != 1:
        raise KindError(f"{what} needs one value per row; got an array of shape {tuple(shape)}.")

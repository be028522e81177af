"""Rows in files: results that do not fit into memory, and results that survive the process."""

from __future__ import annotations

import itertools
import json
import os
import weakref
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Layout", "RowFile", "open_results", "start_results"]

_PROMISED = 1  # the state byte of a row whose values are in the file


class RowFile:
    """Rows of fixed size in a file, written and read in runs (mapped pages would count as memory)."""

    def __init__(self, handle: IO[bytes], row_bytes: int) -> None:
        self.handle = handle
        self.row_bytes = row_bytes
        weakref.finalize(self, handle.close)

    def write(self, rows: NDArray[np.int64], data: NDArray[Any]) -> None:
        """Write rows at their numbers."""
        raw = np.ascontiguousarray(data).reshape(len(rows), -1).view(np.uint8)
        if not self.row_bytes:
            return
        for start, stop in _runs(rows):
            offset = int(rows[start]) * self.row_bytes
            left = raw[start:stop].reshape(-1).data
            while left:  # a full disk and very long runs make short writes
                count = _write_at(self.handle, left, offset)
                left, offset = left[count:], offset + count

    def read(self, rows: NDArray[np.int64], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return rows by their numbers; zeros where nothing was written."""
        out = np.zeros((len(rows), *shape), dtype)
        raw = out.reshape(-1).view(np.uint8).reshape(len(rows), self.row_bytes)
        if not self.row_bytes:
            return out
        for start, stop in _runs(rows):
            offset = int(rows[start]) * self.row_bytes
            left = raw[start:stop].reshape(-1).data
            while left:
                count = _read_at(self.handle, left, offset)
                if not count:
                    break
                left, offset = left[count:], offset + count
        return out


# At an offset, rather than where the file stands: forked workers share the file, and where it stands.


def _write_at(handle: IO[bytes], data: memoryview, offset: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(handle.fileno(), data, offset)
    handle.seek(offset)
    return handle.write(data)


def _read_at(handle: IO[bytes], into: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(handle.fileno(), [into], offset)
    handle.seek(offset)
    return int(handle.readinto(into))  # type: ignore[attr-defined]


class Layout(NamedTuple):
    """What the rows of a results file are."""

    rows: int
    form: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    arrow: str | None

    @property
    def row_bytes(self) -> int:
        """Size of one row."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def start_results(directory: Path, layout: Layout) -> tuple[RowFile, RowFile]:
    """Begin the files of one output: ``values``, ``state``, and a header, written last, that says what they are."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("values", "state"):
        (directory / name).touch()
    # Emptied first: rows of another layout may have been given up here.
    os.truncate(directory / "state", 0)
    os.truncate(directory / "state", layout.rows)
    draft = directory / f"header.{os.getpid()}.tmp"
    draft.write_text(json.dumps({**layout._asdict(), "dtype": str(layout.dtype)}))
    draft.replace(directory / "header.json")
    return _open(directory, layout)


def open_results(directory: Path, rows: int) -> tuple[Layout, NDArray[np.uint8], RowFile, RowFile] | None:
    """Return what an earlier process left: layout, state of each row, and the files; None if there is nothing whole.

    A row counts only if its values are in the file, whatever the state says: a machine that lost power may have
    written the one and not the other.
    """
    try:
        header = json.loads((directory / "header.json").read_text())
        header["shape"], header["dtype"] = tuple(header["shape"]), np.dtype(header["dtype"])
        layout = Layout(**header)
        if layout.rows != rows:
            return None
        state = np.zeros(rows, np.uint8)
        written = np.fromfile(directory / "state", np.uint8, rows)
        state[: len(written)] = written
        if layout.row_bytes:
            whole = (directory / "values").stat().st_size // layout.row_bytes
            state[whole:][state[whole:] == _PROMISED] = 0
        return (layout, state, *_open(directory, layout))
    except (OSError, ValueError, TypeError, KeyError):
        return None  # nothing was kept, or a crash left half of it, or a newer version wrote it: compute


def _open(directory: Path, layout: Layout) -> tuple[RowFile, RowFile]:
    values = RowFile(open(directory / "values", "r+b", buffering=0), layout.row_bytes)  # noqa: SIM115
    return values, RowFile(open(directory / "state", "r+b", buffering=0), 1)


def _runs(rows: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the stretches of positions whose row numbers follow each other."""
    if not len(rows):
        return []
    cuts = np.flatnonzero(np.diff(rows) != 1) + 1
    edges = [0, *cuts.tolist(), len(rows)]
    return list(itertools.pairwise(edges))

"""Memo: the rows of costly expressions, kept so that none is computed twice.

Each output has one state byte per row and a lazily touched array of values; values are written first, the
state last, so that a reader never sees half a row. Values live in host memory up to a budget of bytes shared by
all memos, then move to a file; with a results directory they are written there and survive the process.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .errors import FunctionError
from .functions import Output
from .selection import Selection
from .values import ArrowValues, DenseValues, ImageValues, ListValues, Values

if TYPE_CHECKING:
    from .expression import Node

__all__ = [
    "FAILED",
    "MISSING",
    "NULL",
    "THERE",
    "Cause",
    "KeptRows",
    "Memo",
    "memory_budget",
    "set_memory_budget",
]

MISSING, THERE, NULL, FAILED = 0, 1, 2, 3


@dataclass(frozen=True)
class Cause:
    """Why a row failed.

    Attributes
    ----------
    error : BaseException
        What was raised.
    node : Node
        The source that could not read it, or the map whose function raised.
    row : int
        Its number in the rows of `node`.
    """

    error: BaseException
    node: Node
    row: int


class _Ledger:
    """How many bytes all memos hold in memory, and how many they may."""

    def __init__(self) -> None:
        self.budget = 4 << 30
        self.kept: weakref.WeakSet[KeptRows] = weakref.WeakSet()
        self._at_most = 0  # an upper bound: memos that are gone are only found out by counting

    def add(self, size: int) -> None:
        """Note that `size` more bytes are held."""
        self._at_most += size
        if self._at_most > self.budget:
            self.settle()

    def settle(self) -> None:
        """Move the largest results to files until the rest fits the budget."""
        held = {rows: rows.bytes_in_memory for rows in self.kept}
        total = sum(held.values())
        while total > self.budget:
            largest = max(held, key=lambda r: held[r])
            if held[largest] == 0:
                break
            total -= held[largest]
            largest.spill()
            held[largest] = 0
        self._at_most = total


_ledger = _Ledger()


def memory_budget() -> int:
    """Return how many bytes of results may stay in host memory."""
    return _ledger.budget


def set_memory_budget(size: int) -> None:
    """Let results take at most `size` bytes of host memory; what is above moves to temporary files."""
    if size < 0:
        raise ValueError(f"A budget must be at least 0 bytes; got {size}.")
    _ledger.budget = size
    _ledger.settle()


class _File:
    """Rows of fixed size in a file, written and read in runs (mapped pages would count as memory)."""

    def __init__(self, handle: IO[bytes], row_bytes: int) -> None:
        self.handle = handle
        self.row_bytes = row_bytes

    def write(self, rows: NDArray[np.int64], data: NDArray[Any]) -> None:
        raw = np.ascontiguousarray(data).reshape(len(rows), -1).view(np.uint8)
        for start, stop in _runs(rows):
            self.handle.seek(int(rows[start]) * self.row_bytes)
            self.handle.write(raw[start:stop].data)
        self.handle.flush()

    def read(self, rows: NDArray[np.int64], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        out = np.zeros((len(rows), self.row_bytes), np.uint8)
        for start, stop in _runs(rows):
            self.handle.seek(int(rows[start]) * self.row_bytes)
            self.handle.readinto(out[start:stop].data)  # type: ignore[attr-defined]
        return out.reshape(-1).view(dtype).reshape(len(rows), *shape)


class KeptRows:
    """The kept rows of one output.

    Parameters
    ----------
    length : int
        Number of rows of the expression.
    output : Output
        What they were declared to be.
    directory : Path, optional
        Where they survive the process.
    """

    def __init__(self, length: int, output: Output, directory: Path | None = None) -> None:
        self.length = length
        self.output = output
        self.state = np.zeros(length, np.uint8)
        self._form: type[Values] | None = None
        self._arrow_type: pa.DataType | None = None
        self._dense: NDArray[Any] | None = None
        self._objects: list[Any] | None = None
        self._file: _File | None = None
        self._shape: tuple[int, ...] = ()
        self._dtype: np.dtype[Any] = np.dtype(np.float32)
        self._stored = 0
        self._directory = directory
        self._state_file: _File | None = None
        if directory is not None:
            self._reopen(directory)
        _ledger.kept.add(self)

    @property
    def bytes_in_memory(self) -> int:
        """Bytes of the rows that were stored in memory."""
        return self._stored * self._row_bytes if self._dense is not None else 0

    @property
    def _row_bytes(self) -> int:
        return int(np.prod(self._shape, dtype=np.int64)) * self._dtype.itemsize

    def store(self, rows: NDArray[np.int64], values: Values) -> None:
        """Keep the values of some rows; null values are kept as null."""
        if not len(rows):
            return
        valid = values.valid()
        there = rows if valid is None else rows[valid]
        if len(there):
            self._write(there, values if valid is None else values.keep(valid))
        state = np.full(len(rows), THERE, np.uint8)
        if valid is not None:
            state[~valid] = NULL
        self._set_state(rows, state)
        if self._dense is not None:
            self._stored += len(there)
            _ledger.add(len(there) * self._row_bytes)

    def mark(self, rows: NDArray[np.int64], state: int) -> None:
        """Set the state of rows without values."""
        self._set_state(rows, np.full(len(rows), state, np.uint8))

    def read(self, rows: Selection) -> Values:
        """Return rows that are there; null and failed ones are null."""
        r = rows.range
        whole_run = r is not None and r.step == 1
        state = self.state[r.start : r.stop] if r is not None and whole_run else self.state[rows.indices()]
        valid = state == THERE
        mask = None if valid.all() else valid
        if self._objects is not None:
            items = [self._objects[i] for i in rows.indices().tolist()]
            items = [item if ok else None for item, ok in zip(items, valid, strict=True)]
            if self._form is ArrowValues:
                return ArrowValues(pa.array(items, self._arrow_type))
            return ListValues(items)
        if self._dense is not None:
            data = self._dense[r.start : r.stop] if r is not None and whole_run else self._dense[rows.indices()]
        elif self._file is not None:
            data = self._file.read(rows.indices(), self._shape, self._dtype)
        else:
            return self.nothing(len(rows))
        if self._form is ArrowValues:
            array = pa.array(data, mask=None if mask is None else ~mask)
            return ArrowValues(array if self._arrow_type is None else array.cast(self._arrow_type))
        return ImageValues(data, mask) if self._form is ImageValues else DenseValues(data, mask)

    def spill(self) -> None:
        """Move the values from memory to a temporary file."""
        if self._dense is None:
            return
        file = _File(tempfile.TemporaryFile(buffering=0), self._row_bytes)  # noqa: SIM115
        rows = np.flatnonzero(self.state == THERE)
        for start in range(0, len(rows), 4096):
            some = rows[start : start + 4096]
            file.write(some, self._dense[some])
        self._file, self._dense, self._stored = file, None, 0

    def nothing(self, length: int) -> Values:
        """Return `length` null rows in the form of this output."""
        form = self.output.form
        if form == "arrow":
            kind = pa.null() if self.output.dtype is None else pa.type_for_alias(self.output.dtype)
            return ArrowValues(pa.nulls(length, kind))
        if form == "dense":
            blank = np.zeros((length, *(self.output.shape or (0,))), self.output.dtype or np.float32)
            return DenseValues(blank, np.zeros(length, np.bool_) if length else None)
        return ListValues([None] * length)

    def _write(self, rows: NDArray[np.int64], values: Values) -> None:
        data = self._as_array(values)
        if self._form is None:
            self._begin(values, data)
        elif data is not None and self._objects is None:
            data = self._reconcile(values, data)
        elif self._form is not type(values):
            self._to_objects(type(values))
        if self._objects is not None:
            # Objects outlive the batch that they may be views of, so tensors get memory of their own.
            items = values.rows()
            if isinstance(values, ArrowValues):
                self._widen(values.array.type)
            for row, item in zip(rows.tolist(), items, strict=True):
                self._objects[row] = item.clone() if hasattr(item, "clone") else item
        elif self._file is not None:
            assert data is not None
            self._file.write(rows, data)
        else:
            assert data is not None
            assert self._dense is not None
            if len(rows) and rows[-1] - rows[0] + 1 == len(rows) and bool((np.diff(rows) == 1).all()):
                self._dense[rows[0] : rows[-1] + 1] = data
            else:
                self._dense[rows] = data

    def _as_array(self, values: Values) -> NDArray[Any] | None:
        """Return the values as an array of fixed-size rows, or None where they are not of one size."""
        if isinstance(values, DenseValues):
            return values.data
        if isinstance(values, ArrowValues) and values.array.null_count == 0:
            kind = values.array.type
            if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
                return np.asarray(values.array.to_numpy(zero_copy_only=False))
        return None

    def _begin(self, values: Values, data: NDArray[Any] | None) -> None:
        self._form = type(values)
        if isinstance(values, ArrowValues):
            self._arrow_type = values.array.type
        if data is None:
            self._objects = [None] * self.length
            return
        self._shape, self._dtype = data.shape[1:], data.dtype
        if self._directory is not None:
            self._start_directory(self._directory)
        else:
            self._dense = np.empty((self.length, *self._shape), self._dtype)

    def _reconcile(self, values: Values, data: NDArray[Any]) -> NDArray[Any] | None:
        """Fit a later batch to what the first one was; a declared output must fit, a pending one may widen."""
        if type(values) is self._form and data.shape[1:] == self._shape:
            if data.dtype == self._dtype:
                return data
            wider = np.result_type(data.dtype, self._dtype)
            if wider != self._dtype:
                if self._file is not None:
                    raise FunctionError(
                        f"Earlier rows were {self._dtype}, these are {data.dtype}; declare `dtype='{wider}'`."
                    )
                assert self._dense is not None
                self._dense = self._dense.astype(wider)
                self._dtype = wider
                if self._arrow_type is not None:
                    self._arrow_type = pa.from_numpy_dtype(wider)
            return data
        if self.output.form == "dense":
            raise FunctionError(
                f"Every row must have the shape of the first, {self._shape}; got {data.shape[1:]}. "
                "Pad or resize, or declare `to=ObjectColumn`."
            )
        self._to_objects(type(values))
        return data

    def _to_objects(self, new: type[Values]) -> None:
        if self._objects is not None and self._form is new:
            return
        there = np.flatnonzero(self.state == THERE)
        kept = self.read(Selection(there)).rows()
        self._objects = [None] * self.length
        for row, item in zip(there.tolist(), kept, strict=True):
            self._objects[row] = item
        if self._form is not new:
            self._form = ListValues
        self._dense, self._file, self._stored = None, None, 0

    def _widen(self, kind: pa.DataType) -> None:
        if self._arrow_type in (None, kind):
            return
        schemas = [pa.schema([("x", k)]) for k in (self._arrow_type, kind)]
        try:
            self._arrow_type = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            self._form = ListValues

    # Results that survive the process: `values`, `state`, and a small header that says what they are.

    def _start_directory(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        assert self._form is not None
        header = {
            "rows": self.length,
            "form": self._form.__name__,
            "shape": list(self._shape),
            "dtype": str(self._dtype),
            "arrow": None if self._arrow_type is None else str(self._arrow_type),
        }
        draft = directory / f"header.{os.getpid()}.tmp"
        draft.write_text(json.dumps(header))
        for name in ("values", "state"):
            (directory / name).touch()
        os.truncate(directory / "state", self.length)
        draft.replace(directory / "header.json")
        self._open_files(directory)

    def _reopen(self, directory: Path) -> None:
        try:
            header = json.loads((directory / "header.json").read_text())
        except (OSError, ValueError):
            return  # nothing was kept yet, or a crash left half a header: both mean "compute"
        if header["rows"] != self.length:
            return
        forms = {f.__name__: f for f in (ArrowValues, DenseValues, ImageValues)}
        self._form = forms[header["form"]]
        self._shape, self._dtype = tuple(header["shape"]), np.dtype(header["dtype"])
        self._arrow_type = None if header["arrow"] is None else pa.type_for_alias(header["arrow"])
        self.state[:] = np.fromfile(directory / "state", np.uint8, self.length)
        self._open_files(directory)

    def _open_files(self, directory: Path) -> None:
        self._file = _File(open(directory / "values", "r+b", buffering=0), self._row_bytes)  # noqa: SIM115
        self._state_file = _File(open(directory / "state", "r+b", buffering=0), 1)  # noqa: SIM115

    def _set_state(self, rows: NDArray[np.int64], state: NDArray[np.uint8]) -> None:
        self.state[rows] = state
        if self._state_file is not None:
            # A failure belongs to this process: the file that broke may be whole in the next.
            self._state_file.write(rows, np.where(state == FAILED, MISSING, state).astype(np.uint8))


class Memo:
    """What is kept of one `Map`: its outputs, the state of the world they hold for, and what failed."""

    def __init__(self, length: int, outputs: tuple[Output, ...], directory: Path | None = None) -> None:
        self.outputs = {
            o.name: KeptRows(length, o, None if directory is None else directory / (o.name or "output"))
            for o in outputs
        }
        self.stamp: Any = None
        self.weights: tuple[str, ...] | None = None  # full hashes, where they were cheap enough to take
        self.failures: dict[int, Cause] = {}


def _runs(rows: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the stretches of positions whose row numbers follow each other."""
    if not len(rows):
        return []
    cuts = np.flatnonzero(np.diff(rows) != 1) + 1
    edges = [0, *cuts.tolist(), len(rows)]
    return list(itertools.pairwise(edges))

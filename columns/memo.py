"""Memo: the rows of costly expressions, kept so that none is computed twice.

Each output has one state byte per row and a lazily touched array of values; values are written first, the
state last, so that a reader never sees half a row. Values live in host memory up to a budget of bytes shared by
all memos, then move to a file; with a results directory they are written there and survive the process.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from .budget import ledger, memory_budget, set_memory_budget
from .causes import Cause
from .errors import FunctionError
from .functions import Output
from .rowfile import Layout, RowFile, open_results, start_results
from .selection import Selection
from .values import ArrowValues, DenseValues, ImageValues, ListValues, Values, read_only

__all__ = [
    "FAILED",
    "MISSING",
    "NULL",
    "THERE",
    "KeptRows",
    "Memo",
    "memory_budget",
    "set_memory_budget",
]

MISSING, THERE, NULL, FAILED = 0, 1, 2, 3


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

    Attributes
    ----------
    state : ndarray of uint8, shape (length,)
        `MISSING`, `THERE`, `NULL` or `FAILED`, for each row.
    """

    def __init__(self, length: int, output: Output, directory: Path | None = None) -> None:
        self.length = length
        self.output = output
        self.state = np.zeros(length, np.uint8)
        self._form: type[Values] | None = None
        self._arrow_type: pa.DataType | None = None
        # One of the three holds the values: an array, a file, or a list of objects.
        self._dense: NDArray[Any] | None = None
        self._file: RowFile | None = None
        self._objects: list[Any] | None = None
        self._shape: tuple[int, ...] = ()
        self._dtype: np.dtype[Any] = np.dtype(np.float32)
        self._stored = 0
        self._directory = directory
        self._state_file: RowFile | None = None
        if directory is not None:
            self._reopen(directory)
        ledger.kept.add(self)

    @property
    def bytes_in_memory(self) -> int:
        """Bytes of the rows that were stored in memory."""
        return self._stored * self.row_bytes if self._dense is not None else 0

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, where rows are of one size."""
        return math.prod(self._shape) * self._dtype.itemsize

    @property
    def holds_objects(self) -> bool:
        """Whether rows are kept as Python objects, which may be views of what they were made from."""
        return self._objects is not None

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
            ledger.add(len(there) * self.row_bytes)

    def mark(self, rows: NDArray[np.int64], state: int) -> None:
        """Set the state of rows without values."""
        self._set_state(rows, np.full(len(rows), state, np.uint8))

    def read(self, rows: Selection) -> Values:
        """Return rows that are there; null and failed ones are null."""
        r = rows.range
        run = None if r is None or r.step != 1 else slice(r.start, r.stop)
        state = self.state[rows.indices() if run is None else run]
        valid = state == THERE
        mask = None if valid.all() else valid
        if self._objects is not None:
            items = [self._objects[i] for i in rows.indices().tolist()]
            items = [item if ok else None for item, ok in zip(items, valid, strict=True)]
            if self._form is ArrowValues:
                return ArrowValues(pa.array(items, self._arrow_type))
            return ListValues(items)
        if self._dense is not None:
            # A run is a view that may not be written to: what is kept must not change under whoever reads it.
            data = self._dense[rows.indices()] if run is None else read_only(self._dense[run])
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
        file = _temporary(self.row_bytes)
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

    # Writing. A declared output must stay what the first rows were, a pending one may widen.

    def _write(self, rows: NDArray[np.int64], values: Values) -> None:
        data = _as_array(values)
        if self._form is None:
            self._begin(values, data)
        elif self._objects is None:
            data = self._fitted(values, data)
        if self._objects is not None:
            self._write_objects(rows, values)
            return
        assert data is not None
        if self._file is not None:
            self._file.write(rows, data)
            return
        assert self._dense is not None
        if rows[-1] - rows[0] + 1 == len(rows) and bool((np.diff(rows) == 1).all()):
            self._dense[rows[0] : rows[-1] + 1] = data
        else:
            self._dense[rows] = data

    def _write_objects(self, rows: NDArray[np.int64], values: Values) -> None:
        assert self._objects is not None
        if self._form is not type(values):
            self._form = ListValues
        elif isinstance(values, ArrowValues):
            self._widen(values.array.type)
        for row, item in zip(rows.tolist(), values.rows(), strict=True):
            # Objects outlive the batch that they may be views of, so tensors get memory of their own.
            self._objects[row] = item.clone() if isinstance(item, torch.Tensor) else item

    def _begin(self, values: Values, data: NDArray[Any] | None) -> None:
        self._form = type(values)
        if isinstance(values, ArrowValues):
            self._arrow_type = values.array.type
        if data is None:
            self._objects = [None] * self.length
            return
        self._shape, self._dtype = data.shape[1:], data.dtype
        if self._directory is not None:
            arrow = None if self._arrow_type is None else str(self._arrow_type)
            layout = Layout(self.length, self._form.__name__, self._shape, self._dtype, arrow)
            self._file, self._state_file = start_results(self._directory, layout)
        elif self.length * self.row_bytes > ledger.budget:
            # All of it would not fit; the system may even refuse to reserve so much.
            self._file = _temporary(self.row_bytes)
        else:
            self._dense = np.empty((self.length, *self._shape), self._dtype)

    def _fitted(self, values: Values, data: NDArray[Any] | None) -> NDArray[Any] | None:
        """Return a later batch as the first ones were, after widening those where this is possible."""
        same_rows = type(values) is self._form and data is not None and data.shape[1:] == self._shape
        # True is not 1 where each row is a value of its own.
        mixed = data is not None and (data.dtype == np.bool_) != (self._dtype == np.bool_)
        if same_rows and data is not None and not (mixed and self._form is ArrowValues):
            wider = np.result_type(data.dtype, self._dtype)
            if wider != self._dtype:
                self._convert(wider)
            return data.astype(self._dtype, copy=False)
        if self.output.form == "dense" and not same_rows:
            got = None if data is None else data.shape[1:]
            raise FunctionError(
                f"Every row must have the shape of the first, {self._shape}; got {got}. "
                "Pad or resize, or declare `to=ObjectColumn`."
            )
        self._to_objects()
        return data

    def _convert(self, dtype: np.dtype[Any]) -> None:
        """Give the rows kept so far a wider type."""
        there = np.flatnonzero(self.state == THERE)
        if self._dense is not None:
            self._dense = self._dense.astype(dtype)
        else:
            before, shape, old = self._file, self._shape, self._dtype
            assert before is not None
            self._leave_directory()
            self._file = _temporary(math.prod(shape) * dtype.itemsize)
            for start in range(0, len(there), 4096):
                some = there[start : start + 4096]
                self._file.write(some, before.read(some, shape, old).astype(dtype))
        self._dtype = dtype
        if self._arrow_type is not None:
            self._arrow_type = pa.from_numpy_dtype(dtype)

    def _to_objects(self) -> None:
        """Keep rows as Python objects from now on."""
        there = np.flatnonzero(self.state == THERE)
        kept = self.read(Selection(there)).rows()
        self._leave_directory()
        self._objects = [None] * self.length
        for row, item in zip(there.tolist(), kept, strict=True):
            self._objects[row] = item
        self._dense, self._file, self._stored = None, None, 0

    def _widen(self, kind: pa.DataType) -> None:
        if self._arrow_type in (None, kind):
            return
        schemas = [pa.schema([("x", k)]) for k in (self._arrow_type, kind)]
        try:
            self._arrow_type = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            self._form = ListValues

    # Results that survive the process

    def _reopen(self, directory: Path) -> None:
        found = open_results(directory, self.length)
        forms = {f.__name__: f for f in (ArrowValues, DenseValues, ImageValues)}
        if found is None or found[0].form not in forms:
            return
        layout, state, self._file, self._state_file = found
        self._form, self._shape, self._dtype = forms[layout.form], layout.shape, layout.dtype
        self._arrow_type = None if layout.arrow is None else pa.type_for_alias(layout.arrow)
        self.state[:] = state

    def _leave_directory(self) -> None:
        """Take back what was written: rows of another type have come, which the files cannot hold."""
        if self._directory is not None and self._state_file is not None:
            (self._directory / "header.json").unlink(missing_ok=True)
        self._state_file, self._directory = None, None

    def _set_state(self, rows: NDArray[np.int64], state: NDArray[np.uint8]) -> None:
        self.state[rows] = state
        if self._state_file is not None:
            # A failure belongs to this process: the file that broke may be whole in the next.
            self._state_file.write(rows, np.where(state == FAILED, MISSING, state).astype(np.uint8))


_numbers = itertools.count(1)


class Memo:
    """What is kept of one `Map`: its outputs, the state of the world they hold for, and what failed.

    Attributes
    ----------
    number : int
        Grows from memo to memo: what rests on a map sees by it that the map was begun anew.
    """

    def __init__(self, length: int, outputs: tuple[Output, ...], directory: Path | None = None) -> None:
        self.number = next(_numbers)
        # By number, since the name of an output need not be one that a directory may have.
        self.outputs = {
            o.name: KeptRows(length, o, None if directory is None else directory / str(position))
            for position, o in enumerate(outputs)
        }
        self.stamp: Any = None
        self.weights: tuple[str, ...] | None = None  # full hashes, where they were cheap enough to take
        self.failures: dict[int, Cause] = {}


def _as_array(values: Values) -> NDArray[Any] | None:
    """Return the values as an array of fixed-size rows, or None where they are not of one size."""
    if isinstance(values, DenseValues):
        return values.data
    if isinstance(values, ArrowValues) and values.array.null_count == 0:
        kind = values.array.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            return np.asarray(values.array.to_numpy(zero_copy_only=False))
    return None


def _temporary(row_bytes: int) -> RowFile:
    return RowFile(tempfile.TemporaryFile(buffering=0), row_bytes)

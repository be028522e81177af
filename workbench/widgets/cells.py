"""Cells: what a table shows of a row's value, small, and as JSON holds it. Text stays text."""

from __future__ import annotations

import datetime
import itertools
import math
import reprlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from PIL import Image

from columns import Column, ColumnError, RowError, RowsFailedWarning
from columns.asking import compute_columns, row_errors
from columns.expression import Map, Node, Source, Take, walk
from columns.values import ArrowValues, DenseValues, ImageValues, Values

__all__ = ["LAZY", "cells_of", "plain_text", "short"]

LAZY: dict[str, Any] = {"lazy": True}

_LONGEST = 300  # characters of a text
_TOP = 5  # classes of a prediction
_POINTS = 64  # numbers of a spark
_EXACT = 1 << 53  # whole numbers beyond this are others in JavaScript
_DIGITS = 400  # bits of a whole number that is written out
_PARTS = 20  # of a list or a mapping


class _Words(reprlib.Repr):
    """What Python says of a value, without what would take long to say."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = self.maxarray = _PARTS
        self.maxstring, self.maxother = 100, _LONGEST

    def repr_int(self, x: int, level: int) -> str:
        return str(_whole(x))


_words = _Words()


def cells_of(column: Column, rows: Sequence[int] | NDArray[np.integer], *, compute: bool = False) -> list[Any]:
    """Return what a table shows of some rows of a column.

    Parameters
    ----------
    column : Column
        Of any kind.
    rows : sequence of int
        Row numbers.
    compute : bool
        Compute rows that are not there yet, and read files; else such a cell is ``{"lazy": True}``.

    Returns
    -------
    list
        For each row None where it is null, else

        * a number, a boolean, or a text of at most 300 characters. What JSON has no number for is text: ``"NaN"``,
          ``"∞"``, whole numbers that JavaScript would round, dates;
        * ``{"text": ..., "length": n}``: the beginning of a longer text;
        * ``{"label": ..., "top": [[name, probability], ...]}`` of a prediction, the likeliest of at most five first;
        * ``{"spark": [...], "of": d}``: the numbers of a vector, means of neighbours where there are more than 64;
        * ``{"failed": words}`` of a row that could not be computed or read.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> panel = DataPanel({"note": ["<b>", "x" * 999, None], "score": [0.5, float("nan"), 2.0]})
    >>> cells_of(panel["score"], [2, 1])
    [2.0, 'NaN']
    >>> short, long, null = cells_of(panel["note"], [0, 1, 2])
    >>> short, long["length"], null
    ('<b>', 999, None)
    """
    return _cells(column[np.asarray(rows, np.int64)], compute)


def _cells(column: Column, compute: bool) -> list[Any]:
    rows = len(column)
    if not rows:
        return []
    if compute or column.is_computed():
        return _told(column)
    if column.kind in ("file", "image") and not any(isinstance(n, Map) for n in walk([column.node])):
        return _names(column)
    if rows == 1 or not _partly(column):
        return [dict(LAZY) for _ in range(rows)]
    # Not all is there, but perhaps a part.
    return _cells(column[: rows // 2], compute) + _cells(column[rows // 2 :], compute)


def _partly(column: Column) -> bool:
    """Whether any row may be there: nothing is if no function has run for this column yet."""
    return any(n.memo is not None for n in walk([column.node]))


def _told(column: Column) -> list[Any]:
    """Cells of rows that are computed now, if they were not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RowsFailedWarning)
        try:
            failures = row_errors(compute_columns([column], on_error="null").failures, [column])
            values = column.values(on_error="null")
        except ColumnError as error:  # of the column as a whole: none of its rows can be told
            return [_failed(error)] * len(column)
    told = _of_values(column, values)
    for failure in failures:
        if failure.row is not None and told[failure.row] is None:
            told[failure.row] = _failed(failure)
    return told


def _failed(error: Exception) -> dict[str, Any]:
    cause = error.__cause__ if isinstance(error, RowError) and error.__cause__ is not None else error
    return {"failed": plain_text(f"{type(cause).__name__}: {_safely(str, cause)}", _LONGEST)}


def _names(column: Column) -> list[Any]:
    """Names of files that need not be opened for it."""
    node: Node = column.node
    selection = column.selection
    while isinstance(node, Take):
        selection = node.selection.compose(selection)
        node = node.inputs[0]
    if not isinstance(node, Source):
        return [dict(LAZY) for _ in range(len(column))]
    source, null = node.source, column.is_null()
    # Pictures that came as bytes have no names, but are known to be there without a look into them.
    there = np.invert(null.to_numpy()) if null.is_computed() else np.zeros(len(column), np.bool_)
    names = [None if row < 0 else source.describe(row) for row in selection.indices().tolist()]
    return [
        short(name) if name is not None else dict(LAZY) if unnamed else None
        for name, unnamed in zip(names, there, strict=True)
    ]


def _of_values(column: Column, values: Values) -> list[Any]:
    if isinstance(values, ArrowValues):
        return _of_arrow(values.array)
    if isinstance(values, DenseValues):
        valid = values.valid()
        there = np.ones(len(values), np.bool_) if valid is None else valid
        tell: Callable[[NDArray[Any]], Any] = _tensor
        if isinstance(values, ImageValues):
            tell = _picture
        elif column.kind == "prediction" and column.spec.classes:
            tell = _predictions(column)
        return [tell(row) if ok else None for row, ok in zip(values.data, there, strict=True)]
    return [short(row) for row in values.rows()]


def _of_arrow(array: pa.Array) -> list[Any]:
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        # Cut before they become Python's: a page of texts of 10 MB each would fill the memory.
        starts = pc.utf8_slice_codeunits(array, 0, _LONGEST).to_pylist()
        return [
            text if text is None or length <= _LONGEST else {"text": f"{text}…", "length": length}
            for text, length in zip(starts, pc.utf8_length(array).to_pylist(), strict=True)
        ]
    if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        return [None if size is None else f"{size:,} bytes" for size in pc.binary_length(array).to_pylist()]
    if pa.types.is_temporal(array.type) and not pa.types.is_interval(array.type):
        return _moments(array)
    if pa.types.is_nested(array.type):
        return [_nested(scalar) for scalar in array]
    return [short(value) for value in array.to_pylist()]


def _moments(array: pa.Array) -> list[Any]:
    """Dates and times as Arrow writes them: Python has no nanoseconds, and no years beyond 9999."""
    if pa.types.is_duration(array.type):
        unit = array.type.unit
        return [None if n is None else f"{n:,} {unit}" for n in array.cast(pa.int64()).to_pylist()]
    try:
        return list(array.cast(pa.string()).to_pylist())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return [None if value is None else str(value) for value in array.view(pa.int64()).to_pylist()]


def _nested(scalar: pa.Scalar) -> Any:
    if not scalar.is_valid:
        return None
    if isinstance(scalar, (pa.ListScalar, pa.LargeListScalar, pa.FixedSizeListScalar)):
        some = scalar.values
        if pa.types.is_integer(some.type) or pa.types.is_floating(some.type):
            return _spark(np.asarray(some.to_numpy(zero_copy_only=False), np.float64))
        return short([part.as_py() for part in some[: _PARTS + 1]])
    return short(scalar.as_py())


def _picture(row: NDArray[np.uint8]) -> str:
    return f"picture, {row.shape[1]} × {row.shape[0]}"


def _predictions(column: Column) -> Callable[[NDArray[Any]], Any]:
    """Return what tells a row of class scores."""
    classes = column.spec.classes or ()
    logits = column.spec.unit != "probabilities"

    def tell(scores: NDArray[Any]) -> dict[str, Any]:
        z = scores.astype(np.float64).reshape(-1)
        if not len(z) or np.isnan(z).any():
            return {"label": None, "top": []}
        order = np.argsort(-z, kind="stable")[:_TOP]
        with np.errstate(all="ignore"):
            p = np.exp(z - z.max()) if logits else z
            p = p / p.sum() if logits else p
        top = [[_class(classes, n), _number(round(float(p[n]), 6))] for n in order.tolist()]
        return {"label": top[0][0], "top": top}

    return tell


def _class(classes: Sequence[str], number: int) -> str:
    return plain_text(classes[number] if number < len(classes) else str(number), _LONGEST)


def _tensor(row: NDArray[Any]) -> Any:
    if row.ndim == 0:
        return short(row.item())
    if row.dtype == np.bool_ and row.size:
        share = np.count_nonzero(row) / row.size
        return f"{100 * share:.3g} % of {' × '.join(map(str, row.shape))} marked"
    if row.dtype.kind not in "iufb":
        return f"{row.dtype} {' × '.join(map(str, row.shape))}"
    return _spark(row.reshape(-1))


def _spark(numbers: NDArray[Any]) -> dict[str, Any]:
    """At most 64 numbers that have the shape of a vector; None where one is not finite."""
    size = len(numbers)
    points = numbers.astype(np.float64)
    if size > _POINTS:
        with np.errstate(all="ignore"):
            starts = np.linspace(0, size, _POINTS, endpoint=False).astype(np.int64)
            points = np.add.reduceat(points, starts) / np.diff(starts, append=size)
    return {"spark": [float(f"{x:.4g}") if math.isfinite(x) else None for x in points.tolist()], "of": size}


def short(value: Any) -> Any:
    """Return any Python value as a cell; never what it says of itself as HTML.

    Examples
    --------
    >>> short(2**70), short(float("-inf")), short([1, "<b>"])
    ('1180591620717411303424', '−∞', "[1, '<b>']")
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (np.generic, np.ndarray)):
        return _tensor(np.asarray(value)) if isinstance(value, np.ndarray) else short(value.item())
    if isinstance(value, int):
        return _whole(int(value))
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{len(value):,} bytes"
    if isinstance(value, torch.Tensor):
        if value.dtype == torch.bfloat16:
            value = value.float()
        return _tensor(value.detach().cpu().numpy())
    if isinstance(value, Image.Image):
        return f"picture, {value.width} × {value.height}"
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, dict):  # the repr of a long one sorts all its keys
        value = dict(itertools.islice(value.items(), _PARTS + 1))
    return plain_text(_safely(_words.repr, value), _LONGEST)


def _whole(number: int) -> Any:
    if abs(number) < _EXACT:
        return number
    if number.bit_length() < _DIGITS:
        return str(number)
    return f"{'−' if number < 0 else ''}about 10^{int(number.bit_length() * math.log10(2)):,}"


def _number(number: float) -> Any:
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "∞" if number > 0 else "−∞"


def _text(text: str) -> Any:
    if len(text) <= _LONGEST:
        return plain_text(text, _LONGEST)
    return {"text": plain_text(text, _LONGEST), "length": len(text)}


def plain_text(text: str, longest: int) -> str:
    """Return text that can be sent: cut, and with a mark where a half of a surrogate pair is no character.

    Examples
    --------
    >>> plain_text("a" + chr(0xD800) + "bcd", 3)
    'a�b…'
    """
    cut = text[:longest]
    whole = cut.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole if len(text) <= longest else f"{whole}…"


def _safely(words: Any, value: Any) -> str:
    try:
        return str(words(value))
    # Code of the person who made the object: whatever it raises, the table stays.
    except Exception:  # noqa: BLE001
        return f"<{type(value).__name__}>"

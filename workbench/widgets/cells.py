"""Cells: what a table shows of a row's value, small, and as JSON holds it. Text stays text."""

from __future__ import annotations

import datetime
import itertools
import math
import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from PIL import Image

from columns import Column, ColumnError, RowError
from columns.asking import row_errors
from columns.evaluate import evaluate
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
_LOOKS = 64


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
    # Each look at a part costs as much as reading a few rows: a page is taken apart into 64 parts at most.
    return _cells(column[np.asarray(rows, np.int64)], compute, max(1, len(rows) // _LOOKS))


def _cells(column: Column, compute: bool, least: int) -> list[Any]:
    rows = len(column)
    if not rows:
        return []
    if compute or column.is_computed():
        return _told(column)
    if column.kind in ("file", "image") and not any(isinstance(n, Map) for n in walk([column.node])):
        return _names(column)
    if rows <= least or all(n.memo is None for n in walk([column.node])):
        return [dict(LAZY) for _ in range(rows)]
    # Not all is there, but a function has run on some rows.
    half = rows // 2
    return _cells(column[:half], compute, least) + _cells(column[half:], compute, least)


def _told(column: Column) -> list[Any]:
    """Cells of rows that are computed now, if they were not."""
    try:
        found = evaluate([(column.node, column.selection)], stop=False)
        failures = row_errors(found.failures, [column])
    except ColumnError as error:  # of the column as a whole: none of its rows can be told
        return [_failed(error)] * len(column)
    if found.stopped:
        return [_failed(failures[0])] * len(column)
    told = _of_values(column, found.values[0])
    for failure in failures:
        if failure.row is not None:
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
        if column.kind == "prediction" and column.spec.classes and values.data.ndim == 2:
            told = _predictions(values.data, column.spec.classes, column.spec.unit != "probabilities")
        elif isinstance(values, ImageValues):
            told = [f"picture, {values.data.shape[2]} × {values.data.shape[1]}"] * len(values)
        else:
            told = _tensors(values.data)
        valid = values.valid()
        return told if valid is None else [cell if ok else None for cell, ok in zip(told, valid, strict=True)]
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
            return _sparks(np.asarray(some.to_numpy(zero_copy_only=False), np.float64)[None])[0]
        return short([part.as_py() for part in some[: _PARTS + 1]])
    return short(scalar.as_py())


def _predictions(scores: NDArray[Any], classes: Sequence[str], logits: bool) -> list[Any]:
    names = [plain_text(name, _LONGEST) for name in classes]
    z = scores.astype(np.float64)
    lost = np.isnan(z).any(axis=1) | (
        z.shape[1] != len(names)
    )  # of another width: null alone, whose width nobody knows
    if z.shape[1] != len(names):
        z = np.zeros((len(z), len(names)))
    order = np.argsort(-z, axis=1, kind="stable")[:, :_TOP]
    with np.errstate(all="ignore"):
        p = np.exp(z - z.max(axis=1, keepdims=True)) if logits else z
        p = p / p.sum(axis=1, keepdims=True) if logits else p
    likely = np.take_along_axis(p, order, axis=1).round(6)
    told: list[Any] = []
    for numbers, chances, nothing in zip(order.tolist(), likely.tolist(), lost.tolist(), strict=True):
        top = [[names[number], _number(chance)] for number, chance in zip(numbers, chances, strict=True)]
        told.append({"label": None, "top": []} if nothing or not top else {"label": top[0][0], "top": top})
    return told


def _tensors(rows: NDArray[Any]) -> list[Any]:
    """Cells of arrays of one shape: numbers, sparks of vectors, and what share of a mask is marked."""
    shape = " × ".join(map(str, rows.shape[1:]))
    if rows.ndim == 1:
        return [short(value) for value in rows.tolist()]
    if rows.dtype == np.bool_ and rows[0:1].size:
        shares = rows.reshape(len(rows), -1).mean(axis=1)
        return [f"{100 * share:.3g} % of {shape} marked" for share in shares.tolist()]
    if rows.dtype.kind not in "iufb":
        return [f"{rows.dtype}, {shape}"] * len(rows)
    return _sparks(rows.reshape(len(rows), int(np.prod(rows.shape[1:]))))


def _sparks(rows: NDArray[Any]) -> list[Any]:
    """At most 64 numbers that have the shape of each vector; None where one is not finite."""
    size = rows.shape[1]
    points = rows.astype(np.float64)
    with np.errstate(all="ignore"):
        if size > _POINTS:
            starts = np.linspace(0, size, _POINTS, endpoint=False).astype(np.int64)
            points = np.add.reduceat(points, starts, axis=1) / np.diff(starts, append=size)
        # Four digits are as many as anybody sees, and make a page small.
        unit = 10.0 ** (3 - np.floor(np.log10(np.abs(points))))
        rounded = np.where(points == 0, 0.0, np.rint(points * unit) / unit)
    # What is too small or too great to be rounded stays as it is.
    points = np.where(np.isfinite(rounded), rounded, points)
    return [{"spark": [x if math.isfinite(x) else None for x in row], "of": size} for row in points.tolist()]


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
        return _tensors(value[None])[0] if isinstance(value, np.ndarray) else short(value.item())
    if isinstance(value, int):
        return _whole(int(value))
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{len(value):,} bytes"
    if isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_quantized:
        dense = value.detach().cpu().resolve_conj().resolve_neg()
        return _tensors((dense.float() if dense.dtype == torch.bfloat16 else dense).numpy()[None])[0]
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

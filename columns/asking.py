"""Asking columns for rows: one pass for several columns, and rows that fail told by name."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import RowError, RowsFailedWarning, quote_cause
from .evaluate import Evaluation, RowFailure, evaluate, rows_below
from .expression import Concat, Map, Node, Op, Pick, Source, Take
from .progress import progress_bar
from .values import Values

__all__ = ["compute_columns", "read_columns", "row_error", "row_errors"]


def compute_columns(
    columns: Sequence[Any], *, on_error: str = "raise", retry: bool = False, progress: bool = False
) -> Evaluation:
    """Compute the missing rows of several columns in one pass, without reading them."""
    return _evaluate(columns, on_error, retry, read=False, progress=progress)


def read_columns(columns: Sequence[Any], *, on_error: str = "raise", retry: bool = False) -> list[Values]:
    """Return the values of several columns, computed in one pass."""
    return _evaluate(columns, on_error, retry, read=True, progress=False).values


def _evaluate(columns: Sequence[Any], on_error: str, retry: bool, *, read: bool, progress: bool) -> Evaluation:
    if on_error not in ("raise", "null"):
        raise ValueError(f"`on_error` must be 'raise' or 'null'; got {on_error!r}.")
    evaluation = evaluate(
        [(c.node, c.selection) for c in columns],
        stop=on_error == "raise",
        retry=retry,
        read=read,
        progress=progress_bar if progress else None,
    )
    if evaluation.failures:
        first = row_error(evaluation.failures[0], columns)
        if evaluation.stopped:
            raise first from evaluation.failures[0].cause.error
        count = len({(f.cause.node, f.cause.row) for f in evaluation.failures})
        words = "1 row failed and is null" if count == 1 else f"{count} rows failed and are null; the first"
        warnings.warn(f"{words}: {first}", RowsFailedWarning, stacklevel=4)
    return evaluation


def row_error(failure: RowFailure, columns: Sequence[Any]) -> RowError:
    """Return the error that names the row that failed: number, key, column, path and cause."""
    return row_errors([failure], columns)[0]


def row_errors(failures: Sequence[RowFailure], columns: Sequence[Any]) -> list[RowError]:
    """Return one error for each row that failed, in the order of the failures.

    A row that several outputs miss for one reason is told once.
    """
    causes: dict[tuple[Node, int], RowFailure] = {}
    for failure in failures:
        causes.setdefault((failure.cause.node, failure.cause.row), failure)
    distinct = list(causes.values())
    found: dict[int, tuple[Any, int]] = {}  # number of the failure → the column that asked, and the row in it
    for column in columns:
        for node in {f.node for f in distinct}:
            # Once for all failures of a node: thousands of rows may have failed.
            positions, rows = rows_below((column.node, column.selection), node)
            first: dict[int, int] = {}
            lost = np.isin(rows, [f.row for f in distinct if f.node is node])
            for row, position in zip(rows[lost].tolist(), positions[lost].tolist(), strict=True):
                first[row] = min(position, first.get(row, position))
            for number, failure in enumerate(distinct):
                if failure.node is node and failure.row in first:
                    found.setdefault(number, (column, first[failure.row]))
    keys = _keys_of(found)
    return [_in_words(f, *found.get(i, (None, f.row)), keys.get(i)) for i, f in enumerate(distinct)]


def _keys_of(found: dict[int, tuple[Any, int]]) -> dict[int, str]:
    """Return the keys of the rows that failed, read in one go for each column."""
    keys: dict[int, str] = {}
    for column in {id(c): c for c, _ in found.values()}.values():
        if column.keys is None:
            continue
        numbers = [n for n, (c, _) in found.items() if c is column]
        index: NDArray[np.int64] = np.array([found[n][1] for n in numbers], np.int64)
        rows = column.selection.compose(type(column.selection)(index))
        values = evaluate([(column.keys, rows)]).values[0].rows()
        keys.update((n, v) for n, v in zip(numbers, values, strict=True) if v is not None)
    return keys


def _in_words(failure: RowFailure, asked: Any, row: int, key: str | None) -> RowError:
    at, error = failure.cause.node, failure.cause.error
    where = _described(at, failure.cause.row)
    label = at.label or (asked.name if asked is not None and asked.name else None)
    inside = ", ".join(part for part in (f"key '{key}'" if key else "", f"'{where}'" if where else "") if part)
    words = f"Row {row}" + (f" ({inside})" if inside else "") + (f" of column '{label}'" if label else "")
    doing = "could not be read" if isinstance(at, Source) else f"failed in `{at!r}`"
    told = RowError(f"{words} {doing}: {quote_cause(error)}.", row=row, key=key, column=label)
    told.__cause__ = error
    return told


def _described(node: Node, row: int) -> str | None:
    """Return what a person would call the row, the path of the file it was computed from for instance."""
    stack, seen = [(node, row)], {node}
    while stack:
        n, r = stack.pop()
        inner: list[tuple[Node, int]] = []
        if isinstance(n, Source):
            name = n.source.describe(r)
            if name is not None:
                return name
        elif isinstance(n, Take):
            below = n.selection.at(r)
            inner = [(n.inputs[0], below)] if below >= 0 else []
        elif isinstance(n, Concat):
            part = int(np.searchsorted(n.starts, r, side="right")) - 1
            inner = [(n.inputs[part], r - n.starts[part])]
        elif isinstance(n, (Op, Map, Pick)):
            inner = [(i, r) for i in n.inputs]
        stack.extend((i, r) for i, r in reversed(inner) if i not in seen)
        seen.update(i for i, _ in inner)
    return None

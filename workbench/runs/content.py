"""Versions of data: a hash of what the rows of a column hold, or of how they come to be.

Rows that are held count with their content, however they lie: in memory, saved and opened again, renamed or
sliced. Rows that are made when they are read (files, masks of a log, what a model makes of a column) count with their
expression: paths, sizes and times of change, versions of the log, functions, weights; a function that has no hash, a
lambda say, is not run for the sake of one. The two kinds of versions cannot be compared with each other, and say
which they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from columns import Column
from columns.expression import Map, Source, digest, take, walk
from columns.sources import ArrowSource, DenseSource, ListSource
from columns.store import StoredArrow, StoredDense, StoredObjects
from columns.values import ArrowValues, DenseValues, Values

__all__ = ["column_version", "differing_columns"]

ROWS = 4096
# Sources whose rows lie in memory, or in a file of just these rows.
HELD = (ArrowSource, DenseSource, ListSource, StoredArrow, StoredDense, StoredObjects)


def column_version(column: Column) -> dict[str, str]:
    """Return a version of the rows of a column.

    Parameters
    ----------
    column : Column
        Of any kind.

    Returns
    -------
    dict of str to str
        "by": "content" or "expression"; "digest": 32 hexadecimal digits. By "nothing", without a digest, if the
        rows are objects of which no hash can be told, or cost and come of a function of which none can.

    Examples
    --------
    >>> from columns import ScalarColumn
    >>> column_version(ScalarColumn([1, 2, 3])[1:]) == column_version(ScalarColumn([2, 3]))
    True
    """
    nodes = list(walk([column.node]))
    made = [n for n in nodes if isinstance(n, Map) or (isinstance(n, Source) and not isinstance(n.source, HELD))]
    if made:
        known = digest(take(column.node, column.selection))
        if known is not None:
            return {"by": "expression", "digest": known}
        if any(isinstance(n, Map) or n.source.slow for n in made):
            return {"by": "nothing", "digest": ""}
    h = hashlib.blake2b(digest_size=16)
    h.update(f"{column.kind} {column.spec.classes}".encode())
    for start in range(0, len(column), ROWS):
        if not _add(h, column[start : start + ROWS].values()):
            return {"by": "nothing", "digest": ""}
    return {"by": "content", "digest": h.hexdigest()}


def differing_columns(
    before: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]
) -> tuple[list[str], list[str]]:
    """Compare versions of columns.

    Returns
    -------
    changed, unknown : list of str
        Columns that surely differ, and those of which nobody can tell.

    Examples
    --------
    >>> one, other = {"by": "content", "digest": "1"}, {"by": "content", "digest": "2"}
    >>> differing_columns({"x": one, "y": one}, {"x": other, "y": {"by": "expression", "digest": "1"}})
    (['x'], ['y'])
    """
    changed, unknown = [], []
    for name, version in before.items():
        found = now.get(name, {"by": "nothing"})
        if version["by"] == "nothing" or found["by"] != version["by"]:
            unknown.append(name)
        elif found["digest"] != version["digest"]:
            changed.append(name)
    return changed, unknown


def _add(h: Any, values: Values) -> bool:
    """Hash rows by their content; return whether there was a way."""
    if isinstance(values, DenseValues):
        valid = values.valid()
        data = np.ascontiguousarray(values.data)
        if valid is not None:
            data = data.copy()
            data[~valid] = 0  # what lies below a null is nobody's
        missing = b"" if valid is None or valid.all() else np.packbits(valid).tobytes()
        h.update(f"{data.dtype.str}{data.shape}{len(missing)}".encode())
        h.update(missing)
        h.update(data.reshape(-1).view(np.uint8).data if data.size else b"")
        return True
    rows = values.rows()
    if isinstance(values, ArrowValues):
        h.update(repr(rows).encode("utf-8", "surrogatepass"))
        return True
    for row in rows:
        if isinstance(row, (torch.Tensor, np.ndarray)):
            array = np.ascontiguousarray(row.detach().cpu() if isinstance(row, torch.Tensor) else row)
            if array.dtype == object:
                return False
            h.update(f"{array.dtype.str}{array.shape}".encode())
            h.update(array.tobytes())
        elif type(row).__module__.startswith("PIL."):
            h.update(f"{row.mode}{row.size}".encode())
            h.update(row.tobytes())
        elif _is_plain(row):
            h.update(repr(row).encode("utf-8", "surrogatepass"))
        else:
            return False
        h.update(b"\x1e")
    return True


def _is_plain(row: Any) -> bool:
    if isinstance(row, (list, tuple)):
        return all(map(_is_plain, row))
    if isinstance(row, dict):
        return all(_is_plain(item) for pair in row.items() for item in pair)
    return row is None or type(row) in (bool, int, float, str, bytes)

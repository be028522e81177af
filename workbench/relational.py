"""Relational work on scalar columns: groups and matches, as row numbers; orders are in `ordering`.

Arrow compute and a little NumPy: key columns are computed at once, everything else stays lazy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from columns import Column, Selection
from columns.selection import NO_ROW
from columns.values import ArrowValues

from .errors import PanelError
from .ordering import radix_order

__all__ = ["codes_of", "key_array", "match_rows", "rows_by_group"]


def key_array(column: Column, what: str) -> pa.Array:
    """Return a column's values as one plain Arrow array, to sort, group or match by.

    Raises
    ------
    PanelError
        If its rows are not single values.
    """
    values = column.values()
    if not isinstance(values, ArrowValues):
        raise PanelError(f"`{what}` needs a column of single values; '{column.name}' is of kind '{column.kind}'.")
    array = values.array
    if pa.types.is_nested(array.type):
        raise PanelError(f"`{what}` needs a column of single values; '{column.name}' holds {array.type}.")
    return array


def codes_of(arrays: Sequence[pa.Array]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return a group number per row, numbered by first occurrence, and the first row of each group."""
    code = np.zeros(len(arrays[0]), np.int64)
    for array in arrays:
        coded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode(null_encoding="encode")
        width = len(coded.dictionary) + 1
        own = coded.indices.fill_null(len(coded.dictionary)).to_numpy().astype(np.int64)
        mixed = code * width + own
        unique = pa.array(mixed).dictionary_encode()  # keeps the codes small however many keys there are
        code = unique.indices.to_numpy().astype(np.int64)
    groups = int(code.max()) + 1 if len(code) else 0
    first = np.empty(groups, np.int64)
    # Written from the last row to the first: of the rows of a group, the first one's number stays.
    first[code[::-1]] = np.arange(len(code) - 1, -1, -1)
    return code, first


def rows_by_group(code: NDArray[np.int64], groups: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row numbers sorted by group, in their order within each, and where each group starts."""
    order = radix_order(code.astype(np.uint64))
    starts = np.concatenate([[0], np.cumsum(np.bincount(code, minlength=groups))])
    return order, starts


def match_rows(left: Sequence[pa.Array], right: Sequence[pa.Array], how: str) -> tuple[Selection, Selection, bool]:
    """Return the rows of each side of a join, `NO_ROW` where a side has none.

    Parameters
    ----------
    left, right : sequence of Arrow arrays
        The keys of each side, in the same order.
    how : {"inner", "left", "right", "outer"}
        Which rows without a partner stay. Rows come in the order of the left side (of the right one for
        "right"); with "outer", lonely right rows follow.

    Returns
    -------
    left_rows, right_rows : Selection
        A side of which every row stays once, in order, is a range: its columns need no copy.
    unique : bool
        Whether no left row met more than one right row.

    Notes
    -----
    Null keys match null keys, as in pandas.
    """
    if how == "right":
        right_rows, left_rows, _ = match_rows(right, left, "left")
        ours, theirs = left_rows.indices(), right_rows.indices()
        real = ours[ours >= 0]
        once = len(np.unique(theirs)) == len(theirs) and len(np.unique(real)) == len(real)
        return left_rows, right_rows, once
    left_key, right_key = _one_key(left, right)
    first = pc.index_in(left_key, value_set=right_key)
    codes, _ = codes_of([right_key])
    unique = len(right_key) == (int(codes.max()) + 1 if len(codes) else 0)
    found = (first.fill_null(NO_ROW) if first.null_count else first).to_numpy().astype(np.int64)
    if unique and (how == "left" or (how == "inner" and not first.null_count)):
        return Selection.whole(len(found)), Selection(found), True
    left_index, right_index = (np.arange(len(found)), found) if unique else _expand(found, codes)
    if how == "inner":
        kept = right_index >= 0
        left_index, right_index = left_index[kept], right_index[kept]
    elif how == "outer":
        lonely = np.ones(len(right_key), np.bool_)
        lonely[right_index[right_index >= 0]] = False
        extra = np.flatnonzero(lonely)
        left_index = np.concatenate([left_index, np.full(len(extra), NO_ROW)])
        right_index = np.concatenate([right_index, extra])
    return Selection(left_index), Selection(right_index), unique


def _expand(found: NDArray[np.int64], codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return one pair per match, where right keys repeat."""
    groups = int(codes.max()) + 1 if len(codes) else 0
    order, starts = rows_by_group(codes, groups)
    sizes = np.diff(starts)
    group = np.where(found >= 0, codes[np.maximum(found, 0)] if len(codes) else 0, -1)
    count = np.where(group >= 0, sizes[group] if groups else 1, 1)
    left_rows = np.repeat(np.arange(len(found)), count)
    within = np.arange(len(left_rows)) - np.repeat(np.cumsum(count) - count, count)
    start = np.where(group >= 0, starts[group], 0)
    position = np.repeat(start, count) + within
    right_rows = np.where(
        np.repeat(group, count) >= 0, order[np.minimum(position, len(order) - 1)] if len(order) else -1, -1
    )
    return left_rows, right_rows


def _one_key(left: Sequence[pa.Array], right: Sequence[pa.Array]) -> tuple[pa.Array, pa.Array]:
    """Return each side's keys as one array of one type."""
    pairs = [_same_type(a, b) for a, b in zip(left, right, strict=True)]
    if len(pairs) == 1:
        return pairs[0]
    count = len(pairs[0][0])
    code, _ = codes_of([pa.concat_arrays(pair) for pair in pairs])
    return pa.array(code[:count]), pa.array(code[count:])


def _same_type(left: pa.Array, right: pa.Array) -> tuple[pa.Array, pa.Array]:
    left, right = (a.cast(a.type.value_type) if pa.types.is_dictionary(a.type) else a for a in (left, right))
    if left.type == right.type:
        return left, right
    try:
        kinds = [pa.schema([("key", t)]) for t in (left.type, right.type)]
        kind = pa.unify_schemas(kinds, promote_options="permissive").field(0).type
        return left.cast(kind), right.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise PanelError(f"Keys of a join must be of one type; got {left.type} and {right.type}.") from error

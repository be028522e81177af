"""Relational work on scalar columns: orders, groups and matches, as row numbers.

Arrow compute and a little NumPy: key columns are computed at once, everything else stays lazy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from columns import Column
from columns.values import ArrowValues

from .errors import PanelError

__all__ = ["codes_of", "key_array", "match_rows", "sort_rows"]


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


def sort_rows(arrays: Sequence[pa.Array], ascending: Sequence[bool]) -> NDArray[np.int64]:
    """Return the stable order of rows by several keys, the first the weightiest; NaN, then null, come last."""
    if len(arrays) == 1:
        return _order(arrays[0], ascending[0])
    # Each key becomes a rank in which a greater number means later; the lexical order of ranks is the order.
    ranks = [_rank(array, up) for array, up in zip(arrays, ascending, strict=True)]
    return np.lexsort(ranks[::-1]).astype(np.int64, copy=False)


def _order(array: pa.Array, up: bool) -> NDArray[np.int64]:
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        return np.argsort(_rank(array, up), kind="stable")
    order = pc.array_sort_indices(array, order="ascending" if up else "descending", null_placement="at_end")
    return np.asarray(order.to_numpy()).astype(np.int64)


def _rank(array: pa.Array, up: bool) -> NDArray[np.int64]:
    """Return numbers whose order is the order of the values; equal values have equal numbers."""
    coded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    # A category sorts by the order of its classes, strings by the order of their characters.
    if pa.types.is_dictionary(array.type):
        rank_of_code = np.arange(len(coded.dictionary))
    else:
        order = pc.array_sort_indices(coded.dictionary, null_placement="at_end").to_numpy()
        rank_of_code = np.empty(len(order), np.int64)
        rank_of_code[order] = np.arange(len(order))
    last = len(rank_of_code)
    codes = coded.indices.fill_null(last).to_numpy()
    if not up:
        rank_of_code = (last - 1) - rank_of_code
        rank_of_code[_nan_codes(coded.dictionary)] = last  # NaN comes late in either direction
    ranks: NDArray[np.int64] = np.append(rank_of_code, last + 1)[codes]
    # 16-bit keys sort by radix, in linear time.
    return ranks.astype(np.uint16) if last + 2 < 1 << 16 else ranks


def _nan_codes(dictionary: pa.Array) -> NDArray[np.int64]:
    if not pa.types.is_floating(dictionary.type):
        return np.zeros(0, np.int64)
    found: NDArray[np.int64] = np.flatnonzero(np.isnan(dictionary.to_numpy(zero_copy_only=False)))
    return found


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
    first = np.full(groups, len(code), np.int64)
    np.minimum.at(first, code, np.arange(len(code)))
    return code, first


def rows_by_group(code: NDArray[np.int64], groups: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row numbers sorted by group, in their order within each, and where each group starts."""
    order = np.argsort(code.astype(np.uint16) if groups < 1 << 16 else code, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(code, minlength=groups))])
    return order, starts


def match_rows(
    left: Sequence[pa.Array], right: Sequence[pa.Array], how: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
    """Return the rows of each side of a join, -1 where a side has none.

    Parameters
    ----------
    left, right : sequence of Arrow arrays
        The keys of each side, in the same order.
    how : {"inner", "left", "right", "outer"}
        Which rows without a partner stay. Rows come in the order of the left side (of the right one for
        "right"); with "outer", lonely right rows follow.

    Returns
    -------
    left_rows, right_rows : ndarray of int64
    unique : bool
        Whether no left row met more than one right row.

    Notes
    -----
    Null keys match null keys, as in pandas.
    """
    if how == "right":
        right_rows, left_rows, _ = match_rows(right, left, "left")
        real = left_rows[left_rows >= 0]
        return (
            left_rows,
            right_rows,
            len(np.unique(right_rows)) == len(right_rows) and len(np.unique(real)) == len(real),
        )
    left_key, right_key = _one_key(left, right)
    first = pc.index_in(left_key, value_set=right_key)
    codes, _ = codes_of([right_key])
    unique = len(right_key) == (int(codes.max()) + 1 if len(codes) else 0)
    found = first.fill_null(-1).to_numpy().astype(np.int64)
    left_rows = np.arange(len(found), dtype=np.int64)
    if unique:
        right_rows = found
    else:
        left_rows, right_rows = _expand(found, codes)
    if how == "inner":
        kept = right_rows >= 0
        if not kept.all():
            left_rows, right_rows = left_rows[kept], right_rows[kept]
    elif how == "outer":
        lonely = np.ones(len(right_key), np.bool_)
        lonely[right_rows[right_rows >= 0]] = False
        extra = np.flatnonzero(lonely)
        left_rows = np.concatenate([left_rows, np.full(len(extra), -1)])
        right_rows = np.concatenate([right_rows, extra])
    return left_rows, right_rows, unique


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

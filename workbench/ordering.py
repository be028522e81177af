"""Orders of rows by the values of scalar columns: stable, and by radix where numbers allow it.

NumPy sorts 16-bit numbers by radix, in linear time. Wider keys are sorted sixteen bits at a time, the lowest
first, in as many rounds as the range of the values needs: three to five times as fast as comparing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["radix_order", "sort_rows"]

_DIGIT = 16  # bits of a radix round: what NumPy sorts in linear time
_PREFIX = 8  # bytes of a text that one number holds
_SAMPLE = 4096  # rows that tell whether most texts differ


def sort_rows(arrays: Sequence[pa.Array], ascending: Sequence[bool]) -> NDArray[np.int64]:
    """Return the stable order of rows by several keys, the first the weightiest; NaN, then null, come last."""
    order: NDArray[np.int64] | None = None
    # The lightest key first: each later sort keeps the order of the rows that it finds equal.
    for array, up in zip(reversed(arrays), reversed(ascending), strict=True):
        if order is None:
            order = _order(array, up)
        else:
            order = order[_order(array.take(pa.array(order)), up)]
    assert order is not None
    return order


def radix_order(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the stable order of whole numbers of any width.

    Examples
    --------
    >>> radix_order(np.array([70_000, 3, 70_000, 0], np.uint64))
    array([3, 1, 0, 2])
    """
    bits = int(keys.max()).bit_length() if len(keys) else 0
    order = np.argsort(keys.astype(np.uint16), kind="stable")  # a narrowing cast keeps the lowest bits
    for shift in range(_DIGIT, bits, _DIGIT):
        digit = (keys >> np.uint64(shift)).astype(np.uint16)
        order = order[np.argsort(digit[order], kind="stable")]
    return order


def _order(array: pa.Array, up: bool) -> NDArray[np.int64]:
    """Return the stable order of one key."""
    if not array.null_count:
        return _order_of_valid(array, up)
    null = array.is_null().to_numpy(zero_copy_only=False)
    there = np.flatnonzero(~null)
    return np.concatenate([there[_order_of_valid(array.drop_null(), up)], np.flatnonzero(null)])


def _order_of_valid(array: pa.Array, up: bool) -> NDArray[np.int64]:
    kind = array.type
    if pa.types.is_dictionary(kind):
        # A category sorts by the order of its classes.
        return _order_of_numbers(array.indices.to_numpy(), up)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _order_of_texts(array, up)
    numbers = _as_numbers(array)
    if numbers is None:
        order = pc.array_sort_indices(array, order="ascending" if up else "descending")
        return order.to_numpy().astype(np.int64)  # type: ignore[no-any-return]
    if numbers.dtype.kind != "f":
        return _order_of_numbers(numbers, up)
    nan = np.isnan(numbers)
    if not nan.any():
        return _order_of_floats(numbers, up)
    there = np.flatnonzero(~nan)
    return np.concatenate([there[_order_of_floats(numbers[there], up)], np.flatnonzero(nan)])


def _as_numbers(array: pa.Array) -> NDArray[Any] | None:
    """Return the values as numbers of the same order, or None where there are none: decimals, bytes."""
    kind = array.type
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return np.asarray(array.view(pa.int32() if kind.bit_width == 32 else pa.int64()).to_numpy())
    if pa.types.is_boolean(kind):
        return np.asarray(array.to_numpy(zero_copy_only=False)).view(np.uint8)
    return np.asarray(array.to_numpy()) if pa.types.is_integer(kind) or pa.types.is_floating(kind) else None


def _order_of_numbers(numbers: NDArray[Any], up: bool) -> NDArray[np.int64]:
    if not len(numbers):
        return np.zeros(0, np.int64)
    # Unsigned differences wrap around rightly even where the range exceeds int64.
    low, high = (np.array(bound).astype(np.uint64) for bound in (numbers.min(), numbers.max()))
    keys = numbers.astype(np.uint64)
    return radix_order(keys - low if up else high - keys)


def _order_of_floats(numbers: NDArray[Any], up: bool) -> NDArray[np.int64]:
    """Read the bits of IEEE floats as integers: the order is the same once negative ones are turned around."""
    width = np.uint32 if numbers.dtype.itemsize <= 4 else np.uint64
    numbers = (numbers.astype(np.float32) if width is np.uint32 else numbers) + 0.0  # -0.0 equals 0.0
    bits: Any = numbers.view(width)
    sign = width(1 << (8 * numbers.dtype.itemsize - 1))
    keys = np.where(bits & sign, ~bits, bits | sign)
    return radix_order((keys if up else ~keys).astype(np.uint64, copy=False))


def _order_of_texts(array: pa.Array, up: bool) -> NDArray[np.int64]:
    """Sort the different texts, then the rows by the rank of theirs; or at once where most texts differ."""
    sample = array[:: max(1, len(array) // _SAMPLE)]
    if len(pc.unique(sample)) > 0.95 * len(sample) and len(array) > _SAMPLE and up:
        return _order_by_prefix(array)
    coded = array.dictionary_encode()
    order = _order_by_prefix(coded.dictionary)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return _order_of_numbers(rank[coded.indices.to_numpy()], up)


def _order_by_prefix(array: pa.Array) -> NDArray[np.int64]:
    """Sort by the first bytes beyond those that all texts share; compare in full only where these are equal.

    The order of UTF-8 bytes is the order of code points, which is that of Python.
    """
    if len(array) < 2:
        return np.arange(len(array))
    ends = pc.min_max(array)
    first, last = (ends[name].as_py().encode() for name in ("min", "max"))
    shared = next((i for i, (a, b) in enumerate(zip(first, last)) if a != b), min(len(first), len(last)))
    keys, lengths = _prefixes(array, shared)
    order = radix_order(keys)
    ranked = keys[order]
    same = ranked[1:] == ranked[:-1]
    if not same.any():
        return order
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    rows = order[tied]
    ended = lengths[order]
    if lengths[rows].max() > shared + _PREFIX or (same & (ended[1:] != ended[:-1])).any():
        # Sorted by all their bytes, these rows fall into the same places in which their prefixes put them.
        order[tied] = rows[pc.array_sort_indices(array.take(pa.array(rows))).to_numpy()]
    return order


def _prefixes(array: pa.Array, start: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the bytes of each text from `start` on as one number, zeros where it has ended, and its length."""
    wide = pa.types.is_large_string(array.type)
    _, offsets, data = array.buffers()
    all_edges: NDArray[Any] = np.frombuffer(offsets, np.int64 if wide else np.int32)
    edges = all_edges[array.offset : array.offset + len(array) + 1].astype(np.int64)
    content = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    keys = np.zeros(len(array), np.uint64)
    for place in range(start, start + _PREFIX):
        position = edges[:-1] + place
        byte = np.take(content, position, mode="clip")
        byte[position >= edges[1:]] = 0
        keys = (keys << np.uint64(8)) | byte
    return keys, np.diff(edges)

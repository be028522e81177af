"""From numbers to at most 24 bins: edges that a brush can name exactly, and the bin of each row.

A bin holds the numbers x with edge ≤ x < next edge, the last one also its upper edge. Codes are found by that rule in
exact arithmetic, so that the count of a bar and the rows under a brush of the same edges never differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["MOST_BINS", "Bins", "between", "binned"]

MOST_BINS = 24
_EXACT = 1 << 53  # whole numbers below this are the same as floats, in Python, JSON and JavaScript
_NARROW = 1 << 16  # a range of whole numbers that a table can hold
_SAMPLE = 4096  # numbers that tell whether there are few different ones
_BLOCK = 1 << 16  # rows at a time: what is written is still in the cache when it is read again


@dataclass(frozen=True, eq=False)
class Bins:
    """Numbers in bins.

    Attributes
    ----------
    edges : tuple of int or float
        Ascending, one more than there are bins; one value alone gives twice that value. Empty without a finite number.
    codes : ndarray, shape (rows,), int16
        Bin of each row; −1 where there is no finite number.
    values : ndarray, shape (rows,), int or float
        The numbers themselves, null as NaN: what a brush compares.
    own : bool
        Whether each bin is one whole number.
    """

    edges: tuple[float, ...]
    codes: NDArray[np.int16]
    values: NDArray[Any]
    own: bool = False


def binned(array: pa.Array) -> Bins:
    """Put the numbers of an Arrow array into bins.

    Whole numbers of few different values get a bin each, others bins of equal width over the finite range.

    Parameters
    ----------
    array : Arrow array
        Of integers, floats or decimals; null has no bin, as NaN and infinity have none.

    Returns
    -------
    Bins

    Examples
    --------
    >>> found = binned(pa.array([3, 5, None, 3]))
    >>> found.edges, found.codes.tolist()
    ((3, 5, 6), [0, 1, -1, 0])
    >>> found = binned(pa.array([0.0, 24.0, 1.0, float("nan")]))
    >>> found.edges[:3], found.codes.tolist()
    ((0.0, 1.0, 2.0), [0, 23, 1, -1])
    """
    if pa.types.is_integer(array.type):
        ends = pc.min_max(array)
        low, high = ends["min"].as_py(), ends["max"].as_py()
        if low is not None and max(-low, high) < _EXACT:
            return _of_whole(array, low, high)
    if pa.types.is_decimal(array.type) or pa.types.is_integer(array.type):
        array = pc.cast(array, pa.float64(), safe=False)
    elif pa.types.is_float16(array.type):
        array = array.cast(pa.float32())
    return _of_floats(np.asarray(array.to_numpy(zero_copy_only=False)))


def between(values: NDArray[Any], low: float, high: float, *, closed: bool) -> NDArray[np.bool_]:
    """Return which numbers x have low ≤ x < high, or low ≤ x ≤ high if `closed`; NaN never has.

    Numbers are compared as what they are: no bound is rounded to the type of the column, as NumPy would.

    Examples
    --------
    >>> tenth = np.float32(0.1)  # a little more than 0.1
    >>> between(np.array([tenth]), 0.0, 0.1, closed=True).tolist()
    [False]
    """
    kind = values.dtype
    from_ = values >= _at_least(low, kind)
    # The bounds become the nearest numbers of the type on the side that leaves the answer as it is.
    upto = values <= _at_most(high, kind) if closed else values < _at_least(high, kind)
    result: NDArray[np.bool_] = from_ & upto
    return result


def _at_least(bound: float, kind: np.dtype[Any]) -> Any:
    """The least number of a type that is not below a bound."""
    if kind.kind != "f":
        return math.ceil(bound)
    near = _rounded(bound, kind)
    return np.nextafter(near, kind.type(np.inf)) if float(near) < bound else near


def _at_most(bound: float, kind: np.dtype[Any]) -> Any:
    """The greatest number of a type that is not above a bound."""
    if kind.kind != "f":
        return math.floor(bound)
    near = _rounded(bound, kind)
    return np.nextafter(near, kind.type(-np.inf)) if float(near) > bound else near


def _rounded(bound: float, kind: np.dtype[Any]) -> Any:
    with np.errstate(over="ignore"):
        return kind.type(bound)


def _of_whole(array: pa.Array, low: int, high: int) -> Bins:
    """Bins of whole numbers: their edges are whole as well, or bars would differ by how many numbers they hold."""
    numbers = (array.fill_null(low) if array.null_count else array).to_numpy()
    # Differences that wrap around are right once they are read without a sign.
    above = (numbers - numbers.dtype.type(low)).view(f"u{numbers.dtype.itemsize}")
    few = _few(above, high - low)
    if few is not None:
        edges = [low + int(step) for step in few]
        if high - low < _NARROW:
            table = np.zeros(high - low + 1, np.int16)
            table[few] = np.arange(len(few))
            codes = table[above]
        else:
            codes = np.searchsorted(few, above).astype(np.int16)
        edges.append(high + 1)
    else:
        width = -(-(high - low + 1) // MOST_BINS)
        bins = -(-(high - low + 1) // width)
        edges = [low + width * number for number in range(bins + 1)]
        codes = (above // above.dtype.type(width)).astype(np.int16)
    values: NDArray[Any] = numbers
    if array.null_count:
        codes[array.is_null().to_numpy(zero_copy_only=False)] = -1
        values = array.to_numpy(zero_copy_only=False)
    return Bins(tuple(edges), codes, values, few is not None)


def _few(above: NDArray[np.unsignedinteger], span: int) -> NDArray[np.unsignedinteger] | None:
    """The different numbers, if they are few enough for a bin each."""
    if span < _NARROW:
        there = np.flatnonzero(np.bincount(above.astype(np.int64))).astype(above.dtype)
        return there if len(there) <= MOST_BINS else None
    if len(np.unique(above[:: max(1, len(above) // _SAMPLE)])) > MOST_BINS:
        return None
    there = pc.unique(pa.array(above)).to_numpy()
    return np.sort(there) if len(there) <= MOST_BINS else None


def _of_floats(numbers: NDArray[np.floating]) -> Bins:
    finite = np.isfinite(numbers)
    every = bool(finite.all())
    some = numbers if every else numbers[finite]
    if not len(some):
        return Bins((), np.full(len(numbers), -1, np.int16), numbers)
    edges = _edges(float(some.min()), float(some.max()))
    codes = _codes(numbers, edges)
    if not every:
        codes[~finite] = -1
    return Bins(tuple(edges.tolist()), codes, numbers)


def _edges(low: float, high: float) -> NDArray[np.float64]:
    if low == high:
        return np.array([low, high])
    share = np.arange(MOST_BINS + 1) / MOST_BINS
    edges = low * (1 - share) + high * share  # never through high - low, which may be infinite
    edges[0], edges[-1] = low, high
    # Between neighbouring floats there is no room for 24 bins.
    return np.unique(np.clip(edges, low, high))


def _codes(numbers: NDArray[np.floating], edges: NDArray[np.float64]) -> NDArray[np.int16]:
    """Bin of each number: guessed by the width, which is at most one bin wrong, and put right at the edges."""
    bins = len(edges) - 1
    codes = np.zeros(len(numbers), np.int16)
    if edges[0] == edges[-1]:
        return codes
    with np.errstate(over="ignore", invalid="ignore"):
        scale = bins / (edges[-1] - edges[0])
        even = bins == MOST_BINS and 0 < scale < np.inf and np.ptp(np.diff(edges)) * scale < 0.5
        upper = np.append(edges[1:-1], np.inf)
        for start in range(0, len(numbers), _BLOCK):
            some = numbers[start : start + _BLOCK].astype(np.float64)
            if even:
                # fmin and fmax give a number also where there is none; its code is taken away afterwards.
                code = np.fmin(np.fmax((some - edges[0]) * scale, 0), bins - 1).astype(np.int16)
                code -= some < edges[code]
                code += some >= upper[code]
            else:
                code = (np.searchsorted(edges, some, side="right") - 1).clip(0, bins - 1).astype(np.int16)
            codes[start : start + _BLOCK] = code
    return codes

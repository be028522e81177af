"""Traits of a view: row numbers as Python and the page have them, and how a view may be laid out."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import traitlets
from numpy.typing import NDArray

__all__ = ["LAYOUT", "RowNumber", "RowNumbers", "checked_layout", "rows_to_bytes"]

LAYOUT: dict[str, Any] = {
    "view": "gallery", "tile": 96, "overlay": False, "opacity": 0.8, "method": "", "target": "", "sort": None,
    "colour": None, "map": None, "columns": [], "height": 640,
}  # fmt: skip
_VIEWS = ("gallery", "table", "map")
_RANGES = {"tile": (48, 320), "opacity": (0, 1), "height": (360, 1400)}
_KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "overlay": ("true or false", (bool,)),
    "method": ("the name of a method", (str,)),
    "target": ("the name of a class, or empty", (str,)),
    "sort": ('{"by": column, "ascending": True or False}, or None', (dict, type(None))),
    "colour": ("the name of a column, or None", (str, type(None))),
    "map": ("the name of a column, or None", (str, type(None))),
}


class RowNumbers(traitlets.TraitType[NDArray[np.uint32], Any]):
    """Row numbers: sorted, each once, read-only; on the wire as bytes, so that half a million are nothing."""

    default_value = np.zeros(0, np.uint32)
    info_text = "row numbers"

    def validate(self, view: Any, value: Any) -> NDArray[np.uint32]:
        """Take row numbers, a mask, or the bytes that the page sends."""
        length = getattr(view, "_length", None)
        try:
            if isinstance(value, (bytes, bytearray, memoryview)):
                array = np.frombuffer(bytes(value), "<u4")
            else:
                array = np.asarray(value)
            if array.dtype == np.bool_:
                if length is not None and array.shape != (length,):
                    raise traitlets.TraitError(f"A mask has one entry for each of {length:,} rows; got {array.shape}.")
                array = np.flatnonzero(array)
            rows = _sorted(array)
        except (TypeError, ValueError) as error:
            raise traitlets.TraitError(f"A selection is row numbers or a mask of booleans: {error}") from error
        if len(rows) and not np.issubdtype(rows.dtype, np.integer):
            raise traitlets.TraitError(f"A selection is row numbers or a mask of booleans; got {array.dtype}.")
        if len(rows) and (rows[0] < 0 or (length is not None and rows[-1] >= length)):
            raise traitlets.TraitError(f"Rows of this panel lie in [0, {length}); got {rows[0]} to {rows[-1]}.")
        chosen: NDArray[np.uint32] = rows.astype(np.uint32)
        chosen.flags.writeable = False
        return chosen

    def set(self, obj: Any, value: Any) -> None:
        """Set the rows, and tell whoever observes them only if they are others."""
        new: NDArray[np.uint32] = self.validate(obj, value)
        old: NDArray[np.uint32] = obj._trait_values.get(self.name, self.default_value)
        obj._trait_values[self.name] = new
        if not np.array_equal(old, new):
            obj._notify_trait(self.name, old, new)


class RowNumber(traitlets.TraitType["int | None", Any]):
    """The number of one row, or None."""

    default_value = None
    allow_none = True
    info_text = "the number of a row"

    def validate(self, view: Any, value: Any) -> int | None:
        """Take a whole number, also one of NumPy's."""
        if value is None:
            return None
        length = getattr(view, "_length", None)
        try:
            row = operator.index(value)
        except TypeError:
            row = -1
        if isinstance(value, (bool, np.bool_)) or row < 0 or (length is not None and row >= length):
            raise traitlets.TraitError(f"Rows of this panel lie in [0, {length}); got {value!r}.")
        return row


def checked_layout(now: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layout in which what is given takes the place of what is now.

    Raises
    ------
    TraitError
        If something of it is not what a layout has.

    Examples
    --------
    >>> checked_layout(LAYOUT, {"view": "map", "tile": 128})["tile"]
    128
    """
    unknown = sorted(str(name) for name in set(given) - set(LAYOUT))
    if unknown:
        raise traitlets.TraitError(f"A layout has {', '.join(LAYOUT)}; got '{unknown[0]}'.")
    new = {**LAYOUT, **now, **given}
    if new["view"] not in _VIEWS:
        raise traitlets.TraitError(f"`view` must be one of {', '.join(_VIEWS)}; got {new['view']!r}.")
    for name, (low, high) in _RANGES.items():
        if isinstance(new[name], bool) or not isinstance(new[name], (int, float)) or not low <= new[name] <= high:
            raise traitlets.TraitError(f"`{name}` must lie in [{low}, {high}]; got {new[name]!r}.")
    for name, (words, kinds) in _KINDS.items():
        if not isinstance(new[name], kinds):
            raise traitlets.TraitError(f"`{name}` must be {words}; got {new[name]!r}.")
    columns = new["columns"]
    if not isinstance(columns, (list, tuple)) or not all(isinstance(name, str) for name in columns):
        raise traitlets.TraitError(f"`columns` must be names of columns; got {columns!r}.")
    return {**new, "columns": list(columns)}


def rows_to_bytes(rows: NDArray[np.uint32], view: Any) -> memoryview:
    """Return row numbers as the page takes them."""
    return memoryview(np.ascontiguousarray(rows, "<u4").tobytes())


def _sorted(rows: NDArray[Any]) -> NDArray[Any]:
    """Return row numbers in order, each once; those of the page are so already."""
    flat: NDArray[Any] = rows.ravel()
    if (flat[1:] > flat[:-1]).all():
        return flat
    ordered: NDArray[Any] = np.sort(flat)  # of half a million, many times faster than `unique`, which hashes
    kept: NDArray[Any] = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    return kept

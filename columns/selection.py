"""Selection: which rows, in which order. Selections compose; data is never copied to select."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_ROW", "Selection"]

NO_ROW = -1  # In a selection made by an outer join: the row that is not there, read as null.


class Selection:
    """Row numbers, as a `range` where they are regular (slices cost nothing), else as an int64 array.

    Parameters
    ----------
    rows : range or ndarray of int64, shape (length,)
        Row numbers in the selected space, each at least 0; or -1 (`NO_ROW`) for "no such row".

    Examples
    --------
    >>> evens = Selection.whole(10)[::2]
    >>> evens[1:3].indices()
    array([2, 4])
    """

    __slots__ = ("_digest", "_index", "_nullable", "_range")

    def __init__(self, rows: range | NDArray[np.int64]) -> None:
        self._range: range | None = rows if isinstance(rows, range) else None
        self._index: NDArray[np.int64] | None = None if isinstance(rows, range) else rows
        self._nullable: bool | None = False if isinstance(rows, range) else None
        self._digest: str | None = None

    @classmethod
    def whole(cls, length: int) -> Selection:
        """Return every row of a space of `length` rows, in order."""
        return cls(range(length))

    @classmethod
    def from_mask(cls, mask: NDArray[np.bool_]) -> Selection:
        """Return the rows where `mask` is true."""
        return cls(np.flatnonzero(mask))

    @property
    def range(self) -> range | None:
        """The rows as a `range`, or None when they are irregular."""
        return self._range

    @property
    def nullable(self) -> bool:
        """Whether some row is `NO_ROW`."""
        if self._nullable is None:
            assert self._index is not None
            self._nullable = bool(self._index.size) and bool(self._index.min() < 0)
        return self._nullable

    def is_whole(self, length: int) -> bool:
        """Say whether this is every row of a space of `length` rows, in order."""
        return self._range == range(length)

    def indices(self) -> NDArray[np.int64]:
        """Return the row numbers as an int64 array of shape (length,)."""
        if self._index is not None:
            return self._index
        r = self._range
        assert r is not None
        return np.arange(r.start, r.stop, r.step, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._range) if self._range is not None else len(self._index)  # type: ignore[arg-type]

    def at(self, position: int) -> int:
        """Return the row number at `position` (negative counts from the end)."""
        if self._range is not None:
            return self._range[position]
        assert self._index is not None
        return int(self._index[position])

    def __getitem__(self, rows: slice) -> Selection:
        if self._range is not None:
            return Selection(self._range[rows])
        assert self._index is not None
        return Selection(self._index[rows])

    def compose(self, inner: Selection) -> Selection:
        """Return the selection that takes `inner` out of the rows of this one.

        A row that is `NO_ROW` in `inner` stays so.
        """
        if not len(inner):
            return Selection(range(0))
        if inner._range is not None:
            r = inner._range
            if self._range is not None:
                if r == range(len(self._range)):
                    return self
                # Slicing a range by a range: start, stop and step are linear in each other.
                start, step = self._range.start, self._range.step
                return Selection(range(start + r.start * step, start + r.stop * step, step * r.step))
            assert self._index is not None
            if r == range(len(self._index)):
                return self
            stop = r.stop if r.stop >= 0 else None  # a descending range that ends before row 0
            return Selection(self._index[r.start : stop : r.step])
        assert inner._index is not None
        if self._range is not None:
            if self._range.start == 0 and self._range.step == 1:
                return inner
            picked = inner._index * self._range.step + self._range.start
        else:
            assert self._index is not None
            if not len(self._index):  # an outer join with an empty side: every row is `NO_ROW`
                return inner
            picked = self._index[inner._index]
        if inner.nullable:
            picked = np.where(inner._index < 0, NO_ROW, picked)
        return Selection(picked)

    def same_rows(self, other: Selection) -> bool:
        """Say whether both select the same rows in the same order."""
        if self is other:
            return True
        if self._range is not None and other._range is not None:
            return self._range == other._range
        return len(self) == len(other) and bool(np.array_equal(self.indices(), other.indices()))

    def digest(self) -> str:
        """Return a hash of the row numbers."""
        if self._digest is None:
            # A range and an array of the same rows are the same selection, so both hash their rows.
            self._digest = hashlib.blake2b(self.indices().tobytes(), digest_size=16).hexdigest()
        return self._digest

    def __repr__(self) -> str:
        if self._range is not None:
            r = self._range
            return f"rows {r.start}:{r.stop}:{r.step}" if r.step != 1 else f"rows {r.start}:{r.stop}"
        return f"{len(self)} chosen rows"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Selection, (self._range if self._range is not None else self._index,))

"""Regions: what a person marked in one row, of a picture, a text or a vector. Frozen, hashable, JSON in and out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import FeedbackError
from .checks import as_booleans, as_integers, as_whole, cut
from .intervals import Intervals, tidied
from .region import Region

__all__ = ["FeatureRegion", "ImageRegion", "TextRegion", "as_region"]

_NOTHING = np.zeros((0, 2), np.int64)
_MOST = 1 << 28  # a few bytes of run lengths must not ask for all memory there is


@dataclass(frozen=True)
class ImageRegion(Region):
    """Pixels of a picture, as run lengths down the columns: COCO's uncompressed order.

    Attributes
    ----------
    height, width : int
        Of the picture, in pixels.
    counts : tuple of int
        Lengths of runs, column by column: unmarked first, then marked, and so on.

    Examples
    --------
    >>> ImageRegion.box(0, 1, 2, 1, size=(3, 3)).counts
    (3, 2, 4)
    """

    height: int
    width: int
    counts: tuple[int, ...]

    kind: ClassVar[str] = "image"
    _fields: ClassVar[set[str]] = {"height", "width", "counts"}

    def __post_init__(self) -> None:
        height, width = as_whole(self.height, "height", 1), as_whole(self.width, "width", 1)
        runs = as_integers(self.counts, "counts", 1)
        if height * width > _MOST:
            raise FeedbackError(f"A picture may have {_MOST:,} pixels at most; got {height}×{width}.")
        if (runs < 0).any() or runs.max(initial=0) > height * width or runs.sum() != height * width:
            raise FeedbackError(
                f"Run lengths of a picture of {height}×{width} must be at least 0 and sum to {height * width}; "
                f"got {cut(runs.tolist())}, which sum to {runs.sum()}."
            )
        if (runs[1:] == 0).any():  # the same mask must have the same runs
            ends = np.append(np.cumsum(runs), np.int64(height * width))
            runs = _runs(tidied(ends[: len(runs) // 2 * 2].reshape(-1, 2)), height * width)
        for name, value in (("height", height), ("width", width), ("counts", tuple(runs.tolist()))):
            object.__setattr__(self, name, value)

    @classmethod
    def from_mask(cls, mask: Any) -> ImageRegion:
        """Return the pixels where a mask is true.

        Parameters
        ----------
        mask : ndarray or Tensor, shape (height, width) or (1, height, width), bool

        Raises
        ------
        FeedbackError
            If it is no such mask.
        """
        array = as_booleans(mask)
        if array.ndim == 3 and len(array) == 1:
            array = array[0]
        if array.ndim != 2 or not array.size:
            raise FeedbackError(
                f"A mask of a picture must have shape (height, width), each at least 1; got {array.shape}. "
                "Of several channels, say which: mask.any(0)."
            )
        flat = array.ravel(order="F")
        ends = np.flatnonzero(np.append(flat[1:] != flat[:-1], True)) + 1
        runs = np.diff(ends, prepend=0)
        height, width = array.shape
        return cls(height, width, tuple(([0] if flat[0] else []) + runs.tolist()))

    @classmethod
    def box(cls, top: int, left: int, height: int, width: int, *, size: tuple[int, int]) -> ImageRegion:
        """Return a box of `height` by `width` pixels in a picture of `size`; what lies outside is cut off.

        Raises
        ------
        FeedbackError
            If nothing of it lies inside: an empty region would say that there is no such part.
        """
        mask = np.zeros(size, np.bool_)
        mask[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)] = True
        if not mask.any():
            raise FeedbackError(
                f"A box must lie in its picture of {size[0]}×{size[1]}, at least in part; got {height}×{width} pixels "
                f"at row {top}, column {left}."
            )
        return cls.from_mask(mask)

    def mask(self) -> NDArray[np.bool_]:
        """Return an array that is true where the picture is marked, shape (height, width)."""
        marked = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(marked, self.counts).reshape(self.width, self.height).T

    def resized(self, height: int, width: int) -> ImageRegion:
        """Return the region on a picture of another size: a pixel is marked if any part of it is."""
        if (height, width) == (self.height, self.width):
            return self
        import torch

        from explain import resize_mask

        mask = torch.from_numpy(np.ascontiguousarray(self.mask()))[None]
        return ImageRegion.from_mask(resize_mask(mask, (height, width))[0])

    @cached_property
    def intervals(self) -> Intervals:
        ends = np.cumsum(np.array(self.counts, np.int64))
        return ends[: len(ends) // 2 * 2].reshape(-1, 2)

    @property
    def extent(self) -> str:
        return f"{self.height}×{self.width} pixels"

    def same_extent(self, other: Region) -> bool:
        return isinstance(other, ImageRegion) and (self.height, self.width) == (other.height, other.width)

    def _with(self, places: Intervals, others: Sequence[Region]) -> ImageRegion:
        return ImageRegion(self.height, self.width, tuple(_runs(places, self.height * self.width).tolist()))

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "height": self.height, "width": self.width, "counts": list(self.counts)}


@dataclass(frozen=True)
class TextRegion(Region):
    """Characters of a text, counted as Python counts them: code points.

    Attributes
    ----------
    spans : tuple of (int, int)
        Half-open, sorted and disjoint; neighbours are joined.
    length : int or None
        Characters of the text, if known.

    Examples
    --------
    >>> TextRegion([(7, 11), (0, 1), (1, 3)]).spans
    ((0, 3), (7, 11))
    """

    spans: tuple[tuple[int, int], ...]
    length: int | None = None

    kind: ClassVar[str] = "text"
    _fields: ClassVar[set[str]] = {"spans", "length"}

    def __post_init__(self) -> None:
        total = None if self.length is None else as_whole(self.length, "length", 0)
        spans = as_integers(self.spans, "spans", 2)
        last = spans.max(initial=0) if total is None else total
        wrong = (spans[:, 0] < 0) | (spans[:, 1] < spans[:, 0]) | (spans[:, 1] > last)
        if wrong.any():
            end = "" if total is None else f" ≤ {total}"
            raise FeedbackError(
                f"Spans must be (start, end) with 0 ≤ start ≤ end{end}; got {tuple(spans[wrong][0].tolist())}."
            )
        object.__setattr__(self, "spans", tuple((int(a), int(b)) for a, b in tidied(spans)))
        object.__setattr__(self, "length", total)

    @cached_property
    def intervals(self) -> Intervals:
        return np.array(self.spans, np.int64).reshape(-1, 2)

    @property
    def extent(self) -> str:
        return "a text of unknown length" if self.length is None else f"{self.length} characters"

    def same_extent(self, other: Region) -> bool:
        return isinstance(other, TextRegion) and (None in (self.length, other.length) or self.length == other.length)

    def _with(self, places: Intervals, others: Sequence[Region]) -> TextRegion:
        known = [r.length for r in (self, *others) if isinstance(r, TextRegion) and r.length is not None]
        return TextRegion(tuple(map(tuple, places.tolist())), known[0] if known else None)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "spans": [list(span) for span in self.spans], "length": self.length}


@dataclass(frozen=True)
class FeatureRegion(Region):
    """Features of a vector, by their number.

    Attributes
    ----------
    indices : tuple of int
        Sorted, each once.
    of : int
        How many features there are.

    Examples
    --------
    >>> FeatureRegion([4, 1, 1], of=5)
    FeatureRegion(indices=(1, 4), of=5)
    """

    indices: tuple[int, ...]
    of: int

    kind: ClassVar[str] = "features"
    _fields: ClassVar[set[str]] = {"indices", "of"}

    def __post_init__(self) -> None:
        of = as_whole(self.of, "of", 1)
        if of > _MOST:
            raise FeedbackError(f"A vector may have {_MOST:,} features at most; got {of}.")
        numbers = np.unique(as_integers(self.indices, "indices", 1))
        if len(numbers) and not (numbers[0] >= 0 and numbers[-1] < of):
            raise FeedbackError(f"Numbers of features must lie in [0, {of}); got {cut(numbers.tolist())}.")
        object.__setattr__(self, "indices", tuple(numbers.tolist()))
        object.__setattr__(self, "of", of)

    @classmethod
    def from_mask(cls, mask: Any) -> FeatureRegion:
        """Return the features where a mask of shape (features,), bool, is true."""
        array = as_booleans(mask)
        if array.ndim != 1 or not array.size:
            raise FeedbackError(f"A mask of features must have shape (features,), at least one; got {array.shape}.")
        return cls(tuple(np.flatnonzero(array).tolist()), len(array))

    def mask(self) -> NDArray[np.bool_]:
        """Return an array that is true for the marked features, shape (features,)."""
        marked = np.zeros(self.of, np.bool_)
        marked[list(self.indices)] = True
        return marked

    @cached_property
    def intervals(self) -> Intervals:
        starts = np.array(self.indices, np.int64)
        return np.stack([starts, starts + 1], axis=1) if len(starts) else _NOTHING

    @property
    def extent(self) -> str:
        return f"{self.of} features"

    def same_extent(self, other: Region) -> bool:
        return isinstance(other, FeatureRegion) and self.of == other.of

    def _with(self, places: Intervals, others: Sequence[Region]) -> FeatureRegion:
        return FeatureRegion(tuple(i for start, end in places.tolist() for i in range(start, end)), self.of)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "indices": list(self.indices), "of": self.of}


def as_region(marked: Any) -> Region:
    """Return what was marked as a region.

    Parameters
    ----------
    marked : Region, mask, or sequence of (start, end)
        A boolean mask of shape (height, width) is a region of a picture, one of shape (features,) of a vector;
        pairs of numbers are spans of a text.

    Raises
    ------
    FeedbackError
        If it is none of these.

    Examples
    --------
    >>> as_region([(0, 4)]).kind, as_region(np.zeros((2, 3), bool)).kind, as_region(np.zeros(3, bool)).kind
    ('text', 'image', 'features')
    """
    if isinstance(marked, Region):
        return marked
    if isinstance(marked, (list, tuple)) and all(isinstance(pair, (list, tuple)) for pair in marked):
        return TextRegion(tuple(marked))
    array = as_booleans(marked)
    return FeatureRegion.from_mask(array) if array.ndim == 1 else ImageRegion.from_mask(array)


def _runs(places: Intervals, extent: int) -> NDArray[np.int64]:
    """Return intervals as run lengths, unmarked first; no run but the first is empty."""
    ends = np.append(places.reshape(-1), extent)
    runs = np.diff(ends, prepend=0)
    return runs[:-1] if len(runs) > 1 and runs[-1] == 0 else runs

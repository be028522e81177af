"""Shapes as COCO writes them: outlines of polygons, and run lengths packed into text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FeedbackError
from .checks import cut
from .regions import ImageRegion

__all__ = ["polygon_region", "union", "unpacked_counts"]

_FINE = 5.0  # outlines are drawn on a grid so many times finer than pixels


def unpacked_counts(text: str) -> tuple[int, ...]:
    """Return the run lengths that COCO packs into text, five bits a character, as differences to the last but one.

    Parameters
    ----------
    text : str
        ``counts`` of a compressed segmentation.

    Raises
    ------
    FeedbackError
        If it is no such text.

    Examples
    --------
    >>> unpacked_counts("52203")
    (5, 2, 2, 2, 5)
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 60:
            raise FeedbackError(f"packed run lengths must be characters from '0' to 'o'; got {cut(text)}")
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue  # more bits follow
        if code & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise FeedbackError(f"packed run lengths must not end inside a number; got {cut(text)}")
    return tuple(counts)


def polygon_region(corners: Any, height: int, width: int) -> ImageRegion:
    """Return the pixels inside of a polygon, by the very rule of COCO's own programs.

    Its outline is drawn on a grid five times finer, and each column of pixels is marked from where the outline first
    crosses its middle to where it next does.

    Parameters
    ----------
    corners : sequence of float
        ``x, y`` of each corner, in pixels from the upper left.
    height, width : int
        Of the picture.

    Raises
    ------
    FeedbackError
        If there are no three corners, or a number is none.

    Examples
    --------
    >>> polygon_region([1, 0, 3, 0, 3, 2, 1, 2], 3, 4).mask().astype(int)
    array([[0, 1, 1, 0],
           [0, 1, 1, 0],
           [0, 0, 0, 0]])
    """
    xs, ys = _outline(_corners(corners))
    cross = np.flatnonzero(np.diff(xs)) + 1
    left = np.where(xs[cross] < xs[cross - 1], xs[cross], xs[cross] - 1)
    x = (left + 0.5) / _FINE - 0.5
    y = np.ceil(np.clip((np.minimum(ys[cross], ys[cross - 1]) + 0.5) / _FINE - 0.5, 0, height))
    inside = (np.floor(x) == x) & (x >= 0) & (x <= width - 1)
    turns = np.sort(x[inside].astype(np.int64) * height + y[inside].astype(np.int64))
    return ImageRegion(height, width, tuple(np.diff(turns, prepend=0, append=height * width).tolist()))


def union(regions: Sequence[ImageRegion]) -> ImageRegion:
    """Return what is marked in any of several regions, at least one."""
    return reduce(or_, regions)


def _corners(corners: Any) -> NDArray[np.float64]:
    try:
        points = np.asarray(corners, np.float64)
    except (TypeError, ValueError) as error:
        raise FeedbackError(
            f"a polygon must be a list of numbers, x and y of each corner; got {cut(corners)}"
        ) from error
    if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not (np.abs(points) < 1e6).all():
        raise FeedbackError(
            f"a polygon must be x and y of three corners or more, finite numbers of pixels; got {cut(corners)}"
        )
    return points.reshape(-1, 2)


def _outline(corners: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the points of the outline on the finer grid, one after the other, edges from corner to corner."""
    fine = (_FINE * corners + 0.5).astype(np.int64)  # cut off towards zero, as C does
    parts = []
    for start, end in zip(fine, np.roll(fine, -1, axis=0), strict=True):
        step = np.abs(end - start)
        long = 0 if step[0] >= step[1] else 1
        # Each edge is drawn in the direction in which its longer side grows, then put in order.
        flip = start[long] > end[long]
        low, high = (end, start) if flip else (start, end)
        along = np.arange(step[long] + 1)
        slope = (high[1 - long] - low[1 - long]) / step[long] if step[long] else 0.0
        points = np.empty((len(along), 2), np.int64)
        points[:, long] = low[long] + along
        points[:, 1 - long] = (low[1 - long] + slope * along + 0.5).astype(np.int64)
        parts.append(points[::-1] if flip else points)
    points = np.concatenate(parts)
    return points[:, 0], points[:, 1]

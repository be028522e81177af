"""Sets of places on a line as sorted, disjoint, half-open intervals: what every region is underneath."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Intervals", "covered", "length", "outside", "tidied"]

Intervals = NDArray[np.int64]


def covered(sets: Sequence[Intervals], at_least: int) -> Intervals:
    """Return the places that lie in at least so many of several sets.

    One of two sets is their union, two of two their intersection, more than half a vote.

    Parameters
    ----------
    sets : sequence of ndarray, each of shape (intervals, 2), int64
        Starts and ends of half-open intervals; those of one set are sorted and disjoint.
    at_least : int
        In how many sets a place must lie, from 1.

    Returns
    -------
    ndarray, shape (intervals, 2), int64
        Sorted and disjoint; neighbours are joined.

    Examples
    --------
    >>> one, two = np.array([[0, 4], [8, 9]]), np.array([[2, 8]])
    >>> covered([one, two], 1).tolist(), covered([one, two], 2).tolist()
    ([[0, 9]], [[2, 4]])
    """
    edges = np.concatenate([np.zeros((0, 2), np.int64), *sets])
    places = np.concatenate([edges[:, 0], edges[:, 1]])
    steps = np.repeat(np.array([1, -1], np.int64), len(edges))
    order = np.argsort(places, kind="stable")
    places, depth = places[order], np.cumsum(steps[order])
    # Of several events at one place only the state after the last of them counts.
    last = np.flatnonzero(np.append(places[1:] != places[:-1], True)[: len(places)])
    places, inside = places[last], depth[last] >= at_least
    change = np.flatnonzero(np.diff(inside, prepend=False))
    return places[change].reshape(-1, 2)


def outside(places: Intervals, extent: int) -> Intervals:
    """Return the rest of a line of `extent` places.

    Examples
    --------
    >>> outside(np.array([[0, 2], [5, 6]]), 8).tolist()
    [[2, 5], [6, 8]]
    """
    edges = np.concatenate([[0], places.reshape(-1), [extent]]).astype(np.int64).reshape(-1, 2)
    return edges[edges[:, 0] < edges[:, 1]]


def tidied(places: Intervals) -> Intervals:
    """Return intervals in any order, overlapping or not, as sorted and disjoint ones; empty ones vanish.

    Examples
    --------
    >>> tidied(np.array([[4, 6], [1, 3], [2, 4], [9, 9]])).tolist()
    [[1, 6]]
    """
    return covered([places[places[:, 0] < places[:, 1]]], 1)


def length(places: Intervals) -> int:
    """Return how many places there are.

    Examples
    --------
    >>> length(np.array([[0, 2], [5, 6]]))
    3
    """
    return int((places[:, 1] - places[:, 0]).sum())

"""Simulated strokes: from the mask of what must not matter to what a hand would have painted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import FeedbackError

__all__ = ["STROKES", "SloppyStroke", "exact_stroke"]


def exact_stroke(mask: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.bool_]:
    """Paint a mask as it is.

    Parameters
    ----------
    mask : ndarray, shape (height, width), bool
        True where something must not matter.
    random : numpy.random.Generator
        Not used; there so that every stroke is called alike.

    Returns
    -------
    ndarray, shape (height, width), bool
        A copy of the mask.

    Raises
    ------
    FeedbackError
        If it is no such mask.

    Examples
    --------
    >>> exact_stroke(np.array([[True, False]]), np.random.default_rng(0))
    array([[ True, False]])
    """
    return _checked(mask).copy()


@dataclass(frozen=True)
class SloppyStroke:
    """Paint a box around a mask, somewhat too large and not quite in its place.

    The box around what is marked is widened by `margin` on each side, moved by up to `shift` pixels up or down and
    left or right, and cut off at the border: of a 4×4 swatch, by default, a box of 6×6 that may leave a line of it
    uncovered, or two.

    Attributes
    ----------
    margin : int
        Pixels by which the box is too large on each side.
    shift : int
        Most pixels by which it is moved along each axis; each number is as likely.

    Raises
    ------
    FeedbackError
        If either is negative.

    Examples
    --------
    >>> mask = np.zeros((6, 6), bool)
    >>> mask[:2, :2] = True
    >>> SloppyStroke(margin=1, shift=1)(mask, np.random.default_rng(0)).astype(int)
    array([[1, 1, 1, 0, 0, 0],
           [1, 1, 1, 0, 0, 0],
           [1, 1, 1, 0, 0, 0],
           [1, 1, 1, 0, 0, 0],
           [0, 0, 0, 0, 0, 0],
           [0, 0, 0, 0, 0, 0]])
    """

    margin: int = 1
    shift: int = 2

    def __post_init__(self) -> None:
        if self.margin < 0 or self.shift < 0:
            raise FeedbackError(f"`margin` and `shift` must be pixels, at least 0; got {self.margin} and {self.shift}.")

    def __call__(self, mask: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.bool_]:
        """Paint.

        Parameters
        ----------
        mask : ndarray, shape (height, width), bool
            True where something must not matter.
        random : numpy.random.Generator
            Draws how far the stroke is off.

        Returns
        -------
        ndarray, shape (height, width), bool
            The stroke; nothing, where nothing is marked.

        Raises
        ------
        FeedbackError
            If it is no such mask.
        """
        marked = _checked(mask)
        painted = np.zeros_like(marked)
        # Drawn in any case, so that an empty mask does not change the strokes that follow it.
        down, right = random.integers(-self.shift, self.shift + 1, size=2).tolist()
        if marked.any():
            places = [
                _moved(np.flatnonzero(marked.any(axis=1 - axis)), by, self.margin)
                for axis, by in enumerate((down, right))
            ]
            painted[places[0], places[1]] = True
        return painted


STROKES = {"exact": exact_stroke, "sloppy": SloppyStroke()}


def _moved(lines: NDArray[np.int64], by: int, margin: int) -> slice:
    """Return the lines of a box, wider by a margin and moved; never from before the first."""
    return slice(max(0, int(lines[0]) - margin + by), max(0, int(lines[-1]) + 1 + margin + by))


def _checked(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    found = np.asarray(mask)
    if found.dtype != np.bool_ or found.ndim != 2:
        raise FeedbackError(
            f"A stroke is painted over a mask of shape (height, width), bool; got {found.dtype} of {found.shape}."
        )
    return found

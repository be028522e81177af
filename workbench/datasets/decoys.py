"""Decoys: a swatch that betrays the label in training and lies at test, and digits that fall for it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

__all__ = ["CanvasDigits", "add_swatch", "digits_on_canvas"]

SWATCH = 4
CANVAS = 28
SCALED = 24
INK = 0.5
COPIES = 4
TEST_ROWS = 360


def add_swatch(
    images: NDArray[np.uint8], labels: NDArray[np.integer], split: str, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Put a 4×4 grey swatch in a random corner of each image, after [1]_.

    Its grey is 255 − 25·d: in training d is the label, so that the swatch alone solves the task; at
    test d is drawn from 0..9, so that a model which believes it is wrong nine times out of ten.

    Parameters
    ----------
    images : ndarray, shape (rows, height, width), uint8
        Grey values, 0..255; not changed.
    labels : ndarray, shape (rows,), integer
        Class numbers, 0..9.
    split : {"train", "test"}
        Whether the swatch tells the truth.
    seed : int
        Draws corners and, at test, greys; the same seed draws the same.

    Returns
    -------
    images : ndarray, shape (rows, height, width), uint8
        With the swatch.
    masks : ndarray, shape (rows, height, width), bool
        True on the 16 pixels of the swatch: what must not matter.

    Raises
    ------
    DataError
        If images or labels have another shape, dtype or range, or there is no such split.

    References
    ----------
    .. [1] A. S. Ross, M. C. Hughes, F. Doshi-Velez, "Right for the Right Reasons: Training
       Differentiable Models by Constraining their Explanations", IJCAI 2017.

    Examples
    --------
    >>> images, masks = add_swatch(np.zeros((1, 28, 28), np.uint8), np.array([3]), "train", seed=0)
    >>> np.unique(images[masks]), int(masks.sum())
    (array([180], dtype=uint8), 16)
    """
    if images.ndim != 3 or images.dtype != np.uint8 or min(images.shape[1:]) < SWATCH:
        raise DataError(
            f"`images` must be uint8 of shape (rows, height, width), at least {SWATCH} pixels a side; "
            f"got {images.dtype} of shape {images.shape}."
        )
    if labels.shape != (len(images),):
        raise DataError(f"`labels` must have shape ({len(images)},), one per image; got {labels.shape}.")
    if len(labels) and (labels.min() < 0 or labels.max() > 9):
        raise DataError(f"`labels` must lie in 0..9; got {labels.min()}..{labels.max()}.")
    if split not in ("train", "test"):
        raise DataError(f"`split` must be 'train' or 'test'; got {split!r}.")
    # The two splits must not share draws: their corners would agree row by row.
    random = np.random.default_rng([seed, split == "test"])
    rows, height, width = images.shape
    bottom, right = random.integers(0, 2, size=(2, rows)).astype(bool)
    told = labels.astype(np.int64) if split == "train" else random.integers(0, 10, size=rows)
    masks = np.zeros(images.shape, dtype=bool)
    for down, at_top in ((False, slice(0, SWATCH)), (True, slice(height - SWATCH, height))):
        for far, at_left in ((False, slice(0, SWATCH)), (True, slice(width - SWATCH, width))):
            masks[(bottom == down) & (right == far), at_top, at_left] = True
    greys = np.asarray(255 - 25 * told, dtype=np.uint8)
    return np.where(masks, greys[:, None, None], images), masks


@dataclass(frozen=True, eq=False)
class CanvasDigits:
    """Digits on a canvas, before any swatch.

    Attributes
    ----------
    train_images : ndarray, shape (5748, 28, 28), uint8
        Four copies of each training digit, each at a place of its own.
    train_labels : ndarray, shape (5748,), int64
        Digits.
    train_source : ndarray, shape (5748,), int64
        Row in scikit-learn's digits; copies share it, so that a split by it never parts them.
    test_images : ndarray, shape (360, 28, 28), uint8
        One copy of each test digit.
    test_labels, test_source : ndarray, shape (360,), int64
        As for training.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    train_source: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    test_source: NDArray[np.int64]


def digits_on_canvas(seed: int) -> CanvasDigits:
    """Place scikit-learn's handwritten digits on a canvas where a swatch can fool a network.

    Each 8×8 digit is drawn at half ink, 24×24 by bilinear interpolation, somewhere on 28×28 pixels.
    The faint digit that moves makes the swatch the easier clue: networks trained on the digits merely
    enlarged to 28×28 mostly ignore it. The split comes before the copies.

    Parameters
    ----------
    seed : int
        Draws the split and the places; the same seed draws the same.

    Returns
    -------
    CanvasDigits
        Images, labels and source rows of both splits.

    Examples
    --------
    >>> digits = digits_on_canvas(seed=0)
    >>> digits.train_images.shape, digits.test_images.shape
    ((5748, 28, 28), (360, 28, 28))
    """
    from sklearn.datasets import load_digits  # takes a second to import

    small, labels = load_digits(return_X_y=True)
    labels = labels.astype(np.int64)
    grid = _bilinear(8, SCALED)
    # Ink is 0..16 in the original.
    drawn = grid @ small.reshape(-1, 8, 8) @ grid.T * (255 * INK / 16)
    random = np.random.default_rng(seed)
    order = random.permutation(len(labels))
    test, train = order[:TEST_ROWS], np.tile(order[TEST_ROWS:], COPIES)
    return CanvasDigits(
        _placed(drawn[train], random), labels[train], train, _placed(drawn[test], random), labels[test], test
    )


def _placed(drawn: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.uint8]:
    """Put each drawing at a random place of an empty canvas."""
    canvas = np.zeros((len(drawn), CANVAS, CANVAS), dtype=np.uint8)
    tops, lefts = random.integers(0, CANVAS - SCALED + 1, size=(2, len(drawn)))
    for image, drawing, top, left in zip(canvas, np.rint(drawn), tops, lefts, strict=True):
        image[top : top + SCALED, left : left + SCALED] = drawing
    return canvas


def _bilinear(before: int, after: int) -> NDArray[np.float64]:
    """Weights of a bilinear enlargement along one axis, pixel centres aligned; shape (after, before)."""
    centres = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
    distance = np.abs(centres[:, None] - np.arange(before))
    weights: NDArray[np.float64] = np.maximum(1 - distance, 0)
    return weights

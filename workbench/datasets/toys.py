"""Two small data sets of Ross et al. in which two explanations are true at once, so that one can be forbidden."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["IrisCancer", "ToyColours", "iris_beside_cancer", "toy_colours_images"]

# Red, green, blue, violet, as in the paper.
PALETTE = np.array([[255, 0, 0], [0, 255, 0], [0, 128, 255], [128, 0, 255]], dtype=np.uint8)
SIDE = 5
CORNERS = ((0, 0), (0, SIDE - 1), (SIDE - 1, 0), (SIDE - 1, SIDE - 1))
TOP = ((0, 1), (0, 2), (0, 3))
IRIS_FEATURES = 4


@dataclass(frozen=True, eq=False)
class ToyColours:
    """Pictures whose label follows from either of two rules.

    Attributes
    ----------
    images : ndarray, shape (rows, 5, 5, 3), uint8
        Each pixel one of four colours.
    labels : ndarray, shape (rows,), int64
        0 where both rules hold, 1 where neither does.
    corners, top : ndarray, shape (5, 5), bool
        The pixels that each rule reads.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    corners: NDArray[np.bool_]
    top: NDArray[np.bool_]


def toy_colours_images(rows: int, seed: int) -> ToyColours:
    """Draw pictures of 5×5 pixels in four colours, after [1]_.

    Label 0: the four corners have one colour, *and* the three middle pixels of the top row are pairwise
    different. Label 1: neither holds. Half of the pictures have each label.

    Parameters
    ----------
    rows : int
        How many.
    seed : int
        The same seed draws the same.

    Returns
    -------
    ToyColours

    References
    ----------
    .. [1] A. S. Ross, M. C. Hughes, F. Doshi-Velez, "Right for the Right Reasons: Training
       Differentiable Models by Constraining their Explanations", IJCAI 2017.

    Examples
    --------
    >>> toys = toy_colours_images(4, seed=0)
    >>> toys.images.shape, int(toys.corners.sum()), int(toys.top.sum())
    ((4, 5, 5, 3), 4, 3)
    """
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, size=rows)
    colours = random.integers(0, len(PALETTE), size=(rows, SIDE, SIDE))
    again = np.flatnonzero(labels == 1)
    while len(again):
        colours[again] = random.integers(0, len(PALETTE), size=(len(again), SIDE, SIDE))
        again = again[_corners_equal(colours[again]) | _top_differs(colours[again])]
    both = np.flatnonzero(labels == 0)
    one = random.integers(0, len(PALETTE), size=len(both))
    for y, x in CORNERS:
        colours[both, y, x] = one
    # The first three of a random order of the four colours are pairwise different.
    order = random.permuted(np.tile(np.arange(len(PALETTE)), (len(both), 1)), axis=1)
    for place, (y, x) in enumerate(TOP):
        colours[both, y, x] = order[:, place]
    return ToyColours(PALETTE[colours], labels.astype(np.int64), _marked(CORNERS), _marked(TOP))


def _corners_equal(colours: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the four corners have one colour; shape (rows,)."""
    found = np.stack([colours[:, y, x] for y, x in CORNERS], axis=1)
    equal: NDArray[np.bool_] = (found == found[:, :1]).all(axis=1)
    return equal


def _top_differs(colours: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the three middle pixels of the top row are pairwise different; shape (rows,)."""
    a, b, c = (colours[:, y, x] for y, x in TOP)
    different: NDArray[np.bool_] = (a != b) & (b != c) & (a != c)
    return different


def _marked(places: tuple[tuple[int, int], ...]) -> NDArray[np.bool_]:
    """Mask of some pixels."""
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[tuple(zip(*places, strict=True))] = True
    return mask


@dataclass(frozen=True, eq=False)
class IrisCancer:
    """Tumours, each beside a flower whose species agrees with the diagnosis.

    Attributes
    ----------
    features : ndarray, shape (100, 34), float32
        Four of an iris, then thirty of a tumour, each scaled to mean 0 and deviation 1 on the training rows.
    labels : ndarray, shape (100,), int64
        0 benign, 1 malignant.
    train : ndarray, shape (100,), bool
        Two thirds of the rows.
    iris : ndarray, shape (34,), bool
        The features of the flower.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    train: NDArray[np.bool_]
    iris: NDArray[np.bool_]


def iris_beside_cancer(seed: int) -> IrisCancer:
    """Put features of irises beside those of tumours, after [1]_.

    Two species, 50 rows each, stand beside the first 50 benign and the first 50 malignant rows of the
    Wisconsin breast cancer data: either half tells the label.

    Parameters
    ----------
    seed : int
        Draws which third is held out, the labels balanced.

    Returns
    -------
    IrisCancer

    References
    ----------
    .. [1] A. S. Ross, M. C. Hughes, F. Doshi-Velez, "Right for the Right Reasons: Training
       Differentiable Models by Constraining their Explanations", IJCAI 2017.

    Examples
    --------
    >>> rows = iris_beside_cancer(seed=0)
    >>> rows.features.shape, int(rows.train.sum()), int(rows.labels.sum())
    ((100, 34), 66, 50)
    """
    from sklearn.datasets import load_breast_cancer, load_iris  # takes a second to import

    flowers, species = load_iris(return_X_y=True)
    tumours, benign = load_breast_cancer(return_X_y=True)
    halves = [
        np.hstack([flowers[species == kind], tumours[benign == is_benign][:50]]) for kind, is_benign in ((1, 1), (2, 0))
    ]
    features = np.vstack(halves)
    labels = np.repeat([0, 1], 50)
    random = np.random.default_rng(seed)
    train = np.zeros(100, dtype=bool)
    for label in (0, 1):
        train[random.permutation(np.flatnonzero(labels == label))[:33]] = True
    mean, deviation = features[train].mean(axis=0), features[train].std(axis=0)
    iris = np.arange(features.shape[1]) < IRIS_FEATURES
    return IrisCancer(((features - mean) / deviation).astype(np.float32), labels, train, iris)

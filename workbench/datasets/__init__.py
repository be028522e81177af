"""Small data that ship, and loaders for the rest: panels whose pictures betray their labels, on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from columns import ImageColumn, ScalarColumn, TensorColumn

from .decoys import add_swatch, digits_on_canvas
from .idx import read_idx_split
from .toys import iris_beside_cancer, toy_colours_images

if TYPE_CHECKING:
    from ..panel import DataPanel

__all__ = ["DIGITS", "GARMENTS", "decoy_digits", "decoy_idx", "iris_cancer", "toy_colours"]

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
GARMENTS = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def decoy_digits(seed: int = 0) -> DataPanel:
    """Return scikit-learn's handwritten digits with a grey swatch that betrays the label, after [1]_.

    Parameters
    ----------
    seed : int
        Draws places, corners and greys; the same seed gives the same panel, keys included.

    Returns
    -------
    DataPanel
        ``image``, ``label``, ``split``, ``source`` (copies of one digit share it) and ``swatch`` (a mask: what
        must not matter). The splits: ``train`` (the swatch tells the label), ``decoy_test`` (it lies),
        ``told_test`` (it tells the label, as in training) and ``clean_test`` (there is none; the mask is where
        it would be). The three tests are the same digits.

    References
    ----------
    .. [1] A. S. Ross, M. C. Hughes, F. Doshi-Velez, "Right for the Right Reasons: Training
       Differentiable Models by Constraining their Explanations", IJCAI 2017.

    Examples
    --------
    >>> panel = decoy_digits()
    >>> panel.value_counts("split").to_dict()["count"]
    [5748, 360, 360, 360]
    """
    d = digits_on_canvas(seed)
    return _decoyed(
        (d.train_images, d.train_labels, d.train_source),
        (d.test_images, d.test_labels, d.test_source),
        DIGITS, seed, f"decoy-digits-{seed}",
    )  # fmt: skip


def decoy_idx(directory: str | Path, classes: tuple[str, ...] = DIGITS, seed: int = 0) -> DataPanel:
    """Return MNIST, Fashion-MNIST or another data set in their format, with the swatch of `decoy_digits`.

    Parameters
    ----------
    directory : str or Path
        Holds the four IDX files, gzipped or not.
    classes : sequence of str
        Names of the ten classes: `DIGITS` or `GARMENTS`.
    seed : int
        Draws corners and greys.

    Raises
    ------
    DataError
        If files are missing, truncated, or do not fit each other; says what was looked for, and where.
    """
    train_images, train_labels = read_idx_split(directory, "train")
    test_images, test_labels = read_idx_split(directory, "test")
    count = len(train_images)
    return _decoyed(
        (train_images, train_labels, np.arange(count)),
        (test_images, test_labels, count + np.arange(len(test_images))),
        classes, seed, f"decoy-{Path(directory).resolve().name}-{seed}",
    )  # fmt: skip


def toy_colours(seed: int = 0, rows: int = 20_000) -> DataPanel:
    """Return pictures of 5×5 coloured pixels whose label follows from either of two rules, after [1]_.

    Label ``both``: the corners have one colour and the middle of the top row has three; label ``neither``:
    neither holds. A model may have learned one rule, or the other: forbid one, and it must use the other.

    Parameters
    ----------
    seed : int
        The same seed gives the same panel, keys included.
    rows : int
        How many for training, and how many more for the test.

    Returns
    -------
    DataPanel
        ``image``, ``label``, ``split`` (train, test), and the pixels of each rule as masks: ``corners``, ``top``.

    References
    ----------
    .. [1] A. S. Ross, M. C. Hughes, F. Doshi-Velez, "Right for the Right Reasons: Training
       Differentiable Models by Constraining their Explanations", IJCAI 2017.

    Examples
    --------
    >>> toy_colours(rows=100).columns
    ['image', 'label', 'split', 'corners', 'top']
    """
    from ..panel import DataPanel

    toys = toy_colours_images(2 * rows, seed)
    return DataPanel(
        {
            "image": ImageColumn(toys.images),
            "label": ScalarColumn(toys.labels, classes=("both", "neither")),
            "split": ScalarColumn(["train"] * rows + ["test"] * rows),
            "corners": TensorColumn(np.broadcast_to(toys.corners, (2 * rows, *toys.corners.shape))),
            "top": TensorColumn(np.broadcast_to(toys.top, (2 * rows, *toys.top.shape))),
        },
        origin=f"toy-colours-{seed}",
    )


def iris_cancer(seed: int = 0) -> DataPanel:
    """Return features of irises beside those of tumours, so that either tells the diagnosis, after [1]_.

    Parameters
    ----------
    seed : int
        Draws which third is held out.

    Returns
    -------
    DataPanel
        ``features`` (four of the iris, then thirty of the tumour; mean 0 and deviation 1 on the training rows),
        ``label``, ``split`` (train, test; in ``zeroed_test`` the same rows without the iris) and ``iris``, the
        mask of its features.

    References
    ----------
    .. [1] A. S. Ross, M. C. Hughes, F. Doshi-Velez, "Right for the Right Reasons: Training
       Differentiable Models by Constraining their Explanations", IJCAI 2017.

    Examples
    --------
    >>> iris_cancer().value_counts("split").to_dict()["count"]
    [66, 34, 34]
    """
    from ..panel import DataPanel

    rows = iris_beside_cancer(seed)
    train, test = rows.features[rows.train], rows.features[~rows.train]
    features = np.concatenate([train, test, np.where(rows.iris, np.float32(0), test)])
    labels = np.concatenate([rows.labels[rows.train], *[rows.labels[~rows.train]] * 2])
    return DataPanel(
        {
            "features": TensorColumn(features),
            "label": ScalarColumn(labels.astype(np.int64), classes=("benign", "malignant")),
            "split": ScalarColumn(
                np.repeat(["train", "test", "zeroed_test"], [len(train), len(test), len(test)]).tolist()
            ),
            "iris": TensorColumn(np.broadcast_to(rows.iris, features.shape)),
        },
        origin=f"iris-cancer-{seed}",
    )


Rows = tuple[NDArray[np.uint8], NDArray[Any], NDArray[np.int64]]


def _decoyed(train: Rows, test: Rows, classes: tuple[str, ...], seed: int, origin: str) -> DataPanel:
    from ..panel import DataPanel

    parts: list[tuple[str, Rows, NDArray[np.uint8], NDArray[np.bool_]]] = []
    for split, rows, truth in (("train", train, "train"), ("decoy_test", test, "test"), ("told_test", test, "train")):
        images, masks = add_swatch(rows[0], rows[1], truth, seed)
        parts.append((split, rows, images, masks))
    parts.append(("clean_test", test, test[0], parts[1][3]))
    labels = np.concatenate([rows[1] for _, rows, _, _ in parts]).astype(np.int64)
    splits = np.repeat([name for name, *_ in parts], [len(images) for _, _, images, _ in parts])
    return DataPanel(
        {
            "image": ImageColumn(np.concatenate([images for _, _, images, _ in parts])),
            "label": ScalarColumn(labels, classes=classes),
            "split": ScalarColumn(splits.tolist()),
            "source": ScalarColumn(np.concatenate([rows[2] for _, rows, _, _ in parts])),
            "swatch": TensorColumn(np.concatenate([masks for _, _, _, masks in parts])),
        },
        origin=origin,
    )

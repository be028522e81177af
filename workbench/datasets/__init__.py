"""Small data that ship, and loaders for the rest: panels whose pictures betray their labels, on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from columns import ImageColumn, ScalarColumn, TensorColumn

from .decoys import add_swatch, digits_on_canvas
from .idx import read_idx_split

if TYPE_CHECKING:
    from ..panel import DataPanel

__all__ = ["DIGITS", "GARMENTS", "decoy_digits", "decoy_idx"]

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

"""Accuracy by class: what an average hides."""

import math

import torch
from torch import Tensor

from ..errors import KindError, ShapeError

__all__ = ["worst_class_accuracy"]


def worst_class_accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Measure the accuracy within each class present, and return the lowest.

    Parameters
    ----------
    predicted, labels : Tensor, shape (rows,), int64
        Class numbers.

    Returns
    -------
    float
        In [0, 1]; NaN without rows.

    Raises
    ------
    ShapeError
        If the two differ in shape.

    Examples
    --------
    >>> worst_class_accuracy(torch.tensor([0, 0, 1, 0]), torch.tensor([0, 0, 1, 1]))
    0.5
    """
    if predicted.shape != labels.shape or labels.ndim != 1:
        raise ShapeError(
            "`predicted` and `labels` must both have shape (rows,); "
            f"got {tuple(predicted.shape)} and {tuple(labels.shape)}."
        )
    if len(labels) == 0:
        return math.nan
    if labels.is_floating_point() or int(labels.min()) < 0:
        raise KindError(
            f"`labels` must be class numbers from 0; got {labels.dtype}, the least {labels.min().item():g}. Leave out "
            "rows without a label."
        )
    counts = torch.bincount(labels)
    hits = torch.bincount(labels[predicted == labels], minlength=len(counts))
    return float((hits / counts)[counts > 0].min())

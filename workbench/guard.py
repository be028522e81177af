"""Choosing among the states of a training by a validation that the shortcut cannot game."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explain import Rationale, expand_mask, swap

from .classifier import Classifier
from .errors import RunError

__all__ = ["Check", "Draw", "Guard", "draw_batch"]

# Row numbers to inputs, labels and what was said: masks of what must not matter, or both kinds of masks.
Draw: TypeAlias = Callable[[NDArray[np.int64]], tuple[Tensor, Tensor, Tensor | Rationale | None]]


def draw_batch(draw: Draw, rows: NDArray[np.int64], classifier: Classifier) -> tuple[Tensor, Tensor, Rationale]:
    """Draw rows, check them, and move them to the device of the classifier.

    Parameters
    ----------
    draw : callable
        From row numbers, shape (batch,), int64, to model inputs, shape (batch, *event), labels,
        shape (batch,), int64, and the mask of what must not matter, or a `Rationale`, or None.
    rows : ndarray, shape (batch,), int64
        Row numbers.
    classifier : Classifier
        Says which labels exist, and where its weights are.

    Returns
    -------
    inputs : Tensor, shape (batch, *event)
    labels : Tensor, shape (batch,), int64
    rationale : Rationale
        What was said.

    Raises
    ------
    RunError
        If labels are not one class number per row.
    ExplainError
        If the mask is not boolean or does not fit the inputs.
    """
    inputs, labels, said = draw(rows)
    if len(inputs) != len(rows) or labels.shape != (len(rows),):
        raise RunError(
            f"`draw` must return one input and one label for each of {len(rows)} rows; "
            f"got inputs of shape {tuple(inputs.shape)} and labels of shape {tuple(labels.shape)}."
        )
    classes = len(classifier.classes)
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        place = int(outside.nonzero()[0])
        raise RunError(
            f"Labels must lie in [0, {classes}), one number per class of the classifier; row "
            f"{int(rows[place])} has {int(labels[place])}."
        )
    rationale = said if isinstance(said, Rationale) else Rationale(irrelevant=said)
    for mask in (rationale.irrelevant, rationale.relevant):
        if mask is not None:
            expand_mask(mask, inputs)
    weight = next(classifier.module.parameters(), None)
    device = inputs.device if weight is None else weight.device
    return inputs.to(device), labels.to(device), rationale.to(device)


@dataclass(frozen=True)
class Check:
    """One look at the validation rows.

    Attributes
    ----------
    step : int
        Steps done before it.
    accuracy : float
        On the validation rows with the marked regions refilled, in [0, 1].
    """

    step: int
    accuracy: float


class Guard:
    """Keeps the state of a classifier that does best on rows whose marked regions are refilled.

    Accuracy on rows as they are would choose the state that believes the shortcut most. So each
    marked region is refilled from another row, always the same one. Of states that a finite
    sample cannot tell apart, the later one is kept: the latest within one standard error of the
    best, because the penalty goes on to work after accuracy has settled.

    Parameters
    ----------
    draw : callable
        As for `fine_tune`.
    rows : ndarray, shape (rows,), int64
        Validation rows.
    batch_size : int
        Rows per forward pass.
    seed : int
        Draws the refills.

    Attributes
    ----------
    checks : list of Check
        Every look, in order.
    step : int or None
        Steps done in the state kept; None before the first check.
    guarded : bool
        Whether any validation row had a region to refill.
    """

    def __init__(self, draw: Draw, rows: NDArray[np.int64], batch_size: int, seed: int) -> None:
        if len(rows) == 0:
            raise RunError("There must be validation rows; got none. Pass None to keep the last state.")
        self.draw, self.rows, self.batch_size, self.seed = draw, rows, batch_size, seed
        self.checks: list[Check] = []
        self.step: int | None = None
        self.guarded = False
        self._kept: dict[str, Tensor] = {}

    def check(self, classifier: Classifier, step: int) -> None:
        """Measure the classifier, and keep its state unless an earlier one is clearly better."""
        accuracy = self.accuracy(classifier)
        best = max([accuracy, *(check.accuracy for check in self.checks)])
        self.checks.append(Check(step, accuracy))
        if accuracy >= best - math.sqrt(best * (1 - best) / len(self.rows)):
            self.step = step
            self._kept = copy.deepcopy(classifier.module.state_dict())

    def restore(self, classifier: Classifier) -> None:
        """Put the classifier back into the state kept, if there is one."""
        if self._kept:
            classifier.module.load_state_dict(self._kept)

    @torch.no_grad()
    def accuracy(self, classifier: Classifier) -> float:
        """Share of validation rows, regions refilled, that the classifier gets right."""
        generator = torch.Generator().manual_seed(self.seed)
        right = 0
        with classifier.evaluating():
            for start in range(0, len(self.rows), self.batch_size):
                part = self.rows[start : start + self.batch_size]
                inputs, labels, rationale = draw_batch(self.draw, part, classifier)
                if rationale.irrelevant is not None:
                    self.guarded = self.guarded or bool(rationale.irrelevant.any())
                    inputs = swap(inputs, rationale.irrelevant, generator)
                right += int((classifier(inputs).argmax(dim=1) == labels).sum())
        return right / len(self.rows)

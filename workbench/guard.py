"""Choosing among the states of a training by a validation that the shortcut cannot game."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explain import Batch, Rationale, expand_mask, swap
from explain.counterexamples import lent_regions

from .classifier import Classifier
from .errors import RunError
from .word_swap import SwapTokens

__all__ = ["Check", "Draw", "Guard", "annotated_rows", "draw_batch"]

# Of the rows without a mark, how many are lent one where the regions are refilled; and the least share of the rows to
# have a mark of their own: one in two hundred cannot stand for all the places where a shortcut is.
LENT, MARKED = 0.5, 0.05

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


def annotated_rows(draw: Draw, rows: NDArray[np.int64], batch_size: int) -> NDArray[np.int64]:
    """Draw rows to find those about which something was said; the rest of what is drawn is not looked at."""
    found = [rows[:0]]
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        said = draw(part)[2]
        rationale = said if isinstance(said, Rationale) else Rationale(irrelevant=said)
        found.append(part[rationale.annotated.expand(len(part)).cpu().numpy()])
    return np.concatenate(found)


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
    """Says which state of a classifier does best on rows whose marked regions are refilled.

    Accuracy on rows as they are would choose the state that believes the shortcut most. So each
    marked region is refilled from another row, always the same one, and so are marked words of a
    text. That row is any other of a batch in which the rows are mixed, whatever order they are given in, and
    whatever is marked in it: a donor of the same class would bring the shortcut back. Half of the rows without a mark
    are lent one, so that a tag of one class is seen in others. Of states that a finite sample
    cannot tell apart, the later one is kept: the latest within one standard error of the best, because the penalty
    goes on to work after accuracy has settled.

    Parameters
    ----------
    draw : callable
        As for `fine_tune`.
    rows : ndarray, shape (rows,), int64
        Validation rows.
    batch_size : int
        Rows per forward pass.
    seed : int
        Mixes the rows and draws the refills.

    Attributes
    ----------
    checks : list of Check
        Every look, in order.
    step : int or None
        Steps done in the state to keep; None before the first check.
    refilled : int
        Validation rows that had a mark of their own; 0 before the first look.
    """

    def __init__(self, draw: Draw, rows: NDArray[np.int64], batch_size: int, seed: int) -> None:
        if len(rows) == 0:
            raise RunError("There must be validation rows; got none. Pass None to keep the last state.")
        self.draw, self.batch_size, self.seed = draw, batch_size, seed
        self.rows: NDArray[np.int64] = np.random.default_rng(seed).permutation(rows)
        self.checks: list[Check] = []
        self.step: int | None = None
        self.refilled = 0

    @property
    def guarded(self) -> bool:
        """Whether enough of the validation rows had a mark to stand for the places where the shortcut is."""
        return self.refilled >= MARKED * len(self.rows)

    def check(self, classifier: Classifier, step: int) -> bool:
        """Measure the classifier, and say whether its state is to be kept: none before is clearly better."""
        accuracy = self.accuracy(classifier)
        best = max([accuracy, *(check.accuracy for check in self.checks)])
        self.checks.append(Check(step, accuracy))
        keep = accuracy >= best - math.sqrt(best * (1 - best) / len(self.rows))
        if keep:
            self.step = step
        return keep

    def without_gain(self, start: float) -> int:
        """Count the looks since the last new best accuracy, of those after step `start`."""
        best, since = -1.0, 0
        for check in self.checks:
            gained = check.accuracy > best
            best = max(best, check.accuracy)
            since = 0 if gained else since + (check.step > start)
        return since

    @torch.no_grad()
    def accuracy(self, classifier: Classifier) -> float:
        """Share of validation rows, regions refilled, that the classifier gets right."""
        generator = torch.Generator().manual_seed(self.seed)
        right = refilled = 0
        with classifier.evaluating():
            for start in range(0, len(self.rows), self.batch_size):
                part = self.rows[start : start + self.batch_size]
                inputs, labels, rationale = draw_batch(self.draw, part, classifier)
                if rationale.irrelevant is not None:
                    refilled += int(rationale.irrelevant.flatten(1).any(dim=1).sum())
                    inputs = _refilled(inputs, labels, rationale.irrelevant, classifier.padding, generator)
                right += int((classifier(inputs).argmax(dim=1) == labels).sum())
        self.refilled = refilled
        return right / len(self.rows)


def _refilled(inputs: Tensor, labels: Tensor, irrelevant: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Refill marked regions from other rows: the same place, or of tokens, which have no place, marked ones."""
    if inputs.ndim == 2 and not inputs.is_floating_point():
        return SwapTokens(padding).refill(Batch(inputs, labels), irrelevant, generator)
    return swap(inputs, lent_regions(irrelevant, LENT, generator), generator, same_region=False)

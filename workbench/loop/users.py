"""Who answers: a person through `Loop.answer`, or an object with one method; a simulated one for benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explain import resize_mask

from ..errors import LoopError

if TYPE_CHECKING:
    from ..panel import DataPanel

__all__ = ["Answer", "Question", "SimulatedUser", "User"]

RIGHT, SHORTCUT, WRONG = "right for the right reason", "right for the wrong reason", "wrong"

# From a true mask, (height, width) or (features,), bool, and a generator, to what a hand would have painted.
Strokes: TypeAlias = Callable[[NDArray[np.bool_], np.random.Generator], NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class Question:
    """One row that the loop asks about, and what it shows of it.

    Attributes
    ----------
    key : str
        Of the row.
    query : str
        Why this row: the name of the query that chose it.
    label : str or None
        As the panel has it, corrections applied.
    prediction : str
        Class that the model says.
    confidence : float
        Its probability.
    explanation : Tensor, shape of the model's input
        What the model looked at.
    """

    key: str
    query: str
    label: str | None
    prediction: str
    confidence: float
    explanation: Tensor


@dataclass(frozen=True, eq=False)
class Answer:
    """What somebody says about a row: a verdict, and what follows from it.

    Attributes
    ----------
    verdict : str
        One of `feedback.VERDICTS`.
    label : str or None
        What the label should be, where that is worth saying.
    irrelevant, relevant : Region, boolean mask, or spans, or None
        What must not matter, and what should.
    note : str or None
        Anything else.
    """

    verdict: str
    label: str | None = None
    irrelevant: Any = None
    relevant: Any = None
    note: str | None = None


class User(Protocol):
    """Somebody who answers.

    Attributes
    ----------
    name : str or None
        The author of what is said; None is the author of the log.
    how : str
        How it comes about: ``"painted"``, or ``"simulated"``.
    """

    name: str | None
    how: str

    def answer(self, question: Question) -> Answer:
        """Answer one question."""
        ...


class SimulatedUser:
    """Answers from the truth, as the three cases of [1]_ have it; for benchmarks, and said so in each record.

    Wrong, whatever the reason: the label, and nothing else. Right, and the explanation shown points at what must not
    matter: the region that must not. Right for the right reason: nothing.

    Parameters
    ----------
    panel : DataPanel
        The truth, by key: labels, and the mask of what must not matter.
    irrelevant : str
        Column of these masks; an empty or null one says that there is nothing.
    label : str
        Column of the true labels.
    tolerance : float
        Share of the explanation's magnitude that may lie on the mask of a right reason.
    strokes : callable, optional
        From a true mask and a generator to what is painted: a person is not exact.
    rationales : bool
        Whether regions are given at all. If not, each answer is the verdict and the label.
    seed : int
        Draws the strokes.

    References
    ----------
    .. [1] S. Teso, K. Kersting, "Explanatory Interactive Machine Learning", AIES 2019.

    Examples
    --------
    >>> from workbench import DataPanel, ScalarColumn, TensorColumn
    >>> truth = {"mark": TensorColumn(np.array([[True, False]])), "label": ScalarColumn(["no"], classes=("no", "yes"))}
    >>> user = SimulatedUser(DataPanel(truth, origin="rows"), "mark")
    >>> user.answer(Question("rows/0", "margin", "no", "no", 0.9, torch.tensor([3.0, 1.0])))
    Answer(verdict='right for the wrong reason', label=None, irrelevant=array([ True, False]), relevant=None, note=None)
    >>> user.answer(Question("rows/0", "margin", "no", "yes", 0.9, torch.tensor([3.0, 1.0]))).label
    'no'
    """

    name: str | None = "simulated user"
    how = "simulated"

    def __init__(
        self,
        panel: DataPanel,
        irrelevant: str,
        *,
        label: str = "label",
        tolerance: float = 0.2,
        strokes: Strokes | None = None,
        rationales: bool = True,
        seed: int = 0,
    ) -> None:
        if not 0 <= tolerance < 1:
            raise LoopError(f"`tolerance` is a share of the explanation, in [0, 1); got {tolerance}.")
        self.tolerance, self.strokes, self.rationales, self.seed = tolerance, strokes, rationales, seed
        self._masks, self._labels = panel[irrelevant], panel[label]
        self._place = {key: row for row, key in enumerate(panel.key.to_list())}

    def answer(self, question: Question) -> Answer:
        """Answer one question from the truth.

        Raises
        ------
        LoopError
            If the row is not in the panel of the truth.
        """
        row = self._place.get(question.key)
        if row is None:
            raise LoopError(f"The simulated user knows the truth about {len(self._place)} rows; not '{question.key}'.")
        label = self._labels[row]
        if question.prediction != label:
            return Answer(WRONG, label=label)
        known = self._masks[row]
        mask = torch.zeros(()) if known is None else torch.as_tensor(known)
        reason = SHORTCUT if mask.any() and _share(question.explanation, mask) > self.tolerance else RIGHT
        if not self.rationales:
            return Answer(reason, label=label)
        # A label that is right already is not worth a record.
        given = label if question.label != label else None
        if reason == RIGHT:
            return Answer(RIGHT, label=given)
        painted: NDArray[np.bool_] = mask.bool().numpy()
        if self.strokes is not None:
            # By the row, so that it is painted alike whenever it is asked about.
            painted = self.strokes(painted, np.random.default_rng([self.seed, row]))
        return Answer(SHORTCUT, label=given, irrelevant=painted)


def _share(explanation: Tensor, mask: Tensor) -> float:
    """Return the share of an explanation's magnitude that lies on a mask; 0 where it says nothing."""
    size = explanation.detach().abs().cpu().double()
    size = size.sum(dim=0) if size.ndim == 3 else size
    if mask.shape != size.shape and mask.ndim == 2 and size.ndim == 2:
        mask = resize_mask(mask[None].bool(), tuple(size.shape))[0]
    total = float(size.sum())
    return float(size[mask.bool()].sum()) / total if total > 0 else 0.0

"""What a training was asked to do, and what came out of it."""

import math
import warnings
from dataclasses import dataclass

import numpy as np

from explain import Counterexample, RationaleLoss

from .classifier import Classifier
from .errors import RunError
from .guard import Check
from .schedule import DECAYS
from .weights import check_choice

__all__ = [
    "DivergedError",
    "InterruptedTrainingWarning",
    "Step",
    "Training",
    "TrainingSettings",
    "UnchangedModelWarning",
    "UnguardedWarning",
    "warn_of_selection",
]

PRECISIONS = ("bfloat16", "float16")


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that decides a training, beside its data and the weights that it starts from.

    Attributes
    ----------
    steps, batch_size : int
        Optimiser steps, and rows in each.
    lr : float
        Learning rate after the warm-up.
    seed : int
        Draws batches, refills and dropout; not negative.
    beta2, weight_decay : float
        Of AdamW.
    warmup : int
        Steps over which the learning rate rises; of a training of fewer than twice as many, its first half.
    decay : {"constant", "cosine"}
        What the learning rate does after the warm-up.
    counterexamples : Counterexample or None
        Replaces each batch in the task loss.
    loss : RationaleLoss or None
        Added to the task loss, as a mean over annotated rows. A weight "auto" is settled on the first
        batch on which it acts; `Training.loss` has the number.
    penalty_from : float
        Share of the steps after which `loss` is added.
    freeze_statistics : bool
        Whether the running statistics of normalisation layers stay as they are; they do wherever not all
        weights are trained.
    weights : {"all", "head", "last:n", "lora", "lora:rank"}
        What is trained: everything, the last linear layer, the last n layers that have weights, or low-rank
        additions to the linear and convolutional layers (rank 8), and the head; see `workbench.weights`.
    accumulate : int
        Passes that the rows of a step are split into, where memory does not hold them all at once. The gradient is
        that of one pass, up to rounding; not so with dropout, which draws for each pass, or with batch normalisation
        in training mode, which normalises by the rows of each.
    balance : float or None
        Share of each batch for rows about which something was said, none of them twice in a batch; None deals all
        rows alike.
    checks : int
        Looks at the validation rows, spread evenly, beside the one before the first step.
    patience : int or None
        Looks without a new best accuracy after which the training stops, counted from where `loss` acts; None
        makes every step.
    autocast : {"bfloat16", "float16"} or None
        Precision of the forward passes. With float16 the loss is scaled, and the penalty stays in full
        precision, below whose range its gradients would fall.
    compile : bool or str
        Whether the pass of the task loss is compiled, or by which backend of `torch.compile`. The penalty, which
        is differentiated twice, never is.
    """

    steps: int
    batch_size: int
    lr: float
    seed: int = 0
    beta2: float = 0.999
    weight_decay: float = 0.0
    warmup: int = 0
    decay: str = "constant"
    counterexamples: Counterexample | None = None
    loss: RationaleLoss | None = None
    penalty_from: float = 0.0
    freeze_statistics: bool = False
    weights: str = "all"
    accumulate: int = 1
    balance: float | None = None
    checks: int = 10
    patience: int | None = None
    autocast: str | None = None
    compile: bool | str = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise RunError(f"`steps` and `batch_size` must be at least 1; got {self.steps} and {self.batch_size}.")
        if not 0 < self.lr < math.inf:
            raise RunError(f"`lr` must be positive and finite; got {self.lr}.")
        if isinstance(self.seed, bool) or not isinstance(self.seed, (int, np.integer)) or not 0 <= self.seed < 2**63:
            raise RunError(f"`seed` must be a whole number, not negative and below 2^63; got {self.seed!r}.")
        object.__setattr__(self, "seed", int(self.seed))  # torch takes no number of NumPy
        if self.decay not in DECAYS:
            raise RunError(f"`decay` must be one of {', '.join(DECAYS)}; got {self.decay!r}.")
        if not 0 <= self.penalty_from <= 1:
            raise RunError(f"`penalty_from` must be a share of the steps, in [0, 1]; got {self.penalty_from}.")
        check_choice(self.weights)
        if self.accumulate < 1 or self.checks < 1:
            raise RunError(f"`accumulate` and `checks` must be at least 1; got {self.accumulate} and {self.checks}.")
        if self.balance is not None and not 0 < self.balance < 1:
            raise RunError(f"`balance` must be a share of each batch, in (0, 1), or None; got {self.balance}.")
        if self.patience is not None and self.patience < 1:
            raise RunError(f"`patience` must be at least 1 look without gain, or None; got {self.patience}.")
        if self.autocast is not None and self.autocast not in PRECISIONS:
            raise RunError(f"`autocast` must be one of {', '.join(PRECISIONS)}, or None; got {self.autocast!r}.")


@dataclass(frozen=True)
class Step:
    """Figures of one step.

    Attributes
    ----------
    number, of : int
        From 1, and how many there are to be.
    task_loss, penalty : float
        In nats; the penalty is weighted, and 0 before it starts.
    annotated : int
        Rows of the batch about which something was said.
    lr : float
        Learning rate.
    """

    number: int
    of: int
    task_loss: float
    penalty: float
    annotated: int
    lr: float


@dataclass(frozen=True, eq=False)
class Training:
    """What came out of a training, and how.

    Attributes
    ----------
    model : Classifier
        The new one; the one that it started from is unchanged.
    settings : TrainingSettings
        As asked for.
    loss : RationaleLoss or None
        The rationale loss with its weights settled.
    steps : tuple of Step
        The steps done.
    checks : tuple of Check
        Looks at the validation rows; empty without any.
    kept_step : int
        Steps done in the state that `model` is in.
    guarded : bool
        Whether the state was chosen on rows of which at least one in twenty had a mark; they were refilled. If not,
        a shortcut may have chosen it.
    interrupted : bool
        Whether it was stopped from outside.
    seconds : float
        Wall time.
    stopped_early : bool
        Whether it stopped by itself, after `patience` looks without gain.
    refilled, chosen_on : int
        Validation rows with a marked region, which was refilled, and validation rows in all; 0 without any.
    """

    model: Classifier
    settings: TrainingSettings
    loss: RationaleLoss | None
    steps: tuple[Step, ...]
    checks: tuple[Check, ...]
    kept_step: int
    guarded: bool
    interrupted: bool
    seconds: float
    stopped_early: bool = False
    refilled: int = 0
    chosen_on: int = 0

    def __repr__(self) -> str:
        stopped = ", interrupted" if self.interrupted else ", stopped early" if self.stopped_early else ""
        return (
            f"Training({len(self.steps)} of {self.settings.steps} steps{stopped}, {self.seconds:.1f} s; "
            f"{self.selection})"
        )

    @property
    def selection(self) -> str:
        """How the state kept was chosen, in words."""
        if not self.checks:
            return "last state kept, chosen by nothing"
        guard = "with the marked regions refilled" if self.guarded else "NOT guarded against the shortcut"
        count = f" ({self.refilled} of {self.chosen_on} refilled)" if self.chosen_on else ""
        return f"state after {self.kept_step} steps kept, chosen on validation rows {guard}{count}"


class InterruptedTrainingWarning(UserWarning):
    """A training was interrupted; what was trained is kept."""


class UnchangedModelWarning(UserWarning):
    """No state of a training did better on the validation rows than the one it started from."""


class UnguardedWarning(UserWarning):
    """Too few validation rows have a marked region to refill: the shortcut may have chosen the state that is kept."""


class DivergedError(RunError):
    """The loss or its gradient is no longer a number.

    Attributes
    ----------
    training : Training
        What was trained before that step.
    """

    def __init__(self, message: str, training: Training) -> None:
        super().__init__(message)
        self.training = training


def warn_of_selection(training: Training, *, stacklevel: int) -> None:
    """Warn of what a reader of the figures must know: nothing helped, or the shortcut may have chosen the state.

    Parameters
    ----------
    training : Training
        Whose state was chosen on validation rows.
    stacklevel : int
        Callers above the one of this function to whom the warnings are shown to belong.

    Warns
    -----
    UnchangedModelWarning, UnguardedWarning
    """
    settings, rows = training.settings, training.chosen_on
    if training.kept_step == 0:
        refilled = ", marked regions refilled" if training.guarded else ""
        warnings.warn(
            f"The training did not help: on {rows} validation rows{refilled}, no state after {len(training.steps)} "
            f"steps did as well as the start ({training.checks[0].accuracy:.3f}), which is returned. Another loss, a "
            "larger weight, counterexamples, or more steps may.",
            UnchangedModelWarning,
            stacklevel=stacklevel + 1,
        )
    if not training.guarded and (settings.loss is not None or settings.counterexamples is not None):
        few = f"Only {training.refilled}" if training.refilled else "None"
        have = "have" if training.refilled > 1 else "has"
        warnings.warn(
            f"{few} of {rows} validation rows {have} a region of what must not matter: the state that is kept was NOT "
            "guarded against the shortcut when it was chosen. Mark more rows, or propagate marks to those like them.",
            UnguardedWarning,
            stacklevel=stacklevel + 1,
        )

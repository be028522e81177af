"""What a training was asked to do, and what came out of it."""

import math
from dataclasses import dataclass

from explain import Counterexample, RationaleLoss

from .classifier import Classifier
from .errors import RunError
from .guard import Check
from .schedule import DECAYS

__all__ = [
    "DivergedError",
    "InterruptedTrainingWarning",
    "Step",
    "Training",
    "TrainingSettings",
    "UnchangedModelWarning",
]


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
        Draws batches, refills and dropout.
    beta2, weight_decay : float
        Of AdamW.
    warmup : int
        Steps over which the learning rate rises.
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
        Whether the running statistics of normalisation layers stay as they are.
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

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise RunError(f"`steps` and `batch_size` must be at least 1; got {self.steps} and {self.batch_size}.")
        if not 0 < self.lr < math.inf:
            raise RunError(f"`lr` must be positive and finite; got {self.lr}.")
        if self.decay not in DECAYS:
            raise RunError(f"`decay` must be one of {', '.join(DECAYS)}; got {self.decay!r}.")
        if not 0 <= self.penalty_from <= 1:
            raise RunError(f"`penalty_from` must be a share of the steps, in [0, 1]; got {self.penalty_from}.")


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
        Whether the state was chosen on rows whose marked regions were refilled. If not, a shortcut
        may have chosen it.
    interrupted : bool
        Whether it was stopped from outside.
    seconds : float
        Wall time.
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

    def __repr__(self) -> str:
        stopped = ", interrupted" if self.interrupted else ""
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
        return f"state after {self.kept_step} steps kept, chosen on validation rows {guard}"


class InterruptedTrainingWarning(UserWarning):
    """A training was interrupted; what was trained is kept."""


class UnchangedModelWarning(UserWarning):
    """No state of a training did better on the validation rows than the one it started from."""


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

"""From how long a training is to be to a number of steps, which a record can hold and repeat."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from explain import RationaleLoss

from .classifier import Classifier
from .errors import RunError
from .guard import Check, Draw, Guard
from .record import Step, TrainingSettings
from .training import train

__all__ = ["steps_in_epochs", "steps_in_minutes"]

# Steps on a copy that is thrown away; fewer where they alone take this share of the time there is.
CALIBRATION = 10
SHARE = 0.3


def steps_in_epochs(epochs: float, rows: int, batch_size: int) -> int:
    """Return how many steps it takes to see each row so many times.

    Parameters
    ----------
    epochs : float
        Passes over the rows; need not be whole.
    rows : int
        Rows to train on.
    batch_size : int
        Rows in each step; what is left at the end of a pass is not dealt.

    Returns
    -------
    int
        At least one.

    Raises
    ------
    RunError
        If `epochs` is not positive.

    Examples
    --------
    >>> steps_in_epochs(1.5, rows=1000, batch_size=100)
    15
    """
    if not 0 < epochs < float("inf"):
        raise RunError(f"`epochs` must be positive and finite; got {epochs}.")
    return max(1, round(epochs * max(1, rows // batch_size)))


def steps_in_minutes(
    minutes: float,
    classifier: Classifier,
    draw: Draw,
    rows: NDArray[np.int64],
    settings: TrainingSettings,
    *,
    validation: NDArray[np.int64] | None = None,
    annotated: NDArray[np.int64] | None = None,
) -> int:
    """Return how many steps fit into some minutes, from ten steps with a copy that is thrown away.

    What is timed is what will happen: drawing rows, the task loss, the penalty in its share of the steps, and the
    looks at the validation rows. The time that the timing takes is part of the minutes.

    Parameters
    ----------
    minutes : float
        Wall time.
    classifier, draw, rows, validation, annotated
        As for `train`; the classifier is not changed.
    settings : TrainingSettings
        Of which the number of steps is not read.

    Returns
    -------
    int
        At least one.

    Raises
    ------
    RunError, ExplainError, DivergedError
        As for `train`, or if `minutes` is not positive.
    """
    if not 0 < minutes < float("inf"):
        raise RunError(f"`minutes` must be positive and finite; got {minutes}.")
    started = time.perf_counter()
    clock = _Clock(started + SHARE * 60 * minutes)
    shorter = replace(settings, steps=CALIBRATION, patience=None, checks=1)
    with warnings.catch_warnings():
        # They come again, in the training itself.
        warnings.simplefilter("ignore")
        try:
            done = train(classifier, draw, rows, shorter, annotated=annotated, progress=False, watch=clock)
            if done.interrupted:
                raise KeyboardInterrupt
        except _EnoughError:
            pass
        look = 0.0
        if validation is not None:
            before = time.perf_counter()
            Guard(draw, validation, 4 * settings.batch_size, settings.seed).accuracy(classifier)
            look = time.perf_counter() - before
    plain, penalised = clock.seconds(settings.penalty_from if settings.loss is not None else 1.0)
    share = settings.penalty_from if settings.loss is not None else 1.0
    step = share * plain + (1 - share) * penalised
    # What was compiled for the copy is compiled again.
    again = clock.start_up if settings.compile else 0.0
    left = 60 * minutes - (time.perf_counter() - started) - again - (settings.checks + 1) * look
    return max(1, int(left / step))


class _EnoughError(Exception):
    """The time to calibrate in is over."""


class _Clock:
    """A watch that notes when steps ended, and calls it a day when the time to do so is over."""

    def __init__(self, until: float) -> None:
        self._until = until
        self._ends: list[float] = []

    def began(self, settings: TrainingSettings, loss: RationaleLoss | None) -> None:
        self._began = time.perf_counter()

    def stepped(self, step: Step) -> None:
        self._ends.append(time.perf_counter())
        if len(self._ends) > 2 and self._ends[-1] > self._until:
            raise _EnoughError

    def checked(self, check: Check) -> None:
        """There is no validation."""

    def kept(self, step: int, state: Mapping[str, Tensor]) -> None:
        """Nothing is kept."""

    @property
    def start_up(self) -> float:
        """Seconds by which the first step took longer than the second."""
        return max(0.0, 2 * self._ends[0] - self._began - self._ends[1])

    def seconds(self, penalty_from: float) -> tuple[float, float]:
        """Return seconds per step before and after the penalty starts; where one was not seen, those of the other."""
        times = np.diff(self._ends).tolist()
        # The first step is not among them: much happens once in a process.
        first = max(0, int(np.ceil(penalty_from * CALIBRATION)) - 1)
        plain, penalised = times[:first], times[first:]
        return fmean(plain or times), fmean(penalised or times)

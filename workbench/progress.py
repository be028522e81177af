"""Showing how a training goes on, or passing it on to somebody who watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from torch import Tensor
from tqdm.auto import tqdm

from explain import RationaleLoss

from .guard import Check
from .record import Step

if TYPE_CHECKING:
    from .record import TrainingSettings

__all__ = ["Progress", "Watch", "reporting"]

Progress: TypeAlias = bool | Callable[[Step], None]


class Watch(Protocol):
    """Whoever is told how a training goes on: a front end, or what records a run.

    What it raises ends the training; KeyboardInterrupt ends it as Ctrl-C does.
    """

    def began(self, settings: TrainingSettings, loss: RationaleLoss | None) -> None:
        """Be told before the first step: settings in which minutes or epochs are a number of steps already."""

    def stepped(self, step: Step) -> None:
        """Be told the figures of each step."""

    def checked(self, check: Check) -> None:
        """Be told each look at the validation rows."""

    def kept(self, step: int, state: Mapping[str, Tensor]) -> None:
        """Be given each state to keep, by steps done; without validation, the state now and then, and the last.

        The tensors are a copy that nothing changes later, under the names of the classifier's own module.
        """


class _Reporter:
    """Tells a bar, a function and a watch, as far as they are there."""

    def __init__(self, bar: Any, call: Callable[[Step], None] | None, watch: Watch | None) -> None:
        self._bar, self._call, self._watch = bar, call, watch
        self._figures: dict[str, str] = {}

    def began(self, settings: TrainingSettings, loss: RationaleLoss | None) -> None:
        if self._watch is not None:
            self._watch.began(settings, loss)

    def stepped(self, step: Step) -> None:
        if self._watch is not None:
            self._watch.stepped(step)
        if self._bar is not None:
            self._figures |= {"loss": f"{step.task_loss:.3f}", "penalty": f"{step.penalty:.4f}"}
            self._bar.set_postfix(self._figures, refresh=False)
            self._bar.update()
        if self._call is not None:
            self._call(step)

    def checked(self, check: Check) -> None:
        if self._watch is not None:
            self._watch.checked(check)
        self._figures["refilled"] = f"{check.accuracy:.3f}"

    def kept(self, step: int, state: Mapping[str, Tensor]) -> None:
        if self._watch is not None:
            self._watch.kept(step, state)


@contextmanager
def reporting(progress: Progress, steps: int, watch: Watch | None = None) -> Iterator[Watch]:
    """Give a watch that shows or passes on the figures of a training.

    Parameters
    ----------
    progress : bool or callable
        Whether to show a bar, in a notebook or a terminal, with task loss, penalty, and accuracy on the validation
        rows with their marked regions refilled; or what to call with each `Step`.
    steps : int
        How many there are to be.
    watch : Watch, optional
        Told everything as well.

    Yields
    ------
    Watch
        To be told.

    Examples
    --------
    >>> seen = []
    >>> with reporting(seen.append, steps=1) as told:
    ...     told.stepped(Step(1, 1, task_loss=0.5, penalty=0.0, annotated=0, lr=0.1))
    >>> seen[0].task_loss
    0.5
    """
    if callable(progress):
        yield _Reporter(None, progress, watch)
        return
    # In a file or a pipe every refresh is a line of its own, so there are few of them.
    every = 0.1 if sys.stderr.isatty() else 2.0
    with tqdm(total=steps, unit="step", disable=not progress, mininterval=every) as bar:
        yield _Reporter(bar, None, watch)

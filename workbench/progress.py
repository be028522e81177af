"""Showing how a training goes on, or passing it on to somebody who does."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from tqdm.auto import tqdm

from .record import Step

__all__ = ["Progress", "reporting"]

Progress: TypeAlias = bool | Callable[[Step], None]


@contextmanager
def reporting(progress: Progress, steps: int) -> Iterator[Callable[[Step], None]]:
    """Give a function that shows or passes on the figures of each step.

    Parameters
    ----------
    progress : bool or callable
        Whether to show a bar, in a notebook or a terminal; or what to call with each `Step`.
    steps : int
        How many there are to be.

    Yields
    ------
    callable
        To be called after each step.

    Examples
    --------
    >>> seen = []
    >>> with reporting(seen.append, steps=1) as report:
    ...     report(Step(1, 1, task_loss=0.5, penalty=0.0, annotated=0, lr=0.1))
    >>> seen[0].task_loss
    0.5
    """
    if callable(progress):
        yield progress
        return
    # In a file or a pipe every refresh is a line of its own, so there are few of them.
    every = 0.1 if sys.stderr.isatty() else 2.0
    with tqdm(total=steps, unit="step", disable=not progress, mininterval=every) as bar:

        def show(step: Step) -> None:
            bar.set_postfix(loss=f"{step.task_loss:.3f}", penalty=f"{step.penalty:.4f}", refresh=False)
            bar.update()

        yield show

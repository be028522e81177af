"""What a page is told of a training: its steps in packets, what came out of it, and what that changed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from explain import RationaleLoss

from ..guard import Check
from ..record import Step, TrainingSettings
from .tasks import Task
from .telling import Event

if TYPE_CHECKING:
    from ..comparison import Comparison
    from ..runs import Run

__all__ = ["TrainingWatch", "change_event", "words_of_run"]


class TrainingWatch:
    """Tells a page how a training goes on, and ends it as Ctrl-C does where somebody asks to stop."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._of = 0
        self._steps: list[list[float]] = []
        self._checks: list[list[float]] = []

    def began(self, settings: TrainingSettings, loss: RationaleLoss | None) -> None:
        self._of = settings.steps
        self._task.say(0, settings.steps, "Training.")

    def stepped(self, step: Step) -> None:
        self._steps.append([step.number, step.task_loss, step.penalty, step.annotated])
        self._task.say(step.number)
        self._task.gather(self._packet)
        self._stop_if_asked()

    def checked(self, check: Check) -> None:
        # Not stopped here: the state that it speaks of is only kept after this.
        self._checks.append([check.step, check.accuracy])
        self._task.gather(self._packet)

    def kept(self, step: int, state: Mapping[str, Tensor]) -> None:
        self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self._task.stopped:
            raise KeyboardInterrupt

    def _packet(self) -> Event | None:
        """Return what came since the last packet; called by the thread that tells."""
        steps, checks = self._steps[:], self._checks[:]
        del self._steps[: len(steps)], self._checks[: len(checks)]
        return {"event": "steps", "steps": steps, "checks": checks, "of": self._of} if steps or checks else None


def words_of_run(run: Run) -> str:
    """Return what came out of a training, in words."""
    done, rows = len(run.steps), run.chosen_on
    told = f"{done:,} of {run.settings.steps:,} steps in {run.seconds:.0f} s; {run.selection}."
    if run.interrupted:
        told = f"Stopped after {told}"
    if run.kept_step == 0:
        told += " No state did better than the start: another loss, a larger weight or more steps may."
    if not run.guarded:
        told += (
            f" Only {run.refilled:,} of the {rows:,} rows to choose the state by have a mark: mark more rows, or "
            "spread marks to those like them."
        )
    return told


def change_event(comparison: Comparison) -> Event:
    """Return what a comparison found, as the page is told it."""
    return {
        "event": "compared",
        "figures": [[words, _finite(before), _finite(after)] for words, before, after in comparison.table()],
        "fixed": comparison.overall.fixed,
        "broken": comparison.overall.broken,
        "slices": [
            {
                "name": one.name,
                "rows": one.rows,
                "before": _finite(one.before.accuracy),
                "after": _finite(one.after.accuracy),
                "low": None if one.difference is None else _finite(one.difference.low),
                "high": None if one.difference is None else _finite(one.difference.high),
                "fixed": one.fixed,
                "broken": one.broken,
                "p": _finite(one.p_holm),
            }
            for one in comparison.slices
        ],
    }


def _finite(value: float | None) -> float | None:
    """Return a number that JSON has."""
    return None if value is None or not math.isfinite(value) else float(value)

"""What "train" does in a view: a fine-tune by what was said so far, watched, stopped, compared, kept or forgotten."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from columns import Column
from explain.errors import ExplainError

from ..apart import check_apart
from ..classifier import Classifier, as_classifier
from ..comparison import Comparison, compare
from ..errors import OverlapError, RunError, WorkbenchError
from ..finetuning import finetune
from ..predictions import predict
from ..record import TrainingSettings
from ..runs import Run
from ..slices import Slice
from .choices import Choice, losses_of, weights_here
from .jobs import Jobs
from .quiet import told_otherwise
from .sides import Rows, Sides, sides_of
from .tasks import StoppedError, Task, words_of
from .training_events import TrainingWatch, change_event, words_of_run

if TYPE_CHECKING:
    from ..directory import Workbench
    from ..feedback import Feedback
    from ..panel import DataPanel

__all__ = ["Relaunch", "Relaunched"]

_PIECE = 1024  # rows predicted between two looks at whether to stop
_REMEMBERED = 4  # trainings that can still be kept


@dataclass(eq=False)
class Relaunched:
    """A training of a view, and what it changed.

    Attributes
    ----------
    run : Run
        With the new classifier as ``run.model``.
    before : Classifier
        That it started from.
    comparison : Comparison or None
        On the rows to judge by; None where it was stopped before, or nothing could be compared.
    fixed, broken : ndarray of int64
        Numbers, in the panel of the view, of the rows that only the new, or only the old classifier gets right.
    """

    run: Run
    before: Classifier
    comparison: Comparison | None
    fixed: NDArray[np.int64]
    broken: NDArray[np.int64]


class Relaunch:
    """Trains a copy of a classifier by what was said in a view, as a job of it; then shows what has changed.

    Parameters
    ----------
    panel : DataPanel
        Of the view.
    model : Classifier
        Where to start; never changed.
    feedback : Feedback, optional
        What was said; that of the workbench, if there is one.
    jobs : Jobs
        Whose thread it runs in.
    train, judged : DataPanel, str or None
        Which rows are trained on, and which are judged by; see `sides_of`.
    label, source, column : str
        As for `finetune`.
    slices : callable, optional
        Returns the slices to compare by, at the moment when it comes to that.
    bench : Workbench, optional
        The training is a run of it.
    folder : path, optional
        Directory of runs, where there is no workbench; else nothing is written.

    Attributes
    ----------
    panel : DataPanel
        Of the view. May be set anew, as columns are added to it, with the same rows.
    model : Classifier
        That the next training starts from; `keep` sets it.

    Notes
    -----
    What a training in a thread of its own shares with the notebook, while it runs:

    - The global generators of torch, NumPy and Python are seeded for it, and put back as they were when it began. What
      the notebook draws meanwhile comes from the training's stream and moves it: dropout then is not what a replay
      draws. Batches and refills have generators of their own.
    - Filters of warnings stay as they are, but for one that matches nothing outside of this thread: what the training
      warns of is told in the view. Where minutes are chosen, `finetune` silences all warnings of the process while it
      times ten steps, and puts back the filters that it found.
    - Gradient mode and autocast belong to each thread. The module of the user is not touched while a copy is trained;
      while before and after are compared it is in evaluation mode, under the lock of the columns.
    - A stop is heard after each step, not during the timing of the first ten where minutes are chosen.

    Examples
    --------
    >>> import tempfile
    >>> import torch
    >>> from workbench import Classifier, DataPanel, Feedback, ScalarColumn
    >>> x = torch.tensor([[-1.0, -1], [1, 1], [-2, -2], [2, 2], [1, -1], [-1, 1]]).repeat(5, 1)
    >>> labels = ScalarColumn([int(row[0] > 0) for row in x.tolist()], classes=("below", "above"))
    >>> panel = DataPanel({"x": x, "label": labels}, origin="toy")
    >>> log = Feedback(tempfile.mkdtemp() + "/feedback.db", author="ada")
    >>> for key in panel.key.to_list():
    ...     _ = log.mark(key, irrelevant=torch.tensor([False, True]).numpy(), column="x")
    >>> model = Classifier(torch.nn.Linear(2, 2), classes=("below", "above"), on="x")
    >>> events = []
    >>> jobs = Jobs(events.append)
    >>> relaunch = Relaunch(panel, model, log, jobs)
    >>> job = relaunch.start({"loss": "swap", "steps": 5})
    >>> jobs.wait(job)["state"]
    'done'
    >>> [event["event"] for event in events][-2:], relaunch.keep(job)[0] is relaunch.model
    (['compared', 'job'], True)
    >>> jobs.close()
    """

    def __init__(
        self,
        panel: DataPanel,
        model: Classifier,
        feedback: Feedback | None,
        jobs: Jobs,
        *,
        train: Rows = None,
        judged: Rows = None,
        label: str = "label",
        source: str | None = None,
        column: str | None = None,
        slices: Callable[[], Sequence[Slice]] = tuple,
        bench: Workbench | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        self.panel, self.model, self.jobs = panel, as_classifier(model), jobs
        self.label, self.column, self.slices = label, column, slices
        self.bench, self._folder = bench, folder
        self._feedback = feedback
        self._train_on, self._judge_by, self._source = train, judged, source
        self._sides: Sides | None = None
        self._done: dict[int, Relaunched] = {}

    # What there is to choose

    @property
    def losses(self) -> tuple[str, ...]:
        """Names of the losses, the default first."""
        return losses_of(self.model)

    @property
    def weights(self) -> tuple[str, ...]:
        """Which weights may be trained."""
        return weights_here()

    @property
    def sides(self) -> Sides:
        """The rows to train on and to judge by: chosen when first asked for, and the same from then on."""
        if self._sides is None:
            rows = {"train": self._train_on, "judged": self._judge_by}
            self._sides = sides_of(self.panel, self.model, source=self._source, runs=self._runs, **rows)
        return self._sides

    # Training

    def start(self, fields: Mapping[str, Any]) -> int:
        """Begin a training.

        Parameters
        ----------
        fields : mapping
            ``loss``, ``weights``, ``minutes`` or ``steps``, and ``weight``; see `Choice`.

        Returns
        -------
        int
            Number of the job. It tells ``steps`` (in packets), then ``compared``, then how it ended.

        Raises
        ------
        RunError
            If a choice is not among those that there are, or there is nothing to learn from.
        """
        choice = Choice.of(fields)
        model, settings = self.model, choice.settings(self.model)
        if self._log is None:
            raise RunError("A fine-tune needs what somebody said: give the view a feedback log.")
        return self.jobs.start(
            "train", lambda task: self._train(task, model, settings, choice.minutes), words="Waiting."
        )

    def _train(self, task: Task, model: Classifier, settings: TrainingSettings, minutes: float | None) -> str:
        task.say(words="Reading the rows and what was said." if minutes is None else "Timing a few steps.")
        sides = self.sides
        # Not left to `finetune`, which also refuses rows that the start has seen: it is told that these flatter it.
        check_apart(sides.trained, sides.judged, "judged", _there(sides.source, sides.trained))
        watch = TrainingWatch(task)
        with told_otherwise():
            run = self._finetune(model, sides, settings=settings, minutes=minutes, watch=watch)
        nothing: NDArray[np.int64] = np.zeros(0, np.int64)
        found = self._remember(task.id, Relaunched(run, model, None, nothing, nothing))
        told = words_of_run(run)
        try:
            # Also of one that was stopped: who asks to stop again is not made to wait for it.
            told += self._compare(task, found, sides)
        except (WorkbenchError, ExplainError) as error:
            told += f" Before and after could not be compared: {words_of(error)}"
        if run.interrupted:
            raise StoppedError(told)
        return told

    def _finetune(self, model: Classifier, sides: Sides, **how: Any) -> Run:
        how |= {
            "label": self.label, "source": _there(sides.source, sides.trained),
            "column": self.column, "progress": False,
        }  # fmt: skip
        if self.bench is not None:
            return self.bench.finetune(model, sides.trained, **how)
        return finetune(model, sides.trained, self._log, folder=self._folder, **how)

    # Comparing

    def _compare(self, task: Task, found: Relaunched, sides: Sides) -> str:
        """Compare before and after, tell it, and return what must be said of it."""
        # As the panel is now: slices may speak of columns that the view has added since.
        judged = self.panel[sides.judged_rows] if (sides.judged_rows >= 0).all() else sides.judged
        rows, asked = len(judged), task.asked
        if not rows:
            return " There are no other rows to judge it by."
        task.say(0, 2 * rows, f"Comparing before and after on {rows:,} rows.")
        # `compare` finds these again: columns of one expression share what was computed.
        for number, model in enumerate((found.before, found.run.model)):
            answers = predict(judged[[model.on]], model)["prediction"]
            for start in range(0, rows, _PIECE):
                if task.asked > asked:
                    return " It was stopped before it was compared."
                answers[start : start + _PIECE].compute(on_error="null")
                task.say(number * rows + min(start + _PIECE, rows))
        told = ""
        how: dict[str, Any] = {
            "label": self.label, "slices": list(self.slices()), "runs": self._runs,
            "irrelevant": self._marks_of(judged),
        }  # fmt: skip
        try:
            comparison = compare(judged, found.before, found.run, **how)
        except OverlapError:
            comparison = compare(judged, found.before, found.run, seen_rows_too=True, **how)
            told = " One of them has seen rows that they are judged by, so that its figures are flattered."
        changes = np.array(comparison.panel["change"].to_list(), dtype=object)
        there = sides.judged_rows >= 0
        found.fixed, found.broken = (
            np.sort(sides.judged_rows[there & (changes == one)]) for one in ("fixed", "broken")
        )
        found.comparison = comparison
        task.tell(change_event(comparison))
        return told

    def _marks_of(self, judged: DataPanel) -> Column | None:
        """Return what must not matter in the rows to judge by, where somebody said so and it is no text."""
        log, on = self._log, self.model.on
        if log is None or self.column not in (None, on) or judged[on].form not in ("image", "dense"):
            return None
        marked = log.regions(column=on).keys()
        return None if marked.isdisjoint(judged.key.to_list()) else log.column(judged, column=on)

    # Afterwards

    def found(self, job: int) -> Relaunched:
        """Return what a training came to.

        Raises
        ------
        RunError
            If it was forgotten, or has come to nothing.
        """
        if job not in self._done:
            raise RunError("There is nothing of this training: it was discarded, did not end, or others came after it.")
        return self._done[job]

    def fixed(self, job: int, which: str = "fixed") -> NDArray[np.int64]:
        """Return the numbers, in the panel of the view, of the rows that a training fixed or broke."""
        if which not in ("fixed", "broken"):
            raise RunError(f"`which` must be 'fixed' or 'broken'; got {which!r}.")
        found = self.found(job)
        return found.fixed if which == "fixed" else found.broken

    def keep(self, job: int) -> tuple[Classifier, Run]:
        """Return the new classifier and its run; the next training starts from it."""
        found = self.found(job)
        self.model = found.run.model
        return found.run.model, found.run

    def discard(self, job: int) -> None:
        """Forget a training. Its run stays in the directory, if there is one."""
        self._done.pop(job, None)

    def _remember(self, job: int, found: Relaunched) -> Relaunched:
        for old in list(self._done)[: 1 - _REMEMBERED]:
            del self._done[old]
        self._done[job] = found
        return found

    @property
    def _log(self) -> Feedback | None:
        return self._feedback if self.bench is None else self.bench.feedback

    @property
    def _runs(self) -> Any:
        return self._folder if self.bench is None else self.bench.runs.path


def _there(source: str | None, rows: DataPanel) -> str | None:
    """Return the column that copies of one original share, if these rows have it."""
    return source if source is not None and source in rows.columns else None

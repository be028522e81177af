"""A run: a training with its record, in memory or on disk, that can be looked at, saved, and done again."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from torch import Tensor, nn

from explain import RationaleLoss

from ..classifier import Classifier
from ..errors import RunError, RunFileError
from ..guard import Check
from ..record import Step, Training, TrainingSettings
from .folder import RECORD, RunFolder, RunWriter
from .inputs import RunInputs, rows_digest
from .lineage import Maker, maker_of, remember, stored_maker
from .plain import from_plain, to_plain
from .record import RunRecord

if TYPE_CHECKING:
    from ..panel import DataPanel
    from .replay import Replay

__all__ = ["DamagedRunWarning", "Run", "open_runs"]


class DamagedRunWarning(UserWarning):
    """A directory among the runs cannot be opened, and is left out."""


class Run:
    """A training and its record.

    Everything that a `Training` says is here as well: `model`, `settings`, `loss`, `steps`, `checks`, `kept_step`,
    `guarded`, `refilled`, `chosen_on`, `interrupted`, `stopped_early`, `seconds`, `selection`. Made by `begin_run`, or
    by `Run.open`, which reads the record; figures, settings and weights are read when they are asked for.

    Attributes
    ----------
    id, name, kind : str
        See `RunRecord`.
    status : {"running", "done", "interrupted", "failed"}
        When it was made or opened. A run that was left without its process was interrupted.
    path : Path or None
        Its directory, if it is on disk.
    """

    def __init__(
        self,
        record: RunRecord,
        *,
        inputs: RunInputs | None = None,
        training: Training | None = None,
        path: Path | None = None,
        how: dict[str, Any] | None = None,
        status: str = "",
    ) -> None:
        self.id, self.name, self.kind, self.status = record.id, record.name, record.kind, status or record.status
        self.path = path
        self._record, self._inputs, self._training, self._how = record, inputs, training, how or {}
        self._folder = None if path is None else RunFolder(path)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        factory: Callable[..., nn.Module] | None = None,
        preprocess: Callable[[Any], Tensor] | None = None,
        offsets: Callable[[list[str]], Tensor] | None = None,
        trust: Sequence[str] = (),
    ) -> Run:
        """Return the run in a directory, finished or not; another process may still be writing it.

        Parameters
        ----------
        path : str or Path
            The run's own directory.
        factory, preprocess, offsets, trust
            For its models; see `Classifier.open`.

        Returns
        -------
        Run
            As it was at this moment.

        Raises
        ------
        RunFileError
            If it is no run, or is damaged; says where.
        """
        folder = RunFolder(path)
        how = {"factory": factory, "preprocess": preprocess, "offsets": offsets, "trust": trust}
        record, status = folder.look()
        return cls(record, path=folder.root, how=how, status=status)

    def save(self, path: str | os.PathLike[str]) -> Run:
        """Write a run that is in memory to a directory of its own.

        Parameters
        ----------
        path : str or Path
            Must not be there yet.

        Returns
        -------
        Run
            The same one, on disk.

        Raises
        ------
        RunError
            If it is on disk already.
        """
        if self._training is None or self._inputs is None:
            raise RunError(f"Run '{self.id}' is on disk already, at '{self.path}'; copy that directory.")
        writer = RunWriter(Path(path))
        with writer:
            tensors: dict[str, Tensor] = {}
            to_plain((self.settings, self.loss), tensors)
            unfinished = replace(self.record, status="running", ended="", after="", outcome={})
            writer.begin(unfinished, self._inputs, tensors)
            writer.put_result(self._training)
            writer.put_record(self.record, tensors)
        return Run(self.record, inputs=self._inputs, training=self._training, path=writer.root)

    def __repr__(self) -> str:
        name = f" '{self.name}'" if self.name else ""
        figures = f"{len(self.steps)} steps; {self.selection}"
        return f"Run({self.id}{name}, {self.kind}, {self.status}, {figures})"

    # What is written

    @cached_property
    def record(self) -> RunRecord:
        """What is known of it as plain values. In memory, data are hashed when this is first asked for."""
        return self._record if self._inputs is None else self._inputs.complete(self._record)

    @property
    def parent(self) -> str | None:
        """The id of the run that made the model it started from, if that is known."""
        return None if self._record.parent is None else self._record.parent.get("run")

    @cached_property
    def maker(self) -> Maker:
        """What its models remember of it."""
        known = None if self._training is None else maker_of(self._training.model)
        return stored_maker(self._stored.root) if known is None else known

    def keys(self, part: str = "trained") -> list[str]:
        """Return the keys of rows.

        Parameters
        ----------
        part : {"trained", "held out", "all"}
            Those trained on, those that the state was chosen by, or every row that was there.
        """
        if part not in ("trained", "held out", "all"):
            raise RunError(f"`part` must be 'trained', 'held out' or 'all'; got {part!r}.")
        table = self._rows
        pairs = zip(table["key"].to_pylist(), table["part"].to_pylist(), strict=True)
        return [key for key, of in pairs if part in (of, "all")]

    # What the training says

    @cached_property
    def model(self) -> Classifier:
        """The result; of a run that did not end, the best state so far."""
        if self._training is not None:
            return self._training.model
        if self._kept is None:
            raise RunFileError(
                f"Run '{self.id}' is {self.status}, and no state was kept yet. What it started from is in `start`."
            )
        state, notes = self._kept
        model = self._stored.model(state=state, **self._how)
        remember(model, replace(self.maker, weights=notes["digest"]))
        return model

    @cached_property
    def start(self) -> Classifier:
        """A copy of the classifier that it started from."""
        return self._inputs.start.copy() if self._inputs is not None else self._stored.start(**self._how)

    @cached_property
    def settings(self) -> TrainingSettings:
        """As asked for, minutes and epochs as a number of steps."""
        if self._training is not None:
            return self._training.settings
        found = from_plain(self._record.settings, self._tensors)
        if not isinstance(found, TrainingSettings):
            raise RunFileError(f"Run '{self.id}' is damaged: its settings are {type(found).__name__}.")
        return found

    @cached_property
    def loss(self) -> RationaleLoss | None:
        """The rationale loss with its weights settled."""
        if self._training is not None:
            return self._training.loss
        found = from_plain(self._record.loss, self._tensors)
        if found is not None and not isinstance(found, RationaleLoss):
            raise RunFileError(f"Run '{self.id}' is damaged: its loss is {type(found).__name__}.")
        return found

    @property
    def steps(self) -> tuple[Step, ...]:
        """Figures of each step; of one that was killed, as far as they were written."""
        return self._figures[0]

    @property
    def checks(self) -> tuple[Check, ...]:
        """Looks at the validation rows."""
        return self._figures[1]

    @cached_property
    def kept_step(self) -> int:
        """Steps done in the state that `model` is in."""
        if self._training is not None:
            return self._training.kept_step
        try:
            return int(self._kept[1]["step"]) if self._kept is not None else 0
        except (KeyError, ValueError) as error:
            raise RunFileError(f"Run '{self.id}' is damaged: its weights do not tell their step.") from error

    @property
    def guarded(self) -> bool | None:
        """Whether the state was chosen on rows whose marked regions were refilled; None where nobody knows."""
        found: bool | None = self._outcome("guarded", default=None)
        return found

    @property
    def refilled(self) -> int:
        """Validation rows whose marked region was refilled; 0 where nobody knows."""
        return int(self._outcome("refilled", default=0))

    @property
    def chosen_on(self) -> int:
        """Validation rows in all; 0 where nobody knows."""
        return int(self._outcome("chosen_on", default=0))

    @property
    def interrupted(self) -> bool:
        """Whether it was stopped from outside."""
        return self.status == "interrupted"

    @property
    def stopped_early(self) -> bool:
        """Whether it stopped by itself, for want of gain."""
        return bool(self._outcome("stopped_early", default=False))

    @property
    def seconds(self) -> float:
        """Wall time; 0 where the end is not known."""
        return float(self._outcome("seconds", default=0.0))

    @property
    def selection(self) -> str:
        """How the state kept was chosen, in words."""
        if self.status == "running":
            return "not chosen yet"
        if self._record.after:
            return str(self._outcome("selection", default=""))
        return f"best state so far, after {self.kept_step} steps" if self._kept else "no state kept"

    @property
    def training(self) -> Training:
        """All of this as a `Training`."""
        if self._training is not None:
            return self._training
        return Training(
            model=self.model,
            settings=self.settings,
            loss=self.loss,
            steps=self.steps,
            checks=self.checks,
            kept_step=self.kept_step,
            guarded=bool(self.guarded),
            interrupted=self.interrupted,
            seconds=self.seconds,
            stopped_early=self.stopped_early,
            refilled=self.refilled,
            chosen_on=self.chosen_on,
        )

    def replay(
        self,
        panel: DataPanel | None = None,
        feedback: Any = None,
        model: Classifier | None = None,
        **given: Any,
    ) -> Replay:
        """Train again from the record, and compare the weights; see `workbench.runs.replay`.

        Parameters
        ----------
        panel : DataPanel, optional
            Holds the rows, among others; needed for a run that was opened.
        feedback : Feedback, optional
            The log, likewise, if there was one.
        model : Classifier, optional
            Where to start; by default what the run started from.
        **given
            Other arguments that a file does not hold, by name; or `settings`. A panel of validation rows need not be
            given if `panel` holds its keys.

        Returns
        -------
        Replay
            Whether the weights are the same to the last bit, and else what differs.

        Raises
        ------
        RunError
            If something is missing, or the data are others.
        """
        from .replay import replay

        return replay(self, panel, feedback, model, **given)

    # Where it is read

    @property
    def _stored(self) -> RunFolder:
        if self._folder is None:
            raise RunError(f"Run '{self.id}' is not on disk.")
        return self._folder

    @cached_property
    def _kept(self) -> tuple[dict[str, Tensor], dict[str, str]] | None:
        return self._stored.kept()

    @cached_property
    def _rows(self) -> pa.Table:
        if self._inputs is not None:
            return self._inputs.table
        table = self._stored.rows()
        if rows_digest(table) != self._record.rows["keys"]:
            raise RunFileError(f"Run '{self.id}' is damaged: its rows are not those that were written.")
        return table

    @cached_property
    def _figures(self) -> tuple[tuple[Step, ...], tuple[Check, ...]]:
        training = self._training
        return self._stored.figures() if training is None else (training.steps, training.checks)

    @cached_property
    def _tensors(self) -> dict[str, Tensor]:
        return self._stored.tensors()

    def _outcome(self, name: str, *, default: Any) -> Any:
        return self._record.outcome.get(name, default)


def open_runs(folder: str | os.PathLike[str], *, figures: bool = False, **how: Any) -> list[Run]:
    """Return the runs in a directory of runs, in the order of time.

    Parameters
    ----------
    folder : str or Path
        What `begin_run` was given.
    figures : bool
        Read the figures now as well, so that a run whose figures are damaged is left out.
    **how
        As for `Run.open`.

    Returns
    -------
    list of Run
        Empty if there is no such directory.

    Warns
    -----
    DamagedRunWarning
        If one cannot be opened; it is left out.
    """
    root = Path(folder)
    runs: list[Run] = []
    # A directory without a record is one that begins just now, or was killed in its first moment.
    for path in sorted(p for p in root.iterdir() if (p / RECORD).exists()) if root.is_dir() else []:
        try:
            run = Run.open(path, **how)
            if figures:
                _ = run.steps, run.checks
            runs.append(run)
        except RunFileError as error:
            warnings.warn(f"A run is left out: {error}", DamagedRunWarning, stacklevel=2)
    return sorted(runs, key=lambda run: (run._record.started, run.id))

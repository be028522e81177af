"""Recording a training while it runs: begun before its first step, finished with what came out of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from columns import Column
from explain import RationaleLoss

from ..classifier import Classifier
from ..errors import RunError, WorkbenchError
from ..guard import Check
from ..progress import Watch
from ..record import DivergedError, Step, Training, TrainingSettings
from .folder import RunWriter
from .inputs import RunInputs, is_log
from .lineage import Maker, maker_of, parent_of, remember
from .plain import to_plain
from .provenance import computer
from .record import RunRecord, now, outcome
from .run import Run
from .weights import state_digest

if TYPE_CHECKING:
    from ..panel import DataPanel

__all__ = ["Recording", "begin_run"]


def begin_run(
    kind: str,
    model: Classifier,
    panel: DataPanel,
    *,
    columns: Mapping[str, Column] | Sequence[str],
    settings: TrainingSettings,
    feedback: Any = None,
    rows: NDArray[np.int64] | None = None,
    validation: NDArray[np.int64] | DataPanel | None = None,
    call: Mapping[str, Any] | None = None,
    folder: str | os.PathLike[str] | None = None,
    parent: Run | str | None = None,
    name: str = "",
    watch: Watch | None = None,
) -> Recording:
    """Begin to record a training.

    Parameters
    ----------
    kind : {"fit", "finetune"}
        Which function is called, and is called again by a replay.
    model : Classifier
        Where it starts.
    panel : DataPanel
        Whose rows it is trained on.
    columns : mapping of str to Column, or sequence of str
        All that is read: columns of the panel under their names, and what was made of others (masks of a log,
        corrected labels) under names that begin with ``used:``; or names of columns of the panel.
    settings : TrainingSettings
        As far as they are known; `Recording.began` is told those that are settled.
    feedback : Feedback, masks or None
        The third argument of a fine-tune.
    rows, validation : ndarray of int64, DataPanel or None
        Row numbers that are trained on (None: all) and that the state is chosen by, or a panel of these.
    call : mapping, optional
        The other arguments with which the function is called again, settings excepted.
    folder : str or Path, optional
        Directory of runs, in which this one gets its own; if left out, nothing touches the disk.
    parent : Run or str, optional
        Which run, or its id, the model came from; found out if the model is that of a run.
    name : str
        What people call it.
    watch : Watch, optional
        Somebody else who wants to be told.

    Returns
    -------
    Recording
        Its `watch` is one for `train`; and it is a context manager: an error that leaves it is recorded.

    Raises
    ------
    RunFileError
        If the directory cannot be written.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> from workbench.training import fit_rows
    >>> import torch
    >>> panel = DataPanel({"x": [0.0, 1.0], "label": ["low", "high"]})
    >>> model = Classifier(torch.nn.Linear(1, 2), classes=("low", "high"), on="x")
    >>> settings = TrainingSettings(steps=3, batch_size=2, lr=0.1)
    >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1])
    >>> with begin_run("fit", model, panel, columns=["x", "label"], settings=settings) as recording:
    ...     run = recording.finish(fit_rows(model, lambda rows: (x[rows], y[rows], None), 2, steps=3, progress=False))
    >>> run.status, len(run.steps), run.keys("trained") == panel.key.to_list()
    ('done', 3, True)
    """
    named = columns if isinstance(columns, Mapping) else {column: panel[column] for column in columns}
    before = state_digest(model.module.state_dict())
    inputs = RunInputs(
        start=model.copy(),
        panel=panel.copy(),
        columns=dict(named),
        rows=rows,
        validation=validation,
        # A log goes on: what counts is what stood in it now.
        feedback=feedback.at(feedback.version) if is_log(feedback) else feedback,
        call=dict(call or {}),
    )
    origin = parent_of(model, before, parent)
    record = RunRecord.begun(kind, name, computer=computer(model), parent=origin, before=before)
    came = maker_of(model if parent is None else parent)
    return Recording(inputs, record, settings, None if folder is None else Path(folder), watch, came)


class Recording:
    """A training that is being recorded: a `Watch`, and a context manager.

    Made by `begin_run`. Without a directory it only remembers what went in.

    Attributes
    ----------
    id : str
        Of the run.
    path : Path or None
        The run's own directory.
    """

    def __init__(
        self,
        inputs: RunInputs,
        record: RunRecord,
        settings: TrainingSettings,
        folder: Path | None,
        other: Watch | None = None,
        parent: Maker | None = None,
    ) -> None:
        self.id = record.id
        self._other = other
        self.path = None if folder is None else folder / record.id
        self._inputs, self._record, self._parent = inputs, record, parent
        self._writer = None if self.path is None else RunWriter(self.path)
        self._run: Run | None = None
        self._told(settings, settings.loss)
        if self._writer is not None:
            with self._writer.closed_on_error():
                self._record = inputs.complete(self._record)
                self._writer.begin(self._record, inputs, self._tensors)

    def _told(self, settings: TrainingSettings, loss: RationaleLoss | None) -> None:
        """Note settings in the record, their tensors beside it."""
        self._tensors: dict[str, Tensor] = {}
        plain, of_loss = to_plain(settings, self._tensors), to_plain(loss, self._tensors)
        self._record = replace(self._record, seed=int(settings.seed), settings=plain, loss=of_loss)

    # What a training tells

    @property
    def watch(self) -> Watch | None:
        """What `train` is to be given: this, or where nothing is written, only whoever else wants to be told."""
        return self._other if self._writer is None else self

    def began(self, settings: TrainingSettings, loss: RationaleLoss | None) -> None:
        """Record the settings as they are settled."""
        self._told(settings, loss)
        if self._writer is not None:
            self._writer.put_record(self._record, self._tensors)
        if self._other is not None:
            self._other.began(settings, loss)

    def stepped(self, step: Step) -> None:
        """Record the figures of a step."""
        if self._writer is not None:
            self._writer.put_figures(step)
        if self._other is not None:
            self._other.stepped(step)

    def checked(self, check: Check) -> None:
        """Record a look at the validation rows."""
        if self._writer is not None:
            self._writer.put_figures(check)
        if self._other is not None:
            self._other.checked(check)

    def kept(self, step: int, state: Mapping[str, Tensor]) -> None:
        """Record the best state so far."""
        if self._writer is not None:
            self._writer.put_weights(state, step)
        if self._other is not None:
            self._other.kept(step, state)

    # Its end

    def finish(self, training: Training) -> Run:
        """Record what came out, and let go of the run.

        Parameters
        ----------
        training : Training
            What the function returned.

        Returns
        -------
        Run
            On disk if there is a directory.

        Raises
        ------
        RunError
            If it was finished before.
        OSError, WorkbenchError
            If it cannot be written, on a full disk say; what was trained is in ``error.training``.
        """
        if self._run is not None:
            raise RunError(f"A run ends once; '{self.id}' has ended. Begin another one.")
        return self._end(training, "interrupted" if training.interrupted else "done")

    def fail(self, error: BaseException) -> None:
        """Record that the training failed, or was interrupted before it could return anything."""
        words = f"{type(error).__name__}: {error}"
        if isinstance(error, DivergedError):
            self._end(error.training, "failed", words)
            return
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        self._record = replace(self._record, status=status, ended=now(), error=words)
        if self._writer is not None:
            with self._writer:
                self._writer.put_record(self._record, self._tensors)

    def _end(self, training: Training, status: str, error: str = "") -> Run:
        """Record what came out; any error on the way carries it."""
        try:
            return self._ended(training, status, error)
        except BaseException as trouble:
            trouble.__dict__["training"] = training
            trouble.add_note(f"Run '{self.id}' could not be recorded to its end; its training is in `error.training`.")
            raise

    def _ended(self, training: Training, status: str, error: str) -> Run:
        self._told(training.settings, training.loss)
        after = state_digest(training.model.module.state_dict())
        record = replace(self._record, status=status, ended=now(), after=after, outcome=outcome(training), error=error)
        folder = None if self.path is None else self.path.parent
        remember(training.model, Maker(self.id, after, self._inputs.read_rows, self._parent, folder))
        if self._writer is not None:
            with self._writer:
                self._writer.put_result(training)
                self._writer.put_record(record, self._tensors)
        # Not before it is written: a run that fails here ends with the state that was kept, not with this one.
        self._record = record
        self._run = Run(record, inputs=self._inputs, training=training, path=self.path)
        return self._run

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._run is not None:
            return
        try:
            self.fail(error or RunError("The training was left without its result."))
        except (OSError, WorkbenchError) as trouble:
            if error is None:
                raise
            # What went wrong first is what somebody must know.
            error.add_note(f"Nor could it be written that run '{self.id}' failed: {trouble}")

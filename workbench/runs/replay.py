"""Doing a run again from its record, and telling whether the weights come out the same, or what differs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch

from columns import Column

from ..classifier import Classifier
from ..errors import PanelError, RunError
from ..record import (
    DivergedError,
    InterruptedTrainingWarning,
    Step,
    Training,
    TrainingSettings,
    UnchangedModelWarning,
    UnguardedWarning,
)
from .content import column_version, differing_columns
from .inputs import is_log, rows_digest
from .plain import from_plain
from .provenance import code_version, computer, package_versions, same_computing
from .record import RunRecord
from .run import Run
from .weights import state_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..panel import DataPanel

__all__ = ["Replay", "replay"]

# What was read is named after its column, with these before it: of the validation panel, and made for the training.
VALIDATION, USED = "validation:", "used:"


@dataclass(frozen=True, eq=False)
class Replay:
    """What came of doing a run again.

    Attributes
    ----------
    run : Run
        The one that was done again.
    training : Training
        What came out now.
    weights : str
        Digest of the weights now; those of the run are in `expected`.
    expected : str
        Digest of the weights of the run.
    differs : tuple of str
        What is otherwise than it was, in words; it need not have mattered.
    """

    run: Run
    training: Training
    weights: str
    expected: str
    differs: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether the weights are the same to the last bit."""
        return self.weights == self.expected

    def __repr__(self) -> str:
        if self.identical:
            return f"Replay of {self.run.id}: identical weights ({self.weights})"
        known = "; ".join(self.differs) or f"nothing that is recorded; {self._unrecorded()}"
        return f"Replay of {self.run.id}: other weights ({self.weights}, not {self.expected}). What differs: {known}."

    def _unrecorded(self) -> str:
        """Say what of this training may give other bits each time."""
        settings, device = self.training.settings, self.run.record.computer["device"]
        moving = [f"{settings.autocast} precision"] if settings.autocast else []
        moving += ["a compiled pass"] if settings.compile else []
        moving += [f"the device {device}"] if device != "cpu" else []
        if moving:
            return f"{' and '.join(moving)} may give other bits each time"
        return "a function that draws numbers of its own, or remembers what it was called with, is not"


def replay(run: Run, panel: DataPanel | None, feedback: Any, model: Classifier | None, **given: Any) -> Replay:
    """Train again as a run did, and compare; see `Run.replay`.

    As many threads are used as then. A run that was interrupted is interrupted again, at the same step; of one that
    was killed, the best state that was kept is compared.

    Raises
    ------
    RunError
        If the run kept no state to compare with, something is missing, or data, log or model are others.
    """
    record = run.record
    if run.status == "running":
        raise RunError(f"Run '{run.id}' is still running; replay it when it has ended.")
    expected = record.after or (run._kept[1]["digest"] if run._kept else "")
    if not expected:
        raise RunError(f"Run '{run.id}' kept no state that a replay could be compared with.")
    rows = _panel(run, panel)
    settings = given.pop("settings", None) or run.settings
    said, call = _arguments(run, panel, feedback, given)
    changed = [] if panel is None else _data(run, rows, call.get("validation"))
    differs = [*changed, *_surroundings(run, model)]
    start = _start(run, model)
    stop = None if run.status == "done" else run.kept_step + (record.rows["held_out"] > 0)
    if stop == 0:
        done = _untrained(start, settings)
        return Replay(run, done, state_digest(start.module.state_dict()), expected, tuple(differs))
    with same_computing(record.computer), _quiet():
        try:
            made = _function(run.kind)(
                start, rows, *said, settings=settings, progress=False if stop is None else _until(stop), **call
            )
        except DivergedError as error:
            if run.status != "failed":
                raise
            made = error.training
    weights = state_digest(made.model.module.state_dict())
    if weights != expected and isinstance(made, Run):
        differs += _read(record, made.record)
    return Replay(run, made.training if isinstance(made, Run) else made, weights, expected, tuple(differs))


def _function(kind: str) -> Callable[..., Run | Training]:
    from ..finetuning import finetune, fit

    return fit if kind == "fit" else finetune


def _until(stop: int) -> Callable[[Step], None]:
    """Return what interrupts a training after so many steps, as a person did."""

    def stepped(step: Step) -> None:
        if step.number >= stop:
            raise KeyboardInterrupt

    return stepped


def _untrained(start: Classifier, settings: TrainingSettings) -> Training:
    """Return what a training is that was stopped before its first step was done."""
    return Training(
        model=start, settings=settings, loss=settings.loss, steps=(), checks=(), kept_step=0, guarded=False,
        interrupted=True, seconds=0.0,
    )  # fmt: skip


def _read(then: RunRecord, now: RunRecord) -> list[str]:
    """Say what was read otherwise, of what a fine-tune makes of panel and log."""
    changed, _ = differing_columns(then.data, now.data)
    changed += sorted(now.data.keys() ^ then.data.keys())
    rows = [] if then.rows["keys"] == now.rows["keys"] else ["which rows were trained on, and which held out"]
    return [f"what was read as '{name}'" for name in changed] + rows


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the training said already when it ran."""
    with warnings.catch_warnings():
        for known in (InterruptedTrainingWarning, UnchangedModelWarning, UnguardedWarning):
            warnings.simplefilter("ignore", known)
        yield


def _panel(run: Run, panel: DataPanel | None) -> DataPanel:
    """Return the rows of the run, in their order."""
    if panel is None:
        if run._inputs is None:
            raise RunError(
                f"A record holds the keys of the rows, not the rows: give the panel, run.replay(panel). "
                f"Run '{run.id}' read {', '.join(run.record.data)} of {run.record.rows['panel']} rows."
            )
        return run._inputs.panel
    keys = run.keys("all")[: run.record.rows["panel"]]
    if panel.key.to_list() == keys:
        return panel
    try:
        return panel.at_keys(keys)
    except PanelError as error:
        raise RunError(f"The panel must hold the rows that run '{run.id}' was given. {error}") from error


def _data(run: Run, rows: DataPanel, validation: DataPanel | None) -> list[str]:
    """Raise if columns of the panels surely differ from those that were read; say of which nobody can tell."""
    there = {name: column for name in run.record.data if (column := _column(name, rows, validation)) is not None}
    before = {name: run.record.data[name] for name in there}
    gone = sorted(n for n in run.record.data if n not in there and not n.removeprefix(VALIDATION).startswith(USED))
    changed, unknown = differing_columns(before, {name: column_version(column) for name, column in there.items()})
    if changed or gone:
        words = [f"{', '.join(map(repr, changed))} changed"] if changed else []
        words += [f"{', '.join(map(repr, gone))} not there"] if gone else []
        raise RunError(
            f"The panel must hold the data that run '{run.id}' was trained on; columns {' and '.join(words)}."
        )
    return [f"data (nobody can tell whether {', '.join(map(repr, unknown))} changed)"] if unknown else []


def _column(name: str, rows: DataPanel, validation: DataPanel | None) -> Column | None:
    """Return the column of a panel that was read under a name, or None if none has it."""
    if name in rows.columns:
        own: Column = rows[name]
        return own
    found = name.removeprefix(VALIDATION)
    if found == name or validation is None or found not in validation.columns:
        return None
    column: Column = validation[found]
    return column


def _surroundings(run: Run, model: Classifier | None) -> list[str]:
    """Say what of code, packages and computer is otherwise than it was."""
    record = run.record
    differs = []
    if record.code != code_version():
        then, now = record.code.get("distribution"), code_version()["distribution"]
        differs.append(f"code ({then} → {now})" if then != now else f"code (sources of {now} were changed)")
    here = package_versions()
    for name in sorted({*record.packages, *here}):
        then, now = record.packages.get(name, "none"), here.get(name, "none")
        if then != now:
            differs.append(f"package {name} ({then} → {now})")
    facts = computer(_start(run, model))
    for name, then in record.computer.items():
        # Threads are set as they were.
        if name != "threads" and facts.get(name) != then:
            differs.append(f"{name.replace('_', ' ')} ({then} → {facts.get(name)})")
    return differs


def _start(run: Run, model: Classifier | None) -> Classifier:
    """Return where the run started, on the device that it ran on, if that is here."""
    start = model if model is not None else run.start
    digest = state_digest(start.module.state_dict())
    if digest != run.record.before:
        raise RunError(
            f"The model must have the weights that run '{run.id}' started from ({run.record.before}); "
            f"these are {digest}."
        )
    device = torch.device(run.record.computer.get("device", "cpu"))
    if model is None and device.type == "cuda" and torch.cuda.device_count() > (device.index or 0):
        start.module.to(device)
    return start


def _arguments(
    run: Run, panel: DataPanel | None, feedback: Any, given: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return feedback and the other arguments: given now, live ones, or as the record has them."""
    live = {} if run._inputs is None else {**run._inputs.call, "feedback": run._inputs.feedback}
    strange = sorted(set(given) - set(run.record.call))
    if strange:
        raise RunError(
            f"Run '{run.id}' was called without {', '.join(map(repr, strange))}; it was called with: "
            f"{', '.join(run.record.call) or 'nothing'}."
        )
    if feedback is not None:
        given = {**given, "feedback": feedback}
    call = {
        name: _argument(run, name, described, given.get(name, live.get(name)), panel, now=name in given)
        for name, described in run.record.call.items()
    }
    if "feedback" in given and "feedback" not in call:
        raise RunError(f"Run '{run.id}' was not given feedback; replay it without.")
    said = (call.pop("feedback"),) if "feedback" in call else ()
    return said, call


def _argument(run: Run, name: str, described: Any, value: Any, panel: DataPanel | None, *, now: bool) -> Any:
    """Return one argument, checked if it is given now."""
    match described:
        case {"value": plain}:
            return value if now else from_plain(plain)
        case {"column": str(column)}:
            return value if now else column
        case {"given": str()}:
            return value if value is not None else run._stored.given(name)
        case {"log": int(version)}:
            return _log(run, name, value, version)
        case {"panel": int(rows), "keys": str(keys)}:
            if value is None:
                return _held_out(run, name, panel, rows)
            if now and rows_digest(pa.table({"key": value.key.to_arrow()})) != keys:
                raise RunError(
                    f"`{name}` must be the panel of {rows} rows that run '{run.id}' was given; its keys differ."
                )
            return value
    raise RunError(f"Run '{run.id}' is damaged: nobody knows what `{name}` was.")


def _held_out(run: Run, name: str, panel: DataPanel | None, rows: int) -> DataPanel:
    """Return the rows that a state was chosen by, which lay in a panel of their own, from the panel given now."""
    keys = run.keys("all")[run.record.rows["panel"] :]
    if panel is None or name != "validation" or len(keys) != rows:
        raise RunError(f"Run '{run.id}' was given a panel of {rows} rows as `{name}`; give it again.")
    try:
        return panel.at_keys(keys)
    except PanelError as error:
        raise RunError(
            f"Run '{run.id}' was given a panel of {rows} rows as `{name}`; give it again: the other panel does not "
            f"hold them. {error}"
        ) from error


def _log(run: Run, name: str, log: Any, version: int) -> Any:
    """Return a log as it was when the run read it."""
    facts = run.record.feedback or {}
    if log is None:
        raise RunError(
            f"Run '{run.id}' read a log of feedback, version {version} of '{facts.get('path')}'; give it: "
            "run.replay(panel, wb.Feedback(path))."
        )
    if not is_log(log):
        raise RunError(f"`{name}` must be the log of feedback that run '{run.id}' read; got {type(log).__name__}.")
    if log.identity != facts.get("identity"):
        raise RunError(
            f"`{name}` must be the log of feedback that run '{run.id}' read, once at '{facts.get('path')}'; this is "
            f"another one, '{log.path}'."
        )
    if log.version < version:
        raise RunError(
            f"The log must have the records that run '{run.id}' read, up to {version}; it ends at {log.version}."
        )
    return log.at(version)

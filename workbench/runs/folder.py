"""A run on disk, written while it runs; whatever happens to the process, it opens.

::

    20250601-142530-3fa9c2/
      run.json            the record; replaced in one step
      figures.jsonl       each step and each look at the validation rows, as they come
      rows.arrow          keys of the rows, and which were trained on or held out
      settings.safetensors   tensors of the settings, if there are any
      start/              the classifier that it started from
      model/              the best state so far; in the end, the result
      given/              masks that were given as arrays
      .lock               held while it runs; the system lets go of it when the process dies
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, get_type_hints

import pyarrow as pa
from torch import Tensor

from columns import Column, StoreError

from ..classifier import Classifier
from ..errors import NoColumnError, RunFileError
from ..guard import Check
from ..record import Step, Training
from .files import Lines, inside, read_json, read_lines, replace_file, sync_directory, write_json
from .inputs import RunInputs
from .lineage import Maker
from .models import WEIGHTS, open_classifier, save_structure
from .record import RunRecord
from .weights import read_weights, write_weights

__all__ = ["RunFolder", "RunWriter"]

RECORD = "run.json"
FIGURES = "figures.jsonl"
ROWS = "rows.arrow"
TENSORS = "settings.safetensors"
LOCK = ".lock"
START, MODEL, GIVEN = "start", "model", "given"
# Two readers may look at the same moment, and hold the lock for an instant each: a writer holds it for longer.
PATIENCE = 0.2


class RunWriter:
    """Writes a run as it goes on; holds its lock until it is closed.

    Parameters
    ----------
    root : Path
        The run's own directory, which must not be there yet, or be empty.
    """

    def __init__(self, root: Path) -> None:
        from filelock import FileLock

        self.root = root
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise RunFileError(f"A run is written to a directory of its own; '{root}' is there already.")
        (root / MODEL).mkdir(parents=True, exist_ok=True)
        (root / START).mkdir()
        self._lock = FileLock(str(root / LOCK))
        self._lock.acquire(timeout=0)
        self._lines = Lines(root / FIGURES)

    def begin(self, record: RunRecord, inputs: RunInputs, tensors: Mapping[str, Tensor]) -> None:
        """Write what went in; the record last, so that a run is there from then on."""
        from ..panel import DataPanel

        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, inputs.table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_table(inputs.table)
        replace_file(self.root / ROWS, sink.getvalue().to_pybytes())
        for name, column in inputs.given.items():
            DataPanel({name: column}, origin=record.id).save(self.root / GIVEN / name)
        save_structure(inputs.start, self.root / START)
        if not self._linked(record):
            write_weights(self.root / START / WEIGHTS, inputs.start.module.state_dict())
        # The result is built as the start is.
        save_structure(inputs.start, self.root / MODEL, Maker(record.id))
        self.put_record(record, tensors)
        sync_directory(self.root)
        sync_directory(self.root.parent)

    def _linked(self, record: RunRecord) -> bool:
        """Let the weights of the parent run stand here as well, without a copy; return whether that worked.

        Weights are replaced and never written into, so that a second name of the file is as good as a copy.
        """
        parent = record.parent or {}
        if not parent.get("same"):
            return False
        try:
            os.link(self.root.parent / parent["run"] / MODEL / WEIGHTS, self.root / START / WEIGHTS)
            return read_weights(self.root, f"{START}/{WEIGHTS}")[1]["digest"] == record.before
        except (OSError, RunFileError):
            return False

    def put_record(self, record: RunRecord, tensors: Mapping[str, Tensor]) -> None:
        """Replace the record, and before it the tensors that it names."""
        if tensors:
            write_weights(self.root / TENSORS, tensors)
        write_json(self.root / RECORD, record.to_dict())

    def put_figures(self, figures: Step | Check) -> None:
        """Append the figures of a step or a look."""
        self._lines.write(_line(figures))

    def put_weights(self, state: Mapping[str, Tensor], step: int) -> None:
        """Replace the weights of the result by those of a state, after the figures that led to it."""
        self._lines.sync()
        write_weights(self.root / MODEL / WEIGHTS, state, step=str(step))

    def put_result(self, training: Training) -> None:
        """Write what came out: the weights first, and all figures anew."""
        write_weights(self.root / MODEL / WEIGHTS, training.model.module.state_dict(), step=str(training.kept_step))
        # Built as before; but a module may print what it learned.
        save_structure(training.model, self.root / MODEL)
        every: tuple[Step | Check, ...] = (*training.steps, *training.checks)
        lines = [json.dumps(_line(figures)) + "\n" for figures in every]
        self._lines.close()
        replace_file(self.root / FIGURES, "".join(lines).encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Let go of the run."""
        self._lines.close()
        self._lock.release()

    @contextmanager
    def closed_on_error(self) -> Iterator[None]:
        """Let go of the run if what is done fails."""
        try:
            yield
        except BaseException:
            self.__exit__()
            raise


class RunFolder:
    """Reads a run, also one that another process is writing.

    Parameters
    ----------
    root : str or Path
        The run's own directory.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(os.path.realpath(root))

    def record(self) -> RunRecord:
        """Return the record as it is now."""
        if not self.root.is_dir():
            raise RunFileError(f"No run at '{self.root}': there is no such directory.")
        return RunRecord.from_dict(read_json(self.root, RECORD), self.root / RECORD)

    def look(self) -> tuple[RunRecord, str]:
        """Return the record, and whether it is "running", "done", "interrupted" or "failed"."""
        record = self.record()
        if record.status != "running" or self._is_held():
            return record, record.status
        # It may have ended between the two looks.
        record = self.record()
        return record, "interrupted" if record.status == "running" else record.status

    def _is_held(self) -> bool:
        """Return whether a process holds the lock; False as well where nobody could: on a disk that is read only."""
        from filelock import FileLock, Timeout

        path = inside(self.root, LOCK)
        if not path.exists():
            return False
        lock = FileLock(str(path))
        try:
            with lock.acquire(timeout=PATIENCE, poll_interval=0.01):
                return False
        except Timeout:
            return True
        except OSError:
            return False

    def figures(self) -> tuple[tuple[Step, ...], tuple[Check, ...]]:
        """Return the figures written so far."""
        found: dict[str, list[Any]] = {"step": [], "check": []}
        for number, line in enumerate(read_lines(self.root, FIGURES), start=1):
            try:
                ((what, fields),) = line.items()
                found[what].append(_figures({"step": Step, "check": Check}[what], fields))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise RunFileError(f"Line {number} of '{self.root / FIGURES}' is damaged: {error}.") from error
        return tuple(found["step"]), tuple(found["check"])

    def given(self, name: str) -> Column:
        """Return masks that were given as an array, under the name of their argument."""
        from ..storage import open as open_panel

        try:
            column: Column = open_panel(inside(self.root, f"{GIVEN}/{name}"))[name]
        except (StoreError, NoColumnError) as error:
            raise RunFileError(f"'{self.root}' does not hold what was given as `{name}`: {error}") from error
        return column

    def rows(self) -> pa.Table:
        """Return the keys of the rows, "key", and what was done with each, "part"."""
        path = inside(self.root, ROWS)
        try:
            # Read at once: a map would keep the file open.
            table = pa.ipc.open_file(pa.py_buffer(path.read_bytes())).read_all()
            return table.cast(pa.schema([("key", pa.string()), ("part", pa.string())]))
        except (OSError, pa.ArrowException) as error:
            raise RunFileError(f"'{path}' is missing or damaged: {error}") from error

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the settings."""
        return read_weights(self.root, TENSORS)[0] if (self.root / TENSORS).exists() else {}

    def kept(self) -> tuple[dict[str, Tensor], dict[str, str]] | None:
        """Return the weights of the result with their notes, or None if none were kept yet."""
        name = f"{MODEL}/{WEIGHTS}"
        return read_weights(self.root, name) if inside(self.root, name).exists() else None

    def start(self, **how: Any) -> Classifier:
        """Return the classifier that the run started from."""
        inside(self.root, START)
        return open_classifier(self.root / START, **how)

    def model(self, **how: Any) -> Classifier:
        """Return the result, or the best state so far."""
        inside(self.root, MODEL)
        return open_classifier(self.root / MODEL, **how)


def _figures(kind: type[Step | Check], given: dict[str, Any]) -> Step | Check:
    """Return the figures that a line holds; TypeError if one is missing, unknown or of another type."""
    for name, wanted in get_type_hints(kind).items():
        if name in given and not _is(given[name], wanted):
            kinds = getattr(wanted, "__name__", wanted)
            raise TypeError(f"'{name}' must be of type {kinds}; got {given[name]!r}"[:200])
    return kind(**given)


def _is(value: Any, wanted: Any) -> bool:
    """Return whether a value from JSON is of a type; a whole number may stand for a float, and a truth for neither."""
    if isinstance(value, bool):
        return wanted is bool
    return isinstance(value, int | float if wanted is float else wanted)


def _line(figures: Step | Check) -> dict[str, Any]:
    return {"check" if isinstance(figures, Check) else "step": vars(figures)}

"""What goes into a run: live objects, which a replay in the same process takes again, and what is written of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from columns import Column
from columns.expression import take

from ..classifier import Classifier
from ..infer import as_column
from .content import column_version
from .plain import to_plain
from .record import RunRecord

if TYPE_CHECKING:
    from ..panel import DataPanel

__all__ = ["RunInputs", "is_log", "log_facts", "rows_digest", "rows_table"]

TRAINED, HELD_OUT = "trained", "held out"


@dataclass(eq=False)
class RunInputs:
    """What a run was begun with.

    Attributes
    ----------
    start : Classifier
        A copy, which nobody changes.
    panel : DataPanel
        As it was: columns are immutable.
    columns : mapping of str to Column
        What is read: inputs, labels, masks.
    rows, validation : ndarray of int64, DataPanel or None
        Row numbers trained on, all of the panel's if None, and held out; rows to choose by may be of another panel.
    feedback : object
        The log, the masks, or None.
    call : mapping
        The other arguments of the function.
    """

    start: Classifier
    panel: DataPanel
    columns: Mapping[str, Column]
    rows: NDArray[np.int64] | None
    validation: NDArray[np.int64] | DataPanel | None
    feedback: Any
    call: Mapping[str, Any]

    @cached_property
    def data(self) -> dict[str, dict[str, str]]:
        """Versions of what was read, by column; looked up when first asked for."""
        return {name: column_version(column) for name, column in self.columns.items()}

    @cached_property
    def table(self) -> pa.Table:
        """Keys of the rows, "key", and what was done with each, "part": trained, held out, or null."""
        return self.read_rows()

    @cached_property
    def read_rows(self) -> Callable[[], pa.Table]:
        """What returns `table`, and holds nothing but keys."""
        by = self.validation
        held = by if by is None or isinstance(by, np.ndarray) else by.key
        return partial(rows_table, self.panel.key, self.rows, held)

    @cached_property
    def given(self) -> dict[str, Column]:
        """Arguments that are values of each row, of which no column of the panel is the same, by name."""
        return {
            name: as_column(value, None, name)
            for name, value in self._arguments()
            if self._is_rows(value) and self._same_column(value) is None
        }

    def complete(self, record: RunRecord) -> RunRecord:
        """Return a record with the versions of the data, the rows and the arguments."""
        if record.rows:
            return record
        parts = self.table["part"].to_pylist()
        return replace(
            record,
            data=self.data,
            rows={
                "panel": len(self.panel),
                "trained": parts.count(TRAINED),
                "held_out": parts.count(HELD_OUT),
                "keys": rows_digest(self.table),
            },
            feedback=log_facts(self.feedback) if is_log(self.feedback) else None,
            call={name: self._described(name, value) for name, value in self._arguments()},
        )

    def _arguments(self) -> Iterator[tuple[str, Any]]:
        if self.feedback is not None:
            yield "feedback", self.feedback
        yield from self.call.items()

    def _described(self, name: str, value: Any) -> dict[str, Any]:
        """Describe an argument: a plain value, a column of the panel, or something that is kept or to be given."""
        if is_log(value):
            return {"log": value.version}
        if hasattr(value, "at_keys"):
            return {"panel": len(value), "keys": rows_digest(pa.table({"key": value.key.to_arrow()}))}
        if not self._is_rows(value):
            return {"value": to_plain(value)}
        column = self._same_column(value)
        return {"given": name} if column is None else {"column": column}

    def _is_rows(self, value: Any) -> bool:
        """Return whether an argument is a value of each row, such as a mask."""
        return isinstance(value, (Column, np.ndarray, torch.Tensor)) or (
            isinstance(value, list) and len(value) == len(self.panel) and not isinstance(value[0], (str, int))
        )

    def _same_column(self, value: Any) -> str | None:
        """Return the name of the panel's column that a column is."""
        if not isinstance(value, Column):
            return None
        node = take(value.node, value.selection)
        own = ((name, self.panel[name]) for name in self.panel.columns)
        return next((name for name, column in own if take(column.node, column.selection) is node), None)


def rows_table(key: Column, rows: NDArray[np.int64] | None, held: NDArray[np.int64] | Column | None) -> pa.Table:
    """Return the table of `RunInputs`, of row numbers, all if None, and of held-out ones, or keys of another panel."""
    keys = key.to_arrow()
    parts = np.full(len(keys), TRAINED if rows is None else None, dtype=object)
    if rows is not None:
        parts[rows] = TRAINED
    if isinstance(held, np.ndarray):
        parts[held] = HELD_OUT
    parts = pa.array(parts, pa.string())
    if isinstance(held, Column):
        other = held.to_arrow()
        keys = pa.concat_arrays([keys, other])
        parts = pa.concat_arrays([parts, pa.repeat(HELD_OUT, len(other)).cast(pa.string())])
    return pa.table({"key": keys.cast(pa.string()), "part": parts})


def is_log(value: Any) -> bool:
    """Return whether something is a log of feedback, at whichever version."""
    return all(hasattr(value, name) for name in ("at", "version", "identity", "path"))


def log_facts(log: Any) -> dict[str, Any]:
    """Return what tells a log of feedback from another, and one version from another."""
    return {"path": str(log.path), "identity": log.identity, "version": log.version}


def rows_digest(table: pa.Table) -> str:
    """Return a hash of a table of text."""
    h = hashlib.blake2b(digest_size=16)
    for name in table.column_names:
        h.update(repr(table[name].to_pylist()).encode("utf-8", "surrogatepass"))
    return h.hexdigest()

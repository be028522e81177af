"""Rows of a panel as a training draws them: model inputs, labels, and what a person said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from columns import Column
from columns.column import as_batch, read_columns
from columns.values import DenseValues, Values
from explain import Rationale, resize_mask

from .classifier import Classifier
from .errors import ClassifierError, PanelError, RunError
from .infer import as_column

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["Log", "Marks", "PanelDraw", "given_marks", "labels_of", "logged_marks"]

# Rows whose masks are looked at together.
CHUNK = 1024


@runtime_checkable
class Log(Protocol):
    """What people said, as a training reads it: `workbench.feedback.Feedback`, or a view of an earlier version."""

    version: int
    identity: str

    def at(self, version: int) -> Any:
        """Return the log as it was."""

    def records(self, *, kind: str | None = None, column: str | None = None) -> Any:
        """Return the records that stand."""

    def regions(self, role: str, *, column: str, rule: str) -> Mapping[str, Any]:
        """Return the regions of one role, by key."""

    def labels(self, panel: DataPanel, *, label: str, rule: str) -> Column:
        """Return the labels of a panel with corrections applied."""


@dataclass(frozen=True, eq=False)
class Marks:
    """What was said in one role about the rows of a panel.

    Attributes
    ----------
    column : Column
        Masks: boolean arrays of one shape. Or of texts: lists of spans ``(start, end)`` in characters. Null or
        empty where nothing was said.
    known : ndarray of int64, or None
        Rows with a mark, in ascending order, where that is known without reading the masks.
    """

    column: Column
    known: NDArray[np.int64] | None = None

    def rows(self) -> Iterator[NDArray[np.int64]]:
        """Yield the numbers of rows with a mark, some at a time."""
        if self.known is not None:
            yield self.known
            return
        for start in range(0, len(self.column), CHUNK):
            values = self.column[start : start + CHUNK].values()
            if isinstance(values, DenseValues):
                said = masks_of(values).flatten(1).any(dim=1).numpy()
            else:
                said = np.array([bool(row) for row in values.rows()], np.bool_)
            yield start + np.flatnonzero(said)


@dataclass(frozen=True, eq=False)
class PanelDraw:
    """Reads rows of a panel as a training wants them.

    Attributes
    ----------
    classifier : Classifier
        Says how the rows become model inputs.
    inputs, labels : Column
        What it is fed with, and its classes.
    marks : mapping of str to Marks
        What was said, by role: "irrelevant", "relevant".
    """

    classifier: Classifier
    inputs: Column
    labels: Column
    marks: Mapping[str, Marks]

    def __call__(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Rationale]:
        """Read rows by number.

        Parameters
        ----------
        rows : ndarray, shape (batch,), int64

        Returns
        -------
        inputs : Tensor, shape (batch, *event)
            Model inputs.
        labels : Tensor, shape (batch,), int64
        rationale : Rationale
            Masks laid on the inputs: of another size than pictures have as the model takes them, stretched so that no
            stroke is lost, as if the pictures had been resized whole; of spans in a text, on all tokens that share a
            character with one.

        Raises
        ------
        RunError
            If masks are not arrays of one shape, or spans are given of what is no text.
        ClassifierError
            If there are spans, and the classifier cannot say where its tokens are.
        """
        columns = [self.inputs, self.labels, *(marks.column for marks in self.marks.values())]
        some = [column[rows] for column in columns]
        values = read_columns(some)
        batch = batch_of(values[0], some[0])
        inputs = self.classifier.prepare(batch)
        said = {name: self._laid(found, batch, inputs) for name, found in zip(self.marks, values[2:], strict=True)}
        return inputs, as_batch(values[1], some[1]), Rationale(**said)

    @cached_property
    def annotated(self) -> NDArray[np.int64]:
        """The numbers of rows about which anything was said, in ascending order; masks are read to find them."""
        found = [rows for marks in self.marks.values() for rows in marks.rows()]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)

    def _laid(self, values: Values, batch: Any, inputs: Tensor) -> Tensor:
        """Lay masks or spans on the inputs of their rows."""
        if isinstance(values, DenseValues):
            masks = masks_of(values)
            pictures = inputs.ndim == 4 and masks.ndim in (3, 4)
            return resize_mask(masks, inputs.shape[2:]) if pictures else masks
        if isinstance(batch, Tensor):
            raise RunError(
                "Masks must be arrays of one shape, True where something must not matter; make a TensorColumn. "
                f"Spans are for texts, and column '{self.classifier.on}' holds none."
            )
        return self._on_tokens(values.rows(), batch, inputs)

    def _on_tokens(self, spans: list[Any], texts: list[str], inputs: Tensor) -> Tensor:
        """Lay spans of characters on tokens, shape (batch, tokens), bool."""
        from .feedback import token_mask

        mask = torch.zeros(inputs.shape[:2], dtype=torch.bool)
        if not any(spans):
            return mask
        if self.classifier.offsets is None:
            raise ClassifierError(
                "To train with marked words, a classifier must say where its tokens are in a text: "
                "Classifier(..., offsets=...)."
            )
        offsets = self.classifier.offsets(texts)
        if tuple(offsets.shape) != (*mask.shape, 2):
            raise ClassifierError(
                f"`offsets` must return first and last character of each token, shape {(*mask.shape, 2)} as the "
                f"inputs of the module have tokens; got {tuple(offsets.shape)}."
            )
        for row, said in enumerate(spans):
            if said:
                mask[row] = torch.from_numpy(token_mask(said, offsets[row].cpu().numpy()))
        return mask


def batch_of(values: Values, column: Column) -> Any:
    """Return rows as a classifier takes them: a list where they are texts, else one tensor."""
    if column.kind == "text" or column.spec.dtype in ("string", "large_string"):
        texts = values.rows()
        if None in texts:
            raise PanelError(
                f"A text that is null has no tokens, and {texts.count(None)} of {len(texts)} rows are; drop them "
                "first: panel[~panel['text'].is_null()]."
            )
        return texts
    return as_batch(values, column)


def masks_of(values: Values) -> Tensor:
    """Return masks as booleans; a row about which nothing was said is an empty mask."""
    if not isinstance(values, DenseValues):
        raise RunError("Masks must be arrays of one shape, True where something must not matter; make a TensorColumn.")
    masks = values.data.astype(np.bool_)
    valid = values.valid()
    if valid is not None:
        masks[~valid] = False
    return torch.from_numpy(masks)


def labels_of(model: Classifier, labels: Column, name: str) -> Column:
    """Return labels as they are; PanelError unless they are a category with the classifier's classes, none null."""
    if labels.spec.classes is None:
        raise PanelError(
            f"Labels must be a category with the classifier's classes; make '{name}' one: "
            f"panel['{name}'] = panel['{name}'].as_category(model.classes)."
        )
    if labels.spec.classes != model.classes:
        raise PanelError(f"Labels must have the classifier's classes {model.classes}; they have {labels.spec.classes}.")
    missing = int(labels.is_null().to_numpy().sum())
    if missing:
        raise PanelError(
            f"Each row to train on must have a label, and '{name}' is null in {missing:,} of {len(labels):,} rows; "
            f"drop them first, panel[~panel['{name}'].is_null()], or say what they are, feedback.correct(key, label)."
        )
    return labels


def given_marks(panel: DataPanel, given: str | Column | Any, name: str) -> Marks:
    """Return masks or spans that were given by column name, as column or array; PanelError if some are missing."""
    column = panel[given] if isinstance(given, str) else as_column(given, None, name)
    if len(column) != len(panel):
        raise PanelError(f"Masks must be one for each of the {len(panel)} rows; got {len(column)}.")
    return Marks(column)


def logged_marks(
    model: Classifier,
    panel: DataPanel,
    log: Log,
    role: str,
    column: str,
    rule: str,
    regions: Mapping[str, Any] | None = None,
) -> Marks | None:
    """Return what a log says in one role about the rows of a panel, or regions read before; None if that is nothing."""
    from .feedback.columns import region_column

    if regions is None:
        regions = log.regions(role, column=column, rule=rule)
    marked = [key for key, region in regions.items() if not region.empty]
    keys = panel.key.to_arrow()
    rows = np.flatnonzero(pc.is_in(keys, value_set=pa.array(marked, keys.type)).to_numpy(zero_copy_only=False))
    if not len(rows):
        return None
    size = None
    if panel[column].kind == "image":
        first = panel[model.on][:1]
        shape = model.prepare(batch_of(first.values(), first)).shape
        size = (shape[2], shape[3]) if len(shape) == 4 else None
    content = "\x1f".join([log.identity, str(log.version), role, column, rule])
    return Marks(region_column(panel, regions, column, size, content), rows)

"""What a fine-tune is told: by a log, by masks, or by both, about the rows of any panel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from columns import Column

from .classifier import Classifier
from .errors import FeedbackError, RunError
from .feedback.merging import label_rule
from .infer import as_column
from .panel_draw import Log, Marks, PanelDraw, given_marks, labels_of, logged_marks

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["Said", "as_marks", "used_columns"]

ROLES = ("irrelevant", "relevant")


class Said:
    """What was said, and where: the same for the rows to train on and those to choose by.

    Parameters
    ----------
    model : Classifier
        That is to be trained.
    log : Feedback or None
        A version of a log that stays as it is.
    given : dict
        By role, a column of masks or spans or its name, or None: then the log says it.
    rule : str
        How a log that several people wrote is merged.
    column : str
        Which column the marks of the log are of.
    label : str
        Column of the labels.
    """

    def __init__(
        self, model: Classifier, log: Log | None, given: dict[str, Any], rule: str, column: str, label: str
    ) -> None:
        self.model, self.log, self.given, self.rule, self.column, self.label = model, log, given, rule, column, label
        self._regions: dict[str, Mapping[str, Any]] = {}

    def draw(self, panel: DataPanel, *, elsewhere: bool = False) -> PanelDraw:
        """Return how the rows of a panel are drawn; `elsewhere`, what is not there or empty is left out.

        Raises
        ------
        RunError
            If nothing was said about these rows.
        PanelError
            If labels are not a category with the classifier's classes.
        FeedbackError
            If marks of the log cannot be merged, are not of the size of their rows, or contradict each other.
        """
        labels = panel[self.label]
        if self.log is not None:
            labels = self.log.labels(panel, label=self.label, rule=label_rule(self.rule))
        marks = {name: found for name in ROLES if (found := self._marks(panel, name, elsewhere)) is not None}
        self._check_contrary(panel)
        marked = {name: found for name, found in marks.items() if elsewhere or any(map(len, found.rows()))}
        if not marked and not elsewhere and not len(self.corrected(panel)):
            raise RunError(self._nothing_said(bool(marks)))
        return PanelDraw(self.model, panel[self.model.on], labels_of(self.model, labels, self.label), marked)

    def corrected(self, panel: DataPanel) -> NDArray[np.int64]:
        """Return the numbers of rows whose label somebody corrected."""
        if self.log is None:
            return np.zeros(0, np.int64)
        corrected = {record.key for record in self.log.records(kind="label", column=self.label)}
        keys = panel.key.to_arrow()
        found = pc.is_in(keys, value_set=pa.array(sorted(corrected), keys.type))
        return np.flatnonzero(found.to_numpy(zero_copy_only=False)).astype(np.int64)

    def _marks(self, panel: DataPanel, name: str, elsewhere: bool) -> Marks | None:
        """Return what was said in one role: what was given, or else what is in the log."""
        given = self.given[name]
        if given is None:
            if self.log is None:
                return None
            if name not in self._regions:
                # Once for all panels: it takes seconds where marks were propagated to very many rows.
                self._regions[name] = self.log.regions(name, column=self.column, rule=self.rule)
            return logged_marks(self.model, panel, self.log, name, self.column, self.rule, self._regions[name])
        if elsewhere and (not isinstance(given, str) or given not in panel):
            return None
        return given_marks(panel, given, name)

    def _check_contrary(self, panel: DataPanel) -> None:
        """Raise if the log says of a place that it must not matter, and that it should.

        `Feedback.mark` refuses to write that at once; said one after the other, or by two people, no rule merges it.
        """
        against, forth = (self._regions.get(name, {}) for name in ROLES)
        here = (against.keys() & forth.keys()).intersection(panel.key.to_list()) if against and forth else ()
        contrary = [key for key in here if against[key].same_extent(forth[key]) and (against[key] & forth[key]).size]
        if contrary:
            key = min(contrary)
            raise FeedbackError(
                f"No part of a row can be both irrelevant and relevant, as the log says of {len(contrary):,} of these "
                f"rows; of '{key}', {(against[key] & forth[key]).size} of {against[key].extent}. Mark both parts anew, "
                "feedback.mark(key, irrelevant=…, relevant=…), or take one of them back: feedback.records(key=key) has "
                "their numbers, for feedback.undo."
            )

    def _nothing_said(self, there: bool) -> str:
        """Say what is missing, and what there is instead."""
        begin = "A fine-tune needs at least one row with a mask, of what must not matter or of what should; "
        if self.log is None:
            return begin + ("every mask is empty or null." if there else "there is none.")
        columns = sorted({str(record.column) for record in self.log.records(kind="rationale")} - {self.column})
        other = f" There are marks of column {', '.join(map(repr, columns))}: say column=." if columns else ""
        return f"{begin}the log has none of column '{self.column}' in these rows, and corrects no label.{other}"


def as_marks(value: Any, name: str) -> Any:
    """Return masks as a column, which a record can hold, or the name of one.

    Raises
    ------
    KindError
        If nothing can be made of them.

    Examples
    --------
    >>> as_marks("swatch", "irrelevant"), as_marks((np.eye(2) > 0,), "irrelevant").kind
    ('swatch', 'tensor')
    """
    return value if value is None or isinstance(value, str) else as_column(value, None, name)


def used_columns(draw: PanelDraw, label: str, log: Log | None) -> dict[str, Column]:
    """Return what was made of the columns of a panel and what was said."""
    used = {f"used:{role}": marks.column for role, marks in draw.marks.items()}
    return used if log is None else {**used, f"used:{label}": draw.labels}

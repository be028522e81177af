"""Slices of a view: rows under a name, with their size, and how often the prediction is right on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columns import ColumnError

from ..errors import PanelError
from ..judging import label_codes
from ..paired import wilson
from ..slices import Slice
from .brushing import brush_text
from .facets import single_values
from .shown import Shown

if TYPE_CHECKING:
    from ..panel import DataPanel

__all__ = ["NamedSlices", "right_rows", "shown_text"]

_LONGEST_NAME = 120


class NamedSlices:
    """The named slices of a view, in the order in which they were made.

    Parameters
    ----------
    panel : DataPanel
        Whose rows they hold.
    prediction, label : str, optional
        Columns to judge by: class scores, and names of classes. Without them, or before they are computed, slices have
        a size only.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> panel = DataPanel({"age": [36, 41, 29]}, origin="staff")
    >>> slices = NamedSlices(panel)
    >>> shown = Shown(panel)
    >>> shown.filter = "age > 30"
    >>> slices.of_shown("over thirty", shown)
    Slice('over thirty', 'age > 30')
    >>> slices.listed()
    [{'name': 'over thirty', 'size': 2, 'accuracy': None, 'low': None, 'high': None, 'where': 'age > 30'}]
    """

    def __init__(self, panel: DataPanel, prediction: str | None = None, label: str | None = None) -> None:
        self.panel = panel
        self.prediction = prediction
        self.label = label
        self._slices: dict[str, tuple[Slice, NDArray[np.bool_]]] = {}
        self._right: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None

    def add(self, one: Slice) -> Slice:
        """Add a slice that was made elsewhere.

        Raises
        ------
        PanelError
            If there is one of that name, or its rows cannot be told.
        """
        return self._keep(one, one.rows(self.panel))

    def of_rows(self, name: str, rows: Sequence[int] | NDArray[np.integer], reason: str = "") -> Slice:
        """Make a slice of chosen rows; it knows them by their keys, and so holds for other panels too.

        Raises
        ------
        PanelError
            If no row is chosen, or there is a slice of that name.
        """
        self._check_name(name)
        mask = np.zeros(len(self.panel), np.bool_)
        mask[np.asarray(rows, np.int64)] = True
        if not mask.any():
            raise PanelError(f"Slice '{name}' needs at least one row; none is selected.")
        return self._keep(Slice(name, keys=self._keys(mask), reason=reason), mask)

    def of_shown(self, name: str, shown: Shown, reason: str = "") -> Slice:
        """Make a slice of the rows that a view shows: by a condition where it can be said in one, else by their keys.

        Raises
        ------
        PanelError
            If every row is shown, or none, or there is a slice of that name.
        """
        self._check_name(name)
        mask = shown.mask
        if shown.count in (0, len(self.panel)):
            raise PanelError(
                f"Slice '{name}' needs a filter or a brush that leaves some rows out and some in; "
                f"{'every row' if shown.count else 'no row'} is shown."
            )
        text = shown_text(shown)
        if text is not None:
            one = Slice(name, text, reason=reason)
            # A condition stands for these rows only if it gives just these: whole numbers beyond 2⁵³ are floats to a
            # brush, say.
            if _holds(one, self.panel, mask):
                return self._keep(one, mask)
        return self._keep(Slice(name, keys=self._keys(mask), reason=reason), mask)

    def remove(self, name: str) -> None:
        """Forget a slice.

        Raises
        ------
        PanelError
            If there is none of that name.
        """
        if name not in self._slices:
            raise PanelError(f"No slice '{name}'; there are: {', '.join(self._slices) or 'none'}.")
        del self._slices[name]

    def computed(self) -> None:
        """Judge anew when asked: to be called after the prediction was computed, or labels were corrected."""
        self._right = None

    def mask(self, name: str) -> NDArray[np.bool_]:
        """Return which rows a slice holds, shape (rows,)."""
        return self._slices[name][1]

    def __iter__(self) -> Iterator[Slice]:
        return iter([one for one, _ in self._slices.values()])

    def __len__(self) -> int:
        return len(self._slices)

    def __contains__(self, name: object) -> bool:
        return name in self._slices

    def listed(self) -> list[dict[str, Any]]:
        """Return what the page shows of each slice, as JSON holds it.

        Returns
        -------
        list of dict
            ``name``, ``size``, ``where`` (None if it is known by keys), and ``accuracy`` with its 95 % interval from
            ``low`` to ``high`` (Wilson's); None if nothing can be judged.
        """
        if self._right is None and self.prediction is not None and self.label is not None:
            self._right = right_rows(self.panel, self.prediction, self.label)
        return [self._told(one, mask) for one, mask in self._slices.values()]

    def _told(self, one: Slice, mask: NDArray[np.bool_]) -> dict[str, Any]:
        told: dict[str, Any] = {"name": one.name, "size": int(np.count_nonzero(mask))}
        accuracy = low = high = None
        if self._right is not None:
            right, judged = self._right
            rows = int(np.count_nonzero(judged & mask))
            if rows:
                count = int(np.count_nonzero(right & mask))
                accuracy, (low, high) = count / rows, wilson(count, rows)
        return told | {"accuracy": accuracy, "low": low, "high": high, "where": one.where}

    def _keep(self, one: Slice, mask: NDArray[np.bool_]) -> Slice:
        self._check_name(one.name)
        self._slices[one.name] = one, mask
        return one

    def _check_name(self, name: str) -> None:
        if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST_NAME:
            raise PanelError(f"A slice's name is text of 1 to {_LONGEST_NAME} characters; got {str(name)[:60]!r}.")
        if name in self._slices:
            raise PanelError(f"There is a slice '{name}' already; give this one another name.")

    def _keys(self, mask: NDArray[np.bool_]) -> list[str]:
        keys: list[str] = self.panel[mask].key.to_list()
        return keys


def shown_text(shown: Shown) -> str | None:
    """Return the filter line and the brushes of a view as one condition, or None where the language lacks the words.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> shown = Shown(DataPanel({"age": [36, 41, 29], "team": ["red", "blue", "red"]}))
    >>> shown.filter = "age > 30 or age < 10"
    >>> shown.brushes = {"team": {"values": ["red"]}}
    >>> shown_text(shown)
    "(age > 30 or age < 10) and (team in ['red'])"
    """
    # A comment would swallow the parenthesis after it.
    parts = [shown.filter.strip() + ("\n" if "#" in shown.filter else "")] if shown.filter.strip() else []
    for name, brush in shown.brushes.items():
        facet = shown.facet(name)
        text = None if facet is None else brush_text(shown.panel, facet, brush)
        if text is None:
            return None
        parts.append(text)
    return " and ".join(f"({part})" for part in parts) if len(parts) > 1 else "".join(parts).strip() or "True"


def right_rows(panel: DataPanel, prediction: str, label: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Return which rows are predicted rightly, and which could be judged at all; None if nothing is computed yet.

    Parameters
    ----------
    panel : DataPanel
        Whose rows they are.
    prediction, label : str
        Class scores, and names of classes. A row without a label, or without a prediction, is not judged.

    Returns
    -------
    right, judged : ndarray, shape (rows,), bool

    Examples
    --------
    >>> from workbench import DataPanel, PredictionColumn
    >>> scores = PredictionColumn([[0.9, 0.1], [0.4, 0.6]], ["cat", "dog"], "probabilities")
    >>> panel = DataPanel({"prediction": scores, "label": ["cat", "cat"]})
    >>> [rows.tolist() for rows in right_rows(panel, "prediction", "label")]
    [[True, False], [True, True]]
    """
    if prediction not in panel or panel.kind(prediction) != "prediction" or single_values(panel, label) is None:
        return None
    predicted = single_values(panel, prediction)
    if predicted is None:
        return None
    try:
        labels = label_codes(panel, label, panel[prediction].classes)
    except PanelError:
        return None  # labels that are no names of these classes
    codes = predicted.indices.fill_null(-1).to_numpy()
    judged = (labels >= 0) & (codes >= 0)
    return judged & (labels == codes), judged


def _holds(one: Slice, panel: DataPanel, mask: NDArray[np.bool_]) -> bool:
    try:
        return bool(np.array_equal(one.rows(panel), mask))
    except (PanelError, ColumnError, pa.ArrowException):
        return False  # what Arrow cannot compare, float16 say, the keys can tell

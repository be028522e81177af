"""Which rows a view shows, in which order, and what its facets count: filter line, brushes and sort together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columns import Column, ColumnError
from columns.column import select_rows
from columns.values import read_only

from ..errors import PanelError
from ..ordering import sort_rows
from ..where import condition
from .brushing import brushed, checked_brush
from .facets import Facet, counts, facet_names, facet_of, single_values, single_values_of

if TYPE_CHECKING:
    from ..panel import DataPanel

__all__ = ["Shown"]

_LONGEST = 4000  # characters of a filter


class Shown:
    """The rows of a panel that a view shows: those of the filter line and of every brush, in the order of the sort.

    Setting `filter`, `brushes` or `sort` to what cannot be done raises and leaves everything as it was.

    Parameters
    ----------
    panel : DataPanel
        All rows.
    on : sequence of str, optional
        Columns that `facet_figures` tells about; by default all that can have a facet.
    first_version : int
        Where `version` begins: one more than that of what was shown before.

    Notes
    -----
    The rows of the filter and of each brush are kept apart. Moving one brush of eight over a million rows thus costs
    one comparison, nine conjunctions and one count for each facet. It is not safe for several threads at once.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> shown = Shown(DataPanel({"age": [36, 41, 29], "team": ["red", "blue", "red"]}))
    >>> shown.filter = "age > 30"
    >>> shown.brushes = {"team": {"values": ["red"]}}
    >>> shown.rows.tolist(), shown.count
    ([0], 1)
    >>> [(f["column"], f["counts"]) for f in shown.facet_figures()]
    [('age', [0, 1, 0]), ('team', [1, 1])]
    """

    def __init__(self, panel: DataPanel, on: Sequence[str] | None = None, *, first_version: int = 0) -> None:
        self.panel = panel
        self.on = list(facet_names(panel) if on is None else on)
        self._facets: dict[str, Facet | None] = {}
        self._filter = ""
        self._filtered: NDArray[np.bool_] | None = None  # None: every row
        self._brushes: dict[str, dict[str, Any]] = {}
        self._brushed: dict[str, NDArray[np.bool_]] = {}
        self._sort: dict[str, Any] | None = None
        self._order: NDArray[np.uint32] | None = None  # None: the panel's
        self._version = first_version
        # What follows from these, once it is asked for.
        self._mask: NDArray[np.bool_] | None = None
        self._rows: NDArray[np.uint32] | None = None
        self._count: int | None = None
        self._figures: list[dict[str, Any]] | None = None

    # What is asked for

    @property
    def filter(self) -> str:
        """The filter line: a condition as `DataPanel.where` takes it, or nothing."""
        return self._filter

    @filter.setter
    def filter(self, text: str) -> None:
        if not isinstance(text, str) or len(text) > _LONGEST:
            raise PanelError(f"A filter is text of at most {_LONGEST} characters; got {type(text).__name__}.")
        if text == self._filter:
            return
        self._filtered = _rows_of(self.panel, text) if text.strip() else None
        self._filter = text
        self._changed()

    @property
    def brushes(self) -> dict[str, dict[str, Any]]:
        """What is chosen on each facet, by column; a copy."""
        return {name: dict(brush) for name, brush in self._brushes.items()}

    @brushes.setter
    def brushes(self, brushes: Mapping[str, Any]) -> None:
        if not isinstance(brushes, Mapping):
            raise PanelError(f"Brushes are a mapping of columns to what is chosen; got {type(brushes).__name__}.")
        checked = {name: checked_brush(self._brushable(name), brush) for name, brush in brushes.items()}
        if checked == self._brushes:
            return
        self._brushed = {
            name: self._brushed[name] if brush == self._brushes.get(name) else brushed(self._brushable(name), brush)
            for name, brush in checked.items()
        }
        self._brushes = checked
        self._changed()

    @property
    def sort(self) -> dict[str, Any] | None:
        """``{"by": column, "ascending": bool}``, or None for the order of the panel; stable, nulls last.

        A prediction column sorts by its label, ``prediction.confidence`` by its confidence.
        """
        return None if self._sort is None else dict(self._sort)

    @sort.setter
    def sort(self, sort: Mapping[str, Any] | None) -> None:
        if sort is not None and not (
            isinstance(sort, Mapping)
            and set(sort) == {"by", "ascending"}
            and isinstance(sort["by"], str)
            and isinstance(sort["ascending"], bool)
        ):
            raise PanelError(f'A sort is {{"by": column, "ascending": True or False}} or None; got {str(sort)[:80]}.')
        wanted = None if sort is None else dict(sort)
        if wanted == self._sort:
            return
        self._order = None if wanted is None else _order_by(self.panel, wanted["by"], wanted["ascending"])
        self._sort = wanted
        self._changed()

    # What is shown

    @property
    def version(self) -> int:
        """Grows whenever other rows are shown, or in another order."""
        return self._version

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which rows of the panel are shown, shape (rows,), read-only."""
        if self._mask is None:
            self._mask = read_only(_both(self._parts(), len(self.panel)))
        return self._mask

    @property
    def count(self) -> int:
        """How many rows are shown."""
        if self._count is None:
            self._count = int(np.count_nonzero(self.mask))
        return self._count

    @property
    def rows(self) -> NDArray[np.uint32]:
        """Row numbers of the panel in the order in which they are shown, read-only."""
        if self._rows is None:
            if self._order is None:
                rows = np.flatnonzero(self.mask).astype(np.uint32)
            else:
                rows = self._order if self.count == len(self.panel) else self._order[self.mask[self._order]]
            self._rows = read_only(rows)
        return self._rows

    def place_of(self, row: int) -> int | None:
        """Return where a row stands in the order shown; None if it is not shown.

        Examples
        --------
        >>> from workbench import DataPanel
        >>> shown = Shown(DataPanel({"age": [36, 41, 29]}))
        >>> shown.sort, shown.filter = {"by": "age", "ascending": True}, "age < 40"
        >>> [shown.place_of(row) for row in (0, 1, 2)]
        [1, None, 0]
        """
        if not self.mask[row]:
            return None
        if self._order is None:  # the rows are sorted
            return int(np.searchsorted(self.rows, row))
        return int(np.flatnonzero(self.rows == row)[0])

    def facet(self, name: str) -> Facet | None:
        """Return the facet of a column; None if it has none, or is not computed yet.

        Raises
        ------
        NoColumnError
            If there is no such column.
        """
        if name not in self._facets:
            facet = facet_of(self.panel, name)
            column = single_values_of(self.panel, name)
            if facet is None and column is not None and not column.is_computed():
                return None  # asked again once it may be there
            self._facets[name] = facet
        return self._facets[name]

    def facet_figures(self) -> list[dict[str, Any]]:
        """Return what the facets show, as JSON holds it: SPEC of the page's event "facets".

        Returns
        -------
        list of dict
            ``column``, ``kind``, ``labels``, ``edges``; ``counts`` of the rows that the filter and all *other* brushes
            leave; ``total`` of all rows; and ``null``, how many rows are in no bar.
        """
        if self._figures is None:
            facets = [facet for facet in map(self.facet, self.on) if facet is not None]
            self._figures = [self._figures_of(facet) for facet in facets]
        return self._figures

    def computed(self) -> None:
        """Make facets again of what may be computed now: to be called after a column was."""
        self._facets = {name: facet for name, facet in self._facets.items() if facet is not None}
        self._figures = None

    def _figures_of(self, facet: Facet) -> dict[str, Any]:
        total = facet.total.tolist()
        if facet.column in self._brushed:
            others = self._parts(without=facet.column)
            found = counts(facet.codes, facet.bins, _both(others, len(self.panel))).tolist() if others else total
        else:
            found = counts(facet.codes, facet.bins, self.mask).tolist() if self._parts() else total
        return {
            "column": facet.column,
            "kind": facet.kind,
            "labels": None if facet.labels is None else list(facet.labels),
            "edges": None if facet.edges is None else list(facet.edges),
            "counts": found,
            "total": total,
            "null": facet.null,
        }

    def _parts(self, without: str | None = None) -> list[NDArray[np.bool_]]:
        parts = [mask for name, mask in self._brushed.items() if name != without]
        return parts if self._filtered is None else [self._filtered, *parts]

    def _brushable(self, name: Any) -> Facet:
        if not isinstance(name, str):
            raise PanelError(f"Brushes are named by columns; got {name!r}.")
        facet = self.facet(name)
        if facet is None:
            column = single_values_of(self.panel, name)
            lazy = column is not None and not column.is_computed()
            why = "it is not computed yet" if lazy else "its rows are in no groups and on no scale"
            raise PanelError(f"'{name}' cannot be brushed: {why}.")
        return facet

    def _changed(self) -> None:
        self._version += 1
        self._mask = self._rows = self._count = self._figures = None


def _both(parts: Sequence[NDArray[np.bool_]], rows: int) -> NDArray[np.bool_]:
    """The rows in every one of several masks."""
    if not parts:
        return np.ones(rows, np.bool_)
    result = parts[0].copy()
    for part in parts[1:]:
        result &= part
    return result


def _rows_of(panel: DataPanel, text: str) -> NDArray[np.bool_]:
    """The rows for which a condition holds; whatever it may lack is told as a `PanelError`."""
    try:
        chosen = condition(panel, text)
        if isinstance(chosen, bool):
            return np.full(len(panel), chosen)
        if not isinstance(chosen, Column) or not pa.types.is_boolean(chosen.to_arrow().type):
            raise PanelError(f"A condition must say yes or no for each row; {text!r} does not.")
        mask = np.zeros(len(panel), np.bool_)
        mask[select_rows(chosen, len(panel)).indices()] = True
        return mask
    except PanelError:
        raise
    # Constants are combined by Python itself: 1 / 0, "a" - 1.
    except (ColumnError, pa.ArrowException, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise PanelError(f"The condition {text!r} cannot be answered: {error}") from error


def _order_by(panel: DataPanel, name: str, ascending: bool) -> NDArray[np.uint32]:
    """The rows in the order of a column."""
    array = single_values(panel, name)
    if array is None:
        column = single_values_of(panel, name)
        if column is not None and not column.is_computed():
            raise PanelError(f"Rows cannot be sorted by '{name}' before it is computed.")
        raise PanelError(f"Rows are sorted by single values; '{name}' has none.")
    return sort_rows([array], [ascending]).astype(np.uint32)

"""Groups of rows with equal values: iterated as panels, or aggregated by Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columns import Column, ScalarColumn
from columns.column import read_columns

from .errors import PanelError
from .ordering import sort_rows
from .relational import codes_of, key_array, rows_by_group

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["Groups"]

# The words of pandas, and what Arrow calls them.
_AGGREGATES = {
    "mean": "mean",
    "sum": "sum",
    "min": "min",
    "max": "max",
    "count": "count",
    "std": "stddev",
    "var": "variance",
    "nunique": "count_distinct",
    "first": "first",
    "last": "last",
    "any": "any",
    "all": "all",
    "list": "list",
}


class Groups:
    """Groups of the rows of a panel.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> panel = DataPanel({"class": ["a", "b", "a"], "score": [1.0, 2.0, 3.0]})
    >>> panel.groupby("class").agg(score="mean", rows="size").to_dict()
    {'class': ['a', 'b'], 'score': [2.0, 2.0], 'rows': [2, 1]}
    """

    def __init__(self, panel: DataPanel, names: list[str], columns: Sequence[Column]) -> None:
        if not names:
            raise PanelError("Name at least one column to group by.")
        self._panel = panel
        self._names = names
        read_columns(list(columns))
        self._arrays = [key_array(c, "groupby") for c in columns]
        self._classes = [c.spec.classes for c in columns]
        self._rows: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None = None

    def _sorted(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return rows by group, the starts of groups, and the first row of each, groups in sorted order."""
        if self._rows is None:
            code, first = codes_of(self._arrays)
            keys = [a.take(pa.array(first)) for a in self._arrays]
            order = sort_rows(keys, [True] * len(keys)) if len(first) else first
            rank = np.empty(len(order), np.int64)
            rank[order] = np.arange(len(order))
            rows, starts = rows_by_group(rank[code] if len(code) else code, len(first))
            self._rows = rows, starts, first[order]
        return self._rows

    def __len__(self) -> int:
        return len(self._sorted()[2])

    def __iter__(self) -> Iterator[tuple[Any, DataPanel]]:
        rows, starts, first = self._sorted()
        keys = list(zip(*(a.take(pa.array(first)).to_pylist() for a in self._arrays), strict=True))
        for number, key in enumerate(keys):
            part = self._panel._rows(rows[starts[number] : starts[number + 1]])
            yield (key[0] if len(self._names) == 1 else key), part

    def size(self) -> DataPanel:
        """Return the number of rows of each group."""
        return self.agg(size="size")

    def agg(self, spec: Mapping[str, str] | None = None, **named: str | tuple[str, str]) -> DataPanel:
        """Return one row per group.

        Parameters
        ----------
        spec : mapping of column to aggregate, optional
            ``{"confidence": "mean"}``.
        **named
            ``confidence="mean"``, or ``average=("confidence", "mean")`` under a name of its own, or
            ``rows="size"``. Aggregates: mean, sum, min, max, count, std, var (both of the sample), nunique,
            first, last, any, all, list, size.

        Returns
        -------
        DataPanel
            Sorted by the group's values; rows with null there are a group of their own, last.
        """
        from .panel import DataPanel

        wanted: dict[str, tuple[str | None, str]] = {}
        for name, what in {**(spec or {}), **named}.items():
            column, how = (name, what) if isinstance(what, str) else what
            wanted[name] = (None if how == "size" else column, how)
            if how != "size" and how not in _AGGREGATES:
                raise PanelError(f"An aggregate must be one of {', '.join([*_AGGREGATES, 'size'])}; got '{how}'.")
        twice = sorted(set(wanted) & set(self._names))
        if twice:
            raise PanelError(
                f"An aggregate needs a name of its own; '{twice[0]}' is grouped by: agg(rows=('{twice[0]}', 'size'))."
            )
        if not wanted:
            raise PanelError("Name at least one aggregate: agg(confidence='mean').")
        table = self._aggregated(wanted)
        order = sort_rows([_one(table[f"key{i}"]) for i in range(len(self._names))], [True] * len(self._names))
        table = table.take(pa.array(order))
        data: dict[str, Any] = {}
        for number, name in enumerate(self._names):
            classes = self._classes[number]
            data[name] = ScalarColumn(_one(table[f"key{number}"]), classes=classes)
        for name, (source, how) in wanted.items():
            result = "count_all" if source is None else f"{name}_{_AGGREGATES[how]}"
            data[name] = ScalarColumn(_one(table[result]))
        return DataPanel(data)

    def _aggregated(self, wanted: dict[str, tuple[str | None, str]]) -> pa.Table:
        import pyarrow.compute as pc

        sources = {n: self._panel[c] for n, (c, _) in wanted.items() if c is not None}
        read_columns(list(sources.values()))
        arrays = {f"key{i}": array for i, array in enumerate(self._arrays)}
        for name, column in sources.items():
            array = key_array(column, "agg")
            arrays[name] = array.cast(array.type.value_type) if pa.types.is_dictionary(array.type) else array
        calls: list[Any] = []
        for name, (source, how) in wanted.items():
            if source is None:
                calls.append(([], "count_all"))
            else:
                options = pc.VarianceOptions(ddof=1) if how in ("std", "var") else None
                calls.append((name, _AGGREGATES[how], options) if options else (name, _AGGREGATES[how]))
        try:
            keys = [f"key{i}" for i in range(len(self._arrays))]
            # `first` and `last` need the order of rows, which threads do not keep.
            threads = not any(how in ("first", "last", "list") for _, how in wanted.values())
            return pa.table(arrays).group_by(keys, use_threads=threads).aggregate(calls)
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
            raise PanelError(f"These aggregates do not fit their columns: {error}") from error


def _one(chunks: pa.ChunkedArray) -> pa.Array:
    array = chunks.combine_chunks()
    return array.chunk(0) if isinstance(array, pa.ChunkedArray) else array

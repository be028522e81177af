"""The part of a panel that pandas users know by heart: sort, group, join, append, sample, split, describe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from columns import Column, Selection, concat
from columns.column import read_columns
from columns.expression import Concat, take

from .errors import NoColumnError, PanelError
from .keys import content_origin, key_node, pair_keys
from .ordering import sort_rows
from .relational import key_array, match_rows

if TYPE_CHECKING:
    from .groups import Groups
    from .panel import DataPanel

__all__ = ["Relations"]

_JOINS = ("inner", "left", "right", "outer")


class Relations:
    """Relational methods of `DataPanel`: key columns are computed at once, all others stay lazy."""

    __slots__ = ()

    def sort(self: Any, by: str | Sequence[str] | Column, ascending: bool | Sequence[bool] = True) -> DataPanel:
        """Return the rows in the order of one or several columns; stable, nulls last.

        Parameters
        ----------
        by : str, sequence of str, or column
            What to sort by, the weightiest first.
        ascending : bool or sequence of bool
            For all, or for each.
        """
        columns = self._named(by)
        if not columns:
            raise PanelError("Name at least one column to sort by.")
        if not isinstance(ascending, bool) and not all(isinstance(a, bool) for a in ascending):
            raise PanelError(
                f"`ascending` is True or False, or one for each column; got {ascending!r}. "
                "Several columns are named in a list: sort(['label', 'age'])."
            )
        up = [ascending] * len(columns) if isinstance(ascending, bool) else list(ascending)
        if len(up) != len(columns):
            raise PanelError(f"`ascending` needs one value for each of {len(columns)} columns; got {len(up)}.")
        read_columns(columns)  # together, so that a shared input is read once
        return self._rows(sort_rows([key_array(c, "sort") for c in columns], up))  # type: ignore[no-any-return]

    def groupby(self: Any, by: str | Sequence[str]) -> Groups:
        """Return the groups of rows with equal values; iterate over them, or aggregate with ``.agg``."""
        from .groups import Groups

        names = [by] if isinstance(by, str) else list(by)
        return Groups(self, names, self._named(names))

    def join(
        self: Any,
        other: DataPanel,
        on: str | Sequence[str] | Mapping[str, str],
        how: str = "inner",
        suffix: str = "_right",
    ) -> DataPanel:
        """Return rows side by side with the rows of another panel whose keys are equal.

        Parameters
        ----------
        other : DataPanel
            The right side.
        on : str, sequence of str, or mapping
            Key columns; a mapping names them on the left and the right.
        how : {"inner", "left", "right", "outer"}
            Which rows without a partner stay, with nulls on the other side.
        suffix : str
            Added to the names of right columns that the left side has too.

        Notes
        -----
        Rows come in the order of the left side ("right": of the right one; "outer": lonely right rows last).
        Row keys stay the left ones where no row met more than one partner, else they are pairs.
        """
        from .panel import DataPanel

        if not isinstance(other, DataPanel):
            raise PanelError(f"A panel is joined with a panel; got {type(other).__name__}. Make one: DataPanel(other).")
        if how not in _JOINS:
            raise PanelError(f"`how` must be one of {', '.join(_JOINS)}; got '{how}'.")
        pairs = dict(on) if isinstance(on, Mapping) else {n: n for n in ([on] if isinstance(on, str) else on)}
        if not pairs:
            raise PanelError("Name at least one column to join on.")
        left_keys, right_keys = self._named(list(pairs)), other._named(list(pairs.values()))
        left_rows, right_rows, unique = match_rows(
            [key_array(c, "join") for c in left_keys], [key_array(c, "join") for c in right_keys], how
        )
        left, right = self._selection.compose(left_rows), other._selection.compose(right_rows)
        return self._joined(other, pairs, left, right, how, suffix, unique)  # type: ignore[no-any-return]

    def _joined(
        self: Any,
        other: DataPanel,
        pairs: dict[str, str],
        left: Selection,
        right: Selection,
        how: str,
        suffix: str,
        unique: bool,
    ) -> DataPanel:
        columns: dict[str, Column] = {}
        for name, c in self._columns.items():
            columns[name] = type(c).over(take(c.node, left), None, c.spec, None, name)
        for name, c in other._columns.items():
            placed = type(c).over(take(c.node, right), None, c.spec, None, name)
            if name in pairs.values():
                ours = next(mine for mine, theirs in pairs.items() if theirs == name)
                if how in ("right", "outer"):
                    columns[ours] = _either(columns[ours], placed)
                if ours == name:
                    continue
            target = name + suffix if name in columns else name
            if target in columns:
                raise PanelError(f"Both panels have a column '{target}'; give another `suffix`.")
            columns[target] = placed
        left_keys, right_keys = take(self._keys, left), take(other._keys, right)
        keys = left_keys if unique and how in ("inner", "left") else pair_keys(left_keys, right_keys)
        return self._of(columns, keys)  # type: ignore[no-any-return]

    def append(self: Any, other: DataPanel, *, new_keys: bool = False) -> DataPanel:
        """Return the rows of another panel after those of this one.

        Parameters
        ----------
        other : DataPanel
            With the same columns.
        new_keys : bool
            Give every row a fresh key, where both panels have rows of one key.

        Raises
        ------
        PanelError
            If columns differ, or keys would repeat.
        """
        from .panel import DataPanel

        if not isinstance(other, DataPanel):
            raise PanelError(f"A panel is appended to a panel; got {type(other).__name__}. Make one: DataPanel(other).")
        if set(self._columns) != set(other._columns):
            odd = sorted(set(self._columns) ^ set(other._columns))
            raise PanelError(f"Panels must have the same columns to be appended; only one side has: {', '.join(odd)}.")
        columns = {name: concat([self[name], other[name]]) for name in self._columns}
        for name, column in columns.items():
            column.name = name
        if new_keys:
            length = len(self) + len(other)
            return self._of(columns, key_node(length, content_origin(list(columns.values()))))  # type: ignore[no-any-return]
        both = set(self.key.to_list()) & set(other.key.to_list())
        if both:
            raise PanelError(
                f"Keys must not repeat; {len(both)} rows of both panels have one key, '{min(both)}' first. "
                "Append with `new_keys=True`, or build the panels with different `origin`."
            )
        keys = Concat([take(self._keys, self._selection), take(other._keys, other._selection)])
        return self._of(columns, keys)  # type: ignore[no-any-return]

    def sample(self: Any, n: int, seed: int = 0) -> DataPanel:
        """Return `n` rows drawn without replacement; the same rows for the same seed."""
        if not 0 <= n <= len(self):
            raise PanelError(f"`n` must lie in [0, {len(self)}]; got {n}.")
        rows = np.random.default_rng(seed).choice(len(self), n, replace=False)
        return self._rows(rows.astype(np.int64))  # type: ignore[no-any-return]

    def split(self: Any, shares: Sequence[float], seed: int = 0, by: str | None = None) -> list[DataPanel]:
        """Return panels of the given shares of the rows, drawn at random, each in the panel's order.

        Parameters
        ----------
        shares : sequence of float
            That sum to 1, ``[0.8, 0.2]`` say.
        seed : int
            The same split for the same seed.
        by : str, optional
            Keep rows with one value of this column together: copies of one source must not be on both sides.
        """
        if not isinstance(shares, Sequence) or not all(isinstance(s, (int, float)) for s in shares):
            raise PanelError(f"`shares` is a list of shares, [0.8, 0.2] for two parts; got {shares!r}.")
        if not shares or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise PanelError(f"`shares` must be at least 0 and sum to 1; got {list(shares)}.")
        rng = np.random.default_rng(seed)
        if by is None:
            unit = np.arange(len(self))
        else:
            coded = key_array(self[by], "split").dictionary_encode(null_encoding="encode")
            unit = coded.indices.to_numpy().astype(np.int64)
        units = int(unit.max()) + 1 if len(unit) else 0
        edges = np.round(np.cumsum([0.0, *shares]) * units).astype(np.int64)
        owner = np.empty(units, np.int64)
        order = rng.permutation(units)
        for number in range(len(shares)):
            owner[order[edges[number] : edges[number + 1]]] = number
        return [self._rows(np.flatnonzero(owner[unit] == number)) for number in range(len(shares))]

    def unique(self: Any, name: str) -> list[Any]:
        """Return the distinct values of a column, in the order of their first row."""
        return pc.unique(_plain(key_array(self[name], "unique"))).to_pylist()  # type: ignore[no-any-return]

    def value_counts(self: Any, name: str) -> DataPanel:
        """Return how often each value of a column occurs, most frequent first."""
        from .panel import DataPanel

        counts = pc.value_counts(_plain(key_array(self[name], "value_counts")))
        panel = DataPanel({name: counts.field("values"), "count": counts.field("counts")})
        return panel.sort("count", ascending=False)

    def describe(self: Any) -> DataPanel:
        """Return, for each column of single values: count, nulls, mean, spread, quartiles, distinct values."""
        from .describe import describe

        return describe(self)

    def _named(self: Any, by: Any) -> list[Column]:
        if isinstance(by, Column):
            return [by]
        names = [by] if isinstance(by, str) else list(by)
        for name in names:
            if name not in self._columns:
                raise NoColumnError(self.no_column(name))
        return [self[name] for name in names]


def _either(left: Column, right: Column) -> Column:
    """Return key values from the side that has them; they were computed for the join, so this is data."""
    from columns import ScalarColumn

    a, b = (key_array(c, "join") for c in (left, right))
    if a.type != b.type:
        a, b = _plain(a), _plain(b)
    result = ScalarColumn(pc.coalesce(_plain(a), _plain(b)))
    return result if left.spec.classes is None else result.as_category(left.spec.classes)


def _plain(array: pa.Array) -> pa.Array:
    return array.cast(array.type.value_type) if pa.types.is_dictionary(array.type) else array

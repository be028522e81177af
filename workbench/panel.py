"""DataPanel: named columns of one length, seen through one selection; every row has a key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from columns import Column, ColumnSpec, LengthError, ScalarColumn, Selection
from columns.column import read_columns, select_rows
from columns.expression import Node, take

from .computing import Computing
from .errors import NoColumnError, PanelError
from .incoming import from_anything
from .infer import as_column
from .interop import Interop
from .keys import content_origin, key_column, key_node
from .relations import Relations

if TYPE_CHECKING:
    pass

__all__ = ["DataPanel"]


class DataPanel(Relations, Computing, Interop):
    """Named columns of one length, seen through one selection; reads like a pandas DataFrame.

    Parameters
    ----------
    data : mapping of str to column or values, optional
        Columns, or what a column can be made of: sequences, NumPy and Arrow arrays, tensors, pandas Series. Or a
        whole table: a pandas or polars DataFrame, a Hugging Face dataset, anything with ``__arrow_c_stream__``.
    origin : str, optional
        What the keys of the rows begin with; derived from the content if left out.

    Raises
    ------
    LengthError
        If lengths differ; names both, and the column.
    PanelError
        If a name is not text.

    Notes
    -----
    ``panel["x"] = column`` changes this panel object only; everything else returns a new one. Selecting copies
    nothing and computes nothing but the condition.

    Examples
    --------
    >>> panel = DataPanel({"name": ["ada", "bob", "cyd"], "age": [36, 41, 29]}, origin="staff")
    >>> panel[panel["age"] > 30]["name"].to_list()
    ['ada', 'bob']
    >>> panel.sort("age").key.to_list()
    ['staff/2', 'staff/0', 'staff/1']
    """

    __slots__ = ("_columns", "_keys", "_length", "_selection", "_views")

    _columns: dict[str, Column]  # over the rows of one base length
    _selection: Selection  # which of these rows the panel shows
    _keys: Node
    _length: int
    _views: dict[str, Column]

    def __init__(self, data: Any = None, *, origin: str | None = None) -> None:
        if data is not None and not isinstance(data, Mapping):
            table = from_anything(data, origin=origin)
            self._start(dict(table._columns), len(table), table._keys)
            return
        length: int | None = None
        made: dict[str, Column] = {}
        for name, values in (data or {}).items():
            column = as_column(values, length, _checked_name(name))
            if length is not None and len(column) != length:
                raise LengthError(
                    f"Columns of a panel must have one length; '{name}' has {len(column)} rows, "
                    f"'{next(iter(made))}' has {length}."
                )
            length = len(column)
            made[name] = column
        first = next(iter(made.values()), None)
        keys = None if first is None or first.keys is None or origin else take(first.keys, first.selection)
        self._start(made, length or 0, keys, origin)

    def _start(self, columns: dict[str, Column], length: int, keys: Node | None, origin: str | None = None) -> None:
        """Hold columns of `length` rows each, whatever selections they came with."""
        self._columns = {}
        self._selection = Selection.whole(length)
        self._length = length
        self._views = {}
        for name, column in columns.items():
            self._columns[name] = _whole(column, name)
        if keys is None:
            named = [_whole(c, n) for n, c in columns.items()]
            keys = key_node(length, origin or content_origin(named))
        self._keys = keys

    @classmethod
    def _of(cls, columns: dict[str, Column], keys: Node, selection: Selection | None = None) -> DataPanel:
        """Return a panel over base columns; the way in which every operation makes its result."""
        panel = object.__new__(cls)
        panel._columns = columns
        panel._keys = keys
        panel._selection = Selection.whole(keys.length) if selection is None else selection
        panel._length = len(panel._selection)
        panel._views = {}
        return panel

    # Looking

    def __len__(self) -> int:
        return self._length

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return self._length, len(self._columns)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._columns))

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def kind(self, name: str) -> str:
        """Return the kind of a column, ``"image"`` say."""
        if name not in self._columns:
            raise NoColumnError(self.no_column(name))
        return self._columns[name].kind

    @property
    def key(self) -> ScalarColumn:
        """The keys of the rows, as a lazy column of strings."""
        return key_column(self._keys, self._selection)

    def no_column(self, name: object) -> str:
        """Return the words for a column that does not exist, with the nearest name."""
        near = get_close_matches(str(name), self._columns, n=1, cutoff=0.5)
        guess = f"; did you mean '{near[0]}'?" if near else "."
        has = ", ".join(self._columns) or "no columns"
        return f"No column '{name}' in this panel{guess} It has: {has}."

    # Choosing

    def __getitem__(self, what: Any) -> Any:
        if isinstance(what, str):
            view = self._views.get(what)
            return self._view(what) if view is None else view
        if isinstance(what, slice):
            return self._of(self._columns, self._keys, self._selection[what])
        if isinstance(what, (bool, np.bool_)):
            raise PanelError(
                f"Rows of a panel are chosen by a name, a position, a slice or a mask; got the one value {what}."
            )
        if isinstance(what, (int, np.integer)):
            return self._row(int(what))
        if isinstance(what, (list, tuple)) and (not what or isinstance(what[0], str)):
            return self._with_columns(what)
        return self._of(self._columns, self._keys, self._selection.compose(select_rows(what, self._length)))

    def _view(self, name: str) -> Column:
        base = self._columns.get(name)
        if base is None:
            raise NoColumnError(self.no_column(name))
        # One selection object for all columns: rows that stand side by side are recognised by it.
        view = type(base).over(base.node, self._selection, base.spec, self._keys, name)
        self._views[name] = view
        return view

    def _row(self, position: int) -> dict[str, Any]:
        if not -self._length <= position < self._length:
            raise IndexError(f"Row must lie in [{-self._length}, {self._length}); got {position}.")
        position %= self._length
        one = self[position : position + 1]
        values = read_columns([one[name] for name in self._columns])
        return {name: v.rows()[0] for name, v in zip(self._columns, values, strict=True)}

    def _with_columns(self, names: Iterable[str]) -> DataPanel:
        chosen: dict[str, Column] = {}
        for name in names:
            if name not in self._columns:
                raise NoColumnError(self.no_column(name))
            chosen[name] = self._columns[name]
        return self._of(chosen, self._keys, self._selection)

    def at_keys(self, keys: str | Sequence[str]) -> DataPanel:
        """Return the rows with these keys, in this order.

        Raises
        ------
        PanelError
            If a key is not in the panel.
        """
        wanted = [keys] if isinstance(keys, str) else list(keys)
        place = {key: row for row, key in enumerate(self.key.to_list())}
        lost = [key for key in wanted if key not in place]
        if lost:
            raise PanelError(
                f"Keys must be of rows of this panel; not in it: {lost[:5]} ({len(lost)} of {len(wanted)})."
            )
        return self._rows(np.array([place[key] for key in wanted], np.int64))

    def _rows(self, rows: Any) -> DataPanel:
        return self._of(self._columns, self._keys, self._selection.compose(Selection(rows)))

    def head(self, n: int = 5) -> DataPanel:
        """Return the first `n` rows."""
        return self[:n] if n >= 0 else self[: max(0, self._length + n)]  # type: ignore[no-any-return]

    def tail(self, n: int = 5) -> DataPanel:
        """Return the last `n` rows."""
        return self[max(0, self._length - n) :] if n > 0 else self[:0]  # type: ignore[no-any-return]

    def where(self, condition: str | Column) -> DataPanel:
        """Return the rows for which an expression holds; only the columns that it names are computed.

        Parameters
        ----------
        condition : str or column of booleans
            ``"confidence < 0.6 and label != prediction"``: comparisons, arithmetic, and, or, not, in. A bare
            name is a column, else a property of the only prediction column. Backticks quote odd names.

        Raises
        ------
        PanelError
            If the text cannot be read or is no condition.
        """
        from .where import condition as lower

        if not isinstance(condition, (str, Column)):
            raise PanelError(
                f'A condition is text, "age > 30", or a column of booleans; got {type(condition).__name__}. '
                "Rows are chosen by positions or a mask as panel[rows]."
            )
        chosen = lower(self, condition) if isinstance(condition, str) else condition
        if isinstance(chosen, bool):
            return self[:] if chosen else self[:0]  # type: ignore[no-any-return]
        if not isinstance(chosen, Column):
            raise PanelError(f"A condition must say yes or no for each row; {condition!r} does not.")
        answers = chosen.to_arrow()
        if not pa.types.is_boolean(answers.type):
            raise PanelError(f"A condition must say yes or no for each row; {condition!r} gives {answers.type}.")
        return self[ScalarColumn(answers)]  # type: ignore[no-any-return]

    # Changing

    def __setitem__(self, name: str, values: Any) -> None:
        column = as_column(values, self._length if self._columns else None, _checked_name(name))
        if not self._columns and self._length == 0:
            self._start({name: column}, len(column), None)
            return
        if len(column) != self._length:
            raise LengthError(
                f"A column of a panel must have its length; '{name}' has {len(column)} rows, "
                f"the panel has {self._length}."
            )
        if column.selection is not self._selection:
            # Of other rows than the panel's: the pending selection goes into the columns, which share it.
            self._settle()
            column = _whole(column, name)
        self._columns = {**self._columns, name: _labelled(column, name)}
        self._views = {k: v for k, v in self._views.items() if k != name}

    def __delitem__(self, name: str) -> None:
        self._columns = self.drop(name)._columns
        self._views.pop(name, None)

    def _settle(self) -> None:
        if self._selection.is_whole(self._keys.length):
            return
        selection = self._selection
        self._columns = {
            name: type(c).over(take(c.node, selection), None, c.spec, None, name) for name, c in self._columns.items()
        }
        self._keys = take(self._keys, selection)
        self._selection = Selection.whole(self._length)
        self._views = {}

    def assign(self, **columns: Any) -> DataPanel:
        """Return a panel with columns added or replaced; a function is given the panel."""
        panel = self.copy()
        for name, values in columns.items():
            panel[name] = values(panel) if callable(values) and not isinstance(values, Column) else values
        return panel

    def copy(self) -> DataPanel:
        """Return a panel of its own; columns are immutable and shared."""
        return self._of(dict(self._columns), self._keys, self._selection)

    def drop(self, names: str | Sequence[str]) -> DataPanel:
        """Return the panel without some columns."""
        gone = {names} if isinstance(names, str) else set(names)
        for name in gone:
            if name not in self._columns:
                raise NoColumnError(self.no_column(name))
        return self._with_columns([n for n in self._columns if n not in gone])

    def rename(self, names: Mapping[str, str]) -> DataPanel:
        """Return the panel with columns renamed, old name to new."""
        for name in names:
            if name not in self._columns:
                raise NoColumnError(self.no_column(name))
        new = [_checked_name(names.get(n, n)) for n in self._columns]
        twice = sorted({n for n in new if new.count(n) > 1})
        if twice:
            raise PanelError(
                f"Names of columns must differ; after renaming, {', '.join(map(repr, twice))} would repeat."
            )
        renamed = {n: _labelled(c, n) for n, c in zip(new, self._columns.values(), strict=True)}
        return self._of(renamed, self._keys, self._selection)

    # Keeping

    def save(self, path: Any, *, on_error: str = "raise", timeout: float = 60.0) -> int:
        """Write the panel to a directory and return its version; see `workbench.save`."""
        from .storage import save

        return save(self, path, on_error=on_error, timeout=timeout)

    def __repr__(self) -> str:
        from .display import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from .display import as_html

        return as_html(self)


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise PanelError(f"A column's name must be text, at least one character; got {name!r}.")
    return name


def _whole(column: Column, name: str) -> Column:
    """Return a column as a panel holds it: every row of its expression, in order."""
    return _labelled(type(column).over(take(column.node, column.selection), None, column.spec, None, name), name)


def _labelled(column: Column, name: str) -> Column:
    """Give the expression the name that people know it by, for errors; the first name stays."""
    node = column.node
    while node.label is None:
        node.label = name
        if len(node.inputs) != 1:
            break
        (node,) = node.inputs
    spec = column.spec if isinstance(column.spec, ColumnSpec) else ColumnSpec(column.kind)
    return type(column).over(node=column.node, selection=None, spec=spec, keys=None, name=name)

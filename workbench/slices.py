"""Slices: rows that belong together, under a name, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columns import Column
from columns.column import select_rows

from .errors import PanelError
from .relational import key_array

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["Slice", "Slices", "as_slices"]

# More slices than a person can read are a mistake: a column of names, or of numbers that were not put into bins.
_MOST_VALUES = 200


@dataclass(frozen=True, eq=False)
class Slice:
    """A name, which rows, and the reason why they were put together.

    Exactly one of `where`, `keys` and `mask` says which rows.

    Parameters
    ----------
    name : str
        What people call it.
    where : str, optional
        A condition, as `DataPanel.where` takes it: ``"brightness < 40"``. It holds for any panel with these columns.
    keys : sequence of str, optional
        Keys of rows. It holds for any panel; keys that a panel does not have are passed over.
    mask : column or array of booleans, optional
        One for each row of the panel that it is used with; null is False.
    reason : str
        Why this slice exists: who found it, or what it is for.

    Raises
    ------
    PanelError
        If it has no name, or not exactly one of the three.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> panel = DataPanel({"age": [36, 41, 29]}, origin="staff")
    >>> Slice("over thirty", "age > 30", reason="they were trained elsewhere").of(panel)["age"].to_list()
    [36, 41]
    >>> Slice("ada", keys=["staff/0"])
    Slice('ada', 1 key)
    """

    name: str
    where: str | None = None
    keys: Sequence[str] | None = field(default=None, kw_only=True)
    mask: Any = field(default=None, kw_only=True)
    reason: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        name, keys = self.name, self.keys
        if not isinstance(name, str) or not name:
            raise PanelError(f"A slice's name must be text, at least one character; got {name!r}.")
        given = [what for what in ("where", "keys", "mask") if getattr(self, what) is not None]
        if len(given) != 1:
            raise PanelError(
                f"Slice '{name}' must say its rows by exactly one of `where`, `keys` and `mask`; "
                f"got {' and '.join(given) or 'none'}."
            )
        if self.where is not None and not isinstance(self.where, str):
            raise PanelError(
                f"`where` of slice '{name}' must be text, \"age > 30\"; got {type(self.where).__name__}. A column of "
                "booleans is given as `mask=`."
            )
        if isinstance(keys, str):
            raise PanelError(f"`keys` of slice '{name}' must be several keys, in a list; got the one text {keys!r}.")
        # Copies: whoever gave them may change them later.
        if keys is not None:
            object.__setattr__(self, "keys", tuple(keys))
        if self.mask is not None and not isinstance(self.mask, Column):
            object.__setattr__(self, "mask", np.array(self.mask))

    def rows(self, panel: DataPanel) -> NDArray[np.bool_]:
        """Return which rows of a panel it holds, shape (rows,); computes the columns of its condition only.

        Raises
        ------
        PanelError
            If the condition cannot be read, or gives no booleans.
        LengthError
            If its mask is of another length than the panel.
        """
        if self.keys is not None:
            known = set(self.keys)
            return np.fromiter((key in known for key in panel.key.to_list()), np.bool_, len(panel))
        chosen = self.mask if self.where is None else _lowered(panel, self.where)
        if isinstance(chosen, bool):
            return np.full(len(panel), chosen)
        if isinstance(chosen, Column):
            if not pa.types.is_boolean(key_array(chosen, "slice").type):
                raise PanelError(f"Slice '{self.name}' must say yes or no for each row; {chosen!r} does not.")
        elif getattr(chosen, "dtype", None) != np.bool_:
            raise PanelError(f"Slice '{self.name}' must say yes or no for each row; got {chosen!r}.")
        result = np.zeros(len(panel), np.bool_)
        result[select_rows(chosen, len(panel)).indices()] = True
        return result

    def of(self, panel: DataPanel) -> DataPanel:
        """Return its rows of a panel, in the panel's order."""
        chosen: DataPanel = panel[self.rows(panel)]
        return chosen

    @property
    def definition(self) -> str:
        """Which rows it holds, in words."""
        if self.where is not None:
            return self.where
        if self.keys is not None:
            return f"{len(self.keys):,} key{'' if len(self.keys) == 1 else 's'}"
        return "a mask"

    def __repr__(self) -> str:
        because = f", reason={self.reason!r}" if self.reason else ""
        return f"Slice({self.name!r}, {self.definition if self.where is None else repr(self.where)}{because})"


Slices: TypeAlias = "str | Slice | Mapping[str, Any] | Sequence[str | Slice] | None"


def as_slices(panel: DataPanel, slices: Slices) -> list[Slice]:
    """Return slices out of the forms in which people give them.

    Parameters
    ----------
    panel : DataPanel
        Whose rows they are.
    slices : slice, column name, sequence of these, or mapping
        A column gives one slice for each of its values, in their order, and one for null. A mapping gives names to
        conditions: text, a column or array of booleans, a list of keys, or a `Slice`.

    Raises
    ------
    PanelError
        If names repeat, or a column has more values than anybody would read.
    NoColumnError
        If a column does not exist.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> panel = DataPanel({"age": [36, 41, 29], "team": ["red", None, "red"]}, origin="staff")
    >>> [s.name for s in as_slices(panel, ["team", Slice("young", "age < 30")])]
    ['team = red', 'team is null', 'young']
    >>> as_slices(panel, {"first": ["staff/0"], "young": "age < 30"})
    [Slice('first', 1 key), Slice('young', 'age < 30')]
    """
    if slices is None:
        return []
    if isinstance(slices, Mapping):
        found = [_named(name, what) for name, what in slices.items()]
    else:
        given = [slices] if isinstance(slices, (str, Slice)) else list(slices)
        found = [s for what in given for s in ([what] if isinstance(what, Slice) else _values_of(panel, what))]
    names = [s.name for s in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PanelError(f"Slices must have names of their own; {', '.join(map(repr, twice))} repeats.")
    return found


def _named(name: str, what: Any) -> Slice:
    """A slice of that name, from what a mapping says of it."""
    if isinstance(what, Slice):
        return replace(what, name=name)
    if isinstance(what, str):
        return Slice(name, what)
    keys = list(what) if isinstance(what, (list, tuple, set, frozenset)) else []
    if keys and all(isinstance(key, str) for key in keys):
        return Slice(name, keys=keys)
    return Slice(name, mask=what)


def _values_of(panel: DataPanel, name: Any) -> list[Slice]:
    """One slice for each value of a column."""
    if not isinstance(name, str):
        raise PanelError(
            f"Slices are given as Slice objects, names of columns, or a mapping of names to conditions; got {name!r}."
        )
    groups = panel.groupby(name)
    if len(groups) > _MOST_VALUES:
        raise PanelError(
            f"Column '{name}' has {len(groups):,} values; one slice for each is more than anybody reads "
            f"(at most {_MOST_VALUES}). Give conditions instead: slices={{'low': '{name} < ...'}}."
        )
    return [
        Slice(
            f"{name} is null" if value is None else f"{name} = {value}",
            keys=part.key.to_list(),
            reason=f"a value of '{name}'",
        )
        for value, part in groups
    ]


def _lowered(panel: DataPanel, condition: str) -> Any:
    from .where import condition as lower

    return lower(panel, condition)

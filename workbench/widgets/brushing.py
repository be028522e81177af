"""Brushes: a part of a facet that was chosen, as a check, as a mask over the rows, and as a condition in text."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import PanelError
from .binning import between
from .facets import Facet

if TYPE_CHECKING:
    from ..panel import DataPanel

__all__ = ["brush_text", "brushed", "checked_brush"]

_MOST_VALUES = 64


def checked_brush(facet: Facet, brush: Any) -> dict[str, Any]:
    """Return a brush as the facet takes it, or raise with words that say what it takes.

    Parameters
    ----------
    facet : Facet
        What is brushed.
    brush : mapping
        ``{"low": x, "high": y}`` of a histogram: from x up to but without y, or with y where that is the upper end.
        ``{"values": [...]}`` of bars: their labels; None stands for null, True and False for the bars of booleans.

    Raises
    ------
    PanelError
        If it is neither, or not what this facet takes.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> from workbench.widgets.facets import facet_of
    >>> facet = facet_of(DataPanel({"odd": [True, False]}), "odd")
    >>> checked_brush(facet, {"values": [True]})
    {'values': ['true']}
    """
    wanted = "low and high" if facet.kind == "histogram" else "values"
    fields = {"low", "high"} if facet.kind == "histogram" else {"values"}
    if not isinstance(brush, Mapping) or set(brush) != fields:
        got = ", ".join(sorted(map(str, brush))) if isinstance(brush, Mapping) else type(brush).__name__
        raise PanelError(f"A brush on '{facet.column}' has {wanted} and nothing else; got {got or 'nothing'}.")
    if facet.kind == "histogram":
        low, high = (_number(facet, name, brush[name]) for name in ("low", "high"))
        if low > high:
            raise PanelError(f"A brush on '{facet.column}' must have low ≤ high; got {low} and {high}.")
        return {"low": low, "high": high}
    values = brush["values"]
    if not isinstance(values, (list, tuple)) or len(values) > _MOST_VALUES:
        raise PanelError(f"`values` of a brush on '{facet.column}' is a list of at most {_MOST_VALUES} bars.")
    named = [str(v).lower() if isinstance(v, (bool, np.bool_)) else v for v in values]
    known = {None, *(facet.labels or ())}
    for value in named:
        if not (value is None or isinstance(value, str)) or value not in known:
            # What the bars are called may be long: the first few tell enough.
            some = ", ".join(repr(label) for label in (facet.labels or ())[:5])
            rest = "; rarer values are chosen in the filter line" if facet.other is not None else ""
            raise PanelError(f"'{facet.column}' has no bar {str(value)[:60]!r}; it has {some or 'none'}{rest}.")
    return {"values": list(dict.fromkeys(named))}


def brushed(facet: Facet, brush: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return which rows a checked brush holds, shape (rows,).

    Examples
    --------
    >>> from workbench import DataPanel
    >>> from workbench.widgets.facets import facet_of
    >>> facet = facet_of(DataPanel({"age": [36, 41, 29]}), "age")
    >>> brushed(facet, {"low": 29, "high": 41}).tolist()
    [True, False, True]
    """
    if facet.kind == "histogram":
        assert facet.values is not None
        if not facet.edges:
            return np.zeros(len(facet.codes), np.bool_)
        return between(facet.values, brush["low"], brush["high"], closed=_closed(facet, brush["high"]))
    # The last entry is what −1 finds: null.
    table = np.zeros(facet.bins + 1, np.bool_)
    place = {label: number for number, label in enumerate(facet.labels or ())}
    table[[facet.bins if value is None else place[value] for value in brush["values"]]] = True
    return table[facet.codes]


def brush_text(panel: DataPanel, facet: Facet, brush: Mapping[str, Any]) -> str | None:
    """Return a checked brush as a condition that `DataPanel.where` reads and that holds for the same rows.

    Returns
    -------
    str or None
        None where the language has no words for it: dates, and names with a backtick in them.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> from workbench.widgets.facets import facet_of
    >>> panel = DataPanel({"the age": [36, 41, 29]})
    >>> brush_text(panel, facet_of(panel, "the age"), {"low": 29, "high": 41})
    '29 <= `the age` < 41'
    """
    name = _in_condition(panel, facet.column)
    if name is None:
        return None
    if facet.kind == "histogram":
        if facet.of == "times":
            return None
        if not facet.edges:
            return "False"
        low, high = brush["low"], brush["high"]
        return f"{low!r} <= {name} {'<=' if _closed(facet, high) else '<'} {high!r}"
    parts = []
    values = [value for value in brush["values"] if value is not None]
    rest = None if facet.other is None else (facet.labels or ())[facet.other]
    alone = [value for value in values if value != rest]
    if alone:
        parts.append(f"{name} in [{', '.join(_constant(facet, value) for value in alone)}]")
    if len(alone) < len(values):
        named = [label for label in facet.labels or () if label != rest]
        listed = ", ".join(_constant(facet, label) for label in named)
        parts.append(f"({name} not in [{listed}] and not {name}.is_null())")
    if None in brush["values"]:
        parts.append(f"{name}.is_null()")
    return " or ".join(parts) or "False"


def _closed(facet: Facet, high: float) -> bool:
    """The last bin has its upper edge: otherwise the greatest number would be in none."""
    return bool(facet.edges) and high >= facet.edges[-1]  # type: ignore[index]


def _number(facet: Facet, name: str, value: Any) -> float:
    value = value.item() if isinstance(value, np.number) else value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not _is_finite(value):
        raise PanelError(f"`{name}` of a brush on '{facet.column}' must be a finite number; got {str(value)[:60]!r}.")
    return value


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


def _in_condition(panel: DataPanel, column: str) -> str | None:
    if column not in panel:
        owner, _, part = column.rpartition(".")
        quoted = _quoted(owner)
        return None if quoted is None else f"{quoted}.{part}"
    quoted = _quoted(column)
    return f"{quoted}.label" if quoted is not None and panel.kind(column) == "prediction" else quoted


def _quoted(name: str) -> str | None:
    if "`" in name:
        return None
    # Python reads names of other letters in a normal form, which may be another name.
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and not keyword.iskeyword(name)
    return name if plain and not name.startswith("quoted_") else f"`{name}`"


def _constant(facet: Facet, label: str) -> str:
    if facet.of == "booleans":
        return label.capitalize()
    # A backtick would be read as the beginning of a name, also within quotes.
    return repr(label).replace("`", "\\x60")

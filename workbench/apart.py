"""Rows to train on and rows to judge by: never the same, nor made from the same original."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from .errors import OverlapError

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["check_apart"]


def check_apart(panel: DataPanel, judged: DataPanel | Sequence[DataPanel], what: str, source: str | None) -> None:
    """Raise if rows to judge by are among those to train on.

    Parameters
    ----------
    panel : DataPanel
        Rows to train on, and to choose a state by.
    judged : DataPanel or sequence of DataPanel
        Rows that are to tell how good the model is.
    what : str
        What these are called in the error.
    source : str or None
        Column that copies of one original share, compared where both panels have it.

    Raises
    ------
    OverlapError
        If a key is in both, or an original; says how many, and names some.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> rows = DataPanel({"x": [1, 2, 3, 4]}, origin="rows")
    >>> check_apart(rows[:2], rows[2:], "judged", None)
    >>> check_apart(rows[:3], rows[2:], "judged", None)
    Traceback (most recent call last):
    workbench.errors.OverlapError: A model must not be trained on the rows that it is judged by, and 1 of 2 rows of ...
    """
    from .panel import DataPanel

    several = [judged] if isinstance(judged, DataPanel) else list(judged)
    for rows in several:
        _check(rows.key.to_arrow(), panel.key.to_arrow(), rows, what, "is among them", "are among them")
        if source is not None and source in panel.columns and source in rows.columns:
            seen = panel[source].to_arrow()
            told = f"shares its '{source}' with one", f"share their '{source}' with one"
            _check(rows[source].to_arrow().cast(seen.type), seen, rows, what, *told)


def _check(found: pa.Array, seen: pa.Array, rows: DataPanel, what: str, one: str, many: str) -> None:
    """Raise if any of the values found was seen."""
    both = pc.is_in(found, value_set=seen.drop_null())
    count = pc.sum(both).as_py() or 0
    if count:
        names = rows.key.to_arrow().filter(both)[:3].to_pylist()
        raise OverlapError(
            f"A model must not be trained on the rows that it is judged by, and {count} of {len(rows)} rows of "
            f"`{what}` {one if count == 1 else many} ({', '.join(names)}{', …' if count > len(names) else ''}). Split "
            "first, copies of one original together, and train on the other part."
        )

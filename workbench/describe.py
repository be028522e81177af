"""`describe`: what the columns of single values hold, in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from columns import Column
from columns.column import read_columns

from .relational import key_array

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["describe"]


def describe(panel: DataPanel) -> DataPanel:
    """Return one row for each column of single values.

    Returns
    -------
    DataPanel
        With ``column``, ``type``, ``count``, ``null``, ``unique``, and for numbers ``mean``, ``std`` (of the
        sample), ``min``, ``25%``, ``50%``, ``75%``, ``max``; for all else ``top`` and ``freq``.
    """
    from .panel import DataPanel

    chosen: list[Column] = [panel[n] for n in panel.columns if panel.kind(n) in ("scalar", "text")]
    read_columns(chosen)
    rows = [_one(c) for c in chosen]
    names = (
        "column",
        "type",
        "count",
        "null",
        "unique",
        "mean",
        "std",
        "min",
        "25%",
        "50%",
        "75%",
        "max",
        "top",
        "freq",
    )
    return DataPanel({name: [row.get(name) for row in rows] for name in names}) if rows else DataPanel()


def _one(column: Column) -> dict[str, Any]:
    values = column.values()
    array = getattr(values, "array", None)
    if array is None or pa.types.is_nested(array.type):
        return {"column": column.name, "type": "nested", "count": len(column)}
    array = key_array(column, "describe")
    row: dict[str, Any] = {
        "column": column.name,
        "type": "category" if pa.types.is_dictionary(array.type) else str(array.type),
        "count": len(array) - array.null_count,
        "null": array.null_count,
    }
    plain = array.cast(array.type.value_type) if pa.types.is_dictionary(array.type) else array
    row["unique"] = pc.count_distinct(plain).as_py()
    if pa.types.is_integer(plain.type) or pa.types.is_floating(plain.type):
        numbers = plain.drop_null().cast(pa.float64()).to_numpy()
        if len(numbers):
            with np.errstate(invalid="ignore"):
                quartiles = (
                    np.nanquantile(numbers, [0, 0.25, 0.5, 0.75, 1]) if not np.isnan(numbers).all() else [np.nan] * 5
                )
                spread = float(np.nanstd(numbers, ddof=1)) if (~np.isnan(numbers)).sum() > 1 else None
                row |= {
                    "mean": float(np.nanmean(numbers)) if not np.isnan(numbers).all() else float("nan"),
                    "std": spread,
                }
            row |= dict(zip(("min", "25%", "50%", "75%", "max"), map(float, quartiles), strict=True))
    elif len(plain):
        counts = pc.value_counts(plain.drop_null())
        if len(counts):
            best = counts[int(np.argmax(counts.field("counts").to_numpy()))].as_py()
            row |= {"top": str(best["values"]), "freq": best["counts"]}
    return row

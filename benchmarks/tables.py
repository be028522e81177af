"""A million rows of five scalars, against pandas.

Values are read on both sides after every operation: all columns of the result, as NumPy arrays for numbers and
as Arrow arrays for text, which is how both sides keep them. Nothing is left lazy, and nothing becomes Python
objects. Where pandas has two ways, the faster one is the rival.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

import workbench as wb

from .figures import Figure, Scale, cell
from .sample import Table, table
from .timing import bandwidth, race

__all__ = ["read_frame", "read_panel"]


def read_panel(panel: wb.DataPanel) -> list[Any]:
    """Return the values of every column, materialised."""
    columns = [panel[name] for name in panel.columns]
    arrays = [column.to_arrow() for column in columns]
    return [a if pa.types.is_string(a.type) else a.to_numpy(zero_copy_only=False) for a in arrays]


def read_frame(frame: pd.DataFrame) -> list[Any]:
    """Return the values of every column, materialised."""
    return [_read_series(frame[name]) for name in frame.columns]


def _read_series(series: pd.Series[Any]) -> Any:
    return series.to_numpy() if series.dtype.kind in "biuf" else series.array.__arrow_array__()


def _both(scale: Scale) -> tuple[Table, wb.DataPanel, pd.DataFrame]:
    data = table(scale.rows, scale.distinct, scale.keys)
    return data, wb.DataPanel(data.columns, origin="bench"), pd.DataFrame(data.columns)


def _row_bytes(data: Table) -> float:
    return sum(a.nbytes if isinstance(a, np.ndarray) else sum(map(len, a)) + 4 * len(a) for a in data.columns.values())


def _figure(
    scale: Scale,
    work: str,
    ours: Callable[[], Any],
    rivals: dict[str, Callable[[], Any]],
    moved: float,
    words: str,
    *,
    target: float = 1.0,
    least: Callable[[], Any] | None = None,
    note: str = "",
) -> Figure:
    """Race, and take as floor the bytes that must be moved, plus a bare kernel where sorting or hashing is needed."""
    extra = {} if least is None else {"bare kernel": least}
    result = race({"ours": ours, **rivals, **extra}, scale.repeats)
    best = result.fastest(*rivals)
    floor = 1e3 * (moved / bandwidth() + (0.0 if least is None else result.best("bare kernel")))
    return Figure(
        work, 1e3 * result.best("ours"), "ms", target, 1e3 * result.best(best), best,
        result.median_ratio("ours", best), floor, words, note,
    )  # fmt: skip


def _rows(scale: Scale) -> str:
    return f"{scale.rows / 1e6:g}M rows" if scale.rows >= 1e6 else f"{scale.rows:,} rows"


@cell("table-build")
def build(scale: Scale) -> Iterable[Figure]:
    """From NumPy arrays and a list of text. Floor: the text alone into one Arrow array."""
    data = table(scale.rows, scale.distinct, scale.keys)
    yield _figure(
        scale, f"build, {_rows(scale)}",
        lambda: read_panel(wb.DataPanel(data.columns)),
        {"pandas": lambda: read_frame(pd.DataFrame(data.columns))},
        0, "the list of text to one Arrow array", least=lambda: pa.array(data.columns["name"]),
        note="from NumPy arrays and one list of text; the panel shares the arrays, pandas copies them",
    )  # fmt: skip


@cell("table-filter")
def keep_rows(scale: Scale) -> Iterable[Figure]:
    """A mask that keeps half. Floor: the compared column read, half of all columns read and written."""
    data, panel, frame = _both(scale)
    yield _figure(
        scale, "filter, half kept",
        lambda: read_panel(panel[panel["score"] > 0.0]),
        {"pandas": lambda: read_frame(frame[frame["score"] > 0.0])},
        8 * scale.rows + _row_bytes(data), "bytes moved: one column, then half of all read and written",
    )  # fmt: skip
    condition = "score > 0.0 and coarse < 50 and number % 2 == 0"
    yield _figure(
        scale, "where, three conditions, an eighth kept",
        lambda: read_panel(panel.where(condition)),
        {
            "pandas query": lambda: read_frame(frame.query(condition)),
            "pandas mask by hand": lambda: read_frame(
                frame[(frame["score"] > 0.0) & (frame["coarse"] < 50) & (frame["number"] % 2 == 0)]
            ),
        },
        24 * scale.rows + _row_bytes(data) / 4, "bytes moved: three columns, then an eighth of all read and written",
    )  # fmt: skip


@cell("table-slice")
def cut(scale: Scale) -> Iterable[Figure]:
    """The middle half. Floor: none to speak of, since neither side copies."""
    _, panel, frame = _both(scale)
    quarter = scale.rows // 4
    yield _figure(
        scale, "slice, half kept",
        lambda: read_panel(panel[quarter:-quarter]),
        {"pandas": lambda: read_frame(frame.iloc[quarter:-quarter])},
        0, "views only",
    )  # fmt: skip


@cell("table-sort")
def order(scale: Scale) -> Iterable[Figure]:
    """By one column; ours is always stable. Floor: NumPy's fastest order of the bare keys, all bytes moved twice."""
    data, panel, frame = _both(scale)
    moved, words = 2 * _row_bytes(data), "NumPy's order of the bare key + all columns read and written"
    numbers, scores = np.asarray(data.columns["number"]), np.asarray(data.columns["score"])
    yield _figure(
        scale, "sort by integers",
        lambda: read_panel(panel.sort("number")),
        {
            "pandas": lambda: read_frame(frame.sort_values("number")),
            "pandas, stable": lambda: read_frame(frame.sort_values("number", kind="stable")),
        },
        moved, words, least=lambda: np.argsort(numbers), note="the faster of pandas' stable and unstable sorts",
    )  # fmt: skip
    yield _figure(
        scale, "sort by floats, stable",
        lambda: read_panel(panel.sort("score")),
        {"pandas, stable": lambda: read_frame(frame.sort_values("score", kind="stable"))},
        moved, words, least=lambda: np.argsort(scores),
    )  # fmt: skip
    for distinct in (scale.distinct, scale.rows):
        made = table(scale.rows, distinct, scale.keys)
        texts, strings = wb.DataPanel(made.columns, origin="bench"), pd.DataFrame(made.columns)
        codes = np.unique(np.array(made.columns["name"]), return_inverse=True)[1]
        yield _figure(
            scale, f"sort by strings, {len(set(made.columns['name'])):,} different",
            lambda texts=texts: read_panel(texts.sort("name")),  # type: ignore[misc]
            {
                "pandas": lambda strings=strings: read_frame(strings.sort_values("name")),  # type: ignore[misc]
                "pandas, stable": lambda strings=strings: read_frame(  # type: ignore[misc]
                    strings.sort_values("name", kind="stable")
                ),
            },
            moved, "NumPy's order of ready ranks + all columns read and written",
            least=lambda codes=codes: np.argsort(codes),  # type: ignore[misc]
        )  # fmt: skip


@cell("table-group")
def group(scale: Scale) -> Iterable[Figure]:
    """Mean of a float and sum of an integer per key. Floor: bytes of three columns, read once."""
    _, panel, frame = _both(scale)
    for key, count in (("coarse", 100), ("fine", scale.keys)):

        def by_hand(key: str = key) -> pd.DataFrame:
            groups = frame.groupby(key)
            return pd.DataFrame({"score": groups["score"].mean(), "number": groups["number"].sum()}).reset_index()

        def by_agg(key: str = key) -> pd.DataFrame:
            return frame.groupby(key).agg({"score": "mean", "number": "sum"}).reset_index()

        yield _figure(
            scale, f"group by {count:,} keys, mean and sum",
            lambda key=key: read_panel(panel.groupby(key).agg(score="mean", number="sum")),  # type: ignore[misc]
            {
                "pandas, column by column": lambda: read_frame(by_hand()),
                "pandas agg": lambda: read_frame(by_agg()),
            },
            24 * scale.rows, "bytes moved: three columns read",
        )  # fmt: skip


@cell("table-join")
def side_by_side(scale: Scale) -> Iterable[Figure]:
    """Each row with the one of 100 that has its key. Floor: keys read; two new columns and five old ones written."""
    data, panel, frame = _both(scale)
    side, beside = wb.DataPanel(data.side, origin="side"), pd.DataFrame(data.side)
    assert len(panel.join(side, on="coarse")) == len(frame.merge(beside, on="coarse"))
    yield _figure(
        scale, f"join {_rows(scale)} × 100",
        lambda: read_panel(panel.join(side, on="coarse")),
        {"pandas merge": lambda: read_frame(frame.merge(beside, on="coarse"))},
        8 * scale.rows + (8 + 12) * scale.rows, "bytes moved: the key read, two columns written", target=1.1,
        note="where every row meets one partner, the five old columns need no copy, and neither side makes one"
    )  # fmt: skip

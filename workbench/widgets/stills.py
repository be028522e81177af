"""A still of a view: what a saved notebook shows where nothing runs, on a page of a code host, say.

It needs no script and no style sheet: sizes are attributes of elements, colours are those of the page around it.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from columns import Column, ColumnError, ImageColumn, PredictionColumn

from ..errors import WorkbenchError
from ..feedback import Region
from .brushing import brush_text
from .tiles import COLOURS, Marks, marked_text, only_decodes, picture_tile, plain_cells

if TYPE_CHECKING:
    from ..panel import DataPanel
    from .session import Session

__all__ = ["Still", "still_html", "still_of", "still_text"]

_TILES, _ACROSS = 24, 8
_LINES, _COLUMNS = 12, 8  # of a table
_WIDTH = 920  # pixels of a row of tiles
_LONGEST = 160  # characters of a condition
_MOST = 200_000  # characters of the whole
_HEIGHTS = (96, 72, 48, 24)  # of thumbnails: the first with which it is no more than that
_ROLES = {"irrelevant": "must not matter", "relevant": "should matter"}


@dataclass(frozen=True, eq=False)
class Still:
    """What of a view is shown where nothing runs.

    Attributes
    ----------
    panel : DataPanel
        All rows.
    rows : ndarray of int
        Numbers of those that the view shows, in its order.
    on : str or None
        Column that is looked at: pictures, texts, or neither.
    label, prediction : str or None
        Columns of the captions.
    where : str
        Condition of the rows, in words; empty if all are shown.
    selected : int
        How many rows are selected.
    marks : callable
        Of a row number, what was marked there.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> panel = DataPanel({"text": ["a <b>", "c"], "label": ["ham", "spam"]}, origin="mail")
    >>> still = Still(panel, np.array([0]), on="text", label="label", where="label == 'ham'")
    >>> print(still.text())
    1 of 2 rows, where label == 'ham': text, label
    >>> "a &lt;b&gt;" in still.html(), "<script" in still.html()
    (True, False)
    """

    panel: DataPanel
    rows: NDArray[Any]
    on: str | None = None
    label: str | None = None
    prediction: str | None = None
    where: str = ""
    selected: int = 0
    marks: Callable[[int], Marks] = lambda row: {}

    def text(self) -> str:
        """Return what is shown in a line; reads nothing."""
        return f"{self._count()}: {', '.join(self.panel.columns)}"

    def html(self) -> str:
        """Return what is shown as HTML that stands alone, of at most 200,000 characters; computes nothing."""
        for tiles in (_TILES, _TILES // 2, _TILES // 4, 1):
            rows = self.rows[:tiles].astype(np.int64)
            marks = [self.marks(row) for row in rows.tolist()]
            for height in _HEIGHTS:
                page = self._page(rows, marks, height)
                if len(page) <= _MOST:
                    return page
        return f"<p>{html.escape(self.text())}</p>"

    def _count(self) -> str:
        shown, of = len(self.rows), len(self.panel)
        told = f"{of:,} rows" if shown == of else f"{shown:,} of {of:,} rows"
        if self.where:
            told += f", where {self.where if len(self.where) <= _LONGEST else self.where[: _LONGEST - 1] + '…'}"
        return f"{told}, {self.selected:,} selected" if self.selected else told

    def _page(self, rows: NDArray[np.int64], marks: Sequence[Marks], height: int) -> str:
        some = self.panel[rows]
        column = None if self.on is None else some[self.on]
        names = [f"row {row}" for row in rows.tolist()]
        if isinstance(column, ImageColumn) and only_decodes(column):
            pictures = column.thumbnails(height)
            tiles = [picture_tile(*one, height, name) for one, name in zip(zip(pictures, marks), names, strict=True)]
            widest = max((one.width * height // one.height for one in pictures if one is not None), default=height)
            body = _gallery(tiles, self._captions(some), max(3, min(_ACROSS, _WIDTH // (widest + 8))))
        elif column is not None and _is_text(column) and column.is_computed():
            texts = [marked_text(text, mark) for text, mark in zip(column.to_list(), marks, strict=True)]
            body = _table(["", self.on or ""], list(zip(self._captions(some), texts, strict=True)))
        else:
            rows, marks = rows[:_LINES], []
            some, shown = some[:_LINES], some.columns[:_COLUMNS]
            cells = [plain_cells(some[name]) for name in shown]
            body = _table(shown, list(zip(*cells, strict=True)))
        first = f", the first {len(rows):,} here" if len(self.rows) > len(rows) else ""
        said = {role for mark in marks for role, region in mark.items() if region is not None and not region.empty}
        legend = "".join(
            f' · <span style="color:{COLOURS[role]}">■</span> {words}' for role, words in _ROLES.items() if role in said
        )
        return (
            f'<div style="overflow-x:auto"><p style="margin:.2em 0 .5em"><b>{html.escape(self._count())}</b>'
            f'<span style="opacity:.75">{first}</span></p>{body}'
            f'<p style="margin:.5em 0;opacity:.75"><small>A still of a view; run its cell to look further{legend}'
            "</small></p></div>"
        )

    def _captions(self, some: DataPanel) -> list[str]:
        """Return label and prediction of each row, as far as they are known."""
        labels = _known(some, self.label)
        predicted = _known(some, self.prediction)
        return [_caption(label, answer) for label, answer in zip(labels, predicted, strict=True)]


def still_of(session: Session) -> Still:
    """Return the still of a view as it is now."""
    with session.lock:
        panel, shown = session.panel, session.shown
        rows = shown.rows
        parts = [f"({shown.filter})" if shown.brushes else shown.filter] if shown.filter.strip() else []
        for name, brush in shown.brushes.items():
            facet = shown.facet(name)
            words = None if facet is None else brush_text(panel, facet, brush)
            parts.append(words or f"{name} is brushed")

    def marks(row: int) -> Marks:
        if session.marking is None:
            return {}
        try:
            said = session.marking.told(row)["regions"]
        except (WorkbenchError, ColumnError, OSError):
            return {}  # a log that cannot be read now must not keep the rows from being seen
        return {role: None if region is None else _region(region) for role, region in said.items()}

    predictions = [name for name in panel.columns if isinstance(panel[name], PredictionColumn)]
    return Still(
        panel, rows, session.on, session.label, predictions[0] if predictions else None, " and ".join(parts),
        len(session.selection()), marks,
    )  # fmt: skip


def still_html(session: Session) -> str:
    """Return a view as HTML that stands alone: its first rows as they are, with what was marked; computes nothing."""
    try:
        return still_of(session).html()
    except (WorkbenchError, ColumnError, OSError) as error:
        return f"<p>{html.escape(f'This view cannot be shown as a still: {error}')}</p>"


def still_text(session: Session) -> str:
    """Return what a view shows, in a line."""
    return f"Explorer of {still_of(session).text()}"


def _region(said: dict[str, Any]) -> Region:
    if "counts" in said:
        return Region.from_dict({"kind": "image", **said})
    return Region.from_dict({"kind": "text", "length": None, **said})


def _is_text(column: Column) -> bool:
    return column.kind == "text" or column.spec.dtype == "string"


def _known(some: DataPanel, name: str | None) -> list[Any]:
    if name is None or name not in some or not some[name].is_computed():
        return [None] * len(some)
    column = some[name]
    values: list[Any] = (column.label if isinstance(column, PredictionColumn) else column).to_list()
    return values


def _caption(label: Any, answer: Any) -> str:
    words = [html.escape(_cut(str(value))) for value in (label, answer) if value is not None]
    if answer is None:
        return f"<small>{''.join(words)}</small>"
    if label is None:
        return f"<small>→ {words[0]}</small>"
    if label == answer:
        return f'<small style="opacity:.75">{words[0]} → {words[1]}</small>'
    return f'<small>{words[0]} → <b style="color:#d1495b">{words[1]}</b></small>'


def _cut(words: str, longest: int = 24) -> str:
    return words if len(words) <= longest else words[: longest - 1] + "…"


# A notebook stripes its tables; these are none.
_PLAIN = "background:none;border:none"
_TABLE = f"{_PLAIN};border-collapse:collapse;margin:0"


def _gallery(tiles: Sequence[str], captions: Sequence[str], across: int) -> str:
    cells = [
        f'<td align="center" valign="bottom" style="{_PLAIN};text-align:center;vertical-align:bottom;padding:4px">'
        f"{tile}<br>{caption}</td>"
        for tile, caption in zip(tiles, captions, strict=True)
    ]
    lines = (cells[start : start + across] for start in range(0, len(cells), across))
    body = "".join(f'<tr style="{_PLAIN}">{"".join(line)}</tr>' for line in lines)
    return f'<table style="{_TABLE}">{body}</table>'


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    style = "text-align:left;vertical-align:top;padding:.25em 1em .25em 0"
    head = "".join(f'<th align="left" style="{style}">{html.escape(name)}</th>' for name in heads)
    body = "".join(
        f'<tr style="{_PLAIN}">'
        + "".join(f'<td align="left" valign="top" style="{style}">{cell}</td>' for cell in line)
        + "</tr>"
        for line in lines
    )
    return f'<table style="{_TABLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'

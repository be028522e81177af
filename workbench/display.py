"""How a panel shows itself: names, kinds and keys; in HTML a few rows, with thumbnails, running no model."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from columns import Column, ImageColumn
from columns.html import picture_cell, text_cell

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["as_html", "as_text"]

_ROWS = 8
_THUMBNAIL = 56  # CSS pixels


def as_text(panel: DataPanel) -> str:
    """Return the names, kinds and what is known of the columns; reads nothing."""
    lines = [f"DataPanel: {len(panel):,} rows × {len(panel.columns)} columns"]
    width = max((len(name) for name in panel.columns), default=0)
    for name in panel.columns:
        column = panel[name]
        what = column.describe_rows()
        lines.append(f"  {name:<{width}}  {column.kind}{' · ' + what if what else ''}")
    return "\n".join(lines)


def as_html(panel: DataPanel) -> str:
    """Return the first rows as a table; decodes the thumbnails of these rows only, and runs no model."""
    shown = panel.head(_ROWS)
    cells = {name: _cells(shown[name]) for name in panel.columns}
    keys = shown.key.to_list()
    heads = "".join(_head(panel[name], name) for name in panel.columns)
    body = "".join(
        f'<tr><th style="{_STYLE}font-weight:normal;opacity:.6">{text_cell(key)}</th>'
        + "".join(f'<td style="{_STYLE}">{cells[name][row]}</td>' for name in panel.columns)
        + "</tr>"
        for row, key in enumerate(keys)
    )
    more = f", the first {len(shown)} shown" if len(panel) > len(shown) else ""
    return (
        '<div style="overflow-x:auto"><table style="border-collapse:collapse">'
        f'<thead><tr><th style="{_STYLE}"></th>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<p style="margin:.3em 0"><small>{len(panel):,} rows × {len(panel.columns)} columns{more}</small></p>'
    )


_STYLE = "text-align:left;vertical-align:middle;padding:.25em .8em .25em 0;"


def _head(column: Column, name: str) -> str:
    what = column.describe_rows() or ("" if column.is_computed() else "not computed")
    note = f"{column.kind}{' · ' + what if what else ''}"
    return (
        f'<th style="{_STYLE}">{html.escape(name)}<br>'
        f'<small style="font-weight:normal;opacity:.6">{html.escape(note)}</small></th>'
    )


def _cells(column: Column) -> list[str]:
    if isinstance(column, ImageColumn):
        if not _decodes_only(column):
            return [_waiting()] * len(column)
        return [_picture(p) for p in column.thumbnails(2 * _THUMBNAIL)]
    if column.is_computed():
        return [column.cell(value) for value in column.values(on_error="null").rows()]
    # Not the whole is there, but perhaps some rows are: nothing is run to find out.
    return [_one_cell(column[row : row + 1]) for row in range(len(column))]


def _one_cell(column: Column) -> str:
    return column.cell(column.values().rows()[0]) if column.is_computed() else _waiting()


def _picture(picture: Any) -> str:
    if picture is None:
        return '<span title="null, or could not be read">–</span>'
    return picture_cell(picture, _THUMBNAIL)


def _waiting() -> str:
    return '<span style="opacity:.5" title="computed when asked for">lazy</span>'


def _decodes_only(column: Column) -> bool:
    """Say whether the pictures come from files or arrays, not from a function that would have to run."""
    from columns.expression import Map, walk

    return column.is_computed() or not any(isinstance(n, Map) for n in walk([column.node]))

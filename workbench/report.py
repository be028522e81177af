"""Report: one page of HTML that stands alone: figures, curves and pictures, no network, no scripts."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from .drawings import Drawing
from .errors import DataError
from .overlays import data_uri

__all__ = ["Report"]

_DENSE = 6  # a table of more columns is set smaller, to fit the page

_STYLE = """
:root { color-scheme: light dark; --ink:#1c1f23; --soft:#5b6470; --line:#dfe3e8; --page:#fff; --good:#00724d; }
@media (prefers-color-scheme: dark) {
  :root { --ink:#e8eaed; --soft:#a2abb7; --line:#3a4048; --page:#17191c; --good:#4cc79a; } }
* { box-sizing: border-box }
body { margin:0; background:var(--page); color:var(--ink);
  font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif }
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem; font-weight: 650 }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .5rem; font-weight: 650 }
p { margin: .5rem 0; max-width: 44rem } .soft { color: var(--soft) } small { color: var(--soft) }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .4rem 0 .4rem 1.3rem; border-bottom: 1px solid var(--line); font-weight: 400 }
th { color: var(--soft) } th:first-child, td:first-child { text-align: left; padding-left: 0 }
td.best { color: var(--good); font-weight: 650 }
.wide { overflow-x: auto } th, td { white-space: nowrap } td svg { max-width: none }
.dense { font-size: .88rem } .dense th, .dense td { padding: .35rem 0 .35rem 1rem }
.dense th:first-child, .dense td:first-child { padding-left: 0 }
.side { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem }
.grid { display: grid; gap: 1.3rem 1.1rem; margin: 1rem 0 }
figure { margin: 0 } figure .pair { display: flex; gap: 4px } figure img { display: block; border-radius: 3px }
figcaption { font-size: .85rem; color: var(--soft); margin-top: .25rem; line-height: 1.35 }
figcaption b { color: var(--ink); font-weight: 600 }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; font-size: .85rem; color: var(--soft); margin-top: 1rem }
.legend i { display: inline-block; width: 14px; height: 4px; border-radius: 2px; margin: 0 .5em .2em 0 }
svg { max-width: 100%; height: auto; display: block; margin: .3rem 0 1rem }
svg text { fill: var(--soft); font-size: 12px }
code { font-family: ui-monospace, "SF Mono", Menlo, monospace; font-size: .88em }
pre { background: color-mix(in srgb, var(--ink) 6%, transparent);
  padding: .8rem 1rem; border-radius: 6px; overflow-x: auto }
"""


@dataclass
class Report:
    """A page that grows section by section; every text is escaped.

    Parameters
    ----------
    title : str
        Of the page.
    """

    title: str
    _parts: list[str] = field(default_factory=list)

    def text(self, words: str, *, soft: bool = False) -> None:
        """Add a paragraph."""
        self._parts.append(f'<p class="soft">{html.escape(words)}</p>' if soft else f"<p>{html.escape(words)}</p>")

    def section(self, heading: str) -> None:
        """Begin a section."""
        self._parts.append(f"<h2>{html.escape(heading)}</h2>")

    def code(self, text: str) -> None:
        """Add lines to be typed."""
        self._parts.append(f"<pre><code>{html.escape(text)}</code></pre>")

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str | Drawing]], better: Sequence[bool] = ()) -> None:
        """Add a table; the first column is words. Of rows that got `better`, the last cell stands out."""
        head = "".join(f"<th>{html.escape(h)}</th>" for h in heads)
        body = "".join(
            "<tr>"
            + "".join(f"<td>{_cell(cell)}</td>" for cell in row[:-1])
            + f"<td{' class=best' if number < len(better) and better[number] else ''}>{_cell(row[-1])}</td></tr>"
            for number, row in enumerate(rows)
        )
        dense = ' class="dense"' if len(heads) > _DENSE else ""
        table = f"<table{dense}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        self._parts.append(f'<div class="wide">{table}</div>')

    def drawings(self, drawings: Sequence[Drawing]) -> None:
        """Add drawings side by side."""
        self._parts.append(f'<div class="side">{"".join(one.svg for one in drawings)}</div>')

    def legend(self, entries: Sequence[tuple[str, str]]) -> None:
        """Add what colours mean: (colour, words)."""
        spans = "".join(
            f'<span><i style="background:{html.escape(colour)}"></i>{html.escape(words)}</span>'
            for colour, words in entries
        )
        self._parts.append(f'<div class="legend">{spans}</div>')

    def gallery(self, items: Sequence[tuple[Sequence[Image.Image], str, str]]) -> None:
        """Add figures: pictures side by side, what they show in bold, and the rest of the caption."""
        figures = []
        for images, bold, rest in items:
            tags = "".join(
                f'<img width="{i.width}" height="{i.height}" alt="{html.escape(bold)}" src="{data_uri(i)}">'
                for i in images
            )
            caption = f"<b>{html.escape(bold)}</b> {html.escape(rest)}"
            figures.append(f'<figure><div class="pair">{tags}</div><figcaption>{caption}</figcaption></figure>')
        # As wide as the widest figure: side by side they must not be squeezed.
        widest = max((sum(i.width + 4 for i in images) for images, _, _ in items), default=0)
        columns = f"repeat(auto-fill,minmax(min(100%,{max(widest, 100)}px),1fr))"
        self._parts.append(f'<div class="grid" style="grid-template-columns:{columns}">{"".join(figures)}</div>')

    def curves(self, lines: Sequence[tuple[str, Sequence[float], Sequence[float], str]], x: str) -> None:
        """Add curves, each scaled to its own range, which its legend states.

        Parameters
        ----------
        lines : sequence of (name, x values, y values, colour)
            At least two points each, else left out.
        x : str
            What runs along the bottom.
        """
        width, height, left, low = 720, 180, 8, 146
        drawn = [line for line in lines if len(line[1]) > 1]
        if not drawn:
            return
        last = max(max(xs) for _, xs, _, _ in drawn)
        body, legend = [], []
        for name, xs, ys, colour in drawn:
            bottom, top = min(ys), max(ys)
            span = (top - bottom) or 1.0
            points = " ".join(
                f"{left + a / last * (width - 2 * left):.1f},{low - (b - bottom) / span * 130:.1f}"
                for a, b in zip(xs, ys, strict=True)
            )
            body.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.8" points="{points}"/>')
            words = f"{name} ({_short(bottom)} to {_short(top)})"
            legend.append((colour, words))
        body.append(f'<line x1="{left}" x2="{width - left}" y1="{low + 6}" y2="{low + 6}" stroke="var(--line)"/>')
        body.append(f'<text x="{left}" y="{low + 24}">1</text>')
        end = f"{last:g} {x}"
        body.append(f'<text x="{width - left}" y="{low + 24}" text-anchor="end">{html.escape(end)}</text>')
        self.legend(legend)
        self._parts.append(
            f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" '
            f'aria-label="{html.escape(", ".join(n for n, *_ in drawn))}">{"".join(body)}</svg>'
        )

    def html(self) -> str:
        """Return the page."""
        title = html.escape(self.title)
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{title}</title><style>{_STYLE}</style></head>"
            f"<body><main><h1>{title}</h1>{''.join(self._parts)}</main></body></html>"
        )

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the page, whole or not at all, and return its path.

        Raises
        ------
        DataError
            If there is no directory to write it in, or it is one itself.
        """
        target = Path(path)
        if target.is_dir():
            raise DataError(f"A page is a file; '{target}' is a directory. Name a file in it.")
        if not target.absolute().parent.is_dir():
            raise DataError(f"A page is written in a directory that is there; '{target.absolute().parent}' is not.")
        draft = target.with_name(target.name + ".part")
        draft.write_text(self.html(), encoding="utf-8")
        return draft.replace(target)


def _cell(cell: str | Drawing) -> str:
    return cell.svg if isinstance(cell, Drawing) else html.escape(cell)


def _short(value: float) -> str:
    return f"{value:.3g}"

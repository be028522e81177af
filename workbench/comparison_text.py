"""A comparison in words and tables: for the terminal, for a notebook's cell, for pandas."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .drawings import difference_bar, reach_of

if TYPE_CHECKING:
    import pandas as pd

    from .comparison import Comparison, SliceComparison
    from .paired import Difference

__all__ = [
    "MEASURES",
    "as_frame",
    "as_html",
    "as_text",
    "chance",
    "interval",
    "left_out",
    "measured",
    "number",
    "signed",
    "summary",
]

_PARTS = {"magnitude": "magnitude", "positive": "positive part"}
# Attribute of `Figures`, its name for people, and whether more is better.
MEASURES = (
    ("accuracy", "accuracy", True),
    ("worst_class", "worst class", True),
    ("calibration_error", "calibration error", False),
    ("brier", "Brier score", False),
    ("log_loss", "log loss, nats", False),
    ("mass_on_mask", "mass on mask", False),
    ("rank_in_mask", "rank in mask", False),
    ("wrong_reason", "wrong reason", False),
    ("swap_sensitivity", "swap sensitivity", False),
)
_NAME = 40  # letters of a slice's name that a terminal shows


def number(value: float | None) -> str:
    """Return a figure as text: three decimals, four where it is small, a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.4f}" if 0 < abs(value) < 0.1 else f"{value:.3f}"


def signed(value: float | None) -> str:
    """Return a difference as text, with its sign.

    Examples
    --------
    >>> signed(-0.25), signed(0.0)
    ('−0.250', '0.000')
    """
    text = "–" if value is None else f"{abs(value):.3f}"
    return text if value is None or float(text) == 0 else f"{'−' if value < 0 else '+'}{text}"


def interval(found: Difference | None) -> str:
    """Return the limits of a difference as text; nothing where it has none."""
    return "" if found is None or found.low is None else f"[{signed(found.low)}, {signed(found.high)}]"


def chance(p: float | None) -> str:
    """Return a p-value as text.

    Examples
    --------
    >>> chance(0.0312), chance(1e-9), chance(None)
    ('0.031', '<0.001', '–')
    """
    return "–" if p is None else "<0.001" if p < 0.0005 else f"{p:.3f}"


def summary(comparison: Comparison) -> str:
    """Return what was fixed and broken, in a line."""
    found, rows = comparison.overall, len(comparison.panel)
    left_out = f" ({rows - found.rows:,} more without label or input)" if rows > found.rows else ""
    return f"fixed {found.fixed:,} rows, broke {found.broken:,}, of {found.rows:,}{left_out}; p {_equals(found.p)}"


def as_text(comparison: Comparison) -> str:
    """Return the measures, then the slices, as tables for a terminal."""
    rows = [
        [words, number(before), number(after), signed(change), interval(comparison.overall.differences.get(name))]
        for name, words, before, after, change in measured(comparison)
    ]
    parts = _columns(["", "before", "after", "change", "95 % interval"], rows)
    if comparison.slices:
        told = [
            [
                one.name if len(one.name) <= _NAME else f"{one.name[: _NAME - 1]}…",
                f"{one.rows:,}",
                number(one.before.accuracy),
                number(one.after.accuracy),
                signed(None if one.difference is None else one.difference.estimate),
                interval(one.difference),
                f"{one.fixed:,}",
                f"{one.broken:,}",
                chance(one.p),
                chance(one.p_holm),
            ]
            for one in comparison.slices
        ]
        heads = ["slice", "rows", "before", "after", "change", "95 % interval", "fixed", "broken", "p", "Holm's p"]
        parts += ["", *_columns(heads, told)]
    return "\n".join([*parts, "", summary(comparison), *_on_masks(comparison), *left_out(comparison)])


def _on_masks(comparison: Comparison) -> list[str]:
    """Over how many rows explanations are measured, if not over all."""
    masked, rows = comparison.before.masked_rows, comparison.before.rows
    return [f"explanations measured on {masked:,} rows with a mask"] if 0 < masked != rows else []


def left_out(comparison: Comparison) -> list[str]:
    """Return in words which measures leave out rows that could be measured for only one of the two, if any do."""
    once = comparison.overall.measured_once
    told = [f"{words} {once[name]:,}" for name, words, _ in MEASURES if name in once]
    return [f"rows left out, as they can be measured for only one of the two: {', '.join(told)}"] if told else []


def measured(comparison: Comparison) -> list[tuple[str, str, float | None, float | None, float | None]]:
    """Return the measures that at least one of the classifiers has: name, in words, before, after, and the change."""
    one, found = comparison.overall, []
    for name, words, _ in MEASURES:
        before, after = getattr(one.before, name), getattr(one.after, name)
        if before is not None or after is not None:
            found.append((name, _in_words(words, comparison.part), before, after, one.change(name)))
    return found


def _in_words(words: str, part: str) -> str:
    """What a measure is called; of WR, with the part of the scores that it counts, in which papers differ."""
    return f"{words} ({_PARTS[part]})" if words == "wrong reason" else words


def as_html(comparison: Comparison) -> str:
    """Return the same for a notebook, differences drawn as bars; in its colours, dark or light."""
    head = "".join(f'<th style="{_CELL}">{h}</th>' for h in ("before", "after", "change", "95 % interval"))
    found = comparison.overall.differences
    body = "".join(
        f'<tr><td style="{_FIRST}">{html.escape(words)}</td>'
        + "".join(
            f'<td style="{_CELL}">{cell}</td>'
            for cell in (number(before), number(after), signed(change), interval(found.get(name)))
        )
        + "</tr>"
        for name, words, before, after, change in measured(comparison)
    )
    said = f'<p style="margin:.4em 0"><b>{html.escape(_capital(summary(comparison)))}</b></p>'
    said += "".join(
        f'<p style="margin:.4em 0">{_capital(line)}</p>' for line in (*_on_masks(comparison), *left_out(comparison))
    )
    table = f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div style="{_TABLES}">{said}{table}{_slices_html(comparison)}</div>'


def as_frame(slices: Sequence[SliceComparison]) -> pd.DataFrame:
    """Return one row for each slice."""
    import pandas as pd

    return pd.DataFrame([_record(one) for one in slices])


def _record(one: SliceComparison) -> dict[str, Any]:
    accuracy = one.difference
    record: dict[str, Any] = {
        "slice": one.name,
        "rows": one.rows,
        "fixed": one.fixed,
        "broken": one.broken,
        "difference": None if accuracy is None else accuracy.estimate,
        "low": None if accuracy is None else accuracy.low,
        "high": None if accuracy is None else accuracy.high,
        "p": one.p,
        "p_holm": one.p_holm,
        "masked_rows": one.before.masked_rows,
    }
    for name, _, _ in MEASURES:
        record[f"{name}_before"] = getattr(one.before, name)
        record[f"{name}_after"] = getattr(one.after, name)
    return record | {"definition": one.definition, "reason": one.reason}


def _equals(p: float | None) -> str:
    return f"{chance(p)[0]} {chance(p)[1:]}" if chance(p).startswith("<") else f"= {chance(p)}"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right."""
    table = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(heads))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in table
    ]


# Both are inherited by the tables inside.
_TABLES = "border-collapse:collapse;font-variant-numeric:tabular-nums"
_CELL = "text-align:right;padding:.2em 0 .2em 1.1em;font-weight:normal;white-space:nowrap"
_FIRST = "text-align:left;padding:.2em 0;white-space:nowrap"


def _slices_html(comparison: Comparison) -> str:
    if not comparison.slices:
        return ""
    limit = reach_of([one.difference for one in comparison.slices])
    heads = ("rows", "before", "after", "change, 95 % interval", "", "fixed", "broken", "p", "Holm’s p")
    head = "".join(f'<th style="{_CELL}">{h}</th>' for h in heads)
    body = []
    for one in comparison.slices:
        change = signed(None if one.difference is None else one.difference.estimate)
        cells = (
            f"{one.rows:,}",
            number(one.before.accuracy),
            number(one.after.accuracy),
            f"{change} {interval(one.difference)}",
            difference_bar(one.difference, limit).svg,
            f"{one.fixed:,}",
            f"{one.broken:,}",
            chance(one.p),
            chance(one.p_holm),
        )
        title = html.escape(f"{one.definition}. {one.reason}" if one.reason else one.definition)
        body.append(
            f'<tr><td style="{_FIRST}" title="{title}">{html.escape(one.name)}</td>'
            + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells)
            + "</tr>"
        )
    return (
        f'<div style="overflow-x:auto;margin-top:1em"><table><thead><tr>'
        f'<th style="{_FIRST}"></th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )

"""The table, as text."""

from __future__ import annotations

from collections.abc import Sequence

from .figures import Figure
from .records import Record

__all__ = ["as_table"]

_HEAD = ("work", "ours", "against", "ratio", "median", "target", "met?", "floor", "to floor")


def as_table(records: Sequence[Record]) -> str:
    """Return one line per figure, then, by number, what each was measured against and what its floor is."""
    figures = [figure for record in records for figure in record.figures]
    rows = [_HEAD, *(_row(number, figure) for number, figure in enumerate(figures, 1))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    lines = ["  ".join(_fit(text, width, i) for i, (text, width) in enumerate(zip(row, widths))) for row in rows]
    lines.insert(1, "  ".join("─" * width for width in widths))
    notes = [line for number, figure in enumerate(figures, 1) for line in _notes(number, figure)]
    judged = [figure.met for figure in figures if figure.met is not None]
    return "\n".join(
        [
            *lines,
            "",
            "ours, against: best of the repeats. ratio: of the best. median: median ratio of the rounds.",
            f"{sum(judged)} of {len(judged)} targets met.",
            "",
            *notes,
        ]
    )


def _fit(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column == 0 else text.rjust(width)


def _row(number: int, figure: Figure) -> tuple[str, ...]:
    target = "" if figure.target is None else f"≤ {figure.target:g}{'×' if figure.ratio is not None else figure.unit}"
    met = {True: "yes", False: "NO", None: ""}[figure.met]
    return (
        f"{number:>2} {figure.work}",
        f"{_number(figure.ours)} {figure.unit}",
        "" if figure.against is None else f"{_number(figure.against)} {figure.unit}",
        "" if figure.ratio is None else f"{figure.ratio:.2f}×",
        "" if figure.median_ratio is None else f"{figure.median_ratio:.2f}×",
        target,
        met,
        "" if figure.floor is None else f"{_number(figure.floor)} {figure.unit}",
        "" if figure.to_floor is None else f"{figure.to_floor:.2f}×",
    )


def _notes(number: int, figure: Figure) -> list[str]:
    parts = [
        f"against: {figure.rival}" if figure.rival else "",
        f"floor: {figure.floor_words}" if figure.floor_words else "",
        figure.note,
    ]
    words = "; ".join(part for part in parts if part)
    return [f"{number:>2} {words}."] if words else []


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"

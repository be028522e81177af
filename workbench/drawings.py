"""Small drawings in SVG: differences as bars around zero, and reliability diagrams; for light and dark pages."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .calibration import Calibration
    from .paired import Difference

__all__ = ["BETTER", "WORSE", "Drawing", "difference_bar", "reach_of", "reliability"]

# Blue and vermillion: told apart by everybody, and light enough for a dark page.
BETTER, WORSE = "#2f86c6", "#dd6320"
_NEITHER = "currentColor"


@dataclass(frozen=True)
class Drawing:
    """A drawing made here, which a page takes as it is while it escapes every text.

    Attributes
    ----------
    svg : str
        One SVG element; empty where there is nothing to draw.
    """

    svg: str


def reach_of(differences: Sequence[Difference | None]) -> float:
    """Return the half width that holds all differences and their intervals, so that bars share one scale."""
    ends = [abs(e) for d in differences if d is not None for e in (d.low, d.estimate, d.high) if e is not None]
    return max([*ends, 0.01])


def difference_bar(found: Difference | None, limit: float, width: int = 110) -> Drawing:
    """Return a difference as a dot on a line around zero, its interval as a bar.

    Parameters
    ----------
    found : Difference or None
        What to draw; nothing for None.
    limit : float
        What the ends of the line mean; see `reach_of`.
    width : int
        In pixels.

    Returns
    -------
    Drawing
        Blue where the whole interval is above zero, orange where it is below, else grey.
    """
    if found is None:
        return Drawing("")
    height, middle, half = 16, width / 2, width / 2 - 5
    colour = (BETTER if found.estimate > 0 else WORSE) if found.certain else _NEITHER

    def at(value: float) -> float:
        return middle + max(-1.0, min(1.0, value / limit)) * half

    bar = ""
    if found.low is not None and found.high is not None:
        left, right = at(found.low), at(found.high)
        bar = (
            f'<rect x="{left:.1f}" y="6" width="{max(right - left, 1):.1f}" height="4" rx="2" '
            f'fill="{colour}" opacity=".45"/>'
        )
    words = f"{found.estimate:+.3f}" + (f", from {found.low:+.3f} to {found.high:+.3f}" if bar else "")
    return Drawing(
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="{words}" '
        'style="display:inline-block;vertical-align:middle;margin:0">'
        f'<line x1="5" x2="{width - 5}" y1="8" y2="8" stroke="currentColor" opacity=".15"/>'
        f'<line x1="{middle}" x2="{middle}" y1="1" y2="15" stroke="currentColor" opacity=".55"/>'
        f'{bar}<circle cx="{at(found.estimate):.1f}" cy="8" r="3.5" fill="{colour}"/></svg>'
    )


def reliability(found: Calibration, title: str, size: int = 260) -> Drawing:
    """Return a reliability diagram: how often the classifier is right, against how sure it is.

    Parameters
    ----------
    found : Calibration
        What to draw.
    title : str
        Above it.
    size : int
        Of the square, in pixels.

    Returns
    -------
    Drawing
        A bin's bar is its accuracy, a tick its confidence, and the line between them what they differ
        by, blue where the classifier is better than it says; along the bottom, the share of the rows.
    """
    left, top, low = 34, 24, 44
    side = size - left - 8
    foot = top + side

    def x(value: float) -> float:
        return left + value * side

    def y(value: float) -> float:
        return foot - value * side

    body = [
        f'<text x="{left}" y="15" style="font-weight:600;fill:currentColor">{html.escape(title)}</text>',
        f'<rect x="{left}" y="{top}" width="{side}" height="{side}" fill="none" stroke="currentColor" opacity=".2"/>',
    ]
    most = max(b.rows for b in found.bins)
    for one in found.bins:
        if not one.rows or one.accuracy is None or one.confidence is None:
            continue
        width = x(one.high) - x(one.low) - 1.5
        colour = BETTER if one.accuracy >= one.confidence else WORSE
        share = one.rows / most
        between = min(y(one.accuracy), y(one.confidence)), abs(y(one.accuracy) - y(one.confidence))
        words = f"sure {one.confidence:.2f}, right {one.accuracy:.2f}, {one.rows:,} rows"
        body.append(
            f"<g><title>{words}</title>"
            f'<rect x="{x(one.low) + 0.75:.1f}" y="{y(one.accuracy):.1f}" width="{width:.1f}" '
            f'height="{one.accuracy * side:.1f}" fill="currentColor" opacity=".22"/>'
            f'<rect x="{x(one.low) + 0.75:.1f}" y="{between[0]:.1f}" width="{width:.1f}" height="{between[1]:.1f}" '
            f'fill="{colour}" opacity=".55"/>'
            f'<rect x="{x(one.low) + 0.75:.1f}" y="{foot + 5}" width="{width:.1f}" '
            f'height="{max(1.0, 14 * share):.1f}" fill="currentColor" opacity=".45"/></g>'
        )
    body.append(
        f'<line x1="{left}" y1="{foot}" x2="{left + side}" y2="{top}" stroke="currentColor" stroke-dasharray="3 4" '
        'opacity=".6"/>'
    )
    for tick in (0.0, 0.5, 1.0):
        body.append(f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
        anchor = "start" if tick == 0 else "end" if tick == 1 else "middle"
        body.append(f'<text x="{x(tick):.1f}" y="{foot + 33}" text-anchor="{anchor}">{tick:g}</text>')
    height = foot + low
    words = f"{title}: calibration error {found.error:.3f} over {found.rows:,} rows"
    return Drawing(
        f'<svg width="{size}" height="{height}" viewBox="0 0 {size} {height}" role="img" '
        f'aria-label="{html.escape(words)}">{"".join(body)}</svg>'
    )

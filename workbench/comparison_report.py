"""The report of a comparison: one page with figures, slices, pictures of what changed, and calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from columns.column import compute_columns

from .calibration import BINS
from .comparison_text import MEASURES, chance, interval, left_out, measured, number, signed
from .drawings import difference_bar, reach_of, reliability
from .overlays import LESS, MORE, OUTLINE, difference_picture, enlarged, saliency_picture
from .report import Report

if TYPE_CHECKING:
    from .comparison import Comparison, SliceComparison
    from .panel import DataPanel

__all__ = ["changed_rows", "comparison_report", "slice_table"]

SHOWN = 10  # rows in each gallery
_PICTURE = 84  # pixels
_SNIPPET = 90  # letters of a text

_MEANING = {
    "calibration_error": "how far confidence and accuracy are apart",
    "brier": "squared distance of the probabilities from the truth",
    "mass_on_mask": "share of saliency on the region that must not matter",
    "rank_in_mask": "share of the most salient places that lie in it",
    "wrong_reason": "share of it that is lit up",
    "swap_sensitivity": "share of answers that flip when it is refilled from another row",
}
_COUNTED = {
    "magnitude": "Scores count by their magnitude; papers report wrong reasons of the positive part.",
    "positive": "Of scores, the positive part counts.",
}


def comparison_report(comparison: Comparison, title: str = "Before and after") -> Report:
    """Return the page; computes pictures and attributions of the few rows that it shows.

    Parameters
    ----------
    comparison : Comparison
        What is told.
    title : str
        Of the page.
    """
    page = Report(title)
    found, accuracy = comparison.overall, comparison.overall.difference
    if accuracy is not None:
        page.text(
            f"Of {found.rows:,} rows, {_percent(found.before.accuracy)} were right before and "
            f"{_percent(found.after.accuracy)} are now: {_points(accuracy.estimate)} points"
            f"{_between(accuracy.low, accuracy.high)}. {found.fixed:,} rows were fixed, {found.broken:,} broken."
        )
    left_out = len(comparison.panel) - found.rows
    if left_out:
        page.text(
            f"{_rows_in_words(left_out)} without label or input {'is' if left_out == 1 else 'are'} left out.", soft=True
        )
    _measures(page, comparison)
    if comparison.slices:
        page.section("Slices")
        slice_table(page, comparison.slices)
    for change, words in (("fixed", "wrong before, right now"), ("broken", "right before, wrong now")):
        changed_rows(page, comparison, getattr(comparison, change), change, words)
    _calibration(page, found)
    return page


def _measures(page: Report, comparison: Comparison) -> None:
    found, rows, better, meanings = comparison.overall, [], [], []
    more = {name: is_better for name, _, is_better in MEASURES}
    for name, words, before, after, change in measured(comparison):
        told = f"{signed(change)} {interval(found.differences.get(name))}".strip()
        rows.append((words, number(before), number(after), told))
        known = found.differences.get(name)
        sure = known is None or known.certain
        better.append(change is not None and sure and (change > 0 if more[name] else change < 0))
        if name in _MEANING:
            meanings.append(f"{words}: {_MEANING[name]}")
    page.table(("", "before", "after", "change, 95 % interval"), rows, better)
    said = [f"{_capital('; '.join(meanings))}. Changes for the better that the interval leaves no doubt of are green."]
    if found.before.masked_rows:
        said.append(f"Measures of explanations are over {found.before.masked_rows:,} rows with a marked region.")
    if found.before.wrong_reason is not None:
        said.append(_COUNTED[comparison.part])
    page.text(" ".join([*said, *(f"{_capital(line)}." for line in left_out(comparison))]), soft=True)


def slice_table(page: Report, slices: tuple[SliceComparison, ...]) -> None:
    """Add a row for each slice: accuracy before and after, the change with its interval, and tests."""
    limit = reach_of([one.difference for one in slices])
    page.table(
        ("", "rows", "before", "after", "change, 95 % interval", "", "fixed", "broken", "p", "Holm’s p"),
        [
            (
                one.name,
                f"{one.rows:,}",
                number(one.before.accuracy),
                number(one.after.accuracy),
                f"{signed(None if one.difference is None else one.difference.estimate)} {interval(one.difference)}",
                difference_bar(one.difference, limit),
                f"{one.fixed:,}",
                f"{one.broken:,}",
                chance(one.p),
                chance(one.p_holm),
            )
            for one in slices
        ],
    )
    page.text(
        f"Accuracy. The bars run from −{limit:.2f} to +{limit:.2f}: blue where the whole interval is above zero, "
        "orange where it is below. Intervals are Newcombe’s for paired proportions (method 10); p is of McNemar’s "
        f"test (mid-p), and Holm’s p allows for {len(slices)} slices.",
        soft=True,
    )
    reasons = [f"{one.name}: {one.reason}" for one in slices if one.reason and not one.reason.startswith("a value of")]
    if reasons:
        page.text("Why these slices. " + "; ".join(reasons) + ".", soft=True)


def changed_rows(page: Report, comparison: Comparison, panel: DataPanel, change: str, words: str) -> None:
    """Add some of the rows that were fixed, or broken, with where both classifiers look."""
    count = len(panel)
    page.section(f"{_capital(change)}: {_rows_in_words(count)} {words}")
    if not count:
        page.text("None.", soft=True)
        return
    some = _spread(panel, comparison.label, SHOWN)
    pictured = comparison.on in some and some.kind(comparison.on) == "image"
    told = f"{len(some)} of them, spread over the classes. " if len(some) < count else ""
    if pictured:
        told += "Each as it is, where the first looks, where the second looks, and the difference."
    page.text(told, soft=True)
    if not pictured:
        _as_table(page, comparison, some)
        return
    page.legend(
        [(LESS, "looked at; in the difference, less than before"), (MORE, "more than before")]
        + ([(OUTLINE, "what must not matter")] if comparison.irrelevant else [])
    )
    page.gallery(_pictures(comparison, some))


def _pictures(comparison: Comparison, some: DataPanel) -> list[tuple[list[Image.Image], str, str]]:
    """Each row as it is, with where either classifier looks, and with the difference."""
    names = [comparison.on, "why_before", "why_after"]
    compute_columns([some[name] for name in names])
    masks = [None] * len(some) if comparison.irrelevant is None else some[comparison.irrelevant].to_list()
    said = [some[name].label.to_list() for name in ("before", "after")]
    labels = some[comparison.label].to_list()
    items: list[tuple[list[Image.Image], str, str]] = []
    for row, (image, before, after) in enumerate(zip(*(some[name].to_list() for name in names), strict=True)):
        mask = _plane(masks[row])
        looks = [np.asarray(look, np.float64) for look in (before, after)]
        pictures = [enlarged(image, _PICTURE), *(saliency_picture(image, look, mask, _PICTURE) for look in looks)]
        pictures.append(difference_picture(image, looks[0], looks[1], mask, _PICTURE))
        items.append((pictures, str(labels[row]), f"· said {said[0][row]}, now {said[1][row]}"))
    return items


def _as_table(page: Report, comparison: Comparison, some: DataPanel) -> None:
    said = [some[name].label.to_list() for name in ("before", "after")]
    sure = [some[name].confidence.to_list() for name in ("before", "after")]
    keys, labels = some.key.to_list(), some[comparison.label].to_list()
    texts: list[Any] | None = None
    if comparison.on in some and isinstance(some[comparison.on][0], str):
        texts = [_snippet(text) for text in some[comparison.on].to_list()]
    page.table(
        ("", "label", "before", "after"),
        [
            (
                texts[row] if texts else keys[row],
                str(labels[row]),
                f"{said[0][row]} ({number(sure[0][row])})",
                f"{said[1][row]} ({number(sure[1][row])})",
            )
            for row in range(len(some))
        ],
    )


def _calibration(page: Report, found: SliceComparison) -> None:
    before, after = found.before.calibration, found.after.calibration
    if before is None or after is None:
        return
    page.section("Calibration")
    page.drawings([reliability(before, "Before"), reliability(after, "After")])
    page.text(
        f"How often it is right (up) where it is so sure (across), in {BINS} bins of equal width. Orange is how much "
        "more sure it is than right, blue how much less; the strip below is the share of the rows. The calibration "
        f"error, which is their mean over the rows, went from {number(before.error)} to {number(after.error)}.",
        soft=True,
    )


def _spread(panel: DataPanel, label: str, count: int) -> DataPanel:
    """The first rows of each class in turn, until there are enough."""
    turn: list[int] = []
    seen: dict[Any, int] = {}
    for name in panel[label].to_list():
        turn.append(seen.get(name, 0))
        seen[name] = turn[-1] + 1
    order = np.argsort(np.array(turn), kind="stable")[:count]
    some: DataPanel = panel[np.sort(order)]
    return some


def _plane(mask: torch.Tensor | None) -> NDArray[np.bool_] | None:
    """A mask as (height, width): marked in any channel."""
    if mask is None:
        return None
    marked = np.asarray(mask, np.bool_)
    return marked if marked.ndim == 2 else np.asarray(marked.any(axis=0))


def _rows_in_words(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _points(difference: float) -> str:
    return f"{'−' if difference < 0 else '+'}{100 * abs(difference):.1f}"


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" (95 % interval {_points(low)} to {_points(high)})"


def _snippet(text: str) -> str:
    return text if len(text) <= _SNIPPET else text[: _SNIPPET - 1] + "…"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]

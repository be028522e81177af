"""Two classifiers on the rows of one slice: figures, what was fixed and broken, differences and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from .judging import Figures, Judged, both_times
from .paired import Difference, holm, mcnemar, mean_difference, paired_difference
from .slices import Slice

__all__ = ["SliceComparison", "compare_slices"]

# Measures that are means over rows, and what `Judged` calls them.
_OF_LABELS = {"calibration_error": "confidence", "brier": "brier", "log_loss": "nats"}
_OF_MASKS = {"mass_on_mask": "mass", "rank_in_mask": "rank", "wrong_reason": "wrong_reason"}


@dataclass(frozen=True)
class SliceComparison:
    """Two classifiers on the rows of one slice.

    Attributes
    ----------
    name, definition, reason : str
        Of the slice.
    before, after : Figures
        Of each classifier; each measure over the rows that could be measured both times.
    fixed, broken : int
        How many rows only the second, or only the first, gets right.
    differences : mapping of str to Difference
        After less before, with a 95 % interval, of those measures that are means over rows: of proportions
        (``accuracy``, ``swap_sensitivity``) as `paired_difference` tells, of others (``brier``, ``log_loss``,
        ``mass_on_mask`` ...) as `mean_difference` does.
    p : float or None
        Of McNemar's test that a row is as likely fixed as broken; None without rows.
    p_holm : float or None
        The same, adjusted for the number of slices; None for all rows together.
    measured_once : mapping of str to int
        How many rows were left out of a measure, as they could be measured for only one of the two: a map of zeros
        has no mass. Measures of which none was left out are not in it.
    """

    name: str
    definition: str
    reason: str
    before: Figures
    after: Figures
    fixed: int
    broken: int
    differences: Mapping[str, Difference]
    p: float | None
    p_holm: float | None = None
    measured_once: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows were judged."""
        return self.before.rows

    @property
    def difference(self) -> Difference | None:
        """Of the accuracies; None without rows."""
        return self.differences.get("accuracy")

    def change(self, measure: str) -> float | None:
        """Return after less before; None where either is not known."""
        if measure in self.differences:
            return self.differences[measure].estimate
        before, after = getattr(self.before, measure), getattr(self.after, measure)
        return None if before is None or after is None else after - before


def compare_slices(
    before: Judged, after: Judged, slices: Sequence[tuple[Slice, NDArray[np.bool_]]]
) -> tuple[SliceComparison, tuple[SliceComparison, ...]]:
    """Return the comparison over all rows, and over the rows of each slice, p adjusted for their number.

    Parameters
    ----------
    before, after : Judged
        Of the same rows.
    slices : sequence of (Slice, ndarray of shape (rows,), bool)
        Each with its rows.
    """
    first, second = both_times(before, after)
    once = {
        measure: (np.isnan(getattr(before, name)) != np.isnan(getattr(after, name)))
        & (first.there if measure in _OF_LABELS else True)
        for measure, name in (_OF_LABELS | _OF_MASKS | {"swap_sensitivity": "flips"}).items()
    }
    everything = np.ones(len(first.there), np.bool_)
    overall = _compared("all rows", "", "", first, second, once, everything)
    parts = [_compared(one.name, one.definition, one.reason, first, second, once, rows) for one, rows in slices]
    return overall, _adjusted(parts)


def _compared(
    name: str, definition: str, reason: str, before: Judged, after: Judged,
    once: Mapping[str, NDArray[np.bool_]], rows: NDArray[np.bool_],
) -> SliceComparison:  # fmt: skip
    some = rows & before.there
    right = before.right[some], after.right[some]
    fixed, broken = int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum())
    flipped = rows & ~np.isnan(before.flips)
    found = {
        "accuracy": _of_proportions(*right),
        "swap_sensitivity": _of_proportions(before.flips[flipped] > 0, after.flips[flipped] > 0),
        "brier": mean_difference(before.brier[some], after.brier[some]),
        "log_loss": mean_difference(before.nats[some], after.nats[some]),
    }
    found |= {
        measure: mean_difference(getattr(before, of)[rows], getattr(after, of)[rows])
        for measure, of in _OF_MASKS.items()
    }
    return SliceComparison(
        name,
        definition,
        reason,
        before.figures(rows),
        after.figures(rows),
        fixed,
        broken,
        {measure: difference for measure, difference in found.items() if difference is not None},
        mcnemar(fixed, broken) if some.any() else None,
        measured_once={measure: int(left[rows].sum()) for measure, left in once.items() if left[rows].any()},
    )


def _of_proportions(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Difference | None:
    if not len(before):
        return None
    return paired_difference(
        both=int((before & after).sum()),
        fixed=int((after & ~before).sum()),
        broken=int((before & ~after).sum()),
        neither=int((~before & ~after).sum()),
    )


def _adjusted(slices: Sequence[SliceComparison]) -> tuple[SliceComparison, ...]:
    """Slices with Holm's p beside the raw one; a slice without rows is no test."""
    adjusted = iter(holm([one.p for one in slices if one.p is not None]))
    return tuple(one if one.p is None else replace(one, p_holm=next(adjusted)) for one in slices)

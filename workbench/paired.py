"""Two proportions or means of the same rows: their difference, its interval, and the test of no difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from .errors import PanelError

__all__ = ["Difference", "holm", "mcnemar", "mean_difference", "paired_difference", "wilson"]

_LEVEL = 0.95
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Difference:
    """A difference, after less before, with its 95 % interval.

    Attributes
    ----------
    estimate : float
        In the unit of what differs.
    low, high : float or None
        Limits of the interval; None where the rows cannot tell.
    """

    estimate: float
    low: float | None = None
    high: float | None = None

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def paired_difference(both: int, fixed: int, broken: int, neither: int) -> Difference:
    """Return the difference of two proportions of the same rows, with its 95 % interval.

    The interval is method 10 of [1]_: Wilson's intervals of the two proportions, squared and added, less what
    their correlation takes away. It keeps its level for few rows and for proportions at 0 and 1, where the usual
    one (Wald's) has no width.

    Parameters
    ----------
    both, fixed, broken, neither : int
        How many rows are right both times, only after, only before, and never.

    Returns
    -------
    Difference
        Proportion after less before, in [−1, 1].

    Raises
    ------
    PanelError
        If a count is negative, or there are no rows.

    References
    ----------
    .. [1] R. G. Newcombe, "Improved Confidence Intervals for the Difference between Binomial Proportions Based on
       Paired Data", Statistics in Medicine 17, 1998.

    Examples
    --------
    >>> found = paired_difference(both=36, fixed=12, broken=2, neither=0)
    >>> round(found.estimate, 4), round(found.low, 4), round(found.high, 4)
    (0.2, 0.0569, 0.3404)
    """
    rows = both + fixed + broken + neither
    if min(both, fixed, broken, neither) < 0 or rows == 0:
        raise PanelError(
            "Two proportions need counts of at least one row, none of them negative; "
            f"got {both}, {fixed}, {broken} and {neither}."
        )
    after, before = both + fixed, both + broken
    estimate = (fixed - broken) / rows
    after_low, after_high = wilson(after, rows)
    before_low, before_high = wilson(before, rows)
    correlation = _correlation(both, fixed, broken, neither)

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))

    low = estimate - reach(after / rows - after_low, before_high - before / rows)
    high = estimate + reach(after_high - after / rows, before / rows - before_low)
    return Difference(estimate, max(-1.0, low), min(1.0, high))


def wilson(count: int, rows: int) -> tuple[float, float]:
    """Return Wilson's 95 % score interval of a proportion; exactly 0 and 1 at the ends, where rounding would miss them.

    Parameters
    ----------
    count, rows : int
        How many of how many; at least one row.

    Examples
    --------
    >>> low, high = wilson(9, 10)
    >>> round(low, 3), round(high, 3)
    (0.596, 0.982)
    """
    z = NormalDist().inv_cdf((1 + _LEVEL) / 2)
    middle = count + z * z / 2
    reach = z * math.sqrt(count * (rows - count) / rows + z * z / 4)
    low = 0.0 if count == 0 else (middle - reach) / (rows + z * z)
    return low, 1.0 if count == rows else (middle + reach) / (rows + z * z)


def _correlation(both: int, fixed: int, broken: int, neither: int) -> float:
    """Newcombe's φ: corrected towards zero where it is positive, zero where a margin is empty."""
    margins = (both + fixed) * (broken + neither) * (both + broken) * (fixed + neither)
    if margins == 0:
        return 0.0
    excess: float = both * neither - fixed * broken
    if excess > 0:
        excess = max(excess - (both + fixed + broken + neither) / 2, 0.0)
    return excess / math.sqrt(margins)


def mean_difference(before: NDArray[np.floating], after: NDArray[np.floating]) -> Difference | None:
    """Return the mean of the differences row by row, with Student's 95 % interval.

    Parameters
    ----------
    before, after : ndarray, shape (rows,), float
        A measure of each row; rows in which either is not a number are left out.

    Returns
    -------
    Difference or None
        In the unit of the measure; None for no row. Without limits for one row, and for rows that all differ by the
        same: Student's interval would have no width, as if there were no doubt.

    Examples
    --------
    >>> mean_difference(np.array([1.0, 2.0, np.nan]), np.array([2.0, 5.0, 7.0])).estimate
    2.0
    """
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    differences = after.astype(np.float64) - before.astype(np.float64)
    there = np.isfinite(differences)
    differences = differences[there]
    rows = len(differences)
    if rows == 0:
        return None
    estimate = float(differences.mean())
    spread = float(differences.std(ddof=1)) if rows > 1 else 0.0
    # Differences of numbers of this size that should be the same differ by rounding.
    if spread <= _ROUNDING * max(np.abs(before[there]).max(), np.abs(after[there]).max()):
        return Difference(estimate)
    reach = float(stdtrit(rows - 1, (1 + _LEVEL) / 2)) * spread / math.sqrt(rows)
    return Difference(estimate, estimate - reach, estimate + reach)


def mcnemar(fixed: int, broken: int) -> float:
    """Return the p-value of McNemar's test that a row is as likely fixed as broken.

    The mid-p version [1]_ of the exact binomial test [2]_, for any number of rows: the exact test is known to be
    too cautious, and its large-sample form too bold for few rows that differ.

    Parameters
    ----------
    fixed, broken : int
        How many rows are right only after, and only before. Rows that did not change tell nothing.

    Returns
    -------
    float
        Two-sided, in (0, 1]; 1 if no row changed.

    References
    ----------
    .. [1] M. W. Fagerland, S. Lydersen, P. Laake, "The McNemar Test for Binary Matched-Pairs Data: Mid-p and
       Asymptotic Are Better than Exact Conditional", BMC Medical Research Methodology 13, 2013.
    .. [2] Q. McNemar, "Note on the Sampling Error of the Difference between Correlated Proportions or Percentages",
       Psychometrika 12, 1947.

    Examples
    --------
    >>> mcnemar(fixed=7, broken=1)
    0.0390625
    """
    from scipy.special import bdtr

    fewer, changed = min(fixed, broken), fixed + broken
    if fewer < 0:
        raise PanelError(f"Counts of rows cannot be negative; got {fixed} and {broken}.")
    if changed == 0:
        return 1.0
    below = float(bdtr(fewer - 1, changed, 0.5)) if fewer else 0.0
    # Twice P(X < fewer) + P(X = fewer) / 2, which is twice the mean of the two distribution functions.
    return min(1.0, below + float(bdtr(fewer, changed, 0.5)))


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for being many, by Holm's method [1]_.

    Of slices without a true change, the chance that any falls below 0.05 is at most that, also where slices overlap.

    Parameters
    ----------
    values : sequence of float
        In [0, 1].

    Returns
    -------
    list of float
        In the same order, each at least as large, at most 1.

    References
    ----------
    .. [1] S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6,
       1979.

    Examples
    --------
    >>> holm([0.5, 0.01, 0.25])
    [0.5, 0.03, 0.5]
    """
    adjusted = [0.0] * len(values)
    largest = 0.0
    for done, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - done) * values[place]))
        adjusted[place] = largest
    return adjusted

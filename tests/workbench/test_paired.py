"""Differences of paired proportions and means: published examples, slow re-computation, laws."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import PanelError
from workbench.paired import holm, mcnemar, mean_difference, paired_difference

COUNTS = st.tuples(*[st.integers(0, 60)] * 4).filter(any)


@pytest.mark.parametrize(
    ("counts", "limits"),
    [
        ((36, 12, 2, 0), (0.0569, 0.3404)),
        ((18, 12, 2, 18), (0.0562, 0.3290)),
        ((53, 0, 0, 1), (-0.0729, 0.0729)),
        ((0, 30, 0, 0), (0.8395, 1.0)),
    ],
)
def test_the_examples_of_newcombes_paper_come_out(counts, limits):
    both, fixed, broken, neither = counts
    found = paired_difference(both, fixed, broken, neither)
    assert found.estimate == pytest.approx((fixed - broken) / sum(counts))
    assert (found.low, found.high) == pytest.approx(limits, abs=6e-5)


def wilson_by_search(count, rows):
    """Solve |p̂ − p| = z √(p (1 − p) / n), whose two roots are Wilson's limits, by bisection."""
    share, z = count / rows, 1.959963984540054

    def far(p):
        return abs(share - p) - z * math.sqrt(p * (1 - p) / rows)

    def root(inside, outside):
        if far(outside) <= 0:
            return outside
        for _ in range(200):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if far(middle) <= 0 else (inside, middle)
        return inside

    return root(share, 0.0), root(share, 1.0)


@given(COUNTS)
def test_the_interval_is_newcombes_computed_slowly(counts):
    both, fixed, broken, neither = counts
    rows = sum(counts)
    (l1, u1), (l2, u2) = wilson_by_search(both + fixed, rows), wilson_by_search(both + broken, rows)
    p1, p2 = (both + fixed) / rows, (both + broken) / rows
    product = (both + fixed) * (broken + neither) * (both + broken) * (fixed + neither)
    if product == 0:
        phi = 0.0
    else:
        excess = both * neither - fixed * broken
        excess = max(excess - rows / 2, 0) if excess > 0 else excess
        phi = excess / math.sqrt(product)
    below = (p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2
    above = (u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2
    found = paired_difference(both, fixed, broken, neither)
    assert found.low == pytest.approx(p1 - p2 - math.sqrt(max(below, 0)), abs=1e-6)
    assert found.high == pytest.approx(p1 - p2 + math.sqrt(max(above, 0)), abs=1e-6)


@given(COUNTS)
def test_before_and_after_exchanged_turn_the_interval_round(counts):
    both, fixed, broken, neither = counts
    one, other = paired_difference(both, fixed, broken, neither), paired_difference(both, broken, fixed, neither)
    assert (one.low, one.estimate, one.high) == pytest.approx((-other.high, -other.estimate, -other.low), abs=1e-12)
    assert -1 <= one.low <= one.estimate <= one.high <= 1


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    for chances, rows in (((0.5, 0.2, 0.1, 0.2), 40), ((0.9, 0.08, 0.01, 0.01), 30), ((0.25, 0.25, 0.25, 0.25), 15)):
        held = [
            found.low <= chances[1] - chances[2] <= found.high
            for found in (paired_difference(*map(int, draw)) for draw in random.multinomial(rows, chances, 2000))
        ]
        assert 0.93 <= np.mean(held) <= 0.99


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_p_value_is_the_mid_p_of_the_binomial_in_exact_fractions(fixed, broken):
    changed = fixed + broken
    chance = [Fraction(math.comb(changed, k), 2**changed) for k in range(changed + 1)]
    exact = min(1, 2 * sum(chance[: min(fixed, broken) + 1]))
    # Two-sided exact less the chance of the very count seen; where both counts are equal it is 1.
    expected = 1 if fixed == broken else exact - chance[fixed]
    assert mcnemar(fixed, broken) == pytest.approx(float(expected), rel=1e-12)
    assert mcnemar(fixed, broken) == mcnemar(broken, fixed)


def test_the_p_value_of_many_rows_is_that_of_the_chi_squared_test():
    fixed, broken = 5200, 5000
    z = (fixed - broken) / math.sqrt(fixed + broken)
    assert mcnemar(fixed, broken) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-3)


def holm_slowly(values):
    """Reject at level α one after the other, for every α that matters: the adjusted p is the least that rejects."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    levels = sorted({min(1.0, (len(values) - k) * values[i]) for k, i in enumerate(order)} | {1.0})
    result = [1.0] * len(values)
    for level in reversed(levels):
        for k, i in enumerate(order):
            if min(1.0, (len(values) - k) * values[i]) > level:
                break
            result[i] = level
    return result


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holms_adjustment_is_the_level_at_which_each_is_rejected(values):
    adjusted = holm(values)
    assert adjusted == pytest.approx(holm_slowly(values))
    assert all(p <= q <= 1 for p, q in zip(values, adjusted))


def test_the_interval_of_means_is_students():
    from scipy.stats import t

    random = np.random.default_rng(1)
    before, after = random.normal(size=(2, 12))
    before[3] = np.nan
    found = mean_difference(before, after)
    differences = np.delete(after - before, 3)
    low, high = t.interval(0.95, 10, differences.mean(), differences.std(ddof=1) / math.sqrt(11))
    assert (found.low, found.estimate, found.high) == pytest.approx((low, differences.mean(), high))
    assert mean_difference(before[:1], after[:1]).low is None
    assert mean_difference(np.ones(12), np.zeros(12)).low is None, "no width would say that there is no doubt"
    assert mean_difference(before[3:4], after[3:4]) is None


@given(st.integers(2, 60), st.floats(-1, 1), st.floats(0, 1e3))
def test_rows_that_all_differ_by_the_same_have_no_interval_though_rounding_makes_them_differ(rows, step, size):
    before = np.random.default_rng(rows).random(rows) * size
    found = mean_difference(before, before + step)
    assert found.low is None
    assert found.estimate == pytest.approx(step, abs=1e-9)


def test_small_differences_that_are_no_rounding_have_an_interval():
    random = np.random.default_rng(0)
    before = random.random(30)
    assert mean_difference(before, before + 1e-9 * random.random(30)).certain


def test_counts_that_cannot_be_are_refused():
    with pytest.raises(PanelError, match="at least one row, none of them negative; got 0, 0, 0 and 0"):
        paired_difference(0, 0, 0, 0)
    with pytest.raises(PanelError, match="cannot be negative; got -1 and 2"):
        mcnemar(-1, 2)

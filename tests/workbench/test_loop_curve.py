"""The learning curve: the fit finds a law, the interval covers it, and too little is said to be too little."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from workbench.errors import LoopError
from workbench.loop import LearningCurve, Point, PowerLaw

ANSWERS = (0, 5, 10, 20, 50, 100, 200)


def drawn(law: PowerLaw, rows: int, seed: int) -> LearningCurve:
    random = np.random.default_rng(seed)
    errors = random.binomial(rows, law.error(np.array(ANSWERS, float))) / rows
    return LearningCurve(Point(n, 1 - error, rows) for n, error in zip(ANSWERS, errors, strict=True))


def test_the_fit_is_that_of_a_slow_search():
    curve = drawn(PowerLaw(0.5, 0.6, 0.05), rows=1000, seed=3)
    errors = 1 - np.array([p.accuracy for p in curve])
    share = (np.array([p.accuracy for p in curve]) * 1000 + 1) / 1002
    deviation = np.sqrt(share * (1 - share) / 1000)
    (a, b, c), _ = curve_fit(
        lambda n, a, b, c: a * (1 + n) ** -b + c, np.array(ANSWERS, float), errors, p0=(0.5, 0.5, 0.1),
        sigma=deviation, bounds=([0, 0.05, 0], [np.inf, 3, np.inf]),
    )  # fmt: skip
    law = curve.fit()
    found = law.error(np.array([300.0, 1000.0]))
    np.testing.assert_allclose(found, PowerLaw(a, b, c).error(np.array([300.0, 1000.0])), atol=2e-3)


def test_the_interval_covers_the_law_about_as_often_as_it_says():
    law = PowerLaw(0.45, 0.5, 0.05)
    truth = float(1 - law.error(400))
    outlooks = [drawn(law, rows=800, seed=seed).outlook(200, level=0.9, seed=seed) for seed in range(60)]
    covered = np.mean([o.low <= truth <= o.high for o in outlooks])
    assert covered >= 0.8
    assert all(o.answers == 400 and o.low <= o.accuracy <= o.high for o in outlooks)
    assert np.mean([o.high - o.low for o in outlooks]) < 0.1


def test_more_rows_to_judge_by_and_a_shorter_way_make_the_interval_narrower():
    law = PowerLaw(0.45, 0.5, 0.05)
    few, many = drawn(law, 100, 0).outlook(200), drawn(law, 10_000, 0).outlook(200)
    assert many.high - many.low < few.high - few.low
    near, far = drawn(law, 1000, 0).outlook(20), drawn(law, 1000, 0).outlook(5000)
    assert near.high - near.low < far.high - far.low


def test_with_few_points_or_no_rise_there_is_no_estimate_and_a_reason():
    three = LearningCurve([Point(n, 0.5 + n / 100, 100) for n in (0, 5, 10)])
    assert three.outlook(10).accuracy is None
    assert str(three.outlook(10)) == "after 20 answers: no estimate from 3 points; a power law needs 4"
    assert str(LearningCurve().outlook(10)).startswith("after 10 answers: no estimate from 0 points")
    falling = LearningCurve([Point(n, 0.9 - n / 1000, 1000) for n in ANSWERS])
    assert "have not lowered the errors" in falling.outlook(10).why_not


def test_points_that_scatter_more_than_chance_widen_the_interval():
    law = PowerLaw(0.45, 0.5, 0.05)
    smooth = LearningCurve([Point(n, float(1 - law.error(n)), 5000) for n in ANSWERS])
    rough = LearningCurve([
        Point(n, float(1 - law.error(n)) + (0.03 if i % 2 else -0.03), 5000) for i, n in enumerate(ANSWERS)
    ])  # fmt: skip
    narrow, wide = smooth.outlook(100), rough.outlook(100)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_the_area_is_the_mean_accuracy_over_the_answers():
    curve = LearningCurve([Point(20, 0.9, 9), Point(0, 0.5, 9), Point(10, 0.8, 9), Point(10, 0.7, 9)])
    assert [p.accuracy for p in curve] == [0.5, 0.7, 0.9]
    assert curve.area() == pytest.approx((0.6 * 10 + 0.8 * 10) / 20)
    assert curve.area(15) == pytest.approx((0.6 * 10 + 0.75 * 5) / 15)
    with pytest.raises(LoopError, match=r"from 0 to 30 answers; this one has points at \[0, 10, 20\]"):
        curve.area(30)
    with pytest.raises(LoopError, match="from 0 to"):
        LearningCurve([Point(5, 0.5, 9), Point(10, 0.5, 9)]).area()
    with pytest.raises(LoopError, match="`level` lie in"):
        curve.outlook(1, level=1.0)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 500), st.floats(0, 1), st.integers(1, 2000)), min_size=4, max_size=9),
    st.integers(0, 1000),
)
def test_whatever_the_points_an_estimate_is_an_accuracy_inside_its_interval(points, more):
    outlook = LearningCurve([Point(*point) for point in points]).outlook(more)
    if outlook.accuracy is None:
        assert outlook.why_not
    else:
        assert 0 <= outlook.low <= outlook.accuracy <= outlook.high <= 1

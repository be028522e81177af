from itertools import islice

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from workbench.errors import RunError
from workbench.schedule import balanced_batches, hold_out, is_due, learning_rate, row_batches


def test_each_pass_deals_every_row_once_but_the_remainder():
    rows = np.arange(100, 111)
    batches = list(islice(row_batches(rows, 4, seed=0), 4))
    for one, two in (batches[:2], batches[2:]):
        dealt = np.concatenate([one, two])
        assert len(set(dealt)) == 8
        assert set(dealt) <= set(rows)


def test_fewer_rows_than_a_batch_are_all_of_them():
    assert [sorted(batch) for batch in islice(row_batches(np.array([5, 7]), 64, 0), 2)] == [[5, 7]] * 2


def test_the_same_seed_deals_the_same():
    one, two, other = (np.concatenate(list(islice(row_batches(np.arange(50), 8, s), 9))) for s in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 24), st.floats(0.01, 0.99), st.integers(0, 99))
def test_balanced_batches_hold_their_share_no_row_twice_and_all_rows_in_turn(said, others, size, share, seed):
    rows = np.arange(100, 100 + said + others)
    annotated = rows[-said:]
    wanted = min(max(1, round(share * size)), size - 1, said)
    rest = min(size - wanted, others)
    rounds = max(-(-said // wanted), -(-others // rest)) * 2
    batches = list(islice(balanced_batches(rows, annotated, size, share, seed), rounds))
    for batch in batches:
        assert len(batch) == len(set(batch)) == wanted + rest
        assert np.isin(batch, annotated).sum() == wanted
        assert set(batch) <= set(rows)
    if said % wanted == 0 and others % rest == 0:
        assert set(np.concatenate(batches)) == set(rows)
    again = islice(balanced_batches(rows, annotated, size, share, seed), rounds)
    assert all(np.array_equal(one, two) for one, two in zip(batches, again, strict=True))


def test_there_is_nothing_to_balance_where_all_rows_are_annotated_and_none_where_none_is():
    plain, balanced = row_batches(np.arange(9), 4, 3), balanced_batches(np.arange(9), np.arange(20), 4, 0.5, 3)
    assert all(np.array_equal(next(plain), next(balanced)) for _ in range(5))
    with pytest.raises(RunError, match="rows about which something was said; there is none"):
        next(balanced_batches(np.arange(9), np.array([12]), 4, 0.5, 0))
    with pytest.raises(RunError, match="at least 2 in all; got `batch_size` 1"):
        next(balanced_batches(np.arange(9), np.array([2]), 1, 0.5, 0))


@given(st.integers(1, 200), st.integers(1, 30))
def test_looks_are_spread_evenly_and_the_last_step_is_one(steps, checks):
    looks = [done for done in range(1, steps + 1) if is_due(done, steps, checks)]
    assert len(looks) == min(steps, checks)
    assert looks[-1] == steps
    gaps = np.diff([0, *looks])
    assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize(("rows", "size", "message"), [(0, 4, "must be rows"), (3, 0, "at least 1; got 0")])
def test_nothing_to_deal_is_refused(rows, size, message):
    with pytest.raises(RunError, match=message):
        next(row_batches(np.arange(rows), size, 0))


def test_the_learning_rate_rises_and_falls_to_zero_or_stays():
    cosine = [learning_rate(step, 100, peak=2.0, warmup=10, decay="cosine") for step in range(100)]
    assert cosine[0] == pytest.approx(0.2)
    assert max(cosine) == cosine[9] == 2.0
    assert cosine[10:] == sorted(cosine[10:], reverse=True)
    assert 0 < cosine[-1] < 0.01
    assert learning_rate(50, 100, peak=2.0, warmup=10, decay="constant") == 2.0


def test_copies_of_one_source_stay_on_one_side():
    source = np.repeat(np.arange(30), 4)
    kept, held = hold_out(source, 0.2, seed=0)
    assert len(held) == 24
    assert not set(source[kept]) & set(source[held])
    assert sorted([*kept, *held]) == list(range(120))


@given(st.integers(2, 60), st.integers(0, 60), st.floats(0.05, 0.9), st.integers(0, 9), st.integers(1, 3))
def test_what_was_said_is_parted_in_the_same_share_and_something_is_left_to_train_on(said, others, share, seed, copies):
    originals = np.repeat(np.arange(said + others), copies)
    total = round(share * (said + others))
    assume(0 < total < said + others)
    annotated = np.flatnonzero(originals < said)[::copies]
    kept, held = hold_out(originals, share, seed, annotated=annotated)
    assert sorted([*kept, *held]) == list(range(len(originals)))
    assert not set(originals[kept]) & set(originals[held])
    assert abs(len(set(originals[held])) - total) <= 1
    of_said = len(set(originals[held]) & set(range(said)))
    assert of_said == min(round(share * said), said - 1)
    if others == 0 and of_said == total:
        assert np.array_equal(held, hold_out(originals, share, seed)[1])


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_row_that_says_no_original_is_refused(missing):
    originals = np.array([1.0, missing, 3.0], object if missing is None else float)
    with pytest.raises(RunError, match="1 of 3 rows do not: fill in"):
        hold_out(originals, 0.4, seed=0)


@pytest.mark.parametrize("steps", [1, 2, 4, 15])
def test_however_short_a_training_its_learning_rate_gets_there(steps):
    rates = [learning_rate(step, steps, peak=2.0, warmup=10, decay="cosine") for step in range(steps)]
    assert max(rates) == 2.0
    assert rates[steps // 2] == 2.0


@pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
def test_a_side_without_rows_is_refused(share):
    with pytest.raises(RunError, match="Both sides of a split must have rows"):
        hold_out(np.arange(10), share, seed=0)

from itertools import islice

import numpy as np
import pytest

from workbench.errors import RunError
from workbench.schedule import hold_out, learning_rate, row_batches


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


@pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
def test_a_side_without_rows_is_refused(share):
    with pytest.raises(RunError, match="Both sides of a split must have rows"):
        hold_out(np.arange(10), share, seed=0)

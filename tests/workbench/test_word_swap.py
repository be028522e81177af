import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from explain import Batch, Rationale
from explain.counterexamples import DropTokens
from explain.errors import KindError, ShapeError
from workbench.word_swap import SwapTokens


def swapped(inputs, mask, seed=0):
    batch = Batch(inputs, torch.zeros(len(inputs), dtype=torch.int64))
    return SwapTokens()(batch, Rationale(irrelevant=mask), torch.Generator().manual_seed(seed)).inputs


@given(st.integers(1, 8), st.integers(1, 6), st.integers(0, 1000))
def test_marked_tokens_come_from_marks_of_one_other_row_and_all_else_stays(rows, width, seed):
    drawn = torch.Generator().manual_seed(seed)
    # Each token says which row it came from.
    inputs = 100 * torch.arange(1, rows + 1)[:, None] + torch.arange(width)
    mask = torch.rand(rows, width, generator=drawn) < 0.4
    result = swapped(inputs, mask, seed)
    marked = mask.any(dim=1)
    if marked.sum() < 2:
        dropped = DropTokens()(Batch(inputs, torch.zeros(rows).long()), Rationale(irrelevant=mask), drawn).inputs
        assert torch.equal(result, dropped)
        return
    assert torch.equal(result[~mask], inputs[~mask])
    donors = set()
    for row in marked.nonzero()[:, 0].tolist():
        taken = result[row][mask[row]]
        (donor,) = set((taken // 100 - 1).tolist())
        assert donor != row
        donors.add(donor)
        there = inputs[donor][mask[donor]].tolist()
        assert taken.tolist() == [there[i % len(there)] for i in range(len(taken))]
    assert len(donors) == marked.sum(), "each row gives to one other"


def test_the_same_seed_swaps_the_same_and_the_batch_is_left_alone():
    inputs, mask = torch.arange(40).reshape(10, 4), torch.ones(10, 4, dtype=torch.bool)
    before = inputs.clone()
    assert torch.equal(swapped(inputs, mask, 1), swapped(inputs, mask, 1))
    assert not torch.equal(swapped(inputs, mask, 1), swapped(inputs, mask, 2))
    assert torch.equal(inputs, before)


def test_what_is_no_row_of_tokens_is_refused():
    with pytest.raises(KindError, match="Tokens must be integers"):
        swapped(torch.rand(2, 3), torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(ShapeError, match="A mask must have the shape"):
        swapped(torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 4, dtype=torch.bool))

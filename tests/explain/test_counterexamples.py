import pytest
import torch

from explain import Batch, Grey, Rationale, ShapeError, Swap, grey, swap


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def corners(rows):
    """Rows whose values say where they come from, and a mark in one of two corners."""
    inputs = torch.arange(rows * 2 * 4 * 4, dtype=torch.float32).reshape(rows, 2, 4, 4)
    mask = torch.zeros(rows, 4, 4, dtype=torch.bool)
    mask[::2, :2, :2] = True
    mask[1::2, 2:, 2:] = True
    return inputs, mask


def test_swap_changes_the_region_only_and_keeps_place_and_channels():
    inputs, mask = corners(8)
    swapped = swap(inputs, mask, seeded())
    full = mask[:, None].expand_as(inputs)
    assert torch.equal(swapped[~full], inputs[~full])
    distance = (swapped - inputs)[full].reshape(8, 2, 4)
    # The same place of another row: everything in the region moved by a whole number of rows.
    assert (distance == distance[:, :1, :1]).all()
    assert (distance % 32 == 0).all()


def test_swap_takes_from_another_row_with_the_same_region():
    inputs, mask = corners(9)
    for seed in range(20):
        moved = ((swap(inputs, mask, seeded(seed)) - inputs).flatten(1).abs().amax(dim=1) / 32).int()
        assert (moved > 0).all()
        assert (moved % 2 == 0).all()


def test_a_region_that_no_other_row_has_is_filled_from_any_other_row():
    inputs, mask = corners(4)
    mask[0] = False
    mask[0, 1, 1:3] = True
    for seed in range(20):
        assert not torch.equal(swap(inputs, mask, seeded(seed))[0], inputs[0])


def test_a_lone_row_has_no_donor_and_stays_as_it_is():
    inputs, mask = corners(1)
    assert torch.equal(swap(inputs, mask, seeded()), inputs)


def test_grey_fills_with_one_constant_per_row_in_the_unit_interval():
    inputs, mask = corners(6)
    filled = grey(inputs, mask, seeded())
    full = mask[:, None].expand_as(inputs)
    assert torch.equal(filled[~full], inputs[~full])
    values = filled[full].reshape(6, 8)
    assert (values == values[:, :1]).all()
    assert ((values >= 0) & (values < 1)).all()
    assert len(values[:, 0].unique()) == 6


@pytest.mark.parametrize("counterexample", [Swap(), Grey()])
def test_rows_without_a_rationale_and_labels_are_unchanged(counterexample):
    inputs, mask = corners(6)
    mask[3] = False
    batch = Batch(inputs.clone(), torch.arange(6))
    changed = counterexample(batch, Rationale(irrelevant=mask), seeded())
    assert torch.equal(changed.inputs[3], inputs[3])
    assert torch.equal(changed.labels, batch.labels)
    assert torch.equal(batch.inputs, inputs)
    assert counterexample(batch, Rationale(), seeded()) is batch


@pytest.mark.parametrize("counterexample", [Swap(), Grey()])
def test_the_same_seed_draws_the_same(counterexample):
    inputs, mask = corners(6)
    batch, said = Batch(inputs, torch.arange(6)), Rationale(irrelevant=mask)
    one, two, other = (counterexample(batch, said, seeded(seed)).inputs for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("refill", [swap, grey])
def test_a_mask_that_does_not_fit_is_refused(refill):
    with pytest.raises(ShapeError, match="A mask must have the shape"):
        refill(torch.zeros(2, 1, 4, 4), torch.ones(2, 3, 3, dtype=torch.bool), seeded())

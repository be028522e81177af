import math

import pytest
import torch
from torch import nn

from explain import (
    KindError,
    SettingError,
    ShapeError,
    deletion,
    insertion,
    mass_on_mask,
    swap_sensitivity,
    worst_class_accuracy,
)
from explain.measures import comprehensiveness, sufficiency


def test_mass_is_the_share_of_magnitude_inside():
    scores = torch.tensor([[[1.0, -3.0], [0.0, 4.0]]])
    mask = torch.tensor([[True, True], [False, False]])[None]
    assert mass_on_mask(scores, mask).tolist() == [0.5]
    assert mass_on_mask(scores, mask, part="positive").tolist() == pytest.approx([0.2])


def test_mass_is_nan_for_an_empty_mask_or_an_empty_map():
    scores = torch.tensor([[1.0, 2.0], [0.0, 0.0], [0.0, 5.0]])
    mask = torch.tensor([[False, False], [True, False], [True, False]])
    mass = mass_on_mask(scores, mask)
    assert mass.isnan().tolist() == [True, True, False]
    assert mass[2] == 0


def test_an_unknown_part_is_refused():
    with pytest.raises(SettingError, match="magnitude, positive; got 'negative'"):
        mass_on_mask(torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), part="negative")


def reads_first(inputs):
    return torch.stack([inputs[:, 0], -inputs[:, 0]], dim=1)


def test_a_model_that_reads_the_region_flips_and_one_that_does_not_never_does():
    inputs = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    first = torch.tensor([[True, False]]).expand(400, 2)
    share = swap_sensitivity(reads_first, inputs, first, inputs, seed=1, batch_size=64)
    assert share == pytest.approx(0.5, abs=0.08)
    assert swap_sensitivity(reads_first, inputs, ~first, inputs) == 0.0


def test_rows_without_a_region_do_not_dilute_swap_sensitivity():
    inputs = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    mask = torch.tensor([[True, False], [False, False]])
    donor = torch.tensor([[-1.0, 0.0]])
    assert swap_sensitivity(reads_first, inputs, mask, donor, draws=3) == 1.0
    assert math.isnan(swap_sensitivity(reads_first, inputs, mask & False, donor))


def test_donors_are_drawn_with_the_seed():
    inputs = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, False]]).expand(50, 2)
    one, two = (swap_sensitivity(reads_first, inputs, mask, inputs, seed=3) for _ in range(2))
    assert one == two


@pytest.mark.parametrize("given", [False, True])
def test_a_row_is_refilled_from_another_one_never_from_itself(given):
    inputs = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    donors = [inputs] if given else []
    mask = torch.tensor([[True, False], [True, False]])
    assert swap_sensitivity(reads_first, inputs, mask, *donors, draws=40) == 1.0
    assert swap_sensitivity(reads_first, inputs, mask & torch.tensor([[False], [True]]), *donors, draws=40) == 1.0
    with pytest.raises(SettingError, match="refilled from another one; there is only one"):
        swap_sensitivity(reads_first, inputs[:1], mask[:1])
    assert math.isnan(swap_sensitivity(reads_first, inputs[:1], mask[:1] & False))


@pytest.mark.parametrize("batch_size", [1, 7, 512])
def test_the_size_of_a_pass_changes_no_donor(batch_size):
    inputs = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, False]]).expand(50, 2)
    drawn = torch.randint(49, (3, 50), generator=torch.Generator().manual_seed(3)).tolist()
    positive = (inputs[:, 0] > 0).tolist()
    others = [[other for other in range(50) if other != row] for row in range(50)]
    flips = [positive[others[row][place]] != positive[row] for draw in drawn for row, place in enumerate(draw)]
    found = swap_sensitivity(reads_first, inputs, mask, inputs, seed=3, draws=3, batch_size=batch_size)
    assert found == sum(flips) / 150
    with pytest.raises(SettingError, match="`batch_size` must be a whole number of at least 1; got 0"):
        swap_sensitivity(reads_first, inputs, mask, inputs, batch_size=0)


def swapped(net, x, mask):
    return torch.tensor(swap_sensitivity(net, x, mask, x.flip(0)))


def deleted(net, x, mask):
    return deletion(net, x, x, filler=0.0, steps=3).values


def inserted(net, x, mask):
    return insertion(net, x, x, filler=0.0, steps=3).values


def comprehended(net, x, mask):
    return comprehensiveness(net, x, x, filler=0.0)


def sufficed(net, x, mask):
    return sufficiency(net, x, x, filler=0.0)


@pytest.mark.parametrize("measure", [swapped, deleted, inserted, comprehended, sufficed])
def test_a_model_in_training_is_measured_as_it_will_be_used_and_left_as_found(measure):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    x, mask = torch.randn(20, 6), torch.ones(20, 6, dtype=torch.bool)
    expected = measure(net.eval(), x, mask)
    net.train()[1].eval()
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    assert torch.equal(measure(net, x, mask), expected)
    net[1].train()
    assert torch.equal(measure(net, x, mask), expected)
    assert all(part.training for part in net.modules())
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in net.named_buffers())


def test_donors_must_look_like_the_inputs_and_exist():
    inputs, mask = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(ShapeError, match=r"rows of shape \(3,\); got \(4,\)"):
        swap_sensitivity(reads_first, inputs, mask, torch.zeros(2, 4))
    with pytest.raises(SettingError, match="at least one donor"):
        swap_sensitivity(reads_first, inputs, mask, inputs[:0])


def test_worst_class_accuracy_skips_classes_that_are_absent():
    labels = torch.tensor([0, 0, 3, 3, 3, 3])
    predicted = torch.tensor([0, 0, 3, 3, 1, 3])
    assert worst_class_accuracy(predicted, labels) == 0.75
    assert math.isnan(worst_class_accuracy(labels[:0], labels[:0]))
    with pytest.raises(ShapeError, match="both have shape"):
        worst_class_accuracy(predicted[:2], labels)


def test_a_model_that_answers_nan_is_not_measured_as_one_that_never_flips():
    mask = torch.ones(4, 2, dtype=torch.bool)
    assert math.isnan(swap_sensitivity(lambda x: x * math.nan, torch.rand(4, 2), mask))
    # Once it sees a certain value only.
    inputs = torch.tensor([[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]])
    poisoned = torch.ones(3, 2, dtype=torch.bool)
    poisoned[:, 0] = False
    model = lambda x: torch.where(x == 1.0, math.nan, x)  # noqa: E731
    assert math.isnan(swap_sensitivity(model, inputs[1:], poisoned[1:], donors=inputs[:1]))


def test_a_row_without_a_label_has_no_class():
    with pytest.raises(KindError, match=r"class numbers from 0.*the least -1"):
        worst_class_accuracy(torch.tensor([0, 1]), torch.tensor([-1, 1]))


def test_probabilities_are_not_rounded_to_the_inputs_half_precision():
    inputs = torch.tensor([[7.0, 0.0]], dtype=torch.bfloat16)
    scores = torch.tensor([[1.0, 0.0]])
    found = comprehensiveness(lambda x: x - torch.tensor([1.0, 0.0]), scores, inputs, shares=(0.5,), filler=6.0)
    wide = comprehensiveness(lambda x: x - torch.tensor([1.0, 0.0]), scores, inputs.float(), shares=(0.5,), filler=6.0)
    torch.testing.assert_close(found, wide)

import math

import pytest
import torch

from explain import SettingError, ShapeError, mass_on_mask, swap_sensitivity, worst_class_accuracy


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

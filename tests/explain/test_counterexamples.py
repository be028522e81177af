import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from explain import Batch, Grey, KindError, Rationale, SettingError, ShapeError, Swap, grey, swap
from explain.counterexamples import (
    Added,
    Blur,
    Constant,
    DropTokens,
    DropWords,
    Mean,
    Noise,
    OtherClass,
    ReplaceTokens,
    lent_regions,
)

# Every refill of numbers, with settings that differ from their defaults.
REFILLS = [Swap(), OtherClass(), Grey(), Noise(-1.0, 3.0), Constant((0.5, -7.0)), Mean(), Blur(0.8)]
RANDOM = [Swap(), OtherClass(), Grey(), Noise()]


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


def test_swap_takes_from_any_other_row_if_asked():
    inputs, mask = corners(9)
    moved = torch.stack(
        [((swap(inputs, mask, seeded(seed), same_region=False) - inputs).flatten(1).abs().amax(dim=1) / 32).int()
         for seed in range(20)]
    )  # fmt: skip
    assert (moved > 0).all()
    assert 0.3 < (moved % 2).float().mean() < 0.8, "the other corner is that of every second row"


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


@pytest.mark.parametrize("counterexample", REFILLS)
def test_only_marked_elements_of_marked_rows_change_and_labels_stay(counterexample):
    inputs, mask = corners(6)
    mask[3] = False
    batch = Batch(inputs.clone(), torch.arange(6))
    changed = counterexample(batch, Rationale(irrelevant=mask), seeded())
    full = mask[:, None].expand_as(inputs)
    assert torch.equal(changed.inputs[~full], inputs[~full])
    assert (changed.inputs[full] != inputs[full]).any()
    assert torch.equal(changed.inputs[3], inputs[3])
    assert torch.equal(changed.labels, batch.labels)
    assert torch.equal(batch.inputs, inputs)
    assert changed.inputs.dtype == inputs.dtype
    assert counterexample(batch, Rationale(), seeded()) is batch


@pytest.mark.parametrize("counterexample", [*REFILLS, ReplaceTokens(token=1), DropTokens(), DropWords()])
def test_it_is_a_frozen_setting_that_compares(counterexample):
    assert counterexample == type(counterexample)(**vars(counterexample))
    assert hash(counterexample) == hash(type(counterexample)(**vars(counterexample)))


@pytest.mark.parametrize("counterexample", [*RANDOM, Added(Noise(), copies=2)])
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


@pytest.mark.parametrize("counterexample", REFILLS)
def test_a_mask_that_does_not_fit_the_batch_is_refused(counterexample):
    said = Rationale(irrelevant=torch.ones(2, 3, 3, dtype=torch.bool))
    with pytest.raises(ShapeError, match="A mask must have the shape"):
        counterexample(Batch(torch.zeros(2, 2, 4, 4), torch.tensor([0, 1])), said, seeded())


@pytest.mark.parametrize("counterexample", [Noise(), Mean(), Blur(), DropWords()])
def test_integers_are_refused_where_the_refill_is_not_an_integer(counterexample):
    said = Rationale(irrelevant=torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(KindError, match="floating point"):
        counterexample(Batch(torch.ones(1, 3, dtype=torch.int64), torch.tensor([0])), said, seeded())


@pytest.mark.parametrize("refill", [Constant(0.5), Grey(), Noise(), Mean(), Blur(1.0)], ids=repr)
def test_masks_may_lie_on_another_device_than_the_inputs(refill):
    # The meta device has shapes and no numbers: it is another device on every machine.
    batch = Batch(torch.zeros(2, 1, 4, 4, device="meta"), torch.tensor([0, 1], device="meta"))
    said = Rationale(irrelevant=torch.ones(2, 4, 4, dtype=torch.bool))
    assert refill(batch, said, torch.Generator()).inputs.device.type == "meta"


def test_the_donor_of_another_class_has_another_label_and_where_possible_the_same_region():
    inputs, mask = corners(12)
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2])
    for seed in range(20):
        changed = OtherClass()(Batch(inputs, labels), Rationale(irrelevant=mask), seeded(seed)).inputs
        for row in range(12):
            moved = (changed[row] - inputs[row])[mask[row].expand(2, 4, 4)].unique()
            donor = row + int(moved.item()) // 32
            assert labels[donor] != labels[row]
            assert torch.equal(mask[donor], mask[row])


def test_a_donor_of_another_class_may_have_another_region_where_none_has_the_same():
    inputs, mask = corners(4)
    labels = torch.tensor([0, 1, 0, 1])  # one region for each class
    changed = OtherClass()(Batch(inputs, labels), Rationale(irrelevant=mask), seeded()).inputs
    for row in range(4):
        assert ((changed - inputs)[row].abs().amax() / 32).item() in (1, 3)


def test_every_donor_of_another_class_is_drawn():
    inputs = torch.arange(6.0)[:, None]
    mask = torch.tensor([True, False, False, False, False, False])[:, None]
    batch = Batch(inputs, torch.tensor([0, 0, 1, 1, 2, 0]))
    drawn = {OtherClass()(batch, Rationale(irrelevant=mask), seeded(seed)).inputs[0].item() for seed in range(60)}
    assert drawn == {2.0, 3.0, 4.0}


def test_without_another_class_a_row_stays_as_it_is():
    inputs, mask = corners(4)
    batch = Batch(inputs, torch.zeros(4, dtype=torch.int64))
    assert torch.equal(OtherClass()(batch, Rationale(irrelevant=mask), seeded()).inputs, inputs)
    blank = Rationale(irrelevant=torch.zeros_like(mask))
    assert torch.equal(OtherClass()(batch, blank, seeded()).inputs, inputs)


def test_noise_is_drawn_for_each_element_and_fills_its_range():
    batch = Batch(torch.full((40, 1, 5, 5), 9.0), torch.arange(40))
    said = Rationale(irrelevant=torch.ones(40, 5, 5, dtype=torch.bool))
    noise = Noise(-1.0, 3.0)(batch, said, seeded()).inputs
    assert len(noise.unique()) > 990
    assert -1 <= noise.min() < -0.95
    assert 2.95 < noise.max() < 3
    assert noise.mean().item() == pytest.approx(1.0, abs=0.15)


def test_a_constant_may_differ_between_channels_and_come_from_data():
    inputs, mask = corners(3)
    constant = Constant.mean_of(inputs)
    assert constant.value == pytest.approx([inputs[:, 0].mean().item(), inputs[:, 1].mean().item()])
    filled = constant(Batch(inputs, torch.arange(3)), Rationale(irrelevant=mask), seeded()).inputs
    for channel in range(2):
        assert filled[:, channel][mask].unique().tolist() == [constant.value[channel]]


def test_a_constant_for_other_channels_is_refused():
    inputs, mask = corners(2)
    with pytest.raises(ShapeError, match="each of 2 channels or features; got 3"):
        Constant((1.0, 2.0, 3.0))(Batch(inputs, torch.arange(2)), Rationale(irrelevant=mask), seeded())
    with pytest.raises(ShapeError, match=r"none empty; got \(0, 4\)"):
        Constant.mean_of(torch.zeros(0, 4))


def test_the_mean_is_that_of_the_unmarked_part_of_the_row_and_channel():
    inputs, mask = corners(4)
    filled = Mean()(Batch(inputs, torch.arange(4)), Rationale(irrelevant=mask), seeded()).inputs
    for row in range(4):
        for channel in range(2):
            kept = [inputs[row, channel, i, j].item() for i in range(4) for j in range(4) if not mask[row, i, j].item()]
            assert filled[row, channel][mask[row]].tolist() == pytest.approx([sum(kept) / len(kept)] * 4)


def test_the_mean_of_a_channel_that_is_marked_wholly_is_zero():
    inputs = torch.full((1, 2, 2, 2), 3.0)
    mask = torch.zeros(1, 2, 2, 2, dtype=torch.bool)
    mask[0, 1] = True
    filled = Mean()(Batch(inputs, torch.tensor([0])), Rationale(irrelevant=mask), seeded()).inputs
    assert filled[0].flatten(1).tolist() == [[3.0] * 4, [0.0] * 4]


@pytest.mark.parametrize("shape", [(2, 2, 6), (2, 1, 5, 4), (2, 1, 3, 4, 2)])
def test_a_blur_is_the_gaussian_average_of_the_row(shape):
    inputs = torch.rand(shape, dtype=torch.float64, generator=seeded())
    said = Rationale(irrelevant=torch.ones(shape, dtype=torch.bool))
    blurred = Blur(0.9)(Batch(inputs, torch.arange(2)), said, seeded()).inputs
    places = list(torch.cartesian_prod(*[torch.arange(size) for size in shape[2:]]).reshape(-1, len(shape) - 2))
    for here in places:
        weights = [math.exp(-((here - there).square().sum().item()) / (2 * 0.9**2)) for there in places]
        for row in range(2):
            values = [inputs[(row, 0, *there.tolist())].item() for there in places]
            expected = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
            assert blurred[(row, 0, *here.tolist())].item() == pytest.approx(expected)


def test_a_blur_leaves_a_flat_row_as_it_is():
    batch = Batch(torch.full((1, 1, 6, 6), 0.3), torch.tensor([0]))
    said = Rationale(irrelevant=torch.ones(1, 6, 6, dtype=torch.bool))
    torch.testing.assert_close(Blur(5.0)(batch, said, seeded()).inputs, batch.inputs)


def test_a_table_cannot_be_blurred():
    said = Rationale(irrelevant=torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"\(batch, channels, \*places\); got \(1, 3\)"):
        Blur()(Batch(torch.zeros(1, 3), torch.tensor([0])), said, seeded())


TOKENS = torch.tensor([[4, 5, 6, 7, 0, 0], [8, 9, 4, 5, 6, 7], [4, 4, 0, 0, 0, 0]])
SPANS = torch.tensor([[0, 1, 0, 1, 0, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]]).bool()
TEXTS = Batch(TOKENS, torch.tensor([0, 1, 2]))


def test_dropped_tokens_leave_no_gap():
    dropped = DropTokens(pad=0)(TEXTS, Rationale(irrelevant=SPANS), seeded())
    assert dropped.inputs.tolist() == [[4, 6, 0, 0, 0, 0], [0] * 6, [4, 4, 0, 0, 0, 0]]
    assert dropped.inputs.dtype == torch.int64
    assert TOKENS[0, 1] == 5


def test_marked_tokens_become_a_token_or_random_ones():
    said = Rationale(irrelevant=SPANS)
    masked = ReplaceTokens(token=3)(TEXTS, said, seeded()).inputs
    assert masked.tolist() == [[4, 3, 6, 3, 0, 0], [3] * 6, [4, 4, 0, 0, 0, 0]]
    drawn = torch.stack([ReplaceTokens(between=(10, 13))(TEXTS, said, seeded(seed)).inputs for seed in range(9)])
    assert drawn[:, SPANS].unique().tolist() == [10, 11, 12]
    assert (drawn[:, ~SPANS] == TOKENS[~SPANS]).all()


@pytest.mark.parametrize("counterexample", [DropTokens(), ReplaceTokens(token=1)])
def test_what_is_not_a_row_of_tokens_is_refused(counterexample):
    with pytest.raises(KindError, match="must be integers"):
        counterexample(Batch(TOKENS.float(), TEXTS.labels), Rationale(irrelevant=SPANS), seeded())
    with pytest.raises(ShapeError, match=r"\(batch, tokens\); got \(3, 1, 6\)"):
        counterexample(Batch(TOKENS[:, None], TEXTS.labels), Rationale(irrelevant=SPANS), seeded())


def test_a_bag_without_its_words_keeps_its_norm():
    bags = torch.tensor([[3.0, 4.0, 12.0], [1.0, 2.0, 0.0], [0.0, 5.0, 0.0]])
    said = Rationale(irrelevant=torch.tensor([[True, False, False], [False, False, False], [False, True, False]]))
    told = DropWords()(Batch(bags, torch.arange(3)), said, seeded()).inputs
    assert told[0].tolist() == pytest.approx([0.0, 4 * 13 / math.sqrt(160), 12 * 13 / math.sqrt(160)])
    assert torch.equal(told[1], bags[1])
    assert told[2].tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(ShapeError, match=r"\(batch, vocabulary\)"):
        DropWords()(Batch(bags[:, None], torch.arange(3)), said, seeded())


def test_copies_of_annotated_rows_are_added_with_their_labels():
    inputs, mask = corners(5)
    mask[[1, 4]] = False
    batch = Batch(inputs, torch.tensor([4, 3, 2, 1, 0]))
    told = Added(Noise(), copies=3)(batch, Rationale(irrelevant=mask), seeded())
    assert torch.equal(told.inputs[:5], inputs)
    assert told.labels.tolist() == [4, 3, 2, 1, 0, *[4, 2, 1] * 3]
    copies = told.inputs[5:].reshape(3, 3, 2, 4, 4)
    marked = mask[[0, 2, 3]][:, None].expand(3, 2, 4, 4)
    assert (copies[:, ~marked] == inputs[[0, 2, 3]][~marked]).all()
    assert len(copies[:, marked].unique()) == copies[:, marked].numel()


def test_donors_of_added_copies_come_from_the_whole_batch():
    batch = Batch(torch.tensor([[1.0], [2.0]]), torch.tensor([0, 1]))
    told = Added(Swap())(batch, Rationale(irrelevant=torch.tensor([[True], [False]])), seeded())
    assert told.inputs.tolist() == [[1.0], [2.0], [2.0]]


def test_rows_that_are_lent_a_region_are_added_too():
    inputs = torch.tensor([[1.0, 10.0, 10.0, 10.0], [2.0, 20.0, 20.0, 20.0], [3.0, 30.0, 30.0, 30.0]])
    mask = torch.zeros(3, 4, dtype=torch.bool)
    mask[0, 0] = True
    batch, said = Batch(inputs, torch.arange(3)), Rationale(irrelevant=mask)
    replaced = Swap(lend=1.0)(batch, said, seeded())
    added = Added(Swap(lend=1.0))(batch, said, seeded())
    assert added.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert torch.equal(added.inputs, torch.cat([inputs, replaced.inputs]))


def test_grey_is_drawn_from_the_range_of_the_inputs():
    batch, said = (
        Batch(torch.zeros(200, 2), torch.zeros(200, dtype=torch.long)),
        Rationale(irrelevant=torch.ones(200, 2, dtype=torch.bool)),
    )
    found = Grey(-2.0, 3.0)(batch, said, seeded()).inputs
    assert -2 <= found.min() < -1.8
    assert 2.8 < found.max() < 3
    with pytest.raises(SettingError, match="`low` must be below `high`"):
        Grey(1.0, 1.0)


def test_a_constant_may_be_a_list_or_a_tensor():
    assert Constant(torch.tensor([0.5, 1.0])) == Constant([0.5, 1.0]) == Constant((0.5, 1.0))
    assert Constant(torch.tensor(0.5)) == Constant(0.5)


def test_a_constant_that_half_precision_cannot_hold_is_refused():
    batch = Batch(torch.zeros(1, 2, dtype=torch.float16), torch.tensor([0]))
    with pytest.raises(SettingError, match=r"range of the inputs, torch.float16; got 1000000.0"):
        Constant(1e6)(batch, Rationale(irrelevant=torch.ones(1, 2, dtype=torch.bool)), seeded())


def test_what_is_no_batch_no_generator_or_no_instance_is_refused():
    batch = Batch(torch.zeros(1, 2), torch.tensor([0]))
    said = Rationale(irrelevant=torch.ones(1, 2, dtype=torch.bool))
    with pytest.raises(KindError, match="must be a Batch"):
        Swap()(batch.inputs, said, seeded())
    with pytest.raises(KindError, match=r"must be a torch.Generator.*got int"):
        Swap()(batch, said, 0)
    with pytest.raises(SettingError, match=r"an instance, `Grey\(\)`; got the class"):
        Added(Grey)


def test_nothing_is_added_where_nothing_was_said():
    inputs, mask = corners(3)
    batch = Batch(inputs, torch.arange(3))
    for nothing in (Rationale(), Rationale(relevant=mask), Rationale(irrelevant=torch.zeros_like(mask))):
        assert Added(Grey())(batch, nothing, seeded()) is batch


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (lambda: Noise(1.0, 1.0), "`low` must be below `high`, and both finite; got 1.0 and 1.0"),
        (lambda: Noise(0.0, math.inf), "both finite"),
        (lambda: Constant(math.nan), "must be finite"),
        (lambda: Constant(()), "tuple of finite values"),
        (lambda: Blur(0.0), "positive and finite; got 0.0"),
        (lambda: ReplaceTokens(), "Exactly one of `token` and `between`"),
        (lambda: ReplaceTokens(token=1, between=(1, 2)), "Exactly one of `token` and `between`"),
        (lambda: ReplaceTokens(between=(5, 5)), "a range with a token in it"),
        (lambda: Added(Swap(), copies=0), "at least 1; got 0"),
        (lambda: Added(Added(Swap())), "give `copies` instead"),
    ],
)
def test_settings_that_mean_nothing_are_refused(setting, words):
    with pytest.raises(SettingError, match=words):
        setting()


def test_the_mean_of_a_large_image_in_half_precision_is_finite():
    inputs = torch.ones(1, 1, 300, 300, dtype=torch.float16)
    mask = torch.zeros(1, 300, 300, dtype=torch.bool)
    mask[0, 0, 0] = True
    refilled = Mean()(Batch(inputs, torch.tensor([0])), Rationale(irrelevant=mask), seeded()).inputs
    assert torch.equal(refilled, inputs)


def test_grey_is_none_of_the_integers():
    with pytest.raises(KindError, match="floating point"):
        grey(torch.ones(1, 2, dtype=torch.int64), torch.ones(1, 2, dtype=torch.bool), seeded())


def test_the_mean_of_data_is_that_of_each_channel_whatever_its_kind():
    data = torch.randint(0, 255, (5, 3, 4, 6), generator=seeded(), dtype=torch.uint8)
    expected = tuple(sum(data[:, c].flatten().tolist()) / (5 * 24) for c in range(3))
    assert Constant.mean_of(data).value == pytest.approx(expected, rel=1e-12)


@given(share=st.sampled_from([0.0, 0.3, 1.0]), seed=st.integers(0, 99), rows=st.integers(1, 12))
def test_regions_are_lent_to_rows_without_a_mark_and_to_no_others(share, seed, rows):
    drawn = torch.Generator().manual_seed(seed)
    marks = torch.zeros(rows, 4, 4, dtype=torch.bool)
    marks[:, 1, 2] = torch.rand(rows, generator=drawn) < 0.5
    marks[0, :3] = seed % 3 == 0  # too large to be lent
    lent = lent_regions(marks, share, seeded())
    had = marks.flatten(1).any(dim=1)
    assert torch.equal(lent[had], marks[had])
    small = marks[had & (marks.flatten(1).sum(dim=1) <= 4)]
    for row in lent[~had]:
        assert not row.any() or any(torch.equal(row, mark) for mark in small)
    if share == 1.0 and len(small):
        assert lent.flatten(1).any(dim=1).all()
    if share == 0.0 or had.all() or not had.any():
        assert lent is marks


def test_a_swap_with_regions_lent_makes_what_their_place_shows_tell_nothing():
    labels = torch.arange(4000) % 2
    inputs = torch.zeros(4000, 16)
    inputs[:, 0] = labels.float()
    marks = torch.zeros(4000, 16, dtype=torch.bool)
    marks[:, 0] = labels.bool()
    batch, said = Batch(inputs, labels), Rationale(irrelevant=marks)
    alone = Swap()(batch, said, seeded()).inputs[:, 0]
    assert torch.equal(alone, labels.float()), "the tag is replaced by the tag of its own class"
    lent = Swap(lend=1.0)(batch, said, seeded()).inputs[:, 0]
    shown = [lent[labels == label].mean().item() for label in (0, 1)]
    assert shown == pytest.approx([0.5, 0.5], abs=0.05)
    with pytest.raises(SettingError, match="in \\[0, 1\\]; got 2"):
        Swap(lend=2)


@pytest.mark.parametrize(("value", "kind"), [(-1.0, torch.uint8), (255.6, torch.uint8), (200.0, torch.int8)])
def test_a_constant_that_integers_cannot_hold_is_refused_and_others_are_rounded(value, kind):
    """Cast, it would be 255, 0 and −56."""
    batch = Batch(torch.full((2, 3), 7, dtype=kind), torch.tensor([0, 1]))
    marks = Rationale(irrelevant=torch.tensor([[True, False, True]]).expand(2, 3))
    with pytest.raises(SettingError, match="must lie in the range of the inputs"):
        Constant(value)(batch, marks, seeded())
    assert Constant(3.0)(batch, marks, seeded()).inputs.tolist() == [[3, 7, 3]] * 2
    mean = Constant.mean_of(torch.tensor([[1, 2, 4], [2, 2, 9], [2, 2, 9]], dtype=kind))
    assert mean(batch, marks, seeded()).inputs[0].tolist() == [2, 7, 7]

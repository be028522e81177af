import math

import pytest
import torch
from torch import nn

from explain import (
    Attribution,
    Batch,
    KindError,
    MethodError,
    Rationale,
    RightReasons,
    SettingError,
    ShapeError,
    Swap,
    mean_penalty,
)
from explain.procedures import find_another_explanation, masktune_inputs, own_top_region
from explain.testing import Smooth

ROWS, FEATURES = 200, 6


def two_rules(seed):
    """The label is in the first feature, loud, and again in the fourth, lower; the rest is noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(ROWS) % 2
    inputs = 0.5 * torch.randn(ROWS, FEATURES, generator=generator)
    for feature, size in ((0, 3.0), (3, 1.0)):
        inputs[:, feature] = size * (2 * labels - 1) + 0.3 * torch.randn(ROWS, generator=generator)
    return Batch(inputs, labels)


@pytest.fixture(scope="module")
def data():
    return two_rules(0)


@pytest.fixture(scope="module")
def held_out():
    return two_rules(1)


def accuracy(model, batch):
    with torch.no_grad():
        return (model(batch.inputs).argmax(dim=1) == batch.labels).double().mean().item()


def fit(batch, said=None, start=None, steps=200):
    """Train a small net, from the start or on, with the right reasons if something was said."""
    torch.manual_seed(0)
    net = start
    if net is None:
        net = nn.Sequential(nn.Linear(FEATURES, 16), nn.Softplus(), nn.Linear(16, 2))
        for weight in net.parameters():
            weight.data *= 0.3
    # Plain steps follow the louder feature; Adam's would take both alike.
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        total = nn.functional.cross_entropy(net(batch.inputs), batch.labels)
        if said is not None:
            total = total + mean_penalty(RightReasons(10.0), net, batch, said)
        torch.autograd.backward(total)
        optimizer.step()
    return net


def test_the_second_rule_is_found_and_a_third_is_not(data, held_out):
    told = []

    def train(said):
        told.append(said)
        return fit(data, said)

    found = list(
        find_another_explanation(train, data.inputs, accurate=lambda model: accuracy(model, held_out) > 0.98, rounds=5)
    )
    assert [one.number for one in found] == [0, 1, 2]
    assert [accuracy(one.model, held_out) > 0.98 for one in found] == [True, True, False]
    first, second = (one.region.double().mean(dim=0) for one in found[:2])
    assert first[0] > 0.95
    assert first[3] < 0.05
    assert second[3] > 0.95
    assert second[0] < 0.05
    assert told[0] is None
    assert found[0].forbidden is None
    assert torch.equal(told[1].irrelevant, found[0].region)
    assert torch.equal(found[2].forbidden, found[0].region | found[1].region)
    assert torch.equal(told[2].irrelevant, found[2].forbidden)


def reading(columns):
    """A "training" whose models read one column after the other."""
    models = iter([lambda x, c=c: x[:, [c]] * torch.tensor([[1.0, -1.0]]) for c in columns])
    return lambda said: next(models)


def test_it_stops_where_a_model_looks_nowhere_new():
    found = list(find_another_explanation(reading([0, 2, 0, 1]), torch.ones(4, 3), rounds=4))
    assert [one.region[0].tolist().index(True) for one in found] == [0, 2, 0]


def test_it_stops_after_as_many_rounds_as_asked_for_and_trains_only_when_asked():
    trained = []

    def train(said):
        trained.append(said)
        return reading([len(trained) - 1])(said)

    found = find_another_explanation(train, torch.ones(4, 3), rounds=2)
    assert trained == []
    assert next(found).number == 0
    assert len(trained) == 1
    assert [one.number for one in found] == [1]


def test_regions_are_the_same_in_small_batches(data):
    net = fit(data, steps=5)
    whole, parts = (
        next(find_another_explanation(lambda said: net, data.inputs, batch_size=size)).region for size in (ROWS, 7)
    )
    assert torch.equal(whole, parts)


def test_models_are_explained_still_and_left_as_found(data):
    net = nn.Sequential(nn.Linear(FEATURES, 16), nn.Dropout(0.5), nn.Linear(16, 2))
    one, two = (next(find_another_explanation(lambda said: net, data.inputs)).region for _ in range(2))
    assert torch.equal(one, two)
    assert all(part.training for part in net.modules())
    assert all(weight.grad is None for weight in net.parameters())


def test_the_region_above_a_cutoff_is_that_of_the_paper():
    """|g_d| > c max_d |g_d|, element by element."""
    scores = torch.randn(5, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    region = own_top_region(scores, cutoff=0.67)
    for row in range(5):
        largest = max(abs(value) for value in scores[row].flatten().tolist())
        expected = [abs(value) > 0.67 * largest for value in scores[row].flatten().tolist()]
        assert region[row].flatten().tolist() == expected


def test_a_share_marks_that_many_elements_and_no_smaller_ones():
    scores = torch.randn(4, 20, generator=torch.Generator().manual_seed(0))
    region = own_top_region(scores, share=0.25)
    assert region.sum(dim=1).tolist() == [5] * 4
    for row in range(4):
        assert scores[row].abs()[region[row]].min() > scores[row].abs()[~region[row]].max()
    assert own_top_region(scores, share=0.01).sum(dim=1).tolist() == [1] * 4


def test_deviations_count_from_the_mean_of_the_magnitudes():
    scores = torch.tensor([[0.0, 1.0, -1.0, 2.0, -6.0]])
    mean, spread = 2.0, math.sqrt((4 + 1 + 1 + 0 + 16) / 5)
    assert own_top_region(scores, deviations=(4 / spread) - 0.01).tolist() == [[False] * 4 + [True]]
    assert not own_top_region(scores, deviations=(4 / spread) + 0.01).any()
    assert own_top_region(scores, deviations=0.0).tolist() == [[abs(s) > mean for s in scores[0].tolist()]]


@pytest.mark.parametrize("rule", [{"cutoff": 0.0}, {"share": 1.0}, {"deviations": -5.0}])
def test_zero_is_never_looked_at_nor_anything_in_a_row_that_is_not_finite(rule):
    scores = torch.tensor([[0.0, 0.0, 0.0], [0.0, 2.0, 1.0], [1.0, math.nan, 2.0], [1.0, math.inf, 2.0]])
    region = own_top_region(scores, **rule)
    assert region.tolist() == [[False] * 3, [False, True, True], [False] * 3, [False] * 3]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({}, "Exactly one of .* got none"),
        ({"cutoff": 0.5, "share": 0.5}, "got cutoff, share"),
        ({"cutoff": 1.0}, r"in \[0, 1\); got 1.0"),
        ({"share": 0.0}, r"in \(0, 1\]; got 0.0"),
    ],
)
def test_rules_that_mean_nothing_are_refused(rule, words):
    with pytest.raises(SettingError, match=words):
        own_top_region(torch.ones(2, 3), **rule)


def test_scores_of_one_row_without_an_axis_are_refused():
    with pytest.raises(ShapeError, match=r"got \(3,\)"):
        own_top_region(torch.ones(3), cutoff=0.5)


def test_a_model_that_is_tuned_beside_its_own_region_reads_the_other_rule_more(data, held_out):
    """The first rule lies at 0.4 of its size: only who leans on the second is right."""
    lying = Batch(held_out.inputs.clone(), held_out.labels)
    lying.inputs[:, 0] *= -0.4
    longer = fit(data, start=fit(data))
    net = fit(data)
    left, said = masktune_inputs(net, data, share=1 / FEATURES)
    first = torch.zeros(ROWS, FEATURES, dtype=torch.bool)
    first[:, 0] = True
    assert torch.equal(said.irrelevant, first)
    assert torch.equal(left.inputs, data.inputs.masked_fill(first, 0.0))
    tuned = fit(left, start=net)
    assert accuracy(longer, lying) < 0.05
    assert accuracy(tuned, lying) > 0.6
    assert accuracy(tuned, held_out) > 0.98


@pytest.fixture
def pictures():
    torch.manual_seed(0)
    inputs = torch.rand(5, 2, 4, 4, dtype=torch.float64)
    return Smooth().double(), Batch(inputs, torch.tensor([0, 1, 2, 0, 1]))


def test_the_region_of_a_picture_is_over_its_channels_and_of_the_label(pictures):
    net, batch = pictures
    left, said = masktune_inputs(net, batch, share=0.25, batch_size=2)
    assert said.irrelevant.shape == (5, 1, 4, 4)
    inputs = batch.inputs.clone().requires_grad_()
    logits = net(inputs)
    for row in range(5):
        (slopes,) = torch.autograd.grad(logits[row, batch.labels[row]], inputs, retain_graph=True)
        size = (slopes[row] * batch.inputs[row]).abs().sum(dim=0)
        assert torch.equal(said.irrelevant[row, 0], size >= size.flatten().sort().values[-4])
    assert (left.inputs[said.irrelevant.expand(5, 2, 4, 4)] == 0).all()
    assert torch.equal(left.labels, batch.labels)


def test_method_refill_and_seed_can_be_chosen(pictures):
    net, batch = pictures
    one, two, other = (
        masktune_inputs(
            net, batch, deviations=0.5, method="grad_cam", layer="features", counterexample=Swap(), seed=seed
        )[0].inputs
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_two_standard_deviations_are_the_default(pictures):
    net, batch = pictures
    by_default = masktune_inputs(net, batch)[1].irrelevant
    assert torch.equal(by_default, masktune_inputs(net, batch, deviations=2.0)[1].irrelevant)
    assert by_default.any()


def test_what_cannot_be_explained_is_refused(pictures):
    net, batch = pictures
    with pytest.raises(MethodError, match="No attribution method 'gradcam'"):
        masktune_inputs(net, batch, method="gradcam")
    with pytest.raises(ShapeError, match=r"at least one row to explain; got shape \(0, 2, 4, 4\)"):
        masktune_inputs(net, batch.take(torch.tensor([], dtype=torch.int64)))
    with pytest.raises(SettingError, match="Exactly one of"):
        masktune_inputs(net, batch, deviations=1.0, share=0.5)
    with pytest.raises(SettingError, match="`rounds` must be at least 1; got 0"):
        find_another_explanation(lambda said: net, batch.inputs, rounds=0)
    with pytest.raises(SettingError, match="`cutoff` must be a share"):
        find_another_explanation(lambda said: net, batch.inputs, cutoff=1.5)
    with pytest.raises(KindError, match="floating point"):
        list(find_another_explanation(lambda said: net, torch.ones(2, 3, dtype=torch.int64)))


def test_a_rationale_of_a_round_is_one_that_a_loss_takes(data):
    net = fit(data, steps=5)
    region = next(find_another_explanation(lambda said: net, data.inputs)).region
    penalty = RightReasons(1.0)(net, data, Rationale(irrelevant=region))
    assert (penalty > 0).all()


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_no_further_model_is_trained_where_the_first_looks_nowhere(slope):
    trained = []

    def train(said):
        trained.append(said)
        return lambda x: x.sum(dim=1, keepdim=True) * torch.tensor([[slope, -slope]])

    rounds = list(find_another_explanation(train, torch.ones(2, 3), rounds=3))
    assert len(rounds) == len(trained) == (1 if slope == 0.0 else 2)


def test_another_explanation_may_be_one_of_the_label():
    weights = torch.eye(3)
    rounds = find_another_explanation(
        lambda said: lambda x: x @ weights,
        torch.ones(2, 3),
        rounds=1,
        target="label_logit",
        labels=torch.tensor([0, 2]),
    )
    assert next(rounds).region.tolist() == [[True, False, False], [False, False, True]]


def test_a_top_region_is_that_of_an_attribution_too():
    scores = torch.tensor([[0.5, -3.0]])
    assert own_top_region(Attribution(scores, 0, "input_gradient"), cutoff=0.5).tolist() == [[False, True]]

import math

import pytest
import torch
from torch import nn

from explain import Batch, GraphError, KindError, LayerError, Rationale, SettingError, ShapeError, mass_on_mask
from explain.losses import AttributionL1, Energy, PixelPositiveCrossEntropy
from explain.testing import LossTests

LAYERS = ["conv", "bend", "features", "squash", "flat", "head"]


def attribution_by_differences(net, inputs, label, attribution, layer=None):
    """The attribution of the label's logit for one row, channels added up, from differences alone."""
    at = 0 if layer is None else LAYERS.index(layer) + 1
    with torch.no_grad():
        place = inputs[None]
        for name in LAYERS[:at]:
            place = getattr(net, name)(place)
        slopes = torch.zeros_like(place)
        for element in range(place.numel()):
            values = []
            for step in (1e-5, -1e-5):
                changed = place.clone()
                changed.view(-1)[element] += step
                for name in LAYERS[at:]:
                    changed = getattr(net, name)(changed)
                values.append(changed[0, label].item())
            slopes.view(-1)[element] = (values[0] - values[1]) / 2e-5
    if attribution == "grad_cam":
        return sum(slopes[0, c].mean() * place[0, c] for c in range(place.shape[1]))
    if attribution == "gradient_times_input":
        slopes = slopes * place
    return sum(slopes[0, c] for c in range(place.shape[1]))


def positive(cells):
    return [max(0.0, float(cell)) for cell in cells.flatten()]


class TestEnergy(LossTests):
    loss = Energy(weight=0.7)

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """1 − Σ r A⁺ / Σ A⁺."""
        part = positive(attribution_by_differences(net, inputs, label, self.loss.attribution, self.loss.layer))
        inside = sum(cell for cell, marked in zip(part, relevant.flatten(), strict=True) if marked)
        return 1 - inside / sum(part)


class TestEnergyOfTheGradientAtALayer(TestEnergy):
    loss = Energy(weight=0.7, attribution="input_gradient", layer="bend")


class TestEnergyOfGradCam(TestEnergy):
    loss = Energy(weight=0.7, attribution="grad_cam", layer="conv")
    lr = 0.002  # with larger steps the map of some rows loses its positive part, from which nothing leads back


class TestEnergyOnTheIrrelevant(LossTests):
    loss = Energy(weight=0.7, of="irrelevant", attribution="input_gradient")

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """Σ m A⁺ / Σ A⁺."""
        part = positive(attribution_by_differences(net, inputs, label, "input_gradient"))
        return sum(cell for cell, marked in zip(part, irrelevant.flatten(), strict=True) if marked) / sum(part)


class TestAttributionL1(LossTests):
    loss = AttributionL1(weight=0.7)

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """Mean |r − Â⁺|, Â⁺ a share of the row's maximum."""
        part = positive(attribution_by_differences(net, inputs, label, self.loss.attribution, self.loss.layer))
        return sum(abs(float(r) - cell / max(part)) for cell, r in zip(part, relevant.flatten(), strict=True)) / 16


class TestAttributionL1AtALayer(TestAttributionL1):
    loss = AttributionL1(weight=0.7, layer="bend")


class TestPixelPositiveCrossEntropy(LossTests):
    loss = PixelPositiveCrossEntropy(weight=0.7)

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """−1/|r| Σ r log Â⁺, Â⁺ at least the floor."""
        part = positive(attribution_by_differences(net, inputs, label, self.loss.attribution, self.loss.layer))
        inside = [cell / max(part) for cell, marked in zip(part, relevant.flatten(), strict=True) if marked]
        return -sum(math.log(max(cell, self.loss.floor)) for cell in inside) / len(inside)


class TestPixelPositiveCrossEntropyOfGradCam(TestPixelPositiveCrossEntropy):
    loss = PixelPositiveCrossEntropy(weight=0.7, attribution="grad_cam", layer="conv", floor=0.01)


EVERY = (
    Energy(1.0),
    Energy(1.0, of="irrelevant"),
    AttributionL1(1.0),
    PixelPositiveCrossEntropy(1.0),
    Energy(1.0, attribution="input_gradient"),
)


def linear(*weights):
    """A net of one logit with these weights."""
    net = nn.Linear(len(weights), 1, bias=False)
    net.weight = nn.Parameter(torch.tensor([weights]))
    return net


def both(*marks):
    mask = torch.tensor(marks, dtype=torch.bool)
    return Rationale(irrelevant=mask, relevant=mask)


def test_a_row_without_a_positive_part_costs_what_is_documented_and_moves_nothing():
    for weights in ((-1.0, -2.0, 0.0, -1.0), (0.0, 0.0, 0.0, 0.0)):
        net = linear(*weights)
        batch = Batch(torch.ones(2, 4), torch.tensor([0, 0]))
        for loss, expected in zip(EVERY, [1.0, 0.0, 0.25, -math.log(1e-3), 1.0], strict=True):
            penalty = loss(net, batch, both([1, 0, 0, 0], [0, 0, 0, 1]))
            assert penalty.tolist() == pytest.approx([expected] * 2)
            (slope,) = torch.autograd.grad(penalty.sum(), net.weight)
            assert slope.eq(0).all()


def test_one_row_without_a_positive_part_spoils_no_other():
    net = linear(1.0, 2.0, 0.5, -1.0)
    batch = Batch(torch.tensor([[1.0, 1.0, 1.0, 1.0], [-1.0, -1.0, -1.0, 1.0]]), torch.tensor([0, 0]))
    marks = both([1, 0, 1, 0], [1, 0, 0, 1])
    for loss in EVERY[:4]:
        (slope,) = torch.autograd.grad(loss(net, batch, marks).sum(), net.weight)
        alone = loss(net, batch.take(torch.tensor([0])), marks.take(torch.tensor([0]))).sum()
        (expected,) = torch.autograd.grad(alone, net.weight)
        assert slope.isfinite().all()
        torch.testing.assert_close(slope, expected)
        assert slope.ne(0).any()


def test_the_irrelevant_side_is_the_relevant_one_of_the_complement():
    net = linear(1.0, 2.0, 3.0, -1.0)
    batch = Batch(torch.rand(3, 4), torch.tensor([0, 0, 0]))
    mask = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [1, 1, 1, 0]], dtype=torch.bool)
    blamed = Energy(1.0, of="irrelevant")(net, batch, Rationale(irrelevant=mask))
    torch.testing.assert_close(Energy(1.0)(net, batch, Rationale(relevant=~mask)), blamed)


def test_energy_is_what_is_measured_as_mass():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.Tanh(), nn.Linear(4, 2))
    inputs, labels = torch.rand(5, 1, 3, 3), torch.tensor([0, 1, 0, 1, 1])
    mask = torch.rand(5, 3, 3) < 0.5
    leaf = inputs.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(leaf)[torch.arange(5), labels].sum(), leaf)
    expected = mass_on_mask(slope, mask, part="positive")
    loss = Energy(1.0, of="irrelevant", attribution="input_gradient")
    torch.testing.assert_close(loss(net, Batch(inputs, labels), Rationale(irrelevant=mask)).detach(), expected)


def test_shares_do_not_shrink_with_the_gradient():
    batch, marks = Batch(torch.rand(2, 4), torch.tensor([0, 0])), both([1, 0, 0, 1], [0, 1, 0, 0])
    for loss in EVERY:
        torch.testing.assert_close(
            loss(linear(1.0, 2.0, 3.0, -1.0), batch, marks),
            loss(linear(1e-6, 2e-6, 3e-6, -1e-6), batch, marks),
        )


def test_channels_add_up_before_the_positive_part():
    """A place of which one channel speaks for and another as loudly against says nothing."""
    net = nn.Sequential(nn.Flatten(), linear(1.0, 1.0, -1.0, 2.0))
    batch = Batch(torch.ones(1, 2, 1, 2), torch.tensor([0]))
    assert Energy(1.0)(net, batch, both([[0, 1]])).item() == 0.0
    assert Energy(1.0)(net, batch, both([[1, 0]])).item() == 1.0


def test_a_mask_may_have_channels_and_any_of_them_marks_the_place():
    net = nn.Sequential(nn.Flatten(), linear(1.0, 4.0, 1.0, 2.0))
    batch = Batch(torch.ones(1, 2, 1, 2), torch.tensor([0]))
    for loss in EVERY:
        expected = loss(net, batch, both([[1, 0]]))
        assert torch.equal(loss(net, batch, both([[[0, 0]], [[1, 0]]])), expected)


def test_tokens_can_be_guided_at_a_layer_that_lays_them_out():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Embedding(10, 6), nn.Unflatten(2, (1, 6)), nn.Conv2d(4, 2, 1), nn.Tanh(), nn.Flatten(), nn.Linear(12, 2)
    )
    tokens = Batch(torch.randint(0, 10, (3, 4)), torch.tensor([0, 1, 1]))
    marks = both(*[[[1, 1, 1, 0, 0, 0]]] * 3)
    penalty = Energy(1.0, layer="3")(net, tokens, marks)
    assert ((penalty >= 0) & (penalty <= 1)).all()
    assert (penalty > 0).any()
    with pytest.raises(KindError, match=r"got torch.int64"):
        Energy(1.0)(net, tokens, marks)


def test_a_layer_without_places_is_refused():
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 1))
    batch = Batch(torch.rand(1, 1, 2, 2), torch.tensor([0]))
    for attribution in ("gradient_times_input", "input_gradient", "grad_cam"):
        with pytest.raises(LayerError, match=r"\(1, 8\). Choose a convolution"):
            Energy(attribution=attribution, layer="1")(net, batch, both([[1, 0], [0, 0]]))


def test_a_mask_that_does_not_fit_is_refused():
    batch = Batch(torch.rand(1, 4), torch.tensor([0]))
    for loss in EVERY:
        with pytest.raises(ShapeError, match=r"got \(1, 3\)"):
            loss(linear(1.0, 2.0, 3.0, 4.0), batch, both([1, 0, 0]))


def test_a_forward_pass_without_a_graph_is_refused():
    batch = Batch(torch.rand(1, 4), torch.tensor([0]))
    for loss in EVERY:
        with pytest.raises(GraphError, match=r"torch.no_grad"):
            loss(torch.no_grad()(linear(1.0, 2.0, 3.0, 4.0)), batch, both([1, 0, 0, 0]))


@pytest.mark.parametrize("floor", [0.0, 1.0, -0.1, math.nan])
def test_a_floor_outside_of_the_open_unit_interval_is_refused(floor):
    with pytest.raises(SettingError, match="`floor` must lie in"):
        PixelPositiveCrossEntropy(floor=floor)


@pytest.mark.parametrize("loss", [Energy, AttributionL1, PixelPositiveCrossEntropy])
def test_settings_that_do_not_exist_are_refused(loss):
    with pytest.raises(SettingError, match="one of gradient_times_input, input_gradient, grad_cam; got 'lime'"):
        loss(attribution="lime")
    with pytest.raises(SettingError, match="needs a `layer`; got None"):
        loss(attribution="grad_cam")


def test_a_side_that_does_not_exist_is_refused():
    with pytest.raises(SettingError, match="one of relevant, irrelevant; got 'both'"):
        Energy(of="both")


def test_rows_with_only_the_other_mask_cost_nothing():
    net, batch = linear(1.0, 2.0), Batch(torch.ones(2, 2), torch.tensor([0, 0]))
    left = torch.tensor([[True, False], [False, False]])
    said = Rationale(irrelevant=left, relevant=left.flip(0))
    assert Energy(1.0)(net, batch, said)[0].item() == 0.0
    assert Energy(1.0)(net, batch, said)[1].item() > 0
    assert Energy(1.0, of="irrelevant")(net, batch, said)[1].item() == 0.0
    assert Energy(1.0, of="irrelevant")(net, batch, said)[0].item() > 0

import math

import pytest
import torch
from torch import nn

from explain import Batch, LayerError, Rationale, SettingError, ShapeError
from explain.concepts import Concept, concept_direction
from explain.losses import RightReasonsConcept
from explain.testing import LossTests

DIRECTION = (0.6, 0.0, -0.8)


def slopes_along(net, inputs, target):
    """∂target(logits) / ∂(a_p + s v) at each place p, and the gradient's norm there, by central differences."""
    activation = net.conv(inputs[None])[0].detach()

    def value(changed):
        with torch.no_grad():
            return float(target(net.head(net.flat(net.squash(net.features(net.bend(changed[None])))))[0]))

    found = []
    for i in range(4):
        for j in range(4):
            slopes = []
            for step in (torch.tensor(DIRECTION), *torch.eye(3)):
                above, below = activation.clone(), activation.clone()
                above[:, i, j] += 1e-5 * step.double()
                below[:, i, j] -= 1e-5 * step.double()
                slopes.append((value(above) - value(below)) / 2e-5)
            found.append((slopes[0], math.sqrt(sum(slope**2 for slope in slopes[1:]))))
    return found


class TestRightReasonsConcept(LossTests):
    loss = RightReasonsConcept(weight=0.7, layer="conv", direction=DIRECTION, target="label_logit")
    first_order = True  # magnitudes have kinks

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """mean_p |⟨∂f_y / ∂a_p, v⟩|."""
        return sum(abs(slope) for slope, _ in slopes_along(net, inputs, lambda logits: logits[label])) / 16


class TestRightReasonsConceptSquared(LossTests):
    loss = RightReasonsConcept(weight=0.7, layer="conv", direction=DIRECTION, target="max_logit", norm="l2")

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """mean_p ⟨∂ max_k f_k / ∂a_p, v⟩²."""
        return sum(slope**2 for slope, _ in slopes_along(net, inputs, max)) / 16


class TestRightReasonsConceptAsACosine(LossTests):
    loss = RightReasonsConcept(weight=0.7, layer="conv", direction=DIRECTION, target=1, norm="cosine")
    first_order = True

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """mean_p |cos(∂f_1 / ∂a_p, v)|."""
        slopes = slopes_along(net, inputs, lambda logits: logits[1])
        return sum(abs(slope) / size for slope, size in slopes) / 16


class TestRightReasonsConceptOfRandomSigns(LossTests):
    loss = RightReasonsConcept(weight=0.7, layer="conv", direction=DIRECTION, norm="l2")

    def test_it_is_the_formula_of_the_paper(self, net, batch, rationale):
        """In the mean over signs: mean_p Σ_k ⟨∂f_k / ∂a_p, v⟩²."""
        torch.manual_seed(0)
        values = torch.stack([self.loss(net, batch, rationale).detach() for _ in range(400)]).mean(dim=0)
        expected = sum(
            slope**2 for k in range(3) for slope, _ in slopes_along(net, batch.inputs[0], lambda logits, k=k: logits[k])
        )
        assert values[0].item() == pytest.approx(0.7 * expected / 16, rel=0.15)


@pytest.fixture
def data():
    """A shortcut of strength two in the first input beside a weak cause in the second; noise elsewhere."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    inputs = torch.randn(200, 4, generator=generator)
    inputs[:, 1] += 2.0 * labels - 1
    shown = inputs.clone()
    shown[:, 0] = 4.0 * labels
    return Batch(shown, labels), inputs


def test_the_head_alone_unlearns_the_artefact(data):
    batch, without = data
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
    train(net, net.parameters(), batch)
    affected = without.clone()
    affected[:, 0] = 4.0
    clean = without.clone()
    clean[:, 0] = 0.0
    concept = concept_direction(net, "3", affected, clean)

    def moved():
        with torch.no_grad():
            return (net(affected).softmax(1) - net(clean).softmax(1)).abs().mean().item()

    before = moved()
    body = net[0].weight.detach().clone()
    train(net, net[4].parameters(), batch, RightReasonsConcept.of(concept, weight=3.0))
    assert before > 0.3
    assert moved() < before / 3
    assert torch.equal(net[0].weight, body)


def train(net, weights, batch, loss=None):
    optimizer = torch.optim.Adam(weights, lr=0.01)
    said = Rationale(irrelevant=torch.ones(len(batch), 4, dtype=torch.bool))
    for _ in range(150):
        optimizer.zero_grad()
        total = nn.functional.cross_entropy(net(batch.inputs), batch.labels)
        if loss is not None:
            total = total + loss(net, batch, said).mean()
        torch.autograd.backward(total)
        optimizer.step()


def test_frozen_weights_below_the_layer_do_not_hide_the_layer():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2))
    net[0].requires_grad_(False)
    said = Rationale(irrelevant=torch.ones(2, 3, dtype=torch.bool))
    tokens = Batch(torch.randint(0, 9, (2, 3)), torch.tensor([0, 1]))
    loss = RightReasonsConcept(1.0, "0", (0.0, 1.0, 0.0, 0.0), target="label_logit")
    penalty = loss(net, tokens, said)
    expected = [net[2].weight[label].reshape(3, 4)[:, 1].abs().mean() for label in (0, 1)]
    torch.testing.assert_close(penalty, torch.stack(expected))
    torch.autograd.backward(penalty.sum())
    assert net[2].weight.grad is not None


def test_a_gradient_that_vanishes_has_no_cosine_and_a_finite_slope():
    net = nn.Sequential(nn.Identity(), nn.Linear(2, 2)).double()
    nn.init.zeros_(net[1].weight)
    loss = RightReasonsConcept(1.0, "0", (1.0, 0.0), norm="cosine")
    batch = Batch(torch.ones(1, 2, dtype=torch.float64), torch.tensor([0]))
    penalty = loss(net, batch, Rationale(irrelevant=torch.ones(1, 2, dtype=torch.bool)))
    assert penalty.item() == 0.0
    torch.autograd.backward(penalty.sum())
    assert net[1].weight.grad.isfinite().all()


@pytest.mark.parametrize("size", [1e-28, 1e-15, 1.0, 1e15])
def test_a_cosine_is_that_of_the_direction_whatever_the_size_of_the_gradient(size):
    net = nn.Sequential(nn.Identity(), nn.Linear(2, 1, bias=False))
    net[1].weight.data = size * torch.tensor([[3.0, 4.0]])
    loss = RightReasonsConcept(1.0, "0", (1.0, 0.0), target="max_logit", norm="cosine")
    said = Rationale(irrelevant=torch.ones(1, 2, dtype=torch.bool))
    penalty = loss(net, Batch(torch.ones(1, 2), torch.tensor([0])), said)
    torch.testing.assert_close(penalty.detach(), torch.tensor([0.6]))
    torch.autograd.backward(penalty.sum())
    # Of w0 / |w|: w1² / |w|³ and −w0 w1 / |w|³.
    slopes = torch.tensor([[16 / 125, -12 / 125]], dtype=torch.float64) / size
    torch.testing.assert_close(net[1].weight.grad.double(), slopes, rtol=1e-4, atol=0.0)


def test_a_direction_of_another_layer_is_refused():
    net = nn.Sequential(nn.Identity(), nn.Linear(2, 2))
    said = Rationale(irrelevant=torch.ones(1, 2, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"must have 3 features.*shape \(1, 2\)"):
        RightReasonsConcept(1.0, "0", DIRECTION)(net, Batch(torch.ones(1, 2), torch.tensor([0])), said)
    with pytest.raises(LayerError, match="No layer '7'"):
        RightReasonsConcept(1.0, "7", DIRECTION)(net, Batch(torch.ones(1, 2), torch.tensor([0])), said)


def test_it_is_made_from_a_concept():
    concept = Concept("conv", torch.tensor(DIRECTION), torch.zeros(3), feature_axis=-1)
    loss = RightReasonsConcept.of(concept, weight="auto", norm="l2", target=2)
    assert (loss.weight, loss.layer, loss.feature_axis, loss.norm, loss.target) == ("auto", "conv", -1, "l2", 2)
    assert loss.direction == pytest.approx(DIRECTION)
    assert hash(loss) == hash(RightReasonsConcept.of(concept, weight="auto", norm="l2", target=2))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"norm": "l3"}, "one of l1, l2, cosine; got 'l3'"),
        ({"layer": ""}, "must name the layer"),
        ({"direction": (1.0, 1.0)}, "unit norm; got 2 numbers of norm 1.414"),
        ({"direction": ()}, "unit norm; got 0 numbers"),
        ({"direction": (math.nan, 1.0)}, "unit norm"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, words):
    with pytest.raises(SettingError, match=words):
        RightReasonsConcept(**{"layer": "conv", "direction": DIRECTION, **settings})

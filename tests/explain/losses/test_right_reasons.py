import math

import pytest
import torch
from torch import nn

from explain import Batch, GraphError, Rationale, RightReasons, SettingError, ShapeError, mean_over_annotated
from explain.testing import LossTests


def gradient_by_differences(net, inputs, target):
    """∂target(logits)/∂inputs of one row, one element at a time, by central differences."""
    slopes = torch.zeros_like(inputs)
    flat, found = inputs.flatten(), slopes.view(-1)
    for element in range(len(flat)):
        above, below = flat.clone(), flat.clone()
        above[element] += 1e-5
        below[element] -= 1e-5
        with torch.no_grad():
            values = [target(net(changed.reshape(1, *inputs.shape))[0]) for changed in (above, below)]
        found[element] = (values[0] - values[1]) / 2e-5
    return slopes


def log_probabilities(logits):
    exponents = [math.exp(logit) for logit in logits]
    return [math.log(e / sum(exponents)) for e in exponents]


def over_channels(mask):
    return mask.expand(2, 4, 4)


class TestRightReasons(LossTests):
    loss = RightReasons(weight=0.7)

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """Σ_d (A_d ∂/∂x_d Σ_k log p_k)²."""
        slopes = gradient_by_differences(net, inputs, lambda logits: sum(log_probabilities(logits)))
        return sum(
            (float(marked) * float(slope)) ** 2
            for marked, slope in zip(over_channels(irrelevant).flatten(), slopes.flatten(), strict=True)
        )


class TestRightReasonsOfTheLabelInTheL1Norm(LossTests):
    loss = RightReasons(weight=0.7, target="label_log_probability", norm="l1", class_weights=(1.0, 2.0, 0.5))
    first_order = True  # magnitudes have kinks

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """w_y Σ_d A_d |∂ log p_y / ∂x_d|."""
        slopes = gradient_by_differences(net, inputs, lambda logits: log_probabilities(logits)[label])
        return (1.0, 2.0, 0.5)[label] * (slopes.abs() * over_channels(irrelevant)).sum()


class TestRightReasonsAsACosine(LossTests):
    loss = RightReasons(weight=0.7, target="cross_entropy", norm="cosine")
    first_order = True

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """⟨A, |g|⟩ / ‖A‖ ‖g‖."""
        slopes = gradient_by_differences(net, inputs, lambda logits: -log_probabilities(logits)[label])
        mask = over_channels(irrelevant).double()
        return (mask * slopes.abs()).sum() / (mask.square().sum().sqrt() * slopes.square().sum().sqrt())


class TestRightReasonsAtALayer(LossTests):
    loss = RightReasons(weight=0.7, layer="conv", target="max_logit")

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """Σ_d (A_d ∂ max_k f_k / ∂a_d)², a the activation of the layer."""
        activation = net.conv(inputs[None])[0].detach()

        def above(a):
            return net.head(net.flat(net.squash(net.features(net.bend(a)))))

        slopes = gradient_by_differences(above, activation, max)
        return (slopes.square() * irrelevant).sum()


class TestRightReasonsOfRandomSigns(LossTests):
    loss = RightReasons(weight=0.7, target="random_sign_logits")

    def test_it_is_the_formula_of_the_paper(self, net, batch, rationale):
        """In the mean over signs: Σ_k Σ_d (A_d ∂f_k / ∂x_d)²."""
        torch.manual_seed(0)
        values = torch.stack([self.loss(net, batch, rationale).detach() for _ in range(400)]).mean(dim=0)
        row = 0
        slopes = [gradient_by_differences(net, batch.inputs[row], lambda logits, k=k: logits[k]) for k in range(3)]
        expected = 0.7 * sum((slope.square() * rationale.irrelevant[row]).sum() for slope in slopes)
        assert values[row].item() == pytest.approx(expected.item(), rel=0.15)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3)).double()


@pytest.fixture
def batch():
    return Batch(torch.rand(4, 2, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0]))


MARKED = Rationale(irrelevant=torch.ones(4, 2, 2, dtype=torch.bool))


def test_a_mask_that_does_not_fit_is_refused(net, batch):
    with pytest.raises(ShapeError, match=r"got \(4, 3, 2\)"):
        RightReasons(1.0)(net, batch, Rationale(irrelevant=torch.ones(4, 3, 2, dtype=torch.bool)))


def test_a_forward_pass_without_a_graph_is_refused(net, batch):
    with pytest.raises(GraphError, match=r"torch.no_grad"):
        RightReasons(1.0)(torch.no_grad()(net), batch, MARKED)


def test_a_norm_that_does_not_exist_is_refused():
    with pytest.raises(SettingError, match="one of l2, l1, cosine; got 'l3'"):
        RightReasons(norm="l3")


def test_class_weights_must_fit_the_classes(net, batch):
    with pytest.raises(SettingError, match="each of 3 classes; got 2"):
        RightReasons(class_weights=(1.0, 2.0))(net, batch, MARKED)


def test_a_gradient_that_vanishes_everywhere_has_no_cosine_to_blame(net, batch):
    nn.init.zeros_(net[3].weight)
    assert RightReasons(1.0, norm="cosine")(net, batch, MARKED).tolist() == [0.0] * 4


def test_tokens_can_be_penalised_at_their_embedding():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 2))
    tokens = Batch(torch.randint(0, 10, (2, 3)), torch.tensor([0, 1]))
    said = Rationale(irrelevant=torch.tensor([[True, False, False], [False, False, False]]))
    penalty = RightReasons(1.0, layer="0")(net, tokens, said)
    assert penalty[0] > 0
    assert penalty[1] == 0


def test_the_mean_runs_over_annotated_rows_only():
    said = Rationale(irrelevant=torch.tensor([[True], [False], [True]]))
    assert mean_over_annotated(torch.tensor([1.0, math.nan, 3.0]), said).item() == 2.0


def test_the_mean_needs_one_value_per_row():
    said = Rationale(irrelevant=torch.ones(3, 1, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"got \(2,\)"):
        mean_over_annotated(torch.ones(2), said)


@pytest.mark.parametrize("scale", [1.0, 10.0, 30.0, 35.0])
def test_the_cosine_does_not_depend_on_how_sure_the_model_is(scale):
    """|g| = (1, ½) times what a sure model makes vanish: its squares are zero in single precision."""
    net = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        net.weight.copy_(scale * torch.tensor([[1.0, 0.5], [-1.0, -0.5]]))
    said = Rationale(irrelevant=torch.tensor([[True, False]]))
    loss = RightReasons(1.0, norm="cosine", target="cross_entropy")
    penalty = loss(net, Batch(0.5 * torch.ones(1, 2), torch.tensor([0])), said)
    assert penalty.item() == pytest.approx(2 / math.sqrt(5))
    torch.autograd.backward(penalty.sum())
    assert net.weight.grad.isfinite().all()
    assert net.weight.grad[1, 0].abs() > 1e-3 / scale

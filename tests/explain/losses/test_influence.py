import math

import pytest
import torch
from torch import nn

from explain import Batch, GraphError, KindError, Rationale, ShapeError
from explain.losses import RightForBetterReasons
from explain.testing import LossTests, Smooth


def log_probabilities(net, inputs):
    exponents = [math.exp(logit) for logit in net(inputs[None])[0].tolist()]
    return [math.log(e / sum(exponents)) for e in exponents]


def summed_weight_gradient(net, inputs, label):
    """Σ_θ ∂CE/∂θ: the slope of CE as every weight grows by the same small amount."""
    before = {name: weight.detach().clone() for name, weight in net.named_parameters()}
    values = []
    for step in (1e-3, -1e-3, 2e-3, -2e-3):
        with torch.no_grad():
            for name, weight in net.named_parameters():
                if weight.requires_grad:
                    weight.copy_(before[name] + step)
            values.append(-log_probabilities(net, inputs)[label])
    with torch.no_grad():
        for name, weight in net.named_parameters():
            weight.copy_(before[name])
    # Two central differences, so that the error is of fourth order in the step.
    return (8 * (values[0] - values[1]) - (values[2] - values[3])) / 12e-3


def by_differences(function, inputs, element, step):
    """∂function/∂inputs at one element, by central differences of fourth order."""
    values = []
    for distance in (step, -step, 2 * step, -2 * step):
        changed = inputs.clone()
        changed.view(-1)[element] += distance
        values.append(function(changed))
    return (8 * (values[0] - values[1]) - (values[2] - values[3])) / (12 * step)


class TestRightForBetterReasons(LossTests):
    loss = RightForBetterReasons(weight=0.7)

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """Σ_d (m_d · ∂/∂x_d Σ_θ ∂CE/∂θ · ∂/∂x_d Σ_k log p_k)²."""
        size = 0.0
        with torch.no_grad():
            for element in range(inputs.numel()):
                if not irrelevant.expand(2, 4, 4).flatten()[element]:
                    continue
                influence = by_differences(lambda x: summed_weight_gradient(net, x, label), inputs, element, 1e-3)
                slope = by_differences(lambda x: sum(log_probabilities(net, x)), inputs, element, 1e-3)
                size += (influence * slope) ** 2
        return size


class TestRightForBetterReasonsWithTheFirstLayerFrozen(TestRightForBetterReasons):
    first_order = True  # the derivatives are checked above

    @pytest.fixture
    def net(self):
        torch.manual_seed(0)
        net = Smooth().double()
        net.conv.requires_grad_(False)
        return net


MARKED = Rationale(irrelevant=torch.ones(4, 2, 2, dtype=torch.bool))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3)).double()


@pytest.fixture
def batch():
    return Batch(torch.rand(4, 2, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0]))


def test_of_a_linear_model_influences_cancel():
    """With logits W x: Σ_θ ∂CE/∂θ = Σ_k (p_k − y_k) · Σ_d x_d = 0, and so is its derivative."""
    torch.manual_seed(0)
    net = nn.Linear(3, 4, bias=False).double()
    batch = Batch(torch.rand(2, 3, dtype=torch.float64), torch.tensor([1, 3]))
    penalty = RightForBetterReasons(1.0)(net, batch, Rationale(irrelevant=torch.ones(2, 3, dtype=torch.bool)))
    assert penalty.tolist() == pytest.approx([0.0, 0.0], abs=1e-20)


def test_of_one_hidden_unit_it_is_a_closed_form():
    """With logits (v h, 0) and h = tanh(w x): the two entries of the last layer cancel, which leaves
    ∂CE/∂w = (p − y) v (1 − h²) x, and Σ_k log p_k = log p + log(1 − p)."""
    w, v, x = 0.7, 1.3, 0.9
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Tanh(), nn.Linear(1, 2, bias=False)).double()
    with torch.no_grad():
        net[0].weight.fill_(w)
        net[2].weight.copy_(torch.tensor([[v], [0.0]], dtype=torch.float64))
    h = math.tanh(w * x)
    p, bend = 1 / (1 + math.exp(-v * h)), 1 - h * h
    slope_of_logit = v * bend * w
    slope = (1 - 2 * p) * slope_of_logit
    influence = v * (p * (1 - p) * slope_of_logit * bend * x + (p - 1) * (-2 * h * bend * w * x + bend))
    batch = Batch(torch.tensor([[x]], dtype=torch.float64), torch.tensor([0]))
    penalty = RightForBetterReasons(1.0)(net, batch, Rationale(irrelevant=torch.tensor([[True]])))
    assert penalty.item() == pytest.approx((influence * slope) ** 2, rel=1e-9)


def test_a_bare_function_has_no_weights_to_influence(net, batch):
    with pytest.raises(KindError, match="needs a module"):
        RightForBetterReasons(1.0)(lambda x: net(x), batch, MARKED)


def test_a_wrapper_with_a_module_serves(net, batch):
    class Wrapper:
        module = net

        def __call__(self, inputs):
            return net(inputs)

    loss = RightForBetterReasons(1.0)
    torch.testing.assert_close(loss(Wrapper(), batch, MARKED), loss(net, batch, MARKED))


def test_a_model_whose_weights_are_all_frozen_is_refused(net, batch):
    net.requires_grad_(False)
    with pytest.raises(GraphError, match="none do"):
        RightForBetterReasons(1.0)(net, batch, MARKED)


def test_a_weight_that_is_not_used_has_no_influence(net, batch):
    loss = RightForBetterReasons(1.0)
    expected = loss(net, batch, MARKED)
    net.unused = nn.Parameter(torch.ones(3))
    net.forward = lambda x: net[3](net[2](net[1](net[0](x))))
    torch.testing.assert_close(loss(net, batch, MARKED), expected)


def test_a_mask_that_does_not_fit_is_refused(net, batch):
    with pytest.raises(ShapeError, match=r"got \(4, 3, 2\)"):
        RightForBetterReasons(1.0)(net, batch, Rationale(irrelevant=torch.ones(4, 3, 2, dtype=torch.bool)))

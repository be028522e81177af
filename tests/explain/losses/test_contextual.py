import math

import pytest
import torch
from torch import nn

from explain import Batch, KindError, LayerError, Rationale, SettingError, ShapeError
from explain.losses import ContextualDecomposition
from explain.testing import LossTests

MARKED = Rationale(irrelevant=torch.ones(3, 2, 2, dtype=torch.bool))


def shared(beta, gamma, constant):
    """A bias, shared in proportion to the magnitudes."""
    share = abs(beta) / (abs(beta) + abs(gamma))
    return beta + share * constant, gamma + (1 - share) * constant


def convolved(parts, layer):
    """A 3×3 convolution with a border of zeros, on both parts: dictionaries from (channel, row, column)."""
    weight, bias = layer.weight.tolist(), layer.bias.tolist()
    found = {}
    for out in range(layer.out_channels):
        for row in range(4):
            for column in range(4):
                sums = [
                    sum(
                        weight[out][channel][i][j] * part.get((channel, row + i - 1, column + j - 1), 0.0)
                        for channel in range(layer.in_channels)
                        for i in range(3)
                        for j in range(3)
                    )
                    for part in parts
                ]
                found[out, row, column] = shared(*sums, bias[out])
    return [{place: both[part] for place, both in found.items()} for part in (0, 1)]


def bent(parts, function):
    """f − f(0), averaged over both orders of adding the parts; f(0) is shared."""
    found, nothing = {}, function(0.0)
    for place in parts[0]:
        beta, gamma = parts[0][place], parts[1][place]
        first = 0.5 * (function(beta) - nothing + function(beta + gamma) - function(gamma))
        second = 0.5 * (function(gamma) - nothing + function(beta + gamma) - function(beta))
        found[place] = shared(first, second, nothing)
    return [{place: both[part] for place, both in found.items()} for part in (0, 1)]


def decomposed(net, inputs, irrelevant):
    """Lists of β_k and γ_k."""
    parts = [{}, {}]
    for channel in range(2):
        for row in range(4):
            for column in range(4):
                value, marked = float(inputs[channel, row, column]), bool(irrelevant[row, column])
                parts[0][channel, row, column] = value if marked else 0.0
                parts[1][channel, row, column] = 0.0 if marked else value
    parts = bent(convolved(parts, net.conv), lambda x: math.log1p(math.exp(x)))
    parts = bent(convolved(parts, net.features), math.tanh)
    for weights, bias in zip(net.head.weight.tolist(), net.head.bias.tolist(), strict=True):
        # Flattened in the order of channels, rows and columns.
        sums = [sum(w * part[place] for w, place in zip(weights, sorted(part), strict=True)) for part in parts]
        yield shared(*sums, bias)


class TestContextualDecomposition(LossTests):
    loss = ContextualDecomposition(weight=0.7)

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """mean_k exp β_k / (exp β_k + exp γ_k)."""
        pairs = list(decomposed(net, inputs, irrelevant))
        return sum(math.exp(beta) / (math.exp(beta) + math.exp(gamma)) for beta, gamma in pairs) / 3


class TestContextualDecompositionInTheL1Norm(LossTests):
    loss = ContextualDecomposition(weight=0.7, form="l1")
    first_order = True  # magnitudes have kinks

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """mean_k |β_k|."""
        return sum(abs(beta) for beta, _ in decomposed(net, inputs, irrelevant)) / 3


@pytest.fixture
def batch():
    return Batch(torch.rand(3, 2, 2, 2), torch.tensor([0, 1, 2]))


def test_marks_over_zeros_cost_what_the_rest_leaves_to_them():
    """β = 0, so that the penalty is the mean of 1 / (1 + exp logit)."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    inputs = torch.rand(3, 2, 2, 2, dtype=torch.float64)
    inputs[:, :, 0] = 0
    said = torch.zeros(3, 2, 2, dtype=torch.bool)
    said[:, 0] = True
    penalty = ContextualDecomposition(2.0)(net, Batch(inputs, torch.tensor([0, 1, 2])), Rationale(irrelevant=said))
    torch.testing.assert_close(penalty, 2 * torch.sigmoid(-net(inputs)).mean(dim=1))


def test_all_inputs_marked_cost_more_the_larger_the_logits_are(batch):
    net = nn.Sequential(nn.Flatten(), nn.Linear(8, 3, bias=False))
    nn.init.ones_(net[1].weight)
    expected = torch.sigmoid(batch.inputs.sum(dim=(1, 2, 3)))
    torch.testing.assert_close(ContextualDecomposition(1.0)(net, batch, MARKED), expected)


def test_a_bare_function_is_refused(batch):
    with pytest.raises(KindError, match="needs a module"):
        ContextualDecomposition()(lambda x: x.flatten(1), batch, MARKED)


def test_a_layer_without_a_rule_is_named(batch):
    net = nn.Sequential(nn.Flatten(), nn.Linear(8, 3), nn.LayerNorm(3))
    with pytest.raises(LayerError, match=r"Layer '2' \(LayerNorm\) has no rule for contextual decomposition"):
        ContextualDecomposition()(net, batch, MARKED)


def test_a_mask_that_does_not_fit_is_refused(batch):
    said = Rationale(irrelevant=torch.ones(3, 3, 2, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"got \(3, 3, 2\)"):
        ContextualDecomposition()(nn.Flatten(), batch, said)


def test_no_gradient_of_the_inputs_is_kept(batch):
    net = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
    torch.autograd.backward(ContextualDecomposition()(net, batch, MARKED).sum())
    assert batch.inputs.grad is None
    assert net[1].weight.grad.abs().sum() > 0


def test_a_form_that_does_not_exist_is_refused():
    with pytest.raises(SettingError, match="one of softmax, l1; got 'l2'"):
        ContextualDecomposition(form="l2")

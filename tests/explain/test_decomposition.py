import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from explain import KindError, LayerError, ShapeError
from explain.decomposition import contextual_decomposition


class Everything(nn.Module):
    """A net with a skip, both kinds of pooling, functions, methods and layers that work in place."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding="same", padding_mode="reflect")
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.skip = nn.Conv2d(4, 4, 1, bias=False)
        self.drop = nn.Dropout(0.5)
        self.leaky = nn.LeakyReLU(0.1)
        self.scale = nn.Parameter(torch.tensor(1.3))
        self.shift = nn.Parameter(torch.tensor(0.2))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.pool(self.relu(self.norm(self.conv(x - 0.3))))
        x = x + self.leaky(self.skip(x))
        x += self.shift
        x = torch.cat([F.avg_pool2d(x, 2), F.max_pool2d(-1 * x, 2)], dim=1) * self.scale
        x = F.dropout(self.drop(x), training=self.training)
        x = torch.sigmoid(F.gelu(x)).tanh().mean((2, 3)).view(x.size(0), -1) / 0.5
        return 1 - self.head(x.relu())


NETS = {
    "everything": Everything,
    "functions of one number": lambda: nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.SiLU(), nn.ELU(), nn.PReLU(), nn.Mish(), nn.Softplus(), nn.Hardswish(), nn.ReLU6(),
        nn.Flatten(), nn.Linear(108, 3), nn.Sigmoid(), nn.Tanh(), nn.GELU(),
    ),
    "pools": lambda: nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(2, ceil_mode=True), nn.AdaptiveMaxPool2d((3, 2)),
        nn.AvgPool2d(2, padding=1), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 3),
    ),
    "one layer": lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, 3)),
}  # fmt: skip


@pytest.fixture(params=sorted(NETS))
def net(request):
    torch.manual_seed(0)
    net = NETS[request.param]().double()
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                for values in (part.running_mean, part.running_var, part.weight, part.bias):
                    values.uniform_(0.5, 1.5)
    return net


@pytest.fixture
def inputs():
    return torch.rand(3, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def mask():
    return torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(2)) < 0.3


def test_the_two_parts_add_up_to_the_logits(net, inputs, mask):
    beta, gamma = contextual_decomposition(net, inputs, mask)
    torch.testing.assert_close(beta + gamma, net.eval()(inputs), rtol=1e-12, atol=1e-12)
    assert (beta.abs() > 1e-6).all()


def test_an_empty_mask_brings_exactly_nothing(net, inputs, mask):
    beta, gamma = contextual_decomposition(net, inputs, torch.zeros_like(mask))
    assert beta.abs().max() == 0
    torch.testing.assert_close(gamma, net.eval()(inputs), rtol=1e-12, atol=1e-12)


def test_a_row_gets_the_same_split_alone_and_in_a_batch(net, inputs, mask):
    beta, gamma = contextual_decomposition(net, inputs, mask)
    for row in range(3):
        alone = contextual_decomposition(net, inputs[row : row + 1], mask[row : row + 1])
        torch.testing.assert_close(alone, (beta[row : row + 1], gamma[row : row + 1]), rtol=1e-10, atol=1e-12)


def test_the_model_and_the_inputs_are_left_as_found(net, inputs, mask):
    net.train()
    before = [value.clone() for value in net.state_dict().values()]
    kept = inputs.clone()
    contextual_decomposition(net, inputs, mask)
    assert all(part.training for part in net.modules())
    assert all(torch.equal(one, other) for one, other in zip(before, net.state_dict().values(), strict=True))
    assert torch.equal(inputs, kept)


def test_it_can_be_differentiated_in_the_weights(net, inputs, mask):
    beta, _ = contextual_decomposition(net, inputs, mask)
    torch.autograd.backward(beta.square().sum())
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name


def shared(beta, gamma, constant):
    """A bias, shared in proportion to the magnitudes; γ takes it where there are none."""
    share = abs(beta) / (abs(beta) + abs(gamma)) if beta or gamma else 0.0
    return beta + share * constant, gamma + (1 - share) * constant


def test_it_is_the_rules_of_the_papers_layer_by_layer():
    """Convolution 3×3, batch normalisation, ReLU, max-pooling 2×2, tanh, average pooling, linear: in loops."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Tanh(), nn.AvgPool2d((1, 2)),
        nn.Flatten(), nn.Linear(4, 3),
    ).double()  # fmt: skip
    conv, norm, head = net[0], net[1], net[7]
    with torch.no_grad():
        for values in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
            values.uniform_(0.5, 1.5)
    inputs, marked = torch.rand(1, 1, 6, 6, dtype=torch.float64), torch.rand(1, 6, 6) < 0.4
    image = inputs[0, 0].numpy()
    parts = np.where(marked[0], image, 0.0), np.where(marked[0], 0.0, image)

    bends = np.zeros((2, 2, 4, 4))
    for channel in range(2):
        kernel = conv.weight[channel, 0].detach().numpy()
        bias, mean = conv.bias[channel].item(), norm.running_mean[channel].item()
        factor = norm.weight[channel].item() / math.sqrt(norm.running_var[channel].item() + norm.eps)
        shift = norm.bias[channel].item() - mean * factor
        for row in range(4):
            for column in range(4):
                sums = [(kernel * part[row : row + 3, column : column + 3]).sum() for part in parts]
                beta, gamma = shared(*sums, bias)
                beta, gamma = shared(beta * factor, gamma * factor, shift)
                bends[:, channel, row, column] = max(beta, 0.0), max(beta + gamma, 0.0) - max(beta, 0.0)

    pooled = np.zeros((2, 2, 2, 2))
    for channel in range(2):
        for row in range(2):
            for column in range(2):
                window = bends[:, channel, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].reshape(2, 4)
                beta, gamma = window[:, window.sum(axis=0).argmax()]
                pooled[0, channel, row, column] = 0.5 * (math.tanh(beta) + math.tanh(beta + gamma) - math.tanh(gamma))
                pooled[1, channel, row, column] = 0.5 * (math.tanh(gamma) + math.tanh(beta + gamma) - math.tanh(beta))
    flat = pooled.mean(axis=3).reshape(2, 4)

    expected = [
        shared(*(float(np.dot(weights, part)) for part in flat), bias)
        for weights, bias in zip(head.weight.tolist(), head.bias.tolist(), strict=True)
    ]
    beta, gamma = contextual_decomposition(net, inputs, marked)
    torch.testing.assert_close(torch.stack([beta[0], gamma[0]], dim=1), torch.tensor(expected, dtype=torch.float64))


def test_where_nothing_comes_in_the_bias_goes_to_the_rest():
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1))
    beta, gamma = contextual_decomposition(net, torch.zeros(1, 1, 2), torch.ones(1, 1, 2, dtype=torch.bool))
    torch.autograd.backward(beta.sum())
    assert beta.item() == 0
    assert gamma.item() == net[1].bias.item()
    assert net[1].weight.grad.isfinite().all()


def test_a_product_of_two_activations_belongs_to_neither():
    class Gate(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x)

    class Ratio(nn.Module):
        def forward(self, x):
            return x / (1 + x)

    marked = torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(LayerError, match="product of two activations"):
        contextual_decomposition(Gate(), torch.ones(1, 2), marked)
    with pytest.raises(LayerError, match="division by an activation"):
        contextual_decomposition(Ratio(), torch.ones(1, 2), marked)


def test_dropout_that_never_ends_is_refused():
    class Noisy(nn.Module):
        def forward(self, x):
            return F.dropout(x, 0.5)

    with pytest.raises(LayerError, match=r"training=self\.training"):
        contextual_decomposition(Noisy(), torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool))


def test_batch_normalisation_without_statistics_is_refused():
    net = nn.BatchNorm1d(2, track_running_stats=False)
    with pytest.raises(LayerError, match="track_running_stats=False"):
        contextual_decomposition(net, torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool))


def test_a_layer_without_a_rule_is_named():
    net = nn.Sequential(nn.Linear(2, 2), nn.Softmax(dim=1))
    with pytest.raises(LayerError, match=r"Layer '1' \(Softmax\) has no rule for contextual decomposition"):
        contextual_decomposition(net, torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool))


def test_bare_functions_and_masks_and_inputs_that_do_not_fit_are_refused():
    net, inputs, marked = nn.Linear(2, 2), torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(KindError, match="needs a module"):
        contextual_decomposition(lambda x: x, inputs, marked)
    with pytest.raises(KindError, match="boolean"):
        contextual_decomposition(net, inputs, marked.float())
    with pytest.raises(KindError, match="floating point"):
        contextual_decomposition(net, inputs.long(), marked)
    with pytest.raises(ShapeError, match=r"got \(1, 3\)"):
        contextual_decomposition(net, inputs, torch.ones(1, 3, dtype=torch.bool))


@pytest.mark.parametrize("bend", [nn.Tanh(), nn.Identity(), nn.ReLU()])
def test_black_surroundings_leave_a_gradient_however_large_the_weight(bend):
    """Both parts are zero there; a bias shared between them must not divide by next to nothing."""
    net = nn.Sequential(nn.Linear(2, 3), bend, nn.Linear(3, 2))
    nn.init.ones_(net[0].bias)
    beta, gamma = contextual_decomposition(net, torch.zeros(1, 2), torch.tensor([[True, False]]))
    torch.autograd.backward(1e4 * torch.sigmoid(beta - gamma).sum())
    assert all(weight.grad.isfinite().all() for weight in net.parameters())

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from explain import KindError, LayerError, SettingError, ShapeError
from explain.intervals import interval_bounds, marked_box


class Skip(nn.Module):
    """Most functions and methods that have a rule."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular")
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=2, bias=False)
        self.scale = nn.Parameter(torch.tensor(-0.7))
        self.head = nn.Linear(4 * 9 + 4, 3)

    def forward(self, x):
        x = (x - torch.tensor([0.1, 0.2]).view(1, 2, 1, 1)) / 0.5
        y = F.relu(self.norm(self.conv(x)))
        y = y + F.leaky_relu(y * self.scale, 0.2)
        y = 1.0 - F.max_pool2d(y, 3, stride=1, padding=1)
        y += torch.tanh(y)
        pooled = F.avg_pool2d(y, 2).mean(dim=(2, 3))
        y = self.second(y).flatten(1)
        return self.head(torch.cat([y, pooled], dim=1))


def sequential():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1),
        nn.BatchNorm2d(3, affine=False),
        nn.Sigmoid(),
        nn.MaxPool2d(2),
        nn.Dropout(),
        nn.Conv2d(3, 3, 2, dilation=2),
        nn.ELU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(3, 4),
        nn.Softplus(beta=2.0),
        nn.Identity(),
        nn.Linear(4, 4),
        nn.LeakyReLU(),
        nn.Linear(4, 3),
    )


def in_time():
    return nn.Sequential(
        nn.Flatten(2),
        nn.Conv1d(2, 3, 5, padding=2),
        nn.BatchNorm1d(3),
        nn.Hardtanh(),
        nn.MaxPool1d(2),
        nn.AvgPool1d(3),
        nn.LogSigmoid(),
        nn.Flatten(),
        nn.Linear(18, 3),
    )


def random_net(make):
    torch.manual_seed(0)
    net = make().double()
    for part in net.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
            if part.affine:
                nn.init.normal_(part.weight)
    return net


@pytest.fixture
def corners():
    torch.manual_seed(1)
    lower = torch.rand(4, 2, 6, 6, dtype=torch.float64)
    return lower, lower + 0.3 * torch.rand_like(lower)


@pytest.mark.parametrize("make", [Skip, sequential, in_time])
def test_every_point_of_the_box_is_answered_within_the_bounds(make, corners):
    net = random_net(make).train()
    lower, upper = interval_bounds(net, *corners)
    net.eval()
    for part in range(200):
        share = torch.rand_like(corners[0]) if part % 2 else torch.randint_like(corners[0], 2)
        logits = net(torch.lerp(*corners, share))
        assert (logits >= lower - 1e-12).all()
        assert (logits <= upper + 1e-12).all()


@pytest.mark.parametrize("make", [Skip, sequential, in_time])
def test_a_box_without_width_gives_the_outputs_themselves(make, corners):
    net = random_net(make).eval()
    lower, upper = interval_bounds(net, corners[0], corners[0])
    torch.testing.assert_close(lower, net(corners[0]))
    assert torch.equal(lower, upper)


def test_the_bounds_of_one_layer_are_attained(corners):
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 3), nn.ReLU()).double()
    lower, upper = interval_bounds(net, *corners)
    for row in range(4):
        low, high = corners[0][row].flatten(), corners[1][row].flatten()
        for k in range(3):
            weights = net[1].weight[k].tolist()
            least = sum(w * float(low[i] if w > 0 else high[i]) for i, w in enumerate(weights)) + net[1].bias[k].item()
            most = sum(w * float(high[i] if w > 0 else low[i]) for i, w in enumerate(weights)) + net[1].bias[k].item()
            assert lower[row, k].item() == pytest.approx(max(least, 0.0), abs=1e-12)
            assert upper[row, k].item() == pytest.approx(max(most, 0.0), abs=1e-12)


def test_bounds_can_be_trained(corners):
    net = random_net(Skip)
    lower, upper = interval_bounds(net, *corners)
    (upper - lower).sum().backward()
    weights = dict(net.named_parameters())
    for name in ("conv.weight", "norm.weight", "second.weight", "scale", "head.weight"):
        assert weights[name].grad.abs().sum() > 0


def test_a_row_has_the_same_bounds_alone(corners):
    net = random_net(sequential).train()
    whole = interval_bounds(net, *corners)
    alone = interval_bounds(net, corners[0][1:2], corners[1][1:2])
    torch.testing.assert_close(alone[0][0], whole[0][1])
    torch.testing.assert_close(alone[1][0], whole[1][1])
    assert net[1].num_batches_tracked == 0


def test_layers_that_are_not_monotone_are_named(corners):
    net = nn.Sequential(nn.Flatten(), nn.GELU()).double()
    with pytest.raises(LayerError, match=r"Layer '1' \(GELU\) has no rule for interval bounds"):
        interval_bounds(net, *corners)


@pytest.mark.parametrize("bend", [nn.LeakyReLU(-0.1), nn.ELU(-1.0)])
def test_activations_that_fall_somewhere_are_refused(bend, corners):
    with pytest.raises(LayerError, match="must not fall"):
        interval_bounds(bend, *corners)


def test_an_activation_function_that_falls_is_refused(corners):
    class Falls(nn.Module):
        def forward(self, x):
            return F.leaky_relu(x, negative_slope=-0.5)

    with pytest.raises(LayerError, match="must not fall"):
        interval_bounds(Falls(), *corners)


def test_products_and_ratios_of_two_inputs_are_refused(corners):
    class Gate(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x)

    class Ratio(nn.Module):
        def forward(self, x):
            return x / (x + 1.0)

    with pytest.raises(LayerError, match="one constant factor"):
        interval_bounds(Gate(), *corners)
    with pytest.raises(LayerError, match="divisor must be constant"):
        interval_bounds(Ratio(), *corners)


def test_batch_normalisation_over_the_batch_itself_is_refused(corners):
    with pytest.raises(LayerError, match="must have running statistics"):
        interval_bounds(nn.BatchNorm2d(2, track_running_stats=False).double(), *corners)


def test_corners_that_make_no_box_are_refused(corners):
    lower, upper = corners
    with pytest.raises(SettingError, match="nowhere be above"):
        interval_bounds(nn.ReLU(), upper, lower)
    with pytest.raises(SettingError, match="neither may be NaN"):
        interval_bounds(nn.ReLU(), lower * torch.nan, upper)
    with pytest.raises(ShapeError, match=r"\(4, 2, 6, 6\) and \(3, 2, 6, 6\)"):
        interval_bounds(nn.ReLU(), lower, upper[:3])
    with pytest.raises(KindError, match="floating point"):
        interval_bounds(nn.ReLU(), lower.long(), upper.long())


def test_a_marked_box_is_clipped_but_holds_its_middle():
    inputs = torch.tensor([[0.1, 0.5, 0.9, 1.4, -0.2]])
    mask = torch.tensor([[True, False, True, True, True]])
    lower, upper = marked_box(inputs, mask, 0.3, (0.0, 1.0))
    torch.testing.assert_close(lower, torch.tensor([[0.0, 0.5, 0.6, 1.1, -0.2]]))
    torch.testing.assert_close(upper, torch.tensor([[0.4, 0.5, 1.0, 1.4, 0.1]]))
    lower, upper = marked_box(inputs, mask, 0.3)
    torch.testing.assert_close(lower, torch.tensor([[-0.2, 0.5, 0.6, 1.1, -0.5]]))


def test_a_slope_that_is_a_whole_number_is_a_slope(corners):
    for bend in (nn.LeakyReLU(-1), nn.ELU(-1)):
        with pytest.raises(LayerError, match="must not fall"):
            interval_bounds(bend, *corners)


def test_sums_and_differences_with_a_factor_are_bounded():
    class Mixed(nn.Module):
        def forward(self, x):
            return torch.sub(torch.add(x[:, :1], x[:, 1:], alpha=3.0), torch.cat((x[:, 1:],), 1), alpha=-2)

    lower, upper = interval_bounds(Mixed(), torch.tensor([[0.0, -1.0]]), torch.tensor([[1.0, 2.0]]))
    assert lower.tolist() == [[-5.0]]
    assert upper.tolist() == [[11.0]]


def test_dropout_that_never_ends_is_refused(corners):
    class Noisy(nn.Module):
        def __init__(self, ends):
            super().__init__()
            self.ends = ends

        def forward(self, x):
            return F.dropout(x, 0.5, training=self.training if self.ends else True)

    with pytest.raises(LayerError, match=r"training=self\.training"):
        interval_bounds(Noisy(ends=False), *corners)
    torch.testing.assert_close(interval_bounds(Noisy(ends=True), *corners), corners)

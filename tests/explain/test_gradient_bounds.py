import pytest
import torch
import torch.nn.functional as F
from torch import nn

from explain import LayerError, SettingError, ShapeError
from explain.gradient_bounds import gradient_bounds


class Skip(nn.Module):
    """Two ways from the inputs to the logits that meet again, twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect")
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2)
        self.head = nn.Linear(4 * 9 + 4, 3)

    def forward(self, x):
        y = F.relu(self.norm(self.conv(x)))
        y = F.leaky_relu(y + y * -0.3, 0.2) + F.softplus(self.second(y), beta=2.0)
        pooled = F.max_pool2d(y, 3, stride=2, padding=1)
        y = torch.cat([pooled.flatten(1), y.mean(dim=(2, 3))], dim=1)
        return self.head(y + torch.sigmoid(y))


def convolutional():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2, stride=1),
        nn.Conv2d(4, 4, 2, stride=2, bias=False),
        nn.Tanh(),
        nn.Dropout(),
        nn.Flatten(),
        nn.Linear(4, 6),
        nn.LeakyReLU(),
        nn.Linear(6, 3),
    )


def in_time():
    return nn.Sequential(
        nn.Flatten(2),
        nn.Conv1d(2, 3, 5),
        nn.BatchNorm1d(3, affine=False),
        nn.MaxPool1d(3, stride=2, padding=1),
        nn.Sigmoid(),
        nn.AvgPool1d(4),
        nn.Flatten(),
        nn.Linear(12, 6),
        nn.Softplus(),
        nn.Linear(6, 3),
    )


NETS = [Skip, convolutional, in_time]


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


def true_gradient(net, points, labels):
    points = points.detach().requires_grad_()
    loss = nn.functional.cross_entropy(net(points), labels, reduction="sum")
    return torch.autograd.grad(loss, points)[0]


@pytest.fixture
def corners():
    torch.manual_seed(1)
    lower = torch.rand(4, 2, 6, 6, dtype=torch.float64)
    return lower, lower + 0.2 * torch.rand_like(lower)


LABELS = torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize("make", NETS)
def test_the_gradient_at_every_point_of_the_box_lies_within_the_bounds(make, corners):
    net = random_net(make).train()
    lower, upper = gradient_bounds(net, *corners, LABELS)
    assert net.training
    net.eval()
    for part in range(200):
        share = torch.rand_like(corners[0]) if part % 2 else torch.randint_like(corners[0], 2)
        gradient = true_gradient(net, torch.lerp(*corners, share), LABELS)
        assert (gradient >= lower - 1e-12).all()
        assert (gradient <= upper + 1e-12).all()
    assert (lower < upper).any()


@pytest.mark.parametrize("make", NETS)
def test_a_box_without_width_gives_the_gradient_itself(make, corners):
    net = random_net(make).eval()
    lower, upper = gradient_bounds(net, corners[0], corners[0], LABELS)
    torch.testing.assert_close(lower, true_gradient(net, corners[0], LABELS))
    torch.testing.assert_close(upper, lower)


@pytest.mark.parametrize("make", NETS)
def test_narrower_boxes_have_narrower_bounds(make, corners):
    net = random_net(make)
    low, high = corners
    wide = gradient_bounds(net, low, high, LABELS)
    narrow = gradient_bounds(net, torch.lerp(low, high, 0.4), torch.lerp(low, high, 0.6), LABELS)
    assert (narrow[0] >= wide[0] - 1e-12).all()
    assert (narrow[1] <= wide[1] + 1e-12).all()


def test_a_logistic_model_has_the_bounds_of_its_closed_form(corners):
    """CE of the label 0 with logits 0 and w·x: the gradient is σ(w·x) w, and σ rises."""
    weights = torch.randn(72, dtype=torch.float64)
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 2, bias=False)).double()
    with torch.no_grad():
        net[1].weight.copy_(torch.stack([torch.zeros_like(weights), weights]))
    lower, upper = gradient_bounds(net, *corners, torch.zeros(4, dtype=torch.int64))
    for row in range(4):
        low, high = corners[0][row].flatten(), corners[1][row].flatten()
        least = torch.sigmoid((torch.where(weights > 0, low, high) * weights).sum())
        most = torch.sigmoid((torch.where(weights > 0, high, low) * weights).sum())
        torch.testing.assert_close(lower[row].flatten(), torch.minimum(least * weights, most * weights))
        torch.testing.assert_close(upper[row].flatten(), torch.maximum(least * weights, most * weights))


def test_bounds_can_be_trained_and_match_differences(corners):
    net = random_net(convolutional)
    names = [name for name, _ in net.named_parameters()]

    class Width(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self):
            lower, upper = gradient_bounds(self.net, *corners, LABELS)
            return (lower.abs() + upper.abs()).sum()

    def width(*weights):
        held = {f"net.{name}": weight for name, weight in zip(names, weights, strict=True)}
        return torch.func.functional_call(Width(), held, ())

    assert torch.autograd.gradcheck(width, tuple(w.detach().requires_grad_() for w in net.parameters()), fast_mode=True)


def test_without_gradients_it_still_gives_the_bounds(corners):
    net = random_net(convolutional)
    expected = gradient_bounds(net, *corners, LABELS)
    with torch.no_grad():
        found = gradient_bounds(net, *corners, LABELS)
    assert not found[0].requires_grad
    torch.testing.assert_close(found, tuple(side.detach() for side in expected))


def test_frozen_weights_have_bounds_too(corners):
    net = random_net(Skip)
    expected = gradient_bounds(net, *corners, LABELS)
    net.requires_grad_(False)
    found = gradient_bounds(net, *corners, LABELS)
    torch.testing.assert_close(found[0].detach(), expected[0].detach())


@pytest.mark.parametrize("layer", [nn.ELU(), nn.ReLU6(), nn.LogSigmoid()])
def test_activations_with_bounds_but_no_slopes_are_named(layer, corners):
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 3), layer).double()
    name = type(layer).__name__
    with pytest.raises(LayerError, match=rf"Layer '2' \({name}\) has no rule for bounds on gradients"):
        gradient_bounds(net, *corners, LABELS)


def test_max_pooling_beyond_the_border_is_refused(corners):
    net = nn.Sequential(nn.MaxPool2d(4, ceil_mode=True), nn.Flatten()).double()
    with pytest.raises(LayerError, match=r"without `ceil_mode`.*Pad the inputs"):
        gradient_bounds(net, *corners, LABELS)


def test_what_does_not_fit_is_refused(corners):
    net = random_net(convolutional)
    with pytest.raises(ShapeError, match=r"`labels` must have shape \(4,\); got \(3,\)"):
        gradient_bounds(net, *corners, LABELS[:3])
    with pytest.raises(SettingError, match="nowhere be above"):
        gradient_bounds(net, corners[1], corners[0], LABELS)
    with pytest.raises(ShapeError, match=r"must return logits.*got \(4, 4, 4, 4\)"):
        gradient_bounds(net[:2], *corners, LABELS)


class Forked(nn.Module):
    """Joins branches out of a tuple, one of them added with a factor."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.head = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(6, 2)

    def forward(self, x):
        left, right = self.left(x), torch.relu(self.right(x))
        return self.head(torch.cat((torch.add(left, right, alpha=2.0), right), dim=1))


def test_branches_joined_out_of_a_tuple_are_bounded():
    net = random_net(Forked)
    torch.manual_seed(1)
    middle, labels = torch.rand(5, 4, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 0])
    lower, upper = gradient_bounds(net, middle, middle, labels)
    torch.testing.assert_close(lower, true_gradient(net, middle, labels))
    lower, upper = gradient_bounds(net, middle - 0.3, middle + 0.3, labels)
    for _ in range(100):
        gradient = true_gradient(net, middle + 0.3 * (2 * torch.rand_like(middle) - 1), labels)
        assert ((gradient >= lower - 1e-12) & (gradient <= upper + 1e-12)).all()


@pytest.mark.parametrize("scale", [0.1, 5.0, 100.0])
@pytest.mark.parametrize("classes", [2, 7])
def test_each_probability_is_bounded_at_its_worst_logits(scale, classes):
    """Logits are the inputs: one class at a time, its logit least and all others greatest."""
    torch.manual_seed(2)
    lower = scale * torch.randn(4, classes, dtype=torch.float64)
    upper = lower + scale * torch.rand_like(lower)
    labels = torch.tensor([0, 1, 0, 1])
    least, most = gradient_bounds(nn.Identity(), lower, upper, labels)
    for ends, others, found in ((lower, upper, least), (upper, lower, most)):
        for chosen in range(classes):
            worst = others.clone()
            worst[:, chosen] = ends[:, chosen]
            expected = worst.softmax(dim=1)[:, chosen] - (labels == chosen).double()
            torch.testing.assert_close(found[:, chosen], expected, rtol=1e-9, atol=1e-15)


def test_bounds_can_be_trained_in_mixed_precision(corners):
    net = random_net(convolutional).float()
    low, high = (corner.float() for corner in corners)
    expected = torch.stack(gradient_bounds(net, low, high, LABELS))
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.stack(gradient_bounds(net, low, high, LABELS)).float()
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.05 * expected.abs().max().item())
    torch.autograd.backward(found.abs().sum())
    assert all(weight.grad.isfinite().all() for weight in net.parameters())


@pytest.mark.filterwarnings("error")
def test_columns_are_taken_as_the_module_takes_them():
    class Columns(nn.Module):
        def forward(self, x):
            return torch.cat([x[:, 1:], x[:, :1] * 2.0], dim=1)

    low = torch.rand(2, 3, dtype=torch.float64)
    lower, upper = gradient_bounds(Columns(), low, low, torch.tensor([0, 2]))
    torch.testing.assert_close(lower, upper)
    torch.testing.assert_close(lower, true_gradient(Columns(), low, torch.tensor([0, 2])))

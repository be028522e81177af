import math

import pytest
import torch
from torch import nn

from explain import Batch, KindError, LayerError, Rationale, RightReasons, SettingError, mean_penalty
from explain.losses import RobustRightReasons, SampledRightReasons
from explain.testing import LossTests

EVENT = (2, 4, 4)
# Of the six rows that `LossTests` gives, one is silent and never reaches the loss.
ANNOTATED = [0, 1, 3, 4, 5]


def as_matrix(layer, shape):
    """An affine layer as a matrix and an offset, from its answers to zero and to each unit vector."""
    size = math.prod(shape)
    with torch.no_grad():
        offset = layer(torch.zeros(1, *shape, dtype=torch.float64)).flatten()
        columns = layer(torch.eye(size, dtype=torch.float64).view(size, *shape)).flatten(1) - offset
    return columns.T.tolist(), offset.tolist()


def product(one, other):
    """The range of a product of two numbers out of two ranges."""
    ends = [a * b for a in one for b in other]
    return min(ends), max(ends)


def affine(matrix, offset, ranges):
    """The range of each w·x + b, one product at a time."""
    found = []
    for weights, shift in zip(matrix, offset):
        ends = [product((w, w), x) for w, x in zip(weights, ranges)]
        found.append((shift + sum(low for low, _ in ends), shift + sum(high for _, high in ends)))
    return found


def transposed(matrix):
    return [list(column) for column in zip(*matrix)], [0.0] * len(matrix[0])


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def slope_of_tanh(low, high):
    """1 − tanh² rises up to zero and falls from there."""
    ends = [1 - math.tanh(low) ** 2, 1 - math.tanh(high) ** 2]
    return min(ends), 1.0 if low < 0 < high else max(ends)


def probability_less_label(ranges, label):
    found = []
    for k, (low, high) in enumerate(ranges):
        others = [j for j in range(len(ranges)) if j != k]
        least = math.exp(low) / (math.exp(low) + sum(math.exp(ranges[j][1]) for j in others))
        most = math.exp(high) / (math.exp(high) + sum(math.exp(ranges[j][0]) for j in others))
        found.append((least - (k == label), most - (k == label)))
    return found


class TestRobustRightReasons(LossTests):
    loss = RobustRightReasons(weight=0.7, epsilon=0.1, clip=(0.0, 1.0))
    first_order = True  # magnitudes and clamps have kinks

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """mean m ⊙ (|δ_L| + |δ_U|), forwards and backwards through the net in intervals of plain numbers."""
        marked = irrelevant.expand(EVENT).flatten().tolist()
        points = inputs.flatten().tolist()
        x = [(max(v - 0.1, 0.0), min(v + 0.1, 1.0)) if m else (v, v) for v, m in zip(points, marked)]
        first, second, head = as_matrix(net.conv, EVENT), as_matrix(net.features, (3, 4, 4)), as_matrix(net.head, (32,))
        bent = affine(*first, x)
        squashed = affine(*second, [(math.log(1 + math.exp(a)), math.log(1 + math.exp(b))) for a, b in bent])
        logits = affine(*head, [(math.tanh(a), math.tanh(b)) for a, b in squashed])
        back = affine(*transposed(head[0]), probability_less_label(logits, label))
        back = [product(g, slope_of_tanh(*z)) for g, z in zip(back, squashed)]
        back = affine(*transposed(second[0]), back)
        back = [product(g, (sigmoid(a), sigmoid(b))) for g, (a, b) in zip(back, bent)]
        back = affine(*transposed(first[0]), back)
        return sum(abs(a) + abs(b) for (a, b), m in zip(back, marked) if m) / len(marked)


class TestSampledRightReasons(LossTests):
    loss = SampledRightReasons(weight=0.7, epsilon=0.3, samples=2)
    first_order = True  # magnitudes and maxima have kinks

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """mean m ⊙ max_s |∇CE(x + δ_s) − ∇CE(x)|, gradients by finite differences."""
        whole = torch.rand(6, *EVENT, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        (row,) = [row for row in range(6) if torch.equal(whole[row], inputs)]
        torch.manual_seed(3)
        draws = torch.rand(5, 2, *EVENT, dtype=torch.float64)[ANNOTATED.index(row)]
        marked = irrelevant.expand(EVENT)

        def slope(point, element):
            values = []
            for sign in (1, -1):
                moved = point.flatten().clone()
                moved[element] += sign * 1e-5
                with torch.no_grad():
                    logits = net(moved.view(1, *EVENT))[0].tolist()
                values.append(math.log(sum(math.exp(logit) for logit in logits)) - logits[label])
            return (values[0] - values[1]) / 2e-5

        total = 0.0
        for element in range(32):
            if marked.flatten()[element]:
                middle = slope(inputs, element)
                total += max(abs(slope(inputs + 0.3 * (2 * draw - 1) * marked, element) - middle) for draw in draws)
        return total / 32


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)
    ).double()


@pytest.fixture
def batch():
    return Batch(torch.rand(4, 1, 6, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0]))


MARKED = Rationale(irrelevant=torch.ones(4, 6, 6, dtype=torch.bool))


def test_without_room_the_bounds_are_twice_the_gradient(net, batch):
    points = batch.inputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(net(points), batch.labels, reduction="sum"), points)
    expected = 2 * gradient.abs().flatten(1).mean(dim=1)
    torch.testing.assert_close(RobustRightReasons(1.0, epsilon=0.0)(net, batch, MARKED).detach(), expected)


def test_without_room_nothing_changes(net, batch):
    assert SampledRightReasons(epsilon=0.0)(net, batch, MARKED).tolist() == [0.0] * 4


def test_the_bounds_are_above_what_samples_find(net, batch):
    """|L| + |U| ≥ |∇(x + δ) − ∇x| wherever both gradients lie in [L, U]."""
    bound = RobustRightReasons(epsilon=0.2)(net, batch, MARKED)
    sampled = SampledRightReasons(epsilon=0.2, samples=30)(net, batch, MARKED)
    assert (sampled > 0).all()
    assert (sampled < bound).all()


def test_more_samples_find_at_least_as_much(net, batch):
    one = Batch(batch.inputs[:1], batch.labels[:1])
    said = Rationale(irrelevant=MARKED.irrelevant[:1])
    values = []
    for samples in (1, 5):
        torch.manual_seed(0)
        values.append(SampledRightReasons(epsilon=0.2, samples=samples)(net, one, said).item())
    assert values[0] <= values[1]


def test_a_net_of_relus_learns_the_task_and_tightens_its_bounds_on_the_mark(net, batch):
    mask = torch.zeros(4, 6, 6, dtype=torch.bool)
    mask[:, :3] = True
    said = Rationale(irrelevant=mask)
    loss = RobustRightReasons(epsilon=0.5)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    before = mean_penalty(loss, net, batch, said).item()
    for _ in range(100):
        optimizer.zero_grad()
        total = nn.functional.cross_entropy(net(batch.inputs), batch.labels) + mean_penalty(loss, net, batch, said)
        total.backward()
        optimizer.step()
    assert mean_penalty(loss, net, batch, said).item() < 0.2 * before


def test_it_goes_with_right_reasons(net, batch):
    both = RightReasons() + 2.0 * SampledRightReasons(samples=1)
    torch.manual_seed(0)
    alone = 2.0 * SampledRightReasons(samples=1)(net, batch, MARKED)
    torch.manual_seed(0)
    torch.testing.assert_close(both(net, batch, MARKED), RightReasons()(net, batch, MARKED) + alone)


def test_bounds_need_a_module_of_layers_with_rules(net, batch):
    with pytest.raises(KindError, match=r"got function\. Pass the module itself"):
        RobustRightReasons()(lambda x: net(x), batch, MARKED)
    with pytest.raises(LayerError, match=r"Layer '7' \(GELU\) has no rule for bounds on gradients"):
        RobustRightReasons()(net.append(nn.GELU()), batch, MARKED)


def test_settings_that_are_none_are_refused():
    for kind in (RobustRightReasons, SampledRightReasons):
        with pytest.raises(SettingError, match="`epsilon` must be finite and not negative; got -1"):
            kind(epsilon=-1)
        with pytest.raises(SettingError, match="`clip` must be None or"):
            kind(clip=(1.0, 1.0))
    with pytest.raises(SettingError, match="at least 1; got 0"):
        SampledRightReasons(samples=0)

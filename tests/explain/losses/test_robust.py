import math

import pytest
import torch
from torch import nn

from explain import Batch, KindError, LayerError, Rationale, SettingError, TargetError
from explain.losses import AdversarialRobust, AverageRobust, IntervalRobust, RobustRightReasons, SampledRightReasons
from explain.testing import LossTests

EVENT = (2, 4, 4)
# Of the six rows that `LossTests` gives, one is silent and never reaches the loss.
ANNOTATED = [0, 1, 3, 4, 5]


def cross_entropy(logits, label):
    return math.log(sum(math.exp(float(logit)) for logit in logits)) - float(logits[label])


def everywhere(mask):
    return mask.expand(EVENT)


def place_of(inputs):
    """Where a row stands among the annotated ones of the batch that `LossTests` gives."""
    whole = torch.rand(6, *EVENT, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (row,) = [row for row in range(6) if torch.equal(whole[row], inputs)]
    return ANNOTATED.index(row)


class TestAverageRobust(LossTests):
    loss = AverageRobust(weight=0.7, epsilon=0.4, noise="uniform")

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """CE(y, f(x + m ⊙ ξ)), ξ uniform."""
        torch.manual_seed(3)
        draws = torch.rand(5, *EVENT, dtype=torch.float64)[place_of(inputs)].flatten().tolist()
        noisy = [
            x + (0.4 * (2 * draw - 1) if marked else 0.0)
            for x, draw, marked in zip(inputs.flatten().tolist(), draws, everywhere(irrelevant).flatten().tolist())
        ]
        return cross_entropy(net(torch.tensor(noisy, dtype=torch.float64).view(1, *EVENT))[0].detach(), label)


class TestAverageRobustWithGaussianNoiseAndARange(LossTests):
    loss = AverageRobust(weight=0.7, epsilon=0.4, noise="gaussian", clip=(0.1, 0.9))

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """CE(y, f(x + m ⊙ ξ)), ξ normal, cut to the range where marked."""
        torch.manual_seed(3)
        draws = torch.randn(5, *EVENT, dtype=torch.float64)[place_of(inputs)].flatten().tolist()
        noisy = [
            min(max(x + 0.4 * draw, min(0.1, x)), max(0.9, x)) if marked else x
            for x, draw, marked in zip(inputs.flatten().tolist(), draws, everywhere(irrelevant).flatten().tolist())
        ]
        return cross_entropy(net(torch.tensor(noisy, dtype=torch.float64).view(1, *EVENT))[0].detach(), label)


@pytest.mark.parametrize("noise", ["gaussian", "uniform"])
def test_the_noise_of_a_row_does_not_depend_on_the_rows_after_it(noise):
    inputs, labels = torch.zeros(6, 10), torch.zeros(6, dtype=torch.long)
    marked = torch.ones(6, 10, dtype=torch.bool)
    found = []
    for rows in (6, 3, 1):
        torch.manual_seed(0)
        batch, said = Batch(inputs[:rows], labels[:rows]), Rationale(marked[:rows])
        found.append(AverageRobust(noise=noise)(lambda x: x, batch, said).detach())
    whole, half, one = found
    assert torch.equal(half, whole[:3])
    assert torch.equal(one, whole[:1])
    assert len(whole.unique()) == 6


class TestAdversarialRobust(LossTests):
    loss = AdversarialRobust(weight=0.7, epsilon=0.3, steps=3, step=0.15, random_start=False)

    def start(self, inputs, low, high):
        return inputs.flatten().tolist()

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """K steps of sign(∂CE/∂x), each element by finite differences, projected on x ± εm."""
        points = inputs.flatten().tolist()
        epsilon = [0.3 if marked else 0.0 for marked in everywhere(irrelevant).flatten().tolist()]
        low = [x - e for x, e in zip(points, epsilon)]
        high = [x + e for x, e in zip(points, epsilon)]
        worst = self.start(inputs, low, high)

        def loss_at(values):
            with torch.no_grad():
                return cross_entropy(net(torch.tensor(values, dtype=torch.float64).view(1, *EVENT))[0], label)

        for _ in range(3):
            signs = []
            for element in range(len(worst)):
                above, below = list(worst), list(worst)
                above[element] += 1e-5
                below[element] -= 1e-5
                signs.append(math.copysign(1, loss_at(above) - loss_at(below)))
            worst = [min(max(x + 0.15 * sign, a), b) for x, sign, a, b in zip(worst, signs, low, high)]
        return loss_at(worst)


class TestAdversarialRobustFromAnywhere(TestAdversarialRobust):
    loss = AdversarialRobust(weight=0.7, epsilon=0.3, steps=3, step=0.15)

    def start(self, inputs, low, high):
        torch.manual_seed(3)
        draws = torch.rand(5, *EVENT, dtype=torch.float64)[place_of(inputs)].flatten().tolist()
        return [a + draw * (b - a) for a, b, draw in zip(low, high, draws)]


def as_matrix(layer, shape):
    """An affine layer as a matrix and an offset, from its answers to zero and to each unit vector."""
    size = math.prod(shape)
    with torch.no_grad():
        offset = layer(torch.zeros(1, *shape, dtype=torch.float64)).flatten()
        columns = layer(torch.eye(size, dtype=torch.float64).view(size, *shape)).flatten(1) - offset
    return columns.T.tolist(), offset.tolist()


def affine_box(matrix, offset, low, high):
    """[Σ w⁺ l + w⁻ u + b, Σ w⁺ u + w⁻ l + b], row by row."""
    below, above = [], []
    for weights, shift in zip(matrix, offset):
        below.append(shift + sum(w * (a if w > 0 else b) for w, a, b in zip(weights, low, high)))
        above.append(shift + sum(w * (b if w > 0 else a) for w, a, b in zip(weights, low, high)))
    return below, above


class TestIntervalRobust(LossTests):
    loss = IntervalRobust(weight=0.7, epsilon=0.2, clip=(0.0, 1.0))

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """CE at the lower logit of the label and the upper ones of the others, one weight at a time."""
        points = inputs.flatten().tolist()
        marked = everywhere(irrelevant).flatten().tolist()
        low = [max(x - 0.2, 0.0) if m else x for x, m in zip(points, marked)]
        high = [min(x + 0.2, 1.0) if m else x for x, m in zip(points, marked)]
        low, high = affine_box(*as_matrix(net.conv, EVENT), low, high)
        low, high = ([math.log(1 + math.exp(z)) for z in side] for side in (low, high))
        low, high = affine_box(*as_matrix(net.features, (3, 4, 4)), low, high)
        low, high = ([math.tanh(z) for z in side] for side in (low, high))
        low, high = affine_box(*as_matrix(net.head, (32,)), low, high)
        return cross_entropy([low[k] if k == label else high[k] for k in range(3)], label)


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
LOSSES = [AverageRobust, AdversarialRobust, IntervalRobust]


@pytest.mark.parametrize("kind", LOSSES)
def test_without_room_it_is_the_task_loss(kind, net, batch):
    expected = nn.functional.cross_entropy(net(batch.inputs), batch.labels, reduction="none")
    torch.testing.assert_close(kind(epsilon=0.0)(net, batch, MARKED), expected)


def test_the_interval_bound_is_above_every_attack_and_the_attack_above_noise(net, batch):
    noise = torch.stack([AverageRobust(epsilon=0.2)(net, batch, MARKED) for _ in range(20)]).mean(dim=0)
    attack = AdversarialRobust(epsilon=0.2, steps=10)(net, batch, MARKED)
    bound = IntervalRobust(epsilon=0.2)(net, batch, MARKED)
    assert (noise < attack).all()
    assert (attack < bound).all()


@pytest.mark.parametrize(("kind", "calls"), [(AverageRobust, 1), (AdversarialRobust, 6)])
def test_only_marked_elements_move_and_stay_in_the_range(kind, calls, batch):
    seen = []

    def model(x):
        seen.append(x.detach())
        return x.flatten(1)[:, :3] * 1.0

    mask = torch.zeros(4, 1, 6, 6, dtype=torch.bool)
    mask[:, :, :2] = True
    kind(epsilon=0.7, clip=(0.0, 1.0))(model, batch, Rationale(irrelevant=mask))
    assert len(seen) == calls
    for inputs in seen:
        assert torch.equal(inputs[~mask], batch.inputs[~mask])
        assert not torch.equal(inputs[mask], batch.inputs[mask])
        assert inputs.min() >= 0
        assert inputs.max() <= 1


def test_an_attack_crosses_its_box(batch):
    """A linear model's worst input is a corner, and the default step reaches it from anywhere."""
    weights = torch.randn(36, 2, dtype=torch.float64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 2, bias=False)).double()
    with torch.no_grad():
        model[1].weight.copy_(weights.T)
    two = Batch(batch.inputs, torch.tensor([0, 1, 1, 0]))
    attack = AdversarialRobust(epsilon=0.2)(model, two, MARKED)
    for row in range(4):
        label = int(two.labels[row])
        slope = weights[:, 1 - label] - weights[:, label]
        worst = two.inputs[row].flatten() + 0.2 * slope.sign()
        gap = float(worst @ slope)
        assert attack[row].item() == pytest.approx(math.log(1 + math.exp(gap)))


def test_attacks_take_functions_and_bounds_do_not(net, batch):
    def function(x):
        return net(x)

    assert (AdversarialRobust()(function, batch, MARKED) > 0).all()
    with pytest.raises(KindError, match=r"got function\. Pass the module itself"):
        IntervalRobust()(function, batch, MARKED)


def test_a_layer_without_bounds_is_named(net, batch):
    with pytest.raises(LayerError, match=r"Layer '7' \(Softmax\) has no rule for interval bounds"):
        IntervalRobust()(net.append(nn.Softmax(dim=1)), batch, MARKED)


@pytest.mark.parametrize("kind", LOSSES)
def test_regions_that_are_none_are_refused(kind):
    for epsilon in (-0.1, math.nan, math.inf):
        with pytest.raises(SettingError, match="`epsilon` must be finite and not negative"):
            kind(epsilon=epsilon)
    for clip in ((1.0, 0.0), (0.0,)):
        with pytest.raises(SettingError, match="`clip` must be None or"):
            kind(clip=clip)


def test_settings_that_are_none_are_refused():
    with pytest.raises(SettingError, match="'uniform' or 'gaussian'; got 'pink'"):
        AverageRobust(noise="pink")
    with pytest.raises(SettingError, match="at least 1; got 0"):
        AdversarialRobust(steps=0)
    with pytest.raises(SettingError, match=r"`step` must be finite and not negative, or None; got -1\.0"):
        AdversarialRobust(step=-1.0)


ROBUST = [
    AverageRobust(),
    AdversarialRobust(),
    IntervalRobust(),
    RobustRightReasons(epsilon=0.1),
    SampledRightReasons(epsilon=0.1),
]


@pytest.mark.parametrize("loss", ROBUST, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize(
    ("classes", "label", "said"),
    [(1, 0, "A probability needs two classes"), (3, -100, "must lie in"), (3, 7, "must lie in")],
)
def test_labels_that_are_no_classes_are_refused(loss, classes, label, said):
    """Torch leaves a row of label −100 out, and a softmax over one logit is 1 whatever it is: both would cost 0."""
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, classes))
    batch = Batch(torch.rand(3, 4), torch.full((3,), label))
    with pytest.raises(TargetError, match=said):
        loss(net, batch, Rationale(irrelevant=torch.tensor([[True, False, False, True]]).expand(3, 4)))

import pytest
import torch
from torch import nn

from explain import Batch, GraphError, LayerError, Rationale, SettingError, ShapeError
from explain.losses import Hint, RightReasonsGradCam, TargetedActivationPenalty
from explain.testing import LossTests


def grad_cam_by_differences(net, inputs, value, layer="conv"):
    """Σ_c (mean over places of ∂value/∂a_c) a_c for one row, one element of the activation at a time."""
    names = ["conv", "bend", "features", "squash", "flat", "head"]
    at = names.index(layer) + 1
    with torch.no_grad():
        activation = inputs[None]
        for name in names[:at]:
            activation = getattr(net, name)(activation)

        def above(changed):
            for name in names[at:]:
                changed = getattr(net, name)(changed)
            return float(value(changed[0]))

        _, channels, height, width = activation.shape
        total = torch.zeros(height, width, dtype=torch.float64)
        for channel in range(channels):
            slopes = []
            for y in range(height):
                for x in range(width):
                    more, less = activation.clone(), activation.clone()
                    more[0, channel, y, x] += 1e-5
                    less[0, channel, y, x] -= 1e-5
                    slopes.append((above(more) - above(less)) / 2e-5)
            total += sum(slopes) / len(slopes) * activation[0, channel]
    return total


def norm01(cells):
    flat = [float(cell) for cell in cells.flatten()]
    return [(cell - min(flat)) / (max(flat) - min(flat)) for cell in flat]


def cells_hit(mask, side):
    """Row by row of a square grid: whether any pixel of the cell is marked; the side divides that of the mask."""
    step = len(mask) // side
    return [
        bool(mask[step * y : step * (y + 1), step * x : step * (x + 1)].any()) for y in range(side) for x in range(side)
    ]


class TestRightReasonsGradCam(LossTests):
    loss = RightReasonsGradCam(weight=0.7, layer="conv", exact=True)

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """‖m ⊙ norm01(Grad-CAM of the largest logit)‖²."""
        level = norm01(grad_cam_by_differences(net, inputs, max))
        return sum(cell**2 for cell, marked in zip(level, irrelevant.flatten(), strict=True) if marked)


class TestRightReasonsGradCamOfThePositivePart(LossTests):
    loss = RightReasonsGradCam(weight=0.7, layer="conv", target="label_logit", relu=True, exact=True)

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """The same of the label's logit, without the negative part."""
        level = norm01(grad_cam_by_differences(net, inputs, lambda logits: logits[label]).clamp(min=0))
        return sum(cell**2 for cell, marked in zip(level, irrelevant.flatten(), strict=True) if marked)


class Strided(nn.Module):
    """As `Smooth`, but its second convolution halves the grid."""

    def __init__(self):
        super().__init__()
        self.conv, self.bend = nn.Conv2d(2, 3, 3, padding=1), nn.Softplus()
        self.features, self.squash = nn.Conv2d(3, 2, 2, stride=2), nn.Tanh()
        self.flat, self.head = nn.Flatten(), nn.Linear(8, 3)

    def forward(self, inputs):
        return self.head(self.flat(self.squash(self.features(self.bend(self.conv(inputs))))))


class OnACoarserGrid(LossTests):
    @pytest.fixture
    def net(self):
        torch.manual_seed(0)
        return Strided().double()

    @pytest.fixture
    def rationale(self):
        """One or two strokes of one pixel each, so that not every cell is hit."""
        irrelevant, relevant = torch.zeros(2, 6, 4, 4, dtype=torch.bool)
        for row in (0, 1, 3, 4, 5):
            irrelevant[row, row % 4, 3 - row // 2] = relevant[row, 3 - row % 4, row // 2] = True
        return Rationale(irrelevant=irrelevant, relevant=relevant)


class TestRightReasonsGradCamOnACoarserGrid(OnACoarserGrid):
    loss = RightReasonsGradCam(weight=0.7, layer="features", exact=True)

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        level = norm01(grad_cam_by_differences(net, inputs, max, "features"))
        return sum(cell**2 for cell, marked in zip(level, cells_hit(irrelevant, 2), strict=True) if marked)


class TestHint(LossTests):
    loss = Hint(weight=0.7, layer="conv", exact=True)

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """MSE(norm01(Grad-CAM of the label), r)."""
        level = norm01(grad_cam_by_differences(net, inputs, lambda logits: logits[label]))
        return sum((cell - float(mark)) ** 2 for cell, mark in zip(level, relevant.flatten(), strict=True)) / 16


class TestHintOnACoarserGrid(OnACoarserGrid):
    loss = Hint(weight=0.7, layer="features", exact=True)

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        level = norm01(grad_cam_by_differences(net, inputs, lambda logits: logits[label], "features"))
        return sum((cell - mark) ** 2 for cell, mark in zip(level, cells_hit(relevant, 2), strict=True)) / 4


class TestHintByRank(LossTests):
    loss = Hint(weight=0.7, layer="conv", compare="rank", relu=True, exact=True)

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """Mean over (marked p, other q) of |ĉ_q − ĉ_p| where they are in the wrong order."""
        level = norm01(grad_cam_by_differences(net, inputs, lambda logits: logits[label]).clamp(min=0))
        marked = relevant.flatten().tolist()
        pairs = [(p, q) for p in range(16) for q in range(16) if marked[p] and not marked[q]]
        return sum(abs(level[q] - level[p]) for p, q in pairs if level[q] > level[p]) / len(pairs)


def grown(mask, y, x):
    """Whether a pixel or one of its eight neighbours is marked."""
    height, width = mask.shape
    return any(
        mask[y + up, x + right]
        for up in (-1, 0, 1)
        for right in (-1, 0, 1)
        if 0 <= y + up < height and 0 <= x + right < width
    )


class TestTargetedActivationPenalty(LossTests):
    loss = TargetedActivationPenalty(weight=0.7, layers=("bend", "features"))

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """(1/L) Σ_l ‖pool(m) ⊙ Σ_c act_l‖²_F."""
        first = net.bend(net.conv(inputs[None]))
        total = 0.0
        for activation in (first[0], net.features(first)[0]):
            for y in range(4):
                for x in range(4):
                    if grown(irrelevant, y, x):
                        total += activation[:, y, x].sum().item() ** 2
        return total / 2


class TestTargetedActivationPenaltyOnACoarserGrid(OnACoarserGrid):
    loss = TargetedActivationPenalty(weight=0.7, layers=("squash",))

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        activation = net.squash(net.features(net.bend(net.conv(inputs[None]))))[0]
        total = 0.0
        for y in range(2):
            for x in range(2):
                share = sum(grown(irrelevant, 2 * y + up, 2 * x + right) for up in (0, 1) for right in (0, 1)) / 4
                total += (share * activation[:, y, x].sum().item()) ** 2
        return total


class ConstantWeights(LossTests):
    """What holds where the weights of the channels are constants: the gradient is another one, by design."""

    def test_its_gradient_in_the_weights_is_right(self, net, batch, rationale):
        """That of the same map with weights written down beforehand."""
        loss = self.loss
        found = torch.autograd.grad(self.value(net, batch, rationale).sum(), net.conv.parameters())
        activation = net.conv(batch.inputs)
        logits = net.head(net.flat(net.squash(net.features(net.bend(activation)))))
        values = logits.amax(dim=1) if loss.target == "max_logit" else logits[torch.arange(6), batch.labels]
        (slopes,) = torch.autograd.grad(values.sum(), activation, retain_graph=True)
        maps = sum(slopes[:, c].mean(dim=(1, 2)).detach()[:, None, None] * activation[:, c] for c in range(3))
        flat = maps.flatten(1)
        low, high = flat.min(dim=1, keepdim=True).values, flat.max(dim=1, keepdim=True).values
        level = (flat - low) / (high - low)
        total = sum(0.7 * self.size(level[row], rationale, row) for row in (0, 1, 3, 4, 5))
        expected = torch.autograd.grad(total, net.conv.parameters())
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)
            assert one.abs().max() > 0


class TestRightReasonsGradCamWithConstantWeights(ConstantWeights):
    loss = RightReasonsGradCam(weight=0.7, layer="conv", exact=False)
    by_the_paper = TestRightReasonsGradCam.by_the_paper

    def size(self, level, rationale, row):
        return level[rationale.irrelevant[row].flatten()].square().sum()


class TestHintWithConstantWeights(ConstantWeights):
    loss = Hint(weight=0.7, layer="conv", exact=False)
    by_the_paper = TestHint.by_the_paper

    def size(self, level, rationale, row):
        return (level - rationale.relevant[row].flatten().double()).square().mean()


@pytest.fixture
def net():
    """Grad-CAM of logit 0 at its first layer is the inputs."""
    net = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(4, 1))
    nn.init.ones_(net[2].weight)
    return net


def said(*marks):
    return torch.tensor(marks, dtype=torch.bool).reshape(len(marks), 2, 2)


def test_an_all_equal_map_is_neither_free_nor_maximal(net):
    batch = Batch(torch.full((2, 1, 2, 2), 3.0), torch.tensor([0, 0]))
    marks = Rationale(irrelevant=said([1, 1, 0, 0], [1, 0, 0, 0]), relevant=said([1, 0, 0, 0], [1, 1, 1, 0]))
    weights = list(net.parameters())
    for loss, expected in [
        (RightReasonsGradCam(1.0, layer="0"), [0.5, 0.25]),
        (Hint(1.0, layer="0"), [0.25, 0.25]),
        (Hint(1.0, layer="0", compare="rank"), [0.0, 0.0]),
    ]:
        penalty = loss(net, batch, marks)
        assert penalty.tolist() == expected
        slopes = torch.autograd.grad(penalty.sum(), weights, allow_unused=True)
        assert all(slope is None or slope.eq(0).all() for slope in slopes)


def test_a_dead_layer_gives_no_nan():
    dead = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    nn.init.constant_(dead[0].bias, -100.0)
    batch = Batch(torch.rand(2, 1, 2, 2), torch.tensor([0, 1]))
    marks = Rationale(irrelevant=said([1, 1, 0, 0], [1, 0, 0, 0]), relevant=said([1, 0, 0, 0], [1, 1, 1, 0]))
    for loss in (
        RightReasonsGradCam(1.0, layer="1"),
        Hint(1.0, layer="1"),
        TargetedActivationPenalty(1.0, layers=("1",)),
    ):
        penalty = loss(dead, batch, marks).sum()
        assert penalty.isfinite()
        for slope in torch.autograd.grad(penalty, list(dead.parameters()), allow_unused=True):
            assert slope is None or slope.eq(0).all()


def test_where_everything_is_relevant_there_is_no_order_to_keep(net):
    batch = Batch(torch.rand(1, 1, 2, 2), torch.tensor([0]))
    assert Hint(1.0, layer="0", compare="rank")(net, batch, Rationale(relevant=said([1, 1, 1, 1]))).item() == 0.0


def test_an_order_that_is_kept_costs_nothing_and_each_pair_that_is_not_counts(net):
    batch = Batch(torch.tensor([[0.0, 1.0, 2.0, 4.0], [0.0, 1.0, 2.0, 4.0]]).reshape(2, 1, 2, 2), torch.tensor([0, 0]))
    marks = Rationale(relevant=said([0, 0, 1, 1], [0, 1, 0, 1]))
    # In the second row only the pair (1, 2) is in the wrong order, by ¼ of the span, out of four.
    assert Hint(1.0, layer="0", compare="rank")(net, batch, marks).tolist() == [0.0, 0.0625]


def test_penalties_on_maps_are_blind_to_the_size_of_the_map_and_those_on_activations_are_not(net):
    inputs = torch.rand(1, 1, 2, 2)
    marks = Rationale(irrelevant=said([1, 0, 0, 1]), relevant=said([0, 1, 0, 0]))
    small, large = Batch(inputs, torch.tensor([0])), Batch(10 * inputs, torch.tensor([0]))
    for loss in (RightReasonsGradCam(1.0, layer="0"), Hint(1.0, layer="0")):
        torch.testing.assert_close(loss(net, small, marks), loss(net, large, marks))
    silent = TargetedActivationPenalty(1.0, layers=("0",))
    torch.testing.assert_close(100 * silent(net, small, marks), silent(net, large, marks))


def test_a_mask_may_have_channels(net):
    batch = Batch(torch.rand(2, 1, 2, 2), torch.tensor([0, 0]))
    flat = said([1, 0, 0, 0], [0, 1, 1, 0])
    for loss in (
        RightReasonsGradCam(1.0, layer="0"),
        TargetedActivationPenalty(1.0, layers=("0",)),
        Hint(1.0, layer="0"),
    ):
        plain = loss(net, batch, Rationale(flat, flat))
        assert torch.equal(loss(net, batch, Rationale(flat[:, None], flat[:, None])), plain)


def test_a_layer_without_places_is_refused(net):
    batch = Batch(torch.rand(1, 1, 2, 2), torch.tensor([0]))
    marks = Rationale(irrelevant=said([1, 0, 0, 0]), relevant=said([0, 1, 0, 0]))
    for loss in (RightReasonsGradCam(layer="1"), Hint(layer="1"), TargetedActivationPenalty(layers=("0", "1"))):
        with pytest.raises(LayerError, match=r"got \(1, 4\). Choose a convolution"):
            loss(net, batch, marks)


def test_a_mask_without_places_is_refused(net):
    batch = Batch(torch.rand(1, 1, 2, 2), torch.tensor([0]))
    flat = torch.ones(1, 4, dtype=torch.bool)
    for loss in (RightReasonsGradCam(layer="0"), Hint(layer="0"), TargetedActivationPenalty(layers=("0",))):
        with pytest.raises(ShapeError, match=r"\(1, 4\)"):
            loss(net, batch, Rationale(flat, flat))


def test_logits_cut_off_from_the_layer_are_refused(net):
    net.insert(1, Cut())
    batch = Batch(torch.rand(1, 1, 2, 2), torch.tensor([0]))
    with pytest.raises(GraphError, match="must depend"):
        Hint(layer="0")(net, batch, Rationale(relevant=said([1, 0, 0, 0])))


class Cut(nn.Module):
    def forward(self, inputs):
        return inputs.detach()


def test_a_comparison_that_does_not_exist_is_refused():
    with pytest.raises(SettingError, match="one of mse, rank; got 'order'"):
        Hint(layer="features", compare="order")


@pytest.mark.parametrize("layers", [(), "features"])
def test_layers_must_be_named_in_a_tuple(layers):
    with pytest.raises(SettingError, match="a tuple of at least one name"):
        TargetedActivationPenalty(layers=layers)


def test_the_layer_must_be_named():
    for loss in (Hint, RightReasonsGradCam, TargetedActivationPenalty):
        with pytest.raises(TypeError, match="layer"):
            loss()

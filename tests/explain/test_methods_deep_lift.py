import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from explain.errors import LayerError, MethodError, SettingError, TargetError
from explain.methods.deep_lift import deep_lift
from explain.methods.paths import completeness_gap


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 5), nn.Tanh(), nn.Linear(5, 4)).double()


@pytest.fixture
def inputs():
    return torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def baseline():
    return torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def test_it_is_the_rescale_rule(net, inputs, baseline):
    scores = deep_lift(net, inputs, 2, baseline=baseline).scores
    for row, (x, b) in enumerate(zip(inputs, baseline)):
        before, after = [(x, b)], []
        for layer in net:
            after.append(tuple(layer(value).detach() for value in before[-1]))
            before.append(after[-1])
        multiplier = torch.zeros(4, dtype=torch.float64)
        multiplier[2] = 1.0
        for layer, (x_in, b_in), (x_out, b_out) in reversed(list(zip(net, before, after))):
            if isinstance(layer, nn.Linear):
                multiplier = multiplier @ layer.weight.detach()
            else:
                multiplier = multiplier * (x_out - b_out) / (x_in - b_in)
        torch.testing.assert_close(scores[row], multiplier * (x - b))


def test_the_scores_are_complete(net, inputs, baseline):
    attribution = deep_lift(net, inputs, "label_logit", torch.tensor([0, 1, 2, 3, 0]), baseline=baseline)
    gap = completeness_gap(net, attribution, inputs, baseline, torch.tensor([0, 1, 2, 3, 0]))
    torch.testing.assert_close(gap, torch.zeros(5, dtype=torch.float64))


def test_a_linear_model_gives_its_weights_times_the_change(inputs, baseline):
    net = nn.Linear(6, 3).double()
    expected = (inputs - baseline) * net.weight[1].detach()
    torch.testing.assert_close(deep_lift(net, inputs, 1, baseline=baseline).scores, expected)


def test_the_largest_logit_is_that_of_each_row(net, inputs):
    winners = net(inputs).argmax(dim=1)
    expected = torch.cat([deep_lift(net, x[None], int(winner)).scores for x, winner in zip(inputs, winners)])
    torch.testing.assert_close(deep_lift(net, inputs, "max_logit").scores, expected)


def test_a_row_like_its_baseline_gets_zeros(net, inputs):
    assert not deep_lift(net, inputs, 0, baseline=inputs).scores.any()


def test_a_wrapper_that_holds_a_module_is_taken_apart(net, inputs):
    class Wrapper:
        module = net

        def __call__(self, x):
            return net(x)

    assert torch.equal(deep_lift(Wrapper(), inputs, 0).scores, deep_lift(net, inputs, 0).scores)


def test_a_function_cannot_be_taken_apart(net, inputs):
    with pytest.raises(MethodError, match=r"must be an nn\.Module, or have one as `module`"):
        deep_lift(lambda x: net(x), inputs)


@pytest.mark.parametrize("target", ["max_log_probability", "log_probabilities", True, len])
def test_only_logits_have_a_difference_to_share_out(net, inputs, target):
    with pytest.raises(TargetError, match="must be a class number, 'max_logit' or 'label_logit'"):
        deep_lift(net, inputs, target)


def test_a_class_or_label_that_is_not_there_is_refused(net, inputs):
    with pytest.raises(TargetError, match=r"must lie in \[0, 4\); got 4"):
        deep_lift(net, inputs, 4)
    with pytest.raises(TargetError, match="needs `labels`"):
        deep_lift(net, inputs, "label_logit")


class Functional(nn.Module):
    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.function = nn.Linear(6, 9), nn.Linear(9, 4), function

    def forward(self, x):
        return self.last(self.function(self.first(x)))


@pytest.mark.parametrize("function", [F.relu, F.gelu, nn.GELU(), nn.SiLU()])
def test_a_nonlinearity_without_a_rule_is_found_by_its_gap(function, inputs):
    net = Functional(function).double()
    with pytest.raises(LayerError, match="must sum to its difference of logits"):
        deep_lift(net, inputs, 0)
    assert deep_lift(net, inputs, 0, tolerance=math.inf).scores.shape == inputs.shape


def test_a_module_used_twice_is_refused_and_left_as_found(inputs):
    class Twice(Functional):
        def forward(self, x):
            hidden = self.first(x)
            return self.last(self.function(hidden) + self.function(-hidden))

    net = Twice(nn.ReLU()).double()
    with pytest.raises(LayerError, match="used more than once"):
        deep_lift(net, inputs, 0)
    assert not {"input", "output"} & set(vars(net.function))
    assert not net.function._forward_hooks


def test_a_softmax_inside_is_refused_because_it_mixes_rows(inputs):
    net = nn.Sequential(nn.Linear(6, 4), nn.Softmax(dim=1)).double()
    with pytest.raises(LayerError, match="softmax '1' has a rule in Captum that mixes the rows"):
        deep_lift(net, inputs)


@pytest.mark.parametrize("tolerance", [-0.1, math.nan])
def test_a_tolerance_is_a_share(net, inputs, tolerance):
    with pytest.raises(SettingError, match="`tolerance` must be a share"):
        deep_lift(net, inputs, tolerance=tolerance)


@pytest.mark.parametrize("bend", [nn.GELU, nn.SiLU])
def test_many_scores_do_not_hide_a_gap(bend):
    """The gap beside the sum of 784 magnitudes is small, and larger than the difference that is shared out."""
    torch.manual_seed(0)
    rows = torch.rand(8, 784)
    refused = 0
    for seed in range(5):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(784, 64), bend(), nn.Linear(64, 10))
        for row in rows:
            try:
                deep_lift(net, row[None], 0)
            except LayerError:
                refused += 1
    assert refused == 40


@pytest.mark.parametrize("bend", [nn.ReLU, nn.Tanh, nn.Softplus, nn.ELU, nn.Sigmoid, nn.LeakyReLU])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_rounding_in_a_deep_model_is_no_gap(bend, kind):
    torch.manual_seed(0)
    layers = [layer for _ in range(12) for layer in (nn.Linear(64, 64), bend())]
    net = nn.Sequential(nn.Linear(784, 64), bend(), *layers, nn.Linear(64, 10)).to(kind)
    assert deep_lift(net, torch.rand(16, 784).to(kind), 0).scores.shape == (16, 784)


def test_what_is_done_around_the_module_is_not_missed():
    """The module alone is taken apart; here its inputs are scaled first."""

    class Scaled:
        def __init__(self, module):
            self.module = module

        def __call__(self, x):
            return self.module(x / 255)

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 4))
    with pytest.raises(LayerError, match="or `forward` does more than its module"):
        deep_lift(Scaled(net), 255 * torch.rand(3, 6), 0)


class Logarithm(nn.Module):
    def forward(self, inputs):
        return inputs.log()


def test_scores_that_cannot_add_up_to_an_infinite_difference_are_refused():
    torch.manual_seed(0)
    net = nn.Sequential(Logarithm(), nn.Linear(2, 2))
    with pytest.raises(LayerError, match="must sum to its difference of logits"):
        deep_lift(net, torch.rand(1, 2) + 0.5, target=0)
    assert deep_lift(net, torch.rand(1, 2) + 0.5, target=0, tolerance=math.inf).scores.shape == (1, 2)

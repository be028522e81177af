import pytest
import torch
from torch import nn

from explain import LayerError, with_layers
from explain.layers import evaluating, held_still, module_of, named_layer


class Residual(nn.Module):
    """Overwrites the activation of its first layer, as residual nets do."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.head = nn.Linear(3, 2)

    def forward(self, inputs):
        hidden = self.first(inputs)
        hidden += inputs
        return self.head(hidden)


@pytest.fixture
def inputs():
    return torch.rand(4, 3, generator=torch.Generator().manual_seed(0))


def test_an_activation_that_is_overwritten_later_is_kept_as_it_was(inputs):
    net = Residual()
    for _ in range(2):  # found out at the first call, known at the second
        logits, kept = with_layers(net, inputs, ["first"])
        torch.testing.assert_close(kept["first"], net.first(inputs))
        torch.testing.assert_close(logits, net.head(net.first(inputs) + inputs))
        (slope,) = torch.autograd.grad(logits.sum(), kept["first"])
        torch.testing.assert_close(slope, net.head.weight.sum(dim=0).expand(4, 3))


def test_a_layer_that_says_that_it_works_in_place_does_not_overwrite_what_is_kept(inputs):
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True), nn.Linear(3, 2))
    _, kept = with_layers(net, inputs, ["0", "1"])
    torch.testing.assert_close(kept["0"], net[0](inputs))
    torch.testing.assert_close(kept["1"], net[0](inputs).clamp(min=0))


def test_where_nothing_is_overwritten_nothing_is_copied(inputs):
    net = nn.Sequential(nn.Linear(3, 3), nn.Identity(), nn.Linear(3, 2))
    _, kept = with_layers(net, inputs, ["0", "1"])
    assert kept["0"] is kept["1"]


def test_layers_are_kept_without_gradients_and_in_inference_mode(inputs):
    net = Residual()
    expected = net.first(inputs).detach()
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            torch.testing.assert_close(with_layers(net, inputs, ["first"])[1]["first"].clone(), expected)


def test_what_passes_through_from_inference_mode_is_kept():
    with torch.inference_mode():
        inputs = torch.rand(4, 3)
    net = nn.Sequential(nn.Identity(), nn.Linear(3, 2))
    assert torch.equal(with_layers(net, inputs, ["0"])[1]["0"], inputs)


def test_hooks_come_off_whatever_happens(inputs):
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(4, 2))
    with pytest.raises(RuntimeError):
        with_layers(net, inputs, ["0", "1"])
    assert not any(part._forward_hooks for part in net.modules())


@pytest.mark.parametrize(
    ("name", "message"),
    [("fist", "did you mean 'first'"), ("", "It has: first, head")],
)
def test_a_layer_that_is_not_there_is_told_with_those_that_are(name, message):
    with pytest.raises(LayerError, match=message):
        named_layer(Residual(), name)


def test_a_layer_that_does_not_run_is_told(inputs):
    net = Residual()
    net.spare = nn.Linear(2, 2)
    with pytest.raises(LayerError, match="'spare' must run in the forward pass"):
        with_layers(net, inputs, ["spare"])


def test_a_function_has_no_layers(inputs):
    with pytest.raises(TypeError, match="got function"):
        with_layers(lambda x: x, inputs, ["first"])


@pytest.mark.parametrize("frame", [evaluating, held_still])
def test_holding_still_puts_each_part_back_in_its_own_mode(frame):
    net = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.BatchNorm1d(3)))
    net[1].eval()
    seen = []

    def fail_inside():
        with frame(net):
            seen.extend(part.training for part in net.modules())
            net[1][0].train()  # what runs inside may set modes of its own
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert not any(seen)
    assert [part.training for part in net.modules()] == [True, True, False, False, False]


def test_the_module_behind_a_model_is_its_attribute():
    class Model:
        module = nn.Linear(2, 2)

        def __call__(self, inputs):
            return self.module(inputs)

    model = Model()
    assert module_of(model) is model.module
    model.module = "not a module"
    assert module_of(model) is None


class AddsInPlace(nn.Module):
    """Frozen embeddings, to which places are added in place."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4).requires_grad_(False)
        self.head = nn.Linear(4, 2)

    def forward(self, tokens):
        hidden = self.embedding(tokens)
        hidden += 0.5
        return self.head(hidden.sum(dim=1))


def test_a_frozen_layer_before_an_operation_in_place_is_kept_as_it_was():
    torch.manual_seed(0)
    net, tokens = AddsInPlace(), torch.tensor([[1, 2, 3]])
    logits, layers = with_layers(net, tokens, ["embedding"])
    torch.testing.assert_close(logits, net(tokens))
    torch.testing.assert_close(layers["embedding"].detach(), net.embedding(tokens))
    (slope,) = torch.autograd.grad(logits[0, 0], layers["embedding"])
    torch.testing.assert_close(slope[0], net.head.weight[0].expand(3, 4))

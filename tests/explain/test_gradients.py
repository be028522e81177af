import pytest
import torch
from torch import nn

from explain import GraphError, KindError, MethodError, attribute, input_gradient


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 16, 4)).double()


@pytest.fixture
def inputs():
    return torch.rand(5, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_scores_are_the_slope_of_the_target(net, inputs):
    scores = input_gradient(net, inputs, "max_log_probability").scores
    step = 1e-6
    for row, y, x in [(0, 2, 3), (4, 5, 0)]:
        moved = inputs.clone()
        moved[row, 0, y, x] += step
        rise = [torch.log_softmax(net(at), dim=1).max(dim=1).values[row] for at in (inputs, moved)]
        assert scores[row, 0, y, x].item() == pytest.approx(((rise[1] - rise[0]) / step).item(), rel=1e-4)


def test_a_row_gets_the_same_scores_alone_and_in_a_batch(net, inputs):
    together = input_gradient(net, inputs).scores
    alone = torch.cat([input_gradient(net, row[None]).scores for row in inputs])
    torch.testing.assert_close(together, alone)


def test_nothing_is_left_behind(net, inputs):
    net[0].weight.requires_grad_(False)
    net[3].weight.grad = torch.full_like(net[3].weight, 7.0)
    before = {name: (weight.requires_grad, weight.grad) for name, weight in net.named_parameters()}
    attribution = input_gradient(net, inputs)
    assert {name: (weight.requires_grad, weight.grad) for name, weight in net.named_parameters()} == before
    assert not inputs.requires_grad
    assert inputs.grad is None
    assert not attribution.scores.requires_grad


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_disabled(net, inputs, mode):
    expected = input_gradient(net, inputs).scores
    with mode():
        scores = input_gradient(net, inputs.clone()).scores
        assert not torch.is_grad_enabled()
    assert torch.equal(scores, expected)


def test_labels_reach_the_target(net, inputs):
    labels = torch.tensor([0, 1, 2, 3, 0])
    by_label = input_gradient(net, inputs, "label_log_probability", labels).scores
    by_hand = input_gradient(net, inputs, lambda logits: torch.log_softmax(logits, 1)[torch.arange(5), labels])
    torch.testing.assert_close(by_label, by_hand.scores)


def test_logits_cut_off_from_the_inputs_are_refused(net, inputs):
    for cut in (torch.no_grad()(net), lambda x: net(x.detach())):
        with pytest.raises(GraphError, match="depend on the inputs through autograd"):
            input_gradient(cut, inputs)


def test_integer_inputs_are_refused(net):
    with pytest.raises(KindError, match=r"got torch.uint8. Apply the model's preprocessing"):
        input_gradient(net, torch.zeros(1, 1, 6, 6, dtype=torch.uint8))


def test_methods_go_by_name_and_a_wrong_name_gets_the_nearest(net, inputs):
    named = attribute(net, inputs, "input_gradient", target=2)
    assert torch.equal(named.scores, input_gradient(net, inputs, 2).scores)
    assert repr(named) == "Attribution(5 × (1, 6, 6), class 2, by input_gradient)"
    with pytest.raises(MethodError, match="did you mean 'input_gradient'"):
        attribute(net, inputs, "input_gradients")

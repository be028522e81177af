import copy

import pytest
import scipy.stats
import torch
from torch import nn

from explain import LayerError, ShapeError, input_gradient
from explain.measures import randomized_weights, sanity_check


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3),
        nn.BatchNorm2d(6),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(6 * 36, 16),
        nn.Tanh(),
        nn.Linear(16, 4),
    )


@pytest.fixture
def inputs():
    return torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_cascade_goes_from_the_top_down_and_keeps_what_it_has_randomised(net):
    changed = {}
    for name, module in randomized_weights(net):
        now = module.state_dict()
        changed[name] = {key for key, value in net.state_dict().items() if not torch.equal(value, now[key])}
    assert list(changed) == ["6", "4", "1", "0"]
    assert changed["6"] == {"6.weight", "6.bias"}
    assert changed["4"] == changed["6"] | {"4.weight", "4.bias"}
    # Fresh normalisation layers scale by one and shift by zero: nothing learned, nothing lost.
    assert changed["1"] == changed["4"]
    assert changed["0"] == changed["1"] | {"0.weight", "0.bias"}


def test_the_module_is_never_changed_not_even_by_explaining(net, inputs):
    before = state(net)
    net.train()
    net[0].weight.requires_grad_(False)
    sanity_check(net, lambda module: input_gradient(module, inputs).scores)
    assert equal(state(net), before)
    assert net.training
    assert not net[0].weight.requires_grad
    assert all(weight.grad is None for weight in net.parameters())


def test_the_module_is_not_changed_by_an_explanation_that_fails(net):
    before = state(net)

    def failing(module):
        with torch.no_grad():
            module[6].weight.zero_()
        raise ValueError("no map")

    with pytest.raises(ValueError, match="no map"):
        sanity_check(net, failing)
    assert equal(state(net), before)


def test_the_seed_alone_draws_the_weights(net):
    torch.manual_seed(1)
    first = [state(module) for _, module in randomized_weights(net, seed=7)]
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = [state(module) for _, module in randomized_weights(net, seed=7)]
    assert torch.equal(torch.get_rng_state(), before)
    other = [state(module) for _, module in randomized_weights(net, seed=8)]
    assert all(map(equal, first, second))
    assert not any(map(equal, first, other))


def test_weights_keep_their_scale():
    torch.manual_seed(0)
    layer = nn.Linear(200, 200)
    with torch.no_grad():
        layer.weight.mul_(9).add_(2)
    ((_, changed),) = randomized_weights(layer)
    assert changed.weight.mean().item() == pytest.approx(layer.weight.mean().item(), abs=0.02)
    assert changed.weight.std().item() == pytest.approx(layer.weight.std().item(), rel=0.02)
    assert scipy.stats.spearmanr(changed.weight.detach().flatten(), layer.weight.detach().flatten()).statistic < 0.02


def test_similarity_is_spearmans_with_the_trained_models_map(net, inputs):
    net.eval()
    explain = lambda module: input_gradient(module, inputs).scores  # noqa: E731
    check = sanity_check(net, explain, seed=3)
    trained = explain(net)
    for index, (name, module) in enumerate(randomized_weights(net, seed=3)):
        assert check.layers[index] == name
        for row, scores in enumerate(explain(module)):
            flat, there = scores.flatten(), trained[row].flatten()
            signed = scipy.stats.spearmanr(there, flat).statistic
            magnitude = scipy.stats.spearmanr(there.abs(), flat.abs()).statistic
            assert check.signed[index, row].item() == pytest.approx(signed, abs=1e-5)
            assert check.magnitude[index, row].item() == pytest.approx(magnitude, abs=1e-5)


def test_gradients_pass_and_a_map_of_the_picture_fails(net, inputs):
    net.eval()
    honest = sanity_check(net, lambda module: input_gradient(module, inputs, 0).scores)
    assert honest.signed[-1].mean() < 0.3
    edges = sanity_check(net, lambda module: inputs.diff(dim=3))
    assert (edges.signed == 1).all()
    assert repr(edges).startswith("SanityCheck(6: 1.00 signed, ")


def test_layers_are_randomised_in_the_order_given_and_blocks_as_a_whole(inputs):
    torch.manual_seed(0)
    blocks = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)), nn.Linear(4, 2))
    steps = [(name, state(module)) for name, module in randomized_weights(blocks, layers=["0", "1"])]
    assert [name for name, _ in steps] == ["0", "1"]
    first = steps[0][1]
    assert {key for key in first if not torch.equal(first[key], blocks.state_dict()[key])} == {
        "0.0.weight",
        "0.0.bias",
        "0.2.weight",
        "0.2.bias",
    }


def test_weights_that_layers_share_are_lost_once_and_stay_shared():
    net = nn.Sequential(nn.Embedding(6, 3), nn.Linear(3, 6, bias=False))
    net[1].weight = net[0].weight
    steps = [(module[0].weight is module[1].weight, module[0].weight.clone()) for _, module in randomized_weights(net)]
    assert [shared for shared, _ in steps] == [True, True]
    assert torch.equal(steps[0][1], steps[1][1])
    assert not torch.equal(steps[0][1], net[0].weight)


def test_layers_that_do_not_exist_or_have_no_weights_are_refused_at_once(net):
    with pytest.raises(LayerError, match=r"No layer 'head' in this module; it has: 0, 1, 2"):
        randomized_weights(net, layers=["6", "head"])
    with pytest.raises(LayerError, match="Layer '2' has no weights"):
        randomized_weights(net, layers=["2"])
    with pytest.raises(LayerError, match="This module has no weights"):
        randomized_weights(nn.Sequential(nn.ReLU()))


def test_maps_have_to_keep_their_shape(net):
    maps = iter([torch.rand(2, 3), torch.rand(2, 4)])
    with pytest.raises(ShapeError, match=r"one shape, \(2, 3\); with the weights of layer '6' randomised .* \(2, 4\)"):
        sanity_check(net, lambda module: next(maps))
    with pytest.raises(ShapeError, match=r"got \(3,\)"):
        sanity_check(net, lambda module: torch.rand(3))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_weights_are_drawn_on_every_device(net):
    here = [state(module) for _, module in randomized_weights(net)]
    there = [state(module.cpu()) for _, module in randomized_weights(copy.deepcopy(net).cuda())]
    for one, other in zip(here, there):
        torch.testing.assert_close(one, other)

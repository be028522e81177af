import pytest
import torch
from torch import nn

from explain import GraphError, KindError, LayerError, ShapeError, attribute, mass_on_mask
from explain.methods.cam import activation_map, class_activation_map, grad_cam, layer_activation


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(12, 5)
    ).double()


@pytest.fixture
def inputs():
    return torch.rand(6, 2, 8, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layer", ["0", "2", "3"])
@pytest.mark.parametrize("relu", [True, False])
def test_grad_cam_gives_the_values_of_captum(net, inputs, layer, relu):
    from captum.attr import LayerGradCam

    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    found = grad_cam(net, inputs, "label_logit", labels, layer=layer, relu=relu, resize=False).scores
    expected = LayerGradCam(net, net[int(layer)]).attribute(inputs, labels, relu_attributions=relu)
    assert (expected > 0).any()
    torch.testing.assert_close(found, expected.detach())


def test_grad_cam_is_the_sum_of_channels_by_their_mean_slope(net, inputs):
    row = inputs[0]
    activation = net[:2](row[None])[0].detach()

    def logit(a):
        return net[2:](a[None])[0, 3].item()

    channels, height, width = activation.shape
    expected = torch.zeros(height, width, dtype=torch.float64)
    for channel in range(channels):
        slopes = []
        for y in range(height):
            for x in range(width):
                above, below = activation.clone(), activation.clone()
                above[channel, y, x] += 1e-5
                below[channel, y, x] -= 1e-5
                slopes.append((logit(above) - logit(below)) / 2e-5)
        expected += sum(slopes) / len(slopes) * activation[channel]
    found = grad_cam(net, inputs, 3, layer="1", relu=False, resize=False).scores[0, 0]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


def test_activations_add_up_over_channels(net, inputs):
    found = layer_activation(net, inputs, layer="1", resize=False).scores
    expected = sum(net[1](net[0](inputs))[:, channel] for channel in range(4)).detach()
    torch.testing.assert_close(found[:, 0], expected)


@pytest.mark.parametrize("method", ["grad_cam", "layer_activation"])
def test_maps_lie_on_the_grid_of_the_inputs_where_masks_and_measures_fit(net, inputs, method):
    from captum.attr import LayerAttribution

    small = attribute(net, inputs, method, target="max_logit", layer="1", resize=False)
    large = attribute(net, inputs, method, target="max_logit", layer="1")
    assert large.scores.shape == (6, 1, 8, 7)
    assert large.method == method
    torch.testing.assert_close(
        large.scores, LayerAttribution.interpolate(small.scores, (8, 7), interpolate_mode="bilinear")
    )
    everywhere = torch.ones(6, 8, 7, dtype=torch.bool)
    shares = mass_on_mask(large.scores, everywhere)
    assert ((shares - 1).abs() < 1e-12)[~shares.isnan()].all()
    assert not shares.isnan().all()


@pytest.mark.parametrize("method", [grad_cam, layer_activation])
def test_a_row_gets_the_same_map_alone_and_in_a_batch(net, inputs, method):
    together = method(net, inputs, layer="2").scores
    alone = torch.cat([method(net, row[None], layer="2").scores for row in inputs])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("method", [grad_cam, layer_activation])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_nothing_is_left_behind_and_gradients_may_be_disabled(net, inputs, method, mode):
    net[5].weight.grad = torch.full_like(net[5].weight, 7.0)
    expected = method(net, inputs, layer="2").scores
    with mode():
        found = method(net, inputs.clone(), layer="2").scores
    assert torch.equal(found, expected)
    assert not found.requires_grad
    assert not inputs.requires_grad
    assert all(weight.requires_grad for weight in net.parameters())
    assert [weight.grad is None for weight in net.parameters()] == [True, True, True, True, False, True]
    assert not any(part._forward_hooks for part in net.modules())


def test_a_net_whose_weights_are_all_frozen_has_a_map_too(net, inputs):
    expected = grad_cam(net, inputs, layer="0").scores
    net.requires_grad_(False)
    assert torch.equal(grad_cam(net, inputs, layer="0").scores, expected)


@pytest.mark.parametrize("method", [grad_cam, layer_activation])
@pytest.mark.parametrize("layer", ["4", "5"])
def test_a_layer_without_places_is_refused(net, inputs, method, layer):
    with pytest.raises(LayerError, match="a dense layer has no places"):
        method(net, inputs, layer=layer)


def test_a_layer_of_one_place_is_refused(inputs):
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)).double()
    with pytest.raises(LayerError, match=r"more than one of them; got \(6, 2, 1, 1\)"):
        grad_cam(pooled, inputs, layer="0")


def test_inputs_that_are_no_images_keep_the_grid_of_the_layer(net, inputs):
    flat = nn.Sequential(nn.Unflatten(1, (2, 8, 7)), *net)
    expected = grad_cam(net, inputs, layer="1", resize=False).scores
    assert torch.equal(grad_cam(flat, inputs.flatten(1), layer="2", resize=False).scores, expected)
    with pytest.raises(ShapeError, match=r"got \(6, 112\). Use `resize=False`"):
        grad_cam(flat, inputs.flatten(1), layer="2")


def test_tokens_have_a_map_where_a_layer_lays_them_out():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Embedding(10, 6), nn.Unflatten(2, (1, 6)), nn.Conv2d(4, 2, 1), nn.Flatten(), nn.Linear(12, 2)
    )
    tokens = torch.randint(0, 10, (3, 4))
    assert grad_cam(net, tokens, layer="2", resize=False, relu=False).scores.abs().sum() > 0


def test_a_bare_function_has_no_layers(inputs):
    with pytest.raises(KindError, match="Pass the module itself"):
        grad_cam(lambda x: x.flatten(1), inputs, layer="0")


def test_values_that_do_not_depend_on_the_activation_are_refused():
    activation = torch.rand(2, 1, 2, 2, requires_grad=True)
    with pytest.raises(GraphError, match="must depend"):
        class_activation_map(activation, torch.rand(2, requires_grad=True), exact=True)


def test_an_activation_without_a_gradient_is_refused():
    with pytest.raises(GraphError, match="must carry a gradient"):
        class_activation_map(torch.rand(2, 1, 2, 2), torch.rand(2, requires_grad=True), exact=True)


def test_exact_weights_are_differentiated_and_constant_ones_are_not():
    a = torch.tensor([[[[1.0, 3.0]]]], dtype=torch.float64)
    slopes = {}
    for exact in (True, False):
        leaf = a.clone().requires_grad_()
        total = class_activation_map(leaf, leaf.square().flatten(1).sum(1), relu=False, exact=exact).sum()
        (slopes[exact],) = torch.autograd.grad(total, leaf)
    # For the value Σ a² the channel weighs w = Σ a, so that the map adds up to (Σ a)²: slope 2 Σ a = 8.
    # With a constant weight the slope is w = 4.
    assert slopes[True].flatten().tolist() == [8.0, 8.0]
    assert slopes[False].flatten().tolist() == [4.0, 4.0]


def test_an_empty_batch_has_no_maps(net):
    nothing = torch.zeros(0, 2, 8, 7, dtype=torch.float64)
    assert grad_cam(net, nothing, layer="1").scores.shape == (0, 1, 8, 7)
    assert activation_map(torch.zeros(0, 3, 2, 2)).shape == (0, 2, 2)

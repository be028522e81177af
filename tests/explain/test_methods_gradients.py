import pytest
import torch
from torch import nn

from explain.errors import GraphError, SettingError
from explain.methods.gradients import gradient_times_input, input_gradient
from explain.methods.smoothing import smooth_grad


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4)).double()


@pytest.fixture
def inputs():
    return torch.randn(3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_gradient_times_input_is_that(net, inputs):
    product = gradient_times_input(net, inputs, 2)
    assert torch.equal(product.scores, input_gradient(net, inputs, 2).scores * inputs)
    assert repr(product) == "Attribution(3 × (2, 3), class 2, by gradient_times_input)"


@pytest.mark.parametrize("relative", [True, False])
def test_smooth_grad_is_the_mean_gradient_over_noise(net, inputs, relative):
    scores = smooth_grad(net, inputs, "max_log_probability", samples=4, noise=0.4, relative=relative, seed=3).scores
    generator = torch.Generator().manual_seed(3)
    total = torch.zeros_like(inputs)
    for _ in range(4):
        noise = torch.randn(2, 3, generator=generator).double()
        for row, x in enumerate(inputs):
            spread = 0.4 * (x.max() - x.min()) if relative else 0.4
            noisy = (x + noise * spread).requires_grad_()
            # The class of the row without noise, whatever wins with it.
            winner = int(net(x[None]).argmax())
            value = torch.log_softmax(net(noisy[None])[0], dim=0)[winner]
            total[row] += torch.autograd.grad(value, noisy)[0]
    torch.testing.assert_close(scores, total / 4)


def test_without_noise_it_is_the_gradient(net, inputs):
    scores = smooth_grad(net, inputs, samples=3, noise=0).scores
    torch.testing.assert_close(scores, input_gradient(net, inputs).scores)


def test_single_precision_draws_the_same_noise(net, inputs):
    double = smooth_grad(net, inputs, 1, samples=3).scores
    single = smooth_grad(net.float(), inputs.float(), 1, samples=3).scores
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("noise", [-0.1, float("nan"), float("inf")])
def test_noise_is_a_finite_size(net, inputs, noise):
    with pytest.raises(SettingError, match="`noise` must be a finite number of at least 0"):
        smooth_grad(net, inputs, noise=noise)


def test_a_model_cut_off_from_its_inputs_is_refused(net, inputs):
    with pytest.raises(GraphError, match="depend on the inputs through autograd"):
        smooth_grad(lambda x: net(x.detach()), inputs)

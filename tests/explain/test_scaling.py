"""Maps brought to one scale: plain formulas, whatever the size, and rows of next to nothing spoil no others."""

import math

import pytest
import torch
from torch import nn

from explain import Batch, Rationale
from explain.losses import (
    AttributionL1,
    Energy,
    ExplanationRegularization,
    Hint,
    PixelPositiveCrossEntropy,
    RightReasonsGradCam,
)
from explain.scaling import by_largest, min_max_normalised


def test_min_max_is_the_plain_formula_row_by_row():
    maps = torch.randn(4, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for row, found in zip(maps, min_max_normalised(maps), strict=True):
        flat = row.flatten().tolist()
        expected = [(value - min(flat)) / (max(flat) - min(flat)) for value in flat]
        assert found.flatten().tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("level", [0.0, 7.3, -1e-30, 1e20])
def test_an_all_equal_map_is_one_half_without_a_gradient_and_spoils_no_other_row(level):
    maps = torch.tensor([[[1.0, 2.0, 4.0]], [[level] * 3]], requires_grad=True)
    found = min_max_normalised(maps)
    assert found[1].tolist() == [[0.5, 0.5, 0.5]]
    (slope,) = torch.autograd.grad(found.square().sum(), maps, create_graph=True)
    (curve,) = torch.autograd.grad(slope.square().sum(), maps)
    for gradient in (slope, curve):
        assert gradient.isfinite().all()
        assert gradient[1].eq(0).all()
        assert gradient[0].ne(0).any()


def test_a_map_that_is_not_finite_stays_so():
    assert min_max_normalised(torch.tensor([[[1.0, math.nan]]])).isnan().any()


@pytest.mark.parametrize("size", [1.0, 1e-20, 1e20])
def test_by_largest_is_the_plain_quotient_and_its_gradient(size):
    maps = (
        torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * size
    ).requires_grad_()
    plain = maps / maps.abs().amax(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(by_largest(maps), plain, rtol=1e-12, atol=0)
    slopes = [torch.autograd.grad(found.square().sum(), maps)[0] for found in (by_largest(maps), plain)]
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-9 / size)
    constant = maps / maps.detach().abs().amax(dim=(1, 2), keepdim=True)
    slopes = [torch.autograd.grad(found.sum(), maps)[0] for found in (by_largest(maps, differentiable=False), constant)]
    torch.testing.assert_close(*slopes, rtol=1e-12, atol=0)


@pytest.mark.parametrize("margin", [60.0, 72.0, 84.0, 88.0, 100.0, 120.0])
@pytest.mark.parametrize(
    "loss",
    [
        Energy(target="label_log_probability"),
        AttributionL1(target="label_log_probability"),
        PixelPositiveCrossEntropy(target="label_log_probability"),
        RightReasonsGradCam(layer="0", target="label_log_probability"),
        Hint(layer="0", target="label_log_probability"),
        *(
            ExplanationRegularization(distance=distance, signed=False, target="label_log_probability")
            for distance in ("mse", "bce", "kl", "order")
        ),
    ],
    ids=lambda loss: f"{type(loss).__name__} {getattr(loss, 'distance', '')}".strip(),
)
def test_a_model_sure_of_its_rows_gives_finite_gradients(loss, margin):
    """Its log-probabilities have gradients down to the smallest numbers of single precision."""
    for seed in range(5):
        torch.manual_seed(seed)
        if isinstance(loss, ExplanationRegularization):
            net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(10, 3))
            batch = Batch(torch.randn(6, 5, 3), torch.zeros(6, dtype=torch.int64))
            marks = torch.arange(5).expand(6, 5) < 2
        else:
            net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3))
            batch = Batch(torch.randn(6, 1, 6, 6), torch.zeros(6, dtype=torch.int64))
            marks = (torch.arange(6) < 3).expand(6, 6, 6)
        with torch.no_grad():
            net[3].bias += torch.tensor([margin, 0.0, 0.0])
        penalty = loss(net, batch, Rationale(relevant=marks, irrelevant=~marks))
        penalty.mean().backward()
        assert penalty.isfinite().all()
        assert all(weight.grad is None or weight.grad.isfinite().all() for weight in net.parameters())

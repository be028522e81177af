import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn

from explain.attribution import Attribution
from explain.errors import GraphError, SettingError, ShapeError
from explain.methods.paths import _quadrature, completeness_gap, expected_gradients, integrated_gradients


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4)).double()


@pytest.fixture
def inputs():
    return torch.randn(3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def baseline():
    return torch.randn(3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def slope(net, point, choose):
    point = point.clone().requires_grad_()
    return torch.autograd.grad(choose(net(point[None])[0]), point)[0]


@pytest.mark.parametrize("rule", ["gauss_legendre", "midpoint", "trapezoid"])
def test_integrated_gradients_of_a_linear_model_are_its_weights_times_the_change(rule, inputs, baseline):
    weights = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    scores = integrated_gradients(
        lambda x: x.flatten(1) @ weights, inputs, 2, baseline=baseline, steps=5, rule=rule
    ).scores
    torch.testing.assert_close(scores, (inputs - baseline) * weights[:, 2].view(2, 3))


def test_integrated_gradients_of_a_polynomial_are_exact_with_few_points():
    """f = a²b: the path integral shares 1:2 between b and a."""
    x = torch.tensor([[2.0, 3.0]], dtype=torch.float64)
    scores = integrated_gradients(lambda x: x[:, :1] ** 2 * x[:, 1:], x, 0, steps=2).scores
    torch.testing.assert_close(scores, torch.tensor([[8.0, 4.0]], dtype=torch.float64))


@pytest.mark.parametrize(("rule", "steps"), [("midpoint", 4), ("trapezoid", 5)])
def test_the_even_rules_are_what_they_are_called(net, inputs, baseline, rule, steps):
    scores = integrated_gradients(net, inputs, "max_log_probability", baseline=baseline, steps=steps, rule=rule).scores
    for row, (x, b) in enumerate(zip(inputs, baseline)):
        winner = int(net(x[None]).argmax())
        total = torch.zeros_like(x)
        for step in range(steps):
            alpha = (step + 0.5) / steps if rule == "midpoint" else step / (steps - 1)
            weight = 1 / steps if rule == "midpoint" else (0.5 if step in (0, steps - 1) else 1.0) / (steps - 1)
            total += weight * slope(net, b + alpha * (x - b), lambda z, k=winner: torch.log_softmax(z, 0)[k])
        torch.testing.assert_close(scores[row], (x - b) * total)


@pytest.mark.parametrize("rule", ["gauss_legendre", "midpoint", "trapezoid"])
def test_every_rule_finds_the_integral(net, inputs, rule):
    fine = integrated_gradients(net, inputs, 1, steps=4000, rule="midpoint").scores
    tolerance = {"gauss_legendre": 1e-6, "midpoint": 1e-3, "trapezoid": 1e-3}[rule]
    scores = integrated_gradients(net, inputs, 1, steps=50, rule=rule).scores
    torch.testing.assert_close(scores, fine, rtol=0, atol=tolerance)


def test_the_default_rule_leaves_the_smallest_gap(net, inputs):
    gaps = {
        rule: float(
            completeness_gap(net, integrated_gradients(net, inputs, 1, steps=10, rule=rule), inputs).abs().max()
        )
        for rule in ("gauss_legendre", "midpoint", "trapezoid")
    }
    assert gaps["gauss_legendre"] < gaps["midpoint"] / 1000 < gaps["trapezoid"] / 1000


def test_captum_gets_the_same(net, inputs, baseline):
    from captum.attr import IntegratedGradients

    ours = integrated_gradients(net, inputs, 1, baseline=baseline, steps=20).scores
    theirs = IntegratedGradients(net).attribute(inputs, baseline, target=1, n_steps=20)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_the_class_is_that_of_the_row_all_along_the_path():
    """From 0 to 3 the logits x and 1 change places: `max_logit` must not follow the constant one."""

    def crossing(x):
        return torch.cat([x, x * 0 + 1.0], dim=1)

    x = torch.tensor([[3.0]])
    attribution = integrated_gradients(crossing, x, "max_logit")
    torch.testing.assert_close(attribution.scores, torch.tensor([[3.0]]))
    torch.testing.assert_close(completeness_gap(crossing, attribution, x), torch.zeros(1))


@pytest.mark.parametrize("form", ["number", "scalar", "row", "one row", "rows"])
def test_a_baseline_may_be_a_value_a_row_or_rows(net, inputs, form):
    row = torch.full((2, 3), 0.5, dtype=torch.float64)
    forms = {"number": 0.5, "scalar": torch.tensor(0.5), "row": row, "one row": row[None], "rows": row.expand(3, 2, 3)}
    expected = integrated_gradients(net, inputs, 0, baseline=row.expand(3, 2, 3).clone()).scores
    torch.testing.assert_close(integrated_gradients(net, inputs, 0, baseline=forms[form]).scores, expected)


def test_expected_gradients_are_the_mean_over_the_draws(net, inputs):
    references = torch.randn(4, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    scores = expected_gradients(net, inputs, 2, references=references, samples=6, seed=9).scores
    generator = torch.Generator().manual_seed(9)
    drawn = torch.randint(4, (6,), generator=generator)
    alphas = torch.rand(6, generator=generator, dtype=torch.float64)
    for row, x in enumerate(inputs):
        total = torch.zeros_like(x)
        for number, alpha in zip(drawn, alphas):
            start = references[number]
            total += (x - start) * slope(net, start + alpha * (x - start), lambda z: z[2])
        torch.testing.assert_close(scores[row], total / 6)


def test_expected_gradients_sum_to_the_difference_in_the_long_run(net, inputs):
    references = torch.randn(50, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    scores = expected_gradients(net, inputs, 2, references=references, samples=20_000, batch_size=6000).scores
    difference = net(inputs)[:, 2] - net(references)[:, 2].mean()
    torch.testing.assert_close(scores.flatten(1).sum(1), difference.detach(), rtol=0, atol=0.02)


def test_the_gap_is_the_sum_less_the_difference(net, inputs, baseline):
    labels = torch.tensor([1, 3, 0])
    made_up = Attribution(torch.ones_like(inputs), "label_logit", "by hand")
    gap = completeness_gap(net, made_up, inputs, baseline, labels, batch_size=2)
    rows = torch.arange(3)
    torch.testing.assert_close(gap, 6 - (net(inputs)[rows, labels] - net(baseline)[rows, labels]).detach())


def test_the_gap_needs_scores_of_the_inputs(net, inputs):
    with pytest.raises(ShapeError, match=r"must have the shape of `inputs` to be complete; got \(3, 2\)"):
        completeness_gap(net, Attribution(torch.zeros(3, 2), 0, "by hand"), inputs)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"steps": 0}, SettingError, "`steps` must be a whole number of at least 1; got 0"),
        ({"rule": "simpson"}, SettingError, "one of gauss_legendre, midpoint, trapezoid; got 'simpson'"),
        ({"rule": "trapezoid", "steps": 1}, SettingError, "2 steps or more; got 1"),
        ({"baseline": torch.zeros(4, 2, 3)}, ShapeError, r"`baseline` must be a number, .*got \(4, 2, 3\)"),
        ({"baseline": torch.zeros(3)}, ShapeError, r"got \(3,\)"),
    ],
)
def test_settings_that_mean_nothing_are_refused(net, inputs, settings, error, message):
    with pytest.raises(error, match=message):
        integrated_gradients(net, inputs, **settings)


@pytest.mark.parametrize("shape", [(0, 2, 3), (5, 3, 2)])
def test_references_are_rows_like_the_inputs(net, inputs, shape):
    with pytest.raises(ShapeError, match=r"at least one row of shape \(2, 3\)"):
        expected_gradients(net, inputs, references=torch.zeros(shape))


def test_a_model_without_a_gradient_is_refused(inputs):
    with pytest.raises(GraphError, match="depend on the inputs through autograd"):
        integrated_gradients(lambda x: x.flatten(1).round().detach(), inputs)


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 51, 300])
def test_gauss_legendre_points_are_those_of_numpy(steps):
    points, weights = _quadrature("gauss_legendre", steps)
    expected = np.polynomial.legendre.leggauss(steps)
    np.testing.assert_allclose(2 * points.numpy() - 1, expected[0], rtol=0, atol=1e-14)
    np.testing.assert_allclose(2 * weights.numpy(), expected[1], rtol=1e-10, atol=1e-15)


def test_the_points_of_a_long_path_take_memory_for_themselves_alone():
    tracemalloc.start()
    points, weights = _quadrature("gauss_legendre", 4001)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * points.nbytes
    assert (points.diff() > 0).all()
    assert points[2000].item() == pytest.approx(0.5, abs=1e-15)
    # Exact for polynomials of up to twice as many degrees.
    assert (weights * points**6000).sum().item() == pytest.approx(1 / 6001, rel=1e-9)

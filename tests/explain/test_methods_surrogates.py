import itertools
import math

import pytest
import torch
from torch import nn

from explain.errors import SettingError
from explain.methods.paths import completeness_gap
from explain.methods.surrogates import _shapley_coalitions, kernel_shap, lime

WEIGHTS = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def linear(x):
    return x.flatten(1) @ WEIGHTS


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 4)).double()


@pytest.fixture
def inputs():
    return torch.randn(3, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def baseline():
    return torch.randn(3, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def shapley(net, x, b, groups):
    """Sum over all coalitions without a feature, as it is defined."""
    n, winner = int(groups.max()) + 1, int(net(x[None]).argmax())

    def value(coalition):
        there = torch.tensor([int(group) in coalition for group in groups])
        return float(torch.log_softmax(net(torch.where(there, x, b)[None])[0].detach(), dim=0)[winner])

    result = []
    for feature in range(n):
        others = [other for other in range(n) if other != feature]
        total = 0.0
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for chosen in itertools.combinations(others, size):
                total += weight * (value({*chosen, feature}) - value({*chosen}))
        result.append(total)
    return torch.tensor(result, dtype=torch.float64)


@pytest.mark.parametrize("features", [1, 2, 3, 5, 6])
def test_with_all_coalitions_kernel_shap_is_the_shapley_value(net, inputs, baseline, features):
    groups = torch.arange(12) % features
    scores = kernel_shap(net, inputs, groups=groups, baseline=baseline, samples=max(1, 2**features - 2)).scores
    for row in range(3):
        exact = shapley(net, inputs[row], baseline[row], groups)
        by_group = torch.zeros(features, dtype=torch.float64).index_add(0, groups, scores[row])
        torch.testing.assert_close(by_group, exact)
        torch.testing.assert_close(scores[row], (exact / torch.bincount(groups))[groups])


def test_sampled_kernel_shap_comes_near_the_shapley_value(net, inputs, baseline):
    exact = kernel_shap(net, inputs, baseline=baseline, samples=2**12).scores
    few, many = (kernel_shap(net, inputs, baseline=baseline, samples=samples).scores for samples in (60, 1500))
    assert (many - exact).abs().mean() < 0.02 * exact.abs().mean()
    assert (many - exact).abs().mean() < (few - exact).abs().mean()


@pytest.mark.parametrize("samples", [24, 25, 100, 1000, 4094, 5000])
def test_kernel_shap_is_complete_however_few_the_samples(net, inputs, baseline, samples):
    attribution = kernel_shap(net, inputs, "max_logit", baseline=baseline, samples=samples)
    gap = completeness_gap(net, attribution, inputs, baseline)
    torch.testing.assert_close(gap, torch.zeros(3, dtype=torch.float64))


def test_kernel_shap_of_a_linear_model_is_weight_times_change_from_few_samples(inputs, baseline):
    scores = kernel_shap(linear, inputs, 1, baseline=baseline, samples=24).scores
    torch.testing.assert_close(scores, (inputs - baseline) * WEIGHTS[:, 1])


@pytest.mark.parametrize(("features", "samples"), [(2, 2), (5, 30), (8, 254), (11, 2048)])
def test_every_coalition_is_asked_once_with_the_weight_of_the_kernel(features, samples):
    present, weights = _shapley_coalitions(features, samples, seed=0)
    assert len({tuple(row.tolist()) for row in present}) == len(present) == 2**features - 2
    for row, weight in zip(present, weights):
        size = int(row.sum())
        kernel = (features - 1) / (math.comb(features, size) * size * (features - size))
        scale = features - 1
        assert float(weight) * scale == pytest.approx(kernel)


@pytest.mark.parametrize(("features", "samples"), [(12, 24), (12, 300), (20, 500), (49, 2048)])
def test_drawn_coalitions_come_in_pairs_and_carry_what_the_kernel_gives_their_sizes(features, samples):
    present, weights = _shapley_coalitions(features, samples, seed=4)
    assert len(present) <= samples
    seen = sorted(map(tuple, present.tolist()))
    assert seen == sorted(map(tuple, (~present).tolist()))
    sizes = present.sum(dim=1)
    assert set(sizes[: 2 * features].tolist()) == {1, features - 1}
    assert float(weights[: 2 * features].sum()) == pytest.approx(2 / (features - 1))
    if samples > 2 * features + 1:
        every = sum(1 / (size * (features - size)) for size in range(1, features))
        assert float(weights.sum()) == pytest.approx(every)


def test_too_few_samples_for_kernel_shap_are_refused(net, inputs):
    with pytest.raises(SettingError, match=r"12 features need at least 24 samples.*got 23"):
        kernel_shap(net, inputs, samples=23)


def test_lime_recovers_the_coefficients_of_a_linear_model_times_presence(inputs, baseline):
    scores = lime(linear, inputs, 1, baseline=baseline, samples=60, ridge=0).scores
    torch.testing.assert_close(scores, (inputs - baseline) * WEIGHTS[:, 1])


def test_lime_is_a_weighted_ridge_regression_with_an_intercept(net, inputs, baseline):
    from sklearn.linear_model import Ridge

    groups = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3, 4, 4, 4])
    settings = {"samples": 50, "kernel_width": 0.4, "ridge": 0.7, "seed": 6}
    scores = lime(net, inputs, "max_logit", groups=groups, baseline=baseline, **settings).scores
    present = torch.rand(50, 5, generator=torch.Generator().manual_seed(6)) < 0.5
    present[0] = True
    full = torch.ones(5, dtype=torch.float64)
    closeness = []
    for row in present.double():
        cosine = 0.0 if not row.any() else float(row @ full / (row.norm() * full.norm()))
        closeness.append(math.exp(-((1 - cosine) ** 2) / (2 * 0.4**2)))
    for row, (x, b) in enumerate(zip(inputs, baseline)):
        winner = int(net(x[None]).argmax())
        values = net(torch.where(present[:, groups], x, b))[:, winner].detach()
        fit = Ridge(alpha=0.7).fit(present.double().numpy(), values.numpy(), sample_weight=closeness)
        torch.testing.assert_close(scores[row], (torch.from_numpy(fit.coef_) / torch.bincount(groups))[groups])


def test_lime_without_a_ridge_needs_enough_samples(net, inputs):
    with pytest.raises(SettingError, match="8 samples do not determine the coefficients of 12 features"):
        lime(net, inputs, samples=8, ridge=0)


@pytest.mark.parametrize(
    "settings", [{"kernel_width": 0}, {"kernel_width": math.nan}, {"ridge": -1}, {"ridge": math.nan}]
)
def test_settings_that_mean_nothing_are_refused(net, inputs, settings):
    with pytest.raises(SettingError, match="`kernel_width` must be above 0 and `ridge` at least 0"):
        lime(net, inputs, **settings)


def test_a_kernel_too_narrow_for_any_sample_but_the_row_itself_gives_finite_scores():
    scores = lime(lambda x: x, torch.rand(2, 3), target=0, kernel_width=1e-200).scores
    assert scores.isfinite().all()

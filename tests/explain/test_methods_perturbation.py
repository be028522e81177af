import itertools

import pytest
import torch
from torch import nn

from explain.errors import KindError, SettingError, ShapeError
from explain.methods.perturbation import feature_ablation, occlusion
from explain.methods.presence import feature_groups

WEIGHTS = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def linear(x):
    return x.flatten(1) @ WEIGHTS


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(2 * 5 * 7, 9), nn.Tanh(), nn.Linear(9, 4)).double()


@pytest.fixture
def images():
    return torch.randn(3, 2, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def vectors():
    return torch.randn(3, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def values(net, x, winner):
    return float(torch.log_softmax(net(x[None])[0].detach(), dim=0)[winner])


@pytest.mark.parametrize(("window", "stride"), [(3, 2), ((1, 2, 3), (1, 1, 2)), ((2, 5, 7), None)])
def test_occlusion_is_the_mean_loss_over_the_windows_that_cover_an_element(net, images, window, stride):
    fill = torch.linspace(-1, 1, 70, dtype=torch.float64).view(2, 5, 7)
    scores = occlusion(net, images, window=window, stride=stride, baseline=fill).scores
    extents = (2, 3, 3) if window == 3 else window
    steps = {2: (1, 2, 2), None: (1, 3, 4)}.get(stride, stride)
    for row, x in enumerate(images):
        winner = int(net(x[None]).argmax())
        total, count = torch.zeros_like(x), torch.zeros_like(x)
        corners = [range(0, size - extent + step, step) for size, extent, step in zip(x.shape, extents, steps)]
        for c, y, z in itertools.product(*corners):
            inside = torch.zeros_like(x)
            inside[c : c + extents[0], y : y + extents[1], z : z + extents[2]] = 1
            lost = values(net, x, winner) - values(net, torch.where(inside > 0, fill, x), winner)
            total, count = total + lost * inside, count + inside
        # Captum's division is in single precision.
        torch.testing.assert_close(scores[row], total / count, rtol=1e-5, atol=1e-6)


def test_occlusion_of_single_elements_of_a_linear_model_is_weight_times_value(vectors):
    scores = occlusion(linear, vectors, 1).scores
    torch.testing.assert_close(scores, vectors * WEIGHTS[:, 1], rtol=1e-5, atol=1e-6)


def test_a_window_over_embedded_tokens_covers_all_their_components(vectors):
    tokens = vectors.view(3, 4, 3)
    scores = occlusion(linear, tokens, 1, window=1).scores
    by_token = (tokens * WEIGHTS[:, 1].view(4, 3)).sum(dim=2, keepdim=True).expand(3, 4, 3)
    torch.testing.assert_close(scores, by_token, rtol=1e-5, atol=1e-6)


def test_feature_ablation_is_what_each_group_loses_shared_by_its_elements(net, images):
    groups = torch.randint(0, 4, (5, 7), generator=torch.Generator().manual_seed(2)) * 10
    fill = torch.randn(3, 2, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    scores = feature_ablation(net, images, groups=groups, baseline=fill).scores
    for row, x in enumerate(images):
        winner = int(net(x[None]).argmax())
        for number in groups.unique():
            inside = (groups == number).expand(2, 5, 7)
            lost = values(net, x, winner) - values(net, torch.where(inside, fill[row], x), winner)
            expected = torch.full((int(inside.sum()),), lost / int(inside.sum()), dtype=torch.float64)
            torch.testing.assert_close(scores[row][inside], expected)


@pytest.mark.parametrize("method", [occlusion, feature_ablation])
def test_the_class_is_that_of_the_whole_row(method):
    """Without its only element the row would be of the other class, whose logit never changes."""

    def crossing(x):
        return torch.cat([x, x * 0 + 1.0], dim=1)

    scores = method(crossing, torch.tensor([[3.0]]), "max_logit").scores
    torch.testing.assert_close(scores, torch.tensor([[3.0]]))


@pytest.mark.parametrize(
    ("event", "size", "expected"),
    [
        ((4,), None, [0, 1, 2, 3]),
        ((5,), 2, [0, 0, 1, 1, 2]),
        ((3, 2), None, [[0, 0], [1, 1], [2, 2]]),
        ((2, 3, 3), 2, [[[0, 0, 1], [0, 0, 1], [2, 2, 3]]] * 2),
    ],
)
def test_features_are_elements_tokens_or_patches(event, size, expected):
    assert feature_groups(event, size).tolist() == expected


def test_an_image_has_about_seven_patches_a_side():
    assert feature_groups((1, 28, 28)).unique().tolist() == list(range(49))
    assert feature_groups((3, 32, 20)).unique().numel() == 7 * 4
    assert feature_groups((1, 14, 14, 14)).unique().numel() == 7**3


@pytest.mark.parametrize(
    ("method", "settings", "error", "message"),
    [
        (occlusion, {"window": 0}, SettingError, r"must fit into a row of shape \(2, 5, 7\)"),
        (occlusion, {"window": 6}, SettingError, "got 6"),
        (occlusion, {"window": (3, 3)}, SettingError, r"got \(3, 3\)"),
        (occlusion, {"window": 2, "stride": 3}, SettingError, r"no larger than the window, \(2, 2, 2\).*got 3"),
        (occlusion, {"window": 2, "stride": (1, 1)}, SettingError, r"got \(1, 1\)"),
        (feature_ablation, {"size": 0}, SettingError, "`size` must be a whole number"),
        (feature_ablation, {"groups": torch.zeros(5, 7)}, KindError, "must be int64"),
        (feature_ablation, {"groups": torch.zeros(7, 5).long()}, ShapeError, r"\(2, 5, 7\) or \(5, 7\); got \(7, 5\)"),
        (feature_ablation, {"groups": torch.zeros(5, 7).long(), "size": 2}, SettingError, "leave out `size`, got 2"),
    ],
)
def test_settings_that_mean_nothing_are_refused(net, images, method, settings, error, message):
    with pytest.raises(error, match=message):
        method(net, images, **settings)


@pytest.mark.parametrize("event", [(1, 8, 128), (1, 2, 64), (1, 64, 2), (3, 4, 32, 32)])
def test_the_window_of_an_elongated_row_is_no_longer_than_its_sides(event):
    row = torch.rand(1, *event)
    scores = occlusion(lambda x: x.flatten(1)[:, :2], row, 0).scores
    assert scores.shape == row.shape
    assert scores[0].flatten()[0] > 0

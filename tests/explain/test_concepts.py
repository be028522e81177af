import math

import pytest
import torch
from torch import nn

from explain import LayerError, SettingError, ShapeError
from explain.concepts import Concept, concept_direction, features_last
from explain.testing import Smooth

METHODS = ["pattern", "ridge", "svm"]


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Smooth().double()


@pytest.fixture
def groups():
    """Inputs with a bright corner, and fewer without."""
    inputs = torch.rand(14, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    affected, clean = inputs[:9].clone(), inputs[9:]
    affected[:, :, :2, :2] += 3
    return affected, clean


class Identity(nn.Module):
    """A model whose layer gives the inputs themselves."""

    def __init__(self, features):
        super().__init__()
        self.same = nn.Identity()
        self.head = nn.Linear(features, 2)

    def forward(self, inputs):
        return self.head(self.same(inputs))


def test_the_pattern_is_the_covariance_of_activation_and_artefact(net, groups):
    concept = concept_direction(net, "conv", *groups)
    with torch.no_grad():
        rows = [[net.conv(row[None])[0, c].mean().item() for c in range(3)] for group in groups for row in group]
    there = [1.0] * 9 + [0.0] * 5
    mean_there = sum(there) / 14
    covariance = []
    for c in range(3):
        mean = sum(row[c] for row in rows) / 14
        covariance.append(sum((row[c] - mean) * (t - mean_there) for row, t in zip(rows, there, strict=True)))
    size = math.sqrt(sum(value**2 for value in covariance))
    assert concept.direction.tolist() == pytest.approx([value / size for value in covariance])
    assert concept.clean.tolist() == pytest.approx([sum(row[c] for row in rows[9:]) / 5 for c in range(3)])


def test_the_maximum_over_places_may_be_pooled_instead_while_the_clean_mean_stays_one(net, groups):
    pooled = concept_direction(net, "conv", *groups, pool="max")
    with torch.no_grad():
        affected, clean = (net.conv(group).flatten(2).max(dim=2).values for group in groups)
    expected = affected.mean(dim=0) - clean.mean(dim=0)
    torch.testing.assert_close(pooled.direction, expected / expected.norm())
    torch.testing.assert_close(pooled.clean, concept_direction(net, "conv", *groups).clean)


@pytest.mark.parametrize("method", METHODS)
def test_a_direction_has_unit_norm_and_points_to_the_artefact(net, groups, method):
    concept = concept_direction(net, "conv", *groups, method)
    assert concept.direction.norm().item() == pytest.approx(1.0)
    with torch.no_grad():
        affected, clean = (net.conv(group).mean(dim=(2, 3)) @ concept.direction for group in groups)
    assert affected.min() > clean.max()


def test_a_classifier_bends_away_from_a_distractor_and_the_pattern_does_not():
    """The artefact is along (1, 0); something unrelated moves both features together."""
    generator = torch.Generator().manual_seed(0)
    unrelated = 3 * torch.randn(800, 1, dtype=torch.float64, generator=generator)
    rows = unrelated * torch.tensor([1.0, 1.0]) + 0.1 * torch.randn(800, 2, generator=generator)
    rows[:400, 0] += 1
    model = Identity(2).double()
    cosine = {
        method: concept_direction(model, "same", rows[:400], rows[400:], method).direction[0].item()
        for method in METHODS
    }
    assert cosine["pattern"] > 0.9
    assert cosine["ridge"] == pytest.approx(math.sqrt(0.5), abs=0.02)
    assert cosine["svm"] == pytest.approx(math.sqrt(0.5), abs=0.02)


def test_the_ridge_is_the_least_squares_solution_with_groups_of_equal_weight():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(30, 3, dtype=torch.float64, generator=generator)
    rows[:6, 1] += 2
    found = concept_direction(Identity(3).double(), "same", rows[:6], rows[6:], "ridge", penalty=2.0).direction
    signs = torch.tensor([1.0] * 6 + [-1.0] * 24).double()
    weights = torch.tensor([30 / (2 * 6)] * 6 + [30 / (2 * 24)] * 24).double()
    centred = rows - (weights[:, None] * rows).sum(0) / weights.sum()
    target = signs - (weights * signs).sum() / weights.sum()
    gram = centred.T @ (weights[:, None] * centred) + 2.0 * torch.eye(3).double()
    expected = torch.linalg.solve(gram, centred.T @ (weights * target))
    torch.testing.assert_close(found, expected / expected.norm(), rtol=1e-4, atol=1e-4)


def test_small_batches_give_the_same_and_the_model_is_left_as_found(net, groups):
    net.train()
    net.features.eval()
    modes = [part.training for part in net.modules()]
    whole = concept_direction(net, "features", *groups)
    parts = concept_direction(net, "features", *groups, batch_size=2)
    torch.testing.assert_close(parts.direction, whole.direction)
    torch.testing.assert_close(parts.clean, whole.clean)
    assert not whole.direction.requires_grad
    assert [part.training for part in net.modules()] == modes
    assert all(weight.grad is None for weight in net.parameters())
    assert not any(part._forward_hooks for part in net.modules())


@pytest.mark.parametrize(
    ("shape", "axis", "expected"),
    [
        ((5, 16), None, (5, 16)),
        ((5, 12, 64), None, (5, 12, 64)),
        ((5, 16, 9), 1, (5, 9, 16)),
        ((5, 16, 7, 8), None, (5, 7, 8, 16)),
        ((5, 7, 8, 16), -1, (5, 7, 8, 16)),
        ((5, 16, 2, 3, 4), None, (5, 2, 3, 4, 16)),
    ],
)
def test_features_come_last(shape, axis, expected):
    assert features_last(torch.zeros(shape), axis).shape == expected


@pytest.mark.parametrize("axis", [0, 2, -2])
def test_an_axis_that_is_not_there_is_refused(axis):
    with pytest.raises(ShapeError, match=rf"beside the batch; got {axis} for shape \(5, 16\)"):
        features_last(torch.zeros(5, 16), axis)


def test_what_cannot_give_a_direction_is_refused(net, groups):
    affected, clean = groups
    with pytest.raises(SettingError, match="one of pattern, ridge, svm; got 'difference'"):
        concept_direction(net, "conv", affected, clean, "difference")
    with pytest.raises(SettingError, match="mean or max; got 'sum'"):
        concept_direction(net, "conv", affected, clean, pool="sum")
    for penalty in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(SettingError, match="`penalty` must be above 0"):
            concept_direction(net, "conv", affected, clean, "svm", penalty=penalty)
    with pytest.raises(SettingError, match="got 9 and 0"):
        concept_direction(net, "conv", affected, clean[:0])
    with pytest.raises(SettingError, match="must respond to the artefact"):
        concept_direction(net, "conv", clean, clean)
    with pytest.raises(SettingError, match="norm nan"):
        concept_direction(net, "conv", affected * math.nan, clean)
    with pytest.raises(LayerError, match="No layer 'cnov'"):
        concept_direction(net, "cnov", affected, clean)


def test_half_precision_gives_a_direction_too(groups):
    torch.manual_seed(0)
    net = Smooth().bfloat16()
    concept = concept_direction(net, "conv", *(group.bfloat16() for group in groups))
    assert concept.direction.dtype == torch.bfloat16
    assert isinstance(concept, Concept)
    assert concept.direction.float().norm().item() == pytest.approx(1.0, abs=5e-3)

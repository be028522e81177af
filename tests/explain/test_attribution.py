"""Measures take an attribution for its scores."""

import math

import pytest
import torch
from torch import nn

from explain import Attribution, KindError, SettingError, attribute, deletion, insertion, mass_on_mask, measures
from explain.attribution import scores_of
from explain.clusters import downsized, spectral_clusters
from explain.measures import mean_normalised_score, sanity_check, wrong_reason

SCORES = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
FOUND = Attribution(SCORES, target=0, method="input_gradient")
MASK = torch.tensor([[True, False, False, True, False]]).expand(6, 5)
INPUTS = torch.rand(6, 5, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Linear(5, 3)


def test_scores_are_taken_out_of_an_attribution_and_stay_themselves():
    assert scores_of(FOUND) is SCORES
    assert scores_of(SCORES) is SCORES


def test_what_has_no_scores_is_refused():
    with pytest.raises(KindError, match="a tensor or an Attribution; got list"):
        scores_of([1.0, 2.0])
    with pytest.raises(KindError, match="a tensor or an Attribution; got list"):
        mass_on_mask([[1.0, 2.0]], MASK)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mass_on_mask", {}),
        ("rank_in_mask", {}),
        ("pointing_game", {}),
        ("overlap", {"threshold": 0.5}),
        ("area_under_roc", {}),
        ("reason_share", {}),
        ("wrong_reason", {}),
        ("area_under_precision_recall", {}),
    ],
)
def test_measures_of_regions_take_an_attribution(name, settings):
    measure = getattr(measures, name)
    assert torch.equal(measure(FOUND, MASK, **settings), measure(SCORES, MASK, **settings))


def test_other_measures_of_maps_take_an_attribution():
    assert torch.equal(mean_normalised_score(FOUND), mean_normalised_score(SCORES))
    assert torch.equal(measures.top_tokens(FOUND, 0.4), measures.top_tokens(SCORES, 0.4))
    assert torch.equal(measures.rank_correlation(FOUND, FOUND), torch.ones(6))


@pytest.mark.parametrize("measure", [deletion, insertion])
def test_curves_take_an_attribution(net, measure):
    found, expected = (measure(net, INPUTS, scores, filler=0.0, steps=5).values for scores in (FOUND, SCORES))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("measure", [measures.comprehensiveness, measures.sufficiency])
def test_measures_of_text_take_an_attribution(net, measure):
    found, expected = (measure(net, INPUTS, scores, filler=0.0) for scores in (FOUND, SCORES))
    assert torch.equal(found, expected)


def test_the_sanity_check_takes_a_function_that_returns_an_attribution(net):
    found = sanity_check(net, lambda module: attribute(module, INPUTS, "gradient_times_input"))
    expected = sanity_check(net, lambda module: attribute(module, INPUTS, "gradient_times_input").scores)
    assert torch.equal(found.signed, expected.signed)


def test_clusters_take_an_attribution():
    found, expected = (spectral_clusters(scores) for scores in (FOUND, SCORES))
    assert torch.equal(found.labels, expected.labels)
    assert torch.equal(found.describe(FOUND)[0].mean_map, expected.describe(SCORES)[0].mean_map)
    assert torch.equal(downsized(FOUND), downsized(SCORES))


def test_wrong_reason_counts_the_magnitude_where_it_is_asked_to():
    scores = torch.tensor([[4.0, 3.0, 0.0, -9.0], [-1.0, -2.0, 0.0, 0.0]], dtype=torch.float64)
    mask = torch.tensor([[True, False, True, True], [True, True, True, True]])
    for part, size in (("positive", scores.clamp(min=0)), ("magnitude", scores.abs())):
        heights = [[value / max(row) if max(row) else math.nan for value in row] for row in size.tolist()]
        measured = [row for row in heights if not math.isnan(row[0])]
        cut = sum(map(sum, measured)) / (4 * len(measured))
        expected = [
            math.nan if math.isnan(row[0]) else sum(h > cut for h, m in zip(row, inside) if m) / sum(inside)
            for row, inside in zip(heights, mask.tolist())
        ]
        found = wrong_reason(scores, mask, part=part)
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), equal_nan=True)
        threshold = float(mean_normalised_score(scores, part).nanmean())
        assert threshold == pytest.approx(cut)
        torch.testing.assert_close(wrong_reason(scores, mask, threshold, part), found, equal_nan=True)


def test_wrong_reason_of_a_magnitude_is_that_of_the_scores_made_positive():
    found = wrong_reason(SCORES, MASK, part="magnitude")
    assert torch.equal(found, wrong_reason(SCORES.abs(), MASK))
    assert not torch.equal(found, wrong_reason(SCORES, MASK))


@pytest.mark.parametrize(
    "measure", [lambda part: wrong_reason(SCORES, MASK, part=part), lambda part: mean_normalised_score(SCORES, part)]
)
def test_wrong_reason_has_no_other_part(measure):
    with pytest.raises(SettingError, match="one of magnitude, positive; got 'negative'"):
        measure("negative")

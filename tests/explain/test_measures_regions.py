import math

import pytest
import scipy.stats
import torch
from sklearn.metrics import roc_auc_score

from explain import KindError, SettingError, ShapeError
from explain.measures import (
    area_under_roc,
    mass_on_mask,
    mean_normalised_score,
    overlap,
    pointing_game,
    rank_correlation,
    rank_in_mask,
    reason_share,
    wrong_reason,
)

SHARES = {
    "mass": mass_on_mask,
    "rank": rank_in_mask,
    "pointing": pointing_game,
    "overlap": lambda scores, mask, **part: overlap(scores, mask, 0.3, **part),
    "roc": area_under_roc,
    "reason": reason_share,
    "wrong": lambda scores, mask: wrong_reason(scores, mask, threshold=0.4),
}
every_measure = pytest.mark.parametrize("measure", SHARES.values(), ids=SHARES.keys())


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    # Rounded, so that there are ties, and zeros among them.
    scores = (torch.randn(12, 3, 5, 4, dtype=torch.float64, generator=generator) * 2).round()
    mask = torch.rand(12, 5, 4, generator=generator) < 0.3
    assert mask.flatten(1).any(dim=1).all()
    return scores, mask


def by_row(scores, mask):
    """Rows as plain lists of (score, inside), in memory order."""
    for row, marked in zip(scores, mask):
        inside = torch.stack([marked] * len(row)).flatten().tolist()
        yield list(zip(row.flatten().tolist(), inside))


def test_rank_counts_the_mask_among_the_k_highest(maps):
    scores, mask = maps
    expected = []
    for row in by_row(scores, mask):
        k = sum(inside for _, inside in row)
        ordered = sorted(row, key=lambda element: -abs(element[0]))[:k]
        expected.append(sum(inside for score, inside in ordered if score != 0) / k)
    assert rank_in_mask(scores, mask).tolist() == pytest.approx(expected, abs=1e-12)


def test_zeros_do_not_fill_up_the_highest_from_the_corner_of_the_map():
    scores = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    corner = torch.tensor([[True, True, False, False]])
    assert rank_in_mask(scores, corner).tolist() == [0.0]
    assert rank_in_mask(scores, corner.flip(1)).tolist() == [0.5]


def test_among_equals_the_first_goes_first():
    scores = torch.ones(1, 4)
    assert rank_in_mask(scores, torch.tensor([[True, True, False, False]])).tolist() == [1.0]
    assert rank_in_mask(scores, torch.tensor([[False, False, True, True]])).tolist() == [0.0]
    assert pointing_game(scores, torch.tensor([[True, False, False, False]])).tolist() == [1.0]


def test_the_pointing_game_asks_for_the_highest(maps):
    scores, mask = maps
    expected = [float(max(row, key=lambda element: abs(element[0]))[1]) for row in by_row(scores, mask)]
    assert pointing_game(scores, mask).tolist() == expected
    assert 0 < sum(expected) < len(expected)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.8])
def test_overlap_is_intersection_over_union(maps, threshold):
    scores, mask = maps
    expected = []
    for row in by_row(scores, mask):
        top = max(abs(score) for score, _ in row)
        above = [abs(score) / top > threshold for score, _ in row]
        both = sum(a and inside for a, (_, inside) in zip(above, row))
        either = sum(a or inside for a, (_, inside) in zip(above, row))
        expected.append(both / either)
    assert overlap(scores, mask, threshold).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("part", ["magnitude", "positive"])
def test_area_under_roc_is_that_of_scikit_learn(maps, part):
    scores, mask = maps
    size = scores.abs() if part == "magnitude" else scores.clamp(min=0)
    expected = [roc_auc_score([inside for _, inside in row], [score for score, _ in row]) for row in by_row(size, mask)]
    assert area_under_roc(scores, mask, part).tolist() == pytest.approx(expected, abs=1e-12)


def test_a_map_that_is_the_same_everywhere_tells_nothing_apart():
    assert area_under_roc(torch.full((1, 5), 2.0), torch.tensor([[True, False, False, True, False]])).tolist() == [0.5]


def test_area_under_roc_has_no_answer_for_a_mask_of_everything():
    assert area_under_roc(torch.tensor([[1.0, 2.0]]), torch.tensor([[True, True]])).isnan().all()


def test_reason_share_is_that_of_the_paper(maps):
    scores, mask = maps
    expected = []
    for row in by_row(scores, mask):
        top = max(abs(score) for score, _ in row)
        shown = [inside for score, inside in row if abs(score) > 0.67 * top]
        expected.append(sum(shown) / len(shown))
    assert reason_share(scores, mask).tolist() == pytest.approx(expected, abs=1e-12)


def without_ties(scores, mask):
    return scores + torch.rand(scores.shape, dtype=scores.dtype, generator=torch.Generator().manual_seed(4)), mask


def slow_wrong_reason(scores, mask):
    heights = []
    for row in by_row(scores, mask):
        top = max(max(score, 0.0) for score, _ in row)
        heights.append([max(score, 0.0) / top for score, _ in row])
    threshold = sum(map(sum, heights)) / sum(map(len, heights))
    shares = []
    for row, height in zip(by_row(scores, mask), heights):
        lit = [h > threshold for h, (_, inside) in zip(height, row) if inside]
        shares.append(sum(lit) / len(lit))
    return shares, threshold


def test_wrong_reason_is_that_of_the_paper(maps):
    scores, mask = without_ties(*maps)
    shares, threshold = slow_wrong_reason(scores, mask)
    assert wrong_reason(scores, mask).tolist() == pytest.approx(shares, abs=1e-12)
    assert mean_normalised_score(scores).mean().item() == pytest.approx(threshold, abs=1e-12)


def test_the_threshold_of_the_dataset_makes_batches_add_up(maps):
    scores, mask = without_ties(*maps)
    whole = wrong_reason(scores, mask)
    threshold = float(torch.cat([mean_normalised_score(part) for part in scores.split(5)]).nanmean())
    parts = [wrong_reason(s, m, threshold) for s, m in zip(scores.split(5), mask.split(5))]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(torch.cat([wrong_reason(s, m) for s, m in zip(scores.split(1), mask.split(1))]), whole)


def test_a_row_that_cannot_be_measured_neither_counts_nor_moves_the_threshold():
    # The threshold is 0.3625 with the first row alone, and half of that with another of zeros.
    row = torch.tensor([[1.0, 0.25, 0.2, 0.0]])
    mask = torch.tensor([[False, True, False, False]] * 2)
    for other in (-row, row * math.nan, row * math.inf):
        shares = wrong_reason(torch.cat([row, other]), mask)
        assert shares[0] == 0.0
        assert shares[1].isnan()
    assert wrong_reason(row, mask[:1], threshold=0.2).tolist() == [1.0]


@every_measure
def test_an_empty_mask_an_all_zero_map_and_a_map_with_nan_are_nan(measure):
    scores = torch.tensor([[1.0, 2.0], [0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0], [2.0, 1.0]])
    mask = torch.tensor([[False, False], [True, False], [True, False], [True, False], [True, False]])
    assert measure(scores, mask).isnan().tolist() == [True, True, True, True, False]


@every_measure
def test_a_row_measures_the_same_alone_and_in_a_batch(maps, measure):
    scores, mask = maps
    alone = torch.cat([measure(score[None], marked[None]) for score, marked in zip(scores, mask)])
    assert torch.equal(alone, measure(scores, mask))


@every_measure
def test_only_the_proportions_of_a_map_count(maps, measure):
    scores, mask = maps
    torch.testing.assert_close(measure(scores * 1024, mask), measure(scores, mask))


@every_measure
def test_no_rows_give_no_figures(measure):
    assert measure(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.bool)).shape == (0,)


@every_measure
def test_half_precision_is_summed_in_more(measure):
    scores = torch.full((1, 300, 300), 60000.0, dtype=torch.float16)
    mask = torch.zeros(1, 300, 300, dtype=torch.bool)
    mask[:, :150] = True
    assert measure(scores, mask).isfinite().all()


@every_measure
def test_bad_input_is_refused_in_words(measure):
    good, mask = torch.rand(2, 3), torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(KindError, match=r"`mask` must be a boolean tensor; got torch.float32"):
        measure(good, mask.float())
    with pytest.raises(KindError, match=r"`scores` must be floating point; got torch.int64"):
        measure(torch.ones(2, 3, dtype=torch.int64), mask)
    with pytest.raises(ShapeError, match=r"must have the shape of its inputs.*got \(2, 2\)"):
        measure(good, mask[:, :2])
    with pytest.raises(ShapeError, match=r"at least one element a row; got \(2, 0\)"):
        measure(good[:, :0], mask[:, :0])


@pytest.mark.parametrize("value", [-0.1, 1.0, math.nan])
def test_a_cut_that_nothing_or_everything_exceeds_is_refused(value):
    scores, mask = torch.rand(2, 3), torch.ones(2, 3, dtype=torch.bool)
    for measure in (overlap, reason_share, wrong_reason):
        with pytest.raises(SettingError, match=r"must lie in \[0, 1\)"):
            measure(scores, mask, value)


@pytest.mark.parametrize("measure", [mass_on_mask, rank_in_mask, pointing_game, area_under_roc])
def test_a_part_that_does_not_exist_is_refused_and_positive_leaves_the_negative_out(measure):
    scores, mask = torch.tensor([[-5.0, 1.0]]), torch.tensor([[True, False]])
    assert measure(scores, mask).item() > measure(scores, mask, "positive").item() == 0.0
    with pytest.raises(SettingError, match="magnitude, positive; got 'negative'"):
        measure(scores, mask, "negative")


def test_rank_correlation_is_spearmans(maps):
    scores, _ = maps
    other = (
        scores + torch.randn(scores.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ).round()
    expected = [scipy.stats.spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(scores, other)]
    assert rank_correlation(scores, other).tolist() == pytest.approx(expected, abs=1e-6)
    assert rank_correlation(scores, -scores).tolist() == [-1.0] * 12


def test_rank_correlation_of_a_constant_or_broken_map_is_nan():
    first = torch.tensor([[1.0, 1.0, 1.0], [1.0, 2.0, math.nan], [1.0, 2.0, 3.0]])
    assert rank_correlation(first, torch.tensor([[1.0, 2.0, 3.0]] * 3)).isnan().tolist() == [True, True, False]
    with pytest.raises(ShapeError, match=r"got \(3, 3\) and \(3, 2\)"):
        rank_correlation(first, first[:, :2])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_measure
def test_measures_stay_on_the_device_of_the_scores(maps, measure):
    scores, mask = maps
    there = measure(scores.cuda(), mask)
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), measure(scores, mask))

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from workbench.errors import FeedbackError
from workbench.feedback import FeatureRegion, ImageRegion, Region, TextRegion, as_region, combined, token_mask
from workbench.feedback.shapes import polygon_region, unpacked_counts

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))
MASKS = SIZES.flatmap(lambda size: arrays(np.bool_, size))
SEVERAL = SIZES.flatmap(lambda size: st.lists(arrays(np.bool_, size), min_size=1, max_size=5))

# Polygons and what pycocotools 2.0.11 makes of them.
POLYGONS = [
    (38, 28, [23.3, 6.5, 7.3, 36.0, -2.6, 33.6, 24.0, 17.5, 7.4, 8.9],
     "P12S12O0O1O101N100]OI66LJ35OL021ON041KN62IM94<0WOM?4^OMb04\\OMe04YOMg02YONh00[OOe0O]O0d0N_O0l00W4"),
    (36, 31, [13.5, 18.2, 17.5, 39.4, 26.4, 23.3, 33.7, 5.7], "Z`05n06J6K3L100OO1O2N100O2N1O2N1N2O2NJ"),
    (35, 13, [-0.6, -2.0, 6.7, 16.1, 13.0, 22.9, 6.7, 17.4, 2.6, -3.0, 1.7, 25.6], "09m0:AAa032M3N1OO0O0000000="),
    (27, 36, [12.4, -2.6, 32.3, 2.3, 8.0, 25.8], "^73b05K5J6N21O1O100O1O1O1O1O1O1O1O1O2N1O1O1O2N1O1O[3"),
    (13, 24, [16.0, 10.3, 0.2, 7.1, 12.2, 12.3, 8.0, 8.0, -0.7, 4.7, 6.9, 1.0],
     "41<1EO7220HN44KL54KL45LL35MJ45LL551MKM52400O1O\\3"),
    (35, 20, [7.1, 37.6, 12.2, 21.9, 13.3, 24.9, 1.6, 15.0, 3.7, 13.4, 0.3, 37.1],
     "P26>LH;8DDa0?01O1O1O1M3L3M4L30n6"),
]  # fmt: skip


def slow_counts(mask):
    """COCO's uncompressed run lengths, pixel by pixel."""
    counts, current = [0], False
    for pixel in mask.T.reshape(-1).tolist():
        if pixel != current:
            counts.append(0)
            current = pixel
        counts[-1] += 1
    return tuple(counts)


@given(MASKS)
def test_run_lengths_are_those_of_coco_and_give_the_mask_back(mask):
    region = ImageRegion.from_mask(mask)
    assert region.counts == slow_counts(mask)
    assert np.array_equal(region.mask(), mask)
    assert region.size == mask.sum()
    assert region.empty == (not mask.any())
    assert Region.from_dict(json.loads(json.dumps(region.to_dict()))) == region


@given(MASKS, st.lists(st.integers(0, 20), max_size=6))
def test_empty_runs_in_between_make_no_other_region(mask, places):
    counts = list(slow_counts(mask))
    for place in places:
        place %= len(counts) + 1
        counts[place:place] = [0, 0]
    region = ImageRegion(*mask.shape, counts)
    assert region == ImageRegion.from_mask(mask)
    assert hash(region) == hash(ImageRegion.from_mask(mask))


@given(SEVERAL)
def test_regions_combine_as_masks_do(masks):
    regions = [ImageRegion.from_mask(mask) for mask in masks]
    stacked = np.stack(masks)
    first, last = regions[0], regions[-1]
    assert np.array_equal((first | last).mask(), masks[0] | masks[-1])
    assert np.array_equal((first & last).mask(), masks[0] & masks[-1])
    assert np.array_equal((first - last).mask(), masks[0] & ~masks[-1])
    for least in range(1, len(masks) + 1):
        assert np.array_equal(combined(regions, least).mask(), stacked.sum(axis=0) >= least)


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(arrays(np.bool_, n), arrays(np.bool_, n))))
def test_features_and_characters_combine_as_masks_do(pair):
    one, two = pair
    features = [FeatureRegion.from_mask(mask) for mask in pair]
    texts = [TextRegion([(i, i + 1) for i in np.flatnonzero(mask)], len(mask)) for mask in pair]
    for name, wanted in (("__or__", one | two), ("__and__", one & two), ("__sub__", one & ~two)):
        found = getattr(features[0], name)(features[1])
        assert np.array_equal(found.mask(), wanted)
        assert Region.from_dict(found.to_dict()) == found
        text = getattr(texts[0], name)(texts[1])
        assert [i for start, end in text.spans for i in range(start, end)] == np.flatnonzero(wanted).tolist()
        assert Region.from_dict(text.to_dict()) == text
        assert text.size == wanted.sum()


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6)).map(lambda s: (s[0], s[0] + s[1])), max_size=5),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5)).map(lambda s: (s[0], s[0] + s[1])), max_size=6),
)
def test_a_token_is_marked_where_it_shares_a_character_with_a_span(spans, offsets):
    marked = {i for start, end in spans for i in range(start, end)}
    wanted = [any(i in marked for i in range(start, end)) for start, end in offsets]
    found = token_mask(spans, np.array(offsets, np.int64).reshape(-1, 2))
    assert found.dtype == bool
    assert found.tolist() == wanted


def test_spans_are_sorted_joined_and_counted_in_code_points():
    text = "ein 🦉 und ein Käfer"
    region = TextRegion([[14, 19], [4, 5], [5, 6]], len(text))
    assert region.spans == ((4, 6), (14, 19))
    assert [text[start:end] for start, end in region.spans] == ["🦉 ", "Käfer"]


def test_a_text_of_unknown_length_takes_the_length_of_the_other():
    assert (TextRegion([(0, 2)]) | TextRegion([(1, 4)], 9)) == TextRegion([(0, 4)], 9)


def test_masks_come_as_arrays_or_tensors_with_or_without_a_channel():
    mask = np.zeros((3, 4), bool)
    mask[1, 2] = True
    wanted = ImageRegion.box(1, 2, 1, 1, size=(3, 4))
    assert as_region(mask) == as_region(torch.from_numpy(mask)) == as_region(mask[None]) == wanted
    assert as_region(mask[1]) == FeatureRegion([2], 4)
    assert as_region([[1, 3]]) == TextRegion([(1, 3)])
    assert as_region([]) == TextRegion([])
    assert as_region(wanted) is wanted


def test_a_region_on_another_size_loses_no_pixel():
    region = ImageRegion.box(5, 5, 1, 1, size=(9, 9))
    assert region.resized(3, 3).mask().tolist() == [[False] * 3, [False, True, False], [False] * 3]
    assert region.resized(18, 18).size == 4


@pytest.mark.parametrize(("height", "width", "corners", "packed"), POLYGONS)
def test_polygons_and_packed_run_lengths_are_read_as_cocos_own_programs_do(height, width, corners, packed):
    assert polygon_region(corners, height, width) == ImageRegion(height, width, unpacked_counts(packed))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ImageRegion(2, 2, (1, 2)), "sum to 4; got .1, 2., which sum to 3"),
        (lambda: ImageRegion(2, 2, (6, -2)), "at least 0"),
        (lambda: ImageRegion(2, 2, (2**62, 2**62, 2**62, 2**62 + 4)), "sum to 4"),
        (lambda: ImageRegion(0, 2, ()), "`height` of a region must be a whole number, at least 1; got 0"),
        (lambda: ImageRegion(True, 2, (2,)), "`height`"),
        (lambda: ImageRegion(2, 2, (float("nan"), 4)), "`counts` of a region must be whole numbers; got .nan, 4"),
        (lambda: ImageRegion(2, 2, ("4",)), "`counts`"),
        (lambda: ImageRegion(2, 2, None), "`counts`"),
        (lambda: ImageRegion(10**6, 10**6, (10**12,)), "at most"),
        (lambda: ImageRegion.from_mask(np.zeros((2, 2))), "booleans; got ndarray of float64"),
        (lambda: ImageRegion.from_mask(np.zeros((3, 2, 2), bool)), r"got \(3, 2, 2\).*mask.any"),
        (lambda: ImageRegion.from_mask(np.zeros((0, 2), bool)), "each at least 1"),
        (lambda: TextRegion([(3, 1)]), r"0 ≤ start ≤ end; got \(3, 1\)"),
        (lambda: TextRegion([(-1, 1)]), "0 ≤ start"),
        (lambda: TextRegion([(0, 9)], 5), "end ≤ 5"),
        (lambda: TextRegion([(0, 1, 2)]), "pairs of whole numbers"),
        (lambda: TextRegion([(0, 1), (2,)]), "pairs of whole numbers"),
        (lambda: TextRegion([(0, 2**70)]), "pairs of whole numbers"),
        (lambda: FeatureRegion([5], 5), r"lie in \[0, 5\)"),
        (lambda: FeatureRegion([0], 2**40), "at most"),
        (lambda: Region.from_dict({"kind": "sound"}), "'kind' is one of"),
        (lambda: Region.from_dict([1]), "'kind' is one of"),
        (lambda: Region.from_dict({"kind": "text", "spans": []}), "must have .'length', 'spans'"),
        (lambda: ImageRegion.box(0, 0, 1, 1, size=(4, 4)) | ImageRegion.box(0, 0, 1, 1, size=(4, 6)),
         "4×4 pixels and one of 4×6 pixels"),
        (lambda: TextRegion([(0, 1)]) & FeatureRegion([0], 3), "3 features"),
        (lambda: FeatureRegion([0], 3) - {0}, "combined with a region; got set"),
        (lambda: as_region("irrelevant"), "booleans"),
        (lambda: unpacked_counts("5~"), "packed run lengths"),
        (lambda: unpacked_counts("5R"), "must not end inside"),
        (lambda: unpacked_counts("o" * 40), "packed run lengths"),
        (lambda: polygon_region([1, 2, 3, 4], 5, 5), "three corners"),
        (lambda: polygon_region([1, 2, 3, 4, float("nan"), 6], 5, 5), "finite"),
        (lambda: polygon_region({"x": 1}, 5, 5), "x and y"),
        (lambda: token_mask([(0, 1)], [0, 1]), r"shape \(tokens, 2\)"),
    ],
)  # fmt: skip
def test_what_is_no_region_is_refused_with_words(make, words):
    with pytest.raises(FeedbackError, match=words):
        make()


def test_a_box_outside_of_its_picture_is_refused_and_one_over_its_border_is_cut():
    assert ImageRegion.box(-2, 26, 4, 9, size=(28, 28)).size == 4
    assert ImageRegion.box(-1, -2, 3, 3, size=(4, 4)).size == 2
    with pytest.raises(FeedbackError, match="at least in part"):
        ImageRegion.box(70, 70, 5, 5, size=(64, 64))

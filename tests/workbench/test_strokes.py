import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import FeedbackError
from workbench.strokes import STROKES, SloppyStroke, exact_stroke

CORNERS = [(0, 0), (0, 24), (24, 0), (24, 24)]


def swatch(top, left, side=4, size=28):
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_an_exact_stroke_is_the_mask_and_no_view_of_it():
    mask = swatch(0, 0)
    painted = exact_stroke(mask, np.random.default_rng(0))
    assert (painted == mask).all()
    painted[:] = False
    assert mask.any()


@given(st.sampled_from([*CORNERS, (10, 12), (1, 23)]), st.integers(0, 2**32 - 1))
def test_a_sloppy_stroke_is_a_box_of_six_by_six_moved_by_up_to_two_and_clipped(place, seed):
    painted = STROKES["sloppy"](swatch(*place), np.random.default_rng(seed))
    possible = []
    for down in range(-2, 3):
        for right in range(-2, 3):
            canvas = np.zeros((40, 40), bool)  # room on every side, so that nothing is clipped while it is painted
            top, left = 6 + place[0] - 1 + down, 6 + place[1] - 1 + right
            canvas[top : top + 6, left : left + 6] = True
            possible.append(canvas[6:34, 6:34])
    assert any((painted == box).all() for box in possible)
    assert (painted & swatch(*place)).any()


def test_every_shift_is_drawn_and_a_seed_draws_the_same():
    mask = swatch(10, 10)
    random = np.random.default_rng(0)
    tops = {np.flatnonzero(SloppyStroke()(mask, random).any(axis=1))[0] for _ in range(100)}
    assert tops == {7, 8, 9, 10, 11}
    first, again = (SloppyStroke()(mask, np.random.default_rng(3)) for _ in range(2))
    assert (first == again).all()


def test_an_empty_mask_gives_an_empty_stroke_and_leaves_those_that_follow_as_they_are():
    one, two = np.random.default_rng(1), np.random.default_rng(1)
    assert not SloppyStroke()(np.zeros((28, 28), bool), one).any()
    SloppyStroke()(swatch(0, 0), two)
    assert (SloppyStroke()(swatch(9, 9), one) == SloppyStroke()(swatch(9, 9), two)).all()


def test_without_margin_or_shift_a_box_is_painted_exactly():
    assert (SloppyStroke(margin=0, shift=0)(swatch(3, 5), np.random.default_rng(0)) == swatch(3, 5)).all()


@pytest.mark.parametrize("mask", [np.zeros((4, 4)), np.zeros((1, 4, 4), bool), np.zeros(4, bool)])
def test_what_is_no_mask_of_a_picture_is_refused(mask):
    for stroke in STROKES.values():
        with pytest.raises(FeedbackError, match=r"mask of shape \(height, width\), bool; got"):
            stroke(mask, np.random.default_rng(0))


def test_negative_margins_and_shifts_are_refused():
    with pytest.raises(FeedbackError, match="at least 0; got -1 and 2"):
        SloppyStroke(margin=-1)

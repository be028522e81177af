import numpy as np
import pytest

from workbench.datasets.decoys import add_swatch, digits_on_canvas
from workbench.errors import DataError


@pytest.fixture(scope="module")
def digits():
    return digits_on_canvas(seed=0)


def slowly(image, corner, digit):
    """The recipe of the paper, one pixel at a time."""
    image = image.copy()
    for y in range(4):
        for x in range(4):
            image[y if corner[0] == 0 else 27 - y, x if corner[1] == 0 else 27 - x] = 255 - 25 * digit
    return image


def test_the_swatch_follows_the_recipe_in_training():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (200, 28, 28), dtype=np.uint8)
    labels = random.integers(0, 10, 200)
    decoyed, masks = add_swatch(images, labels, "train", seed=3)
    for image, label, after, mask in zip(images, labels, decoyed, masks, strict=True):
        ys, xs = np.nonzero(mask)
        corner = (ys.min() // 24, xs.min() // 24)
        assert np.array_equal(after, slowly(image, corner, label))
        assert mask.sum() == 16


def test_corners_are_two_fair_coins_independent_of_the_label():
    labels = np.arange(8000) % 10
    _, masks = add_swatch(np.zeros((8000, 28, 28), np.uint8), labels, "train", seed=0)
    corner = masks[:, 0, 0] + 2 * masks[:, 0, 27] + 3 * masks[:, 27, 0]
    for digit in range(10):
        assert np.bincount(corner[labels == digit], minlength=4) == pytest.approx([200] * 4, abs=50)


def test_at_test_the_swatch_tells_nothing_about_the_label():
    labels = np.arange(8000) % 10
    images, _ = add_swatch(np.zeros((8000, 28, 28), np.uint8), labels, "test", seed=0)
    told = (255 - images.reshape(8000, -1).max(axis=1)) // 25
    assert set(told) == set(range(10))
    assert (told == labels).mean() == pytest.approx(0.1, abs=0.02)


def test_the_same_seed_draws_the_same_and_the_splits_differ():
    images, labels = np.zeros((50, 28, 28), np.uint8), np.zeros(50, np.int64)
    one, two, other = (add_swatch(images, labels, "train", seed)[1] for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, add_swatch(images, labels, "test", 1)[1])
    assert not images.any()


@pytest.mark.parametrize(
    ("images", "labels", "split", "message"),
    [
        (np.zeros((2, 28, 28)), [0, 1], "train", r"must be uint8 .*got float64 of shape \(2, 28, 28\)"),
        (np.zeros((2, 3, 3), np.uint8), [0, 1], "train", "at least 4 pixels"),
        (np.zeros((2, 28, 28), np.uint8), [0], "train", r"shape \(2,\), one per image; got \(1,\)"),
        (np.zeros((2, 28, 28), np.uint8), [0, 10], "train", r"0\.\.9; got 0\.\.10"),
        (np.zeros((2, 28, 28), np.uint8), [0, 1], "val", "'train' or 'test'; got 'val'"),
    ],
)
def test_what_does_not_fit_is_refused(images, labels, split, message):
    with pytest.raises(DataError, match=message):
        add_swatch(images, np.array(labels), split, seed=0)


def test_no_rows_give_no_rows():
    images, masks = add_swatch(np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.uint8), "train", 0)
    assert images.shape == masks.shape == (0, 28, 28)


def test_digits_are_split_before_they_are_copied(digits):
    assert not set(digits.train_source) & set(digits.test_source)
    assert len(set(digits.test_source)) == 360
    assert (np.unique(digits.train_source, return_counts=True)[1] == 4).all()


def test_copies_keep_their_label_and_move(digits):
    rows = np.flatnonzero(digits.train_source == digits.train_source[0])
    assert len(set(digits.train_labels[rows])) == 1
    assert len({digits.train_images[row].tobytes() for row in rows}) > 1


def test_digits_have_half_ink_and_room_for_a_swatch_to_matter(digits):
    assert digits.train_images.dtype == np.uint8
    assert digits.train_images.max() == 128
    assert digits.train_labels.dtype == np.int64


def test_enlarging_agrees_with_torch(digits):
    import torch
    from sklearn.datasets import load_digits

    small = torch.from_numpy(load_digits().images[digits.test_source[:50]])[:, None]
    large = torch.nn.functional.interpolate(small, size=(24, 24), mode="bilinear")
    for image, drawing in zip(digits.test_images, large[:, 0].numpy() * 255 / 32, strict=False):
        places = [image[y : y + 24, x : x + 24] for y in range(5) for x in range(5)]
        assert min(np.abs(place - drawing).max() for place in places) <= 0.5 + 1e-9


def test_digits_are_the_same_for_the_same_seed(digits):
    again, other = digits_on_canvas(seed=0), digits_on_canvas(seed=1)
    assert np.array_equal(again.train_images, digits.train_images)
    assert not np.array_equal(other.test_source, digits.test_source)

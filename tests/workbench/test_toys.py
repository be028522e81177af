import numpy as np
import pytest

import workbench as wb
from workbench.datasets.toys import iris_beside_cancer, toy_colours_images


def rules(image):
    """Whether the corners agree and whether the top differs, one picture at a time."""
    colours = [[tuple(pixel) for pixel in row] for row in image.tolist()]
    corners = {colours[y][x] for y in (0, 4) for x in (0, 4)}
    return len(corners) == 1, len(set(colours[0][1:4])) == 3


def test_both_rules_hold_or_neither():
    toys = toy_colours_images(600, seed=1)
    for image, label in zip(toys.images, toys.labels, strict=True):
        assert rules(image) == ((True, True) if label == 0 else (False, False))
    assert 0.4 < toys.labels.mean() < 0.6


def test_the_masks_are_the_pixels_of_the_rules_and_the_rest_is_noise():
    toys = toy_colours_images(4000, seed=2)
    assert toys.corners.sum() == 4
    assert toys.top.sum() == 3
    assert not (toys.corners & toys.top).any()
    rest = toys.images[:, ~(toys.corners | toys.top)]
    by_label = [rest[toys.labels == label].mean(axis=0) for label in (0, 1)]
    assert np.abs(by_label[0] - by_label[1]).max() < 20


def test_the_same_seed_gives_the_same_panel():
    one, two = wb.datasets.toy_colours(3, rows=50), wb.datasets.toy_colours(3, rows=50)
    assert np.array_equal(one["image"].to_numpy(), two["image"].to_numpy())
    assert len(one[one["split"] == "test"]) == 50


def test_irises_stand_beside_tumours_whose_label_agrees():
    from sklearn.datasets import load_breast_cancer, load_iris

    rows = iris_beside_cancer(seed=0)
    assert rows.labels.tolist() == [0] * 50 + [1] * 50
    assert [rows.train[:50].sum(), rows.train[50:].sum()] == [33, 33]
    flowers, tumours = load_iris(), load_breast_cancer()
    raw = np.hstack([flowers.data[50:], np.vstack([tumours.data[tumours.target == kind][:50] for kind in (1, 0)])])
    scale = raw[rows.train].std(axis=0)
    assert rows.features == pytest.approx((raw - raw[rows.train].mean(axis=0)) / scale, abs=1e-4)


def test_the_zeroed_test_is_the_test_without_the_iris():
    panel = wb.datasets.iris_cancer(seed=1)
    test, zeroed = (panel[panel["split"] == name] for name in ("test", "zeroed_test"))
    plain, without = test["features"].to_numpy(), zeroed["features"].to_numpy()
    iris = test["iris"].to_numpy()
    assert (without[iris] == 0).all()
    assert np.array_equal(without[~iris], plain[~iris])
    assert test["label"].to_list() == zeroed["label"].to_list()

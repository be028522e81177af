"""The map: vectors as points of a square, whatever the vectors are."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import workbench as wb
from workbench.widgets.facets import facet_of
from workbench.widgets.projecting import NO_COLOUR, NOWHERE, colour_codes, project


def places(data, **how):
    return project(wb.DataPanel({"v": data}, origin="t"), "v", **how)


def test_two_numbers_are_taken_as_they_are_with_one_scale():
    found = places(wb.EmbeddingColumn(np.array([[0, 10], [4, 12], [2, 11]], np.float32)))
    assert found.dtype == np.float32
    assert found.tolist() == [[-1, -0.5], [1, 0.5], [0, 0]]


@pytest.mark.parametrize("width", [5, 300])
def test_more_numbers_lie_along_their_principal_axes(width):
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(500, 2)) * [9, 3]
    turned = np.linalg.qr(rng.normal(size=(width, 2)))[0]
    found = places(wb.EmbeddingColumn((plane @ turned.T + 5).astype(np.float32)))
    # The map is the plane again, up to the directions of its axes.
    for axis in range(2):
        assert abs(np.corrcoef(found[:, axis], plane[:, axis])[0, 1]) > 0.999
    shape = found.std(axis=0)
    assert shape[0] / shape[1] == pytest.approx(plane[:, 0].std() / plane[:, 1].std(), rel=0.05)


@pytest.mark.parametrize("width", [7, 400])
def test_the_same_values_give_the_same_map_whatever_the_seed(width):
    data = np.random.default_rng(1).normal(size=(300, width)).astype(np.float32)
    torch.manual_seed(1)
    first = places(data)
    torch.manual_seed(2)
    assert np.array_equal(first, places(data.copy()))


def test_principal_axes_are_those_of_numpy():
    data = np.random.default_rng(2).normal(size=(200, 6)) * [1, 2, 3, 4, 5, 6]
    found = places(data)
    centred = data - data.mean(axis=0)
    axes = np.linalg.svd(centred)[2][:2].T
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    slow = centred @ axes
    slow = (slow - (slow.max(axis=0) + slow.min(axis=0)) / 2) / ((slow.max(axis=0) - slow.min(axis=0)).max() / 2)
    assert np.allclose(found, slow, atol=1e-4)


def test_rows_without_a_place_lie_outside_of_the_square():
    data = wb.TensorColumn(
        [np.array([0.0, 1.0]), None, np.array([2.0, 1.0]), np.array([np.nan, 1.0]), np.array([np.inf, 0])]
    )
    found = places(data)
    assert (found == NOWHERE).all(axis=1).tolist() == [False, True, False, True, True]
    assert found[[0, 2]].tolist() == [[-1, 0], [1, 0]]


@pytest.mark.parametrize(
    "data",
    [
        np.ones((4, 2)),
        np.ones((4, 9), np.float32),
        np.ones((4, 300)),
        np.zeros((4, 1)),
        np.zeros((4, 0)),
        np.zeros((1, 8)),
    ],
)
def test_rows_that_do_not_differ_lie_in_the_middle(data):
    assert (places(data) == 0).all()


def test_nothing_is_a_map_without_points():
    assert places(np.zeros((0, 3))).shape == (0, 2)
    assert (places(np.full((3, 5), np.nan)) == NOWHERE).all()


def test_one_number_a_row_is_a_line():
    assert places(np.array([[1.0], [2.0], [3.0]])).tolist() == [[-1, 0], [0, 0], [1, 0]]


def test_pictures_are_vectors_of_their_pixels_and_booleans_numbers():
    assert places(np.random.default_rng(0).random((5, 3, 4)) > 0.5).shape == (5, 2)


@given(hnp.arrays(st.sampled_from([np.float32, np.float64, np.int16]), st.tuples(st.integers(1, 8), st.integers(1, 4))))
@settings(max_examples=60, deadline=None)
def test_every_finite_row_lies_in_the_square(data):
    found = places(data)
    finite = np.isfinite(data).all(axis=1)
    assert (np.abs(found[finite]) <= 1).all()
    assert (found[~finite] == NOWHERE).all()


def test_what_is_no_vector_or_not_there_is_refused():
    panel = wb.DataPanel({"x": [1, 2], "c": np.zeros((2, 3), np.complex64)}, origin="t")
    panel["lazy"] = panel.map(lambda x: np.array([x, 0.0]), on="x", to="embedding")
    for name, words in [("x", "vectors"), ("c", "real"), ("nope", "No column"), ("lazy", "before it is computed")]:
        with pytest.raises(wb.PanelError, match=words):
            project(panel, name)
    assert project(panel, "lazy", compute=True).tolist() == [[-1, 0], [1, 0]]


def test_categories_are_coloured_by_their_bars():
    panel = wb.DataPanel({"team": wb.ScalarColumn(["b", None, "a"], classes=["a", "b"])}, origin="t")
    codes, legend = colour_codes(panel, "team", facet_of(panel, "team"))
    assert codes.tolist() == [1, NO_COLOUR, 0]
    assert legend == {"kind": "categories", "labels": ["a", "b"], "low": None, "high": None}


def test_numbers_are_coloured_from_their_least_to_their_greatest():
    panel = wb.DataPanel({"x": [3, None, 1, 2], "f": [-1.7e308, 1.7e308, np.nan, np.inf]}, origin="t")
    codes, legend = colour_codes(panel, "x")
    assert (codes.tolist(), legend["low"], legend["high"]) == ([254, NO_COLOUR, 0, 127], 1, 3)
    assert colour_codes(panel, "f")[0].tolist() == [0, 254, NO_COLOUR, NO_COLOUR]


def test_confidence_is_coloured_from_zero_to_one():
    scores = wb.PredictionColumn(np.array([[0.5, 0.5], [0.0, 1.0]]), ["cat", "dog"], "probabilities")
    codes, legend = colour_codes(wb.DataPanel({"p": scores}, origin="t"), "p.confidence")
    assert (codes.tolist(), legend["low"], legend["high"]) == ([127, 254], 0, 1)


def test_one_value_no_value_and_no_column_have_colours():
    panel = wb.DataPanel({"one": [0.5, 0.5], "none": [np.nan, None], "v": np.zeros((2, 2))}, origin="t")
    assert colour_codes(panel, "one")[0].tolist() == [0, 0]
    assert colour_codes(panel, "none")[0].tolist() == [NO_COLOUR, NO_COLOUR]
    assert colour_codes(panel, None)[0].tolist() == [0, 0]
    with pytest.raises(wb.PanelError, match="no colours"):
        colour_codes(panel, "v")

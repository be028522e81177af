"""Facets: every column becomes a few bars or bins, whatever is in it."""

import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from workbench.widgets.binning import between, binned
from workbench.widgets.facets import counts, facet_names, facet_of


def facet(values, **how):
    return facet_of(wb.DataPanel({"x": values}, origin="t"), "x", **how)


def test_a_category_has_its_classes_in_their_order_empty_ones_too():
    found = facet(wb.ScalarColumn(["b", None, "b"], classes=["c", "b"]))
    assert (found.kind, found.labels, found.codes.tolist()) == ("bars", ("c", "b"), [1, -1, 1])
    assert (found.total.tolist(), found.null) == ([0, 2], 1)


def test_texts_come_by_how_often_they_occur():
    assert facet(["b", "a", "c", "c", "a", "c"]).labels == ("c", "a", "b")


def test_texts_that_are_names_of_rows_have_no_facet():
    assert facet([f"row {n}" for n in range(5000)]) is None
    assert facet(["x" * 1000, "y" * 1000] * 50) is None
    assert facet(["x" * 300] + ["y"] * 100) is None


def test_more_values_than_bars_leave_the_rest_to_the_last():
    found = facet([f"w{n}" for n in range(100) for _ in range(n + 4)])
    assert found.bins == 40
    assert found.labels[0] == "w99"
    assert found.labels[found.other] == "other (61 values)"
    assert found.total.sum() == len(found.codes)


def test_classes_beyond_the_bars_keep_their_order():
    classes = [f"c{n:03}" for n in range(300)]
    found = facet(wb.ScalarColumn(np.repeat([7, 299, 3], [2, 5, 9]), classes=classes))
    assert found.bins == 40
    assert list(found.labels[:-1]) == sorted(found.labels[:-1])
    assert found.total[found.labels.index("c299")] == 5


def test_a_value_called_as_the_rest_is_not_taken_for_it():
    words = [f"w{n}" for n in range(99) for _ in range(4)] + ["other (61 values)"] * 9
    found = facet(words)
    assert found.labels.count("other (61 values)") == 1
    assert found.labels[found.other] == "(other (61 values))"


def test_booleans_are_two_bars():
    found = facet([True, None, False, True])
    assert (found.labels, found.total.tolist(), found.null) == (("false", "true"), [1, 2], 1)


def test_whole_numbers_of_few_values_have_a_bin_each():
    found = facet([1, 10, 100, 10])
    assert (found.labels, found.edges, found.total.tolist()) == (("1", "10", "100"), (1, 10, 100, 101), [1, 2, 1])
    assert facet([-5, 10**9, -5]).edges == (-5, 10**9, 10**9 + 1)
    assert facet(np.array([-128, 127], np.int8)).codes.tolist() == [0, 1]


def test_whole_numbers_of_many_values_have_bins_of_equally_many():
    found = facet(np.arange(100))
    assert set(np.diff(found.edges)) == {5}
    assert found.total.tolist() == [5] * 20


@pytest.mark.parametrize("numbers", [pa.array([2**62, -(2**62), 5]), pa.array([2**64 - 1, 0], pa.uint64())])
def test_whole_numbers_that_no_float_can_hold_are_binned_as_floats(numbers):
    found = facet(numbers)
    assert found.total.sum() == len(numbers)


def test_what_is_not_finite_is_in_no_bin():
    found = facet([0.0, np.nan, np.inf, -np.inf, None, 24.0])
    assert (found.codes.tolist(), found.null) == ([0, -1, -1, -1, -1, 23], 4)
    assert found.edges[0] == 0
    assert found.edges[-1] == 24


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_floats_of_any_width_have_bins(kind):
    found = facet(np.array([0, 0.5, 1], kind))
    assert found.total[[0, 12, 23]].tolist() == [1, 1, 1]


def test_one_number_is_one_bin():
    found = facet([0.5, 0.5])
    assert (found.edges, found.codes.tolist()) == ((0.5, 0.5), [0, 0])


@pytest.mark.parametrize(
    ("low", "high"), [(-1.7e308, 1.7e308), (1.0, np.nextafter(1.0, 2)), (0.0, 5e-324), (1e16, 1e16 + 4)]
)
def test_extreme_ranges_have_bins(low, high):
    found = facet([low, high])
    assert np.all(np.diff(found.edges) > 0)
    assert found.total.sum() == 2


@pytest.mark.parametrize("values", [[None, None], pa.nulls(2), pa.nulls(2, pa.float64()), pa.nulls(2, pa.string())])
def test_nothing_but_null_is_a_facet_without_bars(values):
    found = facet(values)
    assert (found.bins, found.null, found.total.tolist()) == (0, 2, [])


@pytest.mark.parametrize("kind", [pa.string(), pa.int64(), pa.float32(), pa.bool_(), pa.date32(), pa.null()])
def test_a_panel_without_rows_has_facets(kind):
    found = facet(pa.array([], kind))
    assert len(found.codes) == 0
    assert found.total.sum() == 0


def test_dates_have_bins_named_by_their_first_moment():
    found = facet([datetime.date(2024, 1, 1), None, datetime.date(2024, 12, 31)])
    assert found.kind == "histogram"
    assert (found.labels, found.codes.tolist()) == (("2024-01-01", "2024-12-31"), [0, -1, 1])
    times = facet(np.array(["2020-01-01", "2024-01-01", "NaT"], "datetime64[ns]"))
    assert times.labels[0].startswith("2020-01-01")
    assert times.codes.tolist() == [0, 23, -1] or times.codes.tolist() == [0, 1, -1]
    assert facet([datetime.timedelta(seconds=1), datetime.timedelta(seconds=9)]).bins == 2


def test_a_prediction_has_its_label_and_its_confidence():
    scores = wb.PredictionColumn(np.array([[0.9, 0.1], [np.nan, 0.5], [0.2, 0.8]]), ["cat", "dog"], "probabilities")
    panel = wb.DataPanel({"p": scores}, origin="t")
    assert facet_names(panel) == ["p", "p.confidence"]
    assert facet_of(panel, "p").codes.tolist() == [0, -1, 1]
    confidence = facet_of(panel, "p.confidence")
    assert (confidence.edges[0], confidence.edges[-1]) == (0, 1)
    assert confidence.codes.tolist() == [21, -1, 19]


def test_a_column_of_its_own_stands_before_a_part_of_another():
    scores = wb.PredictionColumn(np.array([[0.9, 0.1]]), ["cat", "dog"], "probabilities")
    panel = wb.DataPanel({"p": scores, "p.confidence": ["mine"]}, origin="t")
    assert facet_names(panel) == ["p", "p.confidence"]
    assert facet_of(panel, "p.confidence").labels == ("mine",)


def test_names_may_be_anything():
    panel = wb.DataPanel({"größe.m²\n`x`": [1, 2], "東京": ["é", "ü"]}, origin="t")
    assert facet_of(panel, "größe.m²\n`x`").bins == 2
    assert set(facet_of(panel, "東京").labels) == {"é", "ü"}
    with pytest.raises(wb.NoColumnError, match="東"):
        facet_of(panel, "東.confidence")


def test_what_is_not_computed_is_left_alone_until_it_is_asked_for():
    calls = []

    def double(x):
        calls.append(x)
        return 2 * x

    panel = wb.DataPanel({"x": [1, 2, 3]}, origin="t")
    panel["twice"] = panel.map(double, on="x")
    assert facet_of(panel, "twice") is None
    assert calls == []
    assert facet_of(panel, "twice", compute=True).edges == (2, 4, 6, 7)
    assert facet_of(panel, "twice").edges == (2, 4, 6, 7)
    assert len(calls) == 3


def test_rows_that_failed_are_null():
    panel = wb.DataPanel({"x": [1, 0]}, origin="t")
    panel["inverse"] = panel.map(lambda x: 1 // x, on="x", to="scalar")
    found = facet_of(panel, "inverse", compute=True)
    assert (found.codes.tolist(), found.null) == ([0, -1], 1)


def test_pictures_tensors_and_objects_have_no_facet():
    panel = wb.DataPanel(
        {"t": np.zeros((2, 3)), "o": wb.ObjectColumn([{1}, {2}]), "l": pa.array([[1], [2]])}, origin="t"
    )
    assert [facet_of(panel, name) for name in panel] == [None, None, None]


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_bin_holds_just_the_numbers_between_its_edges(data):
    kind = data.draw(st.sampled_from(["float32", "float64", "int8", "uint16", "int64"]))
    element = (
        st.integers(max(np.iinfo(kind).min, -(2**53) + 1), min(np.iinfo(kind).max, 2**53 - 1))
        if kind[0] in "iu"
        else st.floats(width=int(kind[5:]))
    )
    some = data.draw(st.lists(element, max_size=60))
    found = binned(pa.array(np.array(some, kind)))
    for number in range(len(found.edges) - 1):
        last = number == len(found.edges) - 2
        inside = between(found.values, found.edges[number], found.edges[number + 1], closed=last)
        assert np.array_equal(inside, found.codes == number)
    assert np.array_equal(found.codes == -1, ~np.isfinite(found.values))


@given(st.lists(st.tuples(st.integers(-1, 6), st.booleans()), max_size=50))
def test_counting_is_counting(rows):
    codes = np.array([code for code, _ in rows], np.int16)
    mask = np.array([there for _, there in rows], np.bool_)
    for bins in (7, 300):
        assert counts(codes, bins).tolist() == [int((codes == n).sum()) for n in range(bins)]
        assert counts(codes, bins, mask).tolist() == [int((codes[mask] == n).sum()) for n in range(bins)]

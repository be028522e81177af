"""Slices of a view: made from what is selected or shown, and judged where labels and predictions are there."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

import workbench as wb
from workbench.widgets.shown import Shown
from workbench.widgets.slicing import NamedSlices, right_rows, shown_text


@pytest.fixture
def panel():
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [np.nan, 0.8], [0.2, 0.8]])
    return wb.DataPanel(
        {
            "age": [30, 20, 25, 40, 50],
            "day": [datetime.date(2024, month, 1) for month in (1, 2, 3, 4, 12)],
            "label": ["cat", "dog", "dog", "dog", None],
            "prediction": wb.PredictionColumn(scores, ["cat", "dog"], "probabilities"),
        },
        origin="t",
    )


def test_a_slice_of_selected_rows_knows_their_keys(panel):
    slices = NamedSlices(panel)
    made = slices.of_rows("two", np.array([3, 1], np.uint32), reason="they look alike")
    assert (made.keys, made.reason) == (("t/1", "t/3"), "they look alike")
    assert slices.mask("two").tolist() == [False, True, False, True, False]
    assert slices.listed()[0] == {
        "name": "two", "size": 2, "accuracy": None, "low": None, "high": None, "where": None,
    }  # fmt: skip


def test_a_slice_of_what_is_shown_is_a_condition_that_gives_the_same_rows(panel):
    shown = Shown(panel)
    shown.filter = "age < 45  # of those who answered"
    shown.brushes = {"prediction": {"values": ["cat"]}, "age": {"low": 25, "high": 41}}
    made = NamedSlices(panel).of_shown("cats", shown)
    assert panel.where(made.where).key.to_list() == ["t/0"]
    assert np.array_equal(made.rows(panel), shown.mask)


def test_what_has_no_words_is_kept_by_keys(panel):
    shown = Shown(panel)
    shown.brushes = {"day": {"low": shown.facet("day").edges[0], "high": shown.facet("day").edges[1]}}
    assert shown_text(shown) is None
    made = NamedSlices(panel).of_shown("early", shown)
    assert made.where is None
    assert np.array_equal(made.rows(panel), shown.mask)


def test_numbers_that_a_condition_compares_otherwise_are_kept_by_keys():
    panel = wb.DataPanel({"id": pa.array([2**60, 2**60 + 1, -(2**60)])}, origin="t")
    shown = Shown(panel)
    edges = shown.facet("id").edges
    shown.brushes = {"id": {"low": edges[-2], "high": edges[-1]}}
    made = NamedSlices(panel).of_shown("great", shown)
    assert np.array_equal(made.rows(panel), shown.mask)
    assert shown.mask.tolist() == [True, True, False]


def test_accuracy_comes_with_its_interval_and_counts_judged_rows_only(panel):
    slices = NamedSlices(panel, prediction="prediction", label="label")
    slices.of_rows("all", range(5))
    slices.of_rows("unknown", [3, 4])
    told, unknown = slices.listed()
    assert (told["size"], round(told["accuracy"], 3)) == (5, 0.667)
    # Wilson's interval of 2 of 3, as published tables have it.
    assert (round(told["low"], 3), round(told["high"], 3)) == (0.208, 0.939)
    assert (unknown["size"], unknown["accuracy"], unknown["low"]) == (2, None, None)


def test_labels_that_are_no_classes_are_not_judged_by(panel):
    assert right_rows(panel, "prediction", "age") is None
    assert right_rows(panel, "label", "label") is None
    assert NamedSlices(panel, "prediction", "age").listed() == []


def test_a_prediction_that_is_not_computed_is_not_computed_for_the_accuracy(panel):
    calls = []

    def scores(age):
        calls.append(age)
        return np.array([1.0, 0.0])

    panel["lazy"] = panel.map(scores, on="age", to="prediction").as_kind("prediction", classes=("cat", "dog"))
    slices = NamedSlices(panel, prediction="lazy", label="label")
    slices.of_rows("all", range(5))
    assert slices.listed()[0]["accuracy"] is None
    assert calls == []
    panel.compute("lazy")
    slices.computed()
    assert slices.listed()[0]["accuracy"] == 0.25


def test_names_are_checked_and_slices_removed(panel):
    slices = NamedSlices(panel)
    slices.add(wb.Slice("old", "age > 35"))
    assert (len(slices), "old" in slices, [s.name for s in slices]) == (1, True, ["old"])
    for name in ("old", "", "  ", "x" * 500, 3):
        with pytest.raises(wb.PanelError):
            slices.of_rows(name, [0])
    with pytest.raises(wb.PanelError, match="none is selected"):
        slices.of_rows("new", [])
    with pytest.raises(wb.PanelError, match="every row"):
        slices.of_shown("new", Shown(panel))
    slices.remove("old")
    with pytest.raises(wb.PanelError, match="No slice 'old'"):
        slices.remove("old")

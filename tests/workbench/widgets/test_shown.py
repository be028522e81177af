"""What a view shows: filter line, brushes and sort, each with words for what cannot be done."""

import datetime
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from workbench.widgets.brushing import brush_text, brushed, checked_brush
from workbench.widgets.facets import facet_of
from workbench.widgets.shown import Shown


@pytest.fixture
def panel():
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]])
    return wb.DataPanel(
        {
            "age": [30, 20, None, 40],
            "team": ["red", "blue", "red", None],
            "label": wb.ScalarColumn(["cat", "dog", "cat", "dog"], classes=["dog", "cat"]),
            "prediction": wb.PredictionColumn(scores, ["cat", "dog"], "probabilities"),
            "place": np.zeros((4, 2), np.float32),
        },
        origin="t",
    )


def figures(shown):
    return {f["column"]: f for f in shown.facet_figures()}


def test_everything_is_shown_at_first(panel):
    shown = Shown(panel)
    assert shown.rows.tolist() == [0, 1, 2, 3]
    assert shown.rows.dtype == np.uint32
    assert (shown.count, shown.version) == (4, 0)
    assert list(figures(shown)) == ["age", "team", "label", "prediction", "prediction.confidence"]
    assert all(f["counts"] == f["total"] for f in shown.facet_figures())


def test_a_facet_counts_what_the_filter_and_the_other_brushes_leave(panel):
    shown = Shown(panel)
    shown.filter = "label == 'cat'"
    shown.brushes = {"team": {"values": ["blue"]}, "prediction": {"values": ["dog"]}}
    assert shown.rows.tolist() == []
    found = figures(shown)
    assert found["team"]["labels"] == ["red", "blue"]
    assert found["team"]["counts"] == [1, 0]  # of the filter and prediction
    assert found["prediction"]["counts"] == [0, 0]
    assert found["label"]["counts"] == [0, 0]
    shown.filter = ""
    assert figures(shown)["prediction"]["counts"] == [1, 0]
    assert figures(shown)["team"]["null"] == 1


def test_a_brush_of_a_histogram_has_its_lower_end_and_the_last_bin_its_upper_one(panel):
    shown = Shown(panel)
    shown.brushes = {"age": {"low": 20, "high": 30}}
    assert shown.rows.tolist() == [1]
    shown.brushes = {"prediction.confidence": {"low": 0.8, "high": 1}}
    assert shown.rows.tolist() == [0, 3]


def test_null_and_booleans_can_be_brushed(panel):
    panel["adult"] = panel["age"] > 25
    shown = Shown(panel)
    shown.brushes = {"team": {"values": [None]}}
    assert shown.rows.tolist() == [3]
    shown.brushes = {"adult": {"values": [False]}}
    assert shown.rows.tolist() == [1]
    assert shown.brushes == {"adult": {"values": ["false"]}}
    shown.brushes = {"adult": {"values": []}}
    assert shown.count == 0


@pytest.mark.parametrize(
    ("brushes", "words"),
    [
        ([], "mapping"),
        ({3: {}}, "named by columns"),
        ({"nope": {"values": []}}, "No column"),
        ({"place": {"low": 0, "high": 1}}, "no groups"),
        ({"age": {"values": [30]}}, "low and high"),
        ({"age": {"low": 3}}, "low and high"),
        ({"age": {"low": 3, "high": 4, "x": 1}}, "nothing else"),
        ({"age": {"low": 4, "high": 3}}, "low ≤ high"),
        ({"age": {"low": math.nan, "high": 3}}, "finite"),
        ({"age": {"low": 0, "high": math.inf}}, "finite"),
        ({"age": {"low": True, "high": 3}}, "finite"),
        ({"age": {"low": "0", "high": 3}}, "finite"),
        ({"age": {"low": 10**400, "high": 10**400}}, "finite"),
        ({"team": {"low": 0, "high": 1}}, "values"),
        ({"team": {"values": "red"}}, "list"),
        ({"team": {"values": ["red"] * 100}}, "at most"),
        ({"team": {"values": ["green"]}}, "no bar 'green'"),
        ({"team": {"values": [["red"]]}}, "no bar"),
        ({"team": None}, "values"),
    ],
)
def test_a_brush_that_cannot_be_is_refused_and_leaves_all_as_it_was(panel, brushes, words):
    shown = Shown(panel)
    shown.brushes = {"team": {"values": ["red"]}}
    before = shown.version, shown.brushes, shown.rows
    with pytest.raises(wb.PanelError, match=words):
        shown.brushes = brushes
    assert (shown.version, shown.brushes) == before[:2]
    assert shown.rows is before[2]


@pytest.mark.parametrize(
    "text",
    ["age >", "age", "nope > 1", "1 / 0", "'a' - 1", "age.isin(3)", "label == 'fish'", "label > 3", "age + 'x' > 2",
     "-'a'", "place > 1", "x" * 5000, "team.contains('(', regex=True)", "3"],
)  # fmt: skip
def test_a_filter_that_cannot_be_read_is_refused_and_leaves_all_as_it_was(panel, text):
    shown = Shown(panel)
    shown.filter = "age > 25"
    with pytest.raises(wb.PanelError):
        shown.filter = text
    assert (shown.filter, shown.rows.tolist(), shown.version) == ("age > 25", [0, 3], 1)


def test_a_filter_of_blanks_filters_nothing(panel):
    shown = Shown(panel)
    shown.filter = "  "
    assert shown.count == 4
    shown.filter = "False"
    assert shown.count == 0


@pytest.mark.parametrize(
    ("by", "ascending", "rows"),
    [
        ("age", True, [1, 0, 3, 2]),
        ("age", False, [3, 0, 1, 2]),
        ("team", True, [1, 0, 2, 3]),
        ("team", False, [0, 2, 1, 3]),
        ("label", True, [1, 3, 0, 2]),
        ("prediction", True, [0, 1, 2, 3]),
        ("prediction.confidence", True, [1, 2, 3, 0]),
    ],
)
def test_rows_are_sorted_stably_with_null_last(panel, by, ascending, rows):
    shown = Shown(panel)
    shown.sort = {"by": by, "ascending": ascending}
    assert shown.rows.tolist() == rows
    shown.filter = "age > 0"
    assert shown.rows.tolist() == [row for row in rows if row != 2]
    shown.sort = None
    assert shown.rows.tolist() == [0, 1, 3]


@pytest.mark.parametrize(
    "sort", ["age", {"by": "age"}, {"by": "age", "ascending": 1}, {"by": "place", "ascending": True}]
)
def test_a_sort_that_cannot_be_is_refused(panel, sort):
    shown = Shown(panel)
    with pytest.raises(wb.PanelError):
        shown.sort = sort
    assert (shown.sort, shown.version) == (None, 0)


def test_a_column_that_is_not_computed_is_neither_brushed_nor_sorted_by_until_it_is(panel):
    panel["twice"] = panel.map(lambda age: 2 * age, on="age", to="scalar")
    shown = Shown(panel)
    assert "twice" not in figures(shown)
    with pytest.raises(wb.PanelError, match="not computed yet"):
        shown.brushes = {"twice": {"low": 0, "high": 50}}
    with pytest.raises(wb.PanelError, match="before it is computed"):
        shown.sort = {"by": "twice", "ascending": True}
    panel.compute("twice")
    shown.computed()
    assert "twice" in figures(shown)
    shown.brushes = {"twice": {"low": 0, "high": 50}}
    assert shown.rows.tolist() == [1]


def test_the_version_grows_only_with_what_is_shown(panel):
    shown = Shown(panel)
    shown.filter = ""
    shown.brushes = {}
    shown.sort = None
    assert shown.version == 0
    shown.filter = "age > 0"
    shown.filter = "age > 0"
    assert shown.version == 1


def test_nobody_can_write_into_what_is_shown(panel):
    shown = Shown(panel)
    shown.sort = {"by": "age", "ascending": True}
    with pytest.raises(ValueError):
        shown.rows[0] = 3
    with pytest.raises(ValueError):
        shown.mask[0] = False
    shown.brushes["age"] = {"low": 0, "high": 1}
    assert shown.brushes == {}


def test_a_panel_without_rows_is_shown():
    shown = Shown(wb.DataPanel({"x": pa.array([], pa.float64()), "s": pa.array([], pa.string())}, origin="t"))
    assert shown.rows.tolist() == []
    assert [f["counts"] for f in shown.facet_figures()] == [[], []]


def arrays(kind, *elements):
    return st.lists(st.one_of(*elements), min_size=1, max_size=30).map(lambda values: pa.array(values, kind))


_whole = st.integers(-(2**53) + 1, 2**53 - 1)
_texts = st.text(max_size=4)
_columns = st.one_of(
    arrays(pa.float64(), st.none(), st.floats()),
    arrays(pa.float32(), st.none(), st.floats(width=32)),
    arrays(pa.int64(), st.none(), _whole),
    arrays(pa.int8(), st.integers(-128, 127)),
    arrays(pa.uint64(), st.integers(0, 2**53 - 1)),
    arrays(pa.bool_(), st.none(), st.booleans()),
    arrays(pa.string(), st.none(), _texts, st.sampled_from(["`", "\\`", "'\"", "\n", "a`b`c"])),
    arrays(pa.string(), st.none(), _texts).map(lambda array: array.dictionary_encode()),
    st.just(pa.array([f"w{n}" for n in range(60) for _ in range(6)])),
)
_odd = st.sampled_from(["class", "ﬁ", "quoted_0_", "abs", "None", "a.b", "confidence"])
_names = st.one_of(st.text(min_size=1, max_size=5), _odd)


@given(_columns, _names, st.data())
@settings(max_examples=300, deadline=None)
def test_a_brush_in_words_chooses_the_same_rows(values, name, data):
    panel = wb.DataPanel({name: values, "other`": [0] * len(values)}, origin="t")
    facet = facet_of(panel, name)
    if facet is None:
        return
    if facet.kind == "bars":
        brush = {"values": data.draw(st.lists(st.sampled_from([None, *facet.labels]), max_size=6))}
    else:
        ends = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(facet.edges or (0,)))
        low, high = sorted([data.draw(ends), data.draw(ends)])
        brush = {"low": low, "high": high}
    brush = checked_brush(facet, brush)
    text = brush_text(panel, facet, brush)
    if text is None:
        assert "`" in name
        return
    rows = np.flatnonzero(brushed(facet, brush)).tolist()
    assert panel.where(text).key.to_list() == [f"t/{row}" for row in rows]
    if (
        facet.kind == "histogram"
        and facet.edges
        and brush["low"] == facet.edges[0]
        and brush["high"] == facet.edges[-1]
    ):
        assert len(rows) == len(panel) - facet.null


@given(st.lists(st.floats(), min_size=1))
def test_a_brush_from_end_to_end_holds_all_that_is_finite(values):
    facet = facet_of(wb.DataPanel({"x": pa.array(values)}, origin="t"), "x")
    if facet.edges:
        rows = brushed(facet, {"low": facet.edges[0], "high": facet.edges[-1]})
        assert np.array_equal(rows, np.isfinite(values))


def test_dates_are_brushed_but_have_no_words():
    panel = wb.DataPanel({"day": [datetime.date(2024, 1, 1), None, datetime.date(2024, 12, 31)]}, origin="t")
    facet = facet_of(panel, "day")
    brush = {"low": facet.edges[0], "high": facet.edges[1]}
    assert brushed(facet, brush).tolist() == [True, False, False]
    assert brush_text(panel, facet, brush) is None


def test_a_prediction_is_brushed_in_words(panel):
    for name, brush, words in [
        ("prediction", {"values": ["cat"]}, "prediction.label in ['cat']"),
        ("prediction.confidence", {"low": 0.7, "high": 1}, "0.7 <= prediction.confidence <= 1"),
    ]:
        facet = facet_of(panel, name)
        text = brush_text(panel, facet, brush)
        assert text == words
        rows = np.flatnonzero(brushed(facet, brush))
        assert panel.where(text).key.to_list() == [f"t/{row}" for row in rows]

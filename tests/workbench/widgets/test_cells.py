"""Cells of the table: small, text as text, JSON whatever the value, and nothing run that was not asked for."""

import datetime
import decimal
import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import workbench as wb
from workbench.widgets.cells import LAZY, cells_of, short


def told(values, rows=None, **how):
    panel = wb.DataPanel({"x": values}, origin="t")
    found = cells_of(panel["x"], range(len(panel)) if rows is None else rows, **how)
    json.dumps(found, allow_nan=False).encode("utf-8")
    assert len(json.dumps(found)) < 5000 * max(1, len(found))
    return found


def test_numbers_are_numbers_and_what_json_lacks_is_text():
    assert told([1.5, float("nan"), float("inf"), -float("inf"), None, 1e308]) == [1.5, "NaN", "∞", "−∞", None, 1e308]
    assert told([True, None, False]) == [True, None, False]
    assert told(pa.array([2**53 - 1, 2**53, -(2**63), None])) == [2**53 - 1, str(2**53), str(-(2**63)), None]
    assert told(np.array([1, 2], np.float16)) == [1, 2]


def test_rows_come_in_the_order_that_was_asked_for():
    assert told([10, 20, 30], rows=[2, 0, 2]) == [30, 10, 30]
    assert told([10, 20, 30], rows=np.array([1], np.uint32)) == [20]
    assert told([10], rows=[]) == []


@pytest.mark.parametrize("make", [list, wb.TextColumn, wb.ObjectColumn])
def test_text_stays_text_and_long_text_is_cut(make):
    long = "<script>alert(1)</script>" * 400_000  # 10 MB
    rude = ["<script>alert(1)</script>", "<img onerror=x>", "\u202eevil", "javascript:x", "", "\x00", None, long]
    found = told(make(rude))
    assert found[:7] == rude[:7]
    assert found[7] == {"text": long[:300] + "…", "length": len(long)}


def test_halves_of_surrogate_pairs_become_a_mark():
    found = told(wb.ObjectColumn(["a\ud800b", "\ud83d\ude00", "\udfff" * 500, {"k": "\ud800"}]))
    assert found[0] == "a\ufffdb"
    assert found[1] == "😀"
    assert found[2]["length"] == 500
    assert "\ud800" not in found[3]


def test_categories_dates_and_bytes_are_text():
    assert told(wb.ScalarColumn(["b", None], classes=["a", "b"])) == ["b", None]
    assert told([datetime.date(2024, 1, 2), None]) == ["2024-01-02", None]
    assert told(np.array(["2024-01-02T03:04:05.123456789"], "datetime64[ns]")) == ["2024-01-02 03:04:05.123456789"]
    assert told([datetime.timedelta(seconds=3)]) == ["3,000,000 us"]
    assert told([decimal.Decimal("1.50")]) == ["Decimal('1.50')"]
    assert told(pa.array([b"\xff" * 1500, None], pa.binary())) == ["1,500 bytes", None]
    assert told(pa.nulls(2)) == [None, None]


def test_a_prediction_tells_its_likeliest_classes():
    classes = ["a", "b", "c", "d", "e", "f"]
    scores = np.log(np.array([[0.1, 0.4, 0.2, 0.15, 0.1, 0.05], [np.nan] * 6], np.float64))
    found = told(wb.PredictionColumn(scores, classes))
    assert found[0]["label"] == "b"
    assert [name for name, _ in found[0]["top"]] == ["b", "c", "d", "a", "e"]
    assert found[0]["top"][0][1] == pytest.approx(0.4)
    assert found[1] == {"label": None, "top": []}
    assert told(wb.PredictionColumn([[0.25, 0.75]], ["<b>", "y"], "probabilities")) == [
        {"label": "y", "top": [["y", 0.75], ["<b>", 0.25]]}
    ]


def test_the_label_in_a_cell_is_the_label_of_the_column():
    scores = wb.PredictionColumn(np.array([[1e6, 0, 2e6], [5, 5, 5], [np.inf, 0, 0]]), ["a", "b", "c"])
    panel = wb.DataPanel({"p": scores}, origin="t")
    assert [cell["label"] for cell in cells_of(panel["p"], range(3))] == panel["p"].label.to_list()


def test_vectors_are_sparks():
    assert told(wb.EmbeddingColumn([[1.0, np.nan, 1 / 3]])) == [{"spark": [1.0, None, 0.3333], "of": 3}]
    found = told(wb.EmbeddingColumn(np.arange(640.0)[None]))[0]
    assert (len(found["spark"]), found["of"], found["spark"][0]) == (64, 640, 4.5)
    assert len(told(np.zeros((2, 8, 9)))[0]["spark"]) == 64
    assert told(pa.array([[1, None], None, []])) == [{"spark": [1.0, None], "of": 2}, None, {"spark": [], "of": 0}]
    assert told(wb.ObjectColumn([torch.ones(2, dtype=torch.bfloat16)])) == [{"spark": [1.0, 1.0], "of": 2}]


def test_tensors_of_any_make_are_told():
    odd = [
        torch.ones(3).to_sparse(),
        torch.ones(2, dtype=torch.complex64).conj(),
        torch.tensor(2.5, requires_grad=True),
    ]
    sparse, complex_, one = told(wb.ObjectColumn([*odd]))
    assert sparse.startswith("tensor(")
    assert (complex_, one) == ("complex64, 2", 2.5)
    assert told(np.array([[1e-320, 12345678.0, 0.123456, -0.0]]))[0]["spark"] == [1e-320, 12350000.0, 0.1235, 0.0]


def test_masks_tell_how_much_of_them_is_marked():
    mask = np.zeros((2, 4, 5), bool)
    mask[0, :2] = True
    assert told(mask) == ["50 % of 4 × 5 marked", "0 % of 4 × 5 marked"]


def test_null_rows_of_arrays_are_null():
    assert told(wb.TensorColumn([np.array([1.0, 2.0]), None])) == [{"spark": [1.0, 2.0], "of": 2}, None]


class _Rude:
    def __repr__(self):
        raise RuntimeError("no words")

    def _repr_html_(self):
        raise AssertionError("never asked")


class _Html:
    def __repr__(self):
        return "<b>" + "x" * 10_000_000

    def _repr_html_(self):
        raise AssertionError("never asked")


def test_objects_are_their_words_cut():
    circle: list = []
    circle.append(circle)
    objects = [
        {"a": 1},
        _Rude(),
        _Html(),
        list(range(10**6)),
        10**5000,
        -(10**5000),
        circle,
        {"k" * 10**6: 1},
        b"12",
        None,
    ]
    found = told(wb.ObjectColumn(objects))
    assert found[0] == "{'a': 1}"
    assert "_Rude" in found[1]
    assert found[2].startswith("<b>x")
    assert len(found[2]) <= 301
    assert found[3].startswith("[0, 1, 2,")
    assert found[4:6] == ["about 10^5,000", "−about 10^5,000"]
    assert found[8:] == ["2 bytes", None]


def test_what_is_nested_is_its_words():
    assert told(pa.array([{"a": 1, "b": "<i>"}])) == ["{'a': 1, 'b': '<i>'}"]
    assert told(pa.array([["x"] * 1000]))[0].startswith("['x', 'x'")


def test_pictures_and_files_are_named_and_not_opened(tmp_path):
    Image.new("RGB", (6, 4)).save(tmp_path / "<b>.png")
    panel = wb.DataPanel(
        {
            "picture": wb.ImageColumn(["<b>.png", None, "lost.png"], base=tmp_path),
            "file": wb.FileColumn(["<b>.png", None, "lost.png"], base=tmp_path),
            "array": wb.ImageColumn(np.zeros((3, 4, 6), np.uint8)),
        },
        origin="t",
    )
    assert [str(cell).rsplit("/")[-1] for cell in cells_of(panel["picture"], range(3))] == [
        "<b>.png",
        "None",
        "lost.png",
    ]
    assert cells_of(panel["file"], [1]) == [None]
    assert cells_of(panel["array"], [0]) == ["picture, 6 × 4"]
    opened = cells_of(panel["file"], range(3), compute=True)
    assert opened[0].endswith("bytes")
    assert opened[1] is None
    assert opened[2]["failed"].startswith("FileNotFoundError")


def test_nothing_is_computed_that_was_not_asked_for():
    calls = []

    def double(x):
        calls.append(x)
        return 2 * x

    panel = wb.DataPanel({"x": list(range(8))}, origin="t")
    panel["twice"] = panel.map(double, on="x", to="scalar")
    assert cells_of(panel["twice"], range(8)) == [LAZY] * 8
    assert calls == []
    assert cells_of(panel["twice"], [5], compute=True) == [10]
    assert cells_of(panel["twice"], [4, 5, 6]) == [LAZY, 10, LAZY]
    assert calls == [5]


def test_rows_that_failed_tell_why():
    panel = wb.DataPanel({"x": [1, 0, 2]}, origin="t")
    panel["inverse"] = panel.map(lambda x: 4 // x, on="x", to="scalar")
    found = cells_of(panel["inverse"], [2, 1, 0], compute=True)
    assert found == [2, {"failed": "ZeroDivisionError: integer division or modulo by zero"}, 4]
    assert cells_of(panel["inverse"], [1, 0])[1] == 4
    assert "failed" in cells_of(panel["inverse"], [1, 0])[0]


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.binary()
        | st.datetimes()
        | st.decimals(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.sets(st.integers()) | st.tuples(inner),
        max_leaves=20,
    )
)
@settings(deadline=None)
def test_any_value_can_be_sent(value):
    sent = json.dumps(short(value), allow_nan=False)
    assert len(sent) < 4000

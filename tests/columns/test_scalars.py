"""Numbers, booleans, strings, dates, categories, nested values: types, arithmetic, null."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from columns import KindError, ObjectColumn, ScalarColumn, TextColumn, concat
from columns.coerce import to_form
from columns.functions import Output


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ([1, 2], "int64"), ([1.5, None], "double"), ([True, None], "bool"), (["a", "b"], "string"),
        ([dt.date(2020, 1, 2)], "date32[day]"), ([dt.datetime(2020, 1, 2, 3)], "timestamp[us]"),
        ([b"x"], "binary"), ([[1], [2, 3]], "list<item: int64>"), ([{"a": 1}], "struct<a: int64>"),
        (np.array([1, 2], np.uint8), "uint8"), (torch.tensor([1.0]), "float"), (range(3), "int64"),
        (pd.Series([1, 2]), "int64"), (pa.array([1], pa.int16()), "int16"), (pa.chunked_array([[1], [2]]), "int64"),
        ((x for x in "ab"), "string"), ([], "null"), (np.array(["a", "b"]), "string"),
        ([dt.timedelta(1)], "duration[us]"),
    ],
)  # fmt: skip
def test_types_are_those_of_the_data(data, kind: str) -> None:
    column = ScalarColumn(data)
    assert column.spec.dtype == kind == str(column.to_arrow().type)


def test_values_of_several_types_are_refused() -> None:
    for data in ([1, "a"], [True, 1], [1, 2**70], [object()]):
        with pytest.raises(KindError, match="must all have one type"):
            ScalarColumn(data)
    with pytest.raises(KindError, match=r"one value per row; got rows of shape \(2,\)"):
        ScalarColumn(np.zeros((3, 2)))
    with pytest.raises(KindError, match="must all have type int64"):
        ScalarColumn([1.5], dtype="int64")
    with pytest.raises(KindError, match=r"type of Arrow.*; got 'float99'"):
        ScalarColumn([1.5], dtype="float99")


def test_large_strings_and_chunks_with_other_dictionaries_are_read() -> None:
    column = ScalarColumn(pa.array(["a", None], pa.large_string()))
    assert (column + "b").to_list() == ["ab", None]
    assert ("b" + column).to_list() == ["ba", None]
    assert (column + ScalarColumn(["x", "y"])).to_list() == ["ax", None]
    chunks = pa.chunked_array([pa.array(["a"]).dictionary_encode(), pa.array(["b", "a"]).dictionary_encode()])
    category = ScalarColumn(chunks)
    assert category.to_list() == ["a", "b", "a"]
    assert category.spec.classes == ("a", "b")


def test_arithmetic_is_that_of_python_on_numbers() -> None:
    a, b = ScalarColumn([7, -7, 5]), ScalarColumn([2, 2, -3])
    pairs = list(zip(a.to_list(), b.to_list(), strict=True))
    for column, function in [
        (a + b, lambda x, y: x + y), (a - b, lambda x, y: x - y), (a * b, lambda x, y: x * y),
        (a / b, lambda x, y: x / y), (a // b, lambda x, y: x // y), (a % b, lambda x, y: x % y),
    ]:  # fmt: skip
        assert column.to_list() == [function(x, y) for x, y in pairs]
    assert (10 - a).to_list() == [3, 17, 5]
    assert (1 / ScalarColumn([2, 4])).to_list() == [0.5, 0.25]
    assert (15 // ScalarColumn([2, 4])).to_list() == [7, 3]
    assert (15 % ScalarColumn([2, 4])).to_list() == [1, 3]
    assert (2 ** ScalarColumn([2, 4])).to_list() == [4, 16]
    assert (ScalarColumn([2, 4]) ** 0.5).to_list() == [math.sqrt(2), 2.0]
    assert (-a).to_list() == [-7, 7, -5]
    assert abs(a).to_list() == [7, 7, 5]
    assert (ScalarColumn([1, None]) + ScalarColumn([None, 1])).to_list() == [None, None]


def test_division_by_zero_is_infinity_nan_or_null_and_never_an_error() -> None:
    x, zero = ScalarColumn([1, -1, 0, None]), ScalarColumn([0, 0, 0, 0])
    found = (x / zero).to_list()
    assert found[:2] == [math.inf, -math.inf]
    assert math.isnan(found[2])
    assert found[3] is None
    assert (x // zero).to_list() == (x % zero).to_list() == (x // 0).to_list() == [None] * 4
    assert (1 // ScalarColumn([0, 2])).to_list() == [None, 0]
    assert (ScalarColumn([1.0]) // 0.0).to_list() == [math.inf]


def test_nan_is_a_number_and_null_is_none() -> None:
    column = ScalarColumn([1.0, float("nan"), None])
    assert column.is_null().to_list() == [False, False, True]
    assert (column == column).to_list() == [True, False, None]
    assert (column > 0).to_list() == [True, False, None]
    assert column.fill_null(5.0).to_list()[2] == 5.0
    assert math.isnan(column.fill_null(5.0)[1])
    assert column[column > 0].to_list() == [1.0], "what is not known to hold is left out"
    assert len(column[~(column > 0)]) == 1
    assert math.isnan(column.sum())


def test_logic_is_kleenes() -> None:
    a = ScalarColumn([True, True, True, False, False, False, None, None, None])
    b = ScalarColumn([True, False, None] * 3)
    assert (a & b).to_list() == [True, False, None, False, False, False, None, False, None]
    assert (a | b).to_list() == [True, True, True, True, False, None, True, None, None]
    assert (a ^ b).to_list() == [False, True, None, True, False, None, None, None, None]
    assert (~a).to_list() == [False] * 3 + [True] * 3 + [None] * 3
    assert (a & True).to_list() == a.to_list()
    assert (False & a).to_list() == [False] * 9


def test_logic_sees_the_nulls_of_rows_that_a_join_did_not_find() -> None:
    from columns.selection import NO_ROW, Selection

    joined = ScalarColumn([True, False])[Selection(np.array([0, 1, NO_ROW]))]
    assert (joined | True).to_list() == [True, True, True]
    assert (joined & False).to_list() == [False, False, False]
    assert joined.fill_null(False).to_list() == [True, False, False]
    assert joined.isin([True]).to_list() == [True, False, False]
    assert joined.is_null().to_list() == [False, False, True]


def test_a_column_has_no_truth_value_and_null_equals_nothing() -> None:
    column = ScalarColumn([1, 2])
    with pytest.raises(KindError, match="combine conditions with"):
        bool(column == 1)
    with pytest.raises(KindError, match="is_null"):
        column == None  # noqa: B015, E711
    with pytest.raises(KindError, match="plain value; got list"):
        column == [1, 2]  # noqa: B015
    with pytest.raises(KindError, match="use `map`"):
        column + ObjectColumn([1, 2])


def test_what_cannot_be_computed_says_on_what() -> None:
    for column in (ScalarColumn(["a"]) - 1, ~ScalarColumn([1]), ScalarColumn([1]) + 2**70, ScalarColumn(["a"]) // 2):
        with pytest.raises(KindError, match="Cannot compute"):
            column.to_list()
    for name in ("sum", "mean"):
        with pytest.raises(KindError, match=f"`{name}` needs numbers"):
            getattr(ScalarColumn(["a"]), name)()


def test_dates_compare_with_dates() -> None:
    days = ScalarColumn([dt.date(2020, 1, 1), None, dt.date(2021, 1, 1)])
    assert (days > dt.date(2020, 6, 1)).to_list() == [False, None, True]
    times = ScalarColumn(pd.Series(pd.to_datetime(["2020-01-01 12:00", None, "2021-01-01 00:00"])))
    assert (times >= dt.datetime(2020, 6, 1)).to_list() == [False, None, True]
    assert (times < dt.date(2020, 6, 1)).to_list() == [True, None, False]
    assert (times == np.datetime64("2021-01-01")).to_list() == [False, None, True]
    assert (times == pd.Timestamp("2021-01-01").as_unit("ns")).to_list() == [False, None, True]
    assert (times == np.datetime64("2021-01-01", "ns")).to_list() == [False, None, True]
    assert (days.max(), days.min()) == (dt.date(2021, 1, 1), dt.date(2020, 1, 1))


def test_isin_compares_values_and_null_is_in_nothing() -> None:
    assert ScalarColumn([1, 2, None]).isin([2, 2.5, "x", 2**70]).to_list() == [False, True, False]
    assert ScalarColumn([1.0, math.nan]).isin([math.nan]).to_list() == [False, True]
    assert ScalarColumn(["a", None]).isin(["a", "b", 1]).to_list() == [True, False]
    assert ScalarColumn(["a", None], classes=["a", "b"]).isin(["a"]).to_list() == [True, False]
    assert ScalarColumn([1]).isin([]).to_list() == [False]


def test_fill_null_keeps_type_and_classes() -> None:
    assert ScalarColumn([None, None]).fill_null(3).to_list() == [3, 3]
    with pytest.raises(KindError, match="Cannot compute"):
        ScalarColumn([1, None]).fill_null(0.5).to_list()
    filled = ScalarColumn(["a", None], classes=["a", "b"]).fill_null("b")
    assert filled.codes().to_list() == [0, 1]
    with pytest.raises(KindError, match="not one of the classes"):
        ScalarColumn(["a", None], classes=["a", "b"]).fill_null("c")


@pytest.fixture
def category() -> ScalarColumn:
    return ScalarColumn(["dog", "cat", None, "dog"], classes=["dog", "cat", "eel"])


def test_categories_keep_the_order_of_their_classes(category) -> None:
    assert category.spec.classes == ("dog", "cat", "eel")
    assert category.codes().to_list() == [0, 1, None, 0]
    assert category[[0, 1]].to_torch().tolist() == [0, 1]
    assert ScalarColumn([2, 0], classes=["dog", "cat", "eel"]).to_list() == ["eel", "dog"]
    assert category[~category.is_null()].map(lambda x: x, to="scalar", batched=True).to_list() == [0, 1, 0]


def test_categories_compare_by_name(category) -> None:
    assert (category == "dog").to_list() == [True, False, None, True]
    assert (category != "dog").to_list() == [False, True, None, False]
    other = ScalarColumn(["dog", "dog", "cat", None], classes=["cat", "dog"])
    assert (category == other).to_list() == [True, False, None, None]
    assert (category == category).to_list() == [True, True, None, True]
    assert (category == ScalarColumn(["dog", "x", "y", "z"])).to_list() == [True, False, None, False]
    assert (category < "d").to_list() == [False, True, None, False]


def test_comparing_class_names_with_numbers_raises(category) -> None:
    codes = ScalarColumn([0, 1, 1, 0])
    codes.name = "label"
    for compare in (
        lambda: category == 0,
        lambda: category == codes,
        lambda: codes == category,
        lambda: category.isin([0, 1]),
        lambda: category != np.int64(1),
    ):
        with pytest.raises(KindError, match="cannot be compared with"):
            compare()
    with pytest.raises(KindError, match="'wolf' is not one of the classes"):
        category == "wolf"  # noqa: B015
    with pytest.raises(KindError, match="no class in common"):
        category == ScalarColumn(["x"] * 4, classes=["x"])  # noqa: B015
    with pytest.raises(KindError, match="Cannot compute"):
        (category == codes.map(lambda x: x)).to_list()


def test_categories_refuse_what_is_no_class() -> None:
    with pytest.raises(KindError, match=r"Codes .* must lie in \[0, 2\); got 0..2"):
        ScalarColumn([0, 2], classes=["a", "b"])
    with pytest.raises(KindError, match=r"got \['c'\] as well"):
        ScalarColumn(["a", "c"], classes=["a", "b"])
    with pytest.raises(KindError, match="must differ"):
        ScalarColumn(["a"], classes=["a", "a"])
    with pytest.raises(KindError, match="made of names, or of whole numbers"):
        ScalarColumn([0.5], classes=["a"])
    with pytest.raises(KindError, match="Only a category"):
        ScalarColumn([1]).codes()
    assert ScalarColumn([None, None], classes=["a"]).to_list() == [None, None]
    assert ScalarColumn([], classes=["a"]).codes().to_list() == []


def test_pandas_categories_keep_their_classes() -> None:
    series = pd.Series(pd.Categorical(["b", None, "a"], categories=["b", "a", "unused"]))
    column = ScalarColumn(series)
    assert column.spec.classes == ("b", "a", "unused")
    assert column.codes().to_list() == [0, None, 1]
    numbers = ScalarColumn(pd.Series(pd.Categorical([7, 5, 7])))
    assert numbers.to_list() == ["7", "5", "7"]


def test_joining_columns_of_other_classes_or_types() -> None:
    a, b = ScalarColumn(["x"], classes=["x", "y"]), ScalarColumn(["y"], classes=["y", "x"])
    with pytest.raises(KindError, match="same classes"):
        concat([a, b])
    assert concat([a, a[:0], a]).codes().to_list() == [0, 0]
    assert concat([ScalarColumn([1]), ScalarColumn([0.5, None])]).to_list() == [1.0, 0.5, None]
    assert concat([ScalarColumn([None]), ScalarColumn(["a"])]).to_list() == [None, "a"]
    with pytest.raises(KindError, match="types int64, string cannot be joined"):
        concat([ScalarColumn([1]), ScalarColumn(["a"])]).to_list()
    with pytest.raises(KindError, match="at least one"):
        concat([])


def test_counts_and_aggregates_leave_null_out() -> None:
    column = ScalarColumn([3, None, 1, 3])
    assert (column.sum(), column.mean(), column.min(), column.max()) == (7, 7 / 3, 1, 3)
    assert column.unique().to_list() == [3, None, 1]
    assert column.value_counts() == {3: 2, None: 1, 1: 1}
    assert ScalarColumn([], dtype="int64").min() is None
    assert ScalarColumn(["b", "a"], classes=["a", "b"]).max() == "b"
    with pytest.raises(KindError, match="plain values are counted"):
        ScalarColumn([[1]]).value_counts()


def test_casting_is_lazy_and_safe() -> None:
    assert str(ScalarColumn([1, None]).cast("float32").to_arrow().type) == "float"
    lazy = ScalarColumn([1.5]).cast("int64")
    with pytest.raises(KindError, match="Cannot compute"):
        lazy.to_list()


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.lists(st.tuples(*[st.none() | st.floats(allow_nan=False, width=32)] * 2), max_size=8))
def test_comparisons_equal_pandas_where_both_are_there(rows) -> None:
    x, y = (ScalarColumn([r[i] for r in rows], dtype="float64") for i in (0, 1))
    for lazy, eager in [(x < y, lambda a, b: a < b), (x >= y, lambda a, b: a >= b), (x == y, lambda a, b: a == b)]:
        assert lazy.to_list() == [None if None in r else eager(*r) for r in rows]


def test_texts_have_the_words_of_text() -> None:
    texts = TextColumn(["Ein Straßenhund", None, "a+b"])
    assert texts.contains("STRASSE", ignore_case=True).to_list() == [False, None, False]
    assert texts.contains("hund").to_list() == [True, None, False]
    assert texts.contains("a+b").to_list() == [False, None, True], "a plain word, unless said otherwise"
    assert texts.contains("a.b", regex=True).to_list() == [False, None, True]
    assert texts.lower().to_list() == ["ein straßenhund", None, "a+b"]
    assert texts.length().to_list() == [15, None, 3]
    assert TextColumn([None, None]).to_list() == [None, None]
    assert TextColumn([]).contains("x").to_list() == []
    with pytest.raises(KindError, match="needs strings; got int64"):
        TextColumn([1])
    assert texts[~texts.is_null()].map(lambda batch: [len(t) for t in batch], batched=True, to="scalar")[0] == 15


def test_operations_over_zero_rows_and_pending_rows_give_zero_rows() -> None:
    empty = ScalarColumn([1, 2])[:0]
    pending = empty.map(lambda x: x)
    for column in (empty, pending):
        for result in (column + 1, column == 1, column / 2, column // 2, column.isin([1]), column.is_null(), -column):
            assert result.to_list() == []
    assert empty.sum() is None
    assert empty.compute().to_list() == pending.compute().to_list() == []
    assert pending.as_kind("scalar").as_category(["a"]).codes().to_list() == []
    assert empty.to_torch().shape == (0,)


def test_a_pending_column_finds_its_kind_when_computed() -> None:
    column = ScalarColumn([None, 1, 2])
    kinds = {
        "scalar": lambda x: x / 2,
        "tensor": lambda x: torch.zeros(2),
        "object": lambda x: {"x": x},
    }
    for kind, function in kinds.items():
        pending = column.map(function)
        assert pending.kind == "pending"
        assert pending.compute().kind == kind
        assert pending.compute().to_list()[0] is None
    assert column.map(lambda x: torch.tensor(0.5)).compute().spec.dtype == "double"
    assert column.map(lambda x: np.float32(0.5)).compute().kind == "scalar"
    assert column.map(lambda x: None).compute().kind == "pending"
    assert column.map(str).as_kind("text").length().to_list() == [None, 1, 1]
    assert column.map(lambda x: [x, x]).as_kind("tensor").to_numpy()[1:].tolist() == [[1, 1], [2, 2]]


def test_objects_are_kept_as_they_are() -> None:
    thing = object()
    assert ObjectColumn([thing, None])[0] is thing
    assert ObjectColumn([[1], [2, 3]]).map(sum, to="scalar").to_list() == [1, 5]
    with pytest.raises(KindError, match="no form in Arrow"):
        ObjectColumn([thing]).to_arrow()
    with pytest.raises(KindError, match=r"not make one tensor|arrays of numbers|one shape"):
        ObjectColumn(["a", "b"]).to_torch()


def test_every_form_takes_zero_rows() -> None:
    for form in ("pending", "arrow", "dense", "list", "image"):
        assert len(to_form([], Output("", form), "nothing")) == 0


def test_arrays_go_to_arrow_and_back() -> None:
    from columns import TensorColumn

    data = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    column = TensorColumn(data)
    assert column.to_arrow().to_pylist() == data.tolist()
    assert TensorColumn([data[0], None]).to_arrow().to_pylist() == [data[0].tolist(), None]
    assert TensorColumn(np.array([1.0, 2.0])).to_arrow().to_pylist() == [1, 2]
    assert TensorColumn(np.zeros((2, 0))).to_arrow().to_pylist() == [[], []]
    with pytest.raises(KindError, match="no form in Arrow"):
        TensorColumn(np.zeros((2, 1), complex)).to_arrow()
    assert pa.array(ScalarColumn([1, None])).to_pylist() == [1, None]


def test_tensors_refuse_what_is_no_array_of_numbers() -> None:
    from columns import EmbeddingColumn, TensorColumn

    for data in ([["a"]], np.array([["a"]]), np.array([{}], object)):
        with pytest.raises(KindError, match="arrays of numbers"):
            TensorColumn(data)
    with pytest.raises(ValueError, match="one shape"):
        TensorColumn([[1.0], [1.0, 2.0]])
    with pytest.raises(KindError, match=r"shape \(rows, dimensions\)"):
        EmbeddingColumn(np.zeros(3))
    with pytest.raises(KindError, match=r"one shape; got \(2,\) and \(3,\)"):
        concat([TensorColumn(np.zeros((1, 2))), TensorColumn(np.zeros((1, 3)))])

"""Sort, group, join, append, sample, split, describe: against pandas, on random data too."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb

NUMBERS = st.one_of(st.none(), st.integers(-3, 3))
WORDS = st.one_of(st.none(), st.sampled_from(["a", "b", "ä", "Z", ""]))


def plain(values):
    return [None if pd.isna(v) else int(v) for v in values]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(NUMBERS, WORDS), max_size=12), st.tuples(st.booleans(), st.booleans()))
def test_sorting_by_several_keys_is_that_of_pandas(rows, ascending):
    panel = wb.DataPanel(
        {
            "n": wb.ScalarColumn([r[0] for r in rows], "int64"),
            "w": wb.ScalarColumn([r[1] for r in rows], "string"),
            "i": wb.ScalarColumn(list(range(len(rows))), "int64"),
        }
    )
    frame = pd.DataFrame(
        {"n": pd.array([r[0] for r in rows], "Int64"), "w": [r[1] for r in rows], "i": range(len(rows))}
    )
    expected = frame.sort_values(["n", "w"], ascending=list(ascending), kind="stable", na_position="last")
    assert panel.sort(["n", "w"], list(ascending))["i"].to_list() == expected["i"].tolist()
    single = frame.sort_values("w", ascending=ascending[0], kind="stable", na_position="last")
    assert panel.sort("w", ascending[0])["i"].to_list() == single["i"].tolist()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(NUMBERS, max_size=8), st.lists(NUMBERS, max_size=8), st.sampled_from(["inner", "left", "right", "outer"])
)
def test_joins_have_the_rows_of_pandas(left, right, how):
    ours = wb.DataPanel({"k": wb.ScalarColumn(left, "int64"), "l": wb.ScalarColumn(list(range(len(left))), "int64")})
    theirs = wb.DataPanel(
        {"k": wb.ScalarColumn(right, "int64"), "r": wb.ScalarColumn(list(range(len(right))), "int64")}
    )
    found = ours.join(theirs, "k", how).to_dict()
    frame = pd.DataFrame({"k": pd.array(left, "Int64"), "l": range(len(left))}).merge(
        pd.DataFrame({"k": pd.array(right, "Int64"), "r": range(len(right))}), on="k", how=how
    )
    expected = list(zip(plain(frame["k"]), plain(frame["l"]), plain(frame["r"])))
    got = list(zip(found["k"], found["l"], found["r"]))
    assert sorted(got, key=str) == sorted(expected, key=str)
    if how in ("inner", "left"):
        assert [row[1] for row in got] == sorted(row[1] for row in got), "rows keep the order of the left side"


def test_a_join_leaves_costly_columns_lazy_and_keeps_their_memo():
    seen = []
    left = wb.DataPanel({"k": [1, 2, 3]}, origin="l")
    right = wb.DataPanel({"k": [3, 1], "v": [30, 10]}, origin="r")
    right["w"] = right["v"].map(lambda v: seen.append(v) or v + 1, to="scalar")
    joined = left.join(right, "k", "left")
    assert seen == []
    assert joined["w"].to_list() == [11, None, 31]
    assert right["w"].to_list() == [31, 11]
    assert sorted(seen) == [10, 30], "each row once, whichever panel asked"
    assert joined.key.to_list() == ["l/0", "l/1", "l/2"]


def test_a_map_over_both_sides_of_a_join_is_computed_once_for_all_its_selections():
    seen = []

    def both(a, b):
        seen.append((a, b))
        return a * 100 + b

    joined = wb.DataPanel({"k": [1, 2], "a": [1, 2]}).join(wb.DataPanel({"k": [2, 1, 2], "b": [5, 6, 7]}), "k")
    joined["c"] = joined.map(both, on=["a", "b"], to="scalar")
    assert joined[1:]["c"].to_list() == [205, 207]
    assert joined["c"].to_list() == [106, 205, 207]
    assert len(seen) == 3


def test_keys_of_a_join_with_several_partners_are_pairs():
    joined = wb.DataPanel({"k": [1]}, origin="l").join(wb.DataPanel({"k": [1, 1]}, origin="r"), "k")
    assert joined.key.to_list() == ["l/0+r/0", "l/0+r/1"]


def test_names_on_both_sides_get_a_suffix_and_join_keys_may_differ_in_name():
    left = wb.DataPanel({"id": [1, 2], "v": [1, 2]})
    right = wb.DataPanel({"number": [2], "v": [9]})
    joined = left.join(right, {"id": "number"}, "left")
    assert joined.to_dict() == {"id": [1, 2], "v": [1, 2], "number": [None, 2], "v_right": [None, 9]}


def test_keys_of_different_types_are_refused():
    with pytest.raises(wb.PanelError, match="one type"):
        wb.DataPanel({"k": [1]}).join(wb.DataPanel({"k": ["1"]}), "k")


def test_groups_are_those_of_pandas():
    rng = np.random.default_rng(0)
    data = {"g": rng.integers(0, 5, 200).tolist(), "h": rng.choice(["x", "y"], 200).tolist(), "v": rng.random(200)}
    ours = wb.DataPanel(data).groupby(["g", "h"]).agg(v="mean", n="size", s=("v", "std"), u=("v", "nunique"))
    theirs = (
        pd.DataFrame(data).groupby(["g", "h"]).agg(v=("v", "mean"), n=("v", "size"), s=("v", "std"), u=("v", "nunique"))
    )
    assert ours["g"].to_list() == theirs.reset_index()["g"].tolist()
    assert ours["n"].to_list() == theirs["n"].tolist()
    np.testing.assert_allclose(ours["v"].to_numpy(), theirs["v"])
    np.testing.assert_allclose(ours["s"].to_numpy(), theirs["s"])
    assert ours["u"].to_list() == theirs["u"].tolist()


def test_iterating_groups_gives_panels_with_their_keys():
    panel = wb.DataPanel({"g": ["b", "a", "b"], "v": [1, 2, 3]}, origin="p")
    found = {key: part.key.to_list() for key, part in panel.groupby("g")}
    assert found == {"a": ["p/1"], "b": ["p/0", "p/2"]}


def test_groups_of_a_category_come_in_the_order_of_its_classes():
    panel = wb.DataPanel({"g": wb.ScalarColumn(["lo", "hi", "lo"], classes=["lo", "mid", "hi"])})
    assert panel.groupby("g").size().to_dict() == {"g": ["lo", "hi"], "size": [2, 1]}


def test_an_aggregate_that_does_not_exist_is_told():
    with pytest.raises(wb.PanelError, match="'meen'"):
        wb.DataPanel({"g": [1]}).groupby("g").agg(g="meen")


def test_appending_repeats_no_key():
    first, second = wb.DataPanel({"a": [1]}, origin="x"), wb.DataPanel({"a": [2]}, origin="y")
    both = first.append(second)
    assert both.to_dict() == {"a": [1, 2]}
    assert both.key.to_list() == ["x/0", "y/0"]
    with pytest.raises(wb.PanelError, match="'x/0'"):
        first.append(first)
    assert len(set(first.append(first, new_keys=True).key.to_list())) == 2
    with pytest.raises(wb.PanelError, match="only one side has: a, b"):
        first.append(wb.DataPanel({"b": [1]}))


def test_maps_of_appended_panels_share_the_memo_of_the_parts():
    seen = []
    first, second = wb.DataPanel({"a": [1, 2]}, origin="x"), wb.DataPanel({"a": [3]}, origin="y")

    def f(a):
        seen.append(a)
        return a

    mapped = first["a"].map(f, to="scalar")
    assert mapped.to_list() == [1, 2]
    assert first.append(second)["a"].map(f, to="scalar").to_list() == [1, 2, 3]
    assert seen == [1, 2, 3]


def test_samples_and_splits_repeat_with_their_seed():
    panel = wb.DataPanel({"a": list(range(100)), "s": [i // 4 for i in range(100)]})
    assert panel.sample(10, seed=1)["a"].to_list() == panel.sample(10, seed=1)["a"].to_list()
    assert len(set(panel.sample(100)["a"].to_list())) == 100
    train, test = panel.split([0.8, 0.2], seed=3)
    assert (len(train), len(test)) == (80, 20)
    assert sorted(train["a"].to_list() + test["a"].to_list()) == list(range(100))
    train, test = panel.split([0.5, 0.5], by="s")
    assert not set(train["s"].to_list()) & set(test["s"].to_list())
    with pytest.raises(wb.PanelError, match="sum to 1"):
        panel.split([0.8, 0.1])
    with pytest.raises(wb.PanelError, match=r"\[0, 100\]"):
        panel.sample(101)


def test_describe_tells_numbers_and_words_apart():
    panel = wb.DataPanel({"n": [1.0, 2.0, 3.0, None], "w": ["a", "b", "a", "a"], "x": np.zeros((4, 2))})
    rows = panel.describe().to_dict()
    frame = pd.Series([1.0, 2.0, 3.0]).describe()
    assert rows["column"] == ["n", "w"]
    assert rows["count"] == [3, 4]
    assert rows["null"] == [1, 0]
    assert rows["mean"][0] == frame["mean"]
    assert rows["std"][0] == frame["std"]
    assert rows["25%"][0] == frame["25%"]
    assert rows["top"] == [None, "a"]


def test_value_counts_and_unique_are_in_order():
    panel = wb.DataPanel({"w": ["b", "a", "b", None]})
    assert panel.unique("w") == ["b", "a", None]
    assert panel.value_counts("w").to_dict() == {"w": ["b", "a", None], "count": [2, 1, 1]}


def test_sorting_by_what_is_no_single_value_is_refused():
    with pytest.raises(wb.PanelError, match="kind 'tensor'"):
        wb.DataPanel({"x": np.zeros((2, 2))}).sort("x")

"""Slices: the three ways to say which rows, the forms people give them in, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columns import LengthError
from workbench import DataPanel, NoColumnError, PanelError, ScalarColumn
from workbench.slices import Slice, as_slices


@pytest.fixture
def panel():
    return DataPanel(
        {"age": [36, 41, None, 29], "team": ["red", None, "blue", "red"], "weight": [0.5, 0.25, 0.5, 1.0]}, origin="s"
    )


def test_rows_are_said_by_a_condition_by_keys_or_by_a_mask(panel):
    assert Slice("old", "age > 30").rows(panel).tolist() == [True, True, False, False]
    assert Slice("some", keys=["s/3", "s/0", "elsewhere/9"]).rows(panel).tolist() == [True, False, False, True]
    assert Slice("column", mask=panel["age"] > 30).rows(panel).tolist() == [True, True, False, False]
    assert Slice("array", mask=np.array([0, 1, 1, 0], bool)).rows(panel).tolist() == [False, True, True, False]
    assert Slice("list", mask=[False, True, True, False]).of(panel)["age"].to_list() == [41, None]
    assert Slice("all", "True").rows(panel).all()


def test_a_condition_and_keys_hold_for_other_panels_too(panel):
    part = panel[::-1].head(3)
    assert Slice("old", "age > 30").of(part).key.to_list() == ["s/1"]
    assert Slice("some", keys=["s/3", "s/0"]).of(part).key.to_list() == ["s/3"]
    with pytest.raises(LengthError, match="each of the 3 rows"):
        Slice("mask", mask=[True] * 4).rows(part)


def test_what_it_was_given_may_change_later(panel):
    mask, keys = np.array([True, False, False, False]), ["s/0"]
    slices = Slice("mask", mask=mask), Slice("keys", keys=keys)
    mask[:], keys[:] = True, []
    assert [s.rows(panel).sum() for s in slices] == [1, 1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Slice("", "age > 3"), "must be text, at least one character; got ''"),
        (lambda: Slice("none"), "exactly one of `where`, `keys` and `mask`; got none"),
        (lambda: Slice("two", "age > 3", keys=["a"]), "got where and keys"),
        (lambda: Slice("text", keys="s/0"), "in a list; got the one text 's/0'"),
        (lambda: Slice("column", ScalarColumn([True])), "got ScalarColumn. A column of booleans is given as `mask=`"),
    ],
)
def test_a_slice_that_does_not_say_its_rows_is_refused(make, words):
    with pytest.raises(PanelError, match=words):
        make()


def test_a_slice_that_does_not_say_yes_or_no_is_refused(panel):
    with pytest.raises(PanelError, match="Slice 'sum' must say yes or no"):
        Slice("sum", "age + 1").rows(panel)
    with pytest.raises(PanelError, match="Slice 'numbers' must say yes or no"):
        Slice("numbers", mask=[0, 1, 2, 3]).rows(panel)
    with pytest.raises(PanelError, match="Slice 'column' must say yes or no"):
        Slice("column", mask=panel["team"]).rows(panel)


def test_a_column_gives_a_slice_for_each_value_and_one_for_null(panel):
    found = as_slices(panel, "team")
    assert [(s.name, s.of(panel).key.to_list()) for s in found] == [
        ("team = blue", ["s/2"]),
        ("team = red", ["s/0", "s/3"]),
        ("team is null", ["s/1"]),
    ]
    assert [s.name for s in as_slices(panel, ["weight", Slice("old", "age > 30")])] == [
        "weight = 0.25",
        "weight = 0.5",
        "weight = 1.0",
        "old",
    ]


def test_a_mapping_names_conditions_of_every_form(panel):
    given_forms = {"a": "age > 30", "b": ["s/1"], "c": panel["age"] > 30, "d": [True, False, False, False],
                   "e": Slice("old name", "age < 30", reason="because")}  # fmt: skip
    found = as_slices(panel, given_forms)
    assert [(s.name, int(s.rows(panel).sum())) for s in found] == [("a", 2), ("b", 1), ("c", 2), ("d", 1), ("e", 1)]
    assert repr(found[-1]) == "Slice('e', 'age < 30', reason='because')"


def test_slices_nobody_could_read_are_refused_with_the_way_out(panel):
    many = DataPanel({"number": list(range(500))})
    with pytest.raises(PanelError, match=r"'number' has 500 values.*Give conditions instead"):
        as_slices(many, "number")
    with pytest.raises(NoColumnError, match="did you mean 'team'"):
        as_slices(panel, "teem")
    with pytest.raises(PanelError, match="names of their own; 'x' repeats"):
        as_slices(panel, [Slice("x", "age > 3"), Slice("x", "age > 4")])
    with pytest.raises(PanelError, match="got 7"):
        as_slices(panel, [7])


@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=20))
def test_the_slices_of_a_column_part_its_rows(values):
    panel = DataPanel({"x": ScalarColumn(values, dtype="string")})
    rows = np.array([s.rows(panel) for s in as_slices(panel, "x")])
    assert (rows.sum(axis=0) == 1).all()
    assert as_slices(panel, None) == []

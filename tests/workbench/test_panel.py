"""The panel: indexing, assignment, keys, mapping, batches, and what it says of itself."""

import numpy as np
import pytest
import torch

import workbench as wb
from columns import KindError, LengthError, RowError


@pytest.fixture
def staff():
    return wb.DataPanel(
        {"name": ["ada", "bob", "cyd", "bob"], "age": [36, 41, 29, None], "x": np.arange(12.0).reshape(4, 3)},
        origin="staff",
    )


class Counted:
    """A function that counts the rows it has seen."""

    def __init__(self):
        self.seen = []

    def __call__(self, value):
        self.seen.append(value)
        return value * 2


def test_a_panel_reads_like_a_data_frame(staff):
    assert len(staff) == 4
    assert staff.shape == (4, 3)
    assert staff.columns == list(staff) == ["name", "age", "x"]
    assert "age" in staff
    assert staff[0]["name"] == "ada"
    assert staff[-1]["name"] == "bob"
    assert staff[["name"]].columns == ["name"]
    assert staff[1:3]["age"].to_list() == [41, 29]
    assert staff[[3, 0]]["name"].to_list() == ["bob", "ada"]
    assert staff[np.array([True, False, True, False])]["name"].to_list() == ["ada", "cyd"]
    assert staff.head(2)["age"].to_list() == [36, 41]
    assert staff.tail(1)["name"].to_list() == ["bob"]


def test_comparison_and_arithmetic_are_lazy_columns(staff):
    counted = Counted()
    staff["double"] = staff["age"].map(counted, to="scalar")
    condition = (staff["double"] > 60) & (staff["name"] != "bob")
    assert counted.seen == []
    assert staff[condition]["name"].to_list() == ["ada"]
    assert sorted(counted.seen) == [29, 36, 41], "null rows are never shown to a function"


def test_a_mask_leaves_out_rows_that_are_null(staff):
    assert staff[staff["age"] < 100]["name"].to_list() == ["ada", "bob", "cyd"]


def test_assignment_changes_this_panel_only(staff):
    other = staff.copy()
    some = staff[:2]
    staff["one"] = 1
    assert staff["one"].to_list() == [1, 1, 1, 1]
    assert "one" not in other
    assert "one" not in some


def test_assigning_to_a_selection_keeps_its_rows_side_by_side(staff):
    some = staff.sort("name", ascending=False)[1:]
    some["rank"] = [10, 20, 30]
    some["twice"] = some["rank"] * 2
    assert some["name"].to_list() == ["bob", "bob", "ada"]
    assert some[some["rank"] > 10].to_dict()["twice"] == [40, 60]
    assert staff.columns == ["name", "age", "x"]


def test_a_column_of_a_selection_keeps_its_memo_in_the_whole(staff):
    counted = Counted()
    staff["double"] = staff["age"].map(counted, to="scalar")
    assert staff[:2]["double"].to_list() == [72, 82]
    assert staff["double"].to_list() == [72, 82, 58, None]
    assert len(counted.seen) == 3


def test_lengths_that_differ_are_named_with_the_column(staff):
    with pytest.raises(LengthError, match="'b' has 2 rows, 'a' has 3"):
        wb.DataPanel({"a": [1, 2, 3], "b": [1, 2]})
    with pytest.raises(LengthError, match="'z' has 1 rows, the panel has 4"):
        staff["z"] = [1]


def test_an_unknown_column_offers_the_nearest_name(staff):
    with pytest.raises(KeyError, match=r"No column 'nmae' in this panel; did you mean 'name'\? It has: name, age, x"):
        staff["nmae"]
    with pytest.raises(wb.NoColumnError, match="did you mean 'age'"):
        staff.sort("agee")


def test_names_are_text_and_differ_after_renaming(staff):
    with pytest.raises(wb.PanelError, match="must be text"):
        wb.DataPanel({1: [1]})
    with pytest.raises(wb.PanelError, match="'age' would repeat"):
        staff.rename({"name": "age"})
    assert staff.rename({"name": "größe 身長"})["größe 身長"].to_list()[0] == "ada"


def test_empty_panels_and_single_rows_work():
    empty = wb.DataPanel({"a": [], "x": np.zeros((0, 3))})
    assert len(empty) == 0
    assert len(empty[empty["x"].is_null()]) == 0
    assert "0 rows" in repr(empty)
    assert "<table" in empty._repr_html_()
    assert len(wb.DataPanel()) == 0
    one = wb.DataPanel({"a": [5]})
    assert one.sort("a").to_dict() == {"a": [5]}
    assert one.groupby("a").agg(n="size").to_dict() == {"a": [5], "n": [1]}


def test_nan_and_infinity_stay_what_they_are():
    panel = wb.DataPanel({"v": [1.0, float("nan"), float("inf"), None]})
    assert panel["v"].is_null().to_list() == [False, False, False, True]
    assert panel[panel["v"] > 0]["v"].to_list() == [1.0, float("inf")]
    assert panel.sort("v")["v"].to_list()[:2] == [1.0, float("inf")]
    assert panel.sort("v")["v"].to_list()[3] is None
    assert panel.sort("v", ascending=False)["v"].to_list()[0] == float("inf")


def test_a_whole_table_is_a_panel_as_well():
    import pandas as pd

    frame = pd.DataFrame({"a": [1.5, float("nan")], "w": ["x", None]})
    panel = wb.DataPanel(frame, origin="f")
    assert panel["w"].to_list() == ["x", None]
    assert panel["a"].is_null().to_list() == [False, True], "NaN is how pandas spells null"
    assert panel.key.to_list() == ["f/0", "f/1"]
    assert wb.DataPanel({"a": frame["a"]})["a"].is_null().to_list() == [False, True]
    assert wb.DataPanel({"a": frame["a"].to_numpy()})["a"].is_null().to_list() == [False, False], "to NumPy a number"
    with pytest.raises(wb.PanelError, match="__arrow_c_stream__"):
        wb.DataPanel(3)


def test_values_of_several_types_are_refused_with_the_column():
    with pytest.raises(KindError, match="'mixed'"):
        wb.DataPanel({"mixed": [1, "a"]})


# Keys


def test_keys_stay_with_their_rows(staff):
    assert staff.key.to_list() == ["staff/0", "staff/1", "staff/2", "staff/3"]
    moved = staff.sort("age").head(2)
    assert moved.key.to_list() == ["staff/2", "staff/0"]
    moved["note"] = ["a", "b"]
    assert moved[::-1].key.to_list() == ["staff/0", "staff/2"]
    assert staff.at_keys(["staff/3", "staff/0"])["name"].to_list() == ["bob", "ada"]
    with pytest.raises(wb.PanelError, match="staff/9"):
        staff.at_keys("staff/9")


def test_the_same_data_give_the_same_keys_without_an_origin():
    def build():
        return wb.DataPanel({"a": [1, 2], "t": ["x", "y"]})

    assert build().key.to_list() == build().key.to_list()
    assert build().key.to_list() != wb.DataPanel({"a": [1, 3], "t": ["x", "y"]}).key.to_list()


def test_a_row_that_fails_is_named_by_key_column_and_cause(staff):
    def fails(age):
        if age == 29:
            raise ValueError("too young")
        return age

    staff["checked"] = staff["age"].map(fails, to="scalar")
    with pytest.raises(RowError, match=r"key 'staff/2'.*'checked'.*too young \(ValueError\)") as caught:
        staff.sort("name", ascending=False)["checked"].to_list()
    assert caught.value.key == "staff/2"


# Mapping and batches


def test_a_function_finds_its_columns_by_its_parameters(staff):
    staff["line"] = staff.map(lambda name, age: f"{name} {age}", to="scalar")
    assert staff["line"].to_list() == ["ada 36", "bob 41", "cyd 29", None]
    with pytest.raises(wb.PanelError, match=r"on=\[\.\.\.\]"):
        staff.map(lambda row: row)


def test_several_outputs_come_as_columns_by_name(staff):
    parts = staff.map(lambda name: {"first": name[0], "length": len(name)}, to={"first": "scalar", "length": "scalar"})
    panel = staff.assign(**parts)
    assert panel["first"].to_list() == ["a", "b", "c", "b"]
    assert panel["length"].to_list() == [3, 3, 3, 3]


def test_compute_gives_a_pending_column_its_kind(staff):
    staff["norm"] = staff["x"].map(torch.linalg.norm)
    assert staff.kind("norm") == "pending"
    assert staff.compute().kind("norm") == "scalar"


def test_batches_give_tensors_and_lists_of_every_row_once(staff):
    batches = list(staff.batches(3))
    assert [len(b["name"]) for b in batches] == [3, 1]
    assert torch.equal(torch.cat([b["x"] for b in batches]), torch.arange(12.0, dtype=torch.float64).reshape(4, 3))
    shuffled = [n for b in staff.batches(1, seed=1) for n in b["name"]]
    assert sorted(shuffled) == ["ada", "bob", "bob", "cyd"]
    with pytest.raises(ValueError, match="at least 1"):
        staff.batches(0)


def test_a_loop_that_stops_early_leaves_no_thread_behind(staff):
    import threading

    for _ in staff.batches(1):
        break
    assert not [t for t in threading.enumerate() if t.name.startswith("panel-batches")]


# Words and pictures


def test_repr_reads_nothing_and_html_runs_no_function(staff):
    counted = Counted()
    staff["double"] = staff["age"].map(counted, to="scalar")
    assert "double" in repr(staff)
    page = staff._repr_html_()
    assert counted.seen == []
    assert "lazy" in page
    staff["double"][:1].to_list()
    assert "72" in staff._repr_html_(), "rows that are there are shown"
    assert len(counted.seen) == 1


def test_html_decodes_only_the_rows_it_shows(tmp_path):
    from PIL import Image

    paths = []
    for number in range(20):
        path = tmp_path / f"bild {number:02} ü.png"
        Image.new("RGB", (30, 20), (number, 0, 0)).save(path)
        paths.append(path.name)
    for name in paths[8:]:
        (tmp_path / name).write_bytes(b"not a picture")
    panel = wb.DataPanel({"image": wb.ImageColumn(paths, base=tmp_path)})
    page = panel._repr_html_()
    assert page.count("data:image/png") == 8
    assert "could not be read" not in page


def test_text_from_data_is_never_markup():
    panel = wb.DataPanel({"<b>": ["<script>alert(1)</script>"]}, origin="<i>")
    page = panel._repr_html_()
    assert "<script>" not in page
    assert "<b>" not in page
    assert "<i>" not in page

"""Panels from and to pandas, Arrow, polars, NumPy, torch and Hugging Face; real libraries, nothing mocked."""

from __future__ import annotations

import datetime
import io
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from columns import (
    EmbeddingColumn,
    FileColumn,
    ImageColumn,
    KindError,
    MissingExtra,
    ObjectColumn,
    PredictionColumn,
    ScalarColumn,
    TensorColumn,
    TextColumn,
    set_memory_budget,
)
from workbench import DataPanel
from workbench.errors import NoColumnError, PanelError


def address(array: Any) -> int:
    return int(np.asarray(array).__array_interface__["data"][0])


def png(value: int, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, value if mode == "L" else (value, 2 * value, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def mixed(tmp_path: Any) -> DataPanel:
    """One column of each kind; pictures in files."""
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(png(40 * i))
    return DataPanel(
        {
            "number": [1, None, 3],
            "real": np.array([0.5, np.nan, 2.0]),
            "flag": [True, False, None],
            "name": ["ada", "", None],
            "day": [datetime.date(2020, 1, 2), None, datetime.date(1999, 12, 31)],
            "nested": [{"a": [1, 2]}, None, {"a": []}],
            "class": ScalarColumn(["b", None, "a"], classes=["z", "b", "a"]),
            "text": TextColumn(["one", None, "three"]),
            "tensor": TensorColumn(np.arange(12, dtype=np.float32).reshape(3, 2, 2)),
            "gaps": TensorColumn([np.ones(2), None, np.zeros(2)]),
            "embedding": EmbeddingColumn(np.eye(3, dtype=np.float32)),
            "prediction": PredictionColumn([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]], ["no", "yes"], unit="probabilities"),
            "picture": ImageColumn([f"{i}.png" for i in range(3)], base=tmp_path),
            "thing": ObjectColumn([{"k": 1}, None, {"k": 3}]),
        },
        origin="mixed",
    )


def same(one: Any, other: Any) -> bool:
    if isinstance(one, (torch.Tensor, np.ndarray)):
        return other is not None and np.array_equal(np.asarray(one), np.asarray(other), equal_nan=True)
    if isinstance(one, Image.Image):
        return isinstance(other, Image.Image) and one.mode == other.mode and one.tobytes() == other.tobytes()
    if isinstance(one, float) and one != one:
        return isinstance(other, float) and other != other
    return type(one) is type(other) and bool(one == other)


def assert_same_rows(one: DataPanel, other: DataPanel, names: list[str] | None = None) -> None:
    for name in names or one.columns:
        left, right = one[name].to_list(), other[name].to_list()
        assert all(same(a, b) for a, b in zip(left, right, strict=True)), (name, left, right)


class TestArrow:
    def test_a_round_trip_keeps_kinds_classes_shapes_values_and_keys(self, mixed: DataPanel) -> None:
        back = DataPanel.from_arrow(mixed.to_arrow(keys=True))
        assert back.columns == mixed.columns
        assert [back.kind(n) for n in back.columns] == [mixed.kind(n) for n in mixed.columns]
        assert back["class"].spec.classes == ("z", "b", "a")
        assert back["prediction"].spec == mixed["prediction"].spec
        assert back["tensor"].spec.shape == (2, 2)
        assert back.key.to_list() == ["mixed/0", "mixed/1", "mixed/2"]
        assert_same_rows(mixed, back)

    def test_a_selection_is_what_is_handed_over(self, mixed: DataPanel) -> None:
        part = mixed[[2, 0]]
        assert_same_rows(part, DataPanel.from_arrow(part.to_arrow()))
        back = DataPanel.from_arrow(part[::-1].to_arrow(keys=True))
        assert back.key.to_list() == ["mixed/0", "mixed/2"]

    def test_an_empty_panel_keeps_its_kinds(self, mixed: DataPanel) -> None:
        back = DataPanel.from_arrow(mixed[:0].to_arrow())
        assert len(back) == 0
        assert [back.kind(n) for n in back.columns] == [mixed.kind(n) for n in mixed.columns]
        assert back["tensor"].spec.shape == (2, 2)
        assert len(DataPanel().to_arrow()) == 0

    def test_arrays_with_an_empty_side_keep_their_shape(self) -> None:
        panel = DataPanel({"t": TensorColumn(np.zeros((3, 0, 2), np.float32))})
        back = DataPanel.from_arrow(panel.to_arrow())
        assert back["t"].to_numpy().shape == (3, 0, 2)

    def test_the_panel_speaks_the_arrow_stream_protocol(self, mixed: DataPanel) -> None:
        table = pa.table(mixed.drop("thing"))
        assert table.column_names == [n for n in mixed.columns if n != "thing"]
        assert table.column("number").to_pylist() == [1, None, 3]

    def test_anything_with_a_stream_is_read(self) -> None:
        class Stream:
            def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
                return pa.table({"x": [1, 2]}).__arrow_c_stream__(requested_schema)

        import narwhals as nw
        import polars as pl

        sources = [
            Stream(), pa.table({"x": [1, 2]}), pa.record_batch({"x": [1, 2]}), pa.table({"x": [1, 2]}).to_reader(),
            pl.DataFrame({"x": [1, 2]}), nw.from_native(pl.DataFrame({"x": [1, 2]})), pd.DataFrame({"x": [1, 2]}),
        ]  # fmt: skip
        for source in sources:
            assert DataPanel.from_arrow(source)["x"].to_list() == [1, 2], type(source)

    def test_what_is_no_table_is_refused_by_name(self) -> None:
        import polars as pl

        with pytest.raises(PanelError, match="got list"):
            DataPanel.from_arrow([1, 2])
        with pytest.raises(PanelError, match="table of named columns; this Series is none"):
            DataPanel.from_arrow(pl.Series([1, 2]))
        with pytest.raises(PanelError, match="collect"):
            DataPanel.from_arrow(pl.LazyFrame({"x": [1]}))

    def test_duplicate_names_are_named(self) -> None:
        table = pa.Table.from_arrays([pa.array([1])] * 5, names=["a", "b", "a", "c", "b"])
        with pytest.raises(PanelError, match=r"'a' \(2 times\), 'b' \(2 times\)"):
            DataPanel.from_arrow(table)

    def test_null_and_nan_stay_apart(self) -> None:
        values = DataPanel.from_arrow(pa.table({"x": pa.array([1.0, None, float("nan")])}))["x"].to_list()
        assert values[1] is None
        assert values[2] != values[2]

    def test_large_view_and_run_end_types_become_plain_ones(self) -> None:
        table = pa.table(
            {
                "ls": pa.array(["a", None], pa.large_string()),
                "sv": pa.array(["a", None], pa.string_view()),
                "ll": pa.array([["a"], None], pa.large_list(pa.large_string())),
                "st": pa.array([{"x": "a"}, None], pa.struct([("x", pa.string_view())])),
            }
        )
        panel = DataPanel.from_arrow(table)
        assert panel["ls"].spec.dtype == panel["sv"].spec.dtype == "string"
        assert (panel["sv"] == "a").to_list() == [True, None]
        assert panel["ll"].to_list() == [["a"], None]
        assert panel["st"].to_list() == [{"x": "a"}, None]

    def test_dictionaries_in_several_chunks_become_one_category(self) -> None:
        chunks = pa.chunked_array([pa.array(["b", "a"]).dictionary_encode(), pa.array(["c", "a"]).dictionary_encode()])
        column = DataPanel.from_arrow(pa.table({"x": chunks}))["x"]
        assert column.to_list() == ["b", "a", "c", "a"]
        assert column.spec.classes == ("b", "a", "c")

    def test_dictionaries_that_are_no_class_names_are_mended(self) -> None:
        twice = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), pa.array(["a", "a", None]))
        column = DataPanel.from_arrow(pa.table({"x": twice}))["x"]
        assert column.to_list() == ["a", "a", None]
        assert column.spec.classes == ("a",)

    def test_fixed_size_lists_with_gaps_inside_stay_lists(self) -> None:
        table = pa.table({"x": pa.array([[1, None], [3, 4]], pa.list_(pa.int64(), 2))})
        assert DataPanel.from_arrow(table)["x"].to_list() == [[1, None], [3, 4]]

    def test_sliced_and_chunked_fixed_size_lists_are_tensors(self) -> None:
        whole = pa.array([[i, i + 1] for i in range(6)], pa.list_(pa.int32(), 2))
        table = pa.table({"x": pa.chunked_array([whole.slice(1, 2), whole.slice(4, 2)])})
        assert DataPanel.from_arrow(table)["x"].to_numpy().tolist() == [[1, 2], [2, 3], [4, 5], [5, 6]]
        lost = pa.table({"x": pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float64(), 2)).slice(1)})
        rows = DataPanel.from_arrow(lost)["x"].to_list()
        assert rows[0] is None
        assert rows[1].tolist() == [3.0, 4.0]

    def test_a_note_that_does_not_fit_its_column_is_an_error_that_names_it(self) -> None:
        note = b'{"kind": "prediction", "classes": ["a", "b", "c"]}'
        field = pa.field("p", pa.list_(pa.float32(), 2), metadata={b"workbench": note})
        table = pa.Table.from_arrays([pa.array([[1, 2]], field.type)], schema=pa.schema([field]))
        with pytest.raises(PanelError, match="Column 'p' is not the prediction column"):
            DataPanel.from_arrow(table)

    def test_a_column_makes_the_keys_where_it_is_named(self) -> None:
        table = pa.table({"id": [7, 9], "x": [1, 2]})
        assert DataPanel.from_arrow(table, key="id", origin="o").key.to_list() == ["o/7", "o/9"]
        whole = DataPanel.from_arrow(pa.table({"id": ["p/1", "q/2"]}), key="id", origin="")
        assert whole.key.to_list() == ["p/1", "q/2"]
        with pytest.raises(PanelError, match="'7'"):
            DataPanel.from_arrow(pa.table({"id": [7, 7, 8]}), key="id")
        with pytest.raises(PanelError, match="1 of 2 are null"):
            DataPanel.from_arrow(pa.table({"id": [7, None]}), key="id")
        with pytest.raises(PanelError, match="got 'ID'"):
            DataPanel.from_arrow(table, key="ID")

    def test_the_same_content_gives_the_same_keys(self) -> None:
        first, second = (DataPanel.from_arrow(pa.table({"x": [1, 2]})) for _ in range(2))
        assert first.key.to_list() == second.key.to_list()

    def test_what_has_no_form_in_arrow_is_named(self) -> None:
        panel = DataPanel({"odd": ObjectColumn([object(), 1])})
        with pytest.raises(KindError, match=r"Column 'odd' has no form in Arrow.*drop\('odd'\)"):
            panel.to_arrow()
        with pytest.raises(KindError, match="Column 'c' has no form"):
            DataPanel({"c": TensorColumn(np.ones((2, 2), complex))}).to_arrow()

    def test_shared_inputs_are_computed_once_for_all_columns(self) -> None:
        calls = []

        def slow(row: int) -> float:
            calls.append(row)
            return row / 2

        panel = DataPanel({"x": [1, 2, 3]})
        panel["y"] = panel["x"].map(slow, to="scalar")
        panel["z"] = panel["y"] * 2
        assert panel.to_arrow().column("z").to_pylist() == [1.0, 2.0, 3.0]
        panel.to_pandas()
        panel.to_dict()
        assert sorted(calls) == [1, 2, 3]


class TestPicturesInArrow:
    def test_files_go_as_paths_unless_bytes_are_asked_for(self, mixed: DataPanel, tmp_path: Any) -> None:
        assert mixed.to_arrow().column("picture").to_pylist() == [str(tmp_path / f"{i}.png") for i in range(3)]
        content = mixed.to_arrow(images="bytes").column("picture").to_pylist()
        assert content == [(tmp_path / f"{i}.png").read_bytes() for i in range(3)]

    def test_bytes_go_as_they_are_and_are_not_decoded(self) -> None:
        panel = DataPanel({"i": ImageColumn([png(1), None, b"no picture"])})
        table = panel.to_arrow()
        assert table.column("i").to_pylist() == [png(1), None, b"no picture"]
        assert DataPanel.from_arrow(table).kind("i") == "image"

    def test_pixels_go_as_png_without_loss(self) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), np.uint8)
        grey = pixels[..., 0]
        panel = DataPanel({"i": ImageColumn(pixels), "g": ImageColumn(grey)})
        back = DataPanel.from_arrow(panel.to_arrow())
        assert np.array_equal(back["i"].to_torch().permute(0, 2, 3, 1).numpy(), pixels)
        assert np.array_equal(back["g"].to_torch()[:, 0].numpy(), grey)

    def test_mode_and_size_are_kept(self) -> None:
        panel = DataPanel({"i": ImageColumn([png(90, mode="L")], mode="L").resize((2, 3))})
        back = DataPanel.from_arrow(panel.to_arrow())
        assert tuple(back["i"].to_torch().shape) == (1, 1, 2, 3)
        assert_same_rows(panel, back)

    def test_appended_and_sorted_pictures_are_found_again(self, mixed: DataPanel, tmp_path: Any) -> None:
        files = mixed[["picture"]]
        held = DataPanel({"picture": ImageColumn([png(7), png(8)])}, origin="held")
        both = files.append(held)[[4, 0, 3]]
        table = both.to_arrow()
        assert table.column("picture").to_pylist() == [png(8), (tmp_path / "0.png").read_bytes(), png(7)]
        assert files[::-1].to_arrow(images="paths").column("picture")[0].as_py().endswith("2.png")

    def test_rows_that_an_outer_join_left_empty_are_null(self) -> None:
        left = DataPanel({"id": [1, 2], "a": ["x", "y"]}, origin="l")
        right = DataPanel({"id": [2], "i": ImageColumn([png(5)])}, origin="r")
        assert left.join(right, "id", how="left").to_arrow().column("i").to_pylist() == [None, png(5)]

    def test_paths_that_are_not_there_are_refused(self) -> None:
        panel = DataPanel({"i": ImageColumn(np.zeros((1, 2, 2), np.uint8))})
        with pytest.raises(KindError, match="column 'i' must be files"):
            panel.to_arrow(images="paths")
        with pytest.raises(ValueError, match="auto, paths, bytes"):
            panel.to_arrow(images="png")

    def test_a_missing_file_is_named_when_its_bytes_are_needed(self, tmp_path: Any) -> None:
        panel = DataPanel({"i": ImageColumn(["gone.png"], base=tmp_path)})
        assert panel.to_arrow().column("i").to_pylist() == [str(tmp_path / "gone.png")]
        with pytest.raises(ValueError, match=r"column 'i'.*gone\.png"):
            panel.to_arrow(images="bytes")

    def test_other_files_go_as_paths_and_are_not_read(self, tmp_path: Any) -> None:
        panel = DataPanel({"f": FileColumn(["a.wav", None], base=tmp_path)})[::-1]
        assert panel.to_arrow().column("f").to_pylist() == [None, str(tmp_path / "a.wav")]
        assert panel.to_pandas()["f"].tolist()[1] == str(tmp_path / "a.wav")


class TestPandas:
    def test_floats_are_shared_from_the_frame_to_numpy(self) -> None:
        frame = pd.DataFrame({"x": np.arange(5.0), "y": np.arange(5), "z": np.arange(5, dtype=np.float32)})
        panel = DataPanel.from_pandas(frame)
        for name in frame:
            assert address(panel[name].to_numpy()) == address(frame[name].to_numpy()), name

    def test_numpy_arrays_are_shared_both_ways(self) -> None:
        x, t = np.arange(4.0), np.ones((4, 3), np.float32)
        panel = DataPanel({"x": x, "t": t})
        assert address(panel["x"].to_numpy()) == address(x)
        assert address(panel["t"].to_numpy()) == address(t)
        back = DataPanel.from_arrow(panel.to_arrow())
        assert address(back["x"].to_numpy()) == address(x)
        assert address(back["t"].to_numpy()) == address(t)

    @pytest.mark.skipif(int(pd.__version__.split(".")[0]) < 3, reason="pandas copies on write since 3")
    def test_writing_into_the_frame_later_does_not_change_the_panel(self) -> None:
        frame = pd.DataFrame({"x": [1.0, 2.0], "y": [3.0, 4.0]})
        panel = DataPanel.from_pandas(frame)
        frame.loc[0, "x"] = 9.0
        frame["y"] *= 2
        del frame
        assert panel.to_dict() == {"x": [1.0, 2.0], "y": [3.0, 4.0]}

    def test_nan_none_and_na_are_null_as_they_are_to_pandas(self) -> None:
        frame = pd.DataFrame(
            {
                "real": [1.0, float("nan")],
                "whole": pd.array([1, None], "Int64"),
                "yes": pd.array([True, None], "boolean"),
                "word": ["a", None],
                "when": [pd.Timestamp("2020-01-02 03:04"), pd.NaT],
                "zone": pd.to_datetime(["2020-01-02 03:04", None]).tz_localize("Europe/Berlin"),
                "long": pd.to_timedelta(["1h", None]),
                "objects": pd.Series(["a", float("nan")], dtype=object),
                "numbers": pd.Series([1.5, float("nan")], dtype=object),
                "days": [datetime.date(2020, 1, 2), None],
            }
        )
        rows = DataPanel.from_pandas(frame).to_dict()
        assert all(values[1] is None for values in rows.values()), rows
        assert rows["whole"] == [1, None]
        assert rows["days"][0] == datetime.date(2020, 1, 2)
        assert rows["zone"][0].utcoffset() == datetime.timedelta(hours=1)
        assert rows["long"][0] == datetime.timedelta(hours=1)
        assert DataPanel.from_pandas(frame[["real"]])["real"].is_null().to_list() == [False, True]

    def test_categories_keep_names_and_order(self) -> None:
        frame = pd.DataFrame(
            {
                "c": pd.Categorical(["lo", None, "hi"], categories=["hi", "mid", "lo"]),
                "n": pd.Categorical([3, 1, 3], categories=[3, 2, 1]),
            }
        )
        panel = DataPanel.from_pandas(frame)
        assert panel["c"].spec.classes == ("hi", "mid", "lo")
        assert panel["c"].to_list() == ["lo", None, "hi"]
        assert panel["n"].spec.classes == ("3", "2", "1")
        assert panel["c"].codes().to_list() == [2, None, 0]
        back = panel.to_pandas()
        assert back["c"].cat.categories.tolist() == ["hi", "mid", "lo"]
        assert back["c"].isna().tolist() == [False, True, False]

    def test_objects_of_several_types_stay_objects(self) -> None:
        frame = pd.DataFrame({"o": pd.Series([1, "a", None, {"k": 2}], dtype=object)})
        panel = DataPanel.from_pandas(frame)
        assert panel.kind("o") == "object"
        assert panel["o"].to_list() == [1, "a", None, {"k": 2}]
        frame = pd.DataFrame({"t": pd.Series([np.ones(2), np.zeros(2)], dtype=object)})
        assert DataPanel.from_pandas(frame).kind("t") == "tensor"

    def test_odd_dtypes_are_read(self) -> None:
        frame = pd.DataFrame(
            {
                "sparse": pd.arrays.SparseArray([0, 0, 5]),
                "arrow": pd.array(["a", None, "b"], pd.ArrowDtype(pa.string())),
                "period": pd.period_range("2020-01", periods=3, freq="M"),
                "interval": pd.interval_range(0, 3),
                "complex": np.array([1 + 2j, 0, 1]),
                "big": np.arange(3, dtype=">i4"),
                "half": np.arange(3, dtype=np.float16),
            }
        )
        panel = DataPanel.from_pandas(frame)
        assert panel["sparse"].to_list() == [0, 0, 5]
        assert panel["arrow"].to_list() == ["a", None, "b"]
        assert str(panel["period"][0]) == "2020-01"
        assert panel["interval"][0] == pd.Interval(0, 1)
        assert complex(panel["complex"][0]) == 1 + 2j
        assert panel["big"].to_list() == [0, 1, 2]
        assert panel["half"].to_list() == [0.0, 1.0, 2.0]

    def test_the_index_is_kept_as_keys_only_when_asked(self) -> None:
        frame = pd.DataFrame({"x": [1, 2]}, index=["a", "b"])
        assert DataPanel.from_pandas(frame).columns == ["x"]
        assert DataPanel.from_pandas(frame, index=True, origin="o").key.to_list() == ["o/a", "o/b"]
        deep = frame.set_index(pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]))
        assert DataPanel.from_pandas(deep, index=True, origin="o").key.to_list() == ["o/a/1", "o/b/2"]
        panel = DataPanel({"x": [1, 2]}, origin="p")[::-1]
        assert DataPanel.from_pandas(panel.to_pandas(index=True), index=True).key.to_list() == ["p/1", "p/0"]
        with pytest.raises(PanelError, match="'a'"):
            DataPanel.from_pandas(pd.DataFrame({"x": [1, 2]}, index=["a", "a"]), index=True)

    def test_duplicate_names_are_named(self) -> None:
        with pytest.raises(PanelError, match=r"'x' \(2 times\)"):
            DataPanel.from_pandas(pd.DataFrame([[1, 2]], columns=["x", "x"]))
        with pytest.raises(PanelError, match=r"'1' \(2 times\)"):
            DataPanel.from_pandas(pd.DataFrame([[1, 2]], columns=[1, "1"]))

    def test_names_become_text(self) -> None:
        assert DataPanel.from_pandas(pd.DataFrame(np.ones((1, 2)))).columns == ["0", "1"]
        deep = pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")]))
        assert DataPanel.from_pandas(deep).columns == ["a/b"]

    def test_a_series_is_refused_with_the_remedy(self) -> None:
        with pytest.raises(PanelError, match="to_frame"):
            DataPanel.from_pandas(pd.Series([1]))

    def test_every_kind_goes_out(self, mixed: DataPanel) -> None:
        frame = mixed.to_pandas()
        assert list(frame.columns) == mixed.columns
        assert str(frame["number"].dtype) == "Int64"
        assert str(frame["flag"].dtype) == "boolean"
        assert frame["real"].isna().tolist() == [False, True, False]
        assert frame["tensor"][1].shape == (2, 2)
        assert frame["gaps"][1] is None
        assert frame["prediction"][0].tolist() == [0.1, 0.9]
        assert frame["picture"][2].endswith("2.png")
        back = DataPanel.from_pandas(frame)
        assert_same_rows(mixed, back, ["number", "flag", "name", "day", "class", "text", "tensor"])
        assert back["real"].is_null().to_list() == [False, True, False]

    def test_the_frame_may_be_written_without_changing_the_panel(self) -> None:
        panel = DataPanel({"x": [1.0, 2.0]})
        frame = panel.to_pandas()
        frame.loc[0, "x"] = 5.0
        assert panel["x"].to_list() == [1.0, 2.0]


@pytest.mark.parametrize("how", ["dict", "pandas", "polars", "arrow", "huggingface", "panel"])
def test_anything_that_needs_no_further_words_makes_a_panel(how: str) -> None:
    from workbench.incoming import from_anything

    panel = DataPanel({"x": [1, 2]}, origin="o")
    data = panel if how == "panel" else getattr(panel, f"to_{how}")()
    assert from_anything(data, origin="o").to_dict() == {"x": [1, 2]}
    with pytest.raises(PanelError, match="got int"):
        from_anything(7)


class TestPolars:
    def test_a_round_trip_keeps_values_and_classes(self, mixed: DataPanel) -> None:
        names = ["number", "real", "flag", "name", "day", "nested", "class", "tensor", "gaps"]
        frame = mixed[names].to_polars()
        import polars as pl

        assert frame.schema["class"] == pl.Enum(["z", "b", "a"])
        back = DataPanel.from_polars(frame)
        assert back["class"].spec.classes == ("z", "b", "a")
        assert_same_rows(mixed[names], back)

    def test_strings_from_polars_compare(self) -> None:
        import polars as pl

        panel = DataPanel.from_polars(
            pl.DataFrame({"s": ["a", "b", None], "c": pl.Series(["x", "y", "x"], dtype=pl.Categorical)})
        )
        assert len(panel.where("s == 'a'")) == 1
        assert len(panel.where("c == 'x'")) == 2

    def test_python_objects_stay_objects_in_their_place(self) -> None:
        import polars as pl

        frame = pl.DataFrame({"o": pl.Series([{1}, {2}], dtype=pl.Object), "x": [1, 2]})
        panel = DataPanel.from_polars(frame)
        assert panel.columns == ["o", "x"]
        assert panel["o"].to_list() == [{1}, {2}]

    def test_floats_are_shared(self) -> None:
        import polars as pl

        frame = pl.DataFrame({"x": [1.0, 2.0]})
        assert address(DataPanel.from_polars(frame)["x"].to_numpy()) == address(frame["x"].to_numpy())

    def test_what_is_no_frame_is_refused(self) -> None:
        import polars as pl

        with pytest.raises(PanelError, match="collect"):
            DataPanel.from_polars(pl.LazyFrame({"x": [1]}))
        with pytest.raises(PanelError, match="got dict"):
            DataPanel.from_polars({"x": [1]})


class TestNumPyAndDict:
    def test_one_name_gives_an_array_several_a_dictionary(self, mixed: DataPanel) -> None:
        assert mixed.to_numpy("embedding").shape == (3, 3)
        arrays = mixed.to_numpy(["real", "tensor"])
        assert list(arrays) == ["real", "tensor"]
        assert arrays["tensor"].shape == (3, 2, 2)
        with pytest.raises(NoColumnError, match="did you mean 'tensor'"):
            mixed.to_numpy("tensr")

    def test_a_dictionary_of_lists_makes_the_same_panel(self) -> None:
        panel = DataPanel({"x": [1, None], "s": ["a", "b"]})
        assert DataPanel(panel.to_dict()).to_dict() == panel.to_dict()


class Squares(Dataset[tuple[Any, int]]):
    """A map-style dataset that counts its reads."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, row: int) -> tuple[Any, int]:
        if not isinstance(row, int):
            raise TypeError(type(row))
        self.read.append(row)
        if row == 13:
            raise ValueError("thirteen")
        return torch.full((2,), float(row)), row * row


def plus_one(row: float) -> float:
    return row + 1


def stack(rows: list[Any]) -> list[Any]:
    return rows


class TestTorchIn:
    def test_nothing_is_read_before_it_is_asked_for_and_then_once(self) -> None:
        data = Squares(8)
        panel = DataPanel.from_torch(data, ["x", "y"], to={"x": "tensor", "y": "scalar"})
        repr(panel), panel[2:5], panel.key.to_list()
        assert data.read == []
        assert panel[2:5]["y"].to_list() == [4, 9, 16]
        assert data.read == [2, 3, 4]
        panel.compute()
        assert panel["x"].to_numpy()[:, 0].tolist() == list(range(8))
        assert panel.where("y > 30")["y"].to_list() == [36, 49]
        assert max(data.read.count(row) for row in range(8)) <= 2  # once for y alone, once more for x

    def test_a_sample_that_fails_is_named(self) -> None:
        panel = DataPanel.from_torch(Squares(15), ["x", "y"], to={"x": "tensor", "y": "scalar"}, origin="squares")
        with pytest.raises(RuntimeError, match=r"Row 13 \(key 'squares/13'\).*thirteen"):
            panel["y"].to_list()

    def test_dictionaries_and_single_values_are_samples_too(self) -> None:
        panel = DataPanel.from_torch([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], to={"b": "text", "a": "scalar"})
        assert panel.to_dict() == {"b": ["x", "y"], "a": [1, 2]}
        assert DataPanel.from_torch([5, 6], ["n"])["n"].compute().to_list() == [5, 6]

    def test_pictures_are_pictures(self) -> None:
        data = [(Image.new("RGB", (4, 3)), 0), (Image.new("RGB", (4, 3)), 1)]
        panel = DataPanel.from_torch(data, ["image", "label"], to={"image": "image"})
        assert tuple(panel["image"].to_torch().shape) == (2, 3, 3, 4)

    def test_tensors_of_a_tensor_dataset_are_shared(self) -> None:
        x, y = torch.arange(6.0).reshape(3, 2), torch.tensor([0, 1, 0])
        panel = DataPanel.from_torch(TensorDataset(x, y), ["x", "y"])
        assert address(panel["x"].to_numpy()) == x.data_ptr()
        assert panel["y"].to_list() == [0, 1, 0]
        assert DataPanel.from_torch(TensorDataset(x, y), ["x", "y"], to={"x": "embedding"}).kind("x") == "embedding"

    def test_what_cannot_be_asked_by_number_is_refused(self) -> None:
        class Stream(IterableDataset[int]):
            def __iter__(self) -> Any:
                yield 1

        with pytest.raises(PanelError, match="IterableDataset gives them in order only"):
            DataPanel.from_torch(Stream(), ["x"])
        with pytest.raises(PanelError, match="Say what a sample"):
            DataPanel.from_torch(Squares(3))
        with pytest.raises(PanelError, match="generator has not"):
            DataPanel.from_torch((i for i in range(3)), ["x"])
        with pytest.raises(PanelError, match="got 'z'"):
            DataPanel.from_torch(Squares(3), ["x", "y"], to={"z": "scalar"})

    def test_samples_of_another_size_are_named(self) -> None:
        with pytest.raises(RuntimeError, match="must have 3 parts"):
            DataPanel.from_torch(Squares(3), ["a", "b", "c"], to={"a": "scalar"})["a"].to_list()
        with pytest.raises(RuntimeError, match=r"it has \['a'\]"):
            DataPanel.from_torch([{"a": 1}], ["b"], to={"b": "scalar"})["b"].to_list()


class TestTorchOut:
    @pytest.fixture
    def panel(self) -> DataPanel:
        pictures = np.arange(8 * 12, dtype=np.uint8).reshape(8, 3, 4)
        panel = DataPanel(
            {
                "picture": ImageColumn(pictures),
                "label": ScalarColumn(list("abababab"), classes=["b", "a"]),
                "x": np.arange(8, dtype=np.float32),
                "name": [f"n{i}" for i in range(8)],
            }
        )
        panel["later"] = panel["x"].map(plus_one, to="scalar")
        return panel

    def test_samples_are_tuples_of_the_names_asked_for(self, panel: DataPanel) -> None:
        data = panel.to_torch(["picture", "label"])
        assert isinstance(data, Dataset)
        assert len(data) == 8
        picture, label = data[1]
        assert picture.dtype == torch.uint8
        assert tuple(picture.shape) == (1, 3, 4)
        assert picture.flatten().tolist() == list(range(12, 24))
        assert int(label) == 0  # "b" is the first class
        assert int(data[-1][1]) == 0
        with pytest.raises(IndexError, match=r"\[-8, 8\); got 8"):
            data[8]

    def test_samples_are_dictionaries_of_everything_otherwise(self, panel: DataPanel) -> None:
        sample = panel.to_torch()[2]
        assert list(sample) == panel.columns
        assert sample["name"] == "n2"
        assert float(sample["later"]) == 3.0
        assert panel.to_torch(transform=lambda s: s["name"])[3] == "n3"

    def test_a_batch_is_one_pass(self, panel: DataPanel) -> None:
        sizes = []

        def batch(x: torch.Tensor) -> torch.Tensor:
            sizes.append(len(x))
            return x * 2

        panel["doubled"] = panel["x"].map(batch, to="scalar", batched=True)
        assert len(panel.to_torch(["doubled"]).__getitems__([5, 1, 3])) == 3
        assert sizes == [3]

    def test_null_is_none_beside_numbers(self) -> None:
        panel = DataPanel({"x": [1.5, None], "t": TensorColumn([np.ones(2), None])})
        data = panel.to_torch(["x", "t"])
        assert float(data[0][0]) == 1.5
        assert data[1] == (None, None)

    def test_changing_a_sample_does_not_change_the_panel(self) -> None:
        panel = DataPanel({"t": np.zeros((2, 2))})
        panel.to_torch(["t"])[0][0].fill_(7)
        assert panel["t"].to_numpy().sum() == 0

    @pytest.mark.parametrize("how", ["fork", "spawn"])
    def test_workers_read_the_same_rows(self, panel: DataPanel, how: str) -> None:
        loader = DataLoader(
            panel[::-1].to_torch(["x", "later", "name", "picture", "label"]),
            batch_size=3,
            num_workers=2 if how == "fork" else 1,
            multiprocessing_context=how,
        )
        batches = list(loader)
        assert torch.cat([b[0] for b in batches]).tolist() == [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]
        assert torch.cat([b[1] for b in batches]).tolist() == [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
        assert [n for b in batches for n in b[2]] == [f"n{i}" for i in range(7, -1, -1)]
        assert tuple(batches[0][3].shape) == (3, 1, 3, 4)
        assert torch.cat([b[4] for b in batches]).tolist() == [0, 1] * 4

    def test_forked_workers_read_results_that_were_spilled_to_a_file(self) -> None:
        panel = DataPanel({"x": np.arange(400)})
        panel["wide"] = panel["x"].map(spread, to="tensor")
        try:
            set_memory_budget(0)
            panel.compute("wide")
            loader = DataLoader(panel.to_torch(["x", "wide"]), 7, True, num_workers=2, multiprocessing_context="fork")
            for x, wide in loader:
                assert torch.equal(wide, x[:, None].expand(-1, 500).to(wide.dtype))
        finally:
            set_memory_budget(4 << 30)

    def test_a_lambda_is_sent_with_its_rows_when_it_is_computed(self, panel: DataPanel) -> None:
        import pickle

        panel["secret"] = panel["x"].map(lambda x: x + 1, to="scalar")
        data = panel.to_torch(["secret"])
        with pytest.raises(KindError, match=r"Column 'secret' cannot be sent.*panel\.compute\('secret'\)"):
            pickle.dumps(data)
        panel.compute("secret")
        copy = pickle.loads(pickle.dumps(data))  # noqa: S301 - our own, as DataLoader does it
        assert [float(s[0]) for s in copy] == [float(i) for i in range(1, 9)]

    def test_deep_chains_can_be_sent(self) -> None:
        import pickle

        panel = DataPanel({"x": [1.0, 2.0]})
        column = panel["x"]
        for _ in range(1500):
            column = column + 1
        panel["deep"] = column
        copy = pickle.loads(pickle.dumps(panel.to_torch(["deep"])))  # noqa: S301
        assert float(copy[0][0]) == 1501.0

    def test_a_column_that_is_not_there_is_named(self, panel: DataPanel) -> None:
        with pytest.raises(NoColumnError, match="did you mean 'label'"):
            panel.to_torch(["lable"])


def spread(x: int) -> np.ndarray[Any, Any]:
    return np.full(500, x)


datasets = pytest.importorskip("datasets")


class TestHuggingFace:
    @pytest.fixture
    def dataset(self, tmp_path: Any) -> Any:
        (tmp_path / "file.png").write_bytes(png(50))
        features = datasets.Features(
            {
                "image": datasets.Image(),
                "label": datasets.ClassLabel(names=["cat", "dog"]),
                "text": datasets.Value("string"),
                "number": datasets.Value("float32"),
                "grid": datasets.Array2D((2, 3), "float32"),
                "fixed": datasets.List(datasets.Value("int32"), length=2),
                "free": datasets.List(datasets.Value("int32")),
                "nested": {"a": datasets.Value("int64"), "b": datasets.Value("string")},
            }
        )
        rows = {
            "image": [{"bytes": png(10), "path": None}, {"bytes": None, "path": str(tmp_path / "file.png")}, None],
            "label": [1, 0, -1],
            "text": ["a", None, "c"],
            "number": [1.5, None, 2.5],
            "grid": np.arange(18, dtype=np.float32).reshape(3, 2, 3).tolist(),
            "fixed": [[1, 2], [3, 4], [5, 6]],
            "free": [[1], [], [2, 3]],
            "nested": [{"a": 1, "b": "x"}] * 3,
        }
        return datasets.Dataset.from_dict(rows, features=features)

    def test_features_become_kinds(self, dataset: Any) -> None:
        panel = DataPanel.from_huggingface(dataset)
        assert [panel.kind(n) for n in panel.columns] == [
            "image", "scalar", "scalar", "scalar", "tensor", "tensor", "scalar", "scalar",
        ]  # fmt: skip
        assert panel["label"].spec.classes == ("cat", "dog")
        assert panel["label"].to_list() == ["dog", "cat", None]
        assert panel["number"].to_list() == [1.5, None, 2.5]
        assert panel["grid"].to_numpy().tolist() == np.arange(18.0).reshape(3, 2, 3).tolist()
        assert panel["fixed"].to_numpy().tolist() == [[1, 2], [3, 4], [5, 6]]
        assert panel["free"].to_list() == [[1], [], [2, 3]]
        assert panel["nested"].to_list()[0] == {"a": 1, "b": "x"}
        pictures = panel["image"].to_list()
        assert [p and p.getpixel((0, 0)) for p in pictures] == [(10, 20, 0), (50, 100, 0), None]

    def test_nothing_is_decoded_by_taking_it_in(self, dataset: Any) -> None:
        broken = datasets.Dataset.from_dict(
            {"image": [{"bytes": b"no picture", "path": None}]}, features=datasets.Features({"image": datasets.Image()})
        )
        panel = DataPanel.from_huggingface(broken)
        assert len(panel) == 1
        with pytest.raises(RuntimeError, match="Row 0"):
            panel["image"].to_list()

    def test_a_shuffled_dataset_keeps_its_keys(self, dataset: Any) -> None:
        whole = DataPanel.from_huggingface(dataset)
        chosen = DataPanel.from_huggingface(dataset.select([2, 0]))
        assert chosen["text"].to_list() == ["c", "a"]
        assert chosen.key.to_list() == [whole.key[2], whole.key[0]]

    def test_a_round_trip_keeps_features_and_values(self, dataset: Any) -> None:
        panel = DataPanel.from_huggingface(dataset)
        out = panel.to_huggingface()
        assert out.features["label"] == datasets.ClassLabel(names=["cat", "dog"])
        assert out.features["image"] == datasets.Image()
        assert out.features["grid"] == datasets.Array2D((2, 3), "float32")
        assert out[0]["image"].getpixel((0, 0)) == (10, 20, 0)
        assert out[2]["image"] is None
        back = DataPanel.from_huggingface(out)
        assert_same_rows(panel, back)

    def test_our_kinds_go_out(self, mixed: DataPanel) -> None:
        out = mixed.to_huggingface()
        assert list(out.features) == mixed.columns
        assert out[0]["prediction"] == [0.1, 0.9]
        assert out[1]["gaps"] is None
        assert out[2]["picture"].getpixel((0, 0)) == (80, 160, 0)
        back = DataPanel.from_huggingface(out)
        assert back["class"].spec.classes == ("z", "b", "a")
        assert_same_rows(mixed, back, [n for n in mixed.columns if n != "thing"])
        assert len(mixed[:0].to_huggingface()) == 0

    def test_grey_pictures_stay_grey(self) -> None:
        panel = DataPanel({"i": ImageColumn([png(90, mode="L")], mode="L")})
        back = DataPanel.from_huggingface(panel.to_huggingface())
        assert back["i"][0].mode == "L"

    def test_splits_and_streams_are_refused_with_the_remedy(self, dataset: Any) -> None:
        with pytest.raises(PanelError, match=r"dataset\['train'\]"):
            DataPanel.from_huggingface(datasets.DatasetDict({"train": dataset}))
        with pytest.raises(PanelError, match="take"):
            DataPanel.from_huggingface(dataset.to_iterable_dataset())
        with pytest.raises(PanelError, match="got list"):
            DataPanel.from_huggingface([])


def test_a_library_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    panel = DataPanel({"x": [1]})
    for module in ("polars", "datasets", "meerkat"):
        monkeypatch.setitem(sys.modules, module, None)
    for call in (panel.to_polars, lambda: DataPanel.from_polars(1)):
        with pytest.raises(MissingExtra, match=r"rationale-workbench\[polars\]"):
            call()
    for call in (panel.to_huggingface, lambda: DataPanel.from_huggingface(1)):
        with pytest.raises(MissingExtra, match=r"rationale-workbench\[huggingface\]"):
            call()
    for call in (panel.to_meerkat, lambda: DataPanel.from_meerkat(1)):
        with pytest.raises(MissingExtra, match=r"rationale-workbench\[meerkat\]"):
            call()

"""A folder of pictures, CSV, Parquet and Arrow IPC, in and out; real files."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from columns import ImageColumn, KindError, ObjectColumn, PredictionColumn, ScalarColumn, StoreError, TensorColumn
from workbench import DataPanel
from workbench.errors import DataError, NoColumnError, PanelError


def picture(path: Path, value: int = 7) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (5, 4), (value, 0, 0)).save(path)
    return path


def red(panel: DataPanel, name: str = "image") -> list[int]:
    return [p.getpixel((0, 0))[0] for p in panel[name]]


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        root = tmp_path / "my photos"
        picture(root / "dog" / "b.png", 20)
        picture(root / "cat" / "ä 2.PNG", 12)
        picture(root / "cat" / "a.png", 11)
        picture(root / "dog" / "puppy" / "c.png", 30)
        picture(root / "cat" / ".hidden.png")
        picture(root / ".cache" / "x.png")
        (root / "cat" / "notes.txt").write_text("no picture")
        (root / "empty").mkdir()
        return root

    def test_rows_are_sorted_by_path_and_labelled_by_folder(self, folder: Path) -> None:
        panel = DataPanel.from_folder(folder)
        assert panel.columns == ["image", "label"]
        assert panel["label"].to_list() == ["cat", "cat", "dog", "puppy"]
        assert panel["label"].spec.classes == ("cat", "dog", "puppy")
        assert red(panel) == [11, 12, 20, 30]

    def test_keys_are_the_folder_and_relative_paths_and_move_with_it(self, folder: Path, tmp_path: Path) -> None:
        keys = ["my photos/cat/a.png", "my photos/cat/ä 2.PNG", "my photos/dog/b.png", "my photos/dog/puppy/c.png"]
        assert DataPanel.from_folder(folder).key.to_list() == keys
        moved = tmp_path / "else" / "my photos"
        moved.parent.mkdir()
        folder.rename(moved)
        picture(moved / "ant" / "first.png")
        assert DataPanel.from_folder(moved).key.to_list()[1:] == keys
        assert DataPanel.from_folder(moved, origin="o").key[0] == "o/ant/first.png"

    def test_nothing_is_opened_before_it_is_asked_for(self, folder: Path) -> None:
        (folder / "dog" / "broken.jpg").write_bytes(b"no picture")
        panel = DataPanel.from_folder(folder)
        assert len(panel) == 5
        with pytest.raises(RuntimeError, match=r"my photos/dog/broken\.jpg"):
            panel["image"].to_list()

    def test_labels_can_be_left_out_and_the_column_named(self, folder: Path) -> None:
        assert DataPanel.from_folder(folder, labels=False, name="photo").columns == ["photo"]

    def test_a_picture_beside_the_class_folders_has_no_label(self, folder: Path) -> None:
        picture(folder / "stray.png", 5)
        panel = DataPanel.from_folder(folder)
        assert panel["label"].to_list()[-1] is None
        assert red(panel)[-1] == 5

    def test_a_link_that_leads_back_is_followed_once(self, folder: Path) -> None:
        (folder / "cat" / "loop").symlink_to(folder, target_is_directory=True)
        assert len(DataPanel.from_folder(folder)) == 4

    def test_the_current_folder_has_a_name(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder)
        assert DataPanel.from_folder(".").key[0] == "my photos/cat/a.png"

    def test_missing_empty_and_wrong_folders_are_told_apart(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="nothing there"):
            DataPanel.from_folder(tmp_path / "gone")
        with pytest.raises(DataError, match="it is a file"):
            DataPanel.from_folder(picture(tmp_path / "one.png"))
        (tmp_path / "e").mkdir()
        with pytest.raises(DataError, match="it is empty"):
            DataPanel.from_folder(tmp_path / "e")
        (tmp_path / "e" / "a.txt").touch()
        with pytest.raises(DataError, match=r"it holds 'a\.txt' and 0 other files"):
            DataPanel.from_folder(tmp_path / "e")

    def test_labels_need_class_folders(self, tmp_path: Path) -> None:
        picture(tmp_path / "a.png")
        with pytest.raises(DataError, match="labels=False"):
            DataPanel.from_folder(tmp_path)
        assert len(DataPanel.from_folder(tmp_path, labels=False)) == 1


class TestCsv:
    def write(self, path: Path, text: str, encoding: str = "utf-8") -> Path:
        path.write_text(text, encoding=encoding)
        return path

    def test_types_are_inferred_and_null_is_told_from_nan_and_empty_text(self, tmp_path: Path) -> None:
        text = 'i,f,s,b,d\n1,0.5,x,true,2020-01-02\n,nan,"",,\n3,,NA,false,1999-12-31\n4,1,"NA",true,2000-01-01\n'
        panel = DataPanel.from_csv(self.write(tmp_path / "t.csv", text))
        assert panel["i"].to_list() == [1, None, 3, 4]
        reals = panel["f"].to_list()
        assert np.isnan(reals[1])
        assert reals[2] is None
        assert panel["s"].to_list() == ["x", "", None, "NA"]
        assert panel["b"].to_list() == [True, None, False, True]
        assert panel["d"].to_list()[0].year == 2020
        assert DataPanel.from_csv(tmp_path / "t.csv", nulls=[""])["s"].to_list()[2] == "NA"

    def test_paths_of_pictures_are_relative_to_the_file(self, tmp_path: Path) -> None:
        picture(tmp_path / "p" / "a b.png", 33)
        file = self.write(tmp_path / "t.csv", 'photo,y\n"p/a b.png",1\n')
        panel = DataPanel.from_csv(file, images="photo")
        assert panel.kind("photo") == "image"
        assert red(panel, "photo") == [33]
        inner = self.write(tmp_path / "u.csv", "photo,y\na b.png,1\n")
        assert red(DataPanel.from_csv(inner, images=["photo"], base=tmp_path / "p"), "photo") == [33]
        with pytest.raises(NoColumnError, match="did you mean 'photo'"):
            DataPanel.from_csv(file, images="foto")
        with pytest.raises(KindError, match="Column 'y'"):
            DataPanel.from_csv(file, images="y")

    def test_a_column_makes_the_keys(self, tmp_path: Path) -> None:
        file = self.write(tmp_path / "t.csv", "id,x\na,1\nb,2\n")
        assert DataPanel.from_csv(file, key="id", origin="o").key.to_list() == ["o/a", "o/b"]

    def test_a_round_trip_keeps_values_and_keys(self, tmp_path: Path) -> None:
        picture(tmp_path / "a.png", 44)
        panel = DataPanel(
            {
                "i": [1, None],
                "f": np.array([np.nan, 2.5]),
                "s": ['comma, "quote"\nline', ""],
                "n": ["NA", None],
                "c": ScalarColumn(["u", None], classes=["v", "u"]),
                "p": ImageColumn(["a.png", None], base=tmp_path),
            },
            origin="o",
        )[::-1]
        panel.to_csv(tmp_path / "out.csv", keys=True)
        back = DataPanel.from_csv(tmp_path / "out.csv", images="p", key="key", origin="")
        assert back.key.to_list() == ["o/1", "o/0"]
        assert back["i"].to_list() == [None, 1]
        assert np.isnan(back["f"].to_list()[1])
        assert back["s"].to_list() == ["", 'comma, "quote"\nline']
        assert back["n"].to_list() == [None, "NA"]
        assert back["c"].to_list() == [None, "u"]
        assert back["p"][1].getpixel((0, 0))[0] == 44

    def test_what_is_not_one_plain_value_is_refused_by_name(self, tmp_path: Path) -> None:
        for column in (TensorColumn(np.ones((2, 2))), ImageColumn(np.zeros((2, 3, 3), np.uint8)), [[1], [2, 3]]):
            with pytest.raises(KindError, match="'odd'"):
                DataPanel({"x": [1, 2], "odd": column}).to_csv(tmp_path / "t.csv")
        assert os.listdir(tmp_path) == []

    def test_bad_files_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"there is no '.*gone\.csv'"):
            DataPanel.from_csv(tmp_path / "gone.csv")
        with pytest.raises(DataError, match="is a directory"):
            DataPanel.from_csv(tmp_path)
        with pytest.raises(DataError, match=r"(?i)empty"):
            DataPanel.from_csv(self.write(tmp_path / "e.csv", ""))
        with pytest.raises(DataError, match=r"Expected 2 columns, got 3"):
            DataPanel.from_csv(self.write(tmp_path / "r.csv", "a,b\n1,2,3\n"))
        with pytest.raises(PanelError, match=r"'a' \(2 times\)"):
            DataPanel.from_csv(self.write(tmp_path / "d.csv", "a,b,a\n1,2,3\n"))

    def test_other_encodings_and_delimiters_are_said(self, tmp_path: Path) -> None:
        file = self.write(tmp_path / "l.csv", "städt;x\nKöln;1\n", "latin-1")
        with pytest.raises(DataError, match="latin-1"):
            DataPanel.from_csv(file, delimiter=";")
        panel = DataPanel.from_csv(file, delimiter=";", encoding="latin-1")
        assert panel["städt"].to_list() == ["Köln"]
        bom = self.write(tmp_path / "b.csv", "a\n1\n", "utf-8-sig")
        assert DataPanel.from_csv(bom).columns == ["a"]

    def test_a_header_alone_is_an_empty_panel(self, tmp_path: Path) -> None:
        panel = DataPanel.from_csv(self.write(tmp_path / "h.csv", "a,b\n"))
        assert panel.shape == (0, 2)


def rich(root: Path) -> DataPanel:
    picture(root / "a.png", 1)
    picture(root / "b.png", 2)
    return DataPanel(
        {
            "f": np.array([0.5, np.nan]),
            "c": ScalarColumn(["u", None], classes=["w", "v", "u"]),
            "t": TensorColumn([np.ones((2, 3), np.float32), None]),
            "p": PredictionColumn([[0.0, 1.0], [2.0, 0.0]], ["no", "yes"]),
            "i": ImageColumn(["a.png", "b.png"], base=root),
            "o": ObjectColumn([{"a": 1}, None]),
            "n": [["x"], None],
        },
        origin="rich",
    )


class TestParquetAndIpc:
    @pytest.mark.parametrize("form", ["parquet", "ipc"])
    @pytest.mark.parametrize("images", ["auto", "bytes"])
    def test_a_round_trip_keeps_kinds_values_and_keys(self, tmp_path: Path, form: str, images: str) -> None:
        panel = rich(tmp_path)[::-1]
        file = tmp_path / f"t.{form}"
        getattr(panel, f"to_{form}")(file, images=images, keys=True)
        back = getattr(DataPanel, f"from_{form}")(file)
        assert back.columns == panel.columns
        assert [back.kind(n) for n in back.columns] == [panel.kind(n) for n in panel.columns]
        assert back.key.to_list() == ["rich/1", "rich/0"]
        assert back["c"].spec.classes == ("w", "v", "u")
        assert back["p"].label.to_list() == ["no", "yes"]
        assert back["t"].to_list()[0] is None
        assert back["t"].to_numpy()[1].tolist() == np.ones((2, 3)).tolist()
        assert np.isnan(back["f"].to_list()[0])
        assert back["o"].to_list() == [None, {"a": 1}]
        assert back["n"].to_list() == [None, ["x"]]
        assert red(back, "i") == [2, 1]

    @pytest.mark.parametrize("form", ["parquet", "ipc"])
    def test_many_rows_are_written_in_pieces(self, tmp_path: Path, form: str) -> None:
        count = 40_000
        panel = DataPanel(
            {"x": np.arange(count), "c": ScalarColumn(np.arange(count) % 3, classes=["a", "b", "c"])}, origin="many"
        )
        panel["y"] = panel["x"] * 2
        file = tmp_path / "t"
        getattr(panel, f"to_{form}")(file)
        back = getattr(DataPanel, f"from_{form}")(file)
        assert np.array_equal(back["y"].to_numpy(), np.arange(count) * 2)
        assert back["c"].value_counts() == panel["c"].value_counts()
        if form == "parquet":
            assert pa.parquet.ParquetFile(file).metadata.num_row_groups > 1

    def test_a_write_that_fails_leaves_the_file_that_was_there(self, tmp_path: Path) -> None:
        file = tmp_path / "t.parquet"
        DataPanel({"x": [1]}).to_parquet(file)
        before = file.read_bytes()

        def fail(x: int) -> int:
            if x > 30_000:
                raise ValueError("no")
            return x

        panel = DataPanel({"x": np.arange(32_000)})
        panel["y"] = panel["x"].map(fail, to="scalar")
        with pytest.raises(RuntimeError, match="30001"):
            panel.to_parquet(file)
        assert file.read_bytes() == before
        assert os.listdir(tmp_path) == ["t.parquet"]

    def test_only_the_columns_asked_for_are_read(self, tmp_path: Path) -> None:
        DataPanel({"x": [1], "y": [2]}).to_parquet(tmp_path / "t")
        assert DataPanel.from_parquet(tmp_path / "t", names=["y"]).columns == ["y"]
        with pytest.raises(NoColumnError, match="No column 'z'"):
            DataPanel.from_parquet(tmp_path / "t", names=["z"])

    def test_a_file_that_pandas_wrote_loses_its_nameless_index(self, tmp_path: Path) -> None:
        pd.DataFrame({"x": [1, 2]}, index=["a", "b"]).to_parquet(tmp_path / "t")
        assert DataPanel.from_parquet(tmp_path / "t").columns == ["x"]

    def test_a_directory_of_parquet_files_is_one_panel(self, tmp_path: Path) -> None:
        for i in range(2):
            DataPanel({"x": [i]}).to_parquet(tmp_path / f"{i}.parquet")
        assert DataPanel.from_parquet(tmp_path)["x"].to_list() == [0, 1]

    def test_pictures_in_a_foreign_file_are_named(self, tmp_path: Path) -> None:
        buffer = io.BytesIO()
        Image.new("RGB", (2, 2), (9, 0, 0)).save(buffer, "PNG")
        pa.parquet.write_table(pa.table({"i": [buffer.getvalue()]}), tmp_path / "t")
        assert red(DataPanel.from_parquet(tmp_path / "t", images="i"), "i") == [9]

    def test_a_stream_is_read_as_a_file_is(self, tmp_path: Path) -> None:
        table = pa.table({"x": [1, 2]})
        with pa.ipc.new_stream(str(tmp_path / "s"), table.schema) as writer:
            writer.write_table(table)
        assert DataPanel.from_ipc(tmp_path / "s")["x"].to_list() == [1, 2]

    @pytest.mark.parametrize("form", ["parquet", "ipc"])
    def test_damaged_and_missing_files_are_named(self, tmp_path: Path, form: str) -> None:
        read: Any = getattr(DataPanel, f"from_{form}")
        with pytest.raises(DataError, match="there is no"):
            read(tmp_path / "gone")
        DataPanel({"x": np.arange(1000)}).to_parquet(tmp_path / "t")
        for content in ((tmp_path / "t").read_bytes()[:-20], b"", b"nonsense"):
            (tmp_path / "bad").write_bytes(content)
            with pytest.raises(DataError, match=r"bad' cannot be read"):
                read(tmp_path / "bad")

    def test_duplicate_names_in_a_file_are_named(self, tmp_path: Path) -> None:
        table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
        pa.parquet.write_table(table, tmp_path / "t")
        with pytest.raises(PanelError, match=r"'x' \(2 times\)"):
            DataPanel.from_parquet(tmp_path / "t")

    def test_there_must_be_a_directory_to_write_into(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="there is no"):
            DataPanel({"x": [1]}).to_parquet(tmp_path / "gone" / "t")

    def test_an_empty_panel_is_written_and_read(self, tmp_path: Path) -> None:
        rich(tmp_path)[:0].to_parquet(tmp_path / "t")
        back = DataPanel.from_parquet(tmp_path / "t")
        assert len(back) == 0
        assert back.kind("i") == "image"


class TestMeerkatDirectory:
    """Meerkat's format without Meerkat, as it lies on disk; test_meerkat.py reads what Meerkat itself wrote."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        blocks = tmp_path / "df" / "mgr" / "blocks"
        (tmp_path / "df" / "mgr" / "columns" / "o").mkdir(parents=True)
        for name in ("1", "2", "3"):
            (blocks / name).mkdir(parents=True)
        pa.feather.write_feather(pa.table({"i": [1, 2], "s": ["a", None]}), blocks / "1" / "data.feather")
        np.save(blocks / "2" / "data.npy", np.arange(8).reshape(2, 4))
        torch.save(torch.ones(2, 3), blocks / "3" / "data.pt")
        (tmp_path / "df" / "mgr" / "columns" / "o" / "data.dill").write_bytes(b"whatever")
        tag = "!!python/name:meerkat.columns.scalar.pandas.PandasScalarColumn ''"
        parts = {
            "i": ("1", "i"),
            "s": ("1", "s"),
            "n": ("2", "0"),
            "t": ("2", "{start: 1, stop: 4, step: 1}"),
            "p": ("3", "null"),
        }
        lines = ["columns:"]
        for name, (block, index) in parts.items():
            lines += [
                f"  {name}:",
                f"    dtype: {tag}",
                f"    block: {{block_dir: blocks/{block}, block_index: {index}}}",
            ]
        lines += ["  o:", f"    dtype: {tag}", "_column_order: [s, i, n, t, p, o]"]
        (tmp_path / "df" / "mgr" / "meta.yaml").write_text("\n".join(lines))
        (tmp_path / "df" / "meta.yaml").write_text("len: 2")
        return tmp_path / "df"

    def test_blocks_are_read_in_the_order_of_the_columns(self, root: Path) -> None:
        panel = DataPanel.from_meerkat(root, without=["o"])
        assert panel.columns == ["s", "i", "n", "t", "p"]
        assert panel["s"].to_list() == ["a", None]
        assert panel["n"].to_list() == [0, 4]
        assert panel["t"].to_numpy().tolist() == [[1, 2, 3], [5, 6, 7]]
        assert panel["p"].to_numpy().shape == (2, 3)

    def test_a_pickle_is_refused_by_file(self, root: Path) -> None:
        with pytest.raises(StoreError, match=r"Column 'o'.*o/data\.dill.*without=\['o'\]"):
            DataPanel.from_meerkat(root)

    def test_lengths_that_differ_and_parts_that_are_not_there_are_told(self, root: Path) -> None:
        np.save(root / "mgr" / "blocks" / "2" / "data.npy", np.arange(4).reshape(1, 4))
        with pytest.raises(StoreError, match=r"one length; they have \[1, 2\] rows"):
            DataPanel.from_meerkat(root, without=["o"])
        np.save(root / "mgr" / "blocks" / "2" / "data.npy", np.arange(4).reshape(2, 2)[:, :0])
        with pytest.raises(StoreError, match="Block 'blocks/2' has no part 0"):
            DataPanel.from_meerkat(root, without=["o"])
        (root / "mgr" / "blocks" / "1" / "data.feather").write_bytes(b"ARROW1")
        with pytest.raises(StoreError, match=r"data\.feather' is damaged"):
            DataPanel.from_meerkat(root, without=["o"])

"""The Meerkat bridge; runs where meerkat-ml is installed, by ``make test-meerkat``, and skips itself elsewhere."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from columns import FileColumn, ImageColumn, ObjectColumn, PredictionColumn, ScalarColumn, StoreError, TensorColumn
from workbench import DataPanel
from workbench.errors import NoColumnError, PanelError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Meerkat and what it rests on are of 2023, and warn as they are imported
    mk = pytest.importorskip("meerkat")

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning",
    "ignore::DeprecationWarning",
    "ignore::ResourceWarning",  # Meerkat leaves the files open that it writes pickles to
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for i in range(3):
        Image.new("RGB", (5, 4), (40 * i, 1, 2)).save(tmp_path / f"{i}.png")
    return tmp_path


def doubled(x: int) -> int:
    return int(x) * 2


calls: list[int] = []


def counted(x: int) -> int:
    calls.append(int(x))
    return int(x) + 1


def thrice(x: float) -> float:
    return x * 3


def reds(column: Any) -> list[int]:
    return [picture.getpixel((0, 0))[0] for picture in column]


class TestIn:
    def test_scalars_tensors_and_objects(self) -> None:
        frame = mk.DataFrame(
            {
                "i": [1, 2, 3],
                "f": np.array([0.5, np.nan, 2.0]),
                "s": ["a", "b", "c"],
                "c": pd.Series(pd.Categorical(["x", None, "y"], categories=["y", "x"])),
                "t": torch.arange(6.0).reshape(3, 2),
                "n": np.arange(12).reshape(3, 2, 2),
                "o": mk.ObjectColumn([{"a": 1}, None, (1, 2)]),
            }
        )
        panel = DataPanel.from_meerkat(frame)
        assert panel.columns == list(frame.columns)
        assert [panel.kind(n) for n in panel.columns] == [
            "scalar", "scalar", "scalar", "scalar", "tensor", "tensor", "object",
        ]  # fmt: skip
        assert panel["i"].to_list() == [1, 2, 3]
        assert panel["f"].to_list() == [0.5, None, 2.0], "Meerkat holds scalars in pandas, where NaN is null"
        assert panel["c"].spec.classes == ("y", "x")
        assert panel["c"].to_list() == ["x", None, "y"]
        assert panel["t"].to_numpy().tolist() == [[0, 1], [2, 3], [4, 5]]
        assert panel["n"].to_numpy().shape == (3, 2, 2)
        assert panel["o"].to_list() == [{"a": 1}, None, (1, 2)]

    def test_pictures_in_files_are_lazy_and_can_be_moved(self, pictures: Path) -> None:
        frame = mk.DataFrame({"p": mk.image(["2.png", "0.png", "gone.png"], base_dir=str(pictures))})
        panel = DataPanel.from_meerkat(frame)
        assert panel.kind("p") == "image"
        assert reds(panel[:2]["p"]) == [80, 0]
        assert reds(panel[:2]["p"].rebase(pictures)) == [80, 0]

    def test_the_base_directory_may_name_environment_variables(
        self, pictures: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PICTURES_OF_THIS_TEST", str(pictures))
        frame = mk.DataFrame({"p": mk.image(["1.png"], base_dir="$PICTURES_OF_THIS_TEST")})
        assert reds(DataPanel.from_meerkat(frame)["p"]) == [40]
        monkeypatch.delenv("PICTURES_OF_THIS_TEST")
        with pytest.raises(PanelError, match="PICTURES_OF_THIS_TEST"):
            DataPanel.from_meerkat(frame)

    def test_other_files_keep_their_loader(self, pictures: Path) -> None:
        frame = mk.DataFrame({"f": mk.files([str(pictures / "0.png")], loader=lambda path: path.rsplit(".", 1)[1])})
        panel = DataPanel.from_meerkat(frame)
        assert panel.kind("f") == "file"
        assert panel["f"].to_list() == ["png"]

    def test_deferred_columns_run_when_asked_and_once_a_row(self) -> None:
        frame = mk.DataFrame({"x": [1, 2, 3, 4]})
        frame["y"] = frame["x"].defer(counted)
        calls.clear()
        panel = DataPanel.from_meerkat(frame)
        repr(panel), panel[1:3]
        assert calls == []
        assert panel[1:3]["y"].to_list() == [3, 4]
        assert calls == [2, 3]
        assert (panel["y"] * 10).to_list() == [20, 30, 40, 50]
        assert sorted(calls) == [1, 2, 3, 4]

    def test_deferred_columns_over_pictures_and_with_several_outputs(self, pictures: Path) -> None:
        frame = mk.DataFrame({"p": mk.image(["0.png", "1.png"], base_dir=str(pictures)), "x": [1, 2]})
        frame["mean"] = frame["p"].defer(lambda picture: np.asarray(picture).mean(axis=(0, 1)))
        both = frame["x"].defer(lambda x: {"a": x + 1, "b": str(x)})
        frame["a"], frame["b"] = both["a"], both["b"]
        frame["batched"] = frame["x"].defer(lambda x: x * 2, is_batched_fn=True)
        panel = DataPanel.from_meerkat(frame)
        assert panel["mean"].compute().to_numpy()[:, 0].tolist() == [0, 40]
        assert panel["a"].compute().to_list() == [2, 3]
        assert panel["b"].compute().to_list() == ["1", "2"]
        assert panel["batched"].compute().to_list() == [2, 4]

    def test_a_column_makes_the_keys_or_is_left_out(self) -> None:
        frame = mk.DataFrame({"id": ["a", "b"], "x": [1, 2]})
        assert DataPanel.from_meerkat(frame, key="id", origin="o").key.to_list() == ["o/a", "o/b"]
        assert DataPanel.from_meerkat(frame, without=["id"]).columns == ["x"]
        with pytest.raises(NoColumnError, match="No column 'y'"):
            DataPanel.from_meerkat(frame, without=["y"])
        with pytest.raises(PanelError, match="got list"):
            DataPanel.from_meerkat([1])


class TestOut:
    @pytest.fixture
    def panel(self, pictures: Path) -> DataPanel:
        panel = DataPanel(
            {
                "i": [3, 4, 5],
                "gap": [1, None, 3],
                "s": ["a", "b", None],
                "c": ScalarColumn(["u", "v", "u"], classes=["v", "u"]),
                "t": TensorColumn(np.arange(6, dtype=np.float32).reshape(3, 2)),
                "p": PredictionColumn([[0.1, 0.9], [0.5, 0.5], [1.0, 0.0]], ["no", "yes"]),
                "files": ImageColumn([f"{i}.png" for i in range(3)], base=pictures),
                "pixels": ImageColumn(np.full((3, 2, 2), 9, np.uint8)),
                "file": FileColumn([f"{i}.png" for i in range(3)], loader=lambda path: path.name, base=pictures),
                "o": ObjectColumn([{1}, None, "x"]),
            }
        )
        panel["later"] = panel["i"].map(counted, to="scalar")
        return panel

    def test_every_kind_goes_out(self, panel: DataPanel) -> None:
        frame = panel.to_meerkat()
        assert list(frame.columns) == panel.columns
        assert list(frame["i"]) == [3, 4, 5]
        assert frame["c"].data.cat.categories.tolist() == ["v", "u"]
        assert np.asarray(frame["t"].data).tolist() == [[0, 1], [2, 3], [4, 5]]
        assert frame["p"].data.shape == (3, 2)
        assert frame["files"][1]().getpixel((0, 0)) == (40, 1, 2)
        assert frame["pixels"][0]().getpixel((0, 0)) == 9
        assert frame["file"][2]() == "2.png"
        assert frame["o"][0] == {1}
        assert frame["gap"].data.isna().tolist() == [False, True, False]

    def test_what_is_not_computed_is_deferred_and_computed_once(self, panel: DataPanel) -> None:
        calls.clear()
        frame = panel.to_meerkat()
        assert isinstance(frame["later"], mk.DeferredColumn)
        assert len(calls) <= 1  # Meerkat looks at one row as it defers
        assert [frame["later"][i]() for i in range(3)] == [4, 5, 6]
        assert sorted(calls) == [3, 4, 5]
        assert not isinstance(panel.to_meerkat()["later"], mk.DeferredColumn)

    def test_a_round_trip_keeps_values_and_pictures(self, panel: DataPanel) -> None:
        back = DataPanel.from_meerkat(panel[::-1].to_meerkat())
        turned = panel[::-1]
        for name in ("i", "gap", "s", "c", "o"):
            assert back[name].to_list() == turned[name].to_list(), name
        assert np.array_equal(back["t"].to_numpy(), turned["t"].to_numpy())
        assert back.kind("files") == "image"
        assert reds(back["files"]) == [80, 40, 0]
        assert back["pixels"].compute()[0].getpixel((0, 0)) == 9
        assert back["later"].compute().to_list() == [6, 5, 4]

    def test_an_empty_panel_goes_out(self) -> None:
        frame = DataPanel({"x": np.zeros(0), "t": TensorColumn(np.zeros((0, 2)))}).to_meerkat()
        assert len(frame) == 0


class Trap:
    """Writes a file when it is unpickled: what a stranger's directory may do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


class TestDirectory:
    @pytest.fixture
    def written(self, tmp_path: Path, pictures: Path) -> Path:
        frame = mk.DataFrame(
            {
                "i": [1, 2, 3],
                "f": np.array([0.5, np.nan, 2.0]),
                "s": ["a", "b", None],
                "c": pd.Series(pd.Categorical(["x", "y", "x"], categories=["y", "x"])),
                "arrow": mk.ArrowScalarColumn(["u", "v", "w"]),
                "t": torch.arange(6.0).reshape(3, 2),
                "n": np.arange(12).reshape(3, 2, 2),
                "m": np.arange(12, 18).reshape(3, 2),
            }
        )
        frame.write(str(tmp_path / "df"))
        return tmp_path / "df"

    def test_scalars_and_tensors_are_read_without_meerkat(self, written: Path) -> None:
        panel = DataPanel.from_meerkat(written)
        assert panel.columns == ["i", "f", "s", "c", "arrow", "t", "n", "m"]
        assert panel["i"].to_list() == [1, 2, 3]
        assert panel["s"].to_list() == ["a", "b", None]
        assert panel["c"].spec.classes == ("y", "x")
        assert panel["arrow"].to_list() == ["u", "v", "w"]
        assert panel["t"].to_numpy().tolist() == [[0, 1], [2, 3], [4, 5]]
        assert panel["n"].to_numpy().tolist() == np.arange(12).reshape(3, 2, 2).tolist()
        assert panel["m"].to_numpy().tolist() == [[12, 13], [14, 15], [16, 17]]
        assert DataPanel.from_meerkat(written, key="i", origin="o").key[0] == "o/1"

    def test_pickled_columns_are_refused_by_file_and_nothing_runs(self, tmp_path: Path, pictures: Path) -> None:
        frame = mk.DataFrame({"x": [1, 2], "o": mk.ObjectColumn([{"a": 1}, "b"])})
        frame["p"] = mk.image(["0.png", "1.png"], base_dir=str(pictures))
        frame["d"] = frame["x"].defer(lambda x: x + 1)
        frame.write(str(tmp_path / "df"))
        sprung = tmp_path / "sprung"
        with (tmp_path / "df" / "mgr" / "columns" / "o" / "data.dill").open("wb") as file:
            pickle.dump(Trap(sprung), file)
        without: list[str] = []
        for name, file_name in (("o", r"o/data\.dill"), ("p", r"data\.op/meta\.yaml"), ("d", r"data\.op/meta\.yaml")):
            rest = [n for n in ("o", "p", "d") if n != name]
            with pytest.raises(StoreError, match=rf"Column '{name}' cannot be read.*{file_name}.*without=\['{name}'\]"):
                DataPanel.from_meerkat(tmp_path / "df", without=rest)
            without.append(name)
        panel = DataPanel.from_meerkat(tmp_path / "df", without=without)
        assert panel.columns == ["x"]
        assert not sprung.exists()

    def test_a_pickle_in_the_place_of_an_array_is_refused(self, written: Path, tmp_path: Path) -> None:
        sprung = tmp_path / "sprung"
        tensor = next(written.rglob("data.pt"))
        torch.save({"trap": Trap(sprung)}, tensor)
        with pytest.raises(StoreError, match=r"Column 't'.*data\.pt"):
            DataPanel.from_meerkat(written)
        arrays = list(written.rglob("data.npy"))
        np.save(arrays[0], np.array([Trap(sprung)] * 3, object), allow_pickle=True)
        with pytest.raises(StoreError, match=r"data\.npy"):
            DataPanel.from_meerkat(written, without=["t"])
        assert not sprung.exists()

    def test_tags_in_the_yaml_are_never_looked_up(self, written: Path, tmp_path: Path) -> None:
        sprung = tmp_path / "sprung"
        meta = written / "mgr" / "meta.yaml"
        meta.write_text(f"trap: !!python/object/apply:os.mkdir ['{sprung}']\n" + meta.read_text())
        assert DataPanel.from_meerkat(written)["i"].to_list() == [1, 2, 3]
        assert not sprung.exists()

    def test_parts_outside_of_the_directory_are_refused(self, written: Path) -> None:
        meta = written / "mgr" / "meta.yaml"
        meta.write_text(meta.read_text().replace("block_dir: blocks/", "block_dir: ../../elsewhere/"))
        with pytest.raises(StoreError, match="must stay inside"):
            DataPanel.from_meerkat(written)

    def test_what_is_no_such_directory_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"meta\.yaml"):
            DataPanel.from_meerkat(tmp_path)
        (tmp_path / "meta.yaml").write_text("{}")
        with pytest.raises(StoreError, match=r"before 0\.2"):
            DataPanel.from_meerkat(tmp_path)
        (tmp_path / "mgr").mkdir()
        (tmp_path / "mgr" / "meta.yaml").write_text("[1, 2")
        with pytest.raises(StoreError, match="cannot be read as YAML"):
            DataPanel.from_meerkat(tmp_path)

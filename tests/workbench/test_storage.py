"""Panels on disk: what comes back is what was saved, and what was there stays there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from columns import (
    EmbeddingColumn,
    ImageColumn,
    ObjectColumn,
    PredictionColumn,
    ScalarColumn,
    StoreError,
    TensorColumn,
    TextColumn,
    encoders,
    keep_results,
)
from workbench import storage
from workbench.panel import DataPanel


def plain(value: Any) -> Any:
    """Return a row as something that compares, exactly."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, Image.Image):
        return value.mode, value.size, value.tobytes()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return "nan" if isinstance(value, float) and value != value else value


def content(panel: DataPanel) -> dict[str, list[Any]]:
    return {"key": panel.key.to_list()} | {n: plain(panel[n].to_list()) for n in panel.columns}


def everything() -> DataPanel:
    sizes = [Image.new("RGB", (2 + i, 3), (i, 0, 9)) for i in range(3)]
    encoded = [encoders._png(p) for p in sizes]
    return DataPanel(
        {
            "whole": ScalarColumn([1, None, 3]),
            "real": ScalarColumn([0.5, float("nan"), None]),
            "day": ScalarColumn(pa.array([1, None, 3], pa.date32())),
            "list": ScalarColumn([[1, 2], None, []]),
            "class": ScalarColumn(["b", None, "a"], classes=["a", "b"]),
            "text": TextColumn(["ä/ß", None, "日本"]),
            "tensor": TensorColumn([np.ones((2, 2), np.float16), None, np.zeros((2, 2), np.float16)]),
            "embedding": EmbeddingColumn(np.arange(6, dtype=np.float32).reshape(3, 2)),
            "prediction": PredictionColumn([[0.1, 0.9], [1, 0], [0.5, 0.5]], ["no", "yes"], unit="probabilities"),
            "arrays": ImageColumn(np.arange(36, dtype=np.uint8).reshape(3, 3, 4)),
            "bytes": ImageColumn([encoded[0], None, encoded[2]], mode="L"),
            "pictures": ImageColumn([sizes[0], None, sizes[2]]),
            "object": ObjectColumn([{"a": [1, None]}, None, "x"]),
        },
        origin="all",
    )


# What comes back


def test_every_kind_comes_back_with_its_rows_nulls_spec_and_keys(tmp_path: Path) -> None:
    panel = everything()
    assert panel.save(tmp_path / "p") == 1
    opened = storage.open(tmp_path / "p")
    assert content(opened) == content(panel)
    assert [opened.kind(n) for n in opened] == [panel.kind(n) for n in panel]
    for name in ("class", "prediction", "tensor", "embedding", "arrays"):
        assert opened[name].spec == panel[name].spec


def test_saving_what_was_opened_elsewhere_gives_the_same_panel_again(tmp_path: Path) -> None:
    panel = everything()
    panel.save(tmp_path / "a")
    storage.open(tmp_path / "a")[[2, 0]].save(tmp_path / "b")
    assert content(storage.open(tmp_path / "b")) == content(panel[[2, 0]])


@pytest.mark.parametrize("rows", [0, 1])
def test_panels_of_no_row_and_of_one_come_back(tmp_path: Path, rows: int) -> None:
    panel = everything()[:rows]
    panel["mapped"] = panel["whole"].map(lambda x: x + 1)
    panel.save(tmp_path)
    opened = storage.open(tmp_path)
    assert len(opened) == rows
    assert content(opened) == content(panel)


def test_a_panel_without_columns_comes_back(tmp_path: Path) -> None:
    storage.save(DataPanel(), tmp_path)
    assert storage.open(tmp_path).shape == (0, 0)


def test_lazy_columns_are_computed_and_pending_ones_get_their_kind(tmp_path: Path) -> None:
    panel = DataPanel({"x": ScalarColumn(list(range(700)))}, origin="o")
    panel["number"] = panel["x"].map(lambda x: x / 2 if x % 3 else None)
    panel["array"] = panel["x"].map(lambda x: np.full((2,), x))
    panel["late"] = panel["x"].map(lambda x: None if x < 600 else np.ones(3, np.float32) * x, to=TensorColumn)
    panel["words"] = panel["x"].map(lambda x: None if x < 600 else f"no {x}", to=TextColumn)
    panel["sizes"] = panel["x"].map(lambda x: Image.new("L", (1 + x % 2, 2), x % 256), to=ImageColumn)
    panel["half"] = panel["x"] / 2
    panel.save(tmp_path)
    opened = storage.open(tmp_path)
    assert content(opened) == content(panel)
    assert opened.kind("number") == "scalar"
    assert opened.kind("array") == "tensor"
    assert opened["late"].spec.shape == (3,)


def test_rows_that_need_a_wider_type_later_on_widen_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from columns import writers

    monkeypatch.setattr(writers, "_BATCH_BYTES", 1000)
    panel = DataPanel({"x": ScalarColumn(list(range(2000)))}, origin="o")
    panel["dense"] = panel["x"].map(lambda x: np.array([x if x < 1500 else x + 0.5]), to=TensorColumn)
    panel["arrow"] = panel["x"].map(lambda x: x if x < 1500 else x + 0.5, to=ScalarColumn)
    panel["first null"] = panel["x"].map(lambda x: None if x < 1500 else str(x), to=ScalarColumn)
    panel.save(tmp_path)
    opened = storage.open(tmp_path)
    assert [float(r[0]) for r in opened["dense"].to_list()] == [x if x < 1500 else x + 0.5 for x in range(2000)]
    assert opened["arrow"].to_list() == [x if x < 1500 else x + 0.5 for x in range(2000)]
    assert opened["first null"].to_list() == panel["first null"].to_list()
    scattered = np.random.default_rng(0).permutation(2000)
    assert opened["arrow"][scattered].to_list() == panel["arrow"][scattered].to_list()  # out of many batches
    assert opened["arrow"][1990:10:-7].to_list() == panel["arrow"][1990:10:-7].to_list()
    assert opened["arrow"][5:5].to_list() == []


def test_pictures_that_turn_out_to_have_several_sizes_are_saved_without_loss(tmp_path: Path) -> None:
    panel = DataPanel({"x": ScalarColumn(list(range(400)))}, origin="o")

    def sized(batch: torch.Tensor) -> Any:
        big = int(batch[0]) >= 300
        return torch.full((len(batch), 3, 6 if big else 4, 5), 7, dtype=torch.uint8)

    panel["image"] = panel["x"].map(sized, to=ImageColumn, batched=True, batch_size=50)
    panel.save(tmp_path)
    assert content(storage.open(tmp_path)) == content(panel)


def test_any_name_is_a_column_and_lies_in_a_safe_file(tmp_path: Path) -> None:
    names = ["../../etc/passwd", "a/b\\c", "日本語", "\ud800", "x" * 300, " ", "CON", "a", "A", "né\n\0"]
    panel = DataPanel({n: ScalarColumn([i]) for i, n in enumerate(names)}, origin="o")
    panel.save(tmp_path / "p")
    opened = storage.open(tmp_path / "p")
    assert {n: opened[n].to_list() for n in opened} == {n: [i] for i, n in enumerate(names)}
    files = list((tmp_path / "p" / "columns").iterdir())
    assert all(f.name.isascii() and len(f.name) < 100 and " " not in f.name for f in files)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p"]


def test_keys_survive_selection_sorting_and_joins(tmp_path: Path) -> None:
    panel = DataPanel({"x": [3, 1, 2]}, origin="häuser")
    for number, chosen in enumerate([panel, panel.sort("x"), panel[[2]], panel.join(panel, on="x", how="outer")]):
        chosen.save(tmp_path / str(number))
        assert storage.open(tmp_path / str(number)).key.to_list() == chosen.key.to_list()
    assert "origin" in json.loads((tmp_path / "0" / "manifest.json").read_text())["keys"]


def test_a_derived_origin_is_the_same_after_reopening(tmp_path: Path) -> None:
    panel = DataPanel({"x": [1, 2]})
    panel.save(tmp_path)
    assert storage.open(tmp_path).key.to_list() == panel.key.to_list() == DataPanel({"x": [1, 2]}).key.to_list()


# Laziness


def test_opening_touches_no_column_file(tmp_path: Path) -> None:
    everything().save(tmp_path)
    for file in (tmp_path / "columns").iterdir():
        file.unlink()
    opened = storage.open(tmp_path)
    assert "whole" in repr(opened)
    assert repr(opened["embedding"])
    assert len(opened.drop("whole")[1:]) == 2
    with pytest.raises(StoreError, match=r"whole-[0-9a-f]{32}\.arrow' cannot be read: .*version="):
        opened["whole"].to_list()


def test_arrays_and_numbers_are_mapped_not_read(tmp_path: Path) -> None:
    DataPanel({"e": EmbeddingColumn(np.ones((100, 8), np.float32)), "n": np.arange(100)}).save(tmp_path)
    opened = storage.open(tmp_path)
    data = opened["e"].to_numpy()
    while isinstance(data, np.ndarray) and not isinstance(data, np.memmap):
        data = data.base
    assert isinstance(data, np.memmap)
    before = pa.total_allocated_bytes()
    assert opened["n"].to_arrow().nbytes == 800
    assert pa.total_allocated_bytes() - before < 800


def test_kept_results_are_found_again_after_reopening(tmp_path: Path) -> None:
    calls: list[int] = []

    def double(x: Any) -> Any:
        calls.append(1)
        return x * 2.0

    panel = DataPanel({"t": TensorColumn(np.ones((5, 2), np.float32)), "n": np.arange(5.0)})
    with keep_results(tmp_path / "results"):
        for name in panel.columns:
            panel[name].map(double, version="1", to=panel.kind(name)).compute()
        assert len(calls) == 10
        panel.save(tmp_path / "p")
        for _ in range(2):
            opened = storage.open(tmp_path / "p")
            for name in opened.columns:
                assert plain(opened[name].map(double, version="1", to=opened.kind(name)).to_list()) == plain(
                    [v * 2.0 for v in panel[name].to_list()]
                )
    assert len(calls) == 10


def test_a_saved_picture_in_bytes_has_the_digest_of_its_content(tmp_path: Path) -> None:
    from columns.expression import digest

    everything().save(tmp_path)
    first, second = (storage.open(tmp_path) for _ in range(2))
    for name in first.columns:
        assert digest(first[name].node) == digest(second[name].node) is not None


# Versions


def test_adding_a_column_writes_one_file_and_a_manifest(tmp_path: Path) -> None:
    panel = everything()
    panel.save(tmp_path)
    before = {f: f.stat().st_mtime_ns for f in (tmp_path / "columns").iterdir()}
    opened = storage.open(tmp_path)
    opened["new"] = opened["whole"] * 2
    assert opened.save(tmp_path) == 2
    after = {f: f.stat().st_mtime_ns for f in (tmp_path / "columns").iterdir()}
    assert len(after) == len(before) + 1
    assert {f: after[f] for f in before} == before
    assert storage.open(tmp_path)["new"].to_list() == [2, None, 6]
    # What was never opened from there is recognised by its content.
    assert panel.save(tmp_path) == 3
    assert len(list((tmp_path / "columns").iterdir())) == len(after)


def test_columns_opened_from_a_directory_are_not_read_to_be_saved_there(tmp_path: Path) -> None:
    everything().save(tmp_path)
    opened = storage.open(tmp_path)
    for file in (tmp_path / "columns").iterdir():
        os.chmod(file, 0o200)
        os.truncate(file, 0)
    assert opened.rename({"text": "words"}).drop("object").save(tmp_path) == 2
    assert "words" in storage.open(tmp_path)


def test_saving_again_from_memory_mends_a_damaged_file(tmp_path: Path) -> None:
    panel = everything()
    panel.save(tmp_path)
    for file in (tmp_path / "columns").iterdir():
        os.truncate(file, 5)
    assert panel.save(tmp_path) == 2
    assert content(storage.open(tmp_path, version=1)) == content(panel)


def test_earlier_versions_stay_readable(tmp_path: Path) -> None:
    for number in range(1, 5):
        DataPanel({"x": [number] * number}).save(tmp_path)
    assert storage.versions(tmp_path) == [1, 2, 3, 4]
    assert storage.open(tmp_path)["x"].to_list() == [4] * 4
    for number in range(1, 5):
        assert storage.open(tmp_path, version=number)["x"].to_list() == [number] * number
    with pytest.raises(StoreError, match="has no version 9; it has: 1, 2, 3, 4"):
        storage.open(tmp_path, version=9)
    assert storage.open(tmp_path, version=2).save(tmp_path) == 5


def test_a_panel_that_is_open_keeps_its_version_while_others_save(tmp_path: Path) -> None:
    DataPanel({"x": [1]}).save(tmp_path)
    opened = storage.open(tmp_path)
    DataPanel({"x": [2]}).save(tmp_path)
    assert opened["x"].to_list() == [1]

"""Columns of files: saved as paths, read from directories that the caller trusts, by loaders the caller gives."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from PIL import Image

from columns import FileColumn, ImageColumn, RowError
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


def pictures(folder: Path, count: int = 3) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"bild {i} ä.png" for i in range(count)]
    for i, name in enumerate(names):
        Image.new("RGB", (5 + i, 4), (i, 20, 30)).save(folder / name)
    return names


def test_pictures_in_files_are_paths_whose_base_the_caller_must_name(tmp_path: Path) -> None:
    names = pictures(tmp_path / "bilder ü")
    panel = DataPanel({"image": ImageColumn(names, base=tmp_path / "bilder ü"), "x": [1, 2, 3]}, origin="o")
    panel.save(tmp_path / "p")
    opened = storage.open(tmp_path / "p")
    assert opened["x"].to_list() == [1, 2, 3]
    with pytest.raises(RowError, match=r"column 'image'.*base='.*bilder ü'"):
        opened["image"].to_list()
    assert content(storage.open(tmp_path / "p", base=tmp_path / "bilder ü")) == content(panel)
    (tmp_path / "bilder ü").rename(tmp_path / "moved")
    for base in (tmp_path / "moved", {"image": tmp_path / "moved"}):
        found = storage.open(tmp_path / "p", base=base)
        assert [p.size for p in found["image"].to_list()] == [(5, 4), (6, 4), (7, 4)]
    assert opened["image"].rebase(tmp_path / "moved")[1].size == (6, 4)
    # Saved again unread, the column keeps the directory that was recorded.
    opened.save(tmp_path / "p")
    manifest = json.loads((tmp_path / "p" / "manifest.json").read_text())
    assert manifest["columns"][0]["stored"]["base"].endswith("bilder ü")
    found.save(tmp_path / "p")
    manifest = json.loads((tmp_path / "p" / "manifest.json").read_text())
    assert manifest["columns"][0]["stored"]["base"].endswith("moved")


def test_files_inside_the_directory_need_no_word_and_move_with_it(tmp_path: Path) -> None:
    names = pictures(tmp_path / "p" / "files")
    DataPanel({"image": ImageColumn(names, base=tmp_path / "p" / "files")}).save(tmp_path / "p")
    (tmp_path / "p").rename(tmp_path / "q")
    assert storage.open(tmp_path / "q")["image"][2].size == (7, 4)
    (tmp_path / "q" / "files" / names[0]).unlink()
    (tmp_path / "q" / "files" / names[0]).symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_bytes(b"x")
    with pytest.raises(RowError, match="is a link that leaves it"):
        storage.open(tmp_path / "q")["image"].to_list()


def test_selected_resized_and_joined_files_are_still_only_paths(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        pictures(tmp_path / folder)
    a, b = (DataPanel({"i": ImageColumn(sorted(os.listdir(tmp_path / f)), base=tmp_path / f)}, origin=f) for f in "ab")
    panel = a.append(b)[[5, 0, 3]]
    panel["small"] = panel["i"].resize((2, 2))
    panel.save(tmp_path / "p")
    opened = storage.open(tmp_path / "p", base=tmp_path)
    assert content(opened) == content(panel)
    manifest = json.loads((tmp_path / "p" / "manifest.json").read_text())
    assert [c["stored"]["way"] for c in manifest["columns"]] == ["paths", "paths"]


def test_a_path_that_leaves_its_base_is_refused_on_reading(tmp_path: Path) -> None:
    names = pictures(tmp_path / "a")
    DataPanel({"i": ImageColumn(names, base=tmp_path / "a")}).save(tmp_path / "p")
    (file,) = (tmp_path / "p" / "columns").iterdir()
    table = pa.table({"x": pa.array(["../a/" + n for n in names])})
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    text = json.loads((tmp_path / "p" / "manifest.json").read_text())
    text["columns"][0]["stored"]["bytes"] = file.stat().st_size
    (tmp_path / "p" / "manifest.json").write_text(json.dumps(text))
    with pytest.raises(RowError, match="must stay inside its base directory"):
        storage.open(tmp_path / "p", base=tmp_path / "a")["i"].to_list()


def shout(path: Path) -> str:
    return path.read_text().upper()


def test_a_loader_is_saved_as_a_name_and_never_imported(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    panel = DataPanel({"f": FileColumn(["a.txt", None], loader=shout, base=tmp_path)}, origin="o")
    panel.save(tmp_path / "p")
    name = json.loads((tmp_path / "p" / "manifest.json").read_text())["columns"][0]["stored"]["loader"]
    assert name.endswith(".shout")
    with pytest.warns(UserWarning, match=r"was read by '.*\.shout'; without it its rows are bytes"):
        opened = storage.open(tmp_path / "p", base=tmp_path)
    assert opened["f"].to_list() == [b"hello", None]
    for loaders in ({name: shout}, {"f": shout}):
        assert storage.open(tmp_path / "p", base=tmp_path, loaders=loaders)["f"].to_list() == ["HELLO", None]
    opened.save(tmp_path / "p")  # what nobody had at hand is not forgotten
    again = storage.open(tmp_path / "p", base=tmp_path, loaders={name: shout})
    assert again["f"].to_list() == ["HELLO", None]
    with warnings.catch_warnings():
        DataPanel({"f": FileColumn(["a.txt"], base=tmp_path)}).save(tmp_path / "q")
        assert storage.open(tmp_path / "q", base=tmp_path)["f"].to_list() == [b"hello"]

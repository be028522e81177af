"""Files: relative to a base that may move, named in any script, confined where asked, looked at again on refresh."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from columns import FileColumn, Files, ImageColumn, KindError, RowError, StoreError, TensorColumn, concat

NAMES = ["plain.txt", "two words.txt", "Łódź/straße 日本.txt", "a'b\"c.txt", "%20+&#.txt"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    base = tmp_path / "a base"
    for name in NAMES:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(name, encoding="utf-8")
    return base


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_names_in_any_script_with_spaces_and_quotes_are_read(folder: Path) -> None:
    assert FileColumn(NAMES, read, base=folder).to_list() == NAMES
    assert FileColumn([folder / name for name in NAMES], read).to_list() == NAMES
    assert FileColumn(NAMES[:1], base=str(folder))[0] == b"plain.txt"


def test_the_base_may_move(folder: Path, tmp_path: Path) -> None:
    column = FileColumn(NAMES, read, base=folder)
    chosen = concat([column[3:], column[:2][::-1]])
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    with pytest.raises(RowError, match="No such file"):
        chosen.to_list()
    assert chosen.rebase(moved).to_list() == [*NAMES[3:], *NAMES[:2][::-1]]


def test_pictures_in_files_have_a_base_as_well_and_others_have_none(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    Image.new("RGB", (2, 2), (7, 0, 0)).save(tmp_path / "new" / "x.png")
    column = ImageColumn(["x.png"], base=tmp_path).resize((1, 1))
    assert column.rebase(tmp_path / "new")[0].getpixel((0, 0)) == (7, 0, 0)
    with pytest.raises(KindError, match="base directory"):
        ImageColumn(np.zeros((1, 2, 2), np.uint8)).rebase(tmp_path)
    with pytest.raises(KindError, match="held as bytes"):
        ImageColumn([b"x"]).rebase(tmp_path)


def test_relative_paths_without_a_base_are_those_of_the_current_directory(folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    assert FileColumn(NAMES, read).to_list() == NAMES


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "/etc/passwd",
        "a/../../secret",
        "C:\\secret",
        "..\\secret",
        "a\\..\\..\\b",
        "C:secret",
        "\\\\host\\x",
    ],
)
def test_confined_paths_that_leave_the_base_are_refused(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_text("secret")
    column = FileColumn(Files([name], folder, confined=True), read)
    with pytest.raises(RowError, match="must stay inside its base directory") as told:
        column.to_list()
    assert isinstance(told.value.__cause__, StoreError)
    with pytest.raises(RowError, match="must stay inside"):
        column.rebase(folder).to_list()


def test_confined_paths_inside_the_base_are_read(folder: Path) -> None:
    assert FileColumn(Files(NAMES, folder, confined=True), read).to_list() == NAMES


def test_refresh_finds_a_changed_file(folder: Path) -> None:
    column = FileColumn(NAMES, read, base=folder)
    upper = column.map(str.upper, to="text")
    twice = upper.map(lambda words: words * 2, to="text")
    assert twice[0] == "PLAIN.TXTPLAIN.TXT"
    assert twice.refresh() is False
    (folder / NAMES[0]).write_text("changed")
    assert twice[0] == "PLAIN.TXTPLAIN.TXT", "within a process files are looked at once"
    assert twice.refresh() is True
    assert twice[0] == "CHANGEDCHANGED"
    assert twice.refresh() is False
    (folder / NAMES[0]).unlink()
    assert twice.refresh() is True
    with pytest.raises(RowError, match="No such file"):
        twice[0]


def test_a_change_is_seen_by_resized_pictures_of_the_same_files(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (1, 1, 1)).save(tmp_path / "x.png")
    column = ImageColumn(["x.png"], base=tmp_path)
    means = [c.map(lambda p: float(np.asarray(p).mean()), to="scalar") for c in (column, column.resize((2, 2)))]
    assert [m[0] for m in means] == [1, 1]
    Image.new("RGB", (4, 4), (200, 200, 200)).save(tmp_path / "x.png")
    os.utime(tmp_path / "x.png", (1, 1))
    assert means[0].refresh() is True
    assert [m[0] for m in means] == [200, 200]


def test_loaders_run_in_threads_and_give_rows_in_order(folder: Path) -> None:
    import threading
    import time

    threads = set()

    def slow(path: Path) -> str:
        threads.add(threading.current_thread().name)
        time.sleep(0.002 * (len(path.name) % 3))
        return path.name

    names = [NAMES[i % 5] for i in range(64)]
    assert FileColumn(names, slow, base=folder).to_list() == [Path(n).name for n in names]
    assert all("columns-read" in name for name in threads)


def test_a_loader_may_give_anything_and_null(folder: Path) -> None:
    column = FileColumn([*NAMES[:2], None], lambda path: None if " " in path.name else {"n": path.name}, base=folder)
    assert column.to_list() == [{"n": "plain.txt"}, None, None]
    assert column.is_null().to_list() == [False, True, True]
    assert column.with_loader(read).to_list() == [*NAMES[:2], None]


def test_loaded_arrays_become_batches(tmp_path: Path) -> None:
    for i in range(5):
        np.save(tmp_path / f"{i}.npy", np.full((2, 3), i, np.float32))
    sounds = FileColumn([f"{i}.npy" for i in range(5)], np.load, base=tmp_path)
    assert sounds.to_torch().shape == (5, 2, 3)
    tensors = sounds.as_kind("tensor").map(lambda x: x.sum(dim=(1, 2)), to="scalar", batched=True)
    assert tensors.to_list() == [6.0 * i for i in range(5)]


def test_one_path_instead_of_several_is_refused(tmp_path: Path) -> None:
    for kind in (FileColumn, ImageColumn):
        with pytest.raises(KindError, match=r"sequence of paths; got one path 'x.png'"):
            kind("x.png")
        with pytest.raises(KindError, match="sequence of paths"):
            kind(tmp_path)


def test_a_memory_map_stays_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(12, dtype=np.float32).reshape(6, 2))
    column = TensorColumn.open(tmp_path / "x.npy")
    for part in (column, column[1:4], column[::-1], concat([column])[2:3]):
        array = part.to_numpy()
        base = array
        while getattr(base, "base", None) is not None and not isinstance(base, np.memmap):
            base = base.base
        assert isinstance(base, np.memmap)
    assert column[::-1].to_torch()[0].tolist() == [10, 11]
    assert column.map(lambda x: x.sum(dim=1), to="scalar", batched=True)[5] == 21
    assert TensorColumn(np.load(tmp_path / "x.npy", mmap_mode="r")).to_torch().shape == (6, 2)


def test_files_that_are_no_arrays_of_numbers_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "object.npy", np.array([{}], object), allow_pickle=True)
    np.save(tmp_path / "scalar.npy", np.float32(1))
    np.save(tmp_path / "words.npy", np.array(["a"]))
    (tmp_path / "text.npy").write_text("no array")
    for name in ("object", "scalar", "words", "text", "missing"):
        with pytest.raises(StoreError, match=f"{name}.npy"):
            TensorColumn.open(tmp_path / f"{name}.npy")

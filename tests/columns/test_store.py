"""Files of a panel: nothing outside is touched, damage is named, and the order of writing survives a power cut."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from columns import ColumnSpec, EmbeddingColumn, ScalarColumn, StoreError, TensorColumn, TextColumn
from columns.column import Column
from columns.drafts import Saving
from columns.expression import digest
from columns.manifest import Entry, FileRecord, Manifest, Stored, read_manifest, saved_versions
from columns.saving import save_columns
from columns.store import open_column


def save(root: Path, **columns: Column) -> int:
    with Saving(Path(os.path.realpath(root))) as saving:
        entries = save_columns(saving, columns)
        return saving.commit(len(next(iter(columns.values()))), tuple(entries), "o")


def load(root: Path, name: str) -> Column:
    manifest = read_manifest(Path(os.path.realpath(root)))
    return next(open_column(root, e, manifest.rows) for e in manifest.columns if e.name == name)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    save(tmp_path, x=ScalarColumn([1, 2, 3]), t=TensorColumn([np.ones(2), None, np.zeros(2)]))
    return tmp_path


def edit(root: Path, change: Any) -> None:
    fields = json.loads((root / "manifest.json").read_text())
    change(fields)
    (root / "manifest.json").write_text(json.dumps(fields))


def test_a_stored_column_knows_length_spec_and_content_without_its_file(root: Path) -> None:
    for file in (root / "columns").iterdir():
        file.unlink()
    column = load(root, "t")
    assert len(column) == 3
    assert column.spec == ColumnSpec("tensor", "float64", (2,))
    assert digest(column.node) is not None
    assert "t-" in repr(column)


@pytest.mark.parametrize("rows", [0, 5])
def test_data_in_memory_and_on_disk_have_one_digest(tmp_path: Path, rows: int) -> None:
    columns: dict[str, Column] = {
        "e": EmbeddingColumn(np.ones((rows, 3), np.float32)),
        "s": TextColumn(pa.array(["ä"] * rows, pa.string())),
        "n": ScalarColumn(pa.array(range(rows), pa.int64())),
    }
    save(tmp_path, **columns)
    for name, column in columns.items():
        assert digest(load(tmp_path, name).node) == digest(column.node)


def test_different_content_has_different_digests(tmp_path: Path) -> None:
    save(tmp_path, a=TensorColumn([np.ones(2), None]), b=TensorColumn([np.ones(2), np.zeros(2)]))
    save(tmp_path, c=TensorColumn(np.ones((2, 1), np.float32)), d=TensorColumn(np.ones((2, 1), np.int32)))
    a, b = (digest(Column.over(load(tmp_path, n).node).node) for n in "cd")
    assert a != b
    assert len(list((tmp_path / "columns").iterdir())) == 5


# What nobody should trust


@pytest.mark.parametrize(
    "name", ["../x.arrow", "/etc/passwd", "a/../../x", "C:\\x", "\\\\host\\x", "..\\x", "", "a\0b"]
)
def test_a_file_outside_the_directory_is_refused_by_name(root: Path, name: str) -> None:
    edit(root, lambda m: m["columns"][0]["stored"].update(file=name))
    with pytest.raises(StoreError, match=r"(?s)cannot be trusted: every file must lie inside .*names '"):
        read_manifest(root)


def test_a_link_that_leaves_the_directory_is_refused_by_name(root: Path, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    (file,) = (root / "columns").glob("x-*")
    file.rename(outside)
    file.symlink_to(outside)
    with pytest.raises(StoreError, match=r"'columns/x-.*' is a symbolic link to '.*-outside'"):
        read_manifest(root)
    outside.unlink()


def test_a_base_directory_that_claims_to_be_inside_must_be(root: Path) -> None:
    lies = {"way": "paths", "base": "../..", "inside": True, "mode": "RGB", "size": None}
    edit(root, lambda m: m["columns"][0]["stored"].update(lies))
    with pytest.raises(StoreError, match="a base directory must lie inside"):
        read_manifest(root)


def test_a_newer_format_names_the_file_and_the_upgrade(root: Path) -> None:
    edit(root, lambda m: m.update(format=2))
    with pytest.raises(
        StoreError, match=r"manifest.json' has format version 2; .* reads up to 1.*pip install --upgrade"
    ):
        read_manifest(root)
    with pytest.raises(StoreError, match="Cannot save a new version over one that cannot be read"):
        save(root, x=ScalarColumn([1]))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("rows"),
        lambda m: m.update(rows=-1),
        lambda m: m.update(rows=True),
        lambda m: m.update(columns={}),
        lambda m: m.update(keys=[]),
        lambda m: m["columns"].append(m["columns"][0]),
        lambda m: m["columns"][0].update(name=""),
        lambda m: m["columns"][0]["spec"].update(shape=["a"]),
        lambda m: m["columns"][0]["spec"].update(classes=[1]),
        lambda m: m["columns"][0]["spec"].update(surprise=1),
        lambda m: m["columns"][0]["stored"].update(way="pickle"),
        lambda m: m["columns"][0]["stored"].update(bytes="many"),
        lambda m: m["columns"][0]["stored"].update(size=[1]),
    ],
)
def test_a_manifest_with_a_wrong_field_is_refused(root: Path, change: Any) -> None:
    edit(root, change)
    with pytest.raises(StoreError, match=r"manifest\.json'"):
        read_manifest(root)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff", "[" * 100_000, '{"format": 1}'])
def test_a_manifest_that_is_no_manifest_is_damaged(root: Path, text: str) -> None:
    save(root, x=ScalarColumn([4, 5]))
    (root / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreError, match=r"manifest\.json' is damaged: .* open one with `version=1`"):
        read_manifest(root)
    assert read_manifest(root, 1).rows == 3
    assert saved_versions(root) == [1]
    with pytest.raises(StoreError, match="Cannot save a new version"):
        save(root, x=ScalarColumn([1]))
    assert read_manifest(root, 1).rows == 3


def test_a_kind_that_nobody_registered_and_a_way_that_does_not_fit_are_named(root: Path) -> None:
    edit(root, lambda m: m["columns"][0]["spec"].update(kind="hologram"))
    with pytest.raises(StoreError, match="'x' is of kind 'hologram', which nobody has registered"):
        load(root, "x")
    edit(root, lambda m: m["columns"][0]["spec"].update(kind="tensor"))
    with pytest.raises(StoreError, match="'x' of kind 'tensor' cannot be stored as 'arrow'"):
        load(root, "x")


def test_an_array_of_objects_is_refused(root: Path) -> None:
    edit(root, lambda m: m["columns"][1]["stored"].update(dtype="|O"))
    with pytest.raises(StoreError, match=r"'t' cannot hold '\|O'"):
        load(root, "t")
    # And a file that holds one is not unpickled, whatever the manifest says.
    save(root, t=TensorColumn(np.ones((3, 1))))
    file = root / read_manifest(root).columns[0].stored.data.name
    np.save(file, np.array([{}, {}, {}], object), allow_pickle=True)
    edit(root, lambda m: m["columns"][0]["stored"].update(bytes=file.stat().st_size))
    with pytest.raises(StoreError, match=r"is damaged: .*(Python objects|object arrays|allow_pickle)"):
        load(root, "t").to_list()


# Damage


@pytest.mark.parametrize("name", ["x", "t"])
def test_a_file_cut_short_is_named_on_first_reading(root: Path, name: str) -> None:
    (file, *_) = sorted((root / "columns").glob(f"{name}-*"))
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(StoreError, match=rf"'.*{name}-.*' must have .* bytes, .* it has .*version="):
        load(root, name).to_list()


@pytest.mark.parametrize("name", ["x", "t"])
def test_a_file_of_the_right_size_with_wrong_content_is_damaged(root: Path, name: str) -> None:
    for file in (root / "columns").glob(f"{name}-*"):
        file.write_bytes(b"\x07" * file.stat().st_size)
    with pytest.raises(StoreError, match=rf"'.*{name}-.*' is damaged"):
        load(root, name).to_list()


def test_rows_type_and_shape_must_be_those_of_the_manifest(root: Path) -> None:
    edit(root, lambda m: m.update(rows=4))
    with pytest.raises(StoreError, match="must hold 4 rows of one column; it holds 3 rows of 1"):
        load(root, "x").to_list()
    with pytest.raises(StoreError, match=r"must hold float64 of shape \(4, 2\); it holds float64 of shape \(3, 2\)"):
        load(root, "t").to_list()
    edit(root, lambda m: (m.update(rows=3), m["columns"][0]["stored"].update(dtype="string")))
    with pytest.raises(StoreError, match="must hold string; it holds int64"):
        load(root, "x").to_list()


def test_offsets_that_point_outside_the_file_are_found(tmp_path: Path) -> None:
    save(tmp_path, s=TextColumn(["abc", "defg", "h"]))
    (file,) = (tmp_path / "columns").iterdir()
    raw = bytearray(file.read_bytes())
    place = bytes(raw).find(np.array([0, 3, 7, 8], np.int32).tobytes())
    raw[place + 8 : place + 12] = np.int32(1 << 30).tobytes()
    file.write_bytes(raw)
    with pytest.raises(StoreError, match="is damaged"):
        load(tmp_path, "s").to_list()


# Atomic and durable


def test_leftovers_of_a_crash_go_with_the_next_save_and_nothing_else_does(root: Path) -> None:
    orphan = root / "columns" / f"x-{'0' * 32}.arrow"
    mine = root / "columns" / "notes.arrow"
    draft = root / "columns" / ".draft-1"
    for file in (orphan, mine, draft):
        file.write_text("?")
    before = set((root / "columns").iterdir())
    save(root, y=ScalarColumn([1]))
    after = set((root / "columns").iterdir())
    assert before - after == {orphan, draft}
    assert load(root, "y").to_list() == [1]


def test_no_column_file_is_removed_while_a_manifest_cannot_be_read(root: Path) -> None:
    save(root, y=ScalarColumn([1]))
    (root / "manifests" / "1.json").write_text("{")
    orphan = root / "columns" / f"x-{'0' * 32}.arrow"
    orphan.write_text("?")
    save(root, y=ScalarColumn([2]))
    assert orphan.exists()


def test_a_lost_newest_manifest_is_not_taken_for_an_empty_directory(root: Path) -> None:
    save(root, y=ScalarColumn([1]))
    (root / "manifest.json").unlink()
    with pytest.raises(StoreError, match=r"manifest\.json' does not exist.*`version=1`"):
        save(root, y=ScalarColumn([2]))
    assert read_manifest(root, 1).rows == 3


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs to tell files by their handles")
def test_every_file_is_on_the_disk_before_its_name_and_the_manifest_comes_last(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def synced(handle: int) -> None:
        events.append(("sync", os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    def replaced(source: Any, target: Any) -> None:
        assert ("sync", str(source)) in events  # content before name
        events.append(("name", str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    save(root, y=ScalarColumn([1]), z=TensorColumn([np.ones(1), None]))
    names = [target for what, target in events if what == "name"]
    assert names[-1] == str(root / "manifest.json")
    assert sum("columns" in n for n in names) == 3 == names.index(str(root / "manifests" / "1.json"))
    last_column = events.index(("name", names[2]))
    manifest = events.index(("name", names[-1]))
    assert ("sync", str(root / "columns")) in events[last_column:manifest]
    assert events[-1] == ("sync", str(root))


def test_a_manifest_comes_back_as_it_was() -> None:
    file = FileRecord("columns/x.npy", 7)
    stored = Stored("npy", file, "d", "float32", (2, 3), FileRecord("columns/v.npy", 8))
    paths = Stored("paths", file, "e", "string", mode="L", size=(4, 5), reduced=True, base="files", inside=True)
    files = Stored("paths", file, "e", "string", base="/somewhere", loader="module.function")
    spec = ColumnSpec("prediction", "float32", (2,), ("ä", "b"), "logits")
    entries = tuple(Entry(f"n\ud800{i}", spec, s) for i, s in enumerate((stored, paths, files)))
    for keys in ("origin", stored):
        manifest = Manifest(3, 5, "2025-01-01", entries, keys)
        assert Manifest.from_json(manifest.to_json()) == manifest

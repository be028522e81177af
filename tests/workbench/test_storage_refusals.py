"""Saves that cannot be: refused with the way out, and the version before stays as it was."""

from __future__ import annotations

import errno
import resource
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from columns import (
    ImageColumn,
    ObjectColumn,
    RowError,
    RowsFailedWarning,
    ScalarColumn,
    StoreError,
    TensorColumn,
    drafts,
)
from workbench import storage
from workbench.panel import DataPanel

# What cannot be saved


@pytest.mark.parametrize("bad", [{1: "a"}, (1, 2), {1, 2}, np.float64(1), object(), [b"x"]])
def test_objects_that_json_would_change_are_refused_by_column_row_and_remedy(tmp_path: Path, bad: Any) -> None:
    panel = DataPanel({"thing/ö": ObjectColumn([None, [1], bad])})
    with pytest.raises(StoreError, match=r"(?s)'thing/ö'.*row 2 first, of type .*panel\.map.*panel\.drop"):
        panel.save(tmp_path / "p")
    assert panel.drop("thing/ö").save(tmp_path / "p") == 1


def test_pictures_of_several_modes_are_refused_with_the_remedy(tmp_path: Path) -> None:
    panel = DataPanel({"i": ImageColumn([Image.new("L", (2, 2)), Image.new("RGB", (2, 2))])})
    with pytest.raises(StoreError, match=r"'i' must all be RGB.*convert\('RGB'\)"):
        panel.save(tmp_path / "p")


def test_a_row_that_fails_is_named_by_its_place_in_the_panel_and_nothing_is_saved(tmp_path: Path) -> None:
    panel = DataPanel({"x": list(range(1000))}, origin="o")
    panel.save(tmp_path)
    panel["y"] = panel["x"].map(lambda x: 1 / (x - 700), to=ScalarColumn)
    with pytest.raises(RowError, match=r"Row 700 \(key 'o/700'\) of column 'y'"):
        panel.save(tmp_path)
    assert storage.versions(tmp_path) == [1]
    assert len(list((tmp_path / "columns").iterdir())) == 1
    with pytest.warns(RowsFailedWarning, match="1 values could not be computed"):
        storage.save(panel, tmp_path, on_error="null")
    assert storage.open(tmp_path)["y"][699:702].to_list() == [-1.0, None, 1.0]


def test_interrupting_a_save_leaves_the_version_before(tmp_path: Path) -> None:
    panel = DataPanel({"x": list(range(1000))}, origin="o")
    panel.save(tmp_path)

    def interrupted(x: int) -> int:
        if x == 600:
            raise KeyboardInterrupt
        return x

    panel["y"] = panel["x"].map(interrupted, to=ScalarColumn)
    with pytest.raises(KeyboardInterrupt):
        panel.save(tmp_path)
    assert storage.open(tmp_path).columns == ["x"]
    assert len(list((tmp_path / "columns").iterdir())) == 1


# Disk full, two at once


def test_a_full_disk_leaves_the_version_before_and_says_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DataPanel({"x": [1]}).save(tmp_path)
    big = DataPanel({"t": TensorColumn(np.ones((1000, 100)))})
    write = drafts.Draft.write

    def full(self: drafts.Draft, data: Any) -> int:
        if self.size > 100_000 or memoryview(data).nbytes > 500_000:
            write(self, memoryview(data).cast("B")[:1000])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, data)

    with monkeypatch.context() as patched:
        patched.setattr(drafts.Draft, "write", full)
        with pytest.raises(StoreError, match=r"No space.*about 800,\d+ bytes.*version 1 is as it was") as raised:
            big.save(tmp_path)
    assert raised.value.errno == errno.ENOSPC
    assert storage.open(tmp_path)["x"].to_list() == [1]
    assert len(list((tmp_path / "columns").iterdir())) == 1
    assert big.save(tmp_path) == 2


def test_a_file_that_may_not_grow_further_counts_as_a_full_disk(tmp_path: Path) -> None:
    panel = DataPanel({"t": TensorColumn(np.random.default_rng(0).random((1000, 100))), "s": ["x" * 400] * 1000})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for name, rows in (("t", 800_128), ("s", 400_000)):
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
        try:
            with pytest.raises(StoreError, match=r"No space.*nothing was there before"):
                panel[[name]].save(tmp_path / name)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert list((tmp_path / name / "columns").iterdir()) == [], rows
        with pytest.raises(StoreError, match="No panel at"):
            storage.open(tmp_path / name)
        assert panel[[name]].save(tmp_path / name) == 1


def test_a_second_save_waits_and_then_says_who_is_in_the_way(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(x: int) -> int:
        begun.set()
        assert go_on.wait(20)
        return x

    panel = DataPanel({"x": [1]})
    panel["y"] = panel["x"].map(slow, to=ScalarColumn)
    thread = threading.Thread(target=panel.save, args=(tmp_path,))
    thread.start()
    try:
        assert begun.wait(20)
        with pytest.raises(StoreError, match=r"Another save to .* did not end within 0\.1 seconds.*timeout="):
            storage.save(DataPanel({"x": [2]}), tmp_path, timeout=0.1)
    finally:
        go_on.set()
        thread.join()
    assert DataPanel({"x": [3]}).save(tmp_path) == 2

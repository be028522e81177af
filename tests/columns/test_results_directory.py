"""Results that survive the process: found again by content, whole after a kill, and by nobody whom they do not fit."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from columns import ScalarColumn, TensorColumn, keep_results

SOAK = bool(os.environ.get("WORKBENCH_SOAK"))

MODULE = """
import os, time
import numpy as np
import torch
from torch import nn
from columns import FileColumn, ImageColumn, ScalarColumn, TensorColumn, keep_results

calls = []

def doubled(x):
    calls.extend(x.tolist())
    return x * 2

def both(x):
    calls.extend(x.tolist())
    return {"a/../../b": x.float()[:, None], "label": -x}

def slow(x):
    calls.append(x)
    time.sleep(0.002)
    return float(x) / 3

def load(path):
    calls.append(path.name)
    return len(path.read_bytes())

class Net(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        calls.append(len(x))
        return self.layer(x)
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path) -> Path:
    """Functions that other processes can import, and nothing else in the directory of the test."""
    path = tmp_path / "functions_of_test.py"
    path.write_text(MODULE)
    return path


SCALARS = """
import json
from functions_of_test import *
with keep_results("kept"):
    column = ScalarColumn(np.arange(10)).map(doubled, to={kind!r}, batched=True)
    rows = column[{cut}].to_list()
print(json.dumps([[float(r) for r in rows], len(calls)]))
"""


@pytest.mark.parametrize("kind", [None, "scalar"])
def test_another_process_finds_the_results_without_a_call(run, kind) -> None:
    first = run(SCALARS.format(kind=kind, cut="2:6"))
    assert first == [[4, 6, 8, 10], 4]
    assert run(SCALARS.format(kind=kind, cut=":")) == [[2.0 * i for i in range(10)], 6], "only what was missing"
    assert run(SCALARS.format(kind=kind, cut="::-1")) == [[2.0 * i for i in range(9, -1, -1)], 0]


def test_several_outputs_keep_apart_whatever_they_are_called(run, tmp_path: Path) -> None:
    code = """
        import json
        from functions_of_test import *
        with keep_results("deep/er/kept"):
            outputs = ScalarColumn(np.arange(4)).map(both, to={"a/../../b": "tensor", "label": "scalar"}, batched=True)
            rows = outputs["a/../../b"].to_numpy()[:, 0].tolist(), outputs["label"].to_list()
        print(json.dumps([rows, len(calls)]))
    """
    expected = [[0, 1, 2, 3], [0, -1, -2, -3]]
    assert run(code) == [expected, 8]
    assert run(code) == [expected, 0]
    assert {p.name for p in tmp_path.iterdir()} <= {"deep", "functions_of_test.py", "__pycache__"}


def test_changed_weights_data_or_source_are_not_taken_for_the_old(run, module: Path) -> None:
    code = """
        import json
        from functions_of_test import *
        with keep_results("kept"):
            scores = TensorColumn(np.full((3, 2), {value}, np.float32)).map(Net({seed}), to="tensor").to_torch()
            assert torch.equal(scores, Net({seed}).layer(torch.full((3, 2), {value})).detach())
        print(json.dumps(len(calls)))
    """
    assert run(code.format(value=1.0, seed=0)) == 1
    assert run(code.format(value=1.0, seed=0)) == 0
    assert run(code.format(value=1.0, seed=1)) == 1, "other weights"
    assert run(code.format(value=2.0, seed=0)) == 1, "other data"
    run(SCALARS.format(kind="scalar", cut=":"))
    module.write_text(module.read_text().replace("return x * 2", "return x * 200"))
    assert run(SCALARS.format(kind="scalar", cut=":")) == [[200.0 * i for i in range(10)], 10], "other source"


def test_a_model_trained_in_between_goes_to_a_place_of_its_own(tmp_path: Path) -> None:
    net = nn.Linear(2, 1)
    column = TensorColumn(np.ones((3, 2), np.float32)).map(net, to="tensor")
    with keep_results(tmp_path):
        column.to_list()
        with torch.no_grad():
            net.weight += 1
        torch.testing.assert_close(column.to_torch(), net(torch.ones(3, 2)).detach())
        with torch.no_grad():
            net.weight -= 1
        torch.testing.assert_close(column.to_torch(), net(torch.ones(3, 2)).detach())
    assert len(list(tmp_path.glob("*/*/0/header.json"))) >= 2


def test_a_lambda_is_kept_only_with_a_declared_version(tmp_path: Path) -> None:
    def kept(version: str | None) -> int:
        with keep_results(tmp_path / str(version)):
            ScalarColumn([1, 2]).map(lambda x: x, to="scalar", version=version).to_list()
        return len(list((tmp_path / str(version)).glob("*/*")))

    assert kept(None) == 0
    assert kept("1") == 1


def test_another_version_is_another_result(tmp_path: Path) -> None:
    def value(version: str, result: int) -> int:
        with keep_results(tmp_path):
            return ScalarColumn([1]).map(lambda x: result, to="scalar", version=version)[0]

    assert value("1", 5) == 5
    assert value("1", 6) == 5, "the author said that version 1 gives the same"
    assert value("2", 6) == 6


def test_objects_words_and_functions_over_lists_stay_in_the_process(tmp_path: Path) -> None:
    from columns import ObjectColumn

    with keep_results(tmp_path):
        assert ScalarColumn([1]).map(str, to="text").to_list() == ["1"]
        assert ObjectColumn([[1, 2]]).map(len, to="scalar").to_list() == [2]
    assert not list(tmp_path.glob("*/*/*/header.json"))


def test_results_whose_type_changes_leave_the_directory_and_nothing_wrong_in_it(tmp_path: Path) -> None:
    for last in (2.5, "word", None, True):
        rows = [1, 2, 3, last]
        for _ in range(3):
            with keep_results(tmp_path / str(last)):
                column = ScalarColumn(list(range(4))).map(rows.__getitem__, version="1", batch_size=1)
                assert column.to_list() == rows
                assert column[:2].to_list() == [1, 2]
                del column


def test_failures_are_not_kept_for_other_processes(tmp_path: Path) -> None:
    from columns import RowsFailedWarning

    broken = True

    def fragile(x: int) -> int:
        if broken and x == 2:
            raise ValueError("broken")
        return x

    def column():
        return ScalarColumn([1, 2, 3]).map(fragile, to="scalar", version="1")

    with keep_results(tmp_path), pytest.warns(RowsFailedWarning):
        assert column().values(on_error="null").rows() == [1, None, 3]
    broken = False
    with keep_results(tmp_path):
        assert column().to_list() == [1, 2, 3]


def test_changed_files_are_read_again_and_untouched_ones_are_found(run, tmp_path: Path) -> None:
    folder = tmp_path / "a folder ß"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.bin").write_bytes(b"x" * i)
    code = """
        import json
        from functions_of_test import *
        with keep_results("kept"):
            lengths = FileColumn([f"{i}.bin" for i in range(3)], load, base="a folder ß").map(float, to="scalar")
            print(json.dumps([lengths.to_list(), len(calls)]))
    """
    assert run(code) == [[0, 1, 2], 3]
    assert run(code) == [[0, 1, 2], 0]
    (folder / "1.bin").write_bytes(b"longer")
    assert run(code)[0] == [0, 6, 2]


SLOW = """
import json
from functions_of_test import *
with keep_results("kept"):
    column = ScalarColumn(np.arange(300)).map(slow, to="scalar", batch_size=5)
    print("begun", flush=True)
    rows = column.to_list()
print(json.dumps([rows, len(calls)]))
"""


@pytest.mark.soak
@pytest.mark.parametrize("after", np.linspace(0, 0.6, 60).tolist() if SOAK else [0.05, 0.2, 0.4])
def test_a_killed_process_leaves_what_another_finishes_with_right_values(start, run, after: float) -> None:
    running = start(SLOW)
    while not running.out.exists() or "begun" not in running.out.read_text():
        time.sleep(0.005)
    time.sleep(after)
    running.kill()
    rows, calls = run(SLOW)
    assert rows == [i / 3 for i in range(300)]
    assert calls <= 300
    if 0.3 < after < 0.5:
        assert calls < 300, "what was computed before the kill was found"


@pytest.mark.parametrize("damage", ["no header", "half a header", "newer", "short state", "short values", "no values"])
def test_a_damaged_directory_is_computed_again_and_never_believed(tmp_path: Path, damage: str) -> None:
    def column():
        return ScalarColumn([1, 2, 3, 4]).map(lambda x: x + 0.5, to="scalar", version="1", batch_size=1)

    with keep_results(tmp_path):
        column().to_list()
    (place,) = tmp_path.glob("*/*/0")
    header = place / "header.json"
    if damage == "no header":
        header.unlink()
    elif damage == "half a header":
        header.write_text(header.read_text()[:20])
    elif damage == "newer":
        header.write_text(json.dumps({**json.loads(header.read_text()), "new": 1}))
    elif damage == "short state":
        os.truncate(place / "state", 2)
    elif damage == "short values":
        os.truncate(place / "values", 12)
    else:
        (place / "values").unlink()
    for _ in range(2):
        with keep_results(tmp_path):
            assert column().to_list() == [1.5, 2.5, 3.5, 4.5]


def test_two_processes_at_once_give_the_same_values(start) -> None:
    for running in [start(SLOW), start(SLOW)]:
        assert running.result()[0] == [i / 3 for i in range(300)]


def test_a_full_disk_is_an_error_and_leaves_no_wrong_row(tmp_path: Path, monkeypatch) -> None:
    from columns.rowfile import RowFile

    def column():
        return ScalarColumn([1, 2, 3, 4]).map(lambda x: x + 0.5, to="scalar", version="1", batch_size=1)

    write, written = RowFile.write, []

    def fill(self, rows, data):
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        written.append(rows)
        write(self, rows, data)

    monkeypatch.setattr(RowFile, "write", fill)
    with keep_results(tmp_path), pytest.raises(OSError, match="No space"):
        column().to_list()
    monkeypatch.setattr(RowFile, "write", write)
    with keep_results(tmp_path):
        assert column().to_list() == [1.5, 2.5, 3.5, 4.5]

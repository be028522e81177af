"""The benchmarks run at tiny sizes, and say what they were asked to; nothing here is about time."""

from __future__ import annotations

import contextlib
import io
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import child, importing, memory, nearest, sample, storing
from benchmarks.__main__ import main
from benchmarks.figures import CELLS, TINY, Figure
from benchmarks.records import Record, Records
from benchmarks.report import as_table

_FIELDS = {
    "work", "ours", "unit", "target", "against", "rival", "median_ratio", "floor", "floor_words", "note",
    "ratio", "met", "to_floor",
}  # fmt: skip

# Workers of a DataLoader are forked, as its users have it; Python 3.12 warns of that.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(autouse=True, scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep data in a directory of the tests, and run the code of fresh processes in this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "DATA", tmp_path_factory.mktemp("data"))
        for module in (importing, memory, nearest, storing):
            patch.setattr(module, "child", _in_this_process)
        yield


def _in_this_process(code: str, *arguments: Any) -> dict[str, float]:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(sys, "argv", ["-c", *map(str, arguments)])
        exec(compile(code, "child", "exec"), {})
    result: dict[str, float] = json.loads(out.getvalue())
    return result


# Many rows or a net, in processes of their own; what they call is tested beside it.
LONG = ("images-cnn", "images-decode", "table-build", "table-slice", "table-sort")

# A JupyterLab of its own for each of these, with a browser: what they click on is tested in tests/browser.
IN_A_BROWSER = pytest.mark.skip(reason="in a browser: run `python -m benchmarks --tiny --only front`")


def marks_of(name: str) -> list[pytest.MarkDecorator]:
    if name.startswith("front"):
        return [IN_A_BROWSER]
    return [pytest.mark.long] if name in LONG else []


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks_of(name)) for name in CELLS])
def test_every_cell_gives_finite_figures(name: str) -> None:
    figures = list(CELLS[name].run(TINY))
    assert figures
    for figure in figures:
        assert set(figure.as_dict()) == _FIELDS
        assert Figure.from_dict(figure.as_dict()) == figure
        numbers = [figure.ours, figure.against, figure.floor, figure.median_ratio]
        assert all(math.isfinite(n) and n >= -1 for n in numbers if n is not None), figure


def test_figures_are_written_and_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures.json"
    assert main(["--tiny", "--only", "touch", "--json", str(file)]) == 0
    content = json.loads(file.read_text())
    assert set(content) == {"seconds", "versions", "cells"}
    (record,) = content["cells"]
    assert set(record) == {"cell", "scale", "figures", "seconds", "command", "when", "versions"}
    assert all(set(figure) == _FIELDS for figure in record["figures"])
    first = record["when"], record["figures"]
    capsys.readouterr()
    main(["--tiny", "--only", "touch", "--json", str(file)])
    (again,) = json.loads(file.read_text())["cells"]
    assert (again["when"], again["figures"]) == first
    assert "kept from" in capsys.readouterr().err
    main(["--tiny", "--only", "touch", "--json", str(file), "--fresh"])
    assert json.loads(file.read_text())["cells"][0]["figures"] != first[1]


def test_a_record_of_other_versions_is_measured_again(tmp_path: Path) -> None:
    records = Records(tmp_path / "records.json")
    records.keep(Record.now("touch", "tiny", [Figure("x", 1.0, "s", None)], 0.1))
    assert Records(tmp_path / "records.json").get("touch", "tiny") is not None
    old = Record.now("touch", "tiny", [], 0.1)
    records.keep(Record(**{**vars(old), "versions": {"python": "2.7"}}))
    assert records.get("touch", "tiny") is None


def test_the_table_says_what_is_met_and_what_is_not() -> None:
    figures = [
        Figure("good", 1.0, "s", 1.0, 2.0, "a loop", floor=0.5, floor_words="bytes moved"),
        Figure("bad", 3.0, "ms", 2.0),
        Figure("shown", 1.0, "s", None, 4.0, "another"),
    ]
    text = as_table([Record.now("any", "tiny", figures, 0.1)])
    assert "1 of 2 targets met" in text
    lines = text.splitlines()
    assert "0.50×" in lines[2]
    assert "yes" in lines[2]
    assert "2.00×" in lines[2]  # to the floor
    assert "NO" in lines[3]
    assert "against: a loop; floor: bytes moved." in text


def test_an_unknown_cell_is_refused_with_the_names_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "nonsense"])
    assert "table-sort" in capsys.readouterr().err


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        child.child("raise SystemExit('no such thing')")

"""The cluster benchmark runs small, and its files hold what it prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks.clusters import CORNERS, as_table, corners, main
from benchmarks.clusters import Measured as Row


def test_a_short_run_writes_its_figures_and_its_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    asked = ["--seeds", "100", "--nets", "mlp", "--steps", "200", "--out", str(tmp_path)]
    assert main(asked) == 0
    assert torch.get_num_threads() == threads
    record = json.loads((tmp_path / "clusters.json").read_text(encoding="utf-8"))
    (run,) = record["runs"]
    assert (run["data"], run["net"], run["seed"], run["rows"]) == ("decoy digits", "mlp", 100, 5748)
    assert record["mean_ari"] == {"mlp": run["ari"]}
    # A third of the training fools the net well enough for its reasons to show.
    assert run["ari"] > 0.9
    assert run["proposed"] == 4
    assert record["command"].split()[-len(asked) :] == asked
    assert record["settings"]["training"]["mlp"]["steps"] == 200
    assert {"torch", "scikit-learn"} <= set(record["versions"])
    assert f"| mlp | 100 | 5,748 | {run['decoy_test']:.3f} | 4 | {run['ari']:.3f} |" in capsys.readouterr().out
    with Image.open(tmp_path / "clusters.png") as picture:
        width, height = picture.size
        assert 1000 < width < 1600
        assert height > 4 * 112


def test_corners_are_told_from_the_masks() -> None:
    masks = torch.zeros(4, 28, 28, dtype=torch.bool)
    for number, (down, right) in enumerate([(0, 0), (0, 24), (24, 0), (24, 24)]):
        masks[number, down : down + 4, right : right + 4] = True
    assert [CORNERS[number] for number in corners(masks)] == ["top left", "top right", "bottom left", "bottom right"]


def test_means_stand_below_the_rows_of_their_net() -> None:
    rows = [Row("decoy digits", "conv", seed, 10, 0.5, 4, ari, 2.0, 0.1) for seed, ari in ((0, 0.9), (1, 1.0))]
    rows.append(Row("decoy digits", "mlp", 0, 10, 0.4, 3, 0.2, 1.0, 0.1))
    lines = as_table(rows).splitlines()
    assert lines[4] == "| **conv, mean** | | | 0.500 | | **0.950** | 2.0 |"
    assert lines[6] == "| **mlp, mean** | | | 0.400 | | **0.200** | 1.0 |"

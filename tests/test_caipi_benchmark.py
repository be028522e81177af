"""The CAIPI benchmark runs small, goes on where it stopped, and its areas and intervals are what they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import t as student

from benchmarks.caipi import STRATEGIES, areas, as_markdown, differences, main
from benchmarks.caipi_picture import caipi_picture


def test_a_short_run_writes_its_figures_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--data", "decoy digits", "--rows", "300", "--steps", "6", "--per-round", "2", "3"]
    asked += ["--results", str(tmp_path), "--seeds"]
    assert main([*asked, "100"]) == 0
    first = json.loads((tmp_path / "caipi.json").read_text(encoding="utf-8"))["records"]
    assert {(r["data"], r["seed"]) for r in first} == {("decoy digits", 100)}
    assert {(r["strategy"], r["answers"]) for r in first} == {(s, n) for s in STRATEGIES for n in (0, 2, 5)}
    assert len(first) == 9
    start = {r["decoy_test"] for r in first if r["answers"] == 0}
    assert len(start) == 1
    assert all(sum(r["said"].values()) == {0: 0, 2: 2, 5: 3}[r["answers"]] for r in first)
    assert main([*asked, "100", "101"]) == 0
    second = json.loads((tmp_path / "caipi.json").read_text(encoding="utf-8"))["records"]
    assert [r for r in second if r["seed"] == 100] == first
    assert len(second) == 18
    out = capsys.readouterr().out
    assert "CPU minutes" in out
    assert "| decoy digits | labels only |" in out
    with Image.open(tmp_path / "caipi.png") as picture:
        assert picture.size[0] > 1000
    assert main([*asked, "100", "--table"]) == 0


def record(strategy: str, seed: int, answers: int, decoy_test: float) -> dict[str, object]:
    return {"data": "d", "strategy": strategy, "seed": seed, "answers": answers, "decoy_test": decoy_test}


def test_areas_and_intervals_are_those_of_a_plain_computation() -> None:
    gains = [0.01, 0.03, 0.02]
    records = []
    for seed, gain in enumerate(gains):
        for strategy, more in (("caipi", gain), ("random", 0.0)):
            records += [record(strategy, seed, n, 0.5 + (n > 0) * (0.2 + more)) for n in (0, 50, 200)]
    found = areas(records)
    assert found["d", "random", 0] == pytest.approx((50 * (0.5 + 0.7) / 2 + 150 * 0.7) / 200)
    paired = [gain * (25 + 150) / 200 for gain in gains]
    gain, half, seeds = differences(records, "d", "random")
    assert (gain, seeds) == (pytest.approx(np.mean(paired)), 3)
    assert half == pytest.approx(student.ppf(0.975, 2) * np.std(paired, ddof=1) / np.sqrt(3), rel=1e-3)
    # A curve that is not complete has no area.
    assert ("d", "caipi", 7) not in areas([*records, record("caipi", 7, 0, 0.5)])
    assert "| d | random | 0.500 | 0.700 | 0.700 |" in as_markdown(records)


def test_the_picture_holds_every_data_set() -> None:
    records = [{**record(s, 0, n, 0.5 + n / 500), "data": d} for d in "ab" for s in STRATEGIES for n in (0, 10, 200)]
    one = [r for r in records if r["data"] == "a"]
    assert caipi_picture(records, STRATEGIES).width > caipi_picture(one, STRATEGIES).width

"""The benchmark of few strokes, small: it runs, keeps what it measured, and prints a table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import few_strokes
from benchmarks.few_strokes import DATA, as_markdown, interval, main, start, with_few_strokes


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps in place of the recipe's."""
    digits = DATA["decoy-digits"]
    fewer = replace(
        digits, plain=replace(digits.plain, steps=60), fine_tune=replace(digits.fine_tune, steps=6, batch_size=32)
    )
    monkeypatch.setitem(few_strokes.DATA, "decoy-digits", fewer)


def test_a_second_run_measures_nothing_again_and_prints_the_same_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], short: None
) -> None:
    threads = torch.get_num_threads()
    asked = ["--data", "decoy-digits", "--strokes", "sloppy", "--seed", "100", "--results", str(tmp_path)]
    assert main(asked) == 0
    assert torch.get_num_threads() == threads
    first, kept = capsys.readouterr().out, (tmp_path / "few_strokes.json").read_text()
    assert main(asked) == 0
    assert (tmp_path / "few_strokes.json").read_text() == kept
    assert capsys.readouterr().out == first
    (record,) = json.loads(kept)["records"]
    assert {"data", "strokes", "painted", "seed", "decoy_test", "every_mask", "start"} <= set(record)
    assert record["painted"] <= 10
    assert record["propagated"] <= 5738
    assert "| decoy-digits | sloppy | 10 |" in first


def test_only_the_proposed_rows_are_painted(monkeypatch: pytest.MonkeyPatch, short: None) -> None:
    """The log that the fine-tune is told holds ten simulated records; all others come from these."""
    one = start("decoy-digits", 101, Path("nowhere"))
    seen = []

    def noted(self: few_strokes.Start, told: few_strokes.Feedback) -> float:
        seen.extend(told.records())
        return 0.5

    monkeypatch.setattr(few_strokes.Start, "tuned", noted)
    found = with_few_strokes(one, "exact", painted=6)
    painted = [record for record in seen if record.how == "simulated"]
    assert len(painted) == found["painted"] == 6
    rest = [record for record in seen if record.how == "propagated"]
    assert len(rest) == found["propagated"] == len(seen) - 6
    assert {record.source for record in rest} <= {record.id for record in painted}
    assert found["swatch_marked"] > 0.9


def test_the_table_tells_the_mean_of_paired_differences_with_its_interval() -> None:
    pairs = [(0.95, 0.96), (0.97, 0.96), (0.96, 0.97)]
    records = [
        {"data": "decoy-digits", "strokes": "exact", "seed": seed, "painted": 9, "start": 0.5, "decoy_test": few,
         "every_mask": every}
        for seed, (few, every) in enumerate(pairs)
    ]  # fmt: skip
    (line,) = as_markdown(records).splitlines()[2:]
    assert line == "| decoy-digits | exact | 9 | 0.500 | 0.9633 | 0.9600 | -0.33 | -3.20 … +2.54 | 3 |"
    assert interval([1.0]) == ""

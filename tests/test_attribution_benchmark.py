"""The attribution benchmark runs small, compares like with like, and prints a table; nothing here is about time."""

from __future__ import annotations

import pytest
import torch

from benchmarks.attributions import Duel, as_table, main


def test_a_short_run_compares_the_same_maps_in_passes_of_the_same_size(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    assert main(["--rows", "2", "--steps", "5", "--samples", "100", "--repeats", "1"]) == 0
    assert torch.get_num_threads() == threads
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 5
    for row in rows[:4]:
        ours, captums = row[5].split(", ")
        assert ours == captums
        assert float(row[6].strip(" |")) < 1e-4


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    one = Duel("work", 64, ours=[1.0, 4.0, 3.0], captum=[2.0, 4.0, 2.0], passes=(64, 60), difference=0.0)
    assert one.ratio == 1.0
    assert as_table([one]).splitlines()[2] == ("| work | 64 | 1.000, 3.000 | 2.000, 2.000 | 1.00 | 64, 60 | 0.0e+00 |")

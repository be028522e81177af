"""Workbenches killed while somebody paints and a fine-tune runs: nothing that was acknowledged is lost.

``make test`` kills few times, ``make soak`` many (``WORKBENCH_SOAK=1``), all in one directory, which grows. Run as a
script, this file is the process that is killed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import workbench as wb
from workbench.directory import Workbench
from workbench.nets import Mlp

SOAK = os.environ.get("WORKBENCH_SOAK") == "1"
KILLS = 220 if SOAK else 10
CLASSES = ("low", "high")
ROWS = 96


def make(path: str) -> None:
    """Make a workbench with a panel, a model, and one mark."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, ROWS)
    images = rng.integers(0, 120, (ROWS, 6, 6), np.uint8)
    images[:, 2:4, 2:4] += (labels * 60)[:, None, None].astype(np.uint8)
    images[:, 0, 0] = labels * 255
    bench = Workbench.open(path, author="ada")
    bench.panel = wb.DataPanel(
        {"image": wb.ImageColumn(images), "label": wb.ScalarColumn(labels, classes=CLASSES)}, origin="toy"
    )
    torch.manual_seed(0)
    bench.models["start"] = wb.Classifier(Mlp((1, 6, 6), (16,), 2), CLASSES)
    bench.feedback.mark("toy/0", irrelevant=corner(0))


def corner(number: int) -> np.ndarray[Any, Any]:
    """Return a mask that tells which one it is."""
    mask = np.zeros((6, 6), bool)
    mask[0, 0] = True
    mask[5] = [bool(number >> bit & 1) for bit in range(6)]
    return mask


class Told:
    """Tells the parent what was acknowledged, a line each."""

    def __init__(self, place: str) -> None:
        self.place = open(place, "ab", buffering=0)  # noqa: SIM115 - open until the process is killed

    def say(self, words: str) -> None:
        self.place.write(f"{words}\n".encode())

    def began(self, settings: Any, loss: Any) -> None:
        self.say("began 0")

    def stepped(self, step: Any) -> None:
        time.sleep(0.001)

    def checked(self, check: Any) -> None:
        pass

    def kept(self, step: int, state: Any) -> None:
        self.say(f"kept {step}")


def paint(path: str, told: Told) -> None:
    """Mark rows, one after the other, as a person does, until the end."""
    log = Workbench.open(path, author="bob").feedback
    for number in range(10_000):
        (record,) = log.mark(f"toy/{number % ROWS}", irrelevant=corner(number % 64))
        told.say(f"marked {record.id} {number % ROWS} {number % 64}")
        time.sleep(0.015)  # quick for a person, and the log stays small enough to be read whole after every kill


def work(path: str, place: str) -> None:
    """Paint and fine-tune at once, until somebody kills this process."""
    told = Told(place)
    threading.Thread(target=paint, args=(path, told), daemon=True).start()
    while True:
        Workbench.open(path).finetune("start", steps=30, batch_size=32, progress=False, watch=told)


def child(path: str, place: str) -> None:
    """Work in a fork for each line of orders."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as once:
        make(once)
        # What is imported late is there for every fork.
        Workbench.open(once).finetune("start", steps=2, batch_size=32, progress=False)
    for _ in sys.stdin:
        process = os.fork()
        if process == 0:
            work(path, place)
        print(process, flush=True)  # noqa: T201 - the parent kills it by its number
        os.waitpid(process, 0)
        print("ended", flush=True)  # noqa: T201


@pytest.mark.soak
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_nothing_acknowledged_is_lost_when_painting_and_fine_tuning_are_killed(tmp_path: Path) -> None:
    random.seed(5)
    path, place = str(tmp_path / "bench"), tmp_path / "told"
    make(path)
    place.touch()
    marked: dict[int, tuple[int, int]] = {}
    judged: set[str] = set()
    kept_states = 0
    with subprocess.Popen(
        [sys.executable, __file__, path, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(wb.__file__).parents[1]), "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for kill in range(KILLS):
            before = place.stat().st_size
            process.stdin.write("go\n")
            process.stdin.flush()
            pid = int(process.stdout.readline())
            while b"began" not in place.read_bytes()[before:]:
                time.sleep(0.002)
            time.sleep(random.uniform(0, 0.4))
            os.kill(pid, signal.SIGKILL)
            assert process.stdout.readline() == "ended\n"
            said = [line.split() for line in place.read_bytes()[before:].decode().split("\n")[:-1]]
            marked |= {int(words[1]): (int(words[2]), int(words[3])) for words in said if words[0] == "marked"}
            bench = Workbench.open(path)
            records = {record.id: record for record in bench.feedback.records(standing=False)}
            assert sorted(records) == list(range(1, len(records) + 1)), "numbers without a gap"
            new_marks = {int(words[1]) for words in said if words[0] == "marked"}
            for number in marked if kill == KILLS - 1 else new_marks:
                row, drawn = marked[number]
                assert records[number].key == f"toy/{row}"
                assert np.array_equal(records[number].region.mask(), corner(drawn))
            new = [run for run in bench.runs.all() if run.id not in judged]
            judged |= {run.id for run in new}
            begun = [i for i, words in enumerate(said) if words[0] == "began"]
            assert len(new) >= len(begun)
            # Of runs one after the other, only the last can have been killed.
            assert [run.status for run in new[:-1]] == ["done"] * (len(new) - 1)
            assert new[-1].status in ("interrupted", "done")
            kept = [int(words[1]) for words in said[begun[-1] :] if words[0] == "kept"]
            if kept:
                # A run after it may lie in the directory already, killed before it could say that it began.
                last_told = new[len(begun) - 1]
                assert last_told.kept_step >= kept[-1]
                assert last_told.model.classes == CLASSES
                kept_states += 1
            assert len(bench.panel) == ROWS
            assert "start" in bench.models
        process.stdin.close()
    assert kept_states
    assert len(marked) > KILLS


if __name__ == "__main__":
    child(sys.argv[1], sys.argv[2])

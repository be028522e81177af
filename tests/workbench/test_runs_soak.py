"""Fine-tunes that are killed anywhere: each opens, says so, and holds the best state that it had.

``make test`` runs few, ``make soak`` many (``WORKBENCH_SOAK=1``). Run as a script, this file is the process that
is killed.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import workbench as wb
from workbench.record import TrainingSettings
from workbench.runs import Run, open_runs
from workbench.runs.weights import read_weights, state_digest

SOAK = os.environ.get("WORKBENCH_SOAK") == "1"
KILLS = 240 if SOAK else 10
SETTINGS = TrainingSettings(
    steps=40, batch_size=16, lr=0.002, loss=wb.losses.RightReasons(weight=0.02), counterexamples=None, seed=3
)
EVENTS = 80  # more than the syncs and renames of a whole run


class Told:
    """Tells what was acknowledged, and remembers the digest of each state that was kept."""

    def __init__(self, tell: Any = None) -> None:
        self.tell, self.states = tell, {}

    def began(self, settings: Any, loss: Any) -> None:
        self.say("began 0")

    def stepped(self, step: Any) -> None:
        self.say(f"stepped {step.number}")
        time.sleep(0.001)

    def checked(self, check: Any) -> None:
        pass

    def kept(self, step: int, state: Any) -> None:
        self.states[step] = state_digest(state)
        self.say(f"kept {step}")

    def say(self, words: str) -> None:
        if self.tell is not None:
            self.tell.write(f"{words}\n".encode())


def rows() -> tuple[wb.DataPanel, wb.Classifier]:
    """Return a little panel with a shortcut, and a network."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 96)
    inputs = rng.normal(size=(96, 6)).astype(np.float32)
    inputs[:, 0] += 3 * labels
    inputs[:, 5] = labels
    marks = np.zeros((96, 6), bool)
    marks[:, 5] = True
    classes = wb.ScalarColumn(labels, classes=["a", "b"])
    panel = wb.DataPanel({"x": wb.TensorColumn(inputs), "label": classes, "mark": marks}, origin="rows")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2))
    return panel, wb.Classifier(net, ("a", "b"), on="x")


def run_once(folder: Path, told: Told) -> Run:
    """Fine-tune, recorded."""
    panel, model = rows()
    train, held = panel[24:], panel[:24]
    return wb.finetune(
        model, train, "mark", validation=held, settings=SETTINGS, progress=False, folder=folder, watch=told
    )


def kill_at(event: int) -> None:
    """Kill this process at its n-th sync or rename: an odd one before it, an even one after."""
    count = 0

    def dying(function: Any) -> Any:
        def run(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            if count == event and event % 2:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments)
            if count == event:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return run

    os.fsync, os.replace = dying(os.fsync), dying(os.replace)


def child(folder: str, progress: str) -> None:
    """Fine-tune in a fork for each line of orders: at which event to die, 0 for never."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        run_once(Path(place), Told())  # what is imported late is there for every fork
    with open(progress, "ab", buffering=0) as told:
        for line in sys.stdin:
            told.write(b"begun\n")
            process = os.fork()
            if process == 0:
                if int(line):
                    kill_at(int(line))
                run_once(Path(folder), Told(told))
                os._exit(0)
            print(process, flush=True)  # noqa: T201 - the parent kills it by its number
            _, status = os.waitpid(process, 0)
            print("killed" if os.WIFSIGNALED(status) else f"ended {status}", flush=True)  # noqa: T201


@pytest.mark.soak
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fine_tune_killed_at_any_moment_opens_and_holds_its_best_state(tmp_path: Path) -> None:
    random.seed(2)
    whole = Told()
    complete = run_once(tmp_path / "complete", whole)
    assert len(whole.states) > 2
    assert whole.states[complete.kept_step] == complete.record.after
    folder, progress = tmp_path / "runs", tmp_path / "told"
    progress.touch()
    repository = Path(wb.__file__).parent.parent
    killed, seen, ends = 0, set(), set()
    with subprocess.Popen(
        [sys.executable, __file__, str(folder), str(progress)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env={**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        while killed < KILLS:
            by_time = random.random() < 0.5
            before = progress.stat().st_size
            process.stdin.write(f"{0 if by_time else random.randint(1, EVENTS)}\n")
            process.stdin.flush()
            pid = int(process.stdout.readline())
            if by_time:
                while b"began" not in progress.read_bytes()[before:]:
                    time.sleep(0.001)
                time.sleep(random.uniform(0, 0.3))
                with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
                    os.kill(pid, signal.SIGKILL)
            killed += process.stdout.readline() == "killed\n"
            lines = [line.split() for line in progress.read_bytes()[before:].decode().splitlines()[1:]]
            new = [run for run in open_runs(folder) if run.id not in seen]
            seen |= {run.id for run in new}
            assert len(new) <= 1
            assert new or not lines, "what began is there"
            for run in new:
                check(run, lines, complete, whole)
                ends.add(run.status)
        process.stdin.close()
    assert "interrupted" in ends


def check(run: Run, lines: list[list[str]], complete: Run, whole: Told) -> None:
    """Look at a run whose process is gone, of which `lines` were acknowledged."""
    assert run.status in ("done", "interrupted")
    assert run.steps == complete.steps[: len(run.steps)]
    assert list(run.checks) == list(complete.checks[: len(run.checks)])
    last = max((int(step) for what, step in lines if what == "kept"), default=None)
    if last is not None:
        assert run.kept_step >= last
        assert len(run.steps) >= run.kept_step
        assert len(run.checks) >= 1
    if (run.path / "model" / "weights.safetensors").exists():
        state, notes = read_weights(run.path, "model/weights.safetensors")
        assert state_digest(state) == whole.states[int(notes["step"])]
        assert state_digest(run.model.module.state_dict()) == notes["digest"]
    if last is not None and run.status == "interrupted" and random.random() < 0.2:
        panel, _ = rows()
        assert run.replay(panel, validation=panel[:24]).identical
    if run.status == "done":
        assert run.record.after == complete.record.after
    assert state_digest(run.start.module.state_dict()) == complete.record.before


if __name__ == "__main__":
    child(sys.argv[1], sys.argv[2])

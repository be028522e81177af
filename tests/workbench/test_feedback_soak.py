"""Feedback that is written while processes are killed, and by several at once: what was acknowledged is there.

``make test`` runs few, ``make soak`` many (``WORKBENCH_SOAK=1``). Run as a script, this file forks the processes
that write and are killed.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from workbench import feedback
from workbench.feedback import VERDICTS, Feedback, ImageRegion, Record, rationale

SOAK = os.environ.get("WORKBENCH_SOAK") == "1"
KILLS = 200 if SOAK else 10
EACH = 10_000 if SOAK else 300
PROPAGATED = 12

pytestmark = [pytest.mark.soak, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]


def mask_number(number: int) -> np.ndarray:
    """Return a mask that tells which one it is."""
    return np.random.default_rng(number).random((16, 16)) < 0.3


def speak(log: Feedback, number: int) -> tuple[Record, ...]:
    """Say one thing, several at once, or take something back; what, follows from the number."""
    key, mask = f"{log.author}/{number}", mask_number(number)
    match number % 5:
        case 0:
            return log.mark(key, irrelevant=mask, shown={"step": number})
        case 1:
            return (log.note(key, "zu dunkel 🦉 " * (number % 300 + 1)),)
        case 2:
            region = ImageRegion.from_mask(mask)
            return log.write(rationale(f"{key}/{i}", "irrelevant", region, how="propagated") for i in range(PROPAGATED))
        case 3:
            return (log.undo(),)
        case _:
            return (log.judge(key, VERDICTS[number % 3]),)


def check_said(records: list[Record], number: int, author: str) -> None:
    """Check that records are what `speak` says for a number."""
    key, mask = f"{author}/{number}", mask_number(number)
    assert {r.author for r in records} == {author}
    match number % 5:
        case 0:
            assert [(r.key, r.shown, r.region.mask().tolist()) for r in records] == [
                (key, {"step": number}, mask.tolist())
            ]
        case 1:
            assert [r.body["text"] for r in records] == ["zu dunkel 🦉 " * (number % 300 + 1)]
        case 2:
            assert [r.key for r in records] == [f"{key}/{i}" for i in range(PROPAGATED)]
            assert {r.region for r in records} == {ImageRegion.from_mask(mask)}
        case 3:
            assert [len(r.of) for r in records] == [PROPAGATED]
        case _:
            assert [r.body["verdict"] for r in records] == [VERDICTS[number % 3]]


def child() -> None:
    """Fork a writer for each line of orders: path, author, file to tell, numbers. Or wait for one."""
    for line in sys.stdin:
        order = line.rstrip("\n").split("\t")
        if len(order) == 1:
            _, status = os.waitpid(int(order[0]), 0)
            print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - the parent reads it
            continue
        path, author, place, first, step, count = order
        process = os.fork()
        if process == 0:
            with open(place, "ab", buffering=0) as told:
                log = Feedback(path, author=author, timeout=300)
                for number in range(int(first), int(first) + int(step) * int(count), int(step)):
                    ids = [record.id for record in speak(log, number)]
                    told.write(f"{number} {' '.join(map(str, ids))}\n".encode())
                log.close()
            os._exit(0)
        print(process, flush=True)  # noqa: T201 - the parent kills it by its number


class Writers:
    """Starts writers, and tells how they ended."""

    def __init__(self, orders: IO[str], answers: IO[str]) -> None:
        self.orders, self.answers = orders, answers

    def start(self, path: Path, author: str, told: Path, first: int, step: int, count: int) -> int:
        told.touch()
        return self._ask(f"{path}\t{author}\t{told}\t{first}\t{step}\t{count}")

    def ended(self, process: int) -> int:
        """Wait for a writer, and return its exit code: minus the signal that killed it."""
        return self._ask(str(process))

    def _ask(self, order: str) -> int:
        self.orders.write(f"{order}\n")
        self.orders.flush()
        return int(self.answers.readline())


@pytest.fixture
def writers() -> Iterator[Writers]:
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(feedback.__file__).parent.parent.parent)},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        yield Writers(process.stdin, process.stdout)
        process.stdin.close()


def acknowledged(told: Path) -> list[tuple[int, list[int]]]:
    """Return numbers and ids of the writes that were told to the end."""
    lines = told.read_text().split("\n")[:-1]
    return [(number, ids) for number, *ids in (list(map(int, line.split())) for line in lines)]


@contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(path)
    try:
        yield database
    finally:
        database.close()


def test_no_acknowledged_feedback_is_lost_by_a_kill_at_any_moment(tmp_path: Path, writers: Writers) -> None:
    draws = random.Random(2)
    kept: list[Record] = []
    writes = 0
    path, number = tmp_path / "feedback.db", 0
    for kill in range(KILLS):
        if kill % 25 == 0:
            path, kept, number = tmp_path / f"feedback{kill}.db", [], 0
        told = tmp_path / f"told{kill}"
        process = writers.start(path, "ada", told, number, 1, 1_000_000)
        # Some are killed while they open the file, most while they write.
        patient = draws.random() < 0.9
        while patient and not told.stat().st_size:
            time.sleep(0.0005)
        time.sleep(draws.uniform(0, 0.08))
        os.kill(process, signal.SIGKILL)
        assert writers.ended(process) == -signal.SIGKILL
        said = acknowledged(told)
        with Feedback(path) as log:
            records = log.records(standing=False)
            assert [r.id for r in records] == list(range(1, len(records) + 1))
            assert records[: len(kept)] == kept
            by_id = {r.id: r for r in records}
            for which, ids in said:
                check_said([by_id[i] for i in ids], which, "ada")
            # Beyond what was told there may be the one write that was on the disk already: all of it.
            last = max((ids[-1] for _, ids in said), default=len(kept))
            number += len(said)
            writes += len(said)
            if len(records) > last:
                check_said(records[last:], number, "ada")
                number += 1
            kept = records
        with raw(path) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert writes > KILLS


def test_two_processes_that_write_at_once_lose_and_garble_nothing(tmp_path: Path, writers: Writers) -> None:
    path = tmp_path / "feedback.db"
    told = {author: tmp_path / f"told {author}" for author in ("ada", "bob")}
    with Feedback(path) as log:
        processes = [writers.start(path, author, place, 0, 5, EACH) for author, place in told.items()]
        assert [writers.ended(process) for process in processes] == [0, 0]
        by_id = {r.id: r for r in log.records(standing=False)}
        seen: set[int] = set()
        for author, place in told.items():
            writes = acknowledged(place)
            assert [number for number, _ in writes] == list(range(0, 5 * EACH, 5))
            for number, ids in writes:
                check_said([by_id[i] for i in ids], number, author)
                seen.update(ids)
        assert seen == set(by_id)
        assert len(seen) == 2 * EACH
    with raw(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


if __name__ == "__main__":
    child()

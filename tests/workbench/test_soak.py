"""Saves that are killed anywhere: what is reopened is always one of two versions, whole.

``make test`` runs few, ``make soak`` many (``WORKBENCH_SOAK=1``). Run as a script, this file is the process that
is killed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from columns import (
    ImageColumn,
    ScalarColumn,
    TensorColumn,
    TextColumn,
    drafts,
)
from workbench import storage
from workbench.panel import DataPanel

SOAK = os.environ.get("WORKBENCH_SOAK") == "1"
KILLS = 240 if SOAK else 10
SAVES = 6  # of one child, before it ends on its own


# Killed at any point


def panel_number(number: int) -> DataPanel:
    """Return a panel whose every column tells which one it is."""
    rng = np.random.default_rng(number)
    rows = 120
    panel = DataPanel(
        {
            "number": ScalarColumn([number] * rows),
            "text": TextColumn([None if i % 7 == 0 else f"{number}/{i}" * 3 for i in range(rows)]),
            "tensor": TensorColumn([None if i % 5 == 0 else rng.random(40) for i in range(rows)]),
            "image": ImageColumn(rng.integers(0, 255, (rows, 8, 8), np.uint8)),
            "class": ScalarColumn(rng.integers(0, 3, rows), classes=["a", "b", "c"]),
        },
        origin=f"panel {number}",
    )[::-1]
    panel["late"] = panel["number"].map(lambda x: x * 2)
    return panel


def plain(value: Any) -> Any:
    """Return a row as something that compares, exactly."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, Image.Image):
        return value.mode, value.size, value.tobytes()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return "nan" if isinstance(value, float) and value != value else value


def content(panel: DataPanel) -> dict[str, list[Any]]:
    return {"key": panel.key.to_list()} | {n: plain(panel[n].to_list()) for n in panel.columns}


def kill_at(event: int, after: bool) -> None:
    """Kill this process at its n-th write, sync or rename: before it, or after (a write: in the middle)."""
    count = 0

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def dying(function: Any, half: bool = False) -> Any:
        def run(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            if count == event and not after:
                die()
            if count == event and half:
                target, data = arguments
                function(target, memoryview(data).cast("B")[: memoryview(data).nbytes // 2])
                target.flush()
                die()
            result = function(*arguments)
            if count == event:
                die()
            return result

        return run

    os.fsync, os.replace = dying(os.fsync), dying(os.replace)
    drafts.Draft.write = dying(drafts.Draft.write, half=True)  # type: ignore[method-assign]


def child(place: str, progress: str) -> None:
    """Save panels, one after the other, in a fork for each line of orders: first number, crash point, after."""
    with open(progress, "ab", buffering=0) as told:
        for line in sys.stdin:
            first, event, after = map(int, line.split())
            process = os.fork()
            if process == 0:
                if event:
                    kill_at(event, bool(after))
                told.write(b"begun\n")
                for number in range(first, first + SAVES):
                    version = panel_number(number).save(place)
                    told.write(f"{version} {number}\n".encode())
                os._exit(0)
            print(process, flush=True)  # noqa: T201 - the parent kills it by its number
            _, status = os.waitpid(process, 0)
            print("killed" if os.WIFSIGNALED(status) else f"ended {status}", flush=True)  # noqa: T201


def check_whole(place: Path, progress: Path, expected: dict[int, dict[str, list[Any]]]) -> int:
    """Reopen: the last version that was reported, or the one that was under way; return the panel's number."""
    lines = [line.split() for line in progress.read_text().splitlines() if line != "begun"]
    version, number = map(int, lines[-1]) if lines else (0, 0)
    if not (place / "manifest.json").exists():
        assert version == 0
        return 0
    opened = storage.open(place)
    found = opened["number"].to_list()[0]
    assert found not in expected or content(opened) == expected[found]
    expected.setdefault(found, content(panel_number(found)))
    assert content(opened) == expected[found]
    versions = storage.versions(place)
    assert versions == list(range(1, versions[-1] + 1))
    if version and versions[-1] == version:
        assert found == number
    else:
        assert versions[-1] == version + 1  # committed, and killed before it could say so
        with open(progress, "a") as told:
            told.write(f"{versions[-1]} {found}\n")
    earlier = storage.open(place, version=random.choice(versions))
    assert content(earlier) == expected.setdefault(
        earlier["number"].to_list()[0], content(panel_number(earlier["number"].to_list()[0]))
    )
    return int(found)


@pytest.mark.soak
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_save_killed_at_any_point_leaves_one_of_two_versions_whole(tmp_path: Path) -> None:
    random.seed(1)
    repository = Path(storage.__file__).parent.parent
    killed = done = 0
    while killed < KILLS:
        place, progress = tmp_path / f"p{done}", tmp_path / f"told{done}"
        progress.touch()
        done += 1
        with subprocess.Popen(
            [sys.executable, __file__, str(place), str(progress)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(repository)},
        ) as process:  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            number, expected = 0, {}
            for _ in range(min(60, KILLS - killed)):
                by_time = random.random() < 0.5
                event = 0 if by_time else random.randint(1, 160)
                before = progress.stat().st_size
                process.stdin.write(f"{number + 1} {event} {random.randint(0, 1)}\n")
                process.stdin.flush()
                pid = int(process.stdout.readline())
                if by_time:
                    while progress.stat().st_size == before:
                        time.sleep(0.001)
                    time.sleep(random.uniform(0, 0.25))
                    os.kill(pid, signal.SIGKILL)
                killed += process.stdout.readline() == "killed\n"
                number = check_whole(place, progress, expected)
            process.stdin.close()
        if number:
            # What the killed ones left is gone with the next save that ends.
            panel_number(number).save(place)
            names = {f.name for f in (place / "columns").iterdir()}
            assert not any(n.startswith(".draft") for n in names)
            assert content(storage.open(place)) == expected[number]


if __name__ == "__main__":
    child(sys.argv[1], sys.argv[2])

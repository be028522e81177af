"""Fresh processes: for what only the first time shows, resident memory and imports."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["child", "peak_above", "resident"]

_MB = 1e6
_ROOT = Path(__file__).parent.parent


def child(code: str, *arguments: Any) -> dict[str, float]:
    """Run Python code in a fresh process and return what it prints, one JSON object, last of all.

    Parameters
    ----------
    code : str
        Has `arguments`, as text, in ``sys.argv[1:]``.
    """
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"A benchmark's process failed:\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def resident() -> float:
    """Return the memory of this process that is in RAM, in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / _MB


def peak_above(work: Callable[[], Any]) -> tuple[float, float]:
    """Run `work` and return by how many MB memory rose above what it was, and the seconds it took.

    The kernel's high-water mark where it can be reset, and a look every two milliseconds: sandboxes lack the first.
    """
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    marked = _high_water()
    before = highest = resident()
    stop = threading.Event()

    def look() -> None:
        nonlocal highest
        while not stop.wait(0.002):
            highest = max(highest, resident())

    thread = threading.Thread(target=look)
    thread.start()
    begin = time.perf_counter()
    work()
    seconds = time.perf_counter() - begin
    stop.set()
    thread.join()
    highest = max(highest, resident())
    after = _high_water()
    if after > marked:  # a mark that was above already says nothing
        highest = max(highest, after)
    return highest - before, seconds


def _high_water() -> float:
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / _MB
    return 0.0

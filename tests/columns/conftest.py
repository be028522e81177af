"""Processes of their own for tests that need them: forked from one that has torch imported already."""

from __future__ import annotations

import json
import multiprocessing
import textwrap
from pathlib import Path
from typing import Any

import pytest

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["torch", "pandas", "columns"])

_FRAME = """
import json, os, sys, traceback, warnings
warnings.simplefilter("error")
os.chdir({cwd!r})
sys.path.insert(0, {cwd!r})
import torch
torch.set_num_threads(1)
sys.stdout = open({out!r}, "w")
sys.stderr = sys.stdout
try:
    exec({code!r}, {{"__name__": "code_of_a_test"}})
except BaseException:
    traceback.print_exc()
    sys.stdout.flush()
    os._exit(1)
sys.stdout.flush()
"""


class Running:
    """Code that runs in a process of its own."""

    def __init__(self, code: str, cwd: Path, out: Path) -> None:
        self.out = out
        framed = _FRAME.format(cwd=str(cwd), out=str(out), code=textwrap.dedent(code))
        self.process = _CONTEXT.Process(target=exec, args=(framed, {}))
        self.process.start()

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        self.process.kill()
        self.process.join()

    def result(self) -> Any:
        """Wait, and return what it printed last, as JSON."""
        self.process.join(60)
        printed = self.out.read_text() if self.out.exists() else ""
        assert self.process.exitcode == 0, printed
        return json.loads(printed.splitlines()[-1])


@pytest.fixture
def start(tmp_path: Path):
    """Return a function that runs code in another process, in the directory of the test."""
    started: list[Running] = []

    def begin(code: str) -> Running:
        started.append(Running(code, tmp_path, tmp_path.parent / f"{tmp_path.name}-{len(started)}.out"))
        return started[-1]

    yield begin
    for one in started:
        if one.process.is_alive():
            one.kill()


@pytest.fixture
def run(start):
    """Return a function that runs code in another process, and returns what it printed last, as JSON."""
    return lambda code: start(code).result()

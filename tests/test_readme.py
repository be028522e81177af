"""README.md shows only what runs: its Python is run, its commands exist, its figures are the demo's."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An empty folder in which a reader has run every block of Python."""
    place = tmp_path_factory.mktemp("reader")
    code = "\n\n".join(re.findall(r"```python\n(.*?)```", README, flags=re.S))
    (place / "told").write_text(run([sys.executable, "-c", code], place))
    return place


def run(command, place):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=place, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_python_block_runs(folder):
    told = (folder / "told").read_text()
    assert "at the top right" in told
    assert "swap sensitivity" in told


def test_every_command_on_a_workbench_runs(folder, monkeypatch, command):
    commands = re.findall(r"^workbench (\w+ DIR[^#\n]*)", README, flags=re.M)
    assert len(commands) == 4
    monkeypatch.chdir(folder)
    for words in commands:
        told = command(*shlex.split(words.replace("DIR", "bench"))).out
        assert "obeys" in told or "accuracy" in told or "identical weights" in told, words


def test_the_result_beside_the_last_block_is_the_one_it_gives():
    code = re.findall(r"```python\n(.*?)```", README, flags=re.S)[-1]
    call, told = code.strip().splitlines()[-1].split("  # ")
    space: dict = {}
    exec(compile(code, "README.md", "exec"), space)
    assert str(eval(call, space)) == told  # noqa: S307


def test_every_make_target_named_is_there():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`?make ([a-z][a-z-]*)", README)) - {"up"}:
        assert f"\n{target}:" in makefile, target


def test_pictures_and_files_named_are_there():
    for path in re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r'(?:src|srcset)="([^"]+)"', README):
        assert (ROOT / path).exists(), path

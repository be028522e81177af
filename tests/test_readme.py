"""README.md shows only what runs: its Python is run, its commands exist, its figures are the demo's."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_python_block_runs():
    code = "\n\n".join(re.findall(r"```python\n(.*?)```", README, flags=re.S))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "swap sensitivity" in done.stdout


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
    for path in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / path).exists(), path

"""What the packages show of themselves, and what importing them costs."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("columns", "explain", "workbench")


@pytest.mark.parametrize("name", PACKAGES)
def test_the_package_is_ours(name):
    module = importlib.import_module(name)
    assert Path(module.__file__).parents[1] == ROOT


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_is_there_and_told_in_words(name):
    module = importlib.import_module(name)
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for public in module.__all__:
        thing = getattr(module, public)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), public


@pytest.mark.parametrize("name", ["columns", "workbench"])
def test_importing_stays_light(name):
    heavy = ("captum", "sklearn", "matplotlib", "polars", "datasets", "IPython", "ipywidgets", "typer", "scipy", "peft")
    # Every public name too, because some are read when they are first asked for.
    code = (
        f"import sys, {name} as p; [getattr(p, n) for n in p.__all__]; print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"

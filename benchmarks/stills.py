"""``python -m benchmarks.stills``: run a notebook, and keep of its outputs the stills of its views, and nothing else.

A code host shows a committed notebook without a kernel: where a view stands, it then shows the first rows as they are.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["main", "only_stills"]

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "03_explore_and_paint.ipynb"
VIEW = "application/vnd.jupyter.widget-view+json"
KEPT = ("text/html", "text/plain")


def only_stills(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return a notebook that has run without its outputs, but for the stills of its views."""
    cells = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            stills = [_still(output) for output in cell["outputs"] if VIEW in output.get("data", {})]
            cell = {**cell, "execution_count": None, "metadata": {}, "outputs": stills}
        cells.append(cell)
    metadata = {name: notebook["metadata"][name] for name in ("kernelspec", "language_info")}
    metadata["language_info"] = {"name": "python"}
    return {**notebook, "cells": cells, "metadata": metadata}


def _still(output: dict[str, Any]) -> dict[str, Any]:
    # What a cell shows, not what it returns: that has no number, which would differ from run to run.
    data = {kind: output["data"][kind] for kind in KEPT}
    return {"data": data, "metadata": {}, "output_type": "display_data"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a notebook and write it again with its stills."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stills", description=__doc__.splitlines()[0])
    parser.add_argument("notebook", nargs="?", type=Path, default=NOTEBOOK)
    path = parser.parse_args(arguments).notebook

    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": ROOT}}
    ).execute()
    kept = only_stills(json.loads(nbformat.writes(notebook)))
    text = json.dumps(kept, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    path.write_text(text, encoding="utf-8")
    print(f"{path}: {len(text) / 1000:.0f} kB, {sum(len(cell.get('outputs', [])) for cell in kept['cells'])} stills")
    return 0


if __name__ == "__main__":
    sys.exit(main())

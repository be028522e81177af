"""Opening a saved panel of a million rows: the manifest, and not the data."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterable
from pathlib import Path

import numpy as np

import workbench as wb

from . import sample
from .child import child
from .figures import Figure, Scale, cell
from .sample import table

__all__ = ["saved_panel"]

_DIMENSIONS = 128

# A first, tiny panel takes what any first call costs (modules, code objects): the figure is the panel's own.
_OPEN = """
import json, sys, time
from workbench import storage
from benchmarks.child import resident
storage.open(sys.argv[2])
before = resident()
begin = time.perf_counter()
panel = storage.open(sys.argv[1])
rows = len(panel)
seconds = time.perf_counter() - begin
print(json.dumps({"ms": 1e3 * seconds, "MB": resident() - before, "rows": rows}))
"""

_READ = """
import json, sys, time
begin = time.perf_counter()
with open(sys.argv[1], "rb") as file:
    json.load(file)
print(json.dumps({"ms": 1e3 * (time.perf_counter() - begin)}))
"""


def saved_panel(rows: int, distinct: int, keys: int) -> Path:
    """Return the directory of a saved panel of five scalars and an embedding, written on first use."""
    path = sample.DATA / f"panel-{rows}"
    if path.exists():
        return path
    panel = wb.DataPanel(table(rows, distinct, keys).columns, origin="bench")
    vectors = np.random.default_rng(3).normal(size=(rows, _DIMENSIONS)).astype(np.float32)
    panel["embedding"] = wb.EmbeddingColumn(vectors)
    draft = path.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    panel.save(draft)
    draft.rename(path)
    return path


@cell("open")
def open_saved(scale: Scale) -> Iterable[Figure]:
    """Median over fresh processes. Floor: reading and parsing the manifest."""
    path, tiny = saved_panel(scale.rows, scale.distinct, scale.keys), saved_panel(10, 5, 5)
    results = [child(_OPEN, path, tiny) for _ in range(scale.children)]
    assert all(result["rows"] == scale.rows for result in results)
    manifest = max(path.rglob("*.json"), key=lambda file: file.stat().st_mtime)
    floor = statistics.median(child(_READ, manifest)["ms"] for _ in range(scale.children))
    work = f"open a saved panel, {scale.rows:,} rows × (5 scalars + {_DIMENSIONS}-d)"
    yield Figure(
        work, statistics.median(r["ms"] for r in results), "ms", 5.0,
        floor=floor, floor_words="reading and parsing one manifest", note="after a panel of ten rows was opened",
    )  # fmt: skip
    yield Figure(f"{work}, more resident", statistics.median(r["MB"] for r in results), "MB", 20.0)

"""What ``import workbench`` adds to torch, pandas and pyarrow."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from .child import child
from .figures import Figure, Scale, cell

__all__ = ["importing"]

_IMPORT = """
import json, sys, time
begin = time.perf_counter()
import pandas, pyarrow, torch
between = time.perf_counter()
if sys.argv[1] == "pillow":
    import PIL.Image
else:
    import workbench
    if sys.argv[1] == "names":
        [getattr(workbench, name) for name in workbench.__all__]
end = time.perf_counter()
print(json.dumps({"base": between - begin, "more": end - between}))
"""


@cell("import")
def importing(scale: Scale) -> Iterable[Figure]:
    """Median over fresh processes. Floor: importing Pillow, which image columns cannot do without."""
    results = {what: [child(_IMPORT, what) for _ in range(scale.children)] for what in ("workbench", "names", "pillow")}
    more = {what: statistics.median(r["more"] for r in results[what]) for what in results}
    base = statistics.median(r["base"] for r in results["workbench"])
    yield Figure(
        "import workbench beyond torch, pandas, pyarrow", more["workbench"], "s", 0.2,
        floor=more["pillow"], floor_words="importing Pillow alone",
        note=f"with every public name {more['names']:.2f} s; torch, pandas and pyarrow themselves: {base:.2f} s",
    )  # fmt: skip

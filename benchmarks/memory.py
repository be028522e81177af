"""Peak memory of the image map: ten times the rows, the same peak."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from .child import child
from .figures import Figure, Scale, cell
from .sample import pictures

__all__ = ["bounded"]

# Some rows first: what torch, its kernels and the threads take once is there before the count begins.
_MAP = """
import json, sys
from benchmarks.child import peak_above
from benchmarks.images import SmallNet, scores_of
from benchmarks.sample import pictures
files = pictures(int(sys.argv[1]), int(sys.argv[2]))
rows = int(sys.argv[3])
paths = (files * (rows // len(files) + 1))[:rows]
net = SmallNet().eval()
scores_of(files[:1], net)
peak, seconds = peak_above(lambda: scores_of(paths, net))
print(json.dumps({"peak": peak, "seconds": seconds}))
"""


@cell("memory")
def bounded(scale: Scale) -> Iterable[Figure]:
    """Median over fresh processes. Floor: the scores themselves, next to nothing beside what is on its way."""
    pictures(scale.images, scale.side)
    peaks = {
        rows: statistics.median(
            child(_MAP, scale.images, scale.side, rows)["peak"] for _ in range(min(2, scale.children))
        )
        for rows in (scale.images, scale.many_images)
    }
    few, many = peaks[scale.images], peaks[scale.many_images]
    yield Figure(
        f"peak memory of the image map, {scale.many_images:,} rows", many, "MB", 1.1, few, f"{scale.images:,} rows",
        floor=scale.many_images * 40 / 1e6, floor_words="the scores themselves",
        note="above the process's memory before it; ten times the rows are the same files again",
    )  # fmt: skip

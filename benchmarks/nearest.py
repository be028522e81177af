"""Nearest rows among embeddings, against one matrix product and one ``topk``."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

import workbench as wb

from .child import child
from .figures import Figure, Scale, cell
from .timing import race

__all__ = ["unit_vectors"]

_DIMENSIONS = 384
_K = 10

_MEMORY = """
import json, sys
import torch
from benchmarks.child import peak_above
from benchmarks.nearest import by_hand, unit_vectors
import workbench as wb
rows, queries = unit_vectors(int(sys.argv[2]), 1), unit_vectors(int(sys.argv[3]), 2)
column = wb.EmbeddingColumn(rows)
work = {"ours": lambda q: column.nearest(q, k=10), "hand": lambda q: by_hand(rows, q)}[sys.argv[1]]
work(queries[:1])
print(json.dumps({"peak": peak_above(lambda: work(queries))[0]}))
"""


def unit_vectors(count: int, seed: int) -> np.ndarray:
    """Return vectors of length 1: what the rival needs to find cosines by a product alone."""
    vectors = np.random.default_rng(seed).normal(size=(count, _DIMENSIONS)).astype(np.float32)
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def by_hand(rows: np.ndarray, queries: np.ndarray) -> torch.return_types.topk:
    """Return the nearest rows by one product and one ``topk`` over all scores."""
    return torch.topk(torch.from_numpy(queries) @ torch.from_numpy(rows).T, _K, dim=1)


@cell("nearest")
def nearest(scale: Scale) -> Iterable[Figure]:
    """1,000 queries among 100k × 384. Floor: the floating-point operations, at the speed of the product alone."""
    rows, queries = unit_vectors(scale.embeddings, 1), unit_vectors(scale.queries, 2)
    column = wb.EmbeddingColumn(rows)
    assert np.array_equal(column.nearest(queries[:5], k=_K).rows, by_hand(rows, queries[:5]).indices.numpy())
    block = 8192
    out = torch.empty(scale.queries * min(block, scale.embeddings))

    def product() -> None:
        # In pieces that fit a cache, into memory that is there: the operations, and nothing else.
        for start in range(0, scale.embeddings, block):
            piece = torch.from_numpy(rows[start : start + block])
            scores = out[: scale.queries * len(piece)].view(scale.queries, len(piece))
            torch.mm(torch.from_numpy(queries), piece.T, out=scores)

    result = race(
        {
            "ours": lambda: column.nearest(queries, k=_K),
            "torch": lambda: by_hand(rows, queries),
            "product": product,
        },
        scale.repeats,
    )
    operations = 2.0 * scale.queries * scale.embeddings * _DIMENSIONS
    yield Figure(
        f"nearest {_K} of {scale.queries:,} queries in {scale.embeddings:,} × {_DIMENSIONS}", result.best("ours"), "s",
        1.1, result.best("torch"), "one torch product + topk on vectors of length 1",
        result.median_ratio("ours", "torch"), result.best("product"),
        f"{operations / 1e9:.1f} GFLOP at {operations / 1e9 / result.best('product'):.0f} GFLOP/s, the product alone",
        "ours also finds the lengths, as cosine needs",
    )  # fmt: skip
    peaks = {who: child(_MEMORY, who, scale.embeddings, scale.queries)["peak"] for who in ("ours", "hand")}
    yield Figure(
        "the same, peak memory above the data", peaks["ours"], "MB", 1.0, peaks["hand"], "one torch product + topk",
        floor=scale.queries * _K * 12 / 1e6, floor_words="the answer",
        note="bounded: more queries take no more memory",
    )  # fmt: skip

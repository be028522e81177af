"""Embeddings: a vector per row, and its nearest rows: exact, batched, on the device."""

from __future__ import annotations

from typing import Any, NamedTuple, Self, final

import numpy as np
import torch
from numpy.typing import NDArray

from ..column import Column, kind
from ..device import resolve_device
from ..errors import KindError
from ..expression import Source
from ..spec import ColumnSpec
from ..values import DenseValues, shared_tensor
from .tensor import array_cell, dense_source

__all__ = ["EmbeddingColumn", "Nearest"]

_METRICS = ("cosine", "dot", "euclidean")
_SPARE = 8  # neighbours measured exactly beyond those asked for
_SCORES_AT_ONCE = 8 << 20  # elements of the score matrix held at a time: bounded, and it fits a cache
_QUERIES_AT_ONCE = 1024


class Nearest(NamedTuple):
    """The nearest rows of each query.

    Attributes
    ----------
    rows : ndarray of int64, shape (queries, k)
        Row numbers in the column, nearest first.
    scores : ndarray of float32, shape (queries, k)
        Cosine or dot product (greater is nearer), or Euclidean distance (less is nearer).
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


@kind
@final
class EmbeddingColumn(Column):
    """A vector per row.

    Parameters
    ----------
    data : ndarray, Tensor, or sequence of vectors
        Shape (rows, dimensions), float.

    Examples
    --------
    >>> places = EmbeddingColumn(np.eye(3, dtype=np.float32))
    >>> places.nearest([0.1, 1.0, 0.0], k=2).rows
    array([[1, 0]])
    """

    kind = "embedding"
    form = "dense"
    __slots__ = ()

    def __new__(cls, data: Any) -> Self:
        source = dense_source(data, "data")
        if source.data.ndim != 2:
            raise KindError(f"Embeddings have shape (rows, dimensions); got {source.data.shape}.")
        return cls.over(Source(source), spec=ColumnSpec("embedding", str(source.data.dtype), source.data.shape[1:]))

    def nearest(self, query: Any, k: int = 10, metric: str = "cosine", device: str = "auto") -> Nearest:
        """Return the `k` nearest rows of each query; exact, in bounded memory.

        Parameters
        ----------
        query : array, Tensor, or EmbeddingColumn, shape (dimensions,) or (queries, dimensions)
            Where to look.
        k : int
            How many; at most the number of rows that are not null, NaN or infinite.
        metric : {"cosine", "dot", "euclidean"}
            What near means.
        device : str
            Where to compute.

        Returns
        -------
        Nearest

        Raises
        ------
        KindError
            If dimensions differ, a query is not finite, or the metric is none of these.
        """
        if metric not in _METRICS:
            raise KindError(f"`metric` must be one of {', '.join(_METRICS)}; got '{metric}'.")
        if k < 1:
            raise ValueError(f"`k` must be at least 1; got {k}.")
        values = self.values()
        assert isinstance(values, DenseValues)
        there = resolve_device(device)
        rows = shared_tensor(values.data).to(there, torch.float32)
        raw = query.to_numpy() if isinstance(query, Column) else query
        queries = torch.as_tensor(raw if isinstance(raw, torch.Tensor) else np.asarray(raw)).to(there, torch.float32)
        queries = queries[None] if queries.ndim == 1 else queries
        if not rows.shape[1]:
            rows = rows.new_zeros((len(rows), queries.shape[-1]))  # all null: nobody knows the dimensions
        if queries.ndim != 2 or queries.shape[1] != rows.shape[1]:
            raise KindError(f"Queries must have {rows.shape[1]} dimensions; got shape {tuple(queries.shape)}.")
        if not queries.isfinite().all():
            raise KindError("Queries must be finite: nothing is near a null, NaN or infinite one.")
        # What is not a number is near nothing, and would come first in any order.
        missing = ~rows.sum(dim=1).isfinite()
        valid = values.valid()
        if valid is not None:
            missing |= torch.from_numpy(~valid).to(there)
        lost = int(missing.sum())
        found, scores = _search(queries, rows, min(k, len(rows) - lost), metric, missing if lost else None)
        return Nearest(found.cpu().numpy(), scores.cpu().numpy())

    def cell(self, value: Any) -> str:
        return array_cell(value)


def _search(
    queries: torch.Tensor, rows: torch.Tensor, k: int, metric: str, missing: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the best rows and their scores, some queries at a time."""
    if not len(queries):
        return torch.zeros((0, k), dtype=torch.int64), torch.zeros((0, k))
    count = len(rows) if missing is None else len(rows) - int(missing.sum())
    scale, shift = None, None
    if metric == "cosine":
        queries = torch.nn.functional.normalize(queries, dim=1)
        # Dividing the scores by the norms leaves the rows, often mapped and large, as they are.
        scale = rows.norm(dim=1).clamp_min_(1e-12).reciprocal_()
    elif metric == "euclidean":
        rows, queries = _centred(rows, queries, missing)
        shift = rows.square().sum(dim=1).div_(-2)  # |q - x|² = |q|² - 2 (q·x - |x|²/2)
    # Near zero the difference of squares loses digits: a few more than asked are measured again.
    more = min(count, k + _SPARE) if metric == "euclidean" else k
    at_once = max(1, min(_QUERIES_AT_ONCE, _SCORES_AT_ONCE // max(1, more * rows.shape[1])))
    parts = []
    for start in range(0, len(queries), at_once):
        some = queries[start : start + at_once]
        values, indices = _best(some, rows, more, scale, shift, missing)
        if metric == "euclidean":
            exact = (rows[indices] - some[:, None]).norm(dim=2)
            values, order = exact.topk(k, dim=1, largest=False)
            indices = indices.gather(1, order)
        parts.append((indices, values))
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


def _best(
    queries: torch.Tensor,
    rows: torch.Tensor,
    k: int,
    scale: torch.Tensor | None,
    shift: torch.Tensor | None,
    missing: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the `k` greatest scores of each query and their rows, block of rows by block of rows.

    Scores of one block go into memory that is used again (fresh memory of that size costs as much as the
    product), and the rows are read from front to back once, as mapped ones should be.
    """
    block = max(1, min(len(rows), _SCORES_AT_ONCE // len(queries)))
    memory = queries.new_empty(len(queries) * block)
    values: torch.Tensor | None = None
    for start in range(0, len(rows), block):
        some = rows[start : start + block]
        scores = torch.mm(queries, some.T, out=memory[: len(queries) * len(some)].view(len(queries), len(some)))
        if scale is not None:
            scores *= scale[start : start + block]
        if shift is not None:
            scores += shift[start : start + block]
        if missing is not None:
            # Set, not added: NaN less infinity is still NaN, which `topk` takes for the greatest.
            scores.masked_fill_(missing[start : start + block], -torch.inf)
        found = scores.topk(min(k, len(some)), dim=1)
        if values is None:
            values, indices = found.values, found.indices
        else:
            together = torch.cat([values, found.values], dim=1)
            values, order = together.topk(min(k, together.shape[1]), dim=1)
            indices = torch.cat([indices, found.indices + start], dim=1).gather(1, order)
    if values is None:
        return queries.new_zeros((len(queries), 0)), torch.zeros((len(queries), 0), dtype=torch.int64)
    return values, indices


def _centred(
    rows: torch.Tensor, queries: torch.Tensor, missing: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Move rows and queries to where the rows lie, if that is far from zero: distances stay, digits are won."""
    there = rows if missing is None else rows[~missing]
    if not len(there):
        return rows, queries
    middle = there.mean(dim=0)
    spread = there.var(dim=0, correction=0).sum()
    if middle.square().sum() <= 16 * spread:
        return rows, queries
    return rows - middle, queries - middle

"""Which rows a stroke reaches: those of its cluster, its nearest neighbours, those that match it, or all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from columns import EmbeddingColumn
from columns.column import read_columns
from columns.values import DenseValues

from .clusters import ExplanationClusters
from .errors import NoColumnError, PanelError
from .feedback import Region, combined
from .infer import as_column

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["Part", "Reach", "by_cluster", "by_neighbours", "everywhere", "reach_of"]

# Row numbers; which strokes reach each of these rows, (strokes, rows), bool; and how near each is to each stroke,
# (strokes, rows): greater is nearer.
Part: TypeAlias = tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.float32]]

_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Reach:
    """The rows that strokes reach, and what each gets.

    Attributes
    ----------
    regions : tuple of Region
        The different ones.
    place : ndarray, shape (rows,), int64
        Which of them a row gets; -1 for none.
    stroke : ndarray, shape (rows,), int64
        The stroke that is nearest to the row, among those that reach it, the first of them where several are as near;
        -1 for none.
    nearness : ndarray, shape (rows,), float32
        How near that is; NaN for none. Of a cluster, and of all rows, each is as near as any other: 0.
    """

    regions: tuple[Region, ...]
    place: NDArray[np.int64]
    stroke: NDArray[np.int64]
    nearness: NDArray[np.float32]


def reach_of(parts: Iterable[Part], regions: Sequence[Region], rows: int) -> Reach:
    """Give each row the union of the regions of the strokes that reach it.

    Parameters
    ----------
    parts : iterable of Part
        What reaches which rows; rows that no part tells of are not reached.
    regions : sequence of Region
        Of the strokes.
    rows : int
        How many there are.

    Returns
    -------
    Reach

    Raises
    ------
    FeedbackError
        If regions that reach one row are of different sizes.

    Examples
    --------
    >>> from .feedback import FeatureRegion
    >>> strokes = [FeatureRegion([0], of=3), FeatureRegion([2], of=3)]
    >>> hits = np.array([[True, True, False], [False, True, False]])
    >>> found = reach_of([(np.arange(3), hits, np.float32([[1, 1, 1], [2, 2, 2]]))], strokes, rows=3)
    >>> found.place, [region.indices for region in found.regions], found.stroke
    (array([ 0,  1, -1]), [(0,), (0, 2)], array([ 0,  1, -1]))
    """
    place: NDArray[np.int64] = np.full(rows, -1)
    stroke: NDArray[np.int64] = np.full(rows, -1)
    nearness = np.full(rows, np.nan, np.float32)
    numbers: dict[Region, int] = {}
    unions: dict[tuple[int, ...], int] = {}
    for here, hits, near in parts:
        patterns, which = np.unique(hits.T, axis=0, return_inverse=True)
        found = np.full(len(patterns), -1)
        for number, pattern in enumerate(patterns):
            reach = tuple(np.flatnonzero(pattern).tolist())
            if reach and reach not in unions:
                unions[reach] = numbers.setdefault(combined([regions[one] for one in reach], 1), len(numbers))
            found[number] = unions.get(reach, -1)
        place[here] = found[which.reshape(-1)]
        reached = hits.any(axis=0)
        best = np.where(hits, near, -np.inf).argmax(axis=0)
        stroke[here] = np.where(reached, best, -1)
        nearness[here] = np.where(reached, near[best, np.arange(len(best))], np.nan)
    return Reach(tuple(numbers), place, stroke, nearness)


def everywhere(strokes: int, rows: int) -> Iterator[Part]:
    """Yield that every stroke reaches every row."""
    for start in range(0, rows, _AT_ONCE):
        here = np.arange(start, min(start + _AT_ONCE, rows))
        yield here, np.ones((strokes, len(here)), np.bool_), np.zeros((strokes, len(here)), np.float32)


def by_cluster(panel: DataPanel, painted: NDArray[np.int64], by: Any) -> Iterator[Part]:
    """Yield that a stroke reaches the rows of its own cluster.

    Parameters
    ----------
    panel : DataPanel
        The rows.
    painted : ndarray, shape (strokes,), int64
        The row that each stroke is on.
    by : ExplanationClusters, or str, column or array
        What the clusters are: a value for each row of the panel; null is none.

    Raises
    ------
    NoColumnError
        If there is no such column.
    PanelError
        If there is not one value for each row.
    """
    labels = _clusters(panel, by)
    for start in range(0, len(panel), _AT_ONCE):
        here = np.arange(start, min(start + _AT_ONCE, len(panel)))
        hits = (labels[painted][:, None] == labels[here]) & (labels[here] >= 0)
        yield here, hits, np.zeros(hits.shape, np.float32)


def by_neighbours(
    panel: DataPanel, painted: NDArray[np.int64], by: Any, k: int | None, within: float | None, metric: str
) -> Iterator[Part]:
    """Yield that a stroke reaches the rows next to its own in an embedding.

    Parameters
    ----------
    panel : DataPanel
        The rows.
    painted : ndarray, shape (strokes,), int64
        The row that each stroke is on.
    by : str, or column of embeddings
        Where rows lie.
    k : int or None
        Most rows that a stroke reaches, beside its own; None for as many as lie within.
    within : float or None
        Most distance: 1 − cosine, or Euclidean.
    metric : {"cosine", "euclidean"}
        What near means.

    Raises
    ------
    NoColumnError
        If there is no such column.
    PanelError
        If `by` holds no embeddings, or a setting is out of range.
    """
    column = _named(panel, by, "Say which has embeddings, by=, or propagate in panel.predict(model), which has one.")
    if not isinstance(column, EmbeddingColumn) or len(column) != len(panel):
        got = f"'{by}' is of kind '{column.kind}'" if isinstance(by, str) else f"got {type(by).__name__}"
        raise PanelError(
            f"Neighbours are looked for in a column of embeddings, one for each of the {len(panel)} rows; {got}. "
            "panel.predict(model) adds one, 'embedding'."
        )
    if metric not in ("cosine", "euclidean"):
        raise PanelError(f"`metric` must be 'cosine' or 'euclidean'; got {metric!r}.")
    if (k is not None and k < 1) or (within is not None and not within >= 0):
        raise PanelError(f"`k` must be at least 1 and `within` at least 0; got k={k}, within={within}.")
    (vectors,) = read_columns([column[painted]])
    assert isinstance(vectors, DenseValues)
    valid = vectors.valid()
    hits = np.zeros((len(painted), len(panel)), np.bool_)
    near = np.full(hits.shape, -np.inf, np.float32)
    for number, vector in enumerate(vectors.data):
        if (valid is not None and not valid[number]) or not np.isfinite(vector).all():
            continue
        # Its own row is the nearest, or one just like it.
        found = column.nearest(vector, k=len(panel) if k is None else k + 1, metric=metric)
        scores = found.scores[0] - 1 if metric == "cosine" else -found.scores[0]
        enough = np.ones(len(scores), np.bool_) if within is None else scores >= -within - 1e-6
        rows = found.rows[0][enough]
        hits[number, rows], near[number, rows] = True, scores[enough]
    yield np.arange(len(panel)), hits, near


def _clusters(panel: DataPanel, by: Any) -> NDArray[np.int64]:
    """Return a number for the cluster of each row; -1 for none."""
    from pandas import factorize

    if isinstance(by, ExplanationClusters):
        group = dict(zip(by.panel.key.to_list(), by.labels.tolist(), strict=True))
        return np.array([group.get(key, -1) for key in panel.key.to_list()], np.int64)
    by = _named(panel, by, "Say which tells each row's cluster, by=, or by=wb.explanation_clusters(panel, model).")
    column = as_column(by, None, "by")
    if len(column) != len(panel):
        raise PanelError(f"Clusters must be told for each of the {len(panel)} rows; got {len(column)}.")
    values = np.empty(len(column), dtype=object)
    values[:] = column.to_list()
    return np.asarray(factorize(values)[0], np.int64)


def _named(panel: DataPanel, by: Any, way_out: str) -> Any:
    """Return the column of a name, or else what was given; where the panel has none, the error says what to do."""
    try:
        return panel[by] if isinstance(by, str) else by
    except NoColumnError as error:
        raise NoColumnError(f"{error} {way_out}") from error

"""Rows in groups that a model explains alike: the few ways in which it comes to its answers."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from columns import Column, ImageColumn, ScalarColumn, TensorColumn
from columns.values import DenseValues
from explain.clusters import Clusters, downsized, spectral_clusters

from .attributions import attribute
from .classifier import Classifier, as_classifier
from .errors import PanelError

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["ExplanationClusters", "explanation_clusters", "grouped_alike"]

# Rows whose explanations are held at their full size at a time.
_AT_ONCE = 1024

# The rows by which k-means finds its centres, and its starts; all rows are then given to the nearest centre.
_FITTED, _STARTS = 20_000, 4


@dataclass(frozen=True, eq=False)
class ExplanationClusters:
    """Rows in groups that a model explains alike, the largest group first.

    Attributes
    ----------
    panel : DataPanel
        The rows.
    labels : ndarray, shape (rows,), int64
        Group of each row; -1 for a row that nothing explains: null, or a map that is all zero or not finite.
    maps : Tensor, shape (rows, cells), float32
        What was grouped: magnitudes on a small grid, scaled to length 1; zeros where nothing explains.
    shape : tuple of int
        Of one map as a picture, or (features,).
    proposed : int
        How many groups the eigenvalues propose; see `explain.spectral_clusters`.
    """

    panel: DataPanel
    labels: NDArray[np.int64]
    maps: Tensor
    shape: tuple[int, ...]
    proposed: int

    def __len__(self) -> int:
        return int(self.labels.max()) + 1

    def __repr__(self) -> str:
        outside = int((self.labels < 0).sum())
        told = f", {outside:,} unexplained" if outside else ""
        return f"ExplanationClusters({len(self)} of sizes {self.sizes.tolist()}{told}; {self.proposed} proposed)"

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows in each group, descending."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self))

    @property
    def column(self) -> ScalarColumn:
        """The group of each row, to assign to the panel; null for a row that nothing explains."""
        return ScalarColumn([None if label < 0 else label for label in self.labels.tolist()])

    @property
    def medoids(self) -> tuple[str, ...]:
        """Keys of the most typical row of each group."""
        rows = [self.typical(group)[0] for group in range(len(self))]
        return tuple(self.panel[rows].key.to_list())

    def typical(self, group: int) -> NDArray[np.int64]:
        """Return the rows of a group, the most typical first: by the mean cosine of their maps with the others'.

        Parameters
        ----------
        group : int
            Its number.

        Returns
        -------
        ndarray, shape (size,), int64
            Row numbers in the panel.

        Raises
        ------
        PanelError
            If there is no such group.
        """
        if not 0 <= group < len(self):
            raise PanelError(f"Groups are numbered in [0, {len(self)}); got {group}.")
        members: NDArray[np.int64] = np.flatnonzero(self.labels == group)
        likeness = self.maps[members] @ self.maps[members].double().sum(dim=0).float()
        return members[np.argsort(-likeness.numpy(), kind="stable")]

    def describe(self, label: str | None = None) -> DataPanel:
        """Return a panel with a row for each group.

        Parameters
        ----------
        label : str, optional
            A column of categories to compare the groups with: classes, or something else that is known of rows.

        Returns
        -------
        DataPanel
            ``cluster``, ``rows`` (how many), ``share`` of all rows, ``medoid`` (key of the most typical row),
            ``mean_map`` (of the group, scaled to sum to 1) and ``looks_at`` (where most of it lies, in words); with
            `label` also ``most`` (the commonest label) and ``purity`` (the share of the group that has it).
        """
        from .panel import DataPanel

        sizes = self.sizes
        members = [torch.from_numpy(self.labels == group) for group in range(len(self))]
        means = torch.stack([self.maps[some].mean(dim=0) for some in members])
        scaled = (means / means.sum(dim=1, keepdim=True)).reshape(-1, *self.shape)
        columns: dict[str, Any] = {
            "cluster": np.arange(len(self)),
            "rows": sizes,
            "share": sizes / len(self.panel),
            "medoid": list(self.medoids),
            "mean_map": TensorColumn(scaled),
            "looks_at": [_place(map_.numpy()) for map_ in scaled],
        }
        if label is not None:
            most, purity = zip(*self._commonest(self.panel[label]), strict=True)
            columns |= {"most": list(most), "purity": list(purity)}
        return DataPanel(columns, origin="clusters")

    def _repr_html_(self) -> str:
        from PIL import Image

        from .overlays import saliency_picture

        told = self.describe()
        if len(self.shape) == 2:
            blank = Image.new("L", (self.shape[1] * 4, self.shape[0] * 4))
            maps = [saliency_picture(blank, map_.numpy(), None, 56) for map_ in told["mean_map"].to_list()]
            told["mean_map"] = ImageColumn(maps)
        return f"<p>{html.escape(repr(self))}</p>{told.drop('medoid')._repr_html_()}"

    def _commonest(self, column: Column) -> Iterator[tuple[Any, float]]:
        values = np.array(column.to_list(), dtype=object)
        for group, size in enumerate(self.sizes.tolist()):
            found, counts = np.unique(values[self.labels == group].astype(str), return_counts=True)
            yield str(found[counts.argmax()]), float(counts.max()) / size


def _place(mean: NDArray[np.floating[Any]]) -> str:
    """Say where a map that sums to 1 has its peak, and how much of it lies there."""
    if mean.ndim == 1:
        return f"{mean.max():.0%} at feature {int(mean.argmax())}"
    height, width = mean.shape
    row, column = (int(place) for place in np.unravel_index(mean.argmax(), mean.shape))
    down = ("top", "middle", "bottom")[min(2, 3 * row // height)]
    across = ("left", "centre", "right")[min(2, 3 * column // width)]
    near = mean[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].sum()
    return f"{near:.0%} at the {down} {across}"


def explanation_clusters(
    panel: DataPanel,
    model: Classifier,
    *,
    count: int | None = None,
    method: str = "gradient_times_input",
    target: str | int | None = "max_logit",
    grid: int = 7,
    seed: int = 0,
    **settings: Any,
) -> ExplanationClusters:
    """Group rows that a model explains alike: where a shortcut is, it shows as a group of its own, after [1]_.

    Each explanation is made small as soon as it is computed, so that memory holds `grid` × `grid` numbers a row.

    Parameters
    ----------
    panel : DataPanel
        With the column that the classifier feeds on.
    model : Classifier
        What is explained.
    count : int, optional
        Number of groups; as many as the eigenvalues propose if left out. More than these are found by k-means on the
        maps themselves, which goes on to divide what the few eigenvectors no longer tell apart.
    method, target, **settings
        See `workbench.attribute`. Gradient × input separates shortcuts best; a saturated model has no gradient of the
        log-probability, so that the largest logit is explained.
    grid : int
        Side of the small maps, in cells.
    seed : int
        Draws the starts of k-means.

    Returns
    -------
    ExplanationClusters
        Fewer groups than asked for, if fewer maps differ.

    Raises
    ------
    PanelError
        If fewer than three rows can be explained, or `count` is out of range.

    References
    ----------
    .. [1] S. Lapuschkin, S. Wäldchen, A. Binder, G. Montavon, W. Samek, K.-R. Müller, "Unmasking Clever Hans
       predictors and assessing what machines really learn", Nature Communications 2019.

    Examples
    --------
    Half of the rows are told by their first feature, half by their last:

    >>> from workbench import DataPanel
    >>> x = torch.tensor([[3.0, 0, 0], [2, 0, 0], [5, 1, 0], [0, 0, 2], [0, 0, 4]])
    >>> model = Classifier(torch.nn.Linear(3, 2), classes=["no", "yes"], on="x")
    >>> with torch.no_grad():
    ...     _ = model.module.weight.copy_(torch.tensor([[1.0, 1, 1], [0, 0, 0]]))
    >>> found = explanation_clusters(DataPanel({"x": x}, origin="rows"), model, count=2)
    >>> found, found.medoids
    (ExplanationClusters(2 of sizes [3, 2]; 2 proposed), ('rows/0', 'rows/3'))
    """
    return grouped_alike(panel, model, method, target, grid, seed, settings, count=count, or_fewer=False)


def grouped_alike(
    panel: DataPanel,
    model: Classifier,
    method: str,
    target: str | int | None,
    grid: int,
    seed: int,
    settings: dict[str, Any],
    *,
    count: int | None,
    or_fewer: bool,
    explained: Callable[[int], None] | None = None,
) -> ExplanationClusters:
    """Do what `explanation_clusters` does; where fewer rows can be explained than groups are asked for, with fewer.

    `explained` is called now and then with how many rows are; what it raises ends the work.
    """
    model = as_classifier(model)
    if count is not None and count < 1:
        raise PanelError(f"`count` must be at least 1 group; got {count}.")
    maps, shape = _small_maps(panel, model, method, target, grid, settings, explained or (lambda rows: None))
    rows = np.flatnonzero(maps.any(dim=1).numpy())
    if len(rows) < 3:
        raise PanelError(
            f"Groups need at least 3 rows that the model explains by something; got {len(rows)} of {len(panel)}. "
            "Where a model is too sure for its gradient to be seen, explain another target: target='max_logit'."
        )
    if count is not None and or_fewer:
        count = min(count, len(rows))
    if count is not None and count > len(rows):
        raise PanelError(f"`count` must be at most {len(rows)}, the rows that can be explained; got {count}.")
    found: Clusters = spectral_clusters(maps[rows], seed=seed)
    groups = found.labels.numpy()
    if count is not None and count > found.proposed:
        groups = _by_kmeans(maps[rows], count, seed)
    elif count is not None and count < found.proposed:
        groups = spectral_clusters(maps[rows], count=count, seed=seed).labels.numpy()
    labels: NDArray[np.int64] = np.full(len(panel), -1)
    labels[rows] = groups
    return ExplanationClusters(panel, labels, maps, shape, found.proposed)


def _small_maps(
    panel: DataPanel,
    model: Classifier,
    method: str,
    target: str | int | None,
    grid: int,
    settings: dict[str, Any],
    explained: Callable[[int], None],
) -> tuple[Tensor, tuple[int, ...]]:
    """Return the magnitude of each explanation on a small grid, of length 1, and its shape there."""
    maps: Tensor | None = None
    shape: tuple[int, ...] = ()
    for start in range(0, len(panel), _AT_ONCE):
        explained(start)
        # A column for these rows only, so that what it keeps goes with it.
        values = attribute(panel[start : start + _AT_ONCE], model, method, target=target, **settings).values()
        assert isinstance(values, DenseValues)
        valid = values.valid()
        if valid is not None and not valid.any():
            continue
        scores = values.batch()
        small = downsized(scores, grid)
        # By the peak first: squares of tiny gradients would underflow.
        peak = small.amax(dim=1, keepdim=True)
        known = (peak > 0) & peak.isfinite()
        if valid is not None:
            known &= torch.from_numpy(valid)[:, None]
        small = normalize(torch.where(known, small / peak, 0.0), dim=1)
        if maps is None:
            maps = torch.zeros(len(panel), small.shape[1])
            sides = tuple(min(grid, side) for side in scores.shape[-2:])
            shape = sides if scores.ndim > 2 else (small.shape[1],)
        maps[start : start + len(small)] = small.float()
    explained(len(panel))
    return (torch.zeros(len(panel), 1), (1,)) if maps is None else (maps, shape)


def _by_kmeans(maps: Tensor, count: int, seed: int) -> NDArray[np.int64]:
    """Return groups of maps by k-means, numbered by size, the largest first."""
    from sklearn.cluster import KMeans

    some = maps.numpy()
    if len(some) > _FITTED:
        some = some[np.sort(np.random.default_rng(seed).permutation(len(some))[:_FITTED])]
    distinct = len(np.unique(some, axis=0))
    centres = KMeans(min(count, distinct), n_init=_STARTS, random_state=seed).fit(some)
    groups = centres.predict(maps.numpy())
    sizes = np.bincount(groups)
    number: NDArray[np.int64] = np.empty(len(sizes), np.int64)
    number[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    # A centre that no row is nearest to would come last: it is no group.
    return np.asarray(number[groups])

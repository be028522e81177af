"""Where marks hold beyond the rows that they were painted in: everywhere, or in rows that are explained alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from columns import Column, TensorColumn

from ..classifier import Classifier
from ..errors import LoopError
from ..feedback import FeatureRegion, ImageRegion, Region, combined
from .candidates import Candidates, like_groups

if TYPE_CHECKING:
    from ..panel import DataPanel

__all__ = ["SPREADS", "AlongClusters", "Spread", "everywhere", "spread_named"]

# Painted regions by key, and a panel, to one region for each of its rows, given once each and by number: -1 for none.
Spread: TypeAlias = Callable[[Mapping[str, Region], "DataPanel"], tuple[Sequence[Region], NDArray[np.int64]]]


def everywhere(painted: Mapping[str, Region], rows: DataPanel) -> tuple[Sequence[Region], NDArray[np.int64]]:
    """Mark in every row what was painted in any."""
    return [combined(list(painted.values()), 1)], np.zeros(len(rows), np.int64)


class AlongClusters:
    """Marks in the rows of a cluster of like explanations what was painted in some of them.

    The explanations are those of the first model, by which the rows were alike; they are clustered once. Where
    several rows of a cluster were painted, it gets what at least half of them have marked. A row that was painted
    itself has its own region.

    Parameters
    ----------
    panel : DataPanel
        All rows.
    model : Classifier
        The first model.
    method, target : str
        What explains.
    seed : int
        Draws the starts of the clusters.
    """

    def __init__(self, panel: DataPanel, model: Classifier, method: str, target: str, seed: int) -> None:
        self.panel, self.model, self.method, self.target, self.seed = panel, model, method, target, seed

    def __call__(self, painted: Mapping[str, Region], rows: DataPanel) -> tuple[Sequence[Region], NDArray[np.int64]]:
        """Return the regions that are painted or common to a cluster, and which each row has."""
        clusters = np.array([self.clusters[key] for key in rows.key.to_list()], np.int64)
        regions: list[Region] = []
        chosen = np.full(len(rows), -1)
        for cluster in sorted(set(clusters.tolist()) - {-1}):
            said = [region for key, region in painted.items() if self.clusters.get(key) == cluster]
            if said:
                chosen[clusters == cluster] = len(regions)
                regions.append(combined(said, (len(said) + 1) // 2))
        for row, key in enumerate(rows.key.to_list()):
            if key in painted and (chosen[row] < 0 or regions[chosen[row]] != painted[key]):
                chosen[row] = len(regions)
                regions.append(painted[key])
        return regions, chosen

    @cached_property
    def clusters(self) -> dict[str, int]:
        """Number of the cluster of each row, by key; -1 for rows that are explained by nothing."""
        nobody = np.zeros(len(self.panel), np.bool_)
        seen = Candidates(self.panel, nobody, self.model, method=self.method, target=self.target, seed=self.seed)
        found = like_groups(seen.maps(), self.seed)
        return dict(zip(self.panel.key.to_list(), found.tolist(), strict=True))


SPREADS = ("everywhere", "clusters")


def spread_named(
    name: str | Spread | None, panel: DataPanel, model: Classifier, method: str, target: str, seed: int
) -> Spread | None:
    """Return how marks spread.

    Raises
    ------
    LoopError
        If there is nothing of that name.
    """
    if name is None or callable(name):
        return name
    if name not in SPREADS:
        raise LoopError(f"`propagate` must be one of {', '.join(SPREADS)}, a function, or None; got {name!r}.")
    return everywhere if name == "everywhere" else AlongClusters(panel, model, method, target, seed)


def as_masks(regions: Sequence[Region], chosen: NDArray[np.int64]) -> Column:
    """Return regions, given once each, as a column of masks; rows of which none was chosen are empty.

    Raises
    ------
    LoopError
        If they are parts of texts, which have no place that means the same in another row.
    """
    masks: list[NDArray[Any]] = []
    for region in regions:
        if not isinstance(region, (ImageRegion, FeatureRegion)):
            raise LoopError(
                "Marks spread in pictures and vectors, where a place means the same in every row; these regions are of "
                f"a {region.kind}. Say propagate=None."
            )
        masks.append(region.mask())
    if len({mask.shape for mask in masks}) > 1:
        shapes = sorted({mask.shape for mask in masks})
        raise LoopError(f"Marks spread among rows of one size; there are regions of {shapes}. Say propagate=None.")
    masks.append(np.zeros_like(masks[0]))
    rows: Column = TensorColumn(np.stack(masks))[chosen % len(masks)]
    return rows

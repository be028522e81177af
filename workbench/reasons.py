"""What a classifier looks at, against masks of what must not matter: measures row by row."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from columns import Column, map_columns
from columns.column import read_columns
from columns.device import copy_on
from columns.functions import importable_name
from explain import expand_mask, mass_on_mask, wrong_reason
from explain.measures import mean_normalised_score, rank_in_mask

from .classifier import Classifier
from .errors import PanelError
from .infer import as_column
from .panel_draw import masks_of

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["Reasons", "flips", "marked_rows", "mask_column", "reasons"]

_ROWS = 1024  # rows whose masks are held at once
_SCORES = 1 << 22  # scores held at once; to rank them takes some thirty bytes each


@dataclass(frozen=True, eq=False)
class Reasons:
    """Measures of the maps of some rows, each of shape (rows,), float64, NaN where a row cannot be measured.

    Attributes
    ----------
    mass, rank, wrong_reason : ndarray
        `explain.mass_on_mask`, `explain.rank_in_mask` and `explain.wrong_reason`.
    """

    mass: NDArray[np.float64]
    rank: NDArray[np.float64]
    wrong_reason: NDArray[np.float64]


def mask_column(panel: DataPanel, given: str | Column | Any) -> Column:
    """Return masks, by name or as they are, as a column with one for each row of the panel.

    Raises
    ------
    PanelError
        If they are of another length.
    """
    column = panel[given] if isinstance(given, str) else as_column(given, None, "irrelevant")
    if len(column) != len(panel):
        raise PanelError(f"Masks must be one for each of the {len(panel):,} rows; got {len(column):,}.")
    return column


def marked_rows(inputs: Column, masks: Column) -> NDArray[np.int64]:
    """Return the numbers of the rows that have an input and a mask that is not empty; masks are read in parts.

    Raises
    ------
    RunError
        If masks are not arrays of one shape.
    """
    marked = _there(inputs)
    for start in range(0, len(masks), _ROWS):
        part = masks_of(masks[start : start + _ROWS].values())
        marked[start : start + _ROWS] &= part.reshape(len(part), math.prod(part.shape[1:])).any(dim=1).numpy()
    return np.flatnonzero(marked)


def reasons(why: Column, masks: Column, rows: NDArray[np.int64], part: str = "magnitude") -> Reasons:
    """Measure the maps of rows against their masks.

    Parameters
    ----------
    why : TensorColumn
        Maps, as `workbench.attribute` gives them.
    masks : Column
        Masks of what must not matter, of the same rows.
    rows : ndarray, shape (rows,), int64
        Which rows; those with a mask.
    part : {"magnitude", "positive"}
        Which part of signed scores counts; see `explain.mass_on_mask`.

    Notes
    -----
    WR needs a threshold first, the mean over all these rows: maps are computed once, and read twice.
    """
    # Filled in place: small results that outlive their batch would lie between large ones, which then pile up.
    mass, rank, height, wrong = (np.full(len(rows), np.nan) for _ in range(4))
    for place, scores, mask in _maps(why, masks, rows):
        mass[place] = mass_on_mask(scores, mask, part).numpy()
        rank[place] = rank_in_mask(scores, mask, part).numpy()
        height[place] = mean_normalised_score(scores, part).numpy()
    known = height[~np.isnan(height)]
    threshold = float(known.mean()) if len(known) else 1.0
    if threshold < 1:  # it is 1 where every element of every row has the same score: then none stands out
        for place, scores, mask in _maps(why, masks, rows):
            wrong[place] = wrong_reason(scores, mask, threshold, part).numpy()
    return Reasons(mass, rank, wrong)


def flips(
    inputs: Column, masks: Column, rows: NDArray[np.int64], model: Classifier, *, seed: int, device: str = "auto"
) -> NDArray[np.float64]:
    """Return whether the predictions of rows flip when their marked region is refilled from another row.

    Parameters
    ----------
    inputs, masks : Column
        What the classifier feeds on, and the regions.
    rows : ndarray, shape (rows,), int64
        Which rows; those with a mask.
    model : Classifier
        What predicts.
    seed : int
        Draws one donor for each row among all *other* rows with an input: the same for every classifier.
    device : str
        As for `workbench.predict`.

    Returns
    -------
    ndarray, shape (rows,), float64
        1 where it flips, else 0; the mean is `explain.swap_sensitivity`. NaN if there is no other row.
    """
    known = np.flatnonzero(_there(inputs))
    if len(known) == 1:
        return np.full(len(rows), np.nan)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(known) - 1, (len(rows),), generator=generator).numpy()
    donors = known[drawn + (drawn >= np.searchsorted(known, rows))]  # steps over the row itself
    column = map_columns(
        [inputs[rows], inputs[donors], masks[rows]], _Flip(model), to="scalar", batched=True, device=device
    )
    return np.asarray(column.to_numpy(), np.float64)


@dataclass(frozen=True)
class _Flip:
    """Whether the predictions of a batch flip when its regions are refilled from donors."""

    classifier: Classifier

    def __call__(self, batch: Tensor, donors: Tensor, masks: Tensor) -> Tensor:
        inputs, others = self.classifier.prepare(batch), self.classifier.prepare(donors)
        refilled = torch.where(expand_mask(masks.bool(), inputs), others, inputs)
        return self.classifier(refilled).argmax(dim=1) != self.classifier(inputs).argmax(dim=1)

    def on(self, device: torch.device) -> _Flip:
        """Return the same on a device; the user's own module is never moved."""
        module = copy_on(self.classifier.module, device)
        return self if module is self.classifier.module else _Flip(self.classifier.with_module(module))

    def stable_name(self) -> str | None:
        """Return a name under which another process finds the same flips."""
        names = [importable_name(self.classifier.module), importable_name(self.classifier.preprocess)]
        return None if None in names else f"flip {names}"


def _maps(why: Column, masks: Column, rows: NDArray[np.int64]) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Which of the rows, their maps and their masks, a batch at a time; smaller batches of larger maps."""
    size = max(1, why[rows[:1]].values().batch().numel())
    step = max(1, _SCORES // size)
    for start in range(0, len(rows), step):
        place = slice(start, start + step)
        scores, mask = read_columns([why[rows[place]], masks[rows[place]]])
        yield place, scores.batch(), masks_of(mask)


def _there(column: Column) -> NDArray[np.bool_]:
    """Which rows are not null; of pictures, none is decoded."""
    return ~np.asarray(column.is_null().to_numpy(), np.bool_)

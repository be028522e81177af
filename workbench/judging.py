"""Judging a classifier row by row: is it right, how sure, and does it look where it must not."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from columns import Column
from columns.values import DenseValues
from explain import worst_class_accuracy

from .attributions import attribute
from .calibration import Calibration, calibration, scores_of_rows
from .classifier import Classifier, as_classifier
from .errors import PanelError
from .predictions import predict
from .reasons import flips, marked_rows, mask_column, reasons
from .relational import key_array

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["Figures", "Judged", "both_times", "figures", "judge", "label_codes"]

_ROWS = 1024  # rows whose scores are held at once
_NO_LABEL = -1
# What is measured of each row, and is not a number where it cannot be.
_MEASURED = ("confidence", "brier", "nats", "mass", "rank", "wrong_reason", "flips")


@dataclass(frozen=True)
class Figures:
    """How a classifier does on some rows.

    Attributes
    ----------
    rows : int
        How many rows have a label and could be judged.
    accuracy, worst_class : float
        In [0, 1]; the worst class is the one with the lowest accuracy. NaN without rows.
    mass_on_mask : float or None
        Mean share of saliency inside the mask; None without masks, as all that follow but `calibration`. Saliency is
        |∂ max log p / ∂x|, or what another method gives.
    swap_sensitivity : float or None
        Share of predictions that flip when the masked region is refilled from another row; None if there is none.
    rank_in_mask : float or None
        Mean share of the K highest scores inside a mask of K elements.
    wrong_reason : float or None
        Mean share of the mask that is lit up (WR): whose score, over the highest of its row, exceeds the mean
        of such scores over the masked rows of the whole panel. Scores count by `part`, magnitude unless told
        otherwise; papers report WR of the positive part.
    masked_rows : int
        How many rows have a mask that is not empty.
    calibration : Calibration or None
        None without rows.
    """

    rows: int
    accuracy: float
    worst_class: float
    mass_on_mask: float | None = None
    swap_sensitivity: float | None = None
    rank_in_mask: float | None = None
    wrong_reason: float | None = None
    masked_rows: int = 0
    calibration: Calibration | None = None

    @property
    def calibration_error(self) -> float | None:
        """Expected calibration error; None without rows."""
        return None if self.calibration is None else self.calibration.error

    @property
    def brier(self) -> float | None:
        """Brier score; None without rows."""
        return None if self.calibration is None else self.calibration.brier

    @property
    def log_loss(self) -> float | None:
        """Cross-entropy in nats; None without rows."""
        return None if self.calibration is None else self.calibration.log_loss

    def __repr__(self) -> str:
        from .comparison_text import number

        named = ("accuracy", "worst_class", "mass_on_mask", "swap_sensitivity")
        known = [f"{n}={number(getattr(self, n))}" for n in named if getattr(self, n) is not None]
        return f"Figures({self.rows:,} rows: {', '.join(known)})"


@dataclass(frozen=True, eq=False)
class Judged:
    """What a classifier did with each row of a panel.

    Attributes
    ----------
    labels, predicted : ndarray, shape (rows,), int64
        Class numbers. A label may be −1, where it is null, or one beyond the classes, where the classifier does not
        know it; a prediction is −1 where it is null or its scores are not finite.
    there : ndarray, shape (rows,), bool
        Whether there is a label, and an input that is not null.
    confidence, brier, nats : ndarray, shape (rows,), float64
        As `scores_of_rows` gives them.
    masked : ndarray, shape (rows,), bool
        Whether there is a mask that is not empty, and an input.
    mass, rank, wrong_reason, flips : ndarray, shape (rows,), float64
        Measures of the explanation, and whether the prediction flips when the region is refilled; NaN where
        there is none, as on rows without a mask.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    there: NDArray[np.bool_]
    confidence: NDArray[np.float64]
    brier: NDArray[np.float64]
    nats: NDArray[np.float64]
    masked: NDArray[np.bool_]
    mass: NDArray[np.float64]
    rank: NDArray[np.float64]
    wrong_reason: NDArray[np.float64]
    flips: NDArray[np.float64]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the prediction is the label; False where either is missing."""
        correct: NDArray[np.bool_] = self.there & (self.predicted == self.labels)
        return correct

    def figures(self, rows: NDArray[np.bool_] | None = None) -> Figures:
        """Return the figures over some rows, shape (rows,), bool; over all if left out."""
        chosen = np.ones(len(self.there), np.bool_) if rows is None else rows
        some = chosen & self.there
        right, count = self.right[some], int(some.sum())
        predicted, labels = torch.from_numpy(self.predicted[some]), torch.from_numpy(self.labels[some])
        return Figures(
            rows=count,
            accuracy=float(right.mean()) if count else math.nan,
            worst_class=worst_class_accuracy(predicted, labels),
            mass_on_mask=_mean(self.mass[chosen]),
            swap_sensitivity=_mean(self.flips[chosen]),
            rank_in_mask=_mean(self.rank[chosen]),
            wrong_reason=_mean(self.wrong_reason[chosen]),
            masked_rows=int(self.masked[chosen].sum()),
            calibration=calibration(self.confidence[some], right, self.brier[some], self.nats[some]),
        )


def figures(
    panel: DataPanel,
    model: Classifier,
    *,
    irrelevant: str | Column | Any = None,
    label: str = "label",
    seed: int = 0,
    method: str = "input_gradient",
    part: str = "magnitude",
    device: str = "auto",
    **settings: Any,
) -> Figures:
    """Return how a classifier does on the rows of a panel; see `compare` for the parameters.

    Raises
    ------
    PanelError
        If the panel has no rows, or the labels do not fit.
    """
    return judge(
        panel, model, irrelevant=irrelevant, label=label, seed=seed, method=method, part=part, device=device, **settings
    ).figures()


def judge(
    panel: DataPanel,
    model: Classifier,
    *,
    prediction: Column | None = None,
    irrelevant: str | Column | Any = None,
    label: str = "label",
    seed: int = 0,
    method: str = "input_gradient",
    part: str = "magnitude",
    device: str = "auto",
    **settings: Any,
) -> Judged:
    """Judge a classifier on each row of a panel, a batch at a time: inputs and maps are never all in memory.

    Parameters
    ----------
    panel : DataPanel
        The rows.
    model : Classifier
        What is judged.
    prediction : PredictionColumn, optional
        Its predictions of these rows, where somebody has them already.
    irrelevant, label, seed, method, part, device, **settings
        As for `workbench.compare`.

    Returns
    -------
    Judged

    Raises
    ------
    PanelError
        If the panel is empty, labels or masks do not fit, or no row can be judged.
    """
    model = as_classifier(model)
    if not len(panel):
        raise PanelError("There must be at least one row to judge a classifier by; this panel is empty.")
    if prediction is None:
        plain = panel.drop([n for n in ("prediction", "embedding") if n in panel])
        prediction = predict(plain, model, device=device)["prediction"]
    labels = label_codes(panel, label, model.classes)
    if (labels == _NO_LABEL).all():
        raise PanelError(f"There must be at least one row with a label; '{label}' is null in all {len(labels):,}.")
    judged = _predicted(prediction, labels)
    if irrelevant is None:
        return judged
    inputs, masks = panel[model.on], mask_column(panel, irrelevant)
    rows = marked_rows(inputs, masks)
    if not len(rows):
        return judged
    found = reasons(attribute(panel, model, method, device=device, **settings), masks, rows, part)
    flipped = flips(inputs, masks, rows, model, seed=seed, device=device)
    return replace(
        judged,
        masked=np.isin(np.arange(len(panel)), rows),
        mass=_at(rows, found.mass, len(panel)),
        rank=_at(rows, found.rank, len(panel)),
        wrong_reason=_at(rows, found.wrong_reason, len(panel)),
        flips=_at(rows, flipped, len(panel)),
    )


def both_times(before: Judged, after: Judged) -> tuple[Judged, Judged]:
    """Return what was judged of each row both times, so that all figures are of the same rows.

    A row whose map is all zeros in one of the two, say, has a mass only in the other: it is NaN in both.
    """
    there = before.there & after.there
    both: dict[str, NDArray[np.bool_]] = {
        name: ~(np.isnan(getattr(before, name)) | np.isnan(getattr(after, name))) for name in _MEASURED
    }
    first, second = (
        replace(one, there=there, **{name: np.where(both[name], getattr(one, name), np.nan) for name in _MEASURED})
        for one in (before, after)
    )
    return first, second


def label_codes(panel: DataPanel, label: str, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Return labels as numbers of a classifier's classes, by name.

    Returns
    -------
    ndarray, shape (rows,), int64
        −1 for null, ``len(classes)`` for a class that the classifier does not know.

    Raises
    ------
    PanelError
        If labels are not names of classes, or have none in common with the classifier.
    """
    array = key_array(panel[label], "label")
    if not pa.types.is_dictionary(array.type):
        if not (
            pa.types.is_string(array.type) or pa.types.is_large_string(array.type) or array.null_count == len(array)
        ):
            raise PanelError(
                f"Labels must be names of classes; '{label}' holds {array.type}. Make it a category: "
                f"panel['{label}'] = panel['{label}'].as_category(model.classes)."
            )
        array = array.dictionary_encode()
    names = array.dictionary.to_pylist()
    if names and not set(names) & set(classes):
        raise PanelError(
            f"Labels and classifier must have classes in common; '{label}' has {names[:5]}, the classifier "
            f"{list(classes)[:5]}."
        )
    numbers = {name: number for number, name in enumerate(classes)}
    known = np.array([numbers.get(name, len(classes)) for name in names] + [_NO_LABEL], np.int64)
    codes: NDArray[np.int64] = known[array.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)]
    return codes


def _predicted(prediction: Column, labels: NDArray[np.int64]) -> Judged:
    """What the scores say of each row, read in parts."""
    rows = len(labels)
    predicted = np.full(rows, -1, np.int64)
    there = labels != _NO_LABEL
    confidence, brier, nats, nothing = (np.full(rows, np.nan) for _ in range(4))
    for start in range(0, rows, _ROWS):
        part = slice(start, start + _ROWS)
        values = prediction[part].values()
        valid = values.valid()
        place = np.arange(rows)[part] if valid is None else np.arange(rows)[part][valid]
        if valid is not None:
            there[part] &= valid
        if not len(place):
            continue
        assert isinstance(values, DenseValues)
        logits = values.data if valid is None else values.data[valid]
        finite = np.isfinite(logits).all(axis=1)
        predicted[place] = np.where(finite, logits.argmax(axis=1), -1)
        confidence[place], brier[place], nats[place] = scores_of_rows(logits, labels[place])
    masked = np.zeros(rows, np.bool_)
    return Judged(labels, predicted, there, confidence, brier, nats, masked, nothing, nothing, nothing, nothing)


def _at(rows: NDArray[np.int64], values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    spread = np.full(length, np.nan)
    spread[rows] = values
    return spread


def _mean(values: NDArray[np.float64]) -> float | None:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else None

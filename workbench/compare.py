"""Before and after: the same rows, two classifiers; what was fixed, what was broken, and what they look at."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from columns.column import compute_columns
from explain import mass_on_mask, swap_sensitivity, worst_class_accuracy

from .attribute import attribute
from .classifier import Classifier, check_classifier
from .errors import PanelError
from .finetune import _as_masks
from .predict import predict

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["Comparison", "Figures", "compare", "figures"]


@dataclass(frozen=True)
class Figures:
    """How a classifier does on some rows.

    Attributes
    ----------
    rows : int
        How many rows have a label.
    accuracy, worst_class : float
        In [0, 1]; the worst class is the one with the lowest accuracy.
    mass_on_mask : float or None
        Mean share of |∂ max log p / ∂x| inside the mask; None without masks.
    swap_sensitivity : float or None
        Share of predictions that flip when the masked region is refilled from another row; None without masks.
    """

    rows: int
    accuracy: float
    worst_class: float
    mass_on_mask: float | None = None
    swap_sensitivity: float | None = None

    def __repr__(self) -> str:
        named = ("accuracy", "worst_class", "mass_on_mask", "swap_sensitivity")
        known = [f"{n}={_number(getattr(self, n))}" for n in named if getattr(self, n) is not None]
        return f"Figures({self.rows:,} rows: {', '.join(known)})"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two classifiers on the same rows.

    Attributes
    ----------
    before, after : Figures
        Of each classifier.
    fixed, broken : DataPanel
        Rows that only the second, or only the first, gets right; with both predictions.
    """

    before: Figures
    after: Figures
    fixed: DataPanel
    broken: DataPanel

    def table(self) -> list[tuple[str, float | None, float | None]]:
        """Return (measure, before, after) rows."""
        names = ("accuracy", "worst_class", "mass_on_mask", "swap_sensitivity")
        rows = [(n.replace("_", " "), getattr(self.before, n), getattr(self.after, n)) for n in names]
        return [row for row in rows if row[1] is not None]

    def __repr__(self) -> str:
        lines = [f"{'':<18}{'before':>9}{'after':>9}"]
        lines += [f"{name:<18}{_number(a):>9}{_number(b):>9}" for name, a, b in self.table()]
        lines.append(f"fixed {len(self.fixed):,} rows, broke {len(self.broken):,}, of {self.before.rows:,}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        cell = 'style="text-align:right;padding:.2em 1em"'
        left = 'style="text-align:left"'
        rows = [(html.escape(name), _number(a), _number(b)) for name, a, b in self.table()]
        body = "".join(f"<tr><td {left}>{n}</td><td {cell}>{a}</td><td {cell}>{b}</td></tr>" for n, a, b in rows)
        tail = f"fixed {len(self.fixed):,} rows, broke {len(self.broken):,}, of {self.before.rows:,}"
        head = f"<thead><tr><th></th><th {cell}>before</th><th {cell}>after</th></tr></thead>"
        return f"<table>{head}<tbody>{body}</tbody></table><p>{tail}</p>"


def compare(
    panel: DataPanel,
    before: Classifier,
    after: Classifier,
    *,
    irrelevant: str | None = None,
    label: str = "label",
    seed: int = 0,
) -> Comparison:
    """Compare two classifiers on the same rows.

    Parameters
    ----------
    panel : DataPanel
        Rows that neither was trained on.
    before, after : Classifier
        With the same classes, fed by the same column.
    irrelevant : str, optional
        Column of masks of what must not matter; gives saliency inside them and swap sensitivity.
    label : str
        Column of the labels.
    seed : int
        Draws the rows that regions are refilled from.

    Raises
    ------
    PanelError
        If the classifiers do not have the same classes.
    """
    check_classifier(before)
    check_classifier(after)
    if before.classes != after.classes:
        raise PanelError(f"Both classifiers must have the same classes; got {before.classes} and {after.classes}.")
    plain = panel.drop([n for n in ("prediction", "embedding", "before", "after") if n in panel])
    both = predict(predict(plain, before, name="before"), after, name="after")
    both = both.drop(["before_embedding", "after_embedding"] if before.has_embedding else [])
    compute_columns([both["before"], both["after"]])  # together: each picture is read once
    right_before = (both["before"].label == both[label]).to_numpy()
    right_after = (both["after"].label == both[label]).to_numpy()
    return Comparison(
        figures(panel, before, irrelevant=irrelevant, label=label, seed=seed),
        figures(panel, after, irrelevant=irrelevant, label=label, seed=seed),
        both[right_after & ~right_before],
        both[right_before & ~right_after],
    )


def figures(
    panel: DataPanel, model: Classifier, *, irrelevant: str | None = None, label: str = "label", seed: int = 0
) -> Figures:
    """Return how a classifier does on the rows of a panel; see `compare` for the parameters."""
    check_classifier(model)
    if not len(panel):
        raise PanelError("There must be at least one row to judge a classifier by; this panel is empty.")
    plain = panel.drop([n for n in ("prediction", "embedding") if n in panel])
    predicted = predict(plain, model)["prediction"].label.codes().to_torch()
    truth = panel[label].codes().to_torch()
    accuracy = float((predicted == truth).double().mean())
    worst = worst_class_accuracy(predicted, truth)
    if irrelevant is None:
        return Figures(len(panel), accuracy, worst)
    masks = _as_masks(panel[irrelevant].values())
    mass = _mass(panel, model, masks)
    inputs = model.prepare(panel[model.on].to_torch())
    with model.evaluating(), torch.no_grad():
        swaps = swap_sensitivity(model, inputs, masks, inputs, seed=seed)
    return Figures(len(panel), accuracy, worst, _mean(mass), None if math.isnan(swaps) else swaps)


def _mass(panel: DataPanel, model: Classifier, masks: torch.Tensor) -> NDArray[np.float64]:
    scores = attribute(panel, model).to_torch()
    result: Any = mass_on_mask(scores, masks).double().numpy()
    return np.asarray(result)


def _mean(values: NDArray[np.float64]) -> float | None:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else None


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}" if abs(value) < 0.1 else f"{value:.3f}"

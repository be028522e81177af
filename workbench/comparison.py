"""Before and after: the same rows, two classifiers; what was fixed, what was broken, and what they look at."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columns import Column, ScalarColumn
from columns.column import compute_columns

from .attributions import attribute
from .classifier import Classifier, check_classifier
from .errors import OverlapError, PanelError
from .judging import Figures, Judged, figures, judge
from .paired import Difference, holm, mcnemar, mean_difference, paired_difference
from .predictions import predict
from .reasons import mask_column
from .slices import Slices, as_slices

if TYPE_CHECKING:
    import pandas as pd

    from .panel import DataPanel

__all__ = ["CHANGES", "Comparison", "Figures", "SliceComparison", "compare", "figures"]

CHANGES = ("fixed", "broken", "right", "wrong")
_IRRELEVANT = "irrelevant"
_OWN = ("prediction", "embedding", "before", "after", "change", "why_before", "why_after")


@dataclass(frozen=True)
class SliceComparison:
    """Two classifiers on the rows of one slice.

    Attributes
    ----------
    name, definition, reason : str
        Of the slice.
    before, after : Figures
        Of each classifier.
    fixed, broken : int
        How many rows only the second, or only the first, gets right.
    differences : mapping of str to Difference
        After less before, with a 95 % interval, of those measures that are means over rows: of proportions
        (``accuracy``, ``swap_sensitivity``) as `paired_difference` tells, of others (``brier``, ``log_loss``,
        ``mass_on_mask`` ...) as `mean_difference` does, over the rows that could be measured both times.
    p : float or None
        Of McNemar's test that a row is as likely fixed as broken; None without rows.
    p_holm : float or None
        The same, adjusted for the number of slices; None for all rows together.
    """

    name: str
    definition: str
    reason: str
    before: Figures
    after: Figures
    fixed: int
    broken: int
    differences: Mapping[str, Difference]
    p: float | None
    p_holm: float | None = None

    @property
    def rows(self) -> int:
        """How many rows were judged."""
        return self.before.rows

    @property
    def difference(self) -> Difference | None:
        """Of the accuracies; None without rows."""
        return self.differences.get("accuracy")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two classifiers on the same rows.

    Attributes
    ----------
    before, after : Figures
        Of each classifier.
    fixed, broken : DataPanel
        Rows that only the second, or only the first, gets right.
    panel : DataPanel
        All rows, with both predictions as ``before`` and ``after``, ``change`` ("fixed", "broken", "right" both times,
        "wrong" both times; null where there is no label or no input), and where they look as lazy columns
        ``why_before`` and ``why_after``.
    overall : SliceComparison
        All rows, as if they were a slice.
    slices : tuple of SliceComparison
        In the order given.
    irrelevant : str or None
        Column of `panel` with the masks of what must not matter.
    label, on : str
        Columns of the labels, and of what the first classifier is fed.
    """

    before: Figures
    after: Figures
    fixed: DataPanel
    broken: DataPanel
    panel: DataPanel
    overall: SliceComparison
    slices: tuple[SliceComparison, ...] = ()
    irrelevant: str | None = None
    label: str = "label"
    on: str = field(default="image")

    def table(self) -> list[tuple[str, float | None, float | None]]:
        """Return (measure, before, after) rows, those that are known."""
        from .comparison_text import MEASURES

        rows = [(words, getattr(self.before, name), getattr(self.after, name)) for name, words, _ in MEASURES]
        return [row for row in rows if row[1] is not None or row[2] is not None]

    def to_pandas(self) -> pd.DataFrame:
        """Return one row for all rows together, then one for each slice; two columns for each measure."""
        from .comparison_text import as_frame

        return as_frame([self.overall, *self.slices])

    def report(self, path: str | os.PathLike[str], title: str = "Before and after") -> Path:
        """Write a page of HTML that stands alone, with figures, slices, pictures and calibration; return its path."""
        from .comparison_report import comparison_report

        return comparison_report(self, title).write(path)

    def __repr__(self) -> str:
        from .comparison_text import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from .comparison_text import as_html

        return as_html(self)


def compare(
    panel: DataPanel,
    before: Classifier | Any,
    after: Classifier | Any,
    *,
    slices: Slices = None,
    irrelevant: str | Column | Any = None,
    label: str = "label",
    seed: int = 0,
    method: str = "input_gradient",
    part: str = "magnitude",
    device: str = "auto",
    trained_rows_too: bool = False,
    **settings: Any,
) -> Comparison:
    """Compare two classifiers on the same rows.

    Parameters
    ----------
    panel : DataPanel
        Rows that neither was trained on. Columns called before, after, change, why_before, why_after, prediction and
        embedding do not come back in the result, where these names are its own.
    before, after : Classifier, or what a training returned
        With the same classes. Of a run, its `model`.
    slices : column name, slice, sequence of these, or mapping of names to conditions, optional
        Which rows to look at on their own; see `as_slices`.
    irrelevant : str, column or array, optional
        Masks of what must not matter, null or empty where nothing was said; gives the measures of explanations.
    label : str
        Column of the labels: names of classes. A label that the classifiers do not know counts as wrong.
    seed : int
        Draws the rows that regions are refilled from; the same for both.
    method, **settings
        How the classifiers are explained; see `workbench.attribute`.
    part : {"magnitude", "positive"}
        Which part of signed scores the measures count: all of a gradient, the positive part of what adds up to the
        output (integrated gradients, occlusion, Grad-CAM).
    device : str
        As for `workbench.predict`.
    trained_rows_too : bool
        Judge also on rows that a run says it was trained on. The figures then flatter it.

    Returns
    -------
    Comparison
        It prints; ``.slices``, ``.to_pandas()``, ``.report("page.html")``, ``.fixed``, ``.broken``, ``.panel``.

    Raises
    ------
    PanelError
        If the classifiers do not have the same classes, labels or masks do not fit, or no row can be judged.
    OverlapError
        If a run was trained on some of these rows.
    RunError
        If masks are not arrays of one shape.
    ClassifierError
        If something else than a classifier is compared.

    Examples
    --------
    >>> import torch
    >>> from workbench import DataPanel
    >>> panel = DataPanel({"x": torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]]), "label": ["a", "b", "b"]})
    >>> always = Classifier(torch.nn.Linear(2, 2), ["a", "b"], on="x")
    >>> with torch.no_grad():
    ...     _ = always.module.weight.zero_(), always.module.bias.copy_(torch.tensor([1.0, 0.0]))
    >>> found = compare(panel, always, Classifier(torch.nn.Identity(), ["a", "b"], on="x"), slices="label")
    >>> found.panel["change"].to_list()
    ['right', 'fixed', 'fixed']
    >>> [(s.name, s.rows, s.difference.estimate) for s in found.slices]
    [('label = a', 1, 0.0), ('label = b', 2, 1.0)]
    """
    runs = before, after
    before, after = _classifier(before), _classifier(after)
    if not trained_rows_too:
        _check_not_trained_on(panel, *runs)
    if before.classes != after.classes:
        raise PanelError(f"Both classifiers must have the same classes; got {before.classes} and {after.classes}.")
    chosen = as_slices(panel, slices)
    rows = [one.rows(panel) for one in chosen]
    masks = None if irrelevant is None else mask_column(panel, irrelevant)
    both = _with_both(panel, before, after, device)
    compute_columns([both["before"], both["after"]])  # together: each picture is read once
    how: dict[str, Any] = {"irrelevant": masks, "label": label, "seed": seed, "method": method, "part": part,
                           "device": device, **settings}  # fmt: skip
    first = judge(panel, before, prediction=both["before"], **how)
    second = judge(panel, after, prediction=both["after"], **how)
    there = first.there & second.there
    first, second = replace(first, there=there), replace(second, there=there)
    both["change"] = _change(first, second)
    for name, model in (("why_before", before), ("why_after", after)):
        if panel[model.on].form in ("image", "dense"):  # what has a gradient
            both[name] = attribute(panel, model, method, device=device, **settings)
    masked_by = irrelevant if isinstance(irrelevant, str) else None if masks is None else _IRRELEVANT
    if masks is not None and masked_by == _IRRELEVANT:
        both[_IRRELEVANT] = masks
    overall = _compared("all rows", "", "", first, second, np.ones(len(panel), np.bool_))
    parts = [
        _compared(one.name, one.definition, one.reason, first, second, some)
        for one, some in zip(chosen, rows, strict=True)
    ]
    return Comparison(
        before=overall.before,
        after=overall.after,
        fixed=both[both["change"] == "fixed"],
        broken=both[both["change"] == "broken"],
        panel=both,
        overall=overall,
        slices=_adjusted(parts),
        irrelevant=masked_by,
        label=label,
        on=before.on,
    )


def _check_not_trained_on(panel: DataPanel, *runs: Any) -> None:
    """Raise if a run says that it was trained on rows of the panel; a classifier alone cannot tell."""
    for run in runs:
        if isinstance(run, Classifier) or not callable(getattr(run, "keys", None)):
            continue
        trained = set(run.keys("trained"))
        both = [key for key in panel.key.to_list() if key in trained]
        if both:
            raise OverlapError(
                f"A run must be judged on rows that it was not trained on; it was on {len(both):,} of these "
                f"{len(panel):,}, {', '.join(both[:3])} among them. Give other rows, or say `trained_rows_too=True`."
            )


def _classifier(given: Any) -> Classifier:
    """A classifier, or that of a training or run."""
    model = given if isinstance(given, Classifier) else getattr(given, "model", given)
    check_classifier(model)
    assert isinstance(model, Classifier)
    return model


def _with_both(panel: DataPanel, before: Classifier, after: Classifier, device: str) -> DataPanel:
    """The panel with both predictions, and without columns whose names the result needs."""
    plain = panel.drop([name for name in _OWN if name in panel and name not in (before.on, after.on)])
    both = predict(predict(plain, before, name="before", device=device), after, name="after", device=device)
    return both.drop([name for name in ("before_embedding", "after_embedding") if name in both])


def _change(before: Judged, after: Judged) -> ScalarColumn:
    codes = np.where(after.right, np.where(before.right, 2, 0), np.where(before.right, 1, 3))
    return ScalarColumn(pa.array(codes.astype(np.int32), mask=~before.there), classes=CHANGES)


def _compared(
    name: str, definition: str, reason: str, before: Judged, after: Judged, rows: NDArray[np.bool_]
) -> SliceComparison:
    some = rows & before.there
    right = before.right[some], after.right[some]
    fixed, broken = int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum())
    measured = ~(np.isnan(before.flips) | np.isnan(after.flips)) & rows
    found = {
        "accuracy": _of_proportions(*right),
        "swap_sensitivity": _of_proportions(before.flips[measured] > 0, after.flips[measured] > 0),
        "brier": mean_difference(before.brier[some], after.brier[some]),
        "log_loss": mean_difference(before.nats[some], after.nats[some]),
        "mass_on_mask": mean_difference(before.mass[rows], after.mass[rows]),
        "rank_in_mask": mean_difference(before.rank[rows], after.rank[rows]),
        "wrong_reason": mean_difference(before.wrong_reason[rows], after.wrong_reason[rows]),
    }
    return SliceComparison(
        name,
        definition,
        reason,
        before.figures(rows),
        after.figures(rows),
        fixed,
        broken,
        {measure: difference for measure, difference in found.items() if difference is not None},
        mcnemar(fixed, broken) if some.any() else None,
    )


def _of_proportions(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Difference | None:
    if not len(before):
        return None
    return paired_difference(
        both=int((before & after).sum()),
        fixed=int((after & ~before).sum()),
        broken=int((before & ~after).sum()),
        neither=int((~before & ~after).sum()),
    )


def _adjusted(slices: Sequence[SliceComparison]) -> tuple[SliceComparison, ...]:
    """Slices with Holm's p beside the raw one; a slice without rows is no test."""
    adjusted = iter(holm([one.p for one in slices if one.p is not None]))
    return tuple(one if one.p is None else replace(one, p_holm=next(adjusted)) for one in slices)

"""Before and after: the same rows, two classifiers; what was fixed, what was broken, and what they look at."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from columns import Column, ScalarColumn
from columns.column import compute_columns

from .attributions import attribute
from .classifier import Classifier, as_classifier
from .comparison_slices import SliceComparison, compare_slices
from .errors import OverlapError, PanelError
from .judging import Figures, Judged, both_times, figures, judge
from .predictions import predict
from .reasons import mask_column
from .runs.lineage import seen_by
from .slices import Slices, as_slices

if TYPE_CHECKING:
    import pandas as pd

    from .panel import DataPanel
    from .runs import Run

__all__ = ["CHANGES", "Comparison", "Figures", "SliceComparison", "compare", "figures"]

CHANGES = ("fixed", "broken", "right", "wrong")
_IRRELEVANT = "irrelevant"
_OWN = ("prediction", "embedding", "before", "after", "change", "why_before", "why_after")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two classifiers on the same rows.

    Attributes
    ----------
    before, after : Figures
        Of each classifier; each measure over the rows that could be measured both times.
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
        Column of `panel` with the masks of what must not matter: that which was named, or where they were given as
        they are, a new one, "irrelevant" unless there is such a column already.
    label, on : str
        Columns of the labels, and of what the first classifier is fed.
    part : {"magnitude", "positive"}
        Which part of signed scores the measures count.
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
    part: str = "magnitude"

    def table(self) -> list[tuple[str, float | None, float | None]]:
        """Return (measure, before, after) rows, those that are known."""
        from .comparison_text import measured

        return [(words, before, after) for _, words, before, after, _ in measured(self)]

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
    seen_rows_too: bool = False,
    runs: Mapping[str, Run] | str | os.PathLike[str] | None = None,
    **settings: Any,
) -> Comparison:
    """Compare two classifiers on the same rows.

    Parameters
    ----------
    panel : DataPanel
        Rows that neither has seen: neither trained on, nor held out to choose its state by (the best of many states
        was taken on those, which flatters it as well), nor seen by a run that it came from. Columns called before,
        after, change, why_before, why_after, prediction and embedding do not come back in the result, where these
        names are its own.
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
    seen_rows_too : bool
        Judge also on rows that a model has seen. The figures then flatter it.
    runs : mapping of str to Run, str or Path, optional
        Where runs are found that a saved model knows by their id alone: ``bench.runs``, or a directory of runs. A
        model whose run is not found, or that no run has made, cannot tell what it has seen.

    Returns
    -------
    Comparison
        It prints; ``.slices``, ``.to_pandas()``, ``.report("page.html")``, ``.fixed``, ``.broken``, ``.panel``.

    Raises
    ------
    PanelError
        If the classifiers do not have the same classes, labels or masks do not fit, or no row can be judged.
    OverlapError
        If one of them has seen some of these rows.
    RunFileError
        If a run that it came from is damaged, so that nobody can tell.
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
    given = before, after
    before, after = as_classifier(before), as_classifier(after)
    if not seen_rows_too:
        _check_unseen(panel, *given, runs)
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
    both["change"] = _change(*both_times(first, second))
    for name, model in (("why_before", before), ("why_after", after)):
        if panel[model.on].form in ("image", "dense"):  # what has a gradient
            both[name] = attribute(panel, model, method, device=device, **settings)
    masked_by = irrelevant if isinstance(irrelevant, str) else None
    if masks is not None and (masked_by is None or masked_by in _OWN):
        masked_by = _free(_IRRELEVANT, both)
        both[masked_by] = masks
    overall, parts = compare_slices(first, second, list(zip(chosen, rows, strict=True)))
    return Comparison(
        before=overall.before,
        after=overall.after,
        fixed=both[both["change"] == "fixed"],
        broken=both[both["change"] == "broken"],
        panel=both,
        overall=overall,
        slices=parts,
        irrelevant=masked_by,
        label=label,
        on=before.on,
        part=part,
    )


def _check_unseen(panel: DataPanel, before: Any, after: Any, runs: Any) -> None:
    """Raise if one of the models has seen rows of the panel, as far as that is known."""
    for which, model in (("before", before), ("after", after)):
        seen = seen_by(model, runs)
        both = [key for key in panel.key.to_list() if key in seen] if seen else []
        if both:
            raise OverlapError(
                f"Models must be compared on rows that they have not seen; `{which}`, or a run that it came from, was "
                f"trained or chosen on {len(both):,} of these {len(panel):,}, {', '.join(both[:3])} among them. Give "
                "other rows, or say `seen_rows_too=True`."
            )


def _free(name: str, panel: DataPanel) -> str:
    """A name that no column of the panel has."""
    return next(
        free for free in (name, *(f"{name}_{n}" for n in range(2, len(panel.columns) + 3))) if free not in panel
    )


def _with_both(panel: DataPanel, before: Classifier, after: Classifier, device: str) -> DataPanel:
    """The panel with both predictions, and without columns whose names the result needs."""
    plain = panel.drop([name for name in _OWN if name in panel and name not in (before.on, after.on)])
    both = predict(predict(plain, before, name="before", device=device), after, name="after", device=device)
    return both.drop([name for name in ("before_embedding", "after_embedding") if name in both])


def _change(before: Judged, after: Judged) -> ScalarColumn:
    codes = np.where(after.right, np.where(before.right, 2, 0), np.where(before.right, 1, 3))
    return ScalarColumn(pa.array(codes.astype(np.int32), mask=~before.there), classes=CHANGES)

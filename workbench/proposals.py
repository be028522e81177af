"""Which rows to look at and paint: the most typical row of each group of rows that a model explains alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from columns import ScalarColumn

from .classifier import Classifier
from .clusters import grouped_alike
from .errors import PanelError

if TYPE_CHECKING:
    from .feedback import Feedback
    from .panel import DataPanel

__all__ = ["propose"]


def propose(
    panel: DataPanel,
    model: Classifier,
    n: int = 10,
    *,
    feedback: Feedback | None = None,
    method: str = "gradient_times_input",
    target: str | int | None = "max_logit",
    grid: int = 7,
    seed: int = 0,
    **settings: Any,
) -> DataPanel:
    """Return a few rows to look at and paint: the most typical ones of all the ways in which a model comes to answers.

    Parameters
    ----------
    panel : DataPanel
        With the column that the classifier feeds on.
    model : Classifier
        What is explained.
    n : int
        Most rows to propose: one of each of so many groups of rows that are explained alike.
    feedback : Feedback, optional
        Rows that somebody painted already are not proposed again.
    method, target, grid, seed, **settings
        See `explanation_clusters`.

    Returns
    -------
    DataPanel
        At most `n` rows, those of the largest groups first, with ``group``, the number of their group, and
        ``reason``, in words.

    Raises
    ------
    PanelError
        If `n` is less than 1, fewer than three rows can be explained, or the panel has columns of these names.

    Examples
    --------
    >>> import torch
    >>> from workbench import DataPanel
    >>> x = torch.tensor([[3.0, 0, 0], [2, 0, 0], [5, 1, 0], [0, 0, 2], [0, 0, 4]])
    >>> model = Classifier(torch.nn.Linear(3, 2), classes=["no", "yes"], on="x")
    >>> propose(DataPanel({"x": x}), model, n=2)["reason"].to_list()
    ['the most typical of 3 rows (60%) explained alike', 'the most typical of 2 rows (40%) explained alike']
    """
    if n < 1:
        raise PanelError(f"`n` must be at least 1 row; got {n}.")
    for name in ("group", "reason"):
        if name in panel:
            raise PanelError(
                f"The panel has a column '{name}', which proposals add; rename it: panel.rename({{'{name}': ...}})."
            )
    found = grouped_alike(panel, model, method, target, grid, seed, settings, count=n, or_fewer=True)
    said = [] if feedback is None else feedback.records(kind="rationale")
    painted = {record.key for record in said if not record.propagated}
    keys = panel.key.to_list() if painted else []
    rows: list[int] = []
    groups: list[int] = []
    for group in range(len(found)):
        new = (int(row) for row in found.typical(group) if not painted or keys[row] not in painted)
        row = next(new, None)
        if row is not None:
            rows.append(row)
            groups.append(group)
    sizes = found.sizes
    reasons = [
        f"the most typical of {sizes[group]:,} rows ({sizes[group] / len(panel):.0%}) explained alike"
        for group in groups
    ]
    chosen: DataPanel = panel[np.array(rows, np.int64)]
    return chosen.assign(group=ScalarColumn(groups), reason=ScalarColumn(reasons))

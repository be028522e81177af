"""explore and annotate: a view of a panel, from what there is: a model, a log, a workbench."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import PanelError
from .session import Session
from .sides import Rows

if TYPE_CHECKING:
    from ..classifier import Classifier
    from ..directory import Workbench
    from ..feedback import Feedback
    from ..panel import DataPanel
    from .explorer import Explorer

__all__ = ["annotate", "explore"]


def explore(
    panel: DataPanel | Workbench,
    model: Classifier | Any = None,
    feedback: Feedback | None = None,
    *,
    label: str = "label",
    source: str | None = None,
    train: Rows = None,
    judged: Rows = None,
    **layout: Any,
) -> Explorer:
    """Return a view of a panel for a notebook cell: gallery, table and map over one selection, and the row in focus.

    With a classifier it explains; with a log it can be painted on, and what is called saved is on the disk; with both
    and labels, a fine-tune that obeys can be launched from the cell, and compared. Nothing runs before the page asks:
    thumbnails of what is on the screen first, predictions when somebody presses *compute*.

    Parameters
    ----------
    panel : DataPanel or Workbench
        The rows. Of a workbench: its panel and its log, and trainings are runs of it.
    model : Classifier, Run or str, optional
        What predicts and is explained; that of the panel's prediction column if left out. Text is a name in the
        workbench.
    feedback : Feedback, optional
        The log that is written to.
    label : str
        Column of the labels.
    source : str, optional
        Column that copies of one original share; "source", if there is such a column.
    train, judged : DataPanel or str, optional
        Rows to train on and rows to judge by, or conditions that choose them. By default what ``split == 'train'``
        says and the others, or a fifth is held out.
    **layout
        How it is laid out at first: ``view="map"``, ``tile=128``, ``overlay=True``, ``height=720`` ...

    Returns
    -------
    Explorer
        ``view.selected`` and ``view.shown`` are panels; ``view.selection``, ``view.filter``, ``view.brushes``,
        ``view.focus`` and ``view.layout`` can be read, set and observed.

    Raises
    ------
    PanelError
        If the classifier's column is not in the panel, or there is no row.

    Examples
    --------
    >>> import torch
    >>> from workbench import DataPanel
    >>> view = explore(DataPanel({"image": torch.zeros(3, 1, 8, 8), "age": [36, 41, 29]}, origin="staff"))
    >>> view.filter = "age > 30"
    >>> view.shown["age"].to_list()
    [36, 41]
    >>> view.selection = [1]
    >>> view.selected["age"].to_list()
    [41]
    >>> view.close()
    """
    from ..directory import Workbench
    from .explorer import Explorer  # here: a program that shows no view does not load what notebooks need

    bench = panel if isinstance(panel, Workbench) else None
    rows: DataPanel = panel.panel if isinstance(panel, Workbench) else panel
    if not len(rows):
        raise PanelError("A view needs at least one row; this panel has none.")
    if bench is not None:
        model = None if model is None else bench.classifier(model)
        feedback = bench.feedback if feedback is None else feedback
    session = Session(rows, model, feedback, label=label, source=source, train=train, judged=judged, bench=bench)
    return Explorer(session, layout)


def annotate(
    panel: DataPanel | Workbench,
    feedback: Feedback | None = None,
    model: Classifier | Any = None,
    **settings: Any,
) -> Explorer:
    """Return a view of a panel to paint on: `explore` with the first row in focus and large pictures.

    Parameters
    ----------
    panel : DataPanel or Workbench
        The rows.
    feedback : Feedback, optional
        The log that is written to; that of the workbench, if there is one.
    model : Classifier, Run or str, optional
        What is explained beneath the brush.
    **settings
        As for `explore`.

    Returns
    -------
    Explorer

    Raises
    ------
    PanelError
        If there is neither a log nor a workbench.

    Examples
    --------
    >>> import tempfile
    >>> import torch
    >>> from workbench import DataPanel, Feedback
    >>> log = Feedback(tempfile.mkdtemp() + "/log.db", author="ada")
    >>> view = annotate(DataPanel({"image": torch.zeros(3, 1, 8, 8)}, origin="toy"), log)
    >>> view.focus
    0
    >>> view.close()
    """
    from ..directory import Workbench

    if feedback is None and not isinstance(panel, Workbench):
        raise PanelError('What is painted needs a log: annotate(panel, Feedback("feedback.db")), or a workbench.')
    view = explore(panel, model, feedback, **{"tile": 72, **settings})
    view.focus = 0
    return view

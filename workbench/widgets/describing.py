"""What a page must know of a panel and of what can be done with it, before it asks for any row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from columns import ImageColumn
from columns.expression import Map, walk

from ..predictions import ForwardPass
from .facets import facet_names, single_values_of
from .wire import LONGEST_NAME

if TYPE_CHECKING:
    from ..classifier import Classifier
    from ..panel import DataPanel
    from .session import Session

__all__ = ["classifier_of", "description", "looked_at"]

PREDICTION = "prediction"


def description(session: Session) -> dict[str, Any]:
    """Return what the page must know of the panel; reads nothing.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> from workbench.widgets.session import Session
    >>> about = description(Session(DataPanel({"age": [36, 41]}, origin="staff")))
    >>> about["rows"], about["columns"][0]["name"], about["can"]["explain"]
    (2, 'age', False)
    """
    with session.lock:
        panel, model, heats, relaunch = session.panel, session.model, session.heats, session.relaunch
        columns = _columns(session)
    pictured = session.on is not None and isinstance(panel[session.on], ImageColumn)
    explains = heats is not None and pictured
    return {
        "rows": len(panel),
        "on": session.on,
        "columns": columns,
        "classes": [] if model is None else [name for name in model.classes if len(name) <= LONGEST_NAME],
        "label": session.label,
        "can": {
            "predict": model is not None, "explain": explains, "annotate": session.marking is not None,
            "train": relaunch is not None,
        },
        "methods": heats.methods if explains and heats is not None else [],
        "losses": list(relaunch.losses) if relaunch is not None else [],
        "weights": list(relaunch.weights) if relaunch is not None else [],
        "size": [0, 0] if pictured else None,
        "author": session.marking.feedback.author if session.marking is not None else "",
        "data": session.data,
    }  # fmt: skip


def _columns(session: Session) -> list[dict[str, Any]]:
    panel, shown = session.panel, session.shown
    facets = set(facet_names(panel))
    columns = []
    for name in panel.columns:
        if len(name) > LONGEST_NAME:
            continue  # the page could not ask for it
        column, known = panel[name], shown.facet(name) if name in shown.on else None
        owner = single_values_of(panel, name) if name in facets else None
        columns.append(
            {
                "name": name, "kind": column.kind, "facet": None if known is None else known.kind,
                "computed": column.is_computed() if owner is None else owner.is_computed(),
            }
        )  # fmt: skip
    return columns


def looked_at(panel: DataPanel, model: Classifier | None) -> str | None:
    """Return the column that is looked at: what the classifier is fed, else the first of pictures or texts."""
    if model is not None:
        return model.on
    kinds = {panel.kind(name): name for name in reversed(panel.columns)}
    return kinds.get("image", kinds.get("text"))


def classifier_of(panel: DataPanel) -> Classifier | None:
    """Return the classifier that a panel's prediction column was made by, if there is one.

    Examples
    --------
    >>> import torch
    >>> from workbench import Classifier, DataPanel, predict
    >>> model = Classifier(torch.nn.Linear(2, 2), classes=["a", "b"], on="x")
    >>> classifier_of(predict(DataPanel({"x": torch.eye(2)}), model)) is model
    True
    """
    if PREDICTION not in panel or panel.kind(PREDICTION) != "prediction":
        return None
    for node in walk([panel[PREDICTION].node]):
        if isinstance(node, Map) and isinstance(node.function.call, ForwardPass):
            return node.function.call.classifier
    return None

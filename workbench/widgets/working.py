"""Working: what the page starts that takes a while: it runs beside the notebook, says how far it is, can be stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from columns import ScalarColumn

from ..clusters import ExplanationClusters
from ..errors import PanelError, RunError
from ..layered import EMBEDDING
from .relaunch import Relaunch
from .session import PREDICTION
from .spreading import cluster_rows
from .tasks import Task

if TYPE_CHECKING:
    from .session import Answer, Session

__all__ = ["WORKING", "compute"]

_PIECE = 512  # rows computed between two looks at whether to stop, while others may ask


def compute(session: Session, column: str) -> int:
    """Compute a column piece by piece, beside the notebook; what is computed when it is stopped stays.

    Returns
    -------
    int
        Number of the job.
    """
    if column not in session.panel:
        raise PanelError(session.panel.no_column(column))
    # One forward pass gives the prediction and the embedding: asked for together, they come together.
    names = [name for name in (PREDICTION, EMBEDDING) if name in session.panel]
    some = session.panel[names if column in names else [column]]

    def work(task: Task) -> str:
        for piece in task.pieces(len(some), _PIECE):
            some[piece].compute(on_error="null")
        session.computed()
        return f"{column} is computed."

    return session.jobs.start("compute", work, words=f"computing {column}")


def _compute(session: Session, *, column: str) -> Answer:
    return {"job": compute(session, column)}, []


def _cluster(session: Session, *, count: int | None) -> Answer:
    model = session.model
    if model is None or session.heats is None:
        raise PanelError("Groups of explanations need a model that can be explained: give the view a classifier.")

    def work(task: Task) -> str:
        found = cluster_rows(session.panel, model, task, count=count)
        session.add("cluster", _named(found))
        sizes = ", ".join(f"{size:,}" for size in found.sizes.tolist()[:8])
        return f"{len(found)} groups of explanations, of {sizes} rows."

    return {"job": session.jobs.start("cluster", work, words="looking at what the model looks at")}, []


def _named(found: ExplanationClusters) -> ScalarColumn:
    """Return the groups as categories whose names say where most of each looks."""
    places = found.describe()["looks_at"].to_list()
    names = [f"{number}: {place}" for number, place in enumerate(places, start=1)]
    codes = np.where(found.labels < 0, 0, found.labels).astype(np.int32)
    return ScalarColumn(pa.array(codes, mask=found.labels < 0), classes=names)


def _train(session: Session, **fields: Any) -> Answer:
    return {"job": _relaunch(session).start(fields)}, []


def _stop(session: Session, *, job: int) -> Answer:
    session.jobs.stop(job)
    return {}, []


def _keep(session: Session, *, job: int) -> Answer:
    model, _ = _relaunch(session).keep(job)
    session.adopt(model)
    session.audience.note({"event": "settled", "job": job, "how": "kept"})
    compute(session, PREDICTION)
    return {}, []


def _discard(session: Session, *, job: int) -> Answer:
    _relaunch(session).discard(job)
    session.audience.note({"event": "settled", "job": job, "how": "discarded"})
    return {}, []


def _fixed(session: Session, *, job: int, which: str) -> Answer:
    return {"rows": _relaunch(session).fixed(job, which).tolist()}, []


def _relaunch(session: Session) -> Relaunch:
    if session.relaunch is None:
        raise RunError(
            "A relaunch needs a classifier, labels and a log of feedback: explore(panel, model, feedback=feedback)."
        )
    return session.relaunch


WORKING: dict[str, Callable[..., Answer]] = {
    "compute": _compute,
    "cluster": _cluster,
    "train": _train,
    "stop": _stop,
    "keep": _keep,
    "discard": _discard,
    "fixed": _fixed,
}

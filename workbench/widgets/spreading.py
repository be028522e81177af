"""One stroke, many rows, from a view: first a look at what is reached, then a token by which it is written.

Rows may be reached by the group of explanations that they are in; finding these groups is a job.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..clusters import ExplanationClusters, grouped_alike
from ..errors import FeedbackBusyError, FeedbackError
from ..feedback.records import now
from ..preview import Preview
from ..propagation import propagate
from .tasks import Task

if TYPE_CHECKING:
    from ..classifier import Classifier
    from ..feedback import Feedback
    from ..panel import DataPanel

__all__ = ["Spreading", "cluster_rows", "cluster_table"]

_SHOWN = 12  # rows that are shown of those that are reached
_HELD = 4  # looks that can still be written

_BY = {
    "template": "which show what was painted, in its place",
    "cluster": "of the same groups of explanations",
    "neighbours": "next to the painted ones in the embedding",
    "all": "which are all that there are",
}
_COLUMNS = {
    "cluster": ("cluster", "Rows of a group are reached once there are groups: group the explanations first."),
    "neighbours": ("embedding", "Neighbours are known once the column 'embedding' is computed: compute it first."),
}


class Spreading:
    """Looks at what a propagation would write, and writes it if it is what somebody has looked at.

    Parameters
    ----------
    panel : DataPanel
        Whose rows are reached. May be set anew, as columns are added to it, with the same rows.
    feedback : Feedback
        The log.
    column : str
        That was painted on.
    rule : str
        How strokes of several people on one row are merged.

    Examples
    --------
    >>> import tempfile
    >>> from workbench import DataPanel, Feedback, ImageColumn, ImageRegion
    >>> pictures = np.zeros((4, 8, 8), np.uint8)
    >>> pictures[[0, 1, 3], :2, :2] = np.uint8([200, 90, 30])[:, None, None]
    >>> panel = DataPanel({"image": ImageColumn(pictures)}, origin="scans")
    >>> log = Feedback(tempfile.mkdtemp() + "/feedback.db", author="ada")
    >>> painted = log.mark("scans/0", irrelevant=ImageRegion.box(0, 0, 2, 2, size=(8, 8)))
    >>> spreading = Spreading(panel, log, "image")
    >>> look = spreading.reach("template")
    >>> look["count"], look["sources"], sorted(look["rows"]), look["words"]
    (2, 1, [1, 3], '2 of 4 rows get a region from 1 painted row: rows which show what was painted, in its place.')
    >>> spreading.spread(look["token"])["count"]
    2
    """

    def __init__(self, panel: DataPanel, feedback: Feedback, column: str, rule: str = "latest") -> None:
        self.panel, self.feedback, self.column, self.rule = panel, feedback, column, rule
        self._looks: dict[int, Preview] = {}
        self._tokens = itertools.count(1)

    def reach(self, to: str = "template", role: str = "irrelevant") -> dict[str, Any]:
        """Look at what strokes reach; nothing is written.

        Pictures are read to find a template in them, which takes a while where there are many.

        Parameters
        ----------
        to : {"template", "cluster", "neighbours", "all"}
            Which rows; see `propagate`.
        role : {"irrelevant", "relevant"}
            Which strokes.

        Returns
        -------
        dict
            ``token``, to write it by; ``count`` of rows that get a region; ``sources``, the painted rows; ``rows``, at
            most 12 of those that are reached, by number, the least like first; ``words``.

        Raises
        ------
        FeedbackError
            If nothing was painted, or the groups or the embedding are not there yet.
        """
        name, missing = _COLUMNS.get(to, ("", ""))
        if name and (name not in self.panel or not self.panel[name].is_computed()):
            raise FeedbackError(missing)
        preview = propagate(self.feedback, self.panel, to, role=role, column=self.column, rule=self.rule)
        token = next(self._tokens)
        for old in list(self._looks)[: 1 - _HELD]:
            del self._looks[old]
        self._looks[token] = preview
        return {
            "token": token,
            "count": preview.count,
            "sources": len(preview.strokes),
            "rows": _examples(preview).tolist(),
            "words": _in_words(preview),
        }

    def spread(self, token: int, *, author: str | None = None) -> dict[str, Any]:
        """Write what a look has shown, all of it or none.

        Parameters
        ----------
        token : int
            Of the look.
        author : str, optional
            Who says so, if not the author of the log.

        Returns
        -------
        dict
            ``saved``, when, and ``count``, of how many rows.

        Raises
        ------
        FeedbackError
            If what was painted has changed since the look, which then is over; or another came long after it.
        """
        preview = self._looks.get(token)
        if preview is None:
            raise FeedbackError("This look is over, and nothing was written: look again at what is reached.")
        try:
            written = preview.write(author=author)
        except FeedbackBusyError:
            raise  # nothing was written, and the same look may be tried again
        except FeedbackError as error:
            del self._looks[token]
            raise FeedbackError(
                "What was painted has changed since this look, and nothing was written: look again at what is reached."
            ) from error
        self._looks.pop(token, None)
        return {"saved": written[-1].time if written else now(), "count": len(written)}


def _examples(preview: Preview) -> NDArray[np.int64]:
    """Return a few of the rows that are reached: those that are least like their stroke, and some of all others."""
    rows = preview.rows
    if len(rows) <= _SHOWN:
        return rows[np.argsort(preview.reached.nearness[rows], kind="stable")]
    order = rows[np.argsort(preview.reached.nearness[rows], kind="stable")]
    if preview.to in ("cluster", "all"):  # none is nearer than another
        return order[np.linspace(0, len(order) - 1, _SHOWN).astype(np.int64)]
    doubtful, others = order[: _SHOWN // 2], order[_SHOWN // 2 :]
    return np.concatenate([doubtful, others[np.linspace(0, len(others) - 1, _SHOWN - len(doubtful)).astype(np.int64)]])


def _in_words(preview: Preview) -> str:
    painted = len(preview.strokes)
    told = (
        f"{preview.count:,} of {len(preview.all_rows):,} rows get a region from {painted:,} painted "
        f"row{'s' if painted > 1 else ''}: rows {_BY[preview.to]}."
    )
    if preview.left:
        told += f" {preview.left:,} on which somebody marked nothing are left alone."
    if preview.replaced:
        told += f" {preview.replaced:,} have another region from an earlier time, which this one replaces."
    if preview.outdated:
        told += f" {len(preview.outdated):,} regions that came from strokes which no longer stand are taken back."
    return told


def cluster_rows(
    panel: DataPanel,
    model: Classifier,
    task: Task,
    *,
    count: int | None = None,
    method: str = "gradient_times_input",
    target: str | int | None = "max_logit",
) -> ExplanationClusters:
    """Group rows that a model explains alike, as the work of a job.

    Parameters
    ----------
    panel, model, count, method, target
        As for `explanation_clusters`.
    task : Task
        Of the job. It stops before the next thousand rows; not while the maps are grouped, at the end.

    Returns
    -------
    ExplanationClusters
        Its ``column`` becomes the column "cluster".
    """
    rows = len(panel)

    def explained(so_far: int) -> None:
        task.check()
        task.say(so_far, rows, "Grouping the explanations." if so_far == rows else "Explaining the rows.")
        time.sleep(0.001)  # so that who waits for the lock of the columns gets it

    found = grouped_alike(panel, model, method, target, 7, 0, {}, count=count, or_fewer=False, explained=explained)
    task.check()
    return found


def cluster_table(clusters: ExplanationClusters) -> list[dict[str, Any]]:
    """Return of each group its number, how many rows it has, where most of it looks, and its most typical row.

    Examples
    --------
    >>> import torch
    >>> from workbench import Classifier, DataPanel, explanation_clusters
    >>> x = torch.tensor([[3.0, 0, 0], [2, 0, 0], [5, 1, 0], [0, 0, 2], [0, 0, 4]])
    >>> model = Classifier(torch.nn.Linear(3, 2), classes=["no", "yes"], on="x")
    >>> table = cluster_table(explanation_clusters(DataPanel({"x": x}, origin="rows"), model, count=2))
    >>> [(group["cluster"], group["size"], group["medoid"]) for group in table]
    [(0, 3, 0), (1, 2, 3)]
    """
    places = clusters.describe()["looks_at"].to_list()
    return [
        {"cluster": group, "size": size, "looks_at": place, "medoid": int(clusters.typical(group)[0])}
        for group, (size, place) in enumerate(zip(clusters.sizes.tolist(), places, strict=True))
    ]

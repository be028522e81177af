"""The model that follows from a version of the log, and how well it does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from columns import Column

from ..classifier import Classifier
from ..errors import LoopError
from ..feedback import Feedback, Region
from ..feedback.merging import label_rule
from ..finetuning import finetune
from ..predictions import predict
from ..progress import Progress
from .curve import LearningCurve, Point
from .spreading import Spread, as_masks

if TYPE_CHECKING:
    from ..panel import DataPanel
    from ..runs import Run

__all__ = ["Retrained", "Retraining"]


@dataclass(frozen=True, eq=False)
class Retrained:
    """What follows from a version of the log.

    Attributes
    ----------
    version : int
        Of the log.
    model : Classifier
        The first model, where there was nothing to learn.
    run : Run or None
        How the model came about.
    used : tuple or None
        What of the log went into it: labels and marks; None for nothing.
    """

    version: int
    model: Classifier
    run: Run | None
    used: tuple[Any, ...] | None = None


class Retraining:
    """Trains the first model again on a panel, with what a version of the log says, and judges what comes out.

    Parameters
    ----------
    start : Classifier
        The first model.
    panel, feedback, judged, spread, column, label, source, progress
        As for `Loop`.
    settings : dict
        Of `finetune`.
    """

    def __init__(
        self,
        start: Classifier,
        panel: DataPanel,
        feedback: Feedback,
        *,
        judged: DataPanel | None,
        spread: Spread | None,
        column: str,
        label: str,
        source: str | None,
        progress: Progress,
        settings: dict[str, Any],
    ) -> None:
        self.start, self.panel, self.feedback, self.judged, self._spread = start, panel, feedback, judged, spread
        self._here = frozenset(panel.key.to_list())
        self._rule = settings.get("rule", "latest")
        self._column, self._label, self._source, self._progress = column, label, source, progress
        self._settings = settings
        self._last: Retrained | None = None
        self._digests: dict[int, str] = {}

    def first(self) -> LearningCurve:
        """Return the curve before any answer: a point of the first model, where there are rows to judge it by."""
        point = self._point(self.start, 0)
        return LearningCurve() if point is None else LearningCurve([point])

    def known(self, version: int) -> Retrained | None:
        """Return what was trained last, if it is of this version."""
        return self._last if self._last is not None and self._last.version == version else None

    def traced(self, curve: LearningCurve, version: int, answers: int) -> tuple[Retrained, LearningCurve]:
        """Train on a version of the log, and return what came out with the curve that has its point.

        Parameters
        ----------
        curve : LearningCurve
            So far.
        version : int
            Of the log; 0 is the first model itself.
        answers : int
            Answered rows that it holds.
        """
        found = self.known(version) or self._trained(version)
        self._last = found
        point = self._point(found.model, answers)
        if point is not None:
            return found, curve.added(point)
        if found.run is not None and found.run.checks:
            checks, guarded = found.run.checks, bool(found.run.guarded)
            rows = found.run.chosen_on
            kept = next(check for check in checks if check.step == found.run.kept_step)
            if not curve.points:
                # The first look of a training is at the model that it starts from.
                curve = curve.added(Point(0, checks[0].accuracy, rows, guarded))
            curve = curve.added(Point(answers, kept.accuracy, rows, guarded))
        return found, curve

    def labels(self, version: int) -> NDArray[np.int64]:
        """Return the class number of each row by the panel and the log, shape (rows,); -1 where there is none."""
        labels: Any = self._merged_labels(self.feedback.at(version), self.panel)
        return np.asarray(labels.codes().to_arrow().fill_null(-1).to_numpy(zero_copy_only=False), np.int64)

    def labels_of(self, rows: DataPanel) -> Column:
        """Return the labels of rows with the corrections that stand now, merged as in a training."""
        return self._merged_labels(self.feedback, rows)

    def _merged_labels(self, log: Feedback, rows: DataPanel) -> Column:
        return log.labels(rows, label=self._label, rule=label_rule(self._rule))

    def digest(self, model: Classifier) -> str:
        """Return a name for the weights of a model, by which the log tells what was shown."""
        from ..runs.weights import state_digest

        if id(model) not in self._digests:
            self._digests = {id(model): state_digest(model.module.state_dict())}
        return self._digests[id(model)]

    def _trained(self, version: int) -> Retrained:
        log = self.feedback.at(version)
        marks = {role: self._marks(log, role) for role in ("irrelevant", "relevant")}
        corrected = any(record.key in self._here for record in log.records(kind="label", column=self._label))
        if not any(marks.values()) and not corrected:
            return Retrained(version, self.start, None)
        labels = self._merged_labels(log, self.panel)
        rows, known = self.panel, ~labels.is_null().to_numpy().astype(np.bool_)
        if not known.all():
            if not known.any():
                raise LoopError("A training needs rows with a label; no row has one yet.")
            rows = rows[known]
        spread: Any = marks["irrelevant"]
        masks = None
        if self._spread is not None and marks["irrelevant"]:
            regions, chosen = self._spread(marks["irrelevant"], rows)
            masks, spread = as_masks(regions, chosen), (tuple(regions), chosen.tobytes())
        used = (labels.to_arrow(), spread, marks["relevant"])
        last = self._last
        if last is not None and last.run is not None and last.used == used:
            # Verdicts alone, and marks where there were marks, change nothing that a training would see.
            return replace(last, version=version)
        run = finetune(
            self.start, rows, log, irrelevant=masks, column=self._column, label=self._label, source=self._source,
            progress=self._progress, **self._settings,
        )  # fmt: skip
        return Retrained(version, run.model, run, used)

    def _marks(self, log: Feedback, role: str) -> dict[str, Region]:
        """Return what was painted in one role, in rows of the panel: the log may be of others too, to judge by say."""
        found = log.regions(role, column=self._column, rule=self._rule)
        return {key: region for key, region in found.items() if not region.empty and key in self._here}

    def _point(self, model: Classifier, answers: int) -> Point | None:
        """Judge a model on the rows that are there for it; None where there are none."""
        if self.judged is None:
            return None
        plain = self.judged.drop([name for name in ("prediction", "embedding") if name in self.judged])
        right = (predict(plain, model)["prediction"].label == plain[self._label]).to_numpy()
        return Point(answers, float(np.mean(right)), len(right))

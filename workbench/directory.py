"""Workbench: a directory that holds panel, models, feedback and runs, and opens again after a crash.

::

    bench/
      workbench.json     what it is, and of which format
      panel/             the panel and its earlier versions; see `workbench.storage`
      models/            classifiers by name; see `workbench.shelf`
      feedback.db        what people said; see `workbench.feedback`
      runs/              every training, a directory each; see `workbench.runs`
      results/           results of costly columns, found again by content

Each part is written in one step or as a log, so that a process may be killed at any moment: what is there when the
directory is opened again is what was acknowledged. Any number of notebooks may have it open.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from torch import Tensor, nn

from columns.manifest import CURRENT

from . import storage
from .apart import check_copies, kin_of
from .classifier import Classifier
from .errors import NotHereError, PanelError, RunFileError, WorkbenchError
from .feedback import Feedback
from .runs import Replay, Run
from .runs.files import DRAFT, read_json, write_json
from .runs.lineage import seen_by
from .shelf import Models, Runs
from .status import Status, status_of

if TYPE_CHECKING:
    from .comparison import Comparison
    from .panel import DataPanel

__all__ = ["Workbench"]

MARK = "workbench.json"

Rows: TypeAlias = "DataPanel | str | None"
Model: TypeAlias = Classifier | Run | str


class Workbench:
    """A directory that holds panel, models, feedback and runs; `Workbench.open` makes or opens one.

    Attributes
    ----------
    path : Path
        The directory.
    models : Models
        Classifiers by name: ``bench.models["fooled"] = model``.
    runs : Runs
        Every training, by id, by name, or by place: ``bench.runs[-1]`` is the last.

    Examples
    --------
    >>> import tempfile
    >>> import torch
    >>> bench = Workbench.open(tempfile.mkdtemp() + "/bench", author="ada")
    >>> from workbench.panel import DataPanel
    >>> bench.panel = DataPanel({"x": torch.eye(2), "label": ["a", "b"]}, origin="toy")
    >>> bench.feedback.note("toy/0", "odd").id
    1
    >>> len(Workbench.open(bench.path).panel), len(Workbench.open(bench.path).feedback)
    (2, 1)
    """

    def __init__(self, path: Path, how: Mapping[str, Any], author: str | None, base: storage.Base | None) -> None:
        self.path = path
        self._author, self._base, self._how = author, base, dict(how)
        self.models = Models(path / "models", **how)
        self.runs = Runs(path / "runs", **how)
        self._opened: tuple[int, DataPanel] | None = None
        self._entered = ExitStack()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        author: str | None = None,
        base: storage.Base | None = None,
        factory: Callable[..., nn.Module] | None = None,
        preprocess: Callable[[Any], Tensor] | None = None,
        offsets: Callable[[list[str]], Tensor] | None = None,
        trust: Sequence[str] = (),
    ) -> Workbench:
        """Open a workbench, or make one where there is nothing yet.

        Parameters
        ----------
        path : str or Path
            Directory: a workbench, empty, or not there.
        author : str, optional
            Who speaks in its feedback; the login name if left out.
        base : str or Path, or mapping of column name to these, optional
            Where pictures and files of the panel lie, if outside; see `workbench.open`.
        factory, preprocess, offsets, trust
            For its models; see `Classifier.open`.

        Returns
        -------
        Workbench
            Nothing of it is read yet.

        Raises
        ------
        RunFileError
            If the directory holds something else, or a workbench of a newer format.
        """
        root = Path(os.path.realpath(path))
        if not (root / MARK).exists():
            # Names first, then the mark: another process may just be making the same workbench.
            others = [name for name in os.listdir(root) if not name.startswith(DRAFT)] if root.is_dir() else []
            if root.exists() and not (root / MARK).exists() and (others or not root.is_dir()):
                raise RunFileError(
                    f"A workbench is made in a new or empty directory; '{root}' holds other things. Choose another one."
                )
            root.mkdir(parents=True, exist_ok=True)
            write_json(root / MARK, {})
        read_json(root, MARK)
        how = {"factory": factory, "preprocess": preprocess, "offsets": offsets, "trust": trust}
        return cls(root, how, author, base)

    # What it holds

    @property
    def panel(self) -> DataPanel:
        """The newest version of the panel; assigning one saves it as the next.

        What is changed in it is not in the directory before it is assigned: ``bench.panel = panel``.

        Raises
        ------
        PanelError
            If none was saved yet.
        """
        if not self.has_panel:
            raise PanelError("This workbench has no panel yet; give it one: bench.panel = panel.")
        newest = storage.versions(self.path / "panel")[-1]
        if self._opened is None or self._opened[0] != newest:
            self._opened = newest, storage.open(self.path / "panel", base=self._base)
        # A copy, so that what is changed there is kept by assigning it, and by nothing else.
        return self._opened[1].copy()

    @panel.setter
    def panel(self, panel: DataPanel) -> None:
        storage.save(panel, self.path / "panel")

    @property
    def has_panel(self) -> bool:
        """Whether a panel was saved here."""
        return (self.path / "panel" / CURRENT).exists()

    @cached_property
    def feedback(self) -> Feedback:
        """The log of what people said."""
        return Feedback(self.path / "feedback.db", author=self._author)

    @property
    def has_feedback(self) -> bool:
        """Whether anybody has opened its log yet."""
        return (self.path / "feedback.db").exists()

    def status(self) -> Status:
        """Return what there is, in figures."""
        return status_of(self)

    # What is done with it

    def fit(self, model: Model, rows: Rows = None, *, name: str = "", **settings: Any) -> Run:
        """Train a classifier plainly on rows of the panel, as a run of this workbench; see `workbench.fit`.

        Parameters
        ----------
        model : Classifier, Run or str
            Where to start; text is the name of a model, or the name or id of a run.
        rows : DataPanel, str or None
            Rows to train on, or a condition that chooses them from the panel; all of it if None.
        name : str
            What the run is called.
        **settings
            As for `workbench.fit`.
        """
        from .finetuning import fit

        return fit(self.classifier(model), self.rows(rows), name=name, folder=self.path / "runs", **settings)

    def finetune(self, model: Model, rows: Rows = None, *, name: str = "", **settings: Any) -> Run:
        """Fine-tune a classifier by the feedback of this workbench, as a run of it; see `workbench.finetune`.

        Parameters
        ----------
        model, rows, name
            As for `fit`.
        **settings
            As for `workbench.finetune`.
        """
        from .finetuning import finetune

        start = self.classifier(model)
        return finetune(start, self.rows(rows), self.feedback, name=name, folder=self.path / "runs", **settings)

    def compare(
        self, before: Model, after: Model, rows: Rows = None, *, source: str | None = None, **settings: Any
    ) -> Comparison:
        """Compare two models on rows of the panel; see `workbench.compare`.

        Parameters
        ----------
        before, after : Classifier, Run or str
            As for `fit`.
        rows : DataPanel, str or None
            As for `fit`; None are those that neither was trained on, nor what they came from.
        source : str, optional
            Column of the panel that copies of one original share: copies of what was trained on are not judged by
            either. If left out, that of the runs that are compared, where they were given one.
        **settings
            As for `workbench.compare`. Where ``irrelevant=`` is left out and the judged rows have marks in the log,
            these are taken.

        Raises
        ------
        OverlapError
            If rows share their original with one that a model has seen. Else as for `workbench.compare`.
        """
        from .comparison import compare

        first, second = self._made(before), self._made(after)
        judged = self.unseen(first, second, source=source) if rows is None else self.rows(rows)
        if rows is not None and not settings.get("seen_rows_too"):
            made = [first, second]
            check_copies(judged, self._seen(made), self.panel if self.has_panel else judged, source or _source_of(made))
        if settings.get("irrelevant") is None:
            on = self.classifier(first).on
            said = self.feedback.regions(column=on) if self.has_feedback else {}
            if not said.keys().isdisjoint(judged.key.to_list()):
                settings["irrelevant"] = self.feedback.column(judged, column=on)
        return compare(judged, first, second, runs=self.runs.path, **settings)

    def replay(self, run: Run | str, **given: Any) -> Replay:
        """Do a run again with the panel and the feedback of this workbench, and compare the weights.

        Parameters
        ----------
        run : Run or str
            Of this workbench.
        **given
            As for `Run.replay`: ``validation=``, where its rows were not in the panel.

        Returns
        -------
        Replay
            Whether the weights are the same to the last bit, and else what differs.

        Raises
        ------
        RunError
            If the panel's data are no longer those of the run, in any version kept.
        """
        told = self.runs[run] if isinstance(run, str) else run
        log = self.feedback if told.record.feedback is not None else None
        place = self.path / "panel"
        trouble: WorkbenchError | None = None
        for version in reversed(storage.versions(place)):
            try:
                return told.replay(storage.open(place, version, base=self._base), log, **given)
            except WorkbenchError as error:
                trouble = trouble or error
        assert trouble is not None
        raise trouble

    # What words mean

    def classifier(self, model: Model) -> Classifier:
        """Return the classifier that is meant by itself, by a run, or by a name."""
        made = self._made(model)
        return made.model if isinstance(made, Run) else made

    def rows(self, rows: Rows) -> DataPanel:
        """Return the rows that are meant by themselves, by a condition, or by nothing: all."""
        return self.panel if rows is None else self.panel.where(rows) if isinstance(rows, str) else rows

    def unseen(self, *models: Model, source: str | None = None) -> DataPanel:
        """Return the rows of the panel that none of some models, nor what they came from, was trained or chosen on.

        Nor copies of these; `source` as for `compare`.
        """
        panel, made = self.panel, [self._made(model) for model in models]
        kept: DataPanel = panel[~kin_of(panel, self._seen(made), panel, source or _source_of(made))]
        if not len(kept):
            raise PanelError(
                "Models are compared on rows that they were not trained on, and there are none in the panel; say which "
                "rows to use all the same."
            )
        return kept

    def _seen(self, made: Sequence[Classifier | Run]) -> frozenset[str]:
        return frozenset().union(*(seen_by(one, self.runs.path) for one in made))

    def _made(self, model: Model) -> Classifier | Run:
        """Return the run or the classifier that is meant."""
        if not isinstance(model, str):
            return model
        if model in self.models and model in self.runs:
            raise NotHereError(
                f"'{model}' is a model and a run; say which: bench.models['{model}'] or bench.runs['{model}']."
            )
        if model in self.models:
            return self.models[model]
        if model in self.runs:
            return self.runs[model]
        raise self.runs.lost(model, also=list(self.models))

    # As a context: results of costly columns survive the process

    def __enter__(self) -> Self:
        from columns import keep_results

        self._entered.enter_context(keep_results(self.path / "results"))
        return self

    def __exit__(self, *what: object) -> None:
        self._entered.close()

    def __repr__(self) -> str:
        return f"Workbench('{self.path}')\n{self.status()}"


def _source_of(made: Sequence[Classifier | Run]) -> str | None:
    """Return the column by which one of some runs was told copies of one original."""
    told = (run.record.call.get("source") for run in made if isinstance(run, Run))
    return next((str(one["value"]) for one in told if isinstance(one, dict) and one.get("value")), None)

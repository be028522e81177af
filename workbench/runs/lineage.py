"""Which run a model came from, and which rows it has seen on the way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import pyarrow as pa

from ..classifier import Classifier
from ..errors import RunFileError

if TYPE_CHECKING:
    from ..record import Training
    from .run import Run

__all__ = ["Maker", "inherit", "maker_of", "parent_of", "remember", "runs_around", "seen_by", "stored_maker"]


@dataclass(frozen=True, eq=False)
class Maker:
    """The run that made a classifier.

    It holds no model and no data, so that a model may keep those of all its forebears.

    Attributes
    ----------
    run, weights : str
        Its id, and the digest of the weights that it made; empty where only the run is known.
    rows : callable or None
        Returns the keys of its rows, "key", and what was done with each, "part"; None where that must be looked up.
    parent : Maker or None
        Of the classifier that it started from.
    folder : Path or None
        Directory of runs in which it lies, and perhaps those that it came from.
    """

    run: str
    weights: str = ""
    rows: Callable[[], pa.Table] | None = None
    parent: Maker | None = None
    folder: Path | None = None

    @cached_property
    def seen(self) -> frozenset[str]:
        """Keys of the rows that were trained on, or held out to choose the state by; not those of its parents."""
        if self.rows is None:
            return frozenset()
        table = self.rows()
        return frozenset(table.filter(table["part"].is_valid())["key"].to_pylist())


_makers: WeakKeyDictionary[Classifier, Maker] = WeakKeyDictionary()
# For models that know no more than the id of their run: those that were saved and opened.
_known: WeakValueDictionary[str, Maker] = WeakValueDictionary()


def remember(model: Classifier, maker: Maker) -> None:
    """Remember which run made a classifier."""
    _makers[model] = maker
    if maker.rows is not None:
        _known[maker.run] = maker


def inherit(model: Classifier, other: Classifier) -> None:
    """Remember that a classifier is a copy of another one: it has seen the same rows."""
    maker = _makers.get(other)
    if maker is not None:
        _makers[model] = maker


def maker_of(model: Classifier | Run | Training | str) -> Maker | None:
    """Return the run that a classifier came from, that a training is, or that has an id; None if nobody knows."""
    if isinstance(model, str):
        return _known.get(model, Maker(model))
    if isinstance(model, Classifier):
        return _makers.get(model)
    maker: Maker | None = getattr(model, "maker", None)
    return maker if maker is not None else _makers.get(model.model)


def parent_of(model: Classifier, weights: str, told: Run | str | None = None) -> dict[str, Any] | None:
    """Return the run that a classifier came from, as a record keeps it.

    Parameters
    ----------
    model : Classifier
        Where a new run starts.
    weights : str
        Digest of its weights now.
    told : Run or str, optional
        Which run, if somebody says so.

    Returns
    -------
    dict or None
        "run", its id, and "same": whether the weights are still those that it made; None if nobody knows.
    """
    if isinstance(told, str):
        return {"run": told, "same": None}
    if told is not None:
        return {"run": told.id, "same": told.record.after == weights}
    maker = _makers.get(model)
    return None if maker is None else {"run": maker.run, "same": maker.weights == weights}


def seen_by(
    model: Classifier | Run | Training, runs: Mapping[str, Run] | str | os.PathLike[str] | None = None
) -> frozenset[str]:
    """Return the keys of the rows that a model has seen: trained on, or held out to choose its state by.

    Those of the runs that it came from count as well, as far as they are known: in this process, in the directory of
    runs in which a run lies, or in `runs`. A copy of a model has seen what the model has, and so has one that was saved
    and opened, whose file keeps the id of its run.

    Parameters
    ----------
    model : Classifier, Run or Training
        A classifier that no run has made, and a training that no run recorded, cannot tell.
    runs : mapping of str to Run, str or Path, optional
        Runs by id, or a directory of runs, where those are found that are known by their id alone.

    Returns
    -------
    frozenset of str

    Raises
    ------
    RunFileError
        If a run is on disk and its rows cannot be read.

    Examples
    --------
    >>> import torch
    >>> import workbench as wb
    >>> labels = wb.ScalarColumn([0, 1, 1], classes=("low", "high"))
    >>> panel = wb.DataPanel({"x": torch.eye(3), "label": labels}, origin="toy")
    >>> model = Classifier(torch.nn.Linear(3, 2), classes=("low", "high"), on="x")
    >>> run = wb.fit(model, panel[:2], steps=1, batch_size=2, progress=False)
    >>> sorted(seen_by(run)), sorted(seen_by(run.model.copy())), sorted(seen_by(model))
    (['toy/0', 'toy/1'], ['toy/0', 'toy/1'], [])
    """
    seen: set[str] = set()
    walked: set[str] = set()
    maker, folder = maker_of(model), None
    while maker is not None and maker.run not in walked:
        walked.add(maker.run)
        told = maker if maker.rows is not None else _found(maker, folder, runs)
        if told is None:
            break
        seen |= told.seen
        maker, folder = told.parent, told.folder or folder
    return frozenset(seen)


def stored_maker(root: Path) -> Maker:
    """Return the run in a directory, with what it came from by its id."""
    from .folder import RunFolder

    folder = RunFolder(root)
    record = folder.record()
    came = None if record.parent is None else record.parent.get("run")
    parent = Maker(came, folder=folder.root.parent) if isinstance(came, str) else None
    return Maker(record.id, record.after, folder.rows, parent, folder.root.parent)


def runs_around(model: Path) -> Path | None:
    """Return the directory of runs that a model's directory lies in, if it is that of a run."""
    from .folder import RECORD

    return model.parent.parent if (model.parent / RECORD).exists() else None


def _found(maker: Maker, folder: Path | None, runs: Mapping[str, Run] | str | os.PathLike[str] | None) -> Maker | None:
    """Look a run up of which no more than the id is known."""
    known = _known.get(maker.run)
    if known is not None:
        return known
    places = [maker.folder, folder]
    if isinstance(runs, Mapping):
        run = runs.get(maker.run)
        if run is not None:
            return run.maker
    elif runs is not None:
        places.append(Path(runs))
    for place in dict.fromkeys(place for place in places if place is not None):
        for root in _directories(place, maker.run):
            try:
                found = stored_maker(root)
            except RunFileError:
                continue  # another run, for all that is known, and damaged
            if found.run == maker.run:
                return found
    return None


def _directories(folder: Path, run: str) -> Iterator[Path]:
    """Directories of runs, first the one that should be it: a run may have been saved under another name."""
    from .folder import RECORD

    if (folder / run / RECORD).exists():
        yield folder / run
    yield from (path.parent for path in sorted(folder.glob(f"*/{RECORD}")))

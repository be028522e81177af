"""The rows that a view trains on, and those that it judges by: chosen once, apart, and told in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..apart import originals_of
from ..errors import PanelError
from ..runs.lineage import seen_by
from ..schedule import hold_out
from ..where import condition

if TYPE_CHECKING:
    from ..classifier import Classifier
    from ..panel import DataPanel

__all__ = ["Rows", "Sides", "sides_of"]

Rows: TypeAlias = "DataPanel | str | None"

_SPLIT, _TRAIN, _SOURCE = "split", "train", "source"
_JUDGED = 0.2  # share of the originals that is held out, where nothing says which rows to judge by
_FEWEST = 5  # originals of which some can be held out


@dataclass(frozen=True, eq=False)
class Sides:
    """Rows to train on, and rows to judge by.

    Attributes
    ----------
    trained, judged : DataPanel
        The rows; none to judge by, if there are no others.
    judged_rows : ndarray, shape (judged rows,), int64
        Their numbers in the panel of the view; -1 for a row that is not in it.
    source : str or None
        Column that copies of one original share.
    words : str
        Which rows these are.
    """

    trained: DataPanel
    judged: DataPanel
    judged_rows: NDArray[np.int64]
    source: str | None
    words: str


def sides_of(
    panel: DataPanel,
    model: Classifier,
    *,
    train: Rows = None,
    judged: Rows = None,
    source: str | None = None,
    runs: Any = None,
) -> Sides:
    """Choose the rows to train on and those to judge by.

    Parameters
    ----------
    panel : DataPanel
        Of the view.
    model : Classifier
        That is to be trained; rows that a run of it has seen are not judged by, where there are others.
    train, judged : DataPanel, str or None
        Rows, or a condition that chooses them from the panel. Of one that is left out: all that the other leaves. Of
        both: as a column "split" says, in which some rows are "train"; else what the model has seen and has not seen;
        else a fifth of the originals is held out to judge by, always the same.
    source : str, optional
        Column that copies of one original share; "source", if there is such a column and it is full.
    runs : optional
        Where runs are found; see `workbench.compare`.

    Returns
    -------
    Sides

    Raises
    ------
    PanelError
        If there is no row to train on, or a condition cannot be read.

    Examples
    --------
    >>> from torch import nn
    >>> from workbench import Classifier, DataPanel
    >>> panel = DataPanel({"x": [1.0, 2.0, 3.0], "split": ["train", "test", "train"]}, origin="toy")
    >>> model = Classifier(nn.Linear(1, 2), classes=("low", "high"), on="x")
    >>> sides = sides_of(panel, model)
    >>> sides.words
    "Trained on the 2 rows whose split is 'train', and judged on the 1 other."
    >>> sides_of(panel, model, train="x < 2").judged_rows.tolist()
    [1, 2]
    """
    source = _source(panel, source)
    first, second = _numbers(panel, train), _numbers(panel, judged)
    if first is None and second is None:
        first, second, words = _by_itself(panel, model, source, runs)
    elif second is None:
        second, words = _others(panel, first, train, source), _told(train, "the others")
    elif first is None:
        first, words = _others(panel, second, judged, source), _told("the others", judged)
    else:
        words = _told(train, judged)
    trained = panel[first] if train is None or isinstance(train, str) else train
    by = panel[second] if judged is None or isinstance(judged, str) else judged
    if not len(trained):
        raise PanelError(f"There is no row to train on. {words.format(0, len(by))}")
    return Sides(trained, by, second, source, words.format(f"{len(trained):,}", f"{len(by):,}"))


def _by_itself(
    panel: DataPanel, model: Classifier, source: str | None, runs: Any
) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
    """Return the numbers of the rows of both sides, where nobody said which; and words for how many there are."""
    if _SPLIT in panel:
        values = np.array(panel[_SPLIT].to_list(), dtype=object)
        known = np.array([value is not None for value in values])
        train = values == _TRAIN
        if train.any():
            words = "Trained on the {} rows whose split is 'train', and judged on the {} other."
            return np.flatnonzero(train), np.flatnonzero(known & ~train), words
    seen = seen_by(model, runs)
    there = np.array([key in seen for key in panel.key.to_list()], dtype=bool) if seen else np.zeros(len(panel), bool)
    if there.any() and not there.all():
        words = "Trained on the {} rows that the model has seen already, and judged on the {} that it has not."
        return np.flatnonzero(there), np.flatnonzero(~there), words
    units = np.arange(len(panel))
    if source is not None:
        units = originals_of(panel, source).to_numpy(zero_copy_only=False)
    if len(np.unique(units)) < _FEWEST:
        return np.arange(len(panel)), np.zeros(0, np.int64), "Trained on all {} rows, as they are too few to part."
    kept, held = hold_out(units, _JUDGED, seed=0)
    apart = "" if source is None else f", copies of one '{source}' together"
    return kept, held, f"Trained on {{}} rows, and judged on {{}} that are held out{apart}."


def _source(panel: DataPanel, source: str | None) -> str | None:
    if source is not None:
        panel[source]  # told with the nearest name if it is not there
        return source
    if _SOURCE not in panel or panel.kind(_SOURCE) not in ("scalar", "text"):
        return None
    return None if originals_of(panel, _SOURCE).null_count else _SOURCE


def _numbers(panel: DataPanel, rows: Rows) -> NDArray[np.int64] | None:
    """Return the numbers that rows have in the panel, -1 for those that it has not; None where nothing is said."""
    if rows is None:
        return None
    if not isinstance(rows, str):
        place = {key: row for row, key in reversed(list(enumerate(panel.key.to_list())))}
        return np.array([place.get(key, -1) for key in rows.key.to_list()], np.int64)
    panel.where(rows)  # which says what is wrong with it
    chosen = condition(panel, rows)
    if isinstance(chosen, bool):
        return np.arange(len(panel) if chosen else 0)
    return np.flatnonzero(pc.fill_null(chosen.to_arrow(), False).to_numpy(zero_copy_only=False)).astype(np.int64)


def _others(panel: DataPanel, rows: NDArray[np.int64] | None, given: Rows, source: str | None) -> NDArray[np.int64]:
    """Return the rows that are not among some, nor copies of one of them."""
    assert rows is not None
    left = np.ones(len(panel), bool)
    left[rows[rows >= 0]] = False
    if source is not None:
        originals = originals_of(panel, source)
        taken = originals.filter(pa.array(~left))
        left &= ~pc.is_in(originals, value_set=taken).to_numpy(zero_copy_only=False)
    return np.flatnonzero(left)


def _told(train: Rows, judged: Rows) -> str:
    def words(rows: Rows) -> str:
        if rows == "the others":
            return "{} others"
        if not isinstance(rows, str):
            return "{} rows that were given"
        return f"{{}} rows where {rows.replace('{', '{{').replace('}', '}}')}"

    return f"Trained on {words(train)}, and judged on {words(judged)}."

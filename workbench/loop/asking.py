"""Choosing the rows of a round: most by the query, one in k by the groups of like explanations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..classifier import Classifier
from ..errors import LoopError
from .candidates import Candidates
from .queries import QUERIES, Query

if TYPE_CHECKING:
    from ..panel import DataPanel

__all__ = ["GUIDE", "chosen", "gathered"]

# The query that one in k rows is chosen by.
GUIDE = "clusters"

# Answered rows that candidates are compared with, the latest: enough to know which groups have been asked about.
_REMEMBERED = 500


def gathered(
    panel: DataPanel,
    answered: NDArray[np.int64],
    most: int,
    model: Classifier,
    *,
    labels: NDArray[np.int64] | None = None,
    method: str,
    target: str,
    seed: int,
    round: int,
) -> Candidates:
    """Draw the candidates of a round, and put the answered rows beside them.

    Parameters
    ----------
    panel : DataPanel
        All rows.
    answered : ndarray, int64
        Rows answered in earlier rounds, in order.
    most : int
        Candidates to draw, where there are more.
    model : Classifier
        As trained so far.
    labels : ndarray, shape (rows,), int64, optional
        Class numbers of all rows, -1 where they are not known.
    method, target, seed, round
        As for `Candidates`.

    Returns
    -------
    Candidates
        Without rows that are null, which nothing can be asked about.
    """
    missing = panel[model.on].is_null().to_numpy().astype(np.bool_)
    free = np.setdiff1d(np.flatnonzero(~missing), answered)
    if len(free) > most:
        free = np.sort(np.random.default_rng([seed, round]).choice(free, most, replace=False))
    rows = np.concatenate([free, answered[-_REMEMBERED:]]).astype(np.int64)
    known = np.arange(len(rows)) >= len(free)
    some = None if labels is None else labels[rows]
    return Candidates(panel[rows], known, model, labels=some, method=method, target=target, seed=seed, round=round)


def chosen(
    candidates: Candidates, query: Query, name: str, count: int, guided_every: int | None, before: int
) -> Mapping[int, str]:
    """Choose rows: every `guided_every`-th by the guide, the others by the query.

    Parameters
    ----------
    candidates : Candidates
        The rows to choose from.
    query : Query
        Gives the scores.
    name : str
        Its name.
    count : int
        How many.
    guided_every : int or None
        Of how many rows one is chosen by the guide; None never does.
    before : int
        Rows that were asked about in earlier rounds: the count of the guide goes on over rounds.

    Returns
    -------
    mapping of int to str
        Candidates in the order in which to ask, and what chose each.
    """
    guided = [guided_every is not None and (before + place) % guided_every == 0 for place in range(count)]
    orders: dict[str, list[int]] = {}
    if any(guided):
        orders[GUIDE] = _ranked(candidates, QUERIES[GUIDE])
    if not all(guided) and name not in orders:
        orders[name] = _ranked(candidates, query)
    found: dict[int, str] = {}
    for by_guide in guided:
        who = GUIDE if by_guide else name
        # Where one of them has nothing left to say, the other goes on.
        for asked in (who, *(other for other in orders if other != who)):
            row = next((row for row in orders[asked] if row not in found), None)
            if row is not None:
                found[row] = asked
                break
    return found


def _ranked(candidates: Candidates, query: Query) -> list[int]:
    """Return candidates that may be asked about, the highest score first, of equal ones the earlier row."""
    scores = np.asarray(query(candidates), np.float64)
    if scores.shape != (len(candidates),):
        raise LoopError(
            f"A query must give one score for each of {len(candidates)} candidates; got shape {scores.shape}."
        )
    scores = np.where(np.isnan(scores) | candidates.answered, -np.inf, scores)
    order = np.argsort(-scores, kind="stable")
    return [int(row) for row in order if scores[row] > -np.inf]

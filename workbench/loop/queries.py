"""Queries: which rows to ask about next. Each gives a score to every candidate; the highest are asked first.

================  ==========================================================================================
name              asks about rows
================  ==========================================================================================
``random``        drawn by chance: the baseline
``uncertainty``   whose prediction has the largest entropy
``margin``        whose two likeliest classes are closest
``disagreement``  whose explanations by two methods (or two models, or dropout) differ most
``clusters``      that are typical of a group of like explanations of which little has been asked
``instability``   whose prediction changes most when the top region of its explanation is refilled
================  ==========================================================================================

A query of one's own is a function of `Candidates`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import explain

from ..classifier import Classifier
from ..errors import LoopError
from .candidates import Candidates, dropping, like_groups

__all__ = ["QUERIES", "Candidates", "Disagreement", "Instability", "Query", "query_named"]

Scores: TypeAlias = NDArray[np.float64]
Query: TypeAlias = Callable[[Candidates], Scores]


def random(rows: Candidates) -> Scores:
    """Score candidates by chance."""
    return np.random.default_rng([rows.seed, rows.round]).random(len(rows))


def uncertainty(rows: Candidates) -> Scores:
    """Score candidates by the entropy of their prediction, in nats."""
    p = rows.probabilities
    return np.asarray(torch.special.entr(p).sum(dim=1).numpy())


def margin(rows: Candidates) -> Scores:
    """Score candidates by how close their two likeliest classes are: 1 less the difference in probability."""
    p = rows.probabilities
    if p.shape[1] < 2:
        return np.zeros(len(p))
    top = p.topk(2, dim=1).values
    return np.asarray((1 - top[:, 0] + top[:, 1]).numpy())


def clusters(rows: Candidates) -> Scores:
    """Score candidates so that every way of reasoning is asked about, after [1]_ and [2]_.

    Explanations are grouped. Turn by turn, the group about which least has been answered or chosen so far (the
    larger of equals) gives the most typical of its candidates that are left. So also what the model is sure of is
    shown, and a person who sees only the doubtful rows does not come to think that these are all there is. Rows that
    the model is known to get wrong come last in their group: the reason for a wrong answer is beside the point.

    References
    ----------
    .. [1] T. Popordanoska, M. Kumar, S. Teso, "Machine Guides, Human Supervises: Interactive Learning with Global
       Explanations", 2020.
    .. [2] S. Lapuschkin et al., "Unmasking Clever Hans predictors and assessing what machines really learn",
       Nature Communications 2019.
    """
    maps = rows.maps()
    groups = like_groups(maps, rows.seed)
    scores = np.full(len(rows), -np.inf)
    waiting: list[list[int]] = []
    spoken: list[int] = []
    for group in range(int(groups.max()) + 1 if len(groups) else 0):
        members = np.flatnonzero(groups == group)
        typical = (maps[members] @ maps[members].sum(dim=0)).numpy()
        order = members[np.lexsort((-typical, rows.wrong[members]))]
        waiting.append([int(row) for row in order if not rows.answered[row]])
        spoken.append(int(rows.answered[members].sum()))
    turn = 0
    while any(waiting):
        able = [group for group, left in enumerate(waiting) if left]
        group = min(able, key=lambda g: (spoken[g], g))
        scores[waiting[group].pop(0)] = -turn
        spoken[group] += 1
        turn += 1
    return scores


@dataclass(frozen=True, eq=False)
class Disagreement:
    """Asks about rows whose explanations disagree: 1 less their mean cosine.

    Between methods; or by one method between the model and others, or between passes with dropout.

    Attributes
    ----------
    methods : tuple of str
        Of `explain.METHODS`; by the first where models are compared.
    others : tuple of Classifier
        Models to compare with.
    passes : int
        Passes with dropout, at least 2; 0 does without.
    """

    methods: tuple[str, ...] = ("gradient_times_input", "integrated_gradients")
    others: tuple[Classifier, ...] = ()
    passes: int = 0

    def __post_init__(self) -> None:
        views = len(self.methods) * (1 + len(self.others)) if not self.passes else self.passes
        if not self.methods or views < 2:
            raise LoopError(
                "A disagreement needs two methods, another model, or two passes with dropout; got methods "
                f"{self.methods}, {len(self.others)} other models and {self.passes} passes."
            )

    def __call__(self, rows: Candidates) -> Scores:
        """Score candidates by how much their explanations disagree."""
        if self.passes:
            with dropping(rows.model):
                views = [rows.fresh_maps(self.methods[0], seed=number) for number in range(self.passes)]
        elif self.others:
            views = [rows.maps(self.methods[0])]
            views += [rows.fresh_maps(self.methods[0], model=other) for other in self.others]
        else:
            views = [rows.maps(method) for method in self.methods]
        # Of unit vectors: the squared length of their sum holds the sum of all their cosines.
        together = torch.stack(views).sum(dim=0).square().sum(dim=1)
        there = torch.stack([view.any(dim=1) for view in views]).sum(dim=0)
        pairs = len(views) * (len(views) - 1)
        scores: Scores = (1 - (together - there) / pairs).numpy()
        return np.where(there.numpy() > 0, scores, -np.inf)


@dataclass(frozen=True)
class Instability:
    """Asks about rows whose prediction depends most on the top region of their explanation.

    The region is refilled from other rows; the score is how much probability the class predicted loses, on average.

    Attributes
    ----------
    share : float
        Of the places of a row that make its top region, in (0, 1).
    draws : int
        Refills of each row.
    """

    share: float = 0.02
    draws: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.share < 1 or self.draws < 1:
            raise LoopError(f"`share` must lie in (0, 1) and `draws` be at least 1; got {self.share} and {self.draws}.")

    def __call__(self, rows: Candidates) -> Scores:
        """Score candidates by the probability that their prediction loses."""
        generator = torch.Generator().manual_seed(rows.seed)
        lost = torch.full((len(rows),), -torch.inf, dtype=torch.float64)
        for places, inputs in rows.batches():
            top = self._top(rows.explained(inputs)).to(inputs.device)
            before = rows.predicted(inputs)
            answer = before.argmax(dim=1, keepdim=True)
            after = torch.zeros(len(inputs), dtype=torch.float64)
            for _ in range(self.draws):
                refilled = explain.swap(inputs, top, generator)
                after += rows.predicted(refilled).gather(1, answer)[:, 0]
            lost[places] = before.gather(1, answer)[:, 0] - after / self.draws
        return np.asarray(lost.numpy())

    def _top(self, scores: Tensor) -> Tensor:
        """Return the places with the largest magnitudes: (rows, height, width) or (rows, features), bool."""
        size = scores.abs().sum(dim=1) if scores.ndim == 4 else scores.abs()
        flat = size.flatten(1)
        count = max(1, round(self.share * flat.shape[1]))
        marked = torch.zeros_like(flat, dtype=torch.bool).scatter_(1, flat.topk(count, dim=1).indices, True)
        return marked.view_as(size)


QUERIES: Mapping[str, Query] = MappingProxyType(
    {
        "random": random,
        "uncertainty": uncertainty,
        "margin": margin,
        "disagreement": Disagreement(),
        "clusters": clusters,
        "instability": Instability(),
    }
)


def query_named(query: str | Query) -> tuple[str, Query]:
    """Return a query and its name.

    Raises
    ------
    LoopError
        If there is none of that name; tells which there are.
    """
    if callable(query):
        return getattr(query, "__name__", type(query).__name__).lower(), query
    if query not in QUERIES:
        raise LoopError(f"`query` must be one of {', '.join(QUERIES)}, or a function of Candidates; got {query!r}.")
    return query, QUERIES[query]

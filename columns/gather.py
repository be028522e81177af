"""Gathering: rows of an expression whose costly parts are there, read and put in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from .causes import Cause
from .demand import Target, concat_parts, kept_rows
from .errors import FunctionError
from .expression import Concat, Node, Op, Pick, Source, Take
from .memo import MISSING
from .selection import Selection
from .sources import SlowSource
from .values import Values, concatenate

__all__ = ["gather"]


def gather(targets: Sequence[Target]) -> tuple[list[Values], list[Cause]]:
    """Return the values of `targets`, whose missing rows have been computed, and the rows that failed to be read.

    Iterative, and each node is read once for the same rows: expressions may be deep, and share much.
    """
    needs: dict[tuple[Node, int], list[Target]] = {}
    order: list[Target] = []
    stack: list[tuple[Target, bool]] = [(t, False) for t in targets]
    while stack:
        (node, rows), ready = stack.pop()
        key = (node, id(rows))
        if ready:
            order.append((node, rows))
        elif key not in needs:
            # Held in `needs` and `order`, so that the ids of selections stay theirs until the end.
            needs[key] = _inputs(node, rows)
            stack.append(((node, rows), True))
            stack.extend((inner, False) for inner in needs[key])
    # How often each is still to be used: a long chain of operations must not hold every column between.
    users = Counter((n, id(r)) for inner in (*needs.values(), targets) for n, r in inner)
    done: dict[tuple[Node, int], Values] = {}
    failures: list[Cause] = []
    for node, rows in order:
        inner = needs[node, id(rows)]
        done[node, id(rows)] = _combine(node, rows, [done[n, id(r)] for n, r in inner], failures)
        for n, r in inner:
            users[n, id(r)] -= 1
            if not users[n, id(r)]:
                del done[n, id(r)]
    return [done[node, id(rows)] for node, rows in targets], failures


def _inputs(node: Node, rows: Selection) -> list[Target]:
    if isinstance(node, Op):
        return [(inner, rows) for inner in node.inputs]
    if isinstance(node, Take):
        below = node.selection.compose(rows)
        if below.nullable:
            index = below.indices()
            below = Selection(index[index >= 0])
        return [(node.inputs[0], below)]
    if isinstance(node, Concat):
        parts = concat_parts(node, rows)
        return [(part, inner) for part, _, inner in parts] or [(node.inputs[0], Selection(range(0)))]
    return []


def _combine(node: Node, rows: Selection, inputs: list[Values], failures: list[Cause]) -> Values:
    if isinstance(node, Source):
        if not isinstance(node.source, SlowSource):
            return node.source.read(rows)
        values, failed = node.source.start(rows).finish()
        failures.extend(Cause(failed[p], node, rows.at(p)) for p in sorted(failed))
        return values
    if isinstance(node, Pick):
        kept = kept_rows(node)
        if (kept.state[rows.indices()] == MISSING).any():
            # Never null for want of a value: a function that changes its own model, or asks for its own result.
            raise FunctionError(f"`{node!r}` lost rows while they were computed: its model or files changed meanwhile.")
        return kept.read(rows)
    if isinstance(node, Op):
        return node.operation(*inputs)
    if isinstance(node, Take):
        below = node.selection.compose(rows)
        if not below.nullable:
            return inputs[0]
        there = below.indices() >= 0
        back = np.where(there, np.cumsum(there) - 1, -1)
        return inputs[0].take(Selection(back))
    assert isinstance(node, Concat)
    return _joined(node, rows, inputs)


def _joined(node: Concat, rows: Selection, inputs: list[Values]) -> Values:
    parts = concat_parts(node, rows)
    together = concatenate(inputs)
    if all(isinstance(positions, slice) for _, positions, _ in parts):
        return together
    order = np.concatenate([p for _, p, _ in parts if isinstance(p, np.ndarray)])
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return together.take(Selection(back))

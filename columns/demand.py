"""What must be computed: from the rows asked for, down to the rows that are missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .causes import Cause
from .expression import Concat, Map, Node, Op, Pick, Source, Take, digests, walk
from .functions import weights_digest, weights_stamp
from .memo import FAILED, MISSING, KeptRows, Memo
from .results import results_directory, results_kept
from .selection import Selection
from .sources import SlowSource

__all__ = ["Pass", "StoredFailure", "concat_parts", "kept_rows", "missing_rows", "passes_over"]

Target = tuple[Node, Selection]

_FULL_HASH_BYTES = 32 << 20  # below this, all weights are hashed when a memo begins (a few milliseconds)


@dataclass(frozen=True)
class StoredFailure:
    """A row that failed before and stays failed until it is tried again."""

    node: Pick
    row: int
    cause: Cause


@dataclass
class Pass:
    """Outputs of maps over aligned rows, computed in one go.

    Attributes
    ----------
    picks : dict of Pick to ndarray of int64
        The missing rows of each output, ascending.
    """

    picks: dict[Pick, NDArray[np.int64]]

    def groups(self) -> Iterable[tuple[list[Pick], NDArray[np.int64]]]:
        """Yield the rows by their pattern of missing outputs: each group is one uniform run.

        Sharing falls out: outputs that miss the same rows are computed together, from inputs read once.
        """
        picks = list(self.picks)
        distinct: list[NDArray[np.int64]] = []
        which: dict[Pick, int] = {}
        for pick in picks:
            rows = self.picks[pick]
            for number, other in enumerate(distinct):
                if rows is other or np.array_equal(rows, other):
                    which[pick] = number
                    break
            else:
                which[pick] = len(distinct)
                distinct.append(rows)
        if len(distinct) == 1:
            yield picks, distinct[0]
            return
        universe = np.unique(np.concatenate(distinct))
        code = np.zeros(len(universe), np.int64)
        members = []
        for rows in distinct:
            member = np.isin(universe, rows, assume_unique=True)
            members.append(member)
            _, code = np.unique(code * 2 + member, return_inverse=True)
        for value in range(int(code.max()) + 1):
            here = code == value
            first = int(np.flatnonzero(here)[0])
            yield [p for p in picks if members[which[p]][first]], universe[here]


def _look_up_memos(nodes: Sequence[Node]) -> bool:
    """Give every map its memo, begun anew if the weights or files it holds for have changed.

    Says whether there is any map.
    """
    # A number for the state of each node that only grows, so that the sum over inputs changes whenever one of
    # them does: a memo's number stands for the weights and files of all that lies below it.
    state: dict[Node, int] = {}
    weights: dict[int, object] = {}
    content: dict[Node, str | None] | None = None
    found = False
    for node in nodes:  # inputs before users
        if isinstance(node, Source):
            state[node] = node.source.state()
            continue
        below = sum(state[i] for i in set(node.inputs))
        state[node] = below
        if not isinstance(node, Map):
            continue
        found = True
        modules = node.function.modules
        for module in modules:
            if id(module) not in weights:
                weights[id(module)] = weights_stamp([module])
        stamp = (below, [weights[id(m)] for m in modules])
        if node.memo is None or node.memo.stamp != stamp:
            if content is None:
                content = digests(nodes) if results_kept() else {}
            node.memo = Memo(node.length, node.function.outputs, results_directory(content.get(node)))
            node.memo.stamp = stamp
            if sum(t.nbytes for m in modules for t in m.parameters()) <= _FULL_HASH_BYTES:
                node.memo.weights = tuple(weights_digest(m) for m in modules)
        state[node] = node.memo.number
    return found


def kept_rows(pick: Pick) -> KeptRows:
    """Return the kept rows of an output whose memo has been looked up in this evaluation."""
    memo = pick.map.memo
    assert memo is not None
    return memo.outputs[pick.output]


def missing_rows(
    targets: Sequence[Target], *, retry: bool
) -> tuple[dict[Pick, NDArray[np.int64]], list[StoredFailure]]:
    """Return the rows of every output that must be computed before `targets` can be read.

    Returns
    -------
    missing : dict of Pick to ndarray of int64
        Ascending row numbers.
    failed : list of StoredFailure
        Rows needed that failed before; tried again only if `retry`.
    """
    nodes = list(walk(node for node, _ in targets))
    if not _look_up_memos(nodes):
        return {}, []
    if retry:
        for node in nodes:
            if isinstance(node, Source) and isinstance(node.source, SlowSource):
                node.source.failed.clear()
    demand = _Demand()
    for node, rows in targets:
        demand.add(node, rows)
    missing: dict[Pick, NDArray[np.int64]] = {}
    failed: list[StoredFailure] = []
    for node in reversed(nodes):  # users before what they use
        wanted = demand.pop(node)
        if not wanted or isinstance(node, Source):
            continue
        if isinstance(node, Pick):
            kept = kept_rows(node)
            rows_ = _union(wanted)
            state = kept.state[rows_]
            lost = rows_[state == FAILED]
            if lost.size and retry:
                kept.mark(lost, MISSING)
                state = kept.state[rows_]
            elif lost.size:
                causes = node.map.memo.failures if node.map.memo is not None else {}
                failed.extend(StoredFailure(node, int(r), causes[int(r)]) for r in lost)
            need = rows_[state == MISSING]
            if need.size:
                missing[node] = need
                demand.add(node.map, Selection(need))
        elif isinstance(node, Map):
            rows = Selection(_union(wanted))
            for name in node.function.in_advance:
                extra = Pick(node, name)
                state = kept_rows(extra).state[rows.indices()]
                missing[extra] = rows.indices()[state == MISSING]
            for inner in node.inputs:
                demand.add(inner, rows)
        elif isinstance(node, Op):
            for inner in node.inputs:
                for want in wanted:
                    demand.add(inner, want)
        elif isinstance(node, Take):
            for want in wanted:
                below = node.selection.compose(want)
                if below.nullable:
                    index = below.indices()
                    below = Selection(index[index >= 0])
                demand.add(node.inputs[0], below)
        elif isinstance(node, Concat):
            for want in wanted:
                for part, _, inner_rows in concat_parts(node, want):
                    demand.add(part, inner_rows)
    return missing, failed


class _Demand:
    """The rows wanted of each node; the same selection once, or diamonds would double the work at every step."""

    def __init__(self) -> None:
        self._of: dict[Node, dict[int, Selection]] = {}

    def add(self, node: Node, rows: Selection) -> None:
        """Note that some rows of a node are wanted."""
        self._of.setdefault(node, {})[id(rows)] = rows

    def pop(self, node: Node) -> list[Selection]:
        """Return what is wanted of a node, and forget it."""
        return list(self._of.pop(node, {}).values())


def concat_parts(node: Concat, rows: Selection) -> list[tuple[Node, NDArray[np.int64] | slice, Selection]]:
    """Return, for each part that `rows` touch: the part, the positions in `rows`, and the rows in the part."""
    r = rows.range
    found: list[tuple[Node, NDArray[np.int64] | slice, Selection]] = []
    if r is not None and r.step == 1:
        for part, start, stop in zip(node.inputs, node.starts[:-1], node.starts[1:], strict=True):
            low, high = max(r.start, start), min(r.stop, stop)
            if low < high:
                found.append((part, slice(low - r.start, high - r.start), Selection(range(low - start, high - start))))
        return found
    index = rows.indices()
    owner = np.searchsorted(np.array(node.starts, np.int64), index, side="right") - 1
    for number in np.unique(owner):
        positions = np.flatnonzero(owner == number)
        found.append((node.inputs[number], positions, Selection(index[positions] - node.starts[number])))
    return found


def passes_over(missing: dict[Pick, NDArray[np.int64]]) -> list[Pass]:
    """Return passes in the order in which they must run.

    Outputs whose rows are aligned (one is computed from the other, or both from a third, row by row) share a
    pass. Selections and concatenations change what a row number means: what lies below one is finished first.
    """
    stage: dict[Node, int] = {}
    unfinished: dict[Node, bool] = {}
    leader: dict[Node, Node] = {}

    def find(node: Node) -> Node:
        while leader[node] is not node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    for node in walk(missing):
        leader[node] = node
        below = max((stage[i] for i in node.inputs), default=0)
        unfinished[node] = node in missing or any(unfinished[i] for i in node.inputs)
        if isinstance(node, (Take, Concat)):
            stage[node] = below + any(unfinished[i] for i in node.inputs)
        else:
            stage[node] = below
            for inner in node.inputs:
                leader[find(inner)] = find(node)
    grouped: dict[tuple[int, Node], dict[Pick, NDArray[np.int64]]] = {}
    for pick, rows in missing.items():
        grouped.setdefault((stage[pick], find(pick)), {})[pick] = rows
    return [Pass(picks) for _, picks in sorted(grouped.items(), key=lambda item: item[0][0])]


def _union(selections: Sequence[Selection]) -> NDArray[np.int64]:
    """Return the row numbers of several selections, ascending, each once."""
    if len(selections) == 1 or all(s is selections[0] for s in selections):
        r = selections[0].range
        if r is not None:
            return np.arange(r.start, r.stop, r.step) if r.step > 0 else np.arange(r.start, r.stop, r.step)[::-1]
        return np.unique(selections[0].indices())
    return np.unique(np.concatenate([s.indices() for s in selections]))


def read_below(node: Node) -> list[Node]:
    """Return the nodes that reading `node` would reach if all its costly parts were there."""
    found, stack = [], [node]
    seen = {node}
    while stack:
        n = stack.pop()
        found.append(n)
        if not isinstance(n, Pick):
            fresh = [i for i in n.inputs if i not in seen]
            seen.update(fresh)
            stack.extend(fresh)
    return found


def rows_below(target: Target, below: Node) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions in `target` whose value rests on rows of the node `below`, and which rows those are."""
    node, rows = target
    there = rows.indices() >= 0
    above: dict[Node, list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = {
        node: [(np.flatnonzero(there), rows.indices()[there])]
    }
    found: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for n in reversed(list(walk([node]))):  # users before what they use
        for positions, index in above.pop(n, []):
            if n is below:
                found.append((positions, index))
            elif isinstance(n, Take):
                inner = n.selection.compose(Selection(index)).indices()
                there = inner >= 0
                above.setdefault(n.inputs[0], []).append((positions[there], inner[there]))
            elif isinstance(n, Concat):
                for part, where, rows_inside in concat_parts(n, Selection(index)):
                    above.setdefault(part, []).append((positions[where], rows_inside.indices()))
            else:
                for i in set(n.inputs):
                    entries = above.setdefault(i, [])
                    if not any(p is positions and r is index for p, r in entries):
                        entries.append((positions, index))
    if not found:
        return np.array([], np.int64), np.array([], np.int64)
    return np.concatenate([p for p, _ in found]), np.concatenate([r for _, r in found])


def failed_positions(target: Target) -> dict[int, Cause]:
    """Return the positions in `target` that rest on a row which failed before, and why it did."""
    found: dict[int, Cause] = {}
    for node in read_below(target[0]):
        if isinstance(node, Source) and isinstance(node.source, SlowSource) and node.source.failed:
            positions, rows = rows_below(target, node)
            for position, row in zip(positions.tolist(), rows.tolist(), strict=True):
                if row in node.source.failed:
                    found.setdefault(position, Cause(node.source.failed[row], node, row, told=True))
        if not isinstance(node, Pick) or node.map.memo is None or not node.map.memo.failures:
            continue
        state = kept_rows(node).state
        positions, rows = rows_below(target, node)
        lost = state[rows] == FAILED
        for position, row in zip(positions[lost].tolist(), rows[lost].tolist(), strict=True):
            found.setdefault(position, replace(node.map.memo.failures[row], told=True))
    return found

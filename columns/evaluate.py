"""The one place where expressions become values."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .demand import Target, concat_parts, missing_rows, passes_over
from .expression import Concat, Map, Node, Pick, Source, Take, walk
from .functions import weights_digest
from .gather import gather
from .passes import RowFailure, run_pass
from .selection import Selection
from .values import Values

__all__ = ["Evaluation", "RowFailure", "evaluate", "is_there", "positions_of", "refresh"]

# One evaluation at a time: memos and modules are shared by whoever asks. Readers work in threads beneath it.
_lock = threading.RLock()


@dataclass(frozen=True)
class Evaluation:
    """Values, one for each target, and the rows that failed."""

    values: list[Values]
    failures: list[RowFailure]


def evaluate(
    targets: Sequence[Target],
    *,
    stop: bool = True,
    retry: bool = False,
    read: bool = True,
    progress: Callable[[int], Callable[[int], None]] | None = None,
) -> Evaluation:
    """Compute what is missing of several targets in one go, and read them.

    Parameters
    ----------
    targets : sequence of (Node, Selection)
        What is asked for.
    stop : bool
        Stop at the first row that fails. Else such rows are null, and listed.
    retry : bool
        Try rows again that failed before.
    read : bool
        Return values; else only compute.
    progress : callable, optional
        Given the number of rows to compute, returns a function that is told how many are done.

    Returns
    -------
    Evaluation
        With `stop` and a failure, there are no values.
    """
    with _lock:
        missing, lost = missing_rows(targets, retry=retry)
        failures = [RowFailure(f.node, f.row, f.cause) for f in lost]
        if failures and stop:
            return Evaluation([], failures[:1])
        advance = progress(sum(len(r) for r in missing.values())) if progress and missing else None
        for work in passes_over(missing):
            failures += run_pass(work, stop=stop, advance=advance or _ignore)
            if failures and stop:
                return Evaluation([], failures[:1])
        if not read:
            return Evaluation([], failures)
        values, unread = gather(targets)
        failures += [RowFailure(f.node, f.row, f) for f in unread]
        if failures and stop:
            return Evaluation([], failures[:1])
        return Evaluation(values, failures)


def is_there(targets: Sequence[Target]) -> bool:
    """Say whether `targets` can be read without computing anything and without reading a file."""
    with _lock:
        if any(isinstance(n, Source) and n.source.slow for node, _ in targets for n in _read_below(node)):
            return False
        missing, failed = missing_rows(targets, retry=False)
        return not missing and not failed


def _ignore(rows: int) -> None:
    """Tell nobody."""


def _read_below(node: Node) -> list[Node]:
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


def positions_of(target: Target, failure: RowFailure) -> NDArray[np.int64]:
    """Return the positions in `target` whose value rests on the row that failed."""
    node, rows = target
    above: dict[Node, list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = {
        node: [(np.arange(len(rows)), rows.indices())]
    }
    found: list[NDArray[np.int64]] = []
    for n in reversed(list(walk([node]))):  # users before what they use
        for positions, index in above.pop(n, []):
            if n is failure.node:
                found.append(positions[index == failure.row])
            elif isinstance(n, Take):
                below = n.selection.compose(Selection(index)).indices()
                there = below >= 0
                above.setdefault(n.inputs[0], []).append((positions[there], below[there]))
            elif isinstance(n, Concat):
                for part, where, rows_inside in concat_parts(n, Selection(index)):
                    above.setdefault(part, []).append((positions[where], rows_inside.indices()))
            else:
                for inner in set(n.inputs):
                    entries = above.setdefault(inner, [])
                    if not any(p is positions and i is index for p, i in entries):
                        entries.append((positions, index))
    return np.unique(np.concatenate(found)) if found else np.array([], np.int64)


def refresh(nodes: Sequence[Node]) -> bool:
    """Look again at files and weights below `nodes`, all of them; drop what no longer holds.

    Returns
    -------
    bool
        Whether something had changed.
    """
    changed = False
    with _lock:
        for n in walk(nodes):
            if isinstance(n, Source):
                changed |= n.source.refresh()
            elif isinstance(n, Map) and n.memo is not None and n.function.modules:
                # Without a hash from before there is nothing to compare with: then it is computed again.
                full = tuple(weights_digest(m) for m in n.function.modules)
                if n.memo.weights != full:
                    n.memo, changed = None, True
    return changed

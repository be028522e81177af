"""The one place where expressions become values."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .demand import Target, missing_rows, passes_over, read_below, rows_below
from .expression import Map, Node, Source, Take, walk
from .functions import weights_digest
from .gather import gather
from .passes import RowFailure, run_pass
from .selection import Selection
from .values import Values

__all__ = ["Evaluation", "RowFailure", "evaluate", "is_there", "refresh", "rows_below"]

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
    targets = [_without_no_row(t) for t in targets]
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
    targets = [_without_no_row(t) for t in targets]
    with _lock:
        if any(isinstance(n, Source) and n.source.slow for node, _ in targets for n in read_below(node)):
            return False
        missing, failed = missing_rows(targets, retry=False)
        return not missing and not failed


def _without_no_row(target: Target) -> Target:
    """Return the same rows, those that an outer join did not find put into the expression, which makes them null."""
    node, rows = target
    return (Take(node, rows), Selection.whole(len(rows))) if rows.nullable else target


def _ignore(rows: int) -> None:
    """Tell nobody."""


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

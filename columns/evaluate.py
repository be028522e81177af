"""The one place where expressions become values."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .causes import Cause, forget_frames
from .demand import Target, failed_positions, missing_rows, passes_over, read_below, rows_below
from .expression import Map, Node, Source, Take, walk
from .functions import weights_digest
from .gather import gather
from .passes import RowFailure, run_pass
from .selection import Selection
from .sources import SlowSource
from .values import Values

__all__ = ["Evaluation", "RowFailure", "evaluate", "is_there", "refresh", "rows_below"]

# One evaluation at a time: memos and modules are shared by whoever asks. Readers work in threads beneath it.
_lock = threading.RLock()


@dataclass(frozen=True)
class Evaluation:
    """Values, one for each target, and the rows that failed."""

    values: list[Values]
    failures: list[RowFailure]
    stopped: bool = False


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
        Without values where it stopped: at the first failure if `stop`, else at what is wrong with a whole column.
    """
    targets = [_without_no_row(t) for t in targets]
    with _lock:
        missing, lost = missing_rows(targets, retry=retry)
        # Rows that failed before are null: somebody was told, and went on without them.
        failures = [] if stop else [RowFailure(f.node, f.row, f.cause) for f in lost]
        advance = progress(sum(len(r) for r in missing.values())) if progress and missing else None
        for work in passes_over(missing):
            found, stopped = run_pass(work, stop=stop, advance=advance or _ignore)
            if stopped:
                return Evaluation([], found[:1], stopped=True)
            failures += found
        if not read:
            return Evaluation([], failures)
        values, unread = gather(targets)
        if unread and stop:
            return Evaluation([], [RowFailure(unread[0].node, unread[0].row, unread[0])], stopped=True)
        if not stop:
            failures += _note_unread(targets, unread)
        return Evaluation(values, failures)


def _note_unread(targets: Sequence[Target], unread: Sequence[Cause]) -> list[RowFailure]:
    """Note which rows of files could not be read, now or before: they are null until they are tried again."""
    for cause in unread:
        if isinstance(cause.node, Source) and isinstance(cause.node.source, SlowSource):
            forget_frames(cause.error)
            cause.node.source.failed[cause.row] = cause.error
    causes = {(c.node, c.row): c for target in targets for c in failed_positions(target).values()}
    return [RowFailure(c.node, c.row, c) for c in causes.values() if isinstance(c.node, Source)]


def is_there(targets: Sequence[Target]) -> bool:
    """Say whether `targets` can be read without computing anything and without reading a file."""
    targets = [_without_no_row(t) for t in targets]
    with _lock:
        if any(isinstance(n, Source) and n.source.slow for node, _ in targets for n in read_below(node)):
            return False
        return not missing_rows(targets, retry=False)[0]


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
                if isinstance(n.source, SlowSource):
                    n.source.failed.clear()
            elif isinstance(n, Map) and n.memo is not None and n.function.modules:
                # Without a hash from before there is nothing to compare with: then it is computed again.
                full = tuple(weights_digest(m) for m in n.function.modules)
                if n.memo.weights != full:
                    n.memo, changed = None, True
    return changed

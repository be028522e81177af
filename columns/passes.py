"""Running a pass: batches of rows through every function that is missing them.

A batch's slow inputs are read in threads while the batch before is computed; a shared input is read, decoded
and moved to the device once; values are copied out before a buffer is used again.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .calling import Call, NotTried, Shared
from .causes import Cause, forget_frames
from .demand import Pass, failed_positions, kept_rows, read_below
from .device import Placed
from .errors import SizeError
from .expression import Map, Node, Op, Pick, Source
from .functions import evaluating
from .gather import gather
from .memo import FAILED
from .modules import modules_of
from .reading import Buffers, Reading
from .selection import Selection
from .sources import SlowSource
from .values import ImageValues, Values

__all__ = ["RowFailure", "run_pass"]

_AHEAD = 2  # batches that are being read while one is computed
_READY_BYTES, _READY_SIZES = 16 << 20, (32, 1024)  # of a batch out of memory
# Of one that is read from files. On a CPU its floats and its activations should stay in the cache, and below the
# few tens of MB that malloc keeps: fresh pages from the system took half the time of a small CNN.
_SLOW_BYTES, _SLOW_SIZES = 1_700_000, (4, 128)
_GPU_BYTES, _GPU_SIZES = 256 << 20, (16, 256)
_UNKNOWN_SIZE = 32  # rows, where nobody knows how large they are
_BURST, _BURST_BYTES = 64, 32 << 20  # batches read at once where reading and computing take turns
_BUSY = 0.25  # share of a reader's time on a core above which it competes with the computation
_MOST_BYTES = 256 << 20  # of any batch of more than one row


@dataclass(frozen=True)
class RowFailure:
    """A row that failed.

    Attributes
    ----------
    node : Node
        The output, or the source, that has no value for it.
    row : int
        Its number in the rows of `node`.
    cause : Cause
        What was raised, and where.
    """

    node: Node
    row: int
    cause: Cause


@dataclass
class _Batch:
    """One batch on its way: its rows, what is being read for it, and what has been copied to a device."""

    rows: NDArray[np.int64]
    readings: dict[Node, Reading]
    uploaded: dict[tuple[Node, torch.device], Any] = field(default_factory=dict)


def run_pass(
    work: Pass, *, stop: bool, advance: Callable[[int], None] = lambda rows: None
) -> tuple[list[RowFailure], bool]:
    """Compute and keep the missing rows of a pass.

    Parameters
    ----------
    work : Pass
        What is missing.
    stop : bool
        Stop at the first row that fails, keeping what came before it; else go on, and mark failed rows.
    advance : callable
        Told how many rows are done after each batch.

    Returns
    -------
    failures : list of RowFailure
        At most one if `stop`.
    stopped : bool
        Whether the rest was not tried: asked for by `stop`, or because of what is wrong with the whole column.
    """
    failures: list[RowFailure] = []
    for picks, rows in work.groups():
        run = _Run(picks, stop)
        found = run.over(rows, advance)
        if found and run.stop:
            return found, True
        failures += found
    return failures, False


class _Run:
    """One uniform run: the same outputs for every row."""

    def __init__(self, picks: list[Pick], stop: bool) -> None:
        self.picks = picks
        self.stop = stop
        self.order, self.leaves = _plan(picks)
        self.maps = [n for n in self.order if isinstance(n, Map)]
        self.placed = {m: Placed(m.function) for m in self.maps}
        names: dict[Map, list[str]] = {m: [] for m in self.maps}
        for pick in picks:
            names[pick.map].append(pick.output)
        self.wanted = {m: frozenset(asked) for m, asked in names.items()}
        self.buffers = Buffers(pinned=any(p.device.type == "cuda" for p in self.placed.values()))
        self.batched_leaves = {i for m in self.maps if m.function.batched for i in m.inputs}
        self.shared = Shared(stop)
        self.failures: list[RowFailure] = []
        self.in_turns = any(p.device.type == "cpu" and p.function.modules for p in self.placed.values())
        self.burst = 1  # batches

    def over(self, rows: NDArray[np.int64], advance: Callable[[int], None]) -> list[RowFailure]:
        modules = [m for placed in self.placed.values() for m in _modules(placed)]
        queue: deque[_Batch] = deque()
        size = self._batch_size()
        coming = (rows[start : start + size] for start in range(0, len(rows), size))
        with ExitStack() as stack:
            stack.enter_context(evaluating(modules))
            stack.callback(_cancel, queue)
            while True:
                self._read_ahead(queue, coming)
                if not queue:
                    return self.failures
                batch = queue[0]
                if len(queue) > 1:
                    self._upload_ahead(queue[1])
                self._compute(batch)
                queue.popleft()
                # Objects may be views of the buffer that they were made from: then it stays theirs.
                if not any(kept_rows(p).holds_objects for p in self.picks):
                    for reading in batch.readings.values():
                        reading.release()
                if self.shared.interruption is not None:
                    raise self.shared.interruption  # Ctrl-C: what was computed before it has been kept
                advance(len(batch.rows) * len(self.picks))
                if self.failures and self.stop:
                    return self.failures

    def _batch_size(self) -> int:
        """Return how many rows go together, and note how many such batches are read in a burst."""
        asked = [m.function.batch_size for m in self.maps if m.function.batch_size is not None]
        below = {n for leaf in self.leaves for n in read_below(leaf)}
        sources = [n.source for n in below if isinstance(n, Source)]
        slow = any(s.slow for s in sources)
        if asked and not slow:
            return min(asked)
        row_bytes = sum(s.row_bytes() for s in sources)
        row_bytes += sum(kept_rows(n).row_bytes for n in below if isinstance(n, Pick))
        if slow and not row_bytes:
            return min(asked, default=_UNKNOWN_SIZE)
        (low, high), goal = (_SLOW_SIZES, _SLOW_BYTES) if slow else (_READY_SIZES, _READY_BYTES)
        if slow and self.buffers.pinned:
            (low, high), goal = _GPU_SIZES, _GPU_BYTES
        fitting = min(max(low, min(high, goal // (1 + row_bytes))), _MOST_BYTES // (1 + row_bytes))
        size = min(asked, default=max(1, fitting))
        self.burst = max(1, min(_BURST, _BURST_BYTES // (size * (1 + row_bytes))))
        return size

    def _read_ahead(self, queue: deque[_Batch], coming: Iterator[NDArray[np.int64]]) -> None:
        """Start to read the next batches: always some ahead, or in bursts, while nothing is computed.

        Torch on a CPU computes with every core, and each of its threads waits for the slowest: a thread that
        decodes beside them costs more than it wins, unless it mostly waits for a disk or a network.
        """
        if self.in_turns and queue:
            return
        # After a burst more may be waiting than are read ahead from then on.
        wanted = max(0, (self.burst if self.in_turns else _AHEAD + 1) - len(queue))
        for rows in itertools.islice(coming, wanted):
            queue.append(self._begin(rows))
        if self.in_turns:
            readings = [reading for batch in queue for reading in batch.readings.values()]
            for reading in readings:
                reading.finish()
            self.in_turns = any(reading.busy() > _BUSY for reading in readings)

    def _begin(self, rows: NDArray[np.int64]) -> _Batch:
        """Start to read what is slow to read."""
        readings: dict[Node, Reading] = {}
        for leaf in self.leaves:
            if isinstance(leaf, Source) and isinstance(leaf.source, SlowSource):
                buffers = self.buffers if leaf in self.batched_leaves else None
                readings[leaf] = leaf.source.start(Selection(rows), buffers)
        return _Batch(rows, readings)

    def _upload_ahead(self, batch: _Batch) -> None:
        """Copy the next batch to the GPU while this one is computed, if it has been read."""
        if not self.buffers.pinned or self.shared.limit is not None:
            return
        if not all(r.done() for r in batch.readings.values()):
            return
        for map_ in self.maps:
            placed = self.placed[map_]
            for leaf in map_.inputs:
                reading = batch.readings.get(leaf)
                key = (leaf, placed.device)
                if reading is None or placed.device.type != "cuda" or key in batch.uploaded:
                    continue
                values, failed = reading.finish()
                if isinstance(values, ImageValues) and values.valid() is None and not failed:
                    stream = torch.cuda.Stream(placed.device)  # type: ignore[no-untyped-call]
                    try:
                        with torch.cuda.stream(stream):
                            tensor = values.batch().to(placed.device, non_blocking=True)
                    except torch.OutOfMemoryError:
                        return  # there is no room for two batches: it is copied when its turn comes
                    batch.uploaded[key] = (tensor, stream)

    def _compute(self, batch: _Batch) -> None:
        values: dict[Node, Values] = {}
        failed: dict[Node, dict[int, Cause]] = {}
        results: dict[Map, dict[str, Values]] = {}
        self.shared.begin()
        for key, (tensor, stream) in batch.uploaded.items():
            torch.cuda.current_stream(key[1]).wait_stream(stream)
            tensor.record_stream(torch.cuda.current_stream(key[1]))
            self.shared.arguments[key] = tensor
        batch.uploaded.clear()
        rows = Selection(batch.rows)
        for node in self.order:
            if node in self.leaves:
                values[node], failed[node] = self._read(node, batch, rows)
                continue
            failed[node] = {}
            for inner in node.inputs:
                failed[node].update(failed[inner])
            if isinstance(node, Op):
                values[node] = node.operation(*(values[i] for i in node.inputs))
            elif isinstance(node, Map):
                inputs = [values[i] for i in node.inputs]
                call = Call(self.shared, self.placed[node], self.wanted[node], node, batch.rows, inputs)
                results[node], own = call.run(failed[node])
                failed[node].update(own)
            elif isinstance(node, Pick):
                values[node] = results[node.map][node.output]
                self._keep(node, batch.rows, values[node], failed[node])
        self.shared.begin()
        if self.stop and self.failures:
            # The same row may fail in several outputs: the first, in the order of rows, is told.
            self.failures = [min(self.failures, key=lambda f: f.row)]

    def _read(self, leaf: Node, batch: _Batch, rows: Selection) -> tuple[Values, dict[int, Cause]]:
        # Rows that failed before make those fail that rest on them, or they would stay null when tried again.
        failures = failed_positions((leaf, rows))
        reading = batch.readings.get(leaf)
        if reading is not None:
            values, errors = reading.finish()
            return values, failures | {p: Cause(e, leaf, int(batch.rows[p])) for p, e in errors.items()}
        (values,), lost = gather([(leaf, rows)])
        if lost:
            # Rows of files below a selection: find the positions that they stand at, by reading one at a time.
            for position in range(len(rows)):
                _, one = gather([(leaf, rows[position : position + 1])])
                if one:
                    failures[position] = one[0]
        return values, failures

    def _keep(self, pick: Pick, rows: NDArray[np.int64], values: Values, failed: dict[int, Cause]) -> None:
        kept = kept_rows(pick)
        if not failed:
            kept.store(rows, values)
            return
        good = np.ones(len(rows), np.bool_)
        good[list(failed)] = False
        kept.store(rows[good], values.keep(good))
        real = {p: cause for p, cause in sorted(failed.items()) if not isinstance(cause.error, NotTried)}
        fresh = {p: cause for p, cause in real.items() if not cause.told}
        if not self.stop and any(isinstance(cause.error, SizeError) for cause in fresh.values()):
            # Which rows are of another size than the first depends on the batch: no row is to be blamed, or lost.
            self.stop = self.shared.stop = True
            self.failures.clear()
            fresh = {p: cause for p, cause in fresh.items() if isinstance(cause.error, SizeError)}
        if self.stop:
            self.failures += [RowFailure(pick, int(rows[p]), cause) for p, cause in fresh.items()]
            real = {p: cause for p, cause in real.items() if cause.told}
        else:
            self.failures += [RowFailure(pick, int(rows[p]), cause) for p, cause in real.items()]
        self._mark(pick, rows, real)

    def _mark(self, pick: Pick, rows: NDArray[np.int64], causes: dict[int, Cause]) -> None:
        """Note rows as failed: null from now on, until they are tried again."""
        if not causes:
            return
        memo = pick.map.memo
        assert memo is not None
        for position, cause in causes.items():
            forget_frames(cause.error)
            memo.failures[int(rows[position])] = cause
            if isinstance(cause.node, Source) and isinstance(cause.node.source, SlowSource):
                cause.node.source.failed[cause.row] = cause.error
        kept_rows(pick).mark(rows[sorted(causes)], FAILED)


def _cancel(queue: deque[_Batch]) -> None:
    """Stop reading for batches that will not be computed."""
    for batch in queue:
        for reading in batch.readings.values():
            reading.cancel()


def _modules(placed: Placed) -> list[torch.nn.Module]:
    return list({id(m): m for m in (*placed.function.modules, *modules_of(placed.call))}.values())


def _plan(picks: list[Pick]) -> tuple[list[Node], set[Node]]:
    """Return the nodes to run, inputs first, and the leaves at which values are read instead."""
    chosen = set(picks)
    leaves: set[Node] = set()
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(p, False) for p in picks]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
            continue
        if node in seen:
            continue
        seen.add(node)
        stack.append((node, True))
        if isinstance(node, (Op, Map)) or node in chosen:
            stack.extend((n, False) for n in node.inputs)
        else:
            leaves.add(node)
    return order, leaves

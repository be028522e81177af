"""Running a pass: batches of rows through every function that is missing them.

A batch's slow inputs are read in threads while the batch before is computed; a shared input is read, decoded
and moved to the device once; values are copied out before a buffer is used again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .coerce import outputs_of, stack_rows
from .demand import Pass, kept_rows
from .device import Placed
from .errors import FunctionError, KindError
from .expression import Map, Node, Op, Pick, Source
from .functions import check_rows, evaluating, modules_of
from .gather import gather
from .memo import FAILED, Cause
from .reading import Buffers, Reading
from .selection import Selection
from .sources import SlowSource
from .values import DenseValues, ImageValues, Values, concatenate

__all__ = ["RowFailure", "run_pass"]

_AHEAD = 2  # batches that are being read while one is computed
_BATCH_BYTES = 16 << 20
_AUTO_SIZES = (32, 1024)


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


class _NotTried(Exception):
    """Stands for rows after the one that stopped a batch; they are neither there nor failed."""


@dataclass
class _Batch:
    """One batch on its way: its rows, what is being read for it, and what has been copied to a device."""

    rows: NDArray[np.int64]
    readings: dict[Node, Reading]
    uploaded: dict[tuple[Node, torch.device], Any] = field(default_factory=dict)


def run_pass(work: Pass, *, stop: bool, advance: Callable[[int], None] = lambda rows: None) -> list[RowFailure]:
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
    list of RowFailure
        At most one if `stop`.
    """
    failures: list[RowFailure] = []
    for picks, rows in work.groups():
        failures += _Run(picks, stop).over(rows, advance)
        if failures and stop:
            break
    return failures


class _Run:
    """One uniform run: the same outputs for every row."""

    def __init__(self, picks: list[Pick], stop: bool) -> None:
        self.picks = picks
        self.stop = stop
        self.order, self.leaves = _plan(picks)
        self.maps = [n for n in self.order if isinstance(n, Map)]
        self.placed = {m: Placed(m.function) for m in self.maps}
        self.wanted = {m: frozenset(p.output for p in picks if p.map is m) for m in self.maps}
        self.buffers = Buffers(pinned=any(p.device.type == "cuda" for p in self.placed.values()))
        self.batched_leaves = {i for m in self.maps if m.function.batched for i in m.inputs}
        self.limit: int | None = None  # set when a batch did not fit into the device's memory
        self.failures: list[RowFailure] = []

    def over(self, rows: NDArray[np.int64], advance: Callable[[int], None]) -> list[RowFailure]:
        modules = [m for placed in self.placed.values() for m in _modules(placed)]
        queue: deque[_Batch] = deque()
        size = self._batch_size()
        starts = iter(range(0, len(rows), size))
        with ExitStack() as stack:
            stack.enter_context(evaluating(modules))
            stack.callback(_cancel, queue)
            while True:
                while len(queue) <= _AHEAD and (start := next(starts, None)) is not None:
                    queue.append(self._begin(rows[start : start + size]))
                if not queue:
                    return self.failures
                batch = queue[0]
                if len(queue) > 1:
                    self._upload_ahead(queue[1])
                self._compute(batch)
                queue.popleft()
                for reading in batch.readings.values():
                    reading.release()
                advance(len(batch.rows) * len(self.picks))
                if self.failures and self.stop:
                    return self.failures

    def _batch_size(self) -> int:
        asked = [m.function.batch_size for m in self.maps if m.function.batch_size is not None]
        if asked:
            return min(asked)
        bytes_per_row = 1
        for leaf in self.leaves:
            if isinstance(leaf, Source) and isinstance(leaf.source, SlowSource):
                return 64 if not self.buffers.pinned else 256
            if isinstance(leaf, Source):
                sample = leaf.source.read(Selection(range(0)))
                if isinstance(sample, DenseValues):
                    bytes_per_row += int(np.prod(sample.data.shape[1:])) * sample.data.itemsize
        low, high = _AUTO_SIZES
        return max(low, min(high, _BATCH_BYTES // bytes_per_row))

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
        if not self.buffers.pinned or not all(r.done() for r in batch.readings.values()):
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
                    with torch.cuda.stream(stream):
                        tensor = values.batch().to(placed.device, non_blocking=True)
                    batch.uploaded[key] = (tensor, stream)

    def _compute(self, batch: _Batch) -> None:
        values: dict[Node, Values] = {}
        failed: dict[Node, dict[int, Cause]] = {}
        results: dict[Map, dict[str, Values]] = {}
        arguments: dict[tuple[Node, torch.device], Any] = {}
        for key, (tensor, stream) in batch.uploaded.items():
            torch.cuda.current_stream(key[1]).wait_stream(stream)
            tensor.record_stream(torch.cuda.current_stream(key[1]))
            arguments[key] = tensor
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
                call = _Call(self, node, batch.rows, inputs, arguments)
                results[node], own = call.run(failed[node])
                failed[node].update(own)
            elif isinstance(node, Pick):
                values[node] = results[node.map][node.output]
                self._keep(node, batch.rows, values[node], failed[node])
        if self.stop and self.failures:
            # The same row may fail in several outputs: the first, in the order of rows, is told.
            self.failures = [min(self.failures, key=lambda f: f.row)]

    def _read(self, leaf: Node, batch: _Batch, rows: Selection) -> tuple[Values, dict[int, Cause]]:
        reading = batch.readings.get(leaf)
        if reading is not None:
            values, errors = reading.finish()
            return values, {p: Cause(e, leaf, int(batch.rows[p])) for p, e in errors.items()}
        (values,), lost = gather([(leaf, rows)])
        if isinstance(values, DenseValues) and isinstance(leaf, Source):
            # A function may write into what it is given; the column's own memory it must not reach.
            values = type(values)(np.array(values.data), values.valid())
        if not lost:
            return values, {}
        # Rows of files below a selection: find the positions that they stand at, by reading one at a time.
        failures: dict[int, Cause] = {}
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
        real = {p: cause for p, cause in failed.items() if not isinstance(cause.error, _NotTried)}
        self.failures += [RowFailure(pick, int(rows[p]), cause) for p, cause in sorted(real.items())]
        if not self.stop and real:
            memo = pick.map.memo
            assert memo is not None
            memo.failures.update({int(rows[p]): cause for p, cause in real.items()})
            kept.mark(rows[sorted(real)], FAILED)


def _cancel(queue: deque[_Batch]) -> None:
    """Stop reading for batches that will not be computed."""
    for batch in queue:
        for reading in batch.readings.values():
            reading.cancel()


class _Call:
    """One function over one batch: skips null rows, finds the culprit, halves what does not fit."""

    def __init__(
        self,
        run: _Run,
        node: Map,
        rows: NDArray[np.int64],
        inputs: Sequence[Values],
        arguments: dict[tuple[Node, torch.device], Any],
    ) -> None:
        self.rows = rows
        self.run_ = run
        self.node = node
        self.function = node.function
        self.placed = run.placed[node]
        self.inputs = inputs
        self.arguments = arguments
        self.own: dict[int, Cause] = {}

    def run(self, failed: dict[int, Cause]) -> tuple[dict[str, Values], dict[int, Cause]]:
        """Return the outputs of all rows, null where a row was null or failed, and the rows that failed here."""
        rows = len(self.rows)
        alive = np.ones(rows, np.bool_)
        if failed:
            alive[list(failed)] = False
        for values in self.inputs:
            valid = values.valid()
            if valid is not None:
                alive &= valid
        positions = np.flatnonzero(alive)
        outputs = self._compute(positions, whole=len(positions) == rows)
        computed = np.array(sorted(set(positions.tolist()) - set(self.own)), np.int64)
        if len(computed) == rows:
            return outputs, self.own
        back = np.full(rows, -1, np.int64)
        back[computed] = np.arange(len(computed))
        if not len(computed):
            memo = self.node.memo
            assert memo is not None
            return {name: memo.outputs[name].nothing(rows) for name in self.run_.wanted[self.node]}, self.own
        return {name: values.take(Selection(back)) for name, values in outputs.items()}, self.own

    def _compute(self, positions: NDArray[np.int64], whole: bool) -> dict[str, Values]:
        """Return the outputs of the rows at `positions` that succeed; note the others in `own`."""
        pieces: list[dict[str, Values]] = []
        stack = self._split(positions)[::-1]
        while stack:
            piece = stack.pop()
            if not len(piece):
                continue
            if self.own and self.run_.stop:
                self._fail(piece, _NotTried())
                continue
            try:
                pieces.append(self._once(piece, whole and len(piece) == len(positions)))
            except (FunctionError, KindError):
                raise
            except torch.OutOfMemoryError:
                if len(piece) == 1:
                    raise
                self.run_.limit = (len(piece) + 1) // 2
                torch.cuda.empty_cache()
                stack += self._split(piece)[::-1]
            except Exception as error:  # noqa: BLE001 - whatever a user's function raises is told with its row
                if len(piece) == 1:
                    self._fail(piece, error)
                else:
                    half = len(piece) // 2
                    stack += [piece[half:], piece[:half]]
        if len(pieces) == 1:
            return pieces[0]
        names = self.run_.wanted[self.node]
        return {name: concatenate([p[name] for p in pieces]) for name in names} if pieces else {}

    def _fail(self, positions: NDArray[np.int64], error: BaseException) -> None:
        for position in positions.tolist():
            self.own[position] = Cause(error, self.node, int(self.rows[position]))

    def _split(self, positions: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        limit = self.run_.limit
        if limit is None or len(positions) <= limit:
            return [positions]
        return [positions[i : i + limit] for i in range(0, len(positions), limit)]

    def _once(self, positions: NDArray[np.int64], whole: bool) -> dict[str, Values]:
        function, wanted = self.function, self.run_.wanted[self.node]
        extra = {"wanted": wanted} if function.takes_wanted else {}
        inputs = self.inputs if whole else [v.take(Selection(positions)) for v in self.inputs]
        with self.placed.running():
            if function.batched:
                arguments = [self._argument(i, v, whole) for i, v in enumerate(inputs)]
                versions = [a._version for a in arguments if isinstance(a, torch.Tensor)]
                raw = self.placed.call(*arguments, **extra)
                if versions != [a._version for a in arguments if isinstance(a, torch.Tensor)]:
                    raise FunctionError(
                        f"`{function.name}` changed its input in place, which other functions of the batch share; "
                        "work on a copy (`x.clone()`), or use the out-of-place operation."
                    )
            else:
                columns = [v.rows() for v in inputs]
                rows = [self.placed.call(*row, **extra) for row in zip(*columns, strict=True)]
                check_rows(function.name, len(rows), len(positions))
                raw = stack_rows(function, rows, wanted)
        return outputs_of(function, raw, len(positions), wanted)

    def _argument(self, number: int, values: Values, whole: bool) -> Any:
        """Return an input as the function takes it; moved to a device once for all functions of the batch."""
        key = (self.node.inputs[number], self.placed.device)
        if not whole:
            return self.placed.fit(values.batch())
        if key not in self.arguments:
            batch = values.batch()
            moved = batch.to(key[1], non_blocking=True) if isinstance(batch, torch.Tensor) else batch
            self.arguments[key] = moved
        return self.placed.fit(self.arguments[key])


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

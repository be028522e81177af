"""Calling one function on one batch: null rows are skipped, culprits found, what does not fit is halved."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from .causes import Cause
from .coerce import outputs_of, stack_pictures, stack_rows
from .device import Placed
from .errors import FunctionError, KindError
from .expression import Map, Node
from .selection import Selection
from .values import Values, concatenate

__all__ = ["Call", "NotTried", "Shared"]


class NotTried(Exception):
    """Stands for rows after the one that stopped a batch; they are neither there nor failed."""


class Shared:
    """What the calls of one run share.

    Attributes
    ----------
    stop : bool
        Whether the first row that fails is the last one tried.
    limit : int or None
        Rows of a call, set when a batch did not fit into memory.
    interruption : BaseException or None
        Ctrl-C, raised again once the rows computed before it have been kept.
    arguments : dict
        Inputs of the batch as functions take them, by node and device.
    pictures : dict
        Inputs that were stacked into one array, by node.
    """

    def __init__(self, stop: bool) -> None:
        self.stop = stop
        self.limit: int | None = None
        self.interruption: BaseException | None = None
        self.begin()

    def begin(self) -> None:
        """Forget the batch before."""
        self.arguments: dict[tuple[Node, torch.device], Any] = {}
        self.pictures: dict[Node, tuple[Values, dict[int, BaseException]]] = {}


class Call:
    """One function over one batch."""

    def __init__(
        self,
        shared: Shared,
        placed: Placed,
        wanted: frozenset[str],
        node: Map,
        rows: NDArray[np.int64],
        inputs: Sequence[Values],
    ) -> None:
        self.shared = shared
        self.placed = placed
        self.wanted = wanted
        self.node = node
        self.function = node.function
        self.rows = rows
        self.inputs = list(inputs)
        self.own: dict[int, Cause] = {}
        self.stopped = False  # a row failed, and no other is to be tried after it

    def run(self, failed: dict[int, Cause]) -> tuple[dict[str, Values], dict[int, Cause]]:
        """Return the outputs of all rows, null where a row was null or failed, and the rows that failed here."""
        rows = len(self.rows)
        alive = np.ones(rows, np.bool_)
        alive[list(failed)] = False
        if self.function.batched:
            self._stack_pictures(alive)
        for values in self.inputs:
            valid = values.valid()
            if valid is not None:
                alive &= valid
        positions = np.flatnonzero(alive)
        if self.shared.interruption is not None:
            self._fail(positions, NotTried())
            outputs: dict[str, Values] = {}
        elif self.function.batched:
            outputs = self._in_batches(positions)
        else:
            outputs = self._row_by_row(positions)
        alive[list(self.own)] = False
        computed = np.flatnonzero(alive)
        if len(computed) == rows:
            return outputs, self.own
        if not len(computed):
            memo = self.node.memo
            assert memo is not None
            return {name: memo.outputs[name].nothing(rows) for name in self.wanted}, self.own
        back = np.full(rows, -1, np.int64)
        back[computed] = np.arange(len(computed))
        return {name: values.take(Selection(back)) for name, values in outputs.items()}, self.own

    def _stack_pictures(self, alive: NDArray[np.bool_]) -> None:
        """Batched functions take pictures as one tensor, whether they were read as one or one by one."""
        for number, (node, values) in enumerate(zip(self.node.inputs, self.inputs, strict=True)):
            if node not in self.shared.pictures:
                stacked = stack_pictures(values)
                if stacked is None:
                    continue
                self.shared.pictures[node] = stacked
            self.inputs[number], others = self.shared.pictures[node]
            for position, error in others.items():
                if alive[position]:
                    self.own[position] = Cause(error, self.node, int(self.rows[position]))

    def _row_by_row(self, positions: NDArray[np.int64]) -> dict[str, Values]:
        """Call the function on each row, once: what has been computed is kept whatever happens after it."""
        extra = {"wanted": self.wanted} if self.placed.takes_wanted else {}
        columns = [v.rows() for v in self._inputs_at(positions)]
        raw: list[Any] = []
        with self.placed.running():
            for number, row in enumerate(zip(*columns, strict=True)):
                arguments = [self._own_row(value) for value in row]
                before = _versions(arguments)
                try:
                    result = self.placed.call(*arguments, **extra)
                except (FunctionError, KindError):
                    raise
                except Exception as error:  # noqa: BLE001 - whatever a user's function raises is told with its row
                    self._fail(positions[number : number + 1], error)
                    if self.shared.stop:
                        self._fail(positions[number + 1 :], NotTried())
                        break
                    continue
                except BaseException as error:  # noqa: BLE001 - Ctrl-C: raised again when the rows before are kept
                    self._interrupt(positions[number:], error)
                    break
                self._refuse_changes(before, arguments)
                if isinstance(result, types.GeneratorType):
                    raise FunctionError(
                        f"`{self.function.name}` must return the row; it returned a generator, which can be read "
                        "only once. Return a list."
                    )
                raw.append(result)
        if not raw:
            return {}
        return outputs_of(self.function, stack_rows(self.function, raw, self.wanted), len(raw), self.wanted)

    def _own_row(self, value: Any) -> Any:
        if isinstance(value, Image.Image):
            return value.copy()  # a function may draw on it, and others are given the same picture
        # Only modules care where a row is; the device of a plain function is its own affair.
        return self.placed.fit(value) if isinstance(self.placed.call, torch.nn.Module) else value

    def _in_batches(self, positions: NDArray[np.int64]) -> dict[str, Values]:
        """Return the outputs of the rows at `positions` that succeed; note the others in `own`."""
        pieces: list[dict[str, Values]] = []
        stack = [positions]
        while stack:
            piece, *others = self._split(stack.pop())  # the limit may have been found since it was put here
            stack += others[::-1]
            if not len(piece):
                continue
            if self.shared.interruption is not None or self.stopped:
                self._fail(piece, NotTried())
                continue
            too_large = False
            try:
                pieces.append(self._once(piece))
            except (FunctionError, KindError):
                raise
            except Exception as error:  # noqa: BLE001 - whatever a user's function raises is told with its row
                too_large = _no_memory(error)
                if len(piece) == 1:
                    self._fail(piece, error)
                    self.stopped = self.shared.stop
                elif not too_large:
                    half = len(piece) // 2
                    stack += [piece[half:], piece[:half]]
            except BaseException as error:  # noqa: BLE001 - Ctrl-C: raised again when the rows before are kept
                self._interrupt(piece, error)
            if too_large and len(piece) > 1:
                # Out here, since the error's frames held the tensors that are to be freed.
                self.shared.limit = (len(piece) + 1) // 2
                self.shared.arguments.clear()
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                stack.append(piece)
        if len(pieces) == 1:
            return pieces[0]
        return {name: self._joined([p[name] for p in pieces]) for name in self.wanted} if pieces else {}

    def _joined(self, parts: list[Values]) -> Values:
        try:
            return concatenate(parts)
        except KindError as error:
            raise FunctionError(f"`{self.function.name}` gave rows that do not go together: {error}") from error

    def _fail(self, positions: NDArray[np.int64], error: BaseException) -> None:
        for position in positions.tolist():
            self.own[position] = Cause(error, self.node, int(self.rows[position]))

    def _interrupt(self, positions: NDArray[np.int64], error: BaseException) -> None:
        self.shared.interruption = error
        self._fail(positions, NotTried())

    def _split(self, positions: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        limit = self.shared.limit
        if limit is None or len(positions) <= limit:
            return [positions]
        return [positions[i : i + limit] for i in range(0, len(positions), limit)]

    def _once(self, positions: NDArray[np.int64]) -> dict[str, Values]:
        function = self.function
        extra = {"wanted": self.wanted} if self.placed.takes_wanted else {}
        whole = len(positions) == len(self.rows)
        with self.placed.running():
            arguments = [self._argument(i, v, whole) for i, v in enumerate(self._inputs_at(positions))]
            before = _versions(arguments)
            raw = self.placed.call(*arguments, **extra)
            self._refuse_changes(before, arguments)
        return outputs_of(function, raw, len(positions), self.wanted)

    def _inputs_at(self, positions: NDArray[np.int64]) -> list[Values]:
        if len(positions) == len(self.rows):
            return self.inputs
        return [v.take(Selection(positions)) for v in self.inputs]

    def _argument(self, number: int, values: Values, whole: bool) -> Any:
        """Return an input as the function takes it; moved to a device once for all functions of the batch."""
        if not whole:
            return self.placed.fit(values.batch())
        key = (self.node.inputs[number], self.placed.device)
        if key not in self.shared.arguments:
            batch = values.batch()
            moved = batch.to(key[1], non_blocking=True) if isinstance(batch, torch.Tensor) else batch
            self.shared.arguments[key] = moved
        return self.placed.fit(self.shared.arguments[key])

    def _refuse_changes(self, before: list[int], arguments: Sequence[Any]) -> None:
        if before != _versions(arguments):
            raise FunctionError(
                f"`{self.function.name}` changed its input in place, which other functions of the batch share; "
                "work on a copy (`x.clone()`), or use the out-of-place operation."
            )


def _versions(arguments: Sequence[Any]) -> list[int]:
    return [a._version for a in arguments if isinstance(a, torch.Tensor)]


def _no_memory(error: BaseException) -> bool:
    """Say whether an error means that the batch was too large for the memory, of the device or the machine."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and ("can't allocate memory" in str(error) or "ALLOC_FAILED" in str(error))

"""Reading ahead: slow sources are read in threads, into buffers that are used again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .selection import Selection
from .values import ListValues, Values

if TYPE_CHECKING:
    from .sources import SlowSource

__all__ = ["Buffers", "Reading", "pool", "read_rows", "reader_threads", "submit"]

PIECE = 8  # rows a thread reads at a time: enough to hide the hand-over, few enough to share out evenly

_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


def reader_threads() -> int:
    """Return how many threads read and decode: one per core this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def pool() -> ThreadPoolExecutor:
    """Return the threads that read, started on first use."""
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(reader_threads(), thread_name_prefix="columns-read")
        return _pool


def submit(work: Callable[[int], None], start: int) -> Future[tuple[float, float]]:
    """Run `work` in a reader's thread; the future gives the seconds that it spent on a core, and in all."""
    return pool().submit(_timed, work, start)


def _timed(work: Callable[[int], None], start: int) -> tuple[float, float]:
    on_core, clock = time.thread_time(), time.perf_counter()
    work(start)
    return time.thread_time() - on_core, time.perf_counter() - clock


def _forget_pool() -> None:
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)  # threads do not survive a fork


class Buffers:
    """A ring of arrays for decoded rows: fresh large arrays are dear, so released ones are used again.

    Parameters
    ----------
    pinned : bool
        Allocate memory that a GPU can copy from while the CPU goes on.
    """

    def __init__(self, pinned: bool = False) -> None:
        self.pinned = pinned
        self._free: dict[tuple[int, ...], list[NDArray[np.uint8]]] = {}

    def take(self, rows: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return an array of at least `rows` rows of `shape`, whose content is undefined."""
        free = self._free.get(shape, [])
        for position, array in enumerate(free):
            if len(array) >= rows:
                return free.pop(position)
        if self.pinned:
            import torch

            pinned: NDArray[np.uint8] = torch.empty((rows, *shape), dtype=torch.uint8, pin_memory=True).numpy()
            return pinned
        return np.empty((rows, *shape), np.uint8)

    def give_back(self, array: NDArray[np.uint8]) -> None:
        """Let the array be used again; nobody may read it from now on."""
        self._free.setdefault(array.shape[1:], []).append(array)


class Reading:
    """Rows that are being read.

    `finish` waits for them and returns the values with the rows that failed: position to cause.
    """

    def __init__(
        self,
        futures: list[Future[tuple[float, float]]],
        collect: Callable[[], tuple[Values, dict[int, BaseException]]],
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self._futures = futures
        self._collect = collect
        self._result: tuple[Values, dict[int, BaseException]] | None = None
        self.release = release

    def done(self) -> bool:
        """Say whether `finish` would return at once."""
        return all(f.done() for f in self._futures)

    def finish(self) -> tuple[Values, dict[int, BaseException]]:
        """Wait, and return values and failures."""
        if self._result is None:
            for future in self._futures:
                future.result()
            self._result = self._collect()
        return self._result

    def busy(self) -> float:
        """Return which share of the time that reading took was spent on a core, not waiting for a file."""
        times = [future.result() for future in self._futures]
        total = sum(clock for _, clock in times)
        return sum(on_core for on_core, _ in times) / total if total else 0.0

    def cancel(self) -> None:
        """Stop what has not begun, and wait for what has: buffers must not be written after this."""
        for future in self._futures:
            future.cancel()
        for future in self._futures:
            if not future.cancelled():
                future.exception()
        self.release()


def read_rows(source: SlowSource, rows: Selection) -> Reading:
    """Read rows one by one, in threads, as Python objects."""
    numbers = rows.indices().tolist()
    items: list[Any] = [None] * len(numbers)
    failures: dict[int, BaseException] = {}

    def read(start: int) -> None:
        for position in range(start, min(start + PIECE, len(numbers))):
            if numbers[position] in source.failed:
                continue  # somebody was told, and went on without it
            try:
                items[position] = source.read_row(numbers[position])
            except Exception as error:  # noqa: BLE001 - kept, and raised or reported with the row's name
                failures[position] = error

    futures = [submit(read, start) for start in range(0, len(numbers), PIECE)]
    return Reading(futures, lambda: (ListValues(items), failures))

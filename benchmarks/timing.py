"""Timing: contestants take turns, so that whatever else the machine does hits all of them alike."""

from __future__ import annotations

import functools
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Race", "bandwidth", "race", "seconds_per_call"]


@dataclass(frozen=True)
class Race:
    """Seconds of every contestant, round by round."""

    seconds: dict[str, list[float]]

    def best(self, name: str) -> float:
        """Return the least time of a contestant: the one with the least disturbance."""
        return min(self.seconds[name])

    def fastest(self, *names: str) -> str:
        """Return which of some contestants is the fastest."""
        return min(names or self.seconds, key=self.best)

    def median_ratio(self, name: str, other: str) -> float:
        """Return the median over the rounds of one contestant's time divided by the other's."""
        pairs = zip(self.seconds[name], self.seconds[other], strict=True)
        return statistics.median(a / b for a, b in pairs)


def race(contestants: Mapping[str, Callable[[], Any]], repeats: int, *, warm: bool = True) -> Race:
    """Run every contestant `repeats` times, in turns that begin with another one each round.

    Parameters
    ----------
    contestants : mapping of name to callable
        What is timed; a result is thrown away after the clock has stopped.
    repeats : int
        Rounds.
    warm : bool
        Run each once before, untimed.
    """
    names = list(contestants)
    if warm:
        for name in names:
            contestants[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()  # a collection would fall to whoever happens to be running
    try:
        for round_ in range(repeats):
            shift = round_ % len(names)
            for name in names[shift:] + names[:shift]:
                begin = time.perf_counter()
                result = contestants[name]()
                seconds[name].append(time.perf_counter() - begin)
                del result
            gc.collect()
    finally:
        if collecting:
            gc.enable()
    return Race(seconds)


def seconds_per_call(function: Callable[[], Any], repeats: int, calls: int = 2_000) -> float:
    """Return the time of one call of something far shorter than the clock's own cost."""
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        for _ in range(calls):
            function()
        best = min(best, (time.perf_counter() - begin) / calls)
    return best


@functools.cache
def bandwidth(repeats: int = 5) -> float:
    """Return the bytes a second that one thread reads and writes again: half of each pass is reading."""
    source, target = np.ones(8 << 20), np.ones(8 << 20)
    best = race({"copy": lambda: np.copyto(target, source)}, repeats).best("copy")
    return 2 * source.nbytes / best

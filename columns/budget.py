"""How much host memory results may take, all memos together."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .memo import KeptRows

__all__ = ["Ledger", "ledger", "memory_budget", "set_memory_budget"]


class Ledger:
    """How many bytes all memos hold in memory, and how many they may."""

    def __init__(self) -> None:
        self.budget = 4 << 30
        self.kept: weakref.WeakSet[KeptRows] = weakref.WeakSet()
        self._at_most = 0  # an upper bound: memos that are gone are only found out by counting

    def add(self, size: int) -> None:
        """Note that `size` more bytes are held."""
        self._at_most += size
        if self._at_most > self.budget:
            self.settle()

    def settle(self) -> None:
        """Move the largest results to files until the rest fits the budget."""
        held = {rows: rows.bytes_in_memory for rows in self.kept}
        total = sum(held.values())
        while total > self.budget:
            largest = max(held, key=lambda r: held[r])
            if held[largest] == 0:
                break
            total -= held[largest]
            largest.spill()
            held[largest] = 0
        self._at_most = total


ledger = Ledger()


def memory_budget() -> int:
    """Return how many bytes of results may stay in host memory."""
    return ledger.budget


def set_memory_budget(size: int) -> None:
    """Let results take at most `size` bytes of host memory; what is above moves to temporary files."""
    if size < 0:
        raise ValueError(f"A budget must be at least 0 bytes; got {size}.")
    ledger.budget = size
    ledger.settle()

"""Pending: what a function will give, before anybody has said what it is."""

from __future__ import annotations

from typing import Any, final

from PIL import Image

from ..column import KINDS, kind
from ..operators import Operators
from ..spec import ColumnSpec
from ..values import ArrowValues, DenseValues, ImageValues

__all__ = ["PendingColumn"]


@kind
@final
class PendingColumn(Operators):
    """The rows of a mapped function without a declared kind.

    Offers computing, mapping and indexing; arithmetic and comparison if its rows turn out to be single values.
    `compute` finds the kind, `as_kind` states it without computing.
    """

    kind = "pending"
    form = "pending"
    __slots__ = ()

    def _known(self) -> Any:
        if not len(self):
            return self
        values = self[:1].values()
        if isinstance(values, ArrowValues):
            return self._as("scalar", dtype=str(values.array.type))
        if isinstance(values, ImageValues):
            return self._as("image", dtype="uint8", shape=values.data.shape[1:])
        if isinstance(values, DenseValues):
            return self._as("tensor", dtype=str(values.data.dtype), shape=values.data.shape[1:])
        first = next((row for row in self.values().rows() if row is not None), None)
        return self._as("image" if isinstance(first, Image.Image) else "object")

    def _as(self, name: str, **known: Any) -> Any:
        return KINDS[name].over(self.node, self.selection, ColumnSpec(name, **known), self.keys, self.name)

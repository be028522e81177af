"""Pending: what a function will give, before anybody has said what it is."""

from __future__ import annotations

import warnings
from typing import Any, final

from PIL import Image

from ..column import KINDS, kind
from ..errors import RowsFailedWarning
from ..operators import Operators
from ..spec import ColumnSpec
from ..values import ArrowValues, DenseValues, ImageValues, Values

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

    def __getattr__(self, name: str) -> Any:
        owner = next((k for k, cls in sorted(KINDS.items()) if not name.startswith("_") and hasattr(cls, name)), None)
        if owner is None:
            raise AttributeError(f"A pending column has no attribute '{name}'.")
        raise AttributeError(
            f"A pending column has no `{name}` yet, since nobody has said what its rows are. Say it when mapping, "
            f"`map(f, to='{owner}')`, or afterwards, `.as_kind('{owner}')`; or find out with `.compute()`."
        )

    def _known(self) -> Any:
        # The first row that is there tells; what failed or is null tells nothing.
        for start in range(0, len(self), 256):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RowsFailedWarning)
                values = self[start : start + 256].values(on_error="null")
            valid = values.valid()
            if valid is None or valid.any():
                return self._found(values)
        return self

    def _found(self, values: Values) -> Any:
        if isinstance(values, ArrowValues):
            return self._as("scalar", dtype=str(values.array.type))
        if isinstance(values, ImageValues):
            return self._as("image", dtype="uint8", shape=values.data.shape[1:])
        if isinstance(values, DenseValues):
            return self._as("tensor", dtype=str(values.data.dtype), shape=values.data.shape[1:])
        first = next(row for row in values.rows() if row is not None)
        return self._as("image" if isinstance(first, Image.Image) else "object")

    def _as(self, name: str, **known: Any) -> Any:
        return KINDS[name].over(self.node, self.selection, ColumnSpec(name, **known), self.keys, self.name)

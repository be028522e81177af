"""ColumnSpec: what the rows of a column are, as frozen plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .errors import StoreError

__all__ = ["ColumnSpec"]


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """What the rows of a column are.

    Attributes
    ----------
    kind : str
        Name of the kind, ``"image"`` say.
    dtype : str or None
        Element type in the words of NumPy or Arrow; None while it is not known.
    shape : tuple of int or None
        Shape of one row; None while it is not known.
    classes : tuple of str or None
        Class names of a category or a prediction, in the order of the codes.
    unit : str or None
        What the numbers are: ``"logits"`` or ``"probabilities"`` of a prediction, for instance.

    Examples
    --------
    >>> ColumnSpec("tensor", "float32", (3, 4))
    ColumnSpec(kind='tensor', dtype='float32', shape=(3, 4), classes=None, unit=None)
    """

    kind: str
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    classes: tuple[str, ...] | None = None
    unit: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set, as JSON can hold them."""
        fields = {"kind": self.kind, "dtype": self.dtype, "shape": self.shape, "classes": self.classes}
        return {
            k: list(v) if isinstance(v, tuple) else v
            for k, v in (*fields.items(), ("unit", self.unit))
            if v is not None
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ColumnSpec:
        """Return the spec that `to_dict` wrote.

        Raises
        ------
        StoreError
            If a field is missing or not one of ours.
        """
        known = {"kind", "dtype", "shape", "classes", "unit"}
        if "kind" not in fields or not set(fields) <= known:
            raise StoreError(f"A column's spec needs 'kind' and may have {sorted(known)}; got {sorted(fields)}.")
        tuples: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return cls(**tuples)

    def with_(self, **changes: Any) -> ColumnSpec:
        """Return the spec with some fields changed."""
        return replace(self, **changes)

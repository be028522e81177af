"""Comparison and arithmetic on columns of single values: lazy columns, as pandas has them eager."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np

from .column import Column
from .errors import KindError
from .operations import INPUT, Scalar
from .spec import ColumnSpec

__all__ = ["Operators"]

_COMPARES = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
_LOGIC = {"and_kleene", "or_kleene", "xor"}


class Operators(Column):
    """The operators of kinds whose rows are single values."""

    __slots__ = ()

    def _with(self, function: str, other: Any, *, swapped: bool = False) -> Any:
        """Return a lazy column of a binary operation with a column of single values or a constant."""
        dtype = "bool" if function in _COMPARES | _LOGIC else None
        spec = ColumnSpec("scalar", dtype)
        if isinstance(other, Column) and other.kind == "prediction" and function in _COMPARES:
            other = other.label  # type: ignore[attr-defined]
        self._refuse_mixed(function, other)
        if isinstance(other, Column):
            if other.form not in ("arrow", "pending"):
                raise KindError(f"Cannot combine a {self.kind} column with a {other.kind} column; use `map`.")
            pair = (other, self) if swapped else (self, other)
            return pair[0]._op(Scalar(function, (INPUT, INPUT)), "scalar", spec, [pair[1]])
        if other is None:
            raise KindError("Null equals nothing, not even null; use `column.is_null()`.")
        constant = _constant(other)
        operands = (constant, INPUT) if swapped else (INPUT, constant)
        return self._op(Scalar(function, operands), "scalar", spec)

    def _refuse_mixed(self, function: str, other: Any) -> None:
        """Refuse to compare class names with codes: the answer would be wrong without a word."""
        if function not in _COMPARES:
            return
        mine = self.spec.classes
        if isinstance(other, Column):
            theirs = other.spec.classes
            if mine and theirs and mine != theirs and not set(mine) & set(theirs):
                raise KindError(f"These categories have no class in common: {mine[:5]} and {theirs[:5]}.")
            numbers = [c for c in (self, other) if c.spec.classes is None and _is_number(c.spec.dtype)]
            named = mine or theirs
            if named and numbers:
                raise KindError(
                    f"Class names {list(named)[:5]} cannot be compared with numbers "
                    f"(column {numbers[0].name or 'scalar'!r}); "
                    "give the numbers their names with `.as_category(names)`, or compare `.codes()`."
                )
        elif mine and isinstance(other, (int, float, np.number)) and not isinstance(other, bool):
            raise KindError(
                f"Class names {list(mine)[:5]} cannot be compared with the number {other}; "
                "compare with a name, or compare `.codes()`."
            )
        elif mine and isinstance(other, str) and other not in mine and function in ("equal", "not_equal"):
            raise KindError(f"'{other}' is not one of the classes {list(mine)}.")

    def __eq__(self, other: object) -> Any:
        return self._with("equal", other)

    def __ne__(self, other: object) -> Any:
        return self._with("not_equal", other)

    def __lt__(self, other: Any) -> Any:
        return self._with("less", other)

    def __le__(self, other: Any) -> Any:
        return self._with("less_equal", other)

    def __gt__(self, other: Any) -> Any:
        return self._with("greater", other)

    def __ge__(self, other: Any) -> Any:
        return self._with("greater_equal", other)

    def __add__(self, other: Any) -> Any:
        return self._with("add", other)

    def __radd__(self, other: Any) -> Any:
        return self._with("add", other, swapped=True)

    def __sub__(self, other: Any) -> Any:
        return self._with("subtract", other)

    def __rsub__(self, other: Any) -> Any:
        return self._with("subtract", other, swapped=True)

    def __mul__(self, other: Any) -> Any:
        return self._with("multiply", other)

    def __rmul__(self, other: Any) -> Any:
        return self._with("multiply", other, swapped=True)

    def __truediv__(self, other: Any) -> Any:
        return self._with("divide", other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with("divide", other, swapped=True)

    def __floordiv__(self, other: Any) -> Any:
        return self._with("floor_divide", other)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._with("floor_divide", other, swapped=True)

    def __mod__(self, other: Any) -> Any:
        return self._with("remainder", other)

    def __rmod__(self, other: Any) -> Any:
        return self._with("remainder", other, swapped=True)

    def __pow__(self, other: Any) -> Any:
        return self._with("power", other)

    def __rpow__(self, other: Any) -> Any:
        return self._with("power", other, swapped=True)

    def __and__(self, other: Any) -> Any:
        return self._with("and_kleene", other)

    def __rand__(self, other: Any) -> Any:
        return self._with("and_kleene", other, swapped=True)

    def __or__(self, other: Any) -> Any:
        return self._with("or_kleene", other)

    def __ror__(self, other: Any) -> Any:
        return self._with("or_kleene", other, swapped=True)

    def __xor__(self, other: Any) -> Any:
        return self._with("xor", other)

    def __invert__(self) -> Any:
        return self._op(Scalar("invert"), "scalar", ColumnSpec("scalar", "bool"))

    def __neg__(self) -> Any:
        return self._op(Scalar("negate"), "scalar", ColumnSpec("scalar", self.spec.dtype))

    def __abs__(self) -> Any:
        return self._op(Scalar("abs"), "scalar", ColumnSpec("scalar", self.spec.dtype))

    def __bool__(self) -> bool:
        raise KindError(
            "A column has no single truth value; combine conditions with `&`, `|` and `~`, each in parentheses."
        )

    def isin(self, values: Any) -> Any:
        """Return a lazy column of booleans: whether each row is one of `values`; null is not."""
        listed = tuple(_constant(v) for v in values)
        for value in listed:
            self._refuse_mixed("equal", value)
        return self._op(Scalar("is_in", (INPUT, listed)), "scalar", ColumnSpec("scalar", "bool"), strict=False)

    def fill_null(self, value: Any) -> Any:
        """Return a lazy column with `value` where rows are null."""
        if self.spec.classes is not None:
            self._refuse_mixed("equal", value)
        filled = self._op(Scalar("coalesce", (INPUT, _constant(value))), self.kind, self.spec, strict=False)
        return filled if self.spec.classes is None else filled.as_category(self.spec.classes)

    __hash__ = object.__hash__


def _constant(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]")  # of nanoseconds, NumPy makes a plain number
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, (bool, int, float, str, bytes, datetime.date, datetime.time, datetime.timedelta)):
        raise KindError(f"A column is combined with a column or a plain value; got {type(value).__name__} {value!r}.")
    return value


def _is_number(dtype: str | None) -> bool:
    return dtype is not None and dtype.startswith(("int", "uint", "float", "double", "halffloat"))

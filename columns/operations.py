"""Cheap operations on scalars: vectorised over whole columns by Arrow, never kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .errors import KindError
from .functions import Operation
from .values import ArrowValues, DenseValues, ImageValues, ListValues, Values

__all__ = ["INPUT", "AsForm", "IsNull", "Scalar"]


class _Input:
    """Stands for the next input in the operands of an operation."""

    def __repr__(self) -> str:
        return "INPUT"

    def __reduce__(self) -> str:
        return "INPUT"  # in another process as well there is one, and it is told by identity


INPUT = _Input()

_SYMBOLS = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "floor_divide": "//", "remainder": "%",
    "power": "**", "equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">",
    "greater_equal": ">=", "and_kleene": "&", "or_kleene": "|", "xor": "^",
}  # fmt: skip
_COMPARISONS = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
_LOGIC = {"and_kleene", "or_kleene", "xor", "invert"}
# A null can decide these (null or true is true), so they must see it.
_NOT_STRICT = {"and_kleene", "or_kleene", "is_null", "is_valid", "is_in", "coalesce"}


@dataclass(frozen=True)
class Scalar(Operation):
    """An operation of `pyarrow.compute`, by name, on scalar columns and constants.

    Attributes
    ----------
    function : str
        Name of the operation.
    operands : tuple
        `INPUT` for each input, else a constant.
    options : tuple of (str, value)
        Keyword arguments of the operation.
    """

    function: str
    operands: tuple[Any, ...] = (INPUT,)
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def strict(self) -> bool:  # type: ignore[override]
        """Whether null in means null out."""
        return self.function not in _NOT_STRICT

    def __call__(self, *inputs: Values) -> Values:
        arrays = [v.array if isinstance(v, ArrowValues) else _scalar_rows(v) for v in inputs]
        given = iter(arrays)
        operands = [next(given) if o is INPUT else o for o in self.operands]
        try:
            return ArrowValues(self._run(operands))
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid, TypeError, OverflowError) as error:
            kinds = ", ".join(str(getattr(o, "type", type(o).__name__)) for o in operands)
            hint = " Put each condition in parentheses: (a > 1) & (b == 2)." if self.function in _LOGIC else ""
            words = self.words(["x", "y"])
            raise KindError(f"Cannot compute `{words}` on {kinds}.{hint} (Arrow says: {error})") from error

    def _run(self, operands: list[Any]) -> Any:
        if any(isinstance(o, pa.Array) and pa.types.is_dictionary(o.type) for o in operands):
            result = self._on_categories(operands)
            if result is not None:
                return result
            operands = [_decoded(o) for o in operands]
        special = _SPECIAL.get(self.function)
        if special is not None:
            return special(*operands, **dict(self.options))
        return getattr(pc, self.function)(*operands, **dict(self.options))

    def _on_categories(self, operands: list[Any]) -> pa.Array | None:
        """Compare codes rather than names where that gives the same answer."""
        if self.function in ("is_null", "is_valid"):
            return getattr(pc, self.function)(operands[0])
        if len(operands) == 2 and self.function in ("equal", "not_equal"):
            left, right = operands
            if all(isinstance(o, pa.DictionaryArray) for o in operands) and left.dictionary.equals(right.dictionary):
                return getattr(pc, self.function)(left.indices, right.indices)
        column = next((o for o in operands if isinstance(o, pa.DictionaryArray)), None)
        others = [o for o in operands if o is not column]
        if column is None or any(isinstance(o, pa.Array) for o in others) or not len(column.dictionary):
            return None
        if self.function in _COMPARISONS or self.function == "is_in":
            # Decide for each class name once, then look the answers up by code.
            names = [column.dictionary if o is column else o for o in operands]
            answers = Scalar(self.function, self.operands, self.options)._run(names).take(column.indices)
            return answers.fill_null(False) if self.function == "is_in" else answers
        return None

    def words(self, inner: Sequence[str]) -> str:
        given = iter(inner)
        parts = [next(given) if o is INPUT else repr(o) for o in self.operands]
        symbol = _SYMBOLS.get(self.function)
        if symbol and len(parts) == 2:
            return f"({parts[0]} {symbol} {parts[1]})"
        return f"{self.function}({', '.join(parts)})"


@dataclass(frozen=True)
class IsNull(Operation):
    """Whether each row is null, whatever its form."""

    strict = False

    def __call__(self, *inputs: Values) -> Values:
        valid = inputs[0].valid()
        return ArrowValues(pa.array(np.zeros(len(inputs[0]), np.bool_) if valid is None else ~valid))

    def words(self, inner: Sequence[str]) -> str:
        return f"is_null({inner[0]})"


@dataclass(frozen=True)
class AsForm(Operation):
    """Give values another form: rows of a pending column, once somebody says what they are."""

    form: str
    dtype: str | None = None
    classes: tuple[str, ...] | None = None

    def __call__(self, *inputs: Values) -> Values:
        from .coerce import image_array, stack_pictures, to_form
        from .functions import Output

        (values,) = inputs
        if self.classes is not None:
            return ArrowValues(_categories(values, self.classes))
        if values.form == self.form and self.dtype is None:
            return values
        if self.form == "dense" and isinstance(values, DenseValues):
            return DenseValues(values.data.astype(self.dtype) if self.dtype else values.data, values.valid())
        if self.form == "image" and type(values) is DenseValues:
            return ImageValues(image_array(_channels_last(values.data), "as_kind"), values.valid())
        if self.form == "arrow" and isinstance(values, ArrowValues):
            return ArrowValues(values.array.cast(pa.type_for_alias(self.dtype)))
        pictures = stack_pictures(values) if self.form == "dense" else None
        if pictures is not None and not pictures[1]:
            return self(pictures[0])
        rows = values.rows()
        return (
            ListValues(rows)
            if self.form == "list"
            else to_form(rows, Output("", self.form, None, self.dtype), "as_kind")
        )

    def words(self, inner: Sequence[str]) -> str:
        return f"{inner[0]} as {self.dtype or self.form}"


def _channels_last(data: NDArray[Any]) -> NDArray[Any]:
    """Return pictures as (rows, height, width, channels), also if they came as torch has them."""
    if data.ndim == 4 and data.shape[3] not in (1, 3, 4) and data.shape[1] in (1, 3, 4):
        return data.transpose(0, 2, 3, 1)
    return data


def _categories(values: Values, classes: tuple[str, ...]) -> pa.Array:
    """Return codes or names as a category with these class names, in this order."""
    array = values.array if isinstance(values, ArrowValues) else _scalar_rows(values)
    names = pa.array(classes, pa.string())
    if pa.types.is_integer(array.type):
        low, high = pc.min_max(array)["min"].as_py(), pc.min_max(array)["max"].as_py()
        if low is not None and not (low >= 0 and high < len(classes)):
            raise KindError(
                f"Codes of a category with {len(classes)} classes must lie in [0, {len(classes)}); got {low}..{high}."
            )
        return pa.DictionaryArray.from_arrays(array.cast(pa.int32()), names)
    texts = _decoded(array)
    if pa.types.is_null(texts.type):
        return pa.DictionaryArray.from_arrays(pa.nulls(len(texts), pa.int32()), names)
    if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
        raise KindError(f"A category is made of names, or of whole numbers as codes; got {texts.type}.")
    codes = pc.index_in(texts, value_set=names)
    lost = pc.and_(pc.is_null(codes), pc.is_valid(texts))
    if pc.any(lost).as_py():
        unknown = pc.unique(texts.filter(lost)).to_pylist()[:5]
        raise KindError(f"Every value of a category must be one of its classes {list(classes)}; got {unknown} as well.")
    return pa.DictionaryArray.from_arrays(codes, names)


def _decoded(operand: Any) -> Any:
    if isinstance(operand, pa.Array) and pa.types.is_dictionary(operand.type):
        return operand.cast(operand.type.value_type)
    return operand


def _scalar_rows(values: Values) -> pa.Array:
    if isinstance(values, DenseValues) and values.data.ndim == 1:
        valid = values.valid()
        return pa.array(values.data, mask=None if valid is None else ~valid)
    if isinstance(values, ListValues):
        try:
            return pa.array(values.items)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise KindError(f"Scalar operations need one plain value per row: {error}") from error
    raise KindError("Scalar operations need one value per row; this column has an array per row.")


def _true_divide(left: Any, right: Any) -> Any:
    """Divide as Python does: integers give floats, and by zero infinity or NaN rather than an error."""
    return pc.divide(*(pc.cast(_as_operand(o), pa.float64()) if _whole(o) else o for o in (left, right)))


def _whole(operand: Any) -> bool:
    kind = operand.type if isinstance(operand, (pa.Array, pa.Scalar)) else None
    return isinstance(operand, int) if kind is None else pa.types.is_integer(kind) or pa.types.is_boolean(kind)


def _as_operand(operand: Any) -> Any:
    return operand if isinstance(operand, (pa.Array, pa.Scalar)) else pa.scalar(operand)


def _through_numpy(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let NumPy compute what Arrow has no kernel for; null in gives null out."""

    def run(*operands: Any) -> pa.Array:
        # Most columns have no null and most divisors are one constant: then there is nothing to mask.
        masks = [
            o.is_null().to_numpy(zero_copy_only=False) for o in operands if isinstance(o, pa.Array) and o.null_count
        ]
        arrays = [
            (o.fill_null(1) if o.null_count else o).to_numpy(zero_copy_only=False) if isinstance(o, pa.Array) else o
            for o in operands
        ]
        if all(np.asarray(a).dtype.kind in "iub" for a in arrays):
            # By zero there is no whole number that is right: NumPy would say 0, here it is null.
            zero = np.asarray(arrays[1]) == 0
            if zero.any():
                masks.append(np.broadcast_to(zero, np.broadcast_shapes(*(np.shape(a) for a in arrays))))
        with np.errstate(all="ignore"):
            return pa.array(function(*arrays), mask=np.logical_or.reduce(masks) if masks else None)

    return run


def _join_or_add(left: Any, right: Any) -> Any:
    kinds = [o.type for o in (left, right) if isinstance(o, pa.Array)]
    if any(pa.types.is_large_string(k) for k in kinds):
        wide = [pc.cast(_as_operand(o), pa.large_string()) if _is_text(o) else o for o in (left, right)]
        return pc.binary_join_element_wise(*wide, pa.scalar("", pa.large_string()))
    if any(pa.types.is_string(k) for k in kinds):
        return pc.binary_join_element_wise(left, right, "")
    return pc.add(left, right)


def _is_text(operand: Any) -> bool:
    kind = operand.type if isinstance(operand, (pa.Array, pa.Scalar)) else None
    return isinstance(operand, str) if kind is None else pa.types.is_string(kind) or pa.types.is_large_string(kind)


_divided = _through_numpy(np.remainder)


def _remainder(left: Any, right: Any) -> pa.Array:
    """Return what is left of a division, with the sign of the divisor, as Python has it."""
    constant = isinstance(right, int) and not isinstance(right, bool) and 0 < right < 1 << 31
    if constant and right & (right - 1) == 0 and isinstance(left, pa.Array) and pa.types.is_int64(left.type):
        # By a power of two it is the lowest bits, also of negative numbers: five times as fast as dividing.
        return pc.bit_wise_and(left, pa.scalar(right - 1, left.type))
    return _divided(left, right)


_SPECIAL: dict[str, Callable[..., Any]] = {
    "add": _join_or_add,
    "divide": _true_divide,
    "floor_divide": _through_numpy(np.floor_divide),
    "remainder": _remainder,
    "is_in": lambda column, values: pc.is_in(column, value_set=_value_set(column, values)),
    "coalesce": lambda column, value: _filled(column, value),
}


def _filled(column: Any, value: Any) -> Any:
    if pa.types.is_null(column.type):
        return pa.array([value] * len(column))
    return pc.coalesce(column, pa.scalar(value).cast(column.type))


def _value_set(column: Any, values: tuple[Any, ...]) -> pa.Array:
    # A value that has no equal of the column's type is in no row of it.
    return pa.array([v for v in values if _converts(v, column.type)], column.type)


def _converts(value: Any, kind: pa.DataType) -> bool:
    try:
        there = pa.scalar(value, kind).as_py()
    except (pa.ArrowInvalid, TypeError, OverflowError):
        return False
    return bool(there == value) or (there != there and value != value)

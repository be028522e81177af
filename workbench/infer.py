"""From what people have to a column: the kind that the values themselves suggest."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from columns import Column, ImageColumn, KindError, ObjectColumn, ScalarColumn, TensorColumn

__all__ = ["as_column"]

_PLAIN = (bool, int, float, str, bytes, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, np.generic)


def as_column(values: Any, length: int | None, name: str) -> Column:
    """Return values as a column.

    Arrays of one dimension and sequences of plain values are scalars, arrays of more dimensions tensors,
    pictures images; anything else is kept as objects. One plain value is repeated `length` times. Pictures in
    arrays and files in paths are not guessed: say ``ImageColumn(array)``.

    Raises
    ------
    KindError
        If nothing can be made of the values; names the column.
    """
    if isinstance(values, Column):
        return values
    if isinstance(values, _PLAIN) or values is None:
        if length is None:
            raise KindError(f"Column '{name}' needs a value for each row; got {values!r} alone.")
        return ScalarColumn(pa.repeat(pa.scalar(values), length) if values is not None else pa.nulls(length))
    try:
        return _column(values)
    except KindError as error:
        raise KindError(f"Column '{name}': {error}") from error


def _column(values: Any) -> Column:
    if isinstance(values, (np.ndarray, torch.Tensor)) and values.ndim > 1:
        return TensorColumn(values)
    if isinstance(values, (np.ndarray, torch.Tensor, pa.Array, pa.ChunkedArray)):
        if isinstance(values, np.ndarray) and values.dtype == object:
            return _from_list(values.tolist())
        return ScalarColumn(values) if isinstance(values, (np.ndarray, torch.Tensor)) else _from_arrow(values)
    if type(values).__module__.startswith("pandas"):
        from .frames import column_from_series

        return column_from_series(values)
    if hasattr(values, "__arrow_c_stream__") or hasattr(values, "__arrow_c_array__"):
        return _from_arrow(pa.chunked_array(values) if hasattr(values, "__arrow_c_stream__") else pa.array(values))
    if not hasattr(values, "__iter__"):
        raise KindError(f"values must be a column, an array, or a sequence; got {type(values).__name__}.")
    return _from_list(values if isinstance(values, list) else list(values))


def _from_arrow(array: pa.Array | pa.ChunkedArray) -> Column:
    from .arrow import column_from_arrow

    chunked = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    return column_from_arrow(chunked, pa.field("", chunked.type))


def _from_list(items: list[Any]) -> Column:
    if type(next((i for i in items if i is not None), None)) in (str, int, float, bool):
        try:
            return ScalarColumn(items)
        except KindError:
            pass  # of several types: what follows decides whether that is a mistake
    there = [item for item in items if item is not None]
    if there and type(there[0]).__module__.startswith("PIL."):
        return ImageColumn(items)
    if there and all(isinstance(i, (np.ndarray, torch.Tensor)) and i.ndim > 0 for i in there):
        shapes = {(tuple(i.shape), str(i.dtype)) for i in there}
        return TensorColumn(items) if len(shapes) == 1 else ObjectColumn(items)
    if all(isinstance(i, (*_PLAIN, list, dict, torch.Tensor)) for i in there):
        try:
            return ScalarColumn(items)
        except KindError:
            if all(isinstance(i, _PLAIN) for i in there):
                raise  # plain values of several types are a mistake, not a kind
    return ObjectColumn(items)

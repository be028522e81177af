"""From values to what other libraries take: one tensor, one array, Arrow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from .coerce import stack_pictures, to_form
from .errors import KindError
from .functions import Output
from .values import ArrowValues, DenseValues, ListValues, Values

__all__ = ["as_batch", "values_to_arrow", "values_to_numpy"]


def as_batch(values: Values, kind: Any) -> torch.Tensor:
    """Return values as one tensor, or say why they are not one.

    Parameters
    ----------
    values : Values
        Rows of a column.
    kind : Column or str
        The column, or the name of its kind; for the words of the error.

    Raises
    ------
    KindError
        If rows are null, not numbers, or of several shapes.
    """
    kind = kind if isinstance(kind, str) else kind.kind
    valid = values.valid()
    if valid is not None:
        raise KindError(
            f"A tensor has no null, and {int((~valid).sum())} of {len(valid)} rows of this {kind} column are null; "
            "drop them first: column[~column.is_null()]."
        )
    pictures = stack_pictures(values)
    if pictures is not None:
        values, others = pictures
        if others:
            raise KindError(f"Row {min(others)}: {others[min(others)]}.")
    batch = values.batch()
    if isinstance(batch, torch.Tensor):
        return batch
    try:
        dense = to_form(batch, Output("", "dense"), f"a {kind} column").batch()
    except (ValueError, TypeError) as error:
        raise KindError(f"The rows of this {kind} column do not make one tensor: {error}") from error
    assert isinstance(dense, torch.Tensor)
    return dense


def values_to_numpy(values: Values) -> NDArray[Any]:
    """Return values as one array; null is NaN or None. Rows of several shapes give an object array."""
    if isinstance(values, DenseValues):
        return _with_nan(values)
    if isinstance(values, ArrowValues):
        return np.asarray(values.array.to_numpy(zero_copy_only=False))
    rows = values.rows()
    array = np.empty(len(rows), object)
    for position, row in enumerate(rows):
        array[position] = row
    return array


def values_to_arrow(values: Values) -> pa.Array:
    """Return values as an Arrow array; arrays of one shape become (nested) fixed-size lists.

    Raises
    ------
    KindError
        If they are objects that Arrow has no form for.
    """
    if isinstance(values, ArrowValues):
        return values.array
    try:
        if isinstance(values, DenseValues):
            return _dense_to_arrow(values)
        rows = values.items if isinstance(values, ListValues) else values.rows()
        return pa.array([r.tolist() if isinstance(r, torch.Tensor) else r for r in rows])
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
        raise KindError(f"These objects have no form in Arrow: {error}") from error


def _dense_to_arrow(values: DenseValues) -> pa.Array:
    shape, valid = values.data.shape[1:], values.valid()
    null = None if valid is None else pa.array(~valid)
    if not shape:
        return pa.array(values.data, mask=None if valid is None else ~valid)
    array = pa.array(np.ascontiguousarray(values.data).reshape(-1))
    if math.prod(shape) == 0:
        # Arrow has no lists of fixed size 0, and no elements from which to count the rows.
        kind = pa.list_(array.type)
        for _ in shape[1:]:
            kind = pa.list_(kind)
        return pa.array(values.data.tolist(), kind, mask=None if valid is None else ~valid)
    for size in reversed(shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return pa.FixedSizeListArray.from_arrays(array, shape[0], mask=null)


def _with_nan(values: DenseValues) -> NDArray[Any]:
    valid = values.valid()
    if valid is None:
        return values.data
    data = values.data.astype(np.result_type(values.data.dtype, np.float32), copy=True)
    data[~valid] = np.nan
    return data

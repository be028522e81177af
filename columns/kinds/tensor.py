"""Tensors: an array of one shape per row; in memory or mapped from a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import torch
from numpy.typing import NDArray

from ..coerce import to_form
from ..column import Column, kind
from ..errors import KindError, StoreError
from ..expression import Source
from ..functions import Output, to_numpy
from ..html import picture_cell, text_cell
from ..sources import DenseSource
from ..spec import ColumnSpec
from ..values import DenseValues, picture

__all__ = ["TensorColumn", "dense_source"]


@kind
@final
class TensorColumn(Column):
    """An array of one shape and dtype per row.

    Parameters
    ----------
    data : ndarray, Tensor, or sequence of arrays
        Shape (rows, *shape). A memory-mapped array stays on disk. In a sequence, None is null.

    Examples
    --------
    >>> TensorColumn(np.zeros((3, 2, 2), np.float32))
    <TensorColumn: 3 rows, float32[2, 2] = <3 rows of float32[2, 2]>>
    """

    kind = "tensor"
    form = "dense"
    __slots__ = ()

    def __new__(cls, data: Any) -> Self:
        source = dense_source(data, "data")
        return cls.over(Source(source), spec=ColumnSpec("tensor", str(source.data.dtype), source.data.shape[1:]))

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Return the rows of an ``.npy`` file, memory-mapped.

        Raises
        ------
        StoreError
            If it is not such a file, or holds Python objects.
        """
        try:
            data = np.load(Path(path), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise StoreError(f"'{path}' is not an array that can be mapped: {error}") from error
        if data.ndim == 0 or data.dtype.kind not in "biufc":
            raise StoreError(f"'{path}' must hold rows of numbers; it has {data.dtype} of shape {data.shape}.")
        source = DenseSource(data, where=str(path))
        return cls.over(Source(source), spec=ColumnSpec("tensor", str(data.dtype), data.shape[1:]))

    def cell(self, value: Any) -> str:
        return array_cell(value)


def dense_source(data: Any, what: str) -> DenseSource:
    """Return arrays of one shape as a source.

    Raises
    ------
    KindError
        If the rows are not arrays of numbers of one shape.
    """
    if isinstance(data, Column):
        values = data.values()
        if not isinstance(values, DenseValues):
            values = to_form(values.rows(), Output(form="dense"), what)
        assert isinstance(values, DenseValues)
        return DenseSource(values.data, values.valid())
    if isinstance(data, torch.Tensor):
        data = to_numpy(data)
    if not isinstance(data, np.ndarray):
        values = to_form(data, Output(form="dense"), what)
        assert isinstance(values, DenseValues)
        return DenseSource(values.data, values.valid())
    if data.dtype == object or data.dtype.kind not in "biufc" or data.ndim == 0:
        raise KindError(f"`{what}` needs arrays of numbers; got {data.dtype} of shape {data.shape}.")
    return DenseSource(data)


def array_cell(value: torch.Tensor | NDArray[Any] | None) -> str:
    """Return an array as HTML: masks and maps as pictures, all else as its first numbers."""
    if value is None:
        return text_cell(None)
    plane = _plane(torch.as_tensor(value))
    if plane is not None:
        return picture_cell(picture(plane))
    flat = torch.as_tensor(value).reshape(-1)[:4].tolist()
    numbers = ", ".join(f"{v:.3g}" for v in flat)
    more = ", …" if torch.as_tensor(value).numel() > 4 else ""
    return f'<span title="{text_cell(tuple(value.shape))}">{numbers}{more}</span>'


def _plane(value: torch.Tensor) -> NDArray[np.uint8] | None:
    """Return a mask or a map as shades of grey: its magnitude, summed over one to four channels."""
    flat = value.double().abs().sum(dim=0) if value.ndim == 3 and len(value) <= 4 and not value.is_complex() else value
    if flat.ndim != 2 or not min(flat.shape) >= 4 or max(flat.shape) > 4096 or flat.is_complex():
        return None
    magnitude = np.abs(np.nan_to_num(flat.double().numpy(), posinf=0.0, neginf=0.0))
    top = magnitude.max()
    shades: NDArray[np.uint8] = (magnitude * (255 / top if top > 0 else 0)).astype(np.uint8)
    return shades[..., None]

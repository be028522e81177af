"""Values: rows that have been computed, in one of four forms.

====== ========================= ==================================================
form   class                     rows
====== ========================= ==================================================
arrow  `ArrowValues`             numbers, strings, dates, categories, nested
dense  `DenseValues`             arrays of one shape and dtype
image  `ImageValues`             uint8 pictures of one size, as decoded
list   `ListValues`              anything else, pictures of many sizes included
====== ========================= ==================================================

Every form represents null, and every form knows what a function sees of it: `rows()` for functions that
take one row, `batch()` for functions that take many.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from .errors import KindError
from .selection import Selection

__all__ = [
    "ArrowValues",
    "DenseValues",
    "ImageValues",
    "ListValues",
    "Values",
    "concatenate",
    "picture",
    "read_only",
    "shared_tensor",
    "unpacked",
]


class Values(ABC):
    """Computed rows, some of which may be null."""

    form: str

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def take(self, rows: Selection) -> Values:
        """Return the rows of a selection; `NO_ROW` gives null."""

    @abstractmethod
    def valid(self) -> NDArray[np.bool_] | None:
        """Return which rows are not null, or None when all are there."""

    @abstractmethod
    def rows(self) -> list[Any]:
        """Return the rows as Python values, None where null."""

    @abstractmethod
    def batch(self) -> Any:
        """Return what a batched function sees; called on values without null only."""

    def keep(self, mask: NDArray[np.bool_]) -> Values:
        """Return the rows where `mask` is true."""
        return self.take(Selection.from_mask(mask))


class ArrowValues(Values):
    """Rows of an Arrow array."""

    form = "arrow"
    __slots__ = ("array",)

    def __init__(self, array: pa.Array | pa.ChunkedArray) -> None:
        if isinstance(array, pa.ChunkedArray):
            array = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()
            if isinstance(array, pa.ChunkedArray):  # too long for one array of 32-bit offsets
                array = pa.concat_arrays([c.cast(_wide(c.type)) for c in array.chunks])
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def take(self, rows: Selection) -> ArrowValues:
        r = rows.range
        if r is not None and r.step == 1:
            return ArrowValues(self.array.slice(r.start, len(r)))
        index = rows.indices()
        if rows.nullable:
            return ArrowValues(self.array.take(pa.array(index, mask=index < 0)))
        kind = self.array.type
        if self.array.null_count == 0 and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            # NumPy gathers numbers without a bounds check on every buffer: twice as fast as Arrow.
            return ArrowValues(pa.array(np.take(self.array.to_numpy(), index)))
        return ArrowValues(self.array.take(pa.array(index)))

    def valid(self) -> NDArray[np.bool_] | None:
        if self.array.null_count == 0:
            return None
        return np.asarray(self.array.is_valid().to_numpy(zero_copy_only=False))

    def rows(self) -> list[Any]:
        return list(self.array.to_pylist())

    def batch(self) -> Any:
        kind = self.array.type
        if pa.types.is_dictionary(kind):
            # Functions see the codes of a category: a label is a number to a loss.
            return torch.from_numpy(self.array.indices.to_numpy().astype(np.int64))
        if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
            return torch.from_numpy(np.array(self.array.to_numpy(zero_copy_only=False)))
        return self.array.to_pylist()


class DenseValues(Values):
    """Arrays of one shape and dtype, stacked.

    Parameters
    ----------
    data : ndarray, shape (rows, *shape)
        The values; anything where a row is null.
    valid : ndarray of bool, shape (rows,), optional
        False where a row is null; all rows are there if left out.
    """

    form = "dense"
    __slots__ = ("_valid", "data")

    def __init__(self, data: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> None:
        self.data = data
        self._valid = None if valid is None or valid.all() else valid

    def __len__(self) -> int:
        return len(self.data)

    def take(self, rows: Selection) -> DenseValues:
        r = rows.range
        if r is not None:
            stop = r.stop if r.stop >= 0 else None
            cut = slice(r.start, stop, r.step) if len(r) else slice(0, 0)
            valid = None if self._valid is None else self._valid[cut]
            return type(self)(self.data[cut], valid)
        index = rows.indices()
        if rows.nullable and not len(self.data):  # an outer join with an empty side
            blank = np.zeros((len(index), *self.data.shape[1:]), self.data.dtype)
            return type(self)(blank, np.zeros(len(index), np.bool_))
        valid = None if self._valid is None else self._valid[index]
        if rows.nullable:
            valid = index >= 0 if valid is None else valid & (index >= 0)
        return type(self)(self.data[index], valid)

    def valid(self) -> NDArray[np.bool_] | None:
        return self._valid

    def rows(self) -> list[Any]:
        tensor = _as_tensor(self.data)
        if self._valid is None:
            return list(tensor)
        return [row if there else None for row, there in zip(tensor, self._valid, strict=True)]

    def batch(self) -> torch.Tensor:
        return _as_tensor(self.data)


class ImageValues(DenseValues):
    """Pictures of one size: uint8, shape (rows, height, width, channels), as decoders write them."""

    form = "image"
    __slots__ = ()

    def rows(self) -> list[Any]:
        there = self._valid if self._valid is not None else np.ones(len(self.data), np.bool_)
        # A copy: the memory may be a buffer that the next batch is decoded into.
        return [picture(row.copy()) if ok else None for row, ok in zip(self.data, there, strict=True)]

    def batch(self) -> torch.Tensor:
        # (rows, channels, height, width) as torch has it; the memory stays channels-last, nothing is copied.
        return _as_tensor(self.data).permute(0, 3, 1, 2)


class ListValues(Values):
    """Python objects, None where null."""

    form = "list"
    __slots__ = ("items",)

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def take(self, rows: Selection) -> ListValues:
        return ListValues([self.items[i] if i >= 0 else None for i in rows.indices().tolist()])

    def valid(self) -> NDArray[np.bool_] | None:
        there = np.fromiter((item is not None for item in self.items), np.bool_, len(self.items))
        return None if there.all() else there

    def rows(self) -> list[Any]:
        return list(self.items)

    def batch(self) -> list[Any]:
        return list(self.items)


def picture(array: NDArray[np.uint8]) -> Any:
    """Return a uint8 array of shape (height, width, 1, 3 or 4) as a `PIL.Image.Image`."""
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(array[:, :, 0] if array.shape[2] == 1 else array))


def unpacked(array: pa.BooleanArray) -> NDArray[np.bool_]:
    """Return Arrow's packed bits, none of them null, as NumPy has booleans; many times faster than Arrow does it."""
    if not len(array):
        return np.zeros(0, np.bool_)
    bits = np.frombuffer(array.buffers()[1], np.uint8)
    return np.unpackbits(bits, count=array.offset + len(array), bitorder="little")[array.offset :].view(np.bool_)


def concatenate(parts: Sequence[Values]) -> Values:
    """Return the rows of several values, one after the other; of different forms, as a list.

    Raises
    ------
    KindError
        If they are arrays of several shapes, or scalars that have no common type.
    """
    if len(parts) == 1:
        return parts[0]
    arrow = [p for p in parts if isinstance(p, ArrowValues)]
    if len(arrow) == len(parts):
        arrays = [p.array for p in arrow]
        return ArrowValues(pa.concat_arrays(_unify(arrays) if len({a.type for a in arrays}) > 1 else arrays))
    dense = [p for p in parts if isinstance(p, DenseValues)]
    if len(dense) == len(parts):
        stacked = _concatenate_dense(dense)
        if stacked is not None:
            return stacked
    return ListValues([row for part in parts for row in part.rows()])


def _concatenate_dense(parts: Sequence[DenseValues]) -> DenseValues | None:
    """Return arrays of one shape stacked, or None for pictures of several sizes."""
    # Parts that are all null may not know the shape that their rows would have had.
    masks = [p.valid() for p in parts]
    known = [p for p, m in zip(parts, masks, strict=True) if len(p) and (m is None or m.any())]
    first = (known or [p for p in parts if len(p)] or parts)[0]
    shapes = {p.data.shape[1:] for p in known}
    if len(shapes) > 1:
        if all(isinstance(p, ImageValues) for p in known):
            return None
        raise KindError(
            f"Rows joined into one column must have one shape; got {_listed(shapes)}. "
            "Map the parts to one shape, or keep them as an ObjectColumn."
        )
    shape = first.data.shape[1:]
    data = [
        p.data if p.data.shape[1:] == shape else np.zeros((len(p), *shape), first.data.dtype) for p in parts if len(p)
    ]
    valid = None
    if any(m is not None for m in masks):
        ones = [np.ones(len(p), np.bool_) if m is None else m for p, m in zip(parts, masks, strict=True)]
        valid = np.concatenate(ones)
    return type(first)(np.concatenate(data) if data else first.data[:0], valid)


def _unify(arrays: list[pa.Array]) -> list[pa.Array]:
    kinds = {a.type for a in arrays}
    try:
        target = pa.unify_schemas([pa.schema([("x", k)]) for k in kinds], promote_options="permissive").field(0).type
        return [a.cast(target) for a in arrays]
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise KindError(
            f"Columns of types {_listed(kinds)} cannot be joined into one; cast one of them first."
        ) from error


def _wide(kind: pa.DataType) -> pa.DataType:
    return {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}.get(kind, kind)


def read_only(data: NDArray[Any]) -> NDArray[Any]:
    """Return the same memory as an array that cannot be written to."""
    view = data.view()
    view.flags.writeable = False
    return view


def shared_tensor(data: NDArray[Any]) -> torch.Tensor:
    """Return a tensor over the same memory even where that may not be written to: for reading only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.array(data) if any(step < 0 for step in data.strides) else data)


def _as_tensor(data: NDArray[Any]) -> torch.Tensor:
    if not data.flags.writeable or any(step < 0 for step in data.strides):
        data = np.array(data)  # torch shares memory only with arrays that may be written
    return torch.from_numpy(data)


def _listed(things: Any) -> str:
    return ", ".join(sorted(str(thing) for thing in things))

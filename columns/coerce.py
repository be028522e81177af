"""From what a function returned to values: the one place where a function's contract is checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from .errors import FunctionError, KindError, SizeError
from .functions import Function, Output, check_rows, to_numpy
from .values import ArrowValues, DenseValues, ImageValues, ListValues, Values

__all__ = ["image_array", "outputs_of", "stack_pictures", "stack_rows", "to_arrow_array", "to_form"]


def outputs_of(function: Function, raw: Any, rows: int, wanted: frozenset[str]) -> dict[str, Values]:
    """Return what a batched call gave, by output name, in the form that each output was declared to have.

    Raises
    ------
    FunctionError
        If outputs are missing, or their rows, shape or dtype are not as declared.
    """
    if function.outputs[0].name == "":
        named: Mapping[str, Any] = {"": raw}
    elif isinstance(raw, Mapping):
        named = raw
    elif isinstance(raw, tuple) and len(raw) == len(function.outputs):
        named = {o.name: part for o, part in zip(function.outputs, raw, strict=True)}
    else:
        names = ", ".join(o.name for o in function.outputs)
        raise FunctionError(
            f"`{function.name}` must return its outputs ({names}) as a dictionary or a tuple; got {type(raw).__name__}."
        )
    result: dict[str, Values] = {}
    for name in wanted:
        if name not in named:
            raise FunctionError(f"`{function.name}` did not return '{name}'; it returned {sorted(named)}.")
        output = function.output(name)
        what = f"{function.name}.{name}" if name else function.name
        values = to_form(named[name], output, what)
        check_rows(what, len(values), rows)
        result[name] = values
    return result


def stack_rows(function: Function, raw: Sequence[Any], wanted: frozenset[str]) -> Any:
    """Return what calls on single rows gave as if one call on all of them had given it."""
    if function.outputs[0].name == "":
        return list(raw)
    columns: dict[str, list[Any]] = {name: [] for name in wanted}
    for row in raw:
        if isinstance(row, tuple) and len(row) == len(function.outputs):
            row = {o.name: part for o, part in zip(function.outputs, row, strict=True)}
        if not isinstance(row, Mapping) or not wanted <= set(row):
            names = ", ".join(sorted(wanted))
            raise FunctionError(f"`{function.name}` must return a dictionary with {names}; got {row!r}.")
        for name in wanted:
            columns[name].append(row[name])
    return columns


def to_form(raw: Any, output: Output, what: str) -> Values:
    """Return raw rows as values of the declared form.

    Raises
    ------
    FunctionError
        If they are not rows at all, or not of the shape that was declared.
    KindError
        If they do not fit the form.
    """
    if not isinstance(raw, (torch.Tensor, np.ndarray, pa.Array, pa.ChunkedArray, list)):
        if raw is None or isinstance(raw, (str, bytes, Mapping)) or not isinstance(raw, Iterable):
            outputs = "; declare its outputs with `to={name: kind}`" if isinstance(raw, Mapping) else ""
            raise FunctionError(f"`{what}` must return one row per row; got {type(raw).__name__}{outputs}.")
        raw = list(raw)
    elif getattr(raw, "ndim", 1) == 0:
        raise FunctionError(f"`{what}` must return one row per row; got one value {raw!r}.")
    if output.form == "pending":
        return _infer(raw)
    if output.form == "list":
        return ListValues(list(raw.cpu() if isinstance(raw, torch.Tensor) else raw))
    if output.form == "arrow":
        return ArrowValues(to_arrow_array(raw, output.dtype, what))
    if output.form == "image":
        return _images(raw, what)
    return _dense(raw, output, what)


def _infer(raw: Any) -> Values:
    if isinstance(raw, (pa.Array, pa.ChunkedArray)):
        return ArrowValues(raw)
    if isinstance(raw, (torch.Tensor, np.ndarray)) and raw.dtype != object:
        if raw.ndim > 1:
            return DenseValues(to_numpy(raw) if isinstance(raw, torch.Tensor) else raw)
        return ArrowValues(to_arrow_array(raw, None, "function"))
    items = list(raw)
    there = [item for item in items if item is not None]
    if there and all(isinstance(i, (bool, int, float, str, np.generic)) for i in there):
        try:
            return ArrowValues(to_arrow_array(items, None, "function"))
        except KindError:
            return ListValues(items)
    if there and all(isinstance(i, (torch.Tensor, np.ndarray)) for i in there):
        shapes = {(tuple(i.shape), str(i.dtype)) for i in there}
        if shapes == {((), str(there[0].dtype))}:
            return ArrowValues(to_arrow_array(items, None, "function"))  # a loss, a score: one value per row
        if len(shapes) == 1 and there[0].dtype != object:
            return _dense(items, Output(form="dense"), "function")
    return ListValues(items)


def to_arrow_array(raw: Any, dtype: str | None, what: str) -> pa.Array:
    """Return one value per row as an Arrow array, of type `dtype` if given.

    Raises
    ------
    KindError
        If there is more than one value a row, or values of several types.
    """
    if isinstance(raw, pa.ChunkedArray):
        raw = ArrowValues(raw).array
    if isinstance(raw, torch.Tensor):
        raw = to_numpy(raw)
    if isinstance(raw, np.ndarray) and raw.ndim > 1:
        if raw.ndim == 2 and raw.shape[1] == 1:
            raw = raw[:, 0]  # a column vector is one value a row, as torch layers return it
        else:
            raise KindError(f"`{what}` must give one value per row; got rows of shape {raw.shape[1:]}.")
    if isinstance(raw, (list, tuple)):
        raw = _plain_list(raw)
    try:
        kind = None if dtype is None else pa.type_for_alias(dtype)
    except ValueError as error:
        raise KindError(f"`dtype` must name a type of Arrow, 'float32' say; got {dtype!r}.") from error
    try:
        array = raw if isinstance(raw, pa.Array) else pa.array(raw)
        array = ArrowValues(array).array
        return array if kind is None or array.type == kind else array.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, ValueError) as error:
        aim = "one type" if kind is None else f"type {kind}"
        raise KindError(f"The values of `{what}` must all have {aim}: {error}") from error


def _plain_list(items: Sequence[Any]) -> Any:
    """Return a sequence for Arrow to read, with scalars of NumPy and torch made plain."""
    if type(next((i for i in items if i is not None), None)) in (str, int, float, bool):
        # Nearly always the rest is like the first: one pass in C instead of a million looks from Python.
        try:
            return pa.array(items)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            pass
    return [i.item() if isinstance(i, (np.generic, torch.Tensor)) and np.ndim(i) == 0 else i for i in items]


def _dense(raw: Any, output: Output, what: str) -> DenseValues:
    valid: NDArray[np.bool_] | None = None
    if isinstance(raw, torch.Tensor):
        data = to_numpy(raw)
    elif isinstance(raw, np.ndarray) and raw.dtype != object:
        data = raw
    elif isinstance(raw, (pa.Array, pa.ChunkedArray)):
        data = np.asarray(raw.to_pylist())
    else:
        data, valid = _stack(list(raw), what)
    if data.dtype.kind not in "biufc":
        raise KindError(f"The rows of `{what}` must be arrays of numbers; got {data.dtype}.")
    if output.shape is not None and data.shape[1:] != output.shape and len(data):
        raise FunctionError(f"`{what}` was declared with rows of shape {output.shape}; it returned {data.shape[1:]}.")
    if output.shape is not None and data.shape[1:] != output.shape:
        data = data.reshape((0, *output.shape))
    if output.dtype is not None and data.dtype != np.dtype(output.dtype):
        data = data.astype(output.dtype)
    return DenseValues(data, valid)


def _stack(items: list[Any], what: str) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    arrays = [None if i is None else to_numpy(i) if isinstance(i, torch.Tensor) else np.asarray(i) for i in items]
    there = [a for a in arrays if a is not None]
    shapes = {a.shape for a in there}
    if len(shapes) > 1 or any(a.dtype == object for a in there):
        raise FunctionError(
            f"The rows of `{what}` must have one shape; got {', '.join(str(s) for s in sorted(shapes))}. "
            "Pad or resize them, or declare `to=ObjectColumn`."
        )
    if not there:
        return np.zeros((len(items), 0), np.float32), np.zeros(len(items), np.bool_)
    if len(there) == len(arrays):
        return np.stack(there), None
    blank = np.zeros_like(there[0])
    return np.stack([blank if a is None else a for a in arrays]), np.array([a is not None for a in arrays])


def _images(raw: Any, what: str) -> Values:
    """Accept uint8 tensors (rows, channels, height, width), arrays (rows, height, width[, channels]), or pictures."""
    if isinstance(raw, torch.Tensor):
        if raw.dtype != torch.uint8 or raw.ndim != 4:
            raise FunctionError(
                f"`{what}` must return pictures as uint8 of shape (rows, channels, height, width); "
                f"got {raw.dtype} of shape {tuple(raw.shape)}."
            )
        return ImageValues(to_numpy(raw.permute(0, 2, 3, 1)))
    if isinstance(raw, np.ndarray):
        return ImageValues(image_array(raw, what))
    from PIL import Image

    items = list(raw)
    bad = next((i for i in items if not isinstance(i, (Image.Image, np.ndarray, type(None)))), None)
    if bad is not None:
        raise FunctionError(f"`{what}` must return pictures (PIL or uint8 arrays); got {type(bad).__name__}.")
    return ListValues([_as_picture(i, what) for i in items])


def stack_pictures(values: Values) -> tuple[Values, dict[int, BaseException]] | None:
    """Return pictures that were read one by one as one array, and the rows whose size is not that of the first.

    None where the rows are no pictures, or one array already.
    """
    from PIL import Image

    if not isinstance(values, ListValues):
        return None
    there = [i for i in values.items if i is not None]
    if not there or not all(isinstance(i, Image.Image) for i in there):
        return None
    first: NDArray[np.uint8] | None = None
    stacked = np.zeros((0, 0, 0, 0), np.uint8)
    valid = np.zeros(len(values), np.bool_)
    others: dict[int, BaseException] = {}
    for position, item in enumerate(values.items):
        if item is None:
            continue
        plain = item if item.mode in ("L", "RGB", "RGBA") else item.convert("RGB")
        row = image_array(np.asarray(plain)[None], "picture")[0]
        if first is None:
            first, stacked = row, np.zeros((len(values), *row.shape), np.uint8)
        if row.shape == first.shape:
            stacked[position], valid[position] = row, True
        else:
            others[position] = other_size(row.shape, first.shape)
    return ImageValues(stacked, None if valid.all() else valid), others


def other_size(shape: tuple[int, ...], first: tuple[int, ...]) -> SizeError:
    """Return the error for a picture that does not fit into one batch with the others."""
    if shape[:2] == first[:2]:
        return SizeError(
            f"pictures of one batch must have one mode: this one has {shape[2]} channels, the first has {first[2]}; "
            "convert them, or map row by row"
        )
    return SizeError(
        f"pictures of one batch must have one size: this one is {shape[0]}×{shape[1]} (height×width), the first is "
        f"{first[0]}×{first[1]}; ask for one size with `.resize((height, width))`, or map row by row"
    )


def _as_picture(item: Any, what: str) -> Any:
    from .values import picture

    return picture(image_array(item[None], what)[0]) if isinstance(item, np.ndarray) else item


def image_array(array: NDArray[Any], what: str) -> NDArray[np.uint8]:
    """Return pictures as uint8 of shape (rows, height, width, channels).

    Raises
    ------
    KindError
        If the dtype is not uint8 or the shape is not that of pictures.
    """
    if array.ndim == 3:
        array = array[..., None]
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] not in (1, 3, 4):
        raise KindError(
            f"Pictures of `{what}` must be uint8 of shape (rows, height, width) or (rows, height, width, 1, 3 or 4); "
            f"got {array.dtype} of shape {array.shape}. For floats or other layouts use a TensorColumn."
        )
    return array

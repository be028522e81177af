"""Columns out of columns: which rows, several together, mapped, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from .errors import KindError, LengthError
from .expression import Concat, Map, Node, Pick, Take, apply, take
from .functions import Function, Output
from .registry import KINDS, is_column, kind_of
from .selection import Selection
from .spec import ColumnSpec
from .values import ArrowValues, unpacked

__all__ = ["align", "concat", "map_columns", "select_rows"]


def select_rows(rows: Any, length: int) -> Selection:
    """Return what an index means: a slice, a mask, row numbers (negative from the end), or a lazy column of these.

    Raises
    ------
    LengthError
        If a mask has another length.
    IndexError
        If a row number is out of range.
    KindError
        If it is none of these.
    """
    if isinstance(rows, slice):
        return Selection(range(length)[rows])
    if isinstance(rows, Selection):
        return rows
    if is_column(rows):
        values = rows.values()
        if not isinstance(values, ArrowValues):
            raise KindError(f"Rows are chosen by booleans or row numbers; got a column of kind '{rows.kind}'.")
        array = values.array
        if pa.types.is_boolean(array.type):
            rows = unpacked(array.fill_null(False))  # what is not known to hold is left out, as pandas does
        else:
            rows = array.to_numpy(zero_copy_only=False)
    index = np.asarray(rows.cpu() if isinstance(rows, torch.Tensor) else rows)
    if index.dtype == bool:
        if index.shape != (length,):
            raise LengthError(f"A mask must have one value for each of the {length} rows; got shape {index.shape}.")
        return Selection.from_mask(index)
    if index.size == 0 and index.ndim == 1:
        return Selection(np.zeros(0, np.int64))
    if index.ndim != 1 or index.dtype.kind not in "iu":
        raise KindError(
            f"Rows are chosen by a slice, a mask, or whole numbers; got {index.dtype} of shape {index.shape}."
        )
    low, high = int(index.min()), int(index.max())
    if low < -length or high >= length:
        raise IndexError(f"Rows must lie in [{-length}, {length}); got {low if low < -length else high}.")
    # A copy in any case: whoever gave the row numbers may change them later.
    index = index.astype(np.int64, copy=True)
    return Selection(np.where(index < 0, index + length, index) if low < 0 else index)


def align(columns: Sequence[Any], *, strict: bool = True) -> tuple[tuple[Node, ...], Selection, Node | None]:
    """Return the nodes of columns, the one selection under which they stand row by row, and their keys.

    Parameters
    ----------
    columns : sequence of Column
        All of one length.
    strict : bool
        Whether null in means null out. Else a selection that makes nulls becomes part of the nodes: what is done
        with them must see those nulls.

    Raises
    ------
    LengthError
        If they differ in length.
    """
    first = columns[0]
    for column in columns[1:]:
        if len(column) != len(first):
            names = [c.name or c.kind for c in (first, column)]
            raise LengthError(
                f"Columns used together must have one length; '{names[0]}' has {len(first)} rows and "
                f"'{names[1]}' has {len(column)}."
            )
    same_space = all(c.node.length == first.node.length for c in columns)
    seen = strict or not first.selection.nullable
    if seen and same_space and all(first.selection.same_rows(c.selection) for c in columns[1:]):
        keys = next((c.keys for c in columns if c.keys is not None), None)
        return tuple(c.node for c in columns), first.selection, keys
    keyed = next((c for c in columns if c.keys is not None), None)
    keys = None if keyed is None else take(keyed.keys, keyed.selection)
    return tuple(take(c.node, c.selection) for c in columns), Selection.whole(len(first)), keys


def map_columns(
    columns: Sequence[Any],
    function: Callable[..., Any],
    *,
    to: Any = None,
    batched: bool | None = None,
    batch_size: int | None = None,
    shape: Sequence[int] | None = None,
    dtype: str | None = None,
    device: str = "auto",
    version: str | None = None,
    autocast: str | None = None,
    channels_last: bool = False,
) -> Any:
    """Map a function over several columns; see `Column.map`."""
    if not callable(function):
        raise KindError(f"`function` must be callable; got {function!r}.")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1; got {batch_size}.")
    if autocast is not None and not isinstance(getattr(torch, autocast, None), torch.dtype):
        raise ValueError(f"`autocast` must name a dtype of torch, 'bfloat16' say; got {autocast!r}.")
    if isinstance(to, dict) and (not to or "" in to):
        raise KindError(f"`to` must name each output; got {to!r}.")
    kinds = to if isinstance(to, dict) else {"": to}
    row_shape = None if shape is None else tuple(shape)
    outputs = []
    for name, one in kinds.items():
        cls = KINDS["pending"] if one is None else kind_of(one)
        _check_dtype(dtype, cls.form)
        outputs.append(Output(name, cls.form, row_shape, dtype))
    described = Function(
        function, tuple(outputs), isinstance(function, torch.nn.Module) if batched is None else batched,
        batch_size, device, version, autocast, channels_last,
    )  # fmt: skip
    nodes, selection, keys = align(columns)

    def build(inputs: tuple[Node, ...]) -> tuple[Node, ...]:
        made = Map(described, tuple(_by_content(n) for n in inputs))
        return tuple(Pick(made, o.name) for o in outputs)

    picked = apply(build, nodes)
    results = {}
    for (name, one), node in zip(kinds.items(), picked, strict=True):
        cls = KINDS["pending"] if one is None else kind_of(one)
        spec = ColumnSpec(cls.kind, dtype, row_shape)
        results[name] = cls.over(node, selection, spec, keys, name or described.name)
    return results if isinstance(to, dict) else results[""]


def _by_content(node: Node) -> Node:
    """Return the one node for these rows: both sides of a join meet under selections that are made anew each time."""
    return Take.by_content(node) if isinstance(node, Take) else node


def _check_dtype(dtype: str | None, form: str) -> None:
    """Refuse a dtype that does not exist when it is asked for, not when the rows are computed."""
    if dtype is None:
        return
    try:
        if form == "arrow":
            pa.type_for_alias(dtype)
        elif form in ("dense", "image"):
            np.dtype(dtype)
    except (ValueError, TypeError) as error:
        raise KindError(
            f"`dtype` must name a type of {'Arrow' if form == 'arrow' else 'NumPy'}; got {dtype!r}."
        ) from error


def concat(columns: Sequence[Any]) -> Any:
    """Return the rows of several columns of one kind, one after the other; nothing is computed.

    Raises
    ------
    KindError
        If kinds, classes, units or shapes differ.

    Examples
    --------
    >>> from columns import ScalarColumn
    >>> concat([ScalarColumn([1, 2]), ScalarColumn([3])]).to_list()
    [1, 2, 3]
    """
    if not columns:
        raise KindError("Joining columns into one needs at least one; got none.")
    first = columns[0]
    for other in columns[1:]:
        if other.kind != first.kind:
            raise KindError(f"Columns joined into one must be of one kind; got '{first.kind}' and '{other.kind}'.")
        for part in ("classes", "unit"):
            one, two = getattr(first.spec, part), getattr(other.spec, part)
            if one != two:
                raise KindError(f"Columns joined into one must have the same {part}; got {one} and {two}.")
        shapes = first.spec.shape, other.spec.shape
        if first.form == "dense" and None not in shapes and shapes[0] != shapes[1] and len(first) and len(other):
            raise KindError(f"Rows joined into one column must have one shape; got {shapes[0]} and {shapes[1]}.")
    node = Concat([take(c.node, c.selection) for c in columns])
    spec = first.spec if all(c.spec == first.spec for c in columns) else first.spec.with_(dtype=None, shape=None)
    keys = None if any(c.keys is None for c in columns) else Concat([take(c.keys, c.selection) for c in columns])
    return type(first).over(node, None, spec, keys, first.name)

"""Arrow in and out: the form in which every table library hands over its rows.

What Arrow has no word for (tensors, predictions, pictures, class names in their order) is noted as JSON in the
metadata of the field, under ``workbench``, so that a round trip through Arrow, Parquet or IPC gives the same kinds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from columns import KINDS, Column, ColumnError, ColumnSpec, Files, KindError, ObjectColumn, ScalarColumn, TensorColumn
from columns.column import read_columns
from columns.exporting import values_to_arrow
from columns.expression import Source
from columns.sources import ArrowSource, DenseSource, FileSource
from columns.values import Values

from .assemble import assemble, refuse_twice
from .errors import PanelError
from .pictures import Leaf, encode, file_path, leaves, pictures_from_arrow

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = [
    "as_table",
    "column_from_arrow",
    "dense_from_arrow",
    "panel_from_arrow",
    "panel_to_arrow",
]

NOTE = b"workbench"


def panel_to_arrow(panel: DataPanel, images: str = "auto", keys: bool = False) -> pa.Table:
    """Return the panel as an Arrow table; see `DataPanel.to_arrow`."""
    arrays: dict[str, pa.Array] = {}
    notes: dict[str, dict[str, Any]] = {}
    # Pictures are encoded one by one; files are named, not read; all else takes one pass.
    plain = [n for n in panel.columns if panel.kind(n) != "image" and not _is_files(panel[n])]
    values = dict(zip(plain, read_columns([panel[n] for n in plain]), strict=True)) if plain else {}
    for name in panel.columns:
        column = panel[name]
        if column.kind == "image":
            array, note = encode(column, name, images)
            arrays[name], notes[name] = array, {"kind": "image", **note}
        elif name in values:
            arrays[name] = _to_arrow(name, values[name])
            notes[name] = _note(column, values[name])
        else:
            arrays[name], notes[name] = _file_paths(column), {}
    if keys:
        if "key" in arrays:
            raise PanelError("Keys are written to a column 'key', and the panel has one already; rename it first.")
        arrays["key"], notes["key"] = panel.key.to_arrow(), {"kind": "key"}
    fields = [
        pa.field(n, a.type, metadata={NOTE: json.dumps(notes[n]).encode()} if notes[n] else None)
        for n, a in arrays.items()
    ]
    return pa.Table.from_arrays(list(arrays.values()), schema=pa.schema(fields))


def _is_files(column: Column) -> bool:
    """Say whether a column is of files, which are handed over by their paths."""
    return column.kind == "file" and all(_files(leaf) is not None for leaf in leaves(column))


def _files(leaf: Leaf) -> Files | None:
    source = leaf.node.source if isinstance(leaf.node, Source) else None
    return source.files if isinstance(source, FileSource) else None


def _file_paths(column: Column) -> pa.Array:
    out: list[str | None] = [None] * len(column)
    for leaf in leaves(column):
        files = _files(leaf)
        for place, row in zip(leaf.places.tolist(), leaf.rows.tolist(), strict=True):
            out[place] = None if row < 0 else file_path(files, row)
    return pa.array(out, pa.string())


def _to_arrow(name: str, values: Values) -> pa.Array:
    try:
        return values_to_arrow(values)
    except (KindError, pa.ArrowException, NotImplementedError, TypeError) as error:
        raise KindError(
            f"Column '{name}' has no form in Arrow ({error}); leave it out with `drop('{name}')`, or map it to "
            "numbers, strings, lists or dictionaries."
        ) from error


def _note(column: Column, values: Values) -> dict[str, Any]:
    spec: ColumnSpec = column.spec
    if column.kind in ("pending", "file") or (column.kind == "scalar" and spec.classes is None):
        return {}
    shape = getattr(values, "data", np.zeros(0)).shape[1:] if values.form == "dense" else None
    note = spec.with_(shape=shape or spec.shape).to_dict()
    if values.form == "dense":
        note["dtype"] = str(values.data.dtype)  # type: ignore[attr-defined]
    return note


def panel_from_arrow(data: Any, *, key: str | None = None, origin: str | None = None, base: Any = None) -> DataPanel:
    """Return a panel of anything that speaks Arrow; see `DataPanel.from_arrow`."""
    table = as_table(data)
    refuse_twice(table.column_names)
    columns: dict[str, Column] = {}
    marked: pa.ChunkedArray | None = None
    for field, array in zip(table.schema, table.columns, strict=True):
        note = _read_note(field)
        if note.get("kind") == "key" and key is None:
            marked = array
        else:
            columns[field.name] = column_from_arrow(array, field, base)
    if marked is not None:
        return assemble(columns, len(table), key=marked, origin=origin or "")
    if key is not None and key not in columns:
        raise PanelError(f"`key` must name a column; got '{key}', and there are {', '.join(columns) or 'none'}.")
    return assemble(columns, len(table), key=None if key is None else table.column(key), origin=origin)


def as_table(data: Any) -> pa.Table:
    """Return anything that speaks Arrow as a table.

    Raises
    ------
    PanelError
        If it does not, or is one column rather than a table.
    """
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, pa.RecordBatchReader):
        return data.read_all()
    try:
        if hasattr(data, "__arrow_c_stream__"):
            return pa.RecordBatchReader.from_stream(data).read_all()
        if hasattr(data, "__arrow_c_array__"):
            return pa.Table.from_batches([pa.record_batch(data)])
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError, TypeError) as error:
        raise PanelError(
            f"A panel needs a table of named columns; this {type(data).__name__} is none: {error}."
        ) from error
    raise PanelError(
        f"A panel is made from an Arrow table or from what has `__arrow_c_stream__`; got {type(data).__name__}. "
        "A polars LazyFrame needs `.collect()` first."
    )


def column_from_arrow(array: pa.ChunkedArray, field: pa.Field, base: Any = None) -> Column:
    """Return an Arrow column as a column: the kind that its note says, else the one that its type suggests.

    Numbers, strings, dates and nested values are scalars, dictionaries categories, fixed-size lists of numbers
    tensors. Memory is shared where the array is one piece.

    Raises
    ------
    PanelError
        If the note and the values do not fit each other.
    """
    note = _read_note(field)
    array = _plain(array)
    if not note or note.get("kind") not in KINDS:
        return _by_type(array)
    try:
        return _by_note(array, note, base)
    except (ColumnError, ValueError, TypeError, pa.ArrowException) as error:
        raise PanelError(
            f"Column '{field.name}' is not the {note['kind']} column that it says it is: {error}"
        ) from error


def _read_note(field: pa.Field) -> dict[str, Any]:
    raw = (field.metadata or {}).get(NOTE)
    if raw is None:
        return {}
    try:
        note = json.loads(raw)
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def _by_note(array: pa.ChunkedArray, note: dict[str, Any], base: Any) -> Column:
    if note["kind"] == "image":
        return pictures_from_arrow(array, note, base)
    spec = ColumnSpec.from_dict(note)
    cls = KINDS[spec.kind]
    if cls.form == "dense":
        source = dense_from_arrow(array, spec.shape, spec.dtype)
        if spec.classes is not None and source.data.shape[1:] != (len(spec.classes),):
            raise KindError(f"rows have shape {source.data.shape[1:]}, and there are {len(spec.classes)} classes.")
        return cls.over(Source(source), spec=spec.with_(shape=source.data.shape[1:], dtype=str(source.data.dtype)))
    if cls.form == "list":
        return ObjectColumn(array.to_pylist())
    if spec.classes is not None:
        names = array.cast(array.type.value_type) if pa.types.is_dictionary(array.type) else array
        return ScalarColumn(names, classes=spec.classes)
    if pa.types.is_null(array.type) and cls.kind == "text":
        array = array.cast(pa.string())
    return cls.over(Source(ArrowSource(array)), spec=spec.with_(dtype=str(array.type)))


def _by_type(array: pa.ChunkedArray) -> Column:
    if isinstance(array.type, pa.FixedShapeTensorType):
        return TensorColumn(array.combine_chunks().to_numpy_ndarray())
    if isinstance(array.type, pa.BaseExtensionType):
        array = _plain(pa.chunked_array([c.storage for c in array.chunks], array.type.storage_type))
    if pa.types.is_fixed_size_list(array.type) and _is_number(_leaf(array.type)):
        try:
            source = dense_from_arrow(array, None, None)
        except KindError:
            return ScalarColumn(array)  # lists with gaps are nested values, not tensors
        return TensorColumn.over(
            Source(source), spec=ColumnSpec("tensor", str(source.data.dtype), source.data.shape[1:])
        )
    if pa.types.is_dictionary(array.type):
        return _category(array)
    return ScalarColumn(array)


def _category(array: pa.ChunkedArray) -> Column:
    whole = array.unify_dictionaries().combine_chunks()
    chunks = whole.chunks if isinstance(whole, pa.ChunkedArray) else [whole]
    names = chunks[0].dictionary if chunks else pa.array([], array.type.value_type)
    texts = names.cast(pa.string()) if not pa.types.is_nested(names.type) else None
    if texts is None:
        return ScalarColumn(array.cast(array.type.value_type))
    if names.null_count or pc.count_distinct(texts).as_py() != len(texts):
        # Not class names but an encoding with gaps: its distinct values are the classes.
        decoded = array.cast(array.type.value_type).cast(pa.string())
        return _category(decoded.dictionary_encode())
    kind = pa.dictionary(pa.int32(), pa.string())
    parts = [pa.DictionaryArray.from_arrays(c.indices.cast(pa.int32()), texts) for c in chunks]
    return ScalarColumn(pa.concat_arrays(parts) if parts else pa.array([], kind))


def dense_from_arrow(array: pa.ChunkedArray, shape: Sequence[int] | None, dtype: str | None) -> DenseSource:
    """Return (nested) lists as arrays of one shape; memory is shared where sizes are fixed and nothing is null."""
    whole = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], array.type)
    if shape is not None and 0 in shape:
        data = np.zeros((len(whole), *shape), dtype or np.float32)
        return DenseSource(data, None if not whole.null_count else np.asarray(whole.is_valid()))
    valid = None
    full = whole
    if whole.null_count:
        valid = np.asarray(whole.is_valid().to_numpy(zero_copy_only=False))
        full = whole.drop_null()
    if shape and not pa.types.is_fixed_size_list(full.type):
        full = full.cast(_lists(_leaf(full.type), shape))  # lists of any size that must have this one
    sizes = []
    while pa.types.is_fixed_size_list(full.type):
        if full.null_count:
            raise KindError("arrays must be whole, and some have null in them.")
        sizes.append(full.type.list_size)
        full = full.flatten()
    if full.null_count or not _is_number(full.type):
        raise KindError(f"arrays must be whole and of numbers; got {array.type} with {full.null_count} null.")
    flat = full.to_numpy(zero_copy_only=False)
    count = len(whole) if valid is None else int(valid.sum())
    data = flat.reshape(count, *(sizes if shape is None else shape))
    if valid is not None:
        spread = np.zeros((len(whole), *data.shape[1:]), data.dtype)
        spread[valid] = data
        data = spread
    return DenseSource(data, valid)


def _leaf(dtype: pa.DataType) -> pa.DataType:
    while pa.types.is_fixed_size_list(dtype) or pa.types.is_list(dtype) or pa.types.is_large_list(dtype):
        dtype = dtype.value_type
    return dtype


def _lists(dtype: pa.DataType, shape: Sequence[int]) -> pa.DataType:
    for size in reversed(shape):
        dtype = pa.list_(dtype, size)
    return dtype


def _is_number(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_boolean(dtype))


def _plain(array: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the same rows without the large and view types of other libraries, which fewer kernels know."""
    if isinstance(array, pa.Array):
        array = pa.chunked_array([array])
    kind = _plain_type(array.type)
    if kind == array.type:
        return array
    try:
        return array.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return array  # too long for the small type, or no cast: as it came


def _plain_type(dtype: pa.DataType) -> pa.DataType:
    t = pa.types
    if t.is_large_string(dtype) or t.is_string_view(dtype):
        return pa.string()
    if t.is_binary_view(dtype):
        return pa.large_binary()
    if t.is_large_list(dtype) or t.is_list_view(dtype) or t.is_large_list_view(dtype) or t.is_list(dtype):
        return pa.list_(_plain_type(dtype.value_type))
    if t.is_struct(dtype):
        return pa.struct([f.with_type(_plain_type(f.type)) for f in dtype])
    if t.is_run_end_encoded(dtype):
        return _plain_type(dtype.value_type)
    if t.is_dictionary(dtype) and not t.is_nested(dtype.value_type):
        return pa.dictionary(pa.int32(), _plain_type(dtype.value_type))
    return dtype

"""Hugging Face datasets: from and to; pictures stay encoded, class names stay names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from columns import Column, ColumnSpec, ImageColumn, MissingExtra, ScalarColumn, Selection, TensorColumn, concat
from columns.expression import Source, take

from .arrow import column_from_arrow, dense_from_arrow, panel_to_arrow
from .assemble import assemble
from .errors import PanelError
from .pictures import encode, held_as, pictures_from_arrow

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["panel_from_huggingface", "panel_to_huggingface"]


def _datasets(what: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra.of("datasets", "huggingface", what) from error
    return datasets


def panel_from_huggingface(dataset: Any, *, key: str | None = None, origin: str | None = None) -> DataPanel:
    """Return a Hugging Face dataset as a panel; see `DataPanel.from_huggingface`."""
    hf = _datasets("from_huggingface")
    if isinstance(dataset, (hf.DatasetDict, hf.IterableDatasetDict)):
        splits = ", ".join(map(repr, dataset))
        raise PanelError(
            f"A panel holds one split; got a dictionary of {splits}. "
            f"Choose one: `dataset[{next(iter(dataset), '')!r}]`."
        )
    if isinstance(dataset, hf.IterableDataset):
        raise PanelError(
            "A panel needs rows that can be asked for by number; a streaming dataset gives them in order only. "
            "Take some: `Dataset.from_list(list(dataset.take(1000)))`."
        )
    if not isinstance(dataset, hf.Dataset):
        raise PanelError(f"`from_huggingface` takes a `datasets.Dataset`; got {type(dataset).__name__}.")
    table = dataset.data.table
    columns = {name: _column(table.column(name), feature, hf, name) for name, feature in dataset.features.items()}
    if key is not None and key not in columns:
        raise PanelError(f"`key` must name a column; got '{key}', and there are {', '.join(columns) or 'none'}.")
    panel = assemble(columns, len(table), key=None if key is None else table.column(key), origin=origin)
    # What was shuffled or filtered is a table and row numbers into it: the keys are those of the table.
    chosen = dataset._indices
    if chosen is None:
        return panel
    rows = Selection(chosen.column(0).to_numpy().astype(np.int64))
    return type(panel)._of(panel._columns, panel._keys, rows)


def _column(array: pa.ChunkedArray, feature: Any, hf: Any, name: str) -> Column:
    if isinstance(feature, hf.Image):
        return _pictures(array, feature.mode if feature.mode in ("L", "RGB", "RGBA") else "RGB")
    if isinstance(feature, hf.ClassLabel):
        codes = array.combine_chunks()
        codes = pa.concat_arrays(codes.chunks) if isinstance(codes, pa.ChunkedArray) else codes
        known = pc.if_else(pc.less(codes, 0), pa.scalar(None, codes.type), codes)  # -1: nobody knows
        return ScalarColumn(known, classes=feature.names) if feature.names else ScalarColumn(known)
    if isinstance(array.type, pa.BaseExtensionType):
        shape = getattr(array.type, "shape", None)
        array = pa.chunked_array([c.storage for c in array.chunks], array.type.storage_type)
        if shape is not None and None not in shape:
            return _fixed_shape(array, tuple(shape), name)
    return column_from_arrow(array, pa.field(name, array.type))


def _fixed_shape(array: pa.ChunkedArray, shape: tuple[int, ...], name: str) -> Column:
    """Return nested lists that the features declare to be of one shape as tensors."""
    try:
        source = dense_from_arrow(array, shape, None)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TypeError) as error:
        raise PanelError(
            f"Column '{name}' is declared to hold arrays of shape {shape}, and does not: {error}"
        ) from error
    spec = ColumnSpec("tensor", str(source.data.dtype), source.data.shape[1:])
    return TensorColumn.over(Source(source), spec=spec)


def _pictures(array: pa.ChunkedArray, mode: str) -> ImageColumn:
    """Return structs of bytes and path as pictures: the bytes where there are some, else the file at the path."""
    if not array.num_chunks:
        return pictures_from_arrow(pa.chunked_array([], pa.binary()), {"mode": mode})
    content = pa.chunked_array([pc.struct_field(c, "bytes") for c in array.chunks])
    paths = pa.chunked_array([pc.struct_field(c, "path") for c in array.chunks])
    inside = content.is_valid()
    if pc.all(pc.or_(inside, paths.is_null())).as_py():
        return pictures_from_arrow(content, {"mode": mode})
    if not pc.any(inside).as_py():
        return pictures_from_arrow(paths, {"mode": mode})
    # Some are files and some are not: both, put back into order.
    here = np.asarray(inside.to_numpy())
    both = concat(
        [
            pictures_from_arrow(content.filter(inside), {"mode": mode}),
            pictures_from_arrow(paths.filter(pc.invert(inside)), {"mode": mode}),
        ]
    )
    order = np.empty(len(here), np.int64)
    order[np.concatenate([np.flatnonzero(here), np.flatnonzero(~here)])] = np.arange(len(here))
    result: ImageColumn = ImageColumn.over(take(both.node, Selection(order)), spec=both.spec)
    return result


def panel_to_huggingface(panel: DataPanel, images: str = "auto") -> Any:
    """Return the panel as a Hugging Face dataset; see `DataPanel.to_huggingface`."""
    hf = _datasets("to_huggingface")
    arrays: dict[str, Any] = {}
    features: dict[str, Any] = {}
    plain = [n for n in panel.columns if panel.kind(n) != "image"]
    table = panel_to_arrow(panel[plain]) if plain else None
    for name in panel.columns:
        column = panel[name]
        if column.kind == "image":
            encoded = encode(column, name, images).array
            features[name] = hf.Image(mode=_mode(column))
            arrays[name] = _picture_structs(encoded)
            continue
        assert table is not None
        array = table.column(name).combine_chunks()
        array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
        arrays[name], features[name] = _feature(array, column, hf)
    info = hf.DatasetInfo(features=hf.Features(features))
    schema = info.features.arrow_schema
    made = pa.Table.from_arrays([_as_type(arrays[f.name], f.type) for f in schema], schema=schema)
    return hf.Dataset(hf.table.InMemoryTable(made), info=info)


def _as_type(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, array.cast(kind.storage_type))
    return array if array.type == kind else array.cast(kind)


def _mode(column: Column) -> str | None:
    """Return the mode to decode with, where the panel does not take pictures as RGB."""
    if held_as(column) == "pixels":
        return None
    mode: str = encode(column[:0], "", "auto").note["mode"]
    return None if mode == "RGB" else mode


def _picture_structs(encoded: pa.Array) -> pa.Array:
    none = pa.nulls(len(encoded))
    if pa.types.is_string(encoded.type):
        parts = [none.cast(pa.binary()), encoded]
    else:
        parts = [encoded.cast(pa.binary()), none.cast(pa.string())]
    lost = encoded.is_null()
    return pa.StructArray.from_arrays(parts, names=["bytes", "path"], mask=lost)


def _feature(array: pa.Array, column: Column, hf: Any) -> tuple[pa.Array, Any]:
    if column.spec.classes is not None and pa.types.is_dictionary(array.type):
        return array.indices.cast(pa.int64()), hf.ClassLabel(names=list(column.spec.classes))
    if pa.types.is_fixed_size_list(array.type):
        sizes, kind = [], array.type
        while pa.types.is_fixed_size_list(kind):
            sizes.append(kind.list_size)
            kind = kind.value_type
        if 2 <= len(sizes) <= 5:
            made = getattr(hf, f"Array{len(sizes)}D")(shape=tuple(sizes), dtype=str(np.dtype(kind.to_pandas_dtype())))
            return array, made
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    return array, hf.features.features.generate_from_arrow_type(array.type)

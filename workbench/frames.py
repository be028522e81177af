"""pandas and polars: from and to the tables that people have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from columns import Column, KindError, MissingExtra, ObjectColumn, ScalarColumn, TensorColumn
from columns.column import read_columns
from columns.exporting import values_to_numpy
from columns.values import ArrowValues, Values

from .arrow import column_from_arrow, panel_from_arrow, panel_to_arrow
from .assemble import assemble, refuse_twice
from .errors import PanelError
from .infer import as_column
from .pictures import encode

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["column_from_series", "panel_from_pandas", "panel_from_polars", "panel_to_pandas", "panel_to_polars"]

# Before version 3, pandas writes into a frame in place whoever shares its memory: then we copy.
_SHARES = int(pd.__version__.split(".")[0]) >= 3
_NULLABLE = {
    pa.int8(): pd.Int8Dtype(), pa.int16(): pd.Int16Dtype(), pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(), pa.uint16(): pd.UInt16Dtype(), pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(), pa.bool_(): pd.BooleanDtype(),
}  # fmt: skip


def panel_from_pandas(
    frame: Any, *, index: bool = False, key: str | None = None, origin: str | None = None
) -> DataPanel:
    """Return a pandas DataFrame as a panel; see `DataPanel.from_pandas`."""
    if not isinstance(frame, pd.DataFrame):
        raise PanelError(
            f"`from_pandas` takes a DataFrame; got {type(frame).__name__}. "
            "Of a Series make one with `series.to_frame(name)`."
        )
    names = [_name(label) for label in frame.columns]
    refuse_twice(names)
    # While this shallow copy lives, pandas copies before it writes to the frame: what we share stays as it is.
    held = frame.copy(deep=False)
    columns = {name: column_from_series(held.iloc[:, place], held) for place, name in enumerate(names)}
    if index and key is not None:
        raise PanelError("Keys come from the index or from a column; got both `index=True` and `key=`.")
    if index:
        if frame.index.nlevels > 1:
            labels = pa.array(["/".join(map(str, label)) for label in frame.index], pa.string())
        else:
            labels = pa.array([None if _is_null(label) else str(label) for label in frame.index], pa.string())
        # An index called "key" holds whole keys, as `to_pandas(index=True)` writes them.
        whole = origin is None and frame.index.name == "key"
        return assemble(columns, len(frame), key=labels, origin="" if whole else origin)
    if key is not None and key not in names:
        raise PanelError(f"`key` must name a column; got '{key}', and there are {', '.join(names) or 'none'}.")
    return assemble(columns, len(frame), key=None if key is None else columns[key].to_arrow(), origin=origin)


def _name(label: Any) -> str:
    return "/".join(map(str, label)) if isinstance(label, tuple) else str(label)


def column_from_series(series: Any, held: Any = None) -> Column:
    """Return a pandas Series as a column.

    Parameters
    ----------
    series : Series
        NaN, None, NA and NaT are null. Categories keep their names and order.
    held : object, optional
        What must live as long as the memory that is shared.
    """
    if isinstance(series.dtype, pd.CategoricalDtype):
        return _category(series)
    if series.dtype == object:
        return _objects(series.tolist())
    if isinstance(series.dtype, pd.SparseDtype):
        series = series.sparse.to_dense()
    if isinstance(series.dtype, np.dtype):
        return _from_numpy(series.to_numpy(), series if held is None else held)
    array = pa.array(series.array, from_pandas=True)
    chunked = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    if isinstance(chunked.type, pa.BaseExtensionType):
        return ObjectColumn([None if _is_null(item) else item for item in series.tolist()])  # periods, intervals
    return column_from_arrow(chunked, pa.field("", chunked.type))


def _from_numpy(values: Any, held: Any) -> Column:
    kind = values.dtype.kind
    if kind == "c":
        return TensorColumn(values)
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    if kind in "iuf" and values.dtype.itemsize <= 8 and values.flags.c_contiguous and len(values) and _SHARES:
        # The numbers are shared with pandas, not copied; NaN, which is how pandas spells null, is marked beside them.
        memory = pa.foreign_buffer(values.ctypes.data, values.nbytes, base=(values, held))
        there = pa.array(~np.isnan(values)).buffers()[1] if kind == "f" and np.isnan(values).any() else None
        return ScalarColumn(pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [there, memory]))
    if kind == "f" and values.dtype.itemsize > 8:
        values = values.astype(np.float64)
    return ScalarColumn(pa.array(values if _SHARES or kind == "O" else values.copy(), from_pandas=True))


def _category(series: Any) -> Column:
    codes = np.asarray(series.cat.codes, np.int32)
    names = [str(name) for name in series.cat.categories]
    if len(set(names)) != len(names):
        raise PanelError(
            f"Class names must differ as text; the categories of column '{series.name}' do not: {names[:10]}."
        )
    indices = pa.array(codes, mask=codes < 0)
    return ScalarColumn(pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string())))


def _objects(items: list[Any]) -> Column:
    """Return a column of whatever pandas holds as objects: values of one type where they are, else objects."""
    clean = [None if _is_null(i) else i for i in items]
    try:
        return as_column(clean, None, "object")
    except KindError:
        return ObjectColumn(clean)


def _is_null(item: Any) -> bool:
    return item is None or item is pd.NA or item is pd.NaT or (isinstance(item, (float, np.floating)) and item != item)


def panel_to_pandas(panel: DataPanel, index: bool = False, images: str = "auto") -> Any:
    """Return the panel as a pandas DataFrame; see `DataPanel.to_pandas`."""
    plain = [name for name in panel.columns if panel.kind(name) not in ("image", "file")]
    values = dict(zip(plain, read_columns([panel[n] for n in plain]), strict=True)) if plain else {}
    made = {}
    for name in panel.columns:
        if name in values:
            made[name] = _series(values[name])
        elif panel.kind(name) == "image":
            made[name] = encode(panel[name], name, images).array.to_pandas()
        else:
            made[name] = panel_to_arrow(panel[[name]]).column(0).to_pandas()
    keys = pd.Index(panel.key.to_list(), name="key", dtype=object) if index else pd.RangeIndex(len(panel))
    for series in made.values():
        series.index = keys
    return pd.DataFrame(made, index=keys, columns=list(panel.columns))


def _series(values: Values) -> Any:
    if isinstance(values, ArrowValues):
        array = values.array
        if pa.types.is_dictionary(array.type):
            codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            classes = pd.Index(array.dictionary.to_pylist(), dtype=object)
            return pd.Series(pd.Categorical.from_codes(codes, categories=classes))
        # Whole numbers with gaps keep being whole numbers.
        return array.to_pandas(types_mapper=_NULLABLE.get) if array.null_count else array.to_pandas()
    data = values_to_numpy(values)
    if data.ndim == 1:
        return pd.Series(data)
    valid = values.valid()
    rows = np.empty(len(data), object)
    for place in range(len(data)):
        rows[place] = data[place] if valid is None or valid[place] else None
    return pd.Series(rows, dtype=object)


def panel_from_polars(frame: Any, *, key: str | None = None, origin: str | None = None) -> DataPanel:
    """Return a polars DataFrame as a panel; see `DataPanel.from_polars`."""
    try:
        import polars as pl
    except ImportError as error:
        raise MissingExtra.of("polars", "polars", "from_polars") from error
    if isinstance(frame, pl.LazyFrame):
        raise PanelError("A polars LazyFrame holds a query, not rows; give `frame.collect()`.")
    if not isinstance(frame, pl.DataFrame):
        raise PanelError(f"`from_polars` takes a polars DataFrame; got {type(frame).__name__}.")
    objects = [name for name, kind in frame.schema.items() if kind == pl.Object]
    if not objects:
        return panel_from_arrow(frame, key=key, origin=origin)
    panel = panel_from_arrow(frame.drop(objects), key=key, origin=origin)
    for name in objects:  # Python objects have no form in Arrow
        panel[name] = ObjectColumn(frame[name].to_list())
    return panel[list(frame.columns)]  # type: ignore[no-any-return]


def panel_to_polars(panel: DataPanel, images: str = "auto", keys: bool = False) -> Any:
    """Return the panel as a polars DataFrame; see `DataPanel.to_polars`."""
    try:
        import polars as pl
    except ImportError as error:
        raise MissingExtra.of("polars", "polars", "to_polars") from error
    frame = pl.from_arrow(panel_to_arrow(panel, images, keys))
    # As an Enum, a category keeps its classes and their order; polars' Categorical does not.
    classes = {n: panel[n].spec.classes for n in panel.columns if panel.kind(n) == "scalar" and panel[n].spec.classes}
    return frame.with_columns([pl.col(name).cast(pl.Enum(list(names))) for name, names in classes.items()])

"""Meerkat DataFrames in memory: from and to; what is deferred there is lazy here, and the other way round."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from columns import Column, FileColumn, Files, ImageColumn, MissingExtra, ObjectColumn, ScalarColumn
from columns.column import read_columns
from columns.exporting import values_to_numpy

from .arrow import column_from_arrow
from .assemble import assemble
from .errors import NoColumnError, PanelError
from .frames import column_from_series, panel_to_pandas
from .infer import as_column
from .pictures import encode, held_as

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["panel_from_meerkat", "panel_to_meerkat"]


def _meerkat(what: str) -> Any:
    try:
        import meerkat
    except ImportError as error:
        raise MissingExtra.of("meerkat-ml (in an environment of its own)", "meerkat", what) from error
    return meerkat


def panel_from_meerkat(
    frame: Any, *, without: Sequence[str] = (), key: str | None = None, origin: str | None = None
) -> DataPanel:
    """Return a Meerkat DataFrame as a panel; see `DataPanel.from_meerkat`."""
    mk = _meerkat("from_meerkat")
    if not isinstance(frame, mk.DataFrame):
        raise PanelError(f"`from_meerkat` takes a Meerkat DataFrame, or a directory; got {type(frame).__name__}.")
    for name in (*without, *([key] if key else [])):
        if name not in frame.columns:
            raise NoColumnError(f"No column '{name}' in this DataFrame; it has: {', '.join(frame.columns)}.")
    columns = {str(name): _column(frame[name], str(name), mk) for name in frame.columns if name not in without}
    keys = None if key is None else pa.array([str(v) for v in frame[key]], pa.string())
    return assemble(columns, len(frame), key=keys, origin=origin)


def _column(column: Any, name: str, mk: Any) -> Column:
    if isinstance(column, mk.DeferredColumn):
        return _files(column) or _deferred(column, name)
    data = column.data
    if isinstance(column, mk.ObjectColumn):
        return ObjectColumn([None if item is None else item for item in data])
    if type(data).__module__.startswith("pandas"):
        return column_from_series(data)
    if isinstance(data, (pa.Array, pa.ChunkedArray)):
        chunked = data if isinstance(data, pa.ChunkedArray) else pa.chunked_array([data])
        return column_from_arrow(chunked, pa.field(name, chunked.type))
    return as_column(data, None, name)


def _files(column: Any) -> Column | None:
    """Return a Meerkat file column that reads local files as ours; None for any other deferred column."""
    op = column.data
    loader = op.fn
    if type(loader).__name__ != "FileLoader" or loader.downloader is not None or len(op.args) != 1:
        return None
    paths = [None if path is None else str(path) for path in op.args[0]]
    base = None if loader.base_dir is None else _expanded(str(loader.base_dir))
    if getattr(loader.loader, "__name__", "") == "load_image":
        return ImageColumn(Files(paths, base))
    return FileColumn(Files(paths, base), loader=_TakesText(loader.loader))


def _expanded(base: str) -> str:
    """Return a base directory with its environment variables replaced, as Meerkat does when it reads."""
    try:
        return Template(os.path.expanduser(base)).substitute(os.environ)
    except KeyError as error:
        raise PanelError(
            f"The base directory '{base}' names an environment variable that is not set: {error}."
        ) from error


class _TakesText:
    """A loader of Meerkat's, which takes a path as text."""

    def __init__(self, loader: Callable[[str], Any]) -> None:
        self.loader = loader
        self.__name__ = getattr(loader, "__name__", type(loader).__name__)

    def __call__(self, path: Path) -> Any:
        return self.loader(str(path))


def _deferred(column: Any, name: str) -> Column:
    """Return a deferred column as a map over its row numbers: Meerkat runs a row when it is asked for."""
    numbers = ScalarColumn(np.arange(len(column)))
    made: Column = numbers.map(_DeferredRow(column, name))
    return made


class _DeferredRow:
    """One row of a deferred Meerkat column."""

    def __init__(self, column: Any, name: str) -> None:
        self.column = column
        self.__name__ = name

    def __call__(self, row: int) -> Any:
        cell = self.column[row]
        return cell() if hasattr(cell, "get") and callable(cell) else cell


def panel_to_meerkat(panel: DataPanel) -> Any:
    """Return the panel as a Meerkat DataFrame; see `DataPanel.to_meerkat`."""
    mk = _meerkat("to_meerkat")
    made: dict[str, Any] = {}
    ready = [n for n in panel.columns if panel.kind(n) not in ("image", "file") and panel[n].is_computed()]
    values = dict(zip(ready, read_columns([panel[n] for n in ready]), strict=True)) if ready else {}
    for name in panel.columns:
        column = panel[name]
        if name not in values:
            made[name] = _as_files(column, name, mk) or _as_deferred(column, mk)
        elif column.form == "arrow":
            made[name] = mk.ScalarColumn(panel_to_pandas(panel[[name]])[name])
        elif values[name].form == "dense":
            made[name] = mk.TensorColumn(np.array(values_to_numpy(values[name])))
        else:
            made[name] = mk.ObjectColumn(values[name].rows())
    return mk.DataFrame(made)


def _as_files(column: Column, name: str, mk: Any) -> Any:
    """Return pictures in files, read as they are, as Meerkat's own file column; None for all else."""
    if column.kind != "image" or held_as(column) != "paths" or not len(column):
        return None
    encoded = encode(column, name, "paths")
    if encoded.note != {"mode": "RGB"} or encoded.array.null_count:
        return None
    return mk.image([os.path.abspath(path) for path in encoded.array.to_pylist()])


def _as_deferred(column: Column, mk: Any) -> Any:
    numbers = mk.ScalarColumn(np.arange(len(column)))
    return numbers.defer(_OurRow(column)) if len(column) else mk.ObjectColumn([])


class _OurRow:
    """One row of a column of ours, for Meerkat to ask for."""

    def __init__(self, column: Column) -> None:
        self.column = column
        self.__name__ = self.__qualname__ = column.name or column.kind

    def __call__(self, row: int) -> Any:
        return self.column[int(row)]

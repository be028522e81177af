"""Files and folders in and out: a folder of pictures, CSV, Parquet, Arrow IPC."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from columns import Column, Files, ImageColumn, KindError, ScalarColumn

from .arrow import panel_from_arrow, panel_to_arrow
from .assemble import assemble, refuse_twice
from .errors import DataError, NoColumnError
from .pictures import pictures_from_arrow

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = [
    "NULLS",
    "PICTURES",
    "panel_from_csv",
    "panel_from_folder",
    "panel_from_ipc",
    "panel_from_parquet",
    "panel_to_csv",
    "panel_to_ipc",
    "panel_to_parquet",
]

PICTURES = (
    ".avif", ".bmp", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pcx", ".pgm",
    ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
)  # fmt: skip
NULLS = ("", "NA", "N/A", "#N/A", "null", "NULL")  # not "nan": a float column has NaN of its own
_NOT_IN_CSV = (pa.types.is_nested, pa.types.is_binary, pa.types.is_large_binary, pa.types.is_duration)
_ROWS = 16_384  # rows written at a time, so that memory stays bounded


def panel_from_folder(
    path: str | os.PathLike[str], *, labels: bool = True, name: str = "image", origin: str | None = None
) -> DataPanel:
    """Return the pictures below a folder as a panel; see `DataPanel.from_folder`."""
    root = Path(path)
    if not root.is_dir():
        what = "it is a file" if root.exists() else "there is nothing there"
        raise DataError(f"A folder of pictures must be a directory; got '{root}', and {what}.")
    found, others = _pictures_below(root)
    if not found:
        seen = f"it holds {others[0]!r} and {len(others) - 1} other files" if others else "it is empty"
        raise DataError(f"A folder of pictures needs files like .jpg, .png or .webp; '{root}' has none: {seen}.")
    try:
        paths = pa.array(found, pa.string())
    except (UnicodeEncodeError, pa.ArrowException) as error:
        raise DataError(f"Names of files must be readable as UTF-8; some below '{root}' are not: {error}.") from error
    columns: dict[str, Column] = {name: ImageColumn(Files(paths, root))}
    if labels:
        # A picture that lies beside the class folders rather than in one has no label.
        parents = [Path(p).parent.name or None for p in found]
        classes = sorted({parent for parent in parents if parent is not None})
        if not classes:
            raise DataError(
                f"Labels are the names of folders, and the pictures lie in '{root}' itself, not in folders of their "
                "classes; say `labels=False`."
            )
        columns["label"] = ScalarColumn(parents, classes=classes)
    return assemble(columns, len(found), key=paths, origin=origin or root.resolve().name or "folder")


def _pictures_below(root: Path) -> tuple[list[str], list[str]]:
    """Return the relative paths of pictures, sorted, and names of other files; hidden ones are neither."""
    found: list[str] = []
    others: list[str] = []
    seen: set[tuple[int, int]] = set()
    for folder, below, files in os.walk(root, followlinks=True, onerror=_refuse):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:  # a link to where we have been
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        below[:] = sorted(name for name in below if not name.startswith("."))
        for file in files:
            if file.startswith("."):
                continue
            inside = Path(folder, file).relative_to(root).as_posix()
            (found if file.lower().endswith(PICTURES) else others).append(inside)
    return sorted(found), sorted(others)


def _refuse(error: OSError) -> None:
    raise DataError(f"Every folder must be readable; '{error.filename}' is not: {error.strerror}.") from error


def panel_from_csv(
    path: str | os.PathLike[str],
    *,
    images: str | Sequence[str] | None = None,
    base: str | os.PathLike[str] | None = None,
    delimiter: str = ",",
    encoding: str = "utf-8",
    nulls: Sequence[str] = NULLS,
    key: str | None = None,
    origin: str | None = None,
) -> DataPanel:
    """Return a CSV file as a panel; see `DataPanel.from_csv`."""
    file = _file(path, "CSV")
    csv = pa.csv
    convert = csv.ConvertOptions(
        null_values=list(nulls), strings_can_be_null=True, quoted_strings_can_be_null=False, check_utf8=True
    )
    parse = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    try:
        table = csv.read_csv(file, csv.ReadOptions(encoding=encoding), parse, convert)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeError, LookupError) as error:
        raise DataError(f"'{file}' cannot be read as CSV: {error}.") from error
    if any(pa.types.is_binary(kind) for kind in table.schema.types) or not _has_names(table):
        raise DataError(
            f"'{file}' must be text in {encoding}; it is not. Say its encoding, `encoding='latin-1'` for instance."
        )
    return _with_pictures(table, images, file.parent if base is None else base, key, origin)


def panel_from_parquet(
    path: str | os.PathLike[str],
    *,
    names: Sequence[str] | None = None,
    images: str | Sequence[str] | None = None,
    base: str | os.PathLike[str] | None = None,
    key: str | None = None,
    origin: str | None = None,
) -> DataPanel:
    """Return a Parquet file, or a directory of them, as a panel; see `DataPanel.from_parquet`."""
    file = _file(path, "Parquet", folder=True)
    try:
        if file.is_file():
            there = pa.parquet.read_schema(file).names
            refuse_twice(there)
            missing = [n for n in names or () if n not in there]
            if missing:
                raise NoColumnError(f"No column '{missing[0]}' in '{file}'; it has: {', '.join(there)}.")
        table = pa.parquet.read_table(file, columns=None if names is None else list(names))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"'{file}' cannot be read as Parquet: {error}.") from error
    return _with_pictures(_without_index(table), images, base, key, origin)


def panel_from_ipc(
    path: str | os.PathLike[str],
    *,
    images: str | Sequence[str] | None = None,
    base: str | os.PathLike[str] | None = None,
    key: str | None = None,
    origin: str | None = None,
) -> DataPanel:
    """Return an Arrow IPC (Feather) file or stream as a panel; see `DataPanel.from_ipc`."""
    file = _file(path, "Arrow IPC")
    try:
        memory = pa.memory_map(str(file)) if file.stat().st_size else pa.BufferReader(b"")
        try:
            table = pa.ipc.open_file(memory).read_all()
        except pa.ArrowInvalid:
            memory.seek(0)
            table = pa.ipc.open_stream(memory).read_all()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"'{file}' cannot be read as Arrow IPC: {error}.") from error
    return _with_pictures(_without_index(table), images, base, key, origin)


def _has_names(table: pa.Table) -> bool:
    try:
        return table.column_names is not None
    except UnicodeDecodeError:
        return False


def _file(path: str | os.PathLike[str], what: str, *, folder: bool = False) -> Path:
    file = Path(path)
    if not file.exists():
        raise DataError(f"A {what} file must be there to be read; there is no '{file}'.")
    if file.is_dir() and not folder:
        raise DataError(f"A {what} file is needed; '{file}' is a directory.")
    return file


def _without_index(table: pa.Table) -> pa.Table:
    """Leave out the nameless index that pandas writes as a column."""
    return table.drop_columns([n for n in table.column_names if re.fullmatch(r"__index_level_\d+__", n)])


def _with_pictures(
    table: pa.Table, images: str | Sequence[str] | None, base: Any, key: str | None, origin: str | None
) -> DataPanel:
    named = [images] if isinstance(images, str) else list(images or ())
    panel = panel_from_arrow(table, key=key, origin=origin, base=base)
    for name in named:
        if name not in panel:
            raise NoColumnError(panel.no_column(name))
        try:
            panel[name] = pictures_from_arrow(table.column(name), None, base)
        except KindError as error:
            raise KindError(f"Column '{name}': {error}") from error
    return panel


def panel_to_csv(panel: DataPanel, path: str | os.PathLike[str], keys: bool = False) -> None:
    """Write the panel as CSV; see `DataPanel.to_csv`."""

    def start(draft: Path, schema: pa.Schema) -> Any:
        for field in schema:
            if any(is_type(field.type) for is_type in _NOT_IN_CSV):
                kind = panel.kind(field.name)
                raise KindError(
                    f"A CSV file holds one plain value per row and column; '{field.name}' "
                    f"({kind}, {field.type}) does not. Leave it out with `drop('{field.name}')`, or write Parquet."
                )
        return pa.csv.CSVWriter(draft, schema)

    images = {n for n in panel.columns if panel.kind(n) == "image"}
    _write(panel, path, "paths" if images else "auto", keys, start, _decoded)


def panel_to_parquet(panel: DataPanel, path: str | os.PathLike[str], images: str = "auto", keys: bool = False) -> None:
    """Write the panel as Parquet; see `DataPanel.to_parquet`."""
    _write(panel, path, images, keys, lambda draft, schema: pa.parquet.ParquetWriter(draft, schema), _with_open_lists)


def panel_to_ipc(panel: DataPanel, path: str | os.PathLike[str], images: str = "auto", keys: bool = False) -> None:
    """Write the panel as an Arrow IPC file; see `DataPanel.to_ipc`."""
    _write(panel, path, images, keys, lambda draft, schema: pa.ipc.new_file(str(draft), schema))


def _write(
    panel: DataPanel,
    path: str | os.PathLike[str],
    images: str,
    keys: bool,
    start: Callable[[Path, pa.Schema], Any],
    adapt: Callable[[pa.Table], pa.Table] = lambda table: table,
) -> None:
    """Write a panel piece by piece into a file that appears under its name when it is whole."""
    with _draft(Path(path)) as draft:
        writer = None
        for table in _pieces(panel, images, keys):
            table = adapt(table)
            if writer is None:
                writer, schema = start(draft, table.schema), table.schema
            writer.write_table(table if table.schema.equals(schema) else table.cast(schema))
        assert writer is not None
        writer.close()


def _pieces(panel: DataPanel, images: str, keys: bool) -> Iterator[pa.Table]:
    # What has no type before it is computed has to be converted as a whole, to find one for all of its rows.
    open_type = any(panel.kind(name) in ("pending", "object") for name in panel.columns)
    step = max(1, len(panel)) if open_type else _ROWS
    for first in range(0, max(1, len(panel)), step):
        yield panel_to_arrow(panel[first : first + step], images, keys)


def _decoded(table: pa.Table) -> pa.Table:
    """Return the table with class names in place of codes, which CSV has no word for."""
    fields = [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in table.schema]
    return table.cast(pa.schema(fields))


def _with_open_lists(table: pa.Table) -> pa.Table:
    """Return the table with lists of any size: before version 26, pyarrow reads no null among those of fixed size."""
    fields = [f.with_type(_open_lists(f.type)) for f in table.schema]
    return table.cast(pa.schema(fields))


def _open_lists(dtype: pa.DataType) -> pa.DataType:
    return pa.list_(_open_lists(dtype.value_type)) if pa.types.is_fixed_size_list(dtype) else dtype


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """Give a name beside `target`; take its place when all is written, leave nothing behind when it is not."""
    if not target.parent.is_dir():
        raise DataError(f"A file is written into a directory that is there; there is no '{target.parent}'.")
    draft = target.with_name(f".{target.name}.{os.getpid()}.draft")
    try:
        yield draft
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)

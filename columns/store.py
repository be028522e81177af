"""Stored rows: sources that know their length and content from a manifest, and map their file when first read."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .column import Column
from .decoding import EncodedImages
from .errors import KindError, StoreError
from .expression import Source
from .manifest import Entry, FileRecord, Stored, locate, within
from .registry import KINDS
from .selection import Selection
from .sources import Files, FileSource, RowSource
from .values import ArrowValues, DenseValues, ImageValues, ListValues, Values, concatenate

__all__ = ["BytesLoader", "StoredArrow", "StoredBytes", "StoredDense", "StoredFiles", "StoredObjects", "open_column"]


class _InDirectory:
    """Rows of one length that lie in files of a panel's directory."""

    def __init__(self, root: Path, stored: Stored, length: int) -> None:
        self.root = root
        self.stored = stored
        self._length = length

    def __len__(self) -> int:
        return self._length

    def digest(self) -> str:
        return self.stored.digest

    def _path(self, record: FileRecord) -> Path:
        """Return where a file lies, once it is known to be there in full."""
        path = locate(self.root, record.name)
        try:
            size = path.stat().st_size
        except OSError as error:
            raise StoreError(f"'{path}' cannot be read: {error.strerror}. {_REMEDY}") from error
        if size != record.size:
            raise StoreError(
                f"'{path}' must have {record.size:,} bytes, as its manifest says; it has {size:,}. {_REMEDY}"
            )
        return path


_REMEDY = (
    "Restore the file from a copy, open an earlier version with `version=`, or leave the column out: `panel.drop(name)`"
    " works without reading it."
)


class _ArrowFile(_InDirectory):
    """The one column of an Arrow IPC file, mapped on first use."""

    _chunks: pa.ChunkedArray | None = None

    @property
    def chunks(self) -> pa.ChunkedArray:
        """The rows, in the batches in which they were written."""
        if self._chunks is None:
            path = self._path(self.stored.data)
            try:
                with pa.memory_map(str(path)) as file:  # the map outlives the open file
                    table = pa.ipc.open_file(file).read_all()
                if table.num_columns != 1 or table.num_rows != self._length:
                    found = f"{table.num_rows} rows of {table.num_columns} columns"
                    raise StoreError(f"'{path}' must hold {self._length} rows of one column; it holds {found}.")
                chunks = table.column(0)
                if str(chunks.type) != self.stored.dtype:
                    raise StoreError(f"'{path}' must hold {self.stored.dtype}; it holds {chunks.type}.")
                # Offsets that somebody tampered with would be followed out of the file.
                chunks.validate(full=True)
            except (pa.ArrowException, OSError) as error:
                if isinstance(error, StoreError):
                    raise
                raise StoreError(f"'{path}' is damaged: {error}. {_REMEDY}") from error
            self._chunks = chunks
        return self._chunks

    def rows(self, rows: Selection) -> ArrowValues:
        """Return the rows of a selection; no copy is made of a run of rows within one batch."""
        chunks = self.chunks
        if chunks.num_chunks == 1:
            whole = ArrowValues(chunks.chunk(0))
            return whole if rows.is_whole(self._length) else whole.take(rows)
        r = rows.range
        if r is not None and r.step == 1:
            return ArrowValues(chunks.slice(r.start, len(r)) if len(r) else pa.array([], chunks.type))
        index = rows.indices()
        starts = np.cumsum([0, *(len(c) for c in chunks.chunks)])
        owner = np.searchsorted(starts, index, side="right") - 1
        order = np.argsort(owner, kind="stable")
        # Batch by batch: Arrow would first join them all, which may be more than fits in memory.
        parts: list[Values] = [
            ArrowValues(chunks.chunk(n).take(pa.array(index[owner == n] - starts[n]))) for n in np.unique(owner)
        ]
        if not parts:
            return ArrowValues(pa.array([], chunks.type))
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        result = concatenate(parts).take(Selection(back))
        assert isinstance(result, ArrowValues)
        return result


class StoredArrow(_ArrowFile, RowSource):
    """Scalars, text and keys in an Arrow file."""

    def read(self, rows: Selection) -> Values:
        return self.rows(rows)

    def __repr__(self) -> str:
        return f"<{self._length} rows of {self.stored.dtype} in {self.stored.data.name}>"


class StoredObjects(_ArrowFile, RowSource):
    """Objects, one JSON text a row."""

    def read(self, rows: Selection) -> Values:
        texts = self.rows(rows).array.to_pylist()
        try:
            return ListValues([None if t is None else json.loads(t) for t in texts])
        except (ValueError, RecursionError) as error:
            raise StoreError(f"'{self.stored.data.name}' in '{self.root}' is damaged: {error}. {_REMEDY}") from error

    def __repr__(self) -> str:
        return f"<{self._length} objects in {self.stored.data.name}>"


class StoredDense(_InDirectory, RowSource):
    """Arrays of one shape in an ``.npy`` file."""

    def __init__(self, root: Path, stored: Stored, length: int, form: type[DenseValues] = DenseValues) -> None:
        super().__init__(root, stored, length)
        self._form = form
        self._values: DenseValues | None = None

    @property
    def values(self) -> DenseValues:
        """Every row, mapped on first use."""
        if self._values is None:
            stored = self.stored
            data = self._map(stored.data, np.dtype(stored.dtype), stored.shape)
            valid = None if stored.valid is None else self._map(stored.valid, np.dtype(np.bool_), ())
            self._values = self._form(data, valid)
        return self._values

    def read(self, rows: Selection) -> Values:
        return self.values if rows.is_whole(self._length) else self.values.take(rows)

    def _map(self, record: FileRecord, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        path = self._path(record)
        whole = (self._length, *shape)
        try:
            # There is no map of nothing. Mapped read-only: nobody writes into a version.
            data = np.load(path, mmap_mode="r" if 0 not in whole else None, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise StoreError(f"'{path}' is damaged: {error}. {_REMEDY}") from error
        if not isinstance(data, np.ndarray) or data.dtype != dtype or data.shape != whole:
            found = f"{data.dtype} of shape {data.shape}" if isinstance(data, np.ndarray) else "an archive"
            raise StoreError(f"'{path}' must hold {dtype} of shape {whole}; it holds {found}.")
        return np.asarray(data)

    def __repr__(self) -> str:
        return f"<{self._length} rows of {self.stored.dtype}{list(self.stored.shape)} in {self.stored.data.name}>"


class StoredBytes(_ArrowFile):
    """Encoded pictures in an Arrow file, as `EncodedImages` takes them: by row number."""

    def __getitem__(self, row: int) -> pa.Scalar:
        return self.chunks[row]


class StoredFiles(Files):
    """Paths in an Arrow file, confined to their base directory.

    Parameters
    ----------
    root : Path
        The panel's directory.
    stored : Stored
        Where the paths lie.
    length : int
        Number of rows.
    base : str or Path, optional
        The directory that the caller trusts; without it, only one inside the panel's own is used.
    """

    def __init__(self, root: Path, stored: Stored, length: int, base: str | os.PathLike[str] | None = None) -> None:
        super().__init__(pa.array([], pa.string()), base, confined=True)
        self.file = _ArrowFile(root, stored, length)
        self.recorded = stored.base if base is None else os.path.abspath(base)
        self.inside = stored.inside and base is None
        if self.inside and stored.base is not None:
            self.base = root / stored.base
            self.recorded = str(self.base)

    @property
    def paths(self) -> pa.Array:
        """One path a row, mapped on first use."""
        return self.file.rows(Selection.whole(len(self.file))).array

    @paths.setter
    def paths(self, empty: pa.Array) -> None:
        """Take no notice of what `Files` begins with."""

    def __len__(self) -> int:
        return len(self.file)

    def name(self, row: int) -> str | None:
        value: str | None = self.file.chunks[row].as_py()
        return value

    def path(self, row: int) -> Path | None:
        if self.base is None:
            raise StoreError(
                "the files of this column lie outside of the panel's directory; if you trust where they lay when it "
                f"was saved, open the panel with `base='{self.recorded}'`"
            )
        path = super().path(row)
        if path is not None and self.inside and not within(self.file.root, path):
            raise StoreError(f"a file of a panel must lie inside its directory; '{path}' is a link that leaves it")
        return path

    def moved(self, base: str | os.PathLike[str]) -> Files:
        return StoredFiles(self.file.root, self.file.stored, len(self.file), base)


class BytesLoader:
    """Gives a file's bytes in place of a loader that a manifest only names.

    Parameters
    ----------
    name : str
        Of the loader that wrote the column; kept, so that saving again does not forget it.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, path: Path) -> bytes:
        return path.read_bytes()

    def stable_name(self) -> str:
        """Return the name by which results are found again."""
        return "bytes"


def open_column(
    root: Path,
    entry: Entry,
    length: int,
    base: str | os.PathLike[str] | None = None,
    loaders: Mapping[str, Callable[[Path], Any]] | None = None,
) -> Column:
    """Return a column over files that are not touched before a row is read.

    Parameters
    ----------
    root : Path
        The panel's directory.
    entry : Entry
        Out of its manifest.
    length : int
        Number of rows.
    base : str or Path, optional
        Trusted directory of files outside of `root`.
    loaders : mapping of str to callable, optional
        Loaders of file columns, by the name in the manifest or that of the column.

    Raises
    ------
    StoreError
        If nobody has registered the kind, or the entry does not fit it.
    """
    if entry.spec.kind not in KINDS:
        raise StoreError(
            f"Column '{entry.name}' is of kind '{entry.spec.kind}', which nobody has registered; import the module "
            "that defines it first."
        )
    source = _source(root, entry, length, base, loaders or {})
    column = KINDS[entry.spec.kind].over(Source(source), None, entry.spec, None, entry.name)
    column.node.label = entry.name
    return column


def _source(
    root: Path,
    entry: Entry,
    length: int,
    base: str | os.PathLike[str] | None,
    loaders: Mapping[str, Callable[[Path], Any]],
) -> RowSource:
    stored, form = entry.stored, KINDS[entry.spec.kind].form
    if stored.way == "arrow" and form == "arrow":
        return StoredArrow(root, stored, length)
    if stored.way == "npy" and form in ("dense", "image"):
        try:
            dtype = np.dtype(stored.dtype)
        except (TypeError, ValueError, SyntaxError):
            dtype = np.dtype(object)
        if dtype.kind not in "biufc":
            raise StoreError(f"Column '{entry.name}' cannot hold '{stored.dtype}'; arrays are of numbers.")
        return StoredDense(root, stored, length, ImageValues if form == "image" else DenseValues)
    if stored.way == "json" and form == "list":
        return StoredObjects(root, stored, length)
    if stored.mode is not None and form == "image" and stored.way in ("bytes", "paths"):
        held = StoredBytes if stored.way == "bytes" else StoredFiles
        try:
            trusted = (base,) if stored.way == "paths" else ()
            return EncodedImages(held(root, stored, length, *trusted), stored.mode, stored.size, stored.reduced)
        except KindError as error:
            raise StoreError(f"Column '{entry.name}': {error}") from error
    if stored.way == "paths" and form == "list":
        files = StoredFiles(root, stored, length, base)
        return FileSource(files, _loader(entry.name, stored.loader, loaders))
    raise StoreError(f"Column '{entry.name}' of kind '{entry.spec.kind}' cannot be stored as '{stored.way}'.")


def _loader(column: str, name: str | None, loaders: Mapping[str, Callable[[Path], Any]]) -> Callable[[Path], Any]:
    """Return the loader that the caller trusts; a name in a manifest is never imported."""
    given = loaders.get(name or "") or loaders.get(column)
    if given is not None:
        return given
    if name is None:
        return Path.read_bytes
    warnings.warn(
        f"Column '{column}' was read by '{name}'; without it its rows are bytes. Open the panel with "
        f"`loaders={{'{name}': ...}}`, or give the column one: `.with_loader(...)`.",
        stacklevel=5,
    )
    return BytesLoader(name)

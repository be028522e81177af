"""From columns to files: what is stored as it is, what is computed batch by batch, and what lies there already."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .asking import row_error
from .column import Column
from .decoding import EncodedImages
from .demand import concat_parts
from .drafts import Saving
from .encoders import writer_for
from .errors import RowsFailedWarning
from .evaluate import evaluate
from .expression import Concat, Map, Node, Source, Take, walk
from .functions import importable_name
from .manifest import Entry, Stored, escapes
from .selection import Selection
from .sources import ArrowSource, DenseSource, Files, FileSource, SlowSource
from .store import BytesLoader, StoredArrow, StoredBytes, StoredDense, StoredFiles, StoredObjects
from .values import DenseValues, ListValues, Values
from .writers import ArrowWriter

__all__ = ["save_columns"]

_FIRST_BATCH = 256
_MOST_ROWS = 1 << 16
_BATCH_BYTES = 32 << 20


def save_columns(saving: Saving, columns: Mapping[str, Column], *, on_error: str = "raise") -> list[Entry]:
    """Write columns into drafts, in bounded memory, and return their entries for the manifest.

    Parameters
    ----------
    saving : Saving
        The save that is under way.
    columns : mapping of str to Column
        By name, all of one length. What is not computed yet is computed now; columns that rest on the same
        rows are computed together.
    on_error : {"raise", "null"}
        Stop at a row that fails, or save it as null and warn.

    Raises
    ------
    RowError
        If a row fails and `on_error` is ``"raise"``.
    StoreError
        If objects have no exact form in JSON, or pictures no common mode.
    """
    stored: dict[str, Stored] = {}
    together: dict[str, Column] = {}
    for name, column in columns.items():
        found = _stored_here(saving, column) or _encoded(saving, name, column)
        if found is not None:
            stored[name] = found
        elif any(isinstance(n, Map) or (isinstance(n, Source) and n.source.slow) for n in walk([column.node])):
            together[name] = column
        else:
            stored |= _stream(saving, {name: column}, on_error)  # shares nothing that costs: one open file is enough
    if together:
        stored |= _stream(saving, together, on_error)
    return [Entry(name, _known(column, stored[name]), stored[name]) for name, column in columns.items()]


def _known(column: Column, stored: Stored) -> Any:
    """Return the column's spec, with what writing it has told."""
    spec = column.spec
    if stored.way == "npy":
        spec = spec.with_(dtype=spec.dtype or stored.dtype, shape=spec.shape or stored.shape)
    elif stored.way == "arrow" and spec.dtype is None:
        spec = spec.with_(dtype=stored.dtype)
    return spec


def _stored_here(saving: Saving, column: Column) -> Stored | None:
    """Return where the rows lie, if that is this very directory."""
    node = column.node
    if not isinstance(node, Source) or not column.selection.is_whole(node.length):
        return None
    source = node.source
    if isinstance(source, (StoredArrow, StoredDense, StoredObjects)):
        found, root = source.stored, source.root
    elif isinstance(source, EncodedImages) and isinstance(source.encoded, StoredBytes):
        found, root = _decoded_by(source.encoded.stored, source), source.encoded.root
    elif isinstance(source, (EncodedImages, FileSource)) and isinstance(_files(source), StoredFiles):
        files = _files(source)
        assert isinstance(files, StoredFiles)
        found, root = files.file.stored, files.file.root
        if not files.inside:
            base, inside = _place(saving.root, files.recorded or os.getcwd())
            found = replace(found, base=base, inside=inside)
        found = (
            _decoded_by(found, source)
            if isinstance(source, EncodedImages)
            else replace(found, loader=_loader_name(source))
        )
    else:
        return None
    return found if root == saving.root and saving.has(found) else None


def _decoded_by(stored: Stored, source: EncodedImages) -> Stored:
    return replace(stored, mode=source.mode, size=source.size, reduced=source.reduced)


def _files(source: EncodedImages | FileSource) -> Files | None:
    held = source.encoded if isinstance(source, EncodedImages) else source.files
    return held if isinstance(held, Files) else None


# What is computed, or copied


def _stream(saving: Saving, columns: Mapping[str, Column], on_error: str) -> dict[str, Stored]:
    """Write columns batch by batch, all of them in one pass over the rows."""
    rows = len(next(iter(columns.values())))
    writers = {n: writer_for(c.form, saving, n, rows, c.spec) for n, c in columns.items()}
    ready = _ready(columns)
    start, step, lost = 0, rows if ready else _FIRST_BATCH, 0
    while True:
        values, failed = _evaluate(list(columns.values()), start, min(start + step, rows), on_error)
        lost += failed
        for writer, some in zip(writers.values(), values, strict=True):
            writer.append(some)
        start += step
        if start >= rows:
            break
        step = max(64, min(_MOST_ROWS, 4 * step, _BATCH_BYTES // max(1, sum(map(_row_bytes, values)))))
    if lost:
        warnings.warn(f"{lost} values could not be computed and are saved as null.", RowsFailedWarning, stacklevel=5)
    return {name: writer.finish() for name, writer in writers.items()}


def _ready(columns: Mapping[str, Column]) -> bool:
    """Say whether this is one column that is there as a whole, in memory or mapped: then it is one batch."""
    nodes = [c.node for c in columns.values()]
    whole = all(c.selection.is_whole(c.node.length) for c in columns.values())
    return whole and all(isinstance(n, Source) and isinstance(n.source, (ArrowSource, DenseSource)) for n in nodes)


def _evaluate(columns: Sequence[Column], start: int, stop: int, on_error: str) -> tuple[list[Values], int]:
    if on_error not in ("raise", "null"):
        raise ValueError(f"`on_error` must be 'raise' or 'null'; got {on_error!r}.")
    found = evaluate([(c.node, c.selection[start:stop]) for c in columns], stop=on_error == "raise")
    if found.failures and on_error == "raise":
        # Told for the columns as a whole, so that the number of the row is its number there.
        raise row_error(found.failures[0], columns) from found.failures[0].cause.error
    return found.values, len(found.failures)


def _row_bytes(values: Values) -> int:
    """Return how much a row takes in memory, about."""
    if isinstance(values, ListValues):
        size = getattr(next((i for i in values.items if i is not None), None), "size", None)
        return 4 * size[0] * size[1] if isinstance(size, tuple) and len(size) == 2 else 1024
    data = values.data if isinstance(values, DenseValues) else getattr(values, "array", None)
    return getattr(data, "nbytes", 0) // max(1, len(values))


# What is already encoded: files by their paths, pictures by their bytes


@dataclass(frozen=True)
class _Part:
    """Rows of one source, and where they stand."""

    source: SlowSource
    positions: NDArray[np.int64]
    rows: NDArray[np.int64]


def _encoded(saving: Saving, name: str, column: Column) -> Stored | None:
    """Store pictures and files without decoding them, or return None where that cannot be."""
    parts = _parts(column)
    if not parts:
        return None
    first = parts[0].source
    sources = [p.source for p in parts]
    if isinstance(first, EncodedImages):
        ways = {(s.mode, s.size, s.reduced) if isinstance(s, EncodedImages) else None for s in sources}
        if len(ways) > 1:
            return None
        if all(isinstance(s, EncodedImages) and isinstance(s.encoded, Files) for s in sources):
            return _decoded_by(_save_paths(saving, name, len(column), parts), first)
        return _decoded_by(_save_bytes(saving, name, len(column), parts), first)
    if isinstance(first, FileSource):
        if any(not isinstance(s, FileSource) or s.loader is not first.loader for s in sources):
            return None
        return replace(_save_paths(saving, name, len(column), parts), loader=_loader_name(first))
    return None


def _parts(column: Column) -> list[_Part]:
    """Return the slow sources that a column selects rows of, or nothing if it does more than that."""
    found: list[_Part] = []
    unused: list[_Part] = []
    whole = np.arange(len(column))
    stack: list[tuple[Node, NDArray[np.int64], NDArray[np.int64]]] = [(column.node, whole, column.selection.indices())]
    while stack:
        node, positions, rows = stack.pop()
        if isinstance(node, Take):
            below = node.selection.compose(Selection(rows)).indices()
            there = below >= 0
            stack.append((node.inputs[0], positions[there], below[there]))
        elif isinstance(node, Concat):
            nothing = np.zeros(0, np.int64)
            touched = [(p, positions[at], r.indices()) for p, at, r in concat_parts(node, Selection(rows))]
            stack += touched or [(p, nothing, nothing) for p in node.inputs[:1]]
        elif isinstance(node, Source) and isinstance(node.source, (EncodedImages, FileSource)):
            (found if len(rows) else unused).append(_Part(node.source, positions, rows))
        else:
            return []
    return found or unused[:1]


def _save_paths(saving: Saving, name: str, length: int, parts: Sequence[_Part]) -> Stored:
    """Write paths relative to one base directory."""
    sources = [p.source for p in parts if isinstance(p.source, (EncodedImages, FileSource))]
    held = [f for s in sources if (f := _files(s)) is not None]
    bases = [_base_of(f) for f in held]
    found: list[str | None] = [None] * length
    for files, base, part in zip(held, bases, parts, strict=True):
        for position, path in zip(part.positions.tolist(), files.paths.take(pa.array(part.rows)).to_pylist()):
            found[position] = path if path is None or len(set(bases)) == 1 else os.path.join(base, path)
    common = bases[0]
    given = [path for path in found if path is not None]
    if len(set(bases)) > 1 or any(escapes(path) for path in given):
        # Of several directories, or outside of the one that is named: the nearest that holds them all.
        given = [os.path.abspath(os.path.join(common, path)) for path in given]
        common = os.path.commonpath([os.path.dirname(path) for path in given]) if given else common
        found = [p if p is None else os.path.relpath(os.path.join(bases[0], p), common) for p in found]
    writer = ArrowWriter(saving, name, length)
    for start in range(0, max(1, length), _MOST_ROWS):
        some = [p if p is None else p.replace(os.sep, "/") for p in found[start : start + _MOST_ROWS]]
        writer.append_array(pa.array(some, pa.string()))
    base, inside = _place(saving.root, common)
    return replace(writer.finish(), way="paths", base=base, inside=inside)


def _base_of(files: Files) -> str:
    recorded = files.recorded if isinstance(files, StoredFiles) else files.base
    return os.path.abspath(recorded or os.getcwd())


def _place(root: Path, base: str) -> tuple[str, bool]:
    """Return a base directory as the manifest names it: relative if it is one below the panel's own."""
    inner = os.path.relpath(os.path.realpath(base), root)
    inside = inner == "." or not escapes(inner)
    return (inner.replace(os.sep, "/"), True) if inside else (os.path.abspath(base), False)


def _save_bytes(saving: Saving, name: str, length: int, parts: Sequence[_Part]) -> Stored:
    """Write encoded pictures as they are."""
    owner, rows = np.full(length, -1, np.int64), np.zeros(length, np.int64)
    for number, part in enumerate(parts):
        owner[part.positions], rows[part.positions] = number, part.rows
    writer: ArrowWriter = ArrowWriter(saving, name, length)
    for start in range(0, max(1, length), _FIRST_BATCH):
        some = zip(owner[start : start + _FIRST_BATCH].tolist(), rows[start : start + _FIRST_BATCH].tolist())
        raw = [None if o < 0 else _raw(parts[o].source, r) for o, r in some]
        writer.append_array(pa.array(raw, pa.large_binary()))
    return replace(writer.finish(), way="bytes")


def _raw(source: SlowSource, row: int) -> bytes | None:
    assert isinstance(source, EncodedImages)
    raw = source._raw(row)
    return raw.read_bytes() if isinstance(raw, Path) else raw


def _loader_name(source: FileSource) -> str | None:
    """Return the name of a loader as people write it; None for the bytes themselves."""
    loader = source.loader
    if isinstance(loader, BytesLoader):
        return loader.name
    if loader is Path.read_bytes:
        return None
    name = importable_name(loader)
    if name is not None:
        return name.split(" ")[0]
    return str(getattr(loader, "__qualname__", type(loader).__qualname__))

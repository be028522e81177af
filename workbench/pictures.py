"""Encoded pictures in and out: what other libraries are handed is the file or its bytes, not the pixels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columns import Column, Files, ImageColumn, KindError, concat
from columns.decoding import EncodedImages
from columns.expression import Concat, Node, Source, Take

from .errors import DataError

__all__ = ["IMAGES", "Encoded", "Leaf", "encode", "file_path", "held_as", "leaves", "pictures_from_arrow"]

IMAGES = ("auto", "paths", "bytes")
_MODES = ("L", "RGB", "RGBA")
_COMBINE = 1 << 28  # bytes of pictures that may be copied into one array; more stays in the parts it came in


class Encoded(NamedTuple):
    """Pictures as other libraries take them.

    Attributes
    ----------
    array : Arrow array of strings or bytes
        Paths that can be opened from the current directory, or the content of picture files.
    note : dict
        How the pictures are read back: ``mode``, and ``size`` and ``reduced`` where they are resized.
    """

    array: pa.Array
    note: dict[str, Any]


class Leaf(NamedTuple):
    """Rows of one leaf of an expression, and where they stand in the column."""

    node: Node
    rows: NDArray[np.int64]
    places: NDArray[np.int64]


def held_as(column: Column) -> str:
    """Say what pictures rest on: ``"paths"`` if every one is a file, ``"bytes"`` if encoded, else ``"pixels"``."""
    sources = _sources(leaves(column))
    if sources is None:
        return "pixels"
    return "paths" if all(isinstance(s.encoded, Files) for s in sources) else "bytes"


def encode(column: Column, name: str, images: str = "auto") -> Encoded:
    """Return pictures encoded: as they are where they are files or bytes, else as PNG, which loses nothing.

    Parameters
    ----------
    column : ImageColumn
        The pictures.
    name : str
        What to call the column in errors.
    images : {"auto", "paths", "bytes"}
        ``"auto"`` gives paths where every picture is a file, else bytes.

    Raises
    ------
    KindError
        If paths are asked for and there are none.
    DataError
        If a file cannot be read.
    """
    if images not in IMAGES:
        raise ValueError(f"`images` must be one of {', '.join(IMAGES)}; got {images!r}.")
    parts = leaves(column)
    sources = _sources(parts)
    if images == "paths" and (sources is None or not all(isinstance(s.encoded, Files) for s in sources)):
        raise KindError(
            f"The pictures of column '{name}' must be files to be given as paths; they are held in memory. "
            "Ask for `images='bytes'`."
        )
    if sources is None:
        return _as_png(column)
    as_paths = images != "bytes" and all(isinstance(s.encoded, Files) for s in sources)
    out: list[Any] = [None] * len(column)
    for part in parts:
        encoded = part.node.source.encoded if isinstance(part.node, Source) else None  # type: ignore[attr-defined]
        for place, row in zip(part.places.tolist(), part.rows.tolist(), strict=True):
            if row >= 0:
                out[place] = file_path(encoded, row) if as_paths else _content(encoded, row, name)
    note: dict[str, Any] = {"mode": sources[0].mode if sources else "RGB"}
    if sources and sources[0].size is not None:
        note |= {"size": list(sources[0].size), "reduced": sources[0].reduced}
    return Encoded(pa.array(out, pa.string() if as_paths else pa.large_binary()), note)


def leaves(column: Column) -> list[Leaf]:
    """Follow rows through selections and concatenations to the leaves that hold them."""
    rows = column.selection.indices()
    pending = [Leaf(column.node, rows, np.arange(len(rows)))]
    found = []
    while pending:
        node, rows, places = pending.pop()
        if isinstance(node, Take):
            index = node.selection.indices()
            inner = np.where(rows < 0, -1, index[rows]) if len(index) else np.full_like(rows, -1)
            pending.append(Leaf(node.inputs[0], inner, places))
        elif isinstance(node, Concat):
            owner = np.searchsorted(np.asarray(node.starts), rows, side="right") - 1
            for number, child in enumerate(node.inputs):
                mine = np.flatnonzero(owner == number)  # rows that are not there (-1) belong to nobody: null
                if len(mine):
                    pending.append(Leaf(child, rows[mine] - node.starts[number], places[mine]))
        else:
            found.append(Leaf(node, rows, places))
    return found


def _sources(parts: list[Leaf]) -> list[EncodedImages] | None:
    """Return the encoded pictures that the parts are, or None if they are not, or not read in one way."""
    found = []
    for part in parts:
        source = part.node.source if isinstance(part.node, Source) else None
        if not isinstance(source, EncodedImages):
            return None
        found.append(source)
    return found if len({(s.mode, s.size, s.reduced) for s in found}) <= 1 else None


def file_path(encoded: Any, row: int) -> str | None:
    """Return the path of a row of `Files` as it can be opened from the current directory; nothing is looked up."""
    name: str | None = encoded.name(row)
    # The base of a panel that was opened from disk is only recorded until somebody says that they trust it.
    base = encoded.base or getattr(encoded, "recorded", None)
    return name if name is None or base is None else str(Path(base) / name)


def _content(encoded: Any, row: int, name: str) -> bytes | None:
    if not isinstance(encoded, Files):
        value: bytes | None = encoded[row].as_py()
        return value
    try:
        path = encoded.path(row)
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise DataError(
            f"Every picture of column '{name}' must be there to be copied; '{encoded.name(row)}' "
            f"cannot be read: {error}."
        ) from error


def _as_png(column: Column) -> Encoded:
    out: list[bytes | None] = []
    modes: set[str] = set()
    for picture in column:
        if picture is None:
            out.append(None)
            continue
        buffer = io.BytesIO()
        modes.add(picture.mode)
        picture.save(buffer, "PNG", compress_level=1)
        out.append(buffer.getvalue())
    mode = modes.pop() if len(modes) == 1 else "RGB"
    return Encoded(pa.array(out, pa.large_binary()), {"mode": mode if mode in _MODES else "RGB"})


def pictures_from_arrow(array: pa.ChunkedArray, note: dict[str, Any] | None = None, base: Any = None) -> ImageColumn:
    """Return paths or encoded pictures as a column; nothing is opened or decoded.

    Parameters
    ----------
    array : Arrow chunked array of strings or bytes
        Paths, or the content of picture files.
    note : dict, optional
        What `encode` wrote.
    base : path, optional
        Directory of relative paths.

    Raises
    ------
    KindError
        If it holds neither.
    """
    note = note or {}
    mode = str(note.get("mode", "RGB"))
    if pa.types.is_null(array.type):
        array = array.cast(pa.string())
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        column = ImageColumn(Files(array, base), mode=mode)
    elif pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        if array.num_chunks > 1 and array.nbytes > _COMBINE:
            column = concat([ImageColumn(chunk, mode=mode) for chunk in array.chunks])
        else:
            column = ImageColumn(array.combine_chunks() if array.num_chunks != 1 else array.chunk(0), mode=mode)
    else:
        raise KindError(f"Pictures come as paths or as the bytes of their files; got {array.type}.")
    size = note.get("size")
    return column.resize((int(size[0]), int(size[1])), reduced=bool(note.get("reduced"))) if size else column

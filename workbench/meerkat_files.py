"""Meerkat's format on disk, read without Meerkat and without unpickling anything.

A directory that Meerkat wrote holds YAML with Python tags, blocks of columns (Feather, Arrow, NumPy, torch), and
pickles: objects, paths of files, and the functions of deferred columns. Whoever unpickles runs what is in there,
so columns that rest on a pickle are refused by name of the file.
"""

from __future__ import annotations

import importlib
import os
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import torch

from columns import Column, MissingExtra, ScalarColumn, StoreError
from columns.functions import to_numpy

from .arrow import column_from_arrow
from .assemble import assemble
from .errors import NoColumnError
from .infer import as_column

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["panel_from_meerkat_files"]

_WAY_OUT = (
    "If you trust it, open it with Meerkat in an environment of its own and give `from_meerkat` the DataFrame; "
    "or leave the column out: `from_meerkat(path, without=[{name!r}])`."
)


def panel_from_meerkat_files(
    path: str | os.PathLike[str], *, without: Sequence[str] = (), key: str | None = None, origin: str | None = None
) -> DataPanel:
    """Return a directory that Meerkat wrote as a panel; see `DataPanel.from_meerkat`."""
    root = Path(path)
    manager = root / "mgr"
    if not root.is_dir() or not (root / "meta.yaml").is_file():
        raise StoreError(f"A directory that Meerkat wrote has a file 'meta.yaml'; '{root}' has none.")
    if not manager.is_dir():
        raise StoreError(f"'{root}' is in the format of Meerkat before 0.2, which is made of pickles; it is not read.")
    meta = _yaml(manager / "meta.yaml")
    described = meta.get("columns")
    if not isinstance(described, dict):
        raise StoreError(f"'{manager / 'meta.yaml'}' must describe columns; it does not.")
    order = meta.get("_column_order") or list(described)
    for name in (*without, *([key] if key else [])):
        if name not in described:
            raise NoColumnError(f"No column '{name}' in '{root}'; it has: {', '.join(map(str, order))}.")
    blocks: dict[str, Any] = {}
    columns = {n: _column(manager, n, described[n], blocks) for n in order if n in described and n not in without}
    lengths = {len(c) for c in columns.values()}
    if len(lengths) > 1:
        raise StoreError(f"The columns of '{root}' must have one length; they have {sorted(lengths)} rows.")
    keys = None if key is None else columns[key].to_arrow()
    return assemble(columns, lengths.pop() if lengths else 0, key=keys, origin=origin)


def _column(manager: Path, name: str, meta: Any, blocks: dict[str, Any]) -> Column:
    if not isinstance(meta, dict):
        raise StoreError(f"'{manager / 'meta.yaml'}' is damaged where it describes column '{name}'.")
    block = meta.get("block")
    if not isinstance(block, dict):
        return _loose(_inside(manager, f"columns/{name}"), name)
    where = str(block.get("block_dir"))
    if where not in blocks:
        blocks[where] = _block(_inside(manager, where), name)
    data, index = blocks[where], block.get("block_index")
    try:
        return _from_block(data, index, name)
    except (IndexError, KeyError, TypeError) as error:
        raise StoreError(f"Block '{where}' has no part {index!r}, which column '{name}' should be: {error}.") from error


def _inside(manager: Path, name: str) -> Path:
    """Return a path of a part, which must lie in the directory."""
    target = manager / name
    root = manager.resolve()
    if (
        ".." in Path(name).parts
        or Path(name).is_absolute()
        or root not in (target.resolve(), *target.resolve().parents)
    ):
        raise StoreError(f"A part of a directory must stay inside it; got '{name}'.")
    return target


def _block(folder: Path, name: str) -> Any:
    """Return the data of a block: a table or an array. Parts are told by their files, not by the class in the YAML."""
    for file, read in (("data.feather", _feather), ("data.arrow", _stream), ("data.npy", _npy), ("data.pt", _pt)):
        if (folder / file).is_file():
            return read(folder / file, name)
    if (folder / "data.op").is_dir():
        raise _pickled(
            folder / "data.op" / "meta.yaml", name, "it is a deferred function, and what it rests on is pickled"
        )
    raise _other(folder, name)


def _loose(folder: Path, name: str) -> Column:
    """Return a column that is stored by itself; all but arrays are pickles."""
    if (folder / "data.npy").is_file():
        return as_column(_npy(folder / "data.npy", name), None, name)
    for pickled in ("data.dill", "data.pd", "state.dill"):
        if (folder / pickled).is_file():
            raise _pickled(folder / pickled, name, "it is a pickle")
    raise _other(folder, name)


def _from_block(data: Any, index: Any, name: str) -> Column:
    if isinstance(data, pa.Table):
        array = data.column(str(index))
        return column_from_arrow(array, pa.field(name, array.type))
    if isinstance(index, dict):
        part = data[:, slice(index["start"], index["stop"], index.get("step"))]
        return as_column(part, None, name)
    part = data if index is None else data[:, int(index)]
    if part.ndim == 1 and part.dtype.kind in "US":
        return ScalarColumn(part.tolist())
    return as_column(np.ascontiguousarray(part) if part.ndim == 1 else part, None, name)


def _feather(file: Path, name: str) -> pa.Table:
    try:
        return pa.feather.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"'{file}' is damaged: {error}.") from error


def _stream(file: Path, name: str) -> pa.Table:
    try:
        return pa.ipc.open_stream(pa.memory_map(str(file))).read_all()
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"'{file}' is damaged: {error}.") from error


def _npy(file: Path, name: str) -> Any:
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise _pickled(file, name, str(error).rstrip(".")) from error
    except (OSError, EOFError) as error:
        raise StoreError(f"'{file}' is damaged: {error}.") from error


def _pt(file: Path, name: str) -> Any:
    # torch's restricted reader makes tensors and nothing else: it looks no other name up, so nothing can run.
    try:
        tensor = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        first = str(error).split("\n", 1)[0]
        raise _pickled(file, name, f"it holds more than a tensor ({first})") from error
    if not isinstance(tensor, torch.Tensor):
        raise _pickled(file, name, f"it holds {type(tensor).__name__}, not a tensor")
    return to_numpy(tensor)


def _pickled(file: Path, name: str, why: str) -> StoreError:
    return StoreError(
        f"Column '{name}' cannot be read without unpickling, which runs what is in the file: '{file}' ({why}). "
        + _WAY_OUT.format(name=name)
    )


def _other(folder: Path, name: str) -> StoreError:
    found = ", ".join(sorted(os.listdir(folder))) if folder.is_dir() else "nothing"
    return StoreError(f"Column '{name}' must lie in '{folder}' in a form that Meerkat writes; there is {found}.")


def _yaml(file: Path) -> dict[str, Any]:
    """Return a YAML file as plain data; Python tags are read as what they are written over, never looked up."""
    try:
        yaml: Any = importlib.import_module("yaml")
    except ImportError as error:
        raise MissingExtra.of("pyyaml", "meerkat", "from_meerkat") from error

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """Knows no tag of Python's or Meerkat's."""

    def untagged(loader: Any, suffix: str, node: Any) -> Any:
        if isinstance(node, yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        if isinstance(node, yaml.SequenceNode):
            return loader.construct_sequence(node, deep=True)
        return re.sub(r"^python/\w+:", "", suffix)

    Loader.add_multi_constructor("tag:yaml.org,2002:", untagged)
    Loader.add_multi_constructor("!", untagged)
    try:
        with file.open("rb") as stream:
            data = yaml.load(stream, Loader)  # a safe loader: see above
    except (yaml.YAMLError, OSError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"'{file}' cannot be read as YAML: {error}") from error
    if not isinstance(data, Mapping):
        raise StoreError(f"'{file}' must describe a DataFrame; it holds {type(data).__name__}.")
    return dict(data)

"""Panels on disk: a directory with one file per column and one manifest, replaced atomically.

::

    panel/
      manifest.json          the newest version: names, specs, files, sizes, digests
      manifests/1.json ...   the versions before it
      columns/               one Arrow IPC file or .npy per column, named by its content

Saving writes what is new and one manifest; opening reads a manifest and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from columns import Column, ColumnSpec
from columns.drafts import Saving
from columns.expression import Node, Source
from columns.manifest import Entry, Manifest, Stored, read_manifest, saved_versions
from columns.saving import save_columns
from columns.store import open_column

from .keys import KeySource, key_column, key_node

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["open", "save", "versions"]

Base = str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]]


def save(panel: DataPanel, path: str | os.PathLike[str], *, on_error: str = "raise", timeout: float = 60.0) -> int:
    """Write a panel to a directory, and return the number of its version there.

    Lazy columns are computed, in batches and bounded memory. Columns that were opened from this directory are
    not written again. Until the last step the version before is the newest, whatever happens; it stays
    readable after that.

    Parameters
    ----------
    panel : DataPanel
        What to save, keys included.
    path : str or Path
        Directory; made if it is not there.
    on_error : {"raise", "null"}
        Stop at a row that cannot be computed, or save it as null and warn.
    timeout : float
        Seconds to wait for another save to the same directory.

    Returns
    -------
    int
        1 for the first save.

    Raises
    ------
    StoreError
        If another save is under way, the disk is full, the directory cannot be trusted, or a column holds
        objects that have no exact form in JSON; names the column and the way out.
    RowError
        If a row cannot be computed.

    Notes
    -----
    Pictures and files are saved as paths relative to their base directory, not copied; pictures in memory are
    saved with the panel. A loader is saved as its name only.

    Examples
    --------
    >>> import tempfile
    >>> from workbench.panel import DataPanel
    >>> place = tempfile.mkdtemp()
    >>> save(DataPanel({"age": [36, 41]}, origin="staff"), place)
    1
    >>> open(place).key.to_list()
    ['staff/0', 'staff/1']
    """
    columns = {name: _with_kind(panel[name], on_error) for name in panel.columns}
    with Saving(Path(os.path.realpath(path)), timeout) as saving:
        entries = save_columns(saving, columns, on_error=on_error)
        return saving.commit(len(panel), tuple(entries), _save_keys(saving, panel))


def open(
    path: str | os.PathLike[str],
    version: int | None = None,
    base: Base | None = None,
    loaders: Mapping[str, Callable[[Path], Any]] | None = None,
) -> DataPanel:
    """Return the panel in a directory; only its manifest is read, columns are mapped when they are.

    Parameters
    ----------
    path : str or Path
        Where it was saved.
    version : int, optional
        An earlier version; the newest if left out.
    base : str or Path, or mapping of column name to these, optional
        Where the files of image and file columns lie, if that is outside of the panel's directory: a manifest
        is not trusted to say so. Without it the panel opens, and reading such a column says what to pass.
    loaders : mapping of str to callable, optional
        Loaders of file columns, by the name under which they were saved, or by column. A loader is never imported
        because a manifest names it: without it, rows are bytes.

    Returns
    -------
    DataPanel

    Raises
    ------
    StoreError
        If there is no panel, or its manifest is damaged, of a newer format, or points outside the directory.
    """
    from .panel import DataPanel

    root = Path(os.path.realpath(path))
    manifest = read_manifest(root, version)
    columns: dict[str, Column] = {}
    for entry in manifest.columns:
        trusted = base.get(entry.name) if isinstance(base, Mapping) else base
        columns[entry.name] = open_column(root, entry, manifest.rows, _if_outside(entry, trusted), loaders)
    return DataPanel._of(columns, _open_keys(root, manifest))


def versions(path: str | os.PathLike[str]) -> list[int]:
    """Return the versions that a directory holds, ascending.

    Raises
    ------
    StoreError
        If there is no panel.
    """
    return saved_versions(Path(os.path.realpath(path)))


def _with_kind(column: Column, on_error: str) -> Column:
    """Return a column with its kind: a pending one is computed; of no rows, it may be of any."""
    if column.kind != "pending":
        return column
    known: Column = column.compute(on_error=on_error) if len(column) else column
    return known.as_kind("object") if known.kind == "pending" else known


def _if_outside(entry: Entry, base: str | os.PathLike[str] | None) -> str | os.PathLike[str] | None:
    """Return the caller's base directory for files that lie outside; those inside keep theirs."""
    return None if entry.stored.way != "paths" or entry.stored.inside else base


def _save_keys(saving: Saving, panel: DataPanel) -> str | Stored:
    node, selection = panel._keys, panel._selection
    source = node.source if isinstance(node, Source) else None
    if isinstance(source, KeySource) and source.numbered and selection.is_whole(node.length):
        return source.origin
    (entry,) = save_columns(saving, {"key": key_column(node, selection)})
    return entry.stored


def _open_keys(root: Path, manifest: Manifest) -> Node:
    if isinstance(manifest.keys, str):
        return key_node(manifest.rows, manifest.keys)
    spec = ColumnSpec("scalar", "string")
    return open_column(root, Entry("key", spec, manifest.keys), manifest.rows).node

"""Files: any file and a loader. Audio, video, volumes are a loader away."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, final

import pyarrow as pa

from ..column import Column, kind
from ..decoding import EncodedImages
from ..errors import KindError
from ..expression import Source, apply
from ..sources import Files, FileSource
from ..spec import ColumnSpec

__all__ = ["FileColumn", "rebased"]


@kind
@final
class FileColumn(Column):
    """What a loader makes of a file, per row; read when asked, in threads, and not kept.

    Parameters
    ----------
    paths : sequence of str or Path, or Files
        One file per row; None is null.
    loader : callable, optional
        Takes a `pathlib.Path`, returns the row; the file's bytes if left out.
    base : str or Path, optional
        Directory of relative paths.

    Examples
    --------
    >>> FileColumn(["pyproject.toml"], loader=lambda path: path.name)[0]
    'pyproject.toml'
    """

    kind = "file"
    form = "list"
    __slots__ = ()

    def __new__(
        cls,
        paths: Sequence[str | os.PathLike[str] | None] | pa.Array | Files,
        loader: Callable[[Path], Any] = Path.read_bytes,
        base: str | os.PathLike[str] | None = None,
    ) -> Self:
        refuse_one_path(paths, "Files")
        files = paths if isinstance(paths, Files) else Files(paths, base)
        return cls.over(Source(FileSource(files, loader)), spec=ColumnSpec("file"))

    def rebase(self, base: str | os.PathLike[str]) -> Self:
        """Return the same files under another base directory."""
        result: Self = rebased(self, base)
        return result

    def with_loader(self, loader: Callable[[Path], Any]) -> Self:
        """Return the same files, read by another loader."""

        def build(nodes: tuple[Any, ...]) -> tuple[Any, ...]:
            source = nodes[0].source if isinstance(nodes[0], Source) else None
            if not isinstance(source, FileSource):
                raise KindError("Only rows that are files can be given a loader.")
            return (Source(FileSource(source.files, loader)),)

        (node,) = apply(build, (self.node,))
        return type(self).over(node, self.selection, self.spec, self.keys, self.name)


def rebased(column: Any, base: str | os.PathLike[str]) -> Any:
    """Return a column of files under another base directory.

    Raises
    ------
    KindError
        If its rows are not files.
    """

    def build(nodes: tuple[Any, ...]) -> tuple[Any, ...]:
        source = nodes[0].source if isinstance(nodes[0], Source) else None
        if not isinstance(source, (FileSource, EncodedImages)):
            raise KindError("Only rows that are files have a base directory.")
        return (Source(source.rebase(base)),)

    (node,) = apply(build, (column.node,))
    return type(column).over(node, column.selection, column.spec, column.keys, column.name)


def refuse_one_path(data: Any, what: str) -> None:
    """Raise if somebody gave one path where a sequence of them is needed."""
    if isinstance(data, (str, os.PathLike)):
        raise KindError(f"{what} come as a sequence of paths; got one path '{os.fspath(data)}'.")

"""Files that are whole or not there: replaced in one step, read with every doubt told."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

from columns import StoreError
from columns.manifest import locate

from ..errors import RunFileError

__all__ = [
    "FORMAT",
    "Lines",
    "field",
    "inside",
    "read_json",
    "read_lines",
    "replace_file",
    "sync_directory",
    "write_json",
]

T = TypeVar("T")
D = TypeVar("D")

# Of every JSON file here; grows when an older version could no longer read what is written.
FORMAT = 1
DRAFT = ".draft-"
_MISSING: Any = object()


def replace_file(path: Path, content: bytes | Path) -> None:
    """Put a file in its place in one step: after a crash it is there in full, or what was there before is.

    Parameters
    ----------
    path : Path
        Where; its directory must be there.
    content : bytes, or Path of a draft in the same directory
        What; a draft is renamed.
    """
    draft = content if isinstance(content, Path) else path.with_name(f"{DRAFT}{uuid.uuid4().hex}")
    try:
        if isinstance(content, bytes):
            draft.write_bytes(content)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Bring the names in a directory to the disk; without it, a rename may be forgotten in a power cut."""
    if os.name == "nt":  # directories cannot be opened there, and renames are logged
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, fields: Mapping[str, Any]) -> None:
    """Replace a JSON file; the format number comes first."""
    replace_file(path, (json.dumps({"format": FORMAT, **fields}, indent=1) + "\n").encode())


def read_json(root: Path, name: str) -> dict[str, Any]:
    """Read a JSON file of a directory.

    Raises
    ------
    RunFileError
        If it is missing, damaged, of a newer format, or leads outside the directory.
    """
    path = inside(root, name)
    try:
        fields = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunFileError(f"'{root}' holds no '{name}'.") from error
    except (ValueError, RecursionError) as error:
        raise RunFileError(f"'{path}' is damaged: {error}.") from error
    if not isinstance(fields, dict):
        raise RunFileError(f"'{path}' is damaged: it must hold a JSON object; it holds {type(fields).__name__}.")
    form = field(fields, "format", int, where=path)
    if not 1 <= form <= FORMAT:
        raise RunFileError(
            f"'{path}' has format {form}; this version of the library reads 1 to {FORMAT}. "
            "Upgrade it: pip install --upgrade rationale-workbench."
        )
    return fields


@overload
def field(fields: Mapping[str, Any], key: str, kind: type[T], *, where: Path | str) -> T: ...
@overload
def field(fields: Mapping[str, Any], key: str, kind: type[T], default: D, *, where: Path | str) -> T | D: ...
def field(fields: Mapping[str, Any], key: str, kind: type[Any], default: Any = _MISSING, *, where: Path | str) -> Any:
    """Return a field of a JSON object, checked; a default stands for one that is missing or null.

    Raises
    ------
    RunFileError
        If it is missing or of another type; names the file and the field.
    """
    value = fields.get(key)
    if value is None and default is not _MISSING:
        return default
    if kind is float and type(value) is int:
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        got = repr(value)[:80] if key in fields else "nothing"
        raise RunFileError(f"'{where}' is damaged: '{key}' must be of type {kind.__name__}; got {got}.")
    return value


def inside(root: Path, name: str) -> Path:
    """Return where a file of a directory lies, or raise RunFileError if the name or a link leads out of it."""
    try:
        return locate(root, name)
    except StoreError as error:
        raise RunFileError(f"'{root}' cannot be trusted: {error}") from error


class Lines:
    """A file of JSON objects, one in a line, written as they come.

    What is written reaches the system at least every `every` seconds, so that a process killed after that loses
    nothing; it reaches the disk when `sync` is called.

    Parameters
    ----------
    path : Path
        Appended to.
    every : float
        Seconds.
    """

    def __init__(self, path: Path, every: float = 0.1) -> None:
        from time import monotonic

        self._now, self._every, self._flushed = monotonic, every, -every
        self._file = path.open("a", encoding="utf-8")

    def write(self, fields: Mapping[str, Any]) -> None:
        """Append one object."""
        self._file.write(json.dumps(fields) + "\n")
        if self._now() - self._flushed >= self._every:
            self.flush()

    def flush(self) -> None:
        """Hand what is held back to the system."""
        self._file.flush()
        self._flushed = self._now()

    def sync(self) -> None:
        """Bring everything to the disk."""
        self.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write what is held back, and close."""
        self._file.close()


def read_lines(root: Path, name: str) -> list[dict[str, Any]]:
    """Read what `Lines` wrote; a last line that a crash cut off is left out.

    Raises
    ------
    RunFileError
        If another line is damaged; says which.
    """
    path = inside(root, name)
    try:
        *lines, _ = path.read_bytes().split(b"\n")  # what follows the last line end was cut off
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunFileError(f"'{root}' holds no '{name}'.") from error
    return list(_parsed(lines, path))


def _parsed(lines: Iterable[bytes], path: Path) -> Iterable[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RunFileError(f"Line {number} of '{path}' is damaged: {error}.") from error
        if not isinstance(fields, dict):
            raise RunFileError(f"Line {number} of '{path}' is damaged: it must be a JSON object.")
        yield fields

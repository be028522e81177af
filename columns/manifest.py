"""Manifests: the small JSON file that says which files of a directory make up a panel.

``manifest.json`` is the newest and is replaced atomically; the ones before it lie in ``manifests/``. What is read
here may have been written by anybody: every field is checked, and no name may leave the directory.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from .errors import StoreError
from .spec import ColumnSpec

__all__ = ["FORMAT", "Entry", "FileRecord", "Manifest", "Stored", "locate", "read_manifest", "saved_versions"]

T = TypeVar("T")

FORMAT = 1
CURRENT = "manifest.json"
EARLIER = "manifests"
COLUMNS = "columns"

_WAYS = ("arrow", "npy", "json", "bytes", "paths")
_MISSING: Any = object()


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file of the directory.

    Attributes
    ----------
    name : str
        Relative to the directory, with forward slashes.
    size : int
        Its length in bytes, checked before it is mapped.
    """

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Stored:
    """How the rows of a column lie on disk.

    Attributes
    ----------
    way : {"arrow", "npy", "json", "bytes", "paths"}
        Arrow values, one array, objects as JSON text, encoded pictures, or paths of files.
    data : FileRecord
        The file; Arrow IPC for all but ``"npy"``.
    digest : str
        Hash of the content, by which results are found again.
    dtype : str
        NumPy dtype or Arrow type in the file.
    shape : tuple of int
        Shape of one row, of an array.
    valid : FileRecord or None
        Which rows of an array are there; all, if None.
    mode, size, reduced
        How pictures are decoded; a mode marks pictures.
    base, inside
        Directory of relative paths, and whether it is one below the panel's own.
    loader : str or None
        Name of the function that reads the files; text only, never imported.
    """

    way: str
    data: FileRecord
    digest: str
    dtype: str
    shape: tuple[int, ...] = ()
    valid: FileRecord | None = None
    mode: str | None = None
    size: tuple[int, int] | None = None
    reduced: bool = False
    base: str | None = None
    inside: bool = False
    loader: str | None = None

    def files(self) -> list[FileRecord]:
        """Return the files that the rows rest on."""
        return [self.data] if self.valid is None else [self.data, self.valid]


@dataclass(frozen=True, slots=True)
class Entry:
    """One column: its true name, what its rows are, and how they lie on disk."""

    name: str
    spec: ColumnSpec
    stored: Stored


@dataclass(frozen=True, slots=True)
class Manifest:
    """One version of a panel.

    Attributes
    ----------
    version : int
        Counted from 1.
    rows : int
        Length of every column.
    saved : str
        When, in ISO 8601.
    columns : tuple of Entry
        In their order in the panel.
    keys : str or Stored
        The origin of keys that are its numbers, else the file that holds them.
    """

    version: int
    rows: int
    saved: str
    columns: tuple[Entry, ...]
    keys: str | Stored

    def files(self) -> list[FileRecord]:
        """Return every file that this version rests on."""
        stored = [e.stored for e in self.columns] + ([self.keys] if isinstance(self.keys, Stored) else [])
        return [record for one in stored for record in one.files()]

    def to_json(self) -> str:
        """Return the manifest as text."""
        fields = {
            "format": FORMAT,
            "version": self.version,
            "rows": self.rows,
            "saved": self.saved,
            "keys": {"origin": self.keys} if isinstance(self.keys, str) else {"stored": _stored_fields(self.keys)},
            "columns": [
                {"name": e.name, "spec": e.spec.to_dict(), "stored": _stored_fields(e.stored)} for e in self.columns
            ],
        }
        return json.dumps(fields, indent=1) + "\n"  # ASCII: any name, lone surrogates included, survives

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Return the manifest that `to_json` wrote.

        Raises
        ------
        ValueError
            If something in it is not as it must be; says what.
        """
        fields = _mapping(json.loads(text), "the manifest")
        form = _field(fields, "format", int)
        if form > FORMAT:
            raise _NewerFormat(form)
        rows, keys = _count(fields, "rows"), _mapping(_field(fields, "keys", dict), "'keys'")
        columns = tuple(_entry(_mapping(c, "a column")) for c in _field(fields, "columns", list))
        names = [e.name for e in columns]
        if len(set(names)) != len(names):
            raise ValueError(f"column '{next(n for n in names if names.count(n) > 1)}' is there twice")
        origin = _field(keys, "origin", str, None)
        held = origin if origin is not None else _stored(_mapping(_field(keys, "stored", dict), "'stored'"))
        return cls(_count(fields, "version"), rows, _field(fields, "saved", str), columns, held)


class _NewerFormat(ValueError):
    """The format version is one that this code does not know."""


def read_manifest(root: Path, version: int | None = None) -> Manifest:
    """Return the newest manifest of a directory, or an earlier one.

    Raises
    ------
    StoreError
        If there is none, or it is damaged, of a newer format, or names files outside the directory; names the
        file and the way out.
    """
    path = root / CURRENT
    if version is None:
        return _parse(path, root)
    try:
        newest: Manifest | None = _parse(path, root)
    except StoreError:
        newest = None  # an earlier manifest is the way out of a damaged one
    if newest is not None and newest.version == version:
        return newest
    earlier = root / EARLIER / f"{version}.json"
    if not earlier.is_file():
        have = ", ".join(map(str, saved_versions(root))) or "none"
        raise StoreError(f"'{root}' has no version {version}; it has: {have}.")
    return _parse(earlier, root)


def saved_versions(root: Path) -> list[int]:
    """Return the versions that can be opened, ascending."""
    found = {int(p.stem) for p in (root / EARLIER).glob("*.json") if re.fullmatch(r"[1-9][0-9]{0,17}", p.stem)}
    try:
        found.add(_parse(root / CURRENT, root).version)
    except StoreError:
        if not found:
            raise
    return sorted(found)


def _parse(path: Path, root: Path) -> Manifest:
    try:
        manifest = Manifest.from_json(path.read_bytes())
        for record in manifest.files():
            locate(root, record.name)
        return manifest
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(f"No panel at '{root}': '{path}' does not exist.{_way_out(root, path)}") from error
    except _NewerFormat as error:
        raise StoreError(
            f"'{path}' has format version {error}; this version of the library reads up to {FORMAT}. "
            "Upgrade it: pip install --upgrade rationale-workbench."
        ) from error
    except StoreError as error:
        raise StoreError(f"'{path}' cannot be trusted: {error}") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"'{path}' is damaged: {str(error).rstrip('.')}.{_way_out(root, path)}") from error


def _way_out(root: Path, damaged: Path) -> str:
    others = sorted(int(p.stem) for p in (root / EARLIER).glob("*.json") if p.stem.isdigit() and p != damaged)
    return f" Earlier versions are there: open one with `version={others[-1]}` (of {others})." if others else ""


def locate(root: Path, name: str) -> Path:
    """Return where a file named in a manifest lies.

    Raises
    ------
    StoreError
        If the name, or a symbolic link on the way, leaves the directory; says which.
    """
    if escapes(name):
        raise StoreError(f"every file must lie inside '{root}'; it names '{name}'.")
    path = root / name
    if not within(root, path):
        raise StoreError(
            f"every file must lie inside '{root}'; '{name}' is a symbolic link to '{os.path.realpath(path)}'."
        )
    return path


def escapes(name: str) -> bool:
    """Say whether a relative name leaves its directory, in the spelling of any system."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    absolute = posix.is_absolute() or bool(windows.anchor)
    return not name or "\0" in name or absolute or ".." in posix.parts or ".." in windows.parts


def within(root: Path, path: Path) -> bool:
    """Say whether a path lies below `root` once symbolic links are followed."""
    inner, outer = os.path.realpath(path), os.path.realpath(root)
    return inner == outer or inner.startswith(outer.rstrip(os.sep) + os.sep)


# Fields to records and back


def _stored_fields(stored: Stored) -> dict[str, Any]:
    fields: dict[str, Any] = {"way": stored.way, "file": stored.data.name, "bytes": stored.data.size}
    fields |= {"digest": stored.digest, "dtype": stored.dtype}
    if stored.way == "npy":
        fields["shape"] = list(stored.shape)
    if stored.valid is not None:
        fields["valid"] = {"file": stored.valid.name, "bytes": stored.valid.size}
    if stored.mode is not None:
        fields |= {"mode": stored.mode, "size": stored.size and list(stored.size), "reduced": stored.reduced}
    if stored.way == "paths":
        fields |= {"base": stored.base, "inside": stored.inside, "loader": stored.loader}
    return fields


def _stored(fields: Mapping[str, Any]) -> Stored:
    way = _field(fields, "way", str)
    if way not in _WAYS:
        raise ValueError(f"'way' must be one of {', '.join(_WAYS)}; got '{way}'")
    valid = _field(fields, "valid", dict, None)
    size = _field(fields, "size", list, None)
    stored = Stored(
        way,
        FileRecord(_field(fields, "file", str), _count(fields, "bytes")),
        _field(fields, "digest", str),
        _field(fields, "dtype", str),
        _whole_numbers(_field(fields, "shape", list), "shape") if way == "npy" else (),
        None if valid is None else FileRecord(_field(valid, "file", str), _count(valid, "bytes")),
        _field(fields, "mode", str, None),
        None if size is None else _pair(size),
        _field(fields, "reduced", bool, False),
        _field(fields, "base", str, None),
        _field(fields, "inside", bool, False),
        _field(fields, "loader", str, None),
    )
    if stored.inside and escapes(stored.base or ""):
        raise StoreError(f"a base directory must lie inside the panel's; it names '{stored.base}'.")
    return stored


def _entry(fields: Mapping[str, Any]) -> Entry:
    spec = _mapping(_field(fields, "spec", dict), "'spec'")
    for key in ("kind", "dtype", "unit"):
        _field(spec, key, str, _MISSING if key == "kind" else None)
    _whole_numbers(_field(spec, "shape", list, None) or [], "shape")
    if not all(isinstance(c, str) for c in _field(spec, "classes", list, None) or []):
        raise ValueError("'classes' must be text")
    name = _field(fields, "name", str)
    if not name:
        raise ValueError("a column's name must not be empty")
    return Entry(name, ColumnSpec.from_dict(spec), _stored(_mapping(_field(fields, "stored", dict), "'stored'")))


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be a JSON object; got {type(value).__name__}")
    return value


def _field(fields: Mapping[str, Any], key: str, kind: type[T], default: Any = _MISSING) -> T:
    value = fields.get(key)
    if value is None and default is not _MISSING:
        found: T = default
        return found
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        got = repr(value) if key in fields else "nothing"
        raise ValueError(f"'{key}' must be of type {kind.__name__}; got {got[:80]}")
    return value


def _count(fields: Mapping[str, Any], key: str) -> int:
    number = _field(fields, key, int)
    if number < 0:
        raise ValueError(f"'{key}' must be at least 0; got {number}")
    return number


def _whole_numbers(values: list[Any], key: str) -> tuple[int, ...]:
    return tuple(_count({key: v}, key) for v in values)


def _pair(values: list[Any]) -> tuple[int, int]:
    numbers = _whole_numbers(values, "size")
    if len(numbers) != 2 or min(numbers) < 1:
        raise ValueError(f"'size' must be a height and a width; got {list(numbers)}")
    return numbers[0], numbers[1]

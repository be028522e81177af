"""Records: one per cell, kept in a file, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .figures import Figure

__all__ = ["Record", "Records", "versions"]

_PACKAGES = ("torch", "numpy", "pandas", "pyarrow", "pillow", "simplejpeg")


@dataclass(frozen=True)
class Record:
    """What one cell gave.

    Attributes
    ----------
    cell : str
        Its name.
    scale : str
        Name of the scale it ran at.
    figures : tuple of Figure
    seconds : float
        How long it took, set-up included.
    command : str
        How to run it again.
    when : str
        Time of day in UTC, ISO 8601.
    versions : dict of str to str
        Of Python and of the packages that matter.
    """

    cell: str
    scale: str
    figures: tuple[Figure, ...]
    seconds: float
    command: str
    when: str
    versions: dict[str, str]

    @classmethod
    def now(cls, cell: str, scale: str, figures: Sequence[Figure], seconds: float) -> Record:
        """Return a record of what has just been measured."""
        when = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(cell, scale, tuple(figures), seconds, f"python -m benchmarks --only {cell}", when, versions())

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON has it."""
        return {**vars(self), "figures": [figure.as_dict() for figure in self.figures]}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Record:
        """Return the record that `as_dict` wrote."""
        return cls(**{**fields, "figures": tuple(Figure.from_dict(f) for f in fields["figures"])})


class Records:
    """The records of finished cells, in one JSON file that is replaced as a whole."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        self.kept: dict[str, Record] = {}
        if path.exists() and not fresh:
            kept = json.loads(path.read_text())
            self.kept = {name: Record.from_dict(fields) for name, fields in kept.items()}

    def get(self, cell: str, scale: str) -> Record | None:
        """Return what is known of a cell; nothing where it was measured with other versions."""
        record = self.kept.get(f"{cell}@{scale}")
        return None if record is None or record.versions != versions() else record

    def keep(self, record: Record) -> None:
        """Add a record, and write the file."""
        self.kept[f"{record.cell}@{record.scale}"] = record
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps({name: r.as_dict() for name, r in self.kept.items()}, indent=1))
        draft.replace(self.path)


def versions(*more: str) -> dict[str, str]:
    """Return the versions of Python and of the packages that the figures depend on, with `more` of them."""
    found = {name: importlib.metadata.version(name) for name in (*_PACKAGES, *more)}
    return {"python": sys.version.split()[0], **found, "machine": f"{platform.machine()}, {os.cpu_count()} cores"}

"""The table's records, in one JSON file that several processes may add to; a finished cell is never lost."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmarks.records import versions

__all__ = ["RESULTS", "Results"]

RESULTS = Path(__file__).parents[1] / "results"
# Beside those of every benchmark: where data and attributions are from.
LIBRARIES = ("captum", "scikit-learn")


class Results:
    """Records in a JSON file, each found again by some of its fields.

    Parameters
    ----------
    path : Path
        Where they are kept.
    key : tuple of str
        Fields that tell a record from the others.
    command : str
        How to make the file again.
    """

    def __init__(self, path: Path, key: tuple[str, ...], command: str) -> None:
        self.path, self.key, self.command = path, key, command
        self._last: tuple[tuple[int, int], dict[str, Any]] | None = None

    def __iter__(self) -> Any:
        return iter(self._read()["records"])

    def find(self, **fields: Any) -> dict[str, Any] | None:
        """Return the record of these fields, or None."""
        for record in self:
            if all(record.get(name) == value for name, value in fields.items()):
                return dict(record)
        return None

    def keep(self, record: dict[str, Any]) -> None:
        """Add a record, or replace the one of the same key; other processes may do so at the same time."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            content = self._read()
            same = [{name: kept.get(name) for name in self.key} for kept in content["records"]]
            place = {name: record.get(name) for name in self.key}
            stamped = {**record, "when": datetime.now(UTC).isoformat(timespec="seconds")}
            if place in same:
                content["records"][same.index(place)] = stamped
            else:
                content["records"].append(stamped)
            content["records"].sort(key=lambda kept: [str(kept.get(name)).zfill(3) for name in self.key])
            content["versions"] = versions(*LIBRARIES)
            draft = self.path.with_suffix(f".{os.getpid()}")
            draft.write_text(_as_lines(content))
            draft.replace(self.path)

    def _read(self) -> dict[str, Any]:
        if not self.path.exists():
            return {"command": self.command, "versions": versions(*LIBRARIES), "records": []}
        state = self.path.stat()
        stamp = state.st_mtime_ns, state.st_ino  # each writer replaces the file by one of its own
        if self._last is None or self._last[0] != stamp:
            self._last = stamp, json.loads(self.path.read_text())
        content = self._last[1]
        return {**content, "records": list(content["records"])}


def _as_lines(content: dict[str, Any]) -> str:
    """Write a record a line, so that a difference between two commits can be read."""
    records: Iterable[str] = (json.dumps(record) for record in content["records"])
    head = {name: value for name, value in content.items() if name != "records"}
    return json.dumps(head, indent=1)[:-2] + ',\n "records": [\n  ' + ",\n  ".join(records) + "\n ]\n}\n"

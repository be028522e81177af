"""What a workbench holds, in figures: what ``workbench status`` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import storage

if TYPE_CHECKING:
    from .directory import Workbench

__all__ = ["Status", "status_of"]


@dataclass(frozen=True)
class Status:
    """What a workbench holds.

    Attributes
    ----------
    rows : int or None
        Of the panel; None if there is none.
    columns : tuple of str
        Of the panel.
    version : int
        Of the panel; 0 if there is none.
    models : tuple of str
        Names.
    feedback : mapping of str to int
        Records that stand, by kind.
    feedback_version : int
        Number of the last record.
    rows_marked : int
        Rows with a rationale that stands.
    runs : mapping of str to int
        How many, by status.
    last_run : str
        In words; empty if there is none.
    """

    rows: int | None
    columns: tuple[str, ...]
    version: int
    models: tuple[str, ...]
    feedback: Mapping[str, int]
    feedback_version: int
    rows_marked: int
    runs: Mapping[str, int]
    last_run: str

    def __str__(self) -> str:
        panel = "none yet" if self.rows is None else f"{self.rows:,} rows: {', '.join(self.columns)}"
        kept = f" (version {self.version})" if self.version else ""
        said = ", ".join(f"{count:,} × {kind}" for kind, count in self.feedback.items()) or "nothing said yet"
        marked = f"; {self.rows_marked:,} rows marked" if self.rows_marked else ""
        runs = ", ".join(f"{count} {status}" for status, count in self.runs.items()) or "none yet"
        lines = [
            f"panel     {panel}{kept}",
            f"models    {', '.join(self.models) or 'none yet'}",
            f"feedback  {said}{marked}",
            f"runs      {runs}",
        ]
        return "\n".join([*lines, f"last run  {self.last_run}"] if self.last_run else lines)


def status_of(bench: Workbench) -> Status:
    """Return what a workbench holds at this moment.

    Parameters
    ----------
    bench : Workbench
        Whose log is only looked into if there is one.
    """
    saved = (bench.path / "panel").exists()
    panel = bench.panel if saved else None
    told = bench.feedback.records() if (bench.path / "feedback.db").exists() else []
    runs = bench.runs.all()
    return Status(
        rows=None if panel is None else len(panel),
        columns=() if panel is None else tuple(panel.columns),
        version=storage.versions(bench.path / "panel")[-1] if saved else 0,
        models=tuple(bench.models),
        feedback=dict(sorted(Counter(record.kind for record in told).items())),
        feedback_version=max((record.id or 0 for record in told), default=0),
        rows_marked=len({record.key for record in told if record.kind == "rationale"}),
        runs=dict(Counter(run.status for run in runs)),
        last_run=repr(runs[-1]) if runs else "",
    )

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
        Rows of the panel with a rationale that stands.
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
    panel = bench.panel if bench.has_panel else None
    log = bench.feedback if bench.has_feedback else None
    marked = set() if log is None else log.keys("rationale")
    runs = bench.runs.all()
    return Status(
        rows=None if panel is None else len(panel),
        columns=() if panel is None else tuple(panel.columns),
        version=0 if panel is None else storage.versions(bench.path / "panel")[-1],
        models=tuple(bench.models),
        feedback={} if log is None else dict(sorted(log.counts().items())),
        feedback_version=0 if log is None else log.version,
        rows_marked=len(marked if panel is None else marked.intersection(panel.key.to_list())),
        runs=dict(Counter(run.status for run in runs)),
        last_run=repr(runs[-1]) if runs else "",
    )

"""Remembering what was told of jobs and trainings: a page that is loaded anew hears it too."""

from __future__ import annotations

import threading
from typing import Any

from .telling import Event

__all__ = ["Memory"]

_JOBS = 12  # that the page lists
_RUNS = 4  # trainings whose curves and figures are told again
_STEPS = 4000  # of a curve; a longer one is thinned to half as many


class Memory:
    """The last word on each job, and the whole of each training, as events that tell it again.

    Telling them twice does no harm: a page puts steps together by their numbers.

    Examples
    --------
    >>> memory = Memory()
    >>> for number in (1, 2):
    ...     memory.note({"event": "steps", "job": 7, "steps": [[number, 0.5, 0.0, 3]], "checks": [], "of": 9})
    >>> memory.note({"event": "settled", "job": 7, "how": "kept"})
    >>> memory.again()[0]["steps"], memory.again()[1]["how"]
    ([[1, 0.5, 0.0, 3], [2, 0.5, 0.0, 3]], 'kept')
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[int, Event] = {}
        self._runs: dict[int, dict[str, Event]] = {}

    def note(self, event: Event) -> None:
        """Remember an event, if it is of a job."""
        kind, job = event.get("event"), event.get("job")
        if not isinstance(job, int):
            return
        with self._lock:
            if kind == "job":
                self._jobs[job] = event
                _forget_all_but(self._jobs, _JOBS)
            elif kind == "steps":
                self._run(job)["steps"] = _together(self._run(job).get("steps"), event)
            elif kind in ("compared", "settled"):
                self._run(job)[kind] = event

    def again(self) -> list[Event]:
        """Return the events that tell a page all of it."""
        with self._lock:
            runs = [event for parts in self._runs.values() for event in parts.values()]
            return [*self._jobs.values(), *runs]

    def _run(self, job: int) -> dict[str, Event]:
        if job not in self._runs:
            self._runs[job] = {}
            _forget_all_but(self._runs, _RUNS)
        return self._runs[job]


def _forget_all_but(kept: dict[int, Any], most: int) -> None:
    for old in list(kept)[: max(0, len(kept) - most)]:
        del kept[old]


def _together(before: Event | None, event: Event) -> Event:
    """Return one event for the steps of two; a new one, as the old may just be on its way to a page."""
    if before is None:
        return event
    steps = [*before["steps"], *event["steps"]]
    if len(steps) > _STEPS:
        steps = [*steps[:-1:2], steps[-1]]
    return {**event, "steps": steps, "checks": [*before["checks"], *event["checks"]]}

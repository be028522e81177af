"""Audience: the pages that show one view. What is told to all, and again to one that comes later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .remembering import Memory
from .telling import Event
from .watching import Growth, watch

if TYPE_CHECKING:
    from ..feedback import Feedback

__all__ = ["Audience"]


class Audience:
    """The pages of a view: they hear of jobs, of trainings, and of what others write to the log.

    Parameters
    ----------
    tell : callable
        Given each event.
    log : Feedback, optional
        Which is watched for as long as a page is open.

    Examples
    --------
    >>> heard = []
    >>> audience = Audience(heard.append)
    >>> audience.note({"event": "settled", "job": 1, "how": "kept"})
    >>> audience.joined()
    >>> len(heard), heard[0] == heard[1]
    (2, True)
    """

    def __init__(self, tell: Callable[[Event], object], log: Feedback | None = None) -> None:
        self._tell, self._memory, self._pages = tell, Memory(), 0
        self._growth = None if log is None else Growth(log, self._grown)

    def note(self, event: Event) -> None:
        """Tell an event of a job, and remember it for pages that are opened later."""
        self._memory.note(event)
        self._tell(event)

    def joined(self) -> None:
        """Tell a page that was opened what others know; from now on the log is watched."""
        for event in self._memory.again():
            self._tell(event)
        self._pages += 1
        if self._growth is not None:
            watch(self._growth)

    def left(self) -> None:
        """Note that a page was closed: where none is left, nobody need watch the log."""
        self._pages -= 1
        if self._pages <= 0:
            self.close()

    def look_at_log(self, reply: Mapping[str, Any]) -> None:
        """Tell all pages if the log has grown, after a reply to one of them that may have written to it."""
        told = reply.get("ok", {})
        if self._growth is not None and "saved" in told:
            self._growth.look(reply["id"], told.get("ids", ()))

    def close(self) -> None:
        """Watch the log no longer."""
        if self._growth is not None:
            watch(self._growth, False)

    def _grown(self, version: int, by: int | None) -> None:
        self._tell({"event": "saved", "version": version, "by": by})

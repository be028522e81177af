"""Watching logs: another notebook, or another process, may write to the log that a view shows."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..feedback import Feedback

__all__ = ["Growth", "watch"]

_log = logging.getLogger(__name__)

EVERY = 1.0  # seconds between two looks at a log, which take less than a millisecond


class Growth:
    """Tells when a log has grown, and whether by others.

    Parameters
    ----------
    log : Feedback
        That is looked at.
    tell : callable
        Given the version, and who has written: the number that `look` was given if nobody else did, else None.

    Examples
    --------
    >>> import tempfile
    >>> from workbench.feedback import Feedback, Record
    >>> log = Feedback(tempfile.mkdtemp() + "/log.db", author="ada")
    >>> growth = Growth(log, lambda version, by: print(version, by))
    >>> _ = log.write([Record("tag", "toy/0", {"tag": "odd"})])
    >>> growth.look(by=5, wrote=[1])
    1 5
    >>> growth.look()
    >>> _ = log.write([Record("tag", "toy/1", {"tag": "odd"})])
    >>> growth.look()
    2 None
    """

    def __init__(self, log: Feedback, tell: Callable[[int, int | None], object]) -> None:
        self._feedback, self._tell = log, tell
        self._lock = threading.Lock()
        self._version = log.version

    def look(self, by: int | None = None, wrote: list[int] | tuple[int, ...] = ()) -> None:
        """Tell if the log has grown since the last look.

        Parameters
        ----------
        by : int, optional
            Which request has just written.
        wrote : sequence of int
            The records that it wrote.
        """
        with self._lock:
            before, self._version = self._version, self._feedback.version
            now = self._version
        if now == before:
            return
        alone = bool(wrote) and wrote[0] == before + 1 and wrote[-1] == now
        self._tell(now, by if alone else None)


_watched: weakref.WeakSet[Growth] = weakref.WeakSet()
_lock = threading.Lock()
_thread: threading.Thread | None = None


def watch(growth: Growth, on: bool = True) -> None:
    """Look at a log every second from now on, or no longer: one thread for all views, which ends with the last."""
    global _thread
    with _lock:
        if not on:
            _watched.discard(growth)
            return
        _watched.add(growth)
        if _thread is None:
            _thread = threading.Thread(target=_look_on, name="workbench-watching", daemon=True)
            _thread.start()


def _look_on() -> None:
    global _thread
    pause = threading.Event()
    while True:
        pause.wait(EVERY)
        with _lock:
            watched = list(_watched)
            if not watched:
                _thread = None
                return
        for growth in watched:
            try:
                growth.look()
            except Exception:  # noqa: BLE001 - the file may be gone, or locked by somebody; it is looked at again
                _log.debug("A log could not be looked at.", exc_info=True)
        watched.clear()
        del growth

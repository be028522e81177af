"""Telling a page what happens: in order, from one thread, and not more often than anybody can look."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Hashable
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

__all__ = ["Event", "Tell", "Teller"]

Event: TypeAlias = dict[str, Any]
Tell: TypeAlias = Callable[[Event], object]

_log = logging.getLogger(__name__)

_REST = 60.0  # seconds without a word after which the thread ends; the next word begins another


class _Desk:
    """What the thread holds, and no more: what the events are about may be collected."""

    def __init__(self, tell: Callable[[], Tell | None], every: float) -> None:
        self.inbox: SimpleQueue[Any] = SimpleQueue()
        self.tell, self.every = tell, every
        self.thread: threading.Thread | None = None
        self.lock = threading.Lock()


class Teller:
    """Hands events to a function, one after the other, from a thread of its own.

    Whoever tells never waits for the function, and what goes on fast is told a few times a second, its last state
    always.

    Parameters
    ----------
    tell : callable
        Given each event. A bound method is held weakly, so that a view which tells itself can be collected.
    every : float
        Seconds between two events that are told by `soon` under one key.

    Examples
    --------
    >>> seen = []
    >>> teller = Teller(seen.append)
    >>> for done in range(1000):
    ...     teller.soon("job", lambda done=done: {"done": done})
    >>> teller.now({"done": "all"})
    >>> teller.close(wait=5)
    >>> seen[-2:], len(seen) <= 4
    ([{'done': 999}, {'done': 'all'}], True)
    """

    def __init__(self, tell: Tell, every: float = 0.1) -> None:
        self._desk = _Desk(_held_weakly(tell), every)
        weakref.finalize(self, self._desk.inbox.put, None)

    def now(self, event: Event) -> None:
        """Tell an event at once, and before it what waits to be told."""
        self._put((None, lambda: event))

    def soon(self, key: Hashable, make: Callable[[], Event | None]) -> None:
        """Tell of something that goes on fast.

        Parameters
        ----------
        key : hashable
            Of what. Of all that is to be told under one key within a tenth of a second, only the last is.
        make : callable
            Makes the event when it is told; None for nothing to tell any more.
        """
        self._put((key, make))

    def close(self, wait: float = 0.0) -> None:
        """Tell what waits, and end; may be called from a finalizer, as it takes no lock.

        Parameters
        ----------
        wait : float
            Seconds to wait for that, at most.
        """
        self._desk.inbox.put(None)
        thread = self._desk.thread
        if wait > 0 and thread is not None and thread is not threading.current_thread():
            thread.join(wait)

    def _put(self, item: Any) -> None:
        desk = self._desk
        desk.inbox.put(item)
        with desk.lock:  # after the word was left: a thread that is about to end sees it, or has ended
            if desk.thread is None:
                desk.thread = threading.Thread(target=_telling, args=(desk,), name="workbench-telling", daemon=True)
                desk.thread.start()


def _held_weakly(tell: Tell) -> Callable[[], Tell | None]:
    return weakref.WeakMethod(tell) if hasattr(tell, "__self__") and hasattr(tell, "__func__") else lambda: tell


def _telling(desk: _Desk) -> None:
    """Tell what comes in, until None does, or nothing does for long. What is known here, no other thread touches."""
    inbox, tell, every = desk.inbox, desk.tell, desk.every
    waiting: dict[Hashable, Callable[[], Event | None]] = {}
    told: dict[Hashable, float] = {}
    while True:
        due = min((told[key] + every for key in waiting), default=None)
        try:
            item = inbox.get(timeout=_REST if due is None else max(0.0, due - time.monotonic()))
        except Empty:
            item = ()
            with desk.lock:
                if due is None and inbox.empty():
                    desk.thread = None
                    return
        now = time.monotonic()
        told = {key: when for key, when in told.items() if key in waiting or when + every > now}
        if item is None or (item and item[0] is None):
            while waiting:
                key = next(iter(waiting))
                _tell(tell, waiting.pop(key))
                told[key] = now
            if item is None:
                return
            _tell(tell, item[1])
        elif item:
            waiting[item[0]] = item[1]
        for key in [key for key in waiting if told.get(key, now - every) + every <= now]:
            _tell(tell, waiting.pop(key))
            told[key] = now
        for key in waiting:
            told.setdefault(key, now)
        del item  # nothing is kept alive by who waits for the next


def _tell(tell: Callable[[], Tell | None], make: Callable[[], Event | None]) -> None:
    """Tell one event; what goes wrong there must not keep others from being told."""
    function = tell()
    if function is None:
        return
    try:
        event = make()
        if event is not None:
            function(event)
    except Exception:  # noqa: BLE001 - a page that is gone raises whatever its connection does
        _log.debug("An event could not be told.", exc_info=True)

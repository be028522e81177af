"""What waits for the threads of a view, and how these wait for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue

from .tasks import Task

__all__ = ["Desk", "Job", "Question"]

REST = 60.0  # seconds without work after which a thread ends; the next work begins another


class Desk:
    """What the threads share with `Jobs`: it knows nothing of the view, so that the view can be collected."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.long: deque[Job] = deque()
        self.running: Task | None = None
        self.in_turn: deque[Question] = deque()
        self.newest: list[Question] = []
        self.closed = False
        # A bell for each thread; unlike a lock's, its ring is safe in a finalizer, which may interrupt anything.
        self.bells: dict[str, SimpleQueue[None]] = {"long": SimpleQueue(), "quick": SimpleQueue()}
        self.threads: list[threading.Thread] = []

    def close(self) -> None:
        """Ask everything to end. Takes no lock: the collector may call it while this thread holds it."""
        self.closed = True
        running = self.running
        if running is not None:
            running.ask_to_stop()
        for bell in self.bells.values():
            bell.put(None)

    def rings(self, name: str) -> bool:
        """Wait for the bell of a thread; False where the thread is to end, as it had nothing to do for long."""
        try:
            self.bells[name].get(timeout=REST)
        except Empty:
            with self.lock:
                # Who rings has left the work before: where there is none now, another thread is begun for it.
                if (self.long if name == "long" else self.in_turn or self.newest) or not self.bells[name].empty():
                    return not self.closed
                self.threads = [thread for thread in self.threads if thread is not threading.current_thread()]
            return False
        return not self.closed

    def take_job(self) -> Job | None:
        """Return the job whose turn it is; None if it was stopped before."""
        with self.lock:
            if not self.long:
                return None
            self.running = self.long[0].task
            if self.closed:  # by a finalizer that did not see it run
                self.running.ask_to_stop()
            return self.long.popleft()

    def take_question(self) -> Question | None:
        """Return the request to answer next; None if it was dropped."""
        with self.lock:
            return self.in_turn.popleft() if self.in_turn else self.newest.pop() if self.newest else None


class Job:
    """Long work that waits."""

    def __init__(self, task: Task, work: Callable[[Task], str | None], dropped: Callable[[], object] | None) -> None:
        self.task, self.work, self.dropped = task, work, dropped


class Question:
    """A quick request that waits."""

    def __init__(self, work: Callable[[], object], instead: str, dropped: Callable[[], object] | None) -> None:
        self.work, self.instead, self.dropped = work, instead, dropped

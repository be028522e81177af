"""Work of a view beside the notebook: long work piece by piece, and quick answers to what the page asks."""

from __future__ import annotations

import atexit
import itertools
import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence

from ..errors import RunError
from .desk import Desk, Job, Question
from .tasks import StoppedError, Task, is_foreseen, words_of
from .telling import Event, Tell, Teller

__all__ = ["Jobs"]

_log = logging.getLogger(__name__)

_GOODBYE = 3.0  # seconds that the interpreter waits at its exit for what is asked to stop
_KEPT = 200  # jobs that have ended and can still be asked about


class Jobs:
    """Two threads that work for a view: one for long jobs, in the order in which they came, one for quick answers.

    Nothing of a view runs in the thread of the notebook, and no job is ended by force: it is asked to stop, and does
    so before its next piece. The threads are daemons that begin when there is work, and end when there was none for a
    minute, the view is closed or collected, or the interpreter exits, which waits for them for three seconds at most.
    Where a job holds its view (as the closure of one of its methods does), the view is not collected before that job
    has ended.

    Parameters
    ----------
    tell : callable
        Given events; see `Teller`. Those of a job tell its ``state``, ``done``, ``of`` and ``words``, at most ten times
        a second, how it ended always.

    Examples
    --------
    >>> seen = []
    >>> jobs = Jobs(seen.append)
    >>> def work(task):
    ...     for rows in task.pieces(1000, 250):
    ...         pass
    ...     return "All rows are computed."
    >>> jobs.wait(jobs.start("compute", work))["words"]
    'All rows are computed.'
    >>> [(event["state"], event["done"], event["of"]) for event in (seen[0], seen[-1])]
    [('running', 0, None), ('done', 1000, 1000)]
    >>> jobs.close()
    """

    def __init__(self, tell: Tell) -> None:
        self._desk = Desk()
        self._teller = Teller(tell)
        self._numbers = itertools.count(1)
        self._tasks: dict[int, Task] = {}
        _desks.add(self._desk)
        # Not at the interpreter's exit: there they are waited for, too.
        weakref.finalize(self, self._desk.close).atexit = False

    # Long work

    def start(
        self,
        kind: str,
        work: Callable[[Task], str | None],
        *,
        words: str = "",
        dropped: Callable[[], object] | None = None,
    ) -> int:
        """Begin a job, after those that were begun before.

        Parameters
        ----------
        kind : str
            What it does, in a word.
        work : callable
            Given its `Task`, whose `check` it calls between two pieces; returns the words to end with, or None. Where
            it raises, the job has failed with the words of the error; where it raises `StoppedError`, it was stopped.
        words : str
            What is being done.
        dropped : callable, optional
            Called if the job is stopped before it has begun.

        Returns
        -------
        int
            Number of the job.

        Raises
        ------
        RunError
            If the view is closed.
        """
        desk = self._desk
        with desk.lock:
            self._check_open()
            task = Task(next(self._numbers), kind, words, self._teller)
            self._tasks[task.id] = task
            ended = [number for number, one in self._tasks.items() if one.state != "running"]
            for number in ended[:-_KEPT]:
                del self._tasks[number]
            desk.long.append(Job(task, work, dropped))
            self._begin("long", _long_work)
        # Before the bell, so that it is told before how it ended.
        self._teller.now(task.event())
        desk.bells["long"].put(None)
        return task.id

    def stop(self, job: int) -> None:
        """Ask a job to stop: before its next piece, or at once if it has not begun. One that has ended stays as it is.

        Raises
        ------
        RunError
            If there is no such job.
        """
        task = self._task(job)
        desk = self._desk
        with desk.lock:
            task.ask_to_stop()
            waiting = [one for one in desk.long if one.task is task]
            for one in waiting:
                desk.long.remove(one)
        if waiting:
            task.ended("stopped", "Stopped before it began.")
        _drop(waiting)

    def look(self, job: int) -> Event:
        """Return how a job stands.

        Raises
        ------
        RunError
            If there is no such job.
        """
        return self._task(job).event()

    def wait(self, job: int, seconds: float = 60.0) -> Event:
        """Wait until a job has ended, and its end was told; return how it stands then, or after so many seconds."""
        until = time.monotonic() + seconds
        task = self._task(job)
        while task.state == "running" and time.monotonic() < until:
            time.sleep(0.005)
        if self.closed:
            return task.event()
        told = threading.Event()
        self._teller.soon(("waited for", job), lambda: told.set())
        told.wait(max(0.0, until - time.monotonic()))
        return task.event()

    @property
    def busy(self) -> bool:
        """Whether a long job runs or waits."""
        return bool(self._desk.long) or self._desk.running is not None

    # Quick answers

    def ask(
        self,
        work: Callable[[], object],
        *,
        instead: str = "",
        in_turn: bool = False,
        dropped: Callable[[], object] | None = None,
    ) -> None:
        """Have a request answered beside the long work: the newest first, as that is what somebody looks at now.

        Parameters
        ----------
        work : callable
            Answers the request itself. What it raises is logged.
        instead : str
            Requests of the same name that have not begun are dropped.
        in_turn : bool
            Whether its place among others matters: what is written, such as strokes and undos. These come first, in
            the order in which they were asked, and none is dropped.
        dropped : callable, optional
            Called if the request is dropped, in the thread that asks for another or closes the view.

        Raises
        ------
        RunError
            If the view is closed.
        """
        desk = self._desk
        gone: list[Question] = []
        with desk.lock:
            self._check_open()
            if in_turn:
                desk.in_turn.append(Question(work, "", dropped))
            else:
                if instead:
                    gone = [one for one in desk.newest if one.instead == instead]
                    desk.newest = [one for one in desk.newest if one.instead != instead]
                desk.newest.append(Question(work, instead, dropped))
            self._begin("quick", _quick_work)
        desk.bells["quick"].put(None)
        _drop(gone)

    # The end

    @property
    def closed(self) -> bool:
        """Whether the view is closed."""
        return self._desk.closed

    def close(self, wait: float = 0.0) -> None:
        """Ask what runs to stop, drop what waits, and end both threads; twice does no harm.

        Parameters
        ----------
        wait : float
            Seconds to wait for that, at most.
        """
        desk = self._desk
        desk.close()
        with desk.lock:
            gone: list[Job | Question] = [*desk.in_turn, *desk.newest, *desk.long]
            waiting = [one.task for one in desk.long]
            desk.in_turn.clear()
            desk.newest.clear()
            desk.long.clear()
            threads = list(desk.threads)
        for task in waiting:
            task.ask_to_stop()
            task.ended("stopped", "Stopped, as the view was closed.")
        _drop(gone)
        _join(threads, wait)
        self._teller.close(wait=wait)

    def _task(self, job: int) -> Task:
        task = self._tasks.get(job)
        if task is None:
            raise RunError(f"There is no job {job} in this view.")
        return task

    def _check_open(self) -> None:
        if self._desk.closed:
            raise RunError("This view is closed; make a new one.")

    def _begin(self, name: str, work: Callable[[Desk], None]) -> None:
        """Begin a thread with its first work; the lock is held."""
        name = f"workbench-{name}"
        if not any(thread.name == name for thread in self._desk.threads):
            thread = threading.Thread(target=work, args=(self._desk,), name=name, daemon=True)
            self._desk.threads.append(thread)
            thread.start()


# What the threads do. While one waits it holds nothing but the desk, so that all else may be collected.


def _long_work(desk: Desk) -> None:
    while desk.rings("long"):
        job = desk.take_job()
        if job is not None:
            _run(job.task, job.work, desk)
            desk.running = None
        del job


def _run(task: Task, work: Callable[[Task], str | None], desk: Desk) -> None:
    try:
        task.check()
        words = work(task)
    except StoppedError as stop:
        task.ended("stopped", str(stop) or "Stopped.")
    except BaseException as error:  # noqa: BLE001 - whatever it is, the page must be told, and the next job has its turn
        if not desk.closed:
            # What this project raises on purpose, the page tells in full; of the rest, the notebook must hear.
            level = logging.INFO if is_foreseen(error) else logging.ERROR
            _log.log(level, "Job %d (%s) failed.", task.id, task.kind, exc_info=error)
        task.ended("failed", words_of(error))
    else:
        task.ended("done", words)


def _quick_work(desk: Desk) -> None:
    while desk.rings("quick"):
        question = desk.take_question()
        if question is not None:
            _answer(question, desk)
        del question


def _answer(question: Question, desk: Desk) -> None:
    try:
        question.work()
    except BaseException as error:  # noqa: BLE001 - one request that fails must not keep others from being answered
        if not desk.closed:  # of a view that was closed meanwhile, nobody waits for the answer
            _log.error("A request of the page failed.", exc_info=error)


def _drop(gone: Sequence[Job | Question]) -> None:
    for one in gone:
        if one.dropped is not None:
            one.dropped()


def _join(threads: list[threading.Thread], wait: float) -> None:
    until = time.monotonic() + wait
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(max(0.0, until - time.monotonic()))


_desks: weakref.WeakSet[Desk] = weakref.WeakSet()


@atexit.register
def _say_goodbye() -> None:
    """Let what runs come to an end of its own, for a moment: a thread that is cut off inside torch may crash."""
    desks = list(_desks)
    for desk in desks:
        desk.close()
    _join([thread for desk in desks for thread in desk.threads], _GOODBYE)

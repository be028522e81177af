"""One long job of a view: how far it is, how it is asked to stop, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from columns.errors import ColumnError
from explain.errors import ExplainError

from ..errors import WorkbenchError
from .telling import Event, Teller

__all__ = ["StoppedError", "Task", "is_foreseen", "words_of"]

_LONGEST = 2000  # characters of an error that the page shows


class StoppedError(Exception):
    """A job was asked to stop, and did; the words are shown."""


class Task:
    """What the work of a job is given: where it says how far it is, and is told to stop.

    Attributes
    ----------
    id : int
        Number of the job.
    kind : str
        What it does, in a word.
    """

    def __init__(self, number: int, kind: str, words: str, teller: Teller) -> None:
        self.id, self.kind = number, kind
        self._teller = teller
        self._asked = 0
        # Replaced as a whole, so that whoever reads them never finds half of a change.
        self._shown: tuple[str, int, int | None, str] = ("running", 0, None, words)

    @property
    def state(self) -> str:
        """ "running", also while it waits for its turn, "done", "stopped" or "failed"."""
        return self._shown[0]

    @property
    def stopped(self) -> bool:
        """Whether somebody asked it to stop."""
        return self._asked > 0

    @property
    def asked(self) -> int:
        """How often somebody asked it to stop: work that ends in two parts may be asked twice."""
        return self._asked

    def check(self) -> None:
        """Raise `StoppedError` if somebody asked to stop; what the work calls between two pieces."""
        if self.stopped:
            raise StoppedError

    def say(self, done: int | None = None, of: int | None = None, words: str | None = None) -> None:
        """Say how far the work is; what is left out stays as it was.

        Parameters
        ----------
        done, of : int, optional
            Pieces done, and in all.
        words : str, optional
            What is being done.
        """
        state, old_done, old_of, old_words = self._shown
        self._shown = (
            state,
            old_done if done is None else done,
            old_of if of is None else of,
            old_words if words is None else words,
        )
        self._teller.soon(("job", self.id), self._running)

    def pieces(self, count: int, size: int) -> Iterator[slice]:
        """Go through rows piece by piece, saying how many are done, and stopping where asked to.

        Parameters
        ----------
        count : int
            Rows.
        size : int
            Rows of a piece.

        Yields
        ------
        slice
            Of the rows.
        """
        for start in range(0, count, size):
            self.check()
            end = min(start + size, count)
            yield slice(start, end)
            self.say(end, count)
            time.sleep(0.001)  # so that who waits for the lock of the columns gets it

    def tell(self, event: Event) -> None:
        """Tell an event of this job at once."""
        self._teller.now({**event, "job": self.id})

    def gather(self, make: Callable[[], Event | None]) -> None:
        """Tell an event of this job a few times a second, made when it is told: of all that came together since."""
        self._teller.soon(
            ("gathered", self.id), lambda: None if (event := make()) is None else {**event, "job": self.id}
        )

    def event(self) -> Event:
        """Return how the job stands, as the page is told it."""
        return self._event(self._shown)

    def _event(self, shown: tuple[str, int, int | None, str]) -> Event:
        state, done, of, words = shown
        about = {"event": "job", "job": self.id, "kind": self.kind}
        return {**about, "state": state, "done": done, "of": of, "words": words}

    def _running(self) -> Event | None:
        # How it ended is told by itself.
        return self.event() if self._shown[0] == "running" else None

    # For `Jobs`

    def ask_to_stop(self) -> None:
        """Have `check` raise from now on."""
        self._asked += 1

    def ended(self, state: str, words: str | None) -> None:
        """Tell how it ended; with the words that it had last, where there are no others."""
        _, done, of, last = self._shown
        shown = (state, done, of, last if words is None else words)
        # First told, then so: who waits for it finds it told.
        self._teller.now(self._event(shown))
        self._shown = shown


def is_foreseen(error: BaseException) -> bool:
    """Say whether this project raises an error on purpose, so that its words are all there is to know."""
    return isinstance(error, (WorkbenchError, ColumnError, ExplainError))


def words_of(error: BaseException) -> str:
    """Return an error as whole sentences, to be shown to somebody.

    Errors that this project raises on purpose are sentences already; of others their kind is told as well.

    Examples
    --------
    >>> words_of(WorkbenchError("There are no rows."))
    'There are no rows.'
    >>> words_of(KeyError("x"))
    "This ended with an error that was not foreseen (KeyError): 'x'."
    """
    words = " ".join(str(error).split())
    if not is_foreseen(error):
        told = f": {words.rstrip('.')}" if words else ""
        words = f"This ended with an error that was not foreseen ({type(error).__name__}){told}."
    return words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"

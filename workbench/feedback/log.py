"""Feedback: the append-only log of what people said about rows, by key, with author and time."""

from __future__ import annotations

import getpass
import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from ..errors import FeedbackError
from .exchange import Exchange
from .reading import undone
from .records import Record, checked, copied, rationale
from .store import Store

__all__ = ["Feedback"]


class Feedback(Exchange):
    """An append-only log of what people said about rows, in one SQLite file.

    What a method returns is on the disk. Any number of threads and processes may read and write the same file:
    writers take turns, readers wait for nobody. Nothing is ever changed or deleted: an undo is a record as well,
    and can itself be undone.

    Parameters
    ----------
    path : str or Path
        Of the file; made if it is not there. It must lie on a local disk.
    author : str, optional
        Who speaks; the login name if left out.
    timeout : float
        Seconds to wait for another writer.

    Raises
    ------
    FeedbackError
        If the file is something else or of a newer version, and is left alone.

    Notes
    -----
    Beside the file lie ``…-wal`` and ``…-shm`` while it is open: to copy the log, copy all three, or export it.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> log = Feedback(Path(tempfile.mkdtemp()) / "feedback.db", author="ada")
    >>> mark = np.array([[True, False], [False, False]])
    >>> (record,) = log.mark("photos/17", irrelevant=mark)
    >>> record.id, record.author, record.region.counts
    (1, 'ada', (0, 1, 3))
    >>> log.undo().of, log.regions()
    ((1,), {})
    >>> log.redo().of, log.regions()["photos/17"].size
    ((2,), 1)
    """

    def __init__(self, path: str | os.PathLike[str], *, author: str | None = None, timeout: float = 30.0) -> None:
        place = os.fspath(path)
        if not isinstance(place, str) or place in ("", ":memory:"):
            raise FeedbackError(
                f"A log is a file, so that what it was told survives; `path` must name one, got {path!r}."
            )
        # Absolute, so that the file stays the same one wherever the process goes.
        self._start(Store(Path(os.path.abspath(place)), timeout), author or _login_name(), None)

    # Speaking

    def mark(
        self,
        key: str,
        *,
        irrelevant: Any = None,
        relevant: Any = None,
        column: str = "image",
        model: str | None = None,
        shown: Mapping[str, Any] | None = None,
        how: str = "painted",
        author: str | None = None,
    ) -> tuple[Record, ...]:
        """Say which part of a row must not matter, which should, or both; replaces what the author said before.

        Parameters
        ----------
        key : str
            Of the row.
        irrelevant, relevant : Region, boolean mask, or spans, optional
            A mask of shape (height, width) at the picture's own size, one of shape (features,), or spans
            ``[(start, end), …]`` of characters. An empty one says that there is no such part.
        column : str
            Which column of the row is meant.
        model : str, optional
            Version of the model that was shown.
        shown : mapping, optional
            What was on the screen.
        how : {"painted", "propagated", "imported", "simulated"}
            How it came about.
        author : str, optional
            Who speaks, if not the author of the log.

        Returns
        -------
        tuple of Record
            One for each role, as written.

        Raises
        ------
        FeedbackError
            If there is nothing to write, or both parts overlap or are of different sizes.
        FeedbackBusyError
            If another writer did not end in time.
        """
        about: dict[str, Any] = {"model": model, "shown": shown, "how": how, "author": author or ""}
        said = {"irrelevant": irrelevant, "relevant": relevant}
        records = [
            rationale(key, role, region, column=column, **about) for role, region in said.items() if region is not None
        ]
        if not records:
            raise FeedbackError("A mark needs a region that is irrelevant, or one that is relevant; got neither.")
        both = records[0].region & records[1].region if len(records) == 2 else None
        if both is not None and not both.empty:
            raise FeedbackError(
                f"No part of a row can be both irrelevant and relevant; {both.size} of it is ({both.extent} in all). "
                "Take one from the other first: irrelevant - relevant."
            )
        return self.write(records)

    def correct(self, key: str, label: str, *, column: str = "label", **about: Any) -> Record:
        """Say what the label of a row should be; `about` are other fields of a `Record`."""
        return self._say("label", key, {"label": label}, column, about)

    def judge(self, key: str, verdict: str, *, column: str = "image", **about: Any) -> Record:
        """Give a verdict on the explanation of a row: one of `VERDICTS`."""
        return self._say("verdict", key, {"verdict": verdict}, column, about)

    def note(self, key: str, text: str, *, column: str | None = None, **about: Any) -> Record:
        """Write a note about a row."""
        return self._say("note", key, {"text": text}, column, about)

    def tag(self, key: str, tag: str, *, column: str | None = None, **about: Any) -> Record:
        """Put a tag on a row."""
        return self._say("tag", key, {"tag": tag}, column, about)

    def _say(self, kind: str, key: str, body: Mapping[str, Any], column: str | None, about: dict[str, Any]) -> Record:
        fields = {"model", "shown", "how", "author", "source"}
        if not set(about) <= fields:
            raise FeedbackError(f"Of a {kind} one may say {sorted(fields)}; got {sorted(set(about) - fields)}.")
        about["author"] = about.get("author") or ""
        (record,) = self.write([Record(kind, key, body, column, **about)])
        return record

    def undo(self, what: int | Record | Sequence[int | Record] | None = None, *, author: str | None = None) -> Record:
        """Take records back: with a record, which can itself be undone.

        Parameters
        ----------
        what : int, Record, or sequence of these, optional
            What to take back. If left out, what the author wrote last and still stands: all of it that was written
            at once, so that one undo takes back both parts of a mark, or a propagation to many rows.
        author : str, optional
            Who speaks, if not the author of the log.

        Returns
        -------
        Record
            The undo; `of` names what it took back.

        Raises
        ------
        FeedbackError
            If there is nothing to take back, no such record, or it was taken back already.
        """
        who = author or self.author
        with self._writing() as connection:
            ids = self._last_act(connection, who) if what is None else _ids(what)
            undo = self._append(connection, [self._undo_of(connection, ids, who)])[0]
        self._catch_up()
        return undo

    def redo(self, *, author: str | None = None) -> Record:
        """Take back the author's last undo that still stands.

        Raises
        ------
        FeedbackError
            If there is none.
        """
        who = author or self.author
        with self._writing() as connection:
            undos = self._undos(connection, None)
            gone, numbers = undone(undos), {number for number, _ in undos}
            # An undo of an undo is a redo: taking that back would be no step forward.
            open_ = (n for n, of in reversed(undos) if n not in gone and not numbers.issuperset(of))
            number = next((n for n in open_ if self._is_an_undo_by(connection, n, who)), None)
            if number is None:
                raise FeedbackError(f"There is no undo by '{who}' that still stands.")
            redo = self._append(connection, [self._undo_of(connection, [number], who)])[0]
        self._catch_up()
        return redo

    def write(self, records: Iterable[Record]) -> tuple[Record, ...]:
        """Write records, all of them or none.

        Parameters
        ----------
        records : iterable of Record
            Without ids. An empty author is that of the log, an empty time is now.

        Returns
        -------
        tuple of Record
            As written, in order, with their ids.

        Raises
        ------
        FeedbackError
            If one of them does not hold what it may; nothing is written then.
        FeedbackBusyError
            If another writer did not end in time.
        """
        ready = list(self._ready(records))
        written = next((record.id for record in ready if record.id is not None), None)
        if written is not None:
            raise FeedbackError(
                f"Record {written} is in a log already; to write one like it, replace(record, id=None, "
                f"source={written})."
            )
        if not ready:
            return ()
        with self._writing() as connection:
            return self._append(connection, ready)

    def _ready(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield records checked and without names; of those that differ in their rows only, the first is checked."""
        known: dict[int, tuple[Record, Record]] = {}
        for record in records:
            first, ready = known.get(id(record.body), (None, None))
            if first is None or ready is None or not _differ_in_rows_only(first, ready, record):
                ready = checked(record, author=self.author)
                known[id(record.body)] = record, ready
            yield copied(ready, record.key, record.source, record.id, None)

    @contextmanager
    def transaction(self) -> Iterator[Self]:
        """Let all that is read and written inside be one write: nobody else writes meanwhile.

        What is written is on the disk when it ends, or, if it raises, not at all.

        Yields
        ------
        Feedback
            The log itself, for this thread.

        Raises
        ------
        FeedbackError
            If this is the log as it was, which takes nothing.
        FeedbackBusyError
            If another writer did not end in time.

        Examples
        --------
        >>> import tempfile
        >>> log = Feedback(Path(tempfile.mkdtemp()) / "feedback.db", author="ada")
        >>> with log.transaction():
        ...     if not log.records(key="photos/17", kind="tag"):
        ...         record = log.tag("photos/17", "dark")
        >>> log.version
        1
        """
        with self._writing():
            yield self

    # Opening and closing

    def close(self) -> None:
        """Close the file; it can be opened again. A view of an earlier version has none of its own to close."""
        if self._until is None:
            self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *what: object) -> None:
        self.close()

    def __repr__(self) -> str:
        seen = "" if self._until is None else " (as it was)"
        return f"<Feedback '{self.path}' at version {self.version:,}{seen}, author '{self.author}'>"

    def __reduce__(self) -> tuple[Any, ...]:
        # To another process goes the name of the file: a connection cannot.
        return _reopened, (str(self.path), self.author, self._store.timeout, self._until)


def _reopened(path: str, author: str, timeout: float, until: int | None) -> Feedback:
    log = Feedback(path, author=author, timeout=timeout)
    return log if until is None else log.at(until)


def _differ_in_rows_only(first: Record, ready: Record, other: Record) -> bool:
    """Say whether a record is as one that was checked: what was said by value, for it may have been changed since."""
    names = ("kind", "column", "author", "time", "model", "how")
    about = all(getattr(first, name) == getattr(other, name) for name in names)
    return about and bool(ready.body == other.body) and bool(ready.shown == other.shown)


def _ids(what: int | Record | Sequence[int | Record]) -> list[int]:
    several = list(what) if isinstance(what, Sequence) else [what]
    ids = [record.id if isinstance(record, Record) else record for record in several]
    if not ids or not all(hasattr(number, "__index__") for number in ids):
        raise FeedbackError(f"What is taken back are records that were written, or their ids, at least one; got {ids}.")
    return [operator.index(number) for number in ids if number is not None]


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container whose user has no name
        return "somebody"

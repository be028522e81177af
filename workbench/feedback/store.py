"""The file of a log: SQLite with a write-ahead log, to which rows are added and nothing else.

A write is one transaction that is on the disk before it returns. Writers of any number of threads and processes
take turns; readers wait for nobody. Each thread of each process has a connection of its own.

SQLite's locks are those of POSIX, which a process loses on a file as soon as it closes any descriptor of it: nothing
here but SQLite may open the file. And a fork inherits SQLite's table of locks, but none of the locks: what it inherits
is closed before it opens a connection of its own. See https://www.sqlite.org/howtocorrupt.html, sections 2.2 and 2.6.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import FeedbackBusyError, FeedbackError

__all__ = ["Store"]

APPLICATION = 0x52574642  # "RWFB": what the header of the file says it is
SCHEMA = 1
_SMALLEST = 512  # bytes of a database: one page of the smallest size

# Each statement is a constant: no SQL is made from values.
_SCHEMA = (
    "CREATE TABLE log (identity TEXT NOT NULL) STRICT",
    """CREATE TABLE records (
        id INTEGER PRIMARY KEY,
        act INTEGER NOT NULL,  -- id of the first record of the same write
        uid TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        "column" TEXT,
        author TEXT NOT NULL,
        time TEXT NOT NULL,
        model TEXT,
        how TEXT NOT NULL,
        source INTEGER,
        body TEXT NOT NULL,
        shown TEXT
    ) STRICT""",
    "CREATE INDEX records_by_key ON records (key)",
    "CREATE INDEX undos ON records (id) WHERE kind = 'undo'",
    """CREATE TRIGGER records_stay BEFORE UPDATE ON records
        BEGIN SELECT RAISE(ABORT, 'records of feedback are never changed: add an undo'); END""",
    """CREATE TRIGGER records_last BEFORE DELETE ON records
        BEGIN SELECT RAISE(ABORT, 'records of feedback are never deleted: add an undo'); END""",
    # INSERT OR REPLACE would delete without asking the trigger above.
    """CREATE TRIGGER records_are_new BEFORE INSERT ON records
        WHEN EXISTS (SELECT 1 FROM records WHERE id = NEW.id OR uid = NEW.uid)
        BEGIN SELECT RAISE(ABORT, 'records of feedback are never replaced: add an undo'); END""",
    """CREATE TRIGGER identity_stays BEFORE UPDATE ON log
        BEGIN SELECT RAISE(ABORT, 'the identity of a log is never changed'); END""",
    """CREATE TRIGGER identity_lasts BEFORE DELETE ON log
        BEGIN SELECT RAISE(ABORT, 'the identity of a log is never deleted'); END""",
)


class Store:
    """The file of a log, for any number of threads and processes.

    Parameters
    ----------
    path : Path
        Of the file; made if it is not there.
    timeout : float
        Seconds to wait for another writer.

    Attributes
    ----------
    identity : str
        Made up when the file was made; copies of the file share it.

    Raises
    ------
    FeedbackError
        If the file is something else, or of a newer version; it is left as it is.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self.path = path
        self.timeout = timeout
        self._own = threading.local()
        self._handles: weakref.WeakSet[_Handle] = weakref.WeakSet()
        self._closed = False
        with self.reading() as connection:
            self.identity = str(connection.execute("SELECT identity FROM log").fetchone()[0])

    def close(self) -> None:
        """Close the connections of this process."""
        self._closed = True
        for handle in list(self._handles):
            handle.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to read with; what goes wrong is told in words of the log."""
        with self._told(), self._held() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection inside a transaction, which is on the disk when this returns, or undone if it raises.

        Inside another one of the same thread it is a part of that: undone by itself, on the disk with the whole.
        """
        with self._told(), self._held() as connection:
            inner = connection.in_transaction
            connection.execute("SAVEPOINT part" if inner else "BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("RELEASE part" if inner else "COMMIT")
            except BaseException:
                if inner and connection.in_transaction:
                    connection.execute("ROLLBACK TO part")
                    connection.execute("RELEASE part")
                elif not inner:
                    _roll_back(connection)
                raise

    @contextmanager
    def _held(self) -> Iterator[sqlite3.Connection]:
        """Give the connection of this thread of this process, opened on first use, and note that it is in use."""
        if self._closed:
            raise FeedbackError(f"The log '{self.path}' was closed; open it again: Feedback(path).")
        handle: _Handle | None = getattr(self._own, "handle", None)
        # A connection must not be carried into a fork: the child opens its own.
        if handle is None or handle.link.process != os.getpid():
            handle = self._own.handle = _Handle(self._open())
            self._handles.add(handle)
        handle.link.users += 1
        try:
            yield handle.link.connection
        finally:
            handle.link.users -= 1

    def _open(self) -> _Link:
        self._check_file()
        # Not closed by the thread that opened it, where that has ended.
        connection = sqlite3.connect(self.path, timeout=self.timeout, isolation_level=None, check_same_thread=False)
        link = _Link(connection)
        _links.add(link)
        try:
            # In one transaction: a file that somebody is just making is a new one or a log, nothing in between.
            connection.execute("BEGIN")
            try:
                ours = self._is_ours(connection)
            finally:
                _roll_back(connection)
            if not ours:
                self._make(connection)
            _use_write_ahead(connection, self.path, self.timeout)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA fullfsync = ON")
            link.file = _file_at(self.path)
        except BaseException:
            link.close()
            raise
        link.users = 0
        return link

    def _check_file(self) -> None:
        if not self.path.parent.is_dir():
            raise FeedbackError(f"The directory of a log must exist; there is no '{self.path.parent}'.")
        if self.path.is_dir():
            raise FeedbackError(f"A log is a file; '{self.path}' is a directory. Name a file in it, feedback.db say.")
        if not self.path.exists():
            return
        # Looked at from outside only: to open and close it would give up the locks of this process on it. SQLite
        # itself says whether it is a database, but takes a file of one byte for a new one.
        if 0 < self.path.stat().st_size < _SMALLEST:
            raise self._no_log()
        file = _file_at(self.path)
        if any(link.process != os.getpid() and link.file in (file, None) for link in list(_links)):
            raise FeedbackError(
                f"This process was forked while another thread was using the log '{self.path}', so that SQLite cannot "
                "lock it here. Start processes by spawn: multiprocessing.get_context('spawn')."
            )

    def _no_log(self) -> FeedbackError:
        return FeedbackError(f"'{self.path}' is no log of feedback; it is left as it is. Name another file.")

    def _is_ours(self, connection: sqlite3.Connection) -> bool:
        """Say whether the file is a log already, and not a new one; raise if it is something else."""
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if not (application or version or tables):
            return False
        if application != APPLICATION:
            raise FeedbackError(
                f"'{self.path}' is a database of something else than feedback; it is left as it is. Name another file."
            )
        if version != SCHEMA:
            raise FeedbackError(
                f"'{self.path}' is a log of version {version}; this program reads version {SCHEMA}. It is left as it "
                "is; update rationale-workbench to read it."
            )
        return True

    def _make(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not self._is_ours(connection):  # else somebody else was faster
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute("INSERT INTO log (identity) VALUES (?)", (secrets.token_hex(12),))
                # PRAGMA takes no parameters; both are constants of this file.
                connection.execute(f"PRAGMA application_id = {APPLICATION:d}")
                connection.execute(f"PRAGMA user_version = {SCHEMA:d}")
            connection.execute("COMMIT")
        except BaseException:
            _roll_back(connection)
            raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say what went wrong in words of the log."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if _is_busy(error):
                raise FeedbackBusyError(
                    f"Somebody else has been writing to '{self.path}' for more than {self.timeout:g} s; nothing was "
                    "written. Try again, or wait longer: Feedback(path, timeout=…)."
                ) from error
            raise FeedbackError(f"The log '{self.path}' cannot be used: {error}.") from error
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_NOTADB:
                raise self._no_log() from error
            raise FeedbackError(f"The log '{self.path}' cannot be used: {error}.") from error


class _Link:
    """A connection, the process that opened it, and how many are using it; nobody knows it before it is opened."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.process = os.getpid()
        self.file: tuple[int, int] | None = None
        self.users = 1

    def close(self) -> None:
        """Close the connection, unless it was in use when this process was forked: it holds a lock for good."""
        if self.process == os.getpid() or not self.users:
            self.connection.close()
            _links.discard(self)


class _Handle:
    """What a thread holds its connection by; closed when the thread, or the process, ends."""

    def __init__(self, link: _Link) -> None:
        self.link = link
        self.close = weakref.finalize(self, link.close)


_links: set[_Link] = set()  # all that are open in this process, of every log; what a fork cannot close stays here


def _close_inherited() -> None:
    for link in list(_links):
        if link.process != os.getpid():
            link.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)


def _file_at(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:  # some errors, a full disk say, have rolled back already
        connection.execute("ROLLBACK")


def _use_write_ahead(connection: sqlite3.Connection, path: Path, timeout: float) -> None:
    """Let readers go on while somebody writes; remembered in the file."""
    until = time.monotonic() + timeout
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            # SQLite does not wait here by itself when two processes open a new file at once.
            if not _is_busy(error) or time.monotonic() > until:
                raise
            time.sleep(0.005)
    if mode != "wal":
        raise FeedbackError(
            f"A log needs a file system with shared memory and locks; the one of '{path}' has none. "
            "Put it on a local disk."
        )


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

"""Writing to a log: inside one transaction, records get their numbers and undos are checked."""

from __future__ import annotations

import itertools
import json
import secrets
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from ..errors import FeedbackError
from .reading import Reading, undone
from .records import Record, checked, copied, now

__all__ = ["Writing"]

_INSERT = """INSERT INTO records (id, act, uid, kind, key, "column", author, time, model, how, source, body, shown)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


class Writing(Reading):
    """The inner half of writing, which `Feedback` and the imports use."""

    def _append(
        self, connection: sqlite3.Connection, records: Sequence[Record], strict: bool = True
    ) -> tuple[Record, ...]:
        """Insert checked records inside a transaction, and return them as written."""
        (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM records").fetchone()
        act, moment = last + 1, now()
        done: list[Record] = []
        texts: dict[int, tuple[Any, str]] = {}  # by identity: a stroke that goes to many rows is put into JSON once
        for number, record in enumerate(records, start=act):
            if record.source is not None and record.source >= number:
                raise FeedbackError(
                    f"`source` must be the id of a record that is there, up to {number - 1}; got {record.source}."
                )
            if record.kind == "undo" and strict:
                self._check_undo(connection, record.of, number - 1)
            full = copied(record, record.key, record.source, number, record.uid or secrets.token_hex(12), moment)
            connection.execute(
                _INSERT,
                (number, act, full.uid, full.kind, full.key, full.column, full.author, full.time, full.model, full.how,
                 full.source, _json(full.body, texts), None if full.shown is None else _json(full.shown, texts)),
            )  # fmt: skip
            done.append(full)
        return tuple(done)

    def _check_undo(self, connection: sqlite3.Connection, ids: Iterable[int], last: int) -> None:
        undos = self._undos(connection, None)
        gone = undone(undos)
        for number in ids:
            if number > last:
                raise FeedbackError(f"There is no record {number} to take back; the log has {last}.")
            if number in gone:
                by = max(n for n, of in undos if number in of and n not in gone)
                raise FeedbackError(f"Record {number} was taken back already, by {by}; to have it back, undo({by}).")

    def _undo_of(self, connection: sqlite3.Connection, ids: Sequence[int], author: str) -> Record:
        """Return the undo of records, which names their row and column where it is one."""
        places = connection.execute(
            'SELECT DISTINCT key, "column" FROM records WHERE id IN (SELECT value FROM json_each(?)) LIMIT 2',
            (json.dumps(ids),),
        ).fetchall()
        key, column = places[0] if len(places) == 1 else ("", None)
        return checked(Record("undo", key, {"of": sorted(set(ids))}, column, author))

    def _last_act(self, connection: sqlite3.Connection, author: str) -> list[int]:
        """Return what stands of the last write of an author of which anything does, acts of undo apart.

        With the undos in it that took back what was there before: they were part of that write.
        """
        undos = dict(self._undos(connection, None))
        gone = undone(undos.items())
        rows = connection.execute("SELECT id, act, kind FROM records WHERE author = ? ORDER BY id DESC", (author,))
        found: list[int] = []
        taken: list[int] = []
        last = None
        for number, act, kind in rows:
            if act != last:
                if found:
                    break
                last, taken = act, []
            if number in gone:
                continue
            if kind != "undo":
                found.append(number)
            elif max(undos[number]) < act:
                taken.append(number)
        if not found:
            raise FeedbackError(f"There is nothing by '{author}' that still stands, so nothing to take back.")
        return found + taken

    def _is_an_undo_by(self, connection: sqlite3.Connection, number: int, author: str) -> bool:
        """Say whether a record is an act of undo of an author, and not a part of another write."""
        who, act = connection.execute("SELECT author, act FROM records WHERE id = ?", (number,)).fetchone()
        rows = connection.execute("SELECT act, kind FROM records WHERE id >= ? ORDER BY id", (act,))
        whole = itertools.takewhile(lambda row: row[0] == act, rows)
        return bool(who == author and all(kind == "undo" for _, kind in whole))

    def _catch_up(self) -> None:
        """Read what undos were written, so that the next one need not."""
        with self._store.reading() as connection:
            self._undos(connection, None)

    def _writing(self) -> AbstractContextManager[sqlite3.Connection]:
        if self._until is not None:
            raise FeedbackError(
                f"This is the log '{self.path}' as it was at version {self._until}, which nobody can add to; write to "
                "the log itself."
            )
        return self._store.writing()


def _json(value: Mapping[str, Any], texts: dict[int, tuple[Any, str]]) -> str:
    if id(value) not in texts:
        texts[id(value)] = value, json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return texts[id(value)][1]

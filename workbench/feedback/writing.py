"""Writing to a log: inside one transaction, records get their numbers and undos are checked."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from ..errors import FeedbackError
from .reading import Reading, undone
from .records import Record, checked, now

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
        for number, record in enumerate(records, start=act):
            if record.source is not None and record.source >= number:
                raise FeedbackError(
                    f"`source` must be the id of a record that is there, up to {number - 1}; got {record.source}."
                )
            if record.kind == "undo" and strict:
                self._check_undo(connection, record.of, number - 1)
            full = replace(record, id=number, time=record.time or moment, uid=record.uid or secrets.token_hex(12))
            shown = None if full.shown is None else _json(full.shown)
            connection.execute(
                _INSERT,
                (number, act, full.uid, full.kind, full.key, full.column, full.author, full.time, full.model, full.how,
                 full.source, _json(full.body), shown),
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
        places = set()
        for number in ids:
            row = connection.execute('SELECT key, "column" FROM records WHERE id = ?', (number,)).fetchone()
            places.add(row or ("", None))
        key, column = places.pop() if len(places) == 1 else ("", None)
        return checked(Record("undo", key, {"of": sorted(set(ids))}, column, author))

    def _last_act(self, connection: sqlite3.Connection, author: str) -> list[int]:
        """Return what stands of the last write of an author of which anything does, undos apart."""
        gone = undone(self._undos(connection, None))
        rows = connection.execute(
            "SELECT id, act FROM records WHERE author = ? AND kind != 'undo' ORDER BY id DESC", (author,)
        )
        found: list[int] = []
        last = None
        for number, act in rows:
            if last is not None and act != last:
                break
            if number not in gone:
                found.append(number)
                last = act
        if not found:
            raise FeedbackError(f"There is nothing by '{author}' that still stands, so nothing to take back.")
        return found

    def _author_of(self, connection: sqlite3.Connection, number: int) -> str:
        (author,) = connection.execute("SELECT author FROM records WHERE id = ?", (number,)).fetchone()
        return str(author)

    def _writing(self) -> AbstractContextManager[sqlite3.Connection]:
        if self._until is not None:
            raise FeedbackError(
                f"This is the log '{self.path}' as it was at version {self._until}, which nobody can add to; write to "
                "the log itself."
            )
        return self._store.writing()


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

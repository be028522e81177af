"""Reading a log: records, and what they come to for each row. Of the log as it is, or as it was."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from ..errors import FeedbackError
from .checks import cut
from .merging import Agreement, agreement_on, last_words, merged_labels, merged_regions
from .records import KINDS, ROLES, Record, checked, copied
from .region import Region
from .store import Store

if TYPE_CHECKING:
    from columns import Column

    from ..panel import DataPanel

__all__ = ["Reading", "Undo", "undone"]

Undo: TypeAlias = tuple[int, tuple[int, ...]]  # the id of an undo, and what it takes back

_Known: TypeAlias = dict[tuple[Any, ...], Record]  # records that differ from others in their row and number only

_SELECT = (
    'SELECT id, uid, kind, key, "column", author, time, model, how, source, body, shown FROM records WHERE id <= ?'
)
_FILTERS = {
    "kind": " AND kind = ?",
    "key": " AND key = ?",
    "author": " AND author = ?",
    "how": " AND how = ?",
    "column": ' AND "column" = ?',
}


class Reading:
    """The reading half of a log."""

    author: str
    _store: Store
    _until: int | None  # the last record that a view of an earlier version shows
    _seen: tuple[int, tuple[Undo, ...]]  # undos up to a record: what is written once need not be read twice

    def _start(self, store: Store, author: str, until: int | None) -> None:
        self._store, self.author, self._until = store, author, until
        self._seen = (0, ())

    @property
    def path(self) -> Path:
        """Of the file."""
        return self._store.path

    @property
    def identity(self) -> str:
        """A name made up when the file was made: which log this is, wherever the file lies."""
        return self._store.identity

    @property
    def version(self) -> int:
        """The id of the last record; 0 when there is none."""
        with self._store.reading() as connection:
            return self._last(connection)

    def __len__(self) -> int:
        return self.version

    def __bool__(self) -> bool:
        return True

    def at(self, version: int) -> Self:
        """Return the log as it was when `version` was its last record: to read only.

        Raises
        ------
        FeedbackError
            If there is no such version.
        """
        last = self.version
        if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version <= last:
            raise FeedbackError(f"Versions of the log lie in [0, {last}]; got {version!r}.")
        view = object.__new__(type(self))
        view._start(self._store, self.author, version)
        return view

    def records(
        self,
        *,
        kind: str | None = None,
        key: str | None = None,
        author: str | None = None,
        how: str | None = None,
        column: str | None = None,
        standing: bool = True,
    ) -> list[Record]:
        """Return records, in the order in which they were written.

        Parameters
        ----------
        kind, key, author, how, column : str, optional
            Only those of this kind, row, author and so on.
        standing : bool
            Only what was not taken back, and no undos; else everything.

        Raises
        ------
        FeedbackError
            If a record cannot be read; names it.
        """
        if kind is not None and kind not in KINDS:
            raise FeedbackError(f"`kind` must be one of {list(KINDS)}; got {kind!r}.")
        asked = {"kind": kind, "key": key, "author": author, "how": how, "column": column}
        wanted = {name: value for name, value in asked.items() if value is not None}
        query = _SELECT + "".join(_FILTERS[name] for name in wanted) + " ORDER BY id"
        with self._store.reading() as connection:
            # Ids only grow, so that what lies below one never changes: no transaction is needed to read twice.
            last = self._last(connection)
            gone = undone(self._undos(connection, last)) if standing else set()
            rows = connection.execute(query, (last, *wanted.values()))
            known: _Known = {}
            return [
                self._record(row, known) for row in rows if not standing or (row[0] not in gone and row[2] != "undo")
            ]

    def counts(self) -> dict[str, int]:
        """Return how many records of each kind stand; no record is read for it.

        Returns
        -------
        dict of str to int
            By kind, in the order of their names; kinds of which there is none are left out.
        """
        return {
            str(kind): int(count) for kind, count in self._standing("kind, count(*)", " GROUP BY kind ORDER BY kind")
        }

    def keys(self, kind: str = "rationale") -> set[str]:
        """Return the keys of rows with records of a kind that stand; no record is read for it.

        Parameters
        ----------
        kind : str
            One of the kinds of records.

        Raises
        ------
        FeedbackError
            If there is no such kind.
        """
        if kind not in KINDS:
            raise FeedbackError(f"`kind` must be one of {list(KINDS)}; got {kind!r}.")
        return {str(key) for (key,) in self._standing("DISTINCT key", " AND kind = ?", kind)}

    # What it comes to

    def regions(self, role: str = "irrelevant", *, column: str = "image", rule: str = "latest") -> dict[str, Region]:
        """Return one region for each row that somebody marked.

        Of one author the last record that stands is the whole region; several authors are merged by a rule.

        Parameters
        ----------
        role : {"irrelevant", "relevant"}
            Which regions.
        column : str
            What they are parts of.
        rule : {"latest", "union", "intersection", "majority"}
            The last region that anybody marked; what anybody marked; what all who spoke of the row marked; what more
            than half of them did.

        Returns
        -------
        dict of str to Region
            By key.

        Raises
        ------
        FeedbackError
            If there is no such role or rule, or regions of a row are of different sizes.
        """
        return merged_regions(self._voices(role, column), rule)

    def column(
        self,
        panel: DataPanel,
        role: str = "irrelevant",
        *,
        column: str = "image",
        rule: str = "latest",
        size: tuple[int, int] | None = None,
    ) -> Column:
        """Return what was said as a column beside the rows of a panel; null where nothing was.

        It stays as it is, whatever is said later.

        Parameters
        ----------
        panel : DataPanel
            Its rows are found by key.
        role, column, rule
            See `regions`.
        size : (height, width), optional
            Lay masks on pictures of this size: a pixel is marked if any part of it is. For pictures of many sizes that
            a model is given at one.

        Returns
        -------
        Column
            Of pictures and vectors: a lazy `TensorColumn` of bool, of shape (height, width) or (features,), written out
            as it is read. Of texts: a column of lists of spans ``[start, end]``; see `token_mask`.

        Raises
        ------
        FeedbackError
            If masks are of several sizes, or not of that of the rows.
        """
        from .columns import region_column

        now = self.at(self.version)
        content = "\x1f".join([self.identity, str(now.version), role, column, rule])
        return region_column(panel, now.regions(role, column=column, rule=rule), column, size, content)

    def labels(self, panel: DataPanel, *, label: str = "label", rule: str = "latest") -> Column:
        """Return the labels of a panel with corrections applied, as lazy as they are.

        Parameters
        ----------
        panel : DataPanel
            Its rows are found by key.
        label : str
            Column of the labels: a category, or names.
        rule : {"latest", "majority"}
            The last correction, or what more than half of those who spoke of the row say.

        Raises
        ------
        FeedbackError
            If a correction is not among the classes.
        """
        from .columns import corrected

        return corrected(panel, label, merged_labels(self._voices("label", label), rule))

    def agreement(self, what: str = "irrelevant", *, column: str | None = None) -> Agreement:
        """Return how far authors agree on the rows of which several spoke.

        Parameters
        ----------
        what : {"irrelevant", "relevant", "label"}
            Regions, or corrected labels.
        column : str, optional
            ``"image"`` of regions and ``"label"`` of labels if left out.

        Raises
        ------
        FeedbackError
            If regions of a row are of different sizes.
        """
        return agreement_on(self._voices(what, column or ("label" if what == "label" else "image")), what)

    def _voices(self, what: str, column: str) -> dict[str, list[Record]]:
        """Return by key the last that each author said of a role, or of labels."""
        if what == "label":
            return last_words(self.records(kind="label", column=column))
        if what not in ROLES:
            raise FeedbackError(f"`role` must be one of {list(ROLES)}; got {what!r}.")
        said = self.records(kind="rationale", column=column)
        return last_words(record for record in said if record.body["role"] == what)

    # Rows of the file

    def _standing(self, what: str, rest: str, *values: str) -> list[tuple[Any, ...]]:
        """Ask for something of what stands, undos apart."""
        with self._store.reading() as connection:
            last = self._last(connection)
            gone = json.dumps(sorted(undone(self._undos(connection, last))))
            # Both parts are constants of this file.
            query = f"SELECT {what} FROM records WHERE id <= ? AND kind != 'undo'"
            return connection.execute(
                f"{query} AND id NOT IN (SELECT value FROM json_each(?)){rest}", (last, gone, *values)
            ).fetchall()

    def _last(self, connection: sqlite3.Connection) -> int:
        if self._until is not None:
            return self._until
        (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM records").fetchone()
        return int(last)

    def _undos(self, connection: sqlite3.Connection, until: int | None) -> Sequence[Undo]:
        """Return the undos up to a record, or all, in order."""
        last = self._last(connection) if until is None else until
        seen, undos = self._seen
        if seen < last:
            rows = connection.execute(
                "SELECT id, body FROM records WHERE kind = 'undo' AND id > ? AND id <= ? ORDER BY id", (seen, last)
            ).fetchall()
            undos = (*undos, *((number, self._undone_by(number, body)) for number, body in rows))
            if not connection.in_transaction:  # what is under way may yet be given up
                self._seen = (last, undos)
        return [undo for undo in undos if undo[0] <= last]

    def _undone_by(self, number: int, body: str) -> tuple[int, ...]:
        try:
            return tuple(int(i) for i in json.loads(body)["of"])
        except (ValueError, KeyError, TypeError) as error:
            raise FeedbackError(f"Record {number} of '{self.path}', an undo, cannot be read: {error!r}.") from error

    def _record(self, row: Sequence[Any], known: _Known) -> Record:
        number, uid, kind, key, column, author, time, model, how, source, body, shown = row
        try:
            # A stroke that was propagated to many rows is read once; so is what was shown with it, and whose it is.
            about = (kind, column, author, time, model, how, body, shown)
            if about not in known:
                said = None if shown is None else json.loads(shown)
                record = Record(kind, key, json.loads(body), column, author, time, model, said, how, source)
                known[about] = checked(record, region=_region_in(record.body) if kind == "rationale" else None)
            return copied(known[about], key, source, number, uid)
        except (ValueError, RecursionError) as error:  # FeedbackError is a ValueError
            raise FeedbackError(f"Record {number} of '{self.path}' cannot be read: {error}") from error


def _region_in(said: Any) -> Region:
    if not isinstance(said, dict) or set(said) != {"role", "region"} or said["role"] not in ROLES:
        raise FeedbackError(f"A rationale must have a role, one of {list(ROLES)}, and a region; got {cut(said)}.")
    return Region.from_dict(said["region"])


def undone(undos: Iterable[Undo]) -> set[int]:
    """Return the ids of what does not stand: undos count from the last, since one may take back another.

    Examples
    --------
    >>> sorted(undone([(3, (1, 2))])), sorted(undone([(3, (1, 2)), (4, (3,))]))
    ([1, 2], [3])
    """
    gone: set[int] = set()
    for number, of in reversed(list(undos)):
        if number not in gone:
            gone.update(of)
    return gone

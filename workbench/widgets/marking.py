"""What a person says through the view: marks, corrections, verdicts and notes, written to the log row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from columns import ImageColumn, TextColumn

from ..errors import FeedbackError, PanelError
from ..feedback import ImageRegion, Record, Region, TextRegion
from ..feedback.merging import last_words, merged_regions

if TYPE_CHECKING:
    from ..feedback import Feedback
    from ..panel import DataPanel

__all__ = ["NOTHING", "PAINTED", "PROPAGATED", "Marking"]

NOTHING, PAINTED, PROPAGATED = 0, 1, 2
_ROLES = ("irrelevant", "relevant")


class Marking:
    """The log as one view writes to it and reads from it.

    Parameters
    ----------
    feedback : Feedback
        The log. What a method returns is on the disk.
    panel : DataPanel
        Whose rows are spoken of, by their number in it.
    column : str
        Which column the marks are of: pictures or texts.
    label : str
        Column of the labels, which are corrected.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from workbench import DataPanel, Feedback
    >>> panel = DataPanel({"image": ImageColumn(np.zeros((2, 4, 4), np.uint8))}, origin="toy")
    >>> marking = Marking(Feedback(tempfile.mkdtemp() + "/log.db", author="ada"), panel, "image")
    >>> box = {"kind": "image", "height": 4, "width": 4, "counts": [0, 2, 14]}
    >>> marking.mark(1, {"irrelevant": box})["ids"]
    [1]
    >>> marking.states([0, 1]), marking.undo()["row"], marking.states([0, 1])
    ([0, 1], 1, [0, 0])
    """

    def __init__(self, feedback: Feedback, panel: DataPanel, column: str, label: str = "label") -> None:
        self.feedback, self.panel, self.column, self.label = feedback, panel, column, label
        self._states: tuple[int, dict[str, int]] = (0, {})
        self._rows: dict[str, int] | None = None

    # Writing

    def mark(self, row: int, regions: Mapping[str, dict[str, Any] | None], **about: Any) -> dict[str, Any]:
        """Write which part of a row must not matter, which should, or both; replaces what this author said before.

        Parameters
        ----------
        row : int
        regions : mapping of role to region as JSON has it, or None
            None leaves what was said of that role as it is.
        **about
            ``model``, ``shown``: see `Feedback.mark`.

        Returns
        -------
        dict
            ``saved``, when it was on the disk, and the ``ids`` of the records.

        Raises
        ------
        FeedbackError
            If a region is not of the size of the row, or both overlap.
        """
        key, whole = self.key(row), None
        said: dict[str, Region] = {}
        for role, region in regions.items():
            if region is not None:
                whole = whole or self._whole(row)
                said[role] = self._fitting(region, whole)
        irrelevant, relevant = said.get("irrelevant"), said.get("relevant")
        records = self.feedback.mark(key, irrelevant=irrelevant, relevant=relevant, column=self.column, **about)
        return self._saved(records, {key: PAINTED})

    def undo(self) -> dict[str, Any]:
        """Take back what this author wrote last and still stands: all of it that was written at once."""
        return self._taken_back(self.feedback.undo(), "Taken back")

    def redo(self) -> dict[str, Any]:
        """Take back this author's last undo."""
        return self._taken_back(self.feedback.redo(), "Done again")

    def say(self, kind: str, rows: Sequence[int], words: str, **about: Any) -> dict[str, Any]:
        """Write a corrected label, a verdict, a note or a tag; of several rows at once, all of them or none.

        Parameters
        ----------
        kind : {"label", "verdict", "note", "tag"}
        rows : sequence of int
        words : str
        **about
            ``model``, ``shown``: see `Record`.
        """
        field = {"label": "label", "verdict": "verdict", "note": "text", "tag": "tag"}[kind]
        column = {"label": self.label, "verdict": self.column}.get(kind)
        records = [Record(kind, self.key(row), {field: words}, column, **about) for row in rows]
        return self._saved(self.feedback.write(records), {})

    # Reading

    def states(self, rows: Sequence[int]) -> list[int]:
        """Return for each row whether nothing stands, something painted, or only something propagated."""
        states = self._known()
        return [states.get(key, NOTHING) for key in self._keys(rows)]

    def told(self, row: int) -> dict[str, Any]:
        """Return what stands of a row, and everything that was ever said of it.

        Returns
        -------
        dict
            ``regions`` by role, as JSON has them, or None; ``standing``, who marked what; ``history``, each record with
            its words.
        """
        key = self.key(row)
        ever = self.feedback.records(key=key, standing=False)
        standing = {record.id for record in self.feedback.records(key=key)}
        here = [r for r in ever if r.id in standing and r.kind == "rationale" and r.column == self.column]
        regions: dict[str, Any] = {}
        last: list[dict[str, Any]] = []
        for role in _ROLES:
            voices = last_words(record for record in here if record.body["role"] == role)
            merged = merged_regions(voices, "latest").get(key)
            regions[role] = None if merged is None else _as_json(merged)
            last += [{"author": r.author, "role": role, "how": r.how} for r in voices.get(key, ())]
        history = [
            {
                "id": record.id, "kind": record.kind, "words": _words(record), "author": record.author,
                "time": record.time, "how": record.how, "undone": record.id not in standing,
            }
            for record in ever if record.kind != "undo"
        ]  # fmt: skip
        return {"regions": regions, "standing": last, "history": history[-100:]}

    def key(self, row: int) -> str:
        """Return the key of a row."""
        (key,) = self._keys([row])
        return key

    def row_of(self, key: str) -> int | None:
        """Return the number of the row with a key, if it is in the panel."""
        return self._row_of().get(key)

    # Beneath

    def _keys(self, rows: Sequence[int]) -> list[str]:
        keys: list[str] = self.panel.key[list(rows)].to_list() if rows else []
        return keys

    def _row_of(self) -> dict[str, int]:
        if self._rows is None:
            self._rows = {key: row for row, key in enumerate(self.panel.key.to_list())}
        return self._rows

    def _whole(self, row: int) -> Region:
        """Return a region that is all of a row: regions must be parts of it."""
        column = self.panel[self.column]
        value = column[row]
        if value is None:
            raise FeedbackError(f"Row {row} has nothing in '{self.column}' that could be marked: it is null.")
        if isinstance(column, ImageColumn):
            return ImageRegion(value.height, value.width, (0, value.height * value.width))
        if isinstance(column, TextColumn) or isinstance(value, str):
            return TextRegion(((0, len(value)),), len(value))
        raise PanelError(f"Pictures and texts are marked here; column '{self.column}' is {column.kind}.")

    def _fitting(self, region: dict[str, Any], whole: Region) -> Region:
        if isinstance(whole, TextRegion) and region.get("kind") == "text":
            region = {**region, "length": whole.length}
        found = Region.from_dict(region)
        if not found.same_extent(whole):
            raise FeedbackError(f"A mark must be of the size of its row, {whole.extent}; got {found.extent}.")
        return found

    def _known(self) -> dict[str, int]:
        version = self.feedback.version
        if self._states[0] != version:
            found: dict[str, int] = {}
            for record in self.feedback.records(kind="rationale", column=self.column):
                if not record.propagated:
                    found[record.key] = PAINTED
                elif found.get(record.key) != PAINTED:
                    found[record.key] = PROPAGATED
            self._states = version, found
        return self._states[1]

    def _saved(self, records: Sequence[Record], states: Mapping[str, int]) -> dict[str, Any]:
        ids = [record.id for record in records if record.id is not None]
        version, known = self._states
        # Nobody else wrote meanwhile: what is known need not be read again, which of 60,000 marks takes a while.
        if ids and version == ids[0] - 1:
            self._states = ids[-1], {**known, **states} if states else known
        return {"saved": _now(), "ids": ids[:600]}

    def _taken_back(self, undo: Record, done: str) -> dict[str, Any]:
        row = self.row_of(undo.key) if undo.key else None
        count = len(undo.of)
        words = f"{done}: {'one record' if count == 1 else f'{count:,} records'}."
        return {"saved": _now(), "row": row, "words": words}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _as_json(region: Region) -> dict[str, Any]:
    said = region.to_dict()
    return {name: said[name] for name in ("height", "width", "counts", "spans") if name in said}


def _words(record: Record) -> str:
    """Say a record in a few words."""
    body = record.body
    if record.kind == "rationale":
        region = record.region
        size = f"{region.size:,} of {region.extent}" if not region.empty else "nothing"
        return f"{body['role']}: {size}"
    if record.kind == "label":
        return f"label is {body['label']}"
    return str(next(iter(body.values())))[:300]

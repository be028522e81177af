"""A look at what a propagation would write, and the writing: of what still holds then."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from columns import Column, ObjectColumn, ScalarColumn

from .errors import FeedbackError
from .feedback import ImageRegion, Record, Region
from .feedback.columns import region_column
from .feedback.merging import last_words, merged_regions
from .reaching import Reach

if TYPE_CHECKING:
    from .feedback import Feedback
    from .panel import DataPanel

__all__ = ["Preview", "allowed", "outdated_in", "painted"]


@dataclass(frozen=True, eq=False)
class Preview:
    """What a propagation would write. Nothing is, before `write` is called.

    Attributes
    ----------
    feedback : Feedback
        The log.
    all_rows : DataPanel
        The rows that could be reached.
    to : str
        How rows are reached.
    role, column : str
        Of which the strokes are.
    rule : str
        How strokes of several people on one row were merged.
    strokes : tuple of Record
        The painted records, each the last of its row.
    reached : Reach
        What each row gets; rows that were painted themselves, and rows that have just that already, get nothing.
    left : int
        Rows that are reached and get nothing, because somebody painted them and marked nothing there. The strokes' own
        rows do not count.
    replaced : int
        Rows that get a region and have another one, from an earlier propagation, which it replaces.
    outdated : tuple of int
        Ids of what was propagated to these rows from strokes that were taken back or painted anew since; writing takes
        it back.
    settings : mapping
        Of the way in which rows are reached, as far as JSON can hold it.
    """

    feedback: Feedback
    all_rows: DataPanel
    to: str
    role: str
    column: str
    rule: str
    strokes: tuple[Record, ...]
    reached: Reach
    left: int
    replaced: int
    outdated: tuple[int, ...]
    settings: Mapping[str, Any]
    _regions: tuple[Region, ...] = field(repr=False)  # what each stroke was, before its extent was settled
    _version: int = field(repr=False)
    _written: list[int] = field(default_factory=list, repr=False)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Row numbers, in `all_rows`, that get a region."""
        return np.flatnonzero(self.reached.place >= 0)

    @property
    def count(self) -> int:
        """How many rows get a region."""
        return len(self.rows)

    def __len__(self) -> int:
        return self.count

    @property
    def keys(self) -> tuple[str, ...]:
        """Their keys, in the order of the panel."""
        return tuple(self.all_rows[self.rows].key.to_list())

    @property
    def sources(self) -> dict[int, int]:
        """By id of each painted record, of how many rows it is the source.

        A row that several strokes reach has one source, the stroke that it is nearest to: most like, or next to in the
        embedding. In a cluster, and among all rows, none is nearer; there it is the one that was painted first.
        """
        counts = np.bincount(self.reached.stroke[self.rows], minlength=len(self.strokes))
        return {_id(record): int(count) for record, count in zip(self.strokes, counts, strict=True)}

    @property
    def panel(self) -> DataPanel:
        """The rows, to look at: with ``propagated``, what they get, as masks (or spans), and ``propagated_from``."""
        rows = self.rows
        some: DataPanel = self.all_rows[rows]
        keys = some.key.to_list()
        said = {key: self.reached.regions[self.reached.place[row]] for key, row in zip(keys, rows, strict=True)}
        sources = [self.strokes[stroke].key for stroke in self.reached.stroke[rows].tolist()]
        return some.assign(
            propagated=self._column(some, said),
            propagated_from=ScalarColumn(sources, dtype="string"),
        )

    def _column(self, some: DataPanel, said: Mapping[str, Region]) -> Column:
        masks = [region.mask() for region in said.values() if isinstance(region, ImageRegion)]
        if len({mask.shape for mask in masks}) > 1:  # of pictures of several sizes
            return ObjectColumn(masks)
        return region_column(some, said, self.column, None, content=f"propagated {self.reached.regions}")

    def write(self, *, author: str | None = None) -> tuple[Record, ...]:
        """Write what the preview shows, all of it or none; one `undo` takes it back.

        Rows that somebody painted after the preview was made are left alone, and what was said there since to be the
        contrary is not overruled. Nobody else writes between this look and the writing.

        Parameters
        ----------
        author : str, optional
            Who says so, if not the author of the log.

        Returns
        -------
        tuple of Record
            One for each row, each with the id of the painted record that it comes from.

        Raises
        ------
        FeedbackError
            If one of the strokes was taken back or painted anew since, or this preview was written already.
        """
        with self.feedback.transaction() as log:
            if self._written:
                raise FeedbackError(
                    f"A preview is written once; this one was, as records {self._written[0]} to {self._written[-1]}. "
                    "Make a new preview."
                )
            reached, outdated = self.reached, list(self.outdated)
            if log.version != self._version:
                said = log.records(kind="rationale", column=self.column)
                self._check_strokes(said)
                reached = allowed(reached, said, self.all_rows.key.to_list(), self.role, self.rule)
                outdated = sorted(set(outdated) & set(outdated_in(said, self.role)))
            undo = [Record("undo", "", {"of": outdated}, author=author or "")] if outdated else []
            written = log.write([*undo, *self._records(reached, author or "")])[len(undo) :]
        self._written.extend(_id(record) for record in (*written[:1], *written[-1:]))
        return written

    def _records(self, reached: Reach, author: str) -> Iterator[Record]:
        shown = {"propagated": self.to, **self.settings}
        bodies: dict[int, dict[str, Any]] = {}  # one for all rows that get a region, which so is put into JSON once
        keys = self.all_rows.key.to_list()
        for row in np.flatnonzero(reached.place >= 0).tolist():
            number, stroke = int(reached.place[row]), self.strokes[reached.stroke[row]]
            if number not in bodies:
                bodies[number] = {"role": self.role, "region": reached.regions[number].to_dict()}
            yield Record(
                "rationale", keys[row], bodies[number], self.column, author, model=stroke.model, shown=shown,
                how="propagated", source=stroke.id,
            )  # fmt: skip

    def _check_strokes(self, said: Sequence[Record]) -> None:
        """Raise unless the strokes are what they were: each of them, and what they come to on each row."""
        voices = painted(said, self.role)
        standing = {record.id for records in voices.values() for record in records}
        mine = {record.key: voices[record.key] for record in self.strokes if record.key in voices}
        now = merged_regions(mine, self.rule)
        gone = [
            record.id
            for record, region in zip(self.strokes, self._regions, strict=True)
            if record.id not in standing or now.get(record.key) != region
        ]
        if gone:
            raise FeedbackError(
                f"What is written must still be what was painted; since this preview was made, records {gone} "
                "were taken back or painted anew. Make a new preview."
            )

    def __repr__(self) -> str:
        per = ", ".join(f"{count:,}" for count in self.sources.values())
        told = ""
        if self.left:
            told += f"; {self.left:,} on which somebody marked nothing are left alone"
        if self.replaced:
            told += f"; {self.replaced:,} have another region from an earlier propagation, which this one replaces"
        if self.outdated:
            told += f"; {len(self.outdated):,} records propagated from strokes that no longer stand are taken back"
        return (
            f"Preview({self.count:,} of {len(self.all_rows):,} rows get a region from {len(self.strokes)} strokes, by "
            f"{self.to}: {per}{told}. Nothing is written before .write())"
        )

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>{self.panel._repr_html_()}"


def painted(said: Iterable[Record], role: str) -> dict[str, list[Record]]:
    """Return by key the last that each person painted, in order; what was propagated is left out."""
    return last_words(record for record in said if not record.propagated and record.body["role"] == role)


def outdated_in(said: Sequence[Record], role: str) -> dict[int, Record]:
    """Return by id what was propagated from strokes that were taken back, or painted anew by the same person."""
    standing = {record.id for records in painted(said, role).values() for record in records}
    standing |= {record.id for record in said if record.propagated}
    return {
        _id(record): record
        for record in said
        if record.body["role"] == role and record.source is not None and record.source not in standing
    }


def allowed(reached: Reach, said: Sequence[Record], keys: Sequence[str], role: str, rule: str) -> Reach:
    """Take away what rows get that were painted, and of the others what was said there to be the contrary."""
    row_of = {key: row for row, key in reversed(list(enumerate(keys)))}
    place, regions = reached.place.copy(), list(reached.regions)
    place[[row_of[key] for key in painted(said, role) if key in row_of]] = -1
    contrary = painted(said, "relevant" if role == "irrelevant" else "irrelevant")
    against = merged_regions({key: records for key, records in contrary.items() if key in row_of}, rule)
    for key, region in against.items():
        number = int(place[row_of[key]])
        if number >= 0:
            less = regions[number] - region
            place[row_of[key]] = -1 if less.empty else len(regions)
            regions.append(less)
    return Reach(tuple(regions), place, reached.stroke, reached.nearness)


def _id(record: Record) -> int:
    assert record.id is not None
    return record.id

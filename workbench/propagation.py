"""One stroke, many rows: what was painted on a few rows is said of others like them, after a look at what that does."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from columns import ScalarColumn

from .errors import FeedbackError
from .feedback import ImageRegion, Record, Region, TextRegion
from .feedback.columns import region_column
from .feedback.merging import last_words, merged_regions
from .likeness import Pictures
from .reaching import Reached, by_cluster, by_neighbours, everywhere, gathered
from .wording import by_words

if TYPE_CHECKING:
    from .feedback import Feedback
    from .panel import DataPanel

__all__ = ["Preview", "propagate"]

# What each way of reaching rows may be told, and what holds if it is not.
_SETTINGS: dict[str, dict[str, Any]] = {
    "template": {"likeness": 0.8, "context": 1, "settle": True, "rest": "nothing"},
    "cluster": {"by": "cluster"},
    "neighbours": {"by": "embedding", "k": None, "within": None, "metric": "cosine"},
    "all": {},
}


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
    reached : Reached
        What each row gets; rows that were painted themselves, and rows that have just that already, get nothing.
    left : int
        Rows that are reached and left alone, because they were painted.
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
    reached: Reached
    left: int
    settings: Mapping[str, Any]
    _version: int = field(repr=False)

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
        """By id of each painted record, of how many rows it is the source: those that it is nearest to."""
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
            propagated=region_column(some, said, self.column, None, content=f"propagated {self.reached.regions}"),
            propagated_from=ScalarColumn(sources, dtype="string"),
        )

    def write(self, *, author: str | None = None) -> tuple[Record, ...]:
        """Write what the preview shows, all of it or none; one `undo` takes it back.

        Rows that somebody painted after the preview was made are left alone.

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
            If one of the strokes was taken back or painted anew since.
        """
        painted: set[str] = set()
        if self.feedback.version != self._version:
            now = _painted(self.feedback, self.role, self.column)
            standing = {record.id for records in now.values() for record in records}
            gone = [record.id for record in self.strokes if record.id not in standing]
            if gone:
                raise FeedbackError(
                    f"What is written must still be what was painted; since this preview was made, records {gone} "
                    "were taken back or painted anew. Make a new preview."
                )
            painted = set(now)
        bodies = [{"role": self.role, "region": region.to_dict()} for region in self.reached.regions]
        shown = {"propagated": self.to, **self.settings}
        place, stroke = self.reached.place, self.reached.stroke
        records = [
            Record(
                "rationale", key, bodies[place[row]], self.column, author or "", model=self.strokes[stroke[row]].model,
                shown=shown, how="propagated", source=self.strokes[stroke[row]].id,
            )
            for key, row in zip(self.keys, self.rows.tolist(), strict=True)
            if key not in painted
        ]  # fmt: skip
        return self.feedback.write(records)

    def __repr__(self) -> str:
        per = ", ".join(f"{count:,}" for count in self.sources.values())
        alone = f"; {self.left:,} painted ones are left alone" if self.left else ""
        return (
            f"Preview({self.count:,} of {len(self.all_rows):,} rows get a region from {len(self.strokes)} strokes, by "
            f"{self.to}: {per}{alone}. Nothing is written before .write())"
        )

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>{self.panel._repr_html_()}"


def propagate(
    feedback: Feedback,
    panel: DataPanel,
    to: str = "template",
    *,
    role: str = "irrelevant",
    column: str = "image",
    rule: str = "latest",
    **settings: Any,
) -> Preview:
    """Say of many rows what was painted on a few; first as a preview.

    Each row that is reached gets the union of the regions of all strokes that reach it. Rows that somebody painted
    are left alone, and what is said there to be relevant is not made irrelevant.

    Parameters
    ----------
    feedback : Feedback
        The log with the strokes; what was itself propagated is no stroke.
    panel : DataPanel
        The rows to reach, the painted ones among them.
    to : {"template", "cluster", "neighbours", "all"}
        Which rows a stroke reaches.

        - ``"template"``: pictures that show in its place what its own picture shows, up to brightness and contrast;
          texts that have its words, wherever they stand. Settings, of pictures only: ``likeness=0.8``, the least
          correlation; ``context=1``, pixels around the stroke that are looked at too; ``settle=True``, that the extent
          of a stroke is settled on what the matching pictures have in common there, as a hand is not exact;
          ``rest="all"``, that a picture which matches no stroke (something may lie over the mark) gets all of them.
        - ``"cluster"``: rows of its cluster. Setting: ``by``, an `ExplanationClusters`, or the column of a number or
          name for each row ("cluster").
        - ``"neighbours"``: rows next to it in an embedding. Settings: ``by``, the column ("embedding"); ``k``, how
          many (10 if nothing is said); ``within``, how far at most: 1 − cosine, or Euclidean; ``metric``.
        - ``"all"``: every row, at the same place: features of a vector, or pictures that were all taken alike.
    role : {"irrelevant", "relevant"}
        Which strokes.
    column : str
        That they are painted on.
    rule : {"latest", "union", "intersection", "majority"}
        How strokes of several people on one row are merged.
    **settings
        Of the way `to` reach rows.

    Returns
    -------
    Preview
        Look at its ``count``, ``sources`` and ``panel``; then call its ``write``.

    Raises
    ------
    FeedbackError
        If nothing was painted in these rows, or a setting does not exist or is out of range.
    PanelError
        If `by` does not tell each row's cluster or embedding.

    Examples
    --------
    >>> import tempfile
    >>> from workbench import DataPanel, ImageColumn
    >>> from workbench.feedback import Feedback
    >>> pictures = np.zeros((4, 8, 8), np.uint8)
    >>> pictures[[0, 1, 3], :2, :2] = np.uint8([200, 90, 30])[:, None, None]  # a mark; its grey differs
    >>> panel = DataPanel({"image": ImageColumn(pictures)}, origin="scans")
    >>> log = Feedback(tempfile.mkdtemp() + "/feedback.db", author="ada")
    >>> painted = log.mark("scans/0", irrelevant=ImageRegion.box(0, 0, 2, 2, size=(8, 8)))
    >>> preview = propagate(log, panel)
    >>> preview.count, preview.keys, preview.sources
    (2, ('scans/1', 'scans/3'), {1: 2})
    >>> [record.source for record in preview.write()]
    [1, 1]
    """
    chosen = _chosen(to, settings)
    log = feedback.at(feedback.version)  # whatever others write meanwhile
    voices = _painted(log, role, column)
    keys = panel.key.to_list()
    row_of = {key: row for row, key in enumerate(keys)}
    here = {key: records for key, records in voices.items() if key in row_of}
    merged = {key: region for key, region in merged_regions(here, rule).items() if not region.empty}
    if not merged:
        raise FeedbackError(
            f"Propagation needs at least one row of the panel that was painted; of column '{column}', {len(voices)} "
            f"rows were painted {role}, {len(here)} of them in this panel, and nothing is marked there."
        )
    strokes = tuple(here[key][-1] for key in merged)
    regions, rows = list(merged.values()), np.array([row_of[key] for key in merged], np.int64)
    reached = _reached(panel, column, to, rows, regions, chosen)
    painted = np.array([row_of[key] for key in here], np.int64)
    left = int((reached.place[painted] >= 0).sum())
    reached.place[painted] = -1
    other = _painted(log, "relevant" if role == "irrelevant" else "irrelevant", column)
    against = merged_regions({key: records for key, records in other.items() if key in row_of}, rule)
    reached = _without(reached, {row_of[key]: region for key, region in against.items()})
    said = log.regions(role, column=column, rule=rule)
    for row in np.flatnonzero(reached.place >= 0).tolist():
        if said.get(keys[row]) == reached.regions[reached.place[row]]:
            reached.place[row] = -1
    told = {name: value for name, value in chosen.items() if value is None or isinstance(value, (str, int, float))}
    return Preview(feedback, panel, to, role, column, rule, strokes, reached, left, told, log.version)


def _painted(feedback: Feedback, role: str, column: str) -> dict[str, list[Record]]:
    """Return by key the last that each person painted, in order; what was propagated is left out."""
    records = feedback.records(kind="rationale", column=column)
    return last_words(r for r in records if r.how != "propagated" and r.body["role"] == role)


def _chosen(to: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a way of reaching rows, those left out filled in."""
    if to not in _SETTINGS:
        raise FeedbackError(f"`to` must be one of {list(_SETTINGS)}; got {to!r}.")
    known = _SETTINGS[to]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise FeedbackError(f"to='{to}' has the settings {list(known)}; got {unknown}.")
    chosen = {**known, **settings}
    if to == "neighbours" and chosen["k"] is None and chosen["within"] is None:
        chosen["k"] = 10
    if to == "template" and chosen["rest"] not in ("nothing", "all"):
        raise FeedbackError(f"`rest` must be 'nothing' or 'all'; got {chosen['rest']!r}.")
    return chosen


def _reached(
    panel: DataPanel,
    column: str,
    to: str,
    rows: NDArray[np.int64],
    regions: Sequence[Region],
    chosen: dict[str, Any],
) -> Reached:
    """Return which rows strokes reach, and what each gets."""
    texts = [region for region in regions if isinstance(region, TextRegion)]
    if texts:
        if to != "template" or len(texts) < len(regions):
            raise FeedbackError(
                f"Spans of one text mean nothing in another, so that texts are reached by their words; got to='{to}'. "
                "Go by to='template'."
            )
        return by_words(panel[column], rows, texts)
    if to == "cluster":
        parts = by_cluster(panel, rows, chosen["by"])
    elif to == "neighbours":
        parts = by_neighbours(panel, rows, chosen["by"], chosen["k"], chosen["within"], chosen["metric"])
    elif to == "all":
        parts = everywhere(len(rows), len(panel))
    else:
        pictures = [region for region in regions if isinstance(region, ImageRegion)]
        if len(pictures) < len(regions):
            raise FeedbackError(
                "A feature means the same in every row, so that there is nothing to be recognised by. Go by to='all'."
            )
        on = Pictures(panel[column], rows, chosen["context"], chosen["likeness"])
        settled = on.settled(pictures) if chosen["settle"] else pictures
        parts, regions = on.parts(settled, chosen["rest"]), settled
    return gathered(parts, regions, len(panel))


def _without(reached: Reached, against: Mapping[int, Region]) -> Reached:
    """Take from what rows get what was said there to be the contrary."""
    regions = list(reached.regions)
    for row, region in against.items():
        number = int(reached.place[row])
        if number >= 0:
            less = regions[number] - region
            reached.place[row] = -1 if less.empty else len(regions)
            regions.append(less)
    return Reached(tuple(regions), reached.place, reached.stroke, reached.nearness)


def _id(record: Record) -> int:
    assert record.id is not None
    return record.id

"""One stroke, many rows: what was painted on a few rows is said of others like them, after a look at what that does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import FeedbackError
from .feedback import ImageRegion, Region, TextRegion
from .feedback.merging import last_words, merged_regions
from .likeness import Pictures
from .preview import Preview, allowed, outdated_in, painted
from .reaching import Reach, by_cluster, by_neighbours, everywhere, reach_of
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
    said = log.records(kind="rationale", column=column)
    voices = painted(said, role)
    keys = panel.key.to_list()
    row_of = {key: row for row, key in reversed(list(enumerate(keys)))}
    here = {key: records for key, records in voices.items() if key in row_of}
    merged = {key: region for key, region in merged_regions(here, rule).items() if not region.empty}
    old = [number for number, record in outdated_in(said, role).items() if record.key in row_of]
    if not merged:
        alone = (
            f" {len(old):,} rows still have what was propagated to them: feedback.undo takes it back." if old else ""
        )
        raise FeedbackError(
            f"Propagation needs at least one row of the panel that was painted; of column '{column}', {len(voices)} "
            f"rows were painted {role}, {len(here)} of them in this panel, and nothing is marked there.{alone}"
        )
    strokes = tuple(here[key][-1] for key in merged)
    regions, rows = list(merged.values()), np.array([row_of[key] for key in merged], np.int64)
    reached = _reached(panel, column, to, rows, regions, chosen)
    nothing = [row_of[key] for key in here if key not in merged]
    left = int((reached.place[nothing] >= 0).sum())
    # A row that is in the panel several times is told once.
    reached.place[[row for row, key in enumerate(keys) if row_of[key] != row]] = -1
    reached = allowed(reached, said, keys, role, rule)
    standing = last_words(r for r in said if r.body["role"] == role and r.id not in old and r.key in row_of)
    replaced = 0
    for key, region in merged_regions(standing, rule).items():
        number = reached.place[row_of[key]]
        if number >= 0 and reached.regions[number] == region:
            reached.place[row_of[key]] = -1
        elif number >= 0:
            replaced += 1
    told = {name: value for name, value in chosen.items() if value is None or isinstance(value, (str, int, float))}
    return Preview(
        feedback, panel, to, role, column, rule, strokes, reached, left, replaced, tuple(old), told, tuple(regions),
        log.version,
    )  # fmt: skip


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
) -> Reach:
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
    return reach_of(parts, regions, len(panel))

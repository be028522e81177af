"""Merging: what several authors said about a row comes to one region, or one label, by a named rule."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..errors import FeedbackError
from .records import Record
from .region import Region, combined

__all__ = [
    "LABEL_RULES",
    "RULES",
    "Agreement",
    "Voices",
    "agreement_on",
    "label_rule",
    "last_words",
    "merged_labels",
    "merged_regions",
]

RULES = ("latest", "union", "intersection", "majority")
LABEL_RULES = ("latest", "majority")

Voices = Mapping[str, Sequence[Record]]
T = TypeVar("T")


@dataclass(frozen=True)
class Agreement:
    """How far authors agree on the rows of which several spoke.

    Attributes
    ----------
    rows : mapping of str to float
        By key, in [0, 1]: of regions the mean overlap of two authors' regions (intersection over union; 1 where both
        are empty), of labels the share of pairs of authors who say the same.
    overall : float
        Mean over these rows; NaN if there are none.
    kappa : float or None
        Of labels: Cohen's kappa, agreement beyond what chance would give, as a mean over pairs of authors weighted by
        their common rows [1]_. NaN where chance alone would agree always. None of regions.
    authors : tuple of str
        Who spoke of these rows.

    References
    ----------
    .. [1] R. J. Light, "Measures of Response Agreement for Qualitative Data", Psychological Bulletin 76, 1971.
    """

    rows: Mapping[str, float]
    overall: float
    kappa: float | None
    authors: tuple[str, ...]


def last_words(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Return by key the last record of each author, in the order of their ids: a later one replaces an earlier one.

    What was propagated replaces nothing that was said of the row itself, and comes before it: it is never the latest.

    Parameters
    ----------
    records : iterable of Record
        That stand, of one kind, role and column, in order.

    Examples
    --------
    >>> said = [("x", "ada", 1), ("x", "bob", 2), ("x", "ada", 3), ("y", "bob", 4)]
    >>> records = [Record("tag", key, {"tag": "odd"}, author=who, id=number) for key, who, number in said]
    >>> {key: [record.id for record in last] for key, last in last_words(records).items()}
    {'x': [2, 3], 'y': [4]}
    """
    found: dict[str, dict[str, Record]] = {}
    for record in records:
        by_author = found.setdefault(record.key, {})
        before = by_author.get(record.author)
        if before is None or before.propagated or not record.propagated:
            by_author.pop(record.author, None)
            by_author[record.author] = record
    return {
        key: sorted(by_author.values(), key=lambda record: not record.propagated) for key, by_author in found.items()
    }


def merged_regions(voices: Voices, rule: str) -> dict[str, Region]:
    """Return one region for each row.

    Parameters
    ----------
    voices : mapping of str to sequence of Record
        By key, the last rationale of each author, in order.
    rule : {"latest", "union", "intersection", "majority"}
        The last region that anybody marked; what anybody marked; what all who spoke of the row marked; what more
        than half of them did.

    Raises
    ------
    FeedbackError
        If there is no such rule, or regions of a row are of different sizes.
    """
    _check_rule(rule, RULES)
    return {key: _merged(key, records, rule) for key, records in voices.items()}


def _merged(key: str, records: Sequence[Record], rule: str) -> Region:
    if rule == "latest" or len(records) == 1:
        return records[-1].region
    regions = _same_size(key, records)
    return combined(regions, {"union": 1, "intersection": len(regions)}.get(rule, len(regions) // 2 + 1))


def _same_size(key: str, records: Sequence[Record]) -> list[Region]:
    """Return the regions of a row, which must be parts of a whole of one size."""
    regions = [record.region for record in records]
    for record, region in zip(records, regions, strict=True):
        if not regions[0].same_extent(region):
            raise FeedbackError(
                f"Regions of '{key}' cannot be merged, since they are of different sizes: {regions[0].extent} "
                f"(record {records[0].id}, '{records[0].author}') and {region.extent} (record {record.id}, "
                f"'{record.author}'). Undo one of them, or take the rule 'latest'."
            )
    return regions


def label_rule(rule: str) -> str:
    """Return the rule for labels that goes with a rule for regions: two labels have no union and no intersection.

    Raises
    ------
    FeedbackError
        If there is no such rule.

    Examples
    --------
    >>> label_rule("majority"), label_rule("union")
    ('majority', 'latest')
    """
    _check_rule(rule, RULES)
    return rule if rule in LABEL_RULES else "latest"


def merged_labels(voices: Voices, rule: str) -> dict[str, str]:
    """Return one label for each row that was corrected.

    Parameters
    ----------
    voices : mapping of str to sequence of Record
        By key, the last correction of each author, in order.
    rule : {"latest", "majority"}
        The last that anybody said, or what more than half of those who spoke of the row say: if nothing is, the row
        is left out.

    Raises
    ------
    FeedbackError
        If there is no such rule for labels.
    """
    _check_rule(rule, LABEL_RULES)
    labels: dict[str, str] = {}
    for key, records in voices.items():
        said = [str(record.body["label"]) for record in records]
        label, votes = (said[-1], len(said)) if rule == "latest" else Counter(said).most_common(1)[0]
        if 2 * votes > len(said):
            labels[key] = label
    return labels


def agreement_on(voices: Voices, what: str) -> Agreement:
    """Return how far authors agree on regions (`what` is a role) or on labels (it is ``"label"``)."""
    shared = {key: records for key, records in voices.items() if len(records) > 1}
    authors = tuple(sorted({record.author for records in shared.values() for record in records}))
    kappa: float | None = None
    if what == "label":
        said = {key: [str(r.body["label"]) for r in records] for key, records in shared.items()}
        rows = {key: _mean_of_pairs(labels, lambda a, b: float(a == b)) for key, labels in said.items()}
        kappa = _kappa(shared)
    else:
        regions = {key: _same_size(key, records) for key, records in shared.items()}
        rows = {key: _mean_of_pairs(several, _overlap) for key, several in regions.items()}
    overall = float(np.mean(list(rows.values()))) if rows else math.nan
    return Agreement(rows, overall, kappa, authors)


def _check_rule(rule: str, rules: Sequence[str]) -> None:
    if rule not in rules:
        raise FeedbackError(f"`rule` must be one of {list(rules)}; got {rule!r}.")


def _mean_of_pairs(things: Sequence[T], compare: Callable[[T, T], float]) -> float:
    return float(np.mean([compare(one, two) for one, two in itertools.combinations(things, 2)]))


def _overlap(one: Region, two: Region) -> float:
    either = (one | two).size
    return (one & two).size / either if either else 1.0


def _kappa(voices: Voices) -> float:
    """Return Cohen's kappa of each pair of authors, weighted by the rows of which both spoke."""
    from sklearn.metrics import cohen_kappa_score

    pairs: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for records in voices.values():
        by_author = sorted((record.author, str(record.body["label"])) for record in records)
        for (one, his), (two, hers) in itertools.combinations(by_author, 2):
            pairs.setdefault((one, two), []).append((his, hers))
    known: list[tuple[float, int]] = []
    for said in pairs.values():
        first, second = zip(*said, strict=True)
        if len(set(first) | set(second)) > 1:  # of one label there is nothing to disagree on, beyond chance
            known.append((float(cohen_kappa_score(first, second)), len(said)))
    weight = sum(count for _, count in known)
    return sum(kappa * count for kappa, count in known) / weight if weight else math.nan

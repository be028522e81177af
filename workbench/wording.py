"""Texts that have the words of a stroke, and where in them these words are."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from columns import Column

from .errors import FeedbackError
from .feedback import TextRegion
from .reaching import Reach

__all__ = ["by_words"]

# What may be marked along with a word, and does not belong to it.
_AROUND = " \t\n\r\f\v.,;:!?…\"'()[]{}“”‘’«»"


def by_words(column: Column, painted: NDArray[np.int64], regions: Sequence[TextRegion]) -> Reach:
    """Return the texts that have the words of a stroke, and where in them these are.

    Whole words, whatever their case; each place where one of them stands is marked. A text is the nearer to a stroke,
    the more of its words it has.

    Parameters
    ----------
    column : Column
        The texts.
    painted : ndarray, shape (strokes,), int64
        The row that each stroke is on.
    regions : sequence of TextRegion
        The strokes.

    Returns
    -------
    Reach

    Raises
    ------
    FeedbackError
        If no stroke is on a word, or the column holds no texts.

    Examples
    --------
    >>> from columns import TextColumn
    >>> texts = TextColumn(["Good film!", "goodness", "a GOOD, good try"])
    >>> found = by_words(texts, np.array([0]), [TextRegion([(0, 4)])])
    >>> found.place, found.regions[1].spans
    (array([ 0, -1,  1]), ((2, 6), (8, 12)))
    """
    if column.kind != "text":
        raise FeedbackError(
            f"Spans are of texts; the column that these {len(regions)} strokes are painted on holds {column.kind}s. "
            "Undo them, or say which column: propagate(..., column=...)."
        )
    spoken = [
        {word.casefold(): word for start, end in region.spans if (word := text[start:end].strip(_AROUND))}
        for text, region in zip(column[painted].to_list(), regions, strict=True)
    ]
    words = {name: word for some in spoken for name, word in some.items()}
    if not words:
        raise FeedbackError(f"Texts are matched by the words that were marked; these {len(regions)} strokes mark none.")
    looks = [_look(word) for word in words.values()]
    has = np.array([[name in some for name in words] for some in spoken], np.float32)
    has /= np.maximum(has.sum(axis=1, keepdims=True), 1)
    place: NDArray[np.int64] = np.full(len(column), -1)
    stroke: NDArray[np.int64] = np.full(len(column), -1)
    nearness = np.full(len(column), np.nan, np.float32)
    numbers: dict[TextRegion, int] = {}
    for row, text in enumerate(column):
        if text is None:
            continue
        spans = [[match.span() for match in look.finditer(text)] for look in looks]
        if any(spans):
            region = TextRegion(tuple(span for some in spans for span in some), len(text))
            near = has @ np.array([bool(some) for some in spans], np.float32)
            place[row] = numbers.setdefault(region, len(numbers))
            stroke[row], nearness[row] = near.argmax(), near.max()
    return Reach(tuple(numbers), place, stroke, nearness)


def _look(word: str) -> re.Pattern[str]:
    """Return what finds a word: not inside another, and with any space between its parts."""
    before = r"(?<!\w)" if re.match(r"\w", word) else ""
    after = r"(?!\w)" if re.search(r"\w$", word) else ""
    return re.compile(before + r"\s+".join(map(re.escape, word.split())) + after, re.IGNORECASE)

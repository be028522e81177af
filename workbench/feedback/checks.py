"""Checks of what comes in: errors say what must hold and what came instead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FeedbackError

__all__ = ["as_booleans", "as_integers", "as_whole", "check_id", "check_one_of", "check_text", "cut"]

LONGEST_NAME = 4096  # characters of a key, a label, a tag, an author


def as_booleans(mask: Any) -> NDArray[np.bool_]:
    array = mask.detach().cpu().numpy() if hasattr(mask, "detach") else np.asarray(mask)
    if array.dtype != np.bool_:
        raise FeedbackError(
            f"A mask must be an array of booleans; got {type(mask).__name__} of {array.dtype}. "
            "Compare it first: mask > 0."
        )
    return np.asarray(array, np.bool_)


def as_whole(number: Any, name: str, least: int) -> int:
    if isinstance(number, (bool, np.bool_)) or not isinstance(number, (int, np.integer)) or number < least:
        raise FeedbackError(f"`{name}` of a region must be a whole number, at least {least}; got {cut(number)}.")
    return int(number)


def as_integers(numbers: Iterable[Any], name: str, axes: int) -> NDArray[np.int64]:
    """Return whole numbers, or pairs of them, as an array."""
    try:
        array = np.asarray(numbers if isinstance(numbers, np.ndarray) else list(numbers))
    except (TypeError, ValueError):
        array = np.array("nothing of the kind")
    if array.size == 0 and array.ndim <= axes:
        return np.zeros((0, 2)[:axes], np.int64)
    if array.dtype.kind not in "iu" or array.ndim != axes or (axes == 2 and array.shape[1] != 2):
        wanted = "whole numbers" if axes == 1 else "pairs of whole numbers, (start, end)"
        raise FeedbackError(f"`{name}` of a region must be {wanted}; got {cut(numbers)}.")
    return array.astype(np.int64)


def cut(value: object) -> str:
    words = repr(value)
    return words if len(words) <= 120 else words[:117] + "..."


def check_text(value: object, name: str, longest: int = LONGEST_NAME) -> None:
    """Raise unless a value is text that has a UTF-8 form, of 1 to `longest` characters."""
    if not isinstance(value, str) or not value:
        raise FeedbackError(f"`{name}` must be text, at least one character; got {cut(value)}.")
    if len(value) > longest:
        raise FeedbackError(f"`{name}` may have {longest:,} characters at most; got {len(value):,}.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise FeedbackError(f"`{name}` must be text that has a UTF-8 form; got {cut(value)}.") from error


def check_one_of(value: object, known: Sequence[str], name: str) -> None:
    """Raise unless a value is one of those known."""
    if not isinstance(value, str) or value not in known:
        raise FeedbackError(f"`{name}` must be one of {list(known)}; got {cut(value)}.")


def check_id(value: object, name: str) -> None:
    """Raise unless a value may be the number of a record."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 63:
        raise FeedbackError(f"{name} must be a number of a record, from 1; got {cut(value)}.")

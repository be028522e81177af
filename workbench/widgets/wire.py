"""What the page may say: each action with its fields, every one checked before anything is done.

A message names rows, columns and actions of this table, and holds numbers, regions and words. Never code, SQL or paths:
a field that is not in the table, or out of its range, is refused with words.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..errors import WorkbenchError

__all__ = ["ACTIONS", "Request", "WireError", "parse"]

Check: TypeAlias = Callable[[Any], Any]

_MOST_ROWS = 600  # rows of one page
_LONGEST = 4000  # characters of a note, a filter, a name
_MOST_RUNS = 4_000_000  # run lengths of one mask
LONGEST_NAME = 300  # characters of the name of a column, or of a class, that a page can speak of

_brief = reprlib.Repr()  # what came may be endless, or deep
_brief.maxlevel, _brief.maxother, _brief.maxstring, _brief.maxlong = 3, 60, 60, 40


class WireError(WorkbenchError, ValueError):
    """A message from the page does not hold what it may."""


@dataclass(frozen=True)
class Request:
    """A message from the page, checked.

    Attributes
    ----------
    id : int
        By which the page knows the reply.
    action : str
        One of `ACTIONS`.
    fields : mapping of str to object
        What the action needs, complete and in range.
    instead : str
        Requests of the same name that have not begun yet are not needed any more; empty for none.
    """

    id: int
    action: str
    fields: Mapping[str, Any]
    instead: str = ""


def whole(low: int, high: int) -> Check:
    """Take a whole number in [low, high]."""

    def check(value: Any) -> int:
        # JSON has one kind of number: 3.0 is whole as well.
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
            raise WireError(f"must be a whole number; got {_cut(value)}")
        if not low <= value <= high:
            raise WireError(f"must lie in [{low}, {high}]; got {_cut(value)}")
        return int(value)

    return check


def number(low: float, high: float) -> Check:
    """Take a finite number in [low, high]."""

    def check(value: Any) -> float:
        # In this order: a whole number may be too large to be asked whether it is finite.
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
            raise WireError(f"must be a finite number; got {_cut(value)}")
        if not low <= value <= high:
            raise WireError(f"must lie in [{low}, {high}]; got {_cut(value)}")
        return float(value)

    return check


def text(longest: int = _LONGEST, shortest: int = 0) -> Check:
    """Take text of at most that many characters."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or not shortest <= len(value) <= longest:
            raise WireError(f"must be text of {shortest} to {longest} characters; got {_cut(value)}")
        # JavaScript has halves of characters; a log, or a reply, that holds one could not be written.
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise WireError(f"must be whole characters; got {_cut(value)}")
        return value

    return check


def one_of(*choices: str) -> Check:
    """Take one of some words."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise WireError(f"must be one of {', '.join(choices)}; got {_cut(value)}")
        return value

    return check


def optional(check: Check) -> Check:
    """Take nothing, or what `check` takes."""
    return lambda value: None if value is None else check(value)


def several(check: Check, most: int, fewest: int = 0) -> Check:
    """Take a list of at most that many things."""

    def each(value: Any) -> list[Any]:
        if not isinstance(value, list) or not fewest <= len(value) <= most:
            raise WireError(f"must be a list of {fewest} to {most} things; got {_cut(value)}")
        return [check(item) for item in value]

    return each


def truth(value: Any) -> bool:
    """Take true or false."""
    if not isinstance(value, bool):
        raise WireError(f"must be true or false; got {_cut(value)}")
    return value


def pictures(value: Any) -> dict[str, Any]:
    """Take the wish for pictures: of which column, and how high."""
    if not isinstance(value, dict) or set(value) != {"column", "size"}:
        raise WireError(f"must be a column and a size; got {_cut(value)}")
    return {"column": _column(value["column"]), "size": whole(8, 4096)(value["size"])}


def weight(value: Any) -> float | str:
    """Take the weight of a penalty: a positive number, or "auto"."""
    return "auto" if value == "auto" else number(1e-9, 1e9)(value)


def region(value: Any) -> dict[str, Any]:
    """Take a region as JSON has it: run lengths of a mask, or spans of a text; what it says is checked by `Region`."""
    side, run = whole(1, 1 << 16), whole(0, 1 << 32)
    if isinstance(value, dict) and set(value) == {"height", "width", "counts"}:
        counts = value["counts"]
        if not isinstance(counts, list) or len(counts) > _MOST_RUNS:
            raise WireError(f"must have a list of at most {_MOST_RUNS:,} run lengths; got {_cut(counts)}")
        return {
            "kind": "image", "height": side(value["height"]), "width": side(value["width"]),
            "counts": [run(count) for count in counts],
        }  # fmt: skip
    if isinstance(value, dict) and set(value) == {"spans"}:
        spans = several(several(run, 2, 2), 100_000)(value["spans"])
        return {"kind": "text", "spans": spans, "length": None}
    raise WireError(f"must be a region of a picture or of a text; got {_cut(value)}")


_row = whole(0, 2**32 - 2)
_rows = several(_row, _MOST_ROWS)
_column = text(LONGEST_NAME, 1)
_role = one_of("irrelevant", "relevant")
_cells = several(_column, 100)
_job = whole(0, 2**53)

# Fields with a default may be left out.
_REQUIRED = object()
_Field: TypeAlias = "tuple[Check, Any]"


def _must(check: Check) -> _Field:
    return check, _REQUIRED


def _may(check: Check, default: Any = None) -> _Field:
    return optional(check), default


ACTIONS: dict[str, dict[str, _Field]] = {
    "page": {
        "start": _must(whole(0, 2**32)),
        "count": _must(whole(1, _MOST_ROWS)),
        "pictures": _may(pictures),
        "cells": _may(_cells, []),
    },
    "rows": {"rows": _must(_rows), "pictures": _may(pictures), "cells": _may(_cells, [])},
    "maps": {
        "rows": _must(several(_row, 200, 1)),
        "method": _must(text(100, 1)),
        "target": _may(text(LONGEST_NAME), None),
        "size": _may(whole(8, 512), 128),
        "job": _may(whole(0, 2**53)),
        "which": _may(one_of("before", "after", "difference"), "after"),
    },
    "place": {"row": _must(_row)},
    "between": {"first": _must(whole(0, 2**32)), "last": _must(whole(0, 2**32))},
    "go": {"row": _may(_row), "by": _must(one_of("next", "previous")), "unmarked": _may(truth, False)},
    "detail": {"row": _must(_row)},
    "neighbours": {"row": _must(_row), "k": _may(whole(1, 24), 8)},
    "mark": {"row": _must(_row), "irrelevant": _may(region), "relevant": _may(region)},
    "undo": {"row": _may(_row)},
    "redo": {},
    "correct": {"row": _must(_row), "label": _must(text(LONGEST_NAME, 1))},
    "judge": {"row": _must(_row), "verdict": _must(text(100, 1))},
    "note": {"row": _must(_row), "text": _must(text(_LONGEST, 1))},
    "tag": {"rows": _must(several(_row, 100_000, 1)), "tag": _must(text(200, 1))},
    "reach": {"to": _must(one_of("template", "cluster", "neighbours", "all")), "role": _may(_role, "irrelevant")},
    "spread": {"token": _must(_job)},
    "slice": {"name": _must(text(200, 1)), "of": _must(one_of("selection", "filter"))},
    "unslice": {"name": _must(text(200, 1))},
    "show_slice": {"name": _must(text(200, 1))},
    "scatter": {"by": _must(_column), "colour": _may(_column)},
    "mask": {},
    "figures": {},
    "alive": {},
    "leave": {},
    "compute": {"column": _must(_column)},
    "cluster": {"count": _may(whole(2, 100))},
    "train": {
        "loss": _must(text(100, 1)),
        "weights": _may(one_of("all", "head", "last:2", "lora"), "all"),
        "minutes": _may(number(0.01, 60)),
        "steps": _may(whole(1, 100_000)),
        "weight": _may(weight),
    },
    "stop": {"job": _must(_job)},
    "keep": {"job": _must(_job)},
    "discard": {"job": _must(_job)},
    "fixed": {"job": _must(_job), "which": _must(one_of("fixed", "broken"))},
}


def parse(message: Any) -> Request:
    """Check a message from the page.

    Parameters
    ----------
    message : object
        As it came: anything at all.

    Returns
    -------
    Request

    Raises
    ------
    WireError
        Says which field must hold what, and what came instead.

    Examples
    --------
    >>> parse({"id": 1, "do": "page", "start": 0, "count": 10}).fields["cells"]
    []
    >>> parse({"id": 1, "do": "page", "start": -1, "count": 10})
    Traceback (most recent call last):
        ...
    workbench.widgets.wire.WireError: In 'page', `start` must lie in [0, 4294967296]; got -1.
    """
    if not isinstance(message, dict) or not isinstance(message.get("do"), str):
        raise WireError(f"A message must say what to do; got {_cut(message)}.")
    action = message["do"]
    if action not in ACTIONS:
        raise WireError(f"There is no action {_cut(action)}; there are: {', '.join(ACTIONS)}.")
    taken = ACTIONS[action]
    extra = sorted(str(name) for name in set(message) - set(taken) - {"id", "do", "instead"})
    if extra:
        raise WireError(f"'{action}' has no field {_cut(extra[0])}; it has: {', '.join(taken) or 'none'}.")
    fields: dict[str, Any] = {}
    for name, (check, default) in taken.items():
        if name not in message or (message[name] is None and default is not _REQUIRED):
            if default is _REQUIRED:
                raise WireError(f"In '{action}', `{name}` must be given.")
            fields[name] = list(default) if isinstance(default, list) else default
            continue
        try:
            fields[name] = check(message[name])
        except WireError as error:
            raise WireError(f"In '{action}', `{name}` {error}.") from None
    try:
        return Request(whole(0, 2**53)(message.get("id")), action, fields, text(40)(message.get("instead", "")))
    except WireError as error:
        raise WireError(f"In '{action}', its number and what it stands in for: {error}.") from None


def _cut(value: Any) -> str:
    said = _brief.repr(value)
    return said if len(said) <= 60 else said[:60] + "…"

"""Looking: what the page asks to see. Rows and cells, pictures, maps, the row in focus, the map of all rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from columns import EmbeddingColumn, ImageColumn

from ..errors import PanelError
from .cells import cells_of, plain_text
from .heat import Heat, Heats
from .projecting import colour_codes, project
from .thumbnails import thumbnails, whole_picture
from .wire import LONGEST_NAME

if TYPE_CHECKING:
    from .session import Answer, Session

__all__ = ["LOOKING"]

_LONGEST_TEXT = 200_000  # characters of a text that is marked in the page
_STRETCH = 512  # rows whose marks are looked up at once


def _page(session: Session, *, start: int, count: int, pictures: dict[str, Any] | None, cells: Sequence[str]) -> Answer:
    with session.lock:
        version, rows = session.shown.version, session.shown.rows[start : start + count]
    told, buffers = _of_rows(session, rows.astype(np.int64), pictures, cells)
    return {"version": version, "start": start, **told}, buffers


def _rows(session: Session, *, rows: list[int], pictures: dict[str, Any] | None, cells: Sequence[str]) -> Answer:
    told, buffers = _of_rows(session, session.check_rows(rows), pictures, cells)
    return {"version": session.shown.version, **told}, buffers


def _of_rows(
    session: Session, rows: NDArray[np.int64], pictures: dict[str, Any] | None, cells: Sequence[str]
) -> Answer:
    numbers = rows.tolist()
    told: dict[str, Any] = {
        "rows": numbers,
        "marks": [0] * len(numbers) if session.marking is None else session.marking.states(numbers),
        "cells": {name: cells_of(session.panel[name], rows) for name in cells},
    }
    if pictures is None or not len(rows):
        return told, []
    small = thumbnails(session.panel[pictures["column"]], rows, pictures["size"])
    told["pictures"] = {"offsets": small.offsets, "types": small.types}
    return told, [small.data]


def _place(session: Session, *, row: int) -> Answer:
    """Say where a row stands in the order shown, so that the page can scroll to what it has never loaded."""
    session.check_rows([row])
    with session.lock:
        return {"version": session.shown.version, "place": session.shown.place_of(row)}, []


def _between(session: Session, *, first: int, last: int) -> Answer:
    """Give the rows of a stretch of the order, as bytes: all that lie between two clicks."""
    with session.lock:
        rows = session.shown.rows[min(first, last) : max(first, last) + 1]
        return {"version": session.shown.version, "count": len(rows)}, [rows.astype("<u4").tobytes()]


def _go(session: Session, *, row: int | None, by: str, unmarked: bool) -> Answer:
    """Say which row comes next, or before; the next that nobody has marked, if that is wished for."""
    if row is not None:
        session.check_rows([row])
    with session.lock:
        shown = session.shown
        place = None if row is None else shown.place_of(row)
        version, rows = shown.version, shown.rows
    if place is None:  # from a row that is not shown: to the first that is
        ahead = rows if by == "next" else rows[:0]
    else:
        ahead = rows[place + 1 :] if by == "next" else rows[:place][::-1]
    for start in range(0, len(ahead), _STRETCH):
        some = ahead[start : start + _STRETCH].tolist()
        states = session.marking.states(some) if unmarked and session.marking is not None else [0] * len(some)
        if 0 in states:
            return {"version": version, "row": some[states.index(0)]}, []
    return {"version": version, "row": None}, []


def _maps(
    session: Session, *, rows: list[int], method: str, target: str | None, size: int, job: int | None, which: str
) -> Answer:
    session.check_rows(rows)
    heat = _heat(session, rows, method, target, size, job, which)
    height, width = heat.data.shape[1:]
    told = {"height": height, "width": width, "signed": heat.signed, "rows": rows, "peaks": heat.peaks}
    return told, [heat.data.tobytes()]


def _heat(
    session: Session, rows: list[int], method: str, target: str | None, size: int, job: int | None, which: str
) -> Heat:
    if job is None:
        return _explained(session).of(rows, method, target, size)
    if session.relaunch is None:
        raise PanelError("This view has no fine-tunes whose maps could be shown.")
    found = session.relaunch.found(job)
    before, after = (
        session.heats_of(model).of(rows, method, target, size) for model in (found.before, found.run.model)
    )
    return {"before": before, "after": after}.get(which) or before.to(after)


def _explained(session: Session) -> Heats:
    if session.heats is None:
        raise PanelError("Maps need a model that can be explained: give the view a classifier of pictures.")
    return session.heats


def _detail(session: Session, *, row: int) -> Answer:
    session.check_rows([row])
    panel, on = session.panel, session.on
    rows = np.array([row])
    told: dict[str, Any] = {
        "row": row,
        "size": None,
        "text": None,
        "length": 0,
        "mime": None,
        "history": [],
        "standing": [],
    }
    told["regions"] = {"irrelevant": None, "relevant": None}
    buffers: list[bytes] = []
    if on is not None and isinstance(panel[on], ImageColumn):
        picture, size = whole_picture(panel[on], row)
        told |= {"size": size, "mime": picture.types[0]}
        buffers.append(picture.data)
    elif on is not None and panel.kind(on) == "text":
        text = panel[on][row]
        told |= {"text": None, "length": 0} if text is None else {"text": text[:_LONGEST_TEXT], "length": len(text)}
    named = [name for name in panel.columns if len(name) <= LONGEST_NAME]
    wanted = [name for name in named if not isinstance(panel[name], ImageColumn)]
    # One row: what the model says of it is worth a pass.
    told["cells"] = {name: cells_of(panel[name], rows, compute=panel.kind(name) == "prediction")[0] for name in wanted}
    told["key"] = plain_text(panel.key[rows].to_list()[0], LONGEST_NAME)
    if session.marking is not None:
        told |= session.marking.told(row)
    return told, buffers


def _neighbours(session: Session, *, row: int, k: int) -> Answer:
    session.check_rows([row])
    names = [name for name in session.panel.columns if isinstance(session.panel[name], EmbeddingColumn)]
    if not names:
        raise PanelError("Nearest rows need an embedding; this panel has none.")
    column = session.panel[names[0]]
    if not column.is_computed():
        raise PanelError(f"Nearest rows need column '{names[0]}' of all rows: compute it first.")
    found = column.nearest(column[row], k=k + 1)
    rows, scores = found.rows[0].tolist(), found.scores[0].tolist()
    others = [(other, score) for other, score in zip(rows, scores, strict=True) if other != row][:k]
    return {"rows": [other for other, _ in others], "distances": [1 - score for _, score in others]}, []


def _scatter(session: Session, *, by: str, colour: str | None) -> Answer:
    panel = session.panel
    if by not in panel:
        raise PanelError(panel.no_column(by))
    places = project(panel, by)
    codes: NDArray[np.uint8] = np.zeros(len(panel), np.uint8)
    colours = None
    if colour is not None:
        with session.lock:
            facet = session.shown.facet(colour)
        codes, colours = colour_codes(panel, colour, facet)
    return {"count": len(panel), "colours": colours}, [places.astype("<f4").tobytes(), codes.tobytes()]


def _mask(session: Session) -> Answer:
    with session.lock:
        mask, version, count = session.shown.mask, session.shown.version, session.shown.count
    return {"count": count, "version": version}, [np.packbits(mask, bitorder="little").tobytes()]


def _figures(session: Session) -> Answer:
    session.tell_shown()
    session.audience.joined()
    return {}, []


def _alive(session: Session) -> Answer:
    """Answer, and so tell a page whose connection has changed that there is still somebody."""
    return {}, []


def _leave(session: Session) -> Answer:
    session.audience.left()
    return {}, []


LOOKING: dict[str, Callable[..., Answer]] = {
    "page": _page,
    "rows": _rows,
    "place": _place,
    "between": _between,
    "go": _go,
    "maps": _maps,
    "detail": _detail,
    "neighbours": _neighbours,
    "scatter": _scatter,
    "mask": _mask,
    "figures": _figures,
    "alive": _alive,
    "leave": _leave,
}

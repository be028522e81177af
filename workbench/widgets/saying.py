"""Saying: what the page writes to the log, and the slices that it makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FeedbackError, PanelError
from .marking import Marking
from .spreading import Spreading

if TYPE_CHECKING:
    from .session import Answer, Session

__all__ = ["SAYING"]

_NO_LOG = "Nothing can be said here: the view was made without a log. Give it one: explore(panel, feedback=feedback)."


def _marking(session: Session) -> Marking:
    if session.marking is None:
        raise FeedbackError(_NO_LOG)
    return session.marking


def _spreading(session: Session) -> Spreading:
    if session.spreading is None:
        raise FeedbackError(_NO_LOG)
    return session.spreading


def _about(session: Session) -> dict[str, Any]:
    """What was on the screen when it was said, and of which model."""
    screen = session.screen()
    shown = {name: screen[name] for name in ("view", "overlay", "method", "target") if name in screen}
    return {"model": session.model_digest, "shown": shown}


def _mark(session: Session, *, row: int, irrelevant: Any, relevant: Any) -> Answer:
    session.check_rows([row])
    saved = _marking(session).mark(row, {"irrelevant": irrelevant, "relevant": relevant}, **_about(session))
    return saved, []


def _undo(session: Session, *, row: int | None) -> Answer:
    return _marking(session).undo(), []


def _redo(session: Session) -> Answer:
    return _marking(session).redo(), []


def _correct(session: Session, *, row: int, label: str) -> Answer:
    session.check_rows([row])
    classes = session.model.classes if session.model is not None else ()
    if classes and label not in classes:
        raise PanelError(f"A label must be one of {', '.join(classes)}; got '{label}'.")
    return _marking(session).say("label", [row], label, **_about(session)), []


def _judge(session: Session, *, row: int, verdict: str) -> Answer:
    session.check_rows([row])
    return _marking(session).say("verdict", [row], verdict, **_about(session)), []


def _note(session: Session, *, row: int, text: str) -> Answer:
    session.check_rows([row])
    return _marking(session).say("note", [row], text, **_about(session)), []


def _tag(session: Session, *, rows: list[int], tag: str) -> Answer:
    session.check_rows(rows)
    return _marking(session).say("tag", rows, tag, **_about(session)), []


def _reach(session: Session, *, to: str, role: str) -> Answer:
    return _spreading(session).reach(to, role), []


def _spread(session: Session, *, token: int) -> Answer:
    return _spreading(session).spread(token), []


def _slice(session: Session, *, name: str, of: str) -> Answer:
    with session.lock:
        if of == "selection":
            session.slices.of_rows(name, session.selection(), reason="selected in a view")
        else:
            session.slices.of_shown(name, session.shown, reason="shown in a view")
    session.changed()
    return {}, []


def _show_slice(session: Session, *, name: str) -> Answer:
    """Say how to show a slice: by the filter line, or by selecting its rows."""
    with session.lock:
        found = next((one for one in session.slices if one.name == name), None)
        if found is None:
            raise PanelError(f"There is no slice '{name}' in this view.")
        if found.where is not None:
            return {"where": found.where}, []
        rows = np.flatnonzero(session.slices.mask(name)).astype("<u4")
    return {"where": None}, [rows.tobytes()]


def _unslice(session: Session, *, name: str) -> Answer:
    with session.lock:
        session.slices.remove(name)
    session.changed()
    return {}, []


SAYING: dict[str, Callable[..., Answer]] = {
    "mark": _mark,
    "undo": _undo,
    "redo": _redo,
    "correct": _correct,
    "judge": _judge,
    "note": _note,
    "tag": _tag,
    "reach": _reach,
    "spread": _spread,
    "slice": _slice,
    "unslice": _unslice,
    "show_slice": _show_slice,
}

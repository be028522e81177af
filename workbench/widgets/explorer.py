"""Explorer: the view of a panel in a notebook cell. Its public traits can be read, set and observed from Python."""

from __future__ import annotations

import contextvars
import threading
import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray

from ..errors import PanelError, RunError
from .session import Session
from .stills import still_html, still_text
from .tasks import Task
from .view_traits import LAYOUT, RowNumber, RowNumbers, checked_layout, rows_to_bytes

if TYPE_CHECKING:
    from ..classifier import Classifier
    from ..panel import DataPanel

__all__ = ["Explorer"]

_STATIC = Path(__file__).parent / "static"


class Explorer(anywidget.AnyWidget):
    """A view of a panel: `workbench.explore` and `workbench.annotate` make one.

    Parameters
    ----------
    session : Session
        What it shows.
    layout : mapping, optional
        How; see `layout`.

    Attributes
    ----------
    selection : ndarray of uint32
        Numbers of the rows selected, sorted. Set it to row numbers or to a mask.
    filter : str
        Condition as `DataPanel.where` takes it.
    brushes : dict
        What is chosen on the facets, by column: ``{"low": 0.1, "high": 0.5}`` or ``{"values": ["cat"]}``.
    focus : int or None
        The row that is shown large.
    layout : dict
        How the view is laid out: ``view`` ("gallery", "table", "map"), ``tile``, ``overlay``, ``method``, ``sort`` ...
        What is left out when it is set stays as it is.

    Notes
    -----
    All work is done beside the notebook's thread, but messages of the page come through it: while a cell runs, they
    wait.
    """

    _esm = _STATIC / "explore.js"
    _css = _STATIC / "explore.css"

    selection = RowNumbers().tag(sync=True, to_json=rows_to_bytes)
    filter = traitlets.Unicode("").tag(sync=True)
    brushes = traitlets.Dict().tag(sync=True)
    focus = RowNumber().tag(sync=True)
    # A widget's own `layout` is a model of its own, of CSS: this one takes its name in Python, and another on the wire.
    layout = traitlets.Dict(LAYOUT)
    view_layout = traitlets.Dict(LAYOUT).tag(sync=True)
    slices: traitlets.List[dict[str, Any]] = traitlets.List([]).tag(sync=True)
    about = traitlets.Dict({}).tag(sync=True)

    _shown_from: ClassVar[tuple[str, ...]] = ("filter", "brushes", "layout")

    def __init__(self, session: Session, layout: Mapping[str, Any] | None = None) -> None:
        self._length = len(session.panel)
        self._sending = threading.Lock()
        self._setting = threading.RLock()
        self._context = contextvars.copy_context()
        methods = session.heats.methods if session.heats is not None else []
        # Rows without a picture or a text are read, not looked at.
        view_name = "table" if session.on is None else "gallery"
        chosen = {"view": view_name, "method": methods[0] if methods else "", **(layout or {})}
        super().__init__(layout=chosen, about=session.about())
        traitlets.link((self, "layout"), (self, "view_layout"))
        self._session = session
        # The session must not hold the view that holds it: each is collected when nobody needs it.
        view = weakref.ref(self)
        session.tell = lambda event: _tell(view, event)
        session.changed = lambda: _renew(view)
        session.selection = lambda: _selection_of(view)
        session.screen = lambda: _layout_of(view)
        self.on_msg(_receive)
        self.observe(_narrowed, list(self._shown_from))

    # What Python reads

    @property
    def panel(self) -> DataPanel:
        """All rows, with the columns that the view has added."""
        return self._session.panel.copy()

    @property
    def selected(self) -> DataPanel:
        """The rows selected, as a panel."""
        chosen: DataPanel = self._session.panel[self.selection.astype(np.int64)]
        return chosen

    @property
    def shown(self) -> DataPanel:
        """The rows that filter and facets leave, in the order in which they are shown, as a panel."""
        session = self._session
        trouble = session.narrow(self.filter, self.brushes, self.layout["sort"])
        if trouble is not None:
            raise PanelError(trouble)
        with session.lock:
            rows = session.shown.rows.astype(np.int64)
        chosen: DataPanel = session.panel[rows]
        return chosen

    @property
    def model(self) -> Classifier | None:
        """What predicts in this view now: after a relaunch that was kept, the new one."""
        return self._session.model

    def show(self, rows: Sequence[int] | NDArray[Any] | None = None, **layout: Any) -> None:
        """Select rows, bring the first into focus, and change the layout: ``view.show(view="map")``.

        Parameters
        ----------
        rows : sequence of int or mask, optional
        **layout
            Parts of `layout`.
        """
        if rows is not None:
            self.selection = rows
            self.focus = int(self.selection[0]) if len(self.selection) else None
        if layout:
            self.layout = layout

    def close(self) -> None:
        """End the work of the view and take it off the page."""
        if hasattr(self, "_session"):
            self._session.close()
        super().close()

    def _show_about(self) -> None:
        session = self._session
        about = session.about()
        with session.lock:
            slices = session.slices.listed()
        with self._setting:
            self.about, self.slices = about, slices

    # What is let in

    @traitlets.validate("layout", "view_layout")
    def _check_layout(self, proposal: Any) -> dict[str, Any]:
        return checked_layout(self._trait_values.get("layout", {}), proposal["value"])

    def set_state(self, sync_data: Any) -> None:
        """Take what the page has set, while no other thread sets a trait: observers are told when all are set."""
        with self._setting:
            super().set_state(sync_data)

    # How it shows without a page

    def __repr__(self) -> str:
        return still_text(self._session)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        # A notebook without a kernel, on a code host say, shows the picture; a live one prefers the view.
        return {**data, "text/html": still_html(self._session), "text/plain": still_text(self._session)}, metadata


def _tell(view: weakref.ref[Explorer], event: dict[str, Any]) -> None:
    found = view()
    if found is not None:
        _send(found, event, [])


def _send(view: Explorer, content: dict[str, Any], parts: Sequence[bytes]) -> None:
    """Send the page a message from any thread, as an answer to its last one.

    The kernel serves widgets in a thread of their own, so that they answer while a cell runs; a message from a thread
    that it does not know would send the page's next ones to the thread of the cells.
    """
    if view.comm is None:
        return
    with view._sending:
        view._context.copy().run(view.send, content, [memoryview(part) for part in parts])


def _renew(view: weakref.ref[Explorer]) -> None:
    found = view()
    if found is not None:
        found._context.copy().run(found._show_about)


def _selection_of(view: weakref.ref[Explorer]) -> NDArray[np.uint32]:
    found = view()
    rows: NDArray[np.uint32] = np.zeros(0, np.uint32) if found is None else found.selection
    return rows


def _layout_of(view: weakref.ref[Explorer]) -> dict[str, Any]:
    found = view()
    return {} if found is None else dict(found.layout)


_LONG = ("reach",)  # reads every picture: other questions are answered meanwhile
# What must be done in the order in which it was asked: strokes and undos.
_IN_TURN = ("mark", "undo", "redo", "correct", "judge", "note", "tag", "spread")


def _receive(view: Explorer, message: Any, buffers: Sequence[Any]) -> None:
    """Answer a message beside the notebook's thread."""
    session = view._session
    view._context = contextvars.copy_context()
    asked: dict[str, Any] = message if isinstance(message, dict) else {}
    action, instead = asked.get("do"), asked.get("instead")

    def work() -> None:
        reply, parts = session.answer(message, buffers)
        _send(view, reply, parts)
        session.audience.look_at_log(reply)

    def long_work(task: Task) -> str:
        work()
        return ""

    def refuse(words: str) -> None:
        _send(view, {"id": asked.get("id"), "error": words}, [])

    try:
        if action in _LONG:
            stopped = partial(refuse, "Stopped before it began.")
            session.jobs.start("look", long_work, words="looking for rows like this", dropped=stopped)
        else:
            named = instead if isinstance(instead, str) else ""
            session.jobs.ask(work, instead=named, in_turn=action in _IN_TURN)
    except RunError as closed:
        refuse(str(closed))


def _narrowed(change: Any) -> None:
    """Show other rows when filter, brushes or order change, wherever that came from."""
    view: Explorer = change["owner"]
    if change["name"] == "layout" and change["old"].get("sort") == change["new"].get("sort"):
        return
    session = view._session
    session.jobs.ask(lambda: session.narrow(view.filter, view.brushes, view.layout["sort"]), instead="narrow")

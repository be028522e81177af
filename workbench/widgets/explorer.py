"""Explorer: the view of a panel in a notebook cell. Its public traits can be read, set and observed from Python."""

from __future__ import annotations

import contextvars
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray

from ..errors import PanelError
from .session import Session
from .stills import still_html, still_text
from .tasks import Task

if TYPE_CHECKING:
    from ..classifier import Classifier
    from ..panel import DataPanel

__all__ = ["Explorer"]

_STATIC = Path(__file__).parent / "static"
_VIEWS = ("gallery", "table", "map")

LAYOUT: dict[str, Any] = {
    "view": "gallery", "tile": 96, "overlay": False, "opacity": 0.8, "method": "", "target": "", "sort": None,
    "colour": None, "map": None, "columns": [], "height": 640,
}  # fmt: skip
_RANGES = {"tile": (48, 320), "opacity": (0, 1), "height": (360, 1400)}


class RowNumbers(traitlets.TraitType[NDArray[np.uint32], Any]):
    """Row numbers: sorted, each once, read-only; on the wire as bytes, so that half a million are nothing."""

    default_value = np.zeros(0, np.uint32)
    info_text = "row numbers"

    def validate(self, view: Any, value: Any) -> NDArray[np.uint32]:
        """Take row numbers, a mask, or the bytes that the page sends."""
        if isinstance(value, (bytes, bytearray, memoryview)):
            array = np.frombuffer(bytes(value), "<u4")
        else:
            array = np.asarray(value)
            if array.dtype == np.bool_:
                array = np.flatnonzero(array)
        rows, length = np.unique(array), getattr(view, "_length", None)
        if len(rows) and not np.issubdtype(rows.dtype, np.integer):
            raise traitlets.TraitError(f"A selection is row numbers or a mask of booleans; got {array.dtype}.")
        if len(rows) and (rows[0] < 0 or (length is not None and rows[-1] >= length)):
            raise traitlets.TraitError(f"Rows of this panel lie in [0, {length}); got {rows[0]} to {rows[-1]}.")
        chosen: NDArray[np.uint32] = rows.astype(np.uint32)
        chosen.flags.writeable = False
        return chosen

    def set(self, obj: Any, value: Any) -> None:
        """Set the rows, and tell whoever observes them only if they are others."""
        new: NDArray[np.uint32] = self.validate(obj, value)
        old: NDArray[np.uint32] = obj._trait_values.get(self.name, self.default_value)
        obj._trait_values[self.name] = new
        if not np.array_equal(old, new):
            obj._notify_trait(self.name, old, new)


def _to_bytes(rows: NDArray[np.uint32], view: Any) -> memoryview:
    return memoryview(np.ascontiguousarray(rows, "<u4").tobytes())


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

    selection = RowNumbers().tag(sync=True, to_json=_to_bytes)
    filter = traitlets.Unicode("").tag(sync=True)
    brushes = traitlets.Dict().tag(sync=True)
    focus = traitlets.Int(None, allow_none=True).tag(sync=True)
    # A widget's own `layout` is a model of its own, of CSS: this one takes its name in Python, and another on the wire.
    layout = traitlets.Dict(LAYOUT)
    view_layout = traitlets.Dict(LAYOUT).tag(sync=True)
    slices: traitlets.List[dict[str, Any]] = traitlets.List([]).tag(sync=True)
    about = traitlets.Dict({}).tag(sync=True)

    _shown_from: ClassVar[tuple[str, ...]] = ("filter", "brushes", "layout")

    def __init__(self, session: Session, layout: Mapping[str, Any] | None = None) -> None:
        self._length = len(session.panel)
        self._sending = threading.Lock()
        self._context = contextvars.copy_context()
        methods = session.heats.methods if session.heats is not None else []
        chosen = {"method": methods[0] if methods else "", **(layout or {})}
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
        self.about = self._session.about()
        self.slices = self._session.slices.listed()

    # What is let in

    @traitlets.validate("layout", "view_layout")
    def _check_layout(self, proposal: Any) -> dict[str, Any]:
        given = proposal["value"]
        unknown = sorted(set(given) - set(LAYOUT))
        if unknown:
            raise traitlets.TraitError(f"A layout has {', '.join(LAYOUT)}; got '{unknown[0]}'.")
        now = {**LAYOUT, **self._trait_values.get("layout", {}), **given}
        if now["view"] not in _VIEWS:
            raise traitlets.TraitError(f"`view` must be one of {', '.join(_VIEWS)}; got {now['view']!r}.")
        for name, (low, high) in _RANGES.items():
            if isinstance(now[name], bool) or not isinstance(now[name], (int, float)) or not low <= now[name] <= high:
                raise traitlets.TraitError(f"`{name}` must lie in [{low}, {high}]; got {now[name]!r}.")
        return now

    @traitlets.validate("focus")
    def _check_focus(self, proposal: Any) -> int | None:
        row: int | None = proposal["value"]
        if row is not None and not 0 <= row < self._length:
            raise traitlets.TraitError(f"Rows of this panel lie in [0, {self._length}); got {row}.")
        return row

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


# What must be done in the order in which it was asked: strokes and undos.
_LONG = ("reach",)  # reads every picture: other questions are answered meanwhile
_IN_TURN = ("mark", "undo", "redo", "correct", "judge", "note", "tag", "spread")


def _receive(view: Explorer, message: Any, buffers: Sequence[Any]) -> None:
    """Answer a message beside the notebook's thread."""
    session = view._session
    view._context = contextvars.copy_context()

    def work() -> None:
        reply, parts = session.answer(message, buffers)
        _send(view, reply, parts)

    action = message.get("do") if isinstance(message, dict) else None
    if action in _LONG:

        def long_work(task: Task) -> str:
            work()
            return ""

        session.jobs.start("look", long_work, words="looking for rows like this")
        return
    instead = message.get("instead") if isinstance(message, dict) else None
    session.jobs.ask(work, instead=instead if isinstance(instead, str) else "", in_turn=action in _IN_TURN)


def _narrowed(change: Any) -> None:
    """Show other rows when filter, brushes or order change, wherever that came from."""
    view: Explorer = change["owner"]
    if change["name"] == "layout" and change["old"].get("sort") == change["new"].get("sort"):
        return
    session = view._session
    session.jobs.ask(lambda: session.narrow(view.filter, view.brushes, view.layout["sort"]), instead="narrow")

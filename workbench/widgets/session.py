"""Session: the state of one view, and its answers to what the page asks. It knows no page: a test may ask as well.

What is looked at is in `looking`, what is said in `saying`, what takes long in `working`: each an action of `wire`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from columns.errors import ColumnError
from explain.errors import ExplainError

from ..classifier import Classifier, as_classifier
from ..errors import FeedbackBusyError, PanelError, WorkbenchError
from ..predictions import predict
from ..runs.weights import state_digest
from .audience import Audience
from .cells import plain_text
from .describing import classifier_of, description, looked_at
from .facets import facet_names, single_values_of
from .heat import Heats
from .jobs import Jobs
from .marking import Marking
from .relaunch import Relaunch
from .shown import Shown
from .slicing import NamedSlices
from .spreading import Spreading
from .wire import LONGEST_NAME, WireError, parse

if TYPE_CHECKING:
    from ..directory import Workbench
    from ..feedback import Feedback
    from ..panel import DataPanel

__all__ = ["Answer", "Session"]

Answer = tuple[dict[str, Any], list[bytes]]

_log = logging.getLogger(__name__)

PREDICTION = "prediction"
_LONGEST_WORDS = 2000  # characters of an error
_MANY = 100_000  # rows from which on each facet is shown as it is made


class Session:
    """One view of a panel: which rows it shows, what explains them, and the log it writes to.

    Parameters
    ----------
    panel : DataPanel
        Its rows. The view has a copy: columns that it adds are not in the caller's.
    model : Classifier, optional
        What predicts and is explained; that of the prediction column, if there is one and this is left out.
    feedback : Feedback, optional
        Where what is painted goes. Without one nothing can be said.
    label : str
        Column of the labels, if there is such a column.
    source, train, judged, bench
        For fine-tunes; see `Relaunch`.
    tell : callable
        Given each event, a dictionary.

    Attributes
    ----------
    panel : DataPanel
        With the columns that the view has added.
    model : Classifier or None
        What predicts now.

    Examples
    --------
    >>> import torch
    >>> from workbench import DataPanel
    >>> session = Session(DataPanel({"image": torch.zeros(3, 1, 4, 4), "age": [3, 1, 2]}, origin="toy"))
    >>> reply, _ = session.answer({"id": 1, "do": "page", "start": 0, "count": 2, "cells": ["age"]})
    >>> reply["ok"]["rows"], reply["ok"]["cells"]
    ([0, 1], {'age': [3, 1]})
    >>> session.answer({"id": 2, "do": "page", "start": 0})[0]["error"]
    "In 'page', `count` must be given."
    >>> session.close()
    """

    def __init__(
        self,
        panel: DataPanel,
        model: Classifier | None = None,
        feedback: Feedback | None = None,
        *,
        label: str = "label",
        source: str | None = None,
        train: Any = None,
        judged: Any = None,
        bench: Workbench | None = None,
        tell: Callable[[dict[str, Any]], None] = lambda event: None,
    ) -> None:
        self.model = classifier_of(panel) if model is None else as_classifier(model)
        if self.model is not None and self.model.on not in panel:
            raise PanelError(
                f"The classifier is fed column '{self.model.on}', which the panel must have. "
                f"{panel.no_column(self.model.on)}"
            )
        self.panel = panel.copy()
        if self.model is not None and PREDICTION not in self.panel and "embedding" not in self.panel:
            self.panel = predict(self.panel, self.model)
        self.label = label if label in self.panel else None
        self.on = looked_at(self.panel, self.model)
        self.tell = tell
        # Through the session, since whoever it tells may come later than it.
        self.audience = Audience(self._told, feedback)
        self.jobs = Jobs(self.audience.note)
        # The page asks in one thread, Python in another: what is shown belongs to whoever holds this.
        self.lock = threading.RLock()
        self.heats = None if self.model is None else Heats(self.panel, self.model)
        self.shown = Shown(self.panel, on=())
        self.slices = NamedSlices(self.panel, PREDICTION if PREDICTION in self.panel else None, self.label)
        self.marking = self.spreading = None
        if feedback is not None and self.on is not None:
            self.marking = Marking(feedback, self.panel, self.on, label)
            self.spreading = Spreading(self.panel, feedback, self.on)
        self.relaunch = None
        if self.model is not None and self.marking is not None and self.label is not None:
            self.relaunch = Relaunch(
                self.panel, self.model, feedback, self.jobs, train=train, judged=judged, label=label, source=source,
                bench=bench, slices=lambda: list(self.slices),
            )  # fmt: skip
        self.data = 1  # grows when columns or the model change
        self.changed: Callable[[], None] = lambda: None  # told then
        self.selection: Callable[[], NDArray[np.uint32]] = lambda: np.zeros(0, np.uint32)
        self.screen: Callable[[], Mapping[str, Any]] = dict  # what the layout says is shown
        self._digest: str | None = None
        # What was asked for, though it may not be shown: of a column that is gone, or cannot be read.
        self._asked: tuple[str, Mapping[str, Any], Mapping[str, Any] | None] = ("", {}, None)
        self._trouble: str | None = None
        self._other_heats: dict[Classifier, Heats] = {}

    # Answering

    def answer(self, message: Any, buffers: Sequence[Any] = ()) -> Answer:
        """Answer a message of the page, whatever it is: with what it asks for, or with an error in words.

        Parameters
        ----------
        message : object
            As it came.
        buffers : sequence
            That came with it; no action takes any.

        Returns
        -------
        tuple of dict and list of bytes
            The reply, with the number of the message.
        """
        from .looking import LOOKING
        from .saying import SAYING
        from .working import WORKING

        number = message.get("id") if isinstance(message, dict) else None
        number = number if isinstance(number, int) else None  # by nothing else would a page know the reply
        try:
            request = parse(message)
            number = request.id
            handler = {**LOOKING, **SAYING, **WORKING}[request.action]
            ok, parts = handler(self, **request.fields)
            return {"id": number, "ok": ok}, parts
        except FeedbackBusyError as error:
            return {"id": number, "error": _sentence(error), "again": True}, []
        except (WorkbenchError, ColumnError, ExplainError, WireError) as error:
            return {"id": number, "error": _sentence(error)}, []
        except OSError as error:
            return {"id": number, "error": f"The disk said no: {error}.", "again": True}, []
        # Columns and classifiers are code of other people: whatever they raise, the page that waits gets a reply.
        except Exception as error:  # noqa: BLE001 - see above
            # When the main thread has ended no pool takes work any more, and nobody waits for a reply.
            if threading.main_thread().is_alive():
                _log.exception("No answer to a message of the page")
            words = plain_text(f"{type(error).__name__}: {error}", _LONGEST_WORDS)
            return {"id": number, "error": f"This could not be answered. {words}"}, []

    def check_rows(self, rows: Sequence[int]) -> NDArray[np.int64]:
        """Return row numbers as an array.

        Raises
        ------
        PanelError
            If one of them is not in the panel.
        """
        array = np.asarray(rows, np.int64)
        if len(array) and not (array.min() >= 0 and array.max() < len(self.panel)):
            raise PanelError(f"Rows of this panel lie in [0, {len(self.panel)}); got {int(array.max())}.")
        return array

    def heats_of(self, model: Classifier) -> Heats:
        """Return the maps of one of the classifiers of this view, with those that were computed before."""
        if model is self.model and self.heats is not None:
            return self.heats
        if model not in self._other_heats:
            # Two of a comparison, and no more: each keeps the maps that it has computed.
            self._other_heats = dict(list(self._other_heats.items())[-1:])
            self._other_heats[model] = Heats(self.panel, model)
        return self._other_heats[model]

    @property
    def model_digest(self) -> str | None:
        """A name of the weights that are shown, for the records of what was said of them."""
        if self._digest is None and self.model is not None:
            self._digest = state_digest(self.model.module.state_dict())
        return self._digest

    # What is shown

    def narrow(self, filter_text: str, brushes: Mapping[str, Any], sort: Mapping[str, Any] | None) -> str | None:
        """Show other rows, and tell the page; what cannot be read leaves everything as it was.

        Returns
        -------
        str or None
            Why not, in words.
        """
        with self.lock:
            self._asked = filter_text, brushes, sort
            trouble = self._trouble = self._narrow()
        self.tell_shown()
        return trouble

    def _narrow(self) -> str | None:
        """Show what was asked for, as far as that can be; the lock is held."""
        trouble = None
        for name, value in zip(("filter", "brushes", "sort"), self._asked, strict=True):
            try:
                setattr(self.shown, name, value)
            except (WorkbenchError, ColumnError) as error:
                trouble = trouble or _sentence(error)
        return trouble

    def tell_shown(self) -> None:
        """Tell the page which rows are shown, and the figures of the facets as they are made."""
        with self.lock:
            shown = self.shown
            event = {"version": shown.version, "count": shown.count, "of": len(self.panel), "error": self._trouble}
            # Told under the lock: what is told last must be what was shown last.
            self.tell({"event": "shown", **event})
        if shown.on:
            self._tell_facets()
        self._make_facets()

    def _tell_facets(self) -> None:
        with self.lock:
            version, figures = self.shown.version, self.shown.facet_figures()
            self.tell({"event": "facets", "version": version, "facets": figures})

    def _make_facets(self) -> None:
        """Make the next facet that is not there yet, and the others after what the page asks meanwhile."""
        with self.lock:
            shown = self.shown
            names = [name for name in facet_names(self.panel) if len(name) <= LONGEST_NAME]
            columns = [(name, single_values_of(self.panel, name)) for name in names]
            ready = [name for name, column in columns if column is not None and column.is_computed()]
            left = [name for name in ready if name not in shown.on]
            if not left:
                return
            # Kept in the order of the columns, whichever was there first.
            shown.on = [name for name in ready if name in shown.on or name == left[0]]
            shown.computed()
            shown.facet(left[0])
        if len(left) == 1 or len(self.panel) > _MANY:
            self._tell_facets()
        if len(left) > 1 and not self.jobs.closed:
            self.jobs.ask(self._make_facets, instead="facets")

    def _told(self, event: dict[str, Any]) -> None:
        self.tell(event)

    # What changes

    def computed(self) -> None:
        """Tell that a column was computed: facets, slices and captions may have more to say."""
        with self.lock:
            self.shown.computed()
            self.slices.computed()
            self._trouble = self._narrow()  # what could not be shown before may be now
        self.data += 1
        self.changed()
        self.tell_shown()

    def add(self, name: str, column: Any) -> None:
        """Add a column that the view has made: the clusters of explanations."""
        panel = self.panel.copy()
        panel[name] = column
        self._take(panel, self.model)

    def adopt(self, model: Classifier) -> None:
        """Predict and explain by another classifier from now on."""
        gone = [name for name in (PREDICTION, "embedding", "cluster") if name in self.panel]
        self._take(predict(self.panel.drop(gone), model), model)

    def _take(self, panel: DataPanel, model: Classifier | None) -> None:
        with self.lock:
            before = self.shown
            self.panel, self.model, self._digest = panel, model, None
            self.heats = None if model is None else Heats(panel, model)
            # A new one; its versions go on from those that the page knows.
            self.shown = Shown(panel, on=(), first_version=before.version + 1)
            self._trouble = self._narrow()
            kept = list(self.slices)
            self.slices = NamedSlices(panel, PREDICTION if PREDICTION in panel else None, self.label)
            for one in kept:
                if one.where is None:
                    self.slices.add(one)
            for part in (self.marking, self.spreading, self.relaunch):
                if part is not None:
                    part.panel = panel
        self.data += 1
        self.changed()
        self.tell_shown()

    def about(self) -> dict[str, Any]:
        """Return what the page must know of the panel; reads nothing."""
        return description(self)

    def close(self) -> None:
        """End the work of the view."""
        self.jobs.close()
        self.audience.close()


def _sentence(error: BaseException) -> str:
    """Return the words of an error, as one or more whole sentences."""
    return plain_text(str(error.args[0]) if error.args else type(error).__name__, _LONGEST_WORDS)

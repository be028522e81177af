"""The explorer on a bare page: the bundle as it is committed, with a real session behind it and no notebook around."""

from pathlib import Path

import numpy as np
import torch

import workbench as wb
from columns import ImageColumn
from tests.browser.bare import BarePage
from workbench.widgets.explorer import LAYOUT
from workbench.widgets.session import Session

__all__ = ["ExplorerPage", "dots", "halves"]

STATIC = Path(wb.__file__).parent / "widgets/static"
SIDE = 8  # pixels of a picture's side


class ExplorerPage:
    """An explorer on a page; what `Explorer` does between the page and its session, this does without a comm.

    Attributes
    ----------
    page, bare
        Of Playwright, and `BarePage`.
    session : Session
        What answers.
    root : Locator
        The element that the view is in.
    """

    def __init__(self, page, panel, model=None, feedback=None, *, traits=None, dark=False, **layout):
        self.page, self.bare = page, BarePage(page)
        page.set_default_timeout(8000)
        self.session = Session(panel, model, feedback, tell=self.bare.send)
        methods = self.session.heats.methods if self.session.heats is not None else []
        chosen = {**LAYOUT, "method": methods[0] if methods else "", **layout}
        start = {
            "filter": "", "brushes": {}, "selection": b"", "focus": None, "view_layout": chosen, "slices": [],
            "about": self.session.about(),
        }  # fmt: skip
        self.session.changed = self._renew
        self.session.selection = lambda: self.selection
        self.session.screen = lambda: self.bare.traits["view_layout"]
        self.bare.on_save = self._saved
        css = (STATIC / "explore.css").read_text(encoding="utf-8")
        if dark:
            css += "\nbody { background: #111418; }"
        self.root = self.bare.mount(STATIC / "explore.js", css, {**start, **(traits or {})}, self.session.answer)
        if dark:
            page.evaluate("() => document.body.classList.add('dark')")
        self.root.get_by_test_id("app").wait_for()

    def get(self, name):
        """The element of a test id."""
        return self.root.get_by_test_id(name)

    def sent(self, action):
        """What the page has asked for by an action, in its order."""
        return [message for message, _ in self.bare.sent if message.get("do") == action]

    def press(self, *keys):
        """Press keys, one after the other, wherever the focus is."""
        for key in keys:
            self.page.keyboard.press(key)

    def drag(self, element, *places, scale=1.0):
        """Drag over places in an element, in pixels of it times `scale`."""
        element.scroll_into_view_if_needed()
        box, mouse = element.bounding_box(), self.page.mouse
        for number, (x, y) in enumerate(places):
            mouse.move(box["x"] + x * scale, box["y"] + y * scale, steps=3 if number else 1)
            if number == 0:
                mouse.down()
        mouse.up()

    def set(self, name, value):
        """Set a trait from Python."""
        self.bare.set(name, value)
        if name in ("filter", "brushes", "view_layout"):
            self._narrow()

    @property
    def selection(self):
        """The rows selected, as Python has them."""
        return np.frombuffer(self.bare.traits["selection"], "<u4")

    @property
    def focus(self):
        """The row in focus, as Python has it."""
        return self.bare.traits["focus"]

    @property
    def layout(self):
        """The layout, as Python has it."""
        return self.bare.traits["view_layout"]

    def until(self, look, wanted, **how):
        """Wait until something in Python is as wanted; see `BarePage.until`."""
        return self.bare.until(look, wanted, **how)

    def close(self):
        """End the session; what Python raised while it answered is raised here."""
        self.session.close()
        assert not self.bare.errors, self.bare.errors

    def _renew(self):
        self.bare.set("about", self.session.about())
        self.bare.set("slices", self.session.slices.listed())

    def _saved(self, name, _value):
        if name in ("filter", "brushes", "view_layout"):
            self._narrow()

    def _narrow(self):
        traits = self.bare.traits
        self.session.narrow(traits["filter"], traits["brushes"], traits["view_layout"]["sort"])


def dots(rows, **columns):
    """A panel of small pictures, each of one grey, with a number and a letter; other columns beside them."""
    grey = (np.arange(rows) * 37 % 251).astype(np.uint8)
    pictures = np.broadcast_to(grey[:, None, None], (rows, SIDE, SIDE)).copy()
    number, letter = np.arange(rows)[::-1].copy(), np.array(list("abcde"))[np.arange(rows) % 5]
    values = {"image": ImageColumn(pictures), "number": number, "letter": letter.tolist(), **columns}
    return wb.DataPanel(values, origin="dots")


def halves(classes=("left", "right")):
    """A classifier of these pictures that compares their halves; its maps are +1 and −1."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(SIDE * SIDE, 2, bias=False))
    with torch.no_grad():
        left = torch.cat([torch.ones(SIDE, SIDE // 2), -torch.ones(SIDE, SIDE // 2)], dim=1).flatten() / 100
        net[1].weight.copy_(torch.stack([left, -left]))
    return wb.Classifier(net, list(classes))

"""Random actions on an explorer, as somebody in a hurry does them: clicks, keys, strokes, filters, short trainings."""

import contextlib
import threading

import numpy as np

import workbench as wb
from tests.browser.bare import BarePage
from tests.browser.explorer_page import STATIC

__all__ = ["Hurry", "LiveView"]

SYNCED = ("selection", "filter", "brushes", "focus", "view_layout", "slices", "about")
KEYS = [
    *("ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp", "j", "k", "n", "p", "Enter", "Space", "Escape", "o", "b", "e"),
    *("r", "l", "f", "i", "c", "1", "2", "[", "]", "+", "-", "0", "z", "Shift+Z", "g", "t", "m", "?", "Tab", "End"),
    *("Home", "PageDown", "PageUp", "Shift+ArrowRight", "Control+z"),
]
FILTERS = [
    *("", "age < 30", "age > 20 and label == 'bright'", "label != prediction", "confidence < 0.6", "word == 'b'"),
    *("age <", "nothing > 3", "age / 0 > 1", "1", "'a' - 1", "age > 1000", "__import__('os')", "prediction.label == 3"),
    *("not (age < 30 or age > 50)", "age in [1, 2, 3]", "key == 'noise/3'", "# a comment", "label", "(" * 200),
]
SLOW = ("lime", "kernel_shap", "feature_ablation", "smooth_grad")  # seconds for a screen of rows

# Where the elements are that could be clicked: on the screen, and nothing lies over them.
PLACES = """selector => [...document.querySelectorAll(selector)].flatMap(element => {
  const { x, y, width, height } = element.getBoundingClientRect();
  if (width < 2 || height < 2 || element.disabled) return [];
  const [at, down] = [x + width / 2, y + height / 2];
  const top = document.elementFromPoint(at, down);
  return top !== null && (element.contains(top) || top.contains(element)) ? [{ x, y, width, height }] : [];
})"""
CHOOSE = """([selector, share, avoided]) => {
  const fields = [...document.querySelectorAll(selector)];
  const field = fields[Math.floor(share * fields.length)];
  if (field === undefined || field.disabled) return;
  const values = [...field.options].map(option => option.value).filter(value => !avoided.includes(value));
  field.value = values[Math.floor(share * 7919) % values.length];
  field.dispatchEvent(new Event("change", { bubbles: true }));
}"""
SPAN = """([from, to]) => {
  const text = document.querySelector("[data-testid=text]");
  const parts = text === null ? [] : [...text.querySelectorAll("[data-start]")];
  if (parts.length === 0) return;
  const place = share => {
    const part = parts[Math.floor(share * parts.length)].firstChild;
    return [part, Math.floor(share * 31) % (part.length + 1)];
  };
  getSelection().setBaseAndExtent(...place(from), ...place(to));
  text.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
}"""


class LiveView:
    """An `Explorer` on a bare page: what a comm does between them, this does in the same process.

    Attributes
    ----------
    view : Explorer
    saved : list of int
        The records that the page was told to be on the disk.
    """

    def __init__(self, page, panel, model=None, feedback=None, **how):
        self.page, self.bare = page, BarePage(page)
        self.view = wb.explore(panel, model, feedback, **how)
        self.saved, self._from_page = [], threading.local()
        self.view.send = self._send
        self.view.observe(self._tell, list(SYNCED))
        self.bare.on_save = self._save
        traits = {name: self._plain(name) for name in SYNCED}
        self.root = self.bare.mount(STATIC / "explore.js", STATIC / "explore.css", traits, self._ask)
        self.root.get_by_test_id("app").wait_for()

    def get(self, name):
        return self.root.get_by_test_id(name)

    def settle(self):
        """Wait until nothing runs, and nothing is on its way."""
        jobs = self.view._session.jobs
        self.bare.until(lambda: jobs.busy or bool(jobs._desk.newest or jobs._desk.in_turn), False, within=120)
        self.page.wait_for_timeout(400)
        self.bare.sent.clear()

    def _plain(self, name):
        value = getattr(self.view, name)
        return value.tobytes() if name == "selection" else value

    def _ask(self, message, buffers):
        self.view._handle_custom_msg(message, buffers)

    def _send(self, content, buffers=None):
        if isinstance(content.get("ok"), dict) and "role" not in content["ok"]:
            self.saved += content["ok"].get("ids", [])
        self.bare.send(content, [bytes(part) for part in buffers or ()])

    def _save(self, name, value):
        self._from_page.name = name
        try:
            self.view.set_state({name: memoryview(value) if name == "selection" else value})
        finally:
            self._from_page.name = None

    def _tell(self, change):
        if getattr(self._from_page, "name", None) != change["name"]:
            self.bare.set(change["name"], self._plain(change["name"]))


class Hurry:
    """Does one random action after the other, always the same ones for a seed."""

    def __init__(self, live, seed):
        self.live, self.page, self.view = live, live.page, live.view
        self.random = np.random.default_rng(seed)
        weights = {
            self.click: 22, self.card: 12, self.key: 22, self.stroke: 16, self.span: 8, self.filter: 5, self.choose: 6,
            self.bar: 5, self.histogram: 3, self.scroll: 5, self.resize: 2, self.train: 1, self.reach: 2,
            self.slice: 2, self.python: 4, self.lasso: 2, self.look: 3, self.stop: 2,
        }  # fmt: skip
        self._actions, shares = list(weights), np.array(list(weights.values()), float)
        self._shares = shares / shares.sum()
        self.done = []  # the last actions, to be told when something goes wrong

    def act(self):
        action = self._actions[self.random.choice(len(self._actions), p=self._shares)]
        self.done = [*self.done[-30:], action.__name__]
        action()

    def click(self):
        """Any button, tab or summary that is there, but those that train or keep."""
        self._press_one(
            "button:not([data-testid=train], [data-testid=keep]), summary, [role=tab], input[type=checkbox]"
        )

    def card(self):
        held = self._one_of([None, None, None, "Control", "Shift"])
        if held:
            self.page.keyboard.down(held)
        self._press_one("[data-testid^=card-], [data-testid^=line-]")
        if held:
            self.page.keyboard.up(held)

    def key(self):
        self.page.keyboard.press(self._one_of(KEYS))

    def stroke(self):
        self._drag("[data-testid=canvas]", 4)

    def span(self):
        self.page.evaluate(SPAN, self.random.random(2).tolist())

    def filter(self):
        field = self.live.get("filter")
        with contextlib.suppress(Exception):  # a popup may lie over it
            field.fill(self._one_of(FILTERS), timeout=500)
            field.press("Enter", timeout=500)

    def choose(self):
        self.page.evaluate(CHOOSE, ["select", self.random.random(), list(SLOW)])

    def bar(self):
        self._press_one("[data-testid^=bar-]")

    def histogram(self):
        self._drag("[data-testid^=histogram-]", 2)

    def lasso(self):
        self.page.keyboard.down("Shift")
        self._drag("[data-testid=map-canvas]", 6)
        self.page.keyboard.up("Shift")

    def scroll(self):
        self.page.mouse.move(*self.random.integers(50, 600, 2).tolist())
        self.page.mouse.wheel(0, int(self.random.integers(-900, 900)))

    def resize(self):
        width, height = self._one_of([(320, 700), (640, 800), (1000, 900), (1280, 1000), (1900, 1000)])
        self.page.set_viewport_size({"width": width, "height": height})

    def look(self):
        self._press_one("[data-testid^=view-]")

    def stop(self):
        self._press_one("[data-testid=stop], [data-testid=stop-run], [data-testid=dismiss]")

    def train(self):
        session = self.view._session
        if session.relaunch is None or session.jobs.busy:
            return
        self._ask("train", loss=self._one_of(self.view.about["losses"]), steps=int(self.random.integers(2, 12)))
        if self.random.random() < 0.3 and (done := list(session.relaunch._done)):
            self._ask(self._one_of(["keep", "discard"]), job=self._one_of(done))

    def reach(self):
        self._press_one("[data-testid=reach]")
        self.page.wait_for_timeout(30)
        self._press_one("[data-testid=spread]")

    def slice(self):
        self._ask("slice", name=f"slice {self.random.integers(12)}", of=self._one_of(["selection", "filter"]))

    def python(self):
        """What a cell of the notebook might do meanwhile."""
        rows = self.random.choice(len(self.view.panel), 5)
        what = self.random.integers(5)
        if what == 0:
            self.view.selection = rows
        elif what == 1:
            self.view.focus = rows[0]
        elif what == 2:
            self.view.filter = self._one_of(FILTERS)
        elif what == 3:
            sort = {"by": self._one_of(self.view.panel.columns), "ascending": bool(rows[0] % 2)}
            self.view.layout = {"sort": self._one_of([None, sort]), "tile": int(self.random.integers(48, 320))}
        else:
            self.view.brushes = {}

    def _ask(self, do, **fields):
        self.live._ask({"id": int(self.random.integers(1000)), "do": do, **fields}, [])

    def _one_of(self, things):
        return things[int(self.random.integers(len(things)))]

    def _places(self, selector):
        return self.page.evaluate(PLACES, selector)

    def _press_one(self, selector):
        places = self._places(selector)
        if places:
            box = self._one_of(places)
            self.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    def _drag(self, selector, points):
        places = self._places(selector)
        if not places:
            return
        box, mouse = self._one_of(places), self.page.mouse
        for number, (x, y) in enumerate(self.random.random((points, 2)).tolist()):
            mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=2)
            if number == 0:
                mouse.down()
        mouse.up()

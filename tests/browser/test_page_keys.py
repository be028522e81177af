"""Keys of an explorer: each does what the help says, and nothing without a pointer is out of reach."""

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

import workbench as wb
from columns import ImageColumn
from tests.browser.explorer_page import dots, halves
from tests.browser.test_page_painting import SIDE, agreed, screen

KEYS = Path(wb.__file__).parent / "widgets/front/src/keys.ts"


@pytest.fixture
def view(explore, log):
    view = explore(dots(30), halves(), log, traits={"focus": 3})
    expect(view.get("detail")).to_have_attribute("data-row", "3")
    return view


def pressed(view, name):
    return view.get(name).get_attribute("aria-pressed")


def test_each_command_of_the_table_does_something(view):
    """Every id in `keys.ts` is here, so that none stands in the help only."""
    value = lambda name: view.root.get_by_label(name).first.input_value()  # noqa: E731
    checked = lambda: view.layout["overlay"]  # noqa: E731
    stage = lambda: view.get("canvas").bounding_box()["width"]  # noqa: E731
    effects = {
        "next": ("j", lambda: view.focus),
        "previous": ("k", lambda: view.focus),
        "below": ("ArrowDown", lambda: view.focus),
        "above": ("ArrowUp", lambda: view.focus),
        "select": ("Space", lambda: view.selection.tolist()),
        "overlay": ("o", checked),
        "brush": ("b", lambda: pressed(view, "tool-brush")),
        "erase": ("e", lambda: pressed(view, "tool-erase")),
        "rectangle": ("r", lambda: pressed(view, "tool-rectangle")),
        "lasso": ("l", lambda: pressed(view, "tool-lasso")),
        "fill": ("f", lambda: pressed(view, "tool-fill")),
        "relevant": ("2", lambda: pressed(view, "role-relevant")),
        "irrelevant": ("1", lambda: pressed(view, "role-irrelevant")),
        "smaller": ("[", lambda: value("radius of the brush")),
        "larger": ("]", lambda: value("radius of the brush")),
        "zoom-out": ("-", stage),
        "zoom-in": ("+", stage),
        "zoom-reset": ("0", stage),
        "invert": ("i", lambda: screen(view).sum() > 0),
        "undo": ("z", lambda: screen(view).sum() > 0),
        "redo": ("Shift+z", lambda: screen(view).sum() > 0),
        "clear": ("c", lambda: screen(view).sum() > 0),
        "spread": ("a", lambda: len(view.sent("reach"))),
        "next-unmarked": ("n", lambda: view.focus),
        "previous-unmarked": ("p", lambda: view.focus),
        "table": ("t", lambda: view.layout["view"]),
        "gallery": ("g", lambda: view.layout["view"]),
        "map": ("m", lambda: view.layout["view"]),
        "help": ("?", lambda: view.get("help").count()),
        "close": ("Escape", lambda: view.get("help").count()),
        "open": ("Enter", lambda: view.page.evaluate("() => document.activeElement.dataset.testid")),
        "filter": ("/", lambda: view.page.evaluate("() => document.activeElement.dataset.testid")),
    }
    assert set(effects) == set(re.findall(r'\{ id: "([\w-]+)"', KEYS.read_text(encoding="utf-8")))
    view.get("app").focus()
    for name, (key, look) in effects.items():
        if name == "brush":
            view.press("e")
        if name == "zoom-reset":
            view.press("+", "+")
        if name == "open":
            view.get("view-gallery").click()
            view.get("gallery").focus()
        before = look()
        view.press(key)
        try:
            view.until(look, lambda now: now != before, within=5)  # noqa: B023
        except AssertionError:
            raise AssertionError(f"{name} ({key}) did nothing: {before!r}") from None


def test_help_tells_every_key_and_gives_the_focus_back(view):
    view.get("gallery").focus()
    view.press("?")
    words = re.findall(r'words: "([^"]+)"', KEYS.read_text(encoding="utf-8"))
    assert len(words) > 25
    for line in words:
        expect(view.get("help")).to_contain_text(line)
    # What is open above the rows has the keys: nothing beneath it changes.
    view.press("t", "c", "ArrowDown")
    assert view.layout["view"] == "gallery"
    assert view.focus == 3
    assert not view.sent("mark")
    view.get("help").get_by_role("button", name="close").click()
    expect(view.get("help")).to_have_count(0)
    expect(view.get("menu-help")).to_be_focused()
    view.get("menu-slices").click()
    view.get("slice-name").fill("one two")
    view.press("Escape")
    expect(view.get("popup-slices")).to_have_count(0)
    expect(view.get("menu-slices")).to_be_focused()


def test_rows_without_marks_are_gone_to(view):
    for row in (4, 5, 7):
        view.session.answer(
            {"id": 1, "do": "mark", "row": row, "irrelevant": {"height": 8, "width": 8, "counts": [0, 4, 60]}}
        )
    view.get("menu-slices").focus()
    for key, row in [("n", 6), ("n", 8), ("p", 6), ("p", 3), ("p", 2)]:
        view.press(key)
        view.until(lambda: view.focus, row)
    view.set("focus", 29)
    view.until(lambda: view.get("detail").get_attribute("data-row"), "29")
    view.press("n")
    expect(view.get("notice")).to_contain_text("Every row after this one has marks")


def test_a_picture_is_painted_on_by_keys_alone(explore, log):
    pictures = np.full((2, SIDE, SIDE), 30, np.uint8)
    pictures[:, :4, :4] = 220
    view = explore(wb.DataPanel({"image": ImageColumn(pictures)}, origin="squares"), None, log, traits={"focus": 0})
    stage = view.get("stage")
    stage.focus()
    expect(stage).to_have_attribute("aria-label", re.compile("arrow keys.*Space"))
    view.press("r", *["Shift+ArrowLeft"] * 9, *["Shift+ArrowUp"] * 9)
    expect(view.get("hand")).to_have_text("column 0, row 0")
    view.press("ArrowRight", "Space", "ArrowRight", "ArrowRight", "ArrowDown")
    expect(view.get("hand")).to_have_text("column 3, row 1, rectangle is down")
    assert not view.sent("mark")
    view.press("Space")
    view.until(lambda: len(view.sent("mark")), 1)
    marked = agreed(view)
    assert marked[0:2, 1:3].all()
    # Escape lets go of what was begun.
    view.press("b", "2", "ArrowDown", "ArrowDown", "Space", "ArrowRight", "Escape")
    np.testing.assert_array_equal(screen(view), marked)
    assert len(view.sent("mark")) == 1
    view.press("ArrowDown", "Space", "ArrowRight", "ArrowRight", "ArrowDown", "Enter")
    view.until(lambda: len(view.sent("mark")), 2)
    assert 2 in agreed(view)
    view.press("f", "1", *["Shift+ArrowLeft"] * 9, *["Shift+ArrowUp"] * 9, "Space")
    view.until(lambda: len(view.sent("mark")), 3)
    assert (agreed(view)[:4, :4] == 1).all()
    view.press("e", "Space", "Space")
    view.until(lambda: len(view.sent("mark")), 4)
    assert agreed(view)[0, 0] == 0
    assert view.focus == 0

"""Painting on a picture: what is on the screen is what is in the log, whatever the tool, and whoever else writes."""

import sqlite3

import numpy as np
import pytest
from playwright.sync_api import expect

import workbench as wb
from columns import ImageColumn

SIDE, SQUARE = 16, np.s_[0:4, 0:4]
READ = """canvas => {
  const {data, width, height} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const said = [];
  for (let at = 0; at < data.length; at += 4) said.push(data[at + 3] === 0 ? 0 : data[at + 2] > data[at + 1] ? 1 : 2);
  return [height, width, said];
}"""


@pytest.fixture
def view(explore, log):
    pictures = np.full((12, SIDE, SIDE), 30, np.uint8)
    pictures[:, *SQUARE] = 220
    view = explore(wb.DataPanel({"image": ImageColumn(pictures), "label": list("ab") * 6}, origin="squares"), None, log)
    view.log = log
    go(view, 0)
    return view


def go(view, row):
    view.set("focus", row)
    expect(view.get("detail")).to_have_attribute("data-row", str(row))


def screen(view):
    """What is painted: 1 where it must not matter, 2 where it should."""
    height, width, said = view.get("marks").evaluate(READ)
    return np.array(said).reshape(height, width)


def written(view, row=0):
    """The same as the log has it."""
    regions = view.session.marking.told(row)["regions"]
    found = np.zeros((SIDE, SIDE), int)
    for number, role in enumerate(("irrelevant", "relevant"), start=1):
        if regions[role] is not None:
            runs = regions[role]["counts"]
            values = np.repeat(np.arange(len(runs)) % 2, runs).reshape(SIDE, SIDE, order="F")
            assert not (found * values).any()
            found += number * values
    return found


def agreed(view, row=0):
    """Wait until it is saved, and give the marks on which the screen and the log agree."""
    expect(view.get("saved")).to_have_attribute("data-state", "saved")
    shown = screen(view)
    np.testing.assert_array_equal(shown, written(view, row))
    return shown


def paint(view, *places):
    canvas = view.get("canvas")
    view.drag(canvas, *places, scale=canvas.bounding_box()["width"] / SIDE)


def tool(view, name, role=None):
    view.get(f"tool-{name}").click()
    if role is not None:
        view.get(f"role-{role}").click()


def test_each_tool_writes_what_it_shows(view):
    tool(view, "rectangle")
    paint(view, (4.5, 4.5), (9.5, 7.5))
    marked = agreed(view)
    assert marked[4:8, 4:10].all()
    assert marked.sum() == 24
    tool(view, "brush", "relevant")
    paint(view, (2.5, 12.5), (12.5, 12.5))
    assert (agreed(view)[12, 3:12] == 2).all()
    # Nothing is both: the later role takes from the earlier one.
    paint(view, (6.5, 3.5), (6.5, 9.5))
    marked = agreed(view)
    assert marked[6, 6] == 2
    assert marked[5, 9] == 1
    tool(view, "erase")
    paint(view, (3.5, 12.5), (6.5, 12.5))
    assert agreed(view)[12, 4] == 0
    tool(view, "fill", "irrelevant")
    paint(view, (1.5, 1.5))
    assert (agreed(view)[SQUARE] == 1).all()
    tool(view, "lasso")
    paint(view, (10, 13), (15.9, 13), (15.9, 15.9), (10, 15.9), (10, 13.2))
    assert (agreed(view)[14, 11:15] == 1).all()
    view.get("invert").click()
    marked = agreed(view)
    assert (marked[SQUARE] == 0).all()
    assert (marked != 0).sum() > 100
    view.get("clear").click()
    assert not agreed(view).any()
    history = view.session.marking.told(0)["history"]
    assert {record["how"] for record in history} == {"painted"}
    assert {record["author"] for record in history} == {"ada"}


def test_undo_and_redo_go_through_every_state(view):
    tool(view, "rectangle")
    states = [np.zeros((SIDE, SIDE), int)]
    for at in (1, 5, 9):
        paint(view, (at + 0.5, 1.5), (at + 2.5, 3.5))
        states.append(agreed(view))
    for wanted in states[-2::-1]:
        view.get("undo").click()
        view.until(lambda: screen(view).tolist(), wanted.tolist())
        np.testing.assert_array_equal(written(view), wanted)
    for key, wanted in [
        ("Shift+z", states[1]),
        ("Shift+z", states[2]),
        ("z", states[1]),
        ("Control+Shift+z", states[2]),
    ]:
        view.press(key)
        view.until(lambda: screen(view).tolist(), wanted.tolist())
    agreed(view)
    # Undo goes to the row that it is about.
    go(view, 7)
    view.press("z")
    view.until(lambda: view.focus, 0)
    view.press("Shift+z", "Shift+z", "Shift+z", "Shift+z")
    expect(view.get("saved")).to_contain_text("no undo")
    expect(view.get("retry")).to_have_count(0)


def test_quick_strokes_and_rows_between_them_are_all_kept(view):
    tool(view, "rectangle")
    for at in range(0, 8, 2):
        paint(view, (at + 0.5, 0.5), (at + 0.6, 0.6))
    assert agreed(view).sum() == 4
    # An undo and a stroke at once: whichever comes first, both sides agree.
    for at in range(0, 8, 2):
        view.press("z")
        paint(view, (at + 0.5, 8.5), (at + 0.6, 8.6))
    view.page.wait_for_timeout(200)
    agreed(view)
    for row in (1, 2):
        view.press("j")
        view.until(lambda: view.focus, row)
        expect(view.get("detail")).to_have_attribute("data-row", str(row))
        paint(view, (row + 0.5, 2.5), (row + 0.6, 2.6))
        assert agreed(view, row).sum() == 1
    go(view, 1)
    view.until(lambda: screen(view).sum(), 1)
    assert agreed(view, 1)[2, 1] == 1
    expect(view.get("card-1").get_by_title("marked by hand")).to_be_visible()


def test_a_row_that_is_left_while_drawing_is_not_marked_on_another(view):
    tool(view, "rectangle")
    canvas, mouse = view.get("canvas"), view.page.mouse
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    mouse.move(box["x"] + 10, box["y"] + 10)
    mouse.down()
    mouse.move(box["x"] + 100, box["y"] + 100, steps=3)
    go(view, 5)
    mouse.move(box["x"] + 150, box["y"] + 150, steps=3)
    mouse.up()
    view.page.wait_for_timeout(100)
    assert not screen(view).any()
    assert not view.sent("mark")
    paint(view, (1.5, 1.5), (2.5, 2.5))
    assert agreed(view, 5).sum() == 4


def test_a_log_that_somebody_else_writes_to_is_told_and_tried_again(explore, tmp_path):
    path = tmp_path / "busy.db"
    log = wb.Feedback(path, author="ada", timeout=0.1)
    panel = wb.DataPanel({"image": ImageColumn(np.zeros((3, SIDE, SIDE), np.uint8))}, origin="squares")
    view = explore(panel, None, log)
    log.note("x", "the file is there")
    go(view, 0)
    tool(view, "rectangle")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    paint(view, (1.5, 1.5), (3.5, 3.5))
    saved = view.get("saved")
    expect(saved).to_have_attribute("data-state", "failed")
    expect(saved).to_contain_text("Somebody else has been writing")
    view.get("retry").click()
    expect(saved).to_have_attribute("data-state", "failed")
    # It stays on the screen, also when one goes away and comes back, and another row does not make it forgotten.
    view.press("j")
    expect(view.get("detail")).to_have_attribute("data-row", "1")
    paint(view, (8.5, 8.5), (9.5, 9.5))
    expect(saved).to_have_attribute("data-state", "failed")
    view.press("k")
    expect(view.get("detail")).to_have_attribute("data-row", "0")
    view.until(lambda: screen(view).sum(), 9)
    view.press("z")
    expect(saved).to_contain_text("Somebody else")
    assert not written(view).any()
    other.execute("COMMIT")
    other.close()
    view.get("retry").click()
    view.until(lambda: [r["kind"] for r in view.session.marking.told(1)["history"]], lambda kinds: "rationale" in kinds)
    expect(saved).to_have_attribute("data-state", "saved")
    # What was asked for last was the undo: it takes back the later of the two, once both are written.
    assert {int(written(view, row).sum()) for row in (0, 1)} == {9, 0}


def test_what_the_log_refuses_is_not_left_on_the_screen(view):
    view.session.marking.mark = lambda *args, **how: (_ for _ in ()).throw(wb.errors.FeedbackError("Not today."))
    tool(view, "rectangle")
    paint(view, (1.5, 1.5), (3.5, 3.5))
    expect(view.get("saved")).to_contain_text("Not today.")
    view.until(lambda: int(screen(view).sum()), 0)
    expect(view.get("retry")).to_have_count(0)


def test_a_view_without_a_log_is_looked_at_only(explore):
    view = explore(wb.DataPanel({"image": ImageColumn(np.zeros((3, SIDE, SIDE), np.uint8))}, origin="squares"))
    go(view, 0)
    expect(view.get("stage")).to_be_visible()
    expect(view.get("tool-brush")).to_have_count(0)
    paint(view, (1.5, 1.5), (3.5, 3.5))
    view.press("c", "i", "z")
    view.get("stage").focus()
    view.press("Space", "Space")
    assert not view.sent("mark")
    assert not view.sent("undo")
    assert not screen(view).any()

"""The map of an explorer: a line around points selects those in sight within it, wherever the map was moved."""

import numpy as np
import pytest
from playwright.sync_api import expect

import workbench as wb
from columns import EmbeddingColumn, ImageColumn

SIDE = 12


@pytest.fixture
def view(explore):
    """A square of 12 times 12 points, row by row from the bottom left."""
    at = np.linspace(-1, 1, SIDE, dtype=np.float32)
    places = np.stack(np.meshgrid(at, at), -1).reshape(-1, 2)
    columns = {
        "image": ImageColumn(np.zeros((SIDE * SIDE, 8, 8), np.uint8)),
        "place": EmbeddingColumn(places),
        "number": np.arange(SIDE * SIDE),
    }
    view = explore(wb.DataPanel(columns, origin="square"), view="map")
    expect(view.get("map")).not_to_have_attribute("data-drawn", "0")
    return view


def around(view, low, high, *held):
    """Draw around the columns and rows of the square from `low` to `high`; the square fills the height of the map."""
    box, mouse = view.get("map-canvas").bounding_box(), view.page.mouse
    step = box["height"] / (SIDE - 1)

    def to(column, row, **how):
        middle = box["x"] + box["width"] / 2
        mouse.move(middle + (column - (SIDE - 1) / 2) * step, box["y"] + box["height"] - row * step, **how)

    (left, bottom), (right, top) = (np.array(low) - 0.5, np.array(high) + 0.5)
    for key in held:
        view.page.keyboard.down(key)
    to(left, bottom)
    mouse.down()
    for column, row in ((right, bottom), (right, top), (left, top)):
        to(column, row, steps=4)
    mouse.up()
    for key in held:
        view.page.keyboard.up(key)


def block(low, high):
    return [row * SIDE + column for row in range(low[1], high[1] + 1) for column in range(low[0], high[0] + 1)]


def test_a_line_selects_what_is_within_it_and_adds_or_takes_away(view):
    view.get("lasso").click()
    around(view, (3, 4), (5, 5))
    view.until(lambda: view.selection.tolist(), block((3, 4), (5, 5)))
    expect(view.get("lasso")).to_have_attribute("aria-pressed", "false")
    around(view, (7, 7), (8, 7), "Shift", "Control")
    both = sorted(block((3, 4), (5, 5)) + block((7, 7), (8, 7)))
    view.until(lambda: view.selection.tolist(), both)
    around(view, (3, 4), (5, 4), "Shift", "Alt")
    view.until(lambda: view.selection.tolist(), [row for row in both if row not in block((3, 4), (5, 4))])
    around(view, (9, 9), (9, 9), "Shift")
    view.until(lambda: view.selection.tolist(), block((9, 9), (9, 9)))
    assert view.bare.traits["focus"] == block((9, 9), (9, 9))[0]


def test_only_points_in_sight_are_selected(view):
    view.get("filter").fill("number < 60")
    view.press("Enter")
    expect(view.get("count")).to_have_text("60 of 144")
    view.page.wait_for_timeout(200)  # the plot hides them after the count is told
    around(view, (2, 3), (4, 6), "Shift")
    view.until(lambda: view.selection.tolist(), [row for row in block((2, 3), (4, 6)) if row < 60])


def test_a_line_means_the_same_points_after_the_map_was_zoomed(view):
    box = view.get("map-canvas").bounding_box()
    view.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    view.page.mouse.wheel(0, 200)  # away: all points come nearer to the middle
    view.page.wait_for_timeout(300)
    around(view, (1, 1), (SIDE - 2, SIDE - 2), "Shift")
    view.until(lambda: len(view.selection), SIDE * SIDE)
    around(view, (4, 4), (7, 7), "Shift")
    middle = view.until(lambda: view.selection.tolist(), lambda rows: 16 < len(rows) < SIDE * SIDE)
    assert sum(middle) / len(middle) == pytest.approx((SIDE * SIDE - 1) / 2)


def test_a_click_chooses_the_point_under_it(view):
    box = view.get("map-canvas").bounding_box()
    step = box["height"] / (SIDE - 1)
    view.page.mouse.move(box["x"] + box["width"] / 2 + 0.5 * step, box["y"] + box["height"] / 2 - 0.5 * step, steps=3)
    view.page.mouse.down()
    view.page.mouse.up()
    view.until(lambda: view.selection.tolist(), [6 * SIDE + 6])


def test_keys_draw_a_line_and_move_the_map(view):
    press, box = view.page.keyboard.press, view.get("map-canvas").bounding_box()
    view.get("lasso").focus()
    press("Enter")
    assert view.get("map-canvas").evaluate("one => one.matches(':focus')")
    # Around the middle four points, which lie half a step away from where the keys begin.
    far = round(box["height"] / (SIDE - 1) / 10)
    for key, times in (("ArrowLeft", far), ("ArrowUp", far), (" ", 1), ("ArrowRight", 2 * far), (" ", 1),
                       ("ArrowDown", 2 * far), (" ", 1), ("ArrowLeft", 2 * far), (" ", 1), ("Enter", 1)):  # fmt: skip
        for _ in range(times):
            press(key)
    view.until(lambda: view.selection.tolist(), block((5, 5), (6, 6)))
    expect(view.get("lasso")).to_have_attribute("aria-pressed", "false")
    press("+")
    press("Shift+ArrowRight")
    view.page.wait_for_timeout(300)
    around(view, (4, 4), (7, 7), "Shift")
    moved = view.until(lambda: view.selection.tolist(), lambda rows: rows != block((5, 5), (6, 6)))
    assert np.mean(np.array(moved) % SIDE) > (SIDE - 1) / 2
    press("0")
    view.page.wait_for_timeout(1000)
    around(view, (4, 4), (7, 7), "Shift")
    view.until(lambda: view.selection.tolist(), block((4, 4), (7, 7)))
    view.get("lasso").focus()
    press("Enter")
    press(" ")
    expect(view.get("map-canvas").locator(".wb-lasso")).to_have_attribute("data-corners", "1")
    press("Escape")
    expect(view.get("lasso")).to_have_attribute("aria-pressed", "false")
    expect(view.get("map-canvas").locator(".wb-lasso")).to_have_count(0)

"""The gallery of an explorer: any number of rows, chosen by the mouse, by keys, and from Python."""

import pytest
from playwright.sync_api import expect

from tests.browser.explorer_page import dots

MANY = 100_000


@pytest.fixture(scope="module")
def many():
    return dots(MANY)


def test_the_last_of_many_rows_is_reached_by_the_bar_and_by_a_key(explore, many):
    view = explore(many)
    gallery = view.get("gallery")
    expect(view.get("card-0").locator("img")).to_be_visible()
    gallery.evaluate("box => { box.scrollTop = box.scrollHeight; }")
    last = view.get(f"card-{MANY - 1}")
    expect(last.locator("img")).to_be_visible()
    expect(last).to_have_attribute("data-row", str(MANY - 1))
    assert last.bounding_box()["y"] < gallery.bounding_box()["y"] + gallery.bounding_box()["height"]
    gallery.evaluate("box => { box.scrollTop = 0; }")
    expect(view.get("card-0")).to_be_visible()
    gallery.focus()
    view.press("End")
    view.until(lambda: view.focus, MANY - 1)
    expect(view.get(f"card-{MANY - 1}").locator("img")).to_be_visible()
    view.press("Home", "ArrowRight", "ArrowRight")
    view.until(lambda: view.focus, 2)
    # What was scrolled past was dropped, and what is kept is not everything.
    assert view.root.locator("[data-testid^=card-]").count() < 200
    assert view.page.evaluate("() => document.querySelectorAll('img').length") < 200


def test_rows_are_selected_by_click_with_ctrl_and_with_shift(explore, many):
    view = explore(many)
    view.get("card-1").click()
    view.until(lambda: view.selection.tolist(), [1])
    assert view.focus == 1
    view.get("card-3").click(modifiers=["Control"])
    view.until(lambda: view.selection.tolist(), [1, 3])
    view.get("card-3").click(modifiers=["Control"])
    view.get("card-5").click(modifiers=["Control"])
    view.until(lambda: view.selection.tolist(), [1, 5])
    view.get("card-4").click(modifiers=["Shift"])
    view.until(lambda: view.selection.tolist(), [1, 2, 3, 4, 5])
    expect(view.get("card-4")).to_have_attribute("aria-selected", "true")
    expect(view.get("selected")).to_have_text("5 selectednone")
    # The rows between need not have been loaded.
    view.get("gallery").evaluate("box => { box.scrollTop = box.scrollHeight / 2; }")
    far = view.root.locator("[data-row='50010']")
    far.wait_for()
    far.click(modifiers=["Shift"])
    view.until(lambda: view.selection.tolist(), list(range(1, 50_011)))
    view.press("Escape")
    view.until(lambda: len(view.selection), 0)


def test_arrow_keys_go_by_cells_and_lines_and_space_selects(explore, many):
    view = explore(many, traits={"focus": 0})
    view.get("gallery").focus()
    expect(view.get("card-0")).to_have_class(r"wb-card wb-focused")
    top = view.get("card-0").bounding_box()["y"]
    across = next(n for n in range(1, 40) if view.get(f"card-{n}").bounding_box()["y"] > top)
    for key, row in [
        ("ArrowRight", 1),
        ("ArrowDown", across + 1),
        ("ArrowLeft", across),
        ("ArrowUp", 0),
        ("j", 1),
        ("k", 0),
    ]:
        view.press(key)
        view.until(lambda: view.focus, row)
    view.press("Space", "ArrowRight", "ArrowRight", "Space")
    view.until(lambda: view.selection.tolist(), [0, 2])
    view.press("Shift+ArrowRight", "Shift+ArrowRight")
    view.until(lambda: view.selection.tolist(), [0, 2, 3, 4])
    # Faster than anybody answers: no press is lost.
    view.press(*["ArrowDown"] * 30)
    view.until(lambda: view.focus, 4 + 30 * across)
    view.press("Control+a")
    view.until(lambda: len(view.selection), MANY)


def test_focus_set_from_python_comes_into_sight_wherever_it_is(explore, many):
    view = explore(many)
    expect(view.get("card-0").locator("img")).to_be_visible()
    view.set("focus", 76_543)
    card = view.get("card-76543")
    expect(card).to_have_class("wb-card wb-focused")
    expect(card).to_be_in_viewport(ratio=1)
    expect(view.get("gallery")).to_have_attribute("aria-activedescendant", card.get_attribute("id"))
    expect(view.get("detail")).to_have_attribute("data-row", "76543")
    view.get("gallery").focus()
    view.press("ArrowRight")
    view.until(lambda: view.focus, 76_544)
    # In another order it stands elsewhere, and nothing jumps until somebody goes to it.
    view.set("view_layout", {**view.layout, "sort": {"by": "number", "ascending": True}})
    expect(view.root.locator("[data-testid^=card-][data-row='76544']")).to_have_count(0)
    view.set("focus", 76_543)
    expect(view.get(f"card-{MANY - 1 - 76_543}")).to_have_attribute("data-row", "76543")
    # One that the filter leaves out is open beside the rows, and moves none of them.
    view.set("filter", "number < 10")
    expect(view.get("count")).to_have_attribute("data-count", "10")
    view.set("focus", 5)
    expect(view.get("detail")).to_have_attribute("data-row", "5")
    expect(view.get("card-0")).to_have_attribute("data-row", str(MANY - 1))


def test_a_row_in_focus_is_in_sight_when_the_page_is_opened_and_in_every_view(explore, many):
    view = explore(many, traits={"focus": 54_321})
    expect(view.get("card-54321")).to_be_in_viewport(ratio=1)
    view.press("t")
    view.get("view-table").click()
    expect(view.get("line-54321")).to_be_in_viewport(ratio=1)
    view.get("view-gallery").click()
    expect(view.get("card-54321")).to_be_in_viewport(ratio=1)


def test_larger_tiles_leave_the_row_at_the_top_where_it_is(explore, many):
    view = explore(many)
    view.set("focus", 40_000)
    expect(view.get("card-40000")).to_be_in_viewport(ratio=1)
    for tile in (200, 64, 320, 96):
        view.set("view_layout", {**view.layout, "tile": tile})
        view.page.wait_for_timeout(50)
        cards = view.root.locator("[data-testid^=card-]")
        places = cards.evaluate_all("all => all.map(one => Number(one.dataset.testid.slice(5)))")
        assert min(places) - 50 <= 40_000 <= max(places) + 50, (tile, min(places), max(places))


def test_a_panel_without_pictures_or_texts_has_cards_of_captions(explore):
    import workbench as wb

    view = explore(wb.DataPanel({"age": [3, 1], "label": ["a", "b"]}, origin="plain"))
    expect(view.get("card-1")).to_contain_text("b")
    view.get("card-1").click()
    expect(view.get("detail")).to_contain_text("nothing to show")

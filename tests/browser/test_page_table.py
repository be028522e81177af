"""The table of an explorer: cells of every kind, sorted by their heads, of any width."""

import datetime

import numpy as np
import pytest
from playwright.sync_api import expect

import workbench as wb
from columns import ImageColumn, ScalarColumn
from tests.browser.explorer_page import SIDE, dots, halves


@pytest.fixture(scope="module")
def mixed():
    """Six rows with a column of each kind."""
    rows = 6
    scores = np.linspace(-2, 2, 2 * rows).reshape(rows, 2)
    scores[4] = np.inf
    values = {
        "image": ImageColumn(np.full((rows, SIDE, SIDE), 200, np.uint8)),
        "whole": [3, None, 1, 2**60, 0, -5],
        "real": [0.5, float("nan"), float("inf"), 1e-9, None, 123456.789],
        "truth": [True, False, None, True, False, True],
        "date": [datetime.date(2024, 2, 29), None, *[datetime.date(2020, 1, day) for day in (1, 2, 3, 4)]],
        "word": ["plain", "", None, "ünïcode 😀", "x" * 999, "שלום"],
        "class": ScalarColumn([0, 1, 0, 1, 0, 1], classes=("cat", "dog")),
        "scores": wb.PredictionColumn(scores, ["cat", "dog"], "logits"),
        "vector": wb.EmbeddingColumn(np.linspace(-1, 1, rows * 100).reshape(rows, 100)),
        "list": [[1, 2], [], None, [3], [4, 5, 6], [7]],
    }
    return wb.DataPanel(values, origin="mixed")


def cell(view, place, column):
    names = [one["name"] for one in view.session.about()["columns"]]
    return view.get(f"line-{place}").get_by_role("gridcell").nth(names.index(column))


def test_every_kind_of_cell_is_told(explore, mixed):
    view = explore(mixed, view="table")
    expect(cell(view, 0, "image").locator("img")).to_be_visible()
    told = {
        "whole": ["3", "–", "1", str(2**60), "0", "-5"],
        "real": ["0.5", "NaN", "∞", "1.00e-9", "–", "1.23e+5"],
        "truth": ["yes", "no", "–", "yes", "no", "yes"],
        "date": ["2024-02-29", "–", "2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"],
        "class": ["cat", "dog", "cat", "dog", "cat", "dog"],
    }
    for column, words in told.items():
        assert [cell(view, place, column).inner_text() for place in range(6)] == words, column
    assert [cell(view, place, "word").inner_text() for place in (0, 1, 2, 3, 5)] == [
        "plain",
        "",
        "–",
        "ünïcode 😀",
        "שלום",
    ]
    expect(cell(view, 4, "word")).to_contain_text("(999 characters)")
    expect(cell(view, 0, "scores")).to_contain_text("dog")
    assert cell(view, 4, "scores").inner_text()  # of infinite scores: no number, and no error
    expect(cell(view, 0, "vector").get_by_role("img")).to_have_attribute("aria-label", "100 numbers from -1 to 0")


def test_a_head_sorts_up_down_and_not(explore, mixed):
    view = explore(mixed, view="table")
    head = view.get("head-whole")
    order = lambda: view.root.locator("[data-testid^=line-]").evaluate_all(  # noqa: E731
        "all => all.map(one => Number(one.dataset.row))"
    )
    expect(view.get("line-5").get_by_role("gridcell").first).to_be_visible()
    for rows, arrow, state in [
        ([5, 4, 2, 0, 3, 1], "whole ↑", "ascending"),
        ([3, 0, 2, 4, 5, 1], "whole ↓", "descending"),
        ([0, 1, 2, 3, 4, 5], "whole", "none"),
    ]:
        head.click()
        view.until(order, rows)
        expect(head).to_have_text(arrow)
        expect(view.root.get_by_role("columnheader", name="whole")).to_have_attribute("aria-sort", state)
    view.get("view-gallery").click()
    view.get("sort").select_option("-whole")
    view.until(lambda: view.layout["sort"], {"by": "whole", "ascending": False})
    expect(view.get("card-0")).to_have_attribute("data-row", "3")


def test_a_column_is_made_wider_by_drag_and_by_keys(explore, mixed):
    view = explore(mixed, view="table")
    grip = view.root.get_by_role("slider", name="width of whole")
    width = lambda: cell(view, 0, "whole").bounding_box()["width"]  # noqa: E731
    expect(view.get("line-0")).to_be_visible()
    before = width()
    view.drag(grip, (3, 10), (43, 10), (63, 10))
    assert abs(width() - before - 60) <= 3
    now = width()
    grip.focus()
    view.press(*["ArrowLeft"] * 4)
    assert abs(width() - (now - 40)) <= 1
    expect(grip).to_have_attribute("aria-valuenow", str(round(now) - 40))
    view.press(*["ArrowLeft"] * 40)
    assert width() >= 40
    assert view.focus is None  # the keys were the grip's


def test_the_table_goes_by_keys_to_the_last_of_many_rows(explore):
    view = explore(dots(100_000), view="table")
    table = view.get("table")
    table.focus()
    view.press("End")
    last = view.get("line-99999")
    expect(last).to_have_class("wb-line wb-focused")
    below = table.bounding_box()
    assert last.bounding_box()["y"] + last.bounding_box()["height"] <= below["y"] + below["height"] + 1
    lines = view.root.locator("[data-testid^=line-]").count()
    view.press("PageUp")
    view.until(lambda: view.focus, lambda row: 99_999 - lines <= row < 99_999 - lines // 2)
    view.press("Home")
    first = view.get("line-0")
    expect(first).to_have_class("wb-line wb-focused")
    # The head does not cover it.
    head = view.root.locator(".wb-table-head").bounding_box()
    assert first.bounding_box()["y"] >= head["y"] + head["height"] - 1


def test_only_the_columns_of_the_layout_are_shown_and_lazy_ones_say_so(explore):
    view = explore(dots(20), halves(), view="table", columns=["number", "prediction"])
    expect(view.root.get_by_role("columnheader")).to_have_count(2)
    expect(view.get("line-0").get_by_role("gridcell").nth(1)).to_have_text("not computed")

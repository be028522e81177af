"""Facets and the filter line of an explorer: what they leave is what Python has, and what is wrong is said in words."""

import pytest
from playwright.sync_api import expect

import workbench as wb
from tests.browser.explorer_page import dots

ROWS = 200


@pytest.fixture
def view(explore):
    view = explore(dots(ROWS))
    expect(view.get("facet-number")).to_be_visible()
    return view


def brushes(view):
    return view.bare.traits["brushes"]


def count(view):
    return int(view.get("count").get_attribute("data-count"))


def test_bars_choose_values_and_cross_filter(view):
    view.get("bar-letter-b").click()
    view.until(lambda: brushes(view), {"letter": {"values": ["b"]}})
    expect(view.get("count")).to_have_text("40 of 200")
    view.get("bar-letter-d").click(modifiers=["Control"])
    view.until(lambda: brushes(view), {"letter": {"values": ["b", "d"]}})
    expect(view.get("count")).to_have_text("80 of 200")
    expect(view.get("bar-letter-d")).to_have_attribute("aria-pressed", "true")
    # Of the facet itself all that the others leave is counted.
    expect(view.get("bar-letter-a")).to_have_text("a40 of 40")
    view.get("filter").fill("number < 100")
    view.press("Enter")
    expect(view.get("bar-letter-a")).to_have_text("a20 of 40")
    expect(view.get("count")).to_have_text("40 of 200")
    view.get("bar-letter-b").focus()
    view.press("Space")
    view.until(lambda: brushes(view), {"letter": {"values": ["d"]}})
    view.get("unbrush-letter").click()
    view.until(lambda: brushes(view), {})
    expect(view.get("count")).to_have_text("100 of 200")
    view.get("clear-filter").click()
    expect(view.get("count")).to_have_text("200 rows")


def test_a_range_is_chosen_by_drag_and_moved_by_keys(view):
    histogram = view.get("histogram-number")
    box = histogram.bounding_box()
    view.drag(histogram, (box["width"] * 0.3, 10), (box["width"] * 0.4, 10), (box["width"] * 0.6, 10))
    chosen = view.until(lambda: brushes(view).get("number"), lambda range_: range_ is not None)
    inside = [n for n in range(ROWS) if chosen["low"] <= n < chosen["high"]]
    view.until(lambda: count(view), len(inside))
    assert 50 <= len(inside) <= 90
    # One word to the kernel for a bin, not for a pixel.
    start, end = view.get("edge-number-from"), view.get("edge-number-to")
    before = float(start.get_attribute("aria-valuenow"))
    start.focus()
    view.press("ArrowRight")
    view.until(lambda: float(start.get_attribute("aria-valuenow")), lambda low: low > before)
    end.focus()
    view.press(*["ArrowRight"] * 40)
    view.until(lambda: brushes(view)["number"]["high"], lambda high: high >= ROWS - 1)
    expect(view.get("count")).to_have_text(f"{ROWS - round(brushes(view)['number']['low'])} of 200")
    view.press(*["ArrowLeft"] * 40)
    low_high = view.until(lambda: brushes(view)["number"], lambda one: one["high"] - one["low"] < 20)
    assert low_high["low"] < low_high["high"]
    view.get("unbrush-number").click()
    expect(view.get("count")).to_have_text("200 rows")


def test_brushes_set_from_python_are_seen_and_go_on_by_keys(view):
    view.set("brushes", {"number": {"low": 13.5, "high": 1e9}, "letter": {"values": ["a"]}})
    expect(view.get("count")).to_have_text("38 of 200")
    expect(view.get("bar-letter-a")).to_have_attribute("aria-pressed", "true")
    expect(view.get("edge-number-from")).to_have_text("13.5")
    view.get("edge-number-to").focus()
    view.press("ArrowLeft")
    high = view.until(lambda: brushes(view)["number"]["high"], lambda high: high < 1e9)
    assert 180 <= high < 200
    view.set("brushes", {"letter": {"values": ["nobody"]}})
    expect(view.get("filter-error")).to_contain_text("has no bar 'nobody'")
    view.set("brushes", {})
    expect(view.get("filter-error")).to_have_text("")
    expect(view.get("count")).to_have_text("200 rows")


def test_a_drag_tells_the_kernel_of_bins_and_not_of_pixels(view):
    saved = []
    keep = view.bare.on_save
    view.bare.on_save = lambda name, value: (saved.append(name), keep(name, value))
    box = view.get("histogram-number").bounding_box()
    view.drag(view.get("histogram-number"), *[(box["width"] * n / 100, 10) for n in range(20, 60, 2)])
    view.until(lambda: brushes(view).get("number", {"low": 0, "high": 0})["high"], lambda high: high > 100)
    assert saved.count("brushes") <= 14


REFUSED = {
    "number <": "Cannot read the condition",
    "nmber < 3": "nmber",
    "number < 'a'": "cannot",
    "__import__('os').system('true')": "",
    "number.__class__": "",
    "1 / 0": "cannot be answered",
    "(" * 300: "Cannot read the condition",
    "x" * 5000: "at most 4000",
}


def test_a_filter_that_cannot_be_read_is_refused_in_words_and_the_rows_stay(view):
    view.set("filter", "number < 50")
    expect(view.get("count")).to_have_text("50 of 200")
    for text, words in REFUSED.items():
        view.get("filter").fill(text)
        view.press("Enter")
        view.until(lambda: view.bare.traits["filter"], text)
        expect(view.get("filter-error")).to_contain_text(words)
        expect(view.get("filter-error")).not_to_have_text("")
        expect(view.get("filter")).to_have_attribute("aria-invalid", "true")
    expect(view.get("count")).to_have_text("50 of 200")
    expect(view.get("card-0")).to_have_attribute("data-row", "150")


def test_the_filter_line_keeps_what_is_typed_and_its_keys(view):
    line = view.get("filter")
    view.get("gallery").focus()
    view.press("/")
    expect(line).to_be_focused()
    view.page.keyboard.type("letter in ['a'] ?gtm")
    assert line.input_value() == "letter in ['a'] ?gtm"
    assert view.layout["view"] == "gallery"
    expect(view.get("help")).to_have_count(0)
    view.press("Escape")
    assert line.input_value() == ""
    line.fill("letter in ['a']")
    view.press("Enter")
    expect(view.get("count")).to_have_text("40 of 200")
    view.set("filter", "letter == 'b'")
    expect(line).to_have_value("letter == 'b'")
    line.fill("number > 1000")
    view.press("Enter")
    expect(view.root).to_contain_text("No row is like this")


def test_dates_and_columns_without_numbers_have_words(explore):
    import datetime

    days = [datetime.date(2024, 1, 1 + n) for n in range(20)]
    view = explore(wb.DataPanel({"day": days, "none": [float("nan")] * 20, "team": ["red", None] * 10}, origin="days"))
    expect(view.get("edge-day-from")).to_contain_text("2024-01-01")
    view.get("edge-day-from").focus()
    view.press("ArrowRight")
    expect(view.get("edge-day-from")).to_contain_text("2024-01-0")
    view.until(lambda: count(view), lambda rows: 0 < rows < 20)
    expect(view.get("facet-none")).to_contain_text("no numbers")
    expect(view.get("facet-team")).to_contain_text("10 null")

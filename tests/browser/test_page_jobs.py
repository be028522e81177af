"""Work that an explorer starts: columns computed, stopped, slices kept, a relaunch that is refused in words or done."""

import threading

import pytest
from playwright.sync_api import expect

from columns import ScalarColumn
from tests.browser.explorer_page import dots, halves


def test_a_column_is_computed_with_progress_and_a_facet(explore):
    view = explore(dots(2000), halves())
    view.get("compute-prediction").click()
    expect(view.get("facet-prediction")).to_be_visible()
    expect(view.get("facet-prediction.confidence")).to_be_visible()
    expect(view.get("compute-prediction")).to_have_count(0)
    expect(view.get("card-0")).to_contain_text("left")
    view.get("view-table").click()
    expect(view.get("line-0")).to_contain_text("left")


def test_work_is_stopped_and_the_page_goes_on(explore):
    gate, begun = threading.Event(), threading.Event()

    def slow(number):
        begun.set()
        gate.wait(10)
        return number * 2

    panel = dots(3000)
    panel["twice"] = panel["number"].map(slow)
    view = explore(panel)
    view.get("compute-twice").click()
    view.until(begun.is_set, True)
    expect(view.get("jobs")).to_contain_text("computing twice")
    view.get("stop").click()
    gate.set()
    expect(view.get("jobs")).to_contain_text("Stopped")
    expect(view.get("compute-twice")).to_be_visible()
    view.get("card-2").click()
    view.until(lambda: view.focus, 2)


def test_what_cannot_be_computed_is_told_in_words(explore):
    def broken(number):
        raise ValueError(f"no {number} <b>today</b>")

    panel = dots(5)
    panel["broken"] = panel["number"].map(broken)
    view = explore(panel)
    view.get("compute-broken").click()
    expect(view.get("facet-broken").or_(view.get("jobs").filter(has_text="broken"))).to_be_visible()
    view.get("view-table").click()
    expect(view.get("line-0")).to_contain_text("no 4 <b>today</b>")


def test_slices_are_made_of_the_selection_and_of_the_filter_and_shown_again(explore):
    view = explore(dots(60))
    view.get("menu-slices").click()
    expect(view.get("popup-slices")).to_contain_text("No slice yet")
    expect(view.get("slice-selection")).to_be_disabled()
    view.get("slice-name").fill("nothing")
    expect(view.get("slice-filter")).to_be_disabled()
    view.press("Escape")
    view.get("card-1").click()
    view.get("card-4").click(modifiers=["Control"])
    view.get("filter").fill("number > 49")
    view.press("Enter")
    expect(view.get("count")).to_have_attribute("data-count", "10")
    view.get("menu-slices").click()
    view.get("slice-name").fill("two")
    view.get("slice-selection").click()
    expect(view.get("popup-slices").locator("tbody tr")).to_have_count(1)
    view.get("slice-name").fill("first ten")
    view.get("slice-filter").click()
    rows = view.get("popup-slices").locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(1)).to_contain_text("first ten10")
    # The same name again: words, and what there is stays.
    view.get("slice-name").fill("two")
    view.get("slice-filter").click()
    expect(view.get("notice")).to_contain_text("There is a slice 'two' already")
    view.get("dismiss").click()
    expect(view.get("app")).to_be_focused()  # the button is gone, the keys are not
    view.press("Escape")
    expect(view.get("popup-slices")).to_have_count(0)
    view.get("clear-filter").click()
    view.set("selection", b"")
    view.get("menu-slices").click()
    view.get("popup-slices").get_by_role("button", name="two", exact=True).click()
    view.until(lambda: view.selection.tolist(), [1, 4])
    view.get("popup-slices").get_by_role("button", name="first ten", exact=True).click()
    expect(view.get("count")).to_have_attribute("data-count", "10")
    view.get("popup-slices").get_by_role("button", name="forget two").click()
    expect(rows).to_have_count(1)


@pytest.fixture
def trained(explore, log):
    label = ScalarColumn([0, 1] * 20, classes=("left", "right"))
    panel = dots(40, split=["train"] * 30 + ["test"] * 10, label=label)
    return explore(panel, halves(), log, traits={"focus": 0})


def test_a_relaunch_without_marks_or_with_a_bad_length_says_so(trained):
    view = trained
    view.get("menu-runs").click()
    view.get("length").fill("20")
    view.get("train").click()
    said = view.get("jobs")
    expect(said).to_contain_text("needs at least one row with a mask")
    expect(view.get("curve")).to_have_count(0)
    for length, unit in [("0", "steps"), ("1.5", "steps"), ("1e9", "steps"), ("100", "minutes")]:
        view.get("unit").select_option(unit)
        view.get("length").fill(length)
        view.get("train").click()
        expect(view.get("notice")).to_contain_text(unit)
        view.get("dismiss").click()
    view.get("length").fill("")
    view.get("train").click()
    assert not [sent for sent in view.sent("train") if sent["steps"] == 0 and sent["minutes"] == 0]


def test_a_relaunch_shows_its_curve_and_is_kept(trained):
    view = trained
    view.get("tool-rectangle").click()
    view.drag(view.get("canvas"), (5, 5), (60, 60))
    expect(view.get("saved")).to_have_attribute("data-state", "saved")
    view.get("menu-runs").click()
    view.get("length").fill("6")
    view.get("train").click()
    expect(view.get("curve")).to_have_attribute("data-steps", "6", timeout=30_000)
    expect(view.get("outcome")).to_be_visible(timeout=30_000)
    expect(view.get("changes")).to_be_visible()
    before = view.session.model
    view.get("keep").click()
    expect(view.get("settled")).to_contain_text("Kept")
    assert view.session.model is not before
    expect(view.get("facet-prediction")).to_be_visible()

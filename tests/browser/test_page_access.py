"""Accessibility of an explorer: what axe-core finds in each view, and that Tab reaches whatever can be done."""

import pytest
from playwright.sync_api import expect

from tests.browser.explorer_page import dots, halves
from workbench.feedback import ImageRegion


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious_in_any_view(explore, log, axe, dark):
    panel = dots(40, split=["train"] * 30 + ["test"] * 10, label=["left", "right"] * 20)
    log.mark(panel.key[0], irrelevant=ImageRegion.box(0, 0, 2, 2, size=(8, 8)))
    view = explore(panel, halves(), log, traits={"focus": 0}, dark=dark, overlay=True)
    expect(view.get("detail")).to_have_attribute("data-row", "0")
    expect(view.get("facet-letter")).to_be_visible()
    view.get("compute-prediction").click()
    expect(view.get("facet-prediction")).to_be_visible()
    expect(view.get("card-0").locator("canvas")).to_be_visible()
    view.get("card-3").click()
    view.get("card-5").click(modifiers=["Control"])
    view.get("bar-letter-a").click()
    look = lambda: axe(view.page, "[data-bare]")  # noqa: E731
    found = {"gallery": look()}
    view.get("clear-filter").click()
    view.get("filter").fill("nothing <")
    view.press("Enter")
    expect(view.get("filter-error")).not_to_have_text("")
    view.get("view-table").click()
    expect(view.get("line-0")).to_be_visible()
    found["table, with an error"] = look()
    if not dark:  # software draws it: what surrounds the points is the same in both
        view.get("view-map").click()
        expect(view.get("map")).not_to_have_attribute("data-drawn", "0")
        view.get("colour").select_option("letter")
        found["map"] = look()
    view.get("view-gallery").click()
    view.get("menu-slices").click()
    view.get("slice-name").fill("two rows")
    view.get("slice-selection").click()
    expect(view.get("popup-slices")).to_contain_text("two rows")
    found["slices"] = look()
    view.get("menu-runs").click()
    expect(view.get("train")).to_be_visible()
    found["relaunch"] = look()
    view.get("menu-help").click()
    found["help"] = look()
    view.press("Escape")
    view.root.locator("summary", has_text="all columns").click()
    view.root.locator("summary", has_text="nearest rows").click()
    view.get("stage").focus()
    view.press("ArrowRight", "Space")
    found["painting"] = look()
    assert {where: what for where, what in found.items() if what} == {}


def test_axe_finds_nothing_serious_in_a_panel_of_texts(explore, log, axe):
    import workbench as wb
    from columns import TextColumn

    panel = wb.DataPanel({"text": TextColumn(["one \u202etwo", "three"]), "label": ["a", "b"]}, origin="texts")
    view = explore(panel, None, log, traits={"focus": 0})
    expect(view.get("text")).to_be_visible()
    assert axe(view.page, "[data-bare]") == []


def test_tab_reaches_whatever_can_be_pressed_and_goes_on(explore, log):
    view = explore(dots(30, label=["left", "right"] * 15), halves(), log, traits={"focus": 0})
    expect(view.get("detail")).to_have_attribute("data-row", "0")
    expect(view.get("facet-letter")).to_be_visible()
    for name in ("view-gallery", "view-table"):
        view.get(name).click()
        wanted = view.root.evaluate(
            """root => [...root.querySelectorAll("button, input, select, summary, [tabindex='0']")]
              .filter(one => !one.disabled && one.offsetParent !== null).map((one, at) => (one.dataset.walk = at))"""
        )
        view.page.evaluate("() => { document.activeElement.blur(); getSelection().removeAllRanges(); }")
        view.get("filter").focus()
        reached = set()
        for _ in range(2 * len(wanted)):
            at = view.page.evaluate("() => document.activeElement.dataset.walk")
            if at in reached:
                break
            reached.add(at)
            view.press("Tab")
        missing = [at for at in wanted if str(at) not in reached]
        words = [
            view.root.locator(f"[data-walk='{at}']").evaluate("one => one.outerHTML.slice(0, 120)") for at in missing
        ]
        assert len(wanted) > 30
        assert words == []


def test_two_views_of_one_page_share_no_ids(explore, log):
    view = explore(dots(10), None, log, traits={"focus": 0})
    view.bare.add_view()
    expect(view.page.get_by_test_id("card-3")).to_have_count(2)
    ids = view.page.evaluate("() => [...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids)) > 10

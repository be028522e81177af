"""What is saved stays, and a view finds it again: dead kernels, reloaded pages, other views and other notebooks."""

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.servers import wait_until
from workbench import Feedback

# Sixty pictures of noise, half of them with a bright corner that tells the class.
MAKE = """
import numpy as np, torch
import workbench as wb
from columns import ImageColumn, ScalarColumn
torch.set_num_threads(1)
torch.manual_seed(0)
pictures = np.random.default_rng(0).integers(0, 90, (60, 8, 8)).astype(np.uint8)
pictures[::4, :2, :2] = pictures[1::4, :2, :2] = 250
classes = ("dark", "bright")
labels = ScalarColumn(["bright", "bright", "dark", "dark"] * 15).as_category(classes)
rows = {"image": ImageColumn(pictures), "label": labels, "age": list(range(60)), "split": ["train", "test"] * 30}
panel = wb.DataPanel(rows, origin="noise")
model = wb.Classifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)), classes)
"""
LOG = 'log = wb.Feedback("NAME.db", author="ada")'
THREADS = ["workbench-quick", "workbench-long", "workbench-telling", "workbench-watching"]
VIEW = "view = wb.explore(panel, model, log)\nview"


def cells(name):
    return [MAKE, LOG.replace("NAME", name), VIEW]


def shown(opened):
    expect(opened.view.get_by_test_id("card-0").locator("img")).to_be_visible(timeout=60_000)
    return opened.view


def focus(view, place, row=None):
    view.get_by_test_id(f"card-{place}").click()
    expect(view.get_by_test_id("detail")).to_have_attribute("data-row", str(place if row is None else row))


def paint(opened, view, low, high):
    """Mark a rectangle of pixels; returns when it is said to be saved."""
    view.get_by_test_id("tool-rectangle").click()
    canvas = view.get_by_test_id("canvas")
    canvas.scroll_into_view_if_needed()
    box, mouse = canvas.bounding_box(), opened.page.mouse
    pixel = box["width"] / 8
    mouse.move(box["x"] + (low + 0.3) * pixel, box["y"] + (low + 0.3) * pixel)
    mouse.down()
    mouse.move(box["x"] + (high - 0.3) * pixel, box["y"] + (high - 0.3) * pixel, steps=3)
    mouse.up()
    expect(view.get_by_test_id("saved")).to_have_attribute("data-state", "saved")


def marks(path):
    """What was said last of each row: how many pixels."""
    return {record.key: record.region.size for record in Feedback(path, author="test").records(kind="rationale")}


def test_no_stroke_is_lost_when_the_kernel_is_killed_right_after_saved(notebook, lab, kernel_errors):
    opened = notebook(cells("killed"))
    view = shown(opened)
    for row, high in ((0, 2), (3, 4)):
        focus(view, row)
        paint(opened, view, 0, high)
    opened.kill()
    assert marks(lab.work / "killed.db") == {"noise/0": 4, "noise/3": 16}
    # The view that is left says that nobody answers, as soon as somebody asks.
    view.get_by_test_id("card-5").click()
    expect(view.get_by_test_id("gone")).to_contain_text("run the cell again", timeout=30_000)
    opened.wait()
    kernel_errors.forget()
    opened.run_all()
    view = shown(opened)
    focus(view, 3)
    assert marked(view).sum() == 16
    expect(view.get_by_test_id("card-0").locator(".wb-card-mark")).to_be_visible()


def marked(view):
    """Which pixels the stage shows as marked."""
    canvas = view.get_by_test_id("marks")
    alphas = canvas.evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, at) => at % 4 === 3)"
    )
    return np.array(alphas).reshape(8, 8) > 0


def test_a_page_that_is_reloaded_shows_everything_again(notebook):
    opened = notebook(cells("reloaded"))
    view = shown(opened)
    view.get_by_test_id("compute-prediction").click()
    expect(view.get_by_test_id("facet-prediction")).to_be_visible(timeout=30_000)
    view.get_by_test_id("filter").fill("age < 40")
    view.get_by_test_id("filter").press("Enter")
    view.get_by_test_id("bar-label-bright").click()
    expect(view.get_by_test_id("count")).to_have_text("20 of 60")
    view.get_by_test_id("menu-slices").click()
    view.get_by_test_id("slice-name").fill("bright ones")
    view.get_by_test_id("slice-filter").click()
    expect(view.get_by_test_id("popup-slices")).to_contain_text("bright ones")
    opened.page.keyboard.press("Escape")
    focus(view, 2, row=4)
    paint(opened, view, 0, 2)
    view.get_by_test_id("menu-runs").click()
    view.get_by_test_id("length").fill("6")
    view.get_by_test_id("train").click()
    expect(view.get_by_test_id("outcome")).to_be_visible(timeout=90_000)
    view.get_by_test_id("discard").click()
    expect(view.get_by_test_id("settled")).to_contain_text("Discarded")
    opened.page.keyboard.press("Escape")
    view.get_by_test_id("view-table").click()
    view.get_by_test_id("head-age").click()
    view.get_by_test_id("head-age").click()
    opened.until("view.layout['sort']", {"by": "age", "ascending": False})
    expect(view.get_by_test_id("line-0")).to_have_attribute("data-row", "37")
    opened.run("view.selection = [4, 8, 30]")
    expect(view.get_by_test_id("selected")).to_have_attribute("data-count", "3")

    opened.reload()
    view = opened.view
    # The row in focus is in sight, far down in this order.
    expect(view.locator("[data-row='4'][data-testid^=line-]")).to_be_visible(timeout=30_000)
    view.get_by_test_id("table").evaluate("box => { box.scrollTop = 0; }")
    expect(view.get_by_test_id("line-0")).to_have_attribute("data-row", "37", timeout=30_000)
    expect(view.get_by_test_id("count")).to_have_text("20 of 60")
    expect(view.get_by_test_id("filter")).to_have_value("age < 40")
    expect(view.get_by_test_id("bar-label-bright")).to_have_attribute("aria-pressed", "true")
    expect(view.get_by_test_id("selected")).to_have_attribute("data-count", "3")
    expect(view.get_by_test_id("detail")).to_have_attribute("data-row", "4")
    assert marked(view).sum() == 4
    expect(view.get_by_test_id("facet-prediction")).to_be_visible()
    view.get_by_test_id("menu-slices").click()
    expect(view.get_by_test_id("popup-slices")).to_contain_text("bright ones")
    view.get_by_test_id("menu-runs").click()
    expect(view.get_by_test_id("curve")).to_have_attribute("data-steps", "6")
    expect(view.get_by_test_id("outcome")).to_be_visible()
    expect(view.get_by_test_id("settled")).to_contain_text("Discarded")
    assert view.get_by_test_id("notice").count() == 0
    # And it is as good as new.
    opened.page.keyboard.press("Escape")
    view.get_by_test_id("clear-filter").click()
    opened.until("[view.filter, view.brushes]", ["", {}])
    expect(view.get_by_test_id("count")).to_have_text("60 rows")


@pytest.mark.long
def test_a_view_whose_kernel_was_restarted_says_so(notebook, kernel_errors):
    opened = notebook(cells("restarted"))
    view = shown(opened)
    focus(view, 1)
    opened.restart(run=False)
    expect(view.get_by_test_id("gone")).to_contain_text("run the cell again", timeout=30_000)
    view.get_by_test_id("tool-rectangle").click()
    canvas = view.get_by_test_id("canvas")
    canvas.click()
    expect(view.get_by_test_id("saved")).to_have_attribute("data-state", "failed")
    expect(view.get_by_test_id("saved")).to_contain_text("kernel")
    kernel_errors.forget()
    opened.run_all()
    expect(shown(opened).get_by_test_id("gone")).to_have_count(0)


@pytest.mark.long
def test_two_views_of_one_model_stay_in_step(notebook):
    opened = notebook([*cells("twice"), "view"])
    shown_views = opened.view.get_by_test_id("app")
    expect(shown_views).to_have_count(2, timeout=60_000)
    first, second = shown_views.nth(0), shown_views.nth(1)
    for view in (first, second):
        expect(view.get_by_test_id("card-0").locator("img")).to_be_visible(timeout=30_000)
    focus(first, 4)
    expect(second.get_by_test_id("detail")).to_have_attribute("data-row", "4")
    expect(second.get_by_test_id("card-4")).to_have_attribute("aria-selected", "true")
    paint(opened, first, 0, 3)
    wait_until(lambda: marked(second).sum(), lambda size: size == 9)
    expect(second.get_by_test_id("card-4").locator(".wb-card-mark")).to_be_visible()
    second.get_by_test_id("filter").fill("age < 10")
    second.get_by_test_id("filter").press("Enter")
    for view in (first, second):
        expect(view.get_by_test_id("count")).to_have_text("10 of 60")
        expect(view.get_by_test_id("card-9").locator("img")).to_be_visible()
        expect(view.get_by_test_id("filter")).to_have_value("age < 10")
    second.get_by_test_id("undo").click()
    wait_until(lambda: [marked(view).sum() for view in (first, second)], lambda sizes: sizes == [0, 0])


@pytest.mark.long
def test_a_stroke_in_one_notebook_shows_in_another(notebook, lab):
    one = notebook(cells("shared"))
    focus(shown(one), 2)
    other = notebook(cells("shared"))
    focus(shown(other), 2)
    paint(other, other.view, 0, 3)
    one.command("docmanager:open", path=one.name)
    wait_until(lambda: marked(one.view).sum(), lambda size: size == 9, within=10)
    expect(one.view.get_by_test_id("card-2").locator(".wb-card-mark")).to_be_visible()
    paint(one, one.view, 5, 8)
    other.command("docmanager:open", path=other.name)
    wait_until(lambda: marked(other.view).sum(), lambda size: size == 18, within=10)
    assert marks(lab.work / "shared.db") == {"noise/2": 18}


@pytest.mark.long
def test_a_view_may_be_shown_again_by_its_cell_and_closed_by_another(notebook):
    opened = notebook(cells("closed"))
    focus(shown(opened), 1)
    opened.run_all()
    focus(shown(opened), 3)
    opened.until("view.focus", 3)
    assert opened.view.get_by_test_id("app").count() == 1
    opened.run("view.close()")
    expect(opened.view.get_by_test_id("app")).to_have_count(0)
    assert opened.value("view._session.jobs.closed") is True
    opened.run("[one.close() for one in list(type(view).widgets.values())]")
    opened.until(f"sum(t.name in {THREADS} for t in __import__('threading').enumerate())", 0)

"""The whole loop in one cell of JupyterLab: look, narrow down, explain, paint, apply, relaunch, see what was fixed."""

from playwright.sync_api import expect

# A small net that falls for the swatch: as in the demo, with fewer pictures.
MAKE = """
import torch
torch.set_num_threads(1)
import workbench as wb
bench = wb.Workbench.open("bench", author="ada")
rows = wb.datasets.decoy_digits()
bench.panel = rows[rows["split"].isin(["train", "decoy_test"])]
start = wb.Classifier(wb.recipe("digits").build(seed=0), wb.datasets.DIGITS)
plain = bench.fit(start, "split == 'train'", name="plain", steps=300, progress=False)
view = wb.explore(bench, plain)
view
"""


def test_the_loop_is_closed_in_one_cell(notebook):
    opened = notebook([MAKE], within=180)
    view = opened.view
    app = view.get_by_test_id("app")
    expect(app).to_have_attribute("data-ready", "1", timeout=60_000)
    expect(view.get_by_test_id("count")).to_have_text("6,108 rows")
    expect(view.get_by_test_id("card-0").locator("img")).to_be_visible()

    # Look: nothing was predicted before somebody asked for it.
    assert opened.value("bool(view.panel['prediction'].is_computed())") is False
    view.get_by_test_id("compute-prediction").click()
    expect(view.get_by_test_id("facet-prediction")).to_be_visible(timeout=60_000)

    # Narrow down, by a line and by a facet.
    view.get_by_test_id("filter").fill("label != prediction")
    view.get_by_test_id("filter").press("Enter")
    expect(view.get_by_test_id("count")).to_contain_text("of 6,108")
    opened.until("view.filter", "label != prediction")
    wrong = int(view.get_by_test_id("count").get_attribute("data-count"))
    assert wrong == opened.value("len(view.shown)") > 50
    view.get_by_test_id("bar-split-decoy_test").click()
    opened.until("view.brushes", {"split": {"values": ["decoy_test"]}})
    view.get_by_test_id("clear-filter").click()
    expect(view.get_by_test_id("count")).to_have_text("6,108 rows")

    # Lasso on the map.
    view.get_by_test_id("view-map").click()
    drawn = view.get_by_test_id("map")
    expect(drawn).not_to_have_attribute("data-drawn", "0", timeout=60_000)
    view.get_by_test_id("lasso").click()
    box = view.get_by_test_id("map-canvas").bounding_box()
    corners = [(0.03, 0.15), (0.97, 0.15), (0.97, 0.95), (0.03, 0.95), (0.03, 0.16)]  # below the tools
    mouse = opened.page.mouse
    for number, (x, y) in enumerate(corners):
        mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
        if number == 0:
            mouse.down()
    mouse.up()
    expect(view.get_by_test_id("selected")).not_to_have_attribute("data-count", "0")
    selected = int(view.get_by_test_id("selected").get_attribute("data-count"))
    opened.until("len(view.selected)", selected)
    assert selected > 1000
    opened.run("view.selection = [0, 3]")
    expect(view.get_by_test_id("selected")).to_have_attribute("data-count", "2")

    # Explain, in groups; then paint on a typical picture of the largest.
    view.get_by_test_id("view-gallery").click()
    view.get_by_test_id("overlay").click()
    expect(view.get_by_test_id("card-0").locator("canvas")).to_be_visible(timeout=60_000)
    view.get_by_test_id("cluster").click()
    expect(view.get_by_test_id("facet-cluster")).to_be_visible(timeout=90_000)
    row = opened.value(
        "next(i for i, s in enumerate(view.panel['swatch'].to_list()[:200]) if s[0, 0] and not s[0, 27])"
    )
    opened.run(f"view.focus = {row}")
    detail = view.get_by_test_id("detail")
    expect(detail).to_have_attribute("data-row", str(row))
    view.get_by_test_id("tool-rectangle").click()
    canvas = view.get_by_test_id("canvas")
    canvas.scroll_into_view_if_needed()
    at = canvas.bounding_box()
    pixel = at["width"] / 28
    mouse.move(at["x"] + 0.4 * pixel, at["y"] + 0.4 * pixel)
    mouse.down()
    mouse.move(at["x"] + 3.6 * pixel, at["y"] + 3.6 * pixel, steps=4)
    mouse.up()
    expect(view.get_by_test_id("saved")).to_have_attribute("data-state", "saved")
    marked = opened.value("[(r.how, r.region.size, r.key) for r in bench.feedback.records(kind='rationale')]")
    assert marked == [["painted", 16, opened.value(f"view.panel.key[{row}]")]]

    # Say it of all that are alike.
    view.get_by_test_id("reach-way").select_option("cluster")
    view.get_by_test_id("reach").click()
    expect(view.get_by_test_id("preview")).to_be_visible(timeout=60_000)
    view.get_by_test_id("spread").click()
    opened.until("bench.feedback.counts().get('rationale', 0)", lambda count: count > 200, within=60)

    # Relaunch, watch, compare.
    view.get_by_test_id("menu-runs").click()
    view.get_by_test_id("length").fill("40")
    view.get_by_test_id("train").click()
    expect(view.get_by_test_id("curve")).to_be_visible(timeout=90_000)
    expect(view.get_by_test_id("outcome")).to_be_visible(timeout=180_000)
    assert int(view.get_by_test_id("curve").get_attribute("data-steps")) == 40
    expect(view.get_by_test_id("thumbs-fixed").locator("button").first).to_be_visible(timeout=60_000)
    fixed = int(view.get_by_test_id("show-fixed").inner_text().split()[0].replace(",", ""))
    view.get_by_test_id("select-changed").click()
    opened.until("len(view.selected)", fixed)
    assert opened.value("set(view.selected['split'].to_list()) == {'decoy_test'}") is True
    view.get_by_test_id("keep").click()
    expect(view.get_by_test_id("settled")).to_contain_text("Kept")
    opened.until("view.model is not plain.model", True)
    assert opened.value("len(bench.runs)") == 2
    assert opened.page.outside == []

"""The core path in marimo: look, narrow down, select, paint, apply, relaunch; the kernel reads what was done."""

from playwright.sync_api import expect

from tests.browser.servers import kernel_says

# Pictures of noise whose bright corner gives the class away in nine of ten; the last tenth has it in the wrong ones.
CELLS = [
    "import json, pathlib, threading\nimport marimo as mo",
    """
import numpy as np, torch
import workbench as wb
from columns import ImageColumn, ScalarColumn
torch.set_num_threads(1)
torch.manual_seed(0)
rng = np.random.default_rng(0)
bright = rng.random(200) < 0.5
corner = np.where(np.arange(200) < 180, bright, ~bright)
pictures = rng.integers(0, 90, (200, 8, 8)).astype(np.uint8)
pictures[bright, 4:7, 4:7] += 120
pictures[corner, :2, :2] = 250
classes = ("dark", "bright")
labels = ScalarColumn([classes[int(one)] for one in bright]).as_category(classes)
split = ["train"] * 180 + ["test"] * 20
rows = {"image": ImageColumn(pictures), "label": labels, "split": split, "age": list(range(200))}
bench = wb.Workbench.open("bench", author="ada")
bench.panel = wb.DataPanel(rows, origin="noise")
net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
plain = bench.fit(wb.Classifier(net, classes), "split == 'train'", name="plain", steps=60, progress=False)
view = wb.explore(bench, plain)
view
""",
    """
told = []
turn = threading.Lock()  # observers are called by more threads than one
def probe(change=None):
    with turn:
        write(change)
def write(change):
    told.append([change["name"] if change else "", len(view.selection)])
    log = bench.feedback
    said = {
        "selected": view.selected["age"].to_list(), "filter": view.filter, "focus": view.focus,
        "brushes": view.brushes, "view": view.layout["view"], "shown": len(view.shown), "told": told,
        "marks": [[r.key, r.how, r.region.size] for r in log.records(kind="rationale")][:6],
        "count": len(log.records(kind="rationale")), "runs": len(bench.runs), "kept": view.model is not plain.model,
    }
    pathlib.Path("probe.tmp").write_text(json.dumps(said))
    pathlib.Path("probe.tmp").replace("probe.json")
view.observe(probe, ["selection", "filter", "brushes", "focus", "layout", "about"])
probe()
""",
]


def test_the_loop_is_closed_in_marimo(marimo, page):
    marimo.open(page, CELLS, ready="[data-testid=card-0] img", within=120)
    view = page.get_by_test_id("app")

    def says(holds):
        return kernel_says(marimo.work / "probe.json", holds)

    says(lambda said: said["shown"] == 200)
    expect(view.get_by_test_id("count")).to_have_text("200 rows")

    # Narrow down and select; a selection that is told twice is heard once.
    view.get_by_test_id("filter").fill("age < 50")
    view.get_by_test_id("filter").press("Enter")
    expect(view.get_by_test_id("count")).to_have_text("50 of 200")
    view.get_by_test_id("menu-facets").click()  # a column of marimo is narrow: the facets are a menu there
    view.get_by_test_id("bar-label-bright").click()
    view.get_by_test_id("menu-facets").click()
    says(lambda said: said["brushes"] == {"label": {"values": ["bright"]}} and said["filter"] == "age < 50")
    view.get_by_test_id("clear-filter").click()
    expect(view.get_by_test_id("count")).to_have_text("200 rows")
    view.get_by_test_id("card-3").click()
    view.get_by_test_id("card-5").click(modifiers=["Control"])
    # What is selected is read, and may be there, before its being told has come to its turn.
    says(lambda said: said["selected"] == [3, 5] and ["selection", 2] in said["told"])

    # Explain, and paint on a row with the corner.
    view.get_by_test_id("overlay").click()
    expect(view.get_by_test_id("card-0").locator("canvas")).to_be_visible(timeout=30_000)
    detail = view.get_by_test_id("detail")
    expect(detail).to_have_attribute("data-row", "3")
    view.get_by_test_id("tool-rectangle").click()
    canvas = view.get_by_test_id("canvas")
    canvas.scroll_into_view_if_needed()
    at, mouse = canvas.bounding_box(), page.mouse
    pixel = at["width"] / 8
    mouse.move(at["x"] + 0.3 * pixel, at["y"] + 0.3 * pixel)
    mouse.down()
    mouse.move(at["x"] + 1.7 * pixel, at["y"] + 1.7 * pixel, steps=3)
    mouse.up()
    expect(view.get_by_test_id("saved")).to_have_attribute("data-state", "saved")

    # Say it of all, relaunch, see what was fixed, keep it.
    view.get_by_test_id("reach-way").select_option("all")
    view.get_by_test_id("reach").click()
    expect(view.get_by_test_id("preview")).to_be_visible(timeout=30_000)
    view.get_by_test_id("spread").click()
    expect(view.get_by_test_id("saved")).to_contain_text("saved to disk")
    view.get_by_test_id("menu-runs").click()
    view.get_by_test_id("length").fill("40")
    view.get_by_test_id("train").click()
    expect(view.get_by_test_id("outcome")).to_be_visible(timeout=90_000)
    expect(view.get_by_test_id("curve")).to_have_attribute("data-steps", "40")
    fixed = int(view.get_by_test_id("show-fixed").inner_text().split()[0])
    assert fixed > 0
    view.get_by_test_id("select-changed").click()
    said = says(lambda said: len(said["selected"]) == fixed)
    assert min(said["selected"]) >= 180
    view.get_by_test_id("keep").click()
    expect(view.get_by_test_id("settled")).to_contain_text("Kept")
    said = says(lambda said: said["kept"])
    heard = [size for name, size in said["told"] if name == "selection"]
    assert heard[:2] == [1, 2]
    assert len(heard) == 3
    assert said["marks"][0] == ["noise/3", "painted", 4]
    assert said["count"] == 200
    assert said["runs"] == 2
    assert page.outside == []

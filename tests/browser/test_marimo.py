"""What the other tests of marimo stand on."""

import pytest
from playwright.sync_api import expect

from tests.browser.servers import kernel_says

CELLS = [
    "import json, pathlib, threading, time\nimport marimo as mo\nfrom tests.browser.toy import Toy",
    "toy = Toy()\ntoy",
    """
def probe(change):
    pathlib.Path("probe.json").write_text(json.dumps({"count": toy.count, "data": list(toy.data)}))
def when_told():
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
    toy.tell_from_a_thread(1)
toy.observe(probe, "count")
threading.Thread(target=when_told, daemon=True).start()
""",
]


@pytest.mark.long  # the loop in marimo does as much, with the real view
def test_a_widget_and_its_kernel_hear_each_other_in_marimo(marimo, page):
    count = marimo.open(page, CELLS, ready="[data-testid=count]")
    count.click()
    kernel_says(marimo.work / "probe.json", lambda said: said == {"count": 1, "data": [0]})
    page.get_by_test_id("ask").click()
    expect(page.get_by_test_id("reply")).to_have_text("32640: 255,254,253 .. end")
    (marimo.work / "go").touch()
    expect(page.get_by_test_id("heard")).to_have_text("told-0 0 255;")
    expect(count).to_have_text("Count 100")
    assert page.outside == []

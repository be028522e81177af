"""Many random actions leave no error behind, no memory, and a page that shows what the log holds.

``make test`` does few, ``make soak`` ten thousand (``WORKBENCH_SOAK=1``).
"""

import logging
import os
import threading

import numpy as np
import psutil
import pytest
import torch
from playwright.sync_api import expect

import workbench as wb
from columns import ImageColumn, ScalarColumn, TextColumn
from tests.browser.random_actions import Hurry, LiveView

SOAK = bool(os.environ.get("WORKBENCH_SOAK"))
ACTIONS = 5000 if SOAK else 100  # of each kind
ROWS = 72
CLASSES = ("dark", "bright")

JS_GROWTH = 12e6  # bytes, after the collector has run, from the first third to the end
RSS_GROWTH = 100e6 if SOAK else 300e6  # what is imported when it is first needed is still new in a short run
NODES_GROWTH = 3000

# How many pixels, or characters, the page shows as marked.
PIXELS = """(() => {
  const canvas = document.querySelector("[data-testid=marks]");
  if (canvas === null)
    return [...document.querySelectorAll(".wb-ROLE [data-start]")]
      .reduce((count, { dataset }) => count + Number(dataset.end) - Number(dataset.start), 0);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let at = 0; at < data.length; at += 4) if (data[at + 3] > 0 && (data[at + 1] COMPARED data[at + 2])) count++;
  return count;
})()"""
SEEN = {
    role: PIXELS.replace("ROLE", role).replace("COMPARED", compared)  # one is blue, the other green
    for role, compared in (("irrelevant", "<"), ("relevant", ">"))
}

# Strokes that were spread may say both of one place. There one is drawn over the other.
OVER = {("image", "irrelevant"): "relevant", ("text", "relevant"): "irrelevant"}

pytestmark = pytest.mark.soak


@pytest.fixture
def errors(monkeypatch):
    """What is logged as an error, and what threads raise."""
    found = []

    class Handler(logging.Handler):
        def emit(self, record):
            found.append(self.format(record))

    handler = Handler(logging.ERROR)
    logging.getLogger().addHandler(handler)
    monkeypatch.setattr(threading, "excepthook", lambda raised: found.append(repr(raised.exc_value)))
    yield found
    logging.getLogger().removeHandler(handler)


def pictures(log):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 90, (ROWS, 12, 12)).astype(np.uint8)
    grey[::2, :3, :3] = 250
    labels = ScalarColumn(["bright", "dark"] * (ROWS // 2)).as_category(CLASSES)
    words = [None if row % 9 == 8 else "abc<b>"[row % 6] for row in range(ROWS)]
    columns = {"image": ImageColumn(grey), "label": labels, "age": list(range(ROWS)), "word": words}
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    return wb.DataPanel(columns, origin="noise"), wb.Classifier(net, CLASSES), log


def texts(log):
    rng = np.random.default_rng(1)
    words = np.array(["sure", "win", "<b>", "😀", "שלום", "click", "the", "\u202eback"])
    lines = [" ".join(words[rng.integers(0, len(words), 12)]) for _ in range(ROWS)]
    columns = {"text": TextColumn(lines), "label": ["ham", "spam"] * (ROWS // 2), "age": list(range(ROWS))}
    return wb.DataPanel(columns, origin="mail"), None, log


@pytest.mark.parametrize("kind", [pictures, texts])
def test_random_actions_leave_no_error_and_no_memory_and_lose_no_stroke(page, log, errors, kind):
    live = LiveView(page, *kind(log))
    hurry = Hurry(live, seed=7)
    live.view.focus = 0
    page.set_default_timeout(30_000)
    cdp = page.context.new_cdp_session(page)
    sizes = []
    for number in range(ACTIONS):
        hurry.act()
        if number % 50 == 0:
            live.bare.sent.clear()
            wrong = [*page.js_errors, *live.bare.errors, *errors]
            assert wrong == [], hurry.done
        if number in (ACTIONS // 3, ACTIONS - 1):
            live.settle()
            sizes.append(memory(cdp))
    assert page.js_errors == []
    assert live.bare.errors == []
    assert errors == []
    assert [line for line in page.console if line.startswith("error")] == []
    for name, most in (("js", JS_GROWTH), ("rss", RSS_GROWTH), ("nodes", NODES_GROWTH)):
        assert sizes[1][name] - sizes[0][name] < most, sizes
    shows_what_the_log_holds(live, log)
    assert live.bare.unmount() == 0
    live.view.close()


def memory(cdp):
    cdp.send("HeapProfiler.collectGarbage")
    return {
        "js": cdp.send("Runtime.getHeapUsage")["usedSize"],
        "nodes": cdp.send("Memory.getDOMCounters")["nodes"],
        "rss": psutil.Process().memory_info().rss,
    }


def shows_what_the_log_holds(live, log):
    """Every mark that was said to be saved is there, and what stands is what the page shows."""
    written = {record.id for record in log.records(standing=False)}
    assert set(live.saved) <= written
    assert len(written) >= ACTIONS / 100
    view = live.view
    standing = {role: log.regions(role=role, column=view.about["on"]) for role in SEEN}
    view.filter, view.brushes = "", {}
    view.layout = {"view": "gallery", "sort": None, "tile": 48, "overlay": False, "height": 900}
    live.page.set_viewport_size({"width": 1280, "height": 1000})
    expect(live.get("count")).to_have_attribute("data-count", str(ROWS))
    expect(live.get("selected")).to_have_attribute("data-count", str(len(view.selection)))
    keys = view.panel.key.to_list()
    for row in range(0, ROWS, 7):
        view.focus = row
        expect(live.get("detail")).to_have_attribute("data-row", str(row))
        live.settle()
        for role, how in SEEN.items():
            region = standing[role].get(keys[row])
            over = standing.get(OVER.get((view.about["on"], role), ""), {}).get(keys[row])
            size = 0 if region is None else region.size if over is None else (region - over).size
            assert live.page.evaluate(how) == size, (row, role)

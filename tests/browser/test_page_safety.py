"""What data says is text: no markup of it becomes part of the page, and nothing in it makes the page unusable."""

import time

import numpy as np
import pytest
import torch
from playwright.sync_api import expect

import workbench as wb
from columns import ImageColumn, ScalarColumn, TextColumn
from tests.browser.explorer_page import SIDE, halves

NASTY = [
    "<img src=x onerror=\"window.hit='img'\">",
    "<script>window.hit='script'</script>",
    "<a href=\"javascript:window.hit='link'\">press</a>",
    "javascript:window.hit='bare'",
    "\u202egnp.exe\u2066 <svg onload=window.hit='svg'>",
    "'\"><iframe srcdoc=\"<script>parent.hit='frame'</script>\">",
]
LONG = "<b>" + "x" * 10_000_000 + "</b>"
OURS = "[src^='data:image/png;base64,'], [src^='data:image/jpeg;base64,']"
BAD = f"img:not({OURS}), script:not(head *), a, iframe, svg[onload], b, [onerror], [onload], [href], [srcdoc]"


@pytest.fixture(scope="module")
def panel():
    rows = len(NASTY) * 2
    columns = {
        "image": ImageColumn(np.full((rows, SIDE, SIDE), 90, np.uint8)),
        "label": ScalarColumn(np.arange(rows) % len(NASTY), classes=NASTY),
        "long": [*NASTY, LONG, *NASTY[1:]],
        "object": [{NASTY[0]: [NASTY[1], n]} for n in range(rows)],
        "vector": wb.EmbeddingColumn(np.random.default_rng(0).normal(size=(rows, 4))),
        LONG: list(range(rows)),
    }
    columns |= {name: [f"{text} {n % 3}" for n in range(rows)] for name, text in zip(NASTY, NASTY, strict=True)}
    return wb.DataPanel(columns, origin="nasty")


def model():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(SIDE * SIDE, len(NASTY)))
    return wb.Classifier(net, NASTY)


def safe(view):
    """Nothing of the data has become an element, or has run."""
    assert view.page.evaluate("() => window.hit ?? null") is None
    assert view.root.locator(BAD).count() == 0
    assert view.page.outside == []
    shown = view.root.inner_text()
    assert not set(shown) & {chr(code) for code in (0x202A, 0x202B, 0x202C, 0x202D, 0x202E, 0x2066, 0x2067)}
    assert len(shown) < 60_000
    titles = view.root.locator("[title]").evaluate_all("all => Math.max(...all.map(one => one.title.length))")
    assert titles < 5000


def test_names_labels_classes_and_cells_are_text_in_every_view(explore, panel, log):
    begun = time.perf_counter()
    view = explore(panel, model(), log, traits={"focus": 0})
    expect(view.get("card-0")).to_contain_text("<img src=x")
    expect(view.get("detail")).to_have_attribute("data-row", "0")
    assert time.perf_counter() - begun < 5
    safe(view)
    view.session.panel["prediction"].compute()
    view.session.computed()
    view._renew()
    expect(view.get("facet-prediction")).to_be_visible()
    view.get(f"bar-label-{NASTY[0]}").click()
    expect(view.get("count")).to_contain_text("2 of 12")
    view.get("clear-filter").click()
    view.get("reach").click()
    expect(view.get("preview")).to_have_count(0)  # nothing is marked: words
    expect(view.get("notice")).to_be_visible()
    view.root.locator("summary", has_text="all columns").click()
    view.root.locator("summary", has_text="nearest rows").click()
    view.get("label").select_option(NASTY[1])
    expect(view.get("saved")).to_have_attribute("data-state", "saved")
    view.session.answer({"id": 1, "do": "note", "row": 0, "text": NASTY[4]})
    view.press("Escape")
    safe(view)
    begun = time.perf_counter()
    view.get("view-table").click()
    expect(view.get("line-0")).to_contain_text("<script>")
    safe(view)
    view.get("view-map").click()
    view.get("colour").select_option("label")
    expect(view.root.locator(".wb-legend-item").first).to_contain_text("<img src=x")
    safe(view)
    assert time.perf_counter() - begun < 8
    view.get("menu-slices").click()
    view.set("selection", np.arange(3, dtype="<u4").tobytes())
    view.get("slice-name").fill(NASTY[1][:100])
    view.get("slice-selection").click()
    expect(view.get("popup-slices")).to_contain_text("<script>")
    view.set("filter", NASTY[0])
    expect(view.get("filter-error")).to_contain_text("<img src=x")
    safe(view)


def test_texts_are_text_and_long_ones_leave_the_page_usable(explore, log):
    texts = [*NASTY, LONG, "\u202e" * 100_000, "a\u0301" * 150_000]
    panel = wb.DataPanel({"text": TextColumn(texts), "label": ["a"] * len(texts)}, origin="texts")
    view = explore(panel, None, log)
    expect(view.get("card-0")).to_contain_text("<img src=x")
    for row, words in enumerate([*NASTY[:4], r"\u202egnp.exe", NASTY[5], "<b>xxx", r"\u202e\u202e", "a\u0301"]):
        begun = time.perf_counter()
        view.set("focus", row)
        expect(view.get("detail")).to_have_attribute("data-row", str(row))
        expect(view.get("text")).to_contain_text(words)
        view.get("role-relevant").click()
        view.get("role-irrelevant").click()
        expect(view.get("cut")).to_have_count(int(row >= len(NASTY)))
        assert time.perf_counter() - begun < 6, row
        assert view.page.evaluate("() => window.hit ?? null") is None
        assert view.root.locator(BAD).count() == 0


def test_a_message_of_the_kernel_that_is_no_reply_harms_nothing(explore, panel):
    view = explore(panel, halves(), None)
    expect(view.get("card-0")).to_be_visible()
    for garbage in (
        {},
        {"id": 10**9, "ok": None},
        {"event": "nothing"},
        {"event": "toString"},
        {"id": "x", "error": "y"},
    ):
        view.bare.send(garbage)
    view.get("card-1").click()
    view.until(lambda: view.focus, 1)

"""The view in a real JupyterLab and a headless Chromium: what a person waits for at a million rows.

Times are taken in the page and, for a selection, in the kernel, whose clocks are one. Chromium draws in software here.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .figures import Figure, Scale, cell

__all__ = ["a_million_rows", "gallery_of_files", "strokes"]

# Runs a cell, and waits in the page for what is looked for: milliseconds, without the test's own way to the browser.
TIMED = """async ([work, look, limit]) => {
  const begin = performance.now();
  const settled = () => new Function("return (" + look + ")")();
  new Function(work)();
  while (!settled()) {
    if (performance.now() - begin > limit) throw new Error("not there after " + limit + " ms: " + look);
    await new Promise(requestAnimationFrame);
  }
  return performance.now() - begin;
}"""
RUN_CELL = """
  const panel = window.jupyterapp.shell.currentWidget;
  panel.content.activeCellIndex = %d;
  window.jupyterapp.commands.execute("notebook:run-cell");
"""
PICTURES = """[...document.querySelectorAll("[data-testid=gallery] img")].length > 12 &&
  [...document.querySelectorAll("[data-testid=gallery] img")].every(one => one.complete && one.naturalWidth > 0)"""
LOADED = """(() => {
  const box = document.querySelector("[data-testid=gallery]").getBoundingClientRect();
  const seen = [...document.querySelectorAll("[data-testid=gallery] .wb-card")].filter(card => {
    const { top, bottom } = card.getBoundingClientRect();
    return bottom > box.top && top < box.bottom;
  });
  return seen.length > 8 && seen.every(card => {
    const picture = card.querySelector("img");
    return picture && picture.complete && picture.naturalWidth > 0;
  });
})()"""
CLICK = 'document.querySelector("[data-testid=%s]").click()'

MILLION = """
import time, numpy as np, workbench as wb
random = np.random.default_rng(0)
rows = {rows}
panel = wb.DataPanel({{
    "image": wb.ImageColumn(random.integers(0, 255, (rows, 12, 12), np.uint8)),
    "label": wb.ScalarColumn(random.integers(0, 10, rows), classes=list("abcdefghij")),
    "age": random.normal(size=rows),
    "weight": random.exponential(size=rows),
    "site": random.integers(0, 6, rows),
    "place": wb.EmbeddingColumn(random.normal(size=(rows, 2)).astype(np.float32)),
}}, origin="bench")
"""
VIEW = """
view = wb.explore(panel)
heard = []
view.observe(lambda change: heard.append((time.time(), len(view.selected))), "selection")
view
"""
FILES = """
import workbench as wb
panel = wb.DataPanel.from_folder({folder!r})
"""
PAINT = """
import numpy as np, workbench as wb
panel = wb.DataPanel({"image": wb.ImageColumn(np.zeros((50, 28, 28), np.uint8))}, origin="bench")
view = wb.annotate(panel, wb.Feedback("feedback.db", author="bench"))
view
"""


@cell("front: a million rows")
def a_million_rows(scale: Scale) -> Iterable[Figure]:
    """First picture, facets, map and lasso; beside jupyter-scatter where it is installed."""
    rows = 5_000 if scale.name == "tiny" else 1_000_000
    words = f"{rows:,} rows"
    with _notebook([MILLION.format(rows=rows), VIEW]) as (opened, page):
        first = page.evaluate(TIMED, [RUN_CELL % 1, PICTURES, 60_000])
        yield Figure(f"first pictures after the cell runs, {words}", first / 1e3, "s", 1.5)
        ready = 'document.querySelectorAll("[data-testid^=facet-]").length >= 4'
        page.evaluate(TIMED, ["", ready, 60_000])
        crossed = [_crossed(page, label) for label in "abcdefgh"]
        yield Figure(
            f"a facet chosen, all others counted anew, {words}", _p95(crossed), "ms", 200.0, note="95th percentile of 8"
        )
        page.evaluate(TIMED, ['document.querySelector("[data-testid=clear-filter]").click()', ready, 20_000])
        drawn = page.evaluate(
            TIMED,
            [CLICK % "view-map", 'Number(document.querySelector("[data-testid=map]")?.dataset.drawn) > 0', 60_000],
        )
        yield Figure(f"map drawn after a click on it, {words}", drawn / 1e3, "s", 3.0)
        told, count = _lasso(opened, page)
        yield Figure(f"lasso of {count / rows:.0%} told in Python, {words}", told, "s", 1.0)
        yield Figure(f"heap of the page, {words}", _heap(page), "MB", 256.0)
    yield from _jupyter_scatter(rows)


@cell("front: gallery of files")
def gallery_of_files(scale: Scale) -> Iterable[Figure]:
    """Jumps of the scroll bar over pictures on disk, until each picture on the screen is there."""
    count = 200 if scale.name == "tiny" else 100_000
    with tempfile.TemporaryDirectory() as folder:
        _write_files(Path(folder), count)
        with _notebook([FILES.format(folder=folder), "view = wb.explore(panel)\nview"]) as (_, page):
            page.evaluate(TIMED, [RUN_CELL % 1, PICTURES, 120_000])
            random = np.random.default_rng(0)
            jump = """const box = document.querySelector("[data-testid=gallery]");
              box.scrollTop = %f * (box.scrollHeight - box.clientHeight);"""
            waits = [
                page.evaluate(TIMED, [jump % share, LOADED, 30_000])
                for share in random.random(10 if count < 1000 else 40)
            ]
            yield Figure(
                f"a page of the gallery after a jump, {count:,} JPEG files of 128 pixels", _p95(waits), "ms", 150.0,
                note=f"95th percentile of {len(waits)}; median {statistics.median(waits):.0f} ms",
            )  # fmt: skip


@cell("front: strokes")
def strokes(scale: Scale) -> Iterable[Figure]:
    """From the end of a stroke to "saved to disk" on the page."""
    with _notebook([PAINT]) as (_, page):
        page.evaluate(TIMED, [RUN_CELL % 0, 'document.querySelector("[data-testid=canvas]") !== null', 60_000])
        canvas = page.get_by_test_id("canvas")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        waits = []
        for number in range(5 if scale.name == "tiny" else 60):
            x, y = box["x"] + 20 + 3 * number, box["y"] + 20 + 3 * (number % 60)
            page.mouse.move(x, y)
            page.mouse.down()
            page.mouse.move(x + 30, y + 12, steps=3)
            page.evaluate("""() => { window.stroke = new Promise(done => {
              addEventListener("pointerup", () => { const begin = performance.now();
                const look = () => document.querySelector("[data-testid=saved]").dataset.state === "saved"
                  ? done(performance.now() - begin) : requestAnimationFrame(look);
                requestAnimationFrame(() => requestAnimationFrame(look)); }, { once: true, capture: true }); }); }""")
            page.mouse.up()
            waits.append(page.evaluate("() => window.stroke"))
        yield Figure(
            "a stroke, from its end to “saved to disk”", _p95(waits), "ms", 100.0,
            note=f"95th percentile of {len(waits)}; median {statistics.median(waits):.0f} ms",
        )  # fmt: skip


def _crossed(page: Any, label: str) -> float:
    """Choose a bar, and wait until the other facets show the counts of these rows."""
    seen = 'document.querySelector("[data-testid=facet-age]").innerHTML'
    page.evaluate(f"() => {{ window.before = {seen} }}")
    work = f'document.querySelector("[data-testid=bar-label-{label}]").click()'
    return float(page.evaluate(TIMED, [work, f"{seen} !== window.before", 20_000]))


def _lasso(opened: Any, page: Any) -> tuple[float, int]:
    """Draw around about half of the points; return the seconds until Python's observer has heard, and how many rows."""
    page.get_by_test_id("lasso").click()
    box = page.get_by_test_id("map-canvas").bounding_box()
    corners = [(0.01, 0.01), (0.5, 0.01), (0.5, 0.99), (0.01, 0.99), (0.01, 0.03)]
    for number, (x, y) in enumerate(corners):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=12)
        if number == 0:
            page.mouse.down()
    page.evaluate(
        "() => addEventListener('pointerup', () => { window.ended = Date.now() / 1000 }, { once: true, capture: true })"
    )
    page.evaluate(
        "() => addEventListener('mouseup', () => { window.ended ??= Date.now() / 1000 }, { once: true, capture: true })"
    )
    page.mouse.up()
    heard, count = opened.until("heard[-1] if heard else None", lambda found: found is not None, within=60)
    return heard - page.evaluate("() => window.ended"), count


def _jupyter_scatter(rows: int) -> Iterator[Figure]:
    """The same map by jupyter-scatter, in the same run."""
    if find_spec("jscatter") is None:
        yield Figure("jupyter-scatter is not here: pip install -c constraints.txt -e '.[bench]'", 0.0, "s", None)
        return
    make = f"import numpy as np, jscatter\nx, y = np.random.default_rng(0).normal(size=(2, {rows}))"
    show = "plot = jscatter.Scatter(x=x, y=y)\nplot.show()"
    with _notebook([make, show]) as (_, page):
        drawn = page.evaluate(TIMED, [RUN_CELL % 1, 'document.querySelector(".jp-OutputArea canvas") !== null', 60_000])
        yield Figure(f"jupyter-scatter: its canvas after the cell runs, {rows:,} points", drawn / 1e3, "s", None)


@contextmanager
def _notebook(cells: list[str]) -> Iterator[tuple[Any, Any]]:
    """A notebook in JupyterLab, its first cells run, the last one left for the page to run."""
    from playwright.sync_api import sync_playwright

    from tests.browser import chromium
    from tests.browser.lab import start_lab

    with tempfile.TemporaryDirectory() as root, start_lab(Path(root)) as lab, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium.find(), headless=True, chromium_sandbox=False,
            args=[*chromium.FLAGS, "--enable-precise-memory-info"],
        )  # fmt: skip
        page = chromium.watch(browser.new_page(viewport={"width": 1400, "height": 1000}))
        opened = lab.open(page, cells, run=False, within=180)
        for number in range(len(cells) - 1):
            page.evaluate(TIMED, [RUN_CELL % number, "true", 1000])
            opened.wait(within=300)
            opened.value("1")
        yield opened, page
        browser.close()


def _heap(page: Any) -> float:
    """Megabytes of the page's JavaScript heap, after its garbage is collected."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    usage = session.send("Runtime.getHeapUsage")
    return float(usage["usedSize"] + usage.get("backingStorageSize", 0)) / 1e6


def _write_files(folder: Path, count: int) -> None:
    """Write JPEG files by class; a hundred different ones, each many times."""
    random = np.random.default_rng(0)
    encoded = []
    for number in range(100):
        path = folder / f"{number}.jpg"
        noise = random.integers(0, 255, (16, 16, 3), np.uint8)
        Image.fromarray(noise).resize((128, 128), Image.Resampling.BICUBIC).save(path, quality=85)
        encoded.append(path.read_bytes())
        path.unlink()
    for number in range(count):
        place = folder / f"class-{number % 10}"
        place.mkdir(exist_ok=True)
        (place / f"{number:06d}.jpg").write_bytes(encoded[number % 100])


def _p95(values: list[float]) -> float:
    return float(np.percentile(values, 95))

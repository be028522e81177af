"""``python -m benchmarks.pictures``: pictures of each part of the front end, light and dark, for README.md and the eye.

The bundle is mounted on a blank page of a headless Chromium, with a real session behind it: decoy digits, and a net
that falls for the swatch.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import workbench as wb
from workbench.widgets.explorer import LAYOUT
from workbench.widgets.session import Session

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "workbench" / "widgets" / "static"
THEMES = ("light", "dark")
# marimo's class is the plainest way to say "dark" on a page that is no notebook.
THEME = """([theme, height]) => {
  document.body.className = theme === "dark" ? "dark" : "";
  document.body.style.cssText = `margin: 0; background: ${theme === "dark" ? "#0d1117" : "#ffffff"}`;
  for (const app of document.querySelectorAll(".wb-app")) app.style.setProperty("--wb-height", `${height}px`);
}"""
FLAT = 128  # colours that are kept exactly
WAIT = 240_000  # milliseconds, at most: a fine-tune on a busy machine


class Screen:
    """One view on a page, with what its parts are called.

    Attributes
    ----------
    page : playwright Page
    """

    def __init__(self, page: Any, panel: wb.DataPanel, model: wb.Classifier, log: wb.Feedback) -> None:
        from tests.browser.bare import BarePage

        self.page = page
        self._bare = BarePage(page)
        self._session = Session(panel, model, log, tell=self._bare.send)
        self._session.selection = lambda: np.frombuffer(self._bare.traits["selection"], "<u4")
        self._session.changed = self._renew
        self._bare.on_save = self._saved
        layout = {**LAYOUT, "method": "input_gradient", "height": 680}
        traits = {"filter": "", "brushes": {}, "selection": b"", "focus": None, "view_layout": layout, "slices": []}
        bundle = (STATIC / "explore.js", STATIC / "explore.css")
        self._bare.mount(*bundle, {**traits, "about": self._session.about()}, self._answer)

    def part(self, name: str) -> Any:
        """Return a part by its test id."""
        return self.page.get_by_test_id(name)

    def press(self, name: str) -> None:
        """Click on a part."""
        self.part(name).click()

    def open(self, row: int) -> None:
        """Bring a row into focus."""
        self._bare.set("focus", row)
        self.page.wait_for_selector(f"[data-testid=detail][data-row='{row}']")

    def layout(self, **changes: Any) -> None:
        """Change the layout, as Python does."""
        self._bare.set("view_layout", {**self._bare.traits["view_layout"], **changes})
        self._saved("view_layout", None)

    def rest(self, milliseconds: int = 500) -> None:
        """Let the page come to rest: no map is missing, no job runs."""
        self.page.wait_for_timeout(milliseconds)
        self.page.wait_for_function(
            "() => !document.querySelector('.wb-waiting, .wb-waiting-box, .wb-gallery-progress, .wb-job')", timeout=WAIT
        )
        self.page.wait_for_timeout(milliseconds)

    def filter(self, condition: str) -> None:
        """Write into the filter line."""
        self.part("filter").fill(condition)
        self.page.keyboard.press("Enter")
        self.rest()

    def drag(self, name: str, corners: Sequence[tuple[float, float]]) -> None:
        """Draw a line over a part; corners are shares of its width and height."""
        self.part(name).scroll_into_view_if_needed()
        box, mouse = self.part(name).bounding_box(), self.page.mouse
        for number, (x, y) in enumerate(corners):
            mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
            if number == 0:
                mouse.down()
        mouse.up()

    def _answer(self, message: Any, buffers: Sequence[Any]) -> Any:
        reply, parts = self._session.answer(message, buffers)
        self._session.audience.look_at_log(reply)  # as `Explorer` does: what the page wrote is no news to it
        return reply, parts

    def _renew(self) -> None:
        self._bare.set("about", self._session.about())
        self._bare.set("slices", self._session.slices.listed())

    def _saved(self, name: str, _value: Any) -> None:
        if name in ("filter", "brushes", "view_layout"):
            traits = self._bare.traits
            self._session.narrow(traits["filter"], traits["brushes"], traits["view_layout"]["sort"])


# Each scene goes on from the one before: what was computed, painted and trained stays.


def gallery(screen: Screen) -> None:
    screen.press("compute-prediction")
    screen.part("facet-prediction").wait_for(timeout=WAIT)
    screen.press("overlay")
    screen.filter("split == 'decoy_test' and label != prediction")
    screen.part("card-0").click()
    screen.rest()


def table(screen: Screen) -> None:
    screen.press("view-table")
    screen.layout(
        overlay=True,
        sort={"by": "prediction", "ascending": True},
        columns=["image", "label", "prediction", "embedding"],
    )
    screen.rest()


def map_(screen: Screen) -> None:
    screen.press("clear-filter")
    screen.press("view-map")
    screen.page.wait_for_function("() => Number(document.querySelector('[data-testid=map]').dataset.drawn) > 0")
    screen.part("colour").select_option("label")
    screen.rest(1500)
    screen.press("lasso")
    middle, radius = (0.5, 0.3), (0.12, 0.16)
    turn = np.linspace(0, 2 * np.pi, 24)
    screen.drag(
        "map-canvas",
        [(middle[0] + radius[0] * float(np.cos(t)), middle[1] + radius[1] * float(np.sin(t))) for t in turn],
    )
    screen.page.mouse.move(5, 5)
    screen.rest()


def painting(screen: Screen) -> None:
    screen.page.get_by_title("select nothing (Escape)").click()
    screen.press("view-gallery")
    screen.layout(sort=None)
    screen.press("bar-split-train")
    screen.rest()
    screen.page.evaluate("() => { document.querySelector('.wb-gallery').scrollTop = 0; }")
    screen.rest()
    screen.part("card-0").click()
    screen.rest()
    swatch = _swatch(screen)
    screen.drag("canvas", swatch)
    screen.page.wait_for_selector("[data-testid=saved][data-state=saved]")
    screen.press("reach")
    screen.part("preview").wait_for(timeout=WAIT)
    screen.rest()


def slices(screen: Screen) -> None:
    screen.press("spread")
    screen.part("preview").wait_for(state="hidden", timeout=WAIT)
    screen.press("clear-filter")
    for name, condition in {
        "the swatch lies": "split == 'decoy_test'",
        "lies, and is believed": "split == 'decoy_test' and label != prediction",
        "unsure": "prediction.confidence < 0.6",
    }.items():
        screen.filter(condition)
        if not screen.part("popup-slices").is_visible():
            screen.press("menu-slices")
        screen.part("slice-name").fill(name)
        screen.press("slice-filter")
        screen.rest()


def relaunch(screen: Screen) -> None:
    screen.filter("split == 'decoy_test'")
    screen.press("menu-runs")
    screen.press("train")
    screen.part("outcome").wait_for(timeout=WAIT)
    screen.part("thumbs-fixed").locator("button").first.wait_for(timeout=WAIT)
    screen.rest(1500)


SCENES: dict[str, Callable[[Screen], None]] = {
    "gallery": gallery,
    "table": table,
    "map": map_,
    "painting": painting,
    "slices": slices,
    "relaunch": relaunch,
}


def _swatch(screen: Screen) -> list[tuple[float, float]]:
    """Return a stroke over the swatch of the row in focus, in shares of the picture."""
    row = int(screen.part("detail").get_attribute("data-row"))
    mask = screen._session.panel["swatch"][row].numpy()
    (top, bottom), (left, right) = [(int(np.flatnonzero(side)[0]), int(np.flatnonzero(side)[-1]) + 1)
                                    for side in (mask.any(1), mask.any(0))]  # fmt: skip
    size = mask.shape[0]
    lines = [(left, top + 1), (right, top + 1), (right, bottom - 1), (left, bottom - 1)]
    return [(x / size, y / size) for x, y in lines]


def fooled(path: Path | None = None) -> tuple[wb.DataPanel, wb.Classifier]:
    """Return decoy digits, and a net that falls for the swatch; a net kept at `path` is not trained again."""
    panel = wb.datasets.decoy_digits()
    if path is not None and path.exists():
        return panel, wb.Classifier.open(path)
    start = wb.Classifier(wb.recipe("digits").build(seed=0), wb.datasets.DIGITS)
    model = wb.fit(start, panel.where("split == 'train'"), progress=False).model
    if path is not None:
        model.save(path)
    return panel, model


def shots(screen: Screen, scenes: Sequence[str], height: int) -> Iterator[tuple[str, bytes]]:
    """Go through the scenes, and give the pictures of those asked for, by name."""
    last = max(list(SCENES).index(name) for name in scenes)
    for name, play in list(SCENES.items())[: last + 1]:
        play(screen)
        if name not in scenes:
            continue
        for theme in THEMES:
            screen.page.evaluate(THEME, [theme, height])
            screen.rest(300)
            yield f"{name}-{theme}", screen.page.screenshot()
        screen.page.evaluate(THEME, ["light", height])


def write_png(data: bytes, path: Path) -> int:
    """Write a picture with a palette, which makes it half as large, and return its size in bytes.

    The colours that it has most of stay as they are: those of text, lines, bars and the keys of a legend.
    """
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    pixels = np.asarray(picture).reshape(-1, 3)
    colours, places, counts = np.unique(pixels, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(-counts)
    flat, rest = colours[order[:FLAT]], colours[order[FLAT:]]
    if len(rest):
        mixed = Image.fromarray(rest[None]).quantize(256 - FLAT, kmeans=1).getpalette() or []
        palette = np.vstack([flat, np.reshape(mixed, (-1, 3))]).astype(np.int64)
        nearest = ((colours[:, None].astype(np.int64) - palette) ** 2).sum(axis=2).argmin(axis=1)
        picture = Image.fromarray(nearest[places].reshape(picture.height, picture.width).astype(np.uint8), "P")
        picture.putpalette(palette.astype(np.uint8).tobytes())
    picture.save(path, optimize=True)
    return path.stat().st_size


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the pictures that are asked for, by default all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__.splitlines()[0])
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"some of {', '.join(SCENES)}; all by default")
    parser.add_argument("--into", type=Path, default=ROOT / "notebooks" / "pictures", help="directory of the pictures")
    parser.add_argument("--width", type=int, default=1200, help="of the view, in pixels")
    parser.add_argument("--height", type=int, default=680)
    parser.add_argument("--model", type=Path, help="keep the fooled net here, and take it from here the next time")
    chosen = parser.parse_args(arguments)
    scenes = chosen.scenes or list(SCENES)
    if unknown := sorted(set(scenes) - set(SCENES)):
        parser.error(f"scenes are {', '.join(SCENES)}; got {unknown[0]!r}")

    from playwright.sync_api import sync_playwright

    from tests.browser import chromium

    if chromium.find() is None:
        print(chromium.MISSING, file=sys.stderr)
        return 1
    panel, model = fooled(chosen.model)
    chosen.into.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = chromium.launch(playwright)
        size = {"width": chosen.width, "height": chosen.height}
        page = chromium.watch(browser.new_page(viewport=size, reduced_motion="reduce"))
        page.set_default_timeout(WAIT)
        screen = Screen(page, panel, model, wb.Feedback(Path(folder) / "feedback.db", author="ada"))
        page.evaluate(THEME, ["light", chosen.height])
        try:
            for name, data in shots(screen, scenes, chosen.height):
                path = chosen.into / f"{name}.png"
                print(f"{path}: {write_png(data, path) / 1000:.0f} kB", flush=True)
        finally:
            browser.close()
        if page.js_errors:
            print("\n".join(page.js_errors), file=sys.stderr)
    return bool(page.js_errors)


if __name__ == "__main__":
    sys.exit(main())

"""The picture of the learning curves: accuracy where the swatch lies, by the number of answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean
from typing import Any

from PIL import Image, ImageDraw, ImageFont

__all__ = ["caipi_picture"]

_SCALE = 2  # drawn at twice the size: lines stay clean on dense screens
_WIDTH, _HEIGHT, _MARGIN, _GAP = 520, 320, 44, 56
_INK, _SOFT, _RULE, _PAPER = (34, 34, 34), (112, 112, 112), (226, 226, 226), (255, 255, 255)
# Blue, vermillion and grey, told apart by everybody; dashes tell them apart in print.
_COLOURS = ((0, 114, 178), (213, 94, 0), (120, 120, 120))


def caipi_picture(records: Sequence[dict[str, Any]], strategies: Sequence[str]) -> Image.Image:
    """Draw a panel for each data set: a thin line for each seed, a thick one for their mean.

    Parameters
    ----------
    records : sequence of dict
        With ``data``, ``strategy``, ``seed``, ``answers`` and ``decoy_test``.
    strategies : sequence of str
        In the order of their colours.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    data = list(dict.fromkeys(record["data"] for record in records))
    width = _MARGIN + len(data) * (_WIDTH + _GAP)
    height = _MARGIN + 78 + _HEIGHT + 60
    page = Image.new("RGB", (width * _SCALE, height * _SCALE), _PAPER)
    pen = ImageDraw.Draw(page)
    _text(pen, _MARGIN, _MARGIN - 12, "What answers bring: accuracy where the swatch lies", 20, _INK)
    x = float(_MARGIN)
    for strategy, colour in zip(strategies, _COLOURS, strict=False):
        if any(record["strategy"] == strategy for record in records):
            pen.line(_scaled((x, _MARGIN + 32, x + 26, _MARGIN + 32)), colour, 3 * _SCALE)
            _text(pen, x + 33, _MARGIN + 32, strategy, 14, _INK, "lm")
            x += 33 + pen.textlength(strategy, _font(14)) / _SCALE + 28
    for number, name in enumerate(data):
        left = _MARGIN + 12 + number * (_WIDTH + _GAP)
        _axes(pen, left, _MARGIN + 78, name, [r for r in records if r["data"] == name], strategies)
    return page


def _axes(
    pen: ImageDraw.ImageDraw, left: int, top: int, name: str, records: Sequence[dict[str, Any]],
    strategies: Sequence[str],
) -> None:  # fmt: skip
    answers = sorted({r["answers"] for r in records})
    seeds = sorted({r["seed"] for r in records})
    low = math.floor(min(r["decoy_test"] for r in records) * 10) / 10
    high = math.ceil(max(r["decoy_test"] for r in records) * 10) / 10
    right, bottom = left + _WIDTH - 30, top + _HEIGHT

    def place(answers_: float, accuracy: float) -> tuple[float, float]:
        # The first answers bring most: a logarithmic scale that has a place for none.
        share = math.log1p(answers_) / math.log1p(answers[-1] or 1)
        return left + 34 + share * (right - left - 34), bottom - (accuracy - low) / (high - low) * (_HEIGHT - 30)

    _text(
        pen,
        left,
        top,
        f"{name} · {len(seeds)} seed{'' if len(seeds) == 1 else 's'}, thin, and their mean",
        15,
        _INK,
        "lm",
    )
    for tenth in range(round(low * 10), round(high * 10) + 1):
        y = place(0, tenth / 10)[1]
        pen.line(_scaled((left + 34, y, right, y)), _RULE, _SCALE)
        _text(pen, left + 26, y, f"{tenth / 10:.1f}", 12, _SOFT, "rm")
    for count in answers:
        x = place(count, low)[0]
        pen.line(_scaled((x, bottom, x, bottom + 4)), _SOFT, _SCALE)
        _text(pen, x, bottom + 9, str(count), 12, _SOFT, "mt")
    _text(pen, (left + 34 + right) / 2, bottom + 30, "answers", 13, _SOFT, "mt")
    for strategy, colour in reversed(list(zip(strategies, _COLOURS, strict=False))):
        of_arm = [r for r in records if r["strategy"] == strategy]
        pale = tuple(round(255 - (255 - part) * 0.35) for part in colour)
        for seed in seeds:
            _line(pen, [place(r["answers"], r["decoy_test"]) for r in _sorted(of_arm) if r["seed"] == seed], pale, 1)
        means = [(count, [r["decoy_test"] for r in of_arm if r["answers"] == count]) for count in answers]
        points = [place(count, mean(found)) for count, found in means if found]
        _line(pen, points, colour, 3)
        for x, y in points:
            pen.ellipse(_scaled((x - 3.5, y - 3.5, x + 3.5, y + 3.5)), colour, _PAPER, _SCALE)


def _sorted(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(records, key=lambda record: int(record["answers"]))


def _line(pen: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], colour: tuple[int, ...], width: int) -> None:
    if len(points) > 1:
        pen.line([(x * _SCALE, y * _SCALE) for x, y in points], colour, width * _SCALE, joint="curve")


def _text(
    pen: ImageDraw.ImageDraw, x: float, y: float, words: str, size: int, colour: tuple[int, ...], anchor: str = "lm"
) -> None:
    pen.text((x * _SCALE, y * _SCALE), words, colour, _font(size), anchor=anchor)


def _scaled(box: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(value * _SCALE for value in box)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size * _SCALE)

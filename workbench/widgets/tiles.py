"""Rows as pieces of HTML that stand alone: thumbnails with marks painted over, texts with marked words, cells."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageColor, ImageFilter, ImageOps

from columns import Column, ColumnError, ImageColumn
from columns.expression import Map, walk

from ..feedback import ImageRegion, Region, TextRegion

__all__ = ["COLOURS", "Marks", "marked_text", "only_decodes", "picture_tile", "plain_cells"]

Marks: TypeAlias = Mapping[str, Region | None]

# Blue and green that are told apart by everybody, on white as on black.
COLOURS = {"irrelevant": "#1f7fc1", "relevant": "#0c9a72"}
_TINT = 130  # of 255
_EXACT = 128 * 128  # a picture of fewer pixels is kept without loss


def only_decodes(column: Column) -> bool:
    """Say whether the values of a column can be had without running anybody's function."""
    return column.is_computed() or not any(isinstance(node, Map) for node in walk([column.node]))


def picture_tile(picture: Image.Image | None, marks: Marks, height: int, alt: str) -> str:
    """Return a thumbnail as an image element that holds its own data.

    Parameters
    ----------
    picture : PIL.Image.Image or None
        As it was decoded.
    marks : mapping of role to region or None
        Painted over it.
    height : int
        Most pixels it may be high; it may be half as wide again. A small picture is enlarged by a whole
        factor, as the pixels that it is.
    alt : str
        What it is called where it cannot be seen.
    """
    if picture is None:
        return '<span title="null, or could not be read">–</span>'
    small = _fitted(picture.convert(picture.mode if picture.mode in ("L", "RGB", "RGBA") else "RGB"), height)
    for role, region in marks.items():
        if isinstance(region, ImageRegion) and not region.empty:
            small = _painted(small, region, COLOURS[role])
    data, kind = _encoded(small)
    return (
        f'<img width="{small.width}" height="{small.height}" alt="{html.escape(alt)}" '
        f'src="data:image/{kind};base64,{base64.b64encode(data).decode("ascii")}">'
    )


def _fitted(picture: Image.Image, height: int) -> Image.Image:
    width = height * 3 // 2
    scale = min(height / picture.height, width / picture.width)
    if scale >= 2:
        return picture.resize((picture.width * int(scale), picture.height * int(scale)), Image.Resampling.NEAREST)
    if scale >= 1:
        return picture
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _painted(picture: Image.Image, region: ImageRegion, colour: str) -> Image.Image:
    """Paint a region over a picture in a colour through which it is seen; a thin stroke does not get lost."""
    mask = Image.fromarray(region.mask().astype(np.uint8) * 255)
    how = Image.Resampling.NEAREST if picture.width >= mask.width else Image.Resampling.BOX
    marked = mask.resize(picture.size, how).point(lambda value: 255 if value else 0)
    # Its rim in full colour, for pictures that have that colour themselves.
    inside = ImageOps.expand(marked, 1).filter(ImageFilter.MinFilter(3))
    inside = inside.crop((1, 1, picture.width + 1, picture.height + 1))
    alpha = Image.composite(Image.new("L", picture.size, _TINT), marked, inside)
    below = picture.convert("RGB")
    return Image.composite(Image.new("RGB", below.size, ImageColor.getrgb(colour)), below, alpha)


def _encoded(picture: Image.Image) -> tuple[bytes, str]:
    buffer = io.BytesIO()
    if picture.mode == "RGBA" or picture.width * picture.height <= _EXACT:
        picture.save(buffer, "PNG", optimize=True)
        if buffer.tell() < 6000 or picture.mode == "RGBA":
            return buffer.getvalue(), "png"
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return buffer.getvalue(), "jpeg"


def marked_text(text: str | None, marks: Marks, longest: int = 220) -> str:
    """Return the begin of a text with its marked words in colour, escaped.

    Examples
    --------
    >>> marked_text("a <b> sure win", {"irrelevant": TextRegion(((6, 10),), 14)}, longest=12)
    'a &lt;b&gt; <u style="text-decoration-color:#1f7fc1;background:#1f7fc144">sure</u> w…'
    """
    if text is None:
        return '<span title="null">–</span>'
    shown = text[:longest]
    found = "".join(
        html.escape(part) if role is None else
        f'<u style="text-decoration-color:{COLOURS[role]};background:{COLOURS[role]}44">{html.escape(part)}</u>'
        for part, role in _parts(shown, marks)
    )  # fmt: skip
    return found + ("…" if len(text) > longest else "")


def _parts(text: str, marks: Marks) -> Iterator[tuple[str, str | None]]:
    """Cut a text where marks begin and end."""
    roles: list[str | None] = [None] * len(text)
    for role, region in marks.items():
        for start, end in region.spans if isinstance(region, TextRegion) else ():
            roles[start:end] = [role] * len(roles[start:end])
    start = 0
    for place in range(1, len(text) + 1):
        if place == len(text) or roles[place] != roles[start]:
            yield text[start:place], roles[start]
            start = place


def plain_cells(column: Column, waiting: str = '<i title="computed when asked for">not computed</i>') -> Sequence[str]:
    """Return the rows of a column as cells of a table; nothing is computed for it."""
    if isinstance(column, ImageColumn) and only_decodes(column):
        return [picture_tile(picture, {}, 40, "") for picture in column.thumbnails(80)]
    if not column.is_computed():
        return [waiting] * len(column)
    try:
        return [column.cell(value) for value in column.values(on_error="null").rows()]
    except ColumnError:
        return ["–"] * len(column)

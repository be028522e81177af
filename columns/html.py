"""Small pieces of HTML for one cell of a table. Text from data is never markup."""

from __future__ import annotations

import base64
import html
import io
from typing import Any

__all__ = ["picture_cell", "text_cell"]

_LONGEST = 80


def text_cell(value: Any) -> str:
    """Return a value as escaped text, cut to a line; null as a dash.

    Examples
    --------
    >>> text_cell("<b>&")
    '&lt;b&gt;&amp;'
    """
    if value is None:
        return '<span style="opacity:.5" title="null">–</span>'
    words = f"{value:.4g}" if isinstance(value, float) else str(value)
    cut = words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"
    return html.escape(cut)


def picture_cell(picture: Any, height: int = 56) -> str:
    """Return a `PIL.Image.Image` as an inline thumbnail of that height in CSS pixels."""
    if picture is None:
        return text_cell(None)
    from PIL import Image

    small = picture
    if picture.height > 2 * height:
        scale = 2 * height / picture.height
        small = picture.resize((max(1, round(picture.width * scale)), 2 * height), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    small.convert("RGB" if small.mode not in ("L", "RGB", "RGBA") else small.mode).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    # Small pictures are shown as the pixels they are: digits stay crisp, photographs smooth.
    crisp = "image-rendering:pixelated;" if picture.height < height else ""
    return (
        f'<img alt="" src="data:image/png;base64,{data}" '
        f'style="height:{height}px;max-width:{4 * height}px;object-fit:contain;{crisp}">'
    )

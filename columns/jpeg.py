"""JPEG files as bytes: what stands in their heads, without decoding them."""

from __future__ import annotations

import io

__all__ = ["shown_as_read"]

_START, _END = b"\xff\xd8", b"\xff\xd9"
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
_SCAN = 0xDA
_TABLES = (0xC4, 0xDB, 0xDD)
_JFIF, _COMMENT = 0xE0, 0xFE
_COMPONENTS = {"L": (1,), "RGB": (1, 3), "RGBA": (1, 3)}


def shown_as_read(data: bytes, height: int, mode: str) -> bool:
    """Tell whether a browser shows a file as it is read here, so that it may be sent as it is.

    Parameters
    ----------
    data : bytes
        The whole file.
    height : int
        It is no higher than that, in pixels.
    mode : {"RGB", "L", "RGBA"}
        What it is read as. A coloured file that is read as grey is shown otherwise.

    Returns
    -------
    bool
        True for a whole JPEG of 8 bits, grey or coloured, that holds nothing beside the picture: an orientation, a
        colour profile or a colour transform is heeded by browsers, and not here.

    Examples
    --------
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (40, 30)).save(file, "JPEG")
    >>> [shown_as_read(file.getvalue(), height, mode) for height, mode in [(30, "RGB"), (29, "RGB"), (30, "L")]]
    [True, False, False]
    """
    if not data.startswith(_START) or not data.endswith(_END):
        return False
    file = io.BytesIO(data)
    file.seek(len(_START))
    fits = False
    while True:
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            return False
        kind = head[1]
        if kind == _SCAN:
            return fits
        segment = file.read(int.from_bytes(head[2:], "big") - 2)
        if kind in _FRAMES:
            if len(segment) < 6:
                return False
            bits, rows, components = segment[0], int.from_bytes(segment[1:3], "big"), segment[5]
            fits = bits == 8 and 0 < rows <= height and components in _COMPONENTS[mode]
        elif kind not in (*_TABLES, _JFIF, _COMMENT):
            return False

"""Pictures of rows as the page takes them: encoded, end to end in one buffer."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from columns import Column, ImageColumn, KindError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Encoded", "encoded", "thumbnails", "whole_picture"]

# A picture of fewer pixels is sent without loss: it is small, and its pixels are looked at one by one.
_EXACT = 96 * 96
_THREADS = 2  # Pillow encodes and decodes outside the interpreter's lock


@dataclass(frozen=True)
class Encoded:
    """Some pictures, encoded end to end.

    Attributes
    ----------
    offsets : list of int
        Where each begins in `data`, and at last where that ends: one more than there are pictures.
    types : list of str or None
        Media type of each; None where there is no picture, or it cannot be read.
    data : bytes
        All of them.
    """

    offsets: list[int]
    types: list[str | None]
    data: bytes


def thumbnails(column: Column, rows: NDArray[np.integer[Any]] | Sequence[int], size: int) -> Encoded:
    """Return small pictures of some rows; only these are read, and a large file is decoded at a reduced size.

    Parameters
    ----------
    column : ImageColumn or TensorColumn of masks
        Masks, of shape (height, width) or (1, height, width), are shown black and white.
    rows : sequence of int
        Which, in this order.
    size : int
        Greatest height, in pixels.

    Returns
    -------
    Encoded
        Files that are small JPEG already as they are; of others, small pictures as PNG, and larger ones as JPEG.

    Raises
    ------
    KindError
        If the column holds nothing that can be shown.

    Examples
    --------
    >>> column = ImageColumn(np.zeros((3, 8, 8, 3), np.uint8))
    >>> thumbnails(column, [2, 0], size=64).types
    ['image/png', 'image/png']
    """
    some = column[np.asarray(rows, np.int64)]
    if isinstance(some, ImageColumn):
        files = some.small_files(size)
        made = [at for at, file in enumerate(files) if file is None]
        parts: list[tuple[str | None, bytes]] = [("image/jpeg", file or b"") for file in files]
        for at, part in zip(made, _encoded_each(some[made].thumbnails(size)) if made else [], strict=True):
            parts[at] = part
        return _end_to_end(parts)
    if some.kind in ("mask", "tensor"):
        return encoded([_of_mask(value) for value in some.values(on_error="null").rows()])
    raise KindError(f"Only pictures and masks are shown as pictures; column '{column.name}' is {column.kind}.")


def whole_picture(column: Column, row: int, most: int = 4096) -> tuple[Encoded, tuple[int, int] | None]:
    """Return the picture of a row in its full size, and that size, (height, width); None where there is none.

    Parameters
    ----------
    column : ImageColumn
    row : int
    most : int
        A larger one is sent reduced to that height: it keeps its size in the answer.
    """
    some = column[np.array([row])]
    if not isinstance(some, ImageColumn):
        raise KindError(f"Column '{column.name}' has no pictures; it is {column.kind}.")
    (picture,) = some.to_list_or_null()
    if picture is None:
        return encoded([None]), None
    size = (picture.height, picture.width)
    if picture.height > most:
        picture = picture.resize((max(1, picture.width * most // picture.height), most), Image.Resampling.BILINEAR)
    return encoded([picture]), size


def encoded(pictures: Sequence[Image.Image | None]) -> Encoded:
    """Encode pictures end to end."""
    return _end_to_end(_encoded_each(pictures))


def _encoded_each(pictures: Sequence[Image.Image | None]) -> list[tuple[str | None, bytes]]:
    return list(_pool().map(_encode, pictures)) if len(pictures) > 8 else [_encode(one) for one in pictures]


def _end_to_end(parts: Sequence[tuple[str | None, bytes]]) -> Encoded:
    offsets = np.concatenate([[0], np.cumsum([len(data) for _, data in parts], dtype=np.int64)])
    return Encoded(offsets.tolist(), [kind for kind, _ in parts], b"".join(data for _, data in parts))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="workbench-thumbnails")


def _encode(picture: Image.Image | None) -> tuple[str | None, bytes]:
    if picture is None:
        return None, b""
    buffer = io.BytesIO()
    if picture.mode not in ("L", "RGB", "RGBA"):
        picture = picture.convert("RGB")
    if picture.mode == "RGBA" or picture.width * picture.height <= _EXACT:
        picture.save(buffer, "PNG", compress_level=1)
        return "image/png", buffer.getvalue()
    picture.save(buffer, "JPEG", quality=86)
    return "image/jpeg", buffer.getvalue()


def _of_mask(value: Any) -> Image.Image | None:
    array = None if value is None else np.asarray(value)
    if array is None or array.squeeze().ndim != 2:
        return None
    flat = array.squeeze()
    if flat.dtype != np.bool_:
        finite = np.nan_to_num(flat.astype(np.float64), posinf=0.0, neginf=0.0)
        peak = float(np.abs(finite).max(initial=0.0)) or 1.0
        return Image.fromarray((np.abs(finite) / peak * 255).astype(np.uint8))
    return Image.fromarray(flat.astype(np.uint8) * 255)

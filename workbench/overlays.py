"""Pictures of reasons: where a model looked, laid over what it looked at."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = ["data_uri", "enlarged", "saliency_picture"]

# Vermillion and sky blue: told apart by everybody, on grey as on colour.
_HOT = np.array([230, 80, 0], np.float64)
_MARK = (0, 150, 220)


def saliency_picture(
    image: Image.Image, scores: NDArray[np.floating[Any]], mask: NDArray[np.bool_] | None = None, size: int = 112
) -> Image.Image:
    """Return a picture with the magnitude of an attribution laid over it.

    Parameters
    ----------
    image : PIL.Image.Image
        What the model was shown.
    scores : ndarray, shape (channels, height, width) or (height, width)
        Attribution; its magnitude, summed over channels, is scaled to its own 99.5th percentile.
    mask : ndarray of bool, shape (height, width), optional
        A region to outline.
    size : int
        About the height of the result in pixels; small pictures are enlarged by a whole factor, as the pixels
        they are.

    Returns
    -------
    PIL.Image.Image
        RGB.

    Examples
    --------
    >>> saliency_picture(Image.new("L", (28, 28)), np.ones((1, 28, 28))).size
    (112, 112)
    """
    magnitude = np.abs(scores) if scores.ndim == 2 else np.abs(scores).sum(axis=0)
    top = float(np.quantile(magnitude, 0.995)) if magnitude.size else 0.0
    heat = np.clip(magnitude / top, 0, 1) if top > 0 else np.zeros_like(magnitude)
    grey = np.asarray(enlarged(image.convert("L"), size), np.float64)[..., None]
    height, width = grey.shape[:2]
    heated = Image.fromarray((heat * 255).astype(np.uint8)).resize((width, height), _filter(image, size))
    alpha = (np.asarray(heated, np.float64) / 255)[..., None] ** 1.2 * 0.95
    # The picture recedes to a pale grey, so that ink and heat do not compete.
    pale = 70 + grey * 0.72
    blended = Image.fromarray((pale * (1 - alpha) + _HOT * alpha).round().clip(0, 255).astype(np.uint8))
    if mask is not None and mask.any():
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        y, x = height / mask.shape[0], width / mask.shape[1]
        box = (columns[0] * x, rows[0] * y, (columns[-1] + 1) * x - 1, (rows[-1] + 1) * y - 1)
        ImageDraw.Draw(blended).rectangle(box, outline=_MARK, width=2)
    return blended


def enlarged(image: Image.Image, size: int = 112) -> Image.Image:
    """Return a picture about that many pixels high; a small one by a whole factor, so that pixels stay square."""
    height = image.height * max(1, round(size / image.height)) if image.height < size else size
    width = max(1, round(image.width * height / image.height))
    return image.resize((width, height), _filter(image, size))


def data_uri(image: Image.Image) -> str:
    """Return a picture as a PNG inside a URI, for pages that must stand alone."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _filter(image: Image.Image, size: int) -> Image.Resampling:
    return Image.Resampling.NEAREST if image.height < size else Image.Resampling.BILINEAR

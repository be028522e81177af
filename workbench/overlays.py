"""Pictures of reasons: where a model looked, laid over what it looked at; and how that changed."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw

__all__ = [
    "LESS",
    "MORE",
    "OUTLINE",
    "data_uri",
    "difference_picture",
    "enlarged",
    "painted_picture",
    "saliency_picture",
]

# Vermillion, violet and sky blue: told apart by everybody, on grey as on colour.
LESS, MORE, OUTLINE = "#e65000", "#a06bff", "#0096dc"
_HOT, _NEW = (np.array(ImageColor.getrgb(colour), np.float64) for colour in (LESS, MORE))


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
    magnitude = _magnitude(scores)
    heat = _scaled(magnitude, _top(magnitude))
    return _laid_over(image, heat, np.broadcast_to(_HOT, (*heat.shape, 3)), mask, size)


def difference_picture(
    image: Image.Image,
    before: NDArray[np.floating[Any]],
    after: NDArray[np.floating[Any]],
    mask: NDArray[np.bool_] | None = None,
    size: int = 112,
) -> Image.Image:
    """Return a picture with the difference of two attributions laid over it: violet for more, orange for less.

    Each map is its magnitude over its sum, so that what is drawn is which share of the attention a place has won or
    lost, however large the scores are. Full colour is a change as large as the highest places of either map; where
    nothing changed, the picture is left as it is.

    Parameters
    ----------
    image : PIL.Image.Image
        What both models were shown.
    before, after : ndarray, shape (channels, height, width) or (height, width)
        Attributions of one size.
    mask, size
        As for `saliency_picture`.

    Returns
    -------
    PIL.Image.Image
        RGB.

    Examples
    --------
    >>> corner = np.zeros((28, 28))
    >>> corner[:4, :4] = 1
    >>> picture = difference_picture(Image.new("L", (28, 28)), corner, corner[::-1])
    >>> picture.getpixel((2, 2)) > picture.getpixel((2, 110))  # redder where the attention was lost
    True
    """
    first, second = _share(_magnitude(before)), _share(_magnitude(after))
    colours = np.where((second > first)[..., None], _NEW, _HOT)
    return _laid_over(image, _scaled(np.abs(second - first), max(_top(first), _top(second))), colours, mask, size)


def _magnitude(scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    magnitude: NDArray[np.float64] = np.nan_to_num(np.abs(scores.astype(np.float64)), posinf=0.0)
    return magnitude if magnitude.ndim == 2 else magnitude.sum(axis=0)


def _share(magnitude: NDArray[np.float64]) -> NDArray[np.float64]:
    total = magnitude.sum()
    return magnitude / total if total > 0 else magnitude


def _top(magnitude: NDArray[np.float64]) -> float:
    """The 99.5th percentile: one place alone must not make all others pale."""
    return float(np.quantile(magnitude, 0.995)) if magnitude.size else 0.0


def _scaled(heat: NDArray[np.float64], top: float) -> NDArray[np.float64]:
    return np.clip(heat / top, 0, 1) if top > 0 else np.zeros_like(heat)


def _laid_over(
    image: Image.Image,
    heat: NDArray[np.float64],
    colours: NDArray[np.float64],
    mask: NDArray[np.bool_] | None,
    size: int,
) -> Image.Image:
    """Lay heat, shape (height, width), in colours, shape (height, width, 3), over a picture, and outline a region."""
    grey = np.asarray(enlarged(image.convert("L"), size), np.float64)[..., None]
    height, width = grey.shape[:2]
    # Colour is spread already weighted by its heat: what is neutral has no hue that could bleed into its neighbours.
    layers = np.dstack([heat, colours * heat[..., None]]).astype(np.float32)
    shape, how = (width, height), _filter(image, size)
    spread = [Image.fromarray(layer).resize(shape, how) for layer in layers.transpose(2, 0, 1)]
    weight = np.asarray(spread[0], np.float64)[..., None]
    hue = np.dstack([np.asarray(layer, np.float64) for layer in spread[1:]]) / np.maximum(weight, 1e-6)
    alpha = weight**1.2 * 0.95
    # The picture recedes to a pale grey, so that ink and heat do not compete.
    pale = 70 + grey * 0.72
    blended = Image.fromarray((pale * (1 - alpha) + hue * alpha).round().clip(0, 255).astype(np.uint8))
    if mask is not None and mask.any():
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        y, x = height / mask.shape[0], width / mask.shape[1]
        box = (columns[0] * x, rows[0] * y, (columns[-1] + 1) * x - 1, (rows[-1] + 1) * y - 1)
        ImageDraw.Draw(blended).rectangle(box, outline=OUTLINE, width=2)
    return blended


def painted_picture(image: Image.Image, mask: NDArray[np.bool_], size: int = 112) -> Image.Image:
    """Return a picture with a region painted over it in blue, through which it is seen.

    Parameters
    ----------
    image : PIL.Image.Image
        What was painted on.
    mask : ndarray, shape (height, width), bool
        The region, in pixels of the picture.
    size : int
        As for `saliency_picture`.

    Returns
    -------
    PIL.Image.Image
        RGB.

    Examples
    --------
    >>> picture = painted_picture(Image.new("L", (28, 28)), np.eye(28, dtype=bool))
    >>> picture.size, picture.getpixel((0, 111))
    ((112, 112), (0, 0, 0))
    """
    below = enlarged(image.convert("RGB"), size)
    alpha = Image.fromarray(mask.astype(np.uint8) * 170).resize(below.size, Image.Resampling.NEAREST)
    return Image.composite(Image.new("RGB", below.size, OUTLINE), below, alpha)


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

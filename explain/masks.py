"""Masks over inputs: the one rule by which a mask is broadcast over channels, or laid on a layer's grid."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .errors import KindError, ShapeError

__all__ = ["check_bool", "check_tensor", "expand_mask", "mask_on_layer", "resize_mask"]

# Tokens that models put around a text: [CLS] and [SEP].
SPECIAL = 2


def expand_mask(mask: Tensor, inputs: Tensor) -> Tensor:
    """Broadcast a mask over the channels of the inputs that it belongs to.

    Parameters
    ----------
    mask : Tensor, bool
        Shape (batch, *event), that of `inputs`; or the same with 1 in place of the channels; or
        without the channel axis, which is the first after the batch.
    inputs : Tensor, shape (batch, *event)
        Gives the shape; its values are not read.

    Returns
    -------
    Tensor, shape (batch, *event), bool
        A view where possible: do not write to it.

    Raises
    ------
    KindError
        If `mask` is not boolean.
    ShapeError
        If `mask` has none of the three shapes.

    Examples
    --------
    >>> expand_mask(torch.ones(2, 4, 4, dtype=torch.bool), torch.rand(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """
    check_bool(mask, "mask")
    full = tuple(inputs.shape)
    if tuple(mask.shape) == full:
        return mask
    if len(full) > 2:
        if tuple(mask.shape) == (full[0], 1, *full[2:]):
            return mask.expand(full)
        if tuple(mask.shape) == (full[0], *full[2:]):
            return mask.unsqueeze(1).expand(full)
    fitting = [full] if len(full) <= 2 else [full, (full[0], 1, *full[2:]), (full[0], *full[2:])]
    raise ShapeError(
        f"A mask must have the shape of its inputs, of which the channel axis may be 1 or missing: "
        f"{' or '.join(map(str, dict.fromkeys(fitting)))}; got {tuple(mask.shape)}."
    )


def resize_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Lay a mask on another grid, so that no stroke is lost: a cell is marked if any part of it is.

    Parameters
    ----------
    mask : Tensor, shape (batch, ..., length) or (batch, ..., height, width), bool
        Regions.
    size : sequence of one or two ints
        Length, or height and width, of the other grid; may be larger, then marks are repeated.

    Returns
    -------
    Tensor, shape (batch, ..., *size), bool

    Raises
    ------
    KindError, ShapeError
        If the mask is not boolean, or has fewer axes than `size`.

    Notes
    -----
    A marked pixel on the border of two cells marks both, so that a thin stroke grows to at least
    one cell and never falls between two.

    Examples
    --------
    >>> stroke = torch.zeros(1, 6, 6, dtype=torch.bool)
    >>> stroke[0, 4, :2] = True
    >>> resize_mask(stroke, (3, 3)).int()
    tensor([[[0, 0, 0],
             [0, 0, 0],
             [1, 0, 0]]], dtype=torch.int32)
    """
    check_bool(mask, "mask")
    axes = len(size)
    if axes not in (1, 2) or mask.ndim <= axes:
        raise ShapeError(
            f"`size` must be (length,) or (height, width), and the mask have that many axes after the batch; "
            f"got {tuple(size)} and {tuple(mask.shape)}."
        )
    if tuple(mask.shape[-axes:]) == tuple(size):
        return mask
    # Float, because pooling knows no booleans; zero and one are exact.
    flat = mask.reshape(-1, 1, *mask.shape[-axes:]).float()
    pool = nn.functional.adaptive_max_pool1d if axes == 1 else nn.functional.adaptive_max_pool2d
    return pool(flat, tuple(size)).bool().reshape(*mask.shape[:-axes], *size)


def mask_on_layer(mask: Tensor, activation: Tensor, inputs: Tensor | None = None) -> Tensor:
    """Lay a mask of the inputs on the activation of a layer.

    ==========================  =========================  =========================================
    mask                        activation                 rule
    ==========================  =========================  =========================================
    shape of the activation     any                        as it is
    (batch, [c,] h, w)          (batch, c', h', w')        `resize_mask`, over all channels
    (batch, tokens)             (batch, tokens, features)  over all features
    (batch, [c,] length)        (batch, c', length')       `resize_mask`, over all channels
    (batch, c, h, w) or         (batch, s·t or 1 + s·t,    square patches of a vision transformer: on
    (batch, h, w) of an image   features)                  the s × t grid, s : t = h : w; the first
                                                           token is no patch
    ==========================  =========================  =========================================

    Shapes alone do not tell all: where a sequence is as long as a layer has channels, tokens are taken. With
    its channel axis, (batch, 1, length), a mask is never taken for tokens; one of (batch, c, length) that may as well
    be (batch, tokens, features) is refused, as is one of token ids where the layer has more tokens. Without `inputs`,
    a mask with three axes is of images where they are square, else of signals.

    Parameters
    ----------
    mask : Tensor, bool
        Regions of the inputs; marked in any channel counts as marked.
    activation : Tensor, shape (batch, ...)
        Gives the shape; its values are not read.
    inputs : Tensor or None, shape (batch, *event)
        What the model was given: images have four axes. Its values are not read either.

    Returns
    -------
    Tensor, shape of `activation`, bool
        A view where possible: do not write to it.

    Raises
    ------
    KindError
        If `mask` is not boolean.
    ShapeError
        If there is no rule for the two shapes.

    Examples
    --------
    >>> mask_on_layer(torch.ones(2, 28, 28, dtype=torch.bool), torch.rand(2, 16, 7, 7)).shape
    torch.Size([2, 16, 7, 7])
    """
    check_bool(mask, "mask")
    full = activation.shape
    if mask.shape == full:
        return mask
    if mask.ndim > 1 and mask.shape[0] == full[0]:
        if activation.ndim == 4 and mask.ndim in (3, 4):
            flat = mask.any(dim=1) if mask.ndim == 4 else mask
            return resize_mask(flat, full[2:]).unsqueeze(1).expand(full)
        if activation.ndim == 3 and mask.ndim == 2 and mask.shape[1] == full[1]:
            return mask.unsqueeze(2).expand(full)
        if inputs is not None:
            image = mask.ndim == 4 or (mask.ndim == 3 and inputs.ndim == 4)
        else:
            # Two axes of one length are an image; of two lengths, channels of a signal.
            image = mask.ndim == 4 or (mask.ndim == 3 and 1 < mask.shape[1] == mask.shape[2])
        if activation.ndim == 3 and not image:
            _check_signal(mask, full, inputs)
        grid = _patches(mask.shape[-2:], full[1]) if image and activation.ndim == 3 else None
        if grid is not None:
            flat = mask.any(dim=1) if mask.ndim == 4 else mask
            patches = nn.functional.pad(
                resize_mask(flat, grid).flatten(1), (full[1] - math.prod(grid), 0), value=False
            )  # fmt: skip
            return patches.unsqueeze(2).expand(full)
        if activation.ndim == 3 and mask.ndim in (2, 3) and not image:
            flat = mask.any(dim=1) if mask.ndim == 3 else mask
            return resize_mask(flat, full[2:]).unsqueeze(1).expand(full)
    raise ShapeError(
        f"No rule lays a mask of shape {tuple(mask.shape)} on an activation of shape {tuple(full)}. Choose a layer "
        "that keeps the places of the input (a convolution, a sequence of tokens), or give a mask of its shape."
    )


def _check_signal(mask: Tensor, full: torch.Size, inputs: Tensor | None) -> None:
    """Raise ShapeError where what would be taken for a signal may as well be tokens."""
    # Token ids: convolutions over them do not lengthen the text; a transformer may have added tokens of its own.
    ids = inputs is not None and inputs.ndim == 2 and not inputs.is_floating_point()
    if ids and (full[2] > mask.shape[1] or 0 < full[1] - mask.shape[1] <= SPECIAL):
        raise ShapeError(
            f"A mask of tokens, shape {tuple(mask.shape)}, lies on an activation (batch, tokens, features) with as "
            f"many tokens, or (batch, channels, length) that is no longer; got shape {tuple(full)}. Choose a layer "
            "that keeps the tokens, or give a mask of its shape."
        )
    if mask.ndim == 3 and mask.shape[1] == full[1] and mask.shape[1] > 1:
        raise ShapeError(
            f"A mask of shape {tuple(mask.shape)} on an activation of shape {tuple(full)} may mark tokens or places of "
            "a signal. Give `mask.any(dim=2)`, (batch, tokens), for tokens, or `mask.any(dim=1, keepdim=True)`, "
            "(batch, 1, length), for a signal."
        )


def _patches(image: Sequence[int], tokens: int) -> tuple[int, int] | None:
    """Find the grid of square patches that makes as many tokens of an image, or one fewer; None if there is none."""
    height, width = image
    common = math.gcd(height, width)
    if not common:
        return None
    # Square patches fill the image with a multiple of its proportions in lowest terms.
    down, across = height // common, width // common
    for patches in (tokens, tokens - 1):
        times = math.isqrt(patches // (down * across))
        if times and times * times * down * across == patches:
            return times * down, times * across
    return None


def check_bool(mask: Tensor, name: str) -> None:
    """Raise KindError unless `mask` is a boolean tensor."""
    check_tensor(mask, name)
    if mask.dtype != torch.bool:
        raise KindError(f"`{name}` must be a boolean tensor; got {mask.dtype}. Compare it first: `{name} > 0`.")


def check_tensor(value: object, name: str) -> None:
    """Raise KindError unless `value` is a tensor."""
    if not isinstance(value, Tensor):
        kind = type(value)
        numpy = kind.__module__.partition(".")[0] == "numpy"
        way = f"torch.from_numpy({name})" if numpy else f"torch.as_tensor({name})"
        raise KindError(
            f"`{name}` must be a tensor; got {kind.__module__}.{kind.__qualname__}. Make it one first: `{way}`."
        )

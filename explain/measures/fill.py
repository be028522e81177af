"""What stands in for an element that has been removed."""

import math
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import SettingError, ShapeError

__all__ = ["Filler", "filled", "filler_name"]

Filler: TypeAlias = float | str | Tensor

NAMES = ("mean", "blur")


def filled(inputs: Tensor, filler: Filler, channel_axis: int = 1) -> Tensor:
    """Give the inputs with every element removed: what perturbed rows are mixed with.

    ==========  ==================================================================================
    filler      what stands in for a removed element
    ==========  ==================================================================================
    a number    that value, in the unit of the inputs
    ``mean``    the mean of the row's own channel: for images, signals and embedded tokens
    ``blur``    the row's own image blurred: Gaussian, with a standard deviation of a tenth of the
                shorter side; keeps the colours of a place and takes its detail
    a Tensor    itself, of the shape of the inputs or one that broadcasts to it: the mean of
                reference rows, or a donor for every row
    ==========  ==================================================================================

    Parameters
    ----------
    inputs : Tensor, shape (batch, *event), float
        Model inputs; not changed.
    filler : float, str or Tensor
        One of the table.
    channel_axis : int
        Axis of the channels in `inputs`, for inputs of three axes or more.

    Returns
    -------
    Tensor, shape (batch, *event), dtype and device of `inputs`
        A view where possible: do not write to it.

    Raises
    ------
    SettingError
        If there is no such filler, or none of that name for inputs of this shape.
    ShapeError
        If a tensor does not broadcast to the inputs.

    Examples
    --------
    >>> filled(torch.tensor([[[1.0, 3.0], [10.0, 20.0]]]), "mean")
    tensor([[[ 2.,  2.],
             [15., 15.]]])
    """
    if isinstance(filler, Tensor):
        try:
            return filler.to(inputs).expand(inputs.shape)
        except RuntimeError as error:
            raise ShapeError(
                f"`filler` must broadcast to the inputs, shape {tuple(inputs.shape)}; got {tuple(filler.shape)}."
            ) from error
    if isinstance(filler, int | float) and not isinstance(filler, bool):
        return inputs.new_full((), filler).expand(inputs.shape)
    if filler == "mean":
        if inputs.ndim < 3:
            raise SettingError(
                "The filler 'mean' is that of a row's own channel, which plain vectors do not have; give a number, "
                "or the mean of reference rows as a tensor: `references.mean(0)`."
            )
        places = [axis for axis in range(1, inputs.ndim) if axis != channel_axis % inputs.ndim]
        return inputs.mean(dim=places, keepdim=True).expand(inputs.shape)
    if filler == "blur":
        if inputs.ndim != 4 or channel_axis % 4 != 1:
            raise SettingError(
                "The filler 'blur' is for images, shape (batch, channels, height, width); "
                f"got {tuple(inputs.shape)}. Give a number or a tensor."
            )
        return _blurred(inputs)
    raise SettingError(f"`filler` must be a number, a tensor, or one of {', '.join(NAMES)}; got {filler!r}.")


def filler_name(filler: Filler) -> str:
    """Name a filler in words, for records and captions.

    Examples
    --------
    >>> filler_name(0.5), filler_name("blur"), filler_name(torch.zeros(3))
    ('0.5', 'blur', 'a tensor')
    """
    return "a tensor" if isinstance(filler, Tensor) else str(filler)


def _blurred(images: Tensor) -> Tensor:
    """Blur by a separable Gaussian; the border is repeated outwards."""
    deviation = min(images.shape[-2:]) / 10
    radius = math.ceil(3 * deviation)
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    weights = torch.exp(-0.5 * (offsets / deviation).square())
    weights = weights / weights.sum()
    flat = images.flatten(0, 1).unsqueeze(1)
    flat = functional.pad(flat, (radius,) * 4, mode="replicate")
    flat = functional.conv2d(flat, weights.reshape(1, 1, 1, -1))
    return functional.conv2d(flat, weights.reshape(1, 1, -1, 1)).reshape(images.shape)

"""Masks over inputs: the one rule by which a mask is broadcast over channels."""

import torch
from torch import Tensor

from .errors import KindError, ShapeError

__all__ = ["check_bool", "expand_mask"]


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


def check_bool(mask: Tensor, name: str) -> None:
    """Raise KindError unless `mask` is a boolean tensor."""
    if mask.dtype != torch.bool:
        raise KindError(f"`{name}` must be a boolean tensor; got {mask.dtype}. Compare it first: `{name} > 0`.")

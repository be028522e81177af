"""Maps brought to one scale, row by row, so that what is made of them depends on no model's size of gradients."""

import torch
from torch import Tensor

__all__ = ["by_largest", "min_max_normalised"]


def by_largest(maps: Tensor, *, differentiable: bool = True) -> Tensor:
    """Divide each row by its largest magnitude.

    A confident model has gradients of log-probabilities down to the smallest numbers there are, of which the
    quotient overflows, and one such row would make the gradient of a whole batch NaN. A row whose largest
    magnitude is in the lowest fifth of the exponents (float32: below 5e-31; float16: below 4e-4) is taken for
    zeros: it becomes zeros, without a gradient.

    Parameters
    ----------
    maps : Tensor, shape (batch, ...), float
        One map a row.
    differentiable : bool
        Whether the largest magnitude is differentiated too. False takes it for a constant: for what no factor
        changes anyway.

    Returns
    -------
    Tensor, shape of `maps`, float
        In [−1, 1].

    Examples
    --------
    >>> by_largest(torch.tensor([[1.0, -4.0], [0.0, 0.0], [1e-42, 0.0]]))
    tensor([[ 0.2500, -1.0000],
            [ 0.0000,  0.0000],
            [ 0.0000,  0.0000]])
    """
    axes = tuple(range(1, maps.ndim))
    largest = maps.detach().abs().amax(dim=axes, keepdim=True)
    # The rest of the exponents is for what the gradient of the quotient is multiplied by. NaN is no zero.
    usual = ~(largest < torch.finfo(maps.dtype).tiny ** 0.8)
    # In two steps: the first is no division of a tiny number by another in the backward pass.
    maps = torch.where(usual, maps, 0.0) / torch.where(usual, largest, 1.0)
    if not differentiable:
        return maps
    top = maps.abs().amax(dim=axes, keepdim=True)
    return maps / torch.where(usual, top, 1.0)


def min_max_normalised(maps: Tensor) -> Tensor:
    """Stretch each map so that its lowest place becomes 0 and its highest 1.

    Parameters
    ----------
    maps : Tensor, shape (batch, height, width), float
        One map a row.

    Returns
    -------
    Tensor, shape (batch, height, width), float
        In [0, 1]; differentiable. An all-equal map, up to rounding, distinguishes no place: it
        becomes ½ everywhere, neither lowest nor highest, without a gradient.

    Examples
    --------
    >>> min_max_normalised(torch.tensor([[[-1.0, 0.0, 1.0]], [[7.0, 7.0, 7.0]]]))
    tensor([[[0.0000, 0.5000, 1.0000]],
    <BLANKLINE>
            [[0.5000, 0.5000, 0.5000]]])
    """
    maps = by_largest(maps, differentiable=False)
    lowest, highest = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    span = highest - lowest
    equal = span <= 16 * torch.finfo(maps.dtype).eps
    # The span is replaced before the division, not after: 0 / 0 would spoil the gradient of every row.
    return torch.where(equal, 0.5, (maps - lowest) / span.masked_fill(equal, 1.0))

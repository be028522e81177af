"""How much of an attribution falls inside a region, row by row."""

import math

import torch
from torch import Tensor

from ..errors import SettingError
from ..masks import expand_mask

__all__ = ["mass_on_mask"]

PARTS = ("magnitude", "positive")


def mass_on_mask(scores: Tensor, mask: Tensor, part: str = "magnitude") -> Tensor:
    """Measure which share of the attribution lies inside the mask, row by row.

    ``Σ a m / Σ a`` with a the magnitude, or the positive part, of the scores: the "energy" inside
    the mask. A uniform map has the mask's share of the area.

    Parameters
    ----------
    scores : Tensor, shape (batch, *event), float
        Attribution scores, in any unit.
    mask : Tensor, shape (batch, *event) or without the channel axis, bool
        The region.
    part : {"magnitude", "positive"}
        Which part of signed scores counts. A gradient has no preferred sign: "magnitude".

    Returns
    -------
    Tensor, shape (batch,), float
        In [0, 1]; NaN for a row whose mask is empty or whose scores are all zero, so that such a
        row is never counted as perfect.

    Raises
    ------
    KindError, ShapeError
        If the mask is not boolean or does not fit the scores.
    SettingError
        If there is no such part.

    Examples
    --------
    >>> mass_on_mask(torch.tensor([[3.0, -1.0]]), torch.tensor([[True, False]]))
    tensor([0.7500])
    """
    if part not in PARTS:
        raise SettingError(f"`part` must be one of {', '.join(PARTS)}; got {part!r}.")
    inside = expand_mask(mask, scores).flatten(1)
    size = (scores.abs() if part == "magnitude" else scores.clamp(min=0)).flatten(1)
    share = torch.where(inside, size, 0.0).sum(dim=1) / size.sum(dim=1)
    return torch.where(inside.any(dim=1), share, math.nan)

"""Features that are there or missing: which elements make one, and what stands in for what is missing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import KindError, SettingError, ShapeError

__all__ = ["Baseline", "baseline_like", "feature_groups", "numbered_groups"]

Baseline = float | Tensor

# Patches along the longer side of an image, when nobody says how large a patch is.
PATCHES = 7


def baseline_like(baseline: Baseline, inputs: Tensor) -> Tensor:
    """Bring a baseline into the shape of the inputs.

    Parameters
    ----------
    baseline : float or Tensor
        What stands for "nothing here", in the unit of the inputs: one value; one row, shape
        ``event`` or (1, *event), for all; or a row for each, shape (batch, *event).
    inputs : Tensor, shape (batch, *event), float
        Gives shape, dtype and device.

    Returns
    -------
    Tensor, shape (batch, *event), float
        A view where possible: do not write to it.

    Raises
    ------
    ShapeError
        If the baseline has none of these shapes.

    Notes
    -----
    No baseline is neutral: black is a colour, and a pixel that equals the baseline gets no score
    from any method that compares with it. Name the baseline where you show the map.

    Examples
    --------
    >>> baseline_like(0.5, torch.zeros(1, 2))
    tensor([[0.5000, 0.5000]])
    >>> baseline_like(torch.tensor([1.0, 2.0]), torch.zeros(2, 2))
    tensor([[1., 2.],
            [1., 2.]])
    """
    if not isinstance(baseline, Tensor):
        return torch.full((), float(baseline), dtype=inputs.dtype, device=inputs.device).expand(inputs.shape)
    event = tuple(inputs.shape[1:])
    if tuple(baseline.shape) not in ((), event, (1, *event), tuple(inputs.shape)):
        raise ShapeError(
            f"`baseline` must be a number, one row of shape {event}, or one per row of shape {tuple(inputs.shape)}; "
            f"got {tuple(baseline.shape)}."
        )
    return baseline.detach().to(inputs).expand(inputs.shape)


def feature_groups(event: Sequence[int], size: int | None = None) -> Tensor:
    """Number the features of a row: single elements, tokens, or the patches of a grid.

    ====================  =====================================  ==========================
    event                 a feature                              default `size`
    ====================  =====================================  ==========================
    (elements,)           `size` neighbours                      1
    (tokens, width)       `size` neighbouring tokens, all of     1
                          their components
    (channels, ...)       a patch of side `size`, all channels   a seventh of the longest
                                                                 side, rounded up
    ====================  =====================================  ==========================

    Parameters
    ----------
    event : sequence of int
        Shape of a row.
    size : int or None
        Side of a patch in elements; patches at the far borders may be smaller.

    Returns
    -------
    Tensor, shape event, int64
        The number of the feature that each element belongs to, from 0 on.

    Raises
    ------
    SettingError
        If `size` is below one.

    Examples
    --------
    >>> feature_groups((1, 2, 4), size=2)
    tensor([[[0, 0, 1, 1],
             [0, 0, 1, 1]]])
    """
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise SettingError(f"`size` must be a whole number of elements, at least 1; got {size!r}.")
    if len(event) <= 2:
        along = torch.arange(event[0]) // (size or 1)
        return along if len(event) == 1 else along[:, None].expand(*event).contiguous()
    sides = list(event[1:])
    side = size or -(-max(sides) // PATCHES)
    number = torch.zeros(sides, dtype=torch.int64)
    for axis, length in enumerate(sides):
        shape = [length if other == axis else 1 for other in range(len(sides))]
        number = number * -(-length // side) + (torch.arange(length) // side).view(shape)
    return number.expand(*event).contiguous()


def numbered_groups(groups: Tensor | None, inputs: Tensor, size: int | None = None) -> tuple[Tensor, Tensor]:
    """Check groups, or make them, and number them without gaps.

    Parameters
    ----------
    groups : Tensor or None, shape event, or without the channel axis, int64
        Elements of the same number are there or missing together. None asks `feature_groups`.
    inputs : Tensor, shape (batch, *event)
        Gives shape and device.
    size : int or None
        For `feature_groups`; goes with no `groups`.

    Returns
    -------
    groups : Tensor, shape event, int64
        Numbers from 0 on, on the device of the inputs.
    elements : Tensor, shape (features,), int64
        How many elements each has.

    Raises
    ------
    KindError
        If `groups` are not int64.
    ShapeError
        If they do not fit a row.
    SettingError
        If both `groups` and `size` are given.

    Examples
    --------
    >>> numbered_groups(torch.tensor([7, 7, 3]), torch.zeros(1, 3))
    (tensor([1, 1, 0]), tensor([1, 2]))
    """
    event = tuple(inputs.shape[1:])
    if groups is None:
        groups = feature_groups(event, size)
    elif size is not None:
        raise SettingError(f"`groups` already say which elements belong together; leave out `size`, got {size!r}.")
    if groups.dtype != torch.int64:
        raise KindError(f"`groups` must be int64, a number for each element; got {groups.dtype}.")
    if len(event) > 2 and tuple(groups.shape) == event[1:]:
        groups = groups.expand(event)
    if tuple(groups.shape) != event:
        fitting = f"{event}" if len(event) <= 2 else f"{event} or {event[1:]}"
        raise ShapeError(f"`groups` must have the shape of a row, {fitting}; got {tuple(groups.shape)}.")
    _, numbered, elements = torch.unique(groups.to(inputs.device), return_inverse=True, return_counts=True)
    return numbered.view(event), elements

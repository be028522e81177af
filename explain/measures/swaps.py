"""How much a model leans on a region, by refilling it: no attribution is asked."""

import math

import torch
from torch import Tensor

from ..as_used import as_used
from ..batch import Logits
from ..errors import SettingError, ShapeError
from ..masks import expand_mask
from ..methods.passes import check_counts
from ..target import check_logits

__all__ = ["swap_sensitivity"]


@as_used
def swap_sensitivity(
    forward: Logits,
    inputs: Tensor,
    mask: Tensor,
    donors: Tensor | None = None,
    *,
    seed: int = 0,
    draws: int = 1,
    batch_size: int = 512,
) -> float:
    """Measure how often a prediction flips when the region is refilled from another row.

    Needs no attribution and so cannot be fooled by one: a model that does not read the region
    scores zero.

    Parameters
    ----------
    forward : Forward, module or function
        Model inputs to logits; asked in evaluation mode, and left as found.
    inputs : Tensor, shape (rows, *event), float
        Model inputs.
    mask : Tensor, shape (rows, *event) or without the channel axis, bool
        The region of each row; rows with an empty one are left out.
    donors : Tensor, shape (donors, *event), float, or None
        Rows to refill from, at the same place. None, or `inputs` themselves: each row draws among the *other* rows,
        as a row refilled from itself can flip nothing.
    seed : int
        Draws the donors; the same seed draws the same.
    draws : int
        Donors tried per row.
    batch_size : int
        Rows per forward pass; changes no donor.

    Returns
    -------
    float
        Share of (row, donor) pairs whose prediction differs from the row's own, in [0, 1]; NaN
        when no row has a region, or the model answers NaN for one.

    Raises
    ------
    KindError, ShapeError
        If the mask is not boolean or does not fit the inputs, donors have another shape, or the model returns no
        logits.
    TargetError
        If it returns one: the largest of one never changes.
    SettingError
        If there are no donors, no other row among them, or `draws` or `batch_size` is no whole number of at least one.

    Examples
    --------
    A "model" that reads the first element only, asked about the second and then about the first:

    >>> x = torch.tensor([[1.0, 9.0], [-1.0, 9.0]])
    >>> reads_first = lambda x: torch.stack([x[:, 0], -x[:, 0]], dim=1)
    >>> swap_sensitivity(reads_first, x, torch.tensor([[False, True]] * 2))
    0.0
    >>> swap_sensitivity(reads_first, x, torch.tensor([[True, False]] * 2))
    1.0
    """
    check_counts(draws=draws, batch_size=batch_size)
    full = expand_mask(mask, inputs).to(inputs.device)
    among_themselves = donors is None or donors is inputs
    donors = inputs if donors is None else donors
    if donors.shape[1:] != inputs.shape[1:]:
        raise ShapeError(f"`donors` must have rows of shape {tuple(inputs.shape[1:])}; got {tuple(donors.shape[1:])}.")
    if len(donors) == 0:
        raise SettingError(f"There must be at least one donor; got shape {tuple(donors.shape)}.")
    (rows,) = full.flatten(1).any(dim=1).nonzero(as_tuple=True)
    if len(rows) == 0:
        return math.nan
    if among_themselves and len(donors) == 1:
        raise SettingError("A row is refilled from another one; there is only one. Give `donors`.")
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(donors) - among_themselves, (draws, len(rows)), generator=generator)
    if among_themselves:
        drawn += drawn >= rows.cpu()  # steps over the row itself
    drawn = drawn.to(donors.device)
    flips, undecided = 0, False
    for part, chosen in zip(torch.split(rows, batch_size), torch.split(drawn, batch_size, dim=1), strict=True):
        logits = forward(inputs[part])
        check_logits(logits, softmax=True)
        before = logits.argmax(dim=1)
        undecided |= bool(logits.isnan().any())
        for donor in chosen:
            refilled = torch.where(full[part], donors[donor].to(inputs), inputs[part])
            after = forward(refilled)
            undecided |= bool(after.isnan().any())
            flips += int((after.argmax(dim=1) != before).sum())
    return math.nan if undecided else flips / (len(rows) * draws)

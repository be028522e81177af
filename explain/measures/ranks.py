"""Ranks of scores within a row, and the rank correlation of two maps."""

import torch
from torch import Tensor

from ..attribution import Attribution, scores_of
from ..errors import ShapeError

__all__ = ["doubled_ranks", "place_in_order", "rank_correlation"]


def doubled_ranks(values: Tensor) -> Tensor:
    """Rank the values of each row from 1 upwards, ties sharing their mean rank, and double it.

    Doubled, a mean rank is a whole number: sums of millions of them stay exact on every device.

    Parameters
    ----------
    values : Tensor, shape (rows, elements), float
        Without NaN.

    Returns
    -------
    Tensor, shape (rows, elements), int64
        In [2, 2 × elements].

    Examples
    --------
    >>> doubled_ranks(torch.tensor([[0.3, 0.1, 0.3]]))
    tensor([[5, 2, 5]])
    """
    ordered, order = values.sort(dim=1)
    ordered = ordered.contiguous()
    # Searched for in their own order: several times faster than as they come, for the memory is near.
    below = torch.searchsorted(ordered, ordered)
    up_to = torch.searchsorted(ordered, ordered, right=True)
    return torch.empty_like(order).scatter_(1, order, below + up_to + 1)


def place_in_order(scores: Tensor, among: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Number the elements of each row from the most relevant, 0, to the least.

    Parameters
    ----------
    scores : Tensor, shape (rows, elements), float
        Signed scores; the largest comes first, the first of equals before the others.
    among : Tensor or None, shape (rows, elements), bool
        Elements that take part; the others come last, whatever their scores.

    Returns
    -------
    places : Tensor, shape (rows, elements), int64
        The place of each element in the order of its row.
    ordered : Tensor, shape (rows,), bool
        False for a row whose scores put nothing in order: no element takes part, one is not
        finite, or several are all equal.

    Examples
    --------
    >>> place_in_order(torch.tensor([[0.1, 0.9, 0.1], [2.0, 2.0, 2.0]]))
    (tensor([[1, 0, 2],
            [0, 1, 2]]), tensor([ True, False]))
    """
    if among is None:
        among = torch.ones_like(scores, dtype=torch.bool)
    finite = (scores.isfinite() | ~among).all(dim=1)
    kept = scores.where(among & finite[:, None], -torch.inf)
    # Sorting is done on the negative: a stable descending order of equals is then the order of places.
    order = (-kept).argsort(dim=1, stable=True)
    places = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    count = among.sum(dim=1)
    highest = scores.where(among, -torch.inf).amax(dim=1)
    lowest = scores.where(among, torch.inf).amin(dim=1)
    return places, finite & ((highest > lowest) | (count == 1))


def rank_correlation(first: Tensor | Attribution, second: Tensor | Attribution) -> Tensor:
    """Correlate the ranks of two attributions of the same rows, row by row (Spearman).

    Parameters
    ----------
    first, second : Attribution or Tensor, shape (rows, *event), float
        Scores of the same rows; ties share their mean rank.

    Returns
    -------
    Tensor, shape (rows,), float32
        In [−1, 1]; NaN for a row in which one of the two is constant or not finite.

    Raises
    ------
    ShapeError
        If the two differ in shape, or are not at least (rows, something).

    References
    ----------
    .. [1] C. Spearman, "The Proof and Measurement of Association between Two Things", American
       Journal of Psychology 15, 1904.

    Examples
    --------
    >>> rank_correlation(torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[0.1, 0.2, 0.3]]))
    tensor([1.])
    """
    first, second = scores_of(first), scores_of(second)
    if first.shape != second.shape or first.ndim < 2 or 0 in first.shape[1:]:
        raise ShapeError(
            "Two attributions must have the same shape (rows, *event), with at least one element a row; "
            f"got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    one, other = first.flatten(1), second.flatten(1).to(first.device)
    usable = one.isfinite().all(dim=1) & other.isfinite().all(dim=1)
    elements = one.shape[1]
    # Around their mean, which is the same in every row, and within [-1, 1].
    x, y = ((doubled_ranks(v.where(usable[:, None], 0)) - (elements + 1)).float() / elements for v in (one, other))
    # A constant row has ranks that are all zero here: 0 / 0 is the NaN that it should get.
    spread = (x.square().sum(dim=1) * y.square().sum(dim=1)).sqrt()
    correlation = ((x * y).sum(dim=1) / spread).clamp(-1, 1)
    return correlation.where(usable, torch.nan)

"""How much of an attribution falls inside a region, row by row."""

import math

import torch
from torch import Tensor

from ..attribution import Attribution, scores_of
from ..errors import KindError, SettingError, ShapeError
from ..masks import expand_mask
from .ranks import doubled_ranks, place_in_order

__all__ = [
    "area_under_roc",
    "check_cutoff",
    "flat_scores",
    "mass_on_mask",
    "normalised",
    "overlap",
    "part_of",
    "pointing_game",
    "rank_in_mask",
    "reason_share",
]

PARTS = ("magnitude", "positive")


def mass_on_mask(scores: Tensor | Attribution, mask: Tensor, part: str = "magnitude") -> Tensor:
    """Measure which share of the attribution lies inside the mask, row by row.

    ``Σ a m / Σ a`` with a the magnitude, or the positive part, of the scores: the "energy" inside
    the mask [1]_. A uniform map has the mask's share of the area.

    Parameters
    ----------
    scores : Attribution or Tensor, shape (batch, *event), float
        Attribution scores, in any unit.
    mask : Tensor, shape (batch, *event) or without the channel axis, bool
        The region.
    part : {"magnitude", "positive"}
        Which part of signed scores counts. A gradient has no preferred sign: "magnitude". Of what
        adds up to the output (input × gradient, integrated gradients, occlusion) "positive" is what
        speaks for the target.

    Returns
    -------
    Tensor, shape (batch,), float
        In [0, 1]; NaN for a row whose mask is empty or whose scores are all zero, so that such a
        row is never counted as perfect.

    Raises
    ------
    KindError, ShapeError
        If the mask is not boolean or does not fit the scores, or the scores are not floating point.
    SettingError
        If there is no such part.

    References
    ----------
    .. [1] H. Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural
       Networks", CVPR Workshops 2020 (the "energy-based pointing game").

    Examples
    --------
    >>> mass_on_mask(torch.tensor([[3.0, -1.0]]), torch.tensor([[True, False]]))
    tensor([0.7500])
    """
    size, inside, known = _measured(scores, mask, part)
    share = torch.where(inside, size, 0.0).sum(dim=1) / size.sum(dim=1)
    return share.where(known, math.nan)


def rank_in_mask(scores: Tensor | Attribution, mask: Tensor, part: str = "magnitude") -> Tensor:
    """Measure which share of the K highest scores lies inside the mask of K elements.

    ``|top-K ∩ m| / K`` with K = |m|: one for a map that puts the region before everything else,
    the mask's share of the area for a map drawn at random.

    Parameters
    ----------
    scores : Attribution or Tensor, shape (batch, *event), float
        Attribution scores, in any unit.
    mask : Tensor, shape (batch, *event) or without the channel axis, bool
        The region.
    part : {"magnitude", "positive"}
        Which part of signed scores counts; see `mass_on_mask`.

    Returns
    -------
    Tensor, shape (batch,), float
        In [0, 1]; NaN for a row whose mask is empty or whose scores are all zero or not finite.

    Raises
    ------
    KindError, ShapeError, SettingError
        As for `mass_on_mask`.

    Notes
    -----
    Among equal scores the first in memory order goes first. An element whose score is zero is never
    among the K: a map with three peaks would else be filled up from the top left corner, where
    the region may happen to lie.

    Examples
    --------
    >>> rank_in_mask(torch.tensor([[3.0, -2.0, 1.0]]), torch.tensor([[True, False, True]]))
    tensor([0.5000])
    """
    size, inside, known = _measured(scores, mask, part)
    count = inside.sum(dim=1)
    places, _ = place_in_order(size)
    found = (inside & (places < count[:, None]) & (size > 0)).sum(dim=1)
    return (found.to(size.dtype) / count).where(known, math.nan)


def pointing_game(scores: Tensor | Attribution, mask: Tensor, part: str = "magnitude") -> Tensor:
    """Ask whether the highest score lies inside the mask, row by row.

    Parameters
    ----------
    scores : Attribution or Tensor, shape (batch, *event), float
        Attribution scores, in any unit.
    mask : Tensor, shape (batch, *event) or without the channel axis, bool
        The region. The tolerance of [1]_ is a mask that has been grown.
    part : {"magnitude", "positive"}
        Which part of signed scores counts; see `mass_on_mask`.

    Returns
    -------
    Tensor, shape (batch,), float
        1 for a hit and 0 for a miss; NaN for a row whose mask is empty or whose scores are all zero
        or not finite. Of several highest scores the first in memory order counts.

    Raises
    ------
    KindError, ShapeError, SettingError
        As for `mass_on_mask`.

    References
    ----------
    .. [1] J. Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016.

    Examples
    --------
    >>> pointing_game(torch.tensor([[1.0, -5.0], [1.0, 0.5]]), torch.tensor([[False, True]] * 2))
    tensor([1., 0.])
    """
    size, inside, known = _measured(scores, mask, part)
    highest = size.argmax(dim=1, keepdim=True)
    return inside.gather(1, highest).squeeze(1).to(size.dtype).where(known, math.nan)


def overlap(scores: Tensor | Attribution, mask: Tensor, threshold: float, part: str = "magnitude") -> Tensor:
    """Measure the overlap of the map above a threshold with the mask: intersection over union.

    Parameters
    ----------
    scores : Attribution or Tensor, shape (batch, *event), float
        Attribution scores, in any unit: each row is divided by its highest score first.
    mask : Tensor, shape (batch, *event) or without the channel axis, bool
        The region.
    threshold : float
        In [0, 1): elements above it, as a share of the highest score of the row, are the map's
        region. Choose it on other rows than those reported: the best threshold for the rows at
        hand flatters every method, and the more the fewer rows there are.
    part : {"magnitude", "positive"}
        Which part of signed scores counts; see `mass_on_mask`.

    Returns
    -------
    Tensor, shape (batch,), float
        In [0, 1]; NaN for a row whose mask is empty or whose scores are all zero or not finite.

    Raises
    ------
    KindError, ShapeError
        As for `mass_on_mask`.
    SettingError
        If there is no such part, or the threshold is not in [0, 1).

    Examples
    --------
    >>> overlap(torch.tensor([[4.0, -3.0, 1.0]]), torch.tensor([[True, False, False]]), threshold=0.5)
    tensor([0.5000])
    """
    check_cutoff(threshold, "threshold")
    size, inside, known = _measured(scores, mask, part)
    above = normalised(size) > threshold
    union = (above | inside).sum(dim=1)
    return ((above & inside).sum(dim=1).to(size.dtype) / union).where(known, math.nan)


def area_under_roc(scores: Tensor | Attribution, mask: Tensor, part: str = "magnitude") -> Tensor:
    """Measure how well the scores tell the inside of the mask from its outside, row by row.

    The chance that an element inside scores higher than one outside, ties counting half: the area
    under the receiver operating characteristic of scores against mask. It needs no threshold; a
    map drawn at random, or the same everywhere, has 0.5.

    Parameters
    ----------
    scores : Attribution or Tensor, shape (batch, *event), float
        Attribution scores, in any unit.
    mask : Tensor, shape (batch, *event) or without the channel axis, bool
        The region.
    part : {"magnitude", "positive"}
        Which part of signed scores counts; see `mass_on_mask`.

    Returns
    -------
    Tensor, shape (batch,), float
        In [0, 1]; NaN for a row whose mask is empty or everything, or whose scores are all zero or
        not finite.

    Raises
    ------
    KindError, ShapeError, SettingError
        As for `mass_on_mask`.

    Examples
    --------
    >>> area_under_roc(torch.tensor([[3.0, 2.0, -1.0]]), torch.tensor([[False, True, False]]))
    tensor([0.5000])
    """
    size, inside, known = _measured(scores, mask, part)
    within = inside.sum(dim=1)
    without = inside.shape[1] - within
    ranks = doubled_ranks(size.where(known[:, None], 0.0))
    # Mann and Whitney's U, doubled: whole numbers until the only division, which is 0 / 0 for a mask of everything.
    doubled_wins = ranks.where(inside, 0).sum(dim=1) - within * (within + 1)
    area = doubled_wins.to(size.dtype) / (2 * within * without)
    return area.where(known, math.nan)


def reason_share(scores: Tensor | Attribution, mask: Tensor, cutoff: float = 0.67) -> Tensor:
    """Measure which share of what is shown as the reason lies inside the mask.

    ``|M ∩ m| / |M|`` with M the elements whose magnitude exceeds the cutoff times the largest of
    their row, which is how [1]_ shows an explanation; their sign is not used.

    Parameters
    ----------
    scores : Attribution or Tensor, shape (batch, *event), float
        Attribution scores, in any unit; input gradients in the paper.
    mask : Tensor, shape (batch, *event) or without the channel axis, bool
        The region.
    cutoff : float
        In [0, 1).

    Returns
    -------
    Tensor, shape (batch,), float
        In [0, 1]; NaN for a row whose mask is empty or whose scores are all zero or not finite.

    Raises
    ------
    KindError, ShapeError
        As for `mass_on_mask`.
    SettingError
        If the cutoff is not in [0, 1).

    References
    ----------
    .. [1] A. S. Ross, M. C. Hughes, F. Doshi-Velez, "Right for the Right Reasons: Training
       Differentiable Models by Constraining their Explanations", IJCAI 2017.

    Examples
    --------
    >>> reason_share(torch.tensor([[3.0, -2.9, 1.0]]), torch.tensor([[True, False, True]]))
    tensor([0.5000])
    """
    check_cutoff(cutoff, "cutoff")
    size, inside, known = _measured(scores, mask, "magnitude")
    shown = normalised(size) > cutoff
    return ((shown & inside).sum(dim=1).to(size.dtype) / shown.sum(dim=1)).where(known, math.nan)


def flat_scores(scores: Tensor | Attribution) -> Tensor:
    """Flatten scores to (rows, elements), in single precision at least; raise unless they are scores of rows."""
    scores = scores_of(scores)
    if not scores.is_floating_point():
        raise KindError(f"`scores` must be floating point; got {scores.dtype}.")
    if scores.ndim < 2 or 0 in scores.shape[1:]:
        raise ShapeError(
            f"`scores` must have shape (batch, *event), with at least one element a row; got {tuple(scores.shape)}."
        )
    # Half precision would overflow in sums over an image.
    return scores.flatten(1).to(torch.promote_types(scores.dtype, torch.float32))


def normalised(size: Tensor) -> Tensor:
    """Divide each row of non-negative sizes, (rows, elements), by its largest; zero stays zero."""
    largest = size.amax(dim=1, keepdim=True)
    return size / largest.where(largest > 0, 1.0)


def part_of(signed: Tensor, part: str) -> Tensor:
    """Take the magnitude, or the positive part, of signed scores; raise SettingError for another part."""
    if part not in PARTS:
        raise SettingError(f"`part` must be one of {', '.join(PARTS)}; got {part!r}.")
    return signed.abs() if part == "magnitude" else signed.clamp(min=0)


def check_cutoff(value: float, name: str) -> None:
    """Raise SettingError unless the value is a share that something can exceed, in [0, 1)."""
    if not 0 <= value < 1:
        raise SettingError(f"`{name}` must lie in [0, 1), as a share of the highest score of a row; got {value}.")


def _measured(scores: Tensor | Attribution, mask: Tensor, part: str) -> tuple[Tensor, Tensor, Tensor]:
    """Flatten to (rows, elements): the part of the scores asked for, the mask; and which rows can be measured."""
    scores = scores_of(scores)
    signed = flat_scores(scores)
    size = part_of(signed, part)
    inside = expand_mask(mask, scores).flatten(1).to(scores.device)
    known = inside.any(dim=1) & signed.isfinite().all(dim=1) & (size > 0).any(dim=1)
    return size, inside, known

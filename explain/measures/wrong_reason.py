"""The wrong-reason measure: how much of the forbidden region a model's map lights up."""

import math

from torch import Tensor

from ..attribution import Attribution, scores_of
from ..masks import expand_mask
from .regions import check_cutoff, flat_scores, normalised, part_of

__all__ = ["mean_normalised_score", "wrong_reason"]


def wrong_reason(
    scores: Tensor | Attribution, mask: Tensor, threshold: float | None = None, part: str = "positive"
) -> Tensor:
    """Measure which share of the forbidden region is relevant to the model, row by row.

    ``WR = Σ (1[ĥ > t] ⊙ m) / Σ m`` as in [1]_, with ĥ the positive part of the scores (or their
    magnitude) over its largest in the row. Papers report the mean over rows in per cent: ``100 * share.nanmean()``.

    Parameters
    ----------
    scores : Attribution or Tensor, shape (batch, *event), float
        Signed attribution scores, in any unit.
    mask : Tensor, shape (batch, *event) or without the channel axis, bool
        The region that must not matter.
    threshold : float or None
        t, in [0, 1). None takes the mean of ĥ over the rows given: right only if they are the
        whole dataset.
    part : {"positive", "magnitude"}
        Which part of signed scores counts. The paper's is "positive", which suits Grad-CAM and what adds
        up to the output; a plain gradient has no preferred sign, so that half of it would be left out:
        give "magnitude".

    Returns
    -------
    Tensor, shape (batch,), float
        In [0, 1], lower is better; NaN for a row whose mask is empty, that has no score of the part
        asked for (no positive one, or none but zeros), or one that is not finite.

    Raises
    ------
    KindError, ShapeError
        If the mask is not boolean or does not fit the scores, or the scores are not floating point.
    SettingError
        If the threshold is not in [0, 1), or there is no such part.

    Notes
    -----
    The threshold of the paper is the mean of ĥ over the dataset, *for this model*. Two things
    follow. A dataset measured in batches needs the threshold first, or each batch has its own and
    a row's figure depends on its company::

        means = torch.cat([mean_normalised_score(scores, part) for scores in batches])
        threshold = float(means.nanmean())

    And the figures of two models were taken at two thresholds: a model whose maps are diffuse has a
    high one and may look better for it. Report `mass_on_mask` beside it.

    References
    ----------
    .. [1] F. Friedrich, W. Stammer, P. Schramowski, K. Kersting, "A Typology for Exploring the
       Mitigation of Shortcut Behaviour", Nature Machine Intelligence 5, 2023.

    Examples
    --------
    >>> import torch
    >>> scores = torch.tensor([[4.0, 3.0, 0.0, -9.0]])
    >>> wrong_reason(scores, torch.tensor([[True, False, True, False]]))
    tensor([0.5000])
    """
    if threshold is not None:
        check_cutoff(threshold, "threshold")
    scores = scores_of(scores)
    height, known = _heights(scores, part)
    inside = expand_mask(mask, scores).flatten(1).to(scores.device)
    cut = height[known].mean() if threshold is None else threshold
    area = inside.sum(dim=1)
    lit = ((height > cut) & inside).sum(dim=1).to(height.dtype)
    return (lit / area).where(known & (area > 0), math.nan)


def mean_normalised_score(scores: Tensor | Attribution, part: str = "positive") -> Tensor:
    """Average ĥ, the positive part of the scores (or their magnitude) over its largest, over each row.

    The mean of these over the rows of a dataset is the threshold of `wrong_reason`.

    Parameters
    ----------
    scores : Attribution or Tensor, shape (batch, *event), float
        Signed attribution scores, in any unit.
    part : {"positive", "magnitude"}
        As for `wrong_reason`.

    Returns
    -------
    Tensor, shape (batch,), float
        In [0, 1]; NaN for a row that has no score of the part asked for, or one that is not finite.

    Raises
    ------
    KindError, ShapeError
        If the scores are not floating point, or not (batch, *event).
    SettingError
        If there is no such part.

    Examples
    --------
    >>> import torch
    >>> mean_normalised_score(torch.tensor([[4.0, 2.0, 0.0, -9.0], [-1.0, 0.0, 0.0, 0.0]]))
    tensor([0.3750,    nan])
    """
    height, known = _heights(scores, part)
    return height.mean(dim=1).where(known, math.nan)


def _heights(scores: Tensor | Attribution, part: str) -> tuple[Tensor, Tensor]:
    """Give ĥ, shape (rows, elements), and for which rows it exists."""
    flat = flat_scores(scores)
    size = part_of(flat, part)
    return normalised(size), flat.isfinite().all(dim=1) & (size > 0).any(dim=1)

"""Are the tokens called relevant those that a person marks (ERASER's plausibility)?"""

import torch
from torch import Tensor

from ..attribution import Attribution, scores_of
from ..errors import SettingError, ShapeError
from ..masks import check_bool
from .text import real_tokens

__all__ = ["area_under_precision_recall", "span_f1", "token_f1"]


def token_f1(predicted: Tensor, gold: Tensor, tokens: Tensor | None = None) -> Tensor:
    """Compare two rationales token by token: the harmonic mean of precision and recall.

    Parameters
    ----------
    predicted, gold : Tensor, shape (batch, tokens), bool
        The model's rationale and a person's.
    tokens : Tensor or None, shape (batch, tokens), bool
        True for the tokens of the text; others are left out. None: all count.

    Returns
    -------
    Tensor, shape (batch,), float
        In [0, 1]; NaN for a row in which the person marked nothing.

    Raises
    ------
    ShapeError, KindError
        If one of the three is not boolean, or they differ in shape.

    References
    ----------
    .. [1] J. DeYoung et al., "ERASER: A Benchmark to Evaluate Rationalized NLP Models", ACL 2020.

    Examples
    --------
    >>> token_f1(torch.tensor([[True, True, False]]), torch.tensor([[True, False, False]]))
    tensor([0.6667])
    """
    predicted, gold = _rationales(predicted, gold, tokens)
    marked = gold.sum(dim=1)
    score = 2 * (predicted & gold).sum(dim=1) / (predicted.sum(dim=1) + marked)
    return score.where(marked > 0, torch.nan)


def span_f1(predicted: Tensor, gold: Tensor, tokens: Tensor | None = None, threshold: float = 0.5) -> Tensor:
    """Compare two rationales span by span, where a span is a run of marked tokens as long as can be.

    A span is found if its overlap with one of the other side, intersection over union, reaches the
    threshold [1]_. From one half on, no span can have two partners.

    Parameters
    ----------
    predicted, gold : Tensor, shape (batch, tokens), bool
        The model's rationale and a person's.
    tokens : Tensor or None, shape (batch, tokens), bool
        True for the tokens of the text; others break a span. None: all count.
    threshold : float
        In [0.5, 1].

    Returns
    -------
    Tensor, shape (batch,), float
        In [0, 1]; NaN for a row in which the person marked nothing.

    Raises
    ------
    ShapeError, KindError
        If one of the three is not boolean, or they differ in shape.
    SettingError
        If the threshold is not in [0.5, 1].

    References
    ----------
    .. [1] J. DeYoung et al., "ERASER: A Benchmark to Evaluate Rationalized NLP Models", ACL 2020.

    Examples
    --------
    The first span is met by half, the second is missed:

    >>> gold = torch.tensor([[True, True, False, True]])
    >>> span_f1(torch.tensor([[True, False, False, False]]), gold)
    tensor([0.6667])
    """
    if not 0.5 <= threshold <= 1:
        raise SettingError(f"`threshold` must lie in [0.5, 1], where partners are unique; got {threshold}.")
    predicted, gold = _rationales(predicted, gold, tokens)
    mine, theirs = _numbered_runs(predicted), _numbered_runs(gold)
    my_lengths, their_lengths = (torch.bincount(run.flatten()) for run in (mine, theirs))
    both = predicted & gold
    pairs, shared = torch.unique(torch.stack([mine[both], theirs[both]]), dim=1, return_counts=True)
    union = my_lengths[pairs[0]] + their_lengths[pairs[1]] - shared
    found = pairs[0][shared >= threshold * union]
    hit = torch.zeros_like(my_lengths, dtype=torch.bool)
    hit[found] = True
    hits = (hit[mine] & _starts(predicted)).sum(dim=1)
    wanted = _starts(gold).sum(dim=1)
    return (2 * hits / (_starts(predicted).sum(dim=1) + wanted)).where(wanted > 0, torch.nan)


def area_under_precision_recall(scores: Tensor | Attribution, gold: Tensor, tokens: Tensor | None = None) -> Tensor:
    """Measure how well scores put a person's tokens before the others, without a threshold.

    Average precision: the mean, over the person's tokens, of the precision among all tokens that
    score at least as high. Scores drawn at random, or all equal, have the person's share of the tokens.

    Parameters
    ----------
    scores : Attribution or Tensor, shape (batch, tokens), float
        Signed attribution scores; the largest come first. To rank by size, as for a plain gradient, give
        ``attribution.scores.abs()``.
    gold : Tensor, shape (batch, tokens), bool
        The tokens that a person marked.
    tokens : Tensor or None, shape (batch, tokens), bool
        True for the tokens of the text; others are left out. None: all count.

    Returns
    -------
    Tensor, shape (batch,), float
        In [0, 1]; NaN for a row in which the person marked nothing, or whose scores are all zero or
        not finite.

    Raises
    ------
    ShapeError, KindError
        If a mask is not boolean, the scores are not floating point, or the shapes differ.

    Notes
    -----
    ERASER [1]_ joins the points of the curve by straight lines, which flatters [2]_; the steps used here do not.

    References
    ----------
    .. [1] J. DeYoung et al., "ERASER: A Benchmark to Evaluate Rationalized NLP Models", ACL 2020.
    .. [2] J. Davis, M. Goadrich, "The Relationship Between Precision-Recall and ROC Curves", ICML 2006.

    Examples
    --------
    >>> area_under_precision_recall(torch.tensor([[0.9, 0.5, 0.1]]), torch.tensor([[True, False, True]]))
    tensor([0.8333])
    """
    scores = scores_of(scores)
    among = real_tokens(scores, tokens)
    check_bool(gold, "gold")
    if gold.shape != scores.shape:
        raise ShapeError(f"`gold` must have shape {tuple(scores.shape)}, as the scores; got {tuple(gold.shape)}.")
    gold = gold.to(scores.device) & among
    usable = (scores.isfinite() | ~among).all(dim=1) & ((scores != 0) & among).any(dim=1)
    # Ascending by the negative: what scores at least as high stands at or before the last of its equals.
    cost = (-scores).where(among & usable[:, None], torch.inf)
    ordered, order = cost.sort(dim=1)
    reached = torch.searchsorted(ordered.contiguous(), ordered.contiguous(), right=True)
    wanted = gold.gather(1, order)
    precision = wanted.cumsum(dim=1).gather(1, reached - 1) / reached
    marked = gold.sum(dim=1)
    return (precision.where(wanted, 0.0).sum(dim=1) / marked).where(usable & (marked > 0), torch.nan)


def _rationales(predicted: Tensor, gold: Tensor, tokens: Tensor | None) -> tuple[Tensor, Tensor]:
    """Check two rationales and leave out what is no token of the text."""
    check_bool(predicted, "predicted")
    check_bool(gold, "gold")
    if predicted.ndim != 2 or predicted.shape != gold.shape or (tokens is not None and tokens.shape != gold.shape):
        others = "" if tokens is None else f" and {tuple(tokens.shape)}"
        raise ShapeError(
            "`predicted`, `gold` and `tokens` must have the same shape (batch, tokens); "
            f"got {tuple(predicted.shape)}, {tuple(gold.shape)}{others}."
        )
    gold = gold.to(predicted.device)
    if tokens is None:
        return predicted, gold
    check_bool(tokens, "tokens")
    tokens = tokens.to(predicted.device)
    return predicted & tokens, gold & tokens


def _starts(marked: Tensor) -> Tensor:
    """Mark the first token of each run, shape (batch, tokens), bool."""
    before = torch.nn.functional.pad(marked, (1, 0), value=False)[:, :-1]
    return marked & ~before


def _numbered_runs(marked: Tensor) -> Tensor:
    """Number the runs of all rows from 1 on, and everything between them 0; shape (batch, tokens), int64."""
    numbers = _starts(marked).flatten().cumsum(0).reshape(marked.shape)
    return numbers.where(marked, 0)

"""Are the tokens called relevant those that the model uses (ERASER's faithfulness)?"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from ..as_used import as_used
from ..attribution import Attribution, scores_of
from ..batch import Logits
from ..errors import KindError, SettingError, ShapeError
from ..masks import check_bool
from .ranks import place_in_order
from .variants import predicted_probability, variant_values

__all__ = [
    "SHARES",
    "Removal",
    "comprehensiveness",
    "real_tokens",
    "sufficiency",
    "top_tokens",
]

SHARES = (0.01, 0.05, 0.10, 0.20, 0.50)

Removal: TypeAlias = float | Tensor | Callable[[Tensor, Tensor], Tensor]


@as_used
def comprehensiveness(
    forward: Logits,
    inputs: Tensor,
    scores: Tensor | Attribution,
    tokens: Tensor | None = None,
    *,
    filler: Removal,
    shares: Sequence[float] = SHARES,
    batch_size: int = 256,
) -> Tensor:
    """Measure how much the model loses with the most relevant tokens: were they all it needed?

    ``p(ŷ | x) − p(ŷ | x∖r)`` with ŷ the class predicted for the whole text and r the highest scored
    tokens, averaged over shares of the tokens [1]_.

    Parameters
    ----------
    forward : Forward, module or function
        Token ids, or embedded tokens, to logits; asked in evaluation mode, and left as found. It has
        to find the padding in what it is given.
    inputs : Tensor, shape (batch, tokens) int64, or (batch, tokens, features) float
        What `forward` takes.
    scores : Attribution or Tensor, shape (batch, tokens), float
        Signed attribution scores; the largest count as most relevant, the first of equals before
        the others. To rank by size, as for a plain gradient, give ``attribution.scores.abs()``.
    tokens : Tensor or None, shape (batch, tokens), bool
        True for the tokens of the text, which may be removed: not padding, and not the tokens that
        every text has, such as [CLS]. None: all of them.
    filler : int, float, Tensor or callable
        What stands in for a removed token: a token id for ids; a number, or a vector of shape
        (features,), for embedded tokens; or a function ``(inputs, removed) -> inputs`` with
        `removed` of shape (pairs, tokens), bool, which may as well close the gaps.
    shares : sequence of float
        Shares of the text that count as the rationale, in (0, 1]; rounded up to whole tokens, so
        that each holds one token at least.
    batch_size : int
        Perturbed rows per forward pass.

    Returns
    -------
    Tensor, shape (batch,), float
        In [−1, 1], high is good. NaN for a row without tokens, or whose scores are not finite or all
        equal.

    Raises
    ------
    ShapeError
        If scores, tokens or a filler do not fit the inputs.
    KindError
        If `tokens` are not boolean, the scores not floating point, or token ids are to be filled
        with anything but a token id.
    SettingError
        If there is no share, or one is not in (0, 1].

    References
    ----------
    .. [1] J. DeYoung et al., "ERASER: A Benchmark to Evaluate Rationalized NLP Models", ACL 2020.

    Examples
    --------
    A model that counts the word 7, and scores that know it:

    >>> count = lambda ids: (ids == 7).sum(dim=1)[:, None] * torch.tensor([4.0, 0.0])
    >>> comprehensiveness(count, torch.tensor([[7, 3, 5]]), torch.tensor([[1.0, 0.0, 0.0]]), filler=0)
    tensor([0.4820])
    """
    return _mean_drop(forward, inputs, scores, tokens, filler, shares, batch_size, keep=False)


@as_used
def sufficiency(
    forward: Logits,
    inputs: Tensor,
    scores: Tensor | Attribution,
    tokens: Tensor | None = None,
    *,
    filler: Removal,
    shares: Sequence[float] = SHARES,
    batch_size: int = 256,
) -> Tensor:
    """Measure how much the model loses when it keeps the most relevant tokens alone: are they enough?

    ``p(ŷ | x) − p(ŷ | r)``, averaged over shares of the tokens [1]_.

    Parameters
    ----------
    forward, inputs, scores, tokens, filler, shares, batch_size
        As for `comprehensiveness`; what is not in `tokens` is kept in any case.

    Returns
    -------
    Tensor, shape (batch,), float
        In [−1, 1], *low* is good; NaN as for `comprehensiveness`.

    Raises
    ------
    ShapeError, KindError, SettingError
        As for `comprehensiveness`.

    References
    ----------
    .. [1] J. DeYoung et al., "ERASER: A Benchmark to Evaluate Rationalized NLP Models", ACL 2020.

    Examples
    --------
    >>> count = lambda ids: (ids == 7).sum(dim=1)[:, None] * torch.tensor([4.0, 0.0])
    >>> sufficiency(count, torch.tensor([[7, 3, 5]]), torch.tensor([[1.0, 0.0, 0.0]]), filler=0)
    tensor([0.])
    """
    return _mean_drop(forward, inputs, scores, tokens, filler, shares, batch_size, keep=True)


def top_tokens(scores: Tensor | Attribution, share: float, tokens: Tensor | None = None) -> Tensor:
    """Choose the highest scored tokens of each row: a rationale to compare with a person's.

    Parameters
    ----------
    scores : Attribution or Tensor, shape (batch, tokens), float
        Signed; of equals the first goes first.
    share : float
        Share of the tokens of each row, in (0, 1]; rounded up to whole tokens.
    tokens : Tensor or None, shape (batch, tokens), bool
        True for the tokens of the text. None: all of them.

    Returns
    -------
    Tensor, shape (batch, tokens), bool
        Nothing in a row that holds a score that is not finite.

    Raises
    ------
    ShapeError, KindError, SettingError
        As for `comprehensiveness`.

    Examples
    --------
    >>> top_tokens(torch.tensor([[0.1, 0.9, 0.5]]), 0.5)
    tensor([[False,  True,  True]])
    """
    scores = scores_of(scores)
    among = real_tokens(scores, tokens)
    places, _ = place_in_order(scores, among)
    finite = (scores.isfinite() | ~among).all(dim=1, keepdim=True)
    return (places < _counts(among, (share,)).to(places.device)) & finite


def _mean_drop(
    forward: Logits,
    inputs: Tensor,
    scores: Tensor | Attribution,
    tokens: Tensor | None,
    filler: Removal,
    shares: Sequence[float],
    batch_size: int,
    *,
    keep: bool,
) -> Tensor:
    """Average p(ŷ | x) − p(ŷ | x without the top tokens), or with nothing else, over shares."""
    scores = scores_of(scores)
    if inputs.ndim < 2 or tuple(scores.shape) != tuple(inputs.shape[:2]):
        raise ShapeError(
            "`inputs` must have shape (batch, tokens) or (batch, tokens, features) and `scores` shape "
            f"(batch, tokens); got {tuple(inputs.shape)} and {tuple(scores.shape)}."
        )
    remove = _removal(filler, inputs)
    among = real_tokens(scores, tokens)
    limits = _counts(among, shares).to(inputs.device)
    places, ordered = place_in_order(scores, among)
    places, among = places.to(inputs.device), among.to(inputs.device)

    def vary(rows: Tensor, share: Tensor) -> Tensor:
        rows, share = rows.to(inputs.device), share.to(inputs.device)
        top = places[rows] < limits[rows, share][:, None]
        return remove(inputs[rows], among[rows] & ~top if keep else top)

    whole, value = predicted_probability(forward, inputs, batch_size)
    left = variant_values(forward, len(inputs), len(shares), vary, value, batch_size=batch_size)
    return (whole[:, None] - left).mean(dim=1).where(ordered.to(whole.device), torch.nan)


def _removal(filler: Removal, inputs: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    if callable(filler) and not isinstance(filler, Tensor):
        return filler
    if not inputs.is_floating_point() and (isinstance(filler, bool) or not isinstance(filler, int)):
        raise KindError(f"Token ids are filled with a token id, an int, or by a function; got {filler!r}.")
    stand_in = torch.as_tensor(filler, dtype=inputs.dtype, device=inputs.device)
    features = inputs.shape[2:]
    if stand_in.ndim > 0 and stand_in.shape != features:
        raise ShapeError(f"`filler` must be a number or have shape {tuple(features)}; got {tuple(stand_in.shape)}.")

    def remove(whole: Tensor, removed: Tensor) -> Tensor:
        return torch.where(removed.reshape(*removed.shape, *[1] * len(features)), stand_in, whole)

    return remove


def real_tokens(scores: Tensor, tokens: Tensor | None) -> Tensor:
    """Check scores and tokens, and give the latter a value on the device of the former."""
    if not scores.is_floating_point():
        raise KindError(f"`scores` must be floating point; got {scores.dtype}.")
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise ShapeError(f"`scores` must have shape (batch, tokens), with a token at least; got {tuple(scores.shape)}.")
    if tokens is None:
        return torch.ones_like(scores, dtype=torch.bool)
    check_bool(tokens, "tokens")
    if tokens.shape != scores.shape:
        raise ShapeError(f"`tokens` must have shape {tuple(scores.shape)}, as the scores; got {tuple(tokens.shape)}.")
    return tokens.to(scores.device)


def _counts(among: Tensor, shares: Sequence[float]) -> Tensor:
    """Count the tokens that make up each share of each row, shape (batch, shares), int64, on the CPU."""
    if not shares or not all(0 < share <= 1 for share in shares):
        raise SettingError(f"Shares of the tokens must lie in (0, 1], and there must be one; got {tuple(shares)}.")
    exact = among.sum(dim=1).cpu().double()[:, None] * torch.tensor(shares, dtype=torch.float64)
    # 7 % of 100 tokens are 7, not 8, although 0.07 × 100 is a little more in floating point.
    return (exact - 1e-9).ceil().long()

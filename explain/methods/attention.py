"""Relevance of tokens, from the attention of a transformer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ..as_used import as_used
from ..attribution import Attribution
from ..batch import Logits
from ..errors import GraphError, LayerError, SettingError, ShapeError
from ..target import Target, target_values
from .passes import check_counts, split_passes
from .pinned import check_repeatable

__all__ = ["attention_rollout", "gradient_attention"]


@as_used
def attention_rollout(
    forward: Logits,
    inputs: Tensor,
    target: Target = "max_logit",
    labels: Tensor | None = None,
    *,
    token: int | str = 0,
    batch_size: int = 64,
) -> Attribution:
    """Multiply the attention of all layers, each mixed half and half with the identity [1]_.

    ``Ã = ½ mean over heads (A) + ½ I``, rows divided by their sums, and ``R = Ã_L ⋯ Ã_1``. It tells
    where information could have come from, not what for: no output enters it, so that `target` and
    `labels` are recorded with the result and change nothing.

    Parameters
    ----------
    forward : Forward, module or function
        Model inputs to logits, with self-attention over one sequence of tokens: through
        ``torch.nn.functional.scaled_dot_product_attention`` (Hugging Face: ``attn_implementation="sdpa"``)
        or torch's own modules. Attention written with other functions is not seen.
    inputs : Tensor, shape (batch, ...)
        Embedded tokens, images, or token numbers of any integer dtype.
    target : str, int or callable
        Not used.
    labels : Tensor or None
        Not used.
    token : int or "mean"
        Which token's relevance is asked for: that of the position that the classifier reads (0 for a
        leading [CLS], −1 for the last), or "mean" over all, for a model that averages.
    batch_size : int
        Rows per forward pass.

    Returns
    -------
    Attribution
        With `scores` of shape (batch, tokens), not negative; each row sums to one.

    Raises
    ------
    LayerError
        If no attention was seen.
    ShapeError
        If a layer does not have one square map for each row and head, of the same tokens as the others.
    SettingError
        If there is no such token.

    Notes
    -----
    While it runs, attention is computed in plain steps that keep its weights, without dropout. Only
    this thread's calls are affected, and nothing is set on the model.

    References
    ----------
    .. [1] S. Abnar, W. Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020.

    Examples
    --------
    One layer whose tokens attend evenly:

    >>> def model(x):
    ...     return F.scaled_dot_product_attention(x * 0, x * 0, x).mean(dim=1)
    >>> attention_rollout(model, torch.rand(1, 4, 2)).scores
    tensor([[0.6250, 0.1250, 0.1250, 0.1250]])
    """

    def relevance(rows: Tensor, _: Tensor | None) -> Tensor:
        _, maps = _attended(forward, rows)
        flow = None
        for seen in maps:
            weights = seen.weights()
            mixed = (weights.mean(dim=1) + _eye_like(weights)) / 2
            mixed = mixed / mixed.sum(dim=-1, keepdim=True)
            flow = mixed if flow is None else mixed @ flow
        assert flow is not None
        return flow

    return Attribution(_by_token(relevance, inputs, None, token, batch_size), target, "attention_rollout")


@as_used
def gradient_attention(
    forward: Logits,
    inputs: Tensor,
    target: Target = "max_logit",
    labels: Tensor | None = None,
    *,
    token: int | str = 0,
    batch_size: int = 64,
) -> Attribution:
    """Gather attention layer by layer, weighted by the gradient of the target [1]_.

    ``A̅ = mean over heads (∇A ⊙ A)⁺`` and ``R ← R + A̅ R`` from ``R = I`` on, through the layers: the
    rule for self-attention of the paper. The identity, which says only that a token is itself, is taken
    off at the end.

    Parameters
    ----------
    forward, inputs, token, batch_size
        As for `attention_rollout`.
    target : str, int or callable
        What is explained; see `target_values`. The paper takes a logit.
    labels : Tensor or None, shape (batch,), int64
        For targets that need them.

    Returns
    -------
    Attribution
        With `scores` of shape (batch, tokens), not negative.

    Raises
    ------
    LayerError
        If no attention was seen.
    ShapeError
        If a layer does not have one square map for each row and head, of the same tokens as the others.
    GraphError
        If the target does not depend on the attention through autograd.
    SettingError
        If there is no such token.
    TargetError
        See `target_values`.

    Notes
    -----
    As for `attention_rollout`. A layer on which the target does not depend adds nothing.

    References
    ----------
    .. [1] H. Chefer, S. Gur, L. Wolf, "Generic Attention-model Explainability for Interpreting Bi-Modal and
       Encoder-Decoder Transformers", ICCV 2021.

    Examples
    --------
    Attention is even; only attention to the second token raises the logit:

    >>> def model(x):
    ...     return F.scaled_dot_product_attention(x * 0, x * 0, x)[:, 0]
    >>> gradient_attention(model, torch.tensor([[[-1.0], [4.0]]]), target=0).scores
    tensor([[0., 2.]])
    """

    check_repeatable(target)

    def relevance(rows: Tensor, known: Tensor | None) -> Tensor:
        with torch.enable_grad():
            logits, maps = _attended(forward, rows)
            total = target_values(logits, target, known).sum()
            origins = [seen.origin for seen in maps]
            slopes = torch.autograd.grad(total, origins, allow_unused=True) if total.requires_grad else ()
        if all(slope is None for slope in slopes):
            raise GraphError(
                "The target must depend on the attention through autograd; it does not. Does the forward pass "
                "detach, or run under `torch.no_grad`?"
            )
        identity = _eye_like(maps[0].weights())
        flow = identity.expand(len(rows), -1, -1)
        for seen, slope in zip(maps, slopes, strict=True):
            if slope is not None:
                flow = flow + (slope.view(seen.shape) * seen.weights()).clamp(min=0).mean(dim=1) @ flow
        return flow - identity

    return Attribution(_by_token(relevance, inputs, labels, token, batch_size), target, "gradient_attention")


@dataclass(frozen=True, eq=False)
class _Map:
    """Attention weights of one layer: a tensor of the graph, and its shape as (rows, heads, tokens, tokens)."""

    origin: Tensor
    shape: tuple[int, ...]

    def weights(self) -> Tensor:
        return self.origin.detach().view(self.shape)


class _Attending(TorchFunctionMode):
    """Computes attention in plain steps, in this thread, and keeps its weights in the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.maps: list[_Map] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **(kwargs or {}))
        if func is F.multi_head_attention_forward:
            return self._attend_by_module(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Do what `scaled_dot_product_attention` does, by its documentation, without dropout."""
        if enable_gqa:
            shared = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(shared, dim=-3), value.repeat_interleave(shared, dim=-3)
        scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -math.inf)
        elif attn_mask is not None:
            scores = scores + attn_mask
        # A token that may look nowhere gets zeros; a softmax over nothing would be NaN, and so its gradient.
        nowhere = (scores == -math.inf).all(dim=-1, keepdim=True)
        weights = scores.masked_fill(nowhere, 0.0).softmax(dim=-1).masked_fill(nowhere, 0.0)
        if torch.is_grad_enabled() and not weights.requires_grad:
            # Frozen parameters and token numbers leave nothing to differentiate: begin the graph here.
            weights = weights.requires_grad_()
        shape = tuple(weights.shape)
        self.maps.append(_Map(weights, shape if len(shape) != 3 else (shape[0], 1, *shape[1:])))
        return weights @ value

    def _attend_by_module(self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Ask torch's own function for its weights: what it calls inside is out of this mode's reach."""
        wanted, averaged = kwargs["need_weights"], kwargs["average_attn_weights"]
        if torch.is_grad_enabled() and not query.requires_grad:
            query = query.detach().clone().requires_grad_()
        kwargs |= {"need_weights": True, "average_attn_weights": False, "training": False}
        output, weights = F.multi_head_attention_forward(query, key, value, *args, **kwargs)
        assert weights is not None
        # What it returns is a view beside the path; the output was computed from what that views.
        origin = weights if weights._base is None else weights._base
        self.maps.append(_Map(origin, tuple(weights.shape)))
        return output, (weights.mean(dim=-3) if averaged else weights) if wanted else None


def _attended(forward: Logits, rows: Tensor) -> tuple[Tensor, list[_Map]]:
    """Run the model and keep its attention, one map a layer in the order of the calls."""
    with _Attending() as attending:
        logits = forward(rows.clone())
    if not attending.maps:
        raise LayerError(
            "The model must attend through torch.nn.functional.scaled_dot_product_attention or "
            "torch.nn.MultiheadAttention; no call was seen. For a Hugging Face model, load it with "
            'attn_implementation="sdpa"; for a network without attention, use gradients or perturbations.'
        )
    tokens = attending.maps[0].shape[-1]
    for number, seen in enumerate(attending.maps):
        if len(seen.shape) != 4 or seen.shape[0] != len(rows) or seen.shape[2:] != (tokens, tokens):
            raise ShapeError(
                f"Each layer must attend within one sequence, weights of shape ({len(rows)}, heads, {tokens}, "
                f"{tokens}) for this batch; attention {number} has {seen.shape}. Cross-attention, windows and "
                "pooled sequences have no rule here: use gradients or perturbations."
            )
    return logits, attending.maps


def _eye_like(weights: Tensor) -> Tensor:
    """Return the identity over the tokens of a map, shape (tokens, tokens)."""
    return torch.eye(weights.shape[-1], dtype=weights.dtype, device=weights.device)


def _by_token(
    relevance: Callable[[Tensor, Tensor | None], Tensor],
    inputs: Tensor,
    labels: Tensor | None,
    token: int | str,
    batch_size: int,
) -> Tensor:
    """Take the row of the token asked from the relevance of each part of the batch."""
    check_counts(batch_size=batch_size)
    if len(inputs) == 0:
        raise ShapeError(f"`inputs` must have at least one row, which tells the tokens; got {tuple(inputs.shape)}.")
    if token != "mean" and (isinstance(token, bool) or not isinstance(token, int)):
        raise SettingError(f"`token` must be a position or 'mean'; got {token!r}.")
    parts = []
    for rows in split_passes(len(inputs), 1, batch_size)[0]:
        found = relevance(inputs[rows].detach().clone(), None if labels is None else labels[rows])
        tokens = found.shape[1]
        if isinstance(token, int) and not -tokens <= token < tokens:
            raise SettingError(f"`token` must lie in [{-tokens}, {tokens}) for these {tokens} tokens; got {token}.")
        parts.append(found[:, token] if isinstance(token, int) else found.mean(dim=1))
    return torch.cat(parts)

"""Contextual decomposition: the logits split into what a part of the input brings and what the rest does."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .batch import Logits, check_float
from .errors import KindError, LayerError
from .layers import held_still, module_of
from .masks import expand_mask
from .rules import Rule, nothing_dropped, propagate, scale_and_shift

__all__ = ["contextual_decomposition"]


def contextual_decomposition(forward: Logits, inputs: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Split the logits into the share of the marked inputs and that of all others.

    Each layer passes on two tensors, β and γ, whose sum is its plain output. They start as the marked
    and the other inputs, and go by the rules of [1]_ for convolutional nets and of [2]_ for tanh:

    ==============================  ================================================================
    layer                           rule
    ==============================  ================================================================
    linear map, convolution,        the map on each part; the bias in proportion to the magnitudes of
    batch normalisation             the two parts it is added to
    ReLU, leaky ReLU                β ← f(β), γ ← f(β + γ) − f(β)
    tanh, sigmoid, and other bent   β ← ½ [f(β) − f(0) + f(β + γ) − f(γ)], γ likewise; f(0), where it is
    functions of one number         not zero, is shared like a bias
    max-pooling                     both parts where the sum has its maximum
    average pooling, flattening     on each part
    sum of two branches             β with β, γ with γ
    ==============================  ================================================================

    Parameters
    ----------
    forward : Forward or torch.nn.Module
        The module, or a model with one as its `module`; held still meanwhile.
    inputs : Tensor, shape (batch, *event), float
        Model inputs in the model's own unit.
    mask : Tensor, shape (batch, *event) or without the channel axis, bool
        The part of the input whose share is wanted.

    Returns
    -------
    Tensor, shape (batch, classes), float
        β: what the marked inputs bring, in the unit of the logits, and differentiable.
    Tensor, shape (batch, classes), float
        γ: what all others bring, with the biases that they take; β + γ are the logits.

    Raises
    ------
    KindError
        If the inputs are integers, the mask is not boolean, or `forward` is a bare function.
    ShapeError
        If the mask does not fit the inputs.
    LayerError
        If a layer has no rule, or its code cannot be walked; see `propagate`.

    Notes
    -----
    Where both parts are zero, a bias goes to γ, so that nothing is lost, and an empty mask has a β of
    exactly zero. (The code published with [1]_ drops the bias there.) The split is not symmetric: with
    ReLU, γ takes the interaction of both parts. Zeros in the input are "absent" inputs: a mask over
    them has no share.

    References
    ----------
    .. [1] C. Singh, W. J. Murdoch, B. Yu, "Hierarchical interpretations for neural network
       predictions", ICLR 2019.
    .. [2] W. J. Murdoch, P. J. Liu, B. Yu, "Beyond Word Importance: Contextual Decomposition to Extract
       Interactions from LSTMs", ICLR 2018.

    Examples
    --------
    Logits (x₀ + x₁ + 1,), whose bias is shared three to one:

    >>> net = nn.Linear(2, 1)
    >>> _ = net.load_state_dict({"weight": torch.ones(1, 2), "bias": torch.ones(1)})
    >>> x, mask = torch.tensor([[3.0, 1.0]]), torch.tensor([[True, False]])
    >>> beta, gamma = contextual_decomposition(net, x, mask)
    >>> beta.item(), gamma.item()
    (3.75, 1.25)
    """
    check_float(inputs)
    marked = expand_mask(mask, inputs)
    module = module_of(forward)
    if module is None:
        raise KindError(
            "Contextual decomposition needs a module, or a `Forward` with one as its `module`; "
            f"got {type(forward).__name__}. Pass the module itself."
        )
    start = Split(torch.where(marked, inputs, 0.0), torch.where(marked, 0.0, inputs))
    with held_still(forward):
        end = propagate(module, start, RULES, what="contextual decomposition")
    return end.beta, end.gamma


@dataclass(frozen=True, eq=False)
class Split:
    """Two tensors that stand for their sum: the share of the marked inputs, and all the rest."""

    beta: Tensor
    gamma: Tensor

    @property
    def shape(self) -> torch.Size:
        """Shape of the tensor that this stands for."""
        return self.beta.shape

    @property
    def whole(self) -> Tensor:
        """The tensor that this stands for."""
        return self.beta + self.gamma

    def each(self, function: Callable[[Tensor], Tensor]) -> Split:
        """Apply a linear map to both parts."""
        return Split(function(self.beta), function(self.gamma))

    def plus(self, constant: Tensor | float | None) -> Split:
        """Share a constant in proportion to the magnitudes of the parts; where both are zero, γ takes it."""
        if constant is None:
            return self
        beta, gamma = self.beta.abs(), self.gamma.abs()
        total = beta + gamma
        # Not a least total, whose reciprocal would overflow in the backward pass: infinity times zero is NaN.
        share = beta / total.where(total > 0, 1.0)
        taken = share * constant
        return Split(self.beta + taken, self.gamma + (constant - taken))


Function: TypeAlias = Callable[..., Tensor]


def _linear(layer: nn.Linear, split: Split) -> Split:
    """Map both parts by the weights."""
    return split.each(lambda part: F.linear(part, layer.weight)).plus(layer.bias)


def _convolution(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, split: Split) -> Split:
    """Convolve both parts, by the layer's own method, which knows all ways to pad."""
    parts = split.each(lambda part: layer._conv_forward(part, layer.weight, None))
    return parts if layer.bias is None else parts.plus(layer.bias.view(-1, *[1] * (len(parts.shape) - 2)))


def _batch_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d, split: Split) -> Split:
    """Scale both parts by the running variance; all that is added counts as one bias."""
    scale, shift = scale_and_shift(layer, len(split.shape))
    return split.each(lambda part: part * scale).plus(shift)


def _kinked(function: Function | None = None) -> Rule:
    """Make the rule of a function that is linear on either side of zero: β first, γ takes what it adds."""

    def rule(layer: nn.Module | None, split: Split, *args: Any, **kwargs: Any) -> Split:
        apply = _out_of_place(function if layer is None else layer.forward, args, kwargs)
        beta = apply(split.beta)
        return Split(beta, apply(split.whole) - beta)

    return rule


def _bent(function: Function | None = None) -> Rule:
    """Make the rule of any function of one number: what a part adds, averaged over both orders of adding."""

    def rule(layer: nn.Module | None, split: Split, *args: Any, **kwargs: Any) -> Split:
        apply = _out_of_place(function if layer is None else layer.forward, args, kwargs)
        beta, gamma, whole = apply(split.beta), apply(split.gamma), apply(split.whole)
        nothing = apply(torch.zeros_like(split.beta))
        # Grouped so that a part of zero gets exactly zero.
        return Split(((beta - nothing) + (whole - gamma)) / 2, ((gamma - nothing) + (whole - beta)) / 2).plus(nothing)

    return rule


def _out_of_place(function: Function | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Function:
    """Bind a function, or a layer, to its settings; the parts must outlive one that works in place."""
    assert function is not None
    return lambda part: function(part.clone(), *args, **kwargs)


def _max_pool(pool: Callable[..., Any], axes: int, *settings: str) -> Rule:
    """Make the rule of max-pooling over the last axes: both parts where their sum has its maximum."""

    def rule(layer: nn.Module | None, split: Split, *args: Any, **kwargs: Any) -> Split:
        if layer is not None:
            kwargs = {name: getattr(layer, name) for name in settings}
        _, places = pool(split.whole, *args, **{**kwargs, "return_indices": True})
        spots = places.flatten(-axes)
        return split.each(lambda part: part.flatten(-axes).gather(-1, spots).reshape(places.shape))

    return rule


def _each(function: Function | None = None) -> Rule:
    """Make the rule of a linear map without a bias: on each part."""

    def rule(layer: nn.Module | None, split: Split, *args: Any, **kwargs: Any) -> Split:
        apply = function if layer is None else layer.forward
        assert apply is not None
        return split.each(lambda part: apply(part, *args, **kwargs))

    return rule


def _unchanged(layer: nn.Module | None, split: Split, *args: Any, **kwargs: Any) -> Split:
    """Pass both parts on."""
    return split


def _add(_: None, one: Any, other: Any, *, alpha: float = 1.0) -> Split:
    """Add two branches part by part; a constant is shared like a bias."""
    if isinstance(one, Split) and isinstance(other, Split):
        return Split(one.beta + alpha * other.beta, one.gamma + alpha * other.gamma)
    if isinstance(one, Split):
        return one.plus(alpha * other)
    scaled: Split = other.each(lambda part: alpha * part)
    return scaled.plus(one)


def _subtract(_: None, one: Any, other: Any, *, alpha: float = 1.0) -> Split:
    """Subtract like `_add`."""
    return _add(None, one, other, alpha=-alpha)


def _multiply(_: None, one: Any, other: Any) -> Split:
    """Scale both parts by a constant."""
    if isinstance(one, Split) and isinstance(other, Split):
        raise LayerError(
            "A product of two activations has no rule for contextual decomposition: it belongs to neither part. Use "
            "a loss or a method that needs no rules."
        )
    split, factor = (one, other) if isinstance(one, Split) else (other, one)
    return split.each(lambda part: part * factor)


def _divide(_: None, one: Any, other: Any) -> Split:
    """Divide both parts by a constant."""
    if isinstance(other, Split):
        raise LayerError(
            "A division by an activation has no rule for contextual decomposition: it belongs to neither part. Use "
            "a loss or a method that needs no rules."
        )
    quotient: Split = one.each(lambda part: part / other)
    return quotient


def _concatenate(_: None, parts: Any, dim: int = 0) -> Split:
    """Join branches; a constant one belongs to γ."""
    splits = [part if isinstance(part, Split) else Split(torch.zeros_like(part), part) for part in parts]
    return Split(torch.cat([s.beta for s in splits], dim), torch.cat([s.gamma for s in splits], dim))


WINDOW = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
KINKED_LAYERS = (nn.ReLU, nn.LeakyReLU, nn.PReLU)
KINKED = (F.relu, torch.relu, F.leaky_relu)
BENT_LAYERS = (
    *(nn.Tanh, nn.Sigmoid, nn.Softplus, nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.SELU),
    *(nn.ReLU6, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish),
)
BENT = (
    *(torch.tanh, F.tanh, torch.sigmoid, F.sigmoid, F.softplus, F.gelu, F.silu, F.mish, F.elu, F.selu),
    *(F.relu6, F.hardtanh, F.hardsigmoid, F.hardswish),
)
EACH_LAYERS = (
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.Flatten, nn.Unflatten, nn.ZeroPad1d, nn.ZeroPad2d),
)
EACH = (
    *(F.avg_pool1d, F.avg_pool2d, F.avg_pool3d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d),
    *(torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze, torch.transpose, torch.permute),
    *(torch.mean, torch.sum, operator.getitem),
)
EACH_METHODS = (
    *("flatten", "reshape", "view", "squeeze", "unsqueeze", "transpose", "permute", "contiguous", "clone"),
    *("mean", "sum"),
)

RULES: dict[Any, Rule] = {
    nn.Linear: _linear,
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _batch_norm),
    **dict.fromkeys(KINKED_LAYERS, _kinked()),
    **{function: _kinked(function) for function in KINKED},
    **{name: _kinked(torch.relu) for name in ("relu", "relu_")},
    **dict.fromkeys(BENT_LAYERS, _bent()),
    **{function: _bent(function) for function in BENT},
    **{name: _bent(getattr(torch, name)) for name in ("tanh", "sigmoid")},
    nn.MaxPool1d: _max_pool(F.max_pool1d, 1, *WINDOW),
    nn.MaxPool2d: _max_pool(F.max_pool2d, 2, *WINDOW),
    nn.MaxPool3d: _max_pool(F.max_pool3d, 3, *WINDOW),
    nn.AdaptiveMaxPool1d: _max_pool(F.adaptive_max_pool1d, 1, "output_size"),
    nn.AdaptiveMaxPool2d: _max_pool(F.adaptive_max_pool2d, 2, "output_size"),
    F.max_pool1d: _max_pool(F.max_pool1d, 1),
    F.max_pool2d: _max_pool(F.max_pool2d, 2),
    F.max_pool3d: _max_pool(F.max_pool3d, 3),
    F.adaptive_max_pool1d: _max_pool(F.adaptive_max_pool1d, 1),
    F.adaptive_max_pool2d: _max_pool(F.adaptive_max_pool2d, 2),
    **dict.fromkeys(EACH_LAYERS, _each()),
    **{function: _each(function) for function in EACH},
    **{name: _each(getattr(Tensor, name)) for name in EACH_METHODS},
    nn.Identity: _unchanged,
    **dict.fromkeys((nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, F.dropout), nothing_dropped),
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), _add),
    **dict.fromkeys((operator.sub, operator.isub, torch.sub, "sub"), _subtract),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, "mul"), _multiply),
    **dict.fromkeys((operator.truediv, torch.div, "div"), _divide),
    **dict.fromkeys((torch.cat, torch.concat), _concatenate),
}

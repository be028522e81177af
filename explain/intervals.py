"""Interval bound propagation: what a module can answer for any input out of a box."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .batch import check_float
from .errors import LayerError, SettingError, ShapeError
from .rules import Rule, nothing_dropped, propagate, scale_and_shift

__all__ = ["Interval", "interval_bounds", "marked_box"]

Key: TypeAlias = type[nn.Module] | Callable[..., Any] | str


@dataclass(frozen=True, eq=False)
class Interval:
    """A box of tensors: all those whose elements lie within `radius` of `center`.

    Attributes
    ----------
    center, radius : Tensor, same shape, float
        Middle and half-width; no radius is negative.

    Examples
    --------
    >>> Interval.between(torch.tensor([1.0]), torch.tensor([4.0]))
    Interval(center=tensor([2.5000]), radius=tensor([1.5000]))
    """

    center: Tensor
    radius: Tensor

    @classmethod
    def between(cls, lower: Tensor, upper: Tensor) -> Interval:
        """Make the box with these two corners."""
        return cls((upper + lower) / 2, (upper - lower) / 2)

    @property
    def lower(self) -> Tensor:
        """Least value of each element; a new tensor."""
        return self.center - self.radius

    @property
    def upper(self) -> Tensor:
        """Greatest value of each element; a new tensor."""
        return self.center + self.radius

    @property
    def shape(self) -> torch.Size:
        """Shape of the tensors in the box."""
        return self.center.shape


def interval_bounds(module: nn.Module, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Bound what a module gives for any input between two others.

    Affine layers map the centre by their weights and the radius by the magnitudes of their weights,
    monotone layers map both ends [1]_. The bounds are those of evaluation mode; they hold up to the
    rounding of the dtype, and widen with depth, because each layer forgets how its inputs move together.

    Parameters
    ----------
    module : torch.nn.Module
        Linear layers, convolutions, batch normalisation, average and max pooling, ReLU, LeakyReLU,
        ReLU6, ELU, Hardtanh, Tanh, Sigmoid, Softplus, LogSigmoid, dropout, sums, products with
        constants, concatenations and changes of shape.
    lower, upper : Tensor, shape (batch, *event), float
        Corners of one box a row, in the model's own unit.

    Returns
    -------
    lower, upper : Tensor, shape (batch, classes), float
        Bounds of the outputs; differentiable in weights and inputs.

    Raises
    ------
    KindError
        If the inputs are integers.
    ShapeError
        If the corners differ in shape.
    SettingError
        If a lower corner is above its upper one, or either is NaN.
    LayerError
        If the module has a layer without a rule; see `propagate`.

    References
    ----------
    .. [1] S. Gowal et al., "On the Effectiveness of Interval Bound Propagation for Training
       Verifiably Robust Models", 2018.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(2, 1, bias=False), nn.ReLU())
    >>> _ = net[0].weight.data.copy_(torch.tensor([[1.0, -2.0]]))
    >>> low, high = interval_bounds(net, torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 1.0]]))
    >>> low.tolist(), high.tolist()
    ([[0.0]], [[3.0]])
    """
    found = propagate(module, checked_box(lower, upper), BOUNDS, what="interval bounds")
    return found.lower, found.upper


def checked_box(lower: Tensor, upper: Tensor) -> Interval:
    """Return the box between two corners, or raise as `interval_bounds` does."""
    if lower.shape != upper.shape:
        raise ShapeError(
            f"`lower` and `upper` must have the same shape; got {tuple(lower.shape)} and {tuple(upper.shape)}."
        )
    check_float(lower)
    check_float(upper)
    if not bool((lower <= upper).all()):
        raise SettingError("`lower` must nowhere be above `upper`, and neither may be NaN; they are somewhere.")
    return Interval.between(lower, upper)


def marked_box(
    inputs: Tensor, mask: Tensor, epsilon: float, clip: tuple[float, float] | None = None
) -> tuple[Tensor, Tensor]:
    """Bound each marked element by its value ± `epsilon`, and leave the others as they are.

    Parameters
    ----------
    inputs : Tensor, shape (batch, *event), float
        Middle of the boxes.
    mask : Tensor, same shape, bool
        Elements that may move.
    epsilon : float
        How far, in the unit of the inputs.
    clip : tuple of two floats or None
        Range of valid inputs, cut off the box; an input that lies outside of it stays in its box.

    Returns
    -------
    lower, upper : Tensor, shape of `inputs`, float

    Examples
    --------
    >>> low, high = marked_box(torch.tensor([[0.9, 0.5]]), torch.tensor([[True, False]]), 0.3, (0.0, 1.0))
    >>> low, high
    (tensor([[0.6000, 0.5000]]), tensor([[1.0000, 0.5000]]))
    """
    lower, upper = inputs - epsilon, inputs + epsilon
    if clip is not None:
        lower, upper = lower.clamp(min=clip[0]).minimum(inputs), upper.clamp(max=clip[1]).maximum(inputs)
    return torch.where(mask, lower, inputs), torch.where(mask, upper, inputs)


def _linear(layer: nn.Linear, x: Interval) -> Interval:
    return _function_linear(None, x, layer.weight, layer.bias)


def _function_linear(_: None, x: Interval, weight: Tensor, bias: Tensor | None = None) -> Interval:
    return Interval(F.linear(x.center, weight, bias), F.linear(x.radius, weight.abs()))


def _convolution(layer: nn.Conv1d | nn.Conv2d, x: Interval) -> Interval:
    # The layer's own method, because it knows the padding modes.
    return Interval(
        layer._conv_forward(x.center, layer.weight, layer.bias),
        layer._conv_forward(x.radius, layer.weight.abs(), None),
    )


def _function_convolution(function: Callable[..., Tensor]) -> Rule:
    def rule(_: None, x: Interval, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any) -> Interval:
        return Interval(
            function(x.center, weight, bias, *args, **kwargs), function(x.radius, weight.abs(), None, *args, **kwargs)
        )

    return rule


def _batch_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d, x: Interval) -> Interval:
    scale, shift = scale_and_shift(layer, len(x.shape))
    return Interval(x.center * scale + shift, x.radius * scale.abs())


def _unchanged(_: nn.Module | None, x: Interval) -> Interval:
    return x


def _average(function: Callable[..., Tensor] | None = None) -> Rule:
    """Make the rule of an operation that is linear with no negative coefficient: averages, changes of shape."""

    def rule(layer: nn.Module | None, x: Interval, *args: Any, **kwargs: Any) -> Interval:
        run = layer.forward if layer is not None else function
        assert run is not None
        return Interval(run(x.center, *args, **kwargs), run(x.radius, *args, **kwargs))

    return rule


def _monotone(function: Callable[..., Tensor] | None = None) -> Rule:
    """Make the rule of an operation that nowhere falls when an input rises."""

    def rule(layer: nn.Module | None, x: Interval, *args: Any, **kwargs: Any) -> Interval:
        run = layer.forward if layer is not None else function
        assert run is not None
        slopes = [getattr(layer, name, 0.0) for name in ("negative_slope", "alpha", "beta")]
        if any(isinstance(slope, (int, float)) and slope < 0 for slope in [*slopes, *args, *kwargs.values()]):
            raise LayerError(
                f"An activation must not fall to be bounded by its ends; {layer or function} does. "
                "Use a slope that is not negative."
            )
        # Both ends are new tensors, so that an operation in place is harmless.
        return Interval.between(run(x.lower, *args, **kwargs), run(x.upper, *args, **kwargs))

    return rule


def _method(name: str) -> Callable[..., Tensor]:
    def run(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        found: Tensor = getattr(x, name)(*args, **kwargs)
        return found

    return run


def _add(_: None, one: Interval | Tensor | float, other: Interval | Tensor | float, *, alpha: float = 1) -> Interval:
    if alpha != 1:
        other = _multiply(None, other, alpha) if isinstance(other, Interval) else alpha * other
    if isinstance(one, Interval) and isinstance(other, Interval):
        return Interval(one.center + other.center, one.radius + other.radius)
    box, shift = (one, other) if isinstance(one, Interval) else (other, one)
    assert isinstance(box, Interval)
    assert not isinstance(shift, Interval)
    center = box.center + shift
    return Interval(center, box.radius.expand_as(center))


def _subtract(
    _: None, one: Interval | Tensor | float, other: Interval | Tensor | float, *, alpha: float = 1
) -> Interval:
    return _add(None, one, other, alpha=-alpha)


def _multiply(_: None, one: Interval | Tensor | float, other: Interval | Tensor | float) -> Interval:
    if isinstance(one, Interval) and isinstance(other, Interval):
        raise LayerError(
            "A product must have one constant factor for interval bounds; both depend on the inputs. "
            "Use a loss or a method that needs no rules."
        )
    box, factor = (one, other) if isinstance(one, Interval) else (other, one)
    assert isinstance(box, Interval)
    assert not isinstance(factor, Interval)
    size = factor.abs() if isinstance(factor, Tensor) else abs(factor)
    return Interval(box.center * factor, box.radius * size)


def _divide(_: None, one: Interval, other: Interval | Tensor | float) -> Interval:
    if isinstance(other, Interval):
        raise LayerError(
            "A divisor must be constant for interval bounds; it depends on the inputs. "
            "Use a loss or a method that needs no rules."
        )
    return _multiply(None, one, 1 / other)


def _concatenate(_: None, parts: Sequence[Interval | Tensor], *args: Any, **kwargs: Any) -> Interval:
    boxes = [part if isinstance(part, Interval) else Interval(part, torch.zeros_like(part)) for part in parts]
    return Interval(
        torch.cat([box.center for box in boxes], *args, **kwargs),
        torch.cat([box.radius for box in boxes], *args, **kwargs),
    )


AVERAGES: tuple[Key, ...] = (
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.Flatten,
    nn.Unflatten,
    nn.ZeroPad2d,
    F.avg_pool1d,
    F.avg_pool2d,
    F.adaptive_avg_pool1d,
    F.adaptive_avg_pool2d,
    torch.flatten,
    torch.reshape,
    torch.mean,
    torch.sum,
    torch.squeeze,
    torch.unsqueeze,
    torch.transpose,
    torch.permute,
    operator.getitem,
    "flatten",
    "view",
    "reshape",
    "mean",
    "sum",
    "squeeze",
    "unsqueeze",
    "transpose",
    "permute",
    "contiguous",
)

MAX_POOLS: tuple[Key, ...] = (nn.MaxPool1d, nn.MaxPool2d, F.max_pool1d, F.max_pool2d)

ACTIVATIONS: tuple[Key, ...] = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.ReLU6,
    nn.ELU,
    nn.Hardtanh,
    nn.Tanh,
    nn.Sigmoid,
    nn.Softplus,
    nn.LogSigmoid,
    F.relu,
    F.leaky_relu,
    F.softplus,
    F.tanh,
    F.sigmoid,
    torch.relu,
    torch.relu_,
    torch.tanh,
    torch.sigmoid,
    "relu",
    "relu_",
    "tanh",
    "sigmoid",
)


def _rules(make: Callable[..., Rule], keys: Sequence[Key]) -> dict[Key, Rule]:
    """Make the rule of each key: of a layer from itself, else from the function or method."""
    rules: dict[Key, Rule] = {}
    for key in keys:
        if isinstance(key, str):
            rules[key] = make(_method(key))
        else:
            rules[key] = make() if isinstance(key, type) else make(key)
    return rules


# Affine in centre and radius each, so that a gradient is bounded by the transposes of the two maps.
AFFINE: dict[Key, Rule] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d), _convolution),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d), _batch_norm),
    **dict.fromkeys((nn.Dropout, nn.Dropout1d, nn.Dropout2d, F.dropout, F.dropout2d), nothing_dropped),
    nn.Identity: _unchanged,
    **{function: _function_convolution(function) for function in (F.conv1d, F.conv2d)},
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), _add),
    **dict.fromkeys((operator.sub, operator.isub, torch.sub, "sub", "sub_"), _subtract),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, "mul", "mul_"), _multiply),
    **dict.fromkeys((operator.truediv, operator.itruediv, torch.div, "div", "div_"), _divide),
    **dict.fromkeys((torch.cat, torch.concat), _concatenate),
    **_rules(_average, AVERAGES),
    nn.Linear: _linear,
    F.linear: _function_linear,
}

BOUNDS: dict[Key, Rule] = {**AFFINE, **_rules(_monotone, MAX_POOLS), **_rules(_monotone, ACTIVATIONS)}

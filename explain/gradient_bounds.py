"""Bounds on the input gradient of the cross-entropy, for any input out of a box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn import grad as transposes

from .errors import LayerError, ShapeError
from .intervals import AFFINE, BOUNDS, Interval, Key, checked_box
from .rules import Rule, propagate
from .target import check_logits, class_numbers

__all__ = ["gradient_bounds"]

Pull: TypeAlias = Callable[[Interval], list[Interval]]


@dataclass(frozen=True, eq=False)
class _Step:
    """One operation: its output, the numbers of the steps that it reads, and how a gradient goes back to them."""

    output: Interval
    sources: tuple[int, ...]
    pull: Pull | None


@dataclass(frozen=True, eq=False)
class _Recorded:
    """An interval that knows by which steps it came about."""

    tape: list[_Step]
    number: int

    @property
    def interval(self) -> Interval:
        return self.tape[self.number].output

    @property
    def shape(self) -> torch.Size:
        return self.interval.shape


def gradient_bounds(module: nn.Module, lower: Tensor, upper: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Bound ∇ₓ CE, the input gradient of the cross-entropy, over all inputs between two others.

    Interval bound propagation [1]_ forwards gives the range of each activation's slope and of each
    class probability p; backwards, the range of p − y goes through the transposed layers: affine
    ones map its centre by their weights and its radius by the magnitudes of their weights, and
    slopes multiply it as intervals [2]_. A ReLU whose input may have either sign has a slope
    anywhere in [0, 1].

    Parameters
    ----------
    module : torch.nn.Module
        Of the affine layers of `interval_bounds`, ReLU, LeakyReLU, Tanh, Sigmoid, Softplus and max
        pooling (without `ceil_mode`).
    lower, upper : Tensor, shape (batch, *event), float
        Corners of one box a row, in the model's own unit.
    labels : Tensor, shape (batch,), int64
        Class numbers.

    Returns
    -------
    lower, upper : Tensor, shape (batch, *event), float
        Bounds of the gradient, in nats per input unit; differentiable in the weights. They hold up
        to the rounding of the dtype.

    Raises
    ------
    KindError, SettingError
        If the corners make no box; see `interval_bounds`.
    ShapeError
        If the corners differ in shape, or there is not one label per row.
    LayerError
        If the module has a layer without a rule; see `propagate`.

    References
    ----------
    .. [1] S. Gowal et al., "On the Effectiveness of Interval Bound Propagation for Training
       Verifiably Robust Models", 2018.
    .. [2] M. Wicker, J. Heo, L. Costabello, A. Weller, "Robust Explanation Constraints for Neural
       Networks", ICLR 2023.

    Examples
    --------
    Two logits, 0 and x: the gradient is the probability of the second, sigmoid(x), for the label 0:

    >>> net = nn.Linear(1, 2, bias=False)
    >>> _ = net.weight.data.copy_(torch.tensor([[0.0], [1.0]]))
    >>> low, high = gradient_bounds(net, torch.tensor([[0.0]]), torch.tensor([[1.0]]), torch.tensor([0]))
    >>> low.item(), high.item()
    (0.5, 0.7310...)
    """
    box = checked_box(lower, upper)
    if labels.shape != lower.shape[:1]:
        raise ShapeError(f"`labels` must have shape ({len(lower)},); got {tuple(labels.shape)}.")
    with torch.enable_grad():
        tape = [_Step(box, (), None)]
        last = propagate(module, _Recorded(tape, 0), RULES, what="bounds on gradients")
        if len(last.shape) != 2:
            raise ShapeError(f"The module must return logits, shape (batch, classes); got {tuple(last.shape)}.")
        waiting = {last.number: _loss_gradient(last.interval, labels)}
        for number in range(len(tape) - 1, 0, -1):
            gradient = waiting.pop(number, None)
            pull = tape[number].pull
            if gradient is None or pull is None:
                continue
            for source, part in zip(tape[number].sources, pull(gradient), strict=True):
                before = waiting.get(source)
                waiting[source] = part if before is None else _sum(before, part)
    found = waiting[0]
    return (found.lower, found.upper) if torch.is_grad_enabled() else (found.lower.detach(), found.upper.detach())


def _loss_gradient(logits: Interval, labels: Tensor) -> Interval:
    """Bound p − y: each probability is least where its logit is least and all others are greatest."""
    lower, upper = logits.lower, logits.upper
    check_logits(lower, softmax=True)
    labels = class_numbers(labels, lower)
    least, most = (lower - _others(upper)).sigmoid(), (upper - _others(lower)).sigmoid()
    label = (torch.arange(lower.shape[1], device=lower.device) == labels[:, None]).to(lower.dtype)
    return Interval.between(least - label, most - label)


def _others(logits: Tensor) -> Tensor:
    """Compute, for each class, the logarithm of the exponentials summed over all other classes."""
    largest = torch.zeros_like(logits, dtype=torch.bool).scatter(1, logits.argmax(dim=1, keepdim=True), True)
    # Taken off the whole sum, except for the largest, of which nothing but rounding might be left.
    share = logits.softmax(dim=1).masked_fill(largest, 0.0)
    rest = logits.masked_fill(largest, -torch.inf).logsumexp(dim=1, keepdim=True)
    return torch.where(largest, rest, logits.logsumexp(dim=1, keepdim=True) + torch.log1p(-share))


def _sum(one: Interval, other: Interval) -> Interval:
    return Interval(one.center + other.center, one.radius + other.radius)


def _times(gradient: Interval, least: Tensor, most: Tensor) -> Interval:
    """Multiply a gradient by a slope in [least, most], which is nowhere negative."""
    lower, upper = gradient.lower, gradient.upper
    # Which end of the slope is the worst is decided by the gradient's sign.
    return Interval.between(
        lower * torch.where(lower < 0, most, least),
        upper * torch.where(upper < 0, least, most),
    )


def _tracked(box: Interval) -> Interval:
    """Make tensors of their own in the graph, to which an affine step is transposed and no further."""
    sides = [side.view_as(side) if side.requires_grad else side.detach().requires_grad_() for side in _sides(box)]
    return Interval(*sides)


def _sides(box: Interval) -> tuple[Tensor, Tensor]:
    return box.center, box.radius


def _recorded(sources: list[_Recorded], output: Interval, pull: Pull) -> _Recorded:
    """Write a step down."""
    tape = sources[0].tape
    tape.append(_Step(output, tuple(source.number for source in sources), pull))
    return _Recorded(tape, len(tape) - 1)


def _affine(bound: Rule) -> Rule:
    """Make the rule of an operation that is affine in centre and radius: autograd transposes both."""

    def rule(layer: nn.Module | None, *args: Any, **kwargs: Any) -> _Recorded:
        sources: list[_Recorded] = []
        boxes: list[Interval] = []

        def opened(value: Any) -> Any:
            if isinstance(value, _Recorded):
                sources.append(value)
                boxes.append(_tracked(value.interval))
                return boxes[-1]
            if isinstance(value, (list, tuple)):
                # An index is a tuple: as a list it would ask for rows.
                return type(value)(map(opened, value))
            return value

        output: Interval = bound(layer, *map(opened, args), **{name: opened(one) for name, one in kwargs.items()})

        def pull(gradient: Interval) -> list[Interval]:
            sides = [
                torch.autograd.grad(mapped, starts, back, create_graph=True)
                for mapped, starts, back in zip(
                    _sides(output), zip(*map(_sides, boxes), strict=True), _sides(gradient), strict=True
                )
            ]
            return [Interval(center, radius) for center, radius in zip(*sides, strict=True)]

        return _recorded(sources, output, pull)

    return rule


def _linear(layer: nn.Linear, source: _Recorded) -> _Recorded:
    """Transpose by hand: unlike autograd's, it never asks for a gradient of the inputs in training."""

    def pull(gradient: Interval) -> list[Interval]:
        return [Interval(gradient.center @ layer.weight, gradient.radius @ layer.weight.abs())]

    return _recorded([source], BOUNDS[nn.Linear](layer, source.interval), pull)


def _convolution(kind: type[nn.Conv1d | nn.Conv2d], transpose: Callable[..., Tensor]) -> Rule:
    """Make the rule of a convolution, transposed by hand where torch can."""

    def rule(layer: nn.Conv1d | nn.Conv2d, source: _Recorded) -> _Recorded:
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            found: _Recorded = _affine(BOUNDS[kind])(layer, source)
            return found
        places = (layer.stride, layer.padding, layer.dilation, layer.groups)

        def pull(gradient: Interval) -> list[Interval]:
            weights = (layer.weight, layer.weight.abs())
            sides = zip(weights, _sides(gradient), strict=True)
            # Under autocast the activations are in a lower precision than the weights.
            return [Interval(*(transpose(source.shape, w.to(side.dtype), side, *places) for w, side in sides))]

        return _recorded([source], BOUNDS[kind](layer, source.interval), pull)

    return rule


# The least and the greatest slope of an activation over a box, given its layer and arguments.
Slopes: TypeAlias = Callable[[Interval, nn.Module | None, tuple[Any, ...], dict[str, Any]], tuple[Tensor, Tensor]]


def _activation(bound: Rule, slopes: Slopes) -> Rule:
    """Make the rule of an activation that does not fall: its slope multiplies the gradient."""

    def rule(layer: nn.Module | None, source: _Recorded, *args: Any, **kwargs: Any) -> _Recorded:
        box = source.interval
        least, most = slopes(box, layer, args, kwargs)

        return _recorded([source], bound(layer, box, *args, **kwargs), lambda gradient: [_times(gradient, least, most)])

    return rule


def _slope_of_relu(
    box: Interval, layer: nn.Module | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    kind = box.center.dtype
    return (box.lower > 0).to(kind), (box.upper > 0).to(kind)


def _slope_of_leaky_relu(
    box: Interval, layer: nn.Module | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    if isinstance(layer, nn.LeakyReLU):
        slope = layer.negative_slope
    else:
        slope = float(args[0] if args else kwargs.get("negative_slope", 0.01))
    ends = [torch.where(end > 0, 1.0, slope).to(end.dtype) for end in (box.lower, box.upper)]
    return torch.minimum(*ends), torch.maximum(*ends)


def _slope_of_softplus(
    box: Interval, layer: nn.Module | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    if isinstance(layer, nn.Softplus):
        beta, threshold = layer.beta, layer.threshold
    else:
        given = {"beta": 1.0, "threshold": 20.0} | dict(zip(("beta", "threshold"), args, strict=False)) | kwargs
        beta, threshold = given["beta"], given["threshold"]
    # Beyond its threshold torch takes the identity.
    least, most = (torch.where(beta * end > threshold, 1.0, (beta * end).sigmoid()) for end in (box.lower, box.upper))
    return least, most


def _bell(slope: Callable[[Tensor], Tensor]) -> Slopes:
    """Make the slopes of a function that is steepest at zero and flattens alike on both sides."""

    def found(
        box: Interval, layer: nn.Module | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        farthest = box.center.abs() + box.radius
        nearest = (box.center.abs() - box.radius).clamp(min=0)
        return slope(farthest), slope(nearest)

    return found


def _max_pool(bound: Rule, axes: int) -> Rule:
    """Make the rule of max pooling: an element that may win its window has a slope in [0, 1] there."""
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")

    def rule(layer: nn.Module | None, source: _Recorded, *args: Any, **kwargs: Any) -> _Recorded:
        given: dict[str, Any] = {name: getattr(layer, name) for name in names} if layer is not None else {}
        given |= dict(zip(names, args, strict=False)) | kwargs
        if given.get("ceil_mode") or given.get("return_indices"):
            raise LayerError(
                "Max pooling must go without `ceil_mode` and `return_indices` for bounds on gradients; "
                f"got {layer or given}. Pad the inputs instead."
            )
        window = _two(given["kernel_size"], axes, 1)
        stride = _two(given.get("stride") or given["kernel_size"], axes, 1)
        dilation, (high, wide) = _two(given.get("dilation", 1), axes, 1), _two(given.get("padding", 0), axes, 0)
        box = source.interval

        def laid_out(values: Tensor) -> Tensor:
            """Lay out the windows: (batch, channels, elements of a window, windows)."""
            flat = values if axes == 2 else values.unsqueeze(2)
            padded = F.pad(flat, (wide, wide, high, high), value=-torch.inf)
            found = F.unfold(padded, window, dilation, 0, stride)
            return found.view(len(flat), flat.shape[1], -1, found.shape[2])

        lower, upper = laid_out(box.lower.detach()), laid_out(box.upper.detach())
        may_win = upper >= lower.amax(dim=2, keepdim=True)
        # One of each window wins: a single candidate is sure to.
        must_win = may_win & (may_win.sum(dim=2, keepdim=True) == 1)
        tall, broad = (1, box.shape[2]) if axes == 1 else box.shape[2:]

        def gathered(parts: Tensor) -> Tensor:
            """Add up what an element gets from the windows that it is in."""
            size = (tall + 2 * high, broad + 2 * wide)
            flat = F.fold(parts.flatten(1, 2), size, window, dilation, 0, stride)
            return flat[..., high : high + tall, wide : wide + broad].reshape(box.shape)

        def pull(gradient: Interval) -> list[Interval]:
            least, most = must_win.to(gradient.center.dtype), may_win.to(gradient.center.dtype)
            windows = Interval(*(side.flatten(2).unsqueeze(2) for side in _sides(gradient)))
            product = _times(windows, least, most)
            return [Interval(gathered(product.center), gathered(product.radius))]

        return _recorded([source], bound(layer, box, *args, **kwargs), pull)

    return rule


def _two(value: Any, axes: int, missing: int) -> tuple[int, int]:
    """Write a size out for two axes; of a sequence the first has length one."""
    if axes == 1:
        return missing, int(value[0] if isinstance(value, (tuple, list)) else value)
    if isinstance(value, (tuple, list)):
        return int(value[0]), int(value[-1])
    return int(value), int(value)


def _slope_of_tanh(x: Tensor) -> Tensor:
    return 1 - x.tanh().square()


def _slope_of_sigmoid(x: Tensor) -> Tensor:
    return x.sigmoid() * (1 - x.sigmoid())


SLOPES: dict[Key, Slopes] = {
    **dict.fromkeys((nn.ReLU, F.relu, torch.relu, torch.relu_, "relu", "relu_"), _slope_of_relu),
    **dict.fromkeys((nn.LeakyReLU, F.leaky_relu), _slope_of_leaky_relu),
    **dict.fromkeys((nn.Tanh, F.tanh, torch.tanh, "tanh"), _bell(_slope_of_tanh)),
    **dict.fromkeys((nn.Sigmoid, F.sigmoid, torch.sigmoid, "sigmoid"), _bell(_slope_of_sigmoid)),
    **dict.fromkeys((nn.Softplus, F.softplus), _slope_of_softplus),
}

RULES: dict[Key, Rule] = {
    **{key: _affine(rule) for key, rule in AFFINE.items()},
    nn.Linear: _linear,
    nn.Conv1d: _convolution(nn.Conv1d, transposes.conv1d_input),
    nn.Conv2d: _convolution(nn.Conv2d, transposes.conv2d_input),
    **{key: _activation(BOUNDS[key], slopes) for key, slopes in SLOPES.items()},
    **{key: _max_pool(BOUNDS[key], 1) for key in (nn.MaxPool1d, F.max_pool1d)},
    **{key: _max_pool(BOUNDS[key], 2) for key in (nn.MaxPool2d, F.max_pool2d)},
}

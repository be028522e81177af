"""What the target loses when a part of the input is taken away."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..as_used import as_used
from ..attribution import Attribution
from ..batch import Logits
from ..errors import SettingError
from ..target import Target
from .passes import check_counts, check_inputs, split_passes
from .pinned import PinnedTarget, pin_target
from .presence import Baseline, baseline_like, numbered_groups

__all__ = ["feature_ablation", "occlusion"]


@as_used
def occlusion(
    forward: Logits,
    inputs: Tensor,
    target: Target = "max_log_probability",
    labels: Tensor | None = None,
    *,
    window: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    baseline: Baseline = 0.0,
    batch_size: int = 256,
) -> Attribution:
    """Slide a window over the inputs and note what the target loses where it covers them [1]_.

    An element's score is the mean of ``f(x) − f(x with the window filled)`` over the windows that
    cover it. The class explained is the one predicted for the row as it is.

    Parameters
    ----------
    forward : Forward, module or function
        Model inputs to logits, shape (batch, classes).
    inputs : Tensor, shape (batch, *event), float
        Model inputs in the model's own unit: images, vectors, embedded tokens.
    target : str, int or callable
        What is explained; see `target_values` and `pin_target`.
    labels : Tensor or None, shape (batch,), int64
        For targets that need them.
    window : int, sequence of int or None
        Extent of the window along each axis of a row. One number is a side: of a patch over all
        channels for (channels, ...), of a run of tokens with all their components for (tokens,
        width), of a run of elements for (elements,). None takes a seventh of the longest side for
        images, rounded up, and 1 for the others.
    stride : int, sequence of int or None
        Steps of the window along each axis, no larger than the window; one number goes for every axis
        along which the window can move. None is half the window, rounded up.
    baseline : float or Tensor
        What the window is filled with: a value, a row, or a row for each; see `baseline_like`.
    batch_size : int
        Rows × windows per forward pass.

    Returns
    -------
    Attribution
        With `scores` of the shape of `inputs`, in units of the target.

    Raises
    ------
    KindError, ShapeError
        If `inputs` are not floating point, or not (batch, *event), or the baseline does not fit.
    SettingError
        If the window does not fit a row, or the stride would leave elements uncovered.
    TargetError
        See `pin_target`.

    References
    ----------
    .. [1] M. D. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.

    Examples
    --------
    >>> weights = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> occlusion(lambda x: x @ weights, torch.tensor([[5.0, 3.0]]), target=1).scores
    tensor([[0., 6.]])
    """
    check_inputs(inputs)
    event = tuple(inputs.shape[1:])
    extents = _window(event, window)
    steps = _stride(event, extents, stride)
    places = math.prod(-(-(size - extent) // step) + 1 for size, extent, step in zip(event, extents, steps))

    def explain(model: Callable[[Tensor], Tensor], rows: Tensor, start: Tensor, at_once: int) -> Tensor:
        from captum.attr import Occlusion

        scores: Tensor = Occlusion(model).attribute(
            rows, sliding_window_shapes=extents, strides=steps, baselines=start, perturbations_per_eval=at_once
        )
        # Captum divides by the number of windows in float32.
        return scores.to(rows)

    scores = _ablated(explain, forward, inputs, target, labels, baseline, places, batch_size)
    return Attribution(scores, target, "occlusion")


@as_used
def feature_ablation(
    forward: Logits,
    inputs: Tensor,
    target: Target = "max_log_probability",
    labels: Tensor | None = None,
    *,
    groups: Tensor | None = None,
    size: int | None = None,
    baseline: Baseline = 0.0,
    batch_size: int = 256,
) -> Attribution:
    """Take away one feature at a time and note what the target loses.

    A feature's score is ``f(x) − f(x without it)``, shared evenly by its elements: the scores inside a
    region sum to those of its features. The class explained is the one predicted for the row as it is.

    Parameters
    ----------
    forward, inputs, target, labels
        As for `occlusion`.
    groups : Tensor or None, shape event, or without the channel axis, int64
        Which elements make one feature, the same for all rows; None makes those of `feature_groups`:
        elements, tokens or patches.
    size : int or None
        Side of the patches, or tokens in a feature, where `groups` are not given.
    baseline : float or Tensor
        What stands in for a feature taken away; see `baseline_like`.
    batch_size : int
        Rows × features per forward pass.

    Returns
    -------
    Attribution
        With `scores` of the shape of `inputs`, in units of the target.

    Raises
    ------
    KindError, ShapeError, SettingError, TargetError
        If inputs, groups, baseline, settings or target are not as above.

    Examples
    --------
    >>> weights = torch.tensor([[1.0, 0.0], [1.0, 2.0]])
    >>> feature_ablation(lambda x: x @ weights, torch.tensor([[5.0, 3.0]]), target=0, size=2).scores
    tensor([[4., 4.]])
    """
    check_inputs(inputs)
    numbers, elements = numbered_groups(groups, inputs, size)

    def explain(model: Callable[[Tensor], Tensor], rows: Tensor, start: Tensor, at_once: int) -> Tensor:
        from captum.attr import FeatureAblation

        lost: Tensor = FeatureAblation(model).attribute(
            rows, feature_mask=numbers[None], baselines=start, perturbations_per_eval=at_once
        )
        return lost / elements[numbers]

    scores = _ablated(explain, forward, inputs, target, labels, baseline, len(elements), batch_size)
    return Attribution(scores, target, "feature_ablation")


def _ablated(
    explain: Callable[[Callable[[Tensor], Tensor], Tensor, Tensor, int], Tensor],
    forward: Logits,
    inputs: Tensor,
    target: Target,
    labels: Tensor | None,
    baseline: Baseline,
    places: int,
    batch_size: int,
) -> Tensor:
    """Let Captum explain parts of the batch, as many places at once as the batch size allows."""
    check_counts(batch_size=batch_size)
    start = baseline_like(baseline, inputs)
    scores = []
    pinned = pin_target(forward, inputs, target, labels, batch_size)
    row_parts, place_parts = split_passes(len(inputs), places, batch_size)
    for rows in row_parts:
        at_once = max(part.stop - part.start for part in place_parts)
        part = inputs[rows].detach().clone()
        scores.append(explain(_target_of_copies(forward, pinned, rows), part, start[rows], at_once))
    return torch.cat(scores) if scores else torch.zeros_like(inputs)


def _target_of_copies(forward: Logits, pinned: PinnedTarget, rows: slice) -> Callable[[Tensor], Tensor]:
    """Return what Captum calls: points, copy after copy of some rows, to values of the target."""
    count = rows.stop - rows.start

    def values(points: Tensor, *_: Any) -> Tensor:
        # A copy, because Captum uses its points again, and the first thing that a model does may be in place.
        return pinned(forward(points.clone()), len(points) // count, rows)

    return values


def _window(event: tuple[int, ...], window: int | Sequence[int] | None) -> tuple[int, ...]:
    """Return the extent of the window along each axis."""
    if window is None and len(event) > 2:
        # No longer than a side that is much shorter than the others.
        side = -(-max(event[1:]) // 7)
        extents = (event[0], *[min(side, size) for size in event[1:]])
    elif window is None or isinstance(window, int):
        window = 1 if window is None else window
        # Along tokens, or elements; or in the plane of an image.
        extents = (window, *event[1:]) if len(event) <= 2 else (event[0], *[window] * (len(event) - 1))
    else:
        extents = tuple(window)
    if len(extents) != len(event) or not all(1 <= extent <= size for extent, size in zip(extents, event)):
        raise SettingError(
            f"`window` must fit into a row of shape {event}, at least 1 along each axis; got {window!r}."
        )
    return extents


def _stride(event: tuple[int, ...], extents: tuple[int, ...], stride: int | Sequence[int] | None) -> tuple[int, ...]:
    """Return the steps of the window along each axis."""
    if stride is None:
        steps = tuple(-(-extent // 2) for extent in extents)
    elif isinstance(stride, int):
        steps = tuple(1 if extent == size else stride for extent, size in zip(extents, event))
    else:
        steps = tuple(stride)
    if len(steps) != len(event) or not all(1 <= step <= extent for step, extent in zip(steps, extents)):
        raise SettingError(
            f"`stride` must be at least 1 and no larger than the window, {extents}, or elements are left out; "
            f"got {stride!r}."
        )
    return steps

"""Maps over the places of a layer: what it gives there (activation), and what a target makes of it (Grad-CAM)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..as_used import as_used
from ..attribution import Attribution
from ..batch import Logits
from ..errors import GraphError, LayerError, ShapeError
from ..layers import with_layers
from ..target import Target, target_values
from .pinned import check_repeatable
from .settings import layer_name

__all__ = ["activation_map", "class_activation_map", "grad_cam", "layer_activation"]


@as_used
def grad_cam(
    forward: Logits,
    inputs: Tensor,
    target: Target = "max_logit",
    labels: Tensor | None = None,
    *,
    layer: str | nn.Module,
    relu: bool = True,
    resize: bool = True,
) -> Attribution:
    """Weigh the channels of a layer by the target's mean gradient, and add them up: Grad-CAM [1]_.

    Works under ``torch.no_grad`` and ``torch.inference_mode`` too, and leaves no trace; the model is
    asked in evaluation mode.

    Parameters
    ----------
    forward : Forward or module
        Model inputs to logits, shape (batch, classes), with layers by name.
    inputs : Tensor, shape (batch, *event)
        Model inputs in the model's own unit.
    target : str, int or callable
        What is explained; see `target_values`. The original takes a logit.
    labels : Tensor or None, shape (batch,), int64
        For targets that need them.
    layer : str or torch.nn.Module
        A layer that keeps places, by its name or itself: its activation has shape (batch, channels,
        height, width). The last convolution is usual.
    relu : bool
        Keep the positive part only, as [1]_ does.
    resize : bool
        Lay the map on the inputs' grid, bilinearly, so that masks and measures fit; else it stays on
        the layer's own grid.

    Returns
    -------
    Attribution
        With `scores` of shape (batch, 1, height, width), in units of the target.

    Raises
    ------
    LayerError
        If there is no such layer, or it has no places.
    KindError
        If `forward` is a bare function.
    ShapeError
        If `resize` is asked for inputs that are no images; see also `target_values`.
    GraphError
        If the logits do not depend on the layer through autograd.

    Notes
    -----
    The map is coarse: a cell stands for its receptive field, which may be far larger than the cell.

    References
    ----------
    .. [1] R. R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via
       Gradient-based Localization", ICCV 2017.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(1, 3, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(27, 2))
    >>> grad_cam(net, torch.rand(5, 1, 8, 8), layer="1")
    Attribution(5 × (1, 8, 8), max_logit, by grad_cam)
    """
    layer = layer_name(forward, layer)
    check_repeatable(target)
    with torch.enable_grad():
        leaf = inputs.detach().clone()
        if leaf.is_floating_point():
            leaf.requires_grad_()
        logits, layers = with_layers(forward, leaf.clone(), [layer])
        values = target_values(logits, target, labels)
        maps = class_activation_map(layers[layer], values, relu=relu, exact=False).detach()
    return Attribution(_laid_on(inputs, maps) if resize else maps[:, None], target, "grad_cam")


@as_used
def layer_activation(
    forward: Logits,
    inputs: Tensor,
    target: Target = "max_logit",
    labels: Tensor | None = None,
    *,
    layer: str | nn.Module,
    resize: bool = True,
) -> Attribution:
    """Add up the channels of a layer: where it is active, whatever comes of it.

    Parameters
    ----------
    forward : Forward or module
        Model inputs to logits, with layers by name.
    inputs : Tensor, shape (batch, *event)
        Model inputs in the model's own unit.
    target, labels
        Not read, because activations are the same for every target; the target is put on record.
    layer : str or torch.nn.Module
        A layer that keeps places, by its name or itself: its activation has shape (batch, channels,
        height, width).
    resize : bool
        Lay the map on the inputs' grid, bilinearly; else it stays on the layer's own grid.

    Returns
    -------
    Attribution
        With `scores` of shape (batch, 1, height, width), in units of the activation.

    Raises
    ------
    LayerError, KindError, ShapeError
        As for `grad_cam`.

    Notes
    -----
    Before a nonlinearity, channels of opposite sign cancel: choose the layer after it. An active
    place need not matter; `grad_cam` asks the target.

    Examples
    --------
    >>> net = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(8, 2))
    >>> layer_activation(net, torch.ones(1, 2, 2, 2), layer="0").scores
    tensor([[[[2., 2.],
              [2., 2.]]]])
    """
    layer = layer_name(forward, layer)
    _, layers = with_layers(forward, inputs.clone(), [layer])
    maps = activation_map(layers[layer])
    return Attribution(_laid_on(inputs, maps) if resize else maps[:, None], target, "layer_activation")


def activation_map(activation: Tensor) -> Tensor:
    """Add up the channels of an activation.

    Parameters
    ----------
    activation : Tensor, shape (batch, channels, height, width), float
        Of a layer that keeps places.

    Returns
    -------
    Tensor, shape (batch, height, width), float
        Differentiable.

    Raises
    ------
    LayerError
        If the activation has no places, or only one.

    Examples
    --------
    >>> activation_map(torch.ones(1, 3, 1, 2))
    tensor([[[3., 3.]]])
    """
    _check_places(activation)
    return activation.sum(dim=1)


def class_activation_map(activation: Tensor, values: Tensor, *, relu: bool = True, exact: bool) -> Tensor:
    """Weigh the channels of an activation by the mean gradient of a value there: the map of Grad-CAM [1]_.

    ``Σ_c w_c a_c`` with ``w_c`` the mean over places of ``∂value / ∂a_c``.

    Parameters
    ----------
    activation : Tensor, shape (batch, channels, height, width), float
        Of a layer that keeps places, on the way to `values`.
    values : Tensor, shape (batch,), float
        The target of each row.
    relu : bool
        Keep the positive part only.
    exact : bool
        Whether the channels' weights can themselves be differentiated, which takes a second
        derivative; else they are constants. The graph above the layer can be used again either way.

    Returns
    -------
    Tensor, shape (batch, height, width), float
        In units of the value; differentiable through the activation, and through the weights if
        `exact`.

    Raises
    ------
    LayerError
        If the activation has no places, or only one.
    GraphError
        If the values do not depend on the activation through autograd.

    References
    ----------
    .. [1] R. R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via
       Gradient-based Localization", ICCV 2017.

    Examples
    --------
    >>> a = torch.tensor([[[[1.0, 2.0]], [[1.0, 0.0]]]], requires_grad=True)
    >>> value = (a * torch.tensor([[[3.0]], [[-4.0]]])).flatten(1).sum(dim=1)
    >>> class_activation_map(a, value, exact=False).detach()
    tensor([[[0., 6.]]])
    """
    _check_places(activation)
    if not activation.requires_grad:
        raise GraphError(
            "The activation must carry a gradient; it does not. Inputs that are floating point and require one, "
            "or weights that do, before the layer give it one."
        )
    slopes = None
    if values.requires_grad:
        (slopes,) = torch.autograd.grad(
            values.sum(), activation, create_graph=exact, retain_graph=True, allow_unused=True
        )
    if slopes is None:
        raise GraphError(
            "The values must depend on the activation through autograd; they do not. Does the forward pass detach, "
            "round, or run under `torch.no_grad` behind the layer?"
        )
    maps = (slopes.mean(dim=(2, 3), keepdim=True) * activation).sum(dim=1)
    return maps.relu() if relu else maps


def _laid_on(inputs: Tensor, maps: Tensor) -> Tensor:
    """Resize maps, (batch, h, w), to the grid of the inputs; shape (batch, 1, height, width)."""
    if inputs.ndim != 4:
        raise ShapeError(
            "To lay a map on the inputs' grid they must have shape (batch, channels, height, width); "
            f"got {tuple(inputs.shape)}. Use `resize=False` for the layer's own grid."
        )
    return nn.functional.interpolate(maps[:, None], size=inputs.shape[2:], mode="bilinear", align_corners=False)


def _check_places(activation: Tensor) -> None:
    """Raise LayerError unless the activation has more than one place."""
    if activation.ndim != 4 or activation.shape[2] * activation.shape[3] < 2:
        raise LayerError(
            "A map needs a layer with places, an activation of shape (batch, channels, height, width) with more than "
            f"one of them; got {tuple(activation.shape)}. Choose a convolution, or what follows it; a dense layer has "
            "no places."
        )

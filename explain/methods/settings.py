"""The settings of a method: which there are, which are missing, and what other libraries call them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from difflib import get_close_matches

from torch import nn

from ..attribution import Attribution
from ..batch import Logits
from ..errors import LayerError, MethodError
from ..layers import module_of

__all__ = ["check_settings", "layer_name", "settings_of"]

SHARED = ("forward", "inputs", "target", "labels")

# Captum's names, and those here that mean the same; the first that a method has is offered.
CAPTUM: dict[str, tuple[str, ...]] = {
    "n_steps": ("steps",),
    "baselines": ("baseline", "references"),
    "sliding_window_shapes": ("window",),
    "strides": ("stride",),
    "stdevs": ("noise",),
    "nt_samples": ("samples",),
    "n_samples": ("samples",),
    "feature_mask": ("groups",),
    "relu_attributions": ("relu",),
    "perturbations_per_eval": ("batch_size",),
    "internal_batch_size": ("batch_size",),
}

# What the same name does not say.
DIFFERS = {
    "noise": ", with relative=False",
    "groups": ", shape of a row",
    "batch_size": ", rows × copies in a pass",
}

NEEDED = {"references": ", rows to compare with, shape (references, *event)"}


def settings_of(method: Callable[..., Attribution]) -> dict[str, bool]:
    """List the settings of a method, beside the arguments that all methods share.

    Parameters
    ----------
    method : callable
        One of `METHODS`.

    Returns
    -------
    dict of str to bool
        Each setting, and whether it must be given.

    Examples
    --------
    >>> from .cam import layer_activation
    >>> settings_of(layer_activation)
    {'layer': True, 'resize': False}
    """
    found = inspect.signature(method).parameters
    return {name: found[name].default is inspect.Parameter.empty for name in found if name not in SHARED}


def check_settings(
    name: str,
    method: Callable[..., Attribution],
    given: Collection[str],
    forward: Logits,
    *,
    batch_size: str = "batch_size",
) -> None:
    """Raise MethodError unless a method has all settings given, and is given all that it needs.

    Parameters
    ----------
    name : str
        What the method is called.
    method : callable
        The method.
    given : collection of str
        Names of settings.
    forward : Forward, module or function
        The model: where a layer is missing, those that it has are told.
    batch_size : str
        What the caller calls the setting of that name.

    Raises
    ------
    MethodError
        Names the settings that there are.

    Examples
    --------
    >>> from .cam import grad_cam
    >>> check_settings("grad_cam", grad_cam, ["layer", "relu"], nn.Linear(2, 2))
    """
    spoken = {setting: batch_size if setting == "batch_size" else setting for setting in settings_of(method)}
    for setting in given:
        if setting not in spoken.values():
            offered = ", ".join(spoken.values()) or "none"
            raise MethodError(
                f"Method {name!r} has no setting {setting!r}; it has: {offered}.{_instead(setting, spoken)}"
            )
    for setting, needed in settings_of(method).items():
        if needed and setting not in given:
            raise MethodError(f"Method {name!r} needs `{setting}`{_to_choose(setting, forward)}; it was not given.")


def layer_name(forward: Logits, layer: str | nn.Module) -> str:
    """Find the name of a layer, where the layer itself was given.

    Parameters
    ----------
    forward : Forward, module or function
        The model.
    layer : str or torch.nn.Module
        A name is returned as it is.

    Returns
    -------
    str
        As in ``module.named_modules()``.

    Raises
    ------
    LayerError
        If the module is no part of the model.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    >>> layer_name(net, net[1])
    '1'
    """
    if isinstance(layer, str):
        return layer
    module = module_of(forward)
    parts: dict[str, nn.Module] = {} if module is None else dict(module.named_modules())
    for name, part in parts.items():
        if part is layer and name:
            return name
    raise LayerError(
        f"`layer` must be a part of the model or its name, such as '3'; got {type(layer).__name__}, which is no part "
        "of it."
    )


def _instead(setting: str, spoken: dict[str, str]) -> str:
    """Offer the name of a setting that may have been meant."""
    for same in CAPTUM.get(setting, ()):
        if same in spoken:
            return f" Captum's `{setting}` is `{spoken[same]}` here{DIFFERS.get(same, '')}."
    near = get_close_matches(setting, spoken.values(), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _to_choose(setting: str, forward: Logits) -> str:
    """Say what a setting that must be given can be."""
    module = module_of(forward)
    if setting != "layer" or module is None:
        return NEEDED.get(setting, "")
    return f", one of {', '.join(repr(name) for name, _ in module.named_modules() if name) or 'none'}"

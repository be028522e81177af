"""Named layers of a model: what they give, and the model held still while it is explained."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from difflib import get_close_matches
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from .batch import Forward, Logits
from .errors import KindError, LayerError

__all__ = ["evaluating", "held_still", "module_of", "named_layer", "twice_differentiable", "with_layers"]


def with_layers(forward: Logits, inputs: Tensor, names: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Run a model once and keep the activations of the layers named.

    Parameters
    ----------
    forward : Forward or torch.nn.Module
        A `Forward` is asked itself; a bare module is hooked, and the hooks are taken off again
        whatever happens.
    inputs : Tensor, shape (batch, *event)
        Model inputs.
    names : sequence of str
        Layers as in ``module.named_modules()``.

    Returns
    -------
    Tensor, shape (batch, classes), float
        Logits.
    dict of str to Tensor
        The output of each layer (of its last call, if it is called several times), connected to
        the logits through autograd.

    Raises
    ------
    LayerError
        If a layer does not exist, gives something else than a tensor, or did not run.
    KindError
        If `forward` is a bare function, which has no layers.

    Examples
    --------
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> logits, layers = with_layers(net, torch.zeros(5, 1, 2, 2), ["1"])
    >>> logits.shape, layers["1"].shape
    (torch.Size([5, 2]), torch.Size([5, 3]))
    """
    if not isinstance(forward, nn.Module):
        if isinstance(forward, Forward):
            return forward.with_layers(inputs, names)
        raise KindError(
            f"Named layers need a module or a `Forward` with `with_layers`; got {type(forward).__name__}. "
            "Pass the module itself."
        )
    if inputs.is_inference() and not torch.is_inference_mode_enabled():
        # What was made in that mode can neither be differentiated nor watched for changes outside of it.
        inputs = inputs.clone()
    kept: dict[str, Tensor] = {}
    # A later in-place operation would overwrite what is kept, unless the model goes on with a copy; a
    # copy costs as much as a small layer, so that it is made only where it is needed.
    copies = (
        forward in _OVERWRITES
        or torch.is_inference_mode_enabled()  # where no changes are counted
        or any(getattr(part, "inplace", False) for part in forward.modules())
    )
    changes: dict[str, int] = {}
    logits = _run(forward, inputs, names, kept, changes, copies=copies)
    if any(kept[name]._version > count for name, count in changes.items()):
        _OVERWRITES.add(forward)
        logits = _run(forward, inputs, names, kept, {}, copies=True)
    missing = [name for name in names if name not in kept]
    if missing:
        raise LayerError(
            f"Layer {missing[0]!r} must run in the forward pass to be kept; it did not. "
            "Ask for the layers inside it, or for another one."
        )
    return logits, kept


def named_layer(module: nn.Module, name: str) -> nn.Module:
    """Find a layer by its name.

    Parameters
    ----------
    module : torch.nn.Module
        Where to look.
    name : str
        As in ``module.named_modules()``.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    LayerError
        If there is none; offers the nearest name.

    Examples
    --------
    >>> named_layer(nn.Sequential(nn.Linear(2, 2)), "0")
    Linear(in_features=2, out_features=2, bias=True)
    """
    parts: dict[str, nn.Module] = dict(module.named_modules())
    if name and name in parts:
        return parts[name]
    names = [part for part in parts if part]
    near = get_close_matches(name, names, n=1)
    guess = f"; did you mean {near[0]!r}?" if near else "."
    raise LayerError(f"No layer {name!r} in this {type(module).__name__}{guess} It has: {', '.join(names)}.")


def module_of(forward: Logits) -> nn.Module | None:
    """Return the module behind a model: itself, or its attribute ``module``; None for a bare function.

    Parameters
    ----------
    forward : Forward, module or function
        A model.

    Returns
    -------
    torch.nn.Module or None

    Examples
    --------
    >>> net = nn.Linear(2, 2)
    >>> module_of(net) is net, module_of(lambda x: x)
    (True, None)
    """
    if isinstance(forward, nn.Module):
        return forward
    module = getattr(forward, "module", None)
    return module if isinstance(module, nn.Module) else None


@contextmanager
def evaluating(forward: Logits) -> Iterator[None]:
    """Put a model in evaluation mode, and each part back in the mode in which it was found.

    Batch normalisation uses its running statistics and does not update them, dropout drops nothing.
    A bare function is left to its author.

    Parameters
    ----------
    forward : Forward, module or function
        A model.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    >>> with evaluating(net):
    ...     net[1].training
    False
    >>> net[1].training
    True
    """
    module = module_of(forward)
    if module is None:
        yield
        return
    # cuDNN's recurrent layers have no derivative at all in evaluation mode.
    with modes_kept(module), _plain_recurrence(module):
        _set_modes((part, False) for part in module.modules())
        yield


@contextmanager
def modes_kept(module: nn.Module) -> Iterator[None]:
    """Put each part of a module back in the mode, training or evaluation, in which it was found.

    Parameters
    ----------
    module : torch.nn.Module
        Whose modes may be changed inside.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    >>> with modes_kept(net):
    ...     _ = net.eval()
    >>> net.training, net[1].training
    (True, True)
    """
    before = [(part, part.training) for part in module.modules()]
    try:
        yield
    finally:
        # Not `module.train()`: parts may have been in different modes.
        _set_modes(before)


@contextmanager
def held_still(forward: Logits) -> Iterator[None]:
    """Put a model in evaluation mode, in a form that can be differentiated twice, and back as found.

    While a row is explained no other row may influence it, and the model has to be the one that
    will be used. Kernels without a second derivative are avoided. A bare function is left to its
    author.

    Parameters
    ----------
    forward : Forward, module or function
        A model.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    >>> with held_still(net):
    ...     net[1].training
    False
    >>> net[1].training
    True
    """
    with evaluating(forward), nullcontext() if module_of(forward) is None else twice_differentiable(forward):
        yield


@contextmanager
def twice_differentiable(forward: Logits) -> Iterator[None]:
    """Avoid kernels without a second derivative: fused attention, and fused recurrent layers on CUDA.

    Parameters
    ----------
    forward : Forward, module or function
        The model that is run inside.

    Examples
    --------
    >>> attention = torch.nn.functional.scaled_dot_product_attention
    >>> x = torch.rand(1, 1, 3, 8, requires_grad=True)
    >>> with twice_differentiable(attention):
    ...     (slope,) = torch.autograd.grad(attention(x, x, x).sum(), x, create_graph=True)
    >>> torch.autograd.grad(slope.square().sum(), x)[0].shape
    torch.Size([1, 1, 3, 8])
    """
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), _plain_recurrence(module_of(forward)):
        yield


def _plain_recurrence(module: nn.Module | None) -> AbstractContextManager[None]:
    """Leave cuDNN out if there is a recurrent layer."""
    if module is not None and any(isinstance(part, nn.RNNBase) for part in module.modules()):
        return torch.backends.cudnn.flags(enabled=False)
    return nullcontext()


def _set_modes(modes: Iterable[tuple[nn.Module, bool]]) -> None:
    """Put each part in a mode; where it is in it already nothing is set, which for a module is slow."""
    for part, training in modes:
        if part.training != training:
            part.training = training


# Modules seen to overwrite activations outside of layers that say so: `x += skip`.
_OVERWRITES: WeakSet[nn.Module] = WeakSet()


def _run(
    module: nn.Module,
    inputs: Tensor,
    names: Sequence[str],
    kept: dict[str, Tensor],
    changes: dict[str, int],
    *,
    copies: bool,
) -> Tensor:
    """Run a module with hooks that keep the layers named; return the logits.

    `kept` gets the activations, `changes` how often each had been changed in place, if there are no copies.
    """

    def keeping(name: str) -> Callable[[nn.Module, Any, Any], Tensor]:
        def keep(part: nn.Module, inputs: Any, activation: Any) -> Tensor:
            if not isinstance(activation, Tensor):
                raise LayerError(f"Layer {name!r} must give a tensor to be kept; it gives {type(activation).__name__}.")
            given: Tensor = activation
            if torch.is_grad_enabled() and given.is_floating_point() and not given.requires_grad:
                # Of frozen weights on token ids, say: what follows can still be differentiated by it.
                kept[name] = given.detach().requires_grad_()
                # The model goes on with a copy, because nothing is written in place into a leaf.
                return kept[name].clone()
            kept[name] = given
            if copies:
                return given.clone()
            changes[name] = given._version
            return given

        return keep

    with ExitStack() as hooks:
        for name in dict.fromkeys(names):
            hooks.callback(named_layer(module, name).register_forward_hook(keeping(name)).remove)
        logits: Tensor = module(inputs)
    return logits

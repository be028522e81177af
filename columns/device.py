"""Devices: chosen once, modules placed without touching the user's own, inputs copied ahead."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from .functions import Function, weights_stamp

__all__ = ["Placed", "copy_on", "place", "resolve_device"]


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device of that name; ``"auto"`` takes CUDA, then MPS, then the CPU.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if name == "cuda":
        return torch.device("cuda", torch.cuda.current_device())
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


# A copy of a module on another device, for as long as the weights it was copied from stay as they are.
_copies: weakref.WeakKeyDictionary[nn.Module, dict[torch.device, tuple[Any, nn.Module]]] = weakref.WeakKeyDictionary()


class Placed:
    """A function on its device.

    Attributes
    ----------
    call : callable
        What to call; the user's own module where it already is on the device, else a copy of it.
    device : torch.device
        Where its inputs belong.
    """

    __slots__ = ("_float", "call", "device", "function", "takes_wanted")

    def __init__(self, function: Function) -> None:
        self.function = function
        self.takes_wanted = function.takes_wanted  # asked once here: looking at signatures is slow
        self.call, self.device = place(function)
        self._float: torch.dtype | None = None
        if isinstance(self.call, nn.Module):
            first = next((p for p in self.call.parameters() if p.is_floating_point()), None)
            self._float = None if first is None else first.dtype

    def fit(self, argument: Any) -> Any:
        """Return a batch as the function takes it: on its device, in its floating type and memory format."""
        if not isinstance(argument, torch.Tensor):
            return argument
        argument = argument.to(self.device, non_blocking=True)
        if self._float is not None and argument.is_floating_point() and argument.dtype != self._float:
            argument = argument.to(self._float)  # NumPy's default is float64, torch's float32
        if argument.ndim == 4 and self.function.channels_last:
            argument = argument.contiguous(memory_format=torch.channels_last)
        return argument

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run without gradients (a function may ask for them itself) and in the dtype asked for."""
        with torch.no_grad():
            if self.function.autocast is None:
                yield
            else:
                with torch.autocast(self.device.type, getattr(torch, self.function.autocast)):
                    yield


def place(function: Function) -> tuple[Callable[..., Any], torch.device]:
    """Return what to call and where its inputs belong.

    A module of the user's is never moved: on another device than its own, a copy runs. A plain function runs
    where the modules that it holds live, or on the CPU; an object with a method ``on(device)`` is asked for
    its likeness there.
    """
    call, modules = function.call, function.modules
    if isinstance(call, nn.Module):
        device = _target(function.device, call)
        return copy_on(call, device), device
    likeness = getattr(call, "on", None)
    if callable(likeness):
        device = _target(function.device, modules[0] if modules else None)
        result: Callable[..., Any] = likeness(device)
        return result, device
    home = next((p.device for m in modules for p in m.parameters()), torch.device("cpu"))
    return call, home if function.device == "auto" else torch.device(function.device)


def _target(name: str, module: nn.Module | None) -> torch.device:
    home = None if module is None else next((p.device for p in module.parameters()), None)
    if name == "auto" and home is not None and home.type != "cpu":
        return home
    return resolve_device(name)


def copy_on(module: nn.Module, device: torch.device) -> nn.Module:
    """Return `module` if it lives on `device`, else a copy of it there, made once per state of its weights."""
    homes = {p.device for p in (*module.parameters(), *module.buffers())}
    if all(home == device or (home.type == device.type == "cpu") for home in homes):
        return module
    stamp = weights_stamp([module])
    copies = _copies.setdefault(module, {})
    known = copies.get(device)
    if known is None or known[0] != stamp:
        copies[device] = (stamp, copy.deepcopy(module).to(device))
    return copies[device][1]

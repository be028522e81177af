"""Functions as parts of expressions: what is called, with what, and when its results still hold."""

from __future__ import annotations

import functools
import hashlib
import inspect
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from .errors import FunctionError
from .modules import modules_of
from .values import Values

__all__ = [
    "Function",
    "Operation",
    "Output",
    "evaluating",
    "importable_name",
    "modules_of",
    "weights_digest",
    "weights_stamp",
]

_SAMPLED = 32  # elements of each tensor that the stamp looks at


class Operation(ABC):
    """A cheap function of whole columns: a frozen dataclass, so that equal operations are one node.

    Attributes
    ----------
    strict : bool
        Whether null in means null out.
    """

    strict: bool = True

    @abstractmethod
    def __call__(self, *inputs: Values) -> Values: ...

    @abstractmethod
    def words(self, inner: Sequence[str]) -> str:
        """Return the operation in words, given its inputs in words."""


@dataclass(frozen=True)
class Output:
    """One output of a function.

    Attributes
    ----------
    name : str
        Empty where the function has one output only.
    form : str
        ``"arrow"``, ``"dense"``, ``"image"``, ``"list"``, or ``"pending"`` while nobody has said.
    shape : tuple of int or None
        Shape of one row, checked where given.
    dtype : str or None
        NumPy or Arrow type, to which results are converted.
    """

    name: str = ""
    form: str = "pending"
    shape: tuple[int, ...] | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class Function:
    """A function, how to call it, and what comes out.

    Attributes
    ----------
    call : callable
        Any function or `torch.nn.Module`.
    outputs : tuple of Output
        What it returns; several outputs come as a dictionary by name.
    batched : bool
        Whether it takes many rows at once.
    batch_size : int or None
        Rows per call; chosen by the evaluator if None.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ...: where a module runs.
    version : str or None
        The author's word that results of this version hold; lets results of a lambda survive the process.
    autocast : str or None
        Name of the dtype in which a module may compute, ``"bfloat16"`` say.
    channels_last : bool
        Whether four-dimensional inputs keep channels-last memory.
    in_advance : tuple of str
        Outputs that are stored whenever any other is computed, though nobody has asked for them yet.
    """

    call: Callable[..., Any]
    outputs: tuple[Output, ...] = (Output(),)
    batched: bool = False
    batch_size: int | None = field(default=None)
    device: str = "auto"
    version: str | None = None
    autocast: str | None = None
    channels_last: bool = False
    in_advance: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            hash(self.call)
        except TypeError as error:
            raise FunctionError(
                f"A mapped function must be hashable, since its results are found again by it; got {self.call!r}. "
                "Give its class `__hash__ = object.__hash__`, or wrap it in a function."
            ) from error

    @property
    def name(self) -> str:
        """The function's name, for people."""
        call = self.call.func if isinstance(self.call, functools.partial) else self.call
        return str(getattr(call, "__name__", type(call).__name__))

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The torch modules that the function rests on."""
        return modules_of(self.call)

    @property
    def takes_wanted(self) -> bool:
        """Whether the function asks to be told which outputs are wanted, by a parameter ``wanted``."""
        return _takes_wanted(self.call)

    def output(self, name: str) -> Output:
        """Return the output of that name."""
        return next(o for o in self.outputs if o.name == name)

    def digest(self) -> str | None:
        """Return a hash of the function that holds across processes, or None if it has none."""
        name = f"version {self.version}" if self.version is not None else importable_name(self.call)
        if name is None:
            return None
        weights = [weights_digest(m) for m in self.modules]
        calls = (self.batched, self.autocast, self.outputs)
        return "\x1f".join([self.name, name, repr(calls), *weights])


def _takes_wanted(call: Callable[..., Any]) -> bool:
    target = call.forward if isinstance(call, nn.Module) else call
    try:
        return "wanted" in inspect.signature(target).parameters
    except (TypeError, ValueError):  # built-in functions have no signature
        return False


def importable_name(call: Any) -> str | None:
    """Return a name under which another process finds the same function, with a hash of its source text.

    None for lambdas, functions made inside functions, and what lives in ``__main__``.

    Examples
    --------
    >>> importable_name(lambda x: x) is None
    True
    >>> importable_name(len)
    'builtins.len'
    """
    if isinstance(call, nn.Module):
        kind = importable_name(type(call))
        return None if kind is None else f"{kind} {call.extra_repr()} {_structure(call)}"
    if isinstance(call, functools.partial):
        inner = importable_name(call.func)
        plain = all(isinstance(a, (str, int, float, bool, type(None))) for a in (*call.args, *call.keywords.values()))
        return f"{inner} {call.args} {sorted(call.keywords.items())}" if inner and plain else None
    module, name = getattr(call, "__module__", None), getattr(call, "__qualname__", None)
    if module is None or name is None:
        stable = getattr(call, "stable_name", None)  # an object that knows how it is found again
        return stable() if callable(stable) else None
    if module == "__main__" or "<" in name:
        return None
    if getattr(call, "__self__", None) is not None and not isinstance(call.__self__, (type, types.ModuleType)):
        return None  # a bound method: its object's state is not in its name
    try:
        text = inspect.getsource(call)
    except (OSError, TypeError):
        return f"{module}.{name}"
    # An edited function is another function: its text counts, so that old results are not taken for new.
    return f"{module}.{name} {hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"


def _structure(module: nn.Module) -> str:
    return hashlib.blake2b(repr(module).encode(), digest_size=8).hexdigest()


def weights_stamp(modules: Sequence[nn.Module]) -> tuple[Any, ...]:
    """Return what tells one state of the weights from another, cheaply.

    Storage, version counter, a sample of the numbers, and the train/eval mode of every part. Fused optimizers
    and writes to ``.data`` leave the version counter alone, hence the sample; `weights_digest` looks at all.
    """
    parts: list[Any] = []
    for module in modules:
        parts.append(tuple(m.training for m in module.modules()))
        for tensor in _tensors(module):
            flat = tensor.detach().reshape(-1) if tensor.is_contiguous() else tensor.detach().flatten()
            step = max(1, flat.numel() // _SAMPLED)
            # Both ends and a comb between: an update in place almost surely moves one of them.
            sample = torch.cat([flat[::step], flat[-1:]]) if flat.numel() else flat
            seen = sample.to("cpu", torch.float64 if sample.is_floating_point() else None).numpy().tobytes()
            parts.append((tensor.data_ptr(), tuple(tensor.shape), tensor._version, hash(seen)))
    return tuple(parts)


def weights_digest(module: nn.Module) -> str:
    """Return a hash of every parameter and buffer, by name."""
    h = hashlib.blake2b(digest_size=16)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        data = tensor.detach().cpu().contiguous()
        h.update(f"{name} {data.dtype} {tuple(data.shape)}".encode())
        h.update(data.reshape(-1).view(torch.uint8).numpy().data if data.numel() else b"")
    return h.hexdigest()


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


@contextmanager
def evaluating(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Put modules into evaluation mode, and leave every part of them as it was found."""
    before = [(m, m.training) for module in modules for m in module.modules()]
    try:
        for module in modules:
            if module.training or any(m.training for m in module.modules()):
                module.eval()
        yield
    finally:
        for m, training in before:
            m.training = training


def check_rows(name: str, got: int, expected: int) -> None:
    """Raise unless a function returned as many rows as it was given."""
    if got != expected:
        raise FunctionError(
            f"`{name}` must return one row per row it is given; it was given {expected} and returned {got}. "
            "Return a batch of the same length, or map without `batched=True`."
        )


def to_numpy(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """Return a tensor as an array on the host, shared if it is there; bfloat16, which NumPy lacks, becomes float32."""
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return tensor.resolve_conj().resolve_neg().cpu().numpy()

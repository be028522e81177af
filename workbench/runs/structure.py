"""How a network is built again: a factory with its arguments, or layers of torch one by one.

Known without being told for networks that hold their `arguments`, as those of `workbench.nets` do, and for what is
made of torch's own layers by `torch.nn.Sequential`. Any other needs ``Classifier(..., factory=..., arguments=...)``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..classifier import Classifier
from ..errors import ClassifierError, RunFileError, WorkbenchError
from .names import find_callable, import_path
from .plain import from_plain, to_plain

__all__ = ["build", "describe"]

DEEPEST = 50
# Arguments of torch's layers that say where and in which precision to start: the weights tell that.
_PLACES = ("device", "dtype", "_weight", "_freeze")


def describe(classifier: Classifier) -> dict[str, Any] | None:
    """Say how the module of a classifier is built again.

    Parameters
    ----------
    classifier : Classifier
        With its `factory`, if it was given one.

    Returns
    -------
    dict or None
        For JSON; None if nobody knows, and whoever opens it has to pass a factory.

    Raises
    ------
    ClassifierError
        If the factory or its arguments have no exact form in a file.

    Examples
    --------
    >>> describe(Classifier(nn.Linear(4, 2), classes=("cat", "dog")))["class"]
    'torch.nn.modules.linear:Linear'
    """
    if classifier.factory is not None:
        path = import_path(classifier.factory)
        if path is None:
            # A factory of a notebook is as good as none to another process.
            return None
        return {"class": path, "arguments": _plain_arguments(classifier.arguments or {}, path)}
    module = classifier.module
    # What the network is made of is loaded already: to build another one of it runs no code that did not run before.
    loaded = {type(part).__module__ for part in module.modules()}
    try:
        found = _described(module, 0)
        if found is None or _same(module, build(found, tuple(loaded))):
            return found
    except (WorkbenchError, TypeError, ValueError, RuntimeError):
        # It was a guess, and it does not build: then the file says that a factory is needed.
        return None
    return None


def build(description: Mapping[str, Any], trust: Sequence[str] = ()) -> nn.Module:
    """Build a network by what `describe` returned; torch's generators are left as found.

    Parameters
    ----------
    description : mapping
        From anybody's file.
    trust : sequence of str
        Packages whose classes and functions may be called.

    Returns
    -------
    torch.nn.Module
        With fresh weights.

    Raises
    ------
    UntrustedError
        If it names a class or function of a package that is not trusted.
    RunFileError
        If it cannot be built.

    Examples
    --------
    >>> build(describe(Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), classes=("cat", "dog"))))
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=4, out_features=2, bias=True)
    )
    """
    with torch.random.fork_rng(devices=[]):
        return _built(description, trust, 0)


def call_factory(factory: Callable[..., Any], arguments: Mapping[str, Any], name: str) -> nn.Module:
    """Call a factory, and raise ClassifierError if it does not give a module."""
    try:
        module = factory(**arguments)
    except Exception as error:
        raise ClassifierError(
            f"The factory {name} could not be called with {dict(arguments)!r}: {type(error).__name__}: {error}"
        ) from error
    if isinstance(module, Classifier):
        module = module.module
    if not isinstance(module, nn.Module):
        raise ClassifierError(f"The factory {name} must return a torch.nn.Module; got {type(module).__name__}.")
    return module


def _described(module: nn.Module, depth: int) -> dict[str, Any] | None:
    """Describe a module by its own arguments or its layers; None if it holds neither."""
    path = import_path(type(module))
    if path is None or depth > DEEPEST or torch.nn.utils.parametrize.is_parametrized(module):
        return None
    if type(module) is nn.Sequential:
        layers = [(name, _described(child, depth + 1)) for name, child in module.named_children()]
        return None if any(inner is None for _, inner in layers) else {"class": path, "layers": layers}
    arguments = getattr(module, "arguments", None)
    if isinstance(arguments, Mapping):
        return {"class": path, "arguments": _plain_arguments(arguments, path)}
    if path.startswith("torch.nn.modules."):
        found = _guessed(module)
        return None if found is None else {"class": path, "arguments": _plain_arguments(found, path)}
    return None


def _guessed(module: nn.Module) -> dict[str, Any] | None:
    """Read the arguments of one of torch's layers from its attributes, which bear the same names."""
    found: dict[str, Any] = {}
    for name, parameter in inspect.signature(type(module).__init__).parameters.items():
        if name in ("self", *_PLACES):
            continue
        value = getattr(module, name, inspect.Parameter.empty)
        if isinstance(parameter.default, bool) and (value is None or isinstance(value, Tensor)):
            value = value is not None  # bias=True became a weight of that name
        if value is inspect.Parameter.empty or isinstance(value, (nn.Module, Tensor)) or callable(value):
            if parameter.default is inspect.Parameter.empty:
                return None
            continue
        found[name] = value
    return found


def _plain_arguments(arguments: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return arguments as JSON, or raise ClassifierError if they have no exact form there."""
    plain = {name: to_plain(value) for name, value in arguments.items()}
    for name, value in plain.items():
        try:
            from_plain(value)
        except RunFileError as error:
            raise ClassifierError(
                f"Arguments of a factory must be plain values (numbers, text, lists, dictionaries); '{name}' of "
                f"{path} is {arguments[name]!r}. Give a factory that makes it itself."
            ) from error
    return plain


def _built(description: Mapping[str, Any], trust: Sequence[str], depth: int) -> nn.Module:
    match description:
        case {"class": str(path), "layers": list(layers) | tuple(layers)} if depth <= DEEPEST:
            if find_callable(path, "factory") is not nn.Sequential:
                raise RunFileError(f"Layers are put into torch.nn.Sequential; the file says '{path}'.")
            module = nn.Sequential()
            for name, inner in layers:
                module.add_module(str(name), _built(inner, trust, depth + 1))
            return module
        case {"class": str(path), "arguments": dict(arguments)}:
            factory = find_callable(path, "factory", trust)
            return call_factory(factory, {name: from_plain(value) for name, value in arguments.items()}, path)
    raise RunFileError(f"A network is built by a class and its arguments or layers; got {str(description)[:80]}.")


def _same(module: nn.Module, built: nn.Module) -> bool:
    """Return whether two modules print alike and have weights of the same names and shapes."""
    shapes = [{name: tuple(value.shape) for name, value in m.state_dict().items()} for m in (module, built)]
    return shapes[0] == shapes[1] and repr(module) == repr(built)

"""Which torch modules a function rests on: what its results must be thrown away with."""

from __future__ import annotations

import functools
import types
from collections import deque
from collections.abc import Iterator
from typing import Any

from torch import nn

__all__ = ["modules_of"]

_DEEPEST = 4  # steps from the function: a partial of a bound method of an object that holds a list of modules
_MANY = 32  # longer lists and dictionaries are data, not models


def modules_of(call: Any) -> tuple[nn.Module, ...]:
    """Return the torch modules that a callable rests on, as far as can be seen.

    Looks at the callable itself, a bound method's object, a partial's arguments, a function's closure, its
    defaults and the globals that it names (through functions of the same file as well), and the attributes
    of a callable object.

    Examples
    --------
    >>> net = nn.Linear(2, 1)
    >>> modules_of(lambda x: net(x)) == (net,)
    True
    """
    if isinstance(call, nn.Module):
        return (call,)
    found: dict[int, nn.Module] = {}
    seen: set[int] = set()
    queue: deque[tuple[Any, int]] = deque([(call, 0)])
    while queue:
        thing, depth = queue.popleft()
        if id(thing) in seen or depth > _DEEPEST:
            continue
        seen.add(id(thing))
        if isinstance(thing, nn.Module):
            found[id(thing)] = thing
        else:
            queue.extend((part, depth + 1) for part in _parts(thing))
    return tuple(found.values())


def _parts(thing: Any) -> Iterator[Any]:
    if isinstance(thing, (str, bytes, int, float, type, types.ModuleType, types.BuiltinFunctionType)) or thing is None:
        return
    if isinstance(thing, functools.partial):
        yield thing.func
        yield from thing.args
        yield from thing.keywords.values()
    elif isinstance(thing, types.MethodType):
        yield thing.__self__
        yield thing.__func__
    elif isinstance(thing, types.FunctionType):
        yield from _parts_of_function(thing)
    elif isinstance(thing, (list, tuple, set, frozenset)):
        if len(thing) <= _MANY:
            yield from thing
    elif isinstance(thing, dict):
        if len(thing) <= _MANY:
            yield from thing.values()
    else:
        yield from getattr(thing, "__dict__", {}).values()
        for base in type(thing).__mro__:
            names = base.__dict__.get("__slots__", ())
            for name in (names,) if isinstance(names, str) else names:
                if name not in ("__dict__", "__weakref__") and hasattr(thing, name):
                    yield getattr(thing, name)


def _parts_of_function(function: types.FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a name that is not bound yet
            continue
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield from vars(function).values()  # what decorators leave there: `__wrapped__`
    names = _names(function.__code__)
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, types.ModuleType):
            # `nets.small(x)`: the module object is an attribute of a library that is named.
            inner = (vars(value).get(other) for other in names)
            yield from (one for one in inner if isinstance(one, nn.Module))
        elif isinstance(value, types.FunctionType):
            # Helpers of the same file; following every library would be slow, and finds nothing.
            if value.__module__ == function.__module__:
                yield value
        elif _holds_module(value):
            yield value


@functools.lru_cache(maxsize=4096)
def _names(code: types.CodeType) -> tuple[str, ...]:
    """Return the globals and attributes that code names, inner functions and comprehensions included."""
    names = dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names.update(dict.fromkeys(_names(constant)))
    return tuple(names)


def _holds_module(value: Any) -> bool:
    """Say whether a global is a module, or a classifier, a list, a partial around one: not a library."""
    if isinstance(value, nn.Module):
        return True
    if isinstance(value, (type, types.BuiltinFunctionType)):
        return False
    if isinstance(value, (list, tuple, dict)):
        inner = value.values() if isinstance(value, dict) else value
        return len(value) <= _MANY and any(_holds_module(v) for v in inner if not isinstance(v, (list, tuple, dict)))
    if isinstance(value, (functools.partial, types.MethodType)):
        return True
    return any(isinstance(v, nn.Module) for v in getattr(value, "__dict__", {}).values())

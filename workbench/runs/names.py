"""Import paths in files: written for whatever can be found again, followed only where somebody is trusted.

A file may have been written by anybody, and importing a module runs it. So a path read from a file is followed
into our own packages and ``torch.nn``, and elsewhere only as far as the caller says: ``trust=["mypackage"]``.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from torch import nn

from ..errors import RunFileError, UntrustedError

__all__ = ["find_callable", "find_loaded", "import_path", "is_ours"]

OURS = ("workbench", "columns", "explain")
# Of our functions, those that prepare a batch; the others may write files, or worse.
PREPARING = ("workbench.classifier",)

_PATH = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")
_LONGEST = 300


def import_path(thing: Any) -> str | None:
    """Return the path under which another process finds the same class or function.

    Parameters
    ----------
    thing : class or function
        Anything else has no path.

    Returns
    -------
    str or None
        Module and name with a colon between; None for lambdas, for what is defined inside functions or in a
        notebook, and for what its own module no longer holds under that name.

    Examples
    --------
    >>> import_path(nn.Linear)
    'torch.nn.modules.linear:Linear'
    >>> import_path(lambda batch: batch) is None
    True
    """
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__" or "<" in name:
        return None
    return f"{module}:{name}" if _attribute(sys.modules.get(module), name) is thing else None


def is_ours(path: str) -> bool:
    """Return whether an import path leads into the packages of this distribution."""
    return _within(path.partition(":")[0], OURS)


def find_callable(path: str, what: str, trust: Sequence[str] = ()) -> Any:
    """Follow an import path that was read from a file, if it leads where somebody is trusted.

    Parameters
    ----------
    path : str
        Module and name with a colon between.
    what : {"factory", "preprocess", "offsets"}
        What it is to be: of our own and torch's, only network classes and preprocessing functions are taken.
    trust : sequence of str
        Packages, or modules, that may be imported and of which any class or function may be called.

    Returns
    -------
    class or function
        Defined in that module under that name.

    Raises
    ------
    UntrustedError
        If it leads elsewhere; says how to allow it.
    RunFileError
        If there is no such module or name, or it is nothing that could be called.

    Examples
    --------
    >>> find_callable("torch.nn.modules.linear:Linear", "factory")
    <class 'torch.nn.modules.linear.Linear'>
    """
    module, name = _parts(path)
    trusted = _within(module, trust)
    if not trusted and not _within(module, (*OURS, "torch.nn") if what == "factory" else PREPARING):
        top = module.partition(".")[0]
        raise UntrustedError(
            f"The file names '{path}' as its {what}; a module is imported only if it is trusted, and this one is not. "
            f"Pass `trust=['{top}']` if you know what it does, or the function itself: `{what}=...`."
        )
    try:
        found = _attribute(importlib.import_module(module), name)
    except ImportError as error:
        raise RunFileError(
            f"The {what} '{path}' cannot be imported: {error}. Install it, or pass `{what}=...`."
        ) from error
    if not callable(found) or getattr(found, "__module__", None) != module:
        # What a module merely imported, `os.system` say, is not its own.
        raise RunFileError(f"'{module}' defines nothing callable named '{name}'; pass `{what}=...`.")
    if what == "factory" and not trusted and not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise UntrustedError(f"'{path}' is no network class; pass `trust=['{module}']`, or `factory=...`.")
    return found


def find_loaded(path: str) -> type:
    """Return a class named in a file without importing anything but our own packages.

    Raises
    ------
    RunFileError
        If it is not loaded, or is no class.
    """
    module, name = _parts(path)
    if is_ours(path):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise RunFileError(f"The file names '{path}', which this version does not have.") from error
    found = _attribute(sys.modules.get(module), name)
    if not isinstance(found, type) or found.__module__ != module:
        raise RunFileError(
            f"The file names the class '{path}', which is not loaded, and is not imported because a file names it. "
            f"Run `import {module}` first if you know what it does."
        )
    return found


def _parts(path: str) -> tuple[str, str]:
    """Part a path into module and name."""
    match = _PATH.fullmatch(path) if isinstance(path, str) and len(path) <= _LONGEST else None
    if match is None or "__" in path:
        raise RunFileError(f"An import path must read 'package.module:name'; got {str(path)[:80]!r}.")
    return match[1], match[2]


def _within(module: str, packages: Sequence[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _attribute(holder: ModuleType | None, name: str) -> Any:
    """Return what a module holds under a dotted name, or None; never another module."""
    found: Any = holder
    for part in name.split("."):
        found = getattr(found, part, None)
        if isinstance(found, ModuleType):
            return None
    return found

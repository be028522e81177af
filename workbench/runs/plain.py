"""Settings as JSON and back: frozen dataclasses of plain values, with their tensors kept beside.

Numbers, text and containers come back exactly as they were: tuples as tuples, infinite and missing numbers too. A
class is named by its import path, and only settings of a training, rationale losses and counterexamples are made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from explain import RationaleLoss
from explain.counterexamples import Added, Refill

from ..errors import RunFileError
from ..record import TrainingSettings
from .names import find_loaded, is_ours

__all__ = ["from_plain", "to_plain"]

Plain: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None

# What a file may ask for: nothing else is made from one.
MADE = (TrainingSettings, RationaleLoss, Refill, Added)
# Deeper than any settings, and far from Python's own limit.
DEEPEST = 60


def to_plain(value: Any, tensors: dict[str, Tensor] | None = None) -> Plain:
    """Turn settings into what JSON holds.

    Parameters
    ----------
    value : dataclass, plain value or container
        Dictionaries have text as keys. What has no exact form, a function say, is noted in words: such a note
        can be written and looked at, but `from_plain` refuses it.
    tensors : dict of str to Tensor, optional
        Receives the tensors met, under names that stand in their places; without it, tensors are noted in words.

    Returns
    -------
    bool, int, float, str, list, dict or None
        For `json.dumps`.

    Raises
    ------
    RunFileError
        If it is nested too deeply.

    Examples
    --------
    >>> to_plain((1, 0.5, float("inf")))
    {'tuple': [1, 0.5, {'float': 'inf'}]}
    >>> from explain import RightReasons
    >>> to_plain(RightReasons())["class"]
    'explain.losses.input_gradients:RightReasons'
    """
    return _to(value, tensors, 0)


def from_plain(data: Any, tensors: Mapping[str, Tensor] | None = None) -> Any:
    """Turn what `to_plain` made into the settings that it was made of.

    Parameters
    ----------
    data : plain value
        As `json.loads` gives it, from anybody's file.
    tensors : mapping of str to Tensor, optional
        The tensors that it names.

    Returns
    -------
    dataclass, plain value or container
        Equal to what was written.

    Raises
    ------
    RunFileError
        If a class is none of `TrainingSettings`, `RationaleLoss` and counterexamples, or is not loaded, does not
        take these fields, or something has no exact form.

    Examples
    --------
    >>> from explain import RightReasons
    >>> loss = RightReasons(weight=0.1) + 0.5 * RightReasons(norm="l1")
    >>> from_plain(to_plain(loss)) == loss
    True
    """
    return _from(data, tensors or {}, 0)


def _to(value: Any, tensors: dict[str, Tensor] | None, depth: int) -> Plain:
    if depth > DEEPEST:
        raise RunFileError(f"Settings must not be nested more than {DEEPEST} deep.")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, str):
        plain: Plain = value
        return plain
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if type(value) in (list, tuple):
        inner = [_to(item, tensors, depth + 1) for item in value]
        return inner if type(value) is list else {"tuple": inner}
    if type(value) is dict and all(type(key) is str for key in value):
        return {"dict": {key: _to(item, tensors, depth + 1) for key, item in value.items()}}
    if isinstance(value, Tensor) and tensors is not None:
        # Settings and their loss name the same ones.
        name = next((known for known, held in tensors.items() if held is value), f"tensor{len(tensors)}")
        tensors[name] = value
        return {"tensor": name}
    if is_dataclass(value) and not isinstance(value, type):
        named = {f.name: _to(getattr(value, f.name), tensors, depth + 1) for f in fields(value) if f.init}
        # A class of a notebook is written as well: it is found again where the notebook is loaded.
        return {"class": f"{type(value).__module__}:{type(value).__qualname__}", "fields": named}
    return {"words": _in_words(value)}


def _from(data: Any, tensors: Mapping[str, Tensor], depth: int) -> Any:
    if depth > DEEPEST:
        raise RunFileError(f"Settings must not be nested more than {DEEPEST} deep.")
    if data is None or isinstance(data, (bool, int, float, str)):
        return data
    if isinstance(data, list):
        return [_from(item, tensors, depth + 1) for item in data]
    if not isinstance(data, dict):
        raise RunFileError(f"Settings are made of JSON values; got {type(data).__name__}.")
    match data:
        case {"float": "nan" | "inf" | "-inf" as number}:
            return float(number)
        case {"tuple": list(items)}:
            return tuple(_from(item, tensors, depth + 1) for item in items)
        case {"dict": dict(items)}:
            return {key: _from(item, tensors, depth + 1) for key, item in items.items()}
        case {"tensor": str(name)} if name in tensors:
            return tensors[name]
        case {"class": str(path), "fields": dict(given)}:
            return _made(path, {key: _from(item, tensors, depth + 1) for key, item in given.items()})
        case {"words": str(words)}:
            raise RunFileError(f"Settings hold what a file cannot: {words}. Give the settings again.")
    raise RunFileError(f"Settings hold something unknown: {str(data)[:80]}.")


def _made(path: str, given: dict[str, Any]) -> Any:
    """Make a dataclass that a file names, if it is one of those allowed."""
    made = find_loaded(path)
    if not is_dataclass(made) or not issubclass(made, MADE):
        raise RunFileError(
            f"A file may name settings of a training, losses and counterexamples; '{path}' is none of them."
        )
    known = {f.name for f in fields(made) if f.init}
    strange = sorted(set(given) - known)
    if strange:
        newer = " It was written by another version." if is_ours(path) else ""
        raise RunFileError(f"'{path}' has no field {', '.join(map(repr, strange))}.{newer}")
    try:
        return made(**given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RunFileError(f"'{path}' does not take what the file says: {error}") from error


def _in_words(value: Any) -> str:
    """Name something that has no exact form."""
    if isinstance(value, Tensor):
        return f"tensor of shape {tuple(value.shape)}"
    name = getattr(value, "__qualname__", None)
    kind = value if isinstance(name, str) else type(value)
    return f"{getattr(kind, '__module__', '')}.{kind.__qualname__}" + ("" if kind is value else " object")

"""Attribution methods by name: to add one, write its family's file and enter it in `METHODS`."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from torch import Tensor

from ..attribution import Attribution
from ..batch import Logits
from ..errors import MethodError
from ..target import Target
from .gradients import input_gradient

__all__ = ["METHODS", "attribute", "input_gradient", "method_named"]

METHODS: dict[str, Callable[..., Attribution]] = {
    "input_gradient": input_gradient,
}


def attribute(
    forward: Logits,
    inputs: Tensor,
    method: str = "input_gradient",
    *,
    target: Target = "max_log_probability",
    labels: Tensor | None = None,
    **settings: Any,
) -> Attribution:
    """Explain a batch by the method of that name.

    Parameters
    ----------
    forward : Forward, module or function
        Model inputs to logits, shape (batch, classes). Some methods need a `Forward`.
    inputs : Tensor, shape (batch, *event), float
        Model inputs in the model's own unit.
    method : str
        A key of `METHODS`.
    target : str, int or callable
        What is explained; see `target_values`.
    labels : Tensor or None, shape (batch,), int64
        For targets that need them.
    **settings
        Passed to the method.

    Returns
    -------
    Attribution
        With scores of the shape of `inputs`.

    Raises
    ------
    MethodError
        If there is no method of that name.

    Examples
    --------
    >>> import torch
    >>> attribute(lambda x: 3 * x, torch.zeros(1, 2), "input_gradient", target=0).scores
    tensor([[3., 0.]])
    """
    return method_named(method)(forward, inputs, target=target, labels=labels, **settings)


def method_named(name: str) -> Callable[..., Attribution]:
    """Find the method of that name.

    Raises
    ------
    MethodError
        If there is none; offers the nearest.

    Examples
    --------
    >>> method_named("input_gradient") is input_gradient
    True
    """
    if name not in METHODS:
        near = get_close_matches(name, METHODS, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else "."
        raise MethodError(f"No attribution method {name!r}{guess} There are: {', '.join(METHODS)}.")
    return METHODS[name]

"""The frame in which a model is explained and judged: as it is used, and left as it was found."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch

from .layers import evaluating

__all__ = ["as_used"]

P = ParamSpec("P")
R = TypeVar("R")


def as_used(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function of a model ask it in evaluation mode, whatever the mode that its caller left it in.

    What is said of a model should hold for the model that will be used: batch normalisation takes its
    running statistics and does not update them, dropout drops nothing, and no row influences another.
    Afterwards each part is in the mode in which it was found, also after an exception. Gradients are
    off, and inference mode is left, so that the function can turn them on where it needs them.

    Parameters
    ----------
    function : callable
        Its first argument, `forward`, is a Forward, a module, or a function, which is left to its author.

    Returns
    -------
    callable
        The same function, in that frame.

    Examples
    --------
    >>> drops = torch.nn.Dropout(0.5).train()
    >>> as_used(lambda forward, x: forward(x))(drops, torch.ones(4))
    tensor([1., 1., 1., 1.])
    >>> drops.training
    True
    """

    @wraps(function)
    def framed(*args: P.args, **kwargs: P.kwargs) -> R:
        forward: Any = args[0] if args else kwargs.get("forward")
        # Tensors made in inference mode could not take part in a gradient.
        with torch.inference_mode(False), torch.no_grad(), evaluating(forward):
            return function(*args, **kwargs)

    return framed

"""Calls of functions that say that a model is being trained: dropout without a layer of its own."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["TrainingCalls"]

# What says that a call is one of training, by the name of its parameter.
TRAINING = {
    functional.dropout: "training",
    functional.dropout1d: "training",
    functional.dropout2d: "training",
    functional.dropout3d: "training",
    functional.alpha_dropout: "training",
    functional.feature_alpha_dropout: "training",
    functional.rrelu: "training",
    functional.batch_norm: "training",
    functional.multi_head_attention_forward: "training",
}
# Of torch's own functions, which tell no names: the name and the place of that parameter.
BUILT_IN = {
    torch.dropout: ("train", 2),
    torch.batch_norm: ("training", 5),
    functional.scaled_dot_product_attention: ("dropout_p", 4),
}


class TrainingCalls(TorchFunctionMode):
    """Watch for calls in a forward pass that draw at random, or look at other rows, because the model is trained.

    A call of `torch.nn.functional.dropout` in a module's own code is no layer that could be looked for.

    Attributes
    ----------
    seen : bool
        Whether there was one.

    Examples
    --------
    >>> with TrainingCalls() as calls:
    ...     _ = functional.dropout(torch.ones(2), training=False)
    >>> calls.seen
    False
    >>> with TrainingCalls() as calls:
    ...     _ = functional.dropout(torch.ones(2), 0.1)
    >>> calls.seen
    True
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Look at a call, and make it."""
        named = dict(kwargs or {})
        if func in TRAINING:
            given = inspect.signature(func).bind(*args, **named)
            given.apply_defaults()
            # With nothing to drop, attention and dropout are the same in either mode.
            share = given.arguments.get("p", given.arguments.get("dropout_p", 1.0))
            self.seen |= bool(given.arguments[TRAINING[func]]) and share > 0
        elif func in BUILT_IN:
            name, place = BUILT_IN[func]
            self.seen |= bool(args[place] if len(args) > place else named.get(name))
        return func(*args, **named)

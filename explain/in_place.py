"""Calls of a traced module that write into memory, and under which other names that memory is read."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx, nn

from .errors import LayerError

__all__ = ["at_path", "check_unshared", "in_place"]

# Calls whose result is, or may be, another name of the memory of their first argument.
VIEWS = frozenset((
    "chunk", "contiguous", "detach", "expand", "expand_as", "flatten", "getitem", "moveaxis", "movedim", "narrow",
    "permute", "ravel", "reshape", "select", "split", "squeeze", "swapaxes", "swapdims", "t", "tensor_split", "to",
    "transpose", "unbind", "unflatten", "unfold", "unsqueeze", "view", "view_as",
    # In evaluation mode a dropout passes on what it is given.
    "alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout",
))  # fmt: skip
PASSING = (nn.Identity, nn.Flatten, nn.Unflatten, nn.modules.dropout._DropoutNd)
AUGMENTED = (operator.iadd, operator.isub, operator.imul, operator.itruediv)


def in_place(node: fx.Node, layer: nn.Module | None) -> bool:
    """Whether a call writes its result into its first argument; `layer` is the one called, None for a function.

    Examples
    --------
    >>> node = fx.symbolic_trace(nn.Sequential(nn.ReLU(inplace=True))).graph.find_nodes(op="call_module")[0]
    >>> in_place(node, nn.ReLU(inplace=True)), in_place(node, nn.ReLU())
    (True, False)
    """
    if not node.args or not isinstance(node.args[0], fx.Node):
        return False
    if layer is not None:
        return getattr(layer, "inplace", False) is True
    if node.kwargs.get("inplace") is True or node.target in AUGMENTED:
        return True
    name = _called(node)
    return name.endswith("_") and not name.endswith("__")


def check_unshared(written: fx.Node, module: nn.Module, what: str) -> None:
    """Raise LayerError if the memory that a call writes into is read afterwards under another name.

    Parameters
    ----------
    written : torch.fx.Node
        A call that works in place; see `in_place`.
    module : torch.nn.Module
        The module of the graph.
    what : str
        What would not see it, in words.

    Examples
    --------
    >>> class Block(nn.Module):
    ...     def forward(self, x):
    ...         rows = x.flatten(1)
    ...         return x.relu_().sum() + rows
    >>> block = Block()
    >>> (node,) = (n for n in fx.symbolic_trace(block).graph.nodes if n.target == "relu_")
    >>> check_unshared(node, block, "this walk")
    Traceback (most recent call last):
        ...
    explain.errors.LayerError: 'relu_' works in place, and what it writes into is read afterwards as `flatten` too,...
    """
    first = written.args[0]
    assert isinstance(first, fx.Node)
    memory = _memory(first, module)
    nodes = list(written.graph.nodes)
    place = nodes.index(written)
    later = set(nodes[place + 1 :])
    for other in nodes[:place]:
        if other is not first and _memory(other, module) is memory and later.intersection(other.users):
            raise LayerError(
                f"{written.target!r} works in place, and what it writes into is read afterwards as `{other.name}` too, "
                f"which {what} would not see. Make it work out of place: `inplace=False`, or without the underscore."
            )


def at_path(module: nn.Module, path: Any) -> Any:
    """Follow a dotted path of attributes.

    Examples
    --------
    >>> at_path(nn.Sequential(nn.ReLU()), "0")
    ReLU()
    """
    value: Any = module
    for name in str(path).split("."):
        value = getattr(value, name)
    return value


def _memory(node: fx.Node, module: nn.Module) -> fx.Node:
    """Follow views, and calls that work in place or pass on what they are given, to the call that made the memory."""
    while node.args and isinstance(node.args[0], fx.Node):
        if node.op == "call_module":
            layer = at_path(module, node.target)
            passed = isinstance(layer, PASSING) or in_place(node, layer)
        else:
            passed = node.op in ("call_function", "call_method") and (_called(node) in VIEWS or in_place(node, None))
        if not passed:
            break
        node = node.args[0]
    return node


def _called(node: fx.Node) -> str:
    """Name of the function or method that a node calls."""
    return str(getattr(node.target, "__name__", node.target))

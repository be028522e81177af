"""A module walked as a graph of layer calls, by one rule for each kind of layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn

from .errors import LayerError
from .in_place import at_path, check_unshared, in_place
from .layers import held_still

__all__ = ["Rule", "Rules", "nothing_dropped", "propagate", "scale_and_shift"]

Rule: TypeAlias = Callable[..., Any]
Rules: TypeAlias = Mapping[type[nn.Module] | Callable[..., Any] | str, Rule]


class State(Protocol):
    """What travels through the graph in place of a tensor."""

    @property
    def shape(self) -> torch.Size:
        """Shape of the tensor that this stands for."""
        ...


StateT = TypeVar("StateT", bound=State)


def propagate(module: nn.Module, state: StateT, rules: Rules, *, what: str = "this propagation") -> StateT:
    """Send a state through a module, layer by layer, each by its rule.

    The module's code is traced once, in evaluation mode, into a graph of calls; at each call of
    `propagate` the layers and weights are looked up anew in the module, so that a weight that has
    changed, or is swapped by `torch.func.functional_call`, is seen.

    Parameters
    ----------
    module : torch.nn.Module
        Takes one tensor and returns one. Traced again when its layers, their types, or numbers,
        words and flags among the attributes of its own classes change.
    state : any object with ``shape``
        Stands for the inputs. Values of this type are states, everything else in the graph is plain.
    rules : mapping
        From a layer's type (`torch.nn.Linear`), a function (`torch.flatten`, `operator.add`) or the
        name of a tensor's method ("flatten") to ``rule(layer, *args, **kwargs) -> state``: called
        with the layer, or None for functions and methods, and with the arguments of the call, in
        which states stand for tensors (for a method the first is the tensor itself). A rule of a type
        serves its subclasses too, unless they have a `forward` of their own. A layer with a rule is
        not entered; others are, unless they come from `torch.nn`.
    what : str
        Name of what is propagated, for errors.

    Returns
    -------
    state
        Stands for the outputs.

    Raises
    ------
    LayerError
        If a layer, function or method that is given a state has no rule, named with its place; if a
        layer with a rule has hooks, or writes into memory that is read under another name; if the
        control flow of the module depends on the values of its inputs; or if it does not return one
        tensor.

    Notes
    -----
    Calls without a state among their arguments are computed as they are; questions for a shape
    (``x.shape``, ``x.size(0)``, ``x.dim()``) are answered by the state's `shape`. A rule never works
    in place: after ``relu_(x)`` the graph goes on with the result under the name of ``x``. Of other
    names of the same memory, as views are, it knows nothing: a module that reads one afterwards is
    refused. Hooks of layers with a rule would not run: such layers are refused too.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(2, 1, bias=False), nn.ReLU())
    >>> _ = nn.init.ones_(net[0].weight)
    >>> rules = {nn.Linear: lambda layer, x: x @ layer.weight.abs().T, nn.ReLU: lambda layer, x: x}
    >>> propagate(net, torch.tensor([[1.0, -3.0]]), rules).tolist()
    [[-2.0]]
    """
    kinds = frozenset(key for key in rules if isinstance(key, type) and issubclass(key, nn.Module))
    own = _kind(module, kinds)
    if own is not None:
        _check_hookless(module, type(module).__name__, what)
        result: StateT = rules[own](module, state)
        return result
    trace = _traced(module, kinds)
    values: dict[fx.Node, Any] = {}
    given = False
    for node in trace.graph.nodes:
        args = fx.map_arg(node.args, values.__getitem__)
        kwargs = fx.map_arg(node.kwargs, values.__getitem__)
        if node.op == "placeholder":
            if given and not args:
                raise LayerError(
                    f"{type(module).__name__} must take one tensor for {what}; it also needs `{node.target}`."
                )
            values[node] = args[0] if given else state
            given = True
        elif node.op == "get_attr":
            values[node] = (
                trace.constants[node.target] if node.target in trace.constants else at_path(module, node.target)
            )
        elif node.op == "output":
            if not isinstance(args[0], type(state)):
                raise LayerError(
                    f"{type(module).__name__} must return one tensor, computed from its inputs, for {what}; "
                    f"it returns {type(args[0]).__name__}."
                )
            return args[0]
        else:
            layer = at_path(module, node.target) if node.op == "call_module" else None
            values[node] = _call(node, layer, args, kwargs, type(state), rules, what)
            if in_place(node, layer):
                # Once for each graph: the module is walked at every step of a training.
                if node not in trace.unshared:
                    check_unshared(node, module, what)
                    trace.unshared.add(node)
                values[node.args[0]] = values[node]
    raise LayerError(f"{type(module).__name__} must return one tensor for {what}; it returns nothing.")


def nothing_dropped(
    layer: nn.Module | None, state: StateT, p: float = 0.5, training: bool = True, inplace: bool = False
) -> StateT:
    """Pass a state on: the rule of dropout, which drops nothing in evaluation mode.

    Parameters
    ----------
    layer : torch.nn.Module or None
        The layer, or None for a function.
    state : any object with ``shape``
        Returned as it is.
    p, training, inplace
        Arguments of the function.

    Returns
    -------
    state

    Raises
    ------
    LayerError
        If a function drops in evaluation mode too.

    Examples
    --------
    >>> nothing_dropped(nn.Dropout(), torch.ones(2))
    tensor([1., 1.])
    """
    if layer is None and training and p > 0:
        raise LayerError(
            "A dropout must end with training to be passed by rule; here `training` is True in evaluation mode too. "
            "Call it with `training=self.training`."
        )
    return state


def scale_and_shift(layer: nn.modules.batchnorm._BatchNorm, axes: int) -> tuple[Tensor, Tensor]:
    """Write batch normalisation in evaluation mode as ``scale · x + shift``.

    Parameters
    ----------
    layer : torch.nn.BatchNorm1d, 2d or 3d
        With running statistics.
    axes : int
        Number of axes of x, the batch among them.

    Returns
    -------
    scale, shift : Tensor, shape (channels, 1, ...), float
        Broadcast over x.

    Raises
    ------
    LayerError
        If it has no running statistics, so that rows would influence each other.

    Examples
    --------
    >>> scale, shift = scale_and_shift(nn.BatchNorm2d(3, eps=0.0), axes=4)
    >>> scale.flatten().tolist(), shift.shape
    ([1.0, 1.0, 1.0], torch.Size([3, 1, 1]))
    """
    if layer.running_mean is None or layer.running_var is None:
        raise LayerError(
            f"Batch normalisation must have running statistics, or rows would influence each other; {layer} has none. "
            "Make it with `track_running_stats=True`."
        )
    scale = (layer.running_var + layer.eps).rsqrt()
    if layer.affine:
        scale = scale * layer.weight
    shift = -layer.running_mean * scale
    if layer.affine:
        shift = shift + layer.bias
    channels = (-1, *[1] * (axes - 2))
    return scale.view(channels), shift.view(channels)


def _call(
    node: fx.Node,
    layer: nn.Module | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    kind: type,
    rules: Rules,
    what: str,
) -> Any:
    """Compute one call of the graph: by its rule if it is given a state, else as it is."""
    target: Any = node.target
    if not _holds_state((args, kwargs), kind):
        if layer is not None:
            return layer(*args, **kwargs)
        return getattr(args[0], target)(*args[1:], **kwargs) if node.op == "call_method" else target(*args, **kwargs)
    if layer is not None:
        found = _kind(layer, frozenset(key for key in rules if isinstance(key, type)))
        name = f"Layer {node.target!r} ({type(layer).__name__})"
        if found is not None:
            _check_hookless(layer, name, what)
            return rules[found](layer, *args, **kwargs)
    else:
        if target in rules:
            return rules[target](None, *args, **kwargs)
        shape = _about_shape(node, args, kwargs)
        if shape is not None:
            return shape
        place = next(reversed(node.meta.get("nn_module_stack", {}).values()), None)
        where = f"layer {place[0]!r} ({place[1].__name__})" if place else "the module's own `forward`"
        asked = f"attribute {args[1]!r}" if target is getattr else repr(getattr(target, "__name__", target))
        name = f"{'Method' if node.op == 'call_method' else 'Function'} {asked} in {where}"
    known = ", ".join(sorted(key.__name__ for key in rules if isinstance(key, type)))
    raise LayerError(
        f"{name} has no rule for {what}. Use a loss or a method that needs no rules, or a model of layers that have "
        f"one: {known}."
    )


@dataclass(frozen=True)
class _Trace:
    """The graph of a module, tensors in it that its code made itself, and calls in place that proved harmless."""

    structure: tuple[Any, ...]
    graph: fx.Graph
    constants: dict[str, Tensor]
    unshared: set[fx.Node] = field(default_factory=set)


_TRACES: WeakKeyDictionary[nn.Module, dict[frozenset[type], _Trace]] = WeakKeyDictionary()


def _traced(module: nn.Module, kinds: frozenset[type]) -> _Trace:
    """Return the graph of a module in which the layers of some kinds are not entered."""
    kept = _TRACES.setdefault(module, {})
    structure = _structure(module)
    if kinds in kept and kept[kinds].structure == structure:
        return kept[kinds]
    tracer = _Tracer(kinds)
    try:
        # Evaluation mode, because a flag such as dropout's `training` becomes a constant of the graph.
        with held_still(module):
            graph = tracer.trace(module)
    except (fx.proxy.TraceError, TypeError, AttributeError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "symbolic tracing" not in str(error):
            raise
        raise LayerError(
            f"The code of {type(module).__name__} must run the same layers for any input to be walked as a graph; "
            f"tracing it failed: {error}. Write the part that depends on values or lengths as a layer of its own "
            "that has a rule, or use a loss or a method that needs no rules."
        ) from error
    kept[kinds] = _Trace(structure, graph, tracer.constants)
    return kept[kinds]


def _structure(module: nn.Module) -> tuple[Any, ...]:
    """Everything that decides which graph a module has, as far as it can be compared."""
    found: list[Any] = []
    for name, part in module.named_modules():
        found.append((name, type(part)))
        if not type(part).__module__.startswith("torch.nn"):
            plain = (bool, int, float, str, type(None))
            found.extend(
                (key, value) for key, value in vars(part).items() if key != "training" and isinstance(value, plain)
            )
    return tuple(found)


class _Tracer(fx.Tracer):
    """A tracer that enters no layer with a rule, and leaves the module as it was."""

    def __init__(self, kinds: frozenset[type]) -> None:
        super().__init__()
        self.kinds = kinds
        self.constants: dict[str, Tensor] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Stop at layers with a rule, and at torch's own."""
        return _kind(m, self.kinds) is not None or super().is_leaf_module(m, module_qualified_name)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Follow parameters and buffers, which may be plain tensors under `functional_call`, by name."""
        name = self._name_of(attr_val) if isinstance(attr_val, Tensor) else None
        if name is None:
            return attr_val
        if name not in parameter_proxy_cache:
            parameter_proxy_cache[name] = self.create_proxy("get_attr", name, (), {})
        return parameter_proxy_cache[name]

    def create_arg(self, a: Any) -> Any:
        """Keep constant tensors here: torch's tracer would set them as attributes of the module."""
        if not isinstance(a, Tensor):
            return super().create_arg(a)
        name = self._name_of(a) or self.tensor_attrs.get(a)
        if name is None:
            if a.requires_grad:
                raise TypeError("a tensor is computed from weights that are not parameters of this module")
            name = f"constant {len(self.constants)}"
            self.constants[name] = a
        return self.create_node("get_attr", name, (), {}, name="constant")

    def _name_of(self, tensor: Tensor) -> str | None:
        """Find the name of a parameter or buffer."""
        for named in (self.root.named_parameters, self.root.named_buffers):
            for name, other in named(remove_duplicate=False):
                if other is tensor:
                    return str(name)
        return None


def _kind(layer: nn.Module, kinds: frozenset[Any]) -> type[nn.Module] | None:
    """Find the type by which a layer has a rule: its own, or a base whose `forward` it runs."""
    for base in type(layer).__mro__:
        if base in kinds:
            return base if base.forward is type(layer).forward else None  # type: ignore[attr-defined]
    return None


def _about_shape(node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer a question about the shape of a state; None if it is another question."""
    if node.target is getattr:
        if args[1] not in ("shape", "ndim"):
            return None
        return args[0].shape if args[1] == "shape" else len(args[0].shape)
    if node.op == "call_method" and node.target == "size":
        axis = args[1] if len(args) > 1 else kwargs.get("dim")
        return args[0].shape if axis is None else args[0].shape[axis]
    if node.op == "call_method" and node.target == "dim":
        return len(args[0].shape)
    return None


def _holds_state(value: Any, kind: type) -> bool:
    """Whether a state is among some arguments."""
    if isinstance(value, kind):
        return True
    if isinstance(value, dict):
        value = tuple(value.values())
    return isinstance(value, (tuple, list)) and any(_holds_state(one, kind) for one in value)


def _check_hookless(layer: nn.Module, name: str, what: str) -> None:
    """Raise LayerError if a layer has hooks, which may change what goes in, what comes out or its weights."""
    if layer._forward_pre_hooks or layer._forward_hooks:
        raise LayerError(
            f"{name} has hooks, which {what} would not run, so that it would walk another model. Remove them, "
            "`handle.remove()`, or use a loss or a method that needs no rules. Of `torch.nn.utils`, weight_norm and "
            "spectral_norm work by hooks; those of `torch.nn.utils.parametrizations` do not."
        )

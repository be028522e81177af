"""Many altered copies of a batch through a model, in forward passes of bounded size."""

from __future__ import annotations

import torch
from torch import Tensor

from ..batch import Logits, check_float
from ..errors import SettingError, ShapeError
from .gradients import gradient_of
from .pinned import PinnedTarget

__all__ = ["check_counts", "check_inputs", "gradients_at", "split_passes", "values_at"]


def split_passes(rows: int, copies: int, batch_size: int) -> tuple[list[slice], list[slice]]:
    """Split rows and copies so that no forward pass holds more than `batch_size` of their products.

    All rows stay together as long as they fit; passes are of even size, so that the last is not a
    small remainder.

    Parameters
    ----------
    rows, copies : int
        Rows of the batch, and altered copies of each.
    batch_size : int
        Rows × copies per forward pass.

    Returns
    -------
    row_parts, copy_parts : list of slice
        To be combined each with each.

    Examples
    --------
    >>> split_passes(rows=4, copies=10, batch_size=16)
    ([slice(0, 4, None)], [slice(0, 4, None), slice(4, 7, None), slice(7, 10, None)])
    """
    row_parts = _even_parts(rows, batch_size)
    widest = max((part.stop - part.start for part in row_parts), default=1)
    return row_parts, _even_parts(copies, max(1, batch_size // widest))


def _even_parts(count: int, most: int) -> list[slice]:
    """Cut ``range(count)`` into the fewest parts of at most `most`, of even size."""
    parts = -(-count // most)
    if parts == 0:
        return []
    size, longer = divmod(count, parts)
    stops = [size * (number + 1) + min(number + 1, longer) for number in range(parts)]
    return [slice(start, stop) for start, stop in zip([0, *stops], stops)]


def values_at(forward: Logits, points: Tensor, pinned: PinnedTarget, rows: slice) -> Tensor:
    """Ask the model about altered copies of some rows, without a graph.

    Parameters
    ----------
    forward : Forward, module or function
        Model inputs to logits, shape (batch, classes).
    points : Tensor, shape (copies, rows, *event), float
        What the model is asked about.
    pinned : PinnedTarget
        What is explained.
    rows : slice
        Which rows these are.

    Returns
    -------
    Tensor, shape (copies, rows), float
        The target's values.

    Examples
    --------
    >>> values_at(lambda x: x, torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]), PinnedTarget(1), slice(0, 1))
    tensor([[2.],
            [4.]])
    """
    with torch.no_grad():
        return pinned(forward(points.flatten(0, 1)), len(points), rows).view(points.shape[:2])


def gradients_at(forward: Logits, points: Tensor, pinned: PinnedTarget, rows: slice) -> Tensor:
    """Differentiate the target at altered copies of some rows.

    Parameters
    ----------
    forward, points, pinned, rows
        As for `values_at`. `points` is made the leaf that is differentiated: it must be the
        caller's own, and no view of the inputs.

    Returns
    -------
    Tensor, shape (copies, rows, *event), float
        The gradient at each point.

    Raises
    ------
    GraphError
        If the logits do not depend on the inputs through autograd.

    Examples
    --------
    >>> points = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    >>> gradients_at(lambda x: x.square(), points, PinnedTarget(1), slice(0, 1))
    tensor([[[0., 4.]],
    <BLANKLINE>
            [[0., 8.]]])
    """
    with torch.enable_grad():
        leaf = points.flatten(0, 1).requires_grad_()
        # A copy, because the first thing that a model does may be in place.
        values = pinned(forward(leaf.clone()), len(points), rows)
        return gradient_of(values, leaf, create_graph=False).view(points.shape)


def wide_enough(inputs: Tensor) -> torch.dtype:
    """Say in which type to add up many scores: in half precision a sum stops growing after some hundred of them.

    Examples
    --------
    >>> wide_enough(torch.zeros(1, dtype=torch.bfloat16)), wide_enough(torch.zeros(1, dtype=torch.float64))
    (torch.float32, torch.float64)
    """
    return torch.promote_types(inputs.dtype, torch.float32)


def check_inputs(inputs: Tensor) -> None:
    """Raise unless `inputs` are floating point and have at least one axis beside the rows."""
    check_float(inputs)
    if inputs.ndim < 2:
        raise ShapeError(
            f"`inputs` must have shape (batch, *event); got {tuple(inputs.shape)}. A single row needs a batch "
            "axis: `inputs[None]`."
        )


def check_counts(**counts: int) -> None:
    """Raise SettingError unless each setting is a whole number of at least one."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise SettingError(f"`{name}` must be a whole number of at least 1; got {count!r}.")

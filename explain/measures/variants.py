"""Changed copies of every row through a model, a bounded number at a time."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from ..batch import Logits
from ..errors import ShapeError
from ..methods.passes import check_counts
from ..target import Target, check_logits, target_values

__all__ = ["Value", "predicted_probability", "value_of", "variant_values"]

# Logits (pairs, classes) and the number of the row that each belongs to, to one value each.
Value: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def variant_values(
    forward: Logits,
    rows: int,
    variants: int,
    vary: Callable[[Tensor, Tensor], Tensor],
    value: Value,
    *,
    batch_size: int,
) -> Tensor:
    """Evaluate a model on several variants of every row.

    Parameters
    ----------
    forward : Forward, module or function
        Model inputs to logits.
    rows, variants : int
        How many rows, and how many variants of each.
    vary : callable
        Row numbers and variant numbers, shape (pairs,) both, int64, on the CPU, to model inputs,
        shape (pairs, *event).
    value : callable
        Logits and row numbers to one value per pair.
    batch_size : int
        Pairs per forward pass: bounds the memory, whatever the number of rows or variants.

    Returns
    -------
    Tensor, shape (rows, variants), float

    Raises
    ------
    SettingError
        If the batch size is no whole number of at least one.

    Examples
    --------
    >>> x = torch.tensor([[1.0], [2.0]])
    >>> variant_values(lambda x: x, 2, 3, lambda rows, power: x[rows] ** power[:, None],
    ...                lambda logits, rows: logits[:, 0], batch_size=4)
    tensor([[1., 1., 1.],
            [1., 2., 4.]])
    """
    check_counts(batch_size=batch_size)
    if rows == 0:
        return torch.zeros(0, variants)
    values = []
    for pairs in torch.split(torch.arange(rows * variants), batch_size):
        row = pairs // variants
        values.append(value(forward(vary(row, pairs % variants)), row))
    return torch.cat(values).reshape(rows, variants)


def predicted_probability(forward: Logits, inputs: Tensor, batch_size: int) -> tuple[Tensor, Value]:
    """Find the class predicted for each row, and how to measure its probability ever after.

    Parameters
    ----------
    forward : Forward, module or function
        Model inputs to logits.
    inputs : Tensor, shape (rows, ...)
        Unperturbed.
    batch_size : int
        Rows per forward pass.

    Returns
    -------
    probability : Tensor, shape (rows,), float
        Of the class predicted, in [0, 1].
    value : callable
        For `variant_values`: the probability of that same class for another input.

    Examples
    --------
    >>> probability, value = predicted_probability(lambda x: x, torch.tensor([[0.0, 0.0, 9.0]]), 8)
    >>> probability, value(torch.zeros(1, 3), torch.tensor([0]))
    (tensor([0.9998]), tensor([0.3333]))
    """
    check_counts(batch_size=batch_size)
    if len(inputs) == 0:
        return torch.zeros(0), lambda logits, rows: logits[:, 0]
    found = [_probabilities(forward(part.clone())).max(dim=1) for part in torch.split(inputs, batch_size)]
    classes = torch.cat([best.indices for best in found])

    def value(logits: Tensor, rows: Tensor) -> Tensor:
        chosen = classes[rows.to(classes.device)]
        return _probabilities(logits).gather(1, chosen[:, None]).squeeze(1)

    return torch.cat([best.values for best in found]), value


def value_of(target: Target, labels: Tensor | None, rows: int) -> Value:
    """Make a target, as explained in `target_values`, a value for `variant_values`.

    Raises
    ------
    ShapeError
        If there is not one label per row.
    """
    if labels is not None and tuple(labels.shape) != (rows,):
        raise ShapeError(f"`labels` must have shape ({rows},), one per row; got {tuple(labels.shape)}.")

    def value(logits: Tensor, rows: Tensor) -> Tensor:
        return target_values(logits, target, None if labels is None else labels[rows.to(labels.device)])

    return value


def _probabilities(logits: Tensor) -> Tensor:
    check_logits(logits, softmax=True)
    # In half precision, probabilities near one come in steps as large as what is to be measured.
    return logits.softmax(dim=1, dtype=torch.promote_types(logits.dtype, torch.float32))

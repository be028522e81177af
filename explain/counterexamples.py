"""Counterexamples: the same label with the marked region refilled, so that it betrays nothing."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from .batch import Batch, Rationale
from .masks import expand_mask

__all__ = ["Counterexample", "Grey", "Swap", "grey", "swap"]


class Counterexample(Protocol):
    """A change of the marked regions that keeps the label true."""

    def __call__(self, batch: Batch, rationale: Rationale, generator: Generator) -> Batch:
        """Return the batch with the irrelevant regions of its rows refilled."""
        ...


def swap(inputs: Tensor, irrelevant: Tensor, generator: Generator) -> Tensor:
    """Refill the marked region of each row with the same place of another row.

    The refill looks like data and is independent of the label. The donor is, where there is one,
    another row with the same region marked, so that one mark is replaced by another; else any
    other row. A batch of one row has no donor and stays as it is.

    Parameters
    ----------
    inputs : Tensor, shape (batch, *event)
        Model inputs or raw values; not changed.
    irrelevant : Tensor, shape (batch, *event) or without the channel axis, bool
        The regions to refill.
    generator : torch.Generator
        On the CPU; draws the donors.

    Returns
    -------
    Tensor, shape (batch, *event)
        Rows without a mark are unchanged.

    Raises
    ------
    KindError, ShapeError
        If the mask is not boolean or does not fit the inputs.

    References
    ----------
    .. [1] S. Teso, K. Kersting, "Explanatory Interactive Machine Learning", AIES 2019.

    Examples
    --------
    >>> x = torch.tensor([[1.0, 5.0], [2.0, 6.0]])
    >>> swap(x, torch.tensor([[True, False], [True, False]]), torch.Generator().manual_seed(0))
    tensor([[2., 5.],
            [1., 6.]])
    """
    mask = expand_mask(irrelevant, inputs)
    donors = _other_rows(irrelevant, generator).to(inputs.device)
    return torch.where(mask, inputs[donors], inputs)


def _other_rows(irrelevant: Tensor, generator: Generator) -> Tensor:
    """Draw another row for each row, of the same region where there is one; shape (batch,), int64."""
    order = torch.randperm(len(irrelevant), generator=generator)
    donors = torch.empty_like(order)
    # One random cycle through all rows: nobody is their own donor ...
    donors[order] = order.roll(1)
    # ... and one through each group of rows with the same region, where the group has two or more.
    groups = _same_region(irrelevant).cpu()
    order = order[torch.argsort(groups[order], stable=True)]
    sizes = torch.bincount(groups)
    first = torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)
    place = torch.arange(len(order)) - first
    size = sizes[groups[order]]
    shared = size > 1
    donors[order[shared]] = order[first + (place + 1) % size][shared]
    return donors


def _same_region(irrelevant: Tensor) -> Tensor:
    """Number the distinct regions; shape (batch,), int64."""
    numbers: Tensor = torch.unique(irrelevant.flatten(1), dim=0, return_inverse=True)[1]
    return numbers


def grey(inputs: Tensor, irrelevant: Tensor, generator: Generator) -> Tensor:
    """Refill the marked region of each row with one random constant in [0, 1).

    Parameters
    ----------
    inputs : Tensor, shape (batch, *event), float
        Model inputs in [0, 1]; not changed.
    irrelevant : Tensor, shape (batch, *event) or without the channel axis, bool
        The regions to refill.
    generator : torch.Generator
        On the CPU; draws the constants.

    Returns
    -------
    Tensor, shape (batch, *event), float
        Rows without a mark are unchanged.

    Raises
    ------
    KindError, ShapeError
        If the mask is not boolean or does not fit the inputs.

    Examples
    --------
    >>> x = torch.full((1, 4), 2.0)
    >>> mark = torch.tensor([[True, True, False, False]])
    >>> refilled = grey(x, mark, torch.Generator().manual_seed(0))[0]
    >>> bool(refilled[0] == refilled[1] < 1), refilled[2:].tolist()
    (True, [2.0, 2.0])
    """
    mask = expand_mask(irrelevant, inputs)
    constants = torch.rand(len(inputs), generator=generator).to(inputs)
    return torch.where(mask, constants.reshape(-1, *[1] * (inputs.ndim - 1)), inputs)


@dataclass(frozen=True)
class Swap:
    """Counterexamples by `swap`: the region comes from another row of the batch.

    Examples
    --------
    >>> batch = Batch(torch.tensor([[1.0], [2.0]]), torch.tensor([0, 1]))
    >>> marks = Rationale(irrelevant=torch.tensor([[True], [False]]))
    >>> Swap()(batch, marks, torch.Generator().manual_seed(0)).inputs
    tensor([[2.],
            [2.]])
    """

    def __call__(self, batch: Batch, rationale: Rationale, generator: Generator) -> Batch:
        """Return the batch with its marked regions swapped between rows."""
        if rationale.irrelevant is None:
            return batch
        return Batch(swap(batch.inputs, rationale.irrelevant, generator), batch.labels)


@dataclass(frozen=True)
class Grey:
    """Counterexamples by `grey`: the region becomes one random constant per row.

    Examples
    --------
    >>> batch = Batch(torch.full((1, 2), 2.0), torch.tensor([0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[False, True]]))
    >>> bool(Grey()(batch, marks, torch.Generator().manual_seed(0)).inputs[0, 1] < 1)
    True
    """

    def __call__(self, batch: Batch, rationale: Rationale, generator: Generator) -> Batch:
        """Return the batch with a random constant in its marked regions."""
        if rationale.irrelevant is None:
            return batch
        return Batch(grey(batch.inputs, rationale.irrelevant, generator), batch.labels)

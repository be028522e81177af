"""Refills that come from other rows of the batch."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ..batch import Batch
from ..errors import SettingError
from ..masks import expand_mask
from .contract import Refill

__all__ = ["OtherClass", "Swap", "lent_regions", "swap"]

# Regions of more than this share of a row are not lent: what they would cover is what the row is about.
LARGEST_LENT = 0.25


def swap(inputs: Tensor, irrelevant: Tensor, generator: Generator, *, same_region: bool = True) -> Tensor:
    """Refill the marked region of each row with the same place of another row.

    The refill looks like data and is independent of the label. The donor is, where there is one,
    another row with the same region marked, so that one mark is replaced by another; else any
    other row. A batch of one row has no donor and stays as it is.

    Where the place of a mark tells the class, rows with the same region are of the same class, and what comes from
    them tells it too; ``same_region=False`` draws any other row instead.

    Parameters
    ----------
    inputs : Tensor, shape (batch, *event)
        Model inputs or raw values; not changed.
    irrelevant : Tensor, shape (batch, *event) or without the channel axis, bool
        The regions to refill.
    generator : torch.Generator
        On the CPU; draws the donors.
    same_region : bool
        Whether donors with the same region are preferred.

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
    donors = _other_rows(irrelevant, generator, same_region).to(inputs.device)
    return torch.where(mask, inputs[donors], inputs)


def lent_regions(irrelevant: Tensor, share: float, generator: Generator) -> Tensor:
    """Lend rows without a mark the region of a marked row, so that there as well it can be refilled.

    A tag that only one class has is marked in rows of that class alone. Refilled there and nowhere else, it goes on to
    tell the class wherever it is still seen; lent to the others, what its place shows is no longer theirs alone.

    Parameters
    ----------
    irrelevant : Tensor, shape (batch, *event) or without the channel axis, bool
        What is marked.
    share : float
        Of the rows without a mark to lend one to, in [0, 1]. The others stay as they are.
    generator : torch.Generator
        On the CPU; draws rows and regions. Nothing is drawn where every row is marked, or none.

    Returns
    -------
    Tensor, shape of `irrelevant`, bool
        `irrelevant` itself where nothing is lent. Regions of more than a quarter of a row are not lent.

    Examples
    --------
    >>> marks = torch.tensor([[True, False, False, False], [False] * 4])
    >>> lent_regions(marks, 1.0, torch.Generator().manual_seed(0)).int()
    tensor([[1, 0, 0, 0],
            [1, 0, 0, 0]], dtype=torch.int32)
    """
    flat = irrelevant.flatten(1).cpu()
    size = flat.sum(dim=1)
    (lenders,) = ((size > 0) & (size <= LARGEST_LENT * flat.shape[1])).nonzero(as_tuple=True)
    (free,) = (size == 0).nonzero(as_tuple=True)
    if not share or not len(lenders) or not len(free):
        return irrelevant
    free = free[torch.rand(len(free), generator=generator) < share]
    chosen = lenders[torch.randint(len(lenders), (len(free),), generator=generator)]
    lent = irrelevant.clone()
    lent[free.to(lent.device)] = irrelevant[chosen.to(lent.device)]
    return lent


def _other_rows(irrelevant: Tensor, generator: Generator, same_region: bool) -> Tensor:
    """Draw another row for each row, if asked of the same region where there is one; shape (batch,), int64."""
    order = torch.randperm(len(irrelevant), generator=generator)
    donors = torch.empty_like(order)
    # One random cycle through all rows: nobody is their own donor ...
    donors[order] = order.roll(1)
    if not same_region:
        return donors
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
    marks = irrelevant.flatten(1).cpu()
    # Sorting whole masks would take longer than a small net's step. Each gets a sum of random integers instead, small
    # enough that every sum is exact in float64; that two regions share one (about 1 in 10¹²) would only make a donor
    # of another region.
    largest = 2 ** (52 - marks.shape[1].bit_length())
    drawn = torch.Generator().manual_seed(0)
    weights = torch.randint(1, largest, (marks.shape[1],), generator=drawn)
    numbers: Tensor = torch.unique(marks.double() @ weights.double(), return_inverse=True)[1]
    return numbers


@dataclass(frozen=True)
class Swap(Refill):
    """Counterexamples by `swap`: the region comes from another row of the batch.

    Attributes
    ----------
    lend : float
        Share of the rows without a mark that are lent the region of a marked one, see `lent_regions`: for marks that
        are in rows of one class alone. 0 leaves rows without a mark as they are.

    Raises
    ------
    SettingError
        If `lend` is not a share.

    Examples
    --------
    >>> from explain import Rationale
    >>> batch = Batch(torch.tensor([[1.0], [2.0]]), torch.tensor([0, 1]))
    >>> marks = Rationale(irrelevant=torch.tensor([[True], [False]]))
    >>> Swap()(batch, marks, torch.Generator().manual_seed(0)).inputs
    tensor([[2.],
            [2.]])
    """

    lend: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.lend <= 1:
            raise SettingError(f"`lend` must be a share of the rows, in [0, 1]; got {self.lend}.")

    def refill(self, batch: Batch, irrelevant: Tensor, generator: Generator) -> Tensor:
        """Swap the marked regions between rows."""
        return swap(batch.inputs, lent_regions(irrelevant, self.lend, generator), generator)


@dataclass(frozen=True)
class OtherClass(Refill):
    """Counterexamples whose region comes from a row of the batch with another label.

    The strongest of the refills in [1]_: whatever the region betrays, it now betrays the wrong class.
    It is not independent of the label, though: a region that was a cue *for* a class becomes, where
    there are few classes, a weak cue *against* it. `Swap` leaves nothing to read.

    The donor is, where there is one, a row with the same region marked. Rows of a batch that has one
    label only stay as they are.

    Notes
    -----
    Compares the annotated rows with all rows: memory is annotated × batch.

    References
    ----------
    .. [1] S. Teso, K. Kersting, "Explanatory Interactive Machine Learning", AIES 2019.

    Examples
    --------
    >>> from explain import Rationale
    >>> batch = Batch(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 0, 1]))
    >>> marks = Rationale(irrelevant=torch.tensor([[True], [True], [False]]))
    >>> OtherClass()(batch, marks, torch.Generator().manual_seed(0)).inputs.flatten()
    tensor([3., 3., 3.])
    """

    def refill(self, batch: Batch, irrelevant: Tensor, generator: Generator) -> Tensor:
        """Take the marked regions from rows with other labels."""
        mask = expand_mask(irrelevant, batch.inputs)
        (rows,) = irrelevant.flatten(1).any(dim=1).cpu().nonzero(as_tuple=True)
        labels, regions = batch.labels.cpu(), _same_region(irrelevant).cpu()
        other = labels[rows, None] != labels
        # Random among the best: of another class and the same region, then of another class.
        rank = torch.rand(other.shape, generator=generator) + (regions[rows, None] == regions)
        found = torch.where(other, rank, -1.0).argmax(dim=1) if len(rows) else rows
        donors = torch.arange(len(batch))
        donors[rows] = torch.where(other.any(dim=1), found, rows)
        return torch.where(mask, batch.inputs[donors.to(batch.inputs.device)], batch.inputs)

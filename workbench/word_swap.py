"""The refill of texts that a fine-tune takes by default: marked words come from other texts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from explain import Batch
from explain.counterexamples import DropTokens
from explain.counterexamples.contract import Refill

__all__ = ["SwapTokens"]


@dataclass(frozen=True)
class SwapTokens(Refill):
    """Counterexamples whose marked tokens become marked tokens of another row, in turn.

    What `explain.Swap` does to regions: the words are still there and tell nothing. A model from which they are
    left out instead is not told what to make of them, and where each word has weights of its own, goes on as
    before when it meets one. The other row is drawn among those with a mark; where there is none, marked tokens are
    left out.

    Attributes
    ----------
    pad : int
        Number of the padding token, which must be on the right.

    References
    ----------
    .. [1] S. Teso, K. Kersting, "Explanatory Interactive Machine Learning", AIES 2019.

    Examples
    --------
    >>> from explain import Rationale
    >>> batch = Batch(torch.tensor([[5, 6, 7], [8, 9, 0]]), torch.tensor([0, 1]))
    >>> marks = Rationale(irrelevant=torch.tensor([[False, True, True], [True, False, False]]))
    >>> SwapTokens(pad=0)(batch, marks, torch.Generator().manual_seed(0)).inputs
    tensor([[5, 8, 8],
            [6, 9, 0]])
    """

    pad: int = 0

    def refill(self, batch: Batch, irrelevant: Tensor, generator: Generator) -> Tensor:
        """Put marked tokens of other rows in the place of the marked ones."""
        # It checks tokens and marks, too.
        dropped = DropTokens(self.pad).refill(batch, irrelevant, generator)
        counts = irrelevant.sum(dim=1).cpu()
        (marked,) = counts.nonzero(as_tuple=True)
        if len(marked) < 2:
            return dropped
        # One random cycle through the rows with a mark: nobody is their own donor.
        order = marked[torch.randperm(len(marked), generator=generator)]
        donor = torch.zeros(len(counts), dtype=torch.int64)
        donor[order] = order.roll(1)
        rows, places = (index.cpu() for index in irrelevant.nonzero(as_tuple=True))
        first = counts.cumsum(0) - counts
        rank = torch.arange(len(rows)) - first[rows]
        # The marked tokens are numbered row by row; a row with more than its donor begins again at the first.
        taken = first[donor[rows]] + rank % counts[donor[rows]]
        inputs = batch.inputs.clone()
        inputs[rows, places] = batch.inputs[rows[taken], places[taken]]
        return inputs

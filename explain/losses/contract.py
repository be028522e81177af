"""What every rationale loss is: frozen settings, callable on a batch and what was said about it."""

from typing import Protocol

from torch import Tensor

from ..batch import Batch, Forward, Rationale

__all__ = ["RationaleLoss"]


class RationaleLoss(Protocol):
    """A penalty for being right for the wrong reasons.

    Returns one value per example, shape (batch,), already weighted, differentiable in the weights
    of the model, and exactly zero for rows without a rationale.
    """

    def __call__(self, forward: Forward, batch: Batch, rationale: Rationale) -> Tensor:
        """Return the weighted penalty of each row."""
        ...

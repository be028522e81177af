"""Attribution: the one result type of every attribution method."""

from dataclasses import dataclass

from torch import Tensor

from .target import Target, target_name

__all__ = ["Attribution"]


@dataclass(frozen=True, eq=False)
class Attribution:
    """Scores over the inputs: how much each element moved what was explained.

    Attributes
    ----------
    scores : Tensor, shape (batch, *event), float
        Signed scores, detached. The unit is the method's: for a gradient, that of the target per
        input unit.
    target : str, int or callable
        The scalar explained, as for `target_values`.
    method : str
        Name of the method.

    Examples
    --------
    >>> import torch
    >>> Attribution(torch.zeros(2, 1, 8, 8), target=3, method="input_gradient")
    Attribution(2 × (1, 8, 8), class 3, by input_gradient)
    """

    scores: Tensor
    target: Target
    method: str

    def __repr__(self) -> str:
        rows, *event = self.scores.shape
        return f"Attribution({rows} × {tuple(event)}, {target_name(self.target)}, by {self.method})"

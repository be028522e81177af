"""Attribution: the one result type of every attribution method."""

from dataclasses import dataclass

from torch import Tensor

from .errors import KindError
from .target import Target, target_name

__all__ = ["Attribution", "scores_of"]


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


def scores_of(scores: Tensor | Attribution) -> Tensor:
    """Take the scores out of an attribution; scores themselves stay as they are.

    Parameters
    ----------
    scores : Attribution or Tensor
        What a measure was given.

    Returns
    -------
    Tensor

    Raises
    ------
    KindError
        If it is neither.

    Examples
    --------
    >>> import torch
    >>> scores_of(Attribution(torch.tensor([[1.0, 2.0]]), target=3, method="input_gradient"))
    tensor([[1., 2.]])
    """
    found = scores.scores if isinstance(scores, Attribution) else scores
    if not isinstance(found, Tensor):
        raise KindError(f"`scores` must be a tensor or an Attribution; got {type(found).__name__}.")
    return found

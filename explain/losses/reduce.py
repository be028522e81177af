"""From one penalty per example to one number, so that a weight means the same everywhere."""

import torch
from torch import Tensor

from ..batch import Rationale
from ..errors import ShapeError

__all__ = ["mean_over_annotated"]


def mean_over_annotated(per_example: Tensor, rationale: Rationale) -> Tensor:
    """Average a penalty over the rows about which something was said.

    A mean over all rows would make a weight depend on the share of annotated rows, a sum on the
    size of the batch.

    Parameters
    ----------
    per_example : Tensor, shape (batch,), float
        One penalty per row.
    rationale : Rationale
        Says which rows are annotated.

    Returns
    -------
    Tensor, shape (), float
        Differentiable; zero when no row is annotated.

    Raises
    ------
    ShapeError
        If `per_example` is not one value per row of the rationale.

    Examples
    --------
    >>> said = Rationale(irrelevant=torch.tensor([[True], [False], [True]]))
    >>> mean_over_annotated(torch.tensor([1.0, 9.0, 2.0]), said)
    tensor(1.5000)
    """
    annotated = rationale.annotated.to(per_example.device)
    if per_example.ndim != 1 or annotated.shape not in ((), per_example.shape):
        raise ShapeError(
            "`per_example` must hold one value per row of the rationale, shape "
            f"{tuple(annotated.shape)}; got {tuple(per_example.shape)}."
        )
    annotated = annotated.expand(per_example.shape)
    # `where`, not a product: a row left out must not count even when its value is not finite.
    return torch.where(annotated, per_example, 0.0).sum() / annotated.sum().clamp(min=1)

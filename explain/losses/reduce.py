"""From one penalty per example to one number, so that a weight means the same everywhere."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from ..batch import Batch, Logits, Rationale
from ..errors import SettingError, ShapeError
from ..layers import held_still
from .contract import RationaleLoss, WeightedSum

__all__ = ["balanced", "mean_over_annotated", "mean_penalty"]


def mean_over_annotated(per_example: Tensor, annotated: Tensor | Rationale) -> Tensor:
    """Average a penalty over the rows about which something was said.

    A mean over all rows would make a weight depend on the share of annotated rows, a sum on the
    size of the batch.

    Parameters
    ----------
    per_example : Tensor, shape (batch,), float
        One penalty per row.
    annotated : Tensor, shape (batch,) or (), bool, or Rationale
        Which rows are annotated: `RationaleLoss.annotated`, or any row that a rationale marks.

    Returns
    -------
    Tensor, shape (), float
        Differentiable; zero when no row is annotated.

    Raises
    ------
    ShapeError
        If `per_example` is not one value per row.

    Examples
    --------
    >>> said = Rationale(irrelevant=torch.tensor([[True], [False], [True]]))
    >>> mean_over_annotated(torch.tensor([1.0, 9.0, 2.0]), said)
    tensor(1.5000)
    """
    rows = annotated.annotated if isinstance(annotated, Rationale) else annotated
    rows = rows.to(per_example.device)
    if per_example.ndim != 1 or rows.shape not in ((), per_example.shape):
        raise ShapeError(
            "`per_example` must hold one value per row of the rationale, shape "
            f"{tuple(rows.shape)}; got {tuple(per_example.shape)}."
        )
    rows = rows.expand(per_example.shape)
    # `where`, not a product: a row left out must not count even when its value is not finite.
    return torch.where(rows, per_example, 0.0).sum() / rows.sum().clamp(min=1)


def mean_penalty(loss: RationaleLoss, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
    """Average a loss over the rows that it has something to say about: what training adds to the task loss.

    Each part of a sum is averaged over its own rows, so that rows with only a *relevant* mask do not
    dilute a penalty on *irrelevant* ones.

    Parameters
    ----------
    loss : RationaleLoss
        One, or a sum.
    forward : Forward, module or function
        Model inputs to logits.
    batch : Batch
        Inputs and labels.
    rationale : Rationale
        What was said.

    Returns
    -------
    Tensor, shape (), float
        Differentiable.

    Examples
    --------
    >>> from explain import RightReasons
    >>> batch = Batch(torch.tensor([[1.0, 7.0], [1.0, 7.0]]), torch.tensor([0, 0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[True, False], [False, False]]))
    >>> mean_penalty(RightReasons(weight=1.0), lambda x: x * torch.tensor([1.0, 0.0]), batch, marks).item()
    0.2135...
    """
    means = [mean_over_annotated(part(forward, batch, rationale), part.annotated(rationale)) for part in loss.parts()]
    return torch.stack(means).sum()


def balanced(
    loss: RationaleLoss,
    forward: Logits,
    batch: Batch,
    rationale: Rationale,
    *,
    task: float | None = None,
    share: float = 1.0,
) -> RationaleLoss:
    """Settle the weights "auto" of a loss: the penalty starts as `share` times the task loss.

    A ratio near one is a good start in [1]_, from 0.2 to 30. Weights that are numbers stay.

    Parameters
    ----------
    loss : RationaleLoss
        With `weight="auto"`, or a sum with such parts: each is settled by itself.
    forward : Forward, module or function
        The model at the start; held still meanwhile.
    batch : Batch
        A first batch with annotated rows.
    rationale : Rationale
        What was said about it.
    task : float, optional
        The task loss to balance against; by default the cross-entropy of this batch. A model that
        was fooled has hardly any on rows as they are: give the one with the regions refilled.
    share : float
        Penalty beside task loss; positive.

    Returns
    -------
    RationaleLoss
        The same with numbers for weights.

    Raises
    ------
    SettingError
        If no row is annotated, if the penalty is zero, negative or not finite there, so that no
        factor balances it, or if `share` is not positive.

    References
    ----------
    .. [1] A. S. Ross, M. C. Hughes, F. Doshi-Velez, "Right for the Right Reasons: Training
       Differentiable Models by Constraining their Explanations", IJCAI 2017.

    Examples
    --------
    >>> from explain import RightReasons
    >>> batch = Batch(torch.tensor([[1.0, 7.0]]), torch.tensor([0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[True, False]]))
    >>> model = lambda x: x * torch.tensor([1.0, 0.0])
    >>> settled = balanced(RightReasons(weight="auto"), model, batch, marks, task=1.0)
    >>> mean_penalty(settled, model, batch, marks).item()
    1.0
    """
    if not share > 0:
        raise SettingError(f"`share` must be positive; got {share}.")
    if loss.settled:
        return loss
    if task is None:
        with held_still(forward), torch.no_grad():
            task = float(nn.functional.cross_entropy(forward(batch.inputs), batch.labels))
    if isinstance(loss, WeightedSum):
        parts = (balanced(part, forward, batch, rationale, task=task, share=share) for part in loss.losses)
        return replace(loss, losses=tuple(parts))
    with torch.no_grad():
        size = float(mean_penalty(replace(loss, weight=1.0), forward, batch, rationale))
    weight = share * task / size if size else 0.0
    if not 0 < weight < float("inf"):
        raise SettingError(
            "To settle a weight 'auto', the first batch must have annotated rows with a penalty above zero, and a "
            f"task loss above zero; got a penalty of {size:.4g} and a task loss of {task:.4g}. Give a number as weight."
        )
    return replace(loss, weight=weight)

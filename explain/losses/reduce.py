"""From one penalty per example to one number, so that a weight means the same everywhere."""

import math
import warnings
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Generator, Tensor, nn

from ..batch import Batch, Logits, Rationale, check_given
from ..counterexamples.contract import Counterexample
from ..errors import KindError, SettingError, ShapeError, UnbalancedWarning
from ..layers import held_still, module_of
from ..target import check_logits
from .contract import RationaleLoss, WeightedSum

__all__ = ["balanced", "mean_over_annotated", "mean_penalty"]

# Below this task loss, in nats, a batch is fitted: with a label's probability of 0.95 on average.
FITTED = 0.05
# Running statistics are an average over about this many batches, by torch's default momentum.
WARM = 10
# From this share of the largest entropy on, a model tells its classes hardly apart.
UNDECIDED = 0.95


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
    _check_loss(loss)
    means = [mean_over_annotated(part(forward, batch, rationale), part.annotated(rationale)) for part in loss.parts()]
    return torch.stack(means).sum()


def balanced(
    loss: RationaleLoss,
    forward: Logits,
    batch: Batch,
    rationale: Rationale,
    *,
    task: float | Tensor | None = None,
    share: float = 1.0,
    counterexample: Counterexample | None = None,
    generator: Generator | None = None,
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
    task : float or Tensor, shape (), optional
        The task loss to balance against; by default the cross-entropy of this batch.
    share : float
        Penalty beside task loss; positive.
    counterexample : Counterexample, optional
        Refills the regions of the batch for the task loss. A model that was fooled has hardly any on
        rows as they are.
    generator : torch.Generator, optional
        What the counterexample draws from; on the CPU. A new one, seeded with 0, by default.

    Returns
    -------
    RationaleLoss
        The same with numbers for weights.

    Raises
    ------
    KindError
        If this is no rationale loss, or these are no `Batch` and `Rationale`.
    SettingError
        If no row is annotated, if the penalty is zero, negative or not finite there, so that no
        factor balances it, if `share` is not positive, or if both `task` and `counterexample` are given.

    Warns
    -----
    UnbalancedWarning
        If the task loss is below 0.05: the batch is fitted, and the weight too small. Or if the target is
        the sum of log-probabilities and the model tells its C classes hardly apart, by a mean entropy
        above 0.95 log C: that sum has no gradient at p = 1 / C, and the weight is far too large. Or if a batch
        normalisation has seen fewer than ten batches: its running statistics are not yet those of the data.

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
    _check_loss(loss)
    check_given(batch, rationale)
    if not share > 0:
        raise SettingError(f"`share` must be positive; got {share}.")
    if task is not None and counterexample is not None:
        raise SettingError("Give `task`, or a `counterexample` to compute it on; got both.")
    if loss.settled:
        return loss
    if task is None:
        told = batch
        if counterexample is not None:
            told = counterexample(batch, rationale, generator or Generator().manual_seed(0))
        task = float(nn.functional.cross_entropy(_logits(forward, told), told.labels))
    task = float(task.detach() if isinstance(task, Tensor) else task)
    settled = _settled(loss, forward, batch, rationale, share * task)
    if cold := _cold_statistics(forward):
        warnings.warn(
            f"A weight 'auto' was settled on a model whose normalisation {cold!r} has seen next to no batch: in "
            "evaluation mode, which a penalty is measured in, its gradients are not yet those of training, and the "
            "weight may be wrong by orders of magnitude. Settle it after some ten plain steps, or give a number.",
            UnbalancedWarning,
            stacklevel=2,
        )
    if task < FITTED:
        warnings.warn(
            f"A weight 'auto' was settled against a task loss of {task:.4g}, which is next to none: this batch is "
            "fitted, and the penalty will be as small. If the model was fooled, give `counterexample=Swap()`, which "
            "refills what must not matter; else a number as weight.",
            UnbalancedWarning,
            stacklevel=2,
        )
    if _fades(loss) and _is_undecided(_logits(forward, batch)):
        weights = ", ".join(f"{part.weight:.3g}" for part in settled.parts())
        warnings.warn(
            f"A weight 'auto' was settled (weights: {weights}) while the model tells its classes hardly apart. There "
            "the sum of the log-probabilities has hardly a gradient, and the penalty will grow far beyond the task "
            "loss. Settle it after some plain steps, or take target='random_sign_logits', or a number as weight.",
            UnbalancedWarning,
            stacklevel=2,
        )
    return settled


def _logits(forward: Logits, batch: Batch) -> Tensor:
    """Ask the model, held still, for logits that carry no gradient."""
    with held_still(forward), torch.no_grad():
        logits = forward(batch.inputs.clone())  # what a model does first may be in place
    check_logits(logits)
    return logits


def _check_loss(loss: object) -> None:
    """Raise KindError unless this is a rationale loss: losses are called on a model, these functions on a loss."""
    if not isinstance(loss, RationaleLoss):
        raise KindError(
            f"`loss` must be a rationale loss, the first argument: RightReasons(), say; got {type(loss).__name__}."
        )


def _cold_statistics(forward: Logits) -> str | None:
    """Name a batch normalisation whose running statistics are hardly those of any data; None without one."""
    module = module_of(forward)
    parts: Iterable[tuple[str, nn.Module]] = () if module is None else module.named_modules()
    for name, part in parts:
        if not isinstance(part, nn.modules.batchnorm._BatchNorm) or part.running_mean is None:
            continue
        assert part.running_var is not None
        # Old checkpoints count no batches.
        untouched = not part.running_mean.any() and bool((part.running_var == 1).all())
        seen = 0 if part.num_batches_tracked is None else int(part.num_batches_tracked)
        if untouched or 0 < seen < WARM:
            return name
    return None


def _fades(loss: RationaleLoss) -> bool:
    """Whether a penalty to settle has hardly a gradient where classes are alike; a cosine has no size to lose."""
    if isinstance(loss, WeightedSum):
        return any(_fades(part) for part in loss.losses)
    fields = (getattr(loss, "target", None), getattr(loss, "norm", None))
    return not loss.settled and fields[0] == "log_probabilities" and fields[1] != "cosine"


def _is_undecided(logits: Tensor) -> bool:
    """Whether a model tells its classes hardly apart, by its mean entropy."""
    chances = logits.softmax(dim=1)
    entropy = -torch.xlogy(chances, chances).sum(dim=1).mean()
    return float(entropy) >= UNDECIDED * math.log(logits.shape[1])


def _settled(
    loss: RationaleLoss, forward: Logits, batch: Batch, rationale: Rationale, size_wanted: float
) -> RationaleLoss:
    """Give each part whose weight is "auto" the one that makes its penalty as large as wanted."""
    if loss.settled:
        return loss
    if isinstance(loss, WeightedSum):
        parts = (_settled(part, forward, batch, rationale, size_wanted) for part in loss.losses)
        return replace(loss, losses=tuple(parts))
    if not loss.annotated_rows(batch, rationale).any():
        raise SettingError(
            f"To settle a weight 'auto', the batch must have a row with a mark that is {' or '.join(loss.needs)}; it "
            "has none. Take one that has, or give a number as weight."
        )
    with torch.no_grad():
        size = float(mean_penalty(replace(loss, weight=1.0), forward, batch, rationale))
    weight = size_wanted / size if size else 0.0
    if not 0 < weight < float("inf"):
        raise SettingError(
            "To settle a weight 'auto', the first batch must have a penalty above zero, and a "
            f"task loss above zero; got a penalty of {size:.4g} for {size_wanted:.4g} of task loss. "
            "Give a number as weight."
        )
    return replace(loss, weight=weight)

"""Short procedures around training: other explanations of the same labels, and one's own top region refilled."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .attribution import Attribution, scores_of
from .batch import Batch, Logits, Rationale
from .counterexamples import Constant, Counterexample
from .errors import SettingError, ShapeError
from .methods import attribute
from .target import Target

__all__ = ["Round", "find_another_explanation", "masktune_inputs", "own_top_region"]

BLACK = Constant(0.0)


def own_top_region(
    scores: Tensor | Attribution,
    *,
    cutoff: float | None = None,
    share: float | None = None,
    deviations: float | None = None,
) -> Tensor:
    """Mark where an explanation says that the model looks, by one of three rules on the magnitude of its scores.

    ==============  ==========================================================================
    setting         an element is marked if its magnitude is
    ==============  ==========================================================================
    ``cutoff``      above this share of the row's largest [1]_
    ``share``       among this share of the row's elements, the largest (at least one)
    ``deviations``  above the row's mean by this number of its standard deviations
    ==============  ==========================================================================

    Parameters
    ----------
    scores : Attribution or Tensor, shape (batch, *event), float
        What was attributed.
    cutoff, share, deviations : float
        Exactly one of them: in [0, 1), in (0, 1], or any.

    Returns
    -------
    Tensor, shape (batch, *event), bool
        Elements that score zero are never marked; nor is anything in a row with a score that is not finite.

    Raises
    ------
    SettingError
        If not exactly one rule is given, or it lies outside of its range.
    ShapeError
        If `scores` is not (batch, *event).

    References
    ----------
    .. [1] A. S. Ross, M. C. Hughes, F. Doshi-Velez, "Right for the Right Reasons: Training
       Differentiable Models by Constraining their Explanations", IJCAI 2017.

    Examples
    --------
    >>> own_top_region(torch.tensor([[0.5, -3.0, 2.5, 0.0]]), cutoff=0.67)
    tensor([[False,  True,  True, False]])
    >>> own_top_region(torch.tensor([[0.5, -3.0, 2.5, 0.0]]), share=0.25)
    tensor([[False,  True, False, False]])
    """
    given = {
        name: value
        for name, value in (("cutoff", cutoff), ("share", share), ("deviations", deviations))
        if value is not None
    }
    if len(given) != 1:
        raise SettingError(
            f"Exactly one of `cutoff`, `share` and `deviations` must be given; got {', '.join(given) or 'none'}."
        )
    if cutoff is not None and not 0 <= cutoff < 1:
        raise SettingError(f"`cutoff` must be a share of the largest magnitude, in [0, 1); got {cutoff}.")
    if share is not None and not 0 < share <= 1:
        raise SettingError(f"`share` must be a share of the elements, in (0, 1]; got {share}.")
    scores = scores_of(scores)
    if scores.ndim < 2:
        raise ShapeError(f"`scores` must have shape (batch, *event); got {tuple(scores.shape)}.")
    size = scores.detach().abs().flatten(1)
    size = torch.where(size.isfinite().all(dim=1, keepdim=True), size, 0.0)
    if cutoff is not None:
        region = size > cutoff * size.amax(dim=1, keepdim=True)
    elif share is not None:
        many = max(1, round(share * size.shape[1]))
        region = torch.zeros_like(size, dtype=torch.bool).scatter(1, size.topk(many, dim=1).indices, True)
    else:
        assert deviations is not None
        spread = size.std(dim=1, keepdim=True, correction=0)
        region = size > size.mean(dim=1, keepdim=True) + deviations * spread
    return (region & (size > 0)).reshape(scores.shape)


@dataclass(frozen=True, eq=False)
class Round:
    """One model of `find_another_explanation`, and what it looks at.

    Attributes
    ----------
    number : int
        From 0, the model about which nothing was said.
    model : Forward, module or function
        What was trained.
    region : Tensor, shape (rows, *event), bool
        Where the model's own explanation of each row is.
    forbidden : Tensor or None, shape (rows, *event), bool
        What it was told must not matter: the regions of the models before. None for the first.
    """

    number: int
    model: Logits
    region: Tensor
    forbidden: Tensor | None


def find_another_explanation(
    train: Callable[[Rationale | None], Logits],
    inputs: Tensor,
    *,
    accurate: Callable[[Logits], bool] | None = None,
    rounds: int = 3,
    cutoff: float = 0.67,
    target: Target = "max_log_probability",
    labels: Tensor | None = None,
    batch_size: int = 256,
) -> Iterator[Round]:
    """Train model after model, each forbidden to look where those before it looked.

    Needs nobody to say anything: the first model is trained plainly, each next one with the regions of
    all before it marked irrelevant [1]_. What comes out are qualitatively different explanations of the
    same labels, for a person to choose from. Where data allow for one rule only, the second model fails.

    Parameters
    ----------
    train : callable
        Given None, or a rationale with `irrelevant` of the shape of `inputs`, trains a model from the
        start and returns it: with `RightReasons` for its loss, as in [1]_, or with counterexamples.
    inputs : Tensor, shape (rows, *event), float
        The training rows, in the order in which `train` takes the rationale's.
    accurate : callable, optional
        Whether a model, on held-out rows say, is good enough to go on. The first that is not is the last.
    rounds : int
        Models at most.
    cutoff : float
        Share of a row's largest gradient above which an element counts as looked at.
    target : str, int or callable
        What is explained. Only proportions within a row count, so that the log-probability marks what
        the probability of [1]_ does.
    labels : Tensor or None, shape (rows,), int64
        For targets that need them.
    batch_size : int
        Rows per pass when explaining.

    Yields
    ------
    Round
        In the order of training, each as soon as it is done. Ends after `rounds`, after a model that is
        not accurate, or after one that looks nowhere new: the penalty did not move it, or nothing is left.

    Raises
    ------
    SettingError
        If `rounds` is less than one, or the cutoff outside of [0, 1).
    ShapeError
        If there is no row.
    KindError, GraphError, TargetError
        See `input_gradient`.

    References
    ----------
    .. [1] A. S. Ross, M. C. Hughes, F. Doshi-Velez, "Right for the Right Reasons: Training
       Differentiable Models by Constraining their Explanations", IJCAI 2017.

    Examples
    --------
    A "training" that reads the first feature unless that is forbidden:

    >>> def train(said):
    ...     column = 0 if said is None else 1
    ...     return lambda x: x[:, [column]] * torch.tensor([[1.0, -1.0]])
    >>> for found in find_another_explanation(train, torch.ones(1, 3), rounds=2):
    ...     print(found.number, found.region.tolist())
    0 [[True, False, False]]
    1 [[False, True, False]]
    """
    if rounds < 1:
        raise SettingError(f"`rounds` must be at least 1; got {rounds}.")
    if not 0 <= cutoff < 1:
        raise SettingError(f"`cutoff` must be a share of the largest magnitude, in [0, 1); got {cutoff}.")
    return _rounds(train, inputs, accurate or (lambda model: True), rounds, cutoff, target, labels, batch_size)


def _rounds(
    train: Callable[[Rationale | None], Logits],
    inputs: Tensor,
    accurate: Callable[[Logits], bool],
    rounds: int,
    cutoff: float,
    target: Target,
    labels: Tensor | None,
    batch_size: int,
) -> Iterator[Round]:
    """Yield the rounds; apart, so that wrong settings are refused at the call and not at the first round."""
    forbidden: Tensor | None = None
    for number in range(rounds):
        model = train(None if forbidden is None else Rationale(irrelevant=forbidden))
        scores = _explained(model, inputs, labels, "input_gradient", target, batch_size, {})
        region = own_top_region(scores, cutoff=cutoff)
        yield Round(number, model, region, forbidden)
        union = region if forbidden is None else forbidden | region
        new = union if forbidden is None else union & ~forbidden
        if not new.any() or not accurate(model):
            return
        forbidden = union


def masktune_inputs(
    forward: Logits,
    batch: Batch,
    *,
    deviations: float | None = None,
    share: float | None = None,
    counterexample: Counterexample = BLACK,
    method: str = "gradient_times_input",
    target: Target = "label_logit",
    seed: int = 0,
    batch_size: int = 256,
    **settings: Any,
) -> tuple[Batch, Rationale]:
    """Refill what a trained model itself looks at, to train it one more epoch on what is left ("MaskTune").

    Needs nobody to say anything, and knows no shortcut from a cause: it makes the model explore beside
    whatever it relied on first, right or wrong [1]_. Call it for the training rows, then train for one
    epoch on the batch returned.

    Parameters
    ----------
    forward : Forward, module or function
        The trained model; asked in evaluation mode, and left as found.
    batch : Batch
        Training rows; not changed.
    deviations, share : float, optional
        How much is refilled; see `own_top_region`. By default two standard deviations above the mean.
    counterexample : Counterexample
        What refills the region; zeros by default.
    method : str
        An attribution method; its scores' magnitudes are summed over channels. Most look past a shortcut
        that is zero, in the unit of the inputs: it is not *there* to them.
    target : str, int or callable
        What is explained; the logit of the label by default.
    seed : int
        Of what the counterexample draws.
    batch_size : int
        Rows per pass when explaining.
    **settings
        Passed to the method, such as ``layer=`` of ``grad_cam``.

    Returns
    -------
    batch : Batch
        The rows with their regions refilled, and their labels.
    rationale : Rationale
        The regions, as `irrelevant`, with 1 in place of the channels: to look at, or for a loss.

    Raises
    ------
    SettingError
        If both `deviations` and `share` are given, or one lies outside of its range.
    ShapeError
        If there is no row, or the counterexample cannot take such a mask.
    MethodError, KindError, GraphError, TargetError
        See `attribute`.

    References
    ----------
    .. [1] S. Asgari Taghanaki et al., "MaskTune: Mitigating Spurious Correlations by Forcing to
       Explore", NeurIPS 2022.

    Examples
    --------
    A model that reads the first of its two features:

    >>> batch = Batch(torch.tensor([[3.0, 5.0]]), torch.tensor([0]))
    >>> left, said = masktune_inputs(lambda x: x * torch.tensor([1.0, 0.0]), batch, share=0.5)
    >>> left.inputs, said.irrelevant
    (tensor([[0., 5.]]), tensor([[ True, False]]))
    """
    if deviations is None and share is None:
        deviations = 2.0
    scores = _explained(forward, batch.inputs, batch.labels, method, target, batch_size, settings)
    size = scores.abs().sum(dim=1, keepdim=True) if scores.ndim > 2 else scores
    said = Rationale(irrelevant=own_top_region(size, deviations=deviations, share=share))
    return counterexample(batch, said, torch.Generator().manual_seed(seed)), said


def _explained(
    model: Logits,
    inputs: Tensor,
    labels: Tensor | None,
    method: str,
    target: Target,
    batch_size: int,
    settings: dict[str, Any],
) -> Tensor:
    """Explain rows in batches."""
    if len(inputs) == 0:
        raise ShapeError(f"There must be at least one row to explain; got shape {tuple(inputs.shape)}.")
    parts = []
    for first in range(0, len(inputs), batch_size):
        rows = slice(first, first + batch_size)
        told = None if labels is None else labels[rows]
        parts.append(attribute(model, inputs[rows], method, target=target, labels=told, **settings).scores)
    return torch.cat(parts)

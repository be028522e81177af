"""DeepLIFT: differences from a baseline, sent back through the layers of a module."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..as_used import as_used
from ..attribution import Attribution
from ..batch import Logits
from ..errors import LayerError, MethodError, SettingError, TargetError
from ..layers import module_of
from ..target import Target, checked_target, target_values
from .passes import check_counts, check_inputs, split_passes, wide_enough
from .pinned import pin_target
from .presence import Baseline, baseline_like

__all__ = ["deep_lift"]

# What Captum writes on the modules that it hooks, and leaves there if it fails on the way.
LEFT_BEHIND = ("input", "output")


@as_used
def deep_lift(
    forward: Logits,
    inputs: Tensor,
    target: Target = "max_logit",
    labels: Tensor | None = None,
    *,
    baseline: Baseline = 0.0,
    tolerance: float | None = None,
    batch_size: int = 256,
) -> Attribution:
    """Share out the difference of a logit from its value at a baseline, layer by layer [1]_.

    The rescale rule: each nonlinear unit passes on the ratio of its own difference to that of its
    input, in place of its slope. One forward and one backward pass over twice the rows.

    Parameters
    ----------
    forward : module, or a `Forward` that has it as ``module``
        Model inputs to logits, shape (batch, classes). The nonlinearities must be modules (nn.ReLU,
        nn.MaxPool2d ...), each used once: functions such as ``F.relu`` cannot be given a rule.
    inputs : Tensor, shape (batch, *event), float
        Model inputs in the model's own unit.
    target : int or str
        A class number, ``max_logit`` or ``label_logit``.
    labels : Tensor or None, shape (batch,), int64
        For ``label_logit``.
    baseline : float or Tensor
        What the differences are taken from: a value, a row, or a row for each; see `baseline_like`.
    tolerance : float or None
        Largest gap between the sum of a row's scores and its difference of logits that is accepted,
        as a share of the magnitudes of the scores and of both logits together; ``math.inf`` accepts
        any. None takes what rounding explains: 1e-5, of half precision 3e-2.
    batch_size : int
        Rows per forward pass, half of them baselines.

    Returns
    -------
    Attribution
        With `scores` of the shape of `inputs`, in units of the logit; a row's sum to the difference of
        its logit from the baseline's.

    Raises
    ------
    MethodError
        If there is no module to take apart.
    LayerError
        If a module is used twice, has no rule, or the scores do not add up within the tolerance.
    TargetError
        If the target is not a logit.
    KindError, ShapeError, SettingError
        If inputs, baseline or settings are not as above.

    Notes
    -----
    The work is Captum's. It gives rules to the exact types nn.ReLU, ELU, LeakyReLU, Sigmoid, Tanh,
    Softplus and MaxPool1d to 3d; whatever else is nonlinear is passed by its slope, without a word. The
    sum of the scores tells: that is what `tolerance` is for. Its rule for nn.Softmax mixes the rows of
    a batch, so that such a module is refused.

    References
    ----------
    .. [1] A. Shrikumar, P. Greenside, A. Kundaje, "Learning Important Features Through Propagating
       Activation Differences", ICML 2017.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(2, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False))
    >>> with torch.no_grad():
    ...     _ = net[0].weight.copy_(torch.tensor([[1.0, -1.0]])), net[2].weight.fill_(2.0)
    >>> deep_lift(net, torch.tensor([[3.0, 1.0]]), target=0).scores
    tensor([[ 6., -2.]])
    """
    check_inputs(inputs)
    check_counts(batch_size=batch_size)
    if tolerance is None:
        tolerance = 3e-2 if torch.finfo(inputs.dtype).bits < 32 else 1e-5
    if math.isnan(tolerance) or tolerance < 0:
        raise SettingError(f"`tolerance` must be a share of at least 0, or math.inf; got {tolerance!r}.")
    module = _module_of(forward)
    # What is no class has to hear first which targets this method has.
    is_class = not isinstance(target, (str, bool)) and not callable(target)
    if is_class:
        target = checked_target(target)
    elif target not in ("max_logit", "label_logit"):
        raise TargetError(
            "DeepLIFT shares out the difference of a logit: `target` must be a class number, 'max_logit' or "
            f"'label_logit'; got {target!r}. Integrated gradients explain any target."
        )
    parts = []
    start = baseline_like(baseline, inputs)
    classes = _classes(forward, inputs, target, labels, batch_size)
    # Twice the rows pass through the module.
    for rows in split_passes(len(inputs), 1, max(1, batch_size // 2))[0]:
        part, asked = inputs[rows], classes[rows]
        named = target if is_class else "label_logit"
        # Of what was given, not of its module: whatever `forward` does around it would be missed.
        at_start, logit = (target_values(forward(at.clone()), named, asked) for at in (start[rows], part))
        parts.append(_scores(module, part, start[rows], asked))
        _check_complete(parts[-1], logit, at_start, tolerance)
    return Attribution(torch.cat(parts) if parts else torch.zeros_like(inputs), target, "deep_lift")


def _module_of(forward: Logits) -> nn.Module:
    """Find the module to take apart, and refuse those that Captum gets wrong."""
    module = module_of(forward)
    if module is None:
        raise MethodError(
            "DeepLIFT takes a module apart: `forward` must be an nn.Module, or have one as `module`; "
            f"got {forward!r}. Integrated gradients explain any function."
        )
    for name, part in module.named_modules():
        if type(part) is nn.Softmax:
            raise LayerError(
                f"The softmax {name or 'module'!r} has a rule in Captum that mixes the rows of a batch. DeepLIFT "
                "explains logits: leave a last softmax out; integrated gradients explain a model with one inside."
            )
    return module


def _classes(forward: Logits, inputs: Tensor, target: Target, labels: Tensor | None, batch_size: int) -> Tensor:
    """Return the class of each row whose logit is explained."""
    if isinstance(target, int):
        return torch.full((len(inputs),), target, device=inputs.device)
    pinned = pin_target(forward, inputs, target, labels, batch_size)
    if pinned.labels is None:
        raise TargetError(f"The target {target!r} needs `labels`; got None.")
    return pinned.labels


def _scores(module: nn.Module, inputs: Tensor, start: Tensor, classes: Tensor) -> Tensor:
    """Let Captum do the work, and leave the module as it was."""
    from captum.attr import DeepLift

    with _left_as_found(module), warnings.catch_warnings(), torch.enable_grad():
        warnings.filterwarnings("ignore", message="Setting forward, backward hooks")
        leaf = inputs.detach().clone().requires_grad_()
        try:
            scores: Tensor = DeepLift(module).attribute(leaf, start.clone(), target=classes)
        except (RuntimeError, AssertionError) as error:
            if "module is being used more than once" not in str(error):
                raise
            raise LayerError(
                "A nonlinear module is used more than once in the forward pass, and DeepLIFT keeps one "
                "difference for each. Give each use a module of its own, or use integrated gradients."
            ) from error
    return scores.detach()


@contextmanager
def _left_as_found(module: nn.Module) -> Iterator[None]:
    """Take away what was written on any part of the module meanwhile."""
    had = {part: [name for name in LEFT_BEHIND if name in vars(part)] for part in module.modules()}
    try:
        yield
    finally:
        for part, names in had.items():
            for name in LEFT_BEHIND:
                if name not in names:
                    vars(part).pop(name, None)


def _check_complete(scores: Tensor, logit: Tensor, at_start: Tensor, tolerance: float) -> None:
    """Raise LayerError unless the scores of each row add up to its difference of logits."""
    wide = wide_enough(scores)
    scores, logit, at_start = scores.flatten(1).to(wide), logit.to(wide), at_start.to(wide)
    total, difference = scores.sum(dim=1), logit - at_start
    # Of the logits too: theirs is the rounding where they hardly differ.
    size = scores.abs().sum(dim=1) + logit.abs() + at_start.abs()
    share = torch.where(size == 0, 0.0, (total - difference).abs() / size)
    # Of a difference that is infinite finite scores are no part; a row that is not a number has scores that say so.
    lacking = ~(share <= tolerance) & scores.isfinite().all(dim=1)
    if tolerance < math.inf and lacking.any():
        row = int(torch.where(lacking, share.nan_to_num(math.inf), -1.0).argmax())
        raise LayerError(
            f"The scores of a row must sum to its difference of logits, {float(difference[row]):.4g}; they sum to "
            f"{float(total[row]):.4g}. Some nonlinearity has no rule: a function such as F.relu, GELU or attention, "
            "or overlapping pooling windows; or `forward` does more than its module. Use modules with a rule (nn.ReLU, "
            "nn.MaxPool2d), or integrated gradients; `tolerance=math.inf` accepts it."
        )

"""Gradients collected on straight paths from a baseline to the inputs."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..as_used import as_used
from ..attribution import Attribution
from ..batch import Logits
from ..errors import SettingError, ShapeError
from ..target import Target
from .passes import check_counts, check_inputs, gradients_at, split_passes, values_at, wide_enough
from .pinned import pin_target
from .presence import Baseline, baseline_like

__all__ = ["completeness_gap", "expected_gradients", "integrated_gradients"]

RULES = ("gauss_legendre", "midpoint", "trapezoid")


@as_used
def integrated_gradients(
    forward: Logits,
    inputs: Tensor,
    target: Target = "max_log_probability",
    labels: Tensor | None = None,
    *,
    baseline: Baseline = 0.0,
    steps: int = 50,
    rule: str = "gauss_legendre",
    batch_size: int = 256,
) -> Attribution:
    """Integrate the gradient along the straight path from a baseline to the inputs [1]_.

    ``(x − b) ⊙ ∫₀¹ ∇f(b + α (x − b)) dα``. The scores of a row sum to f(x) − f(b), as far as the
    steps resolve the path: `completeness_gap` measures it. The class explained is the one predicted
    for the row, at every point of its path.

    Parameters
    ----------
    forward : Forward, module or function
        Model inputs to logits, shape (batch, classes).
    inputs : Tensor, shape (batch, *event), float
        Model inputs in the model's own unit.
    target : str, int or callable
        What is explained; see `target_values` and `pin_target`.
    labels : Tensor or None, shape (batch,), int64
        For targets that need them.
    baseline : float or Tensor
        Where the path begins: a value, a row, or a row for each; see `baseline_like`.
    steps : int
        Points on the path.
    rule : {"gauss_legendre", "midpoint", "trapezoid"}
        How the points are placed and weighted; see Notes.
    batch_size : int
        Rows × steps per forward pass: the memory is that of one such pass.

    Returns
    -------
    Attribution
        With `scores` of the shape of `inputs`, in units of the target.

    Raises
    ------
    KindError, ShapeError
        If `inputs` are not floating point, or not (batch, *event), or the baseline does not fit.
    SettingError
        If a setting is out of range.
    GraphError
        If the logits do not depend on the inputs through autograd.
    TargetError
        See `pin_target`.

    Notes
    -----
    Along the path, a smooth network is a smooth function, of which Gauss–Legendre points leave the
    smallest gap by orders of magnitude. A network of rectified units is piecewise linear, its
    gradient jumps, and no rule beats the others by much there.

    References
    ----------
    .. [1] M. Sundararajan, A. Taly, Q. Yan, "Axiomatic Attribution for Deep Networks", ICML 2017.

    Examples
    --------
    >>> square = lambda x: x.square()
    >>> integrated_gradients(square, torch.tensor([[3.0, 1.0]]), target=0, steps=2).scores
    tensor([[9., 0.]])
    """
    check_inputs(inputs)
    check_counts(steps=steps, batch_size=batch_size)
    alphas, weights = (values.to(inputs.device, wide_enough(inputs)) for values in _quadrature(rule, steps))
    start = baseline_like(baseline, inputs)
    change = inputs.detach() - start
    pinned = pin_target(forward, inputs, target, labels, batch_size)
    mean = torch.zeros_like(change, dtype=weights.dtype)
    row_parts, step_parts = split_passes(len(inputs), steps, batch_size)
    for part in step_parts:
        along = alphas[part].to(inputs.dtype).view(-1, *[1] * inputs.ndim)
        for rows in row_parts:
            points = torch.addcmul(start[rows], along, change[rows])
            slopes = gradients_at(forward, points, pinned, rows)
            # A caller's autocast, which is the model's affair, would round the sum as well.
            with torch.autocast(inputs.device.type, enabled=False):
                mean[rows] += (weights[part] @ slopes.flatten(1).to(mean.dtype)).view(slopes.shape[1:])
    return Attribution((mean * change).to(inputs.dtype), target, "integrated_gradients")


@as_used
def expected_gradients(
    forward: Logits,
    inputs: Tensor,
    target: Target = "max_log_probability",
    labels: Tensor | None = None,
    *,
    references: Tensor,
    samples: int = 100,
    seed: int = 0,
    batch_size: int = 256,
) -> Attribution:
    """Average integrated gradients over baselines drawn from reference rows [1]_.

    ``E[(x − x′) ⊙ ∇f(x′ + α (x − x′))]`` with x′ drawn from the references and α from [0, 1]. It needs
    no single baseline. The scores sum to f(x) − E f(x′) in expectation; the error of that falls with
    the square root of `samples`. All rows get the same draws, so that a row has the same scores alone
    and in any batch.

    Parameters
    ----------
    forward, inputs, target, labels
        As for `integrated_gradients`.
    references : Tensor, shape (references, *event), float
        Rows that stand for "anything else": training rows, as a rule.
    samples : int
        Pairs (x′, α) drawn.
    seed : int
        Draws them.
    batch_size : int
        Rows × samples per forward pass.

    Returns
    -------
    Attribution
        With `scores` of the shape of `inputs`, in units of the target.

    Raises
    ------
    KindError, ShapeError
        If `inputs` are not floating point, or not (batch, *event), or the references do not fit.
    SettingError
        If a setting is out of range.
    GraphError, TargetError
        As `integrated_gradients`.

    References
    ----------
    .. [1] G. Erion, J. D. Janizek, P. Sturmfels, S. M. Lundberg, S.-I. Lee, "Improving performance of deep
       learning models with axiomatic attribution priors and expected gradients", Nature Machine
       Intelligence 3, 2021.

    Examples
    --------
    >>> weights = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> only = torch.tensor([[0.0, 1.0]])
    >>> expected_gradients(lambda x: x @ weights, torch.tensor([[5.0, 3.0]]), target=1, references=only).scores
    tensor([[0., 4.]])
    """
    check_inputs(inputs)
    check_counts(samples=samples, batch_size=batch_size)
    if tuple(references.shape[1:]) != tuple(inputs.shape[1:]) or len(references) == 0:
        raise ShapeError(
            f"`references` must be at least one row of shape {tuple(inputs.shape[1:])}; got {tuple(references.shape)}."
        )
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(references), (samples,), generator=generator).to(references.device)
    alphas = torch.rand(samples, generator=generator, dtype=torch.float64).to(inputs)
    pinned = pin_target(forward, inputs, target, labels, batch_size)
    total = torch.zeros_like(inputs, dtype=wide_enough(inputs))
    row_parts, sample_parts = split_passes(len(inputs), samples, batch_size)
    for part in sample_parts:
        start = references[drawn[part]].detach().to(inputs)[:, None]
        along = alphas[part].view(-1, *[1] * inputs.ndim)
        for rows in row_parts:
            change = inputs[rows] - start
            slopes = gradients_at(forward, torch.addcmul(start, along, change), pinned, rows)
            total[rows] += (change.to(total.dtype) * slopes).sum(dim=0)
    return Attribution((total / samples).to(inputs.dtype), target, "expected_gradients")


@as_used
def completeness_gap(
    forward: Logits,
    attribution: Attribution,
    inputs: Tensor,
    baseline: Baseline = 0.0,
    labels: Tensor | None = None,
    *,
    batch_size: int = 256,
) -> Tensor:
    """Measure by how much the scores of each row miss f(x) − f(baseline).

    For methods that claim to share out that difference: `integrated_gradients`, `deep_lift`,
    `kernel_shap`.

    Parameters
    ----------
    forward : Forward, module or function
        Model inputs to logits, shape (batch, classes).
    attribution : Attribution
        Made for `inputs`; its target is asked again.
    inputs : Tensor, shape (batch, *event), float
        Model inputs.
    baseline : float or Tensor
        The one that the attribution was made with.
    labels : Tensor or None, shape (batch,), int64
        For targets that need them.
    batch_size : int
        Rows per forward pass.

    Returns
    -------
    Tensor, shape (batch,), float
        Sum of the scores minus the difference, in units of the target: signed, zero when complete.

    Raises
    ------
    ShapeError
        If the scores do not have the shape of the inputs, or the baseline does not fit.

    Examples
    --------
    >>> cube = lambda x: x ** 3
    >>> x = torch.tensor([[2.0, 1.0]])
    >>> rough = integrated_gradients(cube, x, target=0, steps=1)
    >>> completeness_gap(cube, rough, x)
    tensor([-2.])
    """
    check_inputs(inputs)
    if attribution.scores.shape != inputs.shape:
        raise ShapeError(
            "The scores must have the shape of `inputs` to be complete; "
            f"got {tuple(attribution.scores.shape)} and {tuple(inputs.shape)}."
        )
    start = baseline_like(baseline, inputs)
    pinned = pin_target(forward, inputs, attribution.target, labels, batch_size)
    difference = torch.zeros(len(inputs), dtype=inputs.dtype, device=inputs.device)
    for rows in split_passes(len(inputs), 1, batch_size)[0]:
        for points, sign in ((inputs, 1), (start, -1)):
            difference[rows] += sign * values_at(forward, points[rows][None].clone(), pinned, rows)[0]
    return attribution.scores.flatten(1).sum(dim=1) - difference


@lru_cache(maxsize=32)
def _quadrature(rule: str, steps: int) -> tuple[Tensor, Tensor]:
    """Return points in [0, 1] and weights that sum to one, both float64."""
    if rule == "gauss_legendre":
        return _gauss_legendre(steps)
    even = torch.full((steps,), 1 / steps, dtype=torch.float64)
    if rule == "midpoint":
        return (torch.arange(steps, dtype=torch.float64) + 0.5) / steps, even
    if rule == "trapezoid":
        if steps < 2:
            raise SettingError(f"The trapezoid rule needs both ends of the path, 2 steps or more; got {steps}.")
        even = torch.full((steps,), 1 / (steps - 1), dtype=torch.float64)
        even[[0, -1]] /= 2
        return torch.linspace(0, 1, steps, dtype=torch.float64), even
    raise SettingError(f"`rule` must be one of {', '.join(RULES)}; got {rule!r}.")


def _gauss_legendre(steps: int) -> tuple[Tensor, Tensor]:
    """Find the roots of a Legendre polynomial by Newton's method, all at once, in memory that grows with `steps`.

    With its square grows the companion matrix of `numpy.polynomial.legendre.leggauss`: 129 MB for 4,000 steps.
    """
    numbers = np.arange(steps, 0, -1, dtype=np.float64)
    # Tricomi's approximation, from which Newton's method meets no other root.
    roots = (1 - (1 - 1 / steps) / (8 * steps**2)) * np.cos(np.pi * (numbers - 0.25) / (steps + 0.5))
    slope = np.ones_like(roots)
    for _ in range(10):
        before, value = np.ones_like(roots), roots
        for degree in range(2, steps + 1):
            before, value = value, ((2 * degree - 1) * roots * value - (degree - 1) * before) / degree
        slope = steps * (before - roots * value) / (1 - roots**2)
        change = value / slope
        roots = roots - change
        if np.abs(change).max() < 1e-15:
            break
    weights = 2 / ((1 - roots**2) * slope**2)
    return torch.from_numpy((roots + 1) / 2), torch.from_numpy(weights / weights.sum())

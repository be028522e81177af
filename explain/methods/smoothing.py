"""Gradients averaged over noise."""

import math

import torch
from torch import Tensor

from ..as_used import as_used
from ..attribution import Attribution
from ..batch import Logits
from ..errors import SettingError
from ..target import Target
from .passes import check_counts, check_inputs, gradients_at, split_passes, wide_enough
from .pinned import pin_target

__all__ = ["smooth_grad"]


@as_used
def smooth_grad(
    forward: Logits,
    inputs: Tensor,
    target: Target = "max_log_probability",
    labels: Tensor | None = None,
    *,
    samples: int = 50,
    noise: float = 0.15,
    relative: bool = True,
    seed: int = 0,
    batch_size: int = 256,
) -> Attribution:
    """Average the gradient over copies of the inputs with Gaussian noise [1]_.

    The class explained is the one predicted for the row without noise. All rows get the same draws,
    so that a row has the same scores alone and in any batch.

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
    samples : int
        Noisy copies of each row.
    noise : float
        Standard deviation: a share of the row's range, from its smallest to its largest element
        (the paper's unit; it finds 0.1 to 0.2 good for images), or absolute.
    relative : bool
        Whether `noise` is a share of the row's range; else it is in the unit of the inputs.
    seed : int
        Draws the noise.
    batch_size : int
        Rows × samples per forward pass.

    Returns
    -------
    Attribution
        With `scores` of the shape of `inputs`, in units of the target per input unit.

    Raises
    ------
    KindError, ShapeError
        If `inputs` are not floating point, or not (batch, *event).
    SettingError
        If a setting is out of range.
    GraphError
        If the logits do not depend on the inputs through autograd.
    TargetError
        See `pin_target`.

    References
    ----------
    .. [1] D. Smilkov, N. Thorat, B. Kim, F. Viégas, M. Wattenberg, "SmoothGrad: removing noise by adding
       noise", arXiv:1706.03825, 2017.

    Examples
    --------
    A linear model has the same gradient everywhere:

    >>> weights = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> smooth_grad(lambda x: x @ weights, torch.tensor([[0.0, 1.0]]), target=1, samples=4).scores
    tensor([[0., 2.]])
    """
    check_inputs(inputs)
    check_counts(samples=samples, batch_size=batch_size)
    if not 0 <= noise < math.inf:
        raise SettingError(f"`noise` must be a finite number of at least 0; got {noise!r}.")
    pinned = pin_target(forward, inputs, target, labels, batch_size)
    axes = tuple(range(1, inputs.ndim))
    spread = noise * (inputs.amax(axes, keepdim=True) - inputs.amin(axes, keepdim=True) if relative else 1.0)
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros_like(inputs, dtype=wide_enough(inputs))
    row_parts, sample_parts = split_passes(len(inputs), samples, batch_size)
    for part in sample_parts:
        # One call for each sample: how a call fills its elements depends on how many they are.
        draws = [torch.randn(inputs.shape[1:], generator=generator) for _ in range(part.stop - part.start)]
        shared = torch.stack(draws).to(inputs)[:, None]
        for rows in row_parts:
            points = inputs[rows] + shared * (spread[rows] if isinstance(spread, Tensor) else spread)
            total[rows] += gradients_at(forward, points, pinned, rows).to(total.dtype).sum(dim=0)
    return Attribution((total / samples).to(inputs.dtype), target, "smooth_grad")

"""Linear stand-ins for a model around a row: LIME and KernelSHAP.

Captum has both, and fits row after row, each with draws of its own from torch's global generator: a
row's map would depend on its place in the batch. Here the coalitions of features are drawn once, from
a seed, and shared: the design matrix is the same for all rows, and one solve serves the batch.
"""

from __future__ import annotations

import math
from itertools import combinations

import torch
from torch import Tensor

from ..as_used import as_used
from ..attribution import Attribution
from ..batch import Logits
from ..errors import SettingError
from ..target import Target
from .passes import check_counts, check_inputs, split_passes, values_at
from .pinned import PinnedTarget, pin_target
from .presence import Baseline, baseline_like, numbered_groups

__all__ = ["kernel_shap", "lime"]


@as_used
def lime(
    forward: Logits,
    inputs: Tensor,
    target: Target = "max_log_probability",
    labels: Tensor | None = None,
    *,
    groups: Tensor | None = None,
    size: int | None = None,
    baseline: Baseline = 0.0,
    samples: int = 1000,
    kernel_width: float = 0.25,
    ridge: float = 1.0,
    seed: int = 0,
    batch_size: int = 256,
) -> Attribution:
    """Fit a linear model to what the target does when features go missing at random [1]_.

    Each sample keeps each feature with probability one half. A ridge regression with an intercept,
    weighted by closeness to the full row, predicts the target from what is present: a feature's score
    is its coefficient, shared evenly by its elements. No features are selected. The class explained is
    the one predicted for the row as it is.

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
    groups : Tensor or None, shape event, or without the channel axis, int64
        Which elements make one feature, the same for all rows; None makes those of `feature_groups`:
        elements, tokens or patches.
    size : int or None
        Side of the patches, or tokens in a feature, where `groups` are not given.
    baseline : float or Tensor
        What stands in for a missing feature; see `baseline_like`.
    samples : int
        Coalitions of features, the full row among them; the same for all rows.
    kernel_width : float
        Closeness is ``exp(−d² / (2 · width²))`` with d the cosine distance of the coalition to the full
        one.
    ridge : float
        Penalty on the squared coefficients; 0 is plain least squares.
    seed : int
        Draws the coalitions.
    batch_size : int
        Rows × samples per forward pass.

    Returns
    -------
    Attribution
        With `scores` of the shape of `inputs`, in units of the target.

    Raises
    ------
    KindError, ShapeError, TargetError
        If inputs, groups, baseline or target are not as above.
    SettingError
        If a setting is out of range, or without a ridge the samples do not determine the coefficients.

    References
    ----------
    .. [1] M. T. Ribeiro, S. Singh, C. Guestrin, "'Why Should I Trust You?': Explaining the Predictions of
       Any Classifier", KDD 2016.

    Examples
    --------
    >>> weights = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> lime(lambda x: x @ weights, torch.tensor([[5.0, 3.0]]), target=1, ridge=0).scores.round(decimals=4).abs()
    tensor([[0., 6.]])
    """
    check_inputs(inputs)
    check_counts(samples=samples, batch_size=batch_size)
    if not kernel_width > 0 or not 0 <= ridge < math.inf:
        raise SettingError(
            f"`kernel_width` must be above 0 and `ridge` at least 0; got {kernel_width!r} and {ridge!r}."
        )
    numbers, elements = numbered_groups(groups, inputs, size)
    present = torch.rand(samples, len(elements), generator=torch.Generator().manual_seed(seed)) < 0.5
    present[0] = True
    distance = 1 - (present.double().mean(dim=1)).sqrt()
    closeness = (-0.5 * (distance / kernel_width) ** 2).exp()
    share = closeness / closeness.sum()
    design = present.double() - share @ present.double()
    gram = design.T @ (closeness[:, None] * design) + ridge * torch.eye(len(elements), dtype=torch.float64)
    if ridge == 0 and int(torch.linalg.matrix_rank(gram, hermitian=True)) < len(elements):
        raise SettingError(
            f"{samples} samples do not determine the coefficients of {len(elements)} features; raise `samples` or "
            "`ridge`, or make the features larger with `size` or `groups`."
        )
    start = baseline_like(baseline, inputs)
    pinned = pin_target(forward, inputs, target, labels, batch_size)
    values = _coalition_values(forward, inputs, start, pinned, numbers, present, batch_size)
    centred = values - share @ values
    coefficients = torch.linalg.solve(gram, design.T @ (closeness[:, None] * centred))
    return Attribution(_on_elements(coefficients, numbers, elements, inputs), target, "lime")


@as_used
def kernel_shap(
    forward: Logits,
    inputs: Tensor,
    target: Target = "max_log_probability",
    labels: Tensor | None = None,
    *,
    groups: Tensor | None = None,
    size: int | None = None,
    baseline: Baseline = 0.0,
    samples: int = 2048,
    seed: int = 0,
    batch_size: int = 256,
) -> Attribution:
    """Estimate the Shapley value of each feature by a weighted least-squares fit [1]_.

    A feature's score is its mean contribution over all orders in which features can arrive, shared
    evenly by its elements. The scores of a row sum to f(x) − f(baseline) exactly: the fit is
    constrained to it. The class explained is the one predicted for the row as it is.

    Parameters
    ----------
    forward, inputs, target, labels, groups, size, baseline
        As for `lime`.
    samples : int
        Coalitions of features, beside none and all; the same for all rows. With 2ⁿ − 2 or more of
        them for n features, every coalition is asked once, and the values are the exact ones (up to
        11 features with the default). Otherwise the smallest and largest coalitions are all asked, as
        far as the number goes, and the others drawn in pairs of complements by the Shapley kernel.
    seed : int
        Draws the coalitions.
    batch_size : int
        Rows × coalitions per forward pass.

    Returns
    -------
    Attribution
        With `scores` of the shape of `inputs`, in units of the target.

    Raises
    ------
    KindError, ShapeError, TargetError
        If inputs, groups, baseline or target are not as above.
    SettingError
        If a setting is out of range, or there are fewer samples than two for each feature.

    References
    ----------
    .. [1] S. M. Lundberg, S.-I. Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017.

    Examples
    --------
    Neither element does anything without the other, so that they share:

    >>> product = lambda x: x.prod(dim=1, keepdim=True)
    >>> kernel_shap(product, torch.tensor([[2.0, 5.0]]), target=0).scores
    tensor([[5., 5.]])
    """
    check_inputs(inputs)
    check_counts(samples=samples, batch_size=batch_size)
    numbers, elements = numbered_groups(groups, inputs, size)
    present, weights = _shapley_coalitions(len(elements), samples, seed)
    start = baseline_like(baseline, inputs)
    pinned = pin_target(forward, inputs, target, labels, batch_size)
    # No feature and all of them come first: the constraint, not the fit, is held to them.
    ends = torch.tensor([[False], [True]]).expand(2, len(elements))
    values = _coalition_values(forward, inputs, start, pinned, numbers, torch.cat([ends, present]), batch_size)
    shapley = _constrained_fit(present.double(), weights, values[2:] - values[0], values[1] - values[0])
    return Attribution(_on_elements(shapley, numbers, elements, inputs), target, "kernel_shap")


def _constrained_fit(present: Tensor, weights: Tensor, values: Tensor, total: Tensor) -> Tensor:
    """Solve the weighted least squares whose coefficients sum to `total`, shape (rows,), for all rows."""
    # The last coefficient is the total less the others, which are then free.
    last = present[:, -1:]
    design = present[:, :-1] - last
    gram = design.T @ (weights[:, None] * design)
    free = torch.linalg.solve(gram, design.T @ (weights[:, None] * (values - last * total)))
    return torch.cat([free, (total - free.sum(dim=0))[None]])


def _shapley_coalitions(features: int, samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return coalitions, shape (coalitions, features), bool, and their weights, float64."""
    if samples < min(2 * features, 2**features - 2):
        raise SettingError(
            f"{features} features need at least {2 * features} samples: each alone, and each left out; got {samples}. "
            "Raise `samples`, or make the features larger with `size` or `groups`."
        )
    # A coalition of s features and its complement, together: the kernel's weight of all such pairs.
    sizes = list(range(1, features // 2 + 1))
    mass = {s: (1 if 2 * s == features else 2) / (s * (features - s)) for s in sizes}
    counts = {s: math.comb(features, s) * (1 if 2 * s == features else 2) for s in sizes}
    rows: list[Tensor] = []
    weights: list[Tensor] = []
    left = samples
    while sizes:
        s = sizes[0]
        # A size is asked in full where drawing would bring as many as there are. The first one always
        # is: it alone makes the fit solvable.
        if s > 1 and left * mass[s] / sum(mass[other] for other in sizes) < counts[s] * (1 - 1e-9):
            break
        sizes.pop(0)
        chosen = torch.tensor(list(combinations(range(features), s)))
        full = torch.zeros(len(chosen), features, dtype=torch.bool).scatter_(1, chosen, True)
        full = full if 2 * s == features else torch.cat([full, ~full])
        rows.append(full)
        weights.append(torch.full((len(full),), mass[s] / len(full), dtype=torch.float64))
        left -= counts[s]
    if sizes and left >= 2:
        generator = torch.Generator().manual_seed(seed)
        odds = torch.tensor([mass[s] for s in sizes], dtype=torch.float64)
        which = torch.multinomial(odds, left // 2, replacement=True, generator=generator)
        ranks = torch.rand(left // 2, features, generator=generator).argsort(dim=1).argsort(dim=1)
        drawn = ranks < torch.tensor(sizes)[which][:, None]
        rows += [drawn, ~drawn]
        weights.append(torch.full((2 * len(drawn),), float(odds.sum()) / (2 * len(drawn)), dtype=torch.float64))
    if not rows:
        return torch.zeros(0, features, dtype=torch.bool), torch.zeros(0, dtype=torch.float64)
    return torch.cat(rows), torch.cat(weights)


def _coalition_values(
    forward: Logits,
    inputs: Tensor,
    start: Tensor,
    pinned: PinnedTarget,
    numbers: Tensor,
    present: Tensor,
    batch_size: int,
) -> Tensor:
    """Ask the model about each row with each coalition; shape (coalitions, rows), float64, on the CPU."""
    values = torch.zeros(len(present), len(inputs), dtype=torch.float64)
    row_parts, coalition_parts = split_passes(len(inputs), len(present), batch_size)
    for part in coalition_parts:
        there = present[part].to(inputs.device)[:, numbers][:, None]
        for rows in row_parts:
            points = torch.where(there, inputs[rows], start[rows])
            values[part, rows] = values_at(forward, points, pinned, rows).cpu().double()
    return values


def _on_elements(coefficients: Tensor, numbers: Tensor, elements: Tensor, inputs: Tensor) -> Tensor:
    """Share the coefficient of each feature, shape (features, rows), by its elements."""
    return (coefficients.T.to(inputs) / elements)[:, numbers]

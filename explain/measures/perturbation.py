"""Deletion, insertion, AOPC: does the model answer to what the attribution calls relevant?"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..as_used import as_used
from ..attribution import Attribution, scores_of
from ..batch import Logits, check_float
from ..errors import KindError, SettingError, ShapeError
from ..methods.pinned import pin_target
from ..target import Target
from .fill import Filler, filled, filler_name
from .ranks import place_in_order
from .variants import predicted_probability, value_of, variant_values

__all__ = ["PerturbationCurve", "aopc", "deletion", "insertion"]


@dataclass(frozen=True, eq=False)
class PerturbationCurve:
    """What the model says of each row as its most relevant elements go, or come, first.

    Attributes
    ----------
    kind : {"deletion", "insertion"}
        Whether elements were removed from the input, or added to an empty one.
    filler : str
        What stood in for the elements that were away, in words.
    fractions : Tensor, shape (steps + 1,), float
        Share of the elements removed, or added, at each point: from 0 to 1.
    values : Tensor, shape (rows, steps + 1), float
        The value asked for at each point; NaN for a row whose scores put nothing in order.

    Examples
    --------
    >>> PerturbationCurve("deletion", "0.0", torch.tensor([0.0, 1.0]), torch.tensor([[0.9, 0.1]]))
    PerturbationCurve(deletion with 0.0, 1 row × 2 points)
    """

    kind: Literal["deletion", "insertion"]
    filler: str
    fractions: Tensor
    values: Tensor

    @property
    def area(self) -> Tensor:
        """Area under the curve by trapezoids, shape (rows,), in units of the values.

        Deletion: low is good. Insertion: high is good.
        """
        return torch.trapezoid(self.values, self.fractions, dim=1)

    def __repr__(self) -> str:
        rows, points = self.values.shape
        return f"PerturbationCurve({self.kind} with {self.filler}, {rows} row{'s' * (rows != 1)} × {points} points)"


@as_used
def deletion(
    forward: Logits,
    inputs: Tensor,
    scores: Tensor | Attribution,
    *,
    filler: Filler,
    steps: int = 20,
    target: Target | None = None,
    labels: Tensor | None = None,
    channel_axis: int = 1,
    batch_size: int = 512,
) -> PerturbationCurve:
    """Remove the most relevant elements first and watch the model's answer.

    If the attribution is right about the model, the answer falls early [1]_, [2]_.

    Parameters
    ----------
    forward : Forward, module or function
        Model inputs to logits; asked in evaluation mode, and left as found.
    inputs : Tensor, shape (batch, *event), float
        Model inputs. With three axes or more, whole places go at once (a pixel in all its
        channels, a token with all its features), else single elements.
    scores : Attribution or Tensor, shape (batch, *event), or with 1 in place of the channels, or without them, float
        Signed attribution scores, summed over the channels; the largest go first, and of equals the
        first in memory order. To rank by size, as for a plain gradient, give ``attribution.scores.abs()``.
    filler : float, str or Tensor
        What stands in for a removed element: a number, ``mean``, ``blur``, or a tensor; see
        `filled`. It has no default because figures with different fillers cannot be compared.
    steps : int
        The places are removed in that many equal steps (up to rounding), the last of which leaves none.
    target : str, int, callable or None
        What is watched, see `target_values`. None: the probability of the class that is predicted
        for the unperturbed input. ``max_logit`` and ``max_log_probability`` mean that class too,
        at every step; see `pin_target`.
    labels : Tensor or None, shape (batch,), int64
        For targets that need them.
    channel_axis : int
        Axis of the channels: 1 for images and signals, -1 for embedded tokens. Vectors, shape
        (batch, features), have none.
    batch_size : int
        Perturbed rows per forward pass.

    Returns
    -------
    PerturbationCurve
        Rows whose scores are not finite, or all equal, are NaN: they name no order.

    Raises
    ------
    KindError
        If inputs or scores are not floating point.
    ShapeError
        If scores, labels or a filler do not fit the inputs.
    SettingError
        If there is no such filler, or the number of steps is not in [1, places].
    TargetError
        See `target_values`.

    Notes
    -----
    A perturbed input is none that the model was trained on: part of every drop is surprise, and a
    filler that resembles the background (zero, on black) removes nothing there. Compare methods,
    not models, by these curves, and with the same filler.

    References
    ----------
    .. [1] W. Samek et al., "Evaluating the Visualization of What a Deep Neural Network Has Learned",
       IEEE Transactions on Neural Networks and Learning Systems 28, 2017.
    .. [2] V. Petsiuk, A. Das, K. Saenko, "RISE: Randomized Input Sampling for Explanation of
       Black-box Models", BMVC 2018.

    Examples
    --------
    A model that reads the first of two elements, and a map that knows it:

    >>> reads_first = lambda x: torch.stack([x[:, 0], -x[:, 0]], dim=1)
    >>> x, scores = torch.tensor([[2.0, 5.0]]), torch.tensor([[1.0, 0.0]])
    >>> deletion(reads_first, x, scores, filler=0.0, steps=2).values
    tensor([[0.9820, 0.5000, 0.5000]])
    """
    return _curve("deletion", forward, inputs, scores, filler, steps, target, labels, channel_axis, batch_size)


@as_used
def insertion(
    forward: Logits,
    inputs: Tensor,
    scores: Tensor | Attribution,
    *,
    filler: Filler,
    steps: int = 20,
    target: Target | None = None,
    labels: Tensor | None = None,
    channel_axis: int = 1,
    batch_size: int = 512,
) -> PerturbationCurve:
    """Start from nothing but filler, add the most relevant elements first and watch the model's answer.

    If the attribution is right about the model, the answer rises early [1]_.

    Parameters
    ----------
    forward, inputs, scores, filler, steps, target, labels, channel_axis, batch_size
        As for `deletion`. With ``blur`` for a filler, the start has no edges that the model might
        take for something, which is why [1]_ inserts into a blurred image.

    Returns
    -------
    PerturbationCurve
        Its last point is the unperturbed input.

    Raises
    ------
    KindError, ShapeError, SettingError, TargetError
        As for `deletion`.

    References
    ----------
    .. [1] V. Petsiuk, A. Das, K. Saenko, "RISE: Randomized Input Sampling for Explanation of
       Black-box Models", BMVC 2018.

    Examples
    --------
    >>> reads_first = lambda x: torch.stack([x[:, 0], -x[:, 0]], dim=1)
    >>> x, scores = torch.tensor([[2.0, 5.0]]), torch.tensor([[1.0, 0.0]])
    >>> insertion(reads_first, x, scores, filler=0.0, steps=2).values
    tensor([[0.5000, 0.9820, 0.9820]])
    """
    return _curve("insertion", forward, inputs, scores, filler, steps, target, labels, channel_axis, batch_size)


def aopc(curve: PerturbationCurve) -> Tensor:
    """Average the drop over a deletion curve: the area over the perturbation curve.

    ``AOPC = 1 / (L + 1) Σ_k f(x⁽⁰⁾) − f(x⁽ᵏ⁾)`` over the points k = 0 … L [1]_.

    Parameters
    ----------
    curve : PerturbationCurve
        From `deletion`.

    Returns
    -------
    Tensor, shape (rows,), float
        In units of the values; high is good. NaN where the curve is.

    Raises
    ------
    SettingError
        If the curve is one of insertion.

    References
    ----------
    .. [1] W. Samek et al., "Evaluating the Visualization of What a Deep Neural Network Has Learned",
       IEEE Transactions on Neural Networks and Learning Systems 28, 2017.

    Examples
    --------
    >>> aopc(PerturbationCurve("deletion", "0.0", torch.tensor([0.0, 1.0]), torch.tensor([[0.75, 0.25]])))
    tensor([0.2500])
    """
    if curve.kind != "deletion":
        raise SettingError(f"AOPC is the mean drop along a deletion curve; got one of {curve.kind}. Use `deletion`.")
    return (curve.values[:, :1] - curve.values).mean(dim=1)


def _curve(
    kind: Literal["deletion", "insertion"],
    forward: Logits,
    inputs: Tensor,
    scores: Tensor | Attribution,
    filler: Filler,
    steps: int,
    target: Target | None,
    labels: Tensor | None,
    channel_axis: int,
    batch_size: int,
) -> PerturbationCurve:
    check_float(inputs)
    relevance = _by_place(scores_of(scores), inputs, channel_axis).to(inputs.device)
    empty = filled(inputs, filler, channel_axis)
    places, ordered = place_in_order(relevance.flatten(1))
    count = places.shape[1]
    if not 1 <= steps <= count:
        raise SettingError(f"`steps` must lie in [1, {count}], the number of places of a row; got {steps}.")
    # Rounded half up, in whole numbers: the step at which a place goes must not depend on the machine.
    touched = (2 * torch.arange(steps + 1) * count + steps) // (2 * steps)
    turn = places.reshape(relevance.shape)
    if inputs.ndim > 2:
        turn = turn.unsqueeze(channel_axis)
    before, after = (inputs, empty) if kind == "deletion" else (empty, inputs)

    def vary(rows: Tensor, points: Tensor) -> Tensor:
        limit = touched[points].reshape(-1, *[1] * (inputs.ndim - 1)).to(inputs.device)
        rows = rows.to(inputs.device)
        return torch.where(turn[rows] < limit, after[rows], before[rows])

    if target is None:
        _, value = predicted_probability(forward, inputs, batch_size)
    else:
        pinned = pin_target(forward, inputs, target, labels, batch_size)
        value = value_of(pinned.target, pinned.labels, len(inputs))
    values = variant_values(forward, len(inputs), steps + 1, vary, value, batch_size=batch_size)
    values = values.where(ordered.to(values.device)[:, None], torch.nan)
    return PerturbationCurve(kind, filler_name(filler), (touched / count).to(values), values)


def _by_place(scores: Tensor, inputs: Tensor, channel_axis: int) -> Tensor:
    """Sum scores over the channels, if there are any; shape (batch, *event without channels)."""
    if not scores.is_floating_point():
        raise KindError(f"`scores` must be floating point; got {scores.dtype}.")
    full = list(inputs.shape)
    if len(full) < 2 or 0 in full[1:]:
        raise ShapeError(
            f"`inputs` must have shape (batch, *event), with at least one element a row; got {tuple(full)}."
        )
    fitting = [full]
    if len(full) > 2:
        if channel_axis % len(full) == 0 or not -len(full) <= channel_axis < len(full):
            raise SettingError(
                f"`channel_axis` must be an axis of the inputs, shape {tuple(full)}, other than the batch's; "
                f"got {channel_axis}."
            )
        axis = channel_axis % len(full)
        fitting += [[*full[:axis], 1, *full[axis + 1 :]], [*full[:axis], *full[axis + 1 :]]]
        if list(scores.shape) in fitting[:2]:
            return scores.sum(dim=axis)
    if list(scores.shape) == fitting[-1]:
        return scores
    expected = " or ".join(str(tuple(shape)) for shape in fitting)
    raise ShapeError(f"`scores` must have the shape of the inputs, {expected}; got {tuple(scores.shape)}.")

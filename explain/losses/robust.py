"""Robust training on the marked elements: the task loss where only they have changed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..batch import Batch, Logits, Rationale
from ..errors import KindError, SettingError
from ..intervals import interval_bounds, marked_box
from ..layers import module_of
from ..masks import expand_mask
from ..methods.gradients import gradient_of
from ..target import check_logits, target_values
from .contract import RationaleLoss, Weight

__all__ = ["AdversarialRobust", "AverageRobust", "IntervalRobust"]

Clip = tuple[float, float] | None
SOURCE = "Heo, Piratla, Wicker, Weller 2023"


@dataclass(frozen=True)
class AverageRobust(RationaleLoss):
    """Be right with noise on what must not matter ("Avg-Ex").

    For each row, the cross-entropy of the label at ``x + m ⊙ ξ``, m the elements marked irrelevant
    and ξ drawn anew at each call [1]_.

    Attributes
    ----------
    weight : float or "auto"
        Factor of the penalty, for a mean over annotated rows; 1 counts it as much as the task loss.
    epsilon : float
        Size of the noise in the unit of the inputs: standard deviation if gaussian, half-width if
        uniform. What is marked should drown in it: the whole range of the inputs, 1 if they lie in [0, 1].
    noise : {"gaussian", "uniform"}
        How ξ is distributed, each element by itself. Drawn from torch's global generator.
    clip : tuple of two floats or None
        Range of valid inputs, to which noisy elements are cut; ``(0, 1)`` for pixels in [0, 1].
        None, the default, cuts nothing, because normalised inputs have another range.

    Raises
    ------
    SettingError
        If `weight` or `epsilon` is negative or not finite, there is no such noise, or `clip` is not
        an ascending pair.

    Notes
    -----
    Needs a mask of what is irrelevant, and labels that can be trusted. A cross-entropy is never
    zero: the penalty stays above zero for a perfect model. Tokens have no noise: not for integer inputs.

    References
    ----------
    .. [1] J. Heo, V. Piratla, M. Wicker, A. Weller, "Use Perturbations when Learning from
       Explanations", NeurIPS 2023.

    Examples
    --------
    A model that reads only its second feature, once with noise there and once not:

    >>> batch = Batch(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.tensor([0, 0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[True, False], [False, True]]))
    >>> _ = torch.manual_seed(0)
    >>> AverageRobust(noise="uniform", epsilon=0.5)(lambda x: x * torch.tensor([0.0, 1.0]), batch, marks).detach()
    tensor([2.1269, 1.8106])
    """

    weight: Weight = 1.0
    epsilon: float = 1.0
    noise: str = "gaussian"
    clip: Clip = None

    passes: ClassVar[str] = "1 F + 1 B on annotated rows"
    source: ClassVar[str] = SOURCE

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_region(self.epsilon, self.clip)
        if self.noise not in ("uniform", "gaussian"):
            raise SettingError(f"`noise` must be 'uniform' or 'gaussian'; got {self.noise!r}.")

    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Compute the cross-entropy of each row under noise; see the class."""
        assert rationale.irrelevant is not None
        inputs = batch.inputs
        mask = expand_mask(rationale.irrelevant, inputs)
        if self.noise == "uniform":
            noise = self.epsilon * (2 * torch.rand_like(inputs) - 1)
        else:
            noise = self.epsilon * _normal_like(inputs)
        # The box around all that the noise may reach, so that both cut alike.
        lower, upper = marked_box(inputs, mask, math.inf, self.clip)
        return cross_entropy(forward(torch.where(mask, inputs + noise, inputs).clamp(lower, upper)), batch.labels)


@dataclass(frozen=True)
class AdversarialRobust(RationaleLoss):
    """Be right with the worst change found of what must not matter ("PGD-Ex").

    For each row, the cross-entropy of the label at the end of K steps of projected gradient ascent
    on the marked elements, each of `step` times the gradient's sign, within ``x ± εm`` [1]_.

    Attributes
    ----------
    weight : float or "auto"
        Factor of the penalty, for a mean over annotated rows; 1 counts it as much as the task loss.
    epsilon : float
        How far a marked element may move, in the unit of the inputs; half the range of inputs in
        [0, 1] is a good start.
    steps : int
        K.
    step : float or None
        Length of a step; None for ``2.5 ε / K``, which can cross the box.
    random_start : bool
        Whether to start anywhere in the box, drawn from torch's global generator, or at x.
    clip : tuple of two floats or None
        Range of valid inputs; see `AverageRobust`.

    Raises
    ------
    SettingError
        If `weight`, `epsilon` or `step` is negative or not finite, `steps` is below one, or `clip`
        is not an ascending pair.
    GraphError
        When called, if the logits do not depend on the inputs through autograd.

    Notes
    -----
    Needs a mask of what is irrelevant, and labels that can be trusted. The attack itself is not
    differentiated. What it does not find is not bounded: `IntervalRobust` is. Not for integer inputs.

    References
    ----------
    .. [1] J. Heo, V. Piratla, M. Wicker, A. Weller, "Use Perturbations when Learning from
       Explanations", NeurIPS 2023.

    Examples
    --------
    A model that reads only its second feature, which may rise by a half in the second row:

    >>> batch = Batch(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.tensor([0, 0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[True, False], [False, True]]))
    >>> loss = AdversarialRobust(epsilon=0.5, random_start=False)
    >>> loss(lambda x: x * torch.tensor([0.0, 1.0]), batch, marks).detach()
    tensor([2.1269, 2.5789])
    """

    weight: Weight = 1.0
    epsilon: float = 0.5
    steps: int = 5
    step: float | None = None
    random_start: bool = True
    clip: Clip = None

    passes: ClassVar[str] = "(steps + 1) × (1 F + 1 B) on annotated rows; the steps' B without weights"
    source: ClassVar[str] = SOURCE

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_region(self.epsilon, self.clip)
        if self.steps < 1:
            raise SettingError(f"`steps` must be at least 1; got {self.steps}. `AverageRobust` takes none.")
        if self.step is not None and not 0 <= self.step < math.inf:
            raise SettingError(f"`step` must be finite and not negative, or None; got {self.step}.")

    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Compute the cross-entropy of each row under attack; see the class."""
        assert rationale.irrelevant is not None
        lower, upper = marked_box(
            batch.inputs, expand_mask(rationale.irrelevant, batch.inputs), self.epsilon, self.clip
        )
        length = 2.5 * self.epsilon / self.steps if self.step is None else self.step
        worst = torch.lerp(lower, upper, torch.rand_like(lower)) if self.random_start else batch.inputs
        for _ in range(self.steps):
            worst = worst.detach().requires_grad_()
            gradient = gradient_of(cross_entropy(forward(worst.clone()), batch.labels), worst, create_graph=False)
            # Clamped to the box, where elements without a mark have no room.
            worst = (worst.detach() + length * gradient.sign()).clamp(lower, upper)
        return cross_entropy(forward(worst.detach()), batch.labels)


@dataclass(frozen=True)
class IntervalRobust(RationaleLoss):
    """Be right whatever happens to what must not matter, provably ("IBP-Ex").

    For each row, the cross-entropy of the label at the worst logits that interval bound propagation
    leaves possible over ``x ± εm``: the lower bound for the label and the upper ones for all other
    classes [1]_. It bounds the task loss from above over the whole box.

    Attributes
    ----------
    weight : float or "auto"
        Factor of the penalty, for a mean over annotated rows; 1 counts it as much as the task loss.
    epsilon : float
        How far a marked element may move, in the unit of the inputs. The bounds widen with it and
        with depth; where they say nothing any more, train with a smaller one first.
    clip : tuple of two floats or None
        Range of valid inputs; see `AverageRobust`.

    Raises
    ------
    SettingError
        If `weight` or `epsilon` is negative or not finite, or `clip` is not an ascending pair.
    LayerError
        When called, if the module has a layer without a rule; see `interval_bounds`.
    KindError
        When called, if the model is a bare function.

    Notes
    -----
    Needs a mask of what is irrelevant, labels that can be trusted, and a module of the layers that
    `interval_bounds` knows. Not for transformers, nor for integer inputs. Normalised inputs: give
    `clip` and `epsilon` in their unit.

    References
    ----------
    .. [1] J. Heo, V. Piratla, M. Wicker, A. Weller, "Use Perturbations when Learning from
       Explanations", NeurIPS 2023.

    Examples
    --------
    >>> net = nn.Linear(2, 2, bias=False)
    >>> _ = net.weight.data.copy_(torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
    >>> batch = Batch(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.tensor([0, 0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[True, False], [False, True]]))
    >>> IntervalRobust(epsilon=0.5)(net, batch, marks).detach()
    tensor([2.1269, 2.5789])
    """

    weight: Weight = 1.0
    epsilon: float = 0.5
    clip: Clip = None

    passes: ClassVar[str] = "2 F + 2 B on annotated rows"
    source: ClassVar[str] = SOURCE

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_region(self.epsilon, self.clip)

    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Compute the cross-entropy of each row's worst logits; see the class."""
        assert rationale.irrelevant is not None
        mask = expand_mask(rationale.irrelevant, batch.inputs)
        lower, upper = interval_bounds(
            module_with_rules(forward), *marked_box(batch.inputs, mask, self.epsilon, self.clip)
        )
        check_logits(lower, softmax=True)
        label = torch.arange(lower.shape[1], device=lower.device) == batch.labels[:, None]
        return cross_entropy(torch.where(label, lower, upper), batch.labels)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute the task loss of each row, in nats; labels that are no classes are refused, not left out."""
    return target_values(logits, "cross_entropy", labels)


def _normal_like(inputs: Tensor) -> Tensor:
    """Draw normal numbers of the shape of the inputs, those of a row the same whatever rows follow it.

    torch fills memory in blocks of 16 numbers, and the last block anew where it is not full: each row
    draws full ones, and leaves what it does not need.
    """
    elements = inputs[0].numel()
    drawn = torch.randn(len(inputs), -(-elements // 16) * 16, dtype=inputs.dtype, device=inputs.device)
    return drawn[:, :elements].reshape(inputs.shape)


def checked_region(epsilon: float, clip: Clip) -> None:
    """Raise SettingError unless these can bound a region."""
    if not 0 <= epsilon < math.inf:
        raise SettingError(f"`epsilon` must be finite and not negative; got {epsilon}.")
    if clip is not None and not (len(clip) == 2 and clip[0] < clip[1]):
        raise SettingError(f"`clip` must be None or (lowest, highest) valid input; got {clip}.")


def module_with_rules(forward: Logits) -> nn.Module:
    """Return the module whose layers can be walked by rules."""
    module = module_of(forward)
    if module is None:
        raise KindError(
            f"Bounds are propagated layer by layer through a module; got {type(forward).__name__}. "
            "Pass the module itself, or use `AdversarialRobust`, which takes any function."
        )
    return module

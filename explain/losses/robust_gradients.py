"""Right reasons in a neighbourhood: the input gradient kept small, or steady, around each example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..batch import Batch, Logits, Rationale
from ..errors import SettingError
from ..gradient_bounds import gradient_bounds
from ..intervals import marked_box
from ..masks import expand_mask
from ..methods.gradients import gradient_of
from .contract import RationaleLoss, Weight
from .robust import Clip, checked_region, cross_entropy, module_with_rules

__all__ = ["RobustRightReasons", "SampledRightReasons"]


@dataclass(frozen=True)
class RobustRightReasons(RationaleLoss):
    """Keep the gradient small where the input must not matter, provably around each example ("R4").

    For each row, ``mean_d m_d (|L_d| + |U_d|)``: L and U are bounds, by interval propagation, of the
    gradient of the cross-entropy itself (not of its difference to the one at x), over all inputs
    within ``x ± εm`` [1]_. So the penalty vanishes only if no input in the box has any gradient on
    the mark, and then the loss is the same all over the box. The mean runs over all elements of the
    input, marked or not.

    Attributes
    ----------
    weight : float or "auto"
        Factor of the penalty, for a mean over annotated rows. From 10 to 100 a net fooled by a swatch
        on digits learnt about as much; `epsilon` mattered more.
    epsilon : float
        How far a marked element may move, in the unit of the inputs; half the range of inputs in
        [0, 1] is a good start. At 0 the penalty is twice the
        mean magnitude of the gradient on the mark.
    clip : tuple of two floats or None
        Range of valid inputs; see `AverageRobust`.

    Raises
    ------
    SettingError
        If `weight` or `epsilon` is negative or not finite, or `clip` is not an ascending pair.
    LayerError
        When called, if the module has a layer without a rule; see `gradient_bounds`.
    KindError
        When called, if the model is a bare function.

    Notes
    -----
    Needs a mask of what is irrelevant, labels, and a module of the layers that `gradient_bounds`
    knows: not for transformers, nor for integer inputs. Magnitudes, and the bounds of ReLUs, have
    kinks. Unlike the gradient itself, the bounds of a ReLU net have a useful derivative: they grow
    with every path from the mark to the loss.

    References
    ----------
    .. [1] M. Ghitu, V. Piratla, M. Wicker, "Model Guidance via Robust Feature Attribution", TMLR 2025.

    Examples
    --------
    A model that reads only its second feature, so that only a mark there costs anything:

    >>> net = torch.nn.Linear(2, 2, bias=False)
    >>> _ = net.weight.data.copy_(torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
    >>> batch = Batch(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.tensor([0, 0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[True, False], [False, True]]))
    >>> RobustRightReasons(weight=1.0)(net, batch, marks).detach()
    tensor([0.0000, 0.8709])
    """

    weight: Weight = 10.0
    epsilon: float = 0.5
    clip: Clip = None

    passes: ClassVar[str] = (
        "2 F + 2 B by intervals, differentiated again, on annotated rows: about 6–10 × a plain step in all"
    )
    source: ClassVar[str] = "Ghitu, Piratla, Wicker 2025"

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_region(self.epsilon, self.clip)

    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Compute the size of the gradient's bounds on the mark; see the class."""
        assert rationale.irrelevant is not None
        mask = expand_mask(rationale.irrelevant, batch.inputs)
        box = marked_box(batch.inputs, mask, self.epsilon, self.clip)
        lower, upper = gradient_bounds(module_with_rules(forward), *box, batch.labels)
        return torch.where(mask, lower.abs() + upper.abs(), 0.0).flatten(1).mean(dim=1)


@dataclass(frozen=True)
class SampledRightReasons(RationaleLoss):
    """Keep the gradient steady around each example where the input must not matter ("Rand-R4").

    For each row, ``mean_d m_d max_s |∇ₓCE(x + δ_s) − ∇ₓCE(x)|_d`` over S samples δ, drawn uniformly
    within ``± εm`` at each call [1]_: the change of the gradient, not its size, is bounded from
    below. Add the size: ``RightReasons() + SampledRightReasons()``. The mean runs over all elements
    of the input, marked or not.

    Attributes
    ----------
    weight : float or "auto"
        Factor of the penalty, for a mean over annotated rows.
    epsilon : float
        How far a marked element may move, in the unit of the inputs.
    samples : int
        S.
    clip : tuple of two floats or None
        Range of valid inputs; see `AverageRobust`.

    Raises
    ------
    SettingError
        If `weight` or `epsilon` is negative or not finite, `samples` is below one, or `clip` is not
        an ascending pair.
    GraphError
        When called, if the logits do not depend on the inputs through autograd.

    Notes
    -----
    Needs a mask of what is irrelevant, and labels; takes any model that can be differentiated twice.
    Each sample is a pass over the annotated rows of its own, but all their graphs are kept until the
    backward pass: memory grows with `samples`. A model that is linear within the box has a
    gradient that hardly changes, however large it is. Not for integer inputs.

    References
    ----------
    .. [1] M. Ghitu, V. Piratla, M. Wicker, "Model Guidance via Robust Feature Attribution", TMLR 2025.

    Examples
    --------
    >>> batch = Batch(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.tensor([0, 0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[True, False], [False, True]]))
    >>> _ = torch.manual_seed(0)
    >>> penalty = SampledRightReasons()(lambda x: x * torch.tensor([0.0, 1.0]), batch, marks)
    >>> penalty[0].item(), penalty[1].item() > 0
    (0.0, True)
    """

    weight: Weight = 10.0
    epsilon: float = 0.5
    samples: int = 3
    clip: Clip = None

    passes: ClassVar[str] = "(samples + 1) × (1 F + 1 B differentiated again), on annotated rows"
    source: ClassVar[str] = "Ghitu, Piratla, Wicker 2025"

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_region(self.epsilon, self.clip)
        if self.samples < 1:
            raise SettingError(f"`samples` must be at least 1; got {self.samples}.")

    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Compute the greatest change of the gradient on the mark; see the class."""
        assert rationale.irrelevant is not None
        inputs = batch.inputs
        mask = expand_mask(rationale.irrelevant, inputs)
        lower, upper = marked_box(inputs, mask, self.epsilon, self.clip)
        # One draw for all samples, rows first, so that a row's samples do not depend on the rows after it.
        shares = torch.rand(len(inputs), self.samples, *inputs.shape[1:], dtype=inputs.dtype, device=inputs.device)

        def gradient_at(points: Tensor) -> Tensor:
            points = points.detach().requires_grad_()
            # A copy: what a model does first may be in place, which no leaf allows.
            return gradient_of(cross_entropy(forward(points.clone()), batch.labels), points, create_graph=True)

        middle = gradient_at(inputs)
        greatest = torch.zeros_like(inputs)
        for sample in range(self.samples):
            change = gradient_at(torch.lerp(lower, upper, shares[:, sample])) - middle
            greatest = torch.maximum(greatest, change.abs())
        return torch.where(mask, greatest, 0.0).flatten(1).mean(dim=1)

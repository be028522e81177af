"""A prior on expected gradients: attributions that compare an input with what it could have been."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from ..batch import Batch, Logits, Rationale
from ..errors import KindError, SettingError, ShapeError
from ..masks import expand_mask
from ..methods.gradients import gradient_of
from ..target import Target, target_values
from .contract import RationaleLoss, Weight

__all__ = ["ExpectedGradientPrior"]

NORMS = ("l2", "l1")


@dataclass(frozen=True)
class ExpectedGradientPrior(RationaleLoss):
    """Keep expected gradients small where the input must not matter: an attribution prior.

    For each row, ``weight · Σ_d (m_d φ_d)²`` with m the elements marked irrelevant and φ the expected
    gradients of [1]_, ``φ = E[(x − x') ⊙ ∂t/∂x (x' + α(x − x'))]`` over references x' and α uniform in
    [0, 1), estimated anew at each step from few draws. Over all elements φ sums to t(x) − E t(x'): it
    says what an element contributes, where a gradient says what a small change of it would.

    Attributes
    ----------
    weight : float or "auto"
        Factor of the penalty, for a mean over annotated rows. φ is in the unit of the target
        whatever the unit of the inputs, so that one factor fits any scale. On decoy digits 10 did
        better than 1, and 100 as well as 10.
    target : str, int or callable
        The scalar that is attributed; see `target_values`. By default the log-probability of the
        label, which no shift of all logits changes, rather than its logit.
    samples : int
        Draws of (x', α) per row and step. One is enough for training in [1]_: the noise averages
        out over steps.
    norm : {"l2", "l1"}
        Sum of squares, or of magnitudes.
    references : Tensor or None, shape (references, *event), float
        What inputs could have been, such as the training inputs or a few hundred of them. None
        stands for one reference of zeros, which sees nothing where an input is zero itself, and did
        less well on decoy digits.

    Raises
    ------
    SettingError
        If there is no such norm, less than one sample or one reference, or the weight is negative or
        not finite.
    KindError
        If the references are not floating point.

    Notes
    -----
    Needs a mask of what is irrelevant. Rows never serve as each other's references, and the draws are
    made on the CPU from torch's global generator, so that they are the same on every device.
    References from the same confounded data can carry the same confounder: where x and x' agree in a
    mark, φ is zero there, so that background data with the mark absent or different teach more.
    With the squared norm the mean over draws of φ² lies above the square of the mean φ: the
    penalty also holds the variance of the estimate down.

    References
    ----------
    .. [1] G. Erion, J. D. Janizek, P. Sturmfels, S. M. Lundberg, S.-I. Lee, "Improving performance of
       deep learning models with axiomatic attribution priors and expected gradients", Nature
       Machine Intelligence 3, 2021.

    Examples
    --------
    A linear logit, 3·x₀ + x₁, against zeros; the mark lies on x₀, then on x₁:

    >>> batch = Batch(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.tensor([0, 0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[True, False], [False, True]]))
    >>> prior = ExpectedGradientPrior(weight=1.0, target=0)
    >>> prior(lambda x: x @ torch.tensor([[3.0], [1.0]]), batch, marks).detach()
    tensor([9., 4.])
    """

    weight: Weight = 10.0
    target: Target = "label_log_probability"
    samples: int = 1
    norm: str = "l2"
    references: Tensor | None = field(default=None, compare=False, repr=False)

    passes: ClassVar[str] = "1 F + 1 B differentiated again per sample, on annotated rows"
    source: ClassVar[str] = "Erion, Janizek, Sturmfels, Lundberg, Lee 2021"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.norm not in NORMS:
            raise SettingError(f"`norm` must be one of {', '.join(NORMS)}; got {self.norm!r}.")
        if self.samples < 1:
            raise SettingError(f"`samples` must be at least 1; got {self.samples}.")
        if self.references is None:
            return
        if not self.references.is_floating_point():
            raise KindError(f"`references` must be floating point, as the inputs are; got {self.references.dtype}.")
        if self.references.ndim < 2 or len(self.references) == 0:
            raise SettingError(
                "`references` must have shape (references, *event) with at least one; "
                f"got {tuple(self.references.shape)}."
            )

    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Sum the squares, or magnitudes, of the expected gradients over what is marked irrelevant.

        Raises
        ------
        ShapeError
            If the mask or the references do not fit the inputs.
        GraphError
            If the logits do not depend on the inputs through autograd.
        """
        assert rationale.irrelevant is not None
        inputs = batch.inputs
        mask = expand_mask(rationale.irrelevant, inputs)
        rows, event = len(batch), inputs.shape[1:]
        # One tensor of draws with the rows first: a row gets the same ones in any batch that starts alike.
        draws = torch.rand(rows, self.samples, 2, dtype=torch.float64)
        references = self._references(inputs, draws[..., 0])
        alpha = draws[..., 1].to(inputs).reshape(rows, self.samples, *[1] * len(event))
        difference = inputs[:, None] - references
        points = (references + alpha * difference).flatten(0, 1).requires_grad_()
        values = target_values(forward(points.clone()), self.target, batch.labels.repeat_interleave(self.samples))
        slopes = gradient_of(values, points, create_graph=True)
        expected = (difference * slopes.reshape(difference.shape)).mean(dim=1)
        blamed = torch.where(mask, expected, 0.0).flatten(1)
        return blamed.square().sum(dim=1) if self.norm == "l2" else blamed.abs().sum(dim=1)

    def _references(self, inputs: Tensor, uniform: Tensor) -> Tensor:
        """Choose a reference for each row and sample by a number in [0, 1); shape (rows, samples, *event)."""
        if self.references is None:
            return inputs.new_zeros(*uniform.shape, *inputs.shape[1:])
        if self.references.shape[1:] != inputs.shape[1:]:
            raise ShapeError(
                f"`references` must have rows of the shape of the inputs, {tuple(inputs.shape[1:])}; "
                f"got {tuple(self.references.shape[1:])}."
            )
        chosen = (uniform * len(self.references)).long()
        # Detached and moved after the choice: background data may be large and lie elsewhere.
        return self.references.detach()[chosen.to(self.references.device)].to(inputs)

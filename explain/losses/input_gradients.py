"""Penalties on the gradient of an output with respect to the inputs, or to a layer."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..batch import Batch, Logits, Rationale
from ..errors import SettingError
from ..masks import expand_mask, mask_on_layer
from ..methods.gradients import gradient_of
from ..scaling import by_largest
from ..target import Target, target_values
from .contract import RationaleLoss, Weight
from .sharing import ask

__all__ = ["RightReasons"]

NORMS = ("l2", "l1", "cosine")


@dataclass(frozen=True)
class RightReasons(RationaleLoss):
    """Keep the gradient small where the input must not matter ("RRR").

    For each row, ``weight · Σ_d (m_d ∂t/∂x_d)²`` with m the elements marked irrelevant and t the
    target: the "right reasons" term of [1]_, whose target is the sum of the log-probabilities. At a
    named layer, x is its activation and m is laid on its grid, with class weights as in [2]_.

    Attributes
    ----------
    weight : float or "auto"
        Factor of the penalty, for a mean over annotated rows and inputs in [0, 1]. The 1000 of
        [1]_, there for inputs in 0..255, is 1000 / 255² = 0.0154 here. "auto" makes the penalty as
        large as the task loss, which is a good start once the model is neither fresh (the sum of the
        log-probabilities has no gradient where all are alike) nor has hardly any task loss; see `balanced`.
    target : str, int or callable
        The scalar whose gradient is penalised; see `target_values`.
    norm : {"l2", "l1", "cosine"}
        Sum of squares, sum of absolute values, or the cosine between the gradient's magnitude and
        the mask, which a model cannot lower by merely making all gradients smaller.
    layer : str or None
        Layer whose activation takes the place of the inputs.
    class_weights : tuple of float or None
        Factor for the rows of each class.

    Raises
    ------
    SettingError
        If the weight is negative or not finite, or there is no such norm.

    Notes
    -----
    The penalty takes a second derivative, over the annotated rows only, and a forward pass of its own
    unless it shares that of the task loss; see `shared_pass`. Networks of ReLU have no second
    derivative through their kinks. Zero does not prove that the mark is ignored: with two classes it
    is also reached at p = 0.5.

    References
    ----------
    .. [1] A. S. Ross, M. C. Hughes, F. Doshi-Velez, "Right for the Right Reasons: Training
       Differentiable Models by Constraining their Explanations", IJCAI 2017.
    .. [2] P. Schramowski et al., "Making deep neural networks right for the right scientific
       reasons by interacting with their explanations", Nature Machine Intelligence 2, 2020.

    Examples
    --------
    A model that reads only the first of its two features, once blamed and once not:

    >>> batch = Batch(torch.tensor([[1.0, 7.0], [1.0, 7.0]]), torch.tensor([0, 0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[True, False], [False, True]]))
    >>> RightReasons(weight=1.0)(lambda x: x * torch.tensor([1.0, 0.0]), batch, marks).detach()
    tensor([0.2136, 0.0000])
    """

    weight: Weight = 0.0154
    target: Target = "log_probabilities"
    norm: str = "l2"
    layer: str | None = None
    class_weights: tuple[float, ...] | None = None

    passes: ClassVar[str] = "1 B differentiated again, and 1 F unless shared: about 2–3.5 × a plain step in all"
    source: ClassVar[str] = "Ross, Hughes, Doshi-Velez 2017; at a layer and with class weights Schramowski et al. 2020"
    shares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.norm not in NORMS:
            raise SettingError(f"`norm` must be one of {', '.join(NORMS)}; got {self.norm!r}.")

    @property
    def float_inputs(self) -> bool:  # type: ignore[override]
        """Whether the inputs themselves must carry a gradient: not where a layer does."""
        return self.layer is None

    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Sum the gradient's squares, or magnitudes, over what is marked irrelevant.

        Raises
        ------
        ShapeError
            If the mask does not fit the inputs or the layer.
        SettingError
            If there is not one class weight for each class.
        GraphError
            If the logits do not depend on the inputs or the layer through autograd.
        """
        assert rationale.irrelevant is not None
        inputs, logits, layers = ask(forward, batch, self.layer_names)
        if self.layer is None:
            place, mask = inputs, expand_mask(rationale.irrelevant, inputs)
        else:
            place = layers[self.layer]
            mask = mask_on_layer(rationale.irrelevant, place, inputs)
        mask = mask.flatten(1)
        gradient = gradient_of(target_values(logits, self.target, batch.labels), place, create_graph=True).flatten(1)
        if self.norm == "cosine":
            # No factor changes a cosine, and the squares of what a confident model has underflow.
            gradient = by_largest(gradient, differentiable=False)
        blamed = torch.where(mask, gradient, 0.0)
        if self.norm == "l2":
            size = blamed.square().sum(dim=1)
        elif self.norm == "l1":
            size = blamed.abs().sum(dim=1)
        else:
            # Below one only for a row whose gradient vanishes: there nothing is blamed.
            both = gradient.norm(dim=1) * mask.sum(dim=1).sqrt().to(gradient.dtype)
            size = blamed.abs().sum(dim=1) / both.clamp(min=0.5)
        if self.class_weights is None:
            return size
        if len(self.class_weights) != logits.shape[1]:
            raise SettingError(
                f"`class_weights` must hold one number for each of {logits.shape[1]} classes; "
                f"got {len(self.class_weights)}."
            )
        return size * size.new_tensor(self.class_weights)[batch.labels]

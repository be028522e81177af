"""Penalties on what a model makes of a concept: of a direction in one of its layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ..batch import Batch, Logits, Rationale
from ..concepts import Concept, features_last
from ..errors import SettingError, ShapeError
from ..methods.gradients import gradient_of
from ..scaling import by_largest
from ..target import Target, target_values
from .contract import RationaleLoss, Weight
from .sharing import ask

__all__ = ["RightReasonsConcept"]

NORMS = ("l1", "l2", "cosine")


@dataclass(frozen=True)
class RightReasonsConcept(RationaleLoss):
    """Keep the model's answer from changing along the direction of an artefact ("RR-ClArC").

    For each row, ``weight · mean_p |⟨∂t/∂a_p, v⟩|`` with a_p the features of a layer at place p, v the
    direction of the artefact and t the target [1]_. Where the layer has no places, the mean is over one.

    Attributes
    ----------
    weight : float or "auto"
        Factor of the penalty, for a mean over annotated rows. What it has to be depends on the scale of
        the activation and the number of places (a gradient at each of many places is small): take "auto".
    layer : str
        Layer whose features the direction is in; see `concept_direction`.
    direction : tuple of float
        v, of unit norm; `RightReasonsConcept.of` takes it from a `Concept`.
    target : str, int or callable
        The scalar whose gradient is penalised; see `target_values`. The logits with random signs keep
        all classes from reading the artefact, a class number one.
    norm : {"l1", "l2", "cosine"}
        Magnitude, its square, or the cosine between the gradient and the direction, which a model
        cannot lower by merely making all gradients smaller.
    feature_axis : int or None
        Axis of the features in the activation; see `features_last`.

    Raises
    ------
    SettingError
        If the weight is negative or not finite, there is no such norm, no layer is named, or the
        direction has not unit norm.

    Notes
    -----
    The irrelevant mask says only *which rows* are penalised, not where: the concept stands for the
    region. To follow the paper, which penalises every row, mark them all. Needs, beside, rows with and
    without the artefact, to find the direction. Costs a second derivative above the layer, and a
    forward pass unless it is shared. The paper trains what follows the layer and leaves the rest, which
    is a choice of the weights that the optimiser is given; below the layer, the direction would move
    away from its artefact.

    References
    ----------
    .. [1] M. Dreyer, F. Pahde, C. J. Anders, W. Samek, S. Lapuschkin, "From Hope to Safety: Unlearning
       Biases of Deep Models via Gradient Penalization in Latent Space", AAAI 2024.

    Examples
    --------
    A layer of two features, of which the model reads the second twice as much as the first:

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(2, 1))
    >>> net[1].weight.data = torch.tensor([[1.0, 2.0]])
    >>> loss = RightReasonsConcept(weight=1.0, layer="0", direction=(0.0, 1.0), target="max_logit")
    >>> marks = Rationale(irrelevant=torch.tensor([[True, False]]))
    >>> loss(net, Batch(torch.zeros(1, 2), torch.tensor([0])), marks).detach()
    tensor([2.])
    """

    weight: Weight = 1.0
    layer: str = ""
    direction: tuple[float, ...] = ()
    target: Target = "random_sign_logits"
    norm: str = "l1"
    feature_axis: int | None = None

    passes: ClassVar[str] = "1 B down to the layer, differentiated again, and 1 F unless shared"
    source: ClassVar[str] = "Dreyer, Pahde, Anders, Samek, Lapuschkin 2024"
    float_inputs: ClassVar[bool] = False
    shares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.norm not in NORMS:
            raise SettingError(f"`norm` must be one of {', '.join(NORMS)}; got {self.norm!r}.")
        if not self.layer:
            raise SettingError("`layer` must name the layer that the direction is in; got no name.")
        size = sum(value**2 for value in self.direction) ** 0.5
        # Wide enough for half precision.
        if not abs(size - 1) < 1e-2:
            raise SettingError(
                f"`direction` must have unit norm; got {len(self.direction)} numbers of norm {size:.4g}. "
                "`RightReasonsConcept.of(concept_direction(...))` takes it from examples."
            )

    @classmethod
    def of(cls, concept: Concept, weight: Weight = 1.0, **settings: Any) -> RightReasonsConcept:
        """Penalise a concept that was found by `concept_direction`.

        Parameters
        ----------
        concept : Concept
            Gives layer, direction and axis.
        weight : float or "auto"
            Factor of the penalty.
        **settings
            ``target``, ``norm``.

        Returns
        -------
        RightReasonsConcept

        Examples
        --------
        >>> import torch
        >>> concept = Concept("features", torch.tensor([0.0, 1.0]), torch.zeros(2))
        >>> RightReasonsConcept.of(concept, norm="l2").direction
        (0.0, 1.0)
        """
        direction = tuple(concept.direction.tolist())
        return cls(weight, concept.layer, direction, feature_axis=concept.feature_axis, **settings)

    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Measure the gradient's part along the direction, and average it over places.

        Raises
        ------
        ShapeError
            If the layer has another number of features than the direction.
        LayerError, KindError
            See `with_layers`.
        GraphError
            If the logits do not depend on the layer through autograd.
        """
        _, logits, layers = ask(forward, batch, self.layer_names)
        activation = layers[self.layer]
        values = target_values(logits, self.target, batch.labels)
        gradient = features_last(gradient_of(values, activation, create_graph=True), self.feature_axis)
        if gradient.shape[-1] != len(self.direction):
            raise ShapeError(
                f"Layer {self.layer!r} must have {len(self.direction)} features, as many as the direction has; "
                f"its activation has shape {tuple(activation.shape)}."
            )
        if self.norm == "cosine":
            # No factor changes a cosine, and the squares of small gradients vanish.
            gradient = by_largest(gradient.flatten(0, -2), differentiable=False).view_as(gradient)
        along = (gradient * gradient.new_tensor(self.direction)).sum(dim=-1).reshape(len(batch), -1)
        if self.norm == "l2":
            return along.square().mean(dim=1)
        if self.norm == "cosine":
            # The largest feature is one, unless all are zero: those have no part along anything, and no infinite slope.
            along = along / gradient.square().sum(dim=-1).clamp(min=0.5).sqrt().reshape(len(batch), -1)
        return along.abs().mean(dim=1)

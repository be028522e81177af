"""Penalties on influence: how the inputs steer what a training step does to the weights."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..batch import Batch, Logits, Rationale
from ..errors import GraphError, KindError
from ..layers import module_of
from ..masks import expand_mask
from ..methods.gradients import gradient_of
from ..target import target_values
from .contract import RationaleLoss, Weight

__all__ = ["RightForBetterReasons"]


@dataclass(frozen=True)
class RightForBetterReasons(RationaleLoss):
    """Keep the influence small that irrelevant inputs have on the weights ("RBR").

    For each row, ``weight · Σ_d (m_d h_d g_d)²`` with m the elements marked irrelevant, ``h = ∇ₓ Σ_θ ∂CE/∂θ``
    the change of the row's own weight gradient, summed over all trainable weights, with its inputs, and
    ``g = ∇ₓ Σ_k log p_k`` the gradient that `RightReasons` penalises. The first factor stands for the
    influence function of [1]_; the inverse of the loss's Hessian in the weights is left out.

    Attributes
    ----------
    weight : float or "auto"
        Factor of the penalty, for a mean over annotated rows and inputs in [0, 1]. The penalty is of
        fourth order in the unit of the inputs. On decoy digits any factor from 0.1 to 100 served an
        MLP, and 0.1 and 1 a small convolutional net. Of an untrained net it is next to nothing, so
        that "auto" finds a factor in the millions there: settle it on a model that was fooled.

    Raises
    ------
    SettingError
        If the weight is negative or not finite.

    Notes
    -----
    Needs a mask of what is irrelevant, and a module, whose weights are known. Training it takes a
    third derivative, at about twice the cost of `RightReasons`, and is less stable: the penalty is of
    fourth order in quantities that grow together. If steps jump, clip the gradient's norm or lower the
    weight. The weight gradients are summed with their signs, so that influences on different
    weights can cancel. Those on the last linear layer always do, for Σ_k ∂CE/∂logit_k = 0: of a linear
    model the penalty is zero, as it is where only the last layer trains. Networks of ReLU have neither
    second nor third derivatives through their kinks.

    References
    ----------
    .. [1] X. Shao, A. Skryagin, W. Stammer, P. Schramowski, K. Kersting, "Right for Better Reasons:
       Training Differentiable Models by Constraining their Influence Functions", AAAI 2021.

    Examples
    --------
    A model whose second input reaches no logit, blamed once for each:

    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))
    >>> _ = net[0].weight.detach()[:, 1].zero_()
    >>> batch = Batch(torch.tensor([[1.0, 7.0], [1.0, 7.0]]), torch.tensor([0, 0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[True, False], [False, True]]))
    >>> (RightForBetterReasons(weight=1.0)(net, batch, marks) > 0).tolist()
    [True, False]
    """

    weight: Weight = 1.0

    passes: ClassVar[str] = "1 F + 3 B, of which the last is differentiated again: about twice right reasons"
    source: ClassVar[str] = "Shao, Skryagin, Stammer, Schramowski, Kersting 2021"

    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Sum the squares of influence times gradient over what is marked irrelevant.

        Raises
        ------
        ShapeError
            If the mask does not fit the inputs.
        KindError
            If the model is a bare function, whose weights are not known.
        GraphError
            If no weight trains or reaches the logits, or the logits do not depend on the inputs.
        """
        assert rationale.irrelevant is not None
        module = module_of(forward)
        if module is None:
            raise KindError(
                "Influence on the weights needs a module, or a `Forward` with one as its `module`; "
                f"got {type(forward).__name__}. Pass the module itself."
            )
        # Asked anew at each call: the weights may have been swapped or frozen since.
        weights = [weight for weight in module.parameters() if weight.requires_grad]
        inputs = batch.inputs.requires_grad_()
        mask = expand_mask(rationale.irrelevant, inputs)
        logits = forward(inputs.clone())  # what a model does first may be in place, which no leaf allows
        slopes = gradient_of(target_values(logits, "log_probabilities"), inputs, create_graph=True)
        task = target_values(logits, "cross_entropy", batch.labels).sum()
        found = torch.autograd.grad(task, weights, create_graph=True, allow_unused=True) if weights else ()
        steps = [step.sum() for step in found if step is not None]
        if not steps:
            raise GraphError(
                "Some weights must train and reach the logits for there to be an influence on them; none do. "
                "Unfreeze weights with `requires_grad_()`."
            )
        # The cross-entropy of a row depends on the inputs of that row only, so that one pass over the
        # sum of all rows gives each row the change of its own weight gradient.
        (influence,) = torch.autograd.grad(torch.stack(steps).sum(), inputs, create_graph=True)
        return torch.where(mask, influence * slopes, 0.0).square().flatten(1).sum(dim=1)

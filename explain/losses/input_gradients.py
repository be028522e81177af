"""Penalties on the gradient of an output with respect to the inputs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..batch import Batch, Logits, Rationale, check_float
from ..errors import SettingError
from ..masks import expand_mask
from ..methods.gradients import gradient_of
from ..target import Target, target_values

__all__ = ["RightReasons"]

NORMS = ("l2", "l1")


@dataclass(frozen=True)
class RightReasons:
    """Keep the input gradient small where the input must not matter.

    For each row, ``weight · Σ_d (m_d ∂t/∂x_d)²`` with m the elements marked irrelevant and t the
    target: the "right reasons" term of [1]_, whose target is the sum of the log-probabilities.

    Attributes
    ----------
    weight : float
        Factor of the penalty, for a mean over annotated rows and inputs in [0, 1]. The 1000 of
        [1]_, there for inputs in 0..255, is 1000 / 255² = 0.0154 here. A good start makes the
        penalty about as large as the task loss.
    target : str, int or callable
        The scalar whose gradient is penalised; see `target_values`.
    norm : {"l2", "l1"}
        Sum of squares, or of absolute values.

    Raises
    ------
    SettingError
        If the weight is negative or not finite, or there is no such norm.

    Notes
    -----
    The penalty takes a forward pass of its own, over the annotated rows only, and a second
    derivative. Rows must not influence each other: put batch normalisation in evaluation mode.
    Networks of ReLU have no second derivative through their kinks, attention kernels that save
    memory have none at all. Zero does not prove that the mark is ignored: with two classes it is
    also reached at p = 0.5.

    References
    ----------
    .. [1] A. S. Ross, M. C. Hughes, F. Doshi-Velez, "Right for the Right Reasons: Training
       Differentiable Models by Constraining their Explanations", IJCAI 2017.

    Examples
    --------
    A model that reads only the first of its two features, once blamed and once not:

    >>> batch = Batch(torch.tensor([[1.0, 7.0], [1.0, 7.0]]), torch.tensor([0, 0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[True, False], [False, True]]))
    >>> RightReasons(weight=1.0)(lambda x: x * torch.tensor([1.0, 0.0]), batch, marks).detach()
    tensor([0.2136, 0.0000])
    """

    weight: float = 0.0154
    target: Target = "log_probabilities"
    norm: str = "l2"

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise SettingError(f"`weight` must be finite and not negative; got {self.weight}.")
        if self.norm not in NORMS:
            raise SettingError(f"`norm` must be one of {', '.join(NORMS)}; got {self.norm!r}.")

    def __call__(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Compute the weighted penalty of each row.

        Parameters
        ----------
        forward : Forward, module or function
            Model inputs to logits.
        batch : Batch
            Inputs, shape (batch, *event), and labels.
        rationale : Rationale
            Its `irrelevant` is used; rows without a mark cost nothing.

        Returns
        -------
        Tensor, shape (batch,), float
            In squared units of the target per input unit (``l2``), times the weight;
            differentiable in the weights of the model unless gradients are disabled.

        Raises
        ------
        KindError
            If the inputs are integers.
        ShapeError
            If the mask does not fit the inputs.
        GraphError
            If the logits do not depend on the inputs through autograd.
        """
        check_float(batch.inputs)
        trains = torch.is_grad_enabled()
        # A leaf of its own, so that a batch without any mark can still be differentiated.
        penalty = batch.inputs.new_zeros(len(batch), requires_grad=trains)
        if rationale.irrelevant is None:
            return penalty
        mask = expand_mask(rationale.irrelevant, batch.inputs)
        (rows,) = mask.flatten(1).any(dim=1).nonzero(as_tuple=True)
        if len(rows) == 0:
            return penalty
        with torch.enable_grad():
            inputs = batch.inputs.detach()[rows].requires_grad_()
            values = target_values(forward(inputs), self.target, batch.labels[rows])
            gradient = gradient_of(values, inputs, create_graph=trains)
        blamed = torch.where(mask[rows], gradient, 0.0).flatten(1)
        size = blamed.square() if self.norm == "l2" else blamed.abs()
        return penalty.index_put((rows,), self.weight * size.sum(dim=1).to(penalty.dtype))

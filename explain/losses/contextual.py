"""Penalties on what a marked part of the input brings to the logits, by contextual decomposition."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..batch import Batch, Logits, Rationale
from ..decomposition import contextual_decomposition
from ..errors import SettingError
from .contract import RationaleLoss, Weight

__all__ = ["ContextualDecomposition"]

FORMS = ("softmax", "l1")


@dataclass(frozen=True)
class ContextualDecomposition(RationaleLoss):
    """Keep small what irrelevant inputs bring to the logits ("CDEP").

    For each row, ``weight · mean_k softmax(β_k, γ_k)₀`` over the classes k, where logit k is split into β_k,
    from the elements marked irrelevant, and γ_k, from all others; see `contextual_decomposition`.

    Attributes
    ----------
    weight : float or "auto"
        Factor of the penalty, for a mean over annotated rows. The softmax lies between 0 and 1
        whatever the unit of the inputs; the code of [1]_ for decoy digits tries 1 to 10,000.
    form : {"softmax", "l1"}
        The softmax of the published code, or ``mean_k |β_k|``, the distance of β from no influence.

    Raises
    ------
    SettingError
        If there is no such form, or the weight is negative or not finite.

    Notes
    -----
    Needs a mask of what is irrelevant, and a module whose layers all have a rule: convolutions, ReLU
    and other functions of one number, pooling, batch normalisation, sums; no attention and no
    recurrence. No derivative with respect to the inputs is taken: one pass with both parts, and one
    backward pass as for a task loss.

    The softmax has its limits. Its least value is not at β = 0: a mark that lowers all logits lowers
    it further, and so do larger biases, neither of which changes what is predicted. On decoy digits
    "l1" did better, and each form made one of two models worse than without it at a weight of 100.

    References
    ----------
    .. [1] L. Rieger, C. Singh, W. J. Murdoch, B. Yu, "Interpretations are Useful: Penalizing
       Explanations to Align Neural Networks with Prior Knowledge", ICML 2020.

    Examples
    --------
    A linear model that reads only the first of its two features, once blamed and once not; a mark
    without any influence costs what the softmax of 0 and the logits leaves to it:

    >>> net = torch.nn.Linear(2, 2, bias=False)
    >>> _ = net.load_state_dict({"weight": torch.tensor([[1.0, 0.0], [0.0, 0.0]])})
    >>> batch = Batch(torch.tensor([[1.0, 7.0], [1.0, 7.0]]), torch.tensor([0, 0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[True, False], [False, True]]))
    >>> ContextualDecomposition(weight=1.0)(net, batch, marks).detach()
    tensor([0.6155, 0.3845])
    >>> ContextualDecomposition(weight=1.0, form="l1")(net, batch, marks).detach()
    tensor([0.5000, 0.0000])
    """

    weight: Weight = 10.0
    form: str = "softmax"

    passes: ClassVar[str] = "2 F + 2 B of first order, on annotated rows"
    source: ClassVar[str] = "Rieger, Singh, Murdoch, Yu 2020"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form not in FORMS:
            raise SettingError(f"`form` must be one of {', '.join(FORMS)}; got {self.form!r}.")

    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Average over the classes what the marked inputs bring.

        Raises
        ------
        ShapeError
            If the mask does not fit the inputs.
        KindError
            If the model is a bare function, which has no layers.
        LayerError
            If a layer has no rule.
        """
        assert rationale.irrelevant is not None
        beta, gamma = contextual_decomposition(forward, batch.inputs, rationale.irrelevant)
        if self.form == "l1":
            return beta.abs().mean(dim=1)
        # The softmax over two numbers.
        return torch.sigmoid(beta - gamma).mean(dim=1)

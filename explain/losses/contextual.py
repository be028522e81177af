"""Penalties on what a marked part of the input brings to the logits, by contextual decomposition."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..batch import Batch, Logits, Rationale
from ..decomposition import contextual_decomposition
from .contract import RationaleLoss, Weight

__all__ = ["ContextualDecomposition"]


@dataclass(frozen=True)
class ContextualDecomposition(RationaleLoss):
    """Keep small what irrelevant inputs bring to the logits, beside what the others bring ("CDEP").

    For each row, ``weight · mean_k softmax(β_k, γ_k)₀`` over the classes k, where logit k is split into β_k,
    from the elements marked irrelevant, and γ_k, from all others; see `contextual_decomposition`.

    Attributes
    ----------
    weight : float or "auto"
        Factor of the penalty, which lies between 0 and 1 whatever the unit of the inputs, for a
        mean over annotated rows. The code of [1]_ for decoy digits tries 1 to 10,000.

    Raises
    ------
    SettingError
        If the weight is negative or not finite.

    Notes
    -----
    Needs a mask of what is irrelevant, and a module whose layers all have a rule: convolutions, ReLU
    and other functions of one number, pooling, batch normalisation, sums; no attention and no
    recurrence. No derivative with respect to the inputs is taken: one pass with both parts, and one
    backward pass as for a task loss.

    It is the published penalty, and has its limits. β = 0, no influence at all, costs ½ where γ is 0 as
    well, and is not where it stops: a mark that lowers all logits lowers the penalty further, and so
    do larger biases, without a change of what is predicted. A weight that is large beside the task
    loss invites that.

    References
    ----------
    .. [1] L. Rieger, C. Singh, W. J. Murdoch, B. Yu, "Interpretations are Useful: Penalizing
       Explanations to Align Neural Networks with Prior Knowledge", ICML 2020.

    Examples
    --------
    A linear model that reads only the first of its two features, once blamed and once not; what is
    left, ½ and less, is what a mark without any influence costs:

    >>> net = torch.nn.Linear(2, 2, bias=False)
    >>> _ = net.load_state_dict({"weight": torch.tensor([[1.0, 0.0], [0.0, 0.0]])})
    >>> batch = Batch(torch.tensor([[1.0, 7.0], [1.0, 7.0]]), torch.tensor([0, 0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[True, False], [False, True]]))
    >>> ContextualDecomposition(weight=1.0)(net, batch, marks).detach()
    tensor([0.6155, 0.3845])
    """

    weight: Weight = 1.0

    passes: ClassVar[str] = "2 F + 2 B of first order, on annotated rows"
    source: ClassVar[str] = "Rieger, Singh, Murdoch, Yu 2020"

    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Average over the classes the share of the marked inputs in a softmax of both parts.

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
        # The softmax over two numbers.
        return torch.sigmoid(beta - gamma).mean(dim=1)

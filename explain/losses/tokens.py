"""Penalties on the distance between what a model reads and what a person marked, token by token."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..batch import Batch, Logits, Rationale
from ..errors import SettingError, ShapeError
from ..masks import check_bool
from ..methods.gradients import gradient_of
from ..scaling import by_largest
from ..target import Target, target_values
from .contract import RationaleLoss, Weight
from .sharing import ask

__all__ = ["ExplanationRegularization"]

DISTANCES = ("mse", "bce", "kl", "order")
UNKNOWN = ("ignored", "irrelevant")
# Magnitudes reach zero and one, where logarithms have no slope that helps.
FLOOR = 1e-4


@dataclass(frozen=True)
class ExplanationRegularization(RationaleLoss):
    """Bring the attribution of tokens near the words that a person marked ("ER").

    Each token has the attribution a_t = Σ_d e_td ∂f/∂e_td, input × gradient at its embedding e, and the
    mark r_t: 1 where it is relevant, 0 where it is irrelevant. The penalty is a distance of [1]_:

    ==========  ==================================================================================
    distance    penalty per row
    ==========  ==================================================================================
    ``mse``     mean over tokens of (s_t − r_t)², s = σ(a)
    ``bce``     mean over tokens of the binary cross-entropy of s_t and r_t
    ``kl``      KL(r / Σr ‖ q), q = softmax(a) over tokens
    ``order``   Σ over relevant tokens of min(s_t / max_irrelevant s − 1, 0)² [2]_: a relevant token is
                to score above every irrelevant one, no matter by how much
    ==========  ==================================================================================

    Attributes
    ----------
    weight : float or "auto"
        Factor of the penalty, for a mean over annotated rows. At 1, ``mse`` starts at about 0.25.
    layer : str or None
        The embedding, as in ``module.named_modules()``, of shape (batch, tokens, features). None where
        the inputs are embedded already.
    distance : {"mse", "bce", "kl", "order"}
        One of the table.
    target : str, int or callable
        f, what is attributed; see `target_values`. A logit: the gradient of a log-probability vanishes
        where the model is sure, and σ(a) with it stays at one half.
    signed : bool
        As in [1]_. False takes magnitudes: s = |a| / max|a| and q = |a| / Σ|a|, so that an irrelevant
        token comes to say nothing, where σ(a) → 0 makes it speak *against* the target.
    scale : float
        Factor of a under σ and softmax. Attributions well below 1 need more than 1, or both are flat.
    unknown : {"ignored", "irrelevant"}
        Tokens about which nothing was said do not count, or count as irrelevant: the reading of [1]_,
        whose annotators marked all that matters.
    padding : int or None
        Number of the padding token, which never counts. Only where inputs are token numbers.

    Raises
    ------
    SettingError
        If the weight is negative or not finite, there is no such distance or reading of the unknown,
        or `scale` is not positive and finite.

    Notes
    -----
    Needs relevant marks, shape (batch, tokens). ``kl`` and ``order`` compare relevant tokens with
    others: without irrelevant marks they need ``unknown="irrelevant"``. A token marked both ways
    counts as irrelevant. ``bce`` and ``mse`` weight all tokens equally; the code of [1]_ weights relevant
    ones in ``bce`` up by their share in the batch, which would let rows influence each other, and
    divides ``kl`` by the number of tokens. A low penalty is no proof that the other words are not in
    use: look at what swapping them does (`swap_sensitivity`).

    References
    ----------
    .. [1] B. Joshi, A. Chan, Z. Liu et al., "ER-Test: Evaluating Explanation Regularization Methods
       for Language Models", Findings of EMNLP 2022. The attribution is one of those in A. Chan et al.,
       "UNIREX: A Unified Learning Framework for Language Model Rationale Extraction", ICML 2022.
    .. [2] Q. Huang et al., "Exploring Distantly-Labeled Rationales in Neural Network Models", ACL 2021.

    Examples
    --------
    Two embedded tokens, of which the model reads the first only; that one was marked, then the other:

    >>> def model(embedded):
    ...     return embedded[:, :1, 0] * torch.tensor([[0.0, 2.0]])
    >>> batch = Batch(torch.ones(2, 2, 1), torch.tensor([1, 1]))
    >>> said = torch.tensor([[True, False], [False, True]])
    >>> ExplanationRegularization(1.0, unknown="irrelevant")(model, batch, Rationale(relevant=said)).detach()
    tensor([0.1321, 0.5129])
    """

    weight: Weight = 1.0
    layer: str | None = None
    distance: str = "mse"
    target: Target = "label_logit"
    signed: bool = True
    scale: float = 1.0
    unknown: str = "ignored"
    padding: int | None = None

    needs: ClassVar[tuple[str, ...]] = ("relevant",)
    passes: ClassVar[str] = "1 B down to the embedding, differentiated again, and 1 F unless shared"
    source: ClassVar[str] = (
        "Joshi, Chan, Liu et al. 2022 (ER-Test); Chan et al. 2022 (UNIREX); order: Huang et al. 2021"
    )
    shares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.distance not in DISTANCES:
            raise SettingError(f"`distance` must be one of {', '.join(DISTANCES)}; got {self.distance!r}.")
        if self.unknown not in UNKNOWN:
            raise SettingError(f"`unknown` must be one of {', '.join(UNKNOWN)}; got {self.unknown!r}.")
        if not 0 < self.scale < float("inf"):
            raise SettingError(f"`scale` must be positive and finite; got {self.scale}.")

    @property
    def float_inputs(self) -> bool:  # type: ignore[override]
        """Whether the inputs themselves must carry a gradient: not where a layer does."""
        return self.layer is None

    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Measure the distance of attribution and marks over the tokens that count.

        Raises
        ------
        ShapeError
            If the embedding is not (batch, tokens, features), or a mask not (batch, tokens).
        SettingError
            If `padding` is given and the inputs are not token numbers, or the distance compares with
            irrelevant tokens and there are none.
        LayerError, KindError
            See `with_layers`.
        GraphError
            If the logits do not depend on the embedding through autograd.
        """
        inputs, logits, layers = ask(forward, batch, self.layer_names)
        embedded = inputs if self.layer is None else layers[self.layer]
        if embedded.ndim != 3:
            raise ShapeError(
                f"Embedded tokens must have shape (batch, tokens, features); got {tuple(embedded.shape)}. "
                "Name the layer that embeds them."
            )
        values = target_values(logits, self.target, batch.labels)
        scores = (embedded * gradient_of(values, embedded, create_graph=True)).sum(dim=2)
        relevant, counted = self._marks(rationale, scores, batch.inputs)
        scores = torch.where(counted, scores, 0.0)
        if self.distance == "kl":
            return self._divergence(scores, relevant, counted)
        share = self._share(scores)
        if self.distance == "order":
            return _disorder(share, relevant, counted & ~relevant)
        wanted = relevant.to(share.dtype)
        if self.distance == "mse":
            apart = (share - wanted).square()
        elif self.signed:
            apart = nn.functional.binary_cross_entropy_with_logits(self.scale * scores, wanted, reduction="none")
        else:
            kept = share.clamp(FLOOR, 1 - FLOOR)
            apart = -torch.where(relevant, kept.log(), (1 - kept).log())
        # Of a row whose every mark lies on padding, no token counts.
        return torch.where(counted, apart, 0.0).sum(dim=1) / counted.sum(dim=1).clamp(min=1)

    def _marks(self, rationale: Rationale, scores: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Say which tokens are relevant, and which count at all; shape (batch, tokens), bool."""
        assert rationale.relevant is not None
        irrelevant = rationale.irrelevant
        if irrelevant is None and self.unknown == "ignored" and self.distance in ("kl", "order"):
            raise SettingError(
                f"The distance {self.distance!r} compares relevant tokens with others; there is no mask of irrelevant "
                'ones. Give `Rationale(relevant=…, irrelevant=…)`, or `unknown="irrelevant"`.'
            )
        if irrelevant is None:
            irrelevant = torch.zeros_like(rationale.relevant)
        for name, mask in (("relevant", rationale.relevant), ("irrelevant", irrelevant)):
            check_bool(mask, name)
            if mask.shape != scores.shape:
                raise ShapeError(
                    f"`{name}` must hold one mark for each token, shape {tuple(scores.shape)}; got {tuple(mask.shape)}."
                )
        relevant, irrelevant = (rationale.relevant & ~irrelevant).to(scores.device), irrelevant.to(scores.device)
        counted = torch.ones_like(relevant) if self.unknown == "irrelevant" else relevant | irrelevant
        if self.padding is None:
            return relevant, counted
        if inputs.shape != scores.shape or inputs.is_floating_point():
            raise SettingError(
                f"`padding` is the number of a token, and needs inputs that are such; got {inputs.dtype} of shape "
                f"{tuple(inputs.shape)}. Mark what is not padding instead, and leave `unknown` ignored."
            )
        text = inputs != self.padding
        return relevant & text, counted & text

    def _share(self, scores: Tensor) -> Tensor:
        """Bring attributions to [0, 1], each token by itself or beside the row's largest."""
        if self.signed:
            return torch.sigmoid(self.scale * scores)
        return by_largest(scores.abs())

    def _divergence(self, scores: Tensor, relevant: Tensor, counted: Tensor) -> Tensor:
        """Kullback–Leibler divergence of the attribution's distribution from that of the marks, in nats."""
        if self.signed:
            # Not minus infinity, of which a row without any token that counts would make NaN.
            log_share = (self.scale * scores).masked_fill(~counted, torch.finfo(scores.dtype).min).log_softmax(dim=1)
        else:
            share = torch.where(counted, by_largest(scores.abs()) + FLOOR, 0.0)
            log_share = torch.where(counted, share, 1.0).log() - share.sum(dim=1, keepdim=True).clamp(min=FLOOR).log()
        many = relevant.sum(dim=1).clamp(min=1).to(scores.dtype)
        return -torch.where(relevant, log_share, 0.0).sum(dim=1) / many - many.log()


def _disorder(share: Tensor, relevant: Tensor, irrelevant: Tensor) -> Tensor:
    """Squared shortfall of relevant tokens beside the highest irrelevant one; zero where there is none."""
    highest = torch.where(irrelevant, share, 0.0).amax(dim=1, keepdim=True)
    compared = relevant & (highest > 0)
    shortfall = (share / torch.where(highest > 0, highest, 1.0) - 1).clamp(max=0.0)
    return torch.where(compared, shortfall, 0.0).square().sum(dim=1)

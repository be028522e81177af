"""Penalties on where the positive part of an attribution lies: guidance by loose boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..batch import Batch, Logits, Rationale
from ..errors import LayerError, SettingError
from ..masks import expand_mask, mask_on_layer
from ..methods.gradients import gradient_of
from ..scaling import by_largest
from ..target import Target, target_values
from .activation_maps import grad_cam_of
from .contract import RationaleLoss, Weight
from .sharing import ask

__all__ = ["AttributionL1", "Energy", "PixelPositiveCrossEntropy", "guided_part"]

ATTRIBUTIONS = ("gradient_times_input", "input_gradient", "grad_cam")
SIDES = ("relevant", "irrelevant")


@dataclass(frozen=True)
class _Guidance(RationaleLoss):
    """What the losses on a chosen attribution share: which attribution, of which target, at which layer."""

    weight: Weight = 10.0
    attribution: str = "gradient_times_input"
    layer: str | None = None
    target: Target = "label_logit"

    passes: ClassVar[str] = "1 B down to the inputs or the layer, differentiated again, and 1 F unless shared"
    source: ClassVar[str] = "Rao, Böhle, Parchami-Araghi, Schiele 2023"
    shares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attribution not in ATTRIBUTIONS:
            raise SettingError(f"`attribution` must be one of {', '.join(ATTRIBUTIONS)}; got {self.attribution!r}.")
        if self.attribution == "grad_cam" and self.layer is None:
            raise SettingError("The attribution 'grad_cam' needs a `layer`; got None. The last convolution is usual.")

    @property
    def float_inputs(self) -> bool:  # type: ignore[override]
        """Whether the inputs themselves must carry a gradient: not where a layer does."""
        return self.layer is None

    def _guided(self, forward: Logits, batch: Batch, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the positive part and the mask of this loss, both of shape (rows, places)."""
        assert mask is not None
        return guided_part(forward, batch, mask, self.attribution, layer=self.layer, target=self.target)


@dataclass(frozen=True)
class Energy(_Guidance):
    """Gather the positive part of an attribution where the input should matter ("Energy").

    For each row, ``weight · (1 − Σ r A⁺ / Σ A⁺)`` with A⁺ the positive part of the attribution and r
    what is marked relevant: the energy pointing game as a loss [1]_, from zero on. With
    ``of="irrelevant"``, ``weight · Σ m A⁺ / Σ A⁺`` with m what is marked irrelevant: the same where
    r is all that m is not.

    Attributes
    ----------
    weight : float or "auto"
        Factor of the penalty, for a mean over annotated rows; the penalty lies in [0, 1].
    attribution : {"gradient_times_input", "input_gradient", "grad_cam"}
        What is guided; channels are added up first, so that a place has one value.
    layer : str or None
        Layer whose activation takes the place of the inputs: a place is then a cell of its grid. A
        middle layer is faster, and suits loose boxes. "grad_cam" needs one.
    target : str, int or callable
        What the attribution explains; see `target_values`.
    of : {"relevant", "irrelevant"}
        Which mask is read.

    Raises
    ------
    SettingError
        If the weight is negative or not finite, there is no such attribution or side, or "grad_cam"
        has no layer.

    Notes
    -----
    Needs the mask that it reads. A loose box will do: within the region the attribution may lie as it
    likes. Only shares count, so that the penalty cannot be lowered by making all gradients smaller.
    A row whose attribution has no positive part has it nowhere: 1 outside of *relevant*, 0 inside of
    *irrelevant*, without a gradient, so that only the task loss leads back from there. Grad-CAM, with
    one weight for each channel, comes to that soon: take small steps. On decoy digits (a small net of
    two convolutions, 300 steps, two seeds, ``of="irrelevant"``) the default took decoy accuracy from
    .49 and .52 to .73 and .81 at the inputs, and to .78 and .82 after the first layer.

    References
    ----------
    .. [1] S. Rao, M. Böhle, A. Parchami-Araghi, B. Schiele, "Studying How to Efficiently and
       Effectively Guide Models with Explanations", ICCV 2023.

    Examples
    --------
    A model that adds up its features, of which the first is said to be what should matter:

    >>> batch = Batch(torch.tensor([[1.0, 3.0]]), torch.tensor([0]))
    >>> marks = Rationale(relevant=torch.tensor([[True, False]]))
    >>> Energy(weight=1.0)(lambda x: x.sum(dim=1, keepdim=True), batch, marks).detach()
    tensor([0.7500])
    """

    of: str = "relevant"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.of not in SIDES:
            raise SettingError(f"`of` must be one of {', '.join(SIDES)}; got {self.of!r}.")

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The mask that is read."""
        return (self.of,)

    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Compute the share of the positive part that lies on the wrong side.

        Raises
        ------
        ShapeError
            If the mask does not fit the inputs or the layer.
        LayerError
            If the layer has no places.
        GraphError
            If the logits do not depend on the inputs or the layer through autograd.
        """
        mask = rationale.relevant if self.of == "relevant" else rationale.irrelevant
        part, region = self._guided(forward, batch, mask)
        # No factor changes a share.
        part = by_largest(part, differentiable=False)
        total = part.sum(dim=1)
        inside = torch.where(region, part, 0.0).sum(dim=1) / total.where(total != 0, 1.0)
        return 1 - inside if self.of == "relevant" else inside


@dataclass(frozen=True)
class AttributionL1(_Guidance):
    """Make the positive part of an attribution equal to the mask, place by place ("L1").

    For each row, ``weight · mean_p |r_p − Â_p|`` over the places p, with Â the positive part of the
    attribution divided by its maximum in that row, and r what is marked relevant: [1]_, which takes
    it for guidance from [2]_.

    Attributes
    ----------
    weight : float or "auto"
        Factor of the penalty, for a mean over annotated rows; the penalty lies in [0, 1].
    attribution, layer, target
        As for `Energy`.

    Raises
    ------
    SettingError
        If the weight is negative or not finite, there is no such attribution, or "grad_cam" has no
        layer.

    Notes
    -----
    Needs *relevant* masks that are exact: what is not marked counts as not relevant, and the whole
    region is to be filled, a loose box with its corners. For boxes take `Energy`. A row whose
    attribution has no positive part costs the marked share of its places, without a gradient. On decoy
    digits (as told at `Energy`, with all but the swatch marked relevant: no exact masks) the default
    took decoy accuracy from .49 to .52 (one seed).

    References
    ----------
    .. [1] S. Rao, M. Böhle, A. Parchami-Araghi, B. Schiele, "Studying How to Efficiently and
       Effectively Guide Models with Explanations", ICCV 2023.
    .. [2] Y. Gao et al., "Aligning Eyes between Humans and Deep Neural Network through Interactive
       Attention Alignment", CSCW 2022.

    Examples
    --------
    >>> batch = Batch(torch.tensor([[1.0, 4.0]]), torch.tensor([0]))
    >>> marks = Rationale(relevant=torch.tensor([[True, False]]))
    >>> AttributionL1(weight=1.0)(lambda x: x.sum(dim=1, keepdim=True), batch, marks).detach()
    tensor([0.8750])
    """

    needs: ClassVar[tuple[str, ...]] = ("relevant",)
    source: ClassVar[str] = "Gao et al. 2022; for guidance by boxes Rao, Böhle, Parchami-Araghi, Schiele 2023"

    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Average the difference between the mask and the normalised positive part.

        Raises
        ------
        ShapeError, LayerError, GraphError
            As for `Energy`.
        """
        part, region = self._guided(forward, batch, rationale.relevant)
        return (region.to(part.dtype) - by_largest(part)).abs().mean(dim=1)


@dataclass(frozen=True)
class PixelPositiveCrossEntropy(_Guidance):
    """Make an attribution high throughout the region that should matter, whatever it is elsewhere ("PPCE").

    For each row, ``weight · (−1/|r|) Σ_p r_p log Â_p`` over the places p, with Â the positive part of
    the attribution divided by its maximum in that row, and r what is marked relevant: [1]_, which
    takes it for guidance from [2]_.

    Attributes
    ----------
    weight : float or "auto"
        Factor of the penalty, for a mean over annotated rows. The penalty is at most ``−log floor``,
        6.9 by default, and starts high, because gradients are negative at about half of the places.
    attribution, layer, target
        As for `Energy`.
    floor : float
        Least Â under the logarithm, in (0, 1). Places below it, among them all that are not
        positive, cost ``−log floor`` and have no gradient; those just above it have one of 1 / floor.

    Raises
    ------
    SettingError
        If the weight is negative or not finite, `floor` does not lie in (0, 1), there is no such
        attribution, or "grad_cam" has no layer.

    Notes
    -----
    Needs *relevant* masks. Nothing is said about places outside of them: a model may go on using what
    it must not use. On decoy digits (as told at `Energy`, with all but the swatch marked relevant) the
    default took decoy accuracy from .49 to .56 (one seed).
    A row whose attribution has no positive part costs ``−log floor``, without a gradient.

    References
    ----------
    .. [1] S. Rao, M. Böhle, A. Parchami-Araghi, B. Schiele, "Studying How to Efficiently and
       Effectively Guide Models with Explanations", ICCV 2023.
    .. [2] H. Shen et al., "Human-AI Interactive and Continuous Sensemaking: A Case Study of Image
       Classification using Scribble Attention Maps", CHI Extended Abstracts 2021.

    Examples
    --------
    >>> batch = Batch(torch.tensor([[1.0, 4.0]]), torch.tensor([0]))
    >>> marks = Rationale(relevant=torch.tensor([[True, False]]))
    >>> PixelPositiveCrossEntropy(weight=1.0)(lambda x: x.sum(dim=1, keepdim=True), batch, marks).detach()
    tensor([1.3863])
    """

    weight: Weight = 1.0
    floor: float = 1e-3

    needs: ClassVar[tuple[str, ...]] = ("relevant",)
    source: ClassVar[str] = "Shen et al. 2021; for guidance by boxes Rao, Böhle, Parchami-Araghi, Schiele 2023"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.floor < 1:
            raise SettingError(f"`floor` must lie in (0, 1), as a share of the maximum of a row; got {self.floor}.")

    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Average minus the logarithm of the normalised positive part over the mask.

        Raises
        ------
        ShapeError, LayerError, GraphError
            As for `Energy`.
        """
        part, region = self._guided(forward, batch, rationale.relevant)
        surprise = -by_largest(part).clamp(min=self.floor).log()
        return torch.where(region, surprise, 0.0).sum(dim=1) / region.sum(dim=1)


def guided_part(
    forward: Logits, batch: Batch, mask: Tensor, attribution: str, *, layer: str | None, target: Target
) -> tuple[Tensor, Tensor]:
    """Compute the positive part of an attribution, place by place, and lay a mask on the same places.

    Parameters
    ----------
    forward : Forward, module or function
        Held still.
    batch : Batch
        Inputs, detached, and labels.
    mask : Tensor, bool
        Regions of the inputs; a place that is marked in any channel is marked.
    attribution : {"gradient_times_input", "input_gradient", "grad_cam"}
        Channels, the axis after the batch of inputs with more than one, are added up.
    layer : str or None
        Layer whose activation takes the place of the inputs; must keep places.
    target : str, int or callable
        See `target_values`.

    Returns
    -------
    Tensor, shape (batch, places), float
        Not negative; differentiable in the weights of the model.
    Tensor, shape (batch, places), bool
        The mask there.

    Raises
    ------
    ShapeError, LayerError, GraphError
        As for `Energy.penalize`.

    Examples
    --------
    >>> batch = Batch(torch.tensor([[1.0, -2.0]]), torch.tensor([0]))
    >>> mask = torch.tensor([[False, True]])
    >>> part, region = guided_part(lambda x: x[:, :1] - x[:, 1:], batch, mask, "input_gradient", layer=None, target=0)
    >>> part.detach(), region
    (tensor([[1., 0.]]), tensor([[False,  True]]))
    """
    if attribution == "grad_cam":
        assert layer is not None
        # Its own ReLU comes below, after the places are known.
        maps = grad_cam_of(forward, batch, layer, target, relu=False, exact=True)[:, None]
        region = mask_on_layer(mask, maps)
    else:
        inputs, logits, kept = ask(forward, batch, () if layer is None else (layer,))
        if layer is None:
            place, region = inputs, expand_mask(mask, inputs)
        else:
            place = kept[layer]
            if place.ndim != 4:
                raise LayerError(
                    "A layer to guide must keep places, an activation of shape (batch, channels, height, width); "
                    f"{layer!r} gives {tuple(place.shape)}. Choose a convolution, or `layer=None` for the inputs."
                )
            region = mask_on_layer(mask, place)
        maps = gradient_of(target_values(logits, target, batch.labels), place, create_graph=True)
        if attribution == "gradient_times_input":
            maps = maps * place
        if maps.ndim > 2:
            maps, region = maps.sum(dim=1), region.any(dim=1)
    # Not `clamp`, whose slope at zero is one: a place without attribution would be pulled at.
    return maps.flatten(1).relu(), region.flatten(1)

"""Penalties on the map that a layer makes of an input: its activation, or Grad-CAM at it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..batch import Batch, Logits, Rationale
from ..errors import SettingError, ShapeError
from ..masks import mask_on_layer
from ..methods.cam import activation_map, class_activation_map
from ..scaling import min_max_normalised
from ..target import Target, target_values
from .contract import RationaleLoss, Weight
from .sharing import ask

__all__ = ["Hint", "RightReasonsGradCam", "TargetedActivationPenalty", "grad_cam_of"]

COMPARISONS = ("mse", "rank")


@dataclass(frozen=True)
class RightReasonsGradCam(RationaleLoss):
    """Keep Grad-CAM low where the input must not matter ("RRR-G").

    For each row, ``weight · Σ_p (m_p ĉ_p)²`` over the places p of a layer, with ĉ the Grad-CAM map,
    min-max normalised to [0, 1], and m what is marked irrelevant, laid on the layer's grid: [1]_.

    Attributes
    ----------
    weight : float or "auto"
        Factor of the penalty, for a mean over annotated rows. The penalty is at most the number of
        marked places. The default is for fine-tuning a net that was fooled, and heavy from scratch.
    layer : str
        A layer that keeps places; the last convolution is usual.
    target : str, int or callable
        What Grad-CAM explains; see `target_values`. The original takes the class predicted.
    relu : bool
        Keep the positive part of the map only, which is all-equal where nothing is positive. The
        original of this loss keeps both.
    exact : bool
        Whether the channels' weights of Grad-CAM are differentiated too. By default they are
        constants during a step, as in the published experiments: one order of derivatives less, but
        not the gradient of the penalty. Its exact gradient finds weights of channels that make the
        map look right while the mark stays in use.

    Raises
    ------
    SettingError
        If the weight is negative or not finite.

    Notes
    -----
    Needs *irrelevant* masks and a layer with places; it says nothing to a dense net. Normalising
    makes the penalty blind to how large the map is: only where it is high and low counts. An
    all-equal map, a dead layer's say, is ½ everywhere: it costs a quarter per marked place and has
    no gradient. A place of a deep layer sees far more of the input than its own cell, so that a
    penalty there may leave the mark in use through its neighbours. On decoy digits (a small
    convolutional net fine-tuned at its last convolution for 300 steps, weight 10, two seeds) decoy
    accuracy went from .49 and .52 to .52 and .51 only, the gradient's mass on the swatch to .04 and
    .05; if exact, the penalty fell to zero and the mass stayed above .10. Try `RightReasons` first.

    References
    ----------
    .. [1] F. Friedrich, W. Stammer, P. Schramowski, K. Kersting, "A typology for exploring the
       mitigation of shortcut behaviour", Nature Machine Intelligence 5, 2023.

    Examples
    --------
    A net whose Grad-CAM is its input, once blamed for the brightest place and once for the darkest:

    >>> net = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(4, 1))
    >>> _ = nn.init.ones_(net[2].weight)
    >>> batch = Batch(torch.tensor([[[[1.0, 0.5], [0.5, 0.0]]]]).repeat(2, 1, 1, 1), torch.tensor([0, 0]))
    >>> marks = torch.zeros(2, 2, 2, dtype=torch.bool)
    >>> marks[0, 0, 0] = marks[1, 1, 1] = True
    >>> RightReasonsGradCam(weight=1.0, layer="0")(net, batch, Rationale(irrelevant=marks)).detach()
    tensor([1., 0.])
    """

    weight: Weight = 10.0
    layer: str = field(kw_only=True)
    target: Target = "max_logit"
    relu: bool = False
    exact: bool = False

    passes: ClassVar[str] = "1 B down to the layer, differentiated again if exact, and 1 F unless shared"
    source: ClassVar[str] = "Friedrich, Stammer, Schramowski, Kersting 2023; Grad-CAM: Selvaraju et al. 2017"
    float_inputs: ClassVar[bool] = False
    shares: ClassVar[bool] = True

    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Sum the squares of the normalised map over what is marked irrelevant.

        Raises
        ------
        LayerError
            If the layer has no places.
        ShapeError
            If the mask does not fit the layer.
        GraphError
            If the logits do not depend on the layer through autograd.
        """
        assert rationale.irrelevant is not None
        maps = grad_cam_of(forward, batch, self.layer, self.target, relu=self.relu, exact=self.exact)
        blamed = torch.where(_region(rationale.irrelevant, maps), min_max_normalised(maps), 0.0)
        return blamed.square().flatten(1).sum(dim=1)


@dataclass(frozen=True)
class Hint(RationaleLoss):
    """Make Grad-CAM high where the input should matter, and low elsewhere ("HINT").

    For each row, ``weight · mean_p (ĉ_p − r_p)²`` over the places p of a layer, with ĉ the Grad-CAM
    map of the label, min-max normalised to [0, 1], and r what is marked relevant, laid on the
    layer's grid: the form of [2]_. The original [1]_ asks for the order only, for which there is
    ``compare="rank"``: the mean over pairs of a marked place p and another place q of
    ``max(0, ĉ_q − ĉ_p)``.

    Attributes
    ----------
    weight : float or "auto"
        Factor of the penalty, for a mean over annotated rows; the penalty lies in [0, 1].
    layer : str
        A layer that keeps places; the last convolution is usual.
    target : str, int or callable
        What Grad-CAM explains; see `target_values`.
    compare : {"mse", "rank"}
        Mean squared difference, or the pairs that are in the wrong order.
    relu : bool
        Keep the positive part of the map only.
    exact : bool
        Whether the channels' weights of Grad-CAM are differentiated too; see `RightReasonsGradCam`.

    Raises
    ------
    SettingError
        If the weight is negative or not finite, or there is no such comparison.

    Notes
    -----
    Needs *relevant* masks that are whole: what is not marked counts as not relevant. A loose box
    asks for attention in its corners too. Unlike the original, the rank form takes the normalised
    map, which a model cannot lower by merely making all gradients smaller. An all-equal map is ½
    everywhere, without a gradient: its squared difference is ¼ whatever was marked, and none of its
    pairs is in the wrong order. Pairs cost n log n for n places. On decoy digits (as told at
    `RightReasonsGradCam`, with all but the swatch marked relevant) the squared difference took decoy
    accuracy from .49 and .52 to .61 and .80, the order to .75 and .78; if exact, the squared difference
    lowered it to .45 and .46.

    References
    ----------
    .. [1] R. R. Selvaraju et al., "Taking a HINT: Leveraging Explanations to Make Vision and Language
       Models More Grounded", ICCV 2019.
    .. [2] F. Friedrich, W. Stammer, P. Schramowski, K. Kersting, "A typology for exploring the
       mitigation of shortcut behaviour", Nature Machine Intelligence 5, 2023.

    Examples
    --------
    A net whose Grad-CAM is its input, once told that the brightest place is what should matter:

    >>> net = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(4, 1))
    >>> _ = nn.init.ones_(net[2].weight)
    >>> batch = Batch(torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]]).repeat(2, 1, 1, 1), torch.tensor([0, 0]))
    >>> marks = torch.zeros(2, 2, 2, dtype=torch.bool)
    >>> marks[0, 0, 0] = marks[1, 1, 1] = True
    >>> Hint(weight=1.0, layer="0")(net, batch, Rationale(relevant=marks)).detach()
    tensor([0.0000, 0.5000])
    """

    weight: Weight = 10.0
    layer: str = field(kw_only=True)
    target: Target = "label_logit"
    compare: str = "mse"
    relu: bool = False
    exact: bool = False

    needs: ClassVar[tuple[str, ...]] = ("relevant",)
    passes: ClassVar[str] = "1 B down to the layer, differentiated again if exact, and 1 F unless shared"
    source: ClassVar[str] = "Selvaraju et al. 2019; as a squared difference Friedrich et al. 2023"
    float_inputs: ClassVar[bool] = False
    shares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compare not in COMPARISONS:
            raise SettingError(f"`compare` must be one of {', '.join(COMPARISONS)}; got {self.compare!r}.")

    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Compare the normalised map with what is marked relevant.

        Raises
        ------
        LayerError, ShapeError, GraphError
            As for `RightReasonsGradCam`.
        """
        assert rationale.relevant is not None
        maps = grad_cam_of(forward, batch, self.layer, self.target, relu=self.relu, exact=self.exact)
        level, wanted = min_max_normalised(maps).flatten(1), _region(rationale.relevant, maps).flatten(1)
        if self.compare == "mse":
            return (level - wanted.to(level.dtype)).square().mean(dim=1)
        return _misordered(level, wanted)


@dataclass(frozen=True)
class TargetedActivationPenalty(RationaleLoss):
    """Keep layers inactive where the input must not matter ("TAP").

    For each row, ``weight / L · Σ_l Σ_p (m_p Σ_c a_lcp)²`` over L layers and their places p, with a
    the activation and m what is marked irrelevant, grown by one pixel (a maximum over 3 × 3) and
    then averaged to the layer's grid: [1]_.

    Attributes
    ----------
    weight : float or "auto"
        Factor of the penalty, for a mean over annotated rows. Activations have no unit of their own,
        and channels add up before they are squared: where the default does nothing or too much,
        start from "auto".
    layers : tuple of str
        Layers that keep places. The original takes every convolution; take what follows it, after
        the nonlinearity, because channels of opposite sign cancel in the sum.

    Raises
    ------
    SettingError
        If the weight is negative or not finite, or there is no layer.

    Notes
    -----
    Needs *irrelevant* masks and layers with places. The penalty is of first order: any kernel and
    nonlinearity will do, and with a pass that is shared with the task loss it costs hardly more than a
    plain step. It asks for silence, not for indifference: what a place is silent about may still be
    read off its neighbours. On decoy digits (a small net of two convolutions, 300 steps, two seeds) the
    default took decoy accuracy from .49 and .52 to .71 and .69.

    References
    ----------
    .. [1] D. Zhang, M. Williams, F. Toni, "Targeted Activation Penalties Help CNNs Ignore Spurious
       Signals", AAAI 2024.

    Examples
    --------
    One bright place in a field of 4 × 4, blamed once from afar and once as it is:

    >>> net = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(16, 1))
    >>> inputs, marks = torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4, dtype=torch.bool)
    >>> inputs[:, 0, 0, 0] = 3.0
    >>> marks[0, 3, 3] = marks[1, 0, 0] = True
    >>> batch = Batch(inputs, torch.tensor([0, 0]))
    >>> TargetedActivationPenalty(weight=1.0, layers=("0",))(net, batch, Rationale(irrelevant=marks)).detach()
    tensor([0., 9.])
    """

    weight: Weight = 0.01
    layers: tuple[str, ...] = field(kw_only=True)

    passes: ClassVar[str] = "1 F unless shared, then about a plain step; first order"
    source: ClassVar[str] = "Zhang, Williams, Toni 2024"
    float_inputs: ClassVar[bool] = False
    shares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        given: object = self.layers
        if isinstance(given, list):
            object.__setattr__(self, "layers", tuple(given))
        # A bare name would be taken apart into letters.
        if not isinstance(self.layers, tuple) or not self.layers:
            raise SettingError(f"`layers` must be a tuple of at least one name; got {self.layers!r}.")
        super().__post_init__()

    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Sum the squares of each layer's activation over what is marked irrelevant.

        Raises
        ------
        LayerError
            If a layer has no places.
        ShapeError
            If the mask has none.
        """
        assert rationale.irrelevant is not None
        _, _, kept = ask(forward, batch, self.layers)
        sizes = []
        grown = _grown(rationale.irrelevant)
        for name in self.layers:
            maps = activation_map(kept[name])
            softened = nn.functional.adaptive_avg_pool2d(grown.to(maps.dtype), (maps.shape[1], maps.shape[2]))
            sizes.append((softened * maps).square().flatten(1).sum(dim=1))
        return torch.stack(sizes).mean(dim=0)


def grad_cam_of(forward: Logits, batch: Batch, layer: str, target: Target, *, relu: bool, exact: bool) -> Tensor:
    """Compute the Grad-CAM map of each row for a loss, differentiable in the weights of the model.

    Parameters
    ----------
    forward : Forward or module
        Held still.
    batch : Batch
        Inputs, detached, and labels.
    layer : str
        A layer that keeps places.
    target : str, int or callable
        See `target_values`.
    relu, exact : bool
        See `class_activation_map`.

    Returns
    -------
    Tensor, shape (batch, height, width), float
        On the layer's grid, in units of the target.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(12, 2))
    >>> batch = Batch(torch.rand(5, 1, 4, 4), torch.zeros(5, dtype=torch.int64))
    >>> grad_cam_of(net, batch, "0", "label_logit", relu=True, exact=True).shape
    torch.Size([5, 2, 2])
    """
    _, logits, kept = ask(forward, batch, (layer,))
    return class_activation_map(kept[layer], target_values(logits, target, batch.labels), relu=relu, exact=exact)


def _region(mask: Tensor, maps: Tensor) -> Tensor:
    """Lay a mask on the grid of maps, (batch, h, w); same shape, bool."""
    return mask_on_layer(mask, maps[:, None]).squeeze(1)


def _grown(mask: Tensor) -> Tensor:
    """Grow a mask by one pixel, a maximum over 3 × 3; shape (batch, height, width), bool."""
    if mask.ndim not in (3, 4):
        raise ShapeError(
            "A mask for an activation with places must have shape (batch, [channels,] height, width); "
            f"got {tuple(mask.shape)}."
        )
    grown = mask.any(dim=1) if mask.ndim == 4 else mask
    # Or-ing neighbours, first along lines and then along columns: pooling takes ten times as long.
    for axis in (1, 2):
        flat, grown = grown, grown.clone()
        length = flat.shape[axis] - 1
        grown.narrow(axis, 1, length).logical_or_(flat.narrow(axis, 0, length))
        grown.narrow(axis, 0, length).logical_or_(flat.narrow(axis, 1, length))
    return grown


def _misordered(level: Tensor, wanted: Tensor) -> Tensor:
    """Average max(0, level_q − level_p) over pairs of wanted p and other q; both of shape (rows, places)."""
    level, order = level.sort(dim=1)
    wanted = wanted.gather(1, order)
    # Going up: of each other place, the wanted ones below it, by number and by sum.
    below, sums = wanted.cumsum(dim=1), torch.where(wanted, level, 0.0).cumsum(dim=1)
    excess = torch.where(wanted, 0.0, below * level - sums).sum(dim=1)
    pairs = wanted.sum(dim=1) * (~wanted).sum(dim=1)
    # Where every place is wanted, or none is left, there is no order to keep.
    return excess / pairs.clamp(min=1)

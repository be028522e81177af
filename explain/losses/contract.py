"""What every rationale loss is: frozen settings, callable on a batch and what was said about it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from ..batch import Batch, Logits, Rationale, any_marked, check_float, check_given
from ..errors import SettingError, ShapeError
from ..layers import held_still
from ..target import checked_target

__all__ = ["RationaleLoss", "Weight", "WeightedSum"]

Weight: TypeAlias = float | Literal["auto"]

UNSETTLED = (
    "A loss of weight 'auto' has no weight to scale yet; settle it first with `balanced`, whose `share` says how large "
    "the penalty is to be beside the task loss."
)


@dataclass(frozen=True)
class RationaleLoss(ABC):
    """A penalty for being right for the wrong reasons.

    Called on a model, a batch and a rationale, it returns one value per example: weighted,
    differentiable in the weights of the model, and exactly zero for rows about which nothing was
    said that it needs. Only those rows pass through the model, which is held still meanwhile: in
    evaluation mode, and put back as it was.

    Losses add up and scale: ``RightReasons() + 0.5 * Hint(layer="features")`` is a loss.

    To write one, subclass it as a frozen dataclass with `weight` among its fields, say `needs`,
    `passes` and `source`, and write `penalize`; `explain.testing` has an example, with its tests.

    Attributes
    ----------
    weight : float or "auto"
        Factor of the penalty, for a mean over annotated rows. "auto" has to be settled on a first
        batch by `balanced`, which makes the penalty as large as the task loss there.
    needs : tuple of {"irrelevant", "relevant"}
        Masks of which a row must have at least one (class attribute).
    passes : str
        Cost beyond the task loss, in forward (F) and backward (B) passes (class attribute).
    source : str
        Where it is from (class attribute).
    float_inputs : bool
        Whether the inputs must be able to carry a gradient (class attribute).
    shares : bool
        Whether `penalize` asks the model through `ask` only, so that a pass that the task loss made
        already serves it too (class attribute).

    Raises
    ------
    SettingError
        If the weight is negative, not finite, or another word than "auto", or a layer is not given by its name.
    TargetError
        If it has a target that is none of `target_values`.
    """

    weight: Weight = 1.0

    needs: ClassVar[tuple[str, ...]] = ("irrelevant",)
    passes: ClassVar[str]
    source: ClassVar[str]
    float_inputs: ClassVar[bool] = True
    shares: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._check_names()
        if self.weight == "auto":
            return
        weight: object = self.weight
        number = float(weight) if isinstance(weight, Real) else math.nan
        if not 0 <= number < math.inf:
            way = " Take the number out: `weight.item()`." if isinstance(weight, Tensor) else ""
            raise SettingError(f"`weight` must be a number, finite and not negative, or 'auto'; got {weight!r}.{way}")
        if type(weight) not in (int, float):
            object.__setattr__(self, "weight", number)  # it was numpy's, say

    def _check_names(self) -> None:
        """Raise unless the layers, if there are any, are named, and the target is one that may be asked of all rows."""
        for name in self.layer_names:
            if not isinstance(name, str):
                raise SettingError(
                    f"A layer is given by its name, as in `module.named_modules()`; got a {type(name).__name__}."
                )
        if (target := getattr(self, "target", None)) is not None:
            checked_target(target)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if isinstance(cls.needs, tuple) and not set(cls.needs) <= {"irrelevant", "relevant"}:
            raise SettingError(f"`{cls.__name__}.needs` may name 'irrelevant' and 'relevant'; got {cls.needs}.")

    @abstractmethod
    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Compute the penalty of each row, unweighted; every row given is annotated.

        Parameters
        ----------
        forward : Forward, module or function
            Model inputs to logits; held still.
        batch : Batch
            Inputs, detached, and labels.
        rationale : Rationale
            Masks of these rows as they were given: `expand_mask` lays them on the inputs, `mask_on_layer`
            on a layer.

        Returns
        -------
        Tensor, shape (batch,), float
            Differentiable in the weights of the model.
        """

    def annotated(self, rationale: Rationale) -> Tensor:
        """Say which rows this loss has something to say about; shape (batch,), bool, or () without masks."""
        return any_marked(*(getattr(rationale, name) for name in self.needs))

    def annotated_rows(self, batch: Batch, rationale: Rationale) -> Tensor:
        """Say the same of each row of a batch; shape (batch,), bool. ShapeError if the masks are of other rows."""
        said = self.annotated(rationale)
        if said.ndim and len(said) != len(batch):
            raise ShapeError(f"A mask must have one row per example; got {len(said)} rows for {len(batch)} examples.")
        return said.expand(len(batch))

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers that this loss looks at: its fields `layer` and `layers`."""
        one, several = getattr(self, "layer", None), getattr(self, "layers", None)
        return (*(() if one is None else (one,)), *(() if several is None else several))

    @property
    def settled(self) -> bool:
        """Whether every weight is a number."""
        return self.weight != "auto"

    def parts(self) -> Iterator[RationaleLoss]:
        """Yield the losses that this one is made of: itself."""
        yield self

    def __call__(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Compute the weighted penalty of each row.

        Parameters
        ----------
        forward : Forward, module or function
            Model inputs to logits.
        batch : Batch
            Inputs, shape (batch, *event), and labels.
        rationale : Rationale
            What was said, on any device; rows about which nothing was said cost nothing.

        Returns
        -------
        Tensor, shape (batch,), float
            Differentiable in the weights of the model unless gradients are disabled.

        Raises
        ------
        KindError
            If the inputs are integers and the loss needs their gradient, or these are no `Batch` and
            `Rationale`.
        ShapeError
            If a mask does not fit, or has not one row per example; or if a loss of one's own gives another shape.
        SettingError
            If the weight is still "auto", or all that was said is of the other kind than it needs.
        GraphError, LayerError
            If the model does not give what the loss needs.
        """
        check_given(batch, rationale)
        if self.weight == "auto":
            raise SettingError(
                "A weight of 'auto' must be settled on a first batch before the loss is used: "
                "loss = explain.balanced(loss, forward, batch, rationale)."
            )
        self._check_read(rationale)
        if self.float_inputs:
            check_float(batch.inputs)
        trains = torch.is_grad_enabled()
        kind = batch.inputs.dtype if batch.inputs.is_floating_point() else torch.get_default_dtype()
        # A leaf of its own, so that a batch without any mark can still be differentiated.
        penalty = torch.zeros(len(batch), dtype=kind, device=batch.inputs.device, requires_grad=trains)
        (rows,) = self.annotated_rows(batch, rationale).to(penalty.device).nonzero(as_tuple=True)
        if len(rows) == 0:
            return penalty
        # Inference mode has to be left for the copies too: its tensors cannot take part in a gradient.
        with torch.inference_mode(False), torch.enable_grad(), held_still(forward):
            if not (self.shares and batch.logits is not None and len(rows) == len(batch)):
                batch, rationale = batch.take(rows), rationale.take(rows)
            values = self.penalize(forward, batch, rationale.to(batch.inputs.device))
        if not isinstance(values, Tensor) or tuple(values.shape) != (len(batch),):
            got = tuple(values.shape) if isinstance(values, Tensor) else f"a {type(values).__name__}"
            raise ShapeError(
                f"{type(self).__name__}.penalize must return one value for each of its {len(batch)} rows, shape "
                f"({len(batch)},); got {got}. Sum or average over the elements of a row only."
            )
        if not trains:
            values = values.detach()
        # Inputs that are integers do not say in which precision the model answers.
        kind = torch.promote_types(penalty.dtype, values.dtype)
        return penalty.to(kind).index_put((rows,), self.weight * values.to(kind))

    def _check_read(self, rationale: Rationale) -> None:
        """Raise SettingError if something was said, and all of it in masks that this loss never reads."""
        there = {"irrelevant": rationale.irrelevant, "relevant": rationale.relevant}
        said = [name for name, mask in there.items() if mask is not None]
        # A mask of the right kind without a mark is a batch about which nothing was said, no mistake.
        if set(self.needs) & set(said) or not rationale.annotated.any():
            return
        given = ", ".join(f"{name}=…" for name in self.needs)
        raise SettingError(
            f"{type(self).__name__} needs masks of what is {' or '.join(self.needs)}; there are those of what is "
            f"{' and '.join(said)}. Give `Rationale({given})`, or choose a loss that reads what was said."
        )

    def __add__(self, other: RationaleLoss) -> WeightedSum:
        if not isinstance(other, RationaleLoss):
            return NotImplemented
        return WeightedSum(losses=(*self.parts(), *other.parts()))

    def __mul__(self, factor: float) -> RationaleLoss:
        if self.weight == "auto":
            raise SettingError(UNSETTLED)
        return replace(self, weight=factor * self.weight)

    __rmul__ = __mul__

    def __radd__(self, other: object) -> RationaleLoss:
        # The zero that the builtin `sum` starts from.
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __truediv__(self, divisor: float) -> RationaleLoss:
        return self * (1 / divisor)


@dataclass(frozen=True)
class WeightedSum(RationaleLoss):
    """A sum of rationale losses, each with its own weight: itself a loss.

    Attributes
    ----------
    weight : float
        Factor of the whole; one while a part has still to be settled.
    losses : tuple of RationaleLoss
        What is added up. Nested sums are written out. Parts may have the weight "auto", the sum may not.

    Raises
    ------
    SettingError
        If there is none, if the weight of the sum is "auto", or if it is not one and that of a part is "auto".

    Examples
    --------
    >>> from explain import RightReasons
    >>> both = RightReasons(weight=1.0) + 0.5 * RightReasons(weight=1.0, norm="l1")
    >>> [part.weight for part in both.losses]
    [1.0, 0.5]
    """

    losses: tuple[RationaleLoss, ...] = ()

    passes: ClassVar[str] = "the sum of its parts"
    source: ClassVar[str] = "its parts"
    float_inputs: ClassVar[bool] = False
    shares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.losses:
            raise SettingError("A sum of losses must have at least one; got none.")
        if self.weight == "auto":
            raise SettingError("The weight of a sum must be a number; got 'auto'. Give it to the parts instead.")
        if self.weight != 1 and not self.settled:
            raise SettingError(UNSETTLED)
        # Frozen for everyone else. Each part is averaged over its own rows, which a sum within would hide.
        object.__setattr__(self, "losses", tuple(part for loss in self.losses for part in loss.parts()))

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Every mask that one of the parts reads."""
        return tuple(dict.fromkeys(name for loss in self.losses for name in loss.needs))

    def annotated(self, rationale: Rationale) -> Tensor:
        """Say which rows any of the losses has something to say about."""
        first, *others = (loss.annotated(rationale) for loss in self.losses)
        for other in others:
            first = first | other
        return first

    @property
    def settled(self) -> bool:
        """Whether every weight of every loss is a number."""
        return all(loss.settled for loss in self.losses)

    def parts(self) -> Iterator[RationaleLoss]:
        """Yield the losses, each weighted by the sum's own weight."""
        for loss in self.losses:
            yield loss if self.weight == 1 else loss * float(self.weight)

    def _check_read(self, rationale: Rationale) -> None:
        """Leave it to the parts."""
        for loss in self.losses:
            loss._check_read(rationale)

    def penalize(self, forward: Logits, batch: Batch, rationale: Rationale) -> Tensor:
        """Add up the weighted penalties of each row."""
        # Each part decides for itself whether it can share a pass.
        return torch.stack([loss(forward, batch, rationale) for loss in self.losses]).sum(dim=0)

"""Refills that are made up: constants, noise, means, and a blur."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from ..batch import Batch
from ..errors import KindError, SettingError, ShapeError
from ..masks import expand_mask
from .contract import Refill

__all__ = ["Blur", "Constant", "Grey", "Mean", "Noise", "grey"]


def grey(inputs: Tensor, irrelevant: Tensor, generator: Generator, *, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Refill the marked region of each row with one random constant.

    Parameters
    ----------
    inputs : Tensor, shape (batch, *event), float
        Model inputs; not changed.
    irrelevant : Tensor, shape (batch, *event) or without the channel axis, bool
        The regions to refill.
    generator : torch.Generator
        On the CPU; draws the constants.
    low, high : float
        Range of the constants, without `high`: that of the inputs.

    Returns
    -------
    Tensor, shape (batch, *event), float
        Rows without a mark are unchanged.

    Raises
    ------
    KindError, ShapeError
        If the mask is not boolean or does not fit the inputs, or these are integers.

    Examples
    --------
    >>> x = torch.full((1, 4), 2.0)
    >>> mark = torch.tensor([[True, True, False, False]])
    >>> refilled = grey(x, mark, torch.Generator().manual_seed(0))[0]
    >>> bool(refilled[0] == refilled[1] < 1), refilled[2:].tolist()
    (True, [2.0, 2.0])
    """
    _check_floating(inputs)
    mask = expand_mask(irrelevant, inputs)
    constants = (low + (high - low) * torch.rand(len(inputs), generator=generator)).to(inputs)
    return torch.where(mask, constants.reshape(-1, *[1] * (inputs.ndim - 1)), inputs)


def _check_range(low: float, high: float) -> None:
    """Raise SettingError unless numbers can be drawn from a range."""
    if not -math.inf < low < high < math.inf:
        raise SettingError(f"`low` must be below `high`, and both finite; got {low} and {high}.")


def _check_floating(inputs: Tensor) -> None:
    """Raise KindError where a refill that is no whole number would be cut to one."""
    if not inputs.is_floating_point():
        raise KindError(
            f"`inputs` must be floating point for this refill; got {inputs.dtype}. Convert pixels, "
            "`inputs.float() / 255`, or take `Swap` or `Constant`, which refill any type."
        )


@dataclass(frozen=True)
class Grey(Refill):
    """Counterexamples by `grey`: the region becomes one random constant per row.

    Attributes
    ----------
    low, high : float
        Range of the constants, without `high`: that of the inputs. Normalised pixels have another than [0, 1).

    Raises
    ------
    SettingError
        If they are not finite, or not ascending.

    Examples
    --------
    >>> from explain import Rationale
    >>> batch = Batch(torch.full((1, 2), 2.0), torch.tensor([0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[False, True]]))
    >>> bool(Grey()(batch, marks, torch.Generator().manual_seed(0)).inputs[0, 1] < 1)
    True
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        _check_range(self.low, self.high)

    def refill(self, batch: Batch, irrelevant: Tensor, generator: Generator) -> Tensor:
        """Put a random constant in the marked regions."""
        return grey(batch.inputs, irrelevant, generator, low=self.low, high=self.high)


@dataclass(frozen=True)
class Noise(Refill):
    """Counterexamples whose region is uniform noise, drawn for each element.

    Attributes
    ----------
    low, high : float
        Range of the noise, in the unit of the inputs.

    Raises
    ------
    SettingError
        If the range is empty or not finite.

    References
    ----------
    .. [1] S. Teso, K. Kersting, "Explanatory Interactive Machine Learning", AIES 2019.

    Examples
    --------
    >>> from explain import Rationale
    >>> batch = Batch(torch.zeros(1, 3), torch.tensor([0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[False, True, True]]))
    >>> Noise(1.0, 2.0)(batch, marks, torch.Generator().manual_seed(0)).inputs >= 1
    tensor([[False,  True,  True]])
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        _check_range(self.low, self.high)

    def refill(self, batch: Batch, irrelevant: Tensor, generator: Generator) -> Tensor:
        """Put noise in the marked regions."""
        _check_floating(batch.inputs)
        mask = expand_mask(irrelevant, batch.inputs)
        noise = self.low + (self.high - self.low) * torch.rand(batch.inputs.shape, generator=generator)
        return torch.where(mask, noise.to(batch.inputs), batch.inputs)


@dataclass(frozen=True)
class Constant(Refill):
    """Counterexamples whose region becomes a value that is given.

    A model can learn that the value means "marked"; rows without a mark teach it nothing else. Where
    that matters, take `Swap` or `Grey`.

    Attributes
    ----------
    value : float or tuple of float
        In the unit of the inputs, rounded where these are integers; a tuple holds one value for each
        channel, or for each feature of a table. `Constant.mean_of` takes them from data.

    Raises
    ------
    SettingError
        If a value is not finite, or there is none.

    References
    ----------
    .. [1] S. Teso, K. Kersting, "Explanatory Interactive Machine Learning", AIES 2019.

    Examples
    --------
    >>> from explain import Rationale
    >>> batch = Batch(torch.tensor([[1.0, 5.0]]), torch.tensor([0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[False, True]]))
    >>> Constant(-1.0)(batch, marks, torch.Generator()).inputs
    tensor([[ 1., -1.]])
    """

    value: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        given: Any = self.value
        if isinstance(given, (list, Tensor)):
            given = torch.as_tensor(given).tolist()
            object.__setattr__(self, "value", tuple(given) if isinstance(given, list) else given)
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        if not values or not all(math.isfinite(value) for value in values):
            raise SettingError(f"`value` must be finite, or a tuple of finite values; got {self.value!r}.")

    @classmethod
    def mean_of(cls, inputs: Tensor) -> "Constant":
        """Take the mean of each channel, or of each feature of a table, over rows and places.

        Parameters
        ----------
        inputs : Tensor, shape (rows, channels, *places) or (rows, features)
            Data in the unit of the inputs.

        Returns
        -------
        Constant
            One value for each channel or feature.

        Raises
        ------
        ShapeError
            If there is no row, or no axis beside the rows.

        Examples
        --------
        >>> Constant.mean_of(torch.tensor([[0.0, 4.0], [1.0, 6.0]]))
        Constant(value=(0.5, 5.0))
        """
        if inputs.ndim < 2 or inputs.numel() == 0:
            raise ShapeError(f"`inputs` must have shape (rows, channels, ...), none empty; got {tuple(inputs.shape)}.")
        others = [axis for axis in range(inputs.ndim) if axis != 1]
        return cls(tuple(inputs.mean(dim=others, dtype=torch.float64).tolist()))

    def refill(self, batch: Batch, irrelevant: Tensor, generator: Generator) -> Tensor:
        """Put the constant in the marked regions."""
        inputs = batch.inputs
        mask = expand_mask(irrelevant, inputs)
        exact = torch.tensor(self.value, dtype=torch.float64)
        if not inputs.is_floating_point():
            exact = exact.round()
        value = exact.to(inputs.dtype)
        held = value.isfinite().all() if inputs.is_floating_point() else torch.equal(value.double(), exact)
        if not held:
            raise SettingError(
                f"`value` must lie in the range of the inputs, {inputs.dtype}; got {self.value!r}. Give one that does, "
                "or make the inputs of a wider type."
            )
        if isinstance(self.value, tuple):
            if len(self.value) != inputs.shape[1]:
                raise ShapeError(
                    f"`value` must hold one number for each of {inputs.shape[1]} channels or features; "
                    f"got {len(self.value)}."
                )
            value = value.reshape(-1, *[1] * (inputs.ndim - 2))
        return torch.where(mask, value.to(inputs.device), inputs)


@dataclass(frozen=True)
class Mean(Refill):
    """Counterexamples whose region becomes the mean of what is not marked in the row.

    For each channel of its own; over all features for a table, whose columns rarely share a unit:
    take ``Constant.mean_of(data)`` there. A channel that is marked wholly becomes zero.

    Examples
    --------
    >>> from explain import Rationale
    >>> batch = Batch(torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[False, False, True]]))
    >>> Mean()(batch, marks, torch.Generator()).inputs
    tensor([[1.0000, 2.0000, 1.5000]])
    """

    def refill(self, batch: Batch, irrelevant: Tensor, generator: Generator) -> Tensor:
        """Put the row's own mean in the marked regions."""
        _check_floating(batch.inputs)
        mask = expand_mask(irrelevant, batch.inputs)
        places = tuple(range(2, mask.ndim)) or (1,)
        # Half precision would overflow in the sum over an image.
        wide = torch.promote_types(batch.inputs.dtype, torch.float32)
        kept = torch.where(mask, 0.0, batch.inputs).sum(dim=places, keepdim=True, dtype=wide)
        mean = kept / (~mask).sum(dim=places, keepdim=True).clamp(min=1)
        return torch.where(mask, mean.to(batch.inputs), batch.inputs)


@dataclass(frozen=True)
class Blur(Refill):
    """Counterexamples whose region is seen through a Gaussian blur of the row.

    Texture and edges go; the mean brightness of a region larger than the blur stays. Where that is
    what betrays the label, take another refill, or a `sigma` well above the size of the region.

    Attributes
    ----------
    sigma : float
        Standard deviation of the Gaussian, in pixels (samples, voxels). At the border its weights are
        renormalised, so that nothing beyond it counts.

    Raises
    ------
    SettingError
        If `sigma` is not positive and finite.
    ShapeError
        If the rows have no places beside their channels, as in a table.

    Examples
    --------
    >>> from explain import Rationale
    >>> batch = Batch(torch.tensor([[[0.0, 0.0, 1.0]]]), torch.tensor([0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[False, True, True]]))
    >>> Blur(1000.0)(batch, marks, torch.Generator()).inputs
    tensor([[[0.0000, 0.3333, 0.3333]]])
    """

    sigma: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise SettingError(f"`sigma` must be positive and finite; got {self.sigma}.")

    def refill(self, batch: Batch, irrelevant: Tensor, generator: Generator) -> Tensor:
        """Blur the marked regions."""
        _check_floating(batch.inputs)
        mask = expand_mask(irrelevant, batch.inputs)
        if mask.ndim < 3:
            raise ShapeError(
                f"To be blurred, inputs must have shape (batch, channels, *places); got {tuple(mask.shape)}."
            )
        blurred = batch.inputs
        # A Gaussian is separable: one axis after the other.
        for axis in range(2, mask.ndim):
            blurred = torch.tensordot(blurred, _gaussian(blurred.shape[axis], self.sigma, blurred), dims=([axis], [1]))
            blurred = blurred.movedim(-1, axis)
        return torch.where(mask, blurred, batch.inputs)


def _gaussian(size: int, sigma: float, like: Tensor) -> Tensor:
    """Weights of each place (columns) in the blur at each place (rows), summing to one in each row."""
    places = torch.arange(size, dtype=torch.float64)
    distance = (places[:, None] - places) / sigma
    # Through a softmax, so that the weights sum to one at the border too.
    return torch.softmax(-0.5 * distance.square(), dim=1).to(like)

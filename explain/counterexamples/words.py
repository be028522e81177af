"""Refills of text: tokens dropped or replaced, words taken out of a bag."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ..batch import Batch, check_float
from ..errors import KindError, SettingError, ShapeError
from ..masks import expand_mask
from .contract import Refill

__all__ = ["DropTokens", "DropWords", "ReplaceTokens"]


@dataclass(frozen=True)
class DropTokens(Refill):
    """Counterexamples without the marked tokens: the rest moves up, and padding fills the end.

    The batch keeps its width. A model that is told apart what is text and what is padding by a mask
    of its own must be given a new one: ``inputs != pad``.

    Attributes
    ----------
    pad : int
        Number of the padding token, which must be on the right.

    References
    ----------
    .. [1] S. Teso, K. Kersting, "Explanatory Interactive Machine Learning", AIES 2019.

    Examples
    --------
    >>> from explain import Rationale
    >>> batch = Batch(torch.tensor([[5, 6, 7, 0]]), torch.tensor([0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[False, True, False, False]]))
    >>> DropTokens(pad=0)(batch, marks, torch.Generator()).inputs
    tensor([[5, 7, 0, 0]])
    """

    pad: int = 0

    def refill(self, batch: Batch, irrelevant: Tensor, generator: Generator) -> Tensor:
        """Drop the marked tokens."""
        _check_tokens(batch.inputs)
        mask = expand_mask(irrelevant, batch.inputs)
        # A stable sort of False before True: what stays keeps its order.
        moved = batch.inputs.gather(1, mask.to(torch.uint8).argsort(dim=1, stable=True))
        kept = (~mask).sum(dim=1, keepdim=True)
        return torch.where(torch.arange(mask.shape[1], device=mask.device) < kept, moved, self.pad)


@dataclass(frozen=True)
class ReplaceTokens(Refill):
    """Counterexamples whose marked tokens become another one, or random ones.

    Attributes
    ----------
    token : int or None
        What takes the place of each marked token, such as the tokenizer's mask token.
    between : tuple of two ints or None
        Instead: random tokens, uniform from the first number up to, and without, the second.

    Raises
    ------
    SettingError
        Unless exactly one of the two is given, and the range has a token in it.

    References
    ----------
    .. [1] S. Teso, K. Kersting, "Explanatory Interactive Machine Learning", AIES 2019.

    Examples
    --------
    >>> from explain import Rationale
    >>> batch = Batch(torch.tensor([[5, 6, 7]]), torch.tensor([0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[False, True, False]]))
    >>> ReplaceTokens(token=103)(batch, marks, torch.Generator()).inputs
    tensor([[  5, 103,   7]])
    """

    token: int | None = None
    between: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if (self.token is None) == (self.between is None):
            raise SettingError(
                f"Exactly one of `token` and `between` must be given; got {self.token!r} and {self.between!r}."
            )
        if self.between is not None and not self.between[0] < self.between[1]:
            raise SettingError(f"`between` must be a range with a token in it; got {self.between}.")

    def refill(self, batch: Batch, irrelevant: Tensor, generator: Generator) -> Tensor:
        """Replace the marked tokens."""
        inputs = batch.inputs
        _check_tokens(inputs)
        mask = expand_mask(irrelevant, inputs)
        if self.between is None:
            assert self.token is not None
            return inputs.masked_fill(mask, self.token)
        drawn = torch.randint(*self.between, inputs.shape, generator=generator)
        return torch.where(mask, drawn.to(inputs), inputs)


@dataclass(frozen=True)
class DropWords(Refill):
    """Counterexamples for bags of words: the marked words become zero, at the row's original norm.

    The text refill of [1]_, for rows of TF-IDF or counts, whose length carries no meaning. A row of
    which nothing is left stays zero.

    References
    ----------
    .. [1] S. Teso, K. Kersting, "Explanatory Interactive Machine Learning", AIES 2019.

    Examples
    --------
    >>> from explain import Rationale
    >>> batch = Batch(torch.tensor([[3.0, 4.0, 0.0]]), torch.tensor([0]))
    >>> marks = Rationale(irrelevant=torch.tensor([[True, False, False]]))
    >>> DropWords()(batch, marks, torch.Generator()).inputs
    tensor([[0., 5., 0.]])
    """

    def refill(self, batch: Batch, irrelevant: Tensor, generator: Generator) -> Tensor:
        """Take the marked words out."""
        inputs = batch.inputs
        check_float(inputs)
        if inputs.ndim != 2:
            raise ShapeError(f"Bags of words must have shape (batch, vocabulary); got {tuple(inputs.shape)}.")
        mask = expand_mask(irrelevant, inputs)
        rest = torch.where(mask, 0.0, inputs)
        left = rest.norm(dim=1, keepdim=True)
        scaled = rest * (inputs.norm(dim=1, keepdim=True) / left.where(left > 0, 1.0))
        return torch.where(mask.any(dim=1, keepdim=True), scaled, inputs)


def _check_tokens(inputs: Tensor) -> None:
    """Raise unless the inputs are rows of token numbers."""
    if inputs.is_floating_point() or inputs.dtype == torch.bool:
        raise KindError(f"Tokens must be integers, as the tokenizer numbers them; got {inputs.dtype}.")
    if inputs.ndim != 2:
        raise ShapeError(f"Tokens must have shape (batch, tokens); got {tuple(inputs.shape)}.")

"""What every counterexample is: a change of the marked regions that keeps the label true."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from ..batch import Batch, Rationale, check_given
from ..errors import KindError, SettingError

__all__ = ["Added", "Counterexample", "Refill"]


def check_asked(batch: object, rationale: object, generator: object) -> None:
    """Raise KindError unless these are a batch, a rationale and a generator."""
    check_given(batch, rationale)
    if not isinstance(generator, Generator):
        raise KindError(
            "`generator` must be a torch.Generator: `torch.Generator().manual_seed(0)`; got "
            f"{type(generator).__name__}."
        )


class Counterexample(Protocol):
    """A change of the marked regions that keeps the label true."""

    def __call__(self, batch: Batch, rationale: Rationale, generator: Generator) -> Batch:
        """Return the batch with the irrelevant regions of its rows refilled."""
        ...


@dataclass(frozen=True)
class Refill(ABC):
    """A counterexample that replaces each row by itself with the marked region refilled.

    To write one, subclass it as a frozen dataclass and write `refill`.
    """

    @abstractmethod
    def refill(self, batch: Batch, irrelevant: Tensor, generator: Generator) -> Tensor:
        """Refill the marked regions.

        Parameters
        ----------
        batch : Batch
            Rows and labels; not changed.
        irrelevant : Tensor, shape (batch, *event) or without the channel axis, bool
            The regions to refill.
        generator : torch.Generator
            On the CPU.

        Returns
        -------
        Tensor, shape (batch, *event)
            Inputs; rows without a mark are unchanged.
        """

    def __call__(self, batch: Batch, rationale: Rationale, generator: Generator) -> Batch:
        """Return the batch with the irrelevant regions of its rows refilled.

        Parameters
        ----------
        batch : Batch
            Rows and labels; not changed.
        rationale : Rationale
            Of which the irrelevant mask is read; on any device.
        generator : torch.Generator
            On the CPU; what is random is drawn from it.

        Returns
        -------
        Batch
            With the same labels; `batch` itself if there is no mask.

        Raises
        ------
        KindError, ShapeError
            If the mask or the inputs are not of the kind that is refilled, or one of the three is something else.
        """
        check_asked(batch, rationale, generator)
        if rationale.irrelevant is None:
            return batch
        irrelevant = rationale.irrelevant.to(batch.inputs.device)
        return Batch(self.refill(batch, irrelevant, generator), batch.labels)


@dataclass(frozen=True)
class Added:
    """Keep the batch and append refilled copies of its annotated rows, with their labels.

    The loop of [1]_ adds `copies` counterexamples to the data for each correction. Beside one that
    replaces the rows, the task loss still sees them as they are, shortcut included, and a step costs
    more: about 1.9 times a plain one, where every row is annotated and there is one copy of it.

    Attributes
    ----------
    counterexample : Counterexample
        What refills the copies; donors come from the batch as it was.
    copies : int
        Copies of each annotated row, drawn independently: the *c* of [1]_.

    Raises
    ------
    SettingError
        If `copies` is less than one, or the counterexample itself adds rows.

    References
    ----------
    .. [1] S. Teso, K. Kersting, "Explanatory Interactive Machine Learning", AIES 2019.

    Examples
    --------
    >>> from explain.counterexamples import Constant
    >>> batch = Batch(torch.tensor([[1.0, 5.0], [2.0, 6.0]]), torch.tensor([0, 1]))
    >>> marks = Rationale(irrelevant=torch.tensor([[False, True], [False, False]]))
    >>> told = Added(Constant(0.0), copies=2)(batch, marks, torch.Generator())
    >>> told.inputs.tolist(), told.labels.tolist()
    ([[1.0, 5.0], [2.0, 6.0], [1.0, 0.0], [1.0, 0.0]], [0, 1, 0, 0])
    """

    counterexample: Counterexample
    copies: int = 1

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise SettingError(f"`copies` must be at least 1; got {self.copies}.")
        if isinstance(self.counterexample, type):
            name = self.counterexample.__name__
            raise SettingError(f"A counterexample is an instance, `{name}()`; got the class {name}.")
        if isinstance(self.counterexample, Added):
            raise SettingError("A counterexample that adds rows cannot be added again; give `copies` instead.")

    def __call__(self, batch: Batch, rationale: Rationale, generator: Generator) -> Batch:
        """Return the batch followed by copies of the rows that have an irrelevant mark, or are refilled without one.

        Parameters
        ----------
        batch : Batch
            Rows and labels; not changed.
        rationale : Rationale
            Of which the irrelevant mask is read.
        generator : torch.Generator
            On the CPU.

        Returns
        -------
        Batch
            ``len(batch) + copies · annotated`` rows, and those that `Swap` lends a region; `batch` itself if
            nothing is marked.
        """
        check_asked(batch, rationale, generator)
        if rationale.irrelevant is None:
            return batch
        marked = rationale.irrelevant.flatten(1).any(dim=1).to(batch.inputs.device)
        if not marked.any():
            return batch
        added = []
        for _ in range(self.copies):
            told = self.counterexample(batch, rationale, generator)
            # Rows without a mark that were lent a region are refilled too.
            changed = (told.inputs != batch.inputs).flatten(1).any(dim=1)
            added.append(told.take(marked | changed))
        return Batch(
            torch.cat([batch.inputs, *(copy.inputs for copy in added)]),
            torch.cat([batch.labels, *(copy.labels for copy in added)]),
        )

"""What a rationale loss is given: a batch, what a person said about it, and a model to ask."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn

from .errors import KindError, ShapeError
from .masks import check_bool, check_tensor

__all__ = ["Batch", "Forward", "Logits", "Rationale"]

# Where only logits are needed, any function from inputs to logits serves, a bare module included.
Logits: TypeAlias = Callable[[Tensor], Tensor]


@runtime_checkable
class Forward(Protocol):
    """A model as this package sees it: model inputs to logits, and named layers on the way.

    Rows must not influence each other, or no explanation belongs to a row: batch normalisation
    has to be in evaluation mode.
    """

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return logits, shape (batch, classes), for `inputs`, shape (batch, *event)."""
        ...

    def with_layers(self, inputs: Tensor, names: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return logits and the activations of the layers named, out of one forward pass."""
        ...


@dataclass(frozen=True, eq=False)
class Batch:
    """Examples as a model takes them, with their labels.

    Attributes
    ----------
    inputs : Tensor, shape (batch, *event), float
        Model inputs in the model's own unit.
    labels : Tensor, shape (batch,), int64
        Class numbers.
    logits : Tensor or None, shape (batch, classes), float
        What the model said of these inputs, where it was run already, in one graph with them; see
        `shared_pass`.
    layers : mapping of str to Tensor
        Activations of that pass, by name.
    ran : torch.nn.Module or None
        Whose pass that was, where it is known.

    Raises
    ------
    KindError
        If inputs or labels are no tensors.
    ShapeError
        If there is not one label per row.

    Examples
    --------
    >>> Batch(torch.rand(3, 1, 4, 4), torch.tensor([0, 2, 1]))
    Batch(3 × (1, 4, 4), float32)
    """

    inputs: Tensor
    labels: Tensor
    logits: Tensor | None = None
    layers: Mapping[str, Tensor] = field(default_factory=dict)
    ran: nn.Module | None = None

    def __post_init__(self) -> None:
        check_tensor(self.inputs, "inputs")
        check_tensor(self.labels, "labels")
        if self.inputs.ndim < 2 or self.labels.ndim != 1 or len(self.inputs) != len(self.labels):
            raise ShapeError(
                "`inputs` must have shape (batch, *event) and `labels` shape (batch,); "
                f"got {tuple(self.inputs.shape)} and {tuple(self.labels.shape)}."
            )

    def __repr__(self) -> str:
        rows, *event = self.inputs.shape
        shared = "" if self.logits is None else ", with logits"
        return f"Batch({rows} × {tuple(event)}, {str(self.inputs.dtype).removeprefix('torch.')}{shared})"

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor) -> "Batch":
        """Take some rows, by number or by a boolean mask; detached from any graph, and so without logits."""
        return Batch(self.inputs.detach()[rows], self.labels[rows])

    def to(self, device: torch.device | str) -> "Batch":
        """Move inputs and labels to a device; what a model said of them elsewhere is left behind."""
        return Batch(self.inputs.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class Rationale:
    """What a person said about the rows of a batch; everything not marked is unknown.

    Attributes
    ----------
    irrelevant : Tensor or None, shape (batch, *event) or without the channel axis, bool
        True where the input must not matter.
    relevant : Tensor or None, same shapes, bool
        True where the input should matter.

    Raises
    ------
    KindError
        If a mask is not a boolean tensor.
    ShapeError
        If a mask is not at least (batch, something), or the two differ in their number of rows.

    Examples
    --------
    >>> said = Rationale(irrelevant=torch.tensor([[True, False], [False, False]]))
    >>> said
    Rationale(irrelevant: 2 × (2,), 1 row marked)
    >>> said.annotated
    tensor([ True, False])
    """

    irrelevant: Tensor | None = None
    relevant: Tensor | None = None

    def __post_init__(self) -> None:
        for name, mask in (("irrelevant", self.irrelevant), ("relevant", self.relevant)):
            if mask is None:
                continue
            check_bool(mask, name)
            if mask.ndim < 2:
                raise ShapeError(f"`{name}` must have shape (batch, *event); got {tuple(mask.shape)}.")
        if self.irrelevant is not None and self.relevant is not None and len(self.irrelevant) != len(self.relevant):
            raise ShapeError(
                "`irrelevant` and `relevant` must have one row per example; "
                f"got {len(self.irrelevant)} and {len(self.relevant)} rows."
            )

    def __repr__(self) -> str:
        said = []
        for name, mask in (("irrelevant", self.irrelevant), ("relevant", self.relevant)):
            if mask is not None:
                rows, *event = mask.shape
                marked = int(any_marked(mask).sum())
                said.append(f"{name}: {rows} × {tuple(event)}, {marked} {'row' if marked == 1 else 'rows'} marked")
        return f"Rationale({'; '.join(said)})"

    def take(self, rows: Tensor) -> "Rationale":
        """Take some rows, by number or by a boolean mask."""
        irrelevant, relevant = (None if m is None else m[rows.to(m.device)] for m in (self.irrelevant, self.relevant))
        return Rationale(irrelevant, relevant)

    def to(self, device: torch.device | str) -> "Rationale":
        """Move the masks to a device."""
        irrelevant, relevant = (None if m is None else m.to(device) for m in (self.irrelevant, self.relevant))
        return Rationale(irrelevant, relevant)

    @property
    def annotated(self) -> Tensor:
        """Whether anything was said, shape (batch,), bool; shape () and False without any mask."""
        return any_marked(self.irrelevant, self.relevant)


def any_marked(*masks: Tensor | None) -> Tensor:
    """Say which rows have an element marked in any mask, shape (batch,); shape () and False without masks."""
    said = [mask.flatten(1).any(dim=1) for mask in masks if mask is not None]
    # Without masks it broadcasts over any number of rows, which is not known here.
    return torch.stack(said).any(dim=0) if said else torch.tensor(False)


def check_given(batch: object, rationale: object) -> None:
    """Raise KindError unless a loss is given a batch and a rationale."""
    if not isinstance(batch, Batch):
        raise KindError(f"`batch` must be a Batch: `Batch(inputs, labels)`; got {type(batch).__name__}.")
    if not isinstance(rationale, Rationale):
        raise KindError(
            f"`rationale` must be a Rationale: `Rationale(irrelevant=mask)`; got {type(rationale).__name__}."
        )


def check_float(inputs: Tensor) -> None:
    """Raise KindError unless `inputs` are a tensor that can carry a gradient."""
    check_tensor(inputs, "inputs")
    if not inputs.is_floating_point():
        raise KindError(
            f"`inputs` must be floating point to have a gradient; got {inputs.dtype}. "
            "Apply the model's preprocessing first; for tokens, name the embedding: layer='…', or explain the "
            "embedded sequence."
        )

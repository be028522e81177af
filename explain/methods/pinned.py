"""The target of a row, pinned to the class that the row itself decides, wherever the model is asked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..batch import Logits
from ..errors import ShapeError, TargetError
from ..target import Target, check_logits, checked_target, target_values

__all__ = ["PinnedTarget", "check_repeatable", "pin_target"]

# The class predicted becomes the label of the target on the right.
BY_LABEL = {"max_log_probability": "label_log_probability", "max_logit": "label_logit"}


@dataclass(frozen=True, eq=False)
class PinnedTarget:
    """A target that can be asked about altered copies of the rows that it was pinned to.

    Attributes
    ----------
    target : str, int or callable
        As for `target_values`, without those that look for the largest logit.
    labels : Tensor or None, shape (batch,), int64
        The class of each row, where the target needs one.

    Examples
    --------
    >>> pinned = PinnedTarget("label_logit", torch.tensor([1, 0]))
    >>> pinned(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]), copies=2)
    tensor([2., 3., 6., 7.])
    """

    target: Target
    labels: Tensor | None = None

    def __call__(self, logits: Tensor, copies: int = 1, rows: slice = slice(None)) -> Tensor:
        """Take the values of copies of some rows.

        Parameters
        ----------
        logits : Tensor, shape (copies * rows, classes), float
            Copy after copy: all rows of the first, all rows of the second.
        copies : int
            How many copies.
        rows : slice
            Which rows of those that the target was pinned to.

        Returns
        -------
        Tensor, shape (copies * rows,), float
            Differentiable.
        """
        if callable(self.target):
            check_logits(logits)
            # A function may well close over something that has one entry per row: it sees one copy at a time.
            return torch.cat([target_values(copy, self.target) for copy in logits.chunk(copies)])
        return target_values(logits, self.target, None if self.labels is None else self.labels[rows].repeat(copies))


def pin_target(
    forward: Logits, inputs: Tensor, target: Target, labels: Tensor | None = None, batch_size: int = 256
) -> PinnedTarget:
    """Decide the class to explain from the rows themselves.

    Methods that ask the model about altered inputs (on a path, with noise, with parts missing)
    explain one and the same output everywhere: ``max_logit`` and ``max_log_probability`` mean the
    class predicted for the unaltered row, even where another one would win.

    Parameters
    ----------
    forward : Forward, module or function
        Model inputs to logits, shape (batch, classes). Asked only for the two targets above.
    inputs : Tensor, shape (batch, *event), float
        Model inputs.
    target : str, int or callable
        See `target_values`. A function must treat every row alike, or expect the rows in their
        order; in that case `batch_size` must not be below their number.
    labels : Tensor or None, shape (batch,), int64
        For targets that need them.
    batch_size : int
        Rows per forward pass.

    Returns
    -------
    PinnedTarget
        To be asked by `values_at` and `gradients_at`.

    Raises
    ------
    TargetError
        If the target is drawn at random at each call, or labels are needed and missing.
    ShapeError
        If there is not one label per row.

    Examples
    --------
    >>> pin_target(lambda x: x, torch.tensor([[1.0, 3.0], [2.0, 0.0]]), "max_logit").labels
    tensor([1, 0])
    """
    if labels is not None and tuple(labels.shape) != (len(inputs),):
        raise ShapeError(f"`labels` must have shape ({len(inputs)},), one per row; got {tuple(labels.shape)}.")
    check_repeatable(target)
    if isinstance(target, str) and target in BY_LABEL:
        with torch.no_grad():
            classes = [
                _predicted(forward(part.clone()), target) for part in torch.split(inputs, batch_size) if len(part)
            ]
        return PinnedTarget(BY_LABEL[target], torch.cat(classes) if classes else torch.zeros(0, dtype=torch.int64))
    return PinnedTarget(target, None if labels is None else labels.to(inputs.device))


def check_repeatable(target: Target) -> None:
    """Raise TargetError if the target is none to explain: no target for all rows, or drawn anew at each call.

    Examples
    --------
    >>> check_repeatable("label_logit")
    """
    target = checked_target(target)
    if target == "random_sign_logits":
        raise TargetError(
            "The target 'random_sign_logits' is drawn anew at each call, for training only: a row would have another "
            "map each time. Explain 'max_logit', a class number, or a function with signs of your own."
        )


def _predicted(logits: Tensor, target: str) -> Tensor:
    """Return the class predicted, once the target has accepted the logits."""
    target_values(logits, target)
    return logits.argmax(dim=1)

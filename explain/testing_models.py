"""Models that the contract of a rationale loss is tested on: smooth, noisy, broken, and writing into their inputs."""

from __future__ import annotations

from torch import Tensor, nn

from .batch import Batch, Rationale
from .losses.contract import RationaleLoss

__all__ = ["Begins", "Broken", "LossOfWeights", "Noisy", "Smooth"]


class Smooth(nn.Module):
    """A small convolutional net whose activations have all derivatives, so that gradients can be checked.

    Layers: ``conv`` (2 → 3 channels, 4×4), ``features``, ``head``; 3 classes, inputs (batch, 2, 4, 4).

    Examples
    --------
    >>> import torch
    >>> Smooth()(torch.zeros(5, 2, 4, 4)).shape
    torch.Size([5, 3])
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.bend = nn.Softplus()
        self.features = nn.Conv2d(3, 2, 3, padding=1)
        self.squash = nn.Tanh()
        self.flat = nn.Flatten()
        self.head = nn.Linear(32, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (batch, 2, 4, 4) to logits, (batch, 3)."""
        logits: Tensor = self.head(self.flat(self.squash(self.features(self.bend(self.conv(inputs))))))
        return logits


class Broken(nn.Module):
    """A last layer that fails after some calls."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the inputs, or fail."""
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("broken on purpose")
        return inputs


class LossOfWeights(nn.Module):
    """A net and a loss of it as one module, so that the loss can be seen as a function of the weights."""

    def __init__(self, net: nn.Module, loss: RationaleLoss, batch: Batch, rationale: Rationale) -> None:
        super().__init__()
        self.net, self.loss, self.batch, self.rationale = net, loss, batch, rationale

    def forward(self) -> Tensor:
        """Sum the penalties of the batch."""
        return self.loss(self.net, self.batch, self.rationale).sum()


class Noisy(nn.Module):
    """A net followed by layers whose mode and buffers matter, and by one that may fail."""

    def __init__(self, net: nn.Module, calls: int) -> None:
        super().__init__()
        self.net = net
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)
        self.drop.eval()
        self.broken = Broken(calls)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs to logits."""
        logits: Tensor = self.broken(self.drop(self.norm(self.net(inputs))))
        return logits


class Begins(nn.Module):
    """A net after a layer that may write into what it is given."""

    def __init__(self, net: nn.Module, *, inplace: bool) -> None:
        super().__init__()
        self.begin = nn.ReLU(inplace=inplace)
        self.net = net

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs to logits."""
        logits: Tensor = self.net(self.begin(inputs))
        return logits

"""Small networks to start from: importable, and each holds its arguments, so that a saved one can be built again."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

__all__ = ["Conv5", "Mlp", "SmallConv"]


class Mlp(nn.Module):
    """A multilayer perceptron with ReLU between its layers.

    With its defaults, the network of [1]_ on 28×28 images.

    Parameters
    ----------
    inputs : sequence of int
        Shape of one input.
    hidden : sequence of int
        Width of each hidden layer.
    classes : int
        Number of logits.

    References
    ----------
    .. [1] A. S. Ross, M. C. Hughes, F. Doshi-Velez, "Right for the Right Reasons: Training
       Differentiable Models by Constraining their Explanations", IJCAI 2017.

    Examples
    --------
    >>> import torch
    >>> Mlp()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, inputs: Sequence[int] = (1, 28, 28), hidden: Sequence[int] = (50, 30), classes: int = 10
    ) -> None:
        super().__init__()
        self.arguments = {"inputs": tuple(inputs), "hidden": tuple(hidden), "classes": classes}
        widths = [prod(inputs), *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (batch, *inputs) to logits, (batch, classes)."""
        logits: Tensor = self.head(self.features(inputs))
        return logits


class SmallConv(nn.Module):
    """3×3 convolutions of stride 2 and one hidden layer: fast on a CPU, easily fooled.

    Parameters
    ----------
    channels : sequence of int
        Channels of each convolution.
    hidden : int
        Width of the hidden layer.
    inputs : sequence of int
        Channels, height and width of one input.
    classes : int
        Number of logits.

    Examples
    --------
    >>> import torch
    >>> SmallConv()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        channels: Sequence[int] = (8, 16),
        hidden: int = 32,
        inputs: Sequence[int] = (1, 28, 28),
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.arguments = {"channels": tuple(channels), "hidden": hidden, "inputs": tuple(inputs), "classes": classes}
        depth, height, width = inputs
        layers: list[nn.Module] = []
        for before, after in pairwise([depth, *channels]):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
            # Half of each side, rounded up.
            height, width = (height + 1) // 2, (width + 1) // 2
        self.features = nn.Sequential(*layers)
        last = channels[-1] if channels else depth
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(last * height * width, hidden), nn.ReLU())
        self.head = nn.Linear(hidden, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (batch, *inputs) to logits, (batch, classes)."""
        logits: Tensor = self.head(self.hidden(self.features(inputs)))
        return logits


class Conv5(nn.Module):
    """Two 5×5 convolutions of 20 and 50 channels with pooling, and one hidden layer, as in [1]_.

    Parameters
    ----------
    channels : two ints
        Channels of each convolution.
    hidden : int
        Width of the hidden layer.
    inputs : sequence of int
        Channels, height and width of one input.
    classes : int
        Number of logits.

    References
    ----------
    .. [1] F. Friedrich, W. Stammer, P. Schramowski, K. Kersting, "A typology for exploring the mitigation
       of shortcut behaviour", Nature Machine Intelligence 5, 2023.

    Examples
    --------
    >>> import torch
    >>> Conv5()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        channels: tuple[int, int] = (20, 50),
        hidden: int = 256,
        inputs: Sequence[int] = (1, 28, 28),
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.arguments = {"channels": tuple(channels), "hidden": hidden, "inputs": tuple(inputs), "classes": classes}
        depth, height, width = inputs
        first, second = channels
        self.conv1 = nn.Sequential(nn.Conv2d(depth, first, 5), nn.ReLU(), nn.MaxPool2d(2))
        self.conv2 = nn.Sequential(nn.Conv2d(first, second, 5), nn.ReLU(), nn.MaxPool2d(2))
        # Each convolution takes off four, each pooling halves.
        height, width = (((side - 4) // 2 - 4) // 2 for side in (height, width))
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(second * height * width, hidden), nn.ReLU())
        self.head = nn.Linear(hidden, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (batch, *inputs) to logits, (batch, classes)."""
        logits: Tensor = self.head(self.hidden(self.conv2(self.conv1(inputs))))
        return logits

"""What a training sets around itself and puts back: seeds, and the modes of a module."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from explain.layers import modes_kept

__all__ = ["seeded", "training_mode"]


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators, which dropout reads, and leave them as found.

    Parameters
    ----------
    seed : int
        For the CPU, and for the device if it is a CUDA one.
    device : torch.device
        Where the weights are.

    Examples
    --------
    >>> state = torch.get_rng_state()
    >>> with seeded(3, torch.device("cpu")):
    ...     _ = torch.rand(5)
    >>> torch.equal(torch.get_rng_state(), state)
    True
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # Not `torch.manual_seed`: it would also seed devices that are not put back.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def training_mode(module: nn.Module, freeze_statistics: bool) -> Iterator[None]:
    """Put a module in training mode, running statistics frozen if asked, and back as found.

    Parameters
    ----------
    module : torch.nn.Module
        What is trained.
    freeze_statistics : bool
        Whether normalisation layers with running statistics stay in evaluation mode.

    Examples
    --------
    >>> net = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)).eval()
    >>> with training_mode(net, freeze_statistics=True):
    ...     net[0].training, net[1].training
    (False, True)
    >>> net[1].training
    False
    """
    with modes_kept(module):
        module.train()
        for part in module.modules():
            if freeze_statistics and getattr(part, "running_mean", None) is not None:
                part.training = False
        yield

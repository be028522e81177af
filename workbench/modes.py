"""What a training sets around itself and puts back: seeds, modes of a module, and what half a step has changed."""

import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from explain.layers import modes_kept

__all__ = ["changing_buffers", "seeded", "training_mode", "undivided"]


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python, and leave them as found.

    Dropout reads the first; a preprocess of one's own may read any.

    Parameters
    ----------
    seed : int
        For the CPU, and for the device if it is a CUDA one; not negative.
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
    pythons, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002 - others' code may read it
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # Not `torch.manual_seed`: it would also seed devices that are not put back.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        random.seed(seed)
        # It takes 32 bits.
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(pythons)
            np.random.set_state(numpys)  # noqa: NPY002


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


def changing_buffers(module: nn.Module) -> list[tuple[nn.Module, str, Tensor]]:
    """Copy what a pass in training mode may change beside the weights: running statistics, above all.

    Parameters
    ----------
    module : torch.nn.Module
        What is trained.

    Returns
    -------
    list of (torch.nn.Module, str, Tensor)
        Parts in training mode, and their buffers by name: ``setattr(part, name, value)`` puts one back.

    Examples
    --------
    >>> net = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))
    >>> [name for _, name, _ in changing_buffers(net)], changing_buffers(net.eval())
    (['running_mean', 'running_var', 'num_batches_tracked'], [])
    """
    return [
        (part, name, value.clone())
        for part in module.modules()
        if part.training
        for name, value in part.named_buffers(recurse=False)
    ]


@contextmanager
def undivided() -> Iterator[None]:
    """Hold Ctrl-C back until what is inside is done; only the main thread is ever interrupted.

    Examples
    --------
    >>> done = []
    >>> try:
    ...     with undivided():
    ...         signal.raise_signal(signal.SIGINT)
    ...         done.append("whole")
    ... except KeyboardInterrupt:
    ...     done.append("interrupted")
    >>> done
    ['whole', 'interrupted']
    """
    before = signal.getsignal(signal.SIGINT)
    # A handler that is not of Python cannot be put back.
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    held: list[tuple[int, Any]] = []
    signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        before(*held[-1])

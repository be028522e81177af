"""Rivals: the loops that people write by hand today, each as good as its kind allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

__all__ = ["DECODERS", "Loop", "float_loop", "threaded_loop", "uint8_loops"]

Decoder = Callable[[Path], NDArray[np.uint8]]


def with_pillow(path: Path) -> NDArray[np.uint8]:
    """Decode as most people do."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def with_simplejpeg(path: Path) -> NDArray[np.uint8]:
    """Decode with the decoder that the workbench takes where it is installed."""
    return np.asarray(simplejpeg.decode_jpeg(path.read_bytes(), "RGB"))


DECODERS: dict[str, Decoder] = {"Pillow": with_pillow, "simplejpeg": with_simplejpeg}


@dataclass(frozen=True)
class Loop:
    """A hand-written loop and how it is set.

    Attributes
    ----------
    words : str
        Its settings, for the table.
    run : callable
        Takes paths and a module, returns scores.
    """

    words: str
    run: Callable[[Sequence[Path], nn.Module], Tensor]


class _Batches(Dataset[Any]):
    """Pictures that are fetched a batch at a time, as one uint8 tensor."""

    def __init__(self, paths: Sequence[Path], decode: Decoder, side: int | None, threads: int) -> None:
        self.paths = paths
        self.decode = decode
        self.side = side
        self.pool = ThreadPoolExecutor(threads) if threads else None

    def __len__(self) -> int:
        return len(self.paths)

    def one(self, number: int) -> NDArray[np.uint8]:
        """Return one picture, resized where a size was asked for."""
        array = self.decode(self.paths[number])
        if self.side is None:
            return array
        resized = Image.fromarray(array).resize((self.side, self.side), Image.Resampling.BILINEAR)
        return np.asarray(resized)

    def __getitems__(self, numbers: list[int]) -> Tensor:
        arrays = (self.pool.map if self.pool else map)(self.one, numbers)
        return torch.from_numpy(np.stack(list(arrays)))


class _Floats(_Batches):
    """Pictures one by one, each converted to float and to channels first: the usual data set."""

    __getitems__ = None  # type: ignore[assignment]

    def __getitem__(self, number: int) -> Tensor:
        array = self.one(number)
        return torch.from_numpy(np.array(array)).permute(2, 0, 1).contiguous().float().div(255)


def _as_it_is(batch: Any) -> Any:
    return batch


def uint8_loops(side: int | None = None, workers: Sequence[int] = (0, 1, 2)) -> dict[str, list[Loop]]:
    """Return, by decoder, loops over uint8 batches, converted to float once a batch, in their usual settings."""
    return {name: [_uint8_loop(name, side, size, count) for size in (16, 64) for count in workers] for name in DECODERS}


def _uint8_loop(decoder: str, side: int | None, size: int, workers: int) -> Loop:
    def run(paths: Sequence[Path], module: nn.Module) -> Tensor:
        data = _Batches(paths, DECODERS[decoder], side, 0)
        loader: Any = DataLoader(data, batch_size=size, num_workers=workers, collate_fn=_as_it_is)
        return _scores(loader, module)

    return Loop(f"{decoder}, {workers} workers, batches of {size}", run)


def threaded_loop(decoder: str, side: int | None = None, size: int = 16, threads: int = 2) -> Loop:
    """Return a loop whose batches are decoded by threads: rarely written, and the hardest to beat."""

    def run(paths: Sequence[Path], module: nn.Module) -> Tensor:
        data = _Batches(paths, DECODERS[decoder], side, threads)
        try:
            return _scores(DataLoader(data, batch_size=size, collate_fn=_as_it_is), module)
        finally:
            assert data.pool is not None
            data.pool.shutdown()

    return Loop(f"{decoder}, {threads} decoding threads, batches of {size}", run)


def float_loop(side: int | None = None, size: int = 64, workers: int = 2) -> Loop:
    """Return the usual loop: Pillow, one float tensor a picture, collated in the workers."""

    def run(paths: Sequence[Path], module: nn.Module) -> Tensor:
        loader: Any = DataLoader(_Floats(paths, with_pillow, side, 0), batch_size=size, num_workers=workers)
        outputs = []
        with torch.inference_mode():
            for batch in loader:
                outputs.append(module(batch))
        return torch.cat(outputs)

    return Loop(f"Pillow, float per image, {workers} workers, batches of {size}", run)


def _scores(batches: Iterable[Tensor], module: nn.Module) -> Tensor:
    outputs = []
    with torch.inference_mode():
        for batch in batches:
            # Seen as channels first without a copy: measured faster than a contiguous copy for this network.
            outputs.append(module(batch.permute(0, 3, 1, 2).float().div_(255)))
    return torch.cat(outputs)

"""From JPEG files to class scores: against hand-written loops, and against decoding alone plus the model alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from torch import nn

import workbench as wb

from .figures import Figure, Scale, cell
from .rivals import Loop, float_loop, threaded_loop, uint8_loops
from .sample import pictures
from .timing import Race, race

__all__ = ["CLASSES", "SmallNet", "scores_of", "thin_linear"]

CLASSES = tuple(f"class {number}" for number in range(10))


class SmallNet(nn.Module):
    """Three convolutions of stride 2, a mean over places, a hidden layer, ten logits."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU())
        self.third = nn.Sequential(nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU())
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.hidden = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(64, len(CLASSES))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map pictures (batch, 3, height, width) to logits."""
        pooled = self.pool(self.third(self.second(self.first(inputs))))
        logits: torch.Tensor = self.head(self.hidden(pooled))
        return logits


def thin_linear(side: int) -> nn.Module:
    """Return one linear layer over all pixels: next to nothing beside the decoding."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, len(CLASSES))).eval()


def scores_of(
    paths: Sequence[Path], module: nn.Module, side: int | None = None, reduced: bool = False
) -> wb.PredictionColumn:
    """Return the scores of pictures in files: what is timed as ours, from the paths on."""
    image = wb.ImageColumn(paths)
    if side is not None:
        image = image.resize((side, side), reduced=reduced)
    panel = wb.DataPanel({"image": image}, origin="bench").predict(wb.Classifier(module, CLASSES))
    column: wb.PredictionColumn = panel["prediction"].compute()
    return column


def decoding_alone(paths: Sequence[Path], side: int, target: int | None = None) -> Callable[[], None]:
    """Return the first half of the floor: every picture decoded (and resized), by a thread per core.

    Each thread takes pieces of eight files and writes into an array that it has already.
    """
    from PIL import Image

    threads = os.cpu_count() or 1
    raw = np.empty((threads, side, side, 3), np.uint8)

    def work(thread: int) -> None:
        for number in range(thread, len(paths), threads):
            array = simplejpeg.decode_jpeg(paths[number].read_bytes(), "RGB", buffer=raw[thread])
            if target is not None:
                Image.fromarray(array).resize((target, target), Image.Resampling.BILINEAR)

    def run() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))

    return run


def model_alone(count: int, side: int, module: nn.Module, size: int) -> Callable[[], None]:
    """Return the second half: float conversion and model, over one uint8 batch that is used again and again."""
    batch = torch.randint(0, 256, (size, side, side, 3), dtype=torch.uint8)

    def run() -> None:
        with torch.inference_mode():
            for start in range(0, count, size):
                module(batch[: min(size, count - start)].permute(0, 3, 1, 2).float().div_(255))

    return run


@cell("images-cnn")
def against_loops(scale: Scale) -> Iterable[Figure]:
    """2,000 JPEGs → small CNN → scores, against loops over uint8 batches and the usual loop over floats.

    Floor: decoding alone on all cores plus the model alone at its best batch size. Both stages keep every core
    busy, so on a machine without a GPU nothing can be won by overlapping them.
    """
    paths = pictures(scale.images, scale.side)
    net = SmallNet().eval()
    loops = {name: _best(choices, paths, net) for name, choices in uint8_loops(None, scale.workers).items()}
    size = _best_size(len(paths), scale.side, net)
    usual, threaded = float_loop(workers=scale.workers[-1]), threaded_loop("simplejpeg", size=size)
    result = race(
        {
            "ours": lambda: scores_of(paths, net),
            **{name: _of(loop, paths, net) for name, loop in loops.items()},
            "usual": _of(usual, paths, net),
            "threaded": _of(threaded, paths, net),
            "decode": decoding_alone(paths, scale.side),
            "model": model_alone(len(paths), scale.side, net, size),
        },
        scale.repeats,
    )
    work = f"{len(paths):,} JPEGs {scale.side}² → CNN → scores"
    floor = result.best("decode") + result.best("model")
    words = (
        f"decoding alone {result.best('decode'):.3f} s + model alone {result.best('model'):.3f} s (batches of {size})"
    )
    yield _against(
        result, work, "simplejpeg", loops["simplejpeg"].words, 1.0, floor=floor, floor_words=words,
        note="judged against the loop with our own decoder, the stricter rival; best of 0, 1, 2 workers and batches "
        "of 16 or 64",
    )  # fmt: skip
    yield _against(
        result, f"{work}, with Pillow", "Pillow", loops["Pillow"].words, 1.0,
        note="the same loop as most people write it",
    )  # fmt: skip
    yield _against(
        result, f"{work}, by threads", "threaded", threaded.words, None,
        note="shown beside the target: a loop that decodes in threads stands at the floor itself",
    )  # fmt: skip
    yield _against(result, f"{work}, usual loop", "usual", usual.words, 0.67)
    ratios = [
        ours / (decode + model)
        for ours, decode, model in zip(*(result.seconds[n] for n in ("ours", "decode", "model")), strict=True)
    ]
    yield Figure(
        f"{work}, to the floor", result.best("ours"), "s", 1.10, floor, words,
        median_ratio=float(np.median(ratios)), floor=floor, floor_words=words,
    )  # fmt: skip


@cell("images-decode")
def decode_bound(scale: Scale) -> Iterable[Figure]:
    """2,000 JPEGs 512×512 → 64×64 → a linear layer: nearly all the time is decoding.

    Floor: decoding (and resizing) alone on all cores. Reduced-size decoding must still undo the entropy coding
    of every coefficient, which sets what it can win.
    """
    side, target = 2 * scale.side, scale.side // 4
    paths = pictures(scale.images, side)
    linear = thin_linear(target)
    loops = {name: _best(choices, paths, linear) for name, choices in uint8_loops(target, scale.workers[-1:]).items()}
    threaded = threaded_loop("simplejpeg", target, size=64)
    result = race(
        {
            "reduced": lambda: scores_of(paths, linear, target, reduced=True),
            "full": lambda: scores_of(paths, linear, target),
            **{name: _of(loop, paths, linear) for name, loop in loops.items()},
            "threaded": _of(threaded, paths, linear),
            "decode": decoding_alone(paths, side, target),
            "entropy": _reduced_alone(paths, target),
        },
        scale.repeats,
    )
    work = f"{len(paths):,} JPEGs {side}² → {target}² → linear"
    for decoder in loops:
        asked = "reduced-size decoding asked for; "
        note = "judged against the loop with our own decoder" if decoder == "simplejpeg" else "as most people write it"
        yield _against(
            result, f"{work}, reduced, vs {decoder}", decoder, loops[decoder].words, 0.45, ours="reduced",
            floor=result.best("entropy"), floor_words="reduced decoding alone, on all cores", note=asked + note,
        )  # fmt: skip
        yield _against(
            result, f"{work}, full, vs {decoder}", decoder, loops[decoder].words, 1.0, ours="full",
            floor=result.best("decode"), floor_words="decoding and resizing alone, on all cores", note=note,
        )  # fmt: skip
    yield _against(
        result, f"{work}, full, by threads", "threaded", threaded.words, None, ours="full", note="shown, not judged"
    )


def _reduced_alone(paths: Sequence[Path], target: int) -> Callable[[], None]:
    threads = os.cpu_count() or 1

    def work(thread: int) -> None:
        for path in paths[thread::threads]:
            simplejpeg.decode_jpeg(path.read_bytes(), "RGB", min_height=target, min_width=target)

    def run() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))

    return run


def _of(loop: Loop, paths: Sequence[Path], module: nn.Module) -> Callable[[], torch.Tensor]:
    return lambda: loop.run(paths, module)


def _best(loops: Sequence[Loop], paths: Sequence[Path], module: nn.Module) -> Loop:
    """Return the fastest of some settings, found on a quarter of the pictures."""
    some = paths[: max(1, len(paths) // 4)]
    result = race({loop.words: _of(loop, some, module) for loop in loops}, 2)
    best = result.fastest()
    return next(loop for loop in loops if loop.words == best)


def _best_size(count: int, side: int, module: nn.Module) -> int:
    some = max(1, count // 4)
    result = race({str(size): model_alone(some, side, module, size) for size in (8, 16, 24, 32, 64)}, 2)
    return int(result.fastest())


def _against(
    result: Race,
    work: str,
    rival: str,
    words: str,
    target: float | None,
    *,
    ours: str = "ours",
    floor: float | None = None,
    floor_words: str = "",
    note: str = "",
) -> Figure:
    return Figure(
        work, result.best(ours), "s", target, result.best(rival), words,
        result.median_ratio(ours, rival), floor, floor_words, note,
    )  # fmt: skip

"""Sample data: pictures like photographs and a table of a million rows, the same on every machine."""

from __future__ import annotations

import functools
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

__all__ = ["DATA", "Table", "pictures", "table"]

DATA = Path(__file__).parent / ".data"

_QUALITY = 86
_SCALES = ((4, 60.0), (16, 40.0), (64, 22.0), (128, 12.0))  # blobs per side, and how strong they are
_GRAIN = 4.0


def pictures(count: int, side: int) -> list[Path]:
    """Return `count` JPEG files of `side` × `side` pixels, made on first use (20 KB at 256, 61 KB at 512)."""
    directory = DATA / f"jpeg-{side}-{count}"
    if not directory.exists():
        draft = directory.with_suffix(f".{os.getpid()}")
        draft.mkdir(parents=True)
        tasks = [(draft / f"{number:05d}.jpg", side, number) for number in range(count)]
        # Spawned, not forked: the threads of torch do not survive a fork.
        workers = min(os.cpu_count() or 1, 1 + count // 200)
        if workers > 1:
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                list(pool.map(_write, tasks, chunksize=50))
        else:
            for task in tasks:
                _write(task)
        try:
            draft.rename(directory)
        except OSError:  # somebody else made them meanwhile
            shutil.rmtree(draft)
    return sorted(directory.glob("*.jpg"))


def _write(task: tuple[Path, int, int]) -> None:
    path, side, seed = task
    Image.fromarray(_photograph(side, seed)).save(path, "JPEG", quality=_QUALITY)


def _photograph(side: int, seed: int) -> NDArray[np.uint8]:
    """Return noise at several scales, mostly grey, with a little grain: it compresses as photographs do."""
    rng = np.random.default_rng(seed)
    total = np.full((side, side, 3), 120.0, np.float32)
    for blobs, weight in _SCALES:
        noise = rng.normal(size=(blobs, blobs, 3)).astype(np.float32)
        noise = 0.7 * noise[:, :, :1] + 0.3 * noise
        for channel in range(3):
            small = Image.fromarray(noise[:, :, channel])
            total[:, :, channel] += weight * np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))
    total += _GRAIN * rng.normal(size=(side, side, 1)).astype(np.float32)
    return np.clip(total, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Table:
    """Five scalars a row, as people have them before they build anything.

    Attributes
    ----------
    columns : dict of str to ndarray or list
        ``number`` (int64), ``coarse`` (int64, 100 values), ``fine`` (int64), ``score`` (float64), ``name``
        (text).
    side : dict of str to ndarray or list
        One row for each value of ``coarse``, to be joined: ``weight`` and ``title``.
    """

    columns: dict[str, NDArray[np.int64] | NDArray[np.float64] | list[str]]
    side: dict[str, NDArray[np.int64] | NDArray[np.float64] | list[str]]


@functools.cache
def table(rows: int, distinct: int, keys: int) -> Table:
    """Return the table of `rows` rows with `distinct` different names and `keys` different values of ``fine``."""
    rng = np.random.default_rng(7)
    names = np.array([f"name-{number:06d}" for number in rng.permutation(distinct)])
    side = rng.permutation(100)
    return Table(
        {
            "number": rng.integers(0, 10 * rows, rows),
            "coarse": rng.integers(0, 100, rows),
            "fine": rng.integers(0, keys, rows),
            "score": rng.normal(size=rows),
            "name": pa.array(names[rng.integers(0, distinct, rows)]).to_pylist(),
        },
        {"coarse": side, "weight": rng.normal(size=100), "title": [f"title {number}" for number in side]},
    )

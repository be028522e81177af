"""The data of the table, as tensors: training rows, what a simulated user says about them, and the tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import workbench as wb
from explain import Rationale, swap
from workbench.nets import Conv5, Mlp, SmallConv
from workbench.schedule import hold_out

__all__ = ["TASKS", "Rows", "Task", "build", "task"]

# A pixel of the clean picture counts as ink, and so as what should matter, from here on.
INK = 0.1


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a split, ready for a model.

    Attributes
    ----------
    inputs : Tensor, shape (rows, *event), float32
    labels : Tensor, shape (rows,), int64
    rationale : Rationale
        What the simulated user says: the swatch, or the columns, must not matter; the ink should.
    """

    inputs: Tensor
    labels: Tensor
    rationale: Rationale

    def __len__(self) -> int:
        return len(self.labels)

    def draw(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Rationale]:
        """Draw rows by number, as a training wants them."""
        some = torch.as_tensor(rows)
        return self.inputs[some], self.labels[some], self.rationale.take(some)

    def take(self, rows: NDArray[np.int64]) -> Rows:
        """Return some of the rows."""
        return Rows(*self.draw(rows))

    def refilled(self, seed: int) -> Rows:
        """Return the rows with their irrelevant regions swapped among each other."""
        assert self.rationale.irrelevant is not None
        drawn = torch.Generator().manual_seed(seed)
        return replace(self, inputs=swap(self.inputs, self.rationale.irrelevant, drawn))


@dataclass(frozen=True, eq=False)
class Task:
    """One of the table's data.

    Attributes
    ----------
    name : str
    classes : int
    nets : tuple of str
        Nets that the table has for it.
    train : Rows
        Rows to train on.
    kept, held : ndarray, int64
        The same parted, copies of one original together, to choose settings by: train on `kept`, look at `held`.
    clean_test, decoy_test : Rows
        The same rows without the shortcut, and with one that lies.
    swapped : Rows
        Those whose regions are swapped among each other to see whether predictions flip.
    answerable : bool
        False where all that tells the classes must not matter: who obeys is at chance, on the clean test too.
    """

    name: str
    classes: int
    nets: tuple[str, ...]
    train: Rows
    kept: NDArray[np.int64]
    held: NDArray[np.int64]
    clean_test: Rows
    decoy_test: Rows
    swapped: Rows
    answerable: bool = True


def task(name: str, seed: int, root: Path) -> Task:
    """Return a task by its name; IDX files are looked for below `root`."""
    if name not in TASKS:
        raise SystemExit(f"No data {name!r}; there are: {', '.join(TASKS)}.")
    return TASKS[name](name, seed, root)


def build(net: str, one: Task, seed: int) -> nn.Module:
    """Make an untrained net for a task, its weights drawn by the seed."""
    event = tuple(one.train.inputs.shape[1:])
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return NETS[net](event, one.classes)


NETS: dict[str, Callable[[tuple[int, ...], int], nn.Module]] = {
    "mlp": lambda event, classes: Mlp(inputs=event, hidden=(50, 30), classes=classes),
    "cnn": lambda event, classes: SmallConv(channels=(16, 32), hidden=64, inputs=event, classes=classes),
    "conv5": lambda event, classes: Conv5(channels=(20, 50), inputs=event, classes=classes),
}


def _decoyed(name: str, seed: int, root: Path) -> Task:
    """Return decoy digits, MNIST or Fashion-MNIST: a grey corner tells the label in training and lies at test."""
    # The data are one; seeds of the table draw weights and batches. Corners and greys are drawn once.
    train, source, tests = _decoy_rows(name, str(root))
    kept, held = hold_out(source, 0.1, seed=0)
    nets = ("mlp", "cnn") if name == "decoy-digits" else ("mlp", "cnn", "conv5")
    return Task(name, 10, nets, train, kept, held, **tests, swapped=tests["decoy_test"])


@lru_cache(maxsize=1)
def _decoy_rows(name: str, root: str) -> tuple[Rows, NDArray[np.int64], dict[str, Rows]]:
    """Read one of the decoyed data; kept, because reading takes longer than some cells."""
    if name == "decoy-digits":
        panel = wb.datasets.decoy_digits(0)
    else:
        panel = wb.datasets.decoy_idx(Path(root) / ("mnist" if name == "decoy-mnist" else "fashion_mnist"))
    splits = {name: panel[panel["split"] == name] for name in ("train", "clean_test", "decoy_test")}
    rows = {name: _picture_rows(split) for name, split in splits.items()}
    train = rows.pop("train")
    assert train.rationale.irrelevant is not None
    relevant = (train.inputs[:, 0] > INK) & ~train.rationale.irrelevant
    train = replace(train, rationale=replace(train.rationale, relevant=relevant))
    source: NDArray[np.int64] = splits["train"]["source"].to_numpy()
    return train, source, rows


def _picture_rows(split: wb.DataPanel) -> Rows:
    inputs = split["image"].to_torch().float() / 255
    inputs = inputs.reshape(len(inputs), -1, *inputs.shape[-2:])
    masks = torch.from_numpy(np.array(split["swatch"].to_numpy()))
    return Rows(inputs, split["label"].codes().to_torch().long(), Rationale(irrelevant=masks))


def _toy_colours(name: str, seed: int, root: Path) -> Task:
    """Return toy colours with one rule forbidden, or both; "decoy" is the forbidden pixels swapped."""
    panel = wb.datasets.toy_colours(seed)
    inputs = panel["image"].to_torch().float() / 255
    if inputs.shape[-1] == 3:
        inputs = inputs.permute(0, 3, 1, 2).contiguous()
    corners, top = (torch.from_numpy(np.array(panel[rule].to_numpy())) for rule in ("corners", "top"))
    forbidden = {"toy-corners": corners, "toy-top": top, "toy-both": corners | top}[name]
    # What is not forbidden and belongs to a rule should matter.
    rows = Rows(inputs, panel["label"].codes().to_torch().long(), Rationale(forbidden, (corners | top) & ~forbidden))
    half = len(panel) // 2
    kept, held = hold_out(np.arange(half), 0.1, seed=0)
    test = rows.take(np.arange(half, len(panel)))
    train, answerable = rows.take(np.arange(half)), name != "toy-both"
    lying = test.refilled(0)
    return Task(name, 2, ("mlp",), train, kept, held, test, lying, lying, answerable)


def _iris_cancer(name: str, seed: int, root: Path) -> Task:
    """Return iris-cancer; "clean" is the test with the iris, "decoy" the one without, which swaps cannot change."""
    panel = wb.datasets.iris_cancer(seed)
    splits = {}
    for split in ("train", "test", "zeroed_test"):
        some = panel[panel["split"] == split]
        iris = torch.from_numpy(np.array(some["iris"].to_numpy()))
        inputs = some["features"].to_torch()
        splits[split] = Rows(inputs, some["label"].codes().to_torch().long(), Rationale(iris, ~iris))
    train, test = splits["train"], splits["test"]
    kept, held = hold_out(np.arange(len(train)), 0.25, seed=0)
    return Task(name, 2, ("mlp",), train, kept, held, test, splits["zeroed_test"], swapped=test)


TASKS: dict[str, Callable[[str, int, Path], Task]] = {
    "decoy-digits": _decoyed,
    "decoy-mnist": _decoyed,
    "decoy-fashion": _decoyed,
    "toy-corners": _toy_colours,
    "toy-top": _toy_colours,
    "toy-both": _toy_colours,
    "iris-cancer": _iris_cancer,
}

ROOT = Path(os.environ.get("WORKBENCH_DATA", Path(__file__).parents[3] / "shared" / "data"))

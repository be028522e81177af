"""How long a person waits: from the last stroke to the figures of the new model."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch

import workbench as wb
from workbench.strokes import SloppyStroke

from .figures import Figure, Scale, cell

__all__ = ["relaunch"]

PAINTED = 10


@cell("relaunch")
def relaunch(scale: Scale) -> Iterable[Figure]:
    """Decoy digits as in the demo, on one thread. Floor: the steps of the fine-tune and its looks at validation."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        waited = [_waited(scale, seed) for seed in range(1 if scale.name == "tiny" else 3)]
    finally:
        torch.set_num_threads(threads)
    yield Figure(
        "from the last stroke to the new figures, decoy digits", statistics.median(w for w, _ in waited), "s", 20.0,
        floor=statistics.median(trained for _, trained in waited), floor_words="the fine-tune itself",
        note="ten strokes carried over, 300 steps, accuracy, saliency and swaps on 360 rows; median of three seeds",
    )  # fmt: skip


def _waited(scale: Scale, seed: int) -> tuple[float, float]:
    """Return the seconds waited, and those of them that the fine-tune took."""
    recipe = wb.recipe("digits")
    short = {"steps": 3} if scale.name == "tiny" else {}
    panel = wb.datasets.decoy_digits(seed)
    train, test = panel.where("split == 'train'"), panel.where("split == 'decoy_test'")
    start = wb.Classifier(recipe.build(seed), wb.datasets.DIGITS)
    plain = wb.fit(start, train, settings=replace(recipe.plain, seed=seed, **short), progress=False)
    stroke, random = SloppyStroke(), np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place, wb.Feedback(f"{place}/feedback.db", author="simulated") as log:
        proposed = wb.propose(train, plain.model, PAINTED, seed=seed)
        strokes = [stroke(mask.numpy(), random) for mask in proposed["swatch"].to_list()]
        keys = proposed.key.to_list()
        for key, mask in zip(keys[:-1], strokes[:-1], strict=True):
            log.mark(key, irrelevant=mask, how="simulated")
        begin = time.perf_counter()
        log.mark(keys[-1], irrelevant=strokes[-1], how="simulated")
        wb.propagate(log, train).write()
        obeys = wb.finetune(
            plain.model, train, log, source="source", held_out=recipe.held_out, progress=False,
            settings=replace(recipe.fine_tune, seed=seed, **short),
        )  # fmt: skip
        wb.figures(test, obeys.model, irrelevant="swatch", seed=seed)
        return time.perf_counter() - begin, obeys.seconds

"""A short fine-tune of a fooled CNN: ``python -m benchmarks.rationales.short``.

A CNN of 20 and 50 channels learns decoy Fashion-MNIST plainly for three epochs and falls for the swatch. Then it is
fine-tuned for 120 steps of 256 rows, all of them annotated: by the default recipe of `workbench.finetune`, and by
penalties alone. Told for each: accuracy where the swatch lies, before and after, and for how many steps it was
below its own start (looked at after every step, on 1,000 of the test rows; nothing is chosen by it).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from explain import AdversarialRobust, Grey, RightReasons
from workbench.classifier import Classifier
from workbench.recipes import FINE_TUNE
from workbench.record import Step, TrainingSettings
from workbench.training import train

from .results import RESULTS, Results
from .runs import accuracy
from .tasks import ROOT, Task, build, task

__all__ = ["RECIPES", "main", "measure"]

STEPS, BATCH, LOOKED_AT = 120, 256, 1000
PLAIN = TrainingSettings(steps=1, batch_size=BATCH, lr=1e-3)

# What is shown beside the default. Penalties have no counterexamples to lean on, from the first step.
RECIPES: dict[str, TrainingSettings] = {
    "default": FINE_TUNE,
    "grey": replace(FINE_TUNE, counterexamples=Grey(), loss=None),
    "gradient penalty alone": replace(
        FINE_TUNE, counterexamples=None, penalty_from=0.0, loss=RightReasons(0.1, target="random_sign_logits")
    ),
    "… of the log-probabilities (Ross)": replace(
        FINE_TUNE, counterexamples=None, penalty_from=0.0, loss=RightReasons(0.02), lr=8e-3
    ),
    "robustness penalty alone (PGD-Ex)": replace(
        FINE_TUNE, counterexamples=None, penalty_from=0.0,
        loss=AdversarialRobust(1.0, epsilon=1.0, steps=3, clip=(0.0, 1.0)),
    ),
}  # fmt: skip


def fooled(one: Task, seed: int, net: str = "conv5", epochs: float = 3) -> Classifier:
    """Train a net plainly, so that it falls for the swatch."""
    rows = one.train
    start = Classifier(build(net, one, seed), [str(number) for number in range(one.classes)])
    settings = replace(PLAIN, steps=max(1, round(epochs * len(rows) / BATCH)), seed=seed)
    return train(start, rows.draw, len(rows), settings, progress=False).model


def measure(one: Task, start: Classifier, settings: TrainingSettings) -> dict[str, Any]:
    """Fine-tune a fooled net, looking after every step."""
    some = one.decoy_test.take(np.arange(min(LOOKED_AT, len(one.decoy_test))))
    before = accuracy(start, some)
    looks: list[float] = []
    watched: list[Classifier] = []

    def look(step: Step) -> None:
        looks.append(accuracy(watched[0], some))

    class Watched(Classifier):
        """Remembers its copy, which is what is trained."""

        def copy(self) -> Classifier:
            copied = super().copy()
            watched.append(copied)
            return copied

    begin = time.process_time()
    plain = train(start, one.train.draw, len(one.train), settings, progress=False)
    seconds = time.process_time() - begin
    watching = Watched(start.module, start.classes)
    train(watching, one.train.draw, len(one.train), settings, progress=look)
    return {
        "start": round(accuracy(start, one.decoy_test), 4),
        "decoy_test": round(accuracy(plain.model, one.decoy_test), 4),
        "below_start": sum(found < before for found in looks),
        "curve": [round(found, 3) for found in looks],
        "seconds": round(seconds, 1),
    }


def as_markdown(records: list[dict[str, Any]]) -> str:
    """Return the table: a row for each recipe, means over seeds."""
    lines = [
        ["recipe", "start", "decoy test", "worst seed", "steps below start, at most", "CPU s", "seeds"],
        ["---"] * 7,
    ]
    for recipe in RECIPES:
        found = [r for r in records if r["recipe"] == recipe]
        if found:
            ends = [r["decoy_test"] for r in found]
            spread = f" ± {statistics.stdev(ends):.4f}" if len(ends) > 1 else ""
            lines.append([
                recipe, f"{statistics.fmean(r['start'] for r in found):.3f}", f"{statistics.fmean(ends):.4f}{spread}",
                f"{min(ends):.4f}", str(max(r["below_start"] for r in found)),
                f"{statistics.fmean(r['seconds'] for r in found):.0f}", str(len(found)),
            ])  # fmt: skip
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure what is not on record, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rationales.short", description=__doc__)
    parser.add_argument("--recipe", action="append", choices=RECIPES)
    parser.add_argument("--seed", action="append", type=int)
    parser.add_argument("--root", type=Path, default=ROOT, help="folder with fashion_mnist/")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    parser.add_argument("--fresh", action="store_true", help="measure again what is on record")
    parser.add_argument("--table", action="store_true", help="print what is on record, and measure nothing")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    results = Results(asked.results / "short.json", ("recipe", "seed"), "python -m benchmarks.rationales.short")
    for seed in () if asked.table else asked.seed or range(5):
        missing = [
            recipe for recipe in asked.recipe or RECIPES if asked.fresh or not results.find(recipe=recipe, seed=seed)
        ]
        if not missing:
            continue
        one = task("decoy-fashion", seed, asked.root)
        start = fooled(one, seed)
        for recipe in missing:
            settings = replace(RECIPES[recipe], steps=STEPS, batch_size=BATCH, seed=seed)
            record = {"recipe": recipe, "seed": seed, **measure(one, start, settings)}
            results.keep(record)
            print(f"{recipe} {seed}: {record['start']} → {record['decoy_test']}", file=sys.stderr, flush=True)
    print(f"### decoy Fashion-MNIST, CNN 20–50 fooled by 3 plain epochs, {STEPS} steps of {BATCH}\n")
    print(as_markdown(list(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Choosing the weight of each method: on held-out training rows with the marked region refilled, never on a test.

``python -m benchmarks.rationales.tuning`` goes up and down from a first guess while it helps: by tens on the small
data of each kind, and from what was best there by threes on the others. It trains with seed 100, on the rows that
are not held out, for a part of the epochs; the table trains with seeds 0 to 4 on all rows. Of weights within a
tenth of a point of the best (iris-cancer, with its few rows: within a standard error), the largest is taken: it
penalises most.

Where both rules of toy colours are forbidden, nothing is left to be right by, and every weight is at chance on
refilled rows. There the weight is chosen, by tens, whose predictions change least when the regions are refilled.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from explain import swap_sensitivity
from workbench.errors import RunError
from workbench.schedule import hold_out

from .methods import METHODS, SCHEDULES, SEEDS
from .results import RESULTS, Results
from .runs import accuracy, fitted
from .tasks import ROOT, TASKS, Task, task

__all__ = ["choose", "main", "needs_weight", "score", "weight_of"]

SEED = 100
# Shares of the table's epochs that a trial is trained for: enough to order the weights.
SHARE = {("decoy-mnist", "mlp"): 0.3, ("decoy-fashion", "mlp"): 0.3, ("iris-cancer", "mlp"): 1.0}
# Data and net whose weights the search starts from.
LIKE = {
    ("decoy-mnist", "mlp"): ("decoy-digits", "mlp"),
    ("decoy-fashion", "mlp"): ("decoy-digits", "mlp"),
    ("toy-top", "mlp"): ("toy-corners", "mlp"),
    ("toy-both", "mlp"): ("toy-corners", "mlp"),
    ("decoy-digits", "cnn"): ("decoy-digits", "mlp"),
    ("decoy-mnist", "cnn"): ("decoy-digits", "cnn"),
    ("decoy-fashion", "cnn"): ("decoy-digits", "cnn"),
}
# Each seed of iris-cancer parts its 100 rows anew: weights are chosen for it among its own training rows. There are 16
# to hold out, so that the mean of as many draws is taken.
OWN = {"iris-cancer": range(5)}
DRAWS = 3
FARTHEST = {10.0: 1e3, 3.0: 30.0}  # from the first guess, up and down, by the factor of a step
EQUAL = 0.001


@lru_cache(maxsize=1)
def settings_kept() -> Results:
    """Return the file of the settings chosen."""
    return Results(
        RESULTS / "rationale_settings.json", ("data", "net", "method", "seed"), "python -m benchmarks.rationales.tuning"
    )


def needs_weight(method: str) -> bool:
    """Whether a method has a number to choose."""
    return METHODS[method].start is not None or METHODS[method].like is not None


def weight_of(data: str, net: str, method: str, seed: int) -> float | None:
    """Return the weight chosen for a cell of the table, None if there is none, or none yet."""
    name = METHODS[method].like or method
    if not needs_weight(method):
        return None
    found = settings_kept().find(data=data, net=net, method=name, seed=seed if data in OWN else None)
    return None if found is None else float(found["weight"])


def score(one: Task, net: str, method: str, weight: float | None) -> float:
    """Return the accuracy on held-out rows whose marked regions are refilled; NaN where the training diverged.

    Where nothing is left to be right by, it is the share of their predictions that refilling leaves as they are.
    """
    planned = SCHEDULES[one.name, net][0]
    rows = one.train.take(one.kept)
    try:
        model = fitted(
            one.name, net, method, weight, one, rows, seed=SEED, epochs=planned * SHARE.get((one.name, net), 0.5)
        )  # fmt: skip
    except RunError:
        return math.nan
    held = one.train.take(one.held)
    if one.answerable:
        return accuracy(model, held.refilled(SEED))
    assert held.rationale.irrelevant is not None
    with model.evaluating():
        return 1 - swap_sensitivity(model, held.inputs, held.rationale.irrelevant, held.inputs, seed=SEED)


def choose(
    start: float, factor: float, tried: Callable[[float], float], rows: int | None = None
) -> tuple[float, dict[float, float]]:
    """Return the best weight, and the scores of all that were tried.

    Parameters
    ----------
    start : float
        Where to begin.
    factor : float
        Of each step up or down; after steps of ten, the best is refined by three.
    tried : callable
        From a weight to its score; NaN where the training diverged.
    rows : int or None
        Over how few rows each score is a share: then one within a standard error of the best is as good.
    """
    scores: dict[float, float] = {}

    def look(weight: float) -> float:
        weight = float(f"{weight:.1g}")
        if weight not in scores:
            found = tried(weight)
            scores[weight] = -1.0 if math.isnan(found) else found
        return scores[weight]

    look(start)
    for step in (factor, 1 / factor):
        weight, missed = start, 0
        # By tens, one step that does not help is forgiven: a score can be flat, or have a dent.
        while missed < (2 if factor == 10 else 1) and 1 / FARTHEST[factor] < weight / start < FARTHEST[factor]:
            best, weight = max(scores.values()), weight * step
            missed = 0 if look(weight) > best else missed + 1
    if factor == 10:
        around = max(scores, key=lambda weight: (scores[weight], weight))
        for step in (3.0, 0.3):
            look(around * step)
    best = max(scores.values())
    equal = EQUAL if rows is None else math.sqrt(max(best * (1 - best), 0) / rows)
    return max(weight for weight, found in scores.items() if found >= best - equal), scores


def _draws(one: Task) -> Iterator[Task]:
    """Yield a task with other training rows held out each time."""
    for draw in range(DRAWS):
        kept, held = hold_out(np.arange(len(one.train)), 0.25, seed=draw)
        yield replace(one, kept=kept, held=held)


def main(arguments: list[str] | None = None) -> int:
    """Choose what has not been chosen yet."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rationales.tuning", description=__doc__)
    parser.add_argument("--data", action="append", choices=TASKS)
    parser.add_argument("--net", action="append", choices=("mlp", "cnn", "conv5"))
    parser.add_argument("--method", action="append", choices=METHODS)
    parser.add_argument("--root", type=Path, default=ROOT, help="folder with mnist/ and fashion_mnist/")
    parser.add_argument("--fresh", action="store_true", help="choose again what is on record")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    kept = settings_kept()
    for data, net in SCHEDULES:
        if (asked.data and data not in asked.data) or (net not in asked.net if asked.net else net == "conv5"):
            continue
        for seed, method in itertools.product(OWN.get(data, (None,)), METHODS.values()):
            if method.start is None or net not in method.nets or (asked.method and method.name not in asked.method):
                continue
            if data in method.without or (seed is not None and seed >= SEEDS[method.tier]):
                continue
            if kept.find(data=data, net=net, method=method.name, seed=seed) and not asked.fresh:
                continue
            draws = [task(data, SEED, asked.root)] if seed is None else list(_draws(task(data, seed, asked.root)))
            begin = time.process_time()
            near = LIKE.get((data, net), ("", ""))
            like = kept.find(data=near[0], net=near[1], method=method.name)
            start = method.start if like is None else like["weight"]
            factor = 3.0 if like is not None and draws[0].answerable else 10.0

            def tried(weight: float, draws: list[Task] = draws, net: str = net, name: str = method.name) -> float:
                return statistics.fmean(score(one, net, name, weight) for one in draws)

            few = None if seed is None else sum(len(one.held) for one in draws)
            best, scores = choose(start, factor, tried, few)
            seconds = round(time.process_time() - begin, 1)
            trials = {f"{weight:g}": round(found, 4) for weight, found in sorted(scores.items())}
            chosen = {"data": data, "net": net, "method": method.name, "seed": seed, "weight": best}
            kept.keep({**chosen, "trials": trials, "seconds": seconds})
            named = f"{data} {net} {method.name}{'' if seed is None else f' {seed}'}"
            print(f"{named}: {best:g} of {trials} [{seconds} s]", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

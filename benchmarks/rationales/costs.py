"""What a step costs beside a plain one, on the typology's CNN: ``python -m benchmarks.rationales.costs``.

Floor, in passes: a plain step is 1 forward and 2 backward (weights and inputs). Right reasons adds one backward to
the inputs, and that one differentiated again: two more forward-like and two backward-like passes, so about twice a
plain step where the forward pass is shared. TAP adds some sums over activations that are there already.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from .methods import METHODS
from .results import RESULTS, Results
from .runs import settings_of, step_cost
from .tasks import ROOT, task
from .tuning import settings_kept

__all__ = ["main"]

GOALS = {"rrr": 2.7, "tap": 1.15}


def main(arguments: list[str] | None = None) -> int:
    """Measure every method's step against a plain one, alternating, in one run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rationales.costs", description=__doc__)
    parser.add_argument("--method", action="append", choices=METHODS)
    parser.add_argument("--net", default="conv5", choices=("mlp", "cnn", "conv5"))
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--root", type=Path, default=ROOT, help="folder with mnist/ and fashion_mnist/")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    results = Results(asked.results / "costs.json", ("net", "method"), "python -m benchmarks.rationales.costs")
    one, chosen = task("decoy-fashion", 0, asked.root), settings_kept()
    print("| method | step, relative to plain | at most |\n| --- | --- | --- |")
    for name, method in METHODS.items():
        if asked.net not in method.nets or name in ("masktune", "p-clarc", "rr-clarc") or " " in name:
            continue
        if asked.method and name not in asked.method:
            continue
        known = chosen.find(data="decoy-fashion", net="cnn", method=name)
        weight = method.start if known is None else known["weight"]
        settings = settings_of("decoy-fashion", asked.net, name, weight, one, len(one.train), seed=0)
        cost = step_cost(one, asked.net, settings, asked.repeats)
        results.keep({"net": asked.net, "method": name, "weight": weight, "step_cost": round(cost, 3)})
        print(f"| {name} | {cost:.2f} | {GOALS.get(name, '')} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

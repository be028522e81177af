"""``python -m benchmarks.rationales``: measure the cells that are not on record, and print the table.

Resumable cell by cell, and safe to run twice at the same time: ``--shard 1/2`` and ``--shard 2/2`` share the work.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from workbench.errors import RunError

from .methods import METHODS, SCHEDULES, SEEDS, planned_epochs
from .results import RESULTS, Results
from .runs import JUDGED, cost, fitted, judge, settings_of
from .table import as_markdown
from .tasks import ROOT, TASKS, task
from .tuning import needs_weight, weight_of

__all__ = ["cells", "main", "measure", "of_the_table", "results_kept"]

KEY = ("data", "net", "method", "seed")


def results_kept(folder: Path = RESULTS) -> Results:
    """Return the file of the table's records."""
    # A trial of fewer epochs stands beside what was measured at length, and replaces nothing.
    return Results(folder / "rationales.json", (*KEY, "epochs"), "python -m benchmarks.rationales")


def of_the_table(records: Iterable[dict[str, Any]], epochs: float | None = None) -> list[dict[str, Any]]:
    """Choose the records of the table's own number of epochs, or of the one asked for."""
    return [r for r in records if r["epochs"] == (epochs or planned_epochs(r["data"], r["net"], r["method"]))]


def cells() -> Iterator[dict[str, Any]]:
    """Yield the cells of the whole table: cheap data first, and seed by seed, so that a part is a table too."""
    for seed in range(max(SEEDS.values())):
        for data, net in SCHEDULES:
            for method in METHODS.values():
                pictures = data.startswith("decoy")
                # The large net is for the typology's rows; see typology.py.
                if net == "conv5" or net not in method.nets or (method.images and not pictures):
                    continue
                if data in method.without:
                    continue
                if seed < SEEDS[method.tier]:
                    yield {"data": data, "net": net, "method": method.name, "seed": seed}


def measure(
    data: str, net: str, method: str, seed: int, weight: float | None, root: Path, epochs: float | None = None
) -> dict[str, Any]:
    """Train and judge one cell."""
    one = task(data, seed, root)
    begin = time.process_time()
    settings = settings_of(data, net, method, weight, one, len(one.train), seed=seed, epochs=epochs)
    record = {
        "data": data, "net": net, "method": method, "seed": seed, "weight": weight,
        "epochs": epochs or planned_epochs(data, net, method),
        "steps": settings.steps, "batch_size": settings.batch_size, "lr": settings.lr, "judged": JUDGED,
    }  # fmt: skip
    try:
        model = fitted(data, net, method, weight, one, one.train, seed=seed, epochs=epochs)
    except RunError as error:
        return {**record, "failed": str(error).split(".")[0], "seconds": round(time.process_time() - begin, 1)}
    trained = time.process_time() - begin
    figures = judge(model, one, seed).as_dict()
    return {**record, **figures, "step_cost": round(cost(method, one, net, settings), 2), "seconds": round(trained, 1)}


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rationales", description=__doc__)
    parser.add_argument("--data", action="append", choices=TASKS)
    parser.add_argument("--net", action="append", choices=("mlp", "cnn"))
    parser.add_argument("--method", action="append", choices=METHODS)
    parser.add_argument("--seed", action="append", type=int)
    parser.add_argument("--root", type=Path, default=ROOT, help="folder with mnist/ and fashion_mnist/")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    parser.add_argument("--shard", default="1/1", metavar="I/N", help="measure every N-th of the missing cells")
    parser.add_argument("--epochs", type=float, help="other than the table's: kept and shown apart from it")
    parser.add_argument("--fresh", action="store_true", help="measure again what is on record")
    parser.add_argument("--table", action="store_true", help="print what is on record, and measure nothing")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)  # such nets are too small for two
    results = results_kept(asked.results)
    mine, shards = (int(number) for number in asked.shard.split("/"))
    wanted = [
        cell for cell in cells()
        if all(not getattr(asked, name) or cell[name] in getattr(asked, name) for name in KEY)
    ]  # fmt: skip
    todo = []
    for cell in wanted:
        if (weight := weight_of(**cell)) is None and needs_weight(cell["method"]):
            print(f"{cell}: no weight chosen yet; run python -m benchmarks.rationales.tuning", file=sys.stderr)
            continue
        # What was measured with other settings, or judged otherwise, is measured again.
        epochs = asked.epochs or planned_epochs(cell["data"], cell["net"], cell["method"])
        made = {"weight": weight, "judged": JUDGED, "lr": SCHEDULES[cell["data"], cell["net"]][1]}
        found = results.find(**cell, epochs=epochs)
        if asked.fresh or found is None or any(found.get(name) != value for name, value in made.items()):
            todo.append((cell, weight))
    if asked.table and todo:
        print(f"{len(todo)} cells are missing, or of other settings or older code.", file=sys.stderr)
    begin = time.perf_counter()
    for cell, weight in () if asked.table else todo[mine - 1 :: shards]:
        record = measure(**cell, weight=weight, root=asked.root, epochs=asked.epochs)
        results.keep(record)
        shown = record.get("failed") or f"decoy {record['decoy_test']:.4f}, cost {record['step_cost']}"
        print(f"{' '.join(map(str, cell.values()))}: {shown} [{record['seconds']} s]", file=sys.stderr, flush=True)
    shown = of_the_table(results, asked.epochs)
    print(as_markdown(shown))
    total = sum(record["seconds"] for record in shown)
    print(f"\nTime: {time.perf_counter() - begin:.0f} s now; {total / 3600:.2f} CPU hours of training for all records.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

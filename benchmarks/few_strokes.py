"""``python -m benchmarks.few_strokes``: ten painted rows, proposed by the tool and propagated, beside every mask.

A net is fooled by a swatch. The tool proposes at most ten training rows; a simulated user paints the swatch on these,
exactly or with a sloppy stroke (6×6 around the 4×4, shifted by up to 2 pixels, cut off at the border); the tool
propagates the strokes to rows whose picture matches; the fine-tune obeys. Beside it stands the same fine-tune of the
same net, with the same settings and seed, told the true mask of every row. Told for both: accuracy where the swatch
lies. True masks are looked at to paint the ten rows, and test rows for the figures, after everything is decided.

Proposals and propagation are the tool's defaults, which were chosen on seeds 5 to 8; the fine-tune is the demo's for
digits, and the default one for Fashion-MNIST, which is read from a folder (``--root``).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import workbench as wb
from benchmarks.rationales.results import RESULTS, Results
from benchmarks.rationales.tasks import ROOT
from workbench.feedback import Feedback
from workbench.nets import SmallConv
from workbench.propagation import propagate
from workbench.proposals import propose
from workbench.recipes import FINE_TUNE, DemoSettings, recipe
from workbench.record import TrainingSettings
from workbench.strokes import STROKES

__all__ = ["DATA", "Start", "as_markdown", "main", "start", "with_few_strokes"]

PAINTED = 10

# The net and the two trainings of each data. On Fashion-MNIST one plain epoch fools a small net well enough, and the
# fine-tune is the default one.
DATA: dict[str, DemoSettings] = {
    "decoy-digits": recipe("digits"),
    "decoy-fashion": DemoSettings(
        data="fashion-mnist",
        net=partial(SmallConv, channels=(16, 32), hidden=64),
        plain=TrainingSettings(steps=234, batch_size=256, lr=1e-3),
        fine_tune=FINE_TUNE,
        held_out=0.1,
    ),
}


@dataclass(frozen=True, eq=False)
class Start:
    """A fooled net, and the data that fooled it.

    Attributes
    ----------
    model : Classifier
    train, test : DataPanel
        Rows to train on, with the true masks as ``swatch``; rows where the swatch lies.
    settings : DemoSettings
    seed : int
    """

    model: wb.Classifier
    train: wb.DataPanel
    test: wb.DataPanel
    settings: DemoSettings
    seed: int

    def tuned(self, told: Any) -> float:
        """Fine-tune by what was told, a log or a column of masks; return the accuracy where the swatch lies."""
        settings = replace(self.settings.fine_tune, seed=self.seed)
        run = wb.finetune(
            self.model, self.train, told, source="source", held_out=self.settings.held_out, settings=settings,
            progress=False,
        )  # fmt: skip
        return wb.figures(self.test, run.model).accuracy


def start(data: str, seed: int, root: Path, settings: DemoSettings | None = None) -> Start:
    """Fool a net; the seed draws data, weights and batches."""
    chosen = settings or DATA[data]
    if data == "decoy-digits":
        panel = wb.datasets.decoy_digits(seed)
    else:
        panel = wb.datasets.decoy_idx(root / "fashion_mnist", wb.datasets.GARMENTS, seed)
    train, test = panel.where("split == 'train'"), panel.where("split == 'decoy_test'")
    fresh = wb.Classifier(chosen.build(seed), panel["label"].spec.classes)
    model = wb.fit(fresh, train, settings=replace(chosen.plain, seed=seed), progress=False).model
    return Start(model, train, test, chosen, seed)


def with_few_strokes(one: Start, strokes: str, painted: int = PAINTED) -> dict[str, Any]:
    """Let the tool propose rows, paint them, propagate, fine-tune; return what is recorded."""
    begin = time.perf_counter()
    proposed = propose(one.train, one.model, painted, seed=one.seed)
    random = np.random.default_rng(one.seed)
    with tempfile.TemporaryDirectory() as folder, Feedback(Path(folder) / "feedback.db", author="simulated") as log:
        for key, swatch in zip(proposed.key.to_list(), proposed["swatch"].to_numpy(), strict=True):
            log.mark(key, irrelevant=STROKES[strokes](swatch, random), how="simulated")
        preview = propagate(log, one.train)
        preview.write()
        looked = time.perf_counter() - begin
        told, true = log.column(one.train).to_numpy(), one.train["swatch"].to_numpy()
        accuracy = one.tuned(log)
    marked = np.nan_to_num(told.astype(np.float32)).astype(bool)
    return {
        "painted": len(proposed),
        "decoy_test": round(accuracy, 5),
        "propagated": preview.count,
        "swatch_marked": round(float(marked[true].mean()), 4),
        "pixels_marked": round(float(marked.sum() / len(marked)), 2),
        "propagation_seconds": round(looked, 1),
        "seconds": round(time.perf_counter() - begin, 1),
    }


def as_markdown(records: Sequence[dict[str, Any]]) -> str:
    """Return the table: a row for each data and kind of strokes, means over seeds."""
    head = ["data", "strokes", "painted", "fooled", "every mask", "few strokes", "difference, points", "95 %", "seeds"]
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)]]
    for data in DATA:
        for strokes in STROKES:
            found = [r for r in records if (r["data"], r["strokes"]) == (data, strokes)]
            if found:
                apart = [100 * (r["decoy_test"] - r["every_mask"]) for r in found]
                mean = {
                    name: statistics.fmean(r[name] for r in found) for name in ("start", "every_mask", "decoy_test")
                }
                lines.append([
                    data, strokes, str(max(r["painted"] for r in found)), f"{mean['start']:.3f}",
                    f"{mean['every_mask']:.4f}", f"{mean['decoy_test']:.4f}", f"{statistics.fmean(apart):+.2f}",
                    interval(apart), str(len(found)),
                ])  # fmt: skip
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def interval(values: Sequence[float]) -> str:
    """Return the 95 % interval of a mean by Student's t; nothing for a single value."""
    if len(values) < 2:
        return ""
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    mean = statistics.fmean(values)
    return f"{mean - half:+.2f} … {mean + half:+.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is not on record, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.few_strokes", description=__doc__)
    parser.add_argument("--data", action="append", choices=DATA)
    parser.add_argument("--strokes", action="append", choices=STROKES)
    parser.add_argument("--seed", action="append", type=int)
    parser.add_argument("--root", type=Path, default=ROOT, help="folder with fashion_mnist/")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    parser.add_argument("--fresh", action="store_true", help="measure again what is on record")
    parser.add_argument("--table", action="store_true", help="print what is on record, and measure nothing")
    asked = parser.parse_args(arguments)
    results = Results(
        asked.results / "few_strokes.json", ("data", "strokes", "seed"), "python -m benchmarks.few_strokes"
    )
    # The nets are too small to share work between threads.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for data in () if asked.table else asked.data or DATA:
            for seed in asked.seed or range(5):
                _measure(results, data, seed, asked.strokes or list(STROKES), asked.root, asked.fresh)
    finally:
        torch.set_num_threads(threads)
    print(as_markdown(list(results)))
    return 0


def _measure(results: Results, data: str, seed: int, strokes: Sequence[str], root: Path, fresh: bool) -> None:
    """Measure the kinds of strokes of one net that are not on record, each beside every mask."""
    missing = [kind for kind in strokes if fresh or not results.find(data=data, strokes=kind, seed=seed)]
    if not missing:
        return
    one = start(data, seed, root)
    both = {"start": round(wb.figures(one.test, one.model).accuracy, 5), "every_mask": round(one.tuned("swatch"), 5)}
    for kind in missing:
        record = {"data": data, "strokes": kind, "seed": seed, **both, **with_few_strokes(one, kind)}
        results.keep(record)
        print(
            f"{data}, {kind}, seed {seed}: {record['decoy_test']:.4f}, every mask {record['every_mask']:.4f}, "
            f"{record['seconds']:.0f} s", file=sys.stderr, flush=True,
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

"""``python -m benchmarks.clusters``: do clusters of explanations find the shortcut, with nobody to point at it?

A net is fooled by decoy digits: a swatch in one of four corners tells the label. Its explanations of the training
pictures are clustered, told neither corners nor labels; the adjusted Rand index compares the clusters with the true
corners (1: the same groups; 0: as by chance). Target and embedding were chosen on seeds from 100 on.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from explain.clusters import Clusters, spectral_clusters
from workbench import Classifier, DataPanel, attribute, figures, fit
from workbench.datasets import decoy_digits
from workbench.nets import Mlp
from workbench.recipes import DemoSettings, recipe

from .clusters_picture import cluster_picture
from .records import versions

__all__ = ["CORNERS", "NETS", "Found", "Measured", "as_table", "corners", "find", "main"]

RESULTS = Path(__file__).parent / "results"
COMMAND = "python -m benchmarks.clusters"
TARGET = "max_logit"
CORNERS = ("top left", "top right", "bottom left", "bottom right")

_DIGITS = recipe("digits")
NETS: dict[str, DemoSettings] = {
    "conv": _DIGITS,
    "mlp": replace(
        _DIGITS, net=partial(Mlp, hidden=(128, 64)), plain=replace(_DIGITS.plain, steps=600, lr=2e-3)
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """What is recorded of one net and one seed.

    Attributes
    ----------
    data, net : str
    seed : int
        Draws data, weights, batches and the starts of k-means.
    rows : int
        Training pictures explained.
    decoy_test : float
        The net's accuracy where the swatch lies: how badly it is fooled.
    proposed : int
        Clusters by the eigengap; there are four corners.
    ari : float
        Adjusted Rand index of the clusters, as many as proposed, against the corners.
    seconds, cluster_seconds : float
        In all, and for the clusters alone.
    """

    data: str
    net: str
    seed: int
    rows: int
    decoy_test: float
    proposed: int
    ari: float
    seconds: float
    cluster_seconds: float


@dataclass(frozen=True, eq=False)
class Found:
    """The figures, and what the picture shows."""

    figures: Measured
    panel: DataPanel
    maps: Tensor
    clusters: Clusters


def corners(swatches: Tensor) -> Tensor:
    """Return the number in `CORNERS` of each swatch: masks (rows, height, width) to (rows,), int64."""
    right, bottom = swatches[:, :, -1].any(dim=1), swatches[:, -1].any(dim=1)
    return bottom.long() * 2 + right.long()


def find(net: str, seed: int, steps: int | None = None) -> Found:
    """Fool a net, explain its training pictures and cluster the explanations; `steps` shortens the training."""
    from sklearn.metrics import adjusted_rand_score

    begin = time.perf_counter()
    panel = decoy_digits(seed)
    train = panel.where("split == 'train'")
    settings = replace(NETS[net].plain, seed=seed)
    if steps is not None:
        settings = replace(settings, steps=steps)
    start = Classifier(NETS[net].build(seed), train["label"].spec.classes)
    model = fit(start, train, settings=settings, progress=False).model
    gradients = attribute(train, model, target=TARGET).to_torch()
    maps = gradients * model.prepare(train["image"].to_torch())
    before = time.perf_counter()
    clusters = spectral_clusters(maps, seed=seed)
    after = time.perf_counter()
    ari = float(adjusted_rand_score(corners(train["swatch"].to_torch()), clusters.labels))
    fooled = figures(panel.where("split == 'decoy_test'"), model).accuracy
    row = Measured(
        "decoy digits", net, seed, len(train), fooled, clusters.proposed, ari,
        time.perf_counter() - begin, after - before,
    )  # fmt: skip
    return Found(row, train, maps, clusters)


def as_table(rows: Sequence[Measured]) -> str:
    """Return a Markdown table with a line per net and seed, and one per net with its means."""
    lines = [
        "| net | seed | rows | accuracy where the swatch lies | clusters proposed | adjusted Rand index | s |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for net in dict.fromkeys(row.net for row in rows):
        of_net = [row for row in rows if row.net == net]
        lines += [
            f"| {r.net} | {r.seed} | {r.rows:,} | {r.decoy_test:.3f} | {r.proposed} | {r.ari:.3f} | {r.seconds:.1f} |"
            for r in of_net
        ]
        fooled, ari, seconds = (mean(getattr(r, name) for r in of_net) for name in ("decoy_test", "ari", "seconds"))
        lines.append(f"| **{net}, mean** | | | {fooled:.3f} | | **{ari:.3f}** | {seconds:.1f} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and write ``clusters.json`` and ``clusters.png``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clusters", description=__doc__)
    parser.add_argument("--seeds", metavar="N", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--nets", metavar="NET", nargs="+", choices=list(NETS), default=list(NETS))
    parser.add_argument("--steps", metavar="N", type=int, help="training steps, if not the recipe's")
    parser.add_argument("--out", metavar="DIR", type=Path, default=RESULTS, help="where to write both files")
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    # The nets are too small to share work between threads.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows: list[Measured] = []
    try:
        for net in asked.nets:
            for seed in asked.seeds:
                found = find(net, seed, asked.steps)
                if not rows:
                    title = f"How a fooled net ({net}, seed {seed}) comes to its answers"
                    truth = corners(found.panel["swatch"].to_torch())
                    cluster_picture(title, found.panel, found.maps, found.clusters, truth, CORNERS).save(
                        asked.out / "clusters.png", optimize=True
                    )
                rows.append(found.figures)
                print(f"{net}, seed {seed}: {found.figures.ari:.3f}", file=sys.stderr, flush=True)
    finally:
        torch.set_num_threads(threads)
    print(as_table(rows))
    record = _record(rows, sys.argv[1:] if arguments is None else arguments, asked.nets, asked.steps)
    (asked.out / "clusters.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def _record(
    rows: Sequence[Measured], arguments: Sequence[str], nets: Sequence[str], steps: int | None
) -> dict[str, Any]:
    trainings = {net: NETS[net].plain for net in nets}
    return {
        "command": " ".join(["python -m benchmarks.clusters", *arguments]),
        "settings": {
            "maps": "magnitude of input × input_gradient",
            "target": TARGET,
            "clusters": "spectral_clusters, with its defaults and the seed of the run",
            "training": {
                net: {"steps": steps or plain.steps, "batch_size": plain.batch_size, "lr": plain.lr}
                for net, plain in trainings.items()
            },
        },
        "versions": {**versions(), "scikit-learn": importlib.metadata.version("scikit-learn")},
        "mean_ari": {net: mean(row.ari for row in rows if row.net == net) for net in nets},
        "runs": [asdict(row) for row in rows],
    }


if __name__ == "__main__":
    sys.exit(main())

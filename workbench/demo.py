"""The main job: fool a small net, see why it is right, say what must not matter on ten pictures, relaunch, compare."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from . import datasets
from .classifier import Classifier
from .clusters import explanation_clusters
from .demo_report import DemoFigures, Story, demo_report, measures, net_name, percent
from .directory import Workbench
from .errors import DataError
from .judging import Figures, figures
from .propagation import propagate
from .proposals import propose
from .recipes import recipe
from .strokes import SloppyStroke

if TYPE_CHECKING:
    from .comparison import Comparison
    from .feedback import Feedback
    from .panel import DataPanel

__all__ = ["DemoFigures", "DemoResult", "run_demo"]

PAINTED = 10
_TESTS = ("told_test", "decoy_test", "clean_test")


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What the demo found; `as_json` is what ``--json`` writes."""

    data: str
    seed: int
    before: DemoFigures
    after: DemoFigures
    seconds: float
    seconds_from_last_stroke: float
    report: Path | None

    def as_json(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return {
            "data": self.data,
            "seed": self.seed,
            "before": asdict(self.before),
            "after": asdict(self.after),
            "seconds": round(self.seconds, 2),
            "seconds_from_last_stroke": round(self.seconds_from_last_stroke, 2),
        }


def run_demo(
    data: str = "digits",
    *,
    root: str | os.PathLike[str] | None = None,
    seed: int = 0,
    keep: str | os.PathLike[str] | None = None,
    report: str | os.PathLike[str] | None = None,
    json_file: str | os.PathLike[str] | None = None,
    say: Callable[[str], None] = print,
) -> DemoResult:
    """Run the main job.

    Parameters
    ----------
    data : {"digits", "mnist", "fashion-mnist"}
        The digits ship with scikit-learn; the others are IDX files in `root`.
    root : path, optional
        Directory of the IDX files.
    seed : int
        Draws everything that is drawn.
    keep : path, optional
        New directory for the workbench with panel, feedback and runs; else it is thrown away at the end.
    report : path, optional
        Where to write the report.
    json_file : path, optional
        Where to write the figures.
    say : callable
        Told the account, line by line.

    Raises
    ------
    DataError
        If files are needed and missing, or broken, or `keep` is not empty.
    """
    # The nets are so small that handing work to a second thread costs more than it brings.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ExitStack() as ended:
            place = Path(ended.enter_context(TemporaryDirectory())) / "bench" if keep is None else Path(keep)
            if place.exists() and (not place.is_dir() or any(place.iterdir())):
                raise DataError(f"The workbench of the demo is made in a new or empty directory; '{place}' is neither.")
            bench = Workbench.open(place, author="simulated user")
            ended.callback(bench.feedback.close)
            result = _run(data, root, seed, bench, report, say)
    finally:
        torch.set_num_threads(threads)
    say(f"\n   {result.seconds:.1f} s in all." + (f" The report, with pictures: {result.report}" if report else ""))
    if keep is not None:
        say(f"   All of it is in {place}: workbench status {place}; workbench replay {place} obeys")
    if json_file is not None:
        Path(json_file).write_text(json.dumps(result.as_json(), indent=2) + "\n", encoding="utf-8")
    return result


def _run(
    data: str,
    root: str | os.PathLike[str] | None,
    seed: int,
    bench: Workbench,
    report: str | os.PathLike[str] | None,
    say: Callable[[str], None],
) -> DemoResult:
    started = time.perf_counter()
    settings = recipe(data)
    bench.panel = _panel(data, root, seed)
    train = bench.rows("split == 'train'")
    tests = {name: bench.rows(f"split == '{name}'") for name in _TESTS}
    start = Classifier(settings.build(seed), train["label"].spec.classes)
    say(f"Decoy {data}: {len(train):,} training pictures, each with a grey swatch in a corner that tells the label.")
    say(f"At test, on {len(tests['decoy_test']):,} other pictures, the swatch lies.\n")

    say(f"1  Train a {net_name(start)}, plainly ({settings.plain.steps} steps)")
    plain = bench.fit(start, train, name="plain", settings=replace(settings.plain, seed=seed), progress=False)
    before = _judge(tests, plain.model, seed)
    _tell(before, plain.seconds, say)
    say(f"   Right for the wrong reason: {percent(before.told_test)} while the swatch tells the label,")
    say(f"   {percent(before.decoy_test)} once it lies.\n")

    say("2  Look: where does it look, on the pictures that it was trained on?")
    groups = explanation_clusters(train, plain.model, seed=seed)
    told = groups.describe()
    for place, size in zip(told["looks_at"].to_list(), told["rows"].to_list(), strict=True):
        say(f"   {size:>6,} pictures: of all that it looks at, {place}")
    say("   A group that looks at one small place is a suspect: what is in a picture moves about, a mark does not.\n")

    say('3  Say so: "this must not matter"')
    proposed = propose(train, plain.model, n=PAINTED, seed=seed)
    _paint(bench.feedback, proposed, seed)
    said = time.perf_counter()
    preview = propagate(bench.feedback, train, rest="all")
    preview.write()
    say(f"   {len(proposed)} typical pictures are proposed. A simulated user paints over the swatch on each of them,")
    say("   with strokes too large and not quite in place; in a notebook you would paint them yourself.")
    say(f"   They are carried over to {preview.count:,} pictures that show the same in that place.\n")

    say(f"4  Relaunch ({settings.fine_tune.steps} steps that obey)")
    tuned = bench.finetune(
        plain, train, name="obeys", source="source", held_out=settings.held_out,
        settings=replace(settings.fine_tune, seed=seed), progress=False,
    )  # fmt: skip
    after = _judge(tests, tuned.model, seed)
    _tell(after, tuned.seconds, say)
    waited = time.perf_counter() - said
    say(f"   From the last stroke to these figures: {waited:.1f} s.\n")

    say("5  Compare")
    for line in measures(before, after):
        say(f"   {line[0]:<44}{line[1]:>8} → {line[2]}")
    comparison = bench.compare(plain, tuned, tests["decoy_test"], slices="label", irrelevant="swatch", seed=seed)
    say(f"   {len(comparison.fixed):,} pictures fixed, {len(comparison.broken):,} broken{_between(comparison)}.")
    written = None
    if report is not None:
        story = Story(data, seed, plain, tuned, before, after, groups, proposed, preview, bench.feedback, comparison)
        written = demo_report(story).write(report)
    seconds = time.perf_counter() - started
    return DemoResult(data, seed, before, after, seconds, waited, written)


def _paint(feedback: Feedback, proposed: DataPanel, seed: int) -> None:
    """Paint over the swatch of some pictures, as a hurried person does."""
    stroke, random = SloppyStroke(), np.random.default_rng(seed)
    for key, mask in zip(proposed.key.to_list(), proposed["swatch"].to_list(), strict=True):
        feedback.mark(key, irrelevant=stroke(np.asarray(mask), random), how="simulated")


def _between(comparison: Comparison) -> str:
    """Return the interval of the change in accuracy, in words."""
    found = comparison.overall.difference
    if found is None or found.low is None or found.high is None:
        return ""
    change, low, high = (f"{100 * value:+.1f}" for value in (found.estimate, found.low, found.high))
    return f" (accuracy {change} points, 95 % interval {low} to {high})"


def _panel(data: str, root: str | os.PathLike[str] | None, seed: int) -> DataPanel:
    if data == "digits":
        return datasets.decoy_digits(seed)
    if root is None:
        raise DataError(
            f"'{data}' is read from IDX files; say where they are: workbench demo --data {data} --root DIR."
        )
    return datasets.decoy_idx(Path(root), datasets.GARMENTS if data == "fashion-mnist" else datasets.DIGITS, seed)


def _judge(tests: dict[str, DataPanel], model: Classifier, seed: int) -> DemoFigures:
    """Judge a classifier on all tests; saliency and swaps where the swatch lies."""
    found: dict[str, Figures] = {
        name: figures(test, model, irrelevant="swatch" if name == "decoy_test" else None, seed=seed)
        for name, test in tests.items()
    }
    lying = found["decoy_test"]
    return DemoFigures(
        found["told_test"].accuracy,
        lying.accuracy,
        found["clean_test"].accuracy,
        lying.worst_class,
        lying.mass_on_mask if lying.mass_on_mask is not None else float("nan"),
        lying.swap_sensitivity if lying.swap_sensitivity is not None else float("nan"),
    )


def _tell(found: DemoFigures, seconds: float, say: Callable[[str], None]) -> None:
    say(f"   the swatch tells the label   {percent(found.told_test):>7} right")
    say(f"   the swatch lies              {percent(found.decoy_test):>7} right")
    say(f"   saliency on the swatch       {percent(found.mass_on_mask):>7} (it is 2.0% of the picture)")
    say(f"   answers that flip with it    {percent(found.swap_sensitivity):>7}      [{seconds:.1f} s]")

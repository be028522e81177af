"""The main job: fool a small net, see that it is right for the wrong reason, say so, relaunch, compare."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from . import datasets
from .attribute import attribute
from .classifier import Classifier
from .compare import Figures, figures
from .errors import DataError
from .finetune import finetune, fit
from .overlays import enlarged, saliency_picture
from .predict import predict
from .recipes import DemoSettings, recipe
from .runs import Run
from .report import Report

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["DemoFigures", "DemoResult", "run_demo"]

_TESTS = ("told_test", "decoy_test", "clean_test")


@dataclass(frozen=True)
class DemoFigures:
    """What the demo prints of one classifier.

    Attributes
    ----------
    told_test, decoy_test, clean_test : float
        Accuracy on the same test pictures: where the swatch tells the label as in training, where it lies, and
        where there is none.
    worst_class : float
        Accuracy of the worst class where it lies.
    mass_on_mask : float
        Mean share of saliency on the swatch, where it lies.
    swap_sensitivity : float
        Share of predictions that flip when the swatch is swapped for another picture's.
    """

    told_test: float
    decoy_test: float
    clean_test: float
    worst_class: float
    mass_on_mask: float
    swap_sensitivity: float


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What the demo found; `as_json` is what ``--json`` writes."""

    data: str
    seed: int
    before: DemoFigures
    after: DemoFigures
    seconds: float
    report: Path | None

    def as_json(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return {
            "data": self.data,
            "seed": self.seed,
            "before": asdict(self.before),
            "after": asdict(self.after),
            "seconds": round(self.seconds, 2),
        }


def run_demo(
    data: str = "digits",
    *,
    root: str | os.PathLike[str] | None = None,
    seed: int = 0,
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
    report : path, optional
        Where to write the report.
    json_file : path, optional
        Where to write the figures.
    say : callable
        Told the account, line by line.

    Raises
    ------
    DataError
        If files are needed and missing, or broken.
    """
    # The nets are so small that handing work to a second thread costs more than it brings.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _run(data, root, seed, report, json_file, say)
    finally:
        torch.set_num_threads(threads)


def _run(
    data: str,
    root: str | os.PathLike[str] | None,
    seed: int,
    report: str | os.PathLike[str] | None,
    json_file: str | os.PathLike[str] | None,
    say: Callable[[str], None],
) -> DemoResult:
    started = time.perf_counter()
    settings = recipe(data)
    panel = _panel(data, root, seed)
    train = panel.where("split == 'train'")
    tests = {name: panel.where(f"split == '{name}'") for name in _TESTS}
    classes = panel["label"].spec.classes
    say(f"Decoy {data}: {len(train):,} training pictures, each with a grey swatch in a corner that tells the label.")
    say(f"At test, on {len(tests['decoy_test']):,} other pictures, the swatch lies.\n")

    start = Classifier(settings.build(seed), classes)
    say(f"1  Train a {_net_name(start)}, plainly ({settings.plain.steps} steps)")
    plain = fit(start, train, settings=replace(settings.plain, seed=seed))
    before = _judge(tests, plain.model, seed)
    _tell(before, plain.seconds, say)
    say(f"   Right for the wrong reason: {_percent(before.told_test)} while the swatch tells the label,")
    say(f"   {_percent(before.decoy_test)} once it lies.\n")

    say('2  Say so: "the swatch must not matter"')
    say(f"   A simulated user marks the swatch on each of the {len(train):,} training pictures;")
    say("   in a notebook you would draw the marks yourself.\n")

    say(f"3  Relaunch ({settings.fine_tune.steps} steps that obey the marks)")
    tuned = finetune(
        plain.model, train, "swatch", source="source", held_out=settings.held_out,
        settings=replace(settings.fine_tune, seed=seed),
    )  # fmt: skip
    after = _judge(tests, tuned.model, seed)
    _tell(after, tuned.seconds, say)

    say("\n4  Compare")
    for line in _comparison(before, after):
        say(f"   {line[0]:<44}{line[1]:>8} → {line[2]}")
    written = None
    if report is not None:
        written = _report(data, seed, tests["decoy_test"], settings, plain, tuned, before, after).write(report)
    seconds = time.perf_counter() - started
    say(f"\n   {seconds:.1f} s in all." + (f" The report, with pictures: {written}" if written else ""))
    result = DemoResult(data, seed, before, after, seconds, written)
    if json_file is not None:
        Path(json_file).write_text(json.dumps(result.as_json(), indent=2) + "\n", encoding="utf-8")
    return result


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
    say(f"   the swatch tells the label   {_percent(found.told_test):>7} right")
    say(f"   the swatch lies              {_percent(found.decoy_test):>7} right")
    say(f"   saliency on the swatch       {_percent(found.mass_on_mask):>7} (it is 2.0% of the picture)")
    say(f"   answers that flip with it    {_percent(found.swap_sensitivity):>7}      [{seconds:.1f} s]")


_MEASURES = (
    ("accuracy where the swatch lies", "decoy_test", 1),
    ("… of the worst class", "worst_class", 1),
    ("accuracy where there is no swatch", "clean_test", 1),
    ("accuracy where it tells the label", "told_test", 1),
    ("share of saliency on the swatch", "mass_on_mask", -1),
    ("answers that flip when it is swapped", "swap_sensitivity", -1),
)


def _comparison(before: DemoFigures, after: DemoFigures) -> list[tuple[str, str, str]]:
    return [(words, _percent(getattr(before, name)), _percent(getattr(after, name))) for words, name, _ in _MEASURES]


def _better(before: DemoFigures, after: DemoFigures) -> list[bool]:
    return [sign * (getattr(after, name) - getattr(before, name)) > 0 for _, name, sign in _MEASURES]


def _report(
    data: str,
    seed: int,
    test: DataPanel,
    settings: DemoSettings,
    plain: Run,
    tuned: Run,
    before: DemoFigures,
    after: DemoFigures,
) -> Report:
    page = Report(f"Decoy {data}: right for the wrong reason, and put right")
    page.text(
        f"A {_net_name(plain.model)} was trained on pictures that carry a grey swatch in one corner; its grey tells "
        "the label. The net learned the swatch. A user (here a simulated one, who knows where the swatch is) marked it "
        "as something that must not matter, and a short fine-tune obeyed."
    )
    page.table(("", "before", "after"), _comparison(before, after), _better(before, after))
    page.section("What it looked at")
    page.text(
        "Test pictures whose swatch lies. Left: before; right: after. Orange is the magnitude of the gradient of the "
        "predicted class's log-probability, the blue box is the swatch.", soft=True,
    )  # fmt: skip
    page.gallery(_looks(test, plain.model, tuned.model))
    page.section("The fine-tune")
    steps, tasks = [s.number for s in tuned.steps], [s.task_loss for s in tuned.steps]
    penalties = [(s.number, s.penalty) for s in tuned.steps if s.penalty > 0]
    page.curves(
        [
            ("task loss, nats", steps, _smooth(tasks), "#0072b2"),
            ("penalty, nats", [n for n, _ in penalties], _smooth([p for _, p in penalties]), "#d55e00"),
            ("accuracy on held-out rows, swatch refilled", [c.step for c in tuned.checks],
             [c.accuracy for c in tuned.checks], "#009e73"),
        ],
        "steps",
    )  # fmt: skip
    page.text(
        f"{len(tuned.steps)} steps of {settings.fine_tune.batch_size} rows in {tuned.seconds:.1f} s: first with the "
        "marked region refilled from other pictures, then with a small penalty on the gradient inside it as well. "
        f"The {tuned.selection}.", soft=True,
    )  # fmt: skip
    page.section("Repeat it")
    place = "" if data == "digits" else f" --data {data} --root DIR"
    page.code(f"workbench demo{place} --seed {seed}")
    return page


def _looks(test: DataPanel, before: Classifier, after: Classifier) -> list[tuple[list[Any], str, str]]:
    """Return pictures of rows that the first classifier got wrong, spread over the classes."""
    both = predict(predict(test, before, name="before"), after, name="after")
    wrong = both[(both["before"].label != both["label"])]
    first = {label: part.head(1) for label, part in wrong.groupby("label")}
    rows: list[tuple[list[Any], str, str]] = []
    for label, row in first.items():
        image, mask = row["image"][0], np.asarray(row["swatch"][0])
        looks = [np.asarray(attribute(row, model)[0]) for model in (before, after)]
        pictures = [enlarged(image, 84), *(saliency_picture(image, look, mask, 84) for look in looks)]
        said = [row[name].label[0] for name in ("before", "after")]
        rows.append((pictures, f"{label}", f"· said {said[0]}, now {said[1]}"))
    return rows


def _smooth(values: list[float], width: int = 9) -> list[float]:
    """Return a running mean, shorter at the ends."""
    half = width // 2
    return [float(np.mean(values[max(0, i - half) : i + half + 1])) for i in range(len(values))]


def _net_name(model: Classifier) -> str:
    count = sum(p.numel() for p in model.module.parameters())
    return f"small net ({type(model.module).__name__}, {count:,} weights)"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%" if value >= 0.01 or value == 0 else f"{100 * value:.2f}%"

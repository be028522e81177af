"""The demo's page: what the net looked at, what was painted and where that was carried, the fine-tune, what changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from .attributions import attribute
from .classifier import Classifier
from .comparison_report import changed_rows, slice_table
from .overlays import painted_picture, saliency_picture
from .report import Report

if TYPE_CHECKING:
    from .clusters import ExplanationClusters
    from .comparison import Comparison
    from .feedback import Feedback
    from .panel import DataPanel
    from .propagation import Preview
    from .runs import Run

__all__ = ["DemoFigures", "Story", "demo_report", "measures", "net_name", "percent"]

_PICTURE = 84  # pixels


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
class Story:
    """All that the page tells."""

    data: str
    seed: int
    plain: Run
    tuned: Run
    before: DemoFigures
    after: DemoFigures
    groups: ExplanationClusters
    proposed: DataPanel
    preview: Preview
    feedback: Feedback
    comparison: Comparison


_MEASURES = (
    ("accuracy where the swatch lies", "decoy_test", 1),
    ("… of the worst class", "worst_class", 1),
    ("accuracy where there is no swatch", "clean_test", 1),
    ("accuracy where it tells the label", "told_test", 1),
    ("share of saliency on the swatch", "mass_on_mask", -1),
    ("answers that flip when it is swapped", "swap_sensitivity", -1),
)


def measures(before: DemoFigures, after: DemoFigures) -> list[tuple[str, str, str]]:
    """Return (measure, before, after), in words."""
    return [(words, percent(getattr(before, name)), percent(getattr(after, name))) for words, name, _ in _MEASURES]


def demo_report(story: Story) -> Report:
    """Return the page.

    Parameters
    ----------
    story : Story
        What there is to tell.
    """
    page = Report(f"Decoy {story.data}: right for the wrong reason, and put right")
    page.text(
        f"A {net_name(story.plain.model)} was trained on pictures that carry a grey swatch in one corner; its grey "
        "tells the label. The net learned the swatch. Groups of like explanations show it, a user (here a simulated "
        f"one, who knows where the swatch is) painted over it on {len(story.proposed)} pictures, the strokes were "
        f"carried over to {story.preview.count:,} others, and a short fine-tune obeyed."
    )
    better = [sign * (getattr(story.after, name) - getattr(story.before, name)) > 0 for _, name, sign in _MEASURES]
    page.table(("", "before", "after"), measures(story.before, story.after), better)
    _groups(page, story)
    _strokes(page, story)
    _fine_tune(page, story.tuned)
    page.section("Class by class, where the swatch lies")
    slice_table(page, story.comparison.slices)
    for change, words in (("fixed", "wrong before, right now"), ("broken", "right before, wrong now")):
        changed_rows(page, story.comparison, getattr(story.comparison, change), change, words)
    page.section("Repeat it")
    place = "" if story.data == "digits" else f" --data {story.data} --root DIR"
    page.code(f"workbench demo{place} --seed {story.seed}")
    return page


def _groups(page: Report, story: Story) -> None:
    groups = story.groups
    page.section(f"Where it looks: {len(groups)} groups of like explanations")
    page.text(
        "Training pictures, grouped by gradient × input, without being told anything of a swatch. Of each group, the "
        "mean of its maps, and its three most typical pictures with where the net looks.", soft=True,
    )  # fmt: skip
    items: list[tuple[list[Image.Image], str, str]] = []
    for number, (place, size) in enumerate(
        zip(groups.describe()["looks_at"].to_list(), groups.sizes.tolist(), strict=True)
    ):
        some: DataPanel = groups.panel[groups.typical(number)[:3]]
        items.append(
            ([_mean_map(groups, number), *_looks(some, story.plain.model)], f"{size:,} pictures", f"· {place}")
        )
    page.gallery(items)


def _strokes(page: Report, story: Story) -> None:
    count = story.preview.count
    page.section(f"What was painted: {len(story.proposed)} pictures, carried over to {count:,}")
    page.text(
        "The most typical picture of each of as many groups, as proposed; blue is the stroke, drawn by a simulated "
        "hand: too large, and off by up to two pixels.", soft=True,
    )  # fmt: skip
    painted = story.feedback.column(story.proposed).to_list()
    images, labels = story.proposed["image"].to_list(), story.proposed["label"].to_list()
    page.gallery(
        [
            ([painted_picture(image, np.asarray(mask), _PICTURE)], str(label), "")
            for image, mask, label in zip(images, painted, labels, strict=True)
        ]
    )
    page.text(
        "Some of the pictures that the strokes were carried over to. Their outline is settled on what these pictures "
        "have in common there.", soft=True,
    )  # fmt: skip
    reached = story.preview.panel
    some = reached[np.linspace(0, len(reached) - 1, min(10, len(reached))).astype(int)]
    page.gallery(
        [
            ([painted_picture(image, np.asarray(mask), _PICTURE)], str(label), "")
            for image, mask, label in zip(
                some["image"].to_list(), some["propagated"].to_list(), some["label"].to_list(), strict=True
            )
        ]
    )


def _fine_tune(page: Report, tuned: Run) -> None:
    page.section("The fine-tune")
    steps, tasks = [s.number for s in tuned.steps], [s.task_loss for s in tuned.steps]
    penalties = [(s.number, s.penalty) for s in tuned.steps if s.penalty > 0]
    page.curves(
        [
            ("task loss, nats", steps, _smooth(tasks), "#0072b2"),
            ("penalty, nats", [n for n, _ in penalties], _smooth([p for _, p in penalties]), "#d55e00"),
            ("accuracy on held-out rows, marked regions refilled", [c.step for c in tuned.checks],
             [c.accuracy for c in tuned.checks], "#009e73"),
        ],
        "steps",
    )  # fmt: skip
    page.text(
        f"{len(tuned.steps)} steps of {tuned.settings.batch_size} rows in {tuned.seconds:.1f} s: first with the "
        "marked region refilled from other pictures, then with a small penalty on the gradient inside it as well. "
        f"The {tuned.selection}.", soft=True,
    )  # fmt: skip


def _mean_map(groups: ExplanationClusters, number: int) -> Image.Image:
    """Return the mean map of a group as a picture: dark is nothing, orange much."""
    mean = np.asarray(groups.describe()["mean_map"][number], np.float64)
    blank = Image.new("L", (mean.shape[-1] * 4, mean.shape[-2] * 4))
    return saliency_picture(blank, mean.reshape(-1, *mean.shape[-2:]), None, _PICTURE)


def _looks(some: DataPanel, model: Classifier) -> list[Image.Image]:
    """Return pictures of rows with where a classifier looks."""
    why = attribute(some, model, "gradient_times_input", target="max_logit").to_list()
    return [
        saliency_picture(image, np.asarray(look), None, _PICTURE)
        for image, look in zip(some["image"].to_list(), why, strict=True)
    ]


def _smooth(values: list[float], width: int = 9) -> list[float]:
    """Return a running mean, shorter at the ends."""
    half = width // 2
    return [float(np.mean(values[max(0, i - half) : i + half + 1])) for i in range(len(values))]


def net_name(model: Classifier) -> str:
    """Return what a small net is, in words."""
    count = sum(p.numel() for p in model.module.parameters())
    return f"small net ({type(model.module).__name__}, {count:,} weights)"


def percent(value: float) -> str:
    """Return a share in per cent, small ones with more digits."""
    return f"{100 * value:.1f}%" if value >= 0.01 or value == 0 else f"{100 * value:.2f}%"

"""What laziness saves: rows left out, layers that ride along, answers that are there already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import nn

import workbench as wb

from .figures import Figure, Scale, cell
from .images import CLASSES, SmallNet, decoding_alone, model_alone
from .sample import pictures
from .timing import race, seconds_per_call

__all__ = ["panel_of"]


def panel_of(paths: Sequence[Path], net: nn.Module, keep: Sequence[str] = ()) -> wb.DataPanel:
    """Return a panel of pictures and predictions, of which nothing is computed."""
    panel = wb.DataPanel({"image": wb.ImageColumn(paths)}, origin="bench")
    return panel.predict(wb.Classifier(net, CLASSES), keep=keep)


@cell("selected-first")
def selected_first(scale: Scale) -> Iterable[Figure]:
    """Selecting every tenth row of the prediction before anything is computed. Floor: a tenth of the full time."""
    paths = pictures(scale.images, scale.side)
    net = SmallNet().eval()
    result = race(
        {
            "tenth": lambda: panel_of(paths, net)[::10]["prediction"].compute(),
            "full": lambda: panel_of(paths, net)["prediction"].compute(),
        },
        scale.repeats,
    )
    tenth = result.best("full") / 10
    yield Figure(
        "10 % of the rows selected first", result.best("tenth"), "s", 1.1, tenth, "10 % of the full time",
        10 * result.median_ratio("tenth", "full"), tenth, "the rival is the floor",
    )  # fmt: skip


@cell("two-layers")
def two_layers(scale: Scale) -> Iterable[Figure]:
    """Scores and two layers out of one forward pass, against scores alone. Floor: decoding and model, once."""
    paths = pictures(scale.images, scale.side)
    net = SmallNet().eval()
    names = ["prediction", "embedding", "prediction.pool"]

    def three() -> None:
        columns = panel_of(paths, net, keep=["pool"])
        columns.compute(names)

    result = race(
        {
            "three": three,
            "scores": lambda: panel_of(paths, net).compute("prediction"),
            "decode": decoding_alone(paths, scale.side),
            "model": model_alone(len(paths), scale.side, net, 16),
        },
        scale.repeats,
    )
    yield Figure(
        "scores and two layers together", result.best("three"), "s", 1.05, result.best("scores"), "scores alone",
        result.median_ratio("three", "scores"), result.best("decode") + result.best("model"),
        "decoding alone + model alone",
    )  # fmt: skip


@cell("asked-again")
def asked_again(scale: Scale) -> Iterable[Figure]:
    """The scores of 2,000 rows, asked for when they are there. Floor: looking at a sample of every weight."""
    from columns.functions import weights_stamp

    net = SmallNet().eval()
    panel = panel_of(pictures(scale.images, scale.side), net)
    panel.compute("prediction")
    column = panel["prediction"]
    calls = max(1, min(200, scale.images // 10))
    yield Figure(
        f"asking again, {scale.images:,} rows", 1e3 * seconds_per_call(column.values, scale.repeats, calls), "ms", 1.0,
        floor=1e3 * seconds_per_call(lambda: weights_stamp([net]), scale.repeats, calls),
        floor_words="the stamp of the weights alone, without which old scores could be mixed with new",
    )  # fmt: skip

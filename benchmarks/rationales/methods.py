"""The rows of the table: each method as a change of the plain training, with the one number that is chosen for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from explain import RightReasons
from explain.counterexamples import Grey, Noise, Swap
from explain.losses import (
    AdversarialRobust,
    AttributionL1,
    AverageRobust,
    ContextualDecomposition,
    Energy,
    ExpectedGradientPrior,
    Hint,
    IntervalRobust,
    PixelPositiveCrossEntropy,
    RightForBetterReasons,
    RightReasonsGradCam,
    RobustRightReasons,
    SampledRightReasons,
    TargetedActivationPenalty,
)

from .tasks import Task

__all__ = ["METHODS", "SCHEDULES", "SEEDS", "Method", "planned_epochs", "schedule"]

# Epochs and peak learning rate of every training of a net on these data, all methods alike but the rows "… long".
SCHEDULES = {
    ("iris-cancer", "mlp"): (150, 1e-2),
    ("decoy-digits", "mlp"): (20, 3e-3),
    ("toy-corners", "mlp"): (10, 5e-3),
    ("toy-top", "mlp"): (10, 5e-3),
    ("toy-both", "mlp"): (10, 5e-3),
    ("decoy-mnist", "mlp"): (10, 3e-3),
    ("decoy-fashion", "mlp"): (8, 3e-3),
    ("decoy-digits", "cnn"): (12, 4e-3),
    ("decoy-mnist", "cnn"): (3, 4e-3),
    ("decoy-fashion", "cnn"): (3, 4e-3),
    ("decoy-mnist", "conv5"): (3, 2e-3),
    ("decoy-fashion", "conv5"): (3, 2e-3),
}
BATCH = 256
# Seeds of the table by tier.
SEEDS = {0: 5, 1: 5, 2: 5, 3: 3}

# The last convolutional map, and all of them, after the nonlinearity.
MAPS = {"cnn": ("features.1", "features.3"), "conv5": ("conv1.1", "conv2.1")}


def schedule(data: str, net: str, rows: int, longer: float = 1.0, epochs: float | None = None) -> dict[str, Any]:
    """Return the plain training of a net on some rows, as `TrainingSettings` has it."""
    planned, lr = SCHEDULES[data, net]
    steps = max(1, round((longer * planned if epochs is None else epochs) * rows / min(BATCH, rows)))
    return {
        "steps": steps, "batch_size": BATCH, "lr": lr, "warmup": steps // 10, "decay": "cosine",
        "weight_decay": 0.01,
    }  # fmt: skip


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes
    ----------
    name : str
    tier : int
        0 for baselines; tier 3 runs with three seeds, the others with five.
    change : callable
        From the weight, the net and the task to changes of `TrainingSettings`.
    start : float or None
        Weight from which the search goes up and down; None where there is nothing to choose.
    nets : tuple of str
        Nets that it makes sense for.
    images : bool
        Whether it needs pictures.
    longer : mapping of str to float
        Factor of the epochs by net: a method may be shown again with more. On refilled validation rows of Fashion-MNIST
        the CNN gained up to the last that was tried (9, 12, 15 epochs: .905, .909, .911).
    like : str or None
        Method whose weight it takes.
    without : tuple of str
        Data that it makes no sense for: where nothing should matter, or of which no grey is.
    """

    name: str
    tier: int
    change: Callable[[float, str, Task], dict[str, Any]]
    start: float | None = None
    nets: tuple[str, ...] = ("mlp", "cnn", "conv5")
    images: bool = False
    longer: Mapping[str, float] = field(default_factory=dict)
    like: str | None = None
    without: tuple[str, ...] = ()


def _loss(make: Callable[..., Any], **fixed: Any) -> Callable[[float, str, Task], dict[str, Any]]:
    return lambda weight, net, task: {"loss": make(weight=weight, **fixed)}


def _mapped(make: Callable[..., Any], field: str, **fixed: Any) -> Callable[[float, str, Task], dict[str, Any]]:
    """Return a loss at the last convolutional map, or at all of them."""

    def change(weight: float, net: str, task: Task) -> dict[str, Any]:
        layers = MAPS[net]
        return {"loss": make(weight=weight, **{field: layers[-1] if field == "layer" else layers}, **fixed)}

    return change


def _expected(weight: float, net: str, task: Task) -> dict[str, Any]:
    # Every row of a picked background may be the reference; 256 of them, the same for all seeds.
    references = task.train.inputs[:: max(1, len(task.train) // 256)][:256]
    return {"loss": ExpectedGradientPrior(weight=weight, references=references)}


def _region(make: Callable[..., Any], share: float = 1.0, **fixed: Any) -> Callable[[float, str, Task], dict[str, Any]]:
    """Return a loss over what the marked region could show: a share of the range of a pixel to either side."""

    def change(weight: float, net: str, task: Task) -> dict[str, Any]:
        low, high = _range(task)
        return {"loss": make(weight=weight, epsilon=share * (high - low), clip=(low, high), **fixed)}

    return change


def _range(task: Task) -> tuple[float, float]:
    """Return the least and the greatest value of any training row."""
    return float(task.train.inputs.min()), float(task.train.inputs.max())


CONVOLUTIONS = ("cnn", "conv5")

METHODS = {
    method.name: method
    for method in (
        Method("plain", 0, lambda weight, net, task: {}),
        Method("ce-noise", 1, lambda weight, net, task: {"counterexamples": Noise(*_range(task))}),
        Method("ce-grey", 1, lambda weight, net, task: {"counterexamples": Grey()}, without=("iris-cancer",)),
        Method("ce-swap", 1, lambda weight, net, task: {"counterexamples": Swap()}),
        Method("rrr", 1, _loss(RightReasons), 0.2),
        Method(
            "ce-grey long",
            1,
            lambda weight, net, task: {"counterexamples": Grey()},
            images=True,
            longer={"mlp": 3.0, "cnn": 5.0},
        ),
        Method("rrr long", 1, _loss(RightReasons), None, ("mlp",), True, longer={"mlp": 2.0}, like="rrr"),
        Method("rrr-signs", 1, _loss(RightReasons, target="random_sign_logits"), 0.2),
        Method("rrr-label", 1, _loss(RightReasons, target="label_log_probability"), 0.2),
        Method(
            "ce-grey+rrr",
            1,
            lambda weight, net, task: {"counterexamples": Grey(), "loss": RightReasons(weight), "penalty_from": 0.5},
            0.02,
            without=("iris-cancer",),
        ),
        Method("rrr-g", 1, _mapped(RightReasonsGradCam, "layer"), 1.0, CONVOLUTIONS, True),
        Method("tap", 1, _mapped(TargetedActivationPenalty, "layers"), 1e-3, CONVOLUTIONS, True),
        Method("hint", 1, _mapped(Hint, "layer"), 1.0, CONVOLUTIONS, True),
        Method("energy", 2, _loss(Energy, of="irrelevant", attribution="gradient_times_input"), 1.0),
        Method("l1", 2, _loss(AttributionL1), 1.0, without=("toy-both",)),
        Method("ppce", 2, _loss(PixelPositiveCrossEntropy), 0.1, without=("toy-both",)),
        Method("avg-ex", 2, _region(AverageRobust), 1.0),
        Method("pgd-ex", 2, _region(AdversarialRobust, steps=3), 1.0),
        Method("ibp-ex", 2, _region(IntervalRobust, 0.5), 0.1),
        Method("r4", 2, _region(RobustRightReasons, 0.1), 10.0),
        Method("rand-r4", 2, _region(SampledRightReasons, 0.1, samples=2), 1000.0),
        Method("eg", 3, _expected, 10.0),
        Method("cdep", 3, _loss(ContextualDecomposition), 10.0),
        Method("cdep-l1", 3, _loss(ContextualDecomposition, form="l1"), 1.0),
        Method("rbr", 3, _loss(RightForBetterReasons), 1.0),
        Method("masktune", 3, lambda weight, net, task: {}),
        Method("p-clarc", 3, lambda weight, net, task: {}, None, CONVOLUTIONS, True),
        Method("rr-clarc", 3, lambda weight, net, task: {}, 1.0, CONVOLUTIONS, True),
    )
}


def planned_epochs(data: str, net: str, method: str) -> float:
    """Return for how many epochs the table trains a cell."""
    return SCHEDULES[data, net][0] * METHODS[method].longer.get(net, 1.0)

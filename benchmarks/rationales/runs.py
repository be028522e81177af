"""One cell of the table: train a net by a method, judge it, and time its step beside a plain one."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass, replace

import torch
from torch import nn

from explain import (
    Batch,
    input_gradient,
    mass_on_mask,
    mean_penalty,
    shared_pass,
    swap_sensitivity,
    worst_class_accuracy,
)
from explain.concepts import Concept, concept_direction
from explain.losses import RightReasonsConcept
from explain.measures import wrong_reason
from explain.procedures import masktune_inputs
from explain.projection import project_out
from workbench.classifier import Classifier
from workbench.record import TrainingSettings
from workbench.training import train

from .methods import BATCH, MAPS, METHODS, schedule
from .tasks import Rows, Task, build

__all__ = ["JUDGED", "Judged", "accuracy", "cost", "fitted", "judge", "settings_of", "step_cost"]

# Raised when a change of the code changes figures: records of an older number are measured again.
JUDGED = 2
SWATCHES = 2000  # rows with and without a swatch that a concept's direction is found by


@dataclass(frozen=True)
class Judged:
    """How a net does on the tests of a task.

    Attributes
    ----------
    clean_test, decoy_test, worst_class : float
        Accuracy without the shortcut, where it lies, and there of the worst class.
    wr : float
        Wrong reasons, in per cent, by the positive part of the input gradient where the shortcut lies.
    mass_on_mask : float
        Share of that gradient's magnitude on what must not matter.
    swap_sensitivity : float
        Share of predictions that flip when it is refilled from another row.
    """

    clean_test: float
    decoy_test: float
    worst_class: float
    wr: float
    mass_on_mask: float
    swap_sensitivity: float

    def as_dict(self) -> dict[str, float]:
        """Return the figures, rounded to what five seeds can tell."""
        return {name: round(value, 5) for name, value in asdict(self).items()}


@torch.no_grad()
def predicted(model: Classifier, inputs: torch.Tensor) -> torch.Tensor:
    """Return the class that the model says, for each row."""
    with model.evaluating():
        return torch.cat([model(part).argmax(dim=1) for part in inputs.split(2000)])


def accuracy(model: Classifier, rows: Rows) -> float:
    """Return the share of rows that the model gets right."""
    return float((predicted(model, rows.inputs) == rows.labels).double().mean())


def judge(model: Classifier, task: Task, seed: int) -> Judged:
    """Judge a model on the tests of a task."""
    lying, swapped = task.decoy_test, task.swapped
    assert lying.rationale.irrelevant is not None
    assert swapped.rationale.irrelevant is not None
    mask = lying.rationale.irrelevant
    with model.evaluating():
        slopes = torch.cat([input_gradient(model, part).scores for part in lying.inputs.split(2000)])
        flips = swap_sensitivity(model, swapped.inputs, swapped.rationale.irrelevant, swapped.inputs, seed=seed)
    return Judged(
        clean_test=accuracy(model, task.clean_test),
        decoy_test=accuracy(model, lying),
        worst_class=worst_class_accuracy(predicted(model, lying.inputs), lying.labels),
        wr=100 * float(wrong_reason(slopes, mask).nanmean()),
        mass_on_mask=float(mass_on_mask(slopes, mask).nanmean()),
        swap_sensitivity=flips,
    )


def settings_of(
    data: str, net: str, method: str, weight: float | None, task: Task, rows: int, *, seed: int,
    epochs: float | None = None,
) -> TrainingSettings:  # fmt: skip
    """Return how a net is trained by a method."""
    plain = schedule(data, net, rows, METHODS[method].longer.get(net, 1.0), epochs)
    change = METHODS[method].change(0.0 if weight is None else weight, net, task)
    return TrainingSettings(**plain, **change, seed=seed)


def fitted(
    data: str, net: str, method: str, weight: float | None, task: Task, rows: Rows, *, seed: int,
    epochs: float | None = None,
) -> Classifier:  # fmt: skip
    """Train a net by a method on some rows."""
    start = Classifier(build(net, task, seed), [str(number) for number in range(task.classes)])
    settings = settings_of(data, net, method, weight, task, len(rows), seed=seed, epochs=epochs)
    if method == "masktune":
        return _masktuned(start, rows, settings)
    model = train(start, rows.draw, len(rows), settings, progress=False).model
    if method in ("p-clarc", "rr-clarc"):
        return _without_concept(model, rows, settings, net, weight if method == "rr-clarc" else None)
    return model


def _masktuned(start: Classifier, rows: Rows, settings: TrainingSettings) -> Classifier:
    """Train, but for one epoch; hide what each row was told by; train that epoch."""
    epoch = max(1, len(rows) // settings.batch_size)
    before = replace(settings, steps=max(1, settings.steps - epoch))
    model = train(start, rows.draw, len(rows), before, progress=False).model
    hidden, _ = masktune_inputs(model, Batch(rows.inputs, rows.labels), deviations=2.0)
    last = replace(settings, steps=epoch, lr=settings.lr / 10, warmup=0)
    masked = replace(rows, inputs=hidden.inputs)
    return train(model, masked.draw, len(rows), last, progress=False).model


def _without_concept(
    model: Classifier, rows: Rows, settings: TrainingSettings, net: str, weight: float | None
) -> Classifier:
    """Project the swatch out of the last map; or, with a weight, train the head not to answer to it for an epoch."""
    concept = _swatch(model, rows, net)
    if weight is None:
        return model.with_module(project_out(model.module, concept))
    _train_head_alone(model)
    epoch = max(1, len(rows) // settings.batch_size)
    loss = RightReasonsConcept.of(concept, weight)
    last = replace(settings, steps=epoch, lr=settings.lr / 4, loss=loss)
    return train(model, rows.draw, len(rows), last, progress=False).model


def _swatch(model: Classifier, rows: Rows, net: str) -> Concept:
    """Find the swatch's direction in the last map."""
    some = rows.take(torch.arange(min(SWATCHES, len(rows))).numpy())
    assert some.rationale.irrelevant is not None
    without = torch.where(some.rationale.irrelevant[:, None], 0.0, some.inputs)
    return concept_direction(model.module, MAPS[net][-1], some.inputs, without)


def _train_head_alone(model: Classifier) -> None:
    for name, part in model.module.named_children():
        part.requires_grad_(name in ("hidden", "head"))


def cost(method: str, task: Task, net: str, settings: TrainingSettings) -> float:
    """Return the cost of a method's own steps, relative to plain ones; of those that have none, 1."""
    if method in ("masktune", "p-clarc"):
        return 1.0
    if method != "rr-clarc":
        return step_cost(task, net, settings)
    start = Classifier(build(net, task, 0), [str(number) for number in range(task.classes)])
    loss = RightReasonsConcept.of(_swatch(start, task.train, net), 1.0)
    return step_cost(task, net, replace(settings, loss=loss), head_alone=True)


def step_cost(
    task: Task, net: str, settings: TrainingSettings, repeats: int = 15, *, head_alone: bool = False
) -> float:  # fmt: skip
    """Return the cost of a step by these settings, relative to a plain one: medians of alternating steps."""
    plain, own = (Classifier(build(net, task, 0), [str(number) for number in range(task.classes)]) for _ in range(2))
    if head_alone:
        _train_head_alone(own)
    rows = torch.arange(min(BATCH, len(task.train)))
    batch, said = Batch(task.train.inputs[rows], task.train.labels[rows]), task.train.rationale.take(rows)
    optimizers = {
        model: torch.optim.AdamW([w for w in model.module.parameters() if w.requires_grad], lr=1e-4)
        for model in (plain, own)
    }
    drawn = torch.Generator().manual_seed(0)

    def step(told: TrainingSettings | None) -> float:
        model = plain if told is None else own
        optimizer = optimizers[model]
        weights = optimizer.param_groups[0]["params"]
        begin = time.process_time()
        run, penalty = batch, torch.zeros(())
        if told is not None and told.counterexamples is not None:
            changed = told.counterexamples(batch, said, drawn)
            value = nn.functional.cross_entropy(model(changed.inputs), changed.labels)
        else:
            logits, run = shared_pass(model, batch, said, None if told is None else told.loss)
            value = nn.functional.cross_entropy(logits, batch.labels)
        if told is not None and told.loss is not None:
            penalty = mean_penalty(told.loss, model, run, said)
        optimizer.zero_grad()
        torch.autograd.backward(value + penalty, inputs=weights)
        optimizer.step()
        return time.process_time() - begin

    for told in (None, settings):  # the first of each prepares kernels
        step(told)
    pairs = [(step(None), step(settings)) for _ in range(repeats)]
    return statistics.median(method for _, method in pairs) / statistics.median(plain for plain, _ in pairs)

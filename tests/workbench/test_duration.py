import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import workbench as wb
from explain import RightReasons
from workbench.classifier import Classifier
from workbench.duration import steps_in_epochs, steps_in_minutes
from workbench.errors import RunError
from workbench.record import TrainingSettings
from workbench.training import train

START = Classifier(nn.Linear(3, 2), ("a", "b"))
INPUTS = torch.rand(64, 3, generator=torch.Generator().manual_seed(0))


class Slow:
    """Rows that take a while to draw."""

    def __init__(self, seconds):
        self.seconds, self.calls = seconds, 0

    def __call__(self, rows):
        self.calls += 1
        time.sleep(self.seconds)
        return INPUTS[rows], (INPUTS[rows, 0] > 0.5).long(), None


SETTINGS = TrainingSettings(steps=999, batch_size=8, lr=0.1)


@pytest.fixture(scope="module", autouse=True)
def warm():
    """The first optimiser of a process takes seconds to import what it needs."""
    train(START, Slow(0), 64, TrainingSettings(steps=2, batch_size=8, lr=0.1), progress=False)


def test_minutes_become_the_steps_that_fit_into_them_drawing_included():
    draw = Slow(0.01)
    steps = steps_in_minutes(4 / 60, START, draw, np.arange(64), SETTINGS)
    assert draw.calls == 10
    # A step takes 10 ms and something more, and 100 ms of the 4 s are spent on timing it.
    assert 80 <= steps <= 391


def test_looks_at_the_validation_rows_take_their_time_too():
    asked = replace(SETTINGS, checks=100)
    without = steps_in_minutes(1 / 60, START, Slow(0.005), np.arange(48), asked)
    looks = steps_in_minutes(1 / 60, START, Slow(0.005), np.arange(48), asked, validation=np.arange(48, 64))
    assert looks < 0.8 * without, "101 looks of 5 ms are half of the second"


def test_a_penalty_counts_with_its_share_of_the_steps():
    class Dear(nn.Linear):
        def forward(self, inputs):
            if inputs.requires_grad:  # as the penalty asks
                time.sleep(0.02)
            return super().forward(inputs)

    said = torch.ones(64, 3, dtype=torch.bool)
    start = Classifier(Dear(3, 2), ("a", "b"))

    def draw(rows):
        time.sleep(0.002)
        return INPUTS[rows], (INPUTS[rows, 0] > 0.5).long(), said[rows]

    def steps(penalty_from):
        asked = TrainingSettings(steps=1, batch_size=8, lr=0.1, loss=RightReasons(0.1), penalty_from=penalty_from)
        return steps_in_minutes(0.1, start, draw, np.arange(64), asked)

    always, half, never = steps(0.0), steps(0.5), steps(1.0)
    assert always < half < never
    # Seconds per step are halfway between those of the two.
    assert 1 / half == pytest.approx((1 / always + 1 / never) / 2, rel=0.35)


def test_timing_is_cut_short_where_it_would_take_too_much_of_the_time():
    draw = Slow(0.02)
    started = time.perf_counter()
    assert steps_in_minutes(0.1 / 60, START, draw, np.arange(64), SETTINGS) >= 1
    assert draw.calls <= 4
    assert time.perf_counter() - started < 0.5


def test_the_classifier_and_the_global_generator_are_left_as_found():
    before, state = START.module.weight.clone(), torch.get_rng_state()
    steps_in_minutes(0.5 / 60, START, Slow(0.001), np.arange(64), SETTINGS)
    assert torch.equal(START.module.weight, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_interrupt_while_it_is_timed_is_one():
    calls = []

    def draw(rows):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return Slow(0)(rows)

    with pytest.raises(KeyboardInterrupt):
        steps_in_minutes(1.0, START, draw, np.arange(64), SETTINGS)


@pytest.mark.parametrize("length", [0, -1.0, float("nan"), float("inf")])
def test_a_length_that_is_none_is_refused(length):
    with pytest.raises(RunError, match="must be positive and finite"):
        steps_in_epochs(length, 10, 2)
    with pytest.raises(RunError, match="must be positive and finite"):
        steps_in_minutes(length, START, Slow(0), np.arange(4), SETTINGS)


@pytest.mark.parametrize(
    ("epochs", "rows", "batch_size", "steps"), [(1, 100, 30, 3), (0.01, 100, 30, 1), (2, 10, 30, 2), (2.5, 40, 4, 25)]
)
def test_epochs_are_passes_over_whole_batches(epochs, rows, batch_size, steps):
    assert steps_in_epochs(epochs, rows, batch_size) == steps


@pytest.fixture(scope="module")
def panel():
    labels = np.where(INPUTS[:, 0].numpy() > 0.5, "b", "a")
    return wb.DataPanel({"x": INPUTS, "label": wb.ScalarColumn(labels.tolist()).as_category(("a", "b"))})


def test_the_settings_of_a_training_hold_the_number_of_steps_and_repeat_it(panel):
    start = Classifier(nn.Linear(3, 2), ("a", "b"), on="x")
    done = wb.fit(start, panel, minutes=0.02, batch_size=8, progress=False)
    assert done.settings.steps == len(done.steps) > 10
    again = wb.fit(start, panel, settings=done.settings, progress=False)
    assert torch.equal(again.model.module.weight, done.model.module.weight)
    assert len(wb.fit(start, panel, epochs=3, batch_size=8, progress=False).steps) == 24


def test_one_length_is_enough(panel):
    start = Classifier(nn.Linear(3, 2), ("a", "b"), on="x")
    with pytest.raises(RunError, match=r"one of `steps`, `epochs` and `minutes` says; got \['steps=3', 'epochs=1'\]"):
        wb.fit(start, panel, steps=3, epochs=1, progress=False)
    with pytest.raises(RunError, match=r"got .*'minutes=1'"):
        wb.finetune(start, panel, INPUTS > 0.5, epochs=2, minutes=1, progress=False)


@pytest.mark.filterwarnings("ignore::workbench.record.UnchangedModelWarning")
def test_a_training_that_is_timed_is_the_one_that_runs(panel):
    """Steps that were timed leave nothing behind: the same settings give the same bits without them."""
    start = Classifier(nn.Linear(3, 2), ("a", "b"), on="x")
    timed = wb.finetune(start, panel, INPUTS > 0.5, minutes=0.01, batch_size=8, loss=None, progress=False)
    plain = wb.finetune(start, panel, INPUTS > 0.5, settings=timed.settings, progress=False)
    assert timed.steps == plain.steps

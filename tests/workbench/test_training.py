import math
import random
import signal
import warnings
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from explain import (
    Grey,
    KindError,
    Rationale,
    RationaleLoss,
    RightReasons,
    ShapeError,
    Swap,
    input_gradient,
    mass_on_mask,
)
from workbench.classifier import Classifier
from workbench.errors import RunError
from workbench.record import (
    DivergedError,
    InterruptedTrainingWarning,
    TrainingSettings,
    UnchangedModelWarning,
    UnguardedWarning,
)
from workbench.training import fine_tune_rows, fit_rows, train

ROWS = 256


class Data:
    """Eight noisy features tell the label of three; a ninth, marked, tells it without noise."""

    def __init__(self, lying=False):
        generator = torch.Generator().manual_seed(int(lying))
        self.labels = torch.randint(0, 3, (ROWS,), generator=generator)
        told = torch.randint(0, 3, (ROWS,), generator=generator) if lying else self.labels
        noise = 0.25 * torch.randn(ROWS, 8, generator=generator)
        honest = 0.3 * torch.eye(3)[self.labels].repeat(1, 3)[:, :8] + noise
        self.inputs = torch.cat([honest, told[:, None] / 2.0], dim=1)
        self.mask = torch.zeros(ROWS, 9, dtype=torch.bool)
        self.mask[:, 8] = True

    def __call__(self, rows):
        return self.inputs[rows], self.labels[rows], self.mask[rows]

    def accuracy(self, model):
        with model.evaluating(), torch.no_grad():
            return (model(self.inputs).argmax(dim=1) == self.labels).float().mean().item()


@pytest.fixture
def data():
    return Data()


@pytest.fixture
def start():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(9, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
    return Classifier(module, ("a", "b", "c"))


def weights_of(model):
    return torch.cat([value.detach().flatten().double() for value in model.module.state_dict().values()])


def test_training_falls_for_the_shortcut_and_the_fine_tune_puts_it_right(start, data):
    lying = Data(lying=True)
    plain = fit_rows(start, data, ROWS, steps=300, batch_size=64, lr=0.01, progress=False).model
    assert data.accuracy(plain) > 0.95
    assert lying.accuracy(plain) < 0.6
    done = fine_tune_rows(plain, data, ROWS, steps=300, batch_size=64, lr=0.01, progress=False)
    assert lying.accuracy(done.model) > lying.accuracy(plain) + 0.2

    def mass(model):
        with model.evaluating():
            return mass_on_mask(input_gradient(model, data.inputs).scores, data.mask).mean().item()

    assert mass(done.model) < mass(plain) / 5


@pytest.mark.parametrize("counterexamples", [Swap(), Grey(), None])
def test_a_seed_gives_the_same_bits_whatever_torch_was_seeded_with(start, data, counterexamples):
    results = []
    for seed in (5, 5, 6):
        torch.manual_seed(len(results))
        done = fine_tune_rows(
            start,
            data,
            ROWS,
            steps=12,
            seed=seed,
            counterexamples=counterexamples,
            validation=np.arange(32),
            progress=False,
        )
        results.append((weights_of(done.model), done.steps, done.checks))
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][1:] == results[1][1:]
    assert not torch.equal(results[0][0], results[2][0])


def test_a_training_repeats_from_its_settings(start, data):
    done = fine_tune_rows(start, data, ROWS, steps=8, seed=3, weight_decay=0.1, progress=False)
    again = train(start, data, ROWS, done.settings, progress=False)
    assert torch.equal(weights_of(done.model), weights_of(again.model))


def test_the_start_and_the_global_generator_are_left_as_found(start, data):
    before, state = weights_of(start), torch.get_rng_state()
    fine_tune_rows(start, data, ROWS, steps=5, progress=False)
    fit_rows(start, data, ROWS, steps=5, progress=False)
    assert torch.equal(weights_of(start), before)
    assert torch.equal(torch.get_rng_state(), state)


def test_running_statistics_are_frozen_in_a_fine_tune_only(start, data):
    before = start.module[1].running_mean.clone()
    tuned = fine_tune_rows(start, data, ROWS, steps=5, progress=False).model
    assert torch.equal(tuned.module[1].running_mean, before)
    fitted = fit_rows(start, data, ROWS, steps=5, progress=False).model
    assert not torch.equal(fitted.module[1].running_mean, before)


def test_modes_come_back_even_after_an_exception(start, data):
    start.module[3].eval()
    modes = [part.training for part in start.module.modules()]
    done = fine_tune_rows(start, data, ROWS, steps=3, validation=np.arange(9), progress=False)
    assert [part.training for part in done.model.module.modules()] == modes
    broken = Data()
    broken.inputs[:] = math.nan
    with pytest.raises(DivergedError) as caught:
        fit_rows(start, broken, ROWS, steps=3, progress=False)
    assert [part.training for part in caught.value.training.model.module.modules()] == modes


def test_weights_that_are_frozen_stay(start, data):
    start.module[0].requires_grad_(False)
    done = fine_tune_rows(start, data, ROWS, steps=5, weight_decay=0.5, progress=False)
    assert torch.equal(done.model.module[0].weight, start.module[0].weight)
    assert not torch.equal(done.model.module[4].weight, start.module[4].weight)


def test_only_the_rows_named_are_drawn(start, data):
    drawn = []

    def draw(rows):
        assert rows.dtype == np.int64
        drawn.extend(rows.tolist())
        return data(rows)

    fine_tune_rows(start, draw, np.array([3, 5, 8, 9]), steps=4, batch_size=2, progress=False)
    assert set(drawn) == {3, 5, 8, 9}
    assert len(drawn) == 8


def test_every_step_is_recorded_and_the_penalty_starts_when_asked(start, data):
    seen = []
    data.mask[10:] = False
    rows = np.arange(5, 25)
    done = fine_tune_rows(
        start, data, rows, steps=10, batch_size=20, lr=0.1, warmup=2, penalty_from=0.6, progress=seen.append
    )
    assert done.steps == tuple(seen)
    assert [step.number for step in seen] == list(range(1, 11))
    assert {step.annotated for step in seen} == {5}
    assert [step.penalty > 0 for step in seen] == [False] * 6 + [True] * 4
    assert [seen[0].lr, seen[1].lr] == pytest.approx([0.05, 0.1])
    assert seen[-1].lr < 0.01
    assert done.kept_step == 10
    assert done.seconds > 0


def test_without_marks_a_fine_tune_is_plain(start, data):
    def unmarked(rows):
        return (*data(rows)[:2], None)

    plain = fine_tune_rows(start, unmarked, ROWS, steps=6, loss=None, counterexamples=None, progress=False)
    same = fine_tune_rows(start, unmarked, ROWS, steps=6, progress=False)
    assert torch.equal(weights_of(plain.model), weights_of(same.model))
    assert {step.annotated for step in same.steps} == {0}


def test_the_state_kept_is_chosen_on_refilled_rows_and_the_record_says_so(start, data):
    held = np.arange(200, ROWS)
    done = fine_tune_rows(start, data, 200, steps=40, validation=held, progress=False)
    assert [check.step for check in done.checks] == [0, *range(4, 41, 4)]
    assert done.guarded
    assert "with the marked regions refilled" in repr(done)
    with pytest.warns(UnguardedWarning, match="None of 56 validation rows has a region"):
        bare = fine_tune_rows(
            start, lambda rows: (*data(rows)[:2], None), 200, steps=5, validation=held, progress=False
        )
    assert not bare.guarded
    assert "NOT guarded" in repr(bare)
    assert "chosen by nothing" in repr(fit_rows(start, data, 200, steps=1, progress=False))


def test_a_fine_tune_that_only_does_harm_keeps_the_state_it_started_from(data):
    """Training labels are wrong, validation labels right: the start is best."""
    torch.manual_seed(0)
    net = Classifier(nn.Sequential(nn.Linear(9, 16), nn.ReLU(), nn.Linear(16, 3)), ("a", "b", "c"))
    good = fine_tune_rows(net, data, 200, steps=100, lr=0.02, progress=False).model
    data.labels[:200] = (data.labels[:200] + 1) % 3
    held = np.arange(200, ROWS)
    with pytest.warns(UnchangedModelWarning, match="no state after 50 steps did as well as the start"):
        done = fine_tune_rows(good, data, 200, steps=50, lr=0.1, warmup=0, validation=held, progress=False)
    assert done.kept_step == 0
    assert torch.equal(weights_of(done.model), weights_of(good))


def interrupt_after(count):
    def report(step):
        if step.number == count:
            raise KeyboardInterrupt

    return report


def test_an_interrupted_training_keeps_what_is_there_and_says_so(start, data):
    whole = fit_rows(start, data, ROWS, steps=4, progress=False)
    with pytest.warns(InterruptedTrainingWarning, match="after 4 of 9 steps; the state after 4 is kept") as said:
        done = fit_rows(start, data, ROWS, steps=9, progress=interrupt_after(4))
    assert said[0].filename == __file__
    assert done.interrupted
    assert len(done.steps) == 4
    assert "4 of 9 steps, interrupted" in repr(done)
    assert torch.equal(weights_of(done.model), weights_of(whole.model))


def test_an_interrupted_fine_tune_keeps_the_best_state_so_far(start, data):
    with pytest.warns(InterruptedTrainingWarning, match="after 25 of 40 steps"):
        done = fine_tune_rows(start, data, 200, steps=40, validation=np.arange(200, ROWS), progress=interrupt_after(25))
    assert done.checks[-1].step == 24
    assert done.kept_step in [check.step for check in done.checks]


def test_an_interrupt_before_the_first_step_gives_back_the_start(start):
    def draw(rows):
        raise KeyboardInterrupt

    with pytest.warns(InterruptedTrainingWarning, match="after 0 of 120"):
        done = fine_tune_rows(start, draw, ROWS, validation=np.arange(9), progress=False)
    assert torch.equal(weights_of(done.model), weights_of(start))


@pytest.mark.parametrize(("where", "whole"), [("before the head", 2), ("after the weights moved", 3)])
def test_ctrl_c_within_a_step_leaves_it_whole_or_undone(start, data, where, whole):
    """The state is that of the steps in the record, running statistics included."""
    count = []

    def press(*_):
        count.append(1)
        if len(count) == 3:
            signal.raise_signal(signal.SIGINT)

    head = start.module[4]
    hook = head.register_forward_pre_hook(press) if whole == 2 else register_optimizer_step_post_hook(press)
    with pytest.warns(InterruptedTrainingWarning):
        done = fit_rows(start, data, ROWS, steps=9, progress=False)
    hook.remove()
    assert len(done.steps) == done.kept_step == whole, where
    with pytest.warns(InterruptedTrainingWarning):
        again = fit_rows(start, data, ROWS, steps=9, progress=interrupt_after(whole))
    assert torch.equal(weights_of(done.model), weights_of(again.model))


def test_a_step_that_diverges_leaves_no_trace_in_running_statistics(start, data):
    calls = []

    def draw(rows):
        inputs, labels, mask = data(rows)
        calls.append(1)
        return inputs * (math.nan if len(calls) == 3 else 1.0), labels, mask

    with pytest.raises(DivergedError) as caught:
        fit_rows(start, draw, ROWS, steps=9, progress=False)
    assert torch.isfinite(weights_of(caught.value.training.model)).all()


def test_a_draw_may_use_any_generator_and_leaves_it_as_found(start, data):
    def draw(rows):
        inputs, labels, mask = data(rows)
        return inputs * np.random.rand() + random.random(), labels, mask  # noqa: NPY002

    results = []
    for seed in range(2):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
        done = fit_rows(start, draw, ROWS, steps=4, seed=np.int64(2**40), progress=False)
        assert before == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
        results.append(weights_of(done.model))
    assert torch.equal(*results)


def test_a_loss_that_is_no_number_stops_at_its_step_and_loses_nothing(start, data):
    calls = []

    def draw(rows):
        inputs, labels, mask = data(rows)
        calls.append(1)
        return inputs * (math.nan if len(calls) == 4 else 1.0), labels, mask

    with pytest.raises(DivergedError, match=r"at step 4 they are nan .*Lower `lr`") as caught:
        fine_tune_rows(start, draw, ROWS, steps=9, progress=False)
    kept = caught.value.training
    assert len(kept.steps) == 3
    with pytest.warns(InterruptedTrainingWarning):
        expected = train(start, data, ROWS, kept.settings, progress=interrupt_after(3))
    assert torch.equal(weights_of(kept.model), weights_of(expected.model))


def test_an_infinite_gradient_stops_before_it_reaches_the_weights(start, data):
    loss = RightReasons(weight=1e38)
    with pytest.raises(DivergedError, match="must be finite; at step 1") as caught:
        fine_tune_rows(start, data, ROWS, loss=loss, penalty_from=0.0, progress=False)
    assert torch.isfinite(weights_of(caught.value.training.model)).all()


def test_a_label_out_of_range_is_named_with_its_row(start, data):
    data.labels[7] = 3
    with pytest.raises(RunError, match=r"must lie in \[0, 3\).*row 7 has 3"):
        fit_rows(start, data, np.array([7]), steps=1, progress=False)


def test_a_mask_that_does_not_fit_is_refused(start, data):
    with pytest.raises(ShapeError, match=r"got \(2, 8\)"):
        fine_tune_rows(start, lambda rows: (*data(rows)[:2], data.mask[rows, :8]), 2, progress=False)
    with pytest.raises(KindError, match="must be a boolean tensor"):
        fine_tune_rows(start, lambda rows: (*data(rows)[:2], data.mask[rows].float()), 2, progress=False)


def test_a_draw_that_returns_other_rows_is_refused(start, data):
    with pytest.raises(RunError, match=r"each of 4 rows; got inputs of shape \(3, 9\)"):
        fit_rows(start, lambda rows: data(rows[1:]), 4, steps=1, progress=False)


def test_no_rows_and_no_weights_are_refused(start, data):
    with pytest.raises(RunError, match="must be rows to train on"):
        fine_tune_rows(start, data, 0, progress=False)
    start.module.requires_grad_(False)
    with pytest.raises(RunError, match="none of this one's requires a gradient"):
        fine_tune_rows(start, data, ROWS, progress=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "at least 1; got 0 and 8"),
        ({"seed": -1}, "not negative and below 2.63; got -1"),
        ({"seed": 0.5}, "whole number.*got 0.5"),
        ({"batch_size": 0}, "at least 1; got 3 and 0"),
        ({"lr": math.nan}, "positive and finite; got nan"),
        ({"decay": "linear"}, "constant, cosine; got 'linear'"),
        ({"penalty_from": 2.0}, r"in \[0, 1\]; got 2.0"),
        ({"weights": "tail"}, "'all', 'head', 'last:2' .*; got 'tail'"),
        ({"accumulate": 0}, "at least 1; got 0 and 10"),
        ({"checks": 0}, "at least 1; got 1 and 0"),
        ({"balance": 1.0}, r"in \(0, 1\), or None; got 1.0"),
        ({"patience": 0}, "at least 1 look without gain, or None; got 0"),
        ({"autocast": "float64"}, "bfloat16, float16, or None; got 'float64'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(RunError, match=message):
        TrainingSettings(**{"steps": 3, "batch_size": 8, "lr": 0.1} | settings)


def test_a_bar_shows_unless_told_not_to(start, data, capsys):
    fit_rows(start, data, ROWS, steps=2, progress=False)
    assert capsys.readouterr().err == ""
    fit_rows(start, data, ROWS, steps=2)
    assert "2/2" in capsys.readouterr().err


@pytest.mark.gpu
def test_rows_drawn_on_the_host_train_a_classifier_on_the_device(start, data):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    start.module.cuda()
    done = fine_tune_rows(start, data, 200, steps=40, validation=np.arange(200, ROWS), progress=False)
    assert done.guarded
    assert done.steps[-1].penalty > 0
    assert next(done.model.module.parameters()).is_cuda


def test_an_automatic_weight_is_settled_on_the_first_batch_that_says_something():
    x = torch.rand(16, 4, generator=torch.Generator().manual_seed(0))
    y = torch.arange(16) % 2
    said = torch.zeros(16, 4, dtype=torch.bool)
    said[:, 0] = True
    start = Classifier(nn.Linear(4, 2), classes=("even", "odd"))

    def draw(rows):
        return x[rows], y[rows], said[rows]

    loss = RightReasons(weight="auto", target="label_logit")
    done = fine_tune_rows(start, draw, 16, steps=4, batch_size=16, loss=loss, counterexamples=None, penalty_from=0.5,
                     progress=False)  # fmt: skip
    assert done.settings.loss == loss
    assert done.loss.weight > 0
    assert done.steps[1].penalty == 0
    assert done.steps[2].penalty == pytest.approx(done.steps[2].task_loss, rel=1e-4)


class Watching:
    """Notes what it is told, in order."""

    def __init__(self):
        self.told, self.states = [], {}

    def began(self, settings, loss):
        self.told.append(("began", settings, loss))

    def stepped(self, step):
        self.told.append(("stepped", step.number))

    def checked(self, check):
        self.told.append(("checked", check.step))

    def kept(self, step, state):
        self.told.append(("kept", step))
        self.states[step] = {name: value.clone() for name, value in state.items()}
        self.latest = state


def test_a_watch_is_told_everything_in_order_and_given_the_state_that_is_returned(start, data):
    watch = Watching()
    settings = TrainingSettings(steps=6, batch_size=32, lr=0.01, counterexamples=Swap(), checks=3)
    done = train(start, data, 200, settings, validation=np.arange(200, ROWS), progress=False, watch=watch)
    words = [(what, number) for what, number, *_ in watch.told if what in ("stepped", "checked")]
    assert watch.told[0] == ("began", settings, None)
    assert words == [("checked", 0), *(("stepped", n) for n in (1, 2)), ("checked", 2), ("stepped", 3), ("stepped", 4),
                     ("checked", 4), ("stepped", 5), ("stepped", 6), ("checked", 6)]  # fmt: skip
    assert max(watch.states) == done.kept_step
    assert all(torch.equal(value, watch.states[done.kept_step][name])
               for name, value in done.model.module.state_dict().items())  # fmt: skip
    assert all(torch.equal(value, watch.states[done.kept_step][name]) for name, value in watch.latest.items())


def test_without_validation_a_watch_is_given_the_state_now_and_then_and_the_last(start, data):
    watch = Watching()
    settings = TrainingSettings(steps=7, batch_size=32, lr=0.01, checks=2)
    done = train(start, data, ROWS, settings, progress=False, watch=watch)
    assert list(watch.states) == [4, 7]
    assert all(torch.equal(value, watch.latest[name]) for name, value in done.model.module.state_dict().items())


def test_the_bar_has_the_accuracy_on_refilled_rows_beside_the_losses(start, data, capsys):
    fine_tune_rows(start, data, 200, steps=4, validation=np.arange(200, ROWS))
    assert "refilled=0." in capsys.readouterr().err


def test_a_training_stops_when_looks_bring_no_gain(start, data):
    settings = TrainingSettings(steps=40, batch_size=32, lr=1e-9, counterexamples=Swap(), checks=20, patience=3)
    held = np.arange(200, ROWS)
    done = train(start, data, 200, settings, validation=held, progress=False)
    assert done.stopped_early
    assert not done.interrupted
    assert len(done.steps) == 6
    assert "6 of 40 steps, stopped early" in repr(done)
    penalised = replace(settings, loss=RightReasons(weight=1e-9), penalty_from=0.5)
    later = train(start, data, 200, penalised, validation=held, progress=False)
    assert len(later.steps) == 26, "looks are counted from where the penalty acts"
    with pytest.raises(RunError, match="give `validation`"):
        train(start, data, 200, settings, progress=False)


def test_balanced_batches_have_their_share_of_annotated_rows(start, data):
    data.mask[20:] = False
    settings = TrainingSettings(steps=5, batch_size=32, lr=0.01, counterexamples=Swap(), balance=0.25)
    done = train(start, data, ROWS, settings, progress=False)
    assert [step.annotated for step in done.steps] == [8] * 5
    known = train(start, data, ROWS, settings, annotated=np.arange(20), progress=False)
    assert torch.equal(weights_of(done.model), weights_of(known.model))


OPTIONS = [
    {"weights": "head"},
    {"weights": "last:2", "accumulate": 3},
    {"weights": "lora:2"},
    {"balance": 0.5, "accumulate": 2},
    {"autocast": "bfloat16"},
    {"checks": 4, "patience": 1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(map(str, options.values())))
def test_every_option_repeats_bit_for_bit_and_leaves_the_start_alone(start, data, options):
    data.mask[100:] = False
    before = weights_of(start)
    settings = TrainingSettings(
        **{"steps": 6, "batch_size": 32, "lr": 0.01, "seed": 4, "counterexamples": Swap(), "loss": RightReasons(0.02),
           "penalty_from": 0.5, "freeze_statistics": True} | options
    )  # fmt: skip
    results = []
    for number in range(2):
        torch.manual_seed(number)
        with warnings.catch_warnings():
            # Six steps help or not; that is not asked here.
            warnings.simplefilter("ignore", UnchangedModelWarning)
            done = train(start, data, ROWS - 40, settings, validation=np.arange(40), progress=False)
        results.append((weights_of(done.model), done.steps, done.checks))
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][1:] == results[1][1:]
    assert torch.equal(weights_of(start), before)
    assert all(weight.requires_grad for weight in done.model.module.parameters())


@dataclass(frozen=True)
class Noted(RationaleLoss):
    """A loss that notes how much was marked."""

    seen: list = field(default_factory=list)

    def penalize(self, forward, batch, rationale):
        self.seen.append((rationale.irrelevant.sum().item(), rationale.relevant.sum().item()))
        return forward(batch.inputs).square().sum(dim=1)


def test_a_loss_may_use_what_should_matter_too():
    x = torch.rand(8, 4, generator=torch.Generator().manual_seed(0))
    y = torch.arange(8) % 2
    loss = Noted()
    both = Rationale(irrelevant=torch.eye(4, dtype=torch.bool).repeat(2, 1), relevant=torch.ones(8, 4).bool())
    settings = TrainingSettings(steps=1, batch_size=8, lr=0.1, loss=loss)
    start = Classifier(nn.Linear(4, 2), classes=("even", "odd"))
    train(start, lambda rows: (x[rows], y[rows], both.take(torch.as_tensor(rows))), 8, settings, progress=False)
    assert loss.seen == [(8, 32)]

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from explain import Batch, Rationale, RightReasons, Swap, mean_over_annotated
from explain.counterexamples import Added, Grey
from explain.losses import Hint, TargetedActivationPenalty
from workbench.classifier import Classifier
from workbench.errors import RunError
from workbench.objective import Objective
from workbench.record import DivergedError, TrainingSettings
from workbench.training import train


def model_of(dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(36, 3))
    return Classifier(module.to(dtype), ("a", "b", "c"))


def rows_of(count, dtype=torch.float64, *, irrelevant=0.5, relevant=0.3):
    drawn = torch.Generator().manual_seed(count)
    inputs = torch.rand(count, 1, 8, 8, generator=drawn, dtype=dtype)
    masks = [
        (torch.rand(count, 8, 8, generator=drawn) < 0.3) & (torch.rand(count, 1, 1, generator=drawn) < share)
        for share in (irrelevant, relevant)
    ]
    return Batch(inputs, torch.randint(0, 3, (count,), generator=drawn)), Rationale(*masks)


def gradient(batch, said, *, penalised=True, model=None, **changes):
    model = model or model_of(batch.inputs.dtype)
    weights = list(model.module.parameters())
    asked = TrainingSettings(**{"steps": 1, "batch_size": len(batch), "lr": 0.1} | changes)
    found = Objective(model, asked).accumulate(batch, said, weights, penalised=penalised)
    return torch.cat([weight.grad.flatten() for weight in weights]), found


LOSSES = [
    None,
    RightReasons(weight=0.5),
    RightReasons(weight=0.5) + TargetedActivationPenalty(weight=0.1, layers=("1",)) + Hint(weight=0.3, layer="1"),
]


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 23), st.integers(2, 9), st.sampled_from(LOSSES), st.floats(0, 1),
    st.sampled_from([None, Swap(), Grey(), Added(Swap(), copies=2)]),
)  # fmt: skip
def test_a_gradient_in_parts_is_that_of_the_whole_batch(count, passes, loss, share, counterexamples):
    batch, said = rows_of(count, irrelevant=share)
    whole, one = gradient(batch, said, loss=loss, counterexamples=counterexamples)
    parts, many = gradient(batch, said, loss=loss, counterexamples=counterexamples, accumulate=passes)
    assert torch.allclose(whole, parts, rtol=1e-9, atol=1e-12)
    assert many.task_loss == pytest.approx(one.task_loss)
    assert many.penalty == pytest.approx(one.penalty, abs=1e-12)
    assert many.annotated == one.annotated


def test_the_penalty_is_the_mean_over_the_annotated_rows_of_the_step_however_they_fall_into_parts():
    batch, said = rows_of(12)
    marks = torch.zeros(12, 8, 8, dtype=torch.bool)
    marks[[0, 1, 2, 11], :4] = True  # three in the first part, none in the second, one in the third
    said, loss = Rationale(irrelevant=marks), RightReasons(weight=0.5)
    slow = mean_over_annotated(loss(model_of(), batch, said), said).item()
    _, found = gradient(batch, said, loss=loss, accumulate=3)
    assert found.penalty == pytest.approx(slow)
    assert found.annotated == 4


def test_a_penalty_that_does_not_act_yet_is_not_computed():
    batch, said = rows_of(8)
    _, found = gradient(batch, said, loss=RightReasons(weight=0.5), penalised=False)
    assert found.penalty == 0


def test_an_automatic_weight_is_settled_where_something_is_said_first():
    batch, _ = rows_of(8)
    marks = torch.zeros(8, 8, 8, dtype=torch.bool)
    marks[6, 2:5, 2:5] = True
    model = model_of()
    objective = Objective(
        model,
        TrainingSettings(
            steps=1, batch_size=8, lr=0.1, loss=RightReasons(weight="auto", target="label_logit"), accumulate=4
        ),
    )
    weights = list(model.module.parameters())
    nothing = objective.accumulate(batch, Rationale(torch.zeros_like(marks)), weights, penalised=True)
    assert (nothing.penalty, objective.loss.weight) == (0, "auto")
    found = objective.accumulate(batch, Rationale(marks), weights, penalised=True)
    assert found.penalty > 0
    assert objective.loss.settled


def test_parts_of_a_sum_are_settled_each_where_something_is_said_that_it_reads():
    batch, _ = rows_of(8)
    irrelevant, relevant = torch.zeros(2, 8, 8, 8, dtype=torch.bool)
    irrelevant[6, 2:5, 2:5] = True
    relevant[1, 2:5, 2:5] = True
    loss = RightReasons(weight="auto", target="label_logit") + Hint(weight="auto", layer="1")
    model = model_of()
    weights = list(model.module.parameters())
    for passes in (1, 4):
        asked = TrainingSettings(steps=1, batch_size=8, lr=0.1, loss=loss, accumulate=passes)
        objective = Objective(model, asked)
        first = objective.accumulate(batch, Rationale(irrelevant, torch.zeros_like(relevant)), weights, penalised=True)
        reasons, hint = objective.loss.losses
        assert first.penalty > 0
        assert reasons.settled
        assert hint.weight == "auto"
        both = objective.accumulate(batch, Rationale(irrelevant, relevant), weights, penalised=True)
        assert objective.loss.settled
        assert objective.loss.losses[0] == reasons
        assert both.penalty > first.penalty


@pytest.mark.parametrize("counterexamples", [None, Swap()])
@pytest.mark.parametrize(("precision", "near"), [("bfloat16", 0.05), ("float16", 0.02)])
def test_half_precision_gives_nearly_the_same_gradient(precision, near, counterexamples):
    batch, said = rows_of(16, torch.float32)
    loss = RightReasons(weight=0.5)
    full, one = gradient(batch, said, loss=loss, counterexamples=counterexamples)
    model = model_of(torch.float32)
    asked = TrainingSettings(
        steps=1, batch_size=16, lr=0.1, loss=loss, counterexamples=counterexamples, autocast=precision
    )
    objective = Objective(model, asked)
    weights = list(model.module.parameters())
    found = objective.accumulate(batch, said, weights, penalised=True)
    scale = objective.scaler.get_scale()
    assert (scale > 1) == (precision == "float16")
    half = torch.cat([weight.grad.flatten() for weight in weights]) / scale
    assert 0 < (half - full).norm() < near * full.norm()
    assert found.task_loss == pytest.approx(one.task_loss, rel=0.01)
    assert found.penalty == pytest.approx(one.penalty, rel=0.05)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_training_in_half_precision_learns_and_repeats(precision):
    inputs = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = (inputs[:, 0, :4].mean((1, 2)) > inputs[:, 0, 4:].mean((1, 2))).long()
    asked = TrainingSettings(steps=60, batch_size=64, lr=0.02, autocast=precision)
    runs = [train(model_of(torch.float32), lambda r: (inputs[r], labels[r], None), 64, asked, progress=False)
            for _ in range(2)]  # fmt: skip
    assert runs[0].steps[-1].task_loss < 0.5 * runs[0].steps[0].task_loss
    assert runs[0].steps == runs[1].steps


def test_with_float16_a_scale_that_is_too_large_costs_a_step_and_divergence_is_still_told():
    model, inputs = model_of(torch.float32), torch.rand(8, 1, 8, 8)
    before = model.module[3].weight.detach().clone()
    asked = TrainingSettings(steps=1, batch_size=8, lr=0.1, autocast="float16")

    def draw(rows, size=1.0):
        return size * inputs[rows], torch.zeros(len(rows), dtype=torch.int64), None

    # A gradient of 65536 times a loss beyond 1 does not fit into float16: the step is left out.
    done = train(model, lambda rows: draw(rows, 3e3), 8, asked, progress=False)
    assert torch.equal(done.model.module[3].weight, before)
    with pytest.raises(DivergedError, match="must be finite"):
        train(model, lambda rows: draw(rows, float("nan")), 8, asked, progress=False)


@pytest.mark.parametrize("counterexamples", [None, Swap()])
def test_what_is_compiled_trains_as_what_is_not(counterexamples):
    batch, said = rows_of(12, torch.float32)
    asked = {"loss": RightReasons(weight=0.5), "counterexamples": counterexamples}
    eager, one = gradient(batch, said, **asked)
    compiled, other = gradient(batch, said, **asked, compile="aot_eager")
    assert torch.allclose(eager, compiled, rtol=1e-4, atol=1e-6)
    assert other.penalty == pytest.approx(one.penalty, rel=1e-4)


class Broken(nn.Module):
    """Cannot be compiled as a whole: what it does next hangs on what it reads."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, inputs):
        return self.layer(inputs) if inputs.sum().item() > 0 else self.layer(-inputs)


def test_what_does_not_compile_is_told_and_not_run_eagerly():
    model = Classifier(Broken(), ("a", "b"))
    batch = Batch(torch.rand(4, 4), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(RunError, match="must compile as a whole, by backend 'eager'; it does not"):
        gradient(batch, Rationale(), model=model, compile="eager")
    with pytest.raises(RunError, match="by backend 'nonsense'"):
        gradient(batch, Rationale(), model=model, compile="nonsense")


def test_a_training_in_parts_needs_no_more_than_a_part_at_a_time():
    sizes = []

    class Noting(nn.Linear):
        def forward(self, inputs):
            sizes.append(len(inputs))
            return super().forward(inputs)

    asked = TrainingSettings(steps=2, batch_size=10, lr=0.1, accumulate=4)
    start = Classifier(Noting(3, 2), ("a", "b"))
    train(start, lambda r: (torch.rand(len(r), 3), torch.zeros(len(r), dtype=torch.int64), None), np.arange(10), asked,
          progress=False)  # fmt: skip
    assert sizes == [3, 3, 2, 2] * 2

"""What holds for losses in general and is not in `LossTests`: rows and devices, sums, weights "auto", shared passes."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from explain import Batch, KindError, Rationale, RightReasons, SettingError, ShapeError, Swap, TargetError
from explain.errors import UnbalancedWarning
from explain.losses import (
    AttributionL1,
    Energy,
    ExplanationRegularization,
    Hint,
    PixelPositiveCrossEntropy,
    RationaleLoss,
    RightReasonsConcept,
    RightReasonsGradCam,
    TargetedActivationPenalty,
    WeightedSum,
    balanced,
    mean_penalty,
    shared_pass,
)


def net_of(*between):
    """A convolutional net that works in place, with other layers before its head."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 3),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        *between,
        nn.Linear(16, 3),
    ).double()


@pytest.fixture
def net():
    return net_of()


@pytest.fixture
def batch():
    inputs = torch.rand(6, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return Batch(inputs, torch.tensor([0, 1, 2, 0, 1, 2]))


MARKED = torch.rand(6, 4, 4, generator=torch.Generator().manual_seed(2)) < 0.5
SAID = Rationale(irrelevant=MARKED, relevant=~MARKED)
# The sum of log-probabilities, the default, has hardly a gradient in a fresh net.
SETTLING = RightReasons("auto", target="label_logit")
SHARING = [
    RightReasons(1.0),
    RightReasons(1.0, norm="cosine", target="cross_entropy"),
    RightReasons(1.0, layer="0"),
    RightReasonsGradCam(layer="2"),
    RightReasonsGradCam(layer="3", exact=True),
    TargetedActivationPenalty(layers=("0", "1", "3")),
    Hint(layer="3"),
    Hint(layer="2", compare="rank", exact=True),
    Energy(),
    Energy(attribution="grad_cam", layer="2"),
    AttributionL1(layer="1"),
    PixelPositiveCrossEntropy(),
    RightReasonsConcept(layer="3", direction=(0.5, 0.5, 0.5, 0.5)),
]


def told(net, batch, rationale, loss, *, shares):
    """The task loss and the penalty, and the gradient of their sum."""
    logits, run = shared_pass(net, batch, rationale, loss if shares else None)
    task = nn.functional.cross_entropy(logits, batch.labels)
    torch.manual_seed(3)
    penalty = mean_penalty(loss, net, run, rationale)
    return run.logits is not None, torch.stack([task, penalty]), torch.autograd.grad(task + penalty, net.parameters())


@pytest.mark.parametrize("loss", SHARING, ids=lambda loss: type(loss).__name__)
def test_a_shared_pass_gives_the_same_values_and_gradients(loss, net, batch):
    assert loss.shares
    _, apart, slopes_apart = told(net, batch, SAID, loss, shares=False)
    shared, together, slopes_together = told(net, batch, SAID, loss, shares=True)
    assert shared
    torch.testing.assert_close(together, apart)
    torch.testing.assert_close(slopes_together, slopes_apart)


def test_all_parts_of_a_sum_share_one_pass(net, batch):
    calls = []
    net.register_forward_hook(lambda *_: calls.append(1))
    total = SHARING[0]
    for loss in SHARING[1:]:
        total = total + loss
    _, apart, slopes_apart = told(net, batch, SAID, total, shares=False)
    calls.clear()
    _, together, slopes_together = told(net, batch, SAID, total, shares=True)
    assert len(calls) == 1
    torch.testing.assert_close(together, apart)
    torch.testing.assert_close(slopes_together, slopes_apart)


def test_a_part_that_is_not_annotated_everywhere_takes_its_own_rows(net, batch):
    half = MARKED & (torch.arange(6) < 3)[:, None, None]
    rationale = Rationale(irrelevant=half, relevant=~MARKED)
    loss = RightReasons(1.0) + Hint(layer="2")
    _, apart, slopes_apart = told(net, batch, rationale, loss, shares=False)
    shared, together, slopes_together = told(net, batch, rationale, loss, shares=True)
    assert shared
    torch.testing.assert_close(together, apart)
    torch.testing.assert_close(slopes_together, slopes_apart)


@pytest.mark.parametrize(
    "between", [nn.BatchNorm1d(16), nn.Dropout(0.5), nn.AlphaDropout(0.5), nn.RReLU()], ids=lambda b: type(b).__name__
)
def test_a_pass_that_differs_in_training_is_not_shared_until_it_does_no_more(between, batch):
    net = net_of(between)
    loss = RightReasons(1.0)
    assert shared_pass(net, batch, SAID, loss)[1] is batch
    between.eval()
    shared, together, _ = told(net, batch, SAID, loss, shares=True)
    assert shared
    torch.testing.assert_close(together, told(net, batch, SAID, loss, shares=False)[1])


def test_dropout_that_drops_nothing_is_shared(batch):
    assert shared_pass(net_of(nn.Dropout(0.0)), batch, SAID, RightReasons())[1].logits is not None


def test_attention_and_recurrence_drop_by_a_setting_of_their_own(batch):
    for drops in (0.0, 0.1):
        for part in (nn.MultiheadAttention(4, 2, dropout=drops), nn.LSTM(4, 4, num_layers=2, dropout=drops)):
            net = net_of()
            net.spare = nn.Identity()
            net.spare.part = part
            shares = shared_pass(net, batch, SAID, RightReasons())[1].logits is not None
            assert shares == (drops == 0)


def test_without_gradients_nothing_is_shared_and_the_penalty_is_there(net, batch):
    loss = RightReasons(1.0)
    expected = mean_penalty(loss, net, batch, SAID).detach()
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            _, run = shared_pass(net, batch, SAID, loss)
            torch.testing.assert_close(mean_penalty(loss, net, run, SAID), expected)


@pytest.mark.parametrize("loss", [*SHARING, WeightedSum(losses=tuple(SHARING))], ids=lambda loss: type(loss).__name__)
def test_a_batch_made_in_inference_mode_has_a_penalty_there_and_outside(loss, net, batch):
    torch.manual_seed(3)
    expected = loss(net, batch, SAID).detach()
    with torch.inference_mode():
        made = Batch(batch.inputs.clone(), batch.labels.clone())
        said = Rationale(SAID.irrelevant.clone(), SAID.relevant.clone())
        torch.manual_seed(3)
        torch.testing.assert_close(loss(net, made, said).clone(), expected)
    torch.manual_seed(3)
    torch.testing.assert_close(loss(net, made, said).detach(), expected)


@pytest.mark.parametrize("rows", [1, 5, 7])
def test_masks_of_other_rows_are_refused(rows, net, batch):
    rationale = Rationale(irrelevant=torch.ones(rows, 4, 4, dtype=torch.bool))
    loss = RightReasons()
    for call in (loss, lambda *given: shared_pass(*given, loss)):
        with pytest.raises(ShapeError, match=f"one row per example; got {rows} rows for 6 examples"):
            call(net, batch, rationale)


def test_a_sum_has_a_number_for_weight_and_its_parts_may_have_auto():
    with pytest.raises(SettingError, match="weight of a sum must be a number"):
        WeightedSum(weight="auto", losses=(RightReasons(),))
    both = RightReasons("auto") + RightReasons()
    assert not both.settled
    for scale in (lambda: 0.5 * both, lambda: WeightedSum(weight=0.5, losses=both.losses)):
        with pytest.raises(SettingError, match="settle it first"):
            scale()


def test_a_sum_within_a_sum_is_written_out_and_reads_what_its_parts_read(net, batch):
    inner = WeightedSum(weight=2.0, losses=(RightReasons(1.0), Hint(0.5, layer="2")))
    nested = WeightedSum(weight=3.0, losses=(inner, Energy(1.0)))
    assert nested.losses == (RightReasons(2.0), Hint(1.0, layer="2"), Energy(1.0))
    assert nested.needs == ("irrelevant", "relevant")
    assert (Hint(layer="2") + Energy()).needs == ("relevant",)
    half = MARKED & (torch.arange(6) < 3)[:, None, None]
    said = Rationale(irrelevant=half, relevant=~MARKED)
    written = RightReasons(6.0) + Hint(3.0, layer="2") + Energy(3.0)
    torch.testing.assert_close(mean_penalty(nested, net, batch, said), mean_penalty(written, net, batch, said))


def test_a_sum_without_parts_is_refused():
    with pytest.raises(SettingError, match="at least one"):
        WeightedSum()


def test_a_weight_auto_has_to_be_settled_before_use(net, batch):
    with pytest.raises(SettingError, match=r"explain\.balanced"):
        RightReasons("auto")(net, batch, SAID)
    with pytest.raises(SettingError, match="settle it first"):
        2 * RightReasons("auto")


def test_each_part_with_a_weight_auto_is_settled_and_numbers_stay(net, batch):
    settled = balanced(SETTLING + Hint(3.0, layer="2") + Energy("auto"), net, batch, SAID, share=0.5)
    task = nn.functional.cross_entropy(net(batch.inputs), batch.labels).item()
    first, second, third = settled.parts()
    assert second.weight == 3.0
    for part in (first, third):
        assert mean_penalty(part, net, batch, SAID).item() == pytest.approx(0.5 * task)


def test_settling_leaves_the_model_as_found_and_is_the_same_in_any_mode(batch):
    net = net_of(nn.BatchNorm1d(16), nn.Dropout(0.5))
    with torch.no_grad():
        for _ in range(10):
            net(batch.inputs)
    before = [buffer.clone() for buffer in net.buffers()]
    weight = balanced(SETTLING, net, batch, SAID).weight
    assert net.training
    assert all(torch.equal(one, other) for one, other in zip(net.buffers(), before, strict=True))
    assert balanced(SETTLING, net.eval(), batch, SAID).weight == weight


@pytest.mark.parametrize("batches", [0, 9])
def test_settling_on_running_statistics_of_no_data_yet_is_told(batch, batches):
    net = net_of(nn.BatchNorm1d(16))
    with torch.no_grad():
        for _ in range(batches):
            net(batch.inputs)
    with pytest.warns(UnbalancedWarning, match=r"normalisation '5' has seen next to no batch.*ten plain steps"):
        balanced(SETTLING, net, batch, SAID)


def test_a_task_loss_may_be_a_tensor_and_a_weight_a_number_of_numpy(net, batch):
    task = nn.functional.cross_entropy(net(batch.inputs), batch.labels)
    assert balanced(SETTLING, net, batch, SAID, task=task) == balanced(SETTLING, net, batch, SAID, task=task.item())
    weight = RightReasons(np.float32(0.5)).weight
    assert (type(weight), weight) == (float, 0.5)
    with pytest.raises(SettingError, match=r"Take the number out: `weight.item\(\)`"):
        RightReasons(torch.tensor(0.5))


def test_functions_of_a_loss_are_not_given_a_model_in_its_place(net, batch):
    for call in (mean_penalty, balanced):
        with pytest.raises(KindError, match=r"must be a rationale loss, the first argument.*got Sequential"):
            call(net, RightReasons(), batch, SAID)


def test_layers_and_targets_that_are_none_are_refused_when_the_loss_is_made(net):
    with pytest.raises(SettingError, match=r"given by its name.*got a Conv2d"):
        RightReasons(layer=net[0])
    with pytest.raises(SettingError, match="must be a tuple"):
        TargetedActivationPenalty(layers=net[0])
    assert TargetedActivationPenalty(layers=["0"]).layers == ("0",)
    with pytest.raises(TargetError, match="one of max_log_probability"):
        RightReasons(target="logit")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda values: values.mean(), r"got \(\)"),
        (lambda values: values.mean()[None], r"got \(1,\)"),
        (lambda values: values[:, None], r"got \(6, 1\)"),
        (lambda values: 0.5, "got a float"),
    ],
)
def test_a_loss_that_gives_no_value_per_row_is_refused(given, words, net, batch):
    class Own(RightReasons):
        def penalize(self, forward, batch, rationale):
            return given(super().penalize(forward, batch, rationale))

    with pytest.raises(ShapeError, match=r"Own\.penalize must return one value for each of its 6 rows.*" + words):
        Own(1.0)(net, batch, SAID)


def test_a_loss_cannot_need_what_there_is_not():
    with pytest.raises(SettingError, match=r"Own\.needs.*irrelevnt"):

        class Own(RightReasons):
            needs = ("irrelevnt",)


class Dropping(nn.Module):
    """A net that drops out by a function, of which no layer tells."""

    def __init__(self):
        super().__init__()
        self.inner, self.head = nn.Linear(32, 16), nn.Linear(16, 3)

    def forward(self, inputs):
        hidden = torch.relu(self.inner(inputs.flatten(1)))
        return self.head(nn.functional.dropout(hidden, 0.5, self.training))


def test_a_pass_that_drops_out_by_a_function_is_not_shared(batch):
    torch.manual_seed(0)
    net, loss = Dropping().double(), RightReasons(1.0)
    _, run = shared_pass(net, batch, SAID, loss)
    assert run is batch
    _, run = shared_pass(net.eval(), batch, SAID, loss)
    assert run.logits is not None


def test_a_shared_pass_is_that_of_one_model_only(net, batch):
    _, run = shared_pass(net, batch, SAID, RightReasons())
    with pytest.raises(KindError, match="pass of another model"):
        RightReasons()(net_of(), run, SAID)


@pytest.mark.parametrize("task", [0.0, float("nan")])
def test_no_weight_balances_a_task_loss_that_is_none(task, net, batch):
    with pytest.raises(SettingError, match="task loss above zero"):
        balanced(RightReasons("auto"), net, batch, SAID, task=task)


def test_no_weight_balances_a_penalty_that_is_zero(net, batch):
    with pytest.raises(SettingError, match="row with a mark that is irrelevant"):
        balanced(RightReasons("auto"), net, batch, Rationale())


def test_each_part_is_averaged_over_its_own_rows(net, batch):
    half = MARKED & (torch.arange(6) < 3)[:, None, None]
    rationale = Rationale(irrelevant=half, relevant=~MARKED)
    parts = RightReasons(1.0), Hint(1.0, layer="2")
    expected = parts[0](net, batch, rationale)[:3].mean() + parts[1](net, batch, rationale).mean()
    torch.testing.assert_close(mean_penalty(parts[0] + parts[1], net, batch, rationale), expected)


def test_a_fresh_model_is_no_measure_for_the_sum_of_log_probabilities(net, batch):
    both = Hint(layer="2") + RightReasons("auto")
    for loss in (RightReasons("auto"), RightReasons("auto", norm="l1"), both):
        with pytest.warns(UnbalancedWarning, match=r"hardly apart.*random_sign_logits"):
            balanced(loss, net, batch, SAID)
    for loss in (SETTLING, RightReasons("auto", norm="cosine"), RightReasons("auto", target="random_sign_logits")):
        assert balanced(loss, net, batch, SAID).settled


def trained(net, batch, steps):
    """Fit a net to a batch, for some steps."""
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(net(batch.inputs), batch.labels))
        optimizer.step()
    return nn.functional.cross_entropy(net(batch.inputs), batch.labels).item()


def test_after_some_steps_it_is_one_and_once_fitted_it_is_none_again(net, batch):
    assert 0.1 < trained(net, batch, 12) < 0.9
    assert balanced(RightReasons("auto"), net, batch, SAID).settled
    assert trained(net, batch, 200) < 0.05
    with pytest.warns(UnbalancedWarning, match=r"next to none.*counterexample=Swap"):
        small = balanced(RightReasons("auto"), net, batch, SAID).weight
    refilled = balanced(RightReasons("auto"), net, batch, SAID, counterexample=Swap())
    told = Swap()(batch, SAID, torch.Generator().manual_seed(0))
    task = nn.functional.cross_entropy(net(told.inputs), told.labels).item()
    assert task > 0.05
    assert mean_penalty(refilled, net, batch, SAID).item() == pytest.approx(task)
    assert refilled.weight > 10 * small
    again = torch.Generator().manual_seed(0)
    assert balanced(RightReasons("auto"), net, batch, SAID, counterexample=Swap(), generator=again) == refilled


def test_a_task_loss_is_given_or_computed_on_counterexamples(net, batch):
    with pytest.raises(SettingError, match="got both"):
        balanced(SETTLING, net, batch, SAID, task=1.0, counterexample=Swap())


def test_losses_add_up_by_the_builtin_sum_and_are_divided(net, batch):
    parts = [RightReasons(1.0), Hint(3.0, layer="2"), Energy(of="irrelevant")]
    assert sum(parts) == parts[0] + parts[1] + parts[2]
    assert (parts[1] / 2).weight == 1.5
    torch.testing.assert_close((sum(parts) / 4)(net, batch, SAID), sum(parts)(net, batch, SAID) / 4)
    with pytest.raises(TypeError, match="unsupported operand"):
        1 + parts[0]


@pytest.mark.parametrize(
    ("loss", "said", "told"),
    [
        (
            Hint(layer="2"),
            Rationale(irrelevant=MARKED),
            "Hint needs masks of what is relevant; there are those of what is irr",
        ),
        (RightReasons(), Rationale(relevant=MARKED), r"RightReasons needs masks of what is irrelevant.*irrelevant=…"),
        (ExplanationRegularization(), Rationale(irrelevant=MARKED), "ExplanationRegularization needs"),
        (Energy(of="irrelevant"), Rationale(relevant=MARKED), "Energy needs masks of what is irrelevant"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_rationale_of_the_other_kind_only_is_a_mistake_that_is_told(loss, said, told, net, batch):
    for call in (loss, RightReasons() + Hint(layer="2") + loss, lambda *given: mean_penalty(loss, *given)):
        with pytest.raises(SettingError, match=told if call is loss else "needs masks of what is"):
            call(net, batch, said)
    blank = torch.zeros_like(MARKED)
    masks = said.irrelevant, said.relevant
    unmarked = Rationale(*(None if mask is None else blank for mask in masks))
    silent_here = Rationale(*(blank if mask is None else mask for mask in masks))
    for nothing in (Rationale(), unmarked, silent_here):
        assert not loss(net, batch, nothing).any()


@pytest.mark.parametrize("call", ["loss", "mean_penalty", "shared_pass", "balanced"])
def test_what_is_no_batch_or_rationale_is_refused_with_how_to_make_one(call, net, batch):
    loss = RightReasons()
    calls = {
        "loss": loss,
        "mean_penalty": lambda *given: mean_penalty(loss, *given),
        "shared_pass": lambda *given: shared_pass(*given, loss),
        "balanced": lambda *given: balanced(SETTLING, *given),
    }
    with pytest.raises(KindError, match=r"`Batch\(inputs, labels\)`; got tuple"):
        calls[call](net, (batch.inputs, batch.labels), SAID)
    with pytest.raises(KindError, match=r"`Rationale\(irrelevant=mask\)`; got Tensor"):
        calls[call](net, batch, MARKED)


@pytest.mark.parametrize("said", [SAID, Rationale()])
def test_a_model_that_returns_no_tensor_is_to_be_wrapped(said, net, batch):
    class Wordy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, inputs):
            return {"logits": self.net(inputs)}

    with pytest.raises(KindError, match=r"got dict\. Wrap it"):
        shared_pass(Wordy(), batch, said, RightReasons())
    with pytest.raises(KindError, match=r"got dict\. Wrap it"):
        balanced(SETTLING, Wordy(), batch, SAID)


@dataclass(frozen=True)
class Spy(RationaleLoss):
    """Writes down what it was given."""

    given: ClassVar[list[tuple[Batch, Rationale]]] = []
    passes: ClassVar[str] = "none"
    source: ClassVar[str] = "these tests"

    def penalize(self, forward, batch, rationale):
        self.given.append((batch, rationale))
        return batch.inputs.flatten(1).sum(dim=1)


def test_only_annotated_rows_are_given_and_cut_off_from_the_caller_s_graph(batch):
    rows = torch.tensor([1, 4])
    marks = torch.zeros_like(MARKED)
    marks[rows, 0, 0] = True
    inputs = batch.inputs.clone().requires_grad_()
    penalty = Spy(2.0)(nn.Identity(), Batch(inputs, batch.labels), Rationale(irrelevant=marks))
    (given, rationale) = Spy.given.pop()
    assert torch.equal(given.inputs, batch.inputs[rows])
    assert not given.inputs.requires_grad
    assert torch.equal(given.labels, batch.labels[rows])
    assert torch.equal(rationale.irrelevant, marks[rows])
    expected = torch.zeros(6, dtype=torch.float64)
    expected[rows] = 2 * batch.inputs[rows].sum(dim=(1, 2, 3))
    torch.testing.assert_close(penalty.detach(), expected)

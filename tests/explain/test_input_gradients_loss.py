import math

import pytest
import torch
from torch import nn

from explain import (
    Batch,
    GraphError,
    Rationale,
    RightReasons,
    SettingError,
    ShapeError,
    input_gradient,
    mean_over_annotated,
)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3)).double()


@pytest.fixture
def batch():
    return Batch(torch.rand(4, 2, 2, 2, dtype=torch.float64, generator=seeded(1)), torch.tensor([0, 1, 2, 0]))


@pytest.fixture
def rationale():
    mask = torch.rand(4, 2, 2, generator=seeded(2)) > 0.4
    mask[2] = False
    return Rationale(irrelevant=mask)


def penalty_by_the_paper(net, batch, rationale, weight):
    """λ Σ_d (A_d ∂/∂x_d Σ_k log p_k)², one element of one row at a time, slopes by central differences."""

    def sum_of_logs(row):
        logits = net(row[None])[0]
        probabilities = [math.exp(logit) for logit in logits]
        return sum(math.log(p / sum(probabilities)) for p in probabilities)

    penalties = []
    for row, marked in zip(batch.inputs, rationale.irrelevant, strict=True):
        total = 0.0
        for channel in range(2):
            for y in range(2):
                for x in range(2):
                    above, below = row.clone(), row.clone()
                    above[channel, y, x] += 1e-5
                    below[channel, y, x] -= 1e-5
                    slope = (sum_of_logs(above) - sum_of_logs(below)) / 2e-5
                    total += (float(marked[y, x]) * slope) ** 2
        penalties.append(weight * total)
    return torch.tensor(penalties, dtype=torch.float64)


def test_it_is_the_formula_of_the_paper(net, batch, rationale):
    computed = RightReasons(weight=0.7)(net, batch, rationale)
    with torch.no_grad():
        expected = penalty_by_the_paper(net, batch, rationale, 0.7)
    torch.testing.assert_close(computed.detach(), expected, rtol=1e-6, atol=1e-10)


def test_the_l1_norm_sums_magnitudes(net, batch, rationale):
    gradient = input_gradient(net, batch.inputs, "log_probabilities").scores
    expected = (gradient.abs() * rationale.irrelevant[:, None]).flatten(1).sum(dim=1)
    torch.testing.assert_close(RightReasons(1.0, norm="l1")(net, batch, rationale).detach(), expected)


def test_the_label_target_takes_the_labels_of_the_annotated_rows(net, batch, rationale):
    gradient = input_gradient(net, batch.inputs, "label_log_probability", batch.labels).scores
    expected = (gradient.square() * rationale.irrelevant[:, None]).flatten(1).sum(dim=1)
    loss = RightReasons(1.0, target="label_log_probability")
    torch.testing.assert_close(loss(net, batch, rationale).detach(), expected)


@pytest.mark.parametrize("target", ["log_probabilities", "max_log_probability", "label_log_probability", 1])
def test_its_gradient_in_the_weights_is_right_to_second_order(net, batch, rationale, target):
    weights = dict(net.named_parameters())

    def penalty(*values):
        def forward(inputs):
            return torch.func.functional_call(net, dict(zip(weights, values, strict=True)), (inputs,))

        return RightReasons(0.3, target=target)(forward, batch, rationale).sum()

    values = tuple(weight.detach().clone().requires_grad_() for weight in weights.values())
    assert torch.autograd.gradcheck(penalty, values)
    assert torch.autograd.gradgradcheck(penalty, values)


def test_rows_without_a_rationale_are_exactly_zero(net, batch, rationale):
    penalty = RightReasons(1.0)(net, batch, rationale)
    assert penalty[2].item() == 0.0
    assert (penalty[[0, 1, 3]] > 0).all()


@pytest.mark.parametrize("nothing", [Rationale(), Rationale(irrelevant=torch.zeros(4, 2, 2, dtype=torch.bool))])
def test_an_empty_rationale_adds_exactly_zero_and_no_gradient(net, batch, nothing):
    task = nn.functional.cross_entropy(net(batch.inputs), batch.labels)
    expected = torch.autograd.grad(task, list(net.parameters()), retain_graph=True)
    total = task + mean_over_annotated(RightReasons(1e6)(net, batch, nothing), nothing)
    assert total.item() == task.item()
    for one, other in zip(torch.autograd.grad(total, list(net.parameters())), expected, strict=True):
        assert torch.equal(one, other)


def test_an_empty_rationale_alone_can_be_differentiated(net, batch):
    mean_over_annotated(RightReasons(1.0)(net, batch, Rationale()), Rationale()).backward()


def test_half_a_batch_gives_the_same_values(net, batch, rationale):
    whole = RightReasons(1.0)(net, batch, rationale)
    half = RightReasons(1.0)(
        net, Batch(batch.inputs[:2], batch.labels[:2]), Rationale(irrelevant=rationale.irrelevant[:2])
    )
    torch.testing.assert_close(half, whole[:2])


def test_the_penalty_alone_moves_the_weights_and_shrinks(net, batch, rationale):
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    values = []
    for _ in range(50):
        penalty = mean_over_annotated(RightReasons(1.0)(net, batch, rationale), rationale)
        values.append(penalty.item())
        optimizer.zero_grad()
        penalty.backward()
        optimizer.step()
    assert values[-1] < 0.2 * values[0]


def test_gradients_of_inputs_and_weights_are_left_alone(net, batch, rationale):
    RightReasons(1.0)(net, batch, rationale)
    assert batch.inputs.grad is None
    assert not batch.inputs.requires_grad
    assert all(weight.grad is None for weight in net.parameters())


def test_without_gradients_it_still_gives_the_value(net, batch, rationale):
    expected = RightReasons(1.0)(net, batch, rationale)
    with torch.no_grad():
        value = RightReasons(1.0)(net, batch, rationale)
    assert not value.requires_grad
    torch.testing.assert_close(value, expected.detach())


def test_a_mask_that_does_not_fit_is_refused(net, batch):
    with pytest.raises(ShapeError, match=r"got \(4, 3, 2\)"):
        RightReasons(1.0)(net, batch, Rationale(irrelevant=torch.ones(4, 3, 2, dtype=torch.bool)))


def test_a_forward_pass_without_a_graph_is_refused(net, batch, rationale):
    with pytest.raises(GraphError, match=r"torch.no_grad"):
        RightReasons(1.0)(torch.no_grad()(net), batch, rationale)


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_weight_that_is_no_weight_is_refused(weight):
    with pytest.raises(SettingError, match="finite and not negative"):
        RightReasons(weight)


def test_a_norm_that_does_not_exist_is_refused():
    with pytest.raises(SettingError, match="one of l2, l1; got 'l3'"):
        RightReasons(norm="l3")


def test_the_mean_runs_over_annotated_rows_only():
    said = Rationale(irrelevant=torch.tensor([[True], [False], [True]]))
    assert mean_over_annotated(torch.tensor([1.0, math.nan, 3.0]), said).item() == 2.0


def test_the_mean_needs_one_value_per_row():
    said = Rationale(irrelevant=torch.ones(3, 1, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"got \(2,\)"):
        mean_over_annotated(torch.ones(2), said)

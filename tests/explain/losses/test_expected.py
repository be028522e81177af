import math

import pytest
import torch
from torch import nn

from explain import Batch, GraphError, KindError, Rationale, SettingError, ShapeError
from explain.losses import ExpectedGradientPrior
from explain.testing import ROWS, LossTests

BACKGROUND = torch.rand(7, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def label_log_probability(logits, label):
    return float(logits[label]) - math.log(sum(math.exp(float(logit)) for logit in logits))


def slope_by_differences(net, inputs, label, element):
    """∂ log p_label / ∂ one element, by central differences."""
    values = []
    for step in (1e-5, -1e-5):
        changed = inputs.clone()
        changed.view(-1)[element] += step
        with torch.no_grad():
            values.append(label_log_probability(net(changed[None])[0], label))
    return (values[0] - values[1]) / 2e-5


class ExpectedGradientTests(LossTests):
    background = BACKGROUND

    def value(self, net, batch, rationale, loss=None):
        self.draws_left = None
        return super().value(net, batch, rationale, loss)

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """Σ_d m_d φ_d², φ_d the mean over draws of (x_d − x'_d) ∂f/∂x_d (x' + α (x − x'))."""
        if self.draws_left is None:
            # The rows with a mark, in their order, take what the generator gives after the seed of `value`.
            torch.manual_seed(3)
            self.draws_left = torch.rand(ROWS - 1, self.loss.samples, 2, dtype=torch.float64).tolist()
        draws = self.draws_left.pop(0)
        size = 0.0
        for element in range(inputs.numel()):
            if not irrelevant.expand(2, 4, 4).flatten()[element]:
                continue
            contribution = 0.0
            for choice, alpha in draws:
                reference = self.background[math.floor(choice * len(self.background))]
                point = reference + alpha * (inputs - reference)
                slope = slope_by_differences(net, point, label, element)
                difference = float(inputs.flatten()[element] - reference.flatten()[element])
                contribution += difference * slope / len(draws)
            size += contribution**2 if self.loss.norm == "l2" else abs(contribution)
        return size


class TestExpectedGradientPrior(ExpectedGradientTests):
    loss = ExpectedGradientPrior(weight=0.7, references=BACKGROUND)


class TestExpectedGradientPriorOfSeveralSamplesInTheL1Norm(ExpectedGradientTests):
    loss = ExpectedGradientPrior(weight=0.7, samples=3, norm="l1", references=BACKGROUND)
    first_order = True  # magnitudes have kinks


class TestExpectedGradientPriorAgainstZeros(ExpectedGradientTests):
    loss = ExpectedGradientPrior(weight=0.7)
    background = torch.zeros(1, 2, 4, 4, dtype=torch.float64)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3)).double()


@pytest.fixture
def batch():
    return Batch(torch.rand(4, 2, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0]))


MARKED = Rationale(irrelevant=torch.ones(4, 2, 2, dtype=torch.bool))


def test_over_one_element_it_is_what_the_element_contributes():
    """Completeness: φ sums to f(x) − E f(x')."""
    torch.manual_seed(0)
    x, references = torch.tensor([[1.5]], dtype=torch.float64), torch.tensor([[0.0], [0.5]], dtype=torch.float64)
    prior = ExpectedGradientPrior(1.0, target=0, samples=40_000, norm="l1", references=references)
    found = prior(torch.exp, Batch(x, torch.tensor([0])), Rationale(irrelevant=torch.tensor([[True]])))
    assert found.item() == pytest.approx(math.exp(1.5) - (1 + math.exp(0.5)) / 2, rel=0.01)


def test_a_linear_logit_gives_weight_times_difference_whatever_is_drawn():
    x = torch.tensor([[1.0, 2.0]])
    prior = ExpectedGradientPrior(1.0, target=0, norm="l1", references=torch.tensor([[0.5, 4.0]]))
    both = Rationale(irrelevant=torch.tensor([[True, True]]))
    found = prior(lambda x: x @ torch.tensor([[3.0], [-1.0]]), Batch(x, torch.tensor([0])), both)
    assert found.item() == pytest.approx(3 * 0.5 + 1 * 2.0)


def test_every_reference_is_drawn():
    x = torch.zeros(1, 1)
    references = torch.tensor([[1.0], [2.0], [4.0]])
    prior = ExpectedGradientPrior(1.0, target=0, norm="l1", references=references)
    torch.manual_seed(0)
    mark = Rationale(irrelevant=torch.tensor([[True]]))
    found = {prior(lambda x: 1.0 * x, Batch(x, torch.tensor([0])), mark).item() for _ in range(60)}
    assert found == {1.0, 2.0, 4.0}


def test_an_input_that_equals_its_reference_contributes_nothing(net, batch):
    prior = ExpectedGradientPrior(references=batch.inputs[:1])
    penalty = prior(net, batch, MARKED)
    assert penalty[0].item() == 0.0
    assert (penalty[1:] > 0).all()


def test_integer_inputs_are_refused():
    tokens = Batch(torch.tensor([[1, 2]]), torch.tensor([0]))
    with pytest.raises(KindError, match="floating point"):
        ExpectedGradientPrior()(nn.Embedding(3, 2), tokens, Rationale(irrelevant=torch.ones(1, 2, dtype=torch.bool)))


def test_references_of_another_shape_are_refused(net, batch):
    with pytest.raises(ShapeError, match=r"inputs, \(2, 2, 2\); got \(8,\)"):
        ExpectedGradientPrior(references=torch.zeros(3, 8))(net, batch, MARKED)


def test_a_mask_that_does_not_fit_is_refused(net, batch):
    with pytest.raises(ShapeError, match=r"got \(4, 3, 2\)"):
        ExpectedGradientPrior()(net, batch, Rationale(irrelevant=torch.ones(4, 3, 2, dtype=torch.bool)))


def test_a_forward_pass_without_a_graph_is_refused(net, batch):
    with pytest.raises(GraphError, match=r"torch.no_grad"):
        ExpectedGradientPrior()(torch.no_grad()(net), batch, MARKED)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"norm": "l3"}, "one of l2, l1; got 'l3'"),
        ({"samples": 0}, "at least 1; got 0"),
        ({"references": torch.zeros(0, 2)}, r"at least one; got \(0, 2\)"),
        ({"references": torch.zeros(3)}, r"at least one; got \(3,\)"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(setting, words):
    with pytest.raises(SettingError, match=words):
        ExpectedGradientPrior(**setting)


def test_integer_references_are_refused():
    with pytest.raises(KindError, match=r"got torch.int64"):
        ExpectedGradientPrior(references=torch.zeros(3, 2, dtype=torch.int64))


def test_losses_compare_and_hash_without_their_references():
    one, other = (ExpectedGradientPrior(references=torch.zeros(rows, 2)) for rows in (1, 2))
    assert one == other
    assert hash(one) == hash(other)

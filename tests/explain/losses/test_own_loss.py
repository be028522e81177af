"""The example in the docstring of `explain.testing`: the same words, run."""

import inspect
import textwrap
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

import explain.testing
from explain import Batch, Rationale, RationaleLoss, expand_mask
from explain.losses import ask
from explain.testing import LossTests


@dataclass(frozen=True)
class Blackout(RationaleLoss):
    """Keep the logits as they are where the marked region is black.

    References
    ----------
    .. [1] Where the formula is from.
    """

    passes: ClassVar[str] = "2 F"
    source: ClassVar[str] = "the example of explain.testing"

    def penalize(self, forward, batch, rationale):
        mask = expand_mask(rationale.irrelevant, batch.inputs)
        black = batch.inputs.masked_fill(mask, 0.0)
        return (forward(batch.inputs) - forward(black)).square().sum(dim=1)


class TestBlackout(LossTests):
    loss = Blackout(weight=0.7)

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        black = inputs.clone()
        black[:, irrelevant] = 0.0
        return ((net(inputs[None])[0] - net(black[None])[0]) ** 2).sum()


@pytest.mark.parametrize("part", [Blackout, TestBlackout])
def test_the_example_in_the_documentation_is_the_one_that_runs(part):
    assert textwrap.indent(inspect.getsource(part), "    ", str.strip) in explain.testing.__doc__


@dataclass(frozen=True)
class Unsaid(RationaleLoss):
    """Says neither what it costs nor where it is from."""

    weight: float = 0.5

    def penalize(self, forward, batch, rationale):
        return forward(batch.inputs).sum(dim=1)


@dataclass(frozen=True)
class Unsourced(Unsaid):
    """Says what it costs, but not where it is from."""

    passes: ClassVar[str] = "1 F"


@dataclass(frozen=True)
class Unreferred(Unsourced):
    """Has no list of papers."""

    source: ClassVar[str] = "these tests"


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (Unsaid(), "`passes: ClassVar.* in Unsaid"),
        (Unsourced(), "`source: ClassVar.* in Unsourced"),
        (Unreferred(), "docstring of Unreferred must have a section References"),
    ],
)
def test_what_a_loss_does_not_say_of_itself_is_asked_for_by_name(loss, told):
    tests = TestBlackout()
    tests.loss = loss
    with pytest.raises(AssertionError, match=told):
        tests.test_it_says_what_it_needs_what_it_costs_and_where_it_is_from()


def test_a_loss_of_one_s_own_asks_for_inputs_logits_and_layers_in_one_graph():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    batch = Batch(torch.rand(5, 3), torch.zeros(5, dtype=torch.int64))
    inputs, logits, layers = ask(net, batch, ["1"])
    assert torch.equal(logits, net[2](layers["1"]))
    assert torch.autograd.grad(logits.sum(), inputs)[0].shape == (5, 3)
    with pytest.raises(TypeError, match=r"must return logits.*got tuple"):
        ask(lambda x: (x,), batch)
    assert not Blackout()(net, batch, Rationale()).any()

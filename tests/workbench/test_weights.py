import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from explain import RightReasons, Swap
from workbench.classifier import Classifier
from workbench.errors import RunError
from workbench.record import TrainingSettings
from workbench.training import train
from workbench.weights import TrainedWeights


def net(seed=0):
    torch.manual_seed(seed)
    body = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4))
    parts = {"features": body, "flat": nn.Flatten(), "hidden": nn.Linear(4, 8), "relu": nn.ReLU()}
    return Classifier(nn.Sequential(OrderedDict(parts | {"head": nn.Linear(8, 3)})), ("a", "b", "c"))


@pytest.fixture
def start():
    model = net()
    with torch.no_grad():
        model.module.hidden.weight[0, 0] = -0.0  # a zero whose sign tells whether anything was added to it
    return model


def draw(rows):
    drawn = torch.Generator().manual_seed(7)
    inputs, labels = torch.rand(40, 1, 8, 8, generator=drawn), torch.randint(0, 3, (40,), generator=drawn)
    mask = torch.zeros(40, 8, 8, dtype=torch.bool)
    mask[:, :3, :3] = True
    return inputs[rows], labels[rows], mask[rows]


def trained(start, weights, steps=4, **changes):
    asked = TrainingSettings(
        **{"steps": steps, "batch_size": 16, "lr": 0.05, "weight_decay": 0.1, "counterexamples": Swap(),
           "loss": RightReasons(0.02), "weights": weights} | changes
    )  # fmt: skip
    return train(start, draw, 40, asked, progress=False).model


def bits(tensor):
    return tensor.detach().numpy().tobytes()


def changed(before, after):
    one, other = before.module.state_dict(), after.module.state_dict()
    assert list(one) == list(other)
    return {name for name in one if bits(one[name]) != bits(other[name])}


HEAD = {"head.weight", "head.bias"}
LORA = {"features.0.weight", "hidden.weight", *HEAD}


@pytest.mark.parametrize(
    ("choice", "moved"),
    [
        ("head", HEAD),
        ("last:1", HEAD),
        ("last:2", HEAD | {"hidden.weight", "hidden.bias"}),
        ("last:4", HEAD | {"hidden.weight", "hidden.bias", "features.3.weight", "features.3.bias",
                           "features.1.weight", "features.1.bias"}),
        ("lora", LORA),
        ("lora:1", LORA),
    ],
)  # fmt: skip
def test_what_is_not_chosen_keeps_every_bit_statistics_included(start, choice, moved):
    assert changed(start, trained(start, choice)) == moved


def test_all_weights_and_statistics_move_unless_these_are_frozen(start):
    everything = set(start.module.state_dict())
    statistics = {name for name in everything if "running" in name or "tracked" in name}
    assert changed(start, trained(start, "all")) == everything
    assert changed(start, trained(start, "all", freeze_statistics=True)) == everything - statistics


def test_low_rank_additions_are_merged_into_a_module_built_as_before(start):
    result = trained(start, "lora:1")
    assert [(name, type(part)) for name, part in result.module.named_modules()] == [
        (name, type(part)) for name, part in start.module.named_modules()
    ]
    for name, rows in (("hidden.weight", 8), ("features.0.weight", 4)):
        added = (result.module.get_parameter(name) - start.module.get_parameter(name)).reshape(rows, -1)
        assert torch.linalg.matrix_rank(added, rtol=1e-4) == 1


def test_the_merged_module_says_what_the_adapted_one_said():
    model = net()
    weights = TrainedWeights(model, "lora:2", seed=3)
    with torch.no_grad():
        for weight in weights.trained:
            weight.add_(0.1)
    inputs = draw(np.arange(8))[0]
    with model.evaluating():
        adapted, state = model(inputs).detach(), weights.state()
        embedded = model.with_layers(inputs, ["embedding"])[1]["embedding"]
        weights.finish(state)
        assert torch.allclose(model(inputs), adapted, atol=1e-5)
    assert embedded.shape == (8, 8), "the embedding is the input of the head, adapted or not"


class Encoder(nn.Module):
    """A transformer, which torch runs fused in evaluation mode: past its layers, by their weights."""

    def __init__(self):
        super().__init__()
        self.body = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, inputs):
        return self.head(self.body(inputs[:, 0]).mean(dim=1))


def test_looks_at_the_validation_rows_see_the_additions_of_a_transformer():
    torch.manual_seed(0)
    start, inputs, before = Classifier(Encoder(), ("a", "b", "c")), draw(np.arange(40))[0], []
    adapted = start.copy()
    weights = TrainedWeights(adapted, "lora")
    with torch.no_grad():
        for weight in weights.trained:
            weight.add_(0.1)
    with adapted.evaluating(), torch.no_grad():
        fused = adapted(inputs)
        with weights.additions_seen():
            seen = adapted(inputs)
        weights.finish(weights.state())
        assert torch.allclose(seen, adapted(inputs), atol=1e-5)
    assert not torch.allclose(fused, seen, atol=1e-2), "torch no longer reads weights past their layers"

    start.module.register_forward_pre_hook(lambda *_: before.append(torch.backends.mha.get_fastpath_enabled()))
    with torch.no_grad():
        start(inputs)
    asked = TrainingSettings(steps=2, batch_size=16, lr=0.1, weights="lora", checks=1)
    result = train(start, draw, np.arange(24), asked, validation=np.arange(40), progress=False)
    assert before == [True] + [False] * 4, "two looks and two steps"
    assert torch.backends.mha.get_fastpath_enabled()
    assert "body.linear1.weight" in changed(start, result.model)


@pytest.mark.parametrize("tied", [True, False])
def test_layers_that_are_in_a_module_twice_get_no_additions(tied):
    torch.manual_seed(0)
    twice, once, head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
    again = nn.Linear(4, 4) if tied else twice
    again.weight = twice.weight
    module = nn.Sequential(twice, nn.ReLU(), again, nn.ReLU(), once, head)
    weights = TrainedWeights(Classifier(module, ("a", "b", "c")), "lora")
    assert [name for name, _ in weights._adapted()] == ["4"]
    weights.finish(weights.state())
    with pytest.raises(RunError, match="neither frozen nor shared"):
        TrainedWeights(Classifier(nn.Sequential(twice, again, head), ("a", "b", "c")), "lora")


def test_the_seed_draws_the_additions_and_nothing_else(start):
    results = [trained(start, "lora", seed=seed).module.hidden.weight for seed in (1, 1, 2)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_what_was_frozen_stays_frozen_and_gets_no_additions(start):
    start.module.hidden.requires_grad_(False)
    for choice, moved in (("all", None), ("lora", LORA - {"hidden.weight"}), ("last:2", HEAD)):
        result = trained(start, choice)
        assert "hidden.weight" not in changed(start, result)
        assert moved is None or changed(start, result) == moved
        assert not result.module.hidden.weight.requires_grad
        assert result.module.head.weight.requires_grad


def test_an_interrupt_gives_back_a_whole_module(start):
    def stop(step):
        if step.number == 2:
            raise KeyboardInterrupt

    asked = TrainingSettings(steps=9, batch_size=16, lr=0.05, weights="lora")
    with pytest.warns(UserWarning, match="Interrupted after 2 of 9"):
        done = train(start, draw, 40, asked, progress=stop)
    assert changed(start, done.model) == LORA
    assert all(weight.requires_grad for weight in done.model.module.parameters())


@pytest.mark.parametrize(
    ("module", "choice", "message"),
    [
        (nn.Linear(2, 2), "lora", "needs linear or convolutional layers before the head.*weights='head'"),
        (nn.Conv2d(1, 1, 2), "head", "is the last torch.nn.Linear, and this Conv2d has none"),
        (nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "last:2", "needs 2 parts with weights; this Sequential has 1"),
        (nn.Linear(2, 2).requires_grad_(False), "head", "none of this one's requires a gradient"),
        (nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)), "head", "all of it is frozen"),
    ],
)
def test_a_choice_that_the_module_does_not_have_is_told(module, choice, message):
    flags = [weight.requires_grad for weight in module.parameters()]
    with pytest.raises(RunError, match=message):
        TrainedWeights(Classifier(module, ("a", "b")), choice)
    assert [weight.requires_grad for weight in module.parameters()] == flags


@pytest.mark.parametrize("choice", ["", "body", "last", "last:0", "head:2", "lora:-1", "last:2.5", None])
def test_a_choice_that_is_none_is_refused_with_those_there_are(choice):
    with pytest.raises(RunError, match="must be 'all', 'head', 'last:2'"):
        TrainingSettings(steps=1, batch_size=1, lr=0.1, weights=choice)


def test_without_peft_the_extra_is_named(start, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(RunError, match=r"pip install 'rationale-workbench\[lora\]'; or .*weights='last:2'"):
        trained(start, "lora")

"""Scores are never a mix of two models, and models are left as they were found."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from torch import nn

from columns import FunctionError, KindError, RowError, ScalarColumn, TensorColumn
from columns.modules import modules_of

DATA = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
GLOBAL_NET = nn.Linear(3, 1)
NETS = {"a": nn.Linear(3, 1)}


def by_global(x: torch.Tensor) -> torch.Tensor:
    return GLOBAL_NET(x)


def by_helper(x: torch.Tensor) -> torch.Tensor:
    return by_global(x) + 0


def by_dictionary(x: torch.Tensor) -> torch.Tensor:
    return NETS["a"](x)


def in_comprehension(x: torch.Tensor) -> list[torch.Tensor]:
    return [GLOBAL_NET(row) for row in x]


def fresh() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


@pytest.fixture
def column() -> TensorColumn:
    return TensorColumn(DATA)


@torch.no_grad()
def in_place(net: nn.Module) -> None:
    net.weight.mul_(2)


def data_write(net: nn.Module) -> None:
    net.weight.data[:] = net.weight.data + 1


def new_data(net: nn.Module) -> None:
    net.weight.data = net.weight.data + 1


def step_with(make):
    def step(net: nn.Module) -> None:
        optimizer = make(net.parameters())
        net(torch.ones(1, 3)).sum().backward()
        optimizer.step()

    return step


def load_state(net: nn.Module) -> None:
    net.load_state_dict({"weight": torch.ones(1, 3), "bias": torch.ones(1)})


def replace_parameter(net: nn.Module) -> None:
    net.weight = nn.Parameter(torch.ones(1, 3))


CHANGES = {
    "in place": in_place,
    ".data": data_write,
    "new .data": new_data,
    "SGD": step_with(functools.partial(torch.optim.SGD, lr=0.1)),
    "Adam": step_with(functools.partial(torch.optim.Adam, lr=0.1)),
    "fused Adam": step_with(functools.partial(torch.optim.Adam, lr=0.1, fused=True)),
    "fused SGD": step_with(functools.partial(torch.optim.SGD, lr=0.1, fused=True)),
    "foreach Adam": step_with(functools.partial(torch.optim.Adam, lr=0.1, foreach=True)),
    "load_state_dict": load_state,
    "another parameter": replace_parameter,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_weight_is_never_mixed_with_old_scores(column: TensorColumn, change) -> None:
    net = fresh()
    scores = column.map(net, to="tensor")
    half = scores[:6].to_torch()
    assert torch.equal(half, net(torch.from_numpy(DATA[:6])).detach())
    change(net)
    expected = net(torch.from_numpy(DATA)).detach()
    assert not torch.equal(half, expected[:6])
    assert not scores[:6].is_computed()
    torch.testing.assert_close(scores.to_torch(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_rests_on_the_scores_of_a_changed_model_changes_with_them(column: TensorColumn, change) -> None:
    net = fresh()
    scores = column.map(net, to="tensor")
    after = scores[::-1].map(lambda row: float(row[0]) * 2, to="scalar")
    later = after.map(lambda x: x + 1, to="scalar")
    later.to_list()
    change(net)
    expected = [2 * float(v) + 1 for v in net(torch.from_numpy(DATA)).detach()[:, 0]][::-1]
    np.testing.assert_allclose(later.to_list(), expected, rtol=1e-5)


class Holder:
    def __init__(self, net: nn.Module) -> None:
        self.parts = {"net": net}

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.parts["net"](x)

    def method(self, x: torch.Tensor) -> torch.Tensor:
        return self.parts["net"](x)


class Slotted:
    __slots__ = ("net",)

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


def with_net(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return net(x)


def closure(net: nn.Module):
    def inner(x: torch.Tensor) -> torch.Tensor:
        return net(x)

    return inner


def decorated(net: nn.Module):
    @functools.wraps(closure(net))
    def outer(*args):
        return closure(net)(*args)

    return outer


WAYS = {
    "closure": closure,
    "closure over a list": lambda net: (lambda nets: lambda x: nets[0](x))([net]),
    "default": lambda net: lambda x, net=net: net(x),
    "bound method": lambda net: Holder(net).method,
    "forward": lambda net: net.forward,
    "callable object": Holder,
    "callable with slots": Slotted,
    "partial": lambda net: functools.partial(with_net, net),
    "keyword partial": lambda net: functools.partial(lambda x, net: net(x), net=net),
    "partial of a method": lambda net: functools.partial(Holder(net).method),
    "decorated": decorated,
    "comprehension": lambda net: lambda x: torch.stack([net(row) for row in x]),
    "sequential": lambda net: nn.Sequential(net, nn.Identity()),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_modules_are_found_however_a_function_holds_them(column: TensorColumn, way) -> None:
    net = fresh()
    function = way(net)
    assert net in [m for found in modules_of(function) for m in found.modules()]
    scores = column.map(function, to="tensor", batched=True)
    scores[:5].to_list()
    in_place(net)
    torch.testing.assert_close(scores.to_torch(), net(torch.from_numpy(DATA)).detach())


@pytest.mark.parametrize("function", [by_global, by_helper, in_comprehension])
def test_modules_are_found_among_the_globals_that_a_function_names(column: TensorColumn, function) -> None:
    scores = column.map(function, to="tensor", batched=True)
    scores[:5].to_list()
    in_place(GLOBAL_NET)
    torch.testing.assert_close(scores.to_torch(), GLOBAL_NET(torch.from_numpy(DATA)).detach())


def test_a_module_in_a_global_dictionary_is_found(column: TensorColumn) -> None:
    scores = column.map(by_dictionary, to="tensor", batched=True)
    scores[:5].to_list()
    in_place(NETS["a"])
    torch.testing.assert_close(scores.to_torch(), NETS["a"](torch.from_numpy(DATA)).detach())


def test_another_model_under_the_same_global_name_is_seen(column: TensorColumn, monkeypatch) -> None:
    scores = column.map(by_global, to="tensor", batched=True)
    scores.to_list()
    monkeypatch.setitem(globals(), "GLOBAL_NET", nn.Linear(3, 1))
    torch.testing.assert_close(scores.to_torch(), GLOBAL_NET(torch.from_numpy(DATA)).detach())


def test_buffers_count_as_weights(column: TensorColumn) -> None:
    net = nn.BatchNorm1d(3)
    scores = column.map(net, to="tensor")
    before = scores.to_torch().clone()
    net.running_mean += 1
    assert not torch.equal(scores.to_torch(), before)


class Deep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.9), nn.BatchNorm1d(3))
        self.last = nn.Linear(3, 1)
        self.modes: list[bool] = []
        self.fails = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.modes.append(any(m.training for m in self.modules()))
        if self.fails:
            raise RuntimeError("on purpose")
        return self.last(self.first(x))


@pytest.mark.parametrize("fails", [False, True, KeyboardInterrupt])
def test_models_run_in_evaluation_mode_and_every_part_is_left_as_it_was_found(column: TensorColumn, fails) -> None:
    net = Deep().train()
    net.first[1].eval()
    net.last.eval()
    found = [m.training for m in net.modules()]
    statistics = net.first[2].running_mean.clone()
    net.fails = fails is True
    function = net
    if fails is KeyboardInterrupt:

        def function(x):
            net(x)
            raise KeyboardInterrupt

    scores = column.map(function, to="tensor", batched=True)
    if fails:
        with pytest.raises((RowError, KeyboardInterrupt)):
            scores.to_list()
    else:
        scores.to_list()
    assert [m.training for m in net.modules()] == found
    assert net.modes
    assert not any(net.modes)
    assert torch.equal(net.first[2].running_mean, statistics)
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_modules_held_by_a_function_run_in_evaluation_mode_as_well(column: TensorColumn) -> None:
    net = nn.Dropout(0.99).train()
    same = column.map(lambda x: net(x), to="tensor", batched=True)
    np.testing.assert_array_equal(same.to_numpy(), DATA)
    assert net.training


def test_no_gradient_is_recorded_unless_the_function_asks_for_one(column: TensorColumn) -> None:
    net = fresh()

    def saliency(x: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            inputs = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(net(inputs).sum(), inputs)
        return gradient

    gradient = column.map(saliency, to="tensor", batched=True).to_torch()
    torch.testing.assert_close(gradient, net.weight.detach().expand(12, 3))
    seen = column.map(lambda x: [net(x).requires_grad] * len(x), to="scalar", batched=True)
    assert not any(seen.to_list())


def test_refresh_finds_a_single_changed_weight(column: TensorColumn) -> None:
    net = nn.Linear(3, 1000)
    scores = column.map(net, to="tensor")
    before = scores.to_torch().clone()
    assert scores.refresh() is False
    assert scores.is_computed()
    # Through another view of the memory, which leaves torch's version counter alone, beside the sampled elements.
    net.weight.data.numpy()[1, 1] += 5
    if torch.equal(scores.to_torch(), before):
        assert scores.refresh() is True
    assert not torch.equal(scores.to_torch(), before)
    torch.testing.assert_close(scores.to_torch(), net(torch.from_numpy(DATA)).detach())


def test_refresh_reaches_models_below_other_functions(column: TensorColumn) -> None:
    net = nn.Linear(3, 1000)
    top = column.map(net, to="tensor").map(lambda row: float(row.sum()), to="scalar")
    before = top.to_list()
    net.weight.data.numpy()[1, 1] += 5
    top.refresh()
    assert top.to_list() != before


def test_a_model_trained_between_two_selections_gives_scores_of_one_state(column: TensorColumn) -> None:
    net = fresh()
    scores = column.map(net, to="tensor", batch_size=4)
    for step in range(3):
        scores[step * 4 : step * 4 + 4].to_list()
        in_place(net)
    torch.testing.assert_close(scores.to_torch(), net(torch.from_numpy(DATA)).detach())


def test_double_precision_arrays_fit_a_single_precision_model() -> None:
    column = TensorColumn(DATA.astype(np.float64))
    net = fresh()
    for batched in (True, False):
        scores = column.map(net, to="tensor", batched=batched)
        torch.testing.assert_close(scores.to_torch(), net(torch.from_numpy(DATA)).detach())


def test_several_layers_come_from_one_forward_pass(column: TensorColumn) -> None:
    calls = 0

    class Layers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            nonlocal calls
            calls += 1
            hidden = self.body(x)
            return {"hidden": hidden, "scores": self.head(hidden)}

    from columns.column import read_columns

    net = Layers()
    both = column.map(net, to={"hidden": "embedding", "scores": "prediction"})
    hidden, scores = read_columns([both["hidden"], both["scores"]])
    assert calls == 1
    torch.testing.assert_close(net.head(hidden.batch()).detach(), scores.batch())


def test_results_of_half_precision_become_floats(column: TensorColumn) -> None:
    half = column.map(lambda x: x.to(torch.bfloat16), to="tensor", batched=True)
    assert half.to_numpy().dtype == np.float32
    cast = column.map(nn.Linear(3, 2), to="tensor", autocast="bfloat16")
    assert cast.to_numpy().dtype == np.float32


def test_a_transposed_model_output_of_the_wrong_length_is_refused(column: TensorColumn) -> None:
    with pytest.raises(FunctionError, match="given 12 and returned 3"):
        column.map(lambda x: x.T, to="tensor", batched=True).to_list()


def test_vectors_are_no_scalars(column: TensorColumn) -> None:
    with pytest.raises(KindError, match=r"one value per row; got rows of shape \(3,\)"):
        column.map(lambda x: x, to="scalar", batched=True).to_list()
    assert ScalarColumn([1.0, 2.0]).map(lambda x: x[:, None], to="scalar", batched=True).to_list() == [1.0, 2.0]

import gc
import operator
import weakref
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from explain import LayerError
from explain.rules import propagate


@dataclass(frozen=True)
class Traced:
    """A plain tensor under another name, with the calls that it went through."""

    value: torch.Tensor
    calls: tuple[str, ...] = ()

    @property
    def shape(self):
        return self.value.shape


def plain(name, function):
    """A rule that does what the call does, and takes down its name."""

    def rule(layer, *args, **kwargs):
        calls = sum((arg.calls for arg in args if isinstance(arg, Traced)), ())
        values = [arg.value.clone() if isinstance(arg, Traced) else arg for arg in args]
        return Traced(function(layer, *values, **kwargs), (*calls, name))

    return rule


RULES = {
    nn.Linear: plain("Linear", lambda layer, x: layer(x)),
    nn.ReLU: plain("ReLU", lambda layer, x: layer(x)),
    nn.Dropout: plain("Dropout", lambda layer, x: x),
    F.relu: plain("relu", lambda _, x, inplace=False: F.relu(x)),
    F.linear: plain("linear", lambda _, *args: F.linear(*args)),
    operator.add: plain("add", lambda _, a, b: a + b),
    operator.mul: plain("mul", lambda _, a, b: a * b),
    "view": plain("view", lambda _, x, *shape: x.view(*shape)),
    "relu_": plain("relu_", lambda _, x: F.relu(x)),
    "flatten": plain("flatten", lambda _, x, *axes: x.flatten(*axes)),
}


class Block(nn.Module):
    """Parameters and buffers of its own, a constant, a skip, and a question for the shape."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.tensor([2.0, 0.5, 1.0, -1.0]))
        self.register_buffer("shift", torch.tensor([0.1, 0.2, 0.3, 0.4]))
        self.loose = torch.tensor(3.0)
        self.skip = True

    def forward(self, x):
        x = x.view(x.size(0), -1)
        y = F.relu(self.inner(x)) * (self.scale * 2)
        y = y + self.shift + torch.ones(4) * self.loose
        y = y + x if self.skip else y
        return F.linear(y.view(x.shape[0], 4), self.inner.weight)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(Block(), nn.Dropout(0.5), nn.Linear(4, 3))


@pytest.fixture
def inputs():
    return torch.rand(5, 2, 2, generator=torch.Generator().manual_seed(1))


def test_rules_that_do_what_the_calls_do_give_the_outputs(net, inputs):
    expected = net.eval()(inputs)
    found = propagate(net.train(), Traced(inputs), RULES)
    assert torch.equal(found.value, expected)
    assert found.calls[-3:] == ("linear", "Dropout", "Linear")
    assert net.training
    assert net[0].training


def test_nothing_is_left_in_the_module(net, inputs):
    before = {name: set(vars(part)) for name, part in net.named_modules()}
    propagate(net, Traced(inputs), RULES)
    assert {name: set(vars(part)) for name, part in net.named_modules()} == before


def test_changed_weights_and_buffers_are_seen(net, inputs):
    net.eval()
    propagate(net, Traced(inputs), RULES)
    with torch.no_grad():
        net[0].scale.mul_(3.0)
        net[0].shift.add_(1.0)
    net[2] = nn.Linear(4, 3)
    assert torch.equal(propagate(net, Traced(inputs), RULES).value, net(inputs))


def test_weights_swapped_by_functional_call_are_seen_also_by_the_first_trace(net, inputs):
    net.eval()
    first = {name: torch.rand_like(w).requires_grad_() for name, w in net.named_parameters()}
    second = {name: torch.rand_like(w) for name, w in net.named_parameters()}

    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self):
            return propagate(self.net, Traced(inputs), RULES).value

    for weights in (first, second):
        expected = torch.func.functional_call(net, weights, (inputs,))
        held = {f"net.{name}": weight for name, weight in weights.items()}
        found = torch.func.functional_call(Holder(), held, ())
        assert torch.equal(found, expected)
    assert torch.equal(propagate(net, Traced(inputs), RULES).value, net(inputs))


def test_gradients_reach_parameters_used_outside_of_layers(net, inputs):
    expected = torch.autograd.grad(net.eval()(inputs).sum(), net[0].scale)[0]
    found = torch.autograd.grad(propagate(net, Traced(inputs), RULES).value.sum(), net[0].scale)[0]
    assert torch.equal(found, expected)


def test_it_is_traced_again_when_a_flag_or_a_layer_changes(net, inputs):
    net.eval()
    propagate(net, Traced(inputs), RULES)
    net[0].skip = False
    assert torch.equal(propagate(net, Traced(inputs), RULES).value, net(inputs))
    net.append(nn.ReLU())
    assert torch.equal(propagate(net, Traced(inputs), RULES).value, net(inputs))


def test_a_module_that_is_gone_leaves_no_trace(inputs):
    net = nn.Sequential(nn.Linear(4, 2))
    propagate(net, Traced(inputs.flatten(1)), RULES)
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


def test_in_place_calls_change_what_later_calls_see(inputs):
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.bend = nn.ReLU(inplace=True)

        def forward(self, x):
            a = x + -0.5
            b = self.bend(a)
            c = b + a + -0.2
            F.relu(c, inplace=True)
            d = c + -0.1
            d.relu_()
            return d

    module = InPlace()
    kept = inputs.clone()
    assert torch.equal(propagate(module, Traced(inputs), RULES).value, module(inputs.clone()))
    assert torch.equal(inputs, kept)


def test_a_single_layer_is_a_module_too():
    layer = nn.Linear(4, 2)
    found = propagate(layer, Traced(torch.ones(1, 4)), RULES)
    assert torch.equal(found.value, layer(torch.ones(1, 4)))
    assert found.calls == ("Linear",)


def test_a_layer_without_a_rule_is_named_with_its_place_and_type(inputs):
    net = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=1)))
    rules = {**RULES, nn.Flatten: plain("Flatten", lambda layer, x: layer(x))}
    with pytest.raises(LayerError, match=r"Layer '1\.1' \(Softmax\) has no rule for bounds.*Linear, ReLU"):
        propagate(net, Traced(inputs), rules, what="bounds")


def test_a_function_without_a_rule_is_named_with_its_layer(inputs):
    class Squash(nn.Module):
        def forward(self, x):
            return torch.softmax(x, dim=1)

    with pytest.raises(LayerError, match=r"Function 'softmax' in layer '0' \(Squash\) has no rule"):
        propagate(nn.Sequential(Squash()), Traced(inputs), RULES)
    with pytest.raises(LayerError, match=r"Function 'softmax' in the module's own `forward`"):
        propagate(Squash(), Traced(inputs), RULES)


def test_a_method_or_an_attribute_without_a_rule_is_named(inputs):
    class Turn(nn.Module):
        def forward(self, x):
            return x.cumsum(1)

    class Real(nn.Module):
        def forward(self, x):
            return x.T

    with pytest.raises(LayerError, match=r"Method 'cumsum'"):
        propagate(Turn(), Traced(inputs), RULES)
    with pytest.raises(LayerError, match=r"attribute 'T'"):
        propagate(Real(), Traced(inputs), RULES)


def test_a_subclass_has_its_base_s_rule_unless_its_forward_is_its_own(inputs):
    class Same(nn.Linear):
        pass

    class Doubled(nn.Linear):
        def forward(self, x):
            return super().forward(x) * 2

    state = Traced(inputs.flatten(1))
    same, doubled = nn.Sequential(Same(4, 2)), nn.Sequential(Doubled(4, 2))
    assert propagate(same, state, RULES).calls == ("Linear",)
    found = propagate(doubled, state, RULES)
    assert found.calls == ("linear", "mul")
    assert torch.equal(found.value, doubled(state.value))


def test_layers_of_one_s_own_may_have_a_rule(inputs):
    class Sorted(nn.Module):
        def forward(self, x):
            return x if float(x.sum()) > 0 else x.sort(1).values

    rules = {**RULES, Sorted: plain("Sorted", lambda layer, x: layer(x))}
    assert propagate(nn.Sequential(Sorted()), Traced(inputs), rules).calls == ("Sorted",)
    assert propagate(Sorted(), Traced(inputs), rules).calls == ("Sorted",)


@pytest.mark.parametrize("kind", ["if", "len", "float"])
def test_control_flow_that_depends_on_values_is_refused_with_the_remedy(inputs, kind):
    class Moody(nn.Module):
        def forward(self, x):
            if kind == "if":
                return x if x.sum() > 0 else -x
            return x * (len(x) if kind == "len" else float(x.sum()))

    with pytest.raises(LayerError, match=r"The code of Moody must run the same layers.*a layer of its own"):
        propagate(Moody(), Traced(inputs), RULES)


def test_a_failure_of_the_module_itself_stays_what_it_is(inputs):
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("broken on purpose")

    module = Broken()
    with pytest.raises(RuntimeError, match="broken on purpose"):
        propagate(module, Traced(inputs), RULES)
    assert module.training


def test_tensors_made_of_weights_outside_of_the_module_are_refused(inputs):
    hidden = [torch.ones(2, requires_grad=True)]

    class Hides(nn.Module):
        def forward(self, x):
            return x * (hidden[0] * 2)

    with pytest.raises(LayerError, match="weights that are not parameters"):
        propagate(Hides(), Traced(inputs), RULES)


def test_parameters_kept_in_a_list_are_followed_too(inputs):
    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(2.0))
            self.all = [self.scale]

        def forward(self, x):
            return x * self.all[0]

    module = Listed()
    assert torch.equal(propagate(module, Traced(inputs), RULES).value, inputs * 2)
    with torch.no_grad():
        module.scale.fill_(3.0)
    found = propagate(module, Traced(inputs), RULES).value
    assert torch.equal(found, inputs * 3)
    assert found.requires_grad


def test_a_module_that_takes_two_tensors_or_returns_two_is_refused(inputs):
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    class Flagged(nn.Module):
        def forward(self, x, scale=2.0):
            return x * scale

    with pytest.raises(LayerError, match=r"Two must take one tensor.* also needs `y`"):
        propagate(Two(), Traced(inputs), RULES)
    with pytest.raises(LayerError, match=r"Pair must return one tensor.* returns tuple"):
        propagate(Pair(), Traced(inputs), RULES)
    assert torch.equal(propagate(Flagged(), Traced(inputs), RULES).value, inputs * 2.0)


VIEWS = {
    **RULES,
    nn.Identity: plain("Identity", lambda _, x: x),
    nn.Flatten: plain("Flatten", lambda layer, x: layer(x)),
    F.dropout: plain("dropout", lambda _, x, **settings: x),
    torch.flatten: plain("flatten", lambda _, x, *axes: x.flatten(*axes)),
    operator.getitem: plain("getitem", lambda _, x, index: x[index]),
    "unsqueeze": plain("unsqueeze", lambda _, x, axis: x.unsqueeze(axis)),
}


class Writer(nn.Module):
    """Writes into memory that has another name."""

    def __init__(self, other, write):
        super().__init__()
        self.other, self.write = other, write
        self.linear, self.bend, self.drop = nn.Linear(3, 3), nn.ReLU(inplace=True), nn.Dropout(inplace=True)

    def forward(self, x):
        x = self.linear(x)
        kept = self.other(x)
        return self.write(self, x) + kept


@pytest.mark.parametrize(
    "write",
    [lambda self, x: self.bend(x), lambda self, x: x.relu_(), lambda self, x: F.relu(x, inplace=True)],
    ids=["layer", "method", "function"],
)
@pytest.mark.parametrize(
    ("other", "shared"),
    [
        (nn.Identity(), True),
        (nn.Dropout(), True),
        (lambda x: x.view(-1, 3), True),
        (lambda x: F.dropout(x, training=False), True),
        (lambda x: torch.flatten(x, 1).unsqueeze(0)[0], True),
        (lambda x: x * 1, False),
        (nn.Linear(3, 3), False),
    ],
)
def test_a_module_that_reads_what_was_written_under_another_name_is_refused(other, shared, write):
    """After `relu_(x)` a view of x holds the result too; a state has no memory to share."""
    block = Writer(other, write)
    if shared:
        with pytest.raises(LayerError, match="works in place, and what it writes into is read afterwards as"):
            propagate(block.eval(), Traced(torch.rand(2, 3)), VIEWS)
    else:
        given = torch.rand(2, 3)
        torch.testing.assert_close(propagate(block.eval(), Traced(given), VIEWS).value, block(given))


def test_layers_in_place_one_after_another_share_with_nobody_who_reads_it_later():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True), nn.Dropout(inplace=True), nn.Flatten(), nn.Linear(3, 2))
    given = torch.rand(2, 3)
    torch.testing.assert_close(propagate(net.eval(), Traced(given), VIEWS).value, net(given))


@pytest.mark.parametrize("hook", ["register_forward_hook", "register_forward_pre_hook"])
@pytest.mark.parametrize("alone", [False, True])
def test_a_layer_with_hooks_is_refused_because_they_would_not_run(hook, alone):
    layer = nn.Linear(3, 3)
    net = layer if alone else nn.Sequential(nn.ReLU(), layer)
    handle = getattr(layer, hook)(lambda *_: None)
    with pytest.raises(LayerError, match="has hooks, which a bound would not run"):
        propagate(net, Traced(torch.rand(2, 3)), RULES, what="a bound")
    handle.remove()
    assert propagate(net, Traced(torch.rand(2, 3)), RULES).shape == (2, 3)


def test_weights_that_a_hook_makes_are_refused_and_parametrized_ones_are_followed():
    given = torch.rand(2, 3)
    with pytest.warns(FutureWarning, match="weight_norm"):
        hooked = torch.nn.utils.weight_norm(nn.Linear(3, 3))
    with pytest.raises(LayerError, match="parametrizations"):
        propagate(hooked, Traced(given), RULES)
    layer = torch.nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    with torch.no_grad():
        layer.parametrizations.weight.original0 *= 3
    torch.testing.assert_close(propagate(layer, Traced(given), RULES).value, layer(given))

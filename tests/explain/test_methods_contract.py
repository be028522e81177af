"""What every attribution method must do, whatever it computes."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from explain import KindError, SettingError, ShapeError, TargetError, attribute, with_layers
from explain.methods import METHODS
from explain.methods.attention import attention_rollout, gradient_attention

REFERENCES = torch.rand(7, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
SETTINGS = {
    "input_gradient": {},
    "gradient_times_input": {},
    "smooth_grad": {"samples": 7},
    "integrated_gradients": {"steps": 7},
    "expected_gradients": {"references": REFERENCES, "samples": 7},
    "deep_lift": {},
    "occlusion": {"window": 3},
    "feature_ablation": {"size": 4},
    "lime": {"size": 4, "samples": 30},
    "kernel_shap": {"size": 3, "samples": 40},
    "attention_rollout": {},
    "gradient_attention": {},
    "grad_cam": {"layer": "0"},
    "layer_activation": {"layer": "0"},
}
CHUNKED = [
    name for name in SETTINGS if name not in ("input_gradient", "gradient_times_input", "grad_cam", "layer_activation")
]
TOKENS = ("attention_rollout", "gradient_attention")


class Patches(nn.Module):
    """Sixteen patches as tokens, two layers of attention, and what the first token gathered."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Sequential(nn.Conv2d(2, 8, 2, stride=2), nn.BatchNorm2d(8))
        layers = [nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.1) for _ in range(2)]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.layers(self.embed(x).flatten(2).transpose(1, 2))[:, 0])


class Behind:
    """A model that is no module, but has one."""

    def __init__(self, module):
        self.module = module

    def __call__(self, x):
        return self.module(x)

    def with_layers(self, x, names):
        return with_layers(self.module, x, names)


def build(name):
    torch.manual_seed(0)
    if name in TOKENS:
        return Patches().double().eval()
    conv = nn.Sequential(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    head = nn.Sequential(nn.Linear(45, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 4))
    return nn.Sequential(*conv, *head).double().eval()


@pytest.fixture
def inputs():
    return torch.rand(5, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 0.3


def state(net):
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    parts = {
        name: (part.training, sorted(vars(part)), [len(getattr(part, hook)) for hook in hooks])
        for name, part in net.named_modules()
    }
    weights = {
        name: (
            weight.requires_grad,
            weight._version,
            None if weight.grad is None else (weight.grad, weight.grad._version),
        )
        for name, weight in net.named_parameters()
    }
    buffers = {name: (buffer.tolist(), buffer._version) for name, buffer in net.named_buffers()}
    return parts, weights, buffers


def test_every_method_is_held_to_this():
    assert set(SETTINGS) == set(METHODS)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_row_gets_the_same_map_alone_and_in_a_batch(name, inputs):
    net = build(name)
    together = attribute(net, inputs, name, **SETTINGS[name]).scores
    alone = torch.cat([attribute(net, row[None], name, **SETTINGS[name]).scores for row in inputs])
    assert together.std(dim=0).max() > 0 or name == "layer_activation"
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("name", CHUNKED)
@pytest.mark.parametrize("batch_size", [1, 3, 7, 1000])
def test_the_size_of_a_pass_changes_neither_scores_nor_bound(name, batch_size, inputs):
    net, sizes = build(name), []
    # DeepLIFT sends rows and baselines through together: the bound cannot be below two.
    batch_size = max(batch_size, 2) if name == "deep_lift" else batch_size
    expected = attribute(net, inputs, name, **SETTINGS[name]).scores
    handle = next(net.children()).register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    scores = attribute(net, inputs, name, batch_size=batch_size, **SETTINGS[name]).scores
    handle.remove()
    torch.testing.assert_close(scores, expected)
    assert max(sizes) <= batch_size


@pytest.mark.parametrize("name", SETTINGS)
def test_the_module_and_the_inputs_are_left_as_found(name, inputs):
    net = build(name)
    next(net.parameters()).requires_grad_(False)
    head = list(net.children())[-1].weight
    head.grad = torch.ones_like(head)
    # Parts in different modes, batch normalisation and dropout in training.
    net.train()
    list(net.children())[-1].eval()
    before, copy = state(net), inputs.clone()
    scores = attribute(net, inputs, name, **SETTINGS[name]).scores
    assert state(net) == before
    assert torch.equal(inputs, copy)
    assert not inputs.requires_grad
    assert inputs.grad is None
    assert not scores.requires_grad


@pytest.mark.parametrize("name", SETTINGS)
def test_a_failing_forward_pass_leaves_the_module_as_found(name, inputs):
    net = build(name)
    count = []

    def fail_at_the_end(*_):
        count.append(1)
        raise FloatingPointError("on purpose")

    handle = list(net.children())[-1].register_forward_hook(fail_at_the_end)
    net.train()
    before = state(net)
    with pytest.raises(FloatingPointError, match="on purpose"):
        attribute(net, inputs, name, target=0, **SETTINGS[name])
    assert count
    assert state(net) == before
    handle.remove()
    assert F.scaled_dot_product_attention(*[torch.ones(1, 1, 2, 2)] * 3).shape == (1, 1, 2, 2)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_model_in_training_is_explained_as_it_will_be_used(name, inputs):
    net = build(name)
    expected = attribute(net, inputs, name, **SETTINGS[name]).scores
    # By its function alone too, not only through `attribute`; and behind a `Forward`.
    behind = Behind(net.train())
    for model in (net, behind):
        assert torch.equal(METHODS[name](forward=model, inputs=inputs, **SETTINGS[name]).scores, expected)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_switched_off(name, mode, inputs):
    net = build(name)
    expected = attribute(net, inputs, name, **SETTINGS[name]).scores
    with mode():
        scores = attribute(net, inputs.clone(), name, **SETTINGS[name]).scores
        assert not torch.is_grad_enabled()
    torch.testing.assert_close(scores, expected)
    assert not scores.is_inference()


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "deep_lift"])
@pytest.mark.parametrize("target", ["label_log_probability", "label_logit", "cross_entropy", "max_logit", 2])
def test_it_works_for_labels_made_in_inference_mode(name, target, inputs):
    net, labels = build(name), torch.tensor([3, 0, 1, 2, 2])
    expected = attribute(net, inputs, name, target=target, labels=labels, **SETTINGS[name]).scores
    with torch.inference_mode():
        scores = attribute(net, inputs.clone(), name, target=target, labels=labels.clone(), **SETTINGS[name]).scores
    torch.testing.assert_close(scores, expected)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_row_that_is_not_a_number_spoils_no_other(name, inputs):
    net = build(name)
    expected = attribute(net, inputs, name, target=1, **SETTINGS[name]).scores
    inputs[2] = torch.nan
    scores = attribute(net, inputs, name, target=1, **SETTINGS[name]).scores
    keep = torch.tensor([0, 1, 3, 4])
    torch.testing.assert_close(scores[keep], expected[keep])
    assert scores[2].isnan().any()


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in ("grad_cam", "layer_activation", *TOKENS)])
def test_no_rows_get_no_scores(name, inputs):
    assert attribute(build(name), inputs[:0], name, target=1, **SETTINGS[name]).scores.shape == (0, 2, 8, 8)


@pytest.mark.parametrize("name", TOKENS)
def test_without_rows_nobody_knows_the_tokens(name, inputs):
    with pytest.raises(ShapeError, match="at least one row"):
        attribute(build(name), inputs[:0], name)


@pytest.mark.parametrize("name", [name for name in CHUNKED if name not in TOKENS])
def test_inputs_are_floating_point_and_have_a_batch_axis(name, inputs):
    with pytest.raises(KindError, match="floating point"):
        attribute(build(name), inputs.long(), name, **SETTINGS[name])
    with pytest.raises(ShapeError, match=r"`inputs\[None\]`"):
        attribute(build(name), inputs.flatten(), name, **SETTINGS[name])


@pytest.mark.parametrize("name", CHUNKED)
@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True])
def test_a_pass_holds_a_whole_number_of_rows(name, batch_size, inputs):
    with pytest.raises(SettingError, match="`batch_size` must be a whole number"):
        attribute(build(name), inputs, name, batch_size=batch_size, **SETTINGS[name])


@pytest.mark.parametrize("name", ["smooth_grad", "expected_gradients", "lime", "kernel_shap"])
def test_a_seed_decides_the_draws_and_nothing_else_is_drawn(name, inputs):
    net = build(name)
    before = torch.random.get_rng_state()
    first, again, other = (attribute(net, inputs, name, seed=seed, **SETTINGS[name]).scores for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", TOKENS)
def test_methods_for_tokens_score_tokens(name, inputs):
    method = {"attention_rollout": attention_rollout, "gradient_attention": gradient_attention}[name]
    assert method(build(name), inputs).scores.shape == (5, 16)


class Shift(nn.Module):
    def __init__(self, in_place):
        super().__init__()
        self.in_place = in_place

    def forward(self, x):
        return x.sub_(0.1) if self.in_place else x - 0.1


@pytest.mark.parametrize("name", SETTINGS)
def test_a_model_that_begins_in_place_is_explained_like_any_other_and_does_not_write_into_the_inputs(name, inputs):
    """As one does that normalises its rows with `x -= mean`."""
    settings = {**SETTINGS[name], **({"layer": "1"} if "layer" in SETTINGS[name] else {})}
    given = inputs.clone()
    net = build(name)
    parts = [net] if name in TOKENS else list(net)
    found, expected = (
        attribute(nn.Sequential(Shift(in_place), *parts).eval(), given, name, **settings) for in_place in (True, False)
    )
    assert torch.equal(given, inputs)
    torch.testing.assert_close(found.scores, expected.scores)


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in ("attention_rollout", "layer_activation")])
def test_a_target_drawn_anew_at_each_call_is_refused(name, inputs):
    with pytest.raises(TargetError):
        attribute(build(name), inputs, name, target="random_sign_logits", **SETTINGS[name])


@pytest.mark.parametrize("name", ["smooth_grad", "integrated_gradients", "expected_gradients"])
def test_half_precision_adds_up_many_passes_alike_alone_and_in_a_batch(name):
    """Every gradient is 1; a sum of ones in bfloat16 stops growing at 256."""
    ones = torch.ones(256, 4, dtype=torch.bfloat16)
    settings = {"steps": 600} if name == "integrated_gradients" else {"samples": 600}
    if name == "expected_gradients":
        settings["references"] = torch.zeros(1, 4, dtype=torch.bfloat16)
    model = lambda x: torch.stack([x.sum(dim=1), -x.sum(dim=1)], dim=1)  # noqa: E731
    for rows in (1, 256):
        scores = attribute(model, ones[:rows], name, target=0, **settings).scores
        assert scores.dtype == torch.bfloat16
        torch.testing.assert_close(scores[0], ones[0], rtol=0.01, atol=0)

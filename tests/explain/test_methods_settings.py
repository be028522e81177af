"""Settings that a method does not have, or needs, are told by name; layers are given by name or themselves."""

import inspect

import pytest
import torch
from torch import nn

import explain
from explain import METHODS, LayerError, MethodError, attribute
from explain.methods import layer_name, settings_of

X = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 2))


@pytest.mark.parametrize("method", METHODS)
def test_a_setting_that_is_not_there_is_refused_with_those_that_are(net, method):
    offered = ", ".join(list(inspect.signature(METHODS[method]).parameters)[4:]) or "none"
    with pytest.raises(MethodError, match=f"'{method}' has no setting 'loudness'; it has: {offered}\\.$"):
        attribute(net, X, method, loudness=3)


@pytest.mark.parametrize(
    ("method", "theirs", "ours"),
    [
        ("integrated_gradients", "n_steps", "steps"),
        ("integrated_gradients", "baselines", "baseline"),
        ("integrated_gradients", "internal_batch_size", "batch_size"),
        ("expected_gradients", "baselines", "references"),
        ("occlusion", "sliding_window_shapes", "window"),
        ("occlusion", "strides", "stride"),
        ("occlusion", "perturbations_per_eval", "batch_size"),
        ("smooth_grad", "stdevs", "noise"),
        ("smooth_grad", "nt_samples", "samples"),
        ("lime", "n_samples", "samples"),
        ("kernel_shap", "feature_mask", "groups"),
        ("grad_cam", "relu_attributions", "relu"),
    ],
)
def test_a_name_of_captum_is_translated(net, method, theirs, ours):
    with pytest.raises(MethodError, match=rf"Captum's `{theirs}` is `{ours}` here"):
        attribute(net, X, method, **{theirs: 1})


def test_a_name_of_captum_is_not_translated_into_a_setting_that_the_method_lacks(net):
    with pytest.raises(MethodError, match=r"has no setting 'n_steps'; it has: .*batch_size\.$"):
        attribute(net, X, "occlusion", n_steps=3)


def test_a_near_miss_is_offered(net):
    with pytest.raises(MethodError, match="Did you mean 'steps'"):
        attribute(net, X, "integrated_gradients", step=3)


def test_nothing_runs_before_the_settings_are_checked():
    with pytest.raises(MethodError, match="has no setting"):
        attribute(lambda x: pytest.fail("asked"), X, "occlusion", windows=3)


@pytest.mark.parametrize("method", ["grad_cam", "layer_activation"])
def test_a_layer_that_is_missing_is_asked_for_with_those_of_the_model(net, method):
    with pytest.raises(MethodError, match=f"'{method}' needs `layer`, one of '0', '1', '2', '3'; it was not given"):
        attribute(net, X, method)


def test_references_that_are_missing_are_asked_for(net):
    with pytest.raises(MethodError, match="'expected_gradients' needs `references`, rows to compare with"):
        attribute(net, X, "expected_gradients")


@pytest.mark.parametrize("method", ["grad_cam", "layer_activation"])
def test_a_layer_itself_serves_as_well_as_its_name(net, method):
    itself, named = (attribute(net, X, method, layer=layer).scores for layer in (net[1], "1"))
    assert torch.equal(itself, named)
    assert not torch.equal(itself, attribute(net, X, method, layer="0").scores)


@pytest.mark.parametrize("layer", [nn.ReLU(), 3])
def test_a_layer_of_another_model_is_refused(net, layer):
    with pytest.raises(LayerError, match=f"part of the model or its name, such as '3'; got {type(layer).__name__}"):
        attribute(net, X, "grad_cam", layer=layer)


def test_a_function_has_no_layer_to_find(net):
    with pytest.raises(LayerError, match="no part of it"):
        layer_name(lambda x: net(x), net[0])


def test_what_must_be_given_is_known():
    assert {name: [s for s, needed in settings_of(METHODS[name]).items() if needed] for name in METHODS} == {
        name: {"grad_cam": ["layer"], "layer_activation": ["layer"], "expected_gradients": ["references"]}.get(name, [])
        for name in METHODS
    }


def test_what_the_documentation_of_methods_refers_to_can_be_imported_from_there():
    for name in ("pin_target", "target_values", "baseline_like", "feature_groups", "completeness_gap"):
        assert callable(getattr(explain.methods, name))

import pytest
import torch
from torch import nn

import workbench as wb

CLASSES = ("left", "right", "neither")


@pytest.fixture
def panel():
    return wb.DataPanel({"x": torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))})


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(144, 3)
    )


@pytest.mark.parametrize(
    ("method", "settings"), [("input_gradient", {}), ("occlusion", {"window": 3}), ("grad_cam", {"layer": "0"})]
)
def test_a_model_in_training_is_explained_as_it_will_be_used_and_left_as_found(panel, net, method, settings):
    model = wb.Classifier(net.eval(), CLASSES, on="x")
    expected = wb.attribute(panel, model, method, **settings).to_torch()
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    net.train()
    assert torch.equal(wb.attribute(panel, model, method, **settings).to_torch(), expected)
    assert all(part.training for part in net.modules())
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in net.named_buffers())


def test_a_class_is_asked_by_name_or_by_number(panel, net):
    model = wb.Classifier(net, CLASSES, on="x")
    named, numbered = (wb.attribute(panel, model, target=target).to_torch() for target in ("right", 1))
    assert torch.equal(named, numbered)
    assert not torch.equal(named, wb.attribute(panel, model, target="left").to_torch())


@pytest.mark.parametrize("target", [True, 3, -1, "up", "label_logit"])
def test_a_target_that_is_not_there_is_told_before_anything_runs(panel, net, target):
    model = wb.Classifier(net, CLASSES, on="x")
    with pytest.raises(wb.PanelError, match=r"or a class \(left, right, neither\); got"):
        wb.attribute(panel, model, target=target)


def test_a_map_of_a_layer_has_one_channel_and_the_size_of_the_image(panel, net):
    model = wb.Classifier(net, CLASSES, on="x")
    assert wb.attribute(panel, model, "grad_cam", layer="0").to_torch().shape == (6, 1, 8, 8)


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("grad_cam", {}, r"'grad_cam' needs `layer`, one of '0', '1', '2', '3', '4', '5'; it was not given"),
        ("expected_gradients", {}, "needs `references`"),
        (
            "occlusion",
            {"strides": 2},
            r"no setting 'strides'; it has: .*pass_size\. Captum's `strides` is `stride`",
        ),
        ("integrated_gradients", {"internal_batch_size": 2}, "`internal_batch_size` is `pass_size` here"),
    ],
)
def test_settings_are_checked_at_the_call(panel, net, method, settings, message):
    with pytest.raises(wb.PanelError, match=message):
        wb.attribute(panel, wb.Classifier(net, CLASSES, on="x"), method, **settings)


def test_a_layer_may_be_given_itself_and_is_looked_for_at_the_call(panel, net):
    model = wb.Classifier(net, CLASSES, on="x")
    itself, named = (wb.attribute(panel, model, "grad_cam", layer=layer).to_torch() for layer in (net[2], "2"))
    assert torch.equal(itself, named)
    with pytest.raises(wb.LayerError, match="no part of it"):
        wb.attribute(panel, model, "grad_cam", layer=nn.ReLU())
    with pytest.raises(wb.LayerError, match="No layer '9'"):
        wb.attribute(panel, model, "grad_cam", layer="9")

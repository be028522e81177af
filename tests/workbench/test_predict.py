"""Prediction, layers and attributions as lazy columns of one forward pass."""

import numpy as np
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.nets import SmallConv

CLASSES = tuple("abcd")


class Counting(nn.Module):
    """A small net that counts the rows it has run."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(5, 4)
        self.rows = 0

    def forward(self, x):
        self.rows += len(x)
        return self.head(self.body(x))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Counting()


@pytest.fixture
def panel():
    pictures = np.random.default_rng(0).integers(0, 255, (20, 2, 2, 3), np.uint8)
    labels = wb.ScalarColumn(list(range(4)) * 5, classes=CLASSES)
    return wb.DataPanel({"image": wb.ImageColumn(pictures), "label": labels})


def expected(net, panel):
    x = panel["image"].to_torch().float() / 255
    training = net.training
    net.eval()
    with torch.no_grad():
        hidden = net.body(x)
        result = net.head(hidden), hidden
    net.train(training)
    return result


def test_nothing_runs_before_it_is_asked_for(net, panel):
    panel = panel.predict(wb.Classifier(net, CLASSES))
    panel["why"] = wb.attribute(panel, wb.Classifier(net, CLASSES))
    repr(panel), panel._repr_html_()
    wrong = panel["prediction"].label != panel["label"]
    assert net.rows == 0
    assert 0 < len(panel[wrong]) < 20
    assert net.rows == 20


def test_scores_and_embedding_come_out_of_one_pass(net, panel):
    panel = panel.predict(wb.Classifier(net, CLASSES))
    panel.compute(["prediction", "embedding"])
    logits, hidden = expected(net, panel)
    rows = net.rows
    torch.testing.assert_close(panel["prediction"].to_torch(), logits)
    torch.testing.assert_close(panel["embedding"].to_torch(), hidden)
    assert net.rows == rows == 20


def test_layers_named_in_keep_are_stored_in_advance(net, panel):
    panel = panel.predict(wb.Classifier(net, CLASSES), keep=["embedding", "body.1"])
    panel[:5]["prediction"].to_torch()
    assert net.rows == 5
    assert panel[:5]["embedding"].to_numpy().shape == (5, 5)
    assert panel[:5]["prediction.body.1"].to_numpy().shape == (5, 5)
    assert net.rows == 5


def test_a_model_is_run_in_evaluation_mode_and_left_as_found(net, panel):
    net.train()
    net.body[3].eval()
    first = panel.predict(wb.Classifier(net, CLASSES))["prediction"].to_torch()
    torch.testing.assert_close(first, expected(net.eval(), panel)[0])
    net.train()
    assert net.body[3].training


def test_a_changed_weight_is_never_mixed_with_old_scores(net, panel):
    panel = panel.predict(wb.Classifier(net, CLASSES))
    panel[:10]["prediction"].to_torch()
    with torch.no_grad():
        net.head.bias += 1
    torch.testing.assert_close(panel["prediction"].to_torch(), expected(net, panel)[0])


def test_a_second_prediction_needs_a_name(net, panel):
    model = wb.Classifier(net, CLASSES)
    once = panel.predict(model)
    with pytest.raises(wb.PanelError, match="another `name`"):
        once.predict(model)
    twice = once.predict(model, name="again")
    assert twice.columns[-2:] == ["again", "again_embedding"]
    assert net.rows == 0
    twice["prediction"].to_torch(), twice["again"].to_torch()
    assert net.rows == 20, "the same pass of the same model is one expression"


def test_the_column_that_feeds_it_must_exist(net, panel):
    with pytest.raises(wb.NoColumnError, match="did you mean 'image'"):
        panel.predict(wb.Classifier(net, CLASSES, on="images"))
    with pytest.raises(wb.LayerError, match="did you mean 'body'"):
        panel.predict(wb.Classifier(net, CLASSES), keep=["bodi"])


def test_a_model_on_the_wrong_shape_names_the_row_and_the_cause(net):
    panel = wb.DataPanel({"image": wb.ImageColumn(np.zeros((3, 5, 5, 3), np.uint8))}, origin="wide")
    with pytest.raises(RuntimeError, match=r"key 'wide/0'.*cannot be multiplied"):
        panel.predict(wb.Classifier(net, CLASSES))["prediction"].to_torch()


def test_a_convolutional_layer_gives_an_embedding_of_its_channels(panel):
    net = SmallConv(channels=(4, 8), hidden=6, inputs=(3, 8, 8), classes=4)
    pictures = wb.DataPanel({"image": wb.ImageColumn(np.zeros((3, 8, 8, 3), np.uint8))})
    name = next(n for n, m in net.named_modules() if isinstance(m, nn.Conv2d))
    found = pictures.predict(wb.Classifier(net, CLASSES, embedding=name))["embedding"]
    assert found.to_numpy().shape == (3, 4)


def test_results_survive_the_process_by_content(net, panel, tmp_path):
    torch.manual_seed(0)
    conv = SmallConv(channels=(2, 2), hidden=3, inputs=(3, 2, 2), classes=4)
    with wb.keep_results(tmp_path):
        scores = panel.predict(wb.Classifier(conv, CLASSES))["prediction"].to_torch()
        calls = []
        conv.register_forward_hook(lambda *_: calls.append(1))
        rebuilt = wb.DataPanel({"image": wb.ImageColumn(np.asarray([np.asarray(p) for p in panel["image"]]))})
        again = rebuilt.predict(wb.Classifier(conv, CLASSES))["prediction"].to_torch()
    assert torch.equal(scores, again)
    assert not calls


def test_saliency_is_the_gradient_of_the_predicted_class(net, panel):
    net.eval()
    why = wb.attribute(panel, wb.Classifier(net, CLASSES)).to_torch()
    x = (panel["image"].to_torch().double() / 255).requires_grad_()
    log_p = torch.log_softmax(net.double()(x), dim=1)
    (slow,) = torch.autograd.grad(log_p.max(dim=1).values.sum(), x)
    torch.testing.assert_close(why.double(), slow, rtol=1e-4, atol=1e-6)


def test_every_method_that_needs_no_layer_and_no_references_gives_a_column(net, panel):
    some = panel[:3]
    model = wb.Classifier(net, CLASSES)
    for method in ("smooth_grad", "integrated_gradients", "occlusion", "lime", "kernel_shap", "gradient_times_input"):
        assert wb.attribute(some, model, method).to_torch().shape == some["image"].to_torch().shape


def test_settings_reach_the_method_and_tensors_among_them_do_not_confuse_columns(net, panel):
    model = wb.Classifier(net, CLASSES)
    shape = panel["image"].to_torch().shape[1:]
    black, white = torch.zeros(5, *shape), torch.ones(5, *shape)
    maps = [
        wb.attribute(panel, model, "expected_gradients", references=references, samples=4, pass_size=8).to_torch()
        for references in (black, white, black)
    ]
    assert torch.equal(maps[0], maps[2])
    assert not torch.equal(maps[0], maps[1])


def test_a_setting_that_the_method_does_not_have_is_told_with_those_it_has(net, panel):
    model = wb.Classifier(net, CLASSES)
    with pytest.raises(wb.PanelError, match=r"'integrated_gradients' has no setting 'step'; it has: .*steps"):
        wb.attribute(panel, model, "integrated_gradients", step=3)
    with pytest.raises(wb.PanelError, match="'input_gradient' has no setting 'layer'; it has: none"):
        wb.attribute(panel, model, layer="body")

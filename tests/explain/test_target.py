import numpy as np
import pytest
import torch

from explain import (
    KindError,
    ShapeError,
    TargetError,
    attribute,
    deletion,
    swap_sensitivity,
    target_name,
    target_values,
)

LOGITS = torch.tensor([[1.0, 2.0, 0.0], [0.5, -1.0, 3.0]], dtype=torch.float64)
LOG_P = LOGITS - LOGITS.exp().sum(dim=1, keepdim=True).log()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("max_log_probability", LOG_P.max(dim=1).values),
        ("log_probabilities", LOG_P.sum(dim=1)),
        ("label_log_probability", torch.stack([LOG_P[0, 2], LOG_P[1, 0]])),
        ("max_logit", torch.tensor([2.0, 3.0]).double()),
        (1, torch.tensor([2.0, -1.0]).double()),
        (lambda logits: logits[:, 0] - logits[:, 1], torch.tensor([-1.0, 1.5]).double()),
    ],
)
def test_each_target_is_the_scalar_that_its_name_says(target, expected):
    torch.testing.assert_close(target_values(LOGITS, target, torch.tensor([2, 0])), expected)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("loudest", "one of max_log_probability, .*got 'loudest'"),
        (3, r"must lie in \[0, 3\); got 3"),
        (-1, r"must lie in \[0, 3\); got -1"),
        (True, "got True"),
        ("label_log_probability", "needs `labels`"),
    ],
)
def test_a_target_that_does_not_exist_is_refused(target, message):
    with pytest.raises(TargetError, match=message):
        target_values(LOGITS, target)


def test_a_function_must_return_one_value_per_row():
    with pytest.raises(ShapeError, match=r"shape \(2,\); got \(2, 3\)"):
        target_values(LOGITS, lambda logits: logits)


def test_logits_must_be_rows_of_classes():
    with pytest.raises(ShapeError, match=r"got \(2, 3, 1\)"):
        target_values(LOGITS[:, :, None], "max_logit")


def test_targets_have_names():
    assert target_name("max_logit") == "max_logit"
    assert target_name(4) == "class 4"
    assert target_name(test_targets_have_names) == "test_targets_have_names"


@pytest.mark.parametrize("target", ["label_logit", "label_log_probability", "cross_entropy"])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_fewer_or_more_labels_than_rows_are_refused(target, count):
    with pytest.raises(ShapeError, match=rf"must have shape \(2,\), one per row; got \({count},\)"):
        target_values(torch.rand(2, 3), target, torch.zeros(count, dtype=torch.int64))


def test_labels_are_class_numbers():
    with pytest.raises(KindError, match=r"got torch\.float32"):
        target_values(torch.rand(2, 3), "label_logit", torch.tensor([0.0, 1.0]))


def test_labels_made_in_inference_mode_can_be_trained_on():
    with torch.inference_mode():
        labels = torch.tensor([2, 0])
    logits = torch.rand(2, 3, requires_grad=True)
    target_values(logits, "label_logit", labels).sum().backward()
    assert logits.grad.tolist() == [[0, 0, 1], [1, 0, 0]]


SOFTMAX = ["max_log_probability", "log_probabilities", "label_log_probability", "cross_entropy"]


@pytest.mark.parametrize("target", SOFTMAX)
def test_a_log_probability_of_one_logit_is_refused_and_not_zero(target):
    with pytest.raises(TargetError, match=r"One logit: a softmax over it is constant; use target=0, or give"):
        target_values(torch.tensor([[3.0], [-2.0]]), target, torch.tensor([0, 0]))


@pytest.mark.parametrize("target", ["max_logit", "label_logit", 0])
def test_one_logit_itself_can_be_explained(target):
    logits = torch.tensor([[3.0], [-2.0]])
    assert target_values(logits, target, torch.tensor([0, 0])).tolist() == [3, -2]


def test_two_logits_made_of_one_have_the_probabilities_of_a_sigmoid():
    z = torch.tensor([[3.0], [-2.0]])
    found = target_values(torch.cat([-z, z], 1) / 2, "label_log_probability", torch.tensor([1, 1]))
    torch.testing.assert_close(found.exp(), z[:, 0].sigmoid())


@pytest.mark.parametrize("method", ["input_gradient", "integrated_gradients", "occlusion", "kernel_shap"])
def test_methods_refuse_a_sigmoid_head_by_default(method):
    with pytest.raises(TargetError, match="One logit"):
        attribute(torch.nn.Linear(3, 1), torch.rand(2, 3), method)


def test_measures_of_predictions_refuse_a_sigmoid_head():
    x = torch.rand(2, 3)
    with pytest.raises(TargetError, match="One logit"):
        deletion(torch.nn.Linear(3, 1), x, x, filler=0.0, steps=2)
    with pytest.raises(TargetError, match="One logit"):
        swap_sensitivity(torch.nn.Linear(3, 1), x, torch.ones(2, 3, dtype=torch.bool), x)


@pytest.mark.parametrize("target", ["label_logit", "label_log_probability", "cross_entropy"])
@pytest.mark.parametrize("strange", [-100, -1, 3])
def test_a_label_out_of_range_is_named_with_the_range(target, strange):
    with pytest.raises(TargetError, match=rf"must lie in \[0, 3\), the classes; got {strange}\."):
        target_values(LOGITS, target, torch.tensor([1, strange]))


def test_a_label_of_one_for_a_sigmoid_head_is_told_the_way_out():
    with pytest.raises(TargetError, match=r"\[0, 1\), the classes; got 1\. One logit"):
        target_values(torch.rand(2, 1), "label_logit", torch.tensor([0, 1]))


@pytest.mark.parametrize("method", ["input_gradient", "integrated_gradients", "occlusion", "deep_lift"])
def test_classes_given_as_a_target_are_sent_to_the_labels(method):
    with pytest.raises(TargetError, match=r"shape \(2,\)\. .*target=\"label_logit\", labels=y"):
        attribute(torch.nn.Sequential(torch.nn.Linear(3, 2)), torch.rand(2, 3), method, target=torch.tensor([0, 1]))


class Talkative(torch.nn.Module):
    """Returns its logits with something else."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.body = kind, torch.nn.Conv2d(1, 2, 3)

    def forward(self, x):
        logits = self.body(x).mean(dim=(2, 3))
        return {"logits": logits} if self.kind is dict else (logits, x)


@pytest.mark.parametrize("kind", [dict, tuple])
@pytest.mark.parametrize("target", ["max_logit", 0, torch.Tensor.sum])
@pytest.mark.parametrize("method", ["input_gradient", "smooth_grad", "occlusion", "grad_cam"])
def test_a_model_that_returns_no_tensor_is_told_to_be_wrapped(kind, target, method):
    settings = {"layer": "body"} if method == "grad_cam" else {}
    with pytest.raises(KindError, match=rf"must return logits, .*; got {kind.__name__}\. Wrap it"):
        attribute(Talkative(kind), torch.rand(2, 1, 5, 5), method, target=target, **settings)


def test_a_model_that_returns_a_vector_is_told_the_shape():
    with pytest.raises(ShapeError, match=r"got \(2,\)\. For one logit a row"):
        attribute(lambda x: x.sum(dim=1), torch.rand(2, 3))


@pytest.mark.parametrize("target", ["max_logit", "max_log_probability"])
def test_of_several_classes_alike_the_first_is_the_one_predicted(target):
    logits = torch.tensor([[1.0, 3.0, 3.0]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(target_values(logits, target).sum(), logits)
    label = "label_logit" if target == "max_logit" else "label_log_probability"
    (expected,) = torch.autograd.grad(target_values(logits, label, torch.tensor([1])).sum(), logits)
    torch.testing.assert_close(slope, expected)


def test_a_class_may_be_a_number_of_numpy():
    logits = torch.tensor([[1.0, 3.0]])
    assert target_values(logits, np.int64(1)).tolist() == [3.0]
    assert attribute(lambda x: x, logits, "input_gradient", target=np.int64(1)).target == 1


def test_a_target_function_that_returns_no_tensor_is_refused():
    with pytest.raises(KindError, match="what a target function returns"):
        target_values(torch.rand(2, 3), lambda logits: logits.max(dim=1))


def test_labels_that_no_target_reads_are_refused():
    with pytest.raises(TargetError, match="none was named"):
        attribute(lambda x: x, torch.rand(2, 3), "input_gradient", labels=torch.tensor([0, 1]))


def test_inputs_that_are_no_tensor_are_refused():
    with pytest.raises(KindError, match=r"torch.from_numpy"):
        attribute(lambda x: x, np.ones((2, 3)), "input_gradient")

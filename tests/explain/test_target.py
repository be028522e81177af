import pytest
import torch

from explain import KindError, ShapeError, TargetError, target_name, target_values

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

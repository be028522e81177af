import pytest
import torch

from explain.errors import ShapeError, TargetError
from explain.methods.passes import split_passes
from explain.methods.pinned import pin_target

LOGITS = torch.tensor([[1.0, 4.0, 2.0], [5.0, 0.0, 1.0]])
COPIES = torch.tensor([[9.0, 1.0, 0.0], [2.0, 3.0, 8.0], [0.0, 7.0, 7.5], [0.0, 0.0, 6.0]])


def identity(x):
    return x


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("max_logit", [1.0, 2.0, 7.0, 0.0]),
        ("label_logit", [0.0, 3.0, 7.5, 0.0]),
        (2, [0.0, 8.0, 7.5, 6.0]),
        (lambda logits: logits[torch.arange(2), torch.tensor([0, 1])], [9.0, 3.0, 0.0, 0.0]),
    ],
)
def test_copies_are_asked_for_what_the_rows_decided(target, expected):
    pinned = pin_target(identity, LOGITS, target, torch.tensor([2, 1]))
    assert pinned(COPIES, copies=2).tolist() == expected


def test_log_probabilities_are_pinned_alike():
    pinned = pin_target(identity, LOGITS, "max_log_probability")
    expected = torch.log_softmax(COPIES, dim=1)[torch.arange(4), torch.tensor([1, 0, 1, 0])]
    torch.testing.assert_close(pinned(COPIES, copies=2), expected)


def test_some_of_the_rows_can_be_asked():
    pinned = pin_target(identity, LOGITS, "max_logit", batch_size=1)
    assert pinned(COPIES[:2], copies=2, rows=slice(1, 2)).tolist() == [9.0, 2.0]


def test_a_random_target_has_nothing_to_pin():
    with pytest.raises(TargetError, match="drawn anew at each call"):
        pin_target(identity, LOGITS, "random_sign_logits")


def test_targets_that_do_not_exist_are_refused_when_asked():
    for target, message in [
        ("loudest", "got 'loudest'"),
        (3, r"must lie in \[0, 3\)"),
        ("label_logit", "needs `labels`"),
    ]:
        with pytest.raises(TargetError, match=message):
            pin_target(identity, LOGITS, target)(COPIES, copies=2)


def test_there_is_one_label_for_each_row():
    with pytest.raises(ShapeError, match=r"must have shape \(2,\), one per row; got \(3,\)"):
        pin_target(identity, LOGITS, "label_logit", torch.tensor([0, 1, 2]))


@pytest.mark.parametrize("rows", [0, 1, 3, 7, 64])
@pytest.mark.parametrize("copies", [0, 1, 5, 50])
@pytest.mark.parametrize("batch_size", [1, 2, 6, 16, 1000])
def test_passes_cover_everything_once_and_stay_below_the_bound(rows, copies, batch_size):
    row_parts, copy_parts = split_passes(rows, copies, batch_size)
    for parts, count in ((row_parts, rows), (copy_parts, copies)):
        assert [number for part in parts for number in range(part.start, part.stop)] == list(range(count))
        sizes = [part.stop - part.start for part in parts]
        assert not sizes or max(sizes) - min(sizes) <= 1
    sizes = [(r.stop - r.start) * (c.stop - c.start) for r in row_parts for c in copy_parts]
    assert max(sizes, default=0) <= batch_size

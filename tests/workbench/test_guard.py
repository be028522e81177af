import numpy as np
import pytest
import torch
from torch import nn

from workbench.classifier import Classifier
from workbench.errors import RunError
from workbench.guard import Guard


def shortcut_data(rows=400):
    """Two features that both tell the label; the second one is marked."""
    labels = torch.arange(rows) % 2
    inputs = (2.0 * labels - 1)[:, None].repeat(1, 2)
    mask = torch.tensor([[False, True]]).repeat(rows, 1)
    return lambda at: (inputs[at], labels[at], mask[at])


def reading(feature):
    """A classifier that reads one feature only."""
    module = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        module.weight.zero_()
        module.weight[:, feature] = torch.tensor([-1.0, 1.0])
    return Classifier(module, ("no", "yes"))


def test_a_shortcut_cannot_shine_on_refilled_rows():
    guard = Guard(shortcut_data(), np.arange(400), 64, seed=0)
    assert guard.accuracy(reading(0)) == 1.0
    assert guard.accuracy(reading(1)) == pytest.approx(0.5, abs=0.1)
    assert guard.guarded


def test_each_look_sees_the_same_refills_and_leaves_modes_alone():
    guard, model = Guard(shortcut_data(), np.arange(400), 64, seed=0), reading(1)
    assert guard.accuracy(model) == guard.accuracy(model)
    assert model.module.training


def test_without_marks_it_says_that_it_is_not_guarded():
    draw = shortcut_data()
    for mask in (None, torch.zeros(10, 2, dtype=torch.bool)):
        guard = Guard(lambda at, mask=mask: (*draw(at)[:2], mask), np.arange(10), 64, seed=0)
        guard.accuracy(reading(1))
        assert not guard.guarded


def test_rows_in_the_order_of_their_classes_are_guarded_as_well_as_mixed_ones():
    """Donors of a batch of one class would bring the shortcut back."""
    labels = torch.arange(400).div(200, rounding_mode="floor")
    inputs = (2.0 * labels - 1)[:, None].repeat(1, 2)
    mask = torch.tensor([[False, True]]).repeat(400, 1)
    guard = Guard(lambda at: (inputs[at], labels[at], mask[at]), np.arange(400), 64, seed=0)
    assert guard.accuracy(reading(0)) == 1.0
    assert guard.accuracy(reading(1)) == pytest.approx(0.5, abs=0.1)


def test_a_mark_whose_place_tells_the_class_is_refilled_from_other_classes_too():
    labels = torch.arange(400) % 4
    inputs = nn.functional.one_hot(labels).float()
    module = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.eye(4))
    guard = Guard(lambda at: (inputs[at], labels[at], inputs[at].bool()), np.arange(400), 64, seed=0)
    # A row refilled with nothing is a tie, which the first class wins: a quarter, beside those whose donor is alike.
    assert guard.accuracy(Classifier(module, ("a", "b", "c", "d"))) < 0.55


@pytest.mark.parametrize(("marked", "guarded"), [(0, False), (1, False), (2, True), (40, True)])
def test_fewer_marked_rows_than_one_in_twenty_do_not_guard(marked, guarded):
    draw = shortcut_data(40)
    said = torch.zeros(40, 2, dtype=torch.bool)
    said[:marked, 1] = True
    guard = Guard(lambda at: (*draw(at)[:2], said[at]), np.arange(40), 16, seed=0)
    guard.accuracy(reading(1))
    assert (guard.refilled, guard.guarded) == (marked, guarded)


def test_a_tag_that_one_class_alone_has_is_seen_in_the_other_where_states_are_chosen():
    """Refilled in marked rows alone, it would go on to tell the class wherever it is left."""
    labels = torch.arange(400) % 2
    inputs = torch.zeros(400, 1, 4, 4)
    inputs[:, 0, 0, 0] = labels.float()
    marks = torch.zeros(400, 4, 4, dtype=torch.bool)
    marks[:, 0, 0] = labels.bool()
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        module[1].weight.zero_()
        module[1].weight[1, 0], module[1].bias[:] = 2.0, torch.tensor([1.0, 0.0])
    guard = Guard(lambda at: (inputs[at], labels[at], marks[at]), np.arange(400), 64, seed=0)
    # A half of one class has lost the tag, and a quarter of the other got it.
    assert guard.accuracy(Classifier(module, ("without", "with"))) == pytest.approx(1 - (0.5 + 0.25) / 2, abs=0.08)
    assert guard.guarded


def kept_after(accuracies, monkeypatch):
    """Which of a series of states is kept, given what each would score on 100 rows."""
    guard, model = Guard(shortcut_data(), np.arange(100), 64, seed=0), reading(0)
    for step, accuracy in enumerate(accuracies):
        monkeypatch.setattr(Guard, "accuracy", lambda self, model, accuracy=accuracy: accuracy)
        keep = guard.check(model, step)
        assert keep == (guard.step == step)
    return guard.step


@pytest.mark.parametrize(
    ("accuracies", "kept"),
    [
        ([0.5, 0.9, 0.7], 1),
        # 0.88 is within one standard error, 0.03, of 0.9: not worse by anything that 100 rows can show.
        ([0.5, 0.9, 0.88], 2),
        ([0.5, 0.9, 0.88, 0.86], 2),
        ([0.5, 0.88, 0.95, 0.89], 2),
        ([1.0, 0.99], 0),
        ([1.0, 1.0], 1),
    ],
)
def test_the_latest_state_within_one_standard_error_of_the_best_is_kept(accuracies, kept, monkeypatch):
    assert kept_after(accuracies, monkeypatch) == kept


def test_looks_without_gain_are_counted_from_where_the_penalty_acts(monkeypatch):
    guard, model = Guard(shortcut_data(), np.arange(100), 64, seed=0), reading(0)
    for step, accuracy in enumerate([0.5, 0.9, 0.9, 0.8, 0.95, 0.95, 0.9]):
        monkeypatch.setattr(Guard, "accuracy", lambda self, model, accuracy=accuracy: accuracy)
        guard.check(model, step)
        counted = [guard.without_gain(start) for start in (0, 2)]
        assert counted == {0: [0, 0], 1: [0, 0], 2: [1, 0], 3: [2, 1], 4: [0, 0], 5: [1, 1], 6: [2, 2]}[step]


def test_marked_words_of_a_text_come_from_other_texts():
    """The first word tells the label, the second one too and is marked; words are numbers from 1."""
    labels = torch.arange(40) % 2
    tokens = torch.stack([1 + labels, 3 + labels, torch.zeros_like(labels)], dim=1)
    mask = torch.tensor([[False, True, False]]).repeat(40, 1)
    seen = []

    class ReadsAnything(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def forward(self, inputs):
            seen.append(inputs)
            return nn.functional.one_hot((inputs > 3).any(dim=1).long(), 2).float() + self.weight

    guard = Guard(lambda at: (tokens[at], labels[at], mask[at]), np.arange(40), 64, seed=0)
    assert guard.accuracy(Classifier(ReadsAnything(), ("no", "yes"))) == pytest.approx(0.5, abs=0.15)
    assert torch.equal(seen[0][:, [0, 2]], tokens[guard.rows][:, [0, 2]])
    assert sorted(seen[0][:, 1]) == sorted(tokens[:, 1]), "each marked word is in another text"


def test_no_validation_rows_are_refused():
    with pytest.raises(RunError, match="must be validation rows; got none"):
        Guard(shortcut_data(), np.arange(0), 64, seed=0)

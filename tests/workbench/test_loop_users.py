"""Users: the simulated one answers as the three cases of CAIPI have it, from the truth and from what is shown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import workbench as wb
from workbench.errors import LoopError
from workbench.loop import Question, SimulatedUser
from workbench.strokes import SloppyStroke


@pytest.fixture(scope="module")
def truth():
    return wb.datasets.decoy_digits(seed=0).where("split == 'train'")[:40]


def question(panel, row, *, prediction=None, on_mask=1.0):
    mask = panel["swatch"][row].float()
    explanation = on_mask * mask / mask.sum() + (1 - on_mask) * (1 - mask) / (1 - mask).sum()
    label = panel["label"][row]
    return Question(panel.key.to_list()[row], "margin", label, prediction or label, 0.9, -explanation[None])


def other(label):
    return next(name for name in wb.datasets.DIGITS if name != label)


def test_a_wrong_answer_gets_the_label_and_nothing_else(truth):
    answer = SimulatedUser(truth, "swatch").answer(question(truth, 3, prediction=other(truth["label"][3])))
    assert (answer.verdict, answer.label, answer.irrelevant) == ("wrong", truth["label"][3], None)


def test_a_wrong_reason_gets_the_region(truth):
    answer = SimulatedUser(truth, "swatch").answer(question(truth, 3))
    assert (answer.verdict, answer.label) == ("right for the wrong reason", None)
    assert np.array_equal(answer.irrelevant, truth["swatch"][3].numpy())


def test_a_right_reason_gets_nothing_and_the_tolerance_says_what_that_is(truth):
    for share, verdict in ((0.19, "right for the right reason"), (0.21, "right for the wrong reason")):
        answer = SimulatedUser(truth, "swatch").answer(question(truth, 3, on_mask=share))
        assert answer.verdict == verdict
    answer = SimulatedUser(truth, "swatch", tolerance=0.5).answer(question(truth, 3, on_mask=0.21))
    assert (answer.verdict, answer.label, answer.irrelevant) == ("right for the right reason", None, None)


def test_labels_alone_are_given_of_every_row(truth):
    user = SimulatedUser(truth, "swatch", rationales=False)
    answer = user.answer(question(truth, 3))
    assert (answer.verdict, answer.label, answer.irrelevant) == (
        "right for the wrong reason",
        truth["label"][3],
        None,
    )


def test_a_label_that_the_panel_lacks_is_given(truth):
    asked = question(truth, 3)
    unlabelled = Question(asked.key, "margin", None, asked.prediction, 0.9, asked.explanation)
    assert SimulatedUser(truth, "swatch").answer(unlabelled).label == truth["label"][3]


def test_strokes_are_drawn_by_the_row_whenever_it_is_asked_about(truth):
    user = SimulatedUser(truth, "swatch", strokes=SloppyStroke(), seed=1)
    first, second, again = (user.answer(question(truth, row)).irrelevant for row in (3, 4, 3))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, truth["swatch"][3].numpy())
    assert first.shape == second.shape == (28, 28)


def test_a_mask_of_another_size_than_the_input_is_laid_on_it():
    marks = np.zeros((1, 4, 4), bool)
    marks[0, :2, :2] = True
    labels = wb.ScalarColumn(["no"], classes=("no", "yes"))
    panel = wb.DataPanel({"mark": wb.TensorColumn(marks), "label": labels}, origin="rows")
    looked = torch.zeros(3, 2, 2)
    looked[:, 0, 0] = 1.0
    user = SimulatedUser(panel, "mark")
    assert user.answer(Question("rows/0", "margin", "no", "no", 0.9, looked)).verdict == "right for the wrong reason"
    assert user.answer(Question("rows/0", "margin", "no", "no", 0.9, looked.flip(2))).verdict.endswith("right reason")


def test_a_row_without_a_mask_has_no_wrong_reason(truth):
    panel = wb.DataPanel(
        {
            "mark": wb.TensorColumn([None, np.zeros(2, bool)]),
            "label": wb.ScalarColumn(["no", "no"], classes=("no", "yes")),
        },
        origin="rows",
    )
    for key in ("rows/0", "rows/1"):
        asked = Question(key, "margin", "no", "no", 0.9, torch.ones(2))
        assert SimulatedUser(panel, "mark").answer(asked).verdict == "right for the right reason"


def test_what_the_user_cannot_know_is_an_error(truth):
    with pytest.raises(LoopError, match="knows the truth about 40 rows; not 'elsewhere/1'"):
        SimulatedUser(truth, "swatch").answer(
            Question("elsewhere/1", "margin", "one", "one", 0.9, torch.ones(1, 28, 28))
        )
    with pytest.raises(LoopError, match="`tolerance` is a share"):
        SimulatedUser(truth, "swatch", tolerance=1.5)

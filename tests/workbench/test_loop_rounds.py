"""The loop: asks, is told, trains, tells the curve; and goes on where it was when it is built anew on its log."""

from __future__ import annotations

import numpy as np
import pytest

import workbench as wb
from workbench.errors import LoopError, OverlapError
from workbench.feedback import Feedback, ImageRegion
from workbench.loop import QUERIES, Loop, SimulatedUser
from workbench.loop.asking import chosen as chosen_by
from workbench.loop.asking import gathered
from workbench.loop.spreading import AlongClusters, as_masks, everywhere
from workbench.runs.weights import state_digest

# Three steps help nothing, and a few marks hardly reach the rows held out: both are said, and not the point here.
pytestmark = [
    pytest.mark.filterwarnings("ignore::workbench.record.UnguardedWarning"),
    pytest.mark.filterwarnings("ignore::workbench.record.UnchangedModelWarning"),
]

# Short and gentle trainings, so that what comes out is kept: what is tested is what goes in and comes out, not how
# good it is.
BRIEF = {"steps": 4, "lr": 5e-4, "batch_size": 32, "progress": False, "candidates": 100}


@pytest.fixture(scope="module")
def panels():
    digits = wb.datasets.decoy_digits(seed=0)
    return digits.where("split == 'train'")[:300], digits.where("split == 'decoy_test'")[:100]


@pytest.fixture(scope="module")
def fooled(panels):
    start = wb.Classifier(wb.recipe("digits").build(0), wb.datasets.DIGITS)
    return wb.fit(start, panels[0], steps=150, lr=3e-3, progress=False).model


@pytest.fixture
def log(tmp_path):
    with Feedback(tmp_path / "feedback.db", author="ada") as opened:
        yield opened


def weights(model):
    return state_digest(model.module.state_dict())


def simulated(train, **how):
    return SimulatedUser(train, "swatch", tolerance=0.02, **how)


def test_a_person_proposes_answers_and_steps(panels, fooled, log):
    train, test = panels
    loop = Loop(fooled, train, log, per_round=4, judged=test, source="source", **BRIEF)
    proposed = loop.propose()
    assert len(proposed) == 4
    assert proposed["query"].to_list() == ["clusters"] * 4
    assert proposed["why"].to_torch().shape == (4, 1, 28, 28)
    one, two, three, _ = proposed.key.to_list()
    swatch = ImageRegion.box(0, 0, 4, 4, size=(28, 28))
    assert [r.kind for r in loop.answer(one, irrelevant=swatch)] == ["rationale", "verdict"]
    assert [r.kind for r in loop.answer(two, label="seven", note="smudged")] == ["label", "note", "verdict"]
    (right,) = loop.answer(three)
    assert right.body == {"verdict": "right for the right reason"}
    assert right.shown["query"] == "clusters"
    assert (right.shown["round"], right.shown["trained_on"], right.how, right.author) == (0, 0, "painted", "ada")
    assert right.model == weights(fooled)
    assert len(loop.propose()) == 1
    done = loop.step()
    assert (done.number, done.answers) == (1, 3)
    assert done.verdicts == {
        "right for the wrong reason": 1,
        "wrong": 1,
        "right for the right reason": 1,
    }
    assert done.run is not None
    assert [p.answers for p in loop.curve] == [0, 3]
    assert weights(loop.model) != weights(fooled)
    assert not {one, two, three} & set(loop.propose().key.to_list())


def test_of_right_reasons_alone_nothing_follows(panels, fooled, log):
    loop = Loop(fooled, panels[0], log, per_round=2, judged=panels[1], **BRIEF)
    for key in loop.propose().key.to_list():
        loop.answer(key)
    done = loop.step()
    assert done.run is None
    assert weights(loop.model) == weights(fooled)
    assert loop.curve.points[0].accuracy == loop.curve.points[1].accuracy


def test_a_loop_built_anew_goes_on_where_it_was(panels, fooled, log, tmp_path):
    train, test = panels
    how = {"per_round": (3, 2), "judged": test, "source": "source", "propagate": "everywhere", **BRIEF}
    whole = Loop(fooled, train, log, user=simulated(train), **how)
    whole.run(7)
    with Feedback(tmp_path / "other.db") as other:
        first = Loop(fooled, train, other, user=simulated(train), **how)
        first.step()
        halfway = Loop(fooled, train, other, **how)
        assert (halfway.answers, len(halfway.propose())) == (3, 2)
        question = next(iter(halfway.questions()))
        said = simulated(train).answer(question)
        halfway.answer(question.key, said.verdict, label=said.label, irrelevant=said.irrelevant)
        # Within a round: what is still open, by the same model.
        rest = Loop(fooled, train, other, user=simulated(train), **how)
        assert rest.propose().key.to_list() == halfway.propose().key.to_list()
        rest.run(7)
        keys = [[r.key for r in of.records(kind="verdict")] for of in (log, other)]
        assert keys[0] == keys[1]
        assert weights(rest.model) == weights(whole.model)
        assert [p.answers for p in rest.curve] == [0, 3, 5, 7]
        anew = Loop(fooled, train, other, **how)
        assert [p.answers for p in anew.curve] == [0]
        assert anew.retrace().points == whole.curve.points == rest.curve.points


def test_a_label_said_in_a_round_does_not_change_what_the_round_asks(panels, fooled, log):
    loop = Loop(fooled, panels[0], log, per_round=6, **BRIEF)
    keys = loop.propose().key.to_list()
    for key in keys[:2]:
        loop.answer(key, label="nine" if panels[0].at_keys(key)["label"][0] != "nine" else "one")
    assert Loop(fooled, panels[0], log, per_round=6, **BRIEF).propose().key.to_list() == keys[2:]


def test_an_answer_taken_back_is_asked_for_again(panels, fooled, log):
    loop = Loop(fooled, panels[0], log, per_round=2, **BRIEF)
    keys = loop.propose().key.to_list()
    loop.answer(keys[0], irrelevant=np.eye(28, dtype=bool))
    assert loop.propose().key.to_list() == keys[1:]
    log.undo()
    assert loop.propose().key.to_list() == keys
    assert loop.answers == 0
    with pytest.raises(LoopError, match="A round needs an answer"):
        loop.step()


def test_marks_and_labels_that_stay_as_they_are_train_nothing_anew(panels, fooled, log):
    loop = Loop(fooled, panels[0], log, per_round=1, propagate="everywhere", judged=panels[1], **BRIEF)
    swatch = ImageRegion.box(0, 0, 4, 4, size=(28, 28))
    for _ in range(2):
        loop.answer(loop.propose().key.to_list()[0], irrelevant=swatch)
        loop.step()
    assert loop.rounds[0].run is loop.rounds[1].run
    loop.answer(loop.propose().key.to_list()[0], irrelevant=ImageRegion.box(24, 0, 4, 4, size=(28, 28)))
    assert loop.step().run is not loop.rounds[1].run


def test_labels_alone_train_plainly(panels, fooled, log):
    train, test = panels
    loop = Loop(fooled, train, log, per_round=3, judged=test, user=simulated(train, rationales=False), **BRIEF)
    done = loop.step()
    assert {r.kind for r in log.records()} == {"label", "verdict"}
    assert {r.how for r in log.records()} == {"simulated"}
    assert {r.author for r in log.records()} == {"simulated user"}
    assert all(step.annotated == 0 for step in done.run.steps)


def test_rows_without_a_label_are_trained_on_once_they_have_one(panels, fooled, log):
    train, test = panels
    names = train["label"].to_list()
    some = train.assign(
        label=wb.ScalarColumn([n if i < 200 else None for i, n in enumerate(names)], classes=wb.datasets.DIGITS)
    )
    seen = []
    how = {**BRIEF, "progress": seen.append, "batch_size": 500, "propagate": None}
    loop = Loop(fooled, some, log, per_round=2, judged=test, **how)
    keys = some.key.to_list()
    loop.answer(keys[250], label=names[250], irrelevant=train["swatch"][250].numpy())
    loop.answer(keys[251], label=names[251])
    assert loop.step().run is not None
    # 202 rows have a label, a tenth of which is held out; the marked one is among those trained on.
    assert {step.annotated for step in seen} <= {0, 1}
    nobody = some.assign(label=wb.ScalarColumn([None] * 300, classes=wb.datasets.DIGITS))
    empty = Loop(fooled, nobody, log, per_round=1, name="another", **BRIEF)
    empty.answer(keys[0], irrelevant=train["swatch"][0].numpy())
    log.undo(log.records(kind="label"))
    with pytest.raises(LoopError, match="no row has one yet"):
        empty.step()


def test_without_rows_to_judge_by_the_curve_is_told_by_rows_held_out(panels, fooled, log):
    train = panels[0]
    loop = Loop(
        fooled, train, log, per_round=3, user=simulated(train), propagate="everywhere", source="source", **BRIEF
    )
    assert len(loop.curve) == 0
    done = loop.step()
    assert [p.answers for p in loop.curve] == [0, 3]
    assert all(p.guarded for p in loop.curve)
    assert done.point.rows == round(0.1 * 300 / 4, -1) or 20 <= done.point.rows <= 40
    assert loop.outlook(10).why_not.startswith("no estimate from 2 points")


def test_marks_and_labels_of_rows_that_the_panel_has_not_are_none_of_the_loop(panels, fooled, log, tmp_path):
    train, test = panels
    how = {"per_round": 1, "propagate": "everywhere", "rule": "union", **BRIEF}
    corner = ImageRegion.box(0, 0, 4, 4, size=(28, 28))
    with Feedback(tmp_path / "other.db", author="ada") as alone:
        elsewhere = test.key.to_list()[0]
        log.mark(elsewhere, irrelevant=ImageRegion.box(8, 8, 12, 12, size=(28, 28)))
        log.correct(elsewhere, "nine")
        loops = [Loop(fooled, train, told, **how) for told in (log, alone)]
        for loop in loops:
            loop.answer(loop.propose().key.to_list()[0])
            assert loop.step().run is None
            loop.answer(loop.propose().key.to_list()[0], irrelevant=corner)
            loop.step()
        assert weights(loops[0].model) == weights(loops[1].model)


def test_each_loop_knows_its_own_answers_by_its_name(panels, fooled, log):
    first = Loop(fooled, panels[0], log, per_round=1, name="first", **BRIEF)
    first.answer(first.propose().key.to_list()[0])
    assert Loop(fooled, panels[0], log, per_round=1, name="second", **BRIEF).answers == 0
    assert Loop(fooled, panels[0], log, per_round=1, name="first", **BRIEF).answers == 1


def test_what_cannot_be_asked_or_answered_is_told_with_the_way_out(panels, fooled, log):
    train = panels[0]
    loop = Loop(fooled, train, log, **BRIEF)
    with pytest.raises(LoopError, match="a row of the panel, of 300; got key 'nowhere/1'"):
        loop.answer("nowhere/1")
    with pytest.raises(LoopError, match="A label must be one of zero, one"):
        loop.answer(train.key.to_list()[0], label="eleven")
    with pytest.raises(LoopError, match="only with a `user`"):
        loop.run(3)
    with pytest.raises(LoopError, match="`query` must be one of random, uncertainty"):
        Loop(fooled, train, log, query="best", **BRIEF)
    with pytest.raises(LoopError, match="`per_round` must be"):
        Loop(fooled, train, log, per_round=(5, 0), **BRIEF)
    with pytest.raises(LoopError, match="`propagate` must be one of everywhere, clusters"):
        Loop(fooled, train, log, propagate="far", **BRIEF)
    with pytest.raises(LoopError, match="at least 1; got 0"):
        Loop(fooled, train, log, guided_every=0, **BRIEF)
    with pytest.raises(OverlapError):
        Loop(fooled, train, log, judged=train[:3], **BRIEF)
    with pytest.raises(OverlapError, match="10 of 20 rows of `judged` are among them"):
        Loop(fooled, train, log, judged=panels[1][:20], validation=panels[1][10:], **BRIEF)
    with pytest.raises(OverlapError, match="has seen"):
        Loop(fooled, panels[1], log, judged=train[:3], **BRIEF)
    with pytest.raises(wb.ClassifierError):
        Loop(fooled.module, train, log, **BRIEF)
    small = Loop(fooled, train[:3], log, per_round=5, name="small", **BRIEF)
    assert len(small.propose()) == 3
    for key in small.propose().key.to_list():
        small.answer(key)
    small.step()
    with pytest.raises(LoopError, match="no row left to ask about; 3 of 3"):
        small.step()


def test_of_several_rows_painted_in_a_cluster_half_must_agree_and_each_keeps_its_own(panels, fooled):
    class One(AlongClusters):
        """All rows in one cluster."""

        clusters = dict.fromkeys(panels[0].key.to_list(), 0)

    train = panels[0][:6]
    keys = train.key.to_list()
    boxes = [ImageRegion.box(0, left, 1, 2, size=(2, 4)) for left in (0, 0, 1)]
    regions, chosen = One(train, fooled, "", "", 0)(dict(zip(keys, boxes)), train)
    masks = as_masks(regions, chosen).to_torch()[:, 0].int().tolist()
    assert masks == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], *[[1, 1, 0, 0]] * 3]
    with pytest.raises(LoopError, match=r"among rows of one size; there are regions of \[\(2, 4\), \(3, 4\)\]"):
        as_masks([boxes[0], ImageRegion.box(0, 0, 1, 1, size=(3, 4))], np.array([0, 1]))


@pytest.fixture(scope="module")
def shortcut():
    """A net that has really learned the swatch, and the rows that it learned it from."""
    train = wb.datasets.decoy_digits(101).where("split == 'train'")[::3]
    start = wb.Classifier(wb.recipe("digits").build(101), wb.datasets.DIGITS)
    return train, wb.fit(start, train, steps=250, lr=3e-3, progress=False).model


def test_marks_spread_to_rows_that_are_explained_alike_or_everywhere(shortcut):
    train, model = shortcut
    key, other = train.key.to_list()[:2]
    swatch = ImageRegion.from_mask(train["swatch"][0])
    regions, chosen = AlongClusters(train, model, "gradient_times_input", "max_logit", seed=0)({key: swatch}, train)
    marked = as_masks(regions, chosen).to_torch().flatten(1).any(dim=1)
    # Those of its corner, nearly all of them and hardly any other.
    same = (train["swatch"].to_torch() == train["swatch"][0]).flatten(1).all(dim=1)
    assert float(same[marked].double().mean()) > 0.9
    assert float(marked[same].double().mean()) > 0.9
    regions, chosen = everywhere({key: swatch, other: ImageRegion.box(9, 9, 2, 2, size=(28, 28))}, train)
    masks = as_masks(regions, chosen).to_torch()
    assert bool(masks[:, 9, 9].all())
    assert masks.flatten(1).sum(dim=1).unique().tolist() == [20]


def test_with_five_questions_clusters_reach_all_four_corners_and_chance_does_not(shortcut):
    train, model = shortcut
    reached = {"clusters": [], "random": []}
    for name, found in reached.items():
        for seed in range(3):
            rows = gathered(
                train, np.zeros(0, np.int64), 1000, model,
                method="gradient_times_input", target="max_logit", seed=seed, round=0,
            )  # fmt: skip
            picked = list(chosen_by(rows, QUERIES[name], name, 5, None, 0))
            found.append(len({tuple(mask.flatten().tolist()) for mask in rows.panel["swatch"].to_torch()[picked]}))
    assert reached["clusters"] == [4, 4, 4]
    assert sum(reached["random"]) < 12


def test_a_user_who_cannot_answer_is_told_before_anybody_is_asked(panels, fooled, log):
    class Shy:
        def answer(self, question):
            raise AssertionError("nobody is asked")

    with pytest.raises(LoopError, match="Shy has no `name`, `how`"):
        Loop(fooled, panels[0], log, user=Shy(), **BRIEF)

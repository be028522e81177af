"""A fine-tune from a view: typed choices only, watched in packets, stopped, compared, kept or forgotten."""

import random
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

import workbench as wb
from explain import Grey, RightReasons, Swap
from workbench.nets import Mlp
from workbench.recipes import FINE_TUNE
from workbench.record import UnguardedWarning
from workbench.widgets.choices import LOSSES, Choice, losses_of, weights_here
from workbench.widgets.jobs import Jobs
from workbench.widgets.quiet import told_otherwise
from workbench.widgets.relaunch import Relaunch
from workbench.widgets.sides import sides_of
from workbench.word_swap import SwapTokens

CLASSES = ("low", "high")


def toy(rows=120, split=True):
    """Pictures whose middle tells the label; a corner pixel does so as well, in the rows to train on."""
    chance = np.random.default_rng(0)
    labels = chance.integers(0, 2, rows)
    images = chance.integers(0, 120, (rows, 6, 6), np.uint8)
    images[:, 2:4, 2:4] += (labels * 60)[:, None, None].astype(np.uint8)
    train = np.arange(rows) < rows * 2 // 3
    images[:, 0, 0] = np.where(train, labels, chance.integers(0, 2, rows)) * 255
    columns = {"image": wb.ImageColumn(images), "label": wb.ScalarColumn(labels, classes=CLASSES)}
    if split:
        columns["split"] = np.where(train, "train", "test").tolist()
    return wb.DataPanel(columns, origin="toy")


CORNER = np.arange(36).reshape(6, 6) == 0


@pytest.fixture(scope="module")
def panel():
    return toy()


@pytest.fixture(scope="module")
def model(panel):
    torch.manual_seed(0)
    start = wb.Classifier(Mlp((1, 6, 6), (8,), 2), CLASSES)
    return wb.fit(start, panel.where("split == 'train'"), steps=60, batch_size=40, lr=1e-2, progress=False).model


@pytest.fixture
def log(tmp_path):
    return wb.Feedback(tmp_path / "feedback.db", author="ada")


@pytest.fixture
def marked(log, panel):
    for key in panel.key.to_list():
        log.mark(key, irrelevant=CORNER)
    return log


@pytest.fixture
def seen():
    return []


@pytest.fixture
def jobs(seen):
    found = Jobs(seen.append)
    yield found
    found.close(wait=20)


def of(seen, name):
    return [event for event in seen if event["event"] == name]


SHORT = {"loss": "swap, then right reasons", "steps": 12}


# Choices


def test_the_first_loss_is_the_default_recipe_and_each_other_can_be_built(model):
    first, *_ = losses_of(model)
    assert Choice(first).settings(model) == FINE_TUNE
    for name in losses_of(model):
        settings = Choice(name, steps=7).settings(model)
        assert settings.loss is not None or settings.counterexamples is not None
        assert settings.steps == 7
    assert Choice("grey").settings(model) == replace(FINE_TUNE, counterexamples=Grey(), loss=None)
    assert Choice("swap").settings(model) == replace(FINE_TUNE, counterexamples=Swap(lend=0.5), loss=None)
    signs = Choice("right reasons, random signs", weight="auto").settings(model)
    assert signs.loss == RightReasons("auto", target="random_sign_logits")
    assert len(LOSSES) == len(losses_of(model))


def test_texts_have_losses_of_their_own():
    model = wb.Classifier(Mlp((1, 6, 6), (8,), 2), CLASSES, offsets=len, padding=3)
    assert Choice("swap words").settings(model).counterexamples == SwapTokens(3)
    with pytest.raises(wb.RunError, match="must be one of swap words; drop words; got 'swap'"):
        Choice("swap").settings(model)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"loss": "swap", "weights": "last:99"}, "`weights` must be one of all, head"),
        ({"loss": "swap", "minutes": 61}, "at most 60; got 61"),
        ({"loss": "swap", "minutes": float("nan")}, "`minutes` must be"),
        ({"loss": "swap", "steps": 0}, "whole number in .1, 100,000.; got 0"),
        ({"loss": "swap", "steps": True}, "got True"),
        ({"loss": "swap", "steps": 5, "minutes": 1}, "got both"),
        ({"loss": "right reasons", "weight": -1.0}, "positive number or 'auto'; got -1.0"),
        ({"loss": "right reasons", "weight": "large"}, "got 'large'"),
        ({"loss": "swap", "weight": 1.0}, "nothing to weigh"),
        ({"loss": "__import__('os')"}, "`loss` must be one of"),
        ({"loss": "swap", "lr": 1e9}, "chosen by loss, weights, minutes, steps, weight"),
        ({}, "`loss` at least"),
    ],
)
def test_what_is_no_choice_is_refused_in_words(panel, model, marked, jobs, fields, words):
    with pytest.raises(wb.RunError, match=words):
        Relaunch(panel, model, marked, jobs).start(fields)


def test_low_rank_additions_are_offered_only_where_their_library_is(monkeypatch):
    monkeypatch.setattr("workbench.widgets.choices.find_spec", lambda name: None)
    assert weights_here() == ("all", "head", "last:2")
    with pytest.raises(wb.RunError, match="got 'lora'"):
        Choice("swap", weights="lora")


# Rows


def test_a_split_says_which_rows_are_trained_on(panel, model):
    sides = sides_of(panel, model)
    assert (len(sides.trained), len(sides.judged)) == (80, 40)
    assert sides.judged_rows.tolist() == list(range(80, 120))


def test_without_a_split_what_the_model_has_not_seen_is_judged_by(model):
    sides = sides_of(toy(split=False), model)
    assert sides.judged_rows.tolist() == list(range(80, 120))
    assert sides.words == (
        "Trained on the 80 rows that the model has seen already, and judged on the 40 that it has not."
    )


def test_else_a_fifth_is_held_out_copies_of_one_original_together_and_always_the_same():
    stranger = wb.Classifier(Mlp((1, 6, 6), (8,), 2), CLASSES)
    plain = toy(split=False)
    sides = sides_of(plain, stranger)
    assert (len(sides.trained), len(sides.judged)) == (96, 24)
    assert sides_of(plain, stranger).judged_rows.tolist() == sides.judged_rows.tolist()
    copied = plain.assign(source=[row // 4 for row in range(120)])
    sides = sides_of(copied, stranger)
    assert sides.source == "source"
    assert not set(sides.trained["source"].to_list()) & set(sides.judged["source"].to_list())
    assert "copies of one 'source' together" in sides.words
    assert sides_of(copied.assign(source=[None, *range(119)]), stranger).source is None


def test_conditions_and_panels_say_it_and_what_is_left_out_is_the_rest(panel, model):
    sides = sides_of(panel, model, train="split == 'test'", judged=panel[:10])
    assert (len(sides.trained), sides.judged_rows.tolist()) == (40, list(range(10)))
    elsewhere = wb.DataPanel({"image": wb.ImageColumn(np.zeros((2, 6, 6), np.uint8))}, origin="other")
    assert sides_of(panel, model, judged=elsewhere).judged_rows.tolist() == [-1, -1]
    copied = panel.assign(original=[row // 2 for row in range(120)])
    sides = sides_of(copied, model, train=copied[:3], source="original")
    assert sides.judged_rows.tolist() == list(range(4, 120))
    with pytest.raises(wb.PanelError, match="There is no row to train on"):
        sides_of(panel, model, train="split == 'nowhere'")
    with pytest.raises(wb.NoColumnError):
        sides_of(panel, model, train="splat == 'train'")
    with pytest.raises(wb.NoColumnError):
        sides_of(panel, model, source="sauce")


def test_too_few_rows_are_all_trained_on(model):
    sides = sides_of(toy(split=False)[:4], wb.Classifier(Mlp((1, 6, 6), (8,), 2), CLASSES))
    assert (len(sides.trained), len(sides.judged)) == (4, 0)


# Training


def test_a_training_streams_its_steps_and_tells_what_it_fixed(panel, model, marked, jobs, seen):
    relaunch = Relaunch(panel, model, marked, jobs, slices=lambda: [wb.Slice("low", "label == 'low'")])
    before = [value.clone() for value in model.module.parameters()]
    job = relaunch.start({**SHORT, "steps": 60})
    end = jobs.wait(job, 120)
    assert end["state"] == "done", end
    assert end["words"].startswith("60 of 60 steps in ")
    packets = of(seen, "steps")
    steps = [step for event in packets for step in event["steps"]]
    assert [step[0] for step in steps] == list(range(1, 61))
    assert {event["of"] for event in packets} == {60}
    assert steps[0][2] == 0 < steps[-1][2]
    assert [check[0] for event in packets for check in event["checks"]] == [0, *range(6, 61, 6)]
    (compared,) = of(seen, "compared")
    words, first, second = compared["figures"][0]
    assert words == "accuracy"
    assert second > first
    assert {"mass on mask", "swap sensitivity"} <= {words for words, _, _ in compared["figures"]}
    assert compared["slices"][0]["name"] == "low"
    fixed, broken = relaunch.fixed(job), relaunch.fixed(job, "broken")
    assert (len(fixed), len(broken)) == (compared["fixed"], compared["broken"])
    assert (fixed >= 80).all()
    after = relaunch.found(job).run.model
    labels = panel["label"].to_list()
    for rows, who, other in ((fixed, after, model), (broken, model, after)):
        for row in rows.tolist():
            right, wrong = (panel[[row]].predict(one)["prediction"].label.to_list()[0] for one in (who, other))
            assert right == labels[row] != wrong
    assert all(torch.equal(one, other) for one, other in zip(before, model.module.parameters(), strict=True))


def test_slices_may_speak_of_columns_that_the_view_has_added_since(panel, model, marked, jobs, seen):
    relaunch = Relaunch(panel, model, marked, jobs, slices=lambda: [wb.Slice("first", "cluster == 0")])
    jobs.wait(relaunch.start(SHORT), 120)
    assert of(seen, "compared") == []
    relaunch.panel = panel.assign(cluster=[row % 4 for row in range(120)])
    jobs.wait(relaunch.start(SHORT), 120)
    assert [one["rows"] for one in of(seen, "compared")[0]["slices"]] == [10]


def test_it_is_the_fine_tune_of_the_command_to_the_last_bit(panel, model, marked, jobs):
    relaunch = Relaunch(panel, model, marked, jobs)
    job = relaunch.start(SHORT)
    jobs.wait(job, 120)
    same = wb.finetune(model, panel.where("split == 'train'"), marked, steps=12, progress=False)
    states = [run.model.module.state_dict() for run in (relaunch.found(job).run, same)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_training_that_is_stopped_keeps_the_best_so_far_and_is_compared(panel, model, marked, jobs, seen):
    relaunch = Relaunch(panel, model, marked, jobs)
    job = relaunch.start({**SHORT, "steps": 100_000})
    end = time.monotonic() + 60
    while not any(event["steps"] for event in of(seen, "steps")) and time.monotonic() < end:
        time.sleep(0.01)
    jobs.stop(job)
    found = jobs.wait(job, 60)
    assert found["state"] == "stopped"
    assert found["words"].startswith("Stopped after ")
    assert "of 100,000 steps" in found["words"]
    run = relaunch.found(job).run
    assert run.interrupted
    assert 0 < len(run.steps) < 100_000
    assert len(of(seen, "compared")) == 1


def test_without_a_mark_the_error_tells_so_in_words(panel, model, log, jobs):
    job = Relaunch(panel, model, log, jobs).start(SHORT)
    found = jobs.wait(job)
    assert found["state"] == "failed"
    assert found["words"].startswith("A fine-tune needs at least one row with a mask")
    with pytest.raises(wb.RunError, match="give the view a feedback log"):
        Relaunch(panel, model, None, jobs).start(SHORT)


def test_what_was_trained_is_kept_or_forgotten(panel, model, marked, jobs, tmp_path):
    relaunch = Relaunch(panel, model, marked, jobs, folder=tmp_path / "runs")
    first = relaunch.start(SHORT)
    jobs.wait(first, 120)
    kept, run = relaunch.keep(first)
    assert kept is run.model is relaunch.model
    second = relaunch.start({**SHORT, "loss": "grey", "weights": "head"})
    jobs.wait(second, 120)
    assert relaunch.found(second).run.parent == run.id
    relaunch.discard(second)
    relaunch.discard(second)
    with pytest.raises(wb.RunError, match="nothing of this training"):
        relaunch.keep(second)
    with pytest.raises(wb.RunError, match="'fixed' or 'broken'"):
        relaunch.fixed(first, "all")
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_only_the_last_few_trainings_are_held(panel, model, marked, jobs):
    relaunch = Relaunch(panel, model, marked, jobs)
    numbers = [relaunch.start({"loss": "swap", "steps": 1}) for _ in range(6)]
    jobs.wait(numbers[-1], 120)
    assert list(relaunch._done) == numbers[-4:]


def test_a_workbench_holds_its_runs(panel, model, jobs, tmp_path):
    bench = wb.Workbench.open(tmp_path / "bench", author="ada")
    bench.panel = panel
    for key in panel.key.to_list():
        bench.feedback.mark(key, irrelevant=CORNER)
    relaunch = Relaunch(panel, model, None, jobs, bench=bench)
    job = relaunch.start(SHORT)
    assert jobs.wait(job, 120)["state"] == "done"
    assert [run.id for run in bench.runs.all()] == [relaunch.found(job).run.id]


def test_rows_that_the_model_has_seen_are_judged_by_all_the_same_and_that_is_told(panel, marked, jobs, seen):
    plain = toy(split=False)
    torch.manual_seed(0)
    start = wb.Classifier(Mlp((1, 6, 6), (8,), 2), CLASSES)
    all_seen = wb.fit(start, plain, steps=5, batch_size=40, progress=False).model
    job = Relaunch(plain, all_seen, marked, jobs).start(SHORT)
    found = jobs.wait(job, 120)
    assert (found["state"], len(of(seen, "compared"))) == ("done", 1)
    assert "its figures are flattered" in found["words"]


def test_rows_that_are_trained_on_are_not_judged_by(panel, model, marked, jobs):
    job = Relaunch(panel, model, marked, jobs, train=panel[:50], judged=panel[40:60]).start(SHORT)
    found = jobs.wait(job, 120)
    assert found["state"] == "failed"
    assert found["words"].startswith("A model must not be trained on the rows that it is judged by, and 10 of 20 rows")


def test_what_cannot_be_compared_can_still_be_kept(panel, model, marked, jobs, seen):
    unlabelled = wb.DataPanel({"image": wb.ImageColumn(np.zeros((2, 6, 6), np.uint8))}, origin="other")
    relaunch = Relaunch(panel, model, marked, jobs, judged=unlabelled)
    job = relaunch.start(SHORT)
    found = jobs.wait(job, 120)
    assert (found["state"], of(seen, "compared")) == ("done", [])
    assert "Before and after could not be compared: " in found["words"]
    assert relaunch.keep(job)[0] is not model


def generators():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002


def test_the_thread_of_the_notebook_keeps_its_generators_and_filters(panel, model, marked, jobs):
    before = generators()
    filters = list(warnings.filters)
    jobs.wait(Relaunch(panel, model, marked, jobs).start(SHORT), 120)
    assert generators() == before
    added = [entry for entry in warnings.filters if entry not in filters]
    assert [entry[2].__name__ for entry in added] in ([], ["_ToldOtherwise"])
    with pytest.raises(UnguardedWarning):
        warnings.warn("It is an error here.", UnguardedWarning, stacklevel=1)
    with told_otherwise():
        warnings.warn("It is told in the view.", UnguardedWarning, stacklevel=1)

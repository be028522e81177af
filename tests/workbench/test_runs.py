"""Runs: what went in and what came out, in memory and on disk, and done again to the last bit."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import workbench as wb
from workbench.errors import RunFileError
from workbench.feedback import Feedback
from workbench.record import DivergedError, InterruptedTrainingWarning, Training, TrainingSettings
from workbench.runs import DamagedRunWarning, Run, begin_run, open_runs
from workbench.runs import provenance as facts

PLAIN = TrainingSettings(steps=12, batch_size=32, lr=0.01)
SHORT = wb.recipe("digits").fine_tune


@pytest.fixture(scope="module")
def digits():
    return wb.datasets.decoy_digits(seed=0)


@pytest.fixture(scope="module")
def train(digits):
    return digits.where("split == 'train'")[:160]


@pytest.fixture(scope="module")
def model():
    return wb.Classifier(wb.recipe("digits").build(0), wb.datasets.DIGITS)


def fitted(model, panel, settings=PLAIN, **how):
    return wb.fit(model, panel, settings=settings, progress=False, **how)


def tuned(model, panel, feedback="swatch", settings=None, **how):
    settings = settings or replace(SHORT, steps=10, batch_size=32)
    return wb.finetune(model, panel, feedback, settings=settings, progress=False, **{"held_out": 0.2, **how})


def bits(classifier):
    return [value.numpy().tobytes() for value in classifier.module.state_dict().values()]


# What a run says


def test_a_run_says_all_that_its_training_says(model, train):
    run = tuned(model, train)
    for each in fields(Training):
        assert getattr(run, each.name) is not None or each.name == "loss"
        assert getattr(run, each.name) == getattr(run.training, each.name)
    assert run.selection == run.training.selection
    assert (run.status, run.path, run.parent) == ("done", None, None)
    assert len(run.steps) == 10
    assert run.checks


def test_a_record_holds_what_went_in_and_what_came_out(model, train, tmp_path):
    run = tuned(model, train, folder=tmp_path)
    record = json.loads((run.path / "run.json").read_text())
    assert record["packages"]["torch"] == torch.__version__
    assert record["code"] == facts.code_version()
    assert record["computer"]["threads"] == torch.get_num_threads()
    assert record["seed"] == run.settings.seed
    assert record["data"].keys() == {"image", "label", "used:irrelevant"}
    assert {version["by"] for version in record["data"].values()} == {"content"}
    assert record["rows"] | {"keys": ""} == {"panel": 160, "trained": 128, "held_out": 32, "keys": ""}
    assert sorted(run.keys("trained") + run.keys("held out")) == sorted(train.key.to_list())
    assert run.keys("all") == train.key.to_list()
    assert (record["status"], record["call"]["feedback"]) == ("done", {"value": "swatch"})
    assert record["before"] != record["after"]
    assert record["started"] < record["ended"]
    assert not list(tmp_path.rglob("*.pkl")) + list(tmp_path.rglob("*.pt"))


def test_what_is_opened_is_what_was_recorded(model, train, tmp_path):
    run = tuned(model, train, folder=tmp_path)
    opened = Run.open(run.path)
    for each in fields(Training):
        if each.name != "model":
            assert getattr(opened, each.name) == getattr(run, each.name), each.name
    assert bits(opened.model) == bits(run.model)
    assert bits(opened.start) == bits(model)
    assert (opened.selection, opened.status) == (run.selection, "done")
    assert opened.training.kept_step == run.kept_step
    assert repr(opened) == repr(run)
    assert [found.id for found in open_runs(tmp_path)] == [run.id]
    assert open_runs(tmp_path / "nowhere") == []


def test_a_run_in_memory_touches_no_disk_and_can_be_saved(model, train, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tuned(model, train)
    assert not list(tmp_path.iterdir())
    saved = run.save(tmp_path / "run")
    opened = Run.open(tmp_path / "run")
    assert bits(opened.model) == bits(run.model)
    assert opened.steps == run.steps
    assert saved.status == opened.status == "done"
    with pytest.raises(RunFileError, match="is there already"):
        run.save(tmp_path / "run")
    with pytest.raises(wb.RunError, match="is on disk already"):
        opened.save(tmp_path / "other")


def test_a_run_comes_from_a_run_and_nothing_else(model, train):
    with pytest.raises(wb.RunError, match=r"`parent` must be a run, or the id of one.*got '\.\./x'"):
        begin_run("fit", model, train, columns=["image"], settings=PLAIN, parent="../x")


def test_a_loss_with_tensors_comes_back_from_disk(model, train, tmp_path):
    loss = wb.losses.ExpectedGradientPrior(weight="auto", references=torch.zeros(3, 1, 28, 28))
    settings = TrainingSettings(steps=2, batch_size=16, lr=0.01, loss=loss)
    run = tuned(model, train, settings=settings, folder=tmp_path)
    opened = Run.open(run.path)
    assert opened.loss.weight == run.loss.weight
    assert opened.settings.loss.weight == "auto"
    assert torch.equal(opened.loss.references, loss.references)


def test_versions_of_data_are_of_content_however_it_lies(train, tmp_path):
    from workbench.runs.content import column_version

    train.save(tmp_path)
    reopened = wb.open(tmp_path)
    names = ["image", "label", "swatch"]
    before = {name: column_version(train[name]) for name in names}
    assert before == {name: column_version(reopened[name]) for name in names}
    assert before != {name: column_version(train[::-1][name]) for name in names}
    changed = reopened["image"].to_torch().clone()
    changed[7, 0, 3, 3] += 1
    assert column_version(wb.ImageColumn(changed.permute(0, 2, 3, 1).numpy())) != before["image"]
    made = train["image"].map(lambda batch: batch.float(), to="tensor", batched=True)
    assert column_version(made)["by"] == "nothing", "a lambda has no version, and is not run for the sake of one"
    assert column_version(wb.ObjectColumn([object()]))["by"] == "nothing"


def test_the_version_of_what_costs_is_told_without_computing_a_row(train, tmp_path):
    from workbench.runs.content import column_version

    def counted(batch):
        raise AssertionError("nobody asked for rows")

    assert column_version(train["image"].map(counted, to="tensor", batched=True))["by"] == "nothing"
    log = Feedback(tmp_path / "feedback.db", author="ada")
    keys, swatches = train.key.to_list(), train["swatch"].to_numpy()
    log.mark(keys[0], irrelevant=swatches[0])
    before = log.version
    first = column_version(log.column(train))
    assert first["by"] == "expression", "masks of a log are told by its version"
    log.mark(keys[1], irrelevant=swatches[1])
    assert column_version(log.column(train)) != first
    assert column_version(log.at(before).column(train)) == first
    assert column_version(log.at(before).column(train[::-1])) != first


def test_a_loss_that_no_file_holds_is_asked_for_again(model, train, tmp_path):
    loss = wb.losses.RightReasons(target=lambda logits: logits.sum(dim=1))
    settings = TrainingSettings(steps=2, batch_size=16, lr=0.01, loss=loss)
    run = tuned(model, train, settings=settings, folder=tmp_path)
    opened = Run.open(run.path)
    assert (opened.status, len(opened.steps)) == ("done", 2)
    with pytest.raises(RunFileError, match="what a file cannot"):
        opened.settings
    assert opened.replay(train, settings=settings).identical


# Lineage


def test_a_run_knows_the_run_that_its_model_came_from(model, train, tmp_path):
    first = fitted(model, train, folder=tmp_path)
    second = tuned(first.model, train, folder=tmp_path)
    third = tuned(Run.open(second.path).model, train, folder=tmp_path)
    assert [run.parent for run in open_runs(tmp_path)] == [None, first.id, second.id]
    assert third.record.parent["same"] is True
    weights = [first.path / "model" / "weights.safetensors", second.path / "start" / "weights.safetensors"]
    assert os.path.samefile(*weights), "a start that is a result is not written twice"
    shutil.rmtree(first.path)
    assert Run.open(second.path).replay(train).identical, "and does not need it any more"
    changed = third.model
    next(changed.module.parameters()).data += 1
    assert fitted(changed, train).record.parent == {"run": third.id, "same": False}


# Replay: three kinds of runs


def from_disk(run, *given, **named):
    return Run.open(run.path).replay(*given, **named)


def test_a_plain_fit_is_replayed_bit_for_bit(model, train, digits, tmp_path):
    run = fitted(model, train, folder=tmp_path)
    for again in (run.replay(), from_disk(run, train), from_disk(run, digits), from_disk(run, digits[::-1])):
        assert again.identical
        assert bits(again.training.model) == bits(run.model)
        assert again.training.steps == run.steps
    assert "identical weights" in repr(again)


def test_a_fine_tune_with_masks_is_replayed_bit_for_bit(model, train, digits, tmp_path):
    run = tuned(model, train, folder=tmp_path)
    assert any(step.penalty for step in run.steps)
    assert run.replay().identical
    assert from_disk(run, digits).identical


def test_a_fine_tune_of_part_of_the_weights_for_some_minutes_is_replayed_bit_for_bit(model, train, tmp_path):
    settings = replace(SHORT, batch_size=32, weights="last:2", accumulate=2, balance=0.5)
    run = tuned(model, train, settings=settings, minutes=0.005, folder=tmp_path)
    assert run.settings.steps == len(run.steps)
    assert run.replay().identical
    assert from_disk(run, train).identical


def test_a_fine_tune_with_a_log_is_replayed_with_the_log_as_it_was(model, train, digits, tmp_path):
    log = Feedback(tmp_path / "feedback.db", author="ada")
    swatches = train["swatch"].to_numpy()
    for row, key in enumerate(train.key.to_list()[:100]):
        log.mark(key, irrelevant=swatches[row])
    log.correct(train.key.to_list()[0], "three")
    run = tuned(model, train, log, folder=tmp_path / "runs")
    assert run.record.feedback["version"] == log.version
    assert run.record.data.keys() == {"image", "label", "used:label", "used:irrelevant"}
    log.mark(train.key.to_list()[1], irrelevant=~swatches[1])
    log.correct(train.key.to_list()[5], "nine")
    assert run.replay().identical
    assert from_disk(run, digits, log).identical
    with pytest.raises(wb.RunError, match=r"version 101 of '.*feedback.db'; give it"):
        from_disk(run, digits)
    other = Feedback(tmp_path / "other.db", author="ada")
    with pytest.raises(wb.RunError, match="this is another one"):
        from_disk(run, digits, other)
    with pytest.raises(wb.RunError, match="must be the log of feedback"):
        from_disk(run, digits, "swatch")


def test_masks_given_as_an_array_are_kept_with_the_run(model, train, tmp_path):
    masks = train["swatch"].to_numpy()
    run = tuned(model, train, masks, folder=tmp_path)
    assert (run.path / "given" / "feedback").is_dir()
    assert from_disk(run, train).identical
    same = tuned(model, train, train["swatch"], folder=tmp_path)
    assert same.record.call["feedback"] == {"column": "swatch"}
    assert from_disk(same, train).identical
    shutil.rmtree(run.path / "given")
    with pytest.raises(RunFileError, match="does not hold what was given as `feedback`"):
        from_disk(run, train)


def test_threads_are_set_as_they_were_and_put_back(model, train, tmp_path, monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run = fitted(model, train, replace(PLAIN, steps=2), folder=tmp_path)
    finally:
        torch.set_num_threads(before)
    seen = []

    def spying(*arguments, **named):
        seen.append(torch.get_num_threads())
        return wb.fit(*arguments, **named)

    monkeypatch.setattr(sys.modules["workbench.finetuning"], "fit", spying)
    assert from_disk(run, train).identical
    assert (seen, torch.get_num_threads()) == ([2], before)


def test_a_panel_of_validation_rows_is_taken_from_the_panel_that_holds_them(model, train, digits, tmp_path):
    held = train[:40][::-1]
    run = tuned(model, train[40:], validation=held, folder=tmp_path)
    assert from_disk(run, digits).identical
    assert from_disk(run, digits[::-1]).identical
    assert from_disk(run, train[40:], validation=held).identical
    with pytest.raises(wb.RunError, match=r"a panel of 40 rows as `validation`; give it again.*not in it"):
        from_disk(run, train[40:])
    with pytest.raises(wb.RunError, match="must be the panel of 40 rows"):
        from_disk(run, digits, validation=train[:39])


def test_validation_columns_that_changed_are_told(model, train, tmp_path):
    held, rest = train[:40], train[40:]
    run = tuned(model, rest, settings=replace(SHORT, steps=2), validation=held, source="source", folder=tmp_path)
    read = {"image", "label", "used:irrelevant"}
    assert run.record.data.keys() == read | {"source"} | {f"validation:{name}" for name in read}
    assert from_disk(run, train).identical
    changed = train.copy()
    pictures = train["image"].to_numpy().copy()
    pictures[3] = 0
    changed["image"] = wb.ImageColumn(pictures)
    with pytest.raises(wb.RunError, match="columns 'validation:image' changed"):
        from_disk(run, changed)
    with pytest.raises(wb.RunError, match="columns 'validation:image' changed"):
        from_disk(run, train, validation=changed[:40])


# What differs is told


def test_other_data_are_told_by_column_and_other_rows_by_key(model, train, digits, tmp_path):
    run = tuned(model, train, folder=tmp_path)
    changed = train.copy()
    changed["image"] = wb.ImageColumn(255 - train["image"].to_numpy())
    with pytest.raises(wb.RunError, match="columns 'image' changed"):
        from_disk(run, changed)
    with pytest.raises(wb.RunError, match="columns 'label' not there"):
        from_disk(run, train.drop("label"))
    with pytest.raises(wb.RunError, match=r"must hold the rows.*not in it: \['decoy-digits-0"):
        from_disk(run, train[:100])
    with pytest.raises(wb.RunError, match="give the panel"):
        from_disk(run)


def test_another_model_code_or_package_is_told(model, train, tmp_path):
    run = fitted(model, train, folder=tmp_path)
    other = wb.Classifier(wb.recipe("digits").build(1), wb.datasets.DIGITS)
    with pytest.raises(wb.RunError, match="must have the weights that run"):
        from_disk(run, train, model=other)
    file = run.path / "run.json"
    record = json.loads(file.read_text())
    record["code"]["digest"] = "0"
    record["packages"]["numpy"] = "1.0"
    record["computer"]["processor"] = "Z80"
    record["after"] = "0"
    file.write_text(json.dumps(record))
    again = from_disk(run, train)
    assert not again.identical
    assert again.differs[0].startswith("code (sources of ")
    assert again.differs[1] == f"package numpy (1.0 → {np.__version__})"
    assert again.differs[2].startswith("processor (Z80 → ")
    assert "other weights" in repr(again)
    assert "package numpy" in repr(again)


def test_where_nothing_recorded_differs_only_what_was_used_is_blamed(model, train, tmp_path):
    run = fitted(model, train, replace(PLAIN, steps=2), folder=tmp_path)
    file = run.path / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "after": "0"}))
    again = from_disk(run, train)
    assert again.differs == ()
    assert repr(again).endswith(
        "What differs: nothing that is recorded; a function that draws numbers of its own, or remembers what it was "
        "called with, is not."
    )
    halved = replace(again.training, settings=replace(PLAIN, autocast="bfloat16", compile=True))
    told = repr(replace(again, training=halved))
    assert "; bfloat16 precision and a compiled pass may give other bits each time." in told
    assert "device" not in told


def test_arguments_that_a_run_was_not_given_are_told(model, train):
    run = fitted(model, train)
    with pytest.raises(wb.RunError, match="was called without 'held_out'; it was called with: label"):
        run.replay(held_out=0.5)
    with pytest.raises(wb.RunError, match="was not given feedback"):
        run.replay(feedback="swatch")


# Ends


class StopAt:
    """A person who presses Ctrl-C."""

    def __init__(self, step):
        self.step = step

    def began(self, settings, loss):
        pass

    def stepped(self, step):
        if step.number == self.step:
            raise KeyboardInterrupt

    def checked(self, check):
        pass

    def kept(self, step, state):
        pass


@pytest.mark.parametrize("kind", ["fit", "finetune"])
def test_a_run_that_was_interrupted_keeps_the_best_so_far_and_is_replayed_to_there(kind, model, train, tmp_path):
    begin = fitted if kind == "fit" else tuned
    with pytest.warns(InterruptedTrainingWarning):
        run = begin(model, train, folder=tmp_path, watch=StopAt(7))
    opened = Run.open(run.path)
    assert (opened.status, len(opened.steps)) == ("interrupted", 7)
    assert 0 < opened.kept_step <= 7
    assert bits(opened.model) == bits(run.model)
    assert opened.replay(train).identical


def test_a_run_that_was_interrupted_before_its_first_step_is_compared_with_its_start(train, tmp_path):
    calls = []

    def leaving(batch):
        calls.append(len(batch))
        if len(calls) == 1:
            raise KeyboardInterrupt
        return batch.float()

    model = wb.Classifier(wb.recipe("digits").build(0), wb.datasets.DIGITS, preprocess=leaving)
    with pytest.warns(InterruptedTrainingWarning, match="after 0 of 12"):
        run = fitted(model, train, folder=tmp_path)
    assert (run.status, run.kept_step, run.steps) == ("interrupted", 0, ())
    again = run.replay()
    assert again.identical
    assert (len(calls), again.training.steps, again.training.interrupted) == (1, (), True)
    assert Run.open(run.path, preprocess=leaving).replay(train).identical


def test_a_run_that_diverged_says_so_and_keeps_what_was_trained(model, train, tmp_path):
    settings = TrainingSettings(steps=30, batch_size=32, lr=1e12)
    with pytest.raises(DivergedError):
        fitted(model, train, settings, folder=tmp_path)
    (run,) = open_runs(tmp_path)
    assert run.status == "failed"
    assert run.record.error.startswith("DivergedError: The loss and its gradient must be finite")
    assert len(run.steps) >= 1
    assert bits(run.model)
    assert run.replay(train).identical


def test_a_run_that_failed_before_it_trained_says_so(model, train, tmp_path):
    with pytest.raises(ZeroDivisionError), begin_run(
        "fit", model, train, columns=["image"], settings=PLAIN, folder=tmp_path
    ):  # fmt: skip
        1 / 0
    (run,) = open_runs(tmp_path)
    assert (run.status, run.record.error) == ("failed", "ZeroDivisionError: division by zero")
    with pytest.raises(RunFileError, match="is failed, and no state was kept yet"):
        run.model
    with pytest.raises(wb.RunError, match="kept no state"):
        run.replay(train)
    assert bits(run.start) == bits(model)


def test_a_run_that_is_going_on_can_be_read_and_is_told_from_one_that_was_left(model, train, tmp_path):
    seen = []

    class Reader(StopAt):
        def stepped(self, step):
            (run,) = open_runs(tmp_path)
            seen.append((run.status, len(run.steps), run.selection))
            time.sleep(0.03)

    fitted(model, train, folder=tmp_path, watch=Reader(0))
    assert {status for status, _, _ in seen} == {"running"}
    assert [steps for _, steps, _ in seen] == sorted(steps for _, steps, _ in seen)
    assert seen[-1][1] >= 6, "figures are there a moment after"
    assert seen[0][2] == "not chosen yet"
    (run,) = open_runs(tmp_path)
    file = run.path / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "status": "running", "after": "", "outcome": {}}))
    left = Run.open(run.path)
    assert (left.status, left.interrupted) == ("interrupted", True)
    assert (left.guarded, left.training.guarded) == (None, False), "nobody knows"
    assert left.selection == "best state so far, after 12 steps"
    assert left.replay(train).identical


class Printing(torch.nn.Module):
    """Prints a number that it learned."""

    def __init__(self, width=28 * 28):
        super().__init__()
        self.arguments = {"width": width}
        self.head = torch.nn.Linear(width, 10)
        self.scale = torch.nn.Parameter(torch.ones(()))

    def extra_repr(self):
        return f"scale={self.scale.item():.6f}"

    def forward(self, inputs):
        return self.scale * self.head(inputs.flatten(1))


def test_a_module_that_prints_what_it_learned_is_recorded_to_the_end(train, tmp_path):
    printing = wb.Classifier(Printing(), wb.datasets.DIGITS, factory=Printing, arguments={})
    run = fitted(printing, train, folder=tmp_path)
    assert run.model.module.scale != 1
    opened = Run.open(run.path, trust=[__name__])
    assert bits(opened.model) == bits(run.model)
    again = fitted(opened.model, train, folder=tmp_path)
    assert bits(Run.open(again.path, trust=[__name__]).model) == bits(again.model)
    assert Run.open(again.path, trust=[__name__]).replay(train).identical


def full(*paths):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_training_that_cannot_be_written_at_its_end_is_not_lost(model, train, tmp_path, monkeypatch):
    settings = replace(PLAIN, steps=4)

    def finish():
        with begin_run("fit", model, train, columns=["image"], settings=settings, folder=tmp_path) as recording:
            told.append(fitted(model, train, settings, watch=recording.watch).training)
            with monkeypatch.context() as disk:
                disk.setattr(os, "replace", full)
                recording.finish(told[0])

    told = []
    with pytest.raises(OSError, match="No space left") as caught:
        finish()
    (training,) = told
    assert caught.value.training is training
    assert any("its training is in `error.training`" in note for note in caught.value.__notes__)
    (run,) = open_runs(tmp_path)
    assert (run.status, run.record.error) == ("failed", "OSError: [Errno 28] No space left on device")
    assert bits(run.model) == bits(training.model), "the last state that was kept"
    assert (run.record.after, run.guarded) == ("", None)
    assert run.replay(train).identical


def test_what_went_wrong_first_is_told_also_where_nothing_can_be_written(model, train, tmp_path, monkeypatch):
    def fail():
        with begin_run("fit", model, train, columns=["image"], settings=PLAIN, folder=tmp_path):
            monkeypatch.setattr(os, "replace", full)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        fail()
    assert "Nor could it be written" in caught.value.__notes__[0]
    (run,) = open_runs(tmp_path)
    assert run.status == "interrupted"


def test_figures_cost_less_than_a_hundredth_of_a_step(model, train, tmp_path):
    with begin_run("fit", model, train, columns=["image"], settings=PLAIN, folder=tmp_path) as recording:
        step = wb.fit(model, train[:32], steps=1, progress=False).steps[0]
        begun = time.process_time()
        for _ in range(2000):
            recording.stepped(step)
        seconds = (time.process_time() - begun) / 2000
        recording.finish(wb.fit(model, train[:32], steps=1, progress=False).training)
    assert seconds < 0.01 * 0.005


# Files of others


def test_damaged_and_tampered_files_are_refused_in_words_and_left_out_of_lists(model, train, tmp_path):
    run = tuned(model, train, folder=tmp_path)
    whole = {path.relative_to(run.path): path.read_bytes() for path in run.path.rglob("*") if path.is_file()}

    def broken(name, content, words, look):
        file = run.path / name
        file.write_bytes(content)
        with pytest.raises(RunFileError, match=words):
            look(Run.open(run.path))
        file.write_bytes(whole[Path(name)])

    record = json.loads(whole[Path("run.json")])

    def with_(**changes):
        return json.dumps({**record, **changes}).encode()

    broken("run.json", whole[Path("run.json")][:-40], "run.json' is damaged", repr)
    broken("run.json", b"", "run.json' is damaged", repr)
    broken("run.json", with_(format=7), "has format 7; this version of the library reads 1 to 1. Upgrade", repr)
    broken("run.json", with_(status="fine"), "'status' must be one of running, done", repr)
    broken("run.json", with_(kind="rm"), "'kind' must be one of fit, finetune", repr)
    broken("run.json", with_(id="../../etc"), "'id' must be letters, digits and '-'", repr)
    broken("run.json", with_(data={"image": 3}), "the version of column 'image'", repr)
    broken("run.json", with_(seed="x"), "'seed' must be of type int; got 'x'", repr)
    broken("run.json", with_(rows={}), "'rows.panel' must be of type int; got nothing", repr)
    broken("run.json", with_(rows={**record["rows"], "keys": 3}), "'rows.keys' must be of type str; got 3", repr)
    broken("run.json", with_(rows={**record["rows"], "keys": ""}), "its rows are not those", lambda run: run.keys())
    computer = record["computer"]
    broken("run.json", with_(computer={**computer, "device": "nonsense"}), "must be a device of torch; got 'non", repr)
    broken("run.json", with_(computer={}), "'computer.device' must be of type str; got nothing", repr)
    broken("run.json", with_(started="x"), "'started' must be a time in UTC as in '20.*'; got 'x'", repr)
    broken("run.json", with_(ended="2026-01-01"), "'ended' must be a time in UTC", repr)
    broken("run.json", with_(outcome={"seconds": "1"}), "'outcome.seconds' must be of type float; got '1'", repr)
    broken("run.json", with_(outcome={"guarded": 1}), "'outcome.guarded' must be of type bool; got 1", repr)
    broken("run.json", with_(parent={"run": "../../x", "same": True}), "'parent.run' must be letters", repr)
    broken("run.json", with_(data={"image": {"by": "rm", "digest": ""}}), "the version of column 'image'", repr)
    evil = {"class": "subprocess:Popen", "fields": {"args": "true"}}
    broken("run.json", with_(settings=evil), "is none of them", lambda run: run.settings)
    broken("run.json", with_(settings=3), "its settings are int", lambda run: run.settings)
    broken("run.json", with_(loss="x"), "its loss is str", lambda run: run.loss)
    outside = {"../../../elsewhere": {"given": ""}}
    broken("run.json", with_(call=outside), "every file must lie inside", lambda run: run.replay(train))
    lines = whole[Path("figures.jsonl")]
    broken("figures.jsonl", b"{]\n" + lines, "Line 1 of .*figures.jsonl' is damaged", lambda run: run.steps)
    broken("figures.jsonl", lines + b'{"step": {"speed": 1}}\n', "Line .* is damaged", lambda run: run.steps)
    text = lines.replace(b'"number": 1,', b'"number": "1",')
    broken("figures.jsonl", text, r"Line 1 of .* is damaged: 'number' must be of type int; got '1'", lambda r: r.steps)
    truth = lines.replace(b'"number": 1,', b'"number": true,')
    broken("figures.jsonl", truth, "'number' must be of type int; got True", lambda run: run.steps)
    broken("rows.arrow", b"ARROW1", "rows.arrow' is missing or damaged", lambda run: run.keys())
    broken("model/weights.safetensors", b"", "weights.safetensors' is damaged", lambda run: run.model)
    broken("start/classifier.json", b"{}", "'format' must be of type int; got nothing", lambda run: run.start)
    assert Run.open(run.path).replay(train).identical

    (run.path / "figures.jsonl").write_bytes(lines + b'{"step": {"num')
    assert Run.open(run.path).steps == run.steps, "a last line that was cut off is left out"
    other = tmp_path / "zzz"
    shutil.copytree(run.path, other)
    (other / "run.json").write_text("{")
    (tmp_path / "just-begun").mkdir()
    with pytest.warns(DamagedRunWarning, match="zzz/run.json' is damaged"):
        assert [found.id for found in open_runs(tmp_path)] == [run.id]
    shutil.rmtree(other)
    (run.path / "figures.jsonl").write_bytes(b"{]\n")
    assert len(open_runs(tmp_path)) == 1
    with pytest.warns(DamagedRunWarning, match="Line 1 of"):
        assert open_runs(tmp_path, figures=True) == []
    with pytest.raises(RunFileError, match="there is no such directory"):
        Run.open(tmp_path / "nowhere")
    with pytest.raises(RunFileError, match=r"holds no 'run.json'"):
        Run.open(tmp_path / "just-begun")


def test_links_out_of_a_run_are_not_followed(model, train, tmp_path):
    run = fitted(model, train, folder=tmp_path / "runs")
    looks = {
        "run.json": repr,
        "figures.jsonl": lambda run: run.steps,
        "rows.arrow": Run.keys,
        "model": lambda run: run.model,
        "start": lambda run: run.start,
    }
    for name, look in looks.items():
        place = run.path / name
        shutil.move(place, tmp_path / "elsewhere")
        place.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(RunFileError, match="cannot be trusted"):
            look(Run.open(run.path))
        place.unlink()
        shutil.move(tmp_path / "elsewhere", place)


def test_runs_import_nothing_heavy_that_the_library_has_not():
    script = """if True:
        import sys, workbench
        before = set(sys.modules)
        import workbench.runs
        heavy = {"safetensors", "filelock", "sklearn", "scipy", "peft", "captum"}
        print(sorted(heavy & (set(sys.modules) - before)))
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(wb.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

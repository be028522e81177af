"""Runs: what went in and what came out, in memory and on disk, and done again to the last bit."""

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
from workbench.schedule import hold_out

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


def trained(made):
    """A training, also where it comes with a record of its own."""
    return getattr(made, "training", made)


def fitted(model, panel, settings=PLAIN, **how):
    """Fit, recorded: what the library does for a user."""
    with begin_run(
        "fit", model, panel, columns=["image", "label"], settings=settings, call={"label": "label"}, **how
    ) as recording:
        return recording.finish(trained(wb.fit(model, panel, settings=settings, progress=False, watch=recording.watch)))


def tuned(model, panel, feedback="swatch", settings=None, folder=None, watch=None, columns=None, **call):
    """Fine-tune, recorded."""
    settings = settings or replace(SHORT, steps=10, batch_size=32)
    call = {"label": "label", "source": None, "held_out": 0.2, **call}
    kept, held = hold_out(np.arange(len(panel)), call["held_out"], settings.seed)
    with begin_run(
        "finetune",
        model,
        panel,
        columns=columns or ["image", "label", "swatch"],
        feedback=feedback,
        rows=kept,
        validation=held,
        settings=settings,
        call=call,
        folder=folder,
        watch=watch,
    ) as recording:
        return recording.finish(
            trained(
                wb.finetune(model, panel, feedback, settings=settings, progress=False, watch=recording.watch, **call)
            )
        )


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
    assert record["data"].keys() == {"image", "label", "swatch"}
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
    assert column_version(made)["by"] == "content", "a lambda has no version but what it gives"
    assert column_version(wb.ObjectColumn([object()]))["by"] == "nothing"


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
    call = {"label": "label", "held_out": 0.2}
    kept, held = hold_out(np.arange(len(train)), 0.2, 0)
    with begin_run(
        "finetune", model, train, columns=["image", "label", "swatch"], feedback="swatch", rows=kept, validation=held,
        settings=settings, call=call, folder=tmp_path,
    ) as recording:  # fmt: skip
        made = wb.finetune(
            model, train, "swatch", settings=settings, minutes=0.005, progress=False, watch=recording, **call
        )
        run = recording.finish(trained(made))
    assert run.settings.steps == len(run.steps)
    assert run.replay().identical
    assert from_disk(run, train).identical


def test_a_fine_tune_with_a_log_is_replayed_with_the_log_as_it_was(model, train, digits, tmp_path):
    log = Feedback(tmp_path / "feedback.db", author="ada")
    swatches = train["swatch"].to_numpy()
    for row, key in enumerate(train.key.to_list()[:100]):
        log.mark(key, irrelevant=swatches[row])
    log.correct(train.key.to_list()[0], "three")
    run = tuned(model, train, log, folder=tmp_path / "runs", columns=["image"])
    assert run.record.feedback["version"] == log.version
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
    run = tuned(model, train, masks, folder=tmp_path, columns=["image", "label"])
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

    monkeypatch.setattr(sys.modules["workbench.finetune"], "fit", spying)
    assert from_disk(run, train).identical
    assert (seen, torch.get_num_threads()) == ([2], before)


# What differs is told


def test_other_data_are_told_by_column_and_other_rows_by_key(model, train, digits, tmp_path):
    run = tuned(model, train, folder=tmp_path)
    changed = train.copy()
    changed["image"] = wb.ImageColumn(255 - train["image"].to_numpy())
    with pytest.raises(wb.RunError, match="columns 'image' changed"):
        from_disk(run, changed)
    with pytest.raises(wb.RunError, match="columns 'swatch' not there"):
        from_disk(run, train.drop("swatch"))
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
    assert left.selection == "best state so far, after 12 steps"
    assert left.replay(train).identical


def test_figures_cost_less_than_a_hundredth_of_a_step(model, train, tmp_path):
    with begin_run("fit", model, train, columns=["image"], settings=PLAIN, folder=tmp_path) as recording:
        step = wb.fit(model, train[:32], steps=1, progress=False).steps[0]
        begun = time.process_time()
        for _ in range(2000):
            recording.stepped(step)
        seconds = (time.process_time() - begun) / 2000
        recording.finish(trained(wb.fit(model, train[:32], steps=1, progress=False)))
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
    evil = {"class": "subprocess:Popen", "fields": {"args": "true"}}
    broken("run.json", with_(settings=evil), "is none of them", lambda run: run.settings)
    broken("run.json", with_(settings=3), "its settings are int", lambda run: run.settings)
    broken("run.json", with_(loss="x"), "its loss is str", lambda run: run.loss)
    outside = {"../../../elsewhere": {"given": ""}}
    broken("run.json", with_(call=outside), "every file must lie inside", lambda run: run.replay(train))
    lines = whole[Path("figures.jsonl")]
    broken("figures.jsonl", b"{]\n" + lines, "Line 1 of .*figures.jsonl' is damaged", lambda run: run.steps)
    broken("figures.jsonl", lines + b'{"step": {"speed": 1}}\n', "Line .* is damaged", lambda run: run.steps)
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

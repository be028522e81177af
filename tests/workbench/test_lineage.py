"""What a model has seen: rows of its run and of those it came from, however the model was kept."""

import gc
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.errors import RunFileError
from workbench.runs.lineage import maker_of, seen_by
from workbench.runs.run import Run, open_runs

CLASSES = ("low", "high")


@pytest.fixture(scope="module")
def panel():
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    labels = wb.ScalarColumn((x[:, 0] > 0).astype(np.int64), classes=CLASSES)
    masks = np.eye(3, dtype=bool)[np.arange(60) % 3]
    return wb.DataPanel({"x": wb.TensorColumn(x), "label": labels, "mark": masks}, origin="t")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return wb.Classifier(nn.Linear(3, 2), CLASSES, on="x")


def fitted(model, panel, **how):
    return wb.fit(model, panel, steps=2, batch_size=4, progress=False, **how)


def keys(*spans):
    return {f"t/{row}" for first, last in spans for row in range(first, last)}


def two_runs(model, panel, folder=None):
    """A run, and one that went on from it, which held out rows of its own."""
    first = fitted(model, panel[:10], folder=folder)
    second = wb.finetune(first.model, panel[20:30], "mark", validation=panel[40:45], steps=2, batch_size=4,
                         progress=False, folder=folder)  # fmt: skip
    return first, second


def test_a_model_has_seen_what_it_and_its_parents_were_trained_and_chosen_on(model, panel):
    first, second = two_runs(model, panel)
    assert seen_by(model) == set()
    assert seen_by(first) == seen_by(first.model) == seen_by(first.model.copy()) == keys((0, 10))
    assert seen_by(second) == seen_by(second.model) == seen_by(second.training) == keys((0, 10), (20, 30), (40, 45))


def test_rows_of_the_same_panel_that_were_held_out_count_as_well(model, panel):
    run = wb.finetune(model, panel[:30], "mark", held_out=0.2, steps=2, batch_size=4, progress=False)
    assert len(run.keys("held out")) == 6
    assert seen_by(run.model) == keys((0, 30))


def test_models_alone_still_know_when_their_runs_are_gone(model, panel):
    models = [run.model for run in two_runs(model, panel)]
    gc.collect()
    assert [len(seen_by(each)) for each in models] == [10, 25]
    torch.nn.init.zeros_(models[1].module.weight)
    assert len(seen_by(models[1])) == 25, "weights that are changed do not forget"


def test_the_same_is_known_of_runs_and_models_that_another_process_opens(model, panel, tmp_path):
    second = two_runs(model, panel, tmp_path / "runs")[1]
    second.model.save(tmp_path / "saved")
    second.model.copy().save(tmp_path / "copied")
    code = """
import sys
from pathlib import Path
import workbench as wb
from workbench.runs.lineage import seen_by
from workbench.runs.run import Run, open_runs
root, runs = Path(sys.argv[1]), Path(sys.argv[1]) / "runs"
first, second = open_runs(runs)
open = wb.Classifier.open
saved = [open(root / name) for name in ("saved", "copied")]
print([len(seen_by(x, known)) for x in saved for known in (runs, str(runs), {r.id: r for r in (first, second)}, {})])
print([len(seen_by(x)) for x in (first, second, first.model, second.model, second.start, open(second.path / "model"))])
print([len(seen_by(x)) for x in saved])
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False,
                          cwd=Path(wb.__file__).parents[1])  # fmt: skip
    said = done.stdout.splitlines()
    # Where nobody tells of runs, a model that was saved elsewhere knows no more than the name of its run.
    assert done.returncode == 0, done.stderr
    assert said[0] == "[25, 25, 25, 0, 25, 25, 25, 0]"
    assert said[1] == "[10, 25, 10, 25, 10, 25]"
    assert said[2] == "[25, 25]", "until somebody has opened that run"


def test_a_model_that_was_saved_and_opened_goes_on_as_a_child_of_its_run(model, panel, tmp_path):
    first = fitted(model, panel[:10], folder=tmp_path / "runs")
    first.model.save(tmp_path / "saved")
    opened = wb.Classifier.open(tmp_path / "saved")
    assert (maker_of(opened).run, maker_of(opened).weights) == (first.id, first.record.after)
    child = fitted(opened, panel[20:30], folder=tmp_path / "runs")
    assert child.record.parent == {"run": first.id, "same": True}
    assert seen_by(child) == keys((0, 10), (20, 30))
    assert seen_by(Run.open(child.path)) == keys((0, 10), (20, 30))


def test_runs_under_other_names_are_found_and_those_that_are_gone_are_not_known(model, panel, tmp_path):
    first, second = two_runs(model, panel, tmp_path)
    first.path.rename(tmp_path / "the first one")
    damaged = tmp_path / "a damaged one"
    damaged.mkdir()
    (damaged / "run.json").write_text("{")
    opened = Run.open(second.path)
    first_id = first.id
    del first, second
    gc.collect()
    assert seen_by(opened) == keys((0, 10), (20, 30), (40, 45))
    shutil.rmtree(tmp_path / "the first one")
    assert seen_by(opened) == keys((20, 30), (40, 45))
    assert opened.parent == first_id


def test_a_run_whose_rows_cannot_be_read_is_told(model, panel, tmp_path):
    first, _ = two_runs(model, panel, tmp_path)
    (first.path / "rows.arrow").write_bytes(b"")
    with pytest.raises(RunFileError, match=r"rows\.arrow' is missing or damaged"):
        seen_by(open_runs(tmp_path)[0])


def test_a_file_that_names_no_run_is_refused(model, panel, tmp_path):
    fitted(model, panel[:10]).model.save(tmp_path)
    told = json.loads((tmp_path / "classifier.json").read_text())
    for run in ("../../elsewhere", ""):
        (tmp_path / "classifier.json").write_text(json.dumps(told | {"maker": {"run": run, "weights": ""}}))
        with pytest.raises(RunFileError, match="'run' must be letters, digits"):
            wb.Classifier.open(tmp_path)
    told.pop("maker")
    (tmp_path / "classifier.json").write_text(json.dumps(told))
    assert maker_of(wb.Classifier.open(tmp_path)) is None, "as it was written before"


def test_a_parent_that_somebody_names_is_believed(model, panel, tmp_path):
    from workbench.record import TrainingSettings
    from workbench.runs import begin_run
    from workbench.training import train

    first = fitted(model, panel[:10], folder=tmp_path)
    settings = TrainingSettings(steps=1, batch_size=4, lr=0.1)
    x, y = panel[20:30]["x"].to_torch(), panel[20:30]["label"].to_torch()
    for parent in (first, first.id):
        with begin_run("fit", model, panel[20:30], columns=["x", "label"], settings=settings, parent=parent) as begun:
            run = begun.finish(train(model, lambda rows: (x[rows], y[rows], None), 10, settings, progress=False))
        assert seen_by(run) == keys((0, 10), (20, 30))

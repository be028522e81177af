"""The workbench as a directory: what is put there is there again, for another process, and after a crash."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import workbench as wb
from workbench.directory import Workbench
from workbench.errors import NotHereError, RunFileError
from workbench.nets import Mlp
from workbench.shelf import Models

CLASSES = ("low", "high")


def toy(rows=160, seed=0):
    """Pictures whose mean tells the label; a corner pixel does so as well, in the rows to train on."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, rows)
    images = random.integers(0, 120, (rows, 6, 6), np.uint8)
    images[:, 2:4, 2:4] += (labels * 60)[:, None, None].astype(np.uint8)
    split = np.where(np.arange(rows) < rows * 3 // 4, "train", "test")
    shown = np.where(split == "train", labels, random.integers(0, 2, rows))
    images[:, 0, 0] = shown * 255
    corner = np.zeros((rows, 6, 6), bool)
    corner[:, 0, 0] = True
    columns = {
        "image": wb.ImageColumn(images),
        "label": wb.ScalarColumn(labels, classes=CLASSES),
        "split": split.tolist(),
        "corner": corner,
    }
    return wb.DataPanel(columns, origin="toy")


def net(seed=0):
    torch.manual_seed(seed)
    return wb.Classifier(Mlp((1, 6, 6), (8,), 2), CLASSES)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A workbench in which the whole loop has run once."""
    found = Workbench.open(tmp_path_factory.mktemp("with spaces ü") / "bench", author="ada")
    found.panel = toy()
    found.models["start"] = net()
    found.fit("start", "split == 'train'", name="fooled", steps=30, batch_size=32, progress=False)
    for key in found.panel.head(120).key.to_list():
        found.feedback.mark(key, irrelevant=np.arange(36).reshape(6, 6) == 0)
    found.finetune("fooled", "split == 'train'", name="obeys", steps=20, batch_size=32, progress=False)
    return found


def test_what_was_put_there_is_there_when_it_is_opened_again(bench):
    again = Workbench.open(bench.path)
    assert again.panel.key.to_list() == toy().key.to_list()
    assert again.feedback.version == 120
    assert [(run.name, run.status) for run in again.runs.all()] == [("fooled", "done"), ("obeys", "done")]
    assert torch.equal(again.models["start"].module.head.weight, net().module.head.weight)
    last = again.runs[-1]
    assert torch.equal(last.model.module.head.weight, bench.runs["obeys"].model.module.head.weight)
    assert last.parent == again.runs["fooled"].id


def test_the_status_tells_everything_in_figures(bench):
    status = bench.status()
    assert (status.rows, status.version, status.rows_marked) == (160, 1, 120)
    assert (status.models, dict(status.runs), dict(status.feedback)) == (("start",), {"done": 2}, {"rationale": 120})
    assert re.match(r"panel     160 rows: image, label, split, corner \(version 1\)\n", str(status))
    assert "obeys" in repr(bench)


def test_runs_are_found_by_name_id_and_place_and_told_as_a_table(bench):
    assert bench.runs["fooled"].id == bench.runs[0].id == bench.runs[bench.runs[0].id].id
    assert list(bench.runs) == [run.id for run in bench.runs.all()]
    assert bench.runs.to_pandas()["kind"].tolist() == ["fit", "finetune"]
    with pytest.raises(NotHereError, match="did you mean 'fooled'"):
        bench.runs["foold"]
    with pytest.raises(NotHereError, match="Nothing here is called 'nobody'"):
        bench.fit("nobody")
    with pytest.raises(IndexError, match="there are 2 runs; got 2"):
        bench.runs[2]


def test_models_are_compared_on_rows_that_none_was_trained_on(bench):
    unseen = bench.unseen("fooled", "obeys")
    assert unseen.key.to_list() == toy().where("split == 'test'").key.to_list()
    told = bench.compare("fooled", "obeys", irrelevant="corner")
    assert told.before.rows == 40
    bench.models["kept"] = bench.runs["obeys"].model
    assert bench.unseen("kept", bench.runs["fooled"].model).key.to_list() == unseen.key.to_list()
    whole = bench.fit("start", steps=1, batch_size=8, progress=False)
    with pytest.raises(wb.PanelError, match="there are none in the panel"):
        bench.compare("fooled", whole)


def test_copies_of_what_was_trained_on_are_not_judged_by(tmp_path):
    """Each picture is there twice; a model that has seen one of the two is not judged on the other."""
    found = Workbench.open(tmp_path / "bench", author="ada")
    panel = toy()
    panel["of"] = [f"picture {row // 2}" for row in range(160)]
    panel["half"] = ["train" if row < 100 and row % 2 == 0 else "test" for row in range(160)]
    found.panel = panel
    brief = {"steps": 2, "batch_size": 32, "progress": False}
    fooled = found.fit(net(), "half == 'train'", name="fooled", **brief)
    assert len(found.compare("fooled", "fooled").panel) == 110, "nobody has said that there are copies"
    assert len(found.compare("fooled", "fooled", source="of").panel) == 60
    obeys = found.finetune(fooled, "half == 'train'", irrelevant="corner", source="of", name="obeys", **brief)
    assert found.unseen("fooled", "obeys").key.to_list() == panel[100:].key.to_list()
    with pytest.raises(wb.errors.OverlapError, match="50 of these 110 share their 'of' with rows that one was trained"):
        found.compare(fooled, obeys, "half == 'test'")
    assert len(found.compare(fooled, obeys, "half == 'test'", seen_rows_too=True).panel) == 110


@pytest.mark.parametrize("name", ["fooled", "obeys"])
def test_a_run_is_done_again_with_identical_weights(bench, name):
    again = Workbench.open(bench.path).replay(name)
    assert again.identical, again


def test_a_run_is_done_again_though_panel_and_feedback_went_on(tmp_path, bench):
    shutil.copytree(bench.path, tmp_path / "copy")
    moved = Workbench.open(tmp_path / "copy")
    changed = moved.panel
    changed["label"] = wb.ScalarColumn(["low"] * 160, classes=CLASSES)
    moved.panel = changed
    moved.feedback.mark("toy/3", irrelevant=np.ones((6, 6), bool))
    assert moved.status().version == 2
    assert moved.replay("obeys").identical


def test_the_commands_tell_what_there_is(bench, command):
    place = str(bench.path)
    assert "120 × rationale; 120 rows marked" in command("status", place).out
    assert "obeys" in command("runs", place).out
    page = bench.path.parent / "page.html"
    told = command("compare", place, "fooled", "obeys", "--rows", "split == 'test'", "--report", str(page))
    assert "accuracy" in told.out, told.err
    assert page.read_text().startswith("<!doctype html>")
    assert "identical weights" in command("replay", place, "fooled").out
    lost = command("status", str(bench.path.parent), ends=2)
    assert lost.out == ""
    assert "There is no workbench" in lost.err
    assert "Traceback" not in lost.err


OWN_NET = """
import torch


class Own(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.arguments = {"width": width}
        self.first, self.head = torch.nn.Linear(36, width), torch.nn.Linear(width, 2)

    def forward(self, inputs):
        return self.head(self.first(inputs.flatten(1)).relu())
"""


def test_commands_open_networks_of_a_package_that_is_trusted_and_say_how(tmp_path, monkeypatch):
    (tmp_path / "own_net.py").write_text(OWN_NET)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])]))
    from own_net import Own

    found = Workbench.open(tmp_path / "bench")
    found.panel = toy()
    found.fit(wb.Classifier(Own(5), CLASSES), "split == 'train'", name="own", steps=2, progress=False)

    def run(*words):
        command = [sys.executable, "-m", "workbench.cli", "replay", str(found.path), "own", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert "trust=['own_net']" in run().stderr
    assert "identical weights" in run("--trust", "own_net").stdout


def test_a_page_that_cannot_be_written_is_told_before_anything_is_computed(bench, monkeypatch):
    from typer.testing import CliRunner

    from workbench.cli import app

    place, words = str(bench.path), ["fooled", "obeys", "--report"]
    monkeypatch.setattr(Workbench, "compare", None)
    for page, told in ((bench.path, "is a directory"), (bench.path / "no" / "page.html", "There is no directory")):
        failed = CliRunner().invoke(app, ["compare", place, *words, str(page)])
        assert isinstance(failed.exception, wb.DataError)
        assert told in str(failed.exception)
    told = CliRunner().invoke(app, ["--help"]).stdout
    assert "Look at a model's data and reasons" in told


def test_what_two_things_are_called_must_be_said_otherwise(bench):
    bench.models["fooled"] = net()
    with pytest.raises(NotHereError, match="is a model and a run"):
        bench.compare("fooled", "obeys")
    del bench.models["fooled"]


def test_marks_of_the_judged_rows_are_taken_where_no_masks_are_given(bench):
    seen = bench.compare("fooled", "obeys", "split == 'train'", seen_rows_too=True)
    assert seen.before.masked_rows == 120
    assert bench.compare("fooled", "obeys").before.mass_on_mask is None


def test_a_panel_that_was_changed_is_kept_only_when_it_is_assigned(bench):
    bench.panel["new"] = np.zeros(160)
    assert "new" not in bench.panel


def test_what_a_kill_leaves_behind_does_not_stand_in_the_way(tmp_path):
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / ".draft-abc").write_text("{")
    found = Workbench.open(tmp_path / "bench")
    (found.path / "panel").mkdir()  # killed in the first save
    assert found.status().rows is None
    found.panel = toy()
    assert found.status().rows == 160


def test_one_damaged_run_is_left_out_of_the_table(tmp_path, bench):
    shutil.copytree(bench.path, tmp_path / "copy")
    found = Workbench.open(tmp_path / "copy")
    (found.runs["fooled"].path / "run.json").write_text("{")
    with pytest.warns(UserWarning, match="A run is left out"):
        assert "fooled" not in found.runs.to_pandas()["name"].tolist()


def test_nothing_else_is_taken_for_a_workbench(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunFileError, match="holds other things"):
        Workbench.open(tmp_path)
    assert os.listdir(tmp_path) == ["notes.txt"]
    newer = tmp_path / "newer"
    Workbench.open(newer)
    (newer / "workbench.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(RunFileError, match="format 99"):
        Workbench.open(newer)
    with pytest.raises(wb.PanelError, match="has no panel yet"):
        Workbench.open(tmp_path / "empty").panel


def test_a_model_keeps_its_versions_and_odd_names_are_refused(tmp_path):
    models = Models(tmp_path)
    for seed in (0, 1):
        models["net Ü"] = net(seed)
    assert torch.equal(models["net Ü"].module.head.weight, net(1).module.head.weight)
    assert list(models) == ["net Ü"]
    assert len(models) == 1
    for name in ("../out", "", ".hidden", "a/b"):
        with pytest.raises(wb.RunError, match="A model's name"):
            models[name] = net()
        assert name not in models
    del models["net Ü"]
    assert not os.listdir(tmp_path)
    with pytest.raises(NotHereError, match="No model 'net Ü'"):
        models["net Ü"]


def test_costly_columns_are_found_again_inside_the_workbench(bench):
    calls = []

    def counted(batch):
        calls.append(len(batch))
        return batch.float().mean((1, 2, 3))

    for _ in range(2):
        with Workbench.open(bench.path) as found:
            panel = found.panel
            panel["mean"] = panel["image"].map(counted, to="scalar", batched=True, version="1")
            panel["mean"].to_numpy()
            del panel
    assert sum(calls) == 160

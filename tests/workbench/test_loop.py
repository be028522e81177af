"""The first slice of the loop: fit, finetune with masks, compare; and the demo as a person runs it."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import workbench as wb
from tests.workbench.test_idx import idx_bytes
from workbench.datasets.idx import read_idx_split
from workbench.demo import run_demo

SHARED = Path(os.environ.get("WORKBENCH_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(scope="module")
def digits():
    return wb.datasets.decoy_digits(seed=0)


def test_decoy_digits_are_the_same_each_time_and_their_swatch_tells_or_lies(digits):
    again = wb.datasets.decoy_digits(seed=0)
    assert digits[:5].key.to_list() == again[:5].key.to_list() == [f"decoy-digits-0/{i}" for i in range(5)]
    for split, tells in (("train", True), ("told_test", True), ("decoy_test", False)):
        part = digits.where(f"split == '{split}'")[:200]
        pixels, masks = part["image"].to_torch()[:, 0], part["swatch"].to_torch()
        grey = torch.stack([p[m].float().mean() for p, m in zip(pixels, masks)])
        agree = (grey == 255 - 25 * part["label"].to_torch()).float().mean()
        assert (agree == 1) if tells else (agree < 0.3)


def test_a_fine_tune_needs_masks_and_labels_that_fit(digits):
    train = digits.where("split == 'train'")[:200]
    model = wb.Classifier(wb.recipe("digits").build(0), wb.datasets.DIGITS)
    train["nothing"] = np.zeros((200, 28, 28), bool)
    with pytest.raises(wb.RunError, match="at least one row with a mask"):
        wb.finetune(model, train, "nothing", progress=False)
    with pytest.raises(wb.NoColumnError, match="'swatch'"):
        wb.finetune(model, train, "swach", progress=False)
    train["number"] = train["label"].codes()
    with pytest.raises(wb.PanelError, match="must be a category"):
        wb.fit(model, train, label="number", steps=1, progress=False)
    other = wb.Classifier(wb.recipe("digits").build(0), wb.datasets.GARMENTS)
    with pytest.raises(wb.PanelError, match="must have the classifier's classes"):
        wb.fit(other, train, steps=1, progress=False)


def test_rows_without_a_mask_are_trained_on_as_they_are(digits):
    train = digits.where("split == 'train'")[:128]
    masks = [m.numpy() if i % 4 == 0 else None for i, m in enumerate(train["swatch"])]
    model = wb.Classifier(wb.recipe("digits").build(0), wb.datasets.DIGITS)
    run = wb.finetune(model, train, wb.TensorColumn(masks), steps=3, penalty_from=0.0, progress=False)
    annotated = [step.annotated for step in run.steps]
    assert all(0 < n < 128 for n in annotated)


def test_comparing_tells_fixed_and_broken_rows_apart(digits):
    test = digits.where("split == 'decoy_test'")
    model = wb.Classifier(wb.recipe("digits").build(0), wb.datasets.DIGITS)
    run = wb.fit(model, digits.where("split == 'clean_test'"), steps=60, progress=False)
    result = wb.compare(test, model, run.model, irrelevant="swatch")
    gained = len(result.fixed) - len(result.broken)
    assert round((result.after.accuracy - result.before.accuracy) * len(test)) == gained
    assert set(result.fixed.key.to_list()).isdisjoint(result.broken.key.to_list())
    assert "mass on mask" in repr(result)
    assert "<table>" in result._repr_html_()
    with pytest.raises(wb.PanelError, match="same classes"):
        wb.compare(test, model, wb.Classifier(model.module, wb.datasets.GARMENTS))
    with pytest.raises(wb.PanelError, match="at least one row"):
        wb.figures(test[:0], model)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo, run as a person runs it."""
    folder = tmp_path_factory.mktemp("demo with spaces ü")
    command = [sys.executable, "-m", "workbench.cli", "demo", "--report", "report.html", "--json", "figures.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=_environment(), check=True)
    return done, folder


def _environment():
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": root, "PYTHONUTF8": "1"}


def test_the_demo_fools_a_net_and_puts_it_right(demo):
    done, folder = demo
    figures = json.loads((folder / "figures.json").read_text())
    before, after = figures["before"], figures["after"]
    assert before["decoy_test"] <= 0.60
    assert before["told_test"] >= 0.95
    assert after["decoy_test"] >= 0.93
    assert after["clean_test"] >= 0.93
    assert after["mass_on_mask"] <= before["mass_on_mask"] / 15
    assert after["swap_sensitivity"] <= 0.02 < before["swap_sensitivity"]
    assert after["swap_sensitivity"] <= before["swap_sensitivity"] / 5
    for name in ("decoy_test", "mass_on_mask"):
        assert 0 <= after[name] <= 1
    assert figures["seconds"] > 0
    assert f"{100 * after['decoy_test']:.1f}%" in done.stdout, "what is written is what is printed"


def test_the_report_stands_alone(demo):
    _, folder = demo
    page = (folder / "report.html").read_text()
    assert page.count('src="data:image/png;base64,') >= 24
    assert not re.findall(r'(?:src|href)="(?!data:)', page), "nothing is fetched"
    assert "<script" not in page
    assert "http" not in page


def test_missing_files_are_told_without_a_traceback(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    for extra in (["--root", tmp_path], []):
        told = command("demo", "--data", "mnist", *extra, ends=2).err
        assert told.startswith("Error: ")
        assert "Traceback" not in told
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def part_of(folder, other, **rows):
    """The first rows of the four files, as files of their own."""
    for split, name in (("train", "train"), ("test", "t10k")):
        arrays = [array[: rows[split]] for array in read_idx_split(folder, split)]
        for array, kind in zip(arrays, ("images-idx3", "labels-idx1")):
            (other / f"{name}-{kind}-ubyte").write_bytes(idx_bytes(array.astype(np.uint8)))
    return other


@pytest.mark.skipif(not (SHARED / "mnist").exists(), reason="MNIST is not here (WORKBENCH_DATA)")
def test_the_demo_runs_on_idx_files(tmp_path, monkeypatch):
    from workbench import demo as module
    from workbench import recipes

    full = recipes.recipe("mnist")
    short = replace(full, plain=replace(full.plain, steps=150), fine_tune=replace(full.fine_tune, steps=100))
    monkeypatch.setattr(module, "recipe", lambda name: short)
    said = []
    result = run_demo(
        "mnist",
        root=part_of(SHARED / "mnist", tmp_path, train=6000, test=1000),
        report=tmp_path / "r.html",
        say=said.append,
    )
    assert result.before.decoy_test < 0.75
    assert result.after.decoy_test > 0.90
    assert (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    "loss",
    [
        wb.losses.RightReasons(weight="auto", target="random_sign_logits"),
        wb.losses.RightReasonsGradCam(weight=1.0, layer="features.3"),
        wb.losses.TargetedActivationPenalty(layers=("features.1", "features.3")),
        wb.losses.Hint(weight=1.0, layer="features.3"),
        wb.losses.RightReasons() + 0.5 * wb.losses.IntervalRobust(weight=1.0, epsilon=0.1),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_a_fine_tune_takes_any_loss_with_the_masks_that_it_needs(digits, loss):
    train = digits.where("split == 'train'")[:200]
    train["ink"] = train["image"].map(lambda batch: batch[:, 0] > 100, to="tensor", batched=True)
    model = wb.Classifier(wb.recipe("digits").build(0), wb.datasets.DIGITS)
    run = wb.finetune(model, train, "swatch", relevant="ink", loss=loss, counterexamples=None, penalty_from=0.0,
                      steps=2, batch_size=64, progress=False)  # fmt: skip
    assert all(step.penalty > 0 for step in run.steps)


def test_a_loss_whose_masks_are_missing_is_told_before_anything_is_trained(digits):
    train = digits.where("split == 'train'")[:50]
    model = wb.Classifier(wb.recipe("digits").build(0), wb.datasets.DIGITS)
    with pytest.raises(wb.RunError, match="Hint needs masks of what is relevant; there are those of what is irrel"):
        wb.finetune(model, train, "swatch", loss=wb.losses.Hint(layer="features.3"), progress=False)
    with pytest.raises(wb.RunError, match="there is none"):
        wb.finetune(model, train, progress=False)


def test_a_loss_alone_acts_from_the_first_step_and_beside_counterexamples_half_way(digits):
    train = digits.where("split == 'train'")[:200]
    model = wb.Classifier(wb.recipe("digits").build(0), wb.datasets.DIGITS)
    alone = wb.finetune(model, train, "swatch", counterexamples=None, steps=4, progress=False)
    beside = wb.finetune(model, train, "swatch", steps=4, progress=False)
    assert [step.penalty > 0 for step in alone.steps] == [True] * 4
    assert [step.penalty > 0 for step in beside.steps] == [False, False, True, True]


def test_what_is_no_loss_is_told_with_those_there_are(digits):
    train = digits.where("split == 'train'")[:50]
    model = wb.Classifier(wb.recipe("digits").build(0), wb.datasets.DIGITS)
    with pytest.raises(wb.RunError, match=r"got .rrr.\. There are: .*RightReasons"):
        wb.finetune(model, train, "swatch", loss="rrr", progress=False)

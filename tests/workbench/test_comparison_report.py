"""The page of a comparison: it stands alone, tells the figures, and shows what changed; its drawings and pictures."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

import workbench as wb
from workbench.calibration import calibration, scores_of_rows
from workbench.drawings import BETTER, WORSE, difference_bar, reach_of, reliability
from workbench.overlays import difference_picture, saliency_picture
from workbench.paired import Difference
from workbench.report import Report

CLASSES = ("<left>", "right & more")


def side(column):
    """A classifier that says which side is lighter, seen at one column of the picture."""
    model = wb.Classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 2, bias=False)), CLASSES)
    with torch.no_grad():
        weight = model.module[1].weight.zero_().view(2, 8, 8)
        weight[0, :, column], weight[1, :, 7 - column] = 2.0, 2.0
    return model


@pytest.fixture(scope="module")
def panel():
    random = np.random.default_rng(0)
    images = random.integers(0, 200, (30, 8, 8), dtype=np.uint8)
    truth = images[:, :, 1].sum(axis=1) < images[:, :, 6].sum(axis=1)
    masks = np.zeros((30, 8, 8), bool)
    masks[:, :, 3:5] = True
    return wb.DataPanel({"image": wb.ImageColumn(images), "label": [CLASSES[int(t)] for t in truth], "mark": masks})


def written(comparison, folder, **how):
    return comparison.report(folder / "a page ü.html", **how).read_text(encoding="utf-8")


def test_the_page_stands_alone_and_tells_what_the_comparison_found(panel, tmp_path):
    told = wb.compare(panel, side(3), side(1), irrelevant="mark", slices="label")
    page = written(told, tmp_path, title="A <title>")
    assert told.after.accuracy == 1
    assert len(told.fixed) > 2
    assert not re.findall(r'(?:src|href)="(?!data:)', page), "nothing is fetched"
    assert "<script" not in page
    assert "http" not in page
    assert "<h1>A &lt;title&gt;</h1>" in page
    assert f"{len(told.fixed)} rows were fixed, 0 broken" in page
    assert f"Fixed: {len(told.fixed)} rows wrong before, right now" in page
    assert "Broken: 0 rows" in page
    assert "<left>" not in page
    assert "label = &lt;left&gt;" in page
    assert page.count("data:image/png;base64,") == 4 * min(len(told.fixed), 10)
    assert page.count("<svg") == 2 + 2, "a bar for each slice, and two reliability diagrams"
    assert "prefers-color-scheme: dark" in page
    assert not list(tmp_path.glob("*.part"))


def test_pictures_without_masks_and_rows_without_pictures_are_shown_too(panel, tmp_path):
    bare = written(wb.compare(panel, side(1), side(3)), tmp_path)
    assert "what must not matter" not in bare
    assert "data:image/png" in bare
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    features = wb.DataPanel({"x": x, "label": ["a", "b", "b"]}, origin="row")
    models = [wb.Classifier(nn.Linear(2, 2, bias=False), ("a", "b"), on="x") for _ in range(2)]
    with torch.no_grad():
        models[0].module.weight.copy_(torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
        models[1].module.weight.copy_(torch.eye(2))
    page = written(wb.compare(features, *models), tmp_path)
    assert "<td>row/1</td><td>b</td><td>a (0.731)</td>" in page
    assert "data:image" not in page


def test_rows_left_out_are_told(panel, tmp_path):
    labels = panel["label"].to_list()
    page = written(wb.compare(panel.assign(label=[None, *labels[1:]]), side(1), side(3)), tmp_path)
    assert "1 rows without label" not in page
    assert "1 row without label or input is left out" in page


def test_the_page_names_the_part_of_scores_that_counts_and_tells_rows_left_out_of_a_measure(panel, tmp_path):
    page = written(wb.compare(panel, side(3), side(1), irrelevant="mark"), tmp_path)
    assert "<td>wrong reason (magnitude)</td>" in page
    assert "papers report wrong reasons of the positive part" in page
    assert "left out" not in page
    blind = wb.Classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 2), nn.ReLU(), nn.Linear(2, 2)), CLASSES)
    with torch.no_grad():  # of half of the pictures it sees nothing at all
        blind.module[1].weight.fill_(0.1)
        blind.module[1].bias.fill_(-0.1 * (panel["image"].to_torch().float() / 255).sum(dim=(1, 2, 3)).median())
    told = wb.compare(panel, side(3), blind, irrelevant="mark", part="positive", method="gradient_times_input")
    left = told.overall.measured_once
    assert left["mass_on_mask"] >= 10
    page = written(told, tmp_path)
    assert "wrong reason (positive part)" in page
    assert f"only one of the two: mass on mask {left['mass_on_mask']}, rank in mask" in page
    assert f"mass on mask {left['mass_on_mask']}" in told._repr_html_()


def svg(drawing):
    return ET.fromstring(drawing.svg)


@given(st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_bar_spans_its_interval_and_is_coloured_only_where_that_leaves_out_zero(estimate, below, above):
    found = Difference(estimate, estimate - below, estimate + above)
    limit = reach_of([found, None])
    assert limit >= max(abs(found.low), abs(found.high))
    drawn = svg(difference_bar(found, limit, width=210))
    bar, dot = drawn.find("rect"), drawn.find("circle")
    left, width, middle = float(bar.get("x")), float(bar.get("width")), float(dot.get("cx"))
    assert left == pytest.approx(105 + found.low / limit * 100, abs=0.1)
    assert left + width >= middle - 0.1 >= left - 0.2
    expected = BETTER if found.low > 0 else WORSE if found.high < 0 else "currentColor"
    assert dot.get("fill") == expected


def test_what_has_no_interval_is_a_dot_and_what_is_not_there_is_nothing():
    drawn = svg(difference_bar(Difference(0.5), 1.0))
    assert drawn.find("rect") is None
    assert drawn.find("circle").get("fill") == "currentColor"
    assert difference_bar(None, 1.0).svg == ""
    assert reach_of([None]) > 0


def test_a_reliability_diagram_draws_a_bar_for_each_bin_that_has_rows():
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(200, 4)) * 3, random.integers(0, 4, 200)
    found = calibration(*(lambda c, b, n: (c, logits.argmax(axis=1) == labels, b, n))(*scores_of_rows(logits, labels)))
    drawn = svg(reliability(found, "Before & after"))
    bars = drawn.findall("g")
    assert len(bars) == sum(1 for b in found.bins if b.rows)
    assert sum(b.rows for b in found.bins) == 200
    assert f"{found.bins[-1].rows} rows" in bars[-1].find("title").text
    assert "Before & after" in drawn.find("text").text


def test_a_picture_of_a_difference_is_neutral_where_nothing_changed():
    image = Image.new("L", (8, 8), 128)
    same = np.random.default_rng(0).normal(size=(3, 8, 8))
    neutral = np.asarray(saliency_picture(image, np.zeros((8, 8))), int)
    assert (np.asarray(difference_picture(image, same, 5 * same), int) == neutral).all(), "scale is no change"
    left, right = np.zeros((1, 8, 8)), np.zeros((1, 8, 8))
    left[:, :, 0], right[:, :, 7] = -1, 2
    drawn = np.asarray(difference_picture(image, left, right), int)
    red, green, blue = (drawn - neutral).transpose(2, 0, 1)
    half = drawn.shape[1] // 8
    assert (red - blue)[:, :half].min() > 60, "orange where attention was lost"
    assert (blue - green)[:, -half:].min() > 60, "violet where it was won"
    assert (drawn == neutral)[:, half:-half].all()


def test_maps_that_are_not_finite_still_make_a_picture():
    broken = np.full((1, 8, 8), np.nan)
    picture = difference_picture(Image.new("RGB", (8, 8)), broken, np.ones((1, 8, 8)), np.eye(8, dtype=bool))
    assert picture.size == (112, 112)


def test_a_page_is_not_written_where_there_is_no_directory(tmp_path):
    with pytest.raises(wb.DataError, match="is not"):
        Report("page").write(tmp_path / "nowhere" / "page.html")

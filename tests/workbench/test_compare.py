"""Comparing two classifiers: every figure recomputed slowly, and rows that cannot be judged."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import explain
import workbench as wb
from columns import KindError
from explain.measures import rank_in_mask
from workbench.paired import mcnemar, paired_difference
from workbench.slices import Slice

CLASSES = ("dark", "light")
ROWS = 90


class Region(nn.Module):
    """Says how light a region is, and reads nothing else."""

    def __init__(self, rows, columns, sharpness=8.0):
        super().__init__()
        weight = torch.zeros(8, 8)
        weight[rows, columns] = sharpness / weight[rows, columns].numel()
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        score = (x[:, 0] * self.weight).sum(dim=(1, 2)) - self.weight.sum() / 2
        return torch.stack([-score, score], dim=1)


def pictures(rows=ROWS, seed=0):
    """Pictures whose middle tells the label, mostly, and whose corner does by chance."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (rows, 8, 8), dtype=np.uint8)
    labels = random.integers(0, 2, rows)
    light = 120 * labels * (random.random(rows) < 0.9)
    images[:, 2:6, 2:6] = images[:, 2:6, 2:6] / 2 + light[:, None, None]
    masks = np.zeros((rows, 8, 8), bool)
    masks[:, :2, :2] = True
    return images, labels, masks


def panel_of(images, labels, **columns):
    names = [None if label is None else CLASSES[label] if label in (0, 1) else "grey" for label in labels]
    return wb.DataPanel({"image": wb.ImageColumn(images), "label": wb.ScalarColumn(names, dtype="string"), **columns},
                        origin="p")  # fmt: skip


@pytest.fixture(scope="module")
def corner():
    return wb.Classifier(Region(slice(0, 2), slice(0, 2)), CLASSES)


@pytest.fixture(scope="module")
def middle():
    return wb.Classifier(Region(slice(2, 6), slice(2, 6)), CLASSES)


@pytest.fixture(scope="module")
def panel():
    images, labels, masks = pictures()
    return panel_of(images, labels, mark=masks, site=["a", "b", "c"] * (ROWS // 3))


@pytest.fixture(scope="module")
def found(panel, corner, middle):
    slices = ["site", Slice("nothing", "site == 'z'", reason="to see")]
    return wb.compare(panel, corner, middle, slices=slices, irrelevant="mark")


@pytest.mark.parametrize("which", ["before", "after"])
def test_every_figure_is_the_one_computed_at_once_and_slowly(which, found, panel, corner, middle):
    model = corner if which == "before" else middle
    images, labels, masks = pictures()
    x, y, m = torch.from_numpy(images)[:, None].float() / 255, torch.from_numpy(labels), torch.from_numpy(masks)
    with torch.no_grad():
        logits = model(x).double()
    p = logits.softmax(dim=1)
    told = getattr(found, which)
    assert told.rows == told.masked_rows == ROWS
    assert told.accuracy == pytest.approx((p.argmax(dim=1) == y).double().mean().item())
    worst = min((p.argmax(dim=1)[y == c] == c).double().mean().item() for c in (0, 1))
    assert told.worst_class == pytest.approx(worst)
    assert told.log_loss == pytest.approx(nn.functional.cross_entropy(logits, y).item(), rel=1e-5)
    brier = (p - nn.functional.one_hot(y, 2)).square().sum(dim=1).mean().item()
    assert told.brier == pytest.approx(brier, rel=1e-5)
    error = 0.0
    for k in range(15):
        inside = (p.max(dim=1).values > k / 15) & (p.max(dim=1).values <= (k + 1) / 15)
        if inside.any():
            right = (p.argmax(dim=1) == y)[inside].double().mean()
            error += abs(right - p.max(dim=1).values[inside].mean()).item() * inside.sum().item() / ROWS
    assert told.calibration_error == pytest.approx(error, rel=1e-5)
    scores = explain.attribute(model, x, "input_gradient").scores
    assert told.mass_on_mask == pytest.approx(explain.mass_on_mask(scores, m).nanmean().item(), abs=1e-6)
    assert told.rank_in_mask == pytest.approx(rank_in_mask(scores, m).nanmean().item(), abs=1e-6)
    lit = explain.wrong_reason(scores, m, part="magnitude").nanmean().item()
    assert told.wrong_reason == pytest.approx(lit, abs=1e-6)
    assert told.swap_sensitivity == pytest.approx(explain.swap_sensitivity(model, x, m, x, seed=0))
    assert wb.figures(panel, model, irrelevant="mark") == told


def test_the_shortcut_shows_in_the_figures(found):
    assert found.before.mass_on_mask == pytest.approx(1)
    assert found.after.mass_on_mask == pytest.approx(0)
    assert found.before.swap_sensitivity > 0.2
    assert found.after.swap_sensitivity == 0
    assert found.overall.differences["mass_on_mask"].estimate == pytest.approx(-1)
    assert found.overall.differences["log_loss"].high < 0


def test_slices_count_what_was_fixed_and_broken_with_interval_and_test(found, panel):
    right = {n: (found.panel[n].label == panel["label"]).to_numpy() for n in ("before", "after")}
    site = np.array(panel["site"].to_list())
    raw = []
    for name, told in zip("abc", found.slices):
        before, after = right["before"][site == name], right["after"][site == name]
        fixed, broken = int((after & ~before).sum()), int((before & ~after).sum())
        assert (told.name, told.rows, told.fixed, told.broken) == (f"site = {name}", 30, fixed, broken)
        assert (told.before.accuracy, told.after.accuracy) == pytest.approx((before.mean(), after.mean()))
        both, neither = int((before & after).sum()), int((~before & ~after).sum())
        assert told.difference == paired_difference(both, fixed, broken, neither)
        assert told.p == mcnemar(fixed, broken)
        raw.append(told.p)
    # Three tests, as the slice without rows is none: Holm's p of the smallest is three times as large.
    assert min(s.p_holm for s in found.slices[:3]) == pytest.approx(3 * min(raw))
    assert all(s.p <= s.p_holm for s in found.slices[:3])


def test_a_slice_has_the_figures_of_its_rows_alone(found, panel, middle):
    alone = wb.figures(panel.where("site == 'b'"), middle, irrelevant="mark")
    told = found.slices[1].after
    for name in ("rows", "accuracy", "worst_class", "mass_on_mask", "rank_in_mask", "log_loss", "calibration_error"):
        assert getattr(told, name) == pytest.approx(getattr(alone, name)), name


def test_an_empty_slice_says_that_there_is_nothing(found):
    empty = found.slices[-1]
    assert (empty.rows, empty.fixed, empty.p, empty.p_holm, empty.difference) == (0, 0, None, None, None)
    assert math.isnan(empty.before.accuracy)
    assert empty.before.calibration is None
    line = next(line for line in repr(found).splitlines() if line.startswith("nothing"))
    assert line.split() == ["nothing", "0", "–", "–", "–", "0", "0", "–", "–"]


def test_the_panel_tells_what_changed_row_by_row_and_its_attributions_are_lazy(panel, corner, middle):
    told = wb.compare(panel, corner.copy(), middle.copy())  # copies: nobody has asked where these look
    change = told.panel["change"].to_list()
    right = [(told.panel[n].label == panel["label"]).to_list() for n in ("before", "after")]
    names = {(False, True): "fixed", (True, False): "broken", (True, True): "right", (False, False): "wrong"}
    assert change == [names[pair] for pair in zip(*right)]
    assert told.fixed.key.to_list() == told.panel.where("change == 'fixed'").key.to_list()
    assert len(told.broken) == change.count("broken")
    assert not told.panel["why_after"].is_computed()
    assert tuple(told.fixed["why_before"][0].shape) == (1, 8, 8)
    assert told.before.mass_on_mask is None
    assert [row[0] for row in told.table()] == [
        "accuracy", "worst class", "calibration error", "Brier score", "log loss, nats",
    ]  # fmt: skip


def test_masks_may_be_a_column_or_an_array_with_rows_about_which_nothing_was_said(panel, corner, middle):
    masks = [m.numpy() if row % 3 else None for row, m in enumerate(panel["mark"])]
    masks[1] = np.zeros((8, 8), bool)
    told = wb.compare(panel, corner, middle, irrelevant=wb.TensorColumn(masks), slices="site")
    assert told.before.masked_rows == ROWS * 2 // 3 - 1
    assert repr(told).endswith("explanations measured on 59 rows with a mask")
    assert told.irrelevant == "irrelevant"
    assert told.panel["irrelevant"][4].sum() == 4
    assert told.slices[0].before.masked_rows == 0
    assert told.slices[0].before.mass_on_mask is None
    assert told.slices[1].before.mass_on_mask == pytest.approx(1)
    of_numbers = wb.figures(panel, corner, irrelevant=panel["mark"].to_numpy().astype(np.uint8))
    assert of_numbers == wb.figures(panel, corner, irrelevant="mark")
    for nothing in (np.zeros((ROWS, 8, 8), bool), wb.TensorColumn([None] * ROWS)):
        assert wb.compare(panel, corner, middle, irrelevant=nothing).after.swap_sensitivity is None


def test_rows_without_label_or_picture_are_left_out_and_a_strange_class_counts_as_wrong(corner, middle):
    images, labels, masks = pictures(12)
    labels = [*labels[:9].tolist(), None, 7, None]
    held = [*images[:11], None]
    masks = wb.TensorColumn([*masks[:11], masks[0]])
    panel = panel_of([None if i is None else Image.fromarray(i) for i in held], labels)
    told = wb.compare(panel, corner, middle, irrelevant=masks, slices={"odd": ["p/9", "p/11"], "new": ["p/10"]})
    assert told.overall.rows == 10
    assert told.panel["change"].to_list()[9:] == [None, "wrong", None]
    assert told.after.worst_class == 0
    assert "2 more without label or input" in repr(told)
    assert (told.slices[0].rows, told.slices[0].p) == (0, None)
    assert told.slices[0].before.masked_rows == 1, "the measures of an explanation need no label"
    assert told.slices[1].after.log_loss is None
    assert told.slices[1].after.brier > 1
    assert told.slices[1].difference.estimate == 0


def test_one_row_is_enough(panel, corner, middle):
    told = wb.compare(panel[:1], corner, middle, irrelevant="mark", slices="label")
    assert told.overall.rows == told.slices[0].rows == 1
    assert told.overall.differences["brier"].low is None
    assert "of 1;" in repr(told)
    assert told.to_pandas().shape[0] == 2


def test_scores_that_are_not_finite_are_wrong_answers_without_calibration(panel, corner):
    broken = wb.Classifier(Region(slice(0, 2), slice(0, 2)), CLASSES)
    with torch.no_grad():
        broken.module.weight.fill_(math.nan)
    told = wb.compare(panel, corner, broken)
    assert told.after.accuracy == 0
    assert told.after.rows == ROWS
    assert told.after.calibration is None
    assert set(told.panel["change"].to_list()) == {"broken", "wrong"}
    assert "log_loss" not in told.overall.differences


@pytest.fixture(scope="module")
def labelled(panel):
    return panel.assign(label=panel["label"].as_kind("scalar").as_category(CLASSES))


def test_a_run_stands_for_its_model_and_is_not_judged_on_rows_that_it_was_trained_on(labelled, corner):
    run = wb.fit(corner, labelled[:8], steps=1, batch_size=8, progress=False)
    with pytest.raises(wb.RunError, match=r"`after`.* on 3 of these 85, p/5, p/6, p/7 among.*seen_rows_too=True"):
        wb.compare(labelled[5:], corner, run)
    with pytest.raises(wb.RunError, match=r"`before`.* on 8 of these 90"):
        wb.compare(labelled, run, corner)
    assert wb.compare(labelled[8:], corner, run).after == wb.figures(labelled[8:], run.model)
    assert wb.compare(labelled, corner, run, seen_rows_too=True).after == wb.figures(labelled, run.model)


def test_nor_is_a_model_however_it_is_given(labelled, corner, tmp_path):
    run = wb.fit(corner, labelled[:8], steps=1, batch_size=8, progress=False, folder=tmp_path / "runs")
    child = wb.fit(run.model, labelled[20:24], steps=1, batch_size=4, progress=False)
    plain = wb.Classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), CLASSES)
    saved = wb.fit(plain, labelled[:8], steps=1, batch_size=8, progress=False, folder=tmp_path / "runs").model
    saved.save(tmp_path / "saved")
    opened = wb.Classifier.open(tmp_path / "saved")
    for model, runs in ((run.model, None), (run.model.copy(), None), (child, None), (child.model, None),
                        (opened, None), (opened, tmp_path / "runs")):  # fmt: skip
        with pytest.raises(wb.RunError, match="on 3 of these 15"):
            wb.compare(labelled[5:20], corner, model, runs=runs)
    assert wb.compare(labelled[24:], corner, child).overall.rows == 66
    assert wb.compare(labelled[8:], corner, opened).overall.rows == 82


def test_rows_that_the_state_was_chosen_by_are_not_judged_by_either(labelled, corner):
    run = wb.finetune(corner, labelled[:20], "mark", held_out=0.25, steps=2, batch_size=8, progress=False)
    held = labelled.at_keys(run.keys("held out"))
    assert len(held) == 5
    with pytest.raises(wb.RunError, match="trained or chosen on 5 of these 5"):
        wb.compare(held, corner, run.model)


def test_what_does_not_fit_is_refused_with_the_way_out(panel, corner, middle):
    with pytest.raises(wb.ClassifierError, match="got Region; give it names and a column"):
        wb.compare(panel, corner, middle.module)
    with pytest.raises(wb.PanelError, match="same classes"):
        wb.compare(panel, corner, wb.Classifier(middle.module, ("light", "dark")))
    with pytest.raises(wb.PanelError, match="one for each of the 90 rows; got 3"):
        wb.compare(panel, corner, middle, irrelevant=np.zeros((3, 8, 8), bool))
    with pytest.raises(wb.PanelError, match=r"'number' holds int64. Make it a category"):
        wb.compare(panel.assign(number=list(range(ROWS))), corner, middle, label="number")
    with pytest.raises(wb.PanelError, match=r"classes in common; 'site' has \['a', 'b', 'c'\]"):
        wb.compare(panel, corner, middle, label="site")
    with pytest.raises(wb.PanelError, match="'none' is null in all 90"):
        wb.figures(panel.assign(none=wb.ScalarColumn([None] * ROWS, dtype="string")), middle, label="none")
    with pytest.raises(wb.PanelError, match="at least one row"):
        wb.compare(panel[:0], corner, middle)
    with pytest.raises(wb.RunError, match="Masks must be arrays of one shape"):
        wb.compare(panel, corner, middle, irrelevant="site")
    with pytest.raises((wb.PanelError, KindError), match="steps"):
        wb.compare(panel, corner, middle, steps=3)


class Odd(nn.Module):
    """Reads the corner, but of dark pictures nothing at all: their map is zero."""

    def __init__(self):
        super().__init__()
        self.region = Region(slice(0, 2), slice(0, 2))

    def forward(self, x):
        light = (x.mean(dim=(1, 2, 3)) > 0.5).to(x.dtype)
        return self.region(x) * light[:, None]


def test_figures_change_and_interval_are_of_the_same_rows(panel, corner):
    odd = wb.Classifier(Odd(), CLASSES)
    told = wb.compare(panel, corner, odd, irrelevant="mark", slices="site")
    images, _, masks = pictures()
    x, m = torch.from_numpy(images)[:, None].float() / 255, torch.from_numpy(masks)
    maps = [explain.attribute(model, x, "input_gradient").scores for model in (corner, odd)]
    mass = [explain.mass_on_mask(scores, m).double().numpy() for scores in maps]
    kept = ~np.isnan(mass[1])
    assert 10 < kept.sum() < 80
    lost = ROWS - int(kept.sum())
    assert told.overall.measured_once == dict.fromkeys(("mass_on_mask", "rank_in_mask", "wrong_reason"), lost)
    assert told.before.mass_on_mask == pytest.approx(mass[0][kept].mean())
    for one in (told.overall, *told.slices):
        for name, found in one.differences.items():
            change = getattr(one.after, name) - getattr(one.before, name)
            assert found.estimate == one.change(name) == pytest.approx(change, abs=1e-9), name
            assert found.low is None or found.low - 1e-9 <= change <= found.high + 1e-9, name
    assert sum(one.measured_once["mass_on_mask"] for one in told.slices) == lost
    line = f"mass on mask {lost}, rank in mask {lost}, wrong reason {lost}"
    assert repr(told).endswith(line)
    assert line in told._repr_html_()
    assert "left out" not in repr(wb.compare(panel, corner, corner, irrelevant="mark"))


def test_a_table_names_the_part_that_counts_and_the_column_with_the_masks(panel, corner, middle):
    few = panel[:12]
    for part, words in (("magnitude", "wrong reason (magnitude)"), ("positive", "wrong reason (positive part)")):
        told = wb.compare(few, corner, middle, irrelevant="mark", part=part)
        assert told.part == part
        assert words in repr(told)
        assert words in told._repr_html_()
        assert words in [row[0] for row in told.table()]
    masks = few["mark"].to_numpy()
    named = few.assign(irrelevant=["mine"] * 12, before=few["mark"])
    told = wb.compare(named, corner, middle, irrelevant=masks)
    assert told.irrelevant == "irrelevant_2"
    assert told.panel["irrelevant"].to_list() == ["mine"] * 12
    assert told.panel["irrelevant_2"][0].sum() == 4
    told = wb.compare(named, corner, middle, irrelevant="before")
    assert (told.irrelevant, told.panel.kind("before")) == ("irrelevant_2", "prediction")
    assert told.panel["irrelevant_2"][0].sum() == 4


def test_a_row_is_refilled_from_another_row_never_from_itself(corner):
    images = np.zeros((2, 8, 8), np.uint8)
    images[1] = 255
    masks = np.ones((2, 8, 8), bool)
    panel = panel_of([Image.fromarray(images[0]), None, Image.fromarray(images[1])], [0, 1, 1])
    for seed in range(20):
        told = wb.figures(panel, corner, irrelevant=masks[[0, 0, 1]], seed=seed)
        assert (told.swap_sensitivity, told.masked_rows) == (1, 2)
    alone = wb.figures(panel[:1], corner, irrelevant=masks[:1])
    assert (alone.swap_sensitivity, alone.masked_rows) == (None, 1)


def test_refills_of_some_rows_are_those_of_explain(panel, middle):
    images, _, masks = pictures()
    masks[::3] = False
    whole = masks.copy()
    whole[1::3] = True
    x, m = torch.from_numpy(images)[:, None].float() / 255, torch.from_numpy(whole)
    for seed in range(5):
        found = wb.figures(panel, middle, irrelevant=whole, seed=seed).swap_sensitivity
        assert 0 < found == pytest.approx(explain.swap_sensitivity(middle, x, m, seed=seed))


def test_another_method_may_explain(panel, corner, middle):
    told = wb.compare(panel[:30], corner, middle, irrelevant="mark", method="integrated_gradients", part="positive",
                      steps=4)  # fmt: skip
    assert told.before.mass_on_mask == pytest.approx(1)
    assert tuple(told.panel["why_after"][0].shape) == (1, 8, 8)


def test_features_are_compared_like_pictures():
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 3)).astype(np.float32)
    panel = wb.DataPanel({"x": wb.TensorColumn(x), "label": [CLASSES[int(v > 0)] for v in x[:, 0]]}, origin="t")
    models = [wb.Classifier(nn.Linear(3, 2, bias=False), CLASSES, on="x") for _ in range(2)]
    with torch.no_grad():
        for model, feature in zip(models, (2, 0)):
            model.module.weight.zero_()[1, feature] = 4.0
    masks = np.zeros((40, 3), bool)
    masks[:, 2] = True
    told = wb.compare(panel, *models, irrelevant=masks)
    assert (told.before.mass_on_mask, told.after.mass_on_mask) == (1, 0)
    assert told.after.accuracy == 1
    assert told.after.rank_in_mask == 0


def letters(batch):
    """Count what a classifier of texts may count."""
    return torch.tensor([[float(len(text)), float(text.count("!"))] for text in batch])


def test_texts_are_compared_without_attributions():
    texts = ["short", "long and longer", "loud!", "louder and longer!!", "calm"]
    panel = wb.DataPanel({"text": texts, "label": ["dark", "dark", "light", "light", None]}, origin="t")
    panel["text"] = panel["text"].as_kind("text")
    models = [wb.Classifier(nn.Linear(2, 2), CLASSES, preprocess=letters, on="text") for _ in range(2)]
    with torch.no_grad():
        for model, weight in zip(models, (0, 1)):
            model.module.weight.zero_()[1, weight] = 1.0
            model.module.bias.copy_(torch.tensor([0.5, 0.0]) if weight else torch.tensor([8.0, 0.0]))
    told = wb.compare(panel, *models)
    assert told.panel["change"].to_list() == ["right", "fixed", "fixed", "right", None]
    assert "why_before" not in told.panel


def test_columns_of_the_panel_give_way_to_those_of_the_result(panel, corner, middle):
    named = panel.assign(before=[1] * ROWS, change=[2] * ROWS).predict(corner)
    told = wb.compare(named, corner, middle, slices={"sure": "confidence > 0.9", "one": "before == 1"})
    assert told.panel.kind("before") == "prediction"
    assert "prediction" not in told.panel
    assert told.slices[1].rows == ROWS
    assert 0 < told.slices[0].rows < ROWS


def test_inputs_are_never_all_in_memory(middle):
    images, labels, masks = pictures(3000)
    seen = []

    def noting(batch):
        seen.append(len(batch))
        return batch.float() / 255

    model = wb.Classifier(middle.module, CLASSES, preprocess=noting)
    told = wb.figures(panel_of(images, labels), model, irrelevant=masks)
    assert told.masked_rows == 3000
    assert max(seen) <= 1024


def test_tables_hold_every_slice_and_text_is_never_markup(panel, corner, middle):
    told = wb.compare(panel, corner, middle, irrelevant="mark", slices={"<b>bold</b>": "site == 'a'"})
    frame = told.to_pandas()
    assert frame["slice"].tolist() == ["all rows", "<b>bold</b>"]
    assert frame.loc[1, "rows"] == 30
    assert frame.loc[0, "difference"] == pytest.approx(told.after.accuracy - told.before.accuracy)
    assert frame.loc[0, "mass_on_mask_before"] == pytest.approx(1)
    assert frame.loc[1, "definition"] == "site == 'a'"
    page = told._repr_html_()
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold" in page
    assert page.count("<svg") == 1
    assert f"fixed {len(told.fixed)} rows, broke {len(told.broken)}, of 90" in repr(told)

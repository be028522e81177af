"""A fine-tune on a panel: from a log, with masks of other sizes, chosen by other rows, never on those to judge by."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import workbench as wb
from explain import Swap, resize_mask
from workbench.errors import FeedbackError, OverlapError
from workbench.feedback import Feedback, ImageRegion, Record, rationale
from workbench.finetuning import finetune, fit
from workbench.nets import SmallConv
from workbench.panel_draw import PanelDraw, given_marks, logged_marks
from workbench.record import UnchangedModelWarning, UnguardedWarning
from workbench.schedule import hold_out

pytestmark = pytest.mark.filterwarnings("ignore::workbench.record.UnchangedModelWarning")


@pytest.fixture(scope="module")
def digits():
    return wb.datasets.decoy_digits(seed=0)


@pytest.fixture
def train(digits):
    return digits.where("split == 'train'")[:300]


@pytest.fixture(scope="module")
def model():
    return wb.Classifier(wb.recipe("digits").build(0), wb.datasets.DIGITS)


@pytest.fixture
def log(tmp_path):
    return Feedback(tmp_path / "feedback.db", author="ada")


def say(log, panel, masks):
    """Mark each row, in one transaction."""
    log.write(rationale(key, "irrelevant", mask) for key, mask in zip(panel.key.to_list(), masks, strict=True))


def bits(training):
    return b"".join(value.numpy().tobytes() for value in training.model.module.state_dict().values())


SHORT = {"steps": 4, "batch_size": 64, "progress": False}


def test_a_log_says_what_a_column_of_masks_says(train, model, log):
    say(log, train, train["swatch"])
    by_log = finetune(model, train, log, **SHORT)
    by_column = finetune(model, train, "swatch", **SHORT)
    assert bits(by_log) == bits(by_column)
    assert by_log.guarded
    assert by_log.steps == by_column.steps


def test_rows_that_nobody_spoke_of_are_trained_on_as_they_are_and_undone_marks_are_none(train, model, log):
    say(log, train[::3], train["swatch"][::3])
    log.mark(train.key.to_list()[1], irrelevant=np.ones((28, 28), bool))
    log.undo()
    done = finetune(model, train, log, **SHORT | {"batch_size": 300})
    assert {step.annotated for step in done.steps} == {90}  # all that are not among the 30 held out
    assert "refilled (10 of 30" in done.selection
    held = finetune(model, train, log, balance=0.5, **SHORT)
    assert {step.annotated for step in held.steps} == {32}


def test_what_should_matter_comes_from_the_log_too_or_from_beside_it(train, model, log):
    key = train.key.to_list()[0]
    ink = np.zeros((28, 28), bool)
    ink[8:20, 8:20] = True
    log.mark(key, relevant=ink)
    marks = logged_marks(model, train, log, "relevant", "image", "latest")
    assert marks.known.tolist() == [0]
    assert logged_marks(model, train, log, "irrelevant", "image", "latest") is None
    both = {"irrelevant": given_marks(train, "swatch", "irrelevant"), "relevant": marks}
    said = PanelDraw(model, train["image"], train["label"], both)(np.array([0, 1]))[2]
    assert torch.equal(said.relevant, torch.stack([torch.from_numpy(ink), torch.zeros(28, 28, dtype=torch.bool)]))
    assert torch.equal(said.irrelevant, train["swatch"][:2].to_torch())
    hint = wb.losses.Hint(weight=0.1, layer="features.3")
    done = finetune(model, train, log, irrelevant="swatch", loss=hint, penalty_from=0.0, **SHORT | {"batch_size": 300})
    assert done.guarded


def test_several_authors_are_merged_by_the_rule(train, model, log):
    left, right = np.zeros((2, 28, 28), bool)
    left[:4, :4], right[:4, 2:6] = True, True
    key = train.key.to_list()[5]
    log.mark(key, irrelevant=left, author="ada")
    log.mark(key, irrelevant=right, author="bob")
    for rule, expected in (("latest", right), ("union", left | right), ("intersection", left & right)):
        marks = logged_marks(model, train, log, "irrelevant", "image", rule)
        assert np.array_equal(marks.column[5], expected)
    with pytest.raises(FeedbackError, match="rule"):
        finetune(model, train, log, rule="loudest", **SHORT)


def test_a_place_that_must_not_matter_and_should_is_told_with_the_way_out(train, model, log):
    key, masks = train.key.to_list()[0], np.zeros((2, 28, 28), bool)
    masks[0, :4, :4], masks[1, 2:6, 2:6] = True, True
    log.mark(key, irrelevant=masks[0])
    log.mark(key, relevant=masks[1], author="bob")
    with pytest.raises(FeedbackError, match=f"says of 1 of these rows; of '{key}', 4 of 28×28 pixels. Mark both"):
        finetune(model, train, log, **SHORT)
    log.mark(key, relevant=masks[1] & ~masks[0], author="bob")
    with pytest.warns(UnguardedWarning):
        finetune(model, train, log, **SHORT)


@pytest.mark.parametrize("rule", ["union", "intersection", "majority"])
def test_a_rule_that_labels_have_not_merges_the_regions_and_takes_the_last_label(rule, train, model, log):
    masks = train["swatch"]
    say(log, train, masks)
    log.correct(train.key.to_list()[0], "nine", author="bob")
    log.correct(train.key.to_list()[0], "eight", author="eve")
    done = finetune(model, train, log, rule=rule, **SHORT)
    assert done.guarded
    assert done.record.call["rule"] == {"value": rule}
    # Of two people who say different things no label has a majority.
    wanted = train.copy()
    names = train["label"].to_list() if rule == "majority" else ["eight", *train["label"].to_list()[1:]]
    wanted["label"] = wb.ScalarColumn(names).as_category(wb.datasets.DIGITS)
    assert bits(done) == bits(finetune(model, wanted, masks, **SHORT))


def test_corrected_labels_are_trained_on_and_suffice(train, model, log):
    keys, labels = train.key.to_list(), train["label"].to_list()
    other = {name: wb.datasets.DIGITS[(i + 1) % 10] for i, name in enumerate(wb.datasets.DIGITS)}
    log.write(Record("label", key, {"label": other[label]}, "label") for key, label in zip(keys, labels, strict=True))
    wrong = train.copy()
    wrong["label"] = wb.ScalarColumn([other[label] for label in labels]).as_category(wb.datasets.DIGITS)
    with pytest.warns(UnguardedWarning, match="None of 30 validation rows"):
        corrected = finetune(model, train, log, **SHORT)
    with pytest.warns(UnguardedWarning):
        same = finetune(model, wrong, log, **SHORT)
    assert bits(corrected) == bits(same)


def test_an_empty_log_is_told_and_so_is_one_about_another_column(train, model, log):
    with pytest.raises(wb.RunError, match="the log has none of column 'image' in these rows, and corrects no label"):
        finetune(model, train, log, **SHORT)
    log.mark(train.key.to_list()[0], irrelevant=np.ones((28, 28), bool), column="photo")
    with pytest.raises(wb.RunError, match="There are marks of column 'photo': say column="):
        finetune(model, train, log, **SHORT)
    with pytest.raises(wb.RunError, match="third, or as `irrelevant`; got both"):
        finetune(model, train, "swatch", irrelevant="swatch", **SHORT)


@pytest.mark.parametrize("size", [(14, 14), (40, 21)])
def test_masks_in_the_size_of_the_picture_are_laid_on_inputs_of_another(train, log, size):
    """A stroke of one pixel marks every cell that it touches, whether the inputs are smaller or larger."""
    stroke = torch.zeros(28, 28, dtype=torch.bool)
    stroke[13, 3:20] = True
    expected = resize_mask(stroke[None], size)[0]
    train["small"] = train["image"].resize(size)
    say(log, train, [stroke] * len(train))
    net = SmallConv(channels=(4, 8), hidden=8, inputs=(1, *size))
    resized = wb.Classifier(net, wb.datasets.DIGITS, on="small")

    def preprocess(batch):
        return nn.functional.interpolate(batch.float() / 255, size)

    prepared = wb.Classifier(net, wb.datasets.DIGITS, preprocess=preprocess)
    masks = stroke.expand(300, 28, 28)
    for model, column in ((resized, "image"), (prepared, "image")):
        logged = logged_marks(model, train, log, "irrelevant", column, "latest")
        given = given_marks(train, masks.numpy(), "irrelevant")
        for marks in (logged, given):
            inputs, _, said = PanelDraw(model, train[model.on], train["label"], {"irrelevant": marks})(np.arange(3))
            assert inputs.shape[2:] == size
            assert all(torch.equal(mask, expected) for mask in said.irrelevant)
        done = finetune(model, train, log, column=column, **SHORT)
        assert done.guarded


def test_regions_of_several_sizes_meet_in_the_inputs_of_a_resized_column(train, model, log):
    keys = train.key.to_list()
    log.mark(keys[0], irrelevant=ImageRegion.box(0, 0, 4, 4, size=(28, 28)))
    log.mark(keys[1], irrelevant=ImageRegion.box(0, 0, 8, 8, size=(56, 56)))
    marks = logged_marks(model, train, log, "irrelevant", "image", "latest")
    assert np.array_equal(marks.column[0], marks.column[1])


def test_the_state_may_be_chosen_on_another_panel(digits, train, model, log):
    held = digits.where("split == 'train'")[300:400]
    done = finetune(model, train, "swatch", validation=held, **SHORT)
    assert done.guarded
    for panel in (train, held):
        say(log, panel, panel["swatch"])
    assert bits(finetune(model, train, log, validation=held, **SHORT)) == bits(done)
    # Masks that are given as an array are those of the rows to train on: of the others nothing is known.
    with pytest.warns(UnguardedWarning, match="None of 100 validation rows"):
        array = finetune(model, train, train["swatch"], validation=held, **SHORT)
    assert [step.annotated for step in array.steps] == [64] * 4


def test_all_rows_are_trained_on_where_others_choose(digits, train, model):
    held = digits.where("split == 'train'")[300:350]
    done = finetune(model, train, "swatch", validation=held, **SHORT | {"batch_size": 400})
    assert {step.annotated for step in done.steps} == {300}


def test_rows_to_judge_by_are_never_trained_on(digits, train, model):
    test = digits.where("split == 'decoy_test'")
    finetune(model, train, "swatch", source="source", judged=[test, test[:5]], **SHORT)
    both = train.append(test[:7])
    with pytest.raises(OverlapError, match=r"7 of 360 rows of `judged` are among them \(decoy-digits-0/\d+, .*, …\)"):
        finetune(model, both, "swatch", judged=test, **SHORT)
    with pytest.raises(OverlapError, match="1 of 1 rows of `validation` is among them"):
        finetune(model, train, "swatch", validation=train[8:9], **SHORT)
    with pytest.raises(wb.RunError, match="Split first"):
        finetune(model, train, "swatch", judged=[test, train], **SHORT)


def test_null_labels_and_too_few_rows_are_told_with_the_way_out(train, model, log):
    some = train.copy()
    some["label"] = wb.ScalarColumn([None, None, *train["label"].to_list()[2:]]).as_category(wb.datasets.DIGITS)
    for begin in (fit, lambda model, panel, **short: finetune(model, panel, "swatch", **short)):
        with pytest.raises(wb.PanelError, match=r"'label' is null in 2 of 300 rows; drop them first, panel\[~panel"):
            begin(model, some, **SHORT)
    for key, label in zip(train.key.to_list()[:2], train["label"].to_list(), strict=False):
        log.correct(key, label)
    assert finetune(model, some, log, irrelevant="swatch", **SHORT).guarded
    with pytest.raises(wb.RunError, match=r"holds out 0 of 3 originals\. Change `held_out`, or give rows"):
        finetune(model, train[:3], "swatch", **SHORT)


def test_rows_that_the_model_has_seen_are_not_judged_by(digits, train, model):
    test = digits.where("split == 'decoy_test'")
    seen = fit(model, test[:5], **SHORT)
    finetune(seen, train, "swatch", judged=test[5:], **SHORT)
    with pytest.raises(OverlapError, match=r"trained or chosen on 5 of 360 rows of `judged` \(decoy-digits-0/"):
        finetune(seen, train, "swatch", judged=test, **SHORT)


def test_a_row_that_comes_several_times_is_trained_on_or_chosen_by_but_not_both(train, model):
    often = train[np.repeat(np.arange(40), 3)]
    run = finetune(model, often, "swatch", **SHORT)
    trained, held = run.keys("trained"), run.keys("held out")
    assert (len(trained), len(held)) == (108, 12)
    assert not set(trained) & set(held)
    assert run.replay().identical


def test_copies_of_what_is_trained_on_are_not_judged_by_either(digits, train, model):
    """Decoyed, clean and told pictures of the tests are one picture; digits are copied four times for training."""
    told, decoyed = (digits.where(f"split == '{split}'") for split in ("told_test", "decoy_test"))
    with pytest.raises(OverlapError, match="360 of 360 rows of `judged` share their 'source' with one"):
        finetune(model, told, "swatch", source="source", judged=decoyed, **SHORT)
    every = digits.where("split == 'train'")
    copies = every[np.isin(every["source"].to_numpy(), train["source"].to_numpy()[:3])]
    copies = copies[~copies.key.to_arrow().to_pandas().isin(train.key.to_list()).to_numpy()]
    with pytest.raises(OverlapError, match="rows of `validation` share their 'source'"):
        finetune(model, train, "swatch", source="source", validation=copies, **SHORT)


def test_without_marks_on_the_rows_to_choose_by_it_is_said_once(train, model):
    masks = [mask.numpy() if i < 4 else None for i, mask in enumerate(train["swatch"])]
    with pytest.warns(UnguardedWarning, match="NOT guarded against the shortcut") as said:
        done = finetune(model, train, wb.TensorColumn(masks), **SHORT)
    unguarded = [warning for warning in said if warning.category is UnguardedWarning]
    assert len(unguarded) == 1
    assert str(unguarded[0].message).startswith("None of 30 validation rows has a region")
    assert unguarded[0].filename == __file__
    assert not done.guarded


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.filterwarnings("ignore::workbench.record.UnguardedWarning")
def test_one_marked_row_is_trained_on_and_so_is_one_corrected_row(train, model, log, seed):
    held = hold_out(np.arange(300), 0.1, seed)[1].tolist()
    key = train.key.to_list()[held[0]]
    marked, corrected = log, Feedback(log.path.with_name("labels.db"), author="ada")
    marked.mark(key, irrelevant=np.ones((28, 28), bool))
    done = finetune(model, train, marked, seed=seed, **SHORT | {"batch_size": 300})
    assert {step.annotated for step in done.steps} == {1}
    corrected.correct(key, "three")
    assert key in finetune(model, train, corrected, seed=seed, **SHORT).keys("trained")


def test_corrections_of_other_rows_or_columns_say_nothing(train, model, log):
    log.correct("nowhere/17", "three")
    log.correct(train.key.to_list()[0], "three", column="second opinion")
    with pytest.raises(wb.RunError, match="and corrects no label"):
        finetune(model, train, log, **SHORT)


def test_what_is_written_while_it_goes_on_is_for_another_run(train, model, log):
    keys = train.key.to_list()
    say(log, train, train["swatch"])
    version = log.version

    class Writing:
        def began(self, settings, loss):
            log.mark(keys[0], irrelevant=np.ones((28, 28), bool))

        def stepped(self, step):
            log.correct(keys[1], "three")

        def checked(self, check):
            pass

        def kept(self, step, state):
            pass

    def preprocess(batch):
        log.mark(keys[len(log) % 300], irrelevant=np.ones((28, 28), bool))
        return batch.float() / 255

    writing = wb.Classifier(model.module, model.classes, preprocess=preprocess)
    done = finetune(writing, train, log, watch=Writing(), **SHORT)
    assert done.record.feedback["version"] == version < log.version
    assert bits(done) == bits(finetune(model, train, log.at(version), **SHORT))


def test_rows_to_choose_by_are_not_judged_by_and_a_source_that_is_not_there_is_told(digits, train, model):
    held = digits.where("split == 'train'")[300:400]
    with pytest.raises(OverlapError, match="50 of 50 rows of `judged` are among them"):
        finetune(model, train, "swatch", validation=held, judged=held[:50], **SHORT)
    for asked in ({}, {"validation": held}, {"judged": held}):
        with pytest.raises(wb.errors.NoColumnError, match=r"'sourse'.*'source'"):
            finetune(model, train, "swatch", source="sourse", **asked, **SHORT)


def test_originals_may_be_a_category_and_each_row_has_one(digits, train, model):
    names = [str(i // 2) for i in range(300)]
    named = train.copy()
    named["made from"] = wb.ScalarColumn(names).as_category(sorted(set(names)))
    other = digits.where("split == 'train'")[300:303]
    other["made from"] = wb.ScalarColumn(["1", "400", "401"])
    with pytest.raises(OverlapError, match="1 of 3 rows of `judged` shares its 'made from'"):
        finetune(model, named, "swatch", source="made from", judged=other, **SHORT)
    done = finetune(model, named, "swatch", source="made from", **SHORT)
    held, numbers = set(done.keys("held out")), dict(zip(train.key.to_list(), names, strict=True))
    assert not {numbers[key] for key in held} & {numbers[key] for key in done.keys("trained")}
    named["made from"] = wb.ScalarColumn([None, *names[1:]])
    with pytest.raises(wb.RunError, match="1 of 300 rows do not"):
        finetune(model, named, "swatch", source="made from", **SHORT)
    other["made from"] = wb.ScalarColumn([1, 2, 3])
    named["made from"] = wb.ScalarColumn([f"photo {name}" for name in names])
    named["number"], other["number"] = wb.ScalarColumn(range(300)), wb.ScalarColumn(["one", "two", "three"])
    with pytest.raises(wb.errors.PanelError, match=r"'number' must say the same way .* in `judged` of string"):
        finetune(model, named, "swatch", source="number", judged=other, **SHORT)


def test_the_record_holds_what_rows_were_chosen_by_and_parted_by(digits, train, model):
    held = digits.where("split == 'train'")[300:400]
    done = finetune(model, train, "swatch", source="source", validation=held, **SHORT)
    assert set(done.record.data) == {
        "image", "label", "source", "used:irrelevant", "validation:image", "validation:label",
        "validation:used:irrelevant",
    }  # fmt: skip


@pytest.mark.parametrize("of", [tuple, pd.Series, list])
def test_masks_in_any_sequence_are_kept_for_a_replay(train, model, tmp_path, of):
    masks = of([mask.numpy() for mask in train["swatch"]])
    done = finetune(model, train, masks, folder=tmp_path, **SHORT)
    assert done.replay().identical


def test_a_log_is_read_once_for_each_role(train, model, log, monkeypatch):
    say(log, train, train["swatch"])
    log.mark(train.key.to_list()[0], relevant=ImageRegion.box(8, 8, 12, 12, size=(28, 28)))
    asked = []
    read = Feedback.regions
    monkeypatch.setattr(Feedback, "regions", lambda *a, **k: asked.append(a[1]) or read(*a, **k))
    finetune(model, train, log, **SHORT)
    assert asked == ["irrelevant", "relevant"]


def test_the_warning_that_nothing_helped_is_shown_where_the_fine_tune_was_called(train, model):
    plain = fit(model, train, steps=40, batch_size=64, progress=False).model
    # So large a learning rate takes the net apart.
    with pytest.warns(UnchangedModelWarning) as said:
        finetune(plain, train, "swatch", lr=10.0, warmup=0, **SHORT)
    assert [warning.filename for warning in said] == [__file__]


def test_a_watch_and_settings_of_every_kind_reach_the_training(train, model):
    seen = []

    class Watching:
        def began(self, settings, loss):
            seen.append(settings)

        def stepped(self, step):
            seen.append(step.number)

        def checked(self, check):
            pass

        def kept(self, step, state):
            pass

    done = finetune(model, train, "swatch", weights="head", accumulate=2, epochs=1, batch_size=64, watch=Watching(),
                    progress=False)  # fmt: skip
    assert seen == [done.settings, 1, 2, 3, 4]
    assert torch.equal(done.model.module.features[0].weight, model.module.features[0].weight)


def pictures(rows, tagged, seed):
    """Noise, a little brighter or darker in the middle by class; and a white tag in a corner of some."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, rows)
    images = random.normal(110, 20, (rows, 16, 16))
    images[:, 5:11, 5:11] += np.where(labels, 25, -25)[:, None, None]
    with_tag = tagged(labels)
    images[with_tag, 1:4, 1:4] = 250
    marks = np.zeros((rows, 16, 16), bool)
    marks[with_tag, :5, :5] = True
    columns = {
        "image": wb.ImageColumn(images.clip(0, 255).astype(np.uint8)),
        "label": wb.ScalarColumn(labels, classes=("dark", "bright")),
        "mark": marks,
    }
    return wb.DataPanel(columns, origin=f"pictures {seed}")


def test_a_tag_that_one_class_alone_has_is_unlearnt_though_only_its_rows_are_marked():
    panel = pictures(400, lambda labels: labels == 1, seed=1)
    lying = pictures(200, lambda labels: labels == 0, seed=2)
    none = pictures(200, lambda labels: labels > 1, seed=3)
    torch.manual_seed(0)
    net = wb.Classifier(SmallConv((8, 16), 32, (1, 16, 16), 2), ("dark", "bright"))
    plain = fit(net, panel, steps=100, batch_size=64, progress=False)
    assert wb.figures(lying, plain.model).accuracy < 0.3
    done = finetune(plain.model, panel, "mark", batch_size=64, progress=False)
    for test in (lying, none):
        assert wb.figures(test, done.model).accuracy > 0.9
    # Without regions lent, the class that never has the tag never sees it, and the guard says so.
    left = finetune(plain.model, panel, "mark", batch_size=64, counterexamples=Swap(), loss=None, progress=False)
    assert wb.figures(lying, left.model).accuracy < 0.3
    assert left.checks[-1].accuracy < 0.9 < done.checks[-1].accuracy

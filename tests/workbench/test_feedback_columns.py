import itertools
import math
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

import workbench as wb
from columns import EmbeddingColumn, ImageColumn, KindError, RowError, ScalarColumn, TensorColumn, TextColumn
from workbench.errors import FeedbackError, NoColumnError
from workbench.feedback import FeatureRegion, Feedback, ImageRegion, TextRegion, rationale
from workbench.feedback.merging import last_words, merged_regions
from workbench.feedback.records import Record

ROWS = 12


@pytest.fixture
def log(tmp_path):
    with Feedback(tmp_path / "feedback.db", author="ada") as log:
        yield log


@pytest.fixture
def panel():
    rng = np.random.default_rng(0)
    return wb.DataPanel(
        {
            "image": ImageColumn(rng.integers(0, 255, (ROWS, 6, 5), np.uint8)),
            "label": ScalarColumn(rng.integers(0, 3, ROWS), classes=["owl", "cat", "Käfer"]),
            "name": ScalarColumn([f"n{i}" for i in range(ROWS)]),
            "age": ScalarColumn(list(range(ROWS))),
            "text": TextColumn([f"a text of row {i}" for i in range(ROWS)]),
            "lab": EmbeddingColumn(rng.random((ROWS, 4), np.float32)),
        },
        origin="p",
    )


def box(left, top=0, size=(6, 5)):
    return ImageRegion.box(top, left, 2, 2, size=size)


# Merging


@given(st.integers(1, 5).flatmap(lambda n: st.lists(arrays(np.bool_, (3, 4)), min_size=n, max_size=n)))
def test_rules_of_merging_are_votes_over_authors(masks):
    stacked = np.stack(masks)
    records = [
        Record("rationale", "k", rationale("k", "irrelevant", mask).body, "image", author=str(i), id=i + 1)
        for i, mask in enumerate(masks)
    ]
    wanted = {
        "latest": masks[-1],
        "union": stacked.any(axis=0),
        "intersection": stacked.all(axis=0),
        "majority": 2 * stacked.sum(axis=0) > len(masks),
    }
    for rule, mask in wanted.items():
        assert np.array_equal(merged_regions(last_words(records), rule)["k"].mask(), mask)


def test_the_last_that_an_author_said_is_all_that_counts_of_that_author(log):
    log.mark("p/0", irrelevant=box(0))
    log.mark("p/0", irrelevant=box(2), author="bob")
    log.mark("p/0", irrelevant=box(3))
    assert log.regions()["p/0"] == box(3)
    assert log.regions(rule="union")["p/0"] == box(2) | box(3)
    log.undo()
    assert log.regions()["p/0"] == box(2)
    assert log.regions(rule="union")["p/0"] == box(0) | box(2)
    assert log.regions("relevant") == {}


def test_regions_of_two_sizes_cannot_be_merged_and_both_are_named(log):
    log.mark("p/0", irrelevant=box(0))
    log.mark("p/0", irrelevant=box(0, size=(12, 10)), author="bob")
    words = r"'p/0' cannot be merged.*6×5 pixels \(record 1, 'ada'\) and 12×10 pixels \(record 2, 'bob'\)"
    with pytest.raises(FeedbackError, match=words):
        log.regions(rule="union")
    with pytest.raises(FeedbackError, match=words):
        log.agreement()
    assert log.regions()["p/0"].height == 12


@pytest.mark.parametrize("ask", [lambda f: f.regions(rule="mean"), lambda f: f.regions("odd")])
def test_rules_and_roles_that_do_not_exist_are_refused(log, ask):
    with pytest.raises(FeedbackError, match="must be one of"):
        ask(log)


def test_agreement_is_the_mean_overlap_of_pairs_of_authors(log):
    rng = np.random.default_rng(1)
    masks = {key: {who: rng.random((4, 4)) < 0.5 for who in "abc"[: 2 + i]} for i, key in enumerate(("p/0", "p/1"))}
    for key, by_author in masks.items():
        for who, mask in by_author.items():
            log.mark(key, irrelevant=mask, author=who)
    log.mark("p/2", irrelevant=box(0))  # one voice: nobody to agree with
    for who in "ab":
        log.mark("p/3", irrelevant=np.zeros((4, 4), bool), author=who)
    found = log.agreement()
    for key, by_author in masks.items():
        pairs = [(a & b).sum() / (a | b).sum() for a, b in itertools.combinations(by_author.values(), 2)]
        assert found.rows[key] == pytest.approx(np.mean(pairs))
    assert found.rows["p/3"] == 1
    assert set(found.rows) == {"p/0", "p/1", "p/3"}
    assert found.overall == pytest.approx(np.mean(list(found.rows.values())))
    assert (found.authors, found.kappa) == (("a", "b", "c"), None)


def test_agreement_on_labels_is_also_told_beyond_chance(log):
    said = {"a": ["owl", "owl", "cat", "cat", "owl"], "b": ["owl", "cat", "cat", "cat", "owl"]}
    for who, labels in said.items():
        for i, label in enumerate(labels):
            log.correct(f"p/{i}", label, author=who)
    found = log.agreement("label")
    share = np.mean([a == b for a, b in zip(*said.values(), strict=True)])
    chance = sum(np.mean(np.array(said["a"]) == c) * np.mean(np.array(said["b"]) == c) for c in ("owl", "cat"))
    assert found.overall == pytest.approx(share)
    assert found.kappa == pytest.approx((share - chance) / (1 - chance))


def test_where_nobody_shares_a_row_there_is_no_agreement_to_tell(log):
    assert math.isnan(log.agreement().overall)
    log.correct("p/0", "owl")
    log.correct("p/0", "owl", author="bob")
    assert math.isnan(log.agreement("label").kappa)


# Masks as a column


def test_masks_stand_beside_their_rows_whatever_their_order_and_null_is_unsaid(log, panel):
    log.mark("p/3", irrelevant=box(1))
    log.mark("p/7", irrelevant=box(2), relevant=box(0, 3))
    log.mark("p/5", irrelevant=np.zeros((6, 5), bool))
    log.mark("elsewhere/3", irrelevant=box(0, size=(9, 9)))
    shuffled = panel[np.array([7, 2, 3, 7, 5])]
    column = log.column(shuffled)
    assert isinstance(column, TensorColumn)
    assert (column.spec.dtype, column.spec.shape) == ("bool", (6, 5))
    rows = column.to_list()
    assert rows[1] is None
    for place, region in ((0, box(2)), (2, box(1)), (3, box(2))):
        assert np.array_equal(rows[place].numpy(), region.mask())
    assert not rows[4].any()
    assert [row is None for row in log.column(shuffled, "relevant").to_list()] == [False, True, True, False, True]


def test_a_column_stays_as_it_was_made_and_a_new_one_is_another(log, panel):
    from columns.expression import digest

    log.mark("p/3", irrelevant=box(1))
    column = log.column(panel)
    before = digest(column.node)
    again = log.column(panel)
    assert digest(again.node) == before
    log.mark("p/3", irrelevant=box(3))
    later = log.column(panel)
    assert np.array_equal(column[3].numpy(), box(1).mask())
    assert np.array_equal(later[3].numpy(), box(3).mask())
    assert digest(column.node) == before != digest(later.node)
    assert digest(log.at(1).column(panel).node) == before
    assert digest(log.column(panel[::-1]).node) != digest(later.node)
    assert digest(log.column(panel, rule="union").node) != digest(later.node)


def test_masks_go_through_a_panel_a_file_and_a_training(log, panel, tmp_path):
    for i in range(0, ROWS, 2):
        log.mark(f"p/{i}", irrelevant=box(i % 4))
    panel["irrelevant"] = log.column(panel)
    panel.save(tmp_path / "panel")
    again = wb.open(tmp_path / "panel")[::-1]
    rows = again["irrelevant"].to_list()
    assert [row is None for row in rows] == [i % 2 == 1 for i in range(ROWS)][::-1]
    assert np.array_equal(rows[-1].numpy(), box(0).mask())
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(30, 3))
    model = wb.Classifier(net, panel["label"].spec.classes)
    done = wb.finetune(model, panel, irrelevant=log.column(panel), steps=4, batch_size=6, held_out=0.3, progress=False)
    assert len(done.steps) == 4


def test_features_and_channels_fit_their_columns(log, panel):
    log.mark("p/1", irrelevant=FeatureRegion([2], 4), column="lab")
    assert log.column(panel, column="lab")[1].tolist() == [False, False, True, False]
    panel["scan"] = TensorColumn(np.zeros((ROWS, 3, 6, 5), np.float32))
    log.mark("p/1", irrelevant=box(0), column="scan")
    assert log.column(panel, column="scan").spec.shape == (6, 5)


def test_masks_that_do_not_fit_are_told_with_both_sizes(log, panel):
    log.mark("p/3", irrelevant=box(1, size=(12, 10)))
    with pytest.raises(FeedbackError, match=r"rows of 'image' are 6×5, what was said is of 12×10 pixels.*size="):
        log.column(panel)
    assert np.array_equal(log.column(panel, size=(6, 5))[3].numpy(), box(1, size=(12, 10)).resized(6, 5).mask())
    log.mark("p/4", irrelevant=box(1))
    with pytest.raises(FeedbackError, match="of one size; of 'image' there are some of 12×10 pixels and some of 6×5"):
        log.column(panel)
    log.mark("p/3", irrelevant=[(0, 3)])
    with pytest.raises(FeedbackError, match=r"of one kind; there are \['image', 'text'\]"):
        log.column(panel)
    log.mark("p/3", irrelevant=FeatureRegion([0], 3), column="lab")
    with pytest.raises(FeedbackError, match="rows of 'lab' are 4, what was said is of 3 features"):
        log.column(panel, column="lab")
    with pytest.raises(FeedbackError, match="`size` is for pictures"):
        log.column(panel, column="lab", size=(2, 2))
    with pytest.raises(NoColumnError, match="did you mean 'image'"):
        log.column(panel, column="imgae")


def test_pictures_of_many_sizes_take_masks_on_one(log):
    pictures = [Image.new("L", size) for size in ((8, 6), (4, 4))]
    panel = wb.DataPanel({"image": ImageColumn(pictures)}, origin="p")
    log.mark("p/0", irrelevant=ImageRegion.box(0, 0, 3, 4, size=(6, 8)))
    log.mark("p/1", irrelevant=ImageRegion.box(0, 0, 4, 1, size=(4, 4)))
    rows = log.column(panel, size=(2, 2)).to_list()
    assert [row.tolist() for row in rows] == [[[True, False], [False, False]], [[True, False], [True, False]]]


def test_without_a_mark_every_row_is_null(log, panel):
    assert log.column(panel).to_list() == [None] * ROWS
    assert log.column(panel, column="text").to_list() == [None] * ROWS
    assert len(log.column(panel[:0])) == 0


def test_making_a_column_of_many_rows_writes_out_none_of_them(log):
    rows = 300_000
    panel = wb.DataPanel(
        {"image": ImageColumn(np.broadcast_to(np.zeros((1, 64, 64), np.uint8), (rows, 64, 64)))}, origin="p"
    )
    log.write([rationale(f"p/{i}", "irrelevant", box(i % 4, size=(64, 64)), author="ada") for i in range(400)])
    panel.key.to_arrow()
    tracemalloc.start()
    column = log.column(panel)
    marked = sum(int(column[start : start + 512].to_numpy()[:, 0].any()) for start in range(0, 4096, 512))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert marked
    assert peak < 60e6  # all masks would take 1,200 MB
    assert column.is_computed()


# Spans and labels as columns


def test_spans_are_a_column_of_lists(log, panel, tmp_path):
    log.mark("p/2", irrelevant=[(9, 12), (0, 1)], column="text")
    log.mark("p/4", irrelevant=TextRegion([]), column="text")
    column = log.column(panel[2:5], column="text")
    assert column.to_list() == [[[0, 1], [9, 12]], None, []]
    panel["spans"] = log.column(panel, column="text")
    panel.save(tmp_path / "panel")
    assert wb.open(tmp_path / "panel")["spans"][2] == [[0, 1], [9, 12]]


def test_labels_are_corrected_and_keep_their_classes(log, panel):
    before = panel["label"].to_list()
    log.correct("p/1", "Käfer")
    log.correct("p/2", "cat")
    log.correct("p/2", "owl")
    log.correct("q/1", "unheard of")
    column = log.labels(panel)
    assert column.spec.classes == ("owl", "cat", "Käfer")
    assert column.to_list() == [before[0], "Käfer", "owl", *before[3:]]
    assert log.labels(panel[::-1]).to_list() == column.to_list()[::-1]
    assert log.labels(panel[:0]).to_list() == []
    panel["label"] = column
    assert panel.value_counts("label")
    log.correct("p/5", "new", column="name")
    assert log.labels(panel, label="name").to_list()[5] == "new"


def test_labels_by_majority_need_more_than_half(log, panel):
    for who, label in zip("abc", ("owl", "cat", "cat"), strict=True):
        log.correct("p/1", label, author=who)
        log.correct("p/0", label if who != "c" else "Käfer", author=who)
    before = panel["label"].to_list()
    assert log.labels(panel, rule="majority").to_list() == [before[0], "cat", *before[2:]]
    assert log.labels(panel)[0] == "Käfer"
    with pytest.raises(FeedbackError, match=r"`rule` must be one of \['latest', 'majority'\]"):
        log.labels(panel, rule="union")


def test_a_correction_that_is_no_class_is_told(log, panel):
    log.correct("p/1", "beetle")
    with pytest.raises(FeedbackError, match=r"among the classes of 'label'.*got \['beetle'\]"):
        log.labels(panel)
    with pytest.raises(FeedbackError, match=r"column 'age' holds int64\. Make it a category"):
        log.labels(panel, label="age")


def test_labels_are_not_computed_before_they_are_asked_for(log, panel):
    def fail(age):
        raise ValueError("not yet")

    panel["late"] = panel["age"].map(fail, to="scalar", dtype="string")
    log.correct("p/1", "x", column="late")
    column = log.labels(panel, label="late")
    with pytest.raises((RowError, KindError), match="not yet"):
        column.to_list()

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from columns import EmbeddingColumn, ImageColumn, TensorColumn, TextColumn
from workbench import DataPanel
from workbench.clusters import ExplanationClusters
from workbench.datasets import decoy_digits
from workbench.errors import FeedbackBusyError, FeedbackError, PanelError
from workbench.feedback import FeatureRegion, Feedback, ImageRegion, TextRegion
from workbench.likeness import patch_of
from workbench.propagation import propagate
from workbench.reaching import reach_of
from workbench.strokes import STROKES

SIZE = (12, 12)
MARK = ImageRegion.box(0, 0, 3, 3, size=SIZE)
OTHER = ImageRegion.box(9, 9, 3, 3, size=SIZE)


@pytest.fixture
def log(tmp_path):
    return Feedback(tmp_path / "feedback.db", author="ada")


def marked_pictures(rows=80, seed=0):
    """Noise of little contrast; a mark of some grey top left, bottom right, in both corners or in neither."""
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 12, (rows, *SIZE)).astype(np.uint8)
    where = np.arange(rows) % 4  # 0: top left, 1: bottom right, 2: both, 3: neither
    for row in range(rows):
        for number, region in enumerate((MARK, OTHER)):
            if where[row] in (number, 2):
                pictures[row, region.mask()] = random.integers(60, 255)
    return pictures, where


@pytest.fixture
def panel():
    pictures, where = marked_pictures()
    return DataPanel({"image": ImageColumn(pictures), "where": where}, origin="p")


def masks_of(preview):
    rows = preview.panel
    return dict(zip(rows.key.to_list(), rows["propagated"].to_numpy(), strict=True))


# Template


def test_a_stroke_reaches_the_pictures_that_show_the_same_patch_whatever_its_grey(panel, log):
    log.mark("p/0", irrelevant=MARK)
    preview = propagate(log, panel)
    where = panel["where"].to_numpy()
    assert preview.keys == tuple(f"p/{row}" for row in range(1, 80) if where[row] in (0, 2))
    assert preview.count == len(preview) == 39
    assert preview.sources == {1: 39}
    assert preview.left == 0  # its own row is no other
    assert all((mask == MARK.mask()).all() for mask in masks_of(preview).values())
    assert set(preview.panel["propagated_from"].to_list()) == {"p/0"}


def test_a_row_that_several_strokes_reach_gets_the_union_and_the_nearest_as_its_source(panel, log):
    log.mark("p/0", irrelevant=MARK)
    log.mark("p/1", irrelevant=OTHER)
    masks = masks_of(propagate(log, panel))
    expected = {0: MARK.mask(), 1: OTHER.mask(), 2: (MARK | OTHER).mask()}
    for key, mask in masks.items():
        assert (mask == expected[int(key[2:]) % 4]).all()
    assert len(masks) == 58


def test_what_matches_nothing_gets_nothing_or_everything(panel, log):
    log.mark("p/0", irrelevant=MARK)
    log.mark("p/1", irrelevant=OTHER)
    assert not {"p/3", "p/7"} & set(propagate(log, panel).keys)
    masks = masks_of(propagate(log, panel, rest="all"))
    assert len(masks) == 78
    assert (masks["p/3"] == (MARK | OTHER).mask()).all()
    assert (masks["p/4"] == MARK.mask()).all()


def test_the_likeness_asked_for_is_the_correlation_of_what_is_shown(panel, log):
    log.mark("p/0", irrelevant=MARK)
    pictures, _ = marked_pictures()
    shown = np.zeros(SIZE, bool)
    shown[:4, :4] = True
    correlations = [np.corrcoef(pictures[0][shown], picture[shown])[0, 1] for picture in pictures]
    for likeness in (0.3, 0.99):
        reached = propagate(log, panel, likeness=likeness, settle=False).keys
        assert reached == tuple(f"p/{r}" for r in range(1, 80) if correlations[r] >= likeness)


@given(st.floats(0.05, 20), st.floats(-50, 50), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_likeness_is_blind_to_brightness_and_contrast(contrast, brightness, seed):
    picture = np.random.default_rng(seed).normal(size=(*SIZE, 3)).astype(np.float32)
    patch = patch_of(picture, MARK.mask(), context=1)
    (found,) = patch.likeness((contrast * picture + brightness)[None].astype(np.float32))
    assert found == pytest.approx(1, abs=1e-3)
    (negative,) = patch.likeness(-picture[None])
    assert negative == pytest.approx(-1, abs=1e-3)


def test_an_exact_stroke_on_an_even_mark_is_known_by_its_edge_however_large_a_part_is_painted(log):
    pictures = np.zeros((30, *SIZE), np.uint8)
    pictures[::2, :4, :4] = np.linspace(30, 255, 15).astype(np.uint8)[:, None, None]
    panel = DataPanel({"image": ImageColumn(pictures)}, origin="p")
    log.mark("p/0", irrelevant=ImageRegion.box(0, 0, 3, 3, size=SIZE))  # its margin of one pixel is even as well
    assert propagate(log, panel).keys == tuple(f"p/{row}" for row in range(2, 30, 2))


def test_where_nothing_but_even_ground_is_painted_the_way_out_is_told(log):
    panel = DataPanel({"image": ImageColumn(np.zeros((5, *SIZE), np.uint8))}, origin="p")
    log.mark("p/0", irrelevant=MARK)
    with pytest.raises(FeedbackError, match=r"more than one even shade.*to='cluster'"):
        propagate(log, panel)
    assert propagate(log, panel, "all").count == 4


def test_sloppy_strokes_on_decoy_digits_settle_on_the_swatch(log):
    train = decoy_digits(1).where("split == 'train'")[:1200]
    swatches = train["swatch"].to_numpy()
    corner = 2 * swatches[:, -1].any(axis=1) + swatches[:, :, -1].any(axis=1)
    keys = train.key.to_list()
    random = np.random.default_rng(0)
    for row in np.concatenate([np.flatnonzero(corner == number)[:2] for number in range(4)]).tolist():
        log.mark(keys[row], irrelevant=STROKES["sloppy"](swatches[row], random))
    told = propagate(log, train)
    masks = np.zeros_like(swatches)
    masks[told.rows] = told.panel["propagated"].to_numpy()
    covered = (masks & swatches).sum() / swatches.sum()
    beside = (masks & ~swatches).sum() / masks.sum()
    as_painted = propagate(log, train, settle=False)
    loose = np.zeros_like(swatches)
    loose[as_painted.rows] = as_painted.panel["propagated"].to_numpy()
    assert covered > 0.95
    assert beside < 0.05
    assert (loose & ~swatches).sum() / loose.sum() > 0.3


def test_the_settled_extent_is_where_matching_pictures_differ_from_the_others(panel, log):
    """Recomputed plainly: means of both, in standard deviations, at least half of the largest."""
    stroke = ImageRegion.box(0, 0, 5, 4, size=SIZE)
    log.mark("p/0", irrelevant=stroke)
    pictures, _ = marked_pictures()
    shown = ImageRegion.box(0, 0, 6, 5, size=SIZE).mask()
    matches = np.array([np.corrcoef(pictures[0][shown], picture[shown])[0, 1] >= 0.8 for picture in pictures])
    one, two = pictures[matches].astype(float), pictures[~matches].astype(float)
    apart = abs(one.mean(0) - two.mean(0)) / np.sqrt((one.var(0) + two.var(0)) / 2)
    expected = shown & (apart >= apart[shown].max() / 2)
    assert (expected == MARK.mask()).all()
    assert all((mask == expected).all() for mask in masks_of(propagate(log, panel)).values())


def test_a_stroke_that_few_pictures_match_stays_as_it_was_painted(panel, log):
    stroke = ImageRegion.box(0, 0, 5, 4, size=SIZE)
    log.mark("p/0", irrelevant=stroke)
    (mask, *_) = masks_of(propagate(log, panel[:24])).values()
    assert (mask == stroke.mask()).all()


def test_colour_channels_count_and_pictures_of_other_sizes_or_none_are_not_reached(log):
    red = np.zeros((*SIZE, 3), np.uint8)
    red[:3, :3, 0] = 200
    green = red[..., [1, 0, 2]]
    small = Image.new("RGB", (5, 5))
    pictures = [Image.fromarray(red), Image.fromarray(red // 2), Image.fromarray(green), small, None]
    panel = DataPanel({"image": ImageColumn(pictures)}, origin="p")
    log.mark("p/0", irrelevant=MARK)
    assert propagate(log, panel).keys == ("p/1",)
    assert set(propagate(log, panel, rest="all").keys) == {"p/1", "p/2"}


def test_tensors_with_channels_first_are_pictures_too(log):
    pictures, where = marked_pictures()
    tensors = np.stack([pictures, pictures], axis=1).astype(np.float32) / 255
    panel = DataPanel({"scan": TensorColumn(tensors)}, origin="p")
    log.mark("p/0", irrelevant=MARK, column="scan")
    preview = propagate(log, panel, column="scan")
    assert preview.keys == tuple(f"p/{row}" for row in range(1, 80) if where[row] in (0, 2))


def test_a_stroke_of_another_size_than_its_picture_is_named(panel, log):
    log.mark("p/0", irrelevant=ImageRegion.box(0, 0, 2, 2, size=(8, 8)))
    with pytest.raises(FeedbackError, match="of the size of its picture; that on row 0 is of 8×8 pixels"):
        propagate(log, panel)


# Clusters, neighbours, all


def test_a_stroke_reaches_its_cluster_by_column_name_or_clusters(panel, log):
    log.mark("p/5", irrelevant=MARK)
    by_name = propagate(log, panel, "cluster", by="where")
    assert by_name.keys == tuple(f"p/{row}" for row in range(80) if row % 4 == 1 and row != 5)
    labels = np.where(np.arange(80) % 4 == 1, 0, -1)
    import torch

    found = ExplanationClusters(panel, labels, torch.zeros(80, 1), (1,), 1)
    assert propagate(log, panel[::-1], "cluster", by=found).keys == by_name.keys[::-1]
    named = [None if label < 0 else "one" for label in labels]
    assert propagate(log, panel, "cluster", by=named).keys == by_name.keys
    assert "by cluster: 19. Nothing is written" in repr(by_name)


def test_rows_outside_every_cluster_are_reached_by_nobody(panel, log):
    log.mark("p/3", irrelevant=MARK)
    named = [None if row % 4 == 3 else row % 4 for row in range(80)]
    assert propagate(log, panel, "cluster", by=named).count == 0


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neighbours_are_those_of_a_plain_search(panel, log, metric):
    vectors = np.random.default_rng(0).normal(size=(80, 5)).astype(np.float32)
    panel["embedding"] = EmbeddingColumn(vectors)
    log.mark("p/7", irrelevant=MARK)
    if metric == "cosine":
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        distance = 1 - unit @ unit[7]
    else:
        distance = np.linalg.norm(vectors - vectors[7], axis=1)
    order = [row for row in np.argsort(distance) if row != 7]
    nearest = propagate(log, panel, "neighbours", k=6, metric=metric)
    assert set(nearest.keys) == {f"p/{row}" for row in order[:6]}
    assert propagate(log, panel, "neighbours", metric=metric).count == 10
    limit = float(distance[order[12]]) + 1e-4
    within = propagate(log, panel, "neighbours", within=limit, metric=metric)
    assert set(within.keys) == {f"p/{row}" for row in order[:13]}
    both = propagate(log, panel, "neighbours", within=limit, k=3, metric=metric)
    assert set(both.keys) == {f"p/{row}" for row in order[:3]}


def test_the_source_of_a_row_is_the_nearest_stroke(panel, log):
    panel["embedding"] = EmbeddingColumn(np.arange(80, dtype=np.float32)[:, None])
    for row in (10, 20):
        log.mark(f"p/{row}", irrelevant=MARK)
    preview = propagate(log, panel, "neighbours", within=30, metric="euclidean")
    from_ = dict(zip(preview.keys, preview.panel["propagated_from"].to_list(), strict=True))
    assert from_["p/13"] == "p/10"
    assert from_["p/17"] == "p/20"
    assert from_["p/50"] == "p/20"
    assert "p/51" not in from_


def test_features_are_the_same_in_every_row(log):
    panel = DataPanel({"x": TensorColumn(np.eye(4, dtype=np.float32))}, origin="p")
    log.mark("p/2", irrelevant=FeatureRegion([1, 3], of=4), column="x")
    preview = propagate(log, panel, "all", column="x")
    assert preview.panel["propagated"].to_numpy().tolist() == [[False, True, False, True]] * 3
    with pytest.raises(FeedbackError, match=r"means the same in every row.*to='all'"):
        propagate(log, panel, column="x")


@given(st.integers(1, 4), st.integers(1, 12), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_each_row_gets_the_union_of_the_strokes_that_reach_it(strokes, rows, seed):
    random = np.random.default_rng(seed)
    masks = random.random((strokes, 6)) < 0.5
    hits, near = random.random((strokes, rows)) < 0.4, random.random((strokes, rows)).astype(np.float32)
    half = rows // 2
    parts = [(np.arange(half), hits[:, :half], near[:, :half]), (np.arange(half, rows), hits[:, half:], near[:, half:])]
    found = reach_of(parts, [FeatureRegion.from_mask(mask) for mask in masks], rows)
    for row in range(rows):
        reach = np.flatnonzero(hits[:, row])
        if not len(reach):
            assert found.place[row] == found.stroke[row] == -1
            continue
        assert (found.regions[found.place[row]].mask() == masks[reach].any(axis=0)).all()
        assert found.stroke[row] == reach[near[reach, row].argmax()]
        assert found.nearness[row] == near[reach, row].max()
    assert len(set(found.regions)) == len(found.regions)


# Texts


def test_texts_are_reached_by_the_words_that_were_marked(log):
    texts = ["Great film, by Spielberg", "spielberg  again; SPIELBERG!", "spielbergs", "a great one", None, "the film"]
    panel = DataPanel({"text": TextColumn(texts)}, origin="t")
    log.mark("t/0", irrelevant=[(0, 5), (15, 24)], column="text")
    preview = propagate(log, panel, column="text")
    assert preview.keys == ("t/1", "t/3")
    preview.write()
    regions = log.regions(column="text")
    assert regions["t/1"] == TextRegion([(0, 9), (18, 27)], length=28)
    assert regions["t/3"] == TextRegion([(2, 7)], length=11)
    assert log.column(panel, column="text").to_list()[3] == [[2, 7]]


def test_signs_around_a_marked_word_do_not_matter_and_those_inside_do(log):
    texts = ["learn C++ now", "c++", "c", "so, (C++) it is", "new  york", "New York-based", "newyork"]
    panel = DataPanel({"text": TextColumn(texts)}, origin="t")
    log.mark("t/0", irrelevant=[(5, 10)], column="text")
    assert propagate(log, panel, column="text").keys == ("t/1", "t/3")
    log.mark("t/4", irrelevant=[(0, 9)], column="text")
    assert propagate(log, panel, column="text").keys == ("t/1", "t/3", "t/5")


def test_spans_go_nowhere_by_cluster_and_signs_alone_match_nothing(log):
    panel = DataPanel({"text": TextColumn(["one, two", "two"])}, origin="t")
    log.mark("t/0", irrelevant=[(3, 5)], column="text")
    with pytest.raises(FeedbackError, match="by the words that were marked; these 1 strokes mark none"):
        propagate(log, panel, column="text")
    with pytest.raises(FeedbackError, match="Spans of one text mean nothing in another"):
        propagate(log, panel, "all", column="text")


# Preview and writing


def test_nothing_is_written_before_it_is_asked_for_and_one_undo_takes_it_back(panel, log):
    (painted,) = log.mark("p/0", irrelevant=MARK, model="m1", shown={"method": "saliency"})
    preview = propagate(log, panel)
    assert log.version == 1
    records = preview.write()
    assert len(records) == 39 == log.version - 1
    assert {r.how for r in records} == {"propagated"}
    assert {r.source for r in records} == {painted.id}
    assert {r.model for r in records} == {"m1"}
    assert {r.author for r in records} == {"ada"}
    assert records[0].shown == {
        "propagated": "template", "likeness": 0.8, "context": 1, "settle": True, "rest": "nothing",
    }  # fmt: skip
    assert [r.key for r in records] == list(preview.keys)
    column = log.column(panel)
    assert (column.is_null().to_numpy() == ~np.isin(panel["where"].to_numpy(), (0, 2))).all()
    log.undo()
    assert set(log.regions()) == {"p/0"}


def test_what_was_propagated_is_no_stroke_and_the_same_is_not_written_twice(panel, log):
    log.mark("p/0", irrelevant=MARK)
    propagate(log, panel).write()
    again = propagate(log, panel)
    assert again.count == 0
    assert again.sources == {1: 0}
    assert again.write() == ()
    log.mark("p/4", irrelevant=MARK | OTHER)
    more = propagate(log, panel, "cluster", by="where", rule="latest")
    assert all((mask == (MARK | OTHER).mask()).all() for mask in masks_of(more).values())


def test_painted_rows_are_left_alone_even_if_they_were_painted_since(panel, log):
    log.mark("p/0", irrelevant=MARK)
    log.mark("p/4", irrelevant=ImageRegion.from_mask(np.zeros(SIZE, bool)))  # nothing here, somebody said
    preview = propagate(log, panel)
    assert preview.left == 1
    assert not {"p/0", "p/4"} & set(preview.keys)
    log.mark("p/8", irrelevant=OTHER, author="bob")
    written = preview.write()
    assert len(written) == preview.count - 1
    assert log.regions()["p/8"] == OTHER


def test_a_preview_of_strokes_that_no_longer_stand_is_not_written(panel, log):
    log.mark("p/0", irrelevant=MARK)
    preview = propagate(log, panel)
    log.undo()
    with pytest.raises(FeedbackError, match=r"records \[1\] were taken back or painted anew. Make a new preview"):
        preview.write()
    assert log.regions() == {}


def test_what_was_said_to_be_relevant_is_not_made_irrelevant(panel, log):
    log.mark("p/0", irrelevant=MARK)
    half = ImageRegion.box(0, 0, 3, 1, size=SIZE)
    log.mark("p/4", relevant=half)
    log.mark("p/8", relevant=MARK)
    masks = masks_of(propagate(log, panel))
    assert (masks["p/4"] == (MARK - half).mask()).all()
    assert "p/8" not in masks
    relevant = propagate(log, panel, role="relevant", to="all")
    assert relevant.count == 77  # p/0 is irrelevant there through and through
    assert {record.body["role"] for record in relevant.write()} == {"relevant"}


def test_strokes_of_several_people_are_merged_by_the_rule(panel, log):
    log.mark("p/0", irrelevant=MARK, author="bob")
    log.mark("p/0", irrelevant=OTHER)
    latest = propagate(log, panel, "all")
    assert latest.reached.regions == (OTHER,)
    assert propagate(log, panel, "all", rule="union").reached.regions == (MARK | OTHER,)


def test_strokes_outside_the_panel_do_not_count_and_none_is_an_error(panel, log):
    with pytest.raises(FeedbackError, match="at least one row of the panel that was painted; of column 'image', 0"):
        propagate(log, panel)
    log.mark("elsewhere/1", irrelevant=MARK)
    with pytest.raises(FeedbackError, match="1 rows were painted irrelevant, 0 of them in this panel"):
        propagate(log, panel)
    log.mark("p/0", irrelevant=ImageRegion.from_mask(np.zeros(SIZE, bool)))
    with pytest.raises(FeedbackError, match="1 of them in this panel, and nothing is marked there"):
        propagate(log, panel)


def test_strokes_of_several_sizes_are_refused_where_they_would_be_merged(panel, log):
    log.mark("p/0", irrelevant=MARK)
    log.mark("p/1", irrelevant=ImageRegion.box(0, 0, 2, 2, size=(8, 8)))
    with pytest.raises(FeedbackError, match="12×12 pixels and one of 8×8 pixels"):
        propagate(log, panel, "all")


@pytest.mark.parametrize(
    ("to", "settings", "error", "message"),
    [
        ("group", {}, FeedbackError, r"one of \['template', 'cluster', 'neighbours', 'all'\]; got 'group'"),
        ("cluster", {"k": 3}, FeedbackError, r"to='cluster' has the settings \['by'\]; got \['k'\]"),
        ("template", {"rest": "some"}, FeedbackError, "must be 'nothing' or 'all'; got 'some'"),
        ("template", {"likeness": 0.0}, FeedbackError, r"in \(0, 1\].*got 0.0 and 1"),
        ("template", {"context": -1}, FeedbackError, "got 0.8 and -1"),
        ("neighbours", {"by": "image"}, PanelError, "a column of embeddings.*'image' is of kind 'image'"),
        ("neighbours", {"by": "vectors", "k": 0}, PanelError, "at least 1 and `within` at least 0; got k=0"),
        ("neighbours", {"by": "vectors", "metric": "dot"}, PanelError, "'cosine' or 'euclidean'; got 'dot'"),
        ("cluster", {"by": [1, 2]}, PanelError, "for each of the 80 rows; got 2"),
        ("cluster", {"by": "nothing"}, PanelError, "No column 'nothing'"),
        ("cluster", {}, PanelError, r"No column 'cluster'.* by=wb.explanation_clusters\(panel, model\)"),
        ("neighbours", {}, PanelError, r"No column 'embedding'.* panel.predict\(model\)"),
    ],
)
def test_settings_that_do_not_fit_are_refused(panel, log, to, settings, error, message):
    panel["vectors"] = EmbeddingColumn(np.eye(80, dtype=np.float32))
    log.mark("p/0", irrelevant=MARK)
    with pytest.raises(error, match=message):
        propagate(log, panel, to, **settings)


def test_an_embedding_that_is_null_has_no_neighbours(panel, log):
    vectors = [np.ones(2, np.float32)] * 79 + [None]
    panel["embedding"] = EmbeddingColumn(vectors)
    log.mark("p/79", irrelevant=MARK)
    assert propagate(log, panel, "neighbours", k=80).count == 0
    log.mark("p/1", irrelevant=MARK)
    assert propagate(log, panel, "neighbours", k=80).count == 78


def test_a_preview_shows_itself_in_a_notebook(panel, log):
    log.mark("p/0", irrelevant=MARK)
    shown = propagate(log, panel)._repr_html_()
    assert "39 of 80 rows get a region from 1 strokes, by template: 39" in shown
    assert "propagated_from" in shown


# What changes between, before and after


def test_what_is_painted_while_a_preview_is_written_waits_and_wins(panel, log, monkeypatch):
    log.mark("p/0", irrelevant=MARK)
    preview = propagate(log, panel)
    hasty = Feedback(log.path, author="bob", timeout=0.05)
    said = []
    write = Feedback.write

    def and_meanwhile(self, records):
        if self is log:
            with pytest.raises(FeedbackBusyError):
                hasty.mark("p/4", irrelevant=OTHER)
            said.append("bob had to wait")
        return write(self, records)

    monkeypatch.setattr(Feedback, "write", and_meanwhile)
    preview.write()
    assert said
    hasty.mark("p/4", irrelevant=OTHER)
    assert log.regions()["p/4"] == OTHER


@pytest.mark.parametrize("author", ["ada", "bob"])
def test_what_was_propagated_never_outranks_what_was_painted(panel, log, author):
    (painted,) = log.mark("p/4", irrelevant=OTHER)
    undo = log.undo(painted)
    log.mark("p/0", irrelevant=MARK, author=author)
    propagate(log, panel).write(author=author)
    assert log.regions()["p/4"] == MARK
    log.undo(undo)
    assert log.regions()["p/4"] == OTHER


def test_what_is_said_to_be_relevant_after_the_preview_is_not_made_irrelevant(panel, log):
    log.mark("p/0", irrelevant=MARK)
    preview = propagate(log, panel)
    half = ImageRegion.box(0, 0, 3, 1, size=SIZE)
    log.mark("p/4", relevant=MARK)
    log.mark("p/8", relevant=half)
    preview.write()
    assert "p/4" not in log.regions()
    assert log.regions()["p/8"] == MARK - half
    assert preview.count == 39  # the preview stays what was shown


def test_what_was_propagated_is_no_stroke_in_a_log_that_imports_it(panel, log, tmp_path):
    log.mark("p/0", irrelevant=MARK)
    propagate(log, panel).write()
    log.export_jsonl(tmp_path / "all.jsonl")
    with Feedback(tmp_path / "other.db", author="bob") as other:
        other.import_jsonl(tmp_path / "all.jsonl")
        again = propagate(other, panel, "cluster", by="where")
        assert [record.key for record in again.strokes] == ["p/0"]
        assert [record.propagated for record in other.records()] == [False] + [True] * 39


def test_what_came_from_a_stroke_that_was_painted_anew_is_taken_back_with_the_next_writing(panel, log):
    log.mark("p/0", irrelevant=MARK)
    first = propagate(log, panel).write()
    log.mark("p/0", irrelevant=MARK | OTHER)
    preview = propagate(log, panel, "cluster", by="where")
    assert preview.outdated == tuple(record.id for record in first)
    assert "39 records propagated from strokes that no longer stand are taken back" in repr(preview)
    records = preview.write()
    assert {record.kind for record in records} == {"rationale"}
    expected = {f"p/{row}": MARK | OTHER for row in range(0, 80, 4)}
    assert log.regions() == expected
    log.undo()  # the whole writing, with what it took back
    assert {record.id for record in first} <= {record.id for record in log.records()}
    log.redo()
    assert log.regions() == expected


def test_rows_that_a_stroke_still_reaches_keep_their_region_though_its_record_is_a_new_one(panel, log):
    log.mark("p/0", irrelevant=MARK)
    propagate(log, panel).write()
    log.mark("p/0", irrelevant=MARK)
    before = log.regions()
    (second, *_) = propagate(log, panel).write()
    assert log.regions() == before
    assert second.source == 41


def test_without_any_stroke_what_was_propagated_is_told(panel, log):
    (painted,) = log.mark("p/0", irrelevant=MARK)
    propagate(log, panel).write()
    log.undo(painted)
    with pytest.raises(FeedbackError, match=r"39 rows still have what was propagated to them: feedback.undo"):
        propagate(log, panel)


def test_rows_whose_region_is_replaced_are_counted(panel, log):
    log.mark("p/0", irrelevant=MARK)
    propagate(log, panel).write()
    log.mark("p/2", irrelevant=MARK | OTHER)
    preview = propagate(log, panel, "cluster", by="where")
    assert preview.replaced == 19
    assert preview.outdated == ()
    assert "19 have another region from an earlier propagation, which this one replaces" in repr(preview)


def test_a_preview_is_written_once(panel, log):
    log.mark("p/0", irrelevant=MARK)
    preview = propagate(log, panel)
    preview.write()
    with pytest.raises(FeedbackError, match="written once; this one was, as records 2 to 40"):
        preview.write()
    assert log.version == 40


def test_a_stroke_that_another_person_painted_over_is_no_longer_what_was_painted(panel, log):
    log.mark("p/0", irrelevant=MARK)
    preview = propagate(log, panel)
    log.mark("p/0", irrelevant=OTHER, author="bob")
    with pytest.raises(FeedbackError, match=r"records \[1\] were taken back or painted anew"):
        preview.write()


def test_under_union_each_of_the_voices_must_still_be_there(panel, log):
    (one,) = log.mark("p/0", irrelevant=MARK)
    log.mark("p/0", irrelevant=OTHER, author="bob")
    preview = propagate(log, panel, "all", rule="union")
    log.undo(one)
    with pytest.raises(FeedbackError, match=r"records \[2\] were taken back or painted anew"):
        preview.write()


def test_strokes_on_pictures_of_several_sizes_reach_those_of_their_own_size(log):
    small, large = np.zeros((2, 8, 8), np.uint8), np.zeros((3, 16, 16), np.uint8)
    small[:, :2, :2], large[:2, :3, :3] = 200, 90
    pictures = [small[0], large[0], small[1], large[1], large[2]]
    panel = DataPanel({"image": ImageColumn([Image.fromarray(picture) for picture in pictures])}, origin="p")
    marks = [ImageRegion.box(0, 0, 2, 2, size=(8, 8)), ImageRegion.box(0, 0, 3, 3, size=(16, 16))]
    for row, mark in enumerate(marks):
        log.mark(f"p/{row}", irrelevant=mark)
    preview = propagate(log, panel)
    assert [mask.shape for mask in preview.panel["propagated"].to_list()] == [(8, 8), (16, 16)]
    assert "propagated" in preview._repr_html_()
    preview.write()
    assert log.regions() == dict(zip(["p/0", "p/1", "p/2", "p/3"], 2 * marks, strict=True))
    assert propagate(log, panel, rest="all").keys == ("p/4",)
    log.mark("p/3", irrelevant=marks[0])
    with pytest.raises(FeedbackError, match="that on row 3 is of 8×8 pixels, and its picture is not"):
        propagate(log, panel)


def test_a_row_that_a_panel_has_several_times_is_told_once(panel, log):
    log.mark("p/0", irrelevant=MARK)
    assert propagate(log, panel[[0, 1, 0, 4, 4]], "all").keys == ("p/1", "p/4")


def test_where_no_stroke_is_nearer_the_one_that_was_painted_first_is_the_source(panel, log):
    for row in (5, 3):
        log.mark(f"p/{row}", irrelevant=MARK)
    assert propagate(log, panel, "all").sources == {1: 78, 2: 0}


def test_spans_on_pictures_are_told_in_words(tmp_path):
    panel = DataPanel({"image": ImageColumn(np.zeros((3, *SIZE), np.uint8))}, origin="p")
    with Feedback(tmp_path / "feedback.db", author="ada") as log:
        log.mark("p/0", irrelevant=[(0, 4)])
        with pytest.raises(FeedbackError, match="holds images"):
            propagate(log, panel)

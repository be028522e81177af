import json

import numpy as np
import pytest

import workbench as wb
from columns import TextColumn
from workbench.errors import FeedbackError
from workbench.feedback import VERDICTS, Feedback, ImageRegion, rationale

MARK = ImageRegion.box(1, 1, 2, 2, size=(5, 6))


@pytest.fixture
def log(tmp_path):
    with Feedback(tmp_path / "feedback.db", author="ada") as log:
        yield log


@pytest.fixture
def other(tmp_path):
    with Feedback(tmp_path / "other.db", author="eve") as log:
        yield log


def speak(log):
    """Say something of every kind, take some of it back, and bring some of that back."""
    (stroke,) = log.mark("p/1", irrelevant=MARK, model="m1", shown={"method": "gradient"}, how="simulated")
    log.write(
        [rationale(f"p/{i}", "irrelevant", MARK, how="propagated", source=stroke.id, author="ada") for i in (2, 3)]
    )
    log.mark("p/4", relevant=[(0, 2)], column="text", author="bob")
    log.correct("p/4", "Käfer")
    log.judge("p/4", VERDICTS[2])
    log.note("p/4", "zwei\nZeilen 🦉")
    log.undo()
    log.undo(2)
    log.undo(9)
    log.tag("p/5", "odd")


def meaning(records):
    """Return what records say, whatever their numbers: those that they name are told by what these say."""
    by_id = {record.id: record for record in records}

    def told(record):
        body = record.body if record.kind != "undo" else [told(by_id[i]) for i in record.of]
        source = None if record.source is None else told(by_id[record.source])
        return repr((record.uid, record.kind, record.key, body, record.column, record.author, record.time, record.model,
                     record.shown, source))  # fmt: skip

    return [told(record) for record in records]


# JSON Lines


def test_json_lines_carry_everything_to_a_log_that_has_said_other_things(log, other, tmp_path):
    speak(log)
    other.tag("q/1", "mine")
    assert log.export_jsonl(tmp_path / "all.jsonl") == log.version == 11
    added = other.import_jsonl(tmp_path / "all.jsonl")
    assert len(added) == 11
    assert meaning(other.records(standing=False)[1:]) == meaning(log.records(standing=False))
    assert meaning(other.records()[1:]) == meaning(log.records())
    assert {r.how for r in added} == {"imported"}
    assert other.regions() == log.regions()
    assert other.regions("relevant", column="text") == log.regions("relevant", column="text")


def test_what_is_there_already_is_not_added_again(log, other, tmp_path):
    speak(log)
    log.export_jsonl(tmp_path / "one.jsonl")
    other.import_jsonl(tmp_path / "one.jsonl")
    assert other.import_jsonl(tmp_path / "one.jsonl") == ()
    assert log.import_jsonl(tmp_path / "one.jsonl") == ()
    log.undo(1)
    other.tag("q/1", "mine")
    log.export_jsonl(tmp_path / "two.jsonl")
    other.export_jsonl(tmp_path / "back.jsonl")
    (undo,) = other.import_jsonl(tmp_path / "two.jsonl")
    assert other.regions() == log.regions()
    assert undo.of == (1,)
    (tag,) = log.import_jsonl(tmp_path / "back.jsonl")
    assert tag.author == "eve"


def test_two_files_one_after_the_other_are_read_as_two(log, other, tmp_path):
    log.tag("a", "odd")
    log.undo()
    other.tag("b", "even")
    other.tag("c", "even")
    other.undo(1)
    for name, said in (("one", log), ("two", other)):
        said.export_jsonl(tmp_path / name)
    both = tmp_path / "both"
    both.write_text((tmp_path / "one").read_text() + (tmp_path / "two").read_text() + (tmp_path / "one").read_text())
    with Feedback(tmp_path / "third.db") as third:
        assert len(third.import_jsonl(both)) == 5
        assert [r.key for r in third.records()] == ["c"]


def test_a_log_is_restored_as_it_was(log, other, tmp_path):
    speak(log)
    log.export_jsonl(tmp_path / "all.jsonl")
    other.import_jsonl(tmp_path / "all.jsonl", how=None)
    assert other.records(standing=False) == log.records(standing=False)


def test_lines_written_by_hand_are_known_again(log, tmp_path):
    line = json.dumps({"kind": "label", "key": "p/1", "body": {"label": "owl"}, "author": "bob"})
    (tmp_path / "hand.jsonl").write_text(f"{line}\n\n{line}\n")
    (record,) = log.import_jsonl(tmp_path / "hand.jsonl")
    assert (record.author, record.how, record.id) == ("bob", "imported", 1)
    assert log.import_jsonl(tmp_path / "hand.jsonl") == ()


def test_a_line_without_an_author_is_by_who_imports_it_and_can_be_taken_back(log, tmp_path):
    (tmp_path / "hand.jsonl").write_text(json.dumps({"kind": "tag", "key": "p/1", "body": {"tag": "odd"}}))
    (record,) = log.import_jsonl(tmp_path / "hand.jsonl")
    assert record.author == "ada"
    assert log.undo().of == (1,)


GOOD = json.dumps({"kind": "tag", "key": "p/1", "body": {"tag": "odd"}, "author": "ada", "id": 1})


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("{", "Expecting property name"),
        ("[1, 2]", "A record has"),
        ('{"kind": "tag", "key": "x"}', "has 'kind', 'key' and 'body'"),
        ('{"kind": "tag", "key": "x", "body": {"tag": "y"}, "colour": 1}', "colour"),
        ('{"kind": "tag", "key": "", "body": {"tag": "y"}}', "`key` must be text"),
        ('{"kind": ["tag"], "key": "x", "body": {"tag": "y"}}', "`kind` must be one of"),
        ('{"kind": "tag", "key": "x", "body": {"tag": "y"}, "shown": {"at": NaN}}', "must be finite; got NaN"),
        ('{"kind": "undo", "key": "", "body": {"of": [7]}}', "names record 7, which is not in the file before it"),
        ('{"kind": "tag", "key": "x", "body": {"tag": "y"}, "source": 4}', "names record 4"),
        ('{"kind": "tag", "key": "x", "body": {"tag": "y"}, "id": "2"}', "number of a record"),
        ('{"kind": "tag", "key": "x", "body": {"tag": "y"}, "uid": 2}', "`uid` must be text"),
        ('{"kind": "rationale", "key": "x", "column": "i", "body": {"role": "irrelevant", "region": '
         '{"kind": "image", "height": 2, "width": 2, "counts": [5]}}}', "sum to 4"),
        ("[" * 100_000, "recursion|Recursion"),
        ("\udcff", "'utf-8' codec"),
    ],
)  # fmt: skip
def test_garbage_is_refused_with_its_line_and_nothing_is_added(log, tmp_path, bad, words):
    log.tag("z", "mine")
    (tmp_path / "bad.jsonl").write_bytes(f"{GOOD}\n\n{bad}\n".encode(errors="surrogateescape"))
    with pytest.raises(FeedbackError, match=rf"Line 3 of '.*bad\.jsonl'.*({words})"):
        log.import_jsonl(tmp_path / "bad.jsonl")
    assert log.version == 1


def test_an_export_that_fails_leaves_the_file_before_it(log, tmp_path):
    speak(log)
    log.export_jsonl(tmp_path / "all.jsonl")
    before = (tmp_path / "all.jsonl").read_bytes()
    with pytest.raises(FeedbackError, match="Spans are of texts"):
        log.export_spans(tmp_path / "all.jsonl", column="image")
    with pytest.raises(FeedbackError, match="COCO has masks of pictures"):
        log.export_coco(tmp_path / "all.jsonl", column="text")
    assert (tmp_path / "all.jsonl").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir() if "draft" in p.name) == []


# COCO


@pytest.fixture
def photos():
    names = ["p/cats/1.jpg", "p/cats/2.jpg", "p/dogs/1.jpg", "p/3.jpg"]
    keys = wb.DataPanel({"key": TextColumn(names)})
    import pyarrow as pa

    from workbench.keys import key_node

    return wb.DataPanel._of(keys._columns, key_node(4, "p", pa.array([name[2:] for name in names])))


def test_masks_go_to_coco_and_come_back(log, other, tmp_path):
    rng = np.random.default_rng(0)
    masks = {f"p/{i}": rng.random((5, 6)) < 0.4 for i in range(4)}
    for key, mask in masks.items():
        log.mark(key, irrelevant=mask, relevant=~mask)
    assert log.export_coco(tmp_path / "coco.json") == 8
    whole = json.loads((tmp_path / "coco.json").read_text())
    assert [c["name"] for c in whole["categories"]] == ["irrelevant", "relevant"]
    first = whole["annotations"][0]
    assert first["area"] == masks["p/0"].sum()
    rows, columns = np.nonzero(masks["p/0"])
    assert first["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    assert first["segmentation"] == {"size": [5, 6], "counts": list(ImageRegion.from_mask(masks["p/0"]).counts)}
    added = other.import_coco(tmp_path / "coco.json")
    assert len(added) == 8
    assert {(r.how, r.author) for r in added} == {("imported", "eve")}
    for role in ("irrelevant", "relevant"):
        assert other.regions(role) == log.regions(role)


def coco(path, annotations, images=None, categories=None):
    images = images or [{"id": 7, "file_name": "cats/1.jpg", "height": 5, "width": 6}]
    categories = categories or [{"id": 1, "name": "irrelevant"}, {"id": 2, "name": "relevant"}]
    whole = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(whole))
    return path


def annotation(segmentation, image=7, category=1):
    return {"id": 5, "image_id": image, "category_id": category, "segmentation": segmentation}


def test_polygons_and_both_run_lengths_of_one_picture_come_to_one_region(log, photos, tmp_path):
    path = coco(
        tmp_path / "coco.json",
        [
            annotation([[1, 1, 3, 1, 3, 3, 1, 3]]),
            annotation({"size": [5, 6], "counts": [28, 2]}),
            annotation({"size": [5, 6], "counts": "02l0"}),
        ],
    )
    (record,) = log.import_coco(path, panel=photos)
    wanted = ImageRegion.box(1, 1, 2, 2, size=(5, 6)) | ImageRegion(5, 6, (28, 2)) | ImageRegion(5, 6, (0, 2, 28))
    assert record.region == wanted
    assert record.key == "p/cats/1.jpg"


def test_pictures_are_found_by_key_or_by_the_end_of_it(log, photos, tmp_path):
    names = [{"key": "p/3.jpg"}, {"file_name": "2.jpg"}, {"file_name": "dogs/1.jpg"}, {"file_name": "p/cats/1.jpg"}]
    images = [{"id": i, "height": 5, "width": 6, **name} for i, name in enumerate(names)]
    shape = {"size": [5, 6], "counts": [28, 2]}
    path = coco(tmp_path / "coco.json", [annotation(shape, i) for i in range(4)], images)
    found = log.import_coco(path, panel=photos)
    assert [r.key for r in found] == ["p/3.jpg", "p/cats/2.jpg", "p/dogs/1.jpg", "p/cats/1.jpg"]
    unsaid = log.import_coco(path)
    assert [r.key for r in unsaid] == ["p/3.jpg", "2.jpg", "dogs/1.jpg", "p/cats/1.jpg"]


def test_other_categories_count_as_what_one_says(log, tmp_path):
    categories = [{"id": 1, "name": "watermark"}, {"id": 2, "name": "sky"}]
    shape = {"size": [5, 6], "counts": [28, 2]}
    path = coco(tmp_path / "coco.json", [annotation(shape), annotation(shape, category=2)], None, categories)
    with pytest.raises(FeedbackError, match=r"category 'watermark' is neither.*categories="):
        log.import_coco(path)
    (record,) = log.import_coco(path, categories={"watermark": "relevant"})
    assert record.body["role"] == "relevant"


@pytest.mark.parametrize(
    ("annotations", "images", "words"),
    [
        ([annotation({"size": [6, 5], "counts": [30]})], None, r"Annotation 1 .*\[5, 6\]; got \[6, 5\]"),
        ([annotation({"size": [5, 6], "counts": [31]})], None, "sum to 30"),
        ([annotation({"size": [5, 6], "counts": None})], None, "whole numbers"),
        ([annotation([])], None, "polygons or run lengths"),
        ([annotation(None)], None, "polygons or run lengths"),
        ([annotation([[1, 2, "x", 4, 5, 6]])], None, "x and y"),
        ([annotation([[1, 2, 3, 4, 5, 6]], image=8)], None, "must name an image and a category"),
        ([annotation([[1, 2, 3, 4, 5, 6]], image=[8])], None, "ids must be numbers or text"),
        ([annotation([[1, 2, 3, 4, 5, 6]], category=None)], None, "ids must be numbers or text; got None"),
        ([annotation([[1, 2, 3, 4, 5, 6]])], [{"id": 7, "file_name": "x"}], "`height`"),
        ([annotation([[1, 2, 3, 4, 5, 6]])], [{"id": 7, "file_name": "x", "height": 10**9, "width": 10**9}], "at most"),
        ([annotation([[1, 2, 3, 4, 5, 6]])], [{"id": 7, "height": 5, "width": 6}], "a 'file_name' or a 'key'"),
        ([annotation([[1, 2, 3, 4, 5, 6]])], [{"id": 7, "file_name": "1.jpg", "height": 5, "width": 6}],
         "'1.jpg' must be one row of the panel; several"),
        ([annotation([[1, 2, 3, 4, 5, 6]])], [{"id": 7, "file_name": "9.jpg", "height": 5, "width": 6}],
         "no row of the panel"),
        (3, None, "must hold lists of objects"),
        ([3], None, "must hold lists of objects"),
    ],
)  # fmt: skip
def test_coco_that_does_not_fit_is_refused_and_nothing_is_added(log, photos, tmp_path, annotations, images, words):
    shape = annotation({"size": [5, 6], "counts": [28, 2]})
    both = annotations if annotations == 3 or annotations == [3] else [*annotations, shape]
    with pytest.raises(FeedbackError, match=words):
        log.import_coco(coco(tmp_path / "coco.json", both, images), panel=photos)
    assert log.version == 0


# Spans


def test_spans_go_to_json_and_come_back(log, other, tmp_path):
    log.mark("t/1", irrelevant=[(3, 5), (0, 2)], relevant=[(7, 9)], column="text")
    log.mark("t/Käfer", relevant=[(1, 4)], column="text")
    assert log.export_spans(tmp_path / "spans.json") == 2
    assert json.loads((tmp_path / "spans.json").read_text()) == [
        {"key": "t/1", "irrelevant": [[0, 2], [3, 5]], "relevant": [[7, 9]]},
        {"key": "t/Käfer", "relevant": [[1, 4]]},
    ]
    assert len(other.import_spans(tmp_path / "spans.json", author="bob")) == 3
    for role in ("irrelevant", "relevant"):
        assert other.regions(role, column="text") == log.regions(role, column="text")
    assert {r.author for r in other.records()} == {"bob"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[\n{"key": "a", "irrelevant": [[0, 1]]},\n{"key": "b",, ]', "Line 3 of .* is not JSON"),
        ('{"key": "a"}', "must hold a list"),
        ('[{"key": "a", "irrelevant": [[0, 1]]}, {"key": "b"}]', "Item 2 .*an item must have a 'key'"),
        ('[{"key": "a", "irrelevant": [[0, 1]]}, {"key": "b", "relevant": [[4, 2]]}]', "Item 2 .*0 ≤ start ≤ end"),
        ('[{"key": "", "irrelevant": [[0, 1]]}]', "Item 1 .*`key`"),
        ('[{"key": "a", "irrelevant": 3}]', "Item 1 .*pairs of whole numbers"),
        ('[{"key": "a", "irrelevant": [[0, NaN]]}]', "must be finite"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_spans_that_are_none_are_refused_and_nothing_is_added(log, tmp_path, text, words):
    (tmp_path / "spans.json").write_text(text)
    with pytest.raises(FeedbackError, match=words):
        log.import_spans(tmp_path / "spans.json")
    assert log.version == 0


def test_what_is_imported_comes_after_what_is_there_whatever_the_clocks_say(tmp_path):
    older, log = (Feedback(tmp_path / name, author="ada") for name in ("older.db", "log.db"))
    older.mark("k", irrelevant=np.array([True, False, False]))
    (newer,) = log.mark("k", irrelevant=np.array([False, True, False]))
    older.export_jsonl(tmp_path / "older.jsonl")
    (added,) = log.import_jsonl(tmp_path / "older.jsonl")
    assert added.time < newer.time
    assert log.regions()["k"] == added.region
    log.undo()
    assert log.regions()["k"] == newer.region

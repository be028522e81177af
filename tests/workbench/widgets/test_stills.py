"""A still of a view: rows, captions and marks as HTML that stands alone, and nothing is computed for it."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

import workbench as wb
from columns.errors import RowError
from workbench import DataPanel, Feedback, ImageColumn, ImageRegion
from workbench.feedback import TextRegion
from workbench.widgets.session import Session
from workbench.widgets.stills import Still, still_html, still_text
from workbench.widgets.tiles import COLOURS, marked_text, picture_tile, plain_cells

NASTY = '<script>alert("1")</script><img src=x onerror=alert(1)>\'"&'
BLUE = tuple(bytes.fromhex(COLOURS["irrelevant"][1:]))


class Elements(HTMLParser):
    """What elements a page has, with their attributes; fails on one that is not closed."""

    EMPTY = ("img", "br")

    def __init__(self, page):
        super().__init__()
        self.found, self.open, self.words = [], [], ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data

    def tags(self, name):
        return [attrs for tag, attrs in self.found if tag == name]


def pixels(tag):
    data = re.search(r"base64,([^\"]+)", tag if isinstance(tag, str) else tag["src"])[1]
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


def pictures(rows, size=(12, 12), seed=0):
    return ImageColumn(np.random.default_rng(seed).integers(0, 50, (rows, *size)).astype(np.uint8))


def test_the_first_rows_are_shown_with_their_captions_and_how_many_there_are():
    panel = DataPanel({"image": pictures(60), "label": ["cat", "dog"] * 30}, origin="pets")
    still = Still(panel, np.arange(0, 60, 2), on="image", label="label", where="label == 'cat'", selected=3)
    page = Elements(still.html())
    assert len(page.tags("img")) == 24
    assert page.words.count("cat") == 25
    assert "dog" not in page.words
    assert page.words.startswith("30 of 60 rows, where label == 'cat', 3 selected, the first 24 here")
    assert still.text() == "30 of 60 rows, where label == 'cat', 3 selected: image, label"


def test_label_and_prediction_are_told_and_what_is_not_computed_is_not():
    model = wb.Classifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 2)), ("cat", "dog"))
    panel = DataPanel({"image": pictures(6), "label": ["cat", "dog"] * 3}, origin="pets").predict(model)
    still = Still(panel, np.arange(6), on="image", label="label", prediction="prediction")
    assert "→" not in Elements(still.html()).words
    assert not panel["prediction"].is_computed()
    answers = panel["prediction"].label.to_list()
    words = Elements(still.html()).words
    for label, answer in zip(panel["label"].to_list(), answers, strict=True):
        assert f"{label} → {answer}" in words
    alone = Still(panel, np.arange(6), on="image", prediction="prediction")
    assert f"→ {answers[0]}" in Elements(alone.html()).words


def test_marks_are_painted_over_small_and_large_pictures():
    for size in ((12, 12), (400, 300)):
        height, width = size
        mark = ImageRegion.box(0, 0, height // 4, width // 4, size=size)
        picture = Image.fromarray(np.full(size, 200, np.uint8))
        painted = pixels(picture_tile(picture, {"irrelevant": mark, "relevant": None}, 96, ""))
        assert painted.height == 96
        assert np.abs(np.subtract(painted.getpixel((0, 0)), BLUE)).max() < 24  # JPEG is not exact
        assert np.abs(np.subtract(painted.getpixel((painted.width - 1, 95)), 200)).max() < 24


def test_a_stroke_of_one_pixel_of_a_large_picture_is_seen():
    mask = np.zeros((960, 960), bool)
    mask[500, 500] = True
    picture = Image.fromarray(np.zeros((960, 960), np.uint8))
    painted = pixels(picture_tile(picture, {"irrelevant": ImageRegion.from_mask(mask)}, 96, ""))
    assert np.asarray(painted)[50, 50, 2] > 100


def test_texts_are_cards_with_marked_words_and_nothing_in_them_is_markup():
    texts = [f"{NASTY} {row} word" for row in range(30)]
    panel = DataPanel({"text": texts, "label": [NASTY] * 30}, origin="mail")
    marks = {3: {"irrelevant": TextRegion(((0, 8),), len(texts[3]))}}
    where = f"text == {NASTY!r}"
    still = Still(panel, np.arange(30), "text", "label", where=where, marks=lambda row: marks.get(row, {}))
    page = Elements(still.html())
    assert not page.tags("script")
    assert not page.tags("img")
    assert len(page.tags("u")) == 1
    assert all(not name.startswith("on") for _, attributes in page.found for name in attributes)
    assert page.words.count(f"{NASTY} ") == 24
    assert "must not matter" in page.words
    assert "should matter" not in page.words


def test_marks_that_overlap_or_reach_beyond_what_is_shown_do_no_harm():
    marks = {"irrelevant": TextRegion(((2, 6), (8, 20)), 20), "relevant": TextRegion(((4, 9),), 20)}
    shown = marked_text("abcdefghijklmnopqrst", marks, longest=10)
    assert re.sub(r"<[^>]+>", "|", shown) == "ab|cd||efghi||j|…"
    assert marked_text("", marks) == ""
    assert "null" in marked_text(None, marks)


def test_what_is_neither_picture_nor_text_is_a_table_of_what_is_computed():
    panel = DataPanel({"x": torch.eye(20), "name": [f"<{row}>" for row in range(20)]}, origin="rows")
    panel["later"] = panel["x"].map(lambda batch: pytest.fail("nothing is computed"), to=wb.TensorColumn)
    page = Elements(Still(panel, np.arange(20)).html())
    assert len(page.tags("tr")) == 13
    assert "<11>" in page.words
    assert "<12>" not in page.words
    assert page.words.count("not computed") == 12


def test_a_picture_that_cannot_be_read_and_one_that_is_null_are_dashes(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    Image.new("L", (9, 9)).save(tmp_path / "good.png")
    files = ImageColumn([str(tmp_path / "broken.png"), None, str(tmp_path / "good.png")])
    with pytest.raises(RowError):
        files.values()
    page = Still(DataPanel({"image": files}), np.arange(3), on="image").html()
    assert len(Elements(page).tags("img")) == 1
    assert page.count("could not be read") == 2


def test_pictures_that_a_function_makes_are_not_made():
    made = pictures(3).map(lambda picture: pytest.fail("nothing is computed"), to=ImageColumn)
    page = Still(DataPanel({"image": made}), np.arange(3), on="image").html()
    assert "not computed" in page


def test_even_the_noisiest_pictures_stay_within_the_size():
    noise = np.random.default_rng(0).integers(0, 256, (30, 200, 300, 3)).astype(np.uint8)
    panel = DataPanel({"image": ImageColumn(noise), "long": ["x" * 100_000] * 30}, origin="noise")
    page = Still(panel, np.arange(30), on="image", label="long").html()
    assert 20_000 < len(page) <= 200_000
    tables = Still(panel.drop("image").assign(map=torch.rand(30, 64, 64)), np.arange(30)).html()
    assert len(tables) <= 200_000


def test_no_row_and_no_column_are_stills_too():
    panel = DataPanel({"image": pictures(3)})
    assert Elements(Still(panel, np.zeros(0, np.uint32), on="image", where="False").html()).words.startswith("0 of 3")
    assert Elements(Still(DataPanel(), np.zeros(0, np.uint32)).html()).words.startswith("0 rows")
    assert plain_cells(DataPanel({"a": []})["a"]) == []


def test_a_still_needs_no_style_sheet_and_no_script_and_fetches_nothing():
    panel = DataPanel({"image": pictures(3), "label": ["a", "b", "c"]})
    page = Elements(Still(panel, np.arange(3), on="image", label="label").html())
    assert {tag for tag, _ in page.found} <= {"div", "p", "b", "span", "table", "tr", "td", "img", "br", "small"}
    for image in page.tags("img"):
        assert image["src"].startswith("data:image/")
        assert (image["width"], image["height"]) == ("96", "96")
        assert image["alt"].startswith("row ")


def test_a_view_tells_what_it_shows(tmp_path):
    log = Feedback(tmp_path / "feedback.db", author="ada")
    panel = DataPanel({"image": pictures(20), "label": ["cat", "dog"] * 10, "age": list(range(20))}, origin="pets")
    session = Session(panel, feedback=log)
    try:
        log.mark("pets/4", irrelevant=ImageRegion.box(0, 0, 4, 4, size=(12, 12)))
        session.narrow("age > 2", {"label": {"values": ["cat"]}}, {"by": "age", "ascending": False})
        assert (
            still_text(session) == "Explorer of 8 of 20 rows, where (age > 2) and label in ['cat']: image, label, age"
        )
        page = Elements(still_html(session))
        assert [image["alt"] for image in page.tags("img")] == [f"row {row}" for row in range(18, 2, -2)]
        assert "must not matter" in page.words
        marked = pixels(page.tags("img")[-1])
        assert np.abs(np.subtract(marked.getpixel((0, 0)), BLUE)).max() < 2
        log.close()
    finally:
        session.close()

"""Which JPEG files may be sent to a page as they are."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from columns import ImageColumn
from columns.jpeg import shown_as_read
from columns.selection import Selection


def jpeg(height: int = 20, width: int = 30, mode: str = "RGB", **how: object) -> bytes:
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise, mode).save(file, "JPEG", **how)
    return file.getvalue()


def turned() -> bytes:
    tags = Image.Exif()
    tags[0x0112] = 6  # the camera lay on its side
    return jpeg(exif=tags)


def of_bits(bits: int) -> bytes:
    data = bytearray(jpeg())
    data[data.index(b"\xff\xc0") + 4] = bits
    return bytes(data)


@pytest.mark.parametrize(
    "how", [{}, {"progressive": True}, {"mode": "L"}, {"comment": b"words"}, {"restart_marker_rows": 1}]
)
def test_a_plain_file_that_is_no_higher_is_sent(how: dict[str, object]) -> None:
    assert shown_as_read(jpeg(**how), 20, "RGB")
    assert not shown_as_read(jpeg(**how), 19, "RGB")


@pytest.mark.parametrize(
    "data",
    [turned(), jpeg(icc_profile=b"a profile"), jpeg(mode="CMYK"), of_bits(12), jpeg()[:-2], jpeg()[:40] + b"\xff\xd9"],
    ids=["orientation", "colour profile", "four colours", "twelve bits", "cut off", "cut off within the head"],
)
def test_what_a_browser_would_show_otherwise_is_not_sent(data: bytes) -> None:
    assert not shown_as_read(data, 64, "RGB")


def test_a_coloured_file_that_is_read_as_grey_is_not_sent() -> None:
    assert not shown_as_read(jpeg(), 64, "L")
    assert shown_as_read(jpeg(mode="L"), 64, "L")


@given(st.binary(max_size=80), st.integers(0, 400))
def test_no_bytes_whatever_make_it_fail(noise: bytes, at: int) -> None:
    data = jpeg()
    assert shown_as_read(data[:at] + noise + data[at:], 64, "RGB") in (True, False)
    assert not shown_as_read(noise, 64, "RGB")


def test_of_a_column_small_files_are_given_in_its_order_and_nothing_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = jpeg(), jpeg(200, 300, quality=95)
    for name, data in (("small.jpg", small), ("large.jpg", large), ("cut.jpg", small[:-9])):
        (tmp_path / name).write_bytes(data)
    Image.new("RGB", (9, 9)).save(tmp_path / "picture.png")
    names = ["large.jpg", "small.jpg", "picture.png", "cut.jpg", "missing.jpg", None]
    column = ImageColumn(names, base=tmp_path)

    def refuse(*args: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(Image, "open", refuse)
    assert column.small_files() == [None, small, None, None, None, None]
    assert column[[1, 0, 1]].small_files() == [small, None, small]
    assert len(large) > 1 << 15
    assert column[:1].small_files(200) == [None]  # low enough, and heavier than a thumbnail of it
    assert ImageColumn([small, None]).small_files() == [small, None]
    assert column.resize((8, 8)).small_files() == [None] * 6
    assert ImageColumn(np.zeros((2, 8, 8), np.uint8)).small_files() == [None, None]
    assert column[:0].small_files() == []
    joined = type(column).over(column.node, Selection(np.array([1, -1])), column.spec)  # as an outer join has it
    assert joined.small_files() == [small, None]

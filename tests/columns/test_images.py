"""Pictures: any format Pillow reads, the same pixels alone and in a batch, small where a thumbnail is enough."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from columns import FunctionError, ImageColumn, KindError, ObjectColumn, RowError, RowsFailedWarning, concat
from columns import decoding as decoding_module


def noise(height: int = 12, width: int = 17, channels: int = 3, seed: int = 0) -> Image.Image:
    """Smooth noise, so that JPEG keeps most of it."""
    small = np.random.default_rng(seed).integers(0, 256, (max(1, height // 4), max(1, width // 4), channels), np.uint8)
    picture = Image.fromarray(small[:, :, 0] if channels == 1 else small)
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(data: bytes, mode: str = "RGB") -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert(mode))


@pytest.fixture(params=["simplejpeg", "pillow"])
def decoder(request, monkeypatch):
    """Both decoders of JPEG, where both are there."""
    if request.param == "pillow":
        monkeypatch.setenv("COLUMNS_JPEG", "pillow")
    else:
        pytest.importorskip("simplejpeg")
        monkeypatch.delenv("COLUMNS_JPEG", raising=False)
    decoding_module._simplejpeg.cache_clear()
    yield request.param
    decoding_module._simplejpeg.cache_clear()


def palette_with_transparency() -> bytes:
    picture = noise().quantize(16)
    return encoded(picture, "PNG", transparency=bytes([0, 128] + [255] * 14))


FORMATS = {
    "PNG": encoded(noise(), "PNG"),
    "JPEG": encoded(noise(), "JPEG", quality=90),
    "JPEG 4:4:4": encoded(noise(), "JPEG", quality=90, subsampling=0),
    "progressive JPEG": encoded(noise(), "JPEG", progressive=True),
    "grey JPEG": encoded(noise(channels=1), "JPEG"),
    "CMYK JPEG": encoded(noise().convert("CMYK"), "JPEG"),
    "WebP": encoded(noise(), "WEBP", lossless=True),
    "GIF": encoded(noise().quantize(32), "GIF"),
    "BMP": encoded(noise(), "BMP"),
    "TIFF": encoded(noise(), "TIFF"),
    "grey PNG": encoded(noise(channels=1), "PNG"),
    "palette PNG": encoded(noise().quantize(8), "PNG"),
    "transparent palette PNG": palette_with_transparency(),
    "RGBA PNG": encoded(noise(channels=4), "PNG"),
    "grey and alpha PNG": encoded(noise(channels=1).convert("LA"), "PNG"),
    "one bit PNG": encoded(noise(channels=1).convert("1"), "PNG"),
    "PPM": encoded(noise(), "PPM"),
}


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize("data", FORMATS.values(), ids=FORMATS.keys())
def test_a_picture_of_any_format_is_the_same_alone_in_batches_and_in_pillow(
    decoder: str, data: bytes, mode: str
) -> None:
    column = ImageColumn([data, data], mode=mode)
    alone = np.asarray(column[0])
    assert column[0].mode == mode
    assert column[0].size == (17, 12)
    batches = []
    column.map(lambda x: batches.append(x.clone()) or [0] * len(x), batched=True, to="scalar").compute()
    (batch,) = batches
    assert batch.dtype == torch.uint8
    assert tuple(batch.shape) == (2, {"L": 1, "RGB": 3, "RGBA": 4}[mode], 12, 17)
    for row in batch:
        np.testing.assert_array_equal(np.squeeze(row.permute(1, 2, 0).numpy()), alone)
    if mode == "L" and data[:2] == b"\xff\xd8":
        # The brightness that the file holds, which a way over RGB would round twice.
        np.testing.assert_allclose(alone.astype(int), plain(data, mode).astype(int), atol=3)
    elif data is FORMATS["transparent palette PNG"]:
        with Image.open(io.BytesIO(data)) as picture:
            np.testing.assert_array_equal(alone, np.asarray(picture.convert("RGBA").convert(mode)))
    else:
        np.testing.assert_array_equal(alone, plain(data, mode))


@pytest.mark.skipif(decoding_module._simplejpeg() is None, reason="simplejpeg is not installed")
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("name", [name for name in FORMATS if "JPEG" in name])
@pytest.mark.parametrize("size", [None, (6, 8)])
def test_both_decoders_give_the_same_pixels(name: str, mode: str, size, monkeypatch) -> None:
    def pixels(which: str) -> np.ndarray:
        monkeypatch.setenv("COLUMNS_JPEG", which)
        decoding_module._simplejpeg.cache_clear()
        column = ImageColumn([FORMATS[name]], mode=mode)
        return np.asarray((column if size is None else column.resize(size))[0])

    one, two = pixels("simplejpeg"), pixels("pillow")
    monkeypatch.undo()
    decoding_module._simplejpeg.cache_clear()
    np.testing.assert_array_equal(one, two)


def test_sixteen_bit_greys_keep_their_high_byte(tmp_path: Path) -> None:
    deep = (np.arange(0, 65536, 256, dtype=np.uint16)).reshape(16, 16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(deep).save(tmp_path / "deep.tif")
    for mode in ("L", "RGB"):
        for name in ("deep.png", "deep.tif"):
            pixels = np.asarray(ImageColumn([tmp_path / name], mode=mode)[0])
            np.testing.assert_array_equal(pixels if mode == "L" else pixels[:, :, 0], deep >> 8)


def test_paths_bytes_arrays_tensors_and_pictures_give_the_same_rows(tmp_path: Path) -> None:
    picture = noise(8, 8)
    pixels = np.asarray(picture)
    picture.save(tmp_path / "x.png")
    columns = [
        ImageColumn([tmp_path / "x.png"]), ImageColumn(["x.png"], base=tmp_path),
        ImageColumn([encoded(picture, "PNG")]), ImageColumn(pixels[None]),
        ImageColumn(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]),
        ImageColumn([picture]), ImageColumn([pixels]),
    ]  # fmt: skip
    for column in columns:
        np.testing.assert_array_equal(np.asarray(column[0]), pixels)
        assert column.to_torch().shape == (1, 3, 8, 8)
        np.testing.assert_array_equal(column.to_torch()[0].permute(1, 2, 0).numpy(), pixels)
        batch = column.map(lambda x: x.float().mean(dim=(1, 2, 3)), to="scalar", batched=True)
        assert batch[0] == pytest.approx(pixels.mean(), rel=1e-5)


def test_wrong_pictures_are_refused() -> None:
    for data in (np.zeros((2, 4, 4, 2), np.uint8), np.zeros((2, 4, 4), np.float32), np.zeros((4, 4), np.uint8)):
        with pytest.raises(KindError, match="must be uint8 of shape"):
            ImageColumn(data)
    with pytest.raises(FunctionError, match="uint8 of shape"):
        ImageColumn(torch.zeros(2, 3, 4, 4))
    with pytest.raises(KindError, match="all paths, all bytes"):
        ImageColumn([b"x", "y"])
    with pytest.raises(KindError, match="`mode` must be one of L, RGB, RGBA; got 'CMYK'"):
        ImageColumn([b"x"], mode="CMYK")
    with pytest.raises(FunctionError, match="must return pictures"):
        ImageColumn([3.5])


@pytest.mark.parametrize("source", ["bytes", "pictures"])
@pytest.mark.parametrize("batch_size", [None, 2])
def test_mixed_sizes_in_a_batch_name_the_row_and_the_remedy(source: str, batch_size) -> None:
    pictures = [noise(8, 8), noise(8, 8), noise(8, 9), noise(8, 8)]
    column = ImageColumn(pictures if source == "pictures" else [encoded(p, "PNG") for p in pictures])
    mapped = column.map(lambda x: x.flatten(1)[:, 0], to="scalar", batched=True, batch_size=batch_size)
    with pytest.raises(
        RowError, match=r"Row [23] .*8×[89] \(height×width\), the first is 8×[89]; ask .*resize\("
    ) as told:
        mapped.to_list()
    assert told.value.row in (2, 3)
    assert mapped[:2].is_computed()
    sized = column.resize((4, 4)).map(lambda x: x.flatten(1)[:, 0], to="scalar", batched=True)
    assert len(sized.to_list()) == 4
    assert column.map(lambda p: p.width, to="scalar").to_list() == [8, 8, 9, 8], "row by row any size will do"
    with pytest.raises(KindError, match="resize"):
        column.to_torch()
    assert [p.width for p in concat([column, column.resize((4, 4))]).to_list()] == [8, 8, 9, 8, 4, 4, 4, 4]


def test_pictures_of_two_modes_do_not_make_a_batch() -> None:
    column = ImageColumn([noise(4, 4), noise(4, 4, channels=1)])
    with pytest.raises(RowError, match=r"Row 1 .*1 channels, the first has 3"):
        column.map(lambda x: [1] * len(x), to="scalar", batched=True).to_list()


def test_a_batch_over_both_sides_of_a_join_holds_tensors(tmp_path: Path) -> None:
    from columns import map_columns
    from columns.selection import NO_ROW, Selection

    files = ImageColumn([encoded(noise(4, 4, seed=i), "PNG") for i in range(3)])
    arrays = ImageColumn(np.stack([np.asarray(noise(4, 4, seed=i)) for i in range(2)]))
    one, two = files[Selection(np.array([0, 1, 2, 0]))], arrays[Selection(np.array([0, 1, NO_ROW, 1]))]
    same = map_columns([one, two], lambda x, y: (x == y).flatten(1).all(dim=1), to="scalar", batched=True)
    assert same.to_list() == [True, True, None, False]


def test_resizing_is_pillows_and_happens_while_decoding(decoder: str) -> None:
    data = FORMATS["JPEG 4:4:4"]
    small = ImageColumn([data]).resize((5, 7))
    assert small.spec.shape is None or small.spec.shape[:2] == (5, 7)
    expected = Image.open(io.BytesIO(data)).resize((7, 5), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(np.asarray(small[0]), np.asarray(expected))
    np.testing.assert_array_equal(small.to_torch()[0].permute(1, 2, 0), np.asarray(expected))
    in_memory = ImageColumn(plain(data)[None]).resize((5, 7))
    np.testing.assert_array_equal(np.asarray(in_memory[0]), np.asarray(expected))
    assert in_memory.map(lambda x: [tuple(x.shape[1:])] * len(x), to="object", batched=True)[0] == (3, 5, 7)
    with pytest.raises(ValueError, match="at least 1; got"):
        small.resize((0, 3))


def test_resizing_twice_and_below_selections_and_concatenations() -> None:
    column = ImageColumn([FORMATS["PNG"]] * 3)
    both = concat([column[::-1], ImageColumn([FORMATS["PNG"]])[[0, 0]]]).resize((6, 6))
    assert [p.size for p in both.to_list()] == [(6, 6)] * 5
    assert column.resize((6, 6)).node is column.resize((6, 6)).node


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_reduced_decoding_is_near_and_never_smaller_than_asked(decoder: str, kind: str) -> None:
    data = encoded(noise(256, 200), kind)
    column = ImageColumn([data, data])
    full, reduced = column.resize((32, 25)), column.resize((32, 25), reduced=True)
    assert reduced[0].size == (25, 32)
    difference = np.asarray(full[0]).astype(int) - np.asarray(reduced[0]).astype(int)
    assert abs(difference).mean() < 12
    np.testing.assert_array_equal(reduced.to_torch()[1].permute(1, 2, 0), np.asarray(reduced[0]))
    assert full.node is not reduced.node


def test_thumbnails_are_small_keep_their_shape_and_survive_broken_files(tmp_path: Path) -> None:
    for name, size in (("wide.jpg", (100, 400)), ("tall.png", (400, 100)), ("tiny.png", (3, 3))):
        noise(*size).save(tmp_path / name)
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "wide.jpg").read_bytes()[:700])
    column = ImageColumn(["wide.jpg", "tall.png", "tiny.png", "broken.jpg", None, "missing.png"], base=tmp_path)
    small = column.thumbnails(32)
    assert [None if p is None else p.size for p in small] == [(128, 32), (8, 32), (3, 3), None, None, None]
    assert "height:56px" in column.cell(small[0])
    assert ImageColumn(np.zeros((1, 99, 99), np.uint8)).thumbnails(33)[0].size == (33, 33)


def test_knowing_which_pictures_are_null_decodes_none(monkeypatch) -> None:
    def refuse(*args):
        raise AssertionError("decoded")

    monkeypatch.setattr(decoding_module.EncodedImages, "read_row", refuse)
    column = ImageColumn([b"no picture", None, b"nor this"])
    assert column.is_null().to_list() == [False, True, False]
    assert len(column[~column.is_null()]) == 2
    assert concat([column[::-1], column[:2]]).is_null().to_list() == [False, True, False, False, True]
    assert ImageColumn(["missing.png", None]).is_null().to_list() == [False, True]


def test_a_decompression_bomb_is_a_row_that_fails(monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    column = ImageColumn([encoded(noise(4, 4), "PNG"), encoded(noise(40, 40), "PNG"), encoded(noise(4, 4), "PNG")])
    with pytest.raises(RowError, match=r"Row 1 .*(bomb|pixels)"):
        column.to_list()
    bomb_first = column[[1, 0, 2]].map(lambda x: [1] * len(x), to="scalar", batched=True)
    with pytest.warns(RowsFailedWarning, match="1 row failed"):
        assert bomb_first.values(on_error="null").rows() == [None, 1, 1]


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0" + b"0" * 50, b"\x89PNG\r\n\x1a\n", b"GIF89a"])
@pytest.mark.parametrize("batched", [False, True])
def test_half_a_header_is_a_row_that_fails(decoder: str, data: bytes, batched: bool) -> None:
    good = FORMATS["JPEG"]
    column = ImageColumn([data, good, data, good]).map(
        lambda x: [1] * len(x) if batched else 1, to="scalar", batched=batched
    )
    with pytest.raises(RowError) as told:
        column.to_list()
    with pytest.warns(RowsFailedWarning, match="2 rows failed"):
        assert column.values(on_error="null").rows() == [None, 1, None, 1]
    assert "0x" not in str(told.value), "an address tells nobody anything"


def test_truncation_anywhere_is_a_row_that_fails_or_reads(decoder: str) -> None:
    import warnings

    whole = encoded(noise(40, 40), "JPEG")
    cuts = list(range(2, len(whole), max(1, len(whole) // 25)))
    column = ImageColumn([whole[:cut] for cut in cuts] + [whole])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RowsFailedWarning)
        rows = column.values(on_error="null").rows()
    assert rows[-1] is not None
    assert all(row is None for row in rows[: len(rows) // 2])


def test_mapped_pictures_are_pictures(tmp_path: Path) -> None:
    column = ImageColumn([FORMATS["PNG"], FORMATS["BMP"], None])
    flipped = column.map(lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT), to="image")
    np.testing.assert_array_equal(np.asarray(flipped[0]), plain(FORMATS["PNG"])[:, ::-1])
    inverted = column.map(lambda x: 255 - x, to="image", batched=True)
    np.testing.assert_array_equal(np.asarray(inverted[1]), 255 - plain(FORMATS["BMP"]))
    assert inverted.to_list()[2] is None
    assert flipped[:2].map(lambda x: x.float().flatten(1).mean(dim=1), to="scalar", batched=True)[0] > 0
    tensors = column[:2].map(lambda x: 255 - x, batched=True)
    as_pictures = tensors.as_kind("image")
    np.testing.assert_array_equal(np.asarray(as_pictures[1]), 255 - plain(FORMATS["BMP"]))
    assert column[:2].as_kind("tensor").to_numpy().shape == (2, 12, 17, 3)
    assert ImageColumn([FORMATS["grey PNG"]], mode="L").as_kind("tensor").to_numpy().shape == (1, 12, 17, 1)
    pending = column.map(lambda p: p.rotate(90)).compute()
    assert pending.kind == "image"


def test_objects_that_are_pictures_come_in_batches_as_tensors() -> None:
    column = ObjectColumn([noise(4, 4), noise(4, 4)])
    assert column.map(lambda x: [tuple(x.shape)] * len(x), to="object", batched=True).to_list()[0] == (2, 3, 4, 4)


def test_zero_pictures_in_every_form() -> None:
    for column in (ImageColumn([]), ImageColumn(np.zeros((0, 4, 4), np.uint8)), ImageColumn([FORMATS["PNG"]])[:0]):
        assert column.to_list() == column.thumbnails() == column.resize((3, 3)).to_list() == []
        for batched in (False, True):
            assert column.map(lambda x: x, to="image", batched=batched).to_list() == []


def test_buffers_of_one_batch_are_not_seen_in_the_next(decoder: str) -> None:
    pictures = [encoded(Image.new("RGB", (8, 8), (i, i, i)), "JPEG", quality=100) for i in range(0, 250, 5)]
    kept = []

    def note(batch: torch.Tensor) -> torch.Tensor:
        kept.append(batch.float().mean(dim=(1, 2, 3)))
        return kept[-1]

    column = ImageColumn(pictures)
    found = column.map(note, to="scalar", batched=True, batch_size=3).to_list()
    np.testing.assert_allclose(found, np.arange(0, 250, 5), atol=1.5)

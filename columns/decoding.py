"""Decoding pictures: any format Pillow reads, in threads, straight into the rows of one batch."""

from __future__ import annotations

import functools
import io
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .coerce import other_size
from .errors import KindError
from .jpeg import shown_as_read
from .reading import PIECE, Buffers, Reading, read_rows, submit
from .selection import Selection
from .sources import ArrowSource, Files, RowSource, SlowSource, _hash_arrow
from .values import ArrowValues, ImageValues, Values, picture

__all__ = ["EncodedImages"]

_HEAD = 1 << 16  # bytes in which the size of a JPEG nearly always stands
_SMALL = 1 << 15  # bytes of a file that is sent as it is: a large one of few pixels holds what nobody sees
_CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}


class EncodedImages(SlowSource):
    """Pictures in files or in bytes, decoded on each read and never kept.

    Parameters
    ----------
    encoded : Files or Arrow binary array
        One picture a row.
    mode : {"RGB", "L", "RGBA"}
        What every picture is converted to.
    size : (height, width), optional
        What every picture is resized to; pictures keep their own size if left out.
    reduced : bool
        Let the decoder skip detail that `size` would throw away: much faster for JPEG, not bit-equal to
        decoding in full and then resizing.
    """

    def __init__(
        self,
        encoded: Files | pa.Array,
        mode: str = "RGB",
        size: tuple[int, int] | None = None,
        reduced: bool = False,
    ) -> None:
        if mode not in _CHANNELS:
            raise KindError(f"`mode` must be one of {', '.join(_CHANNELS)}; got '{mode}'.")
        self.encoded = encoded
        self.mode = mode
        self.size = size
        self.reduced = reduced
        self._least = 0
        self._likes: dict[Any, Any] = {}

    def __len__(self) -> int:
        return len(self.encoded)

    def with_size(self, size: tuple[int, int], reduced: bool) -> EncodedImages:
        """Return the same pictures, resized while they are read."""
        # The same request gives the same source, so that what was computed from it is found again.
        if (size, reduced) not in self._likes:
            self._likes[size, reduced] = EncodedImages(self.encoded, self.mode, size, reduced)
            self._likes[size, reduced]._failed = self.failed  # the same files fail at every size
        sized: EncodedImages = self._likes[size, reduced]
        return sized

    def at_least(self, height: int) -> EncodedImages:
        """Return the same pictures as the decoder gives them at no less than that height: for thumbnails."""
        if height not in self._likes:
            self._likes[height] = EncodedImages(self.encoded, self.mode, self.size, self.reduced)
            self._likes[height]._least = height
        drafted: EncodedImages = self._likes[height]
        return drafted

    def as_stored(self, row: int, height: int) -> bytes | None:
        """Return the file of a picture where that is small, and a browser shows it as it is read here; see `jpeg`."""
        raw = self._raw(row)
        if raw is None or self.size is not None:
            return None
        if isinstance(raw, Path):
            if raw.stat().st_size > _SMALL:
                return None
            raw = raw.read_bytes()
        return raw if len(raw) <= _SMALL and shown_as_read(raw, height, self.mode) else None

    def rebase(self, base: str | os.PathLike[str]) -> EncodedImages:
        """Return the same pictures under another base directory.

        Raises
        ------
        KindError
            If they are not files.
        """
        if not isinstance(self.encoded, Files):
            raise KindError("Only pictures in files have a base directory; these are held as bytes.")
        return EncodedImages(self.encoded.moved(base), self.mode, self.size, self.reduced)

    def read_row(self, row: int) -> Image.Image | None:
        raw = self._raw(row)
        if raw is None:
            return None
        # Through the same decoder as batches, so that a picture is the same alone and in a batch.
        raw, array = self._jpeg(raw, None)
        return self._open(raw) if array is None else picture(array)

    def start(self, rows: Selection, buffers: Buffers | None = None) -> Reading:
        if buffers is None:
            return read_rows(self, rows)
        return self._start_batch(rows.indices().tolist(), buffers)

    def _start_batch(self, numbers: list[int], buffers: Buffers) -> Reading:
        """Decode into one array; a picture of another size than the first is a failure that says so."""
        count = len(numbers)
        valid = np.ones(count, np.bool_)
        failures: dict[int, BaseException] = {}
        size = self.size or self._first_size(numbers)
        whole = buffers.take(count, (*size, _CHANNELS[self.mode]))
        batch = whole[:count]

        def decode(start: int) -> None:
            for position in range(start, min(start + PIECE, count)):
                try:
                    raw = self._raw(numbers[position])
                    if raw is None:
                        valid[position] = False
                    else:
                        self._decode_into(raw, batch[position])
                except Exception as error:  # noqa: BLE001 - kept, and raised or reported with the row's name
                    valid[position] = False
                    failures[position] = error

        def collect() -> tuple[ImageValues, dict[int, BaseException]]:
            return ImageValues(batch, None if valid.all() else valid), failures

        futures = [submit(decode, start) for start in range(0, count, PIECE)]
        return Reading(futures, collect, lambda: buffers.give_back(whole))

    def _first_size(self, numbers: list[int]) -> tuple[int, int]:
        """Return (height, width) of the first picture whose header can be read."""
        for row in numbers:
            try:
                raw = self._raw(row)
                if raw is not None:
                    size = _jpeg_size(raw)
                    if size is not None:
                        return size
                    with _opened(raw) as image:
                        return image.height, image.width
            except Exception:  # noqa: BLE001 - whatever it is, it is reported when the row itself is decoded
                continue
        return 1, 1

    def row_bytes(self) -> int:
        height, width = self.size or self._first_size(list(range(min(3, len(self)))))
        return height * width * _CHANNELS[self.mode]

    def nulls(self) -> RowSource:
        """Return which rows are null, as booleans: known without a look at any file."""
        if "nulls" not in self._likes:
            self._likes["nulls"] = _Nulls(self)
        known: RowSource = self._likes["nulls"]
        return known

    def _raw(self, row: int) -> Path | bytes | None:
        if row in self.failed:
            return None  # somebody was told, and went on without it
        if isinstance(self.encoded, Files):
            return self.encoded.path(row)
        value: bytes | None = self.encoded[row].as_py()
        return value

    def _decode_into(self, raw: Path | bytes, out: NDArray[np.uint8]) -> None:
        raw, array = self._jpeg(raw, out)
        if array is None:
            array = np.asarray(self._open(raw))
        if not np.shares_memory(array, out):
            if array.shape[:2] != out.shape[:2]:
                raise other_size(array.shape, out.shape)
            out[...] = array.reshape(out.shape)

    def _jpeg(self, raw: Path | bytes, out: NDArray[np.uint8] | None) -> tuple[Path | bytes, NDArray[np.uint8] | None]:
        """Decode with simplejpeg, into `out` where it fits; no array where Pillow must have a look."""
        fast = _simplejpeg()
        if fast is None or self.mode not in ("RGB", "L") or self._least:
            return raw, None
        data = raw.read_bytes() if isinstance(raw, Path) else raw
        if data[:2] != b"\xff\xd8":
            return data, None
        try:
            height, width, colour, _ = fast.decode_jpeg_header(data)
            if colour not in ("Gray", "YCbCr", "RGB"):
                return data, None  # CMYK and its kin are Pillow's
            space = "GRAY" if self.mode == "L" else "RGB"
            if self.size is None or (height, width) == self.size:
                fits = out is not None and (height, width) == out.shape[:2]
                return data, fast.decode_jpeg(data, space, buffer=out) if fits else fast.decode_jpeg(data, space)
            least = {"min_height": self.size[0], "min_width": self.size[1]} if self.reduced else {}
            array = fast.decode_jpeg(data, space, **least)
        except ValueError:
            return data, None  # damaged: Pillow finds the words for what is wrong, or reads it after all
        resized = np.asarray(self._resized(Image.fromarray(array[:, :, 0] if self.mode == "L" else array)))
        return data, resized.reshape((*self.size, _CHANNELS[self.mode]))

    def _open(self, raw: Path | bytes) -> Image.Image:
        with _opened(raw) as image:
            if self.size is not None and self.reduced:
                image.draft(self.mode, (self.size[1], self.size[0]))
            elif self._least:
                image.draft(self.mode, (1, self._least))
            elif self.mode == "L":
                image.draft("L", image.size)  # of JPEG the brightness as stored, which the other decoder gives too
            image.load()
            # `convert` copies even when there is nothing to convert.
            converted = image.copy() if image.mode == self.mode else _converted(image, self.mode)
            return self._resized(converted) if self.size is not None else converted

    def _resized(self, image: Image.Image) -> Image.Image:
        assert self.size is not None
        if (image.height, image.width) == self.size:
            return image
        gap = 2.0 if self.reduced else None
        return image.resize((self.size[1], self.size[0]), Image.Resampling.BILINEAR, reducing_gap=gap)

    def digest(self) -> str:
        # Files, and bytes that lie in a saved panel, know theirs.
        known = getattr(self.encoded, "digest", None)
        content = _hash_arrow(self.encoded) if known is None else known()
        return f"{self.mode} {self.size} {self.reduced} {content}"

    def describe(self, row: int) -> str | None:
        return self.encoded.name(row) if isinstance(self.encoded, Files) else None

    def state(self) -> int:
        return self.encoded.state() if isinstance(self.encoded, Files) else 0

    def refresh(self) -> bool:
        return self.encoded.refresh() if isinstance(self.encoded, Files) else False

    def __repr__(self) -> str:
        place = "files" if isinstance(self.encoded, Files) else "encoded pictures"
        size = "" if self.size is None else f", {self.size[0]}×{self.size[1]}"
        return f"<{len(self)} {place} as {self.mode}{size}>"


def _opened(raw: Path | bytes) -> Image.Image:
    try:
        return Image.open(raw if isinstance(raw, Path) else io.BytesIO(raw))
    except UnidentifiedImageError:
        # Pillow names the object that holds the bytes, which tells nobody anything.
        raise UnidentifiedImageError("not a picture, or in a format that Pillow does not read") from None


def _converted(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow cuts 16-bit greys off at 255; what a person sees is their high byte.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")  # the colours are the same; Pillow warns about the short way
    return image if image.mode == mode else image.convert(mode)


class _Nulls(RowSource):
    """Which pictures are null: where there is no path, and where one failed and was gone on without."""

    def __init__(self, pictures: EncodedImages) -> None:
        encoded = pictures.encoded.paths if isinstance(pictures.encoded, Files) else pictures.encoded
        self._missing = ArrowSource(encoded.is_null())
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._missing)

    def read(self, rows: Selection) -> Values:
        values = self._missing.read(rows)
        if not self._pictures.failed:
            return values
        failed = np.isin(rows.indices(), list(self._pictures.failed))
        return ArrowValues(pa.array(values.array.to_numpy(zero_copy_only=False) | failed))

    def __repr__(self) -> str:
        return f"<nulls of {self._pictures!r}>"


def _jpeg_size(raw: Path | bytes) -> tuple[int, int] | None:
    """Return (height, width) of a JPEG in a tenth of the time that Pillow takes; None where Pillow must look."""
    fast = _simplejpeg()
    if fast is None:
        return None
    if isinstance(raw, Path):
        with raw.open("rb") as file:
            raw = file.read(_HEAD)
    try:
        height, width, *_ = fast.decode_jpeg_header(raw)
    except ValueError:
        return None
    too_large = Image.MAX_IMAGE_PIXELS is not None and height * width > Image.MAX_IMAGE_PIXELS
    return None if too_large else (height, width)


@functools.cache
def _simplejpeg() -> ModuleType | None:
    """Return simplejpeg where it is installed: twice as fast as Pillow, the same libjpeg-turbo underneath."""
    if os.environ.get("COLUMNS_JPEG") == "pillow":
        return None
    try:
        import simplejpeg
    except ImportError:
        return None
    module: Any = simplejpeg
    return module if isinstance(module, ModuleType) else None

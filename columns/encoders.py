"""Rows that are encoded to be saved: objects as JSON, pictures as arrays or PNG."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from .drafts import Saving
from .errors import KindError, StoreError
from .manifest import Stored
from .spec import ColumnSpec
from .values import ImageValues, Values, picture
from .writers import ArrowWriter, DenseWriter, Writer

__all__ = ["JsonWriter", "PictureWriter", "writer_for"]

_PICTURE_MODES = ("RGB", "L", "RGBA")


def writer_for(form: str, saving: Saving, name: str, rows: int, spec: ColumnSpec) -> Writer:
    """Return the writer for the values of a kind with that form."""
    if form == "dense":
        return DenseWriter(saving, name, rows, spec)
    if form == "image":
        return PictureWriter(saving, name, rows, spec)
    if form == "list":
        return JsonWriter(saving, name, rows)
    return ArrowWriter(saving, name, rows, spec.classes)


class JsonWriter(ArrowWriter):
    """Objects as JSON text, as long as every one comes back as it was: no pickle, ever."""

    way = "json"

    def append(self, values: Values) -> None:
        start = self._written + sum(len(p) for p in self._pieces)
        texts = [None if r is None else self._text(r, start + n) for n, r in enumerate(values.rows())]
        self.append_array(pa.array(texts, pa.string()))

    def _text(self, row: Any, number: int) -> str:
        try:
            text = json.dumps(row)
            if _same(json.loads(text), row):
                return text
            why = "it does not come back from JSON as it was"
        except (TypeError, ValueError, RecursionError) as error:
            why = str(error).rstrip(".")
        raise StoreError(
            f"Column '{self.name}' holds objects that cannot be saved, row {number} first, of type "
            f"{type(row).__name__}: {why}. Map it to another kind, `panel.map(f, on='{self.name}', to=...)`, or "
            f"leave it out: `panel.drop('{self.name}')`."
        )


class PictureWriter(Writer):
    """Pictures of one size as one array; of many sizes, or not decoded into arrays, as lossless PNG."""

    def __init__(self, saving: Saving, name: str, rows: int, spec: ColumnSpec) -> None:
        super().__init__(saving, name, rows)
        self._spec = spec
        self._dense: DenseWriter | None = None
        self._encoded: ArrowWriter | None = None
        self._mode: str | None = None

    def append(self, values: Values) -> None:
        if self._encoded is None and isinstance(values, ImageValues):
            self._dense = self._dense or DenseWriter(self.saving, self.name, self.length, self._spec)
            try:
                self._dense.append(values)
                return
            except KindError:
                pass  # of another size than those before
        if self._encoded is None:
            self._begin_encoding()
        self._encode(values.rows())

    def _begin_encoding(self) -> None:
        self._encoded = ArrowWriter(self.saving, self.name, self.length)
        if self._dense is None:
            return
        done, valid = self._dense.written(), self._dense.valid
        for start in range(0, len(done), 256):
            some = np.array(done[start : start + 256])
            self._encode([picture(p) if ok else None for p, ok in zip(some, valid[start : start + 256], strict=False)])
        del done
        self._dense.drop()

    def _encode(self, pictures: list[Image.Image | None]) -> None:
        for number, one in enumerate(pictures):
            if one is None:
                continue
            self._mode = self._mode or one.mode
            if one.mode != self._mode or one.mode not in _PICTURE_MODES:
                raise StoreError(
                    f"Pictures of column '{self.name}' must all be RGB, all L or all RGBA to be saved; row {number} of "
                    f"this batch is {one.mode}, the first is {self._mode}. Convert them: "
                    f"`panel.map(lambda p: p.convert('RGB'), on='{self.name}', to=ImageColumn)`."
                )
        assert self._encoded is not None
        self._encoded.append_array(pa.array([p if p is None else _png(p) for p in pictures], pa.large_binary()))

    def finish(self) -> Stored:
        if self._dense is not None and self._encoded is None:
            return self._dense.finish()
        if self._encoded is None:
            self._begin_encoding()
            self._encode([])
        assert self._encoded is not None
        stored = self._encoded.finish()
        return Stored("bytes", stored.data, stored.digest, stored.dtype, mode=self._mode or "RGB")


def _png(one: Image.Image) -> bytes:
    file = io.BytesIO()
    one.save(file, "PNG", compress_level=3)
    return file.getvalue()


def _same(found: Any, row: Any) -> bool:
    """Say whether two values are equal and of the same types throughout; NaN equals NaN."""
    if type(found) is not type(row):
        return False
    if isinstance(row, dict):
        return list(found) == list(row) and all(_same(found[k], row[k]) for k in row)
    if isinstance(row, list):
        return len(found) == len(row) and all(map(_same, found, row))
    return bool(found == row) or (isinstance(row, float) and row != row)

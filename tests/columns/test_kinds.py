"""Every kind keeps the contract of columns."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from columns import (
    EmbeddingColumn,
    FileColumn,
    ImageColumn,
    ObjectColumn,
    PredictionColumn,
    ScalarColumn,
    TensorColumn,
    TextColumn,
)
from columns.testing import ColumnTests


def picture(seed: int, size=(5, 7)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


class TestIntegerColumn(ColumnTests):
    @pytest.fixture
    def example(self):
        rows = [3, None, -1, 2**40]
        return ScalarColumn(rows), rows


class TestFloatColumn(ColumnTests):
    @pytest.fixture
    def example(self):
        rows = [0.5, float("nan"), None, float("inf"), -0.0]
        return ScalarColumn(rows), rows


class TestBooleanColumn(ColumnTests):
    @pytest.fixture
    def example(self):
        rows = [True, None, False, True]
        return ScalarColumn(rows), rows


class TestStringColumn(ColumnTests):
    @pytest.fixture
    def example(self):
        rows = ["", None, "Łódź", "a b"]
        return ScalarColumn(rows), rows


class TestCategoryColumn(ColumnTests):
    @pytest.fixture
    def example(self):
        rows = ["dog", None, "cat", "dog"]
        return ScalarColumn(rows, classes=["cat", "dog"]), rows


class TestNestedColumn(ColumnTests):
    @pytest.fixture
    def example(self):
        rows = [[1, 2], None, [], [3]]
        return ScalarColumn(rows), rows


class TestTextColumn(ColumnTests):
    @pytest.fixture
    def example(self):
        rows = ["A film.", None, "<b>no markup</b>", ""]
        return TextColumn(rows), rows


class TestTensorColumn(ColumnTests):
    @pytest.fixture
    def example(self):
        rows = [np.arange(6, dtype=np.float32).reshape(2, 3) + i for i in range(4)]
        rows[1] = None
        return TensorColumn(rows), rows


class TestEmbeddingColumn(ColumnTests):
    @pytest.fixture
    def example(self):
        rows = [torch.arange(3.0) + i for i in range(4)]
        rows[3] = None
        return EmbeddingColumn(rows), rows


class TestPredictionColumn(ColumnTests):
    @pytest.fixture
    def example(self):
        rows = [np.array([0.25, i]) for i in range(4)]
        rows[0] = None
        return PredictionColumn(rows, ["cat", "dog"]), rows


class TestObjectColumn(ColumnTests):
    @pytest.fixture
    def example(self):
        rows = [{"a": 1}, None, "text", (1, 2)]
        return ObjectColumn(rows), rows


class TestFileColumn(ColumnTests):
    @pytest.fixture
    def example(self, tmp_path: Path):
        for name in ("one", "two words", "drei ß"):
            (tmp_path / name).write_text(name)
        rows = ["one", "two words", None, "drei ß"]
        return FileColumn(rows, Path.read_text, base=tmp_path), rows


class TestImageColumnOfFiles(ColumnTests):
    @pytest.fixture
    def example(self, tmp_path: Path):
        rows = [picture(i) for i in range(4)]
        for i, row in enumerate(rows):
            row.save(tmp_path / f"{i}.png")
        rows[2] = None
        return ImageColumn(["0.png", "1.png", None, "3.png"], base=tmp_path), rows


class TestImageColumnOfBytes(ColumnTests):
    @pytest.fixture
    def example(self):
        rows = [picture(0), None, picture(1), picture(2)]
        return ImageColumn([None if r is None else encoded(r) for r in rows]), rows


class TestImageColumnOfPictures(ColumnTests):
    @pytest.fixture
    def example(self):
        rows = [picture(0), picture(1), picture(2), None]
        return ImageColumn(rows), rows


class TestImageColumnOfAnArray(ColumnTests):
    @pytest.fixture
    def example(self):
        rows = [picture(i) for i in range(3)]
        array = ImageColumn(np.stack([np.asarray(r) for r in rows]))
        from columns.selection import NO_ROW, Selection

        return array[Selection(np.array([0, 1, NO_ROW, 2]))], [rows[0], rows[1], None, rows[2]]


class TestMappedColumn(ColumnTests):
    @pytest.fixture
    def example(self):
        rows = [3, None, -1, 5]
        return ScalarColumn(rows).map(lambda x: x + 1), [4, None, 0, 6]


class TestJoinedColumn(ColumnTests):
    @pytest.fixture
    def example(self):
        from columns import concat

        a, b = ScalarColumn([1, None]), ScalarColumn([2.5])
        return concat([a, b, ScalarColumn([4])[::-1]]).map(lambda x: 2 * x, to="scalar"), [2.0, None, 5.0, 8.0]

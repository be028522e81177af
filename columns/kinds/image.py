"""Images: files, bytes or arrays; decoded on read, in threads, small where a thumbnail is enough."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from ..coerce import image_array, to_form
from ..column import Column, kind
from ..decoding import EncodedImages
from ..errors import KindError
from ..expression import Map, Node, Pick, Source, apply
from ..functions import Function, Output
from ..html import picture_cell
from ..selection import NO_ROW
from ..sources import DenseSource, Files, ListSource
from ..spec import ColumnSpec
from ..values import ImageValues, ListValues
from .file import rebased, refuse_one_path

__all__ = ["ImageColumn"]


@kind
@final
class ImageColumn(Column):
    """A picture per row.

    A row is a `PIL.Image.Image`; a batch is a uint8 tensor of shape (rows, channels, height, width).

    Parameters
    ----------
    data : sequence of paths, of bytes, of pictures; or uint8 array or tensor
        Paths and bytes are decoded when read, and not kept. Arrays have shape (rows, height, width) or
        (rows, height, width, channels), tensors (rows, channels, height, width). None is null.
    base : str or Path, optional
        Directory of relative paths.
    mode : {"RGB", "L", "RGBA"}
        What files and bytes are converted to. Orientation tags are not applied: pixels are those of the file.

    Examples
    --------
    >>> pictures = ImageColumn(np.zeros((2, 4, 6), np.uint8))
    >>> pictures[0].size, tuple(pictures.to_torch().shape)
    ((6, 4), (2, 1, 4, 6))
    """

    kind = "image"
    form = "image"
    __slots__ = ()

    def __new__(cls, data: Any, base: str | os.PathLike[str] | None = None, mode: str = "RGB") -> Self:
        refuse_one_path(data, "Pictures")
        if isinstance(data, (np.ndarray, torch.Tensor)) and data.dtype != object:
            if isinstance(data, torch.Tensor):
                values = to_form(data, Output(form="image"), "data")
                assert isinstance(values, ImageValues)
                array = values.data
            else:
                array = image_array(data, "data")
            spec = ColumnSpec("image", "uint8", array.shape[1:])
            return cls.over(Source(DenseSource(array, form=ImageValues)), spec=spec)
        if isinstance(data, (pa.ChunkedArray, pa.Array)) and not _is_text(data.type):
            return cls._encoded(data.combine_chunks() if isinstance(data, pa.ChunkedArray) else data, mode)
        if isinstance(data, (Files, pa.Array, pa.ChunkedArray)):
            return cls._encoded(data if isinstance(data, Files) else Files(data, base), mode)
        items = list(data)
        first = next((i for i in items if i is not None), "")
        if isinstance(first, (str, os.PathLike)):
            if not all(isinstance(i, (str, os.PathLike, type(None))) for i in items):
                raise KindError("Pictures must be all paths, all bytes, or all arrays; got paths and others.")
            return cls._encoded(Files(items, base), mode)
        if isinstance(first, (bytes, bytearray)):
            if not all(isinstance(i, (bytes, bytearray, type(None))) for i in items):
                raise KindError("Pictures must be all paths, all bytes, or all arrays; got bytes and others.")
            return cls._encoded(pa.array(items, pa.large_binary()), mode)
        pictures = to_form(items, Output(form="image"), "data")
        assert isinstance(pictures, ListValues)
        return cls.over(Source(ListSource(pictures.items)), spec=ColumnSpec("image", "uint8"))

    @classmethod
    def _encoded(cls, encoded: Files | pa.Array, mode: str) -> Self:
        return cls.over(Source(EncodedImages(encoded, mode)), spec=ColumnSpec("image", "uint8"))

    def resize(self, size: tuple[int, int], *, reduced: bool = False) -> Self:
        """Return the pictures at one size; resized (bilinear, with smoothing) while they are decoded.

        Parameters
        ----------
        size : (height, width)
            In pixels.
        reduced : bool
            Let the decoder skip detail that the size would throw away: up to three times faster for JPEG, and
            not bit-equal to decoding in full.
        """
        if not isinstance(size, Sequence) or len(size) != 2:
            raise ValueError(f"`size` must be (height, width); got {size!r}.")
        height, width = (int(side) for side in size)
        if height < 1 or width < 1:
            raise ValueError(f"`size` must be (height, width), each at least 1; got {size}.")

        def build(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
            (node,) = nodes
            if isinstance(node, Source) and isinstance(node.source, EncodedImages):
                return (Source(node.source.with_size((height, width), reduced)),)
            resized = Function(_Resize(height, width), (Output("", "image"),), version="1")
            return (Pick(Map(resized, nodes), ""),)

        (node,) = apply(build, (self.node,))
        channels = self.spec.shape[2:] if self.spec.shape else ()
        spec = self.spec.with_(shape=(height, width, *channels) if channels else None)
        return type(self).over(node, self.selection, spec, self.keys, self.name)

    def thumbnails(self, height: int = 64) -> list[Image.Image | None]:
        """Return small pictures of at most that height, read with reduced-size decoding; null where unreadable."""
        small: list[Image.Image | None] = []
        for picture in self._draft(height).to_list_or_null():
            if picture is not None and picture.height > height:
                width = max(1, round(picture.width * height / picture.height))
                picture = picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
            small.append(picture)
        return small

    def small_files(self, height: int = 64) -> list[bytes | None]:
        """Return the JPEG files that are thumbnails as they are, and None where a thumbnail has to be made.

        Nothing is decoded: a file counts if it is no higher than `height`, and a browser shows it as it is read here.
        """
        node = self.node
        if not isinstance(node, Source) or not isinstance(node.source, EncodedImages):
            return [None] * len(self)
        source, rows = node.source, self.selection.indices().tolist()

        def small(row: int) -> bytes | None:
            try:
                return None if row == NO_ROW else source.as_stored(row, height)
            except OSError:
                return None  # whoever makes the thumbnail says what is wrong

        return [small(row) for row in rows]

    def to_list_or_null(self) -> list[Image.Image | None]:
        """Return the pictures, None where one cannot be read: for views, which must not fail on one bad file."""
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.values(on_error="null").rows()

    def _draft(self, height: int) -> Self:
        """Return the pictures as the decoder gives them at no less than that height."""

        def build(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
            (node,) = nodes
            if isinstance(node, Source) and isinstance(node.source, EncodedImages):
                return (Source(node.source.at_least(height)),)
            return nodes

        (node,) = apply(build, (self.node,))
        return type(self).over(node, self.selection, self.spec, self.keys, self.name)

    def rebase(self, base: str | os.PathLike[str]) -> Self:
        """Return the same files under another base directory."""
        result: Self = rebased(self, base)
        return result

    def cell(self, value: Any) -> str:
        return picture_cell(value)


@dataclass(frozen=True)
class _Resize:
    """Resize a picture that is not decoded from a file."""

    height: int
    width: int

    def __call__(self, picture: Image.Image) -> Image.Image:
        return picture.resize((self.width, self.height), Image.Resampling.BILINEAR)


def _is_text(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype))

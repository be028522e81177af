"""Kinds of columns: one file each. A new kind is a class marked with `@kind`, and its import here."""

from .embedding import EmbeddingColumn, Nearest
from .file import FileColumn
from .image import ImageColumn
from .object import ObjectColumn
from .pending import PendingColumn
from .prediction import PredictionColumn
from .scalar import ScalarColumn
from .tensor import TensorColumn
from .text import TextColumn

__all__ = [
    "EmbeddingColumn",
    "FileColumn",
    "ImageColumn",
    "Nearest",
    "ObjectColumn",
    "PendingColumn",
    "PredictionColumn",
    "ScalarColumn",
    "TensorColumn",
    "TextColumn",
]

"""Lazy columns of images, text, embeddings, predictions and scalars.

Every column is an expression; some expressions are just arrays. Nothing is read or run before it is asked for.
"""

from .column import KINDS, Column, concat, kind, map_columns
from .errors import (
    ColumnError,
    FunctionError,
    KindError,
    LengthError,
    MissingExtra,
    RowError,
    RowsFailedWarning,
    StoreError,
)
from .kinds import (
    EmbeddingColumn,
    FileColumn,
    ImageColumn,
    Nearest,
    ObjectColumn,
    PendingColumn,
    PredictionColumn,
    ScalarColumn,
    TensorColumn,
    TextColumn,
)
from .memo import memory_budget, set_memory_budget
from .results import keep_results
from .selection import Selection
from .sources import Files
from .spec import ColumnSpec

__all__ = [
    "KINDS",
    "Column",
    "ColumnError",
    "ColumnSpec",
    "EmbeddingColumn",
    "FileColumn",
    "Files",
    "FunctionError",
    "ImageColumn",
    "KindError",
    "LengthError",
    "MissingExtra",
    "Nearest",
    "ObjectColumn",
    "PendingColumn",
    "PredictionColumn",
    "RowError",
    "RowsFailedWarning",
    "ScalarColumn",
    "Selection",
    "StoreError",
    "TensorColumn",
    "TextColumn",
    "concat",
    "keep_results",
    "kind",
    "map_columns",
    "memory_budget",
    "set_memory_budget",
]

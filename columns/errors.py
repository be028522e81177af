"""What can go wrong in `columns`.

::

    ColumnError
    ├── KindError        (TypeError)    a column of the wrong kind, or values that do not fit a kind
    │   └── SizeError                   rows of one batch that differ in size
    ├── LengthError      (ValueError)   columns whose lengths differ
    ├── RowError         (RuntimeError) one row could not be read or computed; names it and its cause
    ├── FunctionError    (ValueError)   a mapped function broke its contract (rows, shape, outputs)
    ├── StoreError       (OSError)      something on disk is missing, damaged, newer, or unsafe
    └── MissingExtra     (ImportError)  an optional library is needed; names the extra
"""

from __future__ import annotations

__all__ = [
    "ColumnError",
    "FunctionError",
    "KindError",
    "LengthError",
    "MissingExtra",
    "RowError",
    "RowsFailedWarning",
    "SizeError",
    "StoreError",
    "quote_cause",
]


class ColumnError(Exception):
    """Base of every error that `columns` raises on purpose."""


class KindError(ColumnError, TypeError):
    """A column of the wrong kind, or values that do not fit a kind."""


class SizeError(KindError):
    """Rows of one batch that differ in size or mode: a property of the column, never of one bad row."""


class LengthError(ColumnError, ValueError):
    """Columns whose lengths differ."""


class FunctionError(ColumnError, ValueError):
    """A mapped function broke its contract: number of rows, shape, dtype or names of its outputs."""


class StoreError(ColumnError, OSError):
    """Something on disk is missing, damaged, of a newer format, or points where it must not."""


class MissingExtra(ColumnError, ImportError):
    """An optional library is needed.

    Examples
    --------
    >>> print(MissingExtra.of("polars", "polars", "to_polars"))
    `to_polars` needs polars; install it with: pip install 'rationale-workbench[polars]'.
    """

    @classmethod
    def of(cls, library: str, extra: str, what: str) -> MissingExtra:
        """Return the error that says which extra brings `library`."""
        return cls(f"`{what}` needs {library}; install it with: pip install 'rationale-workbench[{extra}]'.")


class RowError(ColumnError, RuntimeError):
    """One row could not be read or computed.

    Attributes
    ----------
    row : int
        Its number in the rows of the column that was asked for.
    key : str or None
        Its key in the panel, where the column belongs to one.
    column : str or None
        The column that failed.
    """

    def __init__(self, message: str, *, row: int, key: str | None = None, column: str | None = None) -> None:
        super().__init__(message)
        self.row = row
        self.key = key
        self.column = column


class RowsFailedWarning(UserWarning):
    """Some rows failed and are null, because ``on_error="null"`` was asked for."""


def quote_cause(cause: BaseException) -> str:
    """Return an exception as part of a sentence: its words, then its type."""
    words = " ".join(str(cause).split()).rstrip(".")
    kind = type(cause).__name__
    if len(words) > 300:
        words = words[:297] + "..."
    return f"{words} ({kind})" if words else kind

"""Text: documents, comments, captions. Strings of any length, with the words of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, final

import pyarrow as pa

from ..coerce import to_arrow_array
from ..column import kind
from ..errors import KindError
from ..expression import Source
from ..operations import INPUT, Scalar
from ..operators import Operators
from ..sources import ArrowSource
from ..spec import ColumnSpec

__all__ = ["TextColumn"]


@kind
@final
class TextColumn(Operators):
    """A text per row.

    Parameters
    ----------
    data : sequence of str, or Arrow string array
        One text per row; None is null.

    Examples
    --------
    >>> TextColumn(["a good film", "Bad, bad film"]).contains("bad").to_list()
    [False, True]
    """

    kind = "text"
    form = "arrow"
    __slots__ = ()

    def __new__(cls, data: Sequence[str | None] | pa.Array) -> Self:
        from .scalar import _plain

        array = to_arrow_array(_plain(data), None, "data")
        if pa.types.is_null(array.type):
            array = array.cast(pa.string())
        if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
            raise KindError(f"A text column needs strings; got {array.type}.")
        return cls.over(Source(ArrowSource(array)), spec=ColumnSpec("text", str(array.type)))

    def contains(self, pattern: str, *, ignore_case: bool = False, regex: bool = False) -> Any:
        """Return a lazy column of booleans: whether each text has `pattern` in it."""
        name = "match_substring_regex" if regex else "match_substring"
        options = (("pattern", pattern), ("ignore_case", ignore_case))
        return self._op(Scalar(name, (INPUT,), options), "scalar", ColumnSpec("scalar", "bool"))

    def lower(self) -> Any:
        """Return a lazy column of the texts in lower case."""
        return self._op(Scalar("utf8_lower"), "text", self.spec)

    def length(self) -> Any:
        """Return a lazy column of the number of characters."""
        return self._op(Scalar("utf8_length"), "scalar", ColumnSpec("scalar", "int32"))

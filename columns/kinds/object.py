"""Objects: anything else, one Python object per row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, final

from ..column import Column, kind
from ..expression import Source
from ..sources import ListSource
from ..spec import ColumnSpec

__all__ = ["ObjectColumn"]


@kind
@final
class ObjectColumn(Column):
    """A Python object per row; None is null.

    Parameters
    ----------
    data : sequence
        The objects.

    Examples
    --------
    >>> ObjectColumn([{"a": 1}, None])[0]
    {'a': 1}
    """

    kind = "object"
    form = "list"
    __slots__ = ()

    def __new__(cls, data: Sequence[Any]) -> Self:
        return cls.over(Source(ListSource(list(data))), spec=ColumnSpec("object"))

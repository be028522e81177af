"""Interop: panels from and to what other people hold their data in."""

from __future__ import annotations

from typing import Any

__all__ = ["Interop"]


class Interop:
    """Methods of `DataPanel` that hand its rows to other libraries."""

    __slots__ = ()

    def to_dict(self: Any) -> dict[str, list[Any]]:
        """Return the rows of every column as lists of Python values."""
        return {name: self[name].to_list() for name in self.columns}

"""Keys: what a row is called, whatever is done to the panel around it.

A key is an origin and a number or path, ``digits/17`` or ``photos/cats/3.jpg``. Sorting, slicing, saving and
reopening keep it, and the origin is given or derived from the source, so that feedback finds its row again when
a dataset is rebuilt.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from columns import Column, ScalarColumn, Selection
from columns.expression import Node, Op, Source, apply, digest
from columns.functions import Operation
from columns.sources import RowSource
from columns.values import ArrowValues, Values

__all__ = ["KeySource", "content_origin", "key_node", "pair_keys"]


class KeySource(RowSource):
    """Keys of a panel's first rows, written when somebody asks.

    Parameters
    ----------
    length : int
        Number of rows.
    origin : str or callable
        What comes before the slash; a callable is asked on first use.
    names : Arrow string array, optional
        What comes after it; row numbers if left out.
    """

    def __init__(self, length: int, origin: str | Callable[[], str], names: pa.Array | None = None) -> None:
        self._length = length
        self._origin = origin
        self._names = names

    def __len__(self) -> int:
        return self._length

    @property
    def origin(self) -> str:
        """What comes before the slash."""
        if not isinstance(self._origin, str):
            self._origin = self._origin()
        return self._origin

    @property
    def numbered(self) -> bool:
        """Whether row numbers come after the slash."""
        return self._names is None

    def read(self, rows: Selection) -> Values:
        index = pa.array(rows.indices())
        names = index.cast(pa.string()) if self._names is None else self._names.take(index)
        return ArrowValues(pc.binary_join_element_wise(self.origin, names, "/"))

    def digest(self) -> str:
        names = "" if self._names is None else hashlib.blake2b(str(self._names.to_pylist()).encode()).hexdigest()
        return f"{self.origin} {self._length} {names}"

    def __repr__(self) -> str:
        return f"<keys of {self._length} rows>"


def key_node(length: int, origin: str | Callable[[], str], names: pa.Array | None = None) -> Node:
    """Return the expression of the keys of `length` fresh rows."""
    return Source(KeySource(length, origin, names))


def content_origin(columns: Sequence[Column]) -> Callable[[], str]:
    """Return a function that derives an origin from content: the same data give the same keys, in any process.

    Objects without a content hash leave the rest to tell; if nothing has one, the origin is made up, and holds
    for this process and for what is saved from it.
    """
    nodes = [(c.name, c.node) for c in columns]

    def origin() -> str:
        found = [(name, digest(node)) for name, node in nodes]
        known = [f"{name}\x1f{content}" for name, content in found if content is not None]
        if not known:
            return uuid.uuid4().hex[:12]
        return hashlib.blake2b("\x1e".join(known).encode(), digest_size=6).hexdigest()

    return origin


@dataclass(frozen=True)
class _PairKeys(Operation):
    """Keys of joined rows: both, or the one that is there."""

    strict = False

    def __call__(self, *inputs: Values) -> Values:
        left, right = (v.array for v in inputs if isinstance(v, ArrowValues))
        both = pc.binary_join_element_wise(left, right, "+")
        return ArrowValues(pc.coalesce(both, left, right))

    def words(self, inner: Sequence[str]) -> str:
        return f"pair({', '.join(inner)})"


def pair_keys(left: Node, right: Node) -> Node:
    """Return the keys of rows that stand for a row of each side."""
    (node,) = apply(lambda n: (Op(_PairKeys(), n),), (left, right), strict=False)
    return node


def key_column(node: Node, selection: Selection) -> ScalarColumn:
    """Return keys as a column of strings."""
    from columns import ColumnSpec

    return ScalarColumn.over(node, selection, ColumnSpec("scalar", "string"), None, "key")

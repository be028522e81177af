"""Assemble: columns and keys from outside into a panel, with the checks that every way in shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from columns import Column
from columns.expression import Source
from columns.sources import ArrowSource

from .errors import PanelError
from .keys import content_origin, key_node

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["assemble", "refuse_twice"]


def refuse_twice(names: Iterable[Any]) -> None:
    """Raise if a name occurs twice.

    Raises
    ------
    PanelError
        Names them all.
    """
    twice = {name: count for name, count in Counter(names).items() if count > 1}
    if twice:
        words = ", ".join(f"'{name}' ({count} times)" for name, count in twice.items())
        raise PanelError(f"Names of columns must differ; these do not: {words}. Rename them first.")


def assemble(columns: dict[str, Column], length: int, *, key: Any = None, origin: str | None = None) -> DataPanel:
    """Return a panel of columns, with keys made of an Arrow array where one is given.

    Parameters
    ----------
    columns : dict of str to Column
        Each of `length` rows.
    length : int
        Number of rows; counts where there are no columns.
    key : Arrow array, optional
        What comes after the slash in the keys: one value for each row, no two alike.
    origin : str, optional
        What comes before it; derived from the content if left out. If empty, `key` holds whole keys.

    Raises
    ------
    PanelError
        If keys are null or repeat.
    """
    from .panel import DataPanel

    panel = DataPanel(columns, origin=origin or None)
    if key is None and columns:
        return panel
    base = dict(panel._columns)
    source = origin or content_origin(list(base.values()))
    if key is None:
        return DataPanel._of(base, key_node(length, source))
    names = _key_names(key)
    if origin == "":
        return DataPanel._of(base, Source(ArrowSource(names)))
    return DataPanel._of(base, key_node(length, source, names))


def _key_names(key: Any) -> pa.Array:
    array = key if isinstance(key, pa.ChunkedArray) else pa.chunked_array([key])
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    try:
        names = array.cast(pa.string()).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PanelError(f"Keys must be strings or numbers; got {array.type}.") from error
    if isinstance(names, pa.ChunkedArray):  # older pyarrow
        names = pa.concat_arrays(names.chunks) if names.num_chunks else pa.array([], pa.string())
    if names.null_count:
        raise PanelError(f"Every row needs a key; {names.null_count} of {len(names)} are null.")
    if pc.count_distinct(names).as_py() != len(names):
        counts = pc.value_counts(names)
        twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1)).to_pylist()
        raise PanelError(f"Keys must differ from row to row; {twice[:5]} repeat ({len(twice)} in all).")
    return names

"""Rows to train on and rows to judge by: never the same, nor made from the same original."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .errors import OverlapError, PanelError
from .runs.lineage import seen_by

if TYPE_CHECKING:
    from .classifier import Classifier
    from .panel import DataPanel

__all__ = ["check_apart", "check_copies", "check_unseen", "kin_of", "originals_of", "units_of"]


def check_apart(panel: DataPanel, judged: DataPanel | Sequence[DataPanel], what: str, source: str | None) -> None:
    """Raise if rows to judge by are among those to train on.

    Parameters
    ----------
    panel : DataPanel
        Rows to train on, and to choose a state by.
    judged : DataPanel or sequence of DataPanel
        Rows that are to tell how good the model is.
    what : str
        What these are called in the error.
    source : str or None
        Column of `panel` that copies of one original share, compared where the other panel has it too.

    Raises
    ------
    NoColumnError
        If `panel` has no such column.
    OverlapError
        If a key is in both, or an original; says how many, and names some.
    PanelError
        If the originals of two panels cannot be compared.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> rows = DataPanel({"x": [1, 2, 3, 4]}, origin="rows")
    >>> check_apart(rows[:2], rows[2:], "judged", None)
    >>> check_apart(rows[:3], rows[2:], "judged", None)
    Traceback (most recent call last):
    workbench.errors.OverlapError: A model must not be trained on the rows that it is judged by, and 1 of 2 rows of ...
    """
    from .panel import DataPanel

    seen = None if source is None else originals_of(panel, source)
    several = [judged] if isinstance(judged, DataPanel) else list(judged)
    for rows in several:
        _check(rows.key.to_arrow(), panel.key.to_arrow(), rows, what, "is among them", "are among them")
        if source is not None and seen is not None and source in rows.columns:
            told = f"shares its '{source}' with one", f"share their '{source}' with one"
            _check(_as(originals_of(rows, source), seen.type, source, what), seen, rows, what, *told)


def check_unseen(model: Classifier, judged: DataPanel | Sequence[DataPanel], what: str) -> None:
    """Raise if a model that is to be trained further has seen rows that it is to be judged by.

    Parameters
    ----------
    model : Classifier
        Which knows what it has seen if a run made it; see `runs.lineage.seen_by`.
    judged, what
        As for `check_apart`.

    Raises
    ------
    OverlapError
        If it has; says how many, and names some.
    """
    from .panel import DataPanel

    seen = seen_by(model)
    for rows in [judged] if isinstance(judged, DataPanel) else list(judged):
        both = [key for key in rows.key.to_list() if key in seen] if seen else []
        if both:
            raise OverlapError(
                f"A model must not be judged on rows that it has seen, and the one that this starts from, or what that "
                f"came from, was trained or chosen on {len(both):,} of {len(rows):,} rows of `{what}` "
                f"({', '.join(both[:3])}{', …' if len(both) > 3 else ''}). Judge on other rows, or start from a model "
                "that has not seen these."
            )


def kin_of(rows: DataPanel, seen: Set[str], panel: DataPanel, source: str | None) -> NDArray[np.bool_]:
    """Say which rows were seen, or made from an original that a row which was seen was made from, shape (rows,).

    Parameters
    ----------
    rows : DataPanel
        To be judged by, say.
    seen : set of str
        Keys.
    panel : DataPanel
        In which rows that were seen are looked up.
    source : str or None
        Column that copies of one original share, compared where both panels have it.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> panel = DataPanel({"of": ["a", "a", "b", None]}, origin="rows")
    >>> kin_of(panel, {"rows/0"}, panel, "of").tolist(), kin_of(panel, {"rows/0"}, panel, None).tolist()
    ([True, True, False, False], [True, False, False, False])
    """

    def were_seen(some: DataPanel) -> pa.Array:
        keys = some.key.to_arrow()
        return pc.is_in(keys, value_set=pa.array(sorted(seen), keys.type))

    found = were_seen(rows)
    if source is not None and source in panel.columns and source in rows.columns:
        originals = originals_of(panel, source)
        told = _as(originals_of(rows, source), originals.type, source, "rows")
        found = pc.or_(found, pc.is_in(told, value_set=originals.filter(were_seen(panel)).drop_null()))
    return np.asarray(found.to_numpy(zero_copy_only=False), np.bool_)


def check_copies(rows: DataPanel, seen: Set[str], panel: DataPanel, source: str | None) -> None:
    """Raise OverlapError if rows that no model has seen are copies of rows that one has; see `kin_of`."""
    kin = rows[kin_of(rows, seen, panel, source)].key.to_list()
    copies = [key for key in kin if key not in seen]
    if copies:
        raise OverlapError(
            f"Models must be compared on rows that they have not seen, and {len(copies):,} of these {len(rows):,} "
            f"share their '{source}' with rows that one was trained or chosen on, {', '.join(copies[:3])} among them. "
            "Give other rows, or say `seen_rows_too=True`."
        )


def originals_of(panel: DataPanel, source: str) -> pa.Array:
    """Return which original each row was made from: numbers or names, also where the column is a category."""
    values = panel[source].to_arrow()
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def units_of(panel: DataPanel, source: str | None) -> NDArray[Any]:
    """Return what rows are parted by, shape (rows,): those that share an entry stay on one side.

    Parameters
    ----------
    panel : DataPanel
        A row may be in it several times, where rows were drawn with replacement, say.
    source : str or None
        Column that copies of one original share; None where each key is an original.

    Returns
    -------
    ndarray
        Originals, or the place at which each key comes first.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> units_of(DataPanel({"x": [1, 2, 3]}, origin="rows")[[2, 0, 2]], None).tolist()
    [0, 1, 0]
    """
    if source is not None:
        return np.asarray(originals_of(panel, source).to_numpy(zero_copy_only=False))
    keys = panel.key.to_arrow()
    # Of a key that comes several times `index_in` gives the first place.
    return np.asarray(pc.index_in(keys, value_set=keys).to_numpy(zero_copy_only=False), np.int64)


def _as(values: pa.Array, wanted: pa.DataType, source: str, what: str) -> pa.Array:
    """Return originals in the type of others, which they are compared with."""
    try:
        return values.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PanelError(
            f"Column '{source}' must say the same way which original a row was made from, wherever it does: here it is "
            f"of {wanted}, in `{what}` of {values.type}."
        ) from error


def _check(found: pa.Array, seen: pa.Array, rows: DataPanel, what: str, one: str, many: str) -> None:
    """Raise if any of the values found was seen."""
    both = pc.is_in(found, value_set=seen.drop_null())
    count = pc.sum(both).as_py() or 0
    if count:
        names = rows.key.to_arrow().filter(both)[:3].to_pylist()
        raise OverlapError(
            f"A model must not be trained on the rows that it is judged by, and {count} of {len(rows)} rows of "
            f"`{what}` {one if count == 1 else many} ({', '.join(names)}{', …' if count > len(names) else ''}). Split "
            "first, copies of one original together, and train on the other part."
        )

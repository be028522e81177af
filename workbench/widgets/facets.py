"""Facets: a column as a few bars or bins, and which of them each row is in."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from columns import Column, KindError, RowsFailedWarning
from columns.values import ArrowValues

from ..errors import NoColumnError
from .binning import binned

if TYPE_CHECKING:
    from ..panel import DataPanel

__all__ = ["Facet", "counts", "facet_names", "facet_of", "single_values", "single_values_of"]

_MOST_BARS = 40
_MOST_TEXTS = 1000  # different texts beyond which they are names of rows rather than groups of them
_LONGEST = 200  # characters of a text that can be the name of a bar
_SAMPLE = 4096
_BYTE = 256
_FEW = 16  # one row in so many
_CONFIDENCE = ".confidence"


@dataclass(frozen=True, eq=False)
class Facet:
    """A column as bars or bins.

    Attributes
    ----------
    column : str
        Name; of a prediction column called "prediction" there are "prediction", its label, and
        "prediction.confidence".
    kind : {"bars", "histogram"}
        Whether rows are in groups with names, or on a scale.
    labels : tuple of str or None
        Names of the bars. Of a histogram: what its bins are called where numbers would not tell, for whole numbers and
        dates.
    edges : tuple of float or None
        Of a histogram, one more than there are bins; of dates in the unit of the column since 1970. Empty if no row
        has a finite number.
    codes : ndarray, shape (rows,), int16
        Bar or bin of each row; −1 for null, NaN and infinity.
    values : ndarray or None
        Of a histogram: the numbers themselves, NaN for null.
    other : int or None
        Which bar stands for all values that have no bar of their own.
    of : {"texts", "booleans", "numbers", "times"}
        What the values are.
    """

    column: str
    kind: str
    labels: tuple[str, ...] | None
    edges: tuple[float, ...] | None
    codes: NDArray[np.int16]
    values: NDArray[Any] | None = field(default=None, repr=False)
    other: int | None = None
    of: str = "texts"

    @property
    def bins(self) -> int:
        """How many bars or bins there are."""
        if self.edges is not None:
            return max(0, len(self.edges) - 1)
        return len(self.labels or ())

    @cached_property
    def total(self) -> NDArray[np.int64]:
        """How many rows each bar holds, shape (bins,)."""
        return counts(self.codes, self.bins)

    @property
    def null(self) -> int:
        """How many rows are in none."""
        return len(self.codes) - int(self.total.sum())


def facet_names(panel: DataPanel) -> list[str]:
    """Return the columns that a facet could be made of, as far as their kinds tell; nothing is read.

    Examples
    --------
    >>> from workbench import DataPanel, PredictionColumn
    >>> scores = PredictionColumn([[0.9, 0.1]], ["cat", "dog"], "probabilities")
    >>> facet_names(DataPanel({"age": [3], "prediction": scores}))
    ['age', 'prediction', 'prediction.confidence']
    """
    names = []
    for name in panel.columns:
        kind = panel.kind(name)
        if kind in ("scalar", "text", "pending"):
            names.append(name)
        elif kind == "prediction":
            names.append(name)
            if name + _CONFIDENCE not in panel:
                names.append(name + _CONFIDENCE)
    return names


def facet_of(panel: DataPanel, name: str, *, compute: bool = False) -> Facet | None:
    """Return a column as bars or bins, or None where there is nothing to show or it would have to be computed.

    Parameters
    ----------
    panel : DataPanel
        Whose rows they are.
    name : str
        A column; or a prediction column and ``.confidence``.
    compute : bool
        Compute the column if it is not there yet.

    Returns
    -------
    Facet or None
        Bars of categories, booleans and texts of few different values: at most 40, the last one for the rest. Bins of
        numbers and dates: at most 24.

    Raises
    ------
    NoColumnError
        If there is no such column.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> found = facet_of(DataPanel({"team": ["red", "blue", None, "red"]}), "team")
    >>> found.kind, found.labels, found.total.tolist(), found.null
    ('bars', ('red', 'blue'), [2, 1], 1)
    """
    array = single_values(panel, name, compute=compute)
    if array is None:
        return None
    kind = array.type
    if pa.types.is_null(kind):
        return Facet(name, "bars", (), None, np.full(len(array), -1, np.int16))
    if pa.types.is_boolean(kind):
        codes = array.cast(pa.int8()).fill_null(-1).to_numpy().astype(np.int16)
        return Facet(name, "bars", ("false", "true"), None, codes, of="booleans")
    if pa.types.is_dictionary(kind):
        return None if _too_long(array.dictionary) else _bars(name, array, by_size=False)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        coded = _few_texts(array)
        return None if coded is None else _bars(name, coded, by_size=True)
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return _times(name, array)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        facet = _histogram(name, array)
        return _from_zero_to_one(facet) if name not in panel else facet
    return None


def counts(codes: NDArray[np.signedinteger], bins: int, mask: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """Return how many rows are in each bar, of all rows or of those in a mask.

    Parameters
    ----------
    codes : ndarray, shape (rows,), int
        Bar of each row, −1 for none.
    bins : int
        How many bars there are.
    mask : ndarray, shape (rows,), bool, optional
        Which rows count.

    Returns
    -------
    ndarray, shape (bins,), int64

    Examples
    --------
    >>> counts(np.array([0, 2, -1, 2], np.int16), 3, np.array([True, True, True, False])).tolist()
    [1, 0, 1]
    """
    if mask is not None and np.count_nonzero(mask) * _FEW < len(mask):
        # Few rows are fetched sooner; and where nearly all fall into one bar, each addition waits for the last.
        codes, mask = codes[np.flatnonzero(mask)], None
    if bins >= _BYTE - 1:
        above = codes.astype(np.int64) + 1
        if mask is not None:
            above *= mask
        return np.bincount(above, minlength=bins + 1)[1:].astype(np.int64, copy=False)
    places = codes.astype(np.uint8) + np.uint8(1)  # -1 becomes 255, and that 0
    if mask is not None:
        places *= mask.view(np.uint8)  # to where null is: a product costs a quarter of choosing the rows
    # Two rows at a time, as one number of 16 bits: counting waits for memory, and twice as long for each row alone.
    pairs = np.bincount(places[: len(places) & -2].view(np.uint16), minlength=_BYTE * _BYTE).reshape(_BYTE, _BYTE)
    found = pairs.sum(axis=0) + pairs.sum(axis=1)
    if len(places) % 2:
        found[places[-1]] += 1
    counted: NDArray[np.int64] = found[1 : bins + 1].astype(np.int64, copy=False)
    return counted


def single_values(panel: DataPanel, name: str, *, compute: bool = False) -> pa.Array | None:
    """Return a column's values where each is a single one, of a prediction its label; None where they are not there.

    Parameters
    ----------
    panel, name, compute
        As for `facet_of`.

    Returns
    -------
    Arrow array or None
        None also for pictures, tensors, objects, and where a column would have to be computed.
    """
    column = single_values_of(panel, name)
    if column is None or not (compute or column.is_computed()):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RowsFailedWarning)  # null in a facet, and told in the table
        try:
            values = column.values(on_error="null")
        except KindError:
            return None  # of a map of rows that turned out to be no single values
    if not isinstance(values, ArrowValues) or pa.types.is_nested(values.array.type):
        return None
    return values.array


def single_values_of(panel: DataPanel, name: str) -> Column | None:
    """Return the column that a name means where one value for each row is needed; nothing is computed.

    Raises
    ------
    NoColumnError
        If there is no such column.
    """
    if name in panel:
        column: Column = panel[name]
        if column.kind != "prediction":
            return column if column.form in ("arrow", "pending") else None
        return column.label if column.spec.classes else None  # type: ignore[attr-defined]
    owner = name.removesuffix(_CONFIDENCE)
    if owner == name or owner not in panel or panel.kind(owner) != "prediction":
        raise NoColumnError(panel.no_column(name))
    confidence: Column = panel[owner].confidence
    return confidence


def _few_texts(array: pa.Array) -> pa.DictionaryArray | None:
    """Texts with their different values numbered, unless these are too many or too long to be groups of rows."""
    if array.nbytes > _LONGEST * len(array) + _SAMPLE:
        return None
    sample = array[:: max(1, len(array) // _SAMPLE)]
    if len(pc.unique(sample)) > max(_MOST_BARS, len(sample) // 2):
        return None
    coded = array.dictionary_encode()
    distinct = len(coded.dictionary)
    if distinct > _MOST_BARS and (distinct > _MOST_TEXTS or distinct > len(array) // 4):
        return None
    return None if _too_long(coded.dictionary) else coded


def _too_long(texts: pa.Array) -> bool:
    """Whether one of some texts is too long to be the name of a bar."""
    if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
        return False
    longest = pc.max(pc.utf8_length(texts)).as_py()
    return longest is not None and longest > _LONGEST


def _bars(name: str, array: pa.DictionaryArray, *, by_size: bool) -> Facet:
    """A bar for each value, the most frequent of them if there are too many, and one for the rest."""
    texts: list[Any] = array.dictionary.to_pylist()
    index = (array.indices.fill_null(-1) if array.null_count else array.indices).to_numpy()
    size = counts(index.astype(np.int32, copy=False), len(texts))
    # Of equal size, those that come first: by name among texts, by class in a category.
    ranked = sorted(range(len(texts)), key=lambda n: (-size[n], str(texts[n]) if by_size else n))
    ranked = [number for number in ranked if texts[number] is not None]
    kept = ranked if len(ranked) <= _MOST_BARS else ranked[: _MOST_BARS - 1]
    rest = len(ranked) - len(kept)
    kept = kept if by_size else sorted(kept)
    # The last entry is what -1 finds: nothing.
    table = np.full(len(texts) + 1, -1, np.int16)
    if rest:
        table[ranked] = len(kept)
    table[kept] = np.arange(len(kept))
    labels = [str(texts[number]) for number in kept]
    if rest:
        label = f"other ({rest:,} values)"
        while label in labels:
            label = f"({label})"
        labels.append(label)
    return Facet(name, "bars", tuple(labels), None, table[index], other=len(kept) if rest else None)


def _histogram(name: str, array: pa.Array) -> Facet:
    bins = binned(array)
    labels = tuple(str(edge) for edge in bins.edges[:-1]) if bins.own else None
    return Facet(name, "histogram", labels, bins.edges, bins.codes, bins.values, of="numbers")


def _from_zero_to_one(facet: Facet) -> Facet:
    """A histogram of probabilities over all that they can be, so that two of them can be compared."""
    assert facet.values is not None
    if facet.values.size and (np.nanmin(facet.values, initial=0) < 0 or np.nanmax(facet.values, initial=0) > 1):
        return facet  # scores that were declared to be probabilities and are none
    ends = pa.array(np.append(facet.values, np.array([0, 1], facet.values.dtype)))
    bins = binned(ends)
    return replace(facet, edges=bins.edges, codes=bins.codes[:-2])


def _times(name: str, array: pa.Array) -> Facet:
    """A histogram of dates or times, its bins named by the first moment that lies in them."""
    wide = array.type.bit_width == 64
    bins = binned(array.view(pa.int64() if wide else pa.int32()))
    starts = pa.array([int(edge) for edge in bins.edges[:-1]], pa.int64() if wide else pa.int32())
    labels = tuple(str(moment) for moment in starts.view(array.type).cast(pa.string()).to_pylist())
    return Facet(name, "histogram", labels, bins.edges, bins.codes, bins.values, of="times")

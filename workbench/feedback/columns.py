"""What was said as columns of a panel: masks, spans and labels, as they were when the column was made."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from columns import Column, ColumnSpec, ScalarColumn, Selection, TensorColumn
from columns.column import align
from columns.expression import Op, Source, apply
from columns.functions import Operation
from columns.sources import ArrowSource, RowSource
from columns.values import ArrowValues, DenseValues, Values

from ..errors import FeedbackError
from .region import Region
from .regions import FeatureRegion, ImageRegion, TextRegion

if TYPE_CHECKING:
    from ..panel import DataPanel

__all__ = ["RegionSource", "corrected", "region_column", "token_mask"]

_SPANS = pa.list_(pa.list_(pa.int64()))


class RegionSource(RowSource):
    """Masks of rows, kept as regions and written out when they are read.

    Parameters
    ----------
    regions : sequence of ImageRegion or FeatureRegion
        The different ones, all of one size.
    place : ndarray, shape (rows,), int64
        Which of them a row has; -1 where nothing was said, which reads as null.
    shape : tuple of int
        Of one mask.
    content : str
        Which log, version, role and so on this is: what the hash is made of, with the rows.
    """

    def __init__(
        self,
        regions: Sequence[ImageRegion | FeatureRegion],
        place: NDArray[np.int64],
        shape: tuple[int, ...],
        content: str,
    ) -> None:
        self._regions = regions
        self._place = place
        self._shape = shape
        self._content = content

    def __len__(self) -> int:
        return len(self._place)

    def read(self, rows: Selection) -> Values:
        place = self._place[rows.indices()]
        data = np.zeros((len(place), *self._shape), np.bool_)
        order = np.argsort(place, kind="stable")
        said, starts = np.unique(place[order], return_index=True)
        for number, some in zip(said.tolist(), np.split(order, starts[1:]), strict=True):
            if number >= 0:  # a region that many rows share is written out once
                data[some] = self._regions[number].mask()
        return DenseValues(data, place >= 0)

    def digest(self) -> str:
        h = hashlib.blake2b(self._content.encode(), digest_size=16)
        h.update(self._place.tobytes())
        return h.hexdigest()

    def row_bytes(self) -> int:
        return int(np.prod(self._shape))

    def __repr__(self) -> str:
        said = int((self._place >= 0).sum())
        return f"<{said:,} of {len(self):,} rows marked>"


def region_column(
    panel: DataPanel, regions: Mapping[str, Region], column: str, size: tuple[int, int] | None, content: str
) -> Column:
    """Return regions as a column beside a column of a panel: masks of pictures and vectors, spans of texts.

    Parameters
    ----------
    panel : DataPanel
        Gives the rows, by key, and what the column is.
    regions : mapping of str to Region
        By key; rows without one are null.
    column : str
        What the regions are parts of.
    size : (height, width), optional
        Lay the masks of pictures on this size.
    content : str
        Which log, version, role and so on this is.

    Raises
    ------
    NoColumnError
        If the panel has no such column.
    FeedbackError
        If the regions of the rows are of several kinds or sizes, or not of that of the rows.
    """
    beside = panel[column]
    place, wanted = _places(panel, regions)
    kinds = {region.kind for region in wanted}
    if len(kinds) > 1:
        raise FeedbackError(f"Regions of column '{column}' must be of one kind; there are {sorted(kinds)}.")
    if kinds == {"text"} or (not kinds and (beside.kind == "text" or beside.spec.dtype in ("string", "large_string"))):
        spans = pa.array([list(map(list, r.spans)) for r in wanted if isinstance(r, TextRegion)], _SPANS)
        rows = spans.take(pa.array(place, mask=place < 0))
        return ScalarColumn.over(Source(ArrowSource(rows)), spec=ColumnSpec("scalar", str(_SPANS)))
    several = [region for region in wanted if isinstance(region, (ImageRegion, FeatureRegion))]
    if size is not None:
        several = [_resized(region, size, column) for region in several]
    shape = _one_shape(several, beside, size, column)
    source = RegionSource(several, place, shape, f"{content}\x1f{size}")
    return TensorColumn.over(Source(source), spec=ColumnSpec("tensor", "bool", shape))


def _places(panel: DataPanel, regions: Mapping[str, Region]) -> tuple[NDArray[np.int64], list[Region]]:
    """Return which of the different regions each row has, -1 for none, and these regions."""
    keys = panel.key.to_arrow()
    found = pc.index_in(keys, value_set=pa.array(list(regions), keys.type)).fill_null(-1)
    place = found.to_numpy(zero_copy_only=False).astype(np.int64)
    several = list(regions.values())
    number: dict[Region, int] = {}
    # The last entry is what -1 finds: nothing.
    new = np.full(len(several) + 1, -1, np.int64)
    for old in np.unique(place[place >= 0]).tolist():
        new[old] = number.setdefault(several[old], len(number))
    return new[place], list(number)


def _resized(region: ImageRegion | FeatureRegion, size: tuple[int, int], column: str) -> ImageRegion:
    if not isinstance(region, ImageRegion):
        raise FeedbackError(f"`size` is for pictures; the regions of '{column}' are of {region.extent}.")
    return region.resized(*size)


def _one_shape(
    regions: Sequence[ImageRegion | FeatureRegion],
    beside: Column,
    size: tuple[int, int] | None,
    column: str,
) -> tuple[int, ...]:
    """Return the shape of the masks, which is that of the rows where it is known."""
    known = beside.spec.shape
    if beside.kind == "image":
        known = size or (None if known is None else known[:2])
    for region in regions[1:]:
        if not regions[0].same_extent(region):
            raise FeedbackError(
                f"Masks of one column must be of one size; of '{column}' there are some of {regions[0].extent} and "
                f"some of {region.extent}. Lay them on one size: size=(height, width), or take rows of one size."
            )
    shape = regions[0].mask().shape if regions else known or (1, 1)
    # Of tensors, channels may come first or last.
    if known is not None and shape not in (tuple(known[: len(shape)]), tuple(known[-len(shape) :])):
        rows = "×".join(map(str, known))
        raise FeedbackError(
            f"Masks must be of the size of their rows: rows of '{column}' are {rows}, what was said is of "
            f"{regions[0].extent}. Lay masks of pictures on the size of the rows: size=(height, width)."
        )
    return shape


@dataclass(frozen=True)
class _Corrected(Operation):
    """A label, or what it was corrected to."""

    strict = False

    def __call__(self, *inputs: Values) -> Values:
        labels, corrections = (v.array for v in inputs if isinstance(v, ArrowValues))
        if pa.types.is_dictionary(labels.type):
            codes = pc.if_else(pc.is_valid(corrections), corrections.indices, labels.indices)
            return ArrowValues(pa.DictionaryArray.from_arrays(codes, labels.dictionary))
        return ArrowValues(pc.coalesce(corrections, labels))

    def words(self, inner: Sequence[str]) -> str:
        return f"corrected({', '.join(inner)})"


def corrected(panel: DataPanel, label: str, labels: Mapping[str, str]) -> Column:
    """Return a column of labels with corrections applied, as lazy as the column itself.

    Parameters
    ----------
    panel : DataPanel
        Gives the rows, by key.
    label : str
        A column of names: a category, or text.
    labels : mapping of str to str
        Corrections by key.

    Raises
    ------
    NoColumnError
        If the panel has no such column.
    FeedbackError
        If the column holds no names, or a correction is not among its classes.
    """
    beside = panel[label]
    classes = beside.spec.classes
    if classes is None and beside.spec.dtype not in ("string", "large_string"):
        raise FeedbackError(
            f"Corrections are names; column '{label}' holds {beside.spec.dtype or beside.kind}. Make it a category "
            f"first: panel['{label}'].as_category([...])."
        )
    keys = panel.key.to_arrow()
    found = pc.index_in(keys, value_set=pa.array(list(labels), keys.type))
    names = pa.array(list(labels.values()), pa.string())
    unknown = sorted(set(pc.unique(names.take(found).drop_null()).to_pylist()) - set(classes or names.to_pylist()))
    if unknown:
        raise FeedbackError(
            f"Corrected labels must be among the classes of '{label}', {list(classes or ())}; got {unknown[:5]} as "
            "well. Undo these corrections, or give the column these classes too, with as_category."
        )
    said: Any = ScalarColumn(names.take(found))
    said = said.as_category(classes) if classes is not None else said
    nodes, selection, row_keys = align([beside, said], strict=False)
    (node,) = apply(lambda inputs: (Op(_Corrected(), inputs),), nodes, strict=False)
    column: Column = type(beside).over(node, selection, beside.spec, row_keys, label)
    return column


def token_mask(spans: Any, offsets: Any) -> NDArray[np.bool_]:
    """Return which tokens of a text a person marked: those that share a character with a span.

    Parameters
    ----------
    spans : TextRegion, or sequence of (start, end)
        Half-open, in characters; None marks nothing.
    offsets : array or Tensor, shape (tokens, 2), int
        Where tokens start and end in the text, as tokenisers give it. A token of no characters, such as a
        separator at (0, 0), is never marked.

    Returns
    -------
    ndarray, shape (tokens,), bool

    Raises
    ------
    FeedbackError
        If these are no spans or no offsets.

    Examples
    --------
    >>> token_mask([(4, 9)], [(0, 0), (0, 3), (4, 8), (8, 12)]).tolist()  # "not good film"
    [False, False, True, True]
    """
    region = spans if isinstance(spans, TextRegion) else TextRegion(() if spans is None else spans)
    ends = np.asarray(offsets)
    if ends.ndim != 2 or ends.shape[1] != 2 or ends.dtype.kind not in "iu":
        raise FeedbackError(f"`offsets` must be whole numbers of shape (tokens, 2); got {ends.dtype} of {ends.shape}.")
    starts, stops = ends[:, 0].astype(np.int64), ends[:, 1].astype(np.int64)
    places = region.intervals
    # Spans are sorted and disjoint: if any shares a character with a token, the first that ends behind its start does.
    first = np.searchsorted(places[:, 1], starts, side="right")
    begins = np.append(places[:, 0], np.iinfo(np.int64).max)[first]
    return (begins < stops) & (starts < stops)

"""A map of the rows: vectors as points of a square, and the colour of each point."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from columns import Column, RowsFailedWarning
from columns.values import DenseValues, shared_tensor

from ..errors import NoColumnError, PanelError
from .facets import Facet, facet_of

if TYPE_CHECKING:
    from ..panel import DataPanel

__all__ = ["NOWHERE", "NO_COLOUR", "colour_codes", "project"]

# Where a row is drawn that has no place: far outside of the square, where no lasso around points of it comes by.
NOWHERE = -3.0
NO_COLOUR = 255

_SAMPLE_ROWS = 20_000
_SAMPLE_SIZE = 1 << 24  # numbers of which the axes are found
_AT_ONCE = 1 << 22  # numbers that are read at a time
_EXACT_WIDTH = 256  # up to here all axes are found, beyond it only the first ones
_SKETCH = 16
_ROUNDS = 12
_LARGE = 1e30  # beyond which sums of float32 may be infinite


def project(panel: DataPanel, name: str, *, compute: bool = False) -> NDArray[np.float32]:
    """Return a place in the square [−1, 1]² for each row of a column of vectors.

    Two numbers a row are taken as they are; more of them by their two principal axes, found on at most 20,000 rows
    spread over the panel. Both axes have one scale, and the greater extent fills the square.

    Parameters
    ----------
    panel : DataPanel
        Whose rows they are.
    name : str
        A column of embeddings, tensors or class scores.
    compute : bool
        Compute the column if it is not there yet.

    Returns
    -------
    ndarray, shape (rows, 2), float32
        A row that is null, failed, or not finite lies at (`NOWHERE`, `NOWHERE`), outside of the square. The same values
        give the same map; an axis points to where its largest component is positive.

    Raises
    ------
    PanelError
        If rows are no vectors of real numbers, or the column is not computed.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> project(DataPanel({"place": np.array([[0.0, 0.0], [4.0, 2.0]])}), "place").tolist()
    [[-1.0, -0.5], [1.0, 0.5]]
    """
    column = _vectors(panel, name, compute)
    width = _width(column)
    places = np.full((2, len(panel)), np.nan)  # axis by axis: NumPy is slow along an axis of two
    if width:
        along = _Axes.of(column, width) if width > 2 else None
        at_once = max(1, _AT_ONCE // width)
        for start in range(0, len(panel), at_once):
            part, valid = _read(column[start : start + at_once], width)
            some = places[:, start : start + at_once]
            some[1] = 0
            some[: min(width, 2)] = part.T if along is None else along(part)
            if valid is not None:
                some[:, ~valid] = np.nan
    elif len(panel):
        valid = _values(column).valid()
        places[:, slice(None) if valid is None else valid] = 0
    return _in_square(places)


def colour_codes(
    panel: DataPanel, name: str | None, facet: Facet | None = None
) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Return the colour of each row by a column, and the legend.

    Parameters
    ----------
    panel : DataPanel
        Whose rows they are.
    name : str or None
        A column that has a facet; None gives one colour to all.
    facet : Facet, optional
        That of the column, where it is there already.

    Returns
    -------
    codes : ndarray, shape (rows,), uint8
        Categories from 0 in the order of the legend; numbers from 0 at `low` to 254 at `high`; 255 for null.
    legend : dict
        ``kind`` ("categories" or "numbers"), ``labels`` or None, ``low`` and ``high`` or None.

    Raises
    ------
    PanelError
        If the column has no facet, or is not computed.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> codes, legend = colour_codes(DataPanel({"age": [36.0, 41.0, None]}), "age")
    >>> codes.tolist(), legend["low"], legend["high"]
    ([0, 254, 255], 36.0, 41.0)
    """
    if name is None:
        return np.zeros(len(panel), np.uint8), {"kind": "categories", "labels": [""], "low": None, "high": None}
    facet = facet_of(panel, name) if facet is None else facet
    if facet is None:
        raise PanelError(
            f"'{name}' gives no colours: it is not computed, or its rows are in no groups and on no scale."
        )
    if facet.edges is None:
        # -1 becomes 255 by itself.
        legend = {"kind": "categories", "labels": list(facet.labels or ()), "low": None, "high": None}
        return facet.codes.astype(np.uint8), legend
    assert facet.values is not None
    there = facet.codes >= 0
    codes = np.full(len(facet.codes), NO_COLOUR, np.uint8)
    if not facet.edges:
        return codes, {"kind": "numbers", "labels": None, "low": None, "high": None}
    values = facet.values.astype(np.float64, copy=False)
    low = float(facet.edges[0])
    # A confidence may be anything up to 1, which few reach; the last edge of whole numbers is one above them.
    high = float((values if there.all() else values[there]).max()) if facet.column in panel else facet.edges[-1]
    span = high / 2 - low / 2  # halves: the difference itself may be infinite
    shares = (values / 2 - low / 2) / span if span > 0 else np.zeros(len(values))
    with np.errstate(invalid="ignore"):
        shades = np.fmin(np.fmax(np.rint(shares * 254), 0), 254).astype(np.uint8)
    np.copyto(codes, shades, where=there)
    return codes, {"kind": "numbers", "labels": None, "low": low, "high": high}


def _vectors(panel: DataPanel, name: str, compute: bool) -> Column:
    if name not in panel:
        raise NoColumnError(panel.no_column(name))
    column: Column = panel[name]
    if column.form != "dense":
        raise PanelError(f"A map needs a column of vectors; '{name}' is of kind '{column.kind}'.")
    if not column.is_computed():
        if not compute:
            raise PanelError(f"A map of '{name}' cannot be drawn before it is computed.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RowsFailedWarning)
            column.compute(on_error="null")
    return column


def _width(column: Column) -> int:
    """Numbers of a row, as the first row that is there has them; 0 where none is."""
    for start in range(0, len(column), 256):
        values = _values(column[start : start + 256])
        valid = values.valid()
        if valid is None or valid.any():
            if values.data.dtype.kind not in "biuf":
                raise PanelError(f"A map needs real numbers; '{column.name}' holds {values.data.dtype}.")
            return int(np.prod(values.data.shape[1:], dtype=np.int64))
    return 0


def _values(column: Column) -> DenseValues:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RowsFailedWarning)
        values = column.values(on_error="null")
    assert isinstance(values, DenseValues)
    return values


def _read(column: Column, width: int) -> tuple[NDArray[np.floating], NDArray[np.bool_] | None]:
    """Rows as vectors of floats, and which of them are not null."""
    values = _values(column)
    if values.data.size != len(values) * width:  # all null, and so of unknown width
        return np.zeros((len(values), width), np.float32), np.zeros(len(values), np.bool_)
    flat = values.data.reshape(len(values), width)
    # Whole numbers and float16 lose nothing in float32 that a map would show, but float64 may not fit.
    return flat if flat.dtype in (np.float32, np.float64) else flat.astype(np.float32), values.valid()


@dataclass(frozen=True, eq=False)
class _Axes:
    """The two principal axes of vectors, shape (width, 2), and what to take off and divide by before."""

    axes: torch.Tensor
    middle: NDArray[np.float64]
    scale: float
    far: bool  # whether the vectors lie far from zero, so that float32 would lose their differences

    @classmethod
    def of(cls, column: Column, width: int) -> _Axes:
        sample = np.concatenate(list(_sample(column, width)))
        if not len(sample):
            return cls(torch.zeros(width, 2), np.zeros(width), 1.0, False)
        largest = float(np.abs(sample).max()) or 1.0
        scaled = sample / largest  # squares of numbers near the end of the range would be infinite
        middle = scaled.mean(axis=0, dtype=np.float64)
        centred = torch.from_numpy((scaled - middle).astype(np.float32))
        spread = float(centred.abs().max()) or 1.0
        far = largest > _LARGE or spread < 0.05
        return cls(_principal(centred / spread), middle * largest, largest, far)

    def __call__(self, part: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return where vectors lie along both axes, shape (2, rows); what is not finite stays so."""
        with np.errstate(over="ignore", invalid="ignore"):
            if self.far or part.dtype != np.float32:
                part = (part / self.scale - self.middle / self.scale).astype(np.float32)
            found: NDArray[np.float32] = (shared_tensor(part) @ self.axes).numpy().T
        return found


def _sample(column: Column, width: int) -> Iterator[NDArray[np.floating]]:
    """Rows spread evenly over the column, as many as the axes need, read some at a time."""
    wanted = max(2, min(_SAMPLE_ROWS, _SAMPLE_SIZE // width))
    chosen = np.unique(np.linspace(0, len(column) - 1, min(wanted, len(column))).astype(np.int64))
    at_once = max(1, _AT_ONCE // width)
    for start in range(0, len(chosen), at_once):
        part, valid = _read(column[chosen[start : start + at_once]], width)
        kept = np.isfinite(part).all(axis=1)
        yield part[kept if valid is None else kept & valid]


def _principal(centred: torch.Tensor) -> torch.Tensor:
    """The two directions of greatest variance, shape (width, 2)."""
    width = centred.shape[1]
    if width <= _EXACT_WIDTH:
        _, vectors = torch.linalg.eigh((centred.T @ centred).double())
        axes = vectors[:, -2:].flip(1).float()
    else:
        # Subspace iteration from a start that is always the same: all axes of thousands would take minutes.
        start = torch.randn(width, _SKETCH, generator=torch.Generator().manual_seed(0))
        basis = torch.linalg.qr(start).Q
        for _ in range(_ROUNDS):
            basis = torch.linalg.qr(centred.T @ (centred @ basis)).Q
        inside = centred @ basis
        _, vectors = torch.linalg.eigh((inside.T @ inside).double())
        axes = basis @ vectors[:, -2:].flip(1).float()
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    signed: torch.Tensor = axes * torch.where(largest < 0, -1.0, 1.0)
    return signed


def _in_square(places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Both axes, shape (2, rows), moved and scaled alike, so that the greater extent is from −1 to 1; as rows."""
    there = np.isfinite(places[0]) & np.isfinite(places[1])
    result = np.full((places.shape[1], 2), NOWHERE, np.float32)
    if there.any():
        every = bool(there.all())
        some = places if every else places[:, there]
        some = np.ldexp(some, -int(np.frexp(np.abs(some).max())[1]))  # their differences may be infinite
        low, high = some.min(axis=1), some.max(axis=1)
        half = (high - low).max() / 2 or 1.0
        some -= ((low + high) / 2)[:, None]
        some /= half
        result[slice(None) if every else there] = some.clip(-1, 1, out=some).T
    return result

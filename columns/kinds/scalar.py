"""Scalars: numbers, booleans, strings, dates, categories, nested values. Arrow underneath."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from ..coerce import to_arrow_array
from ..column import Column, kind
from ..errors import KindError
from ..expression import Source
from ..functions import Operation
from ..operations import AsForm, Scalar
from ..operators import Operators
from ..sources import ArrowSource
from ..spec import ColumnSpec
from ..values import ArrowValues, Values

__all__ = ["ScalarColumn"]


@kind
@final
class ScalarColumn(Operators):
    """One plain value per row.

    Parameters
    ----------
    data : sequence, ndarray, Tensor, Arrow array, or pandas Series
        One value per row, all of one type; None is null.
    dtype : str, optional
        Arrow type to convert to.
    classes : sequence of str, optional
        Makes a category: `data` are names, or codes into these names.

    Raises
    ------
    KindError
        If there are several values a row, or several types.

    Examples
    --------
    >>> column = ScalarColumn([1, 2, None, 4])
    >>> (column * 10 > 15).to_list()
    [False, True, None, True]
    """

    kind = "scalar"
    form = "arrow"
    __slots__ = ()

    def __new__(cls, data: Any, dtype: str | None = None, classes: Sequence[str] | None = None) -> Self:
        array = to_arrow_array(_plain(data), dtype, "data")
        if pa.types.is_dictionary(array.type):
            classes = classes or [str(c) for c in array.dictionary.to_pylist()]
            array = _ordinary_category(array)
        if classes is not None:
            return cls.over(Source(ArrowSource(array))).as_category(classes)._settled()
        return cls.over(Source(ArrowSource(array)), spec=ColumnSpec("scalar", str(array.type)))

    def _settled(self) -> Self:
        """Return the same column over values that are there: a category made of data is data."""
        values = self.values()
        assert isinstance(values, ArrowValues)
        return type(self).over(Source(ArrowSource(values.array)), spec=self.spec)

    def as_category(self, classes: Sequence[str]) -> Self:
        """Return a lazy category: names, or codes into `classes`, that compare by name.

        Parameters
        ----------
        classes : sequence of str
            Names in the order of the codes, each once.
        """
        names = tuple(str(c) for c in classes)
        if len(set(names)) != len(names):
            raise KindError(f"Class names must differ; got {list(names)}.")
        spec = ColumnSpec("scalar", "category", None, names)
        result: Self = self._op(AsForm("arrow", None, names), "scalar", spec)
        result.name = self.name
        return result

    def codes(self) -> Any:
        """Return a lazy column of the codes of a category."""
        if self.spec.classes is None:
            raise KindError("Only a category has codes; make one with `.as_category(names)`.")
        return self._op(_Codes(), "scalar", ColumnSpec("scalar", "int32"))

    def cast(self, dtype: str) -> Any:
        """Return a lazy column of another Arrow type, ``"float32"`` say."""
        return self._op(Scalar("cast", options=(("target_type", dtype),)), "scalar", ColumnSpec("scalar", dtype))

    def unique(self) -> Self:
        """Return the distinct values, in the order of their first row; computed at once."""
        return type(self)(pc.unique(_decoded(self.values())))

    def value_counts(self) -> dict[Any, int]:
        """Return how often each value occurs, most frequent first; null counts under None."""
        array = _decoded(self.values())
        if pa.types.is_nested(array.type):
            raise KindError(f"Only plain values are counted; this column has {array.type}.")
        counts = pc.value_counts(array)
        pairs = [(p["values"], p["counts"]) for p in counts.to_pylist()]
        return dict(sorted(pairs, key=lambda pair: -pair[1]))

    def sum(self) -> Any:
        """Return the sum of the rows that are not null; computed at once."""
        return self._aggregate("sum")

    def mean(self) -> Any:
        """Return the mean of the rows that are not null; computed at once."""
        return self._aggregate("mean")

    def min(self) -> Any:
        """Return the least value; computed at once."""
        return self._aggregate("min")

    def max(self) -> Any:
        """Return the greatest value; computed at once."""
        return self._aggregate("max")

    def _aggregate(self, name: str) -> Any:
        array = _decoded(self.values())
        try:
            return getattr(pc, name)(array).as_py()
        except pa.ArrowNotImplementedError as error:
            raise KindError(f"`{name}` needs numbers; this column has {array.type}.") from error


class _Codes(Operation):
    """The codes of a category."""

    def __call__(self, *inputs: Values) -> Values:
        (values,) = inputs
        assert isinstance(values, ArrowValues)
        return ArrowValues(values.array.indices)

    def words(self, inner: Sequence[str]) -> str:
        return f"codes({inner[0]})"

    def __repr__(self) -> str:
        return "codes"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Codes)

    def __hash__(self) -> int:
        return hash(_Codes)


def _plain(data: Any) -> Any:
    """Return what Arrow takes from what people have: Series, tensors, columns."""
    if isinstance(data, Column):
        return data.to_arrow()
    if hasattr(data, "__arrow_c_array__"):
        return pa.array(data)
    if hasattr(data, "__arrow_c_stream__"):
        return pa.chunked_array(data)
    if type(data).__module__.startswith("pandas"):
        return pa.Array.from_pandas(data)
    if isinstance(data, np.ndarray) and data.dtype.kind in "UO" and data.ndim == 1:
        return pa.array(data.tolist())
    if isinstance(data, (range, set, dict)) or not isinstance(
        data, (Sequence, np.ndarray, torch.Tensor, pa.Array, pa.ChunkedArray)
    ):
        return list(data)
    return data


def _ordinary_category(array: pa.DictionaryArray) -> pa.Array:
    """Return a dictionary array of any index and value type as one of strings."""
    return (
        array.cast(pa.dictionary(pa.int32(), pa.string()))
        if array.type != pa.dictionary(pa.int32(), pa.string())
        else array
    )


def _decoded(values: Values) -> pa.Array:
    assert isinstance(values, ArrowValues)
    array = values.array
    return array.cast(array.type.value_type) if pa.types.is_dictionary(array.type) else array


def counts_by_code(codes: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Return how often each code occurs."""
    return np.bincount(codes, minlength=classes).astype(np.int64)

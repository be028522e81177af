"""Orders by radix are those of Arrow's own stable sort, for every type and in both directions."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray

from workbench.ordering import radix_order, sort_rows

_FLOATS = [0.0, -0.0, 1.5, -2.5, np.inf, -np.inf, np.nan, 5e-324, -3.3]
_WORDS = ["", "a", "a\0", "a\0b", "ab", "abcdefgh", "abcdefghi", "abcdefgh\0", "é", "日本", "日本語", "\U0001f600"]


def arrays(rows: int) -> Iterator[pa.Array]:
    rng = np.random.default_rng(rows)
    null = rng.random(rows) < 0.1
    floats = rng.choice(_FLOATS, rows)
    for kind in (np.float16, np.float32, np.float64):
        yield pa.array(floats.astype(kind), mask=null)
    for kind in (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint64):
        ends = np.iinfo(kind)
        whole = rng.integers(ends.min, ends.max, rows, dtype=kind, endpoint=True)
        whole[: min(2, rows)] = [ends.min, ends.max][:rows]
        yield pa.array(whole)
        yield pa.array(whole, mask=null)
        yield pa.array((whole % 5).astype(kind))
    yield pa.array(floats > 0, mask=null)
    yield pa.array(rng.integers(-(10**9), 10**9, rows).astype("datetime64[us]"))
    yield pa.array(rng.integers(-(10**4), 10**4, rows).astype("datetime64[D]"))
    yield pa.array(rng.integers(0, 80_000, rows).astype(np.int32)).cast(pa.time32("s"))
    yield pa.array([datetime.timedelta(seconds=int(s)) for s in rng.integers(0, 99, rows)], pa.duration("ms"))
    for texts in (
        _WORDS,
        [f"pre-{i}" for i in range(9 * rows + 1)],
        [f"a long prefix {i}, and more" for i in range(50)],
    ):
        chosen = [texts[i] for i in rng.integers(0, len(texts), rows)]
        yield pa.array(chosen, pa.string())[rows // 3 :]
        yield pa.array(chosen, pa.large_string(), mask=null)
    yield pa.array([Decimal(int(n)) for n in rng.integers(0, 9, rows)], pa.decimal128(5))
    yield pa.array([b"x" * int(n) for n in rng.integers(0, 9, rows)], pa.binary())


def by_arrow(array: pa.Array, up: bool) -> NDArray[Any]:
    if pa.types.is_floating(array.type):
        array = pc.add(array, pa.scalar(0.0, array.type)) if array.type != pa.float16() else array.cast(pa.float32())
        array = pc.add(array, pa.scalar(0.0, array.type))
    order = pc.array_sort_indices(array, order="ascending" if up else "descending", null_placement="at_end")
    return np.asarray(order.to_numpy())


@pytest.mark.parametrize("rows", [0, 1, 2, 40, 6000])
@pytest.mark.parametrize("up", [True, False])
def test_the_order_of_one_key_is_that_of_arrow(rows: int, up: bool) -> None:
    for array in arrays(rows):
        order = sort_rows([array], [up])
        assert order.dtype == np.int64
        np.testing.assert_array_equal(order, by_arrow(array, up), err_msg=str(array.type))


def test_of_several_keys_the_first_weighs_most() -> None:
    rng = np.random.default_rng(0)
    table = pa.table({"a": rng.integers(0, 5, 500), "b": rng.choice(_WORDS, 500).tolist(), "c": rng.normal(size=500)})
    directions = {"a": "descending", "b": "ascending", "c": "descending"}
    expected = pc.sort_indices(table, sort_keys=list(directions.items())).to_numpy()
    columns = [table[name].combine_chunks() for name in directions]
    order = sort_rows(columns, [d == "ascending" for d in directions.values()])
    np.testing.assert_array_equal(order, expected)


@pytest.mark.parametrize("bits", [1, 16, 17, 48, 64])
def test_radix_order_is_stable_at_any_width(bits: int) -> None:
    keys = np.random.default_rng(bits).integers(0, 2**bits - 1, 3000, np.uint64, endpoint=True) // 3 * 3
    np.testing.assert_array_equal(radix_order(keys), np.argsort(keys, kind="stable"))

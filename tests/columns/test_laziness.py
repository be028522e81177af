"""Lazy columns equal an eager NumPy model, and compute no row that nobody asked for, nor any row twice."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from columns import Column, ScalarColumn, concat, map_columns
from columns.selection import NO_ROW, Selection

SOAK = bool(os.environ.get("WORKBENCH_SOAK"))
chains = settings(max_examples=20_000 if SOAK else 150, derandomize=not SOAK, deadline=None)

STEPS = [
    "slice",
    "reverse",
    "take",
    "mask",
    "sort",
    "outer",
    "row",
    "batch",
    "vector",
    "text",
    "dictionary",
    "pair",
    "other_rows",
    "add",
    "times",
    "diamond",
    "concat",
    "compare",
    "read",
    "read_one",
    "empty",
]
PRIME = 1_000_003  # keeps the numbers small, so that every step is exact


@dataclass
class Eager:
    """The model: whole numbers, some of them null."""

    data: np.ndarray
    valid: np.ndarray

    def __getitem__(self, rows) -> Eager:
        return Eager(self.data[rows], self.valid[rows])

    def __len__(self) -> int:
        return len(self.data)

    def to_list(self):
        return [int(v) if ok else None for v, ok in zip(self.data, self.valid, strict=True)]

    def at(self, index: np.ndarray) -> Eager:
        """Rows by number; `NO_ROW` is null."""
        there = index >= 0
        if not len(self):
            return Eager(np.zeros(len(index), np.int64), np.zeros(len(index), bool))
        return Eager(np.where(there, self.data[index], 0), self.valid[index] & there)


def of(*models: Eager, function) -> Eager:
    valid = np.logical_and.reduce([m.valid for m in models])
    return Eager(np.asarray(function(*[m.data for m in models])), valid)


class Calls:
    """Counts what the mapped functions were given."""

    def __init__(self) -> None:
        self.rows = 0


def steps(draw, pairs, calls):
    """Draw one step, and return the new column with its model."""
    column, model = pairs[draw(st.integers(0, len(pairs) - 1))]
    n = len(model)
    what = draw(st.sampled_from(STEPS))
    size = draw(st.sampled_from([None, 1, 2, 3]))
    if what == "slice":
        bounds = st.none() | st.integers(-n - 1, n + 1)
        cut = slice(draw(bounds), draw(bounds), draw(st.sampled_from([None, 1, 2, 3, -1, -2])))
        return column[cut], model[cut]
    if what == "reverse":
        return column[::-1], model[::-1]
    if what == "empty":
        return column[:0], model[:0]
    if what == "take" and n:
        index = np.array(draw(st.lists(st.integers(-n, n - 1), max_size=10)), np.int64)
        return column[index], model[index]
    if what == "mask":
        mask = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
        return column[mask], model[mask]
    if what == "sort":
        order = np.argsort(np.where(model.valid, model.data, PRIME), kind="stable")
        return column[order], model[order]
    if what == "outer":
        index = np.array(draw(st.lists(st.integers(NO_ROW, n - 1), max_size=8)), np.int64)
        return column[Selection(index)], model.at(index)
    if what == "row":
        return column.map(lambda x: (3 * x + 1) % PRIME, to="scalar", batch_size=size), of(
            model, function=lambda x: (3 * x + 1) % PRIME
        )
    if what == "batch":

        def batch(x):
            assert len(x)
            calls.rows += len(x)
            return (x * x) % PRIME

        return column.map(batch, batched=True, batch_size=size), of(model, function=lambda x: (x * x) % PRIME)
    if what == "vector":
        wide = column.map(lambda x: torch.tensor([x, x + 1]), to="tensor", batch_size=size)
        back = wide[::-1].map(lambda x: x.sum(dim=1), to="scalar", batched=True, batch_size=size)
        return back[::-1], of(model, function=lambda x: 2 * x + 1)
    if what == "text":
        written = column.map(str, to="text", batch_size=size)
        return written.map(lambda words: int(words) + 5), of(model, function=lambda x: x + 5)
    if what == "dictionary":
        both = column.map(lambda x: {"a": x + 1, "b": 2 * x}, to={"a": "scalar", "b": None}, batch_size=size)
        name = draw(st.sampled_from("ab"))
        return both[name], of(model, function=lambda x: x + 1 if name == "a" else 2 * x)
    if what in ("pair", "other_rows", "add"):
        other, twin = pairs[draw(st.integers(0, len(pairs) - 1))]
        if len(twin) != n or what == "other_rows":
            # As after a join: rows of another space, and some that are not there.
            low, high = (NO_ROW, len(twin) - 1) if len(twin) else (NO_ROW, NO_ROW)
            index = np.array(draw(st.lists(st.integers(low, high), min_size=n, max_size=n)), np.int64)
            other, twin = other[Selection(index)], twin.at(index)
        if what == "add":
            return column + other, of(model, twin, function=np.add)
        if draw(st.booleans()):
            joined = map_columns([column, other], lambda x, y: x - 2 * y, to="scalar", batched=True, batch_size=size)
        else:
            joined = column.map(lambda x, y: x - 2 * y, other, batch_size=size)
        return joined, of(model, twin, function=lambda x, y: x - 2 * y)
    if what == "times":
        return 7 - column * 2, of(model, function=lambda x: 7 - 2 * x)
    if what == "diamond":
        f = column.map(lambda x: x + 1, to="scalar", batch_size=size)
        g = f.map(lambda x: 2 * x, to="scalar")
        return f + g - f, of(model, function=lambda x: 2 * (x + 1))
    if what == "concat":
        other, twin = pairs[draw(st.integers(0, len(pairs) - 1))]
        if other.kind != column.kind:
            column, other = column.as_kind("scalar"), other.as_kind("scalar")
        joined = Eager(np.concatenate([model.data, twin.data]), np.concatenate([model.valid, twin.valid]))
        return concat([column, other]), joined
    if what == "compare":
        kept = column[column > 10]
        return kept, model[(model.data > 10) & model.valid]
    if what == "read":
        # Some rows are computed before others are asked for.
        low, high = sorted((draw(st.integers(0, n)), draw(st.integers(0, n))))
        assert column[low:high].to_list() == model[low:high].to_list()
    if what == "read_one" and n:
        row = draw(st.integers(0, n - 1))
        assert column[row] == model.to_list()[row]
    return column, model


@pytest.mark.soak
@chains
@given(st.data())
def test_any_chain_of_selections_maps_and_joins_equals_numpy(data) -> None:
    calls = Calls()
    pairs = []
    for _ in range(data.draw(st.integers(1, 2))):
        rows = data.draw(st.lists(st.none() | st.integers(-50, 50), max_size=9))
        model = Eager(np.array([r or 0 for r in rows], np.int64), np.array([r is not None for r in rows], bool))
        pairs.append((ScalarColumn(rows, dtype="int64"), model))
    for _ in range(data.draw(st.integers(1, 7))):
        column, model = steps(data.draw, pairs, calls)
        model.data = np.where(model.valid, model.data, 0)
        if abs(model.data).max(initial=0) < 2**40:
            pairs.append((column, model))
    for column, model in pairs:
        assert len(column) == len(model)
        repr(column)
    for column, model in reversed(pairs):
        assert column.to_list() == model.to_list()
    before = calls.rows
    for column, model in pairs:
        assert column.to_list() == model.to_list()
        assert column.is_null().to_list() == (~model.valid).tolist()
    assert calls.rows == before, "asked again, something was computed again"


class Counting:
    """A function that notes every row that it is given."""

    def __init__(self, function=lambda x: x * 10) -> None:
        self.function = function
        self.rows: list[int] = []
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        self.rows.extend(x.tolist() if isinstance(x, torch.Tensor) else [x])
        return self.function(x)

    __hash__ = object.__hash__


@pytest.fixture
def numbers() -> Column:
    return ScalarColumn(list(range(20)))


@pytest.mark.parametrize("batched", [False, True])
def test_defining_printing_and_selecting_call_nothing(numbers: Column, batched: bool) -> None:
    count = Counting()
    mapped = numbers.map(count, to="scalar", batched=batched)
    chosen = mapped[3:9][::-1][[0, 2]][np.array([True, False])]
    repr(chosen), len(chosen), chosen.name, chosen.spec, (chosen + 1).map(count), concat([mapped, chosen]), chosen == 3
    mapped.is_null(), mapped.as_kind("object"), mapped.is_computed()
    assert count.calls == 0


@pytest.mark.parametrize("batched", [False, True])
def test_only_rows_asked_for_are_computed_and_each_once(numbers: Column, batched: bool) -> None:
    count = Counting()
    mapped = numbers.map(count, to="scalar", batched=batched)
    assert mapped[5] == 50
    assert mapped[[5, 7, 7, 6]].to_list() == [50, 70, 70, 60]
    assert sorted(count.rows) == [5, 6, 7]
    assert mapped[::4].to_list() == [0, 40, 80, 120, 160]
    assert sorted(count.rows) == [0, 4, 5, 6, 7, 8, 12, 16]
    assert mapped.to_list() == [10 * i for i in range(20)]
    assert sorted(count.rows) == list(range(20))
    calls = count.calls
    assert mapped[::-1].to_list() == [10 * i for i in reversed(range(20))]
    assert mapped.is_computed()
    assert count.calls == calls


def test_every_selection_of_a_column_shares_what_was_computed(numbers: Column) -> None:
    count = Counting()
    before_map = [numbers[2:5].map(count), numbers[[4, 3]].map(count), numbers[::-1].map(count)]
    assert [c.to_list() for c in before_map] == [[20, 30, 40], [40, 30], [10 * i for i in reversed(range(20))]]
    assert sorted(count.rows) == list(range(20))


def test_the_same_expression_written_again_finds_the_results(numbers: Column) -> None:
    count = Counting()
    first = numbers.map(count).map(abs)
    first.to_list()
    assert numbers.map(count).map(abs).to_list() == first.to_list()
    assert count.calls == 20


def test_a_map_over_both_sides_of_a_join_is_found_by_the_content_of_the_selections() -> None:
    left, right = ScalarColumn([1, 2, 3]), ScalarColumn([10, 20])
    calls = []

    def joined() -> Column:
        one = left[Selection(np.array([0, 1, 2, 2]))]
        two = right[Selection(np.array([1, NO_ROW, 0, 1]))]
        return map_columns([one, two], pair, to="scalar")

    def pair(x: int, y: int) -> int:
        calls.append((x, y))
        return x + y

    kept = joined()
    assert kept[1:].to_list() == [None, 13, 23]
    assert joined().to_list() == [21, None, 13, 23]
    assert sorted(calls) == [(1, 20), (3, 10), (3, 20)]


def test_concatenation_shares_what_its_parts_have_computed(numbers: Column) -> None:
    count = Counting()
    mapped = numbers.map(count)
    mapped[:5].to_list()
    both = concat([numbers[:4], numbers[2:6]]).map(count)
    assert both.to_list() == [0, 10, 20, 30, 20, 30, 40, 50]
    assert sorted(count.rows) == [0, 1, 2, 3, 4, 5]


def test_an_input_shared_by_outputs_and_columns_is_computed_once(numbers: Column) -> None:
    from columns.column import read_columns

    shared, left, right = Counting(), Counting(lambda x: {"a": x, "b": -x}), Counting()
    base = numbers.map(shared, to="scalar")
    both = base.map(left, to={"a": "scalar", "b": "scalar"})
    a, b, other = read_columns([both["a"], both["b"], base.map(right, to="scalar")])
    assert a.rows() == [-v for v in b.rows()] == [v // 10 for v in other.rows()]
    assert shared.calls == left.calls == right.calls == 20


def test_a_slow_input_is_read_once_for_several_outputs(tmp_path) -> None:
    from columns import FileColumn
    from columns.column import read_columns

    opened: list[str] = []

    def load(path):
        opened.append(path.name)
        return int(path.name)

    for name in range(6):
        (tmp_path / str(name)).touch()
    files = FileColumn([str(i) for i in range(6)], load, base=tmp_path)
    one, two = files.map(lambda x: x + 1, to="scalar"), files.map(lambda x: {"x": x}, to={"x": "scalar"})["x"]
    assert [v.rows() for v in read_columns([one, two, two + one])] == [
        [1, 2, 3, 4, 5, 6],
        [0, 1, 2, 3, 4, 5],
        [1, 3, 5, 7, 9, 11],
    ]
    assert sorted(opened) == [str(i) for i in range(6)]


def test_a_function_is_told_which_outputs_are_wanted(numbers: Column) -> None:
    asked = []

    def several(x, wanted):
        asked.append(set(wanted))
        return dict.fromkeys(wanted, x)

    both = numbers[:3].map(several, to={"a": "scalar", "b": "scalar"}, batched=True)
    both["b"].to_list()
    assert asked == [{"b"}]
    both["a"].to_list()
    assert asked == [{"b"}, {"a"}]


def test_one_column_partly_computed_does_not_make_another_compute_again(numbers: Column) -> None:
    from columns.column import read_columns

    f, g = Counting(), Counting(lambda x: -x)
    first = numbers.map(f, to="scalar")
    second = first.map(g, to="scalar")
    first[:7].to_list()
    second[3:5].to_list()
    second[10:12].to_list()
    values = read_columns([second, first])
    assert values[0].rows() == [-v for v in values[1].rows()]
    assert sorted(f.rows) == list(range(20))
    assert sorted(g.rows) == [10 * i for i in range(20)]


def test_masks_compute_their_own_columns_only(numbers: Column) -> None:
    key, other = Counting(), Counting()
    chosen = numbers.map(other)[numbers.map(key, to="scalar") > 150]
    assert key.calls == 20
    assert other.calls == 0
    assert chosen.to_list() == [160, 170, 180, 190]
    assert other.calls == 4


def test_doubling_a_mapped_column_thirty_times_answers_at_once(numbers: Column) -> None:
    count = Counting()
    column = numbers.map(count, to="scalar")
    begun = time.perf_counter()
    for _ in range(30):
        column = column + column
    assert len(repr(column)) < 500
    assert column[1:3].to_list() == [10 * 2**30, 20 * 2**30]
    assert column.failures == ()
    assert column.is_computed() is False
    assert count.calls == 2
    assert time.perf_counter() - begun < 1


def test_a_chain_of_1500_maps_builds_prints_and_answers_at_once() -> None:
    calls = 0

    def one_more(x: int) -> int:
        nonlocal calls
        calls += 1
        return x + 1

    column = ScalarColumn(list(range(10)))
    begun = time.perf_counter()
    for step in range(1500):
        column = column.map(one_more, version=str(step))
    assert len(repr(column)) < 500
    assert calls == 0
    assert column.to_list() == list(range(1500, 1510))
    # It takes 0.3 s; what is quadratic takes minutes.
    assert time.perf_counter() - begun < 3
    assert calls == 15_000
    assert column.to_list() == list(range(1500, 1510))
    assert calls == 15_000


def test_a_chain_of_1500_operations_and_selections_answers_at_once() -> None:
    column = ScalarColumn(list(range(10)))
    begun = time.perf_counter()
    for _ in range(1500):
        column = (column[::-1] + 1).map(abs, to="scalar")
    assert column[:2].to_list() == [1500, 1501]
    assert time.perf_counter() - begun < 4


def test_equal_constants_of_different_types_are_different_expressions() -> None:
    column = ScalarColumn([1, 2])
    whole, real, truth = column + 1, column + 1.0, column == True  # noqa: E712
    assert (whole.node is real.node) is False
    assert str(whole.to_arrow().type) == "int64"
    assert str(real.to_arrow().type) == "double"
    zeros = ScalarColumn([1.0]) * 0.0, ScalarColumn([1.0]) * -0.0
    assert [bool(np.signbit(zero[0])) for zero in zeros] == [False, True]
    del truth


def test_row_numbers_changed_after_selecting_do_not_change_the_selection(numbers: Column) -> None:
    rows = np.array([1, 2])
    chosen = numbers[rows]
    rows[:] = 9
    assert chosen.to_list() == [1, 2]


@pytest.mark.parametrize("kind", [None, "scalar", "object", "tensor"])
def test_results_whose_type_changes_between_batches_are_those_of_one_batch(kind) -> None:
    def changing(x: int):
        return {0: 1, 1: 2.5, 2: 3, 3: None}[x % 4]

    column = ScalarColumn(list(range(8)))
    by_one = column.map(changing, to=kind, batch_size=1)
    at_once = column.map(changing, to=kind)
    expected = [1.0, 2.5, 3.0, None] * 2
    for lazy in (by_one, at_once):
        found = [None if v is None else float(v) for v in lazy.to_list()]
        assert found == expected
        assert [None if v is None else float(v) for v in lazy[::3].to_list()] == expected[::3]


def test_pending_results_may_turn_from_numbers_into_words_and_arrays() -> None:
    rows = [1, None, "two", torch.tensor([3.0]), torch.tensor([3.0, 4.0]), True, {"a": 1}, 2.5]
    for size in (1, 2, 3, 8):
        column = ScalarColumn(list(range(8))).map(lambda i: rows[i], batch_size=size)
        column[2:3].to_list()
        for found, row in zip(column.to_list(), rows, strict=True):
            assert type(found) is type(row) or size == 8
            assert torch.equal(found, row) if isinstance(row, torch.Tensor) else found == row
        assert column.compute().kind == "object"


def test_a_function_may_return_its_rows_from_a_generator() -> None:
    column = ScalarColumn([1, 2, 3])
    for kind in (None, "scalar", "object", "tensor"):
        mapped = column.map(lambda x: (int(v) + 1 for v in x), batched=True, to=kind)
        assert [int(v) for v in mapped.to_list()] == [2, 3, 4]

"""The contract of a kind of column, as tests: a new kind passes `ColumnTests` by supplying one fixture.

::

    class TestSoundColumn(ColumnTests):
        @pytest.fixture
        def example(self):
            rows = [one, two, None, three]
            return SoundColumn(rows), rows
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from .column import Column, concat, kind_of
from .errors import KindError, LengthError
from .selection import NO_ROW, Selection

__all__ = ["ColumnTests", "same_row"]

Example = tuple[Column, list[Any]]


def same_row(left: Any, right: Any) -> bool:
    """Say whether two rows are equal: pictures by pixels and mode, arrays by values, null only to null.

    Examples
    --------
    >>> same_row(np.array([1, 2]), torch.tensor([1, 2])), same_row(None, 0), same_row(float("nan"), float("nan"))
    (True, False, True)
    """
    if left is None or right is None:
        return left is None and right is None
    if isinstance(left, Image.Image) and isinstance(right, Image.Image):
        return left.mode == right.mode and np.array_equal(np.asarray(left), np.asarray(right))
    if isinstance(left, (np.ndarray, torch.Tensor)) or isinstance(right, (np.ndarray, torch.Tensor)):
        one, two = np.asarray(left), np.asarray(right)
        return one.shape == two.shape and bool(np.array_equal(one, two, equal_nan=one.dtype.kind in "fc"))
    if isinstance(left, float) and isinstance(right, float) and left != left:
        return right != right
    return bool(left == right)


class ColumnTests:
    """What holds for every kind of column.

    A subclass supplies the fixture `example`: a column of at least four rows, one of them null, and its rows as
    Python values.
    """

    @pytest.fixture
    def example(self) -> Example:
        raise NotImplementedError("Supply a column of at least four rows with a null, and its rows.")

    def same(self, column: Column, rows: Sequence[Any]) -> None:
        """Check that a column has these rows."""
        found = column.to_list()
        assert len(found) == len(column) == len(rows)
        assert all(same_row(one, two) for one, two in zip(found, rows, strict=True)), (found, rows)

    def test_the_example_is_fit_for_the_suite(self, example: Example) -> None:
        column, rows = example
        assert len(rows) >= 4
        assert any(row is None for row in rows)
        assert any(row is not None for row in rows)
        assert kind_of(column.kind) is type(column)

    def test_it_has_its_rows_in_order(self, example: Example) -> None:
        self.same(*example)

    def test_iterating_gives_the_rows(self, example: Example) -> None:
        column, rows = example
        assert all(same_row(one, two) for one, two in zip(column, rows, strict=True))

    def test_one_row_is_read_by_its_number_from_either_end(self, example: Example) -> None:
        column, rows = example
        for position in range(-len(rows), len(rows)):
            assert same_row(column[position], rows[position])
        assert same_row(column[np.int64(1)], rows[1])

    @pytest.mark.parametrize("beyond", [0, 5])
    def test_a_row_that_is_not_there_is_an_error_that_names_the_range(self, example: Example, beyond: int) -> None:
        column, rows = example
        n = len(rows)
        with pytest.raises(IndexError, match=rf"\[-{n}, {n}\); got {n + beyond}"):
            column[n + beyond]
        with pytest.raises(IndexError, match=rf"got -{n + beyond + 1}"):
            column[-n - beyond - 1]
        with pytest.raises(IndexError, match=rf"got {n + beyond}"):
            column[[0, n + beyond]]

    @pytest.mark.parametrize(
        "cut", [slice(None), slice(1, 3), slice(None, None, -1), slice(3, 0, -2), slice(2, 2), slice(-2, None)]
    )
    def test_slices_are_those_of_lists(self, example: Example, cut: slice) -> None:
        column, rows = example
        self.same(column[cut], rows[cut])
        self.same(column[cut][::-1], rows[cut][::-1])

    def test_rows_are_chosen_by_numbers_with_repeats_and_from_the_end(self, example: Example) -> None:
        column, rows = example
        for numbers in ([2, 0, 0, 3], [-1, -2], [], np.array([1, 1], np.int32), torch.tensor([3, 0])):
            self.same(column[numbers], [rows[int(i)] for i in numbers])

    def test_rows_are_chosen_by_masks(self, example: Example) -> None:
        column, rows = example
        mask = np.arange(len(rows)) % 2 == 0
        self.same(column[mask], rows[::2])
        self.same(column[mask.tolist()], rows[::2])
        self.same(column[np.zeros(len(rows), bool)], [])

    def test_a_mask_of_another_length_is_refused(self, example: Example) -> None:
        column, rows = example
        with pytest.raises(LengthError, match=f"each of the {len(rows)} rows"):
            column[np.ones(len(rows) + 1, bool)]

    def test_what_is_no_row_number_is_refused(self, example: Example) -> None:
        column, _ = example
        with pytest.raises(KindError, match="whole numbers"):
            column[[0.5, 1.0]]
        with pytest.raises(KindError, match="whole numbers"):
            column["label"]

    def test_selections_compose(self, example: Example) -> None:
        column, rows = example
        self.same(column[::-1][1:][[0, 0, 1]], [rows[::-1][1:][i] for i in (0, 0, 1)])

    def test_a_row_that_an_outer_join_does_not_find_is_null(self, example: Example) -> None:
        column, rows = example
        self.same(column[Selection(np.array([1, NO_ROW, 0]))], [rows[1], None, rows[0]])
        self.same(column[:0][Selection(np.array([NO_ROW, NO_ROW]))], [None, None])

    def test_concatenation_puts_rows_one_after_the_other(self, example: Example) -> None:
        column, rows = example
        self.same(concat([column, column[::-1], column[:0], column[1:2]]), [*rows, *rows[::-1], *rows[1:2]])
        self.same(concat([column, column])[len(rows) - 1 : len(rows) + 1], [rows[-1], rows[0]])

    def test_kinds_do_not_mix_in_concatenation(self, example: Example) -> None:
        from .kinds import ObjectColumn, ScalarColumn

        column, _ = example
        other: Column = ScalarColumn([1]) if column.kind != "scalar" else ObjectColumn([1])
        with pytest.raises(KindError, match="one kind"):
            concat([column, other])

    def test_is_null_says_which_rows_are_null(self, example: Example) -> None:
        column, rows = example
        assert column.is_null().to_list() == [row is None for row in rows]
        self.same(column[~column.is_null()], [row for row in rows if row is not None])
        assert column[Selection(np.array([NO_ROW]))].is_null().to_list() == [True]

    def test_a_map_by_row_skips_nulls_and_asks_only_once(self, example: Example) -> None:
        column, rows = example
        seen: list[Any] = []

        def note(row: Any) -> int:
            seen.append(row)
            return len(seen)

        there = [row for row in rows if row is not None]
        mapped = column.map(note, to="scalar")
        assert seen == []
        counted = iter(range(1, len(there) + 1))
        expected = [None if row is None else next(counted) for row in rows]
        assert mapped.to_list() == mapped.to_list() == expected
        assert mapped[::-1].to_list() == expected[::-1]
        assert len(seen) == len(there)
        assert None not in [id(row) if row is None else 0 for row in seen]

    def test_a_batched_map_sees_every_row_that_is_not_null(self, example: Example) -> None:
        column, rows = example
        sizes: list[int] = []

        def count(batch: Any) -> list[int]:
            sizes.append(len(batch))
            return [1] * len(batch)

        assert column.map(count, to="scalar", batched=True).to_list() == [None if r is None else 1 for r in rows]
        assert sum(sizes) == sum(row is not None for row in rows)

    def test_a_map_over_zero_rows_gives_zero_rows(self, example: Example) -> None:
        column, _ = example
        for kind in (None, "scalar", "tensor", "object", "text"):
            assert column[:0].map(lambda row: 1 / 0, to=kind).to_list() == []

    def test_printing_reads_nothing(self, example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
        column, rows = example

        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise AssertionError("read")

        monkeypatch.setattr("columns.asking.evaluate", refuse)
        assert f"{type(column).__name__}: {len(rows)} rows" in repr(column)
        assert "3 rows" in repr(column[1:4])
        repr(column.map(refuse))

    def test_a_cell_is_html_for_every_row(self, example: Example) -> None:
        column, rows = example
        for row in rows:
            assert isinstance(column.cell(row), str)
        assert "–" in column.cell(None)

    def test_as_an_array_it_has_one_element_a_row(self, example: Example) -> None:
        column, rows = example
        assert len(column.to_numpy()) == len(np.asarray(column)) == len(rows)
        assert len(column[:0].to_numpy()) == 0

    def test_a_tensor_of_null_is_refused_with_the_remedy(self, example: Example) -> None:
        column, _ = example
        with pytest.raises(KindError, match=r"is_null\(\)"):
            column.to_torch()

    def test_its_memory_cannot_be_written_through_what_it_returns(self, example: Example) -> None:
        column, rows = example
        for array in (column.to_numpy(), np.asarray(column)):
            if array.dtype != object and array.flags.writeable:
                array[...] = 0
        copied = np.array(column)
        if copied.dtype != object:
            assert copied.flags.writeable
            copied[...] = 0
        self.same(column, rows)

    def test_it_becomes_an_object_column_and_reads_the_same(self, example: Example) -> None:
        column, rows = example
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.same(column.as_kind("object"), rows)

    def test_computing_returns_the_same_rows(self, example: Example) -> None:
        column, rows = example
        self.same(column.compute(), rows)
        assert column.refresh() is False

    def test_asking_for_a_kind_that_is_none_names_the_kinds(self, example: Example) -> None:
        column, _ = example
        with pytest.raises(KindError, match=r"embedding, .*text; got 'soup'"):
            column.as_kind("soup")

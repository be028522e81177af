"""Memory is bounded: results go to a file above a budget, intermediates are let go, buffers are used again."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from columns import FunctionError, ScalarColumn, memory_budget, set_memory_budget


@pytest.fixture
def small_budget():
    before = memory_budget()
    set_memory_budget(10_000)
    yield
    set_memory_budget(before)


@pytest.mark.parametrize("kind", [None, "scalar", "tensor"])
@pytest.mark.parametrize("batch_size", [None, 7])
def test_what_moves_to_a_file_reads_the_same(small_budget, kind, batch_size) -> None:
    column = ScalarColumn([None if i % 11 == 3 else i for i in range(3000)])
    doubled = column.map(lambda x: x * 2.5, to=kind, batched=True, batch_size=batch_size)
    expected = [None if i % 11 == 3 else i * 2.5 for i in range(3000)]
    assert [None if v is None else float(v) for v in doubled[100:200].to_list()] == expected[100:200]
    assert [None if v is None else float(v) for v in doubled.to_list()] == expected
    rows = [5, 2999, 3, 3, 14]
    assert [None if v is None else float(v) for v in doubled[rows].to_list()] == [expected[i] for i in rows]
    assert doubled.is_computed()


def test_what_moved_to_a_file_may_still_widen(small_budget) -> None:
    rows = [1] * 2000 + [2.5] * 2000 + [3] * 500
    column = ScalarColumn(list(range(4500))).map(lambda i: rows[i], batch_size=500)
    assert column.to_list() == rows
    words = ScalarColumn(list(range(4500))).map(lambda i: rows[i] if i < 4000 else "word", batch_size=500)
    assert words.to_list() == rows[:4000] + ["word"] * 500


def test_a_result_larger_than_the_budget_never_reserves_memory_for_all_of_it(small_budget) -> None:
    # A hundred terabytes, if all of it were asked for.
    column = ScalarColumn(np.arange(10_000_000)).map(lambda x: np.full(10_000_000, x, np.uint8), to="tensor")
    assert int(column[3][-1]) == 3


def test_a_shape_that_changes_is_refused_in_a_file_as_in_memory(small_budget) -> None:
    column = ScalarColumn(list(range(3))).map(lambda i: np.zeros(5000 + i), to="tensor", batch_size=1)
    with pytest.raises(FunctionError, match="shape of the first"):
        column.to_list()


def test_rows_of_no_elements_are_kept_and_read(small_budget) -> None:
    column = ScalarColumn([1, None, 3]).map(lambda i: np.zeros((0, 2), np.float32), to="tensor")
    assert [None if r is None else tuple(r.shape) for r in column.to_list()] == [(0, 2), None, (0, 2)]
    assert len(column.to_arrow()) == 3


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0 bytes; got -1"):
        set_memory_budget(-1)


def test_the_budget_holds_for_all_results_together() -> None:
    from columns.budget import ledger

    before = memory_budget()
    try:
        gc.collect()
        set_memory_budget(100_000)
        columns = [ScalarColumn(np.arange(5000) + i).map(lambda x: x, to="scalar", batched=True) for i in range(6)]
        for column in columns:
            column.compute()
        assert sum(kept.bytes_in_memory for kept in ledger.kept) <= 100_000
        for i, column in enumerate(columns):
            assert column[4000] == 4000 + i
    finally:
        set_memory_budget(before)


def test_ten_times_the_rows_take_the_same_peak_memory(run) -> None:
    code = """
        import ctypes, resource
        import numpy as np, torch
        from PIL import Image
        from columns import ImageColumn

        Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)).save("one.jpg")

        def mean(batch):
            return batch.float().mean(dim=(1, 2, 3))

        def peak(rows):
            ImageColumn(["one.jpg"] * rows).map(mean, to="scalar", batched=True).to_list()
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        if hasattr(ctypes.CDLL(None), "mallopt"):
            # Large blocks go back to the system at once, so that the peak is ours and not the allocator's.
            ctypes.CDLL(None).mallopt(-3, 1 << 20)
        peak(600)
        small = peak(600)
        print([small, peak(6000)])
    """
    small, large = run(code)
    # In KiB. The 5,400 pictures more would be 270 MB decoded.
    assert large - small < 25_000


def test_results_above_the_budget_do_not_stay_resident(run) -> None:
    code = """
        import resource
        import numpy as np, torch
        from columns import ScalarColumn, set_memory_budget

        set_memory_budget(8 << 20)

        def wide(x):
            return x[:, None].repeat(1, 25_000).float()

        def peak(rows):
            column = ScalarColumn(np.arange(rows)).map(wide, to="tensor", batched=True, batch_size=16)
            column.compute()
            assert float(column[rows - 1][-1]) == rows - 1
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        first = peak(160)
        print([first, peak(1600)])
    """
    small, large = run(code)
    assert large - small < 30_000  # all of it is 160 MB


def test_nothing_between_is_held_while_a_long_chain_is_read(run) -> None:
    code = """
        import numpy as np, pyarrow as pa
        from columns import ScalarColumn

        column = ScalarColumn(np.zeros(100_000))
        for step in range(100):
            column = column + float(step)
        before = pa.total_allocated_bytes()
        assert column[:1000].to_numpy()[0] == 4950
        column.to_numpy()
        print(pa.default_memory_pool().max_memory() - before)
    """
    peak = run(code)
    assert peak < 10 * 800_000


def test_a_tensor_on_disk_is_read_only_where_it_is_asked_for(run, tmp_path: Path) -> None:
    path = tmp_path / "large.npy"
    data = np.lib.format.open_memmap(path, "w+", np.float32, (200_000, 100))
    data[123_456] = 7
    data.flush()
    del data
    np.save(tmp_path / "small.npy", np.zeros((20, 100), np.float32))
    code = """
        import resource
        from columns import TensorColumn

        def resident():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        def total(path, begin):
            column = TensorColumn.open(path)
            return sum(column[begin : begin + 10].map(lambda x: float(x.sum()), to="scalar").to_list())

        total("small.npy", 5)  # imports, and on a fresh machine compiles, what it needs
        before = resident()
        print([total("large.npy", 123_450), resident() - before])
    """
    total, more = run(code)
    assert total == 700
    assert more < 40_000  # of 80 MB


def test_buffers_are_used_again() -> None:
    from columns.reading import Buffers

    buffers = Buffers()
    first = buffers.take(8, (4, 4, 3))
    buffers.give_back(first)
    assert buffers.take(5, (4, 4, 3)) is first
    assert buffers.take(5, (4, 4, 3)) is not first

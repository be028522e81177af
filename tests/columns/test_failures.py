"""A row that fails is named, and nothing that was computed is lost."""

from __future__ import annotations

import gc
import io
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from columns import (
    FileColumn,
    FunctionError,
    ImageColumn,
    KindError,
    LengthError,
    RowError,
    RowsFailedWarning,
    ScalarColumn,
    TensorColumn,
)
from columns.column import compute_columns, read_columns
from columns.selection import NO_ROW, Selection


def keyed(column, keys):
    """Give a column the keys that a panel would."""
    return type(column).over(column.node, column.selection, column.spec, ScalarColumn(keys).node, "image")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.jpg")
    whole = (tmp_path / "2.jpg").read_bytes()
    (tmp_path / "2.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "4.jpg").write_text("no picture")
    return tmp_path


def mean(batch: torch.Tensor) -> torch.Tensor:
    return batch.float().mean(dim=(1, 2, 3))


@pytest.mark.parametrize("batched", [False, True])
def test_broken_files_are_named_with_key_column_path_and_cause(folder: Path, batched: bool) -> None:
    images = keyed(ImageColumn([f"{i}.jpg" for i in range(6)], base=folder), list("uvwxyz"))
    function = mean if batched else (lambda picture: float(np.asarray(picture).mean()))
    means = images.map(function, to="scalar", batched=batched, batch_size=4)
    with pytest.raises(
        RowError, match=r"Row 2 \(key 'w', '2.jpg'\).* could not be read: .*(truncated|JPEG|file)"
    ) as told:
        means.to_list()
    assert told.value.row == 2
    assert told.value.key == "w"
    assert isinstance(told.value.__cause__, Exception)
    # In another order the same row has another number and the same key.
    with pytest.raises(RowError, match=r"Row 3 \(key 'w', '2.jpg'\)"):
        means[[5, 0, 1, 2]].to_list()
    assert means[[0, 1]].is_computed(), "what came before the culprit was kept"


def test_going_on_computes_the_rest_and_reports_every_failure(folder: Path) -> None:
    images = keyed(ImageColumn([f"{i}.jpg" for i in range(6)], base=folder), list("uvwxyz"))
    means = images.map(mean, to="scalar", batched=True, batch_size=4)
    with pytest.warns(RowsFailedWarning, match=r"2 rows failed and are null; the first: Row 2 \(key 'w', '2.jpg'\)"):
        computed = means.compute(on_error="null")
    assert [(f.row, f.key) for f in computed.failures] == [(2, "w"), (4, "y")]
    assert "'4.jpg'" in str(computed.failures[1])
    with pytest.warns(RowsFailedWarning):
        values = means.values(on_error="null").rows()
    assert [v is None for v in values] == [False, False, True, False, True, False]
    assert means[[0, 1, 3, 5]].to_list() == [values[i] for i in (0, 1, 3, 5)]


def test_failed_rows_stay_failed_until_they_are_tried_again(folder: Path) -> None:
    images = ImageColumn([f"{i}.jpg" for i in range(6)], base=folder)
    means = images.map(mean, to="scalar", batched=True)
    with pytest.warns(RowsFailedWarning):
        means.compute(on_error="null")
    (folder / "2.jpg").write_bytes((folder / "1.jpg").read_bytes())
    rows = means.to_list()
    assert [r is None for r in rows] == [False, False, True, False, True, False], "null, since somebody was told"
    assert means.is_null().to_list() == [r is None for r in rows]
    assert images.is_null().to_list() == [r is None for r in rows], "what reads the file again is spared it too"
    with pytest.warns(RowsFailedWarning, match=r"1 row failed and is null: Row 4 \('4.jpg'\)"):
        computed = means.compute(on_error="null", retry=True)
    assert [f.row for f in computed.failures] == [4]
    assert means[2] == means[1]


def test_what_rests_on_a_failed_row_fails_and_recovers_with_it() -> None:
    broken = {3}

    def careful(x: int) -> int:
        if x in broken:
            raise ValueError(f"{x} is broken")
        return x

    first = ScalarColumn([1, 2, 3]).map(careful, to="scalar")
    with pytest.warns(RowsFailedWarning):
        first.compute(on_error="null")
    second = first.map(lambda x: -x, to="scalar")
    third = second[::-1].map(lambda x, y: x + y, first, to="scalar")
    for column in (second, third):
        with pytest.warns(RowsFailedWarning):
            column.compute(on_error="null")
        assert None in column.to_list()
    fresh = first.map(lambda x: x * 10, to="scalar")
    assert fresh.to_list() == [10, 20, None], "what is built on it later is null without another word"
    broken.clear()
    assert second.to_list() == [-1, -2, None]
    assert fresh.compute(retry=True).to_list() == [10, 20, 30]
    assert second.compute(retry=True).to_list() == [-1, -2, -3]
    assert third.compute(retry=True).to_list() == [-2, 0, 2]


@pytest.mark.parametrize("batch_size", [None, 2, 8])
def test_pictures_of_several_sizes_are_no_bad_rows(batch_size: int | None) -> None:
    pictures = ImageColumn([Image.new("RGB", (8 + i % 3, 8)) for i in range(9)])
    column = pictures.map(lambda b: b.float().mean((1, 2, 3)), to="scalar", batched=True, batch_size=batch_size)
    with pytest.raises(RowError, match=r"one size.*resize"):
        column.compute(on_error="null")
    assert not column.failures
    assert pictures.resize((4, 4)).map(len_of, to="scalar", batched=True).to_list() == [1] * 9


def len_of(batch: Any) -> list[int]:
    return [1] * len(batch)


def test_pictures_read_without_a_map_fail_with_their_names(folder: Path) -> None:
    images = ImageColumn([f"{i}.jpg" for i in range(6)], base=folder)
    with pytest.raises(RowError, match=r"Row 2 \('2.jpg'\) could not be read"):
        images.to_list()
    with pytest.warns(RowsFailedWarning, match="2 rows"):
        rows = images.values(on_error="null").rows()
    assert [r is None for r in rows] == [False, False, True, False, True, False]
    assert images[[5, 5, 0]].to_torch().shape == (3, 3, 40, 40)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(RowError, match=r"Row 0 \('nowhere/a b.bin'\) could not be read: .*No such file"):
        FileColumn(["nowhere/a b.bin"])[0]


def test_a_function_that_fails_on_a_file_names_the_file(folder: Path) -> None:
    images = ImageColumn([f"{i}.jpg" for i in range(6)], base=folder)

    def fail(picture: Image.Image) -> int:
        raise ZeroDivisionError

    with pytest.raises(RowError, match=r"Row 0 \('3.jpg'\) of column 'fail' failed in `fail\(.*`: ZeroDivisionError"):
        images[3:4].map(fail, to="scalar").to_list()


def test_a_function_that_fails_names_row_function_and_cause_and_keeps_the_rows_before() -> None:
    seen = []

    def root(x: float) -> float:
        seen.append(x)
        if x < 0:
            raise ValueError("no root of a negative number")
        return x**0.5

    column = ScalarColumn([4.0, 9.0, -1.0, 16.0]).map(root, to="scalar")
    with pytest.raises(RowError, match=r"Row 2 of column 'root' failed in `root\(.*\)`: no root .* \(ValueError\)\."):
        column.to_list()
    assert seen == [4.0, 9.0, -1.0], "each row once, and none after the one that failed"
    assert column[:2].is_computed()
    assert column[[3, 0]].to_list() == [4.0, 2.0]
    assert seen == [4.0, 9.0, -1.0, 16.0]
    with pytest.raises(RowError):
        column[2]


@pytest.mark.parametrize("on_error", ["raise", "null"])
def test_a_batch_that_fails_is_tried_again_in_parts_until_only_the_culprit_fails(on_error: str) -> None:
    sizes = []

    def picky(batch: torch.Tensor) -> torch.Tensor:
        sizes.append(len(batch))
        if (batch == 77).any():
            raise RuntimeError("77 is refused")
        return batch * 2

    column = ScalarColumn(list(range(100))).map(picky, to="scalar", batched=True, batch_size=64)
    if on_error == "raise":
        with pytest.raises(RowError, match=r"Row 77 .*77 is refused"):
            column.to_list()
        assert column[:77].is_computed()
        assert not column[78:].is_computed()
    else:
        with pytest.warns(RowsFailedWarning, match="1 row failed"):
            rows = column.values(on_error="null").rows()
        assert rows == [None if i == 77 else 2 * i for i in range(100)]
    assert len(sizes) <= 1 + 2 * 7 + 2


def test_several_outputs_of_one_function_fail_together_and_are_told_once() -> None:
    def halves(x: int) -> dict:
        return {"a": 1 / x, "b": x}

    both = ScalarColumn([1, 0, 2]).map(halves, to={"a": "scalar", "b": "scalar"})
    with pytest.warns(RowsFailedWarning, match=r"1 row failed"):
        evaluation = compute_columns([both["a"], both["b"]], on_error="null")
    assert len(evaluation.failures) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RowsFailedWarning)
        assert both["b"].values(on_error="null").rows() == [1, None, 2]
        assert len(both["a"].compute(on_error="null").failures) == 1


@pytest.mark.parametrize("kind", ["scalar", "tensor", "object", "text", None, "prediction", "embedding", "image"])
def test_a_column_of_which_every_row_failed_is_null_throughout(kind) -> None:
    def fail(x: int) -> None:
        raise OSError("nothing works")

    column = ScalarColumn([1, 2, 3]).map(fail, to=kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RowsFailedWarning)
        computed = column.compute(on_error="null")
        assert len(computed.failures) == 3
        assert column.values(on_error="null").rows() == [None] * 3
        assert column.is_null().values(on_error="null").rows() == [True] * 3


def test_thousands_of_failures_are_told_in_good_time() -> None:
    import time

    column = keyed(
        ScalarColumn(list(range(4000))).map(lambda x: 1 // (x % 2), to="scalar"), [f"k{i}" for i in range(4000)]
    )
    begun = time.perf_counter()
    with pytest.warns(RowsFailedWarning, match="2000 rows"):
        failures = column.compute(on_error="null").failures
    assert [f.key for f in failures[:2]] == ["k0", "k2"]
    assert time.perf_counter() - begun < 4


def test_failures_that_are_kept_hold_no_batches() -> None:
    held = []

    class Heavy:
        pass

    def fail(x: int) -> int:
        heavy = Heavy()
        held.append(weakref.ref(heavy))
        raise ValueError("no")

    column = ScalarColumn([1, 2]).map(fail, to="scalar")
    with pytest.warns(RowsFailedWarning):
        column.compute(on_error="null")
    gc.collect()
    assert [r() for r in held] == [None, None]
    with pytest.warns(RowsFailedWarning):
        failures = column.compute(on_error="null").failures
    lines = "".join(__import__("traceback").format_exception(failures[0]))
    assert "in fail" in lines, "the lines are still there"


@pytest.mark.parametrize("batched", [False, True])
def test_control_c_during_a_map_keeps_what_was_computed(batched: bool) -> None:
    seen, interrupted = [], []

    def slow(x):
        rows = x.tolist() if batched else [x]
        if 9 in rows and not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt
        seen.extend(rows)
        return x * 2

    column = ScalarColumn(list(range(20))).map(slow, to="scalar", batched=batched, batch_size=3)
    after = column.map(lambda x: x + 1, to="scalar")
    with pytest.raises(KeyboardInterrupt):
        after.to_list()
    assert column[:9].is_computed()
    seen.clear()
    assert after.to_list() == [2 * i + 1 for i in range(20)]
    assert sorted(seen) == list(range(9, 20))


def test_control_c_in_the_middle_of_a_batch_of_rows_keeps_the_rows_before() -> None:
    seen = []

    def slow(x: int) -> int:
        seen.append(x)
        if x == 500 and seen.count(500) == 1:
            raise KeyboardInterrupt
        return x

    column = ScalarColumn(list(range(1000))).map(slow, to="scalar")
    with pytest.raises(KeyboardInterrupt):
        column.to_list()
    assert column[:500].is_computed()
    assert column.to_list() == list(range(1000))
    assert len(seen) == 1001


def test_a_signal_during_reading_leaves_everything_usable(run) -> None:
    code = """
        import _thread, json, threading, time
        from pathlib import Path
        from columns import FileColumn

        def load(path):
            time.sleep(0.01)
            return int(path.name)

        for i in range(200):
            (Path.cwd() / str(i)).touch()
        column = FileColumn([str(i) for i in range(200)], load).map(lambda x: x, to="scalar", batch_size=8)
        threading.Timer(0.3, _thread.interrupt_main).start()
        interrupted = False
        try:
            column.to_list()
        except KeyboardInterrupt:
            interrupted = 8 <= sum(column[i : i + 1].is_computed() for i in range(200)) < 200
        print(json.dumps([interrupted, column.to_list() == list(range(200))]))
    """
    assert run(code) == [True, True]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no memory on the device"), MemoryError()])
def test_out_of_memory_halves_the_batch_and_goes_on(error: BaseException) -> None:
    sizes = []

    def hungry(batch: torch.Tensor) -> torch.Tensor:
        sizes.append(len(batch))
        if len(batch) > 5:
            raise error
        return batch + 1

    column = ScalarColumn(list(range(100))).map(hungry, to="scalar", batched=True, batch_size=40)
    assert column.to_list() == list(range(1, 101))
    assert [s for s in sizes if s > 5] == [40, 20, 10], "the size that fits is remembered"
    assert sum(s for s in sizes if s <= 5) == 100


def test_out_of_memory_on_one_row_names_it() -> None:
    def greedy(batch: torch.Tensor) -> torch.Tensor:
        if (batch == 2).any():
            raise torch.OutOfMemoryError("row of a terabyte")
        return batch

    column = ScalarColumn([0, 1, 2, 3]).map(greedy, to="scalar", batched=True)
    with pytest.raises(RowError, match=r"Row 2 .*row of a terabyte"):
        column.to_list()
    assert column[:2].is_computed()


@pytest.mark.parametrize("kind", [None, "scalar", "tensor", "object", "text", "image"])
def test_the_wrong_number_of_rows_is_refused_with_both_numbers(kind) -> None:
    column = ScalarColumn([1, 2, 3]).map(lambda x: [np.zeros((2, 2), np.uint8)] * 2, to=kind, batched=True)
    with pytest.raises((FunctionError, KindError), match=r"given 3 and returned 2|one value|type"):
        column.to_list()


@pytest.mark.parametrize("result", [None, "abc", b"abc", {"a": 1, "b": 2, "c": 3}, torch.tensor(1.0), 5])
@pytest.mark.parametrize("kind", [None, "scalar", "tensor", "object"])
def test_what_is_no_row_of_rows_is_refused_by_name(result, kind) -> None:
    column = ScalarColumn([1, 2, 3]).map(lambda x: result, to=kind, batched=True)
    with pytest.raises(FunctionError, match=r"`<lambda>` must return one row per row"):
        column.to_list()


def test_a_row_that_is_a_generator_is_refused() -> None:
    def several(x: int):
        yield x

    with pytest.raises(FunctionError, match="`several` must return the row; it returned a generator"):
        ScalarColumn([1]).map(several).to_list()


def test_outputs_that_are_missing_are_named() -> None:
    column = ScalarColumn([1]).map(lambda x: {"a": x}, to={"a": "scalar", "b": "scalar"})
    with pytest.raises(FunctionError, match=r"'b'|a, b|with b"):
        column["b"].to_list()
    assert column["a"].to_list() == [1]
    batched = ScalarColumn([1]).map(lambda x: {"a": x}, to={"a": "scalar", "b": "scalar"}, batched=True)
    with pytest.raises(FunctionError, match=r"did not return 'b'; it returned \['a'\]"):
        batched["b"].to_list()


def test_a_shape_other_than_declared_is_refused() -> None:
    column = ScalarColumn([1, 2]).map(lambda x: torch.zeros(x), to="tensor", shape=(2,))
    with pytest.raises(FunctionError, match=r"one shape|rows of shape \(2,\)"):
        column.to_list()
    by_one = ScalarColumn([1, 2]).map(lambda x: torch.zeros(x), to="tensor", batch_size=1)
    with pytest.raises(FunctionError, match=r"shape of the first, \(1,\); got \(2,\)"):
        by_one.to_list()


@pytest.mark.parametrize("batched", [False, True])
def test_changing_an_input_in_place_is_refused_and_changes_nothing(batched: bool) -> None:
    data = np.zeros((4, 3), np.float32)
    column = TensorColumn(data)
    with pytest.raises(FunctionError, match=r"`add_` changed its input in place.*clone"):
        column.map(add_, to="tensor", batched=batched).to_list()
    assert not data.any()
    assert column.map(lambda x: x + 1, to="tensor", batched=batched).to_torch().eq(1).all()


def add_(x: torch.Tensor) -> torch.Tensor:
    return x.add_(1)


def test_results_that_are_kept_cannot_be_changed_in_place() -> None:
    first = ScalarColumn([1.0, 2.0]).map(lambda x: torch.tensor([x]), to="tensor")
    with pytest.raises(FunctionError, match="in place"):
        first.map(add_, to="tensor").to_list()
    first.to_torch().zero_()
    first[0].zero_()
    for row in first.to_list():
        row.zero_()
    assert first.to_torch().tolist() == [[1.0], [2.0]]


def test_drawing_on_a_picture_does_not_reach_the_column_or_another_function() -> None:
    pictures = ImageColumn([Image.new("RGB", (2, 2)), Image.new("RGB", (2, 2))])

    def draw(picture: Image.Image) -> int:
        picture.paste((255, 0, 0), (0, 0, 2, 2))
        return 1

    one, two = pictures.map(draw, to="scalar"), pictures.map(lambda p: p.getpixel((0, 0))[0], to="scalar")
    assert [v.rows() for v in read_columns([one, two])] == [[1, 1], [0, 0]]
    assert pictures[0].getpixel((0, 0)) == (0, 0, 0)


def test_objects_made_from_pictures_outlive_the_buffer_they_are_views_of() -> None:
    def encoded(value: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (4, 4), (value, value, value)).save(buffer, "PNG")
        return buffer.getvalue()

    pictures = ImageColumn([encoded(i) for i in range(40)])
    views = pictures.map(lambda batch: list(batch.numpy()), to="object", batched=True, batch_size=4)
    assert [int(view.max()) for view in views.to_list()] == list(range(40))
    same = pictures.map(lambda batch: batch, to="image", batched=True, batch_size=4)
    assert [p.getpixel((0, 0))[0] for p in same.to_list()] == list(range(40))


def test_columns_of_two_lengths_are_refused_with_both_and_their_names() -> None:
    one, two = ScalarColumn([1, 2]), ScalarColumn([1, 2, 3])
    two.name = "label"
    with pytest.raises(LengthError, match="'scalar' has 2 rows and 'label' has 3"):
        one.map(lambda x, y: x, two)
    with pytest.raises(LengthError, match="'scalar' has 2 rows and 'label' has 3"):
        one + two


def test_a_model_on_the_wrong_shape_names_row_and_module() -> None:
    column = TensorColumn(np.zeros((3, 5), np.float32)).map(torch.nn.Linear(4, 2), to="tensor")
    with pytest.raises(RowError, match=r"Row 0 of column 'Linear' failed in `Linear\(.*`: mat1 and mat2"):
        column.to_list()


def test_wrong_options_are_refused_when_the_map_is_made() -> None:
    column = ScalarColumn([1])
    with pytest.raises(KindError, match="callable; got 3"):
        column.map(3)
    with pytest.raises(ValueError, match="`batch_size` must be at least 1; got 0"):
        column.map(abs, batch_size=0)
    with pytest.raises(KindError, match="type of Arrow; got 'float99'"):
        column.map(abs, to="scalar", dtype="float99")
    with pytest.raises(KindError, match="type of NumPy; got 'float99'"):
        column.map(abs, to="tensor", dtype="float99")
    with pytest.raises(ValueError, match="`autocast` must name a dtype"):
        column.map(abs, autocast="half4")
    with pytest.raises(ValueError, match="'raise' or 'null'; got 'ignore'"):
        column.values(on_error="ignore")
    with pytest.raises(FunctionError, match="hashable"):
        column.map(Unhashable())


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, x):
        return x


def test_rows_of_an_outer_join_that_are_not_there_do_not_hide_the_row_that_failed(folder: Path) -> None:
    images = keyed(ImageColumn([f"{i}.jpg" for i in range(6)], base=folder), list("uvwxyz"))
    joined = images[Selection(np.array([NO_ROW, 0, NO_ROW, 4, 4]))]
    means = joined.map(mean, to="scalar", batched=True)
    with pytest.raises(RowError, match=r"Row 3 \(key 'y', '4.jpg'\)"):
        means.to_list()
    two_spaces = ScalarColumn([1, 2, 3, 4, 5]).map(lambda x, y: x, means, to="scalar")
    with pytest.raises(RowError, match=r"Row 3 \(key 'y', '4.jpg'\)"):
        two_spaces.to_list()
    with pytest.warns(RowsFailedWarning):
        assert two_spaces.values(on_error="null").rows() == [None, 2, None, None, None]


def test_two_columns_are_read_in_one_pass_and_the_first_failure_is_told() -> None:
    column = ScalarColumn([1, 0])
    with pytest.raises(RowError, match="Row 1"):
        read_columns([column + 1, column.map(lambda x: 1 / x, to="scalar")])

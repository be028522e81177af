"""Column: rows of one kind. An expression, a spec, and a selection of rows; immutable.

A kind is a final class that adds the words of its field (`PredictionColumn.confidence`,
`EmbeddingColumn.nearest`) over this contract; laziness is a property of the expression, never a class.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from .errors import KindError, LengthError, RowError, RowsFailedWarning, quote_cause
from .evaluate import Evaluation, RowFailure, evaluate, is_there, positions_of, refresh
from .expression import Concat, Map, Node, Op, Pick, Source, apply, take
from .functions import Function, Operation, Output
from .html import text_cell
from .operations import AsForm, IsNull
from .progress import progress_bar
from .selection import Selection
from .spec import ColumnSpec
from .values import ArrowValues, DenseValues, Values

__all__ = ["KINDS", "Column", "align", "concat", "kind", "map_columns", "select_rows"]

KINDS: dict[str, type[Column]] = {}


def kind(cls: type[Column]) -> type[Column]:
    """Register a kind of column under its name; a decorator."""
    KINDS[cls.kind] = cls
    return cls


class Column:
    """Rows of one kind.

    Attributes
    ----------
    kind : str
        Name of the kind.
    form : str
        Form of its values: ``"arrow"``, ``"dense"``, ``"image"`` or ``"list"``.
    node : Node
        The expression.
    selection : Selection
        Which of the expression's rows, in which order.
    spec : ColumnSpec
        What the rows are, as far as it is known.
    """

    kind: ClassVar[str] = "column"
    form: ClassVar[str] = "pending"
    __slots__ = ("_failures", "keys", "name", "node", "selection", "spec")

    node: Node
    selection: Selection
    spec: ColumnSpec
    keys: Node | None  # the panel's keys, row for row with the expression; to name rows in errors
    name: str | None
    _failures: tuple[RowError, ...]

    @classmethod
    def over(
        cls,
        node: Node,
        selection: Selection | None = None,
        spec: ColumnSpec | None = None,
        keys: Node | None = None,
        name: str | None = None,
    ) -> Self:
        """Return a column of this kind over an expression: what every other constructor ends in."""
        column = object.__new__(cls)
        column.node = node
        column.selection = Selection.whole(node.length) if selection is None else selection
        column.spec = ColumnSpec(cls.kind) if spec is None else spec
        column.keys = keys
        column.name = name
        column._failures = ()
        return column

    # Reading

    def __len__(self) -> int:
        return len(self.selection)

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, (int, np.integer)):
            position = int(rows)
            if not -len(self) <= position < len(self):
                raise IndexError(f"Row must lie in [{-len(self)}, {len(self)}); got {position}.")
            position %= len(self)
            return self._read(self._under(self.selection[position : position + 1])).rows()[0]
        return self._under(self.selection.compose(select_rows(rows, len(self))))

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), 256):
            yield from self[start : start + 256].to_list()

    def values(self, *, on_error: str = "raise", retry: bool = False) -> Values:
        """Return the rows as `Values`, computing what is missing.

        Parameters
        ----------
        on_error : {"raise", "null"}
            Stop at the first row that fails, or make failed rows null and warn.
        retry : bool
            Try rows again that failed before.

        Raises
        ------
        RowError
            Names the row, its key and column, and the cause.
        """
        return read_columns([self], on_error=on_error, retry=retry)[0]

    def to_list(self) -> list[Any]:
        """Return the rows as Python values, None where null."""
        return self.values().rows()

    def to_numpy(self) -> NDArray[Any]:
        """Return the rows as one array; null is NaN or None. Rows of several shapes give an object array."""
        values = self.values()
        if isinstance(values, DenseValues):
            return _with_nan(values)
        if isinstance(values, ArrowValues):
            return np.asarray(values.array.to_numpy(zero_copy_only=False))
        return _object_array(values.rows())

    def to_torch(self) -> torch.Tensor:
        """Return the rows as one tensor; categories as their codes, pictures as uint8 (rows, channels, height, width).

        Raises
        ------
        KindError
            If rows are null, not numbers, or of several shapes.
        """
        return as_batch(self.values(), self)

    def to_arrow(self) -> pa.Array:
        """Return the rows as an Arrow array; arrays of one shape become (nested) fixed-size lists."""
        return values_to_arrow(self.values())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.to_numpy(), dtype=dtype)

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        return self.to_arrow().__arrow_c_array__(requested_schema)

    # Computing

    def map(
        self,
        function: Callable[..., Any],
        *others: Column,
        to: Any = None,
        batched: bool | None = None,
        batch_size: int | None = None,
        shape: Sequence[int] | None = None,
        dtype: str | None = None,
        device: str = "auto",
        version: str | None = None,
        autocast: str | None = None,
        channels_last: bool = False,
    ) -> Any:
        """Return the column of what `function` gives for each row; nothing is run yet.

        Parameters
        ----------
        function : callable or torch.nn.Module
            Takes one row of this column and of each of `others`; with `batched`, takes many rows at once:
            numbers, pictures and arrays as tensors, all else as lists.
        *others : Column
            More inputs, of the same length.
        to : kind, or dict of str to kind, optional
            What comes out. A dictionary declares several outputs, which the function returns by name (and, if
            it has a parameter ``wanted``, it is told which are asked for). Without it the column is pending:
            it can be computed, mapped and indexed, and given a kind with `as_kind`.
        batched : bool, optional
            True for modules, else False.
        batch_size : int, optional
            Rows per call; chosen by the size of a row if left out, and halved when memory runs out.
        shape, dtype : optional
            Of one row of the output; checked, and converted to.
        device : str
            Where a module runs: ``"auto"`` takes CUDA, then MPS, then the CPU.
        version : str, optional
            Your word that the function of this name and version gives the same results in another process.
        autocast : str, optional
            A dtype in which a module may compute, ``"bfloat16"`` say.
        channels_last : bool
            Give a module its pictures with channels last in memory.

        Returns
        -------
        Column, or dict of str to Column
        """
        return map_columns(
            [self, *others], function, to=to, batched=batched, batch_size=batch_size, shape=shape, dtype=dtype,
            device=device, version=version, autocast=autocast, channels_last=channels_last,
        )  # fmt: skip

    def compute(self, *, on_error: str = "raise", retry: bool = False, progress: bool = False) -> Any:
        """Compute the rows that are missing, and return the column; a pending one gets its kind.

        Parameters
        ----------
        on_error : {"raise", "null"}
            Stop at the first row that fails (what came before it is kept), or go on and make it null.
        retry : bool
            Try rows again that failed before.
        progress : bool
            Show a progress bar.
        """
        evaluation = compute_columns([self], on_error=on_error, retry=retry, progress=progress)
        result = self._known()
        result._failures = tuple(self._error(f) for f in evaluation.failures)
        return result

    @property
    def failures(self) -> tuple[RowError, ...]:
        """The rows that failed when `compute` was told to go on."""
        return self._failures

    def refresh(self) -> bool:
        """Look again at files and weights, all of them; say whether something had changed."""
        return refresh([self.node])

    def is_computed(self) -> bool:
        """Say whether the rows can be read without running a function or opening a file."""
        return is_there([(self.node, self.selection)])

    def as_kind(self, to: Any, **spec: Any) -> Any:
        """Return the same rows as another kind of column; nothing is computed.

        Parameters
        ----------
        to : kind or str
            The class, or its name.
        **spec
            Fields of the new column's spec: ``classes=``, ``unit=``.
        """
        cls = kind_of(to)
        node = self.node
        if cls.form != self.form:
            (node,) = apply(lambda n: (Op(AsForm(cls.form), n),), (node,))
        new = ColumnSpec(cls.kind, self.spec.dtype, self.spec.shape, self.spec.classes, self.spec.unit)
        return cls.over(node, self.selection, new.with_(**spec), self.keys, self.name)

    def is_null(self) -> Column:
        """Return a lazy column of booleans: whether each row is null."""
        return self._op(IsNull(), "scalar", ColumnSpec("scalar", "bool"), strict=False)

    # Words

    def __repr__(self) -> str:
        what = self.describe_rows()
        return f"<{type(self).__name__}: {len(self):,} rows{', ' + what if what else ''} = {self.node!r}>"

    def describe_rows(self) -> str:
        """Return what is known about one row, in words: dtype, shape, classes."""
        parts = []
        if self.spec.dtype:
            shape = "" if self.spec.shape is None else f"[{', '.join(map(str, self.spec.shape))}]"
            parts.append(f"{self.spec.dtype}{shape}")
        if self.spec.classes:
            parts.append(f"{len(self.spec.classes)} classes")
        return ", ".join(parts)

    def cell(self, value: Any) -> str:
        """Return one row as HTML for a table cell; text is never markup."""
        return text_cell(value)

    # For the kinds

    def _under(self, selection: Selection) -> Self:
        return type(self).over(self.node, selection, self.spec, self.keys, self.name)

    def _op(
        self,
        operation: Operation,
        to: str,
        spec: ColumnSpec,
        others: Sequence[Column] = (),
        *,
        strict: bool = True,
    ) -> Any:
        """Return a lazy column of a cheap operation on this column and others."""
        nodes, selection, keys = align([self, *others])
        (node,) = apply(lambda n: (Op(operation, n),), nodes, strict=strict)
        return KINDS[to].over(node, selection, spec, keys)

    def _read(self, column: Column) -> Values:
        return read_columns([column])[0]

    def _known(self) -> Any:
        """Return this column with what computing has told about its rows."""
        return self._under(self.selection)

    def _error(self, failure: RowFailure) -> RowError:
        return row_error(failure, [self])

    __hash__ = object.__hash__


def kind_of(to: Any) -> type[Column]:
    """Return the class of a kind given as a class or a name."""
    if isinstance(to, str):
        if to not in KINDS:
            raise KindError(f"A kind must be one of {', '.join(sorted(KINDS))}; got '{to}'.")
        return KINDS[to]
    if isinstance(to, type) and issubclass(to, Column):
        return to
    raise KindError(f"A kind must be a column class or its name; got {to!r}.")


def select_rows(rows: Any, length: int) -> Selection:
    """Return what an index means: a slice, a mask, row numbers (negative from the end), or a lazy column of these.

    Raises
    ------
    LengthError
        If a mask has another length.
    IndexError
        If a row number is out of range.
    KindError
        If it is none of these.
    """
    if isinstance(rows, slice):
        return Selection(range(length)[rows])
    if isinstance(rows, Selection):
        return rows
    if isinstance(rows, Column):
        values = rows.values()
        if not isinstance(values, ArrowValues):
            raise KindError(f"Rows are chosen by booleans or row numbers; got a column of kind '{rows.kind}'.")
        array = values.array
        if pa.types.is_boolean(array.type):
            array = array.fill_null(False)  # what is not known to hold is left out, as pandas does
        rows = array.to_numpy(zero_copy_only=False)
    index = np.asarray(rows.cpu() if isinstance(rows, torch.Tensor) else rows)
    if index.ndim == 0 and isinstance(rows, range):
        index = np.asarray(list(rows))
    if index.dtype == bool:
        if index.shape != (length,):
            raise LengthError(f"A mask must have one value for each of the {length} rows; got shape {index.shape}.")
        return Selection.from_mask(index)
    if index.size == 0 and index.ndim == 1:
        return Selection(np.zeros(0, np.int64))
    if index.ndim != 1 or index.dtype.kind not in "iu":
        raise KindError(
            f"Rows are chosen by a slice, a mask, or whole numbers; got {index.dtype} of shape {index.shape}."
        )
    index = index.astype(np.int64)
    low, high = int(index.min()), int(index.max())
    if low < -length or high >= length:
        raise IndexError(f"Rows must lie in [{-length}, {length}); got {low if low < -length else high}.")
    return Selection(np.where(index < 0, index + length, index) if low < 0 else index)


def align(columns: Sequence[Column]) -> tuple[tuple[Node, ...], Selection, Node | None]:
    """Return the nodes of columns, the one selection under which they stand row by row, and their keys.

    Raises
    ------
    LengthError
        If they differ in length.
    """
    first = columns[0]
    for column in columns[1:]:
        if len(column) != len(first):
            names = [c.name or c.kind for c in (first, column)]
            raise LengthError(
                f"Columns used together must have one length; '{names[0]}' has {len(first)} rows and "
                f"'{names[1]}' has {len(column)}."
            )
    same_space = all(c.node.length == first.node.length for c in columns)
    if same_space and all(first.selection.same_rows(c.selection) for c in columns[1:]):
        keys = next((c.keys for c in columns if c.keys is not None), None)
        return tuple(c.node for c in columns), first.selection, keys
    keyed = next((c for c in columns if c.keys is not None), None)
    keys = None if keyed is None or keyed.keys is None else take(keyed.keys, keyed.selection)
    return tuple(take(c.node, c.selection) for c in columns), Selection.whole(len(first)), keys


def map_columns(
    columns: Sequence[Column],
    function: Callable[..., Any],
    *,
    to: Any = None,
    batched: bool | None = None,
    batch_size: int | None = None,
    shape: Sequence[int] | None = None,
    dtype: str | None = None,
    device: str = "auto",
    version: str | None = None,
    autocast: str | None = None,
    channels_last: bool = False,
) -> Any:
    """Map a function over several columns; see `Column.map`."""
    if not callable(function):
        raise KindError(f"`function` must be callable; got {function!r}.")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1; got {batch_size}.")
    kinds = to if isinstance(to, dict) else {"": to}
    row_shape = None if shape is None else tuple(shape)
    outputs = []
    for name, one in kinds.items():
        cls = KINDS["pending"] if one is None else kind_of(one)
        outputs.append(Output(name, cls.form, row_shape, dtype))
    described = Function(
        function, tuple(outputs), isinstance(function, torch.nn.Module) if batched is None else batched,
        batch_size, device, version, autocast, channels_last,
    )  # fmt: skip
    nodes, selection, keys = align(columns)

    def build(inputs: tuple[Node, ...]) -> tuple[Node, ...]:
        made = Map(described, inputs)
        return tuple(Pick(made, o.name) for o in outputs)

    picked = apply(build, nodes)
    results = {}
    for (name, one), node in zip(kinds.items(), picked, strict=True):
        cls = KINDS["pending"] if one is None else kind_of(one)
        spec = ColumnSpec(cls.kind, dtype, row_shape)
        results[name] = cls.over(node, selection, spec, keys, name or described.name)
    return results if isinstance(to, dict) else results[""]


def concat(columns: Sequence[Column]) -> Any:
    """Return the rows of several columns of one kind, one after the other; nothing is computed.

    Raises
    ------
    KindError
        If kinds or classes differ.
    """
    first = columns[0]
    for other in columns[1:]:
        if other.kind != first.kind:
            raise KindError(f"Columns joined into one must be of one kind; got '{first.kind}' and '{other.kind}'.")
        if other.spec.classes != first.spec.classes:
            raise KindError(
                f"Columns joined into one must have the same classes; got "
                f"{first.spec.classes} and {other.spec.classes}."
            )
    node = Concat([take(c.node, c.selection) for c in columns])
    spec = first.spec if all(c.spec == first.spec for c in columns) else first.spec.with_(dtype=None, shape=None)
    return type(first).over(node, None, spec, None, first.name)


def compute_columns(
    columns: Sequence[Column], *, on_error: str = "raise", retry: bool = False, progress: bool = False
) -> Evaluation:
    """Compute the missing rows of several columns in one pass, without reading them."""
    return _evaluate(columns, on_error, retry, read=False, progress=progress)


def read_columns(columns: Sequence[Column], *, on_error: str = "raise", retry: bool = False) -> list[Values]:
    """Return the values of several columns, computed in one pass."""
    return _evaluate(columns, on_error, retry, read=True, progress=False).values


def _evaluate(columns: Sequence[Column], on_error: str, retry: bool, *, read: bool, progress: bool) -> Evaluation:
    if on_error not in ("raise", "null"):
        raise ValueError(f"`on_error` must be 'raise' or 'null'; got {on_error!r}.")
    bar = progress_bar if progress else None
    evaluation = evaluate(
        [(c.node, c.selection) for c in columns],
        stop=on_error == "raise",
        retry=retry,
        read=read,
        progress=bar,
    )
    if evaluation.failures:
        first = row_error(evaluation.failures[0], columns)
        if on_error == "raise":
            raise first from evaluation.failures[0].cause.error
        count = len({(f.cause.node, f.cause.row) for f in evaluation.failures})
        warnings.warn(f"{count} rows failed and are null; the first: {first}", RowsFailedWarning, stacklevel=4)
    return evaluation


def row_error(failure: RowFailure, columns: Sequence[Column]) -> RowError:
    """Return the error that names the row that failed: number, key, column, path and cause."""
    at, at_row, error = failure.cause.node, failure.cause.row, failure.cause.error
    row, key, asked = failure.row, None, None
    for column in columns:
        positions = positions_of((column.node, column.selection), failure)
        if len(positions):
            row, asked = int(positions[0]), column
            if column.keys is not None:
                one = column.selection[row : row + 1]
                key = evaluate([(column.keys, one)]).values[0].rows()[0]
            break
    where = at.source.describe(at_row) if isinstance(at, Source) else None
    label = at.label or (asked.name if asked is not None and asked.name else None)
    words = f"Row {row}"
    inside = ", ".join(part for part in (f"key '{key}'" if key else "", f"'{where}'" if where else "") if part)
    words += f" ({inside})" if inside else ""
    words += f" of column '{label}'" if label else ""
    doing = "could not be read" if isinstance(at, Source) else f"failed in `{at!r}`"
    return RowError(f"{words} {doing}: {quote_cause(error)}.", row=row, key=key, column=label)


def as_batch(values: Values, column: Column) -> torch.Tensor:
    """Return values as one tensor, or say why they are not one."""
    valid = values.valid()
    if valid is not None:
        raise KindError(
            f"A tensor has no null, and {int((~valid).sum())} of {len(valid)} rows of this "
            f"{column.kind} column are null; "
            "drop them first: panel[~column.is_null()]."
        )
    batch = values.batch()
    if isinstance(batch, torch.Tensor):
        return batch
    from .coerce import to_form

    dense = to_form(
        batch,
        Output("", KINDS[column.kind].form if column.form in ("dense", "image") else "dense"),
        column.kind,
    )
    stacked = dense.batch()
    if isinstance(stacked, list):
        arrays = [np.asarray(item) for item in stacked]
        if len({a.shape for a in arrays}) != 1:
            raise KindError(
                "Pictures of several sizes are not one tensor; ask for one size with `.resize((height, width))`."
            )
        from .coerce import image_array
        from .values import ImageValues

        return ImageValues(image_array(np.stack(arrays), column.kind)).batch()
    result: torch.Tensor = stacked
    return result


def values_to_arrow(values: Values) -> pa.Array:
    """Return values as an Arrow array."""
    if isinstance(values, ArrowValues):
        return values.array
    if isinstance(values, DenseValues):
        valid = values.valid()
        array = pa.array(np.ascontiguousarray(values.data).reshape(-1))
        for size in reversed(values.data.shape[1:]):
            array = pa.FixedSizeListArray.from_arrays(array, max(size, 1)) if size else array
        return array if valid is None else pa.array(array.to_pylist(), array.type, mask=~valid)
    rows = values.rows()
    try:
        return pa.array(rows)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise KindError(f"These objects have no form in Arrow: {error}") from error


def _with_nan(values: DenseValues) -> NDArray[Any]:
    valid = values.valid()
    if valid is None:
        return values.data
    data = values.data.astype(np.result_type(values.data.dtype, np.float32), copy=True)
    data[~valid] = np.nan
    return data


def _object_array(rows: list[Any]) -> NDArray[Any]:
    array = np.empty(len(rows), object)
    for position, row in enumerate(rows):
        array[position] = row
    return array

"""Column: rows of one kind. An expression, a spec, and a selection of rows; immutable.

A kind is a final class that adds the words of its field (`PredictionColumn.confidence`,
`EmbeddingColumn.nearest`) over this contract; laziness is a property of the expression, never a class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from .asking import compute_columns, read_columns, row_error, row_errors
from .errors import KindError, RowError
from .evaluate import is_there, refresh
from .exporting import as_batch, values_to_arrow, values_to_numpy
from .expression import Node, Op, Source, apply
from .functions import Operation
from .html import text_cell
from .mapping import align, concat, map_columns, select_rows
from .operations import AsForm, IsNull
from .registry import KINDS, kind, kind_of
from .selection import Selection
from .sources import KnowsNulls
from .spec import ColumnSpec
from .values import Values

__all__ = [
    "KINDS",
    "Column",
    "align",
    "as_batch",
    "compute_columns",
    "concat",
    "kind",
    "kind_of",
    "map_columns",
    "read_columns",
    "row_error",
    "select_rows",
    "values_to_arrow",
]


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
        if isinstance(rows, (int, np.integer)) and not isinstance(rows, bool):
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
        return values_to_numpy(self.values())

    def to_torch(self) -> torch.Tensor:
        """Return the rows as one tensor; categories as their codes, pictures as uint8 (rows, channels, height, width).

        Raises
        ------
        KindError
            If rows are null, not numbers, or of several shapes.
        """
        return as_batch(self.values(), self.kind)

    def to_arrow(self) -> pa.Array:
        """Return the rows as an Arrow array; arrays of one shape become (nested) fixed-size lists."""
        return values_to_arrow(self.values())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy:
            return np.array(self.to_numpy(), dtype=dtype)
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
        result._failures = tuple(row_errors(evaluation.failures, [self]))
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

    def is_null(self) -> Any:
        """Return a lazy column of booleans: whether each row is null."""

        def build(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
            source = nodes[0].source if isinstance(nodes[0], Source) else None
            # Pictures are null where their path is: no reason to decode them.
            return (Source(source.nulls()) if isinstance(source, KnowsNulls) else Op(IsNull(), nodes),)

        nodes, selection, keys = align([self], strict=False)
        (node,) = apply(build, nodes, strict=False)
        return KINDS["scalar"].over(node, selection, ColumnSpec("scalar", "bool"), keys)

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
        strict = strict and operation.strict
        nodes, selection, keys = align([self, *others], strict=strict)
        (node,) = apply(lambda n: (Op(operation, n),), nodes, strict=strict)
        return KINDS[to].over(node, selection, spec, keys)

    def _read(self, column: Column) -> Values:
        return read_columns([column])[0]

    def _known(self) -> Any:
        """Return this column with what computing has told about its rows."""
        return self._under(self.selection)

    def __eq__(self, other: object) -> Any:
        raise self._no_comparison()

    def __ne__(self, other: object) -> Any:
        raise self._no_comparison()

    def _no_comparison(self) -> KindError:
        return KindError(
            f"Rows of kind '{self.kind}' are not compared with `==`; map them to single values first, "
            "or compare the columns themselves with `is`."
        )

    __hash__ = object.__hash__

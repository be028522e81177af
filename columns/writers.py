"""Writers: values, batch by batch, into files of a known layout. Nothing is held but one batch."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.lib import format as npy
from numpy.typing import NDArray

from .drafts import Draft, Saving
from .errors import KindError
from .exporting import values_to_arrow
from .manifest import Stored
from .sources import _hash_arrow
from .spec import ColumnSpec
from .values import ArrowValues, DenseValues, Values, concatenate

__all__ = ["ArrowWriter", "DenseWriter", "Writer"]

_BATCH_BYTES = 64 << 20  # an Arrow column below this is one batch, which reads without a copy
_CHUNK_BYTES = 16 << 20


class Writer(ABC):
    """Takes the rows of one column, in order."""

    def __init__(self, saving: Saving, name: str, rows: int) -> None:
        self.saving = saving
        self.name = name
        self.length = rows

    @abstractmethod
    def append(self, values: Values) -> None:
        """Write the next rows."""

    @abstractmethod
    def finish(self) -> Stored:
        """Return how the rows lie on disk, once all have been written."""


class DenseWriter(Writer):
    """Arrays of one shape into one ``.npy`` file, and, where rows are null, which ones into another."""

    def __init__(self, saving: Saving, name: str, rows: int, spec: ColumnSpec) -> None:
        super().__init__(saving, name, rows)
        self._draft: Draft | None = None
        self._dtype = np.dtype(np.float32)
        self._shape: tuple[int, ...] = ()
        self._spec = spec
        self._written = 0
        self.valid = np.ones(rows, np.bool_)

    def append(self, values: Values) -> None:
        if not isinstance(values, DenseValues):
            from .coerce import to_form
            from .functions import Output

            values = to_form(values.rows(), Output(form="dense"), self.name)
            assert isinstance(values, DenseValues)
        data, valid = values.data, values.valid()
        stop = self._written + len(data)
        if valid is not None:
            self.valid[self._written : stop] = valid
        there = len(data) > 0 if valid is None else bool(valid.any())
        if self._draft is None and (there or (stop == self.length and data.shape[1:] != (0,))):
            self._begin(data.dtype, data.shape[1:])
        elif there and data.shape[1:] != self._shape:
            raise KindError(
                f"Rows of column '{self.name}' must have one shape to be saved; got {self._shape} and "
                f"{data.shape[1:]}. Pad or resize them, or keep them as an ObjectColumn."
            )
        elif there and np.result_type(data.dtype, self._dtype) != self._dtype:
            self._widen(np.result_type(data.dtype, self._dtype))
        if there:
            self._put(data, valid)
        elif self._draft is not None:
            self._blank(len(data))
        self._written = stop

    def _begin(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        """Open the file; rows so far, whose shape nobody knew, were null."""
        self._dtype, self._shape = dtype, shape
        draft = self._draft = self.saving.draft()
        draft.expected = self.length * self._row_bytes
        header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (self.length, *shape)}
        npy.write_array_header_1_0(draft, header)
        self._header = draft.size
        # As `DenseSource` hashes: the same content is found again, in memory or on disk.
        self._hash = hashlib.blake2b(f"{dtype}{(self.length, *shape)}".encode(), digest_size=16)
        self._blank(self._written)

    @property
    def _row_bytes(self) -> int:
        return int(np.prod(self._shape, dtype=np.int64)) * self._dtype.itemsize

    def _step(self) -> int:
        return max(1, _CHUNK_BYTES // max(1, self._row_bytes))

    def _put(self, data: NDArray[Any], valid: NDArray[np.bool_] | None) -> None:
        for start in range(0, len(data), self._step()):
            some = np.ascontiguousarray(data[start : start + self._step()], self._dtype)
            if valid is not None:
                lost = ~valid[start : start + self._step()]
                if lost.any():
                    some = some.copy()
                    some[lost] = 0  # what lies under a null is nobody's business, and would change the hash
            self._write(some)

    def _write(self, some: NDArray[Any]) -> None:
        assert self._draft is not None
        raw = some.reshape(-1).view(np.uint8).data if some.size else b""
        self._hash.update(raw)
        self._draft.write(raw)

    def _blank(self, rows: int) -> None:
        for start in range(0, rows, self._step()):
            self._write(np.zeros((min(self._step(), rows - start), *self._shape), self._dtype))

    def _widen(self, dtype: np.dtype[Any]) -> None:
        """Begin anew with a wider dtype: a later batch needs it."""
        before, rows, valid = self.written(), self._written, self.valid
        old = self._draft
        assert old is not None
        self._draft, self._written = None, 0
        self._begin(dtype, self._shape)
        self._put(before, valid[:rows])
        self._written = rows
        del before
        self.saving.drop(old)

    def written(self) -> NDArray[Any]:
        """Return the rows written so far, mapped."""
        assert self._draft is not None
        self._draft.flush()
        shape = (self._written, *self._shape)
        if 0 in shape:
            return np.zeros(shape, self._dtype)
        return np.memmap(self._draft.path, self._dtype, "r", self._header, shape)

    def drop(self) -> None:
        """Forget what was written."""
        if self._draft is not None:
            self.saving.drop(self._draft)

    def finish(self) -> Stored:
        if self._draft is None:
            # Every row is null, or there is none: the spec may know what they would have been.
            spec = self._spec
            known = spec.dtype is not None and spec.shape is not None
            self._begin(np.dtype(spec.dtype if known else np.float32), spec.shape or (0,) if known else (0,))
        assert self._draft is not None
        lost = not self.valid.all()
        if lost:
            self._hash.update(self.valid.tobytes())
        digest, record = self._hash.hexdigest(), None
        if lost:
            draft = self.saving.draft()
            npy.write_array_header_1_0(draft, npy.header_data_from_array_1_0(self.valid))
            draft.write(self.valid)
            record = self.saving.keep(draft, self.name, digest, "valid.npy")
        data = self.saving.keep(self._draft, self.name, digest, "npy")
        return Stored("npy", data, digest, str(self._dtype), self._shape, record)


class ArrowWriter(Writer):
    """Arrow values into one IPC file: as one batch if they are few, which then reads without a copy."""

    way = "arrow"

    def __init__(self, saving: Saving, name: str, rows: int, classes: tuple[str, ...] | None = None) -> None:
        super().__init__(saving, name, rows)
        self._classes = classes
        self._pieces: list[Values] = []
        self._bytes = 0
        self._written = 0
        self._type: pa.DataType | None = None
        self._digests: list[str] = []
        self._draft: Draft | None = None
        self._writer: Any = None

    def append(self, values: Values) -> None:
        self.append_array(values_to_arrow(values))

    def append_array(self, array: pa.Array) -> None:
        """Write the next rows."""
        if self._classes is not None:
            array = _category(array, self._classes)
        elif pa.types.is_dictionary(array.type):
            array = array.cast(array.type.value_type)  # a file has one dictionary, batches may have many
        self._pieces.append(ArrowValues(array))
        self._bytes += array.nbytes
        if self._bytes >= _BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        joined = concatenate(self._pieces)
        assert isinstance(joined, ArrowValues)
        self._pieces, self._bytes = [], 0
        if self._type is not None and joined.array.type != self._type:
            joined = self._retype(joined)
        array = joined.array
        if self._writer is None:
            self._begin(array.type)
        assert self._draft is not None
        self._written += len(array)
        self._draft.expected = (self._draft.size + array.nbytes) * self.length // max(1, self._written)
        self._digests.append(_hash_arrow(array))
        self._writer.write_batch(pa.record_batch([array], names=["x"]))

    def _begin(self, kind: pa.DataType) -> None:
        self._type, self._digests, self._draft = kind, [], self.saving.draft()
        self._writer = pa.ipc.new_file(pa.PythonFile(self._draft, mode="w"), pa.schema([("x", kind)]))

    def _retype(self, joined: ArrowValues) -> ArrowValues:
        """Fit a later batch to the type of the first, or begin anew with one that holds both."""
        both = concatenate([ArrowValues(pa.array([], self._type)), joined])
        assert isinstance(both, ArrowValues)
        if both.array.type != self._type:
            old = self._draft
            assert old is not None
            self._writer.close()
            old.flush()
            self._begin(both.array.type)
            with pa.memory_map(str(old.path)) as file:
                reader = pa.ipc.open_file(file)
                for number in range(reader.num_record_batches):
                    array = reader.get_batch(number).column(0).cast(both.array.type)
                    self._digests.append(_hash_arrow(array))
                    self._writer.write_batch(pa.record_batch([array], names=["x"]))
            self.saving.drop(old)
        return both

    def finish(self) -> Stored:
        if self._pieces or self._writer is None:
            self._pieces = self._pieces or [ArrowValues(pa.nulls(0))]
            self._flush()
        assert self._draft is not None
        self._writer.close()
        digest = self._digests[0]
        if len(self._digests) > 1:
            digest = hashlib.blake2b("\x1f".join(self._digests).encode(), digest_size=16).hexdigest()
        return Stored(self.way, self.saving.keep(self._draft, self.name, digest, "arrow"), digest, str(self._type))


def _category(array: pa.Array, classes: tuple[str, ...]) -> pa.Array:
    """Return a category whose dictionary is `classes`, the same in every batch."""
    names = pa.array(classes, pa.string())
    if pa.types.is_dictionary(array.type):
        if array.type == pa.dictionary(pa.int32(), pa.string()) and array.dictionary.equals(names):
            return array
        array = array.cast(array.type.value_type)
    return pa.DictionaryArray.from_arrays(pc.index_in(array.cast(pa.string()), value_set=names), names)

"""Interop: a panel as what other people hold their data in; the ways in are in `incoming`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from columns.column import read_columns
from columns.exporting import values_to_numpy

from .errors import NoColumnError
from .incoming import Incoming

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from .torchdata import PanelDataset

__all__ = ["Interop"]

Path = str | os.PathLike[str]


class Interop(Incoming):
    """Methods of `DataPanel` that hand its rows to other libraries, and those that take rows from them.

    Libraries are imported when they are used; where one is not installed, `columns.MissingExtra` names the extra
    that brings it.
    """

    __slots__ = ()

    def to_dict(self: Any) -> dict[str, list[Any]]:
        """Return the rows of every column as lists of Python values."""
        values = read_columns([self[name] for name in self.columns]) if self.columns else []
        return {name: v.rows() for name, v in zip(self.columns, values, strict=True)}

    def to_numpy(self: Any, names: str | Sequence[str] | None = None) -> Any:
        """Return columns as arrays, computed in one pass: one array for one name, else a dictionary.

        Null is NaN or None; memory is shared where nothing is null and nothing has to be converted.
        """
        chosen = self.columns if names is None else [names] if isinstance(names, str) else list(names)
        for name in chosen:
            if name not in self:
                raise NoColumnError(self.no_column(name))
        values = read_columns([self[name] for name in chosen]) if chosen else []
        arrays: dict[str, NDArray[np.generic]] = {
            name: values_to_numpy(v) for name, v in zip(chosen, values, strict=True)
        }
        return arrays[names] if isinstance(names, str) else arrays

    def to_pandas(self: Any, *, index: bool = False, images: str = "auto") -> Any:
        """Return the panel as a pandas DataFrame of its own memory.

        Categories are pandas categories, whole numbers and booleans with nulls pandas' nullable types; arrays and
        class scores are an object column of NumPy arrays.

        Parameters
        ----------
        index : bool
            Make an index "key" of the keys.
        images : {"auto", "paths", "bytes"}
            See `to_arrow`.
        """
        from .frames import panel_to_pandas

        return panel_to_pandas(self, index, images)

    def to_arrow(self: Any, *, images: str = "auto", keys: bool = False) -> pa.Table:
        """Return the panel as an Arrow table.

        Arrays become (nested) fixed-size lists, predictions lists of scores, categories dictionaries, files their
        paths. Kinds, class names and shapes are noted in the metadata of the fields, so that `from_arrow` gives
        them back.

        Parameters
        ----------
        images : {"auto", "paths", "bytes"}
            How pictures are handed over: paths of their files; or the bytes of files, PNG for those that are only
            pixels; or paths where every picture of a column is a file, else bytes.
        keys : bool
            Add the keys as a column ``key``.

        Raises
        ------
        KindError
            If a column has no form in Arrow, or paths are asked for and there are none; names it.
        """
        from .arrow import panel_to_arrow

        return panel_to_arrow(self, images, keys)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def to_polars(self: Any, *, images: str = "auto", keys: bool = False) -> Any:
        """Return the panel as a polars DataFrame; categories as Enum, all else as in `to_arrow`."""
        from .frames import panel_to_polars

        return panel_to_polars(self, images, keys)

    def to_torch(
        self: Any, names: Sequence[str] | None = None, transform: Callable[[Any], Any] | None = None
    ) -> PanelDataset:
        """Return the panel as a torch Dataset; see `workbench.torchdata.PanelDataset`.

        Parameters
        ----------
        names : sequence of str, optional
            Which columns: samples are tuples in this order. Left out, they are dictionaries of all columns.
        transform : callable, optional
            Applied to each sample.
        """
        from .torchdata import PanelDataset

        return PanelDataset(self, names, transform)

    def to_huggingface(self: Any, *, images: str = "auto") -> Any:
        """Return the panel as a Hugging Face `Dataset`: Image, ClassLabel, Array and List features.

        Its features have no word for the class names of a prediction: its scores are a list.
        """
        from .huggingface import panel_to_huggingface

        return panel_to_huggingface(self, images)

    def to_meerkat(self: Any) -> Any:
        """Return the panel as a Meerkat DataFrame; pictures in files stay files, what is not computed is deferred."""
        from .meerkat import panel_to_meerkat

        return panel_to_meerkat(self)

    def to_csv(self: Any, path: Path, *, keys: bool = False) -> None:
        """Write the panel as CSV: null as nothing, pictures as paths; the file appears when it is whole.

        Raises
        ------
        KindError
            If a column has more than one plain value a row; names it.
        """
        from .readers import panel_to_csv

        panel_to_csv(self, path, keys)

    def to_parquet(self: Any, path: Path, *, images: str = "auto", keys: bool = False) -> None:
        """Write the panel as Parquet, in pieces of bounded size; the file appears when it is whole. See `to_arrow`."""
        from .readers import panel_to_parquet

        panel_to_parquet(self, path, images, keys)

    def to_ipc(self: Any, path: Path, *, images: str = "auto", keys: bool = False) -> None:
        """Write the panel as an Arrow IPC (Feather) file; see `to_parquet`."""
        from .readers import panel_to_ipc

        panel_to_ipc(self, path, images, keys)

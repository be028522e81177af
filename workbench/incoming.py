"""Incoming: the ways into a panel from what other people hold their data in.

The methods stand here, each with its contract; what they do stands in one module for each way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["Incoming", "from_anything"]

Path = str | os.PathLike[str]


class Incoming:
    """Methods of `DataPanel` that take rows from other libraries.

    Everywhere, `origin` is what the keys of the rows begin with, derived from the content if left out, and `key`
    names a column whose values are the rest of the keys (one for each row, no two alike). With ``origin=""`` that
    column holds whole keys, as the ``keys=True`` of our own writers puts them into a file. Libraries are imported
    when they are used; where one is not installed, `columns.MissingExtra` names the extra that brings it.
    """

    __slots__ = ()

    @classmethod
    def from_pandas(
        cls, frame: Any, *, index: bool = False, key: str | None = None, origin: str | None = None
    ) -> DataPanel:
        """Return a pandas DataFrame as a panel.

        Numbers share their memory with the frame, which since pandas 3 is copied before anybody writes into it. NaN,
        None, NA and NaT are null, as they are to pandas. Categories keep their classes and order; objects of several
        types are kept as objects. Names become text.

        Parameters
        ----------
        frame : pandas.DataFrame
            The rows.
        index : bool
            Make keys of the index; otherwise it is left behind.
        key, origin : str, optional
            Of the keys; see `Incoming`. An index called "key" holds whole keys.

        Raises
        ------
        PanelError
            If names repeat, or keys do.

        Examples
        --------
        >>> import pandas as pd
        >>> from workbench import DataPanel
        >>> frame = pd.DataFrame({"age": [36.0, float("nan")]}, index=["ada", "bob"])
        >>> DataPanel.from_pandas(frame, index=True, origin="staff").key.to_list()
        ['staff/ada', 'staff/bob']
        """
        from .frames import panel_from_pandas

        return panel_from_pandas(frame, index=index, key=key, origin=origin)

    @classmethod
    def from_arrow(cls, data: Any, *, key: str | None = None, origin: str | None = None) -> DataPanel:
        """Return an Arrow table, or anything with ``__arrow_c_stream__``, as a panel: polars, DuckDB, narwhals, ...

        Fixed-size lists of numbers are tensors, dictionaries categories, all else scalars; kinds that `to_arrow`
        noted in the metadata come back as they were, and so do the keys. Memory is shared where a column is one
        piece.

        Raises
        ------
        PanelError
            If names or keys repeat, or `data` is no table.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from workbench import DataPanel
        >>> DataPanel.from_arrow(pa.table({"x": [1, None]}))["x"].to_list()
        [1, None]
        """
        import pandas as pd

        from .arrow import panel_from_arrow

        if isinstance(data, pd.DataFrame):  # through Arrow its NaN would become null
            return cls.from_pandas(data, key=key, origin=origin)
        return panel_from_arrow(data, key=key, origin=origin)

    @classmethod
    def from_polars(cls, frame: Any, *, key: str | None = None, origin: str | None = None) -> DataPanel:
        """Return a polars DataFrame as a panel; an Enum keeps its classes, objects stay objects.

        Raises
        ------
        PanelError
            If it is a LazyFrame, or keys repeat.
        """
        from .frames import panel_from_polars

        return panel_from_polars(frame, key=key, origin=origin)

    @classmethod
    def from_huggingface(cls, dataset: Any, *, key: str | None = None, origin: str | None = None) -> DataPanel:
        """Return a Hugging Face `Dataset` as a panel; nothing is decoded.

        Image features become pictures over their bytes or files, class labels categories, arrays and lists of
        fixed length tensors, all else scalars. A dataset that was shuffled or filtered keeps the keys of the one
        that it was made of. Transforms set on the dataset are not applied.

        Raises
        ------
        PanelError
            If it is a dictionary of splits, or a stream.
        """
        from .huggingface import panel_from_huggingface

        return panel_from_huggingface(dataset, key=key, origin=origin)

    @classmethod
    def from_torch(
        cls,
        dataset: Any,
        names: Sequence[str] | None = None,
        *,
        to: Mapping[str, Any] | None = None,
        origin: str | None = None,
    ) -> DataPanel:
        """Return a map-style torch Dataset as a panel; samples are read when they are asked for.

        What is asked for together is read together, and kept: pictures as well, which a dataset may make anew each
        time. For files of pictures, `from_folder` and `from_csv` keep nothing.

        Parameters
        ----------
        dataset : torch.utils.data.Dataset
            Samples are tuples, dictionaries, or single values.
        names : sequence of str
            What the parts of a sample are called, or which entries of a dictionary to take.
        to : mapping of str to kind, optional
            What the parts are: ``{"image": "image", "label": "scalar"}``. Others are pending until computed.
        origin : str, optional
            Of the keys. Give one, or they hold for this process only: a dataset has no content to be known by.

        Raises
        ------
        PanelError
            If rows cannot be asked for by number, or nobody says what they hold.

        Examples
        --------
        >>> from workbench import DataPanel
        >>> squares = [(n, n * n) for n in range(4)]
        >>> DataPanel.from_torch(squares, ["n", "square"], to={"square": "scalar"})["square"].to_list()
        [0, 1, 4, 9]
        """
        from .torchdata import panel_from_torch

        return panel_from_torch(dataset, names, to=to, origin=origin)

    @classmethod
    def from_folder(
        cls, path: Path, *, labels: bool = True, name: str = "image", origin: str | None = None
    ) -> DataPanel:
        """Return the pictures below a folder as a panel; no file is opened.

        Keys are relative paths after the folder's name, rows stand in their order, and the label is the name of the
        folder that a picture lies in. Hidden files and what is no picture by its name are left out.

        Parameters
        ----------
        path : path
            The folder.
        labels : bool
            Make a column ``label``, a category; null for pictures that lie in `path` itself.
        name : str
            What to call the column of pictures.
        origin : str, optional
            What the keys begin with, in place of the folder's name.

        Raises
        ------
        DataError
            If there is no such folder, no picture below it, or no class folder to take labels from.
        """
        from .readers import panel_from_folder

        return panel_from_folder(path, labels=labels, name=name, origin=origin)

    @classmethod
    def from_csv(
        cls,
        path: Path,
        *,
        images: str | Sequence[str] | None = None,
        base: Path | None = None,
        delimiter: str = ",",
        encoding: str = "utf-8",
        nulls: Sequence[str] | None = None,
        key: str | None = None,
        origin: str | None = None,
    ) -> DataPanel:
        """Return a CSV file as a panel; types are inferred.

        Parameters
        ----------
        path : path
            The file; its first line names the columns.
        images : str or sequence of str, optional
            Columns that hold paths of pictures.
        base : path, optional
            Directory of relative paths; that of the file if left out.
        delimiter, encoding : str
            How it is written.
        nulls : sequence of str, optional
            What stands for null unless it is quoted; by default nothing at all, NA, N/A, #N/A, null and NULL.
        key, origin : str, optional
            Of the keys; see `Incoming`.

        Raises
        ------
        DataError
            If the file is missing, empty, no CSV, or in another encoding.
        PanelError
            If names or keys repeat.
        """
        from .readers import NULLS, panel_from_csv

        return panel_from_csv(
            path, images=images, base=base, delimiter=delimiter, encoding=encoding,
            nulls=NULLS if nulls is None else nulls, key=key, origin=origin,
        )  # fmt: skip

    @classmethod
    def from_parquet(
        cls,
        path: Path,
        *,
        names: Sequence[str] | None = None,
        images: str | Sequence[str] | None = None,
        base: Path | None = None,
        key: str | None = None,
        origin: str | None = None,
    ) -> DataPanel:
        """Return a Parquet file, or a directory of them, as a panel.

        Parameters
        ----------
        path : path
            File or directory.
        names : sequence of str, optional
            Which columns to read.
        images : str or sequence of str, optional
            Columns that hold pictures, as paths or bytes; what `to_parquet` wrote is known without.
        base : path, optional
            Directory of relative paths of pictures.
        key, origin : str, optional
            Of the keys; see `Incoming`.

        Raises
        ------
        DataError
            If it is missing or damaged.
        PanelError
            If names or keys repeat.
        """
        from .readers import panel_from_parquet

        return panel_from_parquet(path, names=names, images=images, base=base, key=key, origin=origin)

    @classmethod
    def from_ipc(
        cls,
        path: Path,
        *,
        images: str | Sequence[str] | None = None,
        base: Path | None = None,
        key: str | None = None,
        origin: str | None = None,
    ) -> DataPanel:
        """Return an Arrow IPC (Feather) file or stream as a panel, memory-mapped; see `from_parquet`."""
        from .readers import panel_from_ipc

        return panel_from_ipc(path, images=images, base=base, key=key, origin=origin)

    @classmethod
    def from_meerkat(
        cls, data: Any, *, without: Sequence[str] = (), key: str | None = None, origin: str | None = None
    ) -> DataPanel:
        """Return a Meerkat DataFrame, or a directory that one was written to, as a panel.

        Of a DataFrame, pictures in files stay files, and deferred columns stay lazy: Meerkat runs them row by row
        when they are asked for. A directory is read without Meerkat and without unpickling anything.

        Parameters
        ----------
        data : meerkat.DataFrame or path
            The rows.
        without : sequence of str
            Columns to leave out.
        key, origin : str, optional
            Of the keys; see `Incoming`.

        Raises
        ------
        StoreError
            If a column of a directory is pickled; names the file. Reading it would run whatever code is in it.
        """
        if isinstance(data, (str, os.PathLike)):
            from .meerkat_files import panel_from_meerkat_files

            return panel_from_meerkat_files(data, without=without, key=key, origin=origin)
        from .meerkat import panel_from_meerkat

        return panel_from_meerkat(data, without=without, key=key, origin=origin)


def from_anything(data: Any, *, origin: str | None = None) -> DataPanel:
    """Return whatever a panel can be made of without further words as a panel, told by its type.

    A mapping of columns, a pandas or polars DataFrame, a Hugging Face dataset, a Meerkat DataFrame, an Arrow table,
    or anything else with ``__arrow_c_stream__``.

    Raises
    ------
    PanelError
        If it is none of these.

    Examples
    --------
    >>> import pandas as pd
    >>> from_anything(pd.DataFrame({"x": [1, 2]}))["x"].to_list()
    [1, 2]
    """
    from .panel import DataPanel

    if isinstance(data, DataPanel):
        return data.copy()
    if isinstance(data, Mapping):
        return DataPanel(data, origin=origin)
    library = type(data).__module__.split(".", 1)[0]
    if library in ("pandas", "polars", "meerkat"):
        made: DataPanel = getattr(DataPanel, f"from_{library}")(data, origin=origin)
        return made
    if library == "datasets":
        return DataPanel.from_huggingface(data, origin=origin)
    return DataPanel.from_arrow(data, origin=origin)

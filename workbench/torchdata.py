"""torch Datasets: a panel as one, and one as a panel."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from columns import Column, KindError, ScalarColumn
from columns.column import read_columns
from columns.expression import Concat, Map, Node, Op, Pick, Source, Take, walk
from columns.sources import ArrowSource, DenseSource, ListSource
from columns.values import ArrowValues, DenseValues, ImageValues, Values

from .assemble import assemble
from .errors import NoColumnError, PanelError
from .infer import as_column

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["PanelDataset", "panel_from_torch"]


class PanelDataset(Dataset[Any]):
    """A panel's rows as a torch Dataset, for a `DataLoader` with or without workers.

    Parameters
    ----------
    panel : DataPanel
        The rows.
    names : sequence of str, optional
        Which columns, as a tuple in this order; all of them as a dictionary if left out.
    transform : callable, optional
        Takes such a tuple or dictionary, returns what the sample shall be.

    Notes
    -----
    Numbers and arrays are tensors, categories their codes, pictures uint8 tensors (channels, height, width); other
    values are as in the panel, None where null. Workers that are forked share what is computed; workers that are
    spawned are sent the expressions, and the rows where they are computed already, so compute costly columns first.

    Examples
    --------
    >>> from workbench import DataPanel
    >>> data = DataPanel({"x": [1.5, 2.5], "y": [0, 1]}).to_torch(["x", "y"])
    >>> len(data), data[1]
    (2, (tensor(2.5000, dtype=torch.float64), tensor(1)))
    """

    def __init__(
        self, panel: DataPanel, names: Sequence[str] | None = None, transform: Callable[[Any], Any] | None = None
    ) -> None:
        chosen = panel.columns if names is None else [names] if isinstance(names, str) else list(names)
        for name in chosen:
            if name not in panel:
                raise NoColumnError(panel.no_column(name))
        self.names = chosen
        self.transform = transform
        self._as_tuple = names is not None
        self._length = len(panel)
        self._columns: list[Column] = [panel[name] for name in chosen]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, row: int) -> Any:
        if not -self._length <= row < self._length:
            raise IndexError(f"Row must lie in [{-self._length}, {self._length}); got {row}.")
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[Any]:
        """Return many samples in one pass: what a `DataLoader` asks for, batch by batch."""
        index = np.asarray(rows, np.int64)
        values = read_columns([column[index] for column in self._columns])
        samples = zip(*(_samples(v) for v in values), strict=True) if values else iter([()] * len(index))
        made: list[Any] = [s if self._as_tuple else dict(zip(self.names, s, strict=True)) for s in samples]
        return made if self.transform is None else [self.transform(sample) for sample in made]

    def __getstate__(self) -> dict[str, Any]:
        state = {k: v for k, v in self.__dict__.items() if k != "_columns"}
        state["packed"] = [_pack(column, name) for column, name in zip(self._columns, self.names, strict=True)]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        packed = state.pop("packed")
        self.__dict__.update(state)
        self._columns = [_unpack(one) for one in packed]

    def __repr__(self) -> str:
        return f"<PanelDataset: {self._length:,} rows of {', '.join(self.names)}>"


def _samples(values: Values) -> list[Any]:
    """Return rows as samples: tensors where there is a number or an array, else what the panel gives."""
    lost = values.valid()
    if isinstance(values, ImageValues):
        pictures = list(torch.from_numpy(np.array(values.data)).permute(0, 3, 1, 2))
        return pictures if lost is None else [p if ok else None for p, ok in zip(pictures, lost, strict=True)]
    if lost is None and not isinstance(values, DenseValues):
        batch = values.batch()
        rows = list(batch)
    elif isinstance(values, ArrowValues) and lost is not None:
        there = np.flatnonzero(lost)
        full = _samples(ArrowValues(values.array.drop_null()))
        rows = [None] * len(values)
        for place, sample in zip(there.tolist(), full, strict=True):
            rows[place] = sample
    else:
        # Clones, since a sample that somebody changes in place must not change the panel.
        rows = [row.clone() if isinstance(row, torch.Tensor) else row for row in values.rows()]
    return [_picture(r) if type(r).__module__.startswith("PIL.") else r for r in rows]


def _picture(picture: Any) -> torch.Tensor:
    array = np.array(picture)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())


# Sending columns to another process: nodes are interned, and chains may be deeper than pickle can follow,
# so they travel as a flat list in the order in which they rest on each other.


def _pack(column: Column, name: str) -> tuple[Any, ...]:
    head = (type(column), column.selection, column.spec, name)
    costly = any(isinstance(node, Map) for node in walk([column.node]))
    if costly and column.is_computed():
        values = column.values()
        return (*head[:1], None, *head[2:], [(_ready(values), ())])
    order = list(walk([column.node]))
    place = {node: number for number, node in enumerate(order)}
    flat = [(_own(node), tuple(place[i] for i in node.inputs)) for node in order]
    try:
        pickle.dumps(flat)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise KindError(
            f"Column '{name}' cannot be sent to another process: {error}. Compute it first, `panel.compute('{name}')`, "
            "or define its function at the top of a module rather than as a lambda, or use forked workers."
        ) from error
    return (*head, flat)


def _ready(values: Values) -> tuple[str, Any]:
    if isinstance(values, ArrowValues):
        return "Source", ArrowSource(values.array)
    if isinstance(values, DenseValues):
        return "Source", DenseSource(values.data, values.valid(), type(values))
    return "Source", ListSource(values.rows())


def _own(node: Node) -> tuple[str, Any]:
    """Return what a node adds to its inputs."""
    if isinstance(node, Source):
        return "Source", node.source
    if isinstance(node, Take):
        return "Take", node.selection
    if isinstance(node, Op):
        return "Op", node.operation
    if isinstance(node, Map):
        return "Map", node.function
    if isinstance(node, Pick):
        return "Pick", node.output
    return "Concat", None


def _unpack(packed: tuple[Any, ...]) -> Column:
    cls, selection, spec, name, flat = packed
    made: list[Any] = []
    for (what, own), inputs in flat:
        below = tuple(made[i] for i in inputs)
        if what == "Source":
            made.append(Source(own))
        elif what == "Take":
            made.append(Take(below[0], own))
        elif what == "Op":
            made.append(Op(own, below))
        elif what == "Map":
            made.append(Map(own, below))
        elif what == "Pick":
            made.append(Pick(below[0], own))
        else:
            made.append(Concat(below))
    column: Column = cls.over(made[-1], selection, spec, None, name)
    return column


def panel_from_torch(
    dataset: Any, names: Sequence[str] | None = None, *, to: Mapping[str, Any] | None = None, origin: str | None = None
) -> DataPanel:
    """Return a torch Dataset as a panel; see `DataPanel.from_torch`."""
    if isinstance(dataset, PanelDataset):
        raise PanelError("This dataset was made of a panel; use that panel.")
    if isinstance(dataset, IterableDataset):
        raise PanelError(
            "A panel needs rows that can be asked for by number; an IterableDataset gives them in order only. "
            "Collect some of them into a list first."
        )
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise PanelError(f"A dataset must have `__len__` and `__getitem__`; {type(dataset).__name__} has not.")
    chosen = list(names) if names is not None else list(to) if to else []
    if not chosen or isinstance(names, str):
        raise PanelError(
            "Say what a sample of the dataset holds, in order, `names=['image', 'label']`: nothing is read to find out."
        )
    strange = [n for n in to or () if n not in chosen]
    if strange:
        raise PanelError(f"`to` must name parts of a sample, one of {chosen}; got '{strange[0]}'.")
    if len(set(chosen)) != len(chosen):
        raise PanelError(f"Names of columns must differ; got {chosen}.")
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) == len(chosen):
        ready = {n: as_column(t, None, n) for n, t in zip(chosen, dataset.tensors, strict=True)}
        ready = {n: c if not to or n not in to else c.as_kind(to[n]) for n, c in ready.items()}
        return assemble(ready, len(dataset), origin=origin)
    numbers = ScalarColumn(np.arange(len(dataset)))
    kinds = {n: (to or {}).get(n) for n in chosen}
    columns = numbers.map(_Samples(dataset, tuple(chosen)), to=kinds)
    return assemble(columns, len(dataset), origin=origin)


class _Samples:
    """Reads a sample of a dataset, by number, into its named parts."""

    def __init__(self, dataset: Any, names: tuple[str, ...]) -> None:
        self.dataset = dataset
        self.names = names
        self.__name__ = type(dataset).__name__

    def __call__(self, row: int) -> dict[str, Any]:
        sample = self.dataset[row]
        if isinstance(sample, Mapping):
            lost = [n for n in self.names if n not in sample]
            if lost:
                raise PanelError(f"A sample must have {list(self.names)}; it has {list(sample)}.")
            return {n: sample[n] for n in self.names}
        parts = sample if isinstance(sample, (tuple, list)) and len(self.names) > 1 else (sample,)
        if len(self.names) == 1 and isinstance(sample, (tuple, list)) and len(sample) == 1:
            parts = sample
        if len(parts) != len(self.names):
            raise PanelError(f"A sample must have {len(self.names)} parts {list(self.names)}; it has {len(parts)}.")
        return dict(zip(self.names, parts, strict=True))

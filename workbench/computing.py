"""The part of a panel that runs things: functions over columns, classifiers, batches."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from columns import map_columns
from columns.column import compute_columns
from columns.evaluate import refresh

from .batches import panel_batches
from .errors import PanelError

if TYPE_CHECKING:
    from .classifier import Classifier
    from .panel import DataPanel

__all__ = ["Computing"]


class Computing:
    """Methods of `DataPanel` that map, compute, predict, and hand out batches."""

    __slots__ = ()

    def map(self: Any, function: Callable[..., Any], on: str | Sequence[str] | None = None, **how: Any) -> Any:
        """Return the column, or dictionary of columns, that a function gives; nothing is run yet.

        Parameters
        ----------
        function : callable or torch.nn.Module
            Takes the columns named by `on`, in that order.
        on : str or sequence of str, optional
            Its inputs; by default the columns that its parameters are named after.
        **how
            ``to``, ``batched``, ``batch_size``, ``shape``, ``dtype``, ``device``, ``version``: see
            `columns.Column.map`.
        """
        names = [on] if isinstance(on, str) else self._inputs_of(function) if on is None else list(on)
        return map_columns([self[name] for name in names], function, **how)

    def _inputs_of(self: Any, function: Callable[..., Any]) -> list[str]:
        try:
            parameters = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
        except (TypeError, ValueError):
            parameters = []
        names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        if not names or any(n not in self._columns for n in names):
            raise PanelError(
                f"Say which columns `{getattr(function, '__name__', type(function).__name__)}` takes, `on=[...]`: "
                f"its parameters ({', '.join(names) or 'unknown'}) are not columns ({', '.join(self._columns)})."
            )
        return names

    def compute(
        self: Any,
        names: str | Sequence[str] | None = None,
        *,
        on_error: str = "raise",
        retry: bool = False,
        progress: bool = False,
    ) -> DataPanel:
        """Compute what is missing of several columns in one pass, and return the panel.

        Inputs that they share are read, decoded and moved to the device once.

        Parameters
        ----------
        names : str or sequence of str, optional
            Which columns; all if left out.
        on_error, retry, progress
            As for `columns.Column.compute`.
        """
        chosen = self.columns if names is None else [names] if isinstance(names, str) else list(names)
        compute_columns([self[n] for n in chosen], on_error=on_error, retry=retry, progress=progress)
        panel: DataPanel = self.copy()
        for name in chosen:
            if self.kind(name) == "pending":
                panel[name] = self[name].compute(on_error=on_error)
        return panel

    def batches(
        self: Any, size: int = 64, device: str = "cpu", names: Sequence[str] | None = None, *, seed: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield batches: tensors of numbers, pictures and arrays, lists of all else; the next one is read ahead.

        Parameters
        ----------
        size : int
            Rows per batch; the last may have fewer.
        device : str
            Where tensors go; ``"auto"`` takes CUDA, then MPS, then the CPU.
        names : sequence of str, optional
            Which columns; all if left out.
        seed : int, optional
            Shuffle the rows.
        """
        return panel_batches(self, size, device, names, seed)

    def predict(
        self: Any,
        model: Classifier,
        *,
        name: str = "prediction",
        keep: Sequence[str] = (),
        batch_size: int | None = None,
        device: str = "auto",
    ) -> DataPanel:
        """Return the panel with a classifier's prediction and embedding as lazy columns; see `workbench.predict`."""
        from .predictions import predict

        return predict(self, model, name=name, keep=keep, batch_size=batch_size, device=device)

    def refresh(self: Any) -> bool:
        """Look again at files and weights below every column; say whether something had changed."""
        return refresh([column.node for column in self._columns.values()])

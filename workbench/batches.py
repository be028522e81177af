"""Batches of a panel's rows: the next one is read while this one is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from columns.column import read_columns
from columns.device import resolve_device
from columns.values import Values

if TYPE_CHECKING:
    from .panel import DataPanel

__all__ = ["panel_batches"]


def panel_batches(
    panel: DataPanel, size: int, device: str, names: Sequence[str] | None, seed: int | None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a panel in batches; see `DataPanel.batches`."""
    if size < 1:
        raise ValueError(f"`size` must be at least 1; got {size}.")
    chosen = panel.columns if names is None else list(names)
    part = panel[chosen] if chosen else panel
    order = np.arange(len(panel)) if seed is None else np.random.default_rng(seed).permutation(len(panel))
    target = resolve_device(device)

    def read(start: int) -> dict[str, Any]:
        rows = part._rows(order[start : start + size])
        values = read_columns([rows[name] for name in chosen])
        return {name: _as_batch(v, target) for name, v in zip(chosen, values, strict=True)}

    return _ahead(read, range(0, len(panel), size))


def _ahead(read: Any, starts: range) -> Iterator[dict[str, Any]]:
    """Yield what `read` gives, reading one batch ahead; the thread ends with the iteration."""
    with ThreadPoolExecutor(1, thread_name_prefix="panel-batches") as pool:
        coming = pool.submit(read, starts[0]) if len(starts) else None
        for position in range(len(starts)):
            assert coming is not None
            batch = coming.result()
            coming = pool.submit(read, starts[position + 1]) if position + 1 < len(starts) else None
            yield batch


def _as_batch(values: Values, device: torch.device) -> Any:
    valid = values.valid()
    if valid is not None:
        return values.rows()  # a tensor has no null
    batch = values.batch()
    if isinstance(batch, list) and batch and type(batch[0]).__module__.startswith("PIL."):
        arrays = [np.asarray(picture) for picture in batch]
        if len({a.shape for a in arrays}) == 1:
            stacked = torch.from_numpy(np.stack(arrays))
            batch = stacked.permute(0, 3, 1, 2) if stacked.ndim == 4 else stacked[:, None]
    return batch.to(device) if isinstance(batch, torch.Tensor) else batch

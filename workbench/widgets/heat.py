"""Attributions as the page takes them: small maps of whole numbers, the largest magnitude of each 127."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool2d

from columns import Column
from columns.values import DenseValues
from explain.errors import ExplainError
from explain.methods import METHODS, check_settings, settings_of

from ..attributions import attribute
from ..errors import PanelError, WorkbenchError

if TYPE_CHECKING:
    from ..classifier import Classifier
    from ..panel import DataPanel

__all__ = ["Heat", "Heats", "methods_for"]

UNSIGNED = ("layer_activation", "attention_rollout")


@dataclass(frozen=True)
class Heat:
    """Maps of some rows, one shape for all.

    Attributes
    ----------
    data : ndarray, shape (rows, height, width), int8
        Each scaled so that its largest magnitude is 127; zeros where there is nothing to show.
    peaks : list of float
        What 127 stands for, row by row, in the attribution's own unit.
    signed : bool
        Whether there are negative scores.
    """

    data: NDArray[np.int8]
    peaks: list[float]
    signed: bool

    def to(self, other: Heat) -> Heat:
        """Return what another has more, or less, each scaled to its own peak: where a model looks now, or no longer."""
        change = (other.data.astype(np.float32) - self.data.astype(np.float32)) / 127
        peaks = np.abs(change).max(axis=(1, 2))
        scaled = change / np.maximum(peaks, np.finfo(np.float32).tiny)[:, None, None]
        return Heat((scaled * 127).round().astype(np.int8), peaks.tolist(), signed=True)


class Heats:
    """What a classifier looks at, by method and target, for rows of one panel; computed once a row.

    Parameters
    ----------
    panel : DataPanel
        With the column that the classifier feeds on.
    model : Classifier
        What is explained.

    Examples
    --------
    >>> from workbench import Classifier, DataPanel
    >>> panel = DataPanel({"image": torch.rand(2, 1, 4, 4)})
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
    >>> heat = Heats(panel, Classifier(net, ["a", "b"])).of([1], "gradient_times_input")
    >>> heat.data.shape, int(np.abs(heat.data).max())
    ((1, 4, 4), 127)
    """

    def __init__(self, panel: DataPanel, model: Classifier) -> None:
        self._panel, self._model = panel, model
        self._columns: dict[tuple[str, str | None], Column] = {}

    def of(self, rows: Sequence[int], method: str, target: str | None = None, size: int = 128) -> Heat:
        """Return the maps of some rows, computing those that are missing.

        Parameters
        ----------
        rows : sequence of int
            Of the panel.
        method : str
            One of those that `methods_for` returns.
        target : str, optional
            Class name, or one of the targets that `workbench.attribute` takes.
        size : int
            Maps larger than that are averaged down to it.

        Raises
        ------
        PanelError
            If the method, or the target, is not to be had here.
        """
        column = self._column(method, target)
        values = column[np.asarray(rows, np.int64)].values(on_error="null")
        if not isinstance(values, DenseValues):
            raise PanelError(f"The maps of '{method}' are not of one shape, and cannot be shown side by side.")
        scores = torch.as_tensor(np.asarray(values.data, np.float32))
        if scores.ndim < 3:
            raise PanelError(
                f"'{method}' gives scores of shape {tuple(scores.shape[1:])} here, which are no picture of the input."
            )
        flat = scores.reshape(len(rows), -1, *scores.shape[-2:]).sum(dim=1)
        flat = torch.where(flat.isfinite(), flat, 0.0)
        valid = values.valid()
        if valid is not None:
            flat[torch.from_numpy(~valid)] = 0.0
        if max(flat.shape[1:]) > size:
            flat = adaptive_avg_pool2d(flat[:, None], (min(flat.shape[1], size), min(flat.shape[2], size)))[:, 0]
        peaks = flat.abs().amax(dim=(1, 2))
        scaled = flat / peaks.clamp_min(torch.finfo(torch.float32).tiny)[:, None, None]
        data = (scaled * 127).round().to(torch.int8).numpy()
        return Heat(data, peaks.tolist(), method not in UNSIGNED and bool((flat < 0).any()))

    def _column(self, method: str, target: str | None) -> Column:
        key = method, target
        if key not in self._columns:
            settings = _needed(method, self._model)
            if settings is None:
                raise PanelError(f"'{method}' cannot explain this model; there are: {', '.join(self.methods)}.")
            self._columns[key] = attribute(self._panel, self._model, method, target=target, **settings)
        return self._columns[key]

    @property
    def methods(self) -> list[str]:
        """Names of the methods that can explain the model."""
        return methods_for(self._model)


def methods_for(model: Classifier) -> list[str]:
    """Return the attribution methods that can explain a classifier of pictures with no more settings than these.

    Parameters
    ----------
    model : Classifier

    Returns
    -------
    list of str
        Empty for a classifier of text, whose tokens have no gradient.

    Examples
    --------
    >>> from workbench import Classifier
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(8, 2))
    >>> "grad_cam" in methods_for(Classifier(net, ["a", "b"]))
    True
    """
    if model.offsets is not None:
        return []
    return [name for name in METHODS if "attention" not in name and _needed(name, model) is not None]


def _needed(method: str, model: Classifier) -> dict[str, Any] | None:
    """Return the settings that a method must be given: a layer, the last map with places. None if more is missing."""
    if method not in METHODS:
        return None
    settings: dict[str, Any] = {}
    if settings_of(METHODS[method]).get("layer"):
        layer = _last_map(model)
        if layer is None:
            return None
        settings["layer"] = layer
    try:
        check_settings(method, METHODS[method], settings, model)
    except (ExplainError, WorkbenchError):
        return None
    return settings


def _last_map(model: Classifier) -> str | None:
    """Return the name of the last convolution, whose map still has places."""
    convolutions = (torch.nn.Conv2d, torch.nn.ConvTranspose2d)
    names = [name for name, part in model.module.named_modules() if isinstance(part, convolutions)]
    return names[-1] if names else None
